//! The backend against a map, against crashes, and against damage.

use super::*;
use crate::wal::testing::{Dice, Disk};

fn commit(backend: &mut Backend, disk: &mut Disk) -> u64 {
    backend.begin_commit(disk);
    loop {
        let op = disk.end_sync().expect("a commit waits for a sync");
        assert_eq!(backend.awaiting(), Some(op));
        if let CommitProgress::Done { consistent_index } = backend.on_disk(op, disk) {
            return consistent_index;
        }
    }
}

fn pairs(backend: &Backend, bucket: Bucket, from: &[u8], to: Option<&[u8]>) -> Vec<(Bytes, Bytes)> {
    let mut found = Vec::new();
    backend.for_each(bucket, from, to, &mut |key, value| {
        found.push((key.clone(), value.clone()));
        true
    });
    found
}

#[test]
fn reads_see_the_open_batch_and_ranges_are_half_open() {
    let mut backend = Backend::create();
    for key in ["a", "b", "c"] {
        backend.put(Bucket::Key, key.into(), "1".into());
    }
    backend.put(Bucket::Members, "b".into(), "m".into());
    backend.delete(Bucket::Key, b"b");
    assert_eq!(backend.pending(), 5);
    assert_eq!(backend.get(Bucket::Key, b"b"), None);
    assert_eq!(backend.get(Bucket::Members, b"b"), Some("m".into()));
    assert_eq!(pairs(&backend, Bucket::Key, b"", None).len(), 2);
    assert_eq!(pairs(&backend, Bucket::Key, b"a", Some(b"c")).len(), 1);
    assert!(pairs(&backend, Bucket::Key, b"c", Some(b"a")).is_empty());
    let mut seen = 0;
    backend.for_each(Bucket::Key, b"", None, &mut |_, _| {
        seen += 1;
        false
    });
    assert_eq!(seen, 1, "visiting stops when told");
}

#[test]
fn a_commit_is_data_then_meta_each_with_its_sync() {
    let (mut backend, mut disk) = (Backend::create(), Disk::default());
    backend.set_consistent_index(7, 2);
    assert_eq!(commit(&mut backend, &mut disk), 7);
    let tmp = FileName::DbTmp { number: 0 };
    assert_eq!(disk.log[0], DiskCommand::Create { file: tmp });
    assert_eq!(disk.log[2], DiskCommand::Sync { file: tmp });
    assert_eq!(disk.log[3], DiskCommand::Rename { from: tmp, to: FileName::Db });
    assert_eq!(disk.log[4], DiskCommand::SyncDir { dir: Dir::Snap });
    assert_eq!(disk.log.len(), 5);
    backend.put(Bucket::Key, "k".into(), "v".into());
    backend.set_consistent_index(8, 2);
    assert_eq!(commit(&mut backend, &mut disk), 8);
    let sync = DiskCommand::Sync { file: FileName::Db };
    assert!(matches!(&disk.log[5], DiskCommand::Write { offset, .. } if *offset >= file::LOG_START));
    assert_eq!(disk.log[6], sync);
    assert!(matches!(&disk.log[7], DiskCommand::Write { offset: 0, data, .. } if data.len() < 512));
    assert_eq!(disk.log[8], sync);
    assert_eq!(Backend::open(&disk.image()).as_ref().map(Backend::consistent_index), Ok(8));
}

#[test]
#[should_panic(expected = "locked while a commit is in flight")]
fn no_write_while_a_commit_is_in_flight() {
    let (mut backend, mut disk) = (Backend::create(), Disk::default());
    backend.begin_commit(&mut disk);
    backend.put(Bucket::Key, "k".into(), "v".into());
}

#[test]
fn index_term_and_configuration_come_back() {
    let (mut backend, mut disk) = (Backend::create(), Disk::default());
    let conf_state = raftpb::ConfState { voters: vec![1, 2, 3], ..Default::default() };
    backend.set_consistent_index(300, 5);
    backend.set_conf_state(&conf_state);
    let of_snapshot = Backend::parse(&backend.snapshot()).unwrap();
    commit(&mut backend, &mut disk);
    let opened = Backend::open(&disk.image()).unwrap();
    assert_eq!(opened, Backend { next_tmp: 0, ..backend.clone() });
    assert_eq!((opened.consistent_index(), opened.term(), opened.conf_state()), (300, 5, Some(conf_state)));
    let index = opened.get(Bucket::Meta, b"consistent_index").unwrap();
    assert_eq!(index[..], [0, 0, 0, 0, 0, 0, 1, 44]);
    assert_eq!(of_snapshot.buckets, opened.buckets);
}

#[test]
fn a_log_that_has_outgrown_its_content_is_written_anew() {
    let (mut backend, mut disk) = (Backend::create(), Disk::default());
    let mut largest = 0;
    for round in 0..120_u64 {
        backend.put(Bucket::Key, (round % 3).to_string().into(), vec![round as u8; 40_000].into());
        backend.set_consistent_index(round + 1, 1);
        commit(&mut backend, &mut disk);
        largest = largest.max(backend.size().total);
        assert_eq!(disk.image().files[&FileName::Db].len() as u64, backend.size().total);
        assert!(backend.size().in_use < 150_000);
    }
    assert!(largest > 1 << 20 && largest < 3 << 19, "{largest}");
    assert!(disk.log.iter().filter(|command| matches!(command, DiskCommand::Rename { .. })).count() > 3);
    let opened = Backend::open(&disk.image()).unwrap();
    assert_eq!(opened.buckets, backend.buckets);
    assert_eq!(opened.live_bytes, backend.live_bytes);
}

#[test]
fn a_crash_leaves_the_last_commit_or_the_one_in_flight() {
    for seed in 0..100 {
        crash_story(seed);
    }
}

fn crash_story(seed: u64) {
    let mut dice = Dice(seed);
    let mut disk = Disk::default();
    let mut backend = Backend::create();
    let mut last = backend.buckets.clone();
    let mut index = 0;
    // Some stories have values so large that the log is written anew now and then.
    let large = [200, 200, 200_000][dice.below(3) as usize];
    for _ in 0..25 {
        for _ in 0..dice.below(6) {
            let bucket = Bucket::ALL[dice.below(4) as usize];
            let key = dice.below(12).to_string();
            if dice.below(4) == 0 {
                backend.delete(bucket, key.as_bytes());
            } else {
                let fill = dice.next() as u8;
                backend.put(bucket, key.into(), vec![fill; dice.below(large) as usize].into());
            }
        }
        index += dice.below(3);
        backend.set_consistent_index(index, 1);
        assert_eq!(Backend::parse(&backend.snapshot()).unwrap().consistent_index(), index);
        let steps = if dice.below(4) == 0 { dice.below(2) } else { 9 };
        backend.begin_commit(&mut disk);
        let next = backend.buckets.clone();
        let mut done = false;
        for _ in 0..steps {
            let op = disk.end_sync().expect("a commit waits for a sync");
            done = backend.on_disk(op, &mut disk) != CommitProgress::Pending;
            if done {
                last = next.clone();
                break;
            }
        }
        if done && dice.below(5) != 0 {
            continue;
        }
        disk.crash(&mut dice);
        backend = Backend::open(&disk.image()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(backend.buckets == last || backend.buckets == next, "seed {seed}: something in between");
        let live: u64 = backend.buckets.iter().flatten().map(|(key, value)| file::cost(key, value)).sum();
        assert_eq!(backend.live_bytes, live);
        last = backend.buckets.clone();
        index = backend.consistent_index();
    }
}

#[test]
fn damage_is_refused_and_never_panics() {
    let (mut backend, mut disk) = (Backend::create(), Disk::default());
    for round in 0..10_u64 {
        backend.put(Bucket::Key, round.to_string().into(), vec![1; 50].into());
        backend.set_consistent_index(round + 1, 1);
        commit(&mut backend, &mut disk);
    }
    let sound = disk.image().files[&FileName::Db].clone();
    let log = file::LOG_START as usize;
    let mut dice = Dice(3);
    for round in 0..3000 {
        let mut content = sound.to_vec();
        let at = match round % 3 {
            0 => dice.below(40) + 4096 * dice.below(2),
            _ => (log as u64) + dice.below((sound.len() - log) as u64),
        } as usize;
        content[at] ^= 1 << dice.below(8);
        let opened = Backend::parse(&content.into());
        if at >= log {
            // The four bytes of a batch's header that are not used, nobody minds.
            assert!(opened.as_ref().map_or(true, |opened| opened.buckets == backend.buckets), "at {at}");
        } else if let Ok(opened) = opened {
            assert!(opened.consistent_index() >= 9, "the other meta slot");
        }
    }
    for length in 0..sound.len() {
        assert!(matches!(Backend::parse(&sound.slice(..length)), Err(BootError::Backend { .. })), "{length}");
    }
    for _ in 0..1000 {
        let noise: Vec<u8> = (0..dice.below(9000)).map(|_| dice.next() as u8).collect();
        assert!(Backend::parse(&noise.into()).is_err());
    }
}
