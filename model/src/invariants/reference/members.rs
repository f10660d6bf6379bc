//! The cluster as the log leads to it (G1): who its members are and were, its version, whether it is being downgraded.

use std::collections::{BTreeMap, BTreeSet};

use crate::storage::entry::ConfChange;
use crate::storage::member::{Attributes, Downgrade, Member};

const ADD: i32 = 0;
const REMOVE: i32 = 1;
const UPDATE: i32 = 2;
const ADD_LEARNER: i32 = 3;

/// Learners that a cluster may have at once (`--max-learners`).
const LEARNERS_MAX: usize = 1;

/// The cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::invariants) struct Members {
    pub(in crate::invariants) present: BTreeMap<u64, Member>,
    pub(in crate::invariants) removed: BTreeSet<u64>,
    /// What all members understand.
    pub(in crate::invariants) version: Option<String>,
    pub(in crate::invariants) downgrade: Option<Downgrade>,
}

impl Members {
    /// The ids of those with a vote, or without, in order.
    pub(in crate::invariants) fn ids(&self, learners: bool) -> Vec<u64> {
        self.present.values().filter(|member| member.is_learner == learners).map(|member| member.id).collect()
    }

    /// Applies a change. One that the cluster, as it is then, does not take changes nothing.
    pub(in crate::invariants) fn change(&mut self, change: &ConfChange) -> Result<(), String> {
        let id = change.node_id;
        if self.removed.contains(&id) {
            return Ok(());
        }
        match change.kind {
            ADD | ADD_LEARNER => {
                let member = Member::parse(&change.context)?;
                if member.is_promote == Some(true) {
                    if let Some(learner) = self.present.get_mut(&id) {
                        learner.is_learner = false;
                    }
                } else if self.may_add(&member, change.kind == ADD_LEARNER) {
                    self.present.insert(id, member);
                }
            }
            REMOVE => {
                if self.present.remove(&id).is_some() {
                    self.removed.insert(id);
                }
            }
            UPDATE => {
                let member = Member::parse(&change.context)?;
                if !self.has_url(&member, Some(id)) {
                    if let Some(known) = self.present.get_mut(&id) {
                        known.peer_urls = member.peer_urls;
                    }
                }
            }
            other => return Err(format!("configuration changes have no kind {other}")),
        }
        Ok(())
    }

    fn may_add(&self, member: &Member, as_learner: bool) -> bool {
        let learners = self.ids(true).len();
        let room = !member.is_learner || !as_learner || learners < LEARNERS_MAX;
        !self.present.contains_key(&member.id) && !self.has_url(member, None) && room
    }

    /// Whether another member listens there.
    fn has_url(&self, member: &Member, but: Option<u64>) -> bool {
        let others = self.present.values().filter(|other| Some(other.id) != but);
        let mut taken = others.flat_map(Member::peers);
        taken.any(|url| member.peers().any(|wanted| wanted == url))
    }

    /// A member says how it is called and where clients find it.
    pub(super) fn publish(&mut self, id: u64, attributes: &Attributes) {
        if let Some(member) = self.present.get_mut(&id) {
            member.name.clone_from(&attributes.name);
            member.client_urls = Some(attributes.client_urls.clone()).filter(|urls| !urls.is_empty());
        }
    }
}
