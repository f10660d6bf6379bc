//! The one door between the tool and the packages behind it: the world (`sim`), the judge (`model`), the replica.
//!
//! Everything here is plain data and functions. The tool knows of the other packages only what these types say.

use std::collections::BTreeMap;
use std::fmt;

use detcd_replica::Bugs;
use serde::{Deserialize, Serialize};

/// A scenario as the world reads it.
pub(crate) type World = toml::Table;

/// Who pumps the world's event queue. Both give the same digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Host {
    /// The madsim runtime, which also guards against stray time, entropy and threads.
    Madsim,
    /// A plain loop.
    Bare,
}

/// What a run may be told beside its scenario and seed.
#[derive(Clone, Debug)]
pub(crate) struct RunOptions {
    /// Bugs switched on.
    pub(crate) bugs: Bugs,
    /// Who pumps the queue.
    pub(crate) host: Host,
    /// Whether to record the trace and the history. The digest does not depend on it.
    pub(crate) trace: bool,
    /// Decisions that are not drawn but named: label to value.
    pub(crate) overrides: BTreeMap<String, u64>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// Every check held.
    Pass,
    /// A safety property does not hold.
    Violation,
    /// The healed cluster did not recover in time.
    Liveness,
    /// A checker spent its budget.
    Undecided,
    /// A replica, or the tool itself, panicked.
    Panic,
    /// One seed gave two results.
    Nondeterminism,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The check, by its name.
    pub(crate) check: String,
    /// The evidence it works on: `black-box` or `white-box`.
    pub(crate) side: String,
    /// The number of the event at which it was found.
    pub(crate) at: Option<u64>,
    /// One sentence in etcd's words.
    pub(crate) summary: String,
    /// The facts behind it, a line each.
    pub(crate) details: Vec<String>,
}

/// How the operations of clients ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Operations {
    /// Answered.
    pub(crate) ok: u64,
    /// Refused, without effect.
    pub(crate) failed: u64,
    /// Open for ever.
    pub(crate) unknown: u64,
}

/// What the cluster lived through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Stats {
    /// Elections won after the first.
    pub(crate) leader_changes: u64,
    /// Raft snapshots that a lagging member installed.
    pub(crate) snapshots_installed: u64,
    /// Members that crashed.
    pub(crate) crashes: u64,
    /// Members that booted again from their disk.
    pub(crate) recoveries: u64,
}

/// Everything one run says of itself.
#[derive(Clone, Debug)]
pub(crate) struct RunReport {
    /// The scenario's name.
    pub(crate) scenario: String,
    /// The seed.
    pub(crate) seed: u64,
    /// How it ended.
    pub(crate) verdict: Verdict,
    /// The chained hash of everything that happened.
    pub(crate) digest: u128,
    /// Events taken from the queue.
    pub(crate) events: u64,
    /// Simulated time.
    pub(crate) simulated_ms: u64,
    /// Real time. The tool measures it; the engine leaves it at 0.
    pub(crate) wall_ms: u64,
    /// How the operations ended.
    pub(crate) operations: Operations,
    /// How often each kind of fault fired.
    pub(crate) faults: BTreeMap<String, u64>,
    /// The checks that were made.
    pub(crate) checks: Vec<&'static str>,
    /// What a check found first.
    pub(crate) violation: Option<Violation>,
    /// What the cluster lived through.
    pub(crate) stats: Stats,
    /// The trace, a JSON object a line; empty unless asked for.
    pub(crate) trace: Vec<String>,
    /// The history, a JSON object a line; empty unless asked for.
    pub(crate) history: String,
}

/// Why the engine cannot do what it was asked.
#[derive(Debug)]
pub(crate) enum EngineError {
    /// The scenario says something that cannot be.
    Scenario(String),
    /// A history cannot be read: line (from 1), column (from 1), what is wrong.
    History(usize, usize, String),
    /// No such profile, model or property: the word, and those there are.
    Unknown(String, Vec<String>),
    /// This build has no such part.
    Unavailable(&'static str),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scenario(reason) => write!(f, "scenario: {reason}"),
            Self::History(line, column, reason) => write!(f, "{line}:{column}: {reason}"),
            Self::Unknown(word, known) => {
                let hint = crate::exit::suggestion(word, known.iter().map(String::as_str));
                write!(f, "unknown `{word}`{hint} (there are: {})", known.join(", "))
            }
            Self::Unavailable(what) => write!(f, "{what} is not part of this build"),
        }
    }
}

impl From<EngineError> for crate::exit::Failure {
    fn from(error: EngineError) -> Self {
        Self::usage(error.to_string())
    }
}

/// Whether madsim is part of this build.
pub(crate) const fn has_madsim() -> bool {
    cfg!(madsim)
}

/// Every kind of fault the world knows, for the list of those that never fired.
pub(crate) fn fault_kinds() -> Vec<&'static str> {
    Vec::new()
}

/// One run. A function of its arguments.
///
/// # Errors
/// The scenario cannot be run. A panic of a replica is a verdict, not an error.
pub(crate) fn run(name: &str, world: &World, seed: u64, options: &RunOptions) -> Result<RunReport, EngineError> {
    let _ = (world, seed, options);
    Err(EngineError::Scenario(format!("{name}: the world is not part of this build")))
}

/// The disk profiles there are.
pub(crate) fn disk_profiles() -> Vec<&'static str> {
    Vec::new()
}

/// The latencies, in nanoseconds, of `count` appends of `bytes` bytes, each followed by fdatasync, on an idle disk.
///
/// # Errors
/// There is no such profile.
pub(crate) fn disk_latencies(profile: &str, seed: u64, count: u64, bytes: u64) -> Result<Vec<u64>, EngineError> {
    let _ = (seed, count, bytes);
    Err(EngineError::Unknown(profile.to_owned(), disk_profiles().into_iter().map(str::to_owned).collect()))
}

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

/// Checks one history. The format is recognised from `name` and the bytes; so is the model when none is given.
///
/// # Errors
/// The history cannot be read: line and reason.
pub(crate) fn check(
    name: &str,
    bytes: &[u8],
    model: Option<CheckModel>,
    partition: bool,
) -> Result<CheckReport, EngineError> {
    let _ = (bytes, model, partition);
    Err(EngineError::History(1, 1, format!("{name}: no reader for this format")))
}

/// A small world to explore whole.
#[derive(Clone, Debug)]
pub(crate) struct ModelOptions {
    /// Worker threads.
    pub(crate) jobs: usize,
    /// Give up after so many states; `None` explores all.
    pub(crate) max_states: Option<u64>,
    /// Bugs switched on.
    pub(crate) bugs: Bugs,
}

/// One property of the model.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Property {
    /// Its name.
    pub(crate) name: String,
    /// `always` or `sometimes`.
    pub(crate) kind: &'static str,
    /// Whether an `always` held everywhere, a `sometimes` somewhere.
    pub(crate) holds: bool,
    /// The actions that lead to the counterexample of an `always`, or to the example of a `sometimes`.
    pub(crate) actions: Vec<String>,
}

/// What an exploration says.
#[derive(Clone, Debug)]
pub(crate) struct ModelReport {
    /// States generated.
    pub(crate) states: u64,
    /// Different ones among them.
    pub(crate) unique_states: u64,
    /// The longest path without a repeat.
    pub(crate) max_depth: u64,
    /// Whether every state was reached.
    pub(crate) complete: bool,
    /// The properties, in a fixed order.
    pub(crate) properties: Vec<Property>,
}

/// Explores the small world of the model.
///
/// # Errors
/// This build has no model.
pub(crate) fn model(options: &ModelOptions) -> Result<ModelReport, EngineError> {
    let _ = (options.jobs, options.max_states, options.bugs);
    Err(EngineError::Unavailable("the model"))
}
