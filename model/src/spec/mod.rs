//! etcd's key space as a pure sequential machine: one request in, one answer and one new state out.
//!
//! It is written from etcd's documentation (the API reference and the API guarantees), and promises the exact answer:
//! every key, count, flag, revision and error. Two forms share these rules: [`Store`], which keeps history and serves
//! long histories fast, and [`State`], which is small, comparable and hashable, for searches.
//!
//! It knows nothing of members, terms, time, or how a replica works; requests to a member rather than to the key space
//! (membership, status, hashes) are not its business.

mod hash;
mod keys;
mod reads;
mod rules;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod txn;

use bytes::Bytes;
use detcd_replica::api::{Error, Key, KeyRange, KeyValue, LeaseId, Request, ResponseBody, Revision, Value};

pub(crate) use hash::{KeyHasher, KeyMap};
pub(crate) use keys::{bounds, covers, footprint, overlap, overlap_any};
pub use state::State;
pub(crate) use store::Change;
pub use store::Store;

/// The newest state, whatever its revision, as a revision to read at.
pub(crate) const NEWEST: Revision = Revision::MAX;

/// What a request did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The answer.
    pub body: ResponseBody,
    /// The revision of the store afterwards: what the answer's header says.
    pub revision: Revision,
    /// Whether the store changed, that is, whether the revision is this request's own.
    pub changed: bool,
}

/// One version of one key. A tombstone has version 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) mod_revision: Revision,
    pub(crate) create_revision: Revision,
    pub(crate) version: i64,
    pub(crate) lease: LeaseId,
    pub(crate) value: Value,
}

impl Record {
    pub(crate) fn tombstone(revision: Revision) -> Self {
        Self { mod_revision: revision, create_revision: 0, version: 0, lease: 0, value: Bytes::new() }
    }

    pub(crate) fn is_tombstone(&self) -> bool {
        self.version == 0
    }

    pub(crate) fn key_value(&self, key: &Key) -> KeyValue {
        KeyValue {
            key: key.clone(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
            value: self.value.clone(),
            lease: self.lease,
        }
    }
}

/// What the rules need of a form of the state. Writes made inside a transaction are visible at [`NEWEST`] at once.
pub(crate) trait Keyspace {
    fn revision(&self) -> Revision;
    fn compact_revision(&self) -> Revision;
    /// The live record of a key as of a revision.
    fn find(&self, key: &Key, at: Revision) -> Option<&Record>;
    /// Every live key of a range in byte order, as of a revision.
    fn scan(&self, range: &KeyRange, at: Revision, visit: &mut dyn FnMut(&Key, &Record));
    /// Appends a version, live or tombstone, made by the revision under way.
    fn write(&mut self, key: &Key, record: Record);
    /// The revision under way is done.
    fn commit(&mut self, revision: Revision);
    /// Drops what no read at `revision` or above can see.
    fn compact(&mut self, revision: Revision);
    /// The keys that the lease is attached to now, in byte order.
    fn leased(&self, id: LeaseId) -> Vec<Key>;

    // Leases come and go without a revision. A form that knows nothing of that takes every lease for alive: what
    // contradicts it is then for others to find.

    /// Whether the lease exists.
    fn has_lease(&self, _id: LeaseId) -> bool {
        true
    }
    /// The lease exists from now on, for so many seconds. False when it did before.
    fn grant(&mut self, _id: LeaseId, _ttl: i64) -> bool {
        true
    }
    /// The lease is no more.
    fn forget_lease(&mut self, _id: LeaseId) {}
}

/// Whether the request is to the key space, and so for this machine.
pub fn is_key_request(request: &Request) -> bool {
    matches!(
        request,
        Request::Range(_)
            | Request::Put(_)
            | Request::DeleteRange(_)
            | Request::Txn(_)
            | Request::Compact(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke { .. }
    )
}

/// Whether a request is one that no state could answer.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn refused(request: &Request) -> Result<(), Error> {
    rules::refused(request)
}

/// Gives `request` to a form of the state. An error leaves the state as it was.
pub(crate) fn apply(space: &mut impl Keyspace, request: &Request) -> Result<Applied, Error> {
    rules::apply(space, request)
}
