//! The content of a file in memory: pages of 4 KiB, of which only those that hold something take any.
//!
//! A preallocated segment of 64 MB, a database that was grown by 16 MiB and a hole in the middle are lengths. Copies
//! share their pages until one of them is written; a page that was written whole is the writer's own memory, and what
//! is shown of them is their own. Nothing here knows what lasts.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use detcd_replica::Rope;

/// What a page cache writes back as a whole.
pub(super) const PAGE: u64 = 4096;

/// What is shown of a page that holds nothing.
static ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];

/// Changes a page where it lies, when nobody else holds it, and otherwise a copy.
fn patch(page: &mut Bytes, change: impl FnOnce(&mut [u8])) {
    let own = |shared: Bytes| BytesMut::from(&shared[..PAGE as usize]);
    let mut own = std::mem::take(page).try_into_mut().unwrap_or_else(own);
    own.truncate(PAGE as usize);
    change(&mut own);
    *page = own.freeze();
}

/// Bytes, and zeros wherever nothing was written.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// By number; each is whole, or empty where it holds nothing. One that was written with others behind it shows
    /// their memory too, whatever was written there since.
    pages: Vec<Bytes>,
    length: u64,
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Writes; the content grows, with zeros in any gap.
    pub(super) fn write(&mut self, offset: u64, data: &Rope) {
        for (start, piece) in data.pieces() {
            self.write_piece(offset + start as u64, piece);
        }
    }

    fn write_piece(&mut self, offset: u64, data: &Bytes) {
        let end = offset + data.len() as u64;
        // Where the last page ends that is written whole, if one is.
        let whole_until = data.len() - (end % PAGE).min(data.len() as u64) as usize;
        for (page, part) in pieces(offset, data.len()) {
            let bytes = &data[part.clone()];
            let index = usize::try_from(page).expect("a simulated file fits into memory");
            if self.pages.get(index).is_none_or(Bytes::is_empty) {
                if bytes.iter().all(|&byte| byte == 0) {
                    continue;
                }
                self.pages.resize(self.pages.len().max(index + 1), Bytes::new());
            }
            let held = &mut self.pages[index];
            if bytes.len() as u64 == PAGE {
                *held = data.slice(part.start..whole_until);
                continue;
            }
            if held.is_empty() {
                *held = Bytes::from(vec![0; PAGE as usize]);
            }
            let at = ((offset + part.start as u64) % PAGE) as usize;
            patch(held, |held| held[at..at + bytes.len()].copy_from_slice(bytes));
        }
        self.extend_to(end);
    }

    /// At least so long.
    pub(super) fn extend_to(&mut self, length: u64) {
        self.length = self.length.max(length);
    }

    /// Cuts off, or grows with zeros.
    pub(super) fn set_length(&mut self, length: u64) {
        if length < self.length {
            self.pages.truncate(length.div_ceil(PAGE) as usize);
            if let Some(last) = self.pages.get_mut((length / PAGE) as usize).filter(|last| !last.is_empty()) {
                patch(last, |last| last[(length % PAGE) as usize..].fill(0));
            }
        }
        self.length = length;
    }

    /// Where the zeros at the end begin.
    pub(super) fn used(&self) -> u64 {
        let last = |(page, held): (usize, &Bytes)| {
            let held = &held[..held.len().min(PAGE as usize)];
            held.iter().rposition(|&byte| byte != 0).map(|at| page as u64 * PAGE + at as u64 + 1)
        };
        self.pages.iter().enumerate().rev().find_map(last).unwrap_or(0)
    }

    /// The first so many bytes, where they lie.
    pub(super) fn rope(&self, length: u64) -> Rope {
        let length = usize::try_from(length).expect("a simulated file fits into memory");
        let (mut rope, mut page) = (Rope::default(), 0);
        while rope.len() < length {
            let held = self.pages.get(page).filter(|held| !held.is_empty());
            let (held, count) = match held {
                Some(held) => (held.clone(), self.still_there(page)),
                None => (Bytes::from_static(&ZEROS), 1),
            };
            let shown = (count * PAGE as usize).min(length - rope.len());
            rope.push(held.slice(..shown));
            page += count;
        }
        rope
    }

    /// How many pages from this one on are the memory that it shows.
    fn still_there(&self, page: usize) -> usize {
        let held = &self.pages[page];
        let is = |n: &usize| {
            let place = held.as_ptr() as usize + n * PAGE as usize;
            self.pages.get(page + n).is_some_and(|next| !next.is_empty() && next.as_ptr() as usize == place)
        };
        1 + (1..held.len() / PAGE as usize).take_while(is).count()
    }
}

/// A stretch of a file, page by page: the page, and which of the stretch's bytes are on it.
pub(super) fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        (done < length).then(|| {
            let at = offset + done as u64;
            let start = done;
            done = length.min(done + (PAGE - at % PAGE) as usize);
            (at / PAGE, start..done)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::draws;

    #[test]
    fn it_is_a_vector_that_costs_nothing_where_it_is_zero() {
        let mut draw = draws(1);
        for _ in 0..200 {
            let (mut content, mut model) = (Content::default(), Vec::new());
            for _ in 0..draw(30) {
                if draw(4) == 0 {
                    let length = draw(20_000);
                    content.set_length(length);
                    model.resize(length as usize, 0);
                } else {
                    let (at, data) = (draw(15_000) as usize, vec![draw(3) as u8; draw(6_000) as usize]);
                    let piece = 1 + draw(9_000) as usize;
                    content.write(at as u64, &data.chunks(piece).map(Bytes::copy_from_slice).collect());
                    if !data.is_empty() {
                        model.resize(model.len().max(at + data.len()), 0);
                        model[at..at + data.len()].copy_from_slice(&data);
                    }
                }
            }
            assert_eq!(content.length(), model.len() as u64);
            assert_eq!(content.rope(content.length()).to_bytes(), model);
            let used = model.iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1);
            assert_eq!(content.used(), used);
            assert_eq!(content.rope(used / 2).to_bytes()[..], model[..used as usize / 2]);
        }
    }

    #[test]
    fn holes_and_zeros_take_no_pages() {
        let mut content = Content::default();
        content.set_length(64_000_000);
        content.write(63_999_000, &b"the end".to_vec().into());
        content.write(0, &vec![0; 1 << 20].into());
        let held = |content: &Content| content.pages.iter().filter(|page| !page.is_empty()).count();
        assert_eq!((held(&content), content.length(), content.used()), (1, 64_000_000, 63_999_007));
        let copy = content.clone();
        content.write(63_999_000, &b"The".to_vec().into());
        assert_eq!(copy.rope(63_999_001).to_bytes()[63_999_000], b't');
        content.set_length(10);
        assert_eq!((held(&content), content.used()), (0, 0));
    }

    #[test]
    fn a_page_written_whole_is_the_writers_memory_until_it_is_patched() {
        let written = Bytes::from(vec![7; 2 * PAGE as usize]);
        let mut content = Content::default();
        content.write(PAGE, &written.clone().into());
        let views = |content: &Content| content.rope(3 * PAGE).pieces().count();
        assert_eq!(views(&content), 2, "zeros, and what was written, in one piece");
        let shares = |content: &Content| content.pages[2].as_ptr() == written[PAGE as usize..].as_ptr();
        assert!(shares(&content));
        let copy = content.clone();
        content.write(2 * PAGE + 9, &b"x".to_vec().into());
        assert!(shares(&copy) && !shares(&content));
        assert_eq!((views(&copy), views(&content)), (2, 3));
        assert_eq!(content.rope(3 * PAGE).to_bytes()[2 * PAGE as usize + 8..][..3], [7, b'x', 7]);
        assert!(written.iter().all(|&byte| byte == 7));
    }
}
