//! Reads, hashes and restarts over random histories.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::model::{self, Model};
use super::{Dice, MemoryBatch, Whole};
use crate::api::*;
use crate::mvcc::revision::RevisionKey;
use crate::mvcc::{
    check_request, is_read_only, is_serializable, proto, Applied, Batch, Bucket, CompactionStep, Reads, Store,
};
use crate::{Bug, Bugs};

fn everything(revision: Revision) -> RangeRequest {
    RangeRequest { revision, ..RangeRequest::of(KeyRange::prefix("")) }
}

fn drain(whole: &mut Whole, limit: usize) {
    while whole.store.compaction_batch(&mut whole.batch, limit) != CompactionStep::Idle {}
}

/// Every readable revision reads as in the model, and no other reads at all.
fn check_reads(Whole { store, batch, .. }: &Whole, model: &Model) {
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
        let (mut whole, mut model) = (Whole::new(Bugs::NONE), Model::default());
        // The same requests, other batches, restarts at other times.
        let mut twin = whole.clone();
        for _ in 0..60 {
            match dice.below(10) {
                0 => {
                    // From 1: etcd takes a compaction to 0, and forgets it in a restart if it was not
                    // finished.
                    let at = 1 + dice.below(whole.store.revision() as u64 + 1) as i64;
                    let expected = match at {
                        _ if at <= whole.store.compact_revision() => Err(Error::Compacted),
                        _ if at > whole.store.revision() => Err(Error::FutureRevision),
                        _ => Ok(()),
                    };
                    assert_eq!(whole.store.schedule_compaction(&mut whole.batch, at), expected);
                    assert_eq!(twin.store.schedule_compaction(&mut twin.batch, at), expected);
                }
                1 => {
                    whole.store.compaction_batch(&mut whole.batch, 1 + dice.below(3) as usize);
                }
                2 => {
                    // A crash may fall between two batches: the index is built from what was left.
                    let known = |store: &Store| (store.revision(), store.compact_revision(), store.state_hash());
                    let before = known(&whole.store);
                    whole.restore();
                    assert_eq!(before, known(&whole.store));
                }
                3 => drain(&mut twin, 5),
                _ => {
                    let txn = dice.txn(2, whole.store.compact_revision(), whole.store.revision());
                    if check_request(&Request::Txn(txn.clone()), 128).is_err() || model::crashes_etcd(&txn) {
                        continue;
                    }
                    if is_read_only(&txn) {
                        let body = whole.store.read_txn(&whole.batch, &txn).expect("its revisions are readable");
                        assert_eq!(body, model.apply(&txn).0, "seed {seed}");
                        continue;
                    }
                    let lacks_key = model::lacks_key(&txn, &model.state);
                    let Applied { result, events, locked } = whole.txn(&txn, Reads::Answered);
                    let other = twin.txn(&txn, Reads::Checked);
                    assert_eq!((&other.events, other.locked), (&events, locked), "seed {seed}");
                    assert_eq!(other.result.is_ok(), result.is_ok(), "seed {seed}");
                    if lacks_key {
                        assert_eq!((result, locked), (Err(Error::KeyNotFound), false), "seed {seed}");
                        continue;
                    }
                    let body = result.expect("its revisions are readable");
                    assert_eq!((body, events.len()), model.apply(&txn), "seed {seed}");
                    assert_eq!(events, model.events[model.events.len() - events.len()..]);
                }
            }
            if dice.one_in(4) {
                check_reads(&whole, &model);
            }
        }
        drain(&mut whole, 1 + dice.below(4) as usize);
        drain(&mut twin, 100);
        check_reads(&whole, &model);
        check_reads(&twin, &model);
        assert_eq!(whole.batch, twin.batch, "seed {seed}: one history, one backend");
        let store = &whole.store;
        for at in store.compact_revision().max(1)..=store.revision() {
            let expected = (naive_hash(&model, store.compact_revision(), at), store.compact_revision());
            assert_eq!(store.hash_kv(&whole.batch, at), Ok(expected), "seed {seed} at {at}");
            assert_eq!(twin.store.hash_kv(&twin.batch, at), Ok(expected), "seed {seed} at {at}");
        }
        assert_eq!(store.hash_kv(&whole.batch, 0), store.hash_kv(&whole.batch, store.revision()));
    }
}

fn put(whole: &mut Whole, key: &'static str) {
    whole.put(&PutRequest::of(key, "v")).result.expect("no lease");
}

fn delete(whole: &mut Whole, key: &'static str) -> usize {
    whole.delete(&DeleteRangeRequest { range: KeyRange::single(key), prev_kv: false }).events.len()
}

fn txn(success: Vec<RequestOp>) -> TxnRequest {
    TxnRequest { compare: vec![], success, failure: vec![] }
}

#[test]
fn a_refused_transaction_writes_nothing() {
    let mut whole = Whole::new(Bugs::NONE);
    put(&mut whole, "a");
    put(&mut whole, "a");
    whole.store.schedule_compaction(&mut whole.batch, 3).expect("there");
    let write = |key: &'static str, lease| RequestOp::Put(PutRequest { lease, ..PutRequest::of(key, "") });
    let keep = PutRequest { ignore_value: true, lease: 9, ..PutRequest::of("c", "") };
    for (op, error) in [
        (RequestOp::Range(everything(2)), Error::Compacted),
        // Alone it would read the present.
        (RequestOp::Range(everything(-1)), Error::Compacted),
        // The transaction's own revision is in the future until it ends.
        (RequestOp::Range(everything(4)), Error::FutureRevision),
        (write("c", 7), Error::LeaseNotFound),
        // In a transaction etcd asks for the key first.
        (RequestOp::Put(keep.clone()), Error::KeyNotFound),
    ] {
        let before = whole.clone();
        let inner = txn(vec![op.clone()]);
        for op in [op, RequestOp::Txn(Box::new(inner))] {
            let mut request = txn(vec![write("b", 0), op]);
            for reads in [Reads::Answered, Reads::Checked] {
                assert_eq!(whole.txn(&request, reads), Applied::refused(error));
            }
            assert_eq!(whole, before);
            // On the branch that is not taken it does no harm.
            std::mem::swap(&mut request.success, &mut request.failure);
            assert!(whole.clone().txn(&request, Reads::Answered).result.is_ok());
        }
    }
    // Alone it asks for the lease first, and takes the lock before it looks for the key.
    assert_eq!(whole.put(&keep), Applied::refused(Error::LeaseNotFound));
    let applied = whole.put(&PutRequest { lease: 0, ..keep });
    assert_eq!((applied.result, applied.locked), (Err(Error::KeyNotFound), true));
}

#[test]
fn members_where_nobody_waits_check_reads_all_the_same_unless_the_bug_is_on() {
    for (bugs, agree) in [(Bugs::NONE, true), (Bugs::NONE.with(Bug::TxnRangeStrippedUnlessWaiter), false)] {
        let mut whole = Whole::new(bugs);
        let request = txn(vec![RequestOp::Range(everything(9)), RequestOp::Put(PutRequest::of("a", ""))]);
        let mut other = whole.clone();
        whole.txn(&request, Reads::Answered).result.expect_err("in the future");
        assert_eq!(other.txn(&request, Reads::Checked).result.is_err(), agree);
        assert_eq!(whole == other, agree);
    }
}

#[test]
fn a_transaction_that_fails_leaves_something_only_with_the_bug() {
    for (bugs, revision) in [(Bugs::NONE, 1), (Bugs::NONE.with(Bug::TxnPartialOnError), 2)] {
        let mut whole = Whole::new(bugs);
        let request = txn(vec![RequestOp::Put(PutRequest::of("a", "")), RequestOp::Range(everything(9))]);
        assert_eq!(whole.txn(&request, Reads::Answered).result, Err(Error::FutureRevision));
        assert_eq!(whole.store.revision(), revision);
    }
}

/// A key is there, and one transaction deletes everything from some key on, then puts it. etcd's check for keys that
/// are both deleted and put does not see that.
fn delete_and_put(bugs: Bugs, put: PutRequest) -> (Whole, Applied) {
    let mut whole = Whole::new(bugs);
    self::put(&mut whole, "a");
    let delete = DeleteRangeRequest { range: KeyRange::prefix(""), prev_kv: false };
    let request = txn(vec![RequestOp::DeleteRange(delete), RequestOp::Put(put)]);
    check_request(&Request::Txn(request.clone()), 128).expect("it passes");
    let applied = whole.txn(&request, Reads::Answered);
    (whole, applied)
}

#[test]
fn a_transaction_does_not_keep_what_it_deletes() {
    for (ignore_value, ignore_lease) in [(true, false), (false, true)] {
        let keep = PutRequest { ignore_value, ignore_lease, ..PutRequest::of("a", "") };
        let (whole, applied) = delete_and_put(Bugs::NONE, keep);
        assert_eq!((applied, whole.store.revision()), (Applied::refused(Error::KeyNotFound), 2));
    }
    // What etcd has another word for keeps that.
    let keep = PutRequest { ignore_value: true, lease: 9, ..PutRequest::of("a", "") };
    assert_eq!(delete_and_put(Bugs::NONE, keep).1, Applied::refused(Error::LeaseNotFound));
}

/// F-03. etcd asks for the key in the state before the transaction. So it learns in the middle of it, and every member
/// panics, and again when it replays the entry.
#[test]
#[should_panic(expected = "unexpected error during txn with writes")]
fn with_the_bug_it_ends_the_member() {
    let bugs = Bugs::NONE.with(Bug::TxnKeepsWhatItDeletes);
    delete_and_put(bugs, PutRequest { ignore_value: true, ..PutRequest::of("a", "") });
}

fn deleted_put_and_compacted(bugs: Bugs) -> Whole {
    let (mut whole, applied) = delete_and_put(bugs, PutRequest::of("a", "new"));
    applied.result.expect("it is applied");
    whole.store.schedule_compaction(&mut whole.batch, 3).expect("there");
    drain(&mut whole, 10);
    whole
}

#[test]
fn a_compaction_keeps_what_its_revision_deleted_and_put() {
    let whole = deleted_put_and_compacted(Bugs::NONE);
    let found = whole.store.range(&whole.batch, &everything(0)).expect("it is there");
    assert_eq!(found.kvs.iter().map(|kv| &kv.value[..]).collect::<Vec<_>>(), [b"new"]);
}

/// F-02. Since etcd#18089 a compaction at that revision keeps the tombstone, takes it for the key's newest revision,
/// and removes the put after it.
#[test]
#[should_panic(expected = "the index has RevisionKey { main: 3, sub: 1 }, the backend does not")]
fn with_the_bug_it_is_lost() {
    let whole = deleted_put_and_compacted(Bugs::NONE.with(Bug::CompactLosesPutAfterTombstone));
    let _ = whole.store.range(&whole.batch, &everything(0));
}

#[test]
fn a_transaction_in_a_transaction_is_no_read() {
    let read = txn(vec![RequestOp::Range(RangeRequest { serializable: true, ..everything(0) })]);
    assert!(is_read_only(&read) && is_serializable(&read) && is_serializable(&txn(vec![])));
    let nested = txn(vec![RequestOp::Txn(Box::new(read))]);
    assert!(!is_read_only(&nested) && !is_serializable(&nested));
    let mut whole = Whole::new(Bugs::NONE);
    assert!(whole.txn(&nested, Reads::Answered).locked);
    assert_eq!(whole.store.revision(), 1);
}

#[test]
fn a_delete_of_nothing_makes_no_revision_unless_the_bug_is_on() {
    for (bugs, revision) in [(Bugs::NONE, 1), (Bugs::NONE.with(Bug::RevBumpRules), 2)] {
        let mut whole = Whole::new(bugs);
        assert_eq!((delete(&mut whole, "a"), whole.store.revision()), (0, revision));
        put(&mut whole, "a");
        assert_eq!((delete(&mut whole, "a"), whole.store.revision()), (1, revision + 2));
        assert_eq!(whole.store.state_hash(), 0);
    }
}

#[test]
fn a_tombstone_at_the_compaction_revision_stays_until_the_next() {
    let keys = |whole: &Whole| whole.batch.pairs(Bucket::Key).count();
    for (bugs, kept) in [(Bugs::NONE, 1), (Bugs::NONE.with(Bug::CompactDropsTombstoneAtRev), 0)] {
        let mut whole = Whole::new(bugs);
        put(&mut whole, "a");
        delete(&mut whole, "a");
        whole.store.schedule_compaction(&mut whole.batch, 3).expect("there");
        drain(&mut whole, 1);
        assert_eq!(keys(&whole), kept);
        whole.restore();
        put(&mut whole, "b");
        whole.store.schedule_compaction(&mut whole.batch, 4).expect("there");
        drain(&mut whole, 1);
        assert_eq!(keys(&whole), 1, "only b is left");
    }
}

#[test]
fn a_tombstone_alone_is_known_after_a_restart_unless_the_bug_is_on() {
    for (bugs, kept) in [(Bugs::NONE, 1), (Bugs::NONE.with(Bug::RestoreSkipsLoneTombstone), 0)] {
        let mut whole = Whole::new(bugs);
        put(&mut whole, "a");
        delete(&mut whole, "a");
        whole.store.schedule_compaction(&mut whole.batch, 3).expect("there");
        drain(&mut whole, 1);
        whole.restore();
        whole.store.schedule_compaction(&mut whole.batch, 3).expect_err("compacted");
        // The next compaction drops what the index does not know.
        put(&mut whole, "b");
        let mut at_three = whole.clone();
        at_three.store.compact_revision = 2;
        at_three.store.schedule_compaction(&mut at_three.batch, 3).expect("there");
        drain(&mut at_three, 1);
        assert_eq!(at_three.batch.pairs(Bucket::Key).count(), kept + 1);
    }
}

#[test]
fn a_compaction_forgets_nothing_of_a_life_unless_the_bug_is_on() {
    for (bugs, meta) in [(Bugs::NONE, (2, 4)), (Bugs::NONE.with(Bug::CompactMetaWrong), (4, 2))] {
        let mut whole = Whole::new(bugs);
        (0..3).for_each(|_| put(&mut whole, "a"));
        whole.store.schedule_compaction(&mut whole.batch, 4).expect("there");
        drain(&mut whole, 1);
        put(&mut whole, "a");
        let found = whole.store.range(&whole.batch, &everything(0)).expect("now");
        assert_eq!((found.kvs[0].create_revision, found.kvs[0].version), meta);
    }
}

#[test]
fn the_revision_survives_a_crash_in_a_compaction_unless_a_bug_is_on() {
    for (bugs, revision) in [
        (Bugs::NONE, 3),
        (Bugs::NONE.with(Bug::RestoreRevIgnoresScheduled), 1),
        (Bugs::NONE.with(Bug::RestartCurLtCompact), 1),
    ] {
        let mut whole = Whole::new(bugs);
        put(&mut whole, "a");
        delete(&mut whole, "a");
        whole.store.schedule_compaction(&mut whole.batch, 3).expect("there");
        for _ in 0..2 {
            assert_eq!(whole.store.compaction_batch(&mut whole.batch, 1), CompactionStep::More);
        }
        let mut crashed = whole.clone();
        crashed.restore();
        assert_eq!(crashed.store.revision(), revision, "{bugs:?}");
        // Also when it was finished.
        drain(&mut whole, 1);
        whole.restore();
        let below = bugs.has(Bug::RestartCurLtCompact);
        assert_eq!(whole.store.revision() < whole.store.compact_revision(), below, "{bugs:?}");
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
        let mut lessor = Whole::new(Bugs::NONE).lessor;
        let error = Store::restore(&batch, &mut lessor, Bugs::NONE).expect_err(complaint);
        assert!(error.contains(complaint), "{error}");
    }
}
