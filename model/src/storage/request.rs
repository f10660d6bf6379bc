//! `etcdserverpb.InternalRaftRequest`: requests as entries carry them, and as the judge understands them.
//!
//! What etcd treats alike becomes equal here: a limit below 1 is none.

use bytes::Bytes;
use detcd_replica::api::{
    self, Alarm, AlarmAction, CompareResult, CompareTarget, KeyRange, RangeEnd, Request, SortOrder, SortTarget,
};
use detcd_replica::MemberId;
use prost::{Message, Oneof};

use super::auth;
use super::entry::{Command, Proposal};
use super::member::{Attributes, ClusterVersion, Downgrade, Ignored, Old, Publish};

/// How deep transactions may nest before they are not believed.
const DEPTH_MAX: usize = 64;

/// `etcdserverpb.RequestHeader`.
#[derive(Clone, PartialEq, Message)]
struct RequestHeader {
    #[prost(string, tag = "2")]
    user: String,
    #[prost(uint64, tag = "3")]
    auth_revision: u64,
}

/// `etcdserverpb.InternalRaftRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct InternalRaftRequest {
    #[prost(message, optional, boxed, tag = "2")]
    old: Option<Box<Old>>,
    #[prost(message, optional, tag = "3")]
    range: Option<RangeRequest>,
    #[prost(message, optional, tag = "4")]
    put: Option<PutRequest>,
    #[prost(message, optional, tag = "5")]
    delete_range: Option<DeleteRangeRequest>,
    #[prost(message, optional, tag = "6")]
    txn: Option<TxnRequest>,
    #[prost(message, optional, tag = "7")]
    compaction: Option<CompactionRequest>,
    #[prost(message, optional, tag = "8")]
    lease_grant: Option<LeaseGrantRequest>,
    #[prost(message, optional, tag = "9")]
    lease_revoke: Option<LeaseRevokeRequest>,
    #[prost(message, optional, tag = "10")]
    alarm: Option<AlarmRequest>,
    #[prost(message, optional, tag = "11")]
    lease_checkpoint: Option<LeaseCheckpointRequest>,
    #[prost(message, optional, tag = "100")]
    header: Option<RequestHeader>,
    #[prost(message, optional, tag = "1000")]
    auth_enable: Option<auth::Empty>,
    #[prost(message, optional, tag = "1011")]
    auth_disable: Option<auth::Empty>,
    #[prost(message, optional, tag = "1012")]
    authenticate: Option<Ignored>,
    #[prost(message, optional, tag = "1013")]
    auth_status: Option<Ignored>,
    #[prost(message, optional, boxed, tag = "1100")]
    user_add: Option<Box<auth::UserAdd>>,
    #[prost(message, optional, boxed, tag = "1101")]
    user_delete: Option<Box<auth::Name>>,
    #[prost(message, optional, tag = "1102")]
    user_get: Option<Ignored>,
    #[prost(message, optional, boxed, tag = "1103")]
    user_change_password: Option<Box<auth::UserChangePassword>>,
    #[prost(message, optional, boxed, tag = "1104")]
    user_grant_role: Option<Box<auth::UserRole>>,
    #[prost(message, optional, boxed, tag = "1105")]
    user_revoke_role: Option<Box<auth::UserRole>>,
    #[prost(message, optional, tag = "1106")]
    user_list: Option<Ignored>,
    #[prost(message, optional, tag = "1107")]
    role_list: Option<Ignored>,
    #[prost(message, optional, boxed, tag = "1200")]
    role_add: Option<Box<auth::Name>>,
    #[prost(message, optional, boxed, tag = "1201")]
    role_delete: Option<Box<auth::Name>>,
    #[prost(message, optional, tag = "1202")]
    role_get: Option<Ignored>,
    #[prost(message, optional, boxed, tag = "1203")]
    role_grant: Option<Box<auth::RoleGrant>>,
    #[prost(message, optional, boxed, tag = "1204")]
    role_revoke: Option<Box<auth::RoleRevoke>>,
    #[prost(message, optional, boxed, tag = "1300")]
    cluster_version: Option<Box<ClusterVersion>>,
    #[prost(message, optional, boxed, tag = "1301")]
    publish: Option<Box<Publish>>,
    #[prost(message, optional, boxed, tag = "1302")]
    downgrade: Option<Box<Downgrade>>,
    #[prost(message, optional, tag = "9900")]
    downgrade_test: Option<Ignored>,
}

impl InternalRaftRequest {
    /// The one command in it.
    pub(super) fn parse(mut self) -> Result<Proposal, String> {
        let header = self.header.take().unwrap_or_default();
        let mut found = Vec::with_capacity(1);
        found.extend(self.request()?.into_iter().map(Command::Request));
        found.extend(self.lease_checkpoint.take().map(|checkpoint| {
            let leases = checkpoint.checkpoints.into_iter();
            Command::Checkpoint(leases.map(|lease| (lease.id, lease.remaining)).collect())
        }));
        found.extend(self.auth().into_iter().map(Command::Auth));
        found.extend(self.old.map(|old| of_old(&old)));
        found.extend(self.cluster_version.map(|set| Command::ClusterVersion(set.version)));
        found.extend(self.publish.map(|set| Command::Publish(set.member, set.attributes.unwrap_or_default())));
        found.extend(self.downgrade.map(|set| Command::Downgrade(*set)));
        let questions = [self.authenticate, self.auth_status, self.user_get, self.user_list, self.role_list];
        let questions = questions.into_iter().chain([self.role_get, self.downgrade_test]).flatten();
        found.extend(questions.map(|_| Command::Nothing));
        let command = match (found.pop(), found.is_empty()) {
            (Some(command), true) => command,
            (None, _) => return Err("the entry holds no request".to_owned()),
            (Some(_), false) => return Err("the entry holds several requests".to_owned()),
        };
        Ok(Proposal { user: header.user, auth_revision: header.auth_revision, command })
    }

    fn request(&mut self) -> Result<Vec<Request>, String> {
        let mut found = Vec::with_capacity(1);
        found.extend(self.range.take().map(RangeRequest::parse).transpose()?.map(Request::Range));
        found.extend(self.put.take().map(|put| Request::Put(put.parse())));
        found.extend(self.delete_range.take().map(|delete| Request::DeleteRange(delete.parse())));
        found.extend(self.txn.take().map(|txn| txn.parse(1)).transpose()?.map(Request::Txn));
        found.extend(self.compaction.take().map(|compaction| {
            let CompactionRequest { revision, physical } = compaction;
            Request::Compact(api::CompactRequest { revision, physical })
        }));
        found.extend(self.lease_grant.take().map(|grant| {
            let LeaseGrantRequest { id, ttl } = grant;
            Request::LeaseGrant(api::LeaseGrantRequest { id, ttl })
        }));
        found.extend(self.lease_revoke.take().map(|LeaseRevokeRequest { id }| Request::LeaseRevoke { id }));
        found.extend(self.alarm.take().map(AlarmRequest::parse).transpose()?.map(Request::Alarm));
        Ok(found)
    }

    fn auth(&mut self) -> Vec<auth::Change> {
        use auth::Change;
        let mut found = Vec::new();
        found.extend(self.auth_enable.take().map(|_| Change::Enable));
        found.extend(self.auth_disable.take().map(|_| Change::Disable));
        found.extend(self.user_add.take().map(|add| add.change()));
        found.extend(self.user_delete.take().map(|user| Change::UserDelete(user.name)));
        found.extend(self.user_change_password.take().map(|change| change.change()));
        found.extend(self.user_grant_role.take().map(|it| Change::UserGrantRole { user: it.user, role: it.role }));
        found.extend(self.user_revoke_role.take().map(|it| Change::UserRevokeRole { user: it.user, role: it.role }));
        found.extend(self.role_add.take().map(|role| Change::RoleAdd(role.name)));
        found.extend(self.role_delete.take().map(|role| Change::RoleDelete(role.name)));
        found.extend(self.role_grant.take().map(|it| Change::RoleGrant { role: it.role, permission: it.permission }));
        found.extend(self.role_revoke.take().map(|it| Change::RoleRevoke { role: it.role, key: it.key, end: it.end }));
        found
    }
}

/// What a request of the old API asks for: nothing, but for two kinds of puts.
pub(super) fn of_old(old: &Old) -> Command {
    if old.method != "PUT" {
        return Command::Nothing;
    }
    if old.path == "/0/version" {
        return Command::ClusterVersion(old.value.clone());
    }
    let member = old.path.strip_prefix("/0/members/").and_then(|rest| rest.strip_suffix("/attributes"));
    let member = member.and_then(|id| u64::from_str_radix(id, 16).ok());
    match (member, serde_json::from_str::<Attributes>(&old.value)) {
        (Some(member), Ok(attributes)) => Command::Publish(member, attributes),
        _ => Command::Nothing,
    }
}

fn key_range(start: Bytes, end: Bytes) -> KeyRange {
    let end = match &end[..] {
        b"" => RangeEnd::Single,
        b"\0" => RangeEnd::Open,
        _ => RangeEnd::Before(end),
    };
    KeyRange { start, end }
}

/// `etcdserverpb.RangeRequest`.
#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: Bytes,
    #[prost(int64, tag = "3")]
    limit: i64,
    #[prost(int64, tag = "4")]
    revision: i64,
    #[prost(int32, tag = "5")]
    sort_order: i32,
    #[prost(int32, tag = "6")]
    sort_target: i32,
    #[prost(bool, tag = "7")]
    serializable: bool,
    #[prost(bool, tag = "8")]
    keys_only: bool,
    #[prost(bool, tag = "9")]
    count_only: bool,
    #[prost(int64, tag = "10")]
    min_mod_revision: i64,
    #[prost(int64, tag = "11")]
    max_mod_revision: i64,
    #[prost(int64, tag = "12")]
    min_create_revision: i64,
    #[prost(int64, tag = "13")]
    max_create_revision: i64,
}

impl RangeRequest {
    fn parse(self) -> Result<api::RangeRequest, String> {
        let sort_order = match self.sort_order {
            0 => SortOrder::None,
            1 => SortOrder::Ascend,
            2 => SortOrder::Descend,
            other => return Err(format!("sort order {other} does not exist")),
        };
        let sort_target = match self.sort_target {
            0 => SortTarget::Key,
            1 => SortTarget::Version,
            2 => SortTarget::Create,
            3 => SortTarget::Mod,
            4 => SortTarget::Value,
            other => return Err(format!("sort target {other} does not exist")),
        };
        Ok(api::RangeRequest {
            range: key_range(self.key, self.range_end),
            limit: u64::try_from(self.limit).unwrap_or(0),
            revision: self.revision,
            sort_order,
            sort_target,
            serializable: self.serializable,
            keys_only: self.keys_only,
            count_only: self.count_only,
            min_mod_revision: self.min_mod_revision,
            max_mod_revision: self.max_mod_revision,
            min_create_revision: self.min_create_revision,
            max_create_revision: self.max_create_revision,
        })
    }
}

/// `etcdserverpb.PutRequest`.
#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
    #[prost(int64, tag = "3")]
    lease: i64,
    #[prost(bool, tag = "4")]
    prev_kv: bool,
    #[prost(bool, tag = "5")]
    ignore_value: bool,
    #[prost(bool, tag = "6")]
    ignore_lease: bool,
}

impl PutRequest {
    fn parse(self) -> api::PutRequest {
        let Self { key, value, lease, prev_kv, ignore_value, ignore_lease } = self;
        api::PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease }
    }
}

/// `etcdserverpb.DeleteRangeRequest`.
#[derive(Clone, PartialEq, Message)]
struct DeleteRangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: Bytes,
    #[prost(bool, tag = "3")]
    prev_kv: bool,
}

impl DeleteRangeRequest {
    fn parse(self) -> api::DeleteRangeRequest {
        api::DeleteRangeRequest { range: key_range(self.key, self.range_end), prev_kv: self.prev_kv }
    }
}

/// `etcdserverpb.TxnRequest`.
#[derive(Clone, PartialEq, Message)]
struct TxnRequest {
    #[prost(message, repeated, tag = "1")]
    compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
    #[prost(message, repeated, tag = "3")]
    failure: Vec<RequestOp>,
}

impl TxnRequest {
    fn parse(self, depth: usize) -> Result<api::TxnRequest, String> {
        if depth > DEPTH_MAX {
            return Err("transactions nest too deep".to_owned());
        }
        Ok(api::TxnRequest {
            compare: each(self.compare, Compare::parse)?,
            success: each(self.success, |op| op.parse(depth))?,
            failure: each(self.failure, |op| op.parse(depth))?,
        })
    }
}

/// All of them, in a list without room to spare: a log's are kept as long as the run lasts.
fn each<M, T>(messages: Vec<M>, parse: impl Fn(M) -> Result<T, String>) -> Result<Vec<T>, String> {
    let mut parsed = Vec::with_capacity(messages.len());
    for message in messages {
        parsed.push(parse(message)?);
    }
    Ok(parsed)
}

/// `etcdserverpb.RequestOp`.
#[derive(Clone, PartialEq, Message)]
struct RequestOp {
    #[prost(oneof = "AnyRequest", tags = "1, 2, 3, 4")]
    request: Option<AnyRequest>,
}

#[derive(Clone, PartialEq, Oneof)]
enum AnyRequest {
    #[prost(message, tag = "1")]
    Range(RangeRequest),
    #[prost(message, tag = "2")]
    Put(PutRequest),
    #[prost(message, tag = "3")]
    DeleteRange(DeleteRangeRequest),
    #[prost(message, tag = "4")]
    Txn(TxnRequest),
}

impl RequestOp {
    fn parse(self, depth: usize) -> Result<api::RequestOp, String> {
        Ok(match self.request {
            None => return Err("an operation of a transaction is empty".to_owned()),
            Some(AnyRequest::Range(range)) => api::RequestOp::Range(range.parse()?),
            Some(AnyRequest::Put(put)) => api::RequestOp::Put(put.parse()),
            Some(AnyRequest::DeleteRange(delete)) => api::RequestOp::DeleteRange(delete.parse()),
            Some(AnyRequest::Txn(txn)) => api::RequestOp::Txn(Box::new(txn.parse(depth + 1)?)),
        })
    }
}

/// `etcdserverpb.Compare`.
#[derive(Clone, PartialEq, Message)]
struct Compare {
    #[prost(int32, tag = "1")]
    result: i32,
    #[prost(int32, tag = "2")]
    target: i32,
    #[prost(bytes = "bytes", tag = "3")]
    key: Bytes,
    #[prost(oneof = "Operand", tags = "4, 5, 6, 7, 8")]
    operand: Option<Operand>,
    #[prost(bytes = "bytes", tag = "64")]
    range_end: Bytes,
}

#[derive(Clone, PartialEq, Oneof)]
enum Operand {
    #[prost(int64, tag = "4")]
    Version(i64),
    #[prost(int64, tag = "5")]
    CreateRevision(i64),
    #[prost(int64, tag = "6")]
    ModRevision(i64),
    #[prost(bytes = "bytes", tag = "7")]
    Value(Bytes),
    #[prost(int64, tag = "8")]
    Lease(i64),
}

impl Compare {
    fn parse(self) -> Result<api::Compare, String> {
        let result = match self.result {
            0 => CompareResult::Equal,
            1 => CompareResult::Greater,
            2 => CompareResult::Less,
            3 => CompareResult::NotEqual,
            other => return Err(format!("compare result {other} does not exist")),
        };
        // The target decides; an operand of another kind is as good as none, and none is zero.
        let target = match (self.target, self.operand) {
            (0, Some(Operand::Version(version))) => CompareTarget::Version(version),
            (0, _) => CompareTarget::Version(0),
            (1, Some(Operand::CreateRevision(revision))) => CompareTarget::Create(revision),
            (1, _) => CompareTarget::Create(0),
            (2, Some(Operand::ModRevision(revision))) => CompareTarget::Mod(revision),
            (2, _) => CompareTarget::Mod(0),
            (3, Some(Operand::Value(value))) => CompareTarget::Value(value),
            (3, _) => CompareTarget::Value(Bytes::new()),
            (4, Some(Operand::Lease(lease))) => CompareTarget::Lease(lease),
            (4, _) => CompareTarget::Lease(0),
            (other, _) => return Err(format!("compare target {other} does not exist")),
        };
        Ok(api::Compare { range: key_range(self.key, self.range_end), result, target })
    }
}

/// `etcdserverpb.CompactionRequest`.
#[derive(Clone, PartialEq, Message)]
struct CompactionRequest {
    #[prost(int64, tag = "1")]
    revision: i64,
    #[prost(bool, tag = "2")]
    physical: bool,
}

/// `etcdserverpb.LeaseGrantRequest`.
#[derive(Clone, PartialEq, Message)]
struct LeaseGrantRequest {
    #[prost(int64, tag = "1")]
    ttl: i64,
    #[prost(int64, tag = "2")]
    id: i64,
}

/// `etcdserverpb.LeaseRevokeRequest`.
#[derive(Clone, PartialEq, Message)]
struct LeaseRevokeRequest {
    #[prost(int64, tag = "1")]
    id: i64,
}

/// `etcdserverpb.LeaseCheckpointRequest`.
#[derive(Clone, PartialEq, Message)]
struct LeaseCheckpointRequest {
    #[prost(message, repeated, tag = "1")]
    checkpoints: Vec<LeaseCheckpoint>,
}

/// `etcdserverpb.LeaseCheckpoint`.
#[derive(Clone, PartialEq, Message)]
struct LeaseCheckpoint {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "2")]
    remaining: i64,
}

/// `etcdserverpb.AlarmRequest`.
#[derive(Clone, PartialEq, Message)]
struct AlarmRequest {
    #[prost(int32, tag = "1")]
    action: i32,
    #[prost(uint64, tag = "2")]
    member: u64,
    #[prost(int32, tag = "3")]
    alarm: i32,
}

impl AlarmRequest {
    fn parse(self) -> Result<api::AlarmRequest, String> {
        let action = match self.action {
            0 => AlarmAction::Get,
            1 => AlarmAction::Activate,
            2 => AlarmAction::Deactivate,
            other => return Err(format!("alarm action {other} does not exist")),
        };
        let alarm = match self.alarm {
            0 => None,
            1 => Some(Alarm::NoSpace),
            2 => Some(Alarm::Corrupt),
            other => return Err(format!("alarm {other} does not exist")),
        };
        Ok(api::AlarmRequest { action, member: MemberId(self.member), alarm })
    }
}

/// The data of entries, for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn put(key: &str, value: &str) -> Vec<u8> {
        let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
        let put = Some(PutRequest { key, value, ..Default::default() });
        InternalRaftRequest { put, ..Default::default() }.encode_to_vec()
    }

    pub(crate) fn delete(key: &str) -> Vec<u8> {
        let delete_range =
            Some(DeleteRangeRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..Default::default() });
        InternalRaftRequest { delete_range, ..Default::default() }.encode_to_vec()
    }

    pub(crate) fn grant(id: i64, ttl: i64) -> Vec<u8> {
        let lease_grant = Some(LeaseGrantRequest { id, ttl });
        InternalRaftRequest { lease_grant, ..Default::default() }.encode_to_vec()
    }

    pub(crate) fn revoke(id: i64) -> Vec<u8> {
        let lease_revoke = Some(LeaseRevokeRequest { id });
        InternalRaftRequest { lease_revoke, ..Default::default() }.encode_to_vec()
    }

    pub(crate) fn checkpoint(id: i64, remaining: i64) -> Vec<u8> {
        let lease_checkpoint = Some(LeaseCheckpointRequest { checkpoints: vec![LeaseCheckpoint { id, remaining }] });
        InternalRaftRequest { lease_checkpoint, ..Default::default() }.encode_to_vec()
    }

    pub(crate) fn attach(key: &str, lease: i64) -> Vec<u8> {
        let put = Some(PutRequest { key: Bytes::copy_from_slice(key.as_bytes()), lease, ..Default::default() });
        InternalRaftRequest { put, ..Default::default() }.encode_to_vec()
    }

    pub(crate) fn alarm(action: i32, member: u64, alarm: i32) -> Vec<u8> {
        let alarm = Some(AlarmRequest { action, member, alarm });
        InternalRaftRequest { alarm, ..Default::default() }.encode_to_vec()
    }

    pub(crate) fn user_add(name: &str) -> Vec<u8> {
        let user_add = Some(Box::new(auth::UserAdd::without_password(name)));
        InternalRaftRequest { header: Some(RequestHeader::default()), user_add, ..Default::default() }.encode_to_vec()
    }

    pub(crate) fn grant_root(user: &str) -> Vec<u8> {
        let user_grant_role = Some(Box::new(auth::UserRole { user: user.to_owned(), role: "root".to_owned() }));
        InternalRaftRequest { user_grant_role, ..Default::default() }.encode_to_vec()
    }

    pub(crate) fn auth_enable() -> Vec<u8> {
        InternalRaftRequest { auth_enable: Some(auth::Empty {}), ..Default::default() }.encode_to_vec()
    }

    pub(crate) fn compact(revision: i64) -> Vec<u8> {
        let compaction = Some(CompactionRequest { revision, physical: false });
        InternalRaftRequest { compaction, ..Default::default() }.encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use detcd_replica::api::{Compare, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, TxnRequest};
    use detcd_replica::wire;

    use super::*;
    use crate::storage::entry::{proposal, NORMAL};

    /// What members write into entries must mean to the judge what was asked.
    #[track_caller]
    fn comes_back(request: Request) {
        let data = wire::encode(5, &request).expect("it travels in an entry");
        let read = proposal(NORMAL, &data).expect("it can be read");
        assert_eq!(read, Proposal { user: String::new(), auth_revision: 0, command: Command::Request(request) });
    }

    #[test]
    fn requests_come_back() {
        let range = RangeRequest {
            limit: 3,
            revision: 9,
            sort_order: SortOrder::Descend,
            sort_target: SortTarget::Value,
            serializable: true,
            keys_only: true,
            count_only: true,
            min_mod_revision: 1,
            max_mod_revision: 2,
            min_create_revision: 3,
            max_create_revision: 4,
            ..RangeRequest::of(KeyRange::prefix("a"))
        };
        let put = PutRequest { lease: 7, prev_kv: true, ..PutRequest::of("k", "v") };
        let keep = PutRequest { ignore_value: true, ignore_lease: true, ..PutRequest::of("k", "") };
        let delete = api::DeleteRangeRequest { range: KeyRange::prefix(""), prev_kv: true };
        let target = CompareTarget::Value("x".into());
        let compare = Compare { range: KeyRange::single("c"), result: CompareResult::NotEqual, target };
        let inner = TxnRequest { compare: vec![], success: vec![RequestOp::Put(keep)], failure: vec![] };
        let success =
            vec![RequestOp::Range(range.clone()), RequestOp::Put(put.clone()), RequestOp::Txn(Box::new(inner))];
        comes_back(Request::Range(range));
        comes_back(Request::Put(put));
        comes_back(Request::DeleteRange(delete.clone()));
        let failure = vec![RequestOp::DeleteRange(delete)];
        comes_back(Request::Txn(TxnRequest { compare: vec![compare], success, failure }));
        comes_back(Request::Compact(api::CompactRequest { revision: 4, physical: true }));
        comes_back(Request::LeaseGrant(LeaseGrantRequest { id: -3, ttl: 60 }));
        comes_back(Request::LeaseRevoke { id: 7 });
        let alarm = Some(Alarm::Corrupt);
        comes_back(Request::Alarm(api::AlarmRequest { action: AlarmAction::Activate, member: MemberId(2), alarm }));
    }

    #[test]
    fn anything_else_is_refused() {
        for data in [&b"\xff"[..], b"\x08\x05", &[0x1a, 0, 0x22, 0]] {
            assert!(proposal(NORMAL, &Bytes::copy_from_slice(data)).is_err(), "{data:?}");
        }
        assert_eq!(proposal(NORMAL, &Bytes::new()).map(|it| it.command), Ok(Command::Nothing));
        assert!(proposal(2, &Bytes::new()).is_err());
    }
}
