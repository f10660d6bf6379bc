//! The revisions of one key, grouped into its lives: etcd's `keyIndex` with its generations.
//!
//! A generation is one life of the key, from the put that created it to its tombstone. The last generation is
//! the current life; it is empty after a delete. Example: put at 1, put at 2, delete at 3, put at 4 is
//!
//! ```text
//! generations: { 1, 2, 3(t) }, { 4 }
//! ```
//!
//! Compaction at a revision drops every generation that ended before it, and in the generation that holds it
//! every revision before the newest one at or below it. A tombstone at exactly the compaction revision stays
//! until the next compaction, because a watch from there must still see the delete (etcd#18089).

use std::collections::BTreeSet;

use super::revision::RevisionKey;
use crate::{Bug, Bugs};

/// One life of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Generation {
    /// Puts (and the tombstone) since the creation, with those that compaction has dropped.
    version: i64,
    /// Main revision of the put that created it, 0 when that was compacted and only the tombstone is left.
    created: i64,
    /// In order.
    revisions: Vec<RevisionKey>,
}

/// What the index knows of a key at one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Found {
    /// Where its value is.
    pub(crate) modified: RevisionKey,
    /// Main revision of its creation.
    pub(crate) created: i64,
    /// Puts in this life.
    pub(crate) version: i64,
}

/// Every revision of one key that is still reachable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyIndex {
    /// At least one.
    generations: Vec<Generation>,
    /// The key as it is now, if it is there: what nearly every read asks for, without the way through the generations.
    newest: Option<Found>,
    /// Hash of the live key-value; 0 when the key is deleted.
    pub(crate) live_hash: u64,
}

impl KeyIndex {
    /// A key that nothing was written to yet. A put must follow.
    pub(crate) fn new() -> Self {
        Self { generations: vec![Generation::default()], newest: None, live_hash: 0 }
    }

    /// A key whose oldest revision left in the backend is this put.
    pub(crate) fn restored(created: i64, modified: RevisionKey, version: i64) -> Self {
        let newest = Some(Found { modified, created, version });
        Self { generations: vec![Generation { version, created, revisions: vec![modified] }], newest, live_hash: 0 }
    }

    /// A key whose oldest revision left in the backend is a tombstone: nobody knows when that life began
    /// (etcd#19179).
    pub(crate) fn restored_tombstone(modified: RevisionKey) -> Self {
        let ended = Generation { version: 1, created: 0, revisions: vec![modified] };
        Self { generations: vec![ended, Generation::default()], newest: None, live_hash: 0 }
    }

    fn current_mut(&mut self) -> &mut Generation {
        self.generations.last_mut().expect("a key index has a generation")
    }

    /// The newest revision, tombstones included.
    pub(crate) fn last_modified(&self) -> Option<RevisionKey> {
        self.generations.iter().rev().find_map(|generation| generation.revisions.last().copied())
    }

    /// Appends a put.
    pub(crate) fn put(&mut self, revision: RevisionKey) {
        assert!(self.last_modified() < Some(revision), "put at {revision:?} after {:?}", self.last_modified());
        let generation = self.current_mut();
        if generation.revisions.is_empty() {
            generation.created = revision.main;
        }
        generation.version += 1;
        generation.revisions.push(revision);
        self.newest = Some(Found { modified: revision, created: generation.created, version: generation.version });
    }

    /// Ends the current life. False, and nothing done, when there is none.
    pub(crate) fn tombstone(&mut self, revision: RevisionKey) -> bool {
        if !self.is_live() {
            return false;
        }
        self.put(revision);
        self.generations.push(Generation::default());
        self.newest = None;
        true
    }

    /// Whether the key exists now.
    pub(crate) fn is_live(&self) -> bool {
        self.newest.is_some()
    }

    /// Whether nothing of the key is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.generations.len() == 1 && !self.is_live()
    }

    /// The key as of main revision `at`.
    pub(crate) fn get(&self, at: i64) -> Option<Found> {
        if let Some(newest) = self.newest.filter(|newest| newest.modified.main <= at) {
            return Some(newest);
        }
        let newest = self.generations.len() - 1;
        for (place, generation) in self.generations.iter().enumerate().rev() {
            let (Some(first), Some(last)) = (generation.revisions.first(), generation.revisions.last()) else {
                continue;
            };
            // A finished life ends with its tombstone: at or after it the key was absent, until its next
            // life.
            if place != newest && last.main <= at {
                return None;
            }
            if first.main <= at {
                let index = newest_at(&generation.revisions, at).expect("its first revision is not above `at`");
                let later = (generation.revisions.len() - index - 1) as i64;
                return Some(Found {
                    modified: generation.revisions[index],
                    created: generation.created,
                    version: generation.version - later,
                });
            }
        }
        None
    }

    /// The generation that compaction at `at` would start with, and the place of its newest revision not
    /// above `at`.
    fn compaction_point(&self, at: i64) -> (usize, Option<usize>) {
        let newest = self.generations.len() - 1;
        let ends_at_or_after = |generation: &Generation| {
            generation.revisions.last().expect("only the current generation can be empty").main >= at
        };
        let place = self.generations[..newest].iter().position(ends_at_or_after).unwrap_or(newest);
        (place, newest_at(&self.generations[place].revisions, at))
    }

    /// Forgets what compaction at `at` drops, and adds what of it must stay to `keep`: the newest revision not above
    /// `at`, and with a tombstone at `at` what the same transaction has put after it.
    pub(crate) fn compact(&mut self, at: i64, bugs: Bugs, keep: &mut BTreeSet<RevisionKey>) {
        let (place, index) = self.compaction_point(at);
        if let Some(index) = index {
            let revisions = &mut self.generations[place].revisions;
            keep.insert(revisions[index]);
            revisions.drain(..index);
        }
        if !bugs.has(Bug::CompactLosesPutAfterTombstone) {
            let later = self.generations[place..].iter().skip(1).flat_map(|generation| &generation.revisions);
            keep.extend(later.take_while(|revision| revision.main <= at));
        }
        self.generations.drain(..place);
    }

    /// The compaction rule before etcd#18089, to be called after [`KeyIndex::compact`]: the tombstone at `at`
    /// goes too.
    pub(crate) fn drop_tombstone_at(&mut self, at: i64, keep: &mut BTreeSet<RevisionKey>) {
        let oldest = &self.generations[0];
        if let (true, [tombstone]) = (self.generations.len() > 1, &oldest.revisions[..]) {
            if tombstone.main <= at {
                keep.remove(tombstone);
                self.generations.remove(0);
            }
        }
    }

    /// Bug M-35, to be called after [`KeyIndex::compact`]: what is left of a life counts as its beginning.
    pub(crate) fn reset_creation(&mut self) {
        let oldest = &mut self.generations[0];
        if let Some(first) = oldest.revisions.first() {
            (oldest.created, oldest.version) = (first.main, oldest.revisions.len() as i64);
            if let (1, Some(newest)) = (self.generations.len(), &mut self.newest) {
                (newest.created, newest.version) = (self.generations[0].created, self.generations[0].version);
            }
        }
    }

    /// The revision not above `at` that counts for a hash at `at`: as for compaction, but never a tombstone,
    /// because versions before etcd#18089 dropped those and hashes of both must agree.
    ///
    /// Those versions, when `before_18089`, went on from a tombstone at `at` to what its transaction has put after it.
    pub(crate) fn keep(&self, at: i64, before_18089: bool) -> Option<RevisionKey> {
        let (mut place, mut index) = self.compaction_point(at);
        if before_18089 && place + 1 < self.generations.len() {
            let ends_at = self.generations[place].revisions.last().is_some_and(|last| last.main == at);
            if ends_at {
                place += 1;
                index = newest_at(&self.generations[place].revisions, at);
            }
        }
        let (index, revisions) = (index?, &self.generations[place].revisions);
        let is_tombstone = place != self.generations.len() - 1 && index == revisions.len() - 1;
        (!is_tombstone).then(|| revisions[index])
    }
}

/// Place of the newest revision whose main is not above `at`.
fn newest_at(revisions: &[RevisionKey], at: i64) -> Option<usize> {
    // Nearly every read is of the present, or of what was there before the newest change: look at the end first.
    let near = revisions.len().saturating_sub(3);
    let (old, new) = revisions.split_at(near);
    let later = new.iter().rev().position(|revision| revision.main <= at);
    later.map(|later| revisions.len() - 1 - later).or_else(|| {
        let until = old.partition_point(|revision| revision.main <= at);
        until.checked_sub(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `p2 p4 t6 …`: puts and tombstones at these main revisions.
    fn key(history: &str) -> KeyIndex {
        let mut index = KeyIndex::new();
        for word in history.split_whitespace() {
            let revision = RevisionKey::new(word[1..].parse().unwrap(), 0);
            match &word[..1] {
                "p" => index.put(revision),
                _ => assert!(index.tombstone(revision), "{history}"),
            }
        }
        index
    }

    fn show(index: &KeyIndex) -> String {
        let one = |generation: &Generation| {
            let revisions: Vec<_> = generation.revisions.iter().map(|revision| revision.main.to_string()).collect();
            format!("{{{}}}", revisions.join(","))
        };
        index.generations.iter().map(one).collect::<Vec<_>>().join("")
    }

    #[test]
    fn get_finds_the_life_and_its_version() {
        let index = key("p2 p4 t6 p8 p10 t12 p14");
        // (at, modified, created, version); modified 0: absent.
        for (at, modified, created, version) in [
            (1, 0, 0, 0),
            (2, 2, 2, 1),
            (3, 2, 2, 1),
            (4, 4, 2, 2),
            (5, 4, 2, 2),
            (6, 0, 0, 0),
            (7, 0, 0, 0),
            (8, 8, 8, 1),
            (11, 10, 8, 2),
            (12, 0, 0, 0),
            (13, 0, 0, 0),
            (14, 14, 14, 1),
            (99, 14, 14, 1),
        ] {
            let found = index.get(at);
            let expected = (modified != 0).then(|| Found { modified: RevisionKey::new(modified, 0), created, version });
            assert_eq!(found, expected, "at {at}");
        }
    }

    #[test]
    fn compaction_keeps_what_the_rule_says() {
        // etcd's documented example, with the rule of etcd#18089: compact(5) keeps the tombstone at 5.
        let history = "p1 p2 p3 t5 p8 t9 p10";
        for (at, left, kept, hashed) in [
            (0, "{1,2,3,5}{8,9}{10}", "", None),
            (1, "{1,2,3,5}{8,9}{10}", "1", Some(1)),
            (2, "{2,3,5}{8,9}{10}", "2", Some(2)),
            (4, "{3,5}{8,9}{10}", "3", Some(3)),
            (5, "{5}{8,9}{10}", "5", None),
            (6, "{8,9}{10}", "", None),
            (8, "{8,9}{10}", "8", Some(8)),
            (9, "{9}{10}", "9", None),
            (10, "{10}", "10", Some(10)),
            (11, "{10}", "10", Some(10)),
        ] {
            let mut index = key(history);
            assert_eq!(index.keep(at, false).map(|revision| revision.main), hashed, "hash at {at}");
            let mut keep = BTreeSet::new();
            index.compact(at, Bugs::NONE, &mut keep);
            assert_eq!(show(&index), left, "compact at {at}");
            let keep: Vec<_> = keep.iter().map(|revision| revision.main.to_string()).collect();
            assert_eq!(keep.join(","), kept, "compact at {at}");
        }
    }

    #[test]
    fn a_key_deleted_and_put_again_in_the_compacted_revision_stays() {
        let deleted = |sub| RevisionKey { main: 3, sub };
        let index = || {
            let mut index = key("p2");
            index.tombstone(deleted(0));
            index.put(deleted(1));
            index
        };
        let buggy = Bugs::NONE.with(Bug::CompactLosesPutAfterTombstone);
        for (bugs, kept) in [(Bugs::NONE, vec![deleted(0), deleted(1)]), (buggy, vec![deleted(0)])] {
            assert_eq!((index().keep(3, false), index().keep(3, true)), (None, Some(deleted(1))));
            let (mut index, mut keep) = (index(), BTreeSet::new());
            index.compact(3, bugs, &mut keep);
            assert_eq!(keep.into_iter().collect::<Vec<_>>(), kept);
            assert_eq!(index.get(3).map(|found| found.modified), Some(deleted(1)), "the index has it in any case");
        }
    }

    #[test]
    fn compaction_resets_neither_creation_nor_version() {
        let mut index = key("p2 p3 p4");
        index.compact(4, Bugs::NONE, &mut BTreeSet::new());
        assert_eq!(index.get(4), Some(Found { modified: RevisionKey::new(4, 0), created: 2, version: 3 }));
    }

    #[test]
    fn a_lone_tombstone_goes_with_the_next_compaction() {
        let mut index = KeyIndex::restored_tombstone(RevisionKey::new(5, 0));
        assert_eq!((index.is_live(), index.is_empty(), index.get(5)), (false, false, None));
        let mut keep = BTreeSet::new();
        index.compact(5, Bugs::NONE, &mut keep);
        assert_eq!((keep.len(), index.is_empty()), (1, false));
        index.compact(6, Bugs::NONE, &mut BTreeSet::new());
        assert!(index.is_empty());
    }

    #[test]
    fn a_deleted_key_cannot_be_deleted() {
        let mut index = key("p2 t3");
        assert!(!index.tombstone(RevisionKey::new(4, 0)));
        assert_eq!(show(&index), "{2,3}{}");
    }
}
