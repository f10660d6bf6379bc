//! Where the log may be wrong: from a revision that may be another write's, until a read has shown what all those
//! writes could have touched.
//!
//! A read that was held against the log and fits makes its keys certain, whoever wrote them. Which of the writes was
//! taken stays open, so that once one choice was doubtful, so is every later one.

use detcd_replica::api::{KeyRange, Request, Revision};
use detcd_replica::history::Operation;

use super::claims::Claims;
use crate::spec::covers;

/// Spans of revisions at which some keys may not be as the log has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doubts {
    /// The keys of all writes that may have had a place, in order of their calls.
    keys: Vec<KeyRange>,
    /// First revision, the first one after it whose state is certain again (but not yet how it came about), and how
    /// many of the keys: ascending, and apart.
    spans: Vec<(Revision, Revision, usize)>,
    /// From here on nothing is certain.
    lost: Option<Revision>,
}

impl Doubts {
    /// Of choices, in the order of their revisions: revision, the keys that the choice was about, whether there was
    /// another.
    pub(super) fn of<'c>(
        choices: impl Iterator<Item = (Revision, &'c [KeyRange], bool)>,
        lost: Option<Revision>,
        operations: &[&Operation],
        claims: &Claims,
    ) -> Self {
        let mut doubts = Self { lost, ..Self::default() };
        let mut shown: Option<Vec<(Revision, &KeyRange)>> = None;
        for (from, keys, _) in choices.skip_while(|(.., doubtful)| !doubtful) {
            if keys.len() > doubts.keys.len() {
                // They are called later, so they are more.
                doubts.keys = keys.to_vec();
            }
            let shown = shown.get_or_insert_with(|| claims.shown(operations));
            let later = &shown[shown.partition_point(|(revision, _)| *revision < from)..];
            let settles = |range: &KeyRange| keys.iter().all(|key| covers(range, key));
            let until = later.iter().find(|(_, range)| settles(range)).map_or(Revision::MAX, |(revision, _)| *revision);
            match doubts.spans.last_mut() {
                Some(last) if from <= last.1 => (last.1, last.2) = (last.1.max(until), last.2.max(keys.len())),
                _ => doubts.spans.push((from, until, keys.len())),
            }
            if until == Revision::MAX {
                // Nothing settles it, nor what comes later: all its keys are in doubt from here on.
                doubts.spans.last_mut().expect("it was pushed").2 = usize::MAX;
            }
        }
        doubts
    }

    /// The last span that begins at the revision or before: its end, and how many of the keys.
    fn span(&self, revision: Revision) -> Option<(Revision, usize)> {
        let after = self.spans.partition_point(|(from, ..)| *from <= revision);
        let (_, until, keys) = self.spans.get(after.checked_sub(1)?)?;
        Some((*until, *keys))
    }

    /// Whether the log may be wrong about what the revision did to the key. The read that settles a doubt shows what
    /// there is, and not which of the revisions up to its own has deleted what is not there.
    pub(crate) fn about(&self, key: &[u8], revision: Revision) -> bool {
        let lost = self.lost.is_some_and(|from| from <= revision);
        let inside = self.span(revision).filter(|(until, _)| revision <= *until);
        lost || inside.is_some_and(|(_, keys)| self.keys.iter().take(keys).any(|range| range.contains(key)))
    }

    /// Whether it may be wrong about what some key is at the revision.
    pub(crate) fn at(&self, revision: Revision) -> bool {
        let lost = self.lost.is_some_and(|from| from <= revision);
        lost || self.span(revision).is_some_and(|(until, _)| revision < until)
    }
}

impl Claims {
    /// The reads that show all there is in their range, by the revision they show.
    fn shown<'o>(&self, operations: &[&'o Operation]) -> Vec<(Revision, &'o KeyRange)> {
        let mut shown = Vec::new();
        for revision in 0..self.read_starts.len().saturating_sub(1) {
            let revision = revision as Revision;
            for number in self.reads_at(revision) {
                let Request::Range(range) = &operations[*number as usize].request else { continue };
                let filters = [range.min_mod_revision, range.max_mod_revision];
                let created = [range.min_create_revision, range.max_create_revision];
                let whole = range.limit == 0 && filters == [0; 2] && created == [0; 2];
                if whole && !range.keys_only && !range.count_only {
                    shown.push((revision, &range.range));
                }
            }
        }
        shown
    }
}
