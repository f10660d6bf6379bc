//! The Raft loop: `raftNode.start` of etcd, with its order of send, save and send.
//!
//! ```text
//! leader:   hand over committed entries · send · save (sync) · advance
//! follower: hand over committed entries ·        save (sync) · send · advance
//! ```
//! Between the save and its sync's end the loop is blocked, and so is the ticker; messages and proposals go on into
//! Raft.

use crate::raftpb::{Entry, HardState, Message, MessageType, Snapshot};
use crate::{Bug, Event, Failpoint, MemberId, OpId, Task};

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
    /// A founder's first entries, to be saved when the log exists.
    pub(super) founding: Option<(HardState, Vec<Entry>)>,
    /// The snapshot in it.
    pub(super) snapshot: Option<Snapshot>,
}

impl Saving {
    /// A booting member's first files, which Raft must not outrun.
    pub(super) fn of_boot(syncs: Vec<OpId>, founding: Option<(HardState, Vec<Entry>)>) -> Self {
        Self { number: 0, syncs, messages: Vec::new(), last_entry: None, founding, snapshot: None }
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
        if self.saving.is_some() || !self.raft.has_ready() {
            return;
        }
        let mut ready = self.raft.ready();
        let leads = self.raft.raft.state == raft::StateRole::Leader;
        let new_leader = ready.ss().is_some() && self.role_changed();
        for state in ready.take_read_states() {
            self.read_index_confirmed(&state.request_ctx, state.index);
        }
        let committed = ready.take_committed_entries();
        let snapshot = ready.snapshot().clone();
        let has_snapshot = snapshot.get_metadata().index > 0;
        if has_snapshot {
            self.applying.push_snapshot(&snapshot);
            self.handed_over = snapshot.get_metadata().index;
        }
        self.hand_over(committed);
        let messages = ready.take_messages();
        if leads {
            self.out.point(Failpoint::RaftBeforeLeaderSend);
        }
        self.send_all(messages);
        let mut persisted = ready.take_persisted_messages();
        if self.config.bugs.has(Bug::SendFollowerRespBeforePersist) {
            self.send_all(std::mem::take(&mut persisted));
        }
        let entries = ready.take_entries();
        let syncs = self.save(&snapshot, ready.hs(), &entries, ready.must_sync());
        let number = ready.number();
        {
            let store = self.raft.mut_store();
            if has_snapshot {
                let metadata = snapshot.get_metadata();
                store.install(metadata.index, metadata.term, metadata.get_conf_state().clone());
            }
            store.append(&entries);
            if let Some(hard_state) = ready.hs() {
                store.hard_state = hard_state.clone();
            }
        }
        if has_snapshot {
            self.log_changed_from = 0;
        }
        self.raft.advance_append_async(ready);
        let early = self.config.bugs.has(Bug::ApplyBeforeWalFsyncSingle) && self.raft.raft.prs().is_singleton();
        if early && !has_snapshot {
            // The single voter counts its own entries as committed while they are only in the page cache.
            self.raft.on_persist_ready(number);
            let mut next = self.raft.ready();
            let committed = next.take_committed_entries();
            let hard_state = next.hs().cloned();
            if let Some(hard_state) = &hard_state {
                self.raft.mut_store().hard_state = hard_state.clone();
            }
            self.save(&Snapshot::default(), hard_state.as_ref(), &[], false);
            self.raft.advance_append_async(next);
            self.hand_over(committed);
        }
        for sync in &syncs {
            self.disk.insert(*sync, Waiting::RaftSave);
        }
        let snapshot = has_snapshot.then_some(snapshot);
        let saving = Saving {
            number,
            syncs,
            messages: persisted,
            last_entry: entries.last().cloned(),
            founding: None,
            snapshot,
        };
        if saving.syncs.is_empty() {
            self.finish(saving);
        } else {
            self.saving = Some(saving);
        }
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

    /// Write a Ready to the WAL: the snapshot's record first, then hard state and entries. Gives the syncs that must
    /// end before it counts as saved.
    fn save(
        &mut self,
        snapshot: &Snapshot,
        hard_state: Option<&HardState>,
        entries: &[Entry],
        must_sync: bool,
    ) -> Vec<OpId> {
        let mut syncs = Vec::new();
        let metadata = snapshot.get_metadata();
        if metadata.index > 0 {
            self.out.point(Failpoint::RaftBeforeSaveSnap);
            let saved = self.wal.save_snapshot(metadata.index, metadata.term, metadata.get_conf_state(), &mut self.out);
            self.note_snapshot(saved.write, metadata.index);
            syncs.extend(saved.sync);
            self.out.point(Failpoint::RaftAfterSaveSnap);
        }
        if hard_state.is_none() && entries.is_empty() {
            return syncs;
        }
        self.out.point(Failpoint::RaftBeforeSave);
        let must_sync = match self.config.bugs.has(Bug::MustsyncIgnoresVote) {
            true => !entries.is_empty(),
            false => must_sync,
        };
        let saved = self.wal.save(hard_state, entries, must_sync, &mut self.out);
        syncs.extend(saved.sync);
        if let Some(op) = saved.write {
            let state = hard_state.cloned().unwrap_or_else(|| self.raft.raft.hard_state());
            let entries = entries.first().zip(entries.last()).map(|(first, last)| (first.index, last.index));
            self.event(Event::WalSaved { op, entries, hard_state: (state.term, MemberId(state.vote), state.commit) });
        }
        syncs
    }

    fn note_snapshot(&mut self, write: Option<OpId>, index: u64) {
        if let Some(op) = write {
            self.event(Event::WalSnapshotSaved { op, index });
        }
    }

    /// One of the syncs of the save under way has ended.
    pub(super) fn saved(&mut self, op: OpId) {
        let next = self.wal.on_disk(op, &mut self.out);
        let Some(saving) = &mut self.saving else { return };
        saving.syncs.retain(|sync| *sync != op);
        if let Some(next) = next {
            saving.syncs.push(next);
            self.disk.insert(next, Waiting::RaftSave);
        }
        if !saving.syncs.is_empty() {
            return;
        }
        if let Some((hard_state, entries)) = saving.founding.take() {
            let saved = self.save(&Snapshot::default(), Some(&hard_state), &entries, true);
            for sync in &saved {
                self.disk.insert(*sync, Waiting::RaftSave);
            }
            if let Some(saving) = &mut self.saving {
                saving.syncs = saved;
            }
        } else {
            let saving = self.saving.take().expect("it is there, we have just looked");
            self.finish(saving);
        }
    }

    fn finish(&mut self, saving: Saving) {
        self.out.point(Failpoint::RaftAfterSave);
        self.raft.on_persist_ready(saving.number);
        if let Some(snapshot) = saving.snapshot {
            let index = snapshot.get_metadata().index;
            self.applying.snapshot_persisted(index);
            self.out.wake_now(Task::Apply);
            self.out.point(Failpoint::RaftAfterApplySnap);
            self.wal.release(index);
        }
        self.out.point(Failpoint::RaftBeforeFollowerSend);
        self.send_all(saving.messages);
        self.out.point(Failpoint::RaftBeforeAdvance);
        if self.snapshotting.waits_for_commit() {
            self.out.wake_now(Task::Snapshot);
        }
        if std::mem::take(&mut self.tick_waiting) {
            self.raft_tick();
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
            }
        }
    }
}
