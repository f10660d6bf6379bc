//! Small worlds that are explored whole, and bugs that they show.

mod faithful;

use detcd_replica::{Bug, Bugs};

use super::{explore, Bounds, ExploreReport, PropertyKind};

fn report(bounds: &Bounds, bugs: Bugs) -> ExploreReport {
    let report = explore(bounds, bugs);
    let (unique, generated, depth) = (report.unique_states, report.generated, report.depth);
    eprintln!("{bounds:?}: {unique} of {generated} states, depth {depth}, exhausted: {}", report.exhausted);
    for property in &report.properties {
        let actions = property.actions.iter().map(|action| format!("\n    {action}")).collect::<String>();
        eprintln!("{} {}: {}{actions}", property.kind.name(), property.name, property.holds);
    }
    report
}

/// What is not seen in a world, though it is seen in others.
fn unseen(report: &ExploreReport) -> Vec<&'static str> {
    report.properties.iter().filter(|property| !property.holds).map(|property| property.name).collect()
}

/// Another number means that another world was explored: because the replica does something else, or because the state
/// holds more or less. Say in the commit which.
#[test]
fn one_election_and_its_put() {
    let report = report(&Bounds { terms: 1, campaigns: 1, ..Bounds::default() }, Bugs::NONE);
    assert!(report.exhausted);
    assert_eq!(report.counterexample, None);
    assert_eq!((report.unique_states, report.generated, report.depth), (2_935, 7_133, 21));
}

#[test]
fn one_election_while_disks_take_their_time() {
    let bounds = Bounds { terms: 1, campaigns: 1, separate_sync: true, ..Bounds::default() };
    let report = report(&bounds, Bugs::NONE);
    assert!(report.exhausted);
    assert_eq!(report.counterexample, None);
    assert_eq!((report.unique_states, report.generated, report.depth), (28_136, 87_385, 31));
}

/// The one that is explored when nobody says otherwise: every `always` holds, and each was put to the test.
#[test]
fn the_default_world() {
    let report = report(&Bounds::default(), Bugs::NONE);
    assert!(report.exhausted);
    assert_eq!(unseen(&report), Vec::<&str>::new());
    assert_eq!((report.unique_states, report.generated, report.depth), (141_471, 402_924, 30));
}

#[test]
fn limits_end_an_exploration() {
    let deep = explore(&Bounds { max_depth: Some(4), ..Bounds::default() }, Bugs::NONE);
    assert_eq!((deep.exhausted, deep.depth), (false, 4));
    let many = explore(&Bounds { max_states: Some(2_000), ..Bounds::default() }, Bugs::NONE);
    assert!(!many.exhausted && many.generated >= 2_000 && many.generated < 20_000);
    let none = Bounds { campaigns: 0, crashes: 0, max_depth: Some(1), ..Bounds::default() };
    let none = explore(&none, Bugs::NONE);
    assert_eq!((none.exhausted, none.unique_states, none.depth), (true, 1, 0));
}

/// The first property that fails, and in how many actions.
fn found(bounds: &Bounds, bug: Bug) -> (&'static str, usize) {
    let report = report(bounds, Bugs::NONE.with(bug));
    let failed = report.properties.iter().find(|property| property.kind == PropertyKind::Always && !property.holds);
    let failed = failed.expect("the bug is found");
    assert_eq!(report.counterexample.as_ref(), Some(&failed.actions));
    (failed.name, failed.actions.len())
}

#[test]
fn a_vote_that_is_not_synced_elects_two_leaders() {
    let bounds = Bounds { terms: 1, puts: 0, ..Bounds::default() };
    assert_eq!(found(&bounds, Bug::MustsyncIgnoresVote), ("election safety", 7));
}

#[test]
fn an_answer_before_the_sync_elects_two_leaders() {
    let bounds = Bounds { terms: 1, puts: 0, separate_sync: true, ..Bounds::default() };
    assert_eq!(found(&bounds, Bug::SendFollowerRespBeforePersist), ("election safety", 7));
}
