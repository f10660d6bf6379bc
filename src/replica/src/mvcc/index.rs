//! The key index: the revisions of every key, those that live apart from those that are gone.
//!
//! etcd's `treeIndex` has all in one tree, so that a read of a range passes over every key that was deleted there until
//! a compaction forgets it. Here a read looks at what lives, and at what has died since the revision that it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use super::key_index::KeyIndex;
use super::revision::RevisionKey;
use crate::api::{KeyRange, RangeEnd, Revision};

/// Every key with a revision that is still reachable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Index {
    /// The keys that are there now.
    live: BTreeMap<Bytes, KeyIndex>,
    /// Those that were, and may be read in the past.
    gone: BTreeMap<Bytes, KeyIndex>,
    /// Each of those, after the main revision of its last tombstone.
    deaths: BTreeSet<(Revision, Bytes)>,
}

impl Index {
    /// A key that is there now.
    pub(super) fn live(&self, key: &[u8]) -> Option<&KeyIndex> {
        self.live.get(key)
    }

    /// The same, to be changed.
    pub(super) fn live_mut(&mut self, key: &[u8]) -> Option<&mut KeyIndex> {
        self.live.get_mut(key)
    }

    /// A key that is there now or was.
    pub(super) fn get(&self, key: &[u8]) -> Option<&KeyIndex> {
        self.live.get(key).or_else(|| self.gone.get(key))
    }

    /// The keys of `range` that are there now, in byte order.
    pub(super) fn live_in<'a>(&'a self, range: &KeyRange) -> impl Iterator<Item = (&'a Bytes, &'a KeyIndex)> {
        let start = Bound::Included(&range.start[..]);
        let end = match &range.end {
            RangeEnd::Single => Bound::Included(&range.start[..]),
            RangeEnd::Open => Bound::Unbounded,
            // An end below the start would make the map panic; the range is as empty at its start.
            RangeEnd::Before(end) => Bound::Excluded(end.max(&range.start).as_ref()),
        };
        self.live.range::<[u8], _>((start, end))
    }

    /// The keys of `range` that are there now or died after main revision `at`, in byte order: of all that were there
    /// then, none is missing.
    pub(super) fn since<'a>(&'a self, range: &KeyRange, at: Revision) -> impl Iterator<Item = &'a KeyIndex> {
        let died = self.deaths.range((at + 1, Bytes::new())..).map(|(_, key)| key);
        let mut gone: Vec<&Bytes> = died.filter(|key| range.contains(key)).collect();
        gone.sort_unstable();
        let mut gone = gone.into_iter().map(|key| (key, &self.gone[key])).peekable();
        let mut live = self.live_in(range).peekable();
        let next = move || match (live.peek(), gone.peek()) {
            (Some((live_key, _)), Some((gone_key, _))) if gone_key < live_key => gone.next(),
            (Some(_), _) => live.next(),
            (None, _) => gone.next(),
        };
        std::iter::from_fn(next).map(|(_, index)| index)
    }

    /// All of them, those that live first.
    pub(super) fn values(&self) -> impl Iterator<Item = &KeyIndex> {
        self.live.values().chain(self.gone.values())
    }

    /// A key that is not there now, for a put, which must follow.
    pub(super) fn revive(&mut self, key: &[u8]) -> &mut KeyIndex {
        // Its own bytes: the request's would keep all of the entry in memory, and lie far from the other keys.
        let new = || (Bytes::copy_from_slice(key), KeyIndex::new());
        let (key, index) = self.gone.remove_entry(key).unwrap_or_else(new);
        if let Some(death) = index.last_modified() {
            assert!(self.deaths.remove(&(death.main, key.clone())), "{key:?} died at {death:?}, which nobody knows");
        }
        self.live.entry(key).or_insert(index)
    }

    /// Ends the life of a key, and gives the hash that it had. None, and nothing done, when it is not there now.
    pub(super) fn tombstone(&mut self, key: &[u8], revision: RevisionKey) -> Option<u64> {
        let (key, mut index) = self.live.remove_entry(key)?;
        assert!(index.tombstone(revision), "{key:?} was among those that live");
        let hash = std::mem::take(&mut index.live_hash);
        self.bury(key, index);
        Some(hash)
    }

    /// Adds a key that a backend has, with its oldest revision. It must be new.
    pub(super) fn restore(&mut self, key: &[u8], index: KeyIndex) {
        let key = Bytes::copy_from_slice(key);
        if index.is_live() {
            self.live.insert(key, index);
        } else {
            self.bury(key, index);
        }
    }

    /// Puts a key to those that are gone.
    fn bury(&mut self, key: Bytes, index: KeyIndex) {
        let death = index.last_modified().expect("what is gone has a tombstone").main;
        assert!(self.deaths.insert((death, key.clone())), "{key:?} has died at {death} before");
        self.gone.insert(key, index);
    }

    /// Shows each key to what forgets history, and drops those of which nothing is left.
    pub(super) fn compact(&mut self, mut forget: impl FnMut(&mut KeyIndex)) {
        self.live.values_mut().for_each(&mut forget);
        self.gone.retain(|_, key| {
            forget(key);
            !key.is_empty()
        });
        self.deaths.retain(|(_, key)| self.gone.contains_key(key));
    }
}
