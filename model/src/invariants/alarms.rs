//! Q1 from inside: which alarms are raised, and what they bar, follows from the applied entries alone.
//!
//! The alarms are folded as entries are applied for the first time. Whoever stands at the same index must have the
//! same; and an entry that an alarm bars must leave the state as it was. When an alarm about space is raised is each
//! member's own affair. One about data accuses a member whose disk was harmed, or is by a leader whose was: who
//! compares the others with itself cannot know who is right.

use std::collections::BTreeSet;

use bytes::Bytes;
use detcd_replica::api::{Alarm, AlarmAction, AlarmMember, AlarmRequest, Request};
use detcd_replica::history::{Finding, Moment};
use detcd_replica::{MemberId, View};

use super::elections::Leaders;
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
    /// Whose disks were ever harmed.
    harmed: BTreeSet<MemberId>,
}

impl Alarms {
    /// What this member holds may be anything from now on.
    pub(super) fn harmed(&mut self, member: MemberId) {
        self.harmed.insert(member);
    }

    /// Whether an alarm about this member's data stands, or about anybody's.
    pub(super) fn accuse(&self, member: Option<MemberId>) -> bool {
        let is_meant = |alarm: &&AlarmMember| member.is_none_or(|member| alarm.member == member);
        self.raised.iter().filter(is_meant).any(|alarm| alarm.alarm == Alarm::Corrupt)
    }

    /// An entry was applied for the first time, which led to `state`, after these leaders. Gives what an alarm should
    /// have kept it from, or why an alarm should not have been raised.
    pub(super) fn applied(&mut self, kind: i32, data: &Bytes, state: State, leaders: &Leaders) -> Option<String> {
        let before = self.state.replace(state);
        let about_alarms = entry::union_tag(kind, data) == Some(ALARM);
        // Most clusters never have an alarm, and every entry comes by here.
        if self.raised.is_empty() && !about_alarms {
            return None;
        }
        let request = match entry::proposal(kind, data).map(|proposal| proposal.command) {
            Ok(Command::Request(Request::Alarm(alarm))) => {
                change_alarms(&mut self.raised, &alarm);
                return self.wrongly_accused(&alarm, leaders);
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

impl Alarms {
    fn wrongly_accused(&self, request: &AlarmRequest, leaders: &Leaders) -> Option<String> {
        let AlarmRequest { action: AlarmAction::Activate, member, alarm: Some(Alarm::Corrupt) } = *request else {
            return None;
        };
        let all = member == MemberId::NONE && !self.harmed.is_empty();
        let right = all || self.harmed.contains(&member) || self.harmed.iter().any(|harmed| leaders.include(*harmed));
        (!right).then(|| format!("the data of {member} are taken for corrupt, and its disk was never harmed"))
    }
}

impl Invariants {
    /// Whether an alarm stands that this member's data are corrupt, or anybody's, as of the newest entry that anyone
    /// has applied.
    pub fn holds_for_corrupt(&self, member: Option<MemberId>) -> bool {
        self.alarms.accuse(member)
    }

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
            alarms.applied(entry::NORMAL, &data, state, &Leaders::default()).is_some()
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

    #[test]
    fn an_alarm_about_data_accuses_the_right_one() {
        let (one, three) = (MemberId(1), MemberId(3));
        let mut led_by_one = Leaders::default();
        led_by_one.note(2, one).expect("the first in its term");
        let accused = |alarms: &mut Alarms, member: u64, leaders: &Leaders| {
            let data = Bytes::from(alarm(1, member, 2));
            alarms.applied(entry::NORMAL, &data, (1, 1), leaders).is_some()
        };
        let mut alarms = Alarms::default();
        assert!(accused(&mut alarms, 3, &led_by_one) && accused(&mut alarms, 0, &led_by_one));
        alarms.harmed(three);
        assert!(!accused(&mut alarms, 3, &led_by_one) && !accused(&mut alarms, 0, &led_by_one));
        assert!(accused(&mut alarms, 2, &led_by_one));
        assert!(alarms.accuse(Some(three)) && !alarms.accuse(Some(one)) && alarms.accuse(None));
        // A leader that is harmed itself takes another's data for corrupt.
        alarms.harmed(one);
        assert!(!accused(&mut alarms, 2, &led_by_one));
    }
}
