//! E4: what a member that becomes the primary lessor makes of checkpoints.

use detcd_replica::time::Monotonic;

use super::*;

/// Whether it is a finding that a new primary gives a lease of 3 s so much time, after this checkpoint.
fn found(left_ms: u64, remaining_ttl: i64) -> bool {
    let now = Monotonic(5_000_000_000);
    let mut lease = Lease::default();
    lease.ttl = 3;
    lease.remaining_ttl = remaining_ttl;
    lease.expiry = Some(now + Span::millis(left_ms));
    let leases = BTreeMap::from([(7, lease)]);
    let fake = Fake::new(1);
    let mut invariants = Invariants::new(&[MemberId(1)]);
    invariants.on_clock(1, now, 0);
    let primary = View { leases: &leases, is_primary_lessor: true, ..fake.view() };
    let finding = invariants.ends_leases(1, &primary).err();
    assert_eq!(invariants.ends_leases(1, &primary), Ok(()), "only becoming the primary counts");
    finding.is_some_and(|finding| finding.check == "E4")
}

#[test]
fn a_new_primary_counts_from_the_last_checkpoint_and_adds_an_election_timeout() {
    for (left_ms, remaining_ttl, is) in [(4_000, 0, false), (4_001, 0, true), (3_000, 2, false), (3_001, 2, true)] {
        assert_eq!(found(left_ms, remaining_ttl), is, "{left_ms} {remaining_ttl}");
    }
}
