//! Requests and answers as etcd's JSON API has them (the gateway's form of protobuf: what is zero or empty is left out,
//! numbers of 64 bits are text, bytes are base64).
//!
//! Answers are brought to one form before they are compared: ids of the cluster and the member, Raft terms, tokens and
//! the time that a lease has left may differ, and so may the order of what etcd takes from a map.

use detcd_replica::api::{
    Alarm, AlarmAction, AuthRequest, AuthResponse, Compare, CompareResult, CompareTarget, DeleteRangeRequest, Error,
    KeyRange, KeyValue, Permission, PermissionType, PutRequest, RangeEnd, RangeRequest, Request, RequestOp, Response,
    ResponseBody, SortOrder, SortTarget, TxnRequest, WatchBody, WatchCreate, WatchEvent, WatchEventKind, WatchResponse,
};
use detcd_replica::MemberId;
use serde_json::{json, Map, Value};

use crate::output::bytes::base64;

/// An object in the making; what is zero is left out.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn number(mut self, name: &str, value: i64) -> Self {
        if value != 0 {
            self.0.insert(name.to_owned(), Value::String(value.to_string()));
        }
        self
    }

    fn count(self, name: &str, value: u64) -> Self {
        self.number(name, i64::try_from(value).unwrap_or(i64::MAX))
    }

    fn bytes(mut self, name: &str, value: &[u8]) -> Self {
        if !value.is_empty() {
            self.0.insert(name.to_owned(), Value::String(base64(value)));
        }
        self
    }

    fn text(mut self, name: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.0.insert(name.to_owned(), Value::String(value.to_owned()));
        }
        self
    }

    fn flag(mut self, name: &str, value: bool) -> Self {
        if value {
            self.0.insert(name.to_owned(), Value::Bool(true));
        }
        self
    }

    fn list(mut self, name: &str, values: Vec<Value>) -> Self {
        if !values.is_empty() {
            self.0.insert(name.to_owned(), Value::Array(values));
        }
        self
    }

    fn value(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    fn range(self, range: &KeyRange) -> Self {
        let end: &[u8] = match &range.end {
            RangeEnd::Single => b"",
            RangeEnd::Open => b"\0",
            RangeEnd::Before(end) => end,
        };
        self.bytes("key", &range.start).bytes("range_end", end)
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

/// Where a request goes, and its body. `member` is the id of the one who is asked. `None`: it has no place there.
pub(super) fn request(request: &Request, member: &str) -> Option<(&'static str, Value)> {
    let object = Object::default;
    Some(match request {
        Request::Range(request) => ("/v3/kv/range", range(request)),
        Request::Put(request) => ("/v3/kv/put", put(request)),
        Request::DeleteRange(request) => ("/v3/kv/deleterange", delete(request)),
        Request::Txn(request) => ("/v3/kv/txn", txn(request)),
        Request::Compact(request) => {
            let body = object().number("revision", request.revision).flag("physical", request.physical);
            ("/v3/kv/compaction", body.done())
        }
        Request::LeaseGrant(request) => {
            ("/v3/lease/grant", object().number("ID", request.id).number("TTL", request.ttl).done())
        }
        Request::LeaseRevoke { id } => ("/v3/lease/revoke", object().number("ID", *id).done()),
        Request::LeaseKeepAlive { id } => ("/v3/lease/keepalive", object().number("ID", *id).done()),
        Request::LeaseTimeToLive { id, keys } => {
            ("/v3/lease/timetolive", object().number("ID", *id).flag("keys", *keys).done())
        }
        Request::Leases => ("/v3/lease/leases", json!({})),
        Request::Alarm(request) => {
            let action = match request.action {
                AlarmAction::Get => "GET",
                AlarmAction::Activate => "ACTIVATE",
                AlarmAction::Deactivate => "DEACTIVATE",
            };
            let id = if request.member == super::MEMBER { member.to_owned() } else { request.member.0.to_string() };
            let body = object().text("action", action).text("memberID", &id);
            ("/v3/maintenance/alarm", body.text("alarm", request.alarm.map_or("NONE", alarm)).done())
        }
        Request::Auth(request) => auth(request),
        _ => return None,
    })
}

fn range(request: &RangeRequest) -> Value {
    let order = match request.sort_order {
        SortOrder::None => "",
        SortOrder::Ascend => "ASCEND",
        SortOrder::Descend => "DESCEND",
    };
    let target = match request.sort_target {
        SortTarget::Key => "",
        SortTarget::Version => "VERSION",
        SortTarget::Create => "CREATE",
        SortTarget::Mod => "MOD",
        SortTarget::Value => "VALUE",
    };
    Object::default()
        .range(&request.range)
        .count("limit", request.limit)
        .number("revision", request.revision)
        .text("sort_order", order)
        .text("sort_target", target)
        .flag("serializable", request.serializable)
        .flag("keys_only", request.keys_only)
        .flag("count_only", request.count_only)
        .number("min_mod_revision", request.min_mod_revision)
        .number("max_mod_revision", request.max_mod_revision)
        .number("min_create_revision", request.min_create_revision)
        .number("max_create_revision", request.max_create_revision)
        .done()
}

fn put(request: &PutRequest) -> Value {
    Object::default()
        .bytes("key", &request.key)
        .bytes("value", &request.value)
        .number("lease", request.lease)
        .flag("prev_kv", request.prev_kv)
        .flag("ignore_value", request.ignore_value)
        .flag("ignore_lease", request.ignore_lease)
        .done()
}

fn delete(request: &DeleteRangeRequest) -> Value {
    Object::default().range(&request.range).flag("prev_kv", request.prev_kv).done()
}

fn txn(request: &TxnRequest) -> Value {
    let ops = |ops: &[RequestOp]| ops.iter().map(op).collect();
    Object::default()
        .list("compare", request.compare.iter().map(compare).collect())
        .list("success", ops(&request.success))
        .list("failure", ops(&request.failure))
        .done()
}

fn op(op: &RequestOp) -> Value {
    let (name, value) = match op {
        RequestOp::Range(request) => ("request_range", range(request)),
        RequestOp::Put(request) => ("request_put", put(request)),
        RequestOp::DeleteRange(request) => ("request_delete_range", delete(request)),
        RequestOp::Txn(request) => ("request_txn", txn(request)),
    };
    Object::default().value(name, value).done()
}

fn compare(compare: &Compare) -> Value {
    let result = match compare.result {
        CompareResult::Equal => "EQUAL",
        CompareResult::Greater => "GREATER",
        CompareResult::Less => "LESS",
        CompareResult::NotEqual => "NOT_EQUAL",
    };
    let object = Object::default().range(&compare.range).text("result", result);
    // One of these is always given, also when it is zero: the choice itself is part of the message.
    let number = |object: Object, target: &str, field: &str, value: i64| {
        object.text("target", target).value(field, Value::String(value.to_string()))
    };
    match &compare.target {
        CompareTarget::Version(version) => number(object, "VERSION", "version", *version),
        CompareTarget::Create(revision) => number(object, "CREATE", "create_revision", *revision),
        CompareTarget::Mod(revision) => number(object, "MOD", "mod_revision", *revision),
        CompareTarget::Lease(lease) => number(object, "LEASE", "lease", *lease),
        CompareTarget::Value(value) => object.text("target", "VALUE").value("value", Value::String(base64(value))),
    }
    .done()
}

fn alarm(alarm: Alarm) -> &'static str {
    match alarm {
        Alarm::NoSpace => "NOSPACE",
        Alarm::Corrupt => "CORRUPT",
    }
}

fn auth(request: &AuthRequest) -> (&'static str, Value) {
    let named = |field: &str, name: &str| Object::default().text(field, name);
    match request {
        AuthRequest::Enable => ("/v3/auth/enable", json!({})),
        AuthRequest::Disable => ("/v3/auth/disable", json!({})),
        AuthRequest::Status => ("/v3/auth/status", json!({})),
        AuthRequest::Authenticate { name, password } => {
            ("/v3/auth/authenticate", named("name", name).text("password", password).done())
        }
        AuthRequest::UserAdd { name, password } => {
            let user = named("name", name);
            let body = match password {
                Some(password) => user.text("password", password),
                None => user.value("options", json!({ "no_password": true })),
            };
            ("/v3/auth/user/add", body.done())
        }
        AuthRequest::UserGet { name } => ("/v3/auth/user/get", named("name", name).done()),
        AuthRequest::UserList => ("/v3/auth/user/list", json!({})),
        AuthRequest::UserDelete { name } => ("/v3/auth/user/delete", named("name", name).done()),
        AuthRequest::UserChangePassword { name, password } => {
            ("/v3/auth/user/changepw", named("name", name).text("password", password).done())
        }
        AuthRequest::UserGrantRole { user, role } => {
            ("/v3/auth/user/grant", named("user", user).text("role", role).done())
        }
        AuthRequest::UserRevokeRole { user, role } => {
            ("/v3/auth/user/revoke", named("name", user).text("role", role).done())
        }
        AuthRequest::RoleAdd { role } => ("/v3/auth/role/add", named("name", role).done()),
        AuthRequest::RoleGet { role } => ("/v3/auth/role/get", named("role", role).done()),
        AuthRequest::RoleList => ("/v3/auth/role/list", json!({})),
        AuthRequest::RoleDelete { role } => ("/v3/auth/role/delete", named("role", role).done()),
        AuthRequest::RoleGrantPermission { role, permission: given } => {
            ("/v3/auth/role/grant", named("name", role).value("perm", permission(given)).done())
        }
        AuthRequest::RoleRevokePermission { role, key, range_end } => {
            let body = named("role", role).bytes("key", key).bytes("range_end", range_end);
            ("/v3/auth/role/revoke", body.done())
        }
    }
}

fn permission(permission: &Permission) -> Value {
    let access = match permission.access {
        // The zero of its enum.
        PermissionType::Read => "",
        PermissionType::Write => "WRITE",
        PermissionType::ReadWrite => "READWRITE",
    };
    let object = Object::default().text("permType", access).bytes("key", &permission.key);
    object.bytes("range_end", &permission.range_end).done()
}

/// The body of a watch's creation.
pub(super) fn watch(create: &WatchCreate) -> Value {
    let filters = [(create.no_put, "NOPUT"), (create.no_delete, "NODELETE")];
    let filters = filters.into_iter().filter(|(set, _)| *set).map(|(_, name)| Value::from(name)).collect();
    Object::default()
        .range(&create.range)
        .number("start_revision", create.start_revision)
        .flag("prev_kv", create.prev_kv)
        .list("filters", filters)
        .done()
}

/// What we were told on a watch, in the common form: all events in one list, and how it was cancelled if it was.
pub(super) fn ours_watched(responses: &[WatchResponse]) -> Value {
    let (mut events, mut object) = (Vec::new(), Object::default());
    for response in responses {
        match &response.body {
            WatchBody::Events(all) => events.extend(all.iter().map(event)),
            WatchBody::Cancelled { compact_revision, reason } => {
                object = object.flag("canceled", true).number("compact_revision", *compact_revision);
                object = object.text("cancel_reason", if *compact_revision == 0 { reason } else { "" });
            }
            WatchBody::Created | WatchBody::Progress => {}
        }
    }
    object.list("events", events).done()
}

fn event(event: &WatchEvent) -> Value {
    let kind = if event.kind == WatchEventKind::Delete { "DELETE" } else { "" };
    let object = Object::default().text("type", kind).value("kv", key_value(&event.kv));
    match &event.prev_kv {
        Some(kv) => object.value("prev_kv", key_value(kv)),
        None => object,
    }
    .done()
}

/// What the real etcd told on a watch, likewise.
pub(super) fn theirs_watched(messages: Vec<Value>) -> Value {
    let (mut events, mut object) = (Vec::new(), Object::default());
    for mut message in messages {
        let mut result = message["result"].take();
        if let Some(Value::Array(all)) = result.get_mut("events").map(Value::take) {
            events.extend(all);
        }
        if result["canceled"] == Value::Bool(true) {
            let revision = result["compact_revision"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
            object = object.flag("canceled", true).number("compact_revision", revision);
            let reason = result["cancel_reason"].as_str().unwrap_or_default();
            object = object.text("cancel_reason", if revision == 0 { reason } else { "" });
        }
        if let Some(error) = message.get("error").filter(|error| !error.is_null()) {
            object = object.value("error", error.clone());
        }
    }
    object.list("events", events).done()
}

/// Our answer in the common form.
pub(super) fn ours(answer: &Result<Response, Error>) -> Value {
    match answer {
        Ok(response) => {
            let header = Object::default().number("revision", response.header.revision).done();
            let Value::Object(fields) = body(&response.body) else { unreachable!("a body is an object") };
            let mut object = Object(fields);
            object = object.value("header", header);
            object.done()
        }
        Err(error) => json!({ "code": error.code().number(), "error": error.message() }),
    }
}

fn body(body: &ResponseBody) -> Value {
    let object = Object::default;
    let kvs = |kvs: &[KeyValue]| kvs.iter().map(key_value).collect::<Vec<_>>();
    match body {
        ResponseBody::Range { kvs: found, more, count } => {
            object().list("kvs", kvs(found)).flag("more", *more).count("count", *count)
        }
        ResponseBody::Put { prev_kv: Some(kv) } => object().value("prev_kv", key_value(kv)),
        ResponseBody::DeleteRange { deleted, prev_kvs } => {
            object().count("deleted", *deleted).list("prev_kvs", kvs(prev_kvs))
        }
        ResponseBody::Txn { succeeded, responses } => {
            object().flag("succeeded", *succeeded).list("responses", responses.iter().map(response_op).collect())
        }
        ResponseBody::LeaseGrant { id, ttl } | ResponseBody::LeaseKeepAlive { id, ttl } => {
            object().number("ID", *id).number("TTL", *ttl)
        }
        ResponseBody::LeaseTimeToLive { id, ttl, granted_ttl, keys } => {
            let keys = keys.iter().map(|key| Value::String(base64(key))).collect();
            object().number("ID", *id).number("TTL", *ttl).number("grantedTTL", *granted_ttl).list("keys", keys)
        }
        ResponseBody::Leases { leases } => {
            object().list("leases", leases.iter().map(|id| Object::default().number("ID", *id).done()).collect())
        }
        ResponseBody::Alarm { alarms } => {
            let one = |raised: &detcd_replica::api::AlarmMember| {
                let id = if raised.member == super::MEMBER { SELF.to_owned() } else { raised.member.0.to_string() };
                let id = if raised.member == MemberId::NONE { String::new() } else { id };
                Object::default().text("memberID", &id).text("alarm", alarm(raised.alarm)).done()
            };
            object().list("alarms", alarms.iter().map(one).collect())
        }
        ResponseBody::Auth(answer) => auth_body(answer),
        _ => object(),
    }
    .done()
}

/// What the id of the member that is asked is called in the common form.
const SELF: &str = "self";

fn auth_body(answer: &AuthResponse) -> Object {
    let texts = |texts: &[String]| texts.iter().cloned().map(Value::String).collect::<Vec<_>>();
    let object = Object::default();
    match answer {
        AuthResponse::Done => object,
        AuthResponse::Status { enabled, revision } => object.flag("enabled", *enabled).count("authRevision", *revision),
        AuthResponse::Token(_) => object.text("token", TOKEN),
        AuthResponse::UserRoles(roles) | AuthResponse::Roles(roles) => object.list("roles", texts(roles)),
        AuthResponse::Users(users) => object.list("users", texts(users)),
        AuthResponse::Permissions(all) => object.list("perm", all.iter().map(permission).collect()),
    }
}

/// What every token is called in the common form.
const TOKEN: &str = "a token";

fn response_op(answer: &ResponseBody) -> Value {
    let name = match answer {
        ResponseBody::Range { .. } => "response_range",
        ResponseBody::Put { .. } => "response_put",
        ResponseBody::DeleteRange { .. } => "response_delete_range",
        _ => "response_txn",
    };
    Object::default().value(name, body(answer)).done()
}

fn key_value(kv: &KeyValue) -> Value {
    Object::default()
        .bytes("key", &kv.key)
        .number("create_revision", kv.create_revision)
        .number("mod_revision", kv.mod_revision)
        .number("version", kv.version)
        .bytes("value", &kv.value)
        .number("lease", kv.lease)
        .done()
}

/// The real answer in the common form. `member` is the id of who gave it.
pub(super) fn theirs(ok: bool, mut answer: Value, member: &str) -> Value {
    if !ok || answer.get("error").is_some_and(|error| !error.is_null()) {
        // A stream's error lies in an object of its own.
        let error = if answer["error"].is_object() { answer["error"].take() } else { answer };
        let words = [&error["message"], &error["error"]].into_iter().find_map(Value::as_str).unwrap_or_default();
        let code = [&error["code"], &error["grpc_code"]].into_iter().find_map(Value::as_u64);
        return json!({ "code": code, "error": words });
    }
    if let Some(result) = answer.get_mut("result").filter(|result| result.is_object()) {
        answer = result.take();
    }
    let revision = answer["header"]["revision"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
    without_headers(&mut answer);
    if let Some(alarms) = answer.get_mut("alarms").and_then(Value::as_array_mut) {
        for alarm in alarms {
            if alarm["memberID"].as_str() == Some(member) {
                alarm["memberID"] = SELF.into();
            }
        }
    }
    if answer.get("token").is_some() {
        answer["token"] = TOKEN.into();
    }
    answer["header"] = Object::default().number("revision", revision).done();
    answer
}

/// Answers inside a transaction have headers of their own, which say nothing that the outer one does not.
fn without_headers(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("header");
            fields.values_mut().for_each(without_headers);
        }
        Value::Array(values) => values.iter_mut().for_each(without_headers),
        _ => {}
    }
}

/// What may differ though both are right: the time that a lease has left; the order of leases, keys of a lease and
/// alarms, which etcd takes from a map; and the order of keys that are alike in what they are sorted by, since etcd's
/// sort is not stable.
pub(super) fn loosen(request: &Request, answer: &mut Value) {
    match request {
        Request::Range(range) => loosen_range(range, answer),
        Request::Txn(txn) => loosen_txn(txn, answer),
        Request::LeaseTimeToLive { .. } => {
            // -1 is no time, but that there is no lease.
            if answer.get("TTL").is_some_and(|ttl| ttl != "-1") {
                answer["TTL"] = "some".into();
            }
            sort(answer.get_mut("keys"));
        }
        Request::Leases => sort(answer.get_mut("leases")),
        Request::Alarm(_) => sort(answer.get_mut("alarms")),
        _ => {}
    }
}

fn sort(list: Option<&mut Value>) {
    if let Some(Value::Array(list)) = list {
        list.sort_by_key(Value::to_string);
    }
}

fn loosen_txn(txn: &TxnRequest, answer: &mut Value) {
    let ops = if answer["succeeded"] == Value::Bool(true) { &txn.success } else { &txn.failure };
    let Some(Value::Array(responses)) = answer.get_mut("responses") else { return };
    for (op, response) in ops.iter().zip(responses) {
        match op {
            RequestOp::Range(range) => loosen_range(range, &mut response["response_range"]),
            RequestOp::Txn(inner) => loosen_txn(inner, &mut response["response_txn"]),
            RequestOp::Put(_) | RequestOp::DeleteRange(_) => {}
        }
    }
}

/// Keys with equal values of what they are sorted by go into the order of their text. Where a limit has cut some of
/// those off, only the values themselves are compared.
fn loosen_range(range: &RangeRequest, answer: &mut Value) {
    let field = match range.sort_target {
        SortTarget::Key => return,
        SortTarget::Version => "version",
        SortTarget::Create => "create_revision",
        SortTarget::Mod => "mod_revision",
        SortTarget::Value => "value",
    };
    let Some(Value::Array(kvs)) = answer.get_mut("kvs") else { return };
    if range.limit > 0 {
        // The values were there when it was sorted, and are gone from the answer.
        let gone = range.keys_only && range.sort_target == SortTarget::Value;
        kvs.iter_mut().for_each(|kv| *kv = if gone { Value::Null } else { kv[field].take() });
        return;
    }
    if range.keys_only && range.sort_target == SortTarget::Value {
        return kvs.sort_by_key(Value::to_string);
    }
    for run in kvs.chunk_by_mut(|a, b| a[field] == b[field]) {
        run.sort_by_key(Value::to_string);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_the_gateway_has_them() {
        let put = Request::Put(PutRequest { lease: 7, ..PutRequest::of("a", "") });
        assert_eq!(request(&put, "1"), Some(("/v3/kv/put", json!({ "key": "YQ==", "lease": "7" }))));
        let all = Request::Range(RangeRequest { limit: 3, ..RangeRequest::of(KeyRange::prefix("")) });
        let body = json!({ "key": "AA==", "range_end": "AA==", "limit": "3" });
        assert_eq!(request(&all, "1"), Some(("/v3/kv/range", body)));
        assert_eq!(request(&Request::Defragment, "1"), None);
    }

    #[test]
    fn the_two_sides_have_one_form() {
        let response = Response {
            header: detcd_replica::api::Header { member: MemberId(1), revision: 3, raft_term: 2 },
            body: ResponseBody::Txn { succeeded: true, responses: vec![ResponseBody::Put { prev_kv: None }] },
        };
        let real = json!({
            "header": { "cluster_id": "9", "member_id": "8", "revision": "3", "raft_term": "4" },
            "succeeded": true,
            "responses": [{ "response_put": { "header": { "revision": "3" } } }],
        });
        assert_eq!(ours(&Ok(response)), theirs(true, real, "8"));
        let words = "etcdserver: key is not provided";
        let real = json!({ "error": words, "code": 3, "message": words });
        assert_eq!(ours(&Err(Error::EmptyKey)), theirs(false, real, "8"));
    }
}
