//! Stories of whole members: leases, alarms, the quota and the consistent index, over a network and disks that do
//! everything at once, and clocks that stand still between events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::Replica;
use crate::api::*;
use crate::time::{Monotonic, Span};
use crate::{
    Bug, Bugs, Chance, Config, DiskCommand, DiskImage, Event, FileName, Input, MemberId, Output, RequestId, Task,
};

/// One member: what it is, what its disk holds, when its tasks run.
struct Node {
    replica: Replica,
    files: BTreeMap<FileName, Vec<u8>>,
    tasks: BTreeMap<Task, Monotonic>,
    /// Its syncs end only when it is not stuck.
    stuck: bool,
    syncs: Vec<Input>,
    states: BTreeMap<u64, u64>,
}

struct Cluster {
    nodes: Vec<Node>,
    inputs: VecDeque<(usize, Input)>,
    now: Monotonic,
    cut: BTreeSet<MemberId>,
    replies: BTreeMap<RequestId, (Monotonic, Result<Response, Error>)>,
    requests: u64,
}

fn member(place: usize) -> MemberId {
    MemberId(place as u64 + 1)
}

impl Cluster {
    /// Members 1 to `count`, the first of which leads.
    fn new(count: usize, adjust: impl Fn(&mut Config)) -> Self {
        let mut cluster = Self {
            nodes: Vec::new(),
            inputs: VecDeque::new(),
            now: Monotonic(1_000_000_000),
            cut: BTreeSet::new(),
            replies: BTreeMap::new(),
            requests: 0,
        };
        for place in 0..count {
            let mut config = Config::etcd(member(place), (0..count).map(member).collect());
            (config.lease_checkpoint_interval, config.wal_segment_bytes) = (Span::secs(10), 1 << 18);
            adjust(&mut config);
            cluster.boot(place, config, BTreeMap::new());
        }
        cluster.run(Span::secs(4));
        assert_eq!(cluster.leader(), Some(0));
        cluster
    }

    fn boot(&mut self, place: usize, config: Config, files: BTreeMap<FileName, Vec<u8>>) {
        let image = DiskImage { files: files.iter().map(|(file, data)| (*file, Bytes::from(data.clone()))).collect() };
        let mut out = Vec::new();
        let replica = Replica::boot(config, &image, self.now, &mut out).expect("it boots");
        let node =
            Node { replica, files, tasks: BTreeMap::new(), stuck: false, syncs: Vec::new(), states: BTreeMap::new() };
        match place < self.nodes.len() {
            true => self.nodes[place] = node,
            false => self.nodes.push(node),
        }
        self.perform(place, out);
    }

    /// The process ends and starts again; the disk keeps everything.
    fn restart(&mut self, place: usize) {
        self.inputs.retain(|(to, _)| *to != place);
        let (config, files) = (self.nodes[place].replica.config().clone(), self.nodes[place].files.clone());
        self.boot(place, config, files);
    }

    fn leader(&self) -> Option<usize> {
        let leads = |node: &Node| node.replica.leads() && !self.cut.contains(&node.replica.config.member);
        self.nodes.iter().position(leads)
    }

    fn step(&mut self, place: usize, input: Input) {
        let mut out = Vec::new();
        self.nodes[place].replica.step(self.now, input, &mut out);
        self.perform(place, out);
    }

    fn perform(&mut self, place: usize, out: Vec<Output>) {
        for output in out {
            let node = &mut self.nodes[place];
            match output {
                Output::Send(message) => {
                    let lost = self.cut.contains(&message.to) || self.cut.contains(&message.from);
                    let to = message.to.0 as usize - 1;
                    if message.database.is_some() {
                        let sent = Input::SnapshotSent { member: message.to, delivered: !lost };
                        self.inputs.push_back((place, sent));
                    }
                    if lost || to >= self.nodes.len() {
                        self.inputs.push_back((place, Input::Unreachable { member: message.to }));
                    } else {
                        self.inputs.push_back((to, Input::Message(message)));
                    }
                }
                Output::Disk { op, command } => match command {
                    DiskCommand::Create { file } => drop(node.files.insert(file, Vec::new())),
                    DiskCommand::Write { file, offset, data } => {
                        let content = node.files.get_mut(&file).expect("written files exist");
                        let end = offset as usize + data.len();
                        content.resize(content.len().max(end), 0);
                        content[offset as usize..end].copy_from_slice(&data);
                    }
                    DiskCommand::Truncate { file, length } => {
                        node.files.get_mut(&file).expect("cut files exist").resize(length as usize, 0);
                    }
                    DiskCommand::Rename { from, to } => {
                        let content = node.files.remove(&from).expect("renamed files exist");
                        node.files.insert(to, content);
                    }
                    DiskCommand::Remove { file } => drop(node.files.remove(&file)),
                    DiskCommand::Sync { .. } | DiskCommand::SyncDir { .. } => {
                        let done = Input::Disk { op, result: Ok(()) };
                        match node.stuck {
                            true => node.syncs.push(done),
                            false => self.inputs.push_back((place, done)),
                        }
                    }
                },
                Output::Reply { id, result } => {
                    let twice = self.replies.insert(id, (self.now, result));
                    assert!(twice.is_none(), "one answer a request");
                }
                Output::Wake { task, after } => {
                    let at = self.now + after;
                    node.tasks.entry(task).and_modify(|pending| *pending = at.min(*pending)).or_insert(at);
                }
                // The first member is the quickest.
                Output::Ask(_) => {
                    self.inputs.push_front((place, Input::Chance(Chance::ElectionTimeout(10 + 3 * place as u32))))
                }
                Output::Event(Event::Applied { index, state_hash, .. }) => drop(node.states.insert(index, state_hash)),
                _ => {}
            }
        }
    }

    fn unstick(&mut self, place: usize) {
        self.nodes[place].stuck = false;
        let syncs = std::mem::take(&mut self.nodes[place].syncs);
        self.inputs.extend(syncs.into_iter().map(|sync| (place, sync)));
    }

    /// Everything that happens within `span`.
    fn run(&mut self, span: Span) {
        let end = self.now + span;
        loop {
            if let Some((place, input)) = self.inputs.pop_front() {
                self.step(place, input);
                continue;
            }
            let due = self
                .nodes
                .iter()
                .enumerate()
                .flat_map(|(place, node)| node.tasks.iter().map(move |(task, at)| (*at, place, *task)));
            let Some((at, place, task)) = due.min().filter(|(at, ..)| *at <= end) else { break };
            self.now = self.now.max(at);
            self.nodes[place].tasks.remove(&task);
            self.step(place, Input::Run(task));
        }
        self.now = end;
    }

    fn ask(&mut self, place: usize, request: Request) -> RequestId {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.step(place, Input::Request { id, request });
        id
    }

    fn answer(&self, id: RequestId) -> Option<Result<ResponseBody, Error>> {
        self.replies.get(&id).map(|(_, result)| result.clone().map(|response| response.body))
    }

    /// Asks, and waits for the answer.
    fn call(&mut self, place: usize, request: Request) -> Result<ResponseBody, Error> {
        let id = self.ask(place, request);
        for _ in 0..1000 {
            if let Some(answer) = self.answer(id) {
                return answer;
            }
            self.run(Span::millis(10));
        }
        panic!("no answer within ten seconds");
    }

    fn grant(&mut self, place: usize, id: LeaseId, ttl: i64) -> Result<ResponseBody, Error> {
        self.call(place, Request::LeaseGrant(LeaseGrantRequest { id, ttl }))
    }

    fn put(&mut self, place: usize, key: &'static str, lease: LeaseId) -> Result<ResponseBody, Error> {
        self.call(place, Request::Put(PutRequest { lease, ..PutRequest::of(key, "v") }))
    }

    fn keep_alive(&mut self, place: usize, id: LeaseId) -> Result<i64, Error> {
        match self.call(place, Request::LeaseKeepAlive { id })? {
            ResponseBody::LeaseKeepAlive { ttl, .. } => Ok(ttl),
            other => panic!("no answer to a keep-alive: {other:?}"),
        }
    }

    /// Keys that a member has.
    fn keys(&self, place: usize) -> u64 {
        let replica = &self.nodes[place].replica;
        let all = RangeRequest::of(KeyRange::prefix(""));
        replica.store.range(&replica.backend, &all).expect("now").count
    }

    /// Members that have applied the same are the same, and what the lessor knows is in its backend.
    fn check_equal(&self) {
        let mut by_index: BTreeMap<u64, u64> = BTreeMap::new();
        for node in &self.nodes {
            for (index, state) in &node.states {
                assert_eq!(by_index.entry(*index).or_insert(*state), state, "at index {index}");
            }
            let stored = crate::lease::Lessor::restore(&node.replica.backend, &node.replica.config).expect("sound");
            assert_eq!(stored.state_hash(), node.replica.lessor.state_hash(), "lessor and lease bucket");
        }
    }
}

fn raised(cluster: &mut Cluster) -> Vec<AlarmMember> {
    let get = AlarmRequest { action: AlarmAction::Get, member: MemberId::NONE, alarm: None };
    match cluster.call(0, Request::Alarm(get)) {
        Ok(ResponseBody::Alarm { alarms }) => alarms,
        other => panic!("no alarms: {other:?}"),
    }
}

#[test]
fn a_lease_takes_its_keys_with_it_within_a_look_of_its_end() {
    let mut cluster = Cluster::new(3, |_| {});
    assert_eq!(cluster.grant(1, 7, 5), Ok(ResponseBody::LeaseGrant { id: 7, ttl: 5 }));
    let granted = cluster.now;
    assert!(matches!(cluster.grant(2, 0, 60), Ok(ResponseBody::LeaseGrant { id: 1.., ttl: 60 })), "an id is chosen");
    assert_eq!(cluster.grant(0, 7, 5), Err(Error::LeaseExists));
    cluster.put(2, "a", 7).expect("there is the lease");
    cluster.put(2, "b", 7).expect("there is the lease");
    assert_eq!(cluster.put(2, "c", 8), Err(Error::LeaseNotFound));
    cluster.run(Span((granted + Span::secs(4)).since(cluster.now).0));
    assert_eq!(cluster.keys(0), 2, "not early");
    cluster.run(Span::millis(1700));
    assert_eq!(cluster.keys(0), 0, "not late");
    cluster.check_equal();
    assert_eq!(cluster.keep_alive(1, 7), Ok(0), "it is gone");
}

#[test]
fn keep_alives_reach_the_leader_from_every_member() {
    let mut cluster = Cluster::new(3, |_| {});
    cluster.grant(0, 7, 3).expect("new");
    cluster.put(0, "a", 7).expect("there is the lease");
    for round in 0..8 {
        assert_eq!(cluster.keep_alive(round % 3, 7), Ok(3));
        cluster.run(Span::secs(2));
    }
    assert_eq!(cluster.keys(2), 1);
    let ask = |keys| Request::LeaseTimeToLive { id: 7, keys };
    let expect = |keys| Ok(ResponseBody::LeaseTimeToLive { id: 7, ttl: 0, granted_ttl: 3, keys });
    assert_eq!(cluster.call(1, ask(true)), expect(vec!["a".into()]));
    assert_eq!(cluster.call(0, ask(false)), expect(vec![]));
    assert_eq!(cluster.call(2, Request::Leases), Ok(ResponseBody::Leases { leases: vec![7] }));
    cluster.run(Span::secs(2));
    let gone = ResponseBody::LeaseTimeToLive { id: 7, ttl: -1, granted_ttl: 0, keys: vec![] };
    assert_eq!(cluster.call(1, ask(true)), Ok(gone));
}

#[test]
fn a_keep_alive_waits_for_the_next_leader_and_gives_up_after_the_limit() {
    let mut cluster = Cluster::new(3, |_| {});
    cluster.grant(0, 7, 60).expect("new");
    cluster.cut.insert(member(0));
    let id = cluster.ask(1, Request::LeaseKeepAlive { id: 7 });
    cluster.run(Span::secs(5));
    assert_eq!(cluster.answer(id), Some(Ok(ResponseBody::LeaseKeepAlive { id: 7, ttl: 60 })));
    // Now nobody hears anybody.
    let follower = if cluster.leader() == Some(1) { 2 } else { 1 };
    cluster.cut.extend([member(1), member(2)]);
    let id = cluster.ask(follower, Request::LeaseKeepAlive { id: 7 });
    cluster.run(Span::secs(6));
    assert_eq!(cluster.answer(id), None);
    cluster.run(Span::secs(2));
    assert_eq!(cluster.answer(id), Some(Err(Error::Timeout)));
}

#[test]
fn a_new_leader_gives_every_lease_its_time_again() {
    let mut cluster = Cluster::new(3, |_| {});
    cluster.grant(0, 7, 4).expect("new");
    cluster.put(0, "a", 7).expect("there is the lease");
    cluster.run(Span::secs(3));
    cluster.cut.insert(member(0));
    cluster.run(Span::secs(4));
    let leader = cluster.leader().expect("of the two others");
    assert_eq!(cluster.keys(leader), 1, "it had one second left, and has four again");
    cluster.run(Span::secs(4));
    assert_eq!(cluster.keys(leader), 0);
}

#[test]
fn checkpoints_outlive_the_leader_unless_they_are_off() {
    for (on, keys) in [(true, 0), (false, 1)] {
        let mut cluster = Cluster::new(3, |config| config.lease_checkpoint = on);
        cluster.grant(0, 7, 25).expect("new");
        cluster.put(0, "a", 7).expect("there is the lease");
        cluster.run(Span::secs(12));
        cluster.check_equal();
        assert_eq!(cluster.nodes[1].replica.lessor.leases()[&7].remaining_ttl, if on { 15 } else { 0 });
        cluster.cut.insert(member(0));
        cluster.run(Span::secs(20));
        let leader = cluster.leader().expect("of the two others");
        assert_eq!(cluster.keys(leader), keys, "checkpoints {on}");
    }
}

#[test]
fn a_keep_alive_clears_the_checkpoint() {
    let mut cluster = Cluster::new(3, |config| config.lease_checkpoint = true);
    cluster.grant(0, 7, 25).expect("new");
    cluster.run(Span::secs(12));
    assert_eq!(cluster.keep_alive(1, 7), Ok(25));
    cluster.run(Span::millis(500));
    for node in &cluster.nodes {
        assert_eq!(node.replica.lessor.leases()[&7].remaining_ttl, 0);
    }
    cluster.check_equal();
}

#[test]
fn a_leader_that_was_stuck_makes_sure_before_it_revokes() {
    for (bugs, revoked) in [(Bugs::NONE, false), (Bugs::NONE.with(Bug::OldLeaderRevokes), true)] {
        let mut cluster = Cluster::new(3, |config| config.bugs = bugs);
        cluster.grant(0, 7, 5).expect("new");
        cluster.put(0, "a", 7).expect("there is the lease");
        // Its disk takes no more, so its Raft loop stands still; the others elect another.
        cluster.nodes[0].stuck = true;
        let _ = cluster.ask(0, Request::Put(PutRequest::of("b", "v")));
        cluster.run(Span::millis(500));
        cluster.cut.insert(member(0));
        cluster.run(Span::secs(3));
        let leader = cluster.leader().expect("of the two others");
        // The client keeps it alive there, in time.
        assert_eq!(cluster.keep_alive(leader, 7), Ok(5));
        cluster.cut.clear();
        cluster.run(Span::secs(3));
        assert_eq!(cluster.keep_alive(leader, 7), Ok(5));
        cluster.unstick(0);
        cluster.run(Span::secs(1));
        assert_eq!(cluster.nodes[leader].replica.lessor.lookup(7).is_none(), revoked, "{bugs:?}");
    }
}

#[test]
fn a_keep_alive_that_meets_a_revocation_does_not_succeed_unless_the_bug_is_on() {
    for (bugs, ttl) in [(Bugs::NONE, 0), (Bugs::NONE.with(Bug::RenewOkAfterRevoke), 5)] {
        let mut cluster = Cluster::new(1, |config| config.bugs = bugs);
        cluster.grant(0, 7, 5).expect("new");
        let id = cluster.ask(0, Request::LeaseKeepAlive { id: 7 });
        // Between its two halves the lease is revoked.
        let calls = cluster.nodes[0].tasks.remove(&Task::LeaseCalls);
        assert!(calls.is_some() && cluster.answer(id).is_none());
        cluster.call(0, Request::LeaseRevoke { id: 7 }).expect("there is the lease");
        cluster.step(0, Input::Run(Task::LeaseCalls));
        assert_eq!(cluster.answer(id), Some(Ok(ResponseBody::LeaseKeepAlive { id: 7, ttl })));
    }
}

#[test]
fn a_revoked_lease_leaves_the_backend_with_its_keys_unless_the_bug_is_on() {
    for (bugs, left) in [(Bugs::NONE, 0), (Bugs::NONE.with(Bug::LeaseDeleteSplitTxn), 1)] {
        let mut cluster = Cluster::new(1, |config| config.bugs = bugs);
        cluster.grant(0, 7, 60).expect("new");
        cluster.put(0, "a", 7).expect("there is the lease");
        cluster.run(Span::secs(1));
        let _ = cluster.ask(0, Request::LeaseRevoke { id: 7 });
        while cluster.keys(0) > 0 {
            let (place, input) = cluster.inputs.pop_front().unwrap_or((0, Input::Run(Task::Apply)));
            cluster.step(place, input);
            if let Some(task) = [Task::RaftLoop, Task::Apply].into_iter().find(|task| {
                cluster.keys(0) > 0 && cluster.nodes[0].tasks.get(task).is_some_and(|at| *at <= cluster.now)
            }) {
                cluster.nodes[0].tasks.remove(&task);
                cluster.step(0, Input::Run(task));
            }
        }
        // A commit comes right after the entry, then the process ends.
        cluster.step(0, Input::Run(Task::BackendCommit));
        while let Some((place, input)) = cluster.inputs.pop_front() {
            if matches!(input, Input::Disk { .. }) {
                cluster.step(place, input);
            }
        }
        cluster.restart(0);
        cluster.run(Span::secs(4));
        assert_eq!(cluster.nodes[0].replica.lessor.leases().len(), left, "{bugs:?}");
        assert_eq!(cluster.keys(0), 0);
    }
}

#[test]
fn a_full_backend_applies_says_so_and_raises_the_alarm() {
    let mut cluster = Cluster::new(3, |_| {});
    // The first member's quota alone: members differ.
    cluster.run(Span::secs(1));
    let size = cluster.nodes[0].replica.backend.size().total;
    cluster.nodes[0].replica.config.quota_backend_bytes = size + 300;
    // Asked elsewhere it is proposed, applied by all, and only the first member's clients would hear of it.
    assert_eq!(
        cluster.call(1, Request::Put(PutRequest::of("a", vec![0; 200]))),
        Ok(ResponseBody::Put { prev_kv: None })
    );
    cluster.run(Span::millis(500));
    assert_eq!((cluster.keys(0), cluster.keys(1)), (1, 1), "applied everywhere");
    let alarm = AlarmMember { alarm: Alarm::NoSpace, member: member(0) };
    assert_eq!(raised(&mut cluster), vec![alarm], "one, of that member");
    // Now everybody refuses what costs, and nothing else.
    let put = |key: &'static str| RequestOp::Put(PutRequest::of(key, ""));
    let txn = |op| Request::Txn(TxnRequest { compare: vec![], success: vec![op], failure: vec![] });
    let delete = RequestOp::DeleteRange(DeleteRangeRequest { range: KeyRange::single("x"), prev_kv: false });
    assert_eq!(cluster.put(2, "b", 0), Err(Error::NoSpace));
    assert_eq!(cluster.call(2, txn(put("b"))), Err(Error::NoSpace));
    assert_eq!(cluster.grant(2, 7, 60), Err(Error::NoSpace));
    assert!(cluster.call(2, txn(delete)).is_ok());
    assert_eq!(cluster.keys(2), 1);
    // At the door of the full member nothing is proposed but the alarm.
    let before = cluster.nodes[0].replica.store.revision();
    assert_eq!(cluster.put(0, "", 0), Err(Error::NoSpace), "before the request is looked at");
    assert_eq!(cluster.nodes[0].replica.store.revision(), before);
    // Room is made, and the alarm taken back.
    cluster.nodes[0].replica.config.quota_backend_bytes = 0;
    let off = AlarmRequest { action: AlarmAction::Deactivate, member: member(0), alarm: Some(Alarm::NoSpace) };
    assert_eq!(cluster.call(1, Request::Alarm(off)), Ok(ResponseBody::Alarm { alarms: vec![alarm] }));
    assert!(cluster.put(0, "b", 0).is_ok());
    cluster.run(Span::millis(500));
    cluster.check_equal();
}

#[test]
fn members_whose_sizes_differ_stay_equal_unless_the_bug_is_on() {
    for (bugs, equal) in [(Bugs::NONE, true), (Bugs::NONE.with(Bug::QuotaRejectAtApply), false)] {
        let mut cluster = Cluster::new(3, |config| config.bugs = bugs);
        cluster.nodes[0].replica.config.quota_backend_bytes = 1;
        let _ = cluster.put(1, "a", 0);
        cluster.run(Span::millis(500));
        assert_eq!(cluster.keys(0) == cluster.keys(1), equal, "{bugs:?}");
    }
}

#[test]
fn the_alarm_about_data_forbids_every_change() {
    let mut cluster = Cluster::new(1, |_| {});
    cluster.grant(0, 7, 60).expect("new");
    let on = AlarmRequest { action: AlarmAction::Activate, member: member(0), alarm: Some(Alarm::Corrupt) };
    cluster.call(0, Request::Alarm(on)).expect("raised");
    let delete = Request::DeleteRange(DeleteRangeRequest { range: KeyRange::single("x"), prev_kv: false });
    for request in [
        Request::Put(PutRequest::of("a", "")),
        delete,
        Request::Compact(CompactRequest { revision: 1, physical: false }),
        Request::LeaseRevoke { id: 7 },
        Request::LeaseGrant(LeaseGrantRequest { id: 8, ttl: 60 }),
    ] {
        assert_eq!(cluster.call(0, request.clone()), Err(Error::Corrupt), "{request:?}");
    }
    // Reads do not go by the log, nor does this.
    assert!(cluster.call(0, Request::Range(RangeRequest::of(KeyRange::single("a")))).is_ok());
    assert_eq!(cluster.keep_alive(0, 7), Ok(60));
    cluster.restart(0);
    cluster.run(Span::secs(4));
    assert_eq!(cluster.put(0, "a", 0), Err(Error::Corrupt), "also after a restart");
}

#[test]
fn an_entry_that_writes_nothing_moves_the_consistent_index_unless_the_bug_is_on() {
    for (bugs, moves) in [(Bugs::NONE, true), (Bugs::NONE.with(Bug::CiNotMovedForLocklessEntries), false)] {
        let mut cluster = Cluster::new(1, |config| config.bugs = bugs);
        cluster.put(0, "a", 0).expect("a put");
        let index =
            |cluster: &Cluster| (cluster.nodes[0].replica.backend.consistent_index(), cluster.nodes[0].replica.applied);
        let before = index(&cluster);
        assert_eq!(before.0, before.1);
        assert_eq!(cluster.put(0, "a", 9), Err(Error::LeaseNotFound));
        assert_eq!(index(&cluster).0 == index(&cluster).1, moves, "{bugs:?}");
        // The next one that writes takes it along.
        cluster.put(0, "b", 0).expect("a put");
        assert_eq!(index(&cluster).0, index(&cluster).1);
    }
}

#[test]
fn a_physical_compaction_is_answered_when_it_lasts() {
    let mut cluster = Cluster::new(1, |config| config.compaction_batch_limit = 1);
    (0..5).for_each(|_| drop(cluster.put(0, "a", 0)));
    let logical = CompactRequest { revision: 5, physical: false };
    assert_eq!(cluster.call(0, Request::Compact(logical.clone())), Ok(ResponseBody::Compact));
    assert!(cluster.nodes[0].replica.store.compaction_pending());
    // Refused, but only when what has compacted it is done.
    let physical = CompactRequest { physical: true, ..logical };
    assert_eq!(cluster.call(0, Request::Compact(physical)), Err(Error::Compacted));
    assert!(!cluster.nodes[0].replica.store.compaction_pending());
    assert_eq!(cluster.nodes[0].replica.backend.pending(), 0, "and committed");
    let physical = CompactRequest { revision: 6, physical: true };
    assert_eq!(cluster.call(0, Request::Compact(physical)), Ok(ResponseBody::Compact));
    assert_eq!(cluster.nodes[0].replica.backend.pending(), 0);
}

#[test]
fn a_snapshot_brings_leases_and_attachments_unless_the_bug_is_on() {
    for (bugs, attached) in [(Bugs::NONE, 1), (Bugs::NONE.with(Bug::LessorRecoverOrder), 0)] {
        let mut cluster = Cluster::new(3, |config| {
            (config.bugs, config.snapshot_count, config.snapshot_catch_up_entries) = (bugs, 5, 2);
        });
        cluster.cut.insert(member(2));
        cluster.grant(0, 7, 60).expect("new");
        cluster.put(0, "a", 7).expect("there is the lease");
        (0..30).for_each(|_| drop(cluster.put(0, "b", 0)));
        let on = AlarmRequest { action: AlarmAction::Activate, member: member(1), alarm: Some(Alarm::NoSpace) };
        cluster.call(0, Request::Alarm(on)).expect("raised");
        cluster.run(Span::secs(1));
        cluster.cut.clear();
        cluster.run(Span::secs(2));
        // As in etcd a database is sent when something has been applied.
        let delete = DeleteRangeRequest { range: KeyRange::single("b"), prev_kv: false };
        cluster.call(0, Request::DeleteRange(delete)).expect("it costs nothing");
        cluster.run(Span::secs(2));
        let third = &cluster.nodes[2].replica;
        assert_eq!(third.applied, cluster.nodes[0].replica.applied);
        assert_eq!(third.lessor.leases()[&7].keys.len(), attached, "{bugs:?}");
        assert!(third.alarms.is_raised(Alarm::NoSpace));
    }
}
