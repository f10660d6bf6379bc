//! Since when a member is in touch with each other one: what etcd reads off its connections (`ActiveSince`).
//!
//! A replica has no connections, only messages. Where they must come in all the time (from the followers to the leader,
//! from the leader to a follower) their absence counts; between two followers a connection is taken to stand unless the
//! driver has reported that it broke.

use std::collections::BTreeMap;

use crate::time::{Monotonic, Span};
use crate::MemberId;

/// What one member has seen of the others. Not part of what it *is*: it decides only which reconfigurations it will
/// propose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Activity {
    started: Monotonic,
    peers: BTreeMap<MemberId, Peer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peer {
    /// The first message of a row without a long pause.
    since: Monotonic,
    /// The last one.
    last: Monotonic,
    /// The last report of a broken connection.
    broken: Option<Monotonic>,
}

/// Whether silence means anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The other one must send something within this time.
    Within(Span),
    /// It may have nothing to say.
    Nothing,
}

impl Activity {
    pub(crate) fn new(started: Monotonic) -> Self {
        Self { started, peers: BTreeMap::new() }
    }

    /// A message came. `pause` is how long a member may be silent and still count as there.
    pub(crate) fn heard(&mut self, now: Monotonic, from: MemberId, pause: Span) {
        let peer = self.peers.entry(from).or_insert(Peer { since: now, last: now, broken: None });
        if now.since(peer.last) > pause {
            peer.since = now;
        }
        peer.last = now;
    }

    /// The connection to a member broke.
    pub(crate) fn broken(&mut self, now: Monotonic, member: MemberId) {
        let peer = self.peers.entry(member).or_insert(Peer { since: now, last: now, broken: None });
        peer.broken = Some(now);
    }

    /// Since when the member is there without interruption; `None` when it is not.
    pub(crate) fn since(&self, now: Monotonic, member: MemberId, expected: Expected) -> Option<Monotonic> {
        let peer = self.peers.get(&member);
        match expected {
            Expected::Within(pause) => {
                let peer = peer.filter(|peer| now.since(peer.last) <= pause)?;
                // A message after the break shows that there is a connection again.
                let mended = peer.broken.filter(|broken| *broken >= peer.since);
                Some(mended.unwrap_or(peer.since))
            }
            Expected::Nothing => Some(peer.and_then(|peer| peer.broken).unwrap_or(self.started)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::default() + Span::millis(millis)
    }

    #[test]
    fn a_row_of_messages_is_activity_since_its_first() {
        let pause = Span::millis(1000);
        // When messages came; when the connection broke; when somebody asks; since when it is active.
        for (heard, broken, now, expect) in [
            (&[][..], None, 100, None),
            (&[100], None, 100, Some(100)),
            (&[100, 900, 1900], None, 2000, Some(100)),
            (&[100, 900, 1901], None, 2000, Some(1901)),
            (&[100], None, 1100, Some(100)),
            (&[100], None, 1101, None),
            (&[100, 900], Some(950), 1000, Some(950)),
            (&[2000, 2100], Some(950), 2200, Some(2000)),
        ] {
            let mut activity = Activity::new(at(0));
            let mut events: Vec<(u64, bool)> = heard.iter().map(|moment| (*moment, true)).collect();
            events.extend(broken.map(|moment| (moment, false)));
            events.sort_unstable();
            for (moment, message) in events {
                match message {
                    true => activity.heard(at(moment), MemberId(2), pause),
                    false => activity.broken(at(moment), MemberId(2)),
                }
            }
            let found = activity.since(at(now), MemberId(2), Expected::Within(pause));
            assert_eq!(found, expect.map(at), "{heard:?} {broken:?} {now}");
        }
    }

    #[test]
    fn silence_means_nothing_where_nothing_is_expected() {
        let mut activity = Activity::new(at(5));
        assert_eq!(activity.since(at(9000), MemberId(2), Expected::Nothing), Some(at(5)));
        activity.broken(at(7000), MemberId(2));
        assert_eq!(activity.since(at(9000), MemberId(2), Expected::Nothing), Some(at(7000)));
    }
}
