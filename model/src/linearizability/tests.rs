//! Right histories are right, and each way of corrupting one is refused by the check named for it.

use detcd_replica::api::{
    DeleteRangeRequest, Header, KeyRange, KeyValue, PutRequest, RangeEnd, RangeRequest, Request, Response,
    ResponseBody, WatchBody, WatchCreate, WatchEvent, WatchEventKind, WatchResponse,
};
use detcd_replica::history::{History, Operation, Outcome, Watch};
use detcd_replica::{MemberId, WatchId};

use super::generate::{history, Shape};
use crate::{judge, JudgeOptions};

fn outcome_counts(shape: Shape, seeds: std::ops::Range<u64>) -> (u64, u64) {
    let (mut unknown, mut failed) = (0, 0);
    for seed in seeds {
        let history = history(seed, shape);
        let judgement = judge(&history, &JudgeOptions::default());
        assert_eq!(judgement.findings, [], "seed {seed}: {:#?}", judgement.findings);
        assert_eq!(judgement.undecided, None, "seed {seed}");
        unknown += judgement.operations.unknown;
        failed += judgement.operations.failed;
        assert!(history.operations.iter().any(|operation| matches!(operation.outcome, Outcome::Ok { .. })));
    }
    (unknown, failed)
}

#[test]
fn right_histories_are_linearizable() {
    let (unknown, failed) = outcome_counts(Shape::SMALL, 0..2_000);
    assert!(unknown > 10_000, "there were unknown outcomes: {unknown}");
    assert!(failed > 1_000, "there were refusals: {failed}");
}

#[test]
fn right_histories_are_linearizable_without_watches() {
    outcome_counts(Shape { watches: 0, unknown_percent: 15, ..Shape::SMALL }, 0..1_000);
}

#[test]
fn long_histories_are_linearizable() {
    outcome_counts(Shape { operations: 5_000, unknown_percent: 1, keys: 10, clients: 12, ..Shape::SMALL }, 0..10);
}

#[test]
fn the_length_of_a_history_does_not_exhaust_the_search() {
    let shape = Shape { operations: 20_000, unknown_percent: 3, keys: 10, clients: 12, watches: 0, compactions: true };
    for seed in 0..3 {
        let judgement = judge(&history(seed, shape), &JudgeOptions { steps: 20_000, sessions: false });
        assert_eq!((judgement.findings, judgement.undecided), (vec![], None), "seed {seed}");
    }
}

#[test]
fn what_is_undecided_is_held_against_nobody() {
    let shape = Shape { keys: 2, unknown_percent: 25, ..Shape::SMALL };
    let mut undecided = 0;
    for seed in 0..2_000 {
        let judgement = judge(&history(seed, shape), &JudgeOptions { steps: seed % 4, sessions: false });
        assert_eq!(judgement.findings, [], "seed {seed}: {:#?}", judgement.findings);
        undecided += u32::from(judgement.undecided.is_some());
    }
    assert!(undecided > 100, "{undecided} were undecided");
}

/// No answer names a revision; a watch saw five. One of two deletes made the second of them, and only the other can
/// have made the fourth, so that the likelier choice for the second must be taken back. Else nobody seems to have
/// made the fifth, though that is certain.
#[test]
fn what_only_watches_saw_is_put_in_order_by_trying() {
    let wide = KeyRange { start: "a".into(), end: RangeEnd::Before("c".into()) };
    let delete = |range| Request::DeleteRange(DeleteRangeRequest { range, prev_kv: false });
    let requests = [
        Request::Put(PutRequest::of("a", "1")),
        Request::Put(PutRequest::of("b", "2")),
        delete(KeyRange::single("a")),
        delete(wide),
        Request::Put(PutRequest::of("z", "3")),
    ];
    let member = MemberId(1);
    let operations = requests.into_iter().zip(1u32..).map(|(request, client)| {
        let (call, user) = (u64::from(client), String::new());
        Operation { client, member, user, call, request, outcome: Outcome::Unknown { at: Some(100) } }
    });
    let event = |kind, key: &'static str, value: &'static str, mod_revision| {
        let (create_revision, version) = if kind == WatchEventKind::Put { (mod_revision, 1) } else { (0, 0) };
        let kv = KeyValue { key: key.into(), value: value.into(), create_revision, mod_revision, version, lease: 0 };
        WatchEvent { kind, kv, prev_kv: None }
    };
    let says = |at, revision, body| {
        let header = Header { member, revision, raft_term: 2 };
        (at, WatchResponse { watch: Some(WatchId(0)), header, body })
    };
    let (put, gone) = (WatchEventKind::Put, WatchEventKind::Delete);
    let seen = |last: WatchEvent| {
        let deleted = event(gone, "a", "", 3);
        let events = [event(put, "a", "1", 2), deleted, event(put, "b", "2", 4), last, event(put, "z", "3", 6)];
        let told = events.into_iter().zip(5u64..).map(|(event, at)| says(at, 6, WatchBody::Events(vec![event])));
        let request = WatchCreate {
            watch: WatchId(0),
            range: KeyRange::prefix(""),
            start_revision: 1,
            prev_kv: false,
            progress_notify: false,
            no_put: false,
            no_delete: false,
        };
        let responses = std::iter::once(says(4, 1, WatchBody::Created)).chain(told).collect();
        let (client, user, progress_requests) = (9, String::new(), Vec::new());
        let resumes = None;
        Watch { client, member, user, resumes, call: 3, request, responses, progress_requests, complete: false }
    };
    let judged = |last| {
        let history = History { operations: operations.clone().collect(), watches: vec![seen(last)] };
        judge(&history, &JudgeOptions::default()).findings
    };
    assert_eq!(judged(event(gone, "b", "", 5)), []);
    let found = judged(event(gone, "c", "", 5));
    assert_eq!(found.iter().map(|finding| finding.check).collect::<Vec<_>>(), ["watch-reliable"]);
}

#[test]
fn a_put_that_keeps_the_value_may_show_any() {
    let operation = |client, call, request, outcome| {
        let (member, user) = (MemberId(1), String::new());
        Operation { client, member, user, call, request, outcome }
    };
    let ok = |at, revision, body| {
        let header = Header { member: MemberId(1), revision, raft_term: 1 };
        Outcome::Ok { at, response: Response { header, body } }
    };
    let read = |call, mod_revision, version, value: &'static str| {
        let range = RangeRequest { keys_only: value.is_empty(), ..RangeRequest::of(KeyRange::single("a")) };
        let (key, value) = ("a".into(), value.into());
        let kv = KeyValue { key, create_revision: 2, mod_revision, version, value, lease: 0 };
        let body = ResponseBody::Range { kvs: vec![kv], more: false, count: 1 };
        operation(1, call, Request::Range(range), ok(call + 1, mod_revision, body))
    };
    let keeps = PutRequest { ignore_value: true, ..PutRequest::of("a", "") };
    let open = || Outcome::Unknown { at: Some(20) };
    let operations = vec![
        operation(1, 1, Request::Put(PutRequest::of("a", "1")), ok(2, 2, ResponseBody::Put { prev_kv: None })),
        operation(2, 3, Request::Put(keeps), open()),
        operation(3, 4, Request::Put(PutRequest::of("a", "2")), open()),
        // The first read shows no value. What was written first is the new value, and then it was kept.
        read(5, 3, 2, ""),
        read(7, 3, 2, "2"),
        read(9, 4, 3, "2"),
    ];
    let judgement = judge(&History { operations, watches: Vec::new() }, &JudgeOptions::default());
    assert_eq!((judgement.findings, judgement.undecided), (Vec::new(), None));
}
