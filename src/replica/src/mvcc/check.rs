//! What a request must satisfy before it is proposed, whatever the state of the store.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::api::{Error, KeyRange, PutRequest, RangeEnd, Request, RequestOp, TxnRequest};

/// Refuses requests that no member would apply.
///
/// # Errors
/// `EmptyKey`, `ValueProvided` and `LeaseProvided` (beside one to keep), `TooManyOps` (more compares or operations than
/// `max_txn_ops` in one list, with those of the transactions around it), `DuplicateKey` (a transaction puts a key
/// twice, or puts what it deletes).
pub fn check_request(request: &Request, max_txn_ops: usize) -> Result<(), Error> {
    match request {
        Request::Range(range) => check_key(&range.range.start),
        Request::Put(put) => check_put(put),
        Request::DeleteRange(delete) => check_key(&delete.range.start),
        Request::Txn(txn) => {
            check_txn(txn, max_txn_ops)?;
            check_intervals(&txn.success)?;
            check_intervals(&txn.failure).map(|_| ())
        }
        _ => Ok(()),
    }
}

fn check_put(put: &PutRequest) -> Result<(), Error> {
    check_key(&put.key)?;
    if put.ignore_value && !put.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

fn check_key(key: &Bytes) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::EmptyKey);
    }
    Ok(())
}

fn check_txn(txn: &TxnRequest, max_ops: usize) -> Result<(), Error> {
    let ops = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    // What is inside may use only what is left.
    let left = max_ops.checked_sub(ops).ok_or(Error::TooManyOps)?;
    txn.compare.iter().try_for_each(|compare| check_key(&compare.range.start))?;
    txn.success.iter().chain(&txn.failure).try_for_each(|op| match op {
        RequestOp::Range(range) => check_key(&range.range.start),
        RequestOp::Put(put) => check_put(put),
        RequestOp::DeleteRange(delete) => check_key(&delete.range.start),
        RequestOp::Txn(inner) => check_txn(inner, left),
    })
}

/// What a list of operations may write: keys put, and ranges deleted.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a Bytes>,
    deletes: Vec<&'a KeyRange>,
}

impl<'a> Writes<'a> {
    fn add_put(&mut self, key: &'a Bytes, twice_is_fine: bool) -> Result<(), Error> {
        let is_new = self.puts.insert(key);
        if (!is_new && !twice_is_fine) || self.deletes.iter().any(|range| range.contains(key)) {
            return Err(Error::DuplicateKey);
        }
        Ok(())
    }
}

/// Refuses a list that puts a key twice, or puts a key that it deletes. Transactions inside count with both
/// branches, which may put the same key, because only one of them runs. A put of an earlier inner transaction
/// may be deleted by a later one: etcd lets it pass. It lets pass, too, whatever is put beside a delete of every key
/// from some key on: its tree of intervals takes that end, a zero byte, for the lowest of all keys.
fn check_intervals(ops: &[RequestOp]) -> Result<Writes<'_>, Error> {
    let mut writes = Writes::default();
    for op in ops {
        match op {
            RequestOp::DeleteRange(delete) if delete.range.end != RangeEnd::Open => writes.deletes.push(&delete.range),
            _ => {}
        }
    }
    for op in ops {
        let RequestOp::Txn(inner) = op else { continue };
        let success = check_intervals(&inner.success)?;
        let failure = check_intervals(&inner.failure)?;
        for key in &success.puts {
            writes.add_put(key, false)?;
        }
        for key in &failure.puts {
            writes.add_put(key, success.puts.contains(key))?;
        }
        writes.deletes.extend(success.deletes);
        writes.deletes.extend(failure.deletes);
    }
    for op in ops {
        if let RequestOp::Put(put) = op {
            writes.add_put(&put.key, false)?;
        }
    }
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{DeleteRangeRequest, RangeRequest};

    fn put(key: &str) -> RequestOp {
        RequestOp::Put(PutRequest::of(key.to_owned(), ""))
    }

    fn delete(prefix: &str) -> RequestOp {
        let range = KeyRange::prefix(prefix.to_owned());
        RequestOp::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
    }

    fn txn(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> RequestOp {
        RequestOp::Txn(Box::new(TxnRequest { compare: vec![], success, failure }))
    }

    fn check(success: Vec<RequestOp>, failure: Vec<RequestOp>) -> Result<(), Error> {
        check_request(&Request::Txn(TxnRequest { compare: vec![], success, failure }), 4)
    }

    #[test]
    fn a_key_may_be_written_once() {
        let duplicate = Err(Error::DuplicateKey);
        assert_eq!(check(vec![put("a"), put("b")], vec![put("a")]), Ok(()));
        assert_eq!(check(vec![put("a"), put("a")], vec![]), duplicate);
        assert_eq!(check(vec![], vec![put("ab"), delete("a")]), duplicate);
        assert_eq!(check(vec![put("b"), delete("a")], vec![]), Ok(()));
        assert_eq!(check(vec![delete("a"), delete("a")], vec![]), Ok(()));
        // Across the levels.
        assert_eq!(check(vec![put("a"), txn(vec![], vec![put("a")])], vec![]), duplicate);
        assert_eq!(check(vec![txn(vec![put("a")], vec![put("a")])], vec![]), Ok(()));
        assert_eq!(check(vec![txn(vec![put("a")], vec![]), txn(vec![put("a")], vec![])], vec![]), duplicate);
        assert_eq!(check(vec![txn(vec![put("a")], vec![]), txn(vec![], vec![put("a")])], vec![]), duplicate);
        assert_eq!(check(vec![delete("a"), txn(vec![put("ab")], vec![])], vec![]), duplicate);
        assert_eq!(check(vec![txn(vec![delete("a")], vec![]), put("ab")], vec![]), duplicate);
        assert_eq!(check(vec![txn(vec![delete("a")], vec![]), txn(vec![put("a")], vec![])], vec![]), duplicate);
        assert_eq!(check(vec![txn(vec![put("a")], vec![]), txn(vec![delete("a")], vec![])], vec![]), Ok(()));
        // An open end is no hindrance.
        assert_eq!(check(vec![put("a"), delete("")], vec![]), Ok(()));
    }

    #[test]
    fn what_is_to_be_kept_is_not_given() {
        let put = |value: &str, lease, ignore_value, ignore_lease| {
            let put = PutRequest { lease, ignore_value, ignore_lease, ..PutRequest::of("a", value.to_owned()) };
            let inside = check(vec![RequestOp::Put(put.clone())], vec![]);
            assert_eq!(check_request(&Request::Put(put), 4), inside);
            inside
        };
        assert_eq!(put("v", 0, true, false), Err(Error::ValueProvided));
        assert_eq!(put("", 7, true, true), Err(Error::LeaseProvided));
        assert_eq!(put("", 7, true, false), Ok(()));
        assert_eq!(put("v", 0, false, true), Ok(()));
    }

    #[test]
    fn number_and_keys_are_bounded() {
        let many = |n: usize| (0..n).map(|i| put(&i.to_string())).collect::<Vec<_>>();
        assert_eq!(check(many(4), vec![]), Ok(()));
        assert_eq!(check(vec![], many(5)), Err(Error::TooManyOps));
        // One operation outside leaves three inside.
        assert_eq!(check(vec![txn(many(3), vec![])], vec![]), Ok(()));
        assert_eq!(check(vec![txn(many(4), vec![])], vec![]), Err(Error::TooManyOps));
        assert_eq!(check(vec![put("")], vec![]), Err(Error::EmptyKey));
        let range = |key: &'static str| Request::Range(RangeRequest::of(KeyRange::single(key)));
        assert_eq!(check_request(&range(""), 4), Err(Error::EmptyKey));
        assert_eq!(check_request(&range("a"), 4), Ok(()));
    }
}
