//! Histories that are right by construction: clients of the specification itself, each operation taking effect at a
//! random point between its call and its answer. For tests.

use bytes::Bytes;
use detcd_replica::api::{
    CompactRequest, Compare, CompareResult, CompareTarget, DeleteRangeRequest, Error, Header, KeyRange, PutRequest,
    RangeRequest, Request, RequestOp, Response, TxnRequest, WatchBody, WatchCreate, WatchEventKind, WatchResponse,
};
use detcd_replica::history::{History, Operation, Outcome, Watch};
use detcd_replica::{MemberId, WatchId};

use crate::spec::Store;

/// SplitMix64: small, and the same everywhere.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }
}

/// What kind of history.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) clients: u32,
    pub(crate) operations: usize,
    pub(crate) keys: u64,
    pub(crate) unknown_percent: u64,
    pub(crate) watches: usize,
    pub(crate) compactions: bool,
}

impl Shape {
    pub(crate) const SMALL: Self =
        Self { clients: 5, operations: 120, keys: 4, unknown_percent: 8, watches: 4, compactions: true };
}

enum Stage {
    Called,
    /// Applied; the answer is under way.
    Done(Result<Response, Error>),
}

struct Pending {
    operation: usize,
    stage: Stage,
}

struct World {
    chance: Chance,
    shape: Shape,
    now: u64,
    value: u64,
    /// Compacted as etcd is.
    store: Store,
    /// Never compacted: what members that lag still have, and what watches tell.
    whole: Store,
    history: History,
    clients: Vec<Option<Pending>>,
    /// Writes whose client gave up, but which may yet take effect.
    adrift: Vec<usize>,
    watches: Vec<Position>,
}

struct Position {
    next: i64,
    bookmark: i64,
    alive: bool,
}

/// A history of the shape, by the seed.
pub(crate) fn history(seed: u64, shape: Shape) -> History {
    history_and_store(seed, shape).0
}

/// A history, and everything that was written in it.
pub(crate) fn history_and_store(seed: u64, shape: Shape) -> (History, Store) {
    let mut world = World {
        chance: Chance(seed),
        shape,
        now: 0,
        value: 0,
        store: Store::new(),
        whole: Store::new(),
        history: History::default(),
        clients: (0..shape.clients).map(|_| None).collect(),
        adrift: Vec::new(),
        watches: Vec::new(),
    };
    while world.history.operations.len() < shape.operations {
        world.step();
    }
    for _ in 0..shape.clients * 8 {
        world.advance_client();
    }
    for number in 0..world.watches.len() {
        while world.watches[number].alive && world.watches[number].next <= world.whole.revision() {
            world.deliver(number);
        }
        world.history.watches[number].complete = world.watches[number].alive;
    }
    (world.history, world.whole)
}

impl World {
    fn step(&mut self) {
        let watches = self.watches.len();
        match self.chance.below(20) {
            0 if watches < self.shape.watches => self.watch(),
            1 | 2 if watches > 0 => {
                let number = self.chance.below(watches as u64) as usize;
                self.deliver(number);
            }
            3 if watches > 0 => {
                let number = self.chance.below(watches as u64) as usize;
                self.progress(number);
            }
            4 if !self.adrift.is_empty() => {
                let pick = self.chance.below(self.adrift.len() as u64) as usize;
                let operation = self.adrift.swap_remove(pick);
                if self.chance.percent(60) {
                    let _ = self.apply(operation);
                }
            }
            _ => self.advance_client(),
        }
    }

    fn tick(&mut self) -> u64 {
        self.now += 1 + self.chance.below(3);
        self.now
    }

    fn advance_client(&mut self) {
        let client = self.chance.below(u64::from(self.shape.clients)) as usize;
        match self.clients[client].take() {
            None => {
                if self.history.operations.len() < self.shape.operations {
                    let request = self.request();
                    let operation = self.history.operations.len();
                    let (member, call) = (MemberId(1 + client as u64 % 3), self.tick());
                    let outcome = Outcome::Unknown { at: None };
                    self.history.operations.push(Operation {
                        client: client as u32,
                        member,
                        user: String::new(),
                        call,
                        request,
                        outcome,
                    });
                    self.clients[client] = Some(Pending { operation, stage: Stage::Called });
                }
            }
            Some(Pending { operation, stage: Stage::Called }) => {
                if self.chance.percent(self.shape.unknown_percent) {
                    let at = self.tick();
                    self.history.operations[operation].outcome = Outcome::Unknown { at: Some(at) };
                    self.adrift.push(operation);
                } else {
                    let result = self.apply(operation);
                    self.clients[client] = Some(Pending { operation, stage: Stage::Done(result) });
                }
            }
            Some(Pending { operation, stage: Stage::Done(result) }) => {
                let at = self.tick();
                self.history.operations[operation].outcome = match result {
                    _ if self.chance.percent(self.shape.unknown_percent) => Outcome::Unknown { at: Some(at) },
                    Ok(response) => Outcome::Ok { at, response },
                    Err(error) => Outcome::Failed { at, error },
                };
            }
        }
    }

    fn apply(&mut self, operation: usize) -> Result<Response, Error> {
        let Operation { request, member, .. } = &self.history.operations[operation];
        let header = |revision| Header { member: *member, revision, raft_term: 2 };
        if let Request::Range(range) = request {
            if range.serializable && range.revision == 0 {
                let revision = (self.whole.revision() - self.chance.below(4) as i64).max(1);
                let then = Request::Range(RangeRequest { revision, ..range.clone() });
                let applied = self.whole.apply(&then).expect("the revision is there");
                return Ok(Response { header: header(revision), body: applied.body });
            }
        }
        let applied = self.store.apply(request)?;
        if applied.changed {
            self.whole.apply(request).expect("both stores do the same");
        }
        Ok(Response { header: header(applied.revision), body: applied.body })
    }

    fn key(&mut self) -> Bytes {
        Bytes::from(format!("key{}", self.chance.below(self.shape.keys)))
    }

    fn put(&mut self) -> PutRequest {
        self.value += 1;
        let value = Bytes::from(format!("{}", self.value));
        PutRequest { prev_kv: self.chance.percent(20), ..PutRequest::of(self.key(), value) }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        let range = if self.chance.percent(90) { KeyRange::single(self.key()) } else { KeyRange::prefix("key") };
        DeleteRangeRequest { range, prev_kv: self.chance.percent(20) }
    }

    fn range(&mut self) -> RangeRequest {
        let range = if self.chance.percent(50) { KeyRange::single(self.key()) } else { KeyRange::prefix("key") };
        let mut request = RangeRequest::of(range);
        match self.chance.below(12) {
            0 => request.limit = 2,
            1 => request.count_only = true,
            2 => request.keys_only = true,
            3 => request.revision = (self.store.revision() - self.chance.below(6) as i64 + 1).max(1),
            4 | 5 => request.serializable = true,
            _ => {}
        }
        request
    }

    fn op(&mut self) -> RequestOp {
        match self.chance.below(3) {
            0 => RequestOp::Put(self.put()),
            1 => RequestOp::DeleteRange(self.delete()),
            _ => RequestOp::Range(RangeRequest { serializable: false, ..self.range() }),
        }
    }

    fn request(&mut self) -> Request {
        match self.chance.below(100) {
            0..=34 => Request::Put(self.put()),
            35..=44 => Request::DeleteRange(self.delete()),
            45..=59 => {
                let target = match self.chance.below(3) {
                    0 => CompareTarget::Mod(self.chance.below(self.store.revision() as u64 + 1) as i64),
                    1 => CompareTarget::Version(self.chance.below(3) as i64),
                    _ => CompareTarget::Create(0),
                };
                let result =
                    [CompareResult::Equal, CompareResult::Greater, CompareResult::Less, CompareResult::NotEqual]
                        [self.chance.below(4) as usize];
                let compare = vec![Compare { range: KeyRange::single(self.key()), result, target }];
                Request::Txn(TxnRequest { compare, success: vec![self.op(), self.op()], failure: vec![self.op()] })
            }
            60..=62 if self.shape.compactions => {
                let revision = (self.store.revision() - 6 + self.chance.below(9) as i64).max(1);
                Request::Compact(CompactRequest { revision, physical: false })
            }
            _ => Request::Range(self.range()),
        }
    }

    fn watch(&mut self) {
        let start_revision = match self.chance.below(3) {
            0 => 0,
            1 => (self.whole.revision() - self.chance.below(8) as i64).max(1),
            _ => self.whole.revision() + self.chance.below(4) as i64,
        };
        let range = if self.chance.percent(40) { KeyRange::single(self.key()) } else { KeyRange::prefix("key") };
        let request = WatchCreate {
            watch: WatchId(1),
            range,
            start_revision,
            prev_kv: self.chance.percent(60),
            progress_notify: true,
            no_put: self.chance.percent(5),
            no_delete: self.chance.percent(5),
        };
        let call = self.tick();
        let now = self.whole.revision();
        let created = (self.tick(), self.response(WatchBody::Created, now));
        let next = if start_revision == 0 { now + 1 } else { start_revision };
        self.watches.push(Position { next, bookmark: 0, alive: true });
        self.history.watches.push(Watch {
            client: 90,
            member: MemberId(1),
            user: String::new(),
            resumes: None,
            call,
            request,
            responses: vec![created],
            progress_requests: Vec::new(),
            complete: false,
        });
    }

    fn response(&self, body: WatchBody, revision: i64) -> WatchResponse {
        let header = Header { member: MemberId(1), revision, raft_term: 2 };
        WatchResponse { watch: Some(WatchId(1)), header, body }
    }

    fn deliver(&mut self, number: usize) {
        let (first, newest) = (self.watches[number].next, self.whole.revision());
        if first > newest || !self.watches[number].alive {
            return;
        }
        let last = first + self.chance.below(3.min((newest - first + 1) as u64)) as i64;
        if first < self.store.compact_revision() && self.chance.percent(20) {
            let at = self.tick();
            let body = WatchBody::Cancelled { compact_revision: self.store.compact_revision(), reason: "" };
            let response = self.response(body, newest);
            self.history.watches[number].responses.push((at, response));
            self.watches[number].alive = false;
            return;
        }
        let request = self.history.watches[number].request.clone();
        let compacted = self.store.compact_revision();
        let mut events = Vec::new();
        for revision in first..=last {
            for mut event in self.whole.events(revision) {
                let filtered = match event.kind {
                    WatchEventKind::Put => request.no_put,
                    WatchEventKind::Delete => request.no_delete,
                };
                if filtered || !request.range.contains(&event.kv.key) {
                    continue;
                }
                if !request.prev_kv || revision - 1 < compacted {
                    event.prev_kv = None;
                }
                events.push(event);
            }
        }
        self.watches[number].next = last + 1;
        if !events.is_empty() {
            let at = self.tick();
            let response = self.response(WatchBody::Events(events), newest);
            self.history.watches[number].responses.push((at, response));
        }
    }

    fn progress(&mut self, number: usize) {
        let Position { next, bookmark, alive } = self.watches[number];
        let revision = next - 1;
        let start = self.history.watches[number].request.start_revision;
        if !alive || revision < bookmark.max(start) || revision > self.whole.revision() || revision < 1 {
            return;
        }
        let at = self.tick();
        let response = self.response(WatchBody::Progress, revision);
        self.history.watches[number].responses.push((at, response));
        self.watches[number].bookmark = revision;
    }
}
