//! Users, roles and permissions: in entries, and in the buckets `auth`, `authUsers` and `authRoles`.

use bytes::Bytes;
use detcd_replica::api::{KeyRange, RangeEnd};
use prost::Message;

/// A password as an entry carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    /// As the user said it: members before 3.5 left the hashing to those that apply the entry.
    pub plain: String,
    /// Its hash, in base 64.
    pub hashed: String,
}

impl Password {
    /// What is to be stored: `Some(None)` when only the member knows, `None` when it cannot be read.
    pub fn stored(&self) -> Option<Option<Bytes>> {
        if !self.plain.is_empty() && self.hashed.is_empty() {
            return Some(None);
        }
        base64(&self.hashed).map(Some)
    }
}

/// Base 64 with padding, as Go's standard encoding.
fn base64(text: &str) -> Option<Bytes> {
    let bytes = text.as_bytes();
    if bytes.len() % 4 != 0 {
        return None;
    }
    let padding = bytes.iter().rev().take_while(|byte| **byte == b'=').count();
    if padding > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3);
    for four in bytes.chunks(4) {
        let mut number = 0u32;
        for byte in four {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                b'=' => 0,
                _ => return None,
            };
            number = number << 6 | u32::from(digit);
        }
        out.extend_from_slice(&number.to_be_bytes()[1..]);
    }
    out.truncate(out.len() - padding);
    // A sign for nothing may only be at the end.
    (!bytes[..bytes.len() - padding].contains(&b'=')).then(|| out.into())
}

/// A change of the auth store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Ask everybody who they are.
    Enable,
    /// No longer.
    Disable,
    /// A new user.
    UserAdd {
        /// Its name.
        name: String,
        /// Its password.
        password: Password,
        /// It can only come with a certificate.
        no_password: bool,
    },
    /// A user goes.
    UserDelete(String),
    /// A user gets a new password.
    UserChangePassword {
        /// The user.
        name: String,
        /// The password.
        password: Password,
    },
    /// A user gets a role.
    UserGrantRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// A user loses a role.
    UserRevokeRole {
        /// The user.
        user: String,
        /// The role.
        role: String,
    },
    /// A new role.
    RoleAdd(String),
    /// A role goes.
    RoleDelete(String),
    /// A role gets a permission.
    RoleGrant {
        /// The role.
        role: String,
        /// The permission; the request may lack it.
        permission: Option<Permission>,
    },
    /// A role loses a permission.
    RoleRevoke {
        /// The role.
        role: String,
        /// The permission's first key.
        key: Bytes,
        /// Where it ends.
        end: Bytes,
    },
}

/// `authpb.Permission`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Permission {
    /// `authpb.Permission.Type`: read 0, write 1, both 2.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// The first key.
    #[prost(bytes = "bytes", tag = "2")]
    pub key: Bytes,
    /// Where it ends: empty for the one key, a zero byte for no end.
    #[prost(bytes = "bytes", tag = "3")]
    pub end: Bytes,
}

impl Permission {
    /// The keys that it is for.
    pub fn range(&self) -> KeyRange {
        let end = match &self.end[..] {
            b"" => RangeEnd::Single,
            b"\0" => RangeEnd::Open,
            _ => RangeEnd::Before(self.end.clone()),
        };
        KeyRange { start: self.key.clone(), end }
    }
}

/// `authpb.UserAddOptions`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct UserAddOptions {
    /// The user can only come with a certificate.
    #[prost(bool, tag = "1")]
    pub no_password: bool,
}

/// `authpb.User`, a value of the `authUsers` bucket.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StoredUser {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The hash of its password.
    #[prost(bytes = "bytes", tag = "2")]
    pub password: Bytes,
    /// Its roles, in order.
    #[prost(string, repeated, tag = "3")]
    pub roles: Vec<String>,
    /// How it may come.
    #[prost(message, optional, tag = "4")]
    pub options: Option<UserAddOptions>,
}

/// `authpb.Role`, a value of the `authRoles` bucket.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StoredRole {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it may do.
    #[prost(message, repeated, tag = "2")]
    pub permissions: Vec<Permission>,
}

/// The requests without a field.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Empty {}

/// `etcdserverpb.AuthUserAddRequest` and `AuthUserChangePasswordRequest`, which lacks the options and counts otherwise.
#[derive(Clone, PartialEq, Message)]
pub(super) struct UserAdd {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    password: String,
    #[prost(message, optional, tag = "3")]
    options: Option<UserAddOptions>,
    #[prost(string, tag = "4")]
    hashed: String,
}

impl UserAdd {
    #[cfg(test)]
    pub(super) fn without_password(name: &str) -> Self {
        let options = Some(UserAddOptions { no_password: true });
        Self { name: name.to_owned(), options, ..Self::default() }
    }

    pub(super) fn change(self) -> Change {
        let no_password = self.options.is_some_and(|options| options.no_password);
        let password = Password { plain: self.password, hashed: self.hashed };
        Change::UserAdd { name: self.name, password, no_password }
    }
}

/// `etcdserverpb.AuthUserChangePasswordRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct UserChangePassword {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    password: String,
    #[prost(string, tag = "3")]
    hashed: String,
}

impl UserChangePassword {
    pub(super) fn change(self) -> Change {
        let password = Password { plain: self.password, hashed: self.hashed };
        Change::UserChangePassword { name: self.name, password }
    }
}

/// The requests with one name.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Name {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

/// `etcdserverpb.AuthUserGrantRoleRequest` and `AuthUserRevokeRoleRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct UserRole {
    #[prost(string, tag = "1")]
    pub(super) user: String,
    #[prost(string, tag = "2")]
    pub(super) role: String,
}

/// `etcdserverpb.AuthRoleGrantPermissionRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RoleGrant {
    #[prost(string, tag = "1")]
    pub(super) role: String,
    #[prost(message, optional, tag = "2")]
    pub(super) permission: Option<Permission>,
}

/// `etcdserverpb.AuthRoleRevokePermissionRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RoleRevoke {
    #[prost(string, tag = "1")]
    pub(super) role: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) key: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) end: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_gos_base_64() {
        for (text, expect) in [
            ("", Some("")),
            ("YQ==", Some("a")),
            ("YWI=", Some("ab")),
            ("YWJj", Some("abc")),
            ("YWJjZA==", Some("abcd")),
            ("YQ=", None),
            ("Y===", None),
            ("Y=Jj", None),
            ("Y Jj", None),
        ] {
            assert_eq!(base64(text).as_deref(), expect.map(str::as_bytes), "{text}");
        }
    }
}
