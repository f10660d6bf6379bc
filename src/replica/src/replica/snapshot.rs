//! Snapshots: made here so that the Raft log can be compacted, sent to members that are too far behind, and installed
//! when one comes from the leader.

use bytes::Bytes;

use crate::backend::Backend;
use crate::raftpb::{ConfState, Message};
use crate::wal::Commands;
use crate::{Bug, Dir, DiskCommand, Event, Failpoint, FileName, MemberId, Output, PeerMessage, Task};

use super::{Replica, Waiting};

/// Snapshot messages that wait for the apply loop (`maxInFlightMsgSnap`).
const WANTED_MAX: usize = 16;

/// Where the making and sending of snapshots stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshotting {
    /// Index of the last snapshot made or installed.
    last: u64,
    /// The one being made: index, term, configuration, and whether its record has been issued.
    making: Option<(u64, u64, ConfState, bool)>,
    /// Raft's snapshot messages, to be sent with a database.
    wanted: Vec<Message>,
    /// Databases on their way; the log is not compacted meanwhile.
    inflight: usize,
}

impl Snapshotting {
    pub(super) fn at(last: u64) -> Self {
        Self { last, ..Self::default() }
    }

    pub(super) fn due(&self, applied: u64, count: u64) -> bool {
        self.making.is_none() && applied > self.last + count
    }

    pub(super) fn want(&mut self, message: Message) {
        if self.wanted.len() < WANTED_MAX {
            self.wanted.push(message);
        }
    }

    pub(super) fn waits_for_commit(&self) -> bool {
        matches!(self.making, Some((.., false)))
    }
}

impl Replica {
    /// The backend is committed first, so that its consistent index is not below the snapshot; then the record goes
    /// to the WAL; when that is durable the log is compacted.
    pub(super) fn snapshot_run(&mut self) {
        if self.snapshotting.making.is_none() {
            if !self.snapshotting.due(self.applied, self.config.snapshot_count) {
                return;
            }
            let index = self.applied;
            let term = self.raft.store().term_of(index).expect("what is applied is in the log");
            let conf_state = self.raft.raft.prs().conf().to_conf_state();
            self.snapshotting.making = Some((index, term, conf_state, false));
            if self.backend.awaiting().is_none() {
                self.begin_commit();
                return;
            }
        }
        let Some((index, term, conf_state, issued)) = &mut self.snapshotting.making else { return };
        if *issued || self.backend.awaiting().is_some() || self.wal.awaiting().is_some() {
            return;
        }
        // With the bug it stays below for ever, and the snapshot is made all the same.
        let lags = self.backend_committed < *index && !self.config.bugs.has(Bug::CiNotMovedForLocklessEntries);
        if lags {
            self.begin_commit();
            return;
        }
        *issued = true;
        let (index, term) = (*index, *term);
        self.out.point(Failpoint::RaftBeforeWalSaveSnapshot);
        let saved = self.wal.save_snapshot(index, term, conf_state, &mut self.out);
        if let Some(op) = saved.write {
            self.out.event(Event::WalSnapshotSaved { op, index });
        }
        let sync = saved.sync.expect("a snapshot record is always synced");
        self.disk.insert(sync, Waiting::SnapshotRecord);
    }

    pub(super) fn snapshot_recorded(&mut self) {
        let Some((index, term, conf_state, _)) = self.snapshotting.making.take() else { return };
        if index <= self.snapshotting.last {
            return;
        }
        self.snapshotting.last = index;
        self.wal.release(index);
        let store = self.raft.mut_store();
        if index <= store.start.0 {
            return;
        }
        store.snapshot = (index, term, conf_state);
        let mut compacted = store.start.0;
        if self.snapshotting.inflight == 0 {
            compacted = compacted.max(index.saturating_sub(self.config.snapshot_catch_up_entries));
            store.compact(compacted);
        }
        self.event(Event::SnapshotCreated { index, compacted });
    }

    /// Send the whole database to those that need it: the state as it is now, not as of the last snapshot.
    pub(super) fn send_database(&mut self) {
        if self.snapshotting.wanted.is_empty() || self.backend.awaiting().is_some() {
            return;
        }
        let Some(term) = self.raft.store().term_of(self.applied) else { return };
        for mut message in std::mem::take(&mut self.snapshotting.wanted) {
            let to = MemberId(message.to);
            let index = self.applied;
            let conf_state = self.raft.raft.prs().conf().to_conf_state();
            let metadata = message.mut_snapshot().mut_metadata();
            metadata.index = index;
            metadata.term = term;
            metadata.set_conf_state(conf_state);
            self.snapshotting.inflight += 1;
            self.event(Event::SnapshotSending { to, index });
            let database = Some(self.backend.snapshot());
            let from = self.config.member;
            self.out.push(Output::Send(PeerMessage { database, ..PeerMessage::of_raft(from, to, message) }));
        }
    }

    pub(super) fn snapshot_sent(&mut self, member: MemberId, delivered: bool) {
        self.snapshotting.inflight = self.snapshotting.inflight.saturating_sub(1);
        let status = match delivered {
            true => raft::SnapshotStatus::Finish,
            false => raft::SnapshotStatus::Failure,
        };
        self.raft.report_snapshot(member.0, status);
    }

    /// Put the received database in place of ours and start again from it.
    pub(super) fn install(&mut self, index: u64, term: u64, database: Bytes) {
        self.out.point(Failpoint::ApplyBeforeOpenSnapshot);
        self.out.issue(DiskCommand::Rename { from: FileName::SnapDb { index }, to: FileName::Db });
        let renamed = self.out.issue(DiskCommand::SyncDir { dir: Dir::Snap });
        self.disk.insert(renamed, Waiting::Nobody);
        self.out.point(Failpoint::ApplyAfterOpenSnapshot);
        let Ok(backend) = Backend::parse(&database, self.config.bugs) else {
            return self.exit("failed to open snapshot backend");
        };
        assert!(backend.consistent_index() >= index, "the database is older than its snapshot");
        self.backend_committed = backend.consistent_index();
        let backend = self.backend.succeeded_by(backend);
        self.displace(backend);
        if !self.restore_state() {
            return;
        }
        self.membership = match super::membership::Membership::restore(&self.backend) {
            Ok(membership) => membership,
            Err(_) => return self.exit("failed to recover membership"),
        };
        self.watchers.restore();
        self.applied = index;
        self.handed_over = self.handed_over.max(index);
        self.snapshotting.last = index;
        if self.store.compaction_pending() {
            self.out.wake_now(Task::Compaction);
        }
        self.out.wake_now(Task::WatchSync);
        self.event(Event::SnapshotInstalled { index, term });
    }

    /// `purgeFile`: segments and databases that nothing needs any more.
    pub(super) fn purge(&mut self) {
        self.out.wake(Task::Purge, self.config.purge_interval);
        self.wal.purge(self.config.purge_keep, &mut self.out);
    }
}
