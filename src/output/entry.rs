//! What a Raft entry asks for, in etcd's words, on one line.

use detcd_replica::api::{Compare, CompareResult, CompareTarget, KeyRange, RangeEnd, Request, RequestOp, TxnRequest};
use detcd_replica::raftpb::{ConfChangeType, Entry, EntryType};
use detcd_replica::wal;
use detcd_replica::wire::{self, Asked};

use super::bytes::quoted;

/// The most bytes of a key or value that are shown.
const SHOWN: usize = 48;

/// Raft's name for the type of an entry.
pub(crate) fn entry_type(entry: &Entry) -> &'static str {
    match entry.entry_type {
        EntryType::EntryNormal => "normal",
        EntryType::EntryConfChange => "conf-change",
        EntryType::EntryConfChangeV2 => "conf-change-v2",
    }
}

/// What an entry asks for. Data that cannot be read is said to be so: it may be anything.
pub(crate) fn describe(entry: &Entry) -> String {
    match wal::conf_changes(entry) {
        Ok(Some(changes)) => {
            let each = changes.changes.iter().map(|(kind, member)| format!("{} {member:x}", change(*kind)));
            let context = if changes.context.is_empty() {
                String::new()
            } else {
                format!(" {}", quoted(&changes.context, 4 * SHOWN))
            };
            return format!("{}{context}", each.collect::<Vec<_>>().join(", "));
        }
        Ok(None) => {}
        Err(reason) => return format!("unreadable: {reason}"),
    }
    if entry.data.is_empty() {
        // The first entry of each leader's term.
        return "empty".to_owned();
    }
    match wire::look(&entry.data) {
        Ok(look) => {
            let user = if look.username.is_empty() { String::new() } else { format!(" by {}", look.username) };
            let asked = match &look.asked {
                Asked::Client(asked) => request(asked),
                Asked::Other(words) => words.clone(),
            };
            format!("{asked} (id {:x}{user})", look.id)
        }
        Err(reason) => format!("unreadable: {reason}"),
    }
}

fn change(kind: ConfChangeType) -> &'static str {
    match kind {
        ConfChangeType::AddNode => "add-node",
        ConfChangeType::RemoveNode => "remove-node",
        ConfChangeType::AddLearnerNode => "add-learner-node",
    }
}

fn request(asked: &Request) -> String {
    match asked {
        Request::Range(range) => format!("range {}", keys(&range.range)),
        Request::Put(put) => {
            let lease = if put.lease == 0 { String::new() } else { format!(" lease {:x}", put.lease) };
            format!("put {} {}{lease}", quoted(&put.key, SHOWN), quoted(&put.value, SHOWN))
        }
        Request::DeleteRange(delete) => format!("delete_range {}", keys(&delete.range)),
        Request::Txn(txn) => transaction(txn),
        Request::Compact(compact) => format!("compaction {}", compact.revision),
        Request::LeaseGrant(grant) => format!("lease_grant {:x} for {}s", grant.id, grant.ttl),
        Request::LeaseRevoke { id } => format!("lease_revoke {id:x}"),
        other => format!("{other:?}"),
    }
}

fn transaction(txn: &TxnRequest) -> String {
    let list = |ops: &[RequestOp]| {
        let each = ops.iter().map(|op| match op {
            RequestOp::Range(range) => format!("range {}", keys(&range.range)),
            RequestOp::Put(put) => format!("put {} {}", quoted(&put.key, SHOWN), quoted(&put.value, SHOWN)),
            RequestOp::DeleteRange(delete) => format!("delete_range {}", keys(&delete.range)),
            RequestOp::Txn(inner) => transaction(inner),
        });
        each.collect::<Vec<_>>().join(", ")
    };
    let compares = txn.compare.iter().map(compare).collect::<Vec<_>>().join(", ");
    format!("txn if [{compares}] then [{}] else [{}]", list(&txn.success), list(&txn.failure))
}

fn compare(compare: &Compare) -> String {
    let relation = match compare.result {
        CompareResult::Equal => "=",
        CompareResult::Greater => ">",
        CompareResult::Less => "<",
        CompareResult::NotEqual => "!=",
    };
    let (what, operand) = match &compare.target {
        CompareTarget::Version(version) => ("version", version.to_string()),
        CompareTarget::Create(revision) => ("create", revision.to_string()),
        CompareTarget::Mod(revision) => ("mod", revision.to_string()),
        CompareTarget::Value(value) => ("value", quoted(value, SHOWN)),
        CompareTarget::Lease(lease) => ("lease", format!("{lease:x}")),
    };
    format!("{what}({}) {relation} {operand}", keys(&compare.range))
}

fn keys(range: &KeyRange) -> String {
    let start = quoted(&range.start, SHOWN);
    match &range.end {
        RangeEnd::Single => start,
        RangeEnd::Open => format!("{start}.."),
        RangeEnd::Before(end) => format!("{start}..{}", quoted(end, SHOWN)),
    }
}
