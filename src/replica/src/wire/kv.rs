//! Key-value requests between their messages and [`crate::api`].

use bytes::Bytes;

use super::message::kv::{
    compare, request_op, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
};
use super::TXN_DEPTH_MAX;
use crate::api::{self, CompareResult, CompareTarget, KeyRange, RangeEnd, SortOrder, SortTarget};

/// How deep `txn` nests, itself counted.
pub(super) fn depth(txn: &api::TxnRequest) -> usize {
    // A stack of our own: the request may come from anybody, and may nest as deep as it likes.
    let mut deepest = 0;
    let mut rest = vec![(txn, 1)];
    while let Some((txn, level)) = rest.pop() {
        deepest = deepest.max(level);
        for op in txn.success.iter().chain(&txn.failure) {
            if let api::RequestOp::Txn(inner) = op {
                rest.push((inner, level + 1));
            }
        }
    }
    deepest
}

pub(super) fn parse_key_range(key: Bytes, range_end: Bytes) -> KeyRange {
    let end = match &range_end[..] {
        [] => RangeEnd::Single,
        [0] => RangeEnd::Open,
        _ => RangeEnd::Before(range_end),
    };
    KeyRange { start: key, end }
}

/// Whether each key that a request names is one: the empty one is none, and no member proposes it.
pub(super) fn names_keys(request: &api::Request) -> bool {
    match request {
        api::Request::Range(range) => !range.range.start.is_empty(),
        api::Request::Put(put) => !put.key.is_empty(),
        api::Request::DeleteRange(delete) => !delete.range.start.is_empty(),
        api::Request::Txn(txn) => txn_names_keys(txn),
        _ => true,
    }
}

fn txn_names_keys(txn: &api::TxnRequest) -> bool {
    let op_names_keys = |op: &api::RequestOp| match op {
        api::RequestOp::Range(range) => !range.range.start.is_empty(),
        api::RequestOp::Put(put) => !put.key.is_empty(),
        api::RequestOp::DeleteRange(delete) => !delete.range.start.is_empty(),
        api::RequestOp::Txn(inner) => txn_names_keys(inner),
    };
    let compares = txn.compare.iter().all(|compare| !compare.range.start.is_empty());
    compares && txn.success.iter().chain(&txn.failure).all(op_names_keys)
}

pub(super) fn parse_range(range: RangeRequest) -> Result<api::RangeRequest, String> {
    let sort_order = match range.sort_order {
        0 => SortOrder::None,
        1 => SortOrder::Ascend,
        2 => SortOrder::Descend,
        other => return Err(format!("sort order {other} does not exist")),
    };
    let sort_target = match range.sort_target {
        0 => SortTarget::Key,
        1 => SortTarget::Version,
        2 => SortTarget::Create,
        3 => SortTarget::Mod,
        4 => SortTarget::Value,
        other => return Err(format!("sort target {other} does not exist")),
    };
    Ok(api::RangeRequest {
        range: parse_key_range(range.key, range.range_end),
        // etcd takes every limit below 1 as "none".
        limit: u64::try_from(range.limit).unwrap_or(0),
        revision: range.revision,
        sort_order,
        sort_target,
        serializable: range.serializable,
        keys_only: range.keys_only,
        count_only: range.count_only,
        min_mod_revision: range.min_mod_revision,
        max_mod_revision: range.max_mod_revision,
        min_create_revision: range.min_create_revision,
        max_create_revision: range.max_create_revision,
    })
}

pub(super) fn parse_put(put: PutRequest) -> api::PutRequest {
    api::PutRequest {
        key: put.key,
        value: put.value,
        lease: put.lease,
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    }
}

pub(super) fn parse_delete(delete: DeleteRangeRequest) -> api::DeleteRangeRequest {
    api::DeleteRangeRequest { range: parse_key_range(delete.key, delete.range_end), prev_kv: delete.prev_kv }
}

pub(super) fn parse_txn(txn: TxnRequest, level: usize) -> Result<api::TxnRequest, String> {
    if level > TXN_DEPTH_MAX {
        return Err(format!("transactions nest deeper than {TXN_DEPTH_MAX}"));
    }
    Ok(api::TxnRequest {
        compare: parse_all(txn.compare, parse_compare)?,
        success: parse_all(txn.success, |op| parse_op(op, level))?,
        failure: parse_all(txn.failure, |op| parse_op(op, level))?,
    })
}

/// In a list as long as it has to be: a list of results is not, and one made where the messages lie keeps their room.
fn parse_all<M, T>(messages: Vec<M>, parse: impl Fn(M) -> Result<T, String>) -> Result<Vec<T>, String> {
    let mut parsed = Vec::with_capacity(messages.len());
    for message in messages {
        parsed.push(parse(message)?);
    }
    Ok(parsed)
}

fn parse_op(op: RequestOp, level: usize) -> Result<api::RequestOp, String> {
    match op.request {
        None => Err("an operation of a transaction is empty".into()),
        Some(request_op::Request::Range(range)) => Ok(api::RequestOp::Range(parse_range(range)?)),
        Some(request_op::Request::Put(put)) => Ok(api::RequestOp::Put(parse_put(put))),
        Some(request_op::Request::DeleteRange(delete)) => Ok(api::RequestOp::DeleteRange(parse_delete(delete))),
        Some(request_op::Request::Txn(txn)) => Ok(api::RequestOp::Txn(Box::new(parse_txn(txn, level + 1)?))),
    }
}

fn parse_compare(compare: Compare) -> Result<api::Compare, String> {
    use compare::TargetUnion as Union;
    let result = match compare.result {
        0 => CompareResult::Equal,
        1 => CompareResult::Greater,
        2 => CompareResult::Less,
        3 => CompareResult::NotEqual,
        other => return Err(format!("compare result {other} does not exist")),
    };
    // etcd goes by `target`; an operand that is missing or of another kind counts as 0, or as the empty value.
    let target = match (compare.target, compare.target_union) {
        (0, Some(Union::Version(version))) => CompareTarget::Version(version),
        (0, _) => CompareTarget::Version(0),
        (1, Some(Union::CreateRevision(revision))) => CompareTarget::Create(revision),
        (1, _) => CompareTarget::Create(0),
        (2, Some(Union::ModRevision(revision))) => CompareTarget::Mod(revision),
        (2, _) => CompareTarget::Mod(0),
        (3, Some(Union::Value(value))) => CompareTarget::Value(value),
        (3, _) => CompareTarget::Value(Bytes::new()),
        (4, Some(Union::Lease(lease))) => CompareTarget::Lease(lease),
        (4, _) => CompareTarget::Lease(0),
        (other, _) => return Err(format!("compare target {other} does not exist")),
    };
    Ok(api::Compare { range: parse_key_range(compare.key, compare.range_end), result, target })
}

impl From<&api::RangeRequest> for RangeRequest {
    fn from(range: &api::RangeRequest) -> Self {
        Self {
            key: range.range.start.clone(),
            range_end: range.range.end.field(),
            limit: i64::try_from(range.limit).unwrap_or(i64::MAX),
            revision: range.revision,
            sort_order: match range.sort_order {
                SortOrder::None => 0,
                SortOrder::Ascend => 1,
                SortOrder::Descend => 2,
            },
            sort_target: match range.sort_target {
                SortTarget::Key => 0,
                SortTarget::Version => 1,
                SortTarget::Create => 2,
                SortTarget::Mod => 3,
                SortTarget::Value => 4,
            },
            serializable: range.serializable,
            keys_only: range.keys_only,
            count_only: range.count_only,
            min_mod_revision: range.min_mod_revision,
            max_mod_revision: range.max_mod_revision,
            min_create_revision: range.min_create_revision,
            max_create_revision: range.max_create_revision,
        }
    }
}

impl From<&api::PutRequest> for PutRequest {
    fn from(put: &api::PutRequest) -> Self {
        Self {
            key: put.key.clone(),
            value: put.value.clone(),
            lease: put.lease,
            prev_kv: put.prev_kv,
            ignore_value: put.ignore_value,
            ignore_lease: put.ignore_lease,
        }
    }
}

impl From<&api::DeleteRangeRequest> for DeleteRangeRequest {
    fn from(delete: &api::DeleteRangeRequest) -> Self {
        Self { key: delete.range.start.clone(), range_end: delete.range.end.field(), prev_kv: delete.prev_kv }
    }
}

impl From<&api::TxnRequest> for TxnRequest {
    fn from(txn: &api::TxnRequest) -> Self {
        Self {
            compare: txn.compare.iter().map(Into::into).collect(),
            success: txn.success.iter().map(Into::into).collect(),
            failure: txn.failure.iter().map(Into::into).collect(),
        }
    }
}

impl From<&api::RequestOp> for RequestOp {
    fn from(op: &api::RequestOp) -> Self {
        let request = match op {
            api::RequestOp::Range(range) => request_op::Request::Range(range.into()),
            api::RequestOp::Put(put) => request_op::Request::Put(put.into()),
            api::RequestOp::DeleteRange(delete) => request_op::Request::DeleteRange(delete.into()),
            api::RequestOp::Txn(txn) => request_op::Request::Txn((&**txn).into()),
        };
        Self { request: Some(request) }
    }
}

impl From<&api::Compare> for Compare {
    fn from(compare: &api::Compare) -> Self {
        use compare::TargetUnion as Union;
        let (target, union) = match &compare.target {
            CompareTarget::Version(version) => (0, Union::Version(*version)),
            CompareTarget::Create(revision) => (1, Union::CreateRevision(*revision)),
            CompareTarget::Mod(revision) => (2, Union::ModRevision(*revision)),
            CompareTarget::Value(value) => (3, Union::Value(value.clone())),
            CompareTarget::Lease(lease) => (4, Union::Lease(*lease)),
        };
        let result = match compare.result {
            CompareResult::Equal => 0,
            CompareResult::Greater => 1,
            CompareResult::Less => 2,
            CompareResult::NotEqual => 3,
        };
        Self {
            result,
            target,
            key: compare.range.start.clone(),
            target_union: Some(union),
            range_end: compare.range.end.field(),
        }
    }
}
