//! Q1 as clients see it: an alarm stands until somebody takes it back, and while one about space stands, nothing is
//! answered that takes space.
//!
//! Who is over its quota, and when, no client can know: so that an alarm is raised says nothing here, and neither does
//! a refusal. Requests about alarms go through the log, so what one of them shows held at some moment between its call
//! and its answer.

use detcd_replica::api::{Alarm, AlarmAction, AlarmMember, AlarmRequest, Request, RequestOp, ResponseBody, TxnRequest};
use detcd_replica::history::{Finding, History, Operation, Outcome};

use crate::linearizability::{end, finding, words};

/// The name of the check.
pub(crate) const CHECK: &str = "Q1";

/// What clients learnt of the alarms, and did to them.
struct Alarms<'h> {
    /// Requests that were answered, with what they showed.
    shown: Vec<(&'h Operation, &'h AlarmRequest, &'h [AlarmMember])>,
    /// Requests that may have taken an alarm back.
    taken_back: Vec<(&'h Operation, AlarmMember)>,
}

/// Holds every answer against the alarms that must have stood then.
pub(crate) fn check(history: &History) -> Option<Finding> {
    let mut alarms = Alarms { shown: Vec::new(), taken_back: Vec::new() };
    for operation in &history.operations {
        let Request::Alarm(asked) = &operation.request else { continue };
        if let (AlarmAction::Deactivate, Some(alarm)) = (asked.action, asked.alarm) {
            if !matches!(operation.outcome, Outcome::Failed { .. }) {
                alarms.taken_back.push((operation, AlarmMember { alarm, member: asked.member }));
            }
        }
        if let Outcome::Ok { response, .. } = &operation.outcome {
            if let ResponseBody::Alarm { alarms: shown } = &response.body {
                alarms.shown.push((operation, asked, shown));
            }
        }
    }
    if alarms.shown.is_empty() {
        return None;
    }
    alarms.vanished().or_else(|| history.operations.iter().find_map(|operation| alarms.not_barred(operation)))
}

impl Alarms<'_> {
    /// An alarm that must have stood during the whole of `operation`: it was shown before, and nobody can have taken it
    /// back since. With it, who showed it last.
    fn standing(&self, operation: &Operation, is: &dyn Fn(AlarmMember) -> bool) -> Option<(AlarmMember, &Operation)> {
        let before = self.shown.iter().filter(|(shown, ..)| end(shown) < operation.call);
        // Who takes an alarm back is shown it, for the last time.
        let seen = before.filter(|(_, asked, _)| asked.action != AlarmAction::Deactivate);
        let mut seen: Vec<_> = seen.flat_map(|(by, _, shown)| shown.iter().map(move |alarm| (*alarm, *by))).collect();
        seen.retain(|(alarm, _)| is(*alarm));
        seen.into_iter().rev().find(|(alarm, by)| {
            let mut since = self.taken_back.iter().filter(|(_, other)| other == alarm);
            !since.any(|(other, _)| other.call < end(operation) && end(other) > by.call)
        })
    }

    /// An alarm that is shown no more, or is taken back in another's place.
    fn vanished(&self) -> Option<Finding> {
        self.shown.iter().find_map(|(operation, asked, shown)| {
            let other = |alarm: &&AlarmMember| Some(alarm.alarm) != asked.alarm || alarm.member != asked.member;
            if let (AlarmAction::Deactivate, Some(other)) = (asked.action, shown.iter().find(other)) {
                let summary = format!(
                    "`{}` took back the {:?} alarm of {}",
                    words::request(&operation.request),
                    other.alarm,
                    other.member
                );
                return Some(finding(CHECK, operation, summary, [].into_iter()));
            }
            if asked.action != AlarmAction::Get {
                return None;
            }
            let missing =
                |alarm: AlarmMember| asked.alarm.is_none_or(|kind| kind == alarm.alarm) && !shown.contains(&alarm);
            let (alarm, by) = self.standing(operation, &missing)?;
            let summary = format!("the {:?} alarm of {} is gone, and nobody took it back", alarm.alarm, alarm.member);
            Some(finding(CHECK, operation, summary, [by].into_iter()))
        })
    }

    /// A request that was answered, though an alarm must have barred it.
    fn not_barred(&self, operation: &Operation) -> Option<Finding> {
        if !matches!(operation.outcome, Outcome::Ok { .. }) {
            return None;
        }
        let space = takes_space(&operation.request);
        let is_of_data = is_of_data(&operation.request);
        if !space && !is_of_data {
            return None;
        }
        let bars = |alarm: AlarmMember| match alarm.alarm {
            Alarm::NoSpace => space,
            Alarm::Corrupt => is_of_data,
        };
        let (alarm, by) = self.standing(operation, &bars)?;
        let summary = format!(
            "`{}` was answered while the {:?} alarm of {} stood",
            words::request(&operation.request),
            alarm.alarm,
            alarm.member
        );
        Some(finding(CHECK, operation, summary, [by].into_iter()))
    }
}

/// Whether the request goes through the log, to keys or leases: all of those are refused while data is corrupt.
fn is_of_data(request: &Request) -> bool {
    matches!(
        request,
        Request::Put(_)
            | Request::DeleteRange(_)
            | Request::Compact(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke { .. }
    )
}

/// Whether the request makes the database larger: puts, in transactions at any depth and in either branch, and leases.
fn takes_space(request: &Request) -> bool {
    match request {
        Request::Put(_) | Request::LeaseGrant(_) => true,
        Request::Txn(txn) => puts(txn),
        _ => false,
    }
}

fn puts(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        RequestOp::Put(_) => true,
        RequestOp::Txn(inner) => puts(inner),
        RequestOp::Range(_) | RequestOp::DeleteRange(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use detcd_replica::api::{Header, PutRequest, Response};
    use detcd_replica::MemberId;

    use super::*;

    /// A history told operation by operation, one after the other.
    #[derive(Default)]
    struct Story(History);

    fn no_space(member: u64) -> AlarmMember {
        AlarmMember { alarm: Alarm::NoSpace, member: MemberId(member) }
    }

    impl Story {
        fn ok(mut self, request: Request, body: ResponseBody) -> Self {
            let call = self.0.operations.len() as u64 * 10;
            let header = Header { member: MemberId(1), revision: 1, raft_term: 1 };
            let outcome = Outcome::Ok { at: call + 5, response: Response { header, body } };
            let (member, user) = (MemberId(1), String::new());
            self.0.operations.push(Operation { client: 1, member, user, call, request, outcome });
            self
        }

        fn alarm(self, action: AlarmAction, member: u64, shown: &[u64]) -> Self {
            let asked = AlarmRequest { action, member: MemberId(member), alarm: Some(Alarm::NoSpace) };
            let alarms = shown.iter().map(|id| no_space(*id)).collect();
            self.ok(Request::Alarm(asked), ResponseBody::Alarm { alarms })
        }

        fn list(self, shown: &[u64]) -> Self {
            self.alarm(AlarmAction::Get, 0, shown)
        }

        fn disarm(self, member: u64, shown: &[u64]) -> Self {
            self.alarm(AlarmAction::Deactivate, member, shown)
        }

        fn put(self) -> Self {
            self.ok(Request::Put(PutRequest::of("a", "v")), ResponseBody::Put { prev_kv: None })
        }

        fn nested(self) -> Self {
            let txn = |success| TxnRequest { compare: Vec::new(), success, failure: Vec::new() };
            let inner = txn(vec![RequestOp::Put(PutRequest::of("a", "v"))]);
            let body = ResponseBody::Txn { succeeded: true, responses: Vec::new() };
            self.ok(Request::Txn(txn(vec![RequestOp::Txn(Box::new(inner))])), body)
        }

        fn last_is_unknown(mut self) -> Self {
            let last = self.0.operations.last_mut().expect("there is one");
            last.outcome = Outcome::Unknown { at: None };
            self
        }

        fn found(&self) -> bool {
            check(&self.0).is_some()
        }
    }

    #[test]
    fn an_alarm_stands_until_it_is_taken_back() {
        let raised = || Story::default().list(&[]).list(&[1, 2]);
        assert!(!raised().list(&[1, 2]).found());
        assert!(raised().list(&[2]).found());
        assert!(!raised().disarm(1, &[1]).list(&[2]).found());
        assert!(raised().disarm(1, &[1]).list(&[]).found());
        assert!(raised().disarm(2, &[1]).found());
        assert!(!raised().disarm(1, &[1]).last_is_unknown().list(&[2]).found());
        assert!(!raised().disarm(1, &[1]).last_is_unknown().list(&[1, 2]).found());
    }

    #[test]
    fn while_it_stands_nothing_is_answered_that_takes_space() {
        let raised = || Story::default().put().nested().list(&[1]);
        assert!(!raised().found());
        assert!(raised().put().found());
        assert!(raised().nested().found());
        assert!(!raised().disarm(1, &[1]).put().nested().found());
        assert!(raised().disarm(2, &[]).put().found());
        assert!(!raised().put().last_is_unknown().found());
    }
}
