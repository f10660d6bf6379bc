//! What the tool says: lines for programs, lines for people, and a folder for each run worth keeping.
//!
//! One set of facts ([`lines::RunLine`], [`lines::SummaryLine`]) feeds both forms. Nothing here runs a world or
//! judges it.

pub(crate) mod block;
pub(crate) mod bytes;
pub(crate) mod console;
pub(crate) mod entry;
pub(crate) mod folder;
pub(crate) mod human;
pub(crate) mod lines;
pub(crate) mod measures;
pub(crate) mod pair;
pub(crate) mod progress;
mod report;
pub(crate) mod repro;
