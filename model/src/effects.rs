//! C1: what a client asks for takes effect once at most, and not at all when it was refused.
//!
//! The log is the evidence here, so this is a white-box check: no request may be in it, and not be refused when
//! applied, more often than clients asked for it in vain or with success. The black-box checks see the same where
//! values tell the writes apart. Leases are left aside: members name and revoke them, too.

// Maps for lookup only: nothing depends on their order.
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use detcd_replica::api::Request;
use detcd_replica::history::{Finding, History, Operation, Outcome, Side};

use crate::linearizability::{end, may_write, words};
use crate::spec::KeyHasher;

/// The name of the check.
pub const CHECK: &str = "C1";

/// Counts every request among `applied`, those in the log that were not refused, and among the operations.
pub fn check<'a>(history: &History, applied: impl IntoIterator<Item = &'a Request>) -> Option<Finding> {
    // With room for all: to grow would be to hash every request again.
    let mut open: HashMap<&Request, u32, BuildHasherDefault<KeyHasher>> =
        HashMap::with_capacity_and_hasher(history.operations.len(), BuildHasherDefault::default());
    for operation in &history.operations {
        if !matches!(operation.outcome, Outcome::Failed { .. }) {
            *open.entry(&operation.request).or_default() += 1;
        }
    }
    let once_too_often = applied.into_iter().find(|request| {
        // What only reads is asked again when it has no answer.
        let counts = matches!(request, Request::Put(_) | Request::DeleteRange(_) | Request::Txn(_));
        if !counts || !may_write(request) {
            return false;
        }
        match open.get_mut(request) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        }
    })?;
    let asked: Vec<&Operation> = history.operations.iter().filter(|it| it.request == *once_too_often).collect();
    let refused = asked.iter().any(|operation| matches!(operation.outcome, Outcome::Failed { .. }));
    let asked_words = words::request(once_too_often);
    let summary = match (asked.len(), refused) {
        (0, _) => format!("`{asked_words}` took effect, which nobody asked for"),
        (_, true) => format!("`{asked_words}` took effect, though it was refused"),
        (_, false) => format!("`{asked_words}` took effect more often than it was asked for"),
    };
    let at = asked.iter().map(|operation| end(operation).min(operation.call)).max().unwrap_or(0);
    let details = asked.into_iter().map(words::operation).collect();
    Some(Finding { check: CHECK, side: Side::WhiteBox, at, summary, details })
}

#[cfg(test)]
mod tests {
    use detcd_replica::api::{Error, PutRequest};
    use detcd_replica::MemberId;

    use super::*;

    fn put(value: &'static str) -> Request {
        Request::Put(PutRequest::of("a", value))
    }

    fn found(operations: &[(&'static str, Outcome)], applied: &[&'static str]) -> Option<String> {
        let operations = operations.iter().map(|(value, outcome)| Operation {
            client: 1,
            member: MemberId(1),
            user: String::new(),
            call: 1,
            request: put(value),
            outcome: outcome.clone(),
        });
        let history = History { operations: operations.collect(), watches: Vec::new() };
        let applied: Vec<Request> = applied.iter().map(|value| put(value)).collect();
        check(&history, &applied).map(|finding| finding.summary)
    }

    #[test]
    fn a_request_takes_effect_once_at_most() {
        let unknown = || Outcome::Unknown { at: None };
        let refused = || Outcome::Failed { at: 2, error: Error::TooManyRequests };
        assert_eq!(found(&[("1", unknown()), ("2", refused())], &["1"]), None);
        assert_eq!(found(&[("1", unknown())], &[]), None);
        assert_eq!(found(&[("1", unknown()), ("1", unknown())], &["1", "1"]), None);
        let words = |what: &str| Some(format!("`put a 1` took effect{what}"));
        assert_eq!(found(&[("1", unknown())], &["1", "1"]), words(" more often than it was asked for"));
        assert_eq!(found(&[("1", refused())], &["1"]), words(", though it was refused"));
        assert_eq!(found(&[("2", unknown())], &["1"]), words(", which nobody asked for"));
    }
}
