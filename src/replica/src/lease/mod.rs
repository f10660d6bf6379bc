//! etcd's lessor: which leases there are and which keys hang on them, on every member; and when they end, on the one
//! that leads.
//!
//! Two halves with different laws. What is granted, attached, checkpointed and revoked follows from the applied entries
//! alone: it is equal on all members at equal applied index, and the backend's `lease` bucket says the same. When a
//! lease ends is only known to the *primary* lessor, by its own clock (see `expiry.rs`); on the others no lease ever
//! ends. The lessor deletes no keys and proposes nothing: that is for whoever drives it.

mod expiry;
mod stored;
#[cfg(test)]
mod tests;

pub use expiry::Renewal;
pub(crate) use expiry::CHECKPOINT_BATCH;

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::api::{Error, Key, LeaseId};
use crate::mvcc::{Batch, Bucket};
use crate::time::{Monotonic, Span};
use crate::{Bug, Bugs, Config};

/// The longest time to live, in seconds.
pub const LEASE_TTL_MAX: i64 = 9_000_000_000;

/// A lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Time to live in seconds.
    pub ttl: i64,
    /// Seconds left at its last checkpoint; 0 when there was none since it was granted or kept alive.
    pub remaining_ttl: i64,
    /// What is attached.
    pub keys: BTreeSet<Key>,
    /// When it ends, on this member's clock. `None`: never, because this member is not the primary.
    pub expiry: Option<Monotonic>,
    /// When the primary looks at it next: when it ends, or when its revocation should have been applied.
    queued: Option<Monotonic>,
}

/// The constants that a lessor goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Settings {
    /// Seconds that every lease lives at least.
    ttl_min: i64,
    /// Leases that end in one second when many do, 1 or more.
    revoke_rate: u64,
    /// Time after which a lease that should be gone is revoked again.
    retry: Span,
    /// Time between checkpoints of one lease; `None`: none are made.
    checkpoint_interval: Option<Span>,
    /// Whether checkpoints go to the backend.
    checkpoint_persist: bool,
    bugs: Bugs,
}

/// The leases of one member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lessor {
    leases: BTreeMap<LeaseId, Lease>,
    /// The lease of each attached key.
    items: BTreeMap<Key, LeaseId>,
    /// Wrapping sum of the hashes of the leases, as all members have them.
    state_hash: u64,
    primary: bool,
    /// The leases that will end, by when the primary looks at them next.
    queue: BTreeSet<(Monotonic, LeaseId)>,
    /// When to make the next checkpoint of a lease.
    checkpoints: BTreeSet<(Monotonic, LeaseId)>,
    settings: Settings,
}

impl Lessor {
    /// No leases.
    pub fn new(config: &Config) -> Self {
        let ttl_min = config.heartbeat_interval * (3 * u64::from(config.election_ticks) / 2);
        let settings = Settings {
            ttl_min: ttl_min.as_nanos().div_ceil(1_000_000_000) as i64,
            revoke_rate: config.lease_revoke_rate,
            retry: config.request_timeout,
            checkpoint_interval: config.lease_checkpoint.then_some(config.lease_checkpoint_interval),
            checkpoint_persist: config.lease_checkpoint_persist,
            bugs: config.bugs,
        };
        Self {
            leases: BTreeMap::new(),
            items: BTreeMap::new(),
            state_hash: 0,
            primary: false,
            queue: BTreeSet::new(),
            checkpoints: BTreeSet::new(),
            settings,
        }
    }

    /// The leases in a backend. Their keys are attached when the store is restored after it.
    ///
    /// # Errors
    /// What in the `lease` bucket cannot be read, in one sentence.
    pub fn restore(batch: &dyn Batch, config: &Config) -> Result<Self, String> {
        let mut lessor = Self::new(config);
        let mut broken = None;
        batch.for_each(Bucket::Lease, b"", None, &mut |key, value| {
            match stored::decode(value) {
                Some((id, ttl, remaining_ttl)) => {
                    let ttl = ttl.max(lessor.settings.ttl_min);
                    lessor.insert(id, Lease { ttl, remaining_ttl, ..Lease::default() });
                }
                None => broken = Some(format!("bucket lease: the value of {key:?} is not a Lease")),
            }
            broken.is_none()
        });
        broken.map_or(Ok(lessor), Err)
    }

    /// Every lease, by id.
    pub fn leases(&self) -> &BTreeMap<LeaseId, Lease> {
        &self.leases
    }

    /// A lease.
    pub fn lookup(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// Whether `id` is a lease that a key may be attached to, at `now` on this member's clock.
    pub fn is_alive(&self, id: LeaseId, now: Monotonic) -> bool {
        match self.leases.get(&id) {
            None => false,
            // The clock must have no say where all members must come to the same (etcd#12292).
            Some(lease) => !self.settings.bugs.has(Bug::ExpiryByLocalClockAtApply) || !lease.has_ended(now),
        }
    }

    /// The lease that a key is attached to, 0 for none.
    pub fn lease_of(&self, key: &[u8]) -> LeaseId {
        // Most clusters have few leases or none, and every write asks.
        if self.items.is_empty() {
            return 0;
        }
        self.items.get(key).copied().unwrap_or(0)
    }

    /// Hash of what all members at the same applied index agree on: which leases there are, with their times to live.
    pub fn state_hash(&self) -> u64 {
        self.state_hash
    }

    /// Makes a lease. Gives its time to live, which is at least the minimum.
    ///
    /// # Errors
    /// `LeaseNotFound` for id 0, `LeaseTtlTooLarge`, `LeaseExists`.
    pub fn grant(&mut self, batch: &mut dyn Batch, id: LeaseId, ttl: i64, now: Monotonic) -> Result<i64, Error> {
        if id == 0 {
            return Err(Error::LeaseNotFound);
        }
        if ttl > LEASE_TTL_MAX {
            return Err(Error::LeaseTtlTooLarge);
        }
        if self.leases.contains_key(&id) {
            return Err(Error::LeaseExists);
        }
        let ttl = ttl.max(self.settings.ttl_min);
        batch.put(Bucket::Lease, stored::key(id), stored::encode(id, ttl, 0));
        self.insert(id, Lease { ttl, ..Lease::default() });
        if self.primary {
            self.refresh(id, now, Span::ZERO);
            self.schedule_checkpoint(id, now);
        }
        Ok(ttl)
    }

    /// The keys of a lease, in the order in which a revocation deletes them.
    ///
    /// # Errors
    /// `LeaseNotFound`.
    pub fn keys_to_revoke(&self, id: LeaseId, member: crate::MemberId) -> Result<Vec<Key>, Error> {
        let lease = self.leases.get(&id).ok_or(Error::LeaseNotFound)?;
        let mut keys: Vec<Key> = lease.keys.iter().cloned().collect();
        if self.settings.bugs.has(Bug::RevokeKeysUnsorted) {
            // As from a hashed map, whose order differs from member to member.
            keys.sort_by_key(|key| xxh3_64_with_seed(key, member.0));
        }
        Ok(keys)
    }

    /// Forgets a lease. Its keys must be gone, in the same transaction.
    pub fn remove(&mut self, batch: &mut dyn Batch, id: LeaseId) {
        self.forget(id);
        Self::delete_stored(batch, id);
    }

    /// Forgets a lease in memory alone.
    pub(crate) fn forget(&mut self, id: LeaseId) {
        let lease = self.leases.remove(&id).expect("only a lease that exists is revoked");
        assert!(lease.keys.is_empty(), "lease {id:x} goes before its keys {:?}", lease.keys);
        if let Some(at) = lease.queued {
            self.queue.remove(&(at, id));
        }
        self.state_hash = self.state_hash.wrapping_sub(hash(id, &lease));
    }

    /// Forgets a lease in the backend alone.
    pub(crate) fn delete_stored(batch: &mut dyn Batch, id: LeaseId) {
        batch.delete(Bucket::Lease, &stored::key(id));
    }

    /// Notes how long a lease has left. It counts when a lessor becomes the primary. Says whether the backend was
    /// written to.
    pub fn checkpoint(&mut self, batch: &mut dyn Batch, id: LeaseId, remaining_ttl: i64, now: Monotonic) -> bool {
        let Some(lease) = self.leases.get_mut(&id) else { return false };
        let before = hash(id, lease);
        lease.remaining_ttl = remaining_ttl;
        self.state_hash = self.state_hash.wrapping_sub(before).wrapping_add(hash(id, lease));
        let ttl = lease.ttl;
        if self.settings.checkpoint_persist {
            batch.put(Bucket::Lease, stored::key(id), stored::encode(id, ttl, remaining_ttl));
        }
        if self.primary {
            self.schedule_checkpoint(id, now);
        }
        self.settings.checkpoint_persist
    }

    /// Attaches a key. False when there is no such lease.
    pub fn attach(&mut self, id: LeaseId, key: &Key) -> bool {
        let Some(lease) = self.leases.get_mut(&id) else { return false };
        lease.keys.insert(key.clone());
        self.items.insert(key.clone(), id);
        true
    }

    /// Takes a key off the lease that it is attached to.
    pub fn detach(&mut self, key: &Key) {
        if let Some(id) = self.items.remove(key) {
            let lease = self.leases.get_mut(&id).expect("a key is attached to a lease that exists");
            assert!(lease.keys.remove(key), "{key:?} is attached to lease {id:x}, which does not know");
        }
    }

    fn insert(&mut self, id: LeaseId, lease: Lease) {
        self.state_hash = self.state_hash.wrapping_add(hash(id, &lease));
        self.leases.insert(id, lease);
    }
}

/// Of what is the same on all members, whether or not one of them has restarted since a checkpoint.
fn hash(id: LeaseId, lease: &Lease) -> u64 {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    bytes[8..16].copy_from_slice(&lease.ttl.to_le_bytes());
    bytes[16..].copy_from_slice(&lease.remaining_ttl.to_le_bytes());
    xxh3_64(&bytes)
}
