//! Lines for people: aligned, so that the eye can run down a column. Scripts read the JSON instead.

use super::lines::{RunLine, SummaryLine};
use super::measures::{time as time_of, TimesLine};
use crate::engine::Verdict;

/// The line above the runs.
pub(crate) fn heading() -> String {
    format!(
        "{:<20} {:<14} {:>10} {:>9}  {:<22} {:>6}  digest",
        "seed", "verdict", "events", "sim", "ok/failed/unknown", "faults"
    )
}

/// One run, and below it the members that refused to start.
pub(crate) fn run(line: &RunLine) -> String {
    let refused: String = line.refused.iter().map(|refused| format!("\n  refused: {refused}")).collect();
    let operations = format!("{}/{}/{}", line.operations.ok, line.operations.failed, line.operations.unknown);
    format!(
        "{:<20} {:<14} {:>10} {:>8.1}s  {:<22} {:>6}  {}{refused}",
        line.seed,
        verdict(line.verdict),
        line.events,
        line.simulated_ms as f64 / 1000.0,
        operations,
        line.faults.values().sum::<u64>(),
        line.digest.get(..16).unwrap_or(&line.digest),
    )
}

/// The lines below the runs.
pub(crate) fn summary(summary: &SummaryLine) -> String {
    let mut lines = vec![format!(
        "{}: {} of {} seeds passed{}{}",
        summary.scenario,
        summary.seeds - summary.failures,
        summary.seeds,
        failures(summary),
        if summary.interrupted { " · interrupted" } else { "" },
    )];
    let stats = &summary.stats;
    lines.push(format!(
        "  {} operations ({} ok, {} failed, {} unknown) · {} crashes, {} recoveries · {} leader changes · {} snapshots",
        summary.operations.ok + summary.operations.failed + summary.operations.unknown,
        summary.operations.ok,
        summary.operations.failed,
        summary.operations.unknown,
        stats.crashes,
        stats.recoveries,
        stats.leader_changes,
        stats.snapshots_installed,
    ));
    lines.push(format!(
        "  {:.1} s wall, {:.1} s CPU · {} events/s · {} times real time · {} operations per CPU-second",
        summary.wall_ms as f64 / 1000.0,
        summary.cpu_ms as f64 / 1000.0,
        scaled(summary.events_per_s),
        scaled(summary.simulated_per_wall),
        scaled(summary.operations_per_cpu_s),
    ));
    if !summary.measures.is_empty() {
        lines.push(format!("  simulated times, p50 and p99: {}", measured(summary)));
    }
    if !summary.never_fired.is_empty() && summary.seeds > 0 {
        lines.push(format!("  never fired: {}", summary.never_fired.join(", ")));
    }
    lines.join("\n")
}

/// `writes 3.1 ms, 9.7 ms` and so on.
fn measured(summary: &SummaryLine) -> String {
    let one = |(name, times): (&&str, &TimesLine)| {
        format!("{} {}, {}", name.replace('_', " "), time_of(times.p50_us), time_of(times.p99_us))
    };
    summary.measures.iter().map(one).collect::<Vec<_>>().join(" · ")
}

/// A verdict as one word.
pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Violation => "violation",
        Verdict::Liveness => "liveness",
        Verdict::Undecided => "undecided",
        Verdict::Panic => "panic",
        Verdict::Nondeterminism => "nondeterminism",
    }
}

/// A moment of a run, nanoseconds since it began, to the microsecond: `2.500000s`.
pub(crate) fn time(nanos: u64) -> String {
    format!("{}.{:06}s", nanos / 1_000_000_000, nanos % 1_000_000_000 / 1_000)
}

/// Three digits that count, and their unit: `7.12 M`.
pub(crate) fn scaled(value: f64) -> String {
    for (unit, name) in [(1e9, " G"), (1e6, " M"), (1e4, " k")] {
        if value >= unit {
            let unit = if name == " k" { 1e3 } else { unit };
            return format!("{:.1}{name}", value / unit);
        }
    }
    // A ratio is nothing without its first decimal.
    let decimals = usize::from(value < 100.0 && value.fract() != 0.0);
    format!("{value:.decimals$}")
}

fn failures(summary: &SummaryLine) -> String {
    let failed: Vec<String> = summary
        .verdicts
        .iter()
        .filter(|(kind, _)| **kind != Verdict::Pass)
        .map(|(kind, count)| format!("{count} {}", verdict(*kind)))
        .collect();
    if failed.is_empty() {
        String::new()
    } else {
        format!(" · {}", failed.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::lines::tests::report;

    #[test]
    fn a_run_stands_below_its_heading() {
        let heading = heading();
        let line = run(&RunLine::new(&report(7, Verdict::Pass), None));
        assert_eq!(heading.find("verdict"), line.find("pass"));
        assert_eq!(heading.find("digest"), line.find("0000000000000000"));
    }

    #[test]
    fn large_numbers_have_units() {
        for (value, text) in [(0.0, "0"), (999.4, "999"), (9999.0, "9999"), (12_345.0, "12.3 k"), (7.12e6, "7.1 M")] {
            assert_eq!(scaled(value), text);
        }
    }
}
