//! C2: under a lock nothing is written over that its writer has not read.
//!
//! Values of the form `mine<theirs` say so: the write is called `mine`, and its writer had read the one called `theirs`
//! (nothing, when the key was not there). Names are those of detcd's clients, `c3-17`. Where every writer holds a lock
//! while it reads and writes, each value names the one before it. A lock of etcd's alone does not bring that about: who
//! holds it may have lost it without knowing (etcd's documentation of `concurrency`, and Kleppmann's "How to do
//! distributed locking"). A write that compares the lock key's creation does.

use detcd_replica::api::Revision;
use detcd_replica::history::{Finding, History};

use crate::linearizability::{finding, words, Truth};

/// The name of the check.
pub(crate) const CHECK: &str = "C2";

/// Whether this is the name of a write, `c3-17`.
pub(crate) fn is_name(text: &[u8]) -> bool {
    let Some(rest) = text.strip_prefix(b"c") else { return false };
    let mut parts = rest.split(|byte| *byte == b'-');
    let mut number = || parts.next().is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit));
    number() && number() && parts.next().is_none()
}

/// The two names in a guarded value. The second may be empty.
fn names(value: &[u8]) -> Option<(&[u8], &[u8])> {
    // Most values are none, and long: the first byte that no name has says so.
    let at = value.iter().position(|byte| !matches!(byte, b'c' | b'-' | b'0'..=b'9'))?;
    if value[at] != b'<' {
        return None;
    }
    let (mine, theirs) = (&value[..at], &value[at + 1..]);
    (is_name(mine) && (theirs.is_empty() || is_name(theirs))).then_some((mine, theirs))
}

/// Holds every guarded value against the one before it.
pub(crate) fn check(history: &History, truth: &Truth) -> Option<Finding> {
    let store = &truth.store;
    let writer = |revision: Revision| {
        let number = *truth.writers.get(usize::try_from(revision).ok()?)?;
        history.operations.get(number as usize)
    };
    store.changes(1, store.revision()).iter().find_map(|change| {
        let (key, record, before) = store.change(change);
        let (mine, theirs) = names(&record.value)?;
        // What is compacted away is no evidence.
        if before.is_none() && record.create_revision != record.mod_revision {
            return None;
        }
        let last = before.map_or(&b""[..], |before| names(&before.value).map_or(&before.value[..], |(name, _)| name));
        let doubtful = |revision| truth.doubts.about(key, revision);
        let at = before.map_or(record.mod_revision, |before| before.mod_revision);
        if last == theirs || doubtful(record.mod_revision) || doubtful(at) {
            return None;
        }
        let about = writer(record.mod_revision)?;
        let text = |name: &[u8]| if name.is_empty() { "nothing".to_owned() } else { words::text(name) };
        let summary = format!(
            "two clients wrote {} under one lock: {} had read {}, and wrote over {}",
            words::text(key),
            text(mine),
            text(theirs),
            text(last)
        );
        Some(finding(CHECK, about, summary, before.and_then(|before| writer(before.mod_revision)).into_iter()))
    })
}

#[cfg(test)]
mod tests {
    use detcd_replica::api::{Header, PutRequest, Request, Response, ResponseBody};
    use detcd_replica::history::{Operation, Outcome};
    use detcd_replica::MemberId;

    use super::*;
    use crate::linearizability::examine;

    fn found(values: &[&'static str]) -> bool {
        let operations = values.iter().zip(0u64..).map(|(value, number)| {
            let header = Header { member: MemberId(1), revision: number as i64 + 2, raft_term: 1 };
            let response = Response { header, body: ResponseBody::Put { prev_kv: None } };
            let outcome = Outcome::Ok { at: number * 10 + 5, response };
            let request = Request::Put(PutRequest::of("guarded", *value));
            let (member, user) = (MemberId(1), String::new());
            Operation { client: 1, member, user, call: number * 10, request, outcome }
        });
        let history = History { operations: operations.collect(), watches: Vec::new() };
        let (_, truth) = examine(&history, 1_000);
        check(&history, &truth).is_some()
    }

    #[test]
    fn each_value_names_the_one_before_it() {
        assert!(!found(&["c1-1<", "c2-1<c1-1", "c1-2<c2-1"]));
        assert!(found(&["c1-1<", "c2-1<c1-1", "c3-1<c1-1"]));
        assert!(found(&["c1-1<", "c2-1<"]));
        // Values of other kinds claim nothing.
        assert!(!found(&["a<b", "c<d", "c1-1", "c1-2"]));
    }

    #[test]
    fn names_are_those_of_clients() {
        for (text, is) in [("c3-17", true), ("c-1", false), ("c1-", false), ("c1-2-3", false), ("x1-2", false)] {
            assert_eq!(is_name(text.as_bytes()), is, "{text}");
        }
        assert_eq!(names(b"c1-2<"), Some((&b"c1-2"[..], &b""[..])));
        assert_eq!(names(b"c1-2<c3-4"), Some((&b"c1-2"[..], &b"c3-4"[..])));
    }
}
