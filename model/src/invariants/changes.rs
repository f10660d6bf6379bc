//! C1 from inside: a change of the cluster is taken into the log while nothing is in its way.
//!
//! A leader takes one change at a time: while an earlier one is not applied, nor all that it had when it was elected,
//! it puts an entry without content in the place of the next one, and who asked for that never has an answer. Such an
//! entry is seen in its log, since no other but the first of a term is empty. When the leader had applied all of that
//! the change was passed over for nothing: its client had been answered, and could not know better.

use detcd_replica::history::{Finding, Moment};
use detcd_replica::{Role, View};

use super::findings::finding;
use super::Invariants;
use crate::storage::entry::CONF_CHANGE;

/// What a leader must have applied before it takes a change.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    term: u64,
    /// The last change in its log, or the last entry at its election.
    until: u64,
    /// Up to here it was judged when it came, by what the leader had applied then.
    judged: u64,
}

impl Invariants {
    /// Looks at the entries from `from` on, which a step has brought; before it, the member had applied `applied`.
    pub(super) fn takes_changes(
        &mut self,
        at: Moment,
        place: usize,
        view: &View<'_>,
        from: u64,
        applied: u64,
    ) -> Result<(), Finding> {
        if view.role != Role::Leader {
            return Ok(());
        }
        for index in from..=view.log.last_index() {
            let Some(entry) = view.log.entry(index).filter(|entry| entry.term == view.term) else { continue };
            let changes = &mut self.members[place].changes;
            if changes.term == view.term && index <= changes.judged {
                continue;
            }
            changes.judged = index;
            let is_first = view.log.entry(index - 1).is_none_or(|before| before.term != view.term);
            if is_first {
                *changes = Changes { term: view.term, until: index - 1, judged: index };
            } else if entry.entry_type as i32 == CONF_CHANGE {
                changes.until = index;
            } else if entry.data.is_empty() && changes.term == view.term && applied >= changes.until {
                let (id, until) = (view.member, changes.until);
                let summary = format!("{id} passes over a change of the cluster, which nothing is in the way of");
                let details = vec![
                    format!("entry {index} of term {} is empty in its place", view.term),
                    format!("what it had to wait for ends at {until}, and it had applied {applied}"),
                ];
                return Err(finding("C1", at, summary, details));
            }
        }
        Ok(())
    }
}
