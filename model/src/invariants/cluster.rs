//! G1 from inside: who votes and who learns follows from the applied entries alone.
//!
//! The members are folded as entries are applied for the first time; whoever stands at the same index must have the
//! same voters and learners. What a database says of them is compared when it is read.

use bytes::Bytes;
use detcd_replica::history::{Finding, Moment};
use detcd_replica::{MemberId, View};

use super::findings::finding;
use super::reference::Members;
use super::Invariants;
use crate::storage::entry::{self, Command};

/// The cluster after the last entry that anyone has applied.
#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    members: Members,
    voters: Vec<MemberId>,
    learners: Vec<MemberId>,
    /// An entry could not be read: nothing is known from there on.
    lost: bool,
}

impl Cluster {
    /// An entry was applied for the first time.
    pub(super) fn applied(&mut self, kind: i32, data: &Bytes) {
        if kind != entry::CONF_CHANGE {
            return;
        }
        match entry::proposal(kind, data).map(|proposal| proposal.command) {
            Ok(Command::Change(change)) => self.lost |= self.members.change(&change).is_err(),
            _ => self.lost = true,
        }
        let ids = |learners| self.members.ids(learners).into_iter().map(MemberId).collect();
        (self.voters, self.learners) = (ids(false), ids(true));
    }
}

impl Invariants {
    /// A member that has applied what anyone has knows the same cluster.
    pub(super) fn knows_cluster(&self, at: Moment, place: usize, view: &View<'_>) -> Result<(), Finding> {
        let Cluster { voters, learners, lost, .. } = &self.cluster;
        // A member that has applied nothing knows nobody, and neither does an empty log.
        let known = !view.voters.is_empty() && !voters.is_empty();
        let is_newest = view.applied == self.reference.last() && known;
        if !is_newest || *lost || self.members[place].tainted || self.premise_lost {
            return Ok(());
        }
        if view.voters == voters && view.learners == learners {
            return Ok(());
        }
        let summary = format!("{} has another cluster than its log up to index {} leads to", view.member, view.applied);
        let names = |ids: &[MemberId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let show = |who: &str, voters: &[MemberId], learners: &[MemberId]| {
            format!("{who}: voters {}; learners {}", names(voters), names(learners))
        };
        let details = vec![show("it has", view.voters, view.learners), show("the log", voters, learners)];
        Err(finding("G1", at, summary, details))
    }
}
