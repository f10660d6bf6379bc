//! `kubernetes`: what kube-apiserver asks of etcd for one kind of object.
//!
//! Half of the requests read (of 100: 5 gets, 2 stale gets, 8 gets at a revision, 5 stale lists, 80 lists in pages),
//! half write (90 updates, 5 deletes, 5 creates), each write guarded by the object's last revision, with a get when
//! the guard fails. Objects are kept between half and one and a half of the scenario's number of keys. A list that was
//! cut is gone on with before anything else. The watch that follows a list is a watch client's affair.

use bytes::Bytes;
use detcd_replica::api::{DeleteRangeRequest, Key, KeyRange, RangeEnd, RangeRequest, Request, RequestOp};

use super::etcd::guarded;
use super::{choose, get, put, Names, Seen, Workload};
use crate::scenario::{self, Chance};

pub(super) const PREFIX: &[u8] = b"/registry/pods/default/";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Get,
    GetStale,
    GetRevision,
    ListStale,
    List,
    Update,
    Delete,
    Create,
}

/// Shares of 200: reads, then writes.
const SHARES: [(Op, u64); 8] = [
    (Op::List, 80),
    (Op::Get, 5),
    (Op::GetStale, 2),
    (Op::GetRevision, 8),
    (Op::ListStale, 5),
    (Op::Update, 90),
    (Op::Delete, 5),
    (Op::Create, 5),
];

/// The generator.
pub struct Kubernetes {
    names: Names,
    objects: Names,
    average: usize,
    page: u64,
    history: u64,
    all: KeyRange,
}

impl Kubernetes {
    /// With the parameters of a scenario.
    pub fn new(parameters: &scenario::Workload) -> Self {
        Self {
            names: Names::values(parameters),
            objects: Names::short(),
            average: parameters.keys as usize,
            page: parameters.page,
            history: parameters.history_revisions,
            all: KeyRange::prefix(PREFIX),
        }
    }

    fn list(&self) -> RangeRequest {
        RangeRequest { limit: self.page, ..RangeRequest::of(self.all.clone()) }
    }

    /// A known object, with its last change.
    fn object(client: u32, seen: &Seen, chance: &mut dyn Chance) -> Option<(Key, i64)> {
        let count = seen.key_count();
        if count == 0 {
            return None;
        }
        let place = chance.below("workload.key", u64::from(client), count as u64) as usize;
        seen.key_at(place).map(|(key, revision)| (key.clone(), revision))
    }

    fn create(&mut self, client: u32) -> Request {
        let key = Bytes::from(self.objects.next(client, PREFIX));
        let value = self.names.value(client);
        Request::Txn(guarded(key.clone(), 0, RequestOp::Put(put(key, value))))
    }
}

impl Workload for Kubernetes {
    fn next(&mut self, client: u32, seen: &Seen, chance: &mut dyn Chance) -> Request {
        if let Some(page) = &seen.page {
            let range = KeyRange { start: page.start.clone(), end: self.all.end.clone() };
            return Request::Range(RangeRequest { range, revision: page.revision, ..self.list() });
        }
        let op = choose(&SHARES, chance.below("workload.op", u64::from(client), 200));
        let op = match op {
            Op::Update | Op::Delete | Op::Create if seen.key_count() < self.average.div_ceil(2) => Op::Create,
            Op::Update | Op::Create if seen.key_count() > self.average * 3 / 2 => Op::Delete,
            op => op,
        };
        match op {
            Op::List => return Request::Range(self.list()),
            Op::ListStale => return Request::Range(RangeRequest { serializable: true, ..self.list() }),
            Op::Create => return self.create(client),
            _ => {}
        }
        let Some((key, revision)) = Self::object(client, seen, chance) else {
            return Request::Range(self.list());
        };
        match op {
            Op::GetStale => Request::Range(RangeRequest { serializable: true, ..get(key) }),
            Op::GetRevision => {
                let back = chance.below("workload.history", u64::from(client), self.history) as i64;
                Request::Range(RangeRequest { revision: (seen.revision - back).max(1), ..get(key) })
            }
            Op::Update => {
                let value = self.names.value(client);
                Request::Txn(guarded(key.clone(), revision, RequestOp::Put(put(key, value))))
            }
            Op::Delete => {
                let range = KeyRange { start: key.clone(), end: RangeEnd::Single };
                let delete = DeleteRangeRequest { range, prev_kv: false };
                Request::Txn(guarded(key, revision, RequestOp::DeleteRange(delete)))
            }
            _ => Request::Range(get(key)),
        }
    }

    fn after_failed_write(&self) -> Option<Request> {
        // All of it, not a page: this is for the judge.
        Some(Request::Range(RangeRequest::of(self.all.clone())))
    }

    fn tracks_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Dice;
    use detcd_replica::api::{Header, Response, ResponseBody};
    use detcd_replica::MemberId;

    /// A store that grants every write, as far as the client can tell.
    fn grant(seen: &mut Seen, request: &Request, revision: i64) {
        let header = Header { member: MemberId(1), revision, raft_term: 1 };
        if let Request::Txn(txn) = request {
            let responses = txn.success.iter().map(|_| ResponseBody::Put { prev_kv: None }).collect();
            let body = ResponseBody::Txn { succeeded: true, responses };
            seen.answered(request, &Response { header, body });
        }
    }

    #[test]
    fn half_are_guarded_writes_and_objects_stay_in_bounds() {
        let mut workload = Kubernetes::new(&scenario::Workload::default());
        let (mut dice, mut seen) = (Dice(6), Seen::new(true));
        let (mut writes, mut lists, mut updates) = (0, 0, 0);
        let draws = 20_000;
        for n in 0..draws {
            let request = workload.next(1, &seen, &mut dice);
            match &request {
                Request::Txn(txn) => {
                    assert_eq!((txn.compare.len(), txn.success.len(), txn.failure.len()), (1, 1, 1));
                    writes += 1;
                    updates += u32::from(seen.mod_revision(&txn.compare[0].range.start) != 0);
                }
                Request::Range(range) if range.limit == 10 && !range.serializable => lists += 1,
                _ => {}
            }
            grant(&mut seen, &request, n + 2);
            assert!(n < 100 || (4..=16).contains(&seen.key_count()), "{} objects", seen.key_count());
        }
        assert!((9_600..10_400).contains(&writes), "{writes} writes");
        assert!((7_600..8_400).contains(&lists), "{lists} lists");
        assert!(updates > writes * 9 / 10, "{updates} updates and deletes of {writes}");
    }

    #[test]
    fn a_list_that_was_cut_is_gone_on_with() {
        let mut workload = Kubernetes::new(&scenario::Workload::default());
        let page = super::super::Page { start: Bytes::from_static(b"/registry/pods/default/x\0"), revision: 9 };
        let mut seen = Seen::new(true);
        seen.page = Some(page.clone());
        let Request::Range(range) = workload.next(1, &seen, &mut Dice(1)) else { panic!("a list is a range") };
        assert_eq!((range.range.start, range.revision, range.limit), (page.start, 9, 10));
        assert_eq!(range.range.end, KeyRange::prefix(PREFIX).end);
    }
}
