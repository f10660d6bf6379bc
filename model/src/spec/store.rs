//! The specification with its whole history: what a long history is judged against.
//!
//! Keys are hashed for single lookups, and ordered twice: those alive now (what most scans want) and all that ever were
//! (for scans of the past). Each key has its versions, oldest first; a log has each change, in order of revision.

use std::collections::{BTreeMap, BTreeSet};

use detcd_replica::api::{Error, Key, KeyRange, LeaseId, RangeEnd, Request, Revision, WatchEvent, WatchEventKind};

use super::keys::bounds;
use super::{apply, Applied, KeyMap, Keyspace, Record, State, NEWEST};

/// etcd as a sequential machine, with history from its compaction revision on.
#[derive(Clone, Debug)]
pub struct Store {
    revision: Revision,
    compact_revision: Revision,
    index: KeyMap<u32>,
    ever: BTreeMap<Key, u32>,
    live: BTreeMap<Key, u32>,
    slots: Vec<Slot>,
    log: Vec<Change>,
    /// The slots of keys that each lease was ever attached to, undone writes too.
    attached: BTreeMap<LeaseId, BTreeSet<u32>>,
}

#[derive(Clone, Debug)]
struct Slot {
    key: Key,
    /// How many of the oldest versions were compacted away.
    dropped: u32,
    records: Vec<Record>,
}

/// One change of one key: which revision, and where its version is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) revision: Revision,
    slot: u32,
    record: u32,
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl Store {
    /// The empty store, at revision 1.
    pub fn new() -> Self {
        Self {
            revision: 1,
            compact_revision: -1,
            index: KeyMap::default(),
            ever: BTreeMap::new(),
            live: BTreeMap::new(),
            slots: Vec::new(),
            log: Vec::new(),
            attached: BTreeMap::new(),
        }
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// History below this is gone; -1 when nothing was compacted.
    pub fn compact_revision(&self) -> Revision {
        self.compact_revision
    }

    /// Gives it one request, which must be one to the key space ([`super::is_key_request`]). An error changes nothing.
    pub fn apply(&mut self, request: &Request) -> Result<Applied, Error> {
        apply(self, request)
    }

    /// The events of a revision, as a watch over everything with previous values sees them.
    pub fn events(&self, revision: Revision) -> Vec<WatchEvent> {
        let changes = self.changes(revision, revision);
        changes
            .iter()
            .map(|change| {
                let (key, record, mut before) = self.change(change);
                // A transaction may change a key twice; what was before is what was before it.
                if before.is_some_and(|before| before.mod_revision == revision) {
                    let mut all = changes.iter().map(|change| self.change(change));
                    before = all.find(|(of, ..)| *of == key).and_then(|(.., before)| before);
                }
                let kind = if record.is_tombstone() { WatchEventKind::Delete } else { WatchEventKind::Put };
                WatchEvent { kind, kv: record.key_value(key), prev_kv: before.map(|record| record.key_value(key)) }
            })
            .collect()
    }

    /// The small form, as of `from` and with the history since: where a search over a window starts.
    pub fn window(&self, from: Revision) -> State {
        let keys = self.ever.iter().map(|(key, slot)| (key.clone(), &self.slots[*slot as usize].records));
        State::of(from.min(self.revision), self.compact_revision, keys)
    }

    /// The changes of the revisions `first..=last`, in order.
    pub(crate) fn changes(&self, first: Revision, last: Revision) -> &[Change] {
        let from = self.log.partition_point(|change| change.revision < first);
        let to = self.log.partition_point(|change| change.revision <= last);
        &self.log[from..to.max(from)]
    }

    /// Every change of keys in a range, in order.
    pub(crate) fn changes_of(&self, range: &KeyRange) -> Vec<Change> {
        let mut wanted = vec![false; self.slots.len()];
        let mut any = false;
        let mut want = |slot: u32| {
            wanted[slot as usize] = true;
            any = true;
        };
        match bounds(range) {
            _ if range.end == RangeEnd::Single => self.index.get(&range.start).into_iter().for_each(|slot| want(*slot)),
            Some(bounds) => self.ever.range::<[u8], _>(bounds).for_each(|(_, slot)| want(*slot)),
            None => {}
        }
        match any {
            true => self.log.iter().filter(|change| wanted[change.slot as usize]).copied().collect(),
            false => Vec::new(),
        }
    }

    /// The key of a change, its version, and the live one before it.
    pub(crate) fn change(&self, change: &Change) -> (&Key, &Record, Option<&Record>) {
        let slot = &self.slots[change.slot as usize];
        let at = (change.record - slot.dropped) as usize;
        let before = at.checked_sub(1).map(|at| &slot.records[at]).filter(|record| !record.is_tombstone());
        (&slot.key, &slot.records[at], before)
    }

    /// The revision of the last change of a key, up to a revision.
    pub(crate) fn last_change(&self, key: &Key, at: Revision) -> Option<Revision> {
        let slot = &self.slots[*self.index.get(key)? as usize];
        let known = slot.records.partition_point(|record| record.mod_revision <= at);
        known.checked_sub(1).map(|last| slot.records[last].mod_revision)
    }

    /// Every version of a key that is kept, oldest first.
    pub(crate) fn versions(&self, key: &Key) -> &[Record] {
        self.index.get(key).map_or(&[], |slot| &self.slots[*slot as usize].records)
    }

    /// Undoes every revision above this one. Not across a compaction.
    pub(crate) fn rollback(&mut self, revision: Revision) {
        assert!(revision >= self.compact_revision, "history below a compaction is gone");
        while let Some(change) = self.log.last().copied().filter(|change| change.revision > revision) {
            self.log.pop();
            let slot = &mut self.slots[change.slot as usize];
            slot.records.pop();
            if slot.records.last().is_some_and(|record| !record.is_tombstone()) {
                self.live.insert(slot.key.clone(), change.slot);
            } else {
                self.live.remove(&slot.key);
            }
        }
        self.revision = self.revision.min(revision);
    }

    /// Lets a revision pass of which nothing is known.
    pub(crate) fn skip(&mut self) {
        self.commit(self.revision + 1);
    }

    /// Takes over the next revision of another store, as it is in its log.
    pub(crate) fn follow(&mut self, other: &Self) {
        for change in other.changes(self.revision + 1, self.revision + 1) {
            let (key, record, _) = other.change(change);
            self.write(key, record.clone());
        }
        self.commit(self.revision + 1);
    }

    fn slot(&mut self, key: &Key) -> u32 {
        if let Some(slot) = self.index.get(key) {
            return *slot;
        }
        let slot = u32::try_from(self.slots.len()).expect("fewer than 2^32 keys");
        self.slots.push(Slot { key: key.clone(), dropped: 0, records: Vec::new() });
        self.index.insert(key.clone(), slot);
        self.ever.insert(key.clone(), slot);
        slot
    }

    fn as_of(&self, slot: u32, at: Revision) -> Option<&Record> {
        let records = &self.slots[slot as usize].records;
        let known = match at {
            NEWEST => records.len(),
            _ => records.partition_point(|record| record.mod_revision <= at),
        };
        known.checked_sub(1).map(|last| &records[last]).filter(|record| !record.is_tombstone())
    }
}

impl Keyspace for Store {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn compact_revision(&self) -> Revision {
        self.compact_revision
    }

    fn find(&self, key: &Key, at: Revision) -> Option<&Record> {
        self.as_of(*self.index.get(key)?, at)
    }

    fn scan(&self, range: &KeyRange, at: Revision, visit: &mut dyn FnMut(&Key, &Record)) {
        if range.end == RangeEnd::Single {
            if let Some(record) = self.find(&range.start, at) {
                visit(&range.start, record);
            }
            return;
        }
        let Some(bounds) = bounds(range) else { return };
        let keys = if at == NEWEST { &self.live } else { &self.ever };
        for (key, slot) in keys.range::<[u8], _>(bounds) {
            if let Some(record) = self.as_of(*slot, at) {
                visit(key, record);
            }
        }
    }

    fn write(&mut self, key: &Key, record: Record) {
        let slot = self.slot(key);
        if record.lease != 0 {
            self.attached.entry(record.lease).or_default().insert(slot);
        }
        let was_live = self.slots[slot as usize].records.last().is_some_and(|record| !record.is_tombstone());
        if record.is_tombstone() {
            self.live.remove(key);
        } else if !was_live {
            self.live.insert(key.clone(), slot);
        }
        let Slot { dropped, records, .. } = &mut self.slots[slot as usize];
        let at = *dropped + u32::try_from(records.len()).expect("fewer than 2^32 versions");
        self.log.push(Change { revision: record.mod_revision, slot, record: at });
        records.push(record);
    }

    fn commit(&mut self, revision: Revision) {
        assert_eq!(revision, self.revision + 1, "revisions have no gaps");
        self.revision = revision;
    }

    fn leased(&self, id: LeaseId) -> Vec<Key> {
        let slots = self.attached.get(&id).into_iter().flatten();
        let live = slots.filter(|slot| self.as_of(**slot, NEWEST).is_some_and(|record| record.lease == id));
        let mut keys: Vec<Key> = live.map(|slot| self.slots[*slot as usize].key.clone()).collect();
        keys.sort_unstable();
        keys
    }

    fn compact(&mut self, revision: Revision) {
        self.compact_revision = revision;
        for slot in &mut self.slots {
            let known = slot.records.partition_point(|record| record.mod_revision <= revision);
            // The newest version up to the compaction stays readable at it, unless it is a tombstone that also lies
            // below it: a tombstone at the compaction revision itself is an event that a watch may still ask for.
            let Some(last) = known.checked_sub(1) else { continue };
            let record = &slot.records[last];
            let drop = if record.is_tombstone() && record.mod_revision < revision { known } else { last };
            slot.records.drain(..drop);
            slot.dropped += u32::try_from(drop).expect("fewer than 2^32 versions");
        }
        let gone = self.log.partition_point(|change| change.revision < revision);
        self.log.drain(..gone);
    }
}
