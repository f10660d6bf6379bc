//! The strict reconfiguration check (`--strict-reconfig-check`): changes that could cost the cluster its quorum are not
//! even proposed.
//!
//! Two questions are asked. How many members have *started*, by what is in the backend: a member that was added and has
//! not said its name yet does not count for the quorum it will need. And how many are *connected*, by what this member
//! sees.

use crate::api::{Error, Member};
use crate::{Bug, Bugs, MemberId};

use super::{Change, Cluster};

/// Whether a member was in touch for long enough, in the eyes of the one that asks; `None` when it is not in touch at
/// all.
pub(crate) type Connected<'a> = &'a dyn Fn(MemberId) -> Option<bool>;

impl Cluster {
    /// `mayAddMember`, `mayRemoveMember`, and what `mayPromoteMember` asks after the learner's progress.
    ///
    /// # Errors
    /// Which of the two questions had the wrong answer.
    pub(crate) fn may_propose(
        &self,
        change: &Change,
        own: MemberId,
        connected: Connected<'_>,
        bugs: Bugs,
    ) -> Result<(), Error> {
        match change {
            Change::Add(member) => self.may_add(member, own, connected, bugs),
            Change::Promote(_) => self.enough_started(1, 1),
            Change::Remove(id) => self.may_remove(*id, own, connected),
            Change::Update(_) => Ok(()),
        }
    }

    fn may_add(&self, new: &Member, own: MemberId, connected: Connected<'_>, bugs: Bugs) -> Result<(), Error> {
        // The new member has not started, and is not there yet.
        let counted = usize::from(bugs.has(Bug::ReconfigQuorumCalc));
        if !new.is_learner {
            // A cluster of one may always grow: that is how one is rebuilt.
            let restores = self.voters.len() == 1 && self.started(None) == 1;
            if !restores {
                self.enough_started(1, counted)?;
            }
        }
        let voters = self.voters.len();
        let there = self.connected(own, connected) + counted;
        match voters == 1 || there >= quorum(voters + 1) {
            true => Ok(()),
            false => Err(Error::UnhealthyCluster),
        }
    }

    fn may_remove(&self, id: MemberId, own: MemberId, connected: Connected<'_>) -> Result<(), Error> {
        if self.member(id).is_some_and(|member| member.is_learner) {
            return Ok(());
        }
        let left = self.members.voters().filter(|member| member.id != id).count();
        if self.started(Some(id)) < quorum(left) {
            return Err(Error::MemberNotEnoughStarted);
        }
        // One that is down is not part of the quorum that is left.
        if id != own && connected(id).is_none() {
            return Ok(());
        }
        let voters = self.voters.len();
        match self.connected(own, connected) > quorum(voters.saturating_sub(1)) {
            true => Ok(()),
            false => Err(Error::UnhealthyCluster),
        }
    }

    /// Whether the started voters are a quorum after `more` voters have come, of whom `started` count as started.
    fn enough_started(&self, more: usize, started: usize) -> Result<(), Error> {
        match self.started(None) + started >= quorum(self.voters.len() + more) {
            true => Ok(()),
            false => Err(Error::MemberNotEnoughStarted),
        }
    }

    fn started(&self, except: Option<MemberId>) -> usize {
        self.members.voters().filter(|member| Some(member.id) != except && !member.name.is_empty()).count()
    }

    fn connected(&self, own: MemberId, connected: Connected<'_>) -> usize {
        self.voters.iter().filter(|id| **id == own || connected(**id) == Some(true)).count()
    }
}

fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}
