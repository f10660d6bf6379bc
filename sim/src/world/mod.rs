//! The world: one queue of things to come, which owns time; members, network, disks and clocks; and the clients.
//!
//! Each event is taken in the order of (time, order of scheduling). Whatever chance decides is asked of the
//! [`Decider`] by name. The world knows nothing of what is right: it gathers evidence for an [`Observer`] and a
//! history, and folds everything that means something into a [`Digest`].

mod faults;
mod measuring;
mod names;
mod node;
mod operator;
mod perform;
mod setup;
mod storage;
mod streams;
mod traffic;

use std::collections::BTreeMap;
use std::panic::{catch_unwind, AssertUnwindSafe};

use detcd_replica::history::{Finding, History, Moment};
use detcd_replica::time::{Monotonic, Span};
use detcd_replica::{Chance, Input, MemberId, OpId, Output, PeerMessage, Replica, Role, Task};

use crate::beginning::Beginning;
use crate::decide::{Decider, Site, Subject};
use crate::digest::Digest;
use crate::disk::Loss;
use crate::distribution;
use crate::fault::Plan;
use crate::halt::{Standing, Until};
use crate::measure::Measures;
use crate::net::Network;
use crate::observer::Observer;
use crate::queue::Queue;
use crate::scenario::Scenario;

use faults::Faults;
use measuring::Measuring;
use names::Names;
use node::{Down, Node};
use operator::Operator;
use setup::{character, network, network_profile, node, Setup};
use streams::Streams;
use traffic::Traffic;

pub use storage::Refusal;

/// Something that will happen.
pub(crate) enum Happening {
    /// A task of a member is due.
    Wake { node: usize, incarnation: u32, task: Task },
    /// A message arrives.
    Message { message: PeerMessage, epoch: u32 },
    /// A member learns that messages to another are lost.
    Unreachable { node: usize, incarnation: u32, member: MemberId },
    /// A member learns how the sending of a database ended.
    SnapshotSent { node: usize, incarnation: u32, member: MemberId, stream: u64, delivered: bool },
    /// A disk command ends.
    Disk { node: usize, incarnation: u32, op: OpId },
    /// Something of the clients'.
    Traffic(traffic::Happening),
    /// An episode begins or ends.
    Episode { place: usize, begins: bool },
    /// A crashed member starts again.
    Restart { node: usize },
    /// The operator looks after a replacement.
    Operator { job: usize },
}

/// Why a run cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// A check of the observer failed.
    Finding(Finding),
    /// A member panicked.
    Panic { member: MemberId, message: String },
    /// A member does not start though no fault excuses it.
    Refused { member: MemberId, reason: String },
    /// The moment has come at which the run was to be looked at.
    Halted,
}

/// Counts of what happened, by name.
pub type Tally = BTreeMap<&'static str, u64>;

/// A seeded world with everything in it.
pub(crate) struct World<'a> {
    scenario: &'a Scenario,
    now: u64,
    moment: Moment,
    queue: Queue<Happening>,
    decider: Decider,
    network: Network,
    setup: Setup,
    names: Names,
    nodes: Vec<Node>,
    streams: Streams,
    traffic: Traffic,
    faults: Faults,
    operator: Operator,
    refusals: Vec<Refusal>,
    measuring: Measuring,
    digest: Digest,
    observer: &'a mut dyn Observer,
    tally: Tally,
    stop: Option<Stop>,
    until: Until,
    trace: Option<Vec<String>>,
    /// Memory for the outputs of a step, used again and again.
    scratch: Vec<Output>,
}

impl<'a> World<'a> {
    /// A world at the beginning of time: every founder is about to start; of a world with a former member only that
    /// one is, and [`World::commence`] must be called when the others have joined it. Nothing happens after `until`.
    pub(crate) fn new(
        scenario: &'a Scenario,
        plan: Plan,
        mut decider: Decider,
        observer: &'a mut dyn Observer,
        traced: bool,
        until: Until,
        beginning: Option<Beginning>,
    ) -> Self {
        let count = scenario.cluster.members as usize;
        let network = network(scenario, count, &mut decider);
        let setup = Setup::new(beginning);
        let mut nodes: Vec<Node> = (0..count).map(|place| node(scenario, &setup, place, 0, &mut decider)).collect();
        setup.prepare(scenario, &mut nodes);
        let mut world = Self {
            scenario,
            now: 0,
            moment: 0,
            queue: Queue::new(),
            decider,
            network,
            names: setup.names(),
            setup,
            nodes,
            streams: Streams::new(),
            traffic: Traffic::new(scenario),
            faults: Faults::new(plan),
            operator: Operator::default(),
            refusals: Vec::new(),
            measuring: Measuring::default(),
            digest: Digest::new(),
            observer,
            tally: Tally::new(),
            stop: None,
            until,
            trace: traced.then(Vec::new),
            scratch: Vec::new(),
        };
        for node in (0..count).filter(|node| world.nodes[*node].down != Down::Absent).collect::<Vec<_>>() {
            world.boot(node);
        }
        if !world.gathers() {
            world.commence();
        }
        world
    }

    /// Whether members must join before clients and faults begin.
    pub(crate) fn gathers(&self) -> bool {
        self.setup.gathers()
    }

    /// Clients and faults begin.
    pub(crate) fn commence(&mut self) {
        self.schedule_faults();
        self.start_traffic();
    }

    /// Time of the next event, nanoseconds since the run began.
    pub(crate) fn next_time(&mut self) -> Option<u64> {
        match self.stop {
            Some(_) => None,
            None => self.queue.next_time(),
        }
    }

    /// Let the next event happen. False when there is none, or the run has stopped.
    pub(crate) fn advance(&mut self) -> bool {
        if self.stop.is_none() && self.is_over() {
            self.stop = Some(Stop::Halted);
        }
        if self.stop.is_some() {
            return false;
        }
        let Some((at, happening)) = self.queue.pop() else { return false };
        assert!(at >= self.now, "time went back from {} to {at}", self.now);
        self.now = at;
        self.happen(happening);
        true
    }

    /// Whether nothing more is to happen.
    fn is_over(&mut self) -> bool {
        match self.until {
            Until::End => false,
            Until::Event(event) => self.moment >= event,
            Until::Time(time) => self.queue.next_time().is_some_and(|next| next > time.0),
        }
    }

    /// Whether the event that the run is to end with has happened: one happening may be several events.
    fn is_past(&self) -> bool {
        matches!(self.until, Until::Event(event) if self.moment >= event)
    }

    fn happen(&mut self, happening: Happening) {
        let (node, incarnation) = match &happening {
            Happening::Wake { node, incarnation, .. }
            | Happening::Disk { node, incarnation, .. }
            | Happening::Unreachable { node, incarnation, .. }
            | Happening::SnapshotSent { node, incarnation, .. } => (*node, Some(*incarnation)),
            Happening::Message { message, .. } => (self.place(message.to).expect(SENT), None),
            Happening::Traffic(traffic) => {
                if let Some(node) = traffic.node() {
                    if self.nodes[node].paused {
                        self.nodes[node].held.push(happening);
                        return;
                    }
                }
                let Happening::Traffic(traffic) = happening else { unreachable!("it was traffic a moment ago") };
                return self.traffic_happens(traffic);
            }
            Happening::Episode { place, begins } => return self.episode(*place, *begins),
            Happening::Restart { node } => return self.restart(*node),
            Happening::Operator { job } => return self.operate(*job),
        };
        if incarnation.is_some_and(|incarnation| incarnation != self.nodes[node].incarnation) {
            return;
        }
        if self.nodes[node].paused {
            self.nodes[node].held.push(happening);
            return;
        }
        match happening {
            Happening::Wake { task, .. } => {
                *self.nodes[node].wake(task) = None;
                self.step(node, Input::Run(task));
            }
            Happening::Message { message, epoch } => {
                let (from, stream) = (message.from, message.chunk.as_ref().map(|chunk| chunk.stream));
                let accepted = self.network.accept(self.place(from).expect(SENT), node, epoch);
                let delivered = accepted && self.nodes[node].is_up();
                if delivered {
                    self.step(node, Input::Message(message));
                } else {
                    self.refuse(from, node);
                    if let Some(stream) = stream {
                        self.chunk_refused(from, node, stream);
                    }
                }
            }
            Happening::Unreachable { member, .. } => self.step(node, Input::Unreachable { member }),
            Happening::SnapshotSent { member, stream, delivered, .. } => {
                self.step(node, Input::SnapshotSent { member, stream, delivered });
            }
            Happening::Disk { op, .. } => self.disk_done(node, op),
            Happening::Traffic(_)
            | Happening::Episode { .. }
            | Happening::Restart { .. }
            | Happening::Operator { .. } => unreachable!("they were taken above"),
        }
    }

    /// A member takes a step, and what it wants is done.
    pub(crate) fn step(&mut self, node: usize, input: Input) {
        if self.is_past() {
            return;
        }
        let now = self.local_now(node);
        let Some(replica) = self.nodes[node].replica.as_mut() else { return };
        self.moment += 1;
        fold_input(&mut self.digest, self.now, node, &input);
        if let Some(trace) = &mut self.trace {
            trace.push(format!(
                "{{\"n\":{},\"t\":{},\"node\":{},\"input\":{}}}",
                self.moment,
                self.now,
                node + 1,
                quoted(&perform::describe_input(&input))
            ));
        }
        let mut outputs = std::mem::take(&mut self.scratch);
        let stepped = catch_unwind(AssertUnwindSafe(|| replica.step(now, input, &mut outputs)));
        if let Err(panic) = stepped {
            outputs.clear();
            self.scratch = outputs;
            return self.panicked(node, panic_message(panic.as_ref()));
        }
        self.perform(node, &mut outputs, false);
        outputs.clear();
        self.scratch = outputs;
    }

    /// Start a member from what its disk holds.
    pub(crate) fn boot(&mut self, node: usize) {
        if self.is_past() {
            return;
        }
        let image = match self.nodes[node].disk.read() {
            Ok(image) => image,
            Err(file) => return self.cannot_read(node, file),
        };
        self.nodes[node].incarnation += 1;
        self.nodes[node].down = Down::Up;
        self.moment += 1;
        let now = self.local_now(node);
        let config = self.nodes[node].config.clone();
        let member = config.member;
        let finding = self.observer.disk(self.moment, member, &image);
        self.stop_on(finding);
        if self.stop.is_some() {
            return;
        }
        let mut outputs = std::mem::take(&mut self.scratch);
        let booted = catch_unwind(AssertUnwindSafe(|| Replica::boot(config, &image, now, &mut outputs)));
        match booted {
            Err(panic) => self.panicked(node, panic_message(panic.as_ref())),
            Ok(Err(error)) if self.nodes[node].disk.is_harmed() => self.refuses(node, error.to_string()),
            Ok(Err(error)) => self.stop = Some(Stop::Refused { member, reason: error.to_string() }),
            Ok(Ok(replica)) => {
                self.digest.event(self.now, 1, node as u64);
                self.nodes[node].replica = Some(replica);
                self.perform(node, &mut outputs, true);
                self.join_the_forced(node);
            }
        }
        outputs.clear();
        self.scratch = outputs;
    }

    /// A member loses power, or its process dies: what it had in memory is gone, and part of what it had not synced.
    fn crash(&mut self, node: usize, down: Down) {
        if !self.nodes[node].is_up() {
            return;
        }
        let member = self.nodes[node].config.member;
        self.trace_note(node, "crash");
        self.disconnect(node);
        for happening in std::mem::take(&mut self.nodes[node].held) {
            // What clients have sent to one that was paused finds nobody, and they hear of that.
            if matches!(happening, Happening::Traffic(_)) {
                self.queue.push(self.now, happening);
            }
        }
        for token in self.nodes[node].forget() {
            self.queue.cancel(token);
        }
        self.nodes[node].down = down;
        self.nodes[node].incarnation += 1;
        self.crash_disk(node);
        self.digest.event(self.now, 2, node as u64);
        let finding = self.observer.crashed(self.moment, member);
        self.stop_on(finding);
        *self.tally.entry("crashes").or_default() += 1;
        self.node_gone(node);
    }

    /// Show what a loss of power would leave of every disk now.
    pub(crate) fn show_disks(&mut self) {
        for node in 0..self.nodes.len() {
            let mut disk = self.nodes[node].disk.clone();
            disk.crash_with(Loss::Everything, &mut self.decider);
            let member = self.nodes[node].config.member;
            if disk.take_harm() {
                self.observer.damaged(self.moment, member);
            }
            let finding = self.observer.left(self.moment, member, &disk.image());
            self.stop_on(finding);
        }
    }

    /// Show what every running member reads of its past.
    pub(crate) fn show_pasts(&mut self) {
        for node in 0..self.nodes.len() {
            let finding = self.look_at_past(node);
            self.stop_on(finding);
        }
    }

    fn restart(&mut self, node: usize) {
        if self.nodes[node].is_up() || self.nodes[node].kept_down > 0 || self.nodes[node].down.is_final() {
            return;
        }
        *self.tally.entry("recoveries").or_default() += 1;
        self.trace_note(node, "restart");
        self.boot(node);
    }

    /// A member panics: a finding, unless a disk that broke its promise explains it. Then it is down for good.
    fn panicked(&mut self, node: usize, message: String) {
        if !self.any_harm() {
            let member = self.nodes[node].config.member;
            self.stop = Some(Stop::Panic { member, message });
            return;
        }
        self.crash(node, Down::Refused);
        self.refuses(node, format!("panic: {message}"));
    }

    /// Nodes up to this place; those that are new are empty, and nobody has started them.
    fn make_room(&mut self, place: usize) {
        let (known, count) = (self.nodes.len(), place + 1);
        if count <= known {
            return;
        }
        let profile = network_profile(self.scenario);
        let change = character(self.scenario, self.faults.healed());
        self.network.grow(count, profile, &mut self.decider, change);
        for place in known..count {
            let mut new = node(self.scenario, &self.setup, place, self.now, &mut self.decider);
            new.down = Down::Absent;
            self.nodes.push(new);
        }
    }

    /// The place of a member in the list of nodes, if it has one.
    fn place(&self, member: MemberId) -> Option<usize> {
        self.names.place(member)
    }

    fn local_now(&mut self, node: usize) -> Monotonic {
        self.nodes[node].clock.monotonic(self.now)
    }

    /// Schedule a task: the sooner of two wake-ups counts.
    fn wake(&mut self, node: usize, task: Task, after: Span) {
        let mut at = self.nodes[node].clock.local_after(self.now, after).expect("clocks are never suspended");
        if task != Task::Tick {
            // The goroutine becomes runnable, at once or when its timer fires; the scheduler gets to it a little later.
            // Without that, timers of one period would fire in one order for ever.
            let subject = Subject::pair(node as u32 + 1, task.index() as u32);
            at += self.decider.decide(Site::SchedTask, subject, &distribution::Below(SCHEDULING));
        } else if self.nodes[node].wake(task).is_none() && self.faults.first_tick(node) {
            // Every member has its own phase of the tick.
            let phase = distribution::Below(after.0);
            at = self.now + self.decider.decide(Site::TickPhase, Subject::one(node as u32 + 1), &phase);
        }
        if let Some((pending, token)) = *self.nodes[node].wake(task) {
            if pending <= at {
                return;
            }
            self.queue.cancel(token);
        }
        let incarnation = self.nodes[node].incarnation;
        let token = self.queue.push(at, Happening::Wake { node, incarnation, task });
        *self.nodes[node].wake(task) = Some((at, token));
    }

    fn draw_election_timeout(&mut self, node: usize) -> Chance {
        let ticks = u64::from(self.nodes[node].config.election_ticks);
        let subject = Subject::one(node as u32 + 1);
        let extra = self.decider.decide(Site::ElectionTimeout, subject, &distribution::Below(ticks));
        Chance::ElectionTimeout((ticks + extra) as u32)
    }

    fn trace_note(&mut self, node: usize, what: &str) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!(
                "{{\"n\":{},\"t\":{},\"node\":{},\"note\":\"{what}\"}}",
                self.moment,
                self.now,
                node + 1
            ));
        }
    }

    /// Simulated time, nanoseconds since the run began.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// A finding of the observer ends the run; the first one counts.
    fn stop_on(&mut self, finding: Option<Finding>) {
        if self.stop.is_none() {
            self.stop = finding.map(Stop::Finding);
        }
    }

    /// Why the run cannot go on, if so.
    pub(crate) fn stopped(&self) -> Option<&Stop> {
        self.stop.as_ref()
    }

    /// Whether every client has done what it was to do.
    pub(crate) fn traffic_done(&self) -> bool {
        self.traffic.done()
    }

    /// Why the cluster has not settled: nobody leads, a member is down or behind, a client waits. `None` when it has.
    pub(crate) fn pending(&self) -> Option<String> {
        if let Some(reason) = self.operator_pending() {
            return Some(reason);
        }
        // Who was removed may never hear of it.
        let counts = |node: &&Node| !node.down.is_final() && !self.is_removed(node.config.member);
        let live: Vec<_> = self.nodes.iter().filter(counts).collect();
        let mut applied = None;
        let mut leaders = 0;
        for node in &live {
            let member = node.config.member;
            let Some(replica) = &node.replica else { return Some(format!("{member} is down")) };
            let view = replica.view();
            if view.leader == MemberId::NONE {
                return Some(format!("{member} knows no leader in term {}", view.term));
            }
            leaders += usize::from(view.role == Role::Leader);
            let (first, at) = *applied.get_or_insert((member, view.applied));
            if at != view.applied {
                return Some(format!("{member} has applied {} and {first} {at}", view.applied));
            }
            if view.commit != view.applied {
                return Some(format!("{member} has applied {} of {} committed entries", view.applied, view.commit));
            }
            // A new leader commits what it has found in its log with the first entry of its own term.
            if view.log.last_index() != view.commit {
                let last = view.log.last_index();
                return Some(format!("{member} has committed {} of {last} entries", view.commit));
            }
        }
        if leaders != 1 {
            return Some(format!("{leaders} members lead"));
        }
        self.traffic_pending().or_else(|| self.leases_pending())
    }

    /// Whether everything has settled but watching clients, who are connected and not told what is due to them.
    pub(crate) fn only_watchers_lag(&self) -> bool {
        self.watcher_lags().is_some_and(|lags| self.pending() == Some(lags))
    }

    /// Nobody keeps leases alive any more. Those that do not live long must go.
    fn leases_pending(&self) -> Option<String> {
        let views = self.nodes.iter().filter_map(|node| node.replica.as_ref()).map(|replica| replica.view());
        let mut short = views.flat_map(|view| view.leases.iter()).filter(|(_, lease)| lease.ttl <= LEASE_AWAITED);
        short.next().map(|(id, lease)| format!("lease {id:x} of {} s is still there", lease.ttl))
    }

    fn count_network(&mut self) {
        let tally = *self.network.tally();
        for (name, count) in [
            ("messages", tally.sent),
            ("messages_lost", tally.lost),
            ("messages_duplicated", tally.duplicated),
            ("messages_reordered", tally.reordered),
            ("messages_partitioned", tally.partitioned),
        ] {
            self.tally.insert(name, count);
        }
    }

    /// Hand over what the run has left.
    pub(crate) fn finish(mut self) -> Remains {
        self.count_network();
        self.count_disk_faults();
        let faults = self.faults.tally();
        let history = self.traffic.history(self.moment);
        Remains {
            digest: self.digest.value(),
            checkpoints: self.digest.checkpoints().to_vec(),
            events: self.moment,
            simulated_nanos: self.now,
            history,
            tally: self.tally,
            faults,
            refusals: self.refusals,
            measures: self.measuring.into_measures(),
            stop: self.stop,
            trace: self.trace.unwrap_or_default(),
            members: self.nodes.into_iter().map(Node::remains).collect(),
        }
    }
}

/// What is left of a world when its run is over.
pub(crate) struct Remains {
    pub(crate) digest: u128,
    pub(crate) checkpoints: Vec<u64>,
    pub(crate) events: u64,
    pub(crate) simulated_nanos: u64,
    pub(crate) history: History,
    pub(crate) tally: Tally,
    pub(crate) faults: Tally,
    pub(crate) refusals: Vec<Refusal>,
    pub(crate) measures: Measures,
    pub(crate) stop: Option<Stop>,
    pub(crate) trace: Vec<String>,
    pub(crate) members: Vec<Standing>,
}

/// Fold what a member is given into the digest: kind, and what distinguishes it.
fn fold_input(digest: &mut Digest, now: u64, node: usize, input: &Input) {
    let node = node as u64;
    match input {
        Input::Run(task) => digest.event(now, 16 + task.index() as u64, node),
        Input::Chance(Chance::ElectionTimeout(ticks)) => {
            digest.event(now, 3, node);
            digest.number(u64::from(*ticks));
        }
        Input::Message(peer) => {
            digest.event(now, 4, node);
            perform::fold_message(digest, peer);
        }
        Input::Unreachable { member } => {
            digest.event(now, 5, node);
            digest.number(member.0);
        }
        Input::SnapshotSent { member, stream, delivered } => {
            digest.event(now, 6, node);
            digest.number(stream << 32 | member.0 << 1 | u64::from(*delivered));
        }
        Input::Request { id, .. } => {
            digest.event(now, 7, node);
            digest.number(id.0);
        }
        Input::StreamOpen { stream, window, .. } => {
            digest.event(now, 8, node);
            digest.number(stream.0 << 32 | u64::from(*window));
        }
        Input::StreamRequest { stream, .. } => {
            digest.event(now, 9, node);
            digest.number(stream.0);
        }
        Input::StreamGrant { stream, responses } => {
            digest.event(now, 10, node);
            digest.number(stream.0 << 32 | u64::from(*responses));
        }
        Input::StreamClosed { stream } => {
            digest.event(now, 11, node);
            digest.number(stream.0);
        }
        Input::Disk { op, result } => {
            digest.event(now, 12, node);
            digest.number(op.0 << 1 | u64::from(result.is_ok()));
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "a panic without a message".to_owned(),
    }
}

/// JSON's form of a text.
fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                json.push('\\');
                json.push(letter);
            }
            control if control < ' ' => json.push_str(&format!("\\u{:04x}", control as u32)),
            other => json.push(other),
        }
    }
    json.push('"');
    json
}

const SENT: &str = "messages go between members that have places";
/// How long a goroutine that became runnable waits at most, nanoseconds. Messages that arrive meanwhile share one
/// Ready.
const SCHEDULING: u64 = 20_000;
/// A lease of so many seconds or fewer must have ended before a run does.
const LEASE_AWAITED: i64 = 10;

#[cfg(test)]
mod tests;
