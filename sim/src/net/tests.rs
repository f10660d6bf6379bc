//! What the network promises, over all profiles and many seeds.

use super::*;
use crate::distribution::Ratio;
use std::collections::BTreeMap;

const MS: u64 = 1_000_000;

fn decider(seed: u64) -> Decider {
    Decider::new(seed, BTreeMap::new())
}

fn network(name: &str, decider: &mut Decider) -> Network {
    Network::new(3, profile(name).expect("a profile"), decider)
}

fn impaired(f: impl Fn(&mut Impairment)) -> Impairment {
    let mut impairment = Impairment::NONE;
    f(&mut impairment);
    impairment
}

/// Sends `n` messages `gap` apart from 0 to 1.
fn send(network: &mut Network, decider: &mut Decider, n: u64, gap: u64) -> Vec<Delivery> {
    (0..n).map(|i| network.send(i * gap, 0, 1, 200, decider)).collect()
}

#[test]
fn round_trips_are_those_of_the_dossier() {
    // (profile, p50, p99) of the round trip in microseconds, for the profiles with a fixed base.
    for (name, p50, p99) in [("loopback", 40, 60), ("rack", 190, 300), ("same_az", 430, 580)] {
        let mut decider = decider(1);
        let mut network = network(name, &mut decider);
        let mut trips: Vec<u64> = (0..20_000u64)
            .map(|i| {
                let sent = i * 1000 * MS;
                let there = network.send(sent, 0, 1, 100, &mut decider).times()[0];
                network.send(there, 1, 0, 100, &mut decider).times()[0] - sent
            })
            .collect();
        trips.sort_unstable();
        let near = |value: u64, expect: u64| value.abs_diff(expect * 1000) * 100 <= expect * 1000 * 12;
        assert!(near(trips[10_000], p50), "{name} p50 {}", trips[10_000]);
        assert!(near(trips[19_800], p99), "{name} p99 {}", trips[19_800]);
    }
}

#[test]
fn far_pairs_differ_and_stay_in_range() {
    let mut decider = decider(4);
    let network = Network::new(8, profile("cross_az").expect("a profile"), &mut decider);
    let bases: std::collections::BTreeSet<_> = (1..8).map(|to| network.parameters(0, to).base).collect();
    assert_eq!(bases.len(), 7);
    for (a, b) in [(0, 1), (3, 6)] {
        let (there, back) = (network.parameters(a, b).base, network.parameters(b, a).base);
        assert!((280_000..2_000_000).contains(&there) && there.abs_diff(back) < there / 2);
    }
    let region = Network::new(7, profile("region").expect("a profile"), &mut decider);
    assert!(region.parameters(0, 5).base < MS, "the same region");
    assert!(region.parameters(0, 4).base.abs_diff(72_625_000) < 16 * MS, "Virginia and Tokyo");
}

#[test]
fn a_stream_keeps_order_whatever_is_lost() {
    for seed in 0..50 {
        let mut decider = decider(seed);
        let mut network = network("same_az", &mut decider);
        network.impair(
            0,
            1,
            impaired(|i| {
                (i.loss, i.duplicate, i.reorder) = (Ratio::new(1, 4), Ratio::ONE, Ratio::ONE);
                i.delay_max = 5 * MS;
            }),
        );
        let all = send(&mut network, &mut decider, 300, MS);
        let times: Vec<u64> = all.iter().map(|d| d.times()[0]).collect();
        assert!(all.iter().all(|d| d.times().len() == 1 && d.dropped.is_none()));
        assert!(times.windows(2).all(|pair| pair[0] <= pair[1]), "seed {seed}");
        let tally = *network.tally();
        assert!(tally.retransmitted > 20 && tally.delayed > 200 && tally.lost + tally.duplicated == 0);
    }
}

#[test]
fn loss_on_a_quiet_stream_costs_a_timeout_and_delays_what_follows() {
    let mut decider = decider(1);
    let mut network = network("loopback", &mut decider);
    network.impair(0, 1, impaired(|i| i.loss = Ratio::ONE));
    let lost = network.send(0, 0, 1, 100, &mut decider).times()[0];
    assert!(lost >= 200 * MS, "{lost}");
    network.impair(0, 1, Impairment::NONE);
    assert!(network.send(MS, 0, 1, 100, &mut decider).times()[0] >= lost);
}

#[test]
fn datagrams_are_lost_doubled_and_reordered_as_often_as_asked() {
    let mut decider = decider(2);
    let mut network = network("same_az", &mut decider);
    network.set_all(|p| p.mode = Mode::Datagram);
    network.impair(
        0,
        1,
        impaired(|i| {
            (i.loss, i.duplicate, i.reorder) = (Ratio::new(1, 10), Ratio::new(1, 5), Ratio::new(1, 2));
            i.reorder_window = 20 * MS;
        }),
    );
    let all = send(&mut network, &mut decider, 10_000, MS);
    let count = |n: usize| all.iter().filter(|d| d.times().len() == n).count();
    assert!((850..1150).contains(&count(0)), "{}", count(0));
    assert!((1600..2000).contains(&count(2)), "{}", count(2));
    let tally = network.tally();
    assert_eq!((tally.lost as usize, tally.duplicated as usize), (count(0), count(2)));
    assert!(tally.reordered > 1000);
}

#[test]
fn partitions_count_and_messages_on_their_way_are_cut_too() {
    let mut decider = decider(3);
    let mut network = network("same_az", &mut decider);
    let on_its_way = network.send(0, 0, 1, 100, &mut decider);
    let (isolate, pair) = (Partition::Isolate { node: 0, peers: vec![1, 2] }, Partition::Pair(0, 1));
    network.cut(&isolate);
    network.cut(&pair);
    assert!(!network.accept(0, 1, on_its_way.epoch));
    assert_eq!(network.send(0, 0, 1, 100, &mut decider).dropped, Some(Reason::Partitioned));
    assert_eq!(network.send(0, 1, 2, 100, &mut decider).times().len(), 1);
    network.mend(&isolate);
    assert!(network.is_cut(1, 0) && !network.is_cut(2, 0));
    network.mend(&pair);
    assert!(!network.is_cut(1, 0));
    network.mend(&pair);
    network.cut(&Partition::OneWay { from: vec![2], to: vec![0] });
    assert!(network.is_cut(2, 0) && !network.is_cut(0, 2));
    assert_eq!(network.tally().partitioned, 2);
    network.heal();
    assert!(!network.is_cut(2, 0));
}

#[test]
fn holds_wait_and_resets_lose_what_is_on_its_way() {
    let mut decider = decider(3);
    let mut network = network("same_az", &mut decider);
    network.hold(0, 1);
    let held = network.send(0, 0, 1, 100, &mut decider);
    assert!(held.held && held.times().is_empty() && held.dropped.is_none());
    network.release(0, 1);
    let sent = network.send(5, 0, 1, 100, &mut decider);
    network.reset_node(1);
    assert!(!network.accept(0, 1, sent.epoch));
    let again = network.send(6, 0, 1, 100, &mut decider);
    assert!(network.accept(0, 1, again.epoch));
    assert_eq!((network.tally().reset, network.tally().held), (1, 1));
}

#[test]
fn bandwidth_delays_and_a_full_queue_drops() {
    let mut decider = decider(3);
    let mut network = network("loopback", &mut decider);
    // 1 MB/s: 100 kB take 100 ms; 250 kB may wait.
    network.set_all(|p| (p.bandwidth, p.queue) = (1_000_000, 250_000));
    let all: Vec<Delivery> = (0..4).map(|_| network.send(0, 0, 1, 100_000, &mut decider)).collect();
    for (i, delivery) in all[..2].iter().enumerate() {
        let at = delivery.times()[0];
        assert!(at.abs_diff((i as u64 + 1) * 100 * MS) < MS, "{at}");
    }
    assert_eq!(all[2].dropped, Some(Reason::Overflow));
    assert_eq!(network.tally().overflowed, 2);
    let later = network.send(150 * MS, 0, 1, 100_000, &mut decider);
    assert!(later.times()[0].abs_diff(300 * MS) < MS);
}

#[test]
fn what_a_link_does_moves_no_other_link() {
    let run = |noise: bool| {
        let mut decider = decider(9);
        let mut network = network("cross_az", &mut decider);
        let mut seen = Vec::new();
        for i in 0..200 {
            if noise {
                network.impair(2, 1, impaired(|i| i.loss = Ratio::new(1, 2)));
                network.send(i * MS, 2, 1, 5_000, &mut decider);
            }
            seen.push(network.send(i * MS, 0, 1, 500, &mut decider));
        }
        seen
    };
    assert_eq!(run(false), run(true));
}
