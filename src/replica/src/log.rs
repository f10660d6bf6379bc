//! Raft's log in memory: what raft-rs reads through its `Storage` trait. Owned by one node, so no lock.

use std::collections::VecDeque;

use raft::{GetEntriesContext, RaftState, StorageError};

use crate::raftpb::{ConfState, Entry, HardState, Snapshot};

/// A snapshot's place, then the entries after it. Indices are contiguous: `entries[i]` has index `start.0 + 1 + i`.
#[derive(Clone, Debug)]
pub(crate) struct LogStorage {
    pub(crate) hard_state: HardState,
    /// Configuration to start from; raft-rs reads it once.
    pub(crate) conf_state: ConfState,
    /// Index and term before the first entry kept.
    pub(crate) start: (u64, u64),
    pub(crate) entries: VecDeque<Entry>,
    /// The newest snapshot made: index, term, and the configuration at it. Its index is at least `start.0`.
    pub(crate) snapshot: (u64, u64, ConfState),
}

impl LogStorage {
    pub(crate) fn last_index(&self) -> u64 {
        self.start.0 + self.entries.len() as u64
    }

    /// The term at `index`, if the log still knows it.
    pub(crate) fn term_of(&self, index: u64) -> Option<u64> {
        if index == self.start.0 {
            return Some(self.start.1);
        }
        let place = index.checked_sub(self.start.0 + 1)?;
        self.entries.get(place as usize).map(|entry| entry.term)
    }

    /// Add entries; those at and after the first one's index are replaced.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.start.0, "append at {} into a log that starts after {}", first.index, self.start.0);
        assert!(first.index <= self.last_index() + 1, "append at {} after {}", first.index, self.last_index());
        self.entries.truncate((first.index - self.start.0 - 1) as usize);
        self.entries.extend(entries.iter().cloned());
    }

    /// Replace everything by a snapshot from the leader.
    pub(crate) fn install(&mut self, index: u64, term: u64, conf_state: ConfState) {
        self.entries.clear();
        self.start = (index, term);
        self.conf_state = conf_state.clone();
        self.snapshot = (index, term, conf_state);
    }

    /// Forget entries up to `index`, which must be covered by the newest snapshot.
    pub(crate) fn compact(&mut self, index: u64) {
        assert!(index <= self.snapshot.0, "compact to {index} past the snapshot at {}", self.snapshot.0);
        if index <= self.start.0 {
            return;
        }
        let term = self.term_of(index).expect("compaction stays inside the log");
        self.entries.drain(..(index - self.start.0) as usize);
        self.start = (index, term);
    }
}

impl raft::Storage for LogStorage {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState { hard_state: self.hard_state.clone(), conf_state: self.conf_state.clone() })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.start.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        assert!(high <= self.last_index() + 1, "entries up to {high} of a log that ends at {}", self.last_index());
        let limit = max_size.into().unwrap_or(u64::MAX);
        let from = (low - self.start.0 - 1) as usize;
        let to = (high - self.start.0 - 1) as usize;
        let mut size = 0u64;
        let mut taken = from;
        for entry in self.entries.range(from..to) {
            size = size.saturating_add(entry.data.len() as u64 + 24);
            if size > limit && taken > from {
                break;
            }
            taken += 1;
        }
        Ok(self.entries.range(from..taken).cloned().collect())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.start.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        self.term_of(index).ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.start.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(Self::last_index(self))
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        let (index, term, conf_state) = &self.snapshot;
        if *index < request_index || *index == 0 {
            return Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = *index;
        metadata.term = *term;
        metadata.set_conf_state(conf_state.clone());
        Ok(snapshot)
    }
}
