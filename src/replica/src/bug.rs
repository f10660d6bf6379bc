//! Real bugs as switches, off by default: each is one condition at the exact line, so that the power of the testbed to
//! find bugs is measured and not claimed.

/// A bug that can be switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bug {
    /// M-01, etcd#14370: a single voter applies and answers before its WAL is synced.
    ApplyBeforeWalFsyncSingle,
    /// M-02: a follower answers append and vote requests before its WAL is synced.
    SendFollowerRespBeforePersist,
    /// M-03: a save of only term and vote is not synced.
    MustsyncIgnoresVote,
    /// M-04, Raft figure 8: a leader commits entries of earlier terms by counting replicas.
    CommitOldTermByCount,
    /// M-06, etcd#7331: a new leader answers ReadIndex before it has committed an entry of its own term.
    ReadindexBeforeTermCommit,
    /// M-08: a voter does not ask whether the candidate's log is up to date.
    VoteIgnoresLogUptodate,
    /// M-15, etcd#18055: a newer snapshot's release deletes a database that still waits to be installed.
    ReleaseSnapdbRace,
    /// M-18, etcd#13766: the backend commit saves the index of the entry that is being applied.
    CiSavedBeforeApply,
    /// M-19, etcd#14685: the commit that a defragmentation begins with does not save the consistent index.
    DefragCommitWithoutCi,
    /// M-25, etcd#20271: a snapshot is installed while a defragmentation copies the old database.
    DefragRacesApplySnapshot,
    /// M-26, etcd#17247, etcd#21986: the read buffer shows an entry of an earlier batch again, which the file has by
    /// now, and keeps a key that was written twice in one batch twice.
    ReadbufMergeDups,
    /// M-20a, etcd#10219: segments are released before the hard state that comes with a snapshot is synced.
    WalReleaseBeforeSync,
    /// M-20b: a new WAL segment does not go on with the checksum of the one before.
    WalcutCrcNotChained,
    /// M-21: what lies behind the end of a WAL that is opened is not zeroed.
    WalZeroTailKeep,
    /// F-01, etcd#22442, open in 3.7: entries beyond a snapshot that others had overwritten come back at a boot, when
    /// nothing was written in their places (`reports/overwritten-entry-returns.md`).
    WalOverwrittenReturns,
    /// F-02, etcd#22376, open in 3.7: a compaction at a revision that deletes a key and puts it again removes what was
    /// put (`reports/put-lost-by-compaction.md`).
    CompactLosesPutAfterTombstone,
    /// F-03, in 3.4 to 3.7: a transaction that deletes a key and then puts it with what it had is not refused, and ends
    /// every member that applies it (`reports/transaction-ends-the-cluster.md`).
    TxnKeepsWhatItDeletes,
    /// M-22, etcd#11924: whatever damage there is in a WAL, it is cut off there.
    WalRepairMiddle,
    /// M-23, etcd#13933: after a snapshot is installed the old consistent index is written over the new one.
    SnapCiOverwritten,
    /// M-24: a received database takes its place before its snapshot's record is on disk.
    SnapRenameBeforePersist,
    /// M-27, etcd#17780: after a restart the revision is computed from the keys that are left.
    RestoreRevIgnoresScheduled,
    /// M-36, etcd#15220: a manual progress request is answered at once, though watchers lag.
    ProgressIgnoresUnsynced,
    /// M-37, etcd#15271: a watcher that is given events at once is not marked to have them.
    SyncedMinrevStale,
    /// M-38, etcd#17529: a watcher that could not be told that its history is compacted goes on from now.
    CompactedWatchSkips,
    /// M-39, etcd#20221: a watch from a future revision is told of progress before it.
    ProgressBeforeStartrev,
    /// M-40, etcd#20221: after a snapshot a watch from a future revision begins at once.
    RestoreLowersMinrev,
    /// M-41, etcd#9281: a snapshot loses the watchers of single keys.
    RestoreGroupNotFull,
    /// M-42: a batch for a lagging watcher that is full loses the revision that did not fit.
    BatchMorerevDrop,
    /// M-43: a watcher whose events have found room at last counts as up to date.
    VictimToSyncedEarly,
    /// M-44, etcd#20655: a new watch takes the current revision, and is entered with the next write or run of the sync
    /// task.
    WatchCreateRace,
    /// M-45: what was there before an event is read at its own revision.
    PrevkvWrongRev,
    /// M-47, jetcd#946: a client resumes a watch at the last revision that it has seen.
    ClientResumeRev,
    /// M-20: the consistent index does not move for an entry that writes nothing to the backend.
    CiNotMovedForLocklessEntries,
    /// M-32, etcd#17158: what was deleted since the last commit is still there for who reads.
    DeleteNotInReadBuffer,
    /// M-28, etcd#18089: a compaction removes a tombstone at its own revision.
    CompactDropsTombstoneAtRev,
    /// M-29, etcd#19179: a restart forgets a key of which only a tombstone is left.
    RestoreSkipsLoneTombstone,
    /// M-30, etcd#18667: members where nobody waits do not check the reads of a transaction.
    TxnRangeStrippedUnlessWaiter,
    /// M-31, etcd#6633: after a restart the revision may be below the compaction revision.
    RestartCurLtCompact,
    /// M-33, etcd#18679: a transaction that fails keeps what it wrote before.
    TxnPartialOnError,
    /// M-34: a delete that finds nothing makes a revision.
    RevBumpRules,
    /// M-35: a compaction forgets when a key was created, and its version.
    CompactMetaWrong,
    /// F-04, in 3.4 to 3.7 with checkpoints: a keep-alive that waits for its lease's checkpoint to be cleared succeeds
    /// though that has failed, its member leads no more, the lease has ended, or another checkpoint is on its way
    /// (`reports/leases-that-end-early.md`).
    KeepAliveIgnoresCheckpoint,
    /// F-05, in 3.4 to 3.7: the revocation of a lease that has ended waits while nobody leads, and is done by the next
    /// leader, though the lease was kept alive meanwhile (`reports/leases-that-end-early.md`).
    RevocationWaitsForLeader,
    /// F-06, in every bbolt: a file is opened at a meta that may be in the page cache only, and the first commit writes
    /// over pages that the durable meta needs (`reports/meta-not-synced-at-open.md`).
    MetaNotSyncedAtOpen,
    /// F-07, in 3.4 to 3.7: simple tokens outlive a snapshot that says that their user is gone or has another password
    /// (`reports/token-outlives-its-password.md`).
    TokensOutliveSnapshot,
    /// F-08, in 3.4 to main: at a revision where no key lives, a hash counts what a compaction has not removed yet
    /// (`reports/healthy-cluster-taken-for-corrupt.md`).
    HashCountsRemoved,
    /// M-48, etcd#15247: a member that took itself for the leader revokes leases without making sure.
    OldLeaderRevokes,
    /// M-49, etcd#20615: a keep-alive succeeds though the lease was revoked meanwhile.
    RenewOkAfterRevoke,
    /// M-50, etcd#13508: a new leader gives leases their whole time again, whatever their checkpoints say.
    RemainingTtlLost,
    /// M-51, etcd#12292: applying a put asks the local clock whether its lease has ended.
    ExpiryByLocalClockAtApply,
    /// M-52: the backend forgets a revoked lease after its keys, in another transaction.
    LeaseDeleteSplitTxn,
    /// M-53: a new primary lessor does not wait longer for keep-alives that went to the last one.
    PromoteNoExtend,
    /// M-54: after a snapshot the lessor is restored after the store, and no key is attached.
    LessorRecoverOrder,
    /// M-55: a revocation deletes its keys in an order of each member's own.
    RevokeKeysUnsorted,
    /// M-71, etcd#8335: a client sends a write again though the first try may have taken effect.
    ClientRetriesWrites,
    /// M-72, etcd#16659: a client takes the error of the write that fills the backend for a write that did not happen.
    ErrorAfterApplyDefinite,
    /// M-73, etcd#22139: transactions inside transactions cost nothing of the quota.
    NestedTxnFree,
    /// M-74, etcd#13476: members share an alarm of one kind, and one takes it back for all.
    AlarmSingleMember,
    /// M-75: an entry that exceeds the quota of the member that applies it is refused there.
    QuotaRejectAtApply,
    /// M-76, etcd#11408: a client that has waited for a lock does not look whether its own key is still there.
    LockNotRechecked,
    /// M-77: a linearizable read does not wait until the read index is applied.
    LinearizableReadSkipsApplywait,
    /// M-46, GHSA-xg4h-6gfc-h4m8: permission for one key counts for a watch from that key on.
    WatchRangeRbac,
    /// M-56, etcd#14571: after a snapshot each user keeps the permissions that it had before.
    RangecacheNotRefreshed,
    /// M-57, etcd#11651: auth commands that the backend has already are applied again at a start.
    AuthReapplyBumpsRev,
    /// M-58, etcd#7165: a snapshot does not tell whether auth is on.
    AuthEnabledLost,
    /// M-59, CVE-2026-33343: what is nested in a transaction is not checked.
    NestedTxnBypass,
    /// M-60, CVE-2026-44283: a put in a transaction may attach any lease and see the previous value.
    PrevkvLeaseBypass,
    /// M-61: the auth revision in an entry is not compared with the one at its application.
    OldAuthRevAccepted,
    /// M-62, etcd#13205: after a snapshot simple tokens are not kept.
    TokenProviderOff,
    /// M-63, etcd#19557: the promotion of a learner does not reach the backend.
    PromotionNotInV3store,
    /// M-64: a replayed configuration change is judged by who is a member now.
    ConfchangeValidatedOnReplay,
    /// M-65, etcd#21736: an update of a learner's URLs makes it a voter in the backend.
    UpdatePromotesLearner,
    /// M-66, etcd#15528: a configuration change is answered before Raft takes the next one.
    ConfrespBeforeAdvance,
    /// M-67, etcd#20967: who was removed is forgotten at a restart.
    RemovedRejoins,
    /// M-68, etcd#11640: a member that is being added counts as started and connected.
    ReconfigQuorumCalc,
    /// M-69, raft#300: who is forced to be a cluster of its own gives up what its hard state does not call committed,
    /// though its backend has it.
    ForceNewDropsCommitted,
    /// M-70: a snapshot holds the configuration of a later index than its own.
    ConfstateWrongIndex,
    /// M-78: a client takes a stale answer that is older than what it has seen, from a member that it fails over to.
    SerializableGoesBackwards,
    /// M-83: a commit makes the meta page last before the pages that it speaks of.
    MetaBeforeData,
    /// M-84: pages that an open reader still reads are used again.
    FreelistEarlyReuse,
}

impl Bug {
    /// Every switch there is.
    pub const ALL: [Self; 80] = [
        Self::ApplyBeforeWalFsyncSingle,
        Self::SendFollowerRespBeforePersist,
        Self::MustsyncIgnoresVote,
        Self::CommitOldTermByCount,
        Self::ReadindexBeforeTermCommit,
        Self::VoteIgnoresLogUptodate,
        Self::ReleaseSnapdbRace,
        Self::CiSavedBeforeApply,
        Self::DefragCommitWithoutCi,
        Self::DefragRacesApplySnapshot,
        Self::ReadbufMergeDups,
        Self::WalReleaseBeforeSync,
        Self::WalcutCrcNotChained,
        Self::WalZeroTailKeep,
        Self::WalOverwrittenReturns,
        Self::CompactLosesPutAfterTombstone,
        Self::TxnKeepsWhatItDeletes,
        Self::WalRepairMiddle,
        Self::SnapCiOverwritten,
        Self::SnapRenameBeforePersist,
        Self::RestoreRevIgnoresScheduled,
        Self::ProgressIgnoresUnsynced,
        Self::SyncedMinrevStale,
        Self::CompactedWatchSkips,
        Self::ProgressBeforeStartrev,
        Self::RestoreLowersMinrev,
        Self::RestoreGroupNotFull,
        Self::BatchMorerevDrop,
        Self::VictimToSyncedEarly,
        Self::WatchCreateRace,
        Self::PrevkvWrongRev,
        Self::ClientResumeRev,
        Self::CiNotMovedForLocklessEntries,
        Self::DeleteNotInReadBuffer,
        Self::CompactDropsTombstoneAtRev,
        Self::RestoreSkipsLoneTombstone,
        Self::TxnRangeStrippedUnlessWaiter,
        Self::RestartCurLtCompact,
        Self::TxnPartialOnError,
        Self::RevBumpRules,
        Self::CompactMetaWrong,
        Self::KeepAliveIgnoresCheckpoint,
        Self::RevocationWaitsForLeader,
        Self::MetaNotSyncedAtOpen,
        Self::TokensOutliveSnapshot,
        Self::HashCountsRemoved,
        Self::OldLeaderRevokes,
        Self::RenewOkAfterRevoke,
        Self::RemainingTtlLost,
        Self::ExpiryByLocalClockAtApply,
        Self::LeaseDeleteSplitTxn,
        Self::PromoteNoExtend,
        Self::LessorRecoverOrder,
        Self::RevokeKeysUnsorted,
        Self::ClientRetriesWrites,
        Self::ErrorAfterApplyDefinite,
        Self::NestedTxnFree,
        Self::AlarmSingleMember,
        Self::QuotaRejectAtApply,
        Self::LockNotRechecked,
        Self::LinearizableReadSkipsApplywait,
        Self::WatchRangeRbac,
        Self::RangecacheNotRefreshed,
        Self::AuthReapplyBumpsRev,
        Self::AuthEnabledLost,
        Self::NestedTxnBypass,
        Self::PrevkvLeaseBypass,
        Self::OldAuthRevAccepted,
        Self::TokenProviderOff,
        Self::PromotionNotInV3store,
        Self::ConfchangeValidatedOnReplay,
        Self::UpdatePromotesLearner,
        Self::ConfrespBeforeAdvance,
        Self::RemovedRejoins,
        Self::ReconfigQuorumCalc,
        Self::ForceNewDropsCommitted,
        Self::ConfstateWrongIndex,
        Self::SerializableGoesBackwards,
        Self::MetaBeforeData,
        Self::FreelistEarlyReuse,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApplyBeforeWalFsyncSingle => "apply_before_wal_fsync_single",
            Self::SendFollowerRespBeforePersist => "send_follower_resp_before_persist",
            Self::MustsyncIgnoresVote => "mustsync_ignores_vote",
            Self::CommitOldTermByCount => "commit_old_term_by_count",
            Self::ReadindexBeforeTermCommit => "readindex_before_term_commit",
            Self::VoteIgnoresLogUptodate => "vote_ignores_log_uptodate",
            Self::ReleaseSnapdbRace => "release_snapdb_race",
            Self::CiSavedBeforeApply => "ci_saved_before_apply",
            Self::DefragCommitWithoutCi => "defrag_commit_without_ci",
            Self::DefragRacesApplySnapshot => "defrag_races_apply_snapshot",
            Self::ReadbufMergeDups => "readbuf_merge_dups",
            Self::WalReleaseBeforeSync => "wal_release_before_sync",
            Self::WalcutCrcNotChained => "walcut_crc_not_chained",
            Self::WalZeroTailKeep => "wal_zero_tail_keep",
            Self::WalOverwrittenReturns => "wal_overwritten_returns",
            Self::CompactLosesPutAfterTombstone => "compact_loses_put_after_tombstone",
            Self::TxnKeepsWhatItDeletes => "txn_keeps_what_it_deletes",
            Self::WalRepairMiddle => "wal_repair_middle",
            Self::SnapCiOverwritten => "snap_ci_overwritten",
            Self::SnapRenameBeforePersist => "snap_rename_before_persist",
            Self::RestoreRevIgnoresScheduled => "restore_rev_ignores_scheduled",
            Self::ProgressIgnoresUnsynced => "progress_ignores_unsynced",
            Self::SyncedMinrevStale => "synced_minrev_stale",
            Self::CompactedWatchSkips => "compacted_watch_skips",
            Self::ProgressBeforeStartrev => "progress_before_startrev",
            Self::RestoreLowersMinrev => "restore_lowers_minrev",
            Self::RestoreGroupNotFull => "restore_group_not_full",
            Self::BatchMorerevDrop => "batch_morerev_drop",
            Self::VictimToSyncedEarly => "victim_to_synced_early",
            Self::WatchCreateRace => "watch_create_race",
            Self::PrevkvWrongRev => "prevkv_wrong_rev",
            Self::ClientResumeRev => "client_resume_rev",
            Self::CiNotMovedForLocklessEntries => "ci_not_moved_for_lockless_entries",
            Self::DeleteNotInReadBuffer => "delete_not_in_read_buffer",
            Self::CompactDropsTombstoneAtRev => "compact_drops_tombstone_at_rev",
            Self::RestoreSkipsLoneTombstone => "restore_skips_lone_tombstone",
            Self::TxnRangeStrippedUnlessWaiter => "txn_range_stripped_unless_waiter",
            Self::RestartCurLtCompact => "restart_cur_lt_compact",
            Self::TxnPartialOnError => "txn_partial_on_error",
            Self::RevBumpRules => "rev_bump_rules",
            Self::CompactMetaWrong => "compact_meta_wrong",
            Self::KeepAliveIgnoresCheckpoint => "keep_alive_ignores_checkpoint",
            Self::RevocationWaitsForLeader => "revocation_waits_for_leader",
            Self::MetaNotSyncedAtOpen => "meta_not_synced_at_open",
            Self::TokensOutliveSnapshot => "tokens_outlive_snapshot",
            Self::HashCountsRemoved => "hash_counts_removed",
            Self::OldLeaderRevokes => "old_leader_revokes",
            Self::RenewOkAfterRevoke => "renew_ok_after_revoke",
            Self::RemainingTtlLost => "remaining_ttl_lost",
            Self::ExpiryByLocalClockAtApply => "expiry_by_local_clock_at_apply",
            Self::LeaseDeleteSplitTxn => "lease_delete_split_txn",
            Self::PromoteNoExtend => "promote_no_extend",
            Self::LessorRecoverOrder => "lessor_recover_order",
            Self::RevokeKeysUnsorted => "revoke_keys_unsorted",
            Self::ClientRetriesWrites => "client_retries_writes",
            Self::ErrorAfterApplyDefinite => "error_after_apply_definite",
            Self::NestedTxnFree => "nested_txn_free",
            Self::AlarmSingleMember => "alarm_single_member",
            Self::QuotaRejectAtApply => "quota_reject_at_apply",
            Self::LockNotRechecked => "lock_not_rechecked",
            Self::LinearizableReadSkipsApplywait => "linearizable_read_skips_applywait",
            Self::WatchRangeRbac => "watch_range_rbac",
            Self::RangecacheNotRefreshed => "rangecache_not_refreshed",
            Self::AuthReapplyBumpsRev => "auth_reapply_bumps_rev",
            Self::AuthEnabledLost => "auth_enabled_lost",
            Self::NestedTxnBypass => "nested_txn_bypass",
            Self::PrevkvLeaseBypass => "prevkv_lease_bypass",
            Self::OldAuthRevAccepted => "old_auth_rev_accepted",
            Self::TokenProviderOff => "token_provider_off",
            Self::PromotionNotInV3store => "promotion_not_in_v3store",
            Self::ConfchangeValidatedOnReplay => "confchange_validated_on_replay",
            Self::UpdatePromotesLearner => "update_promotes_learner",
            Self::ConfrespBeforeAdvance => "confresp_before_advance",
            Self::RemovedRejoins => "removed_rejoins",
            Self::ReconfigQuorumCalc => "reconfig_quorum_calc",
            Self::ForceNewDropsCommitted => "force_new_drops_committed",
            Self::ConfstateWrongIndex => "confstate_wrong_index",
            Self::SerializableGoesBackwards => "serializable_goes_backwards",
            Self::MetaBeforeData => "meta_before_data",
            Self::FreelistEarlyReuse => "freelist_early_reuse",
        }
    }

    /// Its number in the catalogue of known bugs, `M-01`, or among those that detcd has found, `F-01`.
    pub fn id(self) -> &'static str {
        match self {
            Self::ApplyBeforeWalFsyncSingle => "M-01",
            Self::SendFollowerRespBeforePersist => "M-02",
            Self::MustsyncIgnoresVote => "M-03",
            Self::CommitOldTermByCount => "M-04",
            Self::ReadindexBeforeTermCommit => "M-06",
            Self::VoteIgnoresLogUptodate => "M-08",
            Self::ReleaseSnapdbRace => "M-15",
            Self::CiSavedBeforeApply => "M-18",
            Self::DefragCommitWithoutCi => "M-19",
            Self::DefragRacesApplySnapshot => "M-25",
            Self::ReadbufMergeDups => "M-26",
            Self::WalReleaseBeforeSync => "M-20a",
            Self::WalcutCrcNotChained => "M-20b",
            Self::WalZeroTailKeep => "M-21",
            Self::WalOverwrittenReturns => "F-01",
            Self::CompactLosesPutAfterTombstone => "F-02",
            Self::TxnKeepsWhatItDeletes => "F-03",
            Self::WalRepairMiddle => "M-22",
            Self::SnapCiOverwritten => "M-23",
            Self::SnapRenameBeforePersist => "M-24",
            Self::RestoreRevIgnoresScheduled => "M-27",
            Self::ProgressIgnoresUnsynced => "M-36",
            Self::SyncedMinrevStale => "M-37",
            Self::CompactedWatchSkips => "M-38",
            Self::ProgressBeforeStartrev => "M-39",
            Self::RestoreLowersMinrev => "M-40",
            Self::RestoreGroupNotFull => "M-41",
            Self::BatchMorerevDrop => "M-42",
            Self::VictimToSyncedEarly => "M-43",
            Self::WatchCreateRace => "M-44",
            Self::PrevkvWrongRev => "M-45",
            Self::ClientResumeRev => "M-47",
            Self::CiNotMovedForLocklessEntries => "M-20",
            Self::DeleteNotInReadBuffer => "M-32",
            Self::CompactDropsTombstoneAtRev => "M-28",
            Self::RestoreSkipsLoneTombstone => "M-29",
            Self::TxnRangeStrippedUnlessWaiter => "M-30",
            Self::RestartCurLtCompact => "M-31",
            Self::TxnPartialOnError => "M-33",
            Self::RevBumpRules => "M-34",
            Self::CompactMetaWrong => "M-35",
            Self::KeepAliveIgnoresCheckpoint => "F-04",
            Self::RevocationWaitsForLeader => "F-05",
            Self::MetaNotSyncedAtOpen => "F-06",
            Self::TokensOutliveSnapshot => "F-07",
            Self::HashCountsRemoved => "F-08",
            Self::OldLeaderRevokes => "M-48",
            Self::RenewOkAfterRevoke => "M-49",
            Self::RemainingTtlLost => "M-50",
            Self::ExpiryByLocalClockAtApply => "M-51",
            Self::LeaseDeleteSplitTxn => "M-52",
            Self::PromoteNoExtend => "M-53",
            Self::LessorRecoverOrder => "M-54",
            Self::RevokeKeysUnsorted => "M-55",
            Self::ClientRetriesWrites => "M-71",
            Self::ErrorAfterApplyDefinite => "M-72",
            Self::NestedTxnFree => "M-73",
            Self::AlarmSingleMember => "M-74",
            Self::QuotaRejectAtApply => "M-75",
            Self::LockNotRechecked => "M-76",
            Self::LinearizableReadSkipsApplywait => "M-77",
            Self::WatchRangeRbac => "M-46",
            Self::RangecacheNotRefreshed => "M-56",
            Self::AuthReapplyBumpsRev => "M-57",
            Self::AuthEnabledLost => "M-58",
            Self::NestedTxnBypass => "M-59",
            Self::PrevkvLeaseBypass => "M-60",
            Self::OldAuthRevAccepted => "M-61",
            Self::TokenProviderOff => "M-62",
            Self::PromotionNotInV3store => "M-63",
            Self::ConfchangeValidatedOnReplay => "M-64",
            Self::UpdatePromotesLearner => "M-65",
            Self::ConfrespBeforeAdvance => "M-66",
            Self::RemovedRejoins => "M-67",
            Self::ReconfigQuorumCalc => "M-68",
            Self::ForceNewDropsCommitted => "M-69",
            Self::ConfstateWrongIndex => "M-70",
            Self::SerializableGoesBackwards => "M-78",
            Self::MetaBeforeData => "M-83",
            Self::FreelistEarlyReuse => "M-84",
        }
    }

    /// By name or number.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| bug.name() == text || bug.id() == text)
    }
}

/// Which switches are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bugs(u128);

impl Bugs {
    /// None: etcd as it should be.
    pub const NONE: Self = Self(0);

    /// These and `bug`.
    #[must_use]
    pub fn with(self, bug: Bug) -> Self {
        Self(self.0 | 1 << bug as u64)
    }

    /// Whether `bug` is on.
    pub fn has(self, bug: Bug) -> bool {
        self.0 & (1 << bug as u64) != 0
    }

    /// Those that are on.
    pub fn iter(self) -> impl Iterator<Item = Bug> {
        Bug::ALL.into_iter().filter(move |bug| self.has(*bug))
    }
}

impl FromIterator<Bug> for Bugs {
    fn from_iter<I: IntoIterator<Item = Bug>>(bugs: I) -> Self {
        bugs.into_iter().fold(Self::NONE, Self::with)
    }
}
