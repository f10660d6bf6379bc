//! The membership client: adds a learner, promotes it, removes it, and in between hands leadership over.
//!
//! One cycle is add, promote, remove, each with a member that never was before, so the voters of the scenario stay.
//! Refusals (the learner lags, the member is unknown) are part of the game: the cycle goes on all the same, and a
//! removal always ends it. The world boots a member when its addition succeeds.

use detcd_replica::api::Request;
use detcd_replica::{Address, MemberId};

use super::{Seen, Workload};
use crate::scenario::Chance;

/// The generator, for one client.
#[derive(Clone, Debug)]
pub struct Churn {
    voters: u64,
    guest: u64,
    step: u64,
}

impl Churn {
    /// For a cluster of `voters` and `learners`; the members it adds are numbered after them.
    pub fn new(voters: u64, learners: u64) -> Self {
        Self { voters, guest: voters + learners, step: 0 }
    }
}

impl Workload for Churn {
    fn next(&mut self, client: u32, _: &Seen, chance: &mut dyn Chance) -> Request {
        if chance.ratio("churn.move_leader", u64::from(client), 1, 4) {
            let target = MemberId(1 + chance.below("churn.target", u64::from(client), self.voters));
            return Request::MoveLeader { target };
        }
        self.step += 1;
        let guest = MemberId(self.guest);
        match self.step % 3 {
            1 => {
                self.guest += 1;
                let id = MemberId(self.guest);
                Request::MemberAdd { id, peer_urls: Address::of(id).peer_urls, is_learner: true }
            }
            2 => Request::MemberPromote { id: guest },
            _ => Request::MemberRemove { id: guest },
        }
    }

    fn after_failed_write(&self) -> Option<Request> {
        None
    }

    fn tracks_keys(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Neutral;

    #[test]
    fn guests_come_and_go_and_voters_stay() {
        let mut churn = Churn::new(3, 0);
        let requests: Vec<_> = (0..4).map(|_| churn.next(0, &Seen::new(false), &mut Neutral)).collect();
        let add = |id| {
            let id = MemberId(id);
            Request::MemberAdd { id, peer_urls: Address::of(id).peer_urls, is_learner: true }
        };
        let expected =
            [add(4), Request::MemberPromote { id: MemberId(4) }, Request::MemberRemove { id: MemberId(4) }, add(5)];
        assert_eq!(requests, expected);
    }
}
