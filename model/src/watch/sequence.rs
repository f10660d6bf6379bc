//! What can be seen from the order of the responses, without knowing what was written: filter, ordered, unique, atomic,
//! bookmarkable (whose other half, that nothing before a bookmark is missing, needs the log).

use std::collections::BTreeSet;

use detcd_replica::api::{Revision, WatchEvent, WatchEventKind};
use detcd_replica::history::{Finding, Moment};

use super::{event_words, Seen};

/// Every event is of the keys and kinds asked for.
pub(super) fn filter(seen: &Seen<'_>) -> Option<Finding> {
    let request = &seen.watch.request;
    let (at, _, event) = seen.events.iter().find(|(_, _, event)| {
        let unwanted = match event.kind {
            WatchEventKind::Put => request.no_put,
            WatchEventKind::Delete => request.no_delete,
        };
        unwanted || !request.range.contains(&event.kv.key)
    })?;
    seen.finding(
        "watch-filter",
        *at,
        "an event was sent that the watch had not asked for".to_owned(),
        vec![event_words(event)],
    )
}

/// Revisions never go down.
pub(super) fn ordered(seen: &Seen<'_>) -> Option<Finding> {
    let pair = seen.events.windows(2).find(|pair| pair[0].2.kv.mod_revision > pair[1].2.kv.mod_revision)?;
    let (first, second) = (&pair[0].2, &pair[1].2);
    let summary =
        format!("an event of revision {} came after one of {}", second.kv.mod_revision, first.kv.mod_revision);
    seen.finding("watch-ordered", pair[1].0, summary, vec![event_words(first), event_words(second)])
}

/// No change is told twice. One revision changes a key once, but for transactions inside of one: of those etcd lets one
/// put what a later one deletes.
pub(super) fn unique(seen: &Seen<'_>) -> Option<Finding> {
    if seen.told.windows(2).all(|pair| (pair[0].0, pair[0].1) != (pair[1].0, pair[1].1)) {
        return None;
    }
    let mut told = BTreeSet::new();
    let change =
        |event: &'_ WatchEvent| (event.kv.mod_revision, event.kv.key.clone(), event.kind == WatchEventKind::Put);
    let (at, _, event) = seen.events.iter().find(|(_, _, event)| !told.insert(change(event)))?;
    let summary = format!("a change of revision {} was sent twice", event.kv.mod_revision);
    seen.finding("watch-unique", *at, summary, vec![event_words(event)])
}

/// All changes of one revision come in one response.
pub(super) fn atomic(seen: &Seen<'_>) -> Option<Finding> {
    let pair = seen
        .events
        .windows(2)
        .find(|pair| pair[0].1 != pair[1].1 && pair[0].2.kv.mod_revision == pair[1].2.kv.mod_revision)?;
    let (first, second) = (&pair[0].2, &pair[1].2);
    let summary = format!("revision {} was split over two responses", first.kv.mod_revision);
    seen.finding("watch-atomic", pair[1].0, summary, vec![event_words(first), event_words(second)])
}

/// A progress notification says that everything up to its revision has been sent.
pub(super) fn bookmarkable(seen: &Seen<'_>) -> Option<Finding> {
    let check = "watch-bookmarkable";
    let mut bookmark = 0;
    let mut next = 0;
    let mut newest = None;
    for (at, place, revision) in &seen.progress {
        if *revision < bookmark {
            let summary = format!("progress went back from revision {bookmark} to {revision}");
            return seen.finding(check, *at, summary, Vec::new());
        }
        let asked = seen.watch.request.start_revision;
        if asked > 0 && revision.saturating_add(1) < asked {
            let summary = format!("progress was sent at revision {revision}, below the start of the watch at {asked}");
            return seen.finding(check, *at, summary, Vec::new());
        }
        while let Some((at, _, event)) = seen.events.get(next).filter(|(_, of, _)| of < place) {
            next += 1;
            if event.kv.mod_revision <= bookmark {
                return late(seen, *at, event, bookmark);
            }
            if newest.is_none_or(|newest: &WatchEvent| newest.kv.mod_revision < event.kv.mod_revision) {
                newest = Some(*event);
            }
        }
        if let Some(event) = newest.filter(|event| event.kv.mod_revision > *revision) {
            let told = event.kv.mod_revision;
            let summary = format!("progress was sent at revision {revision} after an event of revision {told}");
            return seen.finding(check, *at, summary, vec![event_words(event)]);
        }
        if let Some(start) = seen.start {
            // What lies below the last bookmark was looked at with it.
            let missing = seen.expected(start.max(bookmark.saturating_add(1)), *revision).find(|expected| {
                let (revision, key) = (expected.revision(), expected.key);
                let from = seen.told.partition_point(|(r, k, _)| (*r, *k) < (revision, key));
                !seen.told.get(from).is_some_and(|(r, k, of)| *r == revision && *k == key && of < place)
            });
            if let Some(missing) = missing {
                let due = missing.revision();
                let summary =
                    format!("progress was sent at revision {revision}, but the event of revision {due} had not been");
                return seen.finding(check, *at, summary, vec![missing.words()]);
            }
        }
        bookmark = *revision;
    }
    let (at, _, event) = seen.events[next..].iter().find(|(_, _, event)| event.kv.mod_revision <= bookmark)?;
    late(seen, *at, event, bookmark)
}

fn late(seen: &Seen<'_>, at: Moment, event: &WatchEvent, bookmark: Revision) -> Option<Finding> {
    let summary = format!("an event of revision {} came after progress at revision {bookmark}", event.kv.mod_revision);
    seen.finding("watch-bookmarkable", at, summary, vec![event_words(event)])
}
