//! Evidence of writes that were never answered: a value at a revision that nobody claims was written by one of them.
//!
//! Values in detcd's workloads are unique to a write, so that one sight of a value usually settles its place. Where two
//! writes could have written what was seen, the evidence only narrows the search. A put that keeps the value that is
//! there may show any.

use std::collections::{BTreeMap, BTreeSet};

use detcd_replica::api::{
    Key, KeyValue, PutRequest, Request, RequestOp, ResponseBody, Revision, Value, WatchBody, WatchEvent, WatchEventKind,
};
use detcd_replica::history::{Finding, Operation, Outcome, Watch};

use super::claims::Claims;
use super::{role, violation, words, Role, NOBODY};

/// Something that was seen of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The key was put; with which value, when that was shown.
    Put { key: Key, value: Option<Value> },
    /// The key was deleted.
    Delete { key: Key },
}

/// What is known of the revisions that no answered write claims.
#[derive(Default)]
pub(super) struct Evidence {
    /// The highest revision that anyone saw, be it only on a watch.
    pub(super) horizon: Revision,
    /// Which write made the revision, where that is certain.
    pub(super) settled: BTreeMap<Revision, u32>,
    /// The writes that are settled.
    pub(super) taken: BTreeSet<u32>,
    /// What was seen of each revision.
    pub(super) marks: BTreeMap<Revision, Vec<Mark>>,
}

/// Reads everything that anyone saw. What nobody can have written is a finding when an operation saw it; what only a
/// watch saw is left to the checks of watches.
pub(super) fn gather(
    operations: &[&Operation],
    watches: &[Watch],
    claims: &Claims,
    findings: &mut Vec<Finding>,
) -> Evidence {
    let mut evidence = Evidence { horizon: claims.last, ..Evidence::default() };
    if claims.unknown.is_empty() {
        // Nobody could have made a revision that is not claimed: the order will say so.
        return evidence;
    }
    let room = Revision::try_from(claims.unknown.len()).expect("a history fits in memory");
    let limit = claims.last + room;
    let mut puts = Puts::default();
    for place in &claims.unknown {
        each_put(&operations[*place as usize].request, &mut |put| puts.add(put, *place));
    }
    let open = |revision: Revision| {
        let index = usize::try_from(revision).unwrap_or(0);
        revision > 1 && revision <= limit && claims.writers.get(index).is_none_or(|writer| *writer == NOBODY)
    };
    for operation in operations {
        let Outcome::Ok { response, .. } = &operation.outcome else { continue };
        if let Role::Serializable(header) = role(operation) {
            evidence.hint(header.min(limit), &response.body, &puts, &open);
            continue;
        }
        each_kv(&response.body, &mut |kv| {
            if open(kv.create_revision) && kv.create_revision <= claims.last && kv.version > 1 {
                evidence.mark(kv.create_revision, Mark::Put { key: kv.key.clone(), value: None });
            }
            if !open(kv.mod_revision) || kv.mod_revision > claims.last {
                return;
            }
            evidence.mark(kv.mod_revision, put_mark(kv));
            let writers = puts.of(kv);
            if writers.is_empty() {
                if !kv.value.is_empty() {
                    findings.extend(nobody_wrote(operations, operation, kv));
                }
                return;
            }
            if !evidence.settle(kv.mod_revision, &writers) {
                let writer = operations[writers[0] as usize];
                let summary = format!("{} is of a write that was seen at another revision", words::key_value(kv));
                findings.push(violation(operation, summary, [writer].into_iter()));
            }
        });
    }
    for watch in watches {
        for (_, response) in &watch.responses {
            let WatchBody::Events(events) = &response.body else { continue };
            for WatchEvent { kind, kv, prev_kv } in events {
                for kv in [Some(kv), prev_kv.as_ref()].into_iter().flatten().filter(|kv| open(kv.mod_revision)) {
                    if *kind == WatchEventKind::Delete && prev_kv.as_ref() != Some(kv) {
                        evidence.mark(kv.mod_revision, Mark::Delete { key: kv.key.clone() });
                    } else {
                        let writers = puts.of(kv);
                        if writers.is_empty() {
                            continue;
                        }
                        if evidence.settle(kv.mod_revision, &writers) {
                            evidence.mark(kv.mod_revision, put_mark(kv));
                        }
                    }
                    evidence.horizon = evidence.horizon.max(kv.mod_revision);
                }
            }
        }
    }
    evidence
}

impl Evidence {
    /// Takes what a serializable read shows for true where that is possible; whether it is, its own check will say.
    fn hint(&mut self, header: Revision, body: &ResponseBody, puts: &Puts<'_>, open: &dyn Fn(Revision) -> bool) {
        self.horizon = self.horizon.max(header);
        each_kv(body, &mut |kv| {
            if !open(kv.mod_revision) {
                return;
            }
            let writers = puts.of(kv);
            if !writers.is_empty() && self.settle(kv.mod_revision, &writers) {
                self.mark(kv.mod_revision, put_mark(kv));
            }
        });
    }

    fn mark(&mut self, revision: Revision, mark: Mark) {
        let marks = self.marks.entry(revision).or_default();
        if !marks.contains(&mark) {
            marks.push(mark);
        }
    }

    /// Settles a revision when only one write can have made it. False when that contradicts what was settled before.
    fn settle(&mut self, revision: Revision, writers: &[u32]) -> bool {
        let [writer] = writers else { return true };
        match self.settled.get(&revision) {
            Some(settled) => settled == writer,
            None => {
                let first = self.taken.insert(*writer);
                if first {
                    self.settled.insert(revision, *writer);
                }
                first
            }
        }
    }
}

/// The puts of writes without an answer: by key, and by value where they bring one.
#[derive(Default)]
struct Puts<'h>(BTreeMap<(&'h Key, Option<&'h Value>), Vec<u32>>);

impl<'h> Puts<'h> {
    fn add(&mut self, put: &'h PutRequest, place: u32) {
        let writers = self.0.entry((&put.key, (!put.ignore_value).then_some(&put.value))).or_default();
        if writers.last() != Some(&place) {
            writers.push(place);
        }
    }

    /// The writes that could show this. A range of keys only shows no values, so that an empty one may be any.
    fn of(&self, kv: &KeyValue) -> Vec<u32> {
        let mut writers: Vec<u32> = match kv.value.is_empty() {
            true => {
                let all = self.0.range((&kv.key, None)..).take_while(|((key, _), _)| **key == kv.key);
                all.flat_map(|(_, writers)| writers).copied().collect()
            }
            false => {
                let could = [None, Some(&kv.value)].map(|value| self.0.get(&(&kv.key, value)));
                could.into_iter().flatten().flatten().copied().collect()
            }
        };
        writers.sort_unstable();
        writers.dedup();
        writers
    }
}

fn put_mark(kv: &KeyValue) -> Mark {
    // A range of keys only shows no values, so an empty one says nothing.
    Mark::Put { key: kv.key.clone(), value: (!kv.value.is_empty()).then(|| kv.value.clone()) }
}

fn nobody_wrote(operations: &[&Operation], about: &Operation, kv: &KeyValue) -> Option<Finding> {
    let writer = operations.iter().copied().find(|operation| {
        let mut wrote = false;
        each_put(&operation.request, &mut |put| wrote |= put.key == kv.key && put.value == kv.value);
        wrote
    });
    let summary = match writer.map(|writer| &writer.outcome) {
        Some(Outcome::Failed { error, .. }) => {
            format!("{} was read, but its write was refused: {error}", words::key_value(kv))
        }
        Some(_) => format!("{} was read, but its write took effect at another revision", words::key_value(kv)),
        None => format!("{} was read, but nobody wrote it", words::key_value(kv)),
    };
    Some(violation(about, summary, writer.into_iter()))
}

/// Every put that the request may do, in any branch.
fn each_put<'r>(request: &'r Request, visit: &mut dyn FnMut(&'r PutRequest)) {
    fn ops<'r>(list: &'r [RequestOp], visit: &mut dyn FnMut(&'r PutRequest)) {
        for op in list {
            match op {
                RequestOp::Put(put) => visit(put),
                RequestOp::Txn(txn) => {
                    ops(&txn.success, visit);
                    ops(&txn.failure, visit);
                }
                RequestOp::Range(_) | RequestOp::DeleteRange(_) => {}
            }
        }
    }
    match request {
        Request::Put(put) => visit(put),
        Request::Txn(txn) => {
            ops(&txn.success, visit);
            ops(&txn.failure, visit);
        }
        _ => {}
    }
}

/// Every key-value in an answer.
pub(super) fn each_kv(body: &ResponseBody, visit: &mut dyn FnMut(&KeyValue)) {
    match body {
        ResponseBody::Range { kvs, .. } => kvs.iter().for_each(visit),
        ResponseBody::Put { prev_kv } => prev_kv.iter().for_each(visit),
        ResponseBody::DeleteRange { prev_kvs, .. } => prev_kvs.iter().for_each(visit),
        ResponseBody::Txn { responses, .. } => responses.iter().for_each(|response| each_kv(response, visit)),
        _ => {}
    }
}
