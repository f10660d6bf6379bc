//! Random operations against an ordered map, with crashes between any two commands.

use super::*;

/// What one story has done.
#[derive(Default)]
struct Tally {
    operations: u64,
    crashes: u64,
}

/// Runs transactions until `operations` are done.
fn story(seed: u64, operations: u64) -> Tally {
    let mut dice = Dice(seed);
    let page_size = [4096, 4096, 1024, 512][dice.below(4) as usize];
    let freelist = if dice.below(3) == 0 { FreelistSync::On } else { FreelistSync::Off };
    let initial_map = [0, 10 << 30][dice.below(2) as usize];
    let mut rig = Rig::new(Options { page_size, freelist, initial_map, growth: 1 << 16, ..Options::ETCD });
    let keys = [30, 300, 3000][dice.below(3) as usize];
    let large = [20, 100, 100, 6000][dice.below(4) as usize];
    let (mut tally, mut sequence) = (Tally::default(), 0_u64);
    while tally.operations < operations {
        for name in NAMES {
            rig.create(name);
        }
        let count = [3, 30, 300][dice.below(3) as usize];
        let deletes = dice.below(10);
        for _ in 0..dice.below(count) {
            tally.operations += 1;
            // Most goes into two of the buckets; the others stay small enough to be inline.
            let bucket = NAMES[[1, 1, 1, 2, 2, 0, 3, 4][dice.below(8) as usize]];
            let key = Bytes::from(dice.below(keys).to_string());
            if dice.below(10) < deletes {
                rig.delete(bucket, &key);
            } else if bucket == "key" && dice.flip() {
                sequence += 1;
                rig.put(bucket, format!("x{sequence:012}"), vec![sequence as u8; dice.below(large) as usize]);
            } else {
                let fill = dice.next() as u8;
                rig.put(bucket, key.clone(), vec![fill; dice.below(large) as usize]);
            }
            let found = rig.pager.get_open(bucket.as_bytes(), &key);
            assert_eq!(found.as_ref(), rig.now[bucket].get(&key), "seed {seed}: {bucket} {key:?}");
        }
        if dice.below(8) == 0 {
            // History goes, as in a compaction.
            let end = format!("x{:012}", sequence.saturating_sub(dice.below(50)));
            let gone: Vec<Bytes> =
                rig.now["key"].range(Bytes::from("x")..Bytes::from(end)).map(|p| p.0.clone()).collect();
            tally.operations += gone.len() as u64;
            for key in gone {
                rig.delete("key", &key);
            }
        }
        let steps = if dice.below(6) == 0 { dice.below(3) } else { 9 };
        finish(seed, &mut rig, steps, &mut dice, &mut tally);
    }
    assert!(content(&rig.pager) == rig.last, "seed {seed}");
    tally
}

/// Commits, or crashes after so many syncs.
fn finish(seed: u64, rig: &mut Rig, steps: u64, dice: &mut Dice, tally: &mut Tally) {
    rig.pager.begin_commit(&mut rig.file);
    let mut done = false;
    for _ in 0..steps {
        done = rig.step() == Progress::Done;
        if done {
            break;
        }
    }
    if done {
        rig.last = rig.now.clone();
        if dice.below(20) == 0 {
            let faults = rig.pager.check();
            assert!(faults.is_empty(), "seed {seed}: {faults:?}");
            assert!(content(&rig.pager) == rig.last, "seed {seed}");
        }
        if dice.below(30) != 0 {
            rig.pager.begin();
            return;
        }
    }
    tally.crashes += 1;
    rig.file.crash(dice);
    rig.pager = open(&rig.file.bytes(), rig.options).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let faults = rig.pager.check();
    // The meta in flight may be torn, if a sector is less than a meta page; nothing else may be wrong.
    assert!(faults.iter().all(|fault| fault.page < Pgid(2)), "seed {seed}: {faults:?}");
    let found = content(&rig.pager);
    assert!(found == rig.last || (!done && found == rig.now), "seed {seed}: neither the last commit nor this one");
    (rig.last, rig.now) = (found.clone(), found);
    rig.pager.begin();
}

#[test]
fn a_crash_leaves_the_last_commit_or_the_one_in_flight() {
    let mut total = Tally::default();
    for seed in 0..24 {
        let tally = story(seed, 2_500);
        total.operations += tally.operations;
        total.crashes += tally.crashes;
    }
    assert!(total.operations >= 60_000 && total.crashes > 50, "{} {}", total.operations, total.crashes);
}

#[test]
fn a_meta_before_its_pages_loses_everything_in_a_crash() {
    let lost = (0..40).filter(|seed| {
        let mut rig = Rig::new(Options { bugs: Bugs::NONE.with(crate::Bug::MetaBeforeData), ..SMALL });
        rig.create("key");
        rig.put("key", "a", vec![1; 2000]);
        rig.commit();
        rig.put("key", "b", vec![2; 2000]);
        rig.pager.begin_commit(&mut rig.file);
        rig.step();
        rig.file.crash(&mut Dice(*seed));
        match open(&rig.file.bytes(), SMALL) {
            Err(_) => true,
            Ok(pager) => content(&pager) != rig.last && content(&pager) != rig.now,
        }
    });
    assert!(lost.count() > 5);
}

/// A process ends while the meta that it has written is being synced. The next one opens the file at that meta and
/// begins a commit, and power fails after so many of its syncs, before any meta is written back. What was committed by
/// then, and what the file holds.
fn lost_after_reopening(bugs: Bugs, syncs: u64) -> (Vec<Content>, Result<Content, String>) {
    let mut rig = Rig::new(Options { bugs, ..SMALL });
    rig.create("key");
    // The file never grows then, which would help.
    let rewrite = |rig: &mut Rig, round: u8, keys: u64| {
        for at in 0..keys {
            rig.put("key", at.to_be_bytes().to_vec(), vec![round; 200]);
        }
    };
    for round in 0..10 {
        rewrite(&mut rig, round, 400);
        rig.commit();
    }
    let mut committed = vec![rig.last.clone()];
    rewrite(&mut rig, 10, 400);
    rig.pager.begin_commit(&mut rig.file);
    while !matches!(rig.file.pending.last(), Some(Change::Write(0 | 4096, _))) {
        assert_eq!(rig.step(), Progress::Pending, "its meta is not written yet");
    }
    committed.push(rig.now.clone());
    rig.reopen();
    assert!(rig.now == committed[1], "the page cache has it");
    rewrite(&mut rig, 11, 150);
    rig.pager.begin_commit(&mut rig.file);
    for _ in 0..syncs {
        rig.step();
    }
    committed.push(rig.now.clone());
    for change in std::mem::take(&mut rig.file.pending) {
        if !matches!(change, Change::Write(0 | 4096, _)) {
            apply(&mut rig.file.durable, &change);
        }
    }
    let found = open(&rig.file.bytes(), SMALL).map_err(|error| error.to_string());
    (committed, found.map(|pager| content(&pager)))
}

#[test]
fn a_meta_that_was_only_read_lasts_before_its_free_pages_are_written() {
    for syncs in 0..3 {
        let (committed, found) = lost_after_reopening(Bugs::NONE, syncs);
        assert!(found.is_ok_and(|found| committed.contains(&found)), "after {syncs} syncs");
    }
    let (committed, found) = lost_after_reopening(Bugs::NONE.with(crate::Bug::MetaNotSyncedAtOpen), 0);
    assert!(found.is_err() || found.is_ok_and(|found| !committed.contains(&found)), "F-06 loses it");
}

#[test]
fn only_the_first_commit_after_an_opening_syncs_once_more() {
    let syncs = |bugs| {
        let mut rig = Rig::new(Options { bugs, ..SMALL });
        rig.create("key");
        let is_sync = |command: &&DiskCommand| matches!(command, DiskCommand::Sync { .. });
        let count = |rig: &Rig| rig.file.log.iter().filter(is_sync).count();
        let mut all = Vec::new();
        for round in 0..4 {
            rig.put("key", "a", vec![round; 100]);
            let before = count(&rig);
            rig.commit();
            all.push(count(&rig) - before);
            if round == 1 {
                rig.reopen();
            }
        }
        all
    };
    // The first one makes the file longer.
    assert_eq!(syncs(Bugs::NONE), [3, 2, 3, 2]);
    assert_eq!(syncs(Bugs::NONE.with(crate::Bug::MetaNotSyncedAtOpen)), [3, 2, 2, 2]);
}
