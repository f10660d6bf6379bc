//! The stable surface: the JSON lines of `detcd run` and `detcd replay`, as types.
//!
//! A schema's fields never change their meaning; a new meaning is a new number. Human text is made from the same types.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cpu::per_second;
use crate::engine::{Measures, Operations, RunReport, Stats, Verdict};
use crate::output::measures::{self, TimesLine};

/// The schema of [`RunLine`].
pub(crate) const RUN_SCHEMA: &str = "detcd.run/1";
/// The schema of [`SummaryLine`].
pub(crate) const SUMMARY_SCHEMA: &str = "detcd.summary/1";

/// One run, as a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunLine {
    /// [`RUN_SCHEMA`].
    pub(crate) schema: String,
    /// The scenario's name.
    pub(crate) scenario: String,
    /// The seed.
    pub(crate) seed: u64,
    /// How it ended.
    pub(crate) verdict: Verdict,
    /// The digest: 32 hexadecimal digits.
    pub(crate) digest: String,
    /// Events taken from the queue.
    pub(crate) events: u64,
    /// Simulated time.
    pub(crate) simulated_ms: u64,
    /// Real time. The one field that two runs of a seed may differ in.
    pub(crate) wall_ms: u64,
    /// How the operations ended.
    pub(crate) operations: Operations,
    /// How often each kind of fault fired.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Members that refused to start, or could not go on, for what a fault had done to a disk: who and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) refused: Vec<String>,
    /// The checks that were made.
    pub(crate) checks: Vec<String>,
    /// What a check found first.
    pub(crate) violation: Option<ViolationLine>,
    /// The repro file, when a folder was written.
    pub(crate) repro: Option<String>,
}

/// What a check found, as part of a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ViolationLine {
    /// The check.
    pub(crate) check: String,
    /// `black-box` or `white-box`.
    pub(crate) side: String,
    /// One sentence.
    pub(crate) summary: String,
}

impl RunLine {
    /// The line of a run; `repro` is the file that replays it.
    pub(crate) fn new(report: &RunReport, repro: Option<String>) -> Self {
        Self {
            schema: RUN_SCHEMA.to_owned(),
            scenario: report.scenario.clone(),
            seed: report.seed,
            verdict: report.verdict,
            digest: digest_text(report.digest),
            events: report.events,
            simulated_ms: report.simulated_ms,
            wall_ms: report.wall_ms,
            operations: report.operations,
            faults: report.faults.clone(),
            refused: report.refused.clone(),
            checks: report.checks.iter().map(|check| (*check).to_owned()).collect(),
            violation: report.violation.as_ref().map(|violation| ViolationLine {
                check: violation.check.clone(),
                side: violation.side.clone(),
                summary: violation.summary.clone(),
            }),
            repro,
        }
    }
}

/// A digest as text: 32 hexadecimal digits.
pub(crate) fn digest_text(digest: u128) -> String {
    format!("{digest:032x}")
}

/// A batch of runs, as the last line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SummaryLine {
    schema: &'static str,
    /// The scenario's name.
    pub(crate) scenario: String,
    /// Runs that finished.
    pub(crate) seeds: u64,
    /// Those that did not pass.
    pub(crate) failures: u64,
    /// Runs by verdict.
    pub(crate) verdicts: BTreeMap<Verdict, u64>,
    /// Events in all.
    pub(crate) events: u64,
    /// Events a second of CPU time.
    pub(crate) events_per_s: f64,
    /// Simulated time in all.
    pub(crate) simulated_ms: u64,
    /// Simulated time per real time.
    pub(crate) simulated_per_wall: f64,
    /// Operations in all.
    pub(crate) operations: Operations,
    /// Operations that ended, however, a second of CPU time.
    pub(crate) operations_per_cpu_s: f64,
    /// How often each kind of fault fired.
    pub(crate) faults: BTreeMap<String, u64>,
    /// The kinds of fault that never fired.
    pub(crate) never_fired: Vec<String>,
    /// What the clusters lived through.
    #[serde(flatten)]
    pub(crate) stats: Stats,
    /// How long things took, by measure; not known where runs were compared between processes.
    pub(crate) measures: BTreeMap<&'static str, TimesLine>,
    /// Real time.
    pub(crate) wall_ms: u64,
    /// CPU time of the process, and in a check of determinism of its two children.
    pub(crate) cpu_ms: u64,
    /// Whether Ctrl-C ended it early.
    pub(crate) interrupted: bool,
}

/// The sums of a batch under way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    /// Runs that finished.
    pub(crate) seeds: u64,
    /// Those that did not pass.
    pub(crate) failures: u64,
    /// Simulated time in all.
    pub(crate) simulated_ms: u64,
    /// Events in all.
    pub(crate) events: u64,
    verdicts: BTreeMap<Verdict, u64>,
    operations: Operations,
    faults: BTreeMap<String, u64>,
    stats: Stats,
    measures: Measures,
}

impl Totals {
    /// Adds one run.
    pub(crate) fn add(&mut self, line: &RunLine) {
        self.seeds += 1;
        self.failures += u64::from(line.verdict != Verdict::Pass);
        *self.verdicts.entry(line.verdict).or_default() += 1;
        self.events += line.events;
        self.simulated_ms += line.simulated_ms;
        self.operations.ok += line.operations.ok;
        self.operations.failed += line.operations.failed;
        self.operations.unknown += line.operations.unknown;
        for (kind, count) in &line.faults {
            *self.faults.entry(kind.clone()).or_default() += count;
        }
    }

    /// Adds what the cluster of a run lived through, which its line does not say.
    pub(crate) fn add_stats(&mut self, stats: &Stats) {
        self.stats.leader_changes += stats.leader_changes;
        self.stats.snapshots_installed += stats.snapshots_installed;
        self.stats.crashes += stats.crashes;
        self.stats.recoveries += stats.recoveries;
    }

    /// Adds how long things took in a run, which its line does not say either.
    pub(crate) fn add_measures(&mut self, measures: &Measures) {
        self.measures.merge(measures);
    }

    /// The last line. `known` are all kinds of fault there are.
    pub(crate) fn summary(
        self,
        scenario: &str,
        known: &[&str],
        wall: Duration,
        cpu: Duration,
        interrupted: bool,
    ) -> SummaryLine {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let operations = self.operations.ok + self.operations.failed + self.operations.unknown;
        let fired = |kind: &&&str| self.faults.get(**kind).copied().unwrap_or(0) > 0;
        SummaryLine {
            schema: SUMMARY_SCHEMA,
            scenario: scenario.to_owned(),
            seeds: self.seeds,
            failures: self.failures,
            never_fired: known.iter().filter(|kind| !fired(kind)).map(|kind| (*kind).to_owned()).collect(),
            verdicts: self.verdicts,
            events: self.events,
            events_per_s: round(per_second(self.events, cpu)),
            simulated_ms: self.simulated_ms,
            simulated_per_wall: round(per_second(self.simulated_ms, wall) / 1000.0),
            operations: self.operations,
            operations_per_cpu_s: round(per_second(operations, cpu)),
            faults: self.faults,
            stats: self.stats,
            measures: measures::lines(&self.measures),
            wall_ms: millis(wall),
            cpu_ms: millis(cpu),
            interrupted,
        }
    }
}

/// To one decimal: more would be noise.
pub(crate) fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::engine::Violation;

    /// A report to make lines of.
    pub(crate) fn report(seed: u64, verdict: Verdict) -> RunReport {
        RunReport {
            scenario: "swarm".to_owned(),
            seed,
            verdict,
            digest: 0xd16e_5700 + u128::from(seed),
            events: 1000,
            simulated_ms: 30_000,
            wall_ms: 10,
            operations: Operations { ok: 90, failed: 7, unknown: 3 },
            faults: BTreeMap::from([("crash".to_owned(), 2), ("partition".to_owned(), 0)]),
            refused: Vec::new(),
            checks: vec!["linearizability", "R1"],
            others: Vec::new(),
            violation: (verdict != Verdict::Pass).then(|| Violation {
                check: "linearizability".to_owned(),
                side: "black-box".to_owned(),
                at: Some(700),
                summary: "c2 read a at revision 6 after revision 7 was acknowledged".to_owned(),
                details: (0..40).map(|n| format!("fact {n}")).collect(),
            }),
            stats: Stats { leader_changes: 1, snapshots_installed: 0, crashes: 2, recoveries: 2 },
            measures: Measures::default(),
            trace: vec![r#"{"n":650,"t":21000000000,"node":2,"kind":"fault.crash"}"#.to_owned()],
            history: "{\"call\":690,\"client\":2,\"request\":\"get a\"}\n".to_owned(),
        }
    }

    #[test]
    fn a_run_line_has_the_fields_of_its_schema_in_order() {
        let text = serde_json::to_string(&RunLine::new(&report(7, Verdict::Violation), None)).expect("plain data");
        let expected = "{\"schema\":\"detcd.run/1\",\"scenario\":\"swarm\",\"seed\":7,\"verdict\":\"violation\",\
            \"digest\":\"000000000000000000000000d16e5707\",\"events\":1000,\"simulated_ms\":30000,\"wall_ms\":10,\
            \"operations\":{\"ok\":90,\"failed\":7,\"unknown\":3},\"faults\":{\"crash\":2,\"partition\":0},\
            \"checks\":[\"linearizability\",\"R1\"],\"violation\":{\"check\":\"linearizability\",\
            \"side\":\"black-box\",\"summary\":\"c2 read a at revision 6 after revision 7 was acknowledged\"},\
            \"repro\":null}";
        assert_eq!(text, expected);
        let back: RunLine = serde_json::from_str(&text).expect("what was written is read");
        assert_eq!(back.digest, "000000000000000000000000d16e5707");
    }

    #[test]
    fn a_summary_sums_and_names_what_never_fired() {
        let mut totals = Totals::default();
        for (seed, verdict) in [(1, Verdict::Pass), (2, Verdict::Violation)] {
            let report = report(seed, verdict);
            totals.add(&RunLine::new(&report, None));
            totals.add_stats(&report.stats);
        }
        let second = Duration::from_secs(1);
        let summary = totals.summary("swarm", &["crash", "partition", "pause"], second, second * 2, false);
        assert_eq!((summary.seeds, summary.failures, summary.stats.crashes), (2, 1, 4));
        assert_eq!(summary.never_fired, ["partition", "pause"]);
        assert_eq!(summary.events_per_s, 1000.0);
        assert_eq!(summary.simulated_per_wall, 60.0);
        assert_eq!(summary.operations_per_cpu_s, 100.0);
    }

    #[test]
    fn an_empty_batch_has_a_summary_too() {
        let summary = Totals::default().summary("swarm", &[], Duration::ZERO, Duration::ZERO, true);
        assert_eq!((summary.seeds, summary.events_per_s, summary.simulated_per_wall), (0, 0.0, 0.0));
    }
}
