//! Differences that are known and have a reason: etcd 3.5.1 has a bug there that later releases do not have, and our
//! member has the later behaviour. Whatever is not in this table counts.

use detcd_replica::api::{AuthRequest, KeyRange, RangeEnd, Request, RequestOp, TxnRequest};
use detcd_replica::{Bug, Bugs, Release};
use serde_json::Value;

use super::generate::Asked;

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
    }
    bugs.into_iter().collect()
}

/// One difference that may be.
struct Known {
    /// The last release that has it.
    until: Release,
    reason: &'static str,
    is: fn(&Request, ours: &Value, theirs: &Value) -> bool,
}

const ALL: &[Known] = &[
    Known {
        until: Release::V3_5,
        reason:
            "before 3.5.17 all puts of a transaction were checked before its ranges; now it goes from one operation \
                 to the next (etcd#18667)",
        is: |request, ours, theirs| {
            let range = error(ours).contains("required revision");
            let put = ["lease not found", "key not found"].iter().any(|what| error(theirs).contains(what));
            matches!(request, Request::Txn(_)) && range && put
        },
    },
    Known {
        until: Release::V3_5,
        reason: "before 3.5.9 anybody could ask for the keys of a lease (etcd#15656)",
        is: |request, ours, theirs| {
            let refused = ["user name is empty", "permission denied", "invalid auth token"];
            let asked = matches!(request, Request::LeaseTimeToLive { keys: true, .. });
            asked && refused.iter().any(|what| error(ours).contains(what)) && theirs.get("error").is_none()
        },
    },
    Known {
        until: Release::V3_5,
        reason: "3.5.1 does not show what the role root may do, but what it was given",
        is: |request, ours, theirs| {
            let root = matches!(request, Request::Auth(AuthRequest::RoleGet { role }) if role == "root");
            root && ours.get("perm").is_some() && theirs.get("error").is_none()
        },
    },
    Known {
        until: Release::V3_5,
        reason: "3.5.1 lets anybody compact, and do with leases what they like, with auth on",
        is: |request, ours, theirs| {
            let lease = matches!(
                request,
                Request::LeaseGrant(_)
                    | Request::LeaseRevoke { .. }
                    | Request::LeaseKeepAlive { .. }
                    | Request::LeaseTimeToLive { .. }
                    | Request::Leases
                    | Request::Compact(_)
            );
            let refused = |answer| {
                let words = ["user name is empty", "auth token", "permission denied"];
                words.iter().any(|what| error(answer).contains(what))
            };
            lease && refused(ours) && !refused(theirs)
        },
    },
    Known {
        until: Release::Main,
        reason: "F-03: a transaction that deletes a key and keeps its value in a put ends the server",
        is: |request, ours, theirs| {
            let ended = theirs["ended"].as_str().is_some_and(|word| word.contains("unexpected error during txn"));
            matches!(request, Request::Txn(_)) && error(ours).contains("key not found") && ended
        },
    },
    Known {
        until: Release::Main,
        reason: "whether a range that is upside down is permitted depends on the shape of etcd's tree of permissions",
        is: |request, ours, theirs| {
            let denied = |answer| error(answer).contains("permission denied");
            has_upside_down(request) && denied(ours) != denied(theirs)
        },
    },
    Known {
        until: Release::Main,
        reason:
            "F-02: a compaction at a revision that deletes a key and puts it again removes what was put, and the next \
                 read of it ends the server (etcd#22376)",
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

fn error(answer: &Value) -> &str {
    answer["error"].as_str().unwrap_or_default()
}

/// Whether a difference may have left the two in different states: one of them did what the other refused.
pub(super) fn parts(asked: &Asked, ours: &Value, theirs: &Value) -> bool {
    let Asked::Request(request) = asked else { return theirs.get("ended").is_some() };
    let reads = [Request::Leases, Request::Status].contains(request)
        || matches!(request, Request::Range(_) | Request::LeaseTimeToLive { .. })
        || matches!(request, Request::Auth(AuthRequest::RoleGet { .. }));
    let refused = |answer: &Value| answer.get("error").is_some();
    theirs.get("ended").is_some() || (!reads && refused(ours) != refused(theirs))
}

/// Why the two answers may differ, if they may. `auth` says whether it is on.
pub(super) fn reason(
    release: Release,
    auth: bool,
    asked: &Asked,
    ours: &Value,
    theirs: &Value,
) -> Option<&'static str> {
    if release <= Release::V3_5 && !auth && error(theirs).contains("invalid auth token") {
        return Some("with auth off 3.5.1 refuses a token that it does not know; later releases do not look at it");
    }
    let Asked::Request(request) = asked else {
        let refused = |answer: &Value| answer.get("cancel_reason").is_some();
        let says = "3.5.1 has one word for whoever may not watch, permission denied; later releases say why";
        return (release <= Release::V3_5 && refused(ours) && refused(theirs)).then_some(says);
    };
    let known = ALL.iter().filter(|known| release <= known.until);
    known.into_iter().find(|known| (known.is)(request, ours, theirs)).map(|known| known.reason)
}
