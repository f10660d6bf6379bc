//! A node: a member with its disk, its clock, and what is pending for it.

use std::collections::BTreeMap;

use detcd_replica::{Config, DiskError, FileName, OpId, Replica, RequestId, StreamId, Task};

use crate::clock::Clock;
use crate::disk::Disk;
use crate::halt::Standing;
use crate::queue::Token;

use super::Happening;

/// Why a node is not running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Down {
    /// It runs.
    Up,
    /// Crashed; somebody will start it again.
    Crashed,
    /// It has stopped by itself.
    Exited(&'static str),
    /// It was removed from the cluster, and stays away.
    Removed,
    /// It does not start from its disk, which a fault has harmed; it stays down.
    Refused,
    /// It has never been started; it will be when it is a member.
    Absent,
}

impl Down {
    /// Whether nobody starts it again.
    pub(super) fn is_final(self) -> bool {
        matches!(self, Self::Removed | Self::Refused | Self::Absent)
    }
}

/// One node.
pub(super) struct Node {
    pub(super) config: Config,
    pub(super) replica: Option<Replica>,
    pub(super) down: Down,
    pub(super) disk: Disk,
    pub(super) clock: Clock,
    /// How often it has started; what was meant for an earlier life is dropped.
    pub(super) incarnation: u32,
    /// The pending wake-up of each task.
    wakes: [Option<(u64, Token)>; Task::ALL.len()],
    /// Inputs that wait while it is paused.
    pub(super) paused: bool,
    pub(super) held: Vec<Happening>,
    /// Crash episodes that keep it down.
    pub(super) kept_down: u32,
    /// Requests under way, and who asked.
    pub(super) requests: BTreeMap<RequestId, (usize, u64)>,
    pub(super) next_request: u64,
    /// Watch streams, and whose they are.
    pub(super) streams: BTreeMap<StreamId, (usize, u64)>,
    pub(super) next_stream: u64,
    /// Syncs under way, and since when.
    pub(super) syncs: BTreeMap<OpId, (Option<FileName>, u64)>,
    /// Commands that failed at once, until the member is told.
    pub(super) failed: BTreeMap<OpId, DiskError>,
}

impl Node {
    pub(super) fn new(config: Config, disk: Disk, clock: Clock) -> Self {
        Self {
            config,
            replica: None,
            down: Down::Crashed,
            disk,
            clock,
            incarnation: 0,
            wakes: [None; Task::ALL.len()],
            paused: false,
            held: Vec::new(),
            kept_down: 0,
            requests: BTreeMap::new(),
            next_request: 0,
            streams: BTreeMap::new(),
            next_stream: 0,
            syncs: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.replica.is_some()
    }

    /// What is left of it when the run is over.
    pub(super) fn remains(self) -> Standing {
        Standing { config: self.config, replica: self.replica, disk: self.disk }
    }

    /// The pending wake-up of a task: when, and its place in the queue.
    pub(super) fn wake(&mut self, task: Task) -> &mut Option<(u64, Token)> {
        &mut self.wakes[task.index()]
    }

    /// Forget everything that a life leaves behind but the disk. Gives the wake-ups to cancel.
    pub(super) fn forget(&mut self) -> Vec<Token> {
        self.replica = None;
        self.paused = false;
        self.held.clear();
        self.requests.clear();
        self.streams.clear();
        self.syncs.clear();
        self.failed.clear();
        let wakes = std::mem::replace(&mut self.wakes, [None; Task::ALL.len()]);
        wakes.into_iter().flatten().map(|(_, token)| token).collect()
    }
}
