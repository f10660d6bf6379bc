//! Why a member refuses, in etcd's words, and whether the request may have happened all the same.

use std::fmt;

/// Why a member did not do what was asked. [`Error::effect`] says whether it may have happened all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Error {
    /// The key is empty.
    EmptyKey,
    /// The key must exist, or the operation is empty.
    KeyNotFound,
    /// A value was given, and one to keep was asked for.
    ValueProvided,
    /// A lease was given, and one to keep was asked for.
    LeaseProvided,
    /// More operations than `max_txn_ops`.
    TooManyOps,
    /// A transaction puts one key twice.
    DuplicateKey,
    /// There is no such order, or nothing to sort by.
    InvalidSortOption,
    /// The request is larger than `max_request_bytes`.
    RequestTooLarge,
    /// The revision was compacted away.
    Compacted,
    /// The revision is not there yet.
    FutureRevision,
    /// The backend is over its quota.
    NoSpace,
    /// The lease does not exist.
    LeaseNotFound,
    /// The lease exists already.
    LeaseExists,
    /// Nobody may live so long.
    LeaseTtlTooLarge,
    /// Only the primary lessor, which the leader has, keeps leases alive.
    NotPrimary,
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
    /// The leader could not apply in time what it knows to be committed.
    TimeoutWaitAppliedIndex,
    /// The copy of the database could not be written; the old one is in use.
    DefragmentFailed,
    /// The member is going down.
    Stopped,
    /// The alarm about the data is raised.
    Corrupt,
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

/// The class of an error, by its gRPC name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// `UNKNOWN`, 2.
    Unknown,
    /// `INVALID_ARGUMENT`, 3.
    InvalidArgument,
    /// `NOT_FOUND`, 5.
    NotFound,
    /// `RESOURCE_EXHAUSTED`, 8.
    ResourceExhausted,
    /// `FAILED_PRECONDITION`, 9.
    FailedPrecondition,
    /// `OUT_OF_RANGE`, 11.
    OutOfRange,
    /// `UNAVAILABLE`, 14.
    Unavailable,
    /// `DATA_LOSS`, 15.
    DataLoss,
}

impl Error {
    /// Whether the request may have taken effect.
    pub fn effect(self) -> Effect {
        match self {
            Self::NoLeader | Self::LeaderChanged | Self::Timeout | Self::Stopped => Effect::Unknown,
            // The write that fills the backend up is applied, and says so (etcd#16659).
            Self::NoSpace => Effect::Unknown,
            _ => Effect::Never,
        }
    }

    /// etcd's own words for it.
    pub fn message(self) -> &'static str {
        self.status().1
    }

    /// Its gRPC class.
    pub fn code(self) -> Code {
        self.status().0
    }

    /// As `rpctypes` has it.
    fn status(self) -> (Code, &'static str) {
        use Code::{
            DataLoss, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, ResourceExhausted, Unavailable,
            Unknown,
        };
        match self {
            Self::EmptyKey => (InvalidArgument, "etcdserver: key is not provided"),
            Self::KeyNotFound => (InvalidArgument, "etcdserver: key not found"),
            Self::ValueProvided => (InvalidArgument, "etcdserver: value is provided"),
            Self::LeaseProvided => (InvalidArgument, "etcdserver: lease is provided"),
            Self::TooManyOps => (InvalidArgument, "etcdserver: too many operations in txn request"),
            Self::DuplicateKey => (InvalidArgument, "etcdserver: duplicate key given in txn request"),
            Self::InvalidSortOption => (InvalidArgument, "etcdserver: invalid sort option"),
            Self::RequestTooLarge => (InvalidArgument, "etcdserver: request is too large"),
            Self::Compacted => (OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
            Self::FutureRevision => (OutOfRange, "etcdserver: mvcc: required revision is a future revision"),
            Self::NoSpace => (ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
            Self::LeaseNotFound => (NotFound, "etcdserver: requested lease not found"),
            Self::LeaseExists => (FailedPrecondition, "etcdserver: lease already exists"),
            Self::LeaseTtlTooLarge => (OutOfRange, "etcdserver: too large lease TTL"),
            // rpctypes has no word for it, so it goes out as the lessor says it.
            Self::NotPrimary => (Unknown, "not a primary lessor"),
            Self::TooManyRequests => (ResourceExhausted, "etcdserver: too many requests"),
            Self::NoLeader => (Unavailable, "etcdserver: no leader"),
            Self::LeaderChanged => (Unavailable, "etcdserver: leader changed"),
            Self::NotLeader => (FailedPrecondition, "etcdserver: not leader"),
            Self::Timeout => (Unavailable, "etcdserver: request timed out"),
            Self::TimeoutWaitAppliedIndex => {
                (Unavailable, "etcdserver: request timed out, waiting for the applied index took too long")
            }
            Self::DefragmentFailed => (Unknown, "failed to defragment the database"),
            Self::Stopped => (Unavailable, "etcdserver: server stopped"),
            Self::Corrupt => (DataLoss, "etcdserver: corrupt cluster"),
            Self::MemberNotFound => (NotFound, "etcdserver: member not found"),
            Self::MemberExists => (FailedPrecondition, "etcdserver: member ID already exist"),
            Self::MemberNotLearner => (FailedPrecondition, "etcdserver: can only promote a learner member"),
            Self::LearnerNotReady => {
                (FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader")
            }
            Self::TooManyLearners => (FailedPrecondition, "etcdserver: too many learner members in cluster"),
            Self::UnhealthyCluster => (Unavailable, "etcdserver: unhealthy cluster"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}
