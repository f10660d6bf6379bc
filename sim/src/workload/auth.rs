//! `auth`: clients who may do some things and ask for more.
//!
//! Every eighth client is root, every eighth is nobody, and the others are users; what they may, an administrator
//! changes all the time (`realm`). Out of 100 requests: 8 gets, 10 ranges, 14 puts, 7 that ask for what was there,
//! 7 with a lease, 9 deletes, 27 transactions (of which 6 with a put that asks for what was there, and 9 whose
//! operations are nested), 12 about leases, and 6 that are root's alone. Three keys in four are of the user's own
//! quarter. A request that was refused for its token is asked once more when the client has another.

use std::collections::VecDeque;

use detcd_replica::api::{
    AlarmAction, AlarmRequest, AuthRequest, CompactRequest, Compare, CompareResult, CompareTarget, DeleteRangeRequest,
    Key, KeyRange, LeaseGrantRequest, LeaseId, PutRequest, RangeEnd, RangeRequest, Request, RequestOp, TxnRequest,
};
use detcd_replica::MemberId;

use super::login::{Identity, Login};
use super::realm::{self, USERS};
use super::{choose, put, Ended, Names, Seen, Workload};
use crate::scenario::{self, Chance};

/// Leases that clients may know of.
const KNOWN_MAX: usize = 16;
/// Each client has so many ids of leases of its own.
const IDS: i64 = 1_000_000;
/// Compactions leave so many revisions.
const KEPT: i64 = 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Get,
    Range,
    Put,
    PutPrev,
    PutLeased,
    Delete,
    DeleteRange,
    Txn,
    TxnPrev,
    Nested,
    Grant,
    Revoke,
    KeepAlive,
    TimeToLive,
    Leases,
    Compact,
    Maintenance,
    Administer,
}

/// Shares of 100.
const SHARES: [(Op, u64); 18] = [
    (Op::Get, 8),
    (Op::Range, 10),
    (Op::Put, 14),
    (Op::PutPrev, 7),
    (Op::PutLeased, 7),
    (Op::Delete, 6),
    (Op::DeleteRange, 3),
    (Op::Txn, 12),
    (Op::TxnPrev, 6),
    (Op::Nested, 9),
    (Op::Grant, 4),
    (Op::Revoke, 3),
    (Op::KeepAlive, 2),
    (Op::TimeToLive, 2),
    (Op::Leases, 1),
    (Op::Compact, 2),
    (Op::Maintenance, 2),
    (Op::Administer, 2),
];

/// What the generator keeps of one client.
struct Party {
    /// `None` for a client that never says who it is.
    login: Option<Login>,
    /// Whose quarter of the keys it likes.
    quarter: u64,
    /// What it asks once more when it has another token.
    repeat: Option<Request>,
    repeated: bool,
    granted: i64,
    /// When everything is repaired: root's own login, and whether it was answered.
    closing: Option<(Login, bool)>,
}

/// The generator of the clients.
pub struct Auth {
    names: Names,
    keys: u64,
    ttl: i64,
    parties: Vec<Party>,
    /// Leases that were asked for lately.
    known: VecDeque<LeaseId>,
}

impl Auth {
    /// With the parameters of a scenario.
    pub fn new(parameters: &scenario::Workload) -> Self {
        let (keys, ttl) = (parameters.keys, parameters.ttl_seconds as i64);
        Self { names: Names::values(parameters), keys, ttl, parties: Vec::new(), known: VecDeque::new() }
    }

    fn party(&mut self, client: u32) -> &mut Party {
        while self.parties.len() <= client as usize {
            let number = self.parties.len() as u64;
            let quarter = (number + USERS - 1) % USERS;
            let login = match number % 8 {
                0 => Some(realm::root()),
                7 => None,
                _ => Some(realm::login(quarter)),
            };
            self.parties.push(Party { login, quarter, repeat: None, repeated: false, granted: 0, closing: None });
        }
        &mut self.parties[client as usize]
    }

    fn key(&mut self, client: u32, chance: &mut dyn Chance) -> Key {
        let subject = u64::from(client);
        let (first, size) = realm::quarter(self.keys, self.party(client).quarter);
        let elsewhere = chance.ratio("auth.elsewhere", subject, 1, 4);
        let any = chance.below("workload.key", subject, self.keys);
        realm::key(if elsewhere { any } else { first + any % size })
    }

    fn range(&mut self, client: u32, chance: &mut dyn Chance) -> KeyRange {
        let subject = u64::from(client);
        let start = self.key(client, chance);
        let number = chance.below("auth.range", subject, 6);
        match number {
            5 => KeyRange { start, end: RangeEnd::Open },
            4 => KeyRange::prefix(realm::PREFIX),
            3 => realm::span(self.keys, self.party(client).quarter, 2),
            _ => {
                let mut end = self.key(client, chance);
                if end <= start {
                    end = [&start[..], b"\0"].concat().into();
                }
                KeyRange { start, end: RangeEnd::Before(end) }
            }
        }
    }

    fn read(&mut self, client: u32, range: KeyRange, chance: &mut dyn Chance) -> RangeRequest {
        let serializable = chance.ratio("auth.serializable", u64::from(client), 1, 2);
        RangeRequest { serializable, ..RangeRequest::of(range) }
    }

    fn put(&mut self, client: u32, chance: &mut dyn Chance) -> PutRequest {
        let key = self.key(client, chance);
        put(key, self.names.value(client))
    }

    fn lease(&self, client: u32, chance: &mut dyn Chance) -> LeaseId {
        let place = chance.below("auth.lease", u64::from(client), KNOWN_MAX as u64) as usize;
        self.known.get(place % self.known.len().max(1)).copied().unwrap_or(1)
    }

    /// A transaction: one put, with a look at the same key and at another.
    fn txn(&mut self, client: u32, prev_kv: bool, chance: &mut dyn Chance) -> TxnRequest {
        let put = PutRequest { prev_kv, ..self.put(client, chance) };
        let looked = self.key(client, chance);
        let compared = KeyRange::single(if chance.ratio("auth.compare", u64::from(client), 1, 3) {
            self.key(client, chance)
        } else {
            put.key.clone()
        });
        let compare = Compare { range: compared, result: CompareResult::Greater, target: CompareTarget::Version(0) };
        let look = || RequestOp::Range(RangeRequest::of(KeyRange::single(looked.clone())));
        let compare = if prev_kv { Vec::new() } else { vec![compare] };
        let read = chance.ratio("auth.read", u64::from(client), 1, 2);
        let success = if read { vec![look(), RequestOp::Put(put.clone())] } else { vec![RequestOp::Put(put.clone())] };
        let failure = if compare.is_empty() { Vec::new() } else { vec![RequestOp::Put(put)] };
        TxnRequest { compare, success, failure }
    }

    fn make(&mut self, client: u32, seen: &Seen, chance: &mut dyn Chance) -> Request {
        let subject = u64::from(client);
        match choose(&SHARES, chance.below("workload.op", subject, 100)) {
            Op::Get => {
                let range = KeyRange::single(self.key(client, chance));
                Request::Range(self.read(client, range, chance))
            }
            Op::Range => {
                let range = self.range(client, chance);
                Request::Range(self.read(client, range, chance))
            }
            Op::Put => Request::Put(self.put(client, chance)),
            Op::PutPrev => Request::Put(PutRequest { prev_kv: true, ..self.put(client, chance) }),
            Op::PutLeased => {
                let lease = self.lease(client, chance);
                Request::Put(PutRequest { lease, ..self.put(client, chance) })
            }
            Op::Delete => {
                let range = KeyRange::single(self.key(client, chance));
                let prev_kv = chance.ratio("auth.prev", subject, 1, 2);
                Request::DeleteRange(DeleteRangeRequest { range, prev_kv })
            }
            Op::DeleteRange => {
                let range = self.range(client, chance);
                Request::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
            }
            Op::Txn => Request::Txn(self.txn(client, false, chance)),
            Op::TxnPrev => {
                let mut txn = self.txn(client, true, chance);
                if chance.ratio("auth.attach", subject, 1, 3) {
                    let lease = self.lease(client, chance);
                    for op in &mut txn.success {
                        if let RequestOp::Put(put) = op {
                            put.lease = lease;
                        }
                    }
                }
                Request::Txn(txn)
            }
            Op::Nested => {
                let inner = self.txn(client, false, chance);
                let range = RangeRequest::of(KeyRange::single(self.key(client, chance)));
                let inner = if chance.ratio("auth.look_inside", subject, 1, 3) {
                    TxnRequest { compare: Vec::new(), success: vec![RequestOp::Range(range)], failure: Vec::new() }
                } else {
                    inner
                };
                let success = vec![RequestOp::Txn(Box::new(inner))];
                Request::Txn(TxnRequest { compare: Vec::new(), success, failure: Vec::new() })
            }
            Op::Grant => {
                let ttl = self.ttl;
                let party = self.party(client);
                party.granted += 1;
                let id = i64::from(client + 1) * IDS + party.granted;
                if self.known.len() == KNOWN_MAX {
                    self.known.pop_front();
                }
                self.known.push_back(id);
                Request::LeaseGrant(LeaseGrantRequest { id, ttl })
            }
            Op::Revoke => Request::LeaseRevoke { id: self.lease(client, chance) },
            Op::KeepAlive => Request::LeaseKeepAlive { id: self.lease(client, chance) },
            Op::TimeToLive => Request::LeaseTimeToLive { id: self.lease(client, chance), keys: true },
            Op::Leases => Request::Leases,
            Op::Compact => {
                let revision = (seen.revision - KEPT).max(1);
                Request::Compact(CompactRequest { revision, physical: false })
            }
            Op::Maintenance => match chance.below("auth.maintenance", subject, 4) {
                0 => Request::Status,
                1 => Request::MemberList { linearizable: true },
                2 => Request::HashKv { revision: 0 },
                _ => {
                    let member = MemberId::NONE;
                    Request::Alarm(AlarmRequest { action: AlarmAction::Get, member, alarm: None })
                }
            },
            Op::Administer => {
                let quarter = self.party(client).quarter;
                Request::Auth(match chance.below("auth.administer", subject, 5) {
                    0 => AuthRequest::UserGet { name: realm::user(quarter) },
                    1 => AuthRequest::UserGet { name: realm::user((quarter + 1) % USERS) },
                    2 => AuthRequest::RoleAdd { role: format!("extra{client}") },
                    3 => AuthRequest::UserGrantRole { user: realm::user(quarter), role: "root".to_owned() },
                    _ => AuthRequest::UserList,
                })
            }
        }
    }
}

impl Workload for Auth {
    fn next(&mut self, client: u32, seen: &Seen, chance: &mut dyn Chance) -> Request {
        let forgets = chance.ratio("auth.forget", u64::from(client), 1, 40);
        let party = self.party(client);
        if let Some(login) = &mut party.login {
            if forgets {
                login.forget();
            }
            if let Some(request) = login.request() {
                return request;
            }
        }
        party.repeated = party.repeat.is_some();
        match party.repeat.take() {
            Some(request) => request,
            None => self.make(client, seen, chance),
        }
    }

    fn ended(&mut self, client: u32, request: &Request, ended: Ended<'_>) {
        let party = self.party(client);
        if let Some((login, answered)) = &mut party.closing {
            login.ended(request, ended);
            *answered |= matches!((request, ended), (Request::Range(_), Ended::Answered(_)));
            return;
        }
        let Some(login) = &mut party.login else { return };
        if login.ended(request, ended) && !party.repeated {
            party.repeat = Some(request.clone());
        }
    }

    fn identity(&self, client: u32) -> Identity {
        let party = self.parties.get(client as usize);
        let login = party.and_then(|party| match &party.closing {
            Some((login, _)) => Some(login),
            None => party.login.as_ref(),
        });
        login.map(Login::identity).unwrap_or_default()
    }

    /// Root can always look: a member that goes on refusing it is of no use to anybody.
    fn closing(&mut self, client: u32) -> Option<Request> {
        let party = self.party(client);
        let (login, answered) = party.closing.get_or_insert_with(|| (realm::root(), false));
        if *answered {
            return None;
        }
        let look = || RangeRequest { count_only: true, ..RangeRequest::of(KeyRange::prefix(realm::PREFIX)) };
        Some(login.request().unwrap_or_else(|| Request::Range(look())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Dice;
    use detcd_replica::api::{AuthResponse, Error, Header, Response, ResponseBody};

    fn answer(body: ResponseBody) -> Response {
        Response { header: Header { member: MemberId(1), revision: 1, raft_term: 1 }, body }
    }

    #[test]
    fn what_a_bad_token_has_stopped_is_asked_once_more() {
        let mut auth = Auth::new(&scenario::Workload::default());
        let (seen, mut dice) = (Seen::new(false), Dice(8));
        let first = auth.next(1, &seen, &mut dice);
        auth.ended(1, &first, Ended::Refused(Error::UserEmpty));
        let login = auth.next(1, &seen, &mut dice);
        assert!(matches!(login, Request::Auth(AuthRequest::Authenticate { .. })));
        let token = answer(ResponseBody::Auth(AuthResponse::Token("t.1".to_owned())));
        auth.ended(1, &login, Ended::Answered(&token));
        assert_eq!(auth.identity(1).user, "u0");
        assert_eq!(auth.next(1, &seen, &mut dice), first);
        auth.ended(1, &first, Ended::Refused(Error::InvalidAuthToken));
        let login = auth.next_login();
        auth.ended(1, &login, Ended::Answered(&token));
        assert_ne!(auth.next(1, &seen, &mut dice), first);
    }

    impl Auth {
        fn next_login(&mut self) -> Request {
            self.party(1).login.as_ref().and_then(Login::request).expect("it must say its password")
        }
    }

    #[test]
    fn everybody_looks_as_root_at_the_end() {
        let mut auth = Auth::new(&scenario::Workload::default());
        // Even who was nobody.
        let look = auth.closing(7).expect("it was not answered yet");
        auth.ended(7, &look, Ended::Refused(Error::UserEmpty));
        let login = auth.closing(7).expect("it was not answered yet");
        let token = answer(ResponseBody::Auth(AuthResponse::Token("t.1".to_owned())));
        auth.ended(7, &login, Ended::Answered(&token));
        assert_eq!(auth.identity(7).user, "root");
        assert_eq!(auth.closing(7), Some(look.clone()));
        let found = answer(ResponseBody::Range { kvs: Vec::new(), more: false, count: 0 });
        auth.ended(7, &look, Ended::Answered(&found));
        assert_eq!(auth.closing(7), None);
    }

    #[test]
    fn every_kind_of_request_is_made() {
        let mut auth = Auth::new(&scenario::Workload::default());
        let mut dice = Dice(5);
        let asked: Vec<Request> = (0..4_000).map(|_| auth.next(7, &Seen::new(false), &mut dice)).collect();
        let count = |is: fn(&Request) -> bool| asked.iter().filter(|request| is(request)).count();
        assert!(count(|r| matches!(r, Request::Txn(_))) > 900);
        assert!(count(|r| matches!(r, Request::Put(put) if put.lease != 0)) > 200);
        assert!(count(|r| matches!(r, Request::Range(range) if range.range.end == RangeEnd::Open)) > 30);
        assert!(count(|r| matches!(r, Request::Auth(_))) > 50);
        assert!(count(|r| matches!(r, Request::Compact(_))) > 50);
    }
}
