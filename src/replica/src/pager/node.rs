//! A page in memory, being changed: its elements, and its place in the tree.

use bytes::Bytes;

use super::page::{Page, Pgid, BUCKET, ELEMENT, HEADER};
use crate::bytewise::compare;

/// Elements that a page must keep when it is split.
const MIN_KEYS_PER_PAGE: usize = 2;

/// An element of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Inode {
    /// Of a leaf's element.
    pub(super) flags: u32,
    /// Of a branch's element.
    pub(super) child: Pgid,
    pub(super) key: Bytes,
    pub(super) value: Bytes,
}

impl Inode {
    fn bytes(&self) -> usize {
        ELEMENT + self.key.len() + self.value.len()
    }
}

/// A node's place among those of its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(pub(super) u32);

/// A node. Its page, if it has one, stays as it is: a commit writes the node to new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) leaf: bool,
    /// Something was removed: it may be too small now.
    pub(super) unbalanced: bool,
    pub(super) spilled: bool,
    /// Its first key when it was read, under which the parent knows it; empty for a new node.
    pub(super) key: Bytes,
    /// The page that it was read from or written to.
    pub(super) page: Pgid,
    /// Pages behind that one.
    pub(super) overflow: u32,
    pub(super) parent: Option<NodeId>,
    /// Those of its children that are nodes.
    pub(super) children: Vec<NodeId>,
    pub(super) inodes: Vec<Inode>,
}

impl Node {
    pub(super) fn read(page: &Page, id: Pgid, parent: Option<NodeId>) -> Self {
        let inodes = page.inodes();
        let key = inodes.first().map(|inode| inode.key.clone()).unwrap_or_default();
        let (leaf, overflow) = (page.is_leaf(), page.overflow());
        Self { leaf, key, page: id, overflow, parent, inodes, ..Self::default() }
    }

    /// Elements below which it is merged with a sibling.
    pub(super) fn min_keys(&self) -> usize {
        if self.leaf {
            1
        } else {
            2
        }
    }

    /// Bytes that it takes when written.
    pub(super) fn size(&self) -> usize {
        HEADER + self.inodes.iter().map(Inode::bytes).sum::<usize>()
    }

    /// Whether it is a bucket's whole tree and small enough to live in the value of its parent's element.
    pub(super) fn is_inlineable(&self, page_size: usize) -> bool {
        self.leaf && self.size() <= page_size / 4 && self.inodes.iter().all(|inode| inode.flags & BUCKET == 0)
    }

    /// The first element whose key is not below `key`, and whether it has that very key.
    pub(super) fn search(&self, key: &[u8]) -> (usize, bool) {
        match self.inodes.binary_search_by(|inode| compare(&inode.key, key)) {
            Ok(at) => (at, true),
            Err(at) => (at, false),
        }
    }

    /// Whether `key`, if it is anywhere in a tree that has this leaf, is here.
    pub(super) fn spans(&self, key: &[u8]) -> bool {
        let (first, last) = (self.inodes.first(), self.inodes.last());
        let is_here =
            |(first, last): (&Inode, &Inode)| compare(&first.key, key).is_le() && compare(key, &last.key).is_le();
        first.zip(last).is_some_and(is_here)
    }

    /// Where the parent of `child` has it.
    pub(super) fn child_index(&self, key: &[u8]) -> usize {
        self.search(key).0
    }

    /// Puts an element in the place of the one with key `old`, or where that one would be.
    pub(super) fn put(&mut self, old: &[u8], inode: Inode) {
        assert!(!old.is_empty() && !inode.key.is_empty(), "a key of no bytes");
        match self.search(old) {
            (at, true) => self.inodes[at] = inode,
            (at, false) => self.inodes.insert(at, inode),
        }
    }

    pub(super) fn delete(&mut self, key: &[u8]) {
        if let (at, true) = self.search(key) {
            self.inodes.remove(at);
            self.unbalanced = true;
        }
    }

    pub(super) fn remove_child(&mut self, child: NodeId) {
        if let Some(at) = self.children.iter().position(|id| *id == child) {
            self.children.remove(at);
        }
    }

    /// Takes the elements that must go to pages of their own, if there are more than fit: a list for each page. `fill`
    /// is the percentage of a page that is filled then.
    pub(super) fn split(&mut self, page_size: usize, fill: usize) -> Vec<Vec<Inode>> {
        let mut starts = Vec::new();
        let mut start = 0;
        while let Some(length) = split_index(&self.inodes[start..], page_size, fill) {
            start += length;
            starts.push(start);
        }
        let Some(first) = starts.first() else { return Vec::new() };
        let mut rest = self.inodes.split_off(*first).into_iter();
        self.inodes.shrink_to_fit();
        let ends = starts[1..].iter().copied().chain([usize::MAX]);
        starts.iter().zip(ends).map(|(start, end)| rest.by_ref().take(end - start).collect()).collect()
    }
}

/// How many of the elements go onto the first page, if they do not fit onto one.
fn split_index(inodes: &[Inode], page_size: usize, fill: usize) -> Option<usize> {
    let mut size = HEADER;
    let fits = inodes.iter().all(|inode| {
        size += inode.bytes();
        size < page_size
    });
    if fits || inodes.len() <= MIN_KEYS_PER_PAGE * 2 {
        return None;
    }
    let threshold = page_size * fill / 100;
    let (mut index, mut size) = (0, HEADER);
    for (at, inode) in inodes[..inodes.len() - MIN_KEYS_PER_PAGE].iter().enumerate() {
        index = at;
        if at >= MIN_KEYS_PER_PAGE && size + inode.bytes() > threshold {
            break;
        }
        size += inode.bytes();
    }
    Some(index)
}
