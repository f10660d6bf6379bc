//! A member's disk: files with what lasts and what does not yet, and how long syncs take.
//!
//! The world performs each command of a replica with [`Disk::perform`], schedules what it says for a sync, and calls
//! [`Disk::complete`] then. When the process dies ([`Disk::kill`]) the page cache lives on; when power fails
//! ([`Disk::crash`]) only what was synced is sure to be there: of the rest an arbitrary subset of sectors, lengths and
//! names. [`Disk::image`] is what a booting member finds.
//!
//! The rules are POSIX's, strictly: a file's content needs a `Sync`, its name a `SyncDir`. Sectors of 512 bytes are
//! written whole or not at all. Nothing here knows a file's format.

mod device;
mod file;
mod fio;
mod profile;

use std::collections::BTreeMap;

use detcd_replica::{Dir, DiskCommand, DiskError, DiskImage, FileName, OpId};

use crate::decide::{Decider, Site, Subject};
use crate::distribution::{Below, Ratio, Weighted};
use device::{Device, Work, NOTHING};
use file::File;

pub use fio::{fio, sync_latencies, FioReport, FIO_PERCENTILES};
pub use profile::{profile, Episode, Profile, PROFILES};

/// Whether a device has the stalls and degraded periods of its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Episodes {
    /// It has, and single syncs have shorter tails for it.
    On,
    /// It has not; tails are as measured.
    Off,
}

/// What a command came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Performed {
    /// For `Sync` and `SyncDir`: when to call [`Disk::complete`].
    pub completes_at: Option<u64>,
    /// It failed at once.
    pub error: Option<DiskError>,
}

/// What a sync came to when its time was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// It ended: tell the replica.
    Done(Result<(), DiskError>),
    /// The disk stands still: ask again then.
    Later(u64),
}

/// A failure to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// The next write fails with `EIO`.
    Write,
    /// The next write fails with `ENOSPC`.
    NoSpace,
    /// The next sync fails with `EIO`; what it should have written is lost, though the cache calls it clean (ext4,
    /// XFS).
    Sync,
}

/// Whether syncs do what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Honesty {
    /// What a sync wrote lasts.
    Honest,
    /// Syncs succeed, and nothing more lasts than without them.
    Lying,
}

/// What a power failure takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// Nothing: all had been written back.
    Nothing,
    /// All that was not synced.
    Everything,
    /// Any of the sectors that were not synced.
    Sectors,
    /// Any of the sectors of each file's last write.
    Torn,
}

/// How often each thing really happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskTally {
    /// Syncs that had something to write.
    pub syncs: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Power failures.
    pub crashes: u64,
    /// Unsynced sectors that a power failure set back.
    pub lost_sectors: u64,
    /// Unsynced writes of which nothing was left.
    pub lost_writes: u64,
    /// Unsynced writes of which a part was left.
    pub torn_writes: u64,
    /// Unsynced creations, renames and removals that were lost.
    pub lost_names: u64,
    /// Syncs that a stall from outside held up.
    pub stalled: u64,
    /// Commands that failed.
    pub failed: u64,
}

/// A change of a directory that does not last yet.
#[derive(Clone, Copy, Debug)]
struct NameChange {
    sequence: u64,
    /// The name that goes, if it still names this file.
    gone: Option<FileName>,
    /// The name that comes.
    come: Option<FileName>,
    file: u64,
}

impl NameChange {
    fn dir(&self) -> Dir {
        self.come.or(self.gone).expect("a change of names has a name").dir()
    }

    fn apply(&self, names: &mut BTreeMap<FileName, u64>) {
        if let Some(gone) = self.gone.filter(|gone| names.get(gone) == Some(&self.file)) {
            names.remove(&gone);
        }
        if let Some(come) = self.come {
            names.insert(come, self.file);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Target {
    File(u64),
    /// A file and, through the journal, the names in its directory.
    Journal(u64, Dir),
    Dir(Dir),
}

/// A sync under way.
#[derive(Clone, Copy, Debug)]
struct Flight {
    target: Target,
    /// It covers the changes up to this one.
    up_to: u64,
    fails: bool,
}

/// One member's disk.
#[derive(Clone, Debug)]
pub struct Disk {
    node: u32,
    device: Device,
    files: BTreeMap<u64, File>,
    files_made: u64,
    /// Names as the page cache has them.
    names: BTreeMap<FileName, u64>,
    durable_names: BTreeMap<FileName, u64>,
    name_changes: Vec<NameChange>,
    sequence: u64,
    in_flight: BTreeMap<OpId, Flight>,
    failure: Option<Failure>,
    honesty: Honesty,
    tally: DiskTally,
}

impl Disk {
    /// An empty disk of this kind for this node.
    pub fn new(node: u32, profile: &'static Profile, episodes: Episodes, decider: &mut Decider) -> Self {
        Self {
            node,
            device: Device::new(node, profile, episodes, decider),
            files: BTreeMap::new(),
            files_made: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            sequence: 0,
            in_flight: BTreeMap::new(),
            failure: None,
            honesty: Honesty::Honest,
            tally: DiskTally::default(),
        }
    }

    /// Does what a replica wants done. A write to a file that is not there is a bug of the replica, and panics.
    pub fn perform(&mut self, now: u64, op: OpId, command: DiskCommand, decider: &mut Decider) -> Performed {
        self.sequence += 1;
        if let Some(error) = self.fails(&command) {
            self.tally.failed += 1;
            return Performed { completes_at: None, error: Some(error) };
        }
        let sequence = self.sequence;
        match command {
            DiskCommand::Create { file } => self.create(file),
            DiskCommand::Write { file, offset, data } => {
                self.tally.bytes += data.len() as u64;
                self.file(file).write(sequence, offset, data);
            }
            DiskCommand::Truncate { file, length } => {
                let file = self.file(file);
                if file.length() != length {
                    file.set_length(sequence, length);
                }
            }
            DiskCommand::Rename { from, to } => {
                let file = self.id(from);
                assert_eq!(from.dir(), to.dir(), "{from} is renamed into another directory: {to}");
                self.change_name(NameChange { sequence, gone: Some(from), come: Some(to), file });
            }
            DiskCommand::Remove { file: name } => {
                // Removing what is gone is no error in etcd either.
                if let Some(&file) = self.names.get(&name) {
                    self.change_name(NameChange { sequence, gone: Some(name), come: None, file });
                }
            }
            DiskCommand::Sync { file } => {
                let id = self.id(file);
                let clean = self.files[&id].is_clean();
                let work = (!clean).then(|| self.files[&id].work());
                return self.sync(now, op, file.dir(), Target::File(id), work, decider);
            }
            DiskCommand::Fsync { file } => {
                let (id, dir) = (self.id(file), file.dir());
                let renamed = self.name_changes.iter().any(|change| change.dir() == dir);
                let dirty = renamed || !self.files[&id].is_clean();
                let work = dirty.then(|| self.files[&id].work());
                return self.sync(now, op, dir, Target::Journal(id, dir), work, decider);
            }
            DiskCommand::SyncDir { dir } => {
                let dirty = self.name_changes.iter().any(|change| change.dir() == dir);
                let work = dirty.then_some(Work { bytes: 0, runs: 1 });
                return self.sync(now, op, dir, Target::Dir(dir), work, decider);
            }
        }
        Performed::default()
    }

    /// The time of a sync has come: what was written before it was issued lasts now.
    pub fn complete(&mut self, now: u64, op: OpId) -> Completion {
        if now < self.device.stall_until {
            self.tally.stalled += 1;
            return Completion::Later(self.device.stall_until);
        }
        let flight = self.in_flight.remove(&op);
        let flight = flight.unwrap_or_else(|| panic!("no sync {} is under way on disk {}", op.0, self.node));
        let (file, dir) = match flight.target {
            Target::File(id) => (Some(id), None),
            Target::Journal(id, dir) => (Some(id), Some(dir)),
            Target::Dir(dir) => (None, Some(dir)),
        };
        // A file that was removed meanwhile is nobody's concern.
        let file = file.and_then(|id| self.files.get_mut(&id));
        if flight.fails {
            if let Some(file) = file {
                file.forget(flight.up_to);
            }
            self.tally.failed += 1;
            return Completion::Done(Err(DiskError::Io));
        }
        if self.honesty == Honesty::Lying {
            return Completion::Done(Ok(()));
        }
        if let Some(file) = file {
            file.persist(flight.up_to);
        }
        if let Some(dir) = dir {
            let durable = &mut self.durable_names;
            self.name_changes.retain(|change| {
                let lasts = change.dir() == dir && change.sequence <= flight.up_to;
                if lasts {
                    change.apply(durable);
                }
                !lasts
            });
            self.collect();
        }
        Completion::Done(Ok(()))
    }

    /// The process dies: syncs under way are nobody's any more, the page cache stays.
    pub fn kill(&mut self) {
        self.in_flight.clear();
    }

    /// Power fails, and what kind of loss that brings is drawn.
    pub fn crash(&mut self, decider: &mut Decider) -> Loss {
        let subject = Subject::pair(self.node, self.tally.crashes as u32);
        let kinds = [Loss::Nothing, Loss::Everything, Loss::Sectors, Loss::Torn];
        let loss = kinds[decider.decide(Site::DiskCrash, subject, &Weighted(&[1, 2, 4, 3]))];
        self.crash_with(loss, decider);
        loss
    }

    /// Power fails with this kind of loss.
    pub fn crash_with(&mut self, loss: Loss, decider: &mut Decider) {
        let subject = Subject::pair(self.node, self.tally.crashes as u32);
        self.tally.crashes += 1;
        self.in_flight.clear();
        for file in self.files.values_mut() {
            if !file.is_clean() {
                file.crash(loss, subject, decider, &mut self.tally);
            }
        }
        self.crash_names(loss, subject, decider);
        self.names = self.durable_names.clone();
        self.collect();
    }

    /// What a booting member finds. Of WAL files the zeros at the end are left out, up to a whole sector, and only
    /// their number is told: a preallocated segment would cost 64 MB.
    pub fn image(&self) -> DiskImage {
        let content = |(&name, id): (&FileName, &u64)| (name, self.files[id].image(name.dir() == Dir::Wal));
        let length = |(&name, id): (&FileName, &u64)| (name, self.files[id].length());
        let trimmed = self.names.iter().filter(|(name, _)| name.dir() == Dir::Wal);
        DiskImage { files: self.names.iter().map(content).collect(), lengths: trimmed.map(length).collect() }
    }

    /// Until then nothing completes.
    pub fn set_stall_until(&mut self, until: u64) {
        self.device.stall_until = until;
    }

    /// Syncs issued from now on take so many thousandths of their time; 1000 is normal.
    pub fn set_slowdown(&mut self, milli: u64) {
        self.device.slowdown_milli = milli;
    }

    /// The next command of that kind fails.
    pub fn fail_next(&mut self, failure: Failure) {
        self.failure = Some(failure);
    }

    /// Whether syncs keep their promise from now on.
    pub fn set_honesty(&mut self, honesty: Honesty) {
        self.honesty = honesty;
    }

    /// Ends every fault.
    pub fn heal(&mut self) {
        (self.device.stall_until, self.device.slowdown_milli) = (0, 1000);
        (self.failure, self.honesty) = (None, Honesty::Honest);
    }

    /// Length of a file in bytes.
    pub fn length(&self, file: FileName) -> Option<u64> {
        self.names.get(&file).map(|id| self.files[id].length())
    }

    /// What happened so far.
    pub fn tally(&self) -> &DiskTally {
        &self.tally
    }

    fn fails(&mut self, command: &DiskCommand) -> Option<DiskError> {
        let error = match (command, self.failure?) {
            (DiskCommand::Write { .. }, Failure::Write) => DiskError::Io,
            (DiskCommand::Write { .. }, Failure::NoSpace) => DiskError::NoSpace,
            _ => return None,
        };
        self.failure = None;
        Some(error)
    }

    fn sync(
        &mut self,
        now: u64,
        op: OpId,
        dir: Dir,
        target: Target,
        work: Option<Work>,
        decider: &mut Decider,
    ) -> Performed {
        let directory = match dir {
            Dir::Wal => 1,
            Dir::Snap => 2,
        };
        let at = match work {
            Some(work) => {
                self.tally.syncs += 1;
                self.device.sync(now, directory, work, decider)
            }
            None => now.max(self.device.stall_until) + NOTHING,
        };
        let fails = self.failure == Some(Failure::Sync);
        if fails {
            self.failure = None;
        }
        let before = self.in_flight.insert(op, Flight { target, up_to: self.sequence, fails });
        assert!(before.is_none(), "command {} is under way already", op.0);
        Performed { completes_at: Some(at), error: None }
    }

    fn create(&mut self, name: FileName) {
        let sequence = self.sequence;
        if let Some(id) = self.names.get(&name) {
            self.files.get_mut(id).expect("a name has a file").set_length(sequence, 0);
            return;
        }
        self.files_made += 1;
        self.files.insert(self.files_made, File::default());
        self.change_name(NameChange { sequence, gone: None, come: Some(name), file: self.files_made });
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }

    fn id(&self, name: FileName) -> u64 {
        *self.names.get(&name).unwrap_or_else(|| panic!("{name} is not on disk {}", self.node))
    }

    fn file(&mut self, name: FileName) -> &mut File {
        let id = self.id(name);
        self.files.get_mut(&id).expect("a name has a file")
    }

    /// Which changes of names were in the journal already: the first few of each directory, or, as some file systems do
    /// it, any of them.
    fn crash_names(&mut self, loss: Loss, subject: Subject, decider: &mut Decider) {
        let changes = std::mem::take(&mut self.name_changes);
        let before = changes.len();
        let mut kept = Vec::new();
        match loss {
            Loss::Nothing | Loss::Torn => kept = changes,
            Loss::Everything => {}
            Loss::Sectors => {
                let in_order = !decider.decide(Site::DiskCrashNames, subject, &Ratio::new(1, 2));
                for dir in [Dir::Wal, Dir::Snap] {
                    let of: Vec<_> = changes.iter().copied().filter(|change| change.dir() == dir).collect();
                    if in_order {
                        let lost = decider.decide(Site::DiskCrashNames, subject, &Below(of.len() as u64 + 1));
                        kept.extend(&of[..of.len() - lost as usize]);
                    } else {
                        let half = Ratio::new(1, 2);
                        kept.extend(of.iter().filter(|_| !decider.decide(Site::DiskCrashNames, subject, &half)));
                    }
                }
            }
        }
        self.tally.lost_names += (before - kept.len()) as u64;
        kept.iter().for_each(|change| change.apply(&mut self.durable_names));
    }

    /// Frees the files that nothing names any more.
    fn collect(&mut self) {
        let named = |names: &BTreeMap<FileName, u64>, id: u64| names.values().any(|&file| file == id);
        let (names, durable, changes) = (&self.names, &self.durable_names, &self.name_changes);
        self.files
            .retain(|&id, _| named(names, id) || named(durable, id) || changes.iter().any(|change| change.file == id));
    }
}

#[cfg(test)]
mod tests;
