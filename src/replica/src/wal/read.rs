//! Reading a log back, and deciding what may be repaired.
//!
//! The rules are etcd's. A length of zero ends a segment; in the last one it ends the log, and whatever follows is
//! zeroed, because it was never synced. A record of the *last segment* that is cut off, or is damaged and has a
//! 512-byte sector of nothing but zeros, was torn by a crash: the segment is copied aside and cut there, once.
//! Everything else is refused, in etcd's words. Up to 3.5.1 a record that is longer than what is left of its segment
//! was refused too; it has been taken for torn since.
//!
//! These rules cannot see everything, and neither can etcd (`reference/calibration.md` §6.4): a zeroed sector or
//! length in the last segment takes every later record with it, although those were synced. A testbed must keep that.
//! In one thing this reader is milder than etcd: a crash may undo the removal of any old segment, and what lies before
//! the gap that is then in the log is not read, where etcd looks for snapshot records in it and refuses.

use std::borrow::Cow;
use std::collections::VecDeque;

use bytes::Bytes;

use super::pages::Pages;
use super::pipeline::Pipeline;
use super::{record, Segment, Settings, Wal, WalSnapshot};
use crate::{raftpb, BootError, Bug, DiskCommand, DiskImage, FileName, Rope};

/// What disks write as a whole.
const SECTOR: u64 = 512;

const CRC_MISMATCH: &str = "walpb: crc mismatch";
const TOO_LONG: &str = "wal: max entry size limit exceeded";
const UNEXPECTED_EOF: &str = "unexpected EOF";

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
    /// Where to go on: after [`Wal::start`].
    pub wal: Wal,
    /// To be performed before anything is saved. A sync among them must have ended then.
    pub repair: Vec<DiskCommand>,
}

/// Whether there is a log at all.
pub fn exists(image: &DiskImage) -> bool {
    image.files.keys().any(|file| matches!(file, FileName::Wal { .. }))
}

/// Reads the log from the snapshot `(index, term)` on; `(0, 0)` is the whole log. That the snapshot's record is
/// missing is no error, as it is none in etcd when it opens a log to write.
///
/// # Errors
/// [`BootError::Wal`] when the log is damaged or has a gap, or its snapshot is of another term.
pub fn read(image: &DiskImage, from: (u64, u64), settings: Settings) -> Result<ReadAll, BootError> {
    let mut segments = segments(image);
    let first = segments.iter().rposition(|held| held.segment.index <= from.0);
    let Some(first) = first else {
        let file = segments.first().map_or(FileName::Wal { seq: 0, index: 0 }, |held| held.segment.file());
        let reason = format!("wal: file not found which matches the snapshot index '{}'", from.0);
        return Err(refuse(file, 0, reason));
    };
    let free: VecDeque<Segment> = segments.drain(..first).map(|held| held.segment).collect();
    if !consecutive(&segments) {
        let reason = format!("wal: file sequence numbers (starting from {first}) do not increase continuously");
        return Err(refuse(segments[0].segment.file(), 0, reason));
    }
    let mut repair = Vec::new();
    let mut scanned = scan(&segments, from, settings);
    if let (true, Err(Stop::Refuse(_))) = (settings.bugs.has(Bug::WalRepairMiddle), &scanned) {
        cut_at_damage(&mut segments, from, settings, &mut repair);
        scanned = scan(&segments, from, settings);
    }
    let mut found = match scanned {
        Ok(found) => found,
        Err(Stop::Refuse(error)) => return Err(error),
        Err(Stop::Torn { segment, offset, reason }) => {
            // etcd repairs the last segment only: a cut anywhere else would leave a gap.
            if segment + 1 != segments.len() {
                return Err(refuse(segments[segment].segment.file(), offset, reason));
            }
            repair_tail(&mut segments[segment], offset, &mut repair);
            scan(&segments, from, settings).map_err(|stop| stop.refused(&segments))?
        }
    };
    let tail = segments.last().expect("the first segment was found");
    // What follows was never synced, and would be read as records once something is written before it.
    if found.offset != tail.length && !settings.bugs.has(Bug::WalZeroTailKeep) {
        let file = tail.segment.file();
        repair.push(DiskCommand::Truncate { file, length: found.offset });
        repair.push(DiskCommand::Truncate { file, length: tail.length });
    }
    let metadata = found.metadata.take().unwrap_or_default();
    let (term, vote, commit) = found.hard_state;
    let mut hard_state = raftpb::HardState::default();
    (hard_state.term, hard_state.vote, hard_state.commit) = (term, vote, commit);
    let wal = Wal {
        settings,
        metadata: metadata.clone(),
        free,
        held: segments.iter().map(|held| held.segment).collect(),
        tail: Pages::at(found.offset),
        crc: found.crc,
        hard_state: (0, 0, 0),
        last_index: found.last_index,
        pipeline: Pipeline::default(),
        lock: None,
    };
    let (entries, snapshots) = (found.entries, found.snapshots);
    Ok(ReadAll { metadata, hard_state, entries, snapshots, wal, repair })
}

/// Copies the torn segment aside and cuts it behind its last good record.
fn repair_tail(torn: &mut Content, offset: u64, repair: &mut Vec<DiskCommand>) {
    let Segment { seq, index } = torn.segment;
    let (file, broken) = (torn.segment.file(), FileName::WalBroken { seq, index });
    repair.extend([
        DiskCommand::Create { file: broken },
        DiskCommand::Write { file: broken, offset: 0, data: torn.bytes.clone().into() },
        DiskCommand::Truncate { file, length: offset },
        DiskCommand::Fsync { file },
    ]);
    torn.cut(offset);
}

/// Bug M-22: whatever cannot be read is cut off, wherever it is, and what came after it is no part of the log.
fn cut_at_damage(segments: &mut Vec<Content>, from: (u64, u64), settings: Settings, repair: &mut Vec<DiskCommand>) {
    if let Err(Stop::Refuse(BootError::Wal { file, offset, .. })) = scan(segments, from, settings) {
        if let Some(place) = segments.iter().position(|held| held.segment.file() == file) {
            repair_tail(&mut segments[place], offset, repair);
            repair.extend(segments.drain(place + 1..).map(|held| DiskCommand::Remove { file: held.segment.file() }));
        }
    }
}

/// The snapshot records that the log can go on from: those up to the last commit, oldest first.
///
/// # Errors
/// [`BootError::Wal`] when the log is damaged. A torn tail is no damage: reading stops there.
pub fn valid_snapshots(image: &DiskImage, settings: Settings) -> Result<Vec<WalSnapshot>, BootError> {
    let mut segments = segments(image);
    while !consecutive(&segments) {
        segments.remove(0);
    }
    let mut reader = Reader::new(&segments, settings);
    let (mut snapshots, mut commit) = (Vec::new(), 0);
    loop {
        let record = match reader.next() {
            Ok(Some(record)) => record,
            Ok(None) | Err(Stop::Torn { .. }) => break,
            Err(Stop::Refuse(_)) if settings.bugs.has(Bug::WalRepairMiddle) => break,
            Err(Stop::Refuse(error)) => return Err(error),
        };
        match record.kind {
            record::STATE => commit = reader.inside(record::parse_state(&record.data))?.2,
            record::SNAPSHOT => snapshots.push(reader.inside(record::parse_snapshot(&record.data))?),
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

/// A segment's file. It may be longer than its bytes: then the rest are zeros.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) segment: Segment,
    bytes: Bytes,
    length: u64,
}

impl Content {
    /// `length` bytes from `offset` on, all within the file.
    fn part(&self, offset: u64, length: u64) -> Cow<'_, [u8]> {
        let (from, to) = (offset as usize, (offset + length) as usize);
        if let Some(part) = self.bytes.get(from..to) {
            return Cow::Borrowed(part);
        }
        let mut part = self.bytes.get(from..).unwrap_or_default().to_vec();
        part.resize(length as usize, 0);
        Cow::Owned(part)
    }

    fn cut(&mut self, length: u64) {
        self.bytes.truncate(length as usize);
        self.length = length;
    }
}

pub(super) fn segments(image: &DiskImage) -> Vec<Content> {
    let segment = |(file, content): (&FileName, &Rope)| match *file {
        FileName::Wal { seq, index } => {
            let length = image.length(*file).unwrap_or(0);
            Some(Content { segment: Segment { seq, index }, bytes: content.to_bytes(), length })
        }
        _ => None,
    };
    image.files.iter().filter_map(segment).collect()
}

fn consecutive(segments: &[Content]) -> bool {
    segments.windows(2).all(|pair| pair[0].segment.seq.checked_add(1) == Some(pair[1].segment.seq))
}

/// What is in a log.
struct Found {
    metadata: Option<Bytes>,
    hard_state: (u64, u64, u64),
    entries: Vec<raftpb::Entry>,
    snapshots: Vec<WalSnapshot>,
    last_index: u64,
    /// The term of the entry at the snapshot's own index.
    term_at_start: Option<u64>,
    /// The end, in the last segment.
    offset: u64,
    crc: u32,
}

fn scan(segments: &[Content], from: (u64, u64), settings: Settings) -> Result<Found, Stop> {
    let mut reader = Reader::new(segments, settings);
    let mut found = Found {
        metadata: None,
        hard_state: (0, 0, 0),
        entries: Vec::new(),
        snapshots: Vec::new(),
        last_index: from.0,
        term_at_start: None,
        offset: 0,
        crc: 0,
    };
    while let Some(record) = reader.next()? {
        match record.kind {
            record::ENTRY => {
                let entry = reader.inside(record::parse_entry(&record.data))?;
                found.last_index = entry.index;
                // A later entry takes the place of the earlier one, and of all after it.
                if entry.index > from.0 {
                    let place = entry.index - from.0 - 1;
                    if place > found.entries.len() as u64 {
                        let reason = format!("wal: slice bounds out of range: entry {} follows a gap", entry.index);
                        return Err(Stop::Refuse(reader.refuse(reason)));
                    }
                    found.entries.truncate(place as usize);
                    found.entries.push(entry);
                } else if !settings.bugs.has(Bug::WalOverwrittenReturns) {
                    found.entries.clear();
                    found.term_at_start = (entry.index == from.0).then_some(entry.term);
                }
            }
            record::STATE => found.hard_state = reader.inside(record::parse_state(&record.data))?,
            record::METADATA => match &found.metadata {
                Some(metadata) if metadata[..] != *record.data => {
                    return Err(Stop::Refuse(reader.refuse("wal: conflicting metadata found")));
                }
                Some(_) => {}
                None => found.metadata = Some(Bytes::copy_from_slice(&record.data)),
            },
            record::CRC => reader.chain(record.crc)?,
            record::SNAPSHOT => {
                let snapshot = reader.inside(record::parse_snapshot(&record.data))?;
                if snapshot.index == from.0 && snapshot.term != from.1 {
                    let reason = format!("wal: snapshot mismatch: of term {}, not {}", snapshot.term, from.1);
                    return Err(Stop::Refuse(reader.refuse(reason)));
                }
                // One that came from another member, for this log did not agree with it: nothing of it is left.
                if snapshot.index == from.0 && found.term_at_start.is_some_and(|term| term != from.1) {
                    found.entries.clear();
                }
                found.last_index = found.last_index.max(snapshot.index);
                found.snapshots.push(snapshot);
            }
            other => return Err(Stop::Refuse(reader.refuse(format!("unexpected block type {other}")))),
        }
    }
    (found.offset, found.crc) = (reader.offset, reader.crc);
    Ok(found)
}

/// Why reading stopped before the end.
pub(super) enum Stop {
    /// As after a crash in the middle of a write.
    Torn { segment: usize, offset: u64, reason: &'static str },
    /// Damage.
    Refuse(BootError),
}

impl Stop {
    /// It may not be repaired, or not again.
    fn refused(self, segments: &[Content]) -> BootError {
        match self {
            Self::Refuse(error) => error,
            Self::Torn { segment, offset, reason } => refuse(segments[segment].segment.file(), offset, reason),
        }
    }
}

impl From<BootError> for Stop {
    fn from(error: BootError) -> Self {
        Self::Refuse(error)
    }
}

/// Goes from record to record, over segments.
pub(super) struct Reader<'a> {
    segments: &'a [Content],
    settings: Settings,
    segment: usize,
    /// The end of the last good record in this segment.
    offset: u64,
    /// Where the record in hand began.
    started: (usize, u64),
    crc: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn new(segments: &'a [Content], settings: Settings) -> Self {
        Self { segments, settings, segment: 0, offset: 0, started: (0, 0), crc: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<record::Record<'a>>, Stop> {
        loop {
            let Some(content) = self.segments.get(self.segment) else { return Ok(None) };
            self.started = (self.segment, self.offset);
            let left = content.length - self.offset;
            let frame = record::FRAME as u64;
            let length = match left {
                0 => 0,
                left if left < frame => return Err(self.torn(UNEXPECTED_EOF)),
                _ => {
                    let opening = content.part(self.offset, frame);
                    u64::from_le_bytes(*opening.first_chunk().expect("it has the length of a length"))
                }
            };
            if length != 0 {
                return self.record(content, left - frame, length).map(Some);
            }
            if self.segment + 1 == self.segments.len() {
                return Ok(None);
            }
            (self.segment, self.offset) = (self.segment + 1, 0);
        }
    }

    /// The record behind a `length`; the segment has `left` bytes behind it.
    fn record(&mut self, content: &'a Content, left: u64, length: u64) -> Result<record::Record<'a>, Stop> {
        let frame = record::FRAME as u64;
        let (size, padding) = record::frame_size(length);
        // The limit forgets the length itself, as etcd's does.
        if size + padding > left + frame {
            return Err(match self.settings.release.is_strict_about_lengths() {
                true => Stop::Refuse(self.refuse(TOO_LONG)),
                false => self.torn(TOO_LONG),
            });
        }
        if size + padding > left {
            return Err(self.torn(UNEXPECTED_EOF));
        }
        let framed = content.part(self.offset + frame, size + padding);
        let record = match record::parse_record(&framed, size as usize) {
            Ok(record) => record,
            Err(reason) => return Err(self.damaged(&framed, reason)),
        };
        if record.kind != record::CRC {
            let crc = crc32c::crc32c_append(self.crc, &record.data);
            if crc != record.crc {
                return Err(self.damaged(&framed, CRC_MISMATCH));
            }
            self.crc = crc;
        }
        self.offset += frame + size + padding;
        Ok(record)
    }

    /// A checksum record: this one goes on where the last segment ended. The first one of all has nothing before it.
    pub(super) fn chain(&mut self, crc: u32) -> Result<(), BootError> {
        if self.crc != 0 && self.crc != crc {
            return Err(self.refuse(CRC_MISMATCH));
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
        (self.segments[segment].segment.file(), offset, self.offset - offset)
    }

    pub(super) fn refuse(&self, reason: impl Into<String>) -> BootError {
        refuse(self.segments[self.started.0].segment.file(), self.started.1, reason)
    }

    fn torn(&self, reason: &'static str) -> Stop {
        Stop::Torn { segment: self.segment, offset: self.offset, reason }
    }

    fn damaged(&self, framed: &[u8], reason: &'static str) -> Stop {
        let last = self.segment + 1 == self.segments.len();
        if last && has_zero_sector(framed, self.offset + record::FRAME as u64) {
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
