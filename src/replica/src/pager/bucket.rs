//! A bucket in a write transaction: pages become nodes where something changes, and at the commit nodes become pages.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::freelist::Freelist;
use super::meta::Meta;
use super::node::{Inode, Node, NodeId};
use super::page::{put_node, Pgid, BUCKET, BUCKET_HEADER};
use super::stats::TxStats;
use super::table::Table;
use super::tree::{branch_index, BucketRoot, Tree};

/// How full a split leaves a page, in percent, unless somebody says otherwise.
const DEFAULT_FILL: usize = 50;

/// What the commit of a bucket needs of the transaction around it.
pub(super) struct Space<'a> {
    pub(super) table: &'a Table,
    pub(super) freelist: &'a mut Freelist,
    pub(super) meta: &'a mut Meta,
    pub(super) dirty: &'a mut BTreeMap<Pgid, Bytes>,
    pub(super) stats: &'a mut TxStats,
}

impl Space<'_> {
    fn page_size(&self) -> usize {
        self.table.page_size()
    }

    /// Pages in a row: from the freelist, or from the end.
    pub(super) fn allocate(&mut self, count: usize) -> Pgid {
        self.stats.pages_allocated += count as u64;
        self.stats.bytes_allocated += (count * self.page_size()) as u64;
        if let Some(page) = self.freelist.allocate(self.meta.txid, count) {
            return page;
        }
        let page = self.meta.high_water;
        self.meta.high_water = Pgid(page.0 + count as u64);
        page
    }

    fn free(&mut self, node: &mut Node) {
        if node.page != Pgid::NONE {
            self.freelist.free(self.meta.txid, node.page, node.overflow);
            node.page = Pgid::NONE;
        }
    }
}

/// A bucket of a write transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct BucketTx {
    pub(super) root: BucketRoot,
    fill: usize,
    nodes: Vec<Node>,
    /// Which node stands for a page.
    cache: BTreeMap<Pgid, NodeId>,
    root_node: Option<NodeId>,
    /// The last leaf, once something was put there: where the next key most likely goes.
    rightmost: Option<NodeId>,
    /// The leaf that a key was removed from last: a compaction removes those that follow.
    thinned: Option<NodeId>,
}

impl BucketTx {
    pub(super) fn new(root: BucketRoot) -> Self {
        let (nodes, cache) = (Vec::new(), BTreeMap::new());
        Self { root, fill: DEFAULT_FILL, nodes, cache, root_node: None, rightmost: None, thinned: None }
    }

    /// How full a split leaves a page, in percent. Kept until the commit.
    pub(super) fn set_fill(&mut self, percent: usize) {
        self.fill = percent;
    }

    /// The node that stands for a page.
    pub(super) fn cached(&self, page: Pgid) -> Option<&Node> {
        if self.nodes.is_empty() {
            return None;
        }
        self.cache.get(&page).map(|id| self.at(*id))
    }

    /// The bucket as it reads now.
    pub(super) fn tree<'a>(&'a self, table: &'a Table) -> Tree<'a> {
        Tree { table, root: self.root.page, inline: self.root.inline.as_ref(), nodes: Some(self) }
    }

    fn at(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    fn at_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    fn add(&mut self, node: Node) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).expect("a transaction has fewer than 2^32 nodes"));
        self.nodes.push(node);
        id
    }

    /// The node for a page, read from there if need be.
    fn node(&mut self, page: Pgid, parent: Option<NodeId>, table: &Table) -> NodeId {
        if let Some(id) = self.cache.get(&page) {
            return *id;
        }
        let content = match &self.root.inline {
            Some(inline) => Cow::Borrowed(inline),
            None => table.page(page),
        };
        let node = Node::read(&content, page, parent);
        let id = self.add(node);
        match parent {
            Some(parent) => self.at_mut(parent).children.push(id),
            None => self.root_node = Some(id),
        }
        self.cache.insert(page, id);
        id
    }

    fn child_at(&mut self, parent: NodeId, at: usize, table: &Table) -> NodeId {
        let page = self.at(parent).inodes[at].child;
        self.node(page, Some(parent), table)
    }

    /// The leaf where `key` is or would be, as a node.
    fn leaf(&mut self, key: &[u8], table: &Table) -> NodeId {
        let mut id = self.node(self.root.page, None, table);
        let mut last = true;
        while !self.at(id).leaf {
            let node = self.at(id);
            let at = branch_index(node.search(key));
            last &= at + 1 == node.inodes.len();
            id = self.child_at(id, at, table);
        }
        if last {
            self.rightmost = Some(id);
        }
        id
    }

    pub(super) fn put(&mut self, key: Bytes, value: Bytes, table: &Table) {
        let inode = Inode { flags: 0, child: Pgid::NONE, key, value };
        if let Some(leaf) = self.rightmost {
            let inodes = &mut self.at_mut(leaf).inodes;
            if inodes.last().is_some_and(|last| last.key < inode.key) {
                inodes.push(inode);
                return;
            }
        }
        self.put_inode(inode, table);
    }

    fn put_inode(&mut self, inode: Inode, table: &Table) {
        let leaf = self.leaf(&inode.key, table);
        let key = inode.key.clone();
        self.at_mut(leaf).put(&key, inode);
    }

    pub(super) fn delete(&mut self, key: &[u8], table: &Table) {
        let leaf = match self.thinned.filter(|leaf| self.at(*leaf).spans(key)) {
            Some(leaf) => leaf,
            None if self.tree(table).has(key) => self.leaf(key, table),
            None => return,
        };
        self.at_mut(leaf).delete(key);
        self.thinned = Some(leaf);
    }

    /// Makes an empty bucket inside this one.
    pub(super) fn create(&mut self, name: &[u8], table: &Table) -> BucketRoot {
        let mut value = vec![0; BUCKET_HEADER];
        put_node(&mut value, Pgid::NONE, 0, true, &[]);
        let value = Bytes::from(value);
        let root = BucketRoot::of_value(&value);
        self.put_bucket(Bytes::copy_from_slice(name), value, table);
        root
    }

    fn put_bucket(&mut self, key: Bytes, value: Bytes, table: &Table) {
        self.put_inode(Inode { flags: BUCKET, child: Pgid::NONE, key, value }, table);
    }

    // ---- The commit.

    /// Merges nodes that have become too small. In the order of pages; bbolt has none.
    pub(super) fn rebalance_all(&mut self, space: &mut Space<'_>) {
        let nodes: Vec<Pgid> = self.cache.keys().copied().collect();
        for page in nodes {
            if let Some(id) = self.cache.get(&page).copied() {
                self.rebalance(id, space);
            }
        }
    }

    fn rebalance(&mut self, id: NodeId, space: &mut Space<'_>) {
        let threshold = space.page_size() * self.fill / 100 / 2;
        let node = self.at_mut(id);
        if !std::mem::take(&mut node.unbalanced) {
            return;
        }
        space.stats.rebalances += 1;
        if node.size() > threshold && node.inodes.len() > node.min_keys() {
            return;
        }
        let Some(parent) = node.parent else { return self.collapse_root(id, space) };
        if node.inodes.is_empty() {
            self.drop_child(parent, id, space);
        } else {
            self.merge(parent, id, space);
        }
        self.rebalance(parent, space);
    }

    /// A root with a single child becomes that child.
    fn collapse_root(&mut self, root: NodeId, space: &mut Space<'_>) {
        if self.at(root).leaf || self.at(root).inodes.len() != 1 {
            return;
        }
        let child = self.child_at(root, 0, space.table);
        let node = self.at_mut(child);
        let (leaf, inodes) = (node.leaf, std::mem::take(&mut node.inodes));
        let children = std::mem::take(&mut node.children);
        node.parent = None;
        if !leaf {
            for inode in &inodes {
                if let Some(grandchild) = self.cache.get(&inode.child).copied() {
                    self.at_mut(grandchild).parent = Some(root);
                }
            }
        }
        self.discard(child, space);
        let node = self.at_mut(root);
        (node.leaf, node.inodes, node.children) = (leaf, inodes, children);
    }

    /// Removes an empty node.
    fn drop_child(&mut self, parent: NodeId, id: NodeId, space: &mut Space<'_>) {
        let key = self.at(id).key.clone();
        let node = self.at_mut(parent);
        node.delete(&key);
        node.remove_child(id);
        self.discard(id, space);
    }

    /// Puts a node and its left sibling (the first one: its right sibling) together.
    fn merge(&mut self, parent: NodeId, id: NodeId, space: &mut Space<'_>) {
        assert!(self.at(parent).inodes.len() > 1, "parent must have at least 2 children");
        let at = self.at(parent).child_index(&self.at(id).key);
        let (left, right) = match at {
            0 => (id, self.child_at(parent, 1, space.table)),
            _ => (self.child_at(parent, at - 1, space.table), id),
        };
        let inodes = std::mem::take(&mut self.at_mut(right).inodes);
        if !self.at(right).leaf {
            for inode in &inodes {
                let Some(child) = self.cache.get(&inode.child).copied() else { continue };
                if let Some(old) = self.at(child).parent {
                    self.at_mut(old).remove_child(child);
                }
                self.at_mut(child).parent = Some(left);
                self.at_mut(left).children.push(child);
            }
        }
        self.at_mut(left).inodes.extend(inodes);
        self.drop_child(parent, right, space);
    }

    fn discard(&mut self, id: NodeId, space: &mut Space<'_>) {
        let page = self.at(id).page;
        self.cache.remove(&page);
        space.free(self.at_mut(id));
    }

    /// Writes what has changed to new pages. Returns the value for the parent's element; `None` when nothing has
    /// changed. A small bucket becomes inline when `inline` says that it may.
    pub(super) fn spill(&mut self, inline: Inline, space: &mut Space<'_>) -> Option<Bytes> {
        let root = self.root_node?;
        if inline == Inline::IfSmall && self.at(root).is_inlineable(space.page_size()) {
            space.free(self.at_mut(root));
            self.root.page = Pgid::NONE;
            return Some(self.inline_value(root));
        }
        self.spill_node(root, space);
        let mut root = root;
        while let Some(parent) = self.at(root).parent {
            root = parent;
        }
        self.root_node = Some(root);
        self.root.page = self.at(root).page;
        self.root.inline = None;
        assert!(self.root.page < space.meta.high_water, "the root page is above the high-water mark");
        Some(BucketRoot::to_value(self.root.page, self.root.sequence))
    }

    fn inline_value(&self, root: NodeId) -> Bytes {
        let node = self.at(root);
        let mut value = vec![0; BUCKET_HEADER];
        value[8..].copy_from_slice(&self.root.sequence.to_le_bytes());
        put_node(&mut value, Pgid::NONE, 0, true, &node.inodes);
        value.into()
    }

    fn spill_node(&mut self, id: NodeId, space: &mut Space<'_>) {
        if self.at(id).spilled {
            return;
        }
        let mut children = std::mem::take(&mut self.at_mut(id).children);
        children.sort_by(|a, b| self.at(*a).inodes[0].key.cmp(&self.at(*b).inodes[0].key));
        for child in children {
            self.spill_node(child, space);
        }
        // Children that a split has added are spilled already.
        self.at_mut(id).children.clear();
        for part in self.split(id, space) {
            self.write_node(part, space);
        }
        if let Some(parent) = self.at(id).parent.filter(|parent| self.at(*parent).page == Pgid::NONE) {
            // The root was split and has a new root above it.
            self.spill_node(parent, space);
        }
    }

    /// Splits a node into as many as it needs; the first is the node itself.
    fn split(&mut self, id: NodeId, space: &mut Space<'_>) -> Vec<NodeId> {
        let fill = self.fill;
        let rest = self.at_mut(id).split(space.page_size(), fill);
        let mut parts = vec![id];
        if rest.is_empty() {
            return parts;
        }
        space.stats.splits += rest.len() as u64;
        let parent = match self.at(id).parent {
            Some(parent) => parent,
            None => {
                let parent = self.add(Node { children: vec![id], ..Node::default() });
                self.at_mut(id).parent = Some(parent);
                parent
            }
        };
        let leaf = self.at(id).leaf;
        for inodes in rest {
            let part = self.add(Node { leaf, parent: Some(parent), inodes, ..Node::default() });
            self.at_mut(parent).children.push(part);
            parts.push(part);
        }
        parts
    }

    /// Writes a node to new pages and tells its parent.
    fn write_node(&mut self, id: NodeId, space: &mut Space<'_>) {
        let page_size = space.page_size();
        let node = self.at_mut(id);
        space.free(node);
        let count = node.size().div_ceil(page_size);
        let page = space.allocate(count);
        let mut out = Vec::with_capacity(count * page_size);
        put_node(&mut out, page, count as u32 - 1, node.leaf, &node.inodes);
        assert_eq!(out.len(), node.size(), "page {} holds what its elements need", page.0);
        out.resize(count * page_size, 0);
        space.dirty.insert(page, out.into());
        (node.page, node.overflow, node.spilled) = (page, count as u32 - 1, true);
        space.stats.spills += 1;
        let Some(parent) = node.parent else { return };
        let first = node.inodes[0].key.clone();
        let old = std::mem::replace(&mut node.key, first.clone());
        let old = if old.is_empty() { first.clone() } else { old };
        let element = Inode { flags: 0, child: page, key: first, value: Bytes::new() };
        self.at_mut(parent).put(&old, element);
    }

    /// Puts the element of a bucket inside this one, which the commit has moved.
    pub(super) fn update(&mut self, name: &Bytes, value: Bytes, table: &Table) {
        self.put_bucket(name.clone(), value, table);
    }
}

/// Whether a bucket may be inline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inline {
    /// When it is small.
    IfSmall,
    /// Never: the root bucket.
    Never,
}
