//! `v3lockpb`, `v3electionpb`: the lock and election services.

use bytes::Bytes;
use prost::Message;

use super::mvcc::KeyValue;
use super::rpc::ResponseHeader;

/// `v3lockpb.LockRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LockRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) name: Bytes,
    #[prost(int64, tag = "2")]
    pub(crate) lease: i64,
}

/// `v3lockpb.LockResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LockResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<ResponseHeader>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) key: Bytes,
}

/// `v3electionpb.CampaignRequest`; the name is that of `LeaderRequest`, too.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CampaignRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) name: Bytes,
    #[prost(int64, tag = "2")]
    pub(crate) lease: i64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) value: Bytes,
}

/// `v3electionpb.LeaderKey`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LeaderKey {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) key: Bytes,
    #[prost(int64, tag = "3")]
    pub(crate) rev: i64,
    #[prost(int64, tag = "4")]
    pub(crate) lease: i64,
}

/// `v3electionpb.ProclaimRequest`; `ResignRequest` has the first.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProclaimRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) leader: Option<LeaderKey>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) value: Bytes,
}

/// `v3electionpb.CampaignResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CampaignResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<ResponseHeader>,
    #[prost(message, optional, tag = "2")]
    pub(crate) leader: Option<LeaderKey>,
}

/// `v3electionpb.LeaderResponse`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LeaderResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) header: Option<ResponseHeader>,
    #[prost(message, optional, tag = "2")]
    pub(crate) kv: Option<KeyValue>,
}
