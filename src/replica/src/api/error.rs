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
    /// Too few members are connected for the change.
    UnhealthyCluster,
    /// Too few members have started for the change.
    MemberNotEnoughStarted,
    /// Another member is reached there.
    PeerUrlExists,
    /// Leadership cannot go to a member that is unknown or has no vote.
    BadLeaderTransferee,
    /// A member's peer URLs are none.
    BadMemberUrls,
    /// That is no version.
    WrongDowngradeVersionFormat,
    /// The cluster can be downgraded by one minor version only.
    InvalidDowngradeTargetVersion,
    /// The cluster has no version yet.
    ClusterVersionUnavailable,
    /// A downgrade is enabled already.
    DowngradeInProcess,
    /// No downgrade is enabled.
    NoInflightDowngrade,
    /// Auth needs a user root.
    RootUserNotExist,
    /// The user root needs the role root.
    RootRoleNotExist,
    /// There is such a user.
    UserAlreadyExist,
    /// Nobody is named, where somebody must be.
    UserEmpty,
    /// There is no such user.
    UserNotFound,
    /// There is such a role.
    RoleAlreadyExist,
    /// There is no such role.
    RoleNotFound,
    /// No role is named.
    RoleEmpty,
    /// No such user, or not its password.
    AuthFailed,
    /// A password was given for a user that has none, or its hash is none.
    NoPasswordUser,
    /// No permission is given.
    PermissionNotGiven,
    /// The user may not do this.
    PermissionDenied,
    /// The user does not have the role.
    RoleNotGranted,
    /// The role does not have the permission.
    PermissionNotGranted,
    /// Auth is off.
    AuthNotEnabled,
    /// The token stands for nobody here.
    InvalidAuthToken,
    /// Auth may not be changed so.
    InvalidAuthMgmt,
    /// Users or roles have changed since the user was checked.
    AuthOldRevision,
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
    /// `UNKNOWN`.
    Unknown = 2,
    /// `INVALID_ARGUMENT`.
    InvalidArgument = 3,
    /// `NOT_FOUND`.
    NotFound = 5,
    /// `PERMISSION_DENIED`.
    PermissionDenied = 7,
    /// `RESOURCE_EXHAUSTED`.
    ResourceExhausted = 8,
    /// `FAILED_PRECONDITION`.
    FailedPrecondition = 9,
    /// `OUT_OF_RANGE`.
    OutOfRange = 11,
    /// `UNAVAILABLE`.
    Unavailable = 14,
    /// `DATA_LOSS`.
    DataLoss = 15,
    /// `UNAUTHENTICATED`.
    Unauthenticated = 16,
}

impl Code {
    /// Its number.
    pub fn number(self) -> i32 {
        self as i32
    }
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
            DataLoss, FailedPrecondition, InvalidArgument, NotFound, OutOfRange, ResourceExhausted, Unauthenticated,
            Unavailable, Unknown,
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
            // etcd gives its client's error there, which gRPC knows no class of.
            Self::MemberNotEnoughStarted => {
                (Unknown, "etcdserver: re-configuration failed due to not enough started members")
            }
            Self::PeerUrlExists => (FailedPrecondition, "etcdserver: Peer URLs already exists"),
            Self::BadLeaderTransferee => (FailedPrecondition, "etcdserver: bad leader transferee"),
            Self::BadMemberUrls => (InvalidArgument, "etcdserver: given member URLs are invalid"),
            Self::WrongDowngradeVersionFormat => (InvalidArgument, "etcdserver: wrong downgrade target version format"),
            Self::InvalidDowngradeTargetVersion => (InvalidArgument, "etcdserver: invalid downgrade target version"),
            Self::ClusterVersionUnavailable => {
                (FailedPrecondition, "etcdserver: cluster version not found during downgrade")
            }
            Self::DowngradeInProcess => (FailedPrecondition, "etcdserver: cluster has a downgrade job in progress"),
            Self::NoInflightDowngrade => (FailedPrecondition, "etcdserver: no inflight downgrade job"),
            Self::RootUserNotExist => (FailedPrecondition, "etcdserver: root user does not exist"),
            Self::RootRoleNotExist => (FailedPrecondition, "etcdserver: root user does not have root role"),
            Self::UserAlreadyExist => (FailedPrecondition, "etcdserver: user name already exists"),
            Self::UserEmpty => (InvalidArgument, "etcdserver: user name is empty"),
            Self::UserNotFound => (FailedPrecondition, "etcdserver: user name not found"),
            Self::RoleAlreadyExist => (FailedPrecondition, "etcdserver: role name already exists"),
            Self::RoleNotFound => (FailedPrecondition, "etcdserver: role name not found"),
            Self::RoleEmpty => (InvalidArgument, "etcdserver: role name is empty"),
            Self::AuthFailed => (InvalidArgument, "etcdserver: authentication failed, invalid user ID or password"),
            Self::NoPasswordUser => (Unknown, "auth: authentication failed, password was given for no password user"),
            Self::PermissionNotGiven => (InvalidArgument, "etcdserver: permission not given"),
            Self::PermissionDenied => (Code::PermissionDenied, "etcdserver: permission denied"),
            Self::RoleNotGranted => (FailedPrecondition, "etcdserver: role is not granted to the user"),
            Self::PermissionNotGranted => (FailedPrecondition, "etcdserver: permission is not granted to the role"),
            Self::AuthNotEnabled => (FailedPrecondition, "etcdserver: authentication is not enabled"),
            Self::InvalidAuthToken => (Unauthenticated, "etcdserver: invalid auth token"),
            Self::InvalidAuthMgmt => (InvalidArgument, "etcdserver: invalid auth management"),
            Self::AuthOldRevision => (InvalidArgument, "etcdserver: revision of auth store is old"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}
