//! The failure block: at most 25 lines that end with the command which replays it.

use super::human;
use super::lines::RunLine;
use crate::engine::Verdict;

/// The most lines a block has.
const LINES_MAX: usize = 25;
/// The most refusals among them.
const REFUSED_MAX: usize = 3;

/// The block of a run that did not pass. `details` are the facts behind it, `bugs` the names of the bugs switched on,
/// `replay` the command.
pub(crate) fn failure(line: &RunLine, at: Option<u64>, details: &[String], bugs: &[&str], replay: &str) -> String {
    let mut head = vec![title(line, at)];
    match &line.violation {
        Some(violation) => head.extend(first_lines(&violation.summary, 3)),
        None => head.push(format!("  {}", meaning(line.verdict))),
    }

    let mut foot = Vec::new();
    let fired: Vec<String> =
        line.faults.iter().filter(|(_, count)| **count > 0).map(|(kind, count)| format!("{kind} {count}")).collect();
    if !fired.is_empty() {
        foot.push(format!("  faults:  {}", fired.join(", ")));
    }
    foot.extend(line.refused.iter().take(REFUSED_MAX).map(|refused| format!("  refused: {refused}")));
    if !bugs.is_empty() {
        foot.push(format!("  bugs on: {}", bugs.join(", ")));
    }
    foot.push(format!(
        "  digest:  {}   {} events, {:.3} s simulated",
        line.digest,
        line.events,
        line.simulated_ms as f64 / 1e3
    ));
    if let Some(folder) = line.repro.as_deref().and_then(|repro| repro.strip_suffix("repro.toml")) {
        foot.push(format!("  report:  {folder}report.html"));
    }
    foot.push(format!("  replay:  {replay}"));

    // A detail of many lines is as many facts. What does not fit is counted, never dropped in silence.
    let details: Vec<&str> = details.iter().flat_map(|detail| detail.lines()).collect();
    let room = LINES_MAX - head.len() - foot.len();
    let shown = if details.len() > room { room - 1 } else { details.len() };
    let mut lines = head;
    lines.extend(details[..shown].iter().map(|detail| format!("    {detail}")));
    if shown < details.len() {
        lines.push(format!("    … {} more lines, in verdict.json", details.len() - shown));
    }
    lines.extend(foot);
    lines.join("\n")
}

fn title(line: &RunLine, at: Option<u64>) -> String {
    let what = match &line.violation {
        Some(violation) => format!("{} ({}, {})", human::verdict(line.verdict), violation.check, violation.side),
        None => human::verdict(line.verdict).to_owned(),
    };
    let at = at.map(|at| format!(" at event {at}")).unwrap_or_default();
    format!("FAIL  seed {}  {what}{at}  in {}", line.seed, line.scenario)
}

fn first_lines(text: &str, most: usize) -> Vec<String> {
    text.lines().take(most).map(|line| format!("  {line}")).collect()
}

fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "every check held",
        Verdict::Violation => "a safety property does not hold",
        Verdict::Liveness => "the healed cluster did not recover in time",
        Verdict::Undecided => "a checker spent its budget of steps without a verdict",
        Verdict::Panic => "a replica panicked",
        Verdict::Nondeterminism => "one seed gave two results: a bug of detcd itself, please report it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::lines::tests::report;

    #[test]
    fn a_block_is_short_and_ends_with_the_command() {
        for details in [0, 1, 15, 16, 17, 18, 40, 4000] {
            let report = report(7, Verdict::Violation);
            let details: Vec<String> = (0..details).map(|n| format!("fact {n}\nand more")).collect();
            let line = RunLine::new(&report, Some("detcd-out/swarm-7/7/repro.toml".to_owned()));
            let block = failure(&line, Some(700), &details, &["mustsync_ignores_vote"], "detcd replay x");
            assert!(block.lines().count() <= LINES_MAX, "{block}");
            assert!(block.starts_with("FAIL  seed 7  violation (linearizability, black-box) at event 700"), "{block}");
            assert!(block.ends_with("  replay:  detcd replay x"), "{block}");
            assert_eq!(block.contains("more lines"), details.len() > 8, "{block}");
        }
    }

    #[test]
    fn a_verdict_without_a_finding_says_what_it_means() {
        for verdict in [Verdict::Liveness, Verdict::Undecided, Verdict::Panic, Verdict::Nondeterminism] {
            let mut line = RunLine::new(&report(7, verdict), None);
            line.violation = None;
            let block = failure(&line, None, &[], &[], "detcd replay 7");
            assert!(block.contains(meaning(verdict)) && !block.contains("report:"), "{block}");
        }
    }
}
