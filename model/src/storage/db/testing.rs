//! A writer of tiny bbolt files, by hand, for tests: every bucket is one leaf page, or inline when it is small.

use std::collections::BTreeMap;

use super::{fnv_64a, MAGIC, NO_FREELIST, VERSION};

pub(crate) const PAGE: usize = 4096;

/// Pairs by bucket, in order.
pub(crate) type Content = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

/// The content of a leaf page behind its header.
pub(crate) fn leaf(flags: u32, pairs: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    let (mut elements, mut bytes) = (Vec::new(), Vec::new());
    for (place, (key, value)) in pairs.iter().enumerate() {
        let position = (pairs.len() - place) * 16 + bytes.len();
        for number in [flags, position as u32, key.len() as u32, value.len() as u32] {
            elements.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    elements.extend(bytes);
    elements
}

/// The content of a branch page behind its header.
pub(crate) fn branch(children: &[(&[u8], u64)]) -> Vec<u8> {
    let (mut elements, mut bytes) = (Vec::new(), Vec::new());
    for (place, (key, page)) in children.iter().enumerate() {
        let position = (children.len() - place) * 16 + bytes.len();
        elements.extend_from_slice(&(position as u32).to_le_bytes());
        elements.extend_from_slice(&(key.len() as u32).to_le_bytes());
        elements.extend_from_slice(&page.to_le_bytes());
        bytes.extend_from_slice(key);
    }
    elements.extend(bytes);
    elements
}

/// A page of this content, with its overflow.
pub(crate) fn page(id: u64, flags: u16, count: usize, content: &[u8]) -> Vec<u8> {
    let mut out = id.to_le_bytes().to_vec();
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&(count as u16).to_le_bytes());
    let size = (16 + content.len()).next_multiple_of(PAGE);
    out.extend_from_slice(&((size / PAGE) as u32 - 1).to_le_bytes());
    out.extend_from_slice(content);
    out.resize(size, 0);
    out
}

/// A meta page.
pub(crate) fn meta(root: u64, freelist: u64, high_water: u64, txid: u64) -> Vec<u8> {
    let mut content = Vec::new();
    for number in [MAGIC, VERSION, PAGE as u32, 0] {
        content.extend_from_slice(&number.to_le_bytes());
    }
    for number in [root, 0, freelist, high_water, txid] {
        content.extend_from_slice(&number.to_le_bytes());
    }
    let sum = fnv_64a(&content);
    content.extend_from_slice(&sum.to_le_bytes());
    page(txid % 2, 4, 0, &content)
}

/// A whole file as of transaction `txid`, without a freelist, as etcd has it.
pub(crate) fn file(content: &Content, txid: u64) -> Vec<u8> {
    let mut buckets = BTreeMap::new();
    let mut pages = Vec::new();
    let mut next = 2;
    for (name, pairs) in content {
        let body = leaf(0, pairs);
        let mut value = [0; 16].to_vec();
        if body.len() < PAGE / 4 {
            value.extend_from_slice(&page(0, 2, pairs.len(), &body)[..16 + body.len()]);
        } else {
            let written = page(next, 2, pairs.len(), &body);
            value[..8].copy_from_slice(&next.to_le_bytes());
            next += (written.len() / PAGE) as u64;
            pages.extend(written);
        }
        buckets.insert(name.clone(), value);
    }
    let root = page(next, 2, buckets.len(), &leaf(1, &buckets));
    let high_water = next + (root.len() / PAGE) as u64;
    let mut metas = [meta(next, NO_FREELIST, high_water, txid), meta(next, NO_FREELIST, high_water, txid - 1)];
    metas.sort_by_key(|meta| meta[0]);
    [metas.concat(), pages, root].concat()
}
