//! `detcd sweep`: the same seeds in every cell of a table of settings, and how long things took in each.
//!
//! All cells have the same random numbers: what differs between two of them is what was set, and what follows from it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use detcd_replica::Bugs;
use serde::Serialize;

use super::host;
use crate::cli::{Axis, Keep, SeedRange, SweepArgs};
use crate::engine::{self, Judges, Measures, RunOptions, Verdict};
use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::output::console;
use crate::output::measures::{lines, time, TimesLine};
use crate::run::{exit_of, jobs_or_cores, Batch};
use crate::scenario::Setting;

/// Seeds of a cell, where nobody says otherwise.
const SEEDS_DEFAULT: u64 = 20;
/// The bounds of a histogram: etcd's for its disks, and four below: 62.5 us, doubled up to 8.192 s.
const BOUNDS: u32 = 18;
const FIRST_BOUND: u64 = 62_500;

/// `detcd.sweep/1`.
#[derive(Serialize)]
struct CellLine<'a> {
    schema: &'static str,
    scenario: &'a str,
    /// What is set in it, by path.
    cell: &'a BTreeMap<String, String>,
    seeds: u64,
    failures: u64,
    measures: BTreeMap<&'static str, TimesLine>,
}

/// What came out of one cell.
struct Cell {
    set: BTreeMap<String, String>,
    seeds: u64,
    failures: u64,
    worst: Exit,
    measures: Measures,
}

impl Cell {
    fn name(&self) -> String {
        let values: Vec<&str> = self.set.values().map(String::as_str).collect();
        values.join(" ")
    }
}

pub(super) fn execute(args: &SweepArgs) -> Result<Exit, Failure> {
    let seeds = args.seeds.clone().unwrap_or_else(|| SeedRange::new(0, SEEDS_DEFAULT));
    let cells = product(&args.over);
    // A wrong setting is to be found before the first hour is over.
    for cell in &cells {
        engine::load(&args.scenario, &settings(args, cell)?)?;
    }
    interrupt::watch();
    let mut worst = Exit::Pass;
    let mut done = Vec::new();
    if !args.output.json {
        console::line(&format!("detcd sweep {} --seeds {seeds}   ({} cells)", args.scenario, cells.len()))?;
        console::line(&heading(args))?;
    }
    for set in cells {
        let cell = run(args, &seeds, set)?;
        if interrupt::asked() {
            return Ok(Exit::Interrupted);
        }
        worst = worst.worse(cell.worst);
        if args.output.json {
            let (schema, scenario) = ("detcd.sweep/1", &args.scenario[..]);
            let (seeds, failures, measures) = (cell.seeds, cell.failures, lines(&cell.measures));
            console::json(&CellLine { schema, scenario, cell: &cell.set, seeds, failures, measures })?;
        } else {
            console::line(&row(args, &cell))?;
        }
        done.push(cell);
    }
    if let (Some(name), false) = (&args.histogram, args.output.json) {
        console::line(&histogram(name, &done))?;
    }
    Ok(worst)
}

/// Every combination, the last axis fastest.
fn product(axes: &[Axis]) -> Vec<BTreeMap<String, String>> {
    axes.iter().fold(vec![BTreeMap::new()], |cells, axis| {
        let with = |cell: &BTreeMap<String, String>, value: &String| {
            let mut cell = cell.clone();
            cell.insert(axis.path.clone(), value.clone());
            cell
        };
        cells.iter().flat_map(|cell| axis.values.iter().map(move |value| with(cell, value))).collect()
    })
}

fn settings(args: &SweepArgs, cell: &BTreeMap<String, String>) -> Result<Vec<Setting>, Failure> {
    let mut settings = args.world.settings.clone();
    for (path, value) in cell {
        settings.push(Setting::parse(&format!("{path}={value}")).map_err(|error| Failure::usage(error.to_string()))?);
    }
    Ok(settings)
}

fn run(args: &SweepArgs, seeds: &SeedRange, set: BTreeMap<String, String>) -> Result<Cell, Failure> {
    let scenario = engine::load(&args.scenario, &settings(args, &set)?)?;
    let options = RunOptions {
        bugs: args.world.bugs.iter().copied().collect::<Bugs>(),
        judges: Judges::All,
        host: host(&args.world)?,
        trace: false,
        overrides: BTreeMap::new(),
        past: None,
    };
    let jobs = jobs_or_cores(args.jobs);
    let batch = Batch { scenario: &scenario, seeds, options: &options, keep: Keep::None, jobs };
    let mut cell = Cell { set, seeds: 0, failures: 0, worst: Exit::Pass, measures: Measures::default() };
    batch.execute(
        |report| {
            cell.seeds += 1;
            cell.failures += u64::from(report.verdict != Verdict::Pass);
            cell.worst = cell.worst.worse(exit_of(report.verdict));
            cell.measures.merge(&report.measures);
            Ok(ControlFlow::Continue(()))
        },
        || {},
    )?;
    Ok(cell)
}

fn heading(args: &SweepArgs) -> String {
    let paths: Vec<&str> = args.over.iter().map(|axis| &axis.path[..]).collect();
    let mut line = format!("{:<28} {:>9}", paths.join(" "), "passed");
    for name in &args.measures {
        line += &format!("   {:>14} {:>8} {:>8}", format!("{name} p50"), "p99", "max");
    }
    line
}

fn row(args: &SweepArgs, cell: &Cell) -> String {
    let measured = lines(&cell.measures);
    let mut line = format!("{:<28} {:>9}", cell.name(), format!("{}/{}", cell.seeds - cell.failures, cell.seeds));
    for name in &args.measures {
        let [p50, p99, max] = match measured.get(&name[..]) {
            Some(times) => [time(times.p50_us), time(times.p99_us), time(times.max_us)],
            None => ["-", "-", "-"].map(str::to_owned),
        };
        line += &format!("   {p50:>14} {p99:>8} {max:>8}");
    }
    line
}

/// The share of what took at most so long, side by side.
fn histogram(name: &str, cells: &[Cell]) -> String {
    let mut text = format!("\n{name} at most");
    for cell in cells {
        text += &format!(" {:>14}", cell.name());
    }
    for bound in 0..BOUNDS {
        let nanos = FIRST_BOUND << bound;
        text += &format!("\n{:>1$}", time(nanos / 1_000), name.len() + 8);
        let mut whole = true;
        for cell in cells {
            let times = cell.measures.named().into_iter().find(|(found, _)| *found == name).map(|(_, times)| times);
            let share = times.filter(|times| times.count() > 0);
            let share = share.map(|times| times.at_most(nanos) as f64 * 100.0 / times.count() as f64);
            text += &format!(" {:>14}", share.map_or("-".to_owned(), |share| format!("{share:.2} %")));
            whole &= times.is_none_or(|times| times.max() <= nanos);
        }
        if whole {
            break;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_all_combinations() {
        let axis = |path: &str, values: &[&str]| Axis {
            path: path.into(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        };
        let cells = product(&[axis("a", &["1", "2"]), axis("b", &["x", "y"])]);
        let names: Vec<String> = cells.iter().map(|cell| cell.values().cloned().collect::<String>()).collect();
        assert_eq!(names, ["1x", "1y", "2x", "2y"]);
        assert_eq!(product(&[]).len(), 1);
    }
}
