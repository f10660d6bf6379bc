//! The buckets `auth`, `authUsers` and `authRoles`.
//!
//! What is read here was written here, or was checked by [`check`] when the database was opened: etcd panics on a user
//! that does not parse, and so does this.

use bytes::Bytes;
use prost::Message;

use crate::mvcc::{Batch, Bucket};

use super::proto::{Role, User};

const ENABLED: &[u8] = b"authEnabled";
const REVISION: &[u8] = b"authRevision";

/// Whether everything in the buckets can be read.
///
/// # Errors
/// What cannot.
pub(super) fn check(batch: &impl Batch) -> Result<(), String> {
    if batch.get(Bucket::Auth, REVISION).is_some_and(|revision| revision.len() != 8) {
        return Err("authRevision is not 8 bytes long".into());
    }
    let mut broken = None;
    batch.for_each(Bucket::AuthUsers, b"", None, &mut |key, value| {
        if let Err(error) = User::decode(value.clone()) {
            broken = Some(format!("authUsers: {}: {error}", String::from_utf8_lossy(key)));
        }
        broken.is_none()
    });
    batch.for_each(Bucket::AuthRoles, b"", None, &mut |key, value| {
        if let Err(error) = Role::decode(value.clone()) {
            broken = Some(format!("authRoles: {}: {error}", String::from_utf8_lossy(key)));
        }
        broken.is_none()
    });
    broken.map_or(Ok(()), Err)
}

pub(super) fn enabled(batch: &impl Batch) -> bool {
    batch.get(Bucket::Auth, ENABLED).is_some_and(|flag| flag[..] == [1])
}

pub(super) fn save_enabled(batch: &mut impl Batch, enabled: bool) {
    let flag: &'static [u8] = if enabled { &[1] } else { &[0] };
    batch.put(Bucket::Auth, Bytes::from_static(ENABLED), Bytes::from_static(flag));
}

/// 0 when none was ever saved.
pub(super) fn revision(batch: &impl Batch) -> u64 {
    let Some(revision) = batch.get(Bucket::Auth, REVISION) else { return 0 };
    u64::from_be_bytes(revision[..].try_into().expect("its length was checked when the database was opened"))
}

pub(super) fn save_revision(batch: &mut impl Batch, revision: u64) {
    let value = Bytes::copy_from_slice(&revision.to_be_bytes());
    batch.put(Bucket::Auth, Bytes::from_static(REVISION), value);
}

pub(super) fn user(batch: &impl Batch, name: &str) -> Option<User> {
    batch.get(Bucket::AuthUsers, name.as_bytes()).map(parse)
}

pub(super) fn users(batch: &impl Batch) -> Vec<User> {
    all(batch, Bucket::AuthUsers)
}

pub(super) fn put_user(batch: &mut impl Batch, user: &User) {
    batch.put(Bucket::AuthUsers, user.name.clone(), user.encode_to_vec().into());
}

pub(super) fn delete_user(batch: &mut impl Batch, name: &str) {
    batch.delete(Bucket::AuthUsers, name.as_bytes());
}

pub(super) fn role(batch: &impl Batch, name: &str) -> Option<Role> {
    batch.get(Bucket::AuthRoles, name.as_bytes()).map(parse)
}

pub(super) fn roles(batch: &impl Batch) -> Vec<Role> {
    all(batch, Bucket::AuthRoles)
}

pub(super) fn put_role(batch: &mut impl Batch, role: &Role) {
    batch.put(Bucket::AuthRoles, role.name.clone(), role.encode_to_vec().into());
}

pub(super) fn delete_role(batch: &mut impl Batch, name: &str) {
    batch.delete(Bucket::AuthRoles, name.as_bytes());
}

fn all<M: Message + Default>(batch: &impl Batch, bucket: Bucket) -> Vec<M> {
    let mut all = Vec::new();
    batch.for_each(bucket, b"", None, &mut |_, value| {
        all.push(parse(value.clone()));
        true
    });
    all
}

fn parse<M: Message + Default>(value: Bytes) -> M {
    M::decode(value).expect("it was written here, or checked when the database was opened")
}
