//! Where nodes stand: the delays between them, as profiles (calibration dossier §4.2).
//!
//! A profile says how far apart two nodes are, how much single messages differ, and how many packets are lost. The
//! figures are one-way. It does not know of faults.

use crate::decide::{Decider, Site, Subject};
use crate::distribution::{Normal, Range, Ratio, Shape};

use super::link::{Mode, Parameters};

/// How far apart the nodes of a profile are, one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// All pairs alike: nanoseconds.
    Same(u64),
    /// Each pair draws its own from this range, once a run.
    Drawn(u64, u64),
    /// Node `i` stands in region `i % 5` of five of AWS's: half of the measured round trip.
    Regions,
}

/// A kind of network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name in scenarios.
    pub name: &'static str,
    /// Distance between nodes.
    pub base: Base,
    /// What is added to each message.
    pub jitter: Shape,
    /// Share of packets lost.
    pub loss: Ratio,
}

const US: u64 = 1_000;
const MS: u64 = 1_000_000;

/// Round trips in microseconds between Virginia, Oregon, Ireland, Frankfurt and Tokyo (AWS, 2017).
const REGIONS: [[u64; 5]; 5] = [
    [430, 87_850, 80_550, 88_650, 145_250],
    [87_850, 430, 137_000, 159_500, 89_150],
    [80_550, 137_000, 430, 19_600, 212_400],
    [88_650, 159_500, 19_600, 430, 236_550],
    [145_250, 89_150, 212_400, 236_550, 430],
];

/// Every profile, nearest first.
pub const PROFILES: [Profile; 6] = [
    Profile { name: "loopback", base: Base::Same(10 * US), jitter: jitter(10 * US, 400), loss: Ratio::ZERO },
    Profile { name: "rack", base: Base::Same(60 * US), jitter: jitter(30 * US, 600), loss: Ratio::new(1, 1_000_000) },
    Profile { name: "same_az", base: Base::Same(170 * US), jitter: jitter(40 * US, 600), loss: Ratio::new(1, 100_000) },
    Profile {
        name: "cross_az",
        base: Base::Drawn(350 * US, 1_600 * US),
        jitter: jitter(50 * US, 600),
        loss: Ratio::new(1, 100_000),
    },
    Profile { name: "region", base: Base::Regions, jitter: jitter(300 * US, 800), loss: Ratio::new(1, 10_000) },
    Profile {
        name: "global",
        base: Base::Drawn(70 * MS, 150 * MS),
        jitter: jitter(MS, 900),
        loss: Ratio::new(5, 10_000),
    },
];

const fn jitter(median: u64, sigma_milli: u64) -> Shape {
    Shape::LogNormal { median, sigma_milli }
}

/// The profile of this name.
pub fn profile(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}

impl Profile {
    /// The link from one node to another. The two directions share what the pair draws, and differ by an asymmetry of a
    /// few per cent.
    pub fn link(&self, from: u32, to: u32, decider: &mut Decider) -> Parameters {
        let base = match self.base {
            Base::Same(base) => base,
            Base::Drawn(least, most) => Self::pair_base(from, to, least, most, decider),
            Base::Regions => REGIONS[from as usize % 5][to as usize % 5] * US / 2,
        };
        Parameters { base, jitter: self.jitter, loss: self.loss, mode: Mode::Stream, ..Parameters::PERFECT }
    }

    /// One draw a pair: the network makes the link from the lower to the higher node, and mirrors it.
    fn pair_base(from: u32, to: u32, least: u64, most: u64, decider: &mut Decider) -> u64 {
        decider.decide(Site::NetBase, Subject::pair(from, to), &Range(least, most))
    }

    /// By how many nanoseconds a pair with this base is longer one way, and shorter the other.
    pub fn asymmetry(&self, from: u32, to: u32, base: u64, decider: &mut Decider) -> i64 {
        // A share of the round trip with standard deviation 0.02, at most a fifth of one way.
        let skew = decider.decide(Site::NetAsymmetry, Subject::pair(from, to), &Normal(base / 25));
        let most = (base / 5) as i64;
        skew.clamp(-most, most)
    }
}
