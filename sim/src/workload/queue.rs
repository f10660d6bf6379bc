//! A session in a queue, as etcd's `concurrency` package has it for its locks and its elections.
//!
//! A session is a lease. Who queues up creates a key of its own under a prefix, with the lease, and is first when no
//! key there is older; else it waits until the next older one is gone. One that is awake keeps its session alive
//! meanwhile. Who has waited may make sure that it is still there before it takes itself for the first. Whatever has no
//! answer is undone by the end of the session. Knows nothing of what being first is good for.

use bytes::Bytes;
use detcd_replica::api::{
    Compare, CompareResult, CompareTarget, Key, KeyRange, KeyValue, LeaseGrantRequest, LeaseId, PutRequest, RangeEnd,
    RangeRequest, Request, RequestOp, Response, ResponseBody, Revision, SortOrder, SortTarget, TxnRequest,
};

use super::{get, put};

/// Each client has so many ids of leases of its own.
const IDS: i64 = 1_000_000;
/// A waiter that is awake keeps its session alive after so many looks.
const LOOKS: u32 = 3;

/// What a session does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// Begin.
    #[default]
    Grant,
    /// Queue up.
    Acquire,
    /// Look whether the next older key is gone; so many times it has.
    Wait(u32),
    /// The way is free: keep the session alive, so that it does not end before the work is done.
    Renew,
    /// And look whether its own key is still there.
    Recheck,
    /// It is first, as far as it knows.
    First,
    /// End.
    Release,
}

/// A session.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    step: Step,
    sessions: i64,
    lease: LeaseId,
    prefix: Vec<u8>,
    /// When its key was created.
    created: Revision,
    dozes: bool,
}

impl Session {
    /// Whether the next request begins a new one.
    pub(super) fn is_new(&self) -> bool {
        self.step == Step::Grant
    }

    /// Whether it takes itself for the first in its queue.
    pub(super) fn is_first(&self) -> bool {
        self.step == Step::First
    }

    /// A new one: the lease that it needs.
    pub(super) fn begin(&mut self, client: u32, ttl: i64, prefix: Vec<u8>, dozes: bool) -> Request {
        assert!(self.is_new(), "the one before has ended");
        self.sessions += 1;
        self.lease = i64::from(client + 1) * IDS + self.sessions;
        (self.prefix, self.dozes) = (prefix, dozes);
        Request::LeaseGrant(LeaseGrantRequest { id: self.lease, ttl })
    }

    /// What it asks until it is first, and to end. Its key gets this value.
    pub(super) fn next(&mut self, value: impl FnOnce() -> Bytes) -> Request {
        match self.step {
            Step::Acquire => self.acquire(value()),
            Step::Wait(looks) if looks % LOOKS == LOOKS - 1 && !self.dozes => {
                self.step = Step::Wait(looks + 1);
                Request::LeaseKeepAlive { id: self.lease }
            }
            Step::Wait(_) => self.look(),
            Step::Renew => Request::LeaseKeepAlive { id: self.lease },
            Step::Recheck => Request::Range(get(self.key())),
            Step::Release => Request::LeaseRevoke { id: self.lease },
            Step::Grant | Step::First => panic!("somebody else asks then"),
        }
    }

    /// How that ended. With `rechecks` it makes sure of its own key after it has waited.
    pub(super) fn ended(&mut self, answer: Option<&Response>, rechecks: bool) {
        let lives = matches!(answer.map(|it| &it.body), Some(ResponseBody::LeaseKeepAlive { ttl, .. }) if *ttl > 0);
        self.step = match (self.step, answer) {
            (Step::Grant, Some(_)) => Step::Acquire,
            (Step::Acquire, Some(response)) => match self.acquired(response) {
                Some(true) => Step::First,
                Some(false) => Step::Wait(0),
                None => Step::Release,
            },
            // Whether its key is there is found out by another attempt, or by the end of the session.
            (Step::Acquire, None) => Step::Release,
            (Step::Wait(looks), Some(response)) => match &response.body {
                ResponseBody::Range { kvs, .. } if kvs.is_empty() && rechecks => Step::Renew,
                ResponseBody::Range { kvs, .. } if kvs.is_empty() => Step::First,
                ResponseBody::LeaseKeepAlive { .. } if !lives && rechecks => Step::Grant,
                _ => Step::Wait(looks + 1),
            },
            (Step::Wait(looks), None) => Step::Wait(looks + 1),
            (Step::Renew, Some(_)) if lives => Step::Recheck,
            (Step::Recheck, Some(response)) => match first(&response.body) {
                Some(kv) if kv.create_revision == self.created => Step::First,
                _ => Step::Grant,
            },
            (Step::Renew | Step::Recheck, _) => Step::Release,
            (Step::Grant | Step::Release, _) => Step::Grant,
            (Step::First, _) => panic!("somebody else asked"),
        };
    }

    /// Its next request ends it.
    pub(super) fn release(&mut self) {
        self.step = Step::Release;
    }

    /// It is known to have ended.
    pub(super) fn is_over(&mut self) {
        self.step = Step::Grant;
    }

    /// It has left the queue, and goes to its end again.
    pub(super) fn queue_again(&mut self) {
        self.step = Step::Acquire;
    }

    pub(super) fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Its own key.
    pub(super) fn key(&self) -> Key {
        let mut key = self.prefix.clone();
        super::digits(self.lease.unsigned_abs(), &mut key);
        key.into()
    }

    /// Whether its own key is still the one that made it first.
    pub(super) fn holds(&self) -> Compare {
        self.compare(self.created)
    }

    fn compare(&self, created: Revision) -> Compare {
        let range = KeyRange { start: self.key(), end: RangeEnd::Single };
        Compare { range, result: CompareResult::Equal, target: CompareTarget::Create(created) }
    }

    fn acquire(&self, value: Bytes) -> Request {
        let oldest = oldest(&self.prefix);
        let put = PutRequest { lease: self.lease, ..put(self.key(), value) };
        Request::Txn(TxnRequest {
            compare: vec![self.compare(0)],
            success: vec![RequestOp::Put(put), RequestOp::Range(oldest.clone())],
            failure: vec![RequestOp::Range(get(self.key())), RequestOp::Range(oldest)],
        })
    }

    /// The key right before its own.
    fn look(&self) -> Request {
        let mut older = RangeRequest::of(KeyRange::prefix(self.prefix.clone()));
        (older.limit, older.sort_order, older.sort_target) = (1, SortOrder::Descend, SortTarget::Create);
        older.max_create_revision = self.created - 1;
        Request::Range(older)
    }

    /// What the answer to the attempt says: when its key was created, and whether it is the oldest.
    fn acquired(&mut self, response: &Response) -> Option<bool> {
        let ResponseBody::Txn { succeeded, responses } = &response.body else { return None };
        self.created = match succeeded {
            true => response.header.revision,
            false => first(responses.first()?)?.create_revision,
        };
        Some(first(responses.get(1)?)?.create_revision == self.created)
    }
}

/// The oldest key with a prefix.
pub(super) fn oldest(prefix: &[u8]) -> RangeRequest {
    let mut oldest = RangeRequest::of(KeyRange::prefix(prefix.to_vec()));
    (oldest.limit, oldest.sort_order, oldest.sort_target) = (1, SortOrder::Ascend, SortTarget::Create);
    oldest
}

/// The first of what was read.
pub(super) fn first(body: &ResponseBody) -> Option<&KeyValue> {
    match body {
        ResponseBody::Range { kvs, .. } => kvs.first(),
        _ => None,
    }
}
