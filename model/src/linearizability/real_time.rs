//! Real time: what was asked after an answer arrived must come after it in the order of revisions.

use detcd_replica::api::Revision;
use detcd_replica::history::{Finding, Moment, Operation};

use super::{end, role, violation, words, Role, NOBODY};

/// Sweeps calls and answers in the order of moments. `writers` has the places of writes without an answer, too.
pub(super) fn check(operations: &[&Operation], writers: &[u32]) -> Option<Finding> {
    // (call, revision, whether the revision is its own, operation)
    let mut calls: Vec<(Moment, Revision, bool, u32)> = Vec::with_capacity(operations.len());
    let mut answers: Vec<(Moment, Revision, u32)> = Vec::with_capacity(operations.len());
    for (place, operation) in operations.iter().enumerate() {
        let number = u32::try_from(place).expect("fewer than 2^32 operations");
        let (revision, own) = match role(operation) {
            Role::Write(revision) => (revision, true),
            Role::Read(revision) | Role::Compaction(revision) | Role::Revoke(revision) => (revision, false),
            Role::Serializable(_) | Role::Unknown | Role::Nothing => continue,
        };
        calls.push((operation.call, revision, own, number));
        answers.push((end(operation), revision, number));
    }
    for (revision, writer) in (0..).zip(writers) {
        let found = *writer != NOBODY && matches!(role(operations[*writer as usize]), Role::Unknown | Role::Revoke(_));
        if found {
            calls.push((operations[*writer as usize].call, revision, true, *writer));
        }
    }
    calls.sort_unstable();
    answers.sort_unstable();
    let mut newest: Option<(Revision, u32)> = None;
    let mut answered = answers.into_iter().peekable();
    for (call, revision, own, number) in calls {
        while let Some((_, known, by)) = answered.next_if(|(at, _, _)| *at < call) {
            if newest.is_none_or(|(newest, _)| known > newest) {
                newest = Some((known, by));
            }
        }
        let Some((known, by)) = newest else { continue };
        if known < revision || (known == revision && !own) {
            continue;
        }
        let (operation, earlier) = (operations[number as usize], operations[by as usize]);
        let what = if own { "took effect at" } else { "shows" };
        let summary = format!(
            "`{}`, called at {call}, {what} revision {revision}, but `{}` had shown revision {known} by {}",
            words::request(&operation.request),
            words::request(&earlier.request),
            end(earlier),
        );
        return Some(violation(operation, summary, [earlier].into_iter()));
    }
    None
}
