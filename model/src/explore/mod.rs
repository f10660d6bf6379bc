//! Every run of a small world: few members, elections, puts and power failures, over the **same** [`Replica`] code that
//! the simulator runs. stateright picks the next thing to happen; a state holds forks of the replicas.
//!
//! What can happen: the oldest message of a link arrives (or, within a budget, is lost), an election timeout passes, a
//! leader's heartbeat timer fires, a client puts, a sync ends, a member loses power and starts again. What is inside a
//! member (the Raft loop, the apply loop) follows at once. Links keep their order; a member that is down is one to
//! which nothing happens. PreVote and CheckQuorum are off: they are about time, and time here is only an action.
//! Nothing is compacted, no snapshot is made and the backend never commits, so a restart replays the whole log.
//!
//! Exhausting a bound proves something about that bound only, and about this disk and these links, which are kinder
//! than the simulator's.
//!
//! [`Replica`]: detcd_replica::Replica

mod disk;
mod history;
mod member;
#[cfg(test)]
mod tests;
mod world;

use detcd_replica::Bugs;
use stateright::{Checker, HasDiscoveries, Model, Path, Property};

use history::Rule;
use world::{Action, World};

/// How large a world is explored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Voting members.
    pub members: usize,
    /// Terms above the one that bootstrap ends in.
    pub terms: u64,
    /// Election timeouts that pass, in all.
    pub campaigns: usize,
    /// Puts, each at a member that leads.
    pub puts: usize,
    /// Power failures.
    pub crashes: usize,
    /// Heartbeats of leaders.
    pub heartbeats: usize,
    /// Messages lost though later ones of their link may arrive.
    pub drops: usize,
    /// Whether the end of a sync is an action of its own, so that things happen while a member waits for its disk.
    pub separate_sync: bool,
    /// Longest run; `None` for any length.
    pub max_depth: Option<usize>,
    /// Generated states after which the exploration is given up; `None` for all.
    pub max_states: Option<usize>,
}

impl Default for Bounds {
    /// Exhausted within seconds.
    fn default() -> Self {
        Self {
            members: 3,
            terms: 2,
            campaigns: 2,
            puts: 1,
            crashes: 1,
            heartbeats: 0,
            drops: 0,
            separate_sync: false,
            max_depth: None,
            max_states: None,
        }
    }
}

/// What kind of claim a property makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PropertyKind {
    /// It holds in every state.
    Always,
    /// It holds in at least one: without it, an `Always` might hold because nothing happens.
    Sometimes,
}

impl PropertyKind {
    /// `always` or `sometimes`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Sometimes => "sometimes",
        }
    }
}

/// What was found about a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyReport {
    /// Its name.
    pub name: &'static str,
    /// What it claims.
    pub kind: PropertyKind,
    /// `Always`: no counterexample was found. `Sometimes`: an example was found.
    pub holds: bool,
    /// The counterexample or the example, in sentences; empty when there is none. No single action can be left out.
    pub actions: Vec<String>,
}

/// What an exploration has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExploreReport {
    /// Different states.
    pub unique_states: usize,
    /// States, with those that had been seen before.
    pub generated: usize,
    /// Actions in the longest run taken.
    pub depth: usize,
    /// Whether every state within the bounds was seen: not when a property failed, nor when a limit ended it.
    pub exhausted: bool,
    /// Each property, `Always` first.
    pub properties: Vec<PropertyReport>,
    /// The actions that lead to the first property that fails.
    pub counterexample: Option<Vec<String>>,
}

/// Explore the world within `bounds`, with `bugs` switched on, until all is seen or a property fails.
pub fn explore(bounds: &Bounds, bugs: Bugs) -> ExploreReport {
    let mut builder = Small { bounds: bounds.clone(), bugs }.checker().finish_when(HasDiscoveries::AnyFailures);
    if let Some(depth) = bounds.max_depth {
        // stateright counts states, not actions, and does not look at those of the last depth.
        builder = builder.target_max_depth(depth + 2);
    }
    if let Some(states) = bounds.max_states {
        builder = builder.target_state_count(states.max(1));
    }
    let checker = builder.spawn_bfs().join();
    let model = checker.model();
    // One at a time: stateright's own map of all of them is hashed.
    let properties: Vec<_> = model
        .properties()
        .iter()
        .map(|property| {
            let found = checker.discovery(property.name).map(Path::into_actions);
            model.report(property, found)
        })
        .collect();
    let (generated, depth) = (checker.state_count(), checker.max_depth().saturating_sub(1));
    let failed = properties.iter().find(|property| property.kind == PropertyKind::Always && !property.holds);
    let counterexample = failed.map(|property| property.actions.clone());
    let limited = bounds.max_depth.is_some_and(|limit| depth > limit)
        || bounds.max_states.is_some_and(|limit| generated >= limit);
    let exhausted = counterexample.is_none() && !limited;
    let depth = bounds.max_depth.map_or(depth, |limit| depth.min(limit));
    ExploreReport {
        unique_states: checker.unique_state_count(),
        generated,
        depth,
        exhausted,
        properties,
        counterexample,
    }
}

/// The world as stateright sees it.
struct Small {
    bounds: Bounds,
    bugs: Bugs,
}

impl Model for Small {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.bounds, self.bugs)]
    }

    fn actions(&self, state: &World, actions: &mut Vec<Action>) {
        state.actions(&self.bounds, actions);
    }

    fn next_state(&self, state: &World, action: Action) -> Option<World> {
        Some(state.after(action, &self.bounds))
    }

    /// Each `always` is followed by the `sometimes` without which it would say little.
    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = Vec::new();
        for rule in Rule::ALL {
            let (always, sometimes) = claims(rule);
            properties.extend([always, sometimes]);
        }
        properties
            .push(Property::sometimes("a leader is elected", |_, world: &World| !world.history.leaders.is_empty()));
        properties.sort_by_key(kind);
        properties
    }
}

/// The rule as a property, and what shows that it was put to the test.
fn claims(rule: Rule) -> (Property<Small>, Property<Small>) {
    let (always, sometimes) = (Property::always, Property::sometimes);
    match rule {
        Rule::ElectionSafety => (
            always("election safety", |_, world: &World| world.history.holds(Rule::ElectionSafety)),
            sometimes("a second leader in a later term", |_, world: &World| world.history.leaders.len() > 1),
        ),
        Rule::LogMatching => (
            always("log matching", |_, world: &World| world.history.holds(Rule::LogMatching)),
            sometimes("an entry gives way to another leader's", |_, world: &World| world.overwritten),
        ),
        Rule::LeaderCompleteness => (
            always("leader completeness", |_, world: &World| world.history.holds(Rule::LeaderCompleteness)),
            sometimes("a leader after an acknowledged put", |_, world: &World| world.history.led_after_acknowledged()),
        ),
        Rule::StateMachineSafety => (
            always("state machine safety", |_, world: &World| world.history.holds(Rule::StateMachineSafety)),
            sometimes("two members have applied a put", |_, world: &World| world.applied_by_two()),
        ),
        Rule::AcknowledgedIsDurable => (
            always("an acknowledged put is durable in a quorum", |_, world: &World| {
                world.history.holds(Rule::AcknowledgedIsDurable)
            }),
            sometimes("a put is acknowledged", |_, world: &World| !world.history.acknowledged.is_empty()),
        ),
        Rule::NoPanic => (
            always("no panic", |_, world: &World| world.history.holds(Rule::NoPanic)),
            sometimes("a member starts again", |_, world: &World| world.restarted()),
        ),
    }
}

fn kind(property: &Property<Small>) -> PropertyKind {
    match property.expectation.discovery_is_failure() {
        true => PropertyKind::Always,
        false => PropertyKind::Sometimes,
    }
}

impl Small {
    fn report(&self, property: &Property<Self>, found: Option<Vec<Action>>) -> PropertyReport {
        let kind = kind(property);
        let actions = found.as_ref().map_or_else(Vec::new, |actions| {
            let there = |world: &World| (property.condition)(self, world) == (kind == PropertyKind::Sometimes);
            self.tell(&self.shorten(actions.clone(), there))
        });
        PropertyReport {
            name: property.name,
            kind,
            holds: found.is_some() == (kind == PropertyKind::Sometimes),
            actions,
        }
    }

    /// The state that `actions` lead to; `None` when one of them cannot happen.
    fn follow(&self, actions: &[Action]) -> Option<World> {
        let mut world = World::new(&self.bounds, self.bugs);
        for action in actions {
            if !world.can(*action, &self.bounds) {
                return None;
            }
            world = world.after(*action, &self.bounds);
        }
        Some(world)
    }

    /// stateright reports the last path that it found, not the shortest: leave out what can be left out.
    fn shorten(&self, mut actions: Vec<Action>, there: impl Fn(&World) -> bool) -> Vec<Action> {
        let mut place = actions.len();
        while place > 0 {
            place -= 1;
            let mut fewer = actions.clone();
            fewer.remove(place);
            if self.follow(&fewer).is_some_and(|world| there(&world)) {
                actions = fewer;
                // What it depended on may now go, too.
                place = actions.len();
            }
        }
        actions
    }

    fn tell(&self, actions: &[Action]) -> Vec<String> {
        let mut world = World::new(&self.bounds, self.bugs);
        let mut told = Vec::new();
        for action in actions {
            told.push(world.tell(*action));
            world = world.after(*action, &self.bounds);
        }
        told
    }
}
