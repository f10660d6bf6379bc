//! The small world: its state, what can happen in it, and what each happening does.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use bytes::Bytes;
use detcd_replica::api::{Credential, PutRequest, Request};
use detcd_replica::raftpb::{Message, MessageType};
use detcd_replica::time::Span;
use detcd_replica::{Bugs, Config, Input, MemberId, PeerMessage, RequestId, Role, Task};

use super::disk::{Disk, SEGMENT_BYTES};
use super::history::{History, Rule};
use super::member::{Member, Seen};
use super::Bounds;

/// The term that every member has after bootstrap.
const FIRST_TERM: u64 = 1;

/// One thing that happens. Members are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// The oldest message of a link arrives.
    Deliver {
        from: usize,
        to: usize,
    },
    /// The oldest message of a link is lost.
    Drop {
        from: usize,
        to: usize,
    },
    TimeOut(usize),
    Heartbeat(usize),
    Put(usize),
    EndSync(usize),
    Crash(usize),
}

/// A message on its way.
#[derive(Debug)]
struct Flight {
    message: PeerMessage,
    fingerprint: u128,
}

/// How much of the bounds is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Spent {
    campaigns: usize,
    puts: usize,
    crashes: usize,
    heartbeats: usize,
    drops: usize,
}

/// A state of the model. Members and messages are shared between the states in which they are the same.
#[derive(Clone, Debug)]
pub(super) struct World {
    members: Vec<Arc<Member>>,
    /// By sender, then receiver; oldest message first.
    links: Vec<Vec<Arc<Flight>>>,
    spent: Spent,
    /// Members that have acted, which are the first so many. Those that have not are alike.
    named: usize,
    pub(super) history: History,
    /// An entry has given way to one of another term. No part of the state: nothing follows from it.
    pub(super) overwritten: bool,
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        let members = |world: &Self| world.members.iter().map(|member| member.fingerprint()).collect::<Vec<_>>();
        let links = |world: &Self| -> Vec<Vec<u128>> {
            let on = |link: &Vec<Arc<Flight>>| link.iter().map(|flight| flight.fingerprint).collect();
            world.links.iter().map(on).collect()
        };
        members(self) == members(other)
            && links(self) == links(other)
            && (self.spent, self.named, &self.history) == (other.spent, other.named, &other.history)
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for member in &self.members {
            member.fingerprint().hash(hasher);
        }
        for link in &self.links {
            link.len().hash(hasher);
            for flight in link {
                flight.fingerprint.hash(hasher);
            }
        }
        self.spent.hash(hasher);
        self.named.hash(hasher);
        self.history.hash(hasher);
    }
}

/// How members of a small world are set up: etcd's defaults, but neither PreVote nor CheckQuorum, whose clocks would
/// multiply the states, and the shortest election timeout that Raft takes.
fn config(member: usize, bounds: &Bounds, bugs: Bugs) -> Config {
    let everybody = (1..=bounds.members as u64).map(MemberId).collect();
    let mut config = Config::etcd(MemberId(member as u64 + 1), everybody);
    // What members say by themselves would only make the world larger.
    config.publish = false;
    config.monitor_version_interval = Span::ZERO;
    config.election_ticks = 2;
    config.pre_vote = false;
    config.check_quorum = false;
    config.wal_segment_bytes = SEGMENT_BYTES;
    // More than can be on the way within any bound.
    config.max_inflight_messages = 64;
    config.bugs = bugs;
    config
}

impl World {
    /// Every member has booted on an empty disk, and knows the members. Nobody has led.
    pub(super) fn new(bounds: &Bounds, bugs: Bugs) -> Self {
        let mut seen: Vec<Seen> = (0..bounds.members).map(|_| Seen::default()).collect();
        let boot =
            |(member, seen)| Arc::new(Member::boot(config(member, bounds, bugs), Disk::default(), 0, false, seen));
        let members: Vec<_> = seen.iter_mut().enumerate().map(boot).collect();
        let mut history = History::default();
        for (who, seen) in seen.iter().enumerate() {
            assert!(seen.sent.is_empty(), "a member that boots has nothing to say");
            history.note(who, seen, &members);
        }
        let links = vec![Vec::new(); bounds.members * bounds.members];
        Self { members, links, spent: Spent::default(), named: 0, history, overwritten: false }
    }

    /// What may happen next. Members that have not acted are alike, so only the first of them may be the next to act.
    pub(super) fn actions(&self, bounds: &Bounds, actions: &mut Vec<Action>) {
        if self.history.is_broken() {
            return;
        }
        let all = self.members.len();
        for member in 0..all.min(self.named + 1) {
            let own =
                [Action::EndSync(member), Action::TimeOut(member), Action::Heartbeat(member), Action::Put(member)];
            let links =
                (0..all).flat_map(|from| [Action::Deliver { from, to: member }, Action::Drop { from, to: member }]);
            let candidates = own.into_iter().chain([Action::Crash(member)]).chain(links);
            actions.extend(candidates.filter(|action| self.can(*action, bounds)));
        }
    }

    /// Whether it can happen here, within the bounds.
    pub(super) fn can(&self, action: Action, bounds: &Bounds) -> bool {
        match action {
            Action::Deliver { from, to } => !self.link(from, to).is_empty(),
            Action::Drop { from, to } => self.spent.drops < bounds.drops && !self.link(from, to).is_empty(),
            // While the Raft loop waits for the disk, the ticker waits for the Raft loop.
            Action::TimeOut(member) => {
                let member = &self.members[member];
                let view = member.view();
                let spare = self.spent.campaigns < bounds.campaigns;
                spare && view.role != Role::Leader && view.term < FIRST_TERM + bounds.terms && !member.disk().syncing()
            }
            Action::Heartbeat(member) => {
                let member = &self.members[member];
                let spare = self.spent.heartbeats < bounds.heartbeats;
                spare && member.view().role == Role::Leader && !member.disk().syncing()
            }
            // At others it would only be forwarded, or wait.
            Action::Put(member) => self.spent.puts < bounds.puts && self.members[member].view().role == Role::Leader,
            Action::EndSync(member) => self.members[member].disk().syncing(),
            Action::Crash(_) => self.spent.crashes < bounds.crashes,
        }
    }

    /// What it leads to. Whatever panics breaks a rule, and nothing follows.
    pub(super) fn after(&self, action: Action, bounds: &Bounds) -> Self {
        let mut next = self.clone();
        let done = catch_unwind(AssertUnwindSafe(|| next.act(action, bounds)));
        if done.is_err() {
            next = self.clone();
            next.history.breaks(Rule::NoPanic);
        }
        next
    }

    fn act(&mut self, action: Action, bounds: &Bounds) {
        let separate = bounds.separate_sync;
        let mut seen = Seen::default();
        let who = action.member();
        self.named = self.named.max(who + 1);
        let old = Arc::clone(&self.members[who]);
        let member = match action {
            Action::Drop { from, to } => {
                self.spent.drops += 1;
                self.links[from * self.members.len() + to].remove(0);
                return;
            }
            Action::Crash(_) => {
                self.spent.crashes += 1;
                old.restart(separate, &mut seen)
            }
            Action::TimeOut(_) => {
                self.spent.campaigns += 1;
                let mut member = old.fork();
                member.time_out(separate, &mut seen);
                member
            }
            Action::EndSync(_) => {
                let mut member = old.fork();
                member.end_sync(separate, &mut seen);
                member
            }
            Action::Deliver { .. } | Action::Heartbeat(_) | Action::Put(_) => {
                let input = self.input(action);
                let mut member = old.fork();
                member.take(input, separate, &mut seen);
                member
            }
        };
        if !matches!(action, Action::Crash(_)) {
            self.overwritten |= overwritten(&old, &member);
        }
        self.members[who] = Arc::new(member);
        for message in seen.sent.drain(..) {
            let (from, to) = (place(message.from), place(message.to));
            let fingerprint = message.fingerprint();
            self.links[from * self.members.len() + to].push(Arc::new(Flight { message, fingerprint }));
        }
        self.bury();
        self.history.note(who, &seen, &self.members);
    }

    fn input(&mut self, action: Action) -> Input {
        match action {
            Action::Deliver { from, to } => {
                let flight = self.links[from * self.members.len() + to].remove(0);
                Input::Message(flight.message.clone())
            }
            Action::Put(_) => {
                self.spent.puts += 1;
                let value = Bytes::from(self.spent.puts.to_string());
                let put = PutRequest::of("x", value);
                Input::Request {
                    id: RequestId(self.spent.puts as u64),
                    credential: Credential::None,
                    request: Request::Put(put),
                }
            }
            _ => {
                self.spent.heartbeats += 1;
                Input::Run(Task::Tick)
            }
        }
    }

    /// Forget messages that can never have an effect: without PreVote and CheckQuorum, Raft ignores those of terms
    /// below its own, and its durable term does not go back; and answers count only for the candidate or leader of
    /// their term.
    fn bury(&mut self) {
        let members = &self.members;
        for (link, flights) in self.links.iter_mut().enumerate() {
            let receiver = &members[link % members.len()];
            let (term, _, _) = receiver.disk().durable().hard_state;
            let view = receiver.view();
            let asks = view.term == term && matches!(view.role, Role::Candidate | Role::Leader);
            flights.retain(|flight| {
                let message = &flight.message.message;
                message.term == 0 || message.term > term || (message.term == term && (asks || !is_answer(message)))
            });
        }
    }

    fn link(&self, from: usize, to: usize) -> &[Arc<Flight>] {
        &self.links[from * self.members.len() + to]
    }

    /// The action as a sentence, told before it happens.
    pub(super) fn tell(&self, action: Action) -> String {
        match action {
            Action::Deliver { from, to } => match self.link(from, to).first() {
                Some(flight) => format!("{} → {}: {}", Name(from), Name(to), describe(&flight.message.message)),
                None => format!("{} → {}: nothing", Name(from), Name(to)),
            },
            Action::Drop { from, to } => match self.link(from, to).first() {
                Some(flight) => format!("{} → {}: {} is lost", Name(from), Name(to), describe(&flight.message.message)),
                None => format!("{} → {}: nothing is lost", Name(from), Name(to)),
            },
            Action::TimeOut(member) => format!("{}'s election timeout passes", Name(member)),
            Action::Heartbeat(member) => format!("{}'s heartbeat timer fires", Name(member)),
            Action::Put(member) => format!("a client puts x={} at {}", self.spent.puts + 1, Name(member)),
            Action::EndSync(member) => format!("{}'s disk has synced", Name(member)),
            Action::Crash(member) => format!("{} loses power and starts again", Name(member)),
        }
    }

    /// Whether a member has lost power.
    pub(super) fn restarted(&self) -> bool {
        self.spent.crashes > 0
    }

    /// Whether some client's entry has been applied by two members.
    pub(super) fn applied_by_two(&self) -> bool {
        let has = |index: u64| self.members.iter().filter(|member| member.view().applied >= index).count() >= 2;
        self.history.acknowledged.iter().any(|(index, _)| has(*index))
    }
}

impl Action {
    fn member(self) -> usize {
        match self {
            Self::Deliver { to, .. } | Self::Drop { to, .. } => to,
            Self::TimeOut(member)
            | Self::Heartbeat(member)
            | Self::Put(member)
            | Self::EndSync(member)
            | Self::Crash(member) => member,
        }
    }
}

/// A member as people call it.
struct Name(usize);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0 + 1)
    }
}

fn place(member: MemberId) -> usize {
    member.0 as usize - 1
}

/// Whether an entry of the log has given way to one of another term.
fn overwritten(old: &Member, new: &Member) -> bool {
    let (old, new) = (old.view().log, new.view().log);
    (1..=old.last_index().min(new.last_index())).any(|index| {
        let term = |log: &detcd_replica::LogView<'_>| log.entry(index).map(|entry| entry.term);
        term(&old) != term(&new)
    })
}

fn is_answer(message: &Message) -> bool {
    matches!(
        message.msg_type,
        MessageType::MsgAppendResponse | MessageType::MsgRequestVoteResponse | MessageType::MsgHeartbeatResponse
    )
}

/// `MsgAppend term 2, entries 4..5 after (3, term 1), commit 3`
fn describe(message: &Message) -> String {
    let mut text = format!("{:?} term {}", message.msg_type, message.term);
    match message.msg_type {
        MessageType::MsgAppend => {
            if let (Some(first), Some(last)) = (message.entries.first(), message.entries.last()) {
                text += &match first.index == last.index {
                    true => format!(", entry {}", first.index),
                    false => format!(", entries {} to {}", first.index, last.index),
                };
            }
            text += &format!(" after {} of term {}, commit {}", message.index, message.log_term, message.commit);
        }
        MessageType::MsgAppendResponse => text += &format!(", up to {}", message.index),
        MessageType::MsgRequestVote => text += &format!(", log ends at {} of term {}", message.index, message.log_term),
        MessageType::MsgHeartbeat => text += &format!(", commit {}", message.commit),
        _ => {}
    }
    if message.reject {
        text += ", refused";
    }
    text
}
