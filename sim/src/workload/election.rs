//! `election`: clients that campaign, lead, proclaim and resign, as etcd's `concurrency.Election` does it, and
//! observers.
//!
//! Who is first in an election's queue ([`super::queue`]) leads. A candidate's key says `runs c1-2`; a leader proclaims
//! `leads c1-3` there, one to three times, looks who leads in between, and resigns by deleting its key, or by the end
//! of its session. Fenced, as etcd does it, a proclamation compares the creation of the leader's key; unfenced it is a
//! put, which may arrive when its client has resigned. One that has no answer makes its client resign; half of those
//! who have resigned run again in the same session. Every fourth client only asks who leads. As in etcd, a candidate
//! that has waited does not look whether its own key is still there.

use bytes::Bytes;
use detcd_replica::api::{
    DeleteRangeRequest, KeyRange, PutRequest, RangeEnd, Request, RequestOp, Response, ResponseBody, TxnRequest,
};

use super::queue::{oldest, Session};
use super::{of_client, put, Ended, Names, Seen, Workload};
use crate::scenario::{self, Chance};

pub(super) const PREFIX: &[u8] = b"election/";

/// Every so many-th client observes.
const OBSERVERS: u32 = 4;

/// What a leader does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Proclaim,
    Leader,
    Resign,
}

/// A candidate.
#[derive(Clone, Debug, Default)]
struct Party {
    session: Session,
    step: Step,
    election: u64,
    /// Proclamations that it still wants to make.
    left: u64,
    /// Whether it runs again in this session.
    again: bool,
}

/// The generator.
pub struct Election {
    names: Names,
    elections: u64,
    ttl: i64,
    fenced: bool,
    parties: Vec<Party>,
}

impl Election {
    /// With the parameters of a scenario.
    pub fn new(parameters: &scenario::Workload) -> Self {
        let (elections, ttl) = (parameters.keys, parameters.ttl_seconds as i64);
        Self { names: Names::short(), elections, ttl, fenced: parameters.fenced, parties: Vec::new() }
    }
}

fn queue(election: u64) -> Vec<u8> {
    let mut prefix = PREFIX.to_vec();
    super::digits(election, &mut prefix);
    prefix.push(b'/');
    prefix
}

impl Party {
    fn proclaim(&self, value: Bytes, fenced: bool) -> Request {
        let put = PutRequest { lease: self.session.lease(), ..put(self.session.key(), value) };
        match fenced {
            true => self.guarded(RequestOp::Put(put)),
            false => Request::Put(put),
        }
    }

    fn resign(&self) -> Request {
        let range = KeyRange { start: self.session.key(), end: RangeEnd::Single };
        self.guarded(RequestOp::DeleteRange(DeleteRangeRequest { range, prev_kv: false }))
    }

    fn guarded(&self, op: RequestOp) -> Request {
        Request::Txn(TxnRequest { compare: vec![self.session.holds()], success: vec![op], failure: Vec::new() })
    }

    /// What has become of what it did as the leader.
    fn led(&mut self, answer: Option<&Response>) {
        let lost = matches!(answer.map(|it| &it.body), Some(ResponseBody::Txn { succeeded: false, .. }));
        match (self.step, answer) {
            // It leads no more: `ErrElectionNotLeader`.
            (Step::Proclaim, Some(_)) if lost => self.session.release(),
            (Step::Proclaim, Some(_)) => {
                self.left -= 1;
                self.step = if self.left > 0 { Step::Leader } else { Step::Resign };
            }
            (Step::Proclaim, None) => self.step = Step::Resign,
            (Step::Leader, _) => self.step = Step::Proclaim,
            (Step::Resign, Some(_)) if self.again && !lost => self.session.queue_again(),
            (Step::Resign, _) => self.session.release(),
        }
    }
}

impl Workload for Election {
    fn next(&mut self, client: u32, _: &Seen, chance: &mut dyn Chance) -> Request {
        let subject = u64::from(client);
        let (elections, ttl, fenced) = (self.elections, self.ttl, self.fenced);
        if client % OBSERVERS == OBSERVERS - 1 {
            return Request::Range(oldest(&queue(chance.below("election.which", subject, elections))));
        }
        let mut name = |text: &[u8]| -> Bytes { self.names.next(client, text).into() };
        let party = of_client(&mut self.parties, client);
        if party.session.is_new() {
            party.election = chance.below("election.which", subject, elections);
            let dozes = chance.ratio("election.doze", subject, 1, 3);
            return party.session.begin(client, ttl, queue(party.election), dozes);
        }
        if !party.session.is_first() {
            party.step = Step::Proclaim;
            party.left = 1 + chance.below("election.proclaims", subject, 3);
            party.again = chance.ratio("election.again", subject, 1, 2);
            return party.session.next(|| name(b"runs "));
        }
        match party.step {
            Step::Proclaim => party.proclaim(name(b"leads "), fenced),
            Step::Leader => Request::Range(oldest(&queue(party.election))),
            Step::Resign => party.resign(),
        }
    }

    fn ended(&mut self, client: u32, _: &Request, ended: Ended<'_>) {
        if client % OBSERVERS == OBSERVERS - 1 {
            return;
        }
        let answer = ended.answer();
        let party = of_client(&mut self.parties, client);
        match party.session.is_first() {
            true => party.led(answer),
            false => party.session.ended(answer, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Neutral;
    use detcd_replica::api::{CompareTarget, Header, KeyValue};
    use detcd_replica::MemberId;

    fn range(created: &[i64]) -> ResponseBody {
        let kv = |created: &i64| {
            let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(b"runs c9-1"));
            KeyValue { key, create_revision: *created, mod_revision: *created, version: 1, value, lease: 0 }
        };
        ResponseBody::Range { kvs: created.iter().map(kv).collect(), more: false, count: created.len() as u64 }
    }

    fn txn(succeeded: bool, responses: Vec<ResponseBody>) -> ResponseBody {
        ResponseBody::Txn { succeeded, responses }
    }

    /// One client, to whom these answers are given, `None` being none; what it asks after the last.
    fn after(election: &mut Election, answers: Vec<Option<(i64, ResponseBody)>>) -> Request {
        let seen = Seen::new(false);
        for answer in answers {
            let request = election.next(0, &seen, &mut Neutral);
            let Some((revision, body)) = answer else {
                election.ended(0, &request, Ended::Unknown);
                continue;
            };
            let header = Header { member: MemberId(1), revision, raft_term: 1 };
            election.ended(0, &request, Ended::Answered(&Response { header, body }));
        }
        election.next(0, &seen, &mut Neutral)
    }

    fn elected() -> Vec<Option<(i64, ResponseBody)>> {
        let ran = txn(true, vec![ResponseBody::Put { prev_kv: None }, range(&[4])]);
        // Another one is older, and then gone.
        vec![Some((5, ResponseBody::LeaseGrant { id: 1, ttl: 4 })), Some((6, ran)), Some((7, range(&[])))]
    }

    fn election(fenced: bool) -> Election {
        Election::new(&scenario::Workload { fenced, ..scenario::Workload::default() })
    }

    #[test]
    fn a_leader_proclaims_on_its_key_and_resigns() {
        let mut fenced = election(true);
        let Request::Txn(proclaims) = after(&mut fenced, elected()) else { panic!("fenced") };
        assert_eq!(proclaims.compare[0].target, CompareTarget::Create(6));
        assert!(matches!(&proclaims.success[..], [RequestOp::Put(put)] if put.value == "leads c0-2" && put.lease != 0));
        let done = txn(true, vec![ResponseBody::Put { prev_kv: None }]);
        let Request::Txn(resigns) = after(&mut fenced, vec![Some((8, done))]) else { panic!("it resigns") };
        assert_eq!(resigns.compare[0].target, CompareTarget::Create(6));
        assert!(matches!(&resigns.success[..], [RequestOp::DeleteRange(_)]));
        assert!(matches!(after(&mut election(false), elected()), Request::Put(_)));
    }

    #[test]
    fn without_an_answer_it_resigns_and_without_leadership_it_ends() {
        let resigns = after(&mut election(true), [elected(), vec![None]].concat());
        assert!(matches!(resigns, Request::Txn(txn) if matches!(&txn.success[..], [RequestOp::DeleteRange(_)])));
        let ends = after(&mut election(true), [elected(), vec![Some((8, txn(false, Vec::new())))]].concat());
        assert!(matches!(ends, Request::LeaseRevoke { .. }));
    }

    #[test]
    fn every_fourth_client_observes() {
        let asks = election(true).next(3, &Seen::new(false), &mut Neutral);
        assert_eq!(asks, Request::Range(oldest(b"election/0/")));
    }
}
