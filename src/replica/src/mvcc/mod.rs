//! etcd's MVCC: the key space with its revisions, and the watches on it, as plain data over a backend that it
//! is handed.
//!
//! What it promises: the same calls give the same state, byte for byte in the backend; a store restored from
//! a backend is equal, as clients see it, to the one that wrote it. What it does not know: Raft, disks, time,
//! when a task runs. The caller commits the backend, schedules the tasks and hands revisions from [`Store`]
//! to [`Watchers`]:
//!
//! ```text
//! apply:  applied = store.apply_*(parts, request), watchers.notify(store.revision(), &applied.events)
//! tasks:  store.compaction_batch · watchers.sync_batch · retry_victims · progress_tick · send
//! ```

mod apply;
mod check;
mod hash;
mod index;
mod key_index;
mod proto;
mod range;
mod record;
mod restore;
mod revision;
mod store;
#[cfg(test)]
pub(crate) mod tests;
mod watch;
mod write;

pub use apply::{is_read_only, is_serializable, Applied, Parts, Reads};
pub use check::check_request;
pub use hash::KeyValueHash;
pub use range::RangeResult;
pub use record::KeyRecord;
pub use store::{CompactionStep, Store};
pub(crate) use watch::for_each_event;
pub use watch::{Pending, Watchers};
pub use write::WriteTxn;

use bytes::Bytes;

/// The buckets of etcd's backend that a replica keeps things in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// Consistent index, term, configuration, compaction revisions.
    Meta,
    /// Every revision of every key.
    Key,
    /// The members of the cluster.
    Members,
    /// Ids that must never join again.
    MembersRemoved,
    /// The leases that were granted.
    Lease,
    /// The alarms that are raised.
    Alarm,
    /// The cluster's version, and its downgrade.
    Cluster,
    /// Whether auth is on, and the auth revision.
    Auth,
    /// The users.
    AuthUsers,
    /// The roles.
    AuthRoles,
}

impl Bucket {
    /// Every bucket, in the order of their declaration.
    pub const ALL: [Self; 10] = [
        Self::Meta,
        Self::Key,
        Self::Members,
        Self::MembersRemoved,
        Self::Lease,
        Self::Alarm,
        Self::Cluster,
        Self::Auth,
        Self::AuthUsers,
        Self::AuthRoles,
    ];

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Key => "key",
            Self::Members => "members",
            Self::MembersRemoved => "members_removed",
            Self::Lease => "lease",
            Self::Alarm => "alarm",
            Self::Cluster => "cluster",
            Self::Auth => "auth",
            Self::AuthUsers => "authUsers",
            Self::AuthRoles => "authRoles",
        }
    }
}

/// The backend's open batch: what was committed, overlaid with what was written since. Reads see the writes.
pub trait Batch {
    /// Sets `key` of `bucket`.
    fn put(&mut self, bucket: Bucket, key: Bytes, value: Bytes);
    /// Removes `key` of `bucket`, if it is there.
    fn delete(&mut self, bucket: Bucket, key: &[u8]);
    /// The value of `key`.
    fn get(&self, bucket: Bucket, key: &[u8]) -> Option<Bytes>;
    /// Shows the pairs with `from <= key < to` (`None`: to the end) in byte order, until `visit` says false.
    fn for_each(&self, bucket: Bucket, from: &[u8], to: Option<&[u8]>, visit: &mut dyn FnMut(&Bytes, &Bytes) -> bool);
}
