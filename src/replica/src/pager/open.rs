//! Opening a file: which page size, which meta, which pages are free; and whether anything in it can be trusted.

use std::fmt;

use bytes::Bytes;

use super::check::{walk, Fault};
use super::freelist::Freelist;
use super::meta::{Meta, MetaError, Txid};
use super::page::Pgid;
use super::stats::Stats;
use super::table::Table;
use super::{Options, Pager};
use crate::{Bug, FileName};

/// bbolt reads so many bytes to find a meta.
const META_READ: usize = 4096;
/// Powers of two from 1 KiB on at which the second meta is looked for.
const PAGE_SIZES: u32 = 15;
/// The memory map doubles from here…
const MAP_MIN: u64 = 1 << 15;
/// …up to here, and then grows by as much.
const MAP_STEP: u64 = 1 << 30;

/// Why a file cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// There is no room for two meta pages.
    TooSmall {
        /// Bytes of the file.
        length: u64,
    },
    /// Neither meta page can be read.
    NoMeta {
        /// What is wrong with the first one.
        first: String,
        /// What is wrong with the second one, if it could be found.
        second: String,
    },
    /// The tree or the freelist is damaged.
    Damaged(Fault),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSmall { length } => write!(f, "file size too small: {length} bytes"),
            Self::NoMeta { first, second } => write!(f, "page 0: {first}; page 1: {second}"),
            Self::Damaged(fault) => fault.fmt(f),
        }
    }
}

impl Pager {
    /// Opens what is in a file of `length` bytes, of which those behind `bytes` are zeros. Pages share that memory.
    ///
    /// # Errors
    /// [`OpenError`], with the page and what is wrong with it. A data page is looked at only if the newest meta leads
    /// to it. Values are not looked at.
    pub fn open(file: FileName, bytes: &Bytes, length: u64, options: Options) -> Result<Self, OpenError> {
        assert!(bytes.len() as u64 <= length, "no more is shown of a file than it has");
        let page_size = find_page_size(bytes).unwrap_or(options.page_size);
        if length < 2 * page_size as u64 {
            return Err(OpenError::TooSmall { length });
        }
        let metas = [0, 1].map(|page| {
            let meta = Meta::parse(bytes.get(page * page_size..).unwrap_or_default())?;
            if meta.page_size != page_size {
                return Err(MetaError::Content);
            }
            Ok(meta)
        });
        let meta = newest(metas)?;
        let high_water = usize::try_from(meta.high_water.0).unwrap_or(usize::MAX);
        let table = Table::of_file(bytes, length, page_size, high_water);
        let free = free_pages(&table, &meta).map_err(OpenError::Damaged)?;
        let meta_cached = !options.bugs.has(Bug::MetaNotSyncedAtOpen);
        Ok(Self { meta_cached, ..Self::with(file, options, table, meta, free, length) })
    }

    /// The file was synced after its last write, or will be before anybody relies on it.
    #[must_use]
    pub fn durable(self) -> Self {
        Self { meta_cached: false, ..self }
    }

    /// A pager on a file that lasts.
    pub(super) fn with(
        file: FileName,
        options: Options,
        table: Table,
        meta: Meta,
        free: Vec<Pgid>,
        length: u64,
    ) -> Self {
        let freelist = Freelist::new(free);
        let stats = Stats { free_pages: freelist.free_count() as u64, ..Stats::default() };
        let mapped = map_size(length.max(options.initial_map));
        Self { file, options, table, meta, freelist, length, mapped, meta_cached: false, tx: None, commit: None, stats }
    }
}

/// The newest meta that can be read.
fn newest(metas: [Result<Meta, MetaError>; 2]) -> Result<Meta, OpenError> {
    let txid = |meta: &Result<Meta, MetaError>| meta.as_ref().map_or(Txid::default(), |meta| meta.txid);
    let second_is_newer = txid(&metas[1]) > txid(&metas[0]);
    match metas {
        [Ok(_), Ok(second)] if second_is_newer => Ok(second),
        [Ok(first), _] => Ok(first),
        [Err(_), Ok(second)] => Ok(second),
        [Err(first), Err(second)] => Err(OpenError::NoMeta { first: first.to_string(), second: second.to_string() }),
    }
}

/// From the first meta, or from the second one, wherever it may be.
fn find_page_size(bytes: &[u8]) -> Option<usize> {
    if let Some(Ok(meta)) = bytes.get(..META_READ).map(Meta::parse) {
        return Some(meta.page_size);
    }
    let places = (0..PAGE_SIZES).map(|power| 1024 << power);
    let reachable = places.take_while(|place: &usize| place + 1024 < bytes.len());
    reachable.filter_map(|place| Meta::parse(&bytes[place..]).ok()).map(|meta| meta.page_size).next()
}

/// The pages that the tree of `meta` does not use: as the file's freelist says, or as a walk finds. The tree is walked
/// in any case: nothing else looks at pages before it trusts them.
pub(super) fn free_pages(table: &Table, meta: &Meta) -> Result<Vec<Pgid>, Fault> {
    let reached = walk(table, meta)?;
    let Some(id) = meta.freelist else {
        let free = |page: &Pgid| !reached.get(page.index()).copied().unwrap_or_default();
        return Ok((2..meta.high_water.0).map(Pgid).filter(free).collect());
    };
    let fault = |reason: String| Fault { page: id, reason };
    if id.index() >= table.len() {
        return Err(fault("the freelist lies behind the file".into()));
    }
    let page = table.page(id);
    if page.id() != id || id.0 + u64::from(page.overflow()) >= table.len() as u64 {
        return Err(fault("invalid freelist page".into()));
    }
    let mut free = Freelist::parse(&page).map_err(fault)?;
    free.sort_unstable();
    if free.iter().any(|page| page.0 < 2 || *page >= meta.high_water) {
        return Err(fault("the freelist has a page that does not exist".into()));
    }
    if free.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(fault("the freelist has a page twice".into()));
    }
    Ok(free)
}

/// Bytes of a memory map for a file of `size`.
pub(super) fn map_size(size: u64) -> u64 {
    if size <= MAP_STEP {
        size.next_power_of_two().max(MAP_MIN)
    } else {
        size.next_multiple_of(MAP_STEP)
    }
}
