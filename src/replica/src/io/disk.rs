//! A data dir: its files by what they are, the commands that change it, what a boot finds, and why it may refuse.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use super::Rope;

/// The two directories of a data dir.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dir {
    /// `member/wal`
    Wal,
    /// `member/snap`
    Snap,
}

/// The files of a data dir, by what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// `member/wal/%016x-%016x.wal`: a segment.
    Wal {
        /// The segment's number, from 0.
        seq: u64,
        /// The first Raft index that it may hold.
        index: u64,
    },
    /// `member/wal.tmp/0000000000000000-0000000000000000.wal`: the first segment, while the log is being made. The
    /// whole directory gets the log's name then; here it is one file that does.
    WalFirst,
    /// `member/wal/%d.tmp`: the next segment, made ahead.
    WalTmp {
        /// 0 or 1.
        slot: u64,
    },
    /// `member/wal/%016x-%016x.wal.broken`: what a segment was before it was repaired.
    WalBroken {
        /// As of the segment.
        seq: u64,
        /// As of the segment.
        index: u64,
    },
    /// `member/snap/db`: the backend.
    Db,
    /// `member/snap/db.tmp.%d`: a backend being written anew.
    DbTmp {
        /// Counts up.
        number: u64,
    },
    /// `member/snap/%016x.snap.db`: a database received from another member.
    SnapDb {
        /// The snapshot's Raft index.
        index: u64,
    },
    /// `member/snap/%016x-%016x.snap`: Raft's snapshot metadata.
    Snap {
        /// The snapshot's term.
        term: u64,
        /// The snapshot's Raft index.
        index: u64,
    },
    /// `member/snap/%016x-%016x.snap.broken`: one that could not be read.
    SnapBroken {
        /// As of the file.
        term: u64,
        /// As of the file.
        index: u64,
    },
    /// `member/snap/tmp%d`: a database on its way from another member.
    SnapTmp {
        /// Counts up.
        number: u64,
    },
}

impl FileName {
    /// The directory it is in.
    pub fn dir(self) -> Dir {
        match self {
            Self::Wal { .. } | Self::WalFirst | Self::WalTmp { .. } | Self::WalBroken { .. } => Dir::Wal,
            Self::Db | Self::DbTmp { .. } | Self::SnapDb { .. } => Dir::Snap,
            Self::Snap { .. } | Self::SnapBroken { .. } | Self::SnapTmp { .. } => Dir::Snap,
        }
    }
}

impl fmt::Display for FileName {
    /// The path below the data dir, as etcd names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wal { seq, index } => write!(f, "member/wal/{seq:016x}-{index:016x}.wal"),
            Self::WalFirst => write!(f, "member/wal.tmp/{:016x}-{:016x}.wal", 0, 0),
            Self::WalTmp { slot } => write!(f, "member/wal/{slot}.tmp"),
            Self::WalBroken { seq, index } => write!(f, "member/wal/{seq:016x}-{index:016x}.wal.broken"),
            Self::Db => write!(f, "member/snap/db"),
            Self::DbTmp { number } => write!(f, "member/snap/db.tmp.{number}"),
            Self::SnapDb { index } => write!(f, "member/snap/{index:016x}.snap.db"),
            Self::Snap { term, index } => write!(f, "member/snap/{term:016x}-{index:016x}.snap"),
            Self::SnapBroken { term, index } => write!(f, "member/snap/{term:016x}-{index:016x}.snap.broken"),
            Self::SnapTmp { number } => write!(f, "member/snap/tmp{number}"),
        }
    }
}

/// A file operation. Without a `Sync` (and, for names, a `SyncDir`) none of them survives a crash for sure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskCommand {
    /// Make an empty file, or empty it.
    Create {
        /// The file.
        file: FileName,
    },
    /// Write at an offset; the file grows, with zeros in any gap.
    Write {
        /// The file.
        file: FileName,
        /// Where, in bytes.
        offset: u64,
        /// What.
        data: Rope,
    },
    /// `fdatasync`: everything written to the file so far, and its size, must last.
    Sync {
        /// The file.
        file: FileName,
    },
    /// `fsync`: the same, and the names in its directory as they are: etcd relies on what file systems with a journal
    /// do here, where POSIX promises nothing.
    Fsync {
        /// The file.
        file: FileName,
    },
    /// Set the length: cut off, or grow with zeros (`ftruncate`, preallocation).
    Truncate {
        /// The file.
        file: FileName,
        /// The new length in bytes.
        length: u64,
    },
    /// Rename; the target, if any, is replaced at once.
    Rename {
        /// The old name.
        from: FileName,
        /// The new name.
        to: FileName,
    },
    /// Delete.
    Remove {
        /// The file.
        file: FileName,
    },
    /// `fsync` of a directory: its names must last.
    SyncDir {
        /// The directory.
        dir: Dir,
    },
}

/// Why a disk command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskError {
    /// `EIO`
    Io,
    /// `ENOSPC`
    NoSpace,
}

/// A data dir as a booting member finds it: the content of each file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskImage {
    /// The files.
    pub files: BTreeMap<FileName, Rope>,
    /// Lengths of the files that are longer than their content here: the rest are zeros.
    pub lengths: BTreeMap<FileName, u64>,
}

impl DiskImage {
    /// What a file holds, in one piece of memory.
    pub fn bytes(&self, file: FileName) -> Option<Bytes> {
        self.files.get(&file).map(Rope::to_bytes)
    }

    /// How long a file is, in bytes.
    pub fn length(&self, file: FileName) -> Option<u64> {
        let content = self.files.get(&file)?.len() as u64;
        Some(self.lengths.get(&file).map_or(content, |length| content.max(*length)))
    }
}

/// Why a member refuses to start, in etcd's classes of error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BootError {
    /// A WAL segment cannot be read, and must not be repaired.
    Wal {
        /// The segment.
        file: FileName,
        /// Byte offset of the record.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// The backend cannot be read.
    Backend {
        /// What is wrong.
        reason: String,
    },
    /// A snapshot that is needed is missing or broken, or the files do not fit together.
    Snapshot {
        /// What is wrong.
        reason: String,
    },
    /// The configuration contradicts itself.
    Config {
        /// What is wrong.
        reason: String,
    },
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wal { file, offset, reason } => write!(f, "{file} at byte {offset}: {reason}"),
            Self::Backend { reason } => write!(f, "member/snap/db: {reason}"),
            Self::Snapshot { reason } | Self::Config { reason } => f.write_str(reason),
        }
    }
}
