//! Members: in configuration changes, in entries, and in the buckets `members` and `cluster`, as etcd's JSON.

use prost::Message;
use serde::Deserialize;

/// `membership.Member`, or, with the last field, `membership.ConfigChangeContext`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Where other members find it. Go writes `null` for none.
    #[serde(rename = "peerURLs", default)]
    pub peer_urls: Option<Vec<String>>,
    /// Whether it has no vote.
    #[serde(rename = "isLearner", default)]
    pub is_learner: bool,
    /// How it calls itself.
    #[serde(default)]
    pub name: String,
    /// Where clients find it.
    #[serde(rename = "clientURLs", default)]
    pub client_urls: Option<Vec<String>>,
    /// Whether this is no new member but a learner that gets its vote.
    #[serde(rename = "isPromote", default)]
    pub is_promote: Option<bool>,
}

impl Member {
    /// Reads the JSON.
    ///
    /// # Errors
    /// It is none, or of something else.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|error| error.to_string())
    }

    /// Its peer URLs.
    pub fn peers(&self) -> impl Iterator<Item = &String> {
        self.peer_urls.iter().flatten()
    }

    /// Whether the two say the same, however they say that there is nothing to be said.
    pub fn is(&self, other: &Self) -> bool {
        let lists = |member: &Self| {
            let own = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
            (own(&member.peer_urls), own(&member.client_urls))
        };
        (self.id, self.is_learner, &self.name) == (other.id, other.is_learner, &other.name)
            && lists(self) == lists(other)
    }
}

/// `membership.Attributes`: what a member says of itself.
#[derive(Clone, PartialEq, Eq, Message, Deserialize)]
pub struct Attributes {
    /// Its name.
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub name: String,
    /// Where clients find it.
    #[prost(string, repeated, tag = "2")]
    #[serde(rename = "clientURLs", default)]
    pub client_urls: Vec<String>,
}

/// The JSON of the key `downgrade`, and, with other tags, `membershippb.DowngradeInfoSetRequest`.
#[derive(Clone, PartialEq, Eq, Message, Deserialize)]
pub struct Downgrade {
    /// Whether there is one.
    #[prost(bool, tag = "1")]
    #[serde(default)]
    pub enabled: bool,
    /// The version to go down to.
    #[prost(string, tag = "2")]
    #[serde(rename = "target-version", default)]
    pub target: String,
}

/// `membershippb.ClusterVersionSetRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ClusterVersion {
    #[prost(string, tag = "1")]
    pub(super) version: String,
}

/// `membershippb.ClusterMemberAttrSetRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Publish {
    #[prost(uint64, tag = "1")]
    pub(super) member: u64,
    #[prost(message, optional, tag = "2")]
    pub(super) attributes: Option<Attributes>,
}

/// `etcdserverpb.Request` of the old API, as far as members up to 3.5 still use it: they publish themselves, and set
/// the cluster's version, by puts.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Old {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    pub(super) method: String,
    #[prost(string, tag = "3")]
    pub(super) path: String,
    #[prost(string, tag = "4")]
    pub(super) value: String,
}

/// A message without fields that matter.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Ignored {}
