//! detcd's own history format: one JSON object a line.
//!
//! The first line is `{"schema":"detcd.history/1"}`; each further one is `{"operation":{…}}` or `{"watch":{…}}`, in the
//! order of [`History`]. Keys and values are strings where they are UTF-8, otherwise `{"hex":"00ff"}`. What is zero,
//! false or empty is left out. Fields that this version does not know are refused, and an error says in which line
//! and column and of which field. Reading what was written gives an equal history, but for the reasons of cancelled
//! watches, which are kept only when this version knows them.

mod blob;
mod cluster;
mod form;
mod refusal;
mod shared;
mod watch;

use std::fmt;
use std::io::{self, BufRead, Write};

use detcd_replica::history::History;
use serde::{Deserialize, Serialize};

use form::Line;
use shared::Shared;

/// The name and version of the format.
pub const SCHEMA: &str = "detcd.history/1";

/// Why a history could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it, with the field's name where there is one.
    pub message: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for ReadError {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    schema: String,
}

/// Writes a history.
pub fn write(history: &History, out: &mut impl Write) -> io::Result<()> {
    let mut line = |record: &dyn erased::Record| -> io::Result<()> {
        out.write_all(&record.json()?)?;
        out.write_all(b"\n")
    };
    line(&Head { schema: SCHEMA.to_owned() })?;
    for operation in &history.operations {
        line(&Line::Operation(Box::new(operation.into())))?;
    }
    for watch in &history.watches {
        line(&Line::Watch(Box::new(watch.into())))?;
    }
    Ok(())
}

mod erased {
    //! Anything that serde can write, behind a reference.

    pub(super) trait Record {
        fn json(&self) -> std::io::Result<Vec<u8>>;
    }

    impl<T: serde::Serialize> Record for T {
        fn json(&self) -> std::io::Result<Vec<u8>> {
            serde_json::to_vec(self).map_err(Into::into)
        }
    }
}

/// Whether a file that begins so is in this format, of whatever version.
pub fn recognises(first_line: &str) -> bool {
    serde_json::from_str::<Head>(first_line.trim()).is_ok_and(|head| head.schema.starts_with("detcd.history/"))
}

/// Operations after which it is known how long one is.
const SAMPLE: usize = 10_000;

/// Reads a history. `size` is what the input has in bytes, as far as that is known, and 0 otherwise: it is only to make
/// room.
pub fn read(mut input: impl BufRead, size: u64) -> Result<History, ReadError> {
    let (mut history, mut shared) = (History::default(), Shared::default());
    let mut text = String::new();
    let (mut number, mut taken) = (0, 0);
    loop {
        text.clear();
        number += 1;
        let error = |message: String| ReadError { line: number, message };
        let length = input.read_line(&mut text).map_err(|e| error(e.to_string()))?;
        if length == 0 {
            if number == 1 {
                return Err(error(format!("the file is empty; a history begins with {{\"schema\":\"{SCHEMA}\"}}")));
            }
            break;
        }
        taken += length as u64;
        let text = text.trim();
        if number == 1 {
            let head: Head = serde_json::from_str(text).map_err(|e| error(words(&e)))?;
            if head.schema != SCHEMA {
                return Err(error(format!("schema is `{}`, but this version reads `{SCHEMA}`", head.schema)));
            }
            continue;
        }
        if text.is_empty() {
            continue;
        }
        match serde_json::from_str(text).map_err(|e| error(words(&e)))? {
            Line::Operation(operation) => {
                let mut operation = (*operation).into();
                shared.in_operation(&mut operation);
                if history.operations.len() == SAMPLE {
                    // Room for the rest at once: a list of gigabytes is not moved again and again.
                    let each = (taken / SAMPLE as u64).max(1);
                    let rest = size.saturating_sub(taken) / each;
                    history.operations.reserve(usize::try_from(rest + rest / 32).unwrap_or(0));
                }
                history.operations.push(operation);
            }
            Line::Watch(watch) => {
                if watch.resumes.is_some_and(|resumed| resumed >= history.watches.len()) {
                    return Err(error("field `resumes`: there is no such watch before this one".to_owned()));
                }
                history.watches.push((*watch).into());
            }
        }
    }
    Ok(history)
}

/// serde's words, which name the field; each line is a document of its own, so that only the column is worth saying.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    format!("{what} (column {})", error.column())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use detcd_replica::api::{PutRequest, Request};
    use detcd_replica::history::Outcome;

    use super::*;
    use crate::linearizability::generate::{history, Shape};

    fn text(history: &History) -> String {
        let mut out = Vec::new();
        write(history, &mut out).expect("writing to memory does not fail");
        String::from_utf8(out).expect("JSON is text")
    }

    #[test]
    fn what_was_written_is_read() {
        for seed in 0..50 {
            let mut history = history(seed, Shape::SMALL);
            let key = Bytes::from_static(b"\xff\x00");
            let value = Bytes::from_static("snowman \u{2603}".as_bytes());
            history.operations[0].request =
                Request::Put(PutRequest { lease: -1, prev_kv: true, ..PutRequest::of(key, value) });
            let text = text(&history);
            assert!(recognises(text.lines().next().expect("there is a first line")));
            assert_eq!(read(text.as_bytes(), 0), Ok(history));
        }
    }

    #[test]
    fn every_error_is_read() {
        for (error, _) in refusal::ERRORS {
            let mut one = history(1, Shape::SMALL);
            one.operations[0].outcome = Outcome::Failed { at: 9, error };
            assert_eq!(read(text(&one).as_bytes(), 0), Ok(one));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let good = concat!(
            r#"{"operation":{"client":1,"member":1,"call":1,"request":{"put":{"key":"a","value":"b"}},"#,
            r#""outcome":{"unknown":{}}}}"#
        );
        assert!(read(format!("{{\"schema\":\"{SCHEMA}\"}}\n{good}\n").as_bytes(), 0).is_ok());
        for (line, expected) in [
            (good.replace("\"call\"", "\"cal\""), "unknown field `cal`"),
            (good.replace("\"call\":1,", ""), "missing field `call`"),
            (good.replace("\"call\":1", "\"call\":-1"), "invalid value: integer `-1`"),
            (good.replace("\"a\"", "{\"hex\":\"zz\"}"), "hex"),
            (good.replace("\"a\"", "{\"hex\":\"\u{e9}\"}"), "hex"),
            (good.replace("put", "putt"), "unknown variant `putt`"),
            (good.replace("{\"unknown\":{}}", "{\"failed\":{\"at\":1,\"error\":\"Odd\"}}"), "Odd"),
            (good[..40].to_owned(), "EOF"),
            ("7".to_owned(), "expected value"),
        ] {
            let error = read(format!("{{\"schema\":\"{SCHEMA}\"}}\n\n{line}\n").as_bytes(), 0).expect_err(&line);
            assert_eq!(error.line, 3, "{line}");
            assert!(error.message.contains(expected), "{line}: {error}");
        }
        for (head, expected) in [("", "empty"), ("{}", "schema"), ("{\"schema\":\"detcd.history/9\"}", "reads")] {
            let error = read(head.as_bytes(), 0).expect_err(head);
            assert!(error.message.contains(expected), "{head}: {error}");
        }
    }

    #[test]
    fn no_damage_panics() {
        let text = text(&history(3, Shape::SMALL)).into_bytes();
        let mut chance = crate::linearizability::generate::Chance(5);
        for _ in 0..2_000 {
            let mut text = text[..2_000].to_vec();
            for _ in 0..3 {
                let at = chance.below(text.len() as u64) as usize;
                text[at] = chance.below(256) as u8;
            }
            let _ = read(&text[..], 0);
        }
    }
}
