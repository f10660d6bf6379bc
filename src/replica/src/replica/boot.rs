//! A member starts: from an empty disk, or from whatever a crash has left on it.

use raft::{RawNode, StateRole};

use crate::alarm::Alarms;
use crate::auth::AuthStore;
use crate::backend::Backend;
use crate::compactor::Compactor;
use crate::lease::Lessor;
use crate::log::LogStorage;
use crate::membership::{Change, Cluster, Members};
use crate::mvcc::{Store, Watchers};
use crate::raftpb::{ConfState, Entry, EntryType, HardState};
use crate::snap::{Receiving, SnapDir};
use crate::time::{Monotonic, Span};
use crate::wal::{self, Settings, Wal};
use crate::{BootError, Config, DiskImage, Event, FileName, MemberId, OpId, Output, Replica, Role, Task};

use super::apply::Applying;
use super::auth::Callers;
use super::corruption::Corruption;
use super::election::ElectionTimer;
use super::lease::Leasing;
use super::maintenance::Maintenance;
use super::membership::Peers;
use super::outputs::Outputs;
use super::pace::Pace;
use super::raft_loop::Saving;
use super::read::Reads;
use super::snapshot::Snapshotting;
use super::{recover, CompactionCommit, IdGenerator, Waiting};

/// What the files say together.
pub(super) struct Recovered {
    pub(super) wal: Wal,
    pub(super) backend: Backend,
    pub(super) snap_dir: SnapDir,
    pub(super) hard_state: HardState,
    pub(super) entries: Vec<Entry>,
    pub(super) snapshot: (u64, u64, ConfState),
    /// Who was a member at the snapshot, if the files say so.
    pub(super) replayed: Option<Members>,
    /// Syncs that must end before Raft may act on what was written just now.
    pub(super) syncs: Vec<OpId>,
    /// What of these is not in the log yet.
    pub(super) unsaved: Option<(Option<HardState>, Vec<Entry>)>,
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
        let was_there = wal::exists(image);
        let recovered = match was_there {
            true => recover::recover(&config, image, &mut outputs),
            false => bootstrap(&config, image, &mut outputs),
        };
        let recovered = match recovered {
            Ok(recovered) => recovered,
            Err(error) => {
                outputs.finish(out);
                return Err(error);
            }
        };
        let mut replica = assemble(config, recovered, now, outputs)?;
        // One that came before a crash is there already when its snapshot is sent again.
        for (file, database) in &image.files {
            if let FileName::SnapDb { index } = file {
                replica.applying.keep_database(*index, database.to_bytes());
            }
        }
        replica.start(was_there);
        replica.out.finish(out);
        Ok(replica)
    }

    /// Begin; a member that `was_there` before may have to see first that its data are those of the others.
    fn start(&mut self, was_there: bool) {
        let must_check = was_there && self.config.initial_corrupt_check;
        if !must_check || !self.begin_initial_check() {
            self.start_tasks();
        }
        self.event(Event::ConfigurationChanged {
            voters: self.membership.voters().to_vec(),
            learners: self.membership.learners().to_vec(),
        });
        // Entries that are not in the log yet are saved at once: nobody else would wake the Raft loop.
        self.go_on_saving();
        self.after_step();
    }

    /// Set every periodic task going.
    pub(super) fn start_tasks(&mut self) {
        for (task, after) in [
            (Task::Tick, self.config.heartbeat_interval),
            (Task::BackendCommit, self.config.backend_batch_interval),
            (Task::WatchSync, self.config.watch_resync_interval),
            (Task::WatchProgress, self.config.watch_progress_interval),
            (Task::Purge, Span::ZERO),
            (Task::RaftLoop, Span::ZERO),
        ] {
            self.out.wake(task, after);
        }
        for (task, interval) in [
            (Task::ClusterVersion, self.config.monitor_version_interval),
            (Task::Downgrade, self.config.downgrade_check_interval),
        ] {
            if interval != Span::ZERO {
                self.out.wake(task, interval);
            }
        }
        if self.store.compaction_pending() {
            self.out.wake_now(Task::Compaction);
        }
        self.schedule_checks();
        self.start_compactor();
    }
}

/// A new member: empty files. The database's comes into being with the first commit; one that is there already, as
/// `etcdutl snapshot restore` leaves it, is taken as it is.
fn bootstrap(config: &Config, image: &DiskImage, out: &mut Outputs) -> Result<Recovered, BootError> {
    let backend = Backend::open(image, config.bugs)?;
    let snap_dir = SnapDir::open(image, out);
    let metadata = recover::metadata(config.member, config.cluster_id);
    let (wal, created) = Wal::create(metadata, Settings::of(config), image, out);
    let (hard_state, entries) = founding(config);
    let unsaved = (!entries.is_empty()).then(|| (Some(hard_state.clone()), entries.clone()));
    let (snapshot, syncs) = ((0, 0, ConfState::default()), vec![created]);
    let replayed = Some(Members::default());
    Ok(Recovered { wal, backend, snap_dir, hard_state, entries, snapshot, replayed, syncs, unsaved })
}

/// The entries that name the founders, as `raft.StartNode` makes them: term 1, already committed. None for a member
/// that joins later.
pub(super) fn founding(config: &Config) -> (HardState, Vec<Entry>) {
    let mut hard_state = HardState::default();
    let mut entries = Vec::new();
    if !config.initial_cluster.contains(&config.member) {
        return (hard_state, entries);
    }
    for (place, member) in config.founders().enumerate() {
        let mut entry = Entry::default();
        entry.entry_type = EntryType::EntryConfChange;
        entry.term = 1;
        entry.index = place as u64 + 1;
        entry.data = Change::Add(member).encode(0);
        entries.push(entry);
    }
    hard_state.term = 1;
    hard_state.commit = entries.len() as u64;
    (hard_state, entries)
}

fn assemble(config: Config, found: Recovered, now: Monotonic, mut out: Outputs) -> Result<Replica, BootError> {
    let Recovered { wal, mut backend, snap_dir, hard_state, entries, snapshot, replayed, syncs, unsaved } = found;
    let last = snapshot.0 + entries.len() as u64;
    if hard_state.commit < snapshot.0 || hard_state.commit > last {
        let (commit, low) = (hard_state.commit, snapshot.0);
        return Err(BootError::Snapshot { reason: format!("state.commit {commit} is out of range [{low}, {last}]") });
    }
    let conf_state = match snapshot.0 {
        0 => founders(&entries, hard_state.commit),
        _ if replayed.is_some() => snapshot.2.clone(),
        // The changes up to the consistent index are in it, and will be passed over.
        _ => backend.conf_state().unwrap_or_else(|| snapshot.2.clone()),
    };
    let storage = LogStorage {
        hard_state: hard_state.clone(),
        conf_state: conf_state.clone(),
        start: (snapshot.0, snapshot.1),
        entries: entries.into(),
        snapshot: (snapshot.0, snapshot.1, conf_state),
    };
    let (batch_interval, resync_interval) = (config.backend_batch_interval, config.watch_resync_interval);
    let mut raft = new_raft(&config, storage, snapshot.0)
        .map_err(|error| BootError::Config { reason: format!("raft: {error}") })?;
    let refuse = |reason| BootError::Backend { reason };
    // The leases first: the store attaches its keys to them.
    let mut lessor = Lessor::restore(&backend, &config).map_err(refuse)?;
    let store = Store::restore(&backend, &mut lessor, config.bugs).map_err(refuse)?;
    let alarms = Alarms::restore(&backend, config.bugs).map_err(refuse)?;
    let membership = Cluster::restore(&backend, replayed).map_err(refuse)?;
    let auth = AuthStore::boot(&config.auth, config.bugs, now, &mut backend).map_err(refuse)?;
    let election = ElectionTimer::new(&mut raft.raft);
    let watchers = Watchers::new(config.watch_channel, config.watch_batch_revisions).with_bugs(config.bugs);
    let (mode, interval) = (config.auto_compaction, config.auto_compaction_interval);
    let compacting_alone = Compactor::new(mode, interval, now, store.revision());
    let mut disk = std::collections::BTreeMap::new();
    for sync in &syncs {
        disk.insert(*sync, Waiting::RaftSave);
    }
    let saving = (!syncs.is_empty() || unsaved.is_some()).then(|| Saving::of_boot(syncs, unsaved));
    // What it was opened from may never have been synced: the process may have ended before the last commit did.
    let backend_committed = 0;
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
        peers: Peers::new(now),
        auth,
        callers: Callers::default(),
        election,
        reads: Reads::default(),
        applying: Applying::default(),
        snapshotting: Snapshotting::at(applied),
        leasing: Leasing::new(now),
        maintenance: Maintenance::default(),
        corruption: Corruption::default(),
        compacting_alone,
        snap_dir,
        receiving: Receiving::default(),
        saving,
        tick_waiting: false,
        commits: Pace::new(batch_interval, now),
        watch_syncs: Pace::new(resync_interval, now),
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
        notified: applied,
        backend_committed,
        applied,
        log_changed_from: 0,
        commit_wanted: false,
        compaction_commit: CompactionCommit::None,
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
        let (_, change) = Change::decode(&entry.data).expect("bootstrap wrote this entry");
        conf_state.voters.push(change.member().0);
    }
    conf_state
}
