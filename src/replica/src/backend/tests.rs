//! The backend against a map, against crashes, and through a defragmentation.

use std::collections::BTreeMap;

use super::*;
use crate::pager::Fault;
use crate::wal::testing::{Dice, Disk};
use crate::{Dir, DiskCommand, OpId};

type Content = BTreeMap<(Bucket, Bytes), Bytes>;

/// Ends syncs until what is in flight has ended.
fn finish(backend: &mut Backend, disk: &mut Disk) -> CommitProgress {
    loop {
        let op = disk.end_sync().expect("a commit waits for a sync");
        assert_eq!(backend.awaiting(), Some(op));
        let progress = backend.on_disk(op, disk);
        if progress != CommitProgress::Pending {
            return progress;
        }
    }
}

fn commit(backend: &mut Backend, disk: &mut Disk) -> u64 {
    backend.begin_commit(disk);
    match finish(backend, disk) {
        CommitProgress::Done { consistent_index } => consistent_index,
        other => panic!("a commit ends with {other:?}"),
    }
}

fn defragment(backend: &mut Backend, disk: &mut Disk) {
    backend.begin_defragment(disk);
    assert!(matches!(finish(backend, disk), CommitProgress::Done { .. }), "it begins with a commit");
    assert_eq!(finish(backend, disk), CommitProgress::Defragmented);
}

fn pairs(backend: &Backend, bucket: Bucket, from: &[u8], to: Option<&[u8]>) -> Vec<(Bytes, Bytes)> {
    let mut found = Vec::new();
    backend.for_each(bucket, from, to, &mut |key, value| {
        found.push((key.clone(), value.clone()));
        true
    });
    found
}

/// Everything but what the hook writes.
fn content(backend: &Backend) -> Content {
    let all = Bucket::ALL.into_iter().flat_map(|bucket| {
        let pairs = pairs(backend, bucket, b"", None).into_iter();
        pairs.map(move |(key, value)| ((bucket, key), value))
    });
    let hooked = |key: &Bytes| [CONSISTENT_INDEX, TERM, CONF_STATE].contains(&&key[..]);
    all.filter(|((bucket, key), _)| *bucket != Bucket::Meta || !hooked(key)).collect()
}

fn open(disk: &Disk) -> Result<Backend, BootError> {
    Backend::open(&disk.image(), Bugs::NONE)
}

fn faults(backend: &Backend) -> Vec<Fault> {
    backend.pager().check()
}

#[test]
fn reads_see_the_batch_and_the_buffer_and_the_file() {
    let (mut backend, mut disk) = (Backend::create(Bugs::NONE), Disk::default());
    for round in 0..3 {
        for key in ["a", "b", "c"] {
            backend.put(Bucket::Lease, key.into(), "1".into());
        }
        backend.put(Bucket::Members, "b".into(), "m".into());
        backend.delete(Bucket::Lease, b"b");
        assert!(backend.has_pending_deletes());
        // In the batch, after the unlock, and once it is committed.
        match round {
            0 => {}
            1 => backend.unlock(&mut disk),
            _ => assert_eq!(commit(&mut backend, &mut disk), 0),
        }
        assert_eq!(backend.get(Bucket::Lease, b"b"), None);
        assert_eq!(backend.get(Bucket::Members, b"b"), Some("m".into()));
        assert_eq!(pairs(&backend, Bucket::Lease, b"", None).len(), 2);
        assert_eq!(pairs(&backend, Bucket::Lease, b"a", Some(b"c")).len(), 1);
        assert!(pairs(&backend, Bucket::Lease, b"c", Some(b"a")).is_empty());
        let mut seen = 0;
        backend.for_each(Bucket::Lease, b"", None, &mut |_, _| {
            seen += 1;
            false
        });
        assert_eq!(seen, 1, "visiting stops when told");
    }
    backend.put(Bucket::Lease, "b".into(), "2".into());
    backend.put(Bucket::Lease, "a".into(), "3".into());
    backend.unlock(&mut disk);
    let values: Vec<_> = pairs(&backend, Bucket::Lease, b"", None).into_iter().map(|pair| pair.1).collect();
    assert_eq!(values, ["3", "2", "1"]);
}

#[test]
fn a_key_written_twice_reads_old_and_twice_with_the_bug() {
    for (bugs, value, count) in [(Bugs::NONE, "new", 2), (Bugs::NONE.with(Bug::ReadbufMergeDups), "old", 3)] {
        let (mut backend, mut disk) = (Backend::create(bugs), Disk::default());
        backend.put(Bucket::AuthUsers, "alice".into(), "a".into());
        backend.unlock(&mut disk);
        backend.put(Bucket::AuthUsers, "root".into(), "old".into());
        backend.put(Bucket::AuthUsers, "root".into(), "new".into());
        assert_eq!(backend.get(Bucket::AuthUsers, b"root").unwrap(), "new", "the batch is right");
        backend.unlock(&mut disk);
        assert_eq!(backend.get(Bucket::AuthUsers, b"root").unwrap(), value);
        assert_eq!(pairs(&backend, Bucket::AuthUsers, b"", None).len(), count);
        commit(&mut backend, &mut disk);
        assert_eq!(backend.get(Bucket::AuthUsers, b"root").unwrap(), "new", "so is the file");
    }
}

#[test]
fn what_was_deleted_is_read_until_the_commit_with_the_bug() {
    for (bugs, there) in [(Bugs::NONE, false), (Bugs::NONE.with(Bug::DeleteNotInReadBuffer), true)] {
        // One key is in the file, the other in the buffer.
        for committed in [true, false] {
            let (mut backend, mut disk) = (Backend::create(bugs), Disk::default());
            backend.put(Bucket::AuthUsers, "alice".into(), "a".into());
            match committed {
                true => drop(commit(&mut backend, &mut disk)),
                false => backend.unlock(&mut disk),
            }
            backend.delete(Bucket::AuthUsers, b"alice");
            assert_eq!(backend.has_pending_deletes(), !there);
            backend.unlock(&mut disk);
            assert_eq!(backend.get(Bucket::AuthUsers, b"alice").is_some(), there);
            commit(&mut backend, &mut disk);
            assert_eq!(backend.get(Bucket::AuthUsers, b"alice"), None);
        }
    }
}

#[test]
fn an_entry_of_an_earlier_batch_is_read_again_with_the_bug() {
    for (bugs, count) in [(Bugs::NONE, 2), (Bugs::NONE.with(Bug::ReadbufMergeDups), 3)] {
        // Two batches with keys; the second leaves its entry in the write buffer.
        let (mut backend, mut disk) = (Backend::create(bugs), Disk::default());
        for key in ["1", "2"] {
            backend.put(Bucket::Key, key.into(), key.into());
            backend.unlock(&mut disk);
        }
        let other = |backend: &mut Backend, disk: &mut Disk| {
            backend.put(Bucket::Meta, "x".into(), "y".into());
            backend.unlock(disk);
            pairs(backend, Bucket::Key, b"", None).len()
        };
        commit(&mut backend, &mut disk);
        let mut once = backend.clone();
        assert_eq!(other(&mut once, &mut disk), 2, "the read buffer is there, and empty");
        commit(&mut backend, &mut disk);
        assert_eq!(other(&mut backend, &mut disk), count);
        commit(&mut backend, &mut disk);
        assert_eq!(pairs(&backend, Bucket::Key, b"", None).len(), 2, "until the next commit");
    }
}

#[test]
fn the_file_is_made_with_the_first_commit() {
    let (mut backend, mut disk) = (Backend::create(Bugs::NONE), Disk::default());
    backend.set_consistent_index(7, 2);
    assert_eq!(commit(&mut backend, &mut disk), 7);
    let tmp = FileName::DbTmp { number: 0 };
    assert_eq!(disk.log[0], DiskCommand::Create { file: tmp });
    assert_eq!(disk.log[2], DiskCommand::Sync { file: tmp });
    assert_eq!(disk.log[3], DiskCommand::Rename { from: tmp, to: FileName::Db });
    assert_eq!(disk.log[4], DiskCommand::SyncDir { dir: Dir::Snap });
    backend.put(Bucket::Key, "k".into(), "v".into());
    backend.set_consistent_index(8, 2);
    let from = disk.log.len();
    assert_eq!(commit(&mut backend, &mut disk), 8);
    let syncs: Vec<usize> = disk.log[from..]
        .iter()
        .enumerate()
        .filter(|(_, command)| matches!(command, DiskCommand::Sync { .. }))
        .map(|(at, _)| at)
        .collect();
    assert_eq!(syncs, [disk.log.len() - from - 3, disk.log.len() - from - 1], "pages, sync, meta, sync");
    assert_eq!(open(&disk).as_ref().map(Backend::consistent_index), Ok(8));
}

#[test]
#[should_panic(expected = "locked while a commit is in flight")]
fn no_write_while_a_commit_is_in_flight() {
    let (mut backend, mut disk) = (Backend::create(Bugs::NONE), Disk::default());
    backend.begin_commit(&mut disk);
    backend.put(Bucket::Key, "k".into(), "v".into());
}

#[test]
fn index_term_and_configuration_come_back() {
    let (mut backend, mut disk) = (Backend::create(Bugs::NONE), Disk::default());
    let conf_state = raftpb::ConfState { voters: vec![1, 2, 3], ..Default::default() };
    backend.set_consistent_index(300, 5);
    backend.set_conf_state(&conf_state);
    backend.put(Bucket::Key, "k".into(), "v".into());
    let of_snapshot = Backend::parse(&backend.snapshot(), Bugs::NONE).unwrap();
    commit(&mut backend, &mut disk);
    let opened = open(&disk).unwrap();
    assert_eq!((opened.consistent_index(), opened.term(), opened.conf_state()), (300, 5, Some(conf_state)));
    let index = opened.get(Bucket::Meta, b"consistent_index").unwrap();
    assert_eq!(index[..], [0, 0, 0, 0, 0, 0, 1, 44]);
    assert_eq!(content(&of_snapshot), content(&opened));
    assert_eq!(of_snapshot.hash_all(), opened.hash_all());
}

#[test]
fn the_hash_is_of_all_buckets_by_name() {
    let (mut backend, mut disk) = (Backend::create(Bugs::NONE), Disk::default());
    backend.set_consistent_index(1, 1);
    commit(&mut backend, &mut disk);
    let mut names: Vec<&str> = Bucket::ALL.into_iter().map(Bucket::name).collect();
    names.sort_unstable();
    assert_eq!(backend.hash_all(), crc32c::crc32c(names.concat().as_bytes()));
    backend.put(Bucket::AuthRoles, "k".into(), "v".into());
    commit(&mut backend, &mut disk);
    let with = names.concat().replace("authRoles", "authRoleskv");
    assert_eq!(backend.hash_all(), crc32c::crc32c(with.as_bytes()));
}

#[test]
fn a_crash_leaves_the_last_commit_or_the_one_in_flight() {
    for seed in 0..15 {
        crash_story(seed);
    }
}

fn crash_story(seed: u64) {
    let mut dice = Dice(seed);
    let mut disk = Disk::default();
    let mut backend = Backend::create(Bugs::NONE);
    let mut last = Content::new();
    let mut index = 0;
    for _ in 0..15 {
        for _ in 0..dice.below(6) {
            let bucket = Bucket::ALL[dice.below(Bucket::ALL.len() as u64) as usize];
            let key = dice.below(12).to_string();
            if dice.below(4) == 0 {
                backend.delete(bucket, key.as_bytes());
            } else {
                let fill = dice.next() as u8;
                backend.put(bucket, key.into(), vec![fill; dice.below(2000) as usize].into());
            }
            if dice.flip() {
                backend.unlock(&mut disk);
            }
        }
        index += dice.below(3);
        backend.set_consistent_index(index, 1);
        let now = content(&backend);
        let steps = if dice.below(3) == 0 { dice.below(8) } else { 99 };
        let defragments = dice.below(4) == 0;
        match defragments {
            true => backend.begin_defragment(&mut disk),
            false => backend.begin_commit(&mut disk),
        };
        let (mut committed, mut ended) = (false, false);
        for _ in 0..steps {
            let op = disk.end_sync().expect("a commit waits for a sync");
            let progress = backend.on_disk(op, &mut disk);
            committed |= progress != CommitProgress::Pending;
            ended = backend.awaiting().is_none();
            assert!(content(&backend) == now, "seed {seed}: readers see the same all the time");
            if ended {
                break;
            }
        }
        if committed {
            last = now.clone();
        }
        if ended && dice.below(5) != 0 {
            assert_eq!(faults(&backend), vec![], "seed {seed}");
            continue;
        }
        disk.crash(&mut dice);
        backend = open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let found = content(&backend);
        assert!(found == last || found == now, "seed {seed}: something in between");
        assert!(faults(&backend).iter().all(|fault| fault.page.0 < 2), "seed {seed}: {:?}", faults(&backend));
        for file in disk.image().files.into_keys().filter(|file| matches!(file, FileName::DbTmp { .. })) {
            disk.issue(DiskCommand::Remove { file });
        }
        (last, index) = (found, backend.consistent_index());
    }
}

/// A backend with a history of compactions: much of its file is free.
fn fragmented(bugs: Bugs) -> (Backend, Disk) {
    let (mut backend, mut disk) = (Backend::create(bugs), Disk::default());
    for at in 0..25_000_u64 {
        backend.put(Bucket::Key, at.to_be_bytes().to_vec().into(), vec![at as u8; 30].into());
        backend.put(Bucket::Lease, (at % 50).to_be_bytes().to_vec().into(), "l".into());
    }
    backend.set_consistent_index(5, 1);
    commit(&mut backend, &mut disk);
    for at in 0..2_000_u64 {
        backend.delete(Bucket::Key, &at.to_be_bytes());
    }
    commit(&mut backend, &mut disk);
    (backend, disk)
}

#[test]
fn a_defragmentation_keeps_the_content_and_gives_back_the_room() {
    let (mut backend, mut disk) = fragmented(Bugs::NONE);
    let (before, hash, size) = (content(&backend), backend.hash_all(), backend.size());
    let from = disk.log.len();
    defragment(&mut backend, &mut disk);
    let metas = disk.log[from..]
        .iter()
        .filter(|command| matches!(command, DiskCommand::Write { file: FileName::DbTmp { .. }, offset: 0 | 4096, .. }));
    // The new file's first pages, and a meta for each of three transactions.
    assert_eq!(metas.count(), 4);
    assert_eq!(content(&backend), before);
    assert_eq!(backend.hash_all(), hash);
    assert!(backend.size().total < size.total && backend.size().in_use <= backend.size().total);
    assert_eq!(faults(&backend), vec![]);
    backend.put(Bucket::Key, "z".into(), "1".into());
    commit(&mut backend, &mut disk);
    assert_eq!(content(&open(&disk).unwrap()), content(&backend));
    assert!(disk.image().files.keys().all(|file| *file == FileName::Db));
}

#[test]
fn a_defragmentation_commits_with_the_index_but_for_the_bug() {
    for (bugs, index) in [(Bugs::NONE, 9), (Bugs::NONE.with(Bug::DefragCommitWithoutCi), 5)] {
        let (mut backend, mut disk) = fragmented(bugs);
        backend.put(Bucket::Key, "z".into(), "1".into());
        backend.set_consistent_index(9, 1);
        backend.begin_defragment(&mut disk);
        assert_eq!(finish(&mut backend, &mut disk), CommitProgress::Done { consistent_index: index });
        let opened = open(&disk).unwrap();
        assert_eq!(opened.consistent_index(), index);
        assert_eq!(opened.get(Bucket::Key, b"z"), Some("1".into()), "the data lasts in any case");
    }
}

#[test]
fn a_copy_that_cannot_be_written_is_given_up() {
    let (mut backend, mut disk) = fragmented(Bugs::NONE);
    let before = content(&backend);
    backend.begin_defragment(&mut disk);
    assert_eq!(
        backend.defragment_failed(backend.awaiting().unwrap(), &mut disk),
        None,
        "the commit before it must not fail"
    );
    finish(&mut backend, &mut disk);
    let op = disk.end_sync().unwrap();
    backend.on_disk(op, &mut disk);
    assert!(backend.is_defragmenting() && !backend.can_defragment());
    let failed = disk.end_sync().unwrap();
    assert_eq!(backend.defragment_failed(OpId(1), &mut disk), None);
    assert!(backend.defragment_failed(failed, &mut disk).is_some());
    assert_eq!(content(&backend), before);
    backend.put(Bucket::Key, "z".into(), "1".into());
    commit(&mut backend, &mut disk);
    assert_eq!(faults(&backend), vec![]);
    defragment(&mut backend, &mut disk);
    assert!(disk.image().files.keys().all(|file| *file == FileName::Db));
}

#[test]
fn a_snapshot_is_read_while_commits_go_on() {
    let (mut backend, mut disk) = fragmented(Bugs::NONE);
    let (before, mut reader) = (content(&backend), backend.open_snapshot());
    assert!(!backend.can_defragment(), "a reader is in the way");
    let (size, mut file) = (reader.size(), Vec::new());
    loop {
        let chunk = backend.next_chunk(&mut reader, 1 << 17);
        if chunk.is_empty() {
            break;
        }
        file.extend_from_slice(&chunk);
        for at in 0..20_u64 {
            backend.put(Bucket::Lease, at.to_be_bytes().to_vec().into(), vec![0; file.len() % 100].into());
        }
        commit(&mut backend, &mut disk);
    }
    assert_eq!((file.len() as u64, reader.size()), (size, 0));
    backend.close_snapshot(reader);
    let received = Backend::parse(&file.into(), Bugs::NONE).unwrap();
    assert_eq!(content(&received), before);
    assert_eq!(received.consistent_index(), 5);
    defragment(&mut backend, &mut disk);
}

#[test]
fn a_reader_of_a_file_that_was_replaced_ends() {
    let (mut backend, _) = fragmented(Bugs::NONE);
    let mut reader = backend.open_snapshot();
    let mut backend = backend.succeeded_by(Backend::create(Bugs::NONE));
    assert!(backend.next_chunk(&mut reader, 4096).is_empty());
    assert!(reader.size() > 0);
    backend.close_snapshot(reader);
    assert!(backend.can_defragment());
}

#[test]
fn damage_is_refused_with_its_page() {
    let (_, disk) = fragmented(Bugs::NONE);
    let mut file = disk.image().files[&FileName::Db].to_bytes().to_vec();
    assert!(Backend::parse(&file.clone().into(), Bugs::NONE).is_ok());
    (file[24], file[4096 + 24]) = (1, 1);
    let error = Backend::parse(&file.into(), Bugs::NONE).unwrap_err();
    assert_eq!(error.to_string(), "member/snap/db: page 0: checksum error; page 1: checksum error");
    assert!(Backend::parse(&Bytes::from_static(b"x"), Bugs::NONE).is_err());
}
