//! Answers: the message that a method gives for what a member said.

use bytes::Bytes;
use prost::Message;

use super::Method;
use crate::api::{Alarm, AuthResponse, Header, KeyValue, Member, PermissionType, Response, ResponseBody};
use crate::membership::Version;
use crate::wire::message::{auth, rpc};
use crate::MemberId;

/// What a member's status tells beside its place in the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The server's version.
    pub version: String,
    /// Bytes of the database's file.
    pub db_size: u64,
    /// Bytes of it that are in use.
    pub db_size_in_use: u64,
    /// Its quota in bytes; less than 0 is none, and 0 of a release that does not tell.
    pub db_size_quota: i64,
    /// Where an enabled downgrade goes; nothing at all of a release that does not tell.
    pub downgrade: Option<Option<Version>>,
    /// Whether it has no vote.
    pub is_learner: bool,
    /// Alarms, and that nobody leads.
    pub errors: Vec<String>,
}

/// The message of an answer to a `method` of the cluster. `added` is the member that the request was about to add.
pub fn response(method: Method, cluster: u64, response: &Response, added: Option<MemberId>) -> Bytes {
    let revision = response.header.revision;
    let mut header = message_header(cluster, response.header);
    if matches!(response.body, ResponseBody::Members(_)) {
        // The cluster's service says nothing of the store.
        header.revision = 0;
    }
    let header = Some(header);
    let bytes = match &response.body {
        ResponseBody::Range { kvs, more, count } => range(header, kvs, *more, *count).encode_to_vec(),
        ResponseBody::Put { prev_kv } => put(header, prev_kv.as_ref()).encode_to_vec(),
        ResponseBody::DeleteRange { deleted, prev_kvs } => delete(header, *deleted, prev_kvs).encode_to_vec(),
        ResponseBody::Txn { succeeded, responses } => {
            let begun = if has_written(responses) { revision - 1 } else { revision };
            txn(header, *succeeded, responses, begun, &mut false).encode_to_vec()
        }
        ResponseBody::LeaseGrant { id, ttl } | ResponseBody::LeaseKeepAlive { id, ttl } => {
            rpc::LeaseResponse { header, id: *id, ttl: *ttl }.encode_to_vec()
        }
        ResponseBody::LeaseTimeToLive { id, ttl, granted_ttl, keys } => {
            let (ttl, granted_ttl, keys) = (*ttl, *granted_ttl, keys.clone());
            rpc::LeaseTimeToLiveResponse { header, id: *id, ttl, granted_ttl, keys }.encode_to_vec()
        }
        ResponseBody::Leases { leases } => {
            let leases = leases.iter().map(|id| rpc::LeaseStatus { id: *id }).collect();
            rpc::LeaseLeasesResponse { header, leases }.encode_to_vec()
        }
        ResponseBody::Alarm { alarms } => {
            let one = |alarm| match alarm {
                Alarm::NoSpace => 1,
                Alarm::Corrupt => 2,
            };
            let alarms =
                alarms.iter().map(|it| rpc::AlarmMember { member_id: it.member.0, alarm: one(it.alarm) }).collect();
            rpc::AlarmResponse { header, alarms }.encode_to_vec()
        }
        ResponseBody::Members(members) if method == Method::MemberAdd => {
            let new = members.iter().find(|member| Some(member.id) == added).map(member);
            let members = members.iter().map(member).collect();
            rpc::MemberAddResponse { header, member: new, members }.encode_to_vec()
        }
        ResponseBody::Members(members) => {
            rpc::MembersResponse { header, members: members.iter().map(member).collect() }.encode_to_vec()
        }
        ResponseBody::Downgrade { version } => rpc::TextResponse { header, text: version.clone() }.encode_to_vec(),
        ResponseBody::HashKv { hash, compact_revision } => {
            let (hash, compact_revision) = (*hash, *compact_revision);
            rpc::HashResponse { header, hash, compact_revision, hash_revision: revision }.encode_to_vec()
        }
        ResponseBody::Auth(answer) => auth_response(header, answer),
        ResponseBody::Status { .. } => return status(cluster, response, &Condition::default()),
        ResponseBody::Compact | ResponseBody::LeaseRevoke => rpc::Done { header }.encode_to_vec(),
        // etcd leaves their headers out.
        ResponseBody::MoveLeader | ResponseBody::Defragment => Vec::new(),
    };
    bytes.into()
}

/// The message of a status, with what the member itself does not say.
pub fn status(cluster: u64, response: &Response, condition: &Condition) -> Bytes {
    let (leader, raft_applied_index, raft_index) = match &response.body {
        ResponseBody::Status { leader, raft_applied_index, raft_index } => {
            (leader.map_or(0, |leader| leader.0), *raft_applied_index, *raft_index)
        }
        _ => (0, 0, 0),
    };
    rpc::StatusResponse {
        header: Some(message_header(cluster, response.header)),
        version: condition.version.clone(),
        db_size: signed(condition.db_size),
        leader,
        raft_index,
        raft_term: response.header.raft_term,
        raft_applied_index,
        errors: condition.errors.clone(),
        db_size_in_use: signed(condition.db_size_in_use),
        is_learner: condition.is_learner,
        db_size_quota: condition.db_size_quota,
        downgrade_info: condition.downgrade.map(|target| rpc::DowngradeInfo {
            enabled: target.is_some(),
            target_version: target.map_or_else(String::new, |target| target.to_string()),
        }),
    }
    .encode_to_vec()
    .into()
}

/// The message of an answer that is no more than a header; or of `Maintenance/Hash`, with a hash.
pub fn header(cluster: u64, header: Header, hash: Option<u32>) -> Bytes {
    let header = Some(message_header(cluster, header));
    rpc::HashResponse { header, hash: hash.unwrap_or(0), ..Default::default() }.encode_to_vec().into()
}

/// The message of one part of a database on its way to a client.
pub fn snapshot(cluster: u64, header: Header, version: &str, blob: Bytes, remaining_bytes: u64) -> Bytes {
    let (header, version) = (Some(message_header(cluster, header)), version.to_owned());
    rpc::SnapshotResponse { header, remaining_bytes, blob, version }.encode_to_vec().into()
}

pub(super) fn message_header(cluster: u64, header: Header) -> rpc::ResponseHeader {
    let Header { member, revision, raft_term } = header;
    rpc::ResponseHeader { cluster_id: cluster, member_id: member.0, revision, raft_term }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn range(header: Option<rpc::ResponseHeader>, kvs: &[KeyValue], more: bool, count: u64) -> rpc::RangeResponse {
    rpc::RangeResponse { header, kvs: kvs.iter().map(Into::into).collect(), more, count: signed(count) }
}

fn put(header: Option<rpc::ResponseHeader>, prev_kv: Option<&KeyValue>) -> rpc::PutResponse {
    rpc::PutResponse { header, prev_kv: prev_kv.map(Into::into) }
}

fn delete(header: Option<rpc::ResponseHeader>, deleted: u64, prev_kvs: &[KeyValue]) -> rpc::DeleteRangeResponse {
    let prev_kvs = prev_kvs.iter().map(Into::into).collect();
    rpc::DeleteRangeResponse { header, deleted: signed(deleted), prev_kvs }
}

/// Whether a transaction has changed anything.
fn has_written(responses: &[ResponseBody]) -> bool {
    responses.iter().any(|response| match response {
        ResponseBody::Put { .. } => true,
        ResponseBody::DeleteRange { deleted, .. } => *deleted > 0,
        ResponseBody::Txn { responses, .. } => has_written(responses),
        _ => false,
    })
}

/// The answers inside a transaction that began at the revision `begun` have headers of their own, with nothing but the
/// revision that the operation was at: the next one as soon as anything is `written`. A nested transaction's is empty.
fn txn(
    header: Option<rpc::ResponseHeader>,
    succeeded: bool,
    responses: &[ResponseBody],
    begun: i64,
    written: &mut bool,
) -> rpc::TxnResponse {
    use rpc::response_op::Response as Op;
    let op = |body: &ResponseBody| {
        *written |= has_written(match body {
            // It says so for itself, one after the other.
            ResponseBody::Txn { .. } => &[],
            body => std::slice::from_ref(body),
        });
        let inner = Some(rpc::ResponseHeader { revision: begun + i64::from(*written), ..Default::default() });
        let response = match body {
            ResponseBody::Range { kvs, more, count } => Op::Range(range(inner, kvs, *more, *count)),
            ResponseBody::Put { prev_kv } => Op::Put(put(inner, prev_kv.as_ref())),
            ResponseBody::DeleteRange { deleted, prev_kvs } => Op::DeleteRange(delete(inner, *deleted, prev_kvs)),
            ResponseBody::Txn { succeeded, responses } => {
                Op::Txn(txn(Some(rpc::ResponseHeader::default()), *succeeded, responses, begun, written))
            }
            other => unreachable!("a transaction answers with ranges, puts, deletes and transactions, not {other:?}"),
        };
        rpc::ResponseOp { response: Some(response) }
    };
    rpc::TxnResponse { header, succeeded, responses: responses.iter().map(op).collect() }
}

fn member(member: &Member) -> rpc::Member {
    rpc::Member {
        id: member.id.0,
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: member.client_urls.clone(),
        is_learner: member.is_learner,
    }
}

fn auth_response(header: Option<rpc::ResponseHeader>, answer: &AuthResponse) -> Vec<u8> {
    match answer {
        AuthResponse::Done => rpc::Done { header }.encode_to_vec(),
        AuthResponse::Status { enabled, revision } => {
            rpc::AuthStatusResponse { header, enabled: *enabled, auth_revision: *revision }.encode_to_vec()
        }
        AuthResponse::Token(token) => rpc::TextResponse { header, text: token.clone() }.encode_to_vec(),
        AuthResponse::UserRoles(names) | AuthResponse::Users(names) | AuthResponse::Roles(names) => {
            rpc::NamesResponse { header, names: names.clone() }.encode_to_vec()
        }
        AuthResponse::Permissions(permissions) => {
            let perm = permissions.iter().map(|permission| auth::Permission {
                perm_type: match permission.access {
                    PermissionType::Read => 0,
                    PermissionType::Write => 1,
                    PermissionType::ReadWrite => 2,
                },
                key: permission.key.clone(),
                range_end: permission.range_end.clone(),
            });
            rpc::AuthRoleGetResponse { header, perm: perm.collect() }.encode_to_vec()
        }
    }
}
