//! Sessions: who reads with a fence is never shown a state older than one that it has been shown before.
//!
//! etcd promises that only for linearizable reads, which are judged elsewhere. A client may have it for serializable
//! ones, too, when it refuses answers of a lower revision than it has seen, and asks another member. So this is a check
//! of clients as well as of members, and only for histories whose clients do so, such as those of detcd's own runs.

use std::collections::BTreeMap;

use detcd_replica::api::{Request, RequestOp, Revision};
use detcd_replica::history::{Finding, History, Operation, Outcome};

use crate::linearizability::{finding, role, words, Role};

/// The name of the check.
pub(crate) const CHECK: &str = "session";

/// Holds every stale read of the newest state against the answers that its client had before.
pub(crate) fn check(history: &History) -> Option<Finding> {
    let mut newest: BTreeMap<u32, (Revision, &Operation)> = BTreeMap::new();
    history.operations.iter().find_map(|operation| {
        let Outcome::Ok { response, .. } = &operation.outcome else { return None };
        let revision = response.header.revision;
        let role = role(operation);
        if role == Role::Nothing {
            return None;
        }
        let seen = newest.entry(operation.client).or_insert((revision, operation));
        if matches!(role, Role::Serializable(_)) && revision < seen.0 && reads_newest(&operation.request) {
            let summary = format!(
                "client {} was shown revision {revision} by `{}`, and had been shown {} before",
                operation.client,
                words::request(&operation.request),
                seen.0
            );
            return Some(finding(CHECK, operation, summary, std::iter::once(seen.1)));
        }
        if revision > seen.0 {
            *seen = (revision, operation);
        }
        None
    })
}

fn reads_newest(request: &Request) -> bool {
    match request {
        Request::Range(range) => range.revision <= 0,
        Request::Txn(txn) => {
            let mut ops = txn.success.iter().chain(&txn.failure);
            ops.all(|op| matches!(op, RequestOp::Range(range) if range.revision <= 0))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use detcd_replica::api::{Header, KeyRange, RangeRequest, Response, ResponseBody};
    use detcd_replica::MemberId;

    use super::*;

    /// Client, revision in the answer, whether it may be stale, which revision it asks for.
    fn found(reads: &[(u32, Revision, bool, Revision)]) -> bool {
        let operations = reads.iter().zip(0u64..).map(|((client, header, serializable, revision), number)| {
            let range = RangeRequest::of(KeyRange::single("a"));
            let range = RangeRequest { serializable: *serializable, revision: *revision, ..range };
            let body = ResponseBody::Range { kvs: Vec::new(), more: false, count: 0 };
            let header = Header { member: MemberId(1), revision: *header, raft_term: 1 };
            let outcome = Outcome::Ok { at: number * 10 + 5, response: Response { header, body } };
            let (member, user, request) = (MemberId(1), String::new(), Request::Range(range));
            Operation { client: *client, member, user, call: number * 10, request, outcome }
        });
        check(&History { operations: operations.collect(), watches: Vec::new() }).is_some()
    }

    #[test]
    fn a_session_does_not_go_back() {
        assert!(!found(&[(1, 5, false, 0), (1, 5, true, 0), (2, 4, true, 0), (1, 6, true, 0)]));
        assert!(found(&[(1, 5, false, 0), (1, 4, true, 0)]));
        assert!(found(&[(1, 5, true, 0), (2, 5, true, 0), (2, 4, true, 0)]));
        // Who asks for the past gets the past, wherever the member is by now.
        assert!(!found(&[(1, 5, false, 0), (1, 4, true, 3)]));
    }
}
