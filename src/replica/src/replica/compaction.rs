//! Compaction that nobody asks for: the member that leads proposes what its [`Compactor`] says, as a client would.
//!
//! [`Compactor`]: crate::compactor::Compactor

use crate::api::{CompactRequest, Request, Revision};
use crate::time::Monotonic;
use crate::{Event, Task};

use super::propose::Internal;
use super::Replica;

impl Replica {
    /// Its first look is a pause from now.
    pub(super) fn start_compactor(&mut self) {
        if let Some(pause) = self.compacting_alone.pause() {
            self.out.wake(Task::AutoCompaction, pause);
        }
    }

    /// A pause has passed. While a compaction is on its way there is no next one.
    pub(super) fn auto_compaction_run(&mut self, now: Monotonic) {
        let (newest, leads) = (self.store.revision(), self.leads());
        let Some(revision) = self.compacting_alone.look(now, newest, leads) else {
            return self.next_look();
        };
        let compact = Request::Compact(CompactRequest { revision, physical: false });
        match self.propose_internal(now, &compact, Internal::Compacted { revision }) {
            Ok(()) => self.event(Event::CompactionProposed { revision }),
            Err(_) => self.next_look(),
        }
    }

    /// It is applied, or given up. That somebody else was first is as good.
    pub(super) fn compacted_alone(&mut self, now: Monotonic, revision: Revision) {
        if self.store.compact_revision() >= revision {
            self.compacting_alone.succeeded(now, revision);
        }
        self.next_look();
    }

    fn next_look(&mut self) {
        self.compacting_alone.note(self.store.revision());
        self.start_compactor();
    }
}
