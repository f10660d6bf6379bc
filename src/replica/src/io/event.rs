//! What a member says of itself for whoever watches: traces, triggers, checkers.

use crate::view::Role;
use crate::{MemberId, OpId};

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
    /// The member proposes a compaction that nobody has asked for.
    CompactionProposed {
        /// At this revision.
        revision: i64,
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
