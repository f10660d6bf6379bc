//! Reading a log back, and deciding what may be repaired.
//!
//! The rules are etcd's. A length of zero ends a segment; in the last one it ends the log, and whatever follows is
//! zeroed, because it was never synced. A record of the *last segment* that is cut off, or is damaged and has a
//! 512-byte sector of nothing but zeros, was torn by a crash: the segment is copied aside and cut there, once.
//! Everything else is refused.
//!
//! These rules cannot see everything, and neither can etcd (`reference/calibration.md` §6.4): a zeroed sector or
//! length in the last segment takes every later record with it, although those were synced. A testbed must keep that.

use bytes::Bytes;

use super::{record, Segment, Wal, WalSnapshot};
use crate::{raftpb, BootError, DiskCommand, DiskImage, FileName};

/// What disks write as a whole.
const SECTOR: u64 = 512;

/// A log as it was read.
#[derive(Clone, Debug)]
pub struct ReadAll {
    /// What it was created with.
    pub metadata: Bytes,
    /// The last hard state.
    pub hard_state: raftpb::HardState,
    /// The entries after the snapshot that was asked for.
    pub entries: Vec<raftpb::Entry>,
    /// The snapshot records met on the way, oldest first.
    pub snapshots: Vec<WalSnapshot>,
    /// Where to go on.
    pub wal: Wal,
    /// To be performed before anything is saved. When there are any, a sync is the last: save after its answer.
    pub repair: Vec<DiskCommand>,
}

/// Whether there is a log at all.
pub fn exists(image: &DiskImage) -> bool {
    image.files.keys().any(|file| matches!(file, FileName::Wal { .. }))
}

/// Reads the log from the snapshot `(index, term)` on; `(0, 0)` is the whole log.
///
/// # Errors
/// [`BootError::Wal`] when the log is damaged, has a gap, or does not hold that snapshot.
pub fn read(image: &DiskImage, from: (u64, u64), segment_bytes: u64) -> Result<ReadAll, BootError> {
    let segments = segments(image);
    let first = segments.iter().rposition(|(segment, _)| segment.index <= from.0);
    let Some(first) = first.filter(|first| consecutive(&segments[*first..])) else {
        let file = segments.first().map_or(FileName::Wal { seq: 0, index: 0 }, |(segment, _)| segment.file());
        return Err(refuse(file, 0, format!("segments are missing after index {}", from.0)));
    };
    let mut contents: Vec<(Segment, Bytes)> = segments[first..].to_vec();
    let mut repair = Vec::new();
    let mut found = match scan(&contents, from) {
        Ok(found) => found,
        Err(Stop::Refuse(error)) => return Err(error),
        Err(Stop::Torn { segment, offset, reason }) => {
            // etcd repairs the last segment only: a cut anywhere else would leave a gap.
            if segment + 1 != contents.len() {
                return Err(refuse(contents[segment].0.file(), offset, reason));
            }
            let (torn, content) = &mut contents[segment];
            let (file, broken) = (torn.file(), FileName::WalBroken { seq: torn.seq, index: torn.index });
            repair.extend([
                DiskCommand::Create { file: broken },
                DiskCommand::Write { file: broken, offset: 0, data: content.clone() },
                DiskCommand::Truncate { file, length: offset },
                DiskCommand::Sync { file },
            ]);
            content.truncate(offset as usize);
            scan(&contents, from).map_err(|stop| match stop {
                Stop::Refuse(error) => error,
                Stop::Torn { segment, offset, reason } => refuse(contents[segment].0.file(), offset, reason),
            })?
        }
    };
    let (tail, content) = contents.last().expect("the first segment was found");
    if content[found.offset as usize..].iter().any(|byte| *byte != 0) {
        let file = tail.file();
        repair.extend([
            DiskCommand::Truncate { file, length: found.offset },
            DiskCommand::Truncate { file, length: content.len() as u64 },
            DiskCommand::Sync { file },
        ]);
    }
    if !found.matched {
        let reason = format!("no record of the snapshot at index {}", from.0);
        return Err(refuse(tail.file(), found.offset, reason));
    }
    let metadata = found.metadata.take().unwrap_or_default();
    let (term, vote, commit) = found.hard_state;
    let mut hard_state = raftpb::HardState::default();
    (hard_state.term, hard_state.vote, hard_state.commit) = (term, vote, commit);
    // Older segments than those read are still there to be purged, if nothing is missing in between.
    let mut oldest = first;
    while oldest > 0 && segments[oldest - 1].0.seq + 1 == segments[oldest].0.seq {
        oldest -= 1;
    }
    let wal = Wal {
        metadata: metadata.clone(),
        segment_bytes,
        segments: segments[oldest..].iter().map(|(segment, _)| *segment).collect(),
        released: 0,
        offset: found.offset,
        crc: found.crc,
        hard_state: found.hard_state,
        last_index: found.last_index,
        cut: None,
    };
    let (entries, snapshots) = (found.entries, found.snapshots);
    Ok(ReadAll { metadata, hard_state, entries, snapshots, wal, repair })
}

/// The snapshot records that the log can go on from: those up to the last commit, oldest first.
///
/// # Errors
/// [`BootError::Wal`] when the log is damaged. A torn tail is no damage: reading stops there.
pub fn valid_snapshots(image: &DiskImage) -> Result<Vec<WalSnapshot>, BootError> {
    let mut segments = segments(image);
    // A crash may undo the removal of any old segment: what lies before a gap is no longer part of the log.
    while !consecutive(&segments) {
        segments.remove(0);
    }
    let mut reader = Reader::new(&segments);
    let (mut snapshots, mut commit) = (Vec::new(), 0);
    loop {
        let record = match reader.next() {
            Ok(Some(record)) => record,
            Ok(None) | Err(Stop::Torn { .. }) => break,
            Err(Stop::Refuse(error)) => return Err(error),
        };
        match record.kind {
            record::STATE => commit = reader.inside(record::parse_state(record.data))?.2,
            record::SNAPSHOT => snapshots.push(reader.inside(record::parse_snapshot(record.data))?),
            record::CRC => reader.chain(record.crc)?,
            _ => {}
        }
    }
    snapshots.retain(|snapshot| snapshot.index <= commit);
    Ok(snapshots)
}

fn refuse(file: FileName, offset: u64, reason: impl Into<String>) -> BootError {
    BootError::Wal { file, offset, reason: reason.into() }
}

pub(super) fn segments(image: &DiskImage) -> Vec<(Segment, Bytes)> {
    let segment = |(file, content): (&FileName, &Bytes)| match *file {
        FileName::Wal { seq, index } => Some((Segment { seq, index }, content.clone())),
        _ => None,
    };
    image.files.iter().filter_map(segment).collect()
}

fn consecutive(segments: &[(Segment, Bytes)]) -> bool {
    segments.windows(2).all(|pair| pair[0].0.seq.checked_add(1) == Some(pair[1].0.seq))
}

/// What is in a log.
struct Found {
    metadata: Option<Bytes>,
    hard_state: (u64, u64, u64),
    entries: Vec<raftpb::Entry>,
    snapshots: Vec<WalSnapshot>,
    matched: bool,
    last_index: u64,
    /// The end, in the last segment.
    offset: u64,
    crc: u32,
}

fn scan(segments: &[(Segment, Bytes)], from: (u64, u64)) -> Result<Found, Stop> {
    let mut reader = Reader::new(segments);
    let mut found = Found {
        metadata: None,
        hard_state: (0, 0, 0),
        entries: Vec::new(),
        snapshots: Vec::new(),
        matched: false,
        last_index: from.0,
        offset: 0,
        crc: 0,
    };
    while let Some(record) = reader.next()? {
        match record.kind {
            record::ENTRY => {
                let entry = reader.inside(record::parse_entry(record.data))?;
                found.last_index = entry.index;
                if entry.index > from.0 {
                    let place = entry.index - from.0 - 1;
                    if place > found.entries.len() as u64 {
                        let reason = format!("entry {} follows a gap", entry.index);
                        return Err(Stop::Refuse(reader.refuse(reason)));
                    }
                    // A later entry takes the place of the earlier one, and of all after it.
                    found.entries.truncate(place as usize);
                    found.entries.push(entry);
                }
            }
            record::STATE => found.hard_state = reader.inside(record::parse_state(record.data))?,
            record::METADATA => match &found.metadata {
                Some(metadata) if metadata[..] != *record.data => {
                    return Err(Stop::Refuse(reader.refuse("the metadata is not that of the segment before")));
                }
                Some(_) => {}
                None => found.metadata = Some(Bytes::copy_from_slice(record.data)),
            },
            record::CRC => reader.chain(record.crc)?,
            record::SNAPSHOT => {
                let snapshot = reader.inside(record::parse_snapshot(record.data))?;
                if snapshot.index == from.0 {
                    if snapshot.term != from.1 {
                        let reason = format!("the snapshot is of term {}, not {}", snapshot.term, from.1);
                        return Err(Stop::Refuse(reader.refuse(reason)));
                    }
                    found.matched = true;
                }
                found.last_index = found.last_index.max(snapshot.index);
                found.snapshots.push(snapshot);
            }
            other => return Err(Stop::Refuse(reader.refuse(format!("record type {other} does not exist")))),
        }
    }
    (found.offset, found.crc) = (reader.offset as u64, reader.crc);
    Ok(found)
}

/// Why reading stopped before the end.
pub(super) enum Stop {
    /// As after a crash in the middle of a write.
    Torn { segment: usize, offset: u64, reason: &'static str },
    /// Damage.
    Refuse(BootError),
}

impl From<BootError> for Stop {
    fn from(error: BootError) -> Self {
        Self::Refuse(error)
    }
}

/// Goes from record to record, over segments.
pub(super) struct Reader<'a> {
    segments: &'a [(Segment, Bytes)],
    segment: usize,
    /// The end of the last good record in this segment.
    offset: usize,
    /// Where the record in hand began.
    started: (usize, usize),
    crc: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(segments: &'a [(Segment, Bytes)]) -> Self {
        Self { segments, segment: 0, offset: 0, started: (0, 0), crc: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<record::Record<'a>>, Stop> {
        loop {
            let Some((_, content)) = self.segments.get(self.segment) else { return Ok(None) };
            self.started = (self.segment, self.offset);
            let rest = &content[self.offset..];
            let length = match rest.first_chunk::<{ record::FRAME }>() {
                Some(length) => u64::from_le_bytes(*length),
                None if rest.is_empty() => 0,
                None => return Err(self.torn("a record is cut off in its length")),
            };
            if length != 0 {
                return self.record(&rest[record::FRAME..], length).map(Some);
            }
            if self.segment + 1 == self.segments.len() {
                return Ok(None);
            }
            (self.segment, self.offset) = (self.segment + 1, 0);
        }
    }

    fn record(&mut self, rest: &'a [u8], length: u64) -> Result<record::Record<'a>, Stop> {
        let (size, padding) = record::frame_size(length);
        if size + padding > rest.len() as u64 {
            return Err(self.torn("a record is longer than what is left of its segment"));
        }
        let framed = &rest[..(size + padding) as usize];
        let record = match record::parse_record(&framed[..size as usize]) {
            Ok(record) => record,
            Err(reason) => return Err(self.damaged(framed, reason)),
        };
        if record.kind != record::CRC {
            let crc = crc32c::crc32c_append(self.crc, record.data);
            if crc != record.crc {
                return Err(self.damaged(framed, "a record does not match its checksum"));
            }
            self.crc = crc;
        }
        self.offset += record::FRAME + framed.len();
        Ok(record)
    }

    /// A checksum record: this one goes on where the last segment ended. The first one of all has nothing before it.
    pub(super) fn chain(&mut self, crc: u32) -> Result<(), BootError> {
        if self.crc != 0 && self.crc != crc {
            return Err(self.refuse("the segment does not continue the checksum of the one before"));
        }
        self.crc = crc;
        Ok(())
    }

    pub(super) fn inside<T>(&self, parsed: Result<T, &'static str>) -> Result<T, BootError> {
        parsed.map_err(|reason| self.refuse(reason))
    }

    /// File and offset of the record in hand, and bytes of its frame.
    pub(super) fn place(&self) -> (FileName, u64, u64) {
        let (segment, offset) = self.started;
        (self.segments[segment].0.file(), offset as u64, (self.offset - offset) as u64)
    }

    pub(super) fn refuse(&self, reason: impl Into<String>) -> BootError {
        refuse(self.segments[self.started.0].0.file(), self.started.1 as u64, reason)
    }

    fn torn(&self, reason: &'static str) -> Stop {
        Stop::Torn { segment: self.segment, offset: self.offset as u64, reason }
    }

    fn damaged(&self, framed: &[u8], reason: &'static str) -> Stop {
        let last = self.segment + 1 == self.segments.len();
        if last && has_zero_sector(framed, (self.offset + record::FRAME) as u64) {
            return self.torn(reason);
        }
        Stop::Refuse(self.refuse(reason))
    }
}

/// Whether the part of `data` in some sector is all zeros; `data` begins at `offset` of its file.
fn has_zero_sector(mut data: &[u8], mut offset: u64) -> bool {
    while !data.is_empty() {
        let length = ((SECTOR - offset % SECTOR) as usize).min(data.len());
        let (sector, rest) = data.split_at(length);
        if sector.iter().all(|byte| *byte == 0) {
            return true;
        }
        (data, offset) = (rest, offset + length as u64);
    }
    false
}
