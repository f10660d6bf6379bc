//! `leasepb.Lease` as the backend stores it, under the lease's id.

use bytes::Bytes;
use prost::Message;

use crate::api::LeaseId;

#[derive(Clone, PartialEq, Message)]
struct StoredLease {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "2")]
    ttl: i64,
    #[prost(int64, tag = "3")]
    remaining_ttl: i64,
}

/// The key: eight bytes, big endian.
pub(super) fn key(id: LeaseId) -> Bytes {
    Bytes::copy_from_slice(&id.to_be_bytes())
}

/// The value.
pub(super) fn encode(id: LeaseId, ttl: i64, remaining_ttl: i64) -> Bytes {
    StoredLease { id, ttl, remaining_ttl }.encode_to_vec().into()
}

/// Id, time to live and remaining time to live in a value; `None` when it is not a `Lease`.
pub(super) fn decode(value: &Bytes) -> Option<(LeaseId, i64, i64)> {
    let stored = StoredLease::decode(value.clone()).ok()?;
    Some((stored.id, stored.ttl, stored.remaining_ttl))
}
