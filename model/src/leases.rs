//! Leases as clients see them: a lease that was revoked is gone (E2, E3), whoever asks about it later.
//!
//! Between revocations and expiries of one lease nothing is known here: that a lease must not end too early, and must
//! end at last, needs clocks, which a history does not have. A lease that was granted twice under one id is left aside.
//!
//! Keep-alives do not go through the log. A leader that has lost its leadership unseen may answer one as of its own,
//! older term; so their answers count only from the term on in which the other fact was known.

use std::collections::BTreeMap;

use detcd_replica::api::{Key, LeaseId, Request, RequestOp, ResponseBody};
use detcd_replica::history::{Finding, History, Moment, Operation, Outcome};
use detcd_replica::MemberId;

use crate::linearizability::words::NO_CLIENT;
use crate::linearizability::{end, finding, words};

/// The names of the checks.
pub(crate) const CHECKS: [&str; 2] = ["E2", "E3"];

/// Each put with a lease in the request, in any branch: the key and the lease.
pub(crate) fn each_attachment<'r>(request: &'r Request, visit: &mut dyn FnMut(&'r Key, LeaseId)) {
    fn each<'r>(op: &'r RequestOp, visit: &mut dyn FnMut(&'r Key, LeaseId)) {
        match op {
            RequestOp::Put(put) if put.lease != 0 => visit(&put.key, put.lease),
            RequestOp::Txn(txn) => txn.success.iter().chain(&txn.failure).for_each(|op| each(op, visit)),
            _ => {}
        }
    }
    match request {
        Request::Put(put) if put.lease != 0 => visit(&put.key, put.lease),
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).for_each(|op| each(op, visit)),
        _ => {}
    }
}

/// The revocations that etcd may have done by itself: one for each lease that a key was attached to, at any time after
/// it was first heard of, or never.
pub(crate) fn expiries(history: &History) -> Vec<Operation> {
    let mut first: BTreeMap<LeaseId, u64> = BTreeMap::new();
    for operation in &history.operations {
        each_attachment(&operation.request, &mut |_, lease| {
            let call = first.entry(lease).or_insert(operation.call);
            *call = (*call).min(operation.call);
        });
    }
    let expiry = |(id, call)| Operation {
        client: NO_CLIENT,
        member: MemberId::NONE,
        user: String::new(),
        call,
        request: Request::LeaseRevoke { id },
        outcome: Outcome::Unknown { at: None },
    };
    first.into_iter().map(expiry).collect()
}

/// What an answer says of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// It was there, or is.
    Alive,
    /// It is not there any more, or was ended by this.
    Gone,
}

/// Holds what was answered about each lease against what had been answered before the question.
pub(crate) fn check(history: &History) -> Option<Finding> {
    // By lease, when and in which term it was granted; `None` when that happened twice.
    let mut granted: BTreeMap<LeaseId, Option<(Moment, u64)>> = BTreeMap::new();
    for operation in &history.operations {
        if let Outcome::Ok { at, response } = &operation.outcome {
            if let ResponseBody::LeaseGrant { id, .. } = response.body {
                let now = (*at, response.header.raft_term);
                granted.entry(id).and_modify(|known| *known = None).or_insert(Some(now));
            }
        }
    }
    // By lease, who knew first that it was gone. That a lease is not there yet says nothing.
    let mut gone: BTreeMap<LeaseId, &Operation> = BTreeMap::new();
    for operation in &history.operations {
        said(operation, &mut |id, word| {
            let Some(Some((at, term))) = granted.get(&id) else { return };
            let after_grant = *at < operation.call && counts_from(operation, *term);
            if word == Word::Gone && after_grant {
                let known = gone.entry(id).or_insert(operation);
                if end(operation) < end(known) {
                    *known = operation;
                }
            }
        });
    }
    if gone.is_empty() {
        return None;
    }
    history.operations.iter().find_map(|operation| {
        let mut found = None;
        said(operation, &mut |id, word| {
            if word != Word::Alive || found.is_some() {
                return;
            }
            let before = |ended: &&&Operation| end(ended) < operation.call && counts_from(operation, term(ended));
            let Some(ended) = gone.get(&id).filter(before) else { return };
            let kept = matches!(operation.request, Request::LeaseKeepAlive { .. });
            let (asked, ended_by) = (words::request(&operation.request), words::request(&ended.request));
            let summary = format!("`{asked}` found lease {id:x}, which was gone since `{ended_by}`");
            found = Some(finding(if kept { "E3" } else { "E2" }, operation, summary, [*ended].into_iter()));
        });
        found
    })
}

/// The term of the member that answered; 0 when none did.
fn term(operation: &Operation) -> u64 {
    match &operation.outcome {
        Outcome::Ok { response, .. } => response.header.raft_term,
        Outcome::Failed { .. } | Outcome::Unknown { .. } => 0,
    }
}

/// Whether the answer is held to what was known in a term: a keep-alive's is not, when it is of an earlier one.
fn counts_from(operation: &Operation, known: u64) -> bool {
    !matches!(operation.request, Request::LeaseKeepAlive { .. }) || term(operation) >= known
}

/// What the answer to an operation says of leases. The time that a lease has left may be told by a leader that is none
/// any more, so that says nothing.
fn said(operation: &Operation, visit: &mut dyn FnMut(LeaseId, Word)) {
    let Outcome::Ok { response, .. } = &operation.outcome else { return };
    match (&operation.request, &response.body) {
        (Request::LeaseRevoke { id }, ResponseBody::LeaseRevoke) => visit(*id, Word::Gone),
        (Request::LeaseKeepAlive { id }, ResponseBody::LeaseKeepAlive { ttl, .. }) => {
            visit(*id, if *ttl > 0 { Word::Alive } else { Word::Gone });
        }
        (Request::Put(put), ResponseBody::Put { .. }) if put.lease != 0 => visit(put.lease, Word::Alive),
        (Request::Txn(txn), ResponseBody::Txn { succeeded, responses }) => {
            let branch = if *succeeded { &txn.success } else { &txn.failure };
            branch.iter().zip(responses).for_each(|(op, response)| said_inside(op, response, visit));
        }
        _ => {}
    }
}

fn said_inside(op: &RequestOp, response: &ResponseBody, visit: &mut dyn FnMut(LeaseId, Word)) {
    match (op, response) {
        (RequestOp::Put(put), _) if put.lease != 0 => visit(put.lease, Word::Alive),
        (RequestOp::Txn(txn), ResponseBody::Txn { succeeded, responses }) => {
            let branch = if *succeeded { &txn.success } else { &txn.failure };
            branch.iter().zip(responses).for_each(|(op, response)| said_inside(op, response, visit));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use detcd_replica::api::{Header, KeyRange, LeaseGrantRequest, PutRequest, RangeRequest, Response};

    use super::*;
    use crate::linearizability::{linearizability, LinearizabilityVerdict};

    /// A history told operation by operation, one after the other.
    #[derive(Default)]
    struct Story(History);

    impl Story {
        fn ok(mut self, revision: i64, request: Request, body: ResponseBody) -> Self {
            let call = self.0.operations.len() as u64 * 10;
            let header = Header { member: MemberId(1), revision, raft_term: 1 };
            let outcome = Outcome::Ok { at: call + 5, response: Response { header, body } };
            let (member, user) = (MemberId(1), String::new());
            self.0.operations.push(Operation { client: 1, member, user, call, request, outcome });
            self
        }

        fn grant(self, revision: i64) -> Self {
            let grant = Request::LeaseGrant(LeaseGrantRequest { id: 7, ttl: 10 });
            self.ok(revision, grant, ResponseBody::LeaseGrant { id: 7, ttl: 10 })
        }

        fn put(self, revision: i64, key: &'static str, lease: LeaseId) -> Self {
            let put = Request::Put(PutRequest { lease, ..PutRequest::of(key, "v") });
            self.ok(revision, put, ResponseBody::Put { prev_kv: None })
        }

        fn revoke(self, revision: i64) -> Self {
            self.ok(revision, Request::LeaseRevoke { id: 7 }, ResponseBody::LeaseRevoke)
        }

        fn keep_alive(self, ttl: i64) -> Self {
            self.ok(1, Request::LeaseKeepAlive { id: 7 }, ResponseBody::LeaseKeepAlive { id: 7, ttl })
        }

        fn count(self, revision: i64, count: u64) -> Self {
            let range = RangeRequest { count_only: true, ..RangeRequest::of(KeyRange::prefix("")) };
            self.ok(revision, Request::Range(range), ResponseBody::Range { kvs: Vec::new(), more: false, count })
        }

        fn is_linearizable(&self) -> bool {
            linearizability(&self.0, 1000) == LinearizabilityVerdict::Linearizable
        }

        fn found(&self) -> Option<&'static str> {
            check(&self.0).map(|finding| finding.check)
        }
    }

    #[test]
    fn a_revoked_lease_takes_its_keys_along_in_one_revision() {
        let begun = || Story::default().grant(1).put(2, "a", 7).put(3, "b", 7).put(4, "c", 0);
        assert!(begun().revoke(5).count(5, 1).is_linearizable());
        assert!(!begun().revoke(5).count(5, 3).is_linearizable());
        // Nothing attached, no revision.
        assert!(Story::default().grant(1).put(2, "a", 0).revoke(2).count(2, 1).is_linearizable());
        // But something attached, and no revision.
        assert!(!begun().revoke(4).count(4, 3).is_linearizable());
        // A later put without it has detached the key.
        assert!(begun().put(5, "a", 0).put(6, "b", 0).revoke(6).count(6, 3).is_linearizable());
    }

    #[test]
    fn a_lease_may_expire_or_not() {
        let begun = || Story::default().grant(1).put(2, "a", 7).put(3, "c", 0);
        assert!(begun().count(3, 2).is_linearizable());
        assert!(begun().count(4, 1).is_linearizable());
        assert!(!begun().count(4, 2).is_linearizable());
        assert!(!begun().count(5, 0).is_linearizable());
    }

    #[test]
    fn a_leader_that_is_none_any_more_says_nothing_for_certain() {
        let of_term = |mut story: Story, raft_term| {
            if let Some(Operation { outcome: Outcome::Ok { response, .. }, .. }) = story.0.operations.last_mut() {
                response.header.raft_term = raft_term;
            }
            story
        };
        let granted = || of_term(Story::default().grant(1), 3);
        assert_eq!(of_term(granted().keep_alive(0), 2).put(2, "a", 7).found(), None);
        assert_eq!(of_term(granted().keep_alive(0), 3).put(2, "a", 7).found(), Some("E2"));
        let revoked = || of_term(granted().revoke(1), 3);
        assert_eq!(of_term(revoked().keep_alive(5), 2).found(), None);
        assert_eq!(of_term(revoked().keep_alive(5), 3).found(), Some("E3"));
    }

    #[test]
    fn what_is_gone_stays_gone() {
        let revoked = || Story::default().grant(1).revoke(1);
        assert_eq!(revoked().keep_alive(0).found(), None);
        assert_eq!(revoked().keep_alive(10).found(), Some("E3"));
        assert_eq!(revoked().put(2, "a", 7).found(), Some("E2"));
        assert_eq!(Story::default().grant(1).keep_alive(0).put(2, "a", 7).found(), Some("E2"));
        assert_eq!(revoked().grant(1).keep_alive(10).found(), None);
        assert_eq!(Story::default().keep_alive(0).grant(1).put(2, "a", 7).found(), None);
    }
}
