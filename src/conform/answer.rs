//! Answers in one form, so that they can be compared: what may differ between two servers that are both right is taken
//! out of them.
//!
//! Ids of the cluster, Raft terms, tokens, sizes and the time that a lease has left may differ, and so may the order of
//! what etcd takes from a map.

use std::collections::BTreeMap;

use detcd_replica::api::{RangeRequest, Request, RequestOp, SortTarget, TxnRequest};
use detcd_replica::wire::rpc::{Method, Refusal};
use serde_json::{json, Value};

use super::MEMBER;

/// What every token is called.
const TOKEN: &str = "a token";
/// What of a status is one server's own business; the last two are of releases behind 3.5.
const OWN: [&str; 8] =
    ["version", "dbSize", "dbSizeInUse", "raftIndex", "raftTerm", "raftAppliedIndex", "storageVersion", "dbSizeQuota"];

/// A refusal.
pub(super) fn refused(refusal: &Refusal) -> Value {
    json!({ "code": refusal.code, "error": refusal.message })
}

/// The ids of members on the other side, by those that ours have.
pub(super) type Ids = BTreeMap<u64, u64>;

/// Whether it is about members, whose ids are one side's own; leases have the ids that they were asked to have.
fn has_members(method: Method) -> bool {
    use Method::{Alarm, MemberAdd, MemberList, MemberPromote, MemberRemove, MemberUpdate, MoveLeader, Status};
    let all = [Alarm, MemberAdd, MemberList, MemberPromote, MemberRemove, MemberUpdate, MoveLeader, Status];
    all.contains(&method)
}

/// A request of ours with the ids of the other side.
pub(super) fn to_theirs(method: Method, ids: &Ids, request: &Value) -> Value {
    let mut request = request.clone();
    if !has_members(method) {
        return request;
    }
    for field in ["ID", "memberID", "targetID"] {
        if let Some(id) = request.get_mut(field) {
            let known = id.as_str().and_then(|id| id.parse().ok()).and_then(|id: u64| ids.get(&id));
            *id = known.map_or_else(|| id.take(), |known| Value::from(known.to_string()));
        }
    }
    request
}

/// An answer of the other side with our ids.
pub(super) fn to_ours(method: Method, ids: &Ids, answer: &mut Value) {
    if has_members(method) {
        rename(ids, answer);
    }
}

fn rename(ids: &Ids, answer: &mut Value) {
    let ours = |theirs: &str| ids.iter().find(|(_, id)| id.to_string() == theirs).map(|(ours, _)| ours.to_string());
    match answer {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(id) if ["ID", "memberID", "leader"].contains(&&name[..]) => {
                        *id = ours(id).unwrap_or_else(|| std::mem::take(id));
                    }
                    other => rename(ids, other),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rename(ids, value)),
        _ => {}
    }
}

/// An answer of either side, without what is that side's own.
pub(super) fn common(method: Method, answer: &mut Value) {
    headers(answer);
    match method {
        Method::Authenticate if answer.get("token").is_some() => answer["token"] = TOKEN.into(),
        Method::Status => {
            let Value::Object(fields) = answer else { return };
            OWN.iter().for_each(|name| drop(fields.remove(*name)));
            if let Some(Value::Array(errors)) = fields.get_mut("errors") {
                // As Go prints an alarm, with the member's id: its kind is what counts.
                errors.iter_mut().for_each(|error| {
                    if let Some((_, kind)) = error.as_str().and_then(|text| text.split_once("alarm:")) {
                        *error = kind.into();
                    }
                });
            }
        }
        // Of releases behind 3.5.
        Method::HashKv => {
            let Value::Object(fields) = answer else { return };
            fields.remove("hash_revision");
        }
        _ => {}
    }
    for list in ["members", "member"] {
        match answer.get_mut(list) {
            Some(Value::Array(members)) => {
                members.iter_mut().for_each(own_member);
                members.sort_by_key(Value::to_string);
            }
            Some(one) => own_member(one),
            None => {}
        }
    }
}

/// How the one who is asked is called and reached is its own business.
fn own_member(member: &mut Value) {
    if member["ID"].as_str() == Some(&MEMBER.0.to_string()) {
        *member = json!({ "ID": member["ID"], "isLearner": member["isLearner"] });
    }
}

/// Of a header only the revision is the same on both sides.
fn headers(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match &name[..] {
                    "header" => *value = json!({ "revision": value["revision"] }),
                    _ => headers(value),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(headers),
        _ => {}
    }
}

/// The revision that an answer's header names, 0 where it has none.
pub(super) fn revision(answer: &Value) -> i64 {
    answer["header"]["revision"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
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
    fn the_two_sides_have_one_form() {
        let ids = Ids::from([(1, 77), (2, 88)]);
        let list = |own: &str, other: &str, revision: &str| {
            json!({
                "header": { "cluster_id": own, "member_id": own, "revision": revision, "raft_term": own },
                "members": [{ "ID": own, "name": own, "clientURLs": ["x"] }, { "ID": other, "isLearner": true }],
            })
        };
        let (mut ours, mut theirs) = (list("1", "2", "3"), list("77", "88", "3"));
        to_ours(Method::MemberList, &ids, &mut theirs);
        common(Method::MemberList, &mut ours);
        common(Method::MemberList, &mut theirs);
        assert_eq!(ours, theirs);
        let mut later = list("1", "2", "4");
        common(Method::MemberList, &mut later);
        assert_ne!(ours, later);
        let named = json!({ "ID": "2", "targetID": "9" });
        assert_eq!(to_theirs(Method::MoveLeader, &ids, &named), json!({ "ID": "88", "targetID": "9" }));
        assert_eq!(to_theirs(Method::LeaseRevoke, &ids, &named), named, "a lease's id");
    }
}
