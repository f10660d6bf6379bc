//! Auth: who asks, and the requests about users, roles and permissions.

use bytes::Bytes;

/// How a client says who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Credential {
    /// It does not.
    #[default]
    None,
    /// By the token that an [`AuthRequest::Authenticate`] gave it.
    Token(String),
    /// By the common name in its TLS certificate; counts when the member was told so.
    CommonName(String),
}

/// What a client asks of the auth service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AuthRequest {
    /// Ask everybody from now on who they are.
    Enable,
    /// No longer.
    Disable,
    /// Whether it is on.
    Status,
    /// A token for a user that knows its password.
    Authenticate {
        /// The user.
        name: String,
        /// Its password.
        password: String,
    },
    /// A new user.
    UserAdd {
        /// Its name.
        name: String,
        /// Its password; `None` for a user that can only come with a certificate.
        password: Option<String>,
    },
    /// The roles of a user.
    UserGet {
        /// The user.
        name: String,
    },
    /// The names of all users.
    UserList,
    /// A user goes, and with it its tokens.
    UserDelete {
        /// The user.
        name: String,
    },
    /// A new password; the tokens made for the old one go.
    UserChangePassword {
        /// The user.
        name: String,
        /// The new password.
        password: String,
    },
    /// A role for a user.
    UserGrantRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// No longer.
    UserRevokeRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// A new role, which may do nothing yet.
    RoleAdd {
        /// Its name.
        role: String,
    },
    /// The permissions of a role.
    RoleGet {
        /// The role.
        role: String,
    },
    /// The names of all roles.
    RoleList,
    /// A role goes, from all users too.
    RoleDelete {
        /// The role.
        role: String,
    },
    /// A permission for a role, or another kind of access to a range that it has.
    RoleGrantPermission {
        /// The role.
        role: String,
        /// The permission.
        permission: Permission,
    },
    /// No longer.
    RoleRevokePermission {
        /// The role.
        role: String,
        /// The permission's key.
        key: Bytes,
        /// The permission's end.
        range_end: Bytes,
    },
}

/// `authpb.Permission`. Its range may be one that etcd refuses: that is found out when it is applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Permission {
    /// What it allows.
    pub access: PermissionType,
    /// The first key.
    pub key: Bytes,
    /// Where it ends, as in a range request: empty for the one key, `\0` for every key from `key` on.
    pub range_end: Bytes,
}

/// `authpb.Permission.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PermissionType {
    /// Look.
    Read,
    /// Put and delete.
    Write,
    /// Both.
    ReadWrite,
}

/// The answer to an [`AuthRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AuthResponse {
    /// It is done.
    Done,
    /// To [`AuthRequest::Status`].
    Status {
        /// Whether auth is on.
        enabled: bool,
        /// Counts the changes of users and roles.
        revision: u64,
    },
    /// To [`AuthRequest::Authenticate`]: the token.
    Token(String),
    /// To [`AuthRequest::UserGet`], in byte order.
    UserRoles(Vec<String>),
    /// To [`AuthRequest::UserList`], in byte order.
    Users(Vec<String>),
    /// To [`AuthRequest::RoleGet`], in order of the first keys.
    Permissions(Vec<Permission>),
    /// To [`AuthRequest::RoleList`], in byte order.
    Roles(Vec<String>),
}
