//! The membership client: adds a learner, gives it another URL, promotes it, removes it, and in between hands
//! leadership over.
//!
//! One cycle is add, update, promote, remove, each with a member that never was before, so the voters of the scenario
//! stay. What is refused is asked for again a few times, since the next member may lead, or the learner have caught up;
//! then the cycle goes on all the same, and a removal always ends it. The world boots a member when its addition
//! succeeds.

use detcd_replica::api::{Error, Request};
use detcd_replica::{Address, MemberId};

use super::{Ended, Seen, Workload};
use crate::scenario::Chance;

/// How often a step is tried.
const TRIES: u32 = 8;

/// What is asked for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Add,
    Update,
    Promote,
    Remove,
}

/// The generator, for one client.
#[derive(Clone, Debug)]
pub struct Churn {
    voters: u64,
    guest: u64,
    step: Step,
    tries: u32,
}

impl Churn {
    /// For a cluster of `voters` and `learners`; the members it adds are numbered after them.
    pub fn new(voters: u64, learners: u64) -> Self {
        Self { voters, guest: voters + learners + 1, step: Step::Add, tries: 0 }
    }

    fn go_on(&mut self) {
        self.tries = 0;
        self.step = match self.step {
            Step::Add => Step::Update,
            Step::Update => Step::Promote,
            Step::Promote => Step::Remove,
            Step::Remove => {
                self.guest += 1;
                Step::Add
            }
        };
    }
}

impl Workload for Churn {
    fn next(&mut self, client: u32, _: &Seen, chance: &mut dyn Chance) -> Request {
        if chance.ratio("churn.move_leader", u64::from(client), 1, 8) {
            let target = MemberId(1 + chance.below("churn.target", u64::from(client), self.voters));
            return Request::MoveLeader { target };
        }
        let id = MemberId(self.guest);
        let mut peer_urls = Address::of(id).peer_urls;
        match self.step {
            Step::Add => Request::MemberAdd { id, peer_urls, is_learner: true },
            // It listens at both.
            Step::Update => {
                peer_urls.push(format!("http://elsewhere-{}:2380", self.guest));
                Request::MemberUpdate { id, peer_urls }
            }
            Step::Promote => Request::MemberPromote { id },
            Step::Remove => Request::MemberRemove { id },
        }
    }

    fn ended(&mut self, _: u32, request: &Request, ended: Ended<'_>) {
        if matches!(request, Request::MoveLeader { .. }) {
            return;
        }
        self.tries += 1;
        // An earlier try, whose outcome nobody knew, may have done it.
        let done = [Error::MemberExists, Error::MemberNotFound, Error::MemberNotLearner];
        let over = match ended {
            Ended::Answered(_) => true,
            Ended::Refused(error) => done.contains(&error) || self.tries >= TRIES,
            Ended::Unknown => self.tries >= TRIES,
        };
        if over {
            self.go_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Neutral;

    #[test]
    fn guests_come_and_go_and_voters_stay() {
        let mut churn = Churn::new(3, 0);
        let mut next = |ended: Ended<'_>| {
            let request = churn.next(0, &Seen::new(false), &mut Neutral);
            churn.ended(0, &request, ended);
            request
        };
        let peer_urls = |id| Address::of(MemberId(id)).peer_urls;
        let add = |id| Request::MemberAdd { id: MemberId(id), peer_urls: peer_urls(id), is_learner: true };
        let promote = Request::MemberPromote { id: MemberId(4) };
        assert_eq!(next(Ended::Refused(Error::UnhealthyCluster)), add(4));
        assert_eq!(next(Ended::Unknown), add(4));
        assert_eq!(next(Ended::Refused(Error::MemberExists)), add(4));
        let elsewhere = [peer_urls(4), vec!["http://elsewhere-4:2380".to_owned()]].concat();
        let update = Request::MemberUpdate { id: MemberId(4), peer_urls: elsewhere };
        assert_eq!(next(Ended::Refused(Error::MemberNotFound)), update);
        for _ in 0..TRIES {
            assert_eq!(next(Ended::Refused(Error::NotLeader)), promote);
        }
        assert_eq!(next(Ended::Refused(Error::MemberNotFound)), Request::MemberRemove { id: MemberId(4) });
        assert_eq!(next(Ended::Unknown), add(5));
    }
}
