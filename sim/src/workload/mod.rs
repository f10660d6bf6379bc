//! Workloads: which request a client makes next.
//!
//! `etcd-put`, `etcd-mix` and `kubernetes` are those of etcd's robustness tests, without leases: the shares of
//! PutWithLease and LeaseRevoke go to Put. The stream variants of lists count as lists. The others are each about one
//! part of etcd. Every value is unique in its run (`c3-17`:
//! client 3, its 17th value), so that a read names the write that it saw. A workload is a function of its draws and
//! of what the client has seen; it knows nothing of time, members or faults.

mod append;
mod auth;
mod churn;
mod compaction;
mod defragmentation;
mod election;
mod etcd;
mod ghosts;
mod kubernetes;
mod lease;
mod lock;
mod login;
mod nested;
mod nodes;
mod queue;
mod quota;
mod realm;
mod seen;
mod window;

use bytes::Bytes;
use detcd_replica::api::{AuthRequest, Error, KeyRange, PutRequest, RangeRequest, Request, RequestOp, Response};

use crate::scenario::{self, Chance, Mix, Scenario};

pub use append::Append;
pub use auth::Auth;
pub use churn::Churn;
pub use compaction::Compaction;
pub use defragmentation::Defragmentation;
pub use election::Election;
pub use etcd::Etcd;
pub use ghosts::Ghosts;
pub use kubernetes::Kubernetes;
pub use lease::Leases;
pub use lock::Lock;
pub use login::{Identity, Login};
pub use nested::Nested;
pub use nodes::Nodes;
pub use quota::{Administrator, Quota};
pub use realm::Registrar;
pub use seen::{Page, Seen};
pub use window::Window;

/// How an operation ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended<'a> {
    /// It was answered.
    Answered(&'a Response),
    /// It was refused.
    Refused(Error),
    /// Nobody can say.
    Unknown,
}

impl<'a> Ended<'a> {
    /// The answer, if there was one.
    fn answer(self) -> Option<&'a Response> {
        match self {
            Self::Answered(response) => Some(response),
            Self::Refused(_) | Self::Unknown => None,
        }
    }
}

/// A generator of requests, shared by the clients of a run.
pub trait Workload {
    /// The next request of a client.
    fn next(&mut self, client: u32, seen: &Seen, chance: &mut dyn Chance) -> Request;

    /// How an operation of a client ended, for workloads that are more than a stream of requests.
    fn ended(&mut self, client: u32, request: &Request, ended: Ended<'_>) {
        let _ = (client, request, ended);
    }

    /// As whom a client asks what it has just been given to ask.
    fn identity(&self, client: u32) -> Identity {
        let _ = client;
        Identity::default()
    }

    /// What a client asks when everything is repaired, again and again until there is nothing more.
    fn closing(&mut self, client: u32) -> Option<Request> {
        let _ = client;
        None
    }

    /// What a client asks right after a write that failed or whose outcome is unknown: a list, so that the judge
    /// learns soon whether it happened. `None`: it just goes on.
    fn after_failed_write(&self) -> Option<Request> {
        None
    }

    /// Whether it looks at [`Seen::mod_revision`], so that clients must keep track of keys.
    fn tracks_keys(&self) -> bool {
        false
    }
}

/// The workload that a scenario names.
pub fn workload(scenario: &Scenario) -> Box<dyn Workload> {
    match scenario.workload.name {
        Mix::EtcdPut | Mix::EtcdMix | Mix::EtcdDelete => Box::new(Etcd::new(&scenario.workload)),
        Mix::Kubernetes => Box::new(Kubernetes::new(&scenario.workload)),
        Mix::KubernetesNodes => Box::new(Nodes::new(&scenario.workload)),
        Mix::LeaseTtl => Box::new(Leases::new(&scenario.workload)),
        Mix::Quota => Box::new(Quota::new(&scenario.workload)),
        Mix::Lock => Box::new(Lock::new(&scenario.workload, scenario.bugs())),
        Mix::Auth => Box::new(Auth::new(&scenario.workload)),
        Mix::WatchWindow => Box::new(Window::new(&scenario.workload)),
        Mix::Election => Box::new(Election::new(&scenario.workload)),
        Mix::Append => Box::new(Append::new(&scenario.workload)),
        Mix::TxnNested => Box::new(Nested::new(&scenario.workload)),
    }
}

/// The prefix of every key that a workload writes, which is what watchers watch.
pub fn prefix(mix: Mix) -> &'static [u8] {
    match mix {
        Mix::EtcdPut | Mix::EtcdMix | Mix::EtcdDelete => etcd::PREFIX,
        Mix::Kubernetes => kubernetes::PREFIX,
        Mix::KubernetesNodes => nodes::PREFIX,
        Mix::LeaseTtl => lease::PREFIX,
        Mix::Quota => quota::PREFIX,
        Mix::Lock => lock::PREFIX,
        Mix::Auth => realm::PREFIX,
        Mix::WatchWindow => window::PREFIX,
        Mix::Election => election::PREFIX,
        Mix::Append => append::PREFIX,
        Mix::TxnNested => nested::PREFIX,
    }
}

/// As whom the watching client of this number watches: root and users in turn, where there are users.
pub fn watching_login(mix: Mix, number: u64) -> Option<Login> {
    match (mix, may_always_watch(mix, number)) {
        (Mix::Auth, true) => Some(realm::root()),
        (Mix::Auth, false) => Some(realm::login(number / 2 % realm::USERS)),
        _ => None,
    }
}

/// Whether nobody takes from it the right to watch everything.
pub fn may_always_watch(mix: Mix, number: u64) -> bool {
    mix != Mix::Auth || number % 2 == 0
}

/// What a watch of the watching client of this number may be of: everything that the workload writes, or one of several
/// ranges; as a user, also of what it has no right to.
pub fn watched(scenario: &Scenario, number: u64) -> Vec<KeyRange> {
    let keys = scenario.workload.keys;
    match scenario.workload.name {
        Mix::WatchWindow => window::ranges(keys),
        Mix::KubernetesNodes => nodes::ranges(),
        mix if may_always_watch(mix, number) => vec![KeyRange::prefix(prefix(mix))],
        _ => realm::wishes(keys, number / 2 % realm::USERS),
    }
}

/// What a list has of a client, by its number.
fn of_client<T: Clone + Default>(list: &mut Vec<T>, client: u32) -> &mut T {
    let place = client as usize;
    if list.len() <= place {
        list.resize(place + 1, T::default());
    }
    &mut list[place]
}

/// Unique values: each client's own count.
#[derive(Clone, Debug, Default)]
struct Names {
    counts: Vec<u64>,
    bytes: usize,
    filling: u8,
}

impl Names {
    /// Of no certain size.
    fn short() -> Self {
        Self::default()
    }

    /// As a scenario wants its values.
    fn values(parameters: &scenario::Workload) -> Self {
        let filling = if parameters.zeros { 0 } else { b'.' };
        Self { counts: Vec::new(), bytes: parameters.value_bytes as usize, filling }
    }

    /// The client's next name, `c3-17`, after `prefix`.
    fn next(&mut self, client: u32, prefix: &[u8]) -> Vec<u8> {
        let count = of_client(&mut self.counts, client);
        *count += 1;
        let mut name = Vec::with_capacity(prefix.len() + 24);
        name.extend_from_slice(prefix);
        name.push(b'c');
        digits(u64::from(client), &mut name);
        name.push(b'-');
        digits(*count, &mut name);
        name
    }

    /// The client's next value, padded to the size that the scenario asks for.
    fn value(&mut self, client: u32) -> Bytes {
        self.sized(client, self.bytes)
    }

    /// The client's next value, padded to so many bytes.
    fn sized(&mut self, client: u32, bytes: usize) -> Bytes {
        let mut value = self.next(client, b"");
        if value.len() < bytes {
            value.resize(bytes, self.filling);
        }
        value.into()
    }
}

/// Decimal digits, without the machinery of `format!`: this runs for every value.
fn digits(mut n: u64, out: &mut Vec<u8>) {
    let from = out.len();
    loop {
        out.push(b'0' + (n % 10) as u8);
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out[from..].reverse();
}

/// The entry of a table of shares that a ticket below their sum belongs to.
fn choose<T: Copy>(shares: &[(T, u64)], mut ticket: u64) -> T {
    for (choice, share) in shares {
        match ticket.checked_sub(*share) {
            Some(rest) => ticket = rest,
            None => return *choice,
        }
    }
    panic!("the ticket is {ticket} beyond the shares")
}

fn put(key: Bytes, value: Bytes) -> PutRequest {
    PutRequest::of(key, value)
}

fn get(key: Bytes) -> RangeRequest {
    RangeRequest::of(detcd_replica::api::KeyRange::single(key))
}

/// Whether a request may change the store or the cluster.
pub fn writes(request: &Request) -> bool {
    match request {
        Request::Range(_) | Request::Status | Request::Defragment | Request::HashKv { .. } => false,
        Request::LeaseTimeToLive { .. } | Request::Leases | Request::Auth(AuthRequest::Authenticate { .. }) => false,
        Request::Txn(txn) => txn.success.iter().chain(&txn.failure).any(op_writes),
        _ => true,
    }
}

/// Whether a member may answer it from a state of the past, which it calls the newest.
pub fn is_stale(request: &Request) -> bool {
    let stale = |range: &RangeRequest| range.serializable && range.revision <= 0;
    match request {
        Request::Range(range) => stale(range),
        Request::Txn(txn) => {
            let mut ops = txn.success.iter().chain(&txn.failure);
            ops.all(|op| matches!(op, RequestOp::Range(range) if stale(range)))
        }
        _ => false,
    }
}

fn op_writes(op: &RequestOp) -> bool {
    match op {
        RequestOp::Range(_) => false,
        RequestOp::Put(_) | RequestOp::DeleteRange(_) => true,
        RequestOp::Txn(txn) => txn.success.iter().chain(&txn.failure).any(op_writes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unique_and_named_after_their_client() {
        let mut names = Names::short();
        assert_eq!(&names.value(3)[..], b"c3-1");
        assert_eq!(&names.value(3)[..], b"c3-2");
        assert_eq!(&names.value(0)[..], b"c0-1");
        let mut parameters = scenario::Workload { value_bytes: 8, ..scenario::Workload::default() };
        assert_eq!(&Names::values(&parameters).value(10)[..], b"c10-1...");
        parameters.zeros = true;
        assert_eq!(&Names::values(&parameters).value(10)[..], b"c10-1\0\0\0");
    }

    #[test]
    fn a_ticket_chooses_by_share() {
        let shares = [('a', 1), ('b', 0), ('c', 2)];
        assert_eq!([0, 1, 2].map(|ticket| choose(&shares, ticket)), ['a', 'c', 'c']);
    }
}
