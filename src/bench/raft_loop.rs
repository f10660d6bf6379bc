//! The bare loop: three raft-rs members, a delay line, closed-loop clients; no storage, no checks, no world.
//!
//! What it reaches is the limit for anything built on raft-rs. One Ready cycle an input, as a real member has it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use raft::eraftpb::{Entry, EntryType, Message};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole};

/// What the loop did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Entries of clients that the leader applied.
    pub(super) commits: u64,
    /// Messages between members.
    pub(super) messages: u64,
    /// Simulated time.
    pub(super) micros: u64,
}

const MEMBERS: usize = 3;
const TICK_MICROS: u64 = 100_000;
const DELAY_MICROS: u64 = 500;
/// Applied entries between compactions, and entries kept behind one.
const COMPACT_EVERY: u64 = 4_096;

enum Item {
    Message(usize, Box<Message>),
    Tick(usize),
}

/// Items by time, then by order of arrival.
#[derive(Default)]
struct DelayLine {
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<Item>>,
    free: Vec<usize>,
    sequence: u64,
}

impl DelayLine {
    fn push(&mut self, at: u64, item: Item) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(item);
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence, slot)));
    }

    fn pop(&mut self) -> (u64, Item) {
        let Reverse((at, _, slot)) = self.heap.pop().expect("every member always has a tick to come");
        self.free.push(slot);
        (at, self.slots[slot].take().expect("a slot in the heap is full"))
    }
}

struct Loop {
    members: Vec<RawNode<MemStorage>>,
    line: DelayLine,
    /// When the last message of each link arrives: links keep their order, as TCP does.
    arrival: [[u64; MEMBERS + 1]; MEMBERS + 1],
    random: u64,
    now: u64,
    clients: u64,
    proposed: bool,
    outcome: Outcome,
}

/// Runs until the leader has applied `commits` entries of `clients` clients, each with one request under way.
pub(super) fn run(clients: u64, commits: u64, seed: u64) -> Outcome {
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    let members = (1..=MEMBERS as u64)
        .map(|id| {
            let config = Config {
                id,
                election_tick: 10,
                heartbeat_tick: 1,
                max_size_per_msg: 1 << 20,
                max_inflight_msgs: 512,
                check_quorum: true,
                pre_vote: true,
                ..Config::default()
            };
            let voters: Vec<u64> = (1..=MEMBERS as u64).collect();
            let storage = MemStorage::new_with_conf_state((voters, vec![]));
            RawNode::new(&config, storage, &logger).expect("the configuration is sound")
        })
        .collect();
    let mut this = Loop {
        members,
        line: DelayLine::default(),
        arrival: [[0; MEMBERS + 1]; MEMBERS + 1],
        random: seed,
        now: 0,
        clients,
        proposed: false,
        outcome: Outcome { commits: 0, messages: 0, micros: 0 },
    };
    for member in 0..MEMBERS {
        this.line.push(TICK_MICROS + member as u64, Item::Tick(member));
    }
    this.members[0].campaign().expect("a voter may campaign");
    this.drain(0);
    while this.outcome.commits < commits {
        this.step();
    }
    this.outcome.micros = this.now;
    this.outcome
}

impl Loop {
    fn step(&mut self) {
        let (now, item) = self.line.pop();
        self.now = now;
        let member = match item {
            Item::Message(member, message) => {
                // raft-rs refuses some messages (of a removed member, say) with an error that means no more than that.
                let _ = self.members[member].step(*message);
                member
            }
            Item::Tick(member) => {
                self.members[member].tick();
                self.line.push(now + TICK_MICROS, Item::Tick(member));
                member
            }
        };
        self.drain(member);
        if !self.proposed && self.members[member].raft.state == StateRole::Leader {
            self.proposed = true;
            for client in 0..self.clients {
                self.propose(member, client);
            }
            self.drain(member);
        }
    }

    fn propose(&mut self, member: usize, client: u64) {
        // A leader that steps down would stop its clients; in a world without faults none does.
        self.members[member].propose(Vec::new(), client.to_le_bytes().to_vec()).expect("the leader takes proposals");
    }

    /// One Ready cycle: send, store, apply. Clients that were answered ask again at once.
    fn drain(&mut self, member: usize) {
        while self.members[member].has_ready() {
            let node = &mut self.members[member];
            let mut ready = node.ready();
            let early = ready.take_messages();
            if !ready.entries().is_empty() {
                node.store().wl().append(ready.entries()).expect("entries follow the log");
            }
            if let Some(state) = ready.hs() {
                node.store().wl().set_hardstate(state.clone());
            }
            let late = ready.take_persisted_messages();
            let mut committed = ready.take_committed_entries();
            let mut light = node.advance(ready);
            if let Some(commit) = light.commit_index() {
                node.store().wl().mut_hard_state().set_commit(commit);
            }
            let last = light.take_messages();
            committed.extend(light.take_committed_entries());
            node.advance_apply();
            for message in early.into_iter().chain(late).chain(last) {
                self.send(message);
            }
            self.apply(member, committed);
        }
    }

    fn send(&mut self, message: Message) {
        self.outcome.messages += 1;
        let (from, to) = (message.from as usize, message.to as usize);
        let at = (self.now + DELAY_MICROS + self.random() % DELAY_MICROS).max(self.arrival[from][to]);
        self.arrival[from][to] = at;
        self.line.push(at, Item::Message(to - 1, Box::new(message)));
    }

    fn apply(&mut self, member: usize, committed: Vec<Entry>) {
        let leads = self.members[member].raft.state == StateRole::Leader;
        for entry in committed {
            if entry.index % COMPACT_EVERY == 0 && entry.index > COMPACT_EVERY {
                let upto = entry.index - COMPACT_EVERY;
                self.members[member].store().wl().compact(upto).expect("these entries are applied");
            }
            let own = leads && entry.get_entry_type() == EntryType::EntryNormal;
            if let Ok(client) = <[u8; 8]>::try_from(&entry.data[..]) {
                if own {
                    self.outcome.commits += 1;
                    self.propose(member, u64::from_le_bytes(client));
                }
            }
        }
    }

    /// SplitMix64: only delays come from it.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_is_served_and_a_commit_costs_few_messages() {
        let outcome = run(8, 10_000, 1);
        assert!(outcome.commits >= 10_000, "{outcome:?}");
        // 8 clients, 10,000 commits, two round trips at the very most for each.
        assert!(outcome.micros < 10_000 / 8 * 4 * 2 * DELAY_MICROS, "{outcome:?}");
        assert!(outcome.messages < outcome.commits * 10, "{outcome:?}");
    }
}
