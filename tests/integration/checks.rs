//! Is every check made? For each check that a run can name, a bug that this very check finds in a whole run.
//!
//! Belongs here: that a check is called by the world, on what it needs. What it says of which history is tested next to
//! the check. A name that is in neither of the two lists fails the test, so that no check is named and never made.

use std::collections::BTreeSet;
use std::path::Path;

use super::cli::{detcd_in, text};

/// Check, the bug that it finds, and in which scenario.
const FINDS: [(&str, &str, &str); 39] = [
    ("R1", "M-03", "election-churn"),
    ("R2", "M-03", "election-churn"),
    ("R3", "M-08", "append"),
    ("R4", "M-08", "election-churn"),
    ("R5", "M-01", "single-member"),
    ("R6", "M-03", "election-churn"),
    ("R7", "M-06", "readindex"),
    ("R8", "M-70", "member-churn"),
    ("P1", "M-69", "forced-restart"),
    ("P2", "M-21", "wal-zero-tail"),
    ("P3", "M-83", "power-loss"),
    ("P4", "M-23", "slow-snapshot"),
    ("M1", "M-30", "txn-history"),
    ("M2", "M-27", "compaction-crash"),
    ("M3", "M-28", "watch-window"),
    ("E1", "M-48", "lease-handover"),
    ("E3", "M-49", "lease-race"),
    ("E4", "M-50", "lease-ttl"),
    ("A1", "M-57", "auth"),
    ("A2", "M-59", "auth"),
    ("G1", "M-63", "member-churn"),
    ("Q1", "M-74", "quota"),
    ("C1", "M-66", "hasty-churn"),
    ("linearizability", "M-30", "txn-history"),
    ("serializable", "M-32", "auth"),
    ("session", "M-78", "stale-failover"),
    ("watch-ordered", "M-37", "watch-snapshot"),
    ("watch-unique", "M-37", "watch-snapshot"),
    ("watch-bookmarkable", "M-39", "watch-window"),
    ("watch-resumable", "M-40", "watch-window"),
    ("watch-reliable", "M-44", "watch-window"),
    ("watch-prev-kv", "M-45", "watch-window"),
    ("watch-live", "M-41", "watch-snapshot"),
    ("C2", "M-76", "lock-waiting"),
    ("append-cycles", "M-71", "append"),
    ("hash-kv", "M-55", "lease-race"),
    ("liveness", "M-68", "ghosts"),
    ("panic", "M-15", "slow-follower"),
    ("boot", "M-20b", "storage"),
];

/// No switch was found so far that shows by these in a test's time: they are held against histories, views and
/// clusters made by hand, in the unit tests.
const BY_HAND: [&str; 6] = ["watch-filter", "watch-atomic", "watch-is-create", "E2", "refusals", "restore"];

/// Seeds that are tried at most.
const BUDGET: &str = "200";

/// The checks that there are, as the refusal of an unknown one names them.
fn checks() -> BTreeSet<String> {
    let output = detcd_in(Path::new("."), &["bugs", "--by", "none-of-them"]);
    let errors = text(&output.stderr);
    let (_, names) = errors.split_once("(there are: ").expect("the refusal names the checks");
    let names = names.trim_end().trim_end_matches(')');
    names.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_check_finds_a_bug_or_is_named_here() {
    let listed = FINDS.iter().map(|(check, ..)| *check).chain(BY_HAND).map(str::to_owned);
    assert_eq!(checks(), listed.collect::<BTreeSet<_>>());
}

#[test]
fn every_check_is_made_in_a_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let missed = FINDS.iter().filter_map(|(check, bug, scenario)| {
        let args = ["bugs", bug, "--in", scenario, "--by", check, "--budget", BUDGET, "--quiet"];
        let output = detcd_in(folder.path(), &args);
        (output.status.code() != Some(0)).then(|| text(&output.stdout) + &text(&output.stderr))
    });
    assert_eq!(missed.collect::<String>(), "");
}
