//! The page writer between records and the file: what has been encoded waits here until it is flushed.
//!
//! Nothing reaches the file before a sync asks for it, unless more has come together than the buffer takes: then all
//! that is buffered goes out up to the end of a page, and whole pages behind it at once. So a big save is several
//! writes, each of which ends where a page of 4096 bytes does, and a save that need not be synced is often none at all:
//! it dies with the process.

use super::buffer::Buffer;
use super::Commands;
use crate::{DiskCommand, Failpoint, FileName, OpId};

/// A page: eight sectors.
const PAGE: usize = 8 * 512;
/// What the buffer takes before it is flushed without being asked.
const WATERMARK: usize = 128 * 1024;

/// The end of a segment: what has been written, and what waits to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pages {
    /// Length of what has been written: the file's position.
    position: u64,
    pub(super) buffer: Buffer,
    /// The first write since the last time somebody asked.
    first_write: Option<OpId>,
}

impl Pages {
    pub(super) fn at(position: u64) -> Self {
        Self { position, buffer: Buffer::default(), first_write: None }
    }

    /// Where the file ends, without what is buffered.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The first write since this was last asked.
    pub(super) fn take_first_write(&mut self) -> Option<OpId> {
        self.first_write.take()
    }

    /// A record was put into the buffer behind its first `before` bytes. The length that opens it and the rest come to
    /// the writer one after the other, and each may be too much for the buffer.
    pub(super) fn recorded(&mut self, before: usize, file: FileName, commands: &mut impl Commands) {
        if self.buffer.len() <= WATERMARK {
            return;
        }
        let opening = super::record::FRAME;
        let record = self.buffer.len() - before - opening;
        let before = self.took(before, opening, file, commands);
        self.took(before, record, file, commands);
    }

    /// `length` bytes came to the `before` that were there. Gives what is in the buffer up to their end.
    fn took(&mut self, before: usize, length: usize, file: FileName, commands: &mut impl Commands) -> usize {
        let end = before + length;
        if end <= WATERMARK {
            return end;
        }
        let filled = (self.position as usize + before) % PAGE;
        let slack = (PAGE - filled) % PAGE;
        if slack > length {
            return end;
        }
        self.write(before + slack, file, commands);
        let rest = length - slack;
        let whole = if rest > PAGE { rest - rest % PAGE } else { 0 };
        self.write(whole, file, commands);
        rest - whole
    }

    /// Writes the first `length` bytes of the buffer.
    fn write(&mut self, length: usize, file: FileName, commands: &mut impl Commands) -> Option<OpId> {
        if length == 0 {
            return None;
        }
        if self.first_write.is_some() {
            commands.point(Failpoint::WalBetweenWrites);
        }
        let data = self.buffer.take(length);
        let op = commands.issue(DiskCommand::Write { file, offset: self.position, data });
        self.position += length as u64;
        self.first_write.get_or_insert(op);
        Some(op)
    }

    /// Writes all that is buffered, if anything is.
    pub(super) fn flush(&mut self, file: FileName, commands: &mut impl Commands) -> Option<OpId> {
        self.write(self.buffer.len(), file, commands)
    }
}
