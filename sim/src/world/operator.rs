//! The operator: puts a new member in the place of one whose disk is gone, as etcd's guide says: remove it first, then
//! add the new one, then start it with an empty disk. And adds those that join a former member, or one that was forced
//! to be a cluster of its own.
//!
//! The operator asks any member that runs, the leader first, and asks again when nothing has come of it. That it has is
//! seen in the cluster's configuration, as of the newest entry applied anywhere.

use std::collections::BTreeSet;

use detcd_replica::api::Request;
use detcd_replica::{Address, Input, MemberId, RequestId, Role};

use super::faults::RESTART_AFTER;
use super::node::Down;
use super::{Happening, World};

/// How often the operator looks.
const LOOKS: u64 = 100_000_000;
/// How long nothing may come of a request before the operator asks again.
const PATIENCE: u64 = 2_000_000_000;

/// What the operator is at.
#[derive(Default)]
pub(super) struct Operator {
    jobs: Vec<Job>,
    /// Requests whose answers are for the operator.
    asked: BTreeSet<(usize, RequestId)>,
    /// The newest configuration seen: the index it was applied at, and every member.
    configuration: (u64, Vec<MemberId>),
}

/// One member that comes, often in the place of another.
struct Job {
    gone: Option<MemberId>,
    /// The new member, once it was asked for.
    guest: Option<MemberId>,
    /// When to ask again.
    asks_at: u64,
}

impl World<'_> {
    /// Begin to replace a member.
    pub(super) fn replace(&mut self, node: usize) {
        let gone = self.nodes[node].config.member;
        if self.nodes[node].down != Down::Refused || self.operator.jobs.iter().any(|job| job.gone == Some(gone)) {
            return;
        }
        self.trace_note(node, "the operator replaces it");
        self.take_on(Job { gone: Some(gone), guest: None, asks_at: 0 });
    }

    /// Begin to add the member at a place. The first one is there.
    pub(crate) fn recruit(&mut self, place: usize) {
        if place > 0 {
            self.trace_note(place, "the operator adds it");
            self.take_on(Job { gone: None, guest: Some(self.names.id(place)), asks_at: 0 });
        }
    }

    /// A member has booted. Where the first one is forced to be a cluster of its own, it is so as long as it is alone,
    /// and the others join it when it has come back once.
    pub(super) fn join_the_forced(&mut self, node: usize) {
        let alone = |world: &Self| world.operator.jobs.is_empty() && node == 0 && world.scenario.cluster.forced;
        if alone(self) && self.nodes[node].incarnation > 1 {
            (1..self.scenario.cluster.members as usize).for_each(|place| self.recruit(place));
        }
        self.nodes[node].config.force_new_cluster = alone(self);
    }

    fn take_on(&mut self, job: Job) {
        self.operator.jobs.push(job);
        // Who is joined is alone no more.
        self.nodes[0].config.force_new_cluster = false;
        self.queue.push(self.now, Happening::Operator { job: self.operator.jobs.len() - 1 });
    }

    /// Why the member at a place is no member yet that has all that its leader has; `None` when it is.
    pub(crate) fn not_joined(&self, place: usize) -> Option<String> {
        let id = self.names.id(place);
        let Some(replica) = &self.nodes[place].replica else { return Some(format!("{id} is down")) };
        let leads = |node: &&super::Node| node.replica.as_ref().is_some_and(|other| other.view().role == Role::Leader);
        let Some(leader) = self.nodes.iter().find(leads).and_then(|node| node.replica.as_ref()) else {
            return Some("nobody leads".to_owned());
        };
        let (have, all) = (replica.view(), leader.view());
        if !all.voters.contains(&id) {
            return Some(format!("{id} is no voter"));
        }
        let behind = have.applied < all.applied || all.applied < all.commit;
        behind.then(|| format!("{id} has applied {} of {} entries", have.applied, all.commit))
    }

    /// The operator looks how far a replacement has come, and does what is next.
    pub(super) fn operate(&mut self, job: usize) {
        let Job { gone, guest, asks_at } = self.operator.jobs[job];
        let member = |member: &MemberId| self.operator.configuration.1.contains(member);
        let request = match guest {
            _ if gone.as_ref().is_some_and(member) => Request::MemberRemove { id: gone.expect("it is a member") },
            Some(guest) if member(&guest) => return,
            _ => {
                let guest = guest.unwrap_or_else(|| self.invite(job));
                Request::MemberAdd { id: guest, peer_urls: Address::of(guest).peer_urls, is_learner: false }
            }
        };
        if self.now >= asks_at {
            if let Some(node) = self.spokesman() {
                self.operator.jobs[job].asks_at = self.now + PATIENCE;
                self.nodes[node].next_request += 1;
                let id = RequestId(self.nodes[node].next_request);
                self.operator.asked.insert((node, id));
                let credential = self.setup.credential();
                self.step(node, Input::Request { id, credential, request });
            }
        }
        self.queue.push(self.now + LOOKS, Happening::Operator { job });
    }

    /// A place for the new member.
    fn invite(&mut self, job: usize) -> MemberId {
        let guest = self.names.id(self.nodes.len());
        self.make_room(self.nodes.len());
        self.operator.jobs[job].guest = Some(guest);
        guest
    }

    /// Whom to ask.
    fn spokesman(&self) -> Option<usize> {
        let awake = |node: &usize| self.nodes[*node].is_up() && !self.nodes[*node].paused;
        let leads = |node: &usize| {
            self.nodes[*node].replica.as_ref().is_some_and(|replica| replica.view().role == Role::Leader)
        };
        let mut awake = (0..self.nodes.len()).filter(awake);
        awake.clone().find(leads).or_else(|| awake.next())
    }

    /// An answer to the operator, who does not need it. Everybody else's answers have an owner.
    pub(super) fn operator_hears(&mut self, node: usize, id: RequestId) {
        assert!(self.operator.asked.remove(&(node, id)), "a member answers each request once");
    }

    /// A member has applied a change of the configuration. Who is new in it starts with an empty disk; who is not in it
    /// any more, and down, stays down.
    pub(super) fn configured(&mut self, node: usize) {
        let Some(replica) = &self.nodes[node].replica else { return };
        let view = replica.view();
        // A member that boots goes through old configurations again.
        if view.applied <= self.operator.configuration.0 {
            return;
        }
        // Members of a former cluster that are not here are about to be removed.
        let here = |member: &MemberId| self.names.place(*member).is_some();
        let members: Vec<MemberId> = view.voters.iter().chain(view.learners).copied().filter(here).collect();
        let before = std::mem::replace(&mut self.operator.configuration, (view.applied, members.clone())).1;
        let places: Vec<usize> = members.into_iter().filter_map(|member| self.place(member)).collect();
        for node in places {
            self.make_room(node);
            if self.nodes[node].down == Down::Absent && !self.scenario.membership.ghosts {
                self.nodes[node].down = Down::Crashed;
                self.queue.push(self.now + RESTART_AFTER, Happening::Restart { node });
            }
        }
        for member in before.into_iter().filter(|member| !self.operator.configuration.1.contains(member)) {
            let node = self.place(member).filter(|node| !self.nodes[*node].is_up());
            if let Some(node) = node {
                self.nodes[node].down = Down::Removed;
            }
        }
    }

    /// Whether the newest configuration is known, and a member is not in it.
    pub(super) fn is_removed(&self, member: MemberId) -> bool {
        let members = &self.operator.configuration.1;
        !members.is_empty() && !members.contains(&member)
    }

    /// Why a replacement is not done, if one is under way.
    pub(super) fn operator_pending(&self) -> Option<String> {
        let configured = |member: &MemberId| self.operator.configuration.1.contains(member);
        let done =
            |job: &Job| !job.gone.as_ref().is_some_and(configured) && job.guest.is_some_and(|guest| configured(&guest));
        let job = self.operator.jobs.iter().find(|job| !done(job))?;
        Some(match (job.gone, job.guest) {
            (Some(gone), _) => format!("{gone} is being replaced"),
            (None, guest) => format!("{} is being added", guest.unwrap_or_default()),
        })
    }

    /// Whether disks have failed or are refused on so many members that the rest is no quorum.
    pub(crate) fn beyond_repair(&self) -> bool {
        let members = match &self.operator.configuration.1[..] {
            [] => (0..self.scenario.cluster.members as usize).map(|place| self.names.id(place)).collect(),
            members => members.to_vec(),
        };
        let lost = |member: &&MemberId| self.place(**member).is_some_and(|node| self.nodes[node].down == Down::Refused);
        let lost = members.iter().filter(lost).count();
        lost * 2 >= members.len()
    }
}
