//! The pager against an ordered map, against crashes, against damage, and beside bbolt's own figures.

mod crashes;
mod damage;
mod figures;
mod readers;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::wal::testing::Dice;

/// Growth in small steps, so that files stay small.
const SMALL: Options = Options { initial_map: 0, growth: 1 << 16, ..Options::ETCD };

/// One file on a disk that forgets in a crash what was not synced.
#[derive(Clone, Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Change>,
    issued: u64,
    log: Vec<DiskCommand>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Bytes),
    Length(usize),
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, data) => {
            let end = offset + data.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[*offset..end].copy_from_slice(data);
        }
        Change::Length(length) => content.resize(*length, 0),
    }
}

impl Commands for File {
    fn issue(&mut self, command: DiskCommand) -> OpId {
        self.issued += 1;
        match &command {
            DiskCommand::Write { offset, data, .. } => {
                self.pending.push(Change::Write(*offset as usize, data.to_bytes()));
            }
            DiskCommand::Truncate { length, .. } => self.pending.push(Change::Length(*length as usize)),
            _ => {}
        }
        self.log.push(command);
        OpId(self.issued)
    }
}

impl File {
    /// The sync under way ends: there is one at a time.
    fn end_sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            apply(&mut self.durable, &change);
        }
    }

    fn bytes(&self) -> Bytes {
        let mut content = self.durable.clone();
        self.pending.iter().for_each(|change| apply(&mut content, change));
        content.into()
    }

    /// Power fails after the first few of the pending changes: of their sectors an arbitrary subset lasts.
    fn crash(&mut self, dice: &mut Dice) {
        let count = dice.below(self.pending.len() as u64 + 1) as usize;
        let kept_of_8 = [0, 4, 7, 8][dice.below(4) as usize];
        for change in std::mem::take(&mut self.pending).into_iter().take(count) {
            match change {
                Change::Write(offset, data) => {
                    for (at, sector) in data.chunks(512).enumerate() {
                        if dice.below(8) < kept_of_8 {
                            let piece = Change::Write(offset + at * 512, Bytes::copy_from_slice(sector));
                            apply(&mut self.durable, &piece);
                        }
                    }
                }
                length @ Change::Length(_) if dice.flip() => apply(&mut self.durable, &length),
                Change::Length(_) => {}
            }
        }
    }
}

/// A pager on its file, with all that should be in it.
struct Rig {
    file: File,
    pager: Pager,
    options: Options,
    /// As committed.
    last: Content,
    /// With the open write transaction.
    now: Content,
}

type Content = BTreeMap<&'static str, BTreeMap<Bytes, Bytes>>;

impl Rig {
    fn new(options: Options) -> Self {
        let mut file = File::default();
        let (pager, _) = Pager::create(FileName::Db, options, &mut file);
        file.end_sync();
        let mut rig = Self { file, pager, options, last: Content::new(), now: Content::new() };
        rig.pager.begin();
        rig
    }

    fn create(&mut self, bucket: &'static str) {
        self.pager.create_bucket(bucket.as_bytes());
        self.now.entry(bucket).or_default();
    }

    fn put(&mut self, bucket: &'static str, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.now.get_mut(bucket).unwrap().insert(key.clone(), value.clone());
        if bucket == "key" {
            self.pager.put_sequential(bucket.as_bytes(), key, value);
        } else {
            self.pager.put(bucket.as_bytes(), key, value);
        }
    }

    fn delete(&mut self, bucket: &'static str, key: &[u8]) {
        self.now.get_mut(bucket).unwrap().remove(key);
        self.pager.delete(bucket.as_bytes(), key);
    }

    /// Commits, and begins the next transaction.
    fn commit(&mut self) {
        self.pager.begin_commit(&mut self.file);
        while self.step() == Progress::Pending {}
        self.last = self.now.clone();
        self.pager.begin();
    }

    /// Ends the sync under way.
    fn step(&mut self) -> Progress {
        self.file.end_sync();
        let op = self.pager.awaiting().expect("a commit waits for a sync");
        self.pager.on_disk(op, &mut self.file)
    }

    fn reopen(&mut self) {
        self.pager = open(&self.file.bytes(), self.options).unwrap();
        self.pager.begin();
        self.now = content(&self.pager);
    }
}

fn open(bytes: &Bytes, options: Options) -> Result<Pager, OpenError> {
    Pager::open(FileName::Db, bytes, bytes.len() as u64, options)
}

const NAMES: [&str; 5] = ["alarm", "key", "lease", "members", "meta"];

/// All that is committed.
fn content(pager: &Pager) -> Content {
    let read = |element: Element| {
        let name = *NAMES.iter().find(|name| name.as_bytes() == &element.key[..]).expect("a bucket of the test");
        let bucket = element.bucket().expect("the root holds buckets");
        let pairs = pager.tree(&bucket).iter().map(|element| (element.key, element.value)).collect();
        (name, pairs)
    };
    pager.root().iter().map(read).collect()
}

#[test]
fn a_new_file_is_four_pages_in_one_write() {
    let rig = Rig::new(SMALL);
    assert_eq!(rig.file.log.len(), 3);
    assert_eq!(rig.file.durable.len(), 16384);
    assert_eq!(rig.pager.check(), vec![]);
    assert_eq!(rig.pager.size(), 16384);
}

#[test]
fn a_commit_is_pages_then_meta_each_with_its_sync() {
    let mut rig = Rig::new(Options::ETCD);
    rig.create("key");
    rig.commit();
    let from = rig.file.log.len();
    rig.put("key", "a", vec![1; 5000]);
    rig.commit();
    let kinds: Vec<String> = rig.file.log[from..]
        .iter()
        .map(|command| match command {
            DiskCommand::Write { offset, data, .. } => format!("write {}+{}", offset / 4096, data.len() / 4096),
            DiskCommand::Sync { .. } => "sync".into(),
            other => format!("{other:?}"),
        })
        .collect();
    // The first commit gave up pages 2 and 3: the bucket takes both in a row, and the root the next new one.
    assert_eq!(kinds, ["write 2+2", "write 5+1", "sync", "write 1+1", "sync"]);
    // The file grows ahead of what is in it, before anything is written.
    assert!(matches!(rig.file.log[3], DiskCommand::Truncate { length, .. } if length == 6 * 4096 + (16 << 20)));
    assert!(matches!(rig.file.log[4], DiskCommand::Sync { .. }));
}

#[test]
fn keys_are_found_in_order_in_trees_of_any_depth() {
    let mut rig = Rig::new(SMALL);
    rig.create("key");
    rig.create("lease");
    for at in 0..20_000_u64 {
        rig.put("key", at.to_be_bytes().to_vec(), vec![at as u8; 20]);
        rig.put("lease", (at * 7919 % 20_000).to_be_bytes().to_vec(), vec![at as u8; 20]);
    }
    rig.commit();
    assert!(content(&rig.pager) == rig.last);
    let bucket = rig.pager.bucket(b"key").unwrap();
    let tree = rig.pager.tree(&bucket);
    assert_eq!(tree.stats().depth, 3);
    assert_eq!(tree.get(&77_u64.to_be_bytes()).unwrap().value, vec![77; 20]);
    assert_eq!(tree.get(b"none"), None);
    let from = |key: u64| tree.seek(&key.to_be_bytes()).next().map(|element| element.key);
    assert_eq!(from(20_000), None);
    assert_eq!(from(19_999).unwrap(), 19_999_u64.to_be_bytes()[..]);
    assert_eq!(tree.seek(b"\0\0\0\0\0\0\0\x05x").next().unwrap().key, 6_u64.to_be_bytes()[..]);
}

#[test]
fn small_buckets_are_inline_and_large_ones_are_not() {
    let mut rig = Rig::new(SMALL);
    rig.create("meta");
    rig.put("meta", "a", vec![1; 900]);
    rig.commit();
    assert!(rig.pager.bucket(b"meta").unwrap().inline.is_some());
    rig.put("meta", "b", vec![1; 900]);
    rig.commit();
    assert!(rig.pager.bucket(b"meta").unwrap().inline.is_none());
    rig.delete("meta", b"a");
    rig.commit();
    assert!(rig.pager.bucket(b"meta").unwrap().inline.is_some());
    rig.reopen();
    assert_eq!(rig.now, rig.last);
    assert_eq!(rig.pager.check(), vec![]);
}

#[test]
fn a_failed_commit_leaves_no_trace() {
    let mut rig = Rig::new(SMALL);
    rig.create("key");
    for at in 0..500_u64 {
        rig.put("key", at.to_be_bytes().to_vec(), vec![0; 100]);
        if at % 50 == 0 {
            rig.commit();
        }
    }
    rig.commit();
    let txid = rig.pager.txid();
    for steps in 0..3 {
        for at in 0..90_u64 {
            rig.put("key", (at * 5).to_be_bytes().to_vec(), vec![1; 50]);
        }
        rig.pager.begin_commit(&mut rig.file);
        for _ in 0..steps {
            if rig.step() == Progress::Done {
                break;
            }
        }
        if rig.pager.awaiting().is_none() {
            rig.last = rig.now.clone();
            rig.pager.begin();
            break;
        }
        rig.pager.rollback();
        assert_eq!((rig.pager.txid(), rig.pager.check()), (txid, vec![]));
        assert!(content(&rig.pager) == rig.last);
        rig.now = rig.last.clone();
        rig.pager.begin();
    }
    rig.put("key", "zz", "1");
    rig.commit();
    assert!(content(&rig.pager) == rig.last);
    assert_eq!(rig.pager.check(), vec![]);
}
