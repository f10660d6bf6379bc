//! A record of the `key` bucket, for people who look into a database.

use bytes::Bytes;

use super::proto;
use super::revision::RevisionKey;
use crate::api::KeyValue;

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The transaction's revision.
    pub main: i64,
    /// The change's place in its transaction, from 0.
    pub sub: i64,
    /// Whether it is a delete. Then only the key of `kv` means something.
    pub tombstone: bool,
    /// What the key became.
    pub kv: KeyValue,
}

impl KeyRecord {
    /// Reads the pair of a key in the bucket and its value.
    ///
    /// # Errors
    /// Which of the two is not etcd's.
    pub fn parse(key: &[u8], value: &Bytes) -> Result<Self, &'static str> {
        let (revision, tombstone) = RevisionKey::decode(key).ok_or("the key is no revision")?;
        let kv = proto::decode(value).ok_or("the value is no KeyValue")?;
        Ok(Self { main: revision.main, sub: revision.sub, tombstone, kv })
    }
}
