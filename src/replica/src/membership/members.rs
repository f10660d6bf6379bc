//! Who is a member, and which changes of that are valid: a value without a backend, so that a member that replays its
//! log can have a second one.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::{Error, Member};
use crate::{Bug, Bugs, MemberId};

use super::Change;

/// The members, and those that were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Members {
    pub(super) by_id: BTreeMap<MemberId, Member>,
    pub(super) removed: BTreeSet<MemberId>,
}

impl Members {
    /// `ValidateConfigurationChange`.
    ///
    /// # Errors
    /// Why the cluster, as it is here, does not take the change.
    pub(crate) fn validate(&self, change: &Change, learners_max: usize) -> Result<(), Error> {
        let id = change.member();
        if self.removed.contains(&id) {
            // etcd has its own error for this, which clients see as any other absent member.
            return Err(Error::MemberNotFound);
        }
        let known = self.by_id.get(&id);
        match change {
            Change::Promote(_) => match known {
                None => Err(Error::MemberNotFound),
                Some(member) if !member.is_learner => Err(Error::MemberNotLearner),
                Some(_) => Ok(()),
            },
            Change::Add(_) if known.is_some() => Err(Error::MemberExists),
            Change::Add(member) => {
                self.urls_are_free(member)?;
                let learners = self.by_id.values().filter(|member| member.is_learner).count();
                match member.is_learner && learners >= learners_max {
                    true => Err(Error::TooManyLearners),
                    false => Ok(()),
                }
            }
            Change::Remove(_) | Change::Update(_) if known.is_none() => Err(Error::MemberNotFound),
            Change::Update(member) => self.urls_are_free(member),
            // Raft cannot be without a voter. etcd lets this through and panics on every member, for ever.
            Change::Remove(_) if self.by_id.values().all(|member| member.is_learner || member.id == id) => {
                Err(Error::MemberNotEnoughStarted)
            }
            Change::Remove(_) => Ok(()),
        }
    }

    fn urls_are_free(&self, member: &Member) -> Result<(), Error> {
        let taken = self
            .by_id
            .values()
            .filter(|other| other.id != member.id)
            .any(|other| other.peer_urls.iter().any(|url| member.peer_urls.contains(url)));
        match taken {
            true => Err(Error::PeerUrlExists),
            false => Ok(()),
        }
    }

    /// Make a valid change.
    pub(super) fn apply(&mut self, change: &Change, bugs: Bugs) {
        match change {
            Change::Add(member) => {
                self.by_id.insert(member.id, member.clone());
            }
            Change::Promote(id) => {
                if let Some(member) = self.by_id.get_mut(id) {
                    member.is_learner = false;
                }
            }
            Change::Remove(id) => {
                self.by_id.remove(id);
                self.removed.insert(*id);
            }
            Change::Update(update) => {
                if let Some(member) = self.by_id.get_mut(&update.id) {
                    member.peer_urls.clone_from(&update.peer_urls);
                    if bugs.has(Bug::UpdatePromotesLearner) {
                        // The request says nothing about it, which reads as false.
                        member.is_learner = update.is_learner;
                    }
                }
            }
        }
    }

    pub(crate) fn voters(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values().filter(|member| !member.is_learner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEARNERS_MAX: usize = 1;

    fn member(id: u64, url: &str, is_learner: bool) -> Member {
        let peer_urls = if url.is_empty() { vec![] } else { vec![url.to_owned()] };
        Member { id: MemberId(id), name: String::new(), peer_urls, client_urls: vec![], is_learner }
    }

    /// Voters 1 and 2, learner 3, removed 4; the URL of a member is its id.
    fn cluster() -> Members {
        let mut members = Members::default();
        for id in 1..=4 {
            members.apply(&Change::Add(member(id, &id.to_string(), id == 3)), Bugs::NONE);
        }
        members.apply(&Change::Remove(MemberId(4)), Bugs::NONE);
        members
    }

    #[test]
    fn changes_are_valid_or_refused_in_etcds_words() {
        for (change, expect) in [
            (Change::Add(member(5, "5", false)), Ok(())),
            (Change::Add(member(5, "4", false)), Ok(())),
            (Change::Add(member(5, "1", false)), Err(Error::PeerUrlExists)),
            (Change::Add(member(5, "5", true)), Err(Error::TooManyLearners)),
            (Change::Add(member(1, "5", false)), Err(Error::MemberExists)),
            (Change::Add(member(4, "5", false)), Err(Error::MemberNotFound)),
            (Change::Promote(MemberId(3)), Ok(())),
            (Change::Promote(MemberId(1)), Err(Error::MemberNotLearner)),
            (Change::Promote(MemberId(9)), Err(Error::MemberNotFound)),
            (Change::Promote(MemberId(4)), Err(Error::MemberNotFound)),
            (Change::Remove(MemberId(1)), Ok(())),
            (Change::Remove(MemberId(3)), Ok(())),
            (Change::Remove(MemberId(9)), Err(Error::MemberNotFound)),
            (Change::Update(member(1, "1", false)), Ok(())),
            (Change::Update(member(1, "7", false)), Ok(())),
            (Change::Update(member(1, "2", false)), Err(Error::PeerUrlExists)),
            (Change::Update(member(9, "9", false)), Err(Error::MemberNotFound)),
        ] {
            assert_eq!(cluster().validate(&change, LEARNERS_MAX), expect, "{change:?}");
        }
    }

    #[test]
    fn the_last_voter_stays() {
        let mut members = cluster();
        members.apply(&Change::Remove(MemberId(1)), Bugs::NONE);
        let refused = members.validate(&Change::Remove(MemberId(2)), LEARNERS_MAX);
        assert_eq!(refused, Err(Error::MemberNotEnoughStarted));
        assert_eq!(members.validate(&Change::Remove(MemberId(3)), LEARNERS_MAX), Ok(()));
    }

    #[test]
    fn an_update_changes_peer_urls_and_nothing_else() {
        let mut members = cluster();
        members.by_id.get_mut(&MemberId(3)).unwrap().name = "three".into();
        let update = Change::Update(member(3, "33", false));
        members.apply(&update, Bugs::NONE);
        let found = &members.by_id[&MemberId(3)];
        assert_eq!((&found.peer_urls[0][..], found.is_learner, &found.name[..]), ("33", true, "three"));
        members.apply(&update, Bugs::NONE.with(Bug::UpdatePromotesLearner));
        assert!(!members.by_id[&MemberId(3)].is_learner);
    }

    /// The rules a second time, as sentences over lists, beside random histories.
    #[test]
    fn random_histories_agree_with_the_rules_written_down_naively() {
        let mut state = 3_u64;
        let mut below = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        for _ in 0..300 {
            let (mut members, mut naive) = (Members::default(), Vec::<(u64, Option<(String, bool)>)>::new());
            for _ in 0..40 {
                let (id, url, learner) = (1 + below(6), below(6).to_string(), below(2) == 0);
                let change = match below(4) {
                    0 => Change::Add(member(id, &url, learner)),
                    1 => Change::Promote(MemberId(id)),
                    2 => Change::Remove(MemberId(id)),
                    _ => Change::Update(member(id, &url, false)),
                };
                let place = naive.iter().position(|(other, _)| *other == id);
                let current = place.map(|place| naive[place].1.clone());
                let others = || naive.iter().filter(|(other, _)| *other != id).filter_map(|(_, one)| one.as_ref());
                let url_taken = others().any(|(other, _)| *other == url);
                let expect = match (&change, current) {
                    (_, Some(None)) => Err(Error::MemberNotFound),
                    (Change::Add(_), Some(_)) => Err(Error::MemberExists),
                    (Change::Add(_), None) if url_taken => Err(Error::PeerUrlExists),
                    (Change::Add(_), None) if learner && others().any(|(_, learner)| *learner) => {
                        Err(Error::TooManyLearners)
                    }
                    (Change::Add(_), None) => Ok(Some((url, learner))),
                    (_, None) => Err(Error::MemberNotFound),
                    (Change::Promote(_), Some(Some((_, false)))) => Err(Error::MemberNotLearner),
                    (Change::Promote(_), Some(Some((url, _)))) => Ok(Some((url, false))),
                    (Change::Update(_), _) if url_taken => Err(Error::PeerUrlExists),
                    (Change::Update(_), Some(Some((_, learner)))) => Ok(Some((url, learner))),
                    (Change::Remove(_), _) if others().all(|(_, learner)| *learner) => {
                        Err(Error::MemberNotEnoughStarted)
                    }
                    (Change::Remove(_), _) => Ok(None),
                };
                let found = members.validate(&change, LEARNERS_MAX);
                assert_eq!(found, expect.clone().map(|_| ()), "{change:?} on {members:?}");
                if let Ok(after) = expect {
                    members.apply(&change, Bugs::NONE);
                    match place {
                        Some(place) => naive[place].1 = after,
                        None => naive.push((id, after)),
                    }
                }
            }
            let alive: BTreeSet<u64> = naive.iter().filter(|(_, one)| one.is_some()).map(|(id, _)| *id).collect();
            assert_eq!(members.by_id.keys().map(|id| id.0).collect::<BTreeSet<_>>(), alive);
        }
    }
}
