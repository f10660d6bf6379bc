//! What was written since the last commit, by bucket and in order: etcd's `txWriteBuffer` and `txReadBuffer`.
//!
//! A write goes into the open transaction and into the write buffer. When the batch is unlocked the write buffer is
//! written back into the read buffer, where readers see it on top of the last commit. etcd does not keep deletes here:
//! it commits at once, and its readers wait. This answers readers meanwhile, so that it keeps them.

use bytes::Bytes;

use super::Bucket;
use crate::bytewise::head;

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Change {
    /// Of the key: it lies in the list itself, and the key elsewhere.
    head: u64,
    pub(super) key: Bytes,
    /// Its value, or nothing when it was deleted.
    pub(super) value: Option<Bytes>,
}

impl Change {
    /// What the list is sorted by.
    fn place(&self) -> (u64, &[u8]) {
        (self.head, &self.key)
    }
}

/// Both buffers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Buffers {
    /// In the order of writing.
    written: Vec<(Bucket, Change)>,
    /// In the order of keys, each key once.
    read: [Vec<Change>; Bucket::ALL.len()],
    /// What [`Merge::Duplicates`] goes by, for each bucket.
    slots: [Slots; Bucket::ALL.len()],
}

/// How the write buffer is merged into the read buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// The newest value of a key counts.
    Newest,
    /// The same, but readers are not told of deletes (etcd#17158).
    NoDeletes,
    /// As etcd had it for some days (etcd#17228): what does not overlap is appended as it is, a key that was written
    /// twice included (etcd#21986), and duplicates are removed from a write buffer without asking whether it holds
    /// anything, which makes one of the old entries that still lie in it count again (etcd#17247).
    Duplicates,
}

/// etcd empties a bucket's buffer by saying that nothing in it counts, and takes it away when it is emptied again
/// without having been used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Slots {
    /// The first entry of the write buffer when it was emptied last, if it is still there.
    lies: Option<Change>,
    reader: Reader,
}

/// The read buffer of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Reader {
    #[default]
    Missing,
    Empty,
    Used,
}

impl Buffers {
    pub(super) fn write(&mut self, bucket: Bucket, key: Bytes, value: Option<Bytes>) {
        self.written.push((bucket, Change { head: head(&key), key, value }));
    }

    /// Whether anything was written that readers do not see yet.
    pub(super) fn has_written(&self) -> bool {
        !self.written.is_empty()
    }

    /// Shows readers what was written.
    pub(super) fn writeback(&mut self, merge: Merge) {
        if merge == Merge::Duplicates {
            return self.writeback_duplicates();
        }
        let told = |change: &Change| merge != Merge::NoDeletes || change.value.is_some();
        for (bucket, change) in self.written.drain(..).filter(|(_, change)| told(change)) {
            put(&mut self.read[bucket as usize], change);
        }
    }

    fn writeback_duplicates(&mut self) {
        let written = std::mem::take(&mut self.written);
        for bucket in Bucket::ALL {
            let mut new: Vec<Change> = written.iter().filter(|of| of.0 == bucket).map(|of| of.1.clone()).collect();
            let (read, slots) = (&mut self.read[bucket as usize], &mut self.slots[bucket as usize]);
            let lies = slots.lies.take();
            match slots.reader {
                // The write buffer becomes the read buffer, and its first entry counts, whatever it is.
                Reader::Missing => {
                    slots.reader = if new.is_empty() && lies.is_none() { Reader::Missing } else { Reader::Used };
                    if new.is_empty() {
                        read.extend(lies);
                    }
                    new.into_iter().for_each(|change| put(read, change));
                }
                // A write buffer without anything new is taken away.
                Reader::Empty | Reader::Used if new.is_empty() => {}
                Reader::Empty | Reader::Used => {
                    slots.reader = Reader::Used;
                    slots.lies = new.first().cloned();
                    new.sort_by(|a, b| a.place().cmp(&b.place()));
                    let overlaps = read.last().zip(new.first()).is_some_and(|(last, first)| last.key >= first.key);
                    if overlaps {
                        new.into_iter().for_each(|change| put(read, change));
                    } else {
                        read.extend(new);
                    }
                }
            }
        }
    }

    /// The read buffer is emptied, as with each commit; a defragmentation does it twice. Readers see what they saw.
    pub(super) fn reset_reader(&mut self) {
        for slots in &mut self.slots {
            slots.reader = match slots.reader {
                Reader::Used => Reader::Empty,
                Reader::Empty | Reader::Missing => Reader::Missing,
            };
        }
    }

    /// A commit has made it all part of the file.
    pub(super) fn clear(&mut self) {
        self.written.clear();
        self.read.iter_mut().for_each(Vec::clear);
        self.reset_reader();
    }

    /// What became of a key.
    pub(super) fn get(&self, bucket: Bucket, key: &[u8]) -> Option<&Option<Bytes>> {
        let (read, place) = (&self.read[bucket as usize], (head(key), key));
        // Most revisions that are read are older than all that has not been committed.
        if read.first().is_none_or(|first| place < first.place()) {
            return None;
        }
        let at = read.partition_point(|change| change.place() < place);
        read.get(at).filter(|change| change.key == key).map(|change| &change.value)
    }

    /// The changes with `from <= key < to`.
    pub(super) fn range(&self, bucket: Bucket, from: &[u8], to: Option<&[u8]>) -> &[Change] {
        let read = &self.read[bucket as usize];
        let start = read.partition_point(|change| change.key < from);
        let end = to.map_or(read.len(), |to| read.partition_point(|change| change.key < to));
        &read[start..end.max(start)]
    }
}

/// Takes a change in. Revisions only grow, so that it mostly goes to the end.
fn put(read: &mut Vec<Change>, change: Change) {
    if read.last().is_none_or(|last| last.place() < change.place()) {
        read.push(change);
        return;
    }
    match read.binary_search_by(|old| old.place().cmp(&change.place())) {
        Ok(at) => read[at] = change,
        Err(at) => read.insert(at, change),
    }
}
