//! `detcd model`: every small world, explored with the replica's own code.

use std::time::Instant;

use serde::Serialize;

use crate::cli::ModelArgs;
use crate::engine::{self, ModelOptions, Property};
use crate::exit::{Exit, Failure};
use crate::output::console;

#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    verdict: &'static str,
    states: u64,
    unique_states: u64,
    max_depth: u64,
    complete: bool,
    properties: &'a [Property],
    wall_ms: u64,
}

pub(super) fn execute(args: &ModelArgs) -> Result<Exit, Failure> {
    let started = Instant::now();
    let options = ModelOptions { max_states: args.max_states, bugs: args.bugs.iter().copied().collect() };
    let report = engine::model(&options)?;
    let (exit, verdict) = judge(&report.properties, report.complete);
    if args.output.json {
        console::json(&Line {
            schema: "detcd.model/1",
            verdict,
            states: report.states,
            unique_states: report.unique_states,
            max_depth: report.max_depth,
            complete: report.complete,
            properties: &report.properties,
            wall_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        })?;
        return Ok(exit);
    }
    for property in &report.properties {
        let holds = if property.holds { "holds" } else { "FAILS" };
        console::line(&format!("{holds}  {:9}  {}", property.kind, property.name))?;
        // An example of what may happen is only noise; a counterexample of what must not is the point.
        if property.kind == "always" && !property.holds {
            for (step, action) in property.actions.iter().enumerate() {
                console::line(&format!("       {:3}  {action}", step + 1))?;
            }
        }
    }
    let reached = if report.complete { "every state was reached" } else { "the budget ended it" };
    console::line(&format!(
        "{verdict}: {} states, {} of them different, depth {}; {reached}; {:.1} s",
        report.states,
        report.unique_states,
        report.max_depth,
        started.elapsed().as_secs_f64()
    ))?;
    Ok(exit)
}

/// An `always` that fails is a violation; a `sometimes` that was not seen means something only when all was explored.
fn judge(properties: &[Property], complete: bool) -> (Exit, &'static str) {
    let fails = |kind: &str| properties.iter().any(|property| property.kind == kind && !property.holds);
    if fails("always") || (complete && fails("sometimes")) {
        (Exit::Violation, "violation")
    } else if complete {
        (Exit::Pass, "pass")
    } else {
        (Exit::Undecided, "undecided")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_exploration_decides_only_what_it_saw() {
        let property = |kind, holds| Property { name: "p".to_owned(), kind, holds, actions: Vec::new() };
        let judged = |properties: &[Property], complete| judge(properties, complete).0;
        assert_eq!(judged(&[property("always", true), property("sometimes", true)], true), Exit::Pass);
        assert_eq!(judged(&[property("always", true), property("sometimes", false)], true), Exit::Violation);
        assert_eq!(judged(&[property("always", true), property("sometimes", false)], false), Exit::Undecided);
        assert_eq!(judged(&[property("always", false)], false), Exit::Violation);
    }
}
