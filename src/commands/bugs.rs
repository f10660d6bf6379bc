//! `detcd bugs`: can detcd see them? Each known bug is switched on in the scenarios that are made to find it, and the
//! first seed that shows it is named, once with every check and once with those that see only what clients saw.
//!
//! A bug counts as found when the seed that shows it passes with the bug off, and fails the same way when it is run
//! again: a checker that cried wolf, or a run that could not be replayed, would be no finding.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use detcd_replica::{Bug, Bugs};
use serde::Serialize;

use crate::cli::{BugsArgs, Keep, SeedRange};
use crate::engine::{self, Judges, RunOptions, RunReport, Verdict, World};
use crate::exit::{suggestion, Exit, Failure};
use crate::interrupt;
use crate::output::console;
use crate::run::{jobs_or_cores, run_one, Batch};
use crate::scenario::{Scenario, BUILT_IN};

/// One bug: `detcd.bug/1`.
#[derive(Serialize)]
struct Line {
    schema: &'static str,
    bug: &'static str,
    name: &'static str,
    /// The scenarios that are made to find it.
    scenarios: Vec<String>,
    /// With every check.
    all: Option<Found>,
    /// With the checks that see only what clients saw; not tried with `--by`.
    black_box: Option<Found>,
}

/// The first run that shows it.
#[derive(Clone, Serialize)]
struct Found {
    scenario: String,
    seed: u64,
    check: String,
    side: String,
    summary: String,
    digest: String,
}

impl Found {
    fn new(scenario: &Scenario<World>, report: &RunReport, by: Option<&str>) -> Self {
        let violation = by.and_then(|by| finding(report, by)).or(report.violation.as_ref());
        let text = |part: fn(&engine::Violation) -> &str| violation.map_or("", part).to_owned();
        Self {
            scenario: scenario.name.clone(),
            seed: report.seed,
            check: text(|violation| &violation.check),
            side: text(|violation| &violation.side),
            summary: text(|violation| &violation.summary),
            digest: format!("{:032x}", report.digest),
        }
    }
}

/// What a check has found, first or after another one.
fn finding<'r>(report: &'r RunReport, check: &str) -> Option<&'r engine::Violation> {
    report.violation.iter().chain(&report.others).find(|violation| violation.check == check)
}

pub(super) fn execute(args: &BugsArgs) -> Result<Exit, Failure> {
    let by = args.by.as_deref().map(known).transpose()?;
    interrupt::watch();
    let named = !args.scenarios.is_empty();
    let scenarios: Vec<Scenario<World>> = match named {
        true => args.scenarios.iter().map(|name| engine::load(name, &[])).collect::<Result<_, _>>()?,
        false => BUILT_IN.iter().map(|(name, _)| engine::load(name, &[])).collect::<Result<_, _>>()?,
    };
    let made_for = |bug: Bug| -> Vec<&Scenario<World>> {
        let finds = |scenario: &&Scenario<World>| {
            named || scenario.world.finds.iter().any(|name| Bug::parse(name) == Some(bug))
        };
        scenarios.iter().filter(finds).collect()
    };
    let bugs: Vec<Bug> = match args.names.is_empty() {
        true => Bug::ALL.into_iter().filter(|bug| !made_for(*bug).is_empty()).collect(),
        false => args.names.clone(),
    };
    let mut worst = Exit::Pass;
    for bug in bugs {
        let tried = made_for(bug);
        let mut all = match by {
            None => first(args, &tried, bug, Judges::All)?,
            Some(check) if engine::needs_members(check) => first(args, &tried, bug, Judges::By(check))?,
            Some(_) => None,
        };
        // What members show may end a run before its clients have seen enough.
        if all.is_none() && by.is_some() {
            all = first(args, &tried, bug, Judges::BlackBox)?;
        }
        let black_box = match &all {
            Some(found) if found.side == "black-box" => Some(found.clone()),
            _ if args.by.is_some() => None,
            _ => first(args, &tried, bug, Judges::BlackBox)?,
        };
        if interrupt::asked() {
            return Ok(Exit::Interrupted);
        }
        if all.is_none() {
            worst = Exit::Violation;
        }
        let scenarios = tried.iter().map(|scenario| scenario.name.clone()).collect();
        say(args, &Line { schema: "detcd.bug/1", bug: bug.id(), name: bug.name(), scenarios, all, black_box })?;
    }
    Ok(worst)
}

/// The check of this name.
fn known(name: &str) -> Result<&'static str, Failure> {
    let checks = engine::checks();
    checks.iter().find(|check| **check == name).copied().ok_or_else(|| {
        let hint = suggestion(name, checks.iter().copied());
        Failure::usage(format!("--by: no check `{name}`{hint} (there are: {})", checks.join(", ")))
    })
}

/// The first seed, in the order of scenarios and seeds, that shows the bug to these judges, and passes without it.
fn first(args: &BugsArgs, scenarios: &[&Scenario<World>], bug: Bug, judges: Judges) -> Result<Option<Found>, Failure> {
    let bugs = Bugs::NONE.with(bug);
    let options =
        RunOptions { bugs, host: engine::usual_host(), judges, trace: false, overrides: BTreeMap::new(), past: None };
    for scenario in scenarios {
        let mut from = 0;
        while let Some(report) = first_failure(args, scenario, &options, from)? {
            if passes_without(scenario, &options, &report)? {
                return Ok(Some(Found::new(scenario, &report, args.by.as_deref())));
            }
            from = report.seed + 1;
        }
    }
    Ok(None)
}

/// The first seed of the budget, from this one on, that these judges refuse.
fn first_failure(
    args: &BugsArgs,
    scenario: &Scenario<World>,
    options: &RunOptions,
    from: u64,
) -> Result<Option<RunReport>, Failure> {
    let budget = args.budget.get();
    if from >= budget {
        return Ok(None);
    }
    let seeds = SeedRange::new(from, budget - from);
    let batch = Batch { scenario, seeds: &seeds, options, keep: Keep::None, jobs: jobs_or_cores(args.jobs) };
    let mut found = None;
    batch.execute(
        |report| {
            let by = |check: &String| finding(&report, check).is_some();
            let seen = args.by.as_ref().is_none_or(by)
                && match options.judges {
                    Judges::All | Judges::By(_) => !matches!(report.verdict, Verdict::Pass | Verdict::Undecided),
                    // A panic and a cluster that does not recover are no evidence that a client could show.
                    Judges::BlackBox => {
                        report.violation.as_ref().is_some_and(|violation| violation.side == "black-box")
                    }
                };
            if !seen {
                return Ok(ControlFlow::Continue(()));
            }
            found = Some(report);
            Ok(ControlFlow::Break(()))
        },
        || (),
    )?;
    Ok(found)
}

/// Whether the seed passes without the bug. Where its history cannot be decided, it proves nothing.
///
/// # Errors
///
/// With the bug it does not come out the same again, or it fails without it: both are bugs of detcd.
fn passes_without(scenario: &Scenario<World>, options: &RunOptions, report: &RunReport) -> Result<bool, Failure> {
    let again = run_one(scenario, report.seed, options, Keep::None)?;
    if (again.digest, again.verdict) != (report.digest, report.verdict) {
        let message = format!("{} seed {} does not come out the same twice", scenario.name, report.seed);
        return Err(Failure { exit: Exit::Nondeterminism, message });
    }
    let without = RunOptions { bugs: Bugs::NONE, ..options.clone() };
    let healthy = run_one(scenario, report.seed, &without, Keep::None)?;
    match healthy.verdict {
        Verdict::Pass => Ok(true),
        Verdict::Undecided => Ok(false),
        _ => {
            let why = healthy.violation.as_ref().map_or("", |violation| &violation.summary);
            let message = format!("{} seed {} fails without any bug: {why}", scenario.name, report.seed);
            Err(Failure { exit: Exit::Violation, message })
        }
    }
}

fn say(args: &BugsArgs, line: &Line) -> Result<(), Failure> {
    if args.output.json {
        return console::json(line);
    }
    let found = |found: &Option<Found>| match found {
        Some(found) => format!("{} ({}) in {} seed {}", found.check, found.side, found.scenario, found.seed),
        None if line.scenarios.is_empty() => "no scenario is made to find it".to_owned(),
        None => {
            let by = args.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            format!("not found{by} in {} seeds of {}", args.budget, line.scenarios.join(", "))
        }
    };
    console::line(&format!("{:<6} {:<36} {}", line.bug, line.name, found(&line.all)))?;
    if args.by.is_none() && line.all.as_ref().is_some_and(|all| all.side != "black-box") {
        console::line(&format!("{:<6} {:<36} by clients alone: {}", "", "", found(&line.black_box)))?;
    }
    Ok(())
}
