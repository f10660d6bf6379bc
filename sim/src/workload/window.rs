//! `watch-window`: writes for watchers that start in the past, in the future and in what is compacted, and that
//! watch one key, some keys or all, puts or deletes only.
//!
//! Out of 100 requests: 6 lists, 6 gets, 46 puts, 22 transactions that put and delete up to four keys in one
//! revision, 14 deletes, and 6 compactions, each up to less than so many revisions before the newest that was seen
//! as the scenario gives for history.

use detcd_replica::api::{
    CompactRequest, DeleteRangeRequest, Key, KeyRange, RangeEnd, RangeRequest, Request, RequestOp, TxnRequest,
};

use super::{choose, get, put, Names, Seen, Workload};
use crate::scenario::{self, Chance};

pub(super) const PREFIX: &[u8] = b"window/";

/// Keys that a transaction writes, at most.
const TXN_KEYS: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    List,
    Get,
    Put,
    Txn,
    Delete,
    Compact,
}

/// Shares of 100.
const SHARES: [(Op, u64); 6] =
    [(Op::List, 6), (Op::Get, 6), (Op::Put, 46), (Op::Txn, 22), (Op::Delete, 14), (Op::Compact, 6)];

fn key(number: u64) -> Key {
    let mut key = PREFIX.to_vec();
    super::digits(number, &mut key);
    key.into()
}

/// What a watch may be of, all keys first.
pub(super) fn ranges(keys: u64) -> Vec<KeyRange> {
    let single = |number: u64| KeyRange::single(key(number % keys));
    let some = KeyRange { start: key(1 % keys), end: RangeEnd::Before([&key(1 % keys)[..], b"\xff"].concat().into()) };
    let from = KeyRange { start: key(2 % keys), end: RangeEnd::Open };
    vec![KeyRange::prefix(PREFIX), single(0), single(1), single(2), some, from]
}

/// The generator.
pub struct Window {
    names: Names,
    keys: u64,
    history: u64,
    all: KeyRange,
}

impl Window {
    /// With the parameters of a scenario.
    pub fn new(parameters: &scenario::Workload) -> Self {
        let (keys, history) = (parameters.keys, parameters.history_revisions);
        Self { names: Names::values(parameters), keys, history, all: KeyRange::prefix(PREFIX) }
    }

    fn number(&self, client: u32, chance: &mut dyn Chance) -> u64 {
        chance.below("workload.key", u64::from(client), self.keys)
    }

    /// Neighbours, each put or deleted.
    fn txn(&mut self, client: u32, chance: &mut dyn Chance) -> TxnRequest {
        let first = self.number(client, chance);
        let count = (1 + chance.below("window.keys", u64::from(client), TXN_KEYS)).min(self.keys);
        let op = |window: &mut Self, number: u64, deletes: bool| {
            let key = key((first + number) % window.keys);
            match deletes {
                true => RequestOp::DeleteRange(DeleteRangeRequest { range: KeyRange::single(key), prev_kv: false }),
                false => RequestOp::Put(put(key, window.names.value(client))),
            }
        };
        let mut success = Vec::new();
        for number in 0..count {
            let deletes = chance.ratio("window.delete", u64::from(client), 1, 4);
            success.push(op(self, number, deletes));
        }
        TxnRequest { compare: Vec::new(), success, failure: Vec::new() }
    }
}

impl Workload for Window {
    fn next(&mut self, client: u32, seen: &Seen, chance: &mut dyn Chance) -> Request {
        let subject = u64::from(client);
        match choose(&SHARES, chance.below("workload.op", subject, 100)) {
            Op::List => Request::Range(RangeRequest::of(self.all.clone())),
            Op::Get => Request::Range(get(key(self.number(client, chance)))),
            Op::Put => Request::Put(put(key(self.number(client, chance)), self.names.value(client))),
            Op::Txn => Request::Txn(self.txn(client, chance)),
            Op::Delete => {
                let range = KeyRange::single(key(self.number(client, chance)));
                Request::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
            }
            Op::Compact => {
                let back = chance.below("workload.history", subject, self.history) as i64;
                Request::Compact(CompactRequest { revision: (seen.revision - back).max(1), physical: false })
            }
        }
    }

    fn after_failed_write(&self) -> Option<Request> {
        Some(Request::Range(RangeRequest::of(self.all.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Dice;

    #[test]
    fn transactions_write_several_keys_once_each() {
        let mut window = Window::new(&scenario::Workload::default());
        let mut dice = Dice(4);
        let mut most = 0;
        for _ in 0..2_000 {
            let Request::Txn(txn) = window.next(1, &Seen::new(false), &mut dice) else { continue };
            let key = |op: &RequestOp| match op {
                RequestOp::Put(put) => put.key.clone(),
                RequestOp::DeleteRange(delete) => delete.range.start.clone(),
                other => panic!("{other:?}"),
            };
            let keys: std::collections::BTreeSet<Key> = txn.success.iter().map(key).collect();
            assert_eq!(keys.len(), txn.success.len());
            most = most.max(keys.len());
        }
        assert_eq!(most as u64, TXN_KEYS);
    }
}
