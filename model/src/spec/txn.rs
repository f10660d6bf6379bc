//! Transactions: three steps, as etcd's documentation of `Txn` has it. A transaction is checked (an error leaves no
//! trace), its path is chosen (every compare, nested ones too, is decided on the state before the transaction), and
//! it runs.

use std::collections::BTreeSet;

use detcd_replica::api::{
    Compare, CompareResult, CompareTarget, Error, Key, KeyRange, RangeEnd, RequestOp, ResponseBody, Revision,
    TxnRequest,
};

use super::rules::{check_kept, check_key, check_put, check_put_request, write_delete, write_put};
use super::{overlap, reads, Keyspace, Record, NEWEST};

/// etcd's `--max-txn-ops`, by default.
const OPERATIONS_MAX: usize = 128;

pub(super) fn apply(
    space: &mut impl Keyspace,
    txn: &TxnRequest,
    revision: Revision,
    changed: &mut bool,
) -> Result<ResponseBody, Error> {
    refused(txn)?;
    let path = choose(space, txn);
    if check_path(space, txn, &path, &mut Vec::new())? {
        return Err(Error::KeyNotFound);
    }
    Ok(run(space, txn, &path, revision, changed))
}

/// What is refused whatever the state is.
pub(super) fn refused(txn: &TxnRequest) -> Result<(), Error> {
    check_length(txn, OPERATIONS_MAX)?;
    check_txn(txn)?;
    for ops in [&txn.success, &txn.failure] {
        // One operation is beside no other.
        if !matches!(&ops[..], [] | [RequestOp::Range(_) | RequestOp::Put(_) | RequestOp::DeleteRange(_)]) {
            writes_of(ops)?;
        }
    }
    Ok(())
}

/// No list of compares or operations is longer than `most`, what the transactions around it have taken deducted.
fn check_length(txn: &TxnRequest, most: usize) -> Result<(), Error> {
    let longest = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    let left = most.checked_sub(longest).ok_or(Error::TooManyOps)?;
    txn.success.iter().chain(&txn.failure).try_for_each(|op| match op {
        RequestOp::Txn(inner) => check_length(inner, left),
        _ => Ok(()),
    })
}

/// What is wrong with a single part of it.
fn check_txn(txn: &TxnRequest) -> Result<(), Error> {
    for compare in &txn.compare {
        check_key(&compare.range)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            RequestOp::Range(range) => check_key(&range.range)?,
            RequestOp::Put(put) => check_put_request(put)?,
            RequestOp::DeleteRange(delete) => check_key(&delete.range)?,
            RequestOp::Txn(inner) => check_txn(inner)?,
        }
    }
    Ok(())
}

/// What a list of operations may put and delete. No key may be put twice, or put and deleted, save in branches of
/// which only one runs. Deleting twice is allowed.
///
/// etcd's documentation says only that a key must not be changed twice; which pairs it finds is a fact of its
/// checker. It collects the deletes of the list, then goes through the transactions inside, in order, then through
/// the puts of the list. So a put in one inner transaction before a delete of the same key in a later one passes; and
/// so does any put beside a delete without an end, which it takes for an empty range.
fn writes_of(ops: &[RequestOp]) -> Result<Writes, Error> {
    let mut writes = Writes::default();
    for op in ops {
        match op {
            RequestOp::DeleteRange(delete) if delete.range.end != RangeEnd::Open => {
                writes.deletes.push(delete.range.clone());
            }
            _ => {}
        }
    }
    for op in ops {
        let RequestOp::Txn(inner) = op else { continue };
        let (success, failure) = (writes_of(&inner.success)?, writes_of(&inner.failure)?);
        for key in success.puts.union(&failure.puts) {
            writes.check(key)?;
        }
        writes.puts.extend(success.puts);
        writes.puts.extend(failure.puts);
        writes.deletes.extend(success.deletes);
        writes.deletes.extend(failure.deletes);
    }
    for op in ops {
        if let RequestOp::Put(put) = op {
            writes.check(&put.key)?;
            writes.puts.insert(put.key.clone());
        }
    }
    Ok(writes)
}

#[derive(Default)]
struct Writes {
    puts: BTreeSet<Key>,
    deletes: Vec<KeyRange>,
}

impl Writes {
    /// Whether the key may be put beside these.
    fn check(&self, key: &Key) -> Result<(), Error> {
        let one = KeyRange::single(key.clone());
        if self.puts.contains(key) || self.deletes.iter().any(|range| overlap(range, &one)) {
            return Err(Error::DuplicateKey);
        }
        Ok(())
    }
}

/// Which branch runs, and which of each transaction inside it.
struct Path {
    succeeded: bool,
    inner: Vec<Self>,
}

fn branch(txn: &TxnRequest, succeeded: bool) -> &[RequestOp] {
    if succeeded {
        &txn.success
    } else {
        &txn.failure
    }
}

fn choose(space: &impl Keyspace, txn: &TxnRequest) -> Path {
    let succeeded = txn.compare.iter().all(|compare| holds(space, compare));
    let inner = branch(txn, succeeded)
        .iter()
        .filter_map(|op| match op {
            RequestOp::Txn(inner) => Some(choose(space, inner)),
            _ => None,
        })
        .collect();
    Path { succeeded, inner }
}

/// Every operation on the path must be possible: what is read must be there, what is to be kept of a key, too, and
/// leases must be alive. Gives whether something is to be kept of a key that an operation before deletes, which
/// cannot be either. `deleted` are the ranges deleted so far.
fn check_path<'t>(
    space: &impl Keyspace,
    txn: &'t TxnRequest,
    path: &Path,
    deleted: &mut Vec<&'t KeyRange>,
) -> Result<bool, Error> {
    let (mut inner_paths, mut kept_gone) = (path.inner.iter(), false);
    for op in branch(txn, path.succeeded) {
        match op {
            RequestOp::Range(range) => reads::check(space, range)?,
            RequestOp::Put(put) => {
                let keeps = put.ignore_value || put.ignore_lease;
                kept_gone |= keeps && deleted.iter().any(|range| range.contains(&put.key));
                // Unlike a put alone, which looks for its lease first.
                check_kept(space, put)?;
                check_put(space, put)?;
            }
            RequestOp::DeleteRange(delete) => deleted.push(&delete.range),
            RequestOp::Txn(inner) => {
                let path = inner_paths.next().expect("one path was chosen for each inner txn");
                kept_gone |= check_path(space, inner, path, deleted)?;
            }
        }
    }
    Ok(kept_gone)
}

fn run(
    space: &mut impl Keyspace,
    txn: &TxnRequest,
    path: &Path,
    revision: Revision,
    changed: &mut bool,
) -> ResponseBody {
    let mut inner_paths = path.inner.iter();
    let responses = branch(txn, path.succeeded)
        .iter()
        .map(|op| match op {
            RequestOp::Range(range) => reads::read(space, range, reads::as_of(range)),
            RequestOp::Put(put) => {
                *changed = true;
                write_put(space, put, revision)
            }
            RequestOp::DeleteRange(delete) => write_delete(space, delete, revision, changed),
            RequestOp::Txn(inner) => {
                let path = inner_paths.next().expect("one path was chosen for each inner txn");
                run(space, inner, path, revision, changed)
            }
        })
        .collect();
    ResponseBody::Txn { succeeded: path.succeeded, responses }
}

/// A compare over a range holds when it does for every key in it; where there is no key it is put to a zero one,
/// which has no value to compare.
fn holds(space: &impl Keyspace, compare: &Compare) -> bool {
    let mut any = false;
    let mut all = true;
    space.scan(&compare.range, NEWEST, &mut |_, record| {
        any = true;
        all = all && relates(record, compare);
    });
    if any {
        return all;
    }
    !matches!(compare.target, CompareTarget::Value(_)) && relates(&Record::tombstone(0), compare)
}

fn relates(record: &Record, compare: &Compare) -> bool {
    let order = match &compare.target {
        CompareTarget::Version(version) => record.version.cmp(version),
        CompareTarget::Create(revision) => record.create_revision.cmp(revision),
        CompareTarget::Mod(revision) => record.mod_revision.cmp(revision),
        CompareTarget::Value(value) => record.value.cmp(value),
        CompareTarget::Lease(lease) => record.lease.cmp(lease),
    };
    match compare.result {
        CompareResult::Equal => order.is_eq(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
        CompareResult::NotEqual => order.is_ne(),
    }
}
