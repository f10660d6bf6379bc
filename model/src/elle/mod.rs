//! `append-cycles`: lists that transactions append to and read must come from transactions one after another, as their
//! clients saw them pass.
//!
//! The method and the names of what may go wrong are those of Kingsbury and Alvaro, "Elle: Inferring Isolation
//! Anomalies from Experimental Observations" (VLDB 2020). A list that was read tells the order in which its elements
//! came; so each read says which transactions it must follow, and which must follow it. With real time these are edges
//! of a graph, and a cycle in it cannot be put in order: the store is not strictly serializable. Nothing of etcd's own
//! order is believed, neither revisions nor the specification: only values, and when clients called and were answered.
//!
//! ```text
//! history → transactions (what each read and appended) → versions (the order in each list) → graph → a cycle, named
//! ```

mod graph;
mod lists;
mod transactions;
mod versions;

#[cfg(test)]
mod tests;

use detcd_replica::history::{Finding, History, Operation, Side};

use crate::linearizability::{end, words};

/// The name of the check.
pub(crate) const CHECK: &str = "append-cycles";

/// What must not be, by Elle's name.
struct Anomaly<'h> {
    name: &'static str,
    /// The transactions it is about: T1, T2 … of the story.
    operations: Vec<&'h Operation>,
    /// What they saw.
    story: String,
}

/// Judges every list in a history; `None` also where there are no lists.
pub(crate) fn check(history: &History) -> Option<Finding> {
    let lists = lists::Lists::of(history)?;
    let mut gathered = transactions::gather(history, &lists);
    let anomaly = versions::settle(&mut gathered, &lists)
        .and_then(|versions| graph::search(&gathered, &versions, &lists).map_or(Ok(()), Err))
        .err()?;
    let Anomaly { name, operations, story } = anomaly;
    let at = operations.iter().map(|operation| end(operation)).filter(|end| *end != u64::MAX).max();
    let at = at.or_else(|| operations.iter().map(|operation| operation.call).max()).unwrap_or(0);
    let details = operations.iter().zip(1..).map(|(it, number)| format!("T{number}: {}", words::operation(it)));
    let summary = format!("lists that no order of transactions explains ({name}): {story}");
    Some(Finding { check: CHECK, side: Side::BlackBox, at, summary, details: details.collect() })
}
