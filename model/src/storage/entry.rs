//! What is inside WAL records and entries: Raft's messages, and etcd's, with etcd's field numbers.

use bytes::Bytes;
use detcd_replica::api::{LeaseId, Request};
use prost::Message;

use super::auth;
use super::member::{Attributes, Downgrade, Old};
use super::request::{self, InternalRaftRequest};

/// `raftpb.EntryType` of a client's request.
pub const NORMAL: i32 = 0;
/// `raftpb.EntryType` of a change of one member.
pub const CONF_CHANGE: i32 = 1;

/// `raftpb.Entry`.
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// `raftpb.EntryType`.
    #[prost(int32, tag = "1")]
    pub kind: i32,
    /// The term in which it was proposed.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Its place in the log, from 1.
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// What is to be applied.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// `raftpb.HardState`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct HardState {
    /// Raft term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Whom the member voted for in that term.
    #[prost(uint64, tag = "2")]
    pub vote: u64,
    /// What it knew to be committed.
    #[prost(uint64, tag = "3")]
    pub commit: u64,
}

/// `walpb.Snapshot`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Snapshot {
    /// Raft index.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Raft term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The configuration there.
    #[prost(message, optional, tag = "3")]
    pub conf_state: Option<ConfState>,
}

/// `raftpb.ConfState`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ConfState {
    /// Members with a vote.
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    pub voters: Vec<u64>,
    /// Members without.
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub learners: Vec<u64>,
    /// The voters before, while two configurations are joint.
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub voters_outgoing: Vec<u64>,
    /// Who will be learners when they no longer are.
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub learners_next: Vec<u64>,
    /// Whether Raft leaves the joint configuration by itself.
    #[prost(bool, tag = "5")]
    pub auto_leave: bool,
}

/// `raftpb.ConfChange`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ConfChange {
    /// The proposal; 0 for the founders' own entries.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// `raftpb.ConfChangeType`.
    #[prost(int32, tag = "2")]
    pub kind: i32,
    /// The member.
    #[prost(uint64, tag = "3")]
    pub node_id: u64,
    /// What etcd adds to it.
    #[prost(bytes = "bytes", tag = "4")]
    pub context: Bytes,
}

/// What applying an entry does.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Nothing that lasts: a leader's first entry, or a question.
    Nothing,
    /// A request of a client.
    Request(Request),
    /// So many seconds are left of these leases.
    Checkpoint(Vec<(LeaseId, i64)>),
    /// A change of users, roles or permissions.
    Auth(auth::Change),
    /// A change of the membership.
    Change(ConfChange),
    /// A member says how it is called and where clients find it.
    Publish(u64, Attributes),
    /// All members understand this version.
    ClusterVersion(String),
    /// A downgrade begins or ends.
    Downgrade(Downgrade),
}

/// What an entry asks for, and on whose behalf.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The user; empty when nobody had to say.
    pub user: String,
    /// The revision of users and roles at which the user was checked.
    pub auth_revision: u64,
    /// What is asked for.
    pub command: Command,
}

impl Proposal {
    fn of(command: Command) -> Self {
        Self { user: String::new(), auth_revision: 0, command }
    }
}

/// The tag of what a normal entry asks for, at little cost: the fields of etcd's union come in order, and before the
/// one that is there comes at most the entry's own number.
pub fn union_tag(kind: i32, data: &[u8]) -> Option<u8> {
    const ID: u8 = 0x08;
    if kind != NORMAL {
        return None;
    }
    let mut rest = data;
    if let [ID, number @ ..] = rest {
        let length = number.iter().position(|byte| *byte < 0x80).map_or(number.len(), |last| last + 1);
        rest = &number[length..];
    }
    rest.first().copied()
}

/// What an entry of this type, with this data, asks for.
///
/// # Errors
/// It cannot be read, or is none that etcd proposes.
pub fn proposal(kind: i32, data: &Bytes) -> Result<Proposal, String> {
    match kind {
        NORMAL if data.is_empty() => Ok(Proposal::of(Command::Nothing)),
        NORMAL => match InternalRaftRequest::decode(data.clone()) {
            Ok(request) => request.parse(),
            // Members up to 3.5 also propose bare requests of the old API.
            Err(error) => match Old::decode(data.clone()) {
                Ok(old) => Ok(Proposal::of(request::of_old(&old))),
                Err(_) => Err(error.to_string()),
            },
        },
        CONF_CHANGE => ConfChange::decode(data.clone())
            .map(|change| Proposal::of(Command::Change(change)))
            .map_err(|error| error.to_string()),
        other => Err(format!("entry type {other} is not one that etcd proposes")),
    }
}

/// `mvccpb.KeyValue`, a value of the `key` bucket.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct StoredKeyValue {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Revision of the put that created this life of the key.
    #[prost(int64, tag = "2")]
    pub create_revision: i64,
    /// Revision of the last put.
    #[prost(int64, tag = "3")]
    pub mod_revision: i64,
    /// Puts in this life of the key.
    #[prost(int64, tag = "4")]
    pub version: i64,
    /// The value.
    #[prost(bytes = "bytes", tag = "5")]
    pub value: Bytes,
    /// The attached lease.
    #[prost(int64, tag = "6")]
    pub lease: i64,
}

/// `leasepb.Lease`, a value of the `lease` bucket. Times in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct StoredLease {
    /// The lease.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// Its full time to live.
    #[prost(int64, tag = "2")]
    pub ttl: i64,
    /// What was left at the last checkpoint.
    #[prost(int64, tag = "3")]
    pub remaining: i64,
}

/// `etcdserverpb.AlarmMember`, a key of the `alarm` bucket.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct StoredAlarm {
    /// Whose.
    #[prost(uint64, tag = "1")]
    pub member: u64,
    /// `etcdserverpb.AlarmType`.
    #[prost(int32, tag = "2")]
    pub alarm: i32,
}
