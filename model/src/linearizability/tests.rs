//! Right histories are right, and each way of corrupting one is refused by the check named for it.

use detcd_replica::history::Outcome;

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

#[test]
fn a_put_that_keeps_the_value_may_show_any() {
    use detcd_replica::api::{Header, KeyRange, KeyValue, PutRequest, RangeRequest, Request, Response, ResponseBody};
    use detcd_replica::history::{History, Operation, Outcome};
    use detcd_replica::MemberId;

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
