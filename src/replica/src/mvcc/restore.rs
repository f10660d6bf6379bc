//! A store from what a backend holds: after a restart, or when a snapshot replaced the database.

use super::key_index::KeyIndex;
use super::revision::RevisionKey;
use super::store::{ScheduledCompaction, FINISHED_COMPACT, SCHEDULED_COMPACT};
use super::{proto, Batch, Bucket, Store};
use crate::api::{Key, LeaseId, Revision};
use crate::lease::Lessor;
use crate::{Bug, Bugs};

use std::collections::BTreeMap;

use bytes::Bytes;

impl Store {
    /// Reads every revision in the backend into the index, attaches keys to their leases, and takes up a compaction
    /// that was not finished. A key whose lease is not there stays, attached to nothing, as in etcd.
    ///
    /// # Errors
    /// What in the backend cannot be read, in one sentence.
    pub fn restore(batch: &dyn Batch, lessor: &mut Lessor, bugs: Bugs) -> Result<Self, String> {
        let mut store = Self::new(bugs);
        let mut attached = BTreeMap::new();
        store.compact_revision = meta_revision(batch, FINISHED_COMPACT)?.unwrap_or(-1);
        let scheduled = meta_revision(batch, SCHEDULED_COMPACT)?.unwrap_or(0);

        let mut outcome = Ok(());
        batch.for_each(Bucket::Key, &[], None, &mut |key, value| {
            outcome = store.restore_revision(key, value, &mut attached);
            outcome.is_ok()
        });
        outcome?;
        for (key, lease) in &attached {
            lessor.attach(*lease, key);
        }

        // A compaction may have removed the newest revisions: its own revision is then all that is left to
        // know them by.
        if !bugs.has(Bug::RestartCurLtCompact) {
            store.revision = store.revision.max(store.compact_revision);
            if !bugs.has(Bug::RestoreRevIgnoresScheduled) {
                store.revision = store.revision.max(scheduled);
            }
        }
        // Above the revision it would be refused, as etcd refuses it: that only happens with the bug.
        if scheduled > store.compact_revision && scheduled <= store.revision && scheduled > 0 {
            let previous = std::mem::replace(&mut store.compact_revision, scheduled);
            let cut = ScheduledCompaction { revision: scheduled, previous, follows_done: false };
            store.scheduled.push_back(cut);
        }
        Ok(store)
    }

    /// Adds one pair of the key bucket. They come in the order of history.
    fn restore_revision(
        &mut self,
        key: &Bytes,
        value: &Bytes,
        attached: &mut BTreeMap<Key, LeaseId>,
    ) -> Result<(), String> {
        let (revision, tombstone) =
            RevisionKey::decode(key).ok_or_else(|| format!("bucket key: {key:?} is not a revision"))?;
        let at = || format!("bucket key, revision {}_{}", revision.main, revision.sub);
        let kv = proto::decode(value).ok_or_else(|| format!("{}: the value is not a KeyValue", at()))?;
        let sound = tombstone || (kv.mod_revision == revision.main && kv.create_revision <= revision.main);
        if !sound || kv.key.is_empty() {
            return Err(format!("{}: the value belongs to another revision", at()));
        }
        self.revision = self.revision.max(revision.main);
        if kv.lease != 0 {
            attached.insert(kv.key.clone(), kv.lease);
        } else if !attached.is_empty() {
            attached.remove(&kv.key);
        }

        let new = if tombstone { 0 } else { proto::live_hash(value) };
        let old = match self.index.get(&kv.key) {
            Some(index) if index.last_modified() >= Some(revision) => {
                return Err(format!("{}: it is there twice", at()));
            }
            Some(_) if tombstone => match self.index.tombstone(&kv.key, revision) {
                Some(old) => old,
                None => return Err(format!("{}: deletes a key that is not there", at())),
            },
            Some(_) => {
                let index = match self.index.live_mut(&kv.key) {
                    Some(index) => index,
                    None => self.index.revive(&kv.key),
                };
                index.put(revision);
                std::mem::replace(&mut index.live_hash, new)
            }
            // Nobody knows when that life began, but its end may be watched, and compacted away again (etcd#19179).
            None if tombstone && self.bugs.has(Bug::RestoreSkipsLoneTombstone) => 0,
            None => {
                let mut index = match tombstone {
                    true => KeyIndex::restored_tombstone(revision),
                    false => KeyIndex::restored(kv.create_revision, revision, kv.version),
                };
                index.live_hash = new;
                self.index.restore(&kv.key, index);
                0
            }
        };
        self.rehash(old, new);
        Ok(())
    }
}

/// A compaction revision of the meta bucket.
fn meta_revision(batch: &dyn Batch, key: &[u8]) -> Result<Option<Revision>, String> {
    let Some(bytes) = batch.get(Bucket::Meta, key) else {
        return Ok(None);
    };
    match RevisionKey::decode(&bytes) {
        Some((revision, false)) => Ok(Some(revision.main)),
        _ => Err(format!("bucket meta: {} is not a revision", String::from_utf8_lossy(key))),
    }
}
