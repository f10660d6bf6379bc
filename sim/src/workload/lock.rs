//! `lock`: clients that take turns behind a lock, as etcd's `concurrency` package does it, and write what it guards.
//!
//! Who is first in the lock's queue ([`super::queue`]) owns it. Under the lock a client reads what is guarded and
//! writes `mine<theirs`: its new name, and the one that it has read. Fenced, a write is a transaction that compares the
//! creation of the client's key; unfenced it is a put, which may arrive when the lock has long been another's. After a
//! write without an answer a client gives up its session. One waiter in three dozes, and keeps nothing alive.

use bytes::Bytes;
use detcd_replica::api::{Key, Request, RequestOp, Response, ResponseBody, TxnRequest};
use detcd_replica::{Bug, Bugs};

use super::queue::{first, Session};
use super::{choose, get, of_client, put, Ended, Names, Seen, Workload};
use crate::scenario::{self, Chance};

pub(super) const PREFIX: &[u8] = b"lock/";

/// What a client does under the lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Step {
    /// Read what is guarded.
    #[default]
    Read,
    /// Write it; this was there.
    Write(Bytes),
}

/// A client of the lock.
#[derive(Clone, Debug, Default)]
struct Party {
    session: Session,
    step: Step,
    lock: u64,
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
        of_client(&mut self.parties, client)
    }
}

impl Party {
    fn queue(&self) -> Vec<u8> {
        let mut prefix = PREFIX.to_vec();
        prefix.extend_from_slice(b"queue/");
        super::digits(self.lock, &mut prefix);
        prefix.push(b'/');
        prefix
    }

    fn guarded(&self) -> Key {
        let mut key = PREFIX.to_vec();
        key.extend_from_slice(b"guarded/");
        super::digits(self.lock, &mut key);
        key.into()
    }

    /// What has become of a read or a write under the lock.
    fn worked(&mut self, answer: Option<&Response>) {
        match (&self.step, answer) {
            (Step::Read, Some(response)) => {
                self.step = Step::Write(first(&response.body).map_or_else(Bytes::new, |kv| kv.value.clone()));
            }
            (Step::Write(_), Some(response)) => {
                self.step = Step::Read;
                self.writes -= 1;
                match &response.body {
                    ResponseBody::Txn { succeeded: false, .. } => self.session.is_over(),
                    _ if self.writes > 0 => {}
                    _ => self.session.release(),
                }
            }
            (_, None) => {
                self.step = Step::Read;
                self.session.release();
            }
        }
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
        if party.session.is_new() {
            party.lock = chance.below("lock.which", subject, locks);
            let dozes = chance.ratio("lock.doze", subject, 1, 3);
            party.writes = choose(&[(1, 1), (2, 1), (3, 1)], chance.below("lock.writes", subject, 3));
            let queue = party.queue();
            return party.session.begin(client, ttl, queue, dozes);
        }
        if !party.session.is_first() {
            return party.session.next(Bytes::new);
        }
        match party.step.clone() {
            Step::Read => Request::Range(get(party.guarded())),
            Step::Write(theirs) => {
                let (key, compare) = (party.guarded(), party.session.holds());
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
        }
    }

    fn ended(&mut self, client: u32, _: &Request, ended: Ended<'_>) {
        let rechecks = !self.bugs.has(Bug::LockNotRechecked);
        let party = self.party(client);
        let answer = ended.answer();
        match party.session.is_first() {
            true => party.worked(answer),
            false => party.session.ended(answer, rechecks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Neutral;
    use detcd_replica::api::{CompareTarget, Header, KeyValue};
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
