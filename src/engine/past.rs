//! What a database holds, as the history of the writes that made it: where a run that begins with it is judged from.
//!
//! Every change that is not compacted is told as it was. What is compacted is made up so that the keys which are left
//! come out of it with their revisions and versions: how they really came, nobody can read.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use detcd_replica::api::{
    CompactRequest, DeleteRangeRequest, Header, Key, KeyRange, KeyValue, LeaseGrantRequest, PutRequest, Request,
    RequestOp, Response, ResponseBody, Revision, TxnRequest,
};
use detcd_replica::history::{Operation, Outcome};
use detcd_replica::mvcc::{Bucket, KeyRecord};
use detcd_replica::{FileName, MemberId};

use super::{restored, EngineError, Subject};

/// Who has done all that was before; no client of a scenario has this number.
const BEFORE: u32 = u32::MAX - 1;

/// The writes of each revision.
type Changes = BTreeMap<Revision, Vec<RequestOp>>;

/// What a cluster is founded on.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    /// The database that each founder begins with.
    pub(crate) database: Bytes,
    /// What made it, all before the first event of the run.
    pub(crate) operations: Vec<Operation>,
}

impl Past {
    /// What a member holds, for a new cluster.
    ///
    /// # Errors
    /// Clients would have to say who they are, or the records of the database are not those of its revisions.
    pub(crate) fn of(subject: &Subject) -> Result<Self, EngineError> {
        let found = &subject.found;
        if found.auth_enabled {
            let reason = "auth is on, and the clients of a scenario do not say who they are";
            return Err(EngineError::Asked(reason.to_owned()));
        }
        let image = subject.alone.image();
        let database = image.files.get(&FileName::Db).ok_or_else(|| EngineError::Asked("no database".to_owned()))?;
        let database = restored(database)?;
        let (compacted, revision) = (found.standing.compact_revision.max(1), found.standing.revision);
        let mut changes = made_up(&subject.keys_at(compacted), compacted).map_err(EngineError::Asked)?;
        for (key, value) in subject.alone.replica().look_bucket(Bucket::Key) {
            let record = KeyRecord::parse(&key, &value).map_err(|reason| EngineError::Asked(reason.to_owned()))?;
            if record.main > compacted {
                changes.entry(record.main).or_default().push(change(record));
            }
        }
        if !changes.keys().copied().eq(2..=revision) {
            let reason = format!("its records are not those of all revisions from {} to {revision}", compacted + 1);
            return Err(EngineError::Asked(reason));
        }
        let grants = found.leases.iter().map(|lease| {
            let request = Request::LeaseGrant(LeaseGrantRequest { id: lease.id, ttl: lease.ttl });
            operation(request, revision, ResponseBody::LeaseGrant { id: lease.id, ttl: lease.ttl })
        });
        let compact = (compacted > 1).then(|| {
            let request = Request::Compact(CompactRequest { revision: compacted, physical: true });
            operation(request, revision, ResponseBody::Compact)
        });
        let writes = changes.into_iter().map(|(revision, operations)| transaction(revision, operations));
        Ok(Self { database, operations: grants.chain(writes).chain(compact).collect() })
    }
}

fn change(record: KeyRecord) -> RequestOp {
    if record.tombstone {
        return delete(record.kv.key);
    }
    RequestOp::Put(PutRequest { lease: record.kv.lease, ..PutRequest::of(record.kv.key, record.kv.value) })
}

fn delete(key: Key) -> RequestOp {
    RequestOp::DeleteRange(DeleteRangeRequest { range: KeyRange::single(key), prev_kv: false })
}

/// Writes that leave these keys at the revision `until`, each revision with something to do.
fn made_up(kept: &[KeyValue], until: Revision) -> Result<Changes, String> {
    let mut changes: Changes = (2..=until).map(|revision| (revision, Vec::new())).collect();
    for kv in kept {
        let between = usize::try_from(kv.version - 2).unwrap_or(0);
        let between = (kv.create_revision + 1..kv.mod_revision).take(between);
        let puts: BTreeSet<Revision> = [kv.create_revision, kv.mod_revision].into_iter().chain(between).collect();
        if puts.len() as i64 != kv.version || puts.first() < Some(&2) || puts.last() > Some(&until) {
            let KeyValue { key, create_revision, mod_revision, version, .. } = kv;
            let key = key.escape_ascii();
            return Err(format!("{key} has version {version} from {create_revision} to {mod_revision}"));
        }
        for revision in puts {
            let lease = if revision == kv.mod_revision { kv.lease } else { 0 };
            let put = PutRequest { lease, ..PutRequest::of(kv.key.clone(), kv.value.clone()) };
            changes.entry(revision).or_default().push(RequestOp::Put(put));
        }
    }
    // A key that comes and goes takes the revisions of which nothing is left. It is longer than any other.
    let longest = kept.iter().map(|kv| kv.key.len()).max().unwrap_or(0);
    let filler = Key::from(vec![0; longest + 1]);
    let put = || RequestOp::Put(PutRequest::of(filler.clone(), Bytes::new()));
    let empty: Vec<Revision> = changes.iter().filter(|(_, all)| all.is_empty()).map(|(at, _)| *at).collect();
    let (puts, gone) = match empty[..] {
        [] => return Ok(changes),
        // Others' revisions may do one thing more.
        [2] if until > 2 => (vec![2], 3),
        [2] => return Err("revision 2 has left nothing".to_owned()),
        [only] => (vec![2], only),
        [ref puts @ .., last] => (puts.to_vec(), last),
    };
    for revision in puts {
        changes.entry(revision).or_default().push(put());
    }
    changes.entry(gone).or_default().push(delete(filler));
    Ok(changes)
}

/// The transaction that made a revision.
fn transaction(revision: Revision, operations: Vec<RequestOp>) -> Operation {
    let answer = |operation: &RequestOp| match operation {
        RequestOp::DeleteRange(_) => ResponseBody::DeleteRange { deleted: 1, prev_kvs: Vec::new() },
        _ => ResponseBody::Put { prev_kv: None },
    };
    let responses = operations.iter().map(answer).collect();
    let request = TxnRequest { compare: Vec::new(), success: operations, failure: Vec::new() };
    operation(Request::Txn(request), revision, ResponseBody::Txn { succeeded: true, responses })
}

fn operation(request: Request, revision: Revision, body: ResponseBody) -> Operation {
    let response = Response { header: Header { member: MemberId::NONE, revision, raft_term: 0 }, body };
    let (member, user) = (MemberId::NONE, String::new());
    Operation { client: BEFORE, member, user, call: 0, request, outcome: Outcome::Ok { at: 0, response } }
}

#[cfg(test)]
mod tests {
    use detcd_model::spec::State;
    use detcd_replica::api::RangeRequest;

    use super::*;

    fn kv(key: &'static str, create_revision: i64, mod_revision: i64, version: i64) -> KeyValue {
        let (key, value) = (Bytes::from_static(key.as_bytes()), Bytes::from_static(b"v"));
        KeyValue { key, value, create_revision, mod_revision, version, lease: 0 }
    }

    #[test]
    fn what_is_compacted_leaves_the_keys_that_are_there() {
        let table: &[(&[KeyValue], i64)] = &[
            (&[], 1),
            (&[], 3),
            (&[], 9),
            (&[kv("a", 2, 2, 1)], 2),
            (&[kv("a", 3, 3, 1)], 3),
            (&[kv("a", 2, 2, 1)], 3),
            (&[kv("a", 2, 7, 6), kv("b", 5, 5, 1)], 7),
            (&[kv("a", 3, 9, 2), kv("b", 3, 9, 3), kv("longer", 8, 8, 1)], 12),
        ];
        for (kept, until) in table {
            let changes = made_up(kept, *until).unwrap_or_else(|reason| panic!("{kept:?} at {until}: {reason}"));
            let mut state = State::default();
            for (revision, operations) in changes {
                let Request::Txn(txn) = transaction(revision, operations).request else { panic!("no transaction") };
                let applied = state.apply(&Request::Txn(txn)).expect("it is allowed");
                assert!(applied.changed && applied.revision == revision, "{kept:?} at {until}: {applied:?}");
            }
            let all = KeyRange { start: vec![0].into(), end: detcd_replica::api::RangeEnd::Open };
            let read = state.apply(&Request::Range(RangeRequest::of(all))).expect("a read").body;
            let ResponseBody::Range { kvs, .. } = read else { panic!("no keys: {read:?}") };
            assert_eq!(kvs, *kept, "at {until}");
        }
    }

    #[test]
    fn versions_that_cannot_be_are_refused() {
        for (kept, until) in
            [(kv("a", 2, 3, 3), 9), (kv("a", 1, 3, 2), 9), (kv("a", 2, 9, 2), 8), (kv("a", 3, 3, 2), 9)]
        {
            made_up(std::slice::from_ref(&kept), until).expect_err(&format!("{kept:?} at {until}"));
        }
        made_up(&[], 2).expect_err("a revision that has left nothing");
    }
}
