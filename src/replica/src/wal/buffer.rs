//! What waits to be written: small things copied one behind the other, large ones as the memory that they came in.
//!
//! The data of a large entry is the same memory in the message that brought it, in Raft's log and in what is applied;
//! so it is in what goes to the disk.

use bytes::{Bytes, BytesMut};

use crate::Rope;

/// Bytes from which on data is shared. A page of a file that lies within shared data needs no copy either, and in data
/// of two pages there is always one that does.
const SHARED: usize = 2 * 4096;

/// The bytes, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Buffer {
    whole: Rope,
    /// What was copied since.
    open: BytesMut,
}

impl Buffer {
    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.whole.len() + self.open.len()
    }

    /// Whether none does.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Room for so many bytes more, of which data from [`SHARED`] on needs none.
    pub(super) fn reserve(&mut self, lengths: impl Iterator<Item = usize>) {
        self.open.reserve(lengths.filter(|length| *length < SHARED).sum());
    }

    /// Appends a copy.
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
    }

    /// Appends data.
    pub(super) fn append(&mut self, data: &Bytes) {
        if data.len() < SHARED {
            return self.copy(data);
        }
        self.close();
        self.whole.push(data.clone());
    }

    /// Takes the first `length` bytes out.
    pub(super) fn take(&mut self, length: usize) -> Rope {
        self.close();
        let all = std::mem::take(&mut self.whole);
        if length == all.len() {
            return all;
        }
        self.whole = all.part(length..all.len());
        all.part(0..length)
    }

    fn close(&mut self) {
        self.whole.push(self.open.split().freeze());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_the_order_in_which_they_went_in() {
        let large = Bytes::from(vec![7; SHARED]);
        let mut buffer = Buffer::default();
        buffer.reserve([3, SHARED].into_iter());
        buffer.copy(b"abc");
        buffer.append(&Bytes::from_static(b"def"));
        buffer.append(&large);
        buffer.copy(b"ghi");
        assert_eq!((buffer.len(), buffer.is_empty()), (SHARED + 9, false));
        let all = [&b"abcdef"[..], &large, b"ghi"].concat();
        assert_eq!(buffer.take(10).to_bytes(), all[..10]);
        let rest = buffer.take(SHARED - 1);
        assert_eq!(rest.to_bytes(), all[10..SHARED + 9]);
        let (start, piece) = rest.pieces().next().expect("what is left of the data");
        assert_eq!((start, piece.as_ptr()), (0, large[4..].as_ptr()), "it is shared");
        assert!(buffer.is_empty() && buffer.take(0).is_empty());
    }
}
