//! Requests for a conformance run: every RPC that one member serves alone, with every field, mostly near an edge.
//!
//! A step depends on the seed and on the revision that the member had reached, so that reads of the past, compactions
//! and compares hit what is there, just gone, or not yet there.

use std::collections::VecDeque;

use bytes::Bytes;
use detcd_replica::api::{
    Alarm, AlarmAction, AlarmRequest, CompactRequest, Compare, CompareResult, CompareTarget, DeleteRangeRequest,
    DowngradeRequest, KeyRange, LeaseGrantRequest, PutRequest, RangeEnd, RangeRequest, Request, RequestOp, SortOrder,
    SortTarget, TxnRequest, WatchCreate,
};
use detcd_replica::wire::rpc::Method;
use detcd_replica::{MemberId, Release, WatchId};
use serde_json::{json, Value};

use super::ask::{self, WatchAsked};
use super::{MEMBER, PEER};
use crate::dice::Dice;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Somebody without a token.
    Nobody,
    /// This user, with the token of the last authentication; without one if there was none.
    User(&'static str),
    /// Somebody with a token that nobody gave.
    Stranger,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asked {
    /// One answer to one message.
    Call {
        method: Method,
        body: Value,
        /// What the message asks, unless it asks nothing that there is.
        request: Option<Request>,
    },
    /// A message on a stream of watches, which is opened with it.
    Watch { stream: u8, body: Value },
    /// A stream of watches ends.
    Close { stream: u8 },
}

impl Asked {
    pub(super) fn of(request: Request) -> Self {
        let (method, body) = ask::request(&request);
        Self::Call { method, body, request: Some(request) }
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) who: Who,
    pub(super) asked: Asked,
}

const KEYS: [&[u8]; 8] = [b"a", b"b", b"c", b"ab", b"a\0", b"\xff", b"b/1", b"b/2"];
const VALUES: [&[u8]; 6] = [b"", b"1", b"2", b"10", b"\0\xff", b"a longer value"];
/// etcd keeps a lease for two seconds at least, which would end during the run.
const TTLS: [i64; 5] = [600, 7_200, 9_000_000_000, 9_000_000_001, i64::MAX];
/// Streams of watches.
const STREAMS: u64 = 3;
/// Targets of a downgrade: three that cannot be one, and one that can.
const VERSIONS: [&str; 4] = ["", "3.x", "2.0.0", "3.4.0"];
/// More than `--max-request-bytes`.
const TOO_LARGE: usize = 1_600_000;

/// The requests of a seed.
pub(super) struct Generator {
    pub(super) dice: Dice,
    /// The member's newest revision, as far as answers tell.
    newest: i64,
    /// Whether users and roles are part of the run: they make most other requests refusals.
    auth: bool,
    pub(super) enabled: bool,
    /// The alarm that is raised in this run.
    alarm: Alarm,
    /// Addresses of members that were made up.
    peers: u64,
    pub(super) release: Release,
    /// What is asked before anything that chance has chosen.
    first: VecDeque<Step>,
}

impl Generator {
    /// For a release: some of what older ones have wrong changes the state, and all that follows with it.
    pub(super) fn new(seed: u64, part: u64, release: Release) -> Self {
        let mut dice = Dice(seed ^ part.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let auth = dice.one_in(2);
        let alarm = dice.pick(&[Alarm::NoSpace, Alarm::Corrupt]);
        let first = VecDeque::new();
        let mut generator = Self { dice, newest: 1, auth, enabled: false, alarm, peers: 0, release, first };
        if auth && !generator.dice.one_in(4) {
            generator.first = generator.auth_enabled();
        }
        generator
    }

    /// The member has reached this revision.
    pub(super) fn saw(&mut self, revision: i64) {
        self.newest = self.newest.max(revision);
    }

    /// Whether the member wants tokens now.
    pub(super) fn auth_is(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    pub(super) fn next(&mut self) -> Step {
        if let Some(step) = self.first.pop_front() {
            return step;
        }
        // Where the past is asked for, it takes the time that it is listened to.
        if self.dice.one_in(40) {
            let (stream, who) = (self.dice.below(STREAMS) as u8, self.who());
            let asked = match self.dice.below(12) {
                0 => Asked::Close { stream },
                _ => Asked::Watch { stream, body: self.watch() },
            };
            return Step { who, asked };
        }
        if self.dice.one_in(60) {
            return Step { who: self.who(), asked: self.nonsense() };
        }
        let ticket = self.dice.below(110);
        let request = match ticket {
            0..=29 => Request::Range(self.range()),
            30..=49 => Request::Put(self.put()),
            50..=57 => Request::DeleteRange(self.delete()),
            58..=77 => Request::Txn(self.txn(2)),
            78..=81 => {
                let revision = if self.dice.one_in(3) { self.past() } else { self.newest / 2 };
                Request::Compact(CompactRequest { revision, physical: self.dice.one_in(2) })
            }
            82..=92 => self.lease(),
            93..=95 if !self.auth => self.alarm(),
            100..=104 => self.maintenance(),
            105..=109 => self.cluster(),
            _ if self.auth => Request::Auth(self.auth_request()),
            _ => Request::Range(self.range()),
        };
        let request = match self.auth && self.dice.one_in(3) {
            true => Request::Auth(self.auth_request()),
            false => request,
        };
        let who = match self.release <= Release::V3_5 && is_open(&request) && !self.dice.one_in(12) {
            // What 3.5.1 lets anybody do would often be the end of the comparison.
            true if self.enabled => Who::User("root"),
            _ => self.who(),
        };
        Step { who, asked: Asked::of(request) }
    }

    /// A message on a stream of watches.
    fn watch(&mut self) -> Value {
        let watch = self.dice.below(6) as i64;
        match self.dice.below(8) {
            0 => json!({ "cancel_request": { "watch_id": watch.to_string() } }),
            1 => json!({ "progress_request": {} }),
            _ => {
                let start_revision = match self.dice.below(6) {
                    0 => 0,
                    1 => self.newest + 1 + self.dice.below(4) as i64,
                    // A negative one makes others lose what they wait for before 3.5.24 (etcd#20693), or ends without a
                    // word after a compaction at 0.
                    2 => self.past().max(0),
                    _ => (self.newest - self.dice.below(30) as i64).max(1),
                };
                let filter = self.dice.below(8);
                let create = WatchCreate {
                    // Mostly for the server to choose.
                    watch: WatchId(if self.dice.one_in(4) { watch } else { 0 }),
                    range: self.key_range(),
                    start_revision,
                    prev_kv: self.dice.one_in(3),
                    progress_notify: self.dice.one_in(6),
                    no_put: filter == 0 || filter == 7,
                    no_delete: filter == 1 || filter == 7,
                };
                ask::watch(&WatchAsked { create, fragment: self.dice.one_in(6) })
            }
        }
    }

    /// A message with a value that there is not.
    fn nonsense(&mut self) -> Asked {
        let (method, body) = match self.dice.below(40) {
            // It ends a server of 3.5.1.
            0 => (Method::Range, json!({ "key": "YQ==", "sort_target": 5, "sort_order": "ASCEND" })),
            1..=12 => (Method::Range, json!({ "key": "YQ==", "sort_order": 3 })),
            13..=26 => (Method::Txn, json!({ "success": [{}] })),
            _ => (Method::RoleGrantPermission, json!({ "name": "readers" })),
        };
        Asked::Call { method, body, request: None }
    }

    fn maintenance(&mut self) -> Request {
        match self.dice.below(10) {
            0..=3 => Request::HashKv { revision: if self.dice.one_in(2) { self.past().max(0) } else { 0 } },
            4 | 5 => Request::Status,
            6 => Request::Defragment,
            7 => Request::MoveLeader { target: self.dice.pick(&[MEMBER, MemberId(77), MemberId::NONE]) },
            // A downgrade that goes on would change what all that follows is.
            8 => Request::Downgrade(DowngradeRequest::Validate(self.dice.pick(&VERSIONS).to_owned())),
            _ if self.dice.one_in(2) => Request::Downgrade(DowngradeRequest::Cancel),
            _ => Request::Downgrade(DowngradeRequest::Enable(self.dice.pick(&VERSIONS[..3]).to_owned())),
        }
    }

    /// Members are added without a vote: a voter who never comes would take the majority away.
    fn cluster(&mut self) -> Request {
        let id = self.dice.pick(&[MEMBER, MemberId(2), MemberId(2), MemberId(3), MemberId(4), MemberId(77)]);
        // Mostly one that nobody has had.
        self.peers += u64::from(!self.dice.one_in(5));
        let peer = format!("http://127.0.0.1:{}", self.peers);
        let bad = vec!["127.0.0.1".to_owned()];
        let peer_urls = vec![if self.dice.one_in(8) { PEER.to_owned() } else { peer }];
        match self.dice.below(10) {
            0 if self.dice.one_in(2) => Request::MemberAdd { id: MemberId::NONE, peer_urls: bad, is_learner: true },
            0..=2 => Request::MemberAdd { id: MemberId::NONE, peer_urls, is_learner: true },
            3 | 4 => Request::MemberList { linearizable: self.dice.one_in(2) },
            5 | 6 => Request::MemberRemove { id },
            7 => Request::MemberPromote { id },
            // etcd does not look whether it is an address, and ends by it.
            8 if self.dice.one_in(50) => Request::MemberUpdate { id: MemberId(2), peer_urls: bad },
            _ => Request::MemberUpdate { id: if id == MEMBER { MemberId(2) } else { id }, peer_urls },
        }
    }

    fn who(&mut self) -> Who {
        // With auth off, etcd 3.5.1 refuses a token that it does not know; later releases do not look at it.
        if !self.enabled {
            return Who::Nobody;
        }
        match self.dice.below(20) {
            0..=2 => Who::Stranger,
            3..=4 => Who::Nobody,
            5..=12 => Who::User("root"),
            13..=16 => Who::User("ann"),
            _ => Who::User("bob"),
        }
    }

    fn key(&mut self) -> Bytes {
        match self.dice.one_in(40) {
            true => Bytes::new(),
            false => Bytes::from_static(self.dice.pick(&KEYS)),
        }
    }

    fn value(&mut self) -> Bytes {
        match self.dice.one_in(400) {
            true => vec![b'x'; TOO_LARGE].into(),
            false => Bytes::from_static(self.dice.pick(&VALUES)),
        }
    }

    pub(super) fn key_range(&mut self) -> KeyRange {
        let start = self.key();
        match self.dice.below(10) {
            0..=4 => KeyRange { start, end: RangeEnd::Single },
            5 => KeyRange { start, end: RangeEnd::Open },
            6 => KeyRange::prefix(""),
            // Upside down as often as not.
            7 | 8 => match self.key() {
                end if end.is_empty() || end[..] == [0] => KeyRange { start, end: RangeEnd::Open },
                end => KeyRange { start, end: RangeEnd::Before(end) },
            },
            _ => KeyRange::prefix(self.dice.pick(&[&b"a"[..], b"b", b"b/"])),
        }
    }

    /// A revision that is there, just gone, or not yet there.
    fn past(&mut self) -> i64 {
        match self.dice.below(8) {
            0 => self.newest + 1 + self.dice.below(3) as i64,
            1 => self.newest,
            2 => -1,
            3 => self.dice.below(self.newest as u64 + 1) as i64,
            _ => (self.newest - self.dice.below(12) as i64).max(0),
        }
    }

    fn bound(&mut self) -> i64 {
        if self.dice.one_in(10) {
            self.past().max(0)
        } else {
            0
        }
    }

    fn range(&mut self) -> RangeRequest {
        let orders = [SortOrder::None, SortOrder::None, SortOrder::Ascend, SortOrder::Descend];
        let targets = [SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value];
        let sorted = self.dice.one_in(3);
        RangeRequest {
            range: self.key_range(),
            limit: if self.dice.one_in(4) { self.dice.below(4) } else { 0 },
            revision: if self.dice.one_in(4) { self.past() } else { 0 },
            sort_order: if sorted { self.dice.pick(&orders) } else { SortOrder::None },
            sort_target: if sorted { self.dice.pick(&targets) } else { SortTarget::Key },
            serializable: self.dice.one_in(3),
            keys_only: self.dice.one_in(8),
            count_only: self.dice.one_in(10),
            min_mod_revision: self.bound(),
            max_mod_revision: self.bound(),
            min_create_revision: self.bound(),
            max_create_revision: self.bound(),
        }
    }

    fn put(&mut self) -> PutRequest {
        let (ignore_value, ignore_lease) = (self.dice.one_in(12), self.dice.one_in(12));
        let give = |ignored: bool, dice: &mut Dice| !ignored || dice.one_in(4);
        PutRequest {
            key: self.key(),
            value: if give(ignore_value, &mut self.dice) { self.value() } else { Bytes::new() },
            lease: if give(ignore_lease, &mut self.dice) && self.dice.one_in(3) { self.lease_id() } else { 0 },
            prev_kv: self.dice.one_in(4),
            ignore_value,
            ignore_lease,
        }
    }

    fn delete(&mut self) -> DeleteRangeRequest {
        DeleteRangeRequest { range: self.key_range(), prev_kv: self.dice.one_in(3) }
    }

    fn txn(&mut self, depth: u32) -> TxnRequest {
        if self.dice.one_in(60) {
            // One more than `--max-txn-ops`, or just as many.
            let count = 128 + self.dice.below(2);
            let op = |n: u64| RequestOp::Put(PutRequest::of(format!("n{n}"), "v"));
            return TxnRequest { compare: Vec::new(), success: (0..count).map(op).collect(), failure: Vec::new() };
        }
        let compare = (0..self.dice.below(3)).map(|_| self.compare()).collect();
        let (success, failure) = (self.ops(depth), self.ops(depth));
        TxnRequest { compare, success, failure }
    }

    fn ops(&mut self, depth: u32) -> Vec<RequestOp> {
        let count = self.dice.below(4);
        (0..count)
            .map(|_| match self.dice.below(10) {
                0..=3 => RequestOp::Put(self.put()),
                4..=6 => RequestOp::Range(self.range()),
                7 | 8 => RequestOp::DeleteRange(self.delete()),
                _ if depth > 0 => RequestOp::Txn(Box::new(self.txn(depth - 1))),
                _ => RequestOp::Range(self.range()),
            })
            .collect()
    }

    fn compare(&mut self) -> Compare {
        let results = [CompareResult::Equal, CompareResult::Greater, CompareResult::Less, CompareResult::NotEqual];
        let target = match self.dice.below(5) {
            0 => CompareTarget::Version(self.dice.below(4) as i64),
            1 => CompareTarget::Create(self.past().max(0)),
            2 => CompareTarget::Mod(self.past().max(0)),
            3 => CompareTarget::Value(Bytes::from_static(self.dice.pick(&VALUES))),
            _ => CompareTarget::Lease(self.dice.below(4) as i64),
        };
        let range = if self.dice.one_in(3) { self.key_range() } else { KeyRange::single(self.key()) };
        Compare { range, result: self.dice.pick(&results), target }
    }

    fn lease_id(&mut self) -> i64 {
        1 + self.dice.below(5) as i64
    }

    fn lease(&mut self) -> Request {
        let id = self.lease_id();
        match self.dice.below(10) {
            0..=3 => Request::LeaseGrant(LeaseGrantRequest { id, ttl: self.dice.pick(&TTLS) }),
            4 | 5 => Request::LeaseRevoke { id },
            6 => Request::LeaseKeepAlive { id },
            7 | 8 => Request::LeaseTimeToLive { id, keys: self.dice.one_in(2) },
            _ => Request::Leases,
        }
    }

    fn alarm(&mut self) -> Request {
        let action = match self.dice.below(8) {
            0 => AlarmAction::Activate,
            1..=3 => AlarmAction::Get,
            _ => AlarmAction::Deactivate,
        };
        let any = self.dice.pick(&[None, Some(Alarm::NoSpace), Some(Alarm::Corrupt)]);
        let alarm = match action {
            AlarmAction::Get => any,
            // Up to 3.5 an alarm that goes takes the effect of the other along.
            _ if self.release <= Release::V3_5 => Some(self.alarm),
            _ => Some(any.unwrap_or(self.alarm)),
        };
        let member = self.dice.pick(&[MEMBER, MEMBER, MemberId::NONE, MemberId(77)]);
        Request::Alarm(AlarmRequest { action, member, alarm })
    }
}

/// Whether it changes something, and 3.5.1 asks nobody who he is.
fn is_open(request: &Request) -> bool {
    matches!(
        request,
        Request::Compact(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke { .. }
            | Request::LeaseKeepAlive { .. }
            | Request::Alarm(_)
            | Request::MoveLeader { .. }
            | Request::Downgrade(_)
    )
}
