//! How fast it is, in CPU time of this process, so that a busy machine does not change the figures much.
//!
//! The limit comes first: three bare raft-rs members, with nothing around them. The rest are scenarios of their own,
//! run as `detcd run` runs them, every check on.

mod memory;
mod pager;
mod raft_loop;
mod split;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use detcd_replica::Bugs;
use serde::Serialize;

use crate::cli::{Keep, SeedRange};
use crate::cpu::{per_second, process_time};
use crate::engine::{self, Host, Judges, RunOptions, Verdict};
use crate::exit::Failure;
use crate::output::lines::{round, RunLine, Totals};
use crate::run::Batch;

/// One thing to measure.
pub(crate) struct Case {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// Measures it.
    pub(crate) measure: fn(&Self) -> Result<Vec<Figure>, Failure>,
}

/// One figure: `detcd.bench/1`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    schema: &'static str,
    /// The case.
    pub(crate) case: &'static str,
    /// What was measured.
    pub(crate) what: String,
    /// The figure.
    pub(crate) figure: f64,
    /// Of what.
    pub(crate) unit: &'static str,
    /// What it should be, or more.
    pub(crate) aim: Option<f64>,
    /// CPU time, user and system, of the whole process.
    pub(crate) cpu_ms: f64,
    /// Real time.
    pub(crate) wall_ms: f64,
    /// Share of the CPU time of each part, percent; empty where it is not measured.
    pub(crate) parts: BTreeMap<String, f64>,
}

/// Every case, in the order they are run.
pub(crate) const CASES: &[Case] = &[
    // First: a child counts what its parent had resident when it was started as its own.
    Case { name: "memory", measure: memory },
    Case { name: "raft", measure: raft },
    Case { name: "pager", measure: pages },
    Case { name: "full", measure: full },
    Case { name: "idle", measure: idle },
    Case { name: "short", measure: short },
    Case { name: "jobs", measure: jobs },
];

/// What a measurement took.
#[derive(Clone, Copy)]
struct Taken {
    cpu: Duration,
    wall: Duration,
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Taken) {
    let (wall, cpu) = (Instant::now(), process_time());
    let value = work();
    (value, Taken { cpu: process_time() - cpu, wall: wall.elapsed() })
}

fn figure(case: &Case, what: String, figure: f64, unit: &'static str, aim: Option<f64>, taken: Taken) -> Figure {
    let millis = |time: Duration| round(time.as_secs_f64() * 1e3);
    Figure {
        schema: "detcd.bench/1",
        case: case.name,
        what,
        figure: round(figure),
        unit,
        aim,
        cpu_ms: millis(taken.cpu),
        wall_ms: millis(taken.wall),
        parts: BTreeMap::new(),
    }
}

/// Commits of the bare loop.
const RAFT_COMMITS: u64 = 100_000;
/// Clients of the bare loop.
const RAFT_CLIENTS: u64 = 8;

/// The limit: nothing but raft-rs and a delay line.
fn raft(case: &Case) -> Result<Vec<Figure>, Failure> {
    let (outcome, taken) = timed(|| raft_loop::run(RAFT_CLIENTS, RAFT_COMMITS, 1));
    let what = format!("bare raft-rs, 3 members in memory, {RAFT_CLIENTS} clients, {RAFT_COMMITS} commits");
    Ok(vec![
        figure(case, what, per_second(outcome.commits, taken.cpu), "commits per CPU-second", None, taken),
        figure(
            case,
            "the same".into(),
            per_second(outcome.messages, taken.cpu),
            "messages per CPU-second",
            None,
            taken,
        ),
    ])
}

/// Files that the pager writes.
const PAGER_FILES: u64 = 25;

/// The pager, with nothing around it, and how much it writes beside bbolt.
fn pages(case: &Case) -> Result<Vec<Figure>, Failure> {
    let (stats, taken) = timed(|| pager::run(PAGER_FILES));
    let what = format!("batches of 150 puts and what etcd writes beside them, {} commits", stats.commits);
    let same = || "the same".to_owned();
    let beside = pager::BBOLT_PAGES as f64 / pager::BATCHES as f64;
    let commits = figure(case, what, per_second(stats.commits, taken.cpu), "commits per CPU-second", None, taken);
    let rate = per_second(stats.pages_written, taken.cpu);
    let written = figure(case, same(), rate, "pages written per CPU-second", None, taken);
    let each = stats.pages_written as f64 / stats.commits as f64;
    let what = format!("the same; bbolt 1.4.3 writes {beside:.3}");
    Ok(vec![commits, written, figure(case, what, each, "pages written per commit", None, taken)])
}

/// The whole thing: replica, world and every check.
fn full(case: &Case) -> Result<Vec<Figure>, Failure> {
    let (totals, taken) = batch("bench-full", 4, NonZeroUsize::MIN)?;
    let what = "etcd-mix, 3 members, nvme, 16 clients, every check".to_owned();
    let rate = per_second(totals.operations, taken.cpu);
    let mut full = figure(case, what, rate, "checked operations per CPU-second", Some(50_000.0), taken);
    // On the plain loop: the profiler's signal reads the clock, which inside madsim would wait for madsim's own lock.
    full.parts =
        split::profiled(|| batch_on(Host::Bare, "bench-full", 4, NonZeroUsize::MIN, &mut |_| Ok(())).map(|_| ()))?;
    Ok(vec![full])
}

/// A cluster that nobody asks anything.
fn idle(case: &Case) -> Result<Vec<Figure>, Failure> {
    let (totals, taken) = batch("bench-idle", 1, NonZeroUsize::MIN)?;
    let rate = per_second(totals.simulated_ms, taken.cpu) / 1e3;
    Ok(vec![figure(case, "idle, etcd's ticks".into(), rate, "simulated time per CPU time", Some(20_000.0), taken)])
}

/// Many small worlds.
fn short(case: &Case) -> Result<Vec<Figure>, Failure> {
    let (totals, taken) = batch("bench-short", 500, NonZeroUsize::MIN)?;
    let rate = per_second(totals.seeds, taken.cpu);
    Ok(vec![figure(case, "100 operations, checked".into(), rate, "runs per CPU-second", Some(500.0), taken)])
}

/// What a second thread is worth.
fn jobs(case: &Case) -> Result<Vec<Figure>, Failure> {
    let two = NonZeroUsize::MIN.saturating_add(1);
    let (_, one) = batch("bench-short", 400, NonZeroUsize::MIN)?;
    let (_, both) = batch("bench-short", 400, two)?;
    let gain = one.wall.as_secs_f64() / both.wall.as_secs_f64().max(1e-9);
    Ok(vec![figure(case, "400 short runs".into(), gain, "times as fast with two jobs", Some(1.8), both)])
}

/// What one long run needs, in a process of its own; and what is left behind by many short ones.
fn memory(case: &Case) -> Result<Vec<Figure>, Failure> {
    let (peak, taken) = timed(|| memory::peak_of_run("bench-minute"));
    let what = "the whole process, 60 simulated seconds, at most 64".to_owned();
    let long = figure(case, what, peak?, "MiB at the peak", None, taken);
    // In one batch, on one thread: that of another batch would have memory of its own.
    let mut held = Vec::new();
    let (_, taken) = batch_on(engine::usual_host(), "bench-short", 1_100, NonZeroUsize::MIN, &mut |runs| {
        if runs == 100 || runs == 1_100 {
            held.push(memory::resident()?);
        }
        Ok(())
    })?;
    let what = "after 1000 more runs in one process, at most 1".to_owned();
    let grown = figure(case, what, held[1] - held[0], "MiB grown", None, taken);
    Ok(vec![long, grown])
}

/// The sums of a batch.
#[derive(Clone, Copy, Default)]
struct Sums {
    seeds: u64,
    operations: u64,
    simulated_ms: u64,
}

/// Runs a built-in scenario with `count` seeds from 1. A figure of runs that fail would mean nothing, so it is refused.
fn batch(name: &'static str, count: u64, jobs: NonZeroUsize) -> Result<(Sums, Taken), Failure> {
    batch_on(engine::usual_host(), name, count, jobs, &mut |_| Ok(()))
}

/// The same on a certain host. `each` is told after each run how many there have been.
fn batch_on(
    host: Host,
    name: &'static str,
    count: u64,
    jobs: NonZeroUsize,
    each: &mut dyn FnMut(u64) -> Result<(), Failure>,
) -> Result<(Sums, Taken), Failure> {
    let scenario = engine::load(name, &[])?;
    let options = RunOptions {
        bugs: Bugs::NONE,
        judges: Judges::All,
        host,
        trace: false,
        overrides: BTreeMap::new(),
        past: None,
    };
    let seeds = SeedRange::new(1, count);
    let batch = Batch { scenario: &scenario, seeds: &seeds, options: &options, keep: Keep::None, jobs };
    let mut totals = Totals::default();
    let mut sums = Sums::default();
    let (result, taken) = timed(|| {
        batch.execute(
            |report| {
                if report.verdict != Verdict::Pass {
                    let why = report.violation.as_ref().map_or("", |violation| &violation.summary);
                    let what = format!("{name} seed {}: {:?} {why}", report.seed, report.verdict);
                    return Err(Failure { exit: crate::run::exit_of(report.verdict), message: what });
                }
                sums.operations += report.operations.ok + report.operations.failed + report.operations.unknown;
                totals.add(&RunLine::new(&report, None));
                each(totals.seeds)?;
                Ok(ControlFlow::Continue(()))
            },
            || (),
        )
    });
    result?;
    sums.seeds = totals.seeds;
    sums.simulated_ms = totals.simulated_ms;
    Ok((sums, taken))
}
