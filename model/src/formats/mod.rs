//! Histories from elsewhere: Jepsen's logs, Knossos's EDN, and the maps that porcupine's key-value tests are kept in.
//!
//! The format is told by the content, never by a file's name, and the machine by the names of the operations unless
//! it is given. Every text is either read whole or refused with the line, the field and one sentence; none makes it
//! panic.
//!
//! It does not read files, and it does not know detcd's own histories: [`Format::of`] is `None` for those.

mod edn;
mod events;
mod models;
#[cfg(test)]
mod tests;

use crate::search::kv::{Kv, KvOp};
use crate::search::mutex::{Mutex, MutexOp};
use crate::search::register::{Register, RegisterOp};
use crate::search::{self, Finding, Operation, Partition, Specification, Verdict, Window};

use events::Call;

/// Why a text is no history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1, where it is known.
    pub column: Option<usize>,
    /// The part that is wrong, in the format's own words.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl FormatError {
    fn new(line: usize, field: &str, reason: String) -> Self {
        Self { line, column: None, field: field.to_owned(), reason }
    }

    fn at_column(mut self, column: usize) -> Self {
        self.column = Some(column);
        self
    }
}

impl std::fmt::Display for FormatError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}: {}", self.field, self.reason)
    }
}

impl std::error::Error for FormatError {}

/// The machines that a history can be checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelName {
    /// A register whose failed compare-and-set is an observation: the value was another.
    Register,
    /// A register whose failed operations did not happen and say nothing.
    CasRegister,
    /// A map of strings with get, put and append.
    Kv,
    /// A lock.
    Mutex,
    /// etcd itself, for detcd's own histories.
    Etcd,
}

impl ModelName {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Register, Self::CasRegister, Self::Kv, Self::Mutex, Self::Etcd];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::CasRegister => "cas-register",
            Self::Kv => "kv",
            Self::Mutex => "mutex",
            Self::Etcd => "etcd",
        }
    }

    /// The machine of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.name() == name)
    }
}

/// The formats of other people's histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lines of a Jepsen log: `INFO  jepsen.util - 3 :invoke :write 4`.
    JepsenLog,
    /// EDN maps, in a vector, in a list, or one after another.
    Edn,
}

impl Format {
    /// The format of a text, by its first line that is neither blank nor a comment; `None` when it is none of these.
    pub fn of(text: &str) -> Option<Self> {
        let text = text.trim_start_matches('\u{feff}');
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with(';'))?;
        if line.contains("jepsen.") && line.contains(" - ") && !line.starts_with(['{', '[', '(', '#']) {
            return Some(Self::JepsenLog);
        }
        let inner = line.trim_start_matches(['[', '(', ' ', '\t', ',']);
        let opens = inner.len() < line.len();
        let is_map = |map: &str| map.trim_start().starts_with([':', '}']);
        let is_edn = match inner.strip_prefix('{') {
            Some("") => !opens,
            Some(map) => is_map(map),
            None => inner.starts_with('#') || (opens && (inner.is_empty() || inner.starts_with([']', ')', ';']))),
        };
        is_edn.then_some(Self::Edn)
    }
}

/// A history read, as the operations of a machine.
#[derive(Clone, Debug)]
pub enum Operations {
    /// Of a register; the names of its values, by number.
    Register(Vec<Operation<RegisterOp>>, Vec<String>),
    /// Of a map.
    Kv(Kv, Vec<Operation<KvOp>>),
    /// Of a lock.
    Mutex(Vec<Operation<MutexOp>>),
}

/// A history from elsewhere, read.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// The machine it is checked against.
    pub model: ModelName,
    /// What is searched: those that failed, and so did not happen, are left out.
    pub operations: Operations,
    /// Each operation as one line for people, by its place in `operations`.
    pub lines: Vec<String>,
}

/// What checking a history from elsewhere came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckReport {
    /// The machine that it was checked against.
    pub model: ModelName,
    /// What was found.
    pub verdict: Outcome,
    /// How many operations the history has, failed ones left out.
    pub operations: usize,
    /// What the search cost.
    pub steps: u64,
    /// After a violation: the operation that fits nowhere, the states it found, and what surrounded it, a line each.
    pub window: Vec<String>,
}

/// A verdict without its evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Some order explains the history.
    Linearizable,
    /// None does.
    Violation,
    /// The budget was spent before either was known.
    Undecided,
}

/// Reads a history and checks it, in at most about `budget` steps; `partition` allows a search by key.
pub fn check_foreign(
    text: &str,
    model: Option<ModelName>,
    partition: bool,
    budget: u64,
) -> Result<CheckReport, FormatError> {
    Ok(parse(text, model)?.check(partition, budget))
}

/// Reads a history; without `model`, the names of its operations say which machine it is of.
pub fn parse(text: &str, model: Option<ModelName>) -> Result<Foreign, FormatError> {
    let Some(format) = Format::of(text) else {
        let reason = if text.trim().is_empty() {
            "the file is empty"
        } else {
            "it is neither a Jepsen log nor a history in EDN"
        };
        return Err(FormatError::new(1, "format", reason.to_owned()));
    };
    let calls = events::read(text, format)?;
    let model = match model {
        Some(model) => model,
        None => models::guess(&calls, format)?,
    };
    models::build(&calls, model)
}

impl Foreign {
    /// Searches for an order, in at most about `budget` steps.
    pub fn check(&self, partition: bool, budget: u64) -> CheckReport {
        let partition = if partition { Partition::ByComponent } else { Partition::Whole };
        match &self.operations {
            Operations::Register(ops, values) => {
                let name = |_: &Operation<RegisterOp>, state: &u32| values[*state as usize].clone();
                self.report(search::check(&Register, ops, partition, budget), ops, &Register, name)
            }
            Operations::Kv(kv, ops) => {
                let name = |stuck: &Operation<KvOp>, state: &_| kv.describe(kv.component(&stuck.op), state);
                self.report(search::check(kv, ops, partition, budget), ops, kv, name)
            }
            Operations::Mutex(ops) => {
                let name = |_: &Operation<MutexOp>, held: &bool| if *held { "held" } else { "free" }.to_owned();
                self.report(search::check(&Mutex, ops, partition, budget), ops, &Mutex, name)
            }
        }
    }

    fn report<S: Specification>(
        &self,
        finding: Finding<S::State>,
        ops: &[Operation<S::Op>],
        _: &S,
        name: impl Fn(&Operation<S::Op>, &S::State) -> String,
    ) -> CheckReport {
        let (verdict, window) = match finding.verdict {
            Verdict::Linearizable => (Outcome::Linearizable, Vec::new()),
            Verdict::Undecided => (Outcome::Undecided, Vec::new()),
            Verdict::Violation(Window { stuck, around, states }) => {
                let states: Vec<_> = states.iter().map(|state| name(&ops[stuck], state)).collect();
                let mut window = vec![
                    format!("fits nowhere: {}", self.lines[stuck]),
                    format!("before it returned, the state could be: {}", states.join(", ")),
                ];
                let others = around.iter().filter(|&&at| at != stuck);
                window.extend(others.map(|&at| format!("around it: {}", self.lines[at])));
                (Outcome::Violation, window)
            }
        };
        CheckReport { model: self.model, verdict, operations: ops.len(), steps: finding.steps, window }
    }
}

/// One call as a line for people.
fn describe(call: &Call) -> String {
    let mut line = match call.end_line {
        Some(end) => format!("lines {}-{end}, process {}: {}", call.line, call.process, call.function),
        None => format!("line {}, process {}: {}", call.line, call.process, call.function),
    };
    if let Some(key) = &call.key {
        line += &format!(" key {key}");
    }
    if call.argument != edn::Edn::Nil {
        line += &format!(" {}", call.argument);
    }
    line += &match &call.end {
        events::End::Ok(_, result) if *result != call.argument => format!(" -> {result}"),
        events::End::Ok(..) if call.function == "read" || call.function == "get" => " -> nil".to_owned(),
        events::End::Ok(..) => " -> ok".to_owned(),
        events::End::Failed(_) => " -> failed".to_owned(),
        events::End::Unknown => " -> unknown".to_owned(),
    };
    line
}
