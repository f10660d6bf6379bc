//! Messages between members: in from the transport, out to it.

use crate::raftpb::{Message, MessageType};
use crate::snap::{Arrival, Received};
use crate::wal::Commands;
use crate::{Bug, DiskCommand, Event, Failpoint, Input, MemberId, OpId, Output, PeerMessage, Task};

use super::{Replica, Waiting};

impl Replica {
    /// A message arrived.
    pub(super) fn receive(&mut self, mut peer: PeerMessage) {
        if peer.to != self.config.member || self.membership.is_removed(peer.from) {
            if let Some(chunk) = &peer.chunk {
                self.answer_sender(peer.from, chunk.stream, false);
            }
            return;
        }
        let pause = self.election_timeout();
        self.peers.activity.heard(self.now, peer.from, pause);
        self.peers.versions.extend(peer.version.map(|version| (peer.from, version)));
        if let Some(lease) = peer.lease {
            return self.receive_lease(self.now, peer.from, *lease);
        }
        if let Some(hash) = peer.hash {
            return self.receive_hash(peer.from, *hash);
        }
        if peer.message.msg_type == MessageType::MsgSnapshot {
            return self.receive_database(peer);
        }
        let message = &mut *peer.message;
        let asks_vote = matches!(message.msg_type, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
        if asks_vote && self.config.bugs.has(Bug::VoteIgnoresLogUptodate) {
            let log = &self.raft.raft.raft_log;
            message.index = message.index.max(log.last_index());
            message.log_term = message.log_term.max(log.last_term());
        }
        if message.msg_type == MessageType::MsgReadIndex {
            return self.step_read_index(*peer.message);
        }
        self.step_raft(*peer.message);
    }

    /// Give Raft a message. What it refuses (an unknown sender, no leader) is dropped, as etcd drops it.
    pub(super) fn step_raft(&mut self, message: Message) {
        // A proposal's entries have no index yet: they come to lie behind the last one.
        let appended = message.entries.first().filter(|_| message.msg_type == MessageType::MsgAppend);
        if let Some(first) = appended {
            self.log_changed_from = self.log_changed_from.min(first.index);
        }
        let before = self.raft.raft.raft_log.last_index();
        let dropped = !self.raft_takes(message);
        if !dropped && self.raft.raft.raft_log.last_index() != before {
            self.log_changed_from = self.log_changed_from.min(before + 1);
        }
        self.after_raft();
    }

    /// What may follow from any change of Raft's state.
    pub(super) fn after_raft(&mut self) {
        if self.config.bugs.has(Bug::CommitOldTermByCount) {
            self.commit_by_count();
        }
        self.step_waiting_read_indexes();
    }

    /// Bug M-04: what a majority stores is taken for committed, whatever term it is from (Raft's figure 8).
    fn commit_by_count(&mut self) {
        let raft = &mut self.raft.raft;
        if raft.state != raft::StateRole::Leader {
            return;
        }
        let (stored, _) = raft.mut_prs().maximal_committed_index();
        let stored = stored.min(raft.raft_log.persisted);
        if stored > raft.raft_log.committed {
            raft.raft_log.commit_to(stored);
            raft.bcast_append();
        }
    }

    /// A part of a database. Raft sees the message when all of it is on disk, as `snap.SaveDBFrom` does it.
    fn receive_database(&mut self, peer: PeerMessage) {
        let Some(chunk) = peer.chunk.clone() else { return };
        let from = peer.from;
        match self.receiving.take(peer, &chunk, &mut self.snap_dir, &mut self.out) {
            Arrival::Waits => {}
            Arrival::Complete(sync, received) => {
                let index = received.message.get_snapshot().get_metadata().index;
                self.event(Event::DatabaseReceived { index });
                self.disk.insert(sync, Waiting::Database(received));
            }
            Arrival::Broken => self.answer_sender(from, chunk.stream, false),
        }
    }

    /// All of a database is on disk.
    pub(super) fn database_saved(&mut self, received: Received) {
        let index = received.message.get_snapshot().get_metadata().index;
        self.out.point(Failpoint::SnapBeforeRenameDb);
        if self.snap_dir.name_database(received.file, index, &mut self.out) {
            self.applying.keep_database(index, received.data);
        }
        self.out.point(Failpoint::SnapAfterRenameDb);
        self.step_raft(*received.message);
        self.answer_sender(received.from, received.stream, true);
    }

    /// A disk command failed. True when only a database on its way suffers from it.
    pub(super) fn database_failed(&mut self, op: OpId, waiting: Option<&Waiting>) -> bool {
        if let Some(Waiting::Database(received)) = waiting {
            self.out.issue(DiskCommand::Remove { file: received.file });
            self.answer_sender(received.from, received.stream, false);
            return true;
        }
        for waiting in self.disk.values_mut() {
            if let Waiting::Database(received) = waiting {
                if received.commands.contains(&op) {
                    // Its sync will end, and must not be believed.
                    received.damaged = true;
                    return true;
                }
            }
        }
        let given_up = self.receiving.note_failure(op, &mut self.out);
        if let Some((from, stream)) = given_up {
            self.answer_sender(from, stream, false);
        }
        given_up.is_some()
    }

    pub(super) fn answer_sender(&mut self, from: MemberId, stream: u64, saved: bool) {
        self.out.push(Output::SnapshotReceived { from, stream, saved });
    }

    /// Put a message on its way. Snapshots go by the apply loop, which adds the database.
    pub(super) fn send(&mut self, message: Message) {
        if message.msg_type == MessageType::MsgSnapshot {
            // etcd's apply loop runs with every Ready, whether or not there is anything to apply.
            self.snapshotting.want(message);
            return self.out.wake_now(Task::Apply);
        }
        let (from, to) = (self.config.member, MemberId(message.to));
        self.send_peer(PeerMessage::of_raft(from, to, message));
    }

    /// To another member, with this member's version.
    pub(super) fn send_peer(&mut self, message: PeerMessage) {
        self.out.push(Output::Send(PeerMessage { version: Some(self.config.version()), ..message }));
    }
}

impl Input {
    /// The message in it, if that is what it is.
    pub fn message(&self) -> Option<&PeerMessage> {
        match self {
            Self::Message(message) => Some(message),
            _ => None,
        }
    }
}
