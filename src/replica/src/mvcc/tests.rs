//! The store and the watches against a naive reference: a list of all events ever, and maps replayed from it.

mod hashes;
mod history;
mod model;
mod watches;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Applied, Batch, Bucket, Parts, Reads, Store};
use crate::api::{DeleteRangeRequest, PutRequest, TxnRequest};
use crate::lease::Lessor;
use crate::time::Monotonic;
use crate::{Bugs, Config, MemberId};

/// A backend in a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryBatch(BTreeMap<(Bucket, Bytes), Bytes>);

impl MemoryBatch {
    pub(crate) fn pairs(&self, bucket: Bucket) -> impl Iterator<Item = (Bytes, Bytes)> + '_ {
        self.0.iter().filter(move |((of, _), _)| *of == bucket).map(|((_, key), value)| (key.clone(), value.clone()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Batch for MemoryBatch {
    fn put(&mut self, bucket: Bucket, key: Bytes, value: Bytes) {
        self.0.insert((bucket, key), value);
    }

    fn delete(&mut self, bucket: Bucket, key: &[u8]) {
        self.0.remove(&(bucket, Bytes::copy_from_slice(key)));
    }

    fn get(&self, bucket: Bucket, key: &[u8]) -> Option<Bytes> {
        self.0.get(&(bucket, Bytes::copy_from_slice(key))).cloned()
    }

    fn for_each(&self, bucket: Bucket, from: &[u8], to: Option<&[u8]>, visit: &mut dyn FnMut(&Bytes, &Bytes) -> bool) {
        for ((_, key), value) in
            self.0.range((bucket, Bytes::copy_from_slice(from))..).take_while(|(k, _)| k.0 == bucket)
        {
            if to.is_some_and(|to| key >= to) || !visit(key, value) {
                return;
            }
        }
    }
}

/// A store with all that it is applied to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Whole {
    store: Store,
    batch: MemoryBatch,
    lessor: Lessor,
}

impl Whole {
    fn new(bugs: Bugs) -> Self {
        let config = Config { bugs, ..Config::etcd(MemberId(1), vec![MemberId(1)]) };
        Self { store: Store::new(bugs), batch: MemoryBatch::default(), lessor: Lessor::new(&config) }
    }

    fn parts(&mut self) -> (&mut Store, Parts<'_>) {
        let parts = Parts { batch: &mut self.batch, lessor: &mut self.lessor, now: Monotonic(0) };
        (&mut self.store, parts)
    }

    fn txn(&mut self, request: &TxnRequest, reads: Reads) -> Applied {
        let (store, parts) = self.parts();
        store.apply_txn(parts, request, reads)
    }

    fn put(&mut self, request: &PutRequest) -> Applied {
        let (store, parts) = self.parts();
        store.apply_put(parts, request)
    }

    fn delete(&mut self, request: &DeleteRangeRequest) -> Applied {
        let (store, parts) = self.parts();
        store.apply_delete_range(parts, request)
    }

    /// A restart.
    fn restore(&mut self) {
        let config = Config { bugs: self.store.bugs, ..Config::etcd(MemberId(1), vec![MemberId(1)]) };
        self.lessor = Lessor::restore(&self.batch, &config).expect("sound");
        self.store = Store::restore(&self.batch, &mut self.lessor, self.store.bugs).expect("sound");
    }
}

/// Chance for tests: splitmix64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// In one of `n` cases.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
