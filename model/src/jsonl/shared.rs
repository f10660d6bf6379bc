//! Keys and values that are repeated are kept once: a value is written once and listed many times, so that a long
//! history takes half the memory.

use bytes::Bytes;
use detcd_replica::api::{KeyRange, KeyValue, PutRequest, RangeEnd, Request, RequestOp, ResponseBody, TxnRequest};
use detcd_replica::history::{Operation, Outcome};

/// Slots for what was seen last. A larger table finds hardly more: what is overwritten is not listed any more.
const SLOTS: usize = 1 << 14;

/// What was seen last, by a hash; two that share a slot only displace each other.
pub(super) struct Shared {
    slots: Vec<Bytes>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { slots: vec![Bytes::new(); SLOTS] }
    }
}

impl Shared {
    /// Those of an operation on keys and of its answer.
    pub(super) fn in_operation(&mut self, operation: &mut Operation) {
        match &mut operation.request {
            Request::Range(range) => self.in_range(&mut range.range),
            Request::Put(put) => self.in_put(put),
            Request::DeleteRange(delete) => self.in_range(&mut delete.range),
            Request::Txn(txn) => self.in_txn(txn),
            _ => {}
        }
        if let Outcome::Ok { response, .. } = &mut operation.outcome {
            self.in_body(&mut response.body);
        }
    }

    fn in_op(&mut self, op: &mut RequestOp) {
        match op {
            RequestOp::Range(range) => self.in_range(&mut range.range),
            RequestOp::Put(put) => self.in_put(put),
            RequestOp::DeleteRange(delete) => self.in_range(&mut delete.range),
            RequestOp::Txn(txn) => self.in_txn(txn),
        }
    }

    fn in_txn(&mut self, txn: &mut TxnRequest) {
        txn.compare.shrink_to_fit();
        txn.compare.iter_mut().for_each(|compare| self.in_range(&mut compare.range));
        for ops in [&mut txn.success, &mut txn.failure] {
            ops.shrink_to_fit();
            ops.iter_mut().for_each(|op| self.in_op(op));
        }
    }

    fn in_put(&mut self, put: &mut PutRequest) {
        self.one(&mut put.key);
        self.one(&mut put.value);
    }

    fn in_range(&mut self, range: &mut KeyRange) {
        self.one(&mut range.start);
        if let RangeEnd::Before(end) = &mut range.end {
            self.one(end);
        }
    }

    fn in_body(&mut self, body: &mut ResponseBody) {
        match body {
            ResponseBody::Range { kvs, .. } => self.in_list(kvs),
            ResponseBody::DeleteRange { prev_kvs, .. } => self.in_list(prev_kvs),
            ResponseBody::Txn { responses, .. } => {
                responses.shrink_to_fit();
                responses.iter_mut().for_each(|body| self.in_body(body));
            }
            _ => {}
        }
    }

    fn in_list(&mut self, kvs: &mut Vec<KeyValue>) {
        kvs.shrink_to_fit();
        for kv in kvs {
            self.one(&mut kv.key);
            self.one(&mut kv.value);
        }
    }

    fn one(&mut self, bytes: &mut Bytes) {
        // FNV-1a: what is kept here is short.
        let hash = bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        let slot = &mut self.slots[(hash >> 32) as usize % SLOTS];
        if slot != bytes {
            slot.clone_from(bytes);
        }
        bytes.clone_from(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_kept_once_and_stays_what_it_was() {
        let mut shared = Shared::default();
        let mut bytes: Vec<Bytes> = (0..40_000).map(|n| Bytes::from((n % 20_000).to_string())).collect();
        for one in &mut bytes {
            shared.one(one);
        }
        assert!((0..40_000).all(|n| bytes[n] == (n % 20_000).to_string()));
        let mut again = Bytes::from(b"39999".to_vec());
        let mut twice = again.clone();
        shared.one(&mut again);
        shared.one(&mut twice);
        assert_eq!(again.as_ptr(), twice.as_ptr());
    }
}
