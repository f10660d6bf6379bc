//! Writes: from a client's request to an entry, and the answer when it is applied or given up.

use prost::Message as _;

use crate::api::{Credential, Error, Request, ResponseBody};
use crate::auth::AuthInfo;
use crate::raftpb::{Entry, EntryType, Message, MessageType};
use crate::time::Monotonic;
use crate::wire::message::entry::InternalRaftRequest;
use crate::{wire, MemberId, RequestId, Task};

use super::{Proposal, Replica};

/// Proposals that may wait for a leader (`maxPendingProposals` of rafthttp).
const UNLED_MAX: usize = 4096;

impl Replica {
    /// `processInternalRaftRequestOnce`.
    pub(super) fn propose_request(&mut self, id: RequestId, credential: &Credential, request: &Request) {
        let who = match self.proposer(credential) {
            Ok(who) => who,
            Err(error) => return self.reply(id, Err(error)),
        };
        let entry = self.ids.next();
        let header = wire::header(entry, &who.username, who.revision);
        let Some(data) = wire::encode_as(header, request) else { return self.reply(id, Err(Error::TooManyOps)) };
        self.propose(id, entry, Proposal::Entry(data));
    }

    /// Whose name goes into an entry: nobody's while the apply loop is too far behind.
    pub(super) fn proposer(&mut self, credential: &Credential) -> Result<AuthInfo, Error> {
        if self.raft.raft.raft_log.committed > self.applied + self.config.max_commit_apply_gap {
            return Err(Error::TooManyRequests);
        }
        Ok(self.who(credential)?.unwrap_or_default())
    }

    /// Something that this member wants by itself; nobody waits for it. The id of its entry.
    pub(super) fn propose_own(&mut self, mut message: InternalRaftRequest) -> u64 {
        let entry = self.ids.next();
        message.header = Some(wire::header(entry, "", 0));
        self.propose_data(entry, message.encode_to_vec());
        entry
    }

    pub(super) fn propose_data(&mut self, entry: u64, data: Vec<u8>) {
        self.hand_in_when_led(entry, Proposal::Entry(data.into()));
    }

    pub(super) fn propose(&mut self, id: RequestId, entry: u64, proposal: Proposal) {
        self.wait_for(id, entry);
        self.hand_in_when_led(entry, proposal);
    }

    /// The client's answer comes when the entry is applied, or given up.
    pub(super) fn wait_for(&mut self, id: RequestId, entry: u64) {
        self.proposed.insert(entry, id);
        let deadline = self.now + self.config.request_timeout;
        if self.deadlines.is_empty() {
            self.out.wake(Task::RequestTimeout, self.config.request_timeout);
        }
        self.deadlines.push_back((deadline, entry));
    }

    fn hand_in_when_led(&mut self, entry: u64, proposal: Proposal) {
        if self.raft.raft.leader_id == raft::INVALID_ID {
            if self.unled.len() < UNLED_MAX {
                self.unled.push_back((entry, proposal));
            }
            return;
        }
        self.hand_in(proposal);
    }

    /// A leader is known again: what has waited for one goes to it.
    pub(super) fn propose_unled(&mut self) {
        self.out.wake_now(Task::Publish);
        for (entry, proposal) in std::mem::take(&mut self.unled) {
            if self.proposed.contains_key(&entry) {
                self.hand_in(proposal);
            }
        }
    }

    /// To Raft. A proposal that it drops gets no answer: its client learns by the time limit, as etcd's does.
    fn hand_in(&mut self, proposal: Proposal) {
        let mut entry = Entry::default();
        match proposal {
            Proposal::Entry(data) => entry.data = data,
            Proposal::Configuration(change) => {
                entry.entry_type = EntryType::EntryConfChange;
                entry.data = change;
            }
        }
        let mut message = Message::default();
        message.msg_type = MessageType::MsgPropose;
        message.from = self.config.member.0;
        message.entries = vec![entry].into();
        self.step_raft(message);
    }

    pub(super) fn request_timeout(&mut self, now: Monotonic) {
        self.seated_timeout(now);
        while let Some((deadline, entry)) = self.deadlines.front().copied() {
            if !self.proposed.contains_key(&entry) {
                self.deadlines.pop_front();
                continue;
            }
            if deadline > now {
                self.out.wake(Task::RequestTimeout, deadline.since(now));
                return;
            }
            self.deadlines.pop_front();
            if let Some(id) = self.proposed.remove(&entry) {
                self.authenticated(entry);
                self.unled.retain(|(unled, _)| *unled != entry);
                self.reply(id, Err(Error::Timeout));
            }
        }
    }

    /// `MoveLeader`: answered at once; the client sees in the status when it has happened.
    pub(super) fn move_leader(&mut self, id: RequestId, target: MemberId) {
        if self.raft.raft.state != raft::StateRole::Leader {
            return self.reply(id, Err(Error::NotLeader));
        }
        if !self.membership.voters().contains(&target) {
            return self.reply(id, Err(Error::MemberNotFound));
        }
        self.raft.transfer_leader(target.0);
        self.reply_body(id, ResponseBody::MoveLeader);
    }
}
