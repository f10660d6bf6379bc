//! The options of reads and puts, leases, and which transactions change a key twice.

use detcd_replica::api::{LeaseGrantRequest, SortOrder, SortTarget};

use super::*;

/// Four keys whose key, value, creation, version and last change are each in another order.
fn mixed() -> Pair {
    let mut pair = Pair::new();
    for (key, value) in [("b", "1"), ("a", "3"), ("d", "2"), ("c", "4"), ("b", "5"), ("d", "2"), ("b", "0")] {
        pair.apply(Request::Put(put(key, value))).expect("it is possible");
    }
    pair
}

fn keys(pair: &mut Pair, request: RangeRequest) -> (String, bool, u64) {
    let answer = pair.apply(Request::Range(request)).expect("the read is possible").body;
    let ResponseBody::Range { kvs, more, count } = answer else { panic!("not a range") };
    let keys = kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect();
    (keys, more, count)
}

#[test]
fn reads_are_sorted_by_any_field() {
    use SortOrder::{Ascend, Descend, None};
    use SortTarget::{Create, Key, Mod, Value, Version};
    let mut pair = mixed();
    for (sort_order, sort_target, expected) in [
        (None, Key, "abcd"),
        (Ascend, Key, "abcd"),
        (Descend, Key, "dcba"),
        (Ascend, Create, "badc"),
        (Descend, Create, "cdab"),
        (Ascend, Mod, "acdb"),
        (Ascend, Value, "bdac"),
        (Descend, Value, "cadb"),
        // What is equal stays in the order of keys.
        (Ascend, Version, "acdb"),
        (Descend, Version, "bdac"),
        (None, Value, "bdac"),
    ] {
        let request = RangeRequest { sort_order, sort_target, ..all() };
        assert_eq!(keys(&mut pair, request), (expected.to_owned(), false, 4), "{sort_order:?} {sort_target:?}");
    }
}

#[test]
fn a_limit_cuts_what_is_sorted_and_filtered() {
    let mut pair = mixed();
    let by_value = RangeRequest { limit: 2, sort_target: SortTarget::Value, ..all() };
    let sorted = RangeRequest { sort_order: SortOrder::Descend, ..by_value.clone() };
    assert_eq!(keys(&mut pair, sorted), ("ca".to_owned(), true, 4));
    // Without an order only the keys that the limit lets through, and one more, are sorted.
    assert_eq!(keys(&mut pair, by_value), ("ba".to_owned(), true, 4));
    let filtered = RangeRequest { limit: 1, min_mod_revision: 5, ..all() };
    assert_eq!(keys(&mut pair, filtered), ("b".to_owned(), true, 4));
}

#[test]
fn revisions_filter_keys_but_not_the_count() {
    let mut pair = mixed();
    for (least_mod, most_mod, least_create, most_create, expected) in [
        (6, 0, 0, 0, "bd"),
        (0, 5, 0, 0, "ac"),
        (5, 7, 0, 0, "cd"),
        (0, 0, 4, 0, "cd"),
        (0, 0, 0, 2, "b"),
        (6, 0, 3, 0, "d"),
        (9, 0, 0, 0, ""),
    ] {
        let request = RangeRequest {
            min_mod_revision: least_mod,
            max_mod_revision: most_mod,
            min_create_revision: least_create,
            max_create_revision: most_create,
            ..all()
        };
        assert_eq!(keys(&mut pair, request), (expected.to_owned(), false, 4));
    }
}

#[test]
fn a_put_may_keep_value_and_lease() {
    let mut pair = Pair::new();
    pair.apply(Request::Put(PutRequest { lease: 7, ..put("a", "1") })).expect("it is possible");
    pair.apply(Request::Put(PutRequest { ignore_value: true, ..put("a", "") })).expect("it is possible");
    pair.shows(one("a"), &["a=1 2/3/2"], false, 1);
    assert!(pair.0.leased(7).is_empty(), "the lease was not kept");
    pair.apply(Request::Put(PutRequest { lease: 7, ..put("a", "2") })).expect("it is possible");
    pair.apply(Request::Put(PutRequest { ignore_lease: true, ..put("a", "3") })).expect("it is possible");
    pair.shows(one("a"), &["a=3 2/5/4"], false, 1);
    assert_eq!(pair.0.leased(7), ["a"]);
    let keep = |value, lease| PutRequest { ignore_value: true, ignore_lease: true, lease, ..put("x", value) };
    pair.refuses(Request::Put(keep("", 0)), Error::KeyNotFound);
    pair.refuses(Request::Put(keep("v", 0)), Error::ValueProvided);
    pair.refuses(Request::Put(keep("", 7)), Error::LeaseProvided);
    pair.refuses(txn(vec![], vec![RequestOp::Put(keep("", 0))], vec![]), Error::KeyNotFound);
    // Nor of what the transaction itself has deleted, which only a delete without an end can be beside it.
    let delete = RequestOp::DeleteRange(DeleteRangeRequest { range: KeyRange::prefix(""), prev_kv: false });
    let kept = RequestOp::Put(PutRequest { ignore_value: true, ..put("a", "") });
    pair.refuses(txn(vec![], vec![delete, kept], vec![]), Error::KeyNotFound);
}

#[test]
fn a_transaction_takes_no_revision_but_zero_for_now() {
    let mut pair = mixed();
    let past = |revision| txn(vec![], vec![RequestOp::Range(RangeRequest { revision, ..all() })], vec![]);
    pair.apply(past(-1)).expect("nothing is compacted yet");
    pair.refuses(past(-2), Error::Compacted);
    pair.apply(compact(3)).expect("it is possible");
    pair.refuses(past(-1), Error::Compacted);
    assert_eq!(keys(&mut pair, RangeRequest { revision: -1, ..all() }).2, 4);
}

#[test]
fn leases_go_with_their_keys() {
    let mut pair = Pair::new();
    let grant = Request::LeaseGrant(LeaseGrantRequest { id: 7, ttl: 10 });
    let granted = pair.apply(grant).expect("it is possible");
    assert_eq!((granted.revision, granted.changed), (1, false));
    for key in ["b", "a"] {
        pair.apply(Request::Put(PutRequest { lease: 7, ..put(key, "1") })).expect("it is possible");
    }
    pair.apply(Request::Put(put("c", "1"))).expect("it is possible");
    let gone = pair.apply(Request::LeaseRevoke { id: 7 }).expect("it is possible");
    assert_eq!((gone.revision, gone.changed), (5, true));
    let events: Vec<_> = pair.0.events(5).into_iter().map(|event| event.kv.key).collect();
    assert_eq!(events, ["a", "b"]);
    pair.shows(all(), &["c=1 4/4/1"], false, 1);
    let nothing = pair.apply(Request::LeaseRevoke { id: 8 }).expect("these forms know no leases");
    assert!(!nothing.changed);
    let too_long = Request::LeaseGrant(LeaseGrantRequest { id: 9, ttl: 9_000_000_001 });
    pair.refuses(too_long, Error::LeaseTtlTooLarge);
}

#[test]
fn which_writes_of_one_key_are_found() {
    let inner = |success: Vec<RequestOp>, failure: Vec<RequestOp>| {
        RequestOp::Txn(Box::new(TxnRequest { compare: vec![], success, failure }))
    };
    let p = || RequestOp::Put(put("a", "1"));
    let d = || RequestOp::DeleteRange(delete("a"));
    let from = || RequestOp::DeleteRange(DeleteRangeRequest { range: KeyRange::prefix(""), prev_kv: false });
    for (ops, found) in [
        (vec![p(), p()], true),
        (vec![p(), d()], true),
        (vec![d(), p()], true),
        (vec![d(), d()], false),
        (vec![inner(vec![p()], vec![p()])], false),
        (vec![inner(vec![p()], vec![]), inner(vec![], vec![p()])], true),
        (vec![inner(vec![d()], vec![]), inner(vec![p()], vec![])], true),
        (vec![inner(vec![p()], vec![]), inner(vec![d()], vec![])], false),
        (vec![inner(vec![p()], vec![]), d()], true),
        (vec![inner(vec![d()], vec![]), p()], true),
        (vec![from(), p()], false),
    ] {
        let request = txn(vec![], ops, vec![]);
        let mut pair = stocked();
        assert_eq!(pair.apply(request.clone()) == Err(Error::DuplicateKey), found, "{request:?}");
    }
}
