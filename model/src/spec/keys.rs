//! Which keys a request can concern: the footprint that says whether one request can matter to another.

use std::ops::Bound;

use detcd_replica::api::{Key, KeyRange, RangeEnd, Request, RequestOp, TxnRequest};

/// Every range of keys that the request may read, compare or write, in any branch.
pub(crate) fn footprint(request: &Request) -> Vec<KeyRange> {
    let mut ranges = Vec::new();
    match request {
        Request::Range(range) => ranges.push(range.range.clone()),
        Request::Put(put) => ranges.push(KeyRange::single(put.key.clone())),
        Request::DeleteRange(delete) => ranges.push(delete.range.clone()),
        Request::Txn(txn) => txn_footprint(txn, &mut ranges),
        _ => {}
    }
    ranges
}

fn txn_footprint(txn: &TxnRequest, ranges: &mut Vec<KeyRange>) {
    ranges.extend(txn.compare.iter().map(|compare| compare.range.clone()));
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            RequestOp::Range(range) => ranges.push(range.range.clone()),
            RequestOp::Put(put) => ranges.push(KeyRange::single(put.key.clone())),
            RequestOp::DeleteRange(delete) => ranges.push(delete.range.clone()),
            RequestOp::Txn(inner) => txn_footprint(inner, ranges),
        }
    }
}

/// Whether two ranges share a key that could exist.
pub(crate) fn overlap(a: &KeyRange, b: &KeyRange) -> bool {
    match (&a.end, &b.end) {
        (RangeEnd::Single, _) => b.contains(&a.start),
        (_, RangeEnd::Single) => a.contains(&b.start),
        _ => below_end(&a.start, b) && below_end(&b.start, a) && below_end(&a.start, a) && below_end(&b.start, b),
    }
}

/// Whether any of the first share a key with any of the second.
pub(crate) fn overlap_any(a: &[KeyRange], b: &[KeyRange]) -> bool {
    a.iter().any(|a| b.iter().any(|b| overlap(a, b)))
}

/// Whether the first has every key of the second.
pub(crate) fn covers(a: &KeyRange, b: &KeyRange) -> bool {
    match &b.end {
        RangeEnd::Single => a.contains(&b.start),
        RangeEnd::Before(end) if *end <= b.start => true,
        RangeEnd::Before(end) => match &a.end {
            RangeEnd::Single => false,
            RangeEnd::Before(other) => a.start <= b.start && end <= other,
            RangeEnd::Open => a.start <= b.start,
        },
        RangeEnd::Open => a.end == RangeEnd::Open && a.start <= b.start,
    }
}

fn below_end(key: &Key, range: &KeyRange) -> bool {
    match &range.end {
        RangeEnd::Before(end) => key < end,
        RangeEnd::Open | RangeEnd::Single => true,
    }
}

/// Where a range of keys begins and ends.
pub(crate) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The range as bounds of an ordered map; `None` when it is empty.
pub(crate) fn bounds(range: &KeyRange) -> Option<Bounds<'_>> {
    let start = Bound::Included(&range.start[..]);
    match &range.end {
        RangeEnd::Single => Some((start, Bound::Included(&range.start[..]))),
        RangeEnd::Open => Some((start, Bound::Unbounded)),
        RangeEnd::Before(end) => (range.start < *end).then_some((start, Bound::Excluded(&end[..]))),
    }
}
