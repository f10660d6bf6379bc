//! What a data dir holds, as the member that boots from it serves it.

use detcd_replica::api::{KeyRange, KeyValue, RangeEnd, RangeRequest};
use detcd_replica::{raftpb, wal, Config, DiskImage, MemberId};
use serde::Serialize;

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
}

/// A member that was booted from a data dir, to be asked.
pub(crate) struct Subject {
    alone: Alone,
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
    let config = Config::etcd(MemberId(member), vec![MemberId(member)]);
    let forced = start == Start::Forced || has_others(image, member);
    //FORCE config.force_new_cluster = forced;
    let alone = Alone::boot(config, image.clone())?;
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
    };
    Ok(Subject { alone, found })
}

/// Whose data dir it is: member and cluster, as the WAL says.
fn identity(image: &DiskImage) -> Result<(u64, u64), String> {
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
