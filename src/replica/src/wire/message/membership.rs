//! `membershippb`: what an entry may say about the cluster beside configuration changes.

use prost::Message;

/// `membershippb.Attributes`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attributes {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) client_urls: Vec<String>,
}

/// `membershippb.ClusterVersionSetRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ClusterVersionSetRequest {
    #[prost(string, tag = "1")]
    pub(crate) ver: String,
}

/// `membershippb.ClusterMemberAttrSetRequest`: a member publishes itself.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ClusterMemberAttrSetRequest {
    #[prost(uint64, tag = "1")]
    pub(crate) member_id: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) member_attributes: Option<Attributes>,
}

/// `membershippb.DowngradeInfoSetRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DowngradeInfoSetRequest {
    #[prost(bool, tag = "1")]
    pub(crate) enabled: bool,
    #[prost(string, tag = "2")]
    pub(crate) ver: String,
}

/// `etcdserverpb.DowngradeVersionTestRequest`: changes nothing.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DowngradeVersionTestRequest {
    #[prost(string, tag = "1")]
    pub(crate) ver: String,
}
