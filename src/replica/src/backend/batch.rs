//! The backend as the store above it sees it.

use bytes::Bytes;

use crate::mvcc::Batch;

use super::{Backend, Bucket};

impl Batch for Backend {
    fn put(&mut self, bucket: Bucket, key: Bytes, value: Bytes) {
        Self::put(self, bucket, key, value);
    }

    fn delete(&mut self, bucket: Bucket, key: &[u8]) {
        Self::delete(self, bucket, key);
    }

    fn get(&self, bucket: Bucket, key: &[u8]) -> Option<Bytes> {
        Self::get(self, bucket, key)
    }

    fn for_each(&self, bucket: Bucket, from: &[u8], to: Option<&[u8]>, visit: &mut dyn FnMut(&Bytes, &Bytes) -> bool) {
        Self::for_each(self, bucket, from, to, visit);
    }
}
