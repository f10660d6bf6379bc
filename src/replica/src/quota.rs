//! What a request costs of the backend's quota: an estimate of the bytes that it will add.

use crate::api::{PutRequest, Request, RequestOp, TxnRequest};
use crate::{Bug, Bugs};

/// What a key takes beside itself and its value.
const KEY_OVERHEAD: u64 = 256;
/// What a lease takes.
const LEASE_OVERHEAD: u64 = 64;

/// Bytes; 0 for a request that is never refused for lack of space.
pub(crate) fn cost(request: &Request, bugs: Bugs) -> u64 {
    match request {
        Request::Put(put) => cost_of_put(put),
        Request::Txn(txn) => cost_of_txn(txn, bugs),
        Request::LeaseGrant(_) => LEASE_OVERHEAD,
        _ => 0,
    }
}

fn cost_of_put(put: &PutRequest) -> u64 {
    KEY_OVERHEAD + put.key.len() as u64 + put.value.len() as u64
}

/// Of the dearer of its branches.
fn cost_of_txn(txn: &TxnRequest, bugs: Bugs) -> u64 {
    let one = |op: &RequestOp| match op {
        RequestOp::Put(put) => cost_of_put(put),
        RequestOp::Txn(inner) if !bugs.has(Bug::NestedTxnFree) => cost_of_txn(inner, bugs),
        RequestOp::Txn(_) | RequestOp::Range(_) | RequestOp::DeleteRange(_) => 0,
    };
    let branch = |ops: &[RequestOp]| ops.iter().map(one).sum::<u64>();
    branch(&txn.success).max(branch(&txn.failure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DeleteRangeRequest, KeyRange, LeaseGrantRequest, RangeRequest};

    #[test]
    fn costs_are_etcds() {
        let put = |value: &'static str| RequestOp::Put(PutRequest::of("key", value));
        let txn = |success: Vec<RequestOp>, failure: Vec<RequestOp>| TxnRequest { compare: vec![], success, failure };
        let nested = txn(vec![RequestOp::Txn(Box::new(txn(vec![put("")], vec![])))], vec![]);
        let range = KeyRange::single("key");
        let delete = DeleteRangeRequest { range: range.clone(), prev_kv: true };
        for (request, expect) in [
            (Request::Put(PutRequest::of("key", "value")), 264),
            (Request::Txn(txn(vec![put("v")], vec![put(""), put("")])), 518),
            (Request::Txn(txn(vec![put("v")], vec![])), 260),
            (Request::Txn(nested.clone()), 259),
            (Request::Txn(txn(vec![RequestOp::Range(RangeRequest::of(range.clone()))], vec![])), 0),
            (Request::DeleteRange(delete), 0),
            (Request::LeaseGrant(LeaseGrantRequest { id: 1, ttl: 5 }), 64),
            (Request::LeaseRevoke { id: 1 }, 0),
        ] {
            assert_eq!(cost(&request, Bugs::NONE), expect, "{request:?}");
        }
        assert_eq!(cost(&Request::Txn(nested), Bugs::NONE.with(Bug::NestedTxnFree)), 0);
    }
}
