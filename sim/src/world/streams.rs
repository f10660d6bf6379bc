//! The streams that carry databases: each is a connection of its own, on which chunks come in order or the stream is
//! broken; then its sender finds out. So it does when one of the two ends dies, or the answer is lost.

use std::collections::BTreeMap;

use detcd_replica::{MemberId, PeerMessage};

use crate::net::Delivery;

use super::{Happening, World};

/// Sender, receiver and number of a stream.
type Stream = (usize, usize, u64);

/// The streams that are under way, and when their latest chunk arrives.
pub(super) type Streams = BTreeMap<Stream, u64>;

impl World<'_> {
    /// A chunk goes on its way, unless its stream is broken already.
    pub(super) fn send_chunk(&mut self, stream: Stream, delivery: Delivery, message: PeerMessage) {
        let first = message.chunk.as_ref().is_some_and(|chunk| chunk.offset == 0);
        if first {
            let (from, to, _) = stream;
            let under_way = self.streams.range((from, to, 0)..=(from, to, u64::MAX)).next();
            assert!(under_way.is_none(), "two databases at once from node {from} to {to}: {under_way:?}, {stream:?}");
            self.streams.insert(stream, self.now);
        }
        let Some(last) = self.streams.get_mut(&stream) else { return };
        let epoch = delivery.epoch;
        let Some(at) = delivery.times().first() else { return self.stream_ends(stream, self.now, false) };
        *last = (*last).max(*at);
        self.queue.push(*last, Happening::Message { message, epoch });
    }

    /// The receiver says how it went, if that gets through.
    pub(super) fn answer_snapshot(&mut self, node: usize, from: MemberId, stream: u64, saved: bool) {
        let Some(sender) = self.place(from).filter(|sender| *sender < self.nodes.len()) else { return };
        let delivery = self.network.send(self.now, node, sender, 64, &mut self.decider);
        let arrives = delivery.times().first().copied();
        self.stream_ends((sender, node, stream), arrives.unwrap_or(self.now), saved && arrives.is_some());
    }

    /// A chunk found nobody, or a connection that is not the one it was sent on.
    pub(super) fn chunk_refused(&mut self, from: MemberId, node: usize, stream: u64) {
        let sender = self.place(from).expect(super::SENT);
        self.stream_ends((sender, node, stream), self.now, false);
    }

    /// A member is gone: the streams to it are broken, and nobody waits for those from it.
    pub(super) fn streams_of_gone(&mut self, node: usize) {
        self.streams.retain(|(sender, ..), _| *sender != node);
        let broken: Vec<Stream> = self.streams.keys().filter(|(_, receiver, _)| *receiver == node).copied().collect();
        for stream in broken {
            self.stream_ends(stream, self.now, false);
        }
    }

    /// The sender is told at `at`, once.
    fn stream_ends(&mut self, stream: Stream, at: u64, delivered: bool) {
        let (node, receiver, number) = stream;
        if self.streams.remove(&stream).is_none() || !self.nodes[node].is_up() {
            return;
        }
        let (incarnation, member) = (self.nodes[node].incarnation, self.nodes[receiver].config.member);
        self.queue.push(at, Happening::SnapshotSent { node, incarnation, member, stream: number, delivered });
    }
}
