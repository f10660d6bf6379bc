//! What a request needs, by etcd's documentation of role-based access control, and when permissions are enough for it.
//!
//! Ranges count as they are asked for, whatever keys are there; both branches of a transaction count, with all that is
//! nested in them. Who asks, and what it may, is not known here.

use detcd_replica::api::{
    DeleteRangeRequest, Key, KeyRange, LeaseId, PutRequest, RangeEnd, Request, RequestOp, TxnRequest,
};

/// What is to be done to keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// Look, also at what was there before a write.
    Read,
    /// Put and delete.
    Write,
}

/// One thing that a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Access to all keys of a range.
    Keys(Access, KeyRange),
    /// Write access to the keys of a lease: who attaches a key to it, or revokes it, can make them go.
    Lease(LeaseId),
}

/// Everything that the request needs; nothing where it needs no keys.
pub(crate) fn needs(request: &Request) -> Vec<Need> {
    let mut needs = Vec::new();
    match request {
        Request::Range(range) => needs.push(Need::Keys(Access::Read, range.range.clone())),
        Request::Put(put) => of_put(put, &mut needs),
        Request::DeleteRange(delete) => of_delete(delete, &mut needs),
        Request::Txn(txn) => of_txn(txn, &mut needs),
        Request::LeaseRevoke { id } => needs.push(Need::Lease(*id)),
        _ => {}
    }
    needs
}

fn of_put(put: &PutRequest, needs: &mut Vec<Need>) {
    let key = KeyRange::single(put.key.clone());
    if put.lease != 0 {
        needs.push(Need::Lease(put.lease));
    }
    if put.prev_kv {
        needs.push(Need::Keys(Access::Read, key.clone()));
    }
    needs.push(Need::Keys(Access::Write, key));
}

fn of_delete(delete: &DeleteRangeRequest, needs: &mut Vec<Need>) {
    if delete.prev_kv {
        needs.push(Need::Keys(Access::Read, delete.range.clone()));
    }
    needs.push(Need::Keys(Access::Write, delete.range.clone()));
}

fn of_txn(txn: &TxnRequest, needs: &mut Vec<Need>) {
    needs.extend(txn.compare.iter().map(|compare| Need::Keys(Access::Read, compare.range.clone())));
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            RequestOp::Range(range) => needs.push(Need::Keys(Access::Read, range.range.clone())),
            RequestOp::Put(put) => of_put(put, needs),
            RequestOp::DeleteRange(delete) => of_delete(delete, needs),
            RequestOp::Txn(inner) => of_txn(inner, needs),
        }
    }
}

/// Whether these ranges, taken together, hold the whole of another.
pub(crate) fn together(ranges: impl Iterator<Item = KeyRange>, range: &KeyRange) -> bool {
    let mut spans: Vec<(Key, Option<Key>)> = ranges.map(|range| span(&range)).collect();
    if range.end == RangeEnd::Single {
        return spans.iter().any(|(from, to)| *from <= range.start && before(&range.start, to));
    }
    let (from, to) = span(range);
    spans.retain(|(begin, end)| before(begin, &to) && before(&from, end));
    spans.sort();
    let mut spans = spans.into_iter();
    let Some((first, mut reached)) = spans.next() else { return false };
    for (begin, end) in spans {
        if reached.as_ref().is_some_and(|reached| *reached < begin) {
            return false;
        }
        reached = match (reached, end) {
            (Some(reached), Some(end)) => Some(reached.max(end)),
            _ => None,
        };
    }
    let to_the_end = match (&reached, &to) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(reached), Some(to)) => reached >= to,
    };
    first <= from && to_the_end
}

/// The range as a first key, and the first behind it; `None` when it has no end.
fn span(range: &KeyRange) -> (Key, Option<Key>) {
    let end = match &range.end {
        RangeEnd::Single => Some([&range.start[..], b"\0"].concat().into()),
        RangeEnd::Open => None,
        RangeEnd::Before(end) => Some(end.clone()),
    };
    (range.start.clone(), end)
}

fn before(key: &Key, end: &Option<Key>) -> bool {
    end.as_ref().is_none_or(|end| key < end)
}

#[cfg(test)]
mod tests {
    use detcd_replica::api::RangeRequest;

    use super::*;

    #[test]
    fn what_is_nested_is_needed_as_well() {
        let key = |key: &'static str| KeyRange::single(key);
        let put = PutRequest { prev_kv: true, lease: 7, ..PutRequest::of("a", "v") };
        let inner = TxnRequest { compare: vec![], success: vec![], failure: vec![RequestOp::Put(put)] };
        let success = vec![RequestOp::Range(RangeRequest::of(key("b"))), RequestOp::Txn(Box::new(inner))];
        let txn = Request::Txn(TxnRequest { compare: vec![], success, failure: vec![] });
        let expect = [
            Need::Keys(Access::Read, key("b")),
            Need::Lease(7),
            Need::Keys(Access::Read, key("a")),
            Need::Keys(Access::Write, key("a")),
        ];
        assert_eq!(needs(&txn), expect);
        assert!(needs(&Request::Status).is_empty());
    }
}
