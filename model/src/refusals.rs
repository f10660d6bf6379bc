//! Refusals: what is refused as malformed is malformed.
//!
//! A request without a key, with a value or a lease beside the wish to keep it, with too many operations, or that
//! changes a key twice is refused before anybody looks at the store. The specification says which are; that such a
//! request is never answered is seen where answers are held against it.

use detcd_replica::api::Error;
use detcd_replica::history::{Finding, History, Outcome};

use crate::linearizability::{finding, words};
use crate::spec;

/// The name of the check.
pub(crate) const CHECK: &str = "refusals";

/// Holds every refusal that says nothing of the store against the specification.
pub(crate) fn check(history: &History) -> Option<Finding> {
    history.operations.iter().find_map(|operation| {
        let Outcome::Failed { error, .. } = &operation.outcome else { return None };
        let malformed =
            [Error::EmptyKey, Error::ValueProvided, Error::LeaseProvided, Error::TooManyOps, Error::DuplicateKey];
        if !malformed.contains(error) || spec::refused(&operation.request).is_err() {
            return None;
        }
        let summary =
            format!("`{}` was refused ({error}), and nothing is wrong with it", words::request(&operation.request));
        Some(finding(CHECK, operation, summary, std::iter::empty()))
    })
}

#[cfg(test)]
mod tests {
    use detcd_replica::api::{KeyRange, PutRequest, RangeRequest, Request, RequestOp, TxnRequest};
    use detcd_replica::history::Operation;
    use detcd_replica::MemberId;

    use super::*;

    fn txn(success: Vec<RequestOp>) -> TxnRequest {
        TxnRequest { compare: Vec::new(), success, failure: Vec::new() }
    }

    fn found(request: TxnRequest, error: Error) -> bool {
        let (member, user, request) = (MemberId(1), String::new(), Request::Txn(request));
        let outcome = Outcome::Failed { at: 2, error };
        let operations = vec![Operation { client: 1, member, user, call: 1, request, outcome }];
        check(&History { operations, watches: Vec::new() }).is_some()
    }

    #[test]
    fn what_is_refused_is_malformed() {
        let put = |key: &'static str| RequestOp::Put(PutRequest::of(key, "1"));
        let reads = |count| vec![RequestOp::Range(RangeRequest::of(KeyRange::single("a"))); count];
        let inside = |ops| RequestOp::Txn(Box::new(txn(ops)));
        assert!(!found(txn(vec![put("a"), put("a")]), Error::DuplicateKey));
        assert!(!found(txn(vec![put("a"), inside(vec![put("a")])]), Error::DuplicateKey));
        assert!(found(txn(vec![put("a"), inside(vec![put("b")])]), Error::DuplicateKey));
        assert!(!found(txn(reads(129)), Error::TooManyOps));
        assert!(found(txn(reads(128)), Error::TooManyOps));
        // What is inside has less room.
        assert!(!found(txn(vec![inside(reads(128))]), Error::TooManyOps));
        assert!(found(txn(vec![inside(reads(127))]), Error::TooManyOps));
        // What depends on the store is not judged here.
        assert!(!found(txn(reads(1)), Error::LeaseNotFound));
    }
}
