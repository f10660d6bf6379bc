//! The search itself: configurations through the events, just in time.
//!
//! What it rests on, each argued where it is used: an operation need not take effect before some return needs it; a
//! read takes effect as soon as the state allows it; at a return only operations of the same component matter; and
//! [`antichain`](super::antichain) says which configurations stand for others.

// A set for lookup only: nothing depends on its order.
use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use super::antichain::{Antichain, Config};
use super::program::{Kind, Op, Program};
use super::tables::{Interner, Lookup, Mixer, Taken, Worlds, NOTHING};
use super::{Specification, Verdict, Window};

/// Runs the search on `program` with the narrowest configurations that have a bit for every slot. `slice`
/// configurations go on together; the others wait until these have failed.
pub(super) fn run<S: Specification>(
    spec: &S,
    program: &Program<S::Op>,
    budget: u64,
    slice: usize,
) -> (Verdict<S::State>, u64) {
    match program.slots {
        0..=64 => Engine::<S, 1>::new(spec, program, budget).run(slice),
        65..=256 => Engine::<S, 4>::new(spec, program, budget).run(slice),
        257..=4096 => Engine::<S, 64>::new(spec, program, budget).run(slice),
        // More than this at once is beyond any search; to say so is honest.
        _ => (Verdict::Undecided, 0),
    }
}

/// How many configurations may wait.
const WAITING_MAX: usize = 1 << 22;
/// How many are remembered as seen. Forgetting them costs time, never the verdict.
const SEEN_MAX: usize = 1 << 21;
/// How many steps are cached, and how many nodes of worlds are held before the unreachable ones are dropped.
const TABLE_MAX: usize = 1 << 21;
/// In the cache of steps: not allowed.
const REFUSED: u32 = u32::MAX;

/// The operations under way in one component.
#[derive(Default)]
struct Open {
    reads: Vec<u32>,
    mutators: Vec<u32>,
    /// Classes of operations of unknown outcome that were called at least once.
    lost: Vec<u32>,
}

/// Configurations that wait, to go on at an event.
struct Waiting<const N: usize> {
    at: usize,
    configs: Vec<Config<N>>,
}

/// The budget is spent.
struct Spent;

struct Engine<'a, S: Specification, const N: usize> {
    spec: &'a S,
    program: &'a Program<S::Op>,
    states: Interner<S::State>,
    cache: Lookup<(u32, u32), u32>,
    worlds: Worlds,
    taken: Taken,
    open: Vec<Open>,
    /// The slots of the reads under way.
    reads: [u64; N],
    /// How often each class was called with an unknown outcome.
    available: Vec<u32>,
    work: Antichain<N>,
    result: Antichain<N>,
    /// The furthest return that nothing survived, and the states before it.
    deepest: Option<(usize, Vec<u32>)>,
    steps: u64,
    budget: u64,
    origin: Config<N>,
}

impl<'a, S: Specification, const N: usize> Engine<'a, S, N> {
    fn new(spec: &'a S, program: &'a Program<S::Op>, budget: u64) -> Self {
        let mut states = Interner::new();
        let initial = states.number(spec.initial());
        let (worlds, world) = Worlds::new(program.components, initial);
        Self {
            spec,
            program,
            states,
            cache: Lookup::default(),
            worlds,
            taken: Taken::new(),
            open: (0..program.components).map(|_| Open::default()).collect(),
            reads: [0; N],
            available: vec![0; program.classes.len()],
            work: Antichain::new(),
            result: Antichain::new(),
            deepest: None,
            steps: 0,
            budget,
            origin: Config { world, taken: NOTHING, done: [0; N] },
        }
    }

    fn run(mut self, slice: usize) -> (Verdict<S::State>, u64) {
        let verdict = self.search(slice).unwrap_or(Verdict::Undecided);
        (verdict, self.steps)
    }

    fn search(&mut self, slice: usize) -> Result<Verdict<S::State>, Spent> {
        let mut frontier = vec![self.origin];
        let mut waiting: Vec<Waiting<N>> = Vec::new();
        let mut waiting_count = 0;
        let mut seen = HashSet::<(usize, Config<N>), BuildHasherDefault<Mixer>>::default();
        let mut at = 0;
        while let Some(&event) = self.program.events.get(at) {
            let op = self.program.ops[event.op as usize];
            match event.kind {
                Kind::Call | Kind::Lost => {
                    self.enter(event.kind, event.op, op);
                    if op.pure {
                        self.read_early(&mut frontier, op)?;
                    }
                    at += 1;
                    continue;
                }
                Kind::Return => self.complete(&mut frontier, at, event.op, op)?,
            }
            self.leave(event.op, op);
            at += 1;
            if waiting.is_empty() {
                // Everything reachable is in the frontier: what was seen before cannot come again.
                seen.clear();
                if self.worlds.len() > TABLE_MAX {
                    self.worlds.compact(frontier.iter_mut().map(|config| &mut config.world));
                }
            } else {
                frontier.retain(|config| seen.insert((at, *config)));
            }
            if frontier.len() > slice {
                if waiting.is_empty() {
                    seen.extend(frontier.iter().map(|config| (at, *config)));
                }
                // Those that took the fewest unknown operations have the most left to explain the rest with.
                let taken = &self.taken;
                frontier.sort_by_cached_key(|config| taken.size(config.taken));
                let configs = frontier.split_off(slice);
                waiting_count += configs.len();
                waiting.push(Waiting { at, configs });
            }
            if seen.len() > SEEN_MAX {
                seen.clear();
            }
            if waiting_count > WAITING_MAX {
                return Err(Spent);
            }
            if frontier.is_empty() {
                let Some(last) = waiting.last_mut() else {
                    return Ok(Verdict::Violation(self.window()));
                };
                let from = last.configs.len().saturating_sub(slice);
                frontier = last.configs.split_off(from);
                waiting_count -= frontier.len();
                let target = last.at;
                if from == 0 {
                    waiting.pop();
                }
                self.rewind(at, target);
                at = target;
            }
        }
        Ok(Verdict::Linearizable)
    }

    /// Notes that an operation is called.
    fn enter(&mut self, kind: Kind, number: u32, op: Op) {
        let open = &mut self.open[op.component as usize];
        if kind == Kind::Lost {
            let available = &mut self.available[op.class as usize];
            *available += 1;
            if *available == 1 {
                open.lost.push(op.class);
            }
        } else if op.pure {
            open.reads.push(number);
            self.reads[op.slot as usize / 64] |= 1 << (op.slot % 64);
        } else {
            open.mutators.push(number);
        }
    }

    /// Notes that an operation has returned.
    fn leave(&mut self, number: u32, op: Op) {
        let open = &mut self.open[op.component as usize];
        if op.pure {
            open.reads.retain(|&other| other != number);
            self.reads[op.slot as usize / 64] &= !(1 << (op.slot % 64));
        } else {
            open.mutators.retain(|&other| other != number);
        }
    }

    /// Goes back in the events from before `at` to before `target`.
    fn rewind(&mut self, at: usize, target: usize) {
        let program = self.program;
        for event in program.events[target..at].iter().rev() {
            let op = program.ops[event.op as usize];
            match event.kind {
                Kind::Call => self.leave(event.op, op),
                Kind::Return => self.enter(Kind::Call, event.op, op),
                Kind::Lost => {
                    self.available[op.class as usize] -= 1;
                    if self.available[op.class as usize] == 0 {
                        self.open[op.component as usize].lost.retain(|&class| class != op.class);
                    }
                }
            }
        }
    }

    fn spend(&mut self, steps: u64) -> Result<(), Spent> {
        self.steps += steps;
        if self.steps > self.budget {
            return Err(Spent);
        }
        Ok(())
    }

    /// The state after an operation of `class`, or `REFUSED`.
    fn step(&mut self, state: u32, class: u32) -> u32 {
        self.steps += 1;
        if let Some(&next) = self.cache.get(&(state, class)) {
            return next;
        }
        let next = self.spec.step(self.states.value(state), &self.program.classes[class as usize]);
        let next = next.map_or(REFUSED, |next| self.states.number(next));
        if self.cache.len() >= TABLE_MAX {
            self.cache.clear();
        }
        self.cache.insert((state, class), next);
        next
    }

    /// A read is called: where the state allows it, it takes effect at once. That loses nothing: a completion in which
    /// it does so later is still one when it does so now.
    fn read_early(&mut self, frontier: &mut [Config<N>], op: Op) -> Result<(), Spent> {
        for config in frontier {
            let state = self.worlds.read(config.world, op.component);
            if self.step(state, op.class) != REFUSED {
                config.mark(op.slot);
            }
        }
        self.spend(0)
    }

    /// `config` with its component moved to `state`, and every read done that this state allows.
    fn moved(&mut self, mut config: Config<N>, component: u32, from: u32, to: u32) -> Config<N> {
        if from == to {
            return config;
        }
        config.world = self.worlds.write(config.world, component, to);
        for at in 0..self.open[component as usize].reads.len() {
            let read = self.program.ops[self.open[component as usize].reads[at] as usize];
            if !config.has(read.slot) && self.step(to, read.class) != REFUSED {
                config.mark(read.slot);
            }
        }
        config
    }

    /// An operation returns: every configuration must have it done. In those that do not, other operations under way
    /// take effect before it, in every order. Those of other components do not: they commute with all that happens
    /// here, so that a configuration that leaves them for later stands for one that does not.
    fn complete(&mut self, frontier: &mut Vec<Config<N>>, at: usize, number: u32, op: Op) -> Result<(), Spent> {
        self.work.reset();
        self.result.reset();
        self.spend(frontier.len() as u64)?;
        for config in frontier.iter() {
            let mut config = *config;
            if config.has(op.slot) {
                config.clear(op.slot);
                self.result.insert(config, &self.reads, &self.taken);
            } else {
                self.work.insert(config, &self.reads, &self.taken);
            }
        }
        let mut place = 0;
        while let Some((config, next)) = self.work.next(place) {
            place = next;
            self.spend(1)?;
            let state = self.worlds.read(config.world, op.component);
            if !op.pure {
                let after = self.step(state, op.class);
                if after != REFUSED {
                    let after = self.moved(config, op.component, state, after);
                    self.result.insert(after, &self.reads, &self.taken);
                }
            }
            self.extend(config, state, number, op);
        }
        if self.result.next(0).is_none() && self.deepest.as_ref().is_none_or(|deepest| deepest.0 < at) {
            let mut states: Vec<_> =
                frontier.iter().map(|config| self.worlds.read(config.world, op.component)).collect();
            states.sort_unstable();
            states.dedup();
            states.truncate(8);
            self.deepest = Some((at, states));
        }
        frontier.clear();
        frontier.extend(self.result.living());
        Ok(())
    }

    /// Puts every configuration that is one operation further than `config` where it belongs.
    fn extend(&mut self, config: Config<N>, state: u32, number: u32, op: Op) {
        let component = op.component as usize;
        for at in 0..self.open[component].mutators.len() {
            let other = self.open[component].mutators[at];
            let mutator = self.program.ops[other as usize];
            if other == number || config.has(mutator.slot) {
                continue;
            }
            let after = self.step(state, mutator.class);
            if after != REFUSED {
                let mut config = config;
                config.mark(mutator.slot);
                self.place(config, state, after, op);
            }
        }
        for at in 0..self.open[component].lost.len() {
            let class = self.open[component].lost[at];
            if !self.has_left(config.taken, class) {
                continue;
            }
            let after = self.step(state, class);
            // An unknown operation that changes nothing is better left for later.
            if after == REFUSED || after == state || self.is_wasteful(config.taken, state, class, after) {
                continue;
            }
            let taken = self.taken.with(config.taken, class);
            self.place(Config { taken, ..config }, state, after, op);
        }
    }

    fn has_left(&self, taken: u32, class: u32) -> bool {
        self.taken.count(taken, class) < self.available[class as usize]
    }

    /// Whether a weaker unknown operation would do the same here: whoever keeps the stronger one can do no less later.
    fn is_wasteful(&mut self, taken: u32, state: u32, class: u32, after: u32) -> bool {
        let program = self.program;
        program.weaker[class as usize].iter().any(|&weak| self.has_left(taken, weak) && self.step(state, weak) == after)
    }

    fn place(&mut self, config: Config<N>, from: u32, to: u32, op: Op) {
        let mut config = self.moved(config, op.component, from, to);
        if config.has(op.slot) {
            config.clear(op.slot);
            self.result.insert(config, &self.reads, &self.taken);
        } else {
            self.work.insert(config, &self.reads, &self.taken);
        }
    }

    fn window(&self) -> Window<S::State> {
        let (at, states) = self.deepest.as_ref().expect("a search fails only at a return that nothing survived");
        let op = self.program.ops[self.program.events[*at].op as usize];
        let states = states.iter().map(|&state| self.states.value(state).clone()).collect();
        Window { stuck: op.origin, around: vec![op.origin], states }
    }
}
