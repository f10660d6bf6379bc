//! Members whose data are not the same, and who finds that out; and history that is compacted without being asked for.

use bytes::Bytes;

use crate::api::{Alarm, AlarmMember, CompactRequest, Error, KeyRange, PutRequest, RangeRequest, Request, Revision};
use crate::mvcc::Bucket;
use crate::time::Span;
use crate::{AutoCompaction, Bugs, MemberId};

use super::World;

impl World {
    /// So many puts, one revision each.
    fn puts(&mut self, count: u64) {
        for number in 0..count {
            let leader = self.leader();
            self.ask(leader, Request::Put(PutRequest::of(format!("key{}", number % 3), "v"))).expect("it is put");
        }
    }

    /// What a member holds at a revision is something else from now on.
    fn damage(&mut self, id: u64, revision: Revision) {
        let backend = &mut self.nodes.get_mut(&id).unwrap().replica.as_mut().unwrap().backend;
        let key = Bytes::from([&revision.to_be_bytes()[..], b"_", &0_i64.to_be_bytes()].concat());
        let value = backend.get(Bucket::Key, &key).expect("there is such a revision");
        let mut value = value.to_vec();
        *value.last_mut().expect("it is not empty") ^= 1;
        backend.put(Bucket::Key, key, value.into());
    }

    fn accused(&self) -> Vec<u64> {
        let views: Vec<_> = self.nodes.keys().map(|id| self.replica(*id).view()).collect();
        assert!(views.iter().all(|view| view.alarms == views[0].alarms), "all know the same alarms");
        let corrupt = views[0].alarms.iter().filter(|alarm| alarm.alarm == Alarm::Corrupt);
        corrupt.map(|AlarmMember { member, .. }| member.0).collect()
    }

    fn follower(&self) -> u64 {
        let leader = self.leader();
        *self.nodes.keys().find(|id| **id != leader).expect("there are several")
    }

    fn compact_revisions(&self) -> Vec<Revision> {
        self.nodes.keys().map(|id| self.replica(*id).view().compact_revision).collect()
    }
}

#[test]
fn the_leader_finds_the_member_that_differs_and_nothing_is_written_any_more() {
    let mut world = World::tuned(3, Bugs::NONE, |config| config.corrupt_check_time = Span::secs(1));
    world.puts(10);
    world.run(Span::secs(5));
    assert!(world.accused().is_empty());
    let (leader, follower) = (world.leader(), world.follower());
    world.damage(follower, 5);
    world.run(Span::secs(2));
    assert_eq!(world.accused(), [follower]);
    let put = Request::Put(PutRequest::of("key", "v"));
    assert_eq!(world.ask(leader, put).map(|_| ()), Err(Error::Corrupt));
    world.ask(leader, Request::Range(RangeRequest::of(KeyRange::prefix("")))).expect("reads go on");
}

#[test]
fn who_leads_with_other_data_than_all_others_accuses_one_of_them() {
    // As etcd: whoever asks takes itself for right.
    let mut world = World::tuned(3, Bugs::NONE, |config| config.corrupt_check_time = Span::secs(1));
    world.puts(10);
    let (leader, follower) = (world.leader(), world.follower());
    world.damage(leader, 5);
    world.run(Span::secs(2));
    assert_eq!(world.accused(), [follower]);
}

fn compares_compactions(config: &mut crate::Config) {
    config.compact_hash_check = true;
    config.compact_hash_check_time = Span::secs(1);
}

#[test]
fn by_compactions_the_majority_is_right_whoever_leads() {
    for leads in [true, false] {
        let mut world = World::tuned(3, Bugs::NONE, compares_compactions);
        world.puts(20);
        let (leader, follower) = (world.leader(), world.follower());
        let compact = |revision| Request::Compact(CompactRequest { revision, physical: true });
        world.ask(leader, compact(10)).expect("compacted");
        world.run(Span::secs(3));
        assert!(world.accused().is_empty());
        let damaged = if leads { leader } else { follower };
        world.damage(damaged, 14);
        world.ask(leader, compact(18)).expect("compacted");
        world.run(Span::secs(3));
        assert_eq!(world.accused(), [damaged]);
    }
}

#[test]
fn where_there_is_no_majority_nobody_knows_who_is_wrong() {
    let mut world = World::tuned(2, Bugs::NONE, compares_compactions);
    world.puts(10);
    let leader = world.leader();
    world.damage(leader, 5);
    world.ask(leader, Request::Compact(CompactRequest { revision: 9, physical: true })).expect("compacted");
    world.run(Span::secs(3));
    assert_eq!(world.accused(), [MemberId::NONE.0]);
}

#[test]
fn an_older_compaction_is_compared_when_a_member_does_not_have_the_newest() {
    let mut world = World::tuned(3, Bugs::NONE, compares_compactions);
    world.puts(20);
    let (leader, follower) = (world.leader(), world.follower());
    world.isolate(follower);
    let compact = |revision| Request::Compact(CompactRequest { revision, physical: true });
    for revision in [10, 18] {
        world.ask(leader, compact(revision)).expect("compacted");
    }
    // It does not answer: nothing is said of anybody, and the next look begins when that one has ended.
    world.run(Span::secs(20));
    assert_eq!(world.replica(leader).view().alarms.len(), 0);
    world.cut.clear();
    world.run(Span::secs(20));
    assert!(world.accused().is_empty());
    // It got both at once, and has no hash of the second: that one began before the first was done.
    assert_eq!(world.replica(leader).corruption.say_equal_at(), 10);
}

#[test]
fn who_starts_with_other_data_than_the_others_ends_before_it_does_anything() {
    let mut world = World::tuned(3, Bugs::NONE, |config| config.initial_corrupt_check = true);
    world.puts(10);
    let leader = world.leader();
    let (damaged, sound) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    world.damage(damaged, 5);
    // So that the damage is on its disk.
    world.puts(1);
    world.restart(damaged);
    world.run(Span::secs(1));
    assert_eq!(world.nodes[&damaged].exit, Some("found data inconsistency with peers"));
    world.restart(sound);
    world.run(Span::secs(5));
    assert_eq!(world.nodes[&sound].exit, None);
    world.ask(sound, Request::Put(PutRequest::of("key", "v"))).expect("it serves");
}

#[test]
fn nobody_waits_for_those_that_are_not_there() {
    let mut world = World::tuned(3, Bugs::NONE, |config| config.initial_corrupt_check = true);
    world.puts(3);
    for id in 1..=3 {
        world.stop(id);
    }
    for id in 1..=3 {
        world.boot(id);
    }
    world.run(Span::secs(5));
    world.puts(1);
    // Cut off, it waits for its time and then serves what was asked meanwhile.
    let follower = world.follower();
    world.isolate(follower);
    world.restart(follower);
    let range = RangeRequest { serializable: true, ..RangeRequest::of(KeyRange::single("key0")) };
    let id = world.send(follower, crate::api::Credential::None, Request::Range(range));
    world.run(Span::secs(5));
    assert!(!world.replies.contains_key(&id));
    world.run(Span::secs(3));
    assert!(world.replies[&id].is_ok());
}

#[test]
fn by_revisions_the_leader_compacts_every_five_minutes() {
    let mut world = World::tuned(3, Bugs::NONE, |config| config.auto_compaction = AutoCompaction::Revisions(20));
    world.puts(50);
    world.run(Span::secs(300));
    assert_eq!(world.compact_revisions(), [31; 3]);
    // Nothing new, nothing to do; then a little.
    world.run(Span::secs(300));
    assert_eq!(world.compact_revisions(), [31; 3]);
    world.puts(5);
    world.run(Span::secs(300));
    assert_eq!(world.compact_revisions(), [36; 3]);
}

#[test]
fn by_time_the_leader_compacts_what_was_newest_a_period_ago() {
    let period = |config: &mut crate::Config| config.auto_compaction = AutoCompaction::Periodic(Span::secs(60));
    let mut world = World::tuned(3, Bugs::NONE, period);
    // 12 s have passed since the start.
    world.puts(4);
    world.run(Span::secs(20));
    let before = world.replica(1).view().revision;
    world.puts(4);
    world.run(Span::secs(25));
    // A minute after the start it is the revision that there was then.
    assert_eq!(world.compact_revisions(), [1; 3]);
    world.run(Span::secs(60));
    // A minute later, what there was 66 s ago: between the two.
    let compacted = world.compact_revisions()[0];
    assert!(compacted >= before && compacted <= before + 4, "{compacted} after {before}");
    assert_eq!(world.compact_revisions(), [compacted; 3]);
}
