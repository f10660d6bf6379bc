//! Small worlds that are explored whole, and bugs that they show.

mod faithful;

use detcd_replica::{Bug, Bugs};

use super::{explore, Bounds, ExploreReport, PropertyKind};

fn report(bounds: &Bounds, bugs: Bugs) -> ExploreReport {
    let report = explore(bounds, bugs);
    eprintln!(
        "{} unique, {} generated, depth {}, exhausted {}",
        report.unique_states, report.generated, report.depth, report.exhausted
    );
    for property in &report.properties {
        let examples = property.actions.iter().map(|action| format!("\n    {action}")).collect::<String>();
        eprintln!("{} {} {}{examples}", property.kind.name(), property.name, property.holds);
    }
    report
}

#[test]
fn a_small_world_is_seen_whole() {
    let bounds = Bounds { terms: 1, ..Bounds::default() };
    let report = report(&bounds, Bugs::NONE);
    assert!(report.exhausted);
    assert_eq!(report.counterexample, None);
    assert_eq!(report.unique_states, 0);
}

#[test]
#[cfg(not(debug_assertions))]
fn the_default_world() {
    let report = report(&Bounds::default(), Bugs::NONE);
    assert!(report.exhausted);
    assert!(report.properties.iter().all(|property| property.holds));
}

/// The first property that fails, and how many actions it takes.
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
