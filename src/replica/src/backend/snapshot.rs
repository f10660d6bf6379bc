//! The file as a whole, for another member.

use bytes::{Bytes, BytesMut};

use super::commit::Flight;
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

    /// The whole state as a file, as if the batch had just been committed. The one of a commit under way belongs to it:
    /// clients have been told of what is in it.
    pub fn snapshot(&self) -> Bytes {
        let mut whole = self.clone();
        // What a defragmentation begins with is all there is, and its own end is nothing new.
        whole.defragmenting = false;
        if matches!(whole.flight, Some(Flight::Create { .. } | Flight::Name { .. } | Flight::Commit { .. })) {
            while let Some(op) = whole.awaiting() {
                whole.on_disk(op, &mut Nowhere);
            }
        } else if whole.flight.is_none() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Bucket;
    use crate::Bugs;

    #[test]
    fn a_snapshot_has_what_is_written_and_what_a_commit_under_way_holds() {
        let put = |backend: &mut Backend, key: &'static [u8]| {
            backend.put(Bucket::Key, Bytes::from_static(key), Bytes::from_static(b"v"));
            backend.unlock(&mut Nowhere);
        };
        let keys = |file: &Bytes| {
            let (mut keys, found) = (Vec::new(), Backend::parse(file, Bugs::NONE).expect("sound"));
            found.for_each(Bucket::Key, b"", None, &mut |key, _| {
                keys.push(key.clone());
                true
            });
            keys
        };
        let mut backend = Backend::create(Bugs::NONE);
        put(&mut backend, b"a");
        assert_eq!(keys(&backend.snapshot()), ["a"]);
        // The first makes the file as well; the second is a plain commit.
        for (key, all) in [(&b"b"[..], &["a", "b"][..]), (b"c", &["a", "b", "c"])] {
            put(&mut backend, key);
            backend.begin_commit(&mut Nowhere);
            while let Some(op) = backend.awaiting() {
                assert_eq!(keys(&backend.snapshot()), all);
                backend.on_disk(op, &mut Nowhere);
            }
            assert_eq!(keys(&backend.snapshot()), all);
        }
    }
}
