//! A member starts: from an empty disk, or from whatever a crash has left on it.

use raft::{RawNode, StateRole};

use crate::alarm::Alarms;
use crate::backend::Backend;
use crate::lease::Lessor;
use crate::log::LogStorage;
use crate::mvcc::{Store, Watchers};
use crate::raftpb::{ConfChange, ConfChangeType, ConfState, Entry, EntryType, HardState};
use crate::time::{Monotonic, Span};
use crate::wal::{self, Commands, Wal};
use crate::{
    BootError, Config, Dir, DiskCommand, DiskImage, Event, FileName, MemberId, OpId, Output, Replica, Role, Task,
};

use super::apply::Applying;
use super::election::ElectionTimer;
use super::lease::Leasing;
use super::maintenance::Maintenance;
use super::membership::Membership;
use super::outputs::Outputs;
use super::raft_loop::Saving;
use super::read::Reads;
use super::snapshot::Snapshotting;
use super::{IdGenerator, Waiting};

/// What the WAL and the database files say together.
struct Recovered {
    wal: Wal,
    backend: Backend,
    hard_state: HardState,
    entries: Vec<Entry>,
    snapshot: (u64, u64, ConfState),
    /// Syncs that must end before Raft may act on what was written just now.
    syncs: Vec<OpId>,
    /// The entries are a founder's first ones, and not in the log yet.
    founding: bool,
}

impl Replica {
    /// Start a member on `image`, at `now` on its clock, and append what must be done first to `out`.
    ///
    /// On an empty image a member of `config.initial_cluster` bootstraps the cluster together with the others, and any
    /// other member waits to be given the log by a leader.
    ///
    /// # Errors
    /// What etcd refuses to start from: a WAL that is damaged in the middle, a database that cannot be read or is older
    /// than the snapshot it must have. Nothing is changed then.
    pub fn boot(config: Config, image: &DiskImage, now: Monotonic, out: &mut Vec<Output>) -> Result<Self, BootError> {
        config.validate().map_err(|error| BootError::Config { reason: format!("{} {}", error.field, error.reason) })?;
        let mut outputs = Outputs::default();
        outputs.start(out);
        let recovered = match wal::exists(image) {
            true => recover(&config, image, &mut outputs),
            false => Ok(bootstrap(&config, &mut outputs)),
        };
        let recovered = match recovered {
            Ok(recovered) => recovered,
            Err(error) => {
                outputs.finish(out);
                return Err(error);
            }
        };
        let mut replica = assemble(config, recovered, now, outputs)?;
        replica.start();
        replica.out.finish(out);
        Ok(replica)
    }

    /// Set every periodic task going.
    fn start(&mut self) {
        for (task, after) in [
            (Task::Tick, self.config.heartbeat_interval),
            (Task::BackendCommit, self.config.backend_batch_interval),
            (Task::WatchSync, self.config.watch_resync_interval),
            (Task::WatchProgress, self.config.watch_progress_interval),
            (Task::Purge, self.config.purge_interval),
            (Task::RaftLoop, Span::ZERO),
        ] {
            self.out.wake(task, after);
        }
        if self.store.compaction_pending() {
            self.out.wake_now(Task::Compaction);
        }
        self.event(Event::ConfigurationChanged {
            voters: self.membership.voters().to_vec(),
            learners: self.membership.learners().to_vec(),
        });
        self.after_step();
    }
}

/// A new member: empty files. The database's comes into being with the first commit.
fn bootstrap(config: &Config, out: &mut Outputs) -> Recovered {
    // etcdserverpb.Metadata: node id, cluster id.
    let mut metadata = vec![0x08];
    let mut id = config.member.0;
    while id >= 0x80 {
        metadata.push(id as u8 | 0x80);
        id >>= 7;
    }
    metadata.extend_from_slice(&[id as u8, 0x10, 0x01]);
    let (wal, created) = Wal::create(metadata.into(), config.wal_segment_bytes, out);
    let (hard_state, entries) = founding(config);
    let founding = !entries.is_empty();
    let snapshot = (0, 0, ConfState::default());
    Recovered {
        wal,
        backend: Backend::create(config.bugs),
        hard_state,
        entries,
        snapshot,
        syncs: vec![created],
        founding,
    }
}

/// The entries that name the founders, as `raft.StartNode` makes them: term 1, already committed. None for a member
/// that joins later.
fn founding(config: &Config) -> (HardState, Vec<Entry>) {
    let mut hard_state = HardState::default();
    let mut entries = Vec::new();
    if !config.initial_cluster.contains(&config.member) {
        return (hard_state, entries);
    }
    for (place, member) in config.initial_cluster.iter().enumerate() {
        let mut change = ConfChange::default();
        change.change_type = ConfChangeType::AddNode;
        change.node_id = member.0;
        let mut entry = Entry::default();
        entry.entry_type = EntryType::EntryConfChange;
        entry.term = 1;
        entry.index = place as u64 + 1;
        entry.data =
            protobuf::Message::write_to_bytes(&change).expect("a message in memory can always be written").into();
        entries.push(entry);
    }
    hard_state.term = 1;
    hard_state.commit = entries.len() as u64;
    (hard_state, entries)
}

/// `bootstrapWithWAL`: the newest snapshot that the WAL records, the entries after it, the database that belongs to it.
fn recover(config: &Config, image: &DiskImage, out: &mut Outputs) -> Result<Recovered, BootError> {
    let newest = wal::valid_snapshots(image)?.into_iter().max_by_key(|snapshot| snapshot.index);
    let (index, term, conf_state) = newest.map_or_else(Default::default, |snapshot| {
        (snapshot.index, snapshot.term, snapshot.conf_state.unwrap_or_default())
    });
    let read = wal::read(image, (index, term), config.wal_segment_bytes)?;
    let mut syncs = Vec::new();
    for command in read.repair {
        let synced = matches!(command, DiskCommand::Sync { .. } | DiskCommand::SyncDir { .. });
        let op = out.issue(command);
        if synced {
            syncs.push(op);
        }
    }
    for file in image.files.keys().filter(|file| matches!(file, FileName::DbTmp { .. })) {
        // What a defragmentation has left behind.
        out.issue(DiskCommand::Remove { file: *file });
    }
    let mut backend = Backend::open(image, config.bugs)?;
    if backend.consistent_index() < index {
        // The database came with a snapshot whose rename was lost, or had not been done yet.
        let (file, have) = (FileName::SnapDb { index }, backend.consistent_index());
        let refuse = |reason| BootError::Snapshot { reason };
        let Some(database) = image.files.get(&file) else {
            return Err(refuse(format!("no database for the snapshot at {index}: {file} is missing, db is at {have}")));
        };
        backend = Backend::parse(database, config.bugs)?;
        let have = backend.consistent_index();
        if have < index {
            return Err(refuse(format!("{file} is at index {have}, below its snapshot {index}")));
        }
        out.issue(DiskCommand::Rename { from: file, to: FileName::Db });
        syncs.push(out.issue(DiskCommand::SyncDir { dir: Dir::Snap }));
    }
    let (mut hard_state, mut entries) = (read.hard_state, read.entries);
    // A crash may have come between the making of the log and its first entries.
    let founding = hard_state.commit == 0 && index == 0 && config.initial_cluster.contains(&config.member);
    if founding {
        (hard_state, entries) = self::founding(config);
    }
    Ok(Recovered { wal: read.wal, backend, hard_state, entries, snapshot: (index, term, conf_state), syncs, founding })
}

fn assemble(config: Config, found: Recovered, now: Monotonic, mut out: Outputs) -> Result<Replica, BootError> {
    let Recovered { wal, backend, mut hard_state, entries, snapshot, syncs, founding } = found;
    let first = founding.then(|| (hard_state.clone(), entries.clone()));
    // A commit index may be behind the snapshot: it is not always synced.
    hard_state.commit = hard_state.commit.max(snapshot.0);
    let last = snapshot.0 + entries.len() as u64;
    hard_state.commit = hard_state.commit.min(last);
    let conf_state = match snapshot.0 {
        0 => founders(&entries, hard_state.commit),
        _ => snapshot.2.clone(),
    };
    let storage = LogStorage {
        hard_state: hard_state.clone(),
        conf_state: conf_state.clone(),
        start: (snapshot.0, snapshot.1),
        entries,
        snapshot: (snapshot.0, snapshot.1, conf_state),
    };
    let mut raft = new_raft(&config, storage, snapshot.0)
        .map_err(|error| BootError::Config { reason: format!("raft: {error}") })?;
    let refuse = |reason| BootError::Backend { reason };
    // The leases first: the store attaches its keys to them.
    let mut lessor = Lessor::restore(&backend, &config).map_err(refuse)?;
    let store = Store::restore(&backend, &mut lessor, config.bugs).map_err(refuse)?;
    let alarms = Alarms::restore(&backend, config.bugs).map_err(refuse)?;
    let membership = Membership::restore(&backend).map_err(|reason| BootError::Backend { reason })?;
    let election = ElectionTimer::new(&mut raft.raft);
    let watchers = Watchers::new(config.watch_channel, config.watch_batch_revisions);
    let mut disk = std::collections::BTreeMap::new();
    // Nobody would wake the Raft loop of a founder whose log exists but is empty: its entries are saved at once.
    for sync in &syncs {
        disk.insert(*sync, Waiting::RaftSave);
    }
    let saving = (!syncs.is_empty() || founding).then(|| Saving::of_boot(syncs, first));
    let backend_committed = backend.consistent_index();
    let ids = IdGenerator::new(config.member, now);
    let applied = snapshot.0;
    out.event(Event::RoleChanged { role: Role::Follower, term: raft.raft.term, leader: None });
    assert_eq!(raft.raft.state, StateRole::Follower, "a member starts as a follower");
    Ok(Replica {
        raft,
        wal,
        backend,
        store,
        watchers,
        lessor,
        alarms,
        membership,
        election,
        reads: Reads::default(),
        applying: Applying::default(),
        snapshotting: Snapshotting::at(applied),
        leasing: Leasing::new(now),
        maintenance: Maintenance::default(),
        saving,
        tick_waiting: false,
        disk,
        proposed: std::collections::BTreeMap::new(),
        internal: std::collections::BTreeMap::new(),
        unled: std::collections::VecDeque::new(),
        deadlines: std::collections::VecDeque::new(),
        compacting: Vec::new(),
        now,
        ids,
        role: Role::Follower,
        leader: MemberId::NONE,
        handed_over: applied,
        backend_committed,
        applied,
        log_changed_from: 0,
        commit_wanted: false,
        stopped: false,
        out,
        config,
    })
}

/// raft-rs with etcd's settings. `applied` is the last index whose entry is not to be handed out again.
pub(super) fn new_raft(config: &Config, storage: LogStorage, applied: u64) -> raft::Result<RawNode<LogStorage>> {
    let settings = raft::Config {
        id: config.member.0,
        election_tick: config.election_ticks as usize,
        heartbeat_tick: 1,
        applied,
        max_size_per_msg: config.max_size_per_message,
        max_inflight_msgs: config.max_inflight_messages,
        check_quorum: config.check_quorum,
        pre_vote: config.pre_vote,
        read_only_option: raft::ReadOnlyOption::Safe,
        ..raft::Config::default()
    };
    // Its log lines hold what it drew by itself; nobody may read them.
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    RawNode::new(&settings, storage, &logger)
}

/// Before the first snapshot Raft's configuration is the one that the founders wrote into the log.
fn founders(entries: &[Entry], commit: u64) -> ConfState {
    let mut conf_state = ConfState::default();
    for entry in entries.iter().take_while(|entry| entry.index <= commit && entry.term == 1) {
        if entry.entry_type != EntryType::EntryConfChange {
            break;
        }
        let change: ConfChange = protobuf::Message::parse_from_bytes(&entry.data).expect("bootstrap wrote this entry");
        conf_state.voters.push(change.node_id);
    }
    conf_state
}
