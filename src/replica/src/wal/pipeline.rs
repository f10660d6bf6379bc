//! The file pipeline: the next segment is made ahead of its time, so that a cut need not wait for 64 MB.
//!
//! The file has one of two names, `0.tmp` and `1.tmp`, in turn, so that it is not the one that is being given its place
//! in the log. Each life of a member begins with `0.tmp`. What an earlier life has left there goes. (etcd takes the
//! file as it is. A head in it that is longer than the new one shows behind it then, and whoever dies before the next
//! save does not start again: "crc mismatch".)

use super::Commands;
use crate::{DiskCommand, FileName, OpId};

/// Where the making of the next segment stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Pipeline {
    /// Files made in this life.
    made: u64,
    /// The commands that make the file which is next: the first and the one after it.
    making: Option<(OpId, OpId)>,
    /// One of them has failed; whoever wants the file will be told.
    failed: bool,
}

impl Pipeline {
    /// Makes the next file, `bytes` long.
    pub(super) fn make(&mut self, bytes: u64, commands: &mut impl Commands) {
        let file = FileName::WalTmp { slot: self.made % 2 };
        self.made += 1;
        let created = commands.issue(DiskCommand::Create { file });
        let grown = commands.issue(DiskCommand::Truncate { file, length: bytes });
        self.making = Some((created, grown));
    }

    /// Gives the file that is next, unless it could not be made.
    pub(super) fn take(&mut self) -> Option<FileName> {
        assert!(self.made > 0, "the pipeline runs from the start");
        self.making = None;
        (!self.failed).then(|| FileName::WalTmp { slot: (self.made - 1) % 2 })
    }

    /// A command has failed. True when it was of the file that is next: then nobody has to know before it is wanted.
    pub(super) fn note_failure(&mut self, op: OpId) -> bool {
        let ours = self.making.is_some_and(|(created, grown)| op == created || op == grown);
        self.failed |= ours;
        ours
    }
}
