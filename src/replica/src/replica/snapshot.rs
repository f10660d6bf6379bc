//! Snapshots: made here so that the Raft log can be compacted, sent to members that are too far behind, and installed
//! when one comes from the leader.
//!
//! A snapshot is made in etcd's order: the backend is committed, so that its consistent index is not below it; the
//! snapshot's file is written (up to 3.6); its record goes into the WAL; then what lies before it is released, and the
//! Raft log compacted but for the entries that slow followers may want. Since 3.6 the log is compacted between
//! snapshots too, and the apply loop waits for the making.
//!
//! What is sent is the database as it is, with a commit before: chunk after chunk, from a view of it that stays open as
//! long as the stream.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::backend::{Backend, SnapshotReader};
use crate::membership::Cluster;
use crate::raftpb::{Message, Snapshot};
use crate::snap;
use crate::time::Monotonic;
use crate::{Bug, Chunk, Event, Failpoint, MemberId, OpId, Output, PeerMessage, Task};

use super::{Replica, Waiting};

/// Snapshot messages that wait for the apply loop (`maxInFlightMsgSnap`).
const WANTED_MAX: usize = 16;

/// Where the making and sending of snapshots stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshotting {
    /// Index of the last snapshot made or installed.
    last: u64,
    /// Index of the last one that was for the log in memory only, or of the last one of all.
    last_in_memory: u64,
    making: Option<Making>,
    /// Raft's snapshot messages, to be sent with a database.
    wanted: VecDeque<Message>,
    /// The commit under way is for the first of them.
    commits_for_sending: bool,
    sending: Vec<Sending>,
    /// Streams begun in this life.
    streams: u64,
    /// Databases on their way, or just arrived; the log is not compacted meanwhile.
    inflight: usize,
    /// When those that have arrived count no longer.
    releases: VecDeque<Monotonic>,
}

/// A snapshot being made.
#[derive(Clone, Debug)]
struct Making {
    snapshot: Snapshot,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The backend is being committed.
    Commit,
    /// Its file is being written.
    File,
    /// Its record may be written, when the log is unlocked.
    Record,
    /// Its record is being written.
    Recording,
}

/// A database on its way.
#[derive(Clone, Debug)]
struct Sending {
    to: MemberId,
    stream: u64,
    message: Message,
    reader: SnapshotReader,
    offset: u64,
    total: u64,
}

impl Snapshotting {
    pub(super) fn at(last: u64) -> Self {
        Self { last, last_in_memory: last, ..Self::default() }
    }

    pub(super) fn want(&mut self, message: Message) {
        if self.wanted.len() < WANTED_MAX {
            self.wanted.push_back(message);
        }
    }

    pub(super) fn is_making(&self) -> bool {
        self.making.is_some()
    }

    #[cfg(test)]
    pub(super) fn want_again(&mut self) {
        self.want(self.sending[0].message.clone());
    }

    /// The first of the messages whose member gets no database yet. Raft may want to send a second one before the
    /// first has come, as when an old answer passes the snapshot that it waits for. etcd sends both at once; here they
    /// go one by one, so that to its receiver a new stream says that the one before is broken.
    fn next(&self) -> Option<usize> {
        let gets_one = |to: u64| self.sending.iter().any(|sending| sending.to.0 == to);
        self.wanted.iter().position(|message| !gets_one(message.to))
    }
}

impl Replica {
    // ---- Made here.

    fn disk_snapshot_is_due(&self) -> bool {
        self.applied > self.snapshotting.last + self.config.snapshot_count
    }

    /// Whether what is applied, and saved, is far enough beyond the last snapshot.
    pub(super) fn snapshot_is_due(&self) -> bool {
        let in_memory = self.config.release.compacts_between_snapshots()
            && self.applied > self.snapshotting.last_in_memory + self.config.memory_snapshot_count;
        // The Raft loop must have written what it handed over (`<-notifyc`); its end of a save comes back here.
        let due = !self.snapshotting.is_making() && (in_memory || self.disk_snapshot_is_due());
        due && self.applied <= self.notified
    }

    /// Whether the apply loop must wait.
    pub(super) fn snapshot_holds_apply(&self) -> bool {
        let waits = self.config.release.snapshots_while_applying() && !self.config.bugs.has(Bug::ConfstateWrongIndex);
        self.snapshotting.is_making() && waits
    }

    pub(super) fn snapshot_run(&mut self) {
        if self.snapshot_is_due() {
            let index = self.applied;
            // Raft may have got a newer one from the leader, which is not applied yet.
            let Some(term) = self.raft.store().term_of(index) else { return };
            let conf_state = self.raft.raft.prs().conf().to_conf_state();
            if !self.disk_snapshot_is_due() {
                self.snapshotting.last_in_memory = index;
                self.raft.mut_store().snapshot = (index, term, conf_state);
                self.compact_raft_log(index);
                return;
            }
            let snapshot = snap::snapshot(index, term, conf_state, self.members_for_snapshot());
            self.snapshotting.making = Some(Making { snapshot, stage: Stage::Commit });
        }
        let Some(making) = &mut self.snapshotting.making else { return };
        let metadata = making.snapshot.get_metadata().clone();
        match making.stage {
            Stage::Commit if self.backend.awaiting().is_some() => {}
            // With the bug it stays below for ever, and the snapshot is made all the same.
            Stage::Commit
                if self.backend_committed < metadata.index
                    && !self.config.bugs.has(Bug::CiNotMovedForLocklessEntries) =>
            {
                self.begin_commit();
            }
            Stage::Commit => {
                if self.config.bugs.has(Bug::ConfstateWrongIndex) {
                    let conf_state = self.raft.raft.prs().conf().to_conf_state();
                    making.snapshot.mut_metadata().set_conf_state(conf_state);
                }
                let metadata = making.snapshot.get_metadata().clone();
                let store = self.raft.mut_store();
                if metadata.index < store.start.0 {
                    // Raft has got a newer one from the leader meanwhile.
                    self.snapshotting.making = None;
                    self.out.wake_now(Task::Apply);
                    return;
                }
                store.snapshot = (metadata.index, metadata.term, metadata.get_conf_state().clone());
                self.snapshotting.last_in_memory = metadata.index;
                making.stage = Stage::Record;
                if self.config.release.writes_snap_files() {
                    making.stage = Stage::File;
                    let sync = self.snap_dir.save(&making.snapshot, &mut self.out);
                    self.disk.insert(sync, Waiting::Snapshot);
                } else {
                    self.snapshot_run();
                }
            }
            Stage::Record if self.wal.awaiting().is_none() => {
                making.stage = Stage::Recording;
                let sync = self.save_snapshot_record(metadata.index, metadata.term, metadata.get_conf_state());
                self.disk.insert(sync, Waiting::Snapshot);
                if self.config.bugs.has(Bug::WalReleaseBeforeSync) {
                    self.release(metadata.index);
                }
            }
            Stage::File | Stage::Record | Stage::Recording => {}
        }
    }

    /// A sync of the snapshot being made has ended.
    pub(super) fn snapshot_progress(&mut self, op: OpId) {
        let recorded = self.wal.awaiting() == Some(op);
        if recorded {
            self.wal.on_disk(op, &mut self.out);
        }
        let Some(making) = &mut self.snapshotting.making else { return self.go_on_saving() };
        if making.stage == Stage::File {
            making.stage = Stage::Record;
            return self.snapshot_run();
        }
        let index = making.snapshot.get_metadata().index;
        self.snapshotting.making = None;
        if index > self.snapshotting.last {
            self.snapshotting.last = index;
            self.release(index);
            let compacted = self.compact_raft_log(index);
            self.event(Event::SnapshotCreated { index, compacted });
        }
        // The apply loop may have waited for it, and the Raft loop for the log.
        self.out.wake_now(Task::Apply);
        self.go_on_saving();
    }

    /// Forget entries that a snapshot at `index` covers, but for those that a slow follower may want, and not while a
    /// database is on its way to one. Gives where the log starts then.
    fn compact_raft_log(&mut self, index: u64) -> u64 {
        let store = self.raft.mut_store();
        if self.snapshotting.inflight == 0 && index > store.start.0 {
            let keep = self.config.snapshot_catch_up_entries;
            store.compact(if index > keep { index - keep } else { 1 });
        }
        store.start.0
    }

    /// What a snapshot says of the members, up to 3.6.
    fn members_for_snapshot(&self) -> Bytes {
        match self.config.release.writes_snap_files() {
            true => snap::v2_store(&self.backend).into(),
            false => Bytes::new(),
        }
    }

    // ---- Sent to others.

    /// A member wants a database: the batch is committed first.
    pub(super) fn send_database(&mut self) {
        if self.snapshotting.next().is_none() || self.backend.awaiting().is_some() {
            return;
        }
        self.snapshotting.commits_for_sending = true;
        self.begin_commit();
    }

    /// The batch is committed: `createMergedSnapshotMessage`, if it was for that.
    pub(super) fn database_committed(&mut self) {
        // A defragmentation has begun with a commit: nobody reads the file before it has ended.
        if self.backend.is_defragmenting() || !std::mem::take(&mut self.snapshotting.commits_for_sending) {
            return;
        }
        let next = self.snapshotting.next();
        let Some(mut message) = next.and_then(|next| self.snapshotting.wanted.remove(next)) else { return };
        let index = self.applied;
        let Some(term) = self.raft.store().term_of(index) else { return };
        let conf_state = self.raft.raft.prs().conf().to_conf_state();
        *message.mut_snapshot() = snap::snapshot(index, term, conf_state, self.members_for_snapshot());
        let to = MemberId(message.to);
        let reader = self.backend.open_snapshot();
        let total = reader.size();
        self.snapshotting.streams += 1;
        self.snapshotting.inflight += 1;
        let stream = self.snapshotting.streams;
        self.event(Event::SnapshotSending { to, index });
        self.snapshotting.sending.push(Sending { to, stream, message, reader, offset: 0, total });
        self.out.wake_now(Task::SnapshotSend);
    }

    /// A chunk of each database goes on its way.
    pub(super) fn snapshot_send(&mut self, now: Monotonic) {
        while self.snapshotting.releases.front().is_some_and(|at| *at <= now) {
            self.snapshotting.releases.pop_front();
            self.snapshotting.inflight -= 1;
        }
        let (from, bytes) = (self.config.member, self.config.snapshot_chunk_bytes);
        let version = Some(self.config.version());
        let (mut more, mut broken) = (false, Vec::new());
        for sending in &mut self.snapshotting.sending {
            if sending.offset == sending.total {
                continue;
            }
            let data = self.backend.next_chunk(&mut sending.reader, bytes);
            if data.is_empty() {
                // The backend has another file now.
                broken.push((sending.to, sending.stream));
                continue;
            }
            let chunk = Chunk { stream: sending.stream, offset: sending.offset, total: sending.total, data };
            sending.offset += chunk.data.len() as u64;
            more |= !chunk.is_last();
            let message = PeerMessage::of_raft(from, sending.to, sending.message.clone());
            self.out.push(Output::Send(PeerMessage { version, chunk: Some(Box::new(chunk)), ..message }));
        }
        for (to, stream) in broken {
            self.snapshot_sent(now, to, stream, false);
        }
        if more {
            self.out.wake(Task::SnapshotSend, self.config.snapshot_chunk_interval);
        } else if let Some(at) = self.snapshotting.releases.front() {
            self.out.wake(Task::SnapshotSend, at.since(now));
        }
    }

    /// A stream has ended.
    pub(super) fn snapshot_sent(&mut self, now: Monotonic, member: MemberId, stream: u64, delivered: bool) {
        let ours = |sending: &Sending| (sending.to, sending.stream) == (member, stream);
        let Some(place) = self.snapshotting.sending.iter().position(ours) else { return };
        let sending = self.snapshotting.sending.remove(place);
        self.backend.close_snapshot(sending.reader);
        if !self.snapshotting.wanted.is_empty() {
            self.out.wake_now(Task::Apply);
        }
        if delivered {
            let delay = self.config.snapshot_release_delay;
            self.snapshotting.releases.push_back(now + delay);
            self.out.wake(Task::SnapshotSend, delay);
            self.raft.report_snapshot(member.0, raft::SnapshotStatus::Finish);
        } else {
            self.snapshotting.inflight -= 1;
            self.raft.report_unreachable(member.0);
            self.raft.report_snapshot(member.0, raft::SnapshotStatus::Failure);
        }
    }

    // ---- From the leader.

    /// Put the received database in place of ours and start again from it. Nobody syncs the directory: if the rename is
    /// lost, a boot does it again.
    pub(super) fn install(&mut self, index: u64, term: u64, database: Option<Bytes>) {
        self.out.point(Failpoint::ApplyBeforeOpenSnapshot);
        let there = self.snap_dir.take_database(index, &mut self.out);
        let database = database.filter(|_| there);
        let database = database
            .unwrap_or_else(|| panic!("failed to open snapshot backend: no database for the snapshot at {index}"));
        self.out.point(Failpoint::ApplyAfterOpenSnapshot);
        let Ok(backend) = Backend::parse(&database, self.config.bugs) else {
            return self.exit("failed to open snapshot backend");
        };
        assert!(backend.consistent_index() >= index, "the database is older than its snapshot");
        self.backend_committed = backend.consistent_index();
        let old = (self.backend.consistent_index(), self.backend.term());
        let backend = self.backend.succeeded_by(backend);
        self.displace(backend);
        if self.config.bugs.has(Bug::SnapCiOverwritten) {
            self.backend.set_consistent_index(old.0, old.1);
        }
        if !self.restore_state() {
            return;
        }
        self.membership = match Cluster::restore(&self.backend, None) {
            Ok(membership) => membership,
            Err(_) => return self.exit("failed to recover membership"),
        };
        if self.auth.recover(self.now, &self.backend).is_err() {
            return self.exit("failed to recover auth store");
        }
        self.watchers.restore();
        self.applied = index;
        self.handed_over = self.handed_over.max(index);
        (self.snapshotting.last, self.snapshotting.last_in_memory) = (index, index);
        // The lessor's recovery commits, before anything is applied.
        self.begin_commit();
        if self.store.compaction_pending() {
            self.out.wake_now(Task::Compaction);
        }
        self.out.wake_now(Task::WatchSync);
        self.event(Event::SnapshotInstalled { index, term });
    }

    /// `purgeFile`: segments and snapshots that nothing needs any more.
    pub(super) fn purge(&mut self) {
        self.out.wake(Task::Purge, self.config.purge_interval);
        let keep = |files_max: usize| if files_max == 0 { usize::MAX } else { files_max };
        self.snap_dir.purge(keep(self.config.max_snapshots), &mut self.out);
        self.wal.purge(keep(self.config.max_wals), &mut self.out);
    }
}
