//! `detcd conform`: seeded requests to a real etcd and to a member of ours, and each difference between their answers.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::cli::ConformArgs;
use crate::conform::{Conformance, Difference, Options};
use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::output::console;

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
    let mut conformance = Conformance::new(Options { etcd: args.etcd.clone(), requests: args.requests });
    let (mut seeds, mut requests, mut differences) = (0, 0, 0);
    let range = args.seeds();
    for seed in range.places().map(|place| range.seed(place)) {
        if interrupt::asked() {
            return Ok(Exit::Interrupted);
        }
        let outcome = conformance.seed(seed).map_err(|error| Failure::usage(format!("seed {seed}: {error}")))?;
        seeds += 1;
        requests += outcome.requests;
        differences += u64::from(outcome.difference.is_some());
        say(args, seed, outcome.requests, outcome.difference.as_ref())?;
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
