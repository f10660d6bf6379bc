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
