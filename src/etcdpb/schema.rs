//! etcd's messages as its API documents them: the names, numbers and kinds of their fields, and which methods take and
//! give which.
//!
//! A table of its own, beside the one that the replica encodes with: what one of them has wrong, the comparison shows.

use detcd_replica::wire::rpc::Method;

use Kind::{Bool, Bytes, Enum, Message, Short, Signed, Text, Unsigned};

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `int64`
    Signed,
    /// `uint64`
    Unsigned,
    /// `uint32`
    Short,
    Bool,
    Text,
    Bytes,
    /// Its values by number.
    Enum(&'static [&'static str]),
    /// Another message of the table.
    Message(&'static str),
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) repeated: bool,
}

const fn field(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, repeated: false }
}

const fn many(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, repeated: true }
}

const HEADER: Field = field(1, "header", Message("ResponseHeader"));
const NAME: Field = field(1, "name", Text);
/// Of a lock or an election.
const QUEUE: Field = field(1, "name", Bytes);
const ID: Field = field(1, "ID", Unsigned);
const LEASE: Field = field(1, "ID", Signed);

/// The fields of a message, in the order of their numbers.
///
/// # Panics
/// There is no such message.
pub(crate) fn fields(message: &str) -> &'static [Field] {
    let found = MESSAGES.iter().find(|(name, _)| *name == message);
    found.map_or_else(|| panic!("{message} is no message of the table"), |(_, fields)| fields)
}

static MESSAGES: &[(&str, &[Field])] = &[
    ("Nothing", &[]),
    ("Header", &[HEADER]),
    (
        "ResponseHeader",
        &[
            field(1, "cluster_id", Unsigned),
            field(2, "member_id", Unsigned),
            field(3, "revision", Signed),
            field(4, "raft_term", Unsigned),
        ],
    ),
    (
        "KeyValue",
        &[
            field(1, "key", Bytes),
            field(2, "create_revision", Signed),
            field(3, "mod_revision", Signed),
            field(4, "version", Signed),
            field(5, "value", Bytes),
            field(6, "lease", Signed),
        ],
    ),
    (
        "Event",
        &[
            field(1, "type", Enum(&["PUT", "DELETE"])),
            field(2, "kv", Message("KeyValue")),
            field(3, "prev_kv", Message("KeyValue")),
        ],
    ),
    (
        "RangeRequest",
        &[
            field(1, "key", Bytes),
            field(2, "range_end", Bytes),
            field(3, "limit", Signed),
            field(4, "revision", Signed),
            field(5, "sort_order", Enum(&["NONE", "ASCEND", "DESCEND"])),
            field(6, "sort_target", Enum(&["KEY", "VERSION", "CREATE", "MOD", "VALUE"])),
            field(7, "serializable", Bool),
            field(8, "keys_only", Bool),
            field(9, "count_only", Bool),
            field(10, "min_mod_revision", Signed),
            field(11, "max_mod_revision", Signed),
            field(12, "min_create_revision", Signed),
            field(13, "max_create_revision", Signed),
        ],
    ),
    (
        "RangeResponse",
        &[HEADER, many(2, "kvs", Message("KeyValue")), field(3, "more", Bool), field(4, "count", Signed)],
    ),
    (
        "PutRequest",
        &[
            field(1, "key", Bytes),
            field(2, "value", Bytes),
            field(3, "lease", Signed),
            field(4, "prev_kv", Bool),
            field(5, "ignore_value", Bool),
            field(6, "ignore_lease", Bool),
        ],
    ),
    ("PutResponse", &[HEADER, field(2, "prev_kv", Message("KeyValue"))]),
    ("DeleteRangeRequest", &[field(1, "key", Bytes), field(2, "range_end", Bytes), field(3, "prev_kv", Bool)]),
    ("DeleteRangeResponse", &[HEADER, field(2, "deleted", Signed), many(3, "prev_kvs", Message("KeyValue"))]),
    (
        "RequestOp",
        &[
            field(1, "request_range", Message("RangeRequest")),
            field(2, "request_put", Message("PutRequest")),
            field(3, "request_delete_range", Message("DeleteRangeRequest")),
            field(4, "request_txn", Message("TxnRequest")),
        ],
    ),
    (
        "ResponseOp",
        &[
            field(1, "response_range", Message("RangeResponse")),
            field(2, "response_put", Message("PutResponse")),
            field(3, "response_delete_range", Message("DeleteRangeResponse")),
            field(4, "response_txn", Message("TxnResponse")),
        ],
    ),
    (
        "Compare",
        &[
            field(1, "result", Enum(&["EQUAL", "GREATER", "LESS", "NOT_EQUAL"])),
            field(2, "target", Enum(&["VERSION", "CREATE", "MOD", "VALUE", "LEASE"])),
            field(3, "key", Bytes),
            field(4, "version", Signed),
            field(5, "create_revision", Signed),
            field(6, "mod_revision", Signed),
            field(7, "value", Bytes),
            field(8, "lease", Signed),
            field(64, "range_end", Bytes),
        ],
    ),
    (
        "TxnRequest",
        &[
            many(1, "compare", Message("Compare")),
            many(2, "success", Message("RequestOp")),
            many(3, "failure", Message("RequestOp")),
        ],
    ),
    ("TxnResponse", &[HEADER, field(2, "succeeded", Bool), many(3, "responses", Message("ResponseOp"))]),
    ("CompactionRequest", &[field(1, "revision", Signed), field(2, "physical", Bool)]),
    ("LeaseGrantRequest", &[field(1, "TTL", Signed), field(2, "ID", Signed)]),
    ("LeaseGrantResponse", &[HEADER, field(2, "ID", Signed), field(3, "TTL", Signed), field(4, "error", Text)]),
    ("LeaseKeepAliveResponse", &[HEADER, field(2, "ID", Signed), field(3, "TTL", Signed)]),
    ("LeaseRequest", &[LEASE]),
    ("LeaseTimeToLiveRequest", &[LEASE, field(2, "keys", Bool)]),
    (
        "LeaseTimeToLiveResponse",
        &[
            HEADER,
            field(2, "ID", Signed),
            field(3, "TTL", Signed),
            field(4, "grantedTTL", Signed),
            many(5, "keys", Bytes),
        ],
    ),
    ("LeaseLeasesResponse", &[HEADER, many(2, "leases", Message("LeaseRequest"))]),
    (
        "Member",
        &[
            ID,
            field(2, "name", Text),
            many(3, "peerURLs", Text),
            many(4, "clientURLs", Text),
            field(5, "isLearner", Bool),
        ],
    ),
    ("MemberAddRequest", &[many(1, "peerURLs", Text), field(2, "isLearner", Bool)]),
    ("MemberAddResponse", &[HEADER, field(2, "member", Message("Member")), many(3, "members", Message("Member"))]),
    ("MemberUpdateRequest", &[ID, many(2, "peerURLs", Text)]),
    ("MemberListRequest", &[field(1, "linearizable", Bool)]),
    ("MemberRequest", &[ID]),
    ("MembersResponse", &[HEADER, many(2, "members", Message("Member"))]),
    (
        "AlarmRequest",
        &[
            field(1, "action", Enum(&["GET", "ACTIVATE", "DEACTIVATE"])),
            field(2, "memberID", Unsigned),
            field(3, "alarm", Enum(ALARMS)),
        ],
    ),
    ("AlarmMember", &[field(1, "memberID", Unsigned), field(2, "alarm", Enum(ALARMS))]),
    ("AlarmResponse", &[HEADER, many(2, "alarms", Message("AlarmMember"))]),
    (
        "StatusResponse",
        &[
            HEADER,
            field(2, "version", Text),
            field(3, "dbSize", Signed),
            field(4, "leader", Unsigned),
            field(5, "raftIndex", Unsigned),
            field(6, "raftTerm", Unsigned),
            field(7, "raftAppliedIndex", Unsigned),
            many(8, "errors", Text),
            field(9, "dbSizeInUse", Signed),
            field(10, "isLearner", Bool),
            field(11, "storageVersion", Text),
            field(12, "dbSizeQuota", Signed),
            field(13, "downgradeInfo", Message("DowngradeInfo")),
        ],
    ),
    ("DowngradeInfo", &[field(1, "enabled", Bool), field(2, "targetVersion", Text)]),
    ("HashKVRequest", &[field(1, "revision", Signed)]),
    (
        "HashKVResponse",
        &[HEADER, field(2, "hash", Short), field(3, "compact_revision", Signed), field(4, "hash_revision", Signed)],
    ),
    ("HashResponse", &[HEADER, field(2, "hash", Short)]),
    (
        "SnapshotResponse",
        &[HEADER, field(2, "remaining_bytes", Unsigned), field(3, "blob", Bytes), field(4, "version", Text)],
    ),
    ("MoveLeaderRequest", &[field(1, "targetID", Unsigned)]),
    ("DowngradeRequest", &[field(1, "action", Enum(&["VALIDATE", "ENABLE", "CANCEL"])), field(2, "version", Text)]),
    ("DowngradeResponse", &[HEADER, field(2, "version", Text)]),
    ("AuthStatusResponse", &[HEADER, field(2, "enabled", Bool), field(3, "authRevision", Unsigned)]),
    ("AuthenticateRequest", &[NAME, field(2, "password", Text)]),
    ("AuthenticateResponse", &[HEADER, field(2, "token", Text)]),
    ("AuthUserAddRequest", &[NAME, field(2, "password", Text), field(3, "options", Message("UserAddOptions"))]),
    ("UserAddOptions", &[field(1, "no_password", Bool)]),
    ("NameRequest", &[NAME]),
    ("RoleRequest", &[field(1, "role", Text)]),
    ("RolesResponse", &[HEADER, many(2, "roles", Text)]),
    ("UsersResponse", &[HEADER, many(2, "users", Text)]),
    ("AuthUserGrantRoleRequest", &[field(1, "user", Text), field(2, "role", Text)]),
    ("AuthUserRevokeRoleRequest", &[NAME, field(2, "role", Text)]),
    ("AuthRoleGetResponse", &[HEADER, many(2, "perm", Message("Permission"))]),
    ("AuthRoleGrantPermissionRequest", &[NAME, field(2, "perm", Message("Permission"))]),
    (
        "AuthRoleRevokePermissionRequest",
        &[field(1, "role", Text), field(2, "key", Bytes), field(3, "range_end", Bytes)],
    ),
    (
        "Permission",
        &[
            field(1, "permType", Enum(&["READ", "WRITE", "READWRITE"])),
            field(2, "key", Bytes),
            field(3, "range_end", Bytes),
        ],
    ),
    (
        "WatchRequest",
        &[
            field(1, "create_request", Message("WatchCreateRequest")),
            field(2, "cancel_request", Message("WatchCancelRequest")),
            field(3, "progress_request", Message("Nothing")),
        ],
    ),
    (
        "WatchCreateRequest",
        &[
            field(1, "key", Bytes),
            field(2, "range_end", Bytes),
            field(3, "start_revision", Signed),
            field(4, "progress_notify", Bool),
            many(5, "filters", Enum(&["NOPUT", "NODELETE"])),
            field(6, "prev_kv", Bool),
            field(7, "watch_id", Signed),
            field(8, "fragment", Bool),
        ],
    ),
    ("WatchCancelRequest", &[field(1, "watch_id", Signed)]),
    (
        "WatchResponse",
        &[
            HEADER,
            field(2, "watch_id", Signed),
            field(3, "created", Bool),
            field(4, "canceled", Bool),
            field(5, "compact_revision", Signed),
            field(6, "cancel_reason", Text),
            field(7, "fragment", Bool),
            many(11, "events", Message("Event")),
        ],
    ),
    ("LockRequest", &[QUEUE, field(2, "lease", Signed)]),
    ("LockResponse", &[HEADER, field(2, "key", Bytes)]),
    ("UnlockRequest", &[field(1, "key", Bytes)]),
    ("CampaignRequest", &[QUEUE, field(2, "lease", Signed), field(3, "value", Bytes)]),
    ("CampaignResponse", &[HEADER, field(2, "leader", Message("LeaderKey"))]),
    ("LeaderKey", &[QUEUE, field(2, "key", Bytes), field(3, "rev", Signed), field(4, "lease", Signed)]),
    ("ElectionRequest", &[QUEUE]),
    ("LeaderResponse", &[HEADER, field(2, "kv", Message("KeyValue"))]),
    ("ProclaimRequest", &[field(1, "leader", Message("LeaderKey")), field(2, "value", Bytes)]),
    ("ResignRequest", &[field(1, "leader", Message("LeaderKey"))]),
];

const ALARMS: &[&str] = &["NONE", "NOSPACE", "CORRUPT"];

/// The messages that a method takes and gives.
pub(crate) fn messages(method: Method) -> (&'static str, &'static str) {
    match method {
        Method::Range => ("RangeRequest", "RangeResponse"),
        Method::Put => ("PutRequest", "PutResponse"),
        Method::DeleteRange => ("DeleteRangeRequest", "DeleteRangeResponse"),
        Method::Txn => ("TxnRequest", "TxnResponse"),
        Method::Compact => ("CompactionRequest", "Header"),
        Method::LeaseGrant => ("LeaseGrantRequest", "LeaseGrantResponse"),
        Method::LeaseRevoke => ("LeaseRequest", "Header"),
        Method::LeaseKeepAlive => ("LeaseRequest", "LeaseKeepAliveResponse"),
        Method::LeaseTimeToLive => ("LeaseTimeToLiveRequest", "LeaseTimeToLiveResponse"),
        Method::LeaseLeases => ("Nothing", "LeaseLeasesResponse"),
        Method::MemberAdd => ("MemberAddRequest", "MemberAddResponse"),
        Method::MemberRemove | Method::MemberPromote => ("MemberRequest", "MembersResponse"),
        Method::MemberUpdate => ("MemberUpdateRequest", "MembersResponse"),
        Method::MemberList => ("MemberListRequest", "MembersResponse"),
        Method::Alarm => ("AlarmRequest", "AlarmResponse"),
        Method::Status => ("Nothing", "StatusResponse"),
        Method::HashKv => ("HashKVRequest", "HashKVResponse"),
        Method::MoveLeader => ("MoveLeaderRequest", "Header"),
        Method::Downgrade => ("DowngradeRequest", "DowngradeResponse"),
        Method::Defragment | Method::AuthEnable | Method::AuthDisable => ("Nothing", "Header"),
        Method::AuthStatus => ("Nothing", "AuthStatusResponse"),
        Method::Authenticate => ("AuthenticateRequest", "AuthenticateResponse"),
        Method::UserAdd => ("AuthUserAddRequest", "Header"),
        Method::UserGet => ("NameRequest", "RolesResponse"),
        Method::UserList => ("Nothing", "UsersResponse"),
        Method::UserDelete | Method::RoleAdd => ("NameRequest", "Header"),
        Method::UserChangePassword => ("AuthenticateRequest", "Header"),
        Method::UserGrantRole => ("AuthUserGrantRoleRequest", "Header"),
        Method::UserRevokeRole => ("AuthUserRevokeRoleRequest", "Header"),
        Method::RoleGet => ("RoleRequest", "AuthRoleGetResponse"),
        Method::RoleList => ("Nothing", "RolesResponse"),
        Method::RoleDelete => ("RoleRequest", "Header"),
        Method::RoleGrantPermission => ("AuthRoleGrantPermissionRequest", "Header"),
        Method::RoleRevokePermission => ("AuthRoleRevokePermissionRequest", "Header"),
    }
}
