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
    /// M-20a, etcd#10219: segments are released before the hard state that comes with a snapshot is synced.
    WalReleaseBeforeSync,
    /// M-20b: a new WAL segment does not go on with the checksum of the one before.
    WalcutCrcNotChained,
    /// M-21: what lies behind the end of a WAL that is opened is not zeroed.
    WalZeroTailKeep,
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
    /// M-77: a linearizable read does not wait until the read index is applied.
    LinearizableReadSkipsApplywait,
}

impl Bug {
    /// Every switch there is.
    pub const ALL: [Self; 17] = [
        Self::ApplyBeforeWalFsyncSingle,
        Self::SendFollowerRespBeforePersist,
        Self::MustsyncIgnoresVote,
        Self::CommitOldTermByCount,
        Self::ReadindexBeforeTermCommit,
        Self::VoteIgnoresLogUptodate,
        Self::ReleaseSnapdbRace,
        Self::CiSavedBeforeApply,
        Self::WalReleaseBeforeSync,
        Self::WalcutCrcNotChained,
        Self::WalZeroTailKeep,
        Self::WalRepairMiddle,
        Self::SnapCiOverwritten,
        Self::SnapRenameBeforePersist,
        Self::RestoreRevIgnoresScheduled,
        Self::ProgressIgnoresUnsynced,
        Self::LinearizableReadSkipsApplywait,
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
            Self::WalReleaseBeforeSync => "wal_release_before_sync",
            Self::WalcutCrcNotChained => "walcut_crc_not_chained",
            Self::WalZeroTailKeep => "wal_zero_tail_keep",
            Self::WalRepairMiddle => "wal_repair_middle",
            Self::SnapCiOverwritten => "snap_ci_overwritten",
            Self::SnapRenameBeforePersist => "snap_rename_before_persist",
            Self::RestoreRevIgnoresScheduled => "restore_rev_ignores_scheduled",
            Self::ProgressIgnoresUnsynced => "progress_ignores_unsynced",
            Self::LinearizableReadSkipsApplywait => "linearizable_read_skips_applywait",
        }
    }

    /// Its number in the catalogue of known bugs: `M-01`.
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
            Self::WalReleaseBeforeSync => "M-20a",
            Self::WalcutCrcNotChained => "M-20b",
            Self::WalZeroTailKeep => "M-21",
            Self::WalRepairMiddle => "M-22",
            Self::SnapCiOverwritten => "M-23",
            Self::SnapRenameBeforePersist => "M-24",
            Self::RestoreRevIgnoresScheduled => "M-27",
            Self::ProgressIgnoresUnsynced => "M-36",
            Self::LinearizableReadSkipsApplywait => "M-77",
        }
    }

    /// By name or number.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| bug.name() == text || bug.id() == text)
    }
}

/// Which switches are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bugs(u64);

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
