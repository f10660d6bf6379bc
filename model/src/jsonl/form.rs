//! The lines as serde sees them, and what they mean. Each form mirrors a type of the API, field for field.

use detcd_replica::api as of;
use detcd_replica::history;
use detcd_replica::MemberId;
use serde::{Deserialize, Serialize};

use super::blob::Blob;
use super::cluster;
use super::refusal::Refusal;
use super::watch::Watch;

/// One line after the first.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    Operation(Box<Operation>),
    Watch(Box<Watch>),
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub(super) fn is_empty<T>(list: &[T]) -> bool {
    list.is_empty()
}

pub(super) fn member(id: &u64) -> MemberId {
    MemberId(*id)
}

/// A struct that mirrors another: numbers and flags as they are, the rest through `From`. What has a default is left
/// out where it has it.
macro_rules! mirror {
    ($(#[$meta:meta])* $name:ident = $of:path {
        $(plain $plain:ident: $plain_type:ty,)* ;
        $(form $form:ident: $form_type:ty,)* ;
        $(list $list:ident: $list_type:ty,)*
        $(; $(word $word:ident: $word_type:ty,)*)?
    }) => {
        $(#[$meta])*
        #[derive(Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($form: $form_type,)*
            $(#[serde(default, skip_serializing_if = "is_default")] $plain: $plain_type,)*
            $(#[serde(default, skip_serializing_if = "is_empty")] $list: Vec<$list_type>,)*
            $($(#[serde(default, skip_serializing_if = "is_default")] $word: $word_type,)*)?
        }

        impl From<&$of> for $name {
            fn from(it: &$of) -> Self {
                Self {
                    $($form: (&it.$form).into(),)*
                    $($plain: it.$plain,)*
                    $($list: it.$list.iter().map(Into::into).collect(),)*
                    $($($word: (&it.$word).into(),)*)?
                }
            }
        }

        impl From<$name> for $of {
            fn from(it: $name) -> Self {
                Self {
                    $($form: it.$form.into(),)*
                    $($plain: it.$plain,)*
                    $($list: it.$list.into_iter().map(Into::into).collect(),)*
                    $($($word: it.$word.into(),)*)?
                }
            }
        }
    };
}

/// Where a range ends, inside the object of the range.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    key: Blob,
    #[serde(default, skip_serializing_if = "is_default")]
    from_key: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    range_end: Option<Blob>,
}

impl From<&of::KeyRange> for Range {
    fn from(range: &of::KeyRange) -> Self {
        let (from_key, range_end) = match &range.end {
            of::RangeEnd::Single => (false, None),
            of::RangeEnd::Open => (true, None),
            of::RangeEnd::Before(end) => (false, Some(end.into())),
        };
        Self { key: (&range.start).into(), from_key, range_end }
    }
}

impl From<Range> for of::KeyRange {
    fn from(range: Range) -> Self {
        let end = match (range.from_key, range.range_end) {
            (true, _) => of::RangeEnd::Open,
            (false, Some(end)) => of::RangeEnd::Before(end.into()),
            (false, None) => of::RangeEnd::Single,
        };
        Self { start: range.key.into(), end }
    }
}

mirror!(KeyValue = of::KeyValue {
    plain create_revision: i64, plain mod_revision: i64, plain version: i64, plain lease: i64, ;
    form key: Blob, form value: Blob, ;
});
mirror!(RangeRequest = of::RangeRequest {
    plain limit: u64, plain revision: i64, plain serializable: bool, plain keys_only: bool, plain count_only: bool,
    plain min_mod_revision: i64, plain max_mod_revision: i64, plain min_create_revision: i64,
    plain max_create_revision: i64, ;
    form range: Range, ;
    ; word sort_order: SortOrder, word sort_target: SortTarget,
});
mirror!(PutRequest = of::PutRequest {
    plain lease: i64, plain prev_kv: bool, plain ignore_value: bool, plain ignore_lease: bool, ;
    form key: Blob, form value: Blob, ;
});
mirror!(LeaseGrantRequest = of::LeaseGrantRequest { plain id: i64, plain ttl: i64, ; ; });
mirror!(AlarmRequest = of::AlarmRequest { ; form action: AlarmAction, form member: Id, ; ; word alarm: WhichAlarm, });
mirror!(AlarmMember = of::AlarmMember { ; form alarm: Alarm, form member: Id, ; });
mirror!(DeleteRangeRequest = of::DeleteRangeRequest { plain prev_kv: bool, ; form range: Range, ; });
mirror!(CompactRequest = of::CompactRequest { plain revision: i64, plain physical: bool, ; ; });
mirror!(TxnRequest = of::TxnRequest { ; ; list compare: Compare, list success: RequestOp, list failure: RequestOp, });
mirror!(Compare = of::Compare { ; form range: Range, form result: CompareResult, form target: CompareTarget, ; });

/// Two enums, variant for variant.
macro_rules! mirror_enum {
    ($(#[$meta:meta])* $name:ident = $of:ident { $($unit:ident,)* ; $($variant:ident($inner:ty),)* }) => {
        $(#[$meta])*
        #[derive(Serialize, Deserialize)]
        #[serde(rename_all = "snake_case", deny_unknown_fields)]
        pub(super) enum $name { $($unit,)* $($variant($inner),)* }

        impl From<&of::$of> for $name {
            fn from(it: &of::$of) -> Self {
                match it {
                    $(of::$of::$unit => Self::$unit,)*
                    $(of::$of::$variant(inner) => Self::$variant(inner.into()),)*
                }
            }
        }

        impl From<$name> for of::$of {
            fn from(it: $name) -> Self {
                match it {
                    $($name::$unit => Self::$unit,)*
                    $($name::$variant(inner) => Self::$variant(inner.into()),)*
                }
            }
        }
    };
}

mirror_enum!(#[derive(PartialEq)] SortOrder = SortOrder { None, Ascend, Descend, ; });
mirror_enum!(#[derive(PartialEq)] SortTarget = SortTarget { Key, Version, Create, Mod, Value, ; });
mirror_enum!(AlarmAction = AlarmAction { Get, Activate, Deactivate, ; });
mirror_enum!(#[derive(PartialEq)] Alarm = Alarm { NoSpace, Corrupt, ; });
mirror_enum!(CompareResult = CompareResult { Equal, Greater, Less, NotEqual, ; });
mirror_enum!(WatchEventKind = WatchEventKind { Put, Delete, ; });
mirror_enum!(RequestOp = RequestOp {
    ; Range(RangeRequest), Put(PutRequest), DeleteRange(DeleteRangeRequest), Txn(Inner),
});
mirror_enum!(CompareTarget = CompareTarget {
    ; Version(Number), Create(Number), Mod(Number), Value(Blob), Lease(Number),
});

impl Default for SortOrder {
    fn default() -> Self {
        (&of::SortOrder::default()).into()
    }
}

impl Default for SortTarget {
    fn default() -> Self {
        (&of::SortTarget::default()).into()
    }
}

/// An alarm, or all there are.
#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct WhichAlarm(Option<Alarm>);

impl From<&Option<of::Alarm>> for WhichAlarm {
    fn from(alarm: &Option<of::Alarm>) -> Self {
        Self(alarm.as_ref().map(Into::into))
    }
}

impl From<WhichAlarm> for Option<of::Alarm> {
    fn from(alarm: WhichAlarm) -> Self {
        alarm.0.map(Into::into)
    }
}

/// A member.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Id(u64);

impl From<&MemberId> for Id {
    fn from(member: &MemberId) -> Self {
        Self(member.0)
    }
}

impl From<Id> for MemberId {
    fn from(id: Id) -> Self {
        Self(id.0)
    }
}

/// A bare number.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Number(i64);

impl From<&i64> for Number {
    fn from(n: &i64) -> Self {
        Self(*n)
    }
}

impl From<Number> for i64 {
    fn from(n: Number) -> Self {
        n.0
    }
}

/// A transaction inside another.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Inner(Box<TxnRequest>);

impl From<&Box<of::TxnRequest>> for Inner {
    fn from(txn: &Box<of::TxnRequest>) -> Self {
        Self(Box::new((&**txn).into()))
    }
}

impl From<Inner> for Box<of::TxnRequest> {
    fn from(txn: Inner) -> Self {
        Self::new((*txn.0).into())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactRequest),
    LeaseGrant(LeaseGrantRequest),
    LeaseRevoke {
        id: i64,
    },
    LeaseKeepAlive {
        id: i64,
    },
    LeaseTimeToLive {
        id: i64,
        keys: bool,
    },
    Leases,
    Alarm(AlarmRequest),
    MemberAdd {
        id: u64,
        #[serde(default, skip_serializing_if = "is_empty")]
        peer_urls: Vec<String>,
        is_learner: bool,
    },
    MemberRemove {
        id: u64,
    },
    MemberPromote {
        id: u64,
    },
    MemberUpdate {
        id: u64,
        peer_urls: Vec<String>,
    },
    MemberList {
        linearizable: bool,
    },
    Auth(#[serde(with = "cluster::AuthRequest")] of::AuthRequest),
    Downgrade(#[serde(with = "cluster::DowngradeRequest")] of::DowngradeRequest),
    MoveLeader {
        target: u64,
    },
    Status,
    Defragment,
    HashKv {
        revision: i64,
    },
}

impl From<&of::Request> for Request {
    fn from(request: &of::Request) -> Self {
        match request {
            of::Request::Range(it) => Self::Range(it.into()),
            of::Request::Put(it) => Self::Put(it.into()),
            of::Request::DeleteRange(it) => Self::DeleteRange(it.into()),
            of::Request::Txn(it) => Self::Txn(it.into()),
            of::Request::Compact(it) => Self::Compact(it.into()),
            of::Request::LeaseGrant(it) => Self::LeaseGrant(it.into()),
            of::Request::LeaseRevoke { id } => Self::LeaseRevoke { id: *id },
            of::Request::LeaseKeepAlive { id } => Self::LeaseKeepAlive { id: *id },
            of::Request::LeaseTimeToLive { id, keys } => Self::LeaseTimeToLive { id: *id, keys: *keys },
            of::Request::Leases => Self::Leases,
            of::Request::Alarm(it) => Self::Alarm(it.into()),
            of::Request::MemberAdd { id, peer_urls, is_learner } => {
                Self::MemberAdd { id: id.0, peer_urls: peer_urls.clone(), is_learner: *is_learner }
            }
            of::Request::MemberRemove { id } => Self::MemberRemove { id: id.0 },
            of::Request::MemberPromote { id } => Self::MemberPromote { id: id.0 },
            of::Request::MemberUpdate { id, peer_urls } => {
                Self::MemberUpdate { id: id.0, peer_urls: peer_urls.clone() }
            }
            of::Request::MemberList { linearizable } => Self::MemberList { linearizable: *linearizable },
            of::Request::Auth(it) => Self::Auth(it.clone()),
            of::Request::Downgrade(it) => Self::Downgrade(it.clone()),
            of::Request::MoveLeader { target } => Self::MoveLeader { target: target.0 },
            of::Request::Status => Self::Status,
            of::Request::Defragment => Self::Defragment,
            of::Request::HashKv { revision } => Self::HashKv { revision: *revision },
        }
    }
}

impl From<Request> for of::Request {
    fn from(request: Request) -> Self {
        match request {
            Request::Range(it) => Self::Range(it.into()),
            Request::Put(it) => Self::Put(it.into()),
            Request::DeleteRange(it) => Self::DeleteRange(it.into()),
            Request::Txn(it) => Self::Txn(it.into()),
            Request::Compact(it) => Self::Compact(it.into()),
            Request::LeaseGrant(it) => Self::LeaseGrant(it.into()),
            Request::LeaseRevoke { id } => Self::LeaseRevoke { id },
            Request::LeaseKeepAlive { id } => Self::LeaseKeepAlive { id },
            Request::LeaseTimeToLive { id, keys } => Self::LeaseTimeToLive { id, keys },
            Request::Leases => Self::Leases,
            Request::Alarm(it) => Self::Alarm(it.into()),
            Request::MemberAdd { id, peer_urls, is_learner } => {
                Self::MemberAdd { id: MemberId(id), peer_urls, is_learner }
            }
            Request::MemberRemove { id } => Self::MemberRemove { id: MemberId(id) },
            Request::MemberPromote { id } => Self::MemberPromote { id: MemberId(id) },
            Request::MemberUpdate { id, peer_urls } => Self::MemberUpdate { id: MemberId(id), peer_urls },
            Request::MemberList { linearizable } => Self::MemberList { linearizable },
            Request::Auth(it) => Self::Auth(it),
            Request::Downgrade(it) => Self::Downgrade(it),
            Request::MoveLeader { target } => Self::MoveLeader { target: MemberId(target) },
            Request::Status => Self::Status,
            Request::Defragment => Self::Defragment,
            Request::HashKv { revision } => Self::HashKv { revision },
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Body {
    Range {
        #[serde(default, skip_serializing_if = "is_empty")]
        kvs: Vec<KeyValue>,
        #[serde(default, skip_serializing_if = "is_default")]
        more: bool,
        #[serde(default, skip_serializing_if = "is_default")]
        count: u64,
    },
    Put {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prev_kv: Option<KeyValue>,
    },
    DeleteRange {
        #[serde(default, skip_serializing_if = "is_default")]
        deleted: u64,
        #[serde(default, skip_serializing_if = "is_empty")]
        prev_kvs: Vec<KeyValue>,
    },
    Txn {
        #[serde(default, skip_serializing_if = "is_default")]
        succeeded: bool,
        #[serde(default, skip_serializing_if = "is_empty")]
        responses: Vec<Self>,
    },
    Compact,
    LeaseGrant {
        id: i64,
        ttl: i64,
    },
    LeaseRevoke,
    LeaseKeepAlive {
        id: i64,
        ttl: i64,
    },
    LeaseTimeToLive {
        id: i64,
        ttl: i64,
        granted_ttl: i64,
        #[serde(default, skip_serializing_if = "is_empty")]
        keys: Vec<Blob>,
    },
    Leases {
        leases: Vec<i64>,
    },
    Alarm {
        alarms: Vec<AlarmMember>,
    },
    Members(Vec<cluster::Member>),
    MoveLeader,
    Auth(cluster::AuthResponse),
    Downgrade {
        version: String,
    },
    Status {
        leader: Option<u64>,
        raft_applied_index: u64,
        raft_index: u64,
    },
    Defragment,
    HashKv {
        hash: u32,
        compact_revision: i64,
    },
}

impl From<&of::ResponseBody> for Body {
    fn from(body: &of::ResponseBody) -> Self {
        let kvs = |kvs: &[of::KeyValue]| kvs.iter().map(Into::into).collect();
        match body {
            of::ResponseBody::Range { kvs: list, more, count } => {
                Self::Range { kvs: kvs(list), more: *more, count: *count }
            }
            of::ResponseBody::Put { prev_kv } => Self::Put { prev_kv: prev_kv.as_ref().map(Into::into) },
            of::ResponseBody::DeleteRange { deleted, prev_kvs } => {
                Self::DeleteRange { deleted: *deleted, prev_kvs: kvs(prev_kvs) }
            }
            of::ResponseBody::Txn { succeeded, responses } => {
                Self::Txn { succeeded: *succeeded, responses: responses.iter().map(Into::into).collect() }
            }
            of::ResponseBody::Compact => Self::Compact,
            of::ResponseBody::LeaseGrant { id, ttl } => Self::LeaseGrant { id: *id, ttl: *ttl },
            of::ResponseBody::LeaseRevoke => Self::LeaseRevoke,
            of::ResponseBody::LeaseKeepAlive { id, ttl } => Self::LeaseKeepAlive { id: *id, ttl: *ttl },
            of::ResponseBody::LeaseTimeToLive { id, ttl, granted_ttl, keys } => Self::LeaseTimeToLive {
                id: *id,
                ttl: *ttl,
                granted_ttl: *granted_ttl,
                keys: keys.iter().map(Into::into).collect(),
            },
            of::ResponseBody::Leases { leases } => Self::Leases { leases: leases.clone() },
            of::ResponseBody::Alarm { alarms } => Self::Alarm { alarms: alarms.iter().map(Into::into).collect() },
            of::ResponseBody::Members(members) => Self::Members(members.iter().map(Into::into).collect()),
            of::ResponseBody::MoveLeader => Self::MoveLeader,
            of::ResponseBody::Auth(it) => Self::Auth(it.into()),
            of::ResponseBody::Downgrade { version } => Self::Downgrade { version: version.clone() },
            of::ResponseBody::Status { leader, raft_applied_index, raft_index } => Self::Status {
                leader: leader.map(|id| id.0),
                raft_applied_index: *raft_applied_index,
                raft_index: *raft_index,
            },
            of::ResponseBody::Defragment => Self::Defragment,
            of::ResponseBody::HashKv { hash, compact_revision } => {
                Self::HashKv { hash: *hash, compact_revision: *compact_revision }
            }
        }
    }
}

impl From<Body> for of::ResponseBody {
    fn from(body: Body) -> Self {
        let kvs = |kvs: Vec<KeyValue>| kvs.into_iter().map(Into::into).collect();
        match body {
            Body::Range { kvs: list, more, count } => Self::Range { kvs: kvs(list), more, count },
            Body::Put { prev_kv } => Self::Put { prev_kv: prev_kv.map(Into::into) },
            Body::DeleteRange { deleted, prev_kvs } => Self::DeleteRange { deleted, prev_kvs: kvs(prev_kvs) },
            Body::Txn { succeeded, responses } => {
                Self::Txn { succeeded, responses: responses.into_iter().map(Into::into).collect() }
            }
            Body::Compact => Self::Compact,
            Body::LeaseGrant { id, ttl } => Self::LeaseGrant { id, ttl },
            Body::LeaseRevoke => Self::LeaseRevoke,
            Body::LeaseKeepAlive { id, ttl } => Self::LeaseKeepAlive { id, ttl },
            Body::LeaseTimeToLive { id, ttl, granted_ttl, keys } => {
                Self::LeaseTimeToLive { id, ttl, granted_ttl, keys: keys.into_iter().map(Into::into).collect() }
            }
            Body::Leases { leases } => Self::Leases { leases },
            Body::Alarm { alarms } => Self::Alarm { alarms: alarms.into_iter().map(Into::into).collect() },
            Body::Members(members) => Self::Members(members.into_iter().map(Into::into).collect()),
            Body::MoveLeader => Self::MoveLeader,
            Body::Auth(it) => Self::Auth(it.into()),
            Body::Downgrade { version } => Self::Downgrade { version },
            Body::Status { leader, raft_applied_index, raft_index } => {
                Self::Status { leader: leader.map(MemberId), raft_applied_index, raft_index }
            }
            Body::Defragment => Self::Defragment,
            Body::HashKv { hash, compact_revision } => Self::HashKv { hash, compact_revision },
        }
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    member: u64,
    revision: i64,
    raft_term: u64,
}

impl From<of::Header> for Header {
    fn from(of::Header { member, revision, raft_term }: of::Header) -> Self {
        Self { member: member.0, revision, raft_term }
    }
}

impl From<Header> for of::Header {
    fn from(Header { member, revision, raft_term }: Header) -> Self {
        Self { member: MemberId(member), revision, raft_term }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Outcome {
    Ok {
        at: u64,
        header: Header,
        body: Body,
    },
    Failed {
        at: u64,
        error: Refusal,
    },
    Unknown {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<u64>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operation {
    client: u32,
    member: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    user: String,
    call: u64,
    request: Request,
    outcome: Outcome,
}

impl From<&history::Operation> for Operation {
    fn from(it: &history::Operation) -> Self {
        let outcome = match &it.outcome {
            history::Outcome::Ok { at, response } => {
                Outcome::Ok { at: *at, header: response.header.into(), body: (&response.body).into() }
            }
            history::Outcome::Failed { at, error } => Outcome::Failed { at: *at, error: Refusal(*error) },
            history::Outcome::Unknown { at } => Outcome::Unknown { at: *at },
        };
        let (user, request) = (it.user.clone(), (&it.request).into());
        Self { client: it.client, member: it.member.0, user, call: it.call, request, outcome }
    }
}

impl From<Operation> for history::Operation {
    fn from(it: Operation) -> Self {
        let outcome = match it.outcome {
            Outcome::Ok { at, header, body } => {
                history::Outcome::Ok { at, response: of::Response { header: header.into(), body: body.into() } }
            }
            Outcome::Failed { at, error } => history::Outcome::Failed { at, error: error.0 },
            Outcome::Unknown { at } => history::Outcome::Unknown { at },
        };
        let (member, request) = (member(&it.member), it.request.into());
        Self { client: it.client, member, user: it.user, call: it.call, request, outcome }
    }
}
