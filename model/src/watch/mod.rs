//! The guarantees of etcd's watch, each a function over one watch and the log of what was written.
//!
//! Ordered, unique, atomic, reliable, resumable, bookmarkable are those of etcd's API guarantees; filter, prev-kv,
//! is-create and live say what else a client may count on. The log is what tier 1 of the linearizability check made of
//! the operations; where it had to guess, events are held against nothing but themselves.

mod content;
mod resumed;
mod sequence;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use detcd_replica::api::{Key, KeyRange, KeyValue, Revision, WatchBody, WatchEvent, WatchEventKind};
use detcd_replica::history::{Finding, History, Moment, Side, Watch};

use crate::linearizability::{words, Compactions, Truth};
use crate::spec::{Change, Record};

use resumed::Position;

/// The names of the checks, in the order in which they are made.
pub(crate) const CHECKS: [&str; 10] = [
    "watch-filter",
    "watch-ordered",
    "watch-unique",
    "watch-atomic",
    "watch-bookmarkable",
    "watch-resumable",
    "watch-reliable",
    "watch-is-create",
    "watch-prev-kv",
    "watch-live",
];

/// Every guarantee that was broken, at most one finding a check and watch.
pub(crate) fn check(history: &History, truth: &Truth) -> Vec<Finding> {
    let compactions = Compactions::of(&history.operations.iter().collect::<Vec<_>>());
    let mut findings = Vec::new();
    let mut positions: Vec<Position> = Vec::with_capacity(history.watches.len());
    let mut changes = BTreeMap::<&KeyRange, Vec<Change>>::new();
    for watch in &history.watches {
        let range = &watch.request.range;
        changes.entry(range).or_insert_with(|| truth.store.changes_of(range));
    }
    for (number, watch) in history.watches.iter().enumerate() {
        let view = Seen::of(number, watch, truth, &changes[&watch.request.range], &compactions);
        findings.extend(sequence::filter(&view));
        findings.extend(sequence::ordered(&view));
        findings.extend(sequence::unique(&view));
        findings.extend(sequence::atomic(&view));
        findings.extend(sequence::bookmarkable(&view));
        findings.extend(content::resumable(&view));
        findings.extend(content::reliable(&view));
        findings.extend(content::is_create(&view));
        findings.extend(content::prev_kv(&view));
        findings.extend(content::live(&view));
        let resumes = watch.resumes.filter(|place| resumed::is_same(watch, &history.watches[*place]));
        let before = resumes.map_or_else(Position::default, |place| positions[place]);
        if resumes.is_some() {
            findings.extend(resumed::unique(&view, before));
            findings.extend(resumed::reliable(&view, before));
        }
        positions.push(Position::after(before, &view));
    }
    findings
}

/// One watch as the checks look at it.
struct Seen<'h> {
    number: usize,
    watch: &'h Watch,
    truth: &'h Truth,
    /// What the log has of the keys that are watched.
    changes: &'h [Change],
    compactions: &'h Compactions,
    /// The first revision that it must show; `None` when the client never learnt it.
    start: Option<Revision>,
    /// Every event, as it came.
    events: Vec<Told<'h>>,
    /// The events by what they tell of: revision, key, and in which response. In this order.
    told: Vec<(Revision, &'h Key, usize)>,
    /// Every progress notification: when, in which response, up to which revision.
    progress: Vec<(Moment, usize, Revision)>,
    /// The moment of the cancellation, when there was one.
    cancelled: Option<Moment>,
}

/// An event, and all that the checks want of it: they pass over the events many times, and its bytes lie far apart.
struct Told<'h> {
    event: &'h WatchEvent,
    at: Moment,
    /// The response that it came in.
    response: usize,
    revision: Revision,
    /// The change of the log that it tells of.
    change: Option<Expected<'h>>,
    /// Whether the watch asked for such keys and such events.
    wanted: bool,
    /// Whether the log may be wrong about what it tells of.
    doubtful: bool,
    /// Whether it is what was written.
    as_written: bool,
    /// Whether the key was created when it says so; a delete says nothing of that.
    as_created: bool,
    /// Whether the previous value is right; `None` when it has none.
    as_before: Option<bool>,
}

impl<'h> Seen<'h> {
    fn of(
        number: usize,
        watch: &'h Watch,
        truth: &'h Truth,
        changes: &'h [Change],
        compactions: &'h Compactions,
    ) -> Self {
        let asked = watch.request.start_revision;
        let mut seen = Self {
            number,
            watch,
            truth,
            changes,
            compactions,
            start: (asked > 0).then_some(asked),
            events: Vec::new(),
            told: Vec::new(),
            progress: Vec::new(),
            cancelled: None,
        };
        let mut near = 0;
        for (place, (at, response)) in watch.responses.iter().enumerate() {
            match &response.body {
                // From now on: the revision after the one at which the watch was made.
                WatchBody::Created => seen.start = seen.start.or(Some(response.header.revision.saturating_add(1))),
                WatchBody::Events(events) => {
                    for event in events {
                        let told = seen.look_at(*at, place, event, &mut near);
                        seen.events.push(told);
                    }
                }
                WatchBody::Progress => seen.progress.push((*at, place, response.header.revision)),
                WatchBody::Cancelled { .. } => seen.cancelled = seen.cancelled.or(Some(*at)),
            }
        }
        seen.told = seen.events.iter().map(|told| (told.revision, &told.event.kv.key, told.response)).collect();
        seen.told.sort_unstable();
        seen
    }

    fn look_at(&self, at: Moment, response: usize, event: &'h WatchEvent, near: &mut usize) -> Told<'h> {
        let (request, revision) = (&self.watch.request, event.kv.mod_revision);
        let unwanted = match event.kind {
            WatchEventKind::Put => request.no_put,
            WatchEventKind::Delete => request.no_delete,
        };
        let in_range = request.range.contains(&event.kv.key);
        let changes = match in_range {
            true => of_revision(self.changes, near, revision, |change| change.revision),
            false => self.truth.store.changes(revision, revision),
        };
        let change = self.change_of(event, changes);
        Told {
            event,
            at,
            response,
            revision,
            change,
            wanted: in_range && !unwanted,
            doubtful: self.truth.doubts.about(&event.kv.key, revision),
            as_written: change.is_some_and(|change| change.is_told_by(event)),
            as_created: change.is_none_or(|change| change.is_created_by(event)),
            as_before: event.prev_kv.as_ref().map(|prev| change.is_some_and(|change| change.was(prev))),
        }
    }

    /// The events, but those that the log may be wrong about.
    fn certain(&self) -> impl Iterator<Item = &Told<'h>> {
        self.events.iter().filter(|told| !told.doubtful)
    }

    fn finding(&self, check: &'static str, at: Moment, summary: String, details: Vec<String>) -> Option<Finding> {
        let Watch { client, member, call, request, resumes, .. } = self.watch;
        let resumes = resumes.map_or_else(String::new, |number| format!(", resumes watch {number}"));
        let mut lines = vec![format!(
            "watch {} of client {client} on {member}, asked for at {call}: watch {} --rev={}{resumes}",
            self.number,
            words::range(&request.range),
            request.start_revision,
        )];
        lines.extend(details);
        Some(Finding { check, side: Side::BlackBox, at, summary, details: lines })
    }

    /// The changes of the log in a span of revisions that this watch asked for, but none where the log may be wrong.
    fn expected(&self, first: Revision, last: Revision) -> impl Iterator<Item = Expected<'h>> + '_ {
        let store = &self.truth.store;
        let request = &self.watch.request;
        let from = self.changes.partition_point(|change| change.revision < first);
        let to = self.changes.partition_point(|change| change.revision <= last);
        self.changes[from..to.max(from)].iter().filter_map(move |change| {
            let (key, record, before) = store.change(change);
            let wanted = if record.is_tombstone() { !request.no_delete } else { !request.no_put };
            let certain = || !self.truth.doubts.about(key, change.revision);
            (wanted && certain()).then_some(Expected { key, record, before })
        })
    }

    /// The change that an event tells of, out of those of its revision, and what was there before that.
    fn change_of(&self, event: &WatchEvent, changes: &'h [Change]) -> Option<Expected<'h>> {
        let store = &self.truth.store;
        let changes = changes.iter().map(|change| store.change(change));
        let mut changes = changes.filter(|(key, ..)| **key == event.kv.key);
        let (key, record, before) = changes.next()?;
        let is_told = |record: &Record| record.is_tombstone() == (event.kind == WatchEventKind::Delete);
        let record = if is_told(record) { record } else { changes.map(|change| change.1).find(|it| is_told(it))? };
        Some(Expected { key, record, before })
    }

    /// In which response the change of a key at a revision was told first. Fast when `near` is from a call for an
    /// earlier revision.
    fn response_of(&self, revision: Revision, key: &Key, near: &mut usize) -> Option<usize> {
        let same = of_revision(&self.told, near, revision, |told| told.0);
        let first = same.get(same.partition_point(|told| told.1 < key))?;
        (first.1 == key).then_some(first.2)
    }
}

/// What a list, sorted by revision, has of one of them. It is looked for from `near` on, which comes to be where it
/// begins: one revision after the other costs next to nothing.
fn of_revision<'l, T>(list: &'l [T], near: &mut usize, revision: Revision, of: impl Fn(&T) -> Revision) -> &'l [T] {
    if *near > 0 && of(&list[*near - 1]) >= revision {
        *near = 0;
    }
    *near += gallop(&list[*near..], |item| of(item) < revision);
    let rest = &list[*near..];
    &rest[..gallop(rest, |item| of(item) == revision)]
}

/// `partition_point` at a cost that grows with the logarithm of what it finds.
fn gallop<T>(list: &[T], is_before: impl Fn(&T) -> bool) -> usize {
    let mut span = 1;
    while list.get(span - 1).is_some_and(&is_before) {
        span *= 2;
    }
    list[..span.min(list.len())].partition_point(is_before)
}

/// A change that a watch should tell of.
#[derive(Clone, Copy)]
struct Expected<'h> {
    key: &'h Key,
    record: &'h Record,
    before: Option<&'h Record>,
}

impl Expected<'_> {
    /// Whether this is what was there before.
    fn was(&self, told: &KeyValue) -> bool {
        // All of it, whatever it comes to have.
        let KeyValue { key, create_revision, mod_revision, version, value, lease } = told;
        self.before.is_some_and(|before| {
            key == self.key
                && *create_revision == before.create_revision
                && *mod_revision == before.mod_revision
                && *version == before.version
                && *lease == before.lease
                && *value == before.value
        })
    }

    fn revision(&self) -> Revision {
        self.record.mod_revision
    }

    /// Whether the event tells of this change: kind, key, revision and value. Creation has a check of its own.
    fn is_told_by(&self, event: &WatchEvent) -> bool {
        let kind = if self.record.is_tombstone() { WatchEventKind::Delete } else { WatchEventKind::Put };
        event.kind == kind
            && event.kv.key == *self.key
            && event.kv.mod_revision == self.record.mod_revision
            && event.kv.value == self.record.value
            && event.kv.version == self.record.version
            && event.kv.lease == self.record.lease
    }

    /// Whether the event, if both are puts, says when the key was created.
    fn is_created_by(&self, event: &WatchEvent) -> bool {
        let puts = event.kind == WatchEventKind::Put && !self.record.is_tombstone();
        !puts || event.kv.create_revision == self.record.create_revision
    }

    fn words(&self) -> String {
        if self.record.is_tombstone() {
            return format!("DELETE {} at revision {}", words::text(self.key), self.revision());
        }
        format!("PUT {}", words::key_value(&self.record.key_value(self.key)))
    }
}

fn event_words(event: &WatchEvent) -> String {
    match event.kind {
        WatchEventKind::Put => format!("PUT {}", words::key_value(&event.kv)),
        WatchEventKind::Delete => {
            format!("DELETE {} at revision {}", words::text(&event.kv.key), event.kv.mod_revision)
        }
    }
}
