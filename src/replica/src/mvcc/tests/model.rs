//! The reference, and requests drawn at random.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::Dice;
use crate::api::*;

/// The live keys.
pub(super) type State = BTreeMap<Key, KeyValue>;

/// All that ever happened, never compacted.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) events: Vec<WatchEvent>,
    pub(super) state: State,
}

impl Model {
    pub(super) fn revision(&self) -> Revision {
        self.events.last().map_or(1, |event| event.kv.mod_revision)
    }

    pub(super) fn state_at(&self, revision: Revision) -> State {
        let mut state = State::new();
        for event in self.events.iter().filter(|event| event.kv.mod_revision <= revision) {
            match event.kind {
                WatchEventKind::Put => state.insert(event.kv.key.clone(), event.kv.clone()),
                WatchEventKind::Delete => state.remove(&event.kv.key),
            };
        }
        state
    }

    /// The body, and how many events it made.
    pub(super) fn apply(&mut self, request: &TxnRequest) -> (ResponseBody, usize) {
        let (before, at, events) = (self.state.clone(), self.revision() + 1, self.events.len());
        let body = self.txn(request, &before, at);
        (body, self.events.len() - events)
    }

    fn txn(&mut self, request: &TxnRequest, before: &State, at: Revision) -> ResponseBody {
        let succeeded = request.compare.iter().all(|compare| holds(compare, before));
        let ops = if succeeded { &request.success } else { &request.failure };
        let responses = ops.iter().map(|op| self.op(op, before, at)).collect();
        ResponseBody::Txn { succeeded, responses }
    }

    fn op(&mut self, op: &RequestOp, before: &State, at: Revision) -> ResponseBody {
        match op {
            RequestOp::Txn(inner) => self.txn(inner, before, at),
            RequestOp::Range(request) if request.revision > 0 => range(request, &self.state_at(request.revision)),
            RequestOp::Range(request) => range(request, &self.state),
            RequestOp::Put(put) => {
                let old = self.state.get(&put.key).cloned();
                let keep = old.as_ref().filter(|_| put.ignore_value);
                let kv = KeyValue {
                    key: put.key.clone(),
                    create_revision: old.as_ref().map_or(at, |old| old.create_revision),
                    mod_revision: at,
                    version: old.as_ref().map_or(1, |old| old.version + 1),
                    value: keep.map_or_else(|| put.value.clone(), |old| old.value.clone()),
                    lease: 0,
                };
                self.state.insert(put.key.clone(), kv.clone());
                self.events.push(WatchEvent { kind: WatchEventKind::Put, kv, prev_kv: None });
                ResponseBody::Put { prev_kv: old.filter(|_| put.prev_kv) }
            }
            RequestOp::DeleteRange(delete) => {
                let gone: Vec<KeyValue> =
                    self.state.values().filter(|kv| delete.range.contains(&kv.key)).cloned().collect();
                for kv in &gone {
                    self.state.remove(&kv.key);
                    let kv = crate::mvcc::proto::only_key(kv.key.clone(), at);
                    self.events.push(WatchEvent { kind: WatchEventKind::Delete, kv, prev_kv: None });
                }
                let deleted = gone.len() as u64;
                ResponseBody::DeleteRange { deleted, prev_kvs: if delete.prev_kv { gone } else { vec![] } }
            }
        }
    }
}

/// Whether the transaction, on its path through the state, keeps something of a key that is not there before it.
pub(super) fn lacks_key(request: &TxnRequest, state: &State) -> bool {
    let succeeded = request.compare.iter().all(|compare| holds(compare, state));
    let ops = if succeeded { &request.success } else { &request.failure };
    ops.iter().any(|op| match op {
        RequestOp::Put(put) => (put.ignore_value || put.ignore_lease) && !state.contains_key(&put.key),
        RequestOp::Txn(inner) => lacks_key(inner, state),
        _ => false,
    })
}

/// Whether a transaction might delete a key and then put it, which etcd does not see and sometimes does not survive.
pub(super) fn crashes_etcd(request: &TxnRequest) -> bool {
    fn any(request: &TxnRequest, is: &dyn Fn(&RequestOp) -> bool) -> bool {
        request.success.iter().chain(&request.failure).any(|op| match op {
            RequestOp::Txn(inner) => any(inner, is),
            op => is(op),
        })
    }
    any(request, &|op| matches!(op, RequestOp::DeleteRange(delete) if delete.range.end == RangeEnd::Open))
        && any(request, &|op| matches!(op, RequestOp::Put(_)))
}

/// Step by step as etcd's page on the API has it: what is in the range, what the filters leave, in which order, how
/// many.
pub(super) fn range(request: &RangeRequest, state: &State) -> ResponseBody {
    let mut kvs: Vec<KeyValue> = state.values().filter(|kv| request.range.contains(&kv.key)).cloned().collect();
    let count = kvs.len() as u64;
    if request.count_only {
        return ResponseBody::Range { kvs: vec![], more: false, count };
    }
    let limit = if request.limit == 0 { usize::MAX } else { request.limit as usize };
    if request.sort_order == SortOrder::None && !request.has_revision_filters() {
        kvs.truncate(limit.saturating_add(1));
    }
    let outside = |revision: i64, min: i64, max: i64| (min != 0 && revision < min) || (max != 0 && revision > max);
    kvs.retain(|kv| !outside(kv.mod_revision, request.min_mod_revision, request.max_mod_revision));
    kvs.retain(|kv| !outside(kv.create_revision, request.min_create_revision, request.max_create_revision));
    // Selection, the earliest of equals first.
    let number = |kv: &KeyValue| match request.sort_target {
        SortTarget::Key | SortTarget::Value => 0,
        SortTarget::Version => kv.version,
        SortTarget::Create => kv.create_revision,
        SortTarget::Mod => kv.mod_revision,
    };
    let bytes = |kv: &KeyValue| match request.sort_target {
        SortTarget::Key => kv.key.clone(),
        SortTarget::Value => kv.value.clone(),
        _ => Bytes::new(),
    };
    let mut sorted: Vec<KeyValue> = Vec::new();
    while !kvs.is_empty() {
        let mut best = 0;
        for place in 1..kvs.len() {
            let (new, old) = ((number(&kvs[place]), bytes(&kvs[place])), (number(&kvs[best]), bytes(&kvs[best])));
            let before = if request.sort_order == SortOrder::Descend { new > old } else { new < old };
            if before {
                best = place;
            }
        }
        sorted.push(kvs.remove(best));
    }
    let more = sorted.len() > limit;
    sorted.truncate(limit);
    if request.keys_only {
        sorted.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    ResponseBody::Range { more, kvs: sorted, count }
}

fn holds(compare: &Compare, state: &State) -> bool {
    let one = |kv: &KeyValue| {
        let order = match &compare.target {
            CompareTarget::Version(n) => kv.version.cmp(n),
            CompareTarget::Create(n) => kv.create_revision.cmp(n),
            CompareTarget::Mod(n) => kv.mod_revision.cmp(n),
            CompareTarget::Lease(n) => kv.lease.cmp(n),
            CompareTarget::Value(v) => kv.value.cmp(v),
        };
        match compare.result {
            CompareResult::Equal => order.is_eq(),
            CompareResult::NotEqual => !order.is_eq(),
            CompareResult::Less => order.is_lt(),
            CompareResult::Greater => order.is_gt(),
        }
    };
    let kvs: Vec<&KeyValue> = state.values().filter(|kv| compare.range.contains(&kv.key)).collect();
    if kvs.is_empty() {
        let is_value = matches!(compare.target, CompareTarget::Value(_));
        return !is_value && one(&crate::mvcc::proto::only_key(Bytes::new(), 0));
    }
    kvs.into_iter().all(one)
}

impl Dice {
    pub(crate) fn key(&mut self) -> Key {
        Bytes::from_static([&b"a"[..], b"aa", b"ab", b"b", b"c", b"c\xff"][self.below(6) as usize])
    }

    pub(super) fn range(&mut self) -> KeyRange {
        match self.below(6) {
            0 => KeyRange::prefix(self.key()),
            1 => KeyRange { start: self.key(), end: RangeEnd::Open },
            2 => KeyRange { start: self.key(), end: RangeEnd::Before(self.key()) },
            _ => KeyRange::single(self.key()),
        }
    }

    /// A put that does not need its key to exist.
    pub(super) fn plain_put(&mut self) -> RequestOp {
        let value = Bytes::from(format!("{}", self.below(4)));
        RequestOp::Put(PutRequest { prev_kv: self.one_in(2), ..PutRequest::of(self.key(), value) })
    }

    pub(super) fn put(&mut self) -> RequestOp {
        let value = Bytes::from(format!("{}", self.below(4)));
        let mut put = PutRequest { prev_kv: self.one_in(2), ..PutRequest::of(self.key(), value) };
        put.ignore_lease = self.one_in(8);
        if self.one_in(8) {
            (put.ignore_value, put.value) = (true, Bytes::new());
        }
        RequestOp::Put(put)
    }

    pub(super) fn delete(&mut self) -> RequestOp {
        RequestOp::DeleteRange(DeleteRangeRequest { range: self.range(), prev_kv: self.one_in(2) })
    }

    /// A read of the present or of a revision that is there now.
    pub(super) fn read(&mut self, low: Revision, high: Revision) -> RangeRequest {
        let mut request = RangeRequest::of(self.range());
        request.limit = self.below(4);
        request.keys_only = self.one_in(3);
        request.count_only = self.one_in(6);
        let orders = [SortOrder::None, SortOrder::None, SortOrder::Ascend, SortOrder::Descend];
        request.sort_order = orders[self.below(4) as usize];
        let targets = [SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value];
        request.sort_target = targets[self.below(5) as usize];
        for bound in [
            &mut request.min_mod_revision,
            &mut request.max_mod_revision,
            &mut request.min_create_revision,
            &mut request.max_create_revision,
        ] {
            if self.one_in(6) {
                *bound = self.below(high as u64 + 2) as i64;
            }
        }
        if self.one_in(2) {
            request.revision = low.max(1) + self.below((high - low.max(1) + 1) as u64) as i64;
        }
        request
    }

    fn compare(&mut self, high: Revision) -> Compare {
        let n = self.below(high as u64 + 1) as i64;
        let target = match self.below(5) {
            0 => CompareTarget::Version(n % 3),
            1 => CompareTarget::Create(n),
            2 => CompareTarget::Mod(n),
            3 => CompareTarget::Lease(n % 2),
            _ => CompareTarget::Value(Bytes::from(format!("{}", n % 4))),
        };
        let result = [CompareResult::Equal, CompareResult::Greater, CompareResult::Less, CompareResult::NotEqual]
            [self.below(4) as usize];
        Compare { range: self.range(), result, target }
    }

    pub(super) fn txn(&mut self, depth: u64, low: Revision, high: Revision) -> TxnRequest {
        let mut list = |most: u64| {
            let ops = (0..self.below(most)).map(|_| match self.below(6) {
                0 | 1 => self.put(),
                2 => self.delete(),
                3 if depth > 0 => RequestOp::Txn(Box::new(self.txn(depth - 1, low, high))),
                _ => RequestOp::Range(self.read(low, high)),
            });
            ops.collect::<Vec<_>>()
        };
        let (success, failure) = (list(4), list(4));
        let compare = (0..self.below(3)).map(|_| self.compare(high)).collect();
        TxnRequest { compare, success, failure }
    }
}
