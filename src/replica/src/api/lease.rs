//! The requests on leases.

use super::LeaseId;

/// `LeaseGrantRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseGrantRequest {
    /// The id it shall have; 0 lets the member choose.
    pub id: LeaseId,
    /// Seconds to live. The member raises it to its minimum.
    pub ttl: i64,
}

/// `LeaseCheckpoint`: how much of its time a lease has left. Only the leader makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseCheckpoint {
    /// The lease.
    pub id: LeaseId,
    /// Seconds.
    pub remaining_ttl: i64,
}
