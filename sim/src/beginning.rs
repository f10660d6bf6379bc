//! What a world begins with, where that is not empty disks. Plain data.

use std::collections::BTreeSet;

use bytes::Bytes;
use detcd_replica::{Address, DiskImage, MemberId};

/// What was before the first event.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// What is on the disks.
    pub disks: Disks,
    /// The user that every client's certificate names, where clients must say who they are.
    pub user: Option<String>,
}

/// What is on the disks.
#[derive(Clone, Debug)]
pub enum Disks {
    /// This database on each founder's when it first boots, as `etcdutl snapshot restore` leaves it.
    Founded(Bytes),
    /// All of a former member's on the first, and nothing on the others, who join it one after the other before clients
    /// and faults begin.
    Continued(Box<Former>),
}

/// A member that has been one before, somewhere else.
#[derive(Clone, Debug)]
pub struct Former {
    /// Its files.
    pub image: DiskImage,
    /// Its id, and that of its cluster, as its log has them.
    pub member: MemberId,
    /// The cluster's id.
    pub cluster: u64,
    /// How it is called and reached.
    pub address: Address,
    /// Whether it first boots as the only one of a cluster of its own, without what its log has not committed.
    pub force_new_cluster: bool,
    /// Who else is, or was, a member of its cluster: none of the world's members is called so.
    pub others: BTreeSet<MemberId>,
}
