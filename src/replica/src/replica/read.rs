//! Linearizable reads: `linearizableReadLoop`. One round at a time asks the leader for a read index on behalf of every
//! read that waits; the reads are served when it is applied here.

use std::collections::VecDeque;

use crate::api::{Credential, DowngradeRequest, Error, RangeRequest, ResponseBody, Revision, TxnRequest};
use crate::auth::{AuthInfo, AuthStore};
use crate::backend::Backend;
use crate::raftpb::{Entry, Message, MessageType};
use crate::time::Monotonic;
use crate::{Bug, Event, Release, RequestId, Task};

use super::lease::LeadershipCheck;
use super::Replica;

/// Who asks: found out after the wait, and so kept as it came.
pub(super) type Caller = (RequestId, Credential);

/// A read that waits.
#[derive(Clone, Debug)]
pub(super) enum Read {
    Range(Caller, RangeRequest),
    Txn(Caller, TxnRequest),
    Members(Caller),
    Authenticate {
        id: RequestId,
        name: String,
        password: String,
    },
    Downgrade(RequestId, DowngradeRequest),
    /// Nothing is read: somebody must be sure that this member leads.
    Leadership(LeadershipCheck),
}

/// Reads that wait for the next round, the round under way, and rounds that wait for the apply loop.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    next: Vec<Read>,
    round: Option<Round>,
    confirmed: VecDeque<(u64, Vec<Read>)>,
    /// Reads that end in a proposal, which come to their turn while Raft's log must not grow: between a Ready and its
    /// advance.
    proposing: Vec<Read>,
    /// Requests for a read index that came before this leader had committed in its term.
    postponed: Vec<Message>,
}

#[derive(Clone, Debug)]
struct Round {
    /// The attempts so far; only an answer to one of them counts.
    contexts: Vec<u64>,
    reads: Vec<Read>,
    deadline: Monotonic,
    retry: Monotonic,
}

/// Requests for a read index that a new leader may hold.
const POSTPONED_MAX: usize = 4096;

impl Replica {
    pub(super) fn read(&mut self, now: Monotonic, read: Read) {
        self.reads.next.push(read);
        if self.reads.round.is_none() {
            self.start_round(now);
        }
    }

    fn start_round(&mut self, now: Monotonic) {
        let reads = std::mem::take(&mut self.reads.next);
        if reads.is_empty() {
            return;
        }
        let deadline = now + self.config.request_timeout;
        self.reads.round = Some(Round { contexts: Vec::new(), reads, deadline, retry: now });
        self.ask(now);
    }

    /// Ask for a read index under a new id: an answer to an earlier round must not count for this one (etcd#20418).
    fn ask(&mut self, now: Monotonic) {
        let context = self.ids.next();
        let Some(round) = &mut self.reads.round else { return };
        round.contexts.push(context);
        round.retry = now + self.config.read_index_retry;
        self.out.wake(Task::ReadIndex, self.config.read_index_retry);
        self.event(Event::ReadIndexRequested { context });
        let mut entry = Entry::default();
        entry.data = context.to_be_bytes().to_vec().into();
        let mut message = Message::default();
        message.msg_type = MessageType::MsgReadIndex;
        message.from = self.config.member.0;
        message.entries = vec![entry].into();
        self.step_read_index(message);
    }

    /// A request for a read index, ours or another member's. A leader that has not committed in its term holds it back.
    pub(super) fn step_read_index(&mut self, message: Message) {
        let raft = &mut self.raft.raft;
        let leads = raft.state == raft::StateRole::Leader;
        if leads && !raft.commit_to_current_term() {
            if self.config.bugs.has(Bug::ReadindexBeforeTermCommit) {
                // The round of heartbeats is kept; only the commit index may be older than what the last leader
                // answered.
                let commit = raft.raft_log.committed;
                let own = raft.id;
                raft.read_only.add_request(commit, message, own);
                raft.ping();
            } else if self.reads.postponed.len() < POSTPONED_MAX {
                self.reads.postponed.push(message);
            }
            return;
        }
        // raft-rs refuses nothing here but a message without a leader to send it to.
        let local = message.from == self.config.member.0;
        let refused = if local { raft.step(message).is_err() } else { self.raft.step(message).is_err() };
        let _ = refused;
    }

    /// The first commit in this term, or the loss of leadership, sets them free.
    pub(super) fn step_waiting_read_indexes(&mut self) {
        if self.reads.postponed.is_empty() {
            return;
        }
        let raft = &self.raft.raft;
        if raft.state != raft::StateRole::Leader {
            self.reads.postponed.clear();
        } else if raft.commit_to_current_term() {
            for message in std::mem::take(&mut self.reads.postponed) {
                self.step_read_index(message);
            }
        }
    }

    pub(super) fn read_index_confirmed(&mut self, context: &[u8], index: u64) {
        let Ok(context) = context.try_into().map(u64::from_be_bytes) else { return };
        let Some(round) = self.reads.round.take_if(|round| round.contexts.contains(&context)) else { return };
        self.event(Event::ReadIndexConfirmed { context, index });
        let wait_until = match self.config.bugs.has(Bug::LinearizableReadSkipsApplywait) {
            true => 0,
            false => index,
        };
        self.reads.confirmed.push_back((wait_until, round.reads));
        self.serve_confirmed();
        self.out.wake_now(Task::ReadIndex);
    }

    /// Answer the reads whose index is applied.
    pub(super) fn serve_confirmed(&mut self) {
        if self.backend.is_defragmenting() {
            return;
        }
        while self.reads.confirmed.front().is_some_and(|(index, _)| *index <= self.applied) {
            let Some((_, reads)) = self.reads.confirmed.pop_front() else { return };
            for read in reads {
                match read {
                    Read::Range((id, credential), range) => self.serve_range(id, &credential, &range),
                    Read::Txn((id, credential), txn) => self.serve_txn(id, &credential, &txn),
                    Read::Members((id, credential)) => match self.must_be_somebody(&credential) {
                        Ok(()) => {
                            let body = self.member_list();
                            self.reply_body(id, body);
                        }
                        Err(error) => self.reply(id, Err(error)),
                    },
                    read @ (Read::Authenticate { .. } | Read::Downgrade(..)) => {
                        self.reads.proposing.push(read);
                        self.out.wake_now(Task::ReadIndex);
                    }
                    Read::Leadership(check) => self.leadership_checked(check, Ok(())),
                }
            }
        }
    }

    /// The loop's timer: give up, ask again, or begin the next round.
    pub(super) fn read_index_loop(&mut self, now: Monotonic) {
        for read in std::mem::take(&mut self.reads.proposing) {
            match read {
                Read::Authenticate { id, name, password } => self.authenticate(id, name, password),
                Read::Downgrade(id, request) => self.downgrade(id, &request),
                other => unreachable!("{other:?} is answered without a proposal"),
            }
        }
        match &self.reads.round {
            None => self.start_round(now),
            Some(round) if round.deadline <= now => self.fail_round(Error::Timeout, now),
            Some(round) if round.retry <= now => self.ask(now),
            Some(round) => {
                let rest = round.retry.since(now);
                self.out.wake(Task::ReadIndex, rest);
            }
        }
    }

    fn fail_round(&mut self, error: Error, now: Monotonic) {
        let Some(round) = self.reads.round.take() else { return };
        self.fail_reads(round.reads, error);
        self.start_round(now);
    }

    /// A new leader: the round under way fails, its index might never come.
    pub(super) fn leader_changed(&mut self) {
        if let Some(round) = self.reads.round.take() {
            self.fail_reads(round.reads, Error::LeaderChanged);
            self.out.wake_now(Task::ReadIndex);
        }
    }

    fn fail_reads(&mut self, reads: Vec<Read>, error: Error) {
        for read in reads {
            match read {
                Read::Range((id, _), _)
                | Read::Txn((id, _), _)
                | Read::Members((id, _))
                | Read::Authenticate { id, .. }
                | Read::Downgrade(id, _) => self.reply(id, Err(error)),
                Read::Leadership(check) => self.leadership_checked(check, Err(error)),
            }
        }
    }

    /// `doSerialize`: who asks is found out after the wait, and must still be right after the read.
    pub(super) fn serve_range(&mut self, id: RequestId, credential: &Credential, range: &RangeRequest) {
        let check = |auth: &AuthStore, backend: &Backend, who: &AuthInfo| auth.may_range(backend, who, range);
        let found = self.permitted(credential, check).and_then(|()| self.store.range(&self.backend, range));
        match found {
            Ok(found) => self.reply_body(id, found.into()),
            Err(error) => self.reply(id, Err(error)),
        }
    }

    pub(super) fn serve_hash_kv(&mut self, id: RequestId, revision: Revision) {
        // 3.5 does so since 3.5.5, and `conform` knows an older one.
        let knows_compactions = self.config.release >= Release::V3_6;
        let found = match knows_compactions {
            true => self.store.hash_by_rev(&self.backend, revision).map(|found| (found.hash, found.compact_revision)),
            false => self.store.hash_kv(&self.backend, revision),
        };
        match found {
            Ok((hash, compact_revision)) => self.reply_body(id, ResponseBody::HashKv { hash, compact_revision }),
            Err(error) => self.reply(id, Err(error)),
        }
    }

    pub(super) fn serve_txn(&mut self, id: RequestId, credential: &Credential, txn: &TxnRequest) {
        // A transaction that only reads attaches nothing to a lease.
        let check =
            |auth: &AuthStore, backend: &Backend, who: &AuthInfo| auth.may_txn(backend, &|_| Vec::new(), who, txn);
        let found = self.permitted(credential, check).and_then(|()| self.store.read_txn(&self.backend, txn));
        match found {
            Ok(body) => self.reply_body(id, body),
            Err(error) => self.reply(id, Err(error)),
        }
    }
}
