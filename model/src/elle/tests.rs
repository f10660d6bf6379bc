//! A history for each of Elle's names, and the nearest one that is as it should be.

use bytes::Bytes;
use detcd_replica::api::{
    Error, Header, KeyRange, KeyValue, PutRequest, RangeRequest, Request, RequestOp, Response, ResponseBody, TxnRequest,
};
use detcd_replica::history::{History, Operation, Outcome};
use detcd_replica::MemberId;

use super::check;

/// What a transaction does: `a=x y` reads the list `a`, `a+[x|y]` appends.
fn op(text: &str) -> (RequestOp, ResponseBody) {
    if let Some((key, list)) = text.split_once('+') {
        let put = PutRequest::of(Bytes::from(key.to_owned()), Bytes::from(list.to_owned()));
        return (RequestOp::Put(put), ResponseBody::Put { prev_kv: None });
    }
    let (key, list) = text.split_once('=').expect("a read");
    let key = Bytes::from(key.to_owned());
    let kvs = match list {
        "" => Vec::new(),
        list => {
            let value = Bytes::from(list.to_owned());
            let key = key.clone();
            vec![KeyValue { key, create_revision: 2, mod_revision: 2, version: 1, value, lease: 0 }]
        }
    };
    let range = RangeRequest::of(KeyRange::single(key));
    (RequestOp::Range(range), ResponseBody::Range { count: kvs.len() as u64, kvs, more: false })
}

#[derive(Clone, Copy)]
enum How {
    Done,
    /// The compares did not hold: `success` was not done.
    NotTaken,
    Refused,
    Open,
}
use How::{Done, NotTaken, Open, Refused};

/// Client, call, end, what it does.
type Row = (u32, u64, u64, How, &'static [&'static str]);

fn history(rows: &[Row]) -> History {
    let operations = rows.iter().map(|(client, call, at, how, ops)| {
        let (success, responses): (Vec<_>, Vec<_>) = ops.iter().map(|text| op(text)).unzip();
        let header = Header { member: MemberId(1), revision: 1, raft_term: 1 };
        let answer = |succeeded, responses| {
            let body = ResponseBody::Txn { succeeded, responses };
            Outcome::Ok { at: *at, response: Response { header, body } }
        };
        let outcome = match how {
            Done => answer(true, responses),
            NotTaken => answer(false, Vec::new()),
            Refused => Outcome::Failed { at: *at, error: Error::NoSpace },
            Open => Outcome::Unknown { at: Some(*at) },
        };
        let request = Request::Txn(TxnRequest { compare: Vec::new(), success, failure: Vec::new() });
        Operation { client: *client, member: MemberId(1), user: String::new(), call: *call, request, outcome }
    });
    History { operations: operations.collect(), watches: Vec::new() }
}

/// The name that Elle has for what is wrong, and its story.
fn found(rows: &[Row]) -> Option<(String, String)> {
    let summary = check(&history(rows))?.summary;
    let inner = summary.strip_prefix("lists that no order of transactions explains (").expect("a summary");
    let (name, story) = inner.split_once("): ").expect("a name");
    Some((name.to_owned(), story.to_owned()))
}

fn named(name: &str, rows: &[Row]) {
    assert_eq!(found(rows).expect(name).0, name);
}

#[test]
fn transactions_one_after_another_are_fine() {
    let rows: &[Row] = &[
        (1, 1, 2, Done, &["a+[|c1-1]", "b+[|c1-2]"]),
        (2, 3, 9, Done, &["a=[|c1-1]", "b+[c1-2|c2-1 c2-2]"]),
        // At the same time as the one before, and before it.
        (3, 4, 5, Done, &["a=[|c1-1]", "b=[|c1-2]"]),
        (3, 10, 11, Done, &["b=[c1-2|c2-1 c2-2]", "d="]),
        (1, 12, 13, NotTaken, &["a+[|c1-3]"]),
        (2, 14, 15, Open, &["a+[c1-1|c2-3]"]),
        (3, 16, 17, Done, &["a=[|c1-1]"]),
        (1, 18, 19, Done, &["a=[c1-1|c2-3]"]),
    ];
    assert_eq!(found(rows), None);
}

#[test]
fn values_that_are_no_lists_say_nothing() {
    assert_eq!(found(&[(1, 1, 2, Done, &["a+c1-1"]), (1, 3, 4, Done, &["a="])]), None);
    // A key of which somebody makes something else is no list.
    assert_eq!(found(&[(1, 1, 2, Done, &["a+[|c1-1]"]), (1, 3, 4, Done, &["a+7"]), (1, 5, 6, Done, &["a="])]), None);
}

#[test]
fn g0_is_a_circle_of_appends() {
    named(
        "G0",
        &[
            (1, 1, 9, Done, &["a+[|c1-1]", "b+[c2-2|c1-2]"]),
            (2, 1, 9, Done, &["a+[c1-1|c2-1]", "b+[|c2-2]"]),
            (3, 1, 9, Done, &["a=[c1-1|c2-1]", "b=[c2-2|c1-2]"]),
        ],
    );
}

#[test]
fn g1_is_to_read_what_is_not_or_not_yet_there() {
    named("G1a, aborted read", &[(1, 1, 2, Refused, &["a+[|c1-1]"]), (2, 3, 4, Done, &["a=[|c1-1]"])]);
    named("G1a, aborted read", &[(1, 1, 2, NotTaken, &["a+[|c1-1]"]), (2, 3, 4, Done, &["a+[c1-1|c2-1]"])]);
    named("G1b, intermediate read", &[(1, 1, 9, Done, &["a+[|c1-1 c1-2]"]), (2, 3, 4, Done, &["a=[|c1-1]"])]);
    // Each has read what the other has appended.
    named("G1c", &[(1, 1, 9, Done, &["a+[|c1-1]", "b=[|c2-1]"]), (2, 1, 9, Done, &["b+[|c2-1]", "a=[|c1-1]"])]);
}

#[test]
fn g_single_misses_one_append_and_g2_more() {
    // T2 has the one half of T1 and not the other.
    let rows: &[Row] = &[(1, 1, 9, Done, &["a+[|c1-1]", "b+[|c1-2]"]), (2, 1, 9, Done, &["a=[|c1-1]", "b="])];
    let (name, story) = found(rows).expect("read skew");
    assert_eq!(name, "G-single");
    assert_eq!(story, "T1 did not see c1-2 in b, which T2 appended; T1 saw c1-1 in a, which T2 appended");
    // Write skew: each misses what the other appends.
    named("G2-item", &[(1, 1, 9, Done, &["a+[|c1-1]", "b="]), (2, 1, 9, Done, &["b+[|c2-1]", "a="])]);
}

#[test]
fn with_real_time_a_stale_read_is_a_cycle() {
    let stale = |call| -> [Row; 2] { [(1, 1, 5, Done, &["a+[|c1-1]"]), (2, call, 10, Done, &["a="])] };
    named("G-single-realtime", &stale(6));
    assert_eq!(found(&stale(5)), None);
    // One client calls in the moment of its last answer.
    named("G-single-realtime", &[(1, 1, 5, Done, &["a+[|c1-1]"]), (1, 5, 10, Done, &["a="])]);
    // What comes before a transaction that was over.
    named("G0-realtime", &[(1, 1, 2, Done, &["a+[c2-1|c1-1]"]), (2, 3, 4, Done, &["a+[|c2-1]"])]);
    named("G1c-realtime", &[(1, 1, 2, Done, &["a=[|c2-1]"]), (2, 3, 4, Done, &["a+[|c2-1]"])]);
    // Two readers at different places see two appends in different orders.
    named(
        "G2-item",
        &[
            (1, 1, 9, Done, &["a+[|c1-1]"]),
            (2, 1, 9, Done, &["b+[|c2-1]"]),
            (3, 1, 9, Done, &["a=[|c1-1]", "b="]),
            (4, 1, 9, Done, &["a=", "b=[|c2-1]"]),
        ],
    );
}

#[test]
fn a_lost_append_is_a_cycle_or_a_lost_update() {
    named("lost-update", &[(1, 1, 2, Done, &["a+[|c1-1]"]), (2, 3, 4, Done, &["a+[|c2-1]"])]);
    named(
        "incompatible-order",
        &[(1, 1, 9, Done, &["a+[|c1-1]"]), (2, 1, 9, Done, &["a+[c1-1|c2-1]"]), (3, 1, 9, Done, &["a+[c2-1|c3-1]"])],
    );
    named("G-single-realtime", &[(1, 1, 2, Done, &["a+[|c1-1]"]), (2, 3, 4, Done, &["a="])]);
}

#[test]
fn an_element_is_there_once_and_somebodys() {
    let twice: &[Row] = &[
        (1, 1, 2, Open, &["a+[|c1-1]"]),
        (1, 3, 4, Open, &["a+[c1-1|c1-1.2]"]),
        (2, 5, 6, Done, &["a=[c1-1|c1-1.2]"]),
    ];
    named("duplicate-elements", twice);
    named("garbage read", &[(1, 1, 2, Done, &["a+[|c1-1]"]), (2, 3, 4, Done, &["a=[c1-1|c9-9]"])]);
    named("internal", &[(1, 1, 2, Done, &["a+[|c1-1]"]), (2, 3, 4, Done, &["a+[c1-1|c2-1]", "a=[|c1-1]"])]);
}

#[test]
fn a_transaction_without_an_answer_counts_when_it_is_seen() {
    // Its other half is missed by one who came later.
    let rows: &[Row] =
        &[(1, 1, 2, Open, &["a+[|c1-1]", "b+[|c1-2]"]), (2, 3, 4, Done, &["a=[|c1-1]"]), (3, 5, 6, Done, &["b="])];
    named("G-single-realtime", rows);
    // As long as nobody has seen it, it may come later, or never.
    assert_eq!(found(&[(1, 1, 2, Open, &["a+[|c1-1]"]), (3, 5, 6, Done, &["a="])]), None);
}
