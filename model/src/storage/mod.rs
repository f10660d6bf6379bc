//! What etcd leaves on a disk, read by the judge's own eyes: bbolt's file, the write-ahead log, and what entries hold.
//!
//! Written from bbolt's and etcd's format descriptions, and sharing no code with the replica but the type of a file's
//! bytes, so that a mistake in how a replica writes its files cannot hide behind the same mistake in how they are read.
//! Everything here only reads, never panics whatever the bytes, and says what is wrong and where: a [`Damage`].
//!
//! It does not know what should be in the files; that is the business of the invariants.

pub mod auth;
pub mod db;
pub mod entry;
pub mod member;
pub(crate) mod request;
pub mod wal;

use std::fmt;

/// Why a file cannot be what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The place: a page, or a byte of a file.
    pub place: String,
    /// What is wrong there.
    pub reason: String,
}

impl Damage {
    pub(crate) fn new(place: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self { place: place.to_string(), reason: reason.into() }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// A little-endian number at an offset.
fn le_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

fn le_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn le_u16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}
