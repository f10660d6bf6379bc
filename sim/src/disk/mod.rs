//! A member's disk: files with what lasts and what does not yet, and how long syncs take.
//!
//! The world performs each command of a replica with [`Disk::perform`], schedules what it says for a sync, and calls
//! [`Disk::complete`] then. When the process dies ([`Disk::kill`]) the page cache lives on; when power fails
//! ([`Disk::crash`]) only what was synced is sure to be there: of the rest an arbitrary subset of sectors, lengths and
//! names. [`Disk::image`] is what a booting member finds.
//!
//! The rules are those of journalling file systems (ext4, XFS): a file's content needs a `Sync`; a name needs a
//! `SyncDir`, or a later `Sync` of a file in its directory that has something to write, since that commits the journal
//! up to there. Sectors of 512 bytes are
//! written whole or not at all. Nothing here knows a file's format.
//!
//! Beyond that a disk may fail ([`Disk::arm`]), fill up, lie, or lose and change what had lasted. It counts what it
//! did, and says when it broke a promise ([`Disk::take_harm`]).

mod content;
mod damage;
mod device;
mod failure;
mod file;
mod fio;
mod profile;

use std::collections::BTreeMap;

use bytes::Bytes;
use detcd_replica::{Dir, DiskCommand, DiskError, DiskImage, FileName, OpId, Rope};

use crate::decide::{Decider, Site, Subject};
use crate::distribution::{Below, Ratio, Weighted};
use device::{Device, Work, NOTHING};
use failure::Failures;
use file::{Fate, File};

pub use failure::{concerns, CommandKind, Failure, FileKind, SyncFailure};
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

/// Whether syncs do what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Honesty {
    /// What a sync wrote lasts.
    Honest,
    /// Syncs of such files (or of all) succeed, and nothing more lasts than without them.
    Lying(Option<FileKind>),
}

/// Whether files can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reading {
    /// They can.
    Fine,
    /// Reading such a file (or any) fails with `EIO`.
    Failing(Option<FileKind>),
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

/// Which of a disk's two contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// What lasts: what a power failure leaves at its worst.
    Durable,
    /// What the page cache shows: what the death of a process leaves.
    Cached,
}

/// The content of one file. Zeros at its end are left out of `data`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileContent {
    /// The bytes from the beginning.
    pub data: Bytes,
    /// Length of the file: that of `data` or more.
    pub length: u64,
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
    /// Writes that failed with `EIO`.
    pub failed_writes: u64,
    /// Commands that failed with `ENOSPC`.
    pub full: u64,
    /// Syncs that failed.
    pub failed_syncs: u64,
    /// Syncs that succeeded and wrote nothing of what they should have.
    pub lies: u64,
    /// Writes that were reported done and never reached the disk.
    pub vanished_writes: u64,
    /// Writes that reached the disk at another place.
    pub misdirected_writes: u64,
    /// Bits that flipped.
    pub flipped_bits: u64,
    /// Durable sectors that were lost.
    pub zeroed_sectors: u64,
    /// Boots that could not read a file.
    pub failed_reads: u64,
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
    fails: Option<SyncFailure>,
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
    failures: Failures,
    honesty: Honesty,
    reading: Reading,
    harm: bool,
    harmed: bool,
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
            failures: Failures::default(),
            honesty: Honesty::Honest,
            reading: Reading::Fine,
            harm: false,
            harmed: false,
            tally: DiskTally::default(),
        }
    }

    /// Puts a file of `length` bytes on it that has always been there: it lasts. Behind `data` are zeros.
    pub fn hold(&mut self, name: FileName, data: Bytes, length: u64) {
        let (id, mut file) = (self.files_made, File::default());
        self.files_made += 1;
        file.write(self.sequence, 0, data.into(), Fate::Lands);
        file.set_length(self.sequence, length);
        file.persist(self.sequence, &mut self.tally);
        self.files.insert(id, file);
        self.names.insert(name, id);
        self.durable_names.insert(name, id);
    }

    /// Does what a replica wants done. A write to a file that is not there is a bug of the replica, and panics.
    pub fn perform(&mut self, now: u64, op: OpId, command: DiskCommand, decider: &mut Decider) -> Performed {
        self.sequence += 1;
        let sequence = self.sequence;
        let met = self.failures.meet(&command);
        match command {
            DiskCommand::Create { file } => self.create(file),
            DiskCommand::Write { file, offset, data } => {
                let length = self.files[&self.id(file)].length();
                if met == Some(Failure::Write) {
                    self.tally.failed_writes += 1;
                    return Performed { completes_at: None, error: Some(DiskError::Io) };
                }
                if let Err(error) = self.failures.grow(length, offset + data.len() as u64) {
                    self.tally.full += 1;
                    return Performed { completes_at: None, error: Some(error) };
                }
                self.tally.bytes += data.len() as u64;
                let fate = self.fate(met, file, offset, decider);
                self.file(file).write(sequence, offset, data, fate);
            }
            DiskCommand::Truncate { file, length } => {
                let before = self.files[&self.id(file)].length();
                if let Err(error) = self.failures.grow(before, length) {
                    self.tally.full += 1;
                    return Performed { completes_at: None, error: Some(error) };
                }
                self.failures.free(before.saturating_sub(length));
                if before != length {
                    self.file(file).set_length(sequence, length);
                }
            }
            DiskCommand::Rename { from, to } => {
                let file = self.id(from);
                assert_eq!(from.dir(), to.dir(), "{from} is renamed into another directory: {to}");
                self.failures.free(self.length(to).unwrap_or(0));
                self.change_name(NameChange { sequence, gone: Some(from), come: Some(to), file });
            }
            DiskCommand::Remove { file: name } => {
                // Removing what is gone is no error in etcd either.
                if let Some(&file) = self.names.get(&name) {
                    self.failures.free(self.files[&file].length());
                    self.change_name(NameChange { sequence, gone: Some(name), come: None, file });
                }
            }
            DiskCommand::Sync { file } => {
                let id = self.id(file);
                let clean = self.files[&id].is_clean();
                let work = (!clean).then(|| self.files[&id].work());
                let owed = std::mem::take(&mut self.file(file).owes_error).then_some(SyncFailure::Dirty);
                let fails = owed.or(Self::failing(met));
                let target = if clean { Target::File(id) } else { Target::Journal(id, file.dir()) };
                let flight = Flight { target, up_to: sequence, fails };
                return self.sync(now, op, file.dir(), flight, work, decider);
            }
            DiskCommand::Fsync { file } => {
                let (id, dir) = (self.id(file), file.dir());
                let renamed = self.name_changes.iter().any(|change| change.dir() == dir);
                let dirty = renamed || !self.files[&id].is_clean();
                let work = dirty.then(|| self.files[&id].work());
                let owed = std::mem::take(&mut self.file(file).owes_error).then_some(SyncFailure::Dirty);
                let fails = owed.or(Self::failing(met));
                let flight = Flight { target: Target::Journal(id, dir), up_to: sequence, fails };
                return self.sync(now, op, dir, flight, work, decider);
            }
            DiskCommand::SyncDir { dir } => {
                let dirty = self.name_changes.iter().any(|change| change.dir() == dir);
                let work = dirty.then_some(Work { bytes: 0, runs: 1 });
                let flight = Flight { target: Target::Dir(dir), up_to: sequence, fails: Self::failing(met) };
                return self.sync(now, op, dir, flight, work, decider);
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
        if let Some(failure) = flight.fails {
            self.tally.failed_syncs += 1;
            return Completion::Done(self.sync_fails(flight, failure));
        }
        if self.lies(flight.target) {
            self.tally.lies += 1;
            if let Some(id) = file {
                self.files.get_mut(&id).into_iter().for_each(|file| file.promise(flight.up_to));
            }
            return Completion::Done(Ok(()));
        }
        // A file that was removed meanwhile is nobody's concern.
        if let Some(file) = file.and_then(|id| self.files.get_mut(&id)) {
            let harm = file.persist(flight.up_to, &mut self.tally);
            self.harm(harm);
        }
        if let Some(dir) = dir {
            let (durable, before) = (&mut self.durable_names, self.name_changes.len());
            self.name_changes.retain(|change| {
                let lasts = change.dir() == dir && change.sequence <= flight.up_to;
                if lasts {
                    change.apply(durable);
                }
                !lasts
            });
            if self.name_changes.len() < before {
                self.collect();
            }
        }
        Completion::Done(Ok(()))
    }

    /// The process dies: syncs under way are nobody's any more, the page cache stays.
    pub fn kill(&mut self) {
        self.in_flight.clear();
        self.files.values_mut().for_each(File::kill);
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
        let mut harm = false;
        for file in self.files.values_mut() {
            harm |= file.crash(loss, subject, decider, &mut self.tally);
        }
        self.harm(harm);
        self.crash_names(loss, subject, decider);
        self.names = self.durable_names.clone();
        self.collect();
    }

    /// What a booting member finds. Of WAL files the zeros at the end are left out, up to a whole sector, and only
    /// their number is told: a preallocated segment would cost 64 MB.
    pub fn image(&self) -> DiskImage {
        // The files that are longer than what is in them: the log is preallocated, the database grows by 16 MiB.
        let sparse = |name: FileName| name == FileName::Db || name.dir() == Dir::Wal;
        let content = |(&name, id): (&FileName, &u64)| (name, self.files[id].image(sparse(name)));
        let length = |(&name, id): (&FileName, &u64)| (name, self.files[id].length());
        let trimmed = self.names.iter().filter(|(name, _)| sparse(**name));
        DiskImage { files: self.names.iter().map(content).collect(), lengths: trimmed.map(length).collect() }
    }

    /// One file as the page cache shows it, without the zeros at its end; `None` when there is no such file.
    pub fn shown(&self, name: FileName) -> Option<Rope> {
        self.names.get(&name).map(|id| self.files[id].image(true))
    }

    /// Every file with its exact length, for whoever takes the disk out and looks at it.
    pub fn contents(&self, layer: Layer) -> BTreeMap<FileName, FileContent> {
        let names = match layer {
            Layer::Durable => &self.durable_names,
            Layer::Cached => &self.names,
        };
        names.iter().map(|(&name, id)| (name, self.files[id].content(layer))).collect()
    }

    /// Until then nothing completes.
    pub fn set_stall_until(&mut self, until: u64) {
        self.device.stall_until = until;
    }

    /// Syncs issued from now on take so many thousandths of their time; 1000 is normal.
    pub fn set_slowdown(&mut self, milli: u64) {
        self.device.slowdown_milli = milli;
    }

    /// The `nth` command from now on (1 is the next) that this failure can strike, on such a file, meets it. `token`
    /// is for [`Disk::disarm`].
    pub fn arm(&mut self, token: usize, failure: Failure, kind: Option<FileKind>, nth: u64) {
        self.failures.arm(token, failure, kind, nth);
    }

    /// The failures that were armed with this token will not come.
    pub fn disarm(&mut self, token: usize) {
        self.failures.disarm(token);
    }

    /// From now on files may grow by so many bytes in all, and by those that are given back; `None` is any number.
    pub fn set_room(&mut self, bytes: Option<u64>) {
        self.failures.set_room(bytes);
    }

    /// Whether syncs keep their promise from now on.
    pub fn set_honesty(&mut self, honesty: Honesty) {
        self.honesty = honesty;
    }

    /// Whether files can be read from now on: see [`Disk::read`].
    pub fn set_reading(&mut self, reading: Reading) {
        self.reading = reading;
    }

    /// Ends every fault.
    pub fn heal(&mut self) {
        (self.device.stall_until, self.device.slowdown_milli) = (0, 1000);
        (self.failures, self.honesty, self.reading) = (Failures::default(), Honesty::Honest, Reading::Fine);
    }

    /// Whether the disk has broken a promise since this was asked last: what a sync had called safe is gone, or is
    /// not what was written.
    pub fn take_harm(&mut self) -> bool {
        std::mem::take(&mut self.harm)
    }

    /// Whether it ever has.
    pub fn is_harmed(&self) -> bool {
        self.harmed
    }

    /// Length of a file in bytes.
    pub fn length(&self, file: FileName) -> Option<u64> {
        self.names.get(&file).map(|id| self.files[id].length())
    }

    /// What happened so far.
    pub fn tally(&self) -> &DiskTally {
        &self.tally
    }

    fn failing(met: Option<Failure>) -> Option<SyncFailure> {
        match met {
            Some(Failure::Sync(failure)) => Some(failure),
            _ => None,
        }
    }

    fn lies(&self, target: Target) -> bool {
        let Honesty::Lying(kind) = self.honesty else { return false };
        let names = |id: u64| self.names.iter().find(|(_, file)| **file == id).map(|(name, _)| *name);
        let command = match target {
            Target::Dir(dir) => Some(DiskCommand::SyncDir { dir }),
            Target::File(id) | Target::Journal(id, _) => names(id).map(|file| DiskCommand::Sync { file }),
        };
        command.is_some_and(|command| concerns(&command, kind))
    }

    fn sync_fails(&mut self, flight: Flight, failure: SyncFailure) -> Result<(), DiskError> {
        let (Target::File(id) | Target::Journal(id, _)) = flight.target else { return Err(DiskError::Io) };
        if let Some(file) = self.files.get_mut(&id) {
            match failure {
                SyncFailure::Dirty => {}
                SyncFailure::Reverted => file.revert(flight.up_to),
                _ => file.call_clean(flight.up_to, failure.haunts()),
            }
            file.owes_error = failure == SyncFailure::Late;
        }
        match failure {
            SyncFailure::Late => Ok(()),
            _ => Err(DiskError::Io),
        }
    }

    fn harm(&mut self, harm: bool) {
        self.harm |= harm;
        self.harmed |= harm;
    }

    fn sync(
        &mut self,
        now: u64,
        op: OpId,
        dir: Dir,
        flight: Flight,
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
        let before = self.in_flight.insert(op, flight);
        assert!(before.is_none(), "command {} is under way already", op.0);
        Performed { completes_at: Some(at), error: None }
    }

    fn create(&mut self, name: FileName) {
        let sequence = self.sequence;
        if let Some(id) = self.names.get(&name) {
            let file = self.files.get_mut(id).expect("a name has a file");
            self.failures.free(file.length());
            file.set_length(sequence, 0);
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
