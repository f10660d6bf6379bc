//! Writes: from a client's request to an entry, and the answer when it is applied or given up.

use bytes::Bytes;
use prost::Message as _;

use crate::api::{
    Alarm, AlarmAction, AlarmRequest, Credential, Error, LeaseCheckpoint, Request, ResponseBody, Revision,
};
use crate::auth::AuthInfo;
use crate::raftpb::{Entry, EntryType, Message, MessageType};
use crate::time::Monotonic;
use crate::wire::message::entry::InternalRaftRequest;
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
    /// The alarm about data. Nobody waits.
    Corrupt,
    /// An automatic compaction.
    Compacted { revision: Revision },
}

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
        self.propose_data(id, entry, data);
    }

    /// Whose name goes into an entry: nobody's while the apply loop is too far behind.
    pub(super) fn proposer(&mut self, credential: &Credential) -> Result<AuthInfo, Error> {
        if self.raft.raft.raft_log.committed > self.applied + self.config.max_commit_apply_gap {
            return Err(Error::TooManyRequests);
        }
        Ok(self.who(credential)?.unwrap_or_default())
    }

    pub(super) fn propose_data(&mut self, id: RequestId, entry: u64, data: Bytes) {
        if data.len() > self.config.max_request_bytes {
            return self.reply(id, Err(Error::RequestTooLarge));
        }
        self.propose(id, entry, Proposal::Entry(data));
    }

    /// Something that this member wants by itself, and asks for again when it does not come. The id of its entry.
    pub(super) fn propose_unawaited(&mut self, mut message: InternalRaftRequest) -> u64 {
        let entry = self.ids.next();
        message.header = Some(wire::header(entry, "", 0));
        self.enqueue(entry, Proposal::Entry(message.encode_to_vec().into()));
        entry
    }

    /// A request of this member's own.
    ///
    /// # Errors
    /// `TooManyRequests`.
    pub(super) fn propose_internal(&mut self, now: Monotonic, request: &Request, of: Internal) -> Result<(), Error> {
        let entry = self.ids.next();
        let who = self.auth.root();
        let header = wire::header(entry, &who.username, who.revision);
        let data = wire::encode_as(header, request).expect("what a member proposes itself travels in entries");
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
            Internal::Corrupt => {}
            Internal::Compacted { revision } => self.compacted_alone(now, revision),
            internal => self.lease_entry_done(now, internal),
        }
    }

    // ---- The quota.

    /// Whether the backend has no room for the request.
    pub(super) fn exceeds_quota(&self, request: &Request) -> bool {
        let quota = u64::try_from(self.config.quota_backend_bytes).unwrap_or(0);
        if quota == 0 {
            return false;
        }
        let cost = quota::cost(request, self.config.bugs);
        cost > 0 && self.backend.size().total + cost >= quota
    }

    /// Raise the alarm about space; whoever found out is answered when that is done, or cannot be.
    pub(super) fn raise_no_space(&mut self, now: Monotonic, of: Internal) {
        let alarm =
            AlarmRequest { action: AlarmAction::Activate, member: self.config.member, alarm: Some(Alarm::NoSpace) };
        if self.propose_internal(now, &Request::Alarm(alarm), of).is_err() {
            self.internal_done(now, of);
        }
    }

    pub(super) fn propose(&mut self, id: RequestId, entry: u64, proposal: Proposal) {
        self.wait_for(id, entry);
        self.enqueue(entry, proposal);
    }

    /// The client's answer comes when the entry is applied, or given up.
    pub(super) fn wait_for(&mut self, id: RequestId, entry: u64) {
        self.proposed.insert(entry, id);
        self.wait(self.now, entry);
    }

    /// The entry must be applied within the server's limit.
    fn wait(&mut self, now: Monotonic, entry: u64) {
        let deadline = now + self.config.request_timeout;
        if self.deadlines.is_empty() {
            self.out.wake(Task::RequestTimeout, self.config.request_timeout);
        }
        self.deadlines.push_back((deadline, entry));
    }

    pub(super) fn enqueue(&mut self, entry: u64, proposal: Proposal) {
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
        if self.must_publish() {
            self.out.wake_now(Task::Publish);
        }
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
                self.authenticated(entry);
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
            return self.reply(id, Err(Error::BadLeaderTransferee));
        }
        self.raft.transfer_leader(target.0);
        self.reply_body(id, ResponseBody::MoveLeader);
    }
}
