//! Differences that are known and have a reason, mostly that etcd 3.5.1 has a bug there that later releases do not
//! have, and that our member has the later behaviour. Whatever is not in the table, `tests/known-differences.tsv`,
//! counts.

use std::collections::BTreeMap;

use detcd_replica::api::{AuthRequest, KeyRange, RangeEnd, Request, RequestOp, TxnRequest};
use detcd_replica::wire::rpc::Method;
use detcd_replica::{Bug, Bugs, Release};
use serde_json::Value;

use super::generate::Asked;
use super::pair::Answers;

/// Known bugs of the release that our member has as switches: with them on there is no difference to excuse.
pub(super) fn switches(release: Release) -> Bugs {
    let mut bugs = Vec::new();
    if release <= Release::V3_6 {
        // A transaction inside a transaction costs nothing, so that it is applied though there is no space.
        bugs.push(Bug::NestedTxnFree);
    }
    if release <= Release::V3_5 {
        // Before 3.5.16 a watch from the compacted revision did not see what was deleted there.
        bugs.push(Bug::CompactDropsTombstoneAtRev);
        // Before 3.5.8 progress was told at once, whatever the watches of the stream had seen.
        bugs.push(Bug::ProgressIgnoresUnsynced);
        // What a transaction does in another inside it, and what its puts show and attach, was anybody's
        // (CVE-2026-33343, CVE-2026-44283).
        bugs.extend([Bug::NestedTxnBypass, Bug::PrevkvLeaseBypass]);
        // An update of a learner makes a voter of it, in what members are told (etcd#21736).
        bugs.push(Bug::UpdatePromotesLearner);
    }
    bugs.into_iter().collect()
}

/// Every known difference, with the last release that has it and the reason: the tests' table, one a line.
const TABLE: &str = include_str!("../../tests/known-differences.tsv");

/// The reason of a difference, if the release has it.
///
/// # Panics
/// The table does not have it.
fn by_id(id: &str, release: Release) -> Option<&'static str> {
    let rows = TABLE.lines().skip(1).map(|row| row.splitn(3, '\t').collect::<Vec<_>>());
    let row = rows.into_iter().find(|row| row[0] == id).unwrap_or_else(|| panic!("{id} has no row in the table"));
    let until = Release::parse(row[1]).unwrap_or_else(|| panic!("{id}: {} is no release", row[1]));
    (release <= until).then_some(row[2])
}

/// One difference that may be between answers to a request.
struct Known {
    id: &'static str,
    is: fn(&Request, ours: &Value, theirs: &Value) -> bool,
}

const ALL: &[Known] = &[
    Known {
        id: "txn-puts-first",
        is: |request, ours, theirs| {
            let range = error(ours).contains("required revision");
            let put = ["lease not found", "key not found"].iter().any(|what| error(theirs).contains(what));
            matches!(request, Request::Txn(_)) && range && put
        },
    },
    Known {
        id: "lease-keys-open",
        is: |request, ours, theirs| {
            let refused = ["user name is empty", "permission denied", "invalid auth token"];
            let asked = matches!(request, Request::LeaseTimeToLive { keys: true, .. });
            asked && refused.iter().any(|what| error(ours).contains(what)) && theirs.get("error").is_none()
        },
    },
    Known {
        id: "role-root",
        is: |request, ours, theirs| {
            let root = matches!(request, Request::Auth(AuthRequest::RoleGet { role }) if role == "root");
            root && ours.get("perm").is_some() && theirs.get("error").is_none()
        },
    },
    Known {
        id: "open-to-anybody",
        is: |request, ours, theirs| {
            let lease = matches!(
                request,
                Request::LeaseGrant(_)
                    | Request::LeaseRevoke { .. }
                    | Request::LeaseKeepAlive { .. }
                    | Request::LeaseTimeToLive { .. }
                    | Request::Leases
                    | Request::Compact(_)
                    | Request::Status
                    | Request::Alarm(_)
                    | Request::MemberList { .. }
                    | Request::MoveLeader { .. }
                    | Request::Downgrade(_)
            );
            let refused = |answer| {
                let words = ["user name is empty", "auth token", "permission denied"];
                words.iter().any(|what| error(answer).contains(what))
            };
            lease && refused(ours) && !refused(theirs)
        },
    },
    Known {
        id: "member-id-second",
        is: |request, _, theirs| {
            // The second is what etcd says of an id that was removed.
            let same =
                ["member ID already exist", "member not found"].iter().any(|words| error(theirs).contains(words));
            matches!(request, Request::MemberAdd { .. }) && same
        },
    },
    Known {
        id: "hashkv-compacted",
        is: |request, ours, theirs| {
            let hash = matches!(request, Request::HashKv { revision } if *revision > 0);
            hash && ours.get("compact_revision").is_some() && error(theirs).contains("has been compacted")
        },
    },
    Known {
        id: "maintenance-raw",
        is: |request, ours, theirs| {
            let raw = error(theirs).strip_prefix("auth: ").is_some_and(|words| error(ours).ends_with(words));
            matches!(request, Request::HashKv { .. } | Request::Defragment) && raw
        },
    },
    Known {
        id: "member-url-ends",
        is: |request, _, theirs| {
            let ended = theirs["ended"].as_str().is_some_and(|word| word.contains("failed NewURLs"));
            matches!(request, Request::MemberUpdate { .. }) && ended
        },
    },
    Known {
        id: "F-03",
        is: |request, ours, theirs| {
            let ended = theirs["ended"].as_str().is_some_and(|word| word.contains("unexpected error during txn"));
            matches!(request, Request::Txn(_)) && error(ours).contains("key not found") && ended
        },
    },
    Known {
        id: "upside-down",
        is: |request, ours, theirs| {
            let denied = |answer| error(answer).contains("permission denied");
            has_upside_down(request) && denied(ours) != denied(theirs)
        },
    },
    Known {
        id: "F-02",
        is: |_, _, theirs| theirs["ended"].as_str().is_some_and(|word| word.contains("failed to find revision pair")),
    },
];

/// Whether a range of it has an end that is not behind its start.
fn has_upside_down(request: &Request) -> bool {
    let upside_down = |range: &KeyRange| matches!(&range.end, RangeEnd::Before(end) if *end <= range.start);
    fn any(txn: &TxnRequest, upside_down: &dyn Fn(&KeyRange) -> bool) -> bool {
        let ops = txn.success.iter().chain(&txn.failure);
        let in_ops = ops.into_iter().any(|op| match op {
            RequestOp::Range(range) => upside_down(&range.range),
            RequestOp::DeleteRange(delete) => upside_down(&delete.range),
            RequestOp::Txn(inner) => any(inner, upside_down),
            RequestOp::Put(_) => false,
        });
        in_ops || txn.compare.iter().any(|compare| upside_down(&compare.range))
    }
    match request {
        Request::Range(range) => upside_down(&range.range),
        Request::DeleteRange(delete) => upside_down(&delete.range),
        Request::Txn(txn) => any(txn, &upside_down),
        _ => false,
    }
}

/// A message that no request of ours can be: who reads it decides what it is.
fn of_nonsense(release: Release, ours: &Value, theirs: &Value) -> Option<&'static str> {
    let ended = theirs["ended"].as_str().is_some_and(|word| word.contains("nil pointer dereference"));
    if error(ours).contains("permission not given") && theirs.get("error").is_some() {
        return by_id("permission-not-given", release);
    }
    let id = if ended { "sort-target-ends" } else { "sort-order-none" };
    error(ours).contains("invalid sort option").then(|| by_id(id, release))?
}

/// What was heard on a stream.
#[derive(Debug, Default, PartialEq)]
struct Heard<'a> {
    /// Creations that were refused, under whatever name.
    refused: usize,
    /// Everything else, with its stream and watch.
    rest: Vec<(&'a str, &'a Value)>,
}

/// By stream, with refused creations only counted.
fn without_refusals(answer: &Value) -> BTreeMap<&str, Heard<'_>> {
    let mut streams = BTreeMap::<&str, Heard<'_>>::new();
    for (name, items) in answer["watched"].as_object().into_iter().flatten() {
        let heard = streams.entry(name.split('/').next().unwrap_or_default()).or_default();
        for item in items.as_array().into_iter().flatten() {
            match item.get("created").and(item.get("canceled")) {
                Some(_) => heard.refused += 1,
                None => heard.rest.push((name, item)),
            }
        }
    }
    streams
}

/// The same, with what was told on a watch that has just been created counted as a refusal of that.
fn without_creations(answer: &Value) -> BTreeMap<&str, Heard<'_>> {
    let mut streams = without_refusals(answer);
    for heard in streams.values_mut() {
        let created = |item: &Value| item.get("created").is_some();
        let new: Vec<&str> = heard.rest.iter().filter(|(_, item)| created(item)).map(|(name, _)| *name).collect();
        heard.refused += new.len();
        heard.rest.retain(|(name, _)| !new.contains(name));
    }
    streams
}

fn error(answer: &Value) -> &str {
    answer["error"].as_str().unwrap_or_default()
}

/// Whether a difference may have left the two in different states: one of them did what the other refused.
pub(super) fn parts(asked: &Asked, answers: &Answers) -> bool {
    let (ours, theirs) = (&answers.ours, &answers.theirs);
    // A watch that is refused under the name of another silences that one.
    let Asked::Call { method, .. } = asked else { return true };
    let reads = matches!(
        method,
        Method::HashKv
            | Method::Range
            | Method::LeaseTimeToLive
            | Method::LeaseLeases
            | Method::Status
            | Method::RoleGet
    );
    let refused = |answer: &Value| answer.get("error").is_some();
    theirs.get("ended").is_some() || (!reads && refused(ours) != refused(theirs))
}

/// Why the two answers may differ, if they may. `auth` says whether it is on.
pub(super) fn reason(release: Release, auth: bool, asked: &Asked, answers: &Answers) -> Option<&'static str> {
    let (ours, theirs) = (&answers.ours, &answers.theirs);
    if !auth && error(theirs).contains("invalid auth token") {
        return by_id("stray-token", release);
    }
    let Asked::Call { request, .. } = asked else {
        let denied = theirs.to_string().contains("etcdserver: permission denied");
        let id = if auth { "watch-denied" } else { "stray-token" };
        let ours = if auth { without_refusals(ours) } else { without_creations(ours) };
        return (denied && ours == without_refusals(theirs)).then(|| by_id(id, release))?;
    };
    let Some(request) = request else { return of_nonsense(release, ours, theirs) };
    let mut known = ALL.iter().filter(|known| (known.is)(request, ours, theirs));
    known.find_map(|known| by_id(known.id, release))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refused_watch_excuses_nothing_else() {
        let refusal = |why| json!({ "created": true, "canceled": true, "cancel_reason": why });
        let theirs = json!({ "watched": { "0/0": [refusal("etcdserver: permission denied")], "0/1": [{ "kv": 1 }] } });
        let asked = Asked::Watch { stream: 0, body: json!({}) };
        let excused = |heard| {
            let ours = json!({ "watched": { "0/-1": [refusal("etcdserver: user name is empty")], "0/1": heard } });
            reason(Release::V3_5, true, &asked, &Answers { ours, theirs: theirs.clone() }).is_some()
        };
        assert!(excused(json!([{ "kv": 1 }])));
        assert!(!excused(json!([{ "kv": 2 }])) && !excused(json!([])));
    }

    /// With auth off, 3.5.1 still refuses watches on a stream that was opened with a token.
    #[test]
    fn a_watch_refused_for_a_stray_token_excuses_that_watch_only() {
        let refused = json!({ "created": true, "canceled": true, "cancel_reason": "etcdserver: permission denied" });
        let theirs = json!({ "watched": { "0/0": [refused], "0/2": [{ "kv": 1 }] } });
        let asked = Asked::Watch { stream: 0, body: json!({}) };
        let excused = |heard| {
            let ours = json!({ "watched": { "0/1": [{ "created": true }, { "kv": 7 }], "0/2": heard } });
            reason(Release::V3_5, false, &asked, &Answers { ours, theirs: theirs.clone() }).is_some()
        };
        assert!(excused(json!([{ "kv": 1 }])));
        assert!(!excused(json!([{ "kv": 2 }])) && !excused(json!([])));
    }

    #[test]
    fn the_table_has_a_row_for_each_and_no_other() {
        let mut ids: Vec<&str> = ALL.iter().map(|known| known.id).collect();
        ids.extend(["permission-not-given", "sort-target-ends", "sort-order-none", "stray-token", "watch-denied"]);
        assert!(ids.iter().all(|id| by_id(id, Release::V3_5).is_some()));
        let mut rows: Vec<&str> = TABLE.lines().skip(1).filter_map(|row| row.split('\t').next()).collect();
        ids.sort_unstable();
        rows.sort_unstable();
        assert_eq!(ids, rows);
        assert_eq!(by_id("role-root", Release::Main), None);
    }
}
