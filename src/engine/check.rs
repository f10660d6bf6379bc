//! Histories from files: recognised by what is in them, read, and judged.
//!
//! Knows nothing of how a history came to be, nor of files and how many there are.

use std::io::{BufRead, Read as _};

use detcd_model::formats::{self, ModelName};
use detcd_model::{jsonl, JudgeOptions};
use serde::Serialize;

use super::EngineError;

/// What a history is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CheckModel {
    /// One register: read, write.
    Register,
    /// One register: read, write, compare-and-set.
    CasRegister,
    /// Keys: get, put, append.
    Kv,
    /// One lock: acquire, release.
    Mutex,
    /// etcd, whole.
    Etcd,
}

impl CheckModel {
    /// By the name that the judge gives it.
    fn named(name: &str) -> Self {
        let all = [Self::Register, Self::CasRegister, Self::Kv, Self::Mutex, Self::Etcd];
        all.into_iter().find(|model| model.name() == name).expect("the two lists are the same")
    }

    /// Its name on the command line and in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::CasRegister => "cas-register",
            Self::Kv => "kv",
            Self::Mutex => "mutex",
            Self::Etcd => "etcd",
        }
    }
}

/// How the check of a history ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CheckVerdict {
    /// There is an order that explains every answer.
    Linearizable,
    /// There is none.
    Violation,
    /// The budget was spent.
    Undecided,
}

impl CheckVerdict {
    /// Its name in JSON and tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::Violation => "violation",
            Self::Undecided => "undecided",
        }
    }
}

/// What the check of one history says.
#[derive(Clone, Debug)]
pub(crate) struct CheckReport {
    /// What it was checked against.
    pub(crate) model: CheckModel,
    /// How it ended.
    pub(crate) verdict: CheckVerdict,
    /// Operations in the history.
    pub(crate) operations: u64,
    /// Steps of the search.
    pub(crate) steps: u64,
    /// The smallest window that cannot be explained, an operation a line.
    pub(crate) window: Vec<String>,
}

/// Steps that the search for an order may take: some seconds of work, and the same verdict on every machine.
const CHECK_STEPS: u64 = 100_000_000;

/// How a history is checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckOptions {
    /// Against what; `None`: as its form says.
    pub(crate) model: Option<CheckModel>,
    /// Whether keys are checked by themselves where they can be.
    pub(crate) partition: bool,
    /// Bytes of the input, 0 where nobody knows.
    pub(crate) size: u64,
    /// Whether the process has nothing left to do.
    pub(crate) last: bool,
}

/// Checks one history. The format is recognised by its content; so is the model when none is given.
///
/// # Errors
/// The history cannot be read: line and reason.
pub(crate) fn check(mut input: impl BufRead, options: &CheckOptions) -> Result<CheckReport, EngineError> {
    let mut text = String::new();
    let broken = |line, error: std::io::Error| EngineError::History(line, 1, error.to_string());
    input.read_line(&mut text).map_err(|error| broken(1, error))?;
    if jsonl::recognises(&text) {
        return check_etcd(text.as_bytes().chain(input), options);
    }
    let mut rest = Vec::new();
    input.read_to_end(&mut rest).map_err(|error| broken(1, error))?;
    let rest = std::str::from_utf8(&rest).map_err(|error| {
        let line = 2 + rest[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        EngineError::History(line, 1, "the text is not UTF-8".to_owned())
    })?;
    text.push_str(rest);
    let wanted = options.model.map(|model| ModelName::from_name(model.name()).expect("the two lists are the same"));
    let report = formats::check_foreign(&text, wanted, options.partition, CHECK_STEPS)
        .map_err(|error| EngineError::History(error.line, error.column.unwrap_or(1), error.reason))?;
    Ok(CheckReport {
        model: CheckModel::named(report.model.name()),
        verdict: match report.verdict {
            formats::Outcome::Linearizable => CheckVerdict::Linearizable,
            formats::Outcome::Violation => CheckVerdict::Violation,
            formats::Outcome::Undecided => CheckVerdict::Undecided,
        },
        operations: report.operations as u64,
        steps: report.steps,
        window: report.window,
    })
}

/// Our own format: a history of etcd, by every black-box check.
fn check_etcd(input: impl BufRead, options: &CheckOptions) -> Result<CheckReport, EngineError> {
    if let Some(other) = options.model.filter(|model| *model != CheckModel::Etcd) {
        let reason = format!("this is a history of etcd; it cannot be checked against {}", other.name());
        return Err(EngineError::History(1, 1, reason));
    }
    let history =
        jsonl::read(input, options.size).map_err(|error| EngineError::History(error.line, 1, error.message))?;
    let judgement = detcd_model::judge(&history, &JudgeOptions::default());
    let (verdict, window) = match (judgement.findings.into_iter().next(), judgement.undecided) {
        (Some(finding), _) => {
            let summary = format!("{}: {}", finding.check, finding.summary);
            (CheckVerdict::Violation, std::iter::once(summary).chain(finding.details).collect())
        }
        (None, Some(reason)) => (CheckVerdict::Undecided, vec![reason]),
        (None, None) => (CheckVerdict::Linearizable, Vec::new()),
    };
    let operations = history.operations.len() as u64;
    if options.last {
        // The process ends; to give back a gigabyte piece by piece would take it a tenth of its time.
        std::mem::forget(history);
    }
    Ok(CheckReport { model: CheckModel::Etcd, verdict, operations, steps: operations, window })
}
