//! Disks made by hand: P1 to P4, each where it holds and where it must speak.

use std::collections::BTreeMap;

use detcd_replica::api::Alarm;
use detcd_replica::history::Side;
use detcd_replica::raftpb::EntryType;
use detcd_replica::DiskImage;
use prost::Message as _;

use super::*;
use crate::storage::db::testing::{file, Content, PAGE};
use crate::storage::entry::{ConfChange, ConfState, Snapshot, StoredKeyValue};
use crate::storage::entry::{StoredAlarm, StoredLease};
use crate::storage::request::testing::{alarm, attach, compact, delete, grant, put};
use crate::storage::wal::testing::Writer;

/// One member whose log is: itself, then a=1 at revision 2, a=2 at 3, a gone at 4, b=3 at 5, compacted at 4.
pub(super) struct Disk {
    pub(super) invariants: Invariants,
    writer: Writer,
    content: Content,
}

fn log() -> Vec<(i32, Vec<u8>)> {
    let context = r#"{"id":1,"peerURLs":["http://n1"],"name":"n1"}"#.into();
    let founder = ConfChange { id: 0, kind: 0, node_id: 1, context };
    let requests = [put("a", "1"), put("a", "2"), delete("a"), put("b", "3"), compact(4)];
    let founder = (1, founder.encode_to_vec());
    std::iter::once(founder).chain(requests.into_iter().map(|data| (0, data))).collect()
}

fn entries(log: Vec<(i32, Vec<u8>)>) -> Vec<Entry> {
    let entry = |(place, (kind, data)): (usize, (i32, Vec<u8>))| {
        let entry_type = if kind == 1 { EntryType::EntryConfChange } else { EntryType::EntryNormal };
        Entry { entry_type, data: data.into(), ..entry(place as u64 + 1, 1, "") }
    };
    log.into_iter().enumerate().map(entry).collect()
}

fn revision(main: i64, tombstone: bool) -> Vec<u8> {
    let mut key = main.to_be_bytes().to_vec();
    key.push(b'_');
    key.extend_from_slice(&0_i64.to_be_bytes());
    key.extend(tombstone.then_some(b't'));
    key
}

fn stored(key: &str, value: &str, created: i64, modified: i64, version: i64) -> Vec<u8> {
    let (key, value) = (key.as_bytes().to_vec().into(), value.as_bytes().to_vec().into());
    StoredKeyValue { key, create_revision: created, mod_revision: modified, version, value, lease: 0 }.encode_to_vec()
}

impl Disk {
    /// The log is synced and applied to its end; the database is at the end, its compaction finished.
    pub(super) fn settled() -> Self {
        Self::of(log())
    }

    fn of(log: Vec<(i32, Vec<u8>)>) -> Self {
        Self::raising(log, &[])
    }

    /// The same, with these alarms raised at the end of the log, whose last entry then does nothing.
    fn raising(log: Vec<(i32, Vec<u8>)>, alarms: &[AlarmMember]) -> Self {
        let mut invariants = Invariants::new(&[n(1)]);
        let mut fake = Fake::new(1);
        let mut writer = Writer::first();
        for entry in entries(log) {
            writer.typed(entry.entry_type as i32, entry.index, 1, &entry.data);
            fake.entries.push_back(entry);
        }
        let last = fake.entries.len() as u64;
        let barred = u64::from(!alarms.is_empty());
        fake.alarms = alarms.iter().copied().collect();
        writer.state(1, 1, last);
        invariants.on_boot(1, &fake.view(), &[]).expect("it boots");
        let saved = Event::WalSaved { op: OpId(1), entries: Some((1, last)), hard_state: (1, n(1), last) };
        fake.commit = last;
        invariants.on_step(2, &fake.view(), &[write(1), Output::Event(saved)]).expect("it saves");
        invariants.on_synced(3, n(1), WAL, OpId(1)).expect("it syncs");
        let applied: Vec<_> = fake
            .entries
            .iter()
            .map(|entry| {
                let entry_hash = super::logs::entry_hash(entry);
                Output::Event(Event::Applied {
                    index: entry.index,
                    term: 1,
                    entry_hash,
                    state_hash: entry.index.min(last - barred),
                    revision: 1,
                })
            })
            .collect();
        (fake.applied, fake.consistent_index) = (last, last);
        invariants.on_step(4, &fake.view(), &applied).expect("it applies");
        let bytes = |text: &str| text.as_bytes().to_vec();
        let content = [
            (
                bytes("key"),
                BTreeMap::from([
                    (revision(4, true), stored("a", "", 0, 0, 0)),
                    (revision(5, false), stored("b", "3", 5, 5, 1)),
                ]),
            ),
            (
                bytes("meta"),
                BTreeMap::from([
                    (bytes("consistent_index"), last.to_be_bytes().to_vec()),
                    (bytes("term"), 1_u64.to_be_bytes().to_vec()),
                    (bytes("confState"), bytes(r#"{"voters":[1],"auto_leave":false}"#)),
                    (bytes("scheduledCompactRev"), revision(4, false)),
                    (bytes("finishedCompactRev"), revision(4, false)),
                ]),
            ),
            (
                bytes("members"),
                BTreeMap::from([(bytes("1"), bytes(r#"{"id":1,"peerURLs":["http://n1"],"name":"n1"}"#))]),
            ),
            (bytes("members_removed"), BTreeMap::new()),
        ];
        Self { invariants, writer, content: content.into() }
    }

    fn bucket(&mut self, name: &str) -> &mut BTreeMap<Vec<u8>, Vec<u8>> {
        self.content.get_mut(name.as_bytes()).expect("the bucket is there")
    }

    fn set_index(&mut self, index: u64) {
        self.bucket("meta").insert(b"consistent_index".to_vec(), index.to_be_bytes().to_vec());
    }

    fn image(&self) -> DiskImage {
        let files = [(WAL, self.writer.bytes.clone().into()), (FileName::Db, file(&self.content, 3).into())];
        DiskImage { files: files.into(), ..DiskImage::default() }
    }

    fn finds(&mut self, image: &DiskImage, expect: Option<(&str, &str)>) {
        let found = self.invariants.on_image(9, n(1), image).err();
        let found = found.as_ref().map(|finding| (finding.check, &finding.summary[..]));
        match (found, expect) {
            (Some((check, summary)), Some((expected, part))) => {
                assert_eq!(check, expected, "{summary}");
                assert!(summary.contains(part), "{summary}");
            }
            (found, expect) => assert_eq!(found, expect),
        }
    }

    fn judged(&mut self, expect: Option<(&str, &str)>) {
        let image = self.image();
        self.finds(&image, expect);
    }
}

#[test]
fn a_database_is_what_its_log_leads_to() {
    Disk::settled().judged(None);
    let mut behind = Disk::settled();
    behind.set_index(4);
    behind.content.insert(
        b"key".to_vec(),
        BTreeMap::from([
            (revision(2, false), stored("a", "1", 2, 2, 1)),
            (revision(3, false), stored("a", "2", 2, 3, 2)),
            (revision(4, true), stored("a", "", 0, 0, 0)),
        ]),
    );
    behind.bucket("meta").remove(&b"scheduledCompactRev"[..]);
    behind.bucket("meta").remove(&b"finishedCompactRev"[..]);
    behind.judged(None);
    behind.set_index(3);
    behind.judged(Some(("P1", "revision 4.0 is not in the log up to its consistent index")));
    behind.set_index(5);
    behind.judged(Some(("P1", "1 revisions are missing")));
    behind.set_index(4);
    let wrong = [stored("a", "2", 2, 3, 1), stored("a", "3", 2, 3, 2), stored("b", "2", 2, 3, 2)];
    for wrong in wrong {
        behind.bucket("key").insert(revision(3, false), wrong);
        behind.judged(Some(("P1", "revision 3.0 holds something else than was written")));
    }
}

#[test]
fn a_compaction_may_be_at_any_stage_until_it_says_that_it_is_finished() {
    let mut disk = Disk::settled();
    disk.bucket("key").insert(revision(2, false), stored("a", "1", 2, 2, 1));
    disk.judged(Some(("P1", "revision 2.0 was not removed by the finished compaction at 4")));
    disk.bucket("meta").remove(&b"finishedCompactRev"[..]);
    disk.judged(None);
    disk.bucket("key").remove(&revision(4, true));
    disk.judged(Some(("P1", "1 revisions are missing")));
    let mut unscheduled = Disk::settled();
    unscheduled.bucket("meta").remove(&b"scheduledCompactRev"[..]);
    unscheduled.judged(Some(("P1", "its scheduled compaction is at revision -1, not at 4")));
}

#[test]
fn a_database_is_not_ahead_of_the_log_nor_behind_its_commits() {
    let mut ahead = Disk::settled();
    ahead.set_index(7);
    ahead.judged(Some(("P1", "which nobody has applied")));
    let mut torn = Disk::settled();
    torn.invariants.members[0].durable = Durable::default();
    let cut = torn.writer.bytes.len() - 100;
    torn.writer.bytes.truncate(cut);
    torn.judged(Some(("P1", "its log ends at")));
    // Unless it has booted from a log that reached so far, of which a failed sync then took the end.
    let mut unsynced = Disk::settled();
    unsynced.judged(None);
    unsynced.invariants.members[0].durable = Durable::default();
    unsynced.writer.bytes.truncate(cut);
    unsynced.judged(None);
    unsynced.judged(None);
    let mut lost = Disk::settled();
    let mut image = lost.image();
    lost.invariants.members[0].progress.committed(6, None);
    lost.finds(&image, None);
    image.files.remove(&FileName::Db);
    lost.finds(&image, Some(("P1", "it had committed index 6")));
}

#[test]
fn members_are_those_of_the_log() {
    let mut disk = Disk::settled();
    disk.bucket("members").insert(b"2".to_vec(), br#"{"id":2,"peerURLs":null}"#.to_vec());
    disk.judged(Some(("G1", "its members are not those of the log")));
    let mut disk = Disk::settled();
    disk.bucket("meta").insert(b"confState".to_vec(), br#"{"voters":[1,2],"auto_leave":false}"#.to_vec());
    disk.judged(Some(("P1", "its confState has voters [1, 2]")));
}

#[test]
fn voters_are_those_of_the_log() {
    let disk = Disk::settled();
    for (voters, expect) in [(vec![n(1)], Ok(())), (vec![n(1), n(2)], Err("G1")), (Vec::new(), Ok(()))] {
        let mut fake = Fake::new(1);
        (fake.applied, fake.voters) = (6, voters);
        let found = disk.invariants.knows_cluster(9, 0, &fake.view());
        assert_eq!(found.map_err(|finding| finding.check), expect);
    }
}

#[test]
fn a_snapshot_has_the_configuration_of_its_index() {
    for (voters, expect) in [(vec![1], Ok(())), (vec![1, 2], Err("R8"))] {
        let conf_state = Some(ConfState { voters, ..ConfState::default() });
        let found = Disk::settled().invariants.same_configuration(9, 0, &Snapshot { index: 6, term: 1, conf_state });
        assert_eq!(found.map_err(|finding| finding.check), expect);
    }
}

#[test]
fn a_synced_record_is_never_lost() {
    let mut disk = Disk::settled();
    disk.writer = Writer::first();
    disk.judged(Some(("P2", "has lost index")));
    let mut state = Disk::settled();
    let cut = state.writer.bytes.len() - 8;
    state.writer.bytes.truncate(cut);
    state.judged(Some(("P2", "has lost a hard state that was synced")));
    let mut flipped = Disk::settled();
    let middle = flipped.writer.bytes.len() / 2;
    flipped.writer.bytes[middle] ^= 1;
    flipped.judged(Some(("P2", "is damaged, though no fault damaged its disk")));
}

#[test]
fn damage_is_refused_and_not_booted_from() {
    let mut disk = Disk::settled();
    let middle = disk.writer.bytes.len() / 2;
    disk.writer.bytes[middle] ^= 1;
    disk.invariants.disk_damaged(n(1));
    disk.judged(None);
    disk.invariants.on_crash(10, n(1)).expect("a crash is no finding");
    let found = disk.invariants.on_boot(11, &Fake::new(1).view(), &[]).expect_err("it should have refused");
    assert_eq!((found.check, found.side), ("P2", Side::WhiteBox));
    // Without damage it must read what is there.
    let mut other = Disk::settled();
    other.judged(None);
    other.invariants.on_crash(10, n(1)).expect("a crash is no finding");
    let found = other.invariants.on_boot(11, &Fake::new(1).view(), &[]).expect_err("its log is not empty");
    assert!(found.check == "P2" && found.summary.contains("has read its log otherwise than it is"));
}

#[test]
fn who_is_forced_keeps_what_is_committed_and_adds_changes_of_the_configuration() {
    let change = |index| Entry { entry_type: EntryType::EntryConfChange, ..entry(index, 1, "") };
    // What its hard state knows to be committed of six entries, its database's index, how many it keeps, what follows.
    for (commit, database, keeps, behind, unforced, expect) in [
        (6, 6, 6, vec![], None, None),
        (4, 3, 4, vec![], Some("P2"), None),
        (3, 4, 4, vec![], Some("P2"), None),
        (4, 3, 4, vec![change(5), change(6), change(7)], Some("P2"), None),
        (6, 6, 6, vec![change(7)], Some("P2"), None),
        (4, 3, 4, vec![entry(5, 1, "")], Some("P2"), Some("P2")),
        (4, 3, 3, vec![], Some("P2"), Some("P2")),
        (4, 3, 3, vec![change(4)], Some("P2"), Some("P2")),
    ] {
        for (forced, expect) in [(false, unforced), (true, expect)] {
            let mut disk = Disk::settled();
            disk.writer.state(1, 1, commit);
            disk.judged(None);
            disk.invariants.on_crash(10, n(1)).expect("a crash is no finding");
            let kept = entries(log()).into_iter().take(keeps);
            let entries = kept.chain(behind.clone()).collect();
            let fake = Fake { consistent_index: database, entries, forced, ..Fake::new(1) };
            let found = disk.invariants.reads_alike(11, 0, &fake.view());
            assert_eq!(found.err().map(|finding| finding.check), expect, "{commit} {database} {keeps} {forced}");
        }
    }
}

#[test]
fn what_its_database_is_made_of_is_not_given_up() {
    for (database, expect) in [(0, None), (1, Some("P1"))] {
        let mut disk = Disk::settled();
        disk.invariants = disk.invariants.only("P1");
        disk.judged(None);
        disk.invariants.on_crash(10, n(1)).expect("a crash is no finding");
        let fake = Fake { consistent_index: database, ..Fake::new(1) };
        let found = disk.invariants.reads_alike(11, 0, &fake.view());
        assert_eq!(found.err().map(|finding| finding.check), expect);
    }
}

#[test]
fn pages_are_sound() {
    let mut disk = Disk::settled();
    let mut image = disk.image();
    let mut bytes = image.files[&FileName::Db].to_bytes().to_vec();
    bytes[2 * PAGE + 8] = 16;
    image.files.insert(FileName::Db, bytes.into());
    // A file that was never committed to may be half made.
    disk.finds(&image, None);
    disk.invariants.members[0].progress.committed(1, None);
    disk.finds(&image, Some(("P3", "is no sound bbolt file")));
}

#[test]
fn what_a_snapshot_needs_is_there() {
    let mut disk = Disk::settled();
    disk.writer.snapshot(6, 1);
    let sound = disk.image();
    disk.finds(&sound, None);
    let database = sound.files[&FileName::Db].clone();
    let mut image = sound.clone();
    image.files.remove(&FileName::Db);
    disk.finds(&image, Some(("P1", "no database has come with that snapshot")));
    disk.invariants.members[0].databases.insert(6);
    disk.finds(&image, Some(("P4", "is missing")));
    image.files.insert(FileName::SnapDb { index: 6 }, database);
    disk.finds(&image, None);
}

#[test]
fn leases_and_alarms_are_those_of_the_log() {
    // A lease of two seconds with a key on it, at a member that gives five at least; then no space, so nothing is put.
    let mut log = log();
    log.extend([grant(7, 2), attach("c", 7), alarm(1, 1, 1), put("d", "1")].map(|data| (0, data)));
    let no_space = AlarmMember { alarm: Alarm::NoSpace, member: n(1) };
    let mut disk = Disk::raising(log, &[no_space]);
    let attached = StoredKeyValue {
        key: "c".into(),
        create_revision: 6,
        mod_revision: 6,
        version: 1,
        value: Default::default(),
        lease: 7,
    };
    disk.bucket("key").insert(revision(6, false), attached.encode_to_vec());
    disk.judged(Some(("P1", "lease 7 is not that of the log")));
    let lease = |ttl| StoredLease { id: 7, ttl, remaining: 0 }.encode_to_vec();
    disk.content.insert(b"lease".to_vec(), [(7_i64.to_be_bytes().to_vec(), lease(5))].into());
    disk.judged(Some(("P1", "its alarms are not those of the log")));
    let raised = StoredAlarm { member: 1, alarm: 1 }.encode_to_vec();
    disk.content.insert(b"alarm".to_vec(), [(raised, Vec::new())].into());
    disk.judged(None);
    disk.bucket("lease").insert(7_i64.to_be_bytes().to_vec(), lease(1));
    disk.judged(Some(("P1", "lease 7 is not that of the log")));
    let other = StoredLease { id: 8, ttl: 5, remaining: 0 }.encode_to_vec();
    disk.bucket("lease").insert(7_i64.to_be_bytes().to_vec(), lease(5));
    disk.bucket("lease").insert(8_i64.to_be_bytes().to_vec(), other);
    disk.judged(Some(("P1", "lease 8 is not in the log, or was revoked")));
}

#[test]
fn a_commit_leaves_a_sound_file_at_its_index() {
    let mut disk = Disk::settled();
    let whole = disk.image().files[&FileName::Db].clone();
    disk.invariants.members[0].progress.committed(6, None);
    disk.invariants.on_commit(5, n(1), &whole).expect("it is at 6, and sound");
    let mut torn = whole.to_bytes().to_vec();
    torn[2 * PAGE] ^= 1;
    let found = disk.invariants.on_commit(6, n(1), &torn.into()).expect_err("a page says that it is another");
    assert_eq!(found.check, "P3", "{}", found.summary);
    disk.invariants.members[0].progress.committed(7, None);
    let found = disk.invariants.on_commit(7, n(1), &whole).expect_err("it is still at 6");
    assert_eq!((found.check, &found.summary[..]), ("P1", "n1 has committed index 7, and its db is at Some(6)"));
    disk.invariants.disk_damaged(n(1));
    disk.invariants.on_commit(8, n(1), &whole).expect("of a damaged disk nothing is promised");
}
