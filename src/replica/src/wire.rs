//! The wire form of requests inside Raft entries: etcd's messages with etcd's field numbers, declared in Rust.
//!
//! [`encode`] makes the data of a normal entry (`etcdserverpb.InternalRaftRequest`), [`decode`] parses it into the
//! types of [`crate::api`], which cannot be wrong: what etcd treats alike becomes equal here (a negative limit is no
//! limit), and what it would refuse is refused here. Decoding never panics, whatever the bytes, and never recurses
//! deeper than [`TXN_DEPTH_MAX`] transactions.
//!
//! Not known here: options of etcd that [`crate::api`] has no word for (sort orders, revision filters, ignore_value,
//! ignore_lease), leases, auth and alarms. They are refused by name, never dropped.

use bytes::Bytes;
use prost::Message;

use crate::api::{self, CompareResult, CompareTarget, KeyRange, RangeEnd, Request};

/// How deep transactions may nest, the outermost counted. Each level costs two protobuf levels, of which prost takes
/// 100.
pub const TXN_DEPTH_MAX: usize = 32;

/// The data of the entry that carries `request` under `id`.
///
/// `None` when the request does not travel as a normal entry (membership, status, leadership, hashes), or nests
/// transactions deeper than [`TXN_DEPTH_MAX`]. Keys must not be empty: such a request could not be decoded again.
pub fn encode(id: u64, request: &Request) -> Option<Bytes> {
    let mut message =
        InternalRaftRequest { header: Some(RequestHeader { id, ..Default::default() }), ..Default::default() };
    match request {
        Request::Range(range) => message.range = Some(range.into()),
        Request::Put(put) => message.put = Some(put.into()),
        Request::DeleteRange(delete) => message.delete_range = Some(delete.into()),
        Request::Txn(txn) => {
            if depth(txn) > TXN_DEPTH_MAX {
                return None;
            }
            message.txn = Some(txn.into());
        }
        Request::Compact(compact) => {
            message.compaction = Some(CompactionRequest { revision: compact.revision, physical: compact.physical });
        }
        Request::MemberAdd { .. }
        | Request::MemberRemove { .. }
        | Request::MemberPromote { .. }
        | Request::MoveLeader { .. }
        | Request::Status
        | Request::HashKv { .. } => return None,
    }
    Some(message.encode_to_vec().into())
}

/// The id and the request in the data of a normal entry. Keys and values share `data`'s memory.
///
/// # Errors
/// What is wrong with it: not protobuf, no operation or several, an empty key, an option that is not known here.
pub fn decode(data: &Bytes) -> Result<(u64, Request), String> {
    let message = InternalRaftRequest::decode(data.clone()).map_err(|error| error.to_string())?;
    let id = match (message.id, &message.header) {
        (0, Some(header)) => header.id,
        (id, _) => id,
    };
    let mut found = Vec::with_capacity(1);
    if let Some(range) = message.range {
        found.push(Request::Range(parse_range(range)?));
    }
    if let Some(put) = message.put {
        found.push(Request::Put(parse_put(put)?));
    }
    if let Some(delete) = message.delete_range {
        found.push(Request::DeleteRange(parse_delete(delete)?));
    }
    if let Some(txn) = message.txn {
        found.push(Request::Txn(parse_txn(txn, 1)?));
    }
    if let Some(compact) = message.compaction {
        found.push(Request::Compact(api::CompactRequest { revision: compact.revision, physical: compact.physical }));
    }
    match (found.pop(), found.is_empty()) {
        (Some(request), true) => Ok((id, request)),
        (None, _) => Err("the entry holds no operation known here".into()),
        (Some(_), false) => Err("the entry holds several operations".into()),
    }
}

fn depth(txn: &api::TxnRequest) -> usize {
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

fn parse_key_range(key: Bytes, range_end: Bytes) -> Result<KeyRange, String> {
    let end = match &range_end[..] {
        [] => RangeEnd::Single,
        [0] => RangeEnd::Open,
        _ => RangeEnd::Before(range_end),
    };
    Ok(KeyRange { start: parse_key(key)?, end })
}

fn parse_key(key: Bytes) -> Result<Bytes, String> {
    if key.is_empty() {
        return Err("the key is empty".into());
    }
    Ok(key)
}

fn parse_range(range: RangeRequest) -> Result<api::RangeRequest, String> {
    // Ascending by key is the order of an unsorted range as well.
    if range.sort_target != 0 || !matches!(range.sort_order, 0 | 1) {
        return Err(format!("sort order {} of target {} is not known here", range.sort_order, range.sort_target));
    }
    for (field, value) in [
        ("min_mod_revision", range.min_mod_revision),
        ("max_mod_revision", range.max_mod_revision),
        ("min_create_revision", range.min_create_revision),
        ("max_create_revision", range.max_create_revision),
    ] {
        if value != 0 {
            return Err(format!("{field} {value} is not known here"));
        }
    }
    Ok(api::RangeRequest {
        range: parse_key_range(range.key, range.range_end)?,
        // etcd takes every limit and every revision below 1 as "none".
        limit: u64::try_from(range.limit).unwrap_or(0),
        revision: range.revision.max(0),
        serializable: range.serializable,
        keys_only: range.keys_only,
        count_only: range.count_only,
    })
}

fn parse_put(put: PutRequest) -> Result<api::PutRequest, String> {
    if put.ignore_value || put.ignore_lease {
        return Err("ignore_value and ignore_lease are not known here".into());
    }
    Ok(api::PutRequest { key: parse_key(put.key)?, value: put.value, lease: put.lease, prev_kv: put.prev_kv })
}

fn parse_delete(delete: DeleteRangeRequest) -> Result<api::DeleteRangeRequest, String> {
    Ok(api::DeleteRangeRequest { range: parse_key_range(delete.key, delete.range_end)?, prev_kv: delete.prev_kv })
}

fn parse_txn(txn: TxnRequest, level: usize) -> Result<api::TxnRequest, String> {
    if level > TXN_DEPTH_MAX {
        return Err(format!("transactions nest deeper than {TXN_DEPTH_MAX}"));
    }
    let parse_ops = |ops: Vec<RequestOp>| -> Result<Vec<api::RequestOp>, String> {
        ops.into_iter().map(|op| parse_op(op, level)).collect()
    };
    Ok(api::TxnRequest {
        compare: txn.compare.into_iter().map(parse_compare).collect::<Result<_, _>>()?,
        success: parse_ops(txn.success)?,
        failure: parse_ops(txn.failure)?,
    })
}

fn parse_op(op: RequestOp, level: usize) -> Result<api::RequestOp, String> {
    match op.request {
        None => Err("an operation of a transaction is empty".into()),
        Some(request_op::Request::Range(range)) => Ok(api::RequestOp::Range(parse_range(range)?)),
        Some(request_op::Request::Put(put)) => Ok(api::RequestOp::Put(parse_put(put)?)),
        Some(request_op::Request::DeleteRange(delete)) => Ok(api::RequestOp::DeleteRange(parse_delete(delete)?)),
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
    Ok(api::Compare { range: parse_key_range(compare.key, compare.range_end)?, result, target })
}

fn range_end(end: &RangeEnd) -> Bytes {
    match end {
        RangeEnd::Single => Bytes::new(),
        RangeEnd::Open => Bytes::from_static(b"\0"),
        RangeEnd::Before(end) => end.clone(),
    }
}

impl From<&api::RangeRequest> for RangeRequest {
    fn from(range: &api::RangeRequest) -> Self {
        Self {
            key: range.range.start.clone(),
            range_end: range_end(&range.range.end),
            limit: i64::try_from(range.limit).unwrap_or(i64::MAX),
            revision: range.revision,
            serializable: range.serializable,
            keys_only: range.keys_only,
            count_only: range.count_only,
            ..Default::default()
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
            ..Default::default()
        }
    }
}

impl From<&api::DeleteRangeRequest> for DeleteRangeRequest {
    fn from(delete: &api::DeleteRangeRequest) -> Self {
        Self { key: delete.range.start.clone(), range_end: range_end(&delete.range.end), prev_kv: delete.prev_kv }
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
            range_end: range_end(&compare.range.end),
        }
    }
}

/// `etcdserverpb.InternalRaftRequest`: what an entry carries.
#[derive(Clone, PartialEq, Message)]
struct InternalRaftRequest {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, optional, tag = "3")]
    range: Option<RangeRequest>,
    #[prost(message, optional, tag = "4")]
    put: Option<PutRequest>,
    #[prost(message, optional, tag = "5")]
    delete_range: Option<DeleteRangeRequest>,
    #[prost(message, optional, tag = "6")]
    txn: Option<TxnRequest>,
    #[prost(message, optional, tag = "7")]
    compaction: Option<CompactionRequest>,
    #[prost(message, optional, tag = "100")]
    header: Option<RequestHeader>,
}

/// `etcdserverpb.RequestHeader`: whose request it is.
#[derive(Clone, PartialEq, Message)]
struct RequestHeader {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    username: String,
    #[prost(uint64, tag = "3")]
    auth_revision: u64,
}

/// `etcdserverpb.RangeRequest`.
#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: Bytes,
    #[prost(int64, tag = "3")]
    limit: i64,
    #[prost(int64, tag = "4")]
    revision: i64,
    #[prost(int32, tag = "5")]
    sort_order: i32,
    #[prost(int32, tag = "6")]
    sort_target: i32,
    #[prost(bool, tag = "7")]
    serializable: bool,
    #[prost(bool, tag = "8")]
    keys_only: bool,
    #[prost(bool, tag = "9")]
    count_only: bool,
    #[prost(int64, tag = "10")]
    min_mod_revision: i64,
    #[prost(int64, tag = "11")]
    max_mod_revision: i64,
    #[prost(int64, tag = "12")]
    min_create_revision: i64,
    #[prost(int64, tag = "13")]
    max_create_revision: i64,
}

/// `etcdserverpb.PutRequest`.
#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
    #[prost(int64, tag = "3")]
    lease: i64,
    #[prost(bool, tag = "4")]
    prev_kv: bool,
    #[prost(bool, tag = "5")]
    ignore_value: bool,
    #[prost(bool, tag = "6")]
    ignore_lease: bool,
}

/// `etcdserverpb.DeleteRangeRequest`.
#[derive(Clone, PartialEq, Message)]
struct DeleteRangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    range_end: Bytes,
    #[prost(bool, tag = "3")]
    prev_kv: bool,
}

/// `etcdserverpb.TxnRequest`.
#[derive(Clone, PartialEq, Message)]
struct TxnRequest {
    #[prost(message, repeated, tag = "1")]
    compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
    #[prost(message, repeated, tag = "3")]
    failure: Vec<RequestOp>,
}

/// `etcdserverpb.RequestOp`.
#[derive(Clone, PartialEq, Message)]
struct RequestOp {
    #[prost(oneof = "request_op::Request", tags = "1, 2, 3, 4")]
    request: Option<request_op::Request>,
}

mod request_op {
    /// The oneof of `RequestOp`.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum Request {
        #[prost(message, tag = "1")]
        Range(super::RangeRequest),
        #[prost(message, tag = "2")]
        Put(super::PutRequest),
        #[prost(message, tag = "3")]
        DeleteRange(super::DeleteRangeRequest),
        #[prost(message, tag = "4")]
        Txn(super::TxnRequest),
    }
}

/// `etcdserverpb.Compare`.
#[derive(Clone, PartialEq, Message)]
struct Compare {
    #[prost(int32, tag = "1")]
    result: i32,
    #[prost(int32, tag = "2")]
    target: i32,
    #[prost(bytes = "bytes", tag = "3")]
    key: Bytes,
    #[prost(oneof = "compare::TargetUnion", tags = "4, 5, 6, 7, 8")]
    target_union: Option<compare::TargetUnion>,
    #[prost(bytes = "bytes", tag = "64")]
    range_end: Bytes,
}

mod compare {
    use bytes::Bytes;

    /// The oneof of `Compare`.
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum TargetUnion {
        #[prost(int64, tag = "4")]
        Version(i64),
        #[prost(int64, tag = "5")]
        CreateRevision(i64),
        #[prost(int64, tag = "6")]
        ModRevision(i64),
        #[prost(bytes = "bytes", tag = "7")]
        Value(Bytes),
        #[prost(int64, tag = "8")]
        Lease(i64),
    }
}

/// `etcdserverpb.CompactionRequest`.
#[derive(Clone, PartialEq, Message)]
struct CompactionRequest {
    #[prost(int64, tag = "1")]
    revision: i64,
    #[prost(bool, tag = "2")]
    physical: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::testing::Dice;

    fn bytes(dice: &mut Dice, least: u64) -> Bytes {
        let length = least + dice.below(6);
        (0..length).map(|_| dice.below(256) as u8).collect::<Vec<_>>().into()
    }

    fn range(dice: &mut Dice) -> KeyRange {
        let end = match dice.below(3) {
            0 => RangeEnd::Single,
            1 => RangeEnd::Open,
            // Two bytes at least: the one zero byte means "open".
            _ => RangeEnd::Before(bytes(dice, 2)),
        };
        KeyRange { start: bytes(dice, 1), end }
    }

    fn range_request(dice: &mut Dice) -> api::RangeRequest {
        api::RangeRequest {
            range: range(dice),
            limit: dice.below(5),
            revision: dice.below(1000) as i64,
            serializable: dice.flip(),
            keys_only: dice.flip(),
            count_only: dice.flip(),
        }
    }

    fn put(dice: &mut Dice) -> api::PutRequest {
        let lease = dice.next() as i64;
        api::PutRequest { key: bytes(dice, 1), value: bytes(dice, 0), lease, prev_kv: dice.flip() }
    }

    fn delete(dice: &mut Dice) -> api::DeleteRangeRequest {
        api::DeleteRangeRequest { range: range(dice), prev_kv: dice.flip() }
    }

    fn compare(dice: &mut Dice) -> api::Compare {
        use CompareResult::{Equal, Greater, Less, NotEqual};
        let operand = dice.next() as i64;
        let target = match dice.below(5) {
            0 => CompareTarget::Version(operand),
            1 => CompareTarget::Create(operand),
            2 => CompareTarget::Mod(operand),
            3 => CompareTarget::Value(bytes(dice, 0)),
            _ => CompareTarget::Lease(operand),
        };
        let result = [Equal, Greater, Less, NotEqual][dice.below(4) as usize];
        api::Compare { range: range(dice), result, target }
    }

    fn txn(dice: &mut Dice, levels: usize) -> api::TxnRequest {
        let ops = |dice: &mut Dice| -> Vec<api::RequestOp> {
            (0..dice.below(3))
                .map(|_| match dice.below(if levels > 1 { 4 } else { 3 }) {
                    0 => api::RequestOp::Range(range_request(dice)),
                    1 => api::RequestOp::Put(put(dice)),
                    2 => api::RequestOp::DeleteRange(delete(dice)),
                    _ => api::RequestOp::Txn(Box::new(txn(dice, levels - 1))),
                })
                .collect()
        };
        let compare = (0..dice.below(3)).map(|_| compare(dice)).collect();
        api::TxnRequest { compare, success: ops(dice), failure: ops(dice) }
    }

    fn request(dice: &mut Dice) -> Request {
        match dice.below(5) {
            0 => Request::Range(range_request(dice)),
            1 => Request::Put(put(dice)),
            2 => Request::DeleteRange(delete(dice)),
            3 => Request::Txn(txn(dice, 4)),
            _ => Request::Compact(api::CompactRequest { revision: dice.next() as i64, physical: dice.flip() }),
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let mut dice = Dice(1);
        for _ in 0..3000 {
            let (id, request) = (dice.next(), request(&mut dice));
            let data = encode(id, &request).expect("key-value requests travel in entries");
            assert_eq!(decode(&data), Ok((id, request)));
        }
    }

    #[test]
    fn a_put_has_the_bytes_that_etcd_writes() {
        let put = api::PutRequest { key: "k".into(), value: "v".into(), lease: 0, prev_kv: true };
        let data = encode(5, &Request::Put(put)).unwrap();
        let expect = [0x22, 8, 0x0a, 1, b'k', 0x12, 1, b'v', 0x20, 1, 0xa2, 0x06, 2, 0x08, 5];
        assert_eq!(&data[..], &expect[..]);
    }

    #[test]
    fn random_and_damaged_bytes_never_panic() {
        let mut dice = Dice(2);
        for _ in 0..5000 {
            let length = dice.below(60);
            let noise: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
            let _ = decode(&noise.into());
            let mut damaged = encode(7, &request(&mut dice)).unwrap().to_vec();
            let at = dice.below(damaged.len() as u64) as usize;
            damaged[at] ^= 1 << dice.below(8);
            let _ = decode(&damaged.into());
        }
    }

    #[test]
    fn nesting_is_bounded_both_ways() {
        let nest = |levels: usize| {
            let mut txn = api::TxnRequest { compare: vec![], success: vec![], failure: vec![] };
            for _ in 1..levels {
                let inner = api::RequestOp::Txn(Box::new(txn));
                txn = api::TxnRequest { compare: vec![], success: vec![inner], failure: vec![] };
            }
            txn
        };
        let deepest = Request::Txn(nest(TXN_DEPTH_MAX));
        let data = encode(1, &deepest).unwrap();
        assert_eq!(decode(&data), Ok((1, deepest)));
        assert_eq!(encode(1, &Request::Txn(nest(TXN_DEPTH_MAX + 1))), None);
        for levels in [TXN_DEPTH_MAX + 1, 45, 200] {
            let message = InternalRaftRequest { txn: Some((&nest(levels)).into()), ..Default::default() };
            assert!(decode(&message.encode_to_vec().into()).is_err(), "{levels} levels");
        }
    }

    #[test]
    fn what_etcd_treats_alike_is_equal_and_what_it_refuses_is_refused() {
        let parse = |range| {
            let message = InternalRaftRequest { range: Some(range), ..Default::default() };
            decode(&message.encode_to_vec().into())
        };
        let plain = RangeRequest { key: "a".into(), ..Default::default() };
        let expect = Ok((0, Request::Range(api::RangeRequest::of(KeyRange::single("a")))));
        assert_eq!(parse(plain.clone()), expect);
        assert_eq!(parse(RangeRequest { limit: -3, revision: -1, ..plain.clone() }), expect);
        assert_eq!(parse(RangeRequest { sort_order: 1, ..plain.clone() }), expect);
        assert!(parse(RangeRequest { sort_order: 2, ..plain.clone() }).is_err());
        assert!(parse(RangeRequest { max_mod_revision: 2, ..plain }).is_err());
        assert!(parse(RangeRequest::default()).is_err(), "empty key");
        assert!(decode(&Bytes::new()).is_err(), "no operation");
    }

    #[test]
    fn membership_does_not_travel_as_a_normal_entry() {
        assert_eq!(encode(1, &Request::Status), None);
        assert_eq!(encode(1, &Request::HashKv { revision: 0 }), None);
    }
}
