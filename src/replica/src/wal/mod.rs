//! The write-ahead log: what Raft must not forget, in etcd's bytes.
//!
//! [`Wal`] appends. What is saved waits in a page writer until a sync is due; a segment that has reached its size is
//! cut, in etcd's order, and continued in one that the pipeline has made ahead. Like etcd's, the log is locked from a
//! save until its last sync has ended, and the steps of a cut wait for each other's syncs:
//!
//! ```text
//! let saved = wal.save(hard_state, entries, must_sync, commands);
//! wait for saved.sync; while let Progress::Waits(next) = wal.on_disk(op, commands) { wait for next }
//! ```
//!
//! [`read()`] is the way back: it tells the torn tail that a crash leaves (to be repaired) from damage (to be refused),
//! by etcd's rules, blind spots included. The log does not know what is in entries, nor what Raft does with them.

mod buffer;
mod dump;
mod pages;
mod pipeline;
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
pub(crate) use record::{fields, parse_conf_state, put_conf_state, Field, Small};

use crate::{raftpb, Bug, Bugs, Config, Dir, DiskCommand, DiskImage, Failpoint, FileName, OpId, Release};
use pages::Pages;
use pipeline::Pipeline;

/// Where disk commands go. It numbers them; the answers to syncs come back by that number.
pub trait Commands {
    /// Issue one. Commands are performed in the order of issue.
    fn issue(&mut self, command: DiskCommand) -> OpId;

    /// A point between two commands, where a member may be made to crash.
    fn point(&mut self, _point: Failpoint) {}
}

/// How a log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// Size at which a segment is cut, and to which it is preallocated.
    pub segment_bytes: u64,
    /// Whose rules are followed where releases differ.
    pub release: Release,
    /// Bugs switched on.
    pub bugs: Bugs,
}

impl Settings {
    /// As a member is configured.
    pub fn of(config: &Config) -> Self {
        Self { segment_bytes: config.wal_segment_bytes, release: config.release, bugs: config.bugs }
    }

    /// Segments of that size, and otherwise what a member does by default.
    pub fn with_segments(segment_bytes: u64) -> Self {
        Self { segment_bytes, release: Release::default(), bugs: Bugs::NONE }
    }
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
    /// The first write, if anything was written and not only buffered.
    pub write: Option<OpId>,
    /// The sync to wait for, if any. Hand its answer to [`Wal::on_disk`].
    pub sync: Option<OpId>,
}

/// What the end of a sync has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    /// What was saved lasts. The log is unlocked.
    Done,
    /// Another sync must end first.
    Waits(OpId),
    /// There is no file to go on in: the pipeline could not make it.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Segment {
    seq: u64,
    index: u64,
}

impl Segment {
    fn file(self) -> FileName {
        FileName::Wal { seq: self.seq, index: self.index }
    }
}

/// The sync that the log is locked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lock {
    /// Of a save; the flag says whether somebody may want to crash the member after it (`walAfterSync`).
    Save(OpId, bool),
    /// A cut: the old tail has its final length.
    Tail(OpId),
    /// A new segment has its head, under a temporary name.
    Head(OpId, FileName, Segment),
    /// It has its name.
    Name(OpId),
}

/// The end of the log, ready to append. Plain data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wal {
    settings: Settings,
    metadata: Bytes,
    /// Segments that nobody holds, oldest first: a purge may take them.
    free: VecDeque<Segment>,
    /// Segments that are held, oldest first; the last one is appended to.
    held: VecDeque<Segment>,
    tail: Pages,
    crc: u32,
    /// Term, vote, commit as last saved in this life.
    hard_state: (u64, u64, u64),
    last_index: u64,
    pipeline: Pipeline,
    lock: Option<Lock>,
}

impl Wal {
    /// Makes a new log on `image`, which has none. It exists once the returned sync, and those that [`Wal::on_disk`]
    /// names after it, have ended.
    pub fn create(
        metadata: Bytes,
        settings: Settings,
        image: &DiskImage,
        commands: &mut impl Commands,
    ) -> (Self, OpId) {
        for file in image.files.keys().filter(|file| file.dir() == Dir::Wal) {
            // Leftovers of a log that never was.
            commands.issue(DiskCommand::Remove { file: *file });
        }
        let mut wal = Self {
            settings,
            metadata,
            free: VecDeque::new(),
            held: VecDeque::new(),
            tail: Pages::at(0),
            crc: 0,
            hard_state: (0, 0, 0),
            last_index: 0,
            pipeline: Pipeline::default(),
            lock: None,
        };
        let file = FileName::WalFirst;
        commands.issue(DiskCommand::Create { file });
        commands.issue(DiskCommand::Truncate { file, length: settings.segment_bytes });
        let sync = wal.start_segment(file, Segment { seq: 0, index: 0 }, commands);
        (wal, sync)
    }

    /// Starts the pipeline, in a log that was read.
    pub fn start(&mut self, commands: &mut impl Commands) {
        self.pipeline.make(self.settings.segment_bytes, commands);
    }

    /// Whether Raft must know these to be on disk before it goes on. `hard_state` is `None` when it has not changed.
    /// The first term saved in a life always is a new one: what the log was read with does not count.
    pub fn must_sync(&self, hard_state: Option<&raftpb::HardState>, entries: &[raftpb::Entry]) -> bool {
        let (term, vote, _) = self.hard_state;
        !entries.is_empty() || hard_state.is_some_and(|state| (state.term, state.vote) != (term, vote))
    }

    /// Term, vote and commit as last saved in this life.
    pub fn hard_state(&self) -> (u64, u64, u64) {
        self.hard_state
    }

    /// Whether something saved has not been written.
    pub fn buffers(&self) -> bool {
        !self.tail.buffer.is_empty()
    }

    /// Appends entries and a hard state. They are written and synced if `must_sync`, or if the segment had reached its
    /// size before and is cut now; otherwise they may stay in the buffer.
    pub fn save(
        &mut self,
        hard_state: Option<&raftpb::HardState>,
        entries: &[raftpb::Entry],
        must_sync: bool,
        commands: &mut impl Commands,
    ) -> SaveOutcome {
        assert_eq!(self.lock, None, "a save while the log is locked");
        let hard_state = hard_state.map(|state| (state.term, state.vote, state.commit)).filter(|s| *s != (0, 0, 0));
        if hard_state.is_none() && entries.is_empty() {
            return SaveOutcome::default();
        }
        let file = self.tail_file();
        // Beside its data an entry needs some fifty bytes, and a hard state too.
        let lengths = entries.iter().flat_map(|entry| [64, entry.data.len()]);
        self.tail.buffer.reserve(lengths.chain([64]));
        for entry in entries {
            let before = self.tail.buffer.len();
            record::put_entry(&mut self.tail.buffer, &mut self.crc, entry);
            self.tail.recorded(before, file, commands);
            self.last_index = entry.index;
        }
        if let Some(hard_state) = hard_state {
            let before = self.tail.buffer.len();
            record::put_state(&mut self.tail.buffer, &mut self.crc, hard_state);
            self.tail.recorded(before, file, commands);
            self.hard_state = hard_state;
        }
        // What is buffered does not count: a segment is cut by the save after the one that filled it.
        let sync = if self.tail.position() >= self.settings.segment_bytes {
            commands.issue(DiskCommand::Truncate { file, length: self.tail.position() });
            self.tail.flush(file, commands);
            let sync = commands.issue(DiskCommand::Sync { file });
            self.lock = Some(Lock::Tail(sync));
            Some(sync)
        } else if must_sync {
            commands.point(Failpoint::WalBeforeSync);
            Some(self.flush_and_sync(true, commands))
        } else {
            None
        };
        SaveOutcome { write: self.tail.take_first_write(), sync }
    }

    /// Appends a snapshot record, and syncs.
    pub fn save_snapshot(
        &mut self,
        index: u64,
        term: u64,
        conf_state: &raftpb::ConfState,
        commands: &mut impl Commands,
    ) -> SaveOutcome {
        assert_eq!(self.lock, None, "a save while the log is locked");
        let before = self.tail.buffer.len();
        record::put_snapshot(&mut self.tail.buffer, &mut self.crc, index, term, Some(conf_state));
        self.tail.recorded(before, self.tail_file(), commands);
        self.last_index = self.last_index.max(index);
        let sync = self.flush_and_sync(false, commands);
        SaveOutcome { write: self.tail.take_first_write(), sync: Some(sync) }
    }

    /// Makes all that was saved last.
    pub fn sync(&mut self, commands: &mut impl Commands) -> SaveOutcome {
        assert_eq!(self.lock, None, "a sync while the log is locked");
        let sync = self.flush_and_sync(false, commands);
        SaveOutcome { write: self.tail.take_first_write(), sync: Some(sync) }
    }

    fn flush_and_sync(&mut self, point: bool, commands: &mut impl Commands) -> OpId {
        let file = self.tail_file();
        self.tail.flush(file, commands);
        let sync = commands.issue(DiskCommand::Sync { file });
        self.lock = Some(Lock::Save(sync, point));
        sync
    }

    /// A sync has ended well.
    pub fn on_disk(&mut self, op: OpId, commands: &mut impl Commands) -> Progress {
        assert_eq!(self.awaiting(), Some(op), "a sync that the log does not wait for");
        let lock = self.lock.take().expect("it waits for this sync");
        let next = match lock {
            Lock::Save(_, point) => {
                if point {
                    commands.point(Failpoint::WalAfterSync);
                }
                return Progress::Done;
            }
            Lock::Name(_) => return Progress::Done,
            Lock::Tail(_) => {
                let Some(file) = self.pipeline.take() else { return Progress::Failed };
                let segment = Segment { seq: self.tail_segment().seq + 1, index: self.last_index + 1 };
                let sync = self.start_segment(file, segment, commands);
                self.pipeline.make(self.settings.segment_bytes, commands);
                sync
            }
            Lock::Head(_, file, segment) => {
                commands.issue(DiskCommand::Rename { from: file, to: segment.file() });
                commands.point(Failpoint::WalBeforeDirSync);
                self.held.push_back(segment);
                let sync = commands.issue(DiskCommand::SyncDir { dir: Dir::Wal });
                self.lock = Some(Lock::Name(sync));
                if segment.seq == 0 {
                    self.start(commands);
                }
                sync
            }
        };
        Progress::Waits(next)
    }

    /// The sync that the log is locked for. Nothing may be saved meanwhile.
    pub fn awaiting(&self) -> Option<OpId> {
        self.lock.map(|lock| match lock {
            Lock::Save(sync, _) | Lock::Tail(sync) | Lock::Head(sync, ..) | Lock::Name(sync) => sync,
        })
    }

    /// A command has failed. True when nobody has to know yet: it was to make the segment after this one.
    pub fn note_failure(&mut self, op: OpId) -> bool {
        self.pipeline.note_failure(op)
    }

    /// Entries up to `index` are in a snapshot that lasts: the segments before the one that holds it may go.
    pub fn release(&mut self, index: u64) {
        let first_above = self.held.iter().position(|segment| segment.index >= index);
        let released = first_above.unwrap_or(self.held.len()).saturating_sub(1);
        self.free.extend(self.held.drain(..released));
    }

    /// Removes segments that nobody holds, oldest first, as long as there are more than `keep` in all. How many went.
    pub fn purge(&mut self, keep: usize, commands: &mut impl Commands) -> usize {
        let mut removed = 0;
        while self.free.len() + self.held.len() > keep {
            let Some(segment) = self.free.pop_front() else { break };
            commands.issue(DiskCommand::Remove { file: segment.file() });
            removed += 1;
        }
        removed
    }

    /// The file that is appended to.
    pub fn tail_file(&self) -> FileName {
        self.held.back().map_or(FileName::WalFirst, |segment| segment.file())
    }

    fn tail_segment(&self) -> Segment {
        *self.held.back().expect("a log that is not being created has a segment")
    }

    /// Writes the head of a new segment into `file`, which is temporary.
    fn start_segment(&mut self, file: FileName, segment: Segment, commands: &mut impl Commands) -> OpId {
        self.tail = Pages::at(0);
        if self.settings.bugs.has(Bug::WalcutCrcNotChained) {
            self.crc = 0;
        }
        let out = &mut self.tail.buffer;
        record::put_crc(out, &mut self.crc);
        record::put_metadata(out, &mut self.crc, &self.metadata);
        if segment.seq == 0 {
            record::put_snapshot(out, &mut self.crc, 0, 0, None);
        }
        if self.hard_state != (0, 0, 0) {
            record::put_state(out, &mut self.crc, self.hard_state);
        }
        self.tail.flush(file, commands);
        self.tail.take_first_write();
        let sync = commands.issue(DiskCommand::Sync { file });
        self.lock = Some(Lock::Head(sync, file, segment));
        sync
    }
}
