//! What a data dir holds, as the member that boots from it serves it.

use bytes::Bytes;
use detcd_replica::api::{Alarm, AlarmMember, KeyRange, KeyValue, RangeEnd, RangeRequest};
use detcd_replica::mvcc::Bucket;
use detcd_replica::time::Span;
use detcd_replica::{raftpb, wal, Config, DiskImage, FileName, MemberId, Replica};
use serde::{Deserialize, Serialize};

use super::alone::Alone;
use super::evidence::Standing;
use super::EngineError;
use crate::panics::caught;

/// How a member that is alone starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// As it is; forced when the cluster that it was in had other members.
    AsNeeded,
    /// As the only member of a new cluster, without what its log has not committed (`--force-new-cluster`).
    Forced,
}

/// HashKV at a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Hash {
    /// The hash.
    pub(crate) hash: u32,
    /// The revision that was compacted when it was made; -1 when none was.
    pub(crate) compact_revision: i64,
}

/// A data dir, as its member has it.
#[derive(Clone, Debug)]
pub(crate) struct Inspection {
    /// The id of the member in the WAL.
    pub(crate) member: u64,
    /// The id of its cluster there.
    pub(crate) cluster: u64,
    /// Whether the member was made the only one of a new cluster.
    pub(crate) forced: bool,
    /// How far it is.
    pub(crate) standing: Standing,
    /// Keys at the newest revision.
    pub(crate) keys: u64,
    /// HashKV at the newest revision.
    pub(crate) hash_kv: Hash,
    /// The members of its cluster.
    pub(crate) members: Vec<MemberFound>,
    /// The leases.
    pub(crate) leases: Vec<LeaseFound>,
    /// The alarms that are raised: `NOSPACE` or `CORRUPT`, and by which member.
    pub(crate) alarms: Vec<String>,
    /// Whether clients must say who they are.
    pub(crate) auth_enabled: bool,
    /// The users, by their names.
    pub(crate) users: Vec<String>,
    /// The roles, by their names.
    pub(crate) roles: Vec<String>,
}

/// A member, as the backend has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberFound {
    /// Its id.
    #[serde(serialize_with = "hex")]
    pub(crate) id: u64,
    /// The name that it has published; empty when it has not yet.
    #[serde(default)]
    pub(crate) name: String,
    /// Where other members reach it.
    #[serde(rename(deserialize = "peerURLs"), default)]
    pub(crate) peer_urls: Option<Vec<String>>,
    /// Where clients reach it.
    #[serde(rename(deserialize = "clientURLs"), default)]
    pub(crate) client_urls: Option<Vec<String>>,
    /// Whether it has no vote.
    #[serde(rename(deserialize = "isLearner"), default)]
    pub(crate) learner: bool,
}

/// A lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LeaseFound {
    /// Its id.
    pub(crate) id: i64,
    /// Time to live in seconds.
    pub(crate) ttl: i64,
    /// Keys attached to it.
    pub(crate) keys: usize,
}

/// Ids are text: as numbers they would lose digits in many readers of JSON.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn hex<S: serde::Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{id:x}"))
}

/// A member that was booted from a data dir, to be asked.
pub(crate) struct Subject {
    pub(super) alone: Alone,
    /// The data dir; none where it was founded on a saved database.
    pub(super) origin: Option<DiskImage>,
    /// What it is.
    pub(crate) found: Inspection,
}

/// Boots the member of a data dir, alone.
///
/// # Errors
/// What is wrong with the data dir, in the words of the boot that refuses it.
pub(crate) fn inspect(image: &DiskImage, start: Start) -> Result<Subject, EngineError> {
    let booted = caught(|| boot(image, start));
    let booted = booted.unwrap_or_else(|panic| Err(format!("a panic at {}: {}", panic.place, panic.message)));
    booted.map_err(EngineError::Asked)
}

fn boot(image: &DiskImage, start: Start) -> Result<Subject, String> {
    let (member, cluster) = identity(image)?;
    let mut config = Config::etcd(MemberId(member), vec![MemberId(member)]);
    let forced = start == Start::Forced || has_others(image, member);
    config.force_new_cluster = forced;
    // Whatever name and addresses the member had are to be seen.
    config.publish = false;
    let subject = ask(Alone::boot(looked_at(config), image.clone())?, (member, cluster), forced)?;
    Ok(Subject { origin: Some(image.clone()), ..subject })
}

/// Nothing that the disk holds goes while it is looked at, and clients come as whom they say.
fn looked_at(mut config: Config) -> Config {
    config.lease_expiry_interval = Span::secs(100_000);
    config.auth.client_cert = true;
    config
}

/// Asks a member for all that it is.
fn ask(alone: Alone, (member, cluster): (u64, u64), forced: bool) -> Result<Subject, String> {
    let replica = alone.replica();
    let everything = replica.look(&everything(0)).map_err(|error| error.message().to_owned())?;
    let (hash, compact_revision) = replica.look_hash(0).map_err(|error| error.message().to_owned())?;
    let found = Inspection {
        member,
        cluster,
        forced,
        standing: Standing::of(replica),
        keys: everything.count,
        hash_kv: Hash { hash, compact_revision },
        members: members(replica)?,
        leases: leases(replica),
        alarms: replica.view().alarms.iter().map(alarm).collect(),
        auth_enabled: replica
            .look_bucket(Bucket::Auth)
            .iter()
            .any(|(key, on)| key[..] == *b"authEnabled" && on[..] == [1]),
        users: names(replica, Bucket::AuthUsers),
        roles: names(replica, Bucket::AuthRoles),
    };
    Ok(Subject { alone, origin: None, found })
}

fn members(replica: &Replica) -> Result<Vec<MemberFound>, String> {
    let parse = |(key, value): (Bytes, Bytes)| {
        serde_json::from_slice(&value).map_err(|error| format!("member {}: {error}", key.escape_ascii()))
    };
    replica.look_bucket(Bucket::Members).into_iter().map(parse).collect()
}

fn leases(replica: &Replica) -> Vec<LeaseFound> {
    let all = replica.view().leases;
    all.iter().map(|(id, lease)| LeaseFound { id: *id, ttl: lease.ttl, keys: lease.keys.len() }).collect()
}

fn alarm(raised: &AlarmMember) -> String {
    let kind = match raised.alarm {
        Alarm::NoSpace => "NOSPACE",
        Alarm::Corrupt => "CORRUPT",
    };
    format!("{kind} {:x}", raised.member.0)
}

/// The keys of a bucket whose keys are names.
fn names(replica: &Replica, bucket: Bucket) -> Vec<String> {
    let pairs = replica.look_bucket(bucket).into_iter();
    pairs.map(|(name, _)| String::from_utf8_lossy(&name).into_owned()).collect()
}

/// Founds a cluster of one member on a restored database.
///
/// # Errors
/// What is wrong with the database.
pub(crate) fn found(database: Bytes) -> Result<Subject, EngineError> {
    let image = DiskImage { files: [(FileName::Db, database.into())].into(), ..DiskImage::default() };
    let member = MemberId(1);
    let config = Config::etcd(member, vec![member]);
    let found = caught(|| Alone::boot(looked_at(config), image).and_then(|alone| ask(alone, (1, 1), false)));
    let found = found.unwrap_or_else(|panic| Err(format!("a panic at {}: {}", panic.place, panic.message)));
    found.map_err(EngineError::Asked)
}

/// Whose data dir it is: member and cluster, as the WAL says.
pub(crate) fn identity(image: &DiskImage) -> Result<(u64, u64), String> {
    let dump = wal::dump(image);
    let metadata = dump.records.iter().find_map(|record| match &record.content {
        wal::Content::Metadata(metadata) => Some(metadata),
        _ => None,
    });
    match (metadata, dump.end) {
        (Some(metadata), _) => wal::member_of(metadata).ok_or_else(|| "the WAL's metadata is not etcd's".to_owned()),
        (None, Some(wal::End::Damaged(error))) => Err(error.to_string()),
        (None, Some(_)) => Err("the WAL does not say whose it is: it has no metadata".to_owned()),
        (None, None) => Err("there is no WAL".to_owned()),
    }
}

/// Whether the configuration at the log's end has members besides this one.
fn has_others(image: &DiskImage, member: u64) -> bool {
    let mut members = std::collections::BTreeSet::new();
    for record in wal::dump(image).records {
        match record.content {
            wal::Content::Snapshot(snapshot) => {
                if let Some(conf_state) = snapshot.conf_state {
                    members = conf_state.voters.into_iter().chain(conf_state.learners).collect();
                }
            }
            wal::Content::Entry(entry) => {
                let changes = wal::conf_changes(&entry).ok().flatten().map(|changes| changes.changes);
                for (kind, id) in changes.unwrap_or_default() {
                    match kind {
                        raftpb::ConfChangeType::RemoveNode => members.remove(&id),
                        raftpb::ConfChangeType::AddNode | raftpb::ConfChangeType::AddLearnerNode => members.insert(id),
                    };
                }
            }
            _ => {}
        }
    }
    members.iter().any(|id| *id != member)
}

/// Every key at a revision; 0 is the newest.
fn everything(revision: i64) -> RangeRequest {
    let all = KeyRange { start: vec![0].into(), end: RangeEnd::Open };
    RangeRequest { revision, serializable: true, ..RangeRequest::of(all) }
}

impl Subject {
    /// The revisions that are not compacted.
    pub(crate) fn revisions(&self) -> std::ops::RangeInclusive<i64> {
        let standing = &self.found.standing;
        standing.compact_revision.max(1)..=standing.revision
    }

    /// Every key at a revision that is not compacted.
    pub(crate) fn keys_at(&self, revision: i64) -> Vec<KeyValue> {
        let found = self.alone.replica().look(&everything(revision));
        found.expect("the revision is there, and not compacted").kvs
    }
}
