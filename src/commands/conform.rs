//! `detcd conform`: seeded requests to a real etcd and to a member of ours, and each difference between their answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use serde::Serialize;
use serde_json::Value;

use crate::cli::ConformArgs;
use crate::conform::{Conformance, Difference, Options, Outcome};
use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::output::console;
use crate::run::jobs_or_cores;

/// `detcd.conform/1`.
#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    seed: u64,
    requests: u64,
    verdict: &'static str,
    detcd: Option<&'a Value>,
    etcd: Option<&'a Value>,
    /// What leads to it, as commands of grpcurl.
    script: &'a [String],
}

/// `detcd.conform-summary/1`.
#[derive(Serialize)]
struct Summary<'a> {
    schema: &'static str,
    seeds: u64,
    requests: u64,
    differences: u64,
    /// Answers that differ for a reason that is known, by reason.
    known: &'a BTreeMap<&'static str, u64>,
    /// Fields and errors of RPCs that were exercised.
    exercised: usize,
    of: usize,
    missing: &'a [String],
}

pub(super) fn execute(args: &ConformArgs) -> Result<Exit, Failure> {
    let (mut seeds, mut requests, mut differences) = (0, 0, 0);
    let conformance = compared(args, &mut |seed, outcome| {
        seeds += 1;
        requests += outcome.requests;
        differences += u64::from(outcome.difference.is_some());
        say(args, seed, outcome.requests, outcome.difference.as_ref())
    })?;
    if interrupt::asked() {
        return Ok(Exit::Interrupted);
    }
    let (exercised, of, missing) = conformance.coverage();
    if args.output.json {
        let schema = "detcd.conform-summary/1";
        let known = &conformance.known;
        console::json(&Summary { schema, seeds, requests, differences, known, exercised, of, missing: &missing })?;
    } else {
        let percent = exercised * 100 / of;
        console::line(&format!("{requests} requests of {seeds} seeds, {differences} differences"))?;
        for (reason, count) in &conformance.known {
            console::line(&format!("  {count} more with a known reason: {reason}"))?;
        }
        console::line(&format!("{exercised} of {of} fields and errors exercised ({percent} %)"))?;
        for one in &missing {
            console::line(&format!("  not exercised: {one}"))?;
        }
    }
    Ok(if differences > 0 { Exit::Violation } else { Exit::Pass })
}

/// Compares all seeds, several at a time, and tells of each as soon as those before it are told.
fn compared(
    args: &ConformArgs,
    tell: &mut dyn FnMut(u64, &Outcome) -> Result<(), Failure>,
) -> Result<Conformance, Failure> {
    let options = Options { etcd: args.etcd.clone(), requests: args.requests };
    let seeds: Vec<u64> = {
        let range = args.seeds();
        range.places().map(|place| range.seed(place)).collect()
    };
    let jobs = jobs_or_cores(args.jobs).get();
    let (next, given_up) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = |out: mpsc::Sender<(usize, Result<Outcome, String>)>| {
        let mut conformance = Conformance::new(options.clone());
        while !interrupt::asked() && !given_up.load(Ordering::Relaxed) {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(seed) = seeds.get(place) else { break };
            // Whoever listens may have given up.
            let _ = out.send((place, conformance.seed(*seed)));
        }
        conformance
    };
    std::thread::scope(|scope| {
        let (sender, done) = mpsc::channel();
        let workers: Vec<_> = (0..jobs.min(seeds.len()))
            .map(|_| {
                let sender = sender.clone();
                scope.spawn(|| work(sender))
            })
            .collect();
        drop(sender);
        let (mut early, mut told) = (BTreeMap::new(), 0);
        for (place, outcome) in done {
            early.insert(place, outcome);
            while let Some(outcome) = early.remove(&told) {
                let seed = seeds[told];
                let result = outcome.map_err(|error| Failure::usage(format!("seed {seed}: {error}")));
                if let Err(failure) = result.and_then(|outcome| tell(seed, &outcome)) {
                    given_up.store(true, Ordering::Relaxed);
                    return Err(failure);
                }
                told += 1;
            }
        }
        let mut all = Conformance::new(options.clone());
        for worker in workers {
            all.merge(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        Ok(all)
    })
}

fn say(args: &ConformArgs, seed: u64, requests: u64, difference: Option<&Difference>) -> Result<(), Failure> {
    if args.output.json {
        return console::json(&Line {
            schema: "detcd.conform/1",
            seed,
            requests,
            verdict: if difference.is_some() { "differs" } else { "equal" },
            detcd: difference.map(|difference| &difference.ours),
            etcd: difference.map(|difference| &difference.theirs),
            script: difference.map_or(&[], |difference| &difference.script),
        });
    }
    let Some(Difference { script, ours, theirs }) = difference else {
        return console::line(&format!("seed {seed:<20} {requests:>8} requests  equal"));
    };
    console::line(&format!("seed {seed:<20} {requests:>8} requests  DIFFERS, after"))?;
    for line in script {
        console::line(&format!("  {line}"))?;
    }
    console::line(&format!("  detcd: {ours}"))?;
    console::line(&format!("  etcd:  {theirs}"))
}
