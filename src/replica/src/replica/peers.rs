//! Messages between members: in from the transport, out to it.

use crate::raftpb::{Message, MessageType};
use crate::wal::Commands;
use crate::{Bug, Dir, DiskCommand, FileName, Input, MemberId, Output, PeerMessage, Task};

use super::{Replica, Waiting};

impl Replica {
    /// A message arrived. One with a database is saved first, as `snap.SaveDBFrom` does, and Raft sees it afterwards.
    pub(super) fn receive(&mut self, mut peer: PeerMessage) {
        if peer.to != self.config.member || self.membership.is_removed(peer.from) {
            return;
        }
        if let Some(lease) = peer.lease {
            return self.receive_lease(self.now, peer.from, lease);
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
        let dropped = self.raft.step(message).is_err();
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

    fn receive_database(&mut self, peer: PeerMessage) {
        let Some(database) = peer.database.clone() else {
            return;
        };
        let index = peer.message.get_snapshot().get_metadata().index;
        if index <= self.applied || self.applying.has_database(index) {
            return self.step_raft(*peer.message);
        }
        let file = FileName::SnapDb { index };
        self.out.issue(DiskCommand::Create { file });
        self.out.issue(DiskCommand::Write { file, offset: 0, data: database });
        self.out.issue(DiskCommand::Sync { file });
        let last = self.out.issue(DiskCommand::SyncDir { dir: Dir::Snap });
        self.disk.insert(last, Waiting::Database(Box::new(peer)));
    }

    pub(super) fn database_saved(&mut self, peer: PeerMessage) {
        let index = peer.message.get_snapshot().get_metadata().index;
        let database = peer.database.expect("only messages with a database are saved");
        self.applying.keep_database(index, database);
        self.step_raft(*peer.message);
    }

    /// Put a message on its way. Snapshots go by the apply loop, which adds the database.
    pub(super) fn send(&mut self, message: Message) {
        if message.msg_type == MessageType::MsgSnapshot {
            // etcd's apply loop runs with every Ready, whether or not there is anything to apply.
            self.out.wake_now(Task::Apply);
            return self.snapshotting.want(message);
        }
        let (from, to) = (self.config.member, MemberId(message.to));
        self.out.push(Output::Send(PeerMessage::of_raft(from, to, message)));
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
