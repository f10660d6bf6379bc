//! A member's disk: its commands done to the files of a data dir.
//!
//! Everything but a sync is done at once, in the order in which it comes; it reaches the page cache and no further.
//! Syncs are left to two threads, one for the log and one for the rest, as etcd's log and its backend do not wait for
//! each other either; each tells the member when it is done.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use detcd_replica::{Dir, DiskCommand, DiskError, FileName, OpId};
use fs4::fs_std::FileExt;

use super::member::Event;
use super::metrics::Metrics;

/// The file whose lock a process holds. It is beside `member`, so that a real etcd does not mind it.
const LOCK: &str = "detcd.lock";

/// What a sync is of.
enum Sync {
    Data(Arc<File>),
    All(Arc<File>),
    Folder(PathBuf),
}

type Job = (OpId, Sync);

/// The files of one member.
pub(super) struct Disk {
    root: PathBuf,
    open: BTreeMap<FileName, Arc<File>>,
    log: Sender<Job>,
    rest: Sender<Job>,
    /// Where it is said of each sync that it was done, when none is.
    unsynced: Option<Sender<Event>>,
    /// Held for as long as the member lives: one process at a time has the data dir.
    _lock: File,
}

impl Disk {
    /// Of the data dir at `root`, whose folders are made when they are not there. Without `syncs`, none is done.
    ///
    /// # Errors
    /// They cannot be, or another process has the data dir.
    pub(super) fn open(root: &Path, syncs: bool, events: &Sender<Event>, metrics: &Arc<Metrics>) -> io::Result<Self> {
        for dir in [Dir::Wal, Dir::Snap] {
            let folder = root.join(folder(dir));
            fs::create_dir_all(&folder)?;
        }
        for folder in [root.to_owned(), root.join("member")] {
            only_for_the_owner(&folder)?;
        }
        let lock = File::options().create(true).append(true).open(root.join(LOCK))?;
        if !FileExt::try_lock_exclusive(&lock)? {
            return Err(io::Error::other("another process serves this data dir"));
        }
        let log = syncing("wal-sync", events.clone(), Some(metrics.clone()))?;
        let rest = syncing("db-sync", events.clone(), None)?;
        let unsynced = (!syncs).then(|| events.clone());
        Ok(Self { root: root.to_owned(), open: BTreeMap::new(), log, rest, unsynced, _lock: lock })
    }

    /// Does a command, or begins to when it is a sync.
    ///
    /// # Errors
    /// It failed. A sync is answered later.
    pub(super) fn perform(&mut self, op: OpId, command: DiskCommand) -> Result<(), DiskError> {
        self.try_perform(op, command).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => DiskError::NoSpace,
            _ => DiskError::Io,
        })
    }

    fn try_perform(&mut self, op: OpId, command: DiskCommand) -> io::Result<()> {
        match command {
            DiskCommand::Create { file } => {
                let path = self.path(file);
                // The first segment has a folder of its own while it is made.
                fs::create_dir_all(path.parent().expect("a file is in a folder"))?;
                let created = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
                self.open.insert(file, Arc::new(created));
            }
            DiskCommand::Write { file, offset, data } => {
                let file = self.file(file)?;
                (&*file).seek(SeekFrom::Start(offset))?;
                for (_, piece) in data.pieces() {
                    (&*file).write_all(piece)?;
                }
            }
            DiskCommand::Truncate { file, length } => self.file(file)?.set_len(length)?,
            DiskCommand::Rename { from, to } => {
                fs::rename(self.path(from), self.path(to))?;
                self.open.remove(&to);
                if let Some(file) = self.open.remove(&from) {
                    self.open.insert(to, file);
                }
                if from == FileName::WalFirst {
                    fs::remove_dir(self.root.join("member/wal.tmp"))?;
                }
            }
            DiskCommand::Remove { file } => {
                self.open.remove(&file);
                match fs::remove_file(self.path(file)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            DiskCommand::Sync { file } => {
                let what = Sync::Data(self.file(file)?);
                self.sync(file.dir(), op, what);
            }
            DiskCommand::Fsync { file } => {
                let what = Sync::All(self.file(file)?);
                self.sync(file.dir(), op, what);
            }
            DiskCommand::SyncDir { dir } => self.sync(dir, op, Sync::Folder(self.root.join(folder(dir)))),
        }
        Ok(())
    }

    fn sync(&self, dir: Dir, op: OpId, what: Sync) {
        if let Some(events) = &self.unsynced {
            // The member itself takes them, after what it does now.
            let _ = events.send(Event::Disk { op, result: Ok(()) });
            return;
        }
        let thread = match dir {
            Dir::Wal => &self.log,
            Dir::Snap => &self.rest,
        };
        // A thread ends before the disk only when the member has ended, and then nobody waits.
        let _ = thread.send((op, what));
    }

    fn file(&mut self, name: FileName) -> io::Result<Arc<File>> {
        if let Some(file) = self.open.get(&name) {
            return Ok(file.clone());
        }
        let file = Arc::new(OpenOptions::new().read(true).write(true).open(self.path(name))?);
        self.open.insert(name, file.clone());
        Ok(file)
    }

    fn path(&self, file: FileName) -> PathBuf {
        self.root.join(file.to_string())
    }
}

fn folder(dir: Dir) -> &'static str {
    match dir {
        Dir::Wal => "member/wal",
        Dir::Snap => "member/snap",
    }
}

/// As etcd demands of a data dir.
#[cfg(unix)]
fn only_for_the_owner(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

/// There are no modes here.
#[cfg(not(unix))]
fn only_for_the_owner(_: &Path) -> io::Result<()> {
    Ok(())
}

/// A thread that syncs one after the other. It ends when nobody can ask it any more.
fn syncing(name: &str, events: Sender<Event>, metrics: Option<Arc<Metrics>>) -> io::Result<Sender<Job>> {
    let (jobs, todo) = mpsc::channel::<Job>();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        for (op, what) in todo {
            let began = Instant::now();
            let outcome = match what {
                Sync::Data(file) => file.sync_data(),
                Sync::All(file) => file.sync_all(),
                Sync::Folder(folder) => File::open(folder).and_then(|folder| folder.sync_all()),
            };
            if let Some(metrics) = &metrics {
                metrics.wal_fsync.observe(began.elapsed());
            }
            let result = outcome.map_err(|error| match error.kind() {
                io::ErrorKind::StorageFull => DiskError::NoSpace,
                _ => DiskError::Io,
            });
            if events.send(Event::Disk { op, result }).is_err() {
                return;
            }
        }
    })?;
    Ok(jobs)
}
