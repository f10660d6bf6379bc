//! `detcd selftest`: long checks of our own parts, story after story until the budget is spent or one goes wrong.

use std::time::Instant;

use detcd_replica::Bugs;
use serde::Serialize;

use crate::cli::SelftestArgs;
use crate::engine::selftest::{self, Told};
use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::output::{console, human};

/// Operations of one story, about.
const STORY: u64 = 20_000;

/// `detcd.selftest/1`.
#[derive(Serialize)]
struct Line {
    schema: &'static str,
    part: &'static str,
    first_story: u64,
    stories: u64,
    operations: u64,
    commits: u64,
    crashes: u64,
    /// Ends of the process alone, which leave all that was written to whoever opens the file next.
    kills: u64,
    /// The story that went wrong, and how.
    failed: Option<(u64, String)>,
}

pub(super) fn execute(args: &SelftestArgs) -> Result<Exit, Failure> {
    interrupt::watch();
    let (mut told, mut story, mut failed) = (Told::default(), args.from, None);
    let mut said = Instant::now();
    while told.operations < args.budget.get() && failed.is_none() && !interrupt::asked() {
        match selftest::tell(story, STORY, Bugs::NONE) {
            Ok(more) => told.add(more),
            Err(why) => failed = Some((story, why)),
        }
        story += 1;
        if !args.output.quiet && said.elapsed().as_secs() >= 10 {
            eprintln!("{} of {} operations", human::scaled(told.operations as f64), args.budget);
            said = Instant::now();
        }
    }
    let exit = match (&failed, interrupt::asked()) {
        (Some(_), _) => Exit::Violation,
        (None, true) => Exit::Interrupted,
        (None, false) => Exit::Pass,
    };
    let Told { stories, operations, commits, crashes, kills } = told;
    if args.output.json {
        let (schema, part, first_story) = ("detcd.selftest/1", "pager", args.from);
        console::json(&Line { schema, part, first_story, stories, operations, commits, crashes, kills, failed })?;
        return Ok(exit);
    }
    let did =
        format!("{operations} operations in {stories} stories, {commits} commits, {crashes} crashes, {kills} kills");
    console::line(&format!("pager  {did}"))?;
    if let Some((story, why)) = failed {
        console::line(&format!("pager  story {story} went wrong: {why}"))?;
        console::line(&format!("again: detcd selftest --from {story} --budget 1"))?;
    }
    Ok(exit)
}
