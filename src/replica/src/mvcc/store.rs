//! The key space of one member: its revision, its key index, and the compaction that drops history.
//!
//! The values are in the backend; what is here can be had back from it (see `restore`). Every method that
//! reads or writes values is handed the backend's open batch.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::hash::{Hasher, KeyValueHash};
use super::index::Index;
use super::revision::RevisionKey;
use super::{Batch, Bucket};
use crate::api::{Error, Revision};
use crate::{Bug, Bugs};

/// Key of the meta bucket: a compaction to here was begun.
pub(super) const SCHEDULED_COMPACT: &[u8] = b"scheduledCompactRev";
/// Key of the meta bucket: a compaction to here was finished.
pub(super) const FINISHED_COMPACT: &[u8] = b"finishedCompactRev";

/// etcd's `mvcc.store`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    pub(super) index: Index,
    pub(super) revision: Revision,
    pub(super) compact_revision: Revision,
    /// Wrapping sum of the hashes of the live keys.
    pub(super) state_hash: u64,
    /// Compactions that wait for the one that runs, oldest first.
    pub(super) scheduled: VecDeque<ScheduledCompaction>,
    pub(super) running: Option<RunningCompaction>,
    /// What the last compactions have come to, by revision. Not on disk.
    pub(super) hashes: Vec<KeyValueHash>,
    pub(super) bugs: Bugs,
}

/// A compaction that has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ScheduledCompaction {
    pub(super) revision: Revision,
    /// The compaction revision before it.
    pub(super) previous: Revision,
    /// The one before it was done when this one was asked for: only then is its hash kept (etcd#15919).
    pub(super) follows_done: bool,
}

/// A compaction between two of its batches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RunningCompaction {
    revision: Revision,
    /// Revisions not above `revision` that stay.
    keep: Arc<BTreeSet<RevisionKey>>,
    /// Whether its hash passes over what an earlier compaction has left and this one removes; etcd's does when this one
    /// keeps anything.
    hashes_kept: bool,
    /// Where the next batch begins.
    cursor: RevisionKey,
    /// What it has read so far.
    hasher: Hasher,
    follows_done: bool,
}

/// What one batch of a compaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompactionStep {
    /// There was nothing to do.
    Idle,
    /// There is more: etcd commits the backend now, then sleeps for the compaction interval.
    More,
    /// The compaction to this revision is done. Another one may wait: [`Store::compaction_pending`].
    Finished(Revision),
}

impl Store {
    /// The empty store, at revision 1.
    pub fn new(bugs: Bugs) -> Self {
        Self {
            index: Index::default(),
            revision: 1,
            compact_revision: -1,
            state_hash: 0,
            scheduled: VecDeque::new(),
            running: None,
            hashes: Vec::new(),
            bugs,
        }
    }

    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The lowest revision that can be read; -1 when nothing was ever compacted.
    pub fn compact_revision(&self) -> Revision {
        self.compact_revision
    }

    /// Hash of the live keys with their revisions, versions, values and leases, whatever history led to them.
    pub fn state_hash(&self) -> u64 {
        self.state_hash
    }

    /// Notes that the hash of a live key went from one value to another (0: not live).
    pub(super) fn rehash(&mut self, old: u64, new: u64) {
        self.state_hash = self.state_hash.wrapping_sub(old).wrapping_add(new);
    }

    /// Whether a compaction has batches to run.
    pub fn compaction_pending(&self) -> bool {
        self.running.is_some() || !self.scheduled.is_empty()
    }

    /// Makes history below `revision` unreadable at once, and schedules its removal. etcd commits the backend
    /// after it.
    ///
    /// # Errors
    /// `Compacted` when it is not above the compaction revision, `FutureRevision` when it is above the
    /// newest.
    pub fn schedule_compaction(&mut self, batch: &mut dyn Batch, revision: Revision) -> Result<(), Error> {
        if revision <= self.compact_revision {
            return Err(Error::Compacted);
        }
        if revision > self.revision {
            return Err(Error::FutureRevision);
        }
        let done = [SCHEDULED_COMPACT, FINISHED_COMPACT].map(|key| batch.get(Bucket::Meta, key));
        let previous = std::mem::replace(&mut self.compact_revision, revision);
        self.scheduled.push_back(ScheduledCompaction { revision, previous, follows_done: done[0] == done[1] });
        put_meta_revision(batch, SCHEDULED_COMPACT, revision);
        Ok(())
    }

    /// One batch of the oldest compaction: looks at `limit` revisions at most and removes those that need not
    /// stay.
    pub fn compaction_batch(&mut self, batch: &mut dyn Batch, limit: usize) -> CompactionStep {
        assert!(limit > 0, "a compaction batch of nothing would never end");
        let mut running = match self.running.take() {
            Some(running) => running,
            None => match self.scheduled.pop_front() {
                Some(scheduled) => self.begin_compaction(scheduled),
                None => return CompactionStep::Idle,
            },
        };
        let from = running.cursor.encode();
        let to = (running.revision + 1).to_be_bytes();
        let (mut seen, mut doomed) = (0, Vec::new());
        batch.for_each(Bucket::Key, &from, Some(&to), &mut |key, value| {
            let (revision, _) = RevisionKey::decode(key).expect("restore has checked every revision");
            running.hasher.write(running.hashes_kept.then_some(&*running.keep), key, value);
            if !running.keep.contains(&revision) {
                doomed.push(key.clone());
            }
            running.cursor = RevisionKey::new(revision.main, revision.sub + 1);
            seen += 1;
            seen < limit
        });
        for key in doomed {
            batch.delete(Bucket::Key, &key);
        }
        if seen < limit {
            put_meta_revision(batch, FINISHED_COMPACT, running.revision);
            if running.follows_done {
                self.store_hash(running.hasher.end());
            }
            return CompactionStep::Finished(running.revision);
        }
        self.running = Some(running);
        CompactionStep::More
    }

    /// Compacts the index, which says what must stay in the backend.
    fn begin_compaction(&mut self, scheduled: ScheduledCompaction) -> RunningCompaction {
        let ScheduledCompaction { revision, previous, follows_done } = scheduled;
        let mut keep = BTreeSet::new();
        // The releases with the first two bugs dropped a tombstone at the compaction revision too (before etcd#18089).
        // Without that the newest revision always survives its compaction, and the bugs could not show.
        let drop_tombstone = self.bugs.has(Bug::RestoreRevIgnoresScheduled)
            || self.bugs.has(Bug::RestartCurLtCompact)
            || self.bugs.has(Bug::CompactDropsTombstoneAtRev);
        let reset_creation = self.bugs.has(Bug::CompactMetaWrong);
        self.index.compact(|key| {
            key.compact(revision, self.bugs, &mut keep);
            if drop_tombstone {
                key.drop_tombstone_at(revision, &mut keep);
            }
            if reset_creation {
                key.reset_creation();
            }
        });
        // A tombstone at the revision is kept for watchers, and hides from etcd that no key lives there: F-08, too.
        let hashes_kept = match self.bugs.has(Bug::HashCountsRemoved) {
            true => !keep.is_empty(),
            false => {
                let before_18089 = self.bugs.has(Bug::CompactDropsTombstoneAtRev);
                self.index.values().any(|key| key.keep(revision, before_18089).is_some())
            }
        };
        let hasher = Hasher::new(previous, revision);
        let (keep, cursor) = (Arc::new(keep), RevisionKey::default());
        RunningCompaction { revision, keep, hashes_kept, cursor, hasher, follows_done }
    }

    /// The revision that a request for `revision` reads when `current` is the newest.
    pub(super) fn readable(&self, revision: Revision, current: Revision) -> Result<Revision, Error> {
        match revision {
            ..=0 => Ok(current),
            _ if revision > current => Err(Error::FutureRevision),
            _ if revision < self.compact_revision => Err(Error::Compacted),
            _ => Ok(revision),
        }
    }
}

/// Writes a compaction revision to the meta bucket.
fn put_meta_revision(batch: &mut dyn Batch, key: &'static [u8], revision: Revision) {
    batch.put(Bucket::Meta, Bytes::from_static(key), RevisionKey::new(revision, 0).put_key());
}
