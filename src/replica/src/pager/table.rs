//! The pages as the memory map shows them: whatever was written last, whoever still reads.
//!
//! A page with overflow is one piece of memory, which every entry of the run shares: entry `n` shows the bytes from
//! page `n` to the run's end. When a later write has replaced part of a run, reading it puts the pieces together, as a
//! memory map would.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use bytes::{Bytes, BytesMut};

use super::page::{Page, Pgid};

/// The table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    page_size: usize,
    /// By page number; each entry is at least a page long.
    pages: Vec<Page>,
}

impl Table {
    /// The whole pages of a file that is `length` bytes long, as many as `limit`. What `file` does not show are zeros.
    pub(super) fn of_file(file: &Bytes, length: u64, page_size: usize, limit: usize) -> Self {
        let whole = usize::try_from(length / page_size as u64).unwrap_or(usize::MAX);
        let zeros = Bytes::from(vec![0; page_size]);
        let page = |page: usize| match file.get(page * page_size..).unwrap_or_default() {
            [] => zeros.clone(),
            shown if shown.len() >= page_size => file.slice(page * page_size..(page + 1) * page_size),
            shown => Bytes::from([shown, &zeros[shown.len()..]].concat()),
        };
        Self { page_size, pages: (0..whole.min(limit)).map(page).map(Page).collect() }
    }

    pub(super) fn page_size(&self) -> usize {
        self.page_size
    }

    /// How many pages there are.
    pub(super) fn len(&self) -> usize {
        self.pages.len()
    }

    /// One page's bytes, without its overflow.
    pub(super) fn single(&self, id: Pgid) -> &[u8] {
        &self.pages[id.index()].0[..self.page_size]
    }

    /// A page with its overflow.
    ///
    /// # Panics
    /// If it lies behind the end. A tree that was checked when the file was opened never points there.
    pub(super) fn page(&self, id: Pgid) -> Cow<'_, Page> {
        let first = &self.pages[id.index()];
        let length = (first.overflow() as usize + 1) * self.page_size;
        if first.0.len() == length && self.is_whole(id.index(), length) {
            return Cow::Borrowed(first);
        }
        Cow::Owned(self.run(id, length / self.page_size))
    }

    /// `count` pages from `id` on, as one piece; fewer when the table ends before.
    pub(super) fn run(&self, id: Pgid, count: usize) -> Page {
        let mut bytes = BytesMut::with_capacity(count * self.page_size);
        for piece in self.pages.iter().skip(id.index()).take(count) {
            bytes.extend_from_slice(&piece.0[..self.page_size]);
        }
        Page(bytes.freeze())
    }

    /// Whether the run of `length` bytes at `start` is still the memory that it was written from.
    fn is_whole(&self, start: usize, length: usize) -> bool {
        let memory = self.pages[start].0.as_ptr() as usize;
        let pages = length / self.page_size;
        (1..pages).all(|at| {
            let piece = self.pages.get(start + at);
            piece.is_some_and(|piece| piece.0.as_ptr() as usize == memory + at * self.page_size)
        })
    }

    /// Puts a page with its overflow in place.
    pub(super) fn write(&mut self, id: Pgid, bytes: &Bytes) {
        let (start, count) = (id.index(), bytes.len() / self.page_size);
        assert_eq!(count * self.page_size, bytes.len(), "page {} is not whole pages", id.0);
        if self.pages.len() < start {
            self.pages.resize(start, Page(Bytes::from(vec![0; self.page_size])));
        }
        for at in 0..count {
            let page = Page(bytes.slice(at * self.page_size..));
            match self.pages.get_mut(start + at) {
                Some(place) => *place = page,
                None => self.pages.push(page),
            }
        }
    }
}

impl Hash for Table {
    /// Each page once, though the entries of a run overlap.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.page_size.hash(state);
        for page in &self.pages {
            page.0[..self.page_size].hash(state);
        }
    }
}
