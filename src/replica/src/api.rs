//! etcd's API as types that cannot be wrong: requests, responses, errors, watch events.
//!
//! The wire form is in [`crate::wire`]; this is what it means. The names are etcd's (`etcdserverpb`, `mvccpb`).
//! The history, the specification and the checkers speak these types, so they must not know how a replica works.

use std::fmt;

use bytes::Bytes;

use crate::{MemberId, WatchId};

/// A key, as the client wrote it: any bytes but none at all.
pub type Key = Bytes;
/// A value: any bytes.
pub type Value = Bytes;
/// etcd's main revision. The empty store is at 1; each transaction that writes raises it by one.
pub type Revision = i64;
/// A lease. 0 is none.
pub type LeaseId = i64;

/// Which keys: `key` and `range_end` of etcd, parsed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRange {
    /// The first key.
    pub start: Key,
    /// Where it ends.
    pub end: RangeEnd,
}

/// The three kinds of `range_end`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RangeEnd {
    /// No `range_end`: the one key.
    Single,
    /// `range_end` is `\0`: every key from `start` on.
    Open,
    /// Keys below this one. Not above `start`: the range is empty.
    Before(Key),
}

impl KeyRange {
    /// One key.
    pub fn single(key: impl Into<Bytes>) -> Self {
        Self { start: key.into(), end: RangeEnd::Single }
    }

    /// Every key with this prefix; the empty prefix is every key there is.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start: Bytes = prefix.into();
        if start.is_empty() {
            return Self { start: Bytes::from_static(b"\0"), end: RangeEnd::Open };
        }
        let mut end = start.to_vec();
        while let Some(last) = end.last_mut() {
            if *last < 0xff {
                *last += 1;
                return Self { start, end: RangeEnd::Before(end.into()) };
            }
            end.pop();
        }
        Self { start, end: RangeEnd::Open }
    }

    /// Whether `key` is one of them.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == &self.start[..],
            RangeEnd::Open => key >= &self.start[..],
            RangeEnd::Before(end) => key >= &self.start[..] && key < &end[..],
        }
    }
}

/// A key with its value and history, `mvccpb.KeyValue`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyValue {
    /// The key.
    pub key: Key,
    /// Revision of the put that created this life of the key.
    pub create_revision: Revision,
    /// Revision of the last put.
    pub mod_revision: Revision,
    /// Puts in this life of the key, from 1.
    pub version: i64,
    /// The value; empty when the range asked for keys only.
    pub value: Value,
    /// The attached lease, 0 for none.
    pub lease: LeaseId,
}

/// What a client may ask of a member, over everything but a watch stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Read keys.
    Range(RangeRequest),
    /// Write one key.
    Put(PutRequest),
    /// Delete keys.
    DeleteRange(DeleteRangeRequest),
    /// Compare, then one of two lists of operations.
    Txn(TxnRequest),
    /// Drop history below a revision.
    Compact(CompactRequest),
    /// Add a member, voting or learner. The id is the caller's to choose and was never used before.
    MemberAdd {
        /// The new member.
        id: MemberId,
        /// Whether it joins without a vote.
        is_learner: bool,
    },
    /// Remove a member for ever.
    MemberRemove {
        /// The member.
        id: MemberId,
    },
    /// Give a learner its vote.
    MemberPromote {
        /// The learner.
        id: MemberId,
    },
    /// Hand leadership over. Only the leader takes it.
    MoveLeader {
        /// The member to lead.
        target: MemberId,
    },
    /// What this member knows of itself. Answered at once, without the cluster.
    Status,
    /// A hash of the member's own key space at a revision (0: the newest). Answered without the cluster.
    HashKv {
        /// The revision, 0 for the newest.
        revision: Revision,
    },
}

/// `RangeRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RangeRequest {
    /// Which keys.
    pub range: KeyRange,
    /// At most so many; 0 is no limit.
    pub limit: u64,
    /// As of this revision; 0 is the newest.
    pub revision: Revision,
    /// Answered by the member alone, maybe stale; otherwise linearizable.
    pub serializable: bool,
    /// Leave the values out.
    pub keys_only: bool,
    /// Only count.
    pub count_only: bool,
}

impl RangeRequest {
    /// A linearizable read of everything in the range, at the newest revision.
    pub fn of(range: KeyRange) -> Self {
        Self { range, limit: 0, revision: 0, serializable: false, keys_only: false, count_only: false }
    }
}

/// `PutRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PutRequest {
    /// The key.
    pub key: Key,
    /// The value.
    pub value: Value,
    /// The lease to attach, 0 for none.
    pub lease: LeaseId,
    /// Answer with what was there before.
    pub prev_kv: bool,
}

/// `DeleteRangeRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeleteRangeRequest {
    /// Which keys.
    pub range: KeyRange,
    /// Answer with what was there.
    pub prev_kv: bool,
}

/// `CompactionRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CompactRequest {
    /// History below this revision goes; the revision itself stays readable.
    pub revision: Revision,
    /// Answer only when the member that was asked has removed it from its backend.
    pub physical: bool,
}

/// `TxnRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TxnRequest {
    /// All must hold for `success` to run.
    pub compare: Vec<Compare>,
    /// Runs when they do.
    pub success: Vec<RequestOp>,
    /// Runs when one does not.
    pub failure: Vec<RequestOp>,
}

/// One guard of a transaction. Over a range it must hold for every key in it; an absent single key compares as version,
/// create revision, mod revision and lease 0, and a value comparison on it is false.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Compare {
    /// Which keys.
    pub range: KeyRange,
    /// How the key's property must relate to the target.
    pub result: CompareResult,
    /// Which property, and against what.
    pub target: CompareTarget,
}

/// `Compare.CompareResult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareResult {
    /// `=`
    Equal,
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `!=`
    NotEqual,
}

/// `Compare.CompareTarget` with its operand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CompareTarget {
    /// Puts in this life of the key.
    Version(i64),
    /// Creation.
    Create(Revision),
    /// Last change.
    Mod(Revision),
    /// The value, in byte order.
    Value(Value),
    /// The attached lease.
    Lease(LeaseId),
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestOp {
    /// Read.
    Range(RangeRequest),
    /// Write.
    Put(PutRequest),
    /// Delete.
    DeleteRange(DeleteRangeRequest),
    /// A transaction inside.
    Txn(Box<TxnRequest>),
}

/// What a member answers when it succeeds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Response {
    /// Who answered, and when in the history of the store.
    pub header: Header,
    /// The answer.
    pub body: ResponseBody,
}

/// `ResponseHeader`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The member that answered.
    pub member: MemberId,
    /// The store's revision when the request was applied (for a write: the revision it made).
    pub revision: Revision,
    /// Its Raft term.
    pub raft_term: u64,
}

/// The answer to each kind of [`Request`], and to each operation inside a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ResponseBody {
    /// Keys in byte order.
    Range {
        /// The keys, at most `limit`; none when only counted.
        kvs: Vec<KeyValue>,
        /// Whether the limit cut some off.
        more: bool,
        /// How many there are in the range, whatever the limit.
        count: u64,
    },
    /// A put.
    Put {
        /// What was there before, when asked for.
        prev_kv: Option<KeyValue>,
    },
    /// A delete.
    DeleteRange {
        /// How many keys went.
        deleted: u64,
        /// What they were, when asked for.
        prev_kvs: Vec<KeyValue>,
    },
    /// A transaction.
    Txn {
        /// Whether the compares held.
        succeeded: bool,
        /// One answer an operation.
        responses: Vec<Self>,
    },
    /// A compaction.
    Compact,
    /// A membership change, or leadership moved.
    Members {
        /// The voting members after it.
        voters: Vec<MemberId>,
        /// The learners after it.
        learners: Vec<MemberId>,
    },
    /// What a member knows of itself.
    Status {
        /// Whom it takes for the leader.
        leader: Option<MemberId>,
        /// Its applied index.
        raft_applied_index: u64,
        /// Its commit index.
        raft_index: u64,
    },
    /// Hash of the key space.
    HashKv {
        /// CRC-32C over the revisions kept.
        hash: u32,
        /// The compaction revision it was taken at.
        compact_revision: Revision,
    },
}

/// Why a member did not do what was asked. [`Error::effect`] says whether it may have happened all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Error {
    /// The key is empty.
    EmptyKey,
    /// More operations than `max_txn_ops`.
    TooManyOps,
    /// A transaction puts one key twice.
    DuplicateKey,
    /// The request is larger than `max_request_bytes`.
    RequestTooLarge,
    /// The revision was compacted away.
    Compacted,
    /// The revision is not there yet.
    FutureRevision,
    /// The lease does not exist.
    LeaseNotFound,
    /// The apply loop is too far behind.
    TooManyRequests,
    /// Nobody leads.
    NoLeader,
    /// The leader changed while the request waited.
    LeaderChanged,
    /// Only the leader takes this request.
    NotLeader,
    /// The server's own limit passed.
    Timeout,
    /// The member is going down.
    Stopped,
    /// No such member.
    MemberNotFound,
    /// That id is a member already, or was one.
    MemberExists,
    /// The member is no learner.
    MemberNotLearner,
    /// The learner is too far behind to be promoted.
    LearnerNotReady,
    /// The cluster has its learner already.
    TooManyLearners,
    /// The change would leave the started members without a quorum.
    UnhealthyCluster,
}

/// Whether a request that failed may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// It did not, and will not.
    Never,
    /// Nobody can say: now, later or never.
    Unknown,
}

impl Error {
    /// Whether the request may have taken effect.
    pub fn effect(self) -> Effect {
        match self {
            Self::NoLeader | Self::LeaderChanged | Self::Timeout | Self::Stopped => Effect::Unknown,
            _ => Effect::Never,
        }
    }

    /// etcd's own words for it.
    pub fn message(self) -> &'static str {
        match self {
            Self::EmptyKey => "etcdserver: key is not provided",
            Self::TooManyOps => "etcdserver: too many operations in txn request",
            Self::DuplicateKey => "etcdserver: duplicate key given in txn request",
            Self::RequestTooLarge => "etcdserver: request is too large",
            Self::Compacted => "etcdserver: mvcc: required revision has been compacted",
            Self::FutureRevision => "etcdserver: mvcc: required revision is a future revision",
            Self::LeaseNotFound => "etcdserver: requested lease not found",
            Self::TooManyRequests => "etcdserver: too many requests",
            Self::NoLeader => "etcdserver: no leader",
            Self::LeaderChanged => "etcdserver: leader changed",
            Self::NotLeader => "etcdserver: not leader",
            Self::Timeout => "etcdserver: request timed out",
            Self::Stopped => "etcdserver: server stopped",
            Self::MemberNotFound => "etcdserver: member not found",
            Self::MemberExists => "etcdserver: member ID already exist",
            Self::MemberNotLearner => "etcdserver: can only promote a learner member",
            Self::LearnerNotReady => "etcdserver: can only promote a learner member which is in sync with leader",
            Self::TooManyLearners => "etcdserver: too many learner members in cluster",
            Self::UnhealthyCluster => "etcdserver: unhealthy cluster",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// One change of one key, `mvccpb.Event`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchEvent {
    /// Put or delete.
    pub kind: WatchEventKind,
    /// The key after a put; after a delete only `key` and `mod_revision` are set.
    pub kv: KeyValue,
    /// The key before the change, when asked for and not compacted.
    pub prev_kv: Option<KeyValue>,
}

/// `Event.EventType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WatchEventKind {
    /// The key was written.
    Put,
    /// The key was deleted.
    Delete,
}

/// What a client sends on a watch stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WatchRequest {
    /// Start a watch.
    Create(WatchCreate),
    /// End one.
    Cancel(WatchId),
    /// Ask for a progress notification of the whole stream.
    Progress,
}

/// `WatchCreateRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchCreate {
    /// The client's name for it, unique in the stream.
    pub watch: WatchId,
    /// Which keys.
    pub range: KeyRange,
    /// From this revision on; 0 is from now on.
    pub start_revision: Revision,
    /// Send what was there before each change.
    pub prev_kv: bool,
    /// Send progress notifications when nothing happens.
    pub progress_notify: bool,
    /// Leave puts out.
    pub no_put: bool,
    /// Leave deletes out.
    pub no_delete: bool,
}

/// What a member sends on a watch stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchResponse {
    /// Which watch; `None` is the progress of the whole stream (etcd's watch id -1).
    pub watch: Option<WatchId>,
    /// Who sent it, and the store's revision then.
    pub header: Header,
    /// What it says.
    pub body: WatchBody,
}

/// The kinds of [`WatchResponse`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WatchBody {
    /// The watch exists.
    Created,
    /// Changes, in revision order; all changes of one revision are in one response.
    Events(Vec<WatchEvent>),
    /// Every event up to `header.revision` has been sent.
    Progress,
    /// The watch has ended.
    Cancelled {
        /// Not 0: because history up to here is gone, and the client must start again above it.
        compact_revision: Revision,
        /// Why, in etcd's words; empty when the client asked for it.
        reason: &'static str,
    },
}
