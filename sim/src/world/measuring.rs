//! Where the world looks at its watch: requests and their answers, syncs, and how long nobody leads.

use std::collections::BTreeMap;

use detcd_replica::{FileName, Role};

use crate::measure::Measures;

use super::World;

/// What is measured, and what is under way.
#[derive(Debug, Default)]
pub(super) struct Measuring {
    measures: Measures,
    /// By the client's place: the request that it waits for, when it was sent, and whether it writes.
    asked: BTreeMap<usize, (u64, u64, bool)>,
    /// Since when the member that led is gone.
    leaderless: Option<u64>,
}

impl Measuring {
    /// All of it.
    pub(super) fn into_measures(self) -> Measures {
        self.measures
    }

    /// A client has sent a request.
    pub(super) fn asked(&mut self, now: u64, slot: usize, number: u64, writes: bool) {
        self.asked.insert(slot, (number, now, writes));
    }

    /// It has its answer.
    pub(super) fn answered(&mut self, now: u64, slot: usize, number: u64, ok: bool) {
        let Some((_, at, writes)) = self.asked.remove(&slot).filter(|(asked, ..)| *asked == number) else { return };
        match (ok, writes) {
            (false, _) => {}
            (true, true) => self.measures.writes.record(now - at),
            (true, false) => self.measures.reads.record(now - at),
        }
    }

    /// A sync that was asked for at `from` has ended.
    pub(super) fn synced(&mut self, now: u64, from: u64, file: FileName) {
        match file {
            FileName::Wal { .. } | FileName::WalTmp { .. } | FileName::WalFirst => {
                self.measures.wal_syncs.record(now - from);
            }
            FileName::Db => self.measures.db_syncs.record(now - from),
            _ => {}
        }
    }

    /// Somebody leads.
    pub(super) fn elected(&mut self, now: u64) {
        if let Some(from) = self.leaderless.take() {
            self.measures.leaderless.record(now - from);
        }
    }
}

impl World<'_> {
    /// A member is about to be gone.
    pub(super) fn measure_loss(&mut self, node: usize) {
        let led = self.nodes[node].replica.as_ref().is_some_and(|replica| replica.view().role == Role::Leader);
        if led {
            self.measuring.leaderless = Some(self.now);
        }
    }
}
