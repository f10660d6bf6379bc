//! The membership client that makes a mistake: it adds voters that never start, as with a wrong URL, and takes them
//! back.
//!
//! One cycle adds three, one after the other, and removes them, the last first. In a cluster of three etcd takes two:
//! with the third, those that have started would be no quorum any more (etcd#11640). What has no answer, or is refused
//! for who leads or is in touch, is asked for again a few times.

use detcd_replica::api::{Error, Request};
use detcd_replica::{Address, MemberId};

use super::{Ended, Seen, Workload};
use crate::scenario::Chance;

/// Voters in one cycle.
const GHOSTS: u64 = 3;
/// How often a step is tried.
const TRIES: u32 = 4;

/// The generator, for one client.
#[derive(Clone, Debug)]
pub struct Ghosts {
    /// The first ghost of the cycle.
    first: u64,
    /// Steps of the cycle that are done.
    done: u64,
    tries: u32,
}

impl Ghosts {
    /// For a cluster of `voters`; the members it adds are numbered after them.
    pub fn new(voters: u64) -> Self {
        Self { first: voters + 1, done: 0, tries: 0 }
    }
}

impl Workload for Ghosts {
    fn next(&mut self, _: u32, _: &Seen, _: &mut dyn Chance) -> Request {
        if self.done < GHOSTS {
            let id = MemberId(self.first + self.done);
            return Request::MemberAdd { id, peer_urls: Address::of(id).peer_urls, is_learner: false };
        }
        Request::MemberRemove { id: MemberId(self.first + 2 * GHOSTS - 1 - self.done) }
    }

    fn ended(&mut self, _: u32, _: &Request, ended: Ended<'_>) {
        self.tries += 1;
        let again = match ended {
            Ended::Answered(_) => false,
            Ended::Refused(error) => !matches!(
                error,
                Error::MemberNotEnoughStarted | Error::MemberExists | Error::MemberNotFound | Error::PeerUrlExists
            ),
            Ended::Unknown => true,
        };
        if again && self.tries < TRIES {
            return;
        }
        (self.tries, self.done) = (0, self.done + 1);
        if self.done == 2 * GHOSTS {
            // Who was removed never comes back under that id.
            (self.first, self.done) = (self.first + GHOSTS, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Neutral;

    #[test]
    fn three_come_and_go_again() {
        let mut ghosts = Ghosts::new(3);
        let mut next = |ended: Ended<'_>| {
            let request = ghosts.next(0, &Seen::new(false), &mut Neutral);
            ghosts.ended(0, &request, ended);
            match request {
                Request::MemberAdd { id, is_learner: false, .. } => (true, id.0),
                Request::MemberRemove { id } => (false, id.0),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(next(Ended::Unknown), (true, 4));
        assert_eq!(next(Ended::Refused(Error::MemberExists)), (true, 4));
        assert_eq!(next(Ended::Refused(Error::NotLeader)), (true, 5));
        assert_eq!(next(Ended::Refused(Error::MemberNotEnoughStarted)), (true, 5));
        assert_eq!(next(Ended::Refused(Error::MemberNotEnoughStarted)), (true, 6));
        for id in [6, 5, 4] {
            assert_eq!(next(Ended::Refused(Error::MemberNotFound)), (false, id));
        }
        assert_eq!(next(Ended::Unknown), (true, 7));
    }
}
