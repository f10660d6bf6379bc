//! `authpb`: what the buckets `authUsers` and `authRoles` hold, byte for byte as etcd writes it.

use bytes::Bytes;
use prost::Message;

use crate::wire::message::auth::{Permission, UserAddOptions};

/// `authpb.User`. Its roles are sorted.
#[derive(Clone, PartialEq, Message)]
pub(super) struct User {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) name: Bytes,
    /// The bcrypt hash; empty for a user without a password.
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) password: Bytes,
    #[prost(string, repeated, tag = "3")]
    pub(super) roles: Vec<String>,
    /// Absent in what etcd wrote before 3.4.
    #[prost(message, optional, tag = "4")]
    pub(super) options: Option<UserAddOptions>,
}

impl User {
    pub(super) fn has_role(&self, role: &str) -> bool {
        self.roles.binary_search_by(|one| one.as_str().cmp(role)).is_ok()
    }

    pub(super) fn no_password(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.no_password)
    }
}

/// `authpb.Role`. Its permissions are sorted by their first key.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Role {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) name: Bytes,
    #[prost(message, repeated, tag = "2")]
    pub(super) key_permission: Vec<Permission>,
}
