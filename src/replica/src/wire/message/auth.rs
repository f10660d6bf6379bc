//! `etcdserverpb` and `authpb`: users, roles, permissions.

use bytes::Bytes;
use prost::Message;

/// The messages without a field: enable, disable, status, user list, role list.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Empty {}

/// `etcdserverpb.InternalAuthenticateRequest`: the token is the proposer's.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct InternalAuthenticateRequest {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) password: String,
    #[prost(string, tag = "3")]
    pub(crate) simple_token: String,
}

/// `authpb.UserAddOptions`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct UserAddOptions {
    #[prost(bool, tag = "1")]
    pub(crate) no_password: bool,
}

/// `etcdserverpb.AuthUserAddRequest`. Before 3.5 the password travelled, since then its hash does.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AuthUserAddRequest {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) password: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) options: Option<UserAddOptions>,
    #[prost(string, tag = "4")]
    pub(crate) hashed_password: String,
}

/// `etcdserverpb.AuthUserGetRequest` and `AuthUserDeleteRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AuthUserName {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

/// `etcdserverpb.AuthUserChangePasswordRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AuthUserChangePasswordRequest {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) password: String,
    #[prost(string, tag = "3")]
    pub(crate) hashed_password: String,
}

/// `etcdserverpb.AuthUserGrantRoleRequest` and `AuthUserRevokeRoleRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AuthUserRole {
    #[prost(string, tag = "1")]
    pub(crate) user: String,
    #[prost(string, tag = "2")]
    pub(crate) role: String,
}

/// `etcdserverpb.AuthRoleAddRequest`, `AuthRoleGetRequest` and `AuthRoleDeleteRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AuthRoleName {
    #[prost(string, tag = "1")]
    pub(crate) role: String,
}

/// `authpb.Permission`: read 0, write 1, both 2.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Permission {
    #[prost(int32, tag = "1")]
    pub(crate) perm_type: i32,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) key: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) range_end: Bytes,
}

/// `etcdserverpb.AuthRoleGrantPermissionRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AuthRoleGrantPermissionRequest {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) perm: Option<Permission>,
}

/// `etcdserverpb.AuthRoleRevokePermissionRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AuthRoleRevokePermissionRequest {
    #[prost(string, tag = "1")]
    pub(crate) role: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) key: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) range_end: Bytes,
}
