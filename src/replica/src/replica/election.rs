//! The election timer: raft-rs draws its randomised timeout from the operating system's entropy; we replace it by one
//! that the driver drew, each time Raft has reset it.

use raft::{Raft, StateRole};

use crate::log::LogStorage;
use crate::{Chance, Role};

/// Which reset of Raft's timer the timeout in force was drawn for.
#[derive(Clone, Debug)]
pub(super) struct ElectionTimer {
    drawn_for: Option<(u64, StateRole)>,
    ticks: usize,
}

impl ElectionTimer {
    /// Until the first draw the timeout is the shortest one.
    pub(super) fn new(raft: &mut Raft<LogStorage>) -> Self {
        let ticks = raft.election_timeout();
        raft.set_randomized_election_timeout(ticks);
        Self { drawn_for: None, ticks }
    }

    /// Put our timeout back in place of what raft-rs drew, and say whether a new one is due. raft-rs resets its timer
    /// exactly when the term changes or the role does, save that a pre-candidate keeps its timeout
    /// (`become_pre_candidate`).
    pub(super) fn must_draw(&mut self, raft: &Raft<LogStorage>) -> bool {
        let now = (raft.term, raft.state);
        if self.drawn_for == Some(now) {
            return false;
        }
        let kept = raft.state == StateRole::PreCandidate && self.drawn_for.is_some();
        self.drawn_for = Some(now);
        !kept
    }

    /// Before each tick, the only moment at which raft-rs reads it.
    pub(super) fn enforce(&self, raft: &mut Raft<LogStorage>) {
        raft.set_randomized_election_timeout(self.ticks);
    }

    pub(super) fn drawn(&mut self, chance: Chance, raft: &mut Raft<LogStorage>) {
        let Chance::ElectionTimeout(ticks) = chance;
        let shortest = raft.election_timeout();
        self.ticks = (ticks as usize).clamp(shortest, 2 * shortest - 1);
        raft.set_randomized_election_timeout(self.ticks);
    }
}

/// raft-rs's word for a role.
pub(super) fn state(role: Role) -> StateRole {
    match role {
        Role::Follower => StateRole::Follower,
        Role::PreCandidate => StateRole::PreCandidate,
        Role::Candidate => StateRole::Candidate,
        Role::Leader => StateRole::Leader,
    }
}

/// A role by Raft's name.
pub(super) fn role(state: StateRole) -> Role {
    match state {
        StateRole::Follower => Role::Follower,
        StateRole::PreCandidate => Role::PreCandidate,
        StateRole::Candidate => Role::Candidate,
        StateRole::Leader => Role::Leader,
    }
}
