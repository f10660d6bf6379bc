//! What each transaction of a history read and appended.
//!
//! Every request that was answered is a transaction, a single put or get too: what its branch did. An append says what
//! its writer had read there; that is a read of the same transaction, and stands or falls with it. A request without an
//! answer is a transaction that counts once its elements are seen; one that was refused, and the branch that was not
//! taken, have appended nothing. Reads that may be stale, or are of the past or of a part, say nothing here, nor does
//! what transactions inside of transactions do.

use std::collections::BTreeMap;

use detcd_replica::api::{RangeRequest, Request, RequestOp, ResponseBody};
use detcd_replica::history::{History, Operation, Outcome};

use super::lists::{Element, Lists, Written};
use super::Anomaly;

/// A list that a transaction read, before it appended there.
pub(super) struct Read<'h> {
    pub(super) list: usize,
    pub(super) elements: Vec<Element<'h>>,
}

/// What a transaction appended to a list.
pub(super) struct Append<'h> {
    pub(super) list: usize,
    pub(super) written: Written<'h>,
}

pub(super) struct Transaction<'h> {
    pub(super) operation: &'h Operation,
    /// Whether it was answered; one that was not counts when its elements are seen.
    pub(super) certain: bool,
    pub(super) reads: Vec<Read<'h>>,
    pub(super) appends: Vec<Append<'h>>,
}

/// Who appended an element.
#[derive(Clone, Copy)]
pub(super) enum Writer<'h> {
    Transaction(usize),
    /// One that was refused, or a branch that was not taken.
    Aborted(&'h Operation),
    /// A transaction inside of another, or more than one: it cannot be said.
    Unclear,
}

/// The transactions of a history.
pub(super) struct Gathered<'h> {
    /// In the order of their calls.
    pub(super) transactions: Vec<Transaction<'h>>,
    pub(super) writers: BTreeMap<(usize, Element<'h>), Writer<'h>>,
    /// What contradicts itself already.
    pub(super) anomaly: Option<Anomaly<'h>>,
}

/// Reads the transactions off the requests and their answers.
pub(super) fn gather<'h>(history: &'h History, lists: &Lists<'h>) -> Gathered<'h> {
    let mut gathered = Gathered { transactions: Vec::new(), writers: BTreeMap::new(), anomaly: None };
    for operation in &history.operations {
        gathered.operation(operation, lists);
    }
    gathered
}

impl<'h> Gathered<'h> {
    fn operation(&mut self, operation: &'h Operation, lists: &Lists<'h>) {
        let answer = match &operation.outcome {
            Outcome::Ok { response, .. } => Some(Some(&response.body)),
            Outcome::Unknown { .. } => Some(None),
            Outcome::Failed { .. } => None,
        };
        let mut run = Run::new(operation, lists);
        match (&operation.request, answer) {
            (Request::Put(put), Some(_)) => run.append(&put.key, &put.value),
            (Request::Put(put), None) => self.wrote(&put.key, &put.value, Writer::Aborted(operation), lists),
            (Request::Range(range), Some(Some(body))) => run.read(range, body),
            (Request::Txn(txn), Some(Some(ResponseBody::Txn { succeeded, responses }))) => {
                let (taken, other) = match succeeded {
                    true => (&txn.success, &txn.failure),
                    false => (&txn.failure, &txn.success),
                };
                for (op, body) in taken.iter().zip(responses) {
                    run.op(op, Some(body));
                    self.inside(op, lists);
                }
                self.abort(other, operation, lists);
            }
            (Request::Txn(txn), Some(_)) => {
                // One of the two branches, and its elements will tell which.
                for branch in [&txn.success, &txn.failure] {
                    let mut run = Run::new(operation, lists);
                    branch.iter().for_each(|op| run.op(op, None));
                    branch.iter().for_each(|op| self.inside(op, lists));
                    self.take(run, false);
                }
            }
            (Request::Txn(txn), None) => {
                self.abort(&txn.success, operation, lists);
                self.abort(&txn.failure, operation, lists);
            }
            _ => {}
        }
        self.take(run, matches!(answer, Some(Some(_))));
    }

    fn take(&mut self, run: Run<'_, 'h>, certain: bool) {
        let Run { operation, reads, appends, trouble, .. } = run;
        if reads.is_empty() && appends.is_empty() {
            return;
        }
        if let (Some(story), true) = (trouble, certain) {
            let operations = vec![operation];
            self.anomaly.get_or_insert(Anomaly { name: "internal", operations, story });
        }
        let number = self.transactions.len();
        for append in &appends {
            for element in &append.written.appended {
                self.says(append.list, element, Writer::Transaction(number));
            }
        }
        self.transactions.push(Transaction { operation, certain, reads, appends });
    }

    fn says(&mut self, list: usize, element: Element<'h>, writer: Writer<'h>) {
        self.writers.entry((list, element)).and_modify(|known| *known = Writer::Unclear).or_insert(writer);
    }

    fn wrote(&mut self, key: &[u8], value: &'h [u8], writer: Writer<'h>, lists: &Lists<'h>) {
        let Some((list, written)) = lists.number(key).zip(Written::parse(value)) else { return };
        written.appended.into_iter().for_each(|element| self.says(list, element, writer));
    }

    /// The elements of operations that were not done.
    fn abort(&mut self, ops: &'h [RequestOp], operation: &'h Operation, lists: &Lists<'h>) {
        for op in ops {
            if let RequestOp::Put(put) = op {
                self.wrote(&put.key, &put.value, Writer::Aborted(operation), lists);
            }
            self.inside(op, lists);
        }
    }

    /// The elements of what is nested.
    fn inside(&mut self, op: &'h RequestOp, lists: &Lists<'h>) {
        let RequestOp::Txn(txn) = op else { return };
        for op in txn.success.iter().chain(&txn.failure) {
            if let RequestOp::Put(put) = op {
                self.wrote(&put.key, &put.value, Writer::Unclear, lists);
            }
            self.inside(op, lists);
        }
    }
}

/// One transaction, operation by operation.
struct Run<'l, 'h> {
    operation: &'h Operation,
    lists: &'l Lists<'h>,
    reads: Vec<Read<'h>>,
    appends: Vec<Append<'h>>,
    /// What each list must be by what the transaction itself read and appended.
    expected: BTreeMap<usize, Vec<Element<'h>>>,
    trouble: Option<String>,
}

impl<'l, 'h> Run<'l, 'h> {
    fn new(operation: &'h Operation, lists: &'l Lists<'h>) -> Self {
        let (reads, appends, expected) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { operation, lists, reads, appends, expected, trouble: None }
    }

    fn op(&mut self, op: &'h RequestOp, body: Option<&'h ResponseBody>) {
        match (op, body) {
            (RequestOp::Put(put), _) => self.append(&put.key, &put.value),
            (RequestOp::Range(range), Some(body)) => self.read(range, body),
            _ => {}
        }
    }

    fn append(&mut self, key: &[u8], value: &'h [u8]) {
        let Some((list, written)) = self.lists.number(key).zip(Written::parse(value)) else { return };
        self.sees(list, written.seen.clone());
        self.expected.insert(list, written.whole());
        self.appends.push(Append { list, written });
    }

    fn read(&mut self, range: &RangeRequest, body: &'h ResponseBody) {
        let ResponseBody::Range { kvs, .. } = body else { return };
        let whole = range.limit == 0 && !range.keys_only && !range.count_only && !range.has_revision_filters();
        if !whole || range.serializable || range.revision != 0 {
            return;
        }
        for list in self.lists.within(&range.range) {
            let key = self.lists.key(list);
            match kvs.iter().find(|kv| kv.key == key).map(|kv| Written::parse(&kv.value)) {
                None => self.sees(list, Vec::new()),
                Some(Some(written)) => self.sees(list, written.whole()),
                // Something that nobody put there: no list, and no evidence of one.
                Some(None) => {}
            }
        }
    }

    fn sees(&mut self, list: usize, elements: Vec<Element<'h>>) {
        match self.expected.get(&list) {
            None => {
                self.expected.insert(list, elements.clone());
                self.reads.push(Read { list, elements });
            }
            Some(expected) if *expected == elements => {}
            Some(expected) => {
                let (key, expected) = (super::words::text(self.lists.key(list)), super::versions::text(expected));
                let story = format!("T1 has {} in {key}, where it had {expected}", super::versions::text(&elements));
                self.trouble.get_or_insert(story);
            }
        }
    }
}
