//! Tiny hand-made histories: for each check one where it holds, and one where it must speak.

mod changes;
mod forced;
mod images;
mod leases;
mod states;
mod timeline;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use detcd_replica::api::{AlarmMember, Header, LeaseId, Response, ResponseBody};
use detcd_replica::raftpb::{Entry, Message, MessageType};
use detcd_replica::time::Span;
use detcd_replica::{DiskCommand, Event, Lease, LogView, PeerMessage, RequestId};

use super::*;

const WAL: FileName = FileName::Wal { seq: 0, index: 0 };

/// A member as the story tells it.
#[derive(Clone)]
pub(super) struct Fake {
    id: MemberId,
    term: u64,
    vote: MemberId,
    role: Role,
    commit: u64,
    applied: u64,
    start: (u64, u64),
    entries: VecDeque<Entry>,
    changed_from: u64,
    voters: Vec<MemberId>,
    revision: i64,
    compact_revision: i64,
    state_hash: u64,
    consistent_index: u64,
    op: u64,
    alarms: BTreeSet<AlarmMember>,
    forced: bool,
}

static NO_LEASES: BTreeMap<LeaseId, Lease> = BTreeMap::new();

impl Fake {
    /// A member that has nothing yet.
    pub(super) fn new(id: u64) -> Self {
        Self {
            id: MemberId(id),
            term: 1,
            vote: MemberId::NONE,
            role: Role::Follower,
            commit: 0,
            applied: 0,
            start: (0, 0),
            entries: VecDeque::new(),
            changed_from: 0,
            voters: Vec::new(),
            revision: 1,
            compact_revision: -1,
            state_hash: 0,
            consistent_index: 0,
            op: 1,
            alarms: BTreeSet::new(),
            forced: false,
        }
    }

    pub(super) fn view(&self) -> View<'_> {
        View {
            member: self.id,
            term: self.term,
            vote: self.vote,
            role: self.role,
            leader: MemberId::NONE,
            commit: self.commit,
            applied: self.applied,
            log: LogView { start: self.start, stable: &self.entries, unstable: &[], changed_from: self.changed_from },
            voters: &self.voters,
            learners: &[],
            revision: self.revision,
            compact_revision: self.compact_revision,
            state_hash: self.state_hash,
            leases: &NO_LEASES,
            is_primary_lessor: false,
            election_timeout: Span::secs(1),
            lease_revoke_rate: 1_000,
            auth_enabled: false,
            auth_revision: 1,
            keeps_tokens: false,
            alarms: &self.alarms,
            consistent_index: self.consistent_index,
            forced: self.forced,
        }
    }

    fn last(&self) -> u64 {
        self.start.0 + self.entries.len() as u64
    }

    fn cut(&mut self, index: u64) {
        self.entries.truncate((index - self.start.0) as usize);
    }
}

/// Members 1 to n (by number in every method), and the first finding.
struct Story {
    invariants: Invariants,
    members: Vec<Fake>,
    at: u64,
    found: Option<Finding>,
}

fn entry(index: u64, term: u64, data: &str) -> Entry {
    Entry { index, term, data: data.as_bytes().to_vec().into(), ..Entry::default() }
}

fn n(number: u64) -> MemberId {
    MemberId(number)
}

impl Story {
    /// A cluster that has bootstrapped: everything so far is durable, committed and applied.
    fn of(size: u64) -> Self {
        let voters: Vec<_> = (1..=size).map(MemberId).collect();
        let mut story = Self { invariants: Invariants::new(&voters), members: Vec::new(), at: 0, found: None };
        for id in &voters {
            let entries = (1..=size).map(|index| entry(index, 1, "founder")).collect();
            story.members.push(Fake { commit: size, entries, ..Fake::new(id.0) });
            let saved =
                Event::WalSaved { op: OpId(1), entries: Some((1, size)), hard_state: (1, MemberId::NONE, size) };
            story.boot_with(id.0, &[write(1), Output::Event(saved)]);
            story.sync(id.0);
            story.member(id.0).voters.clone_from(&voters);
            story.member(id.0).applied = size;
            story.member(id.0).consistent_index = size;
            story.step(id.0, &[]);
        }
        story
    }

    fn member(&mut self, number: u64) -> &mut Fake {
        &mut self.members[number as usize - 1]
    }

    fn note(&mut self, result: Result<(), Finding>) {
        self.at += 1;
        if self.found.is_none() {
            self.found = result.err();
        }
    }

    fn step(&mut self, number: u64, outputs: &[Output]) {
        let fake = &self.members[number as usize - 1];
        let result = self.invariants.on_step(self.at, &fake.view(), outputs);
        self.note(result);
        self.member(number).changed_from = u64::MAX;
    }

    fn event(&mut self, number: u64, event: Event) {
        self.step(number, &[Output::Event(event)]);
    }

    fn boot_with(&mut self, number: u64, outputs: &[Output]) {
        let fake = &self.members[number as usize - 1];
        let result = self.invariants.on_boot(self.at, &fake.view(), outputs);
        self.note(result);
    }

    /// Boot with the log cut after `last`.
    fn boot(&mut self, number: u64, last: u64) {
        let member = self.member(number);
        member.cut(last);
        member.role = Role::Follower;
        member.commit = member.commit.min(last);
        member.applied = member.start.0;
        member.op = 0;
        self.boot_with(number, &[]);
    }

    fn crash(&mut self, number: u64) {
        let result = self.invariants.on_crash(self.at, n(number));
        self.note(result);
    }

    fn sync(&mut self, number: u64) {
        let op = OpId(self.member(number).op);
        let result = self.invariants.on_synced(self.at, n(number), WAL, op);
        self.note(result);
    }

    /// Write the hard state, and the entries from `from` on.
    fn save(&mut self, number: u64, from: u64) {
        let member = self.member(number);
        member.op += 1;
        member.changed_from = from;
        let (op, last) = (member.op, member.last());
        let entries = (from <= last).then_some((from, last));
        let hard_state = (member.term, member.vote, member.commit);
        let saved = Event::WalSaved { op: OpId(op), entries, hard_state };
        self.step(number, &[write(op), Output::Event(saved)]);
    }

    /// Replace the log from `index` on by one entry, and write it.
    fn write(&mut self, number: u64, index: u64, term: u64, data: &str) {
        let member = self.member(number);
        member.cut(index - 1);
        member.entries.push_back(entry(index, term, data));
        self.save(number, index);
    }

    /// The same, and it is durable.
    fn append(&mut self, number: u64, index: u64, term: u64, data: &str) {
        self.write(number, index, term, data);
        self.sync(number);
    }

    fn vote(&mut self, number: u64, term: u64, candidate: u64) {
        let member = self.member(number);
        (member.term, member.vote) = (term, n(candidate));
        let beyond = member.last() + 1;
        self.save(number, beyond);
    }

    fn lead(&mut self, number: u64, term: u64) {
        self.vote(number, term, number);
        self.sync(number);
        self.member(number).role = Role::Leader;
        self.step(number, &[]);
    }

    fn commit(&mut self, number: u64, index: u64) {
        self.member(number).commit = index;
        self.step(number, &[]);
    }

    fn apply(&mut self, number: u64, index: u64, state_hash: u64, revision: i64) {
        let member = self.member(number);
        let hash = logs::entry_hash(&member.entries[(index - member.start.0 - 1) as usize]);
        let term = member.entries[(index - member.start.0 - 1) as usize].term;
        (member.applied, member.revision, member.state_hash) = (index, revision, state_hash);
        member.consistent_index = member.consistent_index.max(index);
        self.event(number, Event::Applied { index, term, entry_hash: hash, state_hash, revision });
    }

    fn send(&mut self, number: u64, kind: MessageType, to: u64, term: u64) {
        let message = Message { msg_type: kind, to, term, ..Message::default() };
        let sent = PeerMessage::of_raft(n(number), n(to), message);
        self.step(number, &[Output::Send(sent)]);
    }

    /// A snapshot at `index` takes the place of the log, and its record is synced; so is the hard state, if
    /// `committed`.
    fn receive(&mut self, number: u64, index: u64, term: u64, committed: bool) {
        self.event(number, Event::DatabaseReceived { index });
        let member = self.member(number);
        (member.start, member.commit, member.changed_from) = ((index, term), index, 0);
        member.entries.clear();
        member.op += 1;
        let op = member.op;
        self.step(number, &[write(op), Output::Event(Event::WalSnapshotSaved { op: OpId(op), index })]);
        self.sync(number);
        if committed {
            let beyond = index + 1;
            self.save(number, beyond);
            self.sync(number);
        }
    }

    fn compact(&mut self, number: u64, index: u64) {
        let member = self.member(number);
        let count = (index - member.start.0) as usize;
        let term = member.entries[count - 1].term;
        member.entries.drain(..count);
        member.start = (index, term);
        self.step(number, &[]);
    }

    /// n1 leads in term 2 and commits index 4, which n2 has too.
    fn one_commit(&mut self) {
        self.lead(1, 2);
        for number in [1, 2] {
            self.append(number, 4, 2, "a");
        }
        self.commit(1, 4);
    }
}

fn write(op: u64) -> Output {
    let data = bytes::Bytes::new();
    Output::Disk { op: OpId(op), command: DiskCommand::Write { file: WAL, offset: 0, data: data.into() } }
}

fn put_answer() -> Output {
    let header = Header { member: n(1), revision: 2, raft_term: 2 };
    let body = ResponseBody::Put { prev_kv: None };
    Output::Reply { id: RequestId(1), result: Box::new(Ok(Response { header, body })) }
}

type Case = (&'static str, Option<&'static str>, fn(&mut Story));

fn check(cases: &[Case]) {
    for (name, expected, tell) in cases {
        let mut story = Story::of(3);
        tell(&mut story);
        let found = story.found.as_ref().map(|finding| finding.check);
        assert_eq!(found, *expected, "{name}: {:?}", story.found);
    }
}

#[test]
fn r1_one_leader_in_a_term() {
    check(&[
        ("leaders of different terms", None, |s| {
            s.lead(1, 2);
            s.lead(2, 3);
        }),
        ("two of one term", Some("R1"), |s| {
            s.lead(1, 2);
            s.lead(2, 2);
        }),
        ("it had stepped down within the step", Some("R1"), |s| {
            s.lead(1, 2);
            s.event(2, Event::RoleChanged { role: Role::Leader, term: 2, leader: Some(n(2)) });
        }),
    ]);
}

#[test]
fn r2_logs_match() {
    check(&[
        ("a tail of another term is replaced", None, |s| {
            s.append(2, 4, 2, "old");
            s.append(1, 4, 3, "new");
            s.append(2, 4, 3, "new");
        }),
        ("same index and term, other data", Some("R2"), |s| {
            s.append(1, 4, 2, "a");
            s.append(2, 4, 2, "b");
        }),
        ("same index and term over other prefixes", Some("R2"), |s| {
            s.append(1, 4, 2, "a");
            s.append(1, 5, 3, "b");
            s.append(2, 4, 1, "a");
            s.append(2, 5, 3, "b");
        }),
        ("a log behind a snapshot takes its prefix from the others", Some("R2"), |s| {
            s.append(1, 4, 2, "a");
            s.append(1, 5, 2, "b");
            s.member(3).start = (4, 2);
            s.member(3).entries.clear();
            s.append(3, 5, 2, "other");
        }),
    ]);
}

#[test]
fn r3_leaders_are_complete() {
    check(&[
        ("the one that has the entry", None, |s| {
            s.one_commit();
            s.lead(2, 3);
        }),
        ("the one that lacks it", Some("R3"), |s| {
            s.one_commit();
            s.lead(3, 3);
        }),
        ("the one with another in its place", Some("R3"), |s| {
            s.append(3, 4, 1, "x");
            s.one_commit();
            s.lead(3, 3);
        }),
        ("a late winner of an older term need not have it", None, |s| {
            s.vote(3, 2, 3);
            s.lead(1, 3);
            s.append(1, 4, 3, "a");
            s.append(2, 4, 3, "a");
            s.commit(1, 4);
            s.lead(3, 2);
        }),
        ("a leader that an older one's commit shows to be incomplete", Some("R3"), |s| {
            s.lead(1, 2);
            s.append(1, 4, 2, "a");
            s.append(2, 4, 2, "a");
            s.lead(3, 3);
            s.commit(1, 4);
        }),
    ]);
}

#[test]
fn r4_commits_do_not_conflict() {
    check(&[
        ("all commit and apply the same", None, |s| {
            s.one_commit();
            s.commit(2, 4);
            s.apply(1, 4, 7, 2);
            s.apply(2, 4, 7, 2);
        }),
        ("another entry at a committed index", Some("R4"), |s| {
            s.append(3, 4, 1, "x");
            s.one_commit();
            s.commit(3, 4);
        }),
        ("a committed entry is overwritten", Some("R4"), |s| {
            s.one_commit();
            s.append(1, 4, 3, "x");
        }),
        ("committed beyond the log", Some("R4"), |s| s.commit(1, 9)),
        ("applied before it is committed", Some("R4"), |s| {
            s.append(1, 4, 2, "a");
            s.apply(1, 4, 7, 2);
        }),
        ("applied another one", Some("R4"), |s| {
            s.one_commit();
            s.member(1).applied = 4;
            s.event(1, Event::Applied { index: 4, term: 2, entry_hash: 1, state_hash: 7, revision: 2 });
        }),
        ("a snapshot beyond the log that does not show it yet, whose entry nobody keeps any more", None, |s| {
            s.one_commit();
            s.append(1, 5, 2, "b");
            s.append(2, 5, 2, "b");
            s.commit(1, 5);
            s.compact(1, 5);
            s.compact(2, 5);
            s.event(3, Event::DatabaseReceived { index: 5 });
            s.commit(3, 5);
        }),
        ("a snapshot that the log does not show yet", None, |s| {
            s.append(3, 4, 1, "x");
            s.append(3, 5, 1, "y");
            s.one_commit();
            s.event(3, Event::DatabaseReceived { index: 4 });
            s.commit(3, 4);
            s.member(3).entries.clear();
            s.member(3).start = (4, 2);
            s.member(3).changed_from = 0;
            s.step(3, &[]);
            s.append(1, 5, 2, "b");
            s.append(3, 5, 2, "b");
            s.commit(1, 5);
            s.commit(3, 5);
        }),
    ]);
}

#[test]
fn r5_commits_are_durable() {
    check(&[
        ("on two of three disks", None, Story::one_commit),
        ("the leader's own need not be among them", None, |s| {
            s.lead(1, 2);
            s.write(1, 4, 2, "a");
            s.append(2, 4, 2, "a");
            s.append(3, 4, 2, "a");
            s.commit(1, 4);
        }),
        ("on one of three", Some("R5"), |s| {
            s.lead(1, 2);
            s.append(1, 4, 2, "a");
            s.write(2, 4, 2, "a");
            s.commit(1, 4);
        }),
        ("the other one has an older entry there", Some("R5"), |s| {
            s.lead(1, 2);
            s.append(1, 4, 2, "a");
            s.append(2, 4, 1, "old");
            s.write(2, 4, 2, "a");
            s.commit(1, 4);
        }),
        ("a learner does not count", Some("R5"), |s| {
            s.lead(1, 2);
            s.member(1).voters = vec![n(1), n(2)];
            s.append(1, 4, 2, "a");
            s.append(3, 4, 2, "a");
            s.commit(1, 4);
        }),
        ("entries that were not synced may be lost", None, |s| {
            s.append(1, 4, 2, "a");
            s.write(1, 5, 2, "b");
            s.crash(1);
            s.boot(1, 4);
        }),
        ("or survive, in place of durable ones", None, |s| {
            s.append(1, 4, 2, "a");
            s.append(1, 5, 2, "b");
            s.write(1, 5, 3, "c");
            s.crash(1);
            s.boot(1, 5);
        }),
        ("what a boot found may be lost before a sync", None, |s| {
            s.write(1, 4, 2, "a");
            s.crash(1);
            s.boot(1, 4);
            s.crash(1);
            s.boot(1, 3);
        }),
        ("and not after one", Some("R5"), |s| {
            s.write(1, 4, 2, "a");
            s.crash(1);
            s.boot(1, 4);
            s.append(1, 5, 2, "b");
            s.crash(1);
            s.boot(1, 3);
        }),
        ("what was durable before the boot stays so", Some("R5"), |s| {
            s.append(1, 4, 2, "a");
            s.crash(1);
            s.boot(1, 4);
            s.crash(1);
            s.boot(1, 3);
        }),
        ("a durable entry is lost", Some("R5"), |s| {
            s.append(1, 4, 2, "a");
            s.crash(1);
            s.boot(1, 3);
        }),
        ("a snapshot replaces the log only with its hard state", None, |s| {
            s.append(1, 4, 2, "a");
            s.receive(1, 9, 2, false);
            s.crash(1);
            s.member(1).start = (0, 0);
            s.member(1).entries = (1..=3).map(|index| entry(index, 1, "founder")).collect();
            s.member(1).entries.push_back(entry(4, 2, "a"));
            s.boot(1, 4);
        }),
        ("and with it the old log is not enough", Some("R5"), |s| {
            s.append(1, 4, 2, "a");
            s.receive(1, 9, 2, true);
            s.crash(1);
            s.member(1).start = (0, 0);
            s.member(1).entries = (1..=3).map(|index| entry(index, 1, "founder")).collect();
            s.member(1).entries.push_back(entry(4, 2, "a"));
            s.boot(1, 4);
        }),
        ("unless its disk was damaged", None, |s| {
            s.append(1, 4, 2, "a");
            s.invariants.disk_damaged(n(1));
            s.crash(1);
            s.boot(1, 3);
            assert!(s.invariants.premise_lost());
        }),
        ("a write is answered before it is durable", Some("R5"), |s| {
            s.one_commit();
            s.invariants.proved = 3;
            let event = Event::Applied { index: 4, term: 2, entry_hash: 0, state_hash: 7, revision: 2 };
            s.step(1, &[put_answer(), Output::Event(event)]);
        }),
    ]);
}

#[test]
fn r5_holds_for_a_single_voter() {
    for (durable, expected) in [(true, None), (false, Some("R5"))] {
        let mut story = Story::of(1);
        story.lead(1, 2);
        story.write(1, 2, 2, "a");
        if durable {
            story.sync(1);
        }
        story.commit(1, 2);
        assert_eq!(story.found.map(|finding| finding.check), expected);
    }
}

#[test]
fn r6_one_vote_in_a_term() {
    const GRANT: MessageType = MessageType::MsgRequestVoteResponse;
    check(&[
        ("a vote on disk is sent, and again", None, |s| {
            s.vote(1, 2, 2);
            s.sync(1);
            s.send(1, GRANT, 2, 2);
            s.crash(1);
            s.boot(1, 3);
            s.send(1, GRANT, 2, 2);
        }),
        ("a vote that is not on disk", Some("R6"), |s| {
            s.vote(1, 2, 2);
            s.send(1, GRANT, 2, 2);
        }),
        ("a candidacy that is not on disk", Some("R6"), |s| {
            s.vote(1, 2, 1);
            s.send(1, MessageType::MsgRequestVote, 2, 2);
        }),
        ("pre-votes are no votes", None, |s| {
            s.send(1, MessageType::MsgRequestPreVote, 2, 2);
            s.send(1, MessageType::MsgRequestPreVoteResponse, 2, 2);
            s.send(1, MessageType::MsgRequestPreVoteResponse, 3, 2);
        }),
        ("a vote changes within a term", Some("R6"), |s| {
            s.vote(1, 2, 2);
            s.vote(1, 2, 3);
        }),
        ("two votes are sent in a term", Some("R6"), |s| {
            s.vote(1, 2, 2);
            s.sync(1);
            s.send(1, GRANT, 2, 2);
            s.invariants.disk_damaged(n(1));
            s.send(1, GRANT, 3, 2);
        }),
        ("a durable vote is lost", Some("R6"), |s| {
            s.vote(1, 2, 2);
            s.sync(1);
            s.crash(1);
            s.member(1).vote = MemberId::NONE;
            s.boot(1, 3);
        }),
        ("a vote that was not synced may be lost", None, |s| {
            s.vote(1, 2, 2);
            s.crash(1);
            (s.member(1).term, s.member(1).vote) = (1, MemberId::NONE);
            s.boot(1, 3);
        }),
        ("a term goes back", Some("R6"), |s| {
            s.vote(1, 3, 2);
            s.vote(1, 2, 2);
        }),
        ("a term goes back behind what was sent", Some("R6"), |s| {
            s.vote(1, 3, 0);
            s.send(1, MessageType::MsgAppendResponse, 2, 3);
            s.crash(1);
            s.member(1).term = 1;
            s.boot(1, 3);
        }),
        ("messages without a term say nothing", None, |s| {
            s.send(1, MessageType::MsgReadIndex, 2, 0);
            s.crash(1);
            s.boot(1, 3);
        }),
    ]);
}

#[test]
fn r7_read_indexes_are_fresh() {
    check(&[
        ("at the commit index", None, |s| {
            s.one_commit();
            s.event(2, Event::ReadIndexRequested { context: 9 });
            s.event(2, Event::ReadIndexConfirmed { context: 9, index: 4 });
        }),
        ("below what was committed later", None, |s| {
            s.event(2, Event::ReadIndexRequested { context: 9 });
            s.one_commit();
            s.event(2, Event::ReadIndexConfirmed { context: 9, index: 3 });
        }),
        ("below what another member knew to be committed", Some("R7"), |s| {
            s.one_commit();
            s.event(3, Event::ReadIndexRequested { context: 9 });
            s.event(3, Event::ReadIndexConfirmed { context: 9, index: 3 });
        }),
    ]);
}

#[test]
fn a_wiped_voter_ends_rafts_promises() {
    let mut story = Story::of(3);
    story.one_commit();
    story.invariants.on_wiped(n(1));
    assert!(story.invariants.premise_lost());
    story.lead(3, 3);
    assert_eq!(story.found, None);
}

/// A long run with snapshots, restarts and slow members: nothing is found, and nothing grows.
#[test]
fn memory_is_bounded() {
    let mut story = Story::of(3);
    story.lead(1, 2);
    for index in 4..60_000u64 {
        for number in 1..=3 {
            story.append(number, index, 2, "x");
        }
        for number in 1..=3 {
            story.commit(number, index);
            story.apply(number, index, index, index as i64);
        }
        if index % 500 == 0 {
            for number in 1..=3 {
                story.member(number).op += 1;
                let op = OpId(story.member(number).op);
                story.event(number, Event::WalSnapshotSaved { op, index });
                story.sync(number);
                let rest = 100 * number;
                story.compact(number, index - rest);
            }
        }
        if index % 700 == 0 {
            story.crash(3);
            let last = story.member(3).last();
            story.boot(3, last);
            story.member(3).applied = last;
        }
    }
    assert_eq!(story.found, None);
    assert!(story.invariants.ledger.len() < 2_000, "{}", story.invariants.ledger.len());
    assert!(story.invariants.committed.len() < 2_000, "{}", story.invariants.committed.len());
    assert!(story.invariants.states.len() < 10_000, "{}", story.invariants.states.len());
}
