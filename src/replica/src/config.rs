//! How a member is set up: etcd's flags and constants, each with its default in etcd.

use std::collections::BTreeMap;

use crate::api::Member;
use crate::auth::AuthConfig;
use crate::membership::Version;
use crate::time::Span;
use crate::{AutoCompaction, Bugs, MemberId, Release};

/// The configuration of one member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// This member.
    pub member: MemberId,
    /// The voters that bootstrap the cluster together. Used only on an empty disk, by a member that is one of them; any
    /// other member with an empty disk joins an existing cluster and waits for its leader.
    pub initial_cluster: Vec<MemberId>,
    /// How members are called and reached, where that is not as [`Address::of`] has it.
    pub addresses: BTreeMap<MemberId, Address>,
    /// Whether the member tells the cluster its name and client URLs after each start. etcd: always.
    pub publish: bool,
    /// Time between looks at the cluster's version, by the leader, and at the storage's. 0: never. etcd: 4 s.
    pub monitor_version_interval: Span,
    /// Time between looks at whether a downgrade is complete. 0: never. etcd: 5 s.
    pub downgrade_check_interval: Span,
    /// Refuse changes of the membership that could cost the quorum. etcd: on (`--strict-reconfig-check`).
    pub strict_reconfig_check: bool,
    /// How long members must have been connected to count in that. etcd: 5 s.
    pub health_interval: Span,
    /// Learners that the cluster may have at once. etcd: 1 (`--max-learners`).
    pub max_learners: usize,
    /// Tokens and passwords.
    pub auth: AuthConfig,
    /// The cluster's id, which the WAL of a new member is marked with. One that has a log keeps the id that is in it.
    pub cluster_id: u64,
    /// Start as the only member of a cluster of its own, with what the log has committed (`--force-new-cluster`).
    pub force_new_cluster: bool,
    /// Whose ways are followed where releases of etcd differ.
    pub release: Release,
    /// One Raft tick, which is also the heartbeat interval. etcd: 100 ms (`--heartbeat-interval`).
    pub heartbeat_interval: Span,
    /// Election timeout in ticks, 2 or more. etcd: 10 (`--election-timeout` 1000 ms).
    pub election_ticks: u32,
    /// Ask before campaigning. etcd: on.
    pub pre_vote: bool,
    /// A leader without a quorum for an election timeout steps down. etcd: always on.
    pub check_quorum: bool,
    /// Largest total of entries in one append message, bytes. etcd: 1 MiB.
    pub max_size_per_message: u64,
    /// Append messages on their way to one follower. etcd: 512.
    pub max_inflight_messages: usize,
    /// Applied entries between snapshots. etcd 3.6: 10,000.
    pub snapshot_count: u64,
    /// Entries kept in the Raft log behind a snapshot for slow followers. etcd: 5,000.
    pub snapshot_catch_up_entries: u64,
    /// Applied entries between compactions of the Raft log that come without a snapshot. etcd since 3.6: 100.
    pub memory_snapshot_count: u64,
    /// Bytes of a database that are sent at once. etcd: 32 KiB, as Go copies.
    pub snapshot_chunk_bytes: usize,
    /// Time between two chunks: what a connection takes for one. etcd: as fast as the network is.
    pub snapshot_chunk_interval: Span,
    /// After a database was sent, the Raft log is not compacted for so long. etcd: 30 s.
    pub snapshot_release_delay: Span,
    /// Time between backend commits. etcd: 100 ms.
    pub backend_batch_interval: Span,
    /// Pending backend operations that force a commit. etcd: 10,000.
    pub backend_batch_limit: usize,
    /// Keys that one compaction batch removes. etcd: 1,000.
    pub compaction_batch_limit: usize,
    /// Pause between compaction batches. etcd: 10 ms.
    pub compaction_sleep_interval: Span,
    /// Size at which a WAL segment is cut, bytes. etcd: 64,000,000.
    pub wal_segment_bytes: u64,
    /// Operations in one transaction. etcd: 128.
    pub max_txn_ops: usize,
    /// Size of one request, bytes. etcd: 1.5 MiB.
    pub max_request_bytes: usize,
    /// How long the server works on a request. etcd: 5 s + 2 election timeouts = 7 s.
    pub request_timeout: Span,
    /// How long a read index is waited for before it is asked for again, under a new id. etcd: 500 ms.
    pub read_index_retry: Span,
    /// Committed entries not yet applied beyond which new proposals are refused. etcd: 5,000.
    pub max_commit_apply_gap: u64,
    /// Entries that the apply task takes in one run, 1 or more. etcd has no such limit; small values interleave more.
    pub apply_batch: usize,
    /// Responses that wait for one watch stream's send loop before its watchers become victims. etcd: 128.
    pub watch_channel: usize,
    /// Watchers taken by one run of the watch sync task. etcd: 512.
    pub watch_sync_batch: usize,
    /// Time between runs of the watch sync task. etcd: 100 ms.
    pub watch_resync_interval: Span,
    /// Time between retries of victims. etcd: 10 ms.
    pub watch_victim_interval: Span,
    /// Revisions in one response to a lagging watcher. etcd: 1,000.
    pub watch_batch_revisions: usize,
    /// Time between progress notifications. etcd: 10 min.
    pub watch_progress_interval: Span,
    /// Size of the backend's file beyond which a request that would make it grow is refused, and the alarm about space
    /// raised, bytes. 0 or less: no quota. etcd: 2 GiB (`--quota-backend-bytes`, whose own 0 is that).
    pub quota_backend_bytes: i64,
    /// Time between looks for leases that have ended. etcd: 500 ms.
    pub lease_expiry_interval: Span,
    /// Leases that may end in one second when many do, 2 or more. etcd: 1,000.
    pub lease_revoke_rate: u64,
    /// Revocations of one look that are on their way at once. etcd: 16.
    pub lease_pending_revokes: usize,
    /// Checkpoint the time that long leases have left. etcd: off (feature gate `LeaseCheckpoint`).
    pub lease_checkpoint: bool,
    /// Time between checkpoints of one lease. etcd: 5 min.
    pub lease_checkpoint_interval: Span,
    /// Checkpoints go to the backend. etcd: on, when the cluster's version is 3.6 or higher.
    pub lease_checkpoint_persist: bool,
    /// How long keep-alives wait for the leader to apply what is committed. etcd: 1 s.
    pub lease_apply_timeout: Span,
    /// Before it does anything, a member that has been one before compares its data with the others'. etcd: off
    /// (feature gate `InitialCorruptCheck`).
    pub initial_corrupt_check: bool,
    /// Time between the leader's looks whether all members have the same data. 0: never; etcd's default
    /// (`--corrupt-check-time`).
    pub corrupt_check_time: Span,
    /// The leader compares what compactions have come to on all members. etcd: off (feature gate `CompactHashCheck`).
    pub compact_hash_check: bool,
    /// From the end of such a comparison to the next one. etcd: 1 min (`--compact-hash-check-time`).
    pub compact_hash_check_time: Span,
    /// Compaction that nobody asks for. etcd: off (`--auto-compaction-mode`, `--auto-compaction-retention`).
    pub auto_compaction: AutoCompaction,
    /// Time between compactions that keep so many revisions. etcd: 5 min.
    pub auto_compaction_interval: Span,
    /// Time between runs of the purge task. etcd: 30 s.
    pub purge_interval: Span,
    /// Snapshots that the purge task keeps. 0: all. etcd: 5 (`--max-snapshots`).
    pub max_snapshots: usize,
    /// WAL segments that it keeps, beside those that are needed. 0: all. etcd: 5 (`--max-wals`).
    pub max_wals: usize,
    /// Bugs switched on.
    pub bugs: Bugs,
}

/// How a member is called and reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Its name (`--name`), not empty.
    pub name: String,
    /// Where the other members reach it (`--initial-advertise-peer-urls`).
    pub peer_urls: Vec<String>,
    /// Where clients reach it (`--advertise-client-urls`).
    pub client_urls: Vec<String>,
}

impl Address {
    /// Of a member that has none of its own: a host that is called like the member, etcd's ports.
    pub fn of(member: MemberId) -> Self {
        Self {
            name: member.to_string(),
            peer_urls: vec![format!("http://{member}:2380")],
            client_urls: vec![format!("http://{member}:2379")],
        }
    }
}

/// Why a configuration cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The field.
    pub field: &'static str,
    /// What it must be.
    pub reason: &'static str,
}

impl Config {
    /// etcd's defaults for `member` of a cluster that `initial_cluster` bootstraps.
    pub fn etcd(member: MemberId, initial_cluster: Vec<MemberId>) -> Self {
        Self {
            member,
            initial_cluster,
            addresses: BTreeMap::new(),
            publish: true,
            monitor_version_interval: Span::secs(4),
            downgrade_check_interval: Span::secs(5),
            strict_reconfig_check: true,
            health_interval: Span::secs(5),
            max_learners: 1,
            auth: AuthConfig::default(),
            cluster_id: 1,
            force_new_cluster: false,
            release: Release::default(),
            heartbeat_interval: Span::millis(100),
            election_ticks: 10,
            pre_vote: true,
            check_quorum: true,
            max_size_per_message: 1 << 20,
            max_inflight_messages: 512,
            snapshot_count: 10_000,
            snapshot_catch_up_entries: 5_000,
            memory_snapshot_count: 100,
            snapshot_chunk_bytes: 32 << 10,
            snapshot_chunk_interval: Span::micros(250),
            snapshot_release_delay: Span::secs(30),
            backend_batch_interval: Span::millis(100),
            backend_batch_limit: 10_000,
            compaction_batch_limit: 1_000,
            compaction_sleep_interval: Span::millis(10),
            wal_segment_bytes: 64_000_000,
            max_txn_ops: 128,
            max_request_bytes: 3 << 19,
            request_timeout: Span::secs(7),
            read_index_retry: Span::millis(500),
            max_commit_apply_gap: 5_000,
            apply_batch: 64,
            watch_channel: 128,
            watch_sync_batch: 512,
            watch_resync_interval: Span::millis(100),
            watch_victim_interval: Span::millis(10),
            watch_batch_revisions: 1_000,
            watch_progress_interval: Span::secs(600),
            quota_backend_bytes: 2 << 30,
            lease_expiry_interval: Span::millis(500),
            lease_revoke_rate: 1_000,
            lease_pending_revokes: 16,
            lease_checkpoint: false,
            lease_checkpoint_interval: Span::secs(300),
            lease_checkpoint_persist: true,
            lease_apply_timeout: Span::secs(1),
            initial_corrupt_check: false,
            corrupt_check_time: Span::ZERO,
            compact_hash_check: false,
            compact_hash_check_time: Span::secs(60),
            auto_compaction: AutoCompaction::Off,
            auto_compaction_interval: Span::secs(300),
            purge_interval: Span::secs(30),
            max_snapshots: 5,
            max_wals: 5,
            bugs: Bugs::NONE,
        }
    }

    /// The version of this server, which decides about the cluster's.
    pub fn version(&self) -> Version {
        self.release.version()
    }

    /// How `member` is called and reached.
    pub fn address(&self, member: MemberId) -> Address {
        self.addresses.get(&member).cloned().unwrap_or_else(|| Address::of(member))
    }

    /// The members that found the cluster, as their first entries name them.
    pub(crate) fn founders(&self) -> impl Iterator<Item = Member> + '_ {
        self.initial_cluster.iter().map(|id| {
            let Address { name, peer_urls, .. } = self.address(*id);
            Member { id: *id, name, peer_urls, client_urls: Vec::new(), is_learner: false }
        })
    }

    /// Whether the fields can be together.
    ///
    /// # Errors
    /// The first field that cannot.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |field, reason| Err(ConfigError { field, reason });
        if self.member == MemberId::NONE {
            return refuse("member", "must not be 0");
        }
        if self.heartbeat_interval == Span::ZERO {
            return refuse("heartbeat_interval", "must be more than 0");
        }
        if self.election_ticks < 2 {
            return refuse("election_ticks", "must be 2 or more");
        }
        for (field, value) in [
            ("max_inflight_messages", self.max_inflight_messages),
            ("backend_batch_limit", self.backend_batch_limit),
            ("compaction_batch_limit", self.compaction_batch_limit),
            ("apply_batch", self.apply_batch),
            ("watch_channel", self.watch_channel),
            ("watch_sync_batch", self.watch_sync_batch),
            ("watch_batch_revisions", self.watch_batch_revisions),
            ("lease_pending_revokes", self.lease_pending_revokes),
            ("snapshot_chunk_bytes", self.snapshot_chunk_bytes),
        ] {
            if value == 0 {
                return refuse(field, "must be 1 or more");
            }
        }
        if self.lease_revoke_rate < 2 {
            return refuse("lease_revoke_rate", "must be 2 or more");
        }
        if self.lease_expiry_interval == Span::ZERO {
            return refuse("lease_expiry_interval", "must be more than 0");
        }
        for (field, value) in [
            ("compact_hash_check_time", self.compact_hash_check_time),
            ("auto_compaction_interval", self.auto_compaction_interval),
        ] {
            if value == Span::ZERO {
                return refuse(field, "must be more than 0");
            }
        }
        match self.auto_compaction {
            AutoCompaction::Periodic(Span(0..10)) => return refuse("auto_compaction", "must keep 10ns or more"),
            AutoCompaction::Revisions(..1) => return refuse("auto_compaction", "must keep 1 revision or more"),
            _ => {}
        }
        if self.snapshot_count == 0 {
            return refuse("snapshot_count", "must be 1 or more");
        }
        if self.wal_segment_bytes < 4096 {
            return refuse("wal_segment_bytes", "must be 4096 or more");
        }
        self.auth.validate()
    }
}
