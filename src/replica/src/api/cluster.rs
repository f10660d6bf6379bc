//! The cluster: its members, the requests that change them, and downgrades.

use crate::MemberId;

/// `etcdserverpb.Member`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Member {
    /// Who. An id is never used again.
    pub id: MemberId,
    /// The name it was started with; empty until it has started and said so.
    pub name: String,
    /// Where the other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; none until it has started and said so.
    pub client_urls: Vec<String>,
    /// Whether it has no vote.
    pub is_learner: bool,
}

/// `DowngradeRequest`. Versions are `major.minor`, with or without a patch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DowngradeRequest {
    /// Whether the cluster could be downgraded to this version.
    Validate(String),
    /// Begin to.
    Enable(String),
    /// Give it up.
    Cancel,
}
