//! Watchers by what they watch: a map for single keys, a sorted list for ranges. Most watch one key, so finding those
//! of an event is one lookup; of ranges only those are looked at that begin before the key and may reach it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::WatcherId;
use crate::api::{KeyRange, RangeEnd};

/// A group of watchers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Group {
    keys: BTreeMap<Bytes, BTreeSet<WatcherId>>,
    /// In order of their ranges.
    ranges: Vec<Ranged>,
}

/// Those that watch one range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Ranged {
    range: KeyRange,
    /// The furthest end of this range and those before it.
    reach: RangeEnd,
    watchers: BTreeSet<WatcherId>,
}

impl Group {
    pub(super) fn insert(&mut self, id: WatcherId, range: &KeyRange) {
        if range.end == RangeEnd::Single {
            self.keys.entry(range.start.clone()).or_default().insert(id);
            return;
        }
        match self.place(range) {
            Ok(place) => drop(self.ranges[place].watchers.insert(id)),
            Err(place) => {
                let (range, watchers) = (range.clone(), BTreeSet::from([id]));
                self.ranges.insert(place, Ranged { reach: range.end.clone(), range, watchers });
                self.reach_from(place);
            }
        }
    }

    pub(super) fn remove(&mut self, id: WatcherId, range: &KeyRange) {
        if range.end != RangeEnd::Single {
            let Ok(place) = self.place(range) else { return };
            self.ranges[place].watchers.remove(&id);
            if self.ranges[place].watchers.is_empty() {
                self.ranges.remove(place);
                self.reach_from(place);
            }
        } else if let Some(watchers) = self.keys.get_mut(&range.start) {
            watchers.remove(&id);
            if watchers.is_empty() {
                self.keys.remove(&range.start);
            }
        }
    }

    pub(super) fn contains(&self, id: WatcherId, range: &KeyRange) -> bool {
        let watchers = match range.end {
            RangeEnd::Single => self.keys.get(&range.start),
            _ => self.place(range).ok().map(|place| &self.ranges[place].watchers),
        };
        watchers.is_some_and(|watchers| watchers.contains(&id))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }

    /// Those that watch `key`, in no certain order.
    pub(super) fn of_key<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = WatcherId> + 'a {
        let single = self.keys.get(key).into_iter().flatten();
        let begun = self.ranges.partition_point(|ranged| ranged.range.start[..] <= *key);
        let reaching = self.ranges[..begun].iter().rev().take_while(|ranged| is_behind(&ranged.reach, key));
        let ranged = reaching.filter(|ranged| ranged.range.contains(key)).flat_map(|ranged| &ranged.watchers);
        single.chain(ranged).copied()
    }

    /// Takes everybody out: those of single keys by key, then the others by id.
    pub(super) fn take(&mut self) -> Vec<WatcherId> {
        let group = std::mem::take(self);
        let ranged: BTreeSet<WatcherId> = group.ranges.into_iter().flat_map(|ranged| ranged.watchers).collect();
        group.keys.into_values().flatten().chain(ranged).collect()
    }

    fn place(&self, range: &KeyRange) -> Result<usize, usize> {
        self.ranges.binary_search_by(|ranged| ranged.range.cmp(range))
    }

    /// The list has changed at this place: how far everything from there on reaches.
    fn reach_from(&mut self, place: usize) {
        for place in place..self.ranges.len() {
            let own = &self.ranges[place].range.end;
            let before = place.checked_sub(1).map(|before| &self.ranges[before].reach);
            self.ranges[place].reach = before.filter(|before| !is_nearer(before, own)).unwrap_or(own).clone();
        }
    }
}

/// Whether the end of a range is behind a key.
fn is_behind(end: &RangeEnd, key: &[u8]) -> bool {
    match end {
        RangeEnd::Open => true,
        RangeEnd::Before(end) => end[..] > *key,
        RangeEnd::Single => unreachable!("a single key is no range"),
    }
}

/// Whether one end comes before another.
fn is_nearer(end: &RangeEnd, other: &RangeEnd) -> bool {
    match (end, other) {
        (RangeEnd::Before(end), RangeEnd::Before(other)) => end < other,
        (end, other) => *end != RangeEnd::Open && *other == RangeEnd::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{StreamId, WatchId};
    use crate::mvcc::tests::Dice;

    /// Beside a list that is looked through.
    #[test]
    fn those_of_a_key_are_those_whose_ranges_contain_it() {
        let mut dice = Dice(7);
        let key =
            |dice: &mut Dice| Bytes::from((0..=dice.below(3)).map(|_| b'a' + dice.below(3) as u8).collect::<Vec<u8>>());
        for _ in 0..200 {
            let (mut group, mut list) = (Group::default(), Vec::<(WatcherId, KeyRange)>::new());
            for number in 0..60 {
                if dice.one_in(4) && !list.is_empty() {
                    let (id, range) = list.swap_remove(dice.below(list.len() as u64) as usize);
                    assert!(group.contains(id, &range));
                    group.remove(id, &range);
                    assert!(!group.contains(id, &range));
                } else {
                    let end = match dice.below(6) {
                        0 => RangeEnd::Single,
                        1 => RangeEnd::Open,
                        _ => RangeEnd::Before(key(&mut dice)),
                    };
                    let (id, range) = ((StreamId(1), WatchId(number)), KeyRange { start: key(&mut dice), end });
                    group.insert(id, &range);
                    list.push((id, range));
                }
                let key = key(&mut dice);
                let found: BTreeSet<WatcherId> = group.of_key(&key).collect();
                let expect: BTreeSet<WatcherId> =
                    list.iter().filter(|(_, range)| range.contains(&key)).map(|(id, _)| *id).collect();
                assert_eq!(found, expect, "{key:?} in {list:?}");
            }
            let mut all: Vec<WatcherId> = list.iter().map(|(id, _)| *id).collect();
            let mut taken = group.take();
            all.sort_unstable();
            taken.sort_unstable();
            assert_eq!((taken, group.is_empty()), (all, true));
        }
    }
}
