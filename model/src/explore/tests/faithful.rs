//! A fork is the replica over again. Two copies of a toy cluster take the same random inputs; in one of them the
//! replicas are replaced by their forks every few steps. Their outputs, and what they show of themselves, stay equal.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use detcd_replica::api::{
    CompactRequest, Credential, DeleteRangeRequest, KeyRange, LeaseGrantRequest, PutRequest, RangeRequest, Request,
    WatchCreate, WatchRequest,
};
use detcd_replica::time::{Monotonic, Span};
use detcd_replica::{
    Chance, Config, DiskCommand, DiskImage, Input, MemberId, OpId, Output, PeerMessage, Replica, RequestId, Role, Rope,
    StreamId, Task, WatchId,
};

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

/// A replica, the one that is forked, and a disk that keeps everything.
struct Pair {
    whole: Replica,
    forked: Replica,
    image: DiskImage,
    syncs: VecDeque<OpId>,
    tasks: BTreeMap<Task, Span>,
    steps: usize,
}

/// What a run has come by, to show that it had teeth.
#[derive(Debug, Default)]
struct Met {
    steps: usize,
    forks: usize,
    forks_while_saving: usize,
    led: usize,
    applied: usize,
    restarts: usize,
    databases: usize,
    reads: usize,
}

struct Toy {
    dice: Dice,
    pairs: Vec<Pair>,
    links: Vec<PeerMessage>,
    now: Monotonic,
    requests: u64,
    every: usize,
    met: Met,
}

fn config(member: u64, seed: u64) -> Config {
    let mut config = Config::etcd(MemberId(member), vec![MemberId(1), MemberId(2), MemberId(3)]);
    config.election_ticks = 4;
    config.pre_vote = seed % 2 == 0;
    config.check_quorum = seed % 3 != 0;
    config.max_inflight_messages = 2 + (seed % 5) as usize;
    config.max_size_per_message = 200;
    config.snapshot_count = 12;
    config.snapshot_catch_up_entries = 4;
    config.apply_batch = 1 + (seed % 3) as usize;
    config.wal_segment_bytes = 4096;
    config.request_timeout = Span::secs(2);
    config.watch_channel = 2;
    config
}

impl Toy {
    fn new(seed: u64) -> Self {
        let mut toy = Self {
            dice: Dice(seed),
            pairs: Vec::new(),
            links: Vec::new(),
            now: Monotonic::default(),
            requests: 0,
            every: 1 + (seed % 4) as usize,
            met: Met::default(),
        };
        for member in 1..=3 {
            let pair = toy.boot(config(member, seed), DiskImage::default());
            toy.pairs.push(pair.0);
            toy.perform(member as usize - 1, pair.1);
        }
        toy
    }

    fn boot(&self, config: Config, image: DiskImage) -> (Pair, Vec<Output>) {
        let (mut out, mut again) = (Vec::new(), Vec::new());
        let whole = Replica::boot(config.clone(), &image, self.now, &mut out).expect("the disk keeps everything");
        let forked = Replica::boot(config, &image, self.now, &mut again).expect("as above");
        assert_eq!(format!("{out:?}"), format!("{again:?}"));
        (Pair { whole, forked, image, syncs: VecDeque::new(), tasks: BTreeMap::new(), steps: 0 }, out)
    }

    fn step(&mut self, who: usize, input: Input) {
        let pair = &mut self.pairs[who];
        pair.steps += 1;
        if pair.steps % self.every == 0 {
            pair.forked = pair.forked.fork();
            self.met.forks += 1;
            self.met.forks_while_saving += usize::from(!pair.syncs.is_empty());
        }
        let (mut out, mut again) = (Vec::new(), Vec::new());
        pair.whole.step(self.now, input.clone(), &mut out);
        pair.forked.step(self.now, input.clone(), &mut again);
        assert_eq!(format!("{out:?}"), format!("{again:?}"), "after {input:?} in step {}", self.met.steps);
        assert_eq!(format!("{:?}", pair.whole.view()), format!("{:?}", pair.forked.view()));
        assert_eq!(pair.whole.fingerprint(), pair.forked.fingerprint(), "after {input:?} in step {}", self.met.steps);
        self.met.steps += 1;
        self.perform(who, out);
    }

    fn perform(&mut self, who: usize, out: Vec<Output>) {
        for output in out {
            let pair = &mut self.pairs[who];
            match output {
                Output::Send(message) => {
                    self.met.databases += usize::from(message.chunk.is_some());
                    self.links.push(message);
                }
                Output::Disk { op, command } => write(pair, op, command),
                Output::Wake { task, after } => {
                    let due = pair.tasks.entry(task).or_insert(after);
                    *due = after.min(*due);
                }
                Output::Ask(_) => {
                    let ticks = 4 + self.dice.below(4) as u32;
                    self.step(who, Input::Chance(Chance::ElectionTimeout(ticks)));
                }
                Output::Event(event) => {
                    use detcd_replica::Event::{Applied, ReadIndexConfirmed, RoleChanged};
                    self.met.applied += usize::from(matches!(event, Applied { .. }));
                    self.met.reads += usize::from(matches!(event, ReadIndexConfirmed { .. }));
                    self.met.led += usize::from(matches!(event, RoleChanged { role: Role::Leader, .. }));
                }
                Output::SnapshotReceived { from, stream, saved } => {
                    let member = MemberId(who as u64 + 1);
                    self.step(from.0 as usize - 1, Input::SnapshotSent { member, stream, delivered: saved });
                }
                Output::Exit { reason } => panic!("{reason}"),
                Output::Reply { .. } | Output::Stream { .. } | Output::Point(_) => {}
            }
        }
    }

    /// One random thing.
    fn happen(&mut self) {
        let who = self.dice.below(3);
        match self.dice.below(200) {
            0 => self.restart(who),
            1..=3 => {
                let member = MemberId(1 + (who as u64 + 1) % 3);
                self.step(who, Input::Unreachable { member });
            }
            4..=12 => {
                self.requests += 1;
                let (id, request) = (RequestId(self.requests), self.request());
                self.step(who, Input::Request { id, credential: Credential::None, request });
            }
            13..=14 => self.watch(who),
            15..=17 if !self.links.is_empty() => {
                let lost = self.dice.below(self.links.len());
                let message = self.links.remove(lost);
                if let Some(chunk) = message.chunk {
                    let (member, stream) = (message.to, chunk.stream);
                    let input = Input::SnapshotSent { member, stream, delivered: false };
                    self.step(message.from.0 as usize - 1, input);
                }
            }
            18..=90 if !self.links.is_empty() => self.deliver(),
            91..=130 => {
                if let Some(op) = self.pairs[who].syncs.pop_front() {
                    self.step(who, Input::Disk { op, result: Ok(()) });
                }
            }
            _ => self.run_task(who),
        }
    }

    fn run_task(&mut self, who: usize) {
        let tasks = &mut self.pairs[who].tasks;
        let now: Vec<Task> = tasks.iter().filter(|(_, after)| **after == Span::ZERO).map(|(task, _)| *task).collect();
        let due: Vec<Task> = if now.is_empty() { tasks.keys().copied().collect() } else { now };
        if due.is_empty() {
            return;
        }
        let task = due[self.dice.below(due.len())];
        if tasks.remove(&task) != Some(Span::ZERO) {
            self.now = self.now + Span::millis(20);
        }
        self.step(who, Input::Run(task));
    }

    fn deliver(&mut self) {
        let place = self.dice.below(self.links.len().min(4));
        let message = match self.dice.below(20) {
            0 => self.links[place].clone(),
            _ => self.links.remove(place),
        };
        self.step(message.to.0 as usize - 1, Input::Message(message));
    }

    fn request(&mut self) -> Request {
        let key = Bytes::from(vec![b'a' + self.dice.below(4) as u8]);
        let lease = 1 + self.dice.below(2) as i64;
        match self.dice.below(14) {
            0 | 1 => Request::Range(RangeRequest::of(KeyRange::single(key))),
            2 => Request::DeleteRange(DeleteRangeRequest { range: KeyRange::single(key), prev_kv: true }),
            3 => {
                let revision = self.pairs[0].whole.view().revision - 1;
                Request::Compact(CompactRequest { revision, physical: true })
            }
            4 => Request::MoveLeader { target: MemberId(1 + self.dice.below(3) as u64) },
            10 => Request::LeaseGrant(LeaseGrantRequest { id: lease, ttl: 2 }),
            11 => Request::LeaseKeepAlive { id: lease },
            12 => Request::LeaseTimeToLive { id: lease, keys: true },
            13 => Request::Put(PutRequest { lease, ..PutRequest::of(key, "leased") }),
            _ => Request::Put(PutRequest::of(key, vec![7; 40])),
        }
    }

    fn watch(&mut self, who: usize) {
        self.requests += 1;
        let (stream, watch) = (StreamId(self.requests), WatchId(self.requests as i64));
        self.step(who, Input::StreamOpen { stream, credential: Credential::None, window: 3 });
        let (range, start_revision) = (KeyRange::prefix(""), 1);
        let (prev_kv, progress_notify, no_put, no_delete) = (true, true, false, false);
        let create = WatchCreate { watch, range, start_revision, prev_kv, progress_notify, no_put, no_delete };
        self.step(who, Input::StreamRequest { stream, request: WatchRequest::Create(create) });
    }

    /// Nothing is lost on this disk: what matters here is a replica with a past.
    fn restart(&mut self, who: usize) {
        let pair = &self.pairs[who];
        let (config, image) = (pair.whole.config().clone(), pair.image.clone());
        let (pair, out) = self.boot(config, image);
        self.pairs[who] = pair;
        self.met.restarts += 1;
        self.perform(who, out);
    }
}

fn write(pair: &mut Pair, op: OpId, command: DiskCommand) {
    let files = &mut pair.image.files;
    match command {
        DiskCommand::Create { file } => {
            files.insert(file, Rope::default());
        }
        DiskCommand::Write { file, offset, data } => {
            let mut bytes = files.get(&file).map(|bytes| bytes.to_bytes().to_vec()).unwrap_or_default();
            let end = offset as usize + data.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[offset as usize..end].copy_from_slice(&data.to_bytes());
            files.insert(file, bytes.into());
        }
        DiskCommand::Truncate { file, length } => {
            let mut bytes = files.get(&file).map(|bytes| bytes.to_bytes().to_vec()).unwrap_or_default();
            bytes.resize(length as usize, 0);
            files.insert(file, bytes.into());
        }
        DiskCommand::Rename { from, to } => {
            if let Some(bytes) = files.remove(&from) {
                files.insert(to, bytes);
            }
        }
        DiskCommand::Remove { file } => {
            files.remove(&file);
        }
        DiskCommand::Sync { .. } | DiskCommand::Fsync { .. } | DiskCommand::SyncDir { .. } => pair.syncs.push_back(op),
    }
}

#[test]
fn a_forked_world_and_one_that_is_not_stay_equal() {
    let mut all = Met::default();
    for seed in 0..12 {
        let mut toy = Toy::new(seed);
        for _ in 0..4_000 {
            toy.happen();
        }
        let met = toy.met;
        eprintln!("seed {seed}: {met:?}");
        all.steps += met.steps;
        all.forks += met.forks;
        all.forks_while_saving += met.forks_while_saving;
        all.led += met.led;
        all.applied += met.applied;
        all.restarts += met.restarts;
        all.databases += met.databases;
        all.reads += met.reads;
    }
    assert!(all.steps > 20_000 && all.forks > 5_000 && all.forks_while_saving > 500, "{all:?}");
    assert!(all.led > 20 && all.applied > 500 && all.restarts > 20, "{all:?}");
    assert!(all.databases > 0 && all.reads > 0, "{all:?}");
}
