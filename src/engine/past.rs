//! What was before a run that begins with a data dir or a saved database: the disks, and the history of the writes that
//! made what is on them, from which the run is judged.
//!
//! Every change that is not compacted is told as it was. What is compacted is made up so that the keys which are left
//! come out of it with their revisions and versions: how they really came, nobody can read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use detcd_replica::api::{
    AuthRequest, CompactRequest, Credential, DeleteRangeRequest, Header, Key, KeyRange, KeyValue, LeaseGrantRequest,
    PutRequest, Request, RequestOp, Response, ResponseBody, Revision, TxnRequest,
};
use detcd_replica::history::{Operation, Outcome};
use detcd_replica::mvcc::{Bucket, KeyRecord};
use detcd_replica::{Address, FileName, MemberId};
use detcd_sim::beginning::{Beginning, Disks, Former};

use super::restart::Saved;
use super::{restored, EngineError, Subject};

/// Who has done all that was before; no client of a scenario has this number.
const BEFORE: u32 = u32::MAX - 1;

/// The writes of each revision.
type Changes = BTreeMap<Revision, Vec<RequestOp>>;

/// What a run begins with.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    /// The disks, and whom clients come as.
    pub(crate) beginning: Beginning,
    /// What made it, all before the first event of the run.
    pub(crate) operations: Vec<Operation>,
    /// What every member must hold of it for ever, where that is known.
    pub(crate) saved: Option<Arc<Saved>>,
}

impl Past {
    /// What a member holds: the member of a data dir goes on, and a saved database founds a new cluster. Every client
    /// comes as `user`, by its certificate.
    ///
    /// # Errors
    /// Clients must say who they are, and this user may not do everything; or nobody asks who they are; or the records
    /// of the database are not those of its revisions.
    pub(crate) fn of(subject: &mut Subject, user: Option<&str>) -> Result<Self, EngineError> {
        may_do_everything(subject, user)?;
        let (disks, found) = (disks(subject)?, &subject.found);
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
        let beginning = Beginning { disks, user: user.map(str::to_owned) };
        Ok(Self { beginning, operations: grants.chain(writes).chain(compact).collect(), saved: None })
    }
}

/// Whether clients can come as `user`.
fn may_do_everything(subject: &mut Subject, user: Option<&str>) -> Result<(), EngineError> {
    let refuse = |reason: String| Err(EngineError::Asked(reason));
    let user = match (subject.found.auth_enabled, user) {
        (false, None) => return Ok(()),
        (false, Some(_)) => return refuse("auth is off there, and nobody needs --user".to_owned()),
        (true, None) => {
            return refuse("auth is on: --user must name whom clients come as, with the role root".to_owned())
        }
        (true, Some(user)) => user,
    };
    // Only such a user gets the list.
    let list = Request::Auth(AuthRequest::UserList);
    match subject.alone.ask(Credential::CommonName(user.to_owned()), list).map_err(EngineError::Asked)? {
        Ok(_) => Ok(()),
        Err(error) => {
            let users = subject.found.users.join(", ");
            refuse(format!(
                "--user {user}: {}; the users are {users}, and one with the role root is needed",
                error.message()
            ))
        }
    }
}

/// What is on the disks of the run.
fn disks(subject: &Subject) -> Result<Disks, EngineError> {
    let found = &subject.found;
    let Some(image) = &subject.origin else {
        let image = subject.alone.image();
        let database = image.bytes(FileName::Db).ok_or_else(|| EngineError::Asked("no database".to_owned()))?;
        return Ok(Disks::Founded(restored(&database)?));
    };
    let member = MemberId(found.member);
    let mut address = Address::of(member);
    let mut others = BTreeSet::new();
    for one in &found.members {
        if one.id != found.member {
            others.insert(MemberId(one.id));
            continue;
        }
        // A member that was never called anything publishes what it is called here.
        let urls = |urls: &Option<Vec<String>>| urls.clone().filter(|urls| !urls.is_empty());
        if !one.name.is_empty() {
            address.name.clone_from(&one.name);
        }
        address.peer_urls = urls(&one.peer_urls).unwrap_or(address.peer_urls);
        address.client_urls = urls(&one.client_urls).unwrap_or(address.client_urls);
    }
    for (id, _) in subject.alone.replica().look_bucket(Bucket::MembersRemoved) {
        let id = std::str::from_utf8(&id).ok().and_then(|id| u64::from_str_radix(id, 16).ok());
        others.extend(id.map(MemberId));
    }
    let (cluster, force_new_cluster, image) = (found.cluster, found.forced, image.clone());
    Ok(Disks::Continued(Box::new(Former { image, member, cluster, address, force_new_cluster, others })))
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
