//! etcd's API as types that cannot be wrong: requests, responses, errors, watch events.
//!
//! The wire form is in [`crate::wire`]; this is what it means. The names are etcd's (`etcdserverpb`, `mvccpb`).
//! The history, the specification and the checkers speak these types, so they must not know how a replica works.

mod alarm;
mod auth;
mod cluster;
mod error;
mod key;
mod kv;
mod lease;
mod txn;
mod watch;

pub use alarm::{Alarm, AlarmAction, AlarmMember, AlarmRequest};
pub use auth::{AuthRequest, AuthResponse, Credential, Permission, PermissionType};
pub use cluster::{DowngradeRequest, Member};
pub use error::{Code, Effect, Error};
pub use key::{Key, KeyRange, KeyValue, LeaseId, RangeEnd, Revision, Value};
pub use kv::{CompactRequest, DeleteRangeRequest, PutRequest, RangeRequest, SortOrder, SortTarget};
pub use lease::{LeaseCheckpoint, LeaseGrantRequest};
pub use txn::{Compare, CompareResult, CompareTarget, RequestOp, TxnRequest};
pub use watch::{WatchBody, WatchCreate, WatchEvent, WatchEventKind, WatchRequest, WatchResponse};

use crate::MemberId;

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
    /// Make a lease.
    LeaseGrant(LeaseGrantRequest),
    /// End a lease, and delete its keys.
    LeaseRevoke {
        /// The lease.
        id: LeaseId,
    },
    /// Let a lease live for its whole time again. The leader does it, without the log.
    LeaseKeepAlive {
        /// The lease.
        id: LeaseId,
    },
    /// How long a lease has left. The leader answers.
    LeaseTimeToLive {
        /// The lease.
        id: LeaseId,
        /// Answer with its keys, too.
        keys: bool,
    },
    /// Every lease that this member knows. Answered without the cluster.
    Leases,
    /// List, raise or take back alarms.
    Alarm(AlarmRequest),
    /// Add a member, voting or learner. The id is the caller's to choose and was never used before.
    MemberAdd {
        /// The new member.
        id: MemberId,
        /// Where the other members will reach it.
        peer_urls: Vec<String>,
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
    /// Reach a member elsewhere.
    MemberUpdate {
        /// The member.
        id: MemberId,
        /// Where the other members will reach it.
        peer_urls: Vec<String>,
    },
    /// The members.
    MemberList {
        /// Not older than the request.
        linearizable: bool,
    },
    /// Users, roles, permissions, tokens.
    Auth(AuthRequest),
    /// Make the cluster ready for servers of the release before.
    Downgrade(DowngradeRequest),
    /// Hand leadership over. Only the leader takes it.
    MoveLeader {
        /// The member to lead.
        target: MemberId,
    },
    /// What this member knows of itself. Answered at once, without the cluster.
    Status,
    /// Write the member's database anew, without the room that nothing uses. The member does nothing else meanwhile.
    Defragment,
    /// A hash of the member's own key space at a revision (0: the newest). Answered without the cluster.
    HashKv {
        /// The revision, 0 for the newest.
        revision: Revision,
    },
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
    /// Keys in the order asked for.
    Range {
        /// The keys, at most `limit`; none when only counted.
        kvs: Vec<KeyValue>,
        /// Whether the limit cut some off.
        more: bool,
        /// How many there are in the range, whatever the limit and the revision filters.
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
    /// A lease was made.
    LeaseGrant {
        /// Its id.
        id: LeaseId,
        /// Its time to live in seconds.
        ttl: i64,
    },
    /// A lease was ended.
    LeaseRevoke,
    /// A lease was kept alive, or is not there.
    LeaseKeepAlive {
        /// Which.
        id: LeaseId,
        /// Its time to live in seconds; 0 when there is no such lease.
        ttl: i64,
    },
    /// The time of a lease.
    LeaseTimeToLive {
        /// Which.
        id: LeaseId,
        /// Whole seconds left; -1 when there is no such lease.
        ttl: i64,
        /// Its full time to live in seconds; 0 when there is no such lease.
        granted_ttl: i64,
        /// The attached keys in byte order, when asked for. etcd gives them in no order.
        keys: Vec<Key>,
    },
    /// Leases, those that end first in front.
    Leases {
        /// Their ids.
        leases: Vec<LeaseId>,
    },
    /// The alarms that were asked for, or the one that was changed.
    Alarm {
        /// Which; in order.
        alarms: Vec<AlarmMember>,
    },
    /// The members; after a change of them, as it left them.
    Members(Vec<Member>),
    /// Leadership is on its way.
    MoveLeader,
    /// To an auth request.
    Auth(AuthResponse),
    /// To a downgrade request.
    Downgrade {
        /// The cluster's version, `major.minor`.
        version: String,
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
    /// The database was written anew.
    Defragment,
    /// Hash of the key space.
    HashKv {
        /// CRC-32C over the revisions kept.
        hash: u32,
        /// The compaction revision it was taken at.
        compact_revision: Revision,
    },
}
