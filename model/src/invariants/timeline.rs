//! M3: what a member reads of its past is what the log says that it was.
//!
//! It is read through the member's own index and backend, as clients and watches read it: at the compaction revision,
//! at the newest, and at some between; just below and just above there must be nothing. The reference keeps no version
//! that a compaction removes, and needs none: whoever is compacted may not be asked.

use std::fmt::Debug;

use detcd_replica::api::{Error, Key, KeyRange, Revision, WatchEvent, WatchEventKind};
use detcd_replica::history::{Finding, Moment};
use detcd_replica::{Timeline, View};

use super::findings::finding;
use super::reference::Fold;
use super::Invariants;
use crate::spec::{Keyspace, Record};

/// Keys that are read for one look, about: it is taken often where there are few, at one revision where there are many.
const KEYS_READ: usize = 4_096;

/// Revisions that are read for one look at most, between the compaction revision and the newest.
const BETWEEN_MAX: usize = 6;

impl Invariants {
    /// A member reads this of its past. It must stand where its view is: between two entries.
    ///
    /// # Errors
    /// What it reads is not what was written.
    pub fn on_timeline(&mut self, at: Moment, view: &View<'_>, timeline: &dyn Timeline) -> Result<(), Finding> {
        let place = self.place(view.member);
        let member = &self.members[place];
        let index = view.consistent_index;
        let unknown = index > self.reference.last();
        if self.premise_lost || member.damaged || member.tainted || unknown || view.revision <= 1 {
            return Ok(());
        }
        let needed: Vec<u64> = self.members.iter().map(|member| member.progress.committed_index()).collect();
        // An entry that cannot be read is for the disk's invariants.
        let Ok(fold) = self.reference.at(index, &needed) else { return Ok(()) };
        if fold.revision != view.revision || fold.compact_revision != view.compact_revision {
            return Ok(());
        }
        let compared = edges(fold, timeline).and_then(|()| {
            let mut revisions = chosen(fold).into_iter();
            revisions.try_for_each(|revision| compare(fold, revision, timeline))
        });
        compared.map_err(|(what, details)| finding("M3", at, format!("{} {what}", view.member), details))
    }
}

type Wrong = (String, Vec<String>);

/// The revisions that are read.
fn chosen(fold: &Fold) -> Vec<Revision> {
    let (first, last) = (fold.compact_revision.max(1), fold.revision);
    let between = BETWEEN_MAX.min(KEYS_READ / fold.versions().max(1)) as i64;
    let step = ((last - first) / (between + 1)).max(1);
    let mut revisions: Vec<_> = (0..=between).map(|number| first + number * step).filter(|it| *it < last).collect();
    if revisions.is_empty() || fold.versions() <= KEYS_READ {
        revisions.push(last);
    }
    revisions
}

/// What is compacted, and what is not yet, is refused.
fn edges(fold: &Fold, timeline: &dyn Timeline) -> Result<(), Wrong> {
    let below = fold.compact_revision - 1;
    let refused = [(below, below > 0, Error::Compacted), (fold.revision + 1, true, Error::FutureRevision)];
    for (revision, asked, should) in refused {
        match asked.then(|| timeline.keys(revision)) {
            None => {}
            Some(Err(error)) if error == should => {}
            Some(read) => {
                let read = read.map(|keys| format!("{} keys", keys.len()));
                let window = format!("compacted at {}, newest {}", fold.compact_revision, fold.revision);
                return Err((format!("reads revision {revision}: {read:?}, not {should:?}"), vec![window]));
            }
        }
    }
    Ok(())
}

/// Keys and events of one revision.
fn compare(fold: &Fold, revision: Revision, timeline: &dyn Timeline) -> Result<(), Wrong> {
    let read =
        timeline.keys(revision).map_err(|error| (format!("reads revision {revision}: {error:?}"), Vec::new()))?;
    let mut written = Vec::new();
    fold.scan(&KeyRange::prefix(""), revision, &mut |key, record| written.push(record.key_value(key)));
    if read != written {
        let what = format!("reads revision {revision} otherwise than it was");
        return Err((what, difference(&read, &written)));
    }
    let told = timeline.events(revision);
    let mut happened: Vec<_> = fold.at_revision(revision).collect();
    happened.sort_by_key(|(sub, ..)| *sub);
    let happened: Vec<_> = happened.into_iter().map(|(_, key, record)| event(key, record)).collect();
    if told != happened {
        let what = format!("tells of revision {revision} otherwise than it was");
        return Err((what, difference(&told, &happened)));
    }
    Ok(())
}

fn event(key: &Key, record: &Record) -> WatchEvent {
    let kind = if record.is_tombstone() { WatchEventKind::Delete } else { WatchEventKind::Put };
    WatchEvent { kind, kv: record.key_value(key), prev_kv: None }
}

/// The first place where two lists differ, which they do.
fn difference<T: Debug + PartialEq>(read: &[T], written: &[T]) -> Vec<String> {
    let place = read.iter().zip(written).take_while(|(read, written)| read == written).count();
    let shown = |of: &[T]| of.get(place).map_or("nothing".to_owned(), |it| format!("{it:?}"));
    vec![format!("read:    {}", shown(read)), format!("written: {}", shown(written))]
}
