//! The network: for each message, when it arrives, how often, or why not.
//!
//! Nodes are numbered from 0 (members first, then clients: the world's choice). The network holds no messages: the
//! world keeps the payload, schedules each arrival that a [`Delivery`] names, and asks [`Network::accept`] when it is
//! due, for a partition or a reset may have come between:
//!
//! ```text
//! let delivery = network.send(now, from, to, bytes, decider);
//! for at in delivery.times() { schedule(at, message, delivery.epoch) }     // then, when due:
//! if network.accept(from, to, epoch) { hand the message over }
//! ```
//!
//! A message on a held link has no time; the world parks it and sends it again when the link is released.
//! What messages mean is not known here.

mod link;
mod partition;
mod topology;

pub use link::{Impairment, Mode, Parameters};
pub use partition::Partition;
pub use topology::{profile, Base, Profile, PROFILES};

use crate::decide::{Decider, Subject};
use link::Link;

/// Why a message does not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It was lost.
    Lost,
    /// The link is cut.
    Partitioned,
    /// The sender's queue is full.
    Overflow,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    at: [u64; 2],
    count: u8,
    /// The link is held: send the message again once it is released.
    pub held: bool,
    /// Why it does not arrive.
    pub dropped: Option<Reason>,
    /// The connection it is on, for [`Network::accept`].
    pub epoch: u32,
}

impl Delivery {
    /// When it arrives: no, one or two times.
    pub fn times(&self) -> &[u64] {
        &self.at[..usize::from(self.count)]
    }

    fn once(at: u64, epoch: u32) -> Self {
        Self { at: [at, 0], count: 1, held: false, dropped: None, epoch }
    }

    fn twice(at: u64, later: u64, epoch: u32) -> Self {
        Self { at: [at, later], count: 2, held: false, dropped: None, epoch }
    }

    fn dropped(reason: Reason, epoch: u32) -> Self {
        Self { at: [0; 2], count: 0, held: false, dropped: Some(reason), epoch }
    }
}

/// How often each thing really happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages sent that will arrive.
    pub sent: u64,
    /// Messages lost.
    pub lost: u64,
    /// Packets sent again, on streams.
    pub retransmitted: u64,
    /// Messages that came twice.
    pub duplicated: u64,
    /// Messages that overtook an earlier one.
    pub reordered: u64,
    /// Messages that a delay fault held up.
    pub delayed: u64,
    /// Messages dropped for a full queue.
    pub overflowed: u64,
    /// Messages that a partition stopped.
    pub partitioned: u64,
    /// Messages that met a held link.
    pub held: u64,
    /// Messages lost by a reset of their connection.
    pub reset: u64,
}

/// Every link between every two nodes.
#[derive(Clone, Debug)]
pub struct Network {
    nodes: usize,
    /// From `a` to `b` at `a * nodes + b`.
    links: Vec<Link>,
    tally: Tally,
}

impl Network {
    /// So many nodes at the distances of this profile.
    pub fn new(nodes: usize, profile: &Profile, decider: &mut Decider) -> Self {
        let mut network = Self { nodes: 0, links: Vec::new(), tally: Tally::default() };
        network.grow(nodes, profile, decider, |_| {});
        network
    }

    /// So many nodes from now on; the links of those that are new are of this profile, as `change` leaves them.
    pub fn grow(&mut self, nodes: usize, profile: &Profile, decider: &mut Decider, change: impl Fn(&mut Parameters)) {
        let old = std::mem::take(&mut self.links);
        let mut links = vec![Link::new(Parameters::PERFECT); nodes * nodes];
        for (place, link) in old.into_iter().enumerate() {
            links[place / self.nodes * nodes + place % self.nodes] = link;
        }
        let known = std::mem::replace(&mut self.nodes, nodes);
        self.links = links;
        for a in 0..nodes {
            for b in (a + 1).max(known)..nodes {
                let (low, high) = (number(a), number(b));
                let there = profile.link(low, high, decider);
                let skew = profile.asymmetry(low, high, there.base, decider);
                let with = |skew| {
                    let mut parameters = Parameters { base: there.base.saturating_add_signed(skew), ..there };
                    change(&mut parameters);
                    parameters
                };
                self.set(a, b, with(skew));
                self.set(b, a, with(-skew));
            }
        }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Sends a message of so many bytes.
    pub fn send(&mut self, now: u64, from: usize, to: usize, bytes: usize, decider: &mut Decider) -> Delivery {
        let subject = Subject::pair(number(from), number(to));
        let link = &mut self.links[from * self.nodes + to];
        if link.cuts > 0 {
            self.tally.partitioned += 1;
            return Delivery::dropped(Reason::Partitioned, link.epoch);
        }
        if link.held {
            self.tally.held += 1;
            return Delivery { at: [0; 2], count: 0, held: true, dropped: None, epoch: link.epoch };
        }
        link.send(now, subject, bytes as u64, decider, &mut self.tally)
    }

    /// Whether a message that was sent on this connection and is due now really arrives.
    pub fn accept(&mut self, from: usize, to: usize, epoch: u32) -> bool {
        let link = &self.links[from * self.nodes + to];
        let (cut, reset) = (link.cuts > 0, link.epoch != epoch);
        self.tally.reset += u64::from(reset);
        self.tally.partitioned += u64::from(cut && !reset);
        !cut && !reset
    }

    /// Whether a partition cuts this link.
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.links[from * self.nodes + to].cuts > 0
    }

    /// Takes these links away. Partitions may overlap: a link works again when as many were mended.
    pub fn cut(&mut self, partition: &Partition) {
        for (from, to) in partition.links() {
            self.link(from, to).cuts += 1;
        }
    }

    /// Gives them back.
    pub fn mend(&mut self, partition: &Partition) {
        for (from, to) in partition.links() {
            let link = self.link(from, to);
            // After `heal`, the end of an episode finds nothing left to mend.
            link.cuts = link.cuts.saturating_sub(1);
        }
    }

    /// From now on, messages on this link wait.
    pub fn hold(&mut self, from: usize, to: usize) {
        self.link(from, to).held = true;
    }

    /// They may go again; the world sends what it parked, in order.
    pub fn release(&mut self, from: usize, to: usize) {
        self.link(from, to).held = false;
    }

    /// The connection breaks: all that is on its way on this link is lost.
    pub fn reset(&mut self, from: usize, to: usize) {
        self.link(from, to).reset();
    }

    /// All connections of a node break, as when its process dies.
    pub fn reset_node(&mut self, node: usize) {
        for other in 0..self.nodes {
            self.reset(node, other);
            self.reset(other, node);
        }
    }

    /// Puts a fault on a link, in place of the one before; [`Impairment::NONE`] ends it.
    pub fn impair(&mut self, from: usize, to: usize, impairment: Impairment) {
        self.link(from, to).impairment = impairment;
    }

    /// The character of a link.
    pub fn parameters(&self, from: usize, to: usize) -> &Parameters {
        &self.links[from * self.nodes + to].parameters
    }

    /// Changes it.
    pub fn set(&mut self, from: usize, to: usize, parameters: Parameters) {
        self.link(from, to).parameters = parameters;
    }

    /// Changes it on every link.
    pub fn set_all(&mut self, change: impl Fn(&mut Parameters)) {
        self.links.iter_mut().for_each(|link| change(&mut link.parameters));
    }

    /// Ends every fault: no cuts, no impairments, nothing held.
    pub fn heal(&mut self) {
        for link in &mut self.links {
            (link.cuts, link.held, link.impairment) = (0, false, Impairment::NONE);
        }
    }

    /// What happened so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    fn link(&mut self, from: usize, to: usize) -> &mut Link {
        assert!(from < self.nodes && to < self.nodes, "no link from {from} to {to} among {} nodes", self.nodes);
        &mut self.links[from * self.nodes + to]
    }
}

fn number(node: usize) -> u32 {
    u32::try_from(node).expect("there are fewer than four billion nodes")
}

#[cfg(test)]
mod tests;
