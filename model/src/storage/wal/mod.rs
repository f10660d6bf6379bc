//! The write-ahead log as etcd's own reader understands it.
//!
//! ```text
//! segment  %016x-%016x.wal: its number, the first Raft index it may hold; zeros behind its last record
//! frame    length u64, little endian: low 56 bits for the record, top byte 0x80 | padding · record · padding to 8
//! record   { type = 1, crc = 2, data = 3 }: 1 metadata, 2 entry, 3 hard state, 4 checksum, 5 snapshot
//! ```
//! Each record states the CRC-32C of all data so far; a segment begins with a checksum record that carries it over.
//!
//! A length of zero ends a segment. A record of the *last* segment that is cut off, or is damaged and lies over a
//! 512-byte sector of zeros, is the torn end that a crash leaves; everything else that does not fit is [`Damage`].
//! Whether what is behind a zero length, or a torn record, was ever synced cannot be seen here: etcd cannot either.

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use detcd_replica::{FileName, Rope};
use prost::Message;

use super::entry::{Entry, HardState, Snapshot};
use super::{le_u64, Damage};

const SECTOR: usize = 512;
const FRAME: usize = 8;

const METADATA: i64 = 1;
const ENTRY: i64 = 2;
const STATE: i64 = 3;
const CRC: i64 = 4;
const SNAPSHOT: i64 = 5;

/// A log as a booting member must find it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// What it was created with.
    pub metadata: Bytes,
    /// The last hard state.
    pub hard_state: HardState,
    /// The index before the first entry in `entries`.
    pub base: u64,
    /// The entries that no later one has replaced, without a gap.
    pub entries: Vec<Entry>,
    /// Every snapshot record, in order.
    pub snapshots: Vec<Snapshot>,
    /// Where a torn record was, if one was.
    pub torn: Option<(FileName, u64)>,
    /// The index of a snapshot record that the entry at its index contradicts: if it counts, it came from another
    /// member in place of this log, and nothing behind it is left.
    replacing: Option<u64>,
}

impl Log {
    /// The index of the last entry; a snapshot that counts may lie behind it.
    pub fn last(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// The entry at an index.
    pub fn entry(&self, index: u64) -> Option<&Entry> {
        self.entries.get(index.checked_sub(self.base + 1)? as usize)
    }

    /// The snapshot that a boot starts from: the newest that the hard state commits; index 0 when there is none.
    pub fn start(&self) -> Snapshot {
        let committed = self.snapshots.iter().filter(|snapshot| snapshot.index <= self.hard_state.commit);
        committed.max_by_key(|snapshot| snapshot.index).cloned().unwrap_or_default()
    }

    fn push(&mut self, entry: Entry) -> Result<(), String> {
        // The log may begin with any segment: those before were purged. And it goes on behind a snapshot that came from
        // another member; whether such a record counts is only known by what follows it.
        let begins = self.entries.is_empty() && self.base == 0;
        let follows_snapshot = || self.snapshots.iter().any(|snapshot| snapshot.index + 1 == entry.index);
        if begins || (entry.index > self.last() + 1 && follows_snapshot()) {
            self.base = entry.index.saturating_sub(1);
            self.entries.clear();
        }
        if entry.index == 0 || entry.index > self.last() + 1 {
            return Err(format!("entry {} follows entry {}", entry.index, self.last()));
        }
        if entry.index <= self.base {
            self.base = entry.index - 1;
            self.entries.clear();
        }
        self.replacing = self.replacing.filter(|index| entry.index > index + 1);
        self.entries.truncate((entry.index - self.base - 1) as usize);
        self.entries.push(entry);
        Ok(())
    }

    fn snapshot(&mut self, snapshot: Snapshot) {
        if self.entry(snapshot.index).is_some_and(|entry| entry.term != snapshot.term) {
            self.replacing = Some(snapshot.index);
        }
        self.snapshots.push(snapshot);
    }

    /// Nothing more comes.
    fn end(&mut self) {
        if let Some(index) = self.replacing.filter(|index| *index == self.start().index) {
            self.entries.truncate((index - self.base) as usize);
        }
    }
}

/// Reads the segments among these files, from the last gap in their numbers on; `None` when there is none. Where one of
/// `lengths` is more than the content, zeros follow up to there.
///
/// # Errors
/// What etcd would refuse to start from.
pub fn read(files: &BTreeMap<FileName, Rope>, lengths: &BTreeMap<FileName, u64>) -> Result<Option<Log>, Damage> {
    let mut segments: Vec<(u64, FileName, &Rope)> = Vec::new();
    for (file, content) in files {
        if let FileName::Wal { seq, .. } = file {
            // A crash may undo the removal of an old segment, and leave a gap behind it.
            if segments.last().is_some_and(|(last, ..)| last + 1 != *seq) {
                segments.clear();
            }
            segments.push((*seq, *file, content));
        }
    }
    if segments.is_empty() {
        return Ok(None);
    }
    let mut log = Log::default();
    let mut crc = 0;
    let last = segments.len() - 1;
    for (place, (_, file, content)) in segments.iter().enumerate() {
        let length = lengths.get(file).map_or(content.len(), |length| content.len().max(*length as usize));
        let torn = segment(&mut log, &mut crc, *file, ((*content).clone(), length), place == last)?;
        log.torn = torn.map(|offset| (*file, offset as u64));
    }
    log.end();
    Ok(Some(log))
}

/// Reads one segment: its content, and its length with the zeros behind that. Gives where it is torn, if it is.
fn segment(
    log: &mut Log,
    crc: &mut u32,
    file: FileName,
    (mut content, length): (Rope, usize),
    last: bool,
) -> Result<Option<usize>, Damage> {
    let mut offset = 0;
    loop {
        let damage = |reason: &str| Damage::new(format!("{file} at byte {offset}"), reason);
        let field = match content.get(offset..offset + FRAME) {
            Some(field) => le_u64(&field, 0).expect("a frame begins with its length"),
            None if content.len() == offset => 0,
            None if content.len() < length => {
                add_zeros(&mut content, length.min(offset + FRAME));
                continue;
            }
            None if last => return Ok(Some(offset)),
            None => return Err(damage("a record is cut off in its length")),
        };
        if field == 0 {
            return Ok(None);
        }
        let (size, padding) = frame_size(field);
        let end = usize::try_from(size + padding).ok().and_then(|size| size.checked_add(offset + FRAME));
        let end = end.filter(|end| *end <= length);
        // A record may end in zeros, of which the content has none at its own end.
        if let Some(end) = end.filter(|end| *end > content.len()) {
            add_zeros(&mut content, end);
        }
        let framed = end.and_then(|end| content.get(offset + FRAME..end));
        let Some(framed) = framed else {
            match last {
                true => return Ok(Some(offset)),
                false => return Err(damage("a record is longer than what is left of its segment")),
            }
        };
        let record = Record::decode(framed.slice(..size as usize)).ok().filter(|record| {
            if record.kind != CRC {
                *crc = crc32c::crc32c_append(*crc, &record.data);
            }
            record.kind == CRC || record.crc == *crc
        });
        let Some(record) = record else {
            match last && has_zero_sector(&framed, offset + FRAME) {
                true => return Ok(Some(offset)),
                false => return Err(damage("a record is damaged")),
            }
        };
        match record.kind {
            CRC if *crc != 0 && *crc != record.crc => {
                return Err(damage("the segment does not go on from the checksum of the one before"));
            }
            CRC => *crc = record.crc,
            _ => take(log, record).map_err(|reason| damage(&reason))?,
        }
        offset += FRAME + framed.len();
    }
}

fn add_zeros(content: &mut Rope, length: usize) {
    content.push(vec![0; length - content.len()].into());
}

fn take(log: &mut Log, record: Record) -> Result<(), String> {
    let unread = |error: prost::DecodeError| error.to_string();
    match record.kind {
        ENTRY => log.push(Entry::decode(record.data).map_err(unread)?),
        STATE => {
            log.hard_state = HardState::decode(record.data).map_err(unread)?;
            Ok(())
        }
        SNAPSHOT => {
            log.snapshot(Snapshot::decode(record.data).map_err(unread)?);
            Ok(())
        }
        METADATA if !log.metadata.is_empty() && log.metadata != record.data => {
            Err("the metadata is not that of the segment before".to_owned())
        }
        METADATA => {
            log.metadata = record.data;
            Ok(())
        }
        other => Err(format!("record type {other} does not exist")),
    }
}

/// Bytes of the record, bytes of padding.
fn frame_size(length: u64) -> (u64, u64) {
    let padding = if length >> 63 == 1 { length >> 56 & 7 } else { 0 };
    (length & 0x00ff_ffff_ffff_ffff, padding)
}

/// Whether what these bytes, which begin at `offset`, have of some sector is all zeros.
fn has_zero_sector(mut bytes: &[u8], mut offset: usize) -> bool {
    while !bytes.is_empty() {
        let (sector, rest) = bytes.split_at((SECTOR - offset % SECTOR).min(bytes.len()));
        if sector.iter().all(|byte| *byte == 0) {
            return true;
        }
        (bytes, offset) = (rest, offset + sector.len());
    }
    false
}

/// `walpb.Record`.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(uint32, tag = "2")]
    crc: u32,
    #[prost(bytes = "bytes", tag = "3")]
    data: Bytes,
}
