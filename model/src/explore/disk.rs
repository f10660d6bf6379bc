//! A small disk: what was written, and what would be left after a power failure.
//!
//! Names last at once; contents last when a sync of their file ends; syncs end in the order of issue. Nothing is
//! torn, and nothing that was not synced survives. This is the disk that Raft is entitled to, not the one that the
//! simulator has.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use detcd_replica::wal::{self, Settings};
use detcd_replica::{DiskCommand, DiskImage, FileName, OpId};
use xxhash_rust::xxh3::{xxh3_64_with_seed, Xxh3};

/// WAL segments of this size are never cut within the bounds that can be explored.
pub(super) const SEGMENT_BYTES: u64 = 4096;

/// A file without its trailing zeros, of which a preallocated segment is full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Content {
    bytes: Vec<u8>,
    length: usize,
}

impl Content {
    fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[offset..end].copy_from_slice(data);
        self.length = self.length.max(end);
        self.trim();
    }

    fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
        self.length = length;
        self.trim();
    }

    fn trim(&mut self) {
        let used = self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        self.bytes.truncate(used);
    }
}

type Files = BTreeMap<FileName, Arc<Content>>;

fn image(files: &Files) -> DiskImage {
    let mut image = DiskImage::default();
    for (name, content) in files {
        let mut bytes = content.bytes.clone();
        bytes.resize(content.length, 0);
        image.files.insert(*name, bytes.into());
    }
    image
}

/// What a WAL says, in Raft's words. Two WALs that say the same are the same to a member that boots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Logged {
    /// Term, vote, commit.
    pub(super) hard_state: (u64, u64, u64),
    /// Term and hash of each entry, from index 1.
    pub(super) entries: Vec<(u64, u64)>,
}

fn logged(files: &Files) -> Arc<Logged> {
    let image = image(files);
    if !wal::exists(&image) {
        return Arc::default();
    }
    let read = wal::read(&image, (0, 0), Settings::with_segments(SEGMENT_BYTES))
        .expect("this disk tears and loses nothing that was synced");
    let state = &read.hard_state;
    let entries = read.entries.iter().map(|entry| (entry.term, entry_hash(entry))).collect();
    Arc::new(Logged { hard_state: (state.term, state.vote, state.commit), entries })
}

/// What an entry holds, as [`detcd_replica::Event::Applied`] hashes it.
pub(super) fn entry_hash(entry: &detcd_replica::raftpb::Entry) -> u64 {
    xxh3_64_with_seed(&entry.data, entry.entry_type as u64)
}

/// What the end of a file's sync makes last.
type Kept = (FileName, Arc<Content>);

/// One member's disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    cached: Files,
    durable: Files,
    /// Syncs under way: what they will make last.
    syncs: VecDeque<(OpId, Option<Kept>)>,
    said_cached: Arc<Logged>,
    said_durable: Arc<Logged>,
    /// Commands came since the WAL was read.
    unread: bool,
}

impl Disk {
    /// Perform a command. A sync only begins.
    pub(super) fn perform(&mut self, op: OpId, command: DiskCommand) {
        self.unread = true;
        match command {
            DiskCommand::Create { file } => {
                self.cached.insert(file, Arc::default());
                self.durable.insert(file, Arc::default());
            }
            DiskCommand::Write { file, offset, data } => {
                Arc::make_mut(self.cached.entry(file).or_default()).write(offset as usize, &data.to_bytes());
            }
            DiskCommand::Truncate { file, length } => {
                Arc::make_mut(self.cached.entry(file).or_default()).truncate(length as usize);
            }
            DiskCommand::Rename { from, to } => {
                for files in [&mut self.cached, &mut self.durable] {
                    if let Some(content) = files.remove(&from) {
                        files.insert(to, content);
                    }
                }
            }
            DiskCommand::Remove { file } => {
                self.cached.remove(&file);
                self.durable.remove(&file);
            }
            DiskCommand::Sync { file } | DiskCommand::Fsync { file } => {
                let content = self.cached.get(&file).cloned();
                self.syncs.push_back((op, content.map(|content| (file, content))));
            }
            DiskCommand::SyncDir { .. } => self.syncs.push_back((op, None)),
        }
    }

    /// The oldest sync ends.
    pub(super) fn end_sync(&mut self) -> Option<OpId> {
        let (op, content) = self.syncs.pop_front()?;
        self.unread = true;
        if let Some((file, content)) = content {
            self.durable.insert(file, content);
        }
        Some(op)
    }

    /// Whether a sync is under way.
    pub(super) fn syncing(&self) -> bool {
        !self.syncs.is_empty()
    }

    /// The power fails: what was not synced is gone.
    pub(super) fn lose_power(&mut self) {
        self.syncs.clear();
        self.cached = self.durable.clone();
        self.said_cached = Arc::clone(&self.said_durable);
    }

    /// What a booting member finds.
    pub(super) fn image(&self) -> DiskImage {
        image(&self.durable)
    }

    /// Read the WAL again, after commands.
    pub(super) fn read(&mut self) {
        if !std::mem::take(&mut self.unread) {
            return;
        }
        self.said_cached = logged(&self.cached);
        let same = self.cached.values().eq(self.durable.values());
        self.said_durable = if same { Arc::clone(&self.said_cached) } else { logged(&self.durable) };
    }

    /// What would be read after a power failure.
    pub(super) fn durable(&self) -> &Logged {
        &self.said_durable
    }

    /// What the WAL says counts, not how it came to say so.
    pub(super) fn fingerprint(&self, hasher: &mut Xxh3) {
        self.said_cached.hash(hasher);
        self.said_durable.hash(hasher);
        let files = [&self.cached, &self.durable].into_iter().flatten();
        for (name, content) in files.filter(|(name, _)| !matches!(name, FileName::Wal { .. })) {
            name.hash(hasher);
            content.bytes.hash(hasher);
        }
        hasher.write_usize(self.syncs.len());
        for (_, content) in &self.syncs {
            // The Raft loop writes nothing while a sync is under way; so this is nearly always the newest content.
            let newest = content.as_ref().map(|(file, content)| self.cached.get(file) == Some(content));
            newest.hash(hasher);
            if let (Some(false), Some((_, content))) = (newest, content) {
                content.bytes.hash(hasher);
            }
        }
    }
}
