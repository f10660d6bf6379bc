//! `bootstrapWithWAL`: a member goes on from the newest snapshot that counts, the entries after it, and the database
//! that belongs to it; or, forced, as the only member of a new cluster.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::api::Member;
use crate::backend::Backend;
use crate::membership::{old, Change, Members};
use crate::raftpb::{ConfState, Entry, EntryType, HardState};
use crate::snap::SnapDir;
use crate::wal::{self, fields, Commands, Field, Settings, Small, WalSnapshot};
use crate::{BootError, Bug, Config, DiskCommand, DiskImage, FileName, MemberId, OpId};

use super::boot::{founding, Recovered};
use super::outputs::Outputs;

/// What a WAL is created with: `etcdserverpb.Metadata`, node id and cluster id.
pub(super) fn metadata(member: MemberId, cluster: u64) -> Bytes {
    let mut metadata = Small::new();
    metadata.varint(0x08, member.0);
    metadata.varint(0x10, cluster);
    Bytes::copy_from_slice(metadata.bytes())
}

/// Whose WAL it is.
fn owner(metadata: &[u8]) -> Result<MemberId, &'static str> {
    let mut member = MemberId::NONE;
    fields(metadata, |number, field| {
        if let (1, Field::Varint(id)) = (number, field) {
            member = MemberId(id);
        }
        Ok(())
    })?;
    Ok(member)
}

pub(super) fn recover(config: &Config, image: &DiskImage, out: &mut Outputs) -> Result<Recovered, BootError> {
    let settings = Settings::of(config);
    let mut snap_dir = SnapDir::open(image, out);
    let records = wal::valid_snapshots(image, settings)?;
    let (index, term, conf_state, store) = newest_snapshot(config, image, &records, &mut snap_dir, out);
    for file in image.files.keys().filter(|file| matches!(file, FileName::DbTmp { .. })) {
        // What a defragmentation has left behind.
        out.issue(DiskCommand::Remove { file: *file });
    }
    let backend = open_backend(config, image, index, &mut snap_dir, out)?;
    let mut read = wal::read(image, (index, term), settings)?;
    let owner = owner(&read.metadata).map_err(|reason| BootError::Config { reason: reason.into() })?;
    if owner != config.member {
        return Err(BootError::Config { reason: format!("the WAL is that of {owner}, not of {}", config.member) });
    }
    let syncs = perform(read.repair, out);
    read.wal.start(out);
    let (mut hard_state, mut entries, mut unsaved) = (read.hard_state, read.entries, None);
    // A crash may have come between the making of the log and its first entries.
    if hard_state.commit == 0 && index == 0 && config.initial_cluster.contains(&config.member) {
        (hard_state, entries) = founding(config);
        unsaved = Some((Some(hard_state.clone()), entries.clone()));
    } else if config.force_new_cluster {
        // A commit index alone is not synced, so that a crash may take it, and leave a backend that is ahead of it.
        if !config.bugs.has(Bug::ForceNewDropsCommitted) {
            hard_state.commit = hard_state.commit.max(backend.consistent_index());
        }
        entries.retain(|entry| entry.index <= hard_state.commit);
        let changes = changes_to_one_member(config.member, &conf_state, &entries, &mut hard_state)?;
        entries.extend_from_slice(&changes);
        // A log that damage has cut short may end before the database does: what is left of it is committed.
        if let Some(last) = entries.last() {
            hard_state.commit = last.index;
        }
        // The hard state is not saved with them: the next one that changes is.
        unsaved = (!changes.is_empty()).then_some((None, changes));
    }
    let replayed = match (index, &store[..]) {
        (0, _) => Some(Members::default()),
        (_, []) => None,
        (_, store) => Some(old::parse_store(store).map_err(|reason| BootError::Snapshot { reason })?),
    };
    let snapshot = (index, term, conf_state);
    Ok(Recovered { wal: read.wal, backend, snap_dir, hard_state, entries, snapshot, replayed, syncs, unsaved })
}

/// Up to 3.6 the newest file that a record names, with the members in it; later the newest record.
fn newest_snapshot(
    config: &Config,
    image: &DiskImage,
    records: &[WalSnapshot],
    snap_dir: &mut SnapDir,
    out: &mut Outputs,
) -> (u64, u64, ConfState, Bytes) {
    if config.release.writes_snap_files() {
        let newest = snap_dir.load_newest_available(image, records, out);
        return newest.map_or_else(Default::default, |mut snapshot| {
            let members = std::mem::take(&mut snapshot.data);
            let metadata = snapshot.mut_metadata();
            (metadata.index, metadata.term, metadata.take_conf_state(), members)
        });
    }
    let newest = records.last().cloned();
    newest.map_or_else(Default::default, |record| {
        (record.index, record.term, record.conf_state.unwrap_or_default(), Bytes::new())
    })
}

/// `RecoverSnapshotBackend`: the database, or the one that came with the snapshot when its rename was lost or had not
/// been done yet.
fn open_backend(
    config: &Config,
    image: &DiskImage,
    snapshot: u64,
    snap_dir: &mut SnapDir,
    out: &mut Outputs,
) -> Result<Backend, BootError> {
    let backend = Backend::open(image, config.bugs)?;
    if snapshot <= backend.consistent_index() {
        return Ok(backend);
    }
    let file = FileName::SnapDb { index: snapshot };
    let refuse = |reason| BootError::Snapshot { reason };
    let Some(database) = image.bytes(file).filter(|_| snap_dir.take_database(snapshot, out)) else {
        let have = backend.consistent_index();
        let why = format!("{file} doesn't exist, and {} is at index {have}", FileName::Db);
        return Err(refuse(format!("failed to recover v3 backend from snapshot: {why}")));
    };
    let backend = Backend::parse(&database, config.bugs)?;
    let have = backend.consistent_index();
    // An index that was never saved is that of a database from before 3.0, and taken as it is.
    if have < snapshot && have != 0 {
        return Err(refuse(format!(
            "database file ({} index {have}) does not match with snapshot (index {snapshot})",
            FileName::Db
        )));
    }
    Ok(backend)
}

/// Perform what a log that was read needs. Gives the syncs to wait for.
fn perform(repair: Vec<DiskCommand>, out: &mut Outputs) -> Vec<OpId> {
    let mut syncs = Vec::new();
    for command in repair {
        let synced = matches!(command, DiskCommand::Fsync { .. });
        let op = out.issue(command);
        if synced {
            syncs.push(op);
        }
    }
    syncs
}

/// The entries that make `member` the only one, committed behind those of the log.
fn changes_to_one_member(
    member: MemberId,
    conf_state: &ConfState,
    entries: &[Entry],
    hard_state: &mut HardState,
) -> Result<Vec<Entry>, BootError> {
    let mut ids: BTreeSet<u64> = conf_state.voters.iter().chain(&conf_state.learners).copied().collect();
    for entry in entries.iter().filter(|entry| entry.entry_type == EntryType::EntryConfChange) {
        let (_, change) = Change::decode(&entry.data).map_err(|_| BootError::Config {
            reason: format!("entry {} is no change of the configuration", entry.index),
        })?;
        match change {
            Change::Remove(id) => ids.remove(&id.0),
            Change::Add(Member { id, .. }) | Change::Promote(id) => ids.insert(id.0),
            Change::Update(_) => false,
        };
    }
    // Raft must not be without voters at any time, so this member comes first, if it has to be added.
    let mut changes = Vec::new();
    if !ids.remove(&member.0) {
        let peer_urls = vec!["http://localhost:2380".to_owned()];
        changes.push(Change::Add(Member { id: member, peer_urls, ..Member::default() }));
    }
    changes.extend(ids.into_iter().map(|id| Change::Remove(MemberId(id))));
    let entry = |change: Change| {
        hard_state.commit += 1;
        let (term, index) = (hard_state.term, hard_state.commit);
        let data = change.encode(0);
        Entry { entry_type: EntryType::EntryConfChange, term, index, data, ..Default::default() }
    };
    Ok(changes.into_iter().map(entry).collect())
}
