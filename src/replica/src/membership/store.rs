//! The buckets `members`, `members_removed` and `cluster`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::api::Member;
use crate::mvcc::{Batch, Bucket};
use crate::MemberId;

use super::{member, Members, Version};

const VERSION: &[u8] = b"clusterVersion";
const DOWNGRADE: &[u8] = b"downgrade";

/// etcd's `DowngradeInfo`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct DowngradeInfo {
    #[serde(rename = "target-version", default)]
    target_version: String,
    #[serde(default)]
    enabled: bool,
}

/// # Errors
/// What in the buckets is not what etcd writes.
pub(super) fn members(batch: &impl Batch) -> Result<Members, String> {
    let mut members = Members::default();
    let mut broken = None;
    batch.for_each(Bucket::Members, b"", None, &mut |key, value| {
        match (parse_key(key), member::parse(value)) {
            (Some(id), Ok((member, _))) if member.id == id => {
                members.by_id.insert(id, member);
            }
            (None, _) => broken = Some(format!("bucket members holds the key {key:?}")),
            (Some(id), Ok((member, _))) => broken = Some(format!("member {:x} is under {:x}", member.id.0, id.0)),
            (Some(id), Err(error)) => broken = Some(format!("member {:x}: {error}", id.0)),
        }
        broken.is_none()
    });
    batch.for_each(Bucket::MembersRemoved, b"", None, &mut |key, _| {
        match parse_key(key) {
            Some(id) => {
                members.removed.insert(id);
            }
            None => broken = Some(format!("bucket members_removed holds the key {key:?}")),
        }
        broken.is_none()
    });
    broken.map_or(Ok(members), Err)
}

pub(super) fn put_member(batch: &mut impl Batch, member: &Member) {
    batch.put(Bucket::Members, key_of(member.id), member::to_json(member).into());
}

pub(super) fn delete_member(batch: &mut impl Batch, id: MemberId) {
    batch.delete(Bucket::Members, &key_of(id));
}

pub(super) fn put_removed(batch: &mut impl Batch, id: MemberId) {
    batch.put(Bucket::MembersRemoved, key_of(id), Bytes::from_static(b"removed"));
}

/// `None` when the cluster has none yet.
///
/// # Errors
/// It is no version.
pub(super) fn version(batch: &impl Batch) -> Result<Option<Version>, String> {
    let Some(value) = batch.get(Bucket::Cluster, VERSION) else { return Ok(None) };
    let version = std::str::from_utf8(&value).ok().and_then(Version::parse);
    version.map(Some).ok_or_else(|| format!("clusterVersion is {value:?}"))
}

pub(super) fn put_version(batch: &mut impl Batch, version: Version) {
    batch.put(Bucket::Cluster, Bytes::from_static(VERSION), version.to_string().into());
}

/// The target of a downgrade that is enabled.
///
/// # Errors
/// It is not what etcd writes.
pub(super) fn downgrade(batch: &impl Batch) -> Result<Option<Version>, String> {
    let Some(value) = batch.get(Bucket::Cluster, DOWNGRADE) else { return Ok(None) };
    let info: DowngradeInfo = serde_json::from_slice(&value).map_err(|error| format!("downgrade: {error}"))?;
    match (info.enabled, Version::parse(&info.target_version)) {
        (false, _) => Ok(None),
        (true, Some(target)) => Ok(Some(target)),
        (true, None) => Err(format!("downgrade: the target is {:?}", info.target_version)),
    }
}

pub(super) fn put_downgrade(batch: &mut impl Batch, target: Option<Version>) {
    let info = DowngradeInfo {
        target_version: target.map(|target| target.to_string()).unwrap_or_default(),
        enabled: target.is_some(),
    };
    batch.put(Bucket::Cluster, Bytes::from_static(DOWNGRADE), member::write(&info).into());
}

/// etcd's key of a member: its id in hex.
fn key_of(member: MemberId) -> Bytes {
    format!("{:x}", member.0).into()
}

fn parse_key(key: &[u8]) -> Option<MemberId> {
    let text = std::str::from_utf8(key).ok()?;
    u64::from_str_radix(text, 16).ok().map(MemberId)
}
