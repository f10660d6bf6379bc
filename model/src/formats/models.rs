//! From calls to the operations of a machine.
//!
//! A failed call did not happen, and is left out; only a register's failed compare-and-set may say something (that
//! depends on the model). A read of unknown outcome says nothing.

use std::collections::BTreeMap;

use super::edn::Edn;
use super::events::{Call, End};
use super::{describe, Foreign, Format, FormatError, ModelName, Operations};
use crate::search::kv::{Action, Kv};
use crate::search::mutex::MutexOp;
use crate::search::register::RegisterOp;
use crate::search::Operation;

/// The machine whose operations have these names.
pub(super) fn guess(calls: &[Call], format: Format) -> Result<ModelName, FormatError> {
    let Some(first) = calls.first() else {
        // Nothing happened: any machine explains that.
        return Ok(ModelName::CasRegister);
    };
    match first.function.as_str() {
        "get" | "put" | "append" => Ok(ModelName::Kv),
        "acquire" | "release" => Ok(ModelName::Mutex),
        // In Jepsen's logs of etcd a failed compare-and-set is etcd's own answer that the value was another.
        "read" | "write" | "cas" if format == Format::JepsenLog => Ok(ModelName::Register),
        "read" | "write" | "cas" => Ok(ModelName::CasRegister),
        other => Err(FormatError::new(first.line, ":f", format!("no model has an operation named '{other}'"))),
    }
}

/// The history as operations of `model`.
pub(super) fn build(calls: &[Call], model: ModelName) -> Result<Foreign, FormatError> {
    match model {
        ModelName::Register | ModelName::CasRegister => register(calls, model),
        ModelName::Kv => kv(calls),
        ModelName::Mutex => mutex(calls),
        ModelName::Etcd => {
            let reason = "the model 'etcd' reads detcd's own histories, not this format".to_owned();
            Err(FormatError::new(1, "format", reason))
        }
    }
}

fn unknown_function<T>(call: &Call, model: ModelName) -> Result<T, FormatError> {
    let reason = format!("the model '{}' has no operation named '{}'", model.name(), call.function);
    Err(FormatError::new(call.line, ":f", reason))
}

/// When it returned, or `None` for an unknown outcome; a failed call has neither.
fn end_of(call: &Call) -> Option<Option<u64>> {
    match call.end {
        End::Ok(at, _) => Some(Some(at)),
        End::Unknown => Some(None),
        End::Failed(_) => None,
    }
}

fn register(calls: &[Call], model: ModelName) -> Result<Foreign, FormatError> {
    let mut numbers = BTreeMap::from([(&Edn::Nil, 0)]);
    let mut number = |value| {
        let next = u32::try_from(numbers.len()).expect("a text in memory has fewer than 2^32 values");
        *numbers.entry(value).or_insert(next)
    };
    let (mut operations, mut lines) = (Vec::new(), Vec::new());
    for call in calls {
        let mut end = end_of(call);
        let op = match (call.function.as_str(), &call.end) {
            ("read", End::Ok(_, value)) => RegisterOp::Read(number(value)),
            ("read", _) => continue,
            ("write", _) => RegisterOp::Write(number(&call.argument)),
            ("cas", ending) => {
                let Edn::Sequence(values) = &call.argument else {
                    let reason = format!("it is {}, where cas needs [old new]", call.argument.kind());
                    return Err(FormatError::new(call.line, ":value", reason));
                };
                let [from, to] = values.as_slice() else {
                    let reason = format!("it has {} values, where cas needs [old new]", values.len());
                    return Err(FormatError::new(call.line, ":value", reason));
                };
                match ending {
                    End::Failed(at) if model == ModelName::Register => {
                        end = Some(Some(*at));
                        RegisterOp::CasFailed(number(from))
                    }
                    _ => RegisterOp::Cas(number(from), number(to)),
                }
            }
            _ => return unknown_function(call, model),
        };
        let Some(end) = end else { continue };
        operations.push(Operation { op, call: call.at, end });
        lines.push(describe(call));
    }
    let mut names = vec![String::new(); numbers.len()];
    for (value, number) in numbers {
        names[number as usize] = value.to_string();
    }
    Ok(Foreign { model, operations: Operations::Register(operations, names), lines })
}

fn kv(calls: &[Call]) -> Result<Foreign, FormatError> {
    let mut keys = Vec::with_capacity(calls.len());
    for call in calls {
        keys.push(match &call.key {
            Some(Edn::Text(key)) => key.clone(),
            Some(key @ (Edn::Int(_) | Edn::Keyword(_))) => key.to_string(),
            Some(other) => {
                let reason = format!("it is {}, not a string", other.kind());
                return Err(FormatError::new(call.line, ":key", reason));
            }
            None => return Err(FormatError::new(call.line, ":key", "it is missing".to_owned())),
        });
    }
    let (mut actions, mut times, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for (call, key) in calls.iter().zip(&keys) {
        let action = match (call.function.as_str(), &call.end) {
            ("get", End::Ok(_, result)) => Action::Get(string(call, result)?),
            ("get", _) => Action::GetUnknown,
            ("put", _) => Action::Put(string(call, &call.argument)?),
            ("append", _) => Action::Append(string(call, &call.argument)?),
            _ => return unknown_function(call, ModelName::Kv),
        };
        let Some(end) = end_of(call) else { continue };
        actions.push((key.as_str(), action));
        times.push((call.at, end));
        lines.push(describe(call));
    }
    let (kv, ops) = Kv::new(&actions);
    let operations = ops.into_iter().zip(times).map(|(op, (call, end))| Operation { op, call, end }).collect();
    Ok(Foreign { model: ModelName::Kv, operations: Operations::Kv(kv, operations), lines })
}

/// The string of a value; nil, the value of a key that was never written, is the empty one.
fn string<'a>(call: &Call, value: &'a Edn) -> Result<&'a str, FormatError> {
    match value {
        Edn::Text(text) => Ok(text),
        Edn::Nil => Ok(""),
        other => {
            let reason = format!("it is {}, not a string", other.kind());
            Err(FormatError::new(call.line, ":value", reason))
        }
    }
}

fn mutex(calls: &[Call]) -> Result<Foreign, FormatError> {
    let (mut operations, mut lines) = (Vec::new(), Vec::new());
    for call in calls {
        let op = match call.function.as_str() {
            "acquire" => MutexOp::Acquire,
            "release" => MutexOp::Release,
            _ => return unknown_function(call, ModelName::Mutex),
        };
        let Some(end) = end_of(call) else { continue };
        operations.push(Operation { op, call: call.at, end });
        lines.push(describe(call));
    }
    Ok(Foreign { model: ModelName::Mutex, operations: Operations::Mutex(operations), lines })
}
