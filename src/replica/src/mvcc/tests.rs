//! The store and the watches against a naive reference: a list of all events ever, and maps replayed from it.

mod history;
mod model;
mod watches;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Batch, Bucket};

/// A backend in a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct MemoryBatch(BTreeMap<(Bucket, Bytes), Bytes>);

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

/// Chance for tests: splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// In one of `n` cases.
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
