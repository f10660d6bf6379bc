//! Transactions: compares, and the two lists of operations.

use super::{DeleteRangeRequest, KeyRange, LeaseId, PutRequest, RangeRequest, Revision, Value};

/// `TxnRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TxnRequest {
    /// All must hold for `success` to run.
    pub compare: Vec<Compare>,
    /// Runs when they do.
    pub success: Vec<RequestOp>,
    /// Runs when one does not.
    pub failure: Vec<RequestOp>,
}

/// One guard of a transaction. Over a range it must hold for every key in it; an absent single key compares as version,
/// create revision, mod revision and lease 0, and a value comparison on it is false.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Compare {
    /// Which keys.
    pub range: KeyRange,
    /// How the key's property must relate to the target.
    pub result: CompareResult,
    /// Which property, and against what.
    pub target: CompareTarget,
}

/// `Compare.CompareResult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareResult {
    /// `=`
    Equal,
    /// `>`
    Greater,
    /// `<`
    Less,
    /// `!=`
    NotEqual,
}

/// `Compare.CompareTarget` with its operand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CompareTarget {
    /// Puts in this life of the key.
    Version(i64),
    /// Creation.
    Create(Revision),
    /// Last change.
    Mod(Revision),
    /// The value, in byte order.
    Value(Value),
    /// The attached lease.
    Lease(LeaseId),
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestOp {
    /// Read.
    Range(RangeRequest),
    /// Write.
    Put(PutRequest),
    /// Delete.
    DeleteRange(DeleteRangeRequest),
    /// A transaction inside.
    Txn(Box<TxnRequest>),
}
