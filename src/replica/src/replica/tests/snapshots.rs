//! Whole members over disks that forget: snapshots made, sent and installed, crashes in the middle of it, and what a
//! boot makes of what is left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::api::{Credential, KeyRange, PutRequest, RangeRequest, Request, ResponseBody};
use crate::time::{Monotonic, Span};
use crate::wal::testing::{Dice, Disk};
use crate::wal::{self, Commands};
use crate::{
    BootError, Bug, Bugs, Chance, Config, Dir, DiskCommand, Event, FileName, Input, MemberId, Output, PeerMessage,
    Release, Replica, RequestId, Role, Task,
};

struct Node {
    config: Config,
    replica: Option<Replica>,
    disk: Disk,
    wakes: BTreeMap<Task, Monotonic>,
    /// Outputs that it may still perform before it loses power.
    fuse: Option<u64>,
    installed: usize,
    /// Databases that it began to send.
    sent: usize,
}

/// Members that speak to each other in order and without loss, but for one that may be cut off.
struct Rig {
    nodes: Vec<Node>,
    messages: VecDeque<PeerMessage>,
    /// Databases on their way: sender, receiver, number.
    streams: BTreeSet<(usize, usize, u64)>,
    cut_off: Option<usize>,
    now: Monotonic,
    requests: u64,
    answers: BTreeMap<RequestId, Option<ResponseBody>>,
    dice: Dice,
}

impl Rig {
    fn new(count: u64, change: impl Fn(&mut Config)) -> Self {
        let members: Vec<MemberId> = (1..=count).map(MemberId).collect();
        let node = |member: &MemberId| {
            let mut config = Config::etcd(*member, members.clone());
            (config.snapshot_count, config.snapshot_catch_up_entries, config.memory_snapshot_count) = (10, 3, 5);
            (config.wal_segment_bytes, config.snapshot_chunk_bytes) = (4096, 4096);
            (config.max_snapshots, config.max_wals, config.purge_interval) = (1, 1, Span::millis(50));
            config.snapshot_release_delay = Span::millis(100);
            // What members say by themselves would move the crashes in these stories.
            config.publish = false;
            (config.monitor_version_interval, config.downgrade_check_interval) = (Span::ZERO, Span::ZERO);
            change(&mut config);
            let (disk, wakes) = (Disk::default(), BTreeMap::new());
            Node { config, replica: None, disk, wakes, fuse: None, installed: 0, sent: 0 }
        };
        let nodes = members.iter().map(node).collect();
        let (messages, now) = (VecDeque::new(), Monotonic::default());
        let answers = BTreeMap::new();
        let (cut_off, requests, dice, streams) = (None, 0, Dice(1), BTreeSet::new());
        let mut rig = Self { nodes, messages, streams, cut_off, now, requests, answers, dice };
        for who in 0..count as usize {
            rig.boot(who).expect("an empty disk is a good one");
        }
        rig.settle(|rig| rig.leader().is_some());
        rig
    }

    fn boot(&mut self, who: usize) -> Result<(), BootError> {
        let node = &mut self.nodes[who];
        let mut out = Vec::new();
        node.wakes.clear();
        let replica = Replica::boot(node.config.clone(), &node.disk.image(), self.now, &mut out)?;
        node.replica = Some(replica);
        self.perform(who, out);
        Ok(())
    }

    /// Power fails; what was not synced may be gone.
    fn crash(&mut self, who: usize) {
        self.nodes[who].replica = None;
        self.nodes[who].fuse = None;
        self.nodes[who].disk.crash(&mut self.dice);
        self.messages.retain(|message| message.to != MemberId(who as u64 + 1));
        self.streams.retain(|(from, ..)| *from != who);
        for (from, to, stream) in self.streams.clone() {
            if to == who {
                self.stream_ends(from, to, stream, false);
            }
        }
    }

    /// The sender hears how it went, once.
    fn stream_ends(&mut self, from: usize, to: usize, stream: u64, delivered: bool) {
        if self.streams.remove(&(from, to, stream)) {
            self.step(from, Input::SnapshotSent { member: MemberId(to as u64 + 1), stream, delivered });
        }
    }

    fn step(&mut self, who: usize, input: Input) {
        let mut out = Vec::new();
        if let Some(replica) = &mut self.nodes[who].replica {
            replica.step(self.now, input, &mut out);
            self.perform(who, out);
        }
    }

    fn perform(&mut self, who: usize, out: Vec<Output>) {
        for output in out {
            let node = &mut self.nodes[who];
            if let Some(fuse) = &mut node.fuse {
                if *fuse == 0 {
                    return self.crash(who);
                }
                *fuse -= 1;
            }
            match output {
                Output::Send(message) => {
                    if let Some(chunk) = message.chunk.as_ref().filter(|chunk| chunk.offset == 0) {
                        let to = message.to.0 as usize - 1;
                        let under_way = self.streams.range((who, to, 0)..=(who, to, u64::MAX)).next();
                        assert_eq!(under_way, None, "two databases at once");
                        self.streams.insert((who, to, chunk.stream));
                    }
                    self.messages.push_back(message);
                }
                Output::SnapshotReceived { from, stream, saved } => {
                    self.stream_ends(from.0 as usize - 1, who, stream, saved);
                }
                Output::Disk { op, command } => assert_eq!(node.disk.issue(command), op),
                Output::Reply { id, result } => {
                    self.answers.insert(id, result.ok().map(|response| response.body));
                }
                Output::Wake { task, after } => {
                    let at = self.now + after;
                    let due = node.wakes.entry(task).or_insert(at);
                    *due = at.min(*due);
                }
                Output::Ask(_) => {
                    let ticks = 10 + self.dice.below(10) as u32;
                    self.step(who, Input::Chance(Chance::ElectionTimeout(ticks)));
                }
                Output::Event(Event::SnapshotInstalled { .. }) => node.installed += 1,
                Output::Event(Event::SnapshotSending { .. }) => node.sent += 1,
                Output::Exit { reason } => panic!("{reason}"),
                Output::Stream { .. } | Output::Point(_) | Output::Event(_) => {}
            }
        }
    }

    /// One thing happens. It takes a moment, so that whoever is due earlier gets to run.
    fn advance(&mut self) {
        self.now = self.now + Span::micros(1);
        if let Some(message) = self.messages.pop_front() {
            let (from, to) = (message.from.0 as usize - 1, message.to.0 as usize - 1);
            let lost = self.cut_off.is_some_and(|cut| cut == from || cut == to) || self.nodes[to].replica.is_none();
            if !lost {
                return self.step(to, Input::Message(message));
            }
            if let Some(chunk) = message.chunk {
                self.stream_ends(from, to, chunk.stream, false);
            }
            return;
        }
        for who in 0..self.nodes.len() {
            if let Some(op) = self.nodes[who].disk.end_sync() {
                return self.step(who, Input::Disk { op, result: Ok(()) });
            }
        }
        let live = self.nodes.iter().enumerate().filter(|(_, node)| node.replica.is_some());
        let due = live.flat_map(|(who, node)| node.wakes.iter().map(move |(task, at)| (*at, who, *task))).min();
        let (at, who, task) = due.expect("a member always has something to do");
        self.nodes[who].wakes.remove(&task);
        self.now = self.now.max(at);
        self.step(who, Input::Run(task));
    }

    fn settle(&mut self, until: impl Fn(&Self) -> bool) {
        for _ in 0..200_000 {
            if until(self) {
                return;
            }
            self.advance();
        }
        panic!("it does not come to that");
    }

    /// Nothing but time passes.
    fn rest(&mut self, time: Span) {
        let until = self.now + time;
        self.settle(|rig| rig.now >= until);
    }

    fn leader(&self) -> Option<usize> {
        let leads = |node: &Node| node.replica.as_ref().is_some_and(|replica| replica.view().role == Role::Leader);
        let connected = |who: &usize| self.cut_off != Some(*who);
        (0..self.nodes.len()).filter(connected).find(|who| leads(&self.nodes[*who]))
    }

    fn request(&mut self, who: usize, request: Request) -> Option<ResponseBody> {
        self.requests += 1;
        let id = RequestId(self.requests);
        self.step(who, Input::Request { id, credential: Credential::None, request });
        self.settle(|rig| rig.answers.contains_key(&id));
        self.answers.remove(&id).flatten()
    }

    /// Puts keys `from..to`, through whoever leads.
    fn put(&mut self, keys: std::ops::Range<u32>) {
        for key in keys {
            let put = || {
                let (key, value) = (Bytes::from(format!("k{key:03}")), Bytes::from(vec![7; 100]));
                Request::Put(PutRequest::of(key, value))
            };
            loop {
                self.settle(|rig| rig.leader().is_some());
                let leader = self.leader().expect("there is one");
                if self.request(leader, put()).is_some() {
                    break;
                }
            }
        }
    }

    /// Keys that a member has.
    fn keys(&mut self, who: usize) -> usize {
        let mut range = RangeRequest::of(KeyRange::prefix("k"));
        range.serializable = true;
        match self.request(who, Request::Range(range)) {
            Some(ResponseBody::Range { kvs, .. }) => kvs.len(),
            other => panic!("{other:?}"),
        }
    }

    fn applied(&self, who: usize) -> u64 {
        self.nodes[who].replica.as_ref().map_or(0, |replica| replica.view().applied)
    }

    fn caught_up(&self, who: usize) -> bool {
        self.leader().is_some_and(|leader| leader != who && self.applied(leader) == self.applied(who))
    }

    /// A member is cut off until it needs a snapshot, and then gets one.
    fn lag(&mut self) -> usize {
        let behind = (self.leader().expect("there is one") + 1) % 3;
        self.cut_off = Some(behind);
        self.put(0..30);
        self.cut_off = None;
        behind
    }
}

fn files(rig: &Rig, who: usize) -> Vec<FileName> {
    rig.nodes[who].disk.image().files.into_keys().collect()
}

#[test]
fn a_member_makes_snapshots_as_its_release_does_and_comes_back_from_them() {
    for release in Release::ALL {
        let mut rig = Rig::new(1, |config| config.release = release);
        for round in 0..4 {
            rig.put(round * 20..round * 20 + 20);
            let files = files(&rig, 0);
            let snaps = files.iter().filter(|file| matches!(file, FileName::Snap { .. })).count();
            assert_eq!(snaps > 0, release.writes_snap_files(), "{release:?}: {files:?}");
            let oldest = files.iter().find_map(|file| match file {
                FileName::Wal { seq, .. } => Some(*seq),
                _ => None,
            });
            assert!(round < 2 || oldest > Some(0), "{release:?}: {files:?}");
            rig.crash(0);
            rig.boot(0).unwrap_or_else(|error| panic!("{release:?}: {error}"));
            rig.settle(|rig| rig.leader().is_some());
            rig.rest(Span::millis(300));
            assert_eq!(rig.keys(0), round as usize * 20 + 20);
        }
    }
}

#[test]
fn as_many_files_are_kept_as_was_set() {
    let kept = |max_snapshots: usize, max_wals: usize| {
        let mut rig = Rig::new(1, |config| {
            (config.max_snapshots, config.max_wals) = (max_snapshots, max_wals);
            config.wal_segment_bytes = 4096;
        });
        for burst in 0..10 {
            rig.put(burst * 20..burst * 20 + 20);
            rig.rest(Span::millis(300));
        }
        let files = files(&rig, 0);
        let count = |of: fn(&FileName) -> bool| files.iter().filter(|file| of(file)).count();
        (count(|file| matches!(file, FileName::Snap { .. })), count(|file| matches!(file, FileName::Wal { .. })))
    };
    let (all_snapshots, all_wals) = kept(0, 0);
    assert!(all_snapshots > 4 && all_wals > 4, "{all_snapshots} {all_wals}");
    assert_eq!(kept(2, 0), (2, all_wals));
    assert_eq!(kept(0, 3), (all_snapshots, 3));
}

#[test]
fn a_member_that_lags_gets_a_database_in_chunks() {
    let mut rig = Rig::new(3, |config| config.snapshot_chunk_bytes = 1000);
    let behind = rig.lag();
    rig.settle(|rig| rig.nodes[behind].installed > 0 && rig.caught_up(behind));
    assert_eq!(rig.keys(behind), 30);
    rig.rest(Span::millis(100));
    let left = files(&rig, behind);
    let leftover = |file: &FileName| matches!(file, FileName::SnapDb { .. } | FileName::SnapTmp { .. });
    assert!(!left.iter().any(leftover), "{left:?}");
    rig.crash(behind);
    rig.boot(behind).expect("the snapshot counts");
    rig.put(30..40);
    rig.settle(|rig| rig.caught_up(behind));
    assert_eq!(rig.keys(behind), 40);
}

#[test]
fn databases_that_raft_wants_at_once_go_one_by_one() {
    let mut rig = Rig::new(3, |config| {
        (config.snapshot_chunk_bytes, config.snapshot_chunk_interval) = (1000, Span::millis(50));
    });
    let behind = rig.lag();
    rig.settle(|rig| !rig.streams.is_empty());
    let leader = rig.leader().expect("there is one");
    let sent = rig.nodes[leader].sent;
    let replica = rig.nodes[leader].replica.as_mut().expect("it leads");
    (0..2).for_each(|_| replica.snapshotting.want_again());
    // What is applied meanwhile has the leader look at what is wanted.
    rig.put(30..33);
    assert!(rig.nodes[leader].sent == sent && !rig.streams.is_empty(), "the first one is on its way");
    rig.settle(|rig| rig.nodes[leader].sent == sent + 2 && rig.streams.is_empty());
    rig.settle(|rig| rig.nodes[behind].installed > 0 && rig.caught_up(behind));
    assert_eq!(rig.keys(behind), 33);
}

#[test]
fn a_crash_anywhere_in_an_installation_is_survived() {
    for release in [Release::V3_5, Release::V3_6] {
        for fuse in (0..72).step_by(if release == Release::V3_6 { 3 } else { 6 }) {
            let mut rig = Rig::new(3, |config| config.release = release);
            rig.dice = Dice(fuse);
            let behind = rig.lag();
            rig.nodes[behind].fuse = Some(fuse * 3);
            for _ in 0..4000 {
                rig.advance();
            }
            if rig.nodes[behind].replica.is_none() {
                rig.boot(behind).unwrap_or_else(|error| panic!("{release:?} after {fuse}: {error}"));
            }
            rig.nodes[behind].fuse = None;
            rig.put(30..35);
            rig.settle(|rig| rig.caught_up(behind));
            assert_eq!(rig.keys(behind), 35, "{release:?} after {fuse}");
        }
    }
}

#[test]
fn a_member_is_forced_to_be_a_cluster_of_its_own() {
    let mut rig = Rig::new(3, |_| ());
    rig.put(0..17);
    let who = rig.leader().expect("there is one");
    // What is committed is on disk for sure only with the backend's batch.
    rig.rest(Span::millis(300));
    for other in (0..3).filter(|other| *other != who) {
        rig.nodes[other].replica = None;
    }
    rig.crash(who);
    rig.nodes[who].config.force_new_cluster = true;
    rig.boot(who).expect("its disk is sound");
    rig.settle(|rig| rig.leader() == Some(who));
    rig.settle(|rig| rig.nodes[who].replica.as_ref().is_some_and(|replica| replica.view().voters.len() == 1));
    assert_eq!(rig.keys(who), 17);
    rig.put(17..30);
    rig.rest(Span::millis(300));
    rig.crash(who);
    rig.nodes[who].config.force_new_cluster = false;
    rig.boot(who).expect("its disk is sound");
    rig.settle(|rig| rig.leader() == Some(who));
    rig.rest(Span::millis(300));
    assert_eq!(rig.keys(who), 30);
}

#[test]
fn a_member_whose_log_has_lost_its_end_can_be_forced() {
    let mut rig = Rig::new(1, |config| config.wal_segment_bytes = 1 << 20);
    rig.put(0..8);
    rig.rest(Span::millis(300));
    rig.nodes[0].replica = None;
    // A record without a length is the end of the log. The database has all that came behind it.
    let records = wal::dump(&rig.nodes[0].disk.image()).records;
    let lost = &records[records.len() - 5];
    let zeros = DiskCommand::Write { file: lost.file, offset: lost.offset, data: vec![0; 8].into() };
    rig.nodes[0].disk.issue(zeros);
    rig.nodes[0].disk.issue(DiskCommand::Sync { file: lost.file });
    while rig.nodes[0].disk.end_sync().is_some() {}
    rig.crash(0);
    let from = records.iter().filter(|record| matches!(record.content, wal::Content::Entry(_))).count() as u64;
    rig.nodes[0].config.force_new_cluster = true;
    rig.boot(0).expect("as etcd does");
    let commit = rig.nodes[0].replica.as_ref().expect("it runs").view().commit;
    assert!(commit < from, "commit {commit} of {from} entries");
    rig.settle(|rig| rig.leader() == Some(0));
    assert_eq!(rig.keys(0), 8, "the database has them");
}

#[test]
fn a_log_belongs_to_one_member() {
    let mut rig = Rig::new(1, |_| ());
    rig.put(0..1);
    rig.crash(0);
    rig.nodes[0].config.member = MemberId(2);
    let error = rig.boot(0).expect_err("the log is another's");
    assert_eq!(error.to_string(), "the WAL is that of n1, not of n2");
}

#[test]
fn a_database_that_is_gone_is_missed() {
    let mut rig = Rig::new(1, |_| ());
    rig.put(0..20);
    rig.rest(Span::millis(300));
    rig.nodes[0].replica = None;
    rig.nodes[0].disk.issue(DiskCommand::Remove { file: FileName::Db });
    rig.nodes[0].disk.issue(DiskCommand::SyncDir { dir: Dir::Snap });
    while rig.nodes[0].disk.end_sync().is_some() {}
    rig.crash(0);
    let error = rig.boot(0).expect_err("the log starts after the snapshot");
    assert!(error.to_string().starts_with("failed to recover v3 backend from snapshot"), "{error}");
}

/// Whether, in so many stories of a lagging member and a crash of it, it does not start again.
fn goes_wrong(bug: Option<Bug>, stories: u64) -> bool {
    let wrong = |seed: u64| {
        let mut rig = Rig::new(3, |config| {
            config.bugs = bug.map_or(Bugs::NONE, |bug| Bugs::NONE.with(bug));
            config.backend_batch_interval = Span::millis(5);
        });
        rig.dice = Dice(seed);
        let behind = rig.lag();
        rig.nodes[behind].fuse = Some(60 + seed);
        for _ in 0..3000 {
            rig.advance();
        }
        let down = rig.nodes[behind].replica.is_none();
        down && rig.boot(behind).is_err()
    };
    (0..stories).any(wrong)
}

#[test]
fn installing_in_the_wrong_order_is_found_out_by_a_crash() {
    assert!(!goes_wrong(None, 10));
    assert!(goes_wrong(Some(Bug::SnapCiOverwritten), 60));
}

#[test]
fn a_database_that_came_before_a_crash_serves_the_snapshot_that_is_sent_again() {
    let mut kept = 0;
    for seed in 1..=20 {
        let mut rig = Rig::new(3, |_| {});
        rig.dice = Dice(seed);
        let behind = rig.lag();
        let received = |rig: &Rig| files(rig, behind).iter().any(|file| matches!(file, FileName::SnapDb { .. }));
        rig.settle(received);
        rig.crash(behind);
        // Nothing was written since, so the snapshot comes again with the same index, and no new database.
        kept += u32::from(received(&rig));
        rig.boot(behind).expect("it has its old log and database");
        rig.settle(|rig| rig.caught_up(behind));
        assert_eq!(rig.nodes[behind].installed, 1);
        assert_eq!(rig.keys(behind), 30);
    }
    assert!(kept > 0, "no crash has kept the database");
}
