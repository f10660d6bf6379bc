//! Lists as values of etcd: `[c1-1 c2-1|c3-4]` is what its writer had read there, and what it appended.
//!
//! Elements are unique. They are named like detcd's values, by client and count; `c3-4.2` is the second attempt at
//! `c3-4`, after the first had no answer. A key is a list when every put of it is one, without a lease, and nothing
//! deletes it; what was there before a history began, as nobody's writes, is none. Knows nothing of transactions.

use std::collections::BTreeMap;

use detcd_replica::api::{KeyRange, PutRequest, RangeEnd, Request, RequestOp};
use detcd_replica::history::History;
use detcd_replica::MemberId;

use crate::locks::is_name;

/// An element: a name that only one append has.
pub(super) type Element<'h> = &'h [u8];

/// A value that is a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written<'h> {
    /// What its writer says that it had read.
    pub(super) seen: Vec<Element<'h>>,
    /// What it appended; at least one.
    pub(super) appended: Vec<Element<'h>>,
}

impl<'h> Written<'h> {
    /// All of it.
    pub(super) fn whole(&self) -> Vec<Element<'h>> {
        self.seen.iter().chain(&self.appended).copied().collect()
    }

    pub(super) fn parse(value: &'h [u8]) -> Option<Self> {
        let inner = value.strip_prefix(b"[")?.strip_suffix(b"]")?;
        let bar = inner.iter().position(|byte| *byte == b'|')?;
        let (seen, appended) = (elements(&inner[..bar])?, elements(&inner[bar + 1..])?);
        (!appended.is_empty()).then_some(Self { seen, appended })
    }
}

fn elements(text: &[u8]) -> Option<Vec<Element<'_>>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(|byte| *byte == b' ').map(|element| attempted(element).map(|_| element)).collect()
}

/// What an element was an attempt at: `c3-4` of `c3-4.2`.
pub(super) fn attempted(element: Element<'_>) -> Option<&[u8]> {
    let (name, attempt) = match element.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&element[..dot], &element[dot + 1..]),
        None => (element, &b"1"[..]),
    };
    (is_name(name) && !attempt.is_empty() && attempt.iter().all(u8::is_ascii_digit)).then_some(name)
}

/// The keys that are lists, by number.
pub(super) struct Lists<'h> {
    numbers: BTreeMap<&'h [u8], usize>,
    keys: Vec<&'h [u8]>,
}

impl<'h> Lists<'h> {
    /// Those of a history; `None` when there are none, which costs no more than a look at every put.
    pub(super) fn of(history: &'h History) -> Option<Self> {
        let mut is_list: BTreeMap<&[u8], bool> = BTreeMap::new();
        for operation in &history.operations {
            each_put(&operation.request, &mut |put| {
                if put.value.first() == Some(&b'[') {
                    is_list.insert(&put.key, true);
                }
            });
        }
        if is_list.is_empty() {
            return None;
        }
        for operation in &history.operations {
            each_put(&operation.request, &mut |put| {
                let told = operation.member != MemberId::NONE && !put.ignore_value;
                if !told || put.lease != 0 || put.ignore_lease || Written::parse(&put.value).is_none() {
                    is_list.entry(&put.key).and_modify(|is| *is = false);
                }
            });
            each_delete(&operation.request, &mut |range| {
                is_list.iter_mut().filter(|(key, _)| range.contains(key)).for_each(|(_, is)| *is = false);
            });
        }
        let keys: Vec<&[u8]> = is_list.into_iter().filter_map(|(key, is)| is.then_some(key)).collect();
        let numbers = keys.iter().enumerate().map(|(number, key)| (*key, number)).collect();
        Some(Self { numbers, keys })
    }

    pub(super) fn number(&self, key: &[u8]) -> Option<usize> {
        self.numbers.get(key).copied()
    }

    pub(super) fn key(&self, number: usize) -> &'h [u8] {
        self.keys[number]
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The lists in a range.
    pub(super) fn within(&self, range: &KeyRange) -> Vec<usize> {
        match range.end {
            RangeEnd::Single => self.number(&range.start).into_iter().collect(),
            _ => (0..self.keys.len()).filter(|number| range.contains(self.keys[*number])).collect(),
        }
    }
}

fn each_op<'h>(request: &'h Request, visit: &mut dyn FnMut(&'h RequestOp)) {
    fn inside<'h>(ops: &'h [RequestOp], visit: &mut dyn FnMut(&'h RequestOp)) {
        for op in ops {
            visit(op);
            if let RequestOp::Txn(txn) = op {
                inside(&txn.success, visit);
                inside(&txn.failure, visit);
            }
        }
    }
    if let Request::Txn(txn) = request {
        inside(&txn.success, visit);
        inside(&txn.failure, visit);
    }
}

fn each_put<'h>(request: &'h Request, visit: &mut dyn FnMut(&'h PutRequest)) {
    if let Request::Put(put) = request {
        visit(put);
    }
    each_op(request, &mut |op| {
        if let RequestOp::Put(put) = op {
            visit(put);
        }
    });
}

fn each_delete<'h>(request: &'h Request, visit: &mut dyn FnMut(&'h KeyRange)) {
    if let Request::DeleteRange(delete) = request {
        visit(&delete.range);
    }
    each_op(request, &mut |op| {
        if let RequestOp::DeleteRange(delete) = op {
            visit(&delete.range);
        }
    });
}
