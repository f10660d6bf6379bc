//! The log record by record, for people who look into one. Nothing is decided and nothing repaired.
//!
//! What [`read()`](super::read()) would take for the end of the log, for a torn tail or for damage is told apart here
//! in the same way, by the same reader.

use bytes::Bytes;

use super::read::{segments, Reader, Stop};
use super::{record, Segment, WalSnapshot};
use crate::{raftpb, BootError, DiskImage, FileName};

/// What a record holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// What the log was created with: etcd's `Metadata`, the ids of member and cluster.
    Metadata(Bytes),
    /// A Raft entry.
    Entry(raftpb::Entry),
    /// A hard state.
    State {
        /// Raft term.
        term: u64,
        /// Whom the member voted for; 0 is nobody.
        vote: u64,
        /// Commit index.
        commit: u64,
    },
    /// The checksum that a segment goes on from.
    Crc,
    /// A snapshot record.
    Snapshot(WalSnapshot),
}

/// A record and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// The segment.
    pub file: FileName,
    /// Byte offset of its frame.
    pub offset: u64,
    /// Bytes of its frame, padding included.
    pub length: u64,
    /// The rolling checksum after it, as it is written there.
    pub crc: u32,
    /// What it holds.
    pub content: Content,
}

/// How a log ends.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// As it should: nothing but zeros, or nothing at all, comes next.
    Clean {
        /// The last segment.
        file: FileName,
        /// Where the next record would be written.
        offset: u64,
    },
    /// In a record that a crash has cut short. etcd cuts the segment here, once, and goes on.
    Torn {
        /// The segment.
        file: FileName,
        /// Byte offset of the record.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// In damage, which etcd refuses to start from.
    Damaged(BootError),
}

/// A log, as far as it can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Dump {
    /// Its records, oldest first.
    pub records: Vec<Located>,
    /// How it ends; `None` when there is no segment.
    pub end: Option<End>,
}

/// Reads every record of every segment, up to the first that cannot be read.
///
/// Where segments are missing, reading starts afresh after the gap: the log that etcd would read begins there.
pub fn dump(image: &DiskImage) -> Dump {
    let segments = segments(image);
    let mut dump = Dump { records: Vec::new(), end: None };
    let follows = |a: &(Segment, Bytes), b: &(Segment, Bytes)| a.0.seq.checked_add(1) == Some(b.0.seq);
    for run in segments.chunk_by(follows) {
        let end = walk(run, &mut dump.records);
        let clean = matches!(end, End::Clean { .. });
        dump.end = Some(end);
        if !clean {
            break;
        }
    }
    dump
}

/// The ids of member and cluster in a log's metadata; `None` when it is not etcd's.
pub fn member_of(metadata: &[u8]) -> Option<(u64, u64)> {
    record::parse_ids(metadata).ok()
}

/// What an entry changes in the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfChanges {
    /// Each change, and the member that it is about.
    pub changes: Vec<(raftpb::ConfChangeType, u64)>,
    /// What etcd says of it, as JSON.
    pub context: Bytes,
}

/// The changes of the configuration that an entry carries; `None` in a normal entry.
///
/// # Errors
/// The entry's data is not what its type says.
pub fn conf_changes(entry: &raftpb::Entry) -> Result<Option<ConfChanges>, String> {
    fn parse<T: protobuf::Message>(data: &[u8]) -> Result<T, String> {
        protobuf::Message::parse_from_bytes(data).map_err(|error| error.to_string())
    }
    match entry.entry_type {
        raftpb::EntryType::EntryNormal => Ok(None),
        raftpb::EntryType::EntryConfChange => {
            let change: raftpb::ConfChange = parse(&entry.data)?;
            Ok(Some(ConfChanges { changes: vec![(change.change_type, change.node_id)], context: change.context }))
        }
        raftpb::EntryType::EntryConfChangeV2 => {
            let change: raftpb::ConfChangeV2 = parse(&entry.data)?;
            let changes = change.changes.iter().map(|single| (single.change_type, single.node_id)).collect();
            Ok(Some(ConfChanges { changes, context: change.context }))
        }
    }
}

fn walk(segments: &[(Segment, Bytes)], records: &mut Vec<Located>) -> End {
    let mut reader = Reader::new(segments);
    loop {
        let record = match reader.next() {
            Ok(Some(record)) => record,
            Ok(None) => {
                let (file, offset, _) = reader.place();
                return End::Clean { file, offset };
            }
            Err(Stop::Torn { segment, offset, reason }) if segment + 1 == segments.len() => {
                return End::Torn { file: segments[segment].0.file(), offset, reason };
            }
            Err(Stop::Torn { segment, offset, reason }) => {
                let file = segments[segment].0.file();
                return End::Damaged(BootError::Wal { file, offset, reason: reason.to_owned() });
            }
            Err(Stop::Refuse(error)) => return End::Damaged(error),
        };
        match located(&mut reader, &record) {
            Ok(located) => records.push(located),
            Err(error) => return End::Damaged(error),
        }
    }
}

fn located(reader: &mut Reader<'_>, record: &record::Record<'_>) -> Result<Located, BootError> {
    let content = match record.kind {
        record::METADATA => Content::Metadata(Bytes::copy_from_slice(record.data)),
        record::ENTRY => Content::Entry(reader.inside(record::parse_entry(record.data))?),
        record::STATE => {
            let (term, vote, commit) = reader.inside(record::parse_state(record.data))?;
            Content::State { term, vote, commit }
        }
        record::CRC => {
            reader.chain(record.crc)?;
            Content::Crc
        }
        record::SNAPSHOT => Content::Snapshot(reader.inside(record::parse_snapshot(record.data))?),
        other => return Err(reader.refuse(format!("record type {other} does not exist"))),
    };
    let (file, offset, length) = reader.place();
    Ok(Located { file, offset, length, crc: record.crc, content })
}
