//! A page of the file: the header, the elements of branches and leaves, and how a node is written onto one.
//!
//! ```text
//! header   id u64 · flags u16 · count u16 · overflow u32
//! branch   count × (pos u32 · key size u32 · child u64), then the keys
//! leaf     count × (flags u32 · pos u32 · key size u32 · value size u32), then keys and values in turn
//! ```
//! Numbers are little endian, `pos` counts from the element's own start, and `overflow` says how many more pages belong
//! to this one. Reading trusts its bytes: whoever opens a file lets [`Page::inspect`] look at each page first.

use bytes::Bytes;

use super::node::Inode;
use crate::bytewise::compare;

/// Number of a page. Pages 0 and 1 hold the meta, so that 0 also says "none yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pgid(pub u64);

impl Pgid {
    /// None yet: a new node, or the root of an inline bucket.
    pub(super) const NONE: Self = Self(0);

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Bytes of a page's header.
pub(super) const HEADER: usize = 16;
/// Bytes of an element, of either kind.
pub(super) const ELEMENT: usize = 16;

pub(super) const BRANCH: u16 = 0x01;
pub(super) const LEAF: u16 = 0x02;
pub(super) const META: u16 = 0x04;
pub(super) const FREELIST: u16 = 0x10;

/// Flag of a leaf element whose value is a bucket.
pub(super) const BUCKET: u32 = 0x01;
/// Bytes of a bucket's header: root page u64, sequence u64.
pub(super) const BUCKET_HEADER: usize = 16;

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// A page with its overflow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Page(pub(super) Bytes);

impl Page {
    pub(super) fn id(&self) -> Pgid {
        Pgid(u64_at(&self.0, 0))
    }

    pub(super) fn flags(&self) -> u16 {
        u16_at(&self.0, 8)
    }

    pub(super) fn is_leaf(&self) -> bool {
        self.flags() == LEAF
    }

    pub(super) fn is_branch(&self) -> bool {
        self.flags() == BRANCH
    }

    pub(super) fn count(&self) -> usize {
        usize::from(u16_at(&self.0, 10))
    }

    pub(super) fn overflow(&self) -> u32 {
        u32_at(&self.0, 12)
    }

    /// Where the key of element `at` begins, and its size.
    fn key_place(&self, at: usize) -> (usize, usize) {
        let element = HEADER + at * ELEMENT;
        let pos = element + usize::from(self.is_leaf()) * 4;
        let size = u32_at(&self.0, pos + 4) as usize;
        (element + u32_at(&self.0, pos) as usize, size)
    }

    pub(super) fn key(&self, at: usize) -> &[u8] {
        let (start, size) = self.key_place(at);
        &self.0[start..start + size]
    }

    /// The child of a branch's element.
    pub(super) fn child(&self, at: usize) -> Pgid {
        Pgid(u64_at(&self.0, HEADER + at * ELEMENT + 8))
    }

    /// Flags of a leaf's element.
    pub(super) fn element_flags(&self, at: usize) -> u32 {
        u32_at(&self.0, HEADER + at * ELEMENT)
    }

    /// Key and value of a leaf's element, sharing the page's memory.
    pub(super) fn pair(&self, at: usize) -> (Bytes, Bytes) {
        let (start, size) = self.key_place(at);
        (self.0.slice(start..start + size), self.value(at))
    }

    /// The value of a leaf's element, sharing the page's memory.
    pub(super) fn value(&self, at: usize) -> Bytes {
        let (start, size) = self.key_place(at);
        let value_size = u32_at(&self.0, HEADER + at * ELEMENT + 12) as usize;
        self.0.slice(start + size..start + size + value_size)
    }

    /// Every element, for a node to begin with.
    pub(super) fn inodes(&self) -> Vec<Inode> {
        let count = self.count();
        // Room for what will be written: a page that is read into a node is about to change.
        let mut inodes = Vec::with_capacity(count + 8);
        if self.is_leaf() {
            for at in 0..count {
                let (key, value) = self.pair(at);
                inodes.push(Inode { flags: self.element_flags(at), child: Pgid::NONE, key, value });
            }
        } else {
            for at in 0..count {
                let (start, size) = self.key_place(at);
                let key = self.0.slice(start..start + size);
                inodes.push(Inode { flags: 0, child: self.child(at), key, value: Bytes::new() });
            }
        }
        inodes
    }

    /// The first element whose key is not below `key`, and whether it has that very key.
    pub(super) fn search(&self, key: &[u8]) -> (usize, bool) {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = (low + high) / 2;
            match compare(self.key(middle), key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return (middle, true),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        (low, false)
    }

    /// What is wrong with the inside of a branch or leaf, if anything: elements that lie outside, or have no key.
    pub(super) fn inspect(&self) -> Option<String> {
        if self.0.len() < HEADER {
            return Some("it is shorter than its header".into());
        }
        if !self.is_branch() && !self.is_leaf() {
            return Some(format!("its flags are {:#x}, neither branch nor leaf", self.flags()));
        }
        let (count, length) = (self.count(), self.0.len());
        if self.is_branch() && count == 0 {
            return Some("a branch without elements".into());
        }
        if HEADER + count * ELEMENT > length {
            return Some(format!("{count} elements do not fit"));
        }
        for at in 0..count {
            let element = HEADER + at * ELEMENT;
            let (pos, value) = match self.is_leaf() {
                true => (element + 4, u64::from(u32_at(&self.0, element + 12))),
                false => (element, 0),
            };
            let (start, size) = (u64::from(u32_at(&self.0, pos)), u64::from(u32_at(&self.0, pos + 4)));
            if size == 0 {
                return Some(format!("element {at} has no key"));
            }
            if element as u64 + start + size + value > length as u64 {
                return Some(format!("element {at} lies outside"));
            }
        }
        None
    }
}

/// Writes a header at the start of `out`.
pub(super) fn put_header(out: &mut [u8], id: Pgid, flags: u16, count: u16, overflow: u32) {
    out[..8].copy_from_slice(&id.0.to_le_bytes());
    out[8..10].copy_from_slice(&flags.to_le_bytes());
    out[10..12].copy_from_slice(&count.to_le_bytes());
    out[12..16].copy_from_slice(&overflow.to_le_bytes());
}

/// Appends a node as page `id`, without the zeros that fill the page.
pub(super) fn put_node(out: &mut Vec<u8>, id: Pgid, overflow: u32, leaf: bool, inodes: &[Inode]) {
    let count = u16::try_from(inodes.len()).ok().filter(|count| *count != u16::MAX);
    let count = count.unwrap_or_else(|| panic!("{} elements are too many for page {}", inodes.len(), id.0));
    let mut header = [0; HEADER];
    put_header(&mut header, id, if leaf { LEAF } else { BRANCH }, count, overflow);
    out.extend_from_slice(&header);
    // From the element that is next to its key.
    let mut pos = inodes.len() * ELEMENT;
    for inode in inodes {
        let (key, value) = (inode.key.len(), inode.value.len());
        assert!(key > 0, "a key of no bytes on page {}", id.0);
        let mut element = [0; ELEMENT];
        if leaf {
            element[..4].copy_from_slice(&inode.flags.to_le_bytes());
            element[4..8].copy_from_slice(&(pos as u32).to_le_bytes());
            element[8..12].copy_from_slice(&(key as u32).to_le_bytes());
            element[12..].copy_from_slice(&(value as u32).to_le_bytes());
        } else {
            element[..4].copy_from_slice(&(pos as u32).to_le_bytes());
            element[4..8].copy_from_slice(&(key as u32).to_le_bytes());
            element[8..].copy_from_slice(&inode.child.0.to_le_bytes());
        }
        out.extend_from_slice(&element);
        pos = pos + key + value - ELEMENT;
    }
    for inode in inodes {
        out.extend_from_slice(&inode.key);
        out.extend_from_slice(&inode.value);
    }
}
