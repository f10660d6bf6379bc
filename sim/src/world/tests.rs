//! Whole runs with disks that fail: what members do, what the operator does, and what is said of it at the end.

use std::collections::BTreeMap;

use detcd_replica::history::Outcome as Ended;
use detcd_replica::time::Span;
use detcd_replica::{Address, MemberId};

use crate::beginning::{Beginning, Disks, Former};
use crate::fault::{EpisodeSpec, Kind, RecordDamage};
use crate::halt::{halt, Until};
use crate::host::Host;
use crate::observer::Unobserved;
use crate::run::{run, Options, Outcome};
use crate::scenario::span::Time;
use crate::scenario::{Mix, Retention, Scenario};

fn play(scenario: &Scenario, seed: u64, host: Host) -> Outcome {
    assert_eq!(scenario.validate(), Ok(()));
    let options = Options { seed, host, traced: false, overrides: BTreeMap::new(), beginning: None };
    run(scenario, &options, &mut |_| Box::new(Unobserved))
}

fn scenario(episodes: Vec<EpisodeSpec>) -> Scenario {
    let mut scenario = Scenario::default();
    scenario.clients.operations = 300;
    scenario.clients.think_time = Time::millis(20);
    scenario.clients.pinned = 0;
    scenario.watch.pinned = 0;
    scenario.workload.name = Mix::EtcdMix;
    scenario.workload.value_bytes = 300;
    scenario.replica.heartbeat_interval = Some(Time::millis(20));
    scenario.replica.election_ticks = Some(5);
    scenario.replica.snapshot_count = Some(30);
    scenario.replica.snapshot_catch_up_entries = Some(5);
    scenario.replica.wal_segment_bytes = Some(8192);
    scenario.faults.episodes = episodes;
    scenario
}

fn episode(kind: Kind, targets: &[&str], from: u64, until: u64, magnitude: i64) -> EpisodeSpec {
    EpisodeSpec {
        kind,
        targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        from: Time::millis(from),
        until: Time::millis(until),
        magnitude,
        failpoint: None,
        file: None,
        command: None,
        mode: None,
        record: None,
    }
}

fn count(outcome: &Outcome, kind: Kind) -> u64 {
    outcome.faults.get(kind.name()).copied().unwrap_or(0)
}

#[test]
fn a_member_with_a_full_disk_ends_again_and_again_and_comes_back() {
    for targets in [&["n1"][..], &["n1", "n2"]] {
        let outcome = play(&scenario(vec![episode(Kind::DiskFull, targets, 300, 1_500, 0)]), 1, Host::Bare);
        assert_eq!(outcome.failure, None);
        assert!(count(&outcome, Kind::DiskFull) >= targets.len() as u64, "{:?}", outcome.faults);
        assert!(outcome.tally["exits"] >= targets.len() as u64 && outcome.refusals.is_empty());
    }
}

#[test]
fn a_member_whose_disk_is_gone_is_replaced_by_one_that_catches_up_by_a_snapshot() {
    for seed in 0..3 {
        let outcome = play(&scenario(vec![episode(Kind::DiskFailure, &["n2"], 300, 500, 0)]), seed, Host::Bare);
        assert_eq!(outcome.failure, None, "everybody who is left has settled, and that includes the new member");
        assert!(outcome.tally["snapshots_installed"] >= 1);
        let refusals: Vec<_> = outcome.refusals.iter().map(|refusal| (refusal.member, &refusal.reason[..])).collect();
        assert_eq!(refusals, [(MemberId(2), "the disk has failed")]);
    }
}

#[test]
fn a_damaged_record_is_refused_and_the_others_go_on() {
    let damage = EpisodeSpec { record: Some(RecordDamage::Data), ..episode(Kind::RecordDamage, &["n3"], 400, 450, 2) };
    let mut scenario = scenario(vec![episode(Kind::Crash, &["n3"], 300, 600, 0), damage]);
    scenario.faults.retention = Retention::Nothing;
    let outcome = play(&scenario, 1, Host::Bare);
    assert_eq!(outcome.failure, None, "a refusal that a fault explains is no finding");
    let [refusal] = &outcome.refusals[..] else { panic!("{:?}", outcome.refusals) };
    assert_eq!(refusal.member, MemberId(3));
    assert!(refusal.reason.contains(".wal at byte"), "{}", refusal.reason);
    assert_eq!(outcome.tally["refusals"], 1);
}

#[test]
fn a_disk_that_cannot_be_read_keeps_its_member_down_until_it_can() {
    let outcome = play(&scenario(vec![episode(Kind::DiskReadError, &["n1"], 300, 900, 0)]), 1, Host::Bare);
    assert_eq!(outcome.failure, None);
    assert!(count(&outcome, Kind::DiskReadError) > 3);
    let [refusal] = &outcome.refusals[..] else { panic!("{:?}", outcome.refusals) };
    assert!(refusal.reason.ends_with("input/output error"), "{}", refusal.reason);
}

#[test]
fn a_crash_comes_before_each_command_that_is_asked_for() {
    let mut digests = std::collections::BTreeSet::new();
    for nth in 1..12 {
        let outcome = play(&scenario(vec![episode(Kind::CrashAtCommand, &["n1"], 300, 900, nth)]), 1, Host::Bare);
        assert_eq!((count(&outcome, Kind::CrashAtCommand), outcome.failure), (1, None));
        digests.insert(outcome.digest);
    }
    assert_eq!(digests.len(), 11, "each is another crash");
}

#[test]
fn a_fault_that_never_strikes_moves_nothing() {
    let none = play(&scenario(vec![]), 5, Host::Bare);
    let episodes = [Kind::CrashAtCommand, Kind::CrashAtSend, Kind::DiskWriteError, Kind::LostWrite]
        .map(|kind| episode(kind, &["n1", "leader"], 300, 900, 1 << 20));
    let armed = play(&scenario(episodes.into()), 5, Host::Bare);
    assert_eq!((none.digest, none.events), (armed.digest, armed.events));
}

#[test]
fn both_hosts_agree_on_failing_disks() {
    let mut scenario = scenario(vec![
        episode(Kind::DiskFailure, &["any"], 300, 500, 0),
        episode(Kind::DiskFull, &["leader"], 900, 1_300, 2_000),
    ]);
    scenario.faults.count = 12;
    scenario.faults.weights =
        [Kind::CrashAtCommand, Kind::CrashAtSend, Kind::DiskSyncError].map(|kind| (kind, 1)).into();
    let (bare, hosted) = (play(&scenario, 9, Host::Bare), play(&scenario, 9, Host::Madsim));
    assert_eq!((bare.digest, bare.events, bare.faults), (hosted.digest, hosted.events, hosted.faults));
}

#[test]
fn a_former_member_goes_on_with_its_log_and_the_others_join_it() {
    for (members, number, forced) in [(1, 1, false), (3, 2, false), (3, 2, true)] {
        let mut before = scenario(Vec::new());
        before.cluster.members = members;
        let options = |beginning| Options {
            seed: members,
            host: Host::Bare,
            traced: false,
            overrides: BTreeMap::new(),
            beginning,
        };
        let halted = halt(&before, &options(None), Until::End, &mut |_| Box::new(Unobserved));
        let standing = &halted.members[number - 1];
        let was = standing.replica.as_ref().expect("it is up").view();
        let (member, image) = (standing.config.member, standing.disk.image());
        let former = Former {
            image,
            member,
            cluster: standing.config.cluster_id,
            address: Address { name: "former".into(), ..Address::of(member) },
            force_new_cluster: members > 1,
            others: [1, 2, 3].map(MemberId).into_iter().filter(|other| *other != member).collect(),
        };
        let beginning = Some(Beginning { disks: Disks::Continued(Box::new(former)), user: None });
        let mut after = scenario(vec![episode(Kind::Crash, &["n1"], 300, 600, 0)]);
        // The others have joined it before it crashes.
        after.cluster.forced = forced;
        let outcome = run(&after, &options(beginning.clone()), &mut |_| Box::new(Unobserved));
        assert_eq!(outcome.failure, None);
        assert_eq!(count(&outcome, Kind::Crash), 1);
        assert!(outcome.tally["snapshots_installed"] >= 2, "its log has no more of the beginning: {:?}", outcome.tally);
        let answers = outcome.history.operations.iter().filter_map(|operation| match &operation.outcome {
            Ended::Ok { response, .. } => Some((response.header.revision, response.header.member)),
            _ => None,
        });
        let answers: Vec<(i64, MemberId)> = answers.collect();
        assert!(answers.iter().all(|(revision, _)| *revision >= was.revision), "{answers:?}");
        assert!(answers.iter().all(|(_, member)| (1..=3).contains(&member.0)), "clients count: {answers:?}");

        let halted = halt(&after, &options(beginning), Until::End, &mut |_| Box::new(Unobserved));
        let view = |place: usize| halted.members[place].replica.as_ref().expect("it is up").view();
        assert_eq!(view(0).member, member);
        assert!(view(0).term > was.term && view(0).applied > was.applied && view(0).revision > was.revision);
        assert_eq!(view(0).voters, [member, MemberId(5), MemberId(6)], "nobody is called as who was there");
        assert_eq!([1, 2].map(|place| view(place).member), [5, 6].map(MemberId));
    }
}

#[test]
fn a_member_is_forced_as_long_as_it_is_alone_and_the_others_join_it() {
    let crashes = [500, 3_000].map(|at| episode(Kind::Crash, &["n1"], at, at + 200, 0));
    for members in [1, 3] {
        let mut scenario = scenario(crashes.to_vec());
        scenario.cluster.members = members;
        scenario.cluster.forced = true;
        scenario.replica.health_interval = Some(Time::millis(200));
        let options =
            Options { seed: members, host: Host::Bare, traced: false, overrides: BTreeMap::new(), beginning: None };
        let end = |until| halt(&scenario, &options, until, &mut |_| Box::new(Unobserved));
        let (early, late) = (end(Until::Time(Span::millis(400))), end(Until::End));
        assert_eq!(late.failure, None);
        let voters = |halted: &crate::halt::Halted, place: usize| {
            halted.members[place].replica.as_ref().map_or(0, |replica| replica.view().voters.len() as u64)
        };
        assert_eq!(voters(&early, 0), 1);
        assert!((1..members as usize).all(|place| voters(&early, place) == 0), "nobody has joined it yet");
        assert!((0..members as usize).all(|place| voters(&late, place) == members));
        assert!(early.members[0].config.force_new_cluster, "should it crash");
        assert_eq!(late.members[0].config.force_new_cluster, members == 1);
    }
}

#[test]
fn a_run_does_not_end_before_a_new_leader_has_committed_what_it_found() {
    let mut scenario = scenario(vec![episode(Kind::Crash, &["n1"], 500, 100_000, 0)]);
    scenario.cluster.members = 1;
    let mut behind = 0;
    for seed in 0..20 {
        let options = Options { seed, host: Host::Bare, traced: false, overrides: BTreeMap::new(), beginning: None };
        let (_, remains, stuck) = crate::run::play(&scenario, &options, Until::End, &mut |_| Box::new(Unobserved));
        assert_eq!(stuck, None);
        let view = remains.members[0].replica.as_ref().expect("it is up").view();
        assert_eq!((view.commit, view.applied), (view.log.last_index(), view.log.last_index()), "seed {seed}");
        behind += u64::from(view.term > 2);
    }
    assert!(behind > 10, "it came back as leader of a new term");
}

#[test]
fn a_run_waits_for_watches_as_long_as_their_small_batches_take() {
    let mut scenario = scenario(Vec::new());
    (scenario.cluster.members, scenario.clients.operations) = (1, 600);
    (scenario.watch.count, scenario.watch.per_stream, scenario.watch.restart_period) = (4, 8, Time::millis(500));
    (scenario.replica.watch_batch_revisions, scenario.replica.watch_sync_batch) = (Some(1), Some(1));
    let outcome = play(&scenario, 1, Host::Bare);
    assert_eq!(outcome.failure, None);
    assert!(outcome.simulated > Span::secs(60), "it has waited: {}", outcome.simulated);
}

#[test]
fn who_asks_a_paused_member_that_then_crashes_hears_of_it() {
    // Clients open their streams within the first milliseconds, while it is paused; it never goes on with them.
    let pauses = ["n1", "n2", "n3"].map(|member| episode(Kind::Pause, &[member], 0, 900, 0));
    let crashes = ["n1", "n2", "n3"].map(|member| episode(Kind::Crash, &[member], 600, 700, 0));
    let mut scenario = scenario([pauses, crashes].concat());
    scenario.watch.count = 3;
    let outcome = play(&scenario, 1, Host::Bare);
    assert_eq!(outcome.failure, None);
    assert_eq!((count(&outcome, Kind::Pause), count(&outcome, Kind::Crash)), (3, 3));
}

#[test]
fn timers_of_one_period_do_not_fire_as_one() {
    // If they did, progress could fill a small channel each time before a watch is told that its history is compacted.
    let mut scenario = scenario(Vec::new());
    scenario.cluster.members = 1;
    (scenario.watch.count, scenario.watch.restart_period) = (2, Time::millis(300));
    (scenario.replica.watch_batch_revisions, scenario.replica.watch_sync_batch) = (Some(1), Some(1));
    scenario.replica.watch_progress_interval = Some(Time::millis(100));
    let options = Options { seed: 1, host: Host::Bare, traced: true, overrides: BTreeMap::new(), beginning: None };
    let outcome = run(&scenario, &options, &mut |_| Box::new(Unobserved));
    let two = ["Run(WatchProgress)", "Run(WatchSync)"];
    let at = |line: &str| line.split([':', ',']).nth(3).and_then(|at| at.parse::<u64>().ok()).expect("a time");
    let task = |line: &str| two.into_iter().find(|task| line.contains(task)).map(|task| (at(line), task));
    let runs: Vec<(u64, &str)> = outcome.trace.iter().filter_map(|line| task(line)).collect();
    let near = runs.windows(2).filter(|pair| pair[0].1 != pair[1].1 && pair[1].0 - pair[0].0 < 1_000_000);
    let (together, near) = (near.clone().filter(|pair| pair[0].0 == pair[1].0).count(), near.count());
    assert!(near > 4 && together < near / 4, "{together} of {near} at one instant");
}
