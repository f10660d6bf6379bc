//! How the findings read: one sentence in etcd's words, then the facts.

use detcd_replica::history::{Finding, Moment, Side};
use detcd_replica::{MemberId, View};

use super::commits::Conflict;
use super::states::State;

pub(super) fn equal_states(
    at: Moment,
    member: MemberId,
    index: u64,
    state: State,
    other: State,
) -> Result<(), Finding> {
    if state == other {
        return Ok(());
    }
    let summary = format!("{member} has another state at applied index {index} than the member that was there first");
    let show = |(hash, revision): State| format!("revision {revision}, state hash {hash:016x}");
    Err(finding("M1", at, summary, vec![format!("{member}: {}", show(state)), format!("first: {}", show(other))]))
}

pub(super) fn commit_conflict(at: Moment, view: &View<'_>, conflict: Conflict) -> Finding {
    let Conflict { index, committed, found } = conflict;
    let summary = format!("{}'s log contradicts the committed entry at index {index}", view.member);
    let found = found.map_or("nothing".to_owned(), |term| format!("term {term}"));
    let details = vec![
        format!("committed: term {committed}; in the log: {found}"),
        format!("commit index {}, term {}", view.commit, view.term),
    ];
    finding("R4", at, summary, details)
}

pub(super) fn incomplete_leader(at: Moment, member: MemberId, term: u64, conflict: Conflict) -> Finding {
    let Conflict { index, committed, found } = conflict;
    let summary = format!("{member} leads in term {term} without the committed entry at index {index}");
    let found = found.map_or("nothing".to_owned(), |term| format!("term {term}"));
    finding("R3", at, summary, vec![format!("committed: term {committed}; in its log: {found}")])
}

pub(super) fn finding(check: &'static str, at: Moment, summary: String, details: Vec<String>) -> Finding {
    Finding { check, side: Side::WhiteBox, at, summary, details }
}
