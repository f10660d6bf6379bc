//! The plan of a run: episodes drawn from a seed, swarm style, each in a slot of its own.
//!
//! A slot's draws carry its number, so taking one episode out moves no other; and the budget is kept by construction
//! and not by refusing: what takes members out happens in windows that do not overlap. With `m` members that may be
//! down at once there are `m` lanes; slot `i` belongs to lane `i mod m`, whose windows follow each other.

use detcd_replica::time::Span;
use detcd_replica::{Failpoint, MemberId};

use super::{failpoint, Aim, Episode, Kind, RecordDamage, Target};
use crate::disk::{CommandKind, FileKind, SyncFailure};
use crate::scenario::{Budget, Chance, Scenario};

/// What goes wrong in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The episodes, by start.
    pub episodes: Vec<Episode>,
}

/// The shortest episode there is.
const SHORTEST: Span = Span::millis(5);

/// What every draw of a slot needs.
struct Slot<'a> {
    number: u64,
    scenario: &'a Scenario,
    chance: &'a mut dyn Chance,
}

impl Plan {
    /// The plan of a scenario: its written episodes, and as many drawn ones as it asks for.
    pub fn draw(scenario: &Scenario, chance: &mut dyn Chance) -> Self {
        let members = scenario.cluster.members;
        let mut episodes: Vec<Episode> =
            scenario.faults.episodes.iter().filter_map(|written| written.resolve(members).ok()).collect();
        let kinds: Vec<(Kind, u64)> = scenario
            .faults
            .weights
            .iter()
            .map(|(kind, weight)| (*kind, *weight))
            .filter(|(kind, weight)| *weight > 0 && (members > 1 || !kind.needs_peers()))
            .collect();
        let total: u64 = kinds.iter().map(|(_, weight)| weight).sum();
        if total > 0 {
            for number in 0..scenario.faults.count {
                let slot = Slot { number, scenario, chance };
                episodes.extend(slot.episode(&kinds, total));
            }
        }
        // Stable: episodes that start together keep the order of their slots.
        episodes.sort_by_key(|episode| episode.from);
        Self { episodes }
    }
}

impl Slot<'_> {
    fn episode(mut self, kinds: &[(Kind, u64)], total: u64) -> Option<Episode> {
        let presence = self.scenario.faults.presence;
        if !self.chance.ratio("fault.present", self.number, presence, 1_000_000) {
            return None;
        }
        let kind = self.kind(kinds, total);
        let (from, until) = self.times(kind);
        let mut episode =
            Episode { kind, targets: Vec::new(), from, until, magnitude: 0, failpoint: None, aim: Aim::default() };
        match kind {
            Kind::Crash | Kind::Pause => episode.targets = vec![self.target()],
            Kind::PowerLoss => episode.targets = self.power_loss(),
            Kind::PartitionSymmetric => episode.targets = self.side(),
            Kind::PartitionOneWay | Kind::PartitionIsolate | Kind::DiskStall => episode.targets = vec![self.target()],
            Kind::PartitionRing => {}
            Kind::Loss | Kind::Duplicate | Kind::Reorder => {
                (episode.targets, episode.magnitude) = (self.some(), self.share());
            }
            Kind::Delay => (episode.targets, episode.magnitude) = (self.some(), self.delay()),
            Kind::DiskSlow => (episode.targets, episode.magnitude) = (self.some(), self.slowness()),
            Kind::ClockOffset | Kind::ClockStep => {
                (episode.targets, episode.magnitude) = (vec![self.target()], self.clock_offset());
            }
            Kind::ClockDrift => (episode.targets, episode.magnitude) = (vec![self.target()], self.clock_drift()),
            Kind::FailpointCrash => {
                let (point, hit) = self.failpoint();
                (episode.targets, episode.magnitude, episode.failpoint) = (vec![self.target()], hit, Some(point));
            }
            disk => {
                episode.targets = vec![if disk.breaks_promises() { self.victim() } else { self.target() }];
                (episode.magnitude, episode.aim) = self.disk(disk);
            }
        }
        Some(episode)
    }

    /// How much, and of what, for the faults of a disk and the crashes among its commands.
    fn disk(&mut self, kind: Kind) -> (i64, Aim) {
        let mut aim = Aim::default();
        if kind.takes_file() {
            aim.file = self.any_of("fault.file", &FileKind::ALL);
        }
        match kind {
            Kind::CrashAtCommand => aim.command = self.any_of("fault.command", &CommandKind::ALL),
            Kind::DiskSyncError => {
                let modes = SyncFailure::ALL.map(|mode| mode.is_safe().then_some(mode));
                let modes: Vec<SyncFailure> = modes.into_iter().flatten().collect();
                aim.mode = Some(modes[self.below("fault.mode", modes.len() as u64) as usize]);
            }
            Kind::RecordDamage => {
                let kinds = RecordDamage::ALL;
                aim.record = Some(kinds[self.below("fault.mode", kinds.len() as u64) as usize]);
            }
            _ => {}
        }
        let magnitude = match kind {
            Kind::DiskFull => [1 << 20, 1 << 16, 1 << 13, 0][self.below("fault.magnitude", 4) as usize],
            kind if kind.counts() => [1, 1, 2, 3, 5, 10, 40][self.below("fault.hit", 7) as usize],
            _ => 0,
        };
        (magnitude, aim)
    }

    /// One of them, or in half of the cases none in particular.
    fn any_of<T: Copy>(&mut self, site: &'static str, choices: &[T]) -> Option<T> {
        let count = choices.len() as u64;
        let choice = self.below(site, 2 * count);
        choice.checked_sub(count).map(|place| choices[place as usize])
    }

    /// One of those members whose disks may break promises: the first ones, a minority of all.
    fn victim(&mut self) -> Target {
        let minority = (self.scenario.cluster.members.saturating_sub(1) / 2).max(1);
        Target::Member(MemberId(1 + self.below("fault.target", minority)))
    }

    fn below(&mut self, site: &'static str, n: u64) -> u64 {
        self.chance.below(site, self.number, n)
    }

    fn kind(&mut self, kinds: &[(Kind, u64)], total: u64) -> Kind {
        let mut ticket = self.below("fault.kind", total);
        for (kind, weight) in kinds {
            match ticket.checked_sub(*weight) {
                Some(rest) => ticket = rest,
                None => return *kind,
            }
        }
        unreachable!("a ticket below the total of the weights belongs to a kind")
    }

    /// When. What takes members out stays within the slot's window; everything else may start at any time.
    fn times(&mut self, kind: Kind) -> (Span, Span) {
        let faults = &self.scenario.faults;
        let (within, settle, mean) = (faults.within.0, faults.settle.0, faults.duration.0);
        let lanes = ((self.scenario.cluster.members.saturating_sub(1)) / 2).max(1);
        let bounded = kind.takes_out() && faults.budget == Budget::Recoverable;
        let (opens, room) = if bounded {
            let windows = faults.count.div_ceil(lanes);
            let width = (within / windows).max(SHORTEST * 4);
            (settle + width * (self.number / lanes), width)
        } else {
            (settle, within)
        };
        // A window's second half is for the length, so that an episode never is cut to nothing.
        let latest = if bounded { room / 2 } else { room };
        let from = opens + Span::micros(self.below("fault.start", latest.0 / 1_000 + 1));
        let length = self.chance.exponential("fault.length", self.number, mean);
        let length = length.clamp(SHORTEST, (mean * 5).max(SHORTEST));
        let until = if bounded { (from + length).min(opens + room) } else { from + length };
        assert!(until > from, "an episode lasts");
        (from, until)
    }

    /// One member: a certain one, or by its role.
    fn target(&mut self) -> Target {
        match self.below("fault.role", 4) {
            2 => Target::Leader,
            3 => Target::Follower,
            _ => Target::Member(MemberId(1 + self.below("fault.target", self.scenario.cluster.members))),
        }
    }

    /// So many members in a row, from a drawn one on.
    fn row(&mut self, length: u64) -> Vec<Target> {
        let members = self.scenario.cluster.members;
        let first = self.below("fault.target", members);
        (0..length).map(|i| Target::Member(MemberId(1 + (first + i) % members))).collect()
    }

    /// Any number of members, at least one.
    fn some(&mut self) -> Vec<Target> {
        let length = 1 + self.below("fault.targets", self.scenario.cluster.members);
        self.row(length)
    }

    /// One side of a partition: often the leader alone, else some members but not all.
    fn side(&mut self) -> Vec<Target> {
        if self.below("fault.role", 3) == 1 {
            return vec![Target::Leader];
        }
        let length = 1 + self.below("fault.targets", self.scenario.cluster.members - 1);
        self.row(length)
    }

    /// All members, or the smallest majority.
    fn power_loss(&mut self) -> Vec<Target> {
        let members = self.scenario.cluster.members;
        if self.below("fault.targets", 2) == 0 {
            return Vec::new();
        }
        self.row(members / 2 + 1)
    }

    /// Of messages, per million: mostly few, sometimes most.
    fn share(&mut self) -> i64 {
        [10_000, 50_000, 200_000, 500_000, 900_000][self.below("fault.magnitude", 5) as usize]
    }

    /// Nanoseconds: 1 ms to 2 s.
    fn delay(&mut self) -> i64 {
        [1, 10, 75, 300, 2_000][self.below("fault.magnitude", 5) as usize] * 1_000_000
    }

    /// Percent: twice to two hundred times the usual time.
    fn slowness(&mut self) -> i64 {
        [200, 500, 2_000, 20_000][self.below("fault.magnitude", 4) as usize]
    }

    /// Nanoseconds, either way: 1 ms to an hour.
    fn clock_offset(&mut self) -> i64 {
        let size = [1, 100, 1_000, 60_000, 3_600_000][self.below("fault.magnitude", 5) as usize] * 1_000_000;
        self.signed(size)
    }

    /// Per million, either way: a poor crystal to a clock that runs half as fast again.
    fn clock_drift(&mut self) -> i64 {
        let size = [200, 10_000, 100_000, 450_000][self.below("fault.magnitude", 4) as usize];
        self.signed(size)
    }

    fn signed(&mut self, size: i64) -> i64 {
        if self.below("fault.sign", 2) == 0 {
            size
        } else {
            -size
        }
    }

    fn failpoint(&mut self) -> (Failpoint, i64) {
        let named: Vec<Failpoint> = self.scenario.faults.failpoints.iter().filter_map(|name| failpoint(name)).collect();
        let points: &[Failpoint] = if named.is_empty() { &Failpoint::ALL } else { &named };
        let point = points[self.below("fault.failpoint", points.len() as u64) as usize];
        (point, [1, 1, 2, 3, 10, 40][self.below("fault.hit", 6) as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::{Dice, Neutral};
    use crate::scenario::span::Time;

    fn scenario(members: u64, count: u64) -> Scenario {
        let mut scenario = Scenario::default();
        scenario.cluster.members = members;
        scenario.faults.count = count;
        scenario.faults.weights = Kind::ALL.into_iter().map(|kind| (kind, 1)).collect();
        scenario
    }

    /// How many members are taken out at once, at most, by anything but whole power losses.
    fn out_at_once(plan: &Plan) -> usize {
        let out: Vec<_> = plan.episodes.iter().filter(|episode| episode.kind.takes_out()).collect();
        let at = |moment: Span| {
            out.iter().filter(|e| e.from <= moment && moment < e.until).map(|e| e.targets.len()).sum::<usize>()
        };
        out.iter().map(|episode| at(episode.from)).max().unwrap_or(0)
    }

    #[test]
    fn a_recoverable_plan_takes_out_a_minority_at_most() {
        let mut dice = Dice(1);
        for members in 1..=7 {
            for count in [1, 3, 10, 100] {
                let allowed = ((members as usize - 1) / 2).max(1);
                for _ in 0..50 {
                    let plan = Plan::draw(&scenario(members, count), &mut dice);
                    assert!(out_at_once(&plan) <= allowed, "{members} members: {plan:?}");
                }
            }
        }
    }

    #[test]
    fn an_unbounded_plan_may_take_out_more() {
        let mut scenario = scenario(3, 30);
        scenario.faults.budget = Budget::Unbounded;
        assert!((0..50).any(|seed| out_at_once(&Plan::draw(&scenario, &mut Dice(seed))) > 1));
    }

    #[test]
    fn episodes_make_sense() {
        let mut dice = Dice(2);
        for members in 1..=7 {
            for _ in 0..200 {
                let scenario = scenario(members, 10);
                let plan = Plan::draw(&scenario, &mut dice);
                assert!(plan.episodes.windows(2).all(|pair| pair[0].from <= pair[1].from));
                for episode in &plan.episodes {
                    assert!(episode.from >= scenario.faults.settle.0 && episode.until > episode.from);
                    assert!(members > 1 || !episode.kind.needs_peers());
                    assert_eq!(episode.failpoint.is_some(), episode.kind == Kind::FailpointCrash);
                    assert_eq!(episode.aim.mode.is_some(), episode.kind == Kind::DiskSyncError);
                    assert!(episode.aim.mode.is_none_or(SyncFailure::is_safe));
                    if episode.kind.breaks_promises() {
                        let minority = (members as usize - 1) / 2;
                        let targets = &episode.targets[..];
                        assert!(matches!(targets, [Target::Member(id)] if id.0 as usize <= minority.max(1)));
                    }
                    for target in &episode.targets {
                        assert!(!matches!(target, Target::Member(MemberId(id)) if *id == 0 || *id > members));
                    }
                    if episode.kind == Kind::PartitionSymmetric {
                        assert!((1..members as usize).contains(&episode.targets.len()));
                    }
                    if episode.kind == Kind::PowerLoss && !episode.targets.is_empty() {
                        assert_eq!(episode.targets.len() as u64, members / 2 + 1);
                    }
                }
            }
        }
    }

    #[test]
    fn neutral_decisions_plan_nothing_but_what_is_written() {
        let mut scenario = scenario(3, 10);
        scenario.faults.episodes.push(crate::fault::EpisodeSpec {
            kind: Kind::Pause,
            targets: vec!["leader".into()],
            from: Time::millis(1),
            until: Time::millis(9),
            magnitude: 0,
            failpoint: None,
            file: None,
            command: None,
            mode: None,
            record: None,
        });
        let plan = Plan::draw(&scenario, &mut Neutral);
        assert_eq!(plan.episodes.len(), 1);
        assert_eq!(plan.episodes[0].targets, [Target::Leader]);
    }
}
