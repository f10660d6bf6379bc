//! `etcdserverpb`: leases.

use prost::Message;

/// `etcdserverpb.LeaseGrantRequest`: seconds, and 0 for "choose an id".
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LeaseGrantRequest {
    #[prost(int64, tag = "1")]
    pub(crate) ttl: i64,
    #[prost(int64, tag = "2")]
    pub(crate) id: i64,
}

/// `etcdserverpb.LeaseRevokeRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LeaseRevokeRequest {
    #[prost(int64, tag = "1")]
    pub(crate) id: i64,
}

/// `etcdserverpb.LeaseCheckpoint`: seconds left.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LeaseCheckpoint {
    #[prost(int64, tag = "1")]
    pub(crate) id: i64,
    #[prost(int64, tag = "2")]
    pub(crate) remaining_ttl: i64,
}

/// `etcdserverpb.LeaseCheckpointRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LeaseCheckpointRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) checkpoints: Vec<LeaseCheckpoint>,
}
