//! A bbolt file, read only: which of its two meta pages counts, and a walk over everything that it reaches.
//!
//! ```text
//! page    id u64 · flags u16 (1 branch, 2 leaf, 4 meta, 16 freelist) · count u16 · overflow u32 · content
//! meta    magic u32 · version u32 · page size u32 · flags u32 · root bucket (root page u64, sequence u64)
//!         · freelist page u64 · first page never used u64 · txid u64 · FNV-64a of all these u64
//! branch  (position u32, key length u32, page u64)*, then the keys; positions count from their element
//! leaf    (flags u32, position u32, key length u32, value length u32)*, then keys and values; flag 1: a bucket
//! bucket  root page u64, sequence u64; root page 0: a leaf page follows inside the value
//! ```
//! Numbers are little endian. Pages 0 and 1 are metas, written in turn, so that one is always whole; the one with the
//! higher txid counts. Of the file no more is needed than the pages in use; etcd's grows ahead of them.

mod pages;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use detcd_replica::Rope;

use super::{le_u32, le_u64, Damage};

/// A key and its value, in the file's own memory.
type Pair = (Bytes, Bytes);

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// The freelist's page when the file keeps none: etcd lets bbolt rebuild it from what is not reached.
const NO_FREELIST: u64 = u64::MAX;
const PAGE_HEADER: usize = 16;
/// Bytes of a meta that its checksum covers.
const META_SUMMED: usize = 56;

/// What a meta page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Bytes of a page.
    pub page_size: u32,
    /// Root page of the bucket of buckets.
    pub root: u64,
    /// First page of the freelist; `None` when the file keeps none.
    pub freelist: Option<u64>,
    /// Pages from this one on were never used.
    pub high_water: u64,
    /// The transaction that wrote it.
    pub txid: u64,
}

impl Meta {
    /// The meta in the page that begins at `at`, if it is whole.
    fn parse(file: &Rope, at: usize) -> Option<Self> {
        let start = at + PAGE_HEADER;
        let meta = &file.get(start..start + META_SUMMED + 8)?[..];
        let sound = le_u32(meta, 0)? == MAGIC
            && le_u32(meta, 4)? == VERSION
            && le_u64(meta, META_SUMMED)? == fnv_64a(&meta[..META_SUMMED]);
        if !sound {
            return None;
        }
        let freelist = le_u64(meta, 32)?;
        Some(Self {
            page_size: le_u32(meta, 8)?,
            root: le_u64(meta, 16)?,
            freelist: (freelist != NO_FREELIST).then_some(freelist),
            high_water: le_u64(meta, 40)?,
            txid: le_u64(meta, 48)?,
        })
    }
}

fn fnv_64a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What a walk has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Pages that something reaches, metas and freelist counted.
    pub reached: u64,
    /// Pages that are free: listed so, or, without a freelist, all others.
    pub free: u64,
    /// Keys of all buckets.
    pub keys: u64,
}

/// A bbolt file.
#[derive(Clone, Copy, Debug)]
pub struct Db<'a> {
    file: &'a Rope,
    meta: Meta,
}

impl<'a> Db<'a> {
    /// Chooses the meta page.
    ///
    /// # Errors
    /// Neither is valid, or the two cannot stand side by side: each commit writes the one that the commit before has
    /// not written, so their transactions follow each other, and the newer one is where its number says. A copy of a
    /// database begins differently: the newest is on page 0, whatever its number. If that is odd, the commit after it
    /// replaces it, and the next older one stays.
    pub fn open(file: &'a Rope) -> Result<Self, Damage> {
        // The second meta is where the first says that a page ends; when there is no first, it is looked for.
        let first = Meta::parse(file, 0);
        let sizes = match first {
            Some(meta) => vec![meta.page_size as usize],
            None => (9..=16).map(|bits| 1 << bits).collect(),
        };
        let second =
            sizes.into_iter().find_map(|size| Meta::parse(file, size).filter(|it| it.page_size as usize == size));
        let meta = match (first, second) {
            (None, None) => return Err(Damage::new("meta", "neither meta page is valid")),
            (Some(meta), None) | (None, Some(meta)) => meta,
            (Some(first), Some(second)) => {
                let after_copy = first.txid % 2 == 0 && first.txid.checked_sub(2) == Some(second.txid);
                if first.txid.abs_diff(second.txid) != 1 && !after_copy {
                    let reason = format!("transactions {} and {} do not follow each other", first.txid, second.txid);
                    return Err(Damage::new("meta", reason));
                }
                if first.txid > second.txid {
                    first
                } else {
                    second
                }
            }
        };
        if !meta.page_size.is_power_of_two() || meta.page_size < 512 {
            return Err(Damage::new("meta", format!("{} is no page size", meta.page_size)));
        }
        let slot = if first == Some(meta) { 0 } else { 1 };
        if meta.txid % 2 != slot && slot == 1 {
            return Err(Damage::new("meta", format!("transaction {} is in meta page {slot}", meta.txid)));
        }
        Ok(Self { file, meta })
    }

    /// The meta that counts.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Shows every pair of every bucket of the first level, bucket by bucket in the order of their names and in the
    /// order of keys: name, key, value. A bucket without a pair is shown with neither.
    ///
    /// On the way everything is checked that makes the file sound: each page is reached once or is free, is of the
    /// right kind and inside the file; keys are in order, within a page and between pages; every element is inside its
    /// page.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn walk(&self, visit: &mut dyn FnMut(&Bytes, Option<Pair>)) -> Result<Census, Damage> {
        pages::walk(self, visit)
    }
}
