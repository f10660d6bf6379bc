//! One run on one thread: panics caught, real time measured, and the trace recorded where it will be kept.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;
use std::time::Instant;

use crate::cli::Keep;
use crate::engine::{self, EngineError, Operations, RunOptions, RunReport, Stats, Verdict, Violation, World};
use crate::scenario::Scenario;

thread_local! {
    /// Where the last panic of this thread's run was; `None` outside a run, when panics go their usual way.
    static PANICKED_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

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
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let in_run = PANICKED_AT.with_borrow_mut(|at| {
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                at.as_mut().map(|at| *at = place).is_some()
            });
            if !in_run {
                usual(info);
            }
        }));
    });

    let started = Instant::now();
    PANICKED_AT.set(Some(String::new()));
    let result = catch_unwind(AssertUnwindSafe(|| engine::run(&scenario.name, &scenario.world, seed, options)));
    let place = PANICKED_AT.take().unwrap_or_default();
    let mut report = match result {
        Ok(report) => report?,
        Err(payload) => panicked(&scenario.name, seed, &*payload, &place),
    };
    report.wall_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

fn panicked(scenario: &str, seed: u64, payload: &(dyn Any + Send), place: &str) -> RunReport {
    let message = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
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
        violation: Some(Violation {
            check: "panic".to_owned(),
            side: "white-box".to_owned(),
            at: None,
            summary: message.to_owned(),
            details: vec![format!("at {place}")],
        }),
        stats: Stats::default(),
        trace: Vec::new(),
        history: String::new(),
    }
}
