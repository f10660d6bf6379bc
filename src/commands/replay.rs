//! `detcd replay`: that run again, exactly, and its digest compared with the recorded one.

use super::target::{words, Recorded, Target};
use crate::cli::{Keep, ReplayArgs, WorldArgs};
use crate::engine::{RunReport, Verdict};
use crate::exit::{Exit, Failure};
use crate::output::folder::Folder;
use crate::output::lines::RunLine;
use crate::output::{block, console, human};
use crate::run::{exit_of, run_one};

/// The command that replays a seed for which no folder was written.
pub(super) fn command(seed: u64, scenario: &str, world: &WorldArgs) -> String {
    format!("detcd replay {}", words(seed, scenario, world))
}

pub(super) fn execute(args: &ReplayArgs) -> Result<Exit, Failure> {
    let plan = Target::resolve(&args.target, &args.scenario, &args.world)?;
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

fn describe(plan: &Target, report: &RunReport, line: &RunLine) -> String {
    if report.verdict == Verdict::Pass {
        return format!("{}\n{}", human::heading(), human::run(line));
    }
    let bugs: Vec<&str> = plan.options.bugs.iter().map(|bug| bug.name()).collect();
    let violation = report.violation.as_ref();
    let details = violation.map_or(&[][..], |violation| &violation.details);
    block::failure(
        line,
        violation.and_then(|violation| violation.at),
        details,
        &bugs,
        &format!("detcd replay {}", plan.words),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::lines::digest_text;
    use crate::output::repro::Expected;

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
}
