//! Obeying the plan: episodes begin and end, failpoints are armed, and in the end everything is repaired.

use std::collections::BTreeMap;

use detcd_replica::time::Span;
use detcd_replica::{Failpoint, Output, Role};

use crate::decide::{Site, Subject};
use crate::disk::{concerns, CommandKind, FileKind, Loss};
use crate::distribution::{Below, Ratio};
use crate::fault::{Episode, Kind, Plan, Target};
use crate::net::{Impairment, Mode, Partition};
use crate::scenario::Retention;

use super::names::counted;
use super::node::Down;
use super::{Happening, Tally, World};

/// How long a member takes to start again after it ended by itself, or at a failpoint.
pub(super) const RESTART_AFTER: u64 = 100_000_000;

/// How far a message may be held back by a reordering fault, nanoseconds.
pub(super) const REORDER_WINDOW: u64 = 20_000_000;

/// The plan, and how far it has come.
pub(super) struct Faults {
    plan: Plan,
    /// What each running episode has done, so that its end can undo it.
    running: BTreeMap<usize, Vec<usize>>,
    cuts: BTreeMap<usize, Partition>,
    armed: Vec<Armed>,
    ticked: Vec<bool>,
    healed: bool,
    /// When the times of the plan begin.
    begun: u64,
    tally: Tally,
}

/// A crash to come.
struct Armed {
    episode: usize,
    node: usize,
    spot: Spot,
    hits_left: u64,
}

/// Among the outputs of a member, where it crashes.
#[derive(Clone, Copy)]
enum Spot {
    /// At a point of the code.
    Point(Failpoint),
    /// Before a command of a disk.
    Command(Option<CommandKind>, Option<FileKind>),
    /// After a message.
    Send,
}

impl Spot {
    /// Whether it is at this output, and how many outputs more are performed: the one at a failpoint and a message
    /// are, a command is not.
    fn at(self, output: &Output) -> Option<usize> {
        match (self, output) {
            (Self::Point(point), Output::Point(passed)) if point == *passed => Some(1),
            (Self::Send, Output::Send(_)) => Some(1),
            (Self::Command(kind, file), Output::Disk { command, .. }) => {
                (kind.is_none_or(|kind| CommandKind::of(command) == kind) && concerns(command, file)).then_some(0)
            }
            _ => None,
        }
    }
}

impl Faults {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            plan,
            running: BTreeMap::new(),
            cuts: BTreeMap::new(),
            armed: Vec::new(),
            ticked: Vec::new(),
            healed: false,
            begun: 0,
            tally: Tally::new(),
        }
    }

    /// Whether this is the first tick of a node's first life.
    pub(super) fn first_tick(&mut self, node: usize) -> bool {
        if self.ticked.len() <= node {
            self.ticked.resize(node + 1, false);
        }
        !std::mem::replace(&mut self.ticked[node], true)
    }

    /// Whether everything was repaired.
    pub(super) fn healed(&self) -> bool {
        self.healed
    }

    /// It had an effect so often.
    pub(super) fn count(&mut self, kind: Kind, times: u64) {
        *self.tally.entry(kind.name()).or_default() += times;
    }

    /// How often each kind really had an effect.
    pub(super) fn tally(&self) -> Tally {
        self.tally.clone()
    }
}

impl World<'_> {
    pub(super) fn schedule_faults(&mut self) {
        self.faults.begun = self.now;
        for place in 0..self.faults.plan.episodes.len() {
            let (from, until) = (self.faults.plan.episodes[place].from, self.faults.plan.episodes[place].until);
            self.queue.push(self.now + from.0, Happening::Episode { place, begins: true });
            self.queue.push(self.now + until.0, Happening::Episode { place, begins: false });
        }
    }

    pub(super) fn episode(&mut self, place: usize, begins: bool) {
        if self.faults.healed {
            return;
        }
        let episode = self.faults.plan.episodes[place].clone();
        if let Some(trace) = &mut self.trace {
            let what = super::quoted(&episode.to_string());
            let edge = if begins { "begins" } else { "ends" };
            trace.push(format!("{{\"n\":{},\"t\":{},\"fault\":{what},\"edge\":\"{edge}\"}}", self.moment, self.now));
        }
        if begins {
            let nodes = self.resolve(place, &episode);
            if nodes.is_empty() && !episode.targets.is_empty() {
                return;
            }
            self.faults.running.insert(place, nodes.clone());
            self.begin(place, &episode, &nodes);
        } else if let Some(nodes) = self.faults.running.remove(&place) {
            self.end(place, &episode, &nodes);
        }
    }

    /// Who the targets are now.
    fn resolve(&mut self, place: usize, episode: &Episode) -> Vec<usize> {
        let count = self.nodes.len();
        if episode.targets.is_empty() {
            return (0..count).collect();
        }
        let mut nodes = Vec::new();
        for target in &episode.targets {
            let found = match target {
                Target::Member(member) => Some(counted(*member)).filter(|node| *node < count),
                Target::Leader => self.with_role(place, |role| role == Role::Leader),
                Target::Follower => self.with_role(place, |role| role != Role::Leader),
                Target::Any => self.with_role(place, |_| true),
            };
            nodes.extend(found.filter(|node| !nodes.contains(node)));
        }
        nodes
    }

    fn with_role(&mut self, place: usize, wanted: impl Fn(Role) -> bool) -> Option<usize> {
        let fits = |node: &super::Node| node.replica.as_ref().is_some_and(|replica| wanted(replica.view().role));
        let found: Vec<_> = (0..self.nodes.len()).filter(|node| fits(&self.nodes[*node])).collect();
        if found.is_empty() {
            return None;
        }
        let choice = Below(found.len() as u64);
        let choice = self.decider.decide(Site::FaultResolve, Subject::one(place as u32 + 1), &choice);
        Some(found[choice as usize])
    }

    pub(super) fn fired(&mut self, kind: Kind) {
        self.faults.count(kind, 1);
    }

    fn begin(&mut self, place: usize, episode: &Episode, nodes: &[usize]) {
        let magnitude = episode.magnitude;
        let others: Vec<usize> = (0..self.nodes.len()).filter(|node| !nodes.contains(node)).collect();
        let cut = match episode.kind {
            Kind::PartitionSymmetric => Some(Partition::Groups(vec![nodes.to_vec(), others])),
            Kind::PartitionOneWay => Some(Partition::OneWay { from: nodes.to_vec(), to: others }),
            Kind::PartitionIsolate => {
                let all: Vec<usize> = (0..self.nodes.len()).collect();
                Some(match nodes {
                    [node] => Partition::Isolate { node: *node, peers: all },
                    _ => Partition::Groups(nodes.iter().map(|node| vec![*node]).chain([others]).collect()),
                })
            }
            Kind::PartitionRing if self.nodes.len() < 4 => Some(Partition::Pair(0, self.nodes.len() - 1)),
            Kind::PartitionRing => Some(Partition::Ring((0..self.nodes.len()).collect())),
            _ => None,
        };
        if let Some(cut) = cut {
            if !cut.links().is_empty() {
                self.network.cut(&cut);
                self.faults.cuts.insert(place, cut);
                self.fired(episode.kind);
            }
            return;
        }
        match episode.kind {
            Kind::Crash | Kind::PowerLoss => {
                for node in nodes {
                    self.nodes[*node].kept_down += 1;
                    if self.nodes[*node].is_up() {
                        self.fired(episode.kind);
                        self.crash(*node, Down::Crashed);
                    }
                }
            }
            Kind::Pause => {
                for node in nodes {
                    if self.nodes[*node].is_up() && !self.nodes[*node].paused {
                        self.nodes[*node].paused = true;
                        self.fired(episode.kind);
                    }
                }
            }
            Kind::Loss | Kind::Duplicate | Kind::Reorder | Kind::Delay => {
                self.impair();
                self.fired(episode.kind);
            }
            Kind::DiskStall => {
                for node in nodes {
                    self.nodes[*node].disk.set_stall_until(self.faults.begun + episode.until.0);
                    self.fired(episode.kind);
                }
            }
            Kind::DiskSlow => {
                for node in nodes {
                    // Per cent; the disk takes thousandths.
                    self.nodes[*node].disk.set_slowdown(magnitude as u64 * 10);
                    self.fired(episode.kind);
                }
            }
            Kind::ClockOffset | Kind::ClockStep => {
                for node in nodes {
                    self.nodes[*node].clock.step(self.now, magnitude);
                    self.fired(episode.kind);
                }
            }
            Kind::ClockDrift => {
                for node in nodes {
                    // Parts per million; the clock takes parts per billion.
                    self.nodes[*node].clock.set_rate(self.now, magnitude * 1_000);
                    self.fired(episode.kind);
                }
            }
            Kind::FailpointCrash => {
                let point = episode.failpoint.expect("a crash at a failpoint names it");
                self.arm(place, episode, nodes, Spot::Point(point));
            }
            Kind::CrashAtCommand => {
                self.arm(place, episode, nodes, Spot::Command(episode.aim.command, episode.aim.file));
            }
            Kind::CrashAtSend => self.arm(place, episode, nodes, Spot::Send),
            Kind::PartitionSymmetric | Kind::PartitionOneWay | Kind::PartitionIsolate | Kind::PartitionRing => {
                unreachable!("partitions were begun above")
            }
            Kind::DiskWriteError
            | Kind::DiskReadError
            | Kind::DiskFull
            | Kind::DiskSyncError
            | Kind::LyingSync
            | Kind::LostWrite
            | Kind::MisdirectedWrite
            | Kind::BitRot
            | Kind::SectorLoss
            | Kind::RecordDamage
            | Kind::ValueDamage
            | Kind::DiskFailure => self.disk_episode(place, episode, nodes),
        }
    }

    fn arm(&mut self, place: usize, episode: &Episode, nodes: &[usize], spot: Spot) {
        let hits_left = episode.magnitude.max(1) as u64;
        let armed = nodes.iter().map(|node| Armed { episode: place, node: *node, spot, hits_left });
        self.faults.armed.extend(armed);
    }

    fn end(&mut self, place: usize, episode: &Episode, nodes: &[usize]) {
        if let Some(cut) = self.faults.cuts.remove(&place) {
            self.network.mend(&cut);
            return;
        }
        match episode.kind {
            Kind::Crash | Kind::PowerLoss => {
                for node in nodes {
                    self.nodes[*node].kept_down -= 1;
                    if self.nodes[*node].kept_down == 0 {
                        self.queue.push(self.now, Happening::Restart { node: *node });
                    }
                }
            }
            Kind::Pause => nodes.iter().for_each(|node| self.resume(*node)),
            Kind::Loss | Kind::Duplicate | Kind::Reorder | Kind::Delay => self.impair(),
            Kind::DiskSlow => nodes.iter().for_each(|node| self.nodes[*node].disk.set_slowdown(1_000)),
            Kind::ClockStep | Kind::ClockOffset => {
                nodes.iter().for_each(|node| self.nodes[*node].clock.step(self.now, -episode.magnitude));
            }
            Kind::ClockDrift => nodes.iter().for_each(|node| self.nodes[*node].clock.set_rate(self.now, 0)),
            Kind::FailpointCrash | Kind::CrashAtCommand | Kind::CrashAtSend => {
                self.faults.armed.retain(|armed| armed.episode != place);
            }
            Kind::DiskStall => {}
            _ => self.disk_episode_ends(place, episode, nodes),
        }
    }

    /// Every link suffers what the running episodes add up to.
    fn impair(&mut self) {
        let count = self.nodes.len();
        let mut links = vec![Impairment::NONE; count * count];
        let mut datagrams = vec![false; count * count];
        for (place, nodes) in &self.faults.running {
            self.add_impairment(*place, nodes, &mut links, &mut datagrams);
        }
        for from in 0..count {
            for to in (0..count).filter(|to| *to != from) {
                let mode = if datagrams[from * count + to] { Mode::Datagram } else { Mode::Stream };
                let mut parameters = *self.network.parameters(from, to);
                if parameters.mode != mode {
                    parameters.mode = mode;
                    self.network.set(from, to, parameters);
                }
                self.network.impair(from, to, links[from * count + to]);
            }
        }
    }

    fn add_impairment(&self, place: usize, nodes: &[usize], links: &mut [Impairment], datagrams: &mut [bool]) {
        let episode = &self.faults.plan.episodes[place];
        let count = self.nodes.len();
        let share = || Ratio::new(episode.magnitude.max(0) as u64, 1_000_000);
        for from in 0..count {
            for to in (0..count).filter(|to| *to != from) {
                if !nodes.contains(&from) && !nodes.contains(&to) {
                    continue;
                }
                let link = &mut links[from * count + to];
                match episode.kind {
                    Kind::Loss => link.loss = share(),
                    Kind::Duplicate => link.duplicate = share(),
                    Kind::Reorder => (link.reorder, link.reorder_window) = (share(), REORDER_WINDOW),
                    Kind::Delay => link.delay_max = episode.magnitude as u64,
                    _ => continue,
                }
                datagrams[from * count + to] |= episode.kind != Kind::Delay;
            }
        }
    }

    pub(super) fn resume(&mut self, node: usize) {
        if !std::mem::replace(&mut self.nodes[node].paused, false) {
            return;
        }
        for happening in std::mem::take(&mut self.nodes[node].held) {
            self.queue.push(self.now, happening);
        }
    }

    /// Where among the outputs of a step an armed crash strikes: so many of them are performed, and for what kind.
    pub(super) fn crash_point(&mut self, node: usize, outputs: &[Output]) -> Option<(usize, Kind)> {
        if self.faults.armed.is_empty() {
            return None;
        }
        for (place, output) in outputs.iter().enumerate() {
            for armed in self.faults.armed.iter_mut().filter(|armed| armed.node == node) {
                let Some(more) = armed.spot.at(output) else { continue };
                armed.hits_left -= 1;
                if armed.hits_left == 0 {
                    let kind = self.faults.plan.episodes[armed.episode].kind;
                    self.faults.armed.retain(|armed| armed.hits_left > 0);
                    return Some((place + more, kind));
                }
            }
        }
        None
    }

    /// A crash that was armed.
    pub(super) fn armed_crash(&mut self, node: usize, kind: Kind) {
        self.fired(kind);
        self.crash(node, Down::Crashed);
        self.queue.push(self.now + RESTART_AFTER, Happening::Restart { node });
    }

    pub(super) fn crash_disk(&mut self, node: usize) {
        let subject = Subject::one(node as u32 + 1);
        let retention = match self.scenario.faults.retention {
            Retention::Mixed => match self.decider.decide(Site::FaultRetention, subject, &Below(3)) {
                0 => Retention::Everything,
                1 => Retention::Arbitrary,
                _ => Retention::Nothing,
            },
            fixed => fixed,
        };
        match retention {
            Retention::Everything => self.nodes[node].disk.kill(),
            Retention::Nothing => self.nodes[node].disk.crash_with(Loss::Everything, &mut self.decider),
            Retention::Arbitrary | Retention::Mixed => {
                self.nodes[node].disk.crash(&mut self.decider);
            }
        }
        self.look_for_harm(node);
    }

    /// A member that ended by itself comes back when the operator looks.
    pub(super) fn node_gone(&mut self, node: usize) {
        self.network.reset_node(node);
        self.streams_of_gone(node);
        if matches!(self.nodes[node].down, Down::Exited(_)) {
            self.queue.push(self.now + RESTART_AFTER, Happening::Restart { node });
        }
    }

    /// Repair everything: no fault from here on.
    pub(crate) fn heal(&mut self) {
        self.faults.healed = true;
        self.faults.armed.clear();
        for (place, nodes) in std::mem::take(&mut self.faults.running) {
            if self.faults.plan.episodes[place].kind == Kind::DiskFailure {
                nodes.iter().for_each(|node| self.replace(*node));
            }
        }
        self.faults.cuts.clear();
        self.network.heal();
        self.network.set_all(|parameters| {
            parameters.mode = Mode::Stream;
            parameters.loss = Ratio::ZERO;
        });
        for node in 0..self.nodes.len() {
            self.nodes[node].disk.heal();
            self.nodes[node].clock.set_rate(self.now, 0);
            self.nodes[node].kept_down = 0;
            self.resume(node);
            if !self.nodes[node].is_up() && !self.nodes[node].down.is_final() {
                self.queue.push(self.now, Happening::Restart { node });
            }
        }
    }

    /// How long the cluster may take to settle once all is repaired: an election against split votes, the clients'
    /// patience, the slowest catch-up by snapshot, and that of the watches.
    pub(crate) fn liveness_bound(&self) -> Span {
        let set = self.scenario.acts.liveness_bound.0;
        if set > Span::ZERO {
            return set;
        }
        let config = &self.nodes[0].config;
        let election = config.heartbeat_interval * u64::from(config.election_ticks);
        let patience = config.request_timeout * 2 + self.scenario.clients.request_timeout.0 * 4;
        election * 20 + patience + Span::secs(20) + self.watches_catch_up()
    }

    /// How long watches may need from the first revision on, all of them on one member: each run of the sync task takes
    /// some of them a batch of revisions further, and an operation makes one revision at most. An hour is the limit, as
    /// of what a scenario may set.
    fn watches_catch_up(&self) -> Span {
        let (config, watch) = (&self.nodes[0].config, &self.scenario.watch);
        let turns = (watch.count * watch.per_stream).div_ceil(config.watch_sync_batch as u64);
        let batches = self.scenario.clients.operations.div_ceil(config.watch_batch_revisions as u64);
        let runs = turns.saturating_mul(batches);
        Span(config.watch_resync_interval.0.saturating_mul(runs)).min(Span::secs(3_600))
    }
}
