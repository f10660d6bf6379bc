//! bbolt's file, in our own Rust: a copy-on-write B+ tree on pages, under two meta pages that are written in turn.
//!
//! [`Pager`] promises bbolt's format to the byte (as of bbolt 1.4, with the array freelist), and bbolt's order of
//! writing: a commit writes every changed node to pages that nobody reads, syncs, and only then writes the meta that
//! makes them count, and syncs again. So a crash leaves the state of the last commit or of the one in flight. Nothing
//! is written that bbolt would not, and nothing is synced, but for one sync: the first commit after a file is opened
//! waits until the meta that was read lasts, since bbolt loses databases without it (F-06). Where bbolt walks over a Go
//! map, which has no order, this goes in the order of keys or pages.
//!
//! ```text
//! pager.begin();                      // the write transaction: put, delete, get
//! let sync = pager.begin_commit(commands);
//! wait for sync; while pager.on_disk(op, commands) == Progress::Pending { wait for pager.awaiting() }
//! pager.begin();                      // the next one
//! ```
//! Reading is done in memory, on the pages as a memory map would show them. [`Pager::open_view`] keeps a reader: the
//! pages of its tree are not used again until it is closed.
//!
//! It does not know what buckets and keys mean. Buckets inside of top-level buckets are read and checked, but not
//! written.

mod bucket;
mod check;
mod dump;
mod freelist;
mod meta;
mod node;
mod open;
mod page;
mod snapshot;
mod stats;
mod table;
#[cfg(test)]
mod tests;
mod tree;
mod write;

use std::collections::BTreeMap;

use bytes::Bytes;

pub use check::Fault;
pub use dump::{dump_page, LeafElement, PageContent, PageDump};
pub use meta::Txid;
pub use open::OpenError;
pub use page::Pgid;
pub use snapshot::Snapshot;
pub use stats::{BucketStats, Stats, TxStats};
pub use tree::{BucketRoot, Cursor, Element, Tree};
pub use write::Progress;

use crate::wal::Commands;
use crate::{Bugs, DiskCommand, FileName, OpId};

use freelist::Freelist;
use meta::Meta;
use page::put_header;
use table::Table;
use write::{Commit, WriteTx};

/// How a file is made and grown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Of a new file, bytes. Files of other page sizes are opened as they are.
    pub page_size: usize,
    /// Whether the freelist is written with each commit.
    pub freelist: FreelistSync,
    /// Bytes that the memory map takes from the beginning (`InitialMmapSize`).
    pub initial_map: u64,
    /// Once the map is larger than this, the file grows in steps of it (`AllocSize`), bytes.
    pub growth: u64,
    /// Bugs switched on.
    pub bugs: Bugs,
}

impl Options {
    /// As etcd has them on Linux: no freelist in the file, a map of 10 GiB, 16 MiB a step.
    pub const ETCD: Self = Self {
        page_size: 4096,
        freelist: FreelistSync::Off,
        initial_map: 10 << 30,
        growth: 16 << 20,
        bugs: Bugs::NONE,
    };
}

/// Whether a commit writes the freelist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FreelistSync {
    /// It does.
    On,
    /// It does not (`NoFreelistSync`): whoever opens the file finds the free pages by walking over the others.
    Off,
}

/// A file of pages. Plain data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pager {
    file: FileName,
    options: Options,
    table: Table,
    /// Of the last commit that lasts.
    meta: Meta,
    freelist: Freelist,
    /// Bytes of the file.
    length: u64,
    /// Bytes that the memory map would have.
    mapped: u64,
    /// Whether the meta may be in the page cache only: whoever wrote it may have ended before its sync did.
    meta_cached: bool,
    tx: Option<WriteTx>,
    commit: Option<Commit>,
    stats: Stats,
}

/// A reader of one commit. It must be closed with [`Pager::close_view`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    meta: Meta,
}

impl Pager {
    /// A new, empty file in memory, and the bytes that make it one on a disk.
    pub fn blank(file: FileName, options: Options) -> (Self, Bytes) {
        let page_size = options.page_size;
        let mut bytes = vec![0; 4 * page_size];
        for id in [0, 1] {
            let out = &mut bytes[id as usize * page_size..];
            Meta::initial(page_size, Txid(id)).put(out, Pgid(id));
        }
        put_header(&mut bytes[2 * page_size..], Pgid(2), page::FREELIST, 0, 0);
        put_header(&mut bytes[3 * page_size..], Pgid(3), page::LEAF, 0, 0);
        let bytes = Bytes::from(bytes);
        let pager = Self::open(file, &bytes, bytes.len() as u64, options).expect("a file is sound as it is made");
        (pager.durable(), bytes)
    }

    /// Makes a new, empty file. It lasts once the returned sync has ended, and its name does.
    pub fn create(file: FileName, options: Options, commands: &mut impl Commands) -> (Self, OpId) {
        let (pager, data) = Self::blank(file, options);
        commands.issue(DiskCommand::Create { file });
        commands.issue(DiskCommand::Write { file, offset: 0, data: data.into() });
        let sync = commands.issue(DiskCommand::Sync { file });
        (pager, sync)
    }

    /// Closes the file and opens it again, under the name that it has now.
    pub fn reopen(self, file: FileName, options: Options) -> Self {
        assert!(self.tx.is_none() && self.commit.is_none(), "nothing is under way when a file is closed");
        let free = open::free_pages(&self.table, &self.meta).expect("the last commit was sound");
        Self::with(file, options, self.table, self.meta, free, self.length)
    }

    /// The file that it writes to.
    pub fn file(&self) -> FileName {
        self.file
    }

    /// Bytes in a page.
    pub fn page_size(&self) -> usize {
        self.table.page_size()
    }

    /// Bytes up to the high-water mark of the open write transaction, or of the last commit.
    pub fn size(&self) -> u64 {
        let meta = self.tx.as_ref().map_or(&self.meta, |tx| &tx.meta);
        meta.high_water.0 * self.page_size() as u64
    }

    /// The transaction of the last commit.
    pub fn txid(&self) -> Txid {
        self.meta.txid
    }

    /// As of the last commit.
    pub fn stats(&self) -> Stats {
        Stats { open_readers: self.freelist.reader_count() as u64, ..self.stats }
    }

    /// Every fault of the last commit: an empty list is a sound file.
    ///
    /// # Panics
    /// While a write transaction commits, which has taken pages from the freelist.
    pub fn check(&self) -> Vec<Fault> {
        assert!(self.commit.is_none(), "a commit is in flight");
        check::check(&self.table, &self.meta, &self.freelist)
    }

    /// The bucket of all top-level buckets, as last committed.
    pub fn root(&self) -> Tree<'_> {
        self.root_of(&self.meta)
    }

    fn root_of(&self, meta: &Meta) -> Tree<'_> {
        Tree { table: &self.table, root: meta.root, inline: None, nodes: None }
    }

    /// A top-level bucket, as last committed. It is good until the next commit.
    pub fn bucket(&self, name: &[u8]) -> Option<BucketRoot> {
        self.root().get(name)?.bucket()
    }

    /// Reads a bucket.
    pub fn tree<'a>(&'a self, bucket: &'a BucketRoot) -> Tree<'a> {
        bucket.tree(&self.table)
    }

    /// Opens a reader of the last commit: its pages stay as they are until it is closed.
    pub fn open_view(&mut self) -> View {
        self.freelist.add_reader(self.meta.txid);
        View { meta: self.meta.clone() }
    }

    /// Closes a reader.
    pub fn close_view(&mut self, view: View) {
        self.freelist.remove_reader(view.meta.txid);
    }

    /// The top-level buckets as a reader sees them.
    pub fn view_root(&self, view: &View) -> Tree<'_> {
        self.root_of(&view.meta)
    }

    /// The last write transaction was committed in part, or is not wanted: as if it had never begun.
    pub fn rollback(&mut self) {
        let commit = self.commit.take().map(|commit| commit.meta.txid);
        let tx = self.tx.take().map(|tx| tx.meta.txid);
        if let Some(txid) = commit.or(tx) {
            self.freelist.rollback(txid);
        }
        if commit.is_some() {
            let free = open::free_pages(&self.table, &self.meta).expect("the last commit was sound");
            self.freelist.reload(free);
        }
    }
}

impl BucketRoot {
    fn tree<'a>(&'a self, table: &'a Table) -> Tree<'a> {
        Tree { table, root: self.page, inline: self.inline.as_ref(), nodes: None }
    }
}

/// The buckets that a write transaction has opened, by name.
type OpenBuckets = BTreeMap<Bytes, bucket::BucketTx>;
