//! Reads, hashes and restarts over random histories.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::model::{self, Model};
use super::{Dice, MemoryBatch};
use crate::api::*;
use crate::mvcc::revision::RevisionKey;
use crate::mvcc::{check_request, is_read_only, proto, Batch, Bucket, CompactionStep, Store};
use crate::{Bug, Bugs};

fn everything(revision: Revision) -> RangeRequest {
    RangeRequest { revision, ..RangeRequest::of(KeyRange::prefix("")) }
}

fn drain(store: &mut Store, batch: &mut MemoryBatch, limit: usize) {
    while store.compaction_batch(batch, limit) != CompactionStep::Idle {}
}

/// Every readable revision reads as in the model, and no other reads at all.
fn check_reads(store: &Store, batch: &MemoryBatch, model: &Model) {
    assert_eq!(store.revision(), model.revision());
    let hash = |kv: &KeyValue| xxhash_rust::xxh3::xxh3_64(&proto::encode(kv));
    assert_eq!(store.state_hash(), model.state.values().map(hash).fold(0, u64::wrapping_add));
    for at in 1..=store.revision() + 1 {
        let found = store.range(batch, &everything(at));
        if at < store.compact_revision() {
            assert_eq!(found, Err(Error::Compacted), "at {at}");
        } else if at > store.revision() {
            assert_eq!(found, Err(Error::FutureRevision), "at {at}");
        } else {
            let found = found.expect("readable");
            assert_eq!(ResponseBody::from(found), model::range(&everything(at), &model.state_at(at)), "at {at}");
        }
    }
}

/// `HashKV` of a finished compaction, from the list of events.
fn naive_hash(model: &Model, compacted: Revision, at: Revision) -> u32 {
    let newest_put = |at: Revision| {
        let mut newest = BTreeMap::new();
        for (place, event) in model.events.iter().enumerate().filter(|(_, event)| event.kv.mod_revision <= at) {
            match event.kind {
                WatchEventKind::Put => newest.insert(event.kv.key.clone(), place),
                WatchEventKind::Delete => newest.remove(&event.kv.key),
            };
        }
        newest
    };
    let keep = if newest_put(at).is_empty() { newest_put(compacted) } else { newest_put(at) };
    let mut hash = crc32c::crc32c(b"key");
    let (mut last, mut sub) = (0, 0);
    for (place, event) in model.events.iter().enumerate() {
        let main = event.kv.mod_revision;
        sub = if main == last { sub + 1 } else { 0 };
        last = main;
        if main > at || (main <= compacted && !keep.values().any(|kept| *kept == place)) {
            continue;
        }
        let (key, value) = match event.kind {
            WatchEventKind::Put => (RevisionKey::new(main, sub).put_key(), proto::encode(&event.kv)),
            WatchEventKind::Delete => {
                let kv = proto::only_key(event.kv.key.clone(), 0);
                (RevisionKey::new(main, sub).tombstone_key(), proto::encode(&kv))
            }
        };
        hash = crc32c::crc32c_append(crc32c::crc32c_append(hash, &key), &value);
    }
    hash
}

#[test]
fn random_histories_read_as_the_model_says() {
    for seed in 0..600 {
        let mut dice = Dice(seed);
        let (mut store, mut batch, mut model) = (Store::new(Bugs::NONE), MemoryBatch::default(), Model::default());
        // The same requests, other batches, restarts at other times.
        let (mut twin, mut twin_batch) = (store.clone(), batch.clone());
        for _ in 0..60 {
            match dice.below(10) {
                0 => {
                    // From 1: etcd takes a compaction to 0, and forgets it in a restart if it was not
                    // finished.
                    let at = 1 + dice.below(store.revision() as u64 + 1) as i64;
                    let expected = match at {
                        _ if at <= store.compact_revision() => Err(Error::Compacted),
                        _ if at > store.revision() => Err(Error::FutureRevision),
                        _ => Ok(()),
                    };
                    assert_eq!(store.schedule_compaction(&mut batch, at), expected);
                    assert_eq!(twin.schedule_compaction(&mut twin_batch, at), expected);
                }
                1 => {
                    store.compaction_batch(&mut batch, 1 + dice.below(3) as usize);
                }
                2 => {
                    // A crash may fall between two batches: the index is built from what was left.
                    let before = (store.revision(), store.compact_revision(), store.state_hash());
                    store = Store::restore(&batch, Bugs::NONE).expect("sound");
                    assert_eq!(before, (store.revision(), store.compact_revision(), store.state_hash()));
                }
                3 => drain(&mut twin, &mut twin_batch, 5),
                _ => {
                    let txn = dice.txn(2, store.compact_revision(), store.revision());
                    if check_request(&Request::Txn(txn.clone()), 128, 1 << 20).is_err() {
                        continue;
                    }
                    if is_read_only(&txn) {
                        let body = store.read_txn(&batch, &txn).expect("its revisions are readable");
                        assert_eq!(body, model.apply(&txn).0, "seed {seed}");
                        continue;
                    }
                    let (body, events) = store.apply_txn(&mut batch, &txn).expect("its revisions are readable");
                    assert_eq!((body, events.len()), model.apply(&txn), "seed {seed}");
                    assert_eq!(events, model.events[model.events.len() - events.len()..]);
                    twin.apply_txn(&mut twin_batch, &txn).expect("as the other");
                }
            }
            if dice.one_in(4) {
                check_reads(&store, &batch, &model);
            }
        }
        drain(&mut store, &mut batch, 1 + dice.below(4) as usize);
        drain(&mut twin, &mut twin_batch, 100);
        check_reads(&store, &batch, &model);
        check_reads(&twin, &twin_batch, &model);
        assert_eq!(batch, twin_batch, "seed {seed}: one history, one backend");
        for at in store.compact_revision().max(1)..=store.revision() {
            let expected = (naive_hash(&model, store.compact_revision(), at), store.compact_revision());
            assert_eq!(store.hash_kv(&batch, at), Ok(expected), "seed {seed} at {at}");
            assert_eq!(twin.hash_kv(&batch, at), Ok(expected), "seed {seed} at {at}");
        }
        assert_eq!(store.hash_kv(&batch, 0), store.hash_kv(&batch, store.revision()));
    }
}

fn put(store: &mut Store, batch: &mut MemoryBatch, key: &'static str) {
    let request = PutRequest::of(key, "v");
    store.apply_put(batch, &request).expect("no lease");
}

fn delete(store: &mut Store, batch: &mut MemoryBatch, key: &'static str) -> usize {
    store.apply_delete_range(batch, &DeleteRangeRequest { range: KeyRange::single(key), prev_kv: false }).1.len()
}

#[test]
fn a_refused_transaction_writes_nothing() {
    let (mut store, mut batch) = (Store::new(Bugs::NONE), MemoryBatch::default());
    put(&mut store, &mut batch, "a");
    put(&mut store, &mut batch, "a");
    store.schedule_compaction(&mut batch, 3).expect("there");
    let write = |key: &'static str, lease| RequestOp::Put(PutRequest { lease, ..PutRequest::of(key, "") });
    for (op, error) in [
        (RequestOp::Range(everything(2)), Error::Compacted),
        // The transaction's own revision is in the future until it ends.
        (RequestOp::Range(everything(4)), Error::FutureRevision),
        (write("c", 7), Error::LeaseNotFound),
    ] {
        let before = (store.clone(), batch.clone());
        let inner = TxnRequest { compare: vec![], success: vec![op.clone()], failure: vec![] };
        for op in [op, RequestOp::Txn(Box::new(inner))] {
            let mut request = TxnRequest { compare: vec![], success: vec![write("b", 0), op], failure: vec![] };
            assert_eq!(store.apply_txn(&mut batch, &request), Err(error));
            assert_eq!((&store, &batch), (&before.0, &before.1));
            // On the branch that is not taken it does no harm.
            std::mem::swap(&mut request.success, &mut request.failure);
            assert!(store.clone().apply_txn(&mut batch.clone(), &request).is_ok());
        }
    }
}

#[test]
fn a_delete_of_nothing_makes_no_revision() {
    let (mut store, mut batch) = (Store::new(Bugs::NONE), MemoryBatch::default());
    assert_eq!((delete(&mut store, &mut batch, "a"), store.revision()), (0, 1));
    put(&mut store, &mut batch, "a");
    assert_eq!((delete(&mut store, &mut batch, "a"), store.revision()), (1, 3));
    assert_eq!(store.state_hash(), 0);
}

#[test]
fn a_tombstone_at_the_compaction_revision_stays_until_the_next() {
    let (mut store, mut batch) = (Store::new(Bugs::NONE), MemoryBatch::default());
    put(&mut store, &mut batch, "a");
    delete(&mut store, &mut batch, "a");
    let keys = |batch: &MemoryBatch| batch.0.keys().filter(|(bucket, _)| *bucket == Bucket::Key).count();
    store.schedule_compaction(&mut batch, 3).expect("there");
    drain(&mut store, &mut batch, 1);
    assert_eq!(keys(&batch), 1);
    store = Store::restore(&batch, Bugs::NONE).expect("sound");
    put(&mut store, &mut batch, "b");
    store.schedule_compaction(&mut batch, 4).expect("there");
    drain(&mut store, &mut batch, 1);
    assert_eq!(keys(&batch), 1, "only b is left");
}

#[test]
fn the_revision_survives_a_crash_in_a_compaction_unless_the_bug_is_on() {
    for (bugs, revision) in [(Bugs::NONE, 3), (Bugs::NONE.with(Bug::RestoreRevIgnoresScheduled), 1)] {
        let (mut store, mut batch) = (Store::new(bugs), MemoryBatch::default());
        put(&mut store, &mut batch, "a");
        delete(&mut store, &mut batch, "a");
        store.schedule_compaction(&mut batch, 3).expect("there");
        for _ in 0..2 {
            assert_eq!(store.compaction_batch(&mut batch, 1), CompactionStep::More);
        }
        let restored = Store::restore(&batch, bugs).expect("sound");
        assert_eq!(restored.revision(), revision, "{bugs:?}");
    }
}

#[test]
fn a_backend_that_is_not_sound_is_refused_in_words() {
    let kv = KeyValue { version: 1, create_revision: 2, ..proto::only_key("a".into(), 2) };
    let at = |main| RevisionKey::new(main, 0);
    for (key, value, complaint) in [
        (Bytes::from_static(b"short"), proto::encode(&kv), "not a revision"),
        (at(2).put_key(), Bytes::from_static(b"\xff\xff"), "not a KeyValue"),
        (at(3).put_key(), proto::encode(&kv), "belongs to another"),
    ] {
        let mut batch = MemoryBatch::default();
        batch.put(Bucket::Key, key, value);
        let error = Store::restore(&batch, Bugs::NONE).expect_err(complaint);
        assert!(error.contains(complaint), "{error}");
    }
}
