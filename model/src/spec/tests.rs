//! The rules as a table: one store, requests in a row, each with what it must answer. Both forms of the state must
//! agree.

mod options;

use bytes::Bytes;
use detcd_replica::api::{
    CompactRequest, Compare, CompareResult, CompareTarget, DeleteRangeRequest, Error, KeyRange, KeyValue, PutRequest,
    RangeRequest, Request, RequestOp, ResponseBody, TxnRequest,
};

use super::{Applied, Keyspace, State, Store};
use crate::linearizability::generate::{history, Shape};

struct Pair(Store, State);

impl Pair {
    fn new() -> Self {
        Self(Store::new(), State::default())
    }

    fn apply(&mut self, request: Request) -> Result<Applied, Error> {
        let answer = self.0.apply(&request);
        assert_eq!(answer, self.1.apply(&request), "both forms answer alike to {request:?}");
        answer
    }

    fn refuses(&mut self, request: Request, error: Error) {
        let before = self.1.clone();
        assert_eq!(self.apply(request), Err(error));
        assert_eq!(self.1, before, "a refusal changes nothing");
    }

    /// `key=value create/mod/version`, and the count.
    fn shows(&mut self, request: RangeRequest, expected: &[&str], more: bool, count: u64) {
        let answer = self.apply(Request::Range(request)).expect("the read is possible").body;
        assert_eq!(range_words(&answer), (expected.iter().map(ToString::to_string).collect(), more, count));
    }
}

fn words(kv: &KeyValue) -> String {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("tests write text");
    format!("{}={} {}/{}/{}", text(&kv.key), text(&kv.value), kv.create_revision, kv.mod_revision, kv.version)
}

fn range_words(body: &ResponseBody) -> (Vec<String>, bool, u64) {
    match body {
        ResponseBody::Range { kvs, more, count } => (kvs.iter().map(words).collect(), *more, *count),
        other => panic!("not a range: {other:?}"),
    }
}

fn put(key: &'static str, value: &'static str) -> PutRequest {
    PutRequest::of(key, value)
}

fn delete(key: &'static str) -> DeleteRangeRequest {
    DeleteRangeRequest { range: KeyRange::single(key), prev_kv: false }
}

fn all() -> RangeRequest {
    RangeRequest::of(KeyRange::prefix(""))
}

fn one(key: &'static str) -> RangeRequest {
    RangeRequest::of(KeyRange::single(key))
}

fn compact(revision: i64) -> Request {
    Request::Compact(CompactRequest { revision, physical: false })
}

fn txn(compare: Vec<Compare>, success: Vec<RequestOp>, failure: Vec<RequestOp>) -> Request {
    Request::Txn(TxnRequest { compare, success, failure })
}

fn compare(range: KeyRange, result: CompareResult, target: CompareTarget) -> Compare {
    Compare { range, result, target }
}

/// a at revisions 2 and 3, b at 4, c at 5 and gone at 6.
fn stocked() -> Pair {
    let mut pair = Pair::new();
    for request in [
        Request::Put(put("a", "1")),
        Request::Put(put("a", "2")),
        Request::Put(put("b", "3")),
        Request::Put(put("c", "4")),
        Request::DeleteRange(delete("c")),
    ] {
        assert!(pair.apply(request).expect("it is possible").changed);
    }
    assert_eq!(pair.0.revision(), 6);
    pair
}

#[test]
fn ranges() {
    let mut pair = stocked();
    let (a, a2, b) = ("a=1 2/2/1", "a=2 2/3/2", "b=3 4/4/1");
    pair.shows(all(), &[a2, b], false, 2);
    pair.shows(one("a"), &[a2], false, 1);
    pair.shows(one("c"), &[], false, 0);
    pair.shows(RangeRequest { limit: 1, ..all() }, &[a2], true, 2);
    pair.shows(RangeRequest { limit: 2, ..all() }, &[a2, b], false, 2);
    pair.shows(RangeRequest { revision: 2, ..all() }, &[a], false, 1);
    pair.shows(RangeRequest { revision: 5, ..all() }, &[a2, b, "c=4 5/5/1"], false, 3);
    pair.shows(RangeRequest { revision: 1, ..all() }, &[], false, 0);
    pair.shows(RangeRequest { count_only: true, limit: 1, ..all() }, &[], false, 2);
    pair.shows(RangeRequest { keys_only: true, ..one("b") }, &["b= 4/4/1"], false, 1);
    pair.shows(RangeRequest::of(KeyRange::prefix("b")), &[b], false, 1);
    pair.refuses(Request::Range(RangeRequest { revision: 7, ..all() }), Error::FutureRevision);
    pair.refuses(Request::Range(one("")), Error::EmptyKey);
}

#[test]
fn revisions() {
    let mut pair = stocked();
    let nothing = pair.apply(Request::DeleteRange(delete("c"))).expect("deleting nothing is possible");
    assert_eq!((nothing.changed, nothing.revision), (false, 6));
    let same = pair.apply(Request::Put(put("b", "3"))).expect("putting the same is possible");
    assert_eq!((same.changed, same.revision), (true, 7));
    pair.apply(Request::Put(put("c", "5"))).expect("a key may live again");
    pair.shows(one("c"), &["c=5 8/8/1"], false, 1);
    let two = txn(vec![], vec![RequestOp::Put(put("a", "6")), RequestOp::Put(put("b", "7"))], vec![]);
    assert_eq!(pair.apply(two).expect("two puts are possible").revision, 9);
    pair.shows(all(), &["a=6 2/9/3", "b=7 4/9/3", "c=5 8/8/1"], false, 3);
    let gone = pair.apply(Request::DeleteRange(DeleteRangeRequest { range: KeyRange::prefix(""), prev_kv: true }));
    match gone.expect("deleting all is possible").body {
        ResponseBody::DeleteRange { deleted, prev_kvs } => {
            assert_eq!((deleted, prev_kvs.len()), (3, 3));
            assert_eq!(words(&prev_kvs[0]), "a=6 2/9/3");
        }
        other => panic!("not a delete: {other:?}"),
    }
    assert_eq!(pair.0.events(10).len(), 3);
    pair.refuses(Request::Put(put("", "1")), Error::EmptyKey);
}

#[test]
fn compactions() {
    let mut pair = stocked();
    pair.refuses(compact(7), Error::FutureRevision);
    assert_eq!(pair.apply(compact(3)).expect("it is possible").revision, 6);
    pair.refuses(compact(3), Error::Compacted);
    pair.refuses(compact(2), Error::Compacted);
    pair.refuses(Request::Range(RangeRequest { revision: 2, ..all() }), Error::Compacted);
    pair.shows(RangeRequest { revision: 3, ..all() }, &["a=2 2/3/2"], false, 1);
    pair.apply(compact(6)).expect("it is possible");
    pair.shows(all(), &["a=2 2/3/2", "b=3 4/4/1"], false, 2);
    pair.apply(Request::Put(put("a", "8"))).expect("it is possible");
    pair.shows(one("a"), &["a=8 2/7/3"], false, 1);
    assert_eq!(pair.0.events(7).len(), 1);
}

#[test]
fn compares() {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    use CompareTarget::{Create, Lease, Mod, Value, Version};
    let single = KeyRange::single;
    for (range, result, target, holds) in [
        (single("a"), Equal, Version(2), true),
        (single("a"), Greater, Version(2), false),
        (single("a"), Less, Mod(4), true),
        (single("a"), NotEqual, Mod(3), false),
        (single("a"), Equal, Create(2), true),
        (single("a"), Equal, Value("2".into()), true),
        (single("a"), Greater, Value("10".into()), true),
        (single("a"), Equal, Lease(0), true),
        (single("x"), Equal, Version(0), true),
        (single("x"), Equal, Create(0), true),
        (single("x"), Less, Mod(1), true),
        (single("x"), NotEqual, Value("2".into()), false),
        (single("c"), Equal, Version(0), true),
        (KeyRange::prefix(""), Greater, Mod(2), true),
        (KeyRange::prefix(""), Greater, Mod(3), false),
        (KeyRange::prefix("x"), Equal, Version(0), true),
        (KeyRange::prefix("x"), Equal, Version(1), false),
    ] {
        let mut pair = stocked();
        let about = format!("{range:?} {result:?} {target:?}");
        let answer = pair.apply(txn(vec![compare(range, result, target)], vec![], vec![])).expect("it is possible");
        assert_eq!(answer.body, ResponseBody::Txn { succeeded: holds, responses: vec![] }, "{about}");
        assert!(!answer.changed);
    }
}

#[test]
fn transactions() {
    let mut pair = stocked();
    // An operation sees what those before it did; a compare inside sees the state before the whole.
    let inner = TxnRequest {
        compare: vec![compare(KeyRange::single("d"), CompareResult::Equal, CompareTarget::Version(0))],
        success: vec![RequestOp::Put(put("e", "9"))],
        failure: vec![],
    };
    let ops = vec![
        RequestOp::Put(put("d", "8")),
        RequestOp::Txn(Box::new(inner)),
        RequestOp::Range(RangeRequest::of(KeyRange::prefix("d"))),
        RequestOp::Range(RangeRequest { revision: 6, ..one("d") }),
    ];
    let answer = pair.apply(txn(vec![], ops, vec![])).expect("it is possible");
    let ResponseBody::Txn { responses, .. } = answer.body else { panic!("not a txn") };
    assert_eq!(range_words(&responses[2]).0, ["d=8 7/7/1"]);
    assert_eq!(range_words(&responses[3]).2, 0);
    pair.shows(one("e"), &["e=9 7/7/1"], false, 1);
    // An error inside leaves no trace.
    let late = RequestOp::Range(RangeRequest { revision: 99, ..one("a") });
    pair.refuses(txn(vec![], vec![RequestOp::Put(put("f", "1")), late.clone()], vec![]), Error::FutureRevision);
    // But only in the branch that runs.
    pair.apply(txn(vec![], vec![], vec![late])).expect("the other branch does not run");
    let twice = vec![RequestOp::Put(put("f", "1")), RequestOp::Put(put("f", "2"))];
    pair.refuses(txn(vec![], twice, vec![]), Error::DuplicateKey);
    let both = vec![RequestOp::Put(put("f", "1")), RequestOp::DeleteRange(delete("f"))];
    pair.refuses(txn(vec![], vec![], both), Error::DuplicateKey);
    let gone = vec![RequestOp::DeleteRange(delete("a")), RequestOp::DeleteRange(delete("a"))];
    assert!(pair.apply(txn(vec![], gone, vec![])).expect("deleting twice is possible").changed);
    pair.refuses(txn(vec![], vec![RequestOp::Put(put("", "1"))], vec![]), Error::EmptyKey);
}

#[test]
fn both_forms_agree_and_undo_is_exact() {
    for seed in 0..200 {
        let mut pair = Pair::new();
        let mut plain = Store::new();
        for operation in history(seed, Shape::SMALL).operations {
            let _ = pair.apply(operation.request.clone());
            if !matches!(operation.request, Request::Compact(_)) {
                let _ = plain.apply(&operation.request);
            }
        }
        let half = plain.revision() / 2 + 1;
        let then = plain.window(half);
        plain.rollback(half);
        assert_eq!(plain.window(half), then, "seed {seed}");
        let mut now = Vec::new();
        plain.scan(&KeyRange::prefix(""), super::NEWEST, &mut |key, record| now.push(record.key_value(key)));
        let mut at = Vec::new();
        plain.scan(&KeyRange::prefix(""), half, &mut |key, record| at.push(record.key_value(key)));
        assert_eq!(now, at, "seed {seed}");
    }
}
