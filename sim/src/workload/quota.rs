//! `quota`: clients that fill a backend which has a small quota, and the administrator who makes room again.
//!
//! Out of 100 requests of a client: 45 puts, 12 transactions with a put inside, 8 with a put two levels down, 5 grants
//! of leases, 10 deletes (which are never refused for space), 10 gets and 10 lists. Nobody stops when there is no
//! space. The administrator goes by etcd's guide: look for alarms; when there are any, compact at the newest revision,
//! write each member's database anew, and take back the alarms one by one. Now and then it takes one back too early, or
//! one that nobody has raised.

use detcd_replica::api::{
    Alarm, AlarmAction, AlarmMember, AlarmRequest, CompactRequest, DeleteRangeRequest, Key, KeyRange,
    LeaseGrantRequest, RangeEnd, RangeRequest, Request, RequestOp, ResponseBody, TxnRequest,
};
use detcd_replica::MemberId;

use super::{choose, get, put, Ended, Names, Seen, Workload};
use crate::scenario::{self, Chance};

pub(super) const PREFIX: &[u8] = b"space/";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    List,
    Get,
    Put,
    Txn,
    Nested,
    Grant,
    Delete,
}

/// Shares of 100.
const SHARES: [(Op, u64); 7] =
    [(Op::List, 10), (Op::Get, 10), (Op::Put, 45), (Op::Txn, 12), (Op::Nested, 8), (Op::Grant, 5), (Op::Delete, 10)];

/// The generator of the clients.
pub struct Quota {
    names: Names,
    keys: u64,
    granted: i64,
    ttl: i64,
    all: KeyRange,
}

impl Quota {
    /// With the parameters of a scenario.
    pub fn new(parameters: &scenario::Workload) -> Self {
        let names = Names::values(parameters);
        let ttl = parameters.ttl_seconds as i64;
        Self { names, keys: parameters.keys, granted: 0, ttl, all: KeyRange::prefix(PREFIX) }
    }

    fn key(&self, client: u32, chance: &mut dyn Chance) -> Key {
        let mut key = PREFIX.to_vec();
        super::digits(chance.below("workload.key", u64::from(client), self.keys), &mut key);
        key.into()
    }

    fn list(&self) -> Request {
        Request::Range(RangeRequest { keys_only: true, ..RangeRequest::of(self.all.clone()) })
    }
}

/// A transaction without compares.
fn always(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { compare: Vec::new(), success, failure: Vec::new() }
}

impl Workload for Quota {
    fn next(&mut self, client: u32, _: &Seen, chance: &mut dyn Chance) -> Request {
        let op = choose(&SHARES, chance.below("workload.op", u64::from(client), 100));
        let key = self.key(client, chance);
        match op {
            Op::List => self.list(),
            Op::Get => Request::Range(get(key)),
            Op::Put => Request::Put(put(key, self.names.value(client))),
            Op::Txn => {
                let put = RequestOp::Put(put(key.clone(), self.names.value(client)));
                Request::Txn(always(vec![RequestOp::Range(get(key)), put]))
            }
            Op::Nested => {
                let put = RequestOp::Put(put(key, self.names.value(client)));
                let inner = RequestOp::Txn(Box::new(always(vec![put])));
                Request::Txn(always(vec![RequestOp::Txn(Box::new(always(vec![inner])))]))
            }
            Op::Grant => {
                self.granted += 1;
                Request::LeaseGrant(LeaseGrantRequest { id: self.granted, ttl: self.ttl })
            }
            Op::Delete => {
                let range = KeyRange { start: key, end: RangeEnd::Single };
                Request::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
            }
        }
    }

    fn after_failed_write(&self) -> Option<Request> {
        // With values, so that the judge learns whose they are.
        Some(Request::Range(RangeRequest::of(self.all.clone())))
    }
}

/// What the administrator does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// See whether there are alarms.
    Look,
    /// Learn the newest revision.
    Read,
    Compact,
    /// So many databases are still to be written anew.
    Defragment(u64),
    /// Take back the alarms that were seen.
    Disarm,
}

/// The generator of the administrator.
pub struct Administrator {
    members: u64,
    step: Step,
    raised: Vec<AlarmMember>,
}

impl Administrator {
    /// Of a cluster of so many members.
    pub fn new(members: u64) -> Self {
        Self { members, step: Step::Look, raised: Vec::new() }
    }

    fn disarm(member: MemberId) -> Request {
        Request::Alarm(AlarmRequest { action: AlarmAction::Deactivate, member, alarm: Some(Alarm::NoSpace) })
    }
}

impl Workload for Administrator {
    fn next(&mut self, client: u32, seen: &Seen, chance: &mut dyn Chance) -> Request {
        let subject = u64::from(client);
        let hasty = chance.ratio("quota.hasty", subject, 1, 12);
        let any = MemberId(1 + chance.below("quota.member", subject, self.members));
        if hasty {
            return Self::disarm(any);
        }
        match self.step {
            Step::Look => {
                Request::Alarm(AlarmRequest { action: AlarmAction::Get, member: MemberId::NONE, alarm: None })
            }
            Step::Read => {
                self.step = Step::Compact;
                Request::Range(RangeRequest { count_only: true, ..RangeRequest::of(KeyRange::prefix(PREFIX)) })
            }
            Step::Compact => {
                self.step = Step::Defragment(self.members);
                Request::Compact(CompactRequest { revision: seen.revision.max(1), physical: true })
            }
            Step::Defragment(left) => {
                // The client asks one member after the other.
                self.step = if left > 1 { Step::Defragment(left - 1) } else { Step::Disarm };
                Request::Defragment
            }
            Step::Disarm => {
                let next = self.raised.pop();
                if self.raised.is_empty() {
                    self.step = Step::Look;
                }
                Self::disarm(next.map_or(any, |alarm| alarm.member))
            }
        }
    }

    fn ended(&mut self, _: u32, request: &Request, ended: Ended<'_>) {
        let (Request::Alarm(asked), Ended::Answered(response)) = (request, ended) else { return };
        if let (AlarmAction::Get, ResponseBody::Alarm { alarms }) = (asked.action, &response.body) {
            self.raised.clone_from(alarms);
            self.step = if alarms.is_empty() { Step::Look } else { Step::Read };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::{Dice, Neutral};
    use detcd_replica::api::{Header, Response};

    #[test]
    fn the_administrator_makes_room_before_it_takes_alarms_back() {
        let mut administrator = Administrator::new(3);
        let mut seen = Seen::new(false);
        seen.revision = 40;
        let next = |administrator: &mut Administrator| administrator.next(0, &seen, &mut Neutral);
        let look = next(&mut administrator);
        let alarms = [1, 3].map(|id| AlarmMember { alarm: Alarm::NoSpace, member: MemberId(id) }).to_vec();
        let header = Header { member: MemberId(1), revision: 40, raft_term: 1 };
        let response = Response { header, body: ResponseBody::Alarm { alarms } };
        administrator.ended(0, &look, Ended::Answered(&response));
        let rest: Vec<Request> = (0..8).map(|_| next(&mut administrator)).collect();
        assert!(matches!(rest[0], Request::Range(_)));
        assert_eq!(rest[1], Request::Compact(CompactRequest { revision: 40, physical: true }));
        assert_eq!(rest[2..5], [Request::Defragment, Request::Defragment, Request::Defragment]);
        assert_eq!(rest[5..7], [3, 1].map(|id| Administrator::disarm(MemberId(id))));
        assert_eq!(rest[7], look);
    }

    #[test]
    fn most_requests_take_space() {
        let mut quota = Quota::new(&scenario::Workload::default());
        let mut dice = Dice(2);
        let asked: Vec<Request> = (0..2_000).map(|_| quota.next(1, &Seen::new(false), &mut dice)).collect();
        let takes = asked.iter().filter(|request| matches!(request, Request::Put(_) | Request::Txn(_)));
        assert!(takes.count() > 1_200);
        assert!(asked.iter().any(|request| matches!(request, Request::LeaseGrant(_))));
    }
}
