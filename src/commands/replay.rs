//! `detcd replay`: that run again, exactly, and its digest compared with the recorded one.

use std::path::{Path, PathBuf};

use detcd_replica::{Bug, Bugs};

use super::{host, quoted, world_flags};
use crate::cli::{parse_seed, Keep, ReplayArgs, WorldArgs};
use crate::engine::{Host, RunOptions, RunReport, Verdict, World};
use crate::exit::{suggestion, Exit, Failure};
use crate::output::folder::Folder;
use crate::output::lines::RunLine;
use crate::output::repro::{self, Expected, Repro};
use crate::output::{block, console, human};
use crate::run::{exit_of, run_one};
use crate::scenario::Scenario;
use crate::{engine, identity};

/// The command that replays a seed for which no folder was written.
pub(super) fn command(seed: u64, scenario: &str, world: &WorldArgs) -> String {
    let scenario = if scenario == "swarm" { String::new() } else { format!(" --scenario {}", quoted(scenario)) };
    format!("detcd replay {seed}{scenario}{}", world_flags(world))
}

/// What a repro file recorded, beside the run itself.
struct Recorded {
    expected: Expected,
    version: String,
    is_from_other_code: bool,
}

/// What to run, and what it must give.
struct Plan {
    scenario: Scenario<World>,
    seed: u64,
    options: RunOptions,
    recorded: Option<Recorded>,
    command: String,
}

pub(super) fn execute(args: &ReplayArgs) -> Result<Exit, Failure> {
    let plan = plan(args)?;
    if args.output.json {
        if !args.output.quiet {
            eprintln!("detcd replay: {} seed {}", plan.scenario.name, plan.seed);
        }
    } else {
        console::line(&format!("detcd replay: {} seed {}", plan.scenario.name, plan.seed))?;
    }
    let report = run_one(&plan.scenario, plan.seed, &plan.options, Keep::All)?;
    let kept = match &args.out {
        Some(out) => {
            let mut folder = Folder::new(out, format!("replay-{}-{}", plan.scenario.name, plan.seed));
            Some(folder.keep(&report, &plan.scenario.table, &plan.options)?)
        }
        None => None,
    };

    let line = RunLine::new(&report, kept);
    if args.output.json {
        console::json(&line)?;
    } else {
        console::line(&describe(&plan, &report, &line))?;
    }
    let Some(recorded) = &plan.recorded else {
        return Ok(exit_of(report.verdict));
    };
    let exit = judge(recorded, report.verdict, &line.digest);
    let note = match exit {
        Exit::Stale => format!(
            "stale: recorded by detcd {} from other sources; it gave {} with digest {}",
            recorded.version,
            human::verdict(recorded.expected.verdict),
            recorded.expected.digest
        ),
        Exit::Nondeterminism if exit != exit_of(report.verdict) => format!(
            "nondeterminism: the same code recorded {} with digest {}",
            human::verdict(recorded.expected.verdict),
            recorded.expected.digest
        ),
        _ => "digest and verdict are the recorded ones".to_owned(),
    };
    if args.output.json {
        eprintln!("{note}");
    } else {
        console::line(&note)?;
    }
    Ok(exit)
}

/// The same run gives its verdict's exit code; another one is the fault of changed code (7) or of detcd (6).
fn judge(recorded: &Recorded, verdict: Verdict, digest: &str) -> Exit {
    if recorded.expected.digest == digest && recorded.expected.verdict == verdict {
        exit_of(verdict)
    } else if recorded.is_from_other_code {
        Exit::Stale
    } else {
        Exit::Nondeterminism
    }
}

fn describe(plan: &Plan, report: &RunReport, line: &RunLine) -> String {
    if report.verdict == Verdict::Pass {
        return format!("{}\n{}", human::heading(), human::run(line));
    }
    let bugs: Vec<&str> = plan.options.bugs.iter().map(|bug| bug.name()).collect();
    let violation = report.violation.as_ref();
    let details = violation.map_or(&[][..], |violation| &violation.details);
    block::failure(line, violation.and_then(|violation| violation.at), details, &bugs, &plan.command)
}

fn plan(args: &ReplayArgs) -> Result<Plan, Failure> {
    let path = Path::new(&args.target);
    let looks_like_a_path = path.components().count() > 1 || path.extension().is_some() || path.exists();
    if looks_like_a_path {
        let file = if path.is_dir() { path.join("repro.toml") } else { path.to_owned() };
        return from_file(args, &file);
    }
    let seed = parse_seed(&args.target)
        .map_err(|reason| Failure::usage(format!("{}: no such file, and as a seed: {reason}", args.target)))?;
    Ok(Plan {
        scenario: engine::load(&args.scenario, &args.world.settings)?,
        seed,
        options: RunOptions {
            bugs: args.world.bugs.iter().copied().collect(),
            host: host(&args.world)?,
            trace: true,
            overrides: std::collections::BTreeMap::new(),
        },
        recorded: None,
        command: command(seed, &args.scenario, &args.world),
    })
}

fn from_file(args: &ReplayArgs, file: &PathBuf) -> Result<Plan, Failure> {
    let origin = file.display().to_string();
    if !args.world.settings.is_empty() || !args.world.bugs.is_empty() || args.scenario != "swarm" {
        return Err(Failure::usage(format!("{origin} says what to run: --scenario, --set and --bug are for a seed")));
    }
    let bytes = std::fs::read(file).map_err(|error| Failure::usage(format!("repro {origin}: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| Failure::usage(format!("repro {origin}: not UTF-8")))?;
    // Twice: as plain TOML, which a folder embeds again, and as the world reads it.
    let mut repro: Repro<World> = repro::read(&origin, &text)?;
    let plain: Repro<toml::Table> = repro::read(&origin, &text)?;
    engine::prepare(&mut repro.scenario, &plain.scenario)?;
    let bugs = repro.bugs.iter().map(|name| bug(&origin, &text, name)).collect::<Result<Bugs, Failure>>()?;
    let recorded =
        Recorded { is_from_other_code: repro.is_from_other_code(), version: version(&repro), expected: repro.expected };
    Ok(Plan {
        scenario: Scenario { name: repro.name, table: plain.scenario, world: repro.scenario },
        seed: repro.seed,
        options: RunOptions { bugs, host: host_of(args, repro.host)?, trace: true, overrides: repro.overrides },
        recorded: Some(recorded),
        command: format!("detcd replay {}", quoted(&origin)),
    })
}

/// The file's host, unless the command line or the build says otherwise: the digests are the same.
fn host_of(args: &ReplayArgs, recorded: Host) -> Result<Host, Failure> {
    match args.world.host {
        None if recorded == Host::Bare || engine::has_madsim() => Ok(recorded),
        _ => host(&args.world),
    }
}

fn version(repro: &Repro<World>) -> String {
    match &repro.commit {
        Some(commit) if Some(commit.as_str()) != identity::commit() => format!("{} at commit {commit}", repro.detcd),
        _ => repro.detcd.clone(),
    }
}

fn bug(origin: &str, text: &str, name: &str) -> Result<Bug, Failure> {
    Bug::parse(name).ok_or_else(|| {
        let hint = suggestion(name, Bug::ALL.iter().map(|bug| bug.name()));
        let line = text.lines().position(|line| line.contains(name)).map_or(1, |line| line + 1);
        let column = text.lines().nth(line - 1).and_then(|line| line.find(name)).map_or(1, |at| at + 1);
        Failure::usage(format!("{origin}:{line}:{column}: `bugs`: unknown bug `{name}`{hint}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::lines::digest_text;

    #[test]
    fn a_replay_is_judged_by_digest_verdict_and_code() {
        let digest = digest_text(7);
        let recorded = |is_from_other_code| Recorded {
            expected: Expected { verdict: Verdict::Liveness, digest: digest_text(7) },
            version: "0.1.0".to_owned(),
            is_from_other_code,
        };
        for other in [false, true] {
            assert_eq!(judge(&recorded(other), Verdict::Liveness, &digest), Exit::Liveness);
        }
        assert_eq!(judge(&recorded(true), Verdict::Liveness, "8"), Exit::Stale);
        assert_eq!(judge(&recorded(true), Verdict::Pass, &digest), Exit::Stale);
        assert_eq!(judge(&recorded(false), Verdict::Liveness, "8"), Exit::Nondeterminism);
        assert_eq!(judge(&recorded(false), Verdict::Pass, &digest), Exit::Nondeterminism);
    }

    #[test]
    fn the_command_of_a_seed_names_all_that_it_needs() {
        let world = WorldArgs {
            settings: vec![crate::scenario::Setting::parse("net.loss=0.5").expect("sound")],
            bugs: vec![Bug::MustsyncIgnoresVote],
            host: None,
        };
        assert_eq!(
            command(7, "my file.toml", &world),
            "detcd replay 7 --scenario 'my file.toml' --set net.loss=0.5 --bug mustsync_ignores_vote"
        );
        let plain = WorldArgs { settings: Vec::new(), bugs: Vec::new(), host: None };
        assert_eq!(command(7, "swarm", &plain), "detcd replay 7");
    }
}
