//! The Raft loop: `raftNode.start` of etcd, with its order of send, save and send.
//!
//! ```text
//! leader:   hand over committed entries · send · save · advance
//! follower: hand over committed entries ·        save · send · advance
//! save:     snapshot file · its record · hard state and entries · with a snapshot: all of it synced, old files
//! released
//! ```
//! Each part of a save waits for the sync of the one before. Meanwhile the loop is blocked, and so is the ticker;
//! messages and proposals go on into Raft. While the making of a snapshot holds the log's lock, no Ready is taken.

use crate::raftpb::{Entry, HardState, Message, MessageType, Snapshot};
use crate::wal::Progress;
use crate::{Bug, Event, Failpoint, MemberId, OpId, Output, Task};

use super::{election, Replica, Waiting};

/// A Ready whose save is not durable yet.
#[derive(Clone, Debug)]
pub(super) struct Saving {
    /// raft-rs's number of the Ready; 0 for the first files of a booting member.
    pub(super) number: u64,
    /// The syncs that must end.
    pub(super) syncs: Vec<OpId>,
    /// What may be sent only then.
    pub(super) messages: Vec<Message>,
    /// The last entry in it.
    pub(super) last_entry: Option<Entry>,
    /// The snapshot in it.
    pub(super) snapshot: Option<Snapshot>,
    /// The hard state and the entries, until they are written.
    pub(super) hard_state: Option<HardState>,
    pub(super) entries: Vec<Entry>,
    /// Up to here it has handed over to the apply loop.
    pub(super) handed_over: u64,
    /// What is next.
    pub(super) next: Step,
}

/// The parts of a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// A snapshot's file.
    SnapFile,
    /// Its record in the log.
    Record,
    /// Hard state and entries.
    Save,
    /// With a snapshot, all of it must last before anything old is released.
    Sync,
    /// Nothing.
    Done,
}

impl Saving {
    /// A booting member's first files, which Raft must not outrun, and then its first entries.
    pub(super) fn of_boot(syncs: Vec<OpId>, first: Option<(Option<HardState>, Vec<Entry>)>) -> Self {
        let next = if first.is_some() { Step::Save } else { Step::Done };
        let (hard_state, entries) = first.unwrap_or_default();
        Self {
            number: 0,
            syncs,
            messages: Vec::new(),
            last_entry: None,
            snapshot: None,
            hard_state,
            entries,
            handed_over: 0,
            next,
        }
    }
}

impl Replica {
    pub(super) fn tick(&mut self) {
        self.out.wake(Task::Tick, self.config.heartbeat_interval);
        if self.saving.is_some() {
            // Go's ticker keeps one tick and drops the rest.
            self.tick_waiting = true;
            return;
        }
        self.raft_tick();
    }

    fn raft_tick(&mut self) {
        self.leasing.latest_tick = self.now;
        self.election.enforce(&mut self.raft.raft);
        self.raft.tick();
    }

    pub(super) fn raft_loop(&mut self) {
        // etcd would hand over and send before it waits for the lock that the making of a snapshot holds for one sync.
        if self.saving.is_some() || self.wal.awaiting().is_some() || !self.raft.has_ready() {
            return;
        }
        let mut ready = self.raft.ready();
        let leads = self.raft.raft.state == raft::StateRole::Leader;
        let new_leader = ready.ss().is_some() && self.role_changed();
        for state in ready.take_read_states() {
            self.read_index_confirmed(&state.request_ctx, state.index);
        }
        let committed = ready.take_committed_entries();
        let has_snapshot = ready.snapshot().get_metadata().index > 0;
        let snapshot = has_snapshot.then(|| ready.snapshot().clone());
        if let Some(snapshot) = &snapshot {
            self.applying.push_snapshot(snapshot);
            self.handed_over = snapshot.get_metadata().index;
        }
        self.hand_over(committed);
        let messages = ready.take_messages();
        if leads {
            self.out.point(Failpoint::RaftBeforeLeaderSend);
        }
        self.send_all(messages);
        let mut messages = ready.take_persisted_messages();
        if self.config.bugs.has(Bug::SendFollowerRespBeforePersist) {
            self.send_all(std::mem::take(&mut messages));
        }
        let entries = ready.take_entries();
        let mut hard_state = ready.hs().cloned();
        let number = ready.number();
        {
            let store = self.raft.mut_store();
            if let Some(snapshot) = &snapshot {
                let metadata = snapshot.get_metadata();
                store.install(metadata.index, metadata.term, metadata.get_conf_state().clone());
            }
            store.append(&entries);
            if let Some(hard_state) = &hard_state {
                store.hard_state = hard_state.clone();
            }
        }
        if has_snapshot {
            self.log_changed_from = 0;
        }
        self.raft.advance_append_async(ready);
        let early = self.config.bugs.has(Bug::ApplyBeforeWalFsyncSingle) && self.raft.raft.prs().is_singleton();
        if early && !has_snapshot {
            // The single voter counts its own entries as committed before they are written.
            self.raft.on_persist_ready(number);
            let mut next = self.raft.ready();
            let committed = next.take_committed_entries();
            if let Some(state) = next.hs() {
                self.raft.mut_store().hard_state = state.clone();
                hard_state = Some(state.clone());
            }
            self.raft.advance_append_async(next);
            self.hand_over(committed);
        }
        let last_entry = entries.last().cloned();
        let next = if has_snapshot { Step::SnapFile } else { Step::Save };
        let (syncs, handed_over) = (Vec::new(), self.handed_over);
        self.saving =
            Some(Saving { number, syncs, messages, last_entry, snapshot, hard_state, entries, handed_over, next });
        self.go_on_saving();
        // Not before: Raft's log must not grow between a Ready and its advance.
        if new_leader {
            self.propose_unled();
        }
    }

    fn hand_over(&mut self, committed: Vec<Entry>) {
        if let Some(last) = committed.last() {
            self.handed_over = last.index;
            self.applying.push(committed);
        }
        if self.applying.has_work() {
            self.out.wake_now(Task::Apply);
        }
    }

    /// The save under way goes on, up to what it must wait for.
    pub(super) fn go_on_saving(&mut self) {
        while let Some(saving) = &mut self.saving {
            if !saving.syncs.is_empty() {
                return;
            }
            let step = saving.next;
            if matches!(step, Step::Record | Step::Save | Step::Sync) && self.wal.awaiting().is_some() {
                // The lock is another's; who has it will call.
                return;
            }
            let (sync, next) = match step {
                Step::SnapFile => (self.save_snap_file(), Step::Record),
                Step::Record => (self.save_record(), Step::Save),
                Step::Save => (self.save(), Step::Sync),
                Step::Sync => (self.sync_snapshot(), Step::Done),
                Step::Done => return self.finish(),
            };
            let saving = self.saving.as_mut().expect("only its end takes it away");
            saving.next = next;
            if let Some(sync) = sync {
                saving.syncs.push(sync);
                self.disk.insert(sync, Waiting::RaftSave);
            }
        }
    }

    fn save_snap_file(&mut self) -> Option<OpId> {
        self.out.point(Failpoint::RaftBeforeSaveSnap);
        let snapshot = self.saving.as_ref()?.snapshot.as_ref()?;
        let writes = self.config.release.writes_snap_files();
        writes.then(|| self.snap_dir.save(snapshot, &mut self.out))
    }

    fn save_record(&mut self) -> Option<OpId> {
        let metadata = self.saving.as_ref()?.snapshot.as_ref()?.get_metadata().clone();
        Some(self.save_snapshot_record(metadata.index, metadata.term, metadata.get_conf_state()))
    }

    /// Write a snapshot's record to the log, and sync.
    pub(super) fn save_snapshot_record(
        &mut self,
        index: u64,
        term: u64,
        conf_state: &crate::raftpb::ConfState,
    ) -> OpId {
        self.out.point(Failpoint::RaftBeforeWalSaveSnapshot);
        let place = self.out.place();
        let saved = self.wal.save_snapshot(index, term, conf_state, &mut self.out);
        if let Some(op) = saved.write {
            self.out.insert(place, Output::Event(Event::WalSnapshotSaved { op, index }));
        }
        saved.sync.expect("a snapshot record is always synced")
    }

    /// Write hard state and entries to the log.
    fn save(&mut self) -> Option<OpId> {
        let saving = self.saving.as_mut()?;
        let (hard_state, entries) = (saving.hard_state.take(), std::mem::take(&mut saving.entries));
        if saving.snapshot.is_some() {
            self.out.point(Failpoint::RaftAfterSaveSnap);
        }
        if hard_state.is_none() && entries.is_empty() {
            return None;
        }
        self.out.point(Failpoint::RaftBeforeSave);
        let must_sync = match self.config.bugs.has(Bug::MustsyncIgnoresVote) {
            true => !entries.is_empty(),
            false => self.wal.must_sync(hard_state.as_ref(), &entries),
        };
        let place = self.out.place();
        let saved = self.wal.save(hard_state.as_ref(), &entries, must_sync, &mut self.out);
        if let Some(op) = saved.write {
            let state = hard_state.as_ref().unwrap_or(&self.raft.store().hard_state);
            let hard_state = (state.term, MemberId(state.vote), state.commit);
            let entries = entries.first().zip(entries.last()).map(|(first, last)| (first.index, last.index));
            // Before the first write, which a crash may part from the others.
            self.out.insert(place, Output::Event(Event::WalSaved { op, entries, hard_state }));
        }
        saved.sync
    }

    /// The hard state that came with a snapshot must last before old files are released.
    fn sync_snapshot(&mut self) -> Option<OpId> {
        self.out.point(Failpoint::RaftAfterSave);
        self.saving.as_ref()?.snapshot.as_ref()?;
        if self.config.bugs.has(Bug::WalReleaseBeforeSync) {
            return None;
        }
        let place = self.out.place();
        let saved = self.wal.sync(&mut self.out);
        if let Some(op) = saved.write {
            let state = &self.raft.store().hard_state;
            let hard_state = (state.term, MemberId(state.vote), state.commit);
            self.out.insert(place, Output::Event(Event::WalSaved { op, entries: None, hard_state }));
        }
        saved.sync
    }

    /// One of the syncs of the save under way has ended.
    pub(super) fn saved(&mut self, op: OpId) {
        let mut next = None;
        if self.wal.awaiting() == Some(op) {
            match self.wal.on_disk(op, &mut self.out) {
                Progress::Done => self.log_unlocked(),
                Progress::Waits(sync) => next = Some(sync),
                Progress::Failed => return self.exit("failed to save Raft hard state and entries"),
            }
        }
        let Some(saving) = &mut self.saving else { return };
        saving.syncs.retain(|sync| *sync != op);
        if let Some(next) = next {
            saving.syncs.push(next);
            self.disk.insert(next, Waiting::RaftSave);
        }
        self.go_on_saving();
    }

    /// Whoever waits for the log's lock may have it.
    fn log_unlocked(&mut self) {
        if self.snapshotting.is_making() {
            self.out.wake_now(Task::Snapshot);
        }
    }

    fn finish(&mut self) {
        let saving = self.saving.take().expect("who calls has looked");
        self.raft.on_persist_ready(saving.number);
        self.notified = self.notified.max(saving.handed_over);
        if let Some(snapshot) = saving.snapshot {
            let index = snapshot.get_metadata().index;
            self.applying.snapshot_persisted(index);
            self.raft_applied(index);
            self.out.wake_now(Task::Apply);
            self.out.point(Failpoint::RaftBeforeApplySnap);
            self.out.point(Failpoint::RaftAfterApplySnap);
            self.release(index);
            self.out.point(Failpoint::RaftAfterWalRelease);
        }
        self.out.point(Failpoint::RaftBeforeFollowerSend);
        self.send_all(saving.messages);
        self.out.point(Failpoint::RaftBeforeAdvance);
        if self.snapshot_is_due() {
            self.out.wake_now(Task::Snapshot);
        }
        if std::mem::take(&mut self.tick_waiting) {
            self.raft_tick();
        }
    }

    /// `Release`: what lies before the snapshot at `index` is needed by nobody.
    pub(super) fn release(&mut self, index: u64) {
        self.wal.release(index);
        let race = self.config.bugs.has(Bug::ReleaseSnapdbRace);
        let waited_for = |database| !race && self.applying.waits_for_snapshot(database);
        for gone in self.snap_dir.release_databases(index, waited_for, &mut self.out) {
            self.applying.forget_database(gone);
        }
    }

    /// True when there is a leader, and another one than before.
    fn role_changed(&mut self) -> bool {
        let raft = &self.raft.raft;
        let (role, leader, term) = (election::role(raft.state), MemberId(raft.leader_id), raft.term);
        let new_leader = leader != MemberId::NONE && leader != self.leader;
        self.role = role;
        self.leader = leader;
        self.event(Event::RoleChanged { role, term, leader: leader.known() });
        self.lessor_follows_role();
        if new_leader {
            self.leader_changed();
        }
        new_leader
    }

    /// etcd's `processMessages`, then the messages on their way: only the newest append response counts, and nothing
    /// goes to a member that was removed.
    fn send_all(&mut self, messages: Vec<Message>) {
        let is_answer = |message: &Message| message.msg_type == MessageType::MsgAppendResponse;
        let newest_answer = messages.iter().rposition(is_answer);
        for (place, message) in messages.into_iter().enumerate() {
            let stale = is_answer(&message) && Some(place) != newest_answer;
            if !stale && !self.membership.is_removed(MemberId(message.to)) {
                self.send(message);
                self.out.point(Failpoint::RaftAfterSend);
            }
        }
    }
}
