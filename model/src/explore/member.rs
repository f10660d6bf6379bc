//! One member of the small world: the real replica, its disk, and the loop that drives it. The tasks that never wait
//! for anything outside the member (the Raft loop, the apply loop) run at once, in a fixed order, until nothing is
//! left to do.

use std::collections::{BTreeSet, VecDeque};
use std::hash::Hash;

use detcd_replica::time::{Monotonic, Span};
use detcd_replica::{Chance, Config, Event, Input, Output, PeerMessage, Replica, Role, Task, View};
use xxhash_rust::xxh3::Xxh3;

use super::disk::Disk;

/// Steps that one input may cause; more is a loop that never ends.
const STEPS_MAX: usize = 10_000;

/// What others saw of a member while it took one input.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Messages, in order.
    pub(super) sent: Vec<PeerMessage>,
    /// Terms in which it led.
    pub(super) led: BTreeSet<u64>,
    /// Index, term and hash of the entries that it applied.
    pub(super) applied: Vec<(u64, u64, u64)>,
    /// Index and term of the entries whose clients it told that all is well.
    pub(super) acknowledged: Vec<(u64, u64)>,
    /// It stopped by itself.
    pub(super) stopped: bool,
}

#[derive(Debug)]
pub(super) struct Member {
    replica: Box<ReplicaCell>,
    disk: Disk,
    incarnation: u64,
    fingerprint: u128,
}

/// A replica has no `Debug`, and nobody wants to read one.
struct ReplicaCell(Replica);

impl std::fmt::Debug for ReplicaCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let view = self.0.view();
        write!(f, "{} {:?} term {} commit {}", view.member, view.role, view.term, view.commit)
    }
}

impl Member {
    /// Start on `disk`. Syncs end at once unless they are `separate` actions.
    pub(super) fn boot(config: Config, disk: Disk, incarnation: u64, separate: bool, seen: &mut Seen) -> Self {
        let mut out = Vec::new();
        let replica = Replica::boot(config, &disk.image(), clock(incarnation), &mut out)
            .expect("a member starts from every disk that it has written itself");
        let replica = Box::new(ReplicaCell(replica));
        let mut member = Self { replica, disk, incarnation, fingerprint: 0 };
        member.drive(VecDeque::new(), out, separate, seen);
        member
    }

    /// An equal member.
    pub(super) fn fork(&self) -> Self {
        Self {
            replica: Box::new(ReplicaCell(self.replica.0.fork())),
            disk: self.disk.clone(),
            incarnation: self.incarnation,
            fingerprint: self.fingerprint,
        }
    }

    /// The power fails and comes back.
    pub(super) fn restart(&self, separate: bool, seen: &mut Seen) -> Self {
        let mut disk = self.disk.clone();
        disk.lose_power();
        Self::boot(self.replica.0.config().clone(), disk, self.incarnation + 1, separate, seen)
    }

    /// Take one input, and do all that follows from it inside the member.
    pub(super) fn take(&mut self, input: Input, separate: bool, seen: &mut Seen) {
        self.drive(VecDeque::from([input]), Vec::new(), separate, seen);
    }

    /// The election timer runs out: as many ticks as it takes to campaign.
    pub(super) fn time_out(&mut self, separate: bool, seen: &mut Seen) {
        let (term, limit) = (self.view().term, 2 * self.replica.0.config().election_ticks);
        for _ in 0..limit {
            self.take(Input::Run(Task::Tick), separate, seen);
            if self.view().term > term {
                return;
            }
        }
        panic!("{} did not campaign after {limit} ticks", self.view().member);
    }

    /// The oldest sync ends.
    pub(super) fn end_sync(&mut self, separate: bool, seen: &mut Seen) {
        if let Some(op) = self.disk.end_sync() {
            self.take(Input::Disk { op, result: Ok(()) }, separate, seen);
        }
    }

    fn drive(&mut self, mut inputs: VecDeque<Input>, mut out: Vec<Output>, separate: bool, seen: &mut Seen) {
        let now = clock(self.incarnation);
        let mut tasks = BTreeSet::new();
        for _ in 0..STEPS_MAX {
            let mut replied = false;
            for output in out.drain(..) {
                match output {
                    Output::Send(message) => seen.sent.push(message),
                    Output::Disk { op, command } => self.disk.perform(op, command),
                    Output::Reply { result, .. } => replied = result.is_ok(),
                    // Timers do not run: time passes only as an action.
                    Output::Wake { task, after: Span::ZERO } => {
                        tasks.insert(task);
                    }
                    Output::Ask(_) => {
                        let shortest = self.replica.0.config().election_ticks;
                        inputs.push_front(Input::Chance(Chance::ElectionTimeout(shortest)));
                    }
                    Output::Event(Event::Applied { index, term, entry_hash, .. }) => {
                        seen.applied.push((index, term, entry_hash));
                        // The reply to a put comes out just before this.
                        if std::mem::take(&mut replied) {
                            seen.acknowledged.push((index, term));
                        }
                    }
                    Output::Exit { .. } => seen.stopped = true,
                    Output::SnapshotReceived { .. } => unreachable!("nobody falls so far behind within the bounds"),
                    Output::Stream { .. } | Output::Wake { .. } | Output::Point(_) | Output::Event(_) => {}
                }
            }
            let view = self.view();
            if view.role == Role::Leader {
                seen.led.insert(view.term);
            }
            let next = inputs.pop_front().or_else(|| {
                let op = (!separate).then(|| self.disk.end_sync()).flatten();
                op.map(|op| Input::Disk { op, result: Ok(()) })
            });
            let Some(input) = next.or_else(|| tasks.pop_first().map(Input::Run)) else {
                self.disk.read();
                self.fingerprint = self.digest();
                return;
            };
            self.replica.0.step(now, input, &mut out);
        }
        panic!("{} finds no rest", self.view().member);
    }

    fn digest(&self) -> u128 {
        let mut hasher = Xxh3::new();
        self.replica.0.fingerprint().hash(&mut hasher);
        self.incarnation.hash(&mut hasher);
        self.disk.fingerprint(&mut hasher);
        hasher.digest128()
    }

    /// What it shows of itself.
    pub(super) fn view(&self) -> View<'_> {
        self.replica.0.view()
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Equal members have equal fingerprints.
    pub(super) fn fingerprint(&self) -> u128 {
        self.fingerprint
    }
}

/// It stands still, but no two incarnations share a moment: their requests must not have the same ids.
fn clock(incarnation: u64) -> Monotonic {
    Monotonic::default() + Span::millis(incarnation)
}
