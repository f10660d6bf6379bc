//! Membership through whole members.

use super::*;
use crate::api::{DowngradeRequest, Member, PutRequest, ResponseBody};
use crate::membership::Version;
use crate::{Address, Bug};

fn add(id: u64, is_learner: bool) -> Request {
    Request::MemberAdd { id: MemberId(id), peer_urls: Address::of(MemberId(id)).peer_urls, is_learner }
}

fn members(response: Result<Response>) -> Result<Vec<Member>> {
    response.map(|response| match response.body {
        ResponseBody::Members(members) => members,
        other => panic!("no list of members: {other:?}"),
    })
}

fn list(world: &mut World, node: u64) -> Vec<Member> {
    members(world.ask(node, Request::MemberList { linearizable: true })).unwrap()
}

/// Members' ids, a learner's negative.
fn ids(members: &[Member]) -> Vec<i64> {
    members.iter().map(|member| member.id.0 as i64 * if member.is_learner { -1 } else { 1 }).collect()
}

#[test]
fn founders_publish_themselves_and_agree_on_a_version() {
    let mut world = World::new(3, Bugs::NONE);
    for node in 1..=3 {
        let members = list(&mut world, node);
        for (id, member) in (1..).zip(&members) {
            let Address { name, peer_urls, client_urls } = Address::of(MemberId(id));
            assert_eq!(*member, Member { id: MemberId(id), name, peer_urls, client_urls, is_learner: false });
        }
        assert_eq!(members.len(), 3);
        assert_eq!(world.replica(node).membership.version(), Some(Version::release(3, 6)));
    }
    world.assert_equal();
}

#[test]
fn a_learner_joins_is_promoted_and_is_removed() {
    let mut world = World::new(3, Bugs::NONE);
    let leader = world.leader();
    assert_eq!(members(world.ask(leader, Request::MemberPromote { id: MemberId(4) })), Err(Error::MemberNotFound));
    assert_eq!(members(world.ask(leader, add(4, true))).map(|list| ids(&list)), Ok(vec![1, 2, 3, -4]));
    assert_eq!(members(world.ask(leader, add(5, true))), Err(Error::TooManyLearners));
    assert_eq!(members(world.ask(leader, Request::MemberPromote { id: MemberId(4) })), Err(Error::LearnerNotReady));
    world.boot(4);
    world.run(Span::secs(12));
    assert_eq!(list(&mut world, 1)[3].name, "n4");
    let promoted = members(world.ask(leader, Request::MemberPromote { id: MemberId(4) }));
    assert_eq!(promoted.map(|list| ids(&list)), Ok(vec![1, 2, 3, 4]));
    assert_eq!(members(world.ask(leader, Request::MemberPromote { id: MemberId(4) })), Err(Error::MemberNotLearner));
    let elsewhere = vec!["http://elsewhere:2380".to_owned()];
    let update = Request::MemberUpdate { id: MemberId(4), peer_urls: elsewhere.clone() };
    assert_eq!(members(world.ask(2, update)).unwrap()[3].peer_urls, elsewhere);
    world.run(Span::secs(1));
    world.assert_equal();
    let removed = members(world.ask(leader, Request::MemberRemove { id: MemberId(4) }));
    assert_eq!(removed.map(|list| ids(&list)), Ok(vec![1, 2, 3]));
    assert_eq!(members(world.ask(leader, add(4, false))), Err(Error::MemberNotFound));
    let taken = Request::MemberAdd { id: MemberId(6), peer_urls: Address::of(MemberId(1)).peer_urls, is_learner: true };
    assert_eq!(members(world.ask(leader, taken)), Err(Error::PeerUrlExists));
}

#[test]
fn a_restart_finds_the_members_and_raft_has_them_too() {
    let mut world = World::new(3, Bugs::NONE);
    let leader = world.leader();
    members(world.ask(leader, add(4, true))).unwrap();
    // Refused when it was applied: a replay must not give it to Raft.
    assert_eq!(members(world.ask(leader, add(5, true))), Err(Error::TooManyLearners));
    world.boot(4);
    world.run(Span::secs(12));
    members(world.ask(leader, Request::MemberPromote { id: MemberId(4) })).unwrap();
    world.run(Span::secs(1));
    for node in 1..=4 {
        world.restart(node);
        world.run(Span::secs(6));
        let replica = world.replica(node);
        let conf = replica.raft.raft.prs().conf().to_conf_state();
        let voters: BTreeSet<u64> = conf.voters.into_iter().collect();
        assert_eq!(voters, BTreeSet::from([1, 2, 3, 4]));
        assert!(conf.learners.is_empty());
        assert_eq!(replica.membership.voters(), [1, 2, 3, 4].map(MemberId));
    }
    world.assert_equal();
}

#[test]
fn a_replay_judged_by_the_present_loses_members() {
    let mut world = World::new(3, Bugs::NONE.with(Bug::ConfchangeValidatedOnReplay));
    let leader = world.leader();
    members(world.ask(leader, add(4, true))).unwrap();
    world.run(Span::secs(1));
    let node = 1 + leader % 3;
    world.restart(node);
    world.run(Span::millis(10));
    let replica = world.replica(node);
    assert_eq!(replica.membership.learners(), [MemberId(4)]);
    assert!(replica.raft.raft.prs().conf().to_conf_state().learners.is_empty());
}

#[test]
fn the_quorum_is_not_risked() {
    let mut world = World::new(3, Bugs::NONE);
    let leader = world.leader();
    let down = 1 + leader % 3;
    world.stop(down);
    world.run(Span::secs(2));
    assert_eq!(members(world.ask(leader, add(4, false))), Err(Error::UnhealthyCluster));
    // The one that is down may go, the one that is left may not.
    let other = 1 + (leader + 1) % 3;
    assert_eq!(members(world.ask(leader, Request::MemberRemove { id: MemberId(other) })), Err(Error::UnhealthyCluster));
    let removed = members(world.ask(leader, Request::MemberRemove { id: MemberId(down) }));
    assert_eq!(removed.map(|list| list.len()), Ok(2));
    // A member that has not said its name does not count.
    members(world.ask(leader, add(4, false))).unwrap();
    assert_eq!(members(world.ask(leader, add(5, false))), Err(Error::MemberNotEnoughStarted));
}

#[test]
fn a_removed_member_ends_and_does_not_come_back() {
    for (bugs, forgotten) in [(Bugs::NONE, false), (Bugs::NONE.with(Bug::RemovedRejoins), true)] {
        let mut world = World::new(3, bugs);
        let leader = world.leader();
        let removed = 1 + leader % 3;
        members(world.ask(leader, Request::MemberRemove { id: MemberId(removed) })).unwrap();
        world.run(Span::secs(2));
        assert_eq!(world.nodes[&removed].exit, Some("the member has been permanently removed from the cluster"));
        world.restart(leader);
        world.run(Span::secs(1));
        assert_eq!(world.replica(leader).membership.is_removed(MemberId(removed)), !forgotten);
    }
}

#[test]
fn a_change_is_answered_when_the_next_one_can_come() {
    let mut world = World::new(1, Bugs::NONE);
    for id in 2..20 {
        members(world.ask(1, add(id, true))).unwrap();
        // At once, whatever else goes on.
        let noise = world.send(1, Credential::None, Request::Put(PutRequest::of("k", "v")));
        let removal = members(world.ask(1, Request::MemberRemove { id: MemberId(id) }));
        assert_eq!(removal.map(|list| ids(&list)), Ok(vec![1]));
        assert!(matches!(world.replies.remove(&noise), Some(Ok(_))));
    }
}

#[test]
fn a_downgrade_lowers_the_version_and_ends_by_itself() {
    let mut world = World::new(3, Bugs::NONE);
    let downgrade = |world: &mut World, request| {
        world.ask(2, Request::Downgrade(request)).map(|response| match response.body {
            ResponseBody::Downgrade { version } => version,
            other => panic!("{other:?}"),
        })
    };
    let enable = |version: &str| DowngradeRequest::Enable(version.into());
    let validate = |version: &str| DowngradeRequest::Validate(version.into());
    for (request, expect) in [
        (validate("x"), Err(Error::WrongDowngradeVersionFormat)),
        (validate("3.4"), Err(Error::InvalidDowngradeTargetVersion)),
        (validate("3.5"), Ok("3.6")),
        (DowngradeRequest::Cancel, Ok("3.6")),
        (enable("3.5.0"), Ok("3.6")),
        (enable("3.5"), Err(Error::DowngradeInProcess)),
    ] {
        assert_eq!(downgrade(&mut world, request.clone()), expect.map(str::to_owned), "{request:?}");
    }
    world.run(Span::secs(10));
    for node in 1..=3 {
        assert_eq!(world.replica(node).membership.version(), Some(Version::release(3, 5)));
        assert_eq!(world.replica(node).membership.downgrade(), Some(Version::release(3, 5)));
    }
    // Given up, the cluster rises again.
    assert_eq!(downgrade(&mut world, DowngradeRequest::Cancel), Ok("3.5".to_owned()));
    world.run(Span::secs(10));
    assert_eq!(world.replica(1).membership.version(), Some(Version::release(3, 6)));
    assert_eq!(world.replica(1).membership.downgrade(), None);
}
