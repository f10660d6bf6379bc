//! Who watches the members while they run. The world gathers this evidence; it does not know what is made of it.

use detcd_replica::history::{Finding, Moment};
use detcd_replica::time::Monotonic;
use detcd_replica::{DiskImage, FileName, MemberId, OpId, Output, Rope, Timeline, View};

/// A judge's eyes inside the world, each of which may stay closed. A finding ends the run.
pub trait Observer {
    /// It is this late, in nanoseconds since the run began; the clock of the member that boots or steps next shows
    /// `local` and runs so many billionths faster.
    fn clock(&mut self, now: u64, local: Monotonic, rate_ppb: i64) {
        let _ = (now, local, rate_ppb);
    }

    /// A member took a step; these outputs of it were performed.
    fn stepped(&mut self, moment: Moment, view: &View<'_>, outputs: &[Output]) -> Option<Finding> {
        let _ = (moment, view, outputs);
        None
    }

    /// A sync ended well: every write to `file` that was issued before `op` lasts.
    fn synced(&mut self, moment: Moment, member: MemberId, file: FileName, op: OpId) -> Option<Finding> {
        let _ = (moment, member, file, op);
        None
    }

    /// A member is gone, and with it what it had not synced.
    fn crashed(&mut self, moment: Moment, member: MemberId) -> Option<Finding> {
        let _ = (moment, member);
        None
    }

    /// What a member's disk holds when it is about to boot from it.
    fn disk(&mut self, moment: Moment, member: MemberId, image: &DiskImage) -> Option<Finding> {
        let _ = (moment, member, image);
        None
    }

    /// What a loss of power would leave of a member's disk when the run is over.
    fn left(&mut self, moment: Moment, member: MemberId, image: &DiskImage) -> Option<Finding> {
        let _ = (moment, member, image);
        None
    }

    /// A member's database lasts as it is here: a commit has just ended, and the next has not begun. Only where the
    /// scenario asks for it.
    fn committed(&mut self, moment: Moment, member: MemberId, db: &Rope) -> Option<Finding> {
        let _ = (moment, member, db);
        None
    }

    /// A member is back, from its disk.
    fn booted(&mut self, moment: Moment, view: &View<'_>, outputs: &[Output]) -> Option<Finding> {
        let _ = (moment, view, outputs);
        None
    }

    /// A member has booted, or has finished a compaction, or the run is over: what it reads of its past.
    fn timeline(&mut self, moment: Moment, view: &View<'_>, timeline: &dyn Timeline) -> Option<Finding> {
        let _ = (moment, view, timeline);
        None
    }

    /// A disk fault has undone or changed what a sync had called safe on this member's disk.
    fn damaged(&mut self, moment: Moment, member: MemberId) {
        let _ = (moment, member);
    }
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
