//! The apply loop: committed entries become state, one transaction each, and waiting requests get their answers.
//!
//! An entry is applied in two strokes, as in etcd: first it is begun, then its transaction runs under the backend's
//! lock and moves the consistent index. A backend commit may fall between the two; that it must not save the index of
//! an entry which has only begun is what etcd#13766 was about.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::api::{Request, Response, ResponseBody};
use crate::auth::AuthInfo;
use crate::backend::CommitProgress;
use crate::mvcc::CompactionStep;
use crate::raftpb::{Entry, EntryType, Snapshot};
use crate::wire::{self, Command};
use crate::{Bug, Event, Failpoint, OpId, Task};

use super::{Replica, Waiting};

/// What the Raft loop has handed over and the apply loop has not applied.
#[derive(Clone, Debug, Default)]
pub(super) struct Applying {
    queue: VecDeque<Work>,
    /// The entry at the head of the queue has begun.
    begun: Option<Begun>,
    /// Databases received and saved, not yet installed, by snapshot index.
    databases: BTreeMap<u64, Bytes>,
}

/// An entry whose transaction has not run yet.
#[derive(Clone, Copy, Debug)]
struct Begun {
    index: u64,
    term: u64,
    /// Whether it is above the consistent index: below, the backend has it already.
    fresh: bool,
}

#[derive(Clone, Debug)]
enum Work {
    Entry(Entry),
    Snapshot { snapshot: Box<Snapshot>, persisted: bool },
}

impl Applying {
    pub(super) fn push(&mut self, entries: Vec<Entry>) {
        self.queue.extend(entries.into_iter().map(Work::Entry));
    }

    pub(super) fn push_snapshot(&mut self, snapshot: &Snapshot) {
        self.queue.push_back(Work::Snapshot { snapshot: Box::new(snapshot.clone()), persisted: false });
    }

    pub(super) fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    pub(super) fn has_database(&self, index: u64) -> bool {
        self.databases.contains_key(&index)
    }

    pub(super) fn keep_database(&mut self, index: u64, database: Bytes) {
        self.databases.insert(index, database);
    }

    /// The record of the snapshot at `index` is durable: the database may be swapped.
    pub(super) fn snapshot_persisted(&mut self, index: u64) {
        for work in &mut self.queue {
            if let Work::Snapshot { snapshot, persisted } = work {
                *persisted |= snapshot.get_metadata().index == index;
            }
        }
    }
}

impl Replica {
    pub(super) fn apply_run(&mut self) {
        let mut entries = 0;
        while let Some(work) = self.applying.queue.front() {
            if self.backend.awaiting().is_some() {
                // The commit holds the batch lock; its end wakes us.
                return;
            }
            match work {
                Work::Snapshot { persisted: false, .. } => return,
                Work::Snapshot { .. } => self.apply_snapshot(),
                Work::Entry(entry) => {
                    if self.applying.begun.is_none() {
                        let fresh = entry.index > self.backend.consistent_index();
                        self.applying.begun = Some(Begun { index: entry.index, term: entry.term, fresh });
                        let normal = entry.entry_type == EntryType::EntryNormal;
                        self.out.point(match normal {
                            true => Failpoint::BeforeApplyOneEntryNormal,
                            false => Failpoint::BeforeApplyOneConfChange,
                        });
                        // One entry a run: then each stroke has a run of its own.
                        if entries == self.config.apply_batch || self.config.apply_batch == 1 {
                            break;
                        }
                    }
                    let Some(Work::Entry(entry)) = self.applying.queue.pop_front() else {
                        unreachable!("the head of the queue was an entry a moment ago")
                    };
                    let begun = self.applying.begun.take().expect("it has begun");
                    self.apply_entry(&entry, begun.fresh);
                    entries += 1;
                    if self.stopped {
                        return;
                    }
                    if self.commit_wanted || self.backend.pending() >= self.config.backend_batch_limit {
                        self.begin_commit();
                    }
                }
            }
        }
        if self.config.bugs.has(Bug::ConfrespBeforeAdvance) && self.saving.is_some() {
            self.out.wake(Task::Apply, self.config.heartbeat_interval);
        } else {
            self.raft.advance_apply_to(self.applied);
        }
        self.after_raft();
        self.call_seated();
        self.serve_confirmed();
        if self.snapshotting.due(self.applied, self.config.snapshot_count) {
            self.out.wake_now(Task::Snapshot);
        }
        self.send_database();
        self.wake_watchers();
        if self.applying.has_work() {
            self.out.wake_now(Task::Apply);
        }
    }

    /// An entry that is not fresh only rebuilds Raft's own configuration.
    fn apply_entry(&mut self, entry: &Entry, fresh: bool) {
        assert_eq!(entry.index, self.applied + 1, "entries are applied in order, without a gap");
        if fresh && self.membership.replays() {
            self.membership.end_replay(self.speaks_old());
        }
        match entry.entry_type {
            // The first commit of a term.
            EntryType::EntryNormal if entry.data.is_empty() => self.out.wake_now(Task::ClusterVersion),
            EntryType::EntryNormal if fresh => self.apply_request(&entry.data),
            EntryType::EntryNormal if self.config.bugs.has(Bug::AuthReapplyBumpsRev) => self.reapply_auth(&entry.data),
            EntryType::EntryNormal => self.replay_cluster(&entry.data),
            EntryType::EntryConfChange => self.apply_conf_change(entry.index, &entry.data, fresh),
            EntryType::EntryConfChangeV2 => panic!("nobody proposes joint configurations"),
        }
        self.applied = entry.index;
        if !fresh {
            if entry.index == self.backend.consistent_index() {
                self.membership.end_replay(self.speaks_old());
            }
            return;
        }
        self.backend.set_consistent_index(entry.index, entry.term);
        let entry_hash = xxh3_64_with_seed(&entry.data, entry.entry_type as u64);
        self.event(Event::Applied {
            index: entry.index,
            term: entry.term,
            entry_hash,
            state_hash: self.store.state_hash(),
            revision: self.store.revision(),
        });
    }

    fn apply_request(&mut self, data: &Bytes) {
        let entry = wire::decode(data).expect("a member proposes only what it has encoded");
        let who = AuthInfo { username: entry.username, revision: entry.auth_revision };
        let request = match entry.command {
            Command::Request(request) => request,
            Command::Auth(command) => return self.apply_auth(entry.id, &who, command),
            command @ (Command::ClusterVersionSet(_)
            | Command::ClusterMemberAttrSet(_)
            | Command::DowngradeInfoSet(_)
            | Command::Old(_)
            | Command::Nothing) => return self.apply_cluster(entry.id, command),
            other => panic!("an entry holds what is never proposed: {other:?}"),
        };
        let waiter = self.proposed.remove(&entry.id);
        if let Err(error) = self.may_apply(&who, &request) {
            if let Some(id) = waiter {
                self.reply(id, Err(error));
            }
            return;
        }
        let result = match request {
            Request::Put(put) => self.store.apply_put(&mut self.backend, &put),
            Request::DeleteRange(delete) => Ok(self.store.apply_delete_range(&mut self.backend, &delete)),
            Request::Txn(txn) => self.store.apply_txn(&mut self.backend, &txn),
            Request::Compact(compact) => {
                let result = self.store.schedule_compaction(&mut self.backend, compact.revision);
                if result.is_ok() {
                    // The schedule is forced to disk before the first batch.
                    self.out.point(Failpoint::CompactBeforeCommitScheduledCompact);
                    self.commit_wanted = true;
                    self.out.wake_now(Task::Compaction);
                    if let (true, Some(id)) = (compact.physical, waiter) {
                        self.compacting.push((id, compact.revision));
                        return;
                    }
                }
                result.map(|()| (ResponseBody::Compact, Vec::new()))
            }
            other => panic!("an entry holds what is never proposed: {other:?}"),
        };
        if let Ok((_, events)) = &result {
            if !events.is_empty() {
                self.watchers.notify(self.store.revision(), events);
            }
        }
        if let Some(id) = waiter {
            let header = self.header();
            self.reply(id, result.map(|(body, _)| Response { header, body }));
        }
    }

    // ---- The backend's batch.

    pub(super) fn backend_commit_tick(&mut self) {
        self.out.wake(Task::BackendCommit, self.config.backend_batch_interval);
        if self.backend.pending() > 0 {
            self.begin_commit();
        }
    }

    /// Commit the batch, with the index of the last entry that is wholly in it.
    pub(super) fn begin_commit(&mut self) {
        if self.backend.awaiting().is_some() {
            return;
        }
        self.commit_wanted = false;
        self.out.point(Failpoint::CommitBeforePreCommitHook);
        if let (true, Some(begun)) = (self.config.bugs.has(Bug::CiSavedBeforeApply), self.applying.begun) {
            if begun.fresh {
                self.backend.set_consistent_index(begun.index, begun.term);
            }
        }
        self.out.point(Failpoint::CommitAfterPreCommitHook);
        self.out.point(Failpoint::BeforeCommit);
        let sync = self.backend.begin_commit(&mut self.out);
        self.disk.insert(sync, Waiting::Backend);
    }

    pub(super) fn backend_progress(&mut self, op: OpId) {
        match self.backend.on_disk(op, &mut self.out) {
            CommitProgress::Pending => {
                let sync = self.backend.awaiting().expect("a pending commit waits for a sync");
                self.disk.insert(sync, Waiting::Backend);
            }
            CommitProgress::Done { consistent_index } => {
                self.backend_committed = consistent_index;
                self.out.point(Failpoint::AfterCommit);
                self.event(Event::BackendCommitted { consistent_index });
                self.out.wake_now(Task::Apply);
                if self.snapshotting.waits_for_commit() {
                    self.out.wake_now(Task::Snapshot);
                }
                if self.store.compaction_pending() {
                    self.out.wake(Task::Compaction, self.config.compaction_sleep_interval);
                }
            }
        }
    }

    // ---- Compaction of the key space.

    /// One batch. Each batch is committed before the next; the end is noted but not forced to disk, as in etcd.
    pub(super) fn compaction_run(&mut self) {
        if !self.store.compaction_pending() || self.backend.awaiting().is_some() {
            return;
        }
        match self.store.compaction_batch(&mut self.backend, self.config.compaction_batch_limit) {
            CompactionStep::Idle => {}
            CompactionStep::More => {
                self.out.point(Failpoint::CompactBeforeCommitBatch);
                self.begin_commit();
                self.out.point(Failpoint::CompactAfterCommitBatch);
                self.out.wake(Task::Compaction, self.config.compaction_sleep_interval);
            }
            CompactionStep::Finished(revision) => {
                self.out.point(Failpoint::CompactAfterSetFinishedCompact);
                self.event(Event::CompactionFinished { revision });
                if self.store.compaction_pending() {
                    self.out.wake_now(Task::Compaction);
                }
                let done: Vec<_> =
                    self.compacting.iter().filter(|(_, at)| *at <= revision).map(|(id, _)| *id).collect();
                self.compacting.retain(|(_, at)| *at > revision);
                for id in done {
                    self.reply_body(id, ResponseBody::Compact);
                }
            }
        }
    }

    // ---- A snapshot from the leader.

    fn apply_snapshot(&mut self) {
        let Some(Work::Snapshot { snapshot, .. }) = self.applying.queue.pop_front() else {
            unreachable!("the head of the queue was a snapshot a moment ago")
        };
        let metadata = snapshot.get_metadata();
        assert!(metadata.index > self.applied, "a snapshot at {} under applied {}", metadata.index, self.applied);
        let database =
            self.applying.databases.remove(&metadata.index).expect("Raft saw the snapshot after its database");
        // A newer one may be waiting for its turn.
        self.applying.databases.retain(|index, _| *index > metadata.index);
        self.install(metadata.index, metadata.term, database);
    }
}
