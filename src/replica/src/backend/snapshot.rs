//! The file as a whole, for another member.

use bytes::{Bytes, BytesMut};

use super::Backend;
use crate::pager::{Progress, Snapshot};
use crate::wal::Commands;
use crate::{DiskCommand, OpId};

/// The file as of one commit, read piece by piece while the backend goes on. It must be closed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotReader {
    snapshot: Snapshot,
    /// Bytes not read yet.
    left: u64,
    /// Number of the backend's file that it reads, so that it ends when another one has taken its place.
    generation: u64,
}

impl SnapshotReader {
    /// Bytes that are left to read.
    pub fn size(&self) -> u64 {
        self.left
    }
}

/// Where commands go that nobody performs.
struct Nowhere;

impl Commands for Nowhere {
    fn issue(&mut self, _command: DiskCommand) -> OpId {
        OpId(0)
    }
}

impl Backend {
    /// Opens a view of what is committed, to be read as a file while the backend goes on. etcd commits before it does.
    pub fn open_snapshot(&mut self) -> SnapshotReader {
        let snapshot = self.pager.open_snapshot();
        self.readers += 1;
        let left = snapshot.size(&self.pager);
        SnapshotReader { snapshot, left, generation: self.generation }
    }

    /// The next part of the file, about `bytes` long, in whole pages; empty behind its end. It also ends, before its
    /// time, when the backend has another file now.
    pub fn next_chunk(&self, reader: &mut SnapshotReader, bytes: usize) -> Bytes {
        if reader.generation != self.generation {
            return Bytes::new();
        }
        let chunk = reader.snapshot.next_chunk(&self.pager, bytes).unwrap_or_default();
        reader.left -= chunk.len() as u64;
        chunk
    }

    /// The view is needed no more.
    pub fn close_snapshot(&mut self, reader: SnapshotReader) {
        if reader.generation == self.generation {
            self.pager.close_snapshot(reader.snapshot);
            self.readers -= 1;
        }
    }

    /// The whole state as a file, as if the batch had just been committed.
    pub fn snapshot(&self) -> Bytes {
        let mut whole = self.clone();
        if whole.flight.is_none() {
            whole.uncreated = None;
            let mut op = whole.begin_commit(&mut Nowhere);
            while whole.pager.on_disk(op, &mut Nowhere) == Progress::Pending {
                op = whole.pager.awaiting().expect("a pending commit waits for a sync");
            }
        }
        let mut reader = whole.pager.open_snapshot();
        let mut file = BytesMut::new();
        while let Some(chunk) = reader.next_chunk(&whole.pager, 1 << 20) {
            file.extend_from_slice(&chunk);
        }
        file.freeze()
    }
}
