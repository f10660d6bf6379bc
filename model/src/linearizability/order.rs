//! One pass through the specification in the order of revisions, with a search where a revision has no certain writer.
//!
//! At a revision that nobody claims, each write without an answer that could have made it is tried, the latest called
//! first. When an answer further on does not fit, the pass goes back to the last choice that could matter to the keys of
//! that answer; keys of the choices found wanting are added to those that matter, so that nothing is skipped that could
//! have helped (conflict-directed backjumping, on key ranges).

use std::collections::{BTreeMap, BTreeSet};

use detcd_replica::api::{KeyRange, Request, ResponseBody, Revision};
use detcd_replica::history::{Finding, History, Operation, Outcome};

use super::claims::Claims;
use super::evidence::{each_kv, Evidence, Mark};
use super::{role, violation, words, Role, Truth, Window, NOBODY};
use crate::spec::{footprint, overlap_any, Applied, KeyMap, Store};

/// Why there is no order.
pub(super) enum Trouble {
    Violation(Finding),
    Undecided { reason: String, window: Window },
}

/// The outcome of the pass.
pub(super) struct Ordered {
    pub(super) result: Result<(), Trouble>,
    pub(super) truth: Truth,
}

/// Builds the order and compares every answer.
pub(super) fn settle(history: &History, claims: &Claims, evidence: &Evidence, steps: u64) -> Ordered {
    let mut writers = claims.writers.clone();
    let size = usize::try_from(evidence.horizon).expect("revisions are positive") + 1;
    writers.resize(size.max(writers.len()), NOBODY);
    for (revision, writer) in &evidence.settled {
        if let Some(slot) = writers.get_mut(place(*revision)) {
            *slot = *writer;
        }
    }
    let mut pass = Pass {
        operations: &history.operations,
        claims,
        evidence,
        writers,
        store: Store::new(),
        choices: Vec::new(),
        used: BTreeSet::new(),
        quiet: None,
        steps,
        reached: 0,
    };
    let result = pass.run();
    if result.is_err() {
        pass.go_on();
    }
    let doubts = pass.doubts();
    Ordered { result, truth: Truth { store: pass.store, writers: pass.writers, doubts } }
}

fn place(revision: Revision) -> usize {
    usize::try_from(revision).expect("revisions are positive")
}

struct Pass<'h> {
    operations: &'h [Operation],
    claims: &'h Claims,
    evidence: &'h Evidence,
    writers: Vec<u32>,
    store: Store,
    choices: Vec<Choice>,
    used: BTreeSet<u32>,
    quiet: Option<Quiet>,
    /// Operations that may yet be tried again.
    steps: u64,
    /// The highest revision that the pass has been at.
    reached: Revision,
}

/// A revision without a certain writer, and who may have made it.
struct Choice {
    revision: Revision,
    /// Those still to be tried, the best last.
    left: Vec<u32>,
    /// How many there were.
    width: usize,
    /// What any of them may read or write.
    keys: Vec<KeyRange>,
}

/// An answer that does not fit, and the keys it depends on.
struct Conflict {
    revision: Revision,
    keys: Vec<KeyRange>,
    finding: Finding,
}

impl Pass<'_> {
    fn run(&mut self) -> Result<(), Trouble> {
        let mut revision = 1;
        let mut worst: Option<Conflict> = None;
        while revision <= self.evidence.horizon {
            let Err(conflict) = self.step(revision) else {
                revision += 1;
                continue;
            };
            if revision > self.claims.last {
                // Only watches saw this far. What they saw is no answer, so nothing is wrong yet; their checks will say.
                self.store.rollback(revision - 1);
                self.writers.truncate(place(revision));
                return Ok(());
            }
            let mut keys = conflict.keys.clone();
            if worst.as_ref().is_none_or(|worst| conflict.revision > worst.revision) {
                worst = Some(conflict);
            }
            let Some(back) = self.back(&mut keys) else {
                let worst = worst.expect("there was a conflict");
                return Err(Trouble::Violation(worst.finding));
            };
            if self.steps == 0 {
                return Err(self.undecided(back, worst.map_or(back, |worst| worst.revision)));
            }
            revision = back;
        }
        Ok(())
    }

    /// Goes back to the last choice that could matter to the keys and makes it anew.
    fn back(&mut self, keys: &mut Vec<KeyRange>) -> Option<Revision> {
        while let Some(mut choice) = self.choices.pop() {
            let revision = choice.revision;
            self.used.remove(&self.writers[place(revision)]);
            self.writers[place(revision)] = NOBODY;
            if !overlap_any(&choice.keys, keys) {
                continue;
            }
            if let Some(next) = choice.left.pop() {
                self.store.rollback(revision - 1);
                self.take(revision, next);
                self.choices.push(choice);
                return Some(revision);
            }
            for range in choice.keys {
                if !keys.contains(&range) {
                    keys.push(range);
                }
            }
        }
        None
    }

    fn take(&mut self, revision: Revision, writer: u32) {
        self.writers[place(revision)] = writer;
        self.used.insert(writer);
    }

    /// The write of a revision, then every read that shows it.
    fn step(&mut self, revision: Revision) -> Result<(), Conflict> {
        if revision > 1 {
            if self.writers[place(revision)] == NOBODY {
                self.choose(revision)?;
            }
            self.write(revision)?;
        }
        let claims = self.claims;
        let again = revision <= self.reached;
        self.reached = self.reached.max(revision);
        if again {
            self.steps = self.steps.saturating_sub(1 + claims.reads_at(revision).len() as u64);
        }
        for number in claims.reads_at(revision) {
            let operation = &self.operations[*number as usize];
            let Outcome::Ok { response, .. } = &operation.outcome else { continue };
            let applied = self.store.apply(&operation.request);
            let fits = matches!(&applied, Ok(applied) if !applied.changed && applied.body == response.body);
            if !fits {
                let conflict = self.mismatch(revision, operation, &response.body, &applied);
                self.store.rollback(revision);
                return Err(conflict);
            }
        }
        Ok(())
    }

    fn write(&mut self, revision: Revision) -> Result<(), Conflict> {
        let operation = &self.operations[self.writers[place(revision)] as usize];
        let applied = self.store.apply(&operation.request);
        let fits = match (&operation.outcome, &applied) {
            (Outcome::Ok { response, .. }, Ok(applied)) => applied.changed && applied.body == response.body,
            (_, Ok(applied)) => applied.changed && self.shows_marks(revision),
            (_, Err(_)) => false,
        };
        if fits {
            return Ok(());
        }
        let conflict = match &operation.outcome {
            Outcome::Ok { response, .. } => self.mismatch(revision, operation, &response.body, &applied),
            _ => {
                let summary = format!(
                    "revision {revision} can only be of `{}`, which does not do there what was seen",
                    words::request(&operation.request)
                );
                Conflict {
                    revision,
                    keys: footprint(&operation.request),
                    finding: violation(operation, summary, self.near(revision).into_iter()),
                }
            }
        };
        self.store.rollback(revision - 1);
        Err(conflict)
    }

    /// Whether the revision just applied did all that was seen of it.
    fn shows_marks(&self, revision: Revision) -> bool {
        let Some(marks) = self.evidence.marks.get(&revision) else { return true };
        let changes = self.store.changes(revision, revision);
        marks.iter().all(|mark| {
            changes.iter().any(|change| {
                let (changed, record, _) = self.store.change(change);
                match mark {
                    Mark::Put { key, value } => {
                        changed == key
                            && !record.is_tombstone()
                            && value.as_ref().is_none_or(|value| *value == record.value)
                    }
                    Mark::Delete { key } => changed == key && record.is_tombstone(),
                }
            })
        })
    }

    /// Finds who may have made a revision that nobody claims, and takes the likeliest.
    fn choose(&mut self, revision: Revision) -> Result<(), Conflict> {
        let known_at = self.claims.known_at.get(place(revision)).copied().unwrap_or(u64::MAX);
        let called = self.claims.unknown.partition_point(|number| self.operations[*number as usize].call < known_at);
        let free: Vec<u32> = self.claims.unknown[..called]
            .iter()
            .copied()
            .filter(|number| !self.evidence.taken.contains(number) && !self.used.contains(number))
            .collect();
        let quiet = self.quiet.get_or_insert_with(|| Quiet::of(self.operations));
        let mut seen: Vec<&Request> = Vec::new();
        let mut left: Vec<u32> = Vec::new();
        // The latest called first; equal requests do equal things, so one of them stands for all.
        for number in free.iter().rev() {
            let request = &self.operations[*number as usize].request;
            if !quiet.forbids(request, revision)
                && !seen.contains(&request)
                && could_show(request, self.evidence, revision)
            {
                seen.push(request);
                left.push(*number);
            }
        }
        left.reverse();
        let mut keys: Vec<KeyRange> = Vec::new();
        for number in &self.claims.unknown[..called] {
            if self.evidence.taken.contains(number) {
                continue;
            }
            for range in footprint(&self.operations[*number as usize].request) {
                if !keys.contains(&range) {
                    keys.push(range);
                }
            }
        }
        let width = left.len();
        // Those that would do nothing, or not what was seen, are passed over here rather than found out later.
        while let Some(next) = left.pop() {
            self.steps = self.steps.saturating_sub(1);
            let applied = self.store.apply(&self.operations[next as usize].request);
            let fits = matches!(applied, Ok(applied) if applied.changed) && self.shows_marks(revision);
            self.store.rollback(revision - 1);
            if fits {
                self.take(revision, next);
                self.choices.push(Choice { revision, left, width, keys });
                return Ok(());
            }
        }
        let seen_by = self.operations.iter().find(|operation| match role(operation) {
            Role::Write(header) | Role::Read(header) | Role::Compaction(header) => header >= revision,
            Role::Serializable(_) | Role::Unknown | Role::Nothing => false,
        });
        let about = seen_by.unwrap_or(&self.operations[0]);
        let summary = format!("revision {revision} was passed, but no write can have made it");
        Err(Conflict { revision, keys, finding: violation(about, summary, self.near(revision).into_iter()) })
    }

    fn mismatch(
        &self,
        revision: Revision,
        about: &Operation,
        answer: &ResponseBody,
        expected: &Result<Applied, detcd_replica::api::Error>,
    ) -> Conflict {
        let expected = match expected {
            Ok(applied) => words::body(&applied.body),
            Err(error) => error.to_string(),
        };
        let keys = footprint(&about.request);
        let summary = format!(
            "`{}` at revision {revision} answered {}, where etcd answers {expected}",
            words::request(&about.request),
            words::body(answer),
        );
        // The writes that last changed what was asked for, and those that the answer shows.
        let mut concerned: BTreeSet<Revision> = BTreeSet::new();
        each_kv(answer, &mut |kv| {
            concerned.insert(kv.mod_revision);
            concerned.extend(self.store.last_change(&kv.key, revision));
        });
        for range in &keys {
            concerned.extend(self.store.last_change(&range.start, revision));
        }
        let first = concerned.iter().next().copied().unwrap_or(revision);
        let mut others: Vec<&Operation> = Vec::new();
        for at in (first.max(2)..=revision).rev() {
            let writer = self.writers.get(place(at)).copied().unwrap_or(NOBODY);
            let Some(writer) = self.operations.get(writer as usize) else { continue };
            let between = overlap_any(&footprint(&writer.request), &keys);
            if others.len() < 8 && (between || concerned.contains(&at)) && !std::ptr::eq(writer, about) {
                others.push(writer);
            }
            if others.len() == 8 {
                break;
            }
        }
        Conflict { revision, keys, finding: violation(about, summary, others.into_iter()) }
    }

    /// The writes around a revision.
    fn near(&self, revision: Revision) -> Vec<&Operation> {
        (revision - 2..=revision + 2)
            .filter_map(|at| self.writers.get(usize::try_from(at).ok()?))
            .filter_map(|writer| self.operations.get(*writer as usize))
            .collect()
    }

    fn undecided(&mut self, first: Revision, last: Revision) -> Trouble {
        self.store.rollback(first - 1);
        let inside = |revision: Revision| revision >= first && revision <= last;
        let calls_end = self.claims.known_at.get(place(last)).copied().unwrap_or(u64::MAX);
        let operations = (0..self.operations.len())
            .filter(|number| match role(&self.operations[*number]) {
                Role::Write(revision) | Role::Read(revision) => inside(revision),
                Role::Unknown => self.operations[*number].call < calls_end,
                Role::Serializable(_) | Role::Compaction(_) | Role::Nothing => false,
            })
            .collect();
        let reason = format!(
            "too many writes without an answer could have made revision {first}: the search ended at revision {last}"
        );
        Trouble::Undecided {
            reason,
            window: Window { first: first - 1, last, operations, state: self.store.window(first - 1) },
        }
    }

    /// After trouble, applies the rest of the claimed writes all the same, so that watches can be judged by them.
    fn go_on(&mut self) {
        let mut revision = self.store.revision() + 1;
        while place(revision) < self.writers.len() {
            let writer = self.writers[place(revision)];
            let done = self.operations.get(writer as usize).is_some_and(
                |operation| matches!(self.store.apply(&operation.request), Ok(applied) if applied.changed),
            );
            if !done {
                let doubt = Choice { revision, left: Vec::new(), width: 2, keys: vec![KeyRange::prefix("")] };
                self.choices.push(doubt);
                self.store.skip();
            }
            revision += 1;
        }
    }

    fn doubts(&self) -> Vec<(Revision, Vec<KeyRange>)> {
        let unsure = self.choices.iter().filter(|choice| choice.width > 1);
        unsure.map(|choice| (choice.revision, choice.keys.clone())).collect()
    }
}

/// Whether the request could, in some state, do what was seen of the revision.
fn could_show(request: &Request, evidence: &Evidence, revision: Revision) -> bool {
    let Some(marks) = evidence.marks.get(&revision) else { return true };
    let keys = footprint(request);
    marks.iter().all(|mark| {
        let (Mark::Put { key, .. } | Mark::Delete { key }) = mark;
        keys.iter().any(|range| range.contains(key))
    })
}

/// When keys are known not to have changed: a read at revision p that shows a key as of m says so of m+1..=p.
struct Quiet {
    /// By key, (m, the highest p of this m or a lower one), in order of m.
    keys: KeyMap<Vec<(Revision, Revision)>>,
}

impl Quiet {
    fn of(operations: &[Operation]) -> Self {
        let mut shown: KeyMap<BTreeMap<Revision, Revision>> = KeyMap::default();
        let mut order = Vec::new();
        for operation in operations {
            let (Role::Read(header), Outcome::Ok { response, .. }) = (role(operation), &operation.outcome) else {
                continue;
            };
            if !matches!(operation.request, Request::Range(_)) {
                continue;
            }
            let at = super::claims::shows(operation, header);
            each_kv(&response.body, &mut |kv| {
                if !shown.contains_key(&kv.key) {
                    order.push(kv.key.clone());
                }
                let until = shown.entry(kv.key.clone()).or_default().entry(kv.mod_revision).or_insert(at);
                *until = (*until).max(at);
            });
        }
        let mut keys = KeyMap::default();
        for key in order {
            let spans = shown.remove(&key).expect("each key is listed once");
            let mut highest = 0;
            let spans = spans.into_iter().map(|(from, until)| {
                highest = until.max(highest);
                (from, highest)
            });
            let spans: Vec<(Revision, Revision)> = spans.collect();
            keys.insert(key, spans);
        }
        Self { keys }
    }

    /// Whether a put or a delete of one key cannot have been at a revision. Of anything larger this says nothing.
    fn forbids(&self, request: &Request, revision: Revision) -> bool {
        let key = match request {
            Request::Put(put) => &put.key,
            Request::DeleteRange(delete) if delete.range == KeyRange::single(delete.range.start.clone()) => {
                &delete.range.start
            }
            _ => return false,
        };
        let Some(spans) = self.keys.get(key) else { return false };
        let before = spans.partition_point(|(from, _)| *from < revision);
        before.checked_sub(1).is_some_and(|last| spans[last].1 >= revision)
    }
}
