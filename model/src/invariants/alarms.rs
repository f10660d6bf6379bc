//! Q1 from inside: which alarms are raised, and what they bar, follows from the applied entries alone.
//!
//! The alarms are folded as entries are applied for the first time. Whoever stands at the same index must have the
//! same; and an entry that an alarm bars must leave the state as it was. When an alarm is raised is each member's own
//! affair.

use std::collections::BTreeSet;

use bytes::Bytes;
use detcd_replica::api::{AlarmMember, Request};
use detcd_replica::history::{Finding, Moment};
use detcd_replica::View;

use super::findings::finding;
use super::reference::{bars, change_alarms};
use super::states::State;
use super::Invariants;
use crate::linearizability::words;
use crate::storage::entry::{self, Command};

/// `InternalRaftRequest.alarm`, as a tag.
const ALARM: u8 = 10 << 3 | 2;

/// The alarms after the last entry that anyone has applied.
#[derive(Clone, Debug, Default)]
pub(super) struct Alarms {
    raised: BTreeSet<AlarmMember>,
    /// The state after it.
    state: Option<State>,
}

impl Alarms {
    /// An entry was applied for the first time, which led to `state`. Gives what an alarm should have kept it from.
    pub(super) fn applied(&mut self, kind: i32, data: &Bytes, state: State) -> Option<String> {
        let before = self.state.replace(state);
        let about_alarms = entry::union_tag(kind, data) == Some(ALARM);
        // Most clusters never have an alarm, and every entry comes by here.
        if self.raised.is_empty() && !about_alarms {
            return None;
        }
        let request = match entry::proposal(kind, data).map(|proposal| proposal.command) {
            Ok(Command::Request(Request::Alarm(alarm))) => {
                change_alarms(&mut self.raised, &alarm);
                return None;
            }
            Ok(Command::Request(request)) => request,
            _ => return None,
        };
        let changed = before.is_some_and(|before| before != state);
        (changed && bars(&self.raised, &request)).then(|| {
            let raised: Vec<String> = self.raised.iter().map(|it| format!("{:?} of {}", it.alarm, it.member)).collect();
            format!("`{}` took effect in spite of an alarm: {}", words::request(&request), raised.join(", "))
        })
    }
}

impl Invariants {
    /// A member that has applied what anyone has knows the same alarms.
    pub(super) fn knows_alarms(&self, at: Moment, place: usize, view: &View<'_>) -> Result<(), Finding> {
        let is_newest = view.applied == self.reference.last() && view.applied > 0;
        if !is_newest || self.members[place].tainted || self.premise_lost || *view.alarms == self.alarms.raised {
            return Ok(());
        }
        let summary = format!("{} has other alarms than its log up to index {} leads to", view.member, view.applied);
        let details = vec![format!("raised: {:?}", view.alarms), format!("the log: {:?}", self.alarms.raised)];
        Err(finding("Q1", at, summary, details))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::request::testing::{alarm, attach, grant, revoke};

    #[test]
    fn an_alarm_about_space_bars_what_takes_some() {
        let space = |action| Bytes::from(alarm(action, 2, 1));
        let mut alarms = Alarms::default();
        let mut state = (1, 1);
        let mut apply = |alarms: &mut Alarms, data: Bytes, changes: bool| {
            state.0 += u64::from(changes);
            alarms.applied(entry::NORMAL, &data, state).is_some()
        };
        assert!(!apply(&mut alarms, attach("a", 7).into(), true));
        assert!(!apply(&mut alarms, space(1), true));
        assert!(!apply(&mut alarms, attach("a", 7).into(), false));
        assert!(apply(&mut alarms, attach("a", 7).into(), true));
        assert!(apply(&mut alarms, grant(8, 5).into(), true));
        assert!(!apply(&mut alarms, revoke(7).into(), true));
        assert!(!apply(&mut alarms, space(2), true));
        assert!(!apply(&mut alarms, attach("a", 7).into(), true));
    }
}
