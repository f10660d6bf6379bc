//! A batch of runs: seeds in, results out in the order of the seeds, whatever the number of threads.
//!
//! Parallelism is across runs only: a run lives on one thread from its first event to its last. Nothing here prints.

pub(crate) mod determinism;
mod worker;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::cli::{Keep, SeedRange};
use crate::engine::{EngineError, RunOptions, RunReport, Verdict, World};
use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::scenario::Scenario;

pub(crate) use worker::run_one;

/// How far the threads may run ahead of the oldest unfinished run, in runs a thread. Bounds what waits to be reported.
const AHEAD_PER_JOB: u64 = 64;

/// How often the batch looks up. To be woken by every run would cost a fiftieth of short ones.
const BREATH: Duration = Duration::from_millis(10);

/// What a batch is.
pub(crate) struct Batch<'a> {
    /// The scenario.
    pub(crate) scenario: &'a Scenario<World>,
    /// The seeds.
    pub(crate) seeds: &'a SeedRange,
    /// Bugs, host, overrides. Traces are recorded for those runs that are kept.
    pub(crate) options: &'a RunOptions,
    /// Which runs are kept.
    pub(crate) keep: Keep,
    /// Threads.
    pub(crate) jobs: NonZeroUsize,
}

/// The exit code of a verdict.
pub(crate) fn exit_of(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Pass => Exit::Pass,
        Verdict::Violation => Exit::Violation,
        Verdict::Liveness => Exit::Liveness,
        Verdict::Undecided => Exit::Undecided,
        Verdict::Panic => Exit::Panic,
        Verdict::Nondeterminism => Exit::Nondeterminism,
    }
}

impl Batch<'_> {
    /// Runs every seed. `report` is called in the order of the seeds; `breathe` every now and then.
    ///
    /// Ends early, after the runs in flight, when Ctrl-C was pressed, or `report` fails or says `Break`.
    ///
    /// # Errors
    /// That of `report`, or the engine's for the first seed that has one.
    pub(crate) fn execute(
        &self,
        mut report: impl FnMut(RunReport) -> Result<ControlFlow<()>, Failure>,
        mut breathe: impl FnMut(),
    ) -> Result<(), Failure> {
        let next = AtomicU64::new(0);
        let reported = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        let (sender, receiver) = mpsc::channel();
        let jobs = (self.jobs.get() as u64).min(self.seeds.count());

        std::thread::scope(|scope| {
            let batch = std::thread::current();
            for _ in 0..jobs {
                let (sender, batch) = (sender.clone(), batch.clone());
                let (next, reported, stop) = (&next, &reported, &stop);
                scope.spawn(move || {
                    self.work(jobs, next, reported, stop, &sender);
                    drop(sender);
                    batch.unpark();
                });
            }
            drop(sender);

            let mut waiting = BTreeMap::new();
            let mut outcome = Ok(ControlFlow::Continue(()));
            let goes_on = |outcome: &Result<ControlFlow<()>, Failure>| matches!(outcome, Ok(ControlFlow::Continue(())));
            loop {
                let ended = loop {
                    match receiver.try_recv() {
                        Ok((place, result)) => waiting.insert(place, result),
                        Err(end) => break end == mpsc::TryRecvError::Disconnected,
                    };
                };
                let mut due = reported.load(Ordering::Relaxed);
                while let Some(result) = waiting.remove(&due) {
                    if goes_on(&outcome) {
                        outcome = result.map_err(Failure::from).and_then(&mut report);
                    }
                    due += 1;
                }
                reported.store(due, Ordering::Relaxed);
                if !goes_on(&outcome) {
                    stop.store(true, Ordering::Relaxed);
                }
                if ended {
                    break;
                }
                breathe();
                std::thread::park_timeout(BREATH);
            }
            outcome.map(|_| ())
        })
    }

    /// One thread: takes the next place until there is none, or until it is told to stop.
    ///
    /// Places are taken in order and each is finished once taken, so those reported have no gap.
    fn work(
        &self,
        jobs: u64,
        next: &AtomicU64,
        reported: &AtomicU64,
        stop: &AtomicBool,
        sender: &mpsc::Sender<(u64, Result<RunReport, EngineError>)>,
    ) {
        loop {
            if stop.load(Ordering::Relaxed) || interrupt::asked() {
                return;
            }
            if next.load(Ordering::Relaxed) > reported.load(Ordering::Relaxed) + AHEAD_PER_JOB * jobs {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            let place = next.fetch_add(1, Ordering::Relaxed);
            if !self.seeds.places().contains(&place) {
                return;
            }
            let result = run_one(self.scenario, self.seeds.seed(place), self.options, self.keep);
            if sender.send((place, result)).is_err() {
                return;
            }
        }
    }
}

/// As many threads as cores, unless told otherwise.
pub(crate) fn jobs_or_cores(jobs: Option<NonZeroUsize>) -> NonZeroUsize {
    jobs.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
}
