//! E1, E3 and E4 from inside: a lease does not end before its time, no change of leaders gives it more time than its
//! last checkpoint and an election timeout, and what a member holds of leases in memory is what its log leads to.
//!
//! Time here is true time, which no member knows. A lease lives for its time on the clock of whoever leads; clocks may
//! be fast, so in true time it lives at least that, divided by the fastest clock there was. A revocation that a client
//! asked for may come at any time; who asked for what is only known when the run is over, so early ones are kept until
//! then.

use std::collections::{BTreeMap, BTreeSet};

use detcd_replica::api::{LeaseId, Request, ResponseBody};
use detcd_replica::history::{Finding, History, Moment};
use detcd_replica::time::Monotonic;
use detcd_replica::{Event, LeaseAnswer, LeaseAsk, LeaseMessage, MemberId, Output, View};

use super::findings::finding;
use super::Invariants;
use crate::storage::entry::{self, Command};

const SECOND: u64 = 1_000_000_000;
/// The rate of a clock is measured over at least so long, in nanoseconds.
const CLOCK_SPAN: u64 = 10_000_000;
/// Parts in the rate of a clock.
const BILLION: u64 = 1_000_000_000;

/// A lease as the judge has seen it live.
#[derive(Clone, Copy, Debug)]
struct Life {
    /// When it was granted, or last known to be kept alive, nanoseconds since the run began.
    since: u64,
    /// How long it is to live from then on, nanoseconds on the clock of whoever leads.
    span: u64,
    /// Of the leader who said so.
    term: u64,
}

impl Life {
    fn new(since: u64, ttl: i64, term: u64) -> Self {
        Self { since, span: u64::try_from(ttl).unwrap_or(0).saturating_mul(SECOND), term }
    }

    /// When it ends, on a clock that is right.
    fn end(self) -> u64 {
        self.since.saturating_add(self.span)
    }
}

/// The newest leader's first sight of itself as the primary lessor.
#[derive(Clone, Copy, Debug, Default)]
struct Promotion {
    term: u64,
    at: u64,
    /// What it gave every lease beyond its time to live: an election timeout, nanoseconds.
    extension: u64,
}

/// A lease that ended too early, if no client asked for that.
#[derive(Clone, Debug)]
struct Early {
    id: LeaseId,
    at: Moment,
    details: Vec<String>,
}

/// What is known of leases in true time.
#[derive(Clone, Debug, Default)]
pub(super) struct Leases {
    /// True time.
    now: u64,
    /// What the clock of the member that goes next shows.
    local: Monotonic,
    /// For each member that runs, an earlier moment, in true time and on its clock. They are few.
    seen: Vec<(MemberId, u64, Monotonic)>,
    /// Who took itself for the primary lessor when it was last seen; mostly one.
    primaries: Vec<MemberId>,
    /// How much faster than true time the fastest clock has run, in billionths.
    fastest: u64,
    lives: BTreeMap<LeaseId, Life>,
    newest: Promotion,
    /// Index of the last entry that says how much time a lease has left.
    checkpointed: BTreeMap<LeaseId, u64>,
    /// The newest term that has an entry, and the index of its first, at which its leader becomes the primary.
    begun: (u64, u64),
    /// Keep-alives that a member has forwarded, by its name for them.
    forwarded: BTreeMap<(MemberId, u64), LeaseId>,
    /// Who has been told by another member that a lease is kept alive, and will pass that on, late perhaps.
    relayed: BTreeSet<(MemberId, LeaseId)>,
    early: Vec<Early>,
}

impl Leases {
    /// It is this late, and a clock runs at this rate.
    pub(super) fn clock(&mut self, now: u64, local: Monotonic, rate_ppb: i64) {
        (self.now, self.local) = (now, local);
        self.fastest = self.fastest.max(u64::try_from(rate_ppb).unwrap_or(0));
    }

    /// The member that goes is this one. A clock that was fast while it did nothing counts as well.
    pub(super) fn goes(&mut self, member: MemberId) {
        let (now, local) = (self.now, self.local);
        let Some(seen) = self.seen.iter_mut().find(|(of, ..)| *of == member) else {
            return self.seen.push((member, now, local));
        };
        let (_, then, shown) = *seen;
        // Over less the clock's own grain would matter.
        if now < then + CLOCK_SPAN {
            return;
        }
        *seen = (member, now, local);
        let passed = u128::from(local.since(shown).as_nanos()) * u128::from(BILLION) / u128::from(now - then);
        let fast = passed.saturating_sub(u128::from(BILLION));
        self.fastest = self.fastest.max(u64::try_from(fast).unwrap_or(u64::MAX / 2));
    }

    /// The member is gone, and whatever it took itself for.
    pub(super) fn crashed(&mut self, member: MemberId) {
        self.primaries.retain(|primary| *primary != member);
        self.seen.retain(|(of, ..)| *of != member);
        self.relayed.retain(|(by, _)| *by != member);
    }

    /// E4: a lease whose time its new primary does not count from its last checkpoint, with how many seconds it should
    /// have at most and what it has, in nanoseconds.
    fn prolonged(&mut self, view: &View<'_>) -> Option<(LeaseId, i64, i64)> {
        if view.is_primary_lessor == self.primaries.contains(&view.member) {
            return None;
        }
        if !view.is_primary_lessor {
            self.primaries.retain(|primary| *primary != view.member);
            return None;
        }
        self.primaries.push(view.member);
        if view.term > self.newest.term {
            self.newest = Promotion { term: view.term, at: self.now, extension: view.election_timeout.as_nanos() };
        }
        // Many that end together are spread, to three quarters of the rate.
        let count = view.leases.len() as u64;
        let spread = if count < view.lease_revoke_rate { 0 } else { 2 + count * 4 / (3 * view.lease_revoke_rate) };
        let grace = view.election_timeout.as_nanos() + spread * SECOND;
        // A checkpoint behind that does not change what it counts.
        let (term, first) = self.begun;
        let counts = |id: &LeaseId| term != view.term || self.checkpointed.get(id).is_none_or(|index| *index < first);
        view.leases.iter().filter(|(id, _)| counts(id)).find_map(|(id, lease)| {
            let seconds = if lease.remaining_ttl > 0 { lease.remaining_ttl } else { lease.ttl };
            let left = lease.remaining(self.local)?;
            let most = i128::from(seconds) * i128::from(SECOND) + i128::from(grace);
            (i128::from(left) > most).then_some((*id, seconds, left))
        })
    }

    /// A leader of this term has said that the lease is kept alive. One that was cut off, or stuck, and goes again,
    /// says so until it has looked at its quorum twice. When it has a successor by then, what it says counts for no
    /// more than that one gave every lease, and for nothing where that one has said so itself.
    fn kept_alive(&mut self, id: LeaseId, ttl: i64, term: u64) {
        let Some(life) = self.lives.get_mut(&id) else { return };
        let (kept, newest) = (Life::new(self.now, ttl, term), self.newest);
        if term >= newest.term {
            *life = kept;
            return;
        }
        let given = Life::new(newest.at, ttl, term);
        let given = Life { span: given.span.saturating_add(newest.extension), ..given };
        let counts = if given.end() < kept.end() { given } else { kept };
        if life.term < newest.term && counts.end() > life.end() {
            *life = counts;
        }
    }

    /// The entry at the end of the reference, with its index and term, was applied for the first time.
    pub(super) fn applied(&mut self, at: Moment, (index, term): (u64, u64), kind: i32, data: &bytes::Bytes) {
        if term > self.begun.0 {
            self.begun = (term, index);
        }
        if !is_about_leases(kind, data) {
            return;
        }
        match entry::proposal(kind, data).map(|proposal| proposal.command) {
            Ok(Command::Checkpoint(checkpoints)) => {
                self.checkpointed.extend(checkpoints.into_iter().map(|(id, _)| (id, index)));
            }
            Ok(Command::Request(Request::LeaseGrant(grant))) => {
                self.lives.entry(grant.id).or_insert(Life::new(self.now, grant.ttl, self.newest.term));
            }
            Ok(Command::Request(Request::LeaseRevoke { id })) => {
                self.checkpointed.remove(&id);
                let Some(life) = self.lives.remove(&id) else { return };
                let least = u128::from(life.span) * u128::from(BILLION);
                let lived = u128::from(self.now - life.since) * u128::from(BILLION + self.fastest);
                if lived < least {
                    let span = life.span / 1_000_000;
                    let details = vec![
                        format!("it was to live {span} ms, of the fastest clock, {} ppb too fast", self.fastest),
                        format!("granted or kept alive {} ms before", (self.now - life.since) / 1_000_000),
                    ];
                    self.early.push(Early { id, at, details });
                }
            }
            _ => {}
        }
    }
}

/// Whether the entry is a grant, a revocation or a checkpoint.
fn is_about_leases(kind: i32, data: &[u8]) -> bool {
    const GRANT: u8 = 8 << 3 | 2;
    const REVOKE: u8 = 9 << 3 | 2;
    const CHECKPOINT: u8 = 11 << 3 | 2;
    matches!(entry::union_tag(kind, data), Some(GRANT | REVOKE | CHECKPOINT))
}

impl Invariants {
    /// It is this late, in nanoseconds of true time; the clock of the member that goes next shows `local`, and runs so
    /// many billionths faster than that.
    pub fn on_clock(&mut self, now: u64, local: Monotonic, rate_ppb: i64) {
        self.leases.clock(now, local, rate_ppb);
    }

    /// E4: a member that has become the primary lessor goes by the last checkpoints.
    pub(super) fn ends_leases(&mut self, at: Moment, view: &View<'_>) -> Result<(), Finding> {
        let Some((id, seconds, left)) = self.leases.prolonged(view).filter(|_| !self.premise_lost) else {
            return Ok(());
        };
        let summary = format!("{} gives lease {id:x} more time than it had left", view.member);
        let grace = view.election_timeout.as_nanos() / 1_000_000;
        let details = vec![
            format!("at its last checkpoint it had {seconds} s; a new leader adds {grace} ms"),
            format!("it has {} ms", left / 1_000_000),
        ];
        Err(finding("E4", at, summary, details))
    }

    /// What a step says about leases: keep-alives that are forwarded and answered. The output after `number` and all
    /// before it have been looked at.
    pub(super) fn said_of_leases(
        &mut self,
        at: Moment,
        view: &View<'_>,
        outputs: &[Output],
        number: usize,
    ) -> Result<(), Finding> {
        match &outputs[number] {
            Output::Reply { result, .. } => {
                let Ok(response) = &**result else { return Ok(()) };
                let ResponseBody::LeaseKeepAlive { id, ttl } = response.body else { return Ok(()) };
                // Whoever was primary when it was asked has answered for itself.
                let relayed = self.leases.relayed.remove(&(view.member, id));
                if ttl > 0 && view.is_primary_lessor && !relayed {
                    self.leases.kept_alive(id, ttl, view.term);
                    let moved = |output: &Output| matches!(output, Output::Event(Event::Applied { .. }));
                    let gone = !view.leases.contains_key(&id) && !outputs[number..].iter().any(moved);
                    if gone && !self.premise_lost {
                        let summary = format!("{} keeps lease {id:x} alive, which it does not have", view.member);
                        return Err(finding("E3", at, summary, vec![format!("answered a time to live of {ttl} s")]));
                    }
                }
            }
            Output::Send(message) => match message.lease.as_deref() {
                Some(LeaseMessage::Ask { call, ask: LeaseAsk::KeepAlive { id } }) => {
                    self.leases.forwarded.insert((message.from, *call), *id);
                }
                Some(LeaseMessage::Answer { call, result: Ok(LeaseAnswer::KeptAlive { ttl }) }) => {
                    if let Some(id) = self.leases.forwarded.remove(&(message.to, *call)) {
                        self.leases.kept_alive(id, *ttl, view.term);
                        self.leases.relayed.insert((message.to, id));
                    }
                }
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    /// E1: a lease that ended before its time, though no client asked for that in `history`.
    pub fn early_expiry(&self, history: &History) -> Option<Finding> {
        let asked = |id| {
            let mut requests = history.operations.iter().map(|operation| &operation.request);
            requests.any(|request| matches!(request, Request::LeaseRevoke { id: other } if *other == id))
        };
        let mut early = self.leases.early.iter().filter(|_| !self.premise_lost);
        let early = early.find(|early| !asked(early.id))?;
        let summary = format!("lease {:x} expired before its time", early.id);
        Some(finding("E1", early.at, summary, early.details.clone()))
    }

    /// E3: a member whose state was just read from its database has the leases, with their keys, that the log leads to.
    pub(super) fn holds_leases(&mut self, at: Moment, place: usize, view: &View<'_>) -> Result<(), Finding> {
        let (id, index) = (view.member, view.consistent_index);
        if self.premise_lost || self.members[place].tainted || index > self.reference.last() {
            return Ok(());
        }
        if view.leases.is_empty() && !self.reference.has_leases() {
            return Ok(());
        }
        let needed = self.needed(place);
        let Ok(fold) = self.reference.at(index, &needed) else { return Ok(()) };
        let differs = view
            .leases
            .iter()
            .find(|(lease, held)| !fold.leases.contains_key(lease) || !held.keys.iter().eq(fold.attached(**lease)));
        let missing = fold.leases.keys().find(|lease| !view.leases.contains_key(lease));
        if let Some(lease) = differs.map(|(lease, _)| lease).or(missing) {
            let summary = format!("{id} holds lease {lease:x} otherwise than the log up to index {index} leads to");
            let keys = view.leases.get(lease).map(|held| held.keys.len());
            let held = format!("held: {}", keys.map_or("nothing".to_owned(), |keys| format!("{keys} keys")));
            let should = match fold.leases.contains_key(lease) {
                true => format!("the log: {} keys", fold.attached(*lease).count()),
                false => "the log: no such lease".to_owned(),
            };
            return Err(finding("E3", at, summary, vec![held, should]));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fake;
    use super::*;
    use crate::storage::request::testing::{attach, checkpoint, grant, revoke};

    fn bytes(data: Vec<u8>) -> bytes::Bytes {
        data.into()
    }

    #[test]
    fn entries_about_leases_are_known_by_their_first_field() {
        let about = [grant(7, 5), revoke(7), checkpoint(7, 3)].map(|data| (data, true));
        let others = [attach("a", 7), Vec::new()].map(|data| (data, false));
        for (data, is) in about.into_iter().chain(others) {
            assert_eq!(is_about_leases(entry::NORMAL, &data), is);
            let numbered = [&[0x08, 0x85, 0x01][..], &data].concat();
            assert_eq!(is_about_leases(entry::NORMAL, &numbered), is);
        }
    }

    #[test]
    fn a_clock_that_was_fast_between_two_steps_counts() {
        let mut leases = Leases::default();
        for (now_ms, local_ms) in [(0, 1_000), (500, 1_560), (505, 1_900)] {
            leases.clock(now_ms * 1_000_000, Monotonic(local_ms * 1_000_000), 0);
            leases.goes(MemberId(1));
        }
        assert_eq!(leases.fastest, 120_000_000);
    }

    #[test]
    fn a_lease_lives_for_its_time_on_the_fastest_clock() {
        for (lived_ms, rate_ppb, kept_ms, early) in [
            (5_000, 0, None, 0),
            (4_999, 0, None, 1),
            (4_999, 1_000_000, None, 0),
            (4_000, 100_000_000, None, 1),
            (7_000, 0, Some(3_000), 1),
            (8_000, 0, Some(3_000), 0),
        ] {
            let mut leases = Leases::default();
            leases.clock(1_000_000, Monotonic(0), rate_ppb);
            leases.applied(1, (1, 1), entry::NORMAL, &bytes(grant(7, 5)));
            if let Some(kept) = kept_ms {
                leases.clock(1_000_000 + kept * 1_000_000, Monotonic(0), 0);
                leases.kept_alive(7, 5, 1);
            }
            leases.clock(1_000_000 + lived_ms * 1_000_000, Monotonic(0), 0);
            leases.applied(2, (2, 1), entry::NORMAL, &bytes(revoke(7)));
            assert_eq!(leases.early.len(), early, "{lived_ms} {rate_ppb} {kept_ms:?}");
        }
    }

    #[test]
    fn what_a_leader_says_after_its_successor_counts_for_what_that_one_gave() {
        for (kept, ends_ms) in [
            // The successor gave 5 s and an election timeout of 1 s.
            (&[(12_000, 2)][..], 16_000),
            // Less than that.
            (&[(10_500, 2)], 15_500),
            // It says so itself, before or behind.
            (&[(12_000, 3)], 17_000),
            (&[(10_200, 3), (10_500, 2)], 15_200),
            (&[(10_500, 2), (10_600, 3)], 15_600),
        ] {
            for early in [0, 1] {
                let mut leases = Leases::default();
                let at = |leases: &mut Leases, ms: u64| leases.clock(ms * 1_000_000, Monotonic(0), 0);
                at(&mut leases, 9_000);
                leases.applied(1, (1, 1), entry::NORMAL, &bytes(grant(7, 5)));
                at(&mut leases, 10_000);
                let fake = Fake::new(2);
                let successor = View { term: 3, is_primary_lessor: true, ..fake.view() };
                assert_eq!(leases.prolonged(&successor), None);
                for (kept_ms, term) in kept {
                    at(&mut leases, *kept_ms);
                    leases.kept_alive(7, 5, *term);
                }
                at(&mut leases, ends_ms - early as u64);
                leases.applied(2, (2, 1), entry::NORMAL, &bytes(revoke(7)));
                assert_eq!(leases.early.len(), early, "{kept:?} {ends_ms}");
            }
        }
    }
}
