//! `detcd run`: seeds in, verdicts out.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use detcd_replica::Bugs;

use super::{host, quoted};
use crate::cli::{Keep, RunArgs, SeedRange};
use crate::engine::{self, Judges, RunOptions, RunReport, Verdict, World};
use crate::exit::{Exit, Failure};
use crate::output::folder::Folder;
use crate::output::lines::{RunLine, Totals};
use crate::output::progress::Progress;
use crate::output::{block, console, human};
use crate::run::determinism::Pair;
use crate::run::{exit_of, jobs_or_cores, Batch};
use crate::scenario::Scenario;
use crate::{cpu, interrupt};

/// Seeds of a batch that names none.
const SEEDS_DEFAULT: u64 = 100;
/// Above so many seeds, only failures have a line for people.
const LINES_MAX: u64 = 200;

pub(super) fn execute(args: &RunArgs) -> Result<Exit, Failure> {
    let scenario = engine::load(&args.scenario, &args.world.settings)?;
    let seeds = match (args.seed, &args.seeds) {
        (Some(seed), _) => SeedRange::new(seed, 1),
        (None, Some(seeds)) => seeds.clone(),
        (None, None) => SeedRange::new(random_seed(), SEEDS_DEFAULT),
    };
    let options = RunOptions {
        bugs: args.world.bugs.iter().copied().collect::<Bugs>(),
        judges: Judges::All,
        host: host(&args.world)?,
        trace: false,
        overrides: BTreeMap::new(),
        past: None,
    };
    announce(args, &scenario.name, &seeds)?;
    interrupt::watch();

    let mut session = Session {
        args,
        scenario: &scenario,
        options: &options,
        lines: seeds.count() <= LINES_MAX,
        folder: Folder::new(&args.out, format!("{}-{}", scenario.name, seeds.first())),
        progress: Progress::new(seeds.count(), args.output.quiet),
        totals: Totals::default(),
        worst: Exit::Pass,
    };
    // `cargo run` becomes this process, and leaves it the time of its compilers.
    let started = (Instant::now(), cpu::process_time(), cpu::children_time());
    let result = if args.check_determinism { session.compare_processes(&seeds) } else { session.run_batch(&seeds) };
    session.progress.finish();
    let wall = started.0.elapsed();
    let cpu = cpu::process_time() - started.1 + cpu::children_time() - started.2;
    session.summarise(wall, cpu, result)
}

/// The seed first, and where JSON has stdout to itself, on stderr.
fn announce(args: &RunArgs, scenario: &str, seeds: &SeedRange) -> Result<(), Failure> {
    let plural = if seeds.count() == 1 { "" } else { "s" };
    let text = format!("detcd run {} --seeds {seeds}   ({} seed{plural})", quoted(scenario), seeds.count());
    if args.output.json {
        if !args.output.quiet {
            eprintln!("{text}");
        }
        return Ok(());
    }
    console::line(&text)?;
    if seeds.count() <= LINES_MAX {
        console::line(&human::heading())?;
    }
    Ok(())
}

/// A batch under way, and all that it says.
struct Session<'a> {
    args: &'a RunArgs,
    scenario: &'a Scenario<World>,
    options: &'a RunOptions,
    lines: bool,
    folder: Folder,
    progress: Progress,
    totals: Totals,
    worst: Exit,
}

impl Session<'_> {
    fn run_batch(&mut self, seeds: &SeedRange) -> Result<(), Failure> {
        let batch = Batch {
            scenario: self.scenario,
            seeds,
            options: self.options,
            keep: self.args.keep,
            jobs: jobs_or_cores(self.args.jobs),
        };
        let session = std::cell::RefCell::new(self);
        batch.execute(
            |report| session.borrow_mut().finished(&report),
            || {
                let session = &mut **session.borrow_mut();
                session.progress.update(&session.totals);
            },
        )
    }

    /// One run has ended.
    fn finished(&mut self, report: &RunReport) -> Result<ControlFlow<()>, Failure> {
        let keep = match self.args.keep {
            Keep::All => true,
            Keep::Failures => report.verdict != Verdict::Pass,
            Keep::None => false,
        };
        let kept = if keep { Some(self.folder.keep(report, &self.scenario.table, self.options)) } else { None };
        // A folder that cannot be written must not cost the finding: the line goes out first.
        let (repro, failed) = match kept {
            Some(Ok(path)) => (Some(path), None),
            Some(Err(failure)) => (None, Some(failure)),
            None => (None, None),
        };
        let line = RunLine::new(report, repro);
        self.totals.add_stats(&report.stats);
        self.totals.add_measures(&report.measures);
        let (at, details) = match &report.violation {
            Some(violation) => (violation.at, &violation.details[..]),
            None => (None, &[][..]),
        };
        self.say(&line, at, details)?;
        failed.map_or(Ok(self.after(&line)), Err)
    }

    fn compare_processes(&mut self, seeds: &SeedRange) -> Result<(), Failure> {
        let jobs = jobs_or_cores(self.args.jobs).get();
        let mut pair = Pair::start(self.args, seeds, self.options.host, jobs)?;
        while let Some(line) = pair.next()? {
            self.say(&line, None, &[])?;
            self.progress.update(&self.totals);
            if interrupt::asked() || self.after(&line).is_break() {
                break;
            }
        }
        self.totals.add_stats(&pair.stats);
        Ok(())
    }

    /// Whether to go on after this run.
    fn after(&self, line: &RunLine) -> ControlFlow<()> {
        match self.args.fail_fast && line.verdict != Verdict::Pass {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Counts a run and prints its line, and its block when it failed.
    fn say(&mut self, line: &RunLine, at: Option<u64>, details: &[String]) -> Result<(), Failure> {
        self.totals.add(line);
        self.worst = self.worst.worse(exit_of(line.verdict));
        let failed = line.verdict != Verdict::Pass;
        let block = failed.then(|| {
            let bugs: Vec<&str> = self.options.bugs.iter().map(|bug| bug.name()).collect();
            block::failure(line, at, details, &bugs, &self.replay_command(line))
        });
        self.progress.suspend(|| {
            if self.args.output.json {
                console::json(line)?;
                if let Some(block) = block.filter(|_| !self.args.output.quiet) {
                    eprintln!("{block}");
                }
                return Ok(());
            }
            if self.lines || failed {
                console::line(&human::run(line))?;
            }
            block.map_or(Ok(()), |block| console::line(&block))
        })
    }

    fn replay_command(&self, line: &RunLine) -> String {
        let (scenario, world) = (&self.args.scenario, &self.args.world);
        match &line.repro {
            // Where two processes differed, one run shows nothing.
            _ if self.args.check_determinism && line.verdict == Verdict::Nondeterminism => {
                let world = super::world_flags(world);
                format!("detcd run {} --seed {}{world} --check-determinism", quoted(scenario), line.seed)
            }
            Some(path) => format!("detcd replay {}", quoted(path)),
            None => super::replay::command(line.seed, scenario, world),
        }
    }

    fn summarise(self, wall: Duration, cpu: Duration, result: Result<(), Failure>) -> Result<Exit, Failure> {
        let interrupted = interrupt::asked();
        let summary = self.totals.summary(
            &self.scenario.name,
            &engine::fault_kinds(&self.scenario.world),
            wall,
            cpu,
            interrupted,
        );
        if let Err(failure) = result {
            // What ran before is worth its summary; what never ran is not worth a second message.
            if summary.seeds > 0 && !self.args.output.json {
                console::line(&human::summary(&summary))?;
            }
            return Err(failure);
        }
        if self.args.output.json {
            console::json(&summary)?;
        } else {
            console::line(&human::summary(&summary))?;
        }
        Ok(if interrupted { Exit::Interrupted } else { self.worst })
    }
}

/// A seed that nobody chose. Below 2^48, so that every reader of JSON keeps all its digits.
fn random_seed() -> u64 {
    RandomState::new().hash_one(std::process::id()) >> 16
}
