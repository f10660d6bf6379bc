//! What has happened in a world, as far as a property needs it, and the judgement of each step against it.

use std::collections::BTreeMap;

use detcd_replica::{LogView, Role};

use super::disk::entry_hash;
use super::member::{Member, Seen};
use std::sync::Arc;

/// The properties that must always hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Rule {
    ElectionSafety,
    LogMatching,
    LeaderCompleteness,
    StateMachineSafety,
    AcknowledgedIsDurable,
    NoPanic,
}

impl Rule {
    pub(super) const ALL: [Self; 6] = [
        Self::ElectionSafety,
        Self::LogMatching,
        Self::LeaderCompleteness,
        Self::StateMachineSafety,
        Self::AcknowledgedIsDurable,
        Self::NoPanic,
    ];
}

/// An index that somebody took for committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Committed {
    term: u64,
    hash: u64,
    /// The term of the first member that knew. Leaders of later terms must have the entry.
    known_in: u64,
}

/// What can no longer be seen by looking at the members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct History {
    /// Who led each term.
    pub(super) leaders: BTreeMap<u64, usize>,
    committed: Vec<Committed>,
    /// Term and hash of what was applied at each index.
    applied: Vec<(u64, u64)>,
    /// Index and term of the puts whose clients have their answer.
    pub(super) acknowledged: Vec<(u64, u64)>,
    /// One bit a rule.
    broken: u8,
}

impl History {
    pub(super) fn is_broken(&self) -> bool {
        self.broken != 0
    }

    pub(super) fn holds(&self, rule: Rule) -> bool {
        self.broken & (1 << rule as u8) == 0
    }

    /// Whether somebody has led a term after the one in which a put was acknowledged.
    pub(super) fn led_after_acknowledged(&self) -> bool {
        let last = self.leaders.keys().next_back();
        self.acknowledged.iter().any(|(_, term)| last > Some(term))
    }

    pub(super) fn breaks(&mut self, rule: Rule) {
        self.broken |= 1 << rule as u8;
    }

    /// Member `who` has acted, and this was `seen` of it; `members` are all as they are now.
    pub(super) fn note(&mut self, who: usize, seen: &Seen, members: &[Arc<Member>]) {
        if seen.stopped {
            self.breaks(Rule::NoPanic);
        }
        for term in &seen.led {
            if *self.leaders.entry(*term).or_insert(who) != who {
                self.breaks(Rule::ElectionSafety);
            }
        }
        self.note_committed(&members[who]);
        self.note_applied(seen);
        self.acknowledged.extend(&seen.acknowledged);
        self.check_leader(&members[who]);
        for (other, member) in members.iter().enumerate() {
            if other != who && !logs_match(&members[who].view().log, &member.view().log) {
                self.breaks(Rule::LogMatching);
            }
        }
        self.check_durable(members);
    }

    fn note_committed(&mut self, member: &Member) {
        let view = member.view();
        for index in 1..=view.commit {
            let Some(entry) = view.log.entry(index) else {
                self.breaks(Rule::StateMachineSafety);
                return;
            };
            let (term, hash) = (entry.term, entry_hash(entry));
            match self.committed.get(index as usize - 1) {
                Some(known) if (known.term, known.hash) != (term, hash) => self.breaks(Rule::StateMachineSafety),
                Some(_) => {}
                None => self.committed.push(Committed { term, hash, known_in: view.term }),
            }
        }
    }

    fn note_applied(&mut self, seen: &Seen) {
        for (index, term, hash) in &seen.applied {
            match self.applied.get(*index as usize - 1) {
                Some(known) if known != &(*term, *hash) => self.breaks(Rule::StateMachineSafety),
                Some(_) => {}
                None if self.applied.len() as u64 + 1 == *index => self.applied.push((*term, *hash)),
                None => self.breaks(Rule::StateMachineSafety),
            }
        }
    }

    fn check_leader(&mut self, member: &Member) {
        let view = member.view();
        if view.role != Role::Leader {
            return;
        }
        for (place, committed) in self.committed.iter().enumerate() {
            let entry = view.log.entry(place as u64 + 1);
            let has = entry.is_some_and(|entry| (entry.term, entry_hash(entry)) == (committed.term, committed.hash));
            if committed.known_in < view.term && !has {
                self.broken |= 1 << Rule::LeaderCompleteness as u8;
            }
        }
    }

    /// Each acknowledged put would survive the loss of power of all members together.
    fn check_durable(&mut self, members: &[Arc<Member>]) {
        for (index, term) in self.acknowledged.clone() {
            let has = |member: &&Arc<Member>| {
                let entries = &member.disk().durable().entries;
                entries.get(index as usize - 1).is_some_and(|entry| entry.0 == term)
            };
            if members.iter().filter(has).count() <= members.len() / 2 {
                self.breaks(Rule::AcknowledgedIsDurable);
            }
        }
    }
}

/// If two logs have an entry with the same index and term, they are the same up to there.
fn logs_match(one: &LogView<'_>, other: &LogView<'_>) -> bool {
    let mut must = false;
    for index in (1..=one.last_index().min(other.last_index())).rev() {
        let (Some(left), Some(right)) = (one.entry(index), other.entry(index)) else { return false };
        must |= left.term == right.term;
        if must && (left.term != right.term || left.entry_type != right.entry_type || left.data != right.data) {
            return false;
        }
    }
    true
}
