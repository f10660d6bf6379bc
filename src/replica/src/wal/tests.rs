//! The log against its format, against crashes, and against damage.

use super::testing::{Dice, Disk};
use super::*;
use crate::BootError;

const FIRST: FileName = FileName::Wal { seq: 0, index: 0 };

fn entry(index: u64, term: u64, data: impl Into<Bytes>) -> raftpb::Entry {
    let mut entry = raftpb::Entry::default();
    (entry.index, entry.term, entry.data) = (index, term, data.into());
    entry
}

fn state(term: u64, vote: u64, commit: u64) -> raftpb::HardState {
    let mut state = raftpb::HardState::default();
    (state.term, state.vote, state.commit) = (term, vote, commit);
    state
}

fn conf_state(voters: Vec<u64>) -> raftpb::ConfState {
    raftpb::ConfState { voters, ..Default::default() }
}

fn with(segment_bytes: u64) -> Settings {
    Settings::with_segments(segment_bytes)
}

/// Ends syncs until the log waits for none.
fn settle(wal: &mut Wal, disk: &mut Disk) {
    while let Some(op) = disk.end_sync() {
        if wal.awaiting() == Some(op) {
            wal.on_disk(op, disk);
        }
    }
    assert_eq!(wal.awaiting(), None);
}

fn created(segment_bytes: u64) -> (Wal, Disk) {
    created_with(with(segment_bytes))
}

fn created_with(settings: Settings) -> (Wal, Disk) {
    let mut disk = Disk::default();
    let (mut wal, _) = Wal::create("meta".into(), settings, &DiskImage::default(), &mut disk);
    settle(&mut wal, &mut disk);
    (wal, disk)
}

/// What does not depend on whether a log was read or written.
fn end_of(wal: &Wal) -> (Vec<Segment>, u64, u32, u64) {
    let segments = wal.free.iter().chain(&wal.held).copied().collect();
    (segments, wal.tail.position() + wal.tail.buffer.len() as u64, wal.crc, wal.last_index)
}

/// A single segment with `count` entries of 100 bytes, no byte of which is zero.
fn sample(count: u64) -> Bytes {
    let (mut wal, mut disk) = created(16384);
    for index in 1..=count {
        wal.save(Some(&state(1, 1, index - 1)), &[entry(index, 1, vec![index as u8; 100])], true, &mut disk);
        settle(&mut wal, &mut disk);
    }
    disk.image().files[&FIRST].to_bytes()
}

fn image(content: impl Into<Bytes>) -> DiskImage {
    DiskImage { files: [(FIRST, content.into().into())].into(), ..DiskImage::default() }
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let (mut wal, mut disk) = created(4096);
    let saved = wal.save(Some(&state(2, 0, 0)), &[entry(1, 2, "x")], true, &mut disk);
    assert_eq!((saved.write, saved.sync), (Some(OpId(9)), Some(OpId(10))));

    let mut expect = Vec::new();
    let mut crc = 0;
    let mut framed = |kind: u8, data: &[u8]| {
        crc = crc32c::crc32c_append(crc, data);
        let mut record = vec![0x08, kind, 0x10];
        let mut rest = crc;
        while rest >= 0x80 {
            record.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        record.push(rest as u8);
        if !data.is_empty() {
            record.extend([0x1a, data.len() as u8]);
            record.extend(data);
        }
        let padding = (8 - record.len() % 8) % 8;
        expect.extend([record.len() as u8, 0, 0, 0, 0, 0, 0]);
        expect.push(if padding == 0 { 0 } else { 0x80 | padding as u8 });
        expect.extend(&record);
        expect.extend(vec![0; padding]);
    };
    framed(4, &[]);
    framed(1, b"meta");
    framed(5, &[0x08, 0, 0x10, 0]);
    framed(2, &[0x08, 0, 0x10, 2, 0x18, 1, 0x22, 1, b'x']);
    framed(3, &[0x08, 2, 0x10, 0, 0x18, 0]);
    let content = disk.image().files[&FIRST].to_bytes();
    assert_eq!(content.len(), 4096);
    assert_eq!(content[..expect.len()], expect[..]);
    assert!(content[expect.len()..].iter().all(|byte| *byte == 0));
    // The first record in full, without any helper: length 4, 4 bytes of padding; type 4, crc 0.
    assert_eq!(content[..16], [4, 0, 0, 0, 0, 0, 0, 0x84, 8, 4, 0x10, 0, 0, 0, 0, 0]);
}

#[test]
fn a_snapshot_record_carries_the_configuration() {
    let (mut wal, mut disk) = created(4096);
    let mut conf_state = conf_state(vec![1, 300]);
    conf_state.learners = vec![7];
    wal.save(Some(&state(3, 1, 9)), &[], false, &mut disk);
    wal.save_snapshot(9, 3, &conf_state, &mut disk);
    settle(&mut wal, &mut disk);
    wal.save_snapshot(12, 3, &conf_state, &mut disk);
    let data = [0x08, 9, 0x10, 3, 0x1a, 9, 0x08, 1, 0x08, 0xac, 2, 0x10, 7, 0x28, 0];
    let content = disk.image().files[&FIRST].to_bytes();
    assert!(content.windows(data.len()).any(|window| window == data));
    let all = read(&disk.image(), (9, 3), with(4096)).unwrap();
    let expect = WalSnapshot { index: 9, term: 3, conf_state: Some(conf_state) };
    assert_eq!(all.snapshots[1], expect);
    let valid: Vec<u64> =
        valid_snapshots(&disk.image(), with(4096)).unwrap().iter().map(|snapshot| snapshot.index).collect();
    assert_eq!(valid, [0, 9], "12 is above the commit index");
    assert!(read(&disk.image(), (9, 2), with(4096)).is_err(), "another term");
    assert!(read(&disk.image(), (10, 3), with(4096)).is_ok(), "etcd does not mind that there is no such snapshot");
}

#[test]
fn must_sync_as_raft_says() {
    let (mut wal, mut disk) = created(4096);
    wal.save(Some(&state(2, 1, 0)), &[], true, &mut disk);
    settle(&mut wal, &mut disk);
    assert!(!wal.must_sync(None, &[]));
    assert!(!wal.must_sync(Some(&state(2, 1, 5)), &[]), "commit alone");
    assert!(wal.must_sync(Some(&state(2, 3, 0)), &[]), "vote");
    assert!(wal.must_sync(Some(&state(3, 1, 0)), &[]), "term");
    assert!(wal.must_sync(None, &[entry(1, 1, "")]));
    assert_eq!(wal.save(Some(&state(0, 0, 0)), &[], true, &mut disk), SaveOutcome::default());
}

#[test]
fn what_need_not_be_synced_waits_for_the_next_write() {
    let (mut wal, mut disk) = created(1 << 20);
    wal.save(Some(&state(1, 1, 0)), &[entry(1, 1, "x")], true, &mut disk);
    settle(&mut wal, &mut disk);
    let written = disk.log.len();
    assert_eq!(wal.save(Some(&state(1, 1, 1)), &[], false, &mut disk), SaveOutcome::default());
    assert_eq!(wal.save(Some(&state(1, 1, 2)), &[], false, &mut disk), SaveOutcome::default());
    assert_eq!(disk.log.len(), written);
    assert_eq!(read(&disk.image(), (0, 0), with(1 << 20)).unwrap().hard_state.commit, 0);
    wal.save(None, &[entry(2, 1, "y")], true, &mut disk);
    assert_eq!(disk.log.len(), written + 2, "one write and a sync");
    assert_eq!(read(&disk.image(), (0, 0), with(1 << 20)).unwrap().hard_state.commit, 2);
}

#[test]
fn a_big_save_goes_out_in_pages() {
    let (mut wal, mut disk) = created(64_000_000);
    wal.save(Some(&state(1, 1, 0)), &[], true, &mut disk);
    settle(&mut wal, &mut disk);
    let written = disk.log.len();
    let entries: Vec<_> = (1..=5).map(|index| entry(index, 1, vec![index as u8; 60_000])).collect();
    let start = wal.tail.position();
    wal.save(None, &entries, true, &mut disk);
    let writes: Vec<(u64, u64)> = disk.log[written..]
        .iter()
        .filter_map(|command| match command {
            DiskCommand::Write { offset, data, .. } => Some((*offset, data.len() as u64)),
            _ => None,
        })
        .collect();
    // The third entry is too much for the buffer: it is filled up to a page and written, then whole pages of what is
    // left; the rest waits with the other entries for the sync.
    assert_eq!(writes.len(), 3, "{writes:?}");
    assert_eq!(writes[0].0, start);
    for pair in writes.windows(2) {
        assert_eq!(pair[0].0 + pair[0].1, pair[1].0, "{writes:?}");
        assert_eq!(pair[1].0 % 4096, 0, "{writes:?}");
    }
    assert!(writes[0].1 > 120_000 && writes[1].1 > 50_000, "{writes:?}");
    settle(&mut wal, &mut disk);
    assert_eq!(read(&disk.image(), (0, 0), with(64_000_000)).unwrap().entries, entries);
}

#[test]
fn a_full_segment_is_cut_in_etcds_order_and_old_ones_are_purged() {
    let (mut wal, mut disk) = created(4096);
    for index in 1..=40 {
        wal.save(Some(&state(1, 1, index)), &[entry(index, 1, vec![1; 600])], true, &mut disk);
        settle(&mut wal, &mut disk);
    }
    // The first truncation makes room, the second ends the segment: by the save after the one that filled it.
    let ends = |command: &DiskCommand| matches!(command, DiskCommand::Truncate { file: FIRST, .. });
    let start = disk.log.iter().position(ends).unwrap();
    let (tmp, second) = (FileName::WalTmp { slot: 0 }, FileName::Wal { seq: 1, index: 9 });
    let cut = &disk.log[start..][..9];
    let ahead = FileName::WalTmp { slot: 1 };
    assert!(matches!(cut[1], DiskCommand::Write { file: FIRST, .. }));
    assert_eq!(cut[2], DiskCommand::Sync { file: FIRST });
    assert!(matches!(cut[3], DiskCommand::Write { file, offset: 0, .. } if file == tmp));
    assert_eq!(cut[4], DiskCommand::Sync { file: tmp });
    assert_eq!(cut[5], DiskCommand::Create { file: ahead });
    assert_eq!(cut[6], DiskCommand::Truncate { file: ahead, length: 4096 });
    assert_eq!(cut[7], DiskCommand::Rename { from: tmp, to: second });
    assert_eq!(cut[8], DiskCommand::SyncDir { dir: Dir::Wal });
    let all = read(&disk.image(), (0, 0), with(4096)).unwrap();
    assert_eq!(all.entries.len(), 40);
    assert_eq!(end_of(&all.wal), end_of(&wal));

    let count = wal.held.len();
    wal.save_snapshot(20, 1, &conf_state(vec![1]), &mut disk);
    settle(&mut wal, &mut disk);
    assert_eq!(wal.purge(1, &mut disk), 0, "nothing is released");
    wal.release(20);
    assert_eq!(wal.purge(count - 1, &mut disk), 1, "one too many");
    assert_eq!(wal.purge(1, &mut disk), 1, "the segment of index 20 is held");
    let all = read(&disk.image(), (20, 1), with(4096)).unwrap();
    assert_eq!(all.entries.first().unwrap().index, 21);
    assert_eq!(all.entries.len(), 20);
    assert!(valid_snapshots(&disk.image(), with(4096)).is_ok(), "the chain may start in the middle");

    let mut gap = disk.image();
    let middle = *gap.files.keys().find(|file| matches!(file, FileName::Wal { seq: 3, .. })).unwrap();
    gap.files.remove(&middle);
    assert!(read(&gap, (20, 1), with(4096)).is_err(), "a segment is missing");
}

#[test]
fn a_segment_that_cannot_be_made_ahead_is_missed_by_the_cut_only() {
    let (mut wal, mut disk) = created(4096);
    let truncates =
        |command: &DiskCommand| matches!(command, DiskCommand::Truncate { file: FileName::WalTmp { .. }, .. });
    let made = disk.log.iter().rposition(truncates).unwrap();
    assert!(!wal.note_failure(OpId(1)));
    assert!(wal.note_failure(OpId(made as u64 + 1)));
    let mut ended = Vec::new();
    for index in 1..=9 {
        wal.save(Some(&state(1, 1, index)), &[entry(index, 1, vec![1; 600])], true, &mut disk);
        let op = disk.end_sync().unwrap();
        ended.push(wal.on_disk(op, &mut disk));
        if ended.last() == Some(&Progress::Failed) {
            break;
        }
    }
    assert_eq!(ended.len(), 8);
    assert_eq!(ended.last(), Some(&Progress::Failed));
}

#[test]
fn a_head_that_an_earlier_life_has_left_does_not_show() {
    let (mut wal, mut disk) = created(4096);
    wal.save(Some(&state(1, 1, 0)), &[entry(1, 1, vec![1; 4000])], true, &mut disk);
    settle(&mut wal, &mut disk);
    // It dies in a cut: the head is written, and has no name. There is a hard state in it.
    wal.save(None, &[entry(2, 1, vec![1; 100])], true, &mut disk);
    let op = disk.end_sync().unwrap();
    assert!(matches!(wal.on_disk(op, &mut disk), Progress::Waits(_)));
    while disk.end_sync().is_some() {}
    let mut all = read(&disk.image(), (0, 0), with(4096)).unwrap();
    assert_eq!(all.entries.len(), 2);
    all.wal.start(&mut disk);
    // In the next head there is none.
    all.wal.save(None, &[entry(3, 1, vec![1; 100])], true, &mut disk);
    settle(&mut all.wal, &mut disk);
    let again = read(&disk.image(), (0, 0), with(4096)).unwrap();
    assert_eq!(again.entries.len(), 3);
    assert_eq!(end_of(&again.wal), end_of(&all.wal));
}

#[test]
fn bugs_do_what_they_say() {
    let bugged = |bug| Settings { bugs: Bugs::NONE.with(bug), ..with(4096) };
    // M-20b: a cut loses the chain, and the log cannot be read.
    let (mut wal, mut disk) = created_with(bugged(Bug::WalcutCrcNotChained));
    for index in 1..=10 {
        wal.save(Some(&state(1, 1, index)), &[entry(index, 1, vec![1; 600])], true, &mut disk);
        settle(&mut wal, &mut disk);
    }
    assert!(read(&disk.image(), (0, 0), with(4096)).is_err());
    // M-21: what was behind the end stays there.
    let mut content = sample(3).to_vec();
    content[8000] = 1;
    let kept = read(&image(content.clone()), (0, 0), bugged(Bug::WalZeroTailKeep)).unwrap();
    assert_eq!(kept.repair, []);
    assert_eq!(read(&image(content), (0, 0), with(16384)).unwrap().repair.len(), 2);
    // M-22: damage in the middle is cut off, and nobody is told.
    let whole = sample(10);
    let at = whole.windows(100).position(|window| window == [5; 100]).unwrap();
    let mut content = whole.to_vec();
    content[at + 50] ^= 4;
    assert!(read(&image(content.clone()), (0, 0), with(16384)).is_err());
    let cut = read(&image(content), (0, 0), bugged(Bug::WalRepairMiddle)).unwrap();
    assert_eq!(cut.entries.len(), 4);
    // F-01: an entry that was overwritten comes back, when the one that was written last is in the snapshot.
    let (mut wal, mut disk) = created_with(with(16384));
    for (index, term) in [(1, 1), (2, 1), (3, 1), (4, 1), (3, 2)] {
        wal.save(Some(&state(term, 1, 2)), &[entry(index, term, "")], true, &mut disk);
        settle(&mut wal, &mut disk);
    }
    wal.save_snapshot(3, 2, &conf_state(vec![1]), &mut disk);
    settle(&mut wal, &mut disk);
    assert_eq!(read(&disk.image(), (3, 2), with(16384)).unwrap().entries, []);
    let back = read(&disk.image(), (3, 2), bugged(Bug::WalOverwrittenReturns)).unwrap().entries;
    assert_eq!(back.iter().map(|entry| (entry.index, entry.term)).collect::<Vec<_>>(), [(4, 1)]);
    // So does what lies behind a snapshot that came in place of the log.
    let (mut wal, mut disk) = created_with(with(16384));
    for index in 1..=4 {
        wal.save(Some(&state(1, 1, 2)), &[entry(index, 1, "")], true, &mut disk);
        settle(&mut wal, &mut disk);
    }
    wal.save_snapshot(3, 2, &conf_state(vec![1]), &mut disk);
    settle(&mut wal, &mut disk);
    assert_eq!(read(&disk.image(), (3, 2), with(16384)).unwrap().entries, []);
    assert_eq!(read(&disk.image(), (3, 2), bugged(Bug::WalOverwrittenReturns)).unwrap().entries.len(), 1);
    // One of ours does not end the log.
    let (mut wal, mut disk) = created_with(with(16384));
    for index in 1..=4 {
        wal.save(Some(&state(1, 1, 2)), &[entry(index, 1, "")], true, &mut disk);
        settle(&mut wal, &mut disk);
    }
    wal.save_snapshot(3, 1, &conf_state(vec![1]), &mut disk);
    settle(&mut wal, &mut disk);
    assert_eq!(read(&disk.image(), (3, 1), with(16384)).unwrap().entries.len(), 1);
}

/// A state that a crash may leave: the hard state and the entries after some record.
type Remembered = ((u64, u64, u64), Vec<raftpb::Entry>);

#[test]
fn a_crash_leaves_all_that_was_synced_and_at_most_a_prefix_of_the_rest() {
    for seed in 0..300 {
        crash_story(seed);
    }
}

fn crash_story(seed: u64) {
    let mut dice = Dice(seed);
    let mut disk = Disk::default();
    let segment_bytes = [4096, 6000, 16384][dice.below(3) as usize];
    let settings = with(segment_bytes);
    let (mut wal, _) = Wal::create("m".into(), settings, &DiskImage::default(), &mut disk);
    settle(&mut wal, &mut disk);
    let mut now: Remembered = ((1, 0, 0), vec![]);
    wal.save(Some(&state(1, 0, 0)), &[], true, &mut disk);
    settle(&mut wal, &mut disk);
    for _ in 0..4 {
        // Every state since the last one that certainly lasts, record by record.
        let mut states = vec![now.clone()];
        for _ in 0..dice.below(30) {
            let ((mut term, mut vote, mut commit), log) = now.clone();
            if dice.below(6) == 0 {
                (term, vote) = (term + 1, dice.below(4));
            }
            let keep = commit + dice.below(log.len() as u64 - commit + 1);
            let mut entries = Vec::new();
            for step in 1..=dice.below(4) {
                let length = if dice.below(8) == 0 { dice.below(2500) } else { dice.below(200) };
                let fill = if dice.below(5) == 0 { 0 } else { 1 + dice.below(255) as u8 };
                entries.push(entry(keep + step, term, vec![fill; length as usize]));
            }
            for entry in &entries {
                now.1.truncate(entry.index as usize - 1);
                now.1.push(entry.clone());
                states.push(now.clone());
            }
            commit += dice.below(now.1.len() as u64 - commit + 1);
            now.0 = (term, vote, commit);
            states.push(now.clone());
            let hard_state = state(term, vote, commit);
            let must_sync = wal.must_sync(Some(&hard_state), &entries);
            let saved = wal.save(Some(&hard_state), &entries, must_sync, &mut disk);
            // The machine may die at any point of a cut.
            let mut waiting = saved.sync;
            while waiting.is_some() && dice.below(30) != 0 {
                let op = disk.end_sync().expect("it waits for one");
                waiting = match wal.on_disk(op, &mut disk) {
                    Progress::Waits(next) => Some(next),
                    Progress::Done => None,
                    Progress::Failed => panic!("nothing fails on this disk"),
                };
                states.drain(..states.len() - 1);
            }
            if waiting.is_some() {
                break;
            }
        }
        disk.crash(&mut dice);
        let all = read(&disk.image(), (0, 0), settings).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let hard_state = (all.hard_state.term, all.hard_state.vote, all.hard_state.commit);
        now = (hard_state, all.entries);
        assert!(states.contains(&now), "seed {seed}: {:?} with {} entries", now.0, now.1.len());
        // What was read is read again, whether the machine dies in the repair or after it.
        wal = all.wal;
        for command in all.repair {
            disk.issue(command);
        }
        if dice.below(3) == 0 {
            disk.crash(&mut dice);
            let all = read(&disk.image(), (0, 0), settings).unwrap();
            wal = all.wal;
            for command in all.repair {
                disk.issue(command);
            }
        }
        wal.start(&mut disk);
        settle(&mut wal, &mut disk);
        let again = read(&disk.image(), (0, 0), settings).unwrap();
        assert_eq!(again.entries, now.1, "seed {seed}");
        assert_eq!(end_of(&again.wal), end_of(&wal), "seed {seed}: repaired for good");
    }
}

#[test]
fn a_cut_off_segment_recovers_a_prefix() {
    let whole = sample(40);
    let mut last = usize::MAX;
    for length in (256..whole.len()).rev().step_by(64).chain((256..1024).rev()) {
        let all = read(&image(whole.slice(..length)), (0, 0), with(16384)).unwrap();
        let count = all.entries.len();
        assert!(all.entries.iter().enumerate().all(|(at, entry)| entry.data == vec![at as u8 + 1; 100]));
        assert!(count <= last || length == 1023, "shorter, never longer");
        last = count;
    }
}

#[test]
fn damage_is_refused_unless_it_looks_like_a_torn_write() {
    let whole = sample(40);
    let at = whole.windows(100).position(|window| window == [20; 100]).unwrap();
    let damaged = |change: &dyn Fn(&mut [u8])| {
        let mut content = whole.to_vec();
        change(&mut content);
        read(&image(content), (0, 0), with(16384))
    };
    let count = |result: Result<ReadAll, BootError>| result.map(|all| all.entries.len());

    // A flipped bit in the data.
    let error = damaged(&|content| content[at + 50] ^= 4).unwrap_err();
    assert!(matches!(error, BootError::Wal { file: FIRST, offset, .. } if offset < at as u64 && offset % 8 == 0));

    // etcd's blind spots: everything after is lost, although it was synced.
    let sector = at.next_multiple_of(512);
    let all = damaged(&|content| content[sector..sector + 512].fill(0)).unwrap();
    assert!((18..25).contains(&all.entries.len()), "a zeroed sector");
    let start = (0..at).rev().find(|start| start % 8 == 0 && whole[start + 8..].starts_with(&[0x08, 2]));
    let start = start.expect("the record of entry 20 has a frame");
    let all = damaged(&|content| content[start..start + 8].fill(0)).unwrap();
    assert_eq!(all.entries.len(), 19, "a zeroed length");
    assert!(all.repair.iter().all(|command| !matches!(command, DiskCommand::Create { .. })), "no copy is kept");
    assert_eq!(all.repair.len(), 2, "the rest is erased");
    let all = damaged(&|content| content[start + 6] ^= 0x80).unwrap();
    assert_eq!(all.entries.len(), 19, "the high bit of a length");
    assert_eq!(all.repair[0], DiskCommand::Create { file: FileName::WalBroken { seq: 0, index: 0 } });
    assert_eq!(all.repair.last(), Some(&DiskCommand::Fsync { file: FIRST }));
    assert_eq!(count(damaged(&|_| ())), Ok(40));
}

#[test]
fn damage_in_an_older_segment_is_always_refused() {
    let (mut wal, mut disk) = created(4096);
    for index in 1..=10 {
        wal.save(Some(&state(1, 1, index)), &[entry(index, 1, vec![1; 600])], true, &mut disk);
        settle(&mut wal, &mut disk);
    }
    let sound = disk.image();
    let end = sound.files[&FIRST].len() as u64;
    assert!(sound.files.len() > 1);
    let mut dice = Dice(5);
    for _ in 0..300 {
        let mut damaged = sound.clone();
        let mut content = damaged.files[&FIRST].to_bytes().to_vec();
        let at = 64 + dice.below(end - 64) as usize;
        match dice.below(3) {
            0 => content[at] ^= 1 << dice.below(8),
            1 => content[at / 512 * 512..].iter_mut().take(512).for_each(|byte| *byte = 0),
            _ => content.truncate(at),
        }
        damaged.files.insert(FIRST, content.into());
        match read(&damaged, (0, 0), with(4096)) {
            Err(BootError::Wal { .. }) => {}
            Err(error) => panic!("{error}"),
            // A bit of padding, or of a field that nothing checks (the type 3 of a hard state read as something else).
            Ok(all) => assert!(all.entries.len() >= 9, "at {at}: only {} entries", all.entries.len()),
        }
    }
}

#[test]
fn no_bytes_make_the_reader_panic() {
    let whole = sample(20);
    let mut dice = Dice(9);
    for round in 0..4000 {
        let mut content = whole.to_vec();
        for _ in 0..1 + dice.below(6) {
            let at = dice.below(3600) as usize;
            content[at] = dice.next() as u8;
        }
        if round % 4 == 0 {
            content.truncate(dice.below(200) as usize * 8);
            content.extend((0..dice.below(100)).map(|_| dice.next() as u8));
        }
        let image = image(content);
        let _ = read(&image, (0, 0), with(16384));
        let _ = read(&image, (dice.below(30), 1), with(16384));
        let _ = valid_snapshots(&image, with(16384));
    }
    assert!(read(&DiskImage::default(), (0, 0), with(4096)).is_err());
    assert!(valid_snapshots(&DiskImage::default(), with(4096)).unwrap().is_empty());
    assert!(!exists(&DiskImage::default()));
}
