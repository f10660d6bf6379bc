//! The event queue: what happens next, and when.
//!
//! Events come out by time, and those of one time in the order they went in. Putting in and taking out cost O(log n);
//! cancelling costs O(1). In steady state nothing is allocated: payloads lie in a slab whose places are used again.
//!
//! It knows nothing of what the events are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Names one event in the queue, for cancelling. It is never mistaken for a later event in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Counts events: first in, first out.
    sequence: u64,
    slot: u32,
}

/// Bits of a number that names a slot; the rest of 64 counts events. A run of a trillion events would take weeks.
const SLOT_BITS: u32 = 24;

/// Time, sequence and slot as one number, from the highest bits to the lowest: a heap does little but compare and move.
/// No two entries compare alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u128);

impl Entry {
    fn new(at: u64, Token { sequence, slot }: Token) -> Self {
        Self(u128::from(at) << 64 | u128::from(sequence << SLOT_BITS | u64::from(slot)))
    }

    fn at(self) -> u64 {
        (self.0 >> 64) as u64
    }

    fn token(self) -> Token {
        let low = self.0 as u64;
        Token { sequence: low >> SLOT_BITS, slot: (low & ((1 << SLOT_BITS) - 1)) as u32 }
    }
}

struct Slot<T> {
    /// Of the event that lies here, or lay here last.
    sequence: u64,
    payload: Option<T>,
}

/// Events in order of time.
pub struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry>>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    sequence: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), sequence: 0 }
    }
}

impl<T> Queue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts an event in, due at this time in nanoseconds.
    ///
    /// # Panics
    /// If 16 million events wait, or a trillion have come.
    pub fn push(&mut self, at: u64, payload: T) -> Token {
        let sequence = self.sequence;
        self.sequence += 1;
        assert!(sequence < 1 << (u64::BITS - SLOT_BITS), "there have been {sequence} events");
        let filled = Slot { sequence, payload: Some(payload) };
        let slot = match self.free.pop() {
            Some(slot) => {
                let place = &mut self.slots[slot as usize];
                assert!(place.payload.is_none(), "slot {slot} is free but holds an event");
                *place = filled;
                slot
            }
            None => {
                assert!(self.slots.len() < 1 << SLOT_BITS, "{} events wait", self.slots.len());
                self.slots.push(filled);
                self.slots.len() as u32 - 1
            }
        };
        let token = Token { sequence, slot };
        self.heap.push(Reverse(Entry::new(at, token)));
        token
    }

    /// Takes the first event out, with its time.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        while let Some(Reverse(entry)) = self.heap.pop() {
            if let Some(payload) = self.take(entry.token()) {
                return Some((entry.at(), payload));
            }
        }
        None
    }

    /// When the first event is due.
    pub fn next_time(&mut self) -> Option<u64> {
        while let Some(Reverse(entry)) = self.heap.peek() {
            if is_waiting(&self.slots, *entry) {
                return Some(entry.at());
            }
            self.heap.pop();
        }
        None
    }

    /// Takes this event out before its time; `None` when it has happened or was cancelled already.
    pub fn cancel(&mut self, token: Token) -> Option<T> {
        let payload = self.take(token)?;
        // The heap keeps a dead entry until it surfaces; sweep when most are dead, so that memory stays bounded.
        if self.heap.len() > 64 && self.heap.len() > 2 * self.len() {
            let slots = &self.slots;
            self.heap.retain(|Reverse(entry)| is_waiting(slots, *entry));
        }
        Some(payload)
    }

    fn take(&mut self, token: Token) -> Option<T> {
        let place = self.slots.get_mut(token.slot as usize).filter(|place| place.sequence == token.sequence)?;
        let payload = place.payload.take()?;
        self.free.push(token.slot);
        Some(payload)
    }
}

fn is_waiting<T>(slots: &[Slot<T>], entry: Entry) -> bool {
    let Token { sequence, slot } = entry.token();
    let place = &slots[slot as usize];
    place.sequence == sequence && place.payload.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn events_of_one_time_keep_their_order() {
        let mut queue = Queue::new();
        for i in 0..100 {
            queue.push(if i % 2 == 0 { 5 } else { 3 }, i);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        let odd = (0..100).filter(|i| i % 2 == 1).map(|i| (3, i));
        let expect: Vec<_> = odd.chain((0..100).filter(|i| i % 2 == 0).map(|i| (5, i))).collect();
        assert_eq!(order, expect);
    }

    #[test]
    fn it_agrees_with_a_sorted_map_under_random_use() {
        let mut random = 1u64;
        let mut draw = move |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        let (mut queue, mut model) = (Queue::new(), BTreeMap::new());
        let mut tokens = Vec::new();
        for i in 0..20_000u64 {
            match draw(5) {
                0 | 1 => {
                    let at = draw(1000);
                    tokens.push((queue.push(at, i), (at, i)));
                    model.insert((at, i), i);
                }
                2 | 3 if !tokens.is_empty() => {
                    let (token, key) = tokens[draw(tokens.len() as u64) as usize];
                    assert_eq!(queue.cancel(token), model.remove(&key));
                }
                _ => {
                    assert_eq!(queue.next_time(), model.keys().next().map(|key| key.0));
                    let expect = model.pop_first().map(|((at, _), i)| (at, i));
                    assert_eq!(queue.pop(), expect);
                }
            }
            assert_eq!((queue.len(), queue.is_empty()), (model.len(), model.is_empty()));
            assert!(queue.heap.len() <= 64.max(2 * model.len() + 2), "dead entries pile up");
        }
    }
}
