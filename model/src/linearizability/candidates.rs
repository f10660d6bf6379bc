//! Who may have made a revision that nobody claims: the writes without an answer, in the order of their calls.
//!
//! There can be many thousands that never took effect, each a candidate for ever after its call, so a revision's
//! candidates are found by a scan that costs a few instructions each, and never listed.

use std::collections::{BTreeMap, BTreeSet};

use detcd_replica::api::{Key, KeyRange, RangeEnd, Request, Revision};
use detcd_replica::history::{Operation, Outcome};

use super::claims::Claims;
use super::evidence::{each_kv, Evidence, Mark};
use super::{role, Role};
use crate::spec::KeyMap;

/// What a candidate does, as far as it can be told without a state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Puts the one key of this number.
    Put(u32),
    /// Deletes the one key of this number.
    Delete(u32),
    /// Anything more.
    Other,
}

/// All of them, by their places in [`Claims::unknown`].
pub(super) struct Candidates {
    kinds: Vec<Kind>,
    /// The keys that it may touch.
    footprints: Vec<Vec<KeyRange>>,
    /// The only revision that it can have, where its answer names that.
    only: Vec<Option<Revision>>,
    /// Whether it has a place already, by evidence or by choice.
    placed: Vec<bool>,
    /// Every range of keys that one of them may touch, in order of first mention; how many the first n of them mention.
    keys: Vec<KeyRange>,
    mentioned: Vec<usize>,
    /// By number of a key: whether it was quiet at a revision, as last looked up.
    looked_up: Vec<(Revision, bool)>,
    numbered: Vec<Key>,
    quiet: Option<Quiet>,
}

impl Candidates {
    pub(super) fn of(operations: &[&Operation], claims: &Claims, evidence: &Evidence) -> Self {
        let mut numbers: KeyMap<u32> = KeyMap::default();
        let mut known = BTreeSet::new();
        let mut all = Self {
            kinds: Vec::new(),
            footprints: Vec::new(),
            only: Vec::new(),
            placed: Vec::new(),
            keys: Vec::new(),
            mentioned: vec![0],
            looked_up: Vec::new(),
            numbered: Vec::new(),
            quiet: None,
        };
        for number in &claims.unknown {
            let request = &operations[*number as usize].request;
            let mut key_number = |key: &Key| {
                *numbers.entry(key.clone()).or_insert_with(|| {
                    all.numbered.push(key.clone());
                    all.looked_up.push((0, false));
                    u32::try_from(all.numbered.len() - 1).expect("fewer than 2^32 keys")
                })
            };
            all.kinds.push(match request {
                Request::Put(put) => Kind::Put(key_number(&put.key)),
                Request::DeleteRange(delete) if delete.range.end == RangeEnd::Single => {
                    Kind::Delete(key_number(&delete.range.start))
                }
                _ => Kind::Other,
            });
            let placed = evidence.taken.contains(number);
            all.placed.push(placed);
            all.only.push(match role(operations[*number as usize]) {
                Role::Revoke(revision) => Some(revision),
                _ => None,
            });
            let keys = claims.footprint(request);
            for range in keys.iter().filter(|_| !placed) {
                if known.insert(range.clone()) {
                    all.keys.push(range.clone());
                }
            }
            all.footprints.push(keys);
            all.mentioned.push(all.keys.len());
        }
        all
    }

    /// What the first `called` candidates may read or write.
    pub(super) fn keys(&self, called: usize) -> &[KeyRange] {
        &self.keys[..self.mentioned[called]]
    }

    pub(super) fn kind(&self, place: usize) -> Kind {
        self.kinds[place]
    }

    pub(super) fn place(&mut self, place: usize) {
        self.placed[place] = true;
    }

    pub(super) fn free(&mut self, place: usize) {
        self.placed[place] = false;
    }

    /// Whether the candidate could, in some state, do what was seen of the revision.
    pub(super) fn could_show(&self, place: usize, evidence: &Evidence, revision: Revision) -> bool {
        let Some(marks) = evidence.marks.get(&revision) else { return true };
        marks.iter().all(|mark| {
            let (Mark::Put { key, .. } | Mark::Delete { key }) = mark;
            self.footprints[place].iter().any(|range| range.contains(key))
        })
    }

    /// Whether the candidate has no place yet, and no read says that its key did not change at the revision.
    pub(super) fn may_be(&mut self, operations: &[&Operation], place: usize, revision: Revision) -> bool {
        if self.placed[place] || self.only[place].is_some_and(|only| only != revision) {
            return false;
        }
        let (Kind::Put(key) | Kind::Delete(key)) = self.kinds[place] else { return true };
        let (at, quiet) = self.looked_up[key as usize];
        if at == revision {
            return !quiet;
        }
        let known = self.quiet.get_or_insert_with(|| Quiet::of(operations));
        let quiet = known.at(&self.numbered[key as usize], revision);
        self.looked_up[key as usize] = (revision, quiet);
        !quiet
    }
}

/// When keys are known not to have changed: a read at revision p that shows a key as of m says so of m+1..=p.
struct Quiet {
    /// By key, (m, the highest p of this m or a lower one), in order of m.
    keys: KeyMap<Vec<(Revision, Revision)>>,
}

impl Quiet {
    fn of(operations: &[&Operation]) -> Self {
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

    /// Whether the key surely did not change at a revision.
    fn at(&self, key: &Key, revision: Revision) -> bool {
        let Some(spans) = self.keys.get(key) else { return false };
        let before = spans.partition_point(|(from, _)| *from < revision);
        before.checked_sub(1).is_some_and(|last| spans[last].1 >= revision)
    }
}
