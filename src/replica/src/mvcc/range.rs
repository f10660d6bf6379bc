//! Reads: through the index to the revision, from the revision to the value.

use super::key_index::Found;
use super::{proto, Batch, Bucket, Store};
use crate::api::{Error, KeyValue, RangeEnd, RangeRequest, ResponseBody, Revision};

/// What a range read finds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RangeResult {
    /// The keys in byte order, at most `limit`.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut some off.
    pub more: bool,
    /// How many there are, whatever the limit.
    pub count: u64,
    /// The store's revision when it was read, for the header.
    pub revision: Revision,
}

impl From<RangeResult> for ResponseBody {
    fn from(result: RangeResult) -> Self {
        Self::Range { kvs: result.kvs, more: result.more, count: result.count }
    }
}

impl Store {
    /// Reads.
    ///
    /// # Errors
    /// `Compacted` below the compaction revision (at it is allowed), `FutureRevision` above the newest.
    pub fn range(&self, batch: &dyn Batch, request: &RangeRequest) -> Result<RangeResult, Error> {
        self.range_as_of(batch, request, self.revision)
    }

    /// Reads when `current` is the newest revision: one more than the store's inside a transaction that has
    /// written.
    pub(super) fn range_as_of(
        &self,
        batch: &dyn Batch,
        request: &RangeRequest,
        current: Revision,
    ) -> Result<RangeResult, Error> {
        let at = self.readable(request.revision, current)?;
        let limit = if request.limit == 0 { u64::MAX } else { request.limit };
        let (mut kvs, mut count) = (Vec::new(), 0);
        let mut take = |found: Found| {
            count += 1;
            if count <= limit && !request.count_only {
                let mut kv = self.load(batch, found);
                if request.keys_only {
                    kv.value.clear();
                }
                kvs.push(kv);
            }
        };
        if request.range.end == RangeEnd::Single {
            // By far the most frequent read: one lookup in the index, one in the backend.
            if let Some(found) = self.index.get(&request.range.start).and_then(|key| key.get(at)) {
                take(found);
            }
        } else {
            self.keys_in(&request.range).filter_map(|(_, key)| key.get(at)).for_each(take);
        }
        let more = !request.count_only && count > limit;
        Ok(RangeResult { kvs, more, count, revision: current })
    }

    /// The key-value that the index points to.
    fn load(&self, batch: &dyn Batch, found: Found) -> KeyValue {
        let bytes = batch.get(Bucket::Key, &found.modified.encode());
        let bytes = bytes.unwrap_or_else(|| panic!("the index has {:?}, the backend does not", found.modified));
        let kv = proto::decode(&bytes).expect("restore has checked every stored key-value");
        assert_eq!(kv.mod_revision, found.modified.main, "mod revision of {:?}", kv.key);
        assert_eq!((kv.create_revision, kv.version), (found.created, found.version), "index of {:?}", kv.key);
        kv
    }
}
