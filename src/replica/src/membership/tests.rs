//! The cluster over a backend: what is kept, what a restart finds, what a replay does, and what may be proposed.

use super::*;
use crate::backend::Backend;
use crate::mvcc::Bucket;
use crate::raftpb::ConfChangeType;

fn member(id: u64, is_learner: bool) -> Member {
    let peer_urls = vec![format!("http://n{id}:2380")];
    Member { id: MemberId(id), name: String::new(), peer_urls, client_urls: vec![], is_learner }
}

fn apply(cluster: &mut Cluster, backend: &mut Backend, change: &Change) -> Verdict {
    cluster.apply(backend, change, 1, Bugs::NONE)
}

/// Founders 1, 2 and 3, started, and a learner 4.
fn cluster(backend: &mut Backend) -> Cluster {
    let mut cluster = Cluster::restore(backend, None).unwrap();
    for id in 1..=4 {
        let change =
            Change::Add(Member { name: if id < 4 { format!("n{id}") } else { String::new() }, ..member(id, id == 4) });
        assert_eq!(apply(&mut cluster, backend, &change), Verdict::Made);
    }
    cluster
}

fn text(backend: &Backend, bucket: Bucket, key: &str) -> Option<String> {
    backend.get(bucket, key.as_bytes()).map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn the_buckets_are_etcds_and_a_restart_finds_the_same_cluster() {
    let backend = &mut Backend::create(Bugs::NONE);
    let mut cluster = cluster(backend);
    assert!(cluster.publish(backend, MemberId(4), "four", &["http://n4:2379".into()]));
    apply(&mut cluster, backend, &Change::Remove(MemberId(2)));
    cluster.set_version(backend, Version::release(3, 6));
    cluster.set_downgrade(backend, Some(Version::release(3, 5)));
    for (bucket, key, expect) in [
        (Bucket::Members, "1", Some(r#"{"id":1,"peerURLs":["http://n1:2380"],"name":"n1"}"#)),
        (
            Bucket::Members,
            "4",
            Some(concat!(
                r#"{"id":4,"peerURLs":["http://n4:2380"],"isLearner":true,"name":"four","#,
                r#""clientURLs":["http://n4:2379"]}"#
            )),
        ),
        (Bucket::Members, "2", None),
        (Bucket::MembersRemoved, "2", Some("removed")),
        (Bucket::Cluster, "clusterVersion", Some("3.6.0")),
        (Bucket::Cluster, "downgrade", Some(r#"{"target-version":"3.5.0","enabled":true}"#)),
    ] {
        assert_eq!(text(backend, bucket, key).as_deref(), expect, "{bucket:?} {key}");
    }
    assert_eq!(Cluster::restore(backend, None).as_ref(), Ok(&cluster));
    assert_eq!((cluster.voters(), cluster.learners()), (&[MemberId(1), MemberId(3)][..], &[MemberId(4)][..]));
    cluster.set_downgrade(backend, None);
    assert_eq!(
        text(backend, Bucket::Cluster, "downgrade").as_deref(),
        Some(r#"{"target-version":"","enabled":false}"#)
    );
    assert_eq!(Cluster::restore(backend, None).as_ref(), Ok(&cluster));
}

#[test]
fn what_is_not_etcds_is_refused_at_the_start() {
    for (bucket, key, value) in [
        (Bucket::Members, "x", r#"{"id":1,"peerURLs":null}"#),
        (Bucket::Members, "2", r#"{"id":1,"peerURLs":null}"#),
        (Bucket::Members, "1", r#"{"id":1"#),
        (Bucket::MembersRemoved, "?", "removed"),
        (Bucket::Cluster, "clusterVersion", "three"),
        (Bucket::Cluster, "downgrade", "{"),
        (Bucket::Cluster, "downgrade", r#"{"target-version":"","enabled":true}"#),
    ] {
        let mut backend = Backend::create(Bugs::NONE);
        backend.put(bucket, key.to_owned().into(), value.to_owned().into());
        assert!(Cluster::restore(&backend, None).is_err(), "{bucket:?} {key} {value}");
    }
}

#[test]
fn members_that_went_do_not_publish() {
    let backend = &mut Backend::create(Bugs::NONE);
    let mut cluster = cluster(backend);
    apply(&mut cluster, backend, &Change::Remove(MemberId(2)));
    assert!(!cluster.publish(backend, MemberId(2), "n2", &[]));
    assert_eq!(text(backend, Bucket::Members, "2"), None);
}

#[test]
#[should_panic(expected = "unknown")]
fn nobody_publishes_who_never_was_a_member() {
    let backend = &mut Backend::create(Bugs::NONE);
    cluster(backend).publish(backend, MemberId(9), "n9", &[]);
}

/// A log whose changes 3 and 5 were refused when they were applied.
fn log() -> Vec<(Change, bool)> {
    vec![
        (Change::Add(member(1, false)), true),
        (Change::Add(member(2, true)), true),
        (Change::Add(member(2, false)), false),
        (Change::Promote(MemberId(2)), true),
        (Change::Add(Member { id: MemberId(3), ..member(1, false) }), false),
        (Change::Update(Member { peer_urls: vec!["http://elsewhere".into()], ..member(1, false) }), true),
        (Change::Remove(MemberId(2)), true),
    ]
}

#[test]
fn a_replay_gives_raft_what_the_first_time_gave_it() {
    let backend = &mut Backend::create(Bugs::NONE);
    let mut first = Cluster::restore(backend, None).unwrap();
    for (change, made) in log() {
        let verdict = apply(&mut first, backend, &change);
        assert_eq!(verdict == Verdict::Made, made, "{change:?}");
    }
    // The backend has all of it; the log is read again from its beginning.
    let mut again = Cluster::restore(backend, Some(Members::default())).unwrap();
    for (change, made) in log() {
        let verdict = again.replay(&change, 1, Bugs::NONE);
        assert_eq!(verdict == Verdict::Made, made, "{change:?}");
    }
    assert_eq!(again.members().cloned().collect::<Vec<_>>(), first.members().cloned().collect::<Vec<_>>());
    // Without knowledge of the beginning, Raft knows it already.
    let mut after_snapshot = Cluster::restore(backend, None).unwrap();
    assert!(log().iter().all(|(change, _)| after_snapshot.replay(change, 1, Bugs::NONE) == Verdict::Known));
    // Bug M-64: an addition that is in the backend is refused, and Raft never hears of it.
    let mut bug = Cluster::restore(backend, Some(Members::default())).unwrap();
    let verdict = bug.replay(&log()[0].0, 1, Bugs::NONE.with(Bug::ConfchangeValidatedOnReplay));
    assert_eq!(verdict, Verdict::Refused(Error::MemberExists));
}

#[test]
fn bugs_lose_what_they_say() {
    let backend = &mut Backend::create(Bugs::NONE);
    let mut cluster = cluster(backend);
    let (promote, remove) = (Change::Promote(MemberId(4)), Change::Remove(MemberId(3)));
    assert_eq!(cluster.apply(backend, &promote, 1, Bugs::NONE.with(Bug::PromotionNotInV3store)), Verdict::Made);
    assert_eq!(cluster.apply(backend, &remove, 1, Bugs::NONE.with(Bug::RemovedRejoins)), Verdict::Made);
    assert!(cluster.voters().contains(&MemberId(4)) && cluster.is_removed(MemberId(3)));
    let restarted = Cluster::restore(backend, None).unwrap();
    assert!(restarted.learners().contains(&MemberId(4)) && !restarted.is_removed(MemberId(3)));
}

#[test]
fn raft_is_told_of_voters_and_learners_only() {
    for (change, expect) in [
        (Change::Add(member(1, false)), Some(ConfChangeType::AddNode)),
        (Change::Add(member(1, true)), Some(ConfChangeType::AddLearnerNode)),
        (Change::Promote(MemberId(1)), Some(ConfChangeType::AddNode)),
        (Change::Remove(MemberId(1)), Some(ConfChangeType::RemoveNode)),
        (Change::Update(member(1, true)), None),
    ] {
        assert_eq!(change.for_raft().map(|change| change.change_type), expect, "{change:?}");
    }
}

#[test]
fn reconfigurations_that_could_cost_the_quorum_are_not_proposed() {
    let (started, unhealthy) = (Err(Error::MemberNotEnoughStarted), Err(Error::UnhealthyCluster));
    let add = |learner| Change::Add(member(9, learner));
    // Voters (a capital one has started); who is connected to 1 for long, and who only since a moment ago; the change;
    // what comes of it.
    for (voters, long, short, change, expect) in [
        ("A", "", "", add(false), Ok(())),
        ("A", "", "", add(true), Ok(())),
        ("a", "", "", add(false), started),
        ("AB", "b", "", add(false), Ok(())),
        ("AB", "", "b", add(false), unhealthy),
        ("AB", "", "", add(true), unhealthy),
        ("Ab", "b", "", add(false), started),
        ("ABC", "bc", "", add(false), Ok(())),
        ("ABC", "b", "", add(false), unhealthy),
        ("ABC", "b", "c", add(true), unhealthy),
        ("ABCD", "bc", "", add(false), Ok(())),
        ("ABCd", "bcd", "", add(false), Ok(())),
        ("ABcd", "bcd", "", add(false), started),
        ("ABC", "bc", "", Change::Promote(MemberId(9)), Ok(())),
        ("ABc", "", "", Change::Promote(MemberId(9)), Ok(())),
        ("Abc", "", "", Change::Promote(MemberId(9)), started),
        ("A", "", "", Change::Remove(MemberId(1)), started),
        ("AB", "b", "", Change::Remove(MemberId(2)), Ok(())),
        ("AB", "", "", Change::Remove(MemberId(2)), Ok(())),
        ("Ab", "b", "", Change::Remove(MemberId(2)), Ok(())),
        ("ABC", "bc", "", Change::Remove(MemberId(2)), Ok(())),
        ("ABC", "b", "", Change::Remove(MemberId(2)), unhealthy),
        ("ABC", "b", "", Change::Remove(MemberId(3)), Ok(())),
        ("ABC", "b", "c", Change::Remove(MemberId(3)), unhealthy),
        ("ABC", "bc", "", Change::Remove(MemberId(1)), Ok(())),
        ("Abc", "bc", "", Change::Remove(MemberId(2)), started),
        ("ABC", "", "", Change::Update(member(2, false)), Ok(())),
    ] {
        let backend = &mut Backend::create(Bugs::NONE);
        let mut cluster = Cluster::restore(backend, None).unwrap();
        for (id, letter) in (1..).zip(voters.chars()) {
            let name = if letter.is_uppercase() { letter.to_string() } else { String::new() };
            apply(&mut cluster, backend, &Change::Add(Member { name, ..member(id, false) }));
        }
        let connected = |id: MemberId| {
            let letter = char::from(b'a' + id.0 as u8 - 1);
            long.contains(letter).then_some(true).or(short.contains(letter).then_some(false))
        };
        let found = cluster.may_propose(&change, MemberId(1), &connected, Bugs::NONE);
        assert_eq!(found, expect, "{voters} {long} {short} {change:?}");
    }
}

#[test]
fn the_bug_counts_the_new_member() {
    let backend = &mut Backend::create(Bugs::NONE);
    let cluster = cluster(backend);
    let connected = |id: MemberId| (id.0 == 2).then_some(true);
    let add = Change::Add(member(9, false));
    let may = |bugs| cluster.may_propose(&add, MemberId(1), &connected, bugs);
    assert_eq!(may(Bugs::NONE), Err(Error::UnhealthyCluster));
    assert_eq!(may(Bugs::NONE.with(Bug::ReconfigQuorumCalc)), Ok(()));
}

#[test]
fn a_real_etcds_entries_make_its_buckets() {
    // What 3.5.1 wrote when it was started, and for `member add l1 --learner`, `member update`.
    let own = br#"{"id":6662698563040693991,"peerURLs":["http://127.0.0.1:33380"],"name":"nod"}"#;
    let learner = br#"{"id":15981048070963361816,"peerURLs":["http://127.0.0.1:44380"],"isLearner":true}"#;
    let update = br#"{"id":6662698563040693991,"peerURLs":["http://127.0.0.1:33380","http://localhost:33380"]}"#;
    let entry = |head: &[u8], json: &[u8]| [head, b"\"", &[json.len() as u8], json].concat();
    let entries = [
        entry(b"\x08\x00\x10\x00\x18\xe7\x9d\xaf\xbc\xae\xa1\xaa\xbb\\", own),
        entry(
            b"\x08\x9e\xec\xae\x8e\xa2\xc2\xe8\xf3\xce\x01\x10\x03\x18\x98\xf0\xd9\x81\xca\xd1\x85\xe4\xdd\x01",
            learner,
        ),
        entry(b"\x08\xa7\xec\xae\x8e\xa2\xc2\xe8\xf3\xce\x01\x10\x02\x18\xe7\x9d\xaf\xbc\xae\xa1\xaa\xbb\\", update),
    ];
    let backend = &mut Backend::create(Bugs::NONE);
    let mut cluster = Cluster::restore(backend, None).unwrap();
    for data in entries {
        let (id, change) = Change::decode(&data).unwrap();
        assert_eq!(change.encode(id), data, "ours is the same: {change:?}");
        assert_eq!(apply(&mut cluster, backend, &change), Verdict::Made);
        if cluster.members().count() == 1 && cluster.version().is_none() {
            assert_eq!(
                text(backend, Bucket::Members, "5c76a90ae78bcee7").as_deref().map(str::as_bytes),
                Some(&own[..])
            );
            cluster.set_version(backend, Version::parse("3.5.0").unwrap());
        }
    }
    assert_eq!(text(backend, Bucket::Members, "ddc8168ca0367818").as_deref().map(str::as_bytes), Some(&learner[..]));
    assert_eq!(text(backend, Bucket::Cluster, "clusterVersion").as_deref(), Some("3.5.0"));
    // Later releases keep the update in the backend as well, and the name with it.
    let member = cluster.member(MemberId(6662698563040693991)).unwrap();
    assert_eq!((&member.name[..], member.peer_urls.len()), ("nod", 2));
    assert_eq!((cluster.voters().len(), cluster.learners().len()), (1, 1));
}
