//! The event queue: what happens next, and when.
//!
//! Events come out by time, and those of one time in the order they went in. Putting in and taking out cost O(log n);
//! cancelling costs O(1). In steady state nothing is allocated: payloads lie in a slab whose places are used again.
//!
//! There are two heaps: most events are due within microseconds, and need not sift through the timers of seconds, most
//! of which are cancelled.
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

/// Nanoseconds from the first event that those which are soon may span.
const SOON: u64 = 5_000_000;

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
    /// All that are due before `until`.
    soon: BinaryHeap<Reverse<Entry>>,
    /// All others.
    later: BinaryHeap<Reverse<Entry>>,
    until: u64,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    sequence: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let (soon, later) = (BinaryHeap::new(), BinaryHeap::new());
        Self { soon, later, until: 0, slots: Vec::new(), free: Vec::new(), sequence: 0 }
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
        let heap = if at < self.until { &mut self.soon } else { &mut self.later };
        heap.push(Reverse(Entry::new(at, token)));
        token
    }

    /// Takes the first event out, with its time.
    pub fn pop(&mut self) -> Option<(u64, T)> {
        loop {
            let Some(Reverse(entry)) = self.soon.pop() else {
                if self.go_on() {
                    continue;
                }
                return None;
            };
            if let Some(payload) = self.take(entry.token()) {
                return Some((entry.at(), payload));
            }
        }
    }

    /// When the first event is due.
    pub fn next_time(&mut self) -> Option<u64> {
        loop {
            let Some(Reverse(entry)) = self.soon.peek() else {
                if self.go_on() {
                    continue;
                }
                return None;
            };
            if is_waiting(&self.slots, *entry) {
                return Some(entry.at());
            }
            self.soon.pop();
        }
    }

    /// What was later is soon now. False when nothing waits.
    fn go_on(&mut self) -> bool {
        assert!(self.soon.is_empty(), "time goes on while {} events are due before", self.soon.len());
        while let Some(Reverse(entry)) = self.later.peek().copied() {
            if self.soon.is_empty() {
                self.until = entry.at().saturating_add(SOON);
            } else if entry.at() >= self.until {
                break;
            }
            self.later.pop();
            if is_waiting(&self.slots, entry) {
                self.soon.push(Reverse(entry));
            }
        }
        !self.soon.is_empty()
    }

    /// Takes this event out before its time; `None` when it has happened or was cancelled already.
    pub fn cancel(&mut self, token: Token) -> Option<T> {
        let payload = self.take(token)?;
        // The heaps keep a dead entry until it surfaces; sweep when most are dead, so that memory stays bounded.
        let entries = self.soon.len() + self.later.len();
        if entries > 64 && entries > 2 * self.len() {
            let slots = &self.slots;
            self.soon.retain(|Reverse(entry)| is_waiting(slots, *entry));
            self.later.retain(|Reverse(entry)| is_waiting(slots, *entry));
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
    use crate::testing::draws;
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
        let mut draw = draws(1);
        let (mut queue, mut model) = (Queue::new(), BTreeMap::new());
        let mut tokens = Vec::new();
        for i in 0..20_000u64 {
            match draw(5) {
                0 | 1 => {
                    // Soon, somewhat later, and all over the place.
                    let at = draw(1000) * [1, SOON / 300, 4 * SOON][draw(3) as usize];
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
            let entries = queue.soon.len() + queue.later.len();
            assert!(entries <= 64.max(2 * model.len() + 2), "dead entries pile up");
        }
    }

    #[test]
    fn what_is_later_comes_in_its_turn() {
        let mut draw = draws(7);
        let (mut queue, mut model, mut now) = (Queue::new(), BTreeMap::new(), 0);
        for i in 0..50_000u64 {
            // As in a world: nothing is put in before now. Most is due about where what is soon ends.
            if model.len() < 20 || draw(2) == 0 && model.len() < 60 {
                let at = now.max((now / SOON + draw(3)) * SOON + draw(20));
                queue.push(at, i);
                model.insert((at, i), i);
            } else {
                let expect = model.pop_first().map(|((at, _), i)| (at, i));
                let next = queue.next_time().filter(|_| i % 2 == 0);
                let popped = queue.pop();
                assert_eq!(popped, expect, "event {i}");
                let (at, _) = popped.expect("some wait");
                assert!(next.is_none_or(|next| next == at) && at >= now, "time {at} after {now}");
                now = at;
            }
        }
    }
}
