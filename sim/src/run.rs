//! A run: one scenario, one seed, three acts. Faults and traffic; then everything is repaired; then the cluster must
//! settle within a bound. Where the first member is a former one, the others join it before.

use std::collections::BTreeMap;

use detcd_replica::history::{Finding, History, Moment, Side};
use detcd_replica::time::Span;
use detcd_replica::MemberId;

use crate::beginning::Beginning;
use crate::decide::{Decider, Label};
use crate::fault::Plan;
use crate::halt::Until;
use crate::host::{host, Host};
use crate::measure::Measures;
use crate::observer::Observer;
use crate::scenario::Scenario;
use crate::world::{Refusal, Remains, Stop, Tally, World};

/// What is run, beside the scenario.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    /// Who pumps the events.
    pub host: Host,
    /// Whether to keep a line for every event.
    pub traced: bool,
    /// Decisions that are not left to the seed.
    pub overrides: BTreeMap<Label, u64>,
    /// What was before; `None` is empty disks.
    pub beginning: Option<Beginning>,
}

/// How a run ended, before any black-box check has looked at its history.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scenario as it was run, with everything drawn.
    pub scenario: Scenario,
    /// The chained hash over everything that meant something.
    pub digest: u128,
    /// The hash as it was every 1,024 events.
    pub checkpoints: Vec<u64>,
    /// Events.
    pub events: Moment,
    /// Simulated time.
    pub simulated: Span,
    /// What clients saw.
    pub history: History,
    /// Counts of what happened.
    pub tally: Tally,
    /// How often each kind of fault had an effect.
    pub faults: Tally,
    /// Members that did not start, or could not go on, because of what their disks had done.
    pub refusals: Vec<Refusal>,
    /// How long things took.
    pub measures: Measures,
    /// What stopped it, or that the cluster did not settle.
    pub failure: Option<Failure>,
    /// A line of JSON an event, when traced.
    pub trace: Vec<String>,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A white-box check.
    Finding(Finding),
    /// A member panicked.
    Panic(Finding),
    /// The cluster did not settle after everything was repaired.
    Liveness(Finding),
}

/// Run a scenario. `observer` makes the observer of a cluster that these members found.
pub fn run(
    scenario: &Scenario,
    options: &Options,
    observer: &mut dyn FnMut(&[MemberId]) -> Box<dyn Observer>,
) -> Outcome {
    let (scenario, remains, stuck) = play(scenario, options, Until::End, observer);
    outcome(scenario, remains, stuck)
}

/// The run up to `until`: the scenario with everything drawn, what is left, and why the cluster did not settle.
pub(crate) fn play(
    scenario: &Scenario,
    options: &Options,
    until: Until,
    observer: &mut dyn FnMut(&[MemberId]) -> Box<dyn Observer>,
) -> (Scenario, Remains, Option<String>) {
    let mut decider = Decider::new(options.seed, options.overrides.clone());
    let scenario = scenario.drawn(&mut decider);
    let plan = Plan::draw(&scenario, &mut decider);
    let mut observer = observer(&scenario.founders());
    let beginning = options.beginning.clone();
    let mut world = World::new(&scenario, plan, decider, &mut *observer, options.traced, until, beginning);
    let stuck = host(options.host, options.seed, &mut world, |world, advance| {
        gather(&scenario, world, advance).or_else(|| acts(&scenario, world, advance))
    });
    let remains = world.finish();
    (scenario, remains, stuck)
}

/// Looking at every member after every event would cost more than the event: it is done so often, nanoseconds.
const LOOKS: u64 = 10_000_000;

/// The members join a former one, each once the one before has caught up; then clients and faults begin. Gives who has
/// not come so far in time.
fn gather(
    scenario: &Scenario,
    world: &mut World<'_>,
    advance: &mut dyn FnMut(&mut World<'_>) -> bool,
) -> Option<String> {
    if !world.gathers() {
        return None;
    }
    for place in 0..scenario.cluster.members as usize {
        let (mut looked, bound) = (world.now(), world.liveness_bound());
        let deadline = looked + bound.0;
        world.recruit(place);
        while let Some(reason) = world.not_joined(place) {
            if looked > deadline {
                return Some(format!("the cluster has not gathered, {bound} after it was asked to: {reason}"));
            }
            while world.now() < looked + LOOKS {
                if !advance(world) {
                    return None;
                }
            }
            looked = world.now();
        }
    }
    world.commence();
    None
}

/// The three acts. Gives why the cluster did not settle, if it did not.
fn acts(scenario: &Scenario, world: &mut World<'_>, advance: &mut dyn FnMut(&mut World<'_>) -> bool) -> Option<String> {
    let limit = world.now() + scenario.acts.safety_limit.0 .0;
    while !world.traffic_done() && world.now() < limit {
        if !advance(world) {
            break;
        }
    }
    if world.stopped().is_some() {
        return None;
    }
    world.heal();
    world.end_traffic();
    let deadline = world.now() + world.liveness_bound().0;
    let mut looked = world.now();
    let mut pending = world.pending();
    while pending.is_some() && world.now() < deadline && !world.beyond_repair() {
        if !advance(world) {
            break;
        }
        if world.now() >= looked + LOOKS {
            looked = world.now();
            pending = world.pending();
        }
    }
    // What too many disks have lost, no repair brings back; what clients saw is still judged.
    if world.stopped().is_some() || world.beyond_repair() {
        return None;
    }
    if let Some(reason) = pending {
        // What was due must have come by now: the judge can say which event it is that did not.
        if world.only_watchers_lag() {
            world.last_look();
        }
        let bound = world.liveness_bound();
        return Some(format!("not settled {bound} after everything was repaired: {reason}"));
    }
    world.last_look();
    world.last_hashes();
    world.show_disks();
    world.show_pasts();
    None
}

/// Why a run failed, if it did.
pub(crate) fn failure(at: Moment, stop: Option<Stop>, stuck: Option<String>) -> Option<Failure> {
    let white = |check, summary| Finding { check, side: Side::WhiteBox, at, summary, details: Vec::new() };
    match stop {
        Some(Stop::Finding(finding)) => Some(Failure::Finding(finding)),
        Some(Stop::Panic { member, message }) => {
            Some(Failure::Panic(white("panic", format!("{member} panicked: {message}"))))
        }
        Some(Stop::Refused { member, reason }) => Some(Failure::Finding(white(
            "boot",
            format!("{member} does not start, though no fault damaged its disk: {reason}"),
        ))),
        Some(Stop::Halted) => None,
        None => stuck.map(|reason| Failure::Liveness(white("liveness", reason))),
    }
}

fn outcome(scenario: Scenario, remains: Remains, stuck: Option<String>) -> Outcome {
    Outcome {
        scenario,
        digest: remains.digest,
        checkpoints: remains.checkpoints,
        events: remains.events,
        simulated: Span(remains.simulated_nanos),
        history: remains.history,
        tally: remains.tally,
        faults: remains.faults,
        refusals: remains.refusals,
        measures: remains.measures,
        failure: failure(remains.events, remains.stop, stuck),
        trace: remains.trace,
    }
}
