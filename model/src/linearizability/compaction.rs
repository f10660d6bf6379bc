//! Compactions: they take no revision, so they are held against reads by real time and by the revisions around them.
//!
//! A compaction surely comes before a read when it was answered before the read was called, or at a lower revision.
//! It may come before a read when it was called before the read ended.

use detcd_replica::api::{Error, Request, RequestOp, ResponseBody, Revision, TxnRequest};
use detcd_replica::history::{Finding, Moment, Operation, Outcome};

use super::{end, role, violation, words, Role};

/// What was compacted, for questions about moments.
pub(crate) struct Compactions {
    /// By the moment of the call, the highest revision that anyone had asked to compact.
    asked: Vec<(Moment, Revision)>,
    /// By the moment of the answer, the highest revision surely compacted, and who did.
    done: Vec<(Moment, Revision, u32)>,
    /// By the revision of the answer, likewise.
    done_at: Vec<(Revision, Revision, u32)>,
}

impl Compactions {
    pub(crate) fn of(operations: &[&Operation]) -> Self {
        let mut asked = Vec::new();
        let mut done = Vec::new();
        let mut done_at = Vec::new();
        for (number, operation) in (0u32..).zip(operations) {
            let Request::Compact(compact) = &operation.request else { continue };
            match &operation.outcome {
                Outcome::Ok { at, response } => {
                    asked.push((operation.call, compact.revision));
                    done.push((*at, compact.revision, number));
                    done_at.push((response.header.revision, compact.revision, number));
                }
                Outcome::Unknown { .. } => asked.push((operation.call, compact.revision)),
                Outcome::Failed { .. } => {}
            }
        }
        asked.sort_unstable();
        for i in 1..asked.len() {
            asked[i].1 = asked[i].1.max(asked[i - 1].1);
        }
        highest_so_far(&mut done);
        highest_so_far(&mut done_at);
        Self { asked, done, done_at }
    }

    /// The highest revision that may have been compacted before a moment; -1 when none.
    pub(crate) fn possible(&self, before: Moment) -> Revision {
        let known = self.asked.partition_point(|(call, _)| *call < before);
        known.checked_sub(1).map_or(-1, |last| self.asked[last].1)
    }

    /// The highest revision that surely was compacted before something called at `call`, and by whom.
    fn certain(&self, call: Moment) -> Option<(Revision, u32)> {
        let known = self.done.partition_point(|(at, _, _)| *at < call);
        known.checked_sub(1).map(|last| (self.done[last].1, self.done[last].2))
    }

    /// The highest revision that surely was compacted before the store got to `header`, and by whom.
    fn certain_below(&self, header: Revision) -> Option<(Revision, u32)> {
        let known = self.done_at.partition_point(|(at, _, _)| *at < header);
        known.checked_sub(1).map(|last| (self.done_at[last].1, self.done_at[last].2))
    }
}

/// Sorts, and lets each entry carry the highest revision up to it.
fn highest_so_far<T: Ord>(list: &mut [(T, Revision, u32)]) {
    list.sort_unstable();
    for i in 1..list.len() {
        if list[i - 1].1 > list[i].1 {
            (list[i].1, list[i].2) = (list[i - 1].1, list[i - 1].2);
        }
    }
}

/// Every answer that depends on what was compacted.
pub(super) fn check(operations: &[&Operation]) -> Option<Finding> {
    let compactions = Compactions::of(operations);
    newest_shown(operations).or_else(|| {
        twice(operations).or_else(|| {
            operations.iter().find_map(|operation| match &operation.outcome {
                Outcome::Failed { at, error: Error::Compacted } => {
                    explain_refusal(operations, &compactions, operation, *at)
                }
                Outcome::Ok { response, .. } => {
                    let header = response.header.revision;
                    let needed = needed(operation, &response.body)?;
                    explain_answer(operations, &compactions, operation, needed, header)
                }
                _ => None,
            })
        })
    })
}

/// "Compacted" must have a compaction that could be why.
fn explain_refusal(
    operations: &[&Operation],
    compactions: &Compactions,
    about: &Operation,
    at: Moment,
) -> Option<Finding> {
    // A read is refused below the compaction revision; a compaction at it, too.
    let lowest = match &about.request {
        Request::Range(range) => range.revision,
        Request::Txn(txn) => lowest(txn)?,
        Request::Compact(compact) => compact.revision.saturating_sub(1),
        _ => return None,
    };
    if lowest < compactions.possible(at) {
        return None;
    }
    let summary =
        format!("`{}` was refused as compacted, but nobody had compacted that", words::request(&about.request));
    let others = operations.iter().copied().filter(|other| {
        matches!(other.request, Request::Compact(_)) && matches!(other.outcome, Outcome::Ok { .. }) && other.call < at
    });
    Some(violation(about, summary, others.take(4)))
}

/// An answer must not need what surely was compacted before.
fn explain_answer(
    operations: &[&Operation],
    compactions: &Compactions,
    about: &Operation,
    needed: Revision,
    header: Revision,
) -> Option<Finding> {
    // Only a member that was asked for the cluster's state is held to the cluster's compactions.
    let linearizable = !matches!(role(about), Role::Serializable(_));
    let by_time = compactions.certain(about.call).filter(|_| linearizable);
    // A compaction's own answer may be of a later revision than its place.
    let by_revision = match role(about) {
        Role::Compaction(_) => None,
        _ => compactions.certain_below(header),
    };
    let (compacted, by) = by_time.into_iter().chain(by_revision).find(|(compacted, _)| needed < *compacted)?;
    let compaction = operations[by as usize];
    let summary = format!(
        "`{}` was answered, but `{}` had compacted revision {compacted} before",
        words::request(&about.request),
        words::request(&compaction.request)
    );
    Some(violation(about, summary, [compaction].into_iter()))
}

/// The lowest revision whose history the answer needs.
fn needed(operation: &Operation, body: &ResponseBody) -> Option<Revision> {
    match (&operation.request, body) {
        (Request::Range(range), _) if range.revision > 0 => Some(range.revision),
        (Request::Txn(txn), ResponseBody::Txn { succeeded, responses }) => lowest_of(txn, *succeeded, responses),
        // A compaction is refused at the compaction revision, not only below.
        (Request::Compact(compact), _) => Some(compact.revision.saturating_sub(1)),
        _ => None,
    }
}

fn lowest_of(txn: &TxnRequest, succeeded: bool, responses: &[ResponseBody]) -> Option<Revision> {
    let branch = if succeeded { &txn.success } else { &txn.failure };
    branch
        .iter()
        .zip(responses)
        .filter_map(|(op, response)| match (op, response) {
            (RequestOp::Range(range), _) if range.revision > 0 => Some(range.revision),
            (RequestOp::Txn(inner), ResponseBody::Txn { succeeded, responses }) => {
                lowest_of(inner, *succeeded, responses)
            }
            _ => None,
        })
        .min()
}

/// The lowest revision that any branch reads.
fn lowest(txn: &TxnRequest) -> Option<Revision> {
    txn.success
        .iter()
        .chain(&txn.failure)
        .filter_map(|op| match op {
            RequestOp::Range(range) if range.revision > 0 => Some(range.revision),
            RequestOp::Txn(inner) => lowest(inner),
            _ => None,
        })
        .min()
}

/// One revision is compacted once; and a compaction cannot be of a revision above the store's.
fn twice(operations: &[&Operation]) -> Option<Finding> {
    let mut done: Vec<(Revision, u32)> = Vec::new();
    for (number, operation) in (0u32..).zip(operations) {
        let (Request::Compact(compact), Outcome::Ok { response, .. }) = (&operation.request, &operation.outcome) else {
            continue;
        };
        if compact.revision > response.header.revision {
            let summary = format!(
                "revision {} was compacted, but the store was at {}",
                compact.revision, response.header.revision
            );
            return Some(violation(operation, summary, [].into_iter()));
        }
        done.push((compact.revision, number));
    }
    done.sort_unstable();
    done.windows(2).find(|pair| pair[0].0 == pair[1].0).map(|pair| {
        let (first, second) = (operations[pair[0].1 as usize], operations[pair[1].1 as usize]);
        violation(second, format!("revision {} was compacted twice", pair[0].0), [first].into_iter())
    })
}

/// "Future revision" must not be said of a revision that someone had already been shown.
fn newest_shown(operations: &[&Operation]) -> Option<Finding> {
    let refused: Vec<(&Operation, Revision)> = operations
        .iter()
        .copied()
        .filter(|operation| matches!(operation.outcome, Outcome::Failed { error: Error::FutureRevision, .. }))
        .filter_map(|operation| match &operation.request {
            Request::Range(range) if !range.serializable => Some((operation, range.revision)),
            Request::Compact(compact) => Some((operation, compact.revision)),
            _ => None,
        })
        .collect();
    if refused.is_empty() {
        return None;
    }
    let mut answers: Vec<(Moment, Revision, u32)> = (0u32..)
        .zip(operations)
        .filter_map(|(number, operation)| match role(operation) {
            Role::Write(revision) | Role::Read(revision) | Role::Compaction(revision) | Role::Revoke(revision) => {
                Some((end(operation), revision, number))
            }
            _ => None,
        })
        .collect();
    highest_so_far(&mut answers);
    refused.into_iter().find_map(|(about, asked)| {
        let known = answers.partition_point(|(at, _, _)| *at < about.call);
        let (_, shown, by) = answers[known.checked_sub(1)?];
        (shown >= asked).then(|| {
            let summary = format!(
                "`{}` was refused as of a future revision, but revision {shown} had been shown before",
                words::request(&about.request)
            );
            violation(about, summary, [operations[by as usize]].into_iter())
        })
    })
}
