//! What is counted: as bbolt's `Stats`, `TxStats` and `BucketStats`, so that figures can be laid side by side.

use super::page::{u32_at, Page, Pgid, ELEMENT, HEADER};
use super::tree::{BucketRoot, Tree};

/// What write transactions did, in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TxStats {
    /// Pages allocated (`PageCount`).
    pub pages_allocated: u64,
    /// Bytes of these (`PageAlloc`).
    pub bytes_allocated: u64,
    /// Nodes looked at because something was removed (`Rebalance`).
    pub rebalances: u64,
    /// Nodes split (`Split`).
    pub splits: u64,
    /// Nodes written (`Spill`).
    pub spills: u64,
    /// Write commands, of pages with their overflow and of metas (`Write`).
    pub writes: u64,
    /// Pages written, overflow and metas included. bbolt does not count them.
    pub pages_written: u64,
    /// Commits that lasted.
    pub commits: u64,
}

impl std::ops::AddAssign for TxStats {
    fn add_assign(&mut self, other: Self) {
        self.pages_allocated += other.pages_allocated;
        self.bytes_allocated += other.bytes_allocated;
        self.rebalances += other.rebalances;
        self.splits += other.splits;
        self.spills += other.spills;
        self.writes += other.writes;
        self.pages_written += other.pages_written;
        self.commits += other.commits;
    }
}

/// The pager as of its last commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stats {
    /// Pages that may be allocated (`FreePageN`).
    pub free_pages: u64,
    /// Pages given up that a reader may still see (`PendingPageN`).
    pub pending_pages: u64,
    /// Bytes of both (`FreeAlloc`).
    pub free_bytes: u64,
    /// Bytes that the freelist takes on its page (`FreelistInuse`).
    pub freelist_bytes: u64,
    /// Readers (`OpenTxN`).
    pub open_readers: u64,
    /// Write transactions.
    pub tx: TxStats,
}

/// One bucket, with those inside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BucketStats {
    /// Branch pages without overflow.
    pub branch_pages: u64,
    /// Their overflow pages.
    pub branch_overflow: u64,
    /// Leaf pages without overflow.
    pub leaf_pages: u64,
    /// Their overflow pages.
    pub leaf_overflow: u64,
    /// Keys, of buckets too.
    pub keys: u64,
    /// Levels of the tree.
    pub depth: u64,
    /// Bytes of all branch pages.
    pub branch_alloc: u64,
    /// Bytes of these in use.
    pub branch_in_use: u64,
    /// Bytes of all leaf pages.
    pub leaf_alloc: u64,
    /// Bytes of these in use.
    pub leaf_in_use: u64,
    /// Buckets, this one included.
    pub buckets: u64,
    /// Inline ones of these.
    pub inline_buckets: u64,
    /// Bytes of inline buckets; they count for the leaf that they are on as well.
    pub inline_in_use: u64,
}

impl BucketStats {
    fn add(&mut self, other: &Self) {
        self.branch_pages += other.branch_pages;
        self.branch_overflow += other.branch_overflow;
        self.leaf_pages += other.leaf_pages;
        self.leaf_overflow += other.leaf_overflow;
        self.keys += other.keys;
        self.depth = self.depth.max(other.depth);
        self.branch_alloc += other.branch_alloc;
        self.branch_in_use += other.branch_in_use;
        self.leaf_alloc += other.leaf_alloc;
        self.leaf_in_use += other.leaf_in_use;
        self.buckets += other.buckets;
        self.inline_buckets += other.inline_buckets;
        self.inline_in_use += other.inline_in_use;
    }
}

/// Bytes of a page that hold something, as bbolt reckons them: up to the end of the last element's data.
fn used(page: &Page) -> u64 {
    let count = page.count();
    if count == 0 {
        return HEADER as u64;
    }
    let last = HEADER + (count - 1) * ELEMENT;
    let sizes: &[usize] = if page.is_leaf() { &[4, 8, 12] } else { &[0, 4] };
    last as u64 + sizes.iter().map(|at| u64::from(u32_at(&page.0, last + at))).sum::<u64>()
}

impl Tree<'_> {
    /// Counts this bucket, as it was committed, and those inside it.
    pub fn stats(&self) -> BucketStats {
        let page_size = self.table.page_size() as u64;
        let mut stats = BucketStats { buckets: 1, ..BucketStats::default() };
        let mut inside = BucketStats::default();
        if let Some(page) = self.inline {
            stats.inline_buckets = 1;
            stats.keys = page.count() as u64;
            stats.inline_in_use = used(page);
            stats.depth = 1;
            return stats;
        }
        let mut todo: Vec<(Pgid, u64)> = vec![(self.root, 1)];
        while let Some((id, depth)) = todo.pop() {
            let page = self.table.page(id);
            stats.depth = stats.depth.max(depth);
            let (used, overflow, count) = (used(&page), u64::from(page.overflow()), page.count());
            if page.is_branch() {
                stats.branch_pages += 1;
                stats.branch_overflow += overflow;
                stats.branch_in_use += used;
                todo.extend((0..count).map(|at| (page.child(at), depth + 1)));
                continue;
            }
            stats.leaf_pages += 1;
            stats.leaf_overflow += overflow;
            stats.leaf_in_use += used;
            stats.keys += count as u64;
            for at in (0..count).filter(|at| page.element_flags(*at) & super::page::BUCKET != 0) {
                inside.add(&BucketRoot::of_value(&page.pair(at).1).tree(self.table).stats());
            }
        }
        stats.branch_alloc = (stats.branch_pages + stats.branch_overflow) * page_size;
        stats.leaf_alloc = (stats.leaf_pages + stats.leaf_overflow) * page_size;
        stats.depth += inside.depth;
        let depth = stats.depth;
        stats.add(&inside);
        stats.depth = depth;
        stats
    }
}
