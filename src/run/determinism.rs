//! The check of determinism: every seed in two processes of this same program, whose environments differ in all that a
//! run must not depend on.

use std::io::{BufRead, BufReader, Lines, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::cli::{Keep, RunArgs, SeedRange};
use crate::engine::{Host, Stats, Verdict};
use crate::exit::{Exit, Failure};
use crate::output::lines::{RunLine, ViolationLine, RUN_SCHEMA, SUMMARY_SCHEMA};

/// What differs between the two.
struct Environment {
    home: &'static str,
    zone: &'static str,
    language: &'static str,
    folder: PathBuf,
    padding: usize,
    jobs: usize,
}

/// Two runs of the batch, side by side.
pub(crate) struct Pair {
    first: Process,
    second: Process,
    /// What the clusters of the first process lived through; known at the end.
    pub(crate) stats: Stats,
}

impl Pair {
    /// Starts both. The folders of failures are the first one's to write.
    pub(crate) fn start(args: &RunArgs, seeds: &SeedRange, host: Host, jobs: usize) -> Result<Self, Failure> {
        let temporary = std::env::temp_dir();
        let top = temporary.ancestors().last().map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let first = Environment { home: "/root", zone: "UTC", language: "C", folder: temporary, padding: 0, jobs: 1 };
        let second = Environment {
            home: "/nonexistent/a/longer/home",
            zone: "Asia/Kathmandu",
            language: "tr_TR.UTF-8",
            folder: top,
            padding: 5000,
            jobs: jobs.max(2),
        };
        Ok(Self {
            first: Process::start(args, seeds, host, args.keep, &first)?,
            second: Process::start(args, seeds, host, Keep::None, &second)?,
            stats: Stats::default(),
        })
    }

    /// The next seed, by the account of the first process; nondeterminism when the second one's differs. `None` at
    /// the end.
    pub(crate) fn next(&mut self) -> Result<Option<RunLine>, Failure> {
        let (first, second) = (self.first.next()?, self.second.next()?);
        let (Some(first), Some(second)) = (first, second) else {
            self.stats = self.first.stats;
            return Ok(None);
        };
        Ok(Some(compare(first, &second)))
    }
}

/// The first line, with its verdict replaced when the two differ in what a seed must decide.
fn compare(mut first: RunLine, second: &RunLine) -> RunLine {
    let decided = |line: &RunLine| (line.seed, line.digest.clone(), line.verdict, line.events);
    if decided(&first) != decided(second) {
        let facts = |line: &RunLine| {
            format!("seed {}: {:?}, digest {}, {} events", line.seed, line.verdict, line.digest, line.events)
        };
        first.violation = Some(ViolationLine {
            check: "determinism".to_owned(),
            side: "white-box".to_owned(),
            summary: format!("two processes differ\n{}\n{}", facts(&first), facts(second)),
        });
        first.verdict = Verdict::Nondeterminism;
    }
    first
}

/// One child process.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    stats: Stats,
    ended: bool,
}

impl Process {
    fn start(
        args: &RunArgs,
        seeds: &SeedRange,
        host: Host,
        keep: Keep,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let failed = |what: &str, error: std::io::Error| Failure::output(format!("for the check: {what}"), error);
        let program = std::env::current_exe().map_err(|error| failed("this program has no path", error))?;
        let out = std::path::absolute(&args.out).map_err(|error| failed("the output folder has no path", error))?;
        let mut command = Command::new(program);
        command.arg("run").arg(absolute(&args.scenario)).args(["--seeds", &seeds.to_string()]);
        for setting in &args.world.settings {
            command.args(["--set", setting.text()]);
        }
        for bug in &args.world.bugs {
            command.args(["--bug", bug.name()]);
        }
        let host = match host {
            Host::Madsim => "madsim",
            Host::Bare => "bare",
        };
        command
            .args(["--host", host, "--jobs", &environment.jobs.to_string(), "--json", "--quiet", "--keep", keep.name()])
            .arg("--out")
            .arg(out)
            .env_clear()
            .envs([("HOME", environment.home), ("TZ", environment.zone), ("LANG", environment.language)])
            .env("DETCD_PADDING", "x".repeat(environment.padding))
            .current_dir(&environment.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed("a second process", error))?;
        let stdout = child.stdout.take().expect("it was piped");
        Ok(Self { child, lines: BufReader::new(stdout).lines(), stats: Stats::default(), ended: false })
    }

    /// The next run's line; `None` after the summary. A process that ends without one has failed.
    fn next(&mut self) -> Result<Option<RunLine>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let broken = |why: String| Failure { exit: Exit::Nondeterminism, message: format!("a child process {why}") };
        let Some(line) = self.lines.next() else {
            return Err(self.reason());
        };
        let line = line.map_err(|error| broken(format!("cannot be read: {error}")))?;
        let object: serde_json::Value =
            serde_json::from_str(&line).map_err(|error| broken(format!("wrote a line that is not JSON: {error}")))?;
        match object.get("schema").and_then(serde_json::Value::as_str) {
            Some(RUN_SCHEMA) => serde_json::from_value(object)
                .map(Some)
                .map_err(|error| broken(format!("wrote an unknown {RUN_SCHEMA} line: {error}"))),
            Some(SUMMARY_SCHEMA) => {
                self.stats = serde_json::from_value(object).unwrap_or_default();
                self.ended = true;
                Ok(None)
            }
            other => Err(broken(format!("wrote a line of schema {other:?}"))),
        }
    }
}

impl Process {
    /// Why the process ended without a summary: what it refused is refused here, anything else breaks the promise.
    fn reason(&mut self) -> Failure {
        let mut errors = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut errors);
        }
        let said = errors.lines().last().unwrap_or("nothing").trim_start_matches("detcd: error: ");
        match self.child.wait().map(|status| (status.code(), status)) {
            Ok((Some(code), _)) if code == Exit::Usage as i32 => Failure::usage(said),
            Ok((Some(code), _)) if code == Exit::OutputIo as i32 => {
                Failure { exit: Exit::OutputIo, message: said.to_owned() }
            }
            Ok((_, status)) => {
                let message = format!("a child process ended without a summary ({status}) and said: {said}");
                Failure { exit: Exit::Nondeterminism, message }
            }
            Err(error) => Failure { exit: Exit::Nondeterminism, message: format!("a child process is lost: {error}") },
        }
    }
}

impl Drop for Process {
    /// Waits for a child that has ended, and ends one that is no longer read.
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A scenario's file by its full path, since the children work elsewhere; a built-in by its name.
fn absolute(scenario: &str) -> PathBuf {
    if crate::scenario::BUILT_IN.iter().any(|(name, _)| *name == scenario) {
        return PathBuf::from(scenario);
    }
    std::path::absolute(scenario).unwrap_or_else(|_| PathBuf::from(scenario))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::lines::tests::report;

    #[test]
    fn only_what_a_seed_decides_is_compared() {
        let line = RunLine::new(&report(7, Verdict::Pass), None);
        let slower = RunLine { wall_ms: 99, repro: Some("x".to_owned()), ..line.clone() };
        assert_eq!(compare(line.clone(), &slower), line);
        for other in [
            RunLine { digest: "1".repeat(32), ..line.clone() },
            RunLine { events: 1, ..line.clone() },
            RunLine { verdict: Verdict::Undecided, ..line.clone() },
            RunLine { seed: 8, ..line.clone() },
        ] {
            let compared = compare(line.clone(), &other);
            assert_eq!(compared.verdict, Verdict::Nondeterminism);
            let violation = compared.violation.expect("the difference");
            assert!(violation.summary.contains("seed 7"), "{violation:?}");
        }
    }
}
