//! Serializable reads: a member answers from its own state, which may lag, but was once everyone's and is not to come.

use detcd_replica::api::{Request, Revision};
use detcd_replica::history::{Finding, History, Operation, Outcome};

use crate::linearizability::{end, finding, role, words, Role, Truth};
use crate::spec::Store;

/// The name of the check.
pub(crate) const CHECK: &str = "serializable";

/// Holds every serializable read against the state at the revision it shows.
pub(crate) fn check(history: &History, truth: &Truth) -> Option<Finding> {
    let mut reads: Vec<(Revision, Revision, &Operation)> = history
        .operations
        .iter()
        .filter_map(|operation| match role(operation) {
            Role::Serializable(header) => Some((shown(operation, header), header, operation)),
            _ => None,
        })
        .collect();
    if reads.is_empty() {
        return None;
    }
    reads.sort_by_key(|(shown, _, operation)| (*shown, operation.call));
    let mut store = Store::new();
    let refuse = |operation: &Operation, summary: String, other: Option<&Operation>| {
        Some(finding(CHECK, operation, summary, other.into_iter()))
    };
    for (shown, header, operation) in reads {
        let Outcome::Ok { response, .. } = &operation.outcome else { continue };
        let asked = words::request(&operation.request);
        if header < 1 || header > truth.store.revision() || shown > header {
            let newest = truth.store.revision();
            let summary = format!("`{asked}` was answered as of revision {header}, but the newest ever was {newest}");
            return refuse(operation, summary, None);
        }
        let writer = usize::try_from(header).ok().and_then(|header| truth.writers.get(header));
        let writer = writer.and_then(|writer| history.operations.get(*writer as usize));
        // A writer that was only found by search may be another one; an answered one is certain.
        if let Some(writer) = writer.filter(|w| matches!(role(w), Role::Write(_)) && w.call > end(operation)) {
            let summary = format!("`{asked}` shows revision {header}, whose write had not been asked for yet");
            return refuse(operation, summary, Some(writer));
        }
        while store.revision() < shown {
            store.follow(&truth.store);
        }
        let expected = store.apply(&operation.request);
        if matches!(&expected, Ok(applied) if applied.body == response.body) || truth.doubts.at(shown) {
            continue;
        }
        let expected = expected.map_or_else(|error| error.to_string(), |applied| words::body(&applied.body));
        let answer = words::body(&response.body);
        let summary = format!("`{asked}` at revision {shown} answered {answer}, where etcd answers {expected}");
        return refuse(operation, summary, writer);
    }
    None
}

fn shown(operation: &Operation, header: Revision) -> Revision {
    match &operation.request {
        Request::Range(range) if range.revision > 0 => range.revision,
        _ => header,
    }
}
