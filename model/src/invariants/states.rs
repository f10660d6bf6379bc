//! M1 and M2: members that have applied the same entries are equal, and no member's store goes back.

use std::collections::VecDeque;

use detcd_replica::View;

use super::logs::KEPT_MAX;

/// The key space after an entry: its hash and revision.
pub(super) type State = (u64, i64);

/// The state after each index, as the first member to apply it had it.
#[derive(Clone, Debug, Default)]
pub(super) struct States {
    base: u64,
    states: VecDeque<Option<State>>,
}

impl States {
    pub(super) fn get(&self, index: u64) -> Option<State> {
        let place = index.checked_sub(self.base + 1)?;
        self.states.get(place as usize).copied().flatten()
    }

    /// A member has applied `index`; gives the state that another had when it differs.
    pub(super) fn note(&mut self, index: u64, state: State) -> Result<(), State> {
        if index <= self.base {
            return Ok(());
        }
        if self.states.is_empty() || index - self.base > (self.states.len() + KEPT_MAX) as u64 {
            self.states.clear();
            self.base = index - 1;
        }
        let place = (index - self.base - 1) as usize;
        while self.states.len() <= place {
            self.states.push_back(None);
        }
        let known = *self.states[place].get_or_insert(state);
        if known == state {
            Ok(())
        } else {
            Err(known)
        }
    }

    /// Whether it is time to prune: rarely, so that pruning costs nothing.
    pub(super) fn is_long(&self) -> bool {
        self.states.len() >= KEPT_MAX / 8 && self.states.len() % 1024 == 0
    }

    /// Forget what is below `index`, and the oldest when there is too much.
    pub(super) fn prune(&mut self, index: u64) {
        let over = self.states.len().saturating_sub(KEPT_MAX) as u64;
        let gone = index.saturating_sub(self.base + 1).max(over).min(self.states.len() as u64);
        self.states.drain(..gone as usize);
        self.base += gone;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }
}

/// How far one member's store has come, over all its lives: consistent index and revision.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    seen: (u64, i64),
    /// Of the last backend commit that lasts.
    committed: (u64, i64),
    /// What was committed before another file took the database's name, while that name may yet be lost.
    unnamed: Option<(u64, i64)>,
    /// Whether a sync of the directory was asked for since.
    naming: bool,
}

impl Progress {
    pub(super) fn follow(&mut self, view: &View<'_>) -> Result<(), String> {
        let (member, revision) = (view.member, view.revision);
        let before = self.seen.1;
        self.seen = (view.consistent_index, revision);
        if revision < before {
            return Err(format!("{member} went back from revision {before} to {revision}"));
        }
        if view.compact_revision > revision {
            return Err(format!("{member} is compacted at {} above its revision {revision}", view.compact_revision));
        }
        Ok(())
    }

    /// The consistent index that the database cannot be found below: of the last commit that lasts, in whichever file a
    /// loss of power leaves under its name. etcd does not sync the directory after it has put a received database
    /// there.
    pub(super) fn committed_index(&self) -> u64 {
        self.unnamed.unwrap_or(self.committed).0
    }

    /// The consistent index of the last commit, in whichever file that went to.
    pub(super) fn last_commit(&self) -> u64 {
        self.committed.0
    }

    /// Another file takes the database's name.
    pub(super) fn renamed(&mut self) {
        self.unnamed.get_or_insert(self.committed);
        self.naming = false;
    }

    /// The directory is to be synced. A backend that asks for that waits for it before it commits anything.
    pub(super) fn named(&mut self) {
        self.naming = self.unnamed.is_some();
    }

    /// The member is gone, and the sync of the directory that it waited for may never have been made.
    pub(super) fn crashed(&mut self) {
        self.naming = false;
    }

    /// The batch up to `index` lasts; `state` is what the members had there, when that is known.
    pub(super) fn committed(&mut self, index: u64, state: Option<State>) {
        if std::mem::take(&mut self.naming) {
            self.unnamed = None;
        }
        let revision = state.map_or(self.committed.1, |(_, revision)| revision);
        self.committed = (index, revision);
    }

    pub(super) fn booted(&mut self, view: &View<'_>) -> Result<(), String> {
        let (member, index, revision) = (view.member, view.consistent_index, view.revision);
        let (seen, committed, least) = (self.seen, self.committed, self.committed_index());
        self.seen = (index, revision);
        if index < committed.0 {
            self.committed = (index, revision);
        }
        if index < least {
            return Err(format!("{member} boots at consistent index {index} below its last backend commit at {least}"));
        }
        for (earlier, had) in [committed, seen] {
            if index >= earlier && revision < had {
                return Err(format!(
                    "{member} boots at index {index} with revision {revision}; at index {earlier} it had {had}"
                ));
            }
        }
        Ok(())
    }
}
