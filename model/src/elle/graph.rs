//! Which transaction must come before which, and the cycles in that.
//!
//! Four kinds of edges: `ww`, one appended right after the other; `wr`, one read what the other appended last; `rw`,
//! one did not see what the other appended next; and real time, one had ended when the other was called. Cycles are
//! named as Elle does, by the kinds that they need: G0 (only `ww`), G1c (also `wr`), G-single (one `rw`), G2-item
//! (more), each with `-realtime` where they need that, too.

use std::collections::{BTreeMap, VecDeque};

use detcd_replica::history::Moment;

use super::lists::{Element, Lists};
use super::transactions::{Gathered, Writer};
use super::versions::Versions;
use super::{words, Anomaly};
use crate::linearizability::end;

/// Why one comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ww,
    Wr,
    Rw,
    Time,
}

/// An edge; `place` is that of the later element in its list's longest version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    to: usize,
    pub(super) kind: Kind,
    list: usize,
    place: usize,
}

/// Edges by the transaction that they leave.
pub(super) struct Graph {
    edges: Vec<Vec<Edge>>,
}

/// Names of cycles, the worst first: with which kinds besides `rw`, and whether with one `rw`, with more, or with none.
const LEVELS: [(&str, &[Kind], Allowed); 8] = [
    ("G0", &[Kind::Ww], Allowed::None),
    ("G1c", &[Kind::Ww, Kind::Wr], Allowed::None),
    ("G-single", &[Kind::Ww, Kind::Wr], Allowed::One),
    ("G2-item", &[Kind::Ww, Kind::Wr], Allowed::Any),
    ("G0-realtime", &[Kind::Ww, Kind::Time], Allowed::None),
    ("G1c-realtime", &[Kind::Ww, Kind::Wr, Kind::Time], Allowed::None),
    ("G-single-realtime", &[Kind::Ww, Kind::Wr, Kind::Time], Allowed::One),
    ("G2-item-realtime", &[Kind::Ww, Kind::Wr, Kind::Time], Allowed::Any),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Allowed {
    None,
    One,
    Any,
}

/// The worst cycle there is, the shortest of its kind.
pub(super) fn search<'h>(gathered: &Gathered<'h>, versions: &Versions<'h>, lists: &Lists<'h>) -> Option<Anomaly<'h>> {
    let graph = Graph::of(gathered, versions);
    // In almost every history this is all.
    let knots: Vec<Vec<usize>> = graph.knots();
    let mut inside = vec![usize::MAX; graph.edges.len()];
    for (number, knot) in knots.iter().enumerate() {
        knot.iter().for_each(|place| inside[*place] = number);
    }
    LEVELS.iter().find_map(|(name, kinds, allowed)| {
        let cycle = graph.shortest(&knots, &inside, kinds, *allowed)?;
        let operations = cycle.iter().map(|(from, _)| gathered.transactions[*from].operation).collect();
        let stories: Vec<String> = cycle
            .iter()
            .enumerate()
            .map(|(number, (_, edge))| told(number + 1, (number + 1) % cycle.len() + 1, edge, versions, lists))
            .collect();
        Some(Anomaly { name, operations, story: stories.join("; ") })
    })
}

/// An edge as a sentence.
fn told(from: usize, to: usize, edge: &Edge, versions: &Versions<'_>, lists: &Lists<'_>) -> String {
    let element = |place: usize| words::text(versions.longest[edge.list][place]);
    let key = || words::text(lists.key(edge.list));
    match edge.kind {
        Kind::Ww => format!("T{to} appended {} to {} after T{from}", element(edge.place), key()),
        Kind::Wr => format!("T{to} saw {} in {}, which T{from} appended", element(edge.place), key()),
        Kind::Rw => format!("T{from} did not see {} in {}, which T{to} appended", element(edge.place), key()),
        Kind::Time => format!("T{from} had ended when T{to} began"),
    }
}

impl Graph {
    pub(super) fn of(gathered: &Gathered<'_>, versions: &Versions<'_>) -> Self {
        let mut graph = Self { edges: vec![Vec::new(); gathered.transactions.len()] };
        let writer = |list: usize, element: Element<'_>| match gathered.writers.get(&(list, element)) {
            Some(Writer::Transaction(writer)) => Some(*writer),
            _ => None,
        };
        for (list, elements) in versions.longest.iter().enumerate() {
            for place in 1..elements.len() {
                if let Some((one, two)) = writer(list, elements[place - 1]).zip(writer(list, elements[place])) {
                    graph.add(one, Edge { to: two, kind: Kind::Ww, list, place });
                }
            }
        }
        for (reader, transaction) in
            gathered.transactions.iter().enumerate().filter(|(place, _)| versions.counts[*place])
        {
            for read in &transaction.reads {
                let (list, length) = (read.list, read.elements.len());
                if let Some(last) = read.elements.last().and_then(|last| writer(list, last)) {
                    graph.add(last, Edge { to: reader, kind: Kind::Wr, list, place: length - 1 });
                }
                if let Some(next) = versions.longest[list].get(length).and_then(|next| writer(list, next)) {
                    graph.add(reader, Edge { to: next, kind: Kind::Rw, list, place: length });
                }
            }
        }
        graph.real_time(gathered, versions);
        graph
    }

    fn add(&mut self, from: usize, edge: Edge) {
        if from != edge.to {
            self.edges[from].push(edge);
        }
    }

    /// Real time, without what follows from other edges of it: each transaction follows those that had ended and had no
    /// other between them. A client's own follow each other also where it called in the moment of an answer.
    fn real_time(&mut self, gathered: &Gathered<'_>, versions: &Versions<'_>) {
        let mut moments: Vec<(Moment, bool, usize)> = Vec::new();
        let mut last: BTreeMap<u32, usize> = BTreeMap::new();
        let time = |to: usize| Edge { to, kind: Kind::Time, list: 0, place: 0 };
        for (place, transaction) in
            gathered.transactions.iter().enumerate().filter(|(place, _)| versions.counts[*place])
        {
            let (call, answer) = (transaction.operation.call, end(transaction.operation));
            moments.push((call, false, place));
            let client = transaction.operation.client;
            if let Some(before) = last.get(&client).filter(|it| end(gathered.transactions[**it].operation) <= call) {
                self.add(*before, time(place));
            }
            if answer != Moment::MAX {
                moments.push((answer, true, place));
                last.insert(client, place);
            }
        }
        // At one moment calls come first, so that what is not certainly before counts as at the same time.
        moments.sort_unstable();
        let mut newest: Vec<usize> = Vec::new();
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); gathered.transactions.len()];
        for (_, ends, place) in moments {
            if !ends {
                newest.iter().for_each(|from| self.add(*from, time(place)));
                before[place].clone_from(&newest);
                continue;
            }
            let covered = std::mem::take(&mut before[place]);
            newest.retain(|from| !covered.contains(from));
            newest.push(place);
        }
    }

    /// The strongly connected components of more than one transaction, by Tarjan's algorithm, without recursion.
    fn knots(&self) -> Vec<Vec<usize>> {
        const NEW: usize = usize::MAX;
        let count = self.edges.len();
        let (mut index, mut low, mut on_stack) = (vec![NEW; count], vec![0; count], vec![false; count]);
        let (mut stack, mut next, mut knots) = (Vec::new(), 0, Vec::new());
        for root in 0..count {
            if index[root] != NEW {
                continue;
            }
            // Where we are: a transaction, and how many of its edges are done.
            let mut path = vec![(root, 0)];
            while let Some((place, done)) = path.pop() {
                if done == 0 {
                    (index[place], low[place]) = (next, next);
                    next += 1;
                    stack.push(place);
                    on_stack[place] = true;
                }
                if let Some(edge) = self.edges[place].get(done) {
                    path.push((place, done + 1));
                    if index[edge.to] == NEW {
                        path.push((edge.to, 0));
                    } else if on_stack[edge.to] {
                        low[place] = low[place].min(index[edge.to]);
                    }
                    continue;
                }
                if let Some((parent, _)) = path.last() {
                    low[*parent] = low[*parent].min(low[place]);
                }
                if low[place] == index[place] {
                    let from = stack.iter().rposition(|other| *other == place).expect("it is on the stack");
                    let knot = stack.split_off(from);
                    knot.iter().for_each(|other| on_stack[*other] = false);
                    if knot.len() > 1 {
                        knots.push(knot);
                    }
                }
            }
        }
        knots
    }

    /// The shortest cycle of these kinds, as the edges along it, each with where it leaves.
    fn shortest(
        &self,
        knots: &[Vec<usize>],
        inside: &[usize],
        kinds: &[Kind],
        allowed: Allowed,
    ) -> Option<Vec<(usize, Edge)>> {
        let plain = |edge: &Edge| kinds.contains(&edge.kind) || (allowed == Allowed::Any && edge.kind == Kind::Rw);
        let mut best: Option<Vec<(usize, Edge)>> = None;
        for place in knots.iter().flatten() {
            for edge in self.edges[*place].iter().filter(|edge| inside[edge.to] == inside[*place]) {
                let begins = if allowed == Allowed::None { plain(edge) } else { edge.kind == Kind::Rw };
                if !begins {
                    continue;
                }
                let limit = best.as_ref().map_or(usize::MAX, Vec::len);
                if let Some(rest) = self.path(edge.to, *place, inside, &plain, limit) {
                    let mut cycle = vec![(*place, *edge)];
                    cycle.extend(rest);
                    best = Some(cycle);
                }
            }
        }
        best
    }

    /// The shortest path between two transactions of one knot over such edges, if the cycle that it closes is shorter
    /// than `limit`.
    fn path(
        &self,
        from: usize,
        to: usize,
        inside: &[usize],
        plain: &dyn Fn(&Edge) -> bool,
        limit: usize,
    ) -> Option<Vec<(usize, Edge)>> {
        let mut came: BTreeMap<usize, (usize, Edge)> = BTreeMap::new();
        let mut queue = VecDeque::from([(from, 1)]);
        while let Some((place, length)) = queue.pop_front() {
            if place == to {
                let mut path = Vec::new();
                let mut at = to;
                while at != from {
                    let (before, edge) = came[&at];
                    path.push((before, edge));
                    at = before;
                }
                path.reverse();
                return Some(path);
            }
            if length + 1 >= limit {
                continue;
            }
            for edge in self.edges[place].iter().filter(|edge| inside[edge.to] == inside[place] && plain(edge)) {
                if edge.to != from && !came.contains_key(&edge.to) {
                    came.insert(edge.to, (place, *edge));
                    queue.push_back((edge.to, length + 1));
                }
            }
        }
        None
    }
}
