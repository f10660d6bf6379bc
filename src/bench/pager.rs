//! The pager alone, under what etcd does to bbolt in a batch: revisions at the end of one bucket, a few leases anywhere
//! in another, the consistent index, and now and then a compaction.
//!
//! The batches are those that the pager's own test holds against bbolt's figures, so that the pages written here can be
//! laid beside bbolt's. Disk commands go nowhere; every sync ends at once.

use bytes::Bytes;
use detcd_replica::pager::{Options, Pager, Progress, TxStats};
use detcd_replica::wal::Commands;
use detcd_replica::{DiskCommand, FileName, OpId};

/// Batches of one file, as many as bbolt's figures were recorded for.
pub(super) const BATCHES: u64 = 40;
/// What bbolt 1.4.3 wrote in these batches: the pages that each commit allocated, and its meta.
pub(super) const BBOLT_PAGES: u64 = 507 + BATCHES;

/// A disk that keeps nothing.
struct Nowhere(u64);

impl Commands for Nowhere {
    fn issue(&mut self, _: DiskCommand) -> OpId {
        self.0 += 1;
        OpId(self.0)
    }
}

/// Makes so many files, one after the other, with [`BATCHES`] commits each. What was counted in all.
pub(super) fn run(files: u64) -> TxStats {
    let mut all = TxStats::default();
    for _ in 0..files {
        let mut disk = Nowhere(0);
        let (mut pager, _) = Pager::create(FileName::Db, Options::ETCD, &mut disk);
        for number in 0..BATCHES {
            pager.begin();
            batch(&mut pager, number);
            pager.begin_commit(&mut disk);
            while let Some(sync) = pager.awaiting() {
                if pager.on_disk(sync, &mut disk) == Progress::Done {
                    break;
                }
            }
        }
        all += pager.stats().tx;
    }
    all
}

fn batch(pager: &mut Pager, number: u64) {
    for name in ["key", "lease", "meta"] {
        pager.create_bucket(name.as_bytes());
    }
    let big_endian = |n: u64| n.to_be_bytes().to_vec();
    let revision_key = |revision: u64| Bytes::from([&big_endian(revision)[..], b"_", &[0; 8]].concat());
    let first = number * 150;
    for revision in first..first + 150 {
        let value = vec![7; 20 + (revision * 37 % 200) as usize];
        pager.put_sequential(b"key", revision_key(revision), value.into());
    }
    for at in 0..10 {
        pager.put(b"lease", big_endian((first + at) * 7919 % 500).into(), vec![at as u8; 24].into());
    }
    for at in 0..5 {
        pager.delete(b"lease", &big_endian((first + at) * 104_729 % 500));
    }
    pager.put(b"meta", Bytes::from_static(b"consistent_index"), big_endian(first).into());
    pager.put(b"meta", Bytes::from_static(b"term"), big_endian(2).into());
    if number % 8 == 7 {
        for revision in (first.saturating_sub(1200)..first - 200).filter(|revision| revision % 11 != 0) {
            pager.delete(b"key", &revision_key(revision));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_pages_as_bbolt() {
        let stats = run(2);
        assert_eq!((stats.commits, stats.pages_written), (2 * BATCHES, 2 * BBOLT_PAGES));
    }
}
