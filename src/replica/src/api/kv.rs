//! The requests on keys: range, put, delete, compact.

use super::{Key, KeyRange, LeaseId, Revision, Value};

/// `RangeRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RangeRequest {
    /// Which keys.
    pub range: KeyRange,
    /// At most so many; 0 is no limit.
    pub limit: u64,
    /// As of this revision; 0 is the newest. Below 0 is the newest as well, but a transaction may refuse it as
    /// compacted, as etcd's does.
    pub revision: Revision,
    /// In which direction.
    pub sort_order: SortOrder,
    /// By what.
    pub sort_target: SortTarget,
    /// Answered by the member alone, maybe stale; otherwise linearizable.
    pub serializable: bool,
    /// Leave the values out.
    pub keys_only: bool,
    /// Only count.
    pub count_only: bool,
    /// Leave out keys changed last before this revision; 0 is no bound, as in the three below. None of them changes the
    /// count.
    pub min_mod_revision: Revision,
    /// Leave out keys changed last after this revision.
    pub max_mod_revision: Revision,
    /// Leave out keys created before this revision.
    pub min_create_revision: Revision,
    /// Leave out keys created after this revision.
    pub max_create_revision: Revision,
}

/// `RangeRequest.SortOrder`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SortOrder {
    /// Not asked for. By a target other than the key the answer ascends, but the limit is then taken of the keys in
    /// byte order, before they are sorted.
    #[default]
    None,
    /// The lowest first.
    Ascend,
    /// The highest first.
    Descend,
}

/// `RangeRequest.SortTarget`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SortTarget {
    /// The key, in byte order.
    #[default]
    Key,
    /// Puts in this life of the key.
    Version,
    /// Creation.
    Create,
    /// Last change.
    Mod,
    /// The value, in byte order.
    Value,
}

impl RangeRequest {
    /// A linearizable read of everything in the range, at the newest revision.
    pub fn of(range: KeyRange) -> Self {
        Self {
            range,
            limit: 0,
            revision: 0,
            sort_order: SortOrder::None,
            sort_target: SortTarget::Key,
            serializable: false,
            keys_only: false,
            count_only: false,
            min_mod_revision: 0,
            max_mod_revision: 0,
            min_create_revision: 0,
            max_create_revision: 0,
        }
    }

    /// Whether keys may be left out for their revisions.
    pub fn has_revision_filters(&self) -> bool {
        (self.min_mod_revision | self.max_mod_revision | self.min_create_revision | self.max_create_revision) != 0
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
    /// Keep the value that is there. The key must exist, and `value` be empty.
    pub ignore_value: bool,
    /// Keep the lease that is attached. The key must exist, and `lease` be 0.
    pub ignore_lease: bool,
}

impl PutRequest {
    /// The key gets this value, and no lease.
    pub fn of(key: impl Into<Key>, value: impl Into<Value>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            lease: 0,
            prev_kv: false,
            ignore_value: false,
            ignore_lease: false,
        }
    }
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
