//! One direction of one link: when what is sent arrives.
//!
//! A link is a pipe with a length (base delay), a width (bandwidth), a buffer (queue limit) and a character (jitter,
//! loss). As a **stream** it behaves like TCP: what is lost is sent again, so that loss is delay for all that
//! follows, order is kept and nothing comes twice. As **datagrams**, messages are lost, come twice and overtake each
//! other.

use crate::decide::{Decider, Site, Subject};
use crate::distribution::{Range, Ratio, Shape, Sometimes};

use super::{Delivery, Reason, Tally};

/// Bytes in a packet: what a message of many packets loses one of.
const PACKET: u64 = 1_448;
/// TCP's least retransmission timeout, in nanoseconds.
const RETRANSMIT_MIN: u64 = 200_000_000;
/// A packet that is lost this often in a row gets through at the next try, after 12.6 s at least.
const RETRANSMITS_MAX: u32 = 6;

/// What a link carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// A TCP connection.
    Stream,
    /// Single messages.
    Datagram,
}

/// The character of a link. Times in nanoseconds; in bandwidth and queue zero means without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Stream or datagrams.
    pub mode: Mode,
    /// The least delay.
    pub base: u64,
    /// What each message adds to it.
    pub jitter: Shape,
    /// Packets lost.
    pub loss: Ratio,
    /// Messages that come twice (datagrams only).
    pub duplicate: Ratio,
    /// Messages that are held back so that later ones overtake them (datagrams only).
    pub reorder: Ratio,
    /// For how long at most.
    pub reorder_window: u64,
    /// Bytes a second.
    pub bandwidth: u64,
    /// Bytes that may wait to be sent; a message that does not fit is dropped.
    pub queue: u64,
    /// Messages that meet a full switch buffer and wait 1 to 200 ms more (incast; Pingmesh's tail is 1 in 1,000).
    pub tail: Ratio,
}

impl Parameters {
    /// No delay, no limit, no fault.
    pub const PERFECT: Self = Self {
        mode: Mode::Stream,
        base: 0,
        jitter: Shape::Beta { min: 0, width: 0, b: 1 },
        loss: Ratio::ZERO,
        duplicate: Ratio::ZERO,
        reorder: Ratio::ZERO,
        reorder_window: 0,
        bandwidth: 0,
        queue: 0,
        tail: Ratio::ZERO,
    };
}

const TAIL: Shape = Shape::Pareto { min: 1_000_000, alpha_milli: 1_200, cap: 200_000_000 };

/// What a fault does to a link on top of its character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impairment {
    /// Packets lost, when more than without it.
    pub loss: Ratio,
    /// Messages that come twice, likewise.
    pub duplicate: Ratio,
    /// Messages held back, likewise.
    pub reorder: Ratio,
    /// For how long at most, in nanoseconds, likewise.
    pub reorder_window: u64,
    /// The least extra delay, in nanoseconds.
    pub delay_min: u64,
    /// The most extra delay, in nanoseconds.
    pub delay_max: u64,
    /// Bytes a second, when less than without it; zero changes nothing.
    pub bandwidth: u64,
}

impl Impairment {
    /// Nothing.
    pub const NONE: Self = Self {
        loss: Ratio::ZERO,
        duplicate: Ratio::ZERO,
        reorder: Ratio::ZERO,
        reorder_window: 0,
        delay_min: 0,
        delay_max: 0,
        bandwidth: 0,
    };
}

/// One direction of a link, with what is on its way.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) parameters: Parameters,
    pub(super) impairment: Impairment,
    /// How many partitions cut it.
    pub(super) cuts: u32,
    pub(super) held: bool,
    /// Counts resets: what was sent in an earlier epoch never arrives.
    pub(super) epoch: u32,
    /// When the sender's side is free for the next byte.
    busy_until: u64,
    /// The latest arrival so far.
    last_arrival: u64,
    last_sent: u64,
}

impl Link {
    pub(super) fn new(parameters: Parameters) -> Self {
        Self {
            parameters,
            impairment: Impairment::NONE,
            cuts: 0,
            held: false,
            epoch: 0,
            busy_until: 0,
            last_arrival: 0,
            last_sent: 0,
        }
    }

    /// The connection breaks: what is on its way is lost, and the next message goes over a new one.
    pub(super) fn reset(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        (self.busy_until, self.last_arrival) = (0, 0);
    }

    pub(super) fn send(
        &mut self,
        now: u64,
        subject: Subject,
        bytes: u64,
        decider: &mut Decider,
        tally: &mut Tally,
    ) -> Delivery {
        let (p, fault) = (&self.parameters, &self.impairment);
        let bandwidth = match (p.bandwidth, fault.bandwidth) {
            (0, limit) | (limit, 0) => limit,
            (one, other) => one.min(other),
        };
        if bandwidth > 0 {
            let waiting = u128::from(self.busy_until.saturating_sub(now)) * u128::from(bandwidth) / 1_000_000_000;
            if p.queue > 0 && waiting + u128::from(bytes) > u128::from(p.queue) && waiting > 0 {
                tally.overflowed += 1;
                return Delivery::dropped(Reason::Overflow, self.epoch);
            }
            let span = (u128::from(bytes) * 1_000_000_000).div_ceil(u128::from(bandwidth));
            self.busy_until = self.busy_until.max(now).saturating_add(u64::try_from(span).unwrap_or(u64::MAX));
        }
        let departure = if bandwidth > 0 { self.busy_until } else { now };
        let mut delay = p.base + decider.decide(Site::NetDelay, subject, &p.jitter);
        delay += decider.decide(Site::NetTail, subject, &Sometimes(p.tail, TAIL)).unwrap_or(0);
        let extra = decider.decide(Site::NetExtra, subject, &Range(fault.delay_min, fault.delay_max));
        tally.delayed += u64::from(extra > 0);
        let arrival = departure.saturating_add(delay).saturating_add(extra);
        let loss = p.loss.or_more(fault.loss);
        let packets = bytes.div_ceil(PACKET).max(1);
        let lost = decider.decide(Site::NetLoss, subject, &loss.any_of(packets));
        let delivery = match p.mode {
            Mode::Stream if lost => {
                let again = self.retransmission(now, subject, loss, delay + extra, decider, tally);
                self.in_order(arrival.saturating_add(again))
            }
            Mode::Stream => self.in_order(arrival),
            Mode::Datagram if lost => {
                tally.lost += 1;
                return Delivery::dropped(Reason::Lost, self.epoch);
            }
            Mode::Datagram => self.datagram(arrival, subject, decider, tally),
        };
        self.last_sent = now;
        tally.sent += 1;
        delivery
    }

    /// How much later a lost packet arrives: one round trip when others follow closely and their acknowledgements tell
    /// (fast retransmit), else TCP's timeout, doubled each time that it is lost again.
    fn retransmission(
        &self,
        now: u64,
        subject: Subject,
        loss: Ratio,
        delay: u64,
        decider: &mut Decider,
        tally: &mut Tally,
    ) -> u64 {
        tally.retransmitted += 1;
        let round_trip = 2 * delay;
        let busy = self.last_sent > 0 && now.saturating_sub(self.last_sent) * 3 < round_trip;
        let mut timeout = RETRANSMIT_MIN.max(2 * round_trip);
        let mut again = if busy { round_trip } else { timeout };
        for _ in 0..RETRANSMITS_MAX {
            if !decider.decide(Site::NetRetransmit, subject, &loss) {
                break;
            }
            tally.retransmitted += 1;
            again += timeout;
            timeout *= 2;
        }
        again
    }

    fn in_order(&mut self, arrival: u64) -> Delivery {
        self.last_arrival = self.last_arrival.max(arrival);
        Delivery::once(self.last_arrival, self.epoch)
    }

    fn datagram(&mut self, arrival: u64, subject: Subject, decider: &mut Decider, tally: &mut Tally) -> Delivery {
        let (p, fault) = (&self.parameters, &self.impairment);
        let window = p.reorder_window.max(fault.reorder_window);
        let back = Sometimes(p.reorder.or_more(fault.reorder), Range(0, window));
        let arrival = arrival + decider.decide(Site::NetReorder, subject, &back).unwrap_or(0);
        tally.reordered += u64::from(arrival < self.last_arrival);
        self.last_arrival = self.last_arrival.max(arrival);
        let again = Sometimes(p.duplicate.or_more(fault.duplicate), Range(0, 2 * p.base + window));
        if let Some(after) = decider.decide(Site::NetDuplicate, subject, &again) {
            tally.duplicated += 1;
            let later = arrival + after;
            self.last_arrival = self.last_arrival.max(later);
            return Delivery::twice(arrival, later, self.epoch);
        }
        Delivery::once(arrival, self.epoch)
    }
}
