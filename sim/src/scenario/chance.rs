//! Chance, as clients, workloads, fault plans and swarm scenarios ask for it: by name.
//!
//! Each site has a neutral value, 0 or `false`, that means "nothing special": the first of a list, the least delay, no
//! fault. Whoever asks must arrange its choices so. Where the values come from is not known here.

use detcd_replica::time::Span;

/// A source of labelled decisions. Draws of one `(site, subject)` are numbered in the order of asking, so a draw
/// under one label never moves a draw under another.
pub trait Chance {
    /// A number below `n`, each as likely. `n` is 1 or more; the neutral value is 0.
    fn below(&mut self, site: &'static str, subject: u64, n: u64) -> u64;

    /// True in `numer` of `denom` cases. The neutral value is `false`.
    fn ratio(&mut self, site: &'static str, subject: u64, numer: u64, denom: u64) -> bool;

    /// A waiting time with this mean, memoryless. The neutral value is no time at all.
    fn exponential(&mut self, site: &'static str, subject: u64, mean: Span) -> Span;
}

#[cfg(test)]
pub(crate) use dice::{Dice, Neutral};

#[cfg(test)]
mod dice {
    use super::{Chance, Span};

    /// A plain generator for tests: splitmix64.
    pub(crate) struct Dice(pub(crate) u64);

    impl Dice {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    impl Chance for Dice {
        fn below(&mut self, site: &'static str, _: u64, n: u64) -> u64 {
            assert!(n > 0, "{site} has a choice of nothing");
            assert!(site.contains('.'), "{site} is not dotted");
            self.next() % n
        }
        fn ratio(&mut self, site: &'static str, subject: u64, numer: u64, denom: u64) -> bool {
            self.below(site, subject, denom) < numer
        }
        fn exponential(&mut self, _: &'static str, _: u64, mean: Span) -> Span {
            let unit = ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64;
            Span((-libm::log(unit) * mean.0 as f64) as u64)
        }
    }

    /// Every decision neutral.
    pub(crate) struct Neutral;

    impl Chance for Neutral {
        fn below(&mut self, _: &'static str, _: u64, _: u64) -> u64 {
            0
        }
        fn ratio(&mut self, _: &'static str, _: u64, _: u64, _: u64) -> bool {
            false
        }
        fn exponential(&mut self, _: &'static str, _: u64, _: Span) -> Span {
            Span::ZERO
        }
    }
}
