//! `hash-kv`: members that are asked for the hash of their key space at the same revision, and have compacted at the
//! same one, answer the same.
//!
//! So etcd finds members that have come apart (`etcdctl endpoint hashkv`, its corruption checks), and so do its
//! robustness tests when everything is over. The hash is of the history that is left, not only of what is live. It is
//! never computed here: members are held against each other.

use std::collections::BTreeMap;

use detcd_replica::api::{Request, ResponseBody, Revision};
use detcd_replica::history::{Finding, History, Operation, Outcome};

use crate::linearizability::finding;

/// The name of the check.
pub(crate) const CHECK: &str = "hash-kv";

/// Holds every hash against the first that was told for its revisions.
pub(crate) fn check(history: &History) -> Option<Finding> {
    let mut first: BTreeMap<(Revision, Revision), (u32, &Operation)> = BTreeMap::new();
    history.operations.iter().find_map(|operation| {
        let (revision, compact_revision, hash) = told(operation)?;
        let (known, by) = first.entry((revision, compact_revision)).or_insert((hash, operation));
        if *known == hash {
            return None;
        }
        let (member, other) = (operation.member, by.member);
        let at = format!("at revision {revision}, compacted at {compact_revision}");
        let summary = format!("{member} has hash {hash:08x} {at}; {other} has {known:08x}");
        Some(finding(CHECK, operation, summary, std::iter::once(*by)))
    })
}

/// Revision, compaction revision, hash.
fn told(operation: &Operation) -> Option<(Revision, Revision, u32)> {
    let Request::HashKv { revision } = operation.request else { return None };
    let Outcome::Ok { response, .. } = &operation.outcome else { return None };
    let ResponseBody::HashKv { hash, compact_revision } = response.body else { return None };
    let at = if revision > 0 { revision } else { response.header.revision };
    Some((at, compact_revision, hash))
}

#[cfg(test)]
mod tests {
    use detcd_replica::api::{Header, Response};
    use detcd_replica::MemberId;

    use super::*;

    fn asked(member: u64, asked: Revision, newest: Revision, compact_revision: Revision, hash: u32) -> Operation {
        let header = Header { member: MemberId(member), revision: newest, raft_term: 2 };
        let response = Response { header, body: ResponseBody::HashKv { hash, compact_revision } };
        let (request, outcome) = (Request::HashKv { revision: asked }, Outcome::Ok { at: 2, response });
        Operation { client: 1, member: MemberId(member), user: String::new(), call: 1, request, outcome }
    }

    fn found(operations: Vec<Operation>) -> Option<String> {
        check(&History { operations, watches: Vec::new() }).map(|finding| finding.summary)
    }

    #[test]
    fn members_have_the_same_hash_at_the_same_revisions() {
        let first = || asked(1, 0, 9, 4, 0xaa);
        assert_eq!(found(vec![first(), asked(2, 0, 9, 4, 0xaa)]), None);
        let differs = "n2 has hash 000000bb at revision 9, compacted at 4; n1 has 000000aa";
        assert_eq!(found(vec![first(), asked(2, 0, 9, 4, 0xbb)]).as_deref(), Some(differs));
        assert_eq!(found(vec![first(), asked(2, 9, 12, 4, 0xbb)]).as_deref(), Some(differs));
        // Another revision, or another compaction: another hash.
        assert_eq!(found(vec![first(), asked(2, 0, 10, 4, 0xbb), asked(3, 0, 9, 5, 0xcc)]), None);
    }
}
