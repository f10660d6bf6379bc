//! The methods of etcd's services that answer one message with one.

/// A unary method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// `KV/Range`
    Range,
    /// `KV/Put`
    Put,
    /// `KV/DeleteRange`
    DeleteRange,
    /// `KV/Txn`
    Txn,
    /// `KV/Compact`
    Compact,
    /// `Lease/LeaseGrant`
    LeaseGrant,
    /// `Lease/LeaseRevoke`
    LeaseRevoke,
    /// `Lease/LeaseTimeToLive`
    LeaseTimeToLive,
    /// `Lease/LeaseLeases`
    LeaseLeases,
    /// One message of `Lease/LeaseKeepAlive`, which is a stream of them.
    LeaseKeepAlive,
    /// `Cluster/MemberAdd`
    MemberAdd,
    /// `Cluster/MemberRemove`
    MemberRemove,
    /// `Cluster/MemberUpdate`
    MemberUpdate,
    /// `Cluster/MemberList`
    MemberList,
    /// `Cluster/MemberPromote`
    MemberPromote,
    /// `Maintenance/Alarm`
    Alarm,
    /// `Maintenance/Status`
    Status,
    /// `Maintenance/Defragment`
    Defragment,
    /// `Maintenance/HashKV`
    HashKv,
    /// `Maintenance/MoveLeader`
    MoveLeader,
    /// `Maintenance/Downgrade`
    Downgrade,
    /// `Auth/AuthEnable`
    AuthEnable,
    /// `Auth/AuthDisable`
    AuthDisable,
    /// `Auth/AuthStatus`
    AuthStatus,
    /// `Auth/Authenticate`
    Authenticate,
    /// `Auth/UserAdd`
    UserAdd,
    /// `Auth/UserGet`
    UserGet,
    /// `Auth/UserList`
    UserList,
    /// `Auth/UserDelete`
    UserDelete,
    /// `Auth/UserChangePassword`
    UserChangePassword,
    /// `Auth/UserGrantRole`
    UserGrantRole,
    /// `Auth/UserRevokeRole`
    UserRevokeRole,
    /// `Auth/RoleAdd`
    RoleAdd,
    /// `Auth/RoleGet`
    RoleGet,
    /// `Auth/RoleList`
    RoleList,
    /// `Auth/RoleDelete`
    RoleDelete,
    /// `Auth/RoleGrantPermission`
    RoleGrantPermission,
    /// `Auth/RoleRevokePermission`
    RoleRevokePermission,
}

impl Method {
    /// Every one.
    pub const ALL: [Self; 38] = [
        Self::Range,
        Self::Put,
        Self::DeleteRange,
        Self::Txn,
        Self::Compact,
        Self::LeaseGrant,
        Self::LeaseRevoke,
        Self::LeaseTimeToLive,
        Self::LeaseLeases,
        Self::LeaseKeepAlive,
        Self::MemberAdd,
        Self::MemberRemove,
        Self::MemberUpdate,
        Self::MemberList,
        Self::MemberPromote,
        Self::Alarm,
        Self::Status,
        Self::Defragment,
        Self::HashKv,
        Self::MoveLeader,
        Self::Downgrade,
        Self::AuthEnable,
        Self::AuthDisable,
        Self::AuthStatus,
        Self::Authenticate,
        Self::UserAdd,
        Self::UserGet,
        Self::UserList,
        Self::UserDelete,
        Self::UserChangePassword,
        Self::UserGrantRole,
        Self::UserRevokeRole,
        Self::RoleAdd,
        Self::RoleGet,
        Self::RoleList,
        Self::RoleDelete,
        Self::RoleGrantPermission,
        Self::RoleRevokePermission,
    ];

    /// Its service and name: what comes behind `/etcdserverpb.` in the path of a call.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "KV/Range",
            Self::Put => "KV/Put",
            Self::DeleteRange => "KV/DeleteRange",
            Self::Txn => "KV/Txn",
            Self::Compact => "KV/Compact",
            Self::LeaseGrant => "Lease/LeaseGrant",
            Self::LeaseRevoke => "Lease/LeaseRevoke",
            Self::LeaseTimeToLive => "Lease/LeaseTimeToLive",
            Self::LeaseLeases => "Lease/LeaseLeases",
            Self::LeaseKeepAlive => "Lease/LeaseKeepAlive",
            Self::MemberAdd => "Cluster/MemberAdd",
            Self::MemberRemove => "Cluster/MemberRemove",
            Self::MemberUpdate => "Cluster/MemberUpdate",
            Self::MemberList => "Cluster/MemberList",
            Self::MemberPromote => "Cluster/MemberPromote",
            Self::Alarm => "Maintenance/Alarm",
            Self::Status => "Maintenance/Status",
            Self::Defragment => "Maintenance/Defragment",
            Self::HashKv => "Maintenance/HashKV",
            Self::MoveLeader => "Maintenance/MoveLeader",
            Self::Downgrade => "Maintenance/Downgrade",
            Self::AuthEnable => "Auth/AuthEnable",
            Self::AuthDisable => "Auth/AuthDisable",
            Self::AuthStatus => "Auth/AuthStatus",
            Self::Authenticate => "Auth/Authenticate",
            Self::UserAdd => "Auth/UserAdd",
            Self::UserGet => "Auth/UserGet",
            Self::UserList => "Auth/UserList",
            Self::UserDelete => "Auth/UserDelete",
            Self::UserChangePassword => "Auth/UserChangePassword",
            Self::UserGrantRole => "Auth/UserGrantRole",
            Self::UserRevokeRole => "Auth/UserRevokeRole",
            Self::RoleAdd => "Auth/RoleAdd",
            Self::RoleGet => "Auth/RoleGet",
            Self::RoleList => "Auth/RoleList",
            Self::RoleDelete => "Auth/RoleDelete",
            Self::RoleGrantPermission => "Auth/RoleGrantPermission",
            Self::RoleRevokePermission => "Auth/RoleRevokePermission",
        }
    }

    /// By the path of a call: `/etcdserverpb.KV/Range`.
    pub fn parse(path: &str) -> Option<Self> {
        let name = path.strip_prefix("/etcdserverpb.")?;
        Self::ALL.into_iter().find(|method| method.name() == name)
    }
}
