//! The search against a second implementation that tries every order, on thousands of tiny histories.

use std::collections::BTreeMap;

use super::kv::{Action, Kv};
use super::mutex::{Mutex, MutexOp};
use super::register::{Register, RegisterOp};
use super::tables::{Taken, Worlds, NOTHING};
use super::*;

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Calls and ends of `count` operations by `clients`, some of unknown outcome; numbers of events are distinct.
fn times(chance: &mut Chance, count: usize, clients: u64, unknown_percent: u64) -> Vec<(u64, Option<u64>)> {
    let mut times: Vec<(u64, Option<u64>)> = Vec::new();
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    let mut event = 0;
    while times.len() < count || !open.is_empty() {
        let client = chance.below(clients);
        event += 1;
        if let Some(at) = open.remove(&client) {
            times[at].1 = (chance.below(100) >= unknown_percent).then_some(event);
        } else if times.len() < count {
            open.insert(client, times.len());
            times.push((event, None));
        }
    }
    times
}

/// Every order, one after another: a state is changed by `step`, or refuses.
fn brute<State: Clone>(
    state: &State,
    times: &[(u64, Option<u64>)],
    left: &mut Vec<usize>,
    step: &dyn Fn(&State, usize) -> Option<State>,
) -> bool {
    if left.iter().all(|&at| times[at].1.is_none()) {
        return true;
    }
    for place in 0..left.len() {
        let at = left[place];
        let waits = left.iter().any(|&other| times[other].1.is_some_and(|end| end < times[at].0));
        let next = if waits { None } else { step(state, at) };
        let Some(next) = next else { continue };
        left.remove(place);
        let found = brute(&next, times, left, step);
        left.insert(place, at);
        if found {
            return true;
        }
    }
    false
}

/// All ways to run the search give this verdict, and each gives it twice with the same number of steps.
fn agree<S: Specification>(spec: &S, ops: &[S::Op], times: &[(u64, Option<u64>)], expect: bool, seed: u64) {
    let operations: Vec<_> =
        ops.iter().zip(times).map(|(op, &(call, end))| Operation { op: op.clone(), call, end }).collect();
    for partition in [Partition::ByComponent, Partition::Whole] {
        for slice in [1, 2, 512] {
            let finding = check_in_passes(spec, &operations, partition, 1 << 30, &[(slice, u64::MAX)]);
            let found = match &finding.verdict {
                Verdict::Linearizable => true,
                Verdict::Violation(window) => {
                    assert!(window.around.contains(&window.stuck));
                    false
                }
                Verdict::Undecided => panic!("seed {seed}: undecided"),
            };
            assert_eq!(found, expect, "seed {seed}, {partition:?}, slices of {slice}: {operations:?}");
            let again = check_in_passes(spec, &operations, partition, 1 << 30, &[(slice, u64::MAX)]);
            assert_eq!(again, finding, "seed {seed}: a second run differs");
        }
    }
}

#[test]
fn every_verdict_on_a_register_is_that_of_trying_every_order() {
    let mut verdicts = [0; 2];
    for seed in 0..4000 {
        let mut chance = Chance(seed);
        let (count, clients, unknown) = (2 + chance.below(6), 1 + chance.below(4), 10 * chance.below(6));
        let times = times(&mut chance, count as usize, clients, unknown);
        let values = 2 + chance.below(2);
        let mut value = || chance.below(values) as u32;
        let ops: Vec<_> = times
            .iter()
            .map(|_| match (value(), value(), value() + 2 * value()) {
                (from, _, 0) => RegisterOp::CasFailed(from),
                (from, to, 1) => RegisterOp::Cas(from, to),
                (to, _, 2) => RegisterOp::Write(to),
                (value, ..) => RegisterOp::Read(value),
            })
            .collect();
        let step = |state: &u32, at: usize| match ops[at] {
            RegisterOp::Read(value) => (value == *state).then_some(value),
            RegisterOp::Write(value) => Some(value),
            RegisterOp::Cas(from, to) => (from == *state).then_some(to),
            RegisterOp::CasFailed(from) => (from != *state).then_some(*state),
        };
        let expect = brute(&0, &times, &mut (0..ops.len()).collect(), &step);
        verdicts[usize::from(expect)] += 1;
        agree(&Register, &ops, &times, expect, seed);
    }
    assert!(verdicts.iter().all(|&count| count > 400), "one verdict hardly occurs: {verdicts:?}");
}

#[test]
fn every_verdict_is_that_of_trying_every_order_when_most_outcomes_are_unknown() {
    let mut verdicts = [0; 2];
    for seed in 0..4000 {
        let mut chance = Chance(seed);
        let lost = 2 + chance.below(3);
        let mut ops = Vec::new();
        let mut when = Vec::new();
        for at in 0..lost {
            let (from, to) = (chance.below(3) as u32, chance.below(3) as u32);
            ops.push(if chance.below(3) > 0 { RegisterOp::Cas(from, to) } else { RegisterOp::Write(to) });
            when.push((at, None));
        }
        for at in 0..2 + chance.below(3) {
            ops.push(RegisterOp::Read(chance.below(3) as u32));
            when.push((10 + 2 * at, Some(11 + 2 * at + 2 * chance.below(2))));
        }
        let step = |state: &u32, at: usize| match ops[at] {
            RegisterOp::Read(value) => (value == *state).then_some(value),
            RegisterOp::Write(value) => Some(value),
            RegisterOp::Cas(from, to) => (from == *state).then_some(to),
            RegisterOp::CasFailed(from) => (from != *state).then_some(*state),
        };
        let expect = brute(&0, &when, &mut (0..ops.len()).collect(), &step);
        verdicts[usize::from(expect)] += 1;
        agree(&Register, &ops, &when, expect, seed);
    }
    assert!(verdicts.iter().all(|&count| count > 400), "one verdict hardly occurs: {verdicts:?}");
}

#[test]
fn every_verdict_on_a_lock_is_that_of_trying_every_order() {
    let mut verdicts = [0; 2];
    for seed in 0..2000 {
        let mut chance = Chance(seed);
        let (count, clients, unknown) = (1 + chance.below(7), 1 + chance.below(4), 10 * chance.below(6));
        let times = times(&mut chance, count as usize, clients, unknown);
        let kinds = [MutexOp::Acquire, MutexOp::Release];
        let ops: Vec<_> = (0..count).map(|at| kinds[((at + u64::from(chance.below(4) == 0)) % 2) as usize]).collect();
        let step = |held: &bool, at: usize| (*held == (ops[at] == MutexOp::Release)).then_some(!held);
        let expect = brute(&false, &times, &mut (0..ops.len()).collect(), &step);
        verdicts[usize::from(expect)] += 1;
        agree(&Mutex, &ops, &times, expect, seed);
    }
    assert!(verdicts.iter().all(|&count| count > 200), "one verdict hardly occurs: {verdicts:?}");
}

#[test]
fn every_verdict_on_a_map_is_that_of_trying_every_order_with_real_strings() {
    let mut verdicts = [0; 2];
    for seed in 0..4000 {
        let mut chance = Chance(seed);
        let (count, clients, unknown) = (2 + chance.below(6), 1 + chance.below(4), 10 * chance.below(4));
        let times = times(&mut chance, count as usize, clients, unknown);
        let results = ["", "a", "b", "ab", "ba", "aab", "abab"];
        let calls: Vec<_> = times
            .iter()
            .map(|_| {
                let key = ["k", "l", "m"][chance.below(2 + seed % 2) as usize];
                let action = match chance.below(5) {
                    0 => Action::Put(["", "a", "ab"][chance.below(3) as usize]),
                    1 | 2 => Action::Append(["", "a", "b", "ab"][chance.below(4) as usize]),
                    _ => Action::Get(results[chance.below(results.len() as u64) as usize]),
                };
                (key, action)
            })
            .collect();
        let step = |state: &BTreeMap<String, String>, at: usize| {
            let (key, action) = calls[at];
            let mut state = state.clone();
            let value = state.entry(key.to_owned()).or_default();
            match action {
                Action::Get(result) if result != value => return None,
                Action::Get(_) | Action::GetUnknown => {}
                Action::Put(new) => *value = new.to_owned(),
                Action::Append(suffix) => value.push_str(suffix),
            }
            Some(state)
        };
        let expect = brute(&BTreeMap::new(), &times, &mut (0..calls.len()).collect(), &step);
        verdicts[usize::from(expect)] += 1;
        let (kv, ops) = Kv::new(&calls);
        agree(&kv, &ops, &times, expect, seed);
    }
    assert!(verdicts.iter().all(|&count| count > 400), "one verdict hardly occurs: {verdicts:?}");
}

/// A history of a real register under `clients`: operations take effect somewhere between call and end.
fn register_history(seed: u64, count: usize, clients: u64, never_written: bool) -> Vec<Operation<RegisterOp>> {
    let mut chance = Chance(seed);
    let mut operations: Vec<Operation<RegisterOp>> = Vec::new();
    // For each client: its operation under way, and whether it has taken effect.
    let mut open: BTreeMap<u64, (usize, bool)> = BTreeMap::new();
    let (mut state, mut event) = (0, 0);
    while operations.len() < count || !open.is_empty() {
        let client = chance.below(clients);
        event += 1;
        match open.get(&client).copied() {
            None if operations.len() < count => {
                open.insert(client, (operations.len(), false));
                operations.push(Operation { op: RegisterOp::Read(0), call: event, end: None });
            }
            None => {}
            Some((at, false)) => {
                let (from, to) = (1 + chance.below(5) as u32, 1 + chance.below(5) as u32);
                operations[at].op = match chance.below(3) {
                    0 => RegisterOp::Read(state),
                    1 => RegisterOp::Write(to),
                    _ if state == from => RegisterOp::Cas(from, to),
                    _ => RegisterOp::CasFailed(from),
                };
                state = Register.step(&state, &operations[at].op).expect("it was chosen to be allowed");
                open.insert(client, (at, true));
            }
            Some((at, true)) => {
                operations[at].end = Some(event);
                open.remove(&client);
            }
        }
    }
    if never_written {
        let read = operations.iter_mut().skip(count * 3 / 4).find(|o| matches!(o.op, RegisterOp::Read(_)));
        read.expect("a third of all are reads").op = RegisterOp::Read(99);
    }
    operations
}

#[test]
fn long_histories_are_decided_in_few_steps() {
    for clients in [3, 10, 16] {
        let good = check(&Register, &register_history(1, 20_000, clients, false), Partition::Whole, 50_000_000);
        assert_eq!(good.verdict, Verdict::Linearizable, "{clients} clients, {} steps", good.steps);
        let bad = check(&Register, &register_history(1, 20_000, clients, true), Partition::Whole, 50_000_000);
        assert!(matches!(bad.verdict, Verdict::Violation(_)), "{clients} clients, {} steps", bad.steps);
    }
}

#[test]
fn a_spent_budget_is_no_verdict_and_repeats() {
    let operations = register_history(2, 1000, 10, false);
    let whole = check(&Register, &operations, Partition::Whole, u64::MAX);
    let short = check(&Register, &operations, Partition::Whole, whole.steps / 2);
    assert_eq!(short.verdict, Verdict::Undecided);
    assert_eq!(short, check(&Register, &operations, Partition::Whole, whole.steps / 2));
}

#[test]
fn the_window_holds_the_stuck_operation_and_the_states_before_it() {
    let op = |op, call, end| Operation { op, call, end };
    let operations = [
        op(RegisterOp::Write(1), 0, Some(1)),
        op(RegisterOp::Write(2), 2, Some(5)),
        op(RegisterOp::Read(3), 3, Some(4)),
        op(RegisterOp::Read(2), 6, Some(7)),
    ];
    let Verdict::Violation(window) = check(&Register, &operations, Partition::Whole, 1000).verdict else {
        panic!("3 was never written")
    };
    assert_eq!(window, Window { stuck: 2, around: vec![0, 1, 2], states: vec![1] });
}

#[test]
fn many_operations_at_once_and_none_at_all() {
    assert_eq!(check(&Register, &[], Partition::Whole, 0).verdict, Verdict::Linearizable);
    for width in [64, 65, 256, 257, 4096] {
        // All overlap, and all read what the last wrote.
        let reads = (0..width - 1).map(|at| Operation { op: RegisterOp::Read(1), call: at, end: Some(10_000) });
        let write = Operation { op: RegisterOp::Write(1), call: width, end: Some(10_000) };
        let operations: Vec<_> = reads.chain([write]).collect();
        let finding = check(&Register, &operations, Partition::Whole, 1 << 30);
        assert_eq!(finding.verdict, Verdict::Linearizable, "{width}");
    }
}

#[test]
fn worlds_remember_each_component_through_changes_and_compaction() {
    for components in 1..10_u32 {
        let (mut worlds, mut world) = Worlds::new(components as usize, 7);
        let mut expect = vec![7; components as usize];
        let mut chance = Chance(u64::from(components));
        for round in 0..200 {
            let (component, state) = (chance.below(u64::from(components)) as u32, chance.below(9) as u32);
            world = worlds.write(world, component, state);
            expect[component as usize] = state;
            if round % 50 == 49 {
                worlds.compact([&mut world].into_iter());
                assert!(worlds.len() <= components.next_power_of_two() as usize);
            }
            let read: Vec<_> = (0..components).map(|component| worlds.read(world, component)).collect();
            assert_eq!(read, expect);
        }
    }
}

#[test]
fn what_is_taken_is_counted() {
    let mut taken = Taken::new();
    let one = taken.with(NOTHING, 5);
    let two = taken.with(one, 5);
    let both = taken.with(one, 3);
    assert_eq!((taken.count(two, 5), taken.count(two, 3), taken.size(both)), (2, 0, 2));
    let with_three = taken.with(NOTHING, 3);
    assert_eq!(taken.with(with_three, 5), both, "the order of taking does not matter");
    for (less, more, expect) in [(NOTHING, one, true), (one, two, true), (two, one, false), (two, both, false)] {
        assert_eq!(taken.within(less, more), expect);
    }
    assert!(taken.within(one, both) && !taken.within(both, two));
}
