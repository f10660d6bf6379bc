//! The write-ahead log: what Raft must not forget, in etcd's bytes.
//!
//! [`Wal`] appends: each save is one write command, and a sync when Raft needs one. A segment that has reached its
//! size is cut, in etcd's order. A step of a cut is issued only after the sync before it has ended, so whoever saves
//! must hand every answer to [`Wal::on_disk`] and wait until it says that nothing is left to wait for:
//!
//! ```text
//! let saved = wal.save(hard_state, entries, must_sync, commands);
//! wait for saved.sync; while let Some(next) = wal.on_disk(op, commands) { wait for next }
//! ```
//!
//! [`read()`] is the way back: it tells the torn tail that a crash leaves (to be repaired) from damage (to be refused),
//! by etcd's rules, blind spots included. The log does not know what is in entries, nor what Raft does with them.

mod dump;
mod read;
mod record;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;

pub use dump::{conf_changes, dump, member_of, ConfChanges, Content, Dump, End, Located};
pub use read::{exists, read, valid_snapshots, ReadAll};

use crate::{raftpb, Dir, DiskCommand, Failpoint, FileName, OpId};

/// Where disk commands go. It numbers them; the answers to syncs come back by that number.
pub trait Commands {
    /// Issue one. Commands are performed in the order of issue.
    fn issue(&mut self, command: DiskCommand) -> OpId;
    /// A named point in the code is reached.
    fn point(&mut self, _point: Failpoint) {}
}

/// A snapshot record: from here on the log is enough, given the state at `index`.
#[derive(Clone, Debug, PartialEq)]
pub struct WalSnapshot {
    /// Raft index.
    pub index: u64,
    /// Raft term.
    pub term: u64,
    /// The configuration there; `None` only in the record that opens an empty log.
    pub conf_state: Option<raftpb::ConfState>,
}

/// What a save has issued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SaveOutcome {
    /// The write, if there was anything to write.
    pub write: Option<OpId>,
    /// The sync to wait for, if any. Hand its answer to [`Wal::on_disk`].
    pub sync: Option<OpId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Segment {
    seq: u64,
    index: u64,
}

impl Segment {
    fn file(self) -> FileName {
        FileName::Wal { seq: self.seq, index: self.index }
    }

    /// etcd's file pipeline alternates between two names.
    fn tmp(self) -> FileName {
        FileName::WalTmp { slot: self.seq % 2 }
    }
}

/// How far the making of a new segment has come. Each step waits for the sync of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Cut {
    /// The old tail has its final length.
    Tail(OpId),
    /// The new segment has its header, under a temporary name.
    Header(OpId, Segment),
    /// It has its name.
    Name(OpId),
}

/// The end of the log, ready to append. Plain data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wal {
    metadata: Bytes,
    segment_bytes: u64,
    /// Oldest first; the last one is appended to.
    segments: VecDeque<Segment>,
    /// So many of the oldest are needed by nobody.
    released: usize,
    /// Where the next record goes in the last segment.
    offset: u64,
    crc: u32,
    /// Term, vote, commit as last saved.
    hard_state: (u64, u64, u64),
    last_index: u64,
    cut: Option<Cut>,
}

impl Wal {
    /// Makes a new log. It exists once the returned sync, and those that [`Wal::on_disk`] names after it, have ended.
    pub fn create(metadata: Bytes, segment_bytes: u64, commands: &mut impl Commands) -> (Self, OpId) {
        let mut wal = Self {
            metadata,
            segment_bytes,
            segments: VecDeque::new(),
            released: 0,
            offset: 0,
            crc: 0,
            hard_state: (0, 0, 0),
            last_index: 0,
            cut: None,
        };
        let sync = wal.start_segment(Segment { seq: 0, index: 0 }, commands);
        (wal, sync)
    }

    /// Whether Raft must know these to be on disk before it goes on. `hard_state` is `None` when it has not changed.
    pub fn must_sync(&self, hard_state: Option<&raftpb::HardState>, entries: &[raftpb::Entry]) -> bool {
        let (term, vote, _) = self.hard_state;
        !entries.is_empty() || hard_state.is_some_and(|state| (state.term, state.vote) != (term, vote))
    }

    /// Term, vote and commit as last saved.
    pub fn hard_state(&self) -> (u64, u64, u64) {
        self.hard_state
    }

    /// Appends entries and a hard state. One write; a sync if `must_sync`, or if the segment is full and is cut.
    pub fn save(
        &mut self,
        hard_state: Option<&raftpb::HardState>,
        entries: &[raftpb::Entry],
        must_sync: bool,
        commands: &mut impl Commands,
    ) -> SaveOutcome {
        assert_eq!(self.cut, None, "a save while a segment is being cut");
        let hard_state = hard_state.map(|state| (state.term, state.vote, state.commit)).filter(|s| *s != (0, 0, 0));
        if hard_state.is_none() && entries.is_empty() {
            return SaveOutcome::default();
        }
        let mut out = Vec::with_capacity(entries.iter().map(|entry| entry.data.len() + 64).sum::<usize>() + 64);
        for entry in entries {
            record::put_entry(&mut out, &mut self.crc, entry);
            self.last_index = entry.index;
        }
        if let Some(hard_state) = hard_state {
            record::put_state(&mut out, &mut self.crc, hard_state);
            self.hard_state = hard_state;
        }
        let write = self.append(out, commands);
        let sync = if self.offset >= self.segment_bytes {
            let file = self.tail().file();
            commands.issue(DiskCommand::Truncate { file, length: self.offset });
            let sync = commands.issue(DiskCommand::Sync { file });
            self.cut = Some(Cut::Tail(sync));
            Some(sync)
        } else {
            must_sync.then(|| commands.issue(DiskCommand::Sync { file: self.tail().file() }))
        };
        SaveOutcome { write: Some(write), sync }
    }

    /// Appends a snapshot record, and syncs.
    pub fn save_snapshot(
        &mut self,
        index: u64,
        term: u64,
        conf_state: &raftpb::ConfState,
        commands: &mut impl Commands,
    ) -> SaveOutcome {
        assert_eq!(self.cut, None, "a save while a segment is being cut");
        let mut out = Vec::with_capacity(128);
        record::put_snapshot(&mut out, &mut self.crc, index, term, Some(conf_state));
        self.last_index = self.last_index.max(index);
        let write = self.append(out, commands);
        let sync = commands.issue(DiskCommand::Sync { file: self.tail().file() });
        SaveOutcome { write: Some(write), sync: Some(sync) }
    }

    /// A sync has ended well: the next one to wait for, or `None` when what was saved lasts.
    pub fn on_disk(&mut self, op: OpId, commands: &mut impl Commands) -> Option<OpId> {
        match self.cut {
            Some(Cut::Tail(sync)) if sync == op => {
                let next = Segment { seq: self.tail().seq + 1, index: self.last_index + 1 };
                Some(self.start_segment(next, commands))
            }
            Some(Cut::Header(sync, segment)) if sync == op => {
                commands.issue(DiskCommand::Rename { from: segment.tmp(), to: segment.file() });
                let sync = commands.issue(DiskCommand::SyncDir { dir: Dir::Wal });
                self.segments.push_back(segment);
                self.cut = Some(Cut::Name(sync));
                Some(sync)
            }
            Some(Cut::Name(sync)) if sync == op => {
                self.cut = None;
                None
            }
            _ => None,
        }
    }

    /// The sync that the making of a segment waits for. Nothing may be saved while there is one.
    pub fn awaiting(&self) -> Option<OpId> {
        self.cut.map(|cut| match cut {
            Cut::Tail(sync) | Cut::Header(sync, _) | Cut::Name(sync) => sync,
        })
    }

    /// Entries up to `index` are in a snapshot that lasts: the segments before the one that holds it may go.
    pub fn release(&mut self, index: u64) {
        let first_above = self.segments.iter().position(|segment| segment.index >= index);
        let needed = first_above.unwrap_or(self.segments.len()).saturating_sub(1);
        self.released = self.released.max(needed);
    }

    /// Removes released segments, oldest first, as long as there are more than `keep` in all. How many went.
    pub fn purge(&mut self, keep: usize, commands: &mut impl Commands) -> usize {
        let mut removed = 0;
        while self.segments.len() > keep && self.released > 0 {
            let segment = self.segments.pop_front().expect("more than `keep` are left");
            commands.issue(DiskCommand::Remove { file: segment.file() });
            self.released -= 1;
            removed += 1;
        }
        removed
    }

    /// The file that is appended to.
    pub fn tail_file(&self) -> FileName {
        self.segments.back().map_or(FileName::WalTmp { slot: 0 }, |segment| segment.file())
    }

    fn tail(&self) -> Segment {
        *self.segments.back().expect("a log that is not being created has a segment")
    }

    fn append(&mut self, out: Vec<u8>, commands: &mut impl Commands) -> OpId {
        let (file, offset) = (self.tail().file(), self.offset);
        self.offset += out.len() as u64;
        commands.issue(DiskCommand::Write { file, offset, data: out.into() })
    }

    /// Writes the head of a new segment under a temporary name.
    fn start_segment(&mut self, segment: Segment, commands: &mut impl Commands) -> OpId {
        let mut out = Vec::with_capacity(128);
        record::put_crc(&mut out, &mut self.crc);
        record::put_metadata(&mut out, &mut self.crc, &self.metadata);
        if segment.seq == 0 {
            record::put_snapshot(&mut out, &mut self.crc, 0, 0, None);
        }
        if self.hard_state != (0, 0, 0) {
            record::put_state(&mut out, &mut self.crc, self.hard_state);
        }
        self.offset = out.len() as u64;
        let file = segment.tmp();
        commands.issue(DiskCommand::Create { file });
        commands.issue(DiskCommand::Truncate { file, length: self.segment_bytes });
        commands.issue(DiskCommand::Write { file, offset: 0, data: out.into() });
        let sync = commands.issue(DiskCommand::Sync { file });
        self.cut = Some(Cut::Header(sync, segment));
        sync
    }
}
