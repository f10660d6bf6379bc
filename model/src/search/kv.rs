//! A map of strings: get, put and append, each on one key; a key that was never written holds the empty string.
//!
//! The value of a key is never built. What matters about it is which results of gets it is a beginning of: so it is the
//! range of those results, in sorted order, and its length. A value that begins no result is `Lost`: no get can tell
//! two of those apart, whatever is appended, so they are one state. This is exact, and spares most orders of appends.

use std::collections::BTreeMap;

use super::Specification;

/// What a call on the map did, in strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// The key was read, and held this.
    Get(&'a str),
    /// The key was read, with an unknown result.
    GetUnknown,
    /// The key was given this value.
    Put(&'a str),
    /// This was put at the end of the key's value.
    Append(&'a str),
}

/// The value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// It is the first `length` bytes of the key's results `low..high`, and of no others.
    Begins {
        /// The first of these results.
        low: u32,
        /// The one after the last.
        high: u32,
        /// In bytes.
        length: u32,
    },
    /// No get of the history returns it, or anything that begins with it.
    Lost,
}

/// An operation on the map: numbers of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvOp {
    /// The key held this result.
    Get {
        /// The key.
        key: u32,
        /// The number of the result.
        result: u32,
    },
    /// A get of unknown outcome, which says nothing.
    GetUnknown {
        /// The key.
        key: u32,
    },
    /// The key was given this value.
    Put {
        /// The key.
        key: u32,
        /// The value.
        value: Value,
    },
    /// This string was appended.
    Append {
        /// The key.
        key: u32,
        /// The number of the string.
        suffix: u32,
    },
}

/// The machine for one history: it holds the results of all gets, in order, by key.
#[derive(Clone, Debug, Default)]
pub struct Kv {
    /// For each key, the distinct results of its gets, sorted.
    results: Vec<Vec<Box<[u8]>>>,
    suffixes: Vec<Box<[u8]>>,
}

impl Kv {
    /// The machine for these calls, and each as an operation of it.
    pub fn new(calls: &[(&str, Action<'_>)]) -> (Self, Vec<KvOp>) {
        let mut keys = BTreeMap::<&str, Vec<&str>>::new();
        let mut suffixes = BTreeMap::<&str, u32>::new();
        for (key, action) in calls {
            let results = keys.entry(key).or_default();
            match action {
                Action::Get(result) => results.push(result),
                Action::Append(suffix) => {
                    suffixes.insert(suffix, 0);
                }
                Action::GetUnknown | Action::Put(_) => {}
            }
        }
        let mut kv = Self::default();
        let mut numbers = BTreeMap::new();
        for (key, mut results) in keys {
            results.sort_unstable();
            results.dedup();
            numbers.insert(key, to_u32(kv.results.len()));
            kv.results.push(results.into_iter().map(|result| result.as_bytes().into()).collect());
        }
        for (number, (suffix, place)) in suffixes.iter_mut().enumerate() {
            *place = to_u32(number);
            kv.suffixes.push(suffix.as_bytes().into());
        }
        let ops = calls.iter().map(|(key, action)| {
            let key = numbers[key];
            match *action {
                Action::Get(result) => {
                    let results = &kv.results[key as usize];
                    let result = results.partition_point(|other| **other < *result.as_bytes());
                    KvOp::Get { key, result: to_u32(result) }
                }
                Action::GetUnknown => KvOp::GetUnknown { key },
                Action::Put(value) => KvOp::Put { key, value: kv.extended(key, EMPTY, value.as_bytes()) },
                Action::Append(suffix) => KvOp::Append { key, suffix: suffixes[suffix] },
            }
        });
        let ops = ops.collect();
        (kv, ops)
    }

    /// The value that `value` of `key` becomes when `suffix` is put at its end.
    fn extended(&self, key: u32, value: Value, suffix: &[u8]) -> Value {
        let Value::Begins { low, high, length } = value else {
            return Value::Lost;
        };
        let all = &self.results[key as usize];
        let high = (high as usize).min(all.len());
        let range = &all[low as usize..high];
        // They agree in the first `length` bytes, so the order of the rests is theirs.
        let rest = |result: &[u8]| -> std::cmp::Ordering {
            let rest = &result[length as usize..];
            rest[..rest.len().min(suffix.len())].cmp(suffix)
        };
        let first = range.partition_point(|result| rest(result).is_lt());
        let count = range[first..].partition_point(|result| rest(result).is_eq());
        if count == 0 {
            return Value::Lost;
        }
        let first = low as usize + first;
        Value::Begins { low: to_u32(first), high: to_u32(first + count), length: length + to_u32(suffix.len()) }
    }

    /// The value, for people.
    pub fn describe(&self, key: u32, value: &Value) -> String {
        match *value {
            Value::Begins { length: 0, .. } => "\"\"".to_owned(),
            Value::Begins { low, length, .. } => {
                let bytes = &self.results[key as usize][low as usize][..length as usize];
                format!("{:?}", String::from_utf8_lossy(bytes))
            }
            Value::Lost => "a value that no get returned".to_owned(),
        }
    }
}

/// The empty string. All results begin with it; how many there are is not asked, so that every key has the same.
const EMPTY: Value = Value::Begins { low: 0, high: u32::MAX, length: 0 };

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).expect("a history in memory has fewer than 2^32 of anything")
}

impl Specification for Kv {
    type State = Value;
    type Op = KvOp;

    fn initial(&self) -> Value {
        EMPTY
    }

    fn step(&self, state: &Value, op: &KvOp) -> Option<Value> {
        match *op {
            KvOp::GetUnknown { .. } => Some(*state),
            KvOp::Put { value, .. } => Some(value),
            KvOp::Append { key, suffix } => Some(self.extended(key, *state, &self.suffixes[suffix as usize])),
            KvOp::Get { key, result } => {
                let Value::Begins { low, length, .. } = *state else {
                    return None;
                };
                // A result that the value begins and that is no longer is the first in order of those it begins.
                let whole = self.results[key as usize][result as usize].len();
                (low == result && length as usize == whole).then_some(*state)
            }
        }
    }

    fn is_pure(&self, op: &KvOp) -> bool {
        matches!(op, KvOp::Get { .. } | KvOp::GetUnknown { .. })
    }

    fn component(&self, op: &KvOp) -> u32 {
        match *op {
            KvOp::Get { key, .. } | KvOp::GetUnknown { key } | KvOp::Put { key, .. } | KvOp::Append { key, .. } => key,
        }
    }
}
