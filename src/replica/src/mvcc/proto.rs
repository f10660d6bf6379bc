//! `mvccpb.KeyValue` as the backend stores it.

use bytes::Bytes;
use prost::Message;

use crate::api::KeyValue;

/// The stored form. A tombstone has only its key.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredKeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) key: Bytes,
    #[prost(int64, tag = "2")]
    pub(crate) create_revision: i64,
    #[prost(int64, tag = "3")]
    pub(crate) mod_revision: i64,
    #[prost(int64, tag = "4")]
    pub(crate) version: i64,
    #[prost(bytes = "bytes", tag = "5")]
    pub(crate) value: Bytes,
    #[prost(int64, tag = "6")]
    pub(crate) lease: i64,
}

/// The bytes of a put. They are canonical, so equal key-values have equal bytes and equal hashes.
pub(crate) fn encode(kv: &KeyValue) -> Bytes {
    let stored = StoredKeyValue {
        key: kv.key.clone(),
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value.clone(),
        lease: kv.lease,
    };
    stored.encode_to_vec().into()
}

/// The hash of a live key by the bytes of its put: never 0, which stands for a key that is not live.
pub(crate) fn live_hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes).max(1)
}

/// What the bytes say; `None` when they are not a `KeyValue`.
pub(crate) fn decode(bytes: &Bytes) -> Option<KeyValue> {
    let stored = StoredKeyValue::decode(bytes.clone()).ok()?;
    Some(KeyValue {
        key: stored.key,
        create_revision: stored.create_revision,
        mod_revision: stored.mod_revision,
        version: stored.version,
        value: stored.value,
        lease: stored.lease,
    })
}

/// A key-value that says only which key: what a delete stores, and shows with its `mod_revision`.
pub(crate) fn only_key(key: Bytes, mod_revision: i64) -> KeyValue {
    KeyValue { key, create_revision: 0, mod_revision, version: 0, value: Bytes::new(), lease: 0 }
}
