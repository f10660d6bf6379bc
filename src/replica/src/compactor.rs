//! Automatic compaction (`v3compactor`): which revision is compacted when, as a function of the time and the newest
//! revision. Who proposes it is not known here.
//!
//! By revisions: at fixed intervals, everything older than so many revisions. By time: the newest revision is noted ten
//! times in a period (of at most an hour), and what was newest a period ago is compacted, after the first period and
//! then once in each (at most an hour).

use std::collections::VecDeque;

use crate::api::Revision;
use crate::time::{Monotonic, Span};

/// `--auto-compaction-mode` and `--auto-compaction-retention`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AutoCompaction {
    /// None; etcd's default.
    #[default]
    Off,
    /// History of so long is kept; 10 ns or more.
    Periodic(Span),
    /// So many revisions are kept, 1 or more.
    Revisions(Revision),
}

/// Above this a period is compacted in parts.
const HOUR: Span = Span::secs(3600);
/// Looks in a period.
const LOOKS: u64 = 10;

/// One member's compactor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Compactor {
    mode: AutoCompaction,
    /// Time between looks by revisions.
    interval: Span,
    /// The newest revisions at the last looks, of one period and the look before it.
    noted: VecDeque<Revision>,
    /// The last revision that was compacted by this one.
    last: Revision,
    /// When.
    succeeded: Monotonic,
    /// The first compaction waits for a whole period.
    is_first: bool,
}

impl Compactor {
    /// At `now`, with this newest revision; `interval` is the time between looks by revisions.
    pub(crate) fn new(mode: AutoCompaction, interval: Span, now: Monotonic, newest: Revision) -> Self {
        let mut compactor = Self { mode, interval, noted: VecDeque::new(), last: 0, succeeded: now, is_first: true };
        compactor.note(newest);
        compactor
    }

    /// The time from one look to the next; `None` when there are none.
    pub(crate) fn pause(&self) -> Option<Span> {
        match self.mode {
            AutoCompaction::Off => None,
            AutoCompaction::Periodic(period) => Some(period.min(HOUR) / LOOKS),
            AutoCompaction::Revisions(_) => Some(self.interval),
        }
    }

    /// A pause has passed: what to compact now. When nothing is, or when it has come to an end, the next pause begins
    /// with [`Compactor::note`]. Members that do not lead look as well, and compact nothing.
    pub(crate) fn look(&mut self, now: Monotonic, newest: Revision, leads: bool) -> Option<Revision> {
        if !leads {
            return None;
        }
        match self.mode {
            AutoCompaction::Off => None,
            AutoCompaction::Revisions(retention) => {
                let revision = newest - retention;
                (revision > 0 && revision != self.last).then_some(revision)
            }
            AutoCompaction::Periodic(period) => {
                let revision = *self.noted.front()?;
                let wait = if self.is_first { period } else { period.min(HOUR) };
                if now.since(self.succeeded) < wait || revision == self.last {
                    return None;
                }
                self.is_first = false;
                Some(revision)
            }
        }
    }

    /// The compaction at `revision` is done, or was done before. One that fails is tried again after the next pause.
    pub(crate) fn succeeded(&mut self, now: Monotonic, revision: Revision) {
        (self.last, self.succeeded) = (revision, now);
    }

    /// A pause begins, with this newest revision.
    pub(crate) fn note(&mut self, newest: Revision) {
        let AutoCompaction::Periodic(period) = self.mode else { return };
        self.noted.push_back(newest);
        let pause = period.min(HOUR) / LOOKS;
        if self.noted.len() as u64 > period.0 / pause.0.max(1) + 1 {
            self.noted.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many looks, in a member that writes `per_pause` revisions between them. What was compacted, and after how
    /// many looks.
    fn compacted(
        mode: AutoCompaction,
        looks: u64,
        per_pause: Revision,
        leads: impl Fn(u64) -> bool,
        succeeds: impl Fn(u64) -> bool,
    ) -> Vec<(u64, Revision)> {
        let mut now = Monotonic(77);
        let mut compactor = Compactor::new(mode, Span::secs(300), now, 1);
        let pause = compactor.pause().expect("it is on");
        let mut compacted = Vec::new();
        for look in 1..=looks {
            now = now + pause;
            let newest = 1 + look as Revision * per_pause;
            if let Some(revision) = compactor.look(now, newest, leads(look)) {
                compacted.push((look, revision));
                if succeeds(look) {
                    compactor.succeeded(now, revision);
                }
            }
            compactor.note(newest);
        }
        compacted
    }

    const NONE: [(u64, Revision); 0] = [];

    fn yes(_: u64) -> bool {
        true
    }

    #[test]
    fn by_revisions_every_look_compacts_what_is_too_old() {
        let mode = AutoCompaction::Revisions(100);
        assert_eq!(compacted(mode, 5, 60, yes, yes), [(2, 21), (3, 81), (4, 141), (5, 201)]);
        // Nothing new: nothing is asked for twice, unless it has failed.
        assert_eq!(compacted(AutoCompaction::Revisions(1), 3, 0, yes, yes), NONE);
        assert_eq!(compacted(mode, 3, 101, yes, yes), [(1, 2), (2, 103), (3, 204)]);
        assert_eq!(compacted(mode, 5, 60, |look| look > 3, yes), [(4, 141), (5, 201)]);
    }

    #[test]
    fn a_short_period_is_compacted_once_in_each() {
        // Ten looks in a minute; at the tenth, the revision of a minute ago, which was the first. Later it is the one
        // of eleven looks ago: eleven are kept, and the newest is noted after the look.
        let mode = AutoCompaction::Periodic(Span::secs(60));
        assert_eq!(Compactor::new(mode, Span::ZERO, Monotonic(0), 1).pause(), Some(Span::secs(6)));
        assert_eq!(compacted(mode, 35, 10, yes, yes), [(10, 1), (20, 91), (30, 191)]);
        // A failure is tried again with the next look.
        assert_eq!(compacted(mode, 22, 10, yes, |look| look != 10), [(10, 1), (11, 1), (21, 101)]);
    }

    #[test]
    fn a_long_period_is_compacted_every_hour() {
        let mode = AutoCompaction::Periodic(Span::secs(3 * 3600));
        assert_eq!(Compactor::new(mode, Span::ZERO, Monotonic(0), 1).pause(), Some(Span::secs(360)));
        assert_eq!(compacted(mode, 51, 1, yes, yes), [(30, 1), (40, 10), (50, 20)]);
    }

    #[test]
    fn who_does_not_lead_waits_and_who_comes_to_lead_goes_on() {
        let mode = AutoCompaction::Periodic(Span::secs(60));
        assert_eq!(compacted(mode, 30, 10, |look| look >= 17, yes), [(17, 61), (27, 161)]);
        assert_eq!(compacted(mode, 30, 10, |_| false, yes), NONE);
        // Nothing was written since: the revision is the same, and is not asked for again.
        assert_eq!(compacted(mode, 30, 0, yes, yes), [(10, 1)]);
        assert_eq!(Compactor::new(AutoCompaction::Off, Span::secs(1), Monotonic(0), 1).pause(), None);
    }
}
