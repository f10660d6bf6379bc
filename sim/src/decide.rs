//! Labelled decisions: everything left to chance is asked for by name.
//!
//! A [`Decider`] gives for each *(site, subject, ordinal)* one raw number, a function of the seed and that label only:
//! ChaCha8 with the seed as its key, the hash of site name and subject as its stream, the ordinal as the position in
//! it. So to remove one fault, or to add a site, moves no other draw. The ordinal of a label is counted here, per
//! site and subject; a draw whose outcome is certain (a ratio of zero) still takes its number.
//!
//! An override names a label and gives its raw number; zero is the **neutral** value of every distribution (no fault,
//! no skew, least delay, first in order). A whole site can be made neutral too; an override wins over that.
//!
//! This file does not know what the numbers are for.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rand_chacha::rand_core::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::chance::Lately;
use crate::distribution::Distribution;

macro_rules! sites {
    ($($variant:ident, $name:literal, $sentence:literal;)*) => {
        /// A place in the program where chance decides. Values depend on the name, never on the order of this list.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Site {
            $(#[doc = $sentence] $variant,)*
        }

        impl Site {
            /// Every site there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in labels.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence on what it decides.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }
        }
    };
}

sites! {
    AppendList, "append.list", "Which list an operation of a transaction is about.";
    AppendRead, "append.read", "Whether it only reads the list.";
    AppendSize, "append.size", "How many operations a transaction has.";
    AppendStale, "append.stale", "Whether the lists that it will append to may be read from one member alone.";
    AuthAdminister, "auth.administer", "Which request about users and roles a client makes.";
    AuthAttach, "auth.attach", "Whether a put inside a transaction is attached to a lease.";
    AuthCompare, "auth.compare", "Whether a transaction compares another key than it puts.";
    AuthElsewhere, "auth.elsewhere", "Whether a key may be outside of the quarter that its client likes.";
    AuthForget, "auth.forget", "Whether a client forgets its token.";
    AuthLease, "auth.lease", "Which of the leases known a request is about.";
    AuthLookInside, "auth.look_inside", "Whether a nested transaction only looks at a key.";
    AuthMaintenance, "auth.maintenance", "Which question about members a client asks.";
    AuthPrev, "auth.prev", "Whether a delete asks for what was there.";
    AuthRange, "auth.range", "Which range of keys a request is about.";
    AuthRead, "auth.read", "Whether a transaction looks at a key beside its put.";
    AuthRole, "auth.role", "Which role the administrator changes or grants.";
    AuthSerializable, "auth.serializable", "Whether a read may be stale.";
    AuthSpan, "auth.span", "Which range of keys a permission is for.";
    AuthStep, "auth.step", "What the administrator of users and roles does next.";
    AuthUser, "auth.user", "Which user the administrator changes.";
    AuthWhich, "auth.which", "Which access a permission gives, or which password a user gets.";
    NetBase, "net.base", "How long the shortest trip between two nodes takes, for the whole run.";
    NetAsymmetry, "net.asymmetry", "How much longer the trip is one way than the other.";
    NetDelay, "net.delay", "By how much a message is later than the shortest trip.";
    NetExtra, "net.extra", "By how much a delay fault holds a message up.";
    NetLoss, "net.loss", "Whether a message, or on a stream one of its packets, is lost.";
    NetRetransmit, "net.retransmit", "Whether a packet that is sent again is lost again.";
    NetDuplicate, "net.duplicate", "Whether a message arrives twice, and how much later the second time.";
    NetReorder, "net.reorder", "Whether a message is held back so that later ones overtake it, and how long.";
    NetTail, "net.tail", "Whether a message meets a full switch buffer, and how long it waits there.";
    DiskSync, "disk.sync", "How long the device takes for one sync.";
    DiskBarrier, "disk.barrier", "Whether a sync must wait for all that the device has in its cache.";
    DiskStall, "disk.stall", "When the device next stands still, and how long.";
    DiskDegrade, "disk.degrade", "When the device next becomes slow, how long, and how slow.";
    DiskCrash, "disk.crash", "What kind of loss a power failure brings: none, all, by sector, the last write torn.";
    DiskCrashSector, "disk.crash.sector", "How many of the latest unsynced writes to a sector a power failure takes.";
    DiskCrashLength, "disk.crash.length", "How many of the latest unsynced changes of a file's length are lost.";
    DiskCrashNames, "disk.crash.names", "Which unsynced creations, renames and removals are lost in a power failure.";
    DiskDamage, "disk.damage", "Which file (the newest is neutral), which sector (none is) and which bits damage hits.";
    DiskMisdirect, "disk.misdirect", "By how many sectors a misdirected write misses; none is neutral.";
    ClockOffset, "clock.offset", "How far a node's wall clock is off.";
    ClockDrift, "clock.drift", "How much faster or slower a node's clocks run.";
    SchedTask, "sched.task", "How soon after it became runnable a goroutine of a member really runs.";
    TickPhase, "sched.tick_phase", "Where in its interval a member's Raft ticker starts.";
    ElectionTimeout, "raft.election_timeout", "A member's randomised election timeout after each reset.";
    ClientDelay, "client.delay", "How long a request or an answer is on its way between a client and a member.";
    ClientThink, "client.think", "How long a client pauses before its next operation.";
    ClientBackoff, "client.backoff", "How much longer than usual a client waits before it tries again.";
    WatchFilter, "watch.filter", "Whether a watch leaves puts or deletes out.";
    WatchRange, "watch.range", "What a watch is of.";
    WatchBackoff, "watch.backoff", "How much longer than usual a watching client waits before it connects again.";
    WatchConsume, "watch.consume", "How long a watching client takes before it grants more responses.";
    WatchProgress, "watch.progress", "When a watching client next asks for progress.";
    WatchRestart, "watch.restart", "When a watching client starts afresh at another revision.";
    WatchOffset, "watch.offset", "How far from the last revision it saw it does.";
    FaultResolve, "fault.resolve", "Which member a role stands for when an episode begins.";
    FaultRetention, "fault.retention", "How much a crash leaves of what was not synced.";
    ChurnMoveLeader, "churn.move_leader", "Whether the operator moves leadership instead.";
    ChurnTarget, "churn.target", "To whom.";
    ClusterMembers, "cluster.members", "How many members there are.";
    CompactionPhysical, "compaction.physical", "Whether a compaction waits until it is physically done.";
    CompactionRevision, "compaction.revision", "At which revision the compacting client compacts.";
    FaultCommand, "fault.command", "Before what kind of disk command a member crashes; any is neutral.";
    FaultFailpoint, "fault.failpoint", "At which failpoint a member crashes.";
    FaultFile, "fault.file", "Which kind of file a disk fault hits; any is neutral.";
    FaultHit, "fault.hit", "At which pass of the failpoint, or which command.";
    FaultKind, "fault.kind", "What kind an episode is of.";
    FaultLength, "fault.length", "How long an episode lasts.";
    FaultMagnitude, "fault.magnitude", "How strong an episode is.";
    FaultMode, "fault.mode", "What a failed sync leaves behind.";
    FaultPresent, "fault.present", "Whether a slot of the plan holds an episode.";
    FaultRole, "fault.role", "Whether an episode hits a certain member, or one by its role.";
    FaultSign, "fault.sign", "In which direction a clock is off.";
    FaultStart, "fault.start", "When an episode begins.";
    FaultTarget, "fault.target", "Which member an episode hits.";
    FaultTargets, "fault.targets", "How many members an episode hits.";
    ElectionAgain, "election.again", "Whether a leader that has resigned runs again in the same session.";
    ElectionDoze, "election.doze", "Whether a candidate keeps its session alive while it waits.";
    ElectionProclaims, "election.proclaims", "How often a leader proclaims.";
    ElectionWhich, "election.which", "Which election a client is about.";
    LeaseAnother, "lease.another", "Whether a client's request is about another client's lease.";
    LeaseDoze, "lease.doze", "Whether a client now keeps no lease alive for a while.";
    LeaseKeys, "lease.keys", "Whether a question about a lease is about its keys, too.";
    LeaseLeftAlone, "lease.left_alone", "Whether a lease is never kept alive by its client.";
    LeasePlace, "lease.place", "Which of the leases that a client knows its request is about.";
    LeaseTooLong, "lease.too_long", "Whether a lease is asked for that would live too long.";
    LeaseTtl, "lease.ttl", "How long a lease is to live.";
    LeaseUnnamed, "lease.unnamed", "Whether the member shall choose a lease's id.";
    LockDoze, "lock.doze", "Whether a client keeps its session alive while it waits for a lock.";
    LockWhich, "lock.which", "Which lock a client wants.";
    LockWrites, "lock.writes", "How much it writes under the lock.";
    NestedAnother, "nested.another", "Whether a transaction may write a key twice.";
    NestedBranch, "nested.branch", "How many operations a branch of a transaction has.";
    NestedCompare, "nested.compare", "How many compares a transaction has.";
    NestedInside, "nested.inside", "Whether an operation of a transaction is another transaction.";
    NestedKeep, "nested.keep", "What a put keeps of what is there.";
    NestedKnown, "nested.known", "Whether a compare holds by what its client knows.";
    NestedLease, "nested.lease", "Which lease a put attaches, or a request is about.";
    NestedLong, "nested.long", "Whether a transaction has more operations than it may have.";
    NestedOp, "nested.op", "What an operation of a transaction is.";
    NestedOrder, "nested.order", "In which order, by what and how many of its keys a read wants.";
    NestedPast, "nested.past", "Whether a read in a transaction is of the past or the future, and of which revision.";
    NestedRange, "nested.range", "Whether a compare or an operation is about a range of keys.";
    NestedResult, "nested.result", "How a compare compares.";
    NestedTarget, "nested.target", "What a compare compares.";
    QuotaHasty, "quota.hasty", "Whether the administrator takes an alarm back before there is room.";
    QuotaMember, "quota.member", "Whose alarm that is.";
    SwarmApplyBatch, "swarm.apply_batch", "Entries that the apply loop takes in one run.";
    SwarmBackendInterval, "swarm.backend_interval", "Time between backend commits.";
    SwarmBackendLimit, "swarm.backend_limit", "Pending operations that force a backend commit.";
    SwarmCatchUp, "swarm.catch_up", "Entries kept behind a snapshot.";
    SwarmChunk, "swarm.chunk", "Bytes of a database that are sent at once.";
    SwarmChunkInterval, "swarm.chunk_interval", "Time between parts of a database.";
    SwarmClients, "swarm.clients", "How many clients there are.";
    SwarmCompaction, "swarm.compaction", "How often a client compacts.";
    SwarmCompactionBatch, "swarm.compaction_batch", "Keys in one batch of a compaction.";
    SwarmConsumeDelay, "swarm.consume_delay", "How slow watching clients are.";
    SwarmDefragment, "swarm.defragment", "How often a client defragments.";
    SwarmDisk, "swarm.disk", "Which disks the members have.";
    SwarmDrift, "swarm.drift", "How much the members' clocks drift.";
    SwarmDuplicate, "swarm.duplicate", "How many messages arrive twice at all times.";
    SwarmDuration, "swarm.duration", "How long episodes last.";
    SwarmEpisodes, "swarm.episodes", "How many slots the plan of faults has.";
    SwarmInflight, "swarm.inflight", "Append messages on their way to one follower.";
    SwarmKeys, "swarm.keys", "How many keys are in use.";
    SwarmKind, "swarm.kind", "Whether a kind of fault is part of the run.";
    SwarmLoss, "swarm.loss", "How many messages are lost at all times.";
    SwarmMembers, "swarm.members", "How many members the cluster has.";
    SwarmMemorySnapshots, "swarm.memory_snapshots", "Entries between compactions of the Raft log.";
    SwarmMessageSize, "swarm.message_size", "The largest append message.";
    SwarmNetwork, "swarm.network", "Which network lies between the members.";
    SwarmOperations, "swarm.operations", "How many operations there are.";
    SwarmPinned, "swarm.pinned", "How many clients stay with one member.";
    SwarmPreVote, "swarm.pre_vote", "Whether members ask before they campaign.";
    SwarmProgress, "swarm.progress", "How often watching clients ask for progress.";
    SwarmProgressInterval, "swarm.progress_interval", "Time between progress notifications.";
    SwarmPurgeInterval, "swarm.purge_interval", "Time between purges of files.";
    SwarmPurgeKeep, "swarm.purge_keep", "Files that a purge keeps.";
    SwarmRelease, "swarm.release", "Which line of etcd releases members are of.";
    SwarmReleaseDelay, "swarm.release_delay", "How long the Raft log is kept after a database was sent.";
    SwarmReorder, "swarm.reorder", "How many messages are overtaken at all times.";
    SwarmRequestTimeout, "swarm.request_timeout", "How patient clients are.";
    SwarmRetention, "swarm.retention", "What crashes leave of what was not synced.";
    SwarmSettle, "swarm.settle", "When the first fault may come.";
    SwarmSnapshotCount, "swarm.snapshot_count", "Entries between snapshots.";
    SwarmThinkTime, "swarm.think_time", "How long clients pause.";
    SwarmTiming, "swarm.timing", "Heartbeat interval and election timeout.";
    SwarmValueBytes, "swarm.value_bytes", "How large values are.";
    SwarmWalSegment, "swarm.wal_segment", "How large WAL segments are.";
    SwarmWatchBatch, "swarm.watch_batch", "Revisions in one response to a lagging watcher.";
    SwarmWatchChannel, "swarm.watch_channel", "Responses that wait for a stream.";
    SwarmWatchRestart, "swarm.watch_restart", "How often watching clients start afresh.";
    SwarmWatchSync, "swarm.watch_sync", "Watchers taken by one run of the sync task.";
    SwarmWatchWindow, "swarm.watch_window", "Responses on their way to a watching client.";
    SwarmWatchers, "swarm.watchers", "How many clients watch.";
    SwarmWatchersPinned, "swarm.watchers_pinned", "How many of them stay with one member.";
    SwarmWatchesPerStream, "swarm.watches_per_stream", "How many watches a stream has.";
    SwarmWeight, "swarm.weight", "How frequent a kind of fault is.";
    SwarmWorkload, "swarm.workload", "What the clients do.";
    WindowDelete, "window.delete", "Whether an operation of a transaction is a delete.";
    WindowKeys, "window.keys", "How many keys a transaction writes.";
    WorkloadDeleteRange, "workload.delete_range", "Whether a delete is of a range.";
    WorkloadDeleteAll, "workload.delete_all", "Whether a delete of a range is of every key.";
    WorkloadFreshKey, "workload.fresh_key", "Whether a deleted key is replaced by a new one.";
    WorkloadHistory, "workload.history", "How far back a historical read goes.";
    WorkloadKey, "workload.key", "Which key a request is about.";
    WorkloadOp, "workload.op", "What a client does next.";
    WorkloadPast, "workload.past", "Whether a read is of the past.";
    WorkloadPrevKv, "workload.prev_kv", "Whether a write asks for what was there before.";
    WorkloadTxnOp, "workload.txn_op", "What an operation inside a transaction is.";
}

/// Whom a decision is about: up to two numbers, for instance a link's two ends, or a node and a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(pub u64);

impl Subject {
    /// The run as a whole.
    pub const RUN: Self = Self(0);

    /// One thing. The same subject as `pair(a, 0)`.
    pub const fn one(a: u32) -> Self {
        Self::pair(a, 0)
    }

    /// Two things, in this order.
    pub const fn pair(a: u32, b: u32) -> Self {
        Self((a as u64) << 32 | b as u64)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 >> 32, self.0 & 0xffff_ffff) {
            (a, 0) => write!(f, "{a}"),
            (a, b) => write!(f, "{a}-{b}"),
        }
    }
}

/// The name of one decision. Prints as `net.delay/1-3/17`, and is read back from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// Where.
    pub site: Site,
    /// About whom.
    pub subject: Subject,
    /// Which of them, from 0.
    pub ordinal: u64,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.site.name(), self.subject, self.ordinal)
    }
}

/// Why a text is not a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelError {
    /// It does not have the form `site/subject/ordinal`.
    Form {
        /// The text.
        text: String,
    },
    /// There is no such site.
    Site {
        /// What stands for the site.
        name: String,
    },
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form { text } => write!(f, "label {text:?} is not of the form site/subject/ordinal"),
            Self::Site { name } => write!(f, "no site is called {name:?}"),
        }
    }
}

impl std::error::Error for LabelError {}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let form = || LabelError::Form { text: text.to_string() };
        let number = |part: &str| part.parse::<u32>().map_err(|_| form());
        let mut parts = text.split('/');
        let (Some(name), Some(subject), Some(ordinal), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(form());
        };
        let site = Site::ALL.iter().copied().find(|site| site.name() == name);
        let site = site.ok_or_else(|| LabelError::Site { name: name.to_string() })?;
        let subject = match subject.split_once('-') {
            Some((a, b)) => Subject::pair(number(a)?, number(b)?),
            None => Subject::one(number(subject)?),
        };
        Ok(Self { site, subject, ordinal: ordinal.parse().map_err(|_| form())? })
    }
}

/// The decisions drawn so far about one subject at one site.
struct Stream {
    site: Site,
    subject: Subject,
    /// Ordinal of the next draw.
    next: u64,
    /// Ordinal that the generator stands at.
    generator_at: u64,
    /// Large, and apart from what a search for a stream looks at.
    generator: Box<ChaCha8Rng>,
    /// Whether any override names this site and subject.
    overridden: bool,
}

/// Answers every decision of a run.
pub struct Decider {
    seed: u64,
    overrides: BTreeMap<Label, u64>,
    neutral: Vec<bool>,
    streams: Vec<Stream>,
    /// Open addressing: index into `streams` plus one, or zero. A power of two long, at most half full.
    slots: Vec<u32>,
    /// Sites by the names that others have for them.
    pub(crate) lately: Lately,
}

impl Decider {
    /// The decisions of this seed, except for the overrides: raw numbers, zero being neutral.
    pub fn new(seed: u64, overrides: BTreeMap<Label, u64>) -> Self {
        let neutral = vec![false; Site::ALL.len()];
        Self { seed, overrides, neutral, streams: Vec::new(), slots: vec![0; 64], lately: Lately::NONE }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// From now on every decision at this site is neutral, unless an override names it.
    pub fn neutral(&mut self, site: Site) {
        self.neutral[site as usize] = true;
    }

    /// Draws the next decision of this site about this subject.
    #[inline]
    pub fn decide<D: Distribution>(&mut self, site: Site, subject: Subject, distribution: &D) -> D::Value {
        if let Some(value) = distribution.constant() {
            let place = self.stream(site, subject);
            self.streams[place].next += 1;
            return value;
        }
        distribution.value(self.raw(site, subject))
    }

    /// The next raw number of this site and subject.
    pub fn raw(&mut self, site: Site, subject: Subject) -> u64 {
        let neutral = self.neutral[site as usize];
        let place = self.stream(site, subject);
        let stream = &mut self.streams[place];
        let ordinal = stream.next;
        stream.next += 1;
        if stream.overridden {
            if let Some(&raw) = self.overrides.get(&Label { site, subject, ordinal }) {
                return raw;
            }
        }
        if neutral {
            return 0;
        }
        let stream = &mut self.streams[place];
        if stream.generator_at != ordinal {
            // One number is two words of the stream.
            stream.generator.set_word_pos(u128::from(ordinal) * 2);
        }
        stream.generator_at = ordinal + 1;
        stream.generator.next_u64()
    }

    /// How many decisions were drawn of each site and subject, in order: what a shrinker may override.
    pub fn drawn(&self) -> Vec<(Site, Subject, u64)> {
        let mut all: Vec<_> = self.streams.iter().map(|s| (s.site, s.subject, s.next)).collect();
        all.sort_unstable();
        all
    }

    /// The place of the stream of a site and subject.
    fn stream(&mut self, site: Site, subject: Subject) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = place(site, subject) & mask;
        loop {
            match self.slots[at] {
                0 => break,
                index => {
                    let index = index as usize - 1;
                    if self.streams[index].subject == subject && self.streams[index].site == site {
                        return index;
                    }
                }
            }
            at = (at + 1) & mask;
        }
        self.open(site, subject)
    }

    #[cold]
    fn open(&mut self, site: Site, subject: Subject) -> usize {
        let mut key = *b"--------detcd decisions, ChaCha8";
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        let mut generator = Box::new(ChaCha8Rng::from_seed(key));
        generator.set_stream(xxh3_64_with_seed(site.name().as_bytes(), subject.0));
        let label = |ordinal| Label { site, subject, ordinal };
        let overridden = self.overrides.range(label(0)..=label(u64::MAX)).next().is_some();
        self.streams.push(Stream { site, subject, next: 0, generator_at: 0, generator, overridden });
        if self.streams.len() * 2 > self.slots.len() {
            self.slots = vec![0; self.slots.len() * 2];
            (0..self.streams.len()).for_each(|index| self.enter(index));
        } else {
            self.enter(self.streams.len() - 1);
        }
        self.streams.len() - 1
    }

    fn enter(&mut self, index: usize) {
        let mask = self.slots.len() - 1;
        let mut at = place(self.streams[index].site, self.streams[index].subject) & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = u32::try_from(index + 1).expect("memory ends before four billion streams");
    }
}

/// Where the search for a stream starts. Order never shows, so any spread will do.
fn place(site: Site, subject: Subject) -> usize {
    let mixed = (subject.0.rotate_left(8) ^ site as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // The lower half hears nothing of what is in the upper one, and each bit nothing of those above it.
    let upper = mixed >> 32;
    (upper ^ upper >> 15) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::{Below, Ratio};

    fn plain(seed: u64) -> Decider {
        Decider::new(seed, BTreeMap::new())
    }

    fn row(decider: &mut Decider, site: Site, subject: Subject, n: usize) -> Vec<u64> {
        (0..n).map(|_| decider.raw(site, subject)).collect()
    }

    #[test]
    fn a_value_depends_on_its_label_alone() {
        let link = Subject::pair(1, 3);
        let alone = row(&mut plain(7), Site::NetDelay, link, 100);
        // The same label among others that are drawn in between, hundreds of them.
        let mut busy = plain(7);
        let mut among = Vec::new();
        for i in 0..100 {
            row(&mut busy, Site::DiskSync, Subject::one(i * 31), 3);
            row(&mut busy, Site::NetDelay, Subject::pair(3, i), 1);
            among.push(busy.raw(Site::NetDelay, link));
        }
        assert_eq!(alone, among);
        assert_ne!(alone, row(&mut plain(8), Site::NetDelay, link, 100));
        assert_ne!(alone, row(&mut plain(7), Site::NetDelay, Subject::pair(3, 1), 100));
        assert_ne!(alone, row(&mut plain(7), Site::NetLoss, link, 100));
    }

    #[test]
    fn the_numbers_never_change() {
        // Golden: a recorded seed must mean the same for ever.
        let mut decider = plain(0xdecd);
        let first = row(&mut decider, Site::NetDelay, Subject::pair(1, 3), 3);
        assert_eq!(first, GOLDEN, "{first:#x?}");
    }

    #[test]
    fn a_certain_draw_takes_its_number_and_moves_nothing() {
        let link = Subject::pair(1, 2);
        let expect = row(&mut plain(1), Site::NetLoss, link, 80);
        let mut decider = plain(1);
        for (ordinal, &raw) in expect.iter().enumerate() {
            if ordinal % 3 == 1 {
                assert_eq!(decider.raw(Site::NetLoss, link), raw);
            } else {
                assert!(!decider.decide(Site::NetLoss, link, &Ratio::ZERO));
            }
        }
    }

    #[test]
    fn an_override_changes_one_draw_and_neutral_a_site() {
        let (one, two) = (Subject::one(1), Subject::one(2));
        let label = Label { site: Site::DiskSync, subject: one, ordinal: 5 };
        let before = row(&mut plain(3), Site::DiskSync, one, 10);
        let mut decider = Decider::new(3, BTreeMap::from([(label, 99)]));
        let mut expect = before.clone();
        expect[5] = 99;
        assert_eq!(row(&mut decider, Site::DiskSync, one, 10), expect);
        assert_eq!(row(&mut decider, Site::DiskSync, two, 10), row(&mut plain(3), Site::DiskSync, two, 10));

        let mut decider = Decider::new(3, BTreeMap::from([(label, 99)]));
        decider.neutral(Site::DiskSync);
        assert_eq!(row(&mut decider, Site::DiskSync, one, 7), [0, 0, 0, 0, 0, 99, 0]);
        assert_eq!(decider.decide(Site::DiskSync, two, &Below(10)), 0);
        assert_eq!(decider.drawn(), [(Site::DiskSync, one, 7), (Site::DiskSync, two, 1)]);
    }

    #[test]
    fn labels_print_and_parse() {
        for (label, text) in [
            (Label { site: Site::NetDelay, subject: Subject::pair(1, 3), ordinal: 17 }, "net.delay/1-3/17"),
            (Label { site: Site::DiskCrash, subject: Subject::one(2), ordinal: 0 }, "disk.crash/2/0"),
            (Label { site: Site::ClockDrift, subject: Subject::RUN, ordinal: 4 }, "clock.drift/0/4"),
        ] {
            assert_eq!(label.to_string(), text);
            assert_eq!(text.parse(), Ok(label));
        }
        for text in
            ["", "net.delay", "net.delay/1/2/3", "net.delay/x/1", "net.delay/1/-1", "net.dely/1/1", "net.delay/1-/1"]
        {
            assert!(text.parse::<Label>().is_err(), "{text}");
        }
    }

    #[test]
    fn sites_have_unique_names_and_a_sentence() {
        let names: std::collections::BTreeSet<_> = Site::ALL.iter().map(|site| site.name()).collect();
        assert_eq!(names.len(), Site::ALL.len());
        assert!(Site::ALL.iter().all(|site| site.sentence().ends_with('.') && !site.name().contains('/')));
    }

    #[test]
    fn ratios_come_out_as_often_as_they_say() {
        let mut decider = plain(11);
        let hits = (0..100_000).filter(|_| decider.decide(Site::NetLoss, Subject::RUN, &Ratio::new(1, 20))).count();
        assert!((4_700..5_300).contains(&hits), "{hits}");
    }

    const GOLDEN: [u64; 3] = [0x25e2_9e14_c7ea_a202, 0x00d9_939a_7305_bf00, 0x7a87_614c_6bf7_10e9];
}
