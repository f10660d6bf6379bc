//! The black-box judgement: everything that can be said of what clients saw.

use detcd_replica::history::{Finding, History, Outcome};

use crate::linearizability::{examine, LinearizabilityVerdict, Window};
use crate::{alarms, elle, hashes, leaders, leases, locks, permissions, refusals, serializable, session, watch};

/// How much work the judge may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgeOptions {
    /// How many operations tier 1 may try again, while it looks for a place for writes without an answer, before it
    /// gets further into the history; in all it may try 64 times as many as the history has, and these.
    pub steps: u64,
    /// Whether the clients of the history refuse stale answers that are older than what they have been shown.
    pub sessions: bool,
}

impl Default for JudgeOptions {
    fn default() -> Self {
        Self { steps: 500_000, sessions: false }
    }
}

/// How many operations ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationCounts {
    /// Answered.
    pub ok: u64,
    /// Refused, without effect.
    pub failed: u64,
    /// Without an answer.
    pub unknown: u64,
}

/// What the judge says of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What must not be, the operations first.
    pub findings: Vec<Finding>,
    /// Why linearizability could not be decided, when it could not.
    pub undecided: Option<String>,
    /// What a search of another kind would have to settle then.
    pub window: Option<Window>,
    /// The names of the checks made.
    pub checks: Vec<&'static str>,
    /// How the operations ended.
    pub operations: OperationCounts,
}

/// Judges a history by every check that needs nothing but what clients saw.
pub fn judge(history: &History, options: &JudgeOptions) -> Judgement {
    let mut operations = OperationCounts::default();
    for operation in &history.operations {
        match operation.outcome {
            Outcome::Ok { .. } => operations.ok += 1,
            Outcome::Failed { .. } => operations.failed += 1,
            Outcome::Unknown { .. } => operations.unknown += 1,
        }
    }
    let mut findings = Vec::new();
    let mut undecided = None;
    let mut left = None;
    let (verdict, truth) = examine(history, options.steps);
    match verdict {
        LinearizabilityVerdict::Linearizable => {}
        LinearizabilityVerdict::Violation(finding) => findings.push(finding),
        LinearizabilityVerdict::Undecided { reason, window } => {
            undecided = Some(reason);
            left = Some(window);
        }
    }
    findings.extend(serializable::check(history, &truth));
    if options.sessions {
        findings.extend(session::check(history));
    }
    findings.extend(watch::check(history, &truth));
    findings.extend(leases::check(history));
    findings.extend(alarms::check(history));
    findings.extend(locks::check(history, &truth));
    findings.extend(leaders::check(history, &truth));
    findings.extend(permissions::check(history));
    findings.extend(elle::check(history));
    findings.extend(refusals::check(history));
    findings.extend(hashes::check(history));
    let mut checks = vec!["linearizability", serializable::CHECK];
    checks.extend(options.sessions.then_some(session::CHECK));
    checks.extend(watch::CHECKS);
    checks.extend(leases::CHECKS);
    checks.extend([alarms::CHECK, locks::CHECK, permissions::CHECK, elle::CHECK, refusals::CHECK, hashes::CHECK]);
    Judgement { findings, undecided, window: left, checks, operations }
}
