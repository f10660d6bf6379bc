//! The forms of users, roles, members and downgrades.

use bytes::Bytes;
use detcd_replica::api as of;
use detcd_replica::MemberId;
use serde::{Deserialize, Serialize};

use super::blob::Blob;

/// For serde: a field of bytes as [`Blob`].
mod bytes_form {
    use serde::{Deserializer, Serializer};

    use super::{Blob, Bytes, Deserialize, Serialize};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        Blob::from(bytes).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        Blob::deserialize(deserializer).map(Into::into)
    }
}

/// `api::AuthRequest`.
#[derive(Serialize, Deserialize)]
#[serde(remote = "of::AuthRequest", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum AuthRequest {
    Enable,
    Disable,
    Status,
    Authenticate {
        name: String,
        password: String,
    },
    UserAdd {
        name: String,
        password: Option<String>,
    },
    UserGet {
        name: String,
    },
    UserList,
    UserDelete {
        name: String,
    },
    UserChangePassword {
        name: String,
        password: String,
    },
    UserGrantRole {
        user: String,
        role: String,
    },
    UserRevokeRole {
        user: String,
        role: String,
    },
    RoleAdd {
        role: String,
    },
    RoleGet {
        role: String,
    },
    RoleList,
    RoleDelete {
        role: String,
    },
    RoleGrantPermission {
        role: String,
        #[serde(with = "Permission")]
        permission: of::Permission,
    },
    RoleRevokePermission {
        role: String,
        #[serde(with = "bytes_form")]
        key: Bytes,
        #[serde(with = "bytes_form")]
        range_end: Bytes,
    },
}

/// `api::PermissionType`.
#[derive(Serialize, Deserialize)]
#[serde(remote = "of::PermissionType", rename_all = "snake_case")]
enum PermissionType {
    Read,
    Write,
    ReadWrite,
}

/// `api::Permission`.
#[derive(Serialize, Deserialize)]
#[serde(remote = "of::Permission", deny_unknown_fields)]
struct Permission {
    #[serde(with = "PermissionType")]
    access: of::PermissionType,
    #[serde(with = "bytes_form")]
    key: Bytes,
    #[serde(with = "bytes_form")]
    range_end: Bytes,
}

/// One of a list.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct OnePermission(#[serde(with = "Permission")] of::Permission);

/// `api::AuthResponse`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum AuthResponse {
    Done,
    Status { enabled: bool, revision: u64 },
    Token(String),
    UserRoles(Vec<String>),
    Users(Vec<String>),
    Permissions(PermissionList),
    Roles(Vec<String>),
}

/// The permissions of a role.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct PermissionList(Vec<OnePermission>);

impl From<&of::AuthResponse> for AuthResponse {
    fn from(response: &of::AuthResponse) -> Self {
        match response.clone() {
            of::AuthResponse::Done => Self::Done,
            of::AuthResponse::Status { enabled, revision } => Self::Status { enabled, revision },
            of::AuthResponse::Token(token) => Self::Token(token),
            of::AuthResponse::UserRoles(roles) => Self::UserRoles(roles),
            of::AuthResponse::Users(users) => Self::Users(users),
            of::AuthResponse::Permissions(list) => {
                Self::Permissions(PermissionList(list.into_iter().map(OnePermission).collect()))
            }
            of::AuthResponse::Roles(roles) => Self::Roles(roles),
        }
    }
}

impl From<AuthResponse> for of::AuthResponse {
    fn from(response: AuthResponse) -> Self {
        match response {
            AuthResponse::Done => Self::Done,
            AuthResponse::Status { enabled, revision } => Self::Status { enabled, revision },
            AuthResponse::Token(token) => Self::Token(token),
            AuthResponse::UserRoles(roles) => Self::UserRoles(roles),
            AuthResponse::Users(users) => Self::Users(users),
            AuthResponse::Permissions(list) => Self::Permissions(list.0.into_iter().map(|one| one.0).collect()),
            AuthResponse::Roles(roles) => Self::Roles(roles),
        }
    }
}

/// `api::DowngradeRequest`.
#[derive(Serialize, Deserialize)]
#[serde(remote = "of::DowngradeRequest", rename_all = "snake_case")]
pub(super) enum DowngradeRequest {
    Validate(String),
    Enable(String),
    Cancel,
}

/// `api::Member`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    id: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    peer_urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    client_urls: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_learner: bool,
}

impl From<&of::Member> for Member {
    fn from(member: &of::Member) -> Self {
        let of::Member { id, name, peer_urls, client_urls, is_learner } = member.clone();
        Self { id: id.0, name, peer_urls, client_urls, is_learner }
    }
}

impl From<Member> for of::Member {
    fn from(member: Member) -> Self {
        let Member { id, name, peer_urls, client_urls, is_learner } = member;
        Self { id: MemberId(id), name, peer_urls, client_urls, is_learner }
    }
}
