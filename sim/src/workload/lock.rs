//! `lock`: clients that take turns behind a lock, as etcd's `concurrency` package does it, and write what it guards.
//!
//! A session is a lease. Who wants the lock creates a key of its own under the lock's prefix, with the lease, and owns
//! the lock when no key there is older; else it waits until the next older one is gone, keeps its session alive
//! meanwhile, and looks whether its own key is still there before it takes the lock for its own. Under the lock a
//! client reads what is guarded and writes `mine<theirs`: its new name, and the one that it has read. Fenced, a write
//! is a transaction that compares the creation of the client's key; unfenced it is a put, which may arrive when the
//! lock has long been another's. After a write without an answer a client gives up its session. One waiter in three
//! dozes, and keeps nothing alive.

use bytes::Bytes;
use detcd_replica::api::{
    Compare, CompareResult, CompareTarget, Key, KeyRange, KeyValue, LeaseGrantRequest, LeaseId, PutRequest, RangeEnd,
    RangeRequest, Request, RequestOp, Response, ResponseBody, Revision, SortOrder, SortTarget, TxnRequest,
};
use detcd_replica::{Bug, Bugs};

use super::{choose, get, put, Ended, Names, Seen, Workload};
use crate::scenario::{self, Chance};

pub(super) const PREFIX: &[u8] = b"lock/";

/// Each client has so many ids of leases of its own.
const IDS: i64 = 1_000_000;
/// A waiter that is awake keeps its session alive after so many looks.
const LOOKS: u32 = 3;

/// What a client does next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Step {
    /// Begin a session.
    #[default]
    Grant,
    /// Queue up.
    Acquire,
    /// Look whether the next older key is gone; so many times it has.
    Wait(u32),
    /// The way is free: keep the session alive, so that it does not end before the work is done.
    Renew,
    /// And look whether its own key is still there.
    Recheck,
    /// Read what is guarded.
    Read,
    /// Write it; this was there.
    Write(Bytes),
    /// End the session, and with it the lock.
    Release,
}

/// A client of the lock.
#[derive(Clone, Debug, Default)]
struct Party {
    step: Step,
    sessions: i64,
    lease: LeaseId,
    lock: u64,
    /// When its key was created.
    created: Revision,
    dozes: bool,
    /// Writes that it still wants to make.
    writes: u64,
}

/// The generator.
pub struct Lock {
    names: Names,
    locks: u64,
    ttl: i64,
    fenced: bool,
    bugs: Bugs,
    parties: Vec<Party>,
}

impl Lock {
    /// With the parameters of a scenario.
    pub fn new(parameters: &scenario::Workload, bugs: Bugs) -> Self {
        let (locks, ttl) = (parameters.keys, parameters.ttl_seconds as i64);
        Self { names: Names::short(), locks, ttl, fenced: parameters.fenced, bugs, parties: Vec::new() }
    }

    fn party(&mut self, client: u32) -> &mut Party {
        let place = client as usize;
        if self.parties.len() <= place {
            self.parties.resize(place + 1, Party::default());
        }
        &mut self.parties[place]
    }
}

impl Party {
    fn queue(&self) -> KeyRange {
        let mut prefix = PREFIX.to_vec();
        prefix.extend_from_slice(b"queue/");
        super::digits(self.lock, &mut prefix);
        prefix.push(b'/');
        KeyRange::prefix(prefix)
    }

    fn key(&self) -> Key {
        let mut key = self.queue().start.to_vec();
        super::digits(self.lease.unsigned_abs(), &mut key);
        key.into()
    }

    fn guarded(&self) -> Key {
        let mut key = PREFIX.to_vec();
        key.extend_from_slice(b"guarded/");
        super::digits(self.lock, &mut key);
        key.into()
    }

    /// Whether the client's own key was created at a revision.
    fn compare(&self, created: Revision) -> Compare {
        let range = KeyRange { start: self.key(), end: RangeEnd::Single };
        Compare { range, result: CompareResult::Equal, target: CompareTarget::Create(created) }
    }

    fn acquire(&self) -> Request {
        let mut oldest = RangeRequest::of(self.queue());
        (oldest.limit, oldest.sort_order, oldest.sort_target) = (1, SortOrder::Ascend, SortTarget::Create);
        let put = PutRequest { lease: self.lease, ..put(self.key(), Bytes::new()) };
        Request::Txn(TxnRequest {
            compare: vec![self.compare(0)],
            success: vec![RequestOp::Put(put), RequestOp::Range(oldest.clone())],
            failure: vec![RequestOp::Range(get(self.key())), RequestOp::Range(oldest)],
        })
    }

    /// The key right before the client's own.
    fn look(&self) -> Request {
        let mut older = RangeRequest::of(self.queue());
        (older.limit, older.sort_order, older.sort_target) = (1, SortOrder::Descend, SortTarget::Create);
        older.max_create_revision = self.created - 1;
        Request::Range(older)
    }

    /// What the answer to the attempt says: when the client's key was created, and whether it is the oldest.
    fn acquired(&mut self, response: &Response) -> Option<bool> {
        let ResponseBody::Txn { succeeded, responses } = &response.body else { return None };
        self.created = match succeeded {
            true => response.header.revision,
            false => first(responses.first()?)?.create_revision,
        };
        Some(first(responses.get(1)?)?.create_revision == self.created)
    }
}

fn first(body: &ResponseBody) -> Option<&KeyValue> {
    match body {
        ResponseBody::Range { kvs, .. } => kvs.first(),
        _ => None,
    }
}

/// The writer's own name, in a guarded value.
fn name(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == b'<').next().unwrap_or_default()
}

impl Workload for Lock {
    fn next(&mut self, client: u32, _: &Seen, chance: &mut dyn Chance) -> Request {
        let subject = u64::from(client);
        let (locks, ttl, fenced) = (self.locks, self.ttl, self.fenced);
        let party = self.party(client);
        match party.step.clone() {
            Step::Grant => {
                party.sessions += 1;
                party.lease = i64::from(client + 1) * IDS + party.sessions;
                party.lock = chance.below("lock.which", subject, locks);
                party.dozes = chance.ratio("lock.doze", subject, 1, 3);
                party.writes = choose(&[(1, 1), (2, 1), (3, 1)], chance.below("lock.writes", subject, 3));
                Request::LeaseGrant(LeaseGrantRequest { id: party.lease, ttl })
            }
            Step::Acquire => party.acquire(),
            Step::Wait(looks) if looks % LOOKS == LOOKS - 1 && !party.dozes => {
                party.step = Step::Wait(looks + 1);
                Request::LeaseKeepAlive { id: party.lease }
            }
            Step::Wait(_) => party.look(),
            Step::Renew => Request::LeaseKeepAlive { id: party.lease },
            Step::Recheck => Request::Range(get(party.key())),
            Step::Read => Request::Range(get(party.guarded())),
            Step::Write(theirs) => {
                let (key, compare) = (party.guarded(), party.compare(party.created));
                let mut value = self.names.next(client, b"");
                value.push(b'<');
                value.extend_from_slice(name(&theirs));
                let put = put(key, value.into());
                match fenced {
                    true => {
                        let success = vec![RequestOp::Put(put)];
                        Request::Txn(TxnRequest { compare: vec![compare], success, failure: Vec::new() })
                    }
                    false => Request::Put(put),
                }
            }
            Step::Release => Request::LeaseRevoke { id: party.lease },
        }
    }

    fn ended(&mut self, client: u32, _: &Request, ended: Ended<'_>) {
        let rechecks = !self.bugs.has(Bug::LockNotRechecked);
        let party = self.party(client);
        let answer = match ended {
            Ended::Answered(response) => Some(response),
            Ended::Refused(_) | Ended::Unknown => None,
        };
        let lives = matches!(answer.map(|it| &it.body), Some(ResponseBody::LeaseKeepAlive { ttl, .. }) if *ttl > 0);
        let next = match (&party.step, answer) {
            (Step::Grant, Some(_)) => Step::Acquire,
            (Step::Grant, None) => Step::Grant,
            (Step::Acquire, Some(response)) => match party.acquired(response) {
                Some(true) => Step::Read,
                Some(false) => Step::Wait(0),
                None => Step::Release,
            },
            // Whether its key is there is found out by another attempt, or by the end of the session.
            (Step::Acquire, None) => Step::Release,
            (Step::Wait(_), Some(response)) => match &response.body {
                ResponseBody::Range { kvs, .. } if kvs.is_empty() && rechecks => Step::Renew,
                ResponseBody::Range { kvs, .. } if kvs.is_empty() => Step::Read,
                ResponseBody::LeaseKeepAlive { .. } if !lives && rechecks => Step::Grant,
                _ => Step::Wait(party.looks() + 1),
            },
            (Step::Wait(looks), None) => Step::Wait(looks + 1),
            (Step::Renew, Some(_)) if lives => Step::Recheck,
            (Step::Recheck, Some(response)) => match first(&response.body) {
                Some(kv) if kv.create_revision == party.created => Step::Read,
                _ => Step::Grant,
            },
            (Step::Read, Some(response)) => {
                Step::Write(first(&response.body).map_or_else(Bytes::new, |kv| kv.value.clone()))
            }
            (Step::Write(_), Some(response)) => {
                party.writes -= 1;
                match &response.body {
                    ResponseBody::Txn { succeeded: false, .. } => Step::Grant,
                    _ if party.writes > 0 => Step::Read,
                    _ => Step::Release,
                }
            }
            (Step::Renew | Step::Recheck | Step::Read | Step::Write(_), None) | (Step::Renew, Some(_)) => Step::Release,
            (Step::Release, _) => Step::Grant,
        };
        party.step = next;
    }

    fn after_failed_write(&self) -> Option<Request> {
        // Its next read says what has become of it.
        None
    }

    fn tracks_keys(&self) -> bool {
        false
    }
}

impl Party {
    fn looks(&self) -> u32 {
        match self.step {
            Step::Wait(looks) => looks,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Neutral;
    use detcd_replica::api::Header;
    use detcd_replica::MemberId;

    fn kv(create_revision: i64, value: &'static str) -> KeyValue {
        let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(value.as_bytes()));
        KeyValue { key, create_revision, mod_revision: create_revision, version: 1, value, lease: 0 }
    }

    fn range(kvs: Vec<KeyValue>) -> ResponseBody {
        ResponseBody::Range { count: kvs.len() as u64, kvs, more: false }
    }

    /// One client, to whom these answers are given; what it asks after the last.
    fn after(lock: &mut Lock, answers: Vec<(i64, ResponseBody)>) -> Request {
        let seen = Seen::new(false);
        for (revision, body) in answers {
            let request = lock.next(0, &seen, &mut Neutral);
            let header = Header { member: MemberId(1), revision, raft_term: 1 };
            lock.ended(0, &request, Ended::Answered(&Response { header, body }));
        }
        lock.next(0, &seen, &mut Neutral)
    }

    fn queued(oldest: i64) -> Vec<(i64, ResponseBody)> {
        let txn = ResponseBody::Txn {
            succeeded: true,
            responses: vec![ResponseBody::Put { prev_kv: None }, range(vec![kv(oldest, "")])],
        };
        vec![(5, ResponseBody::LeaseGrant { id: 1, ttl: 4 }), (6, txn)]
    }

    fn lock(fenced: bool, bugs: Bugs) -> Lock {
        Lock::new(&scenario::Workload { fenced, ..scenario::Workload::default() }, bugs)
    }

    #[test]
    fn the_oldest_key_owns_the_lock_and_writes_what_it_has_read() {
        let mut fenced = lock(true, Bugs::NONE);
        assert!(matches!(after(&mut fenced, queued(6)), Request::Range(read) if read.range.start == "lock/guarded/0"));
        let Request::Txn(txn) = after(&mut fenced, vec![(6, range(vec![kv(3, "c1-4<c2-9")]))]) else {
            panic!("a fenced write compares")
        };
        assert_eq!(txn.compare[0].target, CompareTarget::Create(6));
        assert!(matches!(&txn.success[..], [RequestOp::Put(put)] if put.value == "c0-1<c1-4"));
    }

    #[test]
    fn who_has_waited_makes_sure_of_its_own_key() {
        let mut careful = lock(false, Bugs::NONE);
        let waited = || [queued(4), vec![(7, range(Vec::new()))]].concat();
        assert!(matches!(after(&mut careful, waited()), Request::LeaseKeepAlive { .. }));
        let gone = vec![(7, ResponseBody::LeaseKeepAlive { id: 1, ttl: 4 }), (7, range(Vec::new()))];
        assert!(matches!(after(&mut careful, gone), Request::LeaseGrant(_)));
        let mut careless = lock(false, Bugs::NONE.with(Bug::LockNotRechecked));
        assert!(matches!(after(&mut careless, waited()), Request::Range(read) if read.range.start == "lock/guarded/0"));
    }
}
