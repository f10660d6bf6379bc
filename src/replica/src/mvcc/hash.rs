//! Hashes of the key space, which members compare: of everything up to a revision, and of what each compaction has
//! read.
//!
//! Members that applied the same entries agree on a hash at the same revision and the same compaction revision, however
//! far their compactions have come. etcd's do not where no key lives: F-08.

use std::collections::BTreeSet;

use super::revision::RevisionKey;
use super::{Batch, Bucket, Store};
use crate::api::{Error, Revision};
use crate::Bug;

/// Hashes of compactions that are kept (`hashStorageMaxSize`).
const KEPT: usize = 10;

/// etcd's `KeyValueHash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyValueHash {
    /// CRC-32C.
    pub hash: u32,
    /// Up to this revision.
    pub revision: Revision,
    /// With history down to this one; -1 with all of it.
    pub compact_revision: Revision,
}

/// etcd's `kvHasher`: takes the pairs of the key bucket in their order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hasher {
    crc: u32,
    revision: Revision,
    compact_revision: Revision,
}

impl Hasher {
    pub(super) fn new(compact_revision: Revision, revision: Revision) -> Self {
        Self { crc: crc32c::crc32c(Bucket::Key.name().as_bytes()), revision, compact_revision }
    }

    /// A pair that is not above the hash's revision; `keep` is what a compaction leaves of the history below, and
    /// without it all that is there counts.
    pub(super) fn write(&mut self, keep: Option<&BTreeSet<RevisionKey>>, key: &[u8], value: &[u8]) {
        let (at, tombstone) = RevisionKey::decode(key).expect("restore has checked every revision");
        let compacted = at.main <= self.compact_revision;
        let doomed = compacted && keep.is_some_and(|keep| !keep.contains(&at));
        // Old versions removed a tombstone at the compaction revision, and must come to the same hash.
        let disputed = tombstone && at.main == self.compact_revision;
        if !doomed && !disputed {
            self.crc = crc32c::crc32c_append(crc32c::crc32c_append(self.crc, key), value);
        }
    }

    pub(super) fn end(&self) -> KeyValueHash {
        KeyValueHash { hash: self.crc, revision: self.revision, compact_revision: self.compact_revision }
    }
}

impl Store {
    /// etcd's `HashKV`: CRC-32C over every revision up to `revision` (0: the newest) that a compaction would leave, and
    /// the compaction revision it was taken at.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`.
    pub fn hash_kv(&self, batch: &dyn Batch, revision: Revision) -> Result<(u32, Revision), Error> {
        let revision = self.readable(revision, self.revision)?;
        let before_18089 = self.bugs.has(Bug::CompactDropsTombstoneAtRev);
        let kept = |at| self.index.values().filter_map(|key| key.keep(at, before_18089)).collect::<BTreeSet<_>>();
        // Where no key lives, etcd hashes all that is there. So it is here, when the compaction is done with it.
        let keep = match kept(revision) {
            none if none.is_empty() => (!self.bugs.has(Bug::HashCountsRemoved)).then(|| kept(self.compact_revision)),
            keep => Some(keep),
        };
        let mut hasher = Hasher::new(self.compact_revision, revision);
        let to = (revision + 1).to_be_bytes();
        batch.for_each(Bucket::Key, &[], Some(&to), &mut |key, value| {
            hasher.write(keep.as_ref(), key, value);
            true
        });
        let KeyValueHash { hash, compact_revision, .. } = hasher.end();
        Ok((hash, compact_revision))
    }

    /// etcd's `HashByRev`: what a compaction at `revision` has come to, if one did, with the compaction revision before
    /// it; otherwise as [`Store::hash_kv`].
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`.
    pub fn hash_by_rev(&self, batch: &dyn Batch, revision: Revision) -> Result<KeyValueHash, Error> {
        if let Some(stored) = self.hashes.iter().find(|stored| stored.revision == revision) {
            return Ok(*stored);
        }
        let (hash, compact_revision) = self.hash_kv(batch, revision)?;
        let revision = if revision <= 0 { self.revision } else { revision };
        Ok(KeyValueHash { hash, revision, compact_revision })
    }

    /// What the last compactions have come to, the oldest first.
    pub fn hashes(&self) -> &[KeyValueHash] {
        &self.hashes
    }

    /// The same, for a store that takes the place of this one: a database was installed, the history is the same.
    pub fn keep_hashes(&mut self, hashes: Vec<KeyValueHash>) {
        self.hashes = hashes;
    }

    pub(super) fn store_hash(&mut self, hash: KeyValueHash) {
        self.hashes.push(hash);
        self.hashes.sort_by_key(|stored| stored.revision);
        let more = self.hashes.len().saturating_sub(KEPT);
        self.hashes.drain(..more);
    }
}
