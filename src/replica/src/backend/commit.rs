//! The commit: etcd's hook, then the pager's two syncs; before the first one the file is made.
//!
//! bbolt makes the file in place. Where a file system may keep a file's length without its data, a crash at that moment
//! leaves what bbolt refuses for ever; ext4 and XFS keep these two in order. So does this, by a temporary name. They
//! also keep a new name once the file is synced, which is what the sync of the directory stands for.

use bytes::Bytes;

use super::defrag::Defrag;
use super::{Backend, Bucket, CONF_STATE, CONSISTENT_INDEX, TERM};
use crate::pager::Progress;
use crate::wal::Commands;
use crate::{Dir, DiskCommand, Failpoint, FileName, OpId};

/// How far a commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommitProgress {
    /// Another sync must end first: [`Backend::awaiting`].
    Pending,
    /// It lasts. A defragmentation that began with it goes on if there is a sync to wait for.
    Done {
        /// The consistent index in it.
        consistent_index: u64,
    },
    /// The defragmentation has ended.
    Defragmented,
}

/// Whether the commit runs etcd's hook, which writes the consistent index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// It does.
    Run,
    /// It does not: a bug.
    Skip,
}

/// What is in flight. The batch is locked meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Flight {
    /// The first pages are on their way to a temporary file.
    Create { file: FileName, sync: OpId, consistent_index: u64 },
    /// Its name is.
    Name { sync: OpId, consistent_index: u64 },
    /// The pager commits.
    Commit { consistent_index: u64 },
    /// Everything is written anew.
    Defrag(Box<Defrag>),
}

impl Backend {
    /// Starts to commit the batch, with the consistent index as it stands. Returns the first sync to wait for.
    pub fn begin_commit(&mut self, commands: &mut impl Commands) -> OpId {
        self.start_commit(Hook::Run, commands)
    }

    pub(super) fn start_commit(&mut self, hook: Hook, commands: &mut impl Commands) -> OpId {
        self.assert_unlocked();
        self.unlock(commands);
        let consistent_index = match hook {
            Hook::Run => self.write_meta(),
            Hook::Skip => self.committed_index,
        };
        (self.pending, self.pending_deletes) = (0, 0);
        if let Some(data) = self.uncreated.take() {
            let file = self.tmp_file();
            commands.issue(DiskCommand::Create { file });
            commands.issue(DiskCommand::Write { file, offset: 0, data: data.into() });
            let sync = commands.issue(DiskCommand::Sync { file });
            self.flight = Some(Flight::Create { file, sync, consistent_index });
            return sync;
        }
        self.flight = Some(Flight::Commit { consistent_index });
        self.pager.begin_commit(commands)
    }

    pub(super) fn tmp_file(&mut self) -> FileName {
        self.next_tmp += 1;
        FileName::DbTmp { number: self.next_tmp - 1 }
    }

    /// etcd's hook before each commit. Readers need not see it. Returns the consistent index that is now in the batch.
    fn write_meta(&mut self) -> u64 {
        let meta = Bucket::Meta.name().as_bytes();
        let mut put = |key, value| self.pager.put(meta, Bytes::from_static(key), value);
        if self.consistent_index != 0 {
            put(CONSISTENT_INDEX, Bytes::copy_from_slice(&self.consistent_index.to_be_bytes()));
            if self.term != 0 {
                put(TERM, Bytes::copy_from_slice(&self.term.to_be_bytes()));
            }
        }
        if std::mem::take(&mut self.conf_state_changed) {
            put(CONF_STATE, self.conf_state.clone().expect("it was set when it changed"));
        }
        self.consistent_index
    }

    /// The sync that a commit or a defragmentation in flight waits for.
    pub fn awaiting(&self) -> Option<OpId> {
        match self.flight.as_ref()? {
            Flight::Create { sync, .. } | Flight::Name { sync, .. } => Some(*sync),
            Flight::Commit { .. } => self.pager.awaiting(),
            Flight::Defrag(defrag) => defrag.awaiting(),
        }
    }

    /// The sync [`Backend::awaiting`] has ended well: goes on.
    pub fn on_disk(&mut self, op: OpId, commands: &mut impl Commands) -> CommitProgress {
        assert_eq!(self.awaiting(), Some(op), "a sync that the commit does not wait for");
        match self.flight.take().expect("there is something to wait for") {
            Flight::Create { file, consistent_index, .. } => {
                commands.issue(DiskCommand::Rename { from: file, to: FileName::Db });
                let sync = commands.issue(DiskCommand::SyncDir { dir: Dir::Snap });
                self.flight = Some(Flight::Name { sync, consistent_index });
                CommitProgress::Pending
            }
            Flight::Name { consistent_index, .. } => {
                self.pager.begin_commit(commands);
                self.flight = Some(Flight::Commit { consistent_index });
                CommitProgress::Pending
            }
            Flight::Commit { consistent_index } => match self.pager.on_disk(op, commands) {
                Progress::Pending => {
                    self.flight = Some(Flight::Commit { consistent_index });
                    CommitProgress::Pending
                }
                Progress::Done => {
                    self.committed_index = consistent_index;
                    match self.defragmenting {
                        true => {
                            self.buffers.reset_reader();
                            self.defrag_create(commands);
                        }
                        false => self.next_batch(commands),
                    }
                    CommitProgress::Done { consistent_index }
                }
            },
            Flight::Defrag(defrag) => self.defrag_on_disk(defrag, op, commands),
        }
    }

    /// The commit lasts: readers see it, and the next batch begins.
    pub(super) fn next_batch(&mut self, commands: &mut impl Commands) {
        self.buffers.clear();
        commands.point(Failpoint::BeforeStartDbTxn);
        self.begin();
        commands.point(Failpoint::AfterStartDbTxn);
    }
}
