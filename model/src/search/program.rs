//! A history made ready for the search: events in order, operations as classes, a slot for each that is under way.
//!
//! Identical operations share a class, so that a step is looked up by two numbers. An operation that returns has a
//! slot (a bit of a configuration) from its call to its return, and slots are used again: their number is the width
//! of the history, not its length. A read of unknown outcome says nothing and is left out.

use super::tables::{Interner, Lookup};
use super::{Operation, Specification};

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// An operation that will return is called.
    Call,
    /// An operation of unknown outcome is called: from here on it may take effect.
    Lost,
    /// An operation returns: it must have taken effect.
    Return,
}

/// One event, and the operation it is of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) kind: Kind,
    pub(super) op: u32,
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    pub(super) class: u32,
    pub(super) component: u32,
    pub(super) slot: u32,
    pub(super) pure: bool,
    /// Its place in the input.
    pub(super) origin: usize,
}

/// A history made ready.
pub(super) struct Program<O> {
    pub(super) ops: Vec<Op>,
    pub(super) events: Vec<Event>,
    pub(super) classes: Vec<O>,
    /// For each class, the classes among the unknown operations that it can replace.
    pub(super) weaker: Vec<Vec<u32>>,
    pub(super) components: usize,
    pub(super) slots: u32,
}

impl<O: Clone + Eq + std::hash::Hash> Program<O> {
    pub(super) fn compile<S: Specification<Op = O>>(spec: &S, operations: &[Operation<O>], members: &[usize]) -> Self {
        let mut classes = Interner::new();
        let mut components = Interner::new();
        let mut ops = Vec::with_capacity(members.len());
        let mut moments = Vec::with_capacity(2 * members.len());
        let mut lost = Vec::new();
        for &origin in members {
            let operation = &operations[origin];
            let pure = spec.is_pure(&operation.op);
            if pure && operation.end.is_none() {
                continue;
            }
            let class = classes.number(operation.op.clone());
            let component = components.number(spec.component(&operation.op));
            let op = u32::try_from(ops.len()).expect("a history has fewer than 2^32 operations");
            ops.push(Op { class, component, slot: 0, pure, origin });
            // At the same moment calls come first: then the operations overlap, which allows more.
            match operation.end {
                Some(end) => {
                    assert!(operation.call <= end, "operation {origin} returns at {end}, called at {}", operation.call);
                    moments.push((operation.call, Kind::Call, op));
                    moments.push((end, Kind::Return, op));
                }
                None => {
                    moments.push((operation.call, Kind::Lost, op));
                    lost.push(class);
                }
            }
        }
        moments.sort_unstable();
        let events: Vec<_> = moments.into_iter().map(|(_, kind, op)| Event { kind, op }).collect();
        let slots = assign_slots(&mut ops, &events);
        let classes = classes.values().to_vec();
        let weaker = weaker_classes(spec, &classes, lost);
        Self { ops, events, classes, weaker, components: components.values().len(), slots }
    }
}

fn assign_slots(ops: &mut [Op], events: &[Event]) -> u32 {
    let mut free = Vec::new();
    let mut slots = 0;
    for event in events {
        let op = &mut ops[event.op as usize];
        match event.kind {
            Kind::Call => {
                op.slot = free.pop().unwrap_or_else(|| {
                    slots += 1;
                    slots - 1
                })
            }
            Kind::Return => free.push(op.slot),
            Kind::Lost => {}
        }
    }
    slots
}

/// Above this many different unknown operations the pairs are too many to compare, and none is known to be weaker.
const COMPARED_MAX: usize = 256;

fn weaker_classes<S: Specification>(spec: &S, classes: &[S::Op], mut lost: Vec<u32>) -> Vec<Vec<u32>> {
    let mut weaker = vec![Vec::new(); classes.len()];
    lost.sort_unstable();
    lost.dedup();
    if lost.len() > COMPARED_MAX {
        return weaker;
    }
    let mut replaces = Lookup::default();
    for &strong in &lost {
        for &weak in &lost {
            let can = strong != weak && spec.can_replace(&classes[strong as usize], &classes[weak as usize]);
            // Of two that replace each other one must stay usable: the one met first.
            if can && !replaces.contains_key(&(weak, strong)) {
                replaces.insert((strong, weak), ());
                weaker[strong as usize].push(weak);
            }
        }
    }
    weaker
}
