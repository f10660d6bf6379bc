//! The backend: what has been applied, in one bbolt file, committed in batches.
//!
//! Writes go to the open batch, which is a write transaction of the pager. Reads see the last commit with the read
//! buffer on top; inside a batch that has written, they see the batch. [`Backend::unlock`] ends what etcd does under
//! the batch's lock. [`Backend::begin_commit`] makes the batch last, with the consistent index as it stands; a crash
//! leaves the state of the last commit, or of the one in flight, and nothing in between. Like etcd, which holds the
//! batch's lock meanwhile, the batch takes no writes while a commit or a defragmentation is in flight.
//!
//! The backend does not know what keys mean, except for three in the `meta` bucket: the consistent index and its term
//! (what the state is the result of), and the configuration there.

mod batch;
mod buffer;
mod commit;
mod conf_state;
mod defrag;
mod snapshot;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use crate::mvcc::Bucket;
use crate::pager::{BucketRoot, Options, Pager};
use crate::wal::Commands;
use crate::{raftpb, BootError, Bug, Bugs, DiskImage, Failpoint, FileName};

use buffer::{Buffers, Change, Merge};
pub use commit::CommitProgress;
use commit::Flight;
pub use snapshot::SnapshotReader;

const CONSISTENT_INDEX: &[u8] = b"consistent_index";
const TERM: &[u8] = b"term";
const CONF_STATE: &[u8] = b"confState";
const STORAGE_VERSION: &[u8] = b"storageVersion";

/// Bytes of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// Up to the last page that was ever used.
    pub total: u64,
    /// Without the pages that were free at the last commit.
    pub in_use: u64,
}

/// The backend. Plain data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    bugs: Bugs,
    /// With an open write transaction, but while a commit is in flight.
    pager: Pager,
    /// The first pages, while there is no file.
    uncreated: Option<Bytes>,
    /// Where each bucket was at the last commit.
    roots: [Option<BucketRoot>; Bucket::ALL.len()],
    buffers: Buffers,
    pending: usize,
    pending_deletes: usize,
    consistent_index: u64,
    term: u64,
    /// As JSON. It is written when it changes, as in etcd.
    conf_state: Option<Bytes>,
    conf_state_changed: bool,
    /// As the file has it.
    committed_index: u64,
    flight: Option<Flight>,
    /// From the commit before the copy to the end.
    defragmenting: bool,
    /// Number of the next temporary file.
    next_tmp: u64,
    /// Snapshots of the file being read.
    readers: usize,
    /// Counts the files that it has had: a defragmentation makes a new one.
    generation: u64,
}

impl Backend {
    /// An empty backend. Its file comes into being with the first commit.
    pub fn create(bugs: Bugs) -> Self {
        let (pager, first) = Pager::blank(FileName::Db, Options { bugs, ..Options::ETCD });
        let mut backend = Self::on(pager, bugs);
        backend.uncreated = Some(first);
        backend.begin();
        backend
    }

    fn on(pager: Pager, bugs: Bugs) -> Self {
        Self {
            bugs,
            pager,
            uncreated: None,
            roots: Default::default(),
            buffers: Buffers::default(),
            pending: 0,
            pending_deletes: 0,
            consistent_index: 0,
            term: 0,
            conf_state: None,
            conf_state_changed: false,
            committed_index: 0,
            flight: None,
            defragmenting: false,
            next_tmp: 0,
            readers: 0,
            generation: 0,
        }
    }

    /// The backend of a data dir; an empty one when it has no file yet.
    ///
    /// # Errors
    /// [`BootError::Backend`] when the file is damaged.
    pub fn open(image: &DiskImage, bugs: Bugs) -> Result<Self, BootError> {
        match image.bytes(FileName::Db) {
            Some(file) if !file.is_empty() => {
                let length = image.length(FileName::Db).expect("it is there");
                Self::of(open(&file, length, bugs)?, bugs)
            }
            _ => Ok(Self::create(bugs)),
        }
    }

    /// The backend in the bytes of a file that was synced when it was received, such as another member's snapshot.
    ///
    /// # Errors
    /// [`BootError::Backend`] when they are damaged.
    pub fn parse(file: &Bytes, bugs: Bugs) -> Result<Self, BootError> {
        Self::of(open(file, file.len() as u64, bugs)?.durable(), bugs)
    }

    fn of(pager: Pager, bugs: Bugs) -> Result<Self, BootError> {
        let refuse = |reason| BootError::Backend { reason };
        let mut backend = Self::on(pager, bugs);
        backend.begin();
        let number = |key: &[u8]| match backend.get(Bucket::Meta, key) {
            None => Ok(0),
            Some(value) => <[u8; 8]>::try_from(&value[..])
                .map(u64::from_be_bytes)
                .map_err(|_| refuse(format!("{} is not 8 bytes long", String::from_utf8_lossy(key)))),
        };
        let (consistent_index, term) = (number(CONSISTENT_INDEX)?, number(TERM)?);
        let conf_state = backend.get(Bucket::Meta, CONF_STATE);
        if let Some(json) = &conf_state {
            conf_state::parse(json).map_err(refuse)?;
        }
        (backend.consistent_index, backend.term, backend.conf_state) = (consistent_index, term, conf_state);
        backend.committed_index = consistent_index;
        Ok(backend)
    }

    /// Another one, which takes this one's place.
    #[must_use]
    pub fn succeeded_by(&self, other: Self) -> Self {
        Self { generation: self.generation + 1, next_tmp: self.next_tmp, ..other }
    }

    /// Begins the next batch: finds where the buckets are, and makes those that are missing.
    fn begin(&mut self) {
        self.pager.begin();
        for bucket in Bucket::ALL {
            let name = bucket.name().as_bytes();
            let root = self.pager.bucket(name);
            if root.is_none() {
                self.pager.create_bucket(name);
            }
            self.roots[bucket as usize] = root;
        }
    }

    /// Sets `key` of `bucket`.
    pub fn put(&mut self, bucket: Bucket, key: Bytes, value: Bytes) {
        self.assert_unlocked();
        self.pending += 1;
        let name = bucket.name().as_bytes();
        match bucket {
            // Revisions only grow.
            Bucket::Key => self.pager.put_sequential(name, key.clone(), value.clone()),
            _ => self.pager.put(name, key.clone(), value.clone()),
        }
        self.buffers.write(bucket, key, Some(value));
    }

    /// Removes `key` of `bucket`, if it is there.
    pub fn delete(&mut self, bucket: Bucket, key: &[u8]) {
        self.assert_unlocked();
        self.pending += 1;
        self.pending_deletes += 1;
        self.pager.delete(bucket.name().as_bytes(), key);
        self.buffers.write(bucket, Bytes::copy_from_slice(key), None);
    }

    /// The value of `key`.
    pub fn get(&self, bucket: Bucket, key: &[u8]) -> Option<Bytes> {
        if self.buffers.has_written() {
            return self.pager.get_open(bucket.name().as_bytes(), key);
        }
        if let Some(change) = self.buffers.get(bucket, key) {
            return change.clone();
        }
        let root = self.roots[bucket as usize].as_ref()?;
        self.pager.tree(root).value(key)
    }

    /// Shows the pairs with `from <= key < to` (`None`: to the end) in byte order, until `visit` says false.
    pub fn for_each(
        &self,
        bucket: Bucket,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut dyn FnMut(&Bytes, &Bytes) -> bool,
    ) {
        if to.is_some_and(|to| to <= from) {
            return;
        }
        let inside = |key: &Bytes| to.is_none_or(|to| &key[..] < to);
        if self.buffers.has_written() {
            let read = |tree: crate::pager::Tree<'_>| {
                let mut pairs = tree.seek(from).take_while(|element| inside(&element.key));
                pairs.all(|element| visit(&element.key, &element.value))
            };
            self.pager.with_open(bucket.name().as_bytes(), read);
            return;
        }
        let mut buffered = self.buffers.range(bucket, from, to).iter().peekable();
        // What is in the buffer is not in the file yet, and of revisions the newest, so etcd does not compare them.
        let apart = bucket == Bucket::Key && self.bugs.has(Bug::ReadbufMergeDups);
        if let Some(root) = &self.roots[bucket as usize] {
            for element in self.pager.tree(root).seek(from).take_while(|element| inside(&element.key)) {
                while let Some(Change { key, value, .. }) =
                    buffered.next_if(|change| !apart && change.key < element.key)
                {
                    if value.as_ref().is_some_and(|value| !visit(key, value)) {
                        return;
                    }
                }
                let newer = !apart && buffered.peek().is_some_and(|change| change.key == element.key);
                if !newer && !visit(&element.key, &element.value) {
                    return;
                }
            }
        }
        for Change { key, value, .. } in buffered {
            if value.as_ref().is_some_and(|value| !visit(key, value)) {
                return;
            }
        }
    }

    /// Writes that no commit has taken yet.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Whether one of them is a delete. etcd commits at once then: its read buffer does not know deletes.
    pub fn has_pending_deletes(&self) -> bool {
        self.pending_deletes > 0 && !self.bugs.has(Bug::DeleteNotInReadBuffer)
    }

    /// The batch's lock is given up: whoever reads sees what was written. Reads see it before, too, but pay for it.
    pub fn unlock(&mut self, commands: &mut impl Commands) {
        if !self.buffers.has_written() {
            return;
        }
        let merge = match () {
            () if self.bugs.has(Bug::ReadbufMergeDups) => Merge::Duplicates,
            () if self.bugs.has(Bug::DeleteNotInReadBuffer) => Merge::NoDeletes,
            () => Merge::Newest,
        };
        commands.point(Failpoint::BeforeWritebackBuf);
        self.buffers.writeback(merge);
        commands.point(Failpoint::AfterWritebackBuf);
    }

    /// The Raft index, and its term, that the batch is the result of. Written by the next commit.
    pub fn set_consistent_index(&mut self, index: u64, term: u64) {
        (self.consistent_index, self.term) = (index, term);
    }

    /// The configuration at the consistent index. Written by the next commit.
    pub fn set_conf_state(&mut self, conf_state: &raftpb::ConfState) {
        self.conf_state = Some(conf_state::to_json(conf_state).into());
        self.conf_state_changed = true;
    }

    /// As last set, or as read from the file.
    pub fn consistent_index(&self) -> u64 {
        self.consistent_index
    }

    /// The term of the consistent index.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// As last set, or as read from the file.
    pub fn conf_state(&self) -> Option<raftpb::ConfState> {
        let json = self.conf_state.as_ref()?;
        Some(conf_state::parse(json).expect("it was written here, or parsed when the file was opened"))
    }

    /// Bytes of the file, and of what is in use, as of the last commit.
    pub fn size(&self) -> Size {
        let total = self.pager.size();
        Size { total, in_use: total - self.pager.stats().free_pages * self.pager.page_size() as u64 }
    }

    /// The pages below, to be looked at.
    pub fn pager(&self) -> &Pager {
        &self.pager
    }

    /// etcd's hash of the whole backend: CRC-32C over the names, keys and values of all buckets as last committed. Left
    /// out is what clients do not control: consistent index, term and storage version.
    pub fn hash_all(&self) -> u32 {
        let mut hash = 0;
        for bucket in self.pager.root().iter() {
            hash = crc32c::crc32c_append(hash, &bucket.key);
            let Some(root) = bucket.bucket() else { continue };
            for pair in self.pager.tree(&root).iter() {
                let ignored = [CONSISTENT_INDEX, TERM, STORAGE_VERSION].contains(&&pair.key[..]);
                if !(ignored && bucket.key == Bucket::Meta.name()) {
                    hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, &pair.key), &pair.value);
                }
            }
        }
        hash
    }

    fn assert_unlocked(&self) {
        assert!(self.flight.is_none(), "the batch is locked while a commit is in flight");
    }
}

/// Opens a file of `length` bytes, of which those behind `file` are zeros.
fn open(file: &Bytes, length: u64, bugs: Bugs) -> Result<Pager, BootError> {
    let options = Options { bugs, ..Options::ETCD };
    let opened = Pager::open(FileName::Db, file, length, options);
    opened.map_err(|error| BootError::Backend { reason: error.to_string() })
}
