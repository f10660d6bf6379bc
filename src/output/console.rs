//! Standard output, whose errors are answers too: a full disk ends the command with its own exit code.

use std::io::{self, Write};

use serde::Serialize;

use crate::exit::Failure;

/// Writes one line (or one block of them) to stdout, whole.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.write_all(b"\n"))
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::output("standard output", error))
}

/// Writes one object as a line of JSON.
pub(crate) fn json(object: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(object).map_err(|error| Failure::output("standard output", error))?;
    line(&text)
}
