//! The content of a file in memory: pages of 4 KiB, of which only those that hold something take any.
//!
//! A preallocated segment of 64 MB, a database that was grown by 16 MiB and a hole in the middle are lengths. Copies
//! share their pages until one of them is written, and a page that was written whole is the writer's own memory.
//! Nothing here knows what lasts.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// What a page cache writes back as a whole.
pub(super) const PAGE: u64 = 4096;

/// Changes a page where it lies, when nobody else holds it, and otherwise a copy.
fn patch(page: &mut Bytes, change: impl FnOnce(&mut [u8])) {
    let mut own = std::mem::take(page).try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    change(&mut own);
    *page = own.freeze();
}

/// Bytes, and zeros wherever nothing was written.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// By number; each is whole, or empty where it holds nothing.
    pages: Vec<Bytes>,
    length: u64,
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Writes; the content grows, with zeros in any gap.
    pub(super) fn write(&mut self, offset: u64, data: &Bytes) {
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
                *held = data.slice(part);
                continue;
            }
            if held.is_empty() {
                *held = Bytes::from(vec![0; PAGE as usize]);
            }
            let at = ((offset + part.start as u64) % PAGE) as usize;
            patch(held, |held| held[at..at + bytes.len()].copy_from_slice(bytes));
        }
        if !data.is_empty() {
            self.extend_to(offset + data.len() as u64);
        }
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
            held.iter().rposition(|&byte| byte != 0).map(|at| page as u64 * PAGE + at as u64 + 1)
        };
        self.pages.iter().enumerate().rev().find_map(last).unwrap_or(0)
    }

    /// The first so many bytes. What holds nothing is never touched, so that it costs no memory here either.
    pub(super) fn bytes(&self, length: u64) -> Bytes {
        let mut all = vec![0; usize::try_from(length).expect("a simulated file fits into memory")];
        for (place, held) in all.chunks_mut(PAGE as usize).zip(&self.pages) {
            if !held.is_empty() {
                place.copy_from_slice(&held[..place.len()]);
            }
        }
        Bytes::from(all)
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

    #[test]
    fn it_is_a_vector_that_costs_nothing_where_it_is_zero() {
        let mut random = 1u64;
        let mut draw = move |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        for _ in 0..200 {
            let (mut content, mut model) = (Content::default(), Vec::new());
            for _ in 0..draw(30) {
                if draw(4) == 0 {
                    let length = draw(20_000);
                    content.set_length(length);
                    model.resize(length as usize, 0);
                } else {
                    let (at, data) = (draw(15_000) as usize, vec![draw(3) as u8; draw(6_000) as usize]);
                    content.write(at as u64, &Bytes::from(data.clone()));
                    if !data.is_empty() {
                        model.resize(model.len().max(at + data.len()), 0);
                        model[at..at + data.len()].copy_from_slice(&data);
                    }
                }
            }
            assert_eq!(content.length(), model.len() as u64);
            assert_eq!(content.bytes(content.length()), model);
            let used = model.iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1);
            assert_eq!(content.used(), used);
            assert_eq!(content.bytes(used / 2)[..], model[..used as usize / 2]);
        }
    }

    #[test]
    fn holes_and_zeros_take_no_pages() {
        let mut content = Content::default();
        content.set_length(64_000_000);
        content.write(63_999_000, &Bytes::from_static(b"the end"));
        content.write(0, &Bytes::from(vec![0; 1 << 20]));
        let held = |content: &Content| content.pages.iter().filter(|page| !page.is_empty()).count();
        assert_eq!((held(&content), content.length(), content.used()), (1, 64_000_000, 63_999_007));
        let copy = content.clone();
        content.write(63_999_000, &Bytes::from_static(b"The"));
        assert_eq!(copy.bytes(63_999_001)[63_999_000], b't');
        content.set_length(10);
        assert_eq!((held(&content), content.used()), (0, 0));
    }

    #[test]
    fn a_page_written_whole_is_the_writers_memory_until_it_is_patched() {
        let written = Bytes::from(vec![7; 2 * PAGE as usize]);
        let mut content = Content::default();
        content.write(PAGE, &written);
        let shares = |content: &Content| content.pages[2].as_ptr() == written[PAGE as usize..].as_ptr();
        assert!(shares(&content));
        let copy = content.clone();
        content.write(2 * PAGE + 9, &Bytes::from_static(b"x"));
        assert!(shares(&copy) && !shares(&content));
        assert_eq!(content.bytes(3 * PAGE)[2 * PAGE as usize + 8..][..3], [7, b'x', 7]);
        assert!(written.iter().all(|&byte| byte == 7));
    }
}
