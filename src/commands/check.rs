//! `detcd check`: histories from anywhere, a line a file.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::CheckArgs;
use crate::engine::{self, CheckModel, CheckOptions, CheckReport, CheckVerdict, EngineError};
use crate::exit::{suggestion, Exit, Failure};
use crate::output::console;

/// `detcd.check/1`.
#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    file: &'a str,
    model: &'static str,
    verdict: CheckVerdict,
    operations: u64,
    steps: u64,
    millis: f64,
    window: Option<&'a [String]>,
}

/// One file to check, and what the table says of it.
struct Task {
    path: PathBuf,
    model: Option<CheckModel>,
    expected: Option<CheckVerdict>,
}

/// Bytes that are read at once.
const BUFFER: usize = 1 << 18;
/// The most lines of a window that are printed for people.
const WINDOW_MAX: usize = 20;

pub(super) fn execute(args: &CheckArgs) -> Result<Exit, Failure> {
    let tasks = tasks(args)?;
    let (mut exit, mut mismatches, compared) =
        (Exit::Pass, 0usize, tasks.iter().filter(|t| t.expected.is_some()).count());
    for (place, task) in tasks.iter().enumerate() {
        let file = task.path.display().to_string();
        let input = File::open(&task.path).map_err(|error| Failure::usage(format!("{file}: {error}")))?;
        let size = input.metadata().map_or(0, |metadata| metadata.len());
        let options =
            CheckOptions { model: task.model, partition: !args.no_partition, size, last: place + 1 == tasks.len() };
        let started = Instant::now();
        let report = engine::check(BufReader::with_capacity(BUFFER, input), &options).map_err(|error| match error {
            EngineError::History(line, column, reason) => Failure::usage(format!("{file}:{line}:{column}: {reason}")),
            other => Failure::usage(format!("{file}: {other}")),
        })?;
        let millis = started.elapsed().as_secs_f64() * 1e3;
        if task.expected.is_some_and(|expected| expected != report.verdict) {
            mismatches += 1;
            eprintln!("{file}: {} was expected", task.expected.map_or("", CheckVerdict::name));
        }
        if task.expected.is_none() {
            exit = exit.worse(match report.verdict {
                CheckVerdict::Linearizable => Exit::Pass,
                CheckVerdict::Violation => Exit::Violation,
                CheckVerdict::Undecided => Exit::Undecided,
            });
        }
        say(args, &file, &report, millis)?;
    }
    if compared > 0 && !args.output.json {
        console::line(&format!("{} of {compared} as expected", compared - mismatches))?;
    }
    Ok(if mismatches > 0 { Exit::Violation } else { exit })
}

fn say(args: &CheckArgs, file: &str, report: &CheckReport, millis: f64) -> Result<(), Failure> {
    if args.output.json {
        return console::json(&Line {
            schema: "detcd.check/1",
            file,
            model: report.model.name(),
            verdict: report.verdict,
            operations: report.operations,
            steps: report.steps,
            millis: (millis * 1e3).round() / 1e3,
            window: (!report.window.is_empty()).then_some(&report.window),
        });
    }
    console::line(&format!(
        "{:<12}  {:<12}  {:>8} operations  {:>10} steps  {millis:>9.2} ms  {file}",
        report.verdict.name(),
        report.model.name(),
        report.operations,
        report.steps,
    ))?;
    for operation in report.window.iter().take(WINDOW_MAX) {
        console::line(&format!("    {operation}"))?;
    }
    if report.window.len() > WINDOW_MAX {
        console::line(&format!("    … {} more, with --json", report.window.len() - WINDOW_MAX))?;
    }
    Ok(())
}

/// The files of the command line, of the table, or those of the command line with what the table says of them.
fn tasks(args: &CheckArgs) -> Result<Vec<Task>, Failure> {
    let plain = |path: &PathBuf| Task { path: path.clone(), model: args.model, expected: None };
    let Some(table) = &args.expected else {
        return Ok(args.files.iter().map(plain).collect());
    };
    let origin = table.display().to_string();
    let bytes = std::fs::read(table).map_err(|error| Failure::usage(format!("{origin}: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{origin}: not UTF-8")))?;
    let mut known = read_table(&origin, &text, table.parent().unwrap_or(Path::new("")))?;
    for task in &mut known {
        task.model = args.model.or(task.model);
    }
    if args.files.is_empty() {
        return Ok(known);
    }
    let same = |a: &Path, b: &Path| match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    };
    args.files
        .iter()
        .map(|file| {
            let place = known.iter().position(|task| same(&task.path, file));
            let place = place.ok_or_else(|| Failure::usage(format!("{origin} says nothing of {}", file.display())))?;
            let task = &known[place];
            Ok(Task { path: file.clone(), model: task.model, expected: task.expected })
        })
        .collect()
}

/// A table: a heading, then file, model and verdict, with tabs between. Files are below `folder`.
fn read_table(origin: &str, text: &str, folder: &Path) -> Result<Vec<Task>, Failure> {
    let wrong = |line: usize, reason: String| Failure::usage(format!("{origin}:{}:1: {reason}", line + 1));
    let mut lines = text.lines().enumerate();
    match lines.next() {
        Some((_, "file\tmodel\tverdict")) => {}
        _ => return Err(wrong(0, "the first line must be file, model and verdict, with tabs between".to_owned())),
    }
    let mut tasks = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.split('\t').collect();
        let [file, model, verdict] = fields[..] else {
            return Err(wrong(number, format!("{} fields instead of file, model, verdict", fields.len())));
        };
        if file.is_empty() {
            return Err(wrong(number, "the field `file` is empty".to_owned()));
        }
        let model =
            CheckModel::value_variants().iter().copied().find(|known| known.name() == model).ok_or_else(|| {
                let hint = suggestion(model, CheckModel::value_variants().iter().map(|known| known.name()));
                wrong(number, format!("`model`: unknown `{model}`{hint}"))
            })?;
        let verdicts = [CheckVerdict::Linearizable, CheckVerdict::Violation, CheckVerdict::Undecided];
        let expected = verdicts.into_iter().find(|known| known.name() == verdict).ok_or_else(|| {
            let hint = suggestion(verdict, verdicts.iter().map(|known| known.name()));
            wrong(number, format!("`verdict`: unknown `{verdict}`{hint}"))
        })?;
        tasks.push(Task { path: folder.join(file), model: Some(model), expected: Some(expected) });
    }
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_strictly() {
        let text = "file\tmodel\tverdict\na/b.edn\tcas-register\tviolation\n\nc.log\tkv\tlinearizable\n";
        let tasks = read_table("t.tsv", text, Path::new("dir")).expect("sound");
        assert_eq!(tasks.len(), 2);
        assert_eq!(tasks[0].path, Path::new("dir/a/b.edn"));
        assert_eq!((tasks[1].model, tasks[1].expected), (Some(CheckModel::Kv), Some(CheckVerdict::Linearizable)));
        for (text, at, part) in [
            ("", "t.tsv:1:1: ", "first line"),
            ("file\tmodel\n", "t.tsv:1:1: ", "first line"),
            ("file\tmodel\tverdict\nx\tkv\n", "t.tsv:2:1: ", "2 fields"),
            ("file\tmodel\tverdict\n\nx\tregster\tviolation", "t.tsv:3:1: ", "did you mean `register`"),
            ("file\tmodel\tverdict\nx\tkv\tviolated", "t.tsv:2:1: ", "did you mean `violation`"),
            ("file\tmodel\tverdict\n\tkv\tviolation", "t.tsv:2:1: ", "`file`"),
        ] {
            let failure = read_table("t.tsv", text, Path::new("")).err().expect(text).to_string();
            assert!(failure.starts_with(at) && failure.contains(part), "{text:?}: {failure}");
        }
    }
}
