//! Whether all members hold the same data: etcd's `corruptionChecker`, in its three forms.
//!
//! The *initial* check is made by a member that has been one before, before it does anything else: if another member
//! has another hash at the same revision, it ends. The *periodic* one is the leader's: all members at its own newest
//! revision, then once more its own. The one by *compactions* is the leader's, too: the hashes that a compaction has
//! left on every member, of which a majority is right. What the leader finds out becomes a CORRUPT alarm, through the
//! log.
//!
//! etcd's members ask each other over HTTP, one after the other; here a question goes to all at once, beside Raft's
//! messages, and who has not answered within the time of a request has not answered.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{Alarm, AlarmAction, AlarmRequest, Error, Request, Revision};
use crate::mvcc::KeyValueHash;
use crate::time::{Monotonic, Span};
use crate::{HashAnswer, HashMessage, Input, MemberId, PeerMessage, Task};

use super::lease::LeadershipCheck;
use super::propose::Internal;
use super::read::Read;
use super::Replica;

/// Questions of other members that may wait here.
const ASKED_MAX: usize = 1024;
/// How a member ends whose data are not those of the others.
const INCONSISTENT: &str = "found data inconsistency with peers";

/// Everything about the checks.
#[derive(Clone, Debug, Default)]
pub(super) struct Corruption {
    /// Questions of other members: who, their name for it, the revision.
    asked: Vec<(MemberId, u64, Revision)>,
    /// Checks under way.
    rounds: BTreeMap<Check, Round>,
    /// When the leader looks next.
    due: BTreeMap<Check, Monotonic>,
    /// The highest revision of a compaction at which all members were found equal.
    equal_at: Revision,
    /// The last name of a question.
    last: u64,
    /// What has come for a member that does not serve yet.
    held: Vec<Input>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Check {
    Initial,
    Periodic,
    Compaction,
}

/// One question to all others.
#[derive(Clone, Debug)]
struct Round {
    call: u64,
    own: KeyValueHash,
    /// Who has not answered.
    waiting: BTreeSet<MemberId>,
    /// Who has; `None` for those that cannot, or are not there.
    answers: BTreeMap<MemberId, Option<HashAnswer>>,
    until: Monotonic,
    stage: Stage,
    /// Older hashes to try when somebody has not this one: from the newest to the oldest.
    older: Vec<KeyValueHash>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Asking,
    /// A linearizable read, so that this member has all that the others had.
    Reading,
    Read,
}

impl Corruption {
    /// Whether the member waits for its first check, and does nothing else.
    pub(super) fn is_initial(&self) -> bool {
        self.rounds.contains_key(&Check::Initial)
    }

    /// The highest revision of a compaction at which all members were found equal.
    #[cfg(test)]
    pub(super) fn say_equal_at(&self) -> Revision {
        self.equal_at
    }

    /// What influences the future of a member, but for the moments in it.
    pub(super) fn say(&self) -> impl std::fmt::Debug + '_ {
        let rounds = self
            .rounds
            .iter()
            .map(|(check, round)| (check, round.own, &round.waiting, &round.answers, round.stage, &round.older));
        (&self.asked, rounds.collect::<Vec<_>>(), self.equal_at, self.held.len())
    }
}

impl Replica {
    // ---- When.

    /// The first times of the leader's looks.
    pub(super) fn schedule_checks(&mut self) {
        if self.config.corrupt_check_time > Span::ZERO {
            self.corruption.due.insert(Check::Periodic, self.now + self.config.corrupt_check_time);
        }
        if self.config.compact_hash_check {
            self.corruption.due.insert(Check::Compaction, self.now + self.config.compact_hash_check_time);
        }
        self.wake_checks();
    }

    /// The task runs when the next thing is due.
    fn wake_checks(&mut self) {
        let asking = self.corruption.rounds.values().filter(|round| round.stage == Stage::Asking);
        let next = asking.map(|round| round.until).chain(self.corruption.due.values().copied()).min();
        if let Some(next) = next {
            self.out.wake(Task::CorruptionCheck, next.since(self.now));
        }
    }

    pub(super) fn corruption_run(&mut self, now: Monotonic) {
        if self.backend.is_defragmenting() {
            // Nobody reads the backend now.
            return self.out.wake(Task::CorruptionCheck, self.config.backend_batch_interval);
        }
        for (member, call, revision) in std::mem::take(&mut self.corruption.asked) {
            let result = self.store.hash_by_rev(&self.backend, revision).map(|hash| {
                let current = self.store.revision();
                HashAnswer { hash: hash.hash, revision: current, compact_revision: hash.compact_revision }
            });
            self.send_hash(member, HashMessage::Answer { call, result });
        }
        let checks: Vec<Check> = self.corruption.rounds.keys().copied().collect();
        for check in checks {
            self.go_on_checking(now, check);
        }
        self.look_for_corruption(now);
        self.wake_checks();
    }

    /// The leader's times have come.
    fn look_for_corruption(&mut self, now: Monotonic) {
        let due = |replica: &Self, check| replica.corruption.due.get(&check).copied().filter(|at| *at <= now);
        if let Some(at) = due(self, Check::Periodic) {
            // A ticker: it drops what comes while a check is under way.
            let period = self.config.corrupt_check_time;
            let missed = now.since(at).0 / period.0;
            self.corruption.due.insert(Check::Periodic, at + period * (missed + 1));
            if self.leads() && !self.corruption.rounds.contains_key(&Check::Periodic) {
                self.ask_for_hashes(now, Check::Periodic, 0, Vec::new());
            }
        }
        if due(self, Check::Compaction).is_some() {
            self.corruption.due.remove(&Check::Compaction);
            let mut hashes = self.store.hashes().to_vec();
            hashes.retain(|hash| hash.revision > self.corruption.equal_at);
            match hashes.pop().filter(|_| self.leads()) {
                Some(newest) => self.ask_for_hashes(now, Check::Compaction, newest.revision, hashes),
                None => self.end_compaction_check(now),
            }
        }
    }

    /// The pause to the next one begins with the end of the one before.
    fn end_compaction_check(&mut self, now: Monotonic) {
        self.corruption.rounds.remove(&Check::Compaction);
        self.corruption.due.insert(Check::Compaction, now + self.config.compact_hash_check_time);
    }

    // ---- Questions.

    /// Before anything else (`InitialCheck`). False when there is nobody to ask.
    pub(super) fn begin_initial_check(&mut self) -> bool {
        self.ask_for_hashes(self.now, Check::Initial, 0, Vec::new());
        let waits = self.corruption.rounds.get(&Check::Initial).is_some_and(|round| !round.waiting.is_empty());
        if !waits {
            self.corruption.rounds.clear();
        }
        self.wake_checks();
        waits
    }

    fn ask_for_hashes(&mut self, now: Monotonic, check: Check, revision: Revision, older: Vec<KeyValueHash>) {
        let Ok(own) = self.store.hash_by_rev(&self.backend, revision) else { return };
        let me = self.config.member;
        let others = self.membership.members().map(|member| member.id).filter(|member| *member != me);
        let waiting: BTreeSet<MemberId> = others.collect();
        self.corruption.last += 1;
        let (call, until) = (self.corruption.last, now + self.config.request_timeout);
        for member in &waiting {
            self.send_hash(*member, HashMessage::Ask { call, revision: own.revision });
        }
        if waiting.is_empty() {
            self.out.wake_now(Task::CorruptionCheck);
        }
        let (answers, stage) = (BTreeMap::new(), Stage::Asking);
        self.corruption.rounds.insert(check, Round { call, own, waiting, answers, until, stage, older });
    }

    fn send_hash(&mut self, to: MemberId, message: HashMessage) {
        let from = self.config.member;
        self.send_peer(PeerMessage::of_hash(from, to, message));
    }

    /// Another member asks, or answers. Both are for the task.
    pub(super) fn receive_hash(&mut self, from: MemberId, message: HashMessage) {
        match message {
            // Nobody listens there yet.
            HashMessage::Ask { call, .. } if self.corruption.is_initial() => {
                self.send_hash(from, HashMessage::Answer { call, result: Err(Error::Stopped) });
            }
            HashMessage::Ask { call, revision } => {
                if self.corruption.asked.len() < ASKED_MAX {
                    self.corruption.asked.push((from, call, revision));
                    self.out.wake_now(Task::CorruptionCheck);
                }
            }
            HashMessage::Answer { call, result } => self.note_answer(from, Some(call), result.ok()),
        }
    }

    /// The connection to a member broke: it will not answer.
    pub(super) fn hash_unreachable(&mut self, member: MemberId) {
        self.note_answer(member, None, None);
    }

    fn note_answer(&mut self, member: MemberId, call: Option<u64>, answer: Option<HashAnswer>) {
        let mut any = false;
        for round in self.corruption.rounds.values_mut() {
            if call.is_none_or(|call| call == round.call) && round.waiting.remove(&member) {
                round.answers.insert(member, answer);
                any = true;
            }
        }
        if any {
            self.out.wake_now(Task::CorruptionCheck);
        }
    }

    // ---- Answers.

    fn go_on_checking(&mut self, now: Monotonic, check: Check) {
        let Some(round) = self.corruption.rounds.get_mut(&check) else { return };
        let asked = round.stage == Stage::Asking && (round.waiting.is_empty() || round.until <= now);
        match check {
            Check::Initial if asked => self.end_initial_check(),
            Check::Periodic if asked => {
                round.stage = Stage::Reading;
                self.read(now, Read::Leadership(LeadershipCheck::Corruption));
            }
            Check::Periodic if round.stage == Stage::Read => self.end_periodic_check(now),
            Check::Compaction if asked => self.compare_compactions(now),
            _ => {}
        }
    }

    fn end_initial_check(&mut self) {
        let Some(round) = self.corruption.rounds.remove(&Check::Initial) else { return };
        let own = round.own;
        let differs = |answer: &HashAnswer| answer.hash != own.hash && answer.compact_revision == own.compact_revision;
        if round.answers.values().flatten().any(differs) {
            return self.exit(INCONSISTENT);
        }
        self.start_tasks();
        for input in std::mem::take(&mut self.corruption.held) {
            self.take(input);
        }
    }

    /// The linearizable read has ended.
    pub(super) fn corruption_read(&mut self, is_ok: bool) {
        let Some(round) = self.corruption.rounds.get_mut(&Check::Periodic) else { return };
        if !is_ok {
            self.corruption.rounds.remove(&Check::Periodic);
            return;
        }
        round.stage = Stage::Read;
        self.out.wake_now(Task::CorruptionCheck);
    }

    /// The second half of `PeriodicCheck`: one alarm at most, for whoever is found first.
    fn end_periodic_check(&mut self, now: Monotonic) {
        let Some(Round { own: first, answers, .. }) = self.corruption.rounds.remove(&Check::Periodic) else { return };
        let Ok(second) = self.store.hash_by_rev(&self.backend, 0) else { return };
        let unmoved = (second.revision, second.compact_revision) == (first.revision, first.compact_revision);
        let own = (unmoved && second.hash != first.hash).then_some(self.config.member);
        let ahead = |answer: &HashAnswer| {
            answer.revision > self.store.revision() || answer.compact_revision > second.compact_revision
        };
        let differs =
            |answer: &HashAnswer| answer.compact_revision == first.compact_revision && answer.hash != first.hash;
        let is_bad = |answer: &Option<HashAnswer>| answer.is_some_and(|answer| ahead(&answer) || differs(&answer));
        let bad = own.or_else(|| answers.iter().find(|(_, answer)| is_bad(answer)).map(|(member, _)| *member));
        if let Some(member) = bad {
            self.raise_corrupt(now, member);
        }
    }

    /// `CompactHashCheck`: whoever is not of the majority is corrupt; without a majority, nobody knows who is.
    fn compare_compactions(&mut self, now: Monotonic) {
        let Some(round) = self.corruption.rounds.remove(&Check::Compaction) else { return };
        let Round { own, answers, waiting, mut older, .. } = round;
        let count = answers.len() + waiting.len();
        let comparable = |answer: &&HashAnswer| answer.compact_revision == own.compact_revision;
        let answers = answers.iter().filter_map(|(member, answer)| Some((*member, answer.as_ref()?)));
        let answers: Vec<(MemberId, u32)> =
            answers.filter(|(_, answer)| comparable(answer)).map(|(member, answer)| (member, answer.hash)).collect();
        let mut by_hash = BTreeMap::from([(own.hash, vec![self.config.member])]);
        for (member, hash) in &answers {
            by_hash.entry(*hash).or_default().push(*member);
        }
        if by_hash.len() > 1 {
            let quorum = count.div_ceil(2) + 1;
            let majority = by_hash.iter().find(|(_, members)| members.len() >= quorum).map(|(hash, _)| *hash);
            match majority {
                None => self.raise_corrupt(now, MemberId::NONE),
                Some(right) => {
                    let wrong = by_hash.iter().filter(|(hash, _)| **hash != right);
                    let wrong: Vec<MemberId> = wrong.flat_map(|(_, members)| members).copied().collect();
                    wrong.into_iter().for_each(|member| self.raise_corrupt(now, member));
                }
            }
        } else if answers.len() == count {
            self.corruption.equal_at = self.corruption.equal_at.max(own.revision);
        } else if let Some(next) = older.pop() {
            return self.ask_for_hashes(now, Check::Compaction, next.revision, older);
        }
        self.end_compaction_check(now);
    }

    /// `triggerCorruptAlarm`. Nobody waits for it: what is lost is found again.
    fn raise_corrupt(&mut self, now: Monotonic, member: MemberId) {
        let alarm = AlarmRequest { action: AlarmAction::Activate, member, alarm: Some(Alarm::Corrupt) };
        self.propose_internal(now, &Request::Alarm(alarm), Internal::Corrupt).unwrap_or(());
    }

    // ---- A member that does not serve yet.

    /// Gives the input back, unless the initial check comes first. What members say is lost then, as to a process that
    /// is not there; what clients ask waits.
    pub(super) fn hold_until_checked(&mut self, input: Input) -> Option<Input> {
        if !self.corruption.is_initial() {
            return Some(input);
        }
        match input {
            Input::Run(Task::CorruptionCheck) | Input::Chance(_) | Input::Disk { .. } | Input::Unreachable { .. } => {
                return Some(input)
            }
            Input::Message(message) => {
                if message.hash.is_some() {
                    return Some(Input::Message(message));
                }
                if let Some(chunk) = &message.chunk {
                    self.answer_sender(message.from, chunk.stream, false);
                }
            }
            Input::Request { id, .. } if self.corruption.held.len() as u64 >= self.config.max_commit_apply_gap => {
                self.reply(id, Err(Error::TooManyRequests));
            }
            Input::Run(_) | Input::SnapshotSent { .. } => {}
            input => self.corruption.held.push(input),
        }
        None
    }
}
