//! C2, for elections: only the leader proclaims, and observers see leaders in their order.
//!
//! A candidate's key has the value `runs c1-2`, and the leader is the oldest candidate of its election: of the keys
//! with the same prefix up to the last `/`. A value `leads c1-3` is a proclamation, and may only be put where the
//! leader's key was (etcd's `concurrency.Election`: proclaim compares the creation of the key). Who asks for the oldest
//! key observes: what was created later leads later, so that no observer may be shown an older leader than one whom
//! another had been shown before.

use std::collections::BTreeMap;

use detcd_replica::api::{Key, KeyValue, Request, ResponseBody, Revision, SortOrder, SortTarget};
use detcd_replica::history::{Finding, History, Moment, Operation, Outcome};

use crate::linearizability::{end, finding, words, Truth};
use crate::locks::{is_name, CHECK};

/// The candidate's or leader's own name for what it says.
fn said<'v>(value: &'v [u8], verb: &[u8]) -> Option<&'v [u8]> {
    value.strip_prefix(verb).filter(|name| is_name(name))
}

/// The election that a key belongs to.
fn election(key: &[u8]) -> &[u8] {
    key.iter().rposition(|byte| *byte == b'/').map_or(&[], |slash| &key[..=slash])
}

/// Holds every proclamation and every observation against who led.
pub(crate) fn check(history: &History, truth: &Truth) -> Option<Finding> {
    proclaimed(history, truth).or_else(|| observed(history))
}

fn proclaimed(history: &History, truth: &Truth) -> Option<Finding> {
    let store = &truth.store;
    let writer = |revision: Revision| {
        let number = *truth.writers.get(usize::try_from(revision).ok()?)?;
        history.operations.get(number as usize)
    };
    // The keys of each election that are there, by their creation.
    let mut candidates: BTreeMap<Key, BTreeMap<Revision, Key>> = BTreeMap::new();
    for change in store.changes(1, store.revision()) {
        let (key, record, before) = store.change(change);
        let place = election(key);
        if place.is_empty() {
            continue;
        }
        let leads = said(&record.value, b"leads ");
        if leads.is_none() && said(&record.value, b"runs ").is_none() && !candidates.contains_key(place) {
            continue;
        }
        let all = candidates.entry(key.slice(..place.len())).or_default();
        // What is compacted away is no evidence.
        let known = before.is_some() || record.create_revision == record.mod_revision;
        if let Some(name) = leads.filter(|_| known && !truth.doubts.about(key, record.mod_revision)) {
            let older = all.range(..record.create_revision).map(|(_, key)| key);
            let mut certain = older.filter(|older| !truth.doubts.about(older, record.mod_revision));
            let (name, text) = (words::text(name), words::text(key));
            let leader = certain.next();
            let why = match (before, leader) {
                (None, _) => format!("{name} was proclaimed as {text}, which was no candidate's key any more"),
                (_, Some(leader)) => format!("{name} was proclaimed as {text}, while {} led", words::text(leader)),
                (Some(_), None) => String::new(),
            };
            if let Some(about) = writer(record.mod_revision).filter(|_| !why.is_empty()) {
                let others = before.into_iter().filter_map(|before| writer(before.mod_revision));
                return Some(finding(CHECK, about, why, others));
            }
        }
        if let Some(before) = before {
            all.remove(&before.create_revision);
        }
        if !record.is_tombstone() {
            all.insert(record.create_revision, key.clone());
        }
    }
    None
}

/// The leader that an operation has shown.
fn shown(operation: &Operation) -> Option<(&[u8], &KeyValue)> {
    let (Request::Range(range), Outcome::Ok { response, .. }) = (&operation.request, &operation.outcome) else {
        return None;
    };
    let oldest = range.limit == 1 && (range.sort_order, range.sort_target) == (SortOrder::Ascend, SortTarget::Create);
    let newest = !range.serializable && range.revision == 0 && !range.has_revision_filters();
    let ResponseBody::Range { kvs, .. } = &response.body else { return None };
    let leader = kvs.first().filter(|_| oldest && newest && !range.keys_only)?;
    let says = said(&leader.value, b"leads ").or(said(&leader.value, b"runs "));
    says.map(|_| (&range.range.start[..], leader))
}

fn observed(history: &History) -> Option<Finding> {
    let observations: Vec<(&Operation, &[u8], &KeyValue)> = history
        .operations
        .iter()
        .filter_map(|operation| shown(operation).map(|(election, leader)| (operation, election, leader)))
        .collect();
    let mut moments: Vec<(Moment, bool, usize)> = Vec::new();
    for (place, (operation, ..)) in observations.iter().enumerate() {
        moments.extend([(operation.call, false, place), (end(operation), true, place)]);
    }
    moments.sort_unstable();
    // The newest leader of each election that anyone had been shown; at each call, as it was then.
    let mut newest: BTreeMap<&[u8], usize> = BTreeMap::new();
    let mut before: BTreeMap<usize, usize> = BTreeMap::new();
    for (_, ends, place) in moments {
        let (operation, election, leader) = observations[place];
        if !ends {
            before.extend(newest.get(election).map(|other| (place, *other)));
            continue;
        }
        if let Some(other) = before.get(&place) {
            let (earlier, _, last) = observations[*other];
            if leader.create_revision < last.create_revision {
                let summary = format!(
                    "an observer was shown {} as the leader, after {} had been shown, who came later",
                    words::text(&leader.key),
                    words::text(&last.key)
                );
                return Some(finding(CHECK, operation, summary, std::iter::once(earlier)));
            }
        }
        let known = newest.get(election).map_or(Revision::MIN, |known| observations[*known].2.create_revision);
        if leader.create_revision >= known {
            newest.insert(election, place);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use detcd_replica::api::{DeleteRangeRequest, Header, KeyRange, PutRequest, RangeRequest, Response};
    use detcd_replica::MemberId;

    use super::*;
    use crate::linearizability::examine;

    fn operation(number: u64, revision: Revision, request: Request, body: ResponseBody) -> Operation {
        let header = Header { member: MemberId(1), revision, raft_term: 1 };
        let outcome = Outcome::Ok { at: number * 10 + 5, response: Response { header, body } };
        Operation { client: 1, member: MemberId(1), user: String::new(), call: number * 10, request, outcome }
    }

    /// `key=value` puts, `-key` deletes; each is done, one after the other.
    fn found(changes: &[&'static str]) -> Option<String> {
        let operations = changes.iter().zip(0u64..).map(|(change, number)| {
            let revision = number as Revision + 2;
            match change.split_once('=') {
                Some((key, value)) => {
                    let put = Request::Put(PutRequest::of(key, value));
                    operation(number, revision, put, ResponseBody::Put { prev_kv: None })
                }
                None => {
                    let range = KeyRange::single(change.trim_start_matches('-'));
                    let delete = Request::DeleteRange(DeleteRangeRequest { range, prev_kv: false });
                    operation(number, revision, delete, ResponseBody::DeleteRange { deleted: 1, prev_kvs: Vec::new() })
                }
            }
        });
        let history = History { operations: operations.collect(), watches: Vec::new() };
        let (_, truth) = examine(&history, 1_000);
        check(&history, &truth).map(|finding| finding.summary)
    }

    #[test]
    fn only_the_leader_proclaims() {
        let good = ["e/1=runs c1-1", "e/2=runs c2-1", "e/1=leads c1-2", "-e/1", "e/2=leads c2-2", "f/9=runs c3-1"];
        assert_eq!(found(&good), None);
        let early = ["e/1=runs c1-1", "e/2=runs c2-1", "e/2=leads c2-2"];
        assert_eq!(found(&early).as_deref(), Some("c2-2 was proclaimed as e/2, while e/1 led"));
        let late = ["e/1=runs c1-1", "e/1=leads c1-2", "-e/1", "e/1=leads c1-3"];
        assert_eq!(found(&late).as_deref(), Some("c1-3 was proclaimed as e/1, which was no candidate's key any more"));
        // Another election is another queue, and other values are no proclamations.
        assert_eq!(found(&["e/1=runs c1-1", "f/2=runs c2-1", "f/2=leads c2-2", "g/1=leads nobody"]), None);
    }

    #[test]
    fn observers_see_leaders_in_their_order() {
        let seen = |rows: &[(u64, &'static str, Revision)]| {
            let operations = rows.iter().map(|(number, key, create_revision)| {
                let mut range = RangeRequest::of(KeyRange::prefix("e/"));
                (range.limit, range.sort_order, range.sort_target) = (1, SortOrder::Ascend, SortTarget::Create);
                let (key, value) = (Key::from(*key), Key::from("runs c1-1"));
                let (create_revision, mod_revision) = (*create_revision, *create_revision);
                let kv = KeyValue { key, create_revision, mod_revision, version: 1, value, lease: 0 };
                operation(
                    *number,
                    9,
                    Request::Range(range),
                    ResponseBody::Range { kvs: vec![kv], more: false, count: 1 },
                )
            });
            observed(&History { operations: operations.collect(), watches: Vec::new() }).is_some()
        };
        assert!(!seen(&[(1, "e/1", 3), (2, "e/1", 3), (3, "e/2", 5)]));
        assert!(seen(&[(1, "e/1", 3), (2, "e/2", 5), (3, "e/1", 3)]));
        // At the same time.
        assert!(!seen(&[(2, "e/2", 5), (2, "e/1", 3)]));
    }
}
