//! Byte order, by the first eight bytes as a number where that decides: the backend's keys are revisions, which mostly
//! differ there, and to compare numbers costs a fraction of comparing strings.

use std::cmp::Ordering;

/// The first bytes of a key as a number, with zeros behind a key that is shorter. Of two keys in byte order the first
/// never has the greater one.
pub(crate) fn head(key: &[u8]) -> u64 {
    let first = key.first_chunk().copied().unwrap_or_else(|| {
        let mut padded = [0; 8];
        padded[..key.len()].copy_from_slice(key);
        padded
    });
    u64::from_be_bytes(first)
}

/// Byte order.
pub(crate) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    head(a).cmp(&head(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_byte_order() {
        let mut keys = vec![Vec::new(), vec![0xff; 9]];
        for length in [1, 7, 8, 9, 17, 18] {
            for last in [0, 1, b'_', 0xff] {
                for first in [0, 5, 0xff] {
                    let mut key = vec![3; length];
                    (key[length - 1], key[0]) = (last, first);
                    keys.push(key);
                }
            }
        }
        for a in &keys {
            for b in &keys {
                assert_eq!(compare(a, b), a.cmp(b), "{a:?} and {b:?}");
                assert!(a > b || head(a) <= head(b), "{a:?} and {b:?}");
            }
        }
    }
}
