//! What a disk can be made to do wrong, and to which files.
//!
//! Failures are armed ahead: the k-th command of a kind on a kind of file fails, once. Nothing here knows who arms
//! them, nor what a replica makes of them.

use detcd_replica::{Dir, DiskCommand, DiskError, FileName};
use serde::{Deserialize, Serialize};

use super::file::Haunts;

/// The files of a data dir, by what they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// Segments of the WAL, made, in use or set aside.
    Wal,
    /// The database, and one being written anew.
    Db,
    /// Raft's snapshot metadata.
    Snap,
    /// Databases received from other members.
    SnapDb,
}

impl FileKind {
    /// Every kind there is.
    pub const ALL: [Self; 4] = [Self::Wal, Self::Db, Self::Snap, Self::SnapDb];

    /// The kind of a file.
    pub fn of(file: FileName) -> Self {
        match file {
            FileName::Wal { .. } | FileName::WalTmp { .. } | FileName::WalBroken { .. } => Self::Wal,
            FileName::Db | FileName::DbTmp { .. } => Self::Db,
            FileName::SnapDb { .. } => Self::SnapDb,
            FileName::Snap { .. } => Self::Snap,
        }
    }

    /// Its name in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wal => "wal",
            Self::Db => "db",
            Self::Snap => "snap",
            Self::SnapDb => "snap-db",
        }
    }

    fn dir(self) -> Dir {
        match self {
            Self::Wal => Dir::Wal,
            Self::Db | Self::Snap | Self::SnapDb => Dir::Snap,
        }
    }
}

/// Commands, by what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandKind {
    /// `Create`
    Create,
    /// `Write`
    Write,
    /// `Sync`
    Sync,
    /// `Truncate`
    Truncate,
    /// `Rename`
    Rename,
    /// `Remove`
    Remove,
    /// `SyncDir`
    SyncDir,
}

impl CommandKind {
    /// Every kind there is.
    pub const ALL: [Self; 7] =
        [Self::Create, Self::Write, Self::Sync, Self::Truncate, Self::Rename, Self::Remove, Self::SyncDir];

    /// The kind of a command.
    pub fn of(command: &DiskCommand) -> Self {
        match command {
            DiskCommand::Create { .. } => Self::Create,
            DiskCommand::Write { .. } => Self::Write,
            DiskCommand::Sync { .. } => Self::Sync,
            DiskCommand::Truncate { .. } => Self::Truncate,
            DiskCommand::Rename { .. } => Self::Rename,
            DiskCommand::Remove { .. } => Self::Remove,
            DiskCommand::SyncDir { .. } => Self::SyncDir,
        }
    }

    /// Its name in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Truncate => "truncate",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::SyncDir => "sync-dir",
        }
    }
}

/// Whether a command is about a file of this kind, or about the directory of such files. Everything is of no kind.
pub fn concerns(command: &DiskCommand, kind: Option<FileKind>) -> bool {
    let Some(kind) = kind else { return true };
    match command {
        DiskCommand::Create { file }
        | DiskCommand::Write { file, .. }
        | DiskCommand::Sync { file }
        | DiskCommand::Truncate { file, .. }
        | DiskCommand::Remove { file } => FileKind::of(*file) == kind,
        DiskCommand::Rename { to, .. } => FileKind::of(*to) == kind,
        DiskCommand::SyncDir { dir } => kind.dir() == *dir,
    }
}

/// What a failed sync leaves behind (cuttlefs; Rebello et al., ATC 2020). Of a directory, names stay as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncFailure {
    /// The pages stay dirty: a later sync may still write them.
    Dirty,
    /// The pages are called clean: the cache shows the new content until power fails, and the disk never gets it (ext4
    /// with ordered data, XFS).
    Clean,
    /// The same, and the cache drops them when the process ends.
    Evicted,
    /// The cache shows the old content at once (Btrfs).
    Reverted,
    /// This sync succeeds and leaves what `Clean` leaves; the next one of the file fails, and writes nothing (ext4 with
    /// journalled data).
    Late,
}

impl SyncFailure {
    /// Every mode there is.
    pub const ALL: [Self; 5] = [Self::Dirty, Self::Clean, Self::Evicted, Self::Reverted, Self::Late];

    /// Its name in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dirty => "dirty",
            Self::Clean => "clean",
            Self::Evicted => "evicted",
            Self::Reverted => "reverted",
            Self::Late => "late",
        }
    }

    /// Whether a member that ends on a failed sync, as etcd does, has lost nothing that it promised.
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Dirty | Self::Evicted | Self::Reverted)
    }

    pub(super) fn haunts(self) -> Haunts {
        match self {
            Self::Evicted => Haunts::UntilExit,
            _ => Haunts::UntilPowerFails,
        }
    }
}

/// A failure to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// A write fails with `EIO`; nothing of it is written.
    Write,
    /// A sync fails with `EIO`, or is the first that should have.
    Sync(SyncFailure),
    /// A write is reported done and seen by whoever reads, and never reaches the disk.
    Lost,
    /// The same, and it reaches the disk at another place of the file, over what is there.
    Misdirected,
}

impl Failure {
    fn strikes(self, command: &DiskCommand) -> bool {
        match self {
            Self::Write | Self::Lost | Self::Misdirected => matches!(command, DiskCommand::Write { .. }),
            Self::Sync(_) => matches!(command, DiskCommand::Sync { .. } | DiskCommand::SyncDir { .. }),
        }
    }
}

/// Failures to come, and the room that is left.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures {
    armed: Vec<Armed>,
    /// Bytes by which files may still grow, while the disk is nearly full.
    room: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Armed {
    token: usize,
    failure: Failure,
    kind: Option<FileKind>,
    left: u64,
}

impl Failures {
    pub(super) fn arm(&mut self, token: usize, failure: Failure, kind: Option<FileKind>, nth: u64) {
        self.armed.push(Armed { token, failure, kind, left: nth.max(1) });
    }

    pub(super) fn disarm(&mut self, token: usize) {
        self.armed.retain(|armed| armed.token != token);
    }

    pub(super) fn set_room(&mut self, room: Option<u64>) {
        self.room = room;
    }

    /// What this command meets: each armed failure counts it, and the first whose turn it is strikes.
    pub(super) fn meet(&mut self, command: &DiskCommand) -> Option<Failure> {
        let mut met = None;
        self.armed.retain_mut(|armed| {
            if met.is_none() && armed.failure.strikes(command) && concerns(command, armed.kind) {
                armed.left -= 1;
                if armed.left == 0 {
                    met = Some(armed.failure);
                }
            }
            armed.left > 0
        });
        met
    }

    /// Takes room for a file that grows.
    pub(super) fn grow(&mut self, from: u64, to: u64) -> Result<(), DiskError> {
        if let Some(room) = &mut self.room {
            *room = room.checked_sub(to.saturating_sub(from)).ok_or(DiskError::NoSpace)?;
        }
        Ok(())
    }

    /// A file shrank, or is gone.
    pub(super) fn free(&mut self, bytes: u64) {
        if let Some(room) = &mut self.room {
            *room += bytes;
        }
    }
}
