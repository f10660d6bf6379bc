//! A revision as the key of the backend's `key` bucket: 8 bytes of main, `_`, 8 bytes of sub, all big endian,
//! so that byte order is the order of history. A `t` behind them marks a tombstone.

use bytes::Bytes;

/// A place in history: the transaction, and the operation inside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RevisionKey {
    /// The main revision.
    pub(crate) main: i64,
    /// The operation's place in its transaction, from 0.
    pub(crate) sub: i64,
}

/// Length of a revision without its tombstone mark.
const LENGTH: usize = 17;

impl RevisionKey {
    pub(crate) fn new(main: i64, sub: i64) -> Self {
        Self { main, sub }
    }

    /// The 17 bytes.
    pub(crate) fn encode(self) -> [u8; LENGTH] {
        let mut bytes = [b'_'; LENGTH];
        bytes[..8].copy_from_slice(&self.main.to_be_bytes());
        bytes[9..].copy_from_slice(&self.sub.to_be_bytes());
        bytes
    }

    /// The key of a put.
    pub(crate) fn put_key(self) -> Bytes {
        Bytes::copy_from_slice(&self.encode())
    }

    /// The key of a delete.
    pub(crate) fn tombstone_key(self) -> Bytes {
        let mut bytes = [b't'; LENGTH + 1];
        bytes[..LENGTH].copy_from_slice(&self.encode());
        Bytes::copy_from_slice(&bytes)
    }

    /// The revision, and whether it is a tombstone. `None` when the bytes are neither.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, bool)> {
        let tombstone = match bytes.len() {
            LENGTH => false,
            18 if bytes[LENGTH] == b't' => true,
            _ => return None,
        };
        if bytes[8] != b'_' {
            return None;
        }
        let number = |part: &[u8]| part.try_into().map(i64::from_be_bytes).ok();
        let revision = Self { main: number(&bytes[..8])?, sub: number(&bytes[9..LENGTH])? };
        (revision.main >= 0 && revision.sub >= 0).then_some((revision, tombstone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_etcds_and_come_back() {
        let revision = RevisionKey::new(0x0102, 3);
        assert_eq!(&revision.put_key()[..], b"\0\0\0\0\0\0\x01\x02_\0\0\0\0\0\0\0\x03");
        assert_eq!(&revision.tombstone_key()[17..], b"t");
        assert_eq!(RevisionKey::decode(&revision.put_key()), Some((revision, false)));
        assert_eq!(RevisionKey::decode(&revision.tombstone_key()), Some((revision, true)));
    }

    #[test]
    fn other_bytes_are_refused() {
        let good = RevisionKey::new(5, 0).tombstone_key();
        for bad in [&b""[..], &good[..16], b"12345678-12345678", b"12345678_12345678x", b"\xff2345678_12345678"] {
            assert_eq!(RevisionKey::decode(bad), None, "{bad:?}");
        }
    }
}
