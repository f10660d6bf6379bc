//! `append`: transactions that append to lists and read them, in the one way that etcd has for it.
//!
//! A transaction of one to four operations, each an append or a read of one of a few lists. With appends it is done
//! optimistically: its lists are read, all at one revision, sometimes stale; then one request puts them back longer, if
//! none has changed since, else it reads them again for the next attempt. Without a compare (`fenced = false`)
//! another's append may be lost. What only reads is one request.
//!
//! A list is `[c1-1 c2-1|c3-4]`: what its writer had read, and what it appends. When an attempt has no answer the lists
//! are read, and if it is not in there it is tried again, as `c3-4.2`: that both happen cannot be, as both compare and
//! each changes what the other one compares. A list that is long gives its place to a new one.

use std::collections::BTreeMap;

use bytes::Bytes;
use detcd_replica::api::{
    Compare, CompareResult, CompareTarget, Key, KeyRange, RangeEnd, RangeRequest, Request, RequestOp, Response,
    ResponseBody, Revision, TxnRequest,
};

use super::{get, of_client, put, Ended, Names, Seen, Workload};
use crate::scenario::{self, Chance};

pub(super) const PREFIX: &[u8] = b"append/";

/// Operations of one transaction, at most.
const OPERATIONS: u64 = 4;
/// A list of so many elements is full.
const LENGTH: usize = 24;
/// Requests in vain after which a transaction is given up.
const PATIENCE: u64 = 6;

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Micro {
    Read(u64),
    /// With what the element is called.
    Append(u64, Bytes),
}

impl Micro {
    fn list(&self) -> u64 {
        match self {
            Self::Read(list) | Self::Append(list, _) => *list,
        }
    }
}

/// A list as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct List {
    /// Its last change; 0 when it is not there.
    changed: Revision,
    elements: Vec<Bytes>,
}

impl List {
    fn of(body: &ResponseBody) -> Option<Self> {
        let ResponseBody::Range { kvs, .. } = body else { return None };
        let Some(kv) = kvs.first() else { return Some(Self::default()) };
        let inside = kv.value.split(|byte| b"[ |]".contains(byte)).filter(|element| !element.is_empty());
        Some(Self { changed: kv.mod_revision, elements: inside.map(Bytes::copy_from_slice).collect() })
    }

    /// As it will be with these elements.
    fn with(&self, appended: &[Bytes]) -> Bytes {
        [b"[", &self.elements.join(&b' ')[..], b"|", &appended.join(&b' ')[..], b"]"].concat().into()
    }
}

/// What a client is at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Step {
    /// Between two transactions.
    #[default]
    Begin,
    /// Only reads.
    Read,
    /// Reads the lists that it will append to; `true` when it must not be told of old ones.
    Look(bool),
    /// Knows them, and appends.
    Commit(BTreeMap<u64, List>),
}

/// A client.
#[derive(Clone, Debug, Default)]
struct Party {
    step: Step,
    plan: Vec<Micro>,
    /// Attempts so far, each with names of its own.
    attempts: u64,
    /// Requests in vain.
    vain: u64,
}

/// The generator.
pub struct Append {
    names: Names,
    /// The lists in use.
    lists: Vec<u64>,
    fresh: u64,
    fenced: bool,
    parties: Vec<Party>,
    /// Whether somebody has read everything at the end.
    closed: bool,
}

impl Append {
    /// With the parameters of a scenario.
    pub fn new(parameters: &scenario::Workload) -> Self {
        let (lists, fresh) = ((0..parameters.keys).collect(), parameters.keys);
        let (names, parties) = (Names::short(), Vec::new());
        Self { names, lists, fresh, fenced: parameters.fenced, parties, closed: false }
    }

    fn party(&mut self, client: u32) -> &mut Party {
        of_client(&mut self.parties, client)
    }

    /// A new transaction.
    fn plan(&mut self, client: u32, chance: &mut dyn Chance) {
        let subject = u64::from(client);
        let mut plan: Vec<Micro> = Vec::new();
        for _ in 0..=chance.below("append.size", subject, OPERATIONS) {
            let list = self.lists[chance.below("append.list", subject, self.lists.len() as u64) as usize];
            plan.push(match chance.ratio("append.read", subject, 1, 2) {
                true => Micro::Read(list),
                false => Micro::Append(list, self.names.next(client, b"").into()),
            });
        }
        let only_reads = plan.iter().all(|micro| matches!(micro, Micro::Read(_)));
        let stale = chance.ratio("append.stale", subject, 1, 4);
        let step = if only_reads { Step::Read } else { Step::Look(!stale) };
        *self.party(client) = Party { step, plan, attempts: 0, vain: 0 };
    }

    /// Lists that are full are replaced.
    fn learn(&mut self, list: u64, elements: usize) {
        if elements < LENGTH {
            return;
        }
        if let Some(place) = self.lists.iter().position(|known| *known == list) {
            self.lists[place] = self.fresh;
            self.fresh += 1;
        }
    }
}

fn key(list: u64) -> Key {
    let mut key = PREFIX.to_vec();
    super::digits(list, &mut key);
    key.into()
}

impl Party {
    /// The lists of the transaction, each once.
    fn lists(&self) -> Vec<u64> {
        let mut lists: Vec<u64> = self.plan.iter().map(Micro::list).collect();
        lists.sort_unstable();
        lists.dedup();
        lists
    }

    fn reads(&self, fresh: bool) -> Vec<RequestOp> {
        let read = |list: u64| RequestOp::Range(RangeRequest { serializable: !fresh, ..get(key(list)) });
        self.lists().into_iter().map(read).collect()
    }

    /// The elements that the transaction appends to a list, as this attempt calls them.
    fn appended(&self, to: u64, attempt: u64) -> Vec<Bytes> {
        let called = |name: &Bytes| match attempt {
            1 => name.clone(),
            _ => {
                let mut called = name.to_vec();
                called.push(b'.');
                super::digits(attempt, &mut called);
                called.into()
            }
        };
        let appends = self.plan.iter().filter_map(|micro| match micro {
            Micro::Append(list, name) if *list == to => Some(called(name)),
            _ => None,
        });
        appends.collect()
    }

    /// The operations in their order; all appends to one list are one put, where the first of them is.
    fn commit(&self, seen: &BTreeMap<u64, List>, fenced: bool) -> Request {
        let mut done: Vec<u64> = Vec::new();
        let mut success = Vec::new();
        for micro in &self.plan {
            let list = micro.list();
            match micro {
                Micro::Read(_) => success.push(RequestOp::Range(get(key(list)))),
                Micro::Append(..) if done.contains(&list) => {}
                Micro::Append(..) => {
                    done.push(list);
                    let value = seen[&list].with(&self.appended(list, self.attempts));
                    success.push(RequestOp::Put(put(key(list), value)));
                }
            }
        }
        let unchanged = |(list, seen): (&u64, &List)| Compare {
            range: KeyRange { start: key(*list), end: RangeEnd::Single },
            result: CompareResult::Equal,
            target: CompareTarget::Mod(seen.changed),
        };
        let compare = if fenced { seen.iter().map(unchanged).collect() } else { Vec::new() };
        Request::Txn(TxnRequest { compare, success, failure: self.reads(true) })
    }

    /// What the answer to reads of its lists says.
    fn read(&self, responses: &[ResponseBody]) -> Option<BTreeMap<u64, List>> {
        self.lists().into_iter().zip(responses).map(|(list, body)| Some((list, List::of(body)?))).collect()
    }

    /// Whether an attempt has been done.
    fn is_in(&self, seen: &BTreeMap<u64, List>) -> bool {
        let found = |attempt: u64, list: &u64| {
            self.appended(*list, attempt).iter().any(|element| seen[list].elements.contains(element))
        };
        (1..=self.attempts).any(|attempt| self.lists().iter().any(|list| found(attempt, list)))
    }

    fn after(&self, answer: Option<&Response>) -> Step {
        let body = answer.map(|response| &response.body);
        match (&self.step, body) {
            // When an attempt fails it may be for an earlier one, which had no answer.
            (Step::Look(_), Some(ResponseBody::Txn { responses, .. }))
            | (Step::Commit(_), Some(ResponseBody::Txn { succeeded: false, responses })) => {
                match self.read(responses) {
                    Some(seen) if !self.is_in(&seen) => Step::Commit(seen),
                    _ => Step::Begin,
                }
            }
            // It may have been done, or not: the lists will tell.
            (Step::Commit(_) | Step::Look(_), None) if self.vain < PATIENCE => Step::Look(true),
            _ => Step::Begin,
        }
    }
}

impl Workload for Append {
    fn next(&mut self, client: u32, _: &Seen, chance: &mut dyn Chance) -> Request {
        let fenced = self.fenced;
        if self.party(client).step == Step::Begin || self.party(client).vain >= PATIENCE {
            self.plan(client, chance);
        }
        let party = self.party(client);
        let success = match &party.step {
            Step::Begin | Step::Read => party.reads(true),
            Step::Look(fresh) => party.reads(*fresh),
            Step::Commit(_) => {
                party.attempts += 1;
                let Step::Commit(seen) = &party.step else { unreachable!("it was so a moment ago") };
                return party.commit(seen, fenced);
            }
        };
        Request::Txn(TxnRequest { compare: Vec::new(), success, failure: Vec::new() })
    }

    fn ended(&mut self, client: u32, request: &Request, ended: Ended<'_>) {
        let answer = ended.answer();
        if matches!(request, Request::Range(_)) {
            self.closed |= answer.is_some();
            return;
        }
        let party = self.party(client);
        let next = party.after(answer);
        // Attempts that found the lists changed count as well.
        party.vain +=
            u64::from(next != Step::Begin && party.step != Step::Look(false) && party.step != Step::Look(true));
        party.vain += u64::from(answer.is_none());
        party.step = next;
        if let Step::Commit(seen) = &party.step {
            for (list, elements) in seen.iter().map(|(list, seen)| (*list, seen.elements.len())).collect::<Vec<_>>() {
                self.learn(list, elements);
            }
        }
    }

    fn closing(&mut self, client: u32) -> Option<Request> {
        let all = || Request::Range(RangeRequest::of(KeyRange::prefix(PREFIX)));
        (client == 0 && !self.closed).then(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Dice;
    use detcd_replica::api::{Header, KeyValue};
    use detcd_replica::MemberId;

    /// A store of lists, as far as these requests need one.
    #[derive(Default)]
    struct Store {
        revision: Revision,
        lists: BTreeMap<Key, (Revision, Bytes)>,
    }

    impl Store {
        fn apply(&mut self, request: &Request) -> Response {
            let Request::Txn(txn) = request else { panic!("everything is a transaction") };
            let changed = |key: &Key| self.lists.get(key).map_or(0, |(changed, _)| *changed);
            let succeeded = txn.compare.iter().all(|it| it.target == CompareTarget::Mod(changed(&it.range.start)));
            let ops = if succeeded { &txn.success } else { &txn.failure };
            self.revision += 1;
            let responses = ops.iter().map(|op| match op {
                RequestOp::Put(put) => {
                    self.lists.insert(put.key.clone(), (self.revision, put.value.clone()));
                    ResponseBody::Put { prev_kv: None }
                }
                RequestOp::Range(range) => {
                    let key = range.range.start.clone();
                    let found = self.lists.get(&key).map(|(mod_revision, value)| {
                        let (mod_revision, value) = (*mod_revision, value.clone());
                        KeyValue { key, create_revision: 1, mod_revision, version: 1, value, lease: 0 }
                    });
                    let kvs: Vec<KeyValue> = found.into_iter().collect();
                    ResponseBody::Range { count: kvs.len() as u64, kvs, more: false }
                }
                _ => panic!("no deletes, nothing nested"),
            });
            let body = ResponseBody::Txn { succeeded, responses: responses.collect() };
            Response { header: Header { member: MemberId(1), revision: self.revision, raft_term: 1 }, body }
        }

        fn elements(&self) -> Vec<Vec<u8>> {
            let split = |value: &Bytes| {
                value.split(|byte| b"[ |]".contains(byte)).filter(|it| !it.is_empty()).map(<[u8]>::to_vec).collect()
            };
            self.lists.values().flat_map(|(_, value)| -> Vec<Vec<u8>> { split(value) }).collect()
        }
    }

    /// Clients in turn; of their requests every so many-th is done without an answer, and as many are not done.
    fn run(requests: u32, fenced: bool, lost: u32) -> Store {
        let mut append = Append::new(&scenario::Workload { keys: 3, fenced, ..scenario::Workload::default() });
        let (mut store, mut dice, seen) = (Store { revision: 1, ..Store::default() }, Dice(7), Seen::new(false));
        let mut asked: Vec<Option<Request>> = vec![None; 3];
        for n in 0..requests {
            // One asks, and another one's request is done.
            asked[n as usize % 3] = Some(append.next(n % 3, &seen, &mut dice));
            let who = (n + 1) % 3;
            let Some(request) = asked[who as usize].take() else { continue };
            if lost > 0 && n % lost == 1 {
                append.ended(who, &request, Ended::Unknown);
                continue;
            }
            let response = store.apply(&request);
            let answer = if lost > 0 && n % lost == 2 { Ended::Unknown } else { Ended::Answered(&response) };
            append.ended(who, &request, answer);
        }
        store
    }

    #[test]
    fn nothing_is_appended_twice_though_answers_are_lost() {
        let store = run(6_000, true, 7);
        let mut names: Vec<Vec<u8>> = store.elements();
        let all = names.len();
        assert!(all > 1_000, "{all} elements");
        assert!(names.iter().any(|name| name.contains(&b'.')), "something was tried again");
        for name in &mut names {
            name.truncate(name.iter().position(|byte| *byte == b'.').unwrap_or(name.len()));
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(store.lists.len() > 20, "full lists are replaced");
    }

    #[test]
    fn an_attempt_that_fails_for_an_earlier_one_is_the_last() {
        let mut append = Append::new(&scenario::Workload { keys: 1, fenced: true, ..scenario::Workload::default() });
        let (mut store, mut dice, seen) = (Store { revision: 1, ..Store::default() }, Dice(2), Seen::new(false));
        let commit = |append: &mut Append, store: &mut Store, dice: &mut Dice| loop {
            let request = append.next(0, &seen, dice);
            if matches!(&request, Request::Txn(txn) if !txn.compare.is_empty()) {
                return request;
            }
            let response = store.apply(&request);
            append.ended(0, &request, Ended::Answered(&response));
        };
        let first = commit(&mut append, &mut store, &mut dice);
        append.ended(0, &first, Ended::Unknown);
        // It looks, does not find it, and tries again; only now is the first attempt done.
        let second = commit(&mut append, &mut store, &mut dice);
        store.apply(&first);
        let response = store.apply(&second);
        assert!(matches!(response.body, ResponseBody::Txn { succeeded: false, .. }));
        append.ended(0, &second, Ended::Answered(&response));
        assert_eq!(append.party(0).step, Step::Begin);
    }

    #[test]
    fn compares_are_made_where_it_is_fenced() {
        let compares = |fenced| {
            let mut append = Append::new(&scenario::Workload { fenced, ..scenario::Workload::default() });
            let (mut store, mut dice, seen) = (Store { revision: 1, ..Store::default() }, Dice(1), Seen::new(false));
            let mut compares = 0;
            for _ in 0..100 {
                let request = append.next(0, &seen, &mut dice);
                let Request::Txn(txn) = &request else { panic!("everything is a transaction") };
                compares += txn.compare.len();
                let response = store.apply(&request);
                append.ended(0, &request, Ended::Answered(&response));
            }
            compares
        };
        assert!(compares(true) > 50);
        assert_eq!(compares(false), 0);
    }
}
