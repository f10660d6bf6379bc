//! `etcd-put`, `etcd-mix` and `etcd-delete`: the traffic of etcd's robustness tests on a small pool of keys.
//!
//! Out of 100 requests of `etcd-put`: 15 gets, 8 lists, 7 lists of keys, 10 stale gets, 10 stale lists, 40 puts and 10
//! transactions of four operations. `etcd-mix` has 30 puts, 5 deletes (one in five of a range) and 5 compare-and-sets
//! in place of the 40 puts; one in five deletes of a range is of every key. `etcd-delete` has 50 puts and 50 deletes:
//! the newest revision is often a tombstone. A stale read is serializable, half of the time at a revision of the past;
//! so is every tenth get and list that is not stale. Nine in ten deletes of one key put a fresh key in its place in the
//! pool.

use bytes::Bytes;
use detcd_replica::api::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Key, KeyRange, RangeEnd, RangeRequest, Request,
    RequestOp, TxnRequest,
};

use super::{choose, get, put, Names, Seen, Workload};
use crate::scenario::{self, Chance, Mix};

pub(super) const PREFIX: &[u8] = b"key";

/// Operations in one transaction.
const TXN_OPS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Get,
    List,
    ListKeys,
    StaleGet,
    StaleList,
    Put,
    Txn,
    Delete,
    CompareAndSet,
}

/// Shares of 100.
const PUT: [(Op, u64); 7] = [
    (Op::Get, 15),
    (Op::List, 8),
    (Op::ListKeys, 7),
    (Op::StaleGet, 10),
    (Op::StaleList, 10),
    (Op::Put, 40),
    (Op::Txn, 10),
];
const MIX: [(Op, u64); 9] = [
    (Op::Get, 15),
    (Op::List, 8),
    (Op::ListKeys, 7),
    (Op::StaleGet, 10),
    (Op::StaleList, 10),
    (Op::Put, 30),
    (Op::Txn, 10),
    (Op::Delete, 5),
    (Op::CompareAndSet, 5),
];
const DELETE: [(Op, u64); 2] = [(Op::Put, 50), (Op::Delete, 50)];

/// The generator.
pub struct Etcd {
    shares: &'static [(Op, u64)],
    keys: Vec<Key>,
    /// Number of the next fresh key.
    fresh: u64,
    names: Names,
    history: u64,
    all: KeyRange,
}

impl Etcd {
    /// With the parameters of a scenario; anything but `etcd-mix` and `etcd-delete` is `etcd-put`.
    pub fn new(parameters: &scenario::Workload) -> Self {
        let shares: &[_] = match parameters.name {
            Mix::EtcdMix => &MIX,
            Mix::EtcdDelete => &DELETE,
            _ => &PUT,
        };
        Self {
            shares,
            keys: (0..parameters.keys).map(key).collect(),
            fresh: parameters.keys,
            names: Names::values(parameters),
            history: parameters.history_revisions,
            all: KeyRange::prefix(PREFIX),
        }
    }

    fn place(&self, client: u32, chance: &mut dyn Chance) -> usize {
        chance.below("workload.key", u64::from(client), self.keys.len() as u64) as usize
    }

    fn key(&self, client: u32, chance: &mut dyn Chance) -> Key {
        self.keys[self.place(client, chance)].clone()
    }

    /// A revision of the past, or 0 when none was seen.
    fn past(&self, client: u32, seen: &Seen, chance: &mut dyn Chance) -> i64 {
        let back = chance.below("workload.history", u64::from(client), self.history) as i64;
        if seen.revision == 0 {
            return 0;
        }
        (seen.revision - back).max(1)
    }

    /// A read, sometimes of the past.
    fn read(&self, client: u32, range: RangeRequest, seen: &Seen, chance: &mut dyn Chance) -> Request {
        let (numer, denom) = if range.serializable { (1, 2) } else { (1, 10) };
        let past = chance.ratio("workload.past", u64::from(client), numer, denom);
        let revision = if past { self.past(client, seen, chance) } else { 0 };
        Request::Range(RangeRequest { revision, ..range })
    }

    fn delete(&mut self, client: u32, chance: &mut dyn Chance) -> DeleteRangeRequest {
        let subject = u64::from(client);
        let prev_kv = chance.ratio("workload.prev_kv", subject, 1, 4);
        let place = self.place(client, chance);
        let start = self.keys[place].clone();
        if chance.ratio("workload.delete_range", subject, 1, 5) {
            // A put on its way revives a key that has left the pool: without this, long runs would list ever more.
            if chance.ratio("workload.delete_all", subject, 1, 5) {
                return DeleteRangeRequest { range: self.all.clone(), prev_kv };
            }
            // From one key of the pool to another; upside down it is an empty range, which must be no surprise.
            let end = RangeEnd::Before(self.key(client, chance));
            return DeleteRangeRequest { range: KeyRange { start, end }, prev_kv };
        }
        if chance.ratio("workload.fresh_key", subject, 9, 10) {
            self.keys[place] = key(self.fresh);
            self.fresh += 1;
        }
        DeleteRangeRequest { range: KeyRange { start, end: RangeEnd::Single }, prev_kv }
    }

    /// Operations on different keys: one in ten a delete, four reads, five puts; at least one put.
    fn transaction(&mut self, client: u32, chance: &mut dyn Chance) -> TxnRequest {
        let subject = u64::from(client);
        let count = TXN_OPS.min(self.keys.len());
        let mut places = Vec::with_capacity(count);
        let mut success = Vec::with_capacity(count);
        let mut puts = 0;
        for n in 0..count {
            let mut place = self.place(client, chance);
            while places.contains(&place) {
                place = (place + 1) % self.keys.len();
            }
            places.push(place);
            let key = self.keys[place].clone();
            let last_chance = puts == 0 && n + 1 == count;
            success.push(match chance.below("workload.txn_op", subject, 10) {
                0..=3 if !last_chance => RequestOp::Range(get(key)),
                9 if !last_chance => {
                    let range = KeyRange { start: key, end: RangeEnd::Single };
                    RequestOp::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
                }
                _ => {
                    puts += 1;
                    RequestOp::Put(put(key, self.names.value(client)))
                }
            });
        }
        TxnRequest { compare: Vec::new(), success, failure: Vec::new() }
    }
}

impl Workload for Etcd {
    fn next(&mut self, client: u32, seen: &Seen, chance: &mut dyn Chance) -> Request {
        let op = choose(self.shares, chance.below("workload.op", u64::from(client), 100));
        let list = || RangeRequest::of(self.all.clone());
        match op {
            Op::Get => self.read(client, get(self.key(client, chance)), seen, chance),
            Op::List => self.read(client, list(), seen, chance),
            Op::ListKeys => Request::Range(RangeRequest { keys_only: true, ..list() }),
            Op::StaleGet => {
                let range = RangeRequest { serializable: true, ..get(self.key(client, chance)) };
                self.read(client, range, seen, chance)
            }
            Op::StaleList => self.read(client, RangeRequest { serializable: true, ..list() }, seen, chance),
            Op::Put => {
                let mut put = put(self.key(client, chance), self.names.value(client));
                put.prev_kv = chance.ratio("workload.prev_kv", u64::from(client), 1, 4);
                Request::Put(put)
            }
            Op::Txn => Request::Txn(self.transaction(client, chance)),
            Op::Delete => Request::DeleteRange(self.delete(client, chance)),
            Op::CompareAndSet => {
                let key = self.key(client, chance);
                let expected = seen.mod_revision(&key);
                Request::Txn(guarded(key.clone(), expected, RequestOp::Put(put(key, self.names.value(client)))))
            }
        }
    }

    fn after_failed_write(&self) -> Option<Request> {
        Some(Request::Range(RangeRequest::of(self.all.clone())))
    }

    fn tracks_keys(&self) -> bool {
        self.shares.iter().any(|(op, _)| *op == Op::CompareAndSet)
    }
}

/// An operation on a key, if its last change is the expected one (0: it does not exist); otherwise the key is read.
pub(super) fn guarded(key: Key, expected: i64, op: RequestOp) -> TxnRequest {
    let range = KeyRange { start: key.clone(), end: RangeEnd::Single };
    let compare = Compare { range, result: CompareResult::Equal, target: CompareTarget::Mod(expected) };
    TxnRequest { compare: vec![compare], success: vec![op], failure: vec![RequestOp::Range(get(key))] }
}

fn key(number: u64) -> Key {
    let mut key = PREFIX.to_vec();
    super::digits(number, &mut key);
    Bytes::from(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Dice;
    use std::collections::{BTreeMap, BTreeSet};

    fn kind(request: &Request) -> &'static str {
        match request {
            Request::Range(r) => match (r.serializable, &r.range.end, r.keys_only) {
                (true, RangeEnd::Single, _) => "stale get",
                (true, ..) => "stale list",
                (_, RangeEnd::Single, _) => "get",
                (_, _, true) => "list keys",
                _ => "list",
            },
            Request::Put(_) => "put",
            Request::DeleteRange(_) => "delete",
            Request::Txn(txn) if txn.compare.is_empty() => "txn",
            Request::Txn(_) => "cas",
            _ => "other",
        }
    }

    fn check_shares(name: Mix, expected: &[(&'static str, u64)]) {
        let mut workload = Etcd::new(&scenario::Workload { name, ..scenario::Workload::default() });
        let mut seen = Seen::new(true);
        seen.revision = 100;
        let (mut dice, draws) = (Dice(3), 20_000);
        let mut counts = BTreeMap::new();
        for n in 0..draws {
            *counts.entry(kind(&workload.next(n % 8, &seen, &mut dice))).or_insert(0u64) += 1;
        }
        assert_eq!(counts.len(), expected.len(), "{counts:?}");
        for (kind, share) in expected {
            let permille = counts[kind] * 1000 / u64::from(draws);
            assert!(permille.abs_diff(share * 10) <= 10, "{kind}: {permille} permille, not {share} %");
        }
    }

    #[test]
    fn the_shares_are_those_of_the_robustness_tests() {
        let reads = [("get", 15), ("list", 8), ("list keys", 7), ("stale get", 10), ("stale list", 10), ("txn", 10)];
        check_shares(Mix::EtcdPut, &[&reads[..], &[("put", 40)]].concat());
        check_shares(Mix::EtcdMix, &[&reads[..], &[("put", 30), ("delete", 5), ("cas", 5)]].concat());
        check_shares(Mix::EtcdDelete, &[("put", 50), ("delete", 50)]);
    }

    #[test]
    fn transactions_write_and_touch_no_key_twice() {
        for keys in [1, 3, 10] {
            let parameters = scenario::Workload { keys, name: Mix::EtcdMix, ..scenario::Workload::default() };
            let mut workload = Etcd::new(&parameters);
            let mut dice = Dice(4);
            for _ in 0..2_000 {
                let txn = workload.transaction(1, &mut dice);
                assert_eq!(txn.success.len(), (keys as usize).min(TXN_OPS));
                assert!(txn.success.iter().any(|op| matches!(op, RequestOp::Put(_))));
                let touched: BTreeSet<_> = txn
                    .success
                    .iter()
                    .map(|op| match op {
                        RequestOp::Range(range) => range.range.start.clone(),
                        RequestOp::Put(put) => put.key.clone(),
                        RequestOp::DeleteRange(delete) => delete.range.start.clone(),
                        RequestOp::Txn(_) => panic!("no transaction is nested"),
                    })
                    .collect();
                assert_eq!(touched.len(), txn.success.len());
            }
        }
    }

    #[test]
    fn deletes_are_sometimes_of_a_range_and_the_pool_keeps_its_size() {
        let mut workload = Etcd::new(&scenario::Workload { name: Mix::EtcdMix, ..scenario::Workload::default() });
        let mut dice = Dice(5);
        let deletes: Vec<_> = (0..1_000).map(|_| workload.delete(0, &mut dice).range).collect();
        let ranges = deletes.iter().filter(|range| range.end != RangeEnd::Single).count();
        assert!((150..250).contains(&ranges), "{ranges} of 1000");
        let all = deletes.iter().filter(|range| **range == workload.all).count();
        assert!((20..60).contains(&all), "{all} of {ranges}");
        assert_eq!(workload.keys.len(), 10);
        assert_eq!(workload.keys.iter().collect::<BTreeSet<_>>().len(), 10);
    }
}
