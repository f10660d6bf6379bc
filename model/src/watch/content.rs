//! What needs the log: whether the events are all that were written and what they say of it.

use detcd_replica::api::{Key, Revision, WatchBody, WatchEventKind};
use detcd_replica::history::Finding;

use super::{event_words, Seen};

/// The first event is the first that there is from the start revision on.
pub(super) fn resumable(seen: &Seen<'_>) -> Option<Finding> {
    let start = seen.start?;
    let (at, _, first) = seen.events.first()?;
    let told = first.kv.mod_revision;
    if told < start {
        let summary = format!("the watch is from revision {start}, but its first event is of revision {told}");
        return seen.finding("watch-resumable", *at, summary, vec![event_words(first)]);
    }
    let missing = seen.expected(start, told - 1).next()?;
    let summary = format!(
        "the watch is from revision {start}; its first event is of revision {told}, that of revision {} is missing",
        missing.revision()
    );
    seen.finding("watch-resumable", *at, summary, vec![missing.words(), event_words(first)])
}

/// From where the watch begins to its last event, the events are exactly what was written. Where it begins is its start
/// revision, so that what is not resumable is not reliable either.
pub(super) fn reliable(seen: &Seen<'_>) -> Option<Finding> {
    let check = "watch-reliable";
    for (at, response) in &seen.watch.responses {
        if let WatchBody::Cancelled { compact_revision, .. } = &response.body {
            if *compact_revision > 0 && *compact_revision > seen.compactions.possible(*at) {
                let summary = format!(
                    "the watch was cancelled as compacted at revision {compact_revision}, which nobody had compacted"
                );
                return seen.finding(check, *at, summary, Vec::new());
            }
        }
    }
    let (first, last) = (seen.events.first()?, seen.events.last()?);
    let begins = seen.start.unwrap_or(first.2.kv.mod_revision);
    let newest = seen.truth.store.revision();
    for (at, event, change) in seen.certain() {
        let told = event.kv.mod_revision;
        if told < begins {
            let summary = format!("the event of revision {told} was sent to a watch from revision {begins}");
            return seen.finding(check, at, summary, vec![event_words(event)]);
        }
        let Some(change) = change else {
            let summary = if told > newest {
                format!("an event of revision {told} was sent, but no write is known that could have made it")
            } else {
                format!("an event of revision {told} was sent that is not what was written there")
            };
            let wrote = seen.expected(told, told).map(|expected| expected.words());
            return seen.finding(check, at, summary, std::iter::once(event_words(event)).chain(wrote).collect());
        };
        if !change.is_told_by(event) {
            let summary = format!("the event of revision {told} is not what was written");
            return seen.finding(check, at, summary, vec![event_words(event), change.words()]);
        }
    }
    let is_told = |of: (Revision, &Key)| seen.told.binary_search_by(|(r, k, _)| (*r, *k).cmp(&of)).is_ok();
    let missing =
        seen.expected(begins, last.2.kv.mod_revision).find(|expected| !is_told((expected.revision(), expected.key)))?;
    let place = if missing.revision() < first.2.kv.mod_revision { "before" } else { "between" };
    let summary = format!("the event of revision {} is missing {place} others", missing.revision());
    let after = seen.events.iter().find(|(_, _, event)| event.kv.mod_revision >= missing.revision());
    let details = std::iter::once(missing.words()).chain(after.map(|(_, _, event)| event_words(event)));
    seen.finding(check, after.map_or(last.0, |(at, _, _)| *at), summary, details.collect())
}

/// `create_revision` equals `mod_revision` exactly when the key was not there before.
pub(super) fn is_create(seen: &Seen<'_>) -> Option<Finding> {
    for (at, event, change) in seen.certain() {
        if event.kind != WatchEventKind::Put {
            continue;
        }
        let Some(change) = change.filter(|change| !change.record.is_tombstone()) else { continue };
        if event.kv.create_revision != change.record.create_revision {
            let summary = format!(
                "the event of revision {} says that the key was created at {}, but that was at {}",
                event.kv.mod_revision, event.kv.create_revision, change.record.create_revision
            );
            return seen.finding("watch-is-create", at, summary, vec![event_words(event), change.words()]);
        }
    }
    None
}

/// The previous value is the one at the revision before; absent only when not asked for, not there, or compacted.
pub(super) fn prev_kv(seen: &Seen<'_>) -> Option<Finding> {
    for (at, event, change) in seen.certain() {
        let Some(change) = change else { continue };
        let right = match &event.prev_kv {
            Some(prev) => seen.watch.request.prev_kv && change.was(prev),
            None => {
                let asked = seen.watch.request.prev_kv && change.before.is_some();
                !asked || event.kv.mod_revision - 1 < seen.compactions.possible(at)
            }
        };
        if right {
            continue;
        }
        let before = change.before.map(|record| record.key_value(change.key));
        let told =
            event.prev_kv.as_ref().map_or_else(|| "nothing".to_owned(), crate::linearizability::words::key_value);
        let was = before.as_ref().map_or_else(|| "nothing".to_owned(), crate::linearizability::words::key_value);
        let summary = if seen.watch.request.prev_kv {
            format!("the event of revision {} says that before it was {told}, but it was {was}", event.kv.mod_revision)
        } else {
            format!("the event of revision {} has a previous value that was not asked for", event.kv.mod_revision)
        };
        return seen.finding("watch-prev-kv", at, summary, vec![event_words(event)]);
    }
    None
}

/// A watch whose connection was whole to the end has told everything.
pub(super) fn live(seen: &Seen<'_>) -> Option<Finding> {
    if !seen.watch.complete || seen.cancelled.is_some() {
        return None;
    }
    let start = seen.start?;
    let first = seen.events.last().map_or(start, |(_, _, event)| event.kv.mod_revision.saturating_add(1)).max(start);
    let missing = seen.expected(first, seen.truth.store.revision()).next()?;
    let at = seen.watch.responses.last().map_or(seen.watch.call, |(at, _)| *at);
    let summary = format!("the event of revision {} was never sent", missing.revision());
    seen.finding("watch-live", at, summary, vec![missing.words()])
}
