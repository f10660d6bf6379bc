//! The one door between the tool and the packages behind it: the world (`sim`), the judge (`model`), the replica.
//!
//! Everything here is plain data and functions. The tool knows of the other packages only what these types say.

mod alone;
mod check;
mod database;
mod evidence;
mod inspect;
mod past;
mod restart;
mod restore;
pub(crate) mod selftest;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use detcd_model::explore;
use detcd_model::invariants::Invariants;
use detcd_model::{jsonl, JudgeOptions, Judgement};
use detcd_replica::history::{Finding, History, Moment, Side};
use detcd_replica::time::{Monotonic, Span};
use detcd_replica::{Address, Bugs, DiskImage, FileName, MemberId, OpId, Output, Release, Rope, Timeline, View};
use detcd_sim::decide::Label;
use detcd_sim::{disk, fault, Failure, Observer, Unobserved};
use serde::{Deserialize, Serialize};

use crate::scenario::{Scenario, Setting};

pub(crate) use alone::Alone;
pub(crate) use check::{check, CheckModel, CheckOptions, CheckReport, CheckVerdict};
pub(crate) use database::{Database, Page};
pub(crate) use evidence::{disk_of, At, Evidence, FileContent, Kept, Standing};
pub(crate) use inspect::{found, identity, inspect, Hash, Inspection, LeaseFound, MemberFound, Start, Subject};
pub(crate) use past::Past;
pub(crate) use restore::{restored, saved, HashCheck};

/// How long things took in a run.
pub(crate) use detcd_sim::measure::{Measures, Times};

/// A scenario as the world reads it.
pub(crate) type World = detcd_sim::scenario::Scenario;

/// Loads a scenario for the world, built in or from a file, with settings.
///
/// # Errors
/// One line, exit 2.
pub(crate) fn load(name: &str, settings: &[Setting]) -> Result<Scenario<World>, crate::exit::Failure> {
    let mut scenario: Scenario<World> = crate::scenario::load(name, settings)?;
    prepare(&mut scenario.world, &scenario.table)?;
    Ok(scenario)
}

/// Completes a scenario that was read from `table`: what it states is kept where a swarm draws the rest.
///
/// # Errors
/// The first field that cannot be.
pub(crate) fn prepare(world: &mut World, table: &toml::Table) -> Result<(), EngineError> {
    fn paths(prefix: &str, table: &toml::Table, all: &mut std::collections::BTreeSet<String>) {
        for (key, value) in table {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            if let toml::Value::Table(inner) = value {
                paths(&path, inner, all);
            }
            all.insert(path);
        }
    }
    paths("", table, &mut world.stated);
    world.validate().map_err(|error| EngineError::Scenario(error.to_string()))
}

/// Who pumps the world's event queue. Both give the same digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Host {
    /// The madsim runtime, which also guards against stray time, entropy and threads.
    Madsim,
    /// A plain loop.
    Bare,
}

/// Who judges a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judges {
    /// Every check there is.
    All,
    /// Those that see only what clients saw, as they would judge a real etcd.
    BlackBox,
    /// One check of the members: what others find on a disk is passed over, so that the run goes on to what its member
    /// makes of it.
    By(&'static str),
}

/// What a run may be told beside its scenario and seed.
#[derive(Clone, Debug)]
pub(crate) struct RunOptions {
    /// Bugs switched on.
    pub(crate) bugs: Bugs,
    /// Who pumps the queue.
    pub(crate) host: Host,
    /// Who judges.
    pub(crate) judges: Judges,
    /// Whether to record the trace and the history. The digest does not depend on it.
    pub(crate) trace: bool,
    /// Decisions that are not drawn but named: label to value.
    pub(crate) overrides: BTreeMap<String, u64>,
    /// What was before; `None` is empty disks. Then only what clients see is judged.
    pub(crate) past: Option<Arc<Past>>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// Every check held.
    Pass,
    /// A safety property does not hold.
    Violation,
    /// The healed cluster did not recover in time.
    Liveness,
    /// A checker spent its budget.
    Undecided,
    /// A replica, or the tool itself, panicked.
    Panic,
    /// One seed gave two results.
    Nondeterminism,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The check, by its name.
    pub(crate) check: String,
    /// The evidence it works on: `black-box` or `white-box`.
    pub(crate) side: String,
    /// The number of the event at which it was found.
    pub(crate) at: Option<u64>,
    /// One sentence in etcd's words.
    pub(crate) summary: String,
    /// The facts behind it, a line each.
    pub(crate) details: Vec<String>,
}

/// How the operations of clients ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Operations {
    /// Answered.
    pub(crate) ok: u64,
    /// Refused, without effect.
    pub(crate) failed: u64,
    /// Open for ever.
    pub(crate) unknown: u64,
}

/// What the cluster lived through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Stats {
    /// Elections won after the first.
    pub(crate) leader_changes: u64,
    /// Raft snapshots that a lagging member installed.
    pub(crate) snapshots_installed: u64,
    /// Members that crashed.
    pub(crate) crashes: u64,
    /// Members that booted again from their disk.
    pub(crate) recoveries: u64,
}

/// Everything one run says of itself.
#[derive(Clone, Debug)]
pub(crate) struct RunReport {
    /// The scenario's name.
    pub(crate) scenario: String,
    /// The seed.
    pub(crate) seed: u64,
    /// How it ended.
    pub(crate) verdict: Verdict,
    /// The chained hash of everything that happened.
    pub(crate) digest: u128,
    /// Events taken from the queue.
    pub(crate) events: u64,
    /// Simulated time.
    pub(crate) simulated_ms: u64,
    /// Real time. The tool measures it; the engine leaves it at 0.
    pub(crate) wall_ms: u64,
    /// How the operations ended.
    pub(crate) operations: Operations,
    /// How often each kind of fault fired.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Members that refused to start, or could not go on, for what a fault had done to a disk: who and why.
    pub(crate) refused: Vec<String>,
    /// The checks that were made.
    pub(crate) checks: Vec<&'static str>,
    /// What a check found first.
    pub(crate) violation: Option<Violation>,
    /// What others found then: the same thing, most likely, by other evidence.
    pub(crate) others: Vec<Violation>,
    /// What the cluster lived through.
    pub(crate) stats: Stats,
    /// How long things took.
    pub(crate) measures: Measures,
    /// The trace, a JSON object a line; empty unless asked for.
    pub(crate) trace: Vec<String>,
    /// The history, a JSON object a line; empty unless asked for.
    pub(crate) history: String,
}

/// Why the engine cannot do what it was asked.
#[derive(Debug)]
pub(crate) enum EngineError {
    /// The scenario says something that cannot be.
    Scenario(String),
    /// A history cannot be read: line (from 1), column (from 1), what is wrong.
    History(usize, usize, String),
    /// What was asked for is not there: one line.
    Asked(String),
    /// No such profile, model or property: the word, and those there are.
    Unknown(String, Vec<String>),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scenario(reason) => write!(f, "scenario: {reason}"),
            Self::Asked(reason) => f.write_str(reason),
            Self::History(line, column, reason) => write!(f, "{line}:{column}: {reason}"),
            Self::Unknown(word, known) => {
                let hint = crate::exit::suggestion(word, known.iter().map(String::as_str));
                write!(f, "unknown `{word}`{hint} (there are: {})", known.join(", "))
            }
        }
    }
}

impl From<EngineError> for crate::exit::Failure {
    fn from(error: EngineError) -> Self {
        Self::usage(error.to_string())
    }
}

/// Whether madsim is part of this build.
pub(crate) const fn has_madsim() -> bool {
    cfg!(madsim)
}

/// Who pumps the events when nobody says.
pub(crate) const fn usual_host() -> Host {
    match has_madsim() {
        true => Host::Madsim,
        false => Host::Bare,
    }
}

/// The kinds of fault that may come in this scenario, for the list of those that never fired.
pub(crate) fn fault_kinds(world: &World) -> Vec<&'static str> {
    let faults = &world.faults;
    let may_come = |kind: &fault::Kind| {
        let stated = faults.weights.contains_key(kind) || faults.episodes.iter().any(|episode| episode.kind == *kind);
        stated || (world.swarm && !kind.breaks_promises())
    };
    fault::Kind::ALL.iter().filter(|kind| may_come(kind)).map(|kind| kind.name()).collect()
}

/// The white-box judge, plugged into the world.
struct WhiteBox(Rc<RefCell<Invariants>>);

impl WhiteBox {
    fn new(founders: &[MemberId]) -> Self {
        Self(Rc::new(RefCell::new(Invariants::new(founders))))
    }
}

impl Observer for WhiteBox {
    fn clock(&mut self, now: u64, local: Monotonic, rate_ppb: i64) {
        self.0.borrow_mut().on_clock(now, local, rate_ppb);
    }

    fn stepped(&mut self, moment: Moment, view: &View<'_>, outputs: &[Output]) -> Option<Finding> {
        self.0.borrow_mut().on_step(moment, view, outputs).err()
    }

    fn synced(&mut self, moment: Moment, member: MemberId, file: FileName, op: OpId) -> Option<Finding> {
        self.0.borrow_mut().on_synced(moment, member, file, op).err()
    }

    fn crashed(&mut self, moment: Moment, member: MemberId) -> Option<Finding> {
        self.0.borrow_mut().on_crash(moment, member).err()
    }

    fn disk(&mut self, moment: Moment, member: MemberId, image: &DiskImage) -> Option<Finding> {
        self.0.borrow_mut().on_image(moment, member, image).err()
    }

    fn left(&mut self, moment: Moment, member: MemberId, image: &DiskImage) -> Option<Finding> {
        self.0.borrow_mut().on_last_image(moment, member, image).err()
    }

    fn committed(&mut self, moment: Moment, member: MemberId, db: &Rope) -> Option<Finding> {
        self.0.borrow_mut().on_commit(moment, member, db).err()
    }

    fn booted(&mut self, moment: Moment, view: &View<'_>, outputs: &[Output]) -> Option<Finding> {
        self.0.borrow_mut().on_boot(moment, view, outputs).err()
    }

    fn timeline(&mut self, moment: Moment, view: &View<'_>, timeline: &dyn Timeline) -> Option<Finding> {
        self.0.borrow_mut().on_timeline(moment, view, timeline).err()
    }

    fn damaged(&mut self, _: Moment, member: MemberId) {
        self.0.borrow_mut().disk_damaged(member);
    }
}

/// One run. A function of its arguments.
///
/// # Errors
/// The scenario cannot be run. A panic of a replica is a verdict, not an error.
pub(crate) fn run(name: &str, world: &World, seed: u64, options: &RunOptions) -> Result<RunReport, EngineError> {
    let (report, history) = run_once(name, world, seed, options)?;
    let at = world.restore.at.0;
    if at == Span::ZERO || options.past.is_some() || report.verdict != Verdict::Pass {
        return Ok(report);
    }
    restart::go_on(report, &history, world, options, at)
}

/// One cluster's run, and what its clients saw.
fn run_once(name: &str, world: &World, seed: u64, options: &RunOptions) -> Result<(RunReport, History), EngineError> {
    let (scenario, asked) = settle(world, seed, options)?;
    let invariants = Rc::new(RefCell::new(Invariants::new(&[])));
    let mut outcome = detcd_sim::run(&scenario, &asked, &mut |founders: &[MemberId]| -> Box<dyn Observer> {
        if let Some(saved) = options.past.as_ref().and_then(|past| past.saved.clone()) {
            return Box::new(restart::Verifier(saved));
        }
        if options.judges == Judges::BlackBox || options.past.is_some() {
            return Box::new(Unobserved);
        }
        let all = Invariants::new(founders);
        invariants.replace(match options.judges {
            Judges::By(check) => all.only(check),
            Judges::All | Judges::BlackBox => all,
        });
        Box::new(WhiteBox(invariants.clone()))
    });
    let mut checks: Vec<&'static str> = match (options.judges, &options.past) {
        (Judges::All | Judges::By(_), None) => detcd_model::invariants::names().to_vec(),
        _ => Vec::new(),
    };
    let past = options.past.as_ref().map_or(&[][..], |past| &past.operations);
    outcome.history.operations.splice(0..0, past.iter().cloned());
    let judgement = judge(&outcome.history, &mut invariants.borrow_mut());
    checks.extend(judgement.checks);
    checks.extend([detcd_model::effects::CHECK, "liveness"]);
    name_once(&mut checks);
    let count = |key: &str| outcome.tally.get(key).copied().unwrap_or(0);
    let inside = judge_inside(&outcome.history, &mut invariants.borrow_mut());
    let mut others: Vec<Finding> = Vec::new();
    let inside = inside.or_else(|| not_accused(&outcome, &invariants.borrow()));
    let mut found = judgement.findings.into_iter().chain(inside);
    let (verdict, finding) = match (outcome.failure, found.next()) {
        (Some(Failure::Panic(finding)), _) => (Verdict::Panic, Some(finding)),
        (Some(Failure::Finding(finding)), black_box) => {
            others.extend(black_box);
            (Verdict::Violation, Some(finding))
        }
        (_, Some(finding)) => (Verdict::Violation, Some(finding)),
        (Some(Failure::Liveness(finding)), None) => (Verdict::Liveness, Some(finding)),
        (None, None) => match judgement.undecided {
            Some(reason) => (Verdict::Undecided, Some(undecided(reason, outcome.events))),
            None => (Verdict::Pass, None),
        },
    };
    let mut history = Vec::new();
    if options.trace {
        jsonl::write(&outcome.history, &mut history).expect("memory can always be written to");
    }
    let report = RunReport {
        scenario: name.to_owned(),
        seed,
        verdict,
        digest: outcome.digest,
        events: outcome.events,
        simulated_ms: outcome.simulated.as_millis(),
        wall_ms: 0,
        operations: Operations {
            ok: judgement.operations.ok - past.len() as u64,
            failed: judgement.operations.failed,
            unknown: judgement.operations.unknown,
        },
        faults: outcome.faults.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
        refused: outcome.refusals.iter().map(|refusal| format!("{}: {}", refusal.member, refusal.reason)).collect(),
        checks,
        violation: finding.map(Violation::from),
        others: others.into_iter().chain(found).map(Violation::from).collect(),
        stats: Stats {
            // The first leader of a run is no change.
            leader_changes: count("leader_changes").saturating_sub(1),
            snapshots_installed: count("snapshots_installed"),
            crashes: count("crashes"),
            recoveries: count("recoveries"),
        },
        measures: outcome.measures,
        trace: outcome.trace,
        history: String::from_utf8(history).expect("JSON is UTF-8"),
    };
    Ok((report, outcome.history))
}

/// The world's own form of what is to be run.
fn settle(world: &World, seed: u64, options: &RunOptions) -> Result<(World, detcd_sim::Options), EngineError> {
    let mut scenario = world.clone();
    scenario.bugs.extend(options.bugs.iter().map(|bug| bug.name().to_owned()));
    let mut overrides = BTreeMap::new();
    for (label, value) in &options.overrides {
        let label: Label = label.parse().map_err(|_| EngineError::Scenario(format!("`{label}` names no decision")))?;
        overrides.insert(label, *value);
    }
    let host = match options.host {
        Host::Madsim => detcd_sim::Host::Madsim,
        Host::Bare => detcd_sim::Host::Bare,
    };
    let beginning = options.past.as_ref().map(|past| past.beginning.clone());
    Ok((scenario, detcd_sim::Options { seed, host, traced: options.trace, overrides, beginning }))
}

/// What the judge may rely on in a history of the world's own clients.
const OURS: JudgeOptions = JudgeOptions { steps: 500_000, sessions: true };

/// What clients saw decides; only where it leaves too much open is the log heard as a witness.
fn judge(history: &History, invariants: &mut Invariants) -> Judgement {
    let judgement = detcd_model::judge(history, &OURS);
    if judgement.undecided.is_none() {
        return judgement;
    }
    let mut heard = history.clone();
    heard.watches.push(detcd_model::witness(history, invariants.requests()));
    detcd_model::judge(&heard, &OURS)
}

/// What only the log and the members can say, once it is known what clients asked for.
fn judge_inside(history: &History, invariants: &mut Invariants) -> Option<Finding> {
    if invariants.premise_lost() {
        return None;
    }
    let early = invariants.early_expiry(history);
    early.or_else(|| detcd_model::effects::check(history, invariants.requests()))
}

/// A damaged value that nobody has found, though the scenario says that it must be.
fn not_accused(outcome: &detcd_sim::Outcome, invariants: &Invariants) -> Option<Finding> {
    let name = &outcome.scenario.checks.corrupt_alarm;
    let (named, accused) = match fault::Target::parse(name)? {
        fault::Target::Member(id) => (format!("alarm names {id}"), Some(id)),
        _ => ("alarm stands".to_owned(), None),
    };
    let damaged = outcome.faults.iter().any(|(kind, count)| *kind == "value-damage" && *count > 0);
    if !damaged || invariants.premise_lost() || invariants.holds_for_corrupt(accused) {
        return None;
    }
    let summary = format!("a value was damaged, and no CORRUPT {named}");
    Some(Finding { check: "Q1", side: Side::WhiteBox, at: outcome.events, summary, details: Vec::new() })
}

fn undecided(reason: String, at: Moment) -> Finding {
    Finding { check: "linearizability", side: Side::BlackBox, at, summary: reason, details: Vec::new() }
}

impl From<Finding> for Violation {
    fn from(finding: Finding) -> Self {
        let side = match finding.side {
            Side::BlackBox => "black-box",
            Side::WhiteBox => "white-box",
        };
        Self {
            check: finding.check.to_owned(),
            side: side.to_owned(),
            at: Some(finding.at),
            summary: finding.summary,
            details: finding.details,
        }
    }
}

/// Whether more than what clients saw is needed to make this check, or to make all of it.
pub(crate) fn needs_members(check: &str) -> bool {
    let judgement = detcd_model::judge(&History::default(), &OURS);
    detcd_model::invariants::names().contains(&check) || !judgement.checks.contains(&check)
}

/// The checks that may find something first, by their names.
pub(crate) fn checks() -> Vec<&'static str> {
    let judgement = detcd_model::judge(&History::default(), &OURS);
    let mut checks = detcd_model::invariants::names().to_vec();
    checks.extend(judgement.checks);
    checks.extend([detcd_model::effects::CHECK, "liveness", "panic", "boot", restart::CHECK]);
    name_once(&mut checks);
    checks
}

/// Some checks are made by what clients saw and by what members did, under one name.
fn name_once(checks: &mut Vec<&'static str>) {
    let mut seen = BTreeSet::new();
    checks.retain(|check| seen.insert(*check));
}

/// The disk profiles there are.
pub(crate) fn disk_profiles() -> Vec<&'static str> {
    disk::PROFILES.iter().map(|profile| profile.name).collect()
}

/// The latencies, in nanoseconds, of `count` appends of `bytes` bytes, each followed by fdatasync, on an idle disk.
///
/// # Errors
/// There is no such profile.
pub(crate) fn disk_latencies(profile: &str, seed: u64, count: u64, bytes: u64) -> Result<Vec<u64>, EngineError> {
    match disk::profile(profile) {
        Some(profile) => Ok(disk::sync_latencies(profile, seed, count, bytes)),
        None => Err(EngineError::Unknown(profile.to_owned(), disk_profiles().into_iter().map(str::to_owned).collect())),
    }
}

/// A new member of a release that is alone, known by this address, with cheap passwords.
///
/// # Errors
/// It does not get to lead itself.
pub(crate) fn alone(member: MemberId, peer: &str, release: Release, bugs: Bugs) -> Result<Alone, String> {
    let mut config = detcd_replica::Config::etcd(member, vec![member]);
    config.addresses = [(member, Address { peer_urls: vec![peer.to_owned()], ..Address::of(member) })].into();
    config.release = release;
    config.auth.bcrypt_cost = 4;
    config.bugs = bugs;
    Alone::boot(config, detcd_replica::DiskImage::default())
}

/// A request in etcdctl's words, cut after `most` characters.
pub(crate) fn in_words(request: &detcd_replica::api::Request, most: usize) -> String {
    let mut words = detcd_model::in_words(request);
    if let Some((cut, _)) = words.char_indices().nth(most) {
        words.truncate(cut);
        words.push('…');
    }
    words
}

/// A small world to explore whole.
#[derive(Clone, Debug)]
pub(crate) struct ModelOptions {
    /// Give up after so many states; `None` explores all.
    pub(crate) max_states: Option<u64>,
    /// Bugs switched on.
    pub(crate) bugs: Bugs,
}

/// One property of the model.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Property {
    /// Its name.
    pub(crate) name: String,
    /// `always` or `sometimes`.
    pub(crate) kind: &'static str,
    /// Whether an `always` held everywhere, a `sometimes` somewhere.
    pub(crate) holds: bool,
    /// The actions that lead to the counterexample of an `always`, or to the example of a `sometimes`.
    pub(crate) actions: Vec<String>,
}

/// What an exploration says.
#[derive(Clone, Debug)]
pub(crate) struct ModelReport {
    /// States generated.
    pub(crate) states: u64,
    /// Different ones among them.
    pub(crate) unique_states: u64,
    /// The longest path without a repeat.
    pub(crate) max_depth: u64,
    /// Whether every state was reached.
    pub(crate) complete: bool,
    /// The properties, in a fixed order.
    pub(crate) properties: Vec<Property>,
}

/// Explores the small world of the model: one thread, since the search must be the same every time.
///
/// # Errors
/// None yet; a caller must be ready for bounds that cannot be.
pub(crate) fn model(options: &ModelOptions) -> Result<ModelReport, EngineError> {
    let max_states = options.max_states.map(|states| usize::try_from(states).unwrap_or(usize::MAX));
    let bounds = explore::Bounds { max_states, ..explore::Bounds::default() };
    let report = explore::explore(&bounds, options.bugs);
    let properties = report.properties.into_iter().map(|property| Property {
        name: property.name.to_owned(),
        kind: property.kind.name(),
        holds: property.holds,
        actions: property.actions,
    });
    Ok(ModelReport {
        states: report.generated as u64,
        unique_states: report.unique_states as u64,
        max_depth: report.depth as u64,
        complete: report.exhausted,
        properties: properties.collect(),
    })
}
