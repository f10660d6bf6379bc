//! The pager against an ordered map: random operations on a file whose disk forgets, in a crash, what was not synced.
//!
//! A story is a function of its number. After each operation the open transaction must say what the map says; after
//! each crash the file must open, be sound to the pager and to the judge's own reader, and hold the last commit or the
//! one that was in flight. Sometimes only the process ends: whoever opens the file then sees all that was written, and
//! a crash may still take it back until a sync has ended. Which operations come is drawn here; nothing of etcd's use of
//! the pager is known.

use std::collections::BTreeMap;

use bytes::Bytes;
use detcd_model::storage::db::Db;
use detcd_replica::pager::{Element, FreelistSync, Options, Pager, Pgid, Progress};
use detcd_replica::wal::Commands;
use detcd_replica::{Bugs, DiskCommand, FileName, OpId};

use crate::dice::Dice;

/// What stories have done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// Stories.
    pub(crate) stories: u64,
    /// Puts and deletes.
    pub(crate) operations: u64,
    /// Commits that lasted.
    pub(crate) commits: u64,
    /// Crashes, half of them or so in the middle of a commit.
    pub(crate) crashes: u64,
    /// Ends of the process alone.
    pub(crate) kills: u64,
}

impl Told {
    /// Both.
    pub(crate) fn add(&mut self, other: Self) {
        self.stories += other.stories;
        self.operations += other.operations;
        self.commits += other.commits;
        self.crashes += other.crashes;
        self.kills += other.kills;
    }
}

/// The file: what lasts, and what has been written since the last sync, in order.
#[derive(Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Change>,
    issued: u64,
}

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
        match command {
            DiskCommand::Write { offset, data, .. } => {
                self.pending.push(Change::Write(offset as usize, data.to_bytes()))
            }
            DiskCommand::Truncate { length, .. } => self.pending.push(Change::Length(length as usize)),
            _ => {}
        }
        OpId(self.issued)
    }
}

impl File {
    fn end_sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            apply(&mut self.durable, &change);
        }
    }

    /// As the page cache has it.
    fn cached(&self) -> Bytes {
        let mut content = self.durable.clone();
        self.pending.iter().for_each(|change| apply(&mut content, change));
        content.into()
    }

    /// Power fails after the first few of the pending changes, of whose sectors any subset lasts.
    fn crash(&mut self, dice: &mut Dice) {
        let count = dice.below(self.pending.len() as u64 + 1) as usize;
        let kept_of_8 = dice.pick(&[0, 4, 7, 8]);
        for change in std::mem::take(&mut self.pending).into_iter().take(count) {
            match change {
                Change::Write(offset, data) => {
                    for (at, sector) in data.chunks(512).enumerate() {
                        if dice.below(8) < kept_of_8 {
                            let sector = Change::Write(offset + at * 512, Bytes::copy_from_slice(sector));
                            apply(&mut self.durable, &sector);
                        }
                    }
                }
                Change::Length(_) if dice.below(2) == 0 => {}
                length @ Change::Length(_) => apply(&mut self.durable, &length),
            }
        }
    }
}

const BUCKETS: [&str; 5] = ["alarm", "key", "lease", "members", "meta"];

/// The map: a bucket's place in [`BUCKETS`], and a key. Buckets are made with the first transaction and stay.
type Content = BTreeMap<(usize, Bytes), Bytes>;

struct Story {
    dice: Dice,
    file: File,
    pager: Pager,
    options: Options,
    /// As committed, and with the open transaction.
    last: Content,
    now: Content,
    /// What lasts, where `last` is in the page cache only.
    older: Option<Content>,
    told: Told,
}

/// Tells one story of about so many operations.
///
/// # Errors
/// Where pager and map differ, or a file is not sound.
pub(crate) fn tell(number: u64, operations: u64, bugs: Bugs) -> Result<Told, String> {
    let mut dice = Dice(number);
    let options = Options {
        page_size: dice.pick(&[4096, 4096, 1024, 512]),
        freelist: dice.pick(&[FreelistSync::On, FreelistSync::Off, FreelistSync::Off]),
        initial_map: dice.pick(&[0, 10 << 30]),
        growth: 1 << 16,
        bugs,
    };
    let keys = dice.pick(&[30, 300, 3000]);
    let longest = dice.pick(&[20, 100, 100, 6000]);
    let mut file = File::default();
    let (mut pager, _) = Pager::create(FileName::Db, options, &mut file);
    file.end_sync();
    pager.begin();
    let (last, now, told) = (Content::new(), Content::new(), Told { stories: 1, ..Told::default() });
    let mut story = Story { dice, file, pager, options, last, now, older: None, told };
    let mut sequence = 0;
    while story.told.operations < operations {
        BUCKETS.iter().for_each(|name| story.pager.create_bucket(name.as_bytes()));
        story.transaction(keys, longest, &mut sequence)?;
        story.commit()?;
    }
    Ok(story.told)
}

impl Story {
    fn transaction(&mut self, keys: u64, longest: u64, sequence: &mut u64) -> Result<(), String> {
        let most = self.dice.pick(&[3, 30, 300]);
        let (count, deletes) = (self.dice.below(most), self.dice.below(10));
        for _ in 0..count {
            // Most goes into two of the buckets; the others stay small enough to be inline.
            let bucket = self.dice.pick(&[1, 1, 1, 2, 2, 0, 3, 4]);
            let key = Bytes::from(self.dice.below(keys).to_string());
            let (fill, length) = (self.dice.next() as u8, self.dice.below(longest) as usize);
            if self.dice.below(10) < deletes {
                self.delete(bucket, &key);
            } else if bucket == 1 && self.dice.below(2) == 0 {
                *sequence += 1;
                self.put(bucket, Bytes::from(format!("x{sequence:012}")), vec![fill; length].into());
            } else {
                self.put(bucket, key.clone(), vec![fill; length].into());
            }
            let found = self.pager.get_open(BUCKETS[bucket].as_bytes(), &key);
            if found.as_ref() != self.now.get(&(bucket, key.clone())) {
                return Err(format!(
                    "key {} of bucket {} is not what it should be",
                    key.escape_ascii(),
                    BUCKETS[bucket]
                ));
            }
        }
        if self.dice.below(8) == 0 {
            // History goes, as in a compaction.
            let end = format!("x{:012}", sequence.saturating_sub(self.dice.below(50)));
            let range = (1, Bytes::from_static(b"x"))..(1, Bytes::from(end));
            let gone: Vec<Bytes> = self.now.range(range).map(|((_, key), _)| key.clone()).collect();
            gone.iter().for_each(|key| self.delete(1, key));
        }
        Ok(())
    }

    fn put(&mut self, bucket: usize, key: Bytes, value: Bytes) {
        self.told.operations += 1;
        self.now.insert((bucket, key.clone()), value.clone());
        match BUCKETS[bucket] {
            "key" => self.pager.put_sequential(b"key", key, value),
            name => self.pager.put(name.as_bytes(), key, value),
        }
    }

    fn delete(&mut self, bucket: usize, key: &Bytes) {
        self.told.operations += 1;
        self.now.remove(&(bucket, key.clone()));
        self.pager.delete(BUCKETS[bucket].as_bytes(), key);
    }

    /// Commits, or crashes after so many syncs; sometimes both.
    fn commit(&mut self) -> Result<(), String> {
        let syncs = if self.dice.below(6) == 0 { self.dice.below(3) } else { 9 };
        self.pager.begin_commit(&mut self.file);
        let mut done = false;
        for _ in 0..syncs {
            self.file.end_sync();
            self.older = None;
            let op = self.pager.awaiting().ok_or("a commit waits for no sync")?;
            done = self.pager.on_disk(op, &mut self.file) == Progress::Done;
            if done {
                break;
            }
        }
        if done {
            self.told.commits += 1;
            self.last.clone_from(&self.now);
            if self.dice.below(20) == 0 {
                sound(&self.pager.check())?;
                if content(&self.pager)? != self.last {
                    return Err("what was committed is not what was written".into());
                }
            }
            if self.dice.below(30) != 0 {
                self.pager.begin();
                return Ok(());
            }
        }
        let killed = self.dice.below(4) == 0;
        if killed {
            self.told.kills += 1;
        } else {
            self.told.crashes += 1;
            self.file.crash(&mut self.dice);
        }
        let bytes = self.file.cached();
        let opened = Pager::open(FileName::Db, &bytes, bytes.len() as u64, self.options);
        self.pager = opened.map_err(|error| format!("after a crash the file does not open: {error}"))?;
        // The meta in flight may be torn, if a sector is less than a meta page; nothing else may be wrong.
        let faults: Vec<_> = self.pager.check().into_iter().filter(|fault| fault.page >= Pgid(2)).collect();
        sound(&faults)?;
        let walked = Db::open(&bytes.into()).and_then(|db| db.walk(&mut |_, _| {}));
        walked.map_err(|damage| format!("after a crash the judge refuses the file: {damage}"))?;
        let found = content(&self.pager)?;
        let in_flight = !done && found == self.now;
        if found != self.last && !in_flight && self.older.as_ref().is_none_or(|older| killed || found != *older) {
            return Err("a crash has left neither the last commit nor the one in flight".into());
        }
        if !killed {
            self.older = None;
        } else if in_flight && found != self.last {
            self.older = Some(std::mem::take(&mut self.last));
        }
        (self.last, self.now) = (found.clone(), found);
        self.pager.begin();
        Ok(())
    }
}

fn sound(faults: &[detcd_replica::pager::Fault]) -> Result<(), String> {
    faults.first().map_or(Ok(()), |fault| Err(format!("the file is not sound: {fault}")))
}

/// All that is committed.
fn content(pager: &Pager) -> Result<Content, String> {
    let mut all = Content::new();
    for element in pager.root().iter() {
        let place = BUCKETS.iter().position(|name| name.as_bytes() == &element.key[..]);
        let (Some(place), Some(bucket)) = (place, element.bucket()) else {
            return Err(format!("{} is no bucket of the story", element.key.escape_ascii()));
        };
        all.extend(pager.tree(&bucket).iter().map(|Element { key, value, .. }| ((place, key), value)));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use detcd_replica::Bug;

    use super::*;

    #[test]
    fn stories_end_well() {
        let mut told = Told::default();
        for number in 0..12 {
            told.add(tell(number, 2_000, Bugs::NONE).unwrap_or_else(|why| panic!("story {number}: {why}")));
        }
        assert!(told.operations >= 24_000 && told.commits > 100 && told.crashes > 20 && told.kills > 5, "{told:?}");
    }

    #[test]
    fn a_story_of_a_pager_with_a_bug_does_not() {
        for bug in [Bug::MetaBeforeData, Bug::MetaNotSyncedAtOpen] {
            let bugs = Bugs::NONE.with(bug);
            assert!((0..40).any(|number| tell(number, 2_000, bugs).is_err()), "{bug:?}");
        }
    }
}
