//! What the answers claim: which revision is whose, and where each read belongs.

use std::collections::{BTreeMap, BTreeSet};

use detcd_replica::api::{Key, KeyRange, LeaseId, Request, RequestOp, ResponseBody, Revision, TxnRequest};
use detcd_replica::history::{Finding, Moment, Operation, Outcome};

use super::{violation, words, NOBODY};
use crate::leases::each_attachment;
use crate::spec::footprint;

/// What an operation is to the order of revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It changed something, and the revision is its own.
    Write(Revision),
    /// It changed nothing, when the store was at this revision.
    Read(Revision),
    /// It was answered by one member alone, which was at this revision.
    Serializable(Revision),
    /// It compacted history, when the store was at this revision or had not yet reached it.
    Compaction(Revision),
    /// It revoked a lease, when the store was at this revision; which is its own if that took keys along.
    Revoke(Revision),
    /// It has no answer and may change something.
    Unknown,
    /// It says nothing about revisions.
    Nothing,
}

/// The role of an operation.
pub(crate) fn role(operation: &Operation) -> Role {
    match &operation.outcome {
        Outcome::Failed { .. } => Role::Nothing,
        Outcome::Unknown { .. } if may_write(&operation.request) => Role::Unknown,
        Outcome::Unknown { .. } => Role::Nothing,
        Outcome::Ok { response, .. } => {
            let revision = response.header.revision;
            match &operation.request {
                Request::Range(range) if range.serializable => Role::Serializable(revision),
                Request::Range(_) => Role::Read(revision),
                Request::Put(_) => Role::Write(revision),
                Request::DeleteRange(_) | Request::Txn(_) if changed(&response.body) => Role::Write(revision),
                Request::DeleteRange(_) => Role::Read(revision),
                Request::Txn(txn) if is_serializable(txn) => Role::Serializable(revision),
                Request::Txn(_) => Role::Read(revision),
                Request::Compact(_) => Role::Compaction(revision),
                Request::LeaseRevoke { .. } => Role::Revoke(revision),
                _ => Role::Nothing,
            }
        }
    }
}

/// A transaction of serializable reads only is itself a serializable read.
fn is_serializable(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| matches!(op, RequestOp::Range(range) if range.serializable))
}

fn changed(body: &ResponseBody) -> bool {
    match body {
        ResponseBody::Put { .. } => true,
        ResponseBody::DeleteRange { deleted, .. } => *deleted > 0,
        ResponseBody::Txn { responses, .. } => responses.iter().any(changed),
        _ => false,
    }
}

/// Whether the request may change keys.
pub(crate) fn may_write(request: &Request) -> bool {
    fn writes(op: &RequestOp) -> bool {
        match op {
            RequestOp::Range(_) => false,
            RequestOp::Put(_) | RequestOp::DeleteRange(_) => true,
            RequestOp::Txn(txn) => txn.success.iter().chain(&txn.failure).any(writes),
        }
    }
    match request {
        Request::Put(_) | Request::DeleteRange(_) | Request::LeaseRevoke { .. } => true,
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(writes),
        _ => false,
    }
}

/// Where a read is compared: the state it shows, which for a range at a revision is the state at that.
pub(crate) fn shows(operation: &Operation, header: Revision) -> Revision {
    match &operation.request {
        Request::Range(range) if range.revision > 0 => range.revision,
        _ => header,
    }
}

/// The order that the answers claim.
pub(crate) struct Claims {
    /// The highest revision that an answer names: all up to it were made by someone.
    pub(crate) last: Revision,
    /// By revision, which operation says that it made it.
    pub(crate) writers: Vec<u32>,
    /// The reads, in order of the state they show; those of revision r are from `read_starts[r]` on.
    pub(crate) reads: Vec<u32>,
    pub(crate) read_starts: Vec<u32>,
    /// The writes without an answer, and the revocations, which may have a revision or not; in order of their calls.
    pub(crate) unknown: Vec<u32>,
    /// The keys that anyone wanted to attach each lease to.
    leases: BTreeMap<LeaseId, Vec<KeyRange>>,
    /// By revision, the earliest moment at which a client had an answer of that revision or a later one.
    pub(crate) known_at: Vec<Moment>,
}

impl Claims {
    /// Every range of keys that the request may read or write.
    pub(crate) fn footprint(&self, request: &Request) -> Vec<KeyRange> {
        match request {
            Request::LeaseRevoke { id } => self.leases.get(id).cloned().unwrap_or_default(),
            _ => footprint(request),
        }
    }

    /// The reads that show the state at a revision.
    pub(crate) fn reads_at(&self, revision: Revision) -> &[u32] {
        let r = usize::try_from(revision).expect("revisions are positive");
        match (self.read_starts.get(r), self.read_starts.get(r + 1)) {
            (Some(from), Some(to)) => &self.reads[*from as usize..*to as usize],
            _ => &[],
        }
    }
}

/// Reads the claims off the answers. An answer that cannot be right by itself is a finding, and is left aside.
pub(crate) fn gather(operations: &[&Operation]) -> (Claims, Vec<Finding>) {
    let mut findings = Vec::new();
    let roles: Vec<Role> = operations.iter().copied().map(role).collect();
    // Each revision above 1 needs a write of its own, so that there cannot be more.
    let writes = roles.iter().filter(|role| matches!(role, Role::Write(_) | Role::Revoke(_) | Role::Unknown)).count();
    let limit = 1 + Revision::try_from(writes).expect("a history fits in memory");
    let mut last = 1;
    let mut legal = vec![true; operations.len()];
    for (place, role) in roles.iter().enumerate() {
        let (revision, least) = match role {
            Role::Write(revision) => (*revision, 2),
            Role::Read(revision)
            | Role::Serializable(revision)
            | Role::Compaction(revision)
            | Role::Revoke(revision) => (*revision, 1),
            Role::Unknown | Role::Nothing => continue,
        };
        let operation = operations[place];
        if matches!(role, Role::Serializable(_)) {
            // It is held against the order, and is no part of it.
            continue;
        }
        let problem = if revision < least || revision > limit {
            Some(format!("the answer is of revision {revision}, but at most {} writes were ever asked for", limit - 1))
        } else if shows(operation, revision) > revision {
            Some(format!("a future revision was read: the store was at {revision}"))
        } else {
            None
        };
        match problem {
            Some(problem) => {
                findings.push(violation(operation, problem, [].into_iter()));
                legal[place] = false;
            }
            None => last = last.max(revision),
        }
    }
    let size = usize::try_from(last).expect("revisions are positive") + 1;
    let mut claims = Claims {
        last,
        writers: vec![NOBODY; size],
        reads: Vec::new(),
        read_starts: vec![0; size + 1],
        unknown: Vec::new(),
        leases: attachments(operations),
        known_at: vec![Moment::MAX; size],
    };
    let index = |revision: Revision| usize::try_from(revision).expect("revisions are positive");
    for (place, role) in roles.iter().enumerate().filter(|(place, _)| legal[*place]) {
        let operation = operations[place];
        let number = u32::try_from(place).expect("fewer than 2^32 operations");
        match *role {
            Role::Write(revision) => {
                let writer = &mut claims.writers[index(revision)];
                if *writer == NOBODY {
                    *writer = number;
                } else {
                    let other = operations[*writer as usize];
                    let summary = format!(
                        "revision {revision} is claimed by two writes, `{}` and `{}`",
                        words::request(&other.request),
                        words::request(&operation.request)
                    );
                    findings.push(violation(operation, summary, [other].into_iter()));
                }
            }
            Role::Read(revision) => claims.read_starts[index(shows(operation, revision)) + 1] += 1,
            Role::Revoke(revision) => {
                claims.read_starts[index(revision) + 1] += 1;
                claims.unknown.push(number);
            }
            Role::Unknown => claims.unknown.push(number),
            Role::Serializable(_) | Role::Compaction(_) | Role::Nothing => continue,
        }
    }
    for r in 1..claims.read_starts.len() {
        claims.read_starts[r] += claims.read_starts[r - 1];
    }
    let mut next = claims.read_starts.clone();
    claims.reads = vec![0; *next.last().expect("there is a revision") as usize];
    for (place, role) in roles.iter().enumerate().filter(|(place, _)| legal[*place]) {
        let operation = operations[place];
        if let Role::Read(revision) | Role::Revoke(revision) = *role {
            let slot = &mut next[index(shows(operation, revision))];
            claims.reads[*slot as usize] = u32::try_from(place).expect("fewer than 2^32 operations");
            *slot += 1;
        }
        if let Role::Read(revision) | Role::Write(revision) | Role::Compaction(revision) | Role::Revoke(revision) =
            *role
        {
            let known = &mut claims.known_at[index(revision)];
            *known = (*known).min(super::end(operation));
        }
    }
    for r in (1..claims.known_at.len()).rev() {
        claims.known_at[r - 1] = claims.known_at[r - 1].min(claims.known_at[r]);
    }
    claims.unknown.sort_by_key(|place| operations[*place as usize].call);
    (claims, findings)
}

/// The keys that puts name beside each lease, as far as they were not refused.
fn attachments(operations: &[&Operation]) -> BTreeMap<LeaseId, Vec<KeyRange>> {
    let mut leases: BTreeMap<LeaseId, Vec<KeyRange>> = BTreeMap::new();
    let mut known: BTreeSet<(LeaseId, &Key)> = BTreeSet::new();
    for operation in operations {
        if matches!(operation.outcome, Outcome::Failed { .. }) {
            continue;
        }
        each_attachment(&operation.request, &mut |key, lease| {
            if known.insert((lease, key)) {
                leases.entry(lease).or_default().push(KeyRange::single(key.clone()));
            }
        });
    }
    leases
}
