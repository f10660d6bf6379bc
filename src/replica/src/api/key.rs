//! Keys, revisions, leases, and ranges of keys.

use bytes::Bytes;

/// A key, as the client wrote it: any bytes but none at all.
pub type Key = Bytes;
/// A value: any bytes.
pub type Value = Bytes;
/// etcd's main revision. The empty store is at 1; each transaction that writes raises it by one.
pub type Revision = i64;
/// A lease. 0 is none.
pub type LeaseId = i64;

/// Which keys: `key` and `range_end` of etcd, parsed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRange {
    /// The first key.
    pub start: Key,
    /// Where it ends.
    pub end: RangeEnd,
}

/// The three kinds of `range_end`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RangeEnd {
    /// No `range_end`: the one key.
    Single,
    /// `range_end` is `\0`: every key from `start` on.
    Open,
    /// Keys below this one. Not above `start`: the range is empty.
    Before(Key),
}

impl RangeEnd {
    /// As etcd's `range_end` field has it.
    pub fn field(&self) -> Bytes {
        match self {
            Self::Single => Bytes::new(),
            Self::Open => Bytes::from_static(b"\0"),
            Self::Before(end) => end.clone(),
        }
    }
}

impl KeyRange {
    /// One key.
    pub fn single(key: impl Into<Bytes>) -> Self {
        Self { start: key.into(), end: RangeEnd::Single }
    }

    /// Every key with this prefix; the empty prefix is every key there is.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start: Bytes = prefix.into();
        if start.is_empty() {
            return Self { start: Bytes::from_static(b"\0"), end: RangeEnd::Open };
        }
        let mut end = start.to_vec();
        while let Some(last) = end.last_mut() {
            if *last < 0xff {
                *last += 1;
                return Self { start, end: RangeEnd::Before(end.into()) };
            }
            end.pop();
        }
        Self { start, end: RangeEnd::Open }
    }

    /// Whether `key` is one of them.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == &self.start[..],
            RangeEnd::Open => key >= &self.start[..],
            RangeEnd::Before(end) => key >= &self.start[..] && key < &end[..],
        }
    }
}

/// A key with its value and history, `mvccpb.KeyValue`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyValue {
    /// The key.
    pub key: Key,
    /// Revision of the put that created this life of the key.
    pub create_revision: Revision,
    /// Revision of the last put.
    pub mod_revision: Revision,
    /// Puts in this life of the key, from 1.
    pub version: i64,
    /// The value; empty when the range asked for keys only.
    pub value: Value,
    /// The attached lease, 0 for none.
    pub lease: LeaseId,
}
