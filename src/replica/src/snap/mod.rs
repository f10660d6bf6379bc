//! `member/snap` without the backend: Raft's snapshot files, and databases that other members have sent.
//!
//! [`SnapDir`] knows which files are there, and is etcd's `Snapshotter`: it writes `.snap` files, finds the newest that
//! counts, gives received databases their names and removes what nobody needs. It does not know what is in a database.

mod file;
mod receive;
mod v2store;

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::wal::{Commands, WalSnapshot};
use crate::{raftpb, DiskCommand, DiskImage, FileName, OpId};

pub(crate) use receive::{Arrival, Received, Receiving};
pub(crate) use v2store::v2_store;

/// Which files there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct SnapDir {
    /// `.snap` files, by term and index: in the order of their names.
    snaps: BTreeSet<(u64, u64)>,
    /// `.snap.db` files, by index.
    databases: BTreeSet<u64>,
    /// The number of the next temporary file.
    next_tmp: u64,
}

impl SnapDir {
    /// What a booting member finds. Temporary files are of no use to anybody and go.
    pub(crate) fn open(image: &DiskImage, commands: &mut impl Commands) -> Self {
        let mut dir = Self::default();
        for file in image.files.keys() {
            match *file {
                FileName::Snap { term, index } => {
                    dir.snaps.insert((term, index));
                }
                FileName::SnapDb { index } => {
                    dir.databases.insert(index);
                }
                FileName::SnapTmp { .. } => {
                    commands.issue(DiskCommand::Remove { file: *file });
                }
                _ => {}
            }
        }
        dir
    }

    /// `SaveSnap`: writes a `.snap` file. It lasts when the returned sync has ended.
    pub(crate) fn save(&mut self, snapshot: &raftpb::Snapshot, commands: &mut impl Commands) -> OpId {
        let metadata = snapshot.get_metadata();
        let file = FileName::Snap { term: metadata.term, index: metadata.index };
        self.snaps.insert((metadata.term, metadata.index));
        commands.issue(DiskCommand::Create { file });
        commands.issue(DiskCommand::Write { file, offset: 0, data: file::encode(snapshot).into() });
        commands.issue(DiskCommand::Fsync { file })
    }

    /// `LoadNewestAvailable`: the newest `.snap` file that can be read and that one of the `records` of the WAL names.
    /// Those that cannot be read get out of the way.
    pub(crate) fn load_newest_available(
        &mut self,
        image: &DiskImage,
        records: &[WalSnapshot],
        commands: &mut impl Commands,
    ) -> Option<raftpb::Snapshot> {
        for (term, index) in self.snaps.clone().into_iter().rev() {
            let file = FileName::Snap { term, index };
            let content = image.bytes(file).unwrap_or_default();
            let Ok(snapshot) = file::decode(&content) else {
                commands.issue(DiskCommand::Rename { from: file, to: FileName::SnapBroken { term, index } });
                self.snaps.remove(&(term, index));
                continue;
            };
            let metadata = snapshot.get_metadata();
            let place = (metadata.index, metadata.term);
            if records.iter().any(|record| (record.index, record.term) == place) {
                return Some(snapshot);
            }
        }
        None
    }

    /// `ReleaseSnapDBs`: databases below `index` that nobody waits for are removed. Gives their indices.
    pub(crate) fn release_databases(
        &mut self,
        index: u64,
        waited_for: impl Fn(u64) -> bool,
        commands: &mut impl Commands,
    ) -> Vec<u64> {
        let gone: Vec<u64> = self.databases.range(..index).copied().filter(|index| !waited_for(*index)).collect();
        for index in &gone {
            commands.issue(DiskCommand::Remove { file: FileName::SnapDb { index: *index } });
            self.databases.remove(index);
        }
        gone
    }

    /// `purgeFile`: all but the newest `keep` of each kind are removed.
    pub(crate) fn purge(&mut self, keep: usize, commands: &mut impl Commands) {
        while self.databases.len() > keep {
            let index = self.databases.pop_first().expect("more than `keep` are left");
            commands.issue(DiskCommand::Remove { file: FileName::SnapDb { index } });
        }
        while self.snaps.len() > keep {
            let (term, index) = self.snaps.pop_first().expect("more than `keep` are left");
            commands.issue(DiskCommand::Remove { file: FileName::Snap { term, index } });
        }
    }

    /// A name for a file under way.
    fn tmp(&mut self) -> FileName {
        self.next_tmp += 1;
        FileName::SnapTmp { number: self.next_tmp }
    }

    /// Gives a received database its name, unless one of its index is there already. False then.
    pub(crate) fn name_database(&mut self, tmp: FileName, index: u64, commands: &mut impl Commands) -> bool {
        let new = self.databases.insert(index);
        commands.issue(match new {
            true => DiskCommand::Rename { from: tmp, to: FileName::SnapDb { index } },
            false => DiskCommand::Remove { file: tmp },
        });
        new
    }

    /// Puts a database in the place of the backend's file.
    pub(crate) fn take_database(&mut self, index: u64, commands: &mut impl Commands) -> bool {
        let there = self.databases.remove(&index);
        if there {
            commands.issue(DiskCommand::Rename { from: FileName::SnapDb { index }, to: FileName::Db });
        }
        there
    }
}

/// A snapshot as Raft has it.
pub(crate) fn snapshot(index: u64, term: u64, conf_state: raftpb::ConfState, data: Bytes) -> raftpb::Snapshot {
    let mut snapshot = raftpb::Snapshot::default();
    let metadata = snapshot.mut_metadata();
    (metadata.index, metadata.term) = (index, term);
    metadata.set_conf_state(conf_state);
    snapshot.data = data;
    snapshot
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::testing::Disk;

    fn saved(places: &[(u64, u64)]) -> (SnapDir, Disk) {
        let (mut dir, mut disk) = (SnapDir::default(), Disk::default());
        for (term, index) in places {
            dir.save(&snapshot(*index, *term, raftpb::ConfState::default(), Bytes::from_static(b"{}")), &mut disk);
        }
        (dir, disk)
    }

    fn record(index: u64, term: u64) -> WalSnapshot {
        WalSnapshot { index, term, conf_state: None }
    }

    #[test]
    fn the_newest_file_that_the_log_names_is_loaded() {
        let (mut dir, mut disk) = saved(&[(1, 10), (2, 20), (2, 30)]);
        let image = disk.image();
        let mut load = |records: &[WalSnapshot]| {
            let loaded = dir.load_newest_available(&image, records, &mut disk);
            loaded.map(|snapshot| snapshot.get_metadata().index)
        };
        assert_eq!(load(&[record(0, 0), record(10, 1), record(20, 2), record(30, 2)]), Some(30));
        assert_eq!(load(&[record(0, 0), record(10, 1), record(20, 2)]), Some(20), "30 is an orphan");
        assert_eq!(load(&[record(0, 0), record(10, 1), record(20, 1)]), Some(10), "another term");
        assert_eq!(load(&[record(0, 0)]), None);
    }

    #[test]
    fn a_broken_file_gets_out_of_the_way() {
        let (_, mut disk) = saved(&[(1, 10), (2, 20)]);
        let file = FileName::Snap { term: 2, index: 20 };
        disk.issue(DiskCommand::Write { file, offset: 12, data: Bytes::from_static(b"\xff\xff\xff").into() });
        let image = disk.image();
        let mut dir = SnapDir::open(&image, &mut disk);
        let loaded = dir.load_newest_available(&image, &[record(10, 1), record(20, 2)], &mut disk);
        assert_eq!(loaded.map(|snapshot| snapshot.get_metadata().index), Some(10));
        let names: Vec<FileName> = disk.image().files.into_keys().collect();
        assert_eq!(names, [FileName::Snap { term: 1, index: 10 }, FileName::SnapBroken { term: 2, index: 20 }]);
    }

    #[test]
    fn files_that_nobody_needs_go() {
        let (mut dir, mut disk) = saved(&[(1, 10), (1, 20), (2, 15)]);
        for index in [5, 10, 20] {
            let tmp = dir.tmp();
            disk.issue(DiskCommand::Create { file: tmp });
            assert!(dir.name_database(tmp, index, &mut disk));
        }
        let tmp = dir.tmp();
        disk.issue(DiskCommand::Create { file: tmp });
        assert!(!dir.name_database(tmp, 20, &mut disk), "there is one already");
        assert_eq!(dir.release_databases(20, |index| index == 10, &mut disk), [5]);
        dir.purge(2, &mut disk);
        assert!(dir.take_database(10, &mut disk) && !dir.take_database(10, &mut disk));
        let names: Vec<FileName> = disk.image().files.into_keys().collect();
        let snap = |term, index| FileName::Snap { term, index };
        assert_eq!(names, [FileName::Db, FileName::SnapDb { index: 20 }, snap(1, 20), snap(2, 15)]);
    }

    #[test]
    fn temporary_files_do_not_outlive_a_boot() {
        let mut disk = Disk::default();
        disk.issue(DiskCommand::Create { file: FileName::SnapTmp { number: 3 } });
        SnapDir::open(&disk.image(), &mut disk);
        assert!(disk.image().files.is_empty());
    }
}
