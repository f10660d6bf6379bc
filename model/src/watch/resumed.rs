//! What holds over the watches of one client that resume each other: nothing is told twice, and nothing is left out
//! between two of them. A member keeps the first for each watch; across a reconnection it is for the client.

use detcd_replica::api::{Revision, WatchBody};
use detcd_replica::history::{Finding, Watch};

use super::{event_words, Seen};

/// How far a watch and those that it resumes had come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    /// The revision of the last event.
    told: Revision,
    /// Everything below this revision was told, or is compacted; `None` when the client never learnt where it began.
    next: Option<Revision>,
}

impl Position {
    /// After this watch, which began from `before`.
    pub(super) fn after(before: Self, seen: &Seen<'_>) -> Self {
        let mut position = Self { told: before.told, next: before.next.or(seen.start) };
        let mut reach = |revision: Revision| {
            position.next = position.next.map(|next| next.max(revision.saturating_add(1)));
        };
        for (_, response) in &seen.watch.responses {
            match &response.body {
                WatchBody::Events(events) => {
                    if let Some(last) = events.last() {
                        reach(last.kv.mod_revision);
                    }
                }
                WatchBody::Progress => reach(response.header.revision),
                WatchBody::Cancelled { compact_revision, .. } if *compact_revision > 0 => reach(*compact_revision),
                WatchBody::Created | WatchBody::Cancelled { .. } => {}
            }
        }
        let told = seen.events.iter().map(|told| told.revision).max();
        position.told = position.told.max(told.unwrap_or(0));
        position
    }
}

/// Whether the two are of the same keys and kinds of event: only then one goes on where the other ended.
pub(super) fn is_same(one: &Watch, other: &Watch) -> bool {
    let of = |watch: &Watch| (watch.request.range.clone(), watch.request.no_put, watch.request.no_delete);
    of(one) == of(other)
}

/// An event that an earlier watch had told already.
pub(super) fn unique(seen: &Seen<'_>, before: Position) -> Option<Finding> {
    let again = seen.events.iter().find(|told| told.revision <= before.told)?;
    let summary =
        format!("a change of revision {} was told once more, after the client had resumed the watch", again.revision);
    seen.finding("watch-unique", again.at, summary, vec![event_words(again.event)])
}

/// An event that lies between what the earlier watch told and the start of this one.
pub(super) fn reliable(seen: &Seen<'_>, before: Position) -> Option<Finding> {
    let (next, start) = (before.next?, seen.start?);
    let missing = seen.expected(next, start.saturating_sub(1)).next()?;
    let summary = format!(
        "the event of revision {} was told by no watch: the client resumed at revision {start}",
        missing.revision()
    );
    let at = seen.watch.responses.first().map_or(seen.watch.call, |(at, _)| *at);
    seen.finding("watch-reliable", at, summary, vec![missing.words()])
}
