//! The folder of a run: `DIR/<run>/<seed>/`, with all that a person or a program may ask of it later.
//!
//! Promises: a batch never touches the folder of another; a seed's folder appears whole or not at all; its bytes depend
//! on the run alone, so that two replays' folders are equal.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::lines::{digest_text, RunLine};
use super::repro::{self, Expected, Repro, SCHEMA};
use super::{block, report};
use crate::engine::{RunOptions, RunReport};
use crate::exit::Failure;
use crate::identity;

/// The folder of a batch, made when its first seed is written.
#[derive(Debug)]
pub(crate) struct Folder {
    out: PathBuf,
    wish: String,
    claimed: Option<PathBuf>,
}

impl Folder {
    /// A folder below `out`, named `wish`, or `wish-2` and so on when that exists.
    pub(crate) fn new(out: &Path, wish: String) -> Self {
        Self { out: out.to_owned(), wish, claimed: None }
    }

    /// Writes the folder of one run and gives the path of its repro file.
    pub(crate) fn keep(
        &mut self,
        run: &RunReport,
        table: &toml::Table,
        options: &RunOptions,
    ) -> Result<String, Failure> {
        let parent = self.claim().map_err(|error| Failure::output(self.out.display(), error))?;
        let folder = parent.join(run.seed.to_string());
        let written = write(&parent, &folder, run, table, options);
        written.map_err(|error| Failure::output(folder.display(), error))?;
        Ok(folder.join("repro.toml").display().to_string())
    }

    /// Makes the folder of the batch. `create_dir` fails on one that exists, so that two processes never share one.
    fn claim(&mut self) -> io::Result<PathBuf> {
        if let Some(claimed) = &self.claimed {
            return Ok(claimed.clone());
        }
        fs::create_dir_all(&self.out)?;
        for attempt in 1u32.. {
            let name = if attempt == 1 { self.wish.clone() } else { format!("{}-{attempt}", self.wish) };
            let path = self.out.join(name);
            match fs::create_dir(&path) {
                Ok(()) => {
                    self.claimed = Some(path.clone());
                    return Ok(path);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// The repro of a run.
fn repro_of(run: &RunReport, table: &toml::Table, options: &RunOptions) -> Repro<toml::Table> {
    Repro {
        schema: SCHEMA.to_owned(),
        detcd: identity::VERSION.to_owned(),
        commit: identity::commit().map(str::to_owned),
        source: identity::SOURCE.to_owned(),
        name: run.scenario.clone(),
        seed: run.seed,
        host: options.host,
        bugs: options.bugs.iter().map(|bug| bug.name().to_owned()).collect(),
        check: run.violation.as_ref().map(|violation| violation.check.clone()),
        expected: Expected { verdict: run.verdict, digest: digest_text(run.digest) },
        overrides: options.overrides.clone(),
        scenario: table.clone(),
    }
}

/// `verdict.json`: the run's line without its real time and paths, and every detail of the finding.
#[derive(Serialize)]
struct VerdictFile<'a> {
    schema: &'static str,
    #[serde(flatten)]
    run: serde_json::Map<String, serde_json::Value>,
    stats: crate::engine::Stats,
    at: Option<u64>,
    details: &'a [String],
}

fn write(parent: &Path, folder: &Path, run: &RunReport, table: &toml::Table, options: &RunOptions) -> io::Result<()> {
    let bugs: Vec<&str> = options.bugs.iter().map(|bug| bug.name()).collect();
    let details = run.violation.as_ref().map_or(&[][..], |violation| &violation.details);
    let at = run.violation.as_ref().and_then(|violation| violation.at);
    let line = RunLine::new(run, None);
    let block = block::failure(&line, at, details, &bugs, "detcd replay repro.toml");
    let repro = repro::write(&repro_of(run, table, options)).map_err(io::Error::other)?;

    let mut fields = match serde_json::to_value(&line)? {
        serde_json::Value::Object(fields) => fields,
        other => return Err(io::Error::other(format!("a run line is an object, not {other}"))),
    };
    for left_out in ["schema", "wall_ms", "repro"] {
        fields.remove(left_out);
    }
    let verdict = VerdictFile { schema: "detcd.verdict/1", run: fields, stats: run.stats, at, details };

    let mut trace = run.trace.join("\n");
    if !trace.is_empty() {
        trace.push('\n');
    }

    let unfinished = parent.join(format!(".{}.unfinished", run.seed));
    fs::create_dir(&unfinished)?;
    fs::write(unfinished.join("trace.jsonl"), trace)?;
    fs::write(unfinished.join("history.jsonl"), &run.history)?;
    fs::write(unfinished.join("verdict.json"), serde_json::to_string_pretty(&verdict)? + "\n")?;
    fs::write(unfinished.join("report.html"), report::html(run, &block, &repro))?;
    fs::write(unfinished.join("repro.toml"), repro)?;
    fs::rename(&unfinished, folder)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use detcd_replica::{Bug, Bugs};

    use super::*;
    use crate::engine::{Host, Judges, Verdict};
    use crate::output::lines::tests::report;

    fn options() -> RunOptions {
        let bugs = Bugs::NONE.with(Bug::MustsyncIgnoresVote);
        RunOptions { bugs, judges: Judges::All, host: Host::Bare, trace: true, overrides: BTreeMap::new(), past: None }
    }

    #[test]
    fn two_batches_of_one_seed_write_equal_folders_apart() {
        let out = tempfile::tempdir().expect("a temporary folder");
        let table: toml::Table = "nodes = 3".parse().expect("sound");
        let paths: Vec<PathBuf> = (0..2)
            .map(|_| {
                let mut folder = Folder::new(out.path(), "swarm-7".to_owned());
                let repro = folder.keep(&report(7, Verdict::Violation), &table, &options()).expect("written");
                PathBuf::from(repro).parent().expect("in a folder").to_owned()
            })
            .collect();
        assert_eq!(paths[0], out.path().join("swarm-7/7"));
        assert_eq!(paths[1], out.path().join("swarm-7-2/7"));
        for name in ["repro.toml", "trace.jsonl", "history.jsonl", "verdict.json", "report.html"] {
            let read = |path: &Path| fs::read(path.join(name)).expect(name);
            assert_eq!(read(&paths[0]), read(&paths[1]), "{name}");
            assert!(!read(&paths[0]).is_empty(), "{name}");
        }
        let text = fs::read_to_string(paths[0].join("repro.toml")).expect("written");
        let repro = repro::read::<toml::Table>("repro.toml", &text).expect("sound");
        assert!(!repro.is_from_other_code());
        assert_eq!((repro.seed, repro.bugs), (7, vec!["mustsync_ignores_vote".to_owned()]));
        assert_eq!(
            fs::read_dir(out.path().join("swarm-7")).expect("a folder").count(),
            1,
            "nothing unfinished is left"
        );
    }

    #[test]
    fn what_cannot_be_written_is_exit_74() {
        let out = tempfile::tempdir().expect("a temporary folder");
        let file = out.path().join("file");
        fs::write(&file, "in the way").expect("written");
        let mut folder = Folder::new(&file, "x".to_owned());
        let failure = folder.keep(&report(1, Verdict::Panic), &toml::Table::new(), &options()).expect_err("a file");
        assert_eq!(failure.exit, crate::exit::Exit::OutputIo);
    }
}
