//! `mvccpb.KeyValue` as the backend stores it. A tombstone has only its key.

use bytes::Bytes;
use prost::Message;

use crate::api::KeyValue;
use crate::wire::message::mvcc::KeyValue as Stored;

/// The bytes of a put. They are canonical, so equal key-values have equal bytes and equal hashes.
pub(crate) fn encode(kv: &KeyValue) -> Bytes {
    Stored::from(kv).encode_to_vec().into()
}

/// The hash of a live key by the bytes of its put: never 0, which stands for a key that is not live.
pub(crate) fn live_hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes).max(1)
}

/// What the bytes say; `None` when they are not a `KeyValue`.
pub(crate) fn decode(bytes: &Bytes) -> Option<KeyValue> {
    Some(Stored::decode(bytes.clone()).ok()?.into())
}

/// A key-value that says only which key: what a delete stores, and shows with its `mod_revision`.
pub(crate) fn only_key(key: Bytes, mod_revision: i64) -> KeyValue {
    KeyValue { key, create_revision: 0, mod_revision, version: 0, value: Bytes::new(), lease: 0 }
}
