//! The lessor beside a naive one: a list of leases, a list of attachments, and moments computed from scratch.

use std::collections::{BTreeMap, BTreeSet};

use super::{stored, Lease, Lessor, Renewal};
use crate::api::{Error, Key, KeyRange, LeaseCheckpoint, LeaseId, PutRequest, RangeRequest, Revision};
use crate::mvcc::tests::{Dice, MemoryBatch};
use crate::mvcc::{Applied, Bucket, Parts, Store};
use crate::time::{Monotonic, Span};
use crate::{Bug, Bugs, Config, MemberId};

const START: Monotonic = Monotonic(7_000_000_000);

fn config(bugs: Bugs) -> Config {
    Config { bugs, ..Config::etcd(MemberId(1), vec![MemberId(1)]) }
}

fn at(seconds: u64) -> Monotonic {
    START + Span::secs(seconds)
}

/// A primary with these leases, granted at the start.
fn primary(config: &Config, leases: &[(LeaseId, i64)]) -> (Lessor, MemoryBatch) {
    let (mut lessor, mut batch) = (Lessor::new(config), MemoryBatch::default());
    lessor.promote(START, Span::ZERO);
    for (id, ttl) in leases {
        lessor.grant(&mut batch, *id, *ttl, START).expect("a new lease");
    }
    (lessor, batch)
}

#[test]
fn a_grant_is_refused_for_what_etcd_refuses_and_lives_at_least_the_minimum() {
    let (mut lessor, mut batch) = primary(&config(Bugs::NONE), &[(1, 60)]);
    for (id, ttl, expect) in [
        (0, 10, Err(Error::LeaseNotFound)),
        (2, 9_000_000_001, Err(Error::LeaseTtlTooLarge)),
        (1, 9_000_000_001, Err(Error::LeaseTtlTooLarge)),
        (1, 10, Err(Error::LeaseExists)),
        (2, 9_000_000_000, Ok(9_000_000_000)),
        // One and a half election timeouts, in whole seconds.
        (3, 1, Ok(2)),
        (4, -5, Ok(2)),
        (-5, 3, Ok(3)),
    ] {
        assert_eq!(lessor.grant(&mut batch, id, ttl, START), expect, "id {id} ttl {ttl}");
    }
    let slow = Config { heartbeat_interval: Span::millis(300), election_ticks: 11, ..config(Bugs::NONE) };
    let (mut lessor, mut batch) = primary(&slow, &[]);
    // 16 ticks of 300 ms.
    assert_eq!(lessor.grant(&mut batch, 1, 1, START), Ok(5));
}

#[test]
fn the_bytes_are_etcds() {
    assert_eq!(&stored::key(0x0102)[..], &[0, 0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(&stored::encode(5, 60, 0)[..], &[0x08, 5, 0x10, 60]);
    assert_eq!(&stored::encode(5, 60, 7)[..], &[0x08, 5, 0x10, 60, 0x18, 7]);
    assert_eq!(stored::decode(&stored::encode(-1, 60, 7)), Some((-1, 60, 7)));
    assert_eq!(stored::decode(&"\u{7f}".into()), None);
}

#[test]
fn a_lease_ends_when_its_time_has_passed_and_not_before() {
    let (mut lessor, _) = primary(&config(Bugs::NONE), &[(1, 5), (2, 10), (3, 5)]);
    assert_eq!(lessor.find_expired(Monotonic(at(5).0 - 1), 10), Vec::<i64>::new());
    assert_eq!(lessor.find_expired(at(5), 1), vec![1], "as many as asked for");
    assert_eq!(lessor.find_expired(at(5), 10), vec![3]);
    assert_eq!(lessor.find_expired(at(11), 10), vec![2]);
    // Nobody has revoked the first: it is found again after the request timeout.
    assert_eq!(lessor.find_expired(Monotonic(at(12).0 - 1), 10), Vec::<i64>::new());
    assert_eq!(lessor.find_expired(at(12), 10), vec![1, 3]);
}

#[test]
fn a_keep_alive_gives_all_of_its_time_again_but_not_to_what_has_ended() {
    let (mut lessor, mut batch) = primary(&config(Bugs::NONE), &[(1, 5)]);
    assert_eq!(lessor.may_renew(1, at(4)), Ok(Renewal::Possible { checkpointed: false }));
    assert_eq!(lessor.renew(1, at(4)), Ok(5));
    assert_eq!(lessor.find_expired(at(8), 10), Vec::<i64>::new());
    assert_eq!(lessor.may_renew(1, at(9)), Ok(Renewal::Ended));
    lessor.remove(&mut batch, 1);
    assert_eq!(lessor.may_renew(1, at(9)), Err(Error::LeaseNotFound));
    assert_eq!(lessor.renew(1, at(9)), Err(Error::LeaseNotFound));
    assert!(!lessor.has_deadlines() && batch.is_empty());
    lessor.demote();
    assert_eq!(lessor.may_renew(1, at(9)), Err(Error::NotPrimary));
}

#[test]
fn a_new_primary_waits_longer_by_an_election_timeout_unless_the_bug_is_on() {
    for (bugs, end) in [(Bugs::NONE, 26), (Bugs::NONE.with(Bug::PromoteNoExtend), 25)] {
        let (mut lessor, _) = primary(&config(bugs), &[(1, 5)]);
        lessor.demote();
        assert_eq!(lessor.find_expired(at(19), 10), Vec::<i64>::new(), "who does not lead ends nothing");
        assert_eq!(lessor.lookup(1).and_then(|lease| lease.remaining(at(19))), None);
        lessor.promote(at(20), Span::secs(1));
        assert_eq!(lessor.find_expired(Monotonic(at(end).0 - 1), 10), Vec::<i64>::new());
        assert_eq!(lessor.find_expired(at(end), 10), vec![1]);
    }
}

#[test]
fn leases_that_would_end_together_are_spread_below_the_rate() {
    let config = Config { lease_revoke_rate: 10, ..config(Bugs::NONE) };
    let leases: Vec<(LeaseId, i64)> = (1..=150).map(|id| (id, 10)).collect();
    let (mut lessor, _) = primary(&config, &leases);
    lessor.promote(START, Span::ZERO);
    let mut ends: Vec<u64> = lessor.leases().values().map(|lease| lease.expiry.expect("primary").0).collect();
    ends.sort_unstable();
    for (place, end) in ends.iter().enumerate() {
        assert!(*end >= at(10).0, "nobody ends early");
        let within = ends[place..].iter().take_while(|other| **other < end + 1_000_000_000).count();
        assert!(within <= 10, "{within} leases end within a second of {end}");
    }
}

#[test]
fn checkpoints_are_made_of_long_leases_and_count_for_the_next_primary() {
    let on = Config { lease_checkpoint: true, ..config(Bugs::NONE) };
    for (config, left) in [(on.clone(), 90), (Config { bugs: Bugs::NONE.with(Bug::RemainingTtlLost), ..on }, 390)] {
        let (mut lessor, mut batch) = primary(&config, &[(1, 390), (2, 200)]);
        assert_eq!(lessor.due_checkpoints(at(299)), vec![]);
        let due = lessor.due_checkpoints(at(300));
        assert_eq!(due, vec![LeaseCheckpoint { id: 1, remaining_ttl: 90 }]);
        assert!(lessor.checkpoint(&mut batch, 1, 90, at(300)));
        assert_eq!(lessor.may_renew(1, at(301)), Ok(Renewal::Possible { checkpointed: true }));
        assert_eq!(lessor.due_checkpoints(at(3000)), vec![], "what is left is less than the interval");
        // The next primary has it from the backend.
        let mut next = Lessor::restore(&batch, &config).expect("sound");
        assert_eq!(
            (next.state_hash(), next.lookup(1).map(|lease| lease.remaining_ttl)),
            (lessor.state_hash(), Some(90))
        );
        next.promote(at(0), Span::ZERO);
        assert_eq!(next.lookup(1).and_then(|lease| lease.expiry), Some(at(left)));
    }
    let (mut off, _) = primary(&config(Bugs::NONE), &[(1, 390)]);
    assert_eq!(off.due_checkpoints(at(300)), vec![], "the gate is off in etcd");
}

/// What follows from the applied requests.
#[derive(Default)]
struct Naive {
    leases: BTreeMap<LeaseId, (i64, i64)>,
    attached: BTreeMap<Key, LeaseId>,
    revision: Revision,
}

impl Naive {
    fn check(&self, lessor: &Lessor, store: &Store, batch: &MemoryBatch, context: &str) {
        let found: BTreeMap<LeaseId, (i64, i64)> =
            lessor.leases().iter().map(|(id, lease)| (*id, (lease.ttl, lease.remaining_ttl))).collect();
        assert_eq!(found, self.leases, "{context}");
        let bucket: Vec<_> = batch.pairs(Bucket::Lease).collect();
        let expect = self.leases.iter().map(|(id, (ttl, left))| (stored::key(*id), stored::encode(*id, *ttl, *left)));
        let mut expect: Vec<_> = expect.collect();
        expect.sort();
        assert_eq!(bucket, expect, "{context}");
        for (id, lease) in lessor.leases() {
            let keys: BTreeSet<Key> =
                self.attached.iter().filter(|(_, to)| *to == id).map(|(key, _)| key.clone()).collect();
            assert_eq!(lease.keys, keys, "{context}: keys of {id}");
        }
        let all = store.range(batch, &RangeRequest::of(KeyRange::prefix(""))).expect("now").kvs;
        for kv in all {
            assert_eq!(self.attached.get(&kv.key).copied().unwrap_or(0), kv.lease, "{context}: lease of {:?}", kv.key);
            assert_eq!(lessor.lease_of(&kv.key), kv.lease, "{context}");
        }
        assert_eq!(store.revision(), self.revision, "{context}");
    }
}

#[test]
fn random_requests_leave_what_the_naive_lessor_says() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let config = config(Bugs::NONE);
        let (mut lessor, mut batch, mut store) = (Lessor::new(&config), MemoryBatch::default(), Store::new(Bugs::NONE));
        let mut naive = Naive { revision: 1, ..Naive::default() };
        if dice.one_in(2) {
            lessor.promote(START, Span::ZERO);
        }
        for step in 0..60 {
            let now = at(step);
            let id = 1 + dice.below(4) as LeaseId;
            let key = dice.key();
            let parts = Parts { batch: &mut batch, lessor: &mut lessor, now };
            match dice.below(8) {
                0 | 1 => {
                    let ttl = dice.below(20) as i64;
                    let expect = match naive.leases.contains_key(&id) {
                        true => Err(Error::LeaseExists),
                        false => Ok(ttl.max(2)),
                    };
                    assert_eq!(lessor.grant(&mut batch, id, ttl, now), expect);
                    naive.leases.entry(id).or_insert((ttl.max(2), 0));
                }
                2 => {
                    let Applied { result, events, .. } = store.apply_lease_revoke(parts, id, MemberId(1));
                    assert_eq!(result.is_ok(), naive.leases.remove(&id).is_some());
                    let gone: Vec<Key> = events.into_iter().map(|event| event.kv.key).collect();
                    let keys = naive.attached.iter().filter(|(_, to)| **to == id).map(|(key, _)| key.clone());
                    assert_eq!(gone, keys.collect::<Vec<Key>>(), "seed {seed}: in the order of the keys");
                    naive.attached.retain(|_, to| *to != id);
                    naive.revision += i64::from(!gone.is_empty());
                }
                3 => {
                    let left = dice.below(5) as i64;
                    lessor.checkpoint(&mut batch, id, left, now);
                    if let Some(lease) = naive.leases.get_mut(&id) {
                        lease.1 = left;
                    }
                }
                4 => {
                    let range = KeyRange::single(key.clone());
                    let delete = crate::api::DeleteRangeRequest { range, prev_kv: false };
                    let deleted = store.apply_delete_range(parts, &delete).events.len();
                    naive.attached.remove(&key);
                    naive.revision += deleted as i64;
                }
                5 => {
                    // A restart: the leases first, then the keys.
                    let before = lessor.state_hash();
                    lessor = Lessor::restore(&batch, &config).expect("sound");
                    store = Store::restore(&batch, &mut lessor, Bugs::NONE).expect("sound");
                    assert_eq!(lessor.state_hash(), before, "seed {seed}");
                }
                _ => {
                    let lease = if dice.one_in(3) { 0 } else { id };
                    let mut put = PutRequest { lease, ..PutRequest::of(key.clone(), "v") };
                    put.ignore_lease = lease == 0 && dice.one_in(2);
                    let exists = store.range(parts.batch, &RangeRequest::of(KeyRange::single(key.clone())));
                    let exists = exists.expect("now").count > 0;
                    let result = store.apply_put(parts, &put).result.map(|_| ());
                    let expect = match () {
                        () if lease != 0 && !naive.leases.contains_key(&lease) => Err(Error::LeaseNotFound),
                        () if put.ignore_lease && !exists => Err(Error::KeyNotFound),
                        () => Ok(()),
                    };
                    assert_eq!(result, expect, "seed {seed}: {put:?}");
                    if result.is_ok() {
                        naive.revision += 1;
                        if lease != 0 {
                            naive.attached.insert(key, lease);
                        } else if !put.ignore_lease {
                            naive.attached.remove(&key);
                        }
                    }
                }
            }
            naive.check(&lessor, &store, &batch, &format!("seed {seed} step {step}"));
        }
    }
}

#[test]
fn only_the_bug_asks_the_clock_whether_a_key_may_be_attached() {
    for (bugs, alive) in [(Bugs::NONE, true), (Bugs::NONE.with(Bug::ExpiryByLocalClockAtApply), false)] {
        let (lessor, _) = primary(&config(bugs), &[(1, 5)]);
        assert!(lessor.is_alive(1, at(4)));
        assert_eq!(lessor.is_alive(1, at(6)), alive);
        assert!(!lessor.is_alive(2, at(6)));
    }
}

#[test]
fn a_bucket_that_is_not_sound_is_refused_in_words() {
    let mut batch = MemoryBatch::default();
    crate::mvcc::Batch::put(&mut batch, Bucket::Lease, stored::key(1), "\u{7f}".into());
    let error = Lessor::restore(&batch, &config(Bugs::NONE)).expect_err("not a lease");
    assert!(error.contains("not a Lease"), "{error}");
    assert_eq!(Lease::default().remaining(START), None);
}
