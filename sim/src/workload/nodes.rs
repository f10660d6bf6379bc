//! `kubernetes-nodes`: what a Kubernetes cluster of so many nodes writes when nothing special happens.
//!
//! Of `n` nodes, each renews its lease every 10 s (`0.1 n` writes a second of 300 B) and reports its status every five
//! minutes (`n/300`, 15 kB). `n/250` pods a second, 20 at most, are made, change four times and go (2 kB each), with
//! six events each that are created under leases of an hour (500 B). Five controllers hold their leadership by a write
//! every two seconds, and each of the three API servers lists all pods now and then, in pages. Sources: KEP-0009 (node
//! leases), Kubernetes' scalability thresholds (pod churn), `--event-ttl` and its reuse of leases. For 1,000 nodes
//! these are 154 writes a second; how fast they come is the scenario's affair: `clients.count` requests at a time, and
//! `clients.think_time` between two of one client.
//!
//! A write is guarded by the object's last revision, as far as the API servers know it. They know of each other's
//! writes at once, as if by their watches, so that a guard fails only after a write whose outcome was unknown.

use std::collections::{BTreeMap, VecDeque};

use detcd_replica::api::{
    DeleteRangeRequest, Key, KeyRange, LeaseGrantRequest, LeaseId, PutRequest, RangeRequest, Request, RequestOp,
    Response, ResponseBody, Revision,
};

use super::etcd::guarded;
use super::{choose, get, Ended, Names, Seen, Workload};
use crate::scenario::{self, Chance};

pub(super) const PREFIX: &[u8] = b"/registry/";

const LEASES: &str = "/registry/leases/kube-node-lease/node-";
const CONTROLLERS: &str = "/registry/leases/kube-system/controller-";
const NODES: &str = "/registry/minions/node-";
const PODS: &str = "/registry/pods/default/pod-";
const EVENTS: &str = "/registry/events/default/event-";

/// Kinds of objects that an API server watches; all but the first five never change here.
const KINDS: u64 = 60;
/// Changes of a pod between its creation and its end.
const POD_UPDATES: u32 = 4;
/// Pods made a second, at most.
const PODS_MAX: u64 = 20;
/// Events under one lease, and how long that lives: an hour, and what its reuse adds.
const EVENTS_OF_A_LEASE: u32 = 1_000;
const EVENT_TTL: i64 = 3_660;
/// Bytes of objects.
const LEASE_BYTES: usize = 300;
const NODE_BYTES: usize = 15_000;
const POD_BYTES: usize = 2_000;
const EVENT_BYTES: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    NodeLease,
    NodeStatus,
    Pod,
    Event,
    Controller,
    List,
}

/// So many of each in 1,500 s.
fn shares(nodes: u64) -> [(Op, u64); 6] {
    let pods = (nodes * 6).min(PODS_MAX * 1_500);
    [
        (Op::NodeLease, nodes * 150),
        (Op::NodeStatus, nodes * 5),
        (Op::Pod, pods * (2 + u64::from(POD_UPDATES))),
        (Op::Event, pods * 6),
        (Op::Controller, 5 * 750),
        (Op::List, 3 * 15),
    ]
}

/// What an API server may watch: kinds that change first.
pub(super) fn ranges() -> Vec<KeyRange> {
    let changing = [LEASES, CONTROLLERS, NODES, PODS, EVENTS];
    let others = (changing.len() as u64..KINDS).map(|kind| KeyRange::prefix(format!("/registry/kind-{kind}/")));
    changing.into_iter().map(KeyRange::prefix).chain(others).collect()
}

/// An object with its last revision, 0 where there is none.
#[derive(Clone, Debug)]
struct Object {
    key: Key,
    revision: Revision,
    /// Changes since its creation.
    updates: u32,
    /// Whether a request for it is under way.
    busy: bool,
}

impl Object {
    fn new(prefix: &str, number: u64) -> Self {
        Self { key: format!("{prefix}{number:05}").into(), revision: 0, updates: 0, busy: false }
    }
}

/// Objects that take turns, so that each is written as often as the others.
#[derive(Clone, Debug)]
struct Turns {
    objects: Vec<Object>,
    next: usize,
    /// Bytes of each.
    bytes: usize,
}

impl Turns {
    fn of(prefix: &str, count: u64, bytes: usize) -> Self {
        Self { objects: (0..count).map(|n| Object::new(prefix, n)).collect(), next: 0, bytes }
    }
}

/// The generator.
pub struct Nodes {
    shares: [(Op, u64); 6],
    tickets: u64,
    leases: Turns,
    nodes: Turns,
    controllers: Turns,
    /// One for each node: those that come and go.
    pods: Turns,
    /// Pods and events that there have been.
    made: u64,
    events: u64,
    /// The lease of events, and how many it has.
    event_lease: Option<(LeaseId, u32)>,
    /// What each client writes: whose turn it was, and which object.
    under_way: BTreeMap<u32, (Op, usize)>,
    /// Objects of whose last change nobody knows whether it happened.
    doubts: VecDeque<(Op, usize)>,
    names: Names,
    page: u64,
}

impl Nodes {
    /// With the parameters of a scenario; `keys` are nodes.
    pub fn new(parameters: &scenario::Workload) -> Self {
        let nodes = parameters.keys;
        let shares = shares(nodes);
        let mut pods = Turns::of(PODS, nodes, POD_BYTES);
        // So that not all of them come and go at the same time.
        let lives = (0..=POD_UPDATES).cycle();
        pods.objects.iter_mut().zip(lives).for_each(|(pod, updates)| pod.updates = updates);
        Self {
            shares,
            tickets: shares.iter().map(|(_, share)| share).sum(),
            leases: Turns::of(LEASES, nodes, LEASE_BYTES),
            nodes: Turns::of(NODES, nodes, NODE_BYTES),
            controllers: Turns::of(CONTROLLERS, 5, LEASE_BYTES),
            pods,
            made: nodes,
            events: 0,
            event_lease: None,
            under_way: BTreeMap::new(),
            doubts: VecDeque::new(),
            names: Names::values(parameters),
            page: parameters.page,
        }
    }

    fn turns(&mut self, op: Op) -> &mut Turns {
        match op {
            Op::NodeLease => &mut self.leases,
            Op::NodeStatus => &mut self.nodes,
            Op::Controller => &mut self.controllers,
            Op::Pod => &mut self.pods,
            Op::Event | Op::List => unreachable!("{op:?} has no objects that take turns"),
        }
    }

    /// The next object of a kind is written, unless its last change is still under way.
    fn write(&mut self, client: u32, op: Op) -> Request {
        let turns = self.turns(op);
        turns.next = (turns.next + 1) % turns.objects.len();
        let (place, bytes) = (turns.next, turns.bytes);
        let object = &mut turns.objects[place];
        let (key, revision) = (object.key.clone(), object.revision);
        if std::mem::replace(&mut object.busy, true) {
            return Request::Range(get(key));
        }
        let ends = op == Op::Pod && revision != 0 && object.updates > POD_UPDATES;
        self.under_way.insert(client, (op, place));
        let change = match ends {
            true => RequestOp::DeleteRange(DeleteRangeRequest { range: KeyRange::single(key.clone()), prev_kv: false }),
            false => RequestOp::Put(PutRequest::of(key.clone(), self.names.sized(client, bytes))),
        };
        Request::Txn(guarded(key, revision, change))
    }

    fn event(&mut self, client: u32) -> Request {
        let Some((lease, used)) = self.event_lease.as_mut().filter(|(_, used)| *used < EVENTS_OF_A_LEASE) else {
            return Request::LeaseGrant(LeaseGrantRequest { id: 0, ttl: EVENT_TTL });
        };
        *used += 1;
        let lease = *lease;
        self.events += 1;
        let key = Object::new(EVENTS, self.events).key;
        let put = PutRequest { lease, ..PutRequest::of(key.clone(), self.names.sized(client, EVENT_BYTES)) };
        Request::Txn(guarded(key, 0, RequestOp::Put(put)))
    }

    /// An object is at this revision now.
    fn settle(&mut self, op: Op, place: usize, revision: Revision) {
        let made = self.made;
        let object = &mut self.turns(op).objects[place];
        let ended = op == Op::Pod && object.revision != 0 && revision == 0;
        object.busy = false;
        if object.revision != revision {
            object.updates += 1;
        }
        object.revision = revision;
        if ended {
            *object = Object::new(PODS, made);
            self.made += 1;
        }
    }
}

/// The last revision of the one key that was read, 0 where it is not there.
fn read(body: &ResponseBody) -> Revision {
    let ResponseBody::Range { kvs, .. } = body else { return 0 };
    kvs.first().map_or(0, |kv| kv.mod_revision)
}

impl Workload for Nodes {
    fn next(&mut self, client: u32, seen: &Seen, chance: &mut dyn Chance) -> Request {
        if let Some(page) = &seen.page {
            let range = KeyRange { start: page.start.clone(), end: KeyRange::prefix(PODS).end };
            return Request::Range(RangeRequest {
                revision: page.revision,
                limit: self.page,
                ..RangeRequest::of(range)
            });
        }
        if let Some((op, place)) = self.doubts.pop_front() {
            self.under_way.insert(client, (op, place));
            return Request::Range(get(self.turns(op).objects[place].key.clone()));
        }
        match choose(&self.shares, chance.below("workload.op", u64::from(client), self.tickets)) {
            Op::Event => self.event(client),
            Op::List => Request::Range(RangeRequest { limit: self.page, ..RangeRequest::of(KeyRange::prefix(PODS)) }),
            op => self.write(client, op),
        }
    }

    fn ended(&mut self, client: u32, request: &Request, ended: Ended<'_>) {
        if let Ended::Answered(Response { body: ResponseBody::LeaseGrant { id, .. }, .. }) = ended {
            self.event_lease = Some((*id, 0));
        }
        let Some((op, place)) = self.under_way.remove(&client) else { return };
        let Ended::Answered(response) = ended else { return self.doubts.push_back((op, place)) };
        let revision = match (&response.body, request) {
            (ResponseBody::Txn { succeeded: false, responses }, _) => responses.first().map_or(0, read),
            (ResponseBody::Txn { .. }, Request::Txn(txn)) => match txn.success[..] {
                [RequestOp::DeleteRange(_)] => 0,
                _ => response.header.revision,
            },
            (body, _) => read(body),
        };
        self.settle(op, place, revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Dice;
    use detcd_replica::api::Header;
    use detcd_replica::MemberId;

    fn answered(revision: Revision, body: ResponseBody) -> Response {
        Response { header: Header { member: MemberId(1), revision, raft_term: 1 }, body }
    }

    #[test]
    fn a_thousand_nodes_write_154_times_a_second() {
        let shares = shares(1_000);
        let a_second =
            |op: Op| shares.iter().find(|(other, _)| *other == op).map_or(0, |(_, share)| *share) as f64 / 1500.0;
        assert!((a_second(Op::NodeLease) - 100.0).abs() < 0.01);
        assert!((a_second(Op::NodeStatus) - 3.33).abs() < 0.01);
        assert_eq!((a_second(Op::Pod), a_second(Op::Event), a_second(Op::Controller)), (24.0, 24.0, 2.5));
        // Churn has an upper bound.
        assert_eq!(super::shares(50_000)[2].1, 20 * 1_500 * 6);
    }

    /// A store that grants what it is asked, as long as guards are right.
    #[test]
    fn pods_come_change_and_go_and_guards_are_right() {
        let mut nodes = Nodes::new(&scenario::Workload { keys: 10, ..scenario::Workload::default() });
        let (mut dice, seen) = (Dice(3), Seen::new(false));
        let mut store = BTreeMap::<Key, Revision>::new();
        let (mut created, mut deleted, mut leased) = (0, 0, 0);
        for revision in 2..20_000 {
            let request = nodes.next(1, &seen, &mut dice);
            let body = match &request {
                Request::LeaseGrant(_) => ResponseBody::LeaseGrant { id: revision, ttl: 1 },
                Request::Range(_) => ResponseBody::Range { kvs: Vec::new(), more: false, count: 0 },
                Request::Txn(txn) => {
                    let key = &txn.compare[0].range.start;
                    let expected = detcd_replica::api::CompareTarget::Mod(store.get(key).copied().unwrap_or(0));
                    assert_eq!(txn.compare[0].target, expected, "{key:?}");
                    let pod = key.starts_with(PODS.as_bytes());
                    match &txn.success[0] {
                        RequestOp::Put(put) => {
                            created += u64::from(pod && !store.contains_key(key));
                            leased += u64::from(put.lease != 0);
                            store.insert(key.clone(), revision);
                        }
                        _ => {
                            deleted += u64::from(pod);
                            store.remove(key);
                        }
                    }
                    ResponseBody::Txn { succeeded: true, responses: vec![] }
                }
                other => panic!("{other:?}"),
            };
            nodes.ended(1, &request, Ended::Answered(&answered(revision, body)));
        }
        assert!(created > 50 && deleted > created / 2 && leased > 100, "{created} {deleted} {leased}");
    }

    #[test]
    fn what_is_in_doubt_is_read_before_it_is_written_again() {
        let mut nodes = Nodes::new(&scenario::Workload { keys: 3, ..scenario::Workload::default() });
        let seen = Seen::new(false);
        let request = nodes.write(1, Op::NodeLease);
        nodes.ended(1, &request, Ended::Unknown);
        let (place, key) = (nodes.leases.next, nodes.leases.objects[nodes.leases.next].key.clone());
        let Request::Range(range) = nodes.next(2, &seen, &mut Dice(1)) else { panic!("a read") };
        assert_eq!((&range.range.start, nodes.leases.objects[place].busy), (&key, true));
        let kv = detcd_replica::api::KeyValue {
            key,
            create_revision: 7,
            mod_revision: 7,
            version: 1,
            value: bytes::Bytes::new(),
            lease: 0,
        };
        let body = ResponseBody::Range { kvs: vec![kv], more: false, count: 1 };
        nodes.ended(2, &Request::Range(range), Ended::Answered(&answered(9, body)));
        assert_eq!((nodes.leases.objects[place].revision, nodes.leases.objects[place].busy), (7, false));
    }
}
