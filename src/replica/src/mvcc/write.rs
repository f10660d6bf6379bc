//! A write transaction: one main revision for all that it writes, a sub revision for each operation.

use bytes::Bytes;

use super::range::RangeResult;
use super::revision::RevisionKey;
use super::{proto, Batch, Bucket, Store};
use crate::api::{Error, Key, KeyRange, KeyValue, LeaseId, RangeRequest, Revision, Value, WatchEvent, WatchEventKind};
use crate::lease::Lessor;
use crate::Bug;

/// Writes in progress. They are visible inside, and become the store's newest revision with
/// [`WriteTxn::end`].
#[must_use = "what was written counts only after end()"]
pub struct WriteTxn<'a> {
    store: &'a mut Store,
    batch: &'a mut dyn Batch,
    lessor: &'a mut Lessor,
    changes: Vec<WatchEvent>,
    /// Bug M-34: a delete that found nothing makes a revision too.
    bumped: bool,
}

impl Store {
    /// Begins a write transaction. Keys are attached to leases, and detached, as they are written.
    pub fn txn<'a>(&'a mut self, batch: &'a mut dyn Batch, lessor: &'a mut Lessor) -> WriteTxn<'a> {
        WriteTxn { store: self, batch, lessor, changes: Vec::new(), bumped: false }
    }
}

impl WriteTxn<'_> {
    /// The newest revision, as a read inside sees it.
    pub fn revision(&self) -> Revision {
        self.store.revision + i64::from(!self.changes.is_empty() || self.bumped)
    }

    /// Where the next operation is written.
    fn next(&self) -> RevisionKey {
        RevisionKey::new(self.store.revision + 1, self.changes.len() as i64)
    }

    /// Reads; sees what the transaction has written.
    ///
    /// # Errors
    /// As [`Store::range`].
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResult, Error> {
        self.store.range_as_of(self.batch, request, self.revision())
    }

    /// Writes a key. Its lease, if any, must exist.
    pub fn put(&mut self, key: Key, value: Value, lease: LeaseId) {
        let revision = self.next();
        let index = match self.store.index.live_mut(&key) {
            Some(index) => index,
            None => self.store.index.revive(&key),
        };
        let old_lease = if index.is_live() { self.lessor.lease_of(&key) } else { 0 };
        index.put(revision);
        let found = index.get(revision.main).expect("it was put just now");
        let kv = KeyValue {
            key,
            create_revision: found.created,
            mod_revision: revision.main,
            version: found.version,
            value,
            lease,
        };
        let bytes = proto::encode(&kv);
        let new = proto::live_hash(&bytes);
        let old = std::mem::replace(&mut index.live_hash, new);
        self.store.rehash(old, new);
        self.batch.put(Bucket::Key, revision.put_key(), bytes);
        if old_lease != lease {
            if old_lease != 0 {
                self.lessor.detach(&kv.key);
            }
            if lease != 0 {
                assert!(self.lessor.attach(lease, &kv.key), "the lease {lease:x} of {:?} is not there", kv.key);
            }
        }
        self.changes.push(WatchEvent { kind: WatchEventKind::Put, kv, prev_kv: None });
    }

    /// Deletes the keys in `range` that are there, and says how many they were.
    pub fn delete_range(&mut self, range: &KeyRange) -> u64 {
        let keys: Vec<Bytes> = self.store.index.live_in(range).map(|(key, _)| key.clone()).collect();
        let deleted = keys.len() as u64;
        self.bumped |= deleted == 0 && self.store.bugs.has(Bug::RevBumpRules);
        for key in keys {
            self.delete(key);
        }
        deleted
    }

    fn delete(&mut self, key: Key) {
        let revision = self.next();
        if self.lessor.lease_of(&key) != 0 {
            self.lessor.detach(&key);
        }
        let old = self.store.index.tombstone(&key, revision).expect("the key was found live just now");
        self.store.rehash(old, 0);
        self.batch.put(Bucket::Key, revision.tombstone_key(), proto::encode(&proto::only_key(key.clone(), 0)));
        let kv = proto::only_key(key, revision.main);
        self.changes.push(WatchEvent { kind: WatchEventKind::Delete, kv, prev_kv: None });
    }

    /// Ends it: if anything was written the store is one revision further. The events of that revision, in
    /// order.
    pub fn end(self) -> Vec<WatchEvent> {
        self.store.revision = self.revision();
        self.changes
    }
}
