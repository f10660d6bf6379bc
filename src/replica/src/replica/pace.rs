//! The pace of a loop that looks every so often whether there is something to do.
//!
//! etcd's loops tick all the time. A tick that finds nothing changes nothing, so here such a loop sleeps; when
//! something comes, it ticks at the time at which it would have ticked anyway.

use crate::time::{Monotonic, Span};

#[derive(Clone, Debug)]
pub(super) struct Pace {
    interval: Span,
    /// The last tick.
    ticked: Monotonic,
    asleep: bool,
}

impl Pace {
    /// Of a loop whose first tick is on its way.
    pub(super) fn new(interval: Span, now: Monotonic) -> Self {
        Self { interval, ticked: now, asleep: false }
    }

    /// It ticks, and sleeps from now on.
    pub(super) fn tick(&mut self, now: Monotonic) {
        (self.ticked, self.asleep) = (now, true);
    }

    /// There is something for it: the time until its next tick, if it sleeps.
    pub(super) fn wake(&mut self, now: Monotonic) -> Option<Span> {
        let interval = self.interval.0.max(1);
        std::mem::take(&mut self.asleep).then(|| Span(interval - (now.0 - self.ticked.0) % interval))
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.asleep
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_slept_ticks_when_it_would_have_ticked() {
        let mut pace = Pace::new(Span(100), Monotonic(7));
        assert_eq!(pace.wake(Monotonic(50)), None, "a tick is on its way");
        pace.tick(Monotonic(107));
        assert_eq!(pace.wake(Monotonic(107)), Some(Span(100)));
        assert_eq!(pace.wake(Monotonic(110)), None);
        pace.tick(Monotonic(207));
        assert_eq!(pace.wake(Monotonic(1_000)), Some(Span(7)));
        assert!(!pace.is_asleep());
    }
}
