//! A transaction that puts a key in one transaction inside of it and deletes it in a later one, as a watch tells of it.

use detcd_replica::api::{
    DeleteRangeRequest, Header, KeyRange, KeyValue, PutRequest, Request, RequestOp, Response, ResponseBody, Revision,
    TxnRequest, WatchBody, WatchCreate, WatchEvent, WatchEventKind, WatchResponse,
};
use detcd_replica::history::{History, Operation, Outcome, Watch};
use detcd_replica::{MemberId, WatchId};

use crate::{judge, JudgeOptions};

fn header(revision: Revision) -> Header {
    Header { member: MemberId(1), revision, raft_term: 1 }
}

fn operation(call: u64, revision: Revision, request: Request, body: ResponseBody) -> Operation {
    let outcome = Outcome::Ok { at: call + 1, response: Response { header: header(revision), body } };
    Operation { client: 1, member: MemberId(1), user: String::new(), call, request, outcome }
}

fn kv(mod_revision: Revision, version: i64, value: &'static str) -> KeyValue {
    KeyValue { key: "a".into(), create_revision: 2, mod_revision, version, value: value.into(), lease: 0 }
}

/// What the checks find when a watch tells these events of revision 3.
fn found(events: Vec<WatchEvent>) -> Option<&'static str> {
    let inside = |op| RequestOp::Txn(Box::new(TxnRequest { compare: vec![], success: vec![op], failure: vec![] }));
    let delete = DeleteRangeRequest { range: KeyRange::single("a"), prev_kv: false };
    let success = vec![inside(RequestOp::Put(PutRequest::of("a", "2"))), inside(RequestOp::DeleteRange(delete))];
    let txn = TxnRequest { compare: vec![], success, failure: vec![] };
    let done = |body| ResponseBody::Txn { succeeded: true, responses: vec![body] };
    let put = ResponseBody::Put { prev_kv: None };
    let deleted = ResponseBody::DeleteRange { deleted: 1, prev_kvs: vec![] };
    let responses = vec![done(put.clone()), done(deleted)];
    let operations = vec![
        operation(1, 2, Request::Put(PutRequest::of("a", "1")), put),
        operation(3, 3, Request::Txn(txn), ResponseBody::Txn { succeeded: true, responses }),
    ];
    let request = WatchCreate {
        watch: WatchId(0),
        range: KeyRange::single("a"),
        start_revision: 3,
        prev_kv: true,
        progress_notify: false,
        no_put: false,
        no_delete: false,
    };
    let (watch, body) = (Some(WatchId(0)), WatchBody::Events(events));
    let watch = Watch {
        client: 2,
        member: MemberId(1),
        user: String::new(),
        resumes: None,
        call: 0,
        request,
        responses: vec![(9, WatchResponse { watch, header: header(3), body })],
        progress_requests: vec![],
        complete: true,
    };
    let judgement = judge(&History { operations, watches: vec![watch] }, &JudgeOptions::default());
    judgement.findings.first().map(|finding| finding.check)
}

#[test]
fn a_key_that_one_transaction_puts_and_deletes_is_told_of_twice() {
    let put = WatchEvent { kind: WatchEventKind::Put, kv: kv(3, 2, "2"), prev_kv: Some(kv(2, 1, "1")) };
    let gone = KeyValue { create_revision: 0, ..kv(3, 0, "") };
    let delete = WatchEvent { kind: WatchEventKind::Delete, kv: gone, prev_kv: Some(kv(2, 1, "1")) };
    assert_eq!(found(vec![put.clone(), delete.clone()]), None);
    assert_eq!(found(vec![put.clone(), delete.clone(), delete.clone()]), Some("watch-unique"));
    // What was there is what was before the whole transaction.
    let inside = WatchEvent { prev_kv: Some(kv(3, 2, "2")), ..delete };
    assert_eq!(found(vec![put, inside]), Some("watch-prev-kv"));
}

#[test]
fn every_field_of_a_previous_value_counts() {
    let put = |prev| WatchEvent { kind: WatchEventKind::Put, kv: kv(3, 2, "2"), prev_kv: Some(prev) };
    let gone = KeyValue { create_revision: 0, ..kv(3, 0, "") };
    let delete = WatchEvent { kind: WatchEventKind::Delete, kv: gone, prev_kv: Some(kv(2, 1, "1")) };
    let was = kv(2, 1, "1");
    assert_eq!(found(vec![put(was.clone()), delete.clone()]), None);
    for wrong in [
        KeyValue { key: "b".into(), ..was.clone() },
        KeyValue { create_revision: 1, ..was.clone() },
        KeyValue { mod_revision: 1, ..was.clone() },
        KeyValue { version: 2, ..was.clone() },
        KeyValue { value: "0".into(), ..was.clone() },
        KeyValue { lease: 1, ..was.clone() },
    ] {
        assert_eq!(found(vec![put(wrong.clone()), delete.clone()]), Some("watch-prev-kv"), "{wrong:?}");
    }
}

#[test]
fn a_revision_is_found_wherever_the_search_begins() {
    for count in 0..40 {
        // Some revisions have several changes, some have none.
        let list: Vec<Revision> = (0..count).map(|n| n * n / 7 + n % 3 / 2).collect();
        assert!(list.is_sorted(), "{list:?}");
        let mut near = 0;
        for step in 0..400 {
            // Mostly one after the other, at times back.
            let revision = if step % 50 < 40 { step % 50 * 5 } else { step * 37 % 230 };
            let from = list.partition_point(|of| *of < revision);
            let to = list.partition_point(|of| *of <= revision);
            let found = super::of_revision(&list, &mut near, revision, |of| *of);
            assert_eq!((near, found.len()), (from, to - from), "{revision} in {list:?}");
            assert!(found.iter().all(|of| *of == revision));
        }
    }
}
