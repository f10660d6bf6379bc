//! Applying requests to the store: put, delete, and transactions with their compares.
//!
//! A transaction decides all its branches first, nested ones too, on the state before it; then it checks
//! everything that could fail; then it runs. So an error means that nothing was written (etcd#18679), and a
//! nested compare does not see what the transaction writes before it, as in etcd.

use super::{Batch, Store, WriteTxn};
use crate::api::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Error, KeyRange, KeyValue, LeaseId, PutRequest,
    RangeRequest, RequestOp, ResponseBody, TxnRequest, WatchEvent,
};

/// Whether a transaction writes nothing, whichever branches it takes.
pub fn is_read_only(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match op {
        RequestOp::Range(_) => true,
        RequestOp::Put(_) | RequestOp::DeleteRange(_) => false,
        RequestOp::Txn(inner) => is_read_only(inner),
    })
}

/// Whether a member may answer a transaction alone: it only reads, and every read is serializable.
pub fn is_serializable(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match op {
        RequestOp::Range(range) => range.serializable,
        RequestOp::Put(_) | RequestOp::DeleteRange(_) => false,
        RequestOp::Txn(inner) => is_serializable(inner),
    })
}

impl Store {
    /// A put, with the event for its watchers.
    ///
    /// # Errors
    /// `LeaseNotFound` for any lease: this store knows none.
    pub fn apply_put(
        &mut self,
        batch: &mut dyn Batch,
        request: &PutRequest,
    ) -> Result<(ResponseBody, Vec<WatchEvent>), Error> {
        check_lease(request.lease)?;
        let mut txn = self.txn(batch);
        let body = put(&mut txn, request);
        Ok((body, txn.end()))
    }

    /// A delete, with the events for its watchers: none when no key was there.
    pub fn apply_delete_range(
        &mut self,
        batch: &mut dyn Batch,
        request: &DeleteRangeRequest,
    ) -> (ResponseBody, Vec<WatchEvent>) {
        let mut txn = self.txn(batch);
        let body = delete_range(&mut txn, request);
        (body, txn.end())
    }

    /// A transaction, with the events for its watchers.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`, `LeaseNotFound` of an operation that it would have run. Nothing was
    /// written then.
    pub fn apply_txn(
        &mut self,
        batch: &mut dyn Batch,
        request: &TxnRequest,
    ) -> Result<(ResponseBody, Vec<WatchEvent>), Error> {
        let path = self.checked_path(batch, request)?;
        let mut txn = self.txn(batch);
        let body = run(request, &mut path.into_iter(), &mut |op| match op {
            RequestOp::Range(request) => txn.range(request).expect("its revision was checked").into(),
            RequestOp::Put(request) => put(&mut txn, request),
            RequestOp::DeleteRange(request) => delete_range(&mut txn, request),
            RequestOp::Txn(_) => unreachable!("run goes into transactions itself"),
        });
        Ok((body, txn.end()))
    }

    /// A transaction that only reads, on the state as it is.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`.
    pub fn read_txn(&self, batch: &dyn Batch, request: &TxnRequest) -> Result<ResponseBody, Error> {
        assert!(is_read_only(request), "a transaction that writes must be applied");
        let path = self.checked_path(batch, request)?;
        Ok(run(request, &mut path.into_iter(), &mut |op| match op {
            RequestOp::Range(request) => self.range(batch, request).expect("its revision was checked").into(),
            _ => unreachable!("it only reads"),
        }))
    }

    /// The branches that the transaction takes, in the order of running, once every operation on them is
    /// known to succeed.
    fn checked_path(&self, batch: &dyn Batch, request: &TxnRequest) -> Result<Vec<bool>, Error> {
        let mut path = Vec::new();
        self.choose(batch, request, &mut path);
        for_each_op(request, &mut path.iter().copied(), &mut |op| match op {
            RequestOp::Put(put) => check_lease(put.lease),
            _ => Ok(()),
        })?;
        for_each_op(request, &mut path.iter().copied(), &mut |op| match op {
            RequestOp::Range(range) => self.readable(range.revision, self.revision).map(|_| ()),
            _ => Ok(()),
        })?;
        Ok(path)
    }

    fn choose(&self, batch: &dyn Batch, request: &TxnRequest, path: &mut Vec<bool>) {
        let succeeded = request.compare.iter().all(|compare| self.holds(batch, compare));
        path.push(succeeded);
        for op in branch(request, succeeded) {
            if let RequestOp::Txn(inner) = op {
                self.choose(batch, inner, path);
            }
        }
    }

    /// Whether a compare holds for every key in its range; on no key at all it is made with an absent one.
    fn holds(&self, batch: &dyn Batch, compare: &Compare) -> bool {
        let found =
            self.range(batch, &RangeRequest::of(compare.range.clone())).expect("the newest revision is readable");
        if found.kvs.is_empty() {
            // A value comparison with an absent key is false, even with the empty value.
            let absent = super::proto::only_key(compare.range.start.clone(), 0);
            return !matches!(compare.target, CompareTarget::Value(_)) && holds_for(compare, &absent);
        }
        found.kvs.iter().all(|kv| holds_for(compare, kv))
    }
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let ordering = match &compare.target {
        CompareTarget::Version(version) => kv.version.cmp(version),
        CompareTarget::Create(revision) => kv.create_revision.cmp(revision),
        CompareTarget::Mod(revision) => kv.mod_revision.cmp(revision),
        CompareTarget::Value(value) => kv.value.cmp(value),
        CompareTarget::Lease(lease) => kv.lease.cmp(lease),
    };
    match compare.result {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
        CompareResult::NotEqual => ordering.is_ne(),
    }
}

fn branch(request: &TxnRequest, succeeded: bool) -> &[RequestOp] {
    if succeeded {
        &request.success
    } else {
        &request.failure
    }
}

fn next_branch(path: &mut dyn Iterator<Item = bool>) -> bool {
    path.next().expect("the path has a branch for each transaction on it")
}

/// Shows the operations that run, in order, until one is refused.
fn for_each_op(
    request: &TxnRequest,
    path: &mut dyn Iterator<Item = bool>,
    visit: &mut dyn FnMut(&RequestOp) -> Result<(), Error>,
) -> Result<(), Error> {
    for op in branch(request, next_branch(path)) {
        match op {
            RequestOp::Txn(inner) => for_each_op(inner, path, visit)?,
            _ => visit(op)?,
        }
    }
    Ok(())
}

/// Runs a transaction along its path.
fn run(
    request: &TxnRequest,
    path: &mut dyn Iterator<Item = bool>,
    execute: &mut dyn FnMut(&RequestOp) -> ResponseBody,
) -> ResponseBody {
    let succeeded = next_branch(path);
    let one = |op: &RequestOp| match op {
        RequestOp::Txn(inner) => run(inner, path, execute),
        _ => execute(op),
    };
    ResponseBody::Txn { succeeded, responses: branch(request, succeeded).iter().map(one).collect() }
}

fn check_lease(lease: LeaseId) -> Result<(), Error> {
    if lease == 0 {
        Ok(())
    } else {
        Err(Error::LeaseNotFound)
    }
}

fn put(txn: &mut WriteTxn<'_>, request: &PutRequest) -> ResponseBody {
    let prev_kv = if request.prev_kv { read(txn, KeyRange::single(request.key.clone())).pop() } else { None };
    txn.put(request.key.clone(), request.value.clone(), request.lease);
    ResponseBody::Put { prev_kv }
}

fn delete_range(txn: &mut WriteTxn<'_>, request: &DeleteRangeRequest) -> ResponseBody {
    let prev_kvs = if request.prev_kv { read(txn, request.range.clone()) } else { Vec::new() };
    ResponseBody::DeleteRange { deleted: txn.delete_range(&request.range), prev_kvs }
}

fn read(txn: &WriteTxn<'_>, range: KeyRange) -> Vec<KeyValue> {
    txn.range(&RangeRequest::of(range)).expect("the newest revision is readable").kvs
}
