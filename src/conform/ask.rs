//! Requests as the JSON form of etcd's messages, in which they are shown, counted, and encoded for both sides.

use detcd_replica::api::{
    Alarm, AlarmAction, AuthRequest, Compare, CompareResult, CompareTarget, DeleteRangeRequest, DowngradeRequest,
    KeyRange, Permission, PermissionType, PutRequest, RangeRequest, Request, RequestOp, SortOrder, SortTarget,
    TxnRequest, WatchCreate,
};
use detcd_replica::wire::rpc::Method;
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

    fn count(mut self, name: &str, value: u64) -> Self {
        if value != 0 {
            self.0.insert(name.to_owned(), Value::String(value.to_string()));
        }
        self
    }

    fn texts(self, name: &str, values: &[String]) -> Self {
        self.list(name, values.iter().cloned().map(Value::String).collect())
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
        self.bytes("key", &range.start).bytes("range_end", &range.end.field())
    }

    fn done(self) -> Value {
        Value::Object(self.0)
    }
}

/// The method of a request, and its message.
pub(super) fn request(request: &Request) -> (Method, Value) {
    let object = Object::default;
    let member = |id: MemberId| object().count("ID", id.0);
    match request {
        Request::Range(request) => (Method::Range, range(request)),
        Request::Put(request) => (Method::Put, put(request)),
        Request::DeleteRange(request) => (Method::DeleteRange, delete(request)),
        Request::Txn(request) => (Method::Txn, txn(request)),
        Request::Compact(request) => {
            let body = object().number("revision", request.revision).flag("physical", request.physical);
            (Method::Compact, body.done())
        }
        Request::LeaseGrant(request) => {
            (Method::LeaseGrant, object().number("ID", request.id).number("TTL", request.ttl).done())
        }
        Request::LeaseRevoke { id } => (Method::LeaseRevoke, object().number("ID", *id).done()),
        Request::LeaseKeepAlive { id } => (Method::LeaseKeepAlive, object().number("ID", *id).done()),
        Request::LeaseTimeToLive { id, keys } => {
            (Method::LeaseTimeToLive, object().number("ID", *id).flag("keys", *keys).done())
        }
        Request::Leases => (Method::LeaseLeases, json!({})),
        Request::MemberAdd { peer_urls, is_learner, .. } => {
            (Method::MemberAdd, object().texts("peerURLs", peer_urls).flag("isLearner", *is_learner).done())
        }
        Request::MemberRemove { id } => (Method::MemberRemove, member(*id).done()),
        Request::MemberPromote { id } => (Method::MemberPromote, member(*id).done()),
        Request::MemberUpdate { id, peer_urls } => {
            (Method::MemberUpdate, member(*id).texts("peerURLs", peer_urls).done())
        }
        Request::MemberList { linearizable } => {
            (Method::MemberList, object().flag("linearizable", *linearizable).done())
        }
        Request::Alarm(request) => {
            let action = match request.action {
                // The zero of its enum.
                AlarmAction::Get => "",
                AlarmAction::Activate => "ACTIVATE",
                AlarmAction::Deactivate => "DEACTIVATE",
            };
            let body = object().text("action", action).count("memberID", request.member.0);
            (Method::Alarm, body.text("alarm", request.alarm.map_or("", alarm)).done())
        }
        Request::Status => (Method::Status, json!({})),
        Request::Defragment => (Method::Defragment, json!({})),
        Request::HashKv { revision } => (Method::HashKv, object().number("revision", *revision).done()),
        Request::MoveLeader { target } => (Method::MoveLeader, object().count("targetID", target.0).done()),
        Request::Downgrade(request) => {
            let (action, version) = match request {
                DowngradeRequest::Validate(version) => ("", &version[..]),
                DowngradeRequest::Enable(version) => ("ENABLE", &version[..]),
                DowngradeRequest::Cancel => ("CANCEL", ""),
            };
            (Method::Downgrade, object().text("action", action).text("version", version).done())
        }
        Request::Auth(request) => auth(request),
    }
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

fn auth(request: &AuthRequest) -> (Method, Value) {
    let named = |field: &str, name: &str| Object::default().text(field, name);
    match request {
        AuthRequest::Enable => (Method::AuthEnable, json!({})),
        AuthRequest::Disable => (Method::AuthDisable, json!({})),
        AuthRequest::Status => (Method::AuthStatus, json!({})),
        AuthRequest::Authenticate { name, password } => {
            (Method::Authenticate, named("name", name).text("password", password).done())
        }
        AuthRequest::UserAdd { name, password } => {
            let user = named("name", name);
            let body = match password {
                Some(password) => user.text("password", password),
                None => user.value("options", json!({ "no_password": true })),
            };
            (Method::UserAdd, body.done())
        }
        AuthRequest::UserGet { name } => (Method::UserGet, named("name", name).done()),
        AuthRequest::UserList => (Method::UserList, json!({})),
        AuthRequest::UserDelete { name } => (Method::UserDelete, named("name", name).done()),
        AuthRequest::UserChangePassword { name, password } => {
            (Method::UserChangePassword, named("name", name).text("password", password).done())
        }
        AuthRequest::UserGrantRole { user, role } => {
            (Method::UserGrantRole, named("user", user).text("role", role).done())
        }
        AuthRequest::UserRevokeRole { user, role } => {
            (Method::UserRevokeRole, named("name", user).text("role", role).done())
        }
        AuthRequest::RoleAdd { role } => (Method::RoleAdd, named("name", role).done()),
        AuthRequest::RoleGet { role } => (Method::RoleGet, named("role", role).done()),
        AuthRequest::RoleList => (Method::RoleList, json!({})),
        AuthRequest::RoleDelete { role } => (Method::RoleDelete, named("role", role).done()),
        AuthRequest::RoleGrantPermission { role, permission: given } => {
            (Method::RoleGrantPermission, named("name", role).value("perm", permission(given)).done())
        }
        AuthRequest::RoleRevokePermission { role, key, range_end } => {
            let body = named("role", role).bytes("key", key).bytes("range_end", range_end);
            (Method::RoleRevokePermission, body.done())
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

/// What a watch's creation asks for.
pub(super) struct WatchAsked {
    /// The watch itself; its id is 0 where the server is to choose.
    pub(super) create: WatchCreate,
    /// Whether large answers may come in fragments.
    pub(super) fragment: bool,
}

/// The message that creates a watch.
pub(super) fn watch(asked: &WatchAsked) -> Value {
    let WatchAsked { create, fragment } = asked;
    let filters = [(create.no_put, "NOPUT"), (create.no_delete, "NODELETE")];
    let filters = filters.into_iter().filter(|(set, _)| *set).map(|(_, name)| Value::from(name)).collect();
    let create = Object::default()
        .range(&create.range)
        .number("start_revision", create.start_revision)
        .flag("progress_notify", create.progress_notify)
        .list("filters", filters)
        .flag("prev_kv", create.prev_kv)
        .number("watch_id", create.watch.0)
        .flag("fragment", *fragment);
    json!({ "create_request": create.done() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_protobufs_json_has_them() {
        let put = Request::Put(PutRequest { lease: 7, ..PutRequest::of("a", "") });
        assert_eq!(request(&put), (Method::Put, json!({ "key": "YQ==", "lease": "7" })));
        let all = Request::Range(RangeRequest { limit: 3, ..RangeRequest::of(KeyRange::prefix("")) });
        let body = json!({ "key": "AA==", "range_end": "AA==", "limit": "3" });
        assert_eq!(request(&all), (Method::Range, body));
    }
}
