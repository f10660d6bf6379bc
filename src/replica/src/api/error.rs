//! Why a member refuses, in etcd's words, and whether the request may have happened all the same.

use std::fmt;

/// Why a member did not do what was asked. [`Error::effect`] says whether it may have happened all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Error {
    /// The key is empty.
    EmptyKey,
    /// More operations than `max_txn_ops`.
    TooManyOps,
    /// A transaction puts one key twice.
    DuplicateKey,
    /// The request is larger than `max_request_bytes`.
    RequestTooLarge,
    /// The revision was compacted away.
    Compacted,
    /// The revision is not there yet.
    FutureRevision,
    /// The lease does not exist.
    LeaseNotFound,
    /// The apply loop is too far behind.
    TooManyRequests,
    /// Nobody leads.
    NoLeader,
    /// The leader changed while the request waited.
    LeaderChanged,
    /// Only the leader takes this request.
    NotLeader,
    /// The server's own limit passed.
    Timeout,
    /// The member is going down.
    Stopped,
    /// No such member.
    MemberNotFound,
    /// That id is a member already, or was one.
    MemberExists,
    /// The member is no learner.
    MemberNotLearner,
    /// The learner is too far behind to be promoted.
    LearnerNotReady,
    /// The cluster has its learner already.
    TooManyLearners,
    /// The change would leave the started members without a quorum.
    UnhealthyCluster,
}

/// Whether a request that failed may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It did not, and will not.
    Never,
    /// Nobody can say: now, later or never.
    Unknown,
}

impl Error {
    /// Whether the request may have taken effect.
    pub fn effect(self) -> Effect {
        match self {
            Self::NoLeader | Self::LeaderChanged | Self::Timeout | Self::Stopped => Effect::Unknown,
            _ => Effect::Never,
        }
    }

    /// etcd's own words for it.
    pub fn message(self) -> &'static str {
        match self {
            Self::EmptyKey => "etcdserver: key is not provided",
            Self::TooManyOps => "etcdserver: too many operations in txn request",
            Self::DuplicateKey => "etcdserver: duplicate key given in txn request",
            Self::RequestTooLarge => "etcdserver: request is too large",
            Self::Compacted => "etcdserver: mvcc: required revision has been compacted",
            Self::FutureRevision => "etcdserver: mvcc: required revision is a future revision",
            Self::LeaseNotFound => "etcdserver: requested lease not found",
            Self::TooManyRequests => "etcdserver: too many requests",
            Self::NoLeader => "etcdserver: no leader",
            Self::LeaderChanged => "etcdserver: leader changed",
            Self::NotLeader => "etcdserver: not leader",
            Self::Timeout => "etcdserver: request timed out",
            Self::Stopped => "etcdserver: server stopped",
            Self::MemberNotFound => "etcdserver: member not found",
            Self::MemberExists => "etcdserver: member ID already exist",
            Self::MemberNotLearner => "etcdserver: can only promote a learner member",
            Self::LearnerNotReady => "etcdserver: can only promote a learner member which is in sync with leader",
            Self::TooManyLearners => "etcdserver: too many learner members in cluster",
            Self::UnhealthyCluster => "etcdserver: unhealthy cluster",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}
