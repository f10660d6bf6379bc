//! A copy of the file as one commit left it, read piece by piece while later commits go on.
//!
//! As bbolt's `Tx.WriteTo`: first two metas of the commit, the second with the transaction before it, then the pages up
//! to the high-water mark, as they are at the moment of reading. What a reader's tree uses does not change meanwhile.

use bytes::{Bytes, BytesMut};

use super::meta::{Meta, Txid};
use super::page::Pgid;
use super::{Pager, View};

/// A copy being read. It must be closed with [`Pager::close_snapshot`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    view: View,
    next: Pgid,
}

impl Pager {
    /// Begins a copy of the last commit.
    pub fn open_snapshot(&mut self) -> Snapshot {
        Snapshot { view: self.open_view(), next: Pgid(0) }
    }

    /// Ends a copy, read to the end or not.
    pub fn close_snapshot(&mut self, snapshot: Snapshot) {
        self.close_view(snapshot.view);
    }
}

impl Snapshot {
    /// Bytes of the whole copy.
    pub fn size(&self, pager: &Pager) -> u64 {
        self.view.meta.high_water.0 * pager.page_size() as u64
    }

    /// The next whole pages, about `bytes` long and at least one; `None` at the end.
    pub fn next_chunk(&mut self, pager: &Pager, bytes: usize) -> Option<Bytes> {
        let page_size = pager.page_size();
        let meta = &self.view.meta;
        let end = Pgid(meta.high_water.0.min(self.next.0 + (bytes / page_size).max(1) as u64));
        if self.next >= end {
            return None;
        }
        let mut out = BytesMut::with_capacity((end.0 - self.next.0) as usize * page_size);
        for id in (self.next.0..end.0).map(Pgid) {
            if id.0 < 2 {
                let mut page = vec![0; page_size];
                Meta { txid: Txid(meta.txid.0 - id.0), ..meta.clone() }.put(&mut page, id);
                out.extend_from_slice(&page);
            } else if id.index() < pager.table.len() {
                out.extend_from_slice(pager.table.single(id));
            } else {
                // Free, and behind the end of a file that was cut there.
                out.resize(out.len() + page_size, 0);
            }
        }
        self.next = end;
        Some(out.freeze())
    }
}
