//! Which pages may be written: free ones, and those that a transaction has given up but that somebody may still read.
//!
//! The order is that of bbolt's array freelist: the lowest run that fits. A page that transaction `t` gives up is
//! pending under `t` until no reader of a transaction before `t` is left, or none that could have seen it: one that was
//! allocated and given up between two readers is free as well.

use std::collections::{BTreeMap, VecDeque};

use super::meta::Txid;
use super::page::{put_header, u64_at, Page, Pgid, FREELIST, HEADER};

/// From this count on the page's header cannot hold it, and the first entry does.
const COUNT_OVERFLOW: usize = 0xFFFF;

/// Pages that one transaction has given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Pending {
    /// Each with the transaction that had allocated it from the freelist; 0 when none had.
    pages: Vec<(Pgid, Txid)>,
    /// Where the range of the last release began, so that the same release is not tried again.
    released_from: Txid,
}

/// The freelist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Freelist {
    /// In order.
    free: VecDeque<Pgid>,
    pending: BTreeMap<Txid, Pending>,
    /// Which transaction allocated a page, of those allocated from here.
    allocated: BTreeMap<Pgid, Txid>,
    /// A bit for each page that is free or pending.
    freed: Vec<u64>,
    /// The transactions whose trees are being read; one entry for each reader.
    readers: Vec<Txid>,
}

impl Freelist {
    /// With these pages free, in any order.
    pub(super) fn new(mut pages: Vec<Pgid>) -> Self {
        pages.sort_unstable();
        let mut list = Self { free: pages.into(), ..Self::default() };
        list.reindex();
        list
    }

    /// The pages on a freelist page: each in the order it has there.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(page: &Page) -> Result<Vec<Pgid>, String> {
        if page.flags() != FREELIST {
            return Err(format!("invalid freelist page: its flags are {:#x}", page.flags()));
        }
        let body = &page.0[HEADER..];
        let (skipped, count) = match page.count() {
            COUNT_OVERFLOW if body.len() >= 8 => (1, usize::try_from(u64_at(body, 0)).unwrap_or(usize::MAX)),
            count => (0, count),
        };
        if count > body.len() / 8 - skipped.min(body.len() / 8) {
            return Err(format!("invalid freelist page: {count} entries do not fit"));
        }
        Ok((skipped..skipped + count).map(|at| Pgid(u64_at(body, at * 8))).collect())
    }

    pub(super) fn free_count(&self) -> usize {
        self.free.len()
    }

    pub(super) fn pending_count(&self) -> usize {
        self.pending.values().map(|pending| pending.pages.len()).sum()
    }

    fn count(&self) -> usize {
        self.free_count() + self.pending_count()
    }

    /// Whether a page is free or pending.
    pub(super) fn is_freed(&self, page: Pgid) -> bool {
        self.freed.get(page.index() / 64).is_some_and(|word| word & (1 << (page.0 % 64)) != 0)
    }

    fn mark(&mut self, page: Pgid, freed: bool) {
        let word = page.index() / 64;
        if word >= self.freed.len() {
            self.freed.resize(word + 1, 0);
        }
        let bit = 1 << (page.0 % 64);
        match freed {
            true => self.freed[word] |= bit,
            false => self.freed[word] &= !bit,
        }
    }

    fn reindex(&mut self) {
        self.freed.clear();
        for page in self.all() {
            self.mark(page, true);
        }
    }

    /// Takes `count` pages in a row, if there are any: the lowest run.
    pub(super) fn allocate(&mut self, txid: Txid, count: usize) -> Option<Pgid> {
        let (mut initial, mut previous) = (Pgid::NONE, Pgid::NONE);
        let mut found = None;
        for (at, page) in self.free.iter().copied().enumerate() {
            assert!(page.0 > 1, "page {} can never be free", page.0);
            if previous == Pgid::NONE || page.0 - previous.0 != 1 {
                initial = page;
            }
            if page.0 - initial.0 + 1 == count as u64 {
                found = Some(at);
                break;
            }
            previous = page;
        }
        let end = found? + 1;
        self.free.drain(end - count..end);
        for page in 0..count as u64 {
            self.mark(Pgid(initial.0 + page), false);
        }
        self.allocated.insert(initial, txid);
        Some(initial)
    }

    /// Gives up a page and its overflow: they are free once nobody can read them.
    pub(super) fn free(&mut self, txid: Txid, page: Pgid, overflow: u32) {
        assert!(page.0 > 1, "page {} holds the meta", page.0);
        let allocated = self.allocated.remove(&page).unwrap_or_default();
        assert_ne!(allocated, txid, "page {} is given up by the transaction that allocated it", page.0);
        for page in (page.0..=page.0 + u64::from(overflow)).map(Pgid) {
            assert!(!self.is_freed(page), "page {} is given up twice", page.0);
            self.mark(page, true);
            self.pending.entry(txid).or_default().pages.push((page, allocated));
        }
    }

    /// Undoes what transaction `txid` gave up and allocated. What it allocated is not free again before
    /// [`Freelist::reload`].
    pub(super) fn rollback(&mut self, txid: Txid) {
        let Some(pending) = self.pending.remove(&txid) else { return };
        for (page, allocated) in pending.pages {
            self.mark(page, false);
            if allocated != Txid::default() {
                self.allocated.insert(page, allocated);
            }
        }
        self.allocated.retain(|_, by| *by != txid);
    }

    /// Takes `pages`, which the file says are not in use, as free, but for those that are pending.
    pub(super) fn reload(&mut self, pages: Vec<Pgid>) {
        let mut free = pages;
        free.sort_unstable();
        let pending: Vec<Pgid> = self.pending.values().flat_map(|of| of.pages.iter().map(|(page, _)| *page)).collect();
        free.retain(|page| !pending.contains(page));
        self.free = free.into();
        self.reindex();
    }

    pub(super) fn add_reader(&mut self, txid: Txid) {
        self.readers.push(txid);
    }

    pub(super) fn remove_reader(&mut self, txid: Txid) {
        let at = self.readers.iter().position(|reader| *reader == txid).expect("a reader is registered once opened");
        self.readers.swap_remove(at);
    }

    pub(super) fn reader_count(&self) -> usize {
        self.readers.len()
    }

    /// Frees every pending page that no reader can see.
    pub(super) fn release_pending(&mut self, readers: Readers) {
        self.readers.sort_unstable();
        let open = match readers {
            Readers::Respected => self.readers.clone(),
            Readers::Ignored => Vec::new(),
        };
        let mut from = open.first().copied().unwrap_or(Txid(u64::MAX));
        if from.0 > 0 {
            self.release(Txid(from.0 - 1));
        }
        for reader in open {
            if let Some(to) = reader.0.checked_sub(1) {
                self.release_range(from, Txid(to));
            }
            from = Txid(reader.0 + 1);
        }
        self.release_range(from, Txid(u64::MAX));
    }

    /// Frees all that transactions up to `txid` gave up.
    fn release(&mut self, txid: Txid) {
        let mut released = Vec::new();
        while let Some(entry) = self.pending.first_entry().filter(|entry| *entry.key() <= txid) {
            released.extend(entry.remove().pages.into_iter().map(|(page, _)| page));
        }
        self.merge(released);
    }

    /// Frees what was both allocated and given up by transactions from `from` to `to`.
    fn release_range(&mut self, from: Txid, to: Txid) {
        if from > to {
            return;
        }
        let mut released = Vec::new();
        for pending in self.pending.range_mut(from..=to).map(|(_, pending)| pending) {
            if pending.released_from == from {
                continue;
            }
            pending.pages.retain(|(page, allocated)| {
                let hidden = (from..=to).contains(allocated);
                if hidden {
                    released.push(*page);
                }
                !hidden
            });
            pending.released_from = from;
        }
        self.pending.retain(|_, pending| !pending.pages.is_empty());
        self.merge(released);
    }

    fn merge(&mut self, mut pages: Vec<Pgid>) {
        if pages.is_empty() {
            return;
        }
        pages.extend(self.free.drain(..));
        pages.sort_unstable();
        self.free = pages.into();
    }

    /// Every page that is free or pending, in order.
    pub(super) fn all(&self) -> Vec<Pgid> {
        let pending = self.pending.values().flat_map(|pending| pending.pages.iter().map(|(page, _)| *page));
        let mut all: Vec<Pgid> = self.free.iter().copied().chain(pending).collect();
        all.sort_unstable();
        all
    }

    /// Bytes that it takes on a page; never too few, even if the page is then allocated from itself.
    pub(super) fn page_bytes(&self) -> usize {
        let count = self.count();
        HEADER + 8 * (count + usize::from(count >= COUNT_OVERFLOW))
    }

    /// Writes it as page `id` onto `out`, which is zeroed and long enough.
    pub(super) fn put(&self, out: &mut [u8], id: Pgid, overflow: u32) {
        let all = self.all();
        let mut entries = Vec::with_capacity(all.len() + 1);
        let count = if all.len() < COUNT_OVERFLOW {
            all.len() as u16
        } else {
            entries.push(all.len() as u64);
            COUNT_OVERFLOW as u16
        };
        entries.extend(all.iter().map(|page| page.0));
        put_header(out, id, FREELIST, count, overflow);
        for (at, entry) in entries.into_iter().enumerate() {
            out[HEADER + at * 8..HEADER + at * 8 + 8].copy_from_slice(&entry.to_le_bytes());
        }
    }
}

/// Whether a release asks who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readers {
    /// It does.
    Respected,
    /// It does not: a bug.
    Ignored,
}
