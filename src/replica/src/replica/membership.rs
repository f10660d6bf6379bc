//! Who is a member: kept in the backend, as a function of the applied index, and given to Raft entry by entry.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::api::{Error, Request, ResponseBody};
use crate::backend::Backend;
use crate::mvcc::Bucket;
use crate::raftpb::{ConfChange, ConfChangeType, ConfState};
use crate::{Event, MemberId};

use super::Replica;

/// Learners that a cluster may have at once (`--max-learners`).
const LEARNERS_MAX: usize = 1;

/// The members, and those that were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Membership {
    voters: Vec<MemberId>,
    learners: Vec<MemberId>,
    removed: BTreeSet<MemberId>,
}

impl Membership {
    pub(super) fn voters(&self) -> &[MemberId] {
        &self.voters
    }

    pub(super) fn learners(&self) -> &[MemberId] {
        &self.learners
    }

    pub(super) fn is_removed(&self, member: MemberId) -> bool {
        self.removed.contains(&member)
    }

    fn has(&self, member: MemberId) -> bool {
        self.voters.contains(&member) || self.learners.contains(&member)
    }

    /// Whether a change is one that the cluster, as it is here, would take.
    pub(super) fn check(&self, request: &Request) -> Result<(), Error> {
        match request {
            Request::MemberAdd { id, .. } if self.has(*id) || self.is_removed(*id) => Err(Error::MemberExists),
            Request::MemberAdd { is_learner: true, .. } if self.learners.len() >= LEARNERS_MAX => {
                Err(Error::TooManyLearners)
            }
            Request::MemberRemove { id } if !self.has(*id) => Err(Error::MemberNotFound),
            Request::MemberRemove { id } if self.voters == [*id] => Err(Error::UnhealthyCluster),
            Request::MemberPromote { id } if !self.has(*id) => Err(Error::MemberNotFound),
            Request::MemberPromote { id } if !self.learners.contains(id) => Err(Error::MemberNotLearner),
            _ => Ok(()),
        }
    }

    fn change(&mut self, change: &ConfChange) {
        let member = MemberId(change.node_id);
        self.voters.retain(|other| *other != member);
        self.learners.retain(|other| *other != member);
        match change.change_type {
            ConfChangeType::AddNode => insert(&mut self.voters, member),
            ConfChangeType::AddLearnerNode => insert(&mut self.learners, member),
            ConfChangeType::RemoveNode => {
                self.removed.insert(member);
            }
        }
    }

    /// Read the members out of the backend.
    pub(super) fn restore(backend: &Backend) -> Result<Self, String> {
        let mut membership = Self::default();
        let mut broken = None;
        backend.for_each(Bucket::Members, b"", None, &mut |key, value| {
            match parse_key(key) {
                Some(member) if value.windows(16).any(|part| part == b"\"isLearner\":true") => {
                    insert(&mut membership.learners, member);
                }
                Some(member) => insert(&mut membership.voters, member),
                None => broken = Some(format!("bucket members holds the key {key:?}")),
            }
            true
        });
        backend.for_each(Bucket::MembersRemoved, b"", None, &mut |key, _| {
            match parse_key(key) {
                Some(member) => {
                    membership.removed.insert(member);
                }
                None => broken = Some(format!("bucket members_removed holds the key {key:?}")),
            }
            true
        });
        broken.map_or(Ok(membership), Err)
    }
}

fn insert(list: &mut Vec<MemberId>, member: MemberId) {
    if let Err(place) = list.binary_search(&member) {
        list.insert(place, member);
    }
}

/// etcd's key of a member: its id in hex.
fn key_of(member: MemberId) -> Bytes {
    format!("{:x}", member.0).into_bytes().into()
}

fn parse_key(key: &[u8]) -> Option<MemberId> {
    let text = std::str::from_utf8(key).ok()?;
    u64::from_str_radix(text, 16).ok().map(MemberId)
}

impl Replica {
    /// `applyConfChange`. Every member sees the same members at the same index, so all refuse the same changes.
    pub(super) fn apply_conf_change(&mut self, data: &[u8], fresh: bool) {
        let change: ConfChange =
            protobuf::Message::parse_from_bytes(data).expect("a member proposes only what it has encoded");
        let waiter = self.proposed.remove(&change.id);
        if fresh {
            if let Err(error) = self.membership.check(&request_of(&change)) {
                // Bootstrap entries name members that every member has from the start; nobody waits for them.
                if let Some(id) = waiter {
                    self.reply(id, Err(error));
                }
                if change.id != 0 {
                    return;
                }
            }
        }
        let Ok(conf_state) = self.raft.apply_conf_change(&change) else {
            panic!("Raft refuses a change that the membership has taken: {change:?}")
        };
        self.after_raft();
        if fresh {
            self.membership.change(&change);
            self.store_member(&change, &conf_state);
        }
        self.event(Event::ConfigurationChanged {
            voters: self.membership.voters.clone(),
            learners: self.membership.learners.clone(),
        });
        if let Some(id) = waiter {
            let body = ResponseBody::Members {
                voters: self.membership.voters.clone(),
                learners: self.membership.learners.clone(),
            };
            self.reply_body(id, body);
        }
        let removed = change.change_type == ConfChangeType::RemoveNode && change.node_id == self.config.member.0;
        if removed && fresh {
            self.exit("the member has been permanently removed from the cluster");
        }
    }

    fn store_member(&mut self, change: &ConfChange, conf_state: &ConfState) {
        let member = MemberId(change.node_id);
        let key = key_of(member);
        match change.change_type {
            ConfChangeType::RemoveNode => {
                self.backend.delete(Bucket::Members, &key);
                self.backend.put(Bucket::MembersRemoved, key, Bytes::from_static(b"removed"));
            }
            kind => {
                let learner = match kind == ConfChangeType::AddLearnerNode {
                    true => ",\"isLearner\":true",
                    false => "",
                };
                let (id, name) = (member.0, member);
                let json =
                    format!("{{\"id\":{id},\"peerURLs\":[\"http://{name}:2380\"]{learner},\"name\":\"{name}\"}}");
                self.backend.put(Bucket::Members, key, json.into_bytes().into());
            }
        }
        self.backend.set_conf_state(conf_state);
    }
}

/// The request that a change came from.
fn request_of(change: &ConfChange) -> Request {
    let id = MemberId(change.node_id);
    match change.change_type {
        ConfChangeType::AddNode if &change.context[..] == b"promote" => Request::MemberPromote { id },
        ConfChangeType::AddNode => Request::MemberAdd { id, is_learner: false },
        ConfChangeType::AddLearnerNode => Request::MemberAdd { id, is_learner: true },
        ConfChangeType::RemoveNode => Request::MemberRemove { id },
    }
}
