//! The file pipeline: the next segment is made ahead of its time, so that a cut need not wait for 64 MB.
//!
//! The file has one of two names, `0.tmp` and `1.tmp`, in turn, so that it is not the one that is being given its place
//! in the log. Each life of a member begins with `0.tmp`. A file that an earlier life has left there is taken as it is:
//! it may hold the head of a segment that never was, which the next head overwrites.

use std::ops::RangeInclusive;

use super::Commands;
use crate::{DiskCommand, DiskImage, FileName, OpId};

/// Where the making of the next segment stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Pipeline {
    /// Files made in this life.
    made: u64,
    /// Lengths of the files that earlier lives have left, by slot.
    left: [Option<u64>; 2],
    /// The commands that make the file which is next.
    making: Option<RangeInclusive<OpId>>,
    /// One of them has failed; whoever wants the file will be told.
    failed: bool,
}

impl Pipeline {
    /// Of a member that boots on `image`.
    pub(super) fn of(image: &DiskImage) -> Self {
        let left = [0, 1].map(|slot| image.length(FileName::WalTmp { slot }));
        Self { left, ..Self::default() }
    }

    /// Makes the next file, `bytes` long.
    pub(super) fn make(&mut self, bytes: u64, commands: &mut impl Commands) {
        let slot = self.made % 2;
        self.made += 1;
        let file = FileName::WalTmp { slot };
        let left = self.left[slot as usize].take();
        let created = left.is_none().then(|| commands.issue(DiskCommand::Create { file }));
        let short = left.unwrap_or(0) < bytes;
        let grown = short.then(|| commands.issue(DiskCommand::Truncate { file, length: bytes }));
        let ends = created.or(grown).zip(grown.or(created));
        self.making = ends.map(|(first, last)| first..=last);
    }

    /// Gives the file that is next, unless it could not be made.
    pub(super) fn take(&mut self) -> Option<FileName> {
        assert!(self.made > 0, "the pipeline runs from the start");
        self.making = None;
        (!self.failed).then(|| FileName::WalTmp { slot: (self.made - 1) % 2 })
    }

    /// A command has failed. True when it was of the file that is next: then nobody has to know before it is wanted.
    pub(super) fn note_failure(&mut self, op: OpId) -> bool {
        let ours = self.making.as_ref().is_some_and(|making| making.contains(&op));
        self.failed |= ours;
        ours
    }
}
