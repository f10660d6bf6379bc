//! A look into a member from outside, for tools that open its data dir: nobody asks, so nobody's rights are checked.

use bytes::Bytes;

use crate::api::{Error, RangeRequest, Revision};
use crate::mvcc::{Bucket, RangeResult};

use super::Replica;

impl Replica {
    /// Reads keys as a serializable range does.
    ///
    /// # Errors
    /// As those of the range.
    pub fn look(&self, request: &RangeRequest) -> Result<RangeResult, Error> {
        self.store.range(&self.backend, request)
    }

    /// HashKV at a revision (0: the newest), and the compaction revision it was taken at.
    ///
    /// # Errors
    /// The revision is compacted, or does not exist yet.
    pub fn look_hash(&self, revision: Revision) -> Result<(u32, Revision), Error> {
        self.store.hash_kv(&self.backend, revision)
    }

    /// The pairs of a bucket in byte order, those of the open batch included.
    pub fn look_bucket(&self, bucket: Bucket) -> Vec<(Bytes, Bytes)> {
        let mut pairs = Vec::new();
        self.backend.for_each(bucket, b"", None, &mut |key, value| {
            pairs.push((key.clone(), value.clone()));
            true
        });
        pairs
    }
}
