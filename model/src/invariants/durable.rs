//! R5's evidence: what each member's WAL would give back after a crash at this moment.
//!
//! A save is pending until a sync of its file, issued after it, has ended well. Saves become durable in the
//! order in which they were written, since a WAL is read only up to its first hole.

use std::collections::VecDeque;

use detcd_replica::{FileName, LogView, MemberId, OpId};

/// A write to the WAL that is not durable.
#[derive(Clone, Copy, Debug)]
struct Save {
    op: OpId,
    /// `None` when its write was not seen; then any file's sync will do.
    file: Option<FileName>,
    record: Record,
}

#[derive(Clone, Copy, Debug)]
enum Record {
    /// `count` entries from `first` on, whose terms wait in `pending_terms`, and the hard state.
    Raft { first: u64, count: u64, hard_state: (u64, MemberId), commit: u64 },
    /// A snapshot; `installed` when it replaces the log, which it does once a hard state has committed its index.
    Snapshot { index: u64, installed: bool },
}

/// One member's WAL.
#[derive(Clone, Debug)]
pub(super) struct Durable {
    /// Everything up to here is in a durable snapshot.
    base: u64,
    terms: VecDeque<u64>,
    /// Term and vote.
    pub(super) hard_state: (u64, MemberId),
    /// The same, save that what a boot has found counts only after a sync.
    pub(super) synced_hard_state: (u64, MemberId),
    /// A snapshot that is to replace the log, whose record lasts: the log is read as if it were not there, as long as
    /// no hard state has committed its index.
    installing: Option<u64>,
    pending: VecDeque<Save>,
    pending_terms: VecDeque<u64>,
    /// Entries from here on may be lost all the same: after a crash, since what was not synced may have overwritten
    /// them; after a boot, since it may have found them in the page cache that outlived a process.
    floor: u64,
}

impl Default for Durable {
    fn default() -> Self {
        Self {
            base: 0,
            terms: VecDeque::new(),
            hard_state: (0, MemberId::NONE),
            synced_hard_state: (0, MemberId::NONE),
            installing: None,
            pending: VecDeque::new(),
            pending_terms: VecDeque::new(),
            floor: u64::MAX,
        }
    }
}

/// An entry that was durable and did not come back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) found: Option<u64>,
}

impl Durable {
    pub(super) fn last(&self) -> u64 {
        self.base + self.terms.len() as u64
    }

    /// Whether anything would be lost with this disk.
    pub(super) fn is_empty(&self) -> bool {
        self.last() == 0 && self.hard_state == (0, MemberId::NONE)
    }

    /// Whether the entry of `term` at `index` would survive.
    pub(super) fn has(&self, index: u64, term: u64) -> bool {
        index <= self.base || self.terms.get((index - self.base - 1) as usize) == Some(&term)
    }

    /// A save was written. The terms of its entries are taken from the log.
    pub(super) fn saved(
        &mut self,
        op: OpId,
        file: Option<FileName>,
        entries: Option<(u64, u64)>,
        (term, vote, commit): (u64, MemberId, u64),
        log: &LogView<'_>,
    ) {
        let (mut first, mut count) = (0, 0);
        if let Some((low, high)) = entries {
            (first, count) = (low, high + 1 - low);
            self.pending_terms.extend((low..=high).map(|index| log.entry(index).map_or(0, |entry| entry.term)));
        }
        let record = Record::Raft { first, count, hard_state: (term, vote), commit };
        self.pending.push_back(Save { op, file, record });
    }

    /// A snapshot record was written.
    pub(super) fn snapshot_saved(&mut self, op: OpId, file: Option<FileName>, index: u64, installed: bool) {
        self.pending.push_back(Save { op, file, record: Record::Snapshot { index, installed } });
    }

    /// A file has a new name; so do the writes in it.
    pub(super) fn renamed(&mut self, from: FileName, to: FileName) {
        for save in &mut self.pending {
            if save.file == Some(from) {
                save.file = Some(to);
            }
        }
    }

    /// Everything written to `file` up to `op` lasts.
    pub(super) fn synced(&mut self, file: FileName, op: OpId) {
        if !matches!(file, FileName::Wal { .. }) {
            return;
        }
        while let Some(save) = self.pending.front() {
            if save.op > op || save.file.is_some_and(|other| other != file) {
                break;
            }
            let record = save.record;
            self.pending.pop_front();
            self.settle(record);
        }
        // A booted member goes on in the segment that it found, so the sync covers that too.
        self.floor = u64::MAX;
        self.synced_hard_state = self.hard_state;
    }

    fn settle(&mut self, record: Record) {
        match record {
            Record::Raft { first, count, hard_state, commit } => {
                self.hard_state = hard_state;
                if let Some(index) = self.installing.take_if(|index| *index <= commit) {
                    self.restart_at(index.max(self.base));
                }
                if count == 0 {
                    return;
                }
                if first > self.last() + 1 || first <= self.base {
                    self.restart_at(first - 1);
                }
                self.terms.truncate((first - 1 - self.base) as usize);
                self.terms.extend(self.pending_terms.drain(..count as usize));
            }
            Record::Snapshot { index, installed } => {
                if installed {
                    self.installing = Some(index);
                } else if index > self.base {
                    let covered = (index.min(self.last()) - self.base) as usize;
                    self.terms.drain(..covered);
                    self.base = index;
                }
            }
        }
    }

    fn restart_at(&mut self, base: u64) {
        self.base = base;
        self.terms.clear();
    }

    /// What was pending may be there or not, and may have cut off what was durable.
    pub(super) fn crashed(&mut self) {
        if let Some(index) = self.installing.take() {
            self.floor = self.floor.min(index + 1);
        }
        for save in &self.pending {
            let from = match save.record {
                Record::Raft { first, count, .. } if count > 0 => first,
                Record::Snapshot { index, installed: true } => index + 1,
                _ => continue,
            };
            self.floor = self.floor.min(from);
        }
        self.pending.clear();
        self.pending_terms.clear();
    }

    /// What must be in a log that goes from `start` to `last`, with entries of these terms, and is not.
    pub(super) fn lost(&self, start: u64, last: u64, term_of: impl Fn(u64) -> Option<u64>) -> Option<Lost> {
        let low = self.base.max(start) + 1;
        let high = self.last().min(self.floor - 1);
        if last < self.base.min(self.floor - 1) {
            return Some(Lost { index: self.base, term: 0, found: None });
        }
        (low..=high).find_map(|index| {
            let term = self.terms[(index - self.base - 1) as usize];
            let found = term_of(index);
            (found != Some(term)).then_some(Lost { index, term, found })
        })
    }

    /// The member has booted with this log and hard state, which it takes for durable.
    pub(super) fn booted(&mut self, log: &LogView<'_>, hard_state: (u64, MemberId)) {
        let high = self.last().min(self.floor - 1);
        let mut floor = self.base.max(log.start.0).min(high) + 1;
        while floor <= high && log.entry(floor).is_some_and(|entry| self.has(floor, entry.term)) {
            floor += 1;
        }
        self.floor = floor;
        self.installing = None;
        self.restart_at(log.start.0);
        self.terms.extend((log.start.0 + 1..=log.last_index()).map(|index| log.entry(index).map_or(0, |it| it.term)));
        self.hard_state = hard_state;
    }
}
