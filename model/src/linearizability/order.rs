//! One pass through the specification in the order of revisions, with a search where a revision has no certain writer.
//!
//! At a revision that nobody claims, each write without an answer that could have made it is tried, the latest called
//! first. When an answer further on does not fit, the pass goes back to the last choice that could matter to the keys
//! of that answer; keys of the choices found wanting are added to those that matter, so that nothing is skipped that
//! could have helped (conflict-directed backjumping, on key ranges).

use std::collections::BTreeSet;

use detcd_replica::api::{Key, KeyRange, RangeEnd, Request, RequestOp, ResponseBody, Revision};
use detcd_replica::history::{Finding, Operation, Outcome};

use super::candidates::{Candidates, Kind};
use super::claims::Claims;
use super::doubts::Doubts;
use super::evidence::{each_kv, Evidence, Mark};
use super::{role, violation, words, Role, Truth, Window, NOBODY};
use crate::spec::{overlap_any, Applied, Keyspace, Store};

/// Why there is no order.
pub(super) enum Trouble {
    /// `None` where nobody wanted to know which.
    Violation(Option<Finding>),
    Undecided {
        reason: String,
        window: Window,
    },
}

/// The outcome of the pass.
pub(super) struct Ordered {
    pub(super) result: Result<(), Trouble>,
    pub(super) truth: Truth,
}

/// Builds the order and compares every answer.
pub(super) fn settle(operations: &[&Operation], claims: &Claims, evidence: &Evidence, steps: u64) -> Ordered {
    let mut writers = claims.writers.clone();
    let size = usize::try_from(evidence.horizon).expect("revisions are positive") + 1;
    writers.resize(size.max(writers.len()), NOBODY);
    for (revision, writer) in &evidence.settled {
        if let Some(slot) = writers.get_mut(place(*revision)) {
            *slot = *writer;
        }
    }
    let begun = |tells, whole| Pass {
        whole,
        operations,
        claims,
        evidence,
        writers: writers.clone(),
        store: Store::new(),
        choices: Vec::new(),
        candidates: Candidates::of(operations, claims, evidence),
        tells,
        lost: None,
        patience: steps,
        steps,
        allowance: steps.saturating_add(64 * operations.len() as u64),
        reached: 0,
    };
    let mut pass = begun(false, true);
    let mut result = pass.run();
    if result.is_err() && evidence.horizon > claims.last {
        // What only watches saw may be what cannot be. Then the answers are in order without it.
        let open = matches!(result, Err(Trouble::Undecided { .. }));
        pass = begun(false, false);
        result = pass.run();
        if open {
            pass.lost = Some(claims.last + 1);
        }
    }
    if matches!(result, Err(Trouble::Violation(_))) {
        // The same once more: words for every answer that a choice did not fit would cost more than the choices.
        pass = begun(true, false);
        result = pass.run();
    }
    if result.is_err() {
        if matches!(result, Err(Trouble::Undecided { .. })) {
            // No read beyond here was held against the log, and a wrong choice may have led transactions astray.
            pass.lost = Some(pass.store.revision() + 1);
        }
        pass.go_on();
    }
    let doubts = pass.doubts();
    Ordered { result, truth: Truth { store: pass.store, writers: pass.writers, doubts } }
}

fn place(revision: Revision) -> usize {
    usize::try_from(revision).expect("revisions are positive")
}

struct Pass<'h> {
    /// Whether choices must also fit what only watches saw, beyond the last answer.
    whole: bool,
    operations: &'h [&'h Operation],
    claims: &'h Claims,
    evidence: &'h Evidence,
    writers: Vec<u32>,
    store: Store,
    choices: Vec<Choice>,
    candidates: Candidates,
    /// Whether conflicts say what they are.
    tells: bool,
    /// The first revision that was passed over after trouble.
    lost: Option<Revision>,
    /// Operations that may be tried again before the pass gets any further.
    patience: u64,
    /// How many of those are left: a history is not undecided for being long, only for being stuck.
    steps: u64,
    /// Operations that may yet be tried again in all.
    allowance: u64,
    /// The highest revision that the pass has been at.
    reached: Revision,
}

/// A revision without a certain writer, and who was taken for it.
struct Choice {
    revision: Revision,
    /// The candidates from the first on that had been called when the revision was seen.
    called: usize,
    /// Which of them was taken; those before it are still to be tried.
    taken: usize,
    /// The deletes that were tried. Another delete of the same key would do the same.
    tried: Vec<Kind>,
    /// Whether another could have been taken.
    doubtful: bool,
}

/// An answer that does not fit, and the keys it depends on.
struct Conflict {
    revision: Revision,
    keys: Vec<KeyRange>,
    /// Whether no other choice can help: certain writes alone contradict the answer.
    certain: bool,
    finding: Option<Finding>,
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
            if revision > self.claims.last && !self.whole {
                // Only watches saw this far. What they saw is no answer, so nothing is wrong yet; their checks will
                // say.
                self.store.rollback(revision - 1);
                self.writers.truncate(place(revision));
                return Ok(());
            }
            if conflict.certain {
                return Err(Trouble::Violation(conflict.finding));
            }
            let mut keys = conflict.keys.clone();
            if worst.as_ref().is_none_or(|worst| conflict.revision > worst.revision) {
                worst = Some(conflict);
            }
            let Some(back) = self.back(&mut keys) else {
                let worst = worst.expect("there was a conflict");
                return Err(Trouble::Violation(worst.finding));
            };
            if self.steps == 0 || self.allowance == 0 {
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
            self.candidates.free(choice.taken);
            self.writers[place(revision)] = NOBODY;
            if !overlap_any(self.candidates.keys(choice.called), keys) {
                continue;
            }
            self.store.rollback(revision - 1);
            if let Some(next) = self.next_candidate(revision, choice.taken, &mut choice.tried) {
                choice.taken = next;
                self.take(choice);
                return Some(revision);
            }
            for range in self.candidates.keys(choice.called) {
                if !keys.contains(range) {
                    keys.push(range.clone());
                }
            }
        }
        None
    }

    fn take(&mut self, choice: Choice) {
        self.writers[place(choice.revision)] = self.claims.unknown[choice.taken];
        self.candidates.place(choice.taken);
        self.choices.push(choice);
    }

    /// The last candidate before `end` that does something at the revision, and all that was seen of it.
    fn next_candidate(&mut self, revision: Revision, end: usize, tried: &mut Vec<Kind>) -> Option<usize> {
        if revision <= self.reached {
            // A scan over many candidates is work, too; a candidate costs a small part of an operation.
            self.spend(1 + end as u64 / 16);
        }
        (0..end).rev().find(|candidate| {
            let kind = self.candidates.kind(*candidate);
            if !self.candidates.may_be(self.operations, *candidate, revision) || tried.contains(&kind) {
                return false;
            }
            if matches!(kind, Kind::Delete(_)) {
                tried.push(kind);
            }
            let request = &self.operations[self.claims.unknown[*candidate] as usize].request;
            if !self.candidates.could_show(*candidate, self.evidence, revision) {
                return false;
            }
            let applied = self.store.apply(request);
            let fits = matches!(applied, Ok(applied) if applied.changed) && self.shows_marks(revision);
            self.store.rollback(revision - 1);
            fits
        })
    }

    fn spend(&mut self, steps: u64) {
        self.steps = self.steps.saturating_sub(steps);
        self.allowance = self.allowance.saturating_sub(steps);
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
        if !again {
            self.steps = self.patience;
        }
        self.reached = self.reached.max(revision);
        if again {
            self.spend(1 + claims.reads_at(revision).len() as u64);
        }
        for number in claims.reads_at(revision) {
            let operation = self.operations[*number as usize];
            let Outcome::Ok { response, .. } = &operation.outcome else { continue };
            if let Request::LeaseRevoke { id } = &operation.request {
                // It has its revision, or needed none; either way nothing is attached any more.
                if let Some(key) = self.store.leased(*id).first() {
                    let conflict = self.still_attached(revision, operation, key);
                    self.store.rollback(revision);
                    return Err(conflict);
                }
                continue;
            }
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
        let operation = self.operations[self.writers[place(revision)] as usize];
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
                    keys: self.claims.footprint(&operation.request),
                    certain: false,
                    finding: self.tells.then(|| violation(operation, summary, self.near(revision).into_iter())),
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
        let mut tried = Vec::new();
        if let Some(taken) = self.next_candidate(revision, called, &mut tried) {
            let doubtful = self.next_candidate(revision, taken, &mut tried.clone()).is_some();
            self.take(Choice { revision, called, taken, tried, doubtful });
            return Ok(());
        }
        let keys = self.candidates.keys(called).to_vec();
        if !self.tells {
            return Err(Conflict { revision, keys, certain: false, finding: None });
        }
        let seen_by = self.operations.iter().copied().find(|operation| match role(operation) {
            Role::Write(header) | Role::Read(header) | Role::Compaction(header) | Role::Revoke(header) => {
                header >= revision
            }
            Role::Serializable(_) | Role::Unknown | Role::Nothing => false,
        });
        let about = seen_by.unwrap_or(self.operations[0]);
        let summary = format!("revision {revision} was passed, but no write can have made it");
        Err(Conflict {
            revision,
            keys,
            certain: false,
            finding: Some(violation(about, summary, self.near(revision).into_iter())),
        })
    }

    fn still_attached(&self, revision: Revision, about: &Operation, key: &Key) -> Conflict {
        let summary = format!(
            "`{}` was answered at revision {revision}, but {} is still attached there",
            words::request(&about.request),
            words::text(key),
        );
        let writer = self.store.last_change(key, revision).and_then(|at| self.writers.get(place(at)));
        let others = writer.and_then(|writer| self.operations.get(*writer as usize)).copied();
        let finding = Some(violation(about, summary, others.into_iter()));
        Conflict { revision, keys: self.claims.footprint(&about.request), certain: false, finding }
    }

    fn mismatch(
        &self,
        revision: Revision,
        about: &Operation,
        answer: &ResponseBody,
        expected: &Result<Applied, detcd_replica::api::Error>,
    ) -> Conflict {
        let keys = self.claims.footprint(&about.request);
        let certain = self.is_certain(revision, about, answer);
        if !self.tells {
            return Conflict { revision, keys, certain, finding: None };
        }
        let expected = match expected {
            Ok(applied) => words::body(&applied.body),
            Err(error) => error.to_string(),
        };
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
            let Some(writer) = self.operations.get(writer as usize).copied() else { continue };
            let between = overlap_any(&self.claims.footprint(&writer.request), &keys);
            if others.len() < 8 && (between || concerned.contains(&at)) && !std::ptr::eq(writer, about) {
                others.push(writer);
            }
            if others.len() == 8 {
                break;
            }
        }
        Conflict { revision, keys, certain, finding: Some(violation(about, summary, others.into_iter())) }
    }

    /// Whether writes whose place is certain contradict the answer, whatever was chosen elsewhere: something it shows
    /// was overwritten by one of them, or is not what one of them wrote; or what one of them wrote is not shown.
    fn is_certain(&self, revision: Revision, about: &Operation, answer: &ResponseBody) -> bool {
        let at = match (&about.request, role(about)) {
            (Request::Range(_), Role::Read(_)) => revision,
            (Request::Put(_), Role::Write(_)) => revision - 1,
            _ => return false,
        };
        let mut contradicted = false;
        each_kv(answer, &mut |kv| {
            contradicted |= self.store.versions(&kv.key).iter().any(|record| {
                let later = record.mod_revision > kv.mod_revision && record.mod_revision <= at;
                later && self.surely_wrote(record.mod_revision, &kv.key)
            });
            let writer = usize::try_from(kv.mod_revision).ok().and_then(|of| self.claims.writers.get(of));
            if let Some(Request::Put(put)) =
                writer.and_then(|writer| self.operations.get(*writer as usize)).map(|writer| &writer.request)
            {
                contradicted |= put.key != kv.key || (!kv.value.is_empty() && put.value != kv.value);
            }
        });
        let (Request::Range(range), ResponseBody::Range { kvs, .. }) = (&about.request, answer) else {
            return contradicted;
        };
        if range.range.end != RangeEnd::Single || range.count_only || !kvs.is_empty() {
            return contradicted;
        }
        // The key is said not to be there: it must have been deleted since the last certain put.
        let known = self.store.versions(&range.range.start).iter().rfind(|record| record.mod_revision <= at);
        contradicted
            || known.is_some_and(|record| {
                let wrote = record.mod_revision;
                !record.is_tombstone()
                    && self.surely_wrote(wrote, &range.range.start)
                    && self.choices.last().is_none_or(|choice| choice.revision < wrote)
            })
    }

    /// Whether the operation that claims the revision changed the key then, in whatever state it found.
    fn surely_wrote(&self, revision: Revision, key: &Key) -> bool {
        let claimed = self.claims.writers.get(place(revision)).filter(|writer| **writer != NOBODY);
        let writer = claimed.or_else(|| self.evidence.settled.get(&revision));
        let writer = writer.and_then(|writer| self.operations.get(*writer as usize));
        let Some(writer) = writer else { return false };
        match (&writer.request, &writer.outcome) {
            (Request::Put(put), _) => put.key == *key,
            (Request::DeleteRange(delete), _) => delete.range == KeyRange::single(key.clone()),
            // An answered transaction says which of its branches ran.
            (Request::Txn(txn), Outcome::Ok { response, .. }) => {
                let succeeded = matches!(response.body, ResponseBody::Txn { succeeded: true, .. });
                let branch = if succeeded { &txn.success } else { &txn.failure };
                branch.iter().any(|op| matches!(op, RequestOp::Put(put) if put.key == *key))
            }
            _ => false,
        }
    }

    /// The writes around a revision.
    fn near(&self, revision: Revision) -> Vec<&Operation> {
        (revision - 2..=revision + 2)
            .filter_map(|at| self.writers.get(usize::try_from(at).ok()?))
            .filter_map(|writer| self.operations.get(*writer as usize).copied())
            .collect()
    }

    fn undecided(&mut self, first: Revision, last: Revision) -> Trouble {
        self.store.rollback(first - 1);
        let inside = |revision: Revision| revision >= first && revision <= last;
        let calls_end = self.claims.known_at.get(place(last)).copied().unwrap_or(u64::MAX);
        let operations = (0..self.operations.len())
            .filter(|number| match role(self.operations[*number]) {
                Role::Write(revision) | Role::Read(revision) | Role::Revoke(revision) => inside(revision),
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
                self.lost.get_or_insert(revision);
                self.store.skip();
            }
            revision += 1;
        }
    }

    fn doubts(&self) -> Doubts {
        let choices = self.choices.iter();
        let choices = choices.map(|it| (it.revision, self.candidates.keys(it.called), it.doubtful));
        Doubts::of(choices, self.lost, self.operations, self.claims)
    }
}
