//! Defragmentation: the batch is committed, everything is copied into a new file, and that file takes the name of the
//! old one. Nothing else happens to the backend meanwhile.
//!
//! The copy is made in transactions of [`LIMIT`] keys, as in etcd, each with its syncs. Whatever fails before the
//! rename leaves the old file as it is.

use bytes::Bytes;

use super::commit::{Flight, Hook};
use super::{Backend, CommitProgress};
use crate::pager::{Options, Pager, Progress};
use crate::wal::Commands;
use crate::{Bug, Dir, DiskCommand, Failpoint, FileName, OpId};

/// Keys that are copied in one transaction.
const LIMIT: usize = 10_000;

/// How far it is, once the old file's batch is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// The new file is being made.
    Create(OpId),
    /// A transaction of the new file is being committed.
    Copy,
    /// The new file's name is on its way.
    Name(OpId),
}

/// A defragmentation in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Defrag {
    step: Step,
    new: Pager,
    /// The bucket and key that come next; none before the first and after the last.
    next: Option<(Bytes, Bytes)>,
    /// Keys in the transaction under way, as etcd counts them.
    count: usize,
    /// Commands to the new file since its last transaction began.
    ops: Vec<OpId>,
}

/// Notes the commands that are issued.
struct Noted<'a, C> {
    commands: &'a mut C,
    ops: &'a mut Vec<OpId>,
}

impl<C: Commands> Commands for Noted<'_, C> {
    fn issue(&mut self, command: DiskCommand) -> OpId {
        let op = self.commands.issue(command);
        self.ops.push(op);
        op
    }

    fn point(&mut self, point: Failpoint) {
        self.commands.point(point);
    }
}

impl Defrag {
    pub(super) fn awaiting(&self) -> Option<OpId> {
        match self.step {
            Step::Create(sync) | Step::Name(sync) => Some(sync),
            Step::Copy => self.new.awaiting(),
        }
    }

    /// Copies as many keys as go into one transaction, and begins to commit it.
    fn copy(&mut self, old: &Pager, commands: &mut impl Commands) {
        self.ops.clear();
        self.new.begin();
        let resumed = self.next.take();
        let first = resumed.as_ref().map(|(bucket, _)| bucket.clone()).unwrap_or_default();
        'copy: for bucket in old.root().seek(&first) {
            let Some(root) = bucket.bucket() else { continue };
            let name = bucket.key;
            let from = resumed.as_ref().filter(|(resumed, _)| *resumed == name).map(|(_, key)| key.clone());
            // The key that the last transaction had no room for is not counted again.
            let mut counted = from.is_some();
            self.new.create_bucket(&name);
            for pair in old.tree(&root).seek(&from.unwrap_or_default()) {
                self.count += usize::from(!std::mem::take(&mut counted));
                if self.count > LIMIT {
                    self.count = 0;
                    self.next = Some((name, pair.key));
                    break 'copy;
                }
                self.new.put_sequential(&name, pair.key, pair.value);
            }
        }
        self.new.begin_commit(&mut Noted { commands, ops: &mut self.ops });
        self.step = Step::Copy;
    }
}

impl Backend {
    /// Whether a defragmentation is under way. Nobody reads meanwhile.
    pub fn is_defragmenting(&self) -> bool {
        self.defragmenting
    }

    /// Whether a defragmentation is under way and its copy begun.
    pub fn is_copying(&self) -> bool {
        matches!(self.flight, Some(Flight::Defrag(_)))
    }

    /// Whether one may begin: nothing else is in flight, and nobody reads a snapshot of the file, which etcd would wait
    /// for while it holds every lock.
    pub fn can_defragment(&self) -> bool {
        self.flight.is_none() && self.readers == 0
    }

    /// Begins one, with a commit of the batch. Returns the first sync to wait for.
    pub fn begin_defragment(&mut self, commands: &mut impl Commands) -> OpId {
        assert!(self.can_defragment(), "one thing at a time");
        self.defragmenting = true;
        let hook = match self.bugs.has(Bug::DefragCommitWithoutCi) {
            false => Hook::Run,
            true => Hook::Skip,
        };
        self.start_commit(hook, commands)
    }

    /// The batch is committed: the new file is made.
    pub(super) fn defrag_create(&mut self, commands: &mut impl Commands) {
        let file = self.tmp_file();
        let mut ops = Vec::new();
        // etcd opens it without its large memory map.
        let options = Options { initial_map: 0, bugs: self.bugs, ..Options::ETCD };
        commands.point(Failpoint::DefragBeforeCopy);
        let (new, sync) = Pager::create(file, options, &mut Noted { commands, ops: &mut ops });
        self.flight =
            Some(Flight::Defrag(Box::new(Defrag { step: Step::Create(sync), new, next: None, count: 0, ops })));
    }

    pub(super) fn defrag_on_disk(
        &mut self,
        mut defrag: Box<Defrag>,
        op: OpId,
        commands: &mut impl Commands,
    ) -> CommitProgress {
        match defrag.step {
            Step::Create(_) => defrag.copy(&self.pager, commands),
            Step::Copy => {
                let noted = &mut Noted { commands, ops: &mut defrag.ops };
                match defrag.new.on_disk(op, noted) {
                    Progress::Pending => {}
                    Progress::Done if defrag.next.is_some() => defrag.copy(&self.pager, commands),
                    Progress::Done => {
                        commands.point(Failpoint::DefragBeforeRename);
                        commands.issue(DiskCommand::Rename { from: defrag.new.file(), to: FileName::Db });
                        defrag.step = Step::Name(commands.issue(DiskCommand::SyncDir { dir: Dir::Snap }));
                    }
                }
            }
            Step::Name(_) => {
                self.defragmenting = false;
                // Whoever has begun to read the old file meanwhile must begin again.
                self.generation += 1;
                self.readers = 0;
                self.pager = defrag.new.reopen(FileName::Db, Options { bugs: self.bugs, ..Options::ETCD });
                self.next_batch(commands);
                return CommitProgress::Defragmented;
            }
        }
        self.flight = Some(Flight::Defrag(defrag));
        CommitProgress::Pending
    }

    /// A command has failed. If it was one of those that make the copy, the copy is given up and the old file goes on;
    /// gives the commands whose answers mean nothing any more, or `None` when it was another.
    pub fn defragment_failed(&mut self, op: OpId, commands: &mut impl Commands) -> Option<Vec<OpId>> {
        let defrag = match &mut self.flight {
            Some(Flight::Defrag(defrag)) if !matches!(defrag.step, Step::Name(_)) => defrag,
            _ => return None,
        };
        if !defrag.ops.contains(&op) {
            return None;
        }
        let ops = std::mem::take(&mut defrag.ops);
        commands.issue(DiskCommand::Remove { file: defrag.new.file() });
        (self.flight, self.defragmenting) = (None, false);
        self.next_batch(commands);
        Some(ops)
    }
}
