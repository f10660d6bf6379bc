//! Applying requests to the store: put, delete, and transactions with their compares.
//!
//! A transaction decides all its branches first, nested ones too, on the state before it; then it checks
//! everything that could fail; then it runs. So an error means that nothing was written (etcd#18679), and a
//! nested compare does not see what the transaction writes before it, as in etcd.

use super::range::RangeResult;
use super::{Batch, Store, WriteTxn};
use crate::api::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Error, KeyRange, KeyValue, LeaseId, PutRequest,
    RangeRequest, RequestOp, ResponseBody, TxnRequest, WatchEvent,
};
use crate::lease::Lessor;
use crate::time::Monotonic;
use crate::{Bug, MemberId};

/// Whether a transaction only reads, whichever branch it takes. As in etcd a transaction inside it counts as a write.
pub fn is_read_only(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| matches!(op, RequestOp::Range(_)))
}

/// Whether a member may answer a transaction alone: it only reads, and every read is serializable.
pub fn is_serializable(txn: &TxnRequest) -> bool {
    let alone = |op: &RequestOp| matches!(op, RequestOp::Range(range) if range.serializable);
    txn.success.iter().chain(&txn.failure).all(alone)
}

/// What a request is applied to, beside the store.
pub struct Parts<'a> {
    /// The backend's open batch.
    pub batch: &'a mut dyn Batch,
    /// The leases.
    pub lessor: &'a mut Lessor,
    /// The member's clock. Nothing may depend on it.
    pub now: Monotonic,
}

/// What applying a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The answer.
    pub result: Result<ResponseBody, Error>,
    /// The events of the new revision; none when nothing was written.
    pub events: Vec<WatchEvent>,
    /// Whether etcd takes the batch's lock for it, and so moves the consistent index there.
    pub locked: bool,
}

impl Applied {
    /// It was refused before anything was looked at or locked.
    pub fn refused(error: Error) -> Self {
        Self { result: Err(error), events: Vec::new(), locked: false }
    }
}

/// What to do with the reads in a transaction that is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Somebody here waits for the answer.
    Answered,
    /// Nobody does: they are checked, as on every member, but not made.
    Checked,
}

impl Store {
    /// A put: `LeaseNotFound`, or `KeyNotFound` when something is to be kept of a key that is not there.
    pub fn apply_put(&mut self, parts: Parts<'_>, request: &PutRequest) -> Applied {
        if let Err(error) = check_lease(&parts, request.lease) {
            return Applied::refused(error);
        }
        let mut txn = self.txn(parts.batch, parts.lessor);
        let result = put(&mut txn, request);
        Applied { result, events: txn.end(), locked: true }
    }

    /// A delete.
    pub fn apply_delete_range(&mut self, parts: Parts<'_>, request: &DeleteRangeRequest) -> Applied {
        let mut txn = self.txn(parts.batch, parts.lessor);
        let body = delete_range(&mut txn, request);
        Applied { result: Ok(body), events: txn.end(), locked: true }
    }

    /// A transaction. Refused with `Compacted`, `FutureRevision`, `LeaseNotFound` or `KeyNotFound` for the first
    /// operation on its path that cannot be; nothing was written then.
    pub fn apply_txn(&mut self, parts: Parts<'_>, request: &TxnRequest, reads: Reads) -> Applied {
        let path = self.path(parts.batch, request);
        let checked = match self.bugs.has(Bug::TxnPartialOnError) {
            // Only what the lessor would not stand is looked at before.
            true => for_each_op(request, &mut path.iter().copied(), 0, &mut |op, _| match op {
                RequestOp::Put(put) => check_lease(&parts, put.lease),
                _ => Ok(()),
            }),
            false => self.check_txn(&parts, request, &path, reads),
        };
        if let Err(error) = checked {
            return Applied::refused(error);
        }
        let mut txn = self.txn(parts.batch, parts.lessor);
        let result = run(request, &mut path.into_iter(), &mut |op| match op {
            RequestOp::Range(_) if reads == Reads::Checked => Ok(RangeResult::default().into()),
            RequestOp::Range(request) => txn.range(request).map(Into::into),
            RequestOp::Put(request) => put(&mut txn, request),
            RequestOp::DeleteRange(request) => Ok(delete_range(&mut txn, request)),
            RequestOp::Txn(_) => unreachable!("run goes into transactions itself"),
        });
        let events = txn.end();
        let checked = !self.bugs.has(Bug::TxnPartialOnError);
        assert!(result.is_ok() || !checked, "unexpected error during txn with writes: {result:?}");
        Applied { result, events, locked: !is_read_only(request) }
    }

    /// The end of a lease: its keys are deleted, in one revision, and it is gone with them.
    pub fn apply_lease_revoke(&mut self, parts: Parts<'_>, id: LeaseId, member: MemberId) -> Applied {
        let keys = match parts.lessor.keys_to_revoke(id, member) {
            Ok(keys) => keys,
            Err(error) => return Applied::refused(error),
        };
        let mut txn = self.txn(parts.batch, parts.lessor);
        for key in keys {
            txn.delete_range(&KeyRange::single(key));
        }
        let events = txn.end();
        // In the same transaction as the keys. With the bug the backend forgets it later.
        if self.bugs.has(Bug::LeaseDeleteSplitTxn) {
            parts.lessor.forget(id);
        } else {
            parts.lessor.remove(parts.batch, id);
        }
        Applied { result: Ok(ResponseBody::LeaseRevoke), events, locked: true }
    }

    /// A transaction that only reads, on the state as it is.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`.
    pub fn read_txn(&self, batch: &dyn Batch, request: &TxnRequest) -> Result<ResponseBody, Error> {
        assert!(is_read_only(request), "a transaction that writes must be applied");
        let path = self.path(batch, request);
        for op in branch(request, path[0]) {
            if let RequestOp::Range(range) = op {
                self.check_revision(range)?;
            }
        }
        run(request, &mut path.into_iter(), &mut |op| match op {
            RequestOp::Range(request) => self.range(batch, request).map(Into::into),
            _ => unreachable!("it only reads"),
        })
    }

    /// The branches that the transaction takes, in the order of running.
    fn path(&self, batch: &dyn Batch, request: &TxnRequest) -> Vec<bool> {
        let mut path = Vec::with_capacity(1);
        self.choose(batch, request, &mut path);
        path
    }

    /// Whether every operation on the path will succeed, in etcd's order: one operation after the other.
    fn check_txn(&self, parts: &Parts<'_>, request: &TxnRequest, path: &[bool], reads: Reads) -> Result<(), Error> {
        // Members where nobody waited once left the reads of a transaction out, checks and all (etcd#18667).
        let stripped = reads == Reads::Checked && self.bugs.has(Bug::TxnRangeStrippedUnlessWaiter);
        // etcd looks at the state before the transaction only. What is put must still be there when it is its turn; if
        // it is not, that is refused when there is nothing else to refuse.
        let (mut deleted, mut kept_gone): (Vec<&KeyRange>, bool) = (Vec::new(), false);
        for_each_op(request, &mut path.iter().copied(), 0, &mut |op, level| match op {
            RequestOp::Range(_) if stripped && level == 0 => Ok(()),
            RequestOp::Range(range) => self.check_revision(range),
            RequestOp::Put(put) => {
                let keeps = put.ignore_value || put.ignore_lease;
                if keeps && !self.has(&put.key) {
                    return Err(Error::KeyNotFound);
                }
                kept_gone |= keeps && deleted.iter().any(|range| range.contains(&put.key));
                check_lease(parts, put.lease)
            }
            RequestOp::DeleteRange(delete) => {
                deleted.push(&delete.range);
                Ok(())
            }
            RequestOp::Txn(_) => Ok(()),
        })?;
        match kept_gone && !self.bugs.has(Bug::TxnKeepsWhatItDeletes) {
            true => Err(Error::KeyNotFound),
            false => Ok(()),
        }
    }

    /// Unlike alone, inside a transaction a revision below 0 is one that may have been compacted.
    fn check_revision(&self, range: &RangeRequest) -> Result<(), Error> {
        match range.revision {
            0 => Ok(()),
            revision if revision > self.revision => Err(Error::FutureRevision),
            revision if revision < self.compact_revision => Err(Error::Compacted),
            _ => Ok(()),
        }
    }

    fn has(&self, key: &[u8]) -> bool {
        self.index.live(key).is_some()
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

/// Shows the operations that run, in order, with how deep they are, until one is refused.
fn for_each_op<'r>(
    request: &'r TxnRequest,
    path: &mut dyn Iterator<Item = bool>,
    level: usize,
    visit: &mut dyn FnMut(&'r RequestOp, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    for op in branch(request, next_branch(path)) {
        match op {
            RequestOp::Txn(inner) => for_each_op(inner, path, level + 1, visit)?,
            _ => visit(op, level)?,
        }
    }
    Ok(())
}

/// Runs a transaction along its path, up to the first operation that fails.
fn run(
    request: &TxnRequest,
    path: &mut dyn Iterator<Item = bool>,
    execute: &mut dyn FnMut(&RequestOp) -> Result<ResponseBody, Error>,
) -> Result<ResponseBody, Error> {
    let succeeded = next_branch(path);
    let one = |op: &RequestOp| match op {
        RequestOp::Txn(inner) => run(inner, path, execute),
        _ => execute(op),
    };
    let ops = branch(request, succeeded);
    // Answers are kept: they take no more room than they need.
    let mut responses = Vec::with_capacity(ops.len());
    for response in ops.iter().map(one) {
        responses.push(response?);
    }
    Ok(ResponseBody::Txn { succeeded, responses })
}

fn check_lease(parts: &Parts<'_>, lease: LeaseId) -> Result<(), Error> {
    if lease == 0 || parts.lessor.is_alive(lease, parts.now) {
        Ok(())
    } else {
        Err(Error::LeaseNotFound)
    }
}

fn put(txn: &mut WriteTxn<'_>, request: &PutRequest) -> Result<ResponseBody, Error> {
    let keeps = request.ignore_value || request.ignore_lease;
    let before = match request.prev_kv || keeps {
        true => read(txn, KeyRange::single(request.key.clone())).pop(),
        false => None,
    };
    let (mut value, mut lease) = (request.value.clone(), request.lease);
    if keeps {
        let before = before.as_ref().ok_or(Error::KeyNotFound)?;
        if request.ignore_value {
            value = before.value.clone();
        }
        if request.ignore_lease {
            lease = before.lease;
        }
    }
    txn.put(request.key.clone(), value, lease);
    Ok(ResponseBody::Put { prev_kv: before.filter(|_| request.prev_kv) })
}

fn delete_range(txn: &mut WriteTxn<'_>, request: &DeleteRangeRequest) -> ResponseBody {
    let prev_kvs = if request.prev_kv { read(txn, request.range.clone()) } else { Vec::new() };
    ResponseBody::DeleteRange { deleted: txn.delete_range(&request.range), prev_kvs }
}

fn read(txn: &WriteTxn<'_>, range: KeyRange) -> Vec<KeyValue> {
    txn.range(&RangeRequest::of(range)).expect("the newest revision is readable").kvs
}
