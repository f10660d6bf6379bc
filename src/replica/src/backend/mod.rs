//! The backend: what has been applied, in one file, committed in batches.
//!
//! Writes go to the open batch and are seen by reads at once. [`Backend::begin_commit`] starts to make the batch
//! last, in two phases as bbolt's: the data and a sync, then the page that makes it count and a sync. A crash leaves
//! the state of the last commit, or of the one in flight, and nothing in between. Like etcd, which holds the batch's
//! lock meanwhile, the batch takes no writes while a commit is in flight.
//!
//! The file is a log of batches under two alternating meta slots (see `file.rs`). When the log has outgrown what is
//! alive in it, the next commit writes it anew beside the old file and renames it over.
//!
//! The backend does not know what keys mean, except for three in the `meta` bucket: the consistent index and its term
//! (what the state is the result of), and the configuration there.

mod batch;
mod conf_state;
mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

pub use crate::mvcc::Bucket;
use crate::wal::Commands;
use crate::{raftpb, BootError, Dir, DiskCommand, DiskImage, FileName, OpId};

const CONSISTENT_INDEX: &[u8] = b"consistent_index";
const TERM: &[u8] = b"term";
const CONF_STATE: &[u8] = b"confState";

/// A log up to this size is never written anew.
const LOG_BYTES_MIN: u64 = 1 << 20;
/// The log is written anew when it is so many times what is alive in it.
const LOG_TIMES_LIVE: u64 = 4;

/// Keys and values, by bucket.
type Buckets = [BTreeMap<Bytes, Bytes>; Bucket::ALL.len()];

/// How far a commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommitProgress {
    /// Another sync must end first: [`Backend::awaiting`].
    Pending,
    /// It lasts.
    Done {
        /// The consistent index in it.
        consistent_index: u64,
    },
}

/// Bytes of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Size {
    /// The whole file.
    pub total: u64,
    /// What it would be if it held nothing but what is alive.
    pub in_use: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// The batch is on its way to the end of the log.
    Data,
    /// The slot that makes it count is.
    Meta,
    /// The whole state is on its way to a file of its own.
    Anew(FileName),
    /// Its name is.
    Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Commit {
    phase: Phase,
    sync: OpId,
    meta: file::Meta,
    consistent_index: u64,
}

/// The backend. Plain data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    buckets: Buckets,
    /// What keys and values in `buckets` take in a log.
    live_bytes: u64,
    /// The open batch, as it will be written.
    batch: Vec<u8>,
    pending: usize,
    consistent_index: u64,
    term: u64,
    /// As JSON. It is written when it changes, as in etcd.
    conf_state: Option<Bytes>,
    conf_state_changed: bool,
    /// What the file says; `None` while there is none.
    meta: Option<file::Meta>,
    /// Files that a crash left behind; the next file of that kind gets a number above them.
    orphans: Vec<FileName>,
    next_tmp: u64,
    commit: Option<Commit>,
}

impl Backend {
    /// An empty backend. Its file comes into being with the first commit.
    pub fn create() -> Self {
        Self {
            buckets: Buckets::default(),
            live_bytes: 0,
            batch: Vec::new(),
            pending: 0,
            consistent_index: 0,
            term: 0,
            conf_state: None,
            conf_state_changed: false,
            meta: None,
            orphans: Vec::new(),
            next_tmp: 0,
            commit: None,
        }
    }

    /// The backend of a data dir; an empty one when it has no file yet.
    ///
    /// # Errors
    /// [`BootError::Backend`] when the file is damaged.
    pub fn open(image: &DiskImage) -> Result<Self, BootError> {
        let mut backend = match image.files.get(&FileName::Db) {
            Some(file) => Self::parse(file)?,
            None => Self::create(),
        };
        for file in image.files.keys() {
            if let FileName::DbTmp { number } = file {
                backend.orphans.push(*file);
                backend.next_tmp = backend.next_tmp.max(number.saturating_add(1));
            }
        }
        Ok(backend)
    }

    /// The backend in the bytes of a file, such as another member's [`Backend::snapshot`].
    ///
    /// # Errors
    /// [`BootError::Backend`] when they are damaged.
    pub fn parse(file: &Bytes) -> Result<Self, BootError> {
        let refuse = |reason| BootError::Backend { reason };
        let mut backend = Self::create();
        let (meta, buckets) = file::read(file).map_err(refuse)?;
        let number = |key: &[u8]| match buckets[Bucket::Meta as usize].get(key) {
            None => Ok(0),
            Some(value) => <[u8; 8]>::try_from(&value[..])
                .map(u64::from_be_bytes)
                .map_err(|_| refuse(format!("{} is not 8 bytes long", String::from_utf8_lossy(key)))),
        };
        (backend.consistent_index, backend.term) = (number(CONSISTENT_INDEX)?, number(TERM)?);
        backend.conf_state = buckets[Bucket::Meta as usize].get(CONF_STATE).cloned();
        if let Some(json) = &backend.conf_state {
            conf_state::parse(json).map_err(refuse)?;
        }
        backend.live_bytes = buckets.iter().flatten().map(|(key, value)| file::cost(key, value)).sum();
        (backend.buckets, backend.meta) = (buckets, Some(meta));
        Ok(backend)
    }

    /// Sets `key` of `bucket`.
    pub fn put(&mut self, bucket: Bucket, key: Bytes, value: Bytes) {
        self.assert_open();
        self.pending += 1;
        self.write(bucket, key, value);
    }

    /// Removes `key` of `bucket`, if it is there.
    pub fn delete(&mut self, bucket: Bucket, key: &[u8]) {
        self.assert_open();
        self.pending += 1;
        if let Some(old) = self.buckets[bucket as usize].remove(key) {
            self.live_bytes -= file::cost(key, &old);
            file::put_delete(&mut self.batch, bucket, key);
        }
    }

    /// The value of `key`.
    pub fn get(&self, bucket: Bucket, key: &[u8]) -> Option<Bytes> {
        self.buckets[bucket as usize].get(key).cloned()
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
        let range = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        for (key, value) in self.buckets[bucket as usize].range::<[u8], _>(range) {
            if !visit(key, value) {
                return;
            }
        }
    }

    /// Writes that no commit has taken yet.
    pub fn pending(&self) -> usize {
        self.pending
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

    /// The whole state, batch included, as a file.
    pub fn snapshot(&self) -> Bytes {
        let mut whole = self.clone();
        whole.write_meta();
        file::whole(1, &whole.buckets).1
    }

    /// Bytes of the file, and of what is alive.
    pub fn size(&self) -> Size {
        let log = self.meta.as_ref().map_or(0, |meta| meta.length);
        Size { total: file::LOG_START + log, in_use: file::LOG_START + self.live_bytes }
    }

    /// Starts to commit the batch, with the consistent index as it stands. Returns the first sync to wait for.
    pub fn begin_commit(&mut self, commands: &mut impl Commands) -> OpId {
        self.assert_open();
        self.write_meta();
        let batch = std::mem::take(&mut self.batch);
        self.pending = 0;
        let (phase, meta) = match &self.meta {
            Some(meta) if meta.length <= (self.live_bytes * LOG_TIMES_LIVE).max(LOG_BYTES_MIN) => {
                let data = file::batch(meta.txid + 1, &batch);
                let next = file::Meta { txid: meta.txid + 1, length: meta.length + data.len() as u64 };
                let offset = file::LOG_START + meta.length;
                commands.issue(DiskCommand::Write { file: FileName::Db, offset, data: data.into() });
                (Phase::Data, next)
            }
            _ => {
                for file in std::mem::take(&mut self.orphans) {
                    commands.issue(DiskCommand::Remove { file });
                }
                let file = FileName::DbTmp { number: self.next_tmp };
                self.next_tmp += 1;
                let txid = self.meta.as_ref().map_or(1, |meta| meta.txid + 1);
                let (meta, data) = file::whole(txid, &self.buckets);
                commands.issue(DiskCommand::Create { file });
                commands.issue(DiskCommand::Write { file, offset: 0, data });
                (Phase::Anew(file), meta)
            }
        };
        let file = if let Phase::Anew(file) = phase { file } else { FileName::Db };
        let sync = commands.issue(DiskCommand::Sync { file });
        self.commit = Some(Commit { phase, sync, meta, consistent_index: self.consistent_index });
        sync
    }

    /// The sync that a commit in flight waits for.
    pub fn awaiting(&self) -> Option<OpId> {
        self.commit.as_ref().map(|commit| commit.sync)
    }

    /// The sync [`Backend::awaiting`] has ended well: goes on with the commit.
    pub fn on_disk(&mut self, op: OpId, commands: &mut impl Commands) -> CommitProgress {
        let commit = self.commit.as_mut().expect("a sync of the backend ends during a commit");
        assert_eq!(commit.sync, op, "a sync that the commit does not wait for");
        match commit.phase {
            Phase::Data => {
                let (offset, data) = commit.meta.slot();
                commands.issue(DiskCommand::Write { file: FileName::Db, offset, data });
                commit.sync = commands.issue(DiskCommand::Sync { file: FileName::Db });
                commit.phase = Phase::Meta;
                CommitProgress::Pending
            }
            Phase::Anew(file) => {
                commands.issue(DiskCommand::Rename { from: file, to: FileName::Db });
                commit.sync = commands.issue(DiskCommand::SyncDir { dir: Dir::Snap });
                commit.phase = Phase::Name;
                CommitProgress::Pending
            }
            Phase::Meta | Phase::Name => {
                let consistent_index = commit.consistent_index;
                self.meta = Some(commit.meta.clone());
                self.commit = None;
                CommitProgress::Done { consistent_index }
            }
        }
    }

    fn assert_open(&self) {
        assert_eq!(self.commit, None, "the batch is locked while a commit is in flight");
    }

    fn write(&mut self, bucket: Bucket, key: Bytes, value: Bytes) {
        file::put_put(&mut self.batch, bucket, &key, &value);
        self.live_bytes += file::cost(&key, &value);
        // The old key stays in the map, of the same length as the new one.
        let key_length = key.len();
        if let Some(old) = self.buckets[bucket as usize].insert(key, value) {
            self.live_bytes -= file::cost_of(key_length, old.len());
        }
    }

    /// etcd's hook before each commit.
    fn write_meta(&mut self) {
        if self.consistent_index != 0 {
            let big_endian = |number: u64| Bytes::copy_from_slice(&number.to_be_bytes());
            self.write(Bucket::Meta, Bytes::from_static(CONSISTENT_INDEX), big_endian(self.consistent_index));
            self.write(Bucket::Meta, Bytes::from_static(TERM), big_endian(self.term));
        }
        if std::mem::take(&mut self.conf_state_changed) {
            let json = self.conf_state.clone().expect("it was set when it changed");
            self.write(Bucket::Meta, Bytes::from_static(CONF_STATE), json);
        }
    }
}
