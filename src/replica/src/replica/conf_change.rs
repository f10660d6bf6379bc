//! Proposals of configuration changes, past raft-rs's own look at them.
//!
//! A leader must let only one change be unapplied at a time. raft-rs sees to that, but reads the change in the entry
//! first, and refuses etcd's bytes: its learners have another number. What it does for such a proposal is done here,
//! through its public parts; everything else goes its usual way.

use crate::raftpb::{Entry, EntryType, Message, MessageType};

use super::Replica;

impl Replica {
    /// Give Raft a message. False when it refuses it.
    pub(super) fn raft_takes(&mut self, message: Message) -> bool {
        let leads = self.raft.raft.state == raft::StateRole::Leader;
        let changes = |entry: &Entry| entry.entry_type == EntryType::EntryConfChange;
        match leads && message.msg_type == MessageType::MsgPropose && message.entries.iter().any(changes) {
            true => self.append_proposed(message.entries.into_vec()),
            false => self.raft.step(message).is_ok(),
        }
    }

    /// `stepLeader` for proposals. A change that comes too early becomes an empty entry.
    fn append_proposed(&mut self, mut entries: Vec<Entry>) -> bool {
        let raft = &mut self.raft.raft;
        if raft.prs().get(raft.id).is_none() || raft.lead_transferee.is_some() {
            return false;
        }
        for (next, entry) in (raft.raft_log.last_index() + 1..).zip(&mut entries) {
            if entry.entry_type != EntryType::EntryConfChange {
                continue;
            }
            match raft.has_pending_conf() {
                true => *entry = Entry::default(),
                false => raft.pending_conf_index = next,
            }
        }
        let appended = raft.append_entry(&mut entries);
        if appended {
            raft.bcast_append();
        }
        appended
    }
}
