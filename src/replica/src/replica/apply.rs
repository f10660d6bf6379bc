//! The apply loop: committed entries become state, one transaction each, and waiting requests get their answers.
//!
//! An entry is applied in two strokes, as in etcd: first it is begun, then its transaction runs under the backend's
//! lock and moves the consistent index. A backend commit may fall between the two; that it must not save the index of
//! an entry which has only begun is what etcd#13766 was about.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::alarm::Alarms;
use crate::api::{Alarm, Error, LeaseCheckpoint, LeaseId, Request, Response, ResponseBody, Revision};
use crate::auth::AuthInfo;
use crate::backend::CommitProgress;
use crate::lease::Lessor;
use crate::mvcc::{Applied, CompactionStep, Parts, Reads, Store};
use crate::raftpb::{Entry, EntryType, Snapshot};
use crate::wire::{self, Command};
use crate::{quota, Bug, Event, Failpoint, OpId, RequestId, Task};

use super::propose::Internal;
use super::{Compacting, CompactionCommit, Replica, Waiting};

/// What the Raft loop has handed over and the apply loop has not applied.
#[derive(Clone, Debug, Default)]
pub(super) struct Applying {
    queue: VecDeque<Work>,
    /// The entry at the head of the queue has begun.
    begun: Option<Begun>,
    /// Databases received and saved, in this life or an earlier one, not yet installed, by snapshot index.
    databases: BTreeMap<u64, Bytes>,
    /// Bug M-52: a revoked lease that the backend has yet to forget.
    revoked: Option<LeaseId>,
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

    pub(super) fn keep_database(&mut self, index: u64, database: Bytes) {
        self.databases.insert(index, database);
    }

    pub(super) fn forget_database(&mut self, index: u64) {
        self.databases.remove(&index);
    }

    /// Whether a snapshot of that index waits to be installed.
    pub(super) fn waits_for_snapshot(&self, index: u64) -> bool {
        let is_it =
            |work: &Work| matches!(work, Work::Snapshot { snapshot, .. } if snapshot.get_metadata().index == index);
        self.queue.iter().any(is_it)
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
        let waits = self.apply_queue();
        if self.stopped {
            return;
        }
        // With these bugs what is applied may be ahead of what is saved, which Raft must not be told.
        let ahead = [Bug::ConfrespBeforeAdvance, Bug::SnapRenameBeforePersist].map(|bug| self.config.bugs.has(bug));
        if ahead.contains(&true) && self.saving.is_some() {
            self.out.wake(Task::Apply, self.config.heartbeat_interval);
        } else {
            // Also when it waits: the snapshot that it may wait for compacts the log up to here, and a campaign looks
            // at what is committed and not applied.
            self.raft_applied(self.applied);
        }
        if waits {
            return;
        }
        self.after_raft();
        self.call_seated();
        self.serve_confirmed();
        self.wake_lease_calls();
        if self.snapshot_is_due() {
            self.out.wake_now(Task::Snapshot);
        }
        self.send_database();
        self.wake_watchers();
        if self.applying.has_work() {
            self.out.wake_now(Task::Apply);
        }
    }

    /// Tell Raft how far it may count on what is applied. A snapshot counts from when it is saved, as in etcd's
    /// `Advance`: Raft has its configuration already, and its log starts there.
    pub(super) fn raft_applied(&mut self, index: u64) {
        let known = self.raft.raft.raft_log.applied;
        self.raft.advance_apply_to(index.max(known));
    }

    /// Apply what was handed over, up to `apply_batch` entries. True when it must wait: whoever ends that wakes us.
    fn apply_queue(&mut self) -> bool {
        let mut entries = 0;
        if let Some(id) = self.applying.revoked.take_if(|_| self.backend.awaiting().is_none()) {
            Lessor::delete_stored(&mut self.backend, id);
        }
        while let Some(work) = self.applying.queue.front() {
            if self.snapshot_holds_apply() {
                return true;
            }
            if self.backend.awaiting().is_some() {
                // The commit holds the batch lock.
                let races = self.config.bugs.has(Bug::DefragRacesApplySnapshot) && self.backend.is_copying();
                if !(races && matches!(work, Work::Snapshot { persisted: true, .. })) {
                    return true;
                }
            }
            match work {
                Work::Snapshot { persisted: false, .. } if !self.config.bugs.has(Bug::SnapRenameBeforePersist) => {
                    return true
                }
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
                        return true;
                    }
                    self.unlock_batch();
                }
            }
        }
        false
    }

    /// An entry that is not fresh only rebuilds Raft's own configuration.
    fn apply_entry(&mut self, entry: &Entry, fresh: bool) {
        assert_eq!(entry.index, self.applied + 1, "entries are applied in order, without a gap");
        if fresh && self.membership.replays() {
            self.membership.end_replay(self.speaks_old());
        }
        let locked = match entry.entry_type {
            // The first commit of a term.
            EntryType::EntryNormal if entry.data.is_empty() => {
                self.promote_lessor();
                if self.leads() {
                    self.out.wake_now(Task::ClusterVersion);
                }
                false
            }
            EntryType::EntryNormal if fresh => self.apply_data(&entry.data),
            EntryType::EntryNormal => {
                self.replay_data(&entry.data);
                false
            }
            EntryType::EntryConfChange => {
                self.apply_conf_change(entry.index, &entry.data, fresh);
                true
            }
            EntryType::EntryConfChangeV2 => panic!("nobody proposes joint configurations"),
        };
        self.applied = entry.index;
        if !fresh {
            if entry.index == self.backend.consistent_index() {
                self.membership.end_replay(self.speaks_old());
            }
            return;
        }
        // Whoever takes the batch's lock for an entry moves the consistent index; for an entry that never needed it,
        // such as one that is refused, it must be moved all the same.
        if locked || !self.config.bugs.has(Bug::CiNotMovedForLocklessEntries) {
            self.backend.set_consistent_index(entry.index, entry.term);
        }
        let entry_hash = xxh3_64_with_seed(&entry.data, entry.entry_type as u64);
        self.event(Event::Applied {
            index: entry.index,
            term: entry.term,
            entry_hash,
            state_hash: self.state_hash(),
            revision: self.store.revision(),
        });
    }

    /// `applyEntryNormal`. Says whether the backend's lock was taken.
    fn apply_data(&mut self, data: &Bytes) -> bool {
        let entry = wire::decode(data).expect("a member proposes only what it has encoded");
        let waiter = self.proposed.get(&entry.id).copied();
        let applied = match &entry.command {
            // Without a waiter here nobody on this member would see what it reads.
            Command::Request(Request::Range(_)) if waiter.is_none() => return false,
            Command::Request(request) => self.apply_request(&AuthInfo::of(&entry), request, waiter),
            Command::LeaseCheckpoint(checkpoints) => self.apply_checkpoints(checkpoints),
            Command::Auth(command) => return self.apply_auth(entry.id, &AuthInfo::of(&entry), command.clone()),
            Command::ClusterVersionSet(_)
            | Command::ClusterMemberAttrSet(_)
            | Command::DowngradeInfoSet(_)
            | Command::Old(_) => return self.apply_cluster(entry.id, entry.command),
            Command::Nothing => Applied { result: Ok(ResponseBody::Compact), events: Vec::new(), locked: false },
        };
        if !applied.events.is_empty() {
            self.watchers.notify(self.store.revision(), &applied.events);
        }
        if applied.result == Err(Error::NoSpace) && !self.alarms.is_raised(Alarm::NoSpace) {
            // The client stays waiting until the alarm is raised, or its time is up.
            self.raise_no_space(self.now, Internal::AppliedFull { entry: entry.id });
        } else if let Some(id) = waiter {
            let physical = matches!(&entry.command, Command::Request(Request::Compact(compact)) if compact.physical);
            self.proposed.remove(&entry.id);
            if physical {
                self.answer_when_compacted(id, applied.result.map(|_| ()));
            } else {
                let header = self.header();
                self.reply(id, applied.result.map(|body| Response { header, body }));
            }
        }
        if let Some(internal) = self.internal.remove(&entry.id) {
            self.internal_done(self.now, internal);
        }
        applied.locked
    }

    /// The appliers of etcd, from the outermost in: alarms, auth, quota, backend.
    fn apply_request(&mut self, who: &AuthInfo, request: &Request, waiter: Option<RequestId>) -> Applied {
        if let Some(error) = self.alarm_forbids(request) {
            return Applied::refused(error);
        }
        if let Err(error) = self.may_apply(who, request) {
            return Applied::refused(error);
        }
        // Before it is applied: a member refuses nothing because of its own file, it only says so.
        let full = self.exceeds_quota(request);
        if full && self.config.bugs.has(Bug::QuotaRejectAtApply) {
            return Applied::refused(Error::NoSpace);
        }
        let mut applied = self.apply_to_backend(request, waiter);
        if full && applied.result.is_ok() {
            applied.result = Err(Error::NoSpace);
        }
        applied
    }

    /// What a raised alarm makes of a request: the one about data forbids everything, the one about space what costs.
    fn alarm_forbids(&self, request: &Request) -> Option<Error> {
        if self.alarms.raised().is_empty() {
            return None;
        }
        let is_of_data = !matches!(request, Request::Alarm(_));
        if is_of_data && self.alarms.is_raised(Alarm::Corrupt) {
            return Some(Error::Corrupt);
        }
        let costs = quota::cost(request, self.config.bugs) > 0;
        (costs && self.alarms.is_raised(Alarm::NoSpace)).then_some(Error::NoSpace)
    }

    fn apply_to_backend(&mut self, request: &Request, waiter: Option<RequestId>) -> Applied {
        let parts = Parts { batch: &mut self.backend, lessor: &mut self.lessor, now: self.now };
        let reads = if waiter.is_some() { Reads::Answered } else { Reads::Checked };
        match request {
            Request::Put(put) => self.store.apply_put(parts, put),
            Request::DeleteRange(delete) => self.store.apply_delete_range(parts, delete),
            Request::Txn(txn) => self.store.apply_txn(parts, txn, reads),
            Request::Range(range) => {
                let result = self.store.range(parts.batch, range).map(Into::into);
                Applied { result, events: Vec::new(), locked: false }
            }
            Request::Compact(compact) => {
                let result = self.store.schedule_compaction(parts.batch, compact.revision);
                if result.is_ok() {
                    // The schedule is forced to disk before the first batch.
                    self.out.point(Failpoint::CompactBeforeCommitScheduledCompact);
                    self.commit_wanted = true;
                    self.compaction_commit = CompactionCommit::ScheduleWanted;
                    self.out.wake_now(Task::Compaction);
                }
                let locked = result.is_ok();
                Applied { result: result.map(|()| ResponseBody::Compact), events: Vec::new(), locked }
            }
            Request::LeaseGrant(grant) => {
                let result = parts.lessor.grant(parts.batch, grant.id, grant.ttl, parts.now);
                self.schedule_look();
                let locked = result.is_ok();
                let result = result.map(|ttl| ResponseBody::LeaseGrant { id: grant.id, ttl });
                Applied { result, events: Vec::new(), locked }
            }
            Request::LeaseRevoke { id } => {
                let applied = self.store.apply_lease_revoke(parts, *id, self.config.member);
                if applied.result.is_ok() && self.config.bugs.has(Bug::LeaseDeleteSplitTxn) {
                    self.applying.revoked = Some(*id);
                    self.out.wake_now(Task::Apply);
                }
                applied
            }
            Request::Alarm(alarm) => {
                let (alarms, locked) = self.alarms.apply(parts.batch, alarm);
                Applied { result: Ok(ResponseBody::Alarm { alarms }), events: Vec::new(), locked }
            }
            other => panic!("an entry holds what is never proposed: {other:?}"),
        }
    }

    fn apply_checkpoints(&mut self, checkpoints: &[LeaseCheckpoint]) -> Applied {
        let mut locked = false;
        for checkpoint in checkpoints {
            let LeaseCheckpoint { id, remaining_ttl } = *checkpoint;
            locked |= self.lessor.checkpoint(&mut self.backend, id, remaining_ttl, self.now);
            self.checkpoint_applied(*checkpoint);
        }
        self.schedule_look();
        Applied { result: Ok(ResponseBody::LeaseRevoke), events: Vec::new(), locked }
    }

    /// Everything that follows from the backend, when a snapshot has replaced it. False when it cannot be read; then
    /// the member ends.
    pub(super) fn restore_state(&mut self) -> bool {
        let Ok(mut lessor) = Lessor::restore(&self.backend, &self.config) else {
            self.exit("failed to recover lessor");
            return false;
        };
        // The lessor first, so that the store attaches its keys to the leases that there are now.
        let attach_to = match self.config.bugs.has(Bug::LessorRecoverOrder) {
            true => &mut self.lessor,
            false => &mut lessor,
        };
        let Ok(mut store) = Store::restore(&self.backend, attach_to, self.config.bugs) else {
            self.exit("failed to restore mvcc store");
            return false;
        };
        let Ok(alarms) = Alarms::restore(&self.backend, self.config.bugs) else {
            self.exit("failed to restore alarms");
            return false;
        };
        store.keep_hashes(self.store.hashes().to_vec());
        (self.lessor, self.store, self.alarms) = (lessor, store, alarms);
        true
    }

    // ---- The backend's batch.

    pub(super) fn backend_commit_tick(&mut self) {
        self.commits.tick(self.now);
        if self.backend.pending() > 0 {
            self.begin_commit();
        }
        self.wake_defrag();
    }

    pub(super) fn wake_committer(&mut self) {
        if self.backend.pending() > 0 || self.maintenance.wants_defrag() {
            if let Some(after) = self.commits.wake(self.now) {
                self.out.wake(Task::BackendCommit, after);
            }
        }
    }

    /// `batchTx.Unlock`: readers see what was written, and what must not wait is committed.
    fn unlock_batch(&mut self) {
        self.backend.unlock(&mut self.out);
        let full = self.backend.pending() >= self.config.backend_batch_limit;
        if self.commit_wanted || full || self.backend.has_pending_deletes() {
            self.begin_commit();
        }
    }

    /// Commit the batch, with the index of the last entry that is wholly in it.
    pub(super) fn begin_commit(&mut self) {
        if self.backend.awaiting().is_some() {
            return;
        }
        self.commit_wanted = false;
        if self.compaction_commit == CompactionCommit::ScheduleWanted {
            self.compaction_commit = CompactionCommit::Schedule;
        }
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
        if self.displaced_on_disk(op) {
            return;
        }
        let progress = self.backend.on_disk(op, &mut self.out);
        if let Some(sync) = self.backend.awaiting() {
            self.disk.insert(sync, Waiting::Backend);
        }
        match progress {
            CommitProgress::Pending => {}
            CommitProgress::Defragmented => self.defragmented(),
            CommitProgress::Done { consistent_index } => {
                self.backend_committed = consistent_index;
                self.out.point(Failpoint::AfterCommit);
                self.compaction_committed();
                self.event(Event::BackendCommitted { consistent_index });
                self.answer_compacted();
                self.database_committed();
                self.out.wake_now(Task::Apply);
                self.wake_defrag();
                if self.snapshotting.is_making() {
                    self.out.wake_now(Task::Snapshot);
                }
                if self.store.compaction_pending() {
                    self.out.wake(Task::Compaction, self.config.compaction_sleep_interval);
                }
            }
        }
    }

    // ---- Compaction of the key space.

    /// One batch. Each batch is committed before the next; so is the last one when it has removed something.
    pub(super) fn compaction_run(&mut self) {
        if !self.store.compaction_pending() || self.backend.awaiting().is_some() {
            return;
        }
        match self.store.compaction_batch(&mut self.backend, self.config.compaction_batch_limit) {
            CompactionStep::Idle => {}
            CompactionStep::More => {
                self.out.point(Failpoint::CompactBeforeCommitBatch);
                self.begin_commit();
                self.compaction_commit = CompactionCommit::Batch;
                self.out.wake(Task::Compaction, self.config.compaction_sleep_interval);
            }
            CompactionStep::Finished(revision) => {
                // Nothing of the last step lasts yet, so a crash finds it either way.
                self.out.point(Failpoint::CompactBeforeSetFinishedCompact);
                self.out.point(Failpoint::CompactAfterSetFinishedCompact);
                self.unlock_batch();
                self.event(Event::CompactionFinished { revision });
                if self.store.compaction_pending() {
                    self.out.wake_now(Task::Compaction);
                }
                self.commit_compacted(revision);
            }
        }
    }

    /// A commit lasts: etcd, which waits for a compaction's commits, goes on from here.
    fn compaction_committed(&mut self) {
        let point = match self.compaction_commit {
            CompactionCommit::None | CompactionCommit::ScheduleWanted => return,
            CompactionCommit::Schedule => Failpoint::CompactAfterCommitScheduledCompact,
            CompactionCommit::Batch => Failpoint::CompactAfterCommitBatch,
        };
        self.compaction_commit = CompactionCommit::None;
        self.out.point(point);
    }

    /// A physical compaction is answered when it, and those before it, are done and last.
    fn answer_when_compacted(&mut self, id: RequestId, result: Result<(), Error>) {
        let revision = self.store.compact_revision();
        let done = !self.store.compaction_pending();
        match result {
            Ok(()) | Err(Error::Compacted) => {
                self.compacting.push(Compacting { id, revision, result, committing: false });
                if done {
                    self.commit_compacted(revision);
                }
            }
            Err(error) => self.reply(id, Err(error)),
        }
    }

    /// Compactions up to `revision` are done: make that last for those who wait.
    fn commit_compacted(&mut self, revision: Revision) {
        let mut any = false;
        for waiting in self.compacting.iter_mut().filter(|waiting| waiting.revision <= revision) {
            (waiting.committing, any) = (true, true);
        }
        if any {
            self.begin_commit();
        }
    }

    /// A commit has ended that was begun after their compactions.
    fn answer_compacted(&mut self) {
        for waiting in std::mem::take(&mut self.compacting) {
            match waiting {
                Compacting { committing: false, .. } => self.compacting.push(waiting),
                Compacting { id, result: Ok(()), .. } => self.reply_body(id, ResponseBody::Compact),
                Compacting { id, result: Err(error), .. } => self.reply(id, Err(error)),
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
        let database = self.applying.databases.remove(&metadata.index);
        // A newer one may be waiting for its turn.
        self.applying.databases.retain(|index, _| *index > metadata.index);
        self.install(metadata.index, metadata.term, database);
    }
}
