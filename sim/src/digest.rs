//! The digest of a run: a chained 128-bit hash over its semantic events.
//!
//! Two runs of one seed must end with the same digest. When they do not, the checkpoints (one number every
//! [`CHECKPOINT_EVENTS`] events) say where the first difference lies. It is fast, and strong against accident, not
//! against somebody who looks for a collision.
//!
//! It does not know which events are semantic; the world folds in what it thinks matters.

use detcd_replica::Rope;
use xxhash_rust::xxh3::{xxh3_128, Xxh3};

/// Events between two checkpoints.
pub const CHECKPOINT_EVENTS: u64 = 1024;

/// The hash so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    low: u64,
    high: u64,
    events: u64,
    checkpoints: Vec<u64>,
}

impl Default for Digest {
    fn default() -> Self {
        Self { low: 0x243f_6a88_85a3_08d3, high: 0x1319_8a2e_0370_7344, events: 0, checkpoints: Vec::new() }
    }
}

impl Digest {
    /// The digest of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins an event: when it happened, of which kind, about whom. What is folded in next belongs to it.
    pub fn event(&mut self, at: u64, kind: u64, subject: u64) {
        if self.events % CHECKPOINT_EVENTS == 0 && self.events > 0 {
            self.checkpoints.push(self.low ^ self.high);
        }
        self.events += 1;
        self.number(at);
        self.number(kind ^ subject.rotate_left(32));
    }

    /// Folds in a number.
    #[inline]
    pub fn number(&mut self, x: u64) {
        self.low = fold(self.low ^ x, 0x9e37_79b9_7f4a_7c15);
        self.high = fold(self.high ^ x.rotate_left(29), 0xd6e8_feb8_6659_fd93).wrapping_add(self.low);
    }

    /// Folds in bytes, and how many they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.hash(bytes.len(), xxh3_128(bytes));
    }

    /// The same, of bytes in pieces: wherever they meet.
    pub fn rope(&mut self, rope: &Rope) {
        let mut pieces = rope.pieces().map(|(_, piece)| piece);
        let hash = match (pieces.next(), pieces.next()) {
            (None, _) => xxh3_128(&[]),
            (Some(only), None) => xxh3_128(only),
            (Some(first), Some(second)) => {
                let mut state = Xxh3::new();
                [first, second].into_iter().chain(pieces).for_each(|piece| state.update(piece));
                state.digest128()
            }
        };
        self.hash(rope.len(), hash);
    }

    fn hash(&mut self, length: usize, hash: u128) {
        self.number(length as u64);
        self.number(hash as u64);
        self.number((hash >> 64) as u64);
    }

    /// The digest.
    pub fn value(&self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    /// How many events it covers.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// A number for each full [`CHECKPOINT_EVENTS`] events that another event followed.
    pub fn checkpoints(&self) -> &[u64] {
        &self.checkpoints
    }

    /// The range of event numbers, from 0, in which this run and another first differ; `None` when they do not.
    pub fn first_difference(&self, other: &Self) -> Option<std::ops::Range<u64>> {
        let pairs = self.checkpoints.iter().zip(&other.checkpoints);
        let same = pairs.take_while(|(left, right)| left == right).count() as u64;
        let equal = self.value() == other.value() && self.events == other.events;
        let start = same * CHECKPOINT_EVENTS;
        (!equal).then(|| start..(start + CHECKPOINT_EVENTS).min(self.events.max(other.events)))
    }
}

/// The 128-bit product, its halves folded together.
#[inline]
fn fold(x: u64, y: u64) -> u64 {
    let product = u128::from(x) * u128::from(y);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn run(events: u64, change_at: Option<u64>) -> Digest {
        let mut digest = Digest::new();
        for i in 0..events {
            digest.event(i * 10, 1, 2);
            digest.bytes(if change_at == Some(i) { b"other" } else { b"same" });
        }
        digest
    }

    #[test]
    fn equal_runs_have_equal_digests() {
        assert_eq!(run(5000, None), run(5000, None));
        assert_eq!(run(5000, None).first_difference(&run(5000, None)), None);
        assert_eq!(run(5000, None).checkpoints().len(), 4);
    }

    #[test]
    fn the_first_difference_is_located() {
        for (at, expect) in [(0, 0..1024), (1023, 0..1024), (1024, 1024..2048), (4999, 4096..5000)] {
            assert_eq!(run(5000, None).first_difference(&run(5000, Some(at))), Some(expect), "at {at}");
        }
        assert_eq!(run(5000, None).first_difference(&run(4999, None)), Some(4096..5000));
        assert_eq!(run(2048, None).first_difference(&run(2049, None)), Some(1024..2048));
    }

    #[test]
    fn order_length_and_every_bit_matter() {
        let mut seen = BTreeSet::new();
        for (bytes, numbers) in
            [(&b"ab"[..], &[1, 2][..]), (b"ab", &[2, 1]), (b"ab\0", &[1, 2]), (b"", &[1, 2]), (b"ab", &[1])]
        {
            let mut digest = Digest::new();
            digest.bytes(bytes);
            numbers.iter().for_each(|&n| digest.number(n));
            assert!(seen.insert(digest.value()));
        }
        for bit in 0..64 {
            let mut digest = Digest::new();
            digest.number(1 << bit);
            assert!(seen.insert(digest.value()), "bit {bit}");
        }
    }
}
