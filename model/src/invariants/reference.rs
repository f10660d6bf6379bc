//! The reference: every entry as the first member to apply it had it, and the state that the specification says they
//! lead to, at any index that is asked for.
//!
//! States are folded on demand, and a few are kept: one for each place that some member's database may still be found
//! at. So the whole log is folded about once in a run, however often members crash.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use detcd_replica::api::{Key, KeyRange, Request, Revision};
use detcd_replica::raftpb;

use crate::spec::{self, Keyspace, Record, NEWEST};
use crate::storage::entry::{self, Command, ConfChange};

/// What is remembered of an entry.
#[derive(Clone, Debug)]
struct Recorded {
    kind: i32,
    term: u64,
    data: Bytes,
}

/// The log as it was applied, and states along it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reference {
    entries: Vec<Recorded>,
    /// By index, lowest first.
    states: Vec<Fold>,
}

impl Reference {
    /// The last index known.
    pub(super) fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    /// A member applies the entry after the last one known.
    pub(super) fn note(&mut self, entry: &raftpb::Entry) {
        assert_eq!(entry.index, self.last() + 1, "entries are recorded in order");
        let (kind, term) = (entry.entry_type as i32, entry.term);
        self.entries.push(Recorded { kind, term, data: entry.data.clone() });
    }

    /// The term of an entry.
    pub(super) fn term(&self, index: u64) -> Option<u64> {
        self.entries.get(index.checked_sub(1)? as usize).map(|entry| entry.term)
    }

    /// Every request in the log, in order.
    pub(super) fn requests(&self) -> Vec<Request> {
        let commands = self.entries.iter().filter_map(|entry| entry::command(entry.kind, &entry.data).ok());
        let request = |command| match command {
            Command::Request(request) => Some(request),
            _ => None,
        };
        commands.filter_map(request).collect()
    }

    /// The state after the entry at `index`, which must be known. `needed` are indices at which states may be asked for
    /// next.
    ///
    /// # Errors
    /// An entry cannot be read: its index, and why.
    pub(super) fn at(&mut self, index: u64, needed: &[u64]) -> Result<&Fold, (u64, String)> {
        assert!(index <= self.last(), "state {index} of {} entries", self.last());
        let after = self.states.partition_point(|state| state.index <= index);
        let place = match after.checked_sub(1) {
            None => {
                self.states.insert(0, Fold::default());
                0
            }
            Some(place) => {
                let from = self.states[place].index;
                if from < index && needed.iter().any(|other| (from..index).contains(other)) {
                    let copy = self.states[place].clone();
                    self.states.insert(place + 1, copy);
                    place + 1
                } else {
                    place
                }
            }
        };
        let state = &mut self.states[place];
        while state.index < index {
            state.apply(&self.entries[state.index as usize]).map_err(|reason| (state.index, reason))?;
        }
        // What nobody can ask for any more is below the lowest index needed, save the state just below that.
        let lowest = needed.iter().copied().min().unwrap_or(index).min(index);
        let keep = self.states.partition_point(|state| state.index <= lowest).saturating_sub(1);
        self.states.drain(..keep);
        Ok(&self.states[place - keep])
    }
}

/// A version of a key, with its place in the transaction that wrote it.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) sub: i64,
    pub(super) record: Record,
}

/// Who is a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    /// Each with whether it is a learner.
    pub(super) present: BTreeMap<u64, bool>,
    pub(super) removed: BTreeSet<u64>,
}

/// The state after an index: everything that a database must hold there, and nothing that a finished compaction has
/// removed.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    pub(super) index: u64,
    pub(super) revision: Revision,
    pub(super) compact_revision: Revision,
    keys: BTreeMap<Key, Vec<Version>>,
    /// All versions of all keys.
    versions: usize,
    /// Writes of the revision under way.
    written: i64,
    pub(super) members: Members,
}

impl Default for Fold {
    fn default() -> Self {
        Self {
            index: 0,
            revision: 1,
            compact_revision: -1,
            keys: BTreeMap::new(),
            versions: 0,
            written: 0,
            members: Members::default(),
        }
    }
}

impl Fold {
    fn apply(&mut self, entry: &Recorded) -> Result<(), String> {
        self.index += 1;
        match entry::command(entry.kind, &entry.data)? {
            Command::Nothing => {}
            // What is refused has no effect.
            Command::Request(request) => drop(spec::apply(self, &request)),
            Command::Change(change) => self.members.change(&change),
        }
        Ok(())
    }

    /// The version of `key` that the revision `main` wrote.
    pub(super) fn version(&self, key: &[u8], main: Revision) -> Option<&Version> {
        let versions = self.keys.get(key)?;
        let place = versions.binary_search_by_key(&main, |version| version.record.mod_revision).ok()?;
        Some(&versions[place])
    }

    /// How many versions of keys there are.
    pub(super) fn versions(&self) -> usize {
        self.versions
    }

    /// Every version of every key.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Key, &Version)> {
        self.keys.iter().flat_map(|(key, versions)| versions.iter().map(move |version| (key, version)))
    }
}

fn as_of(versions: &[Version], at: Revision) -> Option<&Record> {
    let known = match at {
        NEWEST => versions.len(),
        _ => versions.partition_point(|version| version.record.mod_revision <= at),
    };
    known.checked_sub(1).map(|last| &versions[last].record).filter(|record| !record.is_tombstone())
}

impl Keyspace for Fold {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn compact_revision(&self) -> Revision {
        self.compact_revision
    }

    fn find(&self, key: &Key, at: Revision) -> Option<&Record> {
        as_of(self.keys.get(key)?, at)
    }

    fn scan(&self, range: &KeyRange, at: Revision, visit: &mut dyn FnMut(&Key, &Record)) {
        let Some(bounds) = spec::bounds(range) else { return };
        for (key, versions) in self.keys.range::<[u8], _>(bounds) {
            if let Some(record) = as_of(versions, at) {
                visit(key, record);
            }
        }
    }

    fn write(&mut self, key: &Key, record: Record) {
        let sub = self.written;
        self.written += 1;
        self.versions += 1;
        self.keys.entry(key.clone()).or_default().push(Version { sub, record });
    }

    fn commit(&mut self, revision: Revision) {
        self.revision = revision;
        self.written = 0;
    }

    fn compact(&mut self, revision: Revision) {
        self.compact_revision = revision;
        let mut gone = 0;
        self.keys.retain(|_, versions| {
            let known = versions.partition_point(|version| version.record.mod_revision <= revision);
            if let Some(last) = known.checked_sub(1) {
                // A tombstone at the compaction revision itself is an event that a watch may still ask for.
                let record = &versions[last].record;
                let ends = record.is_tombstone() && record.mod_revision < revision;
                gone += versions.drain(..if ends { known } else { last }).count();
            }
            !versions.is_empty()
        });
        self.versions -= gone;
    }
}

impl Members {
    /// What is refused changes nothing: a member that is one already, or ever was, cannot be added; one that is none
    /// cannot be removed or promoted.
    fn change(&mut self, change: &ConfChange) {
        const ADD: i32 = 0;
        const REMOVE: i32 = 1;
        let id = change.node_id;
        let (known, gone) = (self.present.get(&id).copied(), self.removed.contains(&id));
        match (change.kind, known) {
            _ if gone => {}
            (REMOVE, Some(_)) => {
                self.present.remove(&id);
                self.removed.insert(id);
            }
            (REMOVE, None) | (ADD, Some(false)) => {}
            (ADD, Some(true)) | (ADD, None) => drop(self.present.insert(id, false)),
            (_, None) => drop(self.present.insert(id, true)),
            (_, Some(_)) => {}
        }
    }
}
