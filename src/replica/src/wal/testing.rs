//! For tests of what is on disk: a generator of numbers, and a disk that forgets in a crash what was not synced.

use std::collections::{BTreeMap, VecDeque};

use super::Commands;
use crate::{Dir, DiskCommand, DiskImage, FileName, OpId};

/// SplitMix64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn flip(&mut self) -> bool {
        self.below(2) == 1
    }
}

#[derive(Clone, Default)]
struct Inode {
    cached: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone, Copy)]
enum NameChange {
    Link(FileName, usize),
    Unlink(FileName),
    Move(FileName, FileName, usize),
}

enum Syncing {
    File(usize, Vec<u8>),
    Dir(Dir, usize),
    Both(usize, Vec<u8>, Dir, usize),
}

/// A disk with a cache. Syncs end when [`Disk::end_sync`] says so, in order.
#[derive(Default)]
pub(crate) struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<FileName, usize>,
    durable_names: BTreeMap<FileName, usize>,
    changes: Vec<NameChange>,
    syncs: VecDeque<(OpId, Syncing)>,
    issued: u64,
    pub(crate) log: Vec<DiskCommand>,
}

impl Commands for Disk {
    fn issue(&mut self, command: DiskCommand) -> OpId {
        self.issued += 1;
        let op = OpId(self.issued);
        self.log.push(command.clone());
        match command {
            DiskCommand::Create { file } => {
                self.inodes.push(Inode::default());
                self.names.insert(file, self.inodes.len() - 1);
                self.changes.push(NameChange::Link(file, self.inodes.len() - 1));
            }
            DiskCommand::Write { file, offset, data } => {
                let cached = &mut self.inodes[self.names[&file]].cached;
                let end = offset as usize + data.len();
                if cached.len() < end {
                    cached.resize(end, 0);
                }
                cached[offset as usize..end].copy_from_slice(&data.to_bytes());
            }
            DiskCommand::Truncate { file, length } => {
                self.inodes[self.names[&file]].cached.resize(length as usize, 0);
            }
            DiskCommand::Sync { file } => {
                let inode = self.names[&file];
                self.syncs.push_back((op, Syncing::File(inode, self.inodes[inode].cached.clone())));
            }
            DiskCommand::Fsync { file } => {
                let inode = self.names[&file];
                let content = self.inodes[inode].cached.clone();
                self.syncs.push_back((op, Syncing::Both(inode, content, file.dir(), self.changes.len())));
            }
            DiskCommand::Rename { from, to } => {
                let inode = self.names.remove(&from).expect("a file that is renamed exists");
                self.names.insert(to, inode);
                self.changes.push(NameChange::Move(from, to, inode));
            }
            DiskCommand::Remove { file } => {
                self.names.remove(&file).expect("a file that is removed exists");
                self.changes.push(NameChange::Unlink(file));
            }
            DiskCommand::SyncDir { dir } => self.syncs.push_back((op, Syncing::Dir(dir, self.changes.len()))),
        }
        op
    }
}

impl Disk {
    /// Ends the oldest sync.
    pub(crate) fn end_sync(&mut self) -> Option<OpId> {
        let (op, sync) = self.syncs.pop_front()?;
        match sync {
            Syncing::File(inode, content) => self.inodes[inode].durable = content,
            Syncing::Dir(dir, count) => self.sync_names(dir, count),
            Syncing::Both(inode, content, dir, count) => {
                self.inodes[inode].durable = content;
                self.sync_names(dir, count);
            }
        }
        Some(op)
    }

    fn sync_names(&mut self, dir: Dir, count: usize) {
        let changes = std::mem::take(&mut self.changes);
        for (at, change) in changes.into_iter().enumerate() {
            if at < count && change.dir() == dir {
                change.apply(&mut self.durable_names);
            } else {
                self.changes.push(change);
            }
        }
        // Syncs further back counted the changes that are gone now; they may cover more, never less.
        for (_, sync) in &mut self.syncs {
            if let Syncing::Dir(_, count) | Syncing::Both(.., count) = sync {
                *count = self.changes.len();
            }
        }
    }

    /// What is there while the machine runs.
    pub(crate) fn image(&self) -> DiskImage {
        let content = |(file, inode): (&FileName, &usize)| (*file, self.inodes[*inode].cached.clone().into());
        DiskImage { files: self.names.iter().map(content).collect(), ..DiskImage::default() }
    }

    /// The power fails: of what was not synced, any subset of sectors, lengths and names lasts.
    /// Commands are counted from 1 again.
    pub(crate) fn crash(&mut self, dice: &mut Dice) {
        self.syncs.clear();
        self.issued = 0;
        for change in std::mem::take(&mut self.changes) {
            if dice.flip() {
                change.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
        // All, none, or half of the sectors: extremes are likely in practice, and find the most.
        let kept_of_8 = [0, 4, 7, 8][dice.below(4) as usize];
        for inode in &mut self.inodes {
            let length = if dice.flip() { inode.cached.len() } else { inode.durable.len() };
            let mut after = inode.durable.clone();
            after.resize(length, 0);
            for (at, sector) in after.chunks_mut(512).enumerate() {
                let cached = inode.cached.get(at * 512..).unwrap_or_default();
                let common = cached.len().min(sector.len());
                if cached[..common] != sector[..common] && dice.below(8) < kept_of_8 {
                    sector[..common].copy_from_slice(&cached[..common]);
                }
            }
            *inode = Inode { cached: after.clone(), durable: after };
        }
    }
}

impl NameChange {
    fn dir(self) -> Dir {
        match self {
            Self::Link(file, _) | Self::Unlink(file) | Self::Move(file, _, _) => file.dir(),
        }
    }

    fn apply(self, names: &mut BTreeMap<FileName, usize>) {
        match self {
            Self::Link(file, inode) => {
                names.insert(file, inode);
            }
            Self::Unlink(file) => {
                names.remove(&file);
            }
            Self::Move(from, to, inode) => {
                names.remove(&from);
                names.insert(to, inode);
            }
        }
    }
}
