//! `lease-ttl`: leases that are granted, kept alive, left alone, asked about and revoked, with keys that hang on them.
//!
//! Out of 100 requests: 9 grants, 24 puts with a lease, 6 transactions that create a key with one, 4 puts without
//! (which take a key off its lease), 28 keep-alives, 4 revocations, 8 questions for the time that is left, 3 lists of
//! leases, 4 gets, 7 lists and 3 deletes. A third of the leases is left alone from the start; and now and then a client
//! dozes, and keeps none of its leases alive for its next twenty requests. One request in six is about another client's
//! lease. It knows which leases it was granted and heard nothing bad of, and no clock.

use std::collections::{BTreeSet, VecDeque};

use detcd_replica::api::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Key, KeyRange, LeaseGrantRequest, LeaseId, PutRequest,
    RangeEnd, RangeRequest, Request, RequestOp, TxnRequest,
};

use super::{choose, get, of_client, put, Names, Seen, Workload};
use crate::scenario::{self, Chance};

pub(super) const PREFIX: &[u8] = b"lease/";

/// Leases that one client holds at most.
const HELD_MAX: usize = 6;
/// Leases of others that a client may know of.
const KNOWN_MAX: usize = 24;
/// Requests that a doze lasts for.
const DOZE: u32 = 20;
/// Longer than any lease may live.
const TOO_LONG: i64 = 9_000_000_001;
/// Each client has so many ids of its own.
const IDS: i64 = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Grant,
    PutLeased,
    Create,
    Put,
    KeepAlive,
    Revoke,
    TimeToLive,
    Leases,
    Get,
    List,
    Delete,
}

/// Shares of 100.
const SHARES: [(Op, u64); 11] = [
    (Op::List, 7),
    (Op::Grant, 9),
    (Op::PutLeased, 24),
    (Op::Create, 6),
    (Op::Put, 4),
    (Op::KeepAlive, 28),
    (Op::Revoke, 4),
    (Op::TimeToLive, 8),
    (Op::Leases, 3),
    (Op::Get, 4),
    (Op::Delete, 3),
];

/// What the generator keeps of one client.
#[derive(Clone, Copy, Debug, Default)]
struct Holder {
    granted: i64,
    /// Requests until it is awake again.
    doze: u32,
    /// Keep-alives go round.
    turn: usize,
}

/// The generator.
pub struct Leases {
    names: Names,
    keys: u64,
    ttl_max: u64,
    holders: Vec<Holder>,
    /// Never kept alive.
    left_alone: BTreeSet<LeaseId>,
    /// Asked for lately, by anyone.
    known: VecDeque<LeaseId>,
    all: KeyRange,
}

impl Leases {
    /// With the parameters of a scenario.
    pub fn new(parameters: &scenario::Workload) -> Self {
        Self {
            names: Names::values(parameters),
            keys: parameters.keys,
            ttl_max: parameters.ttl_seconds,
            holders: Vec::new(),
            left_alone: BTreeSet::new(),
            known: VecDeque::new(),
            all: KeyRange::prefix(PREFIX),
        }
    }

    fn holder(&mut self, client: u32) -> &mut Holder {
        of_client(&mut self.holders, client)
    }

    fn key(&self, client: u32, chance: &mut dyn Chance) -> Key {
        let mut key = PREFIX.to_vec();
        super::digits(chance.below("workload.key", u64::from(client), self.keys), &mut key);
        key.into()
    }

    fn grant(&mut self, client: u32, chance: &mut dyn Chance) -> Request {
        let subject = u64::from(client);
        let too_long = chance.ratio("lease.too_long", subject, 1, 100);
        let ttl = 1 + chance.below("lease.ttl", subject, self.ttl_max) as i64;
        let ttl = if too_long { TOO_LONG } else { ttl };
        // The member names it, as it does for most of etcd's clients; nobody is told the name but who asked.
        if chance.ratio("lease.unnamed", subject, 1, 4) {
            return Request::LeaseGrant(LeaseGrantRequest { id: 0, ttl });
        }
        let holder = self.holder(client);
        holder.granted += 1;
        let id = i64::from(client + 1) * IDS + holder.granted;
        if chance.ratio("lease.left_alone", subject, 1, 3) {
            self.left_alone.insert(id);
        }
        if self.known.len() == KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(id);
        Request::LeaseGrant(LeaseGrantRequest { id, ttl })
    }

    /// One of the client's leases; now and then another's.
    fn lease(&self, client: u32, seen: &Seen, chance: &mut dyn Chance) -> Option<LeaseId> {
        let subject = u64::from(client);
        let another = chance.ratio("lease.another", subject, 1, 6);
        let held = seen.leases();
        let place = chance.below("lease.place", subject, 1 << 16) as usize;
        if held.is_empty() || another {
            return (!self.known.is_empty()).then(|| self.known[place % self.known.len()]);
        }
        held.iter().nth(place % held.len()).copied()
    }

    /// The lease whose turn it is, of those that the client cares for.
    fn next_to_keep(&mut self, client: u32, seen: &Seen) -> Option<LeaseId> {
        let cared: Vec<LeaseId> = seen.leases().iter().filter(|id| !self.left_alone.contains(id)).copied().collect();
        let holder = self.holder(client);
        holder.turn = holder.turn.wrapping_add(1);
        let turn = holder.turn;
        cared.get(turn % cared.len().max(1)).copied()
    }

    fn list(&self) -> Request {
        Request::Range(RangeRequest::of(self.all.clone()))
    }

    fn put_leased(&mut self, client: u32, lease: LeaseId, chance: &mut dyn Chance) -> PutRequest {
        let key = self.key(client, chance);
        PutRequest { lease, ..put(key, self.names.value(client)) }
    }
}

impl Workload for Leases {
    fn next(&mut self, client: u32, seen: &Seen, chance: &mut dyn Chance) -> Request {
        let subject = u64::from(client);
        let op = choose(&SHARES, chance.below("workload.op", subject, 100));
        let dozes = chance.ratio("lease.doze", subject, 1, 100);
        let holder = self.holder(client);
        holder.doze = if dozes { DOZE } else { holder.doze.saturating_sub(1) };
        let awake = holder.doze == 0;
        let op = match op {
            Op::Grant if seen.leases().len() >= HELD_MAX => Op::KeepAlive,
            Op::PutLeased | Op::Create | Op::KeepAlive if seen.leases().is_empty() => Op::Grant,
            op => op,
        };
        match op {
            Op::Grant => return self.grant(client, chance),
            Op::Leases => return Request::Leases,
            Op::List => return self.list(),
            Op::Get => return Request::Range(get(self.key(client, chance))),
            Op::Put => {
                let key = self.key(client, chance);
                return Request::Put(put(key, self.names.value(client)));
            }
            Op::Delete => {
                let range = KeyRange { start: self.key(client, chance), end: RangeEnd::Single };
                return Request::DeleteRange(DeleteRangeRequest { range, prev_kv: true });
            }
            Op::KeepAlive => {
                let another = self.lease(client, seen, chance).filter(|id| !seen.leases().contains(id));
                return match another.or_else(|| self.next_to_keep(client, seen)).filter(|_| awake) {
                    Some(id) => Request::LeaseKeepAlive { id },
                    None => self.list(),
                };
            }
            Op::PutLeased | Op::Create | Op::Revoke | Op::TimeToLive => {}
        }
        let Some(lease) = self.lease(client, seen, chance) else { return self.list() };
        match op {
            Op::PutLeased => Request::Put(self.put_leased(client, lease, chance)),
            Op::Create => {
                let put = self.put_leased(client, lease, chance);
                let range = KeyRange { start: put.key.clone(), end: RangeEnd::Single };
                let compare = Compare { range, result: CompareResult::Equal, target: CompareTarget::Create(0) };
                let failure = vec![RequestOp::Range(get(put.key.clone()))];
                Request::Txn(TxnRequest { compare: vec![compare], success: vec![RequestOp::Put(put)], failure })
            }
            Op::Revoke => Request::LeaseRevoke { id: lease },
            _ => Request::LeaseTimeToLive { id: lease, keys: chance.ratio("lease.keys", subject, 1, 2) },
        }
    }

    fn after_failed_write(&self) -> Option<Request> {
        Some(self.list())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Dice;
    use detcd_replica::api::{Error, Header, Response, ResponseBody};
    use detcd_replica::MemberId;

    fn answer(body: ResponseBody) -> Response {
        Response { header: Header { member: MemberId(1), revision: 1, raft_term: 1 }, body }
    }

    /// A client whose every grant is granted.
    fn run(requests: usize) -> (Leases, Seen, Vec<Request>) {
        let mut leases = Leases::new(&scenario::Workload::default());
        let (mut seen, mut dice) = (Seen::new(false), Dice(5));
        let mut asked = Vec::new();
        for _ in 0..requests {
            let request = leases.next(1, &seen, &mut dice);
            match &request {
                Request::LeaseGrant(grant) if grant.ttl == TOO_LONG => seen.refused(&request, Error::LeaseTtlTooLarge),
                Request::LeaseGrant(grant) => {
                    let id = if grant.id == 0 { 7_000_000_000 + asked.len() as i64 } else { grant.id };
                    seen.answered(&request, &answer(ResponseBody::LeaseGrant { id, ttl: grant.ttl }));
                }
                Request::LeaseRevoke { .. } => seen.answered(&request, &answer(ResponseBody::LeaseRevoke)),
                _ => {}
            }
            asked.push(request);
        }
        (leases, seen, asked)
    }

    #[test]
    fn every_kind_of_request_is_made_and_leases_stay_few() {
        let (_, seen, asked) = run(5_000);
        let count = |is: fn(&Request) -> bool| asked.iter().filter(|request| is(request)).count();
        assert!(count(|r| matches!(r, Request::Put(put) if put.lease != 0)) > 1_000);
        assert!(count(|r| matches!(r, Request::LeaseKeepAlive { .. })) > 800);
        assert!(count(|r| matches!(r, Request::LeaseRevoke { .. })) > 100);
        assert!(count(|r| matches!(r, Request::LeaseTimeToLive { keys: true, .. })) > 100);
        assert!(count(|r| matches!(r, Request::Txn(_))) > 200);
        assert!(count(|r| matches!(r, Request::LeaseGrant(grant) if grant.ttl == TOO_LONG)) > 0);
        assert!(seen.leases().len() <= HELD_MAX);
    }

    #[test]
    fn what_is_left_alone_is_not_kept_alive_by_its_holder() {
        let (leases, _, asked) = run(5_000);
        let kept: Vec<LeaseId> = asked
            .iter()
            .filter_map(|request| match request {
                Request::LeaseKeepAlive { id } => Some(*id),
                _ => None,
            })
            .collect();
        let own = kept.iter().filter(|id| !leases.left_alone.contains(id)).count();
        assert!(own > kept.len() / 2, "{own} of {}", kept.len());
        assert!(!leases.left_alone.is_empty());
    }
}
