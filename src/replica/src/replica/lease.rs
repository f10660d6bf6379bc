//! What a member does for leases outside the log: keep-alives and questions about their time, which only the leader
//! can answer; and, on the leader, the revocation of what has ended, and checkpoints.
//!
//! A call is one keep-alive or question on its way: from a client of this member, or from a member that has forwarded
//! it. It waits in stages, as the goroutine in etcd does, and is looked at again whenever something may have changed:
//! etcd's members forward over HTTP, here the call travels beside Raft's messages and is sent again when no answer
//! comes, as TCP would.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::api::{Error, Header, LeaseCheckpoint, LeaseId, Request, Response, ResponseBody};
use crate::lease::{Renewal, CHECKPOINT_BATCH};
use crate::time::{Monotonic, Span};
use crate::{Bug, LeaseAnswer, LeaseAsk, LeaseMessage, MemberId, PeerMessage, RequestId, Task};

use super::propose::Internal;
use super::read::Read;
use super::Replica;

/// Calls that may be under way.
const CALLS_MAX: usize = 4096;
/// Time between tries to forward a call.
const FORWARD_PAUSE: Span = Span::millis(50);

/// Everything about leases that is not the lessor's.
#[derive(Clone, Debug, Default)]
pub(super) struct Leasing {
    calls: BTreeMap<u64, Call>,
    /// Revocations under way, by look.
    looks: BTreeMap<u64, Look>,
    /// Checks of leadership that have ended: the linearizable read did, or failed.
    checked: Vec<(LeadershipCheck, bool)>,
    /// A checkpoint is on its way.
    checkpointing: bool,
    /// Leases of which one is proposed and not applied yet: it knows nothing of keep-alives since.
    outdated: BTreeSet<LeaseId>,
    /// The next look for what has ended is scheduled.
    look_scheduled: bool,
    /// The last number of a call or a look.
    last: u64,
    /// When the ticker ran last: a member whose Raft loop is stuck cannot be sure that it leads.
    pub(super) latest_tick: Monotonic,
    /// When the member started: etcd's looks are so many intervals from there.
    booted: Monotonic,
}

/// One keep-alive or question.
#[derive(Clone, Debug)]
struct Call {
    asker: Asker,
    ask: LeaseAsk,
    stage: Stage,
    /// When a client's call is not forwarded again.
    give_up: Monotonic,
}

#[derive(Clone, Copy, Debug)]
enum Asker {
    /// With the header of the answer to a keep-alive, which is made before anything is done: the revision must not be
    /// above that of a revocation that came first.
    Client {
        id: RequestId,
        header: Header,
    },
    Member {
        member: MemberId,
        call: u64,
    },
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A linearizable read, to make sure that this member leads.
    Leadership,
    /// What was committed when it came.
    Applied { index: u64, until: Monotonic },
    /// The revocation of a lease that has ended, or the end of this primary.
    Ended,
    /// The entry that clears the lease's checkpoint.
    Cleared,
    /// Nothing: the lease is there, and is given its time with the next run.
    Renewing { ttl: i64 },
    /// A leader.
    Leader { until: Monotonic },
    /// Its answer.
    Answer { of: MemberId, until: Monotonic },
}

/// One look for leases that have ended: what it found, and is revoking.
#[derive(Clone, Debug, Default)]
struct Look {
    ended: VecDeque<LeaseId>,
    pending: usize,
}

/// Whoever must be sure that this member leads.
#[derive(Clone, Copy, Debug)]
pub(super) enum LeadershipCheck {
    Call(u64),
    Look(u64),
    Checkpoint,
    /// Nobody's leadership: the checker of hashes must have all that the others had.
    Corruption,
}

impl Leasing {
    pub(super) fn new(now: Monotonic) -> Self {
        Self { latest_tick: now, booted: now, ..Self::default() }
    }

    /// What influences the future of a member, but for the moments in it.
    pub(super) fn say(&self) -> impl std::fmt::Debug + '_ {
        (&self.calls, &self.looks, &self.checked, self.checkpointing, &self.outdated, self.look_scheduled)
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

impl Replica {
    // ---- Calls.

    /// A client keeps a lease alive, or asks how long it has.
    pub(super) fn lease_call(&mut self, now: Monotonic, id: RequestId, ask: LeaseAsk) {
        if self.leasing.calls.len() >= CALLS_MAX {
            return self.reply(id, Err(Error::TooManyRequests));
        }
        let asker = Asker::Client { id, header: self.header() };
        let number = self.leasing.number();
        let stage = match (self.leads(), ask) {
            (true, LeaseAsk::KeepAlive { .. }) if !self.is_active(now) => {
                self.read(now, Read::Leadership(LeadershipCheck::Call(number)));
                Stage::Leadership
            }
            (true, _) => self.wait_applied(now),
            (false, _) => Stage::Leader { until: now },
        };
        let give_up = now + self.config.request_timeout;
        self.leasing.calls.insert(number, Call { asker, ask, stage, give_up });
        self.advance(now, number);
    }

    /// Another member forwards a call, or answers one.
    pub(super) fn receive_lease(&mut self, now: Monotonic, from: MemberId, message: LeaseMessage) {
        match message {
            LeaseMessage::Ask { call, ask } => {
                if self.leasing.calls.len() >= CALLS_MAX {
                    return;
                }
                let number = self.leasing.number();
                let stage = self.wait_applied(now);
                let asker = Asker::Member { member: from, call };
                self.leasing.calls.insert(number, Call { asker, ask, stage, give_up: now });
                self.advance(now, number);
            }
            LeaseMessage::Answer { call: number, result } => {
                let Some(call) = self.leasing.calls.get_mut(&number) else { return };
                if !matches!(call.stage, Stage::Answer { of, .. } if of == from) {
                    return;
                }
                match result {
                    Ok(_) | Err(Error::LeaseNotFound) => self.finish_call(number, result),
                    Err(_) => {
                        call.stage = Stage::Leader { until: now + FORWARD_PAUSE };
                        self.advance(now, number);
                    }
                }
            }
        }
    }

    /// The connection to a member broke: its answers will not come.
    pub(super) fn lease_unreachable(&mut self, now: Monotonic, member: MemberId) {
        for call in self.leasing.calls.values_mut() {
            if matches!(call.stage, Stage::Answer { of, .. } if of == member) {
                call.stage = Stage::Leader { until: now + FORWARD_PAUSE };
            }
        }
        self.wake_lease_calls();
    }

    /// Something may have changed that calls wait for.
    pub(super) fn wake_lease_calls(&mut self) {
        if !self.leasing.calls.is_empty() {
            self.out.wake_now(Task::LeaseCalls);
        }
    }

    pub(super) fn lease_calls(&mut self, now: Monotonic) {
        for (check, read) in std::mem::take(&mut self.leasing.checked) {
            match check {
                LeadershipCheck::Corruption => self.corruption_read(read),
                check => self.continue_checked(now, check, read && self.leads()),
            }
        }
        let numbers: Vec<u64> = self.leasing.calls.keys().copied().collect();
        for number in numbers {
            self.advance(now, number);
        }
    }

    /// Takes a call as far as it goes now.
    fn advance(&mut self, now: Monotonic, number: u64) {
        while let Some(call) = self.leasing.calls.get(&number).cloned() {
            let next = match call.stage {
                Stage::Leadership | Stage::Cleared => return,
                Stage::Applied { index, .. } if self.applied >= index => match self.look_up(now, number, call.ask) {
                    Ok(Some(stage)) => stage,
                    Ok(None) => return,
                    Err(Error::NotPrimary) if self.is_client(number) => Stage::Leader { until: now + FORWARD_PAUSE },
                    Err(error) => return self.finish_call(number, Err(error)),
                },
                Stage::Applied { until, .. } if until <= now => {
                    return self.finish_call(number, Err(Error::TimeoutWaitAppliedIndex));
                }
                Stage::Applied { until, .. } => return self.out.wake(Task::LeaseCalls, until.since(now)),
                Stage::Ended => match self.lessor.may_renew(call.ask.id(), now) {
                    Err(Error::NotPrimary) if self.is_client(number) => Stage::Leader { until: now },
                    Err(error) => return self.finish_call(number, Err(error)),
                    Ok(_) => return,
                },
                // etcd does not look again whether it still leads, the lease still lives and its checkpoint is gone.
                Stage::Renewing { .. } if !self.renewable(now, call.ask.id()) => {
                    match self.lessor.may_renew(call.ask.id(), now) {
                        Ok(Renewal::Ended) => Stage::Ended,
                        _ if self.is_client(number) => Stage::Leader { until: now + FORWARD_PAUSE },
                        _ => return self.finish_call(number, Err(Error::NotPrimary)),
                    }
                }
                Stage::Renewing { ttl } => {
                    let result = self.lessor.renew(call.ask.id(), now);
                    let result = match self.config.bugs.has(Bug::RenewOkAfterRevoke) {
                        true => Ok(ttl),
                        false => result,
                    };
                    return self.finish_call(number, result.map(|ttl| LeaseAnswer::KeptAlive { ttl }));
                }
                Stage::Leader { .. } | Stage::Answer { .. } if call.give_up <= now => {
                    return self.finish_call(number, Err(Error::Timeout));
                }
                Stage::Leader { until } | Stage::Answer { until, .. } if until > now => {
                    let until = until.min(call.give_up);
                    return self.out.wake(Task::LeaseCalls, until.since(now));
                }
                Stage::Answer { .. } => Stage::Leader { until: now },
                Stage::Leader { .. } => match self.leader {
                    MemberId::NONE => {
                        let election = self.config.heartbeat_interval * u64::from(self.config.election_ticks);
                        Stage::Leader { until: now + election }
                    }
                    leader if leader == self.config.member => self.wait_applied(now),
                    leader => {
                        self.send_lease(leader, LeaseMessage::Ask { call: number, ask: call.ask });
                        Stage::Answer { of: leader, until: now + self.config.lease_apply_timeout }
                    }
                },
            };
            self.leasing.calls.get_mut(&number).expect("it was there a moment ago").stage = next;
            if let Stage::Renewing { .. } = next {
                // A stroke of its own: the lease may be revoked in between.
                self.out.wake_now(Task::LeaseCalls);
                return;
            }
        }
    }

    /// What is committed now must be applied first: a lease granted before must be found.
    fn wait_applied(&self, now: Monotonic) -> Stage {
        Stage::Applied { index: self.raft.raft.raft_log.committed, until: now + self.config.lease_apply_timeout }
    }

    /// Whether the lease, if it is there, would be kept alive for its whole time.
    fn renewable(&self, now: Monotonic, id: LeaseId) -> bool {
        match self.lessor.may_renew(id, now) {
            Ok(Renewal::Possible { checkpointed: false }) | Err(Error::LeaseNotFound) => true,
            _ => self.config.bugs.has(Bug::KeepAliveIgnoresCheckpoint),
        }
    }

    fn is_client(&self, number: u64) -> bool {
        matches!(self.leasing.calls[&number].asker, Asker::Client { .. })
    }

    /// Everything is applied: what is to be said, or waited for. `None` when it is said.
    fn look_up(&mut self, now: Monotonic, number: u64, ask: LeaseAsk) -> Result<Option<Stage>, Error> {
        match ask {
            LeaseAsk::KeepAlive { id } => {
                let ttl = self.lessor.lookup(id).map_or(0, |lease| lease.ttl);
                match self.lessor.may_renew(id, now)? {
                    Renewal::Ended => Ok(Some(Stage::Ended)),
                    Renewal::Possible { checkpointed } if !checkpointed && !self.leasing.outdated.contains(&id) => {
                        Ok(Some(Stage::Renewing { ttl }))
                    }
                    Renewal::Possible { .. } => {
                        let clear = [LeaseCheckpoint { id, remaining_ttl: 0 }];
                        match self.propose_checkpoints(now, &clear, Internal::Cleared { call: number }) {
                            Ok(()) => Ok(Some(Stage::Cleared)),
                            Err(_) => Ok(Some(Stage::Renewing { ttl })),
                        }
                    }
                }
            }
            LeaseAsk::TimeToLive { id, keys } => {
                let lease = self.lessor.lookup(id).ok_or(Error::LeaseNotFound)?;
                // Only the primary knows. A client is told to try again.
                let left = lease.remaining(now).ok_or(match self.is_client(number) {
                    true => Error::LeaderChanged,
                    false => Error::NotPrimary,
                })?;
                let keys = if keys { lease.keys.iter().cloned().collect() } else { Vec::new() };
                let answer = LeaseAnswer::TimeToLive { ttl: left / 1_000_000_000, granted_ttl: lease.ttl, keys };
                self.finish_call(number, Ok(answer));
                Ok(None)
            }
        }
    }

    fn finish_call(&mut self, number: u64, result: Result<LeaseAnswer, Error>) {
        let Some(call) = self.leasing.calls.remove(&number) else { return };
        let (id, header) = match call.asker {
            Asker::Member { member, call } => return self.send_lease(member, LeaseMessage::Answer { call, result }),
            Asker::Client { id, header } => (id, header),
        };
        let lease = call.ask.id();
        // A lease that is not there is an answer, too.
        let body = match (call.ask, result) {
            (_, Ok(LeaseAnswer::KeptAlive { ttl })) => ResponseBody::LeaseKeepAlive { id: lease, ttl },
            (_, Ok(LeaseAnswer::TimeToLive { ttl, granted_ttl, keys })) => {
                ResponseBody::LeaseTimeToLive { id: lease, ttl, granted_ttl, keys }
            }
            (LeaseAsk::KeepAlive { .. }, Err(Error::LeaseNotFound)) => {
                ResponseBody::LeaseKeepAlive { id: lease, ttl: 0 }
            }
            (LeaseAsk::TimeToLive { .. }, Err(Error::LeaseNotFound)) => {
                ResponseBody::LeaseTimeToLive { id: lease, ttl: -1, granted_ttl: 0, keys: Vec::new() }
            }
            (_, Err(error)) => return self.reply(id, Err(error)),
        };
        match body {
            ResponseBody::LeaseKeepAlive { .. } => self.reply(id, Ok(Response { header, body })),
            body => self.reply_body(id, body),
        }
    }

    fn send_lease(&mut self, to: MemberId, message: LeaseMessage) {
        let from = self.config.member;
        self.send_peer(PeerMessage::of_lease(from, to, message));
    }

    /// `LeaseLeases`: those of this member, whoever leads.
    pub(super) fn list_leases(&mut self, id: RequestId) {
        let expiry = |expiry: Option<Monotonic>| expiry.unwrap_or(Monotonic(u64::MAX));
        let all = self.lessor.leases().iter().map(|(id, lease)| (expiry(lease.expiry), *id));
        let mut leases: Vec<(Monotonic, LeaseId)> = all.collect();
        leases.sort_unstable();
        self.reply_body(id, ResponseBody::Leases { leases: leases.into_iter().map(|(_, id)| id).collect() });
    }

    // ---- Leadership.

    /// Whether this member takes itself for the leader.
    pub(super) fn leads(&self) -> bool {
        self.leader == self.config.member
    }

    /// A member whose ticks have come lately is not stuck, and knows whether it leads.
    fn is_active(&self, now: Monotonic) -> bool {
        self.leasing.latest_tick + self.config.heartbeat_interval * 3 > now
    }

    /// The linearizable read has ended, well or not. What follows is another goroutine's, with a run of its own: this
    /// may be the Raft loop's, in which nothing can be proposed.
    pub(super) fn leadership_checked(&mut self, check: LeadershipCheck, read: Result<(), Error>) {
        self.leasing.checked.push((check, read.is_ok()));
        self.out.wake_now(Task::LeaseCalls);
    }

    fn continue_checked(&mut self, now: Monotonic, check: LeadershipCheck, leads: bool) {
        match check {
            LeadershipCheck::Call(number) if leads => {
                let stage = self.wait_applied(now);
                if let Some(call) = self.leasing.calls.get_mut(&number) {
                    call.stage = stage;
                    self.advance(now, number);
                }
            }
            LeadershipCheck::Call(number) => self.finish_call(number, Err(Error::NotPrimary)),
            LeadershipCheck::Look(number) if leads => self.revoke_more(now, number),
            LeadershipCheck::Look(number) => {
                self.leasing.looks.remove(&number);
            }
            LeadershipCheck::Corruption => unreachable!("it was told a moment ago"),
            LeadershipCheck::Checkpoint => {
                self.leasing.checkpointing = false;
                if leads {
                    self.out.wake_now(Task::LeaseCheckpoint);
                }
            }
        }
    }

    /// An entry without content is applied, with which a leader begins its term: everything before it is, too.
    pub(super) fn promote_lessor(&mut self) {
        if self.leads() {
            let election = self.config.heartbeat_interval * u64::from(self.config.election_ticks);
            self.lessor.promote(self.now, election);
            self.schedule_look();
        }
    }

    /// Raft says who leads now.
    pub(super) fn lessor_follows_role(&mut self) {
        if !self.leads() && self.lessor.is_primary() {
            self.lessor.demote();
            self.leasing.outdated.clear();
        }
        self.wake_lease_calls();
    }

    // ---- Revocation.

    /// The next look, at etcd's intervals since the start, if there will be anything to see.
    pub(super) fn schedule_look(&mut self) {
        if !self.leasing.look_scheduled && self.lessor.is_primary() && self.lessor.has_deadlines() {
            self.leasing.look_scheduled = true;
            let interval = self.config.lease_expiry_interval.as_nanos();
            let past = self.now.since(self.leasing.booted).as_nanos() % interval;
            self.out.wake(Task::LeaseExpiry, Span(interval - past));
        }
    }

    /// `revokeExpiredLeases`.
    pub(super) fn lease_expiry(&mut self, now: Monotonic) {
        self.leasing.look_scheduled = false;
        // One goroutine does both; while a checkpoint is on its way it waits.
        if self.lessor.is_primary() && !self.leasing.checkpointing {
            let limit = usize::try_from(self.config.lease_revoke_rate / 2).unwrap_or(usize::MAX);
            let ended: VecDeque<LeaseId> = self.lessor.find_expired(now, limit).into();
            if !ended.is_empty() {
                let number = self.leasing.number();
                self.leasing.looks.insert(number, Look { ended, pending: 0 });
                // Who was stuck may have lost its leadership, and others may have kept the leases alive (etcd#15247).
                if self.is_active(now) || self.config.bugs.has(Bug::OldLeaderRevokes) {
                    self.revoke_more(now, number);
                } else {
                    self.read(now, Read::Leadership(LeadershipCheck::Look(number)));
                }
            }
            if self.config.lease_checkpoint {
                self.out.wake_now(Task::LeaseCheckpoint);
            }
        }
        self.schedule_look();
    }

    /// Propose as many revocations as may be on their way.
    fn revoke_more(&mut self, now: Monotonic, number: u64) {
        while let Some(look) = self.leasing.looks.get_mut(&number) {
            if look.pending >= self.config.lease_pending_revokes {
                return;
            }
            let Some(id) = look.ended.pop_front() else {
                if look.pending == 0 {
                    self.leasing.looks.remove(&number);
                }
                return;
            };
            if !self.may_revoke(now, id) {
                continue;
            }
            // One that cannot be proposed is found again after the retry interval.
            if self.propose_internal(now, &Request::LeaseRevoke { id }, Internal::Revoked { look: number }).is_ok() {
                let look = self.leasing.looks.get_mut(&number).expect("it was there a moment ago");
                look.pending += 1;
            }
        }
    }

    /// Whether the lease has ended, here and now. etcd does not look again when the turn of a lease has come, and a
    /// revocation that finds no leader waits for the next one, who may have kept the lease alive.
    fn may_revoke(&self, now: Monotonic, id: LeaseId) -> bool {
        let leads = self.raft.raft.leader_id == self.config.member.0;
        let ended = || self.lessor.lookup(id).and_then(|lease| lease.remaining(now)).is_some_and(|left| left <= 0);
        let blind = [Bug::RevocationWaitsForLeader, Bug::OldLeaderRevokes].map(|bug| self.config.bugs.has(bug));
        (leads && ended()) || blind.contains(&true)
    }

    // ---- Checkpoints.

    /// `checkpointScheduledLeases`: one entry at a time.
    pub(super) fn lease_checkpoint(&mut self, now: Monotonic) {
        if !self.lessor.is_primary() || self.leasing.checkpointing {
            return;
        }
        if !self.is_active(now) {
            self.leasing.checkpointing = true;
            return self.read(now, Read::Leadership(LeadershipCheck::Checkpoint));
        }
        let mut due = self.lessor.due_checkpoints(now);
        let more = due.len() == CHECKPOINT_BATCH;
        // etcd makes them also of leases that are being kept alive, and puts the time they had before in their way.
        let blind = self.config.bugs.has(Bug::KeepAliveIgnoresCheckpoint);
        due.retain(|checkpoint| blind || !self.is_being_cleared(checkpoint.id));
        if !due.is_empty() && self.propose_checkpoints(now, &due, Internal::Checkpointed { more }).is_ok() {
            self.leasing.checkpointing = true;
            self.leasing.outdated.extend(due.iter().map(|checkpoint| checkpoint.id).filter(|_| !blind));
        }
    }

    /// Whether a keep-alive waits for the end of the lease's checkpoint.
    fn is_being_cleared(&self, id: LeaseId) -> bool {
        self.leasing.calls.values().any(|call| call.stage == Stage::Cleared && call.ask.id() == id)
    }

    /// A checkpoint is applied.
    pub(super) fn checkpoint_applied(&mut self, checkpoint: LeaseCheckpoint) {
        if checkpoint.remaining_ttl > 0 {
            self.leasing.outdated.remove(&checkpoint.id);
        }
    }

    /// An entry that this member proposed for its leases is applied, or given up.
    pub(super) fn lease_entry_done(&mut self, now: Monotonic, internal: Internal) {
        match internal {
            Internal::Revoked { look: number } => {
                if let Some(look) = self.leasing.looks.get_mut(&number) {
                    look.pending -= 1;
                    self.revoke_more(now, number);
                }
            }
            Internal::Checkpointed { more } => {
                self.leasing.checkpointing = false;
                if more {
                    self.out.wake_now(Task::LeaseCheckpoint);
                }
            }
            Internal::Cleared { call: number } => {
                if let Some(call) = self.leasing.calls.get_mut(&number) {
                    let ttl = self.lessor.lookup(call.ask.id()).map_or(0, |lease| lease.ttl);
                    call.stage = Stage::Renewing { ttl };
                    self.out.wake_now(Task::LeaseCalls);
                }
            }
            Internal::Full { .. } | Internal::AppliedFull { .. } | Internal::Corrupt | Internal::Compacted { .. } => {
                unreachable!("it is not for leases")
            }
        }
    }
}
