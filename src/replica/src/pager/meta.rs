//! The meta page: which tree is the current one. Two pages hold it in turn, so that one of them is always whole.
//!
//! ```text
//! page header · magic u32 · version u32 · page size u32 · flags u32 · root page u64 · sequence u64
//! · freelist page u64 · high-water mark u64 · transaction u64 · FNV-64a of these u64
//! ```

use super::page::{put_header, u32_at, u64_at, Pgid, HEADER, META};

/// Number of a write transaction. It counts up by one with each commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Txid(pub u64);

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// The freelist page of a file that does not keep one.
const NO_FREELIST: u64 = u64::MAX;
/// Bytes of the meta behind the page header, without the checksum.
const SUMMED: usize = 56;
/// Bytes of a meta page that mean anything.
pub(super) const META_END: usize = HEADER + SUMMED + 8;

/// What a meta page says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Meta {
    pub(super) page_size: usize,
    pub(super) flags: u32,
    /// Root page of the bucket that holds the top-level buckets.
    pub(super) root: Pgid,
    pub(super) sequence: u64,
    /// The page of the freelist; `None` when the file does not keep one.
    pub(super) freelist: Option<Pgid>,
    /// Pages from here on were never used.
    pub(super) high_water: Pgid,
    pub(super) txid: Txid,
}

/// Why a meta page does not count, as bbolt tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaError {
    TooShort,
    Magic,
    Version(u32),
    Checksum,
    Content,
}

impl std::fmt::Display for MetaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooShort => f.write_str("it is cut off"),
            Self::Magic => f.write_str("invalid database: the magic number is wrong"),
            Self::Version(version) => write!(f, "version mismatch: {version} instead of {VERSION}"),
            Self::Checksum => f.write_str("checksum error"),
            Self::Content => f.write_str("its checksum is right, but no database is like that"),
        }
    }
}

impl Meta {
    /// Of a new file: an empty freelist on page 2, an empty root leaf on page 3.
    pub(super) fn initial(page_size: usize, txid: Txid) -> Self {
        let (freelist, root) = (Some(Pgid(2)), Pgid(3));
        Self { page_size, flags: 0, root, sequence: 0, freelist, high_water: Pgid(4), txid }
    }

    /// The page that it goes to.
    pub(super) fn page(&self) -> Pgid {
        Pgid(self.txid.0 % 2)
    }

    /// Writes it onto a zeroed page that calls itself `id`.
    pub(super) fn put(&self, out: &mut [u8], id: Pgid) {
        assert!(self.root < self.high_water, "the root page is above the high-water mark");
        assert!(self.freelist.is_none_or(|page| page < self.high_water), "the freelist is above the high-water mark");
        put_header(out, id, META, 0, 0);
        let body = &mut out[HEADER..META_END];
        for (at, number) in [MAGIC, VERSION, self.page_size as u32, self.flags].into_iter().enumerate() {
            body[at * 4..at * 4 + 4].copy_from_slice(&number.to_le_bytes());
        }
        let freelist = self.freelist.map_or(NO_FREELIST, |page| page.0);
        let numbers = [self.root.0, self.sequence, freelist, self.high_water.0, self.txid.0];
        for (at, number) in numbers.into_iter().enumerate() {
            body[16 + at * 8..24 + at * 8].copy_from_slice(&number.to_le_bytes());
        }
        let sum = fnv64a(&body[..SUMMED]);
        body[SUMMED..].copy_from_slice(&sum.to_le_bytes());
    }

    /// Reads the meta from the start of a page.
    pub(super) fn parse(page: &[u8]) -> Result<Self, MetaError> {
        let body = page.get(HEADER..META_END).ok_or(MetaError::TooShort)?;
        if u32_at(body, 0) != MAGIC {
            return Err(MetaError::Magic);
        }
        if u32_at(body, 4) != VERSION {
            return Err(MetaError::Version(u32_at(body, 4)));
        }
        if u64_at(body, SUMMED) != fnv64a(&body[..SUMMED]) {
            return Err(MetaError::Checksum);
        }
        let page_size = u32_at(body, 8) as usize;
        let freelist = u64_at(body, 32);
        let meta = Self {
            page_size,
            flags: u32_at(body, 12),
            root: Pgid(u64_at(body, 16)),
            sequence: u64_at(body, 24),
            freelist: (freelist != NO_FREELIST).then_some(Pgid(freelist)),
            high_water: Pgid(u64_at(body, 40)),
            txid: Txid(u64_at(body, 48)),
        };
        let used = 2..meta.high_water.0;
        let sound = page_size.is_power_of_two()
            && (512..=1 << 24).contains(&page_size)
            && meta.high_water.0 <= u64::MAX / page_size as u64
            && used.contains(&meta.root.0)
            && meta.freelist.is_none_or(|page| used.contains(&page.0))
            && meta.txid.0 < u64::MAX - 1;
        sound.then_some(meta).ok_or(MetaError::Content)
    }
}

fn fnv64a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
