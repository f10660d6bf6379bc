//! What a conformance run has exercised: each field of each RPC, and each error that the RPC can give to a request that
//! one healthy member serves alone.

use std::collections::BTreeSet;

use detcd_replica::api::{
    AlarmAction, AuthRequest, Compare, CompareTarget, DeleteRangeRequest, PutRequest, RangeEnd, RangeRequest, Request,
    RequestOp, SortOrder, SortTarget, TxnRequest, WatchCreate,
};
use serde_json::Value;

use super::generate::Asked;

const KEY: &str = "etcdserver: key is not provided";
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";
const CORRUPT: &str = "etcdserver: corrupt cluster";
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";
const LEASE: &str = "etcdserver: requested lease not found";
const TOO_LARGE: &str = "etcdserver: request is too large";
const DENIED: &str = "etcdserver: permission denied";
const TOKEN: &str = "etcdserver: invalid auth token";
const NO_USER: &str = "etcdserver: user name is empty";
const USER: &str = "etcdserver: user name not found";
const ROLE: &str = "etcdserver: role name not found";

/// RPC, its fields, and its errors.
const ALL: &[(&str, &[&str], &[&str])] = &[
    (
        "Range",
        &[
            "key",
            "range_end",
            "limit",
            "revision",
            "sort_order",
            "sort_target=VERSION",
            "sort_target=CREATE",
            "sort_target=MOD",
            "sort_target=VALUE",
            "serializable",
            "keys_only",
            "count_only",
            "min_mod_revision",
            "max_mod_revision",
            "min_create_revision",
            "max_create_revision",
        ],
        &[KEY, COMPACTED, FUTURE, DENIED, TOKEN, NO_USER],
    ),
    (
        "Put",
        &["key", "value", "lease", "prev_kv", "ignore_value", "ignore_lease"],
        &[
            KEY,
            LEASE,
            NO_SPACE,
            CORRUPT,
            TOO_LARGE,
            DENIED,
            TOKEN,
            NO_USER,
            "etcdserver: value is provided",
            "etcdserver: lease is provided",
            "etcdserver: key not found",
        ],
    ),
    ("DeleteRange", &["key", "range_end", "prev_kv"], &[KEY, CORRUPT, DENIED, TOKEN, NO_USER]),
    (
        "Txn",
        &[
            "compare.VERSION",
            "compare.CREATE",
            "compare.MOD",
            "compare.VALUE",
            "compare.LEASE",
            "compare.range_end",
            "success",
            "failure",
            "request_range",
            "request_put",
            "request_delete_range",
            "request_txn",
        ],
        &[
            KEY,
            COMPACTED,
            FUTURE,
            LEASE,
            NO_SPACE,
            CORRUPT,
            DENIED,
            TOKEN,
            NO_USER,
            TOO_LARGE,
            "etcdserver: too many operations in txn request",
            "etcdserver: duplicate key given in txn request",
            "etcdserver: value is provided",
            "etcdserver: lease is provided",
            "etcdserver: key not found",
        ],
    ),
    ("Compact", &["revision", "physical"], &[COMPACTED, FUTURE, TOKEN]),
    (
        "LeaseGrant",
        &["ID", "TTL"],
        &["etcdserver: lease already exists", "etcdserver: too large lease TTL", NO_SPACE, CORRUPT, TOKEN],
    ),
    ("LeaseRevoke", &["ID"], &[LEASE, CORRUPT, DENIED, TOKEN]),
    ("LeaseKeepAlive", &["ID"], &[]),
    ("LeaseTimeToLive", &["ID", "keys"], &[DENIED, TOKEN]),
    ("LeaseLeases", &[], &[TOKEN]),
    (
        "Watch",
        &["key", "range_end", "start_revision", "prev_kv", "filters=NOPUT", "filters=NODELETE"],
        &["compact_revision", "cancel_reason"],
    ),
    ("Alarm", &["action=ACTIVATE", "action=DEACTIVATE", "memberID", "alarm"], &[]),
    ("AuthEnable", &[], &["etcdserver: root user does not exist", "etcdserver: root user does not have root role"]),
    ("AuthDisable", &[], &[DENIED, TOKEN]),
    ("AuthStatus", &[], &[DENIED, TOKEN]),
    (
        "Authenticate",
        &["name", "password"],
        &[
            "etcdserver: authentication is not enabled",
            "etcdserver: authentication failed, invalid user ID or password",
        ],
    ),
    ("UserAdd", &["name", "password", "options"], &[NO_USER, "etcdserver: user name already exists", DENIED, TOKEN]),
    ("UserGet", &["name"], &[USER, DENIED, TOKEN]),
    ("UserList", &[], &[DENIED, TOKEN]),
    ("UserDelete", &["name"], &[USER, DENIED, TOKEN, "etcdserver: invalid auth management"]),
    ("UserChangePassword", &["name", "password"], &[USER, DENIED, TOKEN]),
    ("UserGrantRole", &["user", "role"], &[USER, ROLE, DENIED, TOKEN]),
    (
        "UserRevokeRole",
        &["name", "role"],
        &[USER, "etcdserver: role is not granted to the user", DENIED, TOKEN, "etcdserver: invalid auth management"],
    ),
    ("RoleAdd", &["name"], &["etcdserver: role name is empty", "etcdserver: role name already exists", DENIED, TOKEN]),
    ("RoleGet", &["role"], &[ROLE, DENIED, TOKEN]),
    ("RoleList", &[], &[DENIED, TOKEN]),
    ("RoleDelete", &["role"], &[ROLE, DENIED, TOKEN, "etcdserver: invalid auth management"]),
    ("RoleGrantPermission", &["perm.permType", "perm.key", "perm.range_end"], &[ROLE, DENIED, TOKEN]),
    (
        "RoleRevokePermission",
        &["key", "range_end"],
        &[ROLE, "etcdserver: permission is not granted to the role", DENIED, TOKEN],
    ),
];

/// What was exercised.
#[derive(Default)]
pub(super) struct Coverage {
    seen: BTreeSet<String>,
}

impl Coverage {
    /// A request and its answer, in the common form.
    pub(super) fn note(&mut self, asked: &Asked, answer: &Value) {
        let (rpc, fields) = match asked {
            Asked::Request(request) => fields(request),
            Asked::Watch(create) => ("Watch", watch_fields(create)),
        };
        for cancelled in ["compact_revision", "cancel_reason"].iter().filter(|field| answer.get(field).is_some()) {
            self.seen.insert(format!("{rpc}: {cancelled}"));
        }
        self.seen.insert(rpc.to_owned());
        self.seen.extend(fields.into_iter().map(|field| format!("{rpc}.{field}")));
        if let Some(error) = answer["error"].as_str() {
            self.seen.insert(format!("{rpc}: {error}"));
        }
    }

    /// How much of all, how much there is, and what is missing.
    pub(super) fn report(&self) -> (usize, usize, Vec<String>) {
        let all = ALL.iter().flat_map(|(rpc, fields, errors)| {
            let fields = fields.iter().map(move |field| format!("{rpc}.{field}"));
            let errors = errors.iter().map(move |error| format!("{rpc}: {error}"));
            std::iter::once((*rpc).to_owned()).chain(fields).chain(errors)
        });
        let all: Vec<String> = all.collect();
        let of = all.len();
        let missing: Vec<String> = all.into_iter().filter(|one| !self.seen.contains(one)).collect();
        (of - missing.len(), of, missing)
    }
}

/// The RPC of a request, and the fields that are not as they are by default.
fn fields(request: &Request) -> (&'static str, Vec<&'static str>) {
    let mut out = Vec::new();
    let rpc = match request {
        Request::Range(range) => {
            range_fields(range, &mut out);
            "Range"
        }
        Request::Put(put) => {
            put_fields(put, &mut out);
            "Put"
        }
        Request::DeleteRange(delete) => {
            delete_fields(delete, &mut out);
            "DeleteRange"
        }
        Request::Txn(txn) => {
            txn_fields(txn, &mut out);
            "Txn"
        }
        Request::Compact(compact) => {
            given(&mut out, &[(compact.revision != 0, "revision"), (compact.physical, "physical")]);
            "Compact"
        }
        Request::LeaseGrant(_) => {
            out.extend(["ID", "TTL"]);
            "LeaseGrant"
        }
        Request::LeaseRevoke { .. } => {
            out.push("ID");
            "LeaseRevoke"
        }
        Request::LeaseKeepAlive { .. } => {
            out.push("ID");
            "LeaseKeepAlive"
        }
        Request::LeaseTimeToLive { keys, .. } => {
            given(&mut out, &[(true, "ID"), (*keys, "keys")]);
            "LeaseTimeToLive"
        }
        Request::Leases => "LeaseLeases",
        Request::Alarm(alarm) => {
            let is = |action| alarm.action == action;
            let actions =
                [(is(AlarmAction::Activate), "action=ACTIVATE"), (is(AlarmAction::Deactivate), "action=DEACTIVATE")];
            given(&mut out, &actions);
            given(&mut out, &[(alarm.member.0 != 0, "memberID"), (alarm.alarm.is_some(), "alarm")]);
            "Alarm"
        }
        Request::Auth(auth) => return auth_fields(auth),
        _ => "other",
    };
    (rpc, out)
}

fn watch_fields(create: &WatchCreate) -> Vec<&'static str> {
    let mut out = Vec::new();
    given(
        &mut out,
        &[
            (!create.range.start.is_empty(), "key"),
            (create.range.end != RangeEnd::Single, "range_end"),
            (create.start_revision != 0, "start_revision"),
            (create.prev_kv, "prev_kv"),
            (create.no_put, "filters=NOPUT"),
            (create.no_delete, "filters=NODELETE"),
        ],
    );
    out
}

fn given(out: &mut Vec<&'static str>, fields: &[(bool, &'static str)]) {
    out.extend(fields.iter().filter(|(set, _)| *set).map(|(_, name)| *name));
}

fn range_fields(range: &RangeRequest, out: &mut Vec<&'static str>) {
    let target = match range.sort_target {
        SortTarget::Key => None,
        SortTarget::Version => Some("sort_target=VERSION"),
        SortTarget::Create => Some("sort_target=CREATE"),
        SortTarget::Mod => Some("sort_target=MOD"),
        SortTarget::Value => Some("sort_target=VALUE"),
    };
    out.extend(target);
    given(
        out,
        &[
            (!range.range.start.is_empty(), "key"),
            (range.range.end != RangeEnd::Single, "range_end"),
            (range.limit != 0, "limit"),
            (range.revision != 0, "revision"),
            (range.sort_order != SortOrder::None, "sort_order"),
            (range.serializable, "serializable"),
            (range.keys_only, "keys_only"),
            (range.count_only, "count_only"),
            (range.min_mod_revision != 0, "min_mod_revision"),
            (range.max_mod_revision != 0, "max_mod_revision"),
            (range.min_create_revision != 0, "min_create_revision"),
            (range.max_create_revision != 0, "max_create_revision"),
        ],
    );
}

fn put_fields(put: &PutRequest, out: &mut Vec<&'static str>) {
    given(
        out,
        &[
            (!put.key.is_empty(), "key"),
            (!put.value.is_empty(), "value"),
            (put.lease != 0, "lease"),
            (put.prev_kv, "prev_kv"),
            (put.ignore_value, "ignore_value"),
            (put.ignore_lease, "ignore_lease"),
        ],
    );
}

fn delete_fields(delete: &DeleteRangeRequest, out: &mut Vec<&'static str>) {
    let ranged = delete.range.end != RangeEnd::Single;
    given(out, &[(!delete.range.start.is_empty(), "key"), (ranged, "range_end"), (delete.prev_kv, "prev_kv")]);
}

fn txn_fields(txn: &TxnRequest, out: &mut Vec<&'static str>) {
    for Compare { range, target, .. } in &txn.compare {
        out.push(match target {
            CompareTarget::Version(_) => "compare.VERSION",
            CompareTarget::Create(_) => "compare.CREATE",
            CompareTarget::Mod(_) => "compare.MOD",
            CompareTarget::Value(_) => "compare.VALUE",
            CompareTarget::Lease(_) => "compare.LEASE",
        });
        given(out, &[(range.end != RangeEnd::Single, "compare.range_end")]);
    }
    given(out, &[(!txn.success.is_empty(), "success"), (!txn.failure.is_empty(), "failure")]);
    for op in txn.success.iter().chain(&txn.failure) {
        out.push(match op {
            RequestOp::Range(_) => "request_range",
            RequestOp::Put(_) => "request_put",
            RequestOp::DeleteRange(_) => "request_delete_range",
            RequestOp::Txn(_) => "request_txn",
        });
    }
}

fn auth_fields(auth: &AuthRequest) -> (&'static str, Vec<&'static str>) {
    let mut out = Vec::new();
    let rpc = match auth {
        AuthRequest::Enable => "AuthEnable",
        AuthRequest::Disable => "AuthDisable",
        AuthRequest::Status => "AuthStatus",
        AuthRequest::Authenticate { name, password } => {
            given(&mut out, &[(!name.is_empty(), "name"), (!password.is_empty(), "password")]);
            "Authenticate"
        }
        AuthRequest::UserAdd { name, password } => {
            let with = password.as_ref().is_some_and(|password| !password.is_empty());
            given(&mut out, &[(!name.is_empty(), "name"), (with, "password"), (password.is_none(), "options")]);
            "UserAdd"
        }
        AuthRequest::UserGet { name } => {
            given(&mut out, &[(!name.is_empty(), "name")]);
            "UserGet"
        }
        AuthRequest::UserList => "UserList",
        AuthRequest::UserDelete { name } => {
            given(&mut out, &[(!name.is_empty(), "name")]);
            "UserDelete"
        }
        AuthRequest::UserChangePassword { name, password } => {
            given(&mut out, &[(!name.is_empty(), "name"), (!password.is_empty(), "password")]);
            "UserChangePassword"
        }
        AuthRequest::UserGrantRole { user, role } => {
            given(&mut out, &[(!user.is_empty(), "user"), (!role.is_empty(), "role")]);
            "UserGrantRole"
        }
        AuthRequest::UserRevokeRole { user, role } => {
            given(&mut out, &[(!user.is_empty(), "name"), (!role.is_empty(), "role")]);
            "UserRevokeRole"
        }
        AuthRequest::RoleAdd { role } => {
            given(&mut out, &[(!role.is_empty(), "name")]);
            "RoleAdd"
        }
        AuthRequest::RoleGet { role } => {
            given(&mut out, &[(!role.is_empty(), "role")]);
            "RoleGet"
        }
        AuthRequest::RoleList => "RoleList",
        AuthRequest::RoleDelete { role } => {
            given(&mut out, &[(!role.is_empty(), "role")]);
            "RoleDelete"
        }
        AuthRequest::RoleGrantPermission { permission, .. } => {
            let ranged = !permission.range_end.is_empty();
            let keyed = !permission.key.is_empty();
            given(&mut out, &[(true, "perm.permType"), (keyed, "perm.key"), (ranged, "perm.range_end")]);
            "RoleGrantPermission"
        }
        AuthRequest::RoleRevokePermission { key, range_end, .. } => {
            given(&mut out, &[(!key.is_empty(), "key"), (!range_end.is_empty(), "range_end")]);
            "RoleRevokePermission"
        }
    };
    (rpc, out)
}
