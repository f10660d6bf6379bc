//! Faults: what goes wrong, whom it hits, from when until when, and how much.
//!
//! A [`Plan`] is plain data, drawn from a seed ([`Plan::draw`]) or written in a scenario. The world obeys it; roles
//! such as [`Target::Leader`] are resolved when an episode starts. Nothing here knows how a fault is done.

mod plan;

use std::fmt;

use detcd_replica::time::Span;
use detcd_replica::{Failpoint, MemberId};
use serde::{Deserialize, Serialize};

use crate::disk::{CommandKind, FileKind, SyncFailure};
use crate::scenario::span::Time;

pub use plan::Plan;

/// The kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The targets lose power at `from` and boot at `until` from what their disks kept. A target that is down already
    /// stays down until the last such episode ends.
    Crash,
    /// The same for all members at once (no targets) or a majority of them.
    PowerLoss,
    /// The targets stop at `from` and go on at `until` as if nothing had happened (SIGSTOP): inputs wait.
    Pause,
    /// Targets and the rest cannot reach each other; each side is whole.
    PartitionSymmetric,
    /// What the targets send to the rest is lost; the way back works.
    PartitionOneWay,
    /// No target reaches anyone, nor another target.
    PartitionIsolate,
    /// Each member reaches its two neighbours in the order of ids; of fewer than four, the first and last are cut
    /// from each other. No targets.
    PartitionRing,
    /// Messages from and to the targets are lost. Magnitude: per million.
    Loss,
    /// Messages from and to the targets arrive twice. Magnitude: per million.
    Duplicate,
    /// Messages from and to the targets are overtaken. Magnitude: per million.
    Reorder,
    /// Messages from and to the targets take longer. Magnitude: nanoseconds more, at most.
    Delay,
    /// The targets' disks end no command until `until`.
    DiskStall,
    /// The targets' disks are slower. Magnitude: percent of the usual time, 100 is unchanged.
    DiskSlow,
    /// The targets' wall clocks are off. Magnitude: nanoseconds, signed.
    ClockOffset,
    /// The targets' clocks run at another rate. Magnitude: per million, signed.
    ClockDrift,
    /// The targets' wall clocks jump at `from`, and back at `until`. Magnitude: nanoseconds, signed.
    ClockStep,
    /// The target crashes when it passes `failpoint` for the time that magnitude says (1 is the first) after `from`,
    /// and boots at `until`. Disarmed at `until`.
    FailpointCrash,
    /// The target crashes before the disk command that magnitude says (1 is the next) after `from`, counting those of
    /// the kind `command` on files of the kind `file`, and boots a little later. Disarmed at `until`.
    CrashAtCommand,
    /// The target crashes right after it has sent the message to a member that magnitude says (1 is the next) after
    /// `from`, and boots a little later. Disarmed at `until`.
    CrashAtSend,
    /// A write to a `file` of the targets fails with EIO: the one that magnitude says (1 is the next) after `from`.
    DiskWriteError,
    /// The targets crash at `from`, and until `until` no `file` of theirs can be read: they refuse to start.
    DiskReadError,
    /// The targets' disks have room for magnitude more bytes until `until`. What makes a file grow beyond that fails
    /// with ENOSPC, preallocation too; shorter and removed files give room.
    DiskFull,
    /// A sync of a `file` of the targets fails: the one that magnitude says (1 is the next) after `from`. `mode` is
    /// what it leaves behind.
    DiskSyncError,
    /// Until `until`, syncs of each `file` of the targets succeed and make nothing last. Promises may break.
    LyingSync,
    /// A write to a `file` of the targets is reported done and synced, and never reaches the disk: the one that
    /// magnitude says (1 is the next) after `from`. Promises break when power fails.
    LostWrite,
    /// The same, and it overwrites another place of the file. Promises break.
    MisdirectedWrite,
    /// Bits flip in one durable sector of a `file` of the targets. Magnitude: how many. Promises break.
    BitRot,
    /// Durable sectors in a row of a `file` of the targets are zeros from then on. Magnitude: how many. Promises break.
    SectorLoss,
    /// A durable record in the last segment of the targets' WAL is damaged as `record` says. Magnitude: which, counted
    /// from the last, which is 1. Promises break.
    RecordDamage,
    /// One byte of a durable value in the targets' databases is another one: nothing on a page tells. Magnitude: whose,
    /// counted from the newest revision, which is 1. Promises break.
    ValueDamage,
    /// The targets' disks fail for good at `from`, with all that was on them. At `until` the operator begins to remove
    /// each from the cluster and to add a new member with an empty disk in its place.
    DiskFailure,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 31] = [
        Self::Crash,
        Self::PowerLoss,
        Self::Pause,
        Self::PartitionSymmetric,
        Self::PartitionOneWay,
        Self::PartitionIsolate,
        Self::PartitionRing,
        Self::Loss,
        Self::Duplicate,
        Self::Reorder,
        Self::Delay,
        Self::DiskStall,
        Self::DiskSlow,
        Self::ClockOffset,
        Self::ClockDrift,
        Self::ClockStep,
        Self::FailpointCrash,
        Self::CrashAtCommand,
        Self::CrashAtSend,
        Self::DiskWriteError,
        Self::DiskReadError,
        Self::DiskFull,
        Self::DiskSyncError,
        Self::LyingSync,
        Self::LostWrite,
        Self::MisdirectedWrite,
        Self::BitRot,
        Self::SectorLoss,
        Self::RecordDamage,
        Self::ValueDamage,
        Self::DiskFailure,
    ];

    /// Its name, in scenarios and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::PowerLoss => "power-loss",
            Self::Pause => "pause",
            Self::PartitionSymmetric => "partition-symmetric",
            Self::PartitionOneWay => "partition-one-way",
            Self::PartitionIsolate => "partition-isolate",
            Self::PartitionRing => "partition-ring",
            Self::Loss => "loss",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Delay => "delay",
            Self::DiskStall => "disk-stall",
            Self::DiskSlow => "disk-slow",
            Self::ClockOffset => "clock-offset",
            Self::ClockDrift => "clock-drift",
            Self::ClockStep => "clock-step",
            Self::FailpointCrash => "failpoint-crash",
            Self::CrashAtCommand => "crash-at-command",
            Self::CrashAtSend => "crash-at-send",
            Self::DiskWriteError => "disk-write-error",
            Self::DiskReadError => "disk-read-error",
            Self::DiskFull => "disk-full",
            Self::DiskSyncError => "disk-sync-error",
            Self::LyingSync => "lying-sync",
            Self::LostWrite => "lost-write",
            Self::MisdirectedWrite => "misdirected-write",
            Self::BitRot => "bit-rot",
            Self::SectorLoss => "sector-loss",
            Self::RecordDamage => "record-damage",
            Self::ValueDamage => "value-damage",
            Self::DiskFailure => "disk-failure",
        }
    }

    /// Whether it takes its targets out, so that the budget counts them.
    pub fn takes_out(self) -> bool {
        matches!(
            self,
            Self::Crash
                | Self::Pause
                | Self::FailpointCrash
                | Self::CrashAtCommand
                | Self::CrashAtSend
                | Self::DiskWriteError
                | Self::DiskReadError
                | Self::DiskFull
                | Self::DiskSyncError
        )
    }

    /// Whether a disk may break a promise by it, which Raft cannot survive for sure; etcd silently accepts some of it.
    /// A swarm never draws these: they are for scenarios that name them. Drawn ones hit the same minority all the time.
    pub fn breaks_promises(self) -> bool {
        matches!(
            self,
            Self::LyingSync
                | Self::LostWrite
                | Self::MisdirectedWrite
                | Self::BitRot
                | Self::SectorLoss
                | Self::RecordDamage
                | Self::ValueDamage
                | Self::DiskFailure
        )
    }

    /// Whether its magnitude counts: commands, messages, records, values, bits or sectors, from 1.
    fn counts(self) -> bool {
        matches!(
            self,
            Self::FailpointCrash
                | Self::CrashAtCommand
                | Self::CrashAtSend
                | Self::DiskWriteError
                | Self::DiskSyncError
                | Self::LostWrite
                | Self::MisdirectedWrite
                | Self::BitRot
                | Self::SectorLoss
                | Self::RecordDamage
                | Self::ValueDamage
        )
    }

    /// Whether it may be limited to a kind of file.
    fn takes_file(self) -> bool {
        matches!(
            self,
            Self::CrashAtCommand
                | Self::DiskWriteError
                | Self::DiskReadError
                | Self::DiskSyncError
                | Self::LyingSync
                | Self::LostWrite
                | Self::MisdirectedWrite
                | Self::BitRot
                | Self::SectorLoss
        )
    }

    /// Whether it is about more than one member, and means nothing in a cluster of one.
    pub fn needs_peers(self) -> bool {
        matches!(
            self,
            Self::PartitionSymmetric
                | Self::PartitionOneWay
                | Self::PartitionIsolate
                | Self::PartitionRing
                | Self::Loss
                | Self::Duplicate
                | Self::Reorder
                | Self::Delay
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whom an episode hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// This member.
    Member(MemberId),
    /// Whoever leads when the episode starts; nobody when nobody does.
    Leader,
    /// A member that follows when the episode starts, the world's choice.
    Follower,
    /// Any member, the world's choice.
    Any,
}

impl Target {
    /// Reads `n1`, `leader`, `follower` or `any`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "leader" => Some(Self::Leader),
            "follower" => Some(Self::Follower),
            "any" => Some(Self::Any),
            _ => {
                let id: u64 = text.strip_prefix('n')?.parse().ok()?;
                (id > 0).then_some(Self::Member(MemberId(id)))
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(member) => member.fmt(f),
            Self::Leader => f.write_str("leader"),
            Self::Follower => f.write_str("follower"),
            Self::Any => f.write_str("any"),
        }
    }
}

/// What happens to a record of the WAL at rest. Its checksum covers its data, and neither its length nor its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordDamage {
    /// The eight bytes of its length are zeros.
    NoLength,
    /// The highest bit of its length is flipped.
    HighBit,
    /// It is so much longer that it ends in the zeros behind the log.
    TooLong,
    /// A bit of its data is flipped, in the middle.
    Data,
}

impl RecordDamage {
    /// Every kind there is.
    pub const ALL: [Self; 4] = [Self::NoLength, Self::HighBit, Self::TooLong, Self::Data];

    /// Its name in scenarios.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoLength => "no-length",
            Self::HighBit => "high-bit",
            Self::TooLong => "too-long",
            Self::Data => "data",
        }
    }
}

/// What an episode is about, beside its targets: all optional, each meant by certain kinds only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aim {
    /// Files of this kind; none is all.
    pub file: Option<FileKind>,
    /// Disk commands of this kind; none is all.
    pub command: Option<CommandKind>,
    /// What a failed sync leaves behind.
    pub mode: Option<SyncFailure>,
    /// What happens to a record.
    pub record: Option<RecordDamage>,
}

/// One fault, from its start to its end. Times are of the world, since the safety act began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// What.
    pub kind: Kind,
    /// Whom. Empty: all members, where the kind allows it.
    pub targets: Vec<Target>,
    /// From when.
    pub from: Span,
    /// Until when, later than `from`.
    pub until: Span,
    /// How much, in the unit that [`Kind`] says; 0 where the kind has none.
    pub magnitude: i64,
    /// Where, for a crash at a failpoint.
    pub failpoint: Option<Failpoint>,
    /// What of a disk it is about.
    pub aim: Aim,
}

impl fmt::Display for Episode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}..{}", self.kind, self.from, self.until)?;
        for target in &self.targets {
            write!(f, " {target}")?;
        }
        if self.magnitude != 0 {
            write!(f, " {}", self.magnitude)?;
        }
        let Aim { file, command, mode, record } = self.aim;
        let words = [
            command.map(CommandKind::name),
            file.map(FileKind::name),
            mode.map(SyncFailure::name),
            record.map(RecordDamage::name),
        ];
        words.into_iter().flatten().try_for_each(|word| write!(f, " {word}"))?;
        self.failpoint.map_or(Ok(()), |point| write!(f, " at {}", point.name()))
    }
}

/// An episode as a scenario writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpisodeSpec {
    /// What.
    pub kind: Kind,
    /// Whom: `n1`, `leader`, `follower` or `any`.
    #[serde(default)]
    pub targets: Vec<String>,
    /// From when, since the safety act began.
    pub from: Time,
    /// Until when.
    pub until: Time,
    /// How much, in the unit that [`Kind`] says.
    #[serde(default)]
    pub magnitude: i64,
    /// Where, for `failpoint-crash`: etcd's gofail name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failpoint: Option<String>,
    /// Which files, for faults of a disk: `wal`, `db`, `snap` or `snap-db`; all when it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileKind>,
    /// Which commands, for `crash-at-command`: `create`, `write`, `sync`, `truncate`, `rename`, `remove` or `sync-dir`;
    /// all when it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<CommandKind>,
    /// What is left, for `disk-sync-error`: `dirty`, `clean`, `evicted`, `reverted` or `late`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<SyncFailure>,
    /// What happens, for `record-damage`: `no-length`, `high-bit`, `too-long` or `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordDamage>,
}

impl EpisodeSpec {
    /// The episode, for a cluster of so many members.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn resolve(&self, members: u64) -> Result<Episode, String> {
        let mut targets = Vec::with_capacity(self.targets.len());
        for text in &self.targets {
            match Target::parse(text) {
                Some(Target::Member(member)) if member.0 > members => {
                    return Err(format!("there is no member {member}"))
                }
                Some(target) => targets.push(target),
                None => return Err(format!("`{text}` is no target: n1, leader, follower or any")),
            }
        }
        if self.until <= self.from {
            return Err("`until` must be later than `from`".to_owned());
        }
        let ok = match self.kind {
            Kind::Loss | Kind::Duplicate | Kind::Reorder => (0..=1_000_000).contains(&self.magnitude),
            Kind::Delay => self.magnitude > 0,
            Kind::DiskSlow => self.magnitude >= 100,
            Kind::ClockDrift => (-500_000..=500_000).contains(&self.magnitude),
            Kind::DiskFull => self.magnitude >= 0,
            kind if kind.counts() => (1..=1 << 20).contains(&self.magnitude),
            _ => true,
        };
        if !ok {
            return Err(format!("a magnitude of {} makes no sense for {}", self.magnitude, self.kind));
        }
        let failpoint = match &self.failpoint {
            None if self.kind == Kind::FailpointCrash => return Err("`failpoint` is missing".to_owned()),
            None => None,
            Some(name) => Some(failpoint(name).ok_or_else(|| format!("there is no failpoint `{name}`"))?),
        };
        let needs = !matches!(self.kind, Kind::PowerLoss | Kind::PartitionRing);
        if needs && targets.is_empty() {
            return Err(format!("{} needs targets", self.kind));
        }
        let aim = self.aim()?;
        let (from, until) = (self.from.0, self.until.0);
        Ok(Episode { kind: self.kind, targets, from, until, magnitude: self.magnitude, failpoint, aim })
    }

    fn aim(&self) -> Result<Aim, String> {
        let Self { kind, file, command, mode, record, .. } = *self;
        let pointless = |name: &str| Err(format!("`{name}` means nothing for {kind}"));
        match kind {
            kind if file.is_some() && !kind.takes_file() => pointless("file"),
            kind if command.is_some() && kind != Kind::CrashAtCommand => pointless("command"),
            Kind::DiskSyncError if mode.is_none() => Err("`mode` is missing".to_owned()),
            kind if mode.is_some() && kind != Kind::DiskSyncError => pointless("mode"),
            Kind::RecordDamage if record.is_none() => Err("`record` is missing".to_owned()),
            kind if record.is_some() && kind != Kind::RecordDamage => pointless("record"),
            _ => Ok(Aim { file, command, mode, record }),
        }
    }
}

/// A failpoint by its gofail name.
pub(crate) fn failpoint(name: &str) -> Option<Failpoint> {
    Failpoint::ALL.into_iter().find(|point| point.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_they_are_written() {
        for text in ["n1", "n7", "leader", "follower", "any"] {
            assert_eq!(Target::parse(text).map(|target| target.to_string()).as_deref(), Some(text));
        }
        for text in ["", "n", "n0", "m1", "Leader", "n1 "] {
            assert_eq!(Target::parse(text), None, "{text}");
        }
    }

    #[test]
    fn names_are_those_that_scenarios_write() {
        for kind in Kind::ALL {
            assert_eq!(toml_name(&kind), kind.name());
        }
        FileKind::ALL.iter().for_each(|file| assert_eq!(toml_name(file), file.name()));
        CommandKind::ALL.iter().for_each(|command| assert_eq!(toml_name(command), command.name()));
        SyncFailure::ALL.iter().for_each(|mode| assert_eq!(toml_name(mode), mode.name()));
        RecordDamage::ALL.iter().for_each(|record| assert_eq!(toml_name(record), record.name()));
    }

    fn toml_name(name: &impl Serialize) -> String {
        struct Written<'a, T>(&'a T);
        impl<T: Serialize> fmt::Display for Written<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.serialize(f)
            }
        }
        Written(name).to_string()
    }

    #[test]
    fn a_written_episode_that_makes_no_sense_is_refused() {
        let good = EpisodeSpec {
            kind: Kind::FailpointCrash,
            targets: vec!["leader".into()],
            from: Time::millis(1),
            until: Time::millis(2),
            magnitude: 1,
            failpoint: Some("walBeforeSync".into()),
            file: None,
            command: None,
            mode: None,
            record: None,
        };
        let resolved = good.resolve(3).expect("it makes sense");
        assert_eq!(resolved.to_string(), "failpoint-crash 1ms..2ms leader 1 at walBeforeSync");
        let cases = [
            EpisodeSpec { until: Time::millis(1), ..good.clone() },
            EpisodeSpec { targets: vec!["n4".into()], ..good.clone() },
            EpisodeSpec { targets: vec!["x".into()], ..good.clone() },
            EpisodeSpec { targets: vec![], ..good.clone() },
            EpisodeSpec { failpoint: None, ..good.clone() },
            EpisodeSpec { failpoint: Some("x".into()), ..good.clone() },
            EpisodeSpec { magnitude: 0, ..good.clone() },
            EpisodeSpec { kind: Kind::Loss, magnitude: 2_000_000, ..good.clone() },
            EpisodeSpec { kind: Kind::DiskSlow, magnitude: 10, ..good.clone() },
            EpisodeSpec { kind: Kind::DiskSyncError, ..good.clone() },
            EpisodeSpec { kind: Kind::RecordDamage, ..good.clone() },
            EpisodeSpec { kind: Kind::Crash, file: Some(FileKind::Db), ..good.clone() },
            EpisodeSpec { kind: Kind::DiskWriteError, command: Some(CommandKind::Write), ..good.clone() },
            EpisodeSpec { kind: Kind::BitRot, magnitude: 0, ..good },
        ];
        for case in cases {
            assert!(case.resolve(3).is_err(), "{case:?}");
        }
    }
}
