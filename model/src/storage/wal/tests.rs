//! Logs made by hand, whole, torn and damaged.

use super::testing::Writer;
use super::*;

const FIRST: FileName = FileName::Wal { seq: 0, index: 0 };
const SECOND: FileName = FileName::Wal { seq: 1, index: 4 };

fn read_files(files: &[(FileName, &[u8])]) -> Result<Log, String> {
    let files =
        files.iter().map(|(name, bytes)| (*name, bytes.chunks(100).map(Bytes::copy_from_slice).collect())).collect();
    match super::read(&files, &BTreeMap::new()) {
        Ok(log) => Ok(log.unwrap_or_default()),
        Err(damage) => Err(damage.to_string()),
    }
}

fn read_one(bytes: &[u8]) -> Result<Log, String> {
    read_files(&[(FIRST, bytes)])
}

/// Term and index of every entry, and what the log says beside them.
fn entries(log: &Log) -> Vec<(u64, u64)> {
    log.entries.iter().map(|entry| (entry.term, entry.index)).collect()
}

/// Entries 1 to 3 in term 1, committed up to 2.
fn three() -> Writer {
    let mut writer = Writer::first();
    for index in 1..=3 {
        writer.entry(index, 1, &[index as u8; 100]);
    }
    writer.state(1, 2, 2);
    writer
}

#[test]
fn records_come_back() {
    let log = read_one(&three().bytes).expect("the log is whole");
    assert_eq!(entries(&log), [(1, 1), (1, 2), (1, 3)]);
    assert_eq!(log.hard_state, HardState { term: 1, vote: 2, commit: 2 });
    assert_eq!((&log.metadata[..], log.torn, log.start().index), (&b"node"[..], None, 0));
    let mut preallocated = three().bytes;
    preallocated.resize(1 << 16, 0);
    assert_eq!(read_one(&preallocated), Ok(log));
    assert_eq!(read_files(&[]), Ok(Log::default()));
}

#[test]
fn later_entries_replace_earlier_ones() {
    let mut writer = three();
    writer.entry(2, 2, b"new");
    assert_eq!(entries(&read_one(&writer.bytes).expect("it is whole")), [(1, 1), (2, 2)]);
    writer.entry(4, 2, b"gap");
    assert!(read_one(&writer.bytes).expect_err("entry 3 is missing").ends_with("entry 4 follows entry 2"));
}

#[test]
fn a_log_goes_on_from_its_newest_committed_snapshot() {
    let mut writer = three();
    writer.snapshot(2, 1);
    writer.snapshot(3, 1);
    let log = read_one(&writer.bytes).expect("it is whole");
    assert_eq!((log.start().index, log.last()), (2, 3));
    writer.snapshot(9, 1);
    let log = read_one(&writer.bytes).expect("it is whole");
    assert_eq!((log.start().index, log.last()), (2, 3), "what is not committed does not count");
    writer.state(1, 2, 9);
    assert_eq!(read_one(&writer.bytes).expect("it is whole").start().index, 9);
    writer.entry(10, 1, b"next");
    assert_eq!(entries(&read_one(&writer.bytes).expect("it is whole")), [(1, 10)]);
}

#[test]
fn a_snapshot_that_contradicts_the_log_replaces_it_when_it_is_committed() {
    let mut writer = three();
    writer.entry(4, 1, b"stale");
    writer.snapshot(3, 2);
    assert_eq!(read_one(&writer.bytes).expect("it is whole").last(), 4, "the snapshot is not committed");
    writer.state(2, 2, 3);
    let log = read_one(&writer.bytes).expect("it is whole");
    assert_eq!((log.start().index, log.last()), (3, 3));
    writer.entry(4, 2, b"next");
    assert_eq!(read_one(&writer.bytes).expect("it is whole").entry(4).map(|entry| entry.term), Some(2));
}

#[test]
fn segments_chain_their_checksums() {
    let first = three();
    let mut second = first.next();
    second.entry(4, 1, b"four");
    let log = read_files(&[(FIRST, &first.bytes), (SECOND, &second.bytes)]).expect("they follow each other");
    assert_eq!(log.last(), 4);
    let mut stray = Writer::first();
    stray.entry(4, 1, b"four");
    let error = read_files(&[(FIRST, &first.bytes), (SECOND, &stray.bytes)]).expect_err("it does not follow");
    assert!(error.ends_with("the segment does not go on from the checksum of the one before"), "{error}");
    // What was purged is not missed, and what came back over a gap is not read.
    let alone = read_files(&[(SECOND, &second.bytes)]).expect("the first was purged");
    assert_eq!(entries(&alone), [(1, 4)]);
    let third = FileName::Wal { seq: 2, index: 5 };
    let gap = read_files(&[(FIRST, &first.bytes), (third, &second.bytes)]).expect("the first lies before a gap");
    assert_eq!(entries(&gap), [(1, 4)]);
}

#[test]
fn only_a_torn_end_of_the_last_segment_is_forgiven() {
    let mut writer = three();
    let whole = writer.bytes.len();
    writer.entry(4, 1, &[7; 2000]);
    let cut = &writer.bytes[..whole + 900];
    let log = read_one(cut).expect("a crash may cut a record off");
    assert_eq!((log.last(), log.torn), (3, Some((FIRST, whole as u64))));
    let mut torn = writer.bytes.clone();
    torn[1024..1536].fill(0);
    assert_eq!(read_one(&torn).expect("a crash may leave a sector out").torn, Some((FIRST, whole as u64)));
    let mut flipped = writer.bytes.clone();
    flipped[whole + 100] ^= 1;
    assert!(read_one(&flipped).expect_err("no crash flips a bit").ends_with("a record is damaged"));
    let second = writer.next();
    for bytes in [cut, &torn] {
        assert!(read_files(&[(FIRST, bytes), (SECOND, &second.bytes)]).is_err(), "it is not the last segment");
    }
}

#[test]
fn etcds_blind_spots_are_kept() {
    // A length of zero is the end, and a zeroed sector is a torn record, whatever follows.
    let writer = three();
    let mut blind = writer.bytes.clone();
    let place = blind.len() - three_state_length();
    blind[place..place + 8].fill(0);
    let log = read_one(&blind).expect("it looks like the end");
    assert_eq!((log.last(), log.hard_state, log.torn), (3, HardState::default(), None));
}

fn three_state_length() -> usize {
    let mut writer = three();
    let before = writer.bytes.len();
    writer.state(1, 2, 2);
    writer.bytes.len() - before
}

#[test]
fn whatever_the_bytes_nothing_panics() {
    let sound = three().bytes;
    for at in 0..sound.len() {
        for bits in [1, 0x80, 0xff] {
            let mut broken = sound.clone();
            broken[at] ^= bits;
            let _ = read_one(&broken);
        }
        let _ = read_one(&sound[..at]);
    }
}

#[test]
fn a_record_may_end_in_zeros_that_its_content_leaves_out() {
    let mut writer = three();
    writer.entry(4, 1, &[0; 100]);
    let whole = read_one(&writer.bytes).expect("it is whole");
    let used = writer.bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty") + 1;
    let files = BTreeMap::from([(FIRST, Rope::from(writer.bytes[..used].to_vec()))]);
    for length in [writer.bytes.len() as u64, 1 << 16] {
        let read = super::read(&files, &BTreeMap::from([(FIRST, length)]));
        assert_eq!(read.expect("it is whole"), Some(whole.clone()));
    }
    let cut = super::read(&files, &BTreeMap::from([(FIRST, used as u64 + 1)])).expect("it is torn");
    assert_eq!(cut.map(|log| (log.last(), log.torn.is_some())), Some((3, true)));
}
