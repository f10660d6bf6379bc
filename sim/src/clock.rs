//! A node's clocks: what its wall and monotonic clocks show at a moment of true, simulated time.
//!
//! Both run at the node's own rate. The monotonic clock never goes back and stands still while the node is suspended
//! (Linux's `CLOCK_MONOTONIC`, which Go uses); the wall clock runs on, may be off, be stepped, or jump to and fro
//! (strobe). All arithmetic is on integers and exact: a clock is held in billionths of a nanosecond, so that changing
//! the rate or suspending a thousand times loses nothing.
//!
//! Numbers are those of the calibration dossier §5. Who changes a clock, and when, is the fault plan's business.

use detcd_replica::time::{Monotonic, Span};

use crate::decide::{Decider, Site, Subject};
use crate::distribution::Normal;

/// A rate of exactly one: local billionths of a nanosecond in a true nanosecond.
const ONE: i128 = 1_000_000_000;
/// Why no clock overflows.
const IN_TIME: &str = "it starts above zero and only grows, for less than 500 years";

/// How well a node's clock is kept: the standard deviation of what is left of its offset after each correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quality {
    /// No offset, no drift.
    Perfect,
    /// A hardware clock beside the machine (AWS PHC): 5 us.
    Hardware,
    /// A time server in the same network: 100 us.
    Lan,
    /// A pool on the Internet: 5 ms.
    Internet,
}

impl Quality {
    /// Standard deviation of the offset, in nanoseconds.
    pub fn offset_sigma(self) -> u64 {
        match self {
            Self::Perfect => 0,
            Self::Hardware => 5_000,
            Self::Lan => 100_000,
            Self::Internet => 5_000_000,
        }
    }
}

/// A wall clock that jumps to and fro.
#[derive(Clone, Copy, Debug)]
struct Strobe {
    from: u64,
    until: u64,
    period: u64,
    delta: i64,
}

/// The clocks of one node.
#[derive(Clone, Debug)]
pub struct Clock {
    /// True time of the last change; before it the clocks cannot be asked.
    anchor: u64,
    /// What the monotonic clock showed then: nanoseconds, and billionths of one.
    monotonic: u64,
    part: i64,
    /// What the wall clock showed then, likewise, since 1970.
    wall: i128,
    /// How much faster than true time both run, in billionths; 1,000 is one ppm.
    rate_ppb: i64,
    suspended: bool,
    strobe: Option<Strobe>,
}

impl Clock {
    /// At true time 0 the wall shows `epoch` (nanoseconds since 1970) and the monotonic clock `start`.
    pub fn new(start: Monotonic, epoch: i64) -> Self {
        let (monotonic, wall) = (start.0, i128::from(epoch) * ONE);
        Self { anchor: 0, monotonic, part: 0, wall, rate_ppb: 0, suspended: false, strobe: None }
    }

    /// The same, with this node's drift (15 ppm, at most 200) and offset drawn.
    pub fn draw(start: Monotonic, epoch: i64, node: u32, quality: Quality, decider: &mut Decider) -> Self {
        let mut clock = Self::new(start, epoch);
        if quality != Quality::Perfect {
            let ppb = decider.decide(Site::ClockDrift, Subject::one(node), &Normal(15_000));
            clock.set_rate(0, ppb.clamp(-200_000, 200_000));
            clock.correct(0, epoch, node, quality, decider);
        }
        clock
    }

    /// What the monotonic clock shows.
    pub fn monotonic(&self, now: u64) -> Monotonic {
        Monotonic(self.shown(now).0)
    }

    /// What the wall clock shows: nanoseconds since 1970.
    pub fn wall(&self, now: u64) -> i64 {
        let local = (self.wall + i128::from(self.elapsed(now)) * self.rate()).div_euclid(ONE)
            + i128::from(self.strobe_delta(now));
        i64::try_from(local).expect("the wall clock is within 290 years of 1970")
    }

    /// Sets how much faster than true time the clocks run, in billionths (1,000 is one ppm; 1.5e9 is 2.5 times as
    /// fast).
    pub fn set_rate(&mut self, now: u64, rate_ppb: i64) {
        assert!(i128::from(rate_ppb) > -ONE, "a clock does not run backwards: {rate_ppb} ppb");
        self.settle(now);
        self.rate_ppb = rate_ppb;
    }

    /// How much faster than true time they run, in billionths.
    pub fn rate_ppb(&self) -> i64 {
        self.rate_ppb
    }

    /// Steps the wall clock by so many nanoseconds; the monotonic clock does not notice.
    pub fn step(&mut self, now: u64, by: i64) {
        self.settle(now);
        self.wall += i128::from(by) * ONE;
    }

    /// Until `until`, the wall clock is `delta` nanoseconds off in every second period of so many true nanoseconds.
    pub fn strobe(&mut self, now: u64, until: u64, period: u64, delta: i64) {
        self.strobe = Some(Strobe { from: now, until, period: period.max(1), delta });
    }

    /// Sets the wall clock to true wall time (`epoch` at true time 0), except for what this quality leaves.
    pub fn correct(&mut self, now: u64, epoch: i64, node: u32, quality: Quality, decider: &mut Decider) {
        self.settle(now);
        let residual = decider.decide(Site::ClockOffset, Subject::one(node), &Normal(quality.offset_sigma()));
        self.wall = (i128::from(epoch) + i128::from(now) + i128::from(residual)) * ONE;
    }

    /// Ends every fault: true rate, no strobe, not suspended; the wall shows true wall time.
    pub fn heal(&mut self, now: u64, epoch: i64) {
        self.set_rate(now, 0);
        self.resume(now);
        self.strobe = None;
        self.wall = (i128::from(epoch) + i128::from(now)) * ONE;
    }

    /// The node is suspended: its monotonic clock stands still.
    pub fn suspend(&mut self, now: u64) {
        self.settle(now);
        self.suspended = true;
    }

    /// It runs again.
    pub fn resume(&mut self, now: u64) {
        self.settle(now);
        self.suspended = false;
    }

    /// True time at which the monotonic clock will show `deadline`, if nothing changes; `None` while suspended. A timer
    /// keeps its deadline and asks again after each change of rate.
    pub fn true_at(&self, now: u64, deadline: Monotonic) -> Option<u64> {
        let (shown, part) = self.shown(now);
        let missing = deadline.0.saturating_sub(shown);
        self.true_after(now, missing, part)
    }

    /// True time at which the monotonic clock will show `missing` nanoseconds more than now, when it shows `part`
    /// billionths of one beyond what it says.
    fn true_after(&self, now: u64, missing: u64, part: i64) -> Option<u64> {
        if missing == 0 {
            return Some(now);
        }
        if self.suspended {
            return None;
        }
        // Time that is missing, in billionths of a nanosecond. Seconds of it fit into 64 bits, whose division is much
        // cheaper.
        let (missing, rate) = (i128::from(missing) * ONE - i128::from(part), self.rate());
        let after = match (u64::try_from(missing), u64::try_from(rate)) {
            (Ok(missing), Ok(rate)) => missing.div_ceil(rate),
            _ => u64::try_from((missing + rate - 1) / rate).unwrap_or(u64::MAX),
        };
        Some(now.saturating_add(after))
    }

    /// True time at which a span of local time that begins now ends; `None` while suspended.
    pub fn local_after(&self, now: u64, span: Span) -> Option<u64> {
        if span == Span::ZERO {
            return Some(now);
        }
        self.true_after(now, span.0, self.shown(now).1)
    }

    fn rate(&self) -> i128 {
        ONE + i128::from(self.rate_ppb)
    }

    /// What the monotonic clock shows: nanoseconds, and billionths of one.
    fn shown(&self, now: u64) -> (u64, i64) {
        if self.suspended {
            return (self.monotonic, self.part);
        }
        let elapsed = self.elapsed(now);
        if self.rate_ppb == 0 {
            return (self.monotonic.checked_add(elapsed).expect(IN_TIME), self.part);
        }
        // What the rate adds to the time that has passed. Years of a usual drift fit into 64 bits.
        let ahead = i64::try_from(elapsed).ok().and_then(|elapsed| elapsed.checked_mul(self.rate_ppb));
        let ahead = match ahead.and_then(|ahead| ahead.checked_add(self.part)) {
            Some(ahead) => (i128::from(ahead.div_euclid(ONE as i64)), ahead.rem_euclid(ONE as i64)),
            None => {
                let ahead = i128::from(elapsed) * i128::from(self.rate_ppb) + i128::from(self.part);
                (ahead.div_euclid(ONE), ahead.rem_euclid(ONE) as i64)
            }
        };
        let shown = i128::from(self.monotonic) + i128::from(elapsed) + ahead.0;
        let shown = u64::try_from(shown).expect(IN_TIME);
        (shown, ahead.1)
    }

    fn elapsed(&self, now: u64) -> u64 {
        assert!(now >= self.anchor, "a clock is asked about {now}, before its last change at {}", self.anchor);
        now - self.anchor
    }

    fn strobe_delta(&self, now: u64) -> i64 {
        match self.strobe {
            Some(s) if now < s.until && (now.saturating_sub(s.from) / s.period) % 2 == 1 => s.delta,
            _ => 0,
        }
    }

    /// Moves the anchor here, so that a change counts from now on only.
    fn settle(&mut self, now: u64) {
        let elapsed = self.elapsed(now);
        (self.monotonic, self.part) = self.shown(now);
        self.wall += i128::from(elapsed) * self.rate();
        self.anchor = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::draws;
    use std::collections::BTreeMap;

    const SECOND: u64 = 1_000_000_000;

    fn clock() -> Clock {
        Clock::new(Monotonic(5 * SECOND), 1_000)
    }

    #[test]
    fn rates_steps_strobes_and_suspensions_do_what_they_say() {
        let mut c = clock();
        assert_eq!((c.monotonic(7), c.wall(7)), (Monotonic(5 * SECOND + 7), 1_007));
        c.set_rate(0, 100_000); // 100 ppm
        assert_eq!(c.monotonic(SECOND), Monotonic(6 * SECOND + 100_000));
        c.step(SECOND, -400);
        assert_eq!(c.wall(SECOND), SECOND as i64 + 100_000 + 600);
        assert_eq!(c.monotonic(SECOND), Monotonic(6 * SECOND + 100_000));
        c.set_rate(SECOND, 0);
        c.suspend(SECOND);
        assert_eq!(c.monotonic(9 * SECOND), Monotonic(6 * SECOND + 100_000));
        assert_eq!(c.wall(9 * SECOND), 9 * SECOND as i64 + 100_600);
        assert_eq!(c.local_after(9 * SECOND, Span(1)), None);
        c.resume(9 * SECOND);
        assert_eq!(c.local_after(9 * SECOND, Span(1)), Some(9 * SECOND + 1));
        let base = c.wall(9 * SECOND);
        c.strobe(9 * SECOND, 10 * SECOND, 100, 5_000);
        let shown: Vec<_> = (0..4).map(|i| c.wall(9 * SECOND + i * 100) - base).collect();
        assert_eq!(shown, [0, 5_100, 200, 5_300]);
        assert_eq!(c.wall(10 * SECOND + 100), base + SECOND as i64 + 100);
        c.heal(10 * SECOND, 1_000);
        assert_eq!(c.wall(10 * SECOND), 10 * SECOND as i64 + 1_000);
    }

    #[test]
    fn a_timer_ends_at_the_first_nanosecond_that_shows_its_deadline() {
        for rate in [-900_000_000, -200_000, -1, 0, 1, 333_333, 1_500_000_000] {
            let mut c = clock();
            c.set_rate(17, rate);
            for span in [0, 1, 2, 999, 100_000_000, 3_600 * SECOND] {
                let deadline = c.monotonic(1_000) + Span(span);
                let at = c.local_after(1_000, Span(span)).expect("it runs");
                assert!(c.monotonic(at) >= deadline, "{rate} {span}");
                assert!(at == 1_000 || c.monotonic(at - 1) < deadline, "{rate} {span}");
            }
        }
    }

    #[test]
    fn the_monotonic_clock_never_goes_back_and_changes_lose_nothing() {
        let mut draw = draws(9);
        let (mut c, mut quiet) = (clock(), clock());
        quiet.set_rate(0, 333);
        c.set_rate(0, 333);
        let mut now = 0;
        for _ in 0..10_000 {
            now += draw(1_000);
            c.set_rate(now, 333);
            c.step(now, draw(100) as i64 - 50);
            assert_eq!(c.monotonic(now), quiet.monotonic(now), "settling is exact");
        }
        let mut last = c.monotonic(now);
        for _ in 0..10_000 {
            match draw(4) {
                0 => c.set_rate(now, draw(2_000_000_000) as i64 - 900_000_000),
                1 => c.suspend(now),
                2 => c.resume(now),
                _ => c.step(now, -(draw(1_000_000) as i64)),
            }
            assert_eq!(c.monotonic(now), last, "a change keeps continuity");
            now += draw(5_000);
            let shown = c.monotonic(now);
            assert!(shown >= last);
            last = shown;
        }
    }

    #[test]
    fn a_clock_that_is_right_again_keeps_the_part_of_a_nanosecond_that_it_was_ahead() {
        let mut c = clock();
        let mut now = 0;
        // A third of a nanosecond is gained in each turn, and none in between.
        for gained in [0, 0, 1, 1, 1, 2] {
            c.set_rate(now, 333_333_334);
            c.set_rate(now + 1, 0);
            now += 2;
            assert_eq!(c.monotonic(now), Monotonic(5 * SECOND + now + gained));
        }
    }

    #[test]
    fn drawn_clocks_are_within_their_class() {
        let mut decider = Decider::new(5, BTreeMap::new());
        let mut drifts = Vec::new();
        for node in 0..200 {
            let c = Clock::draw(Monotonic(0), 0, node, Quality::Lan, &mut decider);
            assert!(c.wall(0).abs() < 600_000 && c.rate_ppb().abs() <= 200_000);
            drifts.push(c.rate_ppb().abs());
        }
        drifts.sort_unstable();
        assert!((7_000..14_000).contains(&drifts[100]), "median of |N(0, 15 ppm)| is 10 ppm: {}", drifts[100]);
        let perfect = Clock::draw(Monotonic(0), 0, 1, Quality::Perfect, &mut decider);
        assert_eq!((perfect.rate_ppb(), perfect.wall(10)), (0, 10));
    }
}
