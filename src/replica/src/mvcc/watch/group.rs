//! Watchers by what they watch: a map for single keys, a list for ranges. Most watch one key, so finding
//! those of an event is one lookup.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::WatcherId;
use crate::api::{KeyRange, RangeEnd};

/// A group of watchers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Group {
    keys: BTreeMap<Bytes, BTreeSet<WatcherId>>,
    ranges: BTreeMap<WatcherId, KeyRange>,
}

impl Group {
    pub(super) fn insert(&mut self, id: WatcherId, range: &KeyRange) {
        if range.end == RangeEnd::Single {
            self.keys.entry(range.start.clone()).or_default().insert(id);
        } else {
            self.ranges.insert(id, range.clone());
        }
    }

    pub(super) fn remove(&mut self, id: WatcherId, range: &KeyRange) {
        if range.end != RangeEnd::Single {
            self.ranges.remove(&id);
        } else if let Some(watchers) = self.keys.get_mut(&range.start) {
            watchers.remove(&id);
            if watchers.is_empty() {
                self.keys.remove(&range.start);
            }
        }
    }

    pub(super) fn contains(&self, id: WatcherId, range: &KeyRange) -> bool {
        match range.end {
            RangeEnd::Single => self.keys.get(&range.start).is_some_and(|watchers| watchers.contains(&id)),
            _ => self.ranges.contains_key(&id),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }

    /// Those that watch `key`.
    pub(super) fn of_key<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = WatcherId> + 'a {
        let single = self.keys.get(key).into_iter().flatten().copied();
        single.chain(self.ranges.iter().filter(|(_, range)| range.contains(key)).map(|(id, _)| *id))
    }

    /// Takes everybody out.
    pub(super) fn take(&mut self) -> Vec<WatcherId> {
        let group = std::mem::take(self);
        group.keys.into_values().flatten().chain(group.ranges.into_keys()).collect()
    }
}
