//! `etcdserverpb.InternalRaftRequest`: requests as entries carry them, and as the judge understands them.
//!
//! What etcd treats alike becomes equal here: a limit or a revision below 1 is none.

use bytes::Bytes;
use detcd_replica::api::{self, CompareResult, CompareTarget, KeyRange, RangeEnd, Request};
use prost::{Message, Oneof};

/// How deep transactions may nest before they are not believed.
const DEPTH_MAX: usize = 64;

/// `etcdserverpb.InternalRaftRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct InternalRaftRequest {
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
}

impl InternalRaftRequest {
    /// The one request in it.
    pub(super) fn parse(self) -> Result<Request, String> {
        let range = self.range.map(|range| Ok(Request::Range(range.parse())));
        let put = self.put.map(|put| Ok(Request::Put(put.parse())));
        let delete = self.delete_range.map(|delete| Ok(Request::DeleteRange(delete.parse())));
        let txn = self.txn.map(|txn| txn.parse(1).map(Request::Txn));
        let compaction = self.compaction.map(|compaction| {
            let CompactionRequest { revision, physical } = compaction;
            Ok(Request::Compact(api::CompactRequest { revision, physical }))
        });
        let mut all = [range, put, delete, txn, compaction].into_iter().flatten();
        match (all.next(), all.next()) {
            (Some(request), None) => request,
            (None, _) => Err("the entry holds no request".to_owned()),
            (Some(_), Some(_)) => Err("the entry holds several requests".to_owned()),
        }
    }
}

fn key_range(start: Bytes, end: Bytes) -> KeyRange {
    let end = match &end[..] {
        b"" => RangeEnd::Single,
        b"\0" => RangeEnd::Open,
        _ => RangeEnd::Before(end),
    };
    KeyRange { start, end }
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
    #[prost(bool, tag = "7")]
    serializable: bool,
    #[prost(bool, tag = "8")]
    keys_only: bool,
    #[prost(bool, tag = "9")]
    count_only: bool,
}

impl RangeRequest {
    fn parse(self) -> api::RangeRequest {
        api::RangeRequest {
            range: key_range(self.key, self.range_end),
            limit: u64::try_from(self.limit).unwrap_or(0),
            revision: self.revision.max(0),
            serializable: self.serializable,
            keys_only: self.keys_only,
            count_only: self.count_only,
        }
    }
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
}

impl PutRequest {
    fn parse(self) -> api::PutRequest {
        api::PutRequest { key: self.key, value: self.value, lease: self.lease, prev_kv: self.prev_kv }
    }
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

impl DeleteRangeRequest {
    fn parse(self) -> api::DeleteRangeRequest {
        api::DeleteRangeRequest { range: key_range(self.key, self.range_end), prev_kv: self.prev_kv }
    }
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

impl TxnRequest {
    fn parse(self, depth: usize) -> Result<api::TxnRequest, String> {
        if depth > DEPTH_MAX {
            return Err("transactions nest too deep".to_owned());
        }
        let all = |ops: Vec<RequestOp>| ops.into_iter().map(|op| op.parse(depth)).collect::<Result<Vec<_>, _>>();
        Ok(api::TxnRequest {
            compare: self.compare.into_iter().map(Compare::parse).collect::<Result<_, _>>()?,
            success: all(self.success)?,
            failure: all(self.failure)?,
        })
    }
}

/// `etcdserverpb.RequestOp`.
#[derive(Clone, PartialEq, Message)]
struct RequestOp {
    #[prost(oneof = "AnyRequest", tags = "1, 2, 3, 4")]
    request: Option<AnyRequest>,
}

#[derive(Clone, PartialEq, Oneof)]
enum AnyRequest {
    #[prost(message, tag = "1")]
    Range(RangeRequest),
    #[prost(message, tag = "2")]
    Put(PutRequest),
    #[prost(message, tag = "3")]
    DeleteRange(DeleteRangeRequest),
    #[prost(message, tag = "4")]
    Txn(TxnRequest),
}

impl RequestOp {
    fn parse(self, depth: usize) -> Result<api::RequestOp, String> {
        Ok(match self.request {
            None => return Err("an operation of a transaction is empty".to_owned()),
            Some(AnyRequest::Range(range)) => api::RequestOp::Range(range.parse()),
            Some(AnyRequest::Put(put)) => api::RequestOp::Put(put.parse()),
            Some(AnyRequest::DeleteRange(delete)) => api::RequestOp::DeleteRange(delete.parse()),
            Some(AnyRequest::Txn(txn)) => api::RequestOp::Txn(Box::new(txn.parse(depth + 1)?)),
        })
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
    #[prost(oneof = "Operand", tags = "4, 5, 6, 7, 8")]
    operand: Option<Operand>,
    #[prost(bytes = "bytes", tag = "64")]
    range_end: Bytes,
}

#[derive(Clone, PartialEq, Oneof)]
enum Operand {
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

impl Compare {
    fn parse(self) -> Result<api::Compare, String> {
        let result = match self.result {
            0 => CompareResult::Equal,
            1 => CompareResult::Greater,
            2 => CompareResult::Less,
            3 => CompareResult::NotEqual,
            other => return Err(format!("compare result {other} does not exist")),
        };
        // The target decides; an operand of another kind is as good as none, and none is zero.
        let target = match (self.target, self.operand) {
            (0, Some(Operand::Version(version))) => CompareTarget::Version(version),
            (0, _) => CompareTarget::Version(0),
            (1, Some(Operand::CreateRevision(revision))) => CompareTarget::Create(revision),
            (1, _) => CompareTarget::Create(0),
            (2, Some(Operand::ModRevision(revision))) => CompareTarget::Mod(revision),
            (2, _) => CompareTarget::Mod(0),
            (3, Some(Operand::Value(value))) => CompareTarget::Value(value),
            (3, _) => CompareTarget::Value(Bytes::new()),
            (4, Some(Operand::Lease(lease))) => CompareTarget::Lease(lease),
            (4, _) => CompareTarget::Lease(0),
            (other, _) => return Err(format!("compare target {other} does not exist")),
        };
        Ok(api::Compare { range: key_range(self.key, self.range_end), result, target })
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

/// The data of entries, for tests.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn put(key: &str, value: &str) -> Vec<u8> {
        let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
        let put = Some(PutRequest { key, value, ..Default::default() });
        InternalRaftRequest { put, ..Default::default() }.encode_to_vec()
    }

    pub(crate) fn delete(key: &str) -> Vec<u8> {
        let delete_range =
            Some(DeleteRangeRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..Default::default() });
        InternalRaftRequest { delete_range, ..Default::default() }.encode_to_vec()
    }

    pub(crate) fn compact(revision: i64) -> Vec<u8> {
        let compaction = Some(CompactionRequest { revision, physical: false });
        InternalRaftRequest { compaction, ..Default::default() }.encode_to_vec()
    }
}
