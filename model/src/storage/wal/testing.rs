//! A writer of logs, by hand, for tests.

use prost::Message;

use super::{Record, CRC, ENTRY, METADATA, SNAPSHOT, STATE};
use crate::storage::entry::{Entry, HardState, Snapshot};

/// A segment being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) crc: u32,
}

impl Writer {
    /// The first segment: checksum, metadata, the record that opens a log.
    pub(crate) fn first() -> Self {
        let mut writer = Self::default();
        writer.record(CRC, Vec::new());
        writer.record(METADATA, b"node".to_vec());
        writer.snapshot(0, 0);
        writer
    }

    /// The segment after this one.
    pub(crate) fn next(&self) -> Self {
        let mut writer = Self { bytes: Vec::new(), crc: self.crc };
        writer.record(CRC, Vec::new());
        writer.record(METADATA, b"node".to_vec());
        writer
    }

    pub(crate) fn record(&mut self, kind: i64, data: Vec<u8>) {
        self.crc = crc32c::crc32c_append(self.crc, &data);
        let record = Record { kind, crc: self.crc, data: data.into() }.encode_to_vec();
        let padding = record.len().wrapping_neg() % 8;
        let mut length = record.len() as u64;
        if padding > 0 {
            length |= (0x80 | padding as u64) << 56;
        }
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&record);
        self.bytes.resize(self.bytes.len() + padding, 0);
    }

    pub(crate) fn entry(&mut self, index: u64, term: u64, data: &[u8]) {
        self.typed(0, index, term, data);
    }

    pub(crate) fn typed(&mut self, kind: i32, index: u64, term: u64, data: &[u8]) {
        let entry = Entry { kind, term, index, data: data.to_vec().into() };
        self.record(ENTRY, entry.encode_to_vec());
    }

    pub(crate) fn state(&mut self, term: u64, vote: u64, commit: u64) {
        self.record(STATE, HardState { term, vote, commit }.encode_to_vec());
    }

    pub(crate) fn snapshot(&mut self, index: u64, term: u64) {
        self.record(SNAPSHOT, Snapshot { index, term, conf_state: None }.encode_to_vec());
    }
}
