//! Reading: a bucket's tree as a commit left it, or as an open write transaction has changed it since.

use std::borrow::Cow;

use bytes::Bytes;

use super::bucket::BucketTx;
use super::node::Node;
use super::page::{u64_at, Page, Pgid, BUCKET, BUCKET_HEADER, HEADER};
use super::table::Table;

/// Where a bucket is, as its parent's element says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BucketRoot {
    /// The root page; none for an inline bucket.
    pub(super) page: Pgid,
    pub(super) sequence: u64,
    /// The only page of an inline bucket.
    pub(super) inline: Option<Page>,
}

impl BucketRoot {
    /// Of the value of a bucket's element. It was inspected when the file was opened.
    pub(super) fn of_value(value: &Bytes) -> Self {
        let page = Pgid(u64_at(value, 0));
        let inline = (page == Pgid::NONE).then(|| Page(value.slice(BUCKET_HEADER..)));
        Self { page, sequence: u64_at(value, 8), inline }
    }

    /// The value for a bucket that has a root page.
    pub(super) fn to_value(page: Pgid, sequence: u64) -> Bytes {
        let mut value = [0; BUCKET_HEADER];
        value[..8].copy_from_slice(&page.0.to_le_bytes());
        value[8..].copy_from_slice(&sequence.to_le_bytes());
        Bytes::copy_from_slice(&value)
    }

    /// What is wrong with the value of a bucket's element, if anything.
    pub(super) fn inspect(value: &Bytes) -> Option<String> {
        if value.len() < BUCKET_HEADER {
            return Some("a bucket without a header".into());
        }
        if u64_at(value, 0) != 0 {
            return None;
        }
        let page = Page(value.slice(BUCKET_HEADER..));
        if page.0.len() < HEADER {
            return Some("an inline bucket without a page".into());
        }
        let wrong = page.inspect().or_else(|| (!page.is_leaf()).then(|| "it is no leaf".into()));
        wrong.map(|reason| format!("an inline bucket: {reason}"))
    }
}

/// A page or the node that stands for it.
enum Block<'a> {
    Page(Cow<'a, Page>),
    Node(&'a Node),
}

impl Block<'_> {
    fn is_leaf(&self) -> bool {
        match self {
            Self::Page(page) => page.is_leaf(),
            Self::Node(node) => node.leaf,
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Page(page) => page.count(),
            Self::Node(node) => node.inodes.len(),
        }
    }

    fn child(&self, at: usize) -> Pgid {
        match self {
            Self::Page(page) => page.child(at),
            Self::Node(node) => node.inodes[at].child,
        }
    }

    fn element(&self, at: usize) -> Element {
        match self {
            Self::Page(page) => {
                let (key, value) = page.pair(at);
                Element { flags: page.element_flags(at), key, value }
            }
            Self::Node(node) => {
                let inode = &node.inodes[at];
                Element { flags: inode.flags, key: inode.key.clone(), value: inode.value.clone() }
            }
        }
    }

    fn value(&self, at: usize) -> Bytes {
        match self {
            Self::Page(page) => page.value(at),
            Self::Node(node) => node.inodes[at].value.clone(),
        }
    }

    fn search(&self, key: &[u8]) -> (usize, bool) {
        match self {
            Self::Page(page) => page.search(key),
            Self::Node(node) => node.search(key),
        }
    }
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    flags: u32,
    /// The key.
    pub key: Bytes,
    /// The value; of a bucket, its header and what is inline.
    pub value: Bytes,
}

impl Element {
    /// Whether the value is a bucket.
    pub fn is_bucket(&self) -> bool {
        self.flags & BUCKET != 0
    }

    /// Where that bucket is.
    pub fn bucket(&self) -> Option<BucketRoot> {
        self.is_bucket().then(|| BucketRoot::of_value(&self.value))
    }
}

/// The child of a branch under which `key` is, given what a search for it found.
pub(super) fn branch_index((at, exact): (usize, bool)) -> usize {
    if exact {
        at
    } else {
        at.saturating_sub(1)
    }
}

/// A bucket's tree.
#[derive(Clone, Copy)]
pub struct Tree<'a> {
    pub(super) table: &'a Table,
    pub(super) root: Pgid,
    pub(super) inline: Option<&'a Page>,
    /// The bucket in a write transaction, if this is its view.
    pub(super) nodes: Option<&'a BucketTx>,
}

impl<'a> Tree<'a> {
    fn block(&self, id: Pgid) -> Block<'a> {
        if let Some(node) = self.nodes.and_then(|bucket| bucket.cached(id)) {
            return Block::Node(node);
        }
        match self.inline {
            Some(page) => Block::Page(Cow::Borrowed(page)),
            None => Block::Page(self.table.page(id)),
        }
    }

    /// The element with this key.
    pub fn get(&self, key: &[u8]) -> Option<Element> {
        self.find(key).map(|(leaf, at)| leaf.element(at))
    }

    /// The value of this key.
    pub fn value(&self, key: &[u8]) -> Option<Bytes> {
        self.find(key).map(|(leaf, at)| leaf.value(at))
    }

    /// Whether there is such a key.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.find(key).is_some()
    }

    fn find(&self, key: &[u8]) -> Option<(Block<'a>, usize)> {
        let mut block = self.block(self.root);
        while !block.is_leaf() {
            block = self.block(block.child(branch_index(block.search(key))));
        }
        match block.search(key) {
            (at, true) => Some((block, at)),
            _ => None,
        }
    }

    /// The elements from `key` on, in order.
    pub fn seek(self, key: &[u8]) -> Cursor<'a> {
        let mut stack = Vec::with_capacity(4);
        let mut block = self.block(self.root);
        while !block.is_leaf() {
            let at = branch_index(block.search(key));
            let child = self.block(block.child(at));
            stack.push((block, at));
            block = child;
        }
        let at = block.search(key).0;
        stack.push((block, at));
        Cursor { tree: self, stack }
    }

    /// Every element, in order.
    pub fn iter(self) -> Cursor<'a> {
        self.seek(&[])
    }
}

/// A place in a tree.
pub struct Cursor<'a> {
    tree: Tree<'a>,
    /// From the root to a leaf, each with the element that is next.
    stack: Vec<(Block<'a>, usize)>,
}

impl Iterator for Cursor<'_> {
    type Item = Element;

    fn next(&mut self) -> Option<Element> {
        loop {
            let (block, at) = self.stack.last_mut()?;
            if *at >= block.count() {
                self.stack.pop();
                if let Some((_, at)) = self.stack.last_mut() {
                    *at += 1;
                }
            } else if block.is_leaf() {
                let element = block.element(*at);
                *at += 1;
                return Some(element);
            } else {
                let child = self.tree.block(block.child(*at));
                self.stack.push((child, 0));
            }
        }
    }
}
