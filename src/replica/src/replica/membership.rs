//! Membership as this member takes part in it: requests become configuration changes, entries change the cluster, the
//! member publishes itself, and the leader looks after the cluster's version.

use std::collections::BTreeMap;

use prost::Message as _;

use crate::api::{DowngradeRequest, Error, Request, ResponseBody};
use crate::membership::{decide, old, Activity, Change, Expected, Verdict, Version};
use crate::raftpb::ConfState;
use crate::time::{Monotonic, Span};
use crate::wire::message::entry::InternalRaftRequest;
use crate::wire::message::membership as message;
use crate::wire::{self, Command};
use crate::{api, Bug, Event, MemberId, Release, RequestId, Task};

use super::{Proposal, Replica};

/// A removed member goes on for so long: its log must hold what it has applied, and others may wait for its answers.
const REMOVED_STOP_DELAY: Span = Span::secs(1);

/// What a member knows beside the cluster's state. Nothing of it decides what an entry does.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers {
    /// Since when the others are there.
    pub(super) activity: Activity,
    /// The versions of the servers that were heard of.
    pub(super) versions: BTreeMap<MemberId, Version>,
    /// The last entry in which this member published itself, and whether one was applied.
    published: (u64, bool),
}

impl Peers {
    pub(super) fn new(now: Monotonic) -> Self {
        Self { activity: Activity::new(now), ..Self::default() }
    }
}

impl Replica {
    /// `AddMember`, `RemoveMember`, `UpdateMember`, `PromoteMember`: what the change must fulfil before it is proposed.
    /// Whether it is valid shows when it is applied.
    pub(super) fn propose_membership(&mut self, id: RequestId, request: Request) {
        let change = match request {
            Request::MemberAdd { id, peer_urls, is_learner } => {
                Change::Add(api::Member { id, peer_urls, is_learner, ..api::Member::default() })
            }
            Request::MemberPromote { id } => Change::Promote(id),
            Request::MemberRemove { id } => Change::Remove(id),
            Request::MemberUpdate { id, peer_urls } => {
                Change::Update(api::Member { id, peer_urls, ..api::Member::default() })
            }
            other => panic!("not a membership change: {other:?}"),
        };
        if let Change::Promote(learner) = &change {
            if let Err(error) = self.learner_ready(*learner) {
                return self.reply(id, Err(error));
            }
        }
        if self.config.strict_reconfig_check {
            let (own, bugs) = (self.config.member, self.config.bugs);
            let connected = |member| self.connected(member);
            if let Err(error) = self.membership.may_propose(&change, own, &connected, bugs) {
                return self.reply(id, Err(error));
            }
        }
        let entry = self.ids.next();
        self.propose(id, entry, Proposal::Configuration(change.encode(entry)));
    }

    /// Whether a member has been there for the health interval; `None` when it is not there now.
    fn connected(&self, member: MemberId) -> Option<bool> {
        let leads = self.raft.raft.state == raft::StateRole::Leader;
        let expected = match leads || member == self.leader {
            true => Expected::Within(self.election_timeout()),
            false => Expected::Nothing,
        };
        let since = self.peers.activity.since(self.now, member, expected)?;
        Some(self.now.since(since) > self.config.health_interval)
    }

    pub(super) fn election_timeout(&self) -> Span {
        Span(self.config.heartbeat_interval.0 * u64::from(self.config.election_ticks))
    }

    /// A learner may vote when it has nine tenths of the leader's log. Only the leader knows.
    fn learner_ready(&self, learner: MemberId) -> Result<(), Error> {
        let raft = &self.raft.raft;
        if raft.state != raft::StateRole::Leader {
            return Err(Error::NotLeader);
        }
        let matched = |member: u64| raft.prs().get(member).map(|progress| progress.matched);
        let learner = matched(learner.0).ok_or(Error::MemberNotFound)?;
        let leader = matched(raft.id).unwrap_or_default();
        match learner * 10 >= leader * 9 {
            true => Ok(()),
            false => Err(Error::LearnerNotReady),
        }
    }

    pub(super) fn member_list(&self) -> ResponseBody {
        ResponseBody::Members(self.membership.members().cloned().collect())
    }

    /// `applyConfChange`. Every member sees the same members at the same index, so all refuse the same changes.
    pub(super) fn apply_conf_change(&mut self, index: u64, data: &[u8], fresh: bool) {
        let (entry, change) = Change::decode(data).expect("a member proposes only what it has encoded");
        let waiter = self.proposed.remove(&entry);
        let (learners, bugs) = (self.config.max_learners, self.config.bugs);
        let verdict = match fresh {
            true => self.membership.apply(&mut self.backend, &change, learners, bugs),
            false => self.membership.replay(&change, learners, bugs),
        };
        if verdict == Verdict::Made {
            if let Some(conf_state) = self.tell_raft(&change) {
                if fresh {
                    self.backend.set_conf_state(&conf_state);
                }
            }
            self.event(Event::ConfigurationChanged {
                voters: self.membership.voters().to_vec(),
                learners: self.membership.learners().to_vec(),
            });
        }
        if let Some(id) = waiter {
            if !bugs.has(Bug::ConfrespBeforeAdvance) {
                // Raft takes no other change before it knows that this one is applied (etcd#15528).
                self.raft_applied(index);
                self.after_raft();
            }
            match verdict {
                Verdict::Refused(error) => self.reply(id, Err(error)),
                Verdict::Made | Verdict::Known => {
                    let body = self.member_list();
                    self.reply_body(id, body);
                }
            }
        }
        let refused = matches!(verdict, Verdict::Refused(_));
        if !refused && change == Change::Remove(self.config.member) {
            self.out.wake(Task::Stop, REMOVED_STOP_DELAY);
        }
    }

    fn tell_raft(&mut self, change: &Change) -> Option<ConfState> {
        let told = change.for_raft()?;
        let Ok(conf_state) = self.raft.apply_conf_change(&told) else {
            panic!("Raft refuses a change that the membership has taken: {change:?}")
        };
        let raft = &mut self.raft.raft;
        if raft.state == raft::StateRole::Leader && raft.prs().get(raft.id).is_none() {
            // etcd's leads on until it stops, a second later. raft-rs cannot commit as a leader that is no member.
            let term = raft.term;
            raft.become_follower(term, raft::INVALID_ID);
        }
        self.after_raft();
        Some(conf_state)
    }

    /// What entries say about the cluster beside configuration changes (`applierMembership`). Says whether the
    /// backend's lock was taken.
    pub(super) fn apply_cluster(&mut self, entry: u64, command: Command) -> bool {
        let before = self.backend.pending();
        let waiter = self.proposed.remove(&entry);
        match command {
            Command::ClusterVersionSet(set) => {
                let version = Version::parse(&set.ver);
                self.apply_cluster_version(version.expect("members propose only versions"));
            }
            Command::ClusterMemberAttrSet(set) => {
                let attributes = set.member_attributes.unwrap_or_default();
                self.apply_published(entry, MemberId(set.member_id), &attributes.name, &attributes.client_urls);
            }
            Command::DowngradeInfoSet(set) => {
                let target = set.enabled.then(|| Version::parse(&set.ver).expect("members propose only versions"));
                self.membership.set_downgrade(&mut self.backend, target);
            }
            Command::Old(request) => self.apply_old(entry, &request),
            _ => {}
        }
        if let Some(id) = waiter {
            let version = self.membership.version().map(Version::short).unwrap_or_default();
            self.reply_body(id, ResponseBody::Downgrade { version });
        }
        self.backend.pending() != before
    }

    fn apply_cluster_version(&mut self, version: Version) {
        self.membership.set_version(&mut self.backend, version);
        if self.config.version().cluster() < version {
            self.exit("invalid downgrade; server version is lower than determined cluster version");
        }
    }

    fn apply_published(&mut self, entry: u64, member: MemberId, name: &str, client_urls: &[String]) {
        self.membership.publish(&mut self.backend, member, name, client_urls);
        if member == self.config.member && entry == self.peers.published.0 {
            self.peers.published.1 = true;
        }
    }

    /// How members up to 3.5 publish themselves, and set the cluster's version. Nothing else of the old API is left.
    fn apply_old(&mut self, entry: u64, request: &wire::message::entry::Request) {
        if request.method != "PUT" {
            return;
        }
        if request.path == old::VERSION_PATH {
            let version = Version::parse(&request.val);
            return self.apply_cluster_version(version.expect("members propose only versions"));
        }
        if let Some((id, name, client_urls)) = old::parse_attributes(&request.path, &request.val) {
            self.apply_published(entry, id, &name, &client_urls);
        }
    }

    /// An entry that the backend has already, for the members as they were then.
    pub(super) fn replay_cluster(&mut self, command: Command) {
        let published = match command {
            Command::ClusterMemberAttrSet(set) => {
                let attributes = set.member_attributes.unwrap_or_default();
                Some((MemberId(set.member_id), attributes.name, attributes.client_urls))
            }
            Command::Old(request) => old::parse_attributes(&request.path, &request.val),
            _ => None,
        };
        if let Some((id, name, client_urls)) = published {
            self.membership.replay_publish(id, &name, &client_urls);
        }
    }

    // ---- What a member proposes by itself.

    pub(super) fn must_publish(&self) -> bool {
        self.config.publish && !self.peers.published.1
    }

    /// `publishV3`: until an entry with this member's name and client URLs is applied, one is proposed again and again.
    pub(super) fn publish_run(&mut self) {
        if !self.must_publish() {
            return;
        }
        self.out.wake(Task::Publish, self.config.request_timeout);
        if self.leader == MemberId::NONE {
            return;
        }
        let address = self.config.address(self.config.member);
        let (member_id, client_urls) = (self.config.member.0, address.client_urls);
        self.peers.published.0 = if self.speaks_old() {
            let (path, val) = old::attributes(self.config.member, address.name, client_urls);
            self.propose_old(path, val)
        } else {
            let attributes = message::Attributes { name: address.name, client_urls };
            let set = message::ClusterMemberAttrSetRequest { member_id, member_attributes: Some(attributes) };
            let cluster_member_attr_set = Some(Box::new(set));
            self.propose_unawaited(InternalRaftRequest { cluster_member_attr_set, ..InternalRaftRequest::default() })
        };
    }

    /// Servers before 3.6 understand the commands that say it anew, but do not use them yet.
    pub(super) fn speaks_old(&self) -> bool {
        self.config.release.speaks_old_api()
    }

    fn propose_old(&mut self, path: String, val: String) -> u64 {
        let id = self.ids.next();
        let request = wire::message::entry::Request { id, method: "PUT".into(), path, val, ..Default::default() };
        self.enqueue(id, Proposal::Entry(request.encode_to_vec().into()));
        id
    }

    /// `monitorClusterVersions`: after the first commit of a term, and now and then.
    pub(super) fn cluster_version_run(&mut self) {
        if self.config.monitor_version_interval == Span::ZERO {
            return;
        }
        self.out.wake(Task::ClusterVersion, self.config.monitor_version_interval);
        if self.leader != self.config.member {
            return;
        }
        let (now, target) = (self.membership.version(), self.membership.downgrade());
        if let Some(next) = decide(now, self.lowest_version(), target) {
            if self.speaks_old() {
                self.propose_old(old::VERSION_PATH.into(), next.to_string());
                return;
            }
            let set = message::ClusterVersionSetRequest { ver: next.to_string() };
            self.propose_unawaited(InternalRaftRequest {
                cluster_version_set: Some(Box::new(set)),
                ..InternalRaftRequest::default()
            });
        }
    }

    /// `monitorDowngrade`: the leader ends a downgrade when all servers have come down.
    pub(super) fn downgrade_run(&mut self) {
        if self.config.downgrade_check_interval == Span::ZERO {
            return;
        }
        self.out.wake(Task::Downgrade, self.config.downgrade_check_interval);
        let Some(target) = self.membership.downgrade().filter(|_| self.leader == self.config.member) else { return };
        let arrived =
            self.membership.members().all(|member| self.version_of(member.id).map(Version::cluster) == Some(target));
        if arrived {
            self.propose_downgrade(None);
        }
    }

    /// `membersMinimalServerVersion`: `None` while some member's version is not known.
    fn lowest_version(&self) -> Option<Version> {
        let mut lowest = None::<Version>;
        for member in self.membership.members() {
            let version = self.version_of(member.id)?;
            lowest = Some(lowest.map_or(version, |lowest| lowest.min(version)));
        }
        lowest
    }

    /// etcd asks each member over HTTP; here every message says what its sender is, as the headers of rafthttp do.
    fn version_of(&self, member: MemberId) -> Option<Version> {
        match member == self.config.member {
            true => Some(self.config.version()),
            false => self.peers.versions.get(&member).copied(),
        }
    }

    fn propose_downgrade(&mut self, target: Option<Version>) -> u64 {
        let ver = target.map(|target| target.to_string()).unwrap_or_default();
        let set = message::DowngradeInfoSetRequest { enabled: target.is_some(), ver };
        self.propose_unawaited(InternalRaftRequest {
            downgrade_info_set: Some(Box::new(set)),
            ..InternalRaftRequest::default()
        })
    }

    // ---- Downgrades.

    /// `Downgrade`: the first look; the second is after a read index.
    pub(super) fn check_downgrade(&self, request: &DowngradeRequest) -> Result<(), Error> {
        let (DowngradeRequest::Validate(text) | DowngradeRequest::Enable(text)) = request else { return Ok(()) };
        Version::parse_cluster(text).ok_or(Error::WrongDowngradeVersionFormat)?;
        match self.membership.version() {
            None => Err(Error::ClusterVersionUnavailable),
            Some(_) => Ok(()),
        }
    }

    pub(super) fn downgrade(&mut self, id: RequestId, request: &DowngradeRequest) {
        let version = self.membership.version().unwrap_or(Version::MIN_CLUSTER);
        let shown = match self.config.release {
            Release::V3_4 | Release::V3_5 => version.to_string(),
            Release::V3_6 | Release::Main => version.short(),
        };
        let answer = ResponseBody::Downgrade { version: shown };
        let target = match request {
            // Since 3.6 etcd answers well, whether or not there was a downgrade to give up.
            DowngradeRequest::Cancel if self.membership.downgrade().is_none() => match self.config.release {
                Release::V3_4 | Release::V3_5 => return self.reply(id, Err(Error::NoInflightDowngrade)),
                Release::V3_6 | Release::Main => return self.reply_body(id, answer),
            },
            DowngradeRequest::Cancel => None,
            DowngradeRequest::Validate(text) | DowngradeRequest::Enable(text) => {
                let target = Version::parse_cluster(text);
                if version.downgrade() != target {
                    return self.reply(id, Err(Error::InvalidDowngradeTargetVersion));
                }
                if self.membership.downgrade().is_some() {
                    return self.reply(id, Err(Error::DowngradeInProcess));
                }
                target
            }
        };
        if matches!(request, DowngradeRequest::Validate(_)) {
            return self.reply_body(id, answer);
        }
        let entry = self.propose_downgrade(target);
        self.wait_for(id, entry);
    }
}
