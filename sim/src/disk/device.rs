//! The device: when a sync that is issued now completes.
//!
//! A sync waits for its share of the IOPS, for a free lane (or, behind a cache flush, for all of them), then takes what
//! the profile's mixture draws, plus the transfer of what is more than 8 KiB and a cost for each further run of
//! sectors. Stalls and degraded periods are episodes in time, not tails of single syncs: a busy disk does not meet
//! more of them.

use crate::decide::{Decider, Site, Subject};
use crate::distribution::{Exponential, Range, Shape};

use super::profile::{Episode, Profile};
use super::Episodes;

/// With episodes on, no single sync takes longer by chance alone: the tails were fitted to data with stalls in it.
const TAIL_MAX: u64 = 30_000_000;
/// The first bytes of a sync are part of the measured latency.
const FREE_BYTES: u64 = 8 << 10;
/// Bytes of one I/O operation.
const IO_BYTES: u64 = 256 << 10;
/// gp2 starts with 5.4 million credits, one an operation.
const CREDITS: u64 = 5_400_000;

/// What a sync has to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) bytes: u64,
    /// Runs of adjacent bytes.
    pub(super) runs: u64,
}

/// A token bucket: the time at which it would be full.
#[derive(Clone, Debug)]
struct Bucket {
    nanos_per_io: u64,
    /// How far ahead of time it may be drawn on, in nanoseconds.
    depth: u64,
    full_at: u64,
}

impl Bucket {
    fn new(iops: u64, depth_ios: u64) -> Option<Self> {
        let nanos_per_io = 1_000_000_000u64.checked_div(iops)?;
        Some(Self { nanos_per_io, depth: nanos_per_io * depth_ios, full_at: 0 })
    }

    /// Takes so many operations; when they are there.
    fn take(&mut self, now: u64, ios: u64) -> u64 {
        self.full_at = self.full_at.max(now) + ios * self.nanos_per_io;
        now.max(self.full_at.saturating_sub(self.depth))
    }
}

/// The times of one kind of episode, drawn as time comes to them.
#[derive(Clone, Debug)]
struct Times {
    site: Site,
    episode: Episode,
    from: u64,
    until: u64,
}

impl Times {
    fn new(site: Site, episode: Episode, subject: Subject, decider: &mut Decider) -> Self {
        let mut times = Self { site, episode, from: 0, until: 0 };
        times.draw(subject, decider);
        times
    }

    fn draw(&mut self, subject: Subject, decider: &mut Decider) {
        let gap = decider.decide(self.site, subject, &Exponential(self.episode.mean_gap));
        // A neutral gap would be none at all: an episode for ever. Neutral is that there is none.
        if gap == 0 {
            (self.from, self.until) = (u64::MAX, u64::MAX);
            return;
        }
        self.from = self.until.saturating_add(gap);
        let length = decider.decide(self.site, subject, &self.episode.duration).min(self.episode.cap);
        self.until = self.from.saturating_add(length);
    }

    /// The episode that is under way or comes next.
    fn at(&mut self, now: u64, subject: Subject, decider: &mut Decider) -> (u64, u64) {
        while self.until <= now && self.until != u64::MAX {
            self.draw(subject, decider);
        }
        (self.from, self.until)
    }
}

/// One device.
#[derive(Clone, Debug)]
pub(super) struct Device {
    profile: &'static Profile,
    node: u32,
    episodes: Episodes,
    lanes: Vec<u64>,
    buckets: [Option<Bucket>; 2],
    stalls: Option<Times>,
    degraded: Option<Times>,
    pub(super) stall_until: u64,
    pub(super) slowdown_milli: u64,
}

impl Device {
    pub(super) fn new(node: u32, profile: &'static Profile, episodes: Episodes, decider: &mut Decider) -> Self {
        let subject = Subject::one(node);
        let on = episodes == Episodes::On;
        let mut times = |site, episode: Option<Episode>| {
            episode.filter(|_| on).map(|episode| Times::new(site, episode, subject, decider))
        };
        let (stalls, degraded) = (times(Site::DiskStall, profile.stalls), times(Site::DiskDegrade, profile.degraded));
        Self {
            profile,
            node,
            episodes,
            lanes: vec![0; profile.lanes],
            // A tenth of a second's worth may come at once.
            buckets: [Bucket::new(profile.iops, profile.iops / 10), Bucket::new(profile.baseline_iops, CREDITS)],
            stalls,
            degraded,
            stall_until: 0,
            slowdown_milli: 1000,
        }
    }

    /// When a sync issued now on this directory's files completes.
    pub(super) fn sync(&mut self, now: u64, directory: u32, work: Work, decider: &mut Decider) -> u64 {
        let subject = Subject::pair(self.node, directory);
        let profile = self.profile;
        let ios = profile.ios_per_sync + work.bytes / IO_BYTES;
        let mut start = now.max(self.stall_until);
        for bucket in self.buckets.iter_mut().flatten() {
            start = bucket.take(start, ios);
        }
        let barrier = decider.decide(Site::DiskBarrier, subject, &profile.barrier);
        let free = self.lanes.iter().enumerate().map(|(lane, &free)| (free, lane));
        let (free, lane) = free.min().expect("every profile has a lane");
        let idle = if barrier { self.lanes.iter().copied().max().unwrap_or(0) } else { free };
        start = start.max(idle);

        let mut service = self.latency(start, subject, decider);
        let beyond = u128::from(work.bytes.saturating_sub(FREE_BYTES)) * 1_000_000_000;
        service += beyond.checked_div(u128::from(profile.bandwidth)).unwrap_or(0) as u64;
        service += work.runs.saturating_sub(1) * profile.run_cost;
        service = (u128::from(service) * u128::from(self.slowdown_milli) / 1000).min(u128::from(u64::MAX / 4)) as u64;

        let mut end = start + service.max(1);
        if let Some(stalls) = &mut self.stalls {
            let (from, until) = stalls.at(start, Subject::one(self.node), decider);
            if from < end {
                end += until - from.max(start);
            }
        }
        self.lanes[lane] = end;
        end
    }

    fn latency(&mut self, start: u64, subject: Subject, decider: &mut Decider) -> u64 {
        let (component, mut latency) = self.profile.latency.component(decider.raw(Site::DiskSync, subject));
        if self.episodes == Episodes::Off {
            return latency;
        }
        // Tails are the last components; bodies of slow disks may well be longer than the cap.
        let tail = component > 0 && component + 1 == self.profile.latency.shapes.len();
        if tail && self.profile.stalls.is_some() {
            latency = latency.min(TAIL_MAX);
        }
        if let Some(degraded) = &mut self.degraded {
            let (from, _) = degraded.at(start, Subject::one(self.node), decider);
            if from <= start {
                let slow = Range(200_000_000, 500_000_000);
                latency = latency.max(decider.decide(Site::DiskDegrade, subject, &slow));
            }
        }
        latency
    }
}

/// The shortest that anything takes: a sync with nothing to write.
pub(super) const NOTHING: u64 = 2_000;

impl Profile {
    /// The median of an idle sync, roughly: that of the heaviest component. For reports and derived time limits.
    pub fn typical(&self) -> u64 {
        let heaviest = (0..self.latency.shapes.len()).max_by_key(|&i| (self.latency.weights[i], usize::MAX - i));
        match heaviest.map(|i| self.latency.shapes[i]) {
            Some(Shape::LogNormal { median, .. }) => median,
            Some(Shape::ShiftedLogNormal { shift, median, .. }) => shift + median,
            Some(Shape::Pareto { min, .. }) => min,
            Some(Shape::Beta { min, width, b }) => min + width / (b + 1),
            None => 0,
        }
    }
}
