//! Requests, answers and operations in etcdctl's words, for findings.

use std::fmt::Write;

use detcd_replica::api::{
    AuthRequest, Compare, CompareResult, CompareTarget, DeleteRangeRequest, KeyRange, KeyValue, PermissionType,
    PutRequest, RangeEnd, RangeRequest, Request, RequestOp, ResponseBody, SortOrder, SortTarget, TxnRequest,
};
use detcd_replica::history::{Operation, Outcome};

/// The client of what etcd does by itself.
pub(crate) const NO_CLIENT: u32 = u32::MAX;

/// `client 3 on n1 [12..19] put a 7 -> revision 5: ok`
pub(crate) fn operation(operation: &Operation) -> String {
    let Operation { client, member, user, call, request: asked, outcome } = operation;
    let (end, result) = match outcome {
        Outcome::Ok { at, response } => {
            (at.to_string(), format!("revision {}: {}", response.header.revision, body(&response.body)))
        }
        Outcome::Failed { at, error } => (at.to_string(), error.to_string()),
        Outcome::Unknown { at } => (at.map_or_else(String::new, |at| at.to_string()), "outcome unknown".to_owned()),
    };
    if *client == NO_CLIENT {
        return format!("{} when it had expired, if it had", request(asked));
    }
    let user = if user.is_empty() { String::new() } else { format!(" ({user})") };
    format!("client {client}{user} on {member} [{call}..{end}] {} -> {result}", request(asked))
}

/// The request as a command line of etcdctl.
pub fn request(request: &Request) -> String {
    match request {
        Request::Range(range) => get(range),
        Request::Put(put) => put_words(put),
        Request::DeleteRange(delete) => delete_words(delete),
        Request::Txn(txn) => txn_words(txn),
        Request::Compact(compact) => format!("compact {}", compact.revision),
        Request::LeaseGrant(grant) => format!("lease grant {} (id {:x})", grant.ttl, grant.id),
        Request::LeaseRevoke { id } => format!("lease revoke {id:x}"),
        Request::LeaseKeepAlive { id } => format!("lease keep-alive --once {id:x}"),
        Request::LeaseTimeToLive { id, keys } => {
            format!("lease timetolive {id:x}{}", if *keys { " --keys" } else { "" })
        }
        Request::Leases => "lease list".to_owned(),
        Request::Alarm(alarm) => format!("alarm {alarm:?}"),
        Request::MemberAdd { id, .. } => format!("member add {id}"),
        Request::MemberRemove { id } => format!("member remove {id}"),
        Request::MemberPromote { id } => format!("member promote {id}"),
        Request::MemberUpdate { id, peer_urls } => format!("member update {id} --peer-urls={}", peer_urls.join(",")),
        Request::MemberList { .. } => "member list".to_owned(),
        Request::Auth(request) => auth(request),
        Request::Downgrade(request) => format!("downgrade {request:?}"),
        Request::MoveLeader { target } => format!("move-leader {target}"),
        Request::Status => "endpoint status".to_owned(),
        Request::Defragment => "defrag".to_owned(),
        Request::HashKv { revision } => format!("endpoint hashkv --rev={revision}"),
    }
}

fn auth(request: &AuthRequest) -> String {
    match request {
        AuthRequest::Enable => "auth enable".to_owned(),
        AuthRequest::Disable => "auth disable".to_owned(),
        AuthRequest::Status => "auth status".to_owned(),
        AuthRequest::Authenticate { name, password } => format!("authenticate {name}:{password}"),
        AuthRequest::UserAdd { name, password: Some(password) } => format!("user add {name}:{password}"),
        AuthRequest::UserAdd { name, password: None } => format!("user add {name} --no-password"),
        AuthRequest::UserGet { name } => format!("user get {name}"),
        AuthRequest::UserList => "user list".to_owned(),
        AuthRequest::UserDelete { name } => format!("user delete {name}"),
        AuthRequest::UserChangePassword { name, password } => format!("user passwd {name} ({password})"),
        AuthRequest::UserGrantRole { user, role } => format!("user grant-role {user} {role}"),
        AuthRequest::UserRevokeRole { user, role } => format!("user revoke-role {user} {role}"),
        AuthRequest::RoleAdd { role } => format!("role add {role}"),
        AuthRequest::RoleGet { role } => format!("role get {role}"),
        AuthRequest::RoleList => "role list".to_owned(),
        AuthRequest::RoleDelete { role } => format!("role delete {role}"),
        AuthRequest::RoleGrantPermission { role, permission } => {
            let access = match permission.access {
                PermissionType::Read => "read",
                PermissionType::Write => "write",
                PermissionType::ReadWrite => "readwrite",
            };
            format!("role grant-permission {role} {access} {}", bounds(&permission.key, &permission.range_end))
        }
        AuthRequest::RoleRevokePermission { role, key, range_end } => {
            format!("role revoke-permission {role} {}", bounds(key, range_end))
        }
    }
}

/// A permission's range, as etcdctl takes it.
fn bounds(key: &[u8], end: &[u8]) -> String {
    match end {
        b"" => text(key),
        b"\0" => format!("{} --from-key", text(key)),
        end => format!("{} {}", text(key), text(end)),
    }
}

/// The answer, on one line.
pub(crate) fn body(body: &ResponseBody) -> String {
    match body {
        ResponseBody::Range { kvs, more, count } => {
            let kvs: Vec<String> = kvs.iter().map(key_value).collect();
            format!("[{}] count {count}{}", kvs.join(", "), if *more { ", more" } else { "" })
        }
        ResponseBody::Put { prev_kv: None } => "ok".to_owned(),
        ResponseBody::Put { prev_kv: Some(kv) } => format!("ok, before {}", key_value(kv)),
        ResponseBody::DeleteRange { deleted, prev_kvs } => {
            let kvs: Vec<String> = prev_kvs.iter().map(key_value).collect();
            format!("deleted {deleted} [{}]", kvs.join(", "))
        }
        ResponseBody::Txn { succeeded, responses } => {
            let responses: Vec<String> = responses.iter().map(self::body).collect();
            format!("{} {{{}}}", if *succeeded { "success" } else { "failure" }, responses.join("; "))
        }
        ResponseBody::Compact => "compacted".to_owned(),
        other => format!("{other:?}"),
    }
}

/// `a=7 (create 2, mod 5, version 3)`
pub(crate) fn key_value(kv: &KeyValue) -> String {
    format!(
        "{}={} (create {}, mod {}, version {})",
        text(&kv.key),
        text(&kv.value),
        kv.create_revision,
        kv.mod_revision,
        kv.version
    )
}

/// Bytes as text where they are, otherwise escaped.
pub(crate) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(|c| !c.is_control()) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

/// A range as etcdctl's positional arguments.
pub(crate) fn range(range: &KeyRange) -> String {
    match &range.end {
        RangeEnd::Single => text(&range.start),
        RangeEnd::Open => format!("{} --from-key", text(&range.start)),
        RangeEnd::Before(end) => format!("{} {}", text(&range.start), text(end)),
    }
}

fn get(request: &RangeRequest) -> String {
    let mut words = format!("get {}", range(&request.range));
    if request.limit != 0 {
        let _ = write!(words, " --limit={}", request.limit);
    }
    if request.revision != 0 {
        let _ = write!(words, " --rev={}", request.revision);
    }
    if request.sort_order != SortOrder::None {
        let _ = write!(words, " --order={:?}", request.sort_order);
    }
    if request.sort_target != SortTarget::Key {
        let _ = write!(words, " --sort-by={:?}", request.sort_target);
    }
    for (bound, flag) in [
        (request.min_mod_revision, "min-mod-rev"),
        (request.max_mod_revision, "max-mod-rev"),
        (request.min_create_revision, "min-create-rev"),
        (request.max_create_revision, "max-create-rev"),
    ] {
        if bound != 0 {
            let _ = write!(words, " --{flag}={bound}");
        }
    }
    for (set, flag) in [
        (request.serializable, " --consistency=s"),
        (request.keys_only, " --keys-only"),
        (request.count_only, " --count-only"),
    ] {
        if set {
            words.push_str(flag);
        }
    }
    words
}

fn put_words(put: &PutRequest) -> String {
    let lease = if put.lease == 0 { String::new() } else { format!(" --lease={:x}", put.lease) };
    let value = if put.ignore_value { "--ignore-value".to_owned() } else { text(&put.value) };
    let keep = if put.ignore_lease { " --ignore-lease" } else { "" };
    format!("put {} {value}{lease}{keep}{}", text(&put.key), prev(put.prev_kv))
}

fn delete_words(delete: &DeleteRangeRequest) -> String {
    format!("del {}{}", range(&delete.range), prev(delete.prev_kv))
}

fn prev(set: bool) -> &'static str {
    if set {
        " --prev-kv"
    } else {
        ""
    }
}

fn txn_words(txn: &TxnRequest) -> String {
    let compares: Vec<String> = txn.compare.iter().map(compare).collect();
    let branch = |ops: &[RequestOp]| ops.iter().map(op).collect::<Vec<_>>().join("; ");
    format!("txn if {{{}}} then {{{}}} else {{{}}}", compares.join("; "), branch(&txn.success), branch(&txn.failure))
}

fn op(op: &RequestOp) -> String {
    match op {
        RequestOp::Range(range) => get(range),
        RequestOp::Put(put) => put_words(put),
        RequestOp::DeleteRange(delete) => delete_words(delete),
        RequestOp::Txn(txn) => txn_words(txn),
    }
}

fn compare(compare: &Compare) -> String {
    let sign = match compare.result {
        CompareResult::Equal => "=",
        CompareResult::Greater => ">",
        CompareResult::Less => "<",
        CompareResult::NotEqual => "!=",
    };
    let key = range(&compare.range);
    match &compare.target {
        CompareTarget::Version(n) => format!("version({key}) {sign} {n}"),
        CompareTarget::Create(n) => format!("create({key}) {sign} {n}"),
        CompareTarget::Mod(n) => format!("mod({key}) {sign} {n}"),
        CompareTarget::Value(value) => format!("value({key}) {sign} {}", text(value)),
        CompareTarget::Lease(n) => format!("lease({key}) {sign} {n:x}"),
    }
}
