//! E4: what a member that becomes the primary lessor makes of checkpoints; E3: who may say that a lease is kept alive.

use bytes::Bytes;
use detcd_replica::api::{Header, Response, ResponseBody};
use detcd_replica::time::Monotonic;
use detcd_replica::{LeaseAnswer, LeaseAsk, LeaseMessage, PeerMessage, RequestId};

use super::*;
use crate::storage::entry;
use crate::storage::request::testing::checkpoint;

/// Whether it is a finding that a new primary gives a lease of 3 s so much time, after a checkpoint with this
/// index. Its term begins with index 8.
fn found(left_ms: u64, remaining_ttl: i64, index: u64) -> bool {
    let now = Monotonic(5_000_000_000);
    let mut lease = Lease::default();
    lease.ttl = 3;
    lease.remaining_ttl = remaining_ttl;
    lease.expiry = Some(now + Span::millis(left_ms));
    let leases = BTreeMap::from([(7, lease)]);
    let fake = Fake::new(1);
    let mut invariants = Invariants::new(&[MemberId(1)]);
    invariants.on_clock(1, now, 0);
    invariants.leases.applied(1, (8, 1), entry::NORMAL, &Bytes::new());
    invariants.leases.applied(1, (index, 1), entry::NORMAL, &checkpoint(7, remaining_ttl).into());
    let primary = View { leases: &leases, is_primary_lessor: true, term: 1, ..fake.view() };
    let finding = invariants.ends_leases(1, &primary).err();
    assert_eq!(invariants.ends_leases(1, &primary), Ok(()), "only becoming the primary counts");
    finding.is_some_and(|finding| finding.check == "E4")
}

#[test]
fn a_new_primary_counts_from_the_last_checkpoint_and_adds_an_election_timeout() {
    for (left_ms, remaining_ttl, is) in [(4_000, 0, false), (4_001, 0, true), (3_000, 2, false), (3_001, 2, true)] {
        assert_eq!(found(left_ms, remaining_ttl, 7), is, "{left_ms} {remaining_ttl}");
        assert!(!found(left_ms, remaining_ttl, 9), "it came later");
    }
}

fn told(from: u64, to: u64, lease: LeaseMessage) -> Output {
    let (from, to, lease) = (MemberId(from), MemberId(to), Some(Box::new(lease)));
    Output::Send(PeerMessage { from, to, version: None, message: Box::default(), chunk: None, lease, hash: None })
}

fn reply(member: u64) -> Output {
    let header = Header { member: MemberId(member), revision: 1, raft_term: 1 };
    let response = Response { header, body: ResponseBody::LeaseKeepAlive { id: 7, ttl: 5 } };
    Output::Reply { id: RequestId(1), result: Box::new(Ok(response)) }
}

/// E3: a member that leads by now passes on what the leader before it has said; for itself it may not say so.
#[test]
fn who_passes_an_answer_on_does_not_keep_the_lease_alive() {
    let fake = Fake::new(1);
    let mut invariants = Invariants::new(&[MemberId(1), MemberId(3)]);
    let mut step = |view: View<'_>, output| invariants.on_step(1, &view, &[output]).err().map(|found| found.check);
    let primary = View { is_primary_lessor: true, ..fake.view() };
    let ask = LeaseMessage::Ask { call: 10, ask: LeaseAsk::KeepAlive { id: 7 } };
    let answer = LeaseMessage::Answer { call: 10, result: Ok(LeaseAnswer::KeptAlive { ttl: 5 }) };
    assert_eq!(step(fake.view(), told(1, 3, ask)), None);
    assert_eq!(step(Fake::new(3).view(), told(3, 1, answer)), None);
    assert_eq!(step(primary, reply(1)), None, "n3 has said it");
    assert_eq!(step(primary, reply(1)), Some("E3"), "nobody has");
}
