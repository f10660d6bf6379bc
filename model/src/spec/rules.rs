//! The rules: what each request does to a key space and what it answers. Reads are in `reads`, transactions in `txn`.

use detcd_replica::api::{
    DeleteRangeRequest, Error, KeyRange, KeyValue, LeaseGrantRequest, LeaseId, PutRequest, Request, ResponseBody,
    Revision,
};

use super::{reads, txn, Applied, Keyspace, Record, NEWEST};

/// Seconds that a lease may live at most.
const TTL_MAX: i64 = 9_000_000_000;

pub(super) fn apply(space: &mut impl Keyspace, request: &Request) -> Result<Applied, Error> {
    let before = space.revision();
    let mut changed = false;
    let body = match request {
        Request::Range(range) => {
            check_key(&range.range)?;
            reads::check_plain(space, range)?;
            reads::read(space, range, reads::as_of_now(range, before))
        }
        Request::Put(put) => {
            check_put_request(put)?;
            check_put(space, put)?;
            changed = true;
            write_put(space, put, before + 1)
        }
        Request::DeleteRange(delete) => {
            check_key(&delete.range)?;
            write_delete(space, delete, before + 1, &mut changed)
        }
        Request::Txn(request) => txn::apply(space, request, before + 1, &mut changed)?,
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
        Request::LeaseGrant(grant) => grant_lease(space, grant)?,
        Request::LeaseRevoke { id } => revoke_lease(space, *id, before + 1, &mut changed)?,
        other => panic!("not a request to the key space: {other:?}"),
    };
    if changed {
        space.commit(before + 1);
    }
    Ok(Applied { body, revision: space.revision(), changed })
}

/// What is refused whatever the state is.
pub(super) fn refused(request: &Request) -> Result<(), Error> {
    match request {
        Request::Range(range) => check_key(&range.range),
        Request::Put(put) => check_put_request(put),
        Request::DeleteRange(delete) => check_key(&delete.range),
        Request::Txn(request) => txn::refused(request),
        _ => Ok(()),
    }
}

pub(super) fn check_key(range: &KeyRange) -> Result<(), Error> {
    if range.start.is_empty() {
        return Err(Error::EmptyKey);
    }
    Ok(())
}

/// What is wrong with a put whatever the state.
pub(super) fn check_put_request(put: &PutRequest) -> Result<(), Error> {
    if put.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    if put.ignore_value && !put.value.is_empty() {
        return Err(Error::ValueProvided);
    }
    if put.ignore_lease && put.lease != 0 {
        return Err(Error::LeaseProvided);
    }
    Ok(())
}

/// A lease to attach must exist, and so must the key whose value or lease is kept.
pub(super) fn check_put(space: &impl Keyspace, put: &PutRequest) -> Result<(), Error> {
    if put.lease != 0 && !space.has_lease(put.lease) {
        return Err(Error::LeaseNotFound);
    }
    check_kept(space, put)
}

/// Whether the key is there of which something is to be kept.
pub(super) fn check_kept(space: &impl Keyspace, put: &PutRequest) -> Result<(), Error> {
    if (put.ignore_value || put.ignore_lease) && space.find(&put.key, NEWEST).is_none() {
        return Err(Error::KeyNotFound);
    }
    Ok(())
}

pub(super) fn write_put(space: &mut impl Keyspace, put: &PutRequest, revision: Revision) -> ResponseBody {
    let before = space.find(&put.key, NEWEST);
    let prev_kv = before.filter(|_| put.prev_kv).map(|record| record.key_value(&put.key));
    let (create_revision, version) =
        before.map_or((revision, 1), |record| (record.create_revision, record.version + 1));
    let kept = |keeps: bool| before.filter(|_| keeps);
    let value = kept(put.ignore_value).map_or_else(|| put.value.clone(), |record| record.value.clone());
    let lease = kept(put.ignore_lease).map_or(put.lease, |record| record.lease);
    let record = Record { mod_revision: revision, create_revision, version, lease, value };
    space.write(&put.key, record);
    ResponseBody::Put { prev_kv }
}

/// Deleting nothing changes nothing.
pub(super) fn write_delete(
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

/// The id was chosen by the member that was asked, if not by the client. A member raises the time to its minimum.
fn grant_lease(space: &mut impl Keyspace, grant: &LeaseGrantRequest) -> Result<ResponseBody, Error> {
    if grant.id == 0 {
        return Err(Error::LeaseNotFound);
    }
    if grant.ttl > TTL_MAX {
        return Err(Error::LeaseTtlTooLarge);
    }
    if !space.grant(grant.id, grant.ttl) {
        return Err(Error::LeaseExists);
    }
    Ok(ResponseBody::LeaseGrant { id: grant.id, ttl: grant.ttl })
}

/// The lease goes, and with it, in one revision and in byte order, every key that it is attached to.
fn revoke_lease(
    space: &mut impl Keyspace,
    id: LeaseId,
    revision: Revision,
    changed: &mut bool,
) -> Result<ResponseBody, Error> {
    if !space.has_lease(id) {
        return Err(Error::LeaseNotFound);
    }
    for key in space.leased(id) {
        *changed = true;
        space.write(&key, Record::tombstone(revision));
    }
    space.forget_lease(id);
    Ok(ResponseBody::LeaseRevoke)
}
