//! Writes: from a client's request to an entry, and the answer when it is applied or given up.

use bytes::Bytes;

use crate::api::{Alarm, AlarmAction, AlarmRequest, Error, LeaseCheckpoint, Request, ResponseBody};
use crate::raftpb::{ConfChange, ConfChangeType, Entry, EntryType, Message, MessageType};
use crate::time::Monotonic;
use crate::{quota, wire, MemberId, RequestId, Task};

use super::{Proposal, Replica};

/// What a member waits for that has proposed something itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Internal {
    /// The alarm about space, raised for a request that was not proposed. Then its client is told.
    Full { id: RequestId },
    /// The alarm about space, raised for a request that was applied all the same. Then its client is told.
    AppliedFull { entry: u64 },
    /// The revocation of a lease that has ended.
    Revoked { look: u64 },
    /// Checkpoints; more are due.
    Checkpointed { more: bool },
    /// The end of a checkpoint, for a lease that is kept alive.
    Cleared { call: u64 },
}

/// Proposals that may wait for a leader (`maxPendingProposals` of rafthttp).
const UNLED_MAX: usize = 4096;

impl Replica {
    /// `processInternalRaftRequestOnce`.
    pub(super) fn propose_request(&mut self, now: Monotonic, id: RequestId, request: &Request) {
        if self.raft.raft.raft_log.committed > self.applied + self.config.max_commit_apply_gap {
            return self.reply(id, Err(Error::TooManyRequests));
        }
        let entry = self.ids.next();
        let Some(data) = wire::encode(entry, request) else { return self.reply(id, Err(Error::TooManyOps)) };
        if data.len() > self.config.max_request_bytes {
            return self.reply(id, Err(Error::RequestTooLarge));
        }
        self.propose(now, id, entry, Proposal::Entry(data));
    }

    /// A request of this member's own.
    ///
    /// # Errors
    /// `TooManyRequests`.
    pub(super) fn propose_internal(&mut self, now: Monotonic, request: &Request, of: Internal) -> Result<(), Error> {
        let entry = self.ids.next();
        let data = wire::encode(entry, request).expect("what a member proposes itself travels in entries");
        self.propose_own(now, entry, data, of)
    }

    /// How long some leases have left.
    ///
    /// # Errors
    /// `TooManyRequests`.
    pub(super) fn propose_checkpoints(
        &mut self,
        now: Monotonic,
        checkpoints: &[LeaseCheckpoint],
        of: Internal,
    ) -> Result<(), Error> {
        let entry = self.ids.next();
        self.propose_own(now, entry, wire::encode_checkpoints(entry, checkpoints), of)
    }

    fn propose_own(&mut self, now: Monotonic, entry: u64, data: Bytes, of: Internal) -> Result<(), Error> {
        if self.raft.raft.raft_log.committed > self.applied + self.config.max_commit_apply_gap {
            return Err(Error::TooManyRequests);
        }
        self.internal.insert(entry, of);
        self.wait(now, entry);
        self.enqueue(entry, Proposal::Entry(data));
        Ok(())
    }

    /// What the member itself waited for is applied, or given up.
    pub(super) fn internal_done(&mut self, now: Monotonic, internal: Internal) {
        match internal {
            Internal::Full { id } => self.reply(id, Err(Error::NoSpace)),
            Internal::AppliedFull { entry } => {
                if let Some(id) = self.proposed.remove(&entry) {
                    self.reply(id, Err(Error::NoSpace));
                }
            }
            internal => self.lease_entry_done(now, internal),
        }
    }

    // ---- The quota.

    /// Whether the backend has no room for the request.
    pub(super) fn exceeds_quota(&self, request: &Request) -> bool {
        if self.config.quota_backend_bytes == 0 {
            return false;
        }
        let cost = quota::cost(request, self.config.bugs);
        cost > 0 && self.backend.size().total + cost >= self.config.quota_backend_bytes
    }

    /// Raise the alarm about space; whoever found out is answered when that is done, or cannot be.
    pub(super) fn raise_no_space(&mut self, now: Monotonic, of: Internal) {
        let alarm =
            AlarmRequest { action: AlarmAction::Activate, member: self.config.member, alarm: Some(Alarm::NoSpace) };
        if self.propose_internal(now, &Request::Alarm(alarm), of).is_err() {
            self.internal_done(now, of);
        }
    }

    pub(super) fn propose_membership(&mut self, now: Monotonic, id: RequestId, request: &Request) {
        let (member, kind) = match request {
            Request::MemberAdd { id, is_learner: false } => (*id, ConfChangeType::AddNode),
            Request::MemberAdd { id, is_learner: true } => (*id, ConfChangeType::AddLearnerNode),
            Request::MemberPromote { id } => (*id, ConfChangeType::AddNode),
            Request::MemberRemove { id } => (*id, ConfChangeType::RemoveNode),
            other => panic!("not a membership change: {other:?}"),
        };
        if let Err(error) = self.membership.check(request) {
            return self.reply(id, Err(error));
        }
        if let Request::MemberPromote { id: learner } = request {
            if let Err(error) = self.learner_ready(*learner) {
                return self.reply(id, Err(error));
            }
        }
        let entry = self.ids.next();
        let mut change = ConfChange::default();
        change.id = entry;
        change.node_id = member.0;
        change.change_type = kind;
        change.context = match request {
            Request::MemberPromote { .. } => b"promote".as_slice().into(),
            _ => b"".as_slice().into(),
        };
        self.propose(now, id, entry, Proposal::Configuration(change));
    }

    /// A learner may vote when it has nine tenths of the leader's log. Only the leader knows.
    fn learner_ready(&self, learner: MemberId) -> Result<(), Error> {
        let raft = &self.raft.raft;
        if raft.state != raft::StateRole::Leader {
            return Err(Error::NotLeader);
        }
        let progress = raft.prs().get(learner.0).ok_or(Error::MemberNotFound)?;
        let leader = raft.raft_log.last_index();
        match progress.matched * 10 >= leader * 9 {
            true => Ok(()),
            false => Err(Error::LearnerNotReady),
        }
    }

    fn propose(&mut self, now: Monotonic, id: RequestId, entry: u64, proposal: Proposal) {
        self.proposed.insert(entry, id);
        self.wait(now, entry);
        self.enqueue(entry, proposal);
    }

    /// The entry must be applied within the server's limit.
    fn wait(&mut self, now: Monotonic, entry: u64) {
        let deadline = now + self.config.request_timeout;
        if self.deadlines.is_empty() {
            self.out.wake(Task::RequestTimeout, self.config.request_timeout);
        }
        self.deadlines.push_back((deadline, entry));
    }

    fn enqueue(&mut self, entry: u64, proposal: Proposal) {
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
        for (entry, proposal) in std::mem::take(&mut self.unled) {
            if self.is_awaited(entry) {
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
                entry.data = protobuf_bytes(&change);
            }
        }
        let mut message = Message::default();
        message.msg_type = MessageType::MsgPropose;
        message.from = self.config.member.0;
        message.entries = vec![entry].into();
        self.step_raft(message);
    }

    pub(super) fn request_timeout(&mut self, now: Monotonic) {
        while let Some((deadline, entry)) = self.deadlines.front().copied() {
            if !self.is_awaited(entry) {
                self.deadlines.pop_front();
                continue;
            }
            if deadline > now {
                self.out.wake(Task::RequestTimeout, deadline.since(now));
                return;
            }
            self.deadlines.pop_front();
            self.unled.retain(|(unled, _)| *unled != entry);
            if let Some(id) = self.proposed.remove(&entry) {
                self.reply(id, Err(Error::Timeout));
            }
            if let Some(internal) = self.internal.remove(&entry) {
                self.internal_done(now, internal);
            }
        }
    }

    fn is_awaited(&self, entry: u64) -> bool {
        self.proposed.contains_key(&entry) || self.internal.contains_key(&entry)
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
        let body = ResponseBody::Members {
            voters: self.membership.voters().to_vec(),
            learners: self.membership.learners().to_vec(),
        };
        self.reply_body(id, body);
    }
}

/// raft-rs's messages are rust-protobuf's.
fn protobuf_bytes(change: &ConfChange) -> bytes::Bytes {
    use protobuf::Message;
    change.write_to_bytes().expect("a message in memory can always be written").into()
}
