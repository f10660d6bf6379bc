//! Tier 1 of the linearizability check: etcd numbers its writes, so the order it claims can be built and checked.
//!
//! The order is by revision: each write that changed something at its own, each read after the write of its header's
//! revision. It must agree with the specification, answer by answer ([`order`]), and with real time ([`real_time`]).
//! Writes without an answer are placed where the evidence puts them, else where the search finds a place ([`order`]),
//! else they never happened. Compactions are no revisions: they are judged as intervals ([`compaction`]).
//!
//! The cost is near-linear in the history. The search is bounded in steps; past the bound the verdict is undecided, and
//! names the window that a search of another kind may settle.

mod candidates;
mod claims;
mod compaction;
mod doubts;
mod evidence;
mod order;
mod real_time;
pub(crate) mod words;

#[cfg(test)]
pub(crate) mod generate;
#[cfg(test)]
mod mutations;
#[cfg(test)]
mod tests;

use detcd_replica::api::Revision;
use detcd_replica::history::{Finding, History, Moment, Operation, Outcome, Side, Watch};

use crate::leases;
use crate::spec::{State, Store};

pub(crate) use claims::{may_write, role, Role};
pub(crate) use compaction::Compactions;
pub(crate) use doubts::Doubts;

/// Nobody, where the place of an operation is expected.
pub(crate) const NOBODY: u32 = u32::MAX;

/// What tier 1 says of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinearizabilityVerdict {
    /// There is an order that etcd's specification, real time and every answer agree on.
    Linearizable,
    /// There is none, and this is why.
    Violation(Finding),
    /// The search for a place for writes without an answer ran out of steps.
    Undecided {
        /// Which revision could not be settled.
        reason: String,
        /// What a search of another kind would have to settle.
        window: Window,
    },
}

/// A part of a history between two revisions, and the state it starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// The revision of the state before it.
    pub first: Revision,
    /// The last revision that concerns it.
    pub last: Revision,
    /// Places in [`History::operations`], ascending: whatever has its place in the window or might have.
    pub operations: Vec<usize>,
    /// The state that it starts from.
    pub state: State,
}

/// What the writes did, as far as it is known: what watches and serializable reads are held against.
pub(crate) struct Truth {
    /// The log of every revision up to its own.
    pub(crate) store: Store,
    /// Which operation made each revision; [`NOBODY`] where that is not known.
    pub(crate) writers: Vec<u32>,
    /// Where it may be wrong.
    pub(crate) doubts: Doubts,
}

/// Judges the operations of a history, serializable reads left aside. `steps` bounds the search, in operations
/// tried again before it gets any further.
pub fn linearizability(history: &History, steps: u64) -> LinearizabilityVerdict {
    examine(history, steps).0
}

/// The verdict, and what was learnt on the way.
pub(crate) fn examine(history: &History, steps: u64) -> (LinearizabilityVerdict, Truth) {
    // A lease that ends by itself is revoked by nobody among the clients.
    let expiries = leases::expiries(history);
    let operations: Vec<&Operation> = history.operations.iter().chain(&expiries).collect();
    settle(&operations, &history.watches, steps)
}

fn settle(operations: &[&Operation], watches: &[Watch], steps: u64) -> (LinearizabilityVerdict, Truth) {
    let (claims, mut findings) = claims::gather(operations);
    let evidence = evidence::gather(operations, watches, &claims, &mut findings);
    let ordered = order::settle(operations, &claims, &evidence, steps);
    findings.extend(real_time::check(operations, &ordered.truth.writers));
    findings.extend(compaction::check(operations));
    let verdict = match (findings.into_iter().next(), ordered.result) {
        (Some(finding), _) => LinearizabilityVerdict::Violation(finding),
        (None, Ok(())) => LinearizabilityVerdict::Linearizable,
        (None, Err(order::Trouble::Violation(finding))) => {
            LinearizabilityVerdict::Violation(finding.expect("a violation is told"))
        }
        (None, Err(order::Trouble::Undecided { reason, window })) => {
            LinearizabilityVerdict::Undecided { reason, window }
        }
    };
    (verdict, ordered.truth)
}

/// When the operation ended for its client; never, when it did not.
pub(crate) fn end(operation: &Operation) -> Moment {
    match &operation.outcome {
        Outcome::Ok { at, .. } | Outcome::Failed { at, .. } => *at,
        Outcome::Unknown { .. } => Moment::MAX,
    }
}

/// A finding of this check: about `operation`, in conflict with others, which are listed in order of their calls.
fn violation<'h>(about: &Operation, summary: String, others: impl Iterator<Item = &'h Operation>) -> Finding {
    finding("linearizability", about, summary, others)
}

/// A finding about an operation.
pub(crate) fn finding<'h>(
    check: &'static str,
    about: &Operation,
    summary: String,
    others: impl Iterator<Item = &'h Operation>,
) -> Finding {
    let mut others: Vec<&Operation> = others.collect();
    others.sort_by_key(|operation| operation.call);
    let mut details = vec![words::operation(about)];
    details.extend(others.into_iter().map(words::operation));
    let at = match end(about) {
        Moment::MAX => about.call,
        end => end,
    };
    Finding { check, side: Side::BlackBox, at, summary, details }
}
