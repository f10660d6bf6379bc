//! What goes into a replica and what comes out of it.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::api::{Credential, Error, Key, LeaseId, Request, Response, WatchRequest, WatchResponse};
use crate::membership::Version;
use crate::time::Span;
use crate::view::Role;
use crate::{raftpb, MemberId, OpId, RequestId, StreamId};

/// One thing that happens to a replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// A goroutine of etcd gets to run: one critical section of it.
    Run(Task),
    /// The driver's answer to an [`Output::Ask`].
    Chance(Chance),
    /// A message from another member arrived.
    Message(PeerMessage),
    /// The connection to a member broke, or its queue overflowed: messages to it were lost.
    Unreachable {
        /// The member.
        member: MemberId,
    },
    /// A stream that carried a database to another member ended.
    SnapshotSent {
        /// The member it went to.
        member: MemberId,
        /// The stream, as in [`Chunk::stream`].
        stream: u64,
        /// Whether the member has all of it on disk, and Raft there has seen the message.
        delivered: bool,
    },
    /// A client asks.
    Request {
        /// The driver's name for it; the reply carries it.
        id: RequestId,
        /// Who asks.
        credential: Credential,
        /// What it asks.
        request: Request,
    },
    /// A client opens a watch stream that takes `window` responses before it must grant more.
    StreamOpen {
        /// The stream.
        stream: StreamId,
        /// Who opens it: everything that comes on it is asked by the same.
        credential: Credential,
        /// Responses that may be on their way at once (flow control).
        window: u32,
    },
    /// A client sends on a watch stream.
    StreamRequest {
        /// The stream.
        stream: StreamId,
        /// What it sends.
        request: WatchRequest,
    },
    /// The client has consumed responses: that many more may be sent.
    StreamGrant {
        /// The stream.
        stream: StreamId,
        /// How many.
        responses: u32,
    },
    /// The stream's connection is gone.
    StreamClosed {
        /// The stream.
        stream: StreamId,
    },
    /// A disk command ended. Every `Sync`, `Fsync` and `SyncDir` is answered so; other commands only when they failed.
    Disk {
        /// Which.
        op: OpId,
        /// How.
        result: Result<(), DiskError>,
    },
}

/// One thing a replica wants done. The driver performs them in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send to another member.
    Send(PeerMessage),
    /// Tell the sender of a database how its stream ended. Said once for each stream of which all chunks have come, and
    /// of those that break here; a connection that is lost otherwise is for the driver to report.
    SnapshotReceived {
        /// Who sent it.
        from: MemberId,
        /// The stream, as in [`Chunk::stream`].
        stream: u64,
        /// Whether all of it is on disk here, and Raft has seen the message.
        saved: bool,
    },
    /// Do this to the disk.
    Disk {
        /// The command's number, 1, 2, 3 … in each incarnation.
        op: OpId,
        /// The command.
        command: DiskCommand,
    },
    /// Answer a client. Exactly one for each request that was taken, unless the member dies first.
    Reply {
        /// Which request.
        id: RequestId,
        /// The answer.
        result: Result<Response, Error>,
    },
    /// Send on a watch stream.
    Stream {
        /// Which.
        stream: StreamId,
        /// What.
        response: WatchResponse,
    },
    /// Run this task `after` so long on the member's own clock. At most one wake-up is pending per task: a sooner one
    /// replaces a later one, a later one is ignored.
    Wake {
        /// Which goroutine.
        task: Task,
        /// When, from now.
        after: Span,
    },
    /// Draw something by chance and hand it in as [`Input::Chance`] before any other input.
    Ask(Question),
    /// A named point in the code is reached; a scenario may crash, stall or fail here.
    Point(Failpoint),
    /// Something happened that a trace, a checker or a trigger may want to know. Performing it does nothing.
    Event(Event),
    /// The member stops by itself, as etcd does on a failed write (`lg.Fatal`) or when it was removed. Last output of
    /// all.
    Exit {
        /// Why, in etcd's words.
        reason: &'static str,
    },
}

/// What only chance can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// A new randomised election timeout, uniform in `[election_ticks, 2 * election_ticks)` ticks.
    ElectionTimeout,
}

/// The answer to a [`Question`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Chance {
    /// In ticks. Values outside the range are clamped into it.
    ElectionTimeout(u32),
}

/// Each goroutine of etcd that touches shared state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// The Raft ticker (`raftNode.tick`). Periodic.
    Tick,
    /// The Raft loop (`raftNode.start`): take one Ready, send, save, send, advance.
    RaftLoop,
    /// The apply loop (`applyAll`): a few committed entries.
    Apply,
    /// The backend's batch commit (`backend.run`). Periodic.
    BackendCommit,
    /// The linearizable read loop (`linearizableReadLoop`): ask for, retry or give up a read index.
    ReadIndex,
    /// Requests whose server-side limit has passed.
    RequestTimeout,
    /// Watchers that lag behind (`syncWatchersLoop`). Periodic.
    WatchSync,
    /// Watchers whose channel was full (`syncVictimsLoop`).
    WatchVictims,
    /// The send loops of the watch streams (`serverWatchStream.sendLoop`).
    WatchSend,
    /// Periodic progress notifications of the watch streams.
    WatchProgress,
    /// One batch of a scheduled compaction (`scheduleCompaction`).
    Compaction,
    /// Making a snapshot and compacting the Raft log (`snapshotIfNeededAndCompactRaftLog`).
    Snapshot,
    /// Sending databases to members that need them (`sendMergedSnap`), a chunk of each in one run.
    SnapshotSend,
    /// Deleting files that nothing needs (`purgeFile`). Periodic.
    Purge,
    /// Telling the cluster this member's name and client URLs (`publishV3`), until it knows.
    Publish,
    /// The cluster's version (`monitorClusterVersions`). Periodic, and after the first commit in a term.
    ClusterVersion,
    /// The end of a downgrade (`monitorDowngrade`). Periodic.
    Downgrade,
    /// The end of a member that was removed (`stopWithDelay`).
    Stop,
    /// Keep-alives and questions about leases that wait for something (`LeaseRenew`, `LeaseTimeToLive`).
    LeaseCalls,
    /// The look for leases that have ended (`revokeExpiredLeases`). Periodic while there are any.
    LeaseExpiry,
    /// Checkpoints of the time that leases have left (`checkpointScheduledLeases`).
    LeaseCheckpoint,
    /// A defragmentation that was asked for (`backend.Defrag`).
    Defrag,
}

impl Task {
    /// Every task there is.
    pub const ALL: [Self; 22] = [
        Self::Tick,
        Self::RaftLoop,
        Self::Apply,
        Self::BackendCommit,
        Self::ReadIndex,
        Self::RequestTimeout,
        Self::WatchSync,
        Self::WatchVictims,
        Self::WatchSend,
        Self::WatchProgress,
        Self::Compaction,
        Self::Snapshot,
        Self::SnapshotSend,
        Self::Purge,
        Self::Publish,
        Self::ClusterVersion,
        Self::Downgrade,
        Self::Stop,
        Self::LeaseCalls,
        Self::LeaseExpiry,
        Self::LeaseCheckpoint,
        Self::Defrag,
    ];

    /// A small number, dense from 0.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// A message on its way between two members: Raft's, or one about leases. `MsgSnapshot` goes over a stream of its own,
/// once with each chunk of the database; the chunks of a stream must arrive in order, and each at most once.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerMessage {
    /// Sender.
    pub from: MemberId,
    /// Receiver.
    pub to: MemberId,
    /// The sender's version, which members put on everything that they send; `None` when it does not say.
    pub version: Option<Version>,
    /// Raft's message; a `MsgHup`, which Raft sends to nobody, when it is one about leases.
    pub message: Box<raftpb::Message>,
    /// With `MsgSnapshot`: a part of the sender's database at the snapshot's index.
    pub chunk: Option<Chunk>,
    /// What is said about leases. etcd's members do that over HTTP.
    pub lease: Option<LeaseMessage>,
}

/// A part of a database on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chunk {
    /// Which stream, counted by the sender in each of its lives.
    pub stream: u64,
    /// Where the part begins, bytes.
    pub offset: u64,
    /// Bytes of the whole database.
    pub total: u64,
    /// The part.
    pub data: Bytes,
}

impl Chunk {
    /// Whether it is the last one.
    pub fn is_last(&self) -> bool {
        self.offset + self.data.len() as u64 == self.total
    }
}

impl PeerMessage {
    /// A message of Raft, without a database.
    pub fn of_raft(from: MemberId, to: MemberId, message: raftpb::Message) -> Self {
        Self { from, to, version: None, message: Box::new(message), chunk: None, lease: None }
    }

    /// A message about leases.
    pub fn of_lease(from: MemberId, to: MemberId, message: LeaseMessage) -> Self {
        Self { lease: Some(message), ..Self::of_raft(from, to, raftpb::Message::default()) }
    }

    /// About how many bytes it takes on the wire; enough for bandwidth and queue limits.
    pub fn size(&self) -> usize {
        let entries: usize = self.message.entries.iter().map(|entry| entry.data.len() + 24).sum();
        64 + entries + self.message.context.len() + self.chunk.as_ref().map_or(0, |chunk| chunk.data.len())
    }
}

/// What members say to each other about leases.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LeaseMessage {
    /// A call is forwarded to the leader.
    Ask {
        /// The asking member's name for it.
        call: u64,
        /// What it asks.
        ask: LeaseAsk,
    },
    /// The leader answers.
    Answer {
        /// The asking member's name for the call.
        call: u64,
        /// The answer.
        result: Result<LeaseAnswer, Error>,
    },
}

/// What only the leader can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeaseAsk {
    /// Let it live for its whole time again.
    KeepAlive {
        /// The lease.
        id: LeaseId,
    },
    /// How long it has left.
    TimeToLive {
        /// The lease.
        id: LeaseId,
        /// Whether its keys are wanted, too.
        keys: bool,
    },
}

impl LeaseAsk {
    /// Which lease.
    pub fn id(self) -> LeaseId {
        match self {
            Self::KeepAlive { id } | Self::TimeToLive { id, .. } => id,
        }
    }
}

/// The leader's answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LeaseAnswer {
    /// It lives for so long from now on.
    KeptAlive {
        /// Seconds.
        ttl: i64,
    },
    /// The time it has.
    TimeToLive {
        /// Whole seconds left.
        ttl: i64,
        /// All of its time, in seconds.
        granted_ttl: i64,
        /// Its keys, when they were asked for.
        keys: Vec<Key>,
    },
}

/// The two directories of a data dir.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dir {
    /// `member/wal`
    Wal,
    /// `member/snap`
    Snap,
}

/// The files of a data dir, by what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// `member/wal/%016x-%016x.wal`: a segment.
    Wal {
        /// The segment's number, from 0.
        seq: u64,
        /// The first Raft index that it may hold.
        index: u64,
    },
    /// `member/wal.tmp/0000000000000000-0000000000000000.wal`: the first segment, while the log is being made. The
    /// whole directory gets the log's name then; here it is one file that does.
    WalFirst,
    /// `member/wal/%d.tmp`: the next segment, made ahead.
    WalTmp {
        /// 0 or 1.
        slot: u64,
    },
    /// `member/wal/%016x-%016x.wal.broken`: what a segment was before it was repaired.
    WalBroken {
        /// As of the segment.
        seq: u64,
        /// As of the segment.
        index: u64,
    },
    /// `member/snap/db`: the backend.
    Db,
    /// `member/snap/db.tmp.%d`: a backend being written anew.
    DbTmp {
        /// Counts up.
        number: u64,
    },
    /// `member/snap/%016x.snap.db`: a database received from another member.
    SnapDb {
        /// The snapshot's Raft index.
        index: u64,
    },
    /// `member/snap/%016x-%016x.snap`: Raft's snapshot metadata.
    Snap {
        /// The snapshot's term.
        term: u64,
        /// The snapshot's Raft index.
        index: u64,
    },
    /// `member/snap/%016x-%016x.snap.broken`: one that could not be read.
    SnapBroken {
        /// As of the file.
        term: u64,
        /// As of the file.
        index: u64,
    },
    /// `member/snap/tmp%d`: a database on its way from another member.
    SnapTmp {
        /// Counts up.
        number: u64,
    },
}

impl FileName {
    /// The directory it is in.
    pub fn dir(self) -> Dir {
        match self {
            Self::Wal { .. } | Self::WalFirst | Self::WalTmp { .. } | Self::WalBroken { .. } => Dir::Wal,
            Self::Db | Self::DbTmp { .. } | Self::SnapDb { .. } => Dir::Snap,
            Self::Snap { .. } | Self::SnapBroken { .. } | Self::SnapTmp { .. } => Dir::Snap,
        }
    }
}

impl fmt::Display for FileName {
    /// The path below the data dir, as etcd names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wal { seq, index } => write!(f, "member/wal/{seq:016x}-{index:016x}.wal"),
            Self::WalFirst => write!(f, "member/wal.tmp/{:016x}-{:016x}.wal", 0, 0),
            Self::WalTmp { slot } => write!(f, "member/wal/{slot}.tmp"),
            Self::WalBroken { seq, index } => write!(f, "member/wal/{seq:016x}-{index:016x}.wal.broken"),
            Self::Db => write!(f, "member/snap/db"),
            Self::DbTmp { number } => write!(f, "member/snap/db.tmp.{number}"),
            Self::SnapDb { index } => write!(f, "member/snap/{index:016x}.snap.db"),
            Self::Snap { term, index } => write!(f, "member/snap/{term:016x}-{index:016x}.snap"),
            Self::SnapBroken { term, index } => write!(f, "member/snap/{term:016x}-{index:016x}.snap.broken"),
            Self::SnapTmp { number } => write!(f, "member/snap/tmp{number}"),
        }
    }
}

/// A file operation. Without a `Sync` (and, for names, a `SyncDir`) none of them survives a crash for sure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskCommand {
    /// Make an empty file, or empty it.
    Create {
        /// The file.
        file: FileName,
    },
    /// Write at an offset; the file grows, with zeros in any gap.
    Write {
        /// The file.
        file: FileName,
        /// Where, in bytes.
        offset: u64,
        /// What.
        data: Bytes,
    },
    /// `fdatasync`: everything written to the file so far, and its size, must last.
    Sync {
        /// The file.
        file: FileName,
    },
    /// `fsync`: the same, and the names in its directory as they are: etcd relies on what file systems with a journal
    /// do here, where POSIX promises nothing.
    Fsync {
        /// The file.
        file: FileName,
    },
    /// Set the length: cut off, or grow with zeros (`ftruncate`, preallocation).
    Truncate {
        /// The file.
        file: FileName,
        /// The new length in bytes.
        length: u64,
    },
    /// Rename; the target, if any, is replaced at once.
    Rename {
        /// The old name.
        from: FileName,
        /// The new name.
        to: FileName,
    },
    /// Delete.
    Remove {
        /// The file.
        file: FileName,
    },
    /// `fsync` of a directory: its names must last.
    SyncDir {
        /// The directory.
        dir: Dir,
    },
}

/// Why a disk command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskError {
    /// `EIO`
    Io,
    /// `ENOSPC`
    NoSpace,
}

/// A data dir as a booting member finds it: the content of each file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskImage {
    /// The files.
    pub files: BTreeMap<FileName, Bytes>,
    /// Lengths of the files that are longer than their content here: the rest are zeros.
    pub lengths: BTreeMap<FileName, u64>,
}

impl DiskImage {
    /// How long a file is, in bytes.
    pub fn length(&self, file: FileName) -> Option<u64> {
        let content = self.files.get(&file)?.len() as u64;
        Some(self.lengths.get(&file).map_or(content, |length| content.max(*length)))
    }
}

/// Why a member refuses to start, in etcd's classes of error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootError {
    /// A WAL segment cannot be read, and must not be repaired.
    Wal {
        /// The segment.
        file: FileName,
        /// Byte offset of the record.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The backend cannot be read.
    Backend {
        /// What is wrong.
        reason: String,
    },
    /// A snapshot that is needed is missing or broken, or the files do not fit together.
    Snapshot {
        /// What is wrong.
        reason: String,
    },
    /// The configuration contradicts itself.
    Config {
        /// What is wrong.
        reason: String,
    },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wal { file, offset, reason } => write!(f, "{file} at byte {offset}: {reason}"),
            Self::Backend { reason } => write!(f, "member/snap/db: {reason}"),
            Self::Snapshot { reason } | Self::Config { reason } => f.write_str(reason),
        }
    }
}

/// Something that happened inside a member, for whoever watches. Indices are Raft indices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The member's role or leader changed.
    RoleChanged {
        /// What it is now.
        role: Role,
        /// In which term.
        term: u64,
        /// Whom it follows.
        leader: Option<MemberId>,
    },
    /// Entries or a hard state are being written to the WAL; they last once a `Sync` of the file issued after `op` has
    /// ended well. A hard state that waits in the buffer is told of with what is written next.
    WalSaved {
        /// The first write.
        op: OpId,
        /// First and last index of the entries in it, if any. Those after `last` that were there before are gone.
        entries: Option<(u64, u64)>,
        /// The hard state in force after it: term, vote, commit.
        hard_state: (u64, MemberId, u64),
    },
    /// All of a database from another member is written, and being synced; Raft will see its snapshot next.
    DatabaseReceived {
        /// The snapshot's index.
        index: u64,
    },
    /// A snapshot record was written to the WAL, likewise.
    WalSnapshotSaved {
        /// The write.
        op: OpId,
        /// The snapshot's index.
        index: u64,
    },
    /// An entry was applied.
    Applied {
        /// Its index.
        index: u64,
        /// Its term.
        term: u64,
        /// Hash of its type and data.
        entry_hash: u64,
        /// Hash of the key space as clients see it after it.
        state_hash: u64,
        /// The store's revision after it.
        revision: i64,
    },
    /// A linearizable read asked for a read index.
    ReadIndexRequested {
        /// The attempt, unique in the cluster.
        context: u64,
    },
    /// It got one.
    ReadIndexConfirmed {
        /// The attempt.
        context: u64,
        /// Every entry up to here must be applied before the read is served.
        index: u64,
    },
    /// A snapshot was made and the Raft log compacted.
    SnapshotCreated {
        /// Its index.
        index: u64,
        /// The log now starts after this index.
        compacted: u64,
    },
    /// A database snapshot was sent.
    SnapshotSending {
        /// To whom.
        to: MemberId,
        /// Its index.
        index: u64,
    },
    /// A snapshot from the leader replaced this member's state.
    SnapshotInstalled {
        /// Its index.
        index: u64,
        /// Its term.
        term: u64,
    },
    /// The backend's batch lasts.
    BackendCommitted {
        /// The consistent index in it.
        consistent_index: u64,
    },
    /// A compaction of the key space ended.
    CompactionFinished {
        /// At this revision.
        revision: i64,
    },
    /// The configuration changed.
    ConfigurationChanged {
        /// The voters now.
        voters: Vec<MemberId>,
        /// The learners now.
        learners: Vec<MemberId>,
    },
}

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
