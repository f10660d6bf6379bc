//! Linearizability by search: is there an order of these operations that a sequential machine allows?
//!
//! The search follows real time and linearizes just in time: it keeps the set of configurations (a state, and which of
//! the operations under way have already taken effect) that explain everything returned so far; only when an
//! operation returns must it have taken effect, and only then are others tried before it. Memory is thus the
//! configurations at one event, not the length of the history. When the set grows too wide, a part of it goes first and
//! the rest waits: then this is a depth-first search by slices, with a memory of what it has seen.
//!
//! It promises the same verdict and the same number of steps for the same input, on every machine: its budget counts
//! steps, never time. An operation of unknown outcome stays open for ever: it may take effect at any later time, or
//! never.
//!
//! It does not know etcd, or any format of histories: a [`Specification`] says what is allowed.
//!
//! After J. M. Wing and C. Gong (1993) and G. Lowe, "Testing for linearizability" (2017).

mod antichain;
mod engine;
pub mod kv;
pub mod mutex;
mod program;
pub mod register;
mod tables;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::hash::Hash;

use program::Program;

/// A sequential machine, or many independent ones: what may happen when one operation follows another.
///
/// An operation belongs to one component (a key, say), and [`State`](Self::State) is the state of one component.
pub trait Specification {
    /// The state of one component.
    type State: Clone + Eq + Hash + Debug;
    /// One operation with its result, as far as it is known.
    type Op: Clone + Eq + Hash + Debug;

    /// The state before any operation.
    fn initial(&self) -> Self::State;

    /// The state after `op`, or `None` when `op` with this result is not allowed in `state`.
    fn step(&self, state: &Self::State, op: &Self::Op) -> Option<Self::State>;

    /// Whether `op` leaves every state that allows it as it was: a read. Such an operation is never a choice.
    fn is_pure(&self, op: &Self::Op) -> bool;

    /// The component that `op` reads and writes; operations of different components must be independent.
    fn component(&self, op: &Self::Op) -> u32 {
        let _ = op;
        0
    }

    /// Whether `strong` is allowed wherever `weak` is, with the same state after it. It spares the search
    /// the choice between two operations of unknown outcome that would do the same.
    fn can_replace(&self, strong: &Self::Op, weak: &Self::Op) -> bool {
        let _ = (strong, weak);
        false
    }
}

/// One operation of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<Op> {
    /// What was done, with its result.
    pub op: Op,
    /// The number of the event of its call.
    pub call: u64,
    /// The number of the event of its return, not before `call`; `None` when its outcome is unknown.
    pub end: Option<u64>,
}

/// Whether components are searched one by one or all together. The verdict is the same; the cost is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// One search for each component: linearizability is local.
    ByComponent,
    /// One search over the states of all components at once.
    Whole,
}

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<State> {
    /// Some order explains the history.
    Linearizable,
    /// No order does.
    Violation(Window<State>),
    /// The budget of steps was spent, or more waited than memory allows.
    Undecided,
}

/// The smallest part of the history that the search found to be inexplicable: at the end of the longest prefix that
/// has an order, one operation that fits nowhere, and what surrounded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window<State> {
    /// The operation that fits nowhere, by its place in the input.
    pub stuck: usize,
    /// Operations of its component around it, it included, in the order of their calls.
    pub around: Vec<usize>,
    /// States that its component could be in before it returned: at most eight of them.
    pub states: Vec<State>,
}

/// A verdict and its price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<State> {
    /// What was found.
    pub verdict: Verdict<State>,
    /// Steps taken: configurations visited and operations tried.
    pub steps: u64,
}

/// Searches for an order of `operations` that `spec` allows, in at most about `budget` steps.
///
/// # Panics
/// When an operation returns before its call.
pub fn check<S: Specification>(
    spec: &S,
    operations: &[Operation<S::Op>],
    partition: Partition,
    budget: u64,
) -> Finding<S::State> {
    // Most histories are decided at once by the wide search. Where unknown outcomes make it explode, a narrow one often
    // runs straight to an order; only when both have tried in vain does the wide one get all that is left.
    let trial = 500_000 + 100 * operations.len() as u64;
    check_in_passes(spec, operations, partition, budget, &[(WIDE, trial), (1, trial), (32, trial), (WIDE, u64::MAX)])
}

/// How many configurations go on together in the wide search.
const WIDE: usize = 8192;

/// [`check`], in `passes`: how many configurations go on together, and for how many steps.
fn check_in_passes<S: Specification>(
    spec: &S,
    operations: &[Operation<S::Op>],
    partition: Partition,
    budget: u64,
    passes: &[(usize, u64)],
) -> Finding<S::State> {
    let mut steps = 0;
    let mut undecided = false;
    for members in groups(spec, operations, partition) {
        let program = Program::compile(spec, operations, &members);
        let mut verdict = Verdict::Undecided;
        for &(slice, limit) in passes {
            let (found, spent) = engine::run(spec, &program, limit.min(budget.saturating_sub(steps)), slice);
            steps += spent;
            verdict = found;
            if verdict != Verdict::Undecided || steps > budget {
                break;
            }
        }
        match verdict {
            Verdict::Linearizable => {}
            Verdict::Undecided => undecided = true,
            // One component without an order is enough.
            Verdict::Violation(window) => {
                let verdict = Verdict::Violation(widen(spec, operations, &window));
                return Finding { verdict, steps };
            }
        }
    }
    let verdict = if undecided { Verdict::Undecided } else { Verdict::Linearizable };
    Finding { verdict, steps }
}

/// The places in the input of the operations of each search, small searches first: a cheap violation is found cheaply.
fn groups<S: Specification>(spec: &S, operations: &[Operation<S::Op>], partition: Partition) -> Vec<Vec<usize>> {
    if partition == Partition::Whole {
        return vec![(0..operations.len()).collect()];
    }
    let mut groups = std::collections::BTreeMap::<u32, Vec<usize>>::new();
    for (at, operation) in operations.iter().enumerate() {
        groups.entry(spec.component(&operation.op)).or_default().push(at);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(Vec::len);
    groups
}

/// How many operations that ended before the stuck one was called are shown, and how many of unknown outcome.
const SHOWN: usize = 4;

/// Fills `around`: what overlapped the stuck operation, the last that ended before it, the last unknown ones.
fn widen<S: Specification>(spec: &S, operations: &[Operation<S::Op>], window: &Window<S::State>) -> Window<S::State> {
    let stuck = &operations[window.stuck];
    let end = stuck.end.expect("only an operation that returns can be stuck");
    let component = spec.component(&stuck.op);
    let (mut around, mut before, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for (at, other) in operations.iter().enumerate() {
        if other.call > end || spec.component(&other.op) != component {
            continue;
        }
        match other.end {
            None if spec.is_pure(&other.op) => {}
            None => unknown.push((other.call, at)),
            Some(its_end) if its_end < stuck.call => before.push((its_end, at)),
            Some(_) => around.push(at),
        }
    }
    for mut some in [before, unknown] {
        some.sort_unstable();
        around.extend(some.iter().rev().take(SHOWN).map(|&(_, at)| at));
    }
    around.sort_by_key(|&at| (operations[at].call, at));
    Window { stuck: window.stuck, around, states: window.states.clone() }
}
