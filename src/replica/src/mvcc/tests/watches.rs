//! Watches over random histories, and the stories of etcd's bugs.

use std::collections::BTreeMap;

use super::model::Model;
use super::{Dice, Whole};
use crate::api::*;
use crate::mvcc::{CompactionStep, Reads, Watchers};
use crate::{Bug, Bugs, MemberId, StreamId, WatchId};

const STREAM: StreamId = StreamId(1);

struct World {
    whole: Whole,
    model: Model,
    watchers: Watchers,
    received: BTreeMap<StreamId, Vec<WatchResponse>>,
}

impl World {
    fn new(channel: usize, batch_revisions: usize) -> Self {
        Self {
            whole: Whole::new(Bugs::NONE),
            model: Model::default(),
            watchers: Watchers::new(channel, batch_revisions),
            received: BTreeMap::new(),
        }
    }

    /// Writes; a member that missed it and gets a snapshot instead does not notify.
    fn write(&mut self, ops: Vec<RequestOp>, notify: bool) {
        let txn = TxnRequest { compare: vec![], success: ops, failure: vec![] };
        let events = self.whole.txn(&txn, Reads::Answered).events;
        self.model.apply(&txn);
        if notify {
            self.watchers.notify(self.whole.store.revision(), &events);
        }
    }

    fn put(&mut self, key: &'static str) {
        let put = PutRequest::of(key, "v");
        self.write(vec![RequestOp::Put(put)], true);
    }

    fn ask(&mut self, stream: StreamId, request: WatchRequest, bugs: Bugs) {
        self.watchers.request(stream, request, self.whole.store.revision(), bugs);
    }

    fn create(&mut self, watch: i64, key: &'static str, start_revision: Revision) {
        let create = WatchCreate { watch: WatchId(watch), start_revision, ..watch_of(KeyRange::single(key)) };
        self.ask(STREAM, WatchRequest::Create(create), Bugs::NONE);
    }

    fn send(&mut self) {
        let mut out = Vec::new();
        self.watchers.send(&self.whole.store, &self.whole.batch, MemberId(1), 1, &mut out);
        for (stream, response) in out {
            self.received.entry(stream).or_default().push(response);
        }
    }

    fn sync(&mut self, limit: usize) {
        self.watchers.sync_batch(&self.whole.store, &self.whole.batch, limit);
    }

    fn compact(&mut self, at: Revision) {
        if self.whole.store.schedule_compaction(&mut self.whole.batch, at).is_ok() {
            while self.whole.store.compaction_batch(&mut self.whole.batch, 2) != CompactionStep::Idle {}
        }
    }

    /// What arrived since the last call, in short.
    fn story(&mut self) -> String {
        self.send();
        let responses = self.received.remove(&STREAM).unwrap_or_default();
        responses.iter().map(show).collect::<Vec<_>>().join(" ")
    }
}

fn watch_of(range: KeyRange) -> WatchCreate {
    WatchCreate {
        watch: WatchId(0),
        range,
        start_revision: 0,
        prev_kv: false,
        progress_notify: false,
        no_put: false,
        no_delete: false,
    }
}

/// `1:created` `1:events(2,3)` `*:progress@4` `1:cancelled(5)`
fn show(response: &WatchResponse) -> String {
    let watch = response.watch.map_or("*".to_owned(), |watch| watch.0.to_string());
    let body = match &response.body {
        WatchBody::Created => "created".to_owned(),
        WatchBody::Progress => format!("progress@{}", response.header.revision),
        WatchBody::Cancelled { compact_revision, .. } => format!("cancelled({compact_revision})"),
        WatchBody::Events(events) => {
            let revisions: Vec<_> = events.iter().map(|event| event.kv.mod_revision.to_string()).collect();
            format!("events({})", revisions.join(","))
        }
    };
    format!("{watch}:{body}")
}

#[test]
fn a_watch_from_the_past_is_given_history_in_whole_revisions() {
    let mut world = World::new(8, 2);
    world.watchers.open(STREAM, 100);
    (0..5).for_each(|_| world.put("a"));
    world.create(1, "a", 3);
    assert_eq!(world.story(), "1:created");
    world.sync(10);
    assert_eq!(world.story(), "1:events(3,4)");
    assert!(world.watchers.pending().sync);
    world.sync(10);
    world.put("a");
    assert_eq!(world.story(), "1:events(5,6) 1:events(7)");
    assert_eq!(world.watchers.pending(), Default::default());
}

#[test]
fn a_full_channel_makes_a_victim_that_loses_nothing() {
    let mut world = World::new(1, 10);
    world.watchers.open(STREAM, 1);
    world.create(1, "a", 0);
    (0..4).for_each(|_| world.put("a"));
    assert!(world.watchers.pending().victims);
    assert_eq!(world.story(), "1:created");
    assert!(!world.watchers.retry_victims(world.whole.store.revision()));
    world.watchers.grant(STREAM, 10);
    assert_eq!(world.story(), "1:events(2)");
    assert!(world.watchers.retry_victims(world.whole.store.revision()));
    assert_eq!(world.story(), "1:events(3)");
    world.sync(10);
    assert_eq!(world.story(), "1:events(4,5)");
    assert_eq!(world.watchers.lagging(), 0);
}

#[test]
fn compaction_cancels_only_who_would_miss_something() {
    let mut world = World::new(1, 10);
    world.watchers.open(STREAM, 100);
    (0..4).for_each(|_| world.put("a"));
    (2..=5).for_each(|start| world.create(start, "a", start));
    world.compact(4);
    assert_eq!(world.story(), "2:created 3:created 4:created 5:created");
    // Room for one: the others try again, and nobody is skipped.
    let mut told = String::new();
    for _ in 0..4 {
        world.sync(10);
        world.watchers.retry_victims(5);
        told = format!("{told} {}", world.story());
    }
    world.sync(10);
    for part in ["2:cancelled(4)", "3:cancelled(4)", "4:events(4,5)", "5:events(5)"] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_watch_from_before_the_beginning_is_cancelled_and_costs_nobody_his_history() {
    // Without a compaction its revision is -1, which is no revision to watch from either (etcd#20693).
    for (compact, cancelled) in [(None, -1), (Some(3), 3)] {
        let mut world = World::new(8, 10);
        world.watchers.open(STREAM, 100);
        world.put("a");
        world.put("a");
        compact.into_iter().for_each(|at| world.compact(at));
        world.create(1, "a", -1);
        world.create(2, "a", 3);
        world.sync(10);
        let story = world.story();
        assert!(story.contains(&format!("1:cancelled({cancelled})")) && story.contains("2:events(3)"), "{story}");
    }
}

#[test]
fn manual_progress_waits_for_who_lags_unless_the_bug_is_on() {
    for (bugs, expected) in [
        (Bugs::NONE, "1:created 1:events(2,3) *:progress@3"),
        (Bugs::NONE.with(Bug::ProgressIgnoresUnsynced), "1:created *:progress@3 1:events(2,3)"),
    ] {
        let mut world = World::new(8, 10);
        world.watchers.open(STREAM, 100);
        world.put("a");
        world.put("a");
        world.create(1, "a", 1);
        world.ask(STREAM, WatchRequest::Progress, bugs);
        world.sync(10);
        assert_eq!(world.story(), expected);
    }
}

#[test]
fn progress_never_precedes_the_start_of_a_watch() {
    let mut world = World::new(8, 10);
    world.watchers.open(STREAM, 100);
    let mut create = watch_of(KeyRange::single("a"));
    (create.start_revision, create.progress_notify) = (4, true);
    world.ask(STREAM, WatchRequest::Create(create), Bugs::NONE);
    world.put("a");
    world.ask(STREAM, WatchRequest::Progress, Bugs::NONE);
    world.watchers.progress_tick(world.whole.store.revision());
    assert_eq!(world.story(), "0:created");
    // A snapshot does not bring it down either.
    world.watchers.restore();
    world.put("a");
    world.sync(10);
    world.put("a");
    world.watchers.progress_tick(world.whole.store.revision());
    assert_eq!(world.story(), "0:events(4) 0:progress@4");
    // Events are progress enough.
    world.put("a");
    world.story();
    world.watchers.progress_tick(world.whole.store.revision());
    assert_eq!(world.story(), "");
    world.watchers.progress_tick(world.whole.store.revision());
    assert_eq!(world.story(), "0:progress@5");
}

#[test]
fn where_the_channel_is_too_small_for_all_each_watch_hears_of_progress_in_its_turn() {
    let mut world = World::new(2, 10);
    world.watchers.open(STREAM, 100);
    for id in 0..5 {
        let create = WatchCreate { watch: WatchId(id), progress_notify: true, ..watch_of(KeyRange::single("a")) };
        world.ask(STREAM, WatchRequest::Create(create), Bugs::NONE);
    }
    world.story();
    world.watchers.progress_tick(world.whole.store.revision());
    let mut told = Vec::new();
    for _ in 0..5 {
        world.watchers.progress_tick(world.whole.store.revision());
        told.push(world.story());
    }
    let pairs = [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]];
    assert_eq!(told, pairs.map(|pair| pair.map(|id| format!("{id}:progress@1")).join(" ")));
}

#[test]
fn names_are_unique_and_free_again_after_cancel() {
    let mut world = World::new(8, 10);
    world.watchers.open(STREAM, 100);
    world.create(1, "a", 0);
    world.create(1, "b", 0);
    world.ask(STREAM, WatchRequest::Cancel(WatchId(1)), Bugs::NONE);
    world.ask(STREAM, WatchRequest::Cancel(WatchId(1)), Bugs::NONE);
    world.put("a");
    world.create(1, "b", 0);
    assert_eq!(world.story(), "1:created *:cancelled(0) 1:cancelled(0) 1:created");
    world.watchers.close(STREAM);
    world.put("b");
    assert_eq!(world.watchers, Watchers::new(8, 10));
}

#[test]
fn random_watches_receive_exactly_their_events() {
    for seed in 0..1_000 {
        let mut dice = Dice(seed);
        let mut world = World::new(1 + dice.below(3) as usize, 1 + dice.below(3) as usize);
        let mut created: BTreeMap<(StreamId, WatchId), (WatchCreate, Revision)> = BTreeMap::new();
        (1..3).for_each(|stream| world.watchers.open(StreamId(stream), dice.below(3)));
        for step in 0..80 {
            let stream = StreamId(1 + dice.below(2));
            match dice.below(12) {
                0 => {
                    let mut create = watch_of(dice.range());
                    create.watch = WatchId(step);
                    create.start_revision = dice.below(world.whole.store.revision() as u64 + 3) as i64;
                    (create.prev_kv, create.progress_notify) = (dice.one_in(2), dice.one_in(2));
                    (create.no_put, create.no_delete) = (dice.one_in(5), dice.one_in(5));
                    created.insert((stream, create.watch), (create.clone(), world.whole.store.revision()));
                    world.ask(stream, WatchRequest::Create(create), Bugs::NONE);
                }
                1 => world.ask(stream, WatchRequest::Progress, Bugs::NONE),
                2 => world.sync(1 + dice.below(3) as usize),
                3 => {
                    world.watchers.retry_victims(world.whole.store.revision());
                }
                4 => world.watchers.grant(stream, 1 + dice.below(3)),
                5 => world.send(),
                6 if dice.one_in(3) => world.compact(dice.below(world.whole.store.revision() as u64 + 1) as i64),
                7 if dice.one_in(2) => {
                    // The member falls behind and is given a snapshot.
                    (0..dice.below(4)).for_each(|_| world.write(vec![dice.plain_put()], false));
                    world.whole.restore();
                    world.watchers.restore();
                }
                8 => world.watchers.progress_tick(world.whole.store.revision()),
                9 => world.write(vec![dice.delete(), dice.delete()], true),
                _ => world.write(vec![dice.plain_put()], true),
            }
        }
        // Everything is repaired: in the end nobody lags.
        (1..3).for_each(|stream| world.watchers.grant(StreamId(stream), 10_000));
        for _ in 0..2_000 {
            world.sync(2);
            world.watchers.retry_victims(world.whole.store.revision());
            world.send();
        }
        assert_eq!((world.watchers.lagging(), world.watchers.pending().send), (0, false), "seed {seed}");
        for (id, (create, now)) in &created {
            check_watch(&world, *id, create, *now, &format!("seed {seed} watch {id:?} {create:?} at {now}"));
        }
    }
}

/// Everything that one watch received, against the list of all events.
fn check_watch(world: &World, id: (StreamId, WatchId), create: &WatchCreate, now: Revision, context: &str) {
    let responses = &world.received[&id.0];
    let start = if create.start_revision == 0 { now + 1 } else { create.start_revision };
    let wants = |event: &&WatchEvent| {
        let filtered = match event.kind {
            WatchEventKind::Put => create.no_put,
            WatchEventKind::Delete => create.no_delete,
        };
        create.range.contains(&event.kv.key) && event.kv.mod_revision >= start && !filtered
    };
    let expected: Vec<&WatchEvent> = world.model.events.iter().filter(wants).collect();
    let (mut seen, mut is_created, mut cancelled) = (0, false, None);
    for response in responses {
        let is_mine = response.watch == Some(id.1);
        if response.watch.is_none() && is_created && cancelled.is_none() || is_mine {
            assert_eq!(cancelled, None, "{context}: {response:?}");
            match &response.body {
                WatchBody::Created => is_created = true,
                WatchBody::Cancelled { compact_revision, reason } => {
                    assert!(!reason.is_empty());
                    cancelled = Some(*compact_revision);
                }
                WatchBody::Progress => {
                    assert!(response.header.revision >= create.start_revision, "{context}");
                    let due = expected.iter().filter(|event| event.kv.mod_revision <= response.header.revision);
                    assert!(due.count() <= seen, "{context}: progress before its events");
                }
                WatchBody::Events(events) => {
                    assert!(is_created && !events.is_empty(), "{context}");
                    for event in events {
                        let model = expected.get(seen).unwrap_or_else(|| panic!("{context}: {event:?} too many"));
                        assert_eq!((event.kind, &event.kv), (model.kind, &model.kv), "{context}");
                        check_prev_kv(world, create, event, context);
                        seen += 1;
                    }
                    let last = events.last().map(|event| event.kv.mod_revision);
                    let next = expected.get(seen).map(|event| event.kv.mod_revision);
                    assert!(last < next || next.is_none(), "{context}: revision {last:?} is cut");
                    assert!(last <= Some(response.header.revision), "{context}");
                }
            }
        }
    }
    match cancelled {
        None => assert_eq!((seen, is_created), (expected.len(), true), "{context}"),
        Some(0) => assert!(!is_created, "{context}: nobody cancels but for an empty range"),
        Some(compact_revision) => assert!(compact_revision > start, "{context}"),
    }
}

fn check_prev_kv(world: &World, create: &WatchCreate, event: &WatchEvent, context: &str) {
    let before = event.kv.mod_revision - 1;
    let expected = world.model.state_at(before).remove(&event.kv.key).filter(|_| create.prev_kv);
    let may_be_gone = before < world.whole.store.compact_revision();
    assert!(event.prev_kv == expected || event.prev_kv.is_none() && may_be_gone, "{context}: {event:?}");
}

/// What happens to watchers, without a bug and with it.
#[test]
fn each_bug_of_watchers_shows_in_a_story() {
    type Story = fn(&mut World) -> String;
    let told = |world: &mut World| world.story();
    let cases: [(Bug, Story, &str, &str); 8] = [
        (
            Bug::BatchMorerevDrop,
            |world| {
                (0..5).for_each(|_| world.put("a"));
                world.create(1, "a", 3);
                (0..2).for_each(|_| world.sync(10));
                world.story()
            },
            "1:created 1:events(3,4) 1:events(5,6)",
            "1:created 1:events(3,4) 1:events(6)",
        ),
        (
            Bug::VictimToSyncedEarly,
            |world| {
                world.watchers = world.watchers.clone().with_channel(1);
                world.create(1, "a", 0);
                (0..3).for_each(|_| world.put("a"));
                let first = world.story();
                world.watchers.retry_victims(world.whole.store.revision());
                let second = world.story();
                world.sync(10);
                format!("{first} | {second} | {}", world.story())
            },
            "1:created 1:events(2) | 1:events(3) | 1:events(4)",
            "1:created 1:events(2) | 1:events(3) | ",
        ),
        (
            Bug::ProgressBeforeStartrev,
            |world| {
                world.create(1, "a", 50);
                world.ask(STREAM, WatchRequest::Progress, Bugs::NONE);
                world.story()
            },
            "1:created",
            "1:created *:progress@1",
        ),
        (
            Bug::WatchCreateRace,
            |world| {
                world.create(1, "a", 0);
                (0..2).for_each(|_| world.put("a"));
                world.story()
            },
            "1:created 1:events(2) 1:events(3)",
            "1:created 1:events(3)",
        ),
        (
            Bug::CompactedWatchSkips,
            |world| {
                world.watchers = world.watchers.clone().with_channel(1);
                world.create(1, "a", 0);
                (0..3).for_each(|_| world.put("b"));
                world.put("a");
                world.compact(4);
                world.create(2, "b", 2);
                world.sync(10);
                let full = world.story();
                (0..2).for_each(|_| world.sync(10));
                format!("{full} | {}", world.story())
            },
            "1:created 1:events(5) 2:created | 2:cancelled(4)",
            "1:created 1:events(5) 2:created | ",
        ),
        (
            Bug::SyncedMinrevStale,
            |world| {
                world.create(1, "a", 0);
                world.put("a");
                world.watchers.restore();
                world.sync(10);
                world.story()
            },
            "1:created 1:events(2)",
            "1:created 1:events(2) 1:events(2)",
        ),
        (
            Bug::RestoreLowersMinrev,
            |world| {
                world.create(1, "a", 50);
                world.watchers.restore();
                world.sync(10);
                world.put("a");
                world.story()
            },
            "1:created",
            "1:created 1:events(2)",
        ),
        (
            Bug::RestoreGroupNotFull,
            |world| {
                world.create(1, "a", 0);
                world.watchers.restore();
                world.sync(10);
                world.put("a");
                world.story()
            },
            "1:created 1:events(2)",
            "1:created",
        ),
    ];
    for (bug, story, without, with) in cases {
        for (bugs, expect) in [(Bugs::NONE, without), (Bugs::NONE.with(bug), with)] {
            let mut world = World::new(8, 2);
            world.watchers = world.watchers.clone().with_bugs(bugs);
            world.watchers.open(STREAM, 100);
            assert_eq!(story(&mut world), expect, "{bug:?} {bugs:?}");
            assert_eq!(told(&mut world), "", "{bug:?} {bugs:?}");
        }
    }
}
