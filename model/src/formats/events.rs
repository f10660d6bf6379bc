//! From a text to calls: what each process did, and how it ended.
//!
//! It reads Jepsen's log lines, and EDN maps in a vector, in a list or one after another. Events of anything that is no
//! client (the nemesis) are left out. A call that ends in `:info`, or never, has an unknown outcome. What the
//! operations mean, it does not know.

use std::collections::BTreeMap;

use super::edn::{Edn, Fault, Reader};
use super::{Format, FormatError};

/// How a call ended, and the number of that event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It took effect, with this result.
    Ok(u64, Edn),
    /// It did not take effect.
    Failed(u64),
    /// Nobody knows.
    Unknown,
}

/// One call.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// The line that it was called in, and the one that it ended in.
    pub(super) line: usize,
    pub(super) end_line: Option<usize>,
    pub(super) process: i64,
    pub(super) function: String,
    pub(super) key: Option<Edn>,
    pub(super) argument: Edn,
    /// The number of the event of the call.
    pub(super) at: u64,
    pub(super) end: End,
}

/// The calls of a history, in order.
pub(super) fn read(text: &str, format: Format) -> Result<Vec<Call>, FormatError> {
    let mut calls = Pairing::default();
    match format {
        Format::JepsenLog => {
            for (number, line) in text.lines().enumerate() {
                if let Some(event) = log_line(line, number + 1)? {
                    calls.add(event)?;
                }
            }
        }
        Format::Edn => read_maps(text, &mut calls)?,
    }
    Ok(calls.calls)
}

/// One line of one process.
struct Event {
    line: usize,
    process: i64,
    kind: String,
    function: String,
    key: Option<Edn>,
    value: Option<Edn>,
}

#[derive(Default)]
struct Pairing {
    calls: Vec<Call>,
    open: BTreeMap<i64, usize>,
    events: u64,
}

impl Pairing {
    fn add(&mut self, event: Event) -> Result<(), FormatError> {
        let Event { line, process, kind, function, key, value } = event;
        let error = |field: &str, reason: String| Err(FormatError::new(line, field, reason));
        let at = self.events;
        self.events += 1;
        if kind == "invoke" {
            if let Some(&open) = self.open.get(&process) {
                let since = self.calls[open].line;
                return error(
                    ":process",
                    format!("process {process} invokes again before its operation of line {since} has ended"),
                );
            }
            self.open.insert(process, self.calls.len());
            let argument = value.unwrap_or(Edn::Nil);
            let end = End::Unknown;
            self.calls.push(Call { line, end_line: None, process, function, key, argument, at, end });
            return Ok(());
        }
        if !matches!(kind.as_str(), "ok" | "fail" | "info") {
            return error(":type", format!("':{kind}' is none of :invoke, :ok, :fail and :info"));
        }
        let Some(open) = self.open.remove(&process) else {
            return error(":process", format!("process {process} ends an operation that it never invoked"));
        };
        let call = &mut self.calls[open];
        if call.function != function {
            let reason = format!("process {process} ends ':{function}' but invoked ':{}'", call.function);
            return error(":f", reason);
        }
        call.end_line = Some(line);
        call.end = match kind.as_str() {
            "ok" => End::Ok(at, value.unwrap_or_else(|| call.argument.clone())),
            "fail" => End::Failed(at),
            _ => End::Unknown,
        };
        Ok(())
    }
}

/// The event of a line like `INFO  jepsen.util - 3 :invoke :write 4`; other lines of such a log have none.
fn log_line(line: &str, number: usize) -> Result<Option<Event>, FormatError> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let Some((head, rest)) = line.split_once(" - ") else {
        return Err(FormatError::new(number, "line", "it is no line of a Jepsen log: there is no ' - '".to_owned()));
    };
    if !head.contains("jepsen.util") {
        return Ok(None);
    }
    let offset = line.len() - rest.len();
    let mut reader = Reader::new(rest);
    let mut fields = Vec::with_capacity(4);
    while fields.len() < 4 {
        match reader.next_form() {
            Ok(Some(form)) => fields.push(form),
            Ok(None) => break,
            Err(fault) => {
                let column = line[..offset + fault.at].chars().count() + 1;
                return Err(FormatError::new(number, "line", fault.reason).at_column(column));
            }
        }
    }
    let mut fields = fields.into_iter();
    let Some(Edn::Int(process)) = fields.next() else { return Ok(None) };
    let kind = keyword(fields.next(), ":type", number)?;
    let function = keyword(fields.next(), ":f", number)?;
    Ok(Some(Event { line: number, process, kind, function, key: None, value: fields.next() }))
}

fn keyword(field: Option<Edn>, name: &str, line: usize) -> Result<String, FormatError> {
    match field {
        Some(Edn::Keyword(keyword)) => Ok(keyword),
        Some(other) => Err(FormatError::new(line, name, format!("it is {}, not a keyword", other.kind()))),
        None => Err(FormatError::new(line, name, "it is missing".to_owned())),
    }
}

fn read_maps(text: &str, calls: &mut Pairing) -> Result<(), FormatError> {
    let mut reader = Reader::new(text);
    let mut lines = Lines { text, at: 0, line: 1 };
    let located = |fault: Fault| located(text, fault);
    let mut close = None;
    loop {
        let Some((at, byte)) = reader.peek().map_err(located)? else {
            return match close {
                None => Ok(()),
                Some((line, _)) => {
                    Err(FormatError::new(line, "history", "its bracket is opened and never closed".to_owned()))
                }
            };
        };
        let line = lines.line_of(at);
        match (byte, close) {
            (b'[' | b'(', None) => {
                close = Some((line, if byte == b'[' { b']' } else { b')' }));
                reader.bump();
                continue;
            }
            (byte, Some((_, bracket))) if byte == bracket => {
                close = None;
                reader.bump();
                continue;
            }
            _ => {}
        }
        let form = reader.next_form().map_err(located)?;
        let form = form.expect("a form begins where peek saw a byte");
        let Edn::Map(entries) = form else {
            let reason = format!("it is {}, where a map of one event was expected", form.kind());
            return Err(FormatError::new(line, "event", reason));
        };
        if let Some(event) = map_event(entries, line)? {
            calls.add(event)?;
        }
    }
}

fn map_event(entries: Vec<(Edn, Edn)>, line: usize) -> Result<Option<Event>, FormatError> {
    let (mut process, mut kind, mut function, mut key, mut value) = (None, None, None, None, None);
    for (name, field) in entries {
        let Edn::Keyword(name) = name else { continue };
        let place = match name.as_str() {
            "process" => &mut process,
            "type" => &mut kind,
            "f" => &mut function,
            "key" => &mut key,
            "value" => &mut value,
            _ => continue,
        };
        if place.replace(field).is_some() {
            return Err(FormatError::new(line, &format!(":{name}"), "it is given twice".to_owned()));
        }
    }
    let process = match process {
        Some(Edn::Int(process)) => process,
        // The nemesis, or another that is no client.
        Some(Edn::Keyword(_)) => return Ok(None),
        Some(other) => {
            return Err(FormatError::new(line, ":process", format!("it is {}, not an integer", other.kind())));
        }
        None => return Err(FormatError::new(line, ":process", "it is missing".to_owned())),
    };
    let kind = keyword(kind, ":type", line)?;
    let function = keyword(function, ":f", line)?;
    Ok(Some(Event { line, process, kind, function, key, value }))
}

/// The lines of growing places in a text.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn line_of(&mut self, at: usize) -> usize {
        self.line += self.text.as_bytes()[self.at..at].iter().filter(|&&byte| byte == b'\n').count();
        self.at = at;
        self.line
    }
}

fn located(text: &str, fault: Fault) -> FormatError {
    let before = &text[..fault.at];
    let line = before.bytes().filter(|&byte| byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    FormatError::new(line, "event", fault.reason).at_column(column)
}
