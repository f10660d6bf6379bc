//! What members send each other: Raft's messages, databases in chunks, and what is said about leases and hashes.

use bytes::Bytes;

use crate::api::{Error, Key, LeaseId, Revision};
use crate::membership::Version;
use crate::{raftpb, MemberId};

/// A message on its way between two members: Raft's, or one about leases or hashes. `MsgSnapshot` goes over a stream of
/// its own, once with each chunk of the database; the chunks of a stream must arrive in order, and each at most once.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerMessage {
    /// Sender.
    pub from: MemberId,
    /// Receiver.
    pub to: MemberId,
    /// The sender's version, which members put on everything that they send; `None` when it does not say.
    pub version: Option<Version>,
    /// Raft's message; a `MsgHup`, which Raft sends to nobody, when it is none of Raft's.
    pub message: Box<raftpb::Message>,
    /// With `MsgSnapshot`: a part of the sender's database at the snapshot's index.
    pub chunk: Option<Box<Chunk>>,
    /// What is said about leases. etcd's members do that over HTTP.
    pub lease: Option<Box<LeaseMessage>>,
    /// What is said about the hashes of members' data; over HTTP, too.
    pub hash: Option<Box<HashMessage>>,
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
        Self { from, to, version: None, message: Box::new(message), chunk: None, lease: None, hash: None }
    }

    /// A message about leases.
    pub fn of_lease(from: MemberId, to: MemberId, message: LeaseMessage) -> Self {
        Self { lease: Some(Box::new(message)), ..Self::of_raft(from, to, raftpb::Message::default()) }
    }

    /// A message about hashes.
    pub fn of_hash(from: MemberId, to: MemberId, message: HashMessage) -> Self {
        Self { hash: Some(Box::new(message)), ..Self::of_raft(from, to, raftpb::Message::default()) }
    }

    /// About how many bytes it takes on the wire; enough for bandwidth and queue limits.
    pub fn size(&self) -> usize {
        let entries: usize = self.message.entries.iter().map(|entry| entry.data.len() + 24).sum();
        64 + entries + self.message.context.len() + self.chunk.as_ref().map_or(0, |chunk| chunk.data.len())
    }
}

/// What members ask each other when the data of all are compared (`/members/hashkv`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HashMessage {
    /// What is your hash?
    Ask {
        /// The asking member's name for the question.
        call: u64,
        /// At this revision, 1 or more.
        revision: Revision,
    },
    /// This.
    Answer {
        /// The asking member's name for the question.
        call: u64,
        /// The answer; or that the revision is compacted there or does not exist yet, or that the member does not
        /// serve.
        result: Result<HashAnswer, Error>,
    },
}

/// A member's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HashAnswer {
    /// Of its data up to the revision that was asked about.
    pub hash: u32,
    /// Its newest revision.
    pub revision: Revision,
    /// The compaction revision that the hash was taken at.
    pub compact_revision: Revision,
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
