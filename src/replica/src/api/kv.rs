//! The requests on keys: range, put, delete, compact.

use super::{Key, KeyRange, LeaseId, Revision, Value};

/// `RangeRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RangeRequest {
    /// Which keys.
    pub range: KeyRange,
    /// At most so many; 0 is no limit.
    pub limit: u64,
    /// As of this revision; 0 is the newest.
    pub revision: Revision,
    /// Answered by the member alone, maybe stale; otherwise linearizable.
    pub serializable: bool,
    /// Leave the values out.
    pub keys_only: bool,
    /// Only count.
    pub count_only: bool,
}

impl RangeRequest {
    /// A linearizable read of everything in the range, at the newest revision.
    pub fn of(range: KeyRange) -> Self {
        Self { range, limit: 0, revision: 0, serializable: false, keys_only: false, count_only: false }
    }
}

/// `PutRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PutRequest {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Value,
    /// The lease to attach, 0 for none.
    pub lease: LeaseId,
    /// Answer with what was there before.
    pub prev_kv: bool,
}

/// `DeleteRangeRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeleteRangeRequest {
    /// Which keys.
    pub range: KeyRange,
    /// Answer with what was there.
    pub prev_kv: bool,
}

/// `CompactionRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CompactRequest {
    /// History below this revision goes; the revision itself stays readable.
    pub revision: Revision,
    /// Answer only when the member that was asked has removed it from its backend.
    pub physical: bool,
}
