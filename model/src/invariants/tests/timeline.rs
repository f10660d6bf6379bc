//! M3, on a member that has applied put a=1, put a=2, delete a, put b=3 and a compaction at the delete.

use detcd_replica::api::{Error, KeyValue, Revision, WatchEvent, WatchEventKind};
use detcd_replica::Timeline;

use super::images::Disk;
use super::*;

/// What it reads of two revisions, 4 and 5.
struct Read {
    keys: [Result<Vec<KeyValue>, Error>; 2],
    events: [Vec<WatchEvent>; 2],
    below: Result<Vec<KeyValue>, Error>,
    above: Result<Vec<KeyValue>, Error>,
}

impl Timeline for Read {
    fn keys(&self, revision: Revision) -> Result<Vec<KeyValue>, Error> {
        match revision {
            ..4 => self.below.clone(),
            4 | 5 => self.keys[revision as usize - 4].clone(),
            6.. => self.above.clone(),
        }
    }

    fn events(&self, revision: Revision) -> Vec<WatchEvent> {
        self.events[revision as usize - 4].clone()
    }
}

fn b() -> KeyValue {
    let (key, value) = ("b".into(), "3".into());
    KeyValue { key, create_revision: 5, mod_revision: 5, version: 1, value, lease: 0 }
}

impl Read {
    fn right() -> Self {
        let gone = KeyValue {
            key: "a".into(),
            create_revision: 0,
            mod_revision: 4,
            version: 0,
            value: Default::default(),
            lease: 0,
        };
        let deleted = WatchEvent { kind: WatchEventKind::Delete, kv: gone, prev_kv: None };
        let put = WatchEvent { kind: WatchEventKind::Put, kv: b(), prev_kv: None };
        Self {
            keys: [Ok(Vec::new()), Ok(vec![b()])],
            events: [vec![deleted], vec![put]],
            below: Err(Error::Compacted),
            above: Err(Error::FutureRevision),
        }
    }
}

fn judged(change: impl FnOnce(&mut Read)) -> Option<(&'static str, String)> {
    let mut read = Read::right();
    change(&mut read);
    let mut disk = Disk::settled();
    let mut member = Fake::new(1);
    (member.revision, member.compact_revision, member.consistent_index) = (5, 4, disk.invariants.reference.last());
    let found = disk.invariants.on_timeline(9, &member.view(), &read).err();
    found.map(|finding| (finding.check, finding.summary))
}

/// What is said, and of what.
type Wrong = (&'static str, fn(&mut Read));

#[test]
fn m3_a_revision_reads_as_it_was_written() {
    assert_eq!(judged(|_| {}), None);
    let wrong: [Wrong; 8] = [
        ("reads revision 5 otherwise", |read| read.keys[1] = Ok(Vec::new())),
        ("reads revision 5 otherwise", |read| read.keys[1] = Ok(vec![KeyValue { create_revision: 4, ..b() }])),
        ("reads revision 4 otherwise", |read| read.keys[0] = Ok(vec![b()])),
        ("reads revision 4: Compacted", |read| read.keys[0] = Err(Error::Compacted)),
        ("tells of revision 4 otherwise", |read| read.events[0].clear()),
        ("tells of revision 5 otherwise", |read| read.events[1].push(read.events[1][0].clone())),
        ("reads revision 3: Ok", |read| read.below = Ok(Vec::new())),
        ("reads revision 6: Ok", |read| read.above = Ok(vec![b()])),
    ];
    for (what, change) in wrong {
        let (check, summary) = judged(change).expect(what);
        assert_eq!(check, "M3");
        assert!(summary.contains(what), "{summary}");
    }
}
