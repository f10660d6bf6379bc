//! What a conformance run has exercised: each field of each RPC's message and each value of its enums, and each error
//! that the RPC can give to a request that one healthy member serves alone.

use std::collections::BTreeSet;

use detcd_replica::wire::rpc::Method;
use serde_json::Value;

use crate::etcdpb::{fields, messages, Kind};

/// What the stream of watches is called among the methods.
pub(super) const WATCH: &str = "Watch/Watch";

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
const SORT: &str = "etcdserver: invalid sort option";
const MEMBER: &str = "etcdserver: member not found";
const URL_EXISTS: &str = "etcdserver: Peer URLs already exists";
const URLS: &str = "etcdserver: given member URLs are invalid";
const MANAGED: &str = "etcdserver: invalid auth management";

/// The errors of a method.
fn errors(method: Method) -> &'static [&'static str] {
    match method {
        Method::Range => &[KEY, COMPACTED, FUTURE, DENIED, TOKEN, NO_USER, SORT],
        Method::Put => &[
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
        Method::DeleteRange => &[KEY, CORRUPT, DENIED, TOKEN, NO_USER],
        Method::Txn => &[
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
        Method::Compact => &[COMPACTED, FUTURE, TOKEN],
        Method::LeaseGrant => {
            &["etcdserver: lease already exists", "etcdserver: too large lease TTL", NO_SPACE, CORRUPT, TOKEN]
        }
        Method::LeaseRevoke => &[LEASE, CORRUPT, DENIED, TOKEN],
        Method::LeaseKeepAlive => &[],
        Method::LeaseTimeToLive => &[DENIED, TOKEN],
        Method::LeaseLeases => &[TOKEN],
        Method::MemberAdd => {
            &[URL_EXISTS, URLS, "etcdserver: too many learner members in cluster", DENIED, TOKEN, NO_USER]
        }
        Method::MemberRemove => {
            &[MEMBER, "etcdserver: re-configuration failed due to not enough started members", DENIED, TOKEN, NO_USER]
        }
        Method::MemberUpdate => &[MEMBER, URL_EXISTS, DENIED, TOKEN, NO_USER],
        Method::MemberPromote => &[
            MEMBER,
            "etcdserver: can only promote a learner member",
            "etcdserver: can only promote a learner member which is in sync with leader",
            DENIED,
            TOKEN,
            NO_USER,
        ],
        Method::MemberList | Method::HashKv => &[],
        Method::Alarm => &[],
        Method::Status => &[],
        Method::Defragment => &[DENIED, TOKEN, NO_USER],
        Method::MoveLeader => &["etcdserver: bad leader transferee", DENIED, TOKEN, NO_USER],
        Method::Downgrade => &[
            "etcdserver: wrong downgrade target version format",
            "etcdserver: invalid downgrade target version",
            "etcdserver: no inflight downgrade job",
            DENIED,
            TOKEN,
            NO_USER,
        ],
        Method::AuthEnable => {
            &["etcdserver: root user does not exist", "etcdserver: root user does not have root role"]
        }
        Method::AuthDisable | Method::AuthStatus | Method::UserList | Method::RoleList => &[DENIED, TOKEN],
        Method::Authenticate => &[
            "etcdserver: authentication is not enabled",
            "etcdserver: authentication failed, invalid user ID or password",
        ],
        Method::UserAdd => &[NO_USER, "etcdserver: user name already exists", DENIED, TOKEN],
        Method::UserGet | Method::UserChangePassword => &[USER, DENIED, TOKEN],
        Method::UserDelete => &[USER, DENIED, TOKEN, MANAGED],
        Method::UserGrantRole => &[USER, ROLE, DENIED, TOKEN],
        Method::UserRevokeRole => &[USER, "etcdserver: role is not granted to the user", DENIED, TOKEN, MANAGED],
        Method::RoleAdd => &["etcdserver: role name is empty", "etcdserver: role name already exists", DENIED, TOKEN],
        Method::RoleGet => &[ROLE, DENIED, TOKEN],
        Method::RoleDelete => &[ROLE, DENIED, TOKEN, MANAGED],
        Method::RoleGrantPermission => &[ROLE, "etcdserver: permission not given", DENIED, TOKEN],
        Method::RoleRevokePermission => &[ROLE, "etcdserver: permission is not granted to the role", DENIED, TOKEN],
    }
}

/// What was exercised.
#[derive(Default)]
pub(super) struct Coverage {
    seen: BTreeSet<String>,
}

impl Coverage {
    /// What another has seen counts here too.
    pub(super) fn merge(&mut self, other: Self) {
        self.seen.extend(other.seen);
    }

    /// A call and its answer.
    pub(super) fn call(&mut self, method: Method, request: &Value, answer: &Value) {
        let rpc = method.name();
        self.seen.insert(rpc.to_owned());
        given(rpc, messages(method).0, request, &mut self.seen);
        if let Some(error) = answer["error"].as_str() {
            self.seen.insert(format!("{rpc}: {error}"));
        }
    }

    /// A message on a stream of watches.
    pub(super) fn watch(&mut self, request: &Value) {
        self.seen.insert(WATCH.to_owned());
        given(WATCH, "WatchRequest", request, &mut self.seen);
    }

    /// What was heard on streams of watches, by stream and watch.
    pub(super) fn heard(&mut self, heard: &Value) {
        let items = heard.as_object().into_iter().flat_map(|watches| watches.values());
        for item in items.flat_map(|items| items.as_array().into_iter().flatten()) {
            for ending in ENDINGS.iter().filter(|ending| item.get(ending).is_some()) {
                self.seen.insert(format!("{WATCH}: {ending}"));
            }
        }
    }

    /// How much of all, how much there is, and what is missing.
    pub(super) fn report(&self) -> (usize, usize, Vec<String>) {
        let mut all = Vec::new();
        for method in Method::ALL {
            all.push(method.name().to_owned());
            units(method.name(), messages(method).0, &mut all);
            all.extend(errors(method).iter().map(|error| format!("{}: {error}", method.name())));
        }
        all.push(WATCH.to_owned());
        units(WATCH, "WatchRequest", &mut all);
        all.extend(ENDINGS.iter().map(|ending| format!("{WATCH}: {ending}")));
        let of = all.len();
        let missing: Vec<String> = all.into_iter().filter(|one| !self.seen.contains(one)).collect();
        (of - missing.len(), of, missing)
    }
}

/// How a watch ends by itself, and what else its server says without an event.
const ENDINGS: [&str; 3] = ["compact_revision", "cancel_reason", "progress"];

/// Whether a message is that of an RPC of its own, which counts its fields.
fn has_rpc(message: &str) -> bool {
    ["RangeRequest", "PutRequest", "DeleteRangeRequest", "TxnRequest"].contains(&message)
}

/// Everything that a message can have.
fn units(path: &str, message: &str, out: &mut Vec<String>) {
    for field in fields(message) {
        let path = format!("{path}.{}", field.name);
        match field.kind {
            Kind::Enum(values) => {
                let from = usize::from(!field.repeated);
                out.extend(values[from..].iter().map(|value| format!("{path}={value}")));
            }
            Kind::Message(inner) if !has_rpc(inner) => {
                units(&path, inner, out);
                out.push(path);
            }
            _ => out.push(path),
        }
    }
}

/// What a message has of that.
fn given(path: &str, message: &str, value: &Value, out: &mut BTreeSet<String>) {
    for field in fields(message) {
        let Some(value) = value.get(field.name) else { continue };
        let path = format!("{path}.{}", field.name);
        let values = if let Value::Array(values) = value { &values[..] } else { std::slice::from_ref(value) };
        for value in values {
            match (field.kind, value) {
                (Kind::Enum(_), Value::String(value)) => drop(out.insert(format!("{path}={value}"))),
                (Kind::Message(inner), value) if !has_rpc(inner) => given(&path, inner, value, out),
                _ => {}
            }
        }
        out.insert(path);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_exercised_is_not_missing() {
        let mut coverage = Coverage::default();
        let (none, of, missing) = coverage.report();
        assert_eq!((none, of), (0, missing.len()));
        let txn = json!({ "compare": [{ "key": "YQ==", "target": "MOD" }], "success": [{ "request_put": {} }] });
        coverage.call(Method::Txn, &txn, &json!({ "error": KEY }));
        coverage.watch(&json!({ "cancel_request": { "watch_id": "1" } }));
        coverage.heard(&json!({ "0/1": [{ "progress": "7" }] }));
        let (seen, _, missing) = coverage.report();
        assert_eq!(seen + missing.len(), of);
        let names = [
            "KV/Txn",
            "KV/Txn.compare",
            "KV/Txn.compare.key",
            "KV/Txn.compare.target=MOD",
            "KV/Txn.success",
            "KV/Txn.success.request_put",
            "KV/Txn: etcdserver: key is not provided",
            "Watch/Watch",
            "Watch/Watch.cancel_request",
            "Watch/Watch.cancel_request.watch_id",
            "Watch/Watch: progress",
        ];
        assert_eq!(seen, names.len());
        assert!(names.iter().all(|name| !missing.iter().any(|one| one == name)));
    }
}
