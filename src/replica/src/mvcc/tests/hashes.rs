//! What compactions leave behind to be compared: their hashes, and what may not be among them.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::Whole;
use crate::api::{DeleteRangeRequest, Error, KeyRange, PutRequest, Revision};
use crate::mvcc::revision::RevisionKey;
use crate::mvcc::{Batch, Bucket, CompactionStep, KeyValueHash};
use crate::{Bug, Bugs};

impl Whole {
    /// So many puts of three keys, compacted at each of `compactions` when it has come there.
    fn with_puts(puts: i64, compactions: &[Revision]) -> Self {
        let mut whole = Self::new(Bugs::NONE);
        for put in 0..puts {
            whole.put(&PutRequest::of(["a", "b", "c"][put as usize % 3], put.to_string()));
            if compactions.contains(&whole.store.revision()) {
                whole.compact(whole.store.revision(), 1000);
            }
        }
        whole
    }

    fn compact(&mut self, revision: Revision, limit: usize) {
        self.store.schedule_compaction(&mut self.batch, revision).expect("a compaction");
        while self.store.compaction_batch(&mut self.batch, limit) != CompactionStep::Idle {}
    }

    fn last(&self) -> KeyValueHash {
        *self.store.hashes().last().expect("a compaction was done")
    }
}

#[test]
fn a_compaction_leaves_the_hash_of_what_it_has_read() {
    let mut whole = Whole::with_puts(20, &[10]);
    let (before, compacted_before) = whole.store.hash_kv(&whole.batch, 15).expect("a hash");
    whole.compact(15, 2);
    let stored = whole.store.hash_by_rev(&whole.batch, 15).expect("a hash");
    assert_eq!((stored.hash, stored.compact_revision, stored.revision), (before, compacted_before, 15));
    assert_eq!(whole.store.hashes().len(), 2);
    // At the newest revision, nothing was compacted.
    let newest = whole.store.hash_by_rev(&whole.batch, 0).expect("a hash");
    assert_eq!((newest.compact_revision, newest.revision), (15, 21));
    assert_eq!(whole.store.hash_by_rev(&whole.batch, 12), Err(Error::Compacted));
    assert_eq!(whole.store.hash_by_rev(&whole.batch, 22), Err(Error::FutureRevision));
}

#[test]
fn a_value_that_changed_shows_in_it() {
    let (sound, mut damaged) = (Whole::with_puts(20, &[10, 20]), Whole::with_puts(20, &[10]));
    let key = RevisionKey::new(15, 0).put_key();
    damaged.batch.put(Bucket::Key, key, Bytes::from_static(b"damage"));
    damaged.compact(20, 3);
    assert_eq!(sound.last().revision, damaged.last().revision);
    assert_ne!(sound.last().hash, damaged.last().hash);
    assert_eq!(sound.store.hashes()[0], damaged.store.hashes()[0]);
}

#[test]
fn ten_are_kept_and_none_that_a_restart_has_cut() {
    let every: Vec<Revision> = (3..28).collect();
    let whole = Whole::with_puts(30, &every);
    let kept: Vec<Revision> = whole.store.hashes().iter().map(|stored| stored.revision).collect();
    assert_eq!(kept, every[every.len() - 10..]);

    let mut cut = Whole::with_puts(20, &[10]);
    cut.store.schedule_compaction(&mut cut.batch, 18).expect("a compaction");
    assert_eq!(cut.store.compaction_batch(&mut cut.batch, 1), CompactionStep::More);
    cut.restore();
    assert!(cut.store.hashes().is_empty());
    while cut.store.compaction_batch(&mut cut.batch, 1) != CompactionStep::Idle {}
    // It has not read everything since the last one, and so its hash is nobody else's.
    assert!(cut.store.hashes().is_empty());
    cut.compact(20, 1000);
    assert_eq!(cut.last(), Whole::with_puts(20, &[10, 18, 20]).last());
}

/// F-08: the same revision is asked for while a compaction that leaves nothing goes on.
#[test]
fn where_no_key_lives_a_hash_does_not_tell_how_far_a_compaction_is() {
    for (bugs, steady) in [(Bugs::NONE, true), (Bugs::NONE.with(Bug::HashCountsRemoved), false)] {
        let mut whole = Whole::new(bugs);
        for key in ["a", "b", "c"] {
            whole.put(&PutRequest::of(key, "1"));
        }
        let everything = KeyRange::prefix("");
        whole.delete(&DeleteRangeRequest { range: everything, prev_kv: false });
        let newest = whole.store.revision();
        whole.store.schedule_compaction(&mut whole.batch, newest).expect("a compaction");
        let mut hashes = BTreeSet::new();
        loop {
            hashes.insert(whole.store.hash_kv(&whole.batch, 0).expect("a hash"));
            if whole.store.compaction_batch(&mut whole.batch, 1) == CompactionStep::Idle {
                break;
            }
        }
        assert_eq!(hashes.len() == 1, steady, "{bugs:?}: {hashes:?}");
    }
}

/// What the compaction has left counts, as in etcd, also when it is gone at the revision asked for.
#[test]
fn where_no_key_lives_what_did_at_the_compaction_counts() {
    let deleted = |compacted: bool| {
        let mut whole = Whole::with_puts(3, &[]);
        if compacted {
            whole.compact(3, 1000);
        }
        whole.delete(&DeleteRangeRequest { range: KeyRange::prefix(""), prev_kv: false });
        whole.store.hash_kv(&whole.batch, 0).expect("a hash").0
    };
    assert_eq!(deleted(false), deleted(true));
}

/// F-08: who has compacted at a delete, after which no key lives, and who has not yet, have the same hash of it.
#[test]
fn where_no_key_lives_a_compaction_has_the_hash_of_who_has_not_compacted() {
    for (bugs, same) in [(Bugs::NONE, true), (Bugs::NONE.with(Bug::HashCountsRemoved), false)] {
        let mut whole = Whole::new(bugs);
        whole.put(&PutRequest::of("a", "1"));
        whole.compact(2, 1000);
        whole.delete(&DeleteRangeRequest { range: KeyRange::single("a"), prev_kv: false });
        let before = whole.store.hash_by_rev(&whole.batch, 3).expect("a hash");
        whole.compact(3, 1000);
        assert_eq!(whole.store.hash_by_rev(&whole.batch, 3) == Ok(before), same, "{bugs:?}");
    }
}
