//! The lines of etcd's releases, where a member does not do the same in all of them.

use crate::membership::Version;

/// A line of releases. What is newest in each is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Release {
    /// 3.4
    V3_4,
    /// 3.5
    V3_5,
    /// 3.6
    #[default]
    V3_6,
    /// The main branch, which will be 3.8.
    Main,
}

impl Release {
    /// Every line there is, oldest first.
    pub const ALL: [Self; 4] = [Self::V3_4, Self::V3_5, Self::V3_6, Self::Main];

    /// Its name in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Self::V3_4 => "3.4",
            Self::V3_5 => "3.5",
            Self::V3_6 => "3.6",
            Self::Main => "main",
        }
    }

    /// By name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|release| release.name() == text)
    }

    /// The newest version of the line.
    pub fn version(self) -> Version {
        let (minor, patch) = match self {
            Self::V3_4 => (4, 44),
            Self::V3_5 => (5, 33),
            Self::V3_6 => (6, 14),
            Self::Main => (8, 0),
        };
        Version { major: 3, minor, patch }
    }

    /// Whether members publish themselves, and the cluster's version, through the old API, whose store is the one that
    /// counts; later it is the backend.
    pub fn speaks_old_api(self) -> bool {
        self <= Self::V3_5
    }

    /// Whether a snapshot is a `.snap` file with the members in it, and its WAL record only says that the file counts;
    /// later the record is all there is.
    pub fn writes_snap_files(self) -> bool {
        self <= Self::V3_6
    }

    /// Whether the apply loop waits for the snapshot that it has begun to make.
    pub fn snapshots_while_applying(self) -> bool {
        self >= Self::V3_6
    }

    /// Whether the Raft log is compacted between snapshots, every so many applied entries, and not only with them.
    pub fn compacts_between_snapshots(self) -> bool {
        self >= Self::V3_6
    }

    /// Whether a WAL record that is longer than its segment is damage; later it counts as torn.
    pub fn is_strict_about_lengths(self) -> bool {
        self == Self::V3_4
    }
}
