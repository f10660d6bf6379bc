//! What goes into a replica and what comes out of it.

mod disk;
mod event;
mod failpoint;
mod peer;
mod rope;

pub use disk::{BootError, Dir, DiskCommand, DiskError, DiskImage, FileName};
pub use event::Event;
pub use failpoint::Failpoint;
pub use peer::{Chunk, HashAnswer, HashMessage, LeaseAnswer, LeaseAsk, LeaseMessage, PeerMessage};
pub use rope::Rope;

use crate::api::{Credential, Error, Request, Response, WatchRequest, WatchResponse};
use crate::time::Span;
use crate::{MemberId, OpId, RequestId, StreamId};

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
        result: Box<Result<Response, Error>>,
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
    /// Comparing the data of all members, and answering those that do (`monitorKVHash`, `monitorCompactHash`).
    CorruptionCheck,
    /// Automatic compaction (`v3compactor`). Periodic.
    AutoCompaction,
}

impl Task {
    /// Every task there is.
    pub const ALL: [Self; 24] = [
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
        Self::CorruptionCheck,
        Self::AutoCompaction,
    ];

    /// A small number, dense from 0.
    pub fn index(self) -> usize {
        self as usize
    }
}
