//! One run on one thread: panics caught, real time measured, and the trace recorded where it will be kept.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::cli::Keep;
use crate::engine::{self, EngineError, Measures, Operations, RunOptions, RunReport, Stats, Verdict, Violation, World};
use crate::panics::{caught, Panic};
use crate::scenario::Scenario;

/// Runs one seed. A run that is to be kept is run with its trace: from the start when all are, a second time when only
/// failures are, and then the two must agree.
///
/// # Errors
/// The engine's: the scenario cannot be run at all.
pub(crate) fn run_one(
    scenario: &Scenario<World>,
    seed: u64,
    options: &RunOptions,
    keep: Keep,
) -> Result<RunReport, EngineError> {
    let traced = RunOptions { trace: true, ..options.clone() };
    if keep == Keep::All || options.trace {
        return guarded(scenario, seed, &traced);
    }
    let first = guarded(scenario, seed, options)?;
    if first.verdict == Verdict::Pass || keep == Keep::None {
        return Ok(first);
    }
    let mut second = guarded(scenario, seed, &traced)?;
    let equal = (first.digest, first.verdict, first.events) == (second.digest, second.verdict, second.events);
    if !equal {
        let facts = |run: &RunReport| format!("{:?}, digest {:032x}, {} events", run.verdict, run.digest, run.events);
        second.violation = Some(Violation {
            check: "determinism".to_owned(),
            side: "white-box".to_owned(),
            at: None,
            summary: format!("seed {seed} ran twice in one process, the second time with its trace, and differed"),
            details: vec![format!("first:  {}", facts(&first)), format!("second: {}", facts(&second))],
        });
        second.verdict = Verdict::Nondeterminism;
    }
    Ok(second)
}

/// One run, whose panics become a verdict. The engine reports those of replicas itself; what arrives here is the
/// tool's.
fn guarded(scenario: &Scenario<World>, seed: u64, options: &RunOptions) -> Result<RunReport, EngineError> {
    let started = Instant::now();
    let mut report = match caught(|| engine::run(&scenario.name, &scenario.world, seed, options)) {
        Ok(report) => report?,
        Err(panic) => panicked(&scenario.name, seed, panic),
    };
    report.wall_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

fn panicked(scenario: &str, seed: u64, panic: Panic) -> RunReport {
    RunReport {
        scenario: scenario.to_owned(),
        seed,
        verdict: Verdict::Panic,
        digest: 0,
        events: 0,
        simulated_ms: 0,
        wall_ms: 0,
        operations: Operations::default(),
        faults: BTreeMap::new(),
        refused: Vec::new(),
        checks: Vec::new(),
        others: Vec::new(),
        violation: Some(Violation {
            check: "panic".to_owned(),
            side: "white-box".to_owned(),
            at: None,
            summary: panic.message,
            details: vec![format!("at {}", panic.place)],
        }),
        stats: Stats::default(),
        measures: Measures::default(),
        trace: Vec::new(),
        history: String::new(),
    }
}
