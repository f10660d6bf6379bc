//! The replica's constants as a scenario may set them: every field of [`Config`] but identity and bugs, each optional.
//!
//! What is left out keeps etcd's default, so that a scenario states only what it is about.

use detcd_replica::{AutoCompaction, Config, Release};
use serde::{Deserialize, Serialize};

use super::field::{section, Amount};
use super::span::Time;

/// An hour, the longest interval that any constant takes.
const HOUR: u64 = 3_600_000_000_000;
/// More than any count that makes sense.
const MANY: u64 = 1 << 40;

/// The line of etcd releases that members are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// 3.4
    #[serde(rename = "3.4")]
    V3_4,
    /// 3.5
    #[serde(rename = "3.5")]
    V3_5,
    /// 3.6
    #[serde(rename = "3.6")]
    V3_6,
    /// The main branch.
    #[serde(rename = "main")]
    Main,
}

impl From<Line> for Release {
    fn from(line: Line) -> Self {
        match line {
            Line::V3_4 => Self::V3_4,
            Line::V3_5 => Self::V3_5,
            Line::V3_6 => Self::V3_6,
            Line::Main => Self::Main,
        }
    }
}

impl Amount for Line {}

section! {
    /// `[replica]`: constants of every member. Left out: etcd's default.
    Constants {
        /// Whose ways are followed where releases of etcd differ: 3.4, 3.5, 3.6 or main. Default: 3.6.
        release: Option<Line> = None, 0, 0, "text";
        /// One Raft tick, which is also the heartbeat interval. etcd: 100ms.
        heartbeat_interval: Option<Time> = None, 1_000_000, HOUR, "time";
        /// Election timeout in ticks. etcd: 10.
        election_ticks: Option<u64> = None, 2, 10_000, "ticks";
        /// Ask before campaigning. etcd: true.
        pre_vote: Option<bool> = None, 0, 0, "true or false";
        /// A leader without a quorum for an election timeout steps down. etcd: true.
        check_quorum: Option<bool> = None, 0, 0, "true or false";
        /// Largest total of entries in one append message. etcd: 1 MiB.
        max_size_per_message: Option<u64> = None, 0, MANY, "bytes";
        /// Append messages on their way to one follower. etcd: 512.
        max_inflight_messages: Option<u64> = None, 1, 100_000, "messages";
        /// Applied entries between snapshots. etcd: 10,000.
        snapshot_count: Option<u64> = None, 1, MANY, "entries";
        /// Entries kept in the Raft log behind a snapshot. etcd: 5,000.
        snapshot_catch_up_entries: Option<u64> = None, 0, MANY, "entries";
        /// Applied entries between compactions of the Raft log that come without a snapshot. etcd since 3.6: 100.
        memory_snapshot_count: Option<u64> = None, 1, MANY, "entries";
        /// Bytes of a database that are sent at once. etcd: 32 KiB.
        snapshot_chunk_bytes: Option<u64> = None, 1, MANY, "bytes";
        /// Time between two chunks of a database. etcd: as fast as the network is; default 250us.
        snapshot_chunk_interval: Option<Time> = None, 0, HOUR, "time";
        /// After a database was sent, the Raft log is not compacted for so long. etcd: 30s.
        snapshot_release_delay: Option<Time> = None, 0, HOUR, "time";
        /// Time between backend commits. etcd: 100ms.
        backend_batch_interval: Option<Time> = None, 100_000, HOUR, "time";
        /// Pending backend operations that force a commit. etcd: 10,000.
        backend_batch_limit: Option<u64> = None, 1, MANY, "operations";
        /// Keys that one compaction batch removes. etcd: 1,000.
        compaction_batch_limit: Option<u64> = None, 1, MANY, "keys";
        /// Pause between compaction batches. etcd: 10ms.
        compaction_sleep_interval: Option<Time> = None, 0, HOUR, "time";
        /// Size at which a WAL segment is cut. etcd: 64,000,000.
        wal_segment_bytes: Option<u64> = None, 4096, MANY, "bytes";
        /// Operations in one transaction. etcd: 128.
        max_txn_ops: Option<u64> = None, 0, MANY, "operations";
        /// Size of one request. etcd: 1.5 MiB.
        max_request_bytes: Option<u64> = None, 0, MANY, "bytes";
        /// How long the server works on a request. etcd: 7s.
        request_timeout: Option<Time> = None, 1_000_000, HOUR, "time";
        /// How long a read index is waited for before it is asked for again. etcd: 500ms.
        read_index_retry: Option<Time> = None, 1_000_000, HOUR, "time";
        /// Committed entries not yet applied beyond which proposals are refused. etcd: 5,000.
        max_commit_apply_gap: Option<u64> = None, 0, MANY, "entries";
        /// Entries that the apply task takes in one run; few interleave more. etcd has no such limit; default 64.
        apply_batch: Option<u64> = None, 1, MANY, "entries";
        /// Responses that wait for one watch stream before its watchers become victims. etcd: 128.
        watch_channel: Option<u64> = None, 1, MANY, "responses";
        /// Watchers taken by one run of the watch sync task. etcd: 512.
        watch_sync_batch: Option<u64> = None, 1, MANY, "watchers";
        /// Time between runs of the watch sync task. etcd: 100ms.
        watch_resync_interval: Option<Time> = None, 100_000, HOUR, "time";
        /// Time between retries of victims. etcd: 10ms.
        watch_victim_interval: Option<Time> = None, 100_000, HOUR, "time";
        /// Revisions in one response to a lagging watcher. etcd: 1,000.
        watch_batch_revisions: Option<u64> = None, 1, MANY, "revisions";
        /// Time between progress notifications. etcd: 10m.
        watch_progress_interval: Option<Time> = None, 1_000_000, HOUR, "time";
        /// Size of the backend beyond which it takes nothing that makes it larger; 0 is no quota. etcd: 2 GiB.
        quota_backend_bytes: Option<u64> = None, 0, MANY, "bytes";
        /// Time between looks for leases that have ended. etcd: 500ms.
        lease_expiry_interval: Option<Time> = None, 1_000_000, HOUR, "time";
        /// Leases that may end in one second when many do. etcd: 1,000.
        lease_revoke_rate: Option<u64> = None, 2, MANY, "leases";
        /// Revocations of one look that are on their way at once. etcd: 16.
        lease_pending_revokes: Option<u64> = None, 1, MANY, "revocations";
        /// Checkpoint the time that long leases have left. etcd: false.
        lease_checkpoint: Option<bool> = None, 0, 0, "true or false";
        /// Time between checkpoints of one lease. etcd: 5m.
        lease_checkpoint_interval: Option<Time> = None, 1_000_000_000, HOUR, "time";
        /// Checkpoints go to the backend. etcd: true, since the cluster's version is 3.6.
        lease_checkpoint_persist: Option<bool> = None, 0, 0, "true or false";
        /// How long keep-alives wait for the leader to apply what is committed. etcd: 1s.
        lease_apply_timeout: Option<Time> = None, 1_000_000, HOUR, "time";
        /// How long a member must have been there to count as healthy when the cluster is changed. etcd: 5s.
        health_interval: Option<Time> = None, 0, HOUR, "time";
        /// A member that starts again compares its data with the others' first, and ends if they differ. etcd: false.
        initial_corrupt_check: Option<bool> = None, 0, 0, "true or false";
        /// Time between the leader's looks whether all members have the same data; 0 is never. etcd: 0.
        corrupt_check_time: Option<Time> = None, 0, HOUR, "time";
        /// The leader compares what compactions have come to on all members. etcd: false.
        compact_hash_check: Option<bool> = None, 0, 0, "true or false";
        /// From the end of such a comparison to the next one. etcd: 1m.
        compact_hash_check_time: Option<Time> = None, 1_000_000, HOUR, "time";
        /// The leader compacts by itself what is older than this. etcd: never.
        auto_compaction_period: Option<Time> = None, 10_000_000, HOUR, "time";
        /// The leader compacts by itself what is older than the newest so many revisions. etcd: never.
        auto_compaction_revisions: Option<u64> = None, 1, MANY, "revisions";
        /// Time between compactions that keep so many revisions. etcd: 5m.
        auto_compaction_interval: Option<Time> = None, 1_000_000, HOUR, "time";
        /// Time between runs of the purge task. etcd: 30s.
        purge_interval: Option<Time> = None, 1_000_000, HOUR, "time";
        /// WAL segments and snapshots that the purge task keeps. etcd: 5.
        purge_keep: Option<u64> = None, 1, MANY, "files";
    }
}

impl Constants {
    /// Writes what is set into a member's configuration.
    pub fn apply(&self, config: &mut Config) {
        macro_rules! set {
            ($($field:ident: $convert:expr),+ $(,)?) => {
                $( if let Some(value) = self.$field { config.$field = $convert(value); } )+
            };
        }
        let span = |time: Time| time.0;
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        set! {
            release: Release::from,
            heartbeat_interval: span,
            election_ticks: |n| u32::try_from(n).unwrap_or(u32::MAX),
            pre_vote: std::convert::identity,
            check_quorum: std::convert::identity,
            max_size_per_message: std::convert::identity,
            max_inflight_messages: count,
            snapshot_count: std::convert::identity,
            snapshot_catch_up_entries: std::convert::identity,
            memory_snapshot_count: std::convert::identity,
            snapshot_chunk_bytes: count,
            snapshot_chunk_interval: span,
            snapshot_release_delay: span,
            backend_batch_interval: span,
            backend_batch_limit: count,
            compaction_batch_limit: count,
            compaction_sleep_interval: span,
            wal_segment_bytes: std::convert::identity,
            max_txn_ops: count,
            max_request_bytes: count,
            request_timeout: span,
            read_index_retry: span,
            max_commit_apply_gap: std::convert::identity,
            apply_batch: count,
            watch_channel: count,
            watch_sync_batch: count,
            watch_resync_interval: span,
            watch_victim_interval: span,
            watch_batch_revisions: count,
            watch_progress_interval: span,
            quota_backend_bytes: signed,
            lease_expiry_interval: span,
            lease_revoke_rate: std::convert::identity,
            lease_pending_revokes: count,
            lease_checkpoint: std::convert::identity,
            lease_checkpoint_interval: span,
            lease_checkpoint_persist: std::convert::identity,
            lease_apply_timeout: span,
            health_interval: span,
            initial_corrupt_check: std::convert::identity,
            corrupt_check_time: span,
            compact_hash_check: std::convert::identity,
            compact_hash_check_time: span,
            auto_compaction_interval: span,
            purge_interval: span,
        }
        if let Some(files) = self.purge_keep.map(count) {
            (config.max_snapshots, config.max_wals) = (files, files);
        }
        if let Some(period) = self.auto_compaction_period {
            config.auto_compaction = AutoCompaction::Periodic(period.0);
        }
        if let Some(kept) = self.auto_compaction_revisions {
            config.auto_compaction = AutoCompaction::Revisions(i64::try_from(kept).unwrap_or(i64::MAX));
        }
    }
}
