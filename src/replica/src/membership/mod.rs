//! The cluster: who its members are, which version all of them understand, whether it is being downgraded.
//!
//! Kept in the backend as a function of the applied index, in etcd's JSON, and changed by entries only. Raft is told of
//! each change of its own configuration when the entry is applied.
//!
//! A booting member replays entries that its backend has already: Raft's configuration starts at the snapshot and must
//! follow them. Whether such a change was valid depends on who was a member *then*, and the backend only knows who is
//! one now; etcd up to 3.6 replays its old store for that. Here [`Cluster`] replays a second [`Members`] from where the
//! log begins. Where nobody knows who the members were at that index, the replayed changes are passed over, as etcd
//! does since 3.7, and Raft must start with the configuration in the backend.
//!
//! Requests, messages and proposals are not known here.

mod activity;
mod change;
mod id;
mod member;
mod members;
pub(crate) mod old;
mod reconfig;
mod store;
#[cfg(test)]
mod tests;
mod version;

pub(crate) use activity::{Activity, Expected};
pub(crate) use change::Change;
pub use id::{cluster_id, member_id};
pub(crate) use members::Members;
pub(crate) use version::decide;
pub use version::Version;

use crate::api::{Error, Member};
use crate::mvcc::Batch;
use crate::{Bug, Bugs, MemberId};

/// The cluster as one member has applied it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    members: Members,
    /// The ids in `members` with a vote, and without, in order.
    voters: Vec<MemberId>,
    learners: Vec<MemberId>,
    version: Option<Version>,
    /// Where an enabled downgrade goes.
    downgrade: Option<Version>,
    /// Who was a member at the index that is being replayed.
    replayed: Option<Members>,
}

/// What Raft must be told of a configuration change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is made.
    Made,
    /// Its effect is in the configuration that Raft started with.
    Known,
    /// It is refused; it changes nothing.
    Refused(Error),
}

impl Cluster {
    /// Read the cluster out of the backend. `replayed` is who was a member where the log begins, if that is known.
    ///
    /// # Errors
    /// What in the buckets cannot be read.
    pub(crate) fn restore(batch: &impl Batch, replayed: Option<Members>) -> Result<Self, String> {
        let mut cluster = Self {
            members: store::members(batch)?,
            version: store::version(batch)?,
            downgrade: store::downgrade(batch)?,
            replayed,
            ..Self::default()
        };
        cluster.list();
        Ok(cluster)
    }

    pub(crate) fn voters(&self) -> &[MemberId] {
        &self.voters
    }

    pub(crate) fn learners(&self) -> &[MemberId] {
        &self.learners
    }

    /// In order of their ids.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.by_id.values()
    }

    pub(crate) fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.by_id.get(&id)
    }

    pub(crate) fn is_removed(&self, member: MemberId) -> bool {
        self.members.removed.contains(&member)
    }

    /// The version that all members understand; `None` in a cluster that is just beginning.
    pub(crate) fn version(&self) -> Option<Version> {
        self.version
    }

    /// Where an enabled downgrade goes.
    pub(crate) fn downgrade(&self) -> Option<Version> {
        self.downgrade
    }

    /// A change from an entry above the consistent index.
    pub(crate) fn apply(
        &mut self,
        batch: &mut impl Batch,
        change: &Change,
        learners_max: usize,
        bugs: Bugs,
    ) -> Verdict {
        if let Err(error) = self.members.validate(change, learners_max) {
            return Verdict::Refused(error);
        }
        self.members.apply(change, bugs);
        self.list();
        match change {
            Change::Remove(id) => {
                store::delete_member(batch, *id);
                if !bugs.has(Bug::RemovedRejoins) {
                    store::put_removed(batch, *id);
                }
            }
            Change::Promote(_) if bugs.has(Bug::PromotionNotInV3store) => {}
            Change::Add(_) | Change::Promote(_) | Change::Update(_) => self.store(batch, change.member()),
        }
        Verdict::Made
    }

    /// A change from an entry that the backend has already.
    pub(crate) fn replay(&mut self, change: &Change, learners_max: usize, bugs: Bugs) -> Verdict {
        let Some(then) = &mut self.replayed else { return Verdict::Known };
        let members = match bugs.has(Bug::ConfchangeValidatedOnReplay) {
            true => &self.members,
            false => then,
        };
        if let Err(error) = members.validate(change, learners_max) {
            return Verdict::Refused(error);
        }
        then.apply(change, bugs);
        Verdict::Made
    }

    /// A member has said how it is called and where clients find it. False when there is no such member any more.
    ///
    /// # Panics
    /// When there never was one.
    pub(crate) fn publish(&mut self, batch: &mut impl Batch, id: MemberId, name: &str, client_urls: &[String]) -> bool {
        let Some(member) = self.members.by_id.get_mut(&id) else {
            assert!(self.is_removed(id), "failed to update; member {:x} unknown", id.0);
            return false;
        };
        name.clone_into(&mut member.name);
        client_urls.clone_into(&mut member.client_urls);
        self.store(batch, id);
        true
    }

    /// The same in an entry that the backend has already.
    pub(crate) fn replay_publish(&mut self, id: MemberId, name: &str, client_urls: &[String]) {
        if let Some(member) = self.replayed.as_mut().and_then(|then| then.by_id.get_mut(&id)) {
            name.clone_into(&mut member.name);
            client_urls.clone_into(&mut member.client_urls);
        }
    }

    /// Whether somebody must hear of the entries that the backend has already.
    pub(crate) fn replays(&self) -> bool {
        self.replayed.is_some()
    }

    /// Every entry that the backend has is replayed. Up to 3.5 the old store is the one that counts: what that release
    /// keeps in the backend may be less.
    pub(crate) fn end_replay(&mut self, old_store_counts: bool) {
        if let Some(replayed) = self.replayed.take().filter(|_| old_store_counts) {
            self.members = replayed;
            self.list();
        }
    }

    pub(crate) fn set_version(&mut self, batch: &mut impl Batch, version: Version) {
        self.version = Some(version);
        store::put_version(batch, version);
    }

    pub(crate) fn set_downgrade(&mut self, batch: &mut impl Batch, target: Option<Version>) {
        self.downgrade = target;
        store::put_downgrade(batch, target);
    }

    fn store(&self, batch: &mut impl Batch, id: MemberId) {
        let member = self.members.by_id.get(&id).expect("it was changed a moment ago");
        store::put_member(batch, member);
    }

    fn list(&mut self) {
        let ids = |learner: bool| {
            self.members.by_id.values().filter(move |member| member.is_learner == learner).map(|member| member.id)
        };
        (self.voters, self.learners) = (ids(false).collect(), ids(true).collect());
    }
}
