//! What needs the log: whether the events are all that were written and what they say of it.

use detcd_replica::api::WatchBody;
use detcd_replica::history::Finding;

use super::{event_words, Seen};
use crate::linearizability::words;

/// The first event is the first that there is from the start revision on.
pub(super) fn resumable(seen: &Seen<'_>) -> Option<Finding> {
    let start = seen.start?;
    let first = seen.events.first()?;
    let told = first.revision;
    if told < start {
        let summary = format!("the watch is from revision {start}, but its first event is of revision {told}");
        return seen.finding("watch-resumable", first.at, summary, vec![event_words(first.event)]);
    }
    let missing = seen.expected(start, told - 1).next()?;
    let summary = format!(
        "the watch is from revision {start}; its first event is of revision {told}, that of revision {} is missing",
        missing.revision()
    );
    seen.finding("watch-resumable", first.at, summary, vec![missing.words(), event_words(first.event)])
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
    let begins = seen.start.unwrap_or(first.revision);
    let newest = seen.truth.store.revision();
    for told in seen.certain() {
        let (event, revision) = (told.event, told.revision);
        if revision < begins {
            let summary = format!("the event of revision {revision} was sent to a watch from revision {begins}");
            return seen.finding(check, told.at, summary, vec![event_words(event)]);
        }
        if told.as_written {
            continue;
        }
        let (summary, wrote) = match &told.change {
            Some(change) => (format!("the event of revision {revision} is not what was written"), vec![change.words()]),
            None if revision > newest => (
                format!("an event of revision {revision} was sent, but no write is known that could have made it"),
                Vec::new(),
            ),
            None => (
                format!("an event of revision {revision} was sent that is not what was written there"),
                seen.expected(revision, revision).map(|expected| expected.words()).collect(),
            ),
        };
        let details = std::iter::once(event_words(event)).chain(wrote).collect();
        return seen.finding(check, told.at, summary, details);
    }
    let mut near = 0;
    let missing = seen
        .expected(begins, last.revision)
        .find(|expected| seen.response_of(expected.revision(), expected.key, &mut near).is_none())?;
    let place = if missing.revision() < first.revision { "before" } else { "between" };
    let summary = format!("the event of revision {} is missing {place} others", missing.revision());
    let after = seen.events.iter().find(|told| told.revision >= missing.revision());
    let details = std::iter::once(missing.words()).chain(after.map(|told| event_words(told.event)));
    seen.finding(check, after.map_or(last.at, |told| told.at), summary, details.collect())
}

/// `create_revision` equals `mod_revision` exactly when the key was not there before.
pub(super) fn is_create(seen: &Seen<'_>) -> Option<Finding> {
    let told = seen.certain().find(|told| !told.as_created)?;
    let change = told.change?;
    let summary = format!(
        "the event of revision {} says that the key was created at {}, but that was at {}",
        told.revision, told.event.kv.create_revision, change.record.create_revision
    );
    seen.finding("watch-is-create", told.at, summary, vec![event_words(told.event), change.words()])
}

/// The previous value is the one at the revision before; absent only when not asked for, not there, or compacted.
pub(super) fn prev_kv(seen: &Seen<'_>) -> Option<Finding> {
    for told in seen.certain() {
        let Some(change) = told.change else { continue };
        let right = match told.as_before {
            Some(right) => seen.watch.request.prev_kv && right,
            None => {
                let asked = seen.watch.request.prev_kv && change.before.is_some();
                !asked || told.revision - 1 < seen.compactions.possible(told.at)
            }
        };
        if right {
            continue;
        }
        let before = change.before.map(|record| record.key_value(change.key));
        let shown = told.event.prev_kv.as_ref().map_or_else(|| "nothing".to_owned(), words::key_value);
        let was = before.as_ref().map_or_else(|| "nothing".to_owned(), words::key_value);
        let summary = if seen.watch.request.prev_kv {
            format!("the event of revision {} says that before it was {shown}, but it was {was}", told.revision)
        } else {
            format!("the event of revision {} has a previous value that was not asked for", told.revision)
        };
        return seen.finding("watch-prev-kv", told.at, summary, vec![event_words(told.event)]);
    }
    None
}

/// A watch whose connection was whole to the end has told everything.
pub(super) fn live(seen: &Seen<'_>) -> Option<Finding> {
    if !seen.watch.complete || seen.cancelled.is_some() {
        return None;
    }
    let start = seen.start?;
    let first = seen.events.last().map_or(start, |told| told.revision.saturating_add(1)).max(start);
    let missing = seen.expected(first, seen.truth.store.revision()).next()?;
    let at = seen.watch.responses.last().map_or(seen.watch.call, |(at, _)| *at);
    let summary = format!("the event of revision {} was never sent", missing.revision());
    seen.finding("watch-live", at, summary, vec![missing.words()])
}
