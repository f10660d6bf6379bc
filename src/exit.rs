//! Every way the program ends, and the failures that end it early.
//!
//! The codes are part of the stable surface: scripts read them. Knows nothing of how a verdict came to be.

use std::fmt;
use std::process::ExitCode;

/// How the program ends. The number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Everything passed.
    Pass = 0,
    /// A safety property was violated.
    Violation = 1,
    /// The command line, or a file it names, is wrong.
    Usage = 2,
    /// The cluster did not recover when it had to.
    Liveness = 3,
    /// A checker spent its budget without a verdict.
    Undecided = 4,
    /// A replica panicked.
    Panic = 5,
    /// The same seed gave two results: a bug of detcd itself.
    Nondeterminism = 6,
    /// A repro was recorded by other code and no longer gives the same run.
    Stale = 7,
    /// A result could not be written.
    OutputIo = 74,
    /// Ctrl-C: what was finished has been reported.
    Interrupted = 130,
}

impl Exit {
    /// The more telling of two, for a batch: 6 over 5 over 1 over 3 over 4 over 0.
    pub(crate) fn worse(self, other: Self) -> Self {
        let rank = |exit| match exit {
            Self::Pass => 0,
            Self::Undecided => 1,
            Self::Liveness => 2,
            Self::Violation => 3,
            Self::Panic => 4,
            Self::Nondeterminism => 5,
            Self::Stale => 6,
            Self::Usage => 7,
            Self::OutputIo => 8,
            Self::Interrupted => 9,
        };
        if rank(other) > rank(self) {
            other
        } else {
            self
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The table in every `--help`.
pub(crate) const EXIT_CODES: &str = "\
EXIT CODES
    0    everything passed
    1    safety violation: linearizability, watch, invariant; or a checked history is not linearizable
    2    wrong flag, scenario, history or repro file
    3    liveness violation: the cluster did not recover after everything was healed
    4    undecided: a checker spent its budget of steps
    5    a replica panicked
    6    nondeterminism: one seed gave two results (a bug of detcd)
    7    stale: the repro was recorded by other code and gives another run today
    74   a result could not be written
    130  interrupted; what was finished has been reported
With several failures: 6 before 5 before 1 before 3 before 4.";

/// Why a command ended early: one line for the user, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code.
    pub(crate) exit: Exit,
    /// One line.
    pub(crate) message: String,
}

impl Failure {
    /// The user's input is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into() }
    }

    /// A result could not be written.
    pub(crate) fn output(what: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self { exit: Exit::OutputIo, message: format!("cannot write {what}: {error}") }
    }
}

impl fmt::Display for Failure {
    /// One line, whatever the message holds: scripts and people read it as one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.message.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
        f.write_str(words.next().unwrap_or("unknown"))?;
        words.try_for_each(|line| write!(f, " {line}"))
    }
}

/// The name in `known` that `word` most resembles, when it is close enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| {
            // Short words with one slip are alike to people, though little of them is left in place.
            let slip = if strsim::osa_distance(word, name) <= 1 { 0.9 } else { 0.0 };
            (strsim::jaro_winkler(word, name).max(slip), name)
        })
        .filter(|(score, _)| *score >= 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// `; did you mean "x"?`, or nothing.
pub(crate) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_failure_of_a_batch_names_its_exit() {
        let worst = |exits: &[Exit]| exits.iter().fold(Exit::Pass, |worst, exit| worst.worse(*exit));
        assert_eq!(worst(&[]), Exit::Pass);
        assert_eq!(worst(&[Exit::Pass, Exit::Undecided, Exit::Pass]), Exit::Undecided);
        assert_eq!(worst(&[Exit::Liveness, Exit::Undecided]), Exit::Liveness);
        assert_eq!(worst(&[Exit::Liveness, Exit::Violation]), Exit::Violation);
        assert_eq!(worst(&[Exit::Panic, Exit::Violation]), Exit::Panic);
        assert_eq!(worst(&[Exit::Panic, Exit::Nondeterminism, Exit::Violation]), Exit::Nondeterminism);
    }

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::usage("first\n\n   second\r\nthird\n");
        assert_eq!(failure.to_string(), "first second third");
    }

    #[test]
    fn a_near_miss_is_suggested_and_a_far_one_is_not() {
        assert_eq!(nearest("swrm", ["scale", "swarm"]), Some("swarm"));
        assert_eq!(nearest("rnu", ["replay", "run"]), Some("run"));
        assert_eq!(nearest("zzz", ["scale", "swarm"]), None);
    }
}
