//! R3 and R4: what is known to be committed, by index, and what that demands of leaders, logs and the apply
//! loops.
//!
//! An entry is known to be committed once any member's commit index has passed it. The first member to know
//! is the leader that committed it, so its term then is the term *in which* the entry was committed, which
//! may be above the entry's own.

use std::collections::VecDeque;

use super::logs::{Shadow, Slot, KEPT_MAX, UNKNOWN};

/// A committed entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commit {
    pub(super) entry: Slot,
    /// The term of the member that knew first.
    pub(super) committed_in: u64,
}

/// Every committed entry from `base + 1` on.
#[derive(Clone, Debug, Default)]
pub(super) struct Committed {
    base: u64,
    entries: VecDeque<Commit>,
}

/// Where a log and the committed entries part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conflict {
    pub(super) index: u64,
    /// Term of the committed entry.
    pub(super) committed: u64,
    /// Term of the log's entry; `None` when the log ends before it.
    pub(super) found: Option<u64>,
}

impl Committed {
    /// The highest index known to be committed.
    pub(super) fn last(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    pub(super) fn get(&self, index: u64) -> Option<&Commit> {
        self.entries.get(index.checked_sub(self.base + 1)? as usize)
    }

    /// The log's entries up to `index` are committed; those not known yet are added.
    pub(super) fn raise(&mut self, log: &Shadow, index: u64, term: u64) {
        if self.last() < log.start() {
            // The log goes on behind a snapshot of which nobody has shown the entries.
            self.entries.clear();
            self.base = log.start();
        }
        for next in self.last() + 1..=index {
            let Some(entry) = log.get(next) else { break };
            self.entries.push_back(Commit { entry: *entry, committed_in: term });
        }
        if self.entries.len() > KEPT_MAX {
            self.prune(self.base + (KEPT_MAX / 4) as u64);
        }
    }

    /// The highest index committed in a term below `term`: every leader of `term` must have it (Raft §5.4,
    /// figure 3).
    pub(super) fn before_term(&self, term: u64) -> u64 {
        match self.entries.back() {
            Some(last) if last.committed_in >= term => {
                self.base + self.entries.partition_point(|entry| entry.committed_in < term) as u64
            }
            _ => self.last(),
        }
    }

    /// Compare the log with everything committed up to `index`.
    pub(super) fn compare(&self, log: &Shadow, index: u64) -> Result<(), Conflict> {
        if index <= log.start() {
            return Ok(());
        }
        let Some(commit) = self.get(index) else { return Ok(()) };
        if agree(&commit.entry, log.get(index)) {
            return Ok(());
        }
        let low = log.start().max(self.base) + 1;
        let first =
            (low..=index).find_map(|at| Some((at, self.get(at)?)).filter(|(at, it)| !agree(&it.entry, log.get(*at))));
        let (index, commit) = first.unwrap_or((index, commit));
        Err(Conflict { index, committed: commit.entry.term, found: log.get(index).map(|slot| slot.term) })
    }

    /// What is committed behind `index` is given up.
    pub(super) fn give_up_behind(&mut self, index: u64) {
        self.entries.truncate(index.saturating_sub(self.base) as usize);
    }

    pub(super) fn prune(&mut self, index: u64) {
        let gone = index.saturating_sub(self.base + 1).min(self.entries.len() as u64);
        self.entries.drain(..gone as usize);
        self.base += gone;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn agree(committed: &Slot, found: Option<&Slot>) -> bool {
    let Some(found) = found else { return false };
    if committed.prefix == UNKNOWN || found.prefix == UNKNOWN {
        return (committed.term, committed.hash) == (found.term, found.hash);
    }
    committed.prefix == found.prefix
}
