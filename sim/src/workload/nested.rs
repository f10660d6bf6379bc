//! `txn-nested`: transactions in transactions, up to three deep, with everything that may stand in one.
//!
//! Compares of every target and result, of one key or a range, half of them by what the client knows; reads with orders
//! and limits, puts that attach leases or keep what is there, deletes of a key or a range, in both branches. Keys are
//! few, so that a key is now and then written twice in one transaction, which etcd refuses; and one transaction in
//! sixty has more operations than it may have. Out of 100 requests 76 are transactions, 8 lists, 4 puts, 4 deletes, 5
//! grants of leases that outlive the run, and 3 revocations.

use std::collections::BTreeMap;

use bytes::Bytes;
use detcd_replica::api::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Key, KeyRange, KeyValue, LeaseGrantRequest, LeaseId,
    PutRequest, RangeEnd, RangeRequest, Request, RequestOp, ResponseBody, Revision, SortOrder, SortTarget, TxnRequest,
};
use detcd_replica::time::Span;

use super::{choose, get, of_client, put, Ended, Names, Seen, Workload};
use crate::scenario::{self, Chance};

pub(super) const PREFIX: &[u8] = b"nested/";

/// Transactions in each other, at most.
const DEPTH: u32 = 3;
/// Operations of one branch, at most.
const BRANCH: u64 = 4;
/// Compares of one transaction, at most.
const COMPARES: u64 = 2;
/// etcd's `--max-txn-ops`.
const OPERATIONS_MAX: usize = 128;
/// Names of leases: so many are granted and revoked in turn.
const LEASES: u64 = 4;
/// Seconds; no run is that long.
const TTL: i64 = 3_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Txn,
    List,
    Put,
    Delete,
    Grant,
    Revoke,
}

/// Shares of 100.
const SHARES: [(Op, u64); 6] =
    [(Op::Txn, 76), (Op::List, 8), (Op::Put, 4), (Op::Delete, 4), (Op::Grant, 5), (Op::Revoke, 3)];

/// The generator.
pub struct Nested {
    names: Names,
    keys: u64,
    history: u64,
    /// What each client has read last of each key.
    known: Vec<BTreeMap<Key, KeyValue>>,
}

impl Nested {
    /// With the parameters of a scenario.
    pub fn new(parameters: &scenario::Workload) -> Self {
        // Without compaction all of the past is there.
        let history = if parameters.compaction_period.0 == Span::ZERO { 0 } else { parameters.history_revisions };
        Self { names: Names::values(parameters), keys: parameters.keys, history, known: Vec::new() }
    }

    fn known(&mut self, client: u32) -> &mut BTreeMap<Key, KeyValue> {
        of_client(&mut self.known, client)
    }
}

fn key(number: u64) -> Key {
    let mut key = PREFIX.to_vec();
    super::digits(number, &mut key);
    key.into()
}

/// One client that makes up its next request.
struct Draft<'a> {
    subject: u64,
    client: u32,
    keys: u64,
    /// Reads go back by less than so many revisions from the newest that was seen; 0 is never.
    history: u64,
    newest: Revision,
    names: &'a mut Names,
    known: &'a BTreeMap<Key, KeyValue>,
    chance: &'a mut dyn Chance,
    /// Keys that the transaction writes already.
    written: Vec<Key>,
    /// Whether it may write one twice.
    another: bool,
}

impl Draft<'_> {
    fn below(&mut self, site: &'static str, n: u64) -> u64 {
        self.chance.below(site, self.subject, n)
    }

    fn ratio(&mut self, site: &'static str, numer: u64, denom: u64) -> bool {
        self.chance.ratio(site, self.subject, numer, denom)
    }

    fn key(&mut self) -> Key {
        let number = self.below("workload.key", self.keys);
        key(number)
    }

    /// A key that the transaction does not write yet, if there is one or it must be.
    fn fresh_key(&mut self) -> Option<Key> {
        let from = self.below("workload.key", self.keys);
        let mut all = (0..self.keys).map(|n| key((from + n) % self.keys));
        let found = match self.another {
            true => all.next(),
            false => all.find(|key| !self.written.contains(key)),
        };
        self.written.extend(found.clone());
        found
    }

    /// One key, or those from one to another, in one case of five upside down or without an end.
    fn range(&mut self) -> KeyRange {
        let start = self.key();
        let end = match self.below("nested.range", 8) {
            0..=4 => RangeEnd::Single,
            5 | 6 => RangeEnd::Before(self.key()),
            _ => RangeEnd::Before([PREFIX, b"\xff"].concat().into()),
        };
        KeyRange { start, end }
    }

    fn lease(&mut self) -> LeaseId {
        1 + self.below("nested.lease", LEASES) as i64
    }

    fn compare(&mut self) -> Compare {
        let range = self.range();
        let result = match self.below("nested.result", 4) {
            0 => CompareResult::Equal,
            1 => CompareResult::NotEqual,
            2 => CompareResult::Less,
            _ => CompareResult::Greater,
        };
        // Half of them ask for what it knows, or the like; else for what a key that is not there has.
        let kv = self.known.get(&range.start).cloned().filter(|_| self.ratio("nested.known", 3, 4));
        let of = |part: fn(&KeyValue) -> i64| kv.as_ref().map_or(0, part);
        let target = match self.below("nested.target", 5) {
            0 => CompareTarget::Mod(of(|kv| kv.mod_revision)),
            1 => CompareTarget::Create(of(|kv| kv.create_revision)),
            2 => CompareTarget::Version(of(|kv| kv.version)),
            3 => CompareTarget::Value(kv.as_ref().map_or(Bytes::from_static(b"c1"), |kv| kv.value.clone())),
            _ => CompareTarget::Lease(of(|kv| kv.lease)),
        };
        Compare { range, result, target }
    }

    fn read(&mut self) -> RangeRequest {
        let mut range = RangeRequest::of(self.range());
        match self.below("nested.order", 12) {
            0 => (range.sort_order, range.sort_target) = (SortOrder::Descend, SortTarget::Mod),
            1 => (range.sort_order, range.sort_target, range.limit) = (SortOrder::Ascend, SortTarget::Version, 2),
            2 => (range.sort_target, range.limit) = (SortTarget::Value, 3),
            3 => (range.sort_order, range.sort_target) = (SortOrder::Descend, SortTarget::Create),
            4 => range.keys_only = true,
            5 => range.count_only = true,
            6 => range.limit = 1,
            _ => {}
        }
        if self.history > 0 && self.ratio("nested.past", 1, 6) {
            // A few are of a revision that is not there yet.
            let back = self.below("nested.past", self.history + 3) as i64;
            range.revision = (self.newest + 3 - back).max(1);
        }
        range
    }

    fn put(&mut self) -> Option<PutRequest> {
        let mut put = put(self.fresh_key()?, self.names.value(self.client));
        match self.below("nested.keep", 12) {
            0 => (put.ignore_value, put.value) = (true, Bytes::new()),
            1 => put.ignore_lease = true,
            2 | 3 => put.lease = self.lease(),
            4 | 5 => put.prev_kv = true,
            _ => {}
        }
        Some(put)
    }

    fn delete(&mut self) -> Option<DeleteRangeRequest> {
        let mut range = self.range();
        let single = range.end == RangeEnd::Single;
        if single {
            range.start = self.fresh_key()?;
        } else if !self.another {
            // What is in the range already is left alone, else most of these would be refused.
            let within: Vec<Key> = (0..self.keys).map(key).filter(|key| range.contains(key)).collect();
            if within.iter().any(|key| self.written.contains(key)) {
                return None;
            }
            self.written.extend(within);
        }
        Some(DeleteRangeRequest { range, prev_kv: self.ratio("workload.prev_kv", 1, 3) })
    }

    fn branch(&mut self, depth: u32) -> Vec<RequestOp> {
        let count = self.below("nested.branch", BRANCH + 1);
        (0..count).map(|_| self.op(depth)).collect()
    }

    fn op(&mut self, depth: u32) -> RequestOp {
        if depth < DEPTH && self.ratio("nested.inside", 1, 3) {
            return RequestOp::Txn(Box::new(self.txn(depth + 1)));
        }
        let op = match self.below("nested.op", 10) {
            0..=3 => None,
            4..=7 => self.put().map(RequestOp::Put),
            _ => self.delete().map(RequestOp::DeleteRange),
        };
        op.unwrap_or_else(|| RequestOp::Range(self.read()))
    }

    fn txn(&mut self, depth: u32) -> TxnRequest {
        let compare = (0..self.below("nested.compare", COMPARES + 1)).map(|_| self.compare()).collect();
        // Only one of the two branches runs, so that both may write the same.
        let before = self.written.clone();
        let mut success = self.branch(depth);
        let after = std::mem::replace(&mut self.written, before);
        let failure = self.branch(depth);
        self.written.extend(after);
        if depth == 1 && self.ratio("nested.long", 1, 60) {
            let more = OPERATIONS_MAX - 2 + self.below("nested.branch", BRANCH + 1) as usize;
            let read = RequestOp::Range(get(self.key()));
            success.resize(success.len().max(more), read);
        }
        TxnRequest { compare, success, failure }
    }
}

impl Workload for Nested {
    fn next(&mut self, client: u32, seen: &Seen, chance: &mut dyn Chance) -> Request {
        let (subject, keys, history, newest) = (u64::from(client), self.keys, self.history, seen.revision);
        self.known(client);
        let op = choose(&SHARES, chance.below("workload.op", subject, 100));
        let another = chance.ratio("nested.another", subject, 1, 12);
        let (names, known) = (&mut self.names, &self.known[client as usize]);
        let mut draft =
            Draft { subject, client, keys, history, newest, names, known, chance, written: Vec::new(), another };
        let list = || Request::Range(RangeRequest::of(KeyRange::prefix(PREFIX)));
        match op {
            Op::Txn => Request::Txn(draft.txn(1)),
            Op::List => list(),
            Op::Put => draft.put().map_or_else(list, Request::Put),
            Op::Delete => draft.delete().map_or_else(list, Request::DeleteRange),
            Op::Grant => Request::LeaseGrant(LeaseGrantRequest { id: draft.lease(), ttl: TTL }),
            Op::Revoke => Request::LeaseRevoke { id: draft.lease() },
        }
    }

    fn ended(&mut self, client: u32, _: &Request, ended: Ended<'_>) {
        fn learn(known: &mut BTreeMap<Key, KeyValue>, body: &ResponseBody) {
            match body {
                ResponseBody::Range { kvs, .. } => {
                    known.extend(kvs.iter().map(|kv| (kv.key.clone(), kv.clone())));
                }
                ResponseBody::Put { prev_kv: Some(kv) } => drop(known.insert(kv.key.clone(), kv.clone())),
                ResponseBody::Txn { responses, .. } => responses.iter().for_each(|body| learn(known, body)),
                _ => {}
            }
        }
        if let Ended::Answered(response) = ended {
            learn(self.known(client), &response.body);
        }
    }

    fn after_failed_write(&self) -> Option<Request> {
        Some(Request::Range(RangeRequest::of(KeyRange::prefix(PREFIX))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Dice;

    fn each(ops: &[RequestOp], depth: u32, visit: &mut dyn FnMut(&RequestOp, u32)) {
        for op in ops {
            visit(op, depth);
            if let RequestOp::Txn(txn) = op {
                each(&txn.success, depth + 1, visit);
                each(&txn.failure, depth + 1, visit);
            }
        }
    }

    #[test]
    fn transactions_are_deep_and_sometimes_too_long() {
        let mut nested = Nested::new(&scenario::Workload::default());
        let (mut dice, seen) = (Dice(11), Seen::new(false));
        let (mut depths, mut long, mut puts, mut deletes) = ([0; 5], 0, 0, 0);
        for n in 0..5_000 {
            let Request::Txn(txn) = nested.next(n % 4, &seen, &mut dice) else { continue };
            long += usize::from(txn.success.len() > OPERATIONS_MAX);
            let mut deepest = 1;
            for branch in [&txn.success, &txn.failure] {
                each(branch, 1, &mut |op, depth| {
                    deepest = deepest.max(depth);
                    puts += usize::from(matches!(op, RequestOp::Put(_)));
                    deletes += usize::from(matches!(op, RequestOp::DeleteRange(_)));
                });
            }
            depths[deepest as usize] += 1;
        }
        assert!(depths[1] > 300 && depths[2] > 300 && depths[3] > 300 && depths[4] == 0, "{depths:?}");
        assert!(long > 10, "{long} are too long");
        assert!(puts > 2 * deletes && deletes > 500, "{puts} puts, {deletes} deletes");
    }
}
