//! The write transaction, and its commit in steps: each waits for the sync of the one before.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::bucket::{BucketTx, Inline, Space};
use super::freelist::Readers;
use super::meta::{Meta, Txid};
use super::open::map_size;
use super::page::Pgid;
use super::stats::{Stats, TxStats};
use super::tree::{BucketRoot, Tree};
use super::{FreelistSync, OpenBuckets, Pager};
use crate::wal::Commands;
use crate::{Bug, DiskCommand, Failpoint, OpId};

/// How far a commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Progress {
    /// Another sync must end first: [`Pager::awaiting`].
    Pending,
    /// It lasts.
    Done,
}

/// The open write transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct WriteTx {
    pub(super) meta: Meta,
    root: BucketTx,
    buckets: OpenBuckets,
}

/// What the sync that a commit waits for makes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// What must last before the first page is written: the file's new length, and the meta that it was opened at.
    Footing,
    /// The pages.
    Data,
    /// The meta that makes them count.
    Meta,
}

/// A commit in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Commit {
    phase: Phase,
    sync: OpId,
    pub(super) meta: Meta,
    /// Pages that are not on their way yet.
    pages: BTreeMap<Pgid, Bytes>,
    stats: TxStats,
}

const NO_TX: &str = "a write transaction is open";

impl Pager {
    /// Begins a write transaction: pages that nobody reads any more become free.
    pub fn begin(&mut self) {
        assert!(self.tx.is_none() && self.commit.is_none(), "one write transaction at a time");
        let readers = match self.options.bugs.has(Bug::FreelistEarlyReuse) {
            false => Readers::Respected,
            true => Readers::Ignored,
        };
        self.freelist.release_pending(readers);
        let meta = Meta { txid: Txid(self.meta.txid.0 + 1), ..self.meta.clone() };
        let root = BucketRoot { page: meta.root, sequence: meta.sequence, inline: None };
        self.tx = Some(WriteTx { meta, root: BucketTx::new(root), buckets: BTreeMap::new() });
    }

    /// Whether a write transaction is open.
    pub fn is_open(&self) -> bool {
        self.tx.is_some()
    }

    /// Opens a top-level bucket for writing; false when there is none of that name.
    fn bucket_tx(&mut self, name: &[u8]) -> Option<(&mut BucketTx, &super::table::Table)> {
        let tx = self.tx.as_mut().expect(NO_TX);
        if !tx.buckets.contains_key(name) {
            let root = tx.root.tree(&self.table).get(name)?.bucket()?;
            tx.buckets.insert(Bytes::copy_from_slice(name), BucketTx::new(root));
        }
        Some((tx.buckets.get_mut(name)?, &self.table))
    }

    /// Makes a top-level bucket if there is none of that name.
    pub fn create_bucket(&mut self, name: &[u8]) {
        if self.bucket_tx(name).is_some() {
            return;
        }
        let tx = self.tx.as_mut().expect(NO_TX);
        let root = tx.root.create(name, &self.table);
        tx.buckets.insert(Bytes::copy_from_slice(name), BucketTx::new(root));
    }

    /// Sets a key.
    ///
    /// # Panics
    /// If there is no such bucket.
    pub fn put(&mut self, bucket: &[u8], key: Bytes, value: Bytes) {
        let (bucket, table) = self.bucket_tx(bucket).expect("failed to find a bucket");
        bucket.put(key, value, table);
    }

    /// Sets a key, and that splits of this bucket leave pages 90 % full: good when keys only grow.
    ///
    /// # Panics
    /// If there is no such bucket.
    pub fn put_sequential(&mut self, bucket: &[u8], key: Bytes, value: Bytes) {
        let (bucket, table) = self.bucket_tx(bucket).expect("failed to find a bucket");
        bucket.set_fill(90);
        bucket.put(key, value, table);
    }

    /// Removes a key, if it is there.
    ///
    /// # Panics
    /// If there is no such bucket.
    pub fn delete(&mut self, bucket: &[u8], key: &[u8]) {
        let (bucket, table) = self.bucket_tx(bucket).expect("failed to find a bucket");
        bucket.delete(key, table);
    }

    /// The value of a key, as the open write transaction sees it.
    pub fn get_open(&self, bucket: &[u8], key: &[u8]) -> Option<Bytes> {
        self.with_open(bucket, |tree| tree.value(key)).flatten()
    }

    /// Reads a bucket as the open write transaction sees it; `None` when there is none of that name.
    pub fn with_open<T>(&self, bucket: &[u8], read: impl FnOnce(Tree<'_>) -> T) -> Option<T> {
        let tx = self.tx.as_ref().expect(NO_TX);
        if let Some(bucket) = tx.buckets.get(bucket) {
            return Some(read(bucket.tree(&self.table)));
        }
        let root = tx.root.tree(&self.table).get(bucket)?.bucket()?;
        Some(read(root.tree(&self.table)))
    }

    // ---- The commit.

    /// Starts to commit the open write transaction. Returns the first sync to wait for.
    pub fn begin_commit(&mut self, commands: &mut impl Commands) -> OpId {
        let WriteTx { mut meta, mut root, mut buckets } = self.tx.take().expect(NO_TX);
        let (mut pages, mut stats) = (BTreeMap::new(), TxStats::default());
        let before = meta.high_water;
        let mut space = Space {
            table: &self.table,
            freelist: &mut self.freelist,
            meta: &mut meta,
            dirty: &mut pages,
            stats: &mut stats,
        };
        root.rebalance_all(&mut space);
        for bucket in buckets.values_mut() {
            bucket.rebalance_all(&mut space);
        }
        for (name, bucket) in &mut buckets {
            if let Some(value) = bucket.spill(Inline::IfSmall, &mut space) {
                root.update(name, value, space.table);
            }
        }
        root.spill(Inline::Never, &mut space);
        space.meta.root = root.root.page;
        write_freelist(self.options.freelist, &mut space);
        assert!(self.commit.is_none(), "one commit at a time");
        let grown = meta.high_water > before;
        let mut commit = Commit { phase: Phase::Footing, sync: OpId(0), meta, pages, stats };
        if grown {
            commands.point(Failpoint::LackOfDiskSpace);
        }
        let longer = grown && self.grow(&commit, commands);
        if longer || self.meta_cached {
            // The pages to come may be those of the meta that is durable, if it is not the one that was read.
            commit.sync = commands.issue(DiskCommand::Sync { file: self.file });
        } else {
            self.next_phase(&mut commit, commands);
        }
        let sync = commit.sync;
        self.commit = Some(commit);
        sync
    }

    /// Makes the file long enough, if it is not.
    fn grow(&mut self, commit: &Commit, commands: &mut impl Commands) -> bool {
        let page_size = self.page_size() as u64;
        let needed = (commit.meta.high_water.0 + 1) * page_size;
        // bbolt maps anew when a page is allocated that the map does not have.
        if needed >= self.mapped {
            self.mapped = map_size(needed.max(self.length));
        }
        if needed <= self.length {
            return false;
        }
        let length = match self.mapped <= self.options.growth {
            true => self.mapped,
            false => needed + self.options.growth,
        };
        self.length = length;
        commands.point(Failpoint::ResizeFileError);
        commands.issue(DiskCommand::Truncate { file: self.file, length });
        true
    }

    /// The sync that a commit in flight waits for.
    pub fn awaiting(&self) -> Option<OpId> {
        self.commit.as_ref().map(|commit| commit.sync)
    }

    /// The sync [`Pager::awaiting`] has ended well: goes on with the commit.
    pub fn on_disk(&mut self, op: OpId, commands: &mut impl Commands) -> Progress {
        let mut commit = self.commit.take().expect("a sync of the pager ends during a commit");
        assert_eq!(commit.sync, op, "a sync that the commit does not wait for");
        self.meta_cached = false;
        let last = match self.options.bugs.has(Bug::MetaBeforeData) {
            false => Phase::Meta,
            true => Phase::Data,
        };
        if commit.phase == last {
            self.finish(commit);
            return Progress::Done;
        }
        self.next_phase(&mut commit, commands);
        self.commit = Some(commit);
        Progress::Pending
    }

    fn next_phase(&mut self, commit: &mut Commit, commands: &mut impl Commands) {
        let data_first = !self.options.bugs.has(Bug::MetaBeforeData);
        commit.phase = match (commit.phase, data_first) {
            (Phase::Footing, true) | (Phase::Meta, _) => Phase::Data,
            (Phase::Footing, false) | (Phase::Data, _) => Phase::Meta,
        };
        match commit.phase {
            Phase::Footing => unreachable!("a commit begins there"),
            Phase::Data => {
                for (id, page) in std::mem::take(&mut commit.pages) {
                    self.write(id, page, commit, commands);
                }
                commands.point(Failpoint::BeforeSyncDataPages);
            }
            Phase::Meta => {
                commands.point(Failpoint::BeforeWriteMetaError);
                let mut page = vec![0; self.page_size()];
                commit.meta.put(&mut page, commit.meta.page());
                self.write(commit.meta.page(), page.into(), commit, commands);
                commands.point(Failpoint::BeforeSyncMetaPage);
            }
        }
        commit.sync = commands.issue(DiskCommand::Sync { file: self.file });
    }

    fn write(&mut self, id: Pgid, data: Bytes, commit: &mut Commit, commands: &mut impl Commands) {
        let page_size = self.page_size();
        commit.stats.writes += 1;
        commit.stats.pages_written += (data.len() / page_size) as u64;
        self.table.write(id, &data);
        let offset = id.0 * page_size as u64;
        self.length = self.length.max(offset + data.len() as u64);
        commands.issue(DiskCommand::Write { file: self.file, offset, data: data.into() });
    }

    fn finish(&mut self, commit: Commit) {
        self.meta = commit.meta;
        let (free, pending) = (self.freelist.free_count() as u64, self.freelist.pending_count() as u64);
        let mut tx = self.stats.tx;
        tx += TxStats { commits: 1, ..commit.stats };
        self.stats = Stats {
            free_pages: free,
            pending_pages: pending,
            free_bytes: (free + pending) * self.page_size() as u64,
            freelist_bytes: self.freelist.page_bytes() as u64,
            open_readers: 0,
            tx,
        };
    }
}

/// Gives up the old freelist page, and writes a new one if the file keeps one.
fn write_freelist(sync: FreelistSync, space: &mut Space<'_>) {
    if let Some(page) = space.meta.freelist {
        let overflow = space.table.page(page).overflow();
        space.freelist.free(space.meta.txid, page, overflow);
    }
    space.meta.freelist = None;
    if sync == FreelistSync::Off {
        return;
    }
    let page_size = space.table.page_size();
    let count = space.freelist.page_bytes() / page_size + 1;
    let page = space.allocate(count);
    let mut out = vec![0; count * page_size];
    space.freelist.put(&mut out, page, count as u32 - 1);
    space.dirty.insert(page, out.into());
    space.meta.freelist = Some(page);
}
