//! The points in the code that have a name, most of them gofail's of etcd.

/// Points in the code, by their gofail names in etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Failpoint {
    /// `walBeforeSync`
    WalBeforeSync,
    /// `walAfterSync`
    WalAfterSync,
    /// Between two writes of one save. Not in etcd.
    WalBetweenWrites,
    /// A segment has its name, which does not last yet. Not in etcd.
    WalBeforeDirSync,
    /// `raftBeforeLeaderSend`
    RaftBeforeLeaderSend,
    /// `raftBeforeSave`
    RaftBeforeSave,
    /// `raftAfterSave`
    RaftAfterSave,
    /// `raftBeforeFollowerSend`
    RaftBeforeFollowerSend,
    /// `raftBeforeAdvance`
    RaftBeforeAdvance,
    /// `raftBeforeSaveSnap`
    RaftBeforeSaveSnap,
    /// `raftAfterSaveSnap`
    RaftAfterSaveSnap,
    /// `raftBeforeApplySnap`
    RaftBeforeApplySnap,
    /// `raftAfterApplySnap`
    RaftAfterApplySnap,
    /// `raftAfterWALRelease`
    RaftAfterWalRelease,
    /// `raftBeforeWALSaveSnaphot` (etcd's spelling)
    RaftBeforeWalSaveSnapshot,
    /// A received database is complete and synced, under its temporary name. Not in etcd.
    SnapBeforeRenameDb,
    /// A received database has its name, and Raft has not seen its message. Not in etcd.
    SnapAfterRenameDb,
    /// A message has been sent. Not in etcd.
    RaftAfterSend,
    /// `applyBeforeOpenSnapshot`
    ApplyBeforeOpenSnapshot,
    /// `applyAfterOpenSnapshot`
    ApplyAfterOpenSnapshot,
    /// `beforeApplyOneEntryNormal`
    BeforeApplyOneEntryNormal,
    /// `beforeApplyOneConfChange`
    BeforeApplyOneConfChange,
    /// `commitBeforePreCommitHook`
    CommitBeforePreCommitHook,
    /// `commitAfterPreCommitHook`
    CommitAfterPreCommitHook,
    /// `beforeCommit`
    BeforeCommit,
    /// `afterCommit`
    AfterCommit,
    /// `beforeStartDBTxn`
    BeforeStartDbTxn,
    /// `afterStartDBTxn`
    AfterStartDbTxn,
    /// `beforeWritebackBuf`
    BeforeWritebackBuf,
    /// `afterWritebackBuf`
    AfterWritebackBuf,
    /// `defragBeforeCopy`
    DefragBeforeCopy,
    /// `defragBeforeRename`
    DefragBeforeRename,
    /// `lackOfDiskSpace`
    LackOfDiskSpace,
    /// `resizeFileError`
    ResizeFileError,
    /// `beforeSyncDataPages`
    BeforeSyncDataPages,
    /// `beforeWriteMetaError`
    BeforeWriteMetaError,
    /// `beforeSyncMetaPage`
    BeforeSyncMetaPage,
    /// `compactBeforeCommitScheduledCompact`
    CompactBeforeCommitScheduledCompact,
    /// `compactAfterCommitScheduledCompact`
    CompactAfterCommitScheduledCompact,
    /// `compactBeforeSetFinishedCompact`
    CompactBeforeSetFinishedCompact,
    /// `compactAfterSetFinishedCompact`
    CompactAfterSetFinishedCompact,
    /// `compactBeforeCommitBatch`
    CompactBeforeCommitBatch,
    /// `compactAfterCommitBatch`
    CompactAfterCommitBatch,
    /// `beforeSendWatchResponse`
    BeforeSendWatchResponse,
    /// `beforeSyncWatchers`
    BeforeSyncWatchers,
    /// `beforeMoveVictims`
    BeforeMoveVictims,
    /// `beforeProgressIfSync`
    BeforeProgressIfSync,
}

impl Failpoint {
    /// Every point there is.
    pub const ALL: [Self; 47] = [
        Self::WalBeforeSync,
        Self::WalAfterSync,
        Self::WalBetweenWrites,
        Self::WalBeforeDirSync,
        Self::RaftBeforeLeaderSend,
        Self::RaftBeforeSave,
        Self::RaftAfterSave,
        Self::RaftBeforeFollowerSend,
        Self::RaftBeforeAdvance,
        Self::RaftBeforeSaveSnap,
        Self::RaftAfterSaveSnap,
        Self::RaftBeforeApplySnap,
        Self::RaftAfterApplySnap,
        Self::RaftAfterWalRelease,
        Self::RaftBeforeWalSaveSnapshot,
        Self::SnapBeforeRenameDb,
        Self::SnapAfterRenameDb,
        Self::RaftAfterSend,
        Self::ApplyBeforeOpenSnapshot,
        Self::ApplyAfterOpenSnapshot,
        Self::BeforeApplyOneEntryNormal,
        Self::BeforeApplyOneConfChange,
        Self::CommitBeforePreCommitHook,
        Self::CommitAfterPreCommitHook,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::BeforeStartDbTxn,
        Self::AfterStartDbTxn,
        Self::BeforeWritebackBuf,
        Self::AfterWritebackBuf,
        Self::DefragBeforeCopy,
        Self::DefragBeforeRename,
        Self::LackOfDiskSpace,
        Self::ResizeFileError,
        Self::BeforeSyncDataPages,
        Self::BeforeWriteMetaError,
        Self::BeforeSyncMetaPage,
        Self::CompactBeforeCommitScheduledCompact,
        Self::CompactAfterCommitScheduledCompact,
        Self::CompactBeforeSetFinishedCompact,
        Self::CompactAfterSetFinishedCompact,
        Self::CompactBeforeCommitBatch,
        Self::CompactAfterCommitBatch,
        Self::BeforeSendWatchResponse,
        Self::BeforeSyncWatchers,
        Self::BeforeMoveVictims,
        Self::BeforeProgressIfSync,
    ];

    /// etcd's gofail name.
    pub fn name(self) -> &'static str {
        match self {
            Self::WalBeforeSync => "walBeforeSync",
            Self::WalAfterSync => "walAfterSync",
            Self::WalBetweenWrites => "walBetweenWrites",
            Self::WalBeforeDirSync => "walBeforeDirSync",
            Self::RaftBeforeLeaderSend => "raftBeforeLeaderSend",
            Self::RaftBeforeSave => "raftBeforeSave",
            Self::RaftAfterSave => "raftAfterSave",
            Self::RaftBeforeFollowerSend => "raftBeforeFollowerSend",
            Self::RaftBeforeAdvance => "raftBeforeAdvance",
            Self::RaftBeforeSaveSnap => "raftBeforeSaveSnap",
            Self::RaftAfterSaveSnap => "raftAfterSaveSnap",
            Self::RaftBeforeApplySnap => "raftBeforeApplySnap",
            Self::RaftAfterApplySnap => "raftAfterApplySnap",
            Self::RaftAfterWalRelease => "raftAfterWALRelease",
            Self::RaftBeforeWalSaveSnapshot => "raftBeforeWALSaveSnaphot",
            Self::SnapBeforeRenameDb => "snapBeforeRenameDb",
            Self::SnapAfterRenameDb => "snapAfterRenameDb",
            Self::RaftAfterSend => "raftAfterSend",
            Self::ApplyBeforeOpenSnapshot => "applyBeforeOpenSnapshot",
            Self::ApplyAfterOpenSnapshot => "applyAfterOpenSnapshot",
            Self::BeforeApplyOneEntryNormal => "beforeApplyOneEntryNormal",
            Self::BeforeApplyOneConfChange => "beforeApplyOneConfChange",
            Self::CommitBeforePreCommitHook => "commitBeforePreCommitHook",
            Self::CommitAfterPreCommitHook => "commitAfterPreCommitHook",
            Self::BeforeCommit => "beforeCommit",
            Self::AfterCommit => "afterCommit",
            Self::BeforeStartDbTxn => "beforeStartDBTxn",
            Self::AfterStartDbTxn => "afterStartDBTxn",
            Self::BeforeWritebackBuf => "beforeWritebackBuf",
            Self::AfterWritebackBuf => "afterWritebackBuf",
            Self::DefragBeforeCopy => "defragBeforeCopy",
            Self::DefragBeforeRename => "defragBeforeRename",
            Self::LackOfDiskSpace => "lackOfDiskSpace",
            Self::ResizeFileError => "resizeFileError",
            Self::BeforeSyncDataPages => "beforeSyncDataPages",
            Self::BeforeWriteMetaError => "beforeWriteMetaError",
            Self::BeforeSyncMetaPage => "beforeSyncMetaPage",
            Self::CompactBeforeCommitScheduledCompact => "compactBeforeCommitScheduledCompact",
            Self::CompactAfterCommitScheduledCompact => "compactAfterCommitScheduledCompact",
            Self::CompactBeforeSetFinishedCompact => "compactBeforeSetFinishedCompact",
            Self::CompactAfterSetFinishedCompact => "compactAfterSetFinishedCompact",
            Self::CompactBeforeCommitBatch => "compactBeforeCommitBatch",
            Self::CompactAfterCommitBatch => "compactAfterCommitBatch",
            Self::BeforeSendWatchResponse => "beforeSendWatchResponse",
            Self::BeforeSyncWatchers => "beforeSyncWatchers",
            Self::BeforeMoveVictims => "beforeMoveVictims",
            Self::BeforeProgressIfSync => "beforeProgressIfSync",
        }
    }
}
