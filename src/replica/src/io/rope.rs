//! Bytes that lie in several pieces of memory, one after the other, each shared with whoever wrote it.
//!
//! What is on a disk, or on its way there, need not be copied to be looked at: a slice within one piece is that memory
//! itself. Where the pieces meet is nobody's business: ropes of the same bytes are equal.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// Bytes in pieces.
#[derive(Clone, Default)]
pub struct Rope {
    /// Each with the place in the rope where it ends; none is empty.
    pieces: Vec<(usize, Bytes)>,
}

impl Rope {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.pieces.last().map_or(0, |(end, _)| *end)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Appends a piece.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.pieces.push((self.len() + piece.len(), piece));
        }
    }

    /// The pieces, in order, each with the place of its first byte.
    pub fn pieces(&self) -> impl Iterator<Item = (usize, &Bytes)> {
        self.pieces.iter().map(|(end, piece)| (end - piece.len(), piece))
    }

    /// The bytes in `range`, in one piece of memory; `None` where the rope ends before it does, or it begins behind its
    /// end.
    pub fn get(&self, range: Range<usize>) -> Option<Bytes> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let first = self.pieces.partition_point(|(end, _)| *end <= range.start);
        let Some((end, piece)) = self.pieces.get(first).filter(|_| !range.is_empty()) else {
            return Some(Bytes::new());
        };
        let start = end - piece.len();
        if range.end <= *end {
            return Some(piece.slice(range.start - start..range.end - start));
        }
        let mut out = BytesMut::with_capacity(range.len());
        self.part(range).pieces().for_each(|(_, piece)| out.extend_from_slice(piece));
        Some(out.freeze())
    }

    /// The bytes in `range`, where they lie.
    ///
    /// # Panics
    /// When it is not within the rope.
    pub fn part(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len(), "{range:?} of {} bytes", self.len());
        let first = self.pieces.partition_point(|(end, _)| *end <= range.start);
        let mut part = Self::default();
        for (end, piece) in &self.pieces[first..] {
            let start = end - piece.len();
            if start >= range.end {
                break;
            }
            part.push(piece.slice(range.start.max(start) - start..range.end.min(*end) - start));
        }
        part
    }

    /// All of it in one piece of memory: a copy, unless it is that already.
    pub fn to_bytes(&self) -> Bytes {
        self.get(0..self.len()).expect("it is as long as it is")
    }
}

impl From<Bytes> for Rope {
    fn from(bytes: Bytes) -> Self {
        let mut rope = Self::default();
        rope.push(bytes);
        rope
    }
}

impl From<Vec<u8>> for Rope {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl FromIterator<Bytes> for Rope {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut rope = Self::default();
        pieces.into_iter().for_each(|piece| rope.push(piece));
        rope
    }
}

impl PartialEq for Rope {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.to_bytes() == other.to_bytes()
    }
}

impl Eq for Rope {}

impl Hash for Rope {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_bytes().hash(state);
    }
}

impl fmt::Debug for Rope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_string_wherever_its_pieces_meet() {
        let whole = Bytes::from_static(b"abcdefghij");
        for cuts in 0..1 << 9_u32 {
            let mut rope = Rope::default();
            let mut from = 0;
            for to in 1..=whole.len() {
                if to == whole.len() || cuts & 1 << (to - 1) != 0 {
                    rope.push(whole.slice(from..to));
                    from = to;
                }
            }
            assert_eq!((rope.len(), rope.to_bytes()), (whole.len(), whole.clone()));
            assert_eq!(rope, Rope::from(whole.clone()));
            for from in 0..=whole.len() {
                for to in from..=whole.len() {
                    let part = whole.slice(from..to);
                    assert_eq!(rope.part(from..to), Rope::from(part.clone()), "{cuts:b}, {from}..{to}");
                    assert_eq!(rope.get(from..to), Some(part), "{cuts:b}, {from}..{to}");
                }
            }
            assert_eq!((rope.get(3..11), rope.get(11..11)), (None, None));
            for (start, piece) in rope.pieces() {
                let shared = rope.get(start..start + piece.len()).expect("it is in there");
                assert_eq!(shared.as_ptr(), piece.as_ptr(), "no copy within a piece");
            }
        }
        assert!(Rope::default().is_empty() && Rope::from(Bytes::new()).is_empty());
        assert_ne!(Rope::from(b"ab".to_vec()), Rope::from(b"ac".to_vec()));
    }
}
