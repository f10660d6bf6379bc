//! Swarm: a concrete scenario drawn from a seed.
//!
//! Small constants make rare paths common (snapshots after ten entries, compactions of three keys), and each run leaves
//! out a random half of the fault kinds, because a run that does everything a little does nothing long enough. What the
//! file or the command line states is kept. The first of each list of choices is the neutral one.

use std::collections::BTreeMap;
use std::convert::identity as same;

use detcd_replica::time::Span;

use super::span::Time;
use super::{Chance, Line, Mix, Retention, Scenario, DISK_PROFILES, NETWORK_PROFILES};
use crate::fault::Kind;

/// Draws for one scenario, sparing what it states.
struct Draw<'a> {
    scenario: Scenario,
    chance: &'a mut dyn Chance,
}

impl Draw<'_> {
    fn pick<T: Copy>(&mut self, site: &'static str, choices: &[T]) -> T {
        choices[self.chance.below(site, 0, choices.len() as u64) as usize]
    }

    fn free(&self, path: &str) -> bool {
        !self.scenario.stated.contains(path)
    }
}

/// `draw.field = pick(choices)` unless `section.field` is stated.
macro_rules! draw {
    ($draw:ident, $section:ident . $field:ident, $site:literal, $choices:expr, $wrap:expr) => {
        // The draw is made in any case: a site that sometimes does not ask would make two runs hard to compare.
        let value = $draw.pick($site, &$choices);
        if $draw.free(concat!(stringify!($section), ".", stringify!($field))) {
            $draw.scenario.$section.$field = $wrap(value);
        }
    };
}

impl Scenario {
    /// The scenario that a seed makes of this one: itself unless it is a swarm.
    pub fn drawn(&self, chance: &mut dyn Chance) -> Self {
        if !self.swarm {
            return self.clone();
        }
        let mut draw = Draw { scenario: self.clone(), chance };
        cluster(&mut draw);
        constants(&mut draw);
        surroundings(&mut draw);
        traffic(&mut draw);
        faults(&mut draw);
        let mut scenario = draw.scenario;
        scenario.swarm = false;
        scenario
    }
}

fn cluster(draw: &mut Draw<'_>) {
    draw!(draw, cluster.members, "swarm.members", [3, 3, 3, 1, 5], same);
}

fn constants(draw: &mut Draw<'_>) {
    let timing = draw.pick("swarm.timing", &[(100, 10), (30, 9), (100, 5), (50, 10), (20, 10)]);
    if draw.free("replica.heartbeat_interval") && draw.free("replica.election_ticks") {
        draw.scenario.replica.heartbeat_interval = Some(Time::millis(timing.0));
        draw.scenario.replica.election_ticks = Some(timing.1);
    }
    let millis = |n| Some(Time::millis(n));
    draw!(draw, replica.pre_vote, "swarm.pre_vote", [true, true, true, false], Some);
    draw!(draw, replica.snapshot_count, "swarm.snapshot_count", [1000, 300, 100, 50, 10], Some);
    draw!(draw, replica.snapshot_catch_up_entries, "swarm.catch_up", [100, 50, 10, 5], Some);
    draw!(draw, replica.memory_snapshot_count, "swarm.memory_snapshots", [100, 30, 10], Some);
    draw!(draw, replica.snapshot_chunk_bytes, "swarm.chunk", [32 << 10, 8 << 10, 1 << 10], Some);
    draw!(draw, replica.snapshot_chunk_interval, "swarm.chunk_interval", [0, 1, 5], millis);
    draw!(draw, replica.snapshot_release_delay, "swarm.release_delay", [30_000, 1_000, 100], millis);
    draw!(draw, replica.release, "swarm.release", [Line::V3_6, Line::V3_6, Line::V3_5], Some);
    draw!(draw, replica.backend_batch_interval, "swarm.backend_interval", [100, 50, 20, 5], millis);
    draw!(draw, replica.backend_batch_limit, "swarm.backend_limit", [10_000, 10_000, 100, 7], Some);
    draw!(draw, replica.compaction_batch_limit, "swarm.compaction_batch", [100, 30, 10, 3], Some);
    draw!(draw, replica.wal_segment_bytes, "swarm.wal_segment", [1 << 20, 1 << 17, 1 << 15, 1 << 12], Some);
    draw!(draw, replica.apply_batch, "swarm.apply_batch", [64, 16, 4, 1], Some);
    draw!(draw, replica.max_inflight_messages, "swarm.inflight", [512, 64, 4], Some);
    draw!(draw, replica.max_size_per_message, "swarm.message_size", [1 << 20, 1 << 12, 256], Some);
    draw!(draw, replica.watch_channel, "swarm.watch_channel", [128, 16, 4, 2], Some);
    draw!(draw, replica.watch_batch_revisions, "swarm.watch_batch", [1000, 100, 10, 3], Some);
    draw!(draw, replica.watch_sync_batch, "swarm.watch_sync", [512, 16, 2], Some);
    draw!(draw, replica.watch_progress_interval, "swarm.progress_interval", [100, 500, 2_000], millis);
    draw!(draw, replica.purge_interval, "swarm.purge_interval", [1_000, 5_000, 30_000], millis);
    // With one file a purge may take the only snapshot that the log names, when a newer one has not got its record yet.
    draw!(draw, replica.purge_keep, "swarm.purge_keep", [5, 3, 2], Some);
}

fn surroundings(draw: &mut Draw<'_>) {
    // Near and fast places are drawn more often: far ones leave less room for operations.
    let near = [0, 0, 0, 1, 2, 2, 3, 4].map(|i| NETWORK_PROFILES[i]);
    draw!(draw, network.profile, "swarm.network", near, str::to_owned);
    draw!(draw, network.loss, "swarm.loss", [0, 0, 100, 5_000, 30_000], same);
    draw!(draw, network.duplicate, "swarm.duplicate", [0, 0, 1_000, 30_000], same);
    draw!(draw, network.reorder, "swarm.reorder", [0, 0, 1_000, 50_000], same);
    let fast = [0, 0, 0, 1, 2, 2, 3, 4].map(|i| DISK_PROFILES[i]);
    draw!(draw, disk.profile, "swarm.disk", fast, str::to_owned);
    draw!(draw, clock.drift, "swarm.drift", [0, 100, 5_000, 50_000], same);
}

fn traffic(draw: &mut Draw<'_>) {
    let millis = Time::millis;
    draw!(
        draw,
        workload.name,
        "swarm.workload",
        [Mix::EtcdPut, Mix::EtcdMix, Mix::EtcdMix, Mix::Kubernetes],
        Mix::from
    );
    draw!(draw, clients.count, "swarm.clients", [8, 4, 12, 16], same);
    let pinned = draw.pick("swarm.pinned", &[3, 4, 2, 0]);
    if draw.free("clients.pinned") {
        draw.scenario.clients.pinned = draw.scenario.clients.count * pinned / 4;
    }
    draw!(draw, clients.operations, "swarm.operations", [300, 200, 500, 1_000], same);
    draw!(draw, clients.think_time, "swarm.think_time", [30, 10, 60, 100], millis);
    draw!(draw, clients.request_timeout, "swarm.request_timeout", [1_000, 200, 500, 3_000, 7_500], millis);
    draw!(draw, workload.value_bytes, "swarm.value_bytes", [0, 0, 100, 2_000], same);
    draw!(draw, workload.keys, "swarm.keys", [10, 10, 3, 40], same);
    draw!(draw, workload.compaction_period, "swarm.compaction", [0, 100, 200, 1_000], millis);
    draw!(draw, workload.defragment_period, "swarm.defragment", [0, 0, 1_000, 300], millis);
    draw!(draw, watch.count, "swarm.watchers", [2, 1, 4, 6], same);
    draw!(draw, watch.pinned, "swarm.watchers_pinned", [1, 3, 0], same);
    draw!(draw, watch.per_stream, "swarm.watches_per_stream", [1, 1, 3], same);
    draw!(draw, watch.window, "swarm.watch_window", [64, 16, 4, 1], same);
    draw!(draw, watch.consume_delay, "swarm.consume_delay", [0, 0, 10, 200], millis);
    draw!(draw, watch.progress_period, "swarm.progress", [0, 100, 30], millis);
    draw!(draw, watch.restart_period, "swarm.watch_restart", [0, 300, 1_000], millis);
}

fn faults(draw: &mut Draw<'_>) {
    // Faults are of no use when the traffic is over: they start while it lasts, by a guess of what an operation takes.
    let clients = &draw.scenario.clients;
    let each = clients.operations / clients.count.max(1) + 1;
    let guess = ((clients.think_time.0 + Span::millis(10)) * each).max(Span::millis(500));
    if draw.free("faults.within") {
        draw.scenario.faults.within = Time(guess);
    }
    draw!(draw, faults.settle, "swarm.settle", [200, 0, 600], Time::millis);
    draw!(draw, faults.count, "swarm.episodes", [4, 0, 2, 8, 16], same);
    draw!(draw, faults.duration, "swarm.duration", [300, 100, 1_000, 3_000], Time::millis);
    let modes =
        [Retention::Arbitrary, Retention::Arbitrary, Retention::Mixed, Retention::Nothing, Retention::Everything];
    draw!(draw, faults.retention, "swarm.retention", modes, same);
    let stated = !draw.free("faults.weights") || draw.scenario.stated.iter().any(|p| p.starts_with("faults.weights."));
    let mut weights = BTreeMap::new();
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.breaks_promises()) {
        if draw.chance.ratio("swarm.kind", kind as u64, 1, 2) {
            weights.insert(kind, 1 + draw.chance.below("swarm.weight", kind as u64, 4));
        }
    }
    if !stated {
        draw.scenario.faults.weights = weights;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Plan;
    use crate::scenario::chance::{Dice, Neutral};

    fn swarm() -> Scenario {
        Scenario { swarm: true, ..Scenario::default() }
    }

    #[test]
    fn every_drawn_scenario_is_valid_and_every_kind_is_drawn() {
        let mut dice = Dice(7);
        let mut kinds = std::collections::BTreeSet::new();
        let mut sizes = std::collections::BTreeSet::new();
        for _ in 0..2_000 {
            let scenario = swarm().drawn(&mut dice);
            assert_eq!(scenario.validate(), Ok(()));
            assert!(!scenario.swarm);
            sizes.insert(scenario.cluster.members);
            kinds.extend(Plan::draw(&scenario, &mut dice).episodes.iter().map(|episode| episode.kind));
        }
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [1, 3, 5]);
        let drawable: Vec<_> = Kind::ALL.into_iter().filter(|kind| !kind.breaks_promises()).collect();
        assert_eq!(kinds.into_iter().collect::<Vec<_>>(), drawable);
    }

    #[test]
    fn the_neutral_swarm_has_no_faults() {
        let scenario = swarm().drawn(&mut Neutral);
        assert!(scenario.faults.weights.is_empty());
        assert_eq!(scenario.cluster.members, 3);
        assert!(Plan::draw(&scenario, &mut Neutral).episodes.is_empty());
    }

    #[test]
    fn what_is_stated_is_kept() {
        let mut scenario = swarm();
        scenario.stated = ["cluster.members", "clients.operations", "faults.weights.crash"].map(String::from).into();
        scenario.faults.weights.insert(Kind::Crash, 1);
        for seed in 0..50 {
            let drawn = scenario.drawn(&mut Dice(seed));
            assert_eq!(drawn.cluster.members, 3);
            assert_eq!(drawn.clients.operations, 500);
            assert_eq!(drawn.faults.weights, scenario.faults.weights);
        }
    }
}
