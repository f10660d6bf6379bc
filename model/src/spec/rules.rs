//! The rules: what each request does to a key space and what it answers.
//!
//! A transaction is three steps, as etcd's documentation of `Txn` has it: it is checked (an error leaves no trace), its
//! path is chosen (every compare, nested ones too, is decided on the state before the transaction), and it runs.

use std::collections::BTreeSet;

use detcd_replica::api::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Error, Key, KeyRange, KeyValue, PutRequest, RangeEnd,
    RangeRequest, Request, RequestOp, ResponseBody, Revision, SortOrder, SortTarget, TxnRequest,
};

use super::{overlap, Applied, Keyspace, Record, NEWEST};

pub(super) fn apply(space: &mut impl Keyspace, request: &Request) -> Result<Applied, Error> {
    let before = space.revision();
    let mut changed = false;
    let body = match request {
        Request::Range(range) => {
            check_range(space, range)?;
            // Nothing is under way here, so the newest revision is the newest state, which is faster to scan.
            read(space, range, if range.revision == before { NEWEST } else { as_of(range) })
        }
        Request::Put(put) => {
            check_put(put)?;
            changed = true;
            write_put(space, put, before + 1)
        }
        Request::DeleteRange(delete) => {
            check_key(&delete.range)?;
            write_delete(space, delete, before + 1, &mut changed)
        }
        Request::Txn(txn) => {
            check_txn(txn)?;
            let path = choose(space, txn);
            check_path(space, txn, &path)?;
            run(space, txn, &path, before + 1, &mut changed)
        }
        Request::Compact(compact) => {
            if compact.revision <= space.compact_revision() {
                return Err(Error::Compacted);
            }
            if compact.revision > before {
                return Err(Error::FutureRevision);
            }
            space.compact(compact.revision);
            ResponseBody::Compact
        }
        other => panic!("not a request to the key space: {other:?}"),
    };
    if changed {
        space.commit(before + 1);
    }
    Ok(Applied { body, revision: space.revision(), changed })
}

fn check_key(range: &KeyRange) -> Result<(), Error> {
    if range.start.is_empty() {
        return Err(Error::EmptyKey);
    }
    Ok(())
}

fn check_put(put: &PutRequest) -> Result<(), Error> {
    assert!(!put.ignore_value && !put.ignore_lease, "no rule here for values and leases to keep: {put:?}");
    if put.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    // No request grants a lease, so none exists.
    if put.lease != 0 {
        return Err(Error::LeaseNotFound);
    }
    Ok(())
}

/// A read is possible from the compaction revision (that included) up to now.
fn check_range(space: &impl Keyspace, range: &RangeRequest) -> Result<(), Error> {
    let in_key_order = range.sort_target == SortTarget::Key && range.sort_order != SortOrder::Descend;
    assert!(in_key_order && !range.has_revision_filters(), "no rule here for sorting and filters: {range:?}");
    check_key(&range.range)?;
    if range.revision <= 0 {
        return Ok(());
    }
    if range.revision > space.revision() {
        return Err(Error::FutureRevision);
    }
    if range.revision < space.compact_revision() {
        return Err(Error::Compacted);
    }
    Ok(())
}

/// What can be refused before the state is looked at: empty keys, and a key that one path could change twice.
fn check_txn(txn: &TxnRequest) -> Result<(), Error> {
    for compare in &txn.compare {
        check_key(&compare.range)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            RequestOp::Range(range) => check_key(&range.range)?,
            RequestOp::Put(put) if put.key.is_empty() => return Err(Error::EmptyKey),
            RequestOp::Put(_) => {}
            RequestOp::DeleteRange(delete) => check_key(&delete.range)?,
            RequestOp::Txn(inner) => check_txn(inner)?,
        }
    }
    writes_of(&txn.success)?;
    writes_of(&txn.failure)?;
    Ok(())
}

/// What a list of operations may put, and delete. Deleting twice is allowed; putting twice, or both, is not.
#[derive(Default)]
struct Writes {
    puts: BTreeSet<Key>,
    deletes: Vec<KeyRange>,
}

fn writes_of(ops: &[RequestOp]) -> Result<Writes, Error> {
    let mut writes = Writes::default();
    for op in ops {
        let more = match op {
            RequestOp::Range(_) => continue,
            RequestOp::Put(put) => Writes { puts: BTreeSet::from([put.key.clone()]), deletes: Vec::new() },
            RequestOp::DeleteRange(delete) => Writes { puts: BTreeSet::new(), deletes: vec![delete.range.clone()] },
            RequestOp::Txn(inner) => {
                // Only one of the two branches will run, so they may name the same keys.
                let mut both = writes_of(&inner.success)?;
                let failure = writes_of(&inner.failure)?;
                both.puts.extend(failure.puts);
                both.deletes.extend(failure.deletes);
                both
            }
        };
        let twice = more.puts.iter().any(|key| writes.puts.contains(key) || covers(&writes.deletes, key))
            || writes.puts.iter().any(|key| covers(&more.deletes, key));
        if twice {
            return Err(Error::DuplicateKey);
        }
        writes.puts.extend(more.puts);
        writes.deletes.extend(more.deletes);
    }
    Ok(writes)
}

fn covers(ranges: &[KeyRange], key: &Key) -> bool {
    ranges.iter().any(|range| overlap(range, &KeyRange::single(key.clone())))
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

fn check_path(space: &impl Keyspace, txn: &TxnRequest, path: &Path) -> Result<(), Error> {
    let mut inner_paths = path.inner.iter();
    for op in branch(txn, path.succeeded) {
        match op {
            RequestOp::Range(range) => check_range(space, range)?,
            RequestOp::Put(put) => check_put(put)?,
            RequestOp::DeleteRange(_) => {}
            RequestOp::Txn(inner) => {
                check_path(space, inner, inner_paths.next().expect("one path was chosen for each inner txn"))?;
            }
        }
    }
    Ok(())
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
            RequestOp::Range(range) => read(space, range, as_of(range)),
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

/// A compare over a range holds when it does for every key in it; where there is no key it is put to a zero one, which
/// has no value to compare.
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

fn as_of(request: &RangeRequest) -> Revision {
    if request.revision <= 0 {
        NEWEST
    } else {
        request.revision
    }
}

fn read(space: &impl Keyspace, request: &RangeRequest, at: Revision) -> ResponseBody {
    let mut kvs = Vec::new();
    let mut count = 0u64;
    let mut more = false;
    let mut visit = |key: &Key, record: &Record| {
        count += 1;
        if request.count_only {
            return;
        }
        if request.limit != 0 && kvs.len() as u64 == request.limit {
            more = true;
            return;
        }
        let mut kv = record.key_value(key);
        if request.keys_only {
            kv.value.clear();
        }
        kvs.push(kv);
    };
    match &request.range.end {
        RangeEnd::Single => {
            if let Some(record) = space.find(&request.range.start, at) {
                visit(&request.range.start, record);
            }
        }
        _ => space.scan(&request.range, at, &mut visit),
    }
    ResponseBody::Range { kvs, more, count }
}

fn write_put(space: &mut impl Keyspace, put: &PutRequest, revision: Revision) -> ResponseBody {
    let before = space.find(&put.key, NEWEST);
    let prev_kv = before.filter(|_| put.prev_kv).map(|record| record.key_value(&put.key));
    let (create_revision, version) =
        before.map_or((revision, 1), |record| (record.create_revision, record.version + 1));
    let record =
        Record { mod_revision: revision, create_revision, version, lease: put.lease, value: put.value.clone() };
    space.write(&put.key, record);
    ResponseBody::Put { prev_kv }
}

/// Deleting nothing changes nothing.
fn write_delete(
    space: &mut impl Keyspace,
    delete: &DeleteRangeRequest,
    revision: Revision,
    changed: &mut bool,
) -> ResponseBody {
    let mut gone: Vec<KeyValue> = Vec::new();
    space.scan(&delete.range, NEWEST, &mut |key, record| gone.push(record.key_value(key)));
    for kv in &gone {
        *changed = true;
        space.write(&kv.key, Record::tombstone(revision));
    }
    let deleted = gone.len() as u64;
    ResponseBody::DeleteRange { deleted, prev_kvs: if delete.prev_kv { gone } else { Vec::new() } }
}
