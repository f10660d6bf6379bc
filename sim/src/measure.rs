//! How long things took in a run: what a researcher asks of a world, beside whether it is right.
//!
//! Times are simulated, and a function of the seed like everything else. They are no part of the digest: measuring must
//! change nothing.

/// Buckets that each power of two is split into: a quantile is at most 3 % above what it stands for.
const SPLIT: u32 = 32;

/// A distribution of times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Times {
    /// One that took so many nanoseconds.
    pub fn record(&mut self, nanos: u64) {
        let place = bucket(nanos);
        if self.buckets.len() <= place {
            self.buckets.resize(place + 1, 0);
        }
        self.buckets[place] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    /// All of another one, too.
    pub fn merge(&mut self, other: &Self) {
        if self.buckets.len() < other.buckets.len() {
            self.buckets.resize(other.buckets.len(), 0);
        }
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest, in nanoseconds; 0 when there is none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// What `per_mille` of a thousand took at most, in nanoseconds; 0 when there is none.
    pub fn quantile(&self, per_mille: u64) -> u64 {
        let rank = (self.count * per_mille).div_ceil(1000).max(1);
        let mut below = 0;
        for (place, count) in self.buckets.iter().enumerate() {
            below += count;
            if below >= rank {
                return upper(place).min(self.max);
            }
        }
        self.max
    }

    /// How many took at most so many nanoseconds, give or take those of one bucket.
    pub fn at_most(&self, nanos: u64) -> u64 {
        self.buckets.iter().enumerate().take_while(|(place, _)| upper(*place) <= nanos).map(|(_, count)| count).sum()
    }
}

fn bucket(nanos: u64) -> usize {
    let exponent = nanos.max(1).ilog2();
    match exponent.checked_sub(SPLIT.ilog2()) {
        None => nanos as usize,
        Some(shift) => (u64::from(shift * SPLIT) + (nanos >> shift)) as usize,
    }
}

/// The longest time that falls into a bucket.
fn upper(place: usize) -> u64 {
    let place = place as u64;
    let split = u64::from(SPLIT);
    if place < 2 * split {
        return place;
    }
    let shift = place / split - 1;
    let within = place - shift * split;
    ((within + 1) << shift) - 1
}

/// What is measured of every run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// From a client's sending of a request that writes to an answer that is no error.
    pub writes: Times,
    /// The same of one that only reads.
    pub reads: Times,
    /// Syncs of the log.
    pub wal_syncs: Times,
    /// Syncs of the database.
    pub db_syncs: Times,
    /// From the end of a member that led to the next election that is won.
    pub leaderless: Times,
}

impl Measures {
    /// Each by its name.
    pub fn named(&self) -> [(&'static str, &Times); 5] {
        [
            ("writes", &self.writes),
            ("reads", &self.reads),
            ("wal_syncs", &self.wal_syncs),
            ("db_syncs", &self.db_syncs),
            ("leaderless", &self.leaderless),
        ]
    }

    /// All of another run's, too.
    pub fn merge(&mut self, other: &Self) {
        self.writes.merge(&other.writes);
        self.reads.merge(&other.reads);
        self.wal_syncs.merge(&other.wal_syncs);
        self.db_syncs.merge(&other.db_syncs);
        self.leaderless.merge(&other.leaderless);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_the_bucket_that_ends_above_it() {
        for nanos in (0..70).chain([99, 100, 1_000, 1_000_000, 123_456_789, u64::from(u32::MAX), 1 << 40]) {
            let place = bucket(nanos);
            assert!(upper(place) >= nanos, "{nanos}");
            assert!(place == 0 || upper(place - 1) < nanos, "{nanos}");
            assert!(upper(place) - nanos <= nanos / 32, "{nanos}");
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut times = Times::default();
        assert_eq!((times.quantile(500), times.max()), (0, 0));
        (1..=1000).for_each(|millis| times.record(millis * 1_000_000));
        for (per_mille, millis) in [(1, 1), (500, 500), (990, 990), (1000, 1000)] {
            let (found, exact) = (times.quantile(per_mille), millis * 1_000_000);
            assert!(found >= exact && found <= exact + exact / 32, "{per_mille}: {found}");
        }
        let mut twice = times.clone();
        twice.merge(&times);
        assert_eq!((twice.count(), twice.quantile(500)), (2000, times.quantile(500)));
        let below = times.at_most(250_000_000);
        assert!((240..=250).contains(&below), "{below}");
    }
}
