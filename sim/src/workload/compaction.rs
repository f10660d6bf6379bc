//! The compaction client: drops history, sometimes at a revision that is gone or not yet there.
//!
//! A revision is drawn from the last one it compacted at (included) to five beyond the newest it saw, so that
//! "compacted" and "future revision" are answers too. Between compactions it reads, to learn the newest revision.

use detcd_replica::api::{CompactRequest, KeyRange, RangeRequest, Request, Revision};

use super::{Seen, Workload};
use crate::scenario::Chance;

/// The generator, for one client.
#[derive(Clone, Debug, Default)]
pub struct Compaction {
    last: Revision,
    looked: bool,
}

impl Workload for Compaction {
    fn next(&mut self, client: u32, seen: &Seen, chance: &mut dyn Chance) -> Request {
        self.looked = !self.looked;
        if self.looked {
            return Request::Range(RangeRequest { count_only: true, ..RangeRequest::of(KeyRange::prefix("")) });
        }
        let subject = u64::from(client);
        let low = self.last.max(1);
        let width = (seen.revision + 5 - low).max(1) as u64;
        let revision = low + chance.below("compaction.revision", subject, width) as i64;
        // One beyond the newest is refused, and must not push the next ones further into the future.
        self.last = self.last.max(revision.min(seen.revision));
        Request::Compact(CompactRequest { revision, physical: chance.ratio("compaction.physical", subject, 1, 4) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Dice;

    #[test]
    fn revisions_are_between_the_last_compaction_and_a_little_beyond_the_newest() {
        let (mut compaction, mut dice) = (Compaction::default(), Dice(8));
        let (mut future, mut again) = (0, 0);
        for n in 0..2_000 {
            let mut seen = Seen::new(false);
            seen.revision = 1 + n;
            let last = compaction.last;
            if let Request::Compact(compact) = compaction.next(0, &seen, &mut dice) {
                assert!(compact.revision >= last.max(1) && compact.revision < (seen.revision + 5).max(last + 1));
                future += u32::from(compact.revision > seen.revision);
                again += u32::from(compact.revision == last);
            }
        }
        assert!(future > 10 && again > 10, "{future} in the future, {again} compacted already");
    }
}
