//! What can be seen from the order of the responses, without knowing what was written: filter, ordered, unique, atomic,
//! bookmarkable (whose other half, that nothing before a bookmark is missing, needs the log).

use std::collections::BTreeSet;

use detcd_replica::api::{Revision, WatchEvent, WatchEventKind};
use detcd_replica::history::Finding;

use super::{event_words, Seen, Told};

/// Every event is of the keys and kinds asked for.
pub(super) fn filter(seen: &Seen<'_>) -> Option<Finding> {
    let told = seen.events.iter().find(|told| !told.wanted)?;
    seen.finding(
        "watch-filter",
        told.at,
        "an event was sent that the watch had not asked for".to_owned(),
        vec![event_words(told.event)],
    )
}

/// Revisions never go down.
pub(super) fn ordered(seen: &Seen<'_>) -> Option<Finding> {
    let pair = seen.events.windows(2).find(|pair| pair[0].revision > pair[1].revision)?;
    let (first, second) = (&pair[0], &pair[1]);
    let summary = format!("an event of revision {} came after one of {}", second.revision, first.revision);
    seen.finding("watch-ordered", second.at, summary, vec![event_words(first.event), event_words(second.event)])
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
    let again = seen.events.iter().find(|event| !told.insert(change(event.event)))?;
    let summary = format!("a change of revision {} was sent twice", again.revision);
    seen.finding("watch-unique", again.at, summary, vec![event_words(again.event)])
}

/// All changes of one revision come in one response.
pub(super) fn atomic(seen: &Seen<'_>) -> Option<Finding> {
    let is_split = |pair: &&[Told<'_>]| pair[0].response != pair[1].response && pair[0].revision == pair[1].revision;
    let pair = seen.events.windows(2).find(is_split)?;
    let (first, second) = (&pair[0], &pair[1]);
    let summary = format!("revision {} was split over two responses", first.revision);
    seen.finding("watch-atomic", second.at, summary, vec![event_words(first.event), event_words(second.event)])
}

/// A progress notification says that everything up to its revision has been sent.
pub(super) fn bookmarkable(seen: &Seen<'_>) -> Option<Finding> {
    let check = "watch-bookmarkable";
    let mut bookmark = 0;
    let mut next = 0;
    let mut newest = None;
    let mut near = 0;
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
        while let Some(told) = seen.events.get(next).filter(|told| told.response < *place) {
            next += 1;
            if told.revision <= bookmark {
                return late(seen, told, bookmark);
            }
            if newest.is_none_or(|newest: &Told<'_>| newest.revision < told.revision) {
                newest = Some(told);
            }
        }
        if let Some(told) = newest.filter(|told| told.revision > *revision) {
            let summary =
                format!("progress was sent at revision {revision} after an event of revision {}", told.revision);
            return seen.finding(check, *at, summary, vec![event_words(told.event)]);
        }
        if let Some(start) = seen.start {
            // What lies below the last bookmark was looked at with it.
            let missing = seen.expected(start.max(bookmark.saturating_add(1)), *revision).find(|expected| {
                let response = seen.response_of(expected.revision(), expected.key, &mut near);
                response.is_none_or(|response| response >= *place)
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
    let told = seen.events[next..].iter().find(|told| told.revision <= bookmark)?;
    late(seen, told, bookmark)
}

fn late(seen: &Seen<'_>, told: &Told<'_>, bookmark: Revision) -> Option<Finding> {
    let summary = format!("an event of revision {} came after progress at revision {bookmark}", told.revision);
    seen.finding("watch-bookmarkable", told.at, summary, vec![event_words(told.event)])
}
