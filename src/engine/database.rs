//! A database file, bbolt's, opened to be looked into: as a whole, bucket by bucket, page by page.
//!
//! Nothing is written. What is wrong with a file is told with its page.

use std::collections::BTreeMap;

use bytes::Bytes;
use detcd_replica::mvcc::KeyRecord;
use detcd_replica::pager::{dump_page, BucketStats, Element, Options, PageContent, PageDump, Pager, Pgid};
use detcd_replica::FileName;

use super::EngineError;

/// An open database.
pub(crate) struct Database {
    bytes: Bytes,
    pager: Pager,
}

/// What `etcdutl snapshot status` says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// CRC-32C over the names of the buckets and all keys and values.
    pub(crate) hash: u32,
    /// The main revision of the last key in the bucket `key`.
    pub(crate) revision: i64,
    /// Keys in all buckets.
    pub(crate) total_key: u64,
    /// Bytes up to the high-water mark.
    pub(crate) total_size: u64,
}

/// What page a page belongs to, if to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// It begins here.
    Own(PageDump),
    /// It is overflow of that one.
    Overflow(u64),
    /// Nothing leads to it.
    Free,
}

impl Database {
    /// Opens a file.
    ///
    /// # Errors
    /// Why not, with the page.
    pub(crate) fn open(bytes: Bytes) -> Result<Self, EngineError> {
        let pager = Pager::open(FileName::Db, &bytes, bytes.len() as u64, Options::ETCD);
        let pager = pager.map_err(|error| EngineError::Asked(error.to_string()))?;
        Ok(Self { bytes, pager })
    }

    /// Everything that is wrong with it; each with its page.
    pub(crate) fn faults(&self) -> Vec<(u64, String)> {
        self.pager.check().into_iter().map(|fault| (fault.page.0, fault.reason)).collect()
    }

    /// The names of its buckets, in order.
    pub(crate) fn buckets(&self) -> Vec<Bytes> {
        self.pager.root().iter().map(|element| element.key).collect()
    }

    /// A bucket, counted.
    pub(crate) fn bucket_stats(&self, name: &[u8]) -> Option<BucketStats> {
        let bucket = self.pager.bucket(name)?;
        Some(self.pager.tree(&bucket).stats())
    }

    /// The elements of a bucket whose keys begin with `prefix`, in order, until `visit` says false.
    pub(crate) fn elements(&self, name: &[u8], prefix: &[u8], visit: &mut dyn FnMut(Element) -> bool) -> Option<()> {
        let bucket = self.pager.bucket(name)?;
        let elements = self.pager.tree(&bucket).seek(prefix);
        for element in elements.take_while(|element| element.key.starts_with(prefix)) {
            if !visit(element) {
                break;
            }
        }
        Some(())
    }

    /// As etcdutl reckons it.
    pub(crate) fn status(&self) -> Status {
        let mut status = Status { hash: 0, revision: 0, total_key: 0, total_size: self.pager.size() };
        for name in self.buckets() {
            status.hash = crc32c::crc32c_append(status.hash, &name);
            let is_key = name[..] == *b"key";
            self.elements(&name, b"", &mut |element| {
                // A bucket inside has no value, as Go's cursor shows it.
                let value: &[u8] = if element.is_bucket() { b"" } else { &element.value };
                status.hash = crc32c::crc32c_append(crc32c::crc32c_append(status.hash, &element.key), value);
                status.total_key += 1;
                if let Ok(record) = KeyRecord::parse(&element.key, &element.value) {
                    status.revision = if is_key { record.main } else { status.revision };
                }
                true
            });
        }
        status
    }

    /// The pager, for its figures.
    pub(crate) fn pager(&self) -> &Pager {
        &self.pager
    }

    /// Bytes of the file.
    pub(crate) fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// A page as it stands in the file; `None` behind the end.
    pub(crate) fn page(&self, number: u64) -> Option<PageDump> {
        dump_page(&self.bytes, self.pager.page_size(), Pgid(number))
    }

    /// Every page up to the high-water mark, by what it is.
    pub(crate) fn pages(&self) -> BTreeMap<u64, Page> {
        let mut pages = BTreeMap::new();
        let count = self.pager.size() / self.pager.page_size() as u64;
        let free = self.pager.free_pages();
        let mut next = 0;
        while next < count {
            if free.binary_search(&Pgid(next)).is_ok() {
                pages.insert(next, Page::Free);
                next += 1;
                continue;
            }
            let Some(dump) = self.page(next) else { break };
            let overflow = match &dump.content {
                Ok(PageContent::Zeros | PageContent::Meta { .. }) | Err(_) => 0,
                Ok(_) => u64::from(dump.overflow),
            };
            pages.insert(next, Page::Own(dump));
            pages.extend((1..=overflow).map(|at| (next + at, Page::Overflow(next))));
            next += 1 + overflow;
        }
        pages
    }
}
