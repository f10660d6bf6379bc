//! What a process holds in memory: its peak over one run, and what it keeps after many.

use std::io;
use std::process::{Command, Stdio};

use crate::exit::{Exit, Failure};

const MIB: f64 = (1 << 20) as f64;

/// Runs one seed of a built-in scenario in a process of its own: its largest resident size, in MiB.
///
/// # Errors
/// When it cannot be started, or the run does not pass.
pub(super) fn peak_of_run(scenario: &str) -> Result<f64, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure {
        exit: Exit::OutputIo,
        message: format!("cannot measure {scenario} in a process of its own: {error}"),
    };
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let mut command = Command::new(program);
    command.args(["run", scenario, "--seeds", "1", "--keep", "none", "--json", "--quiet"]);
    let status = command.stdout(Stdio::null()).status().map_err(|error| failed(&error))?;
    if !status.success() {
        return Err(failed(&status));
    }
    Ok(crate::cpu::children_peak_bytes() as f64 / MIB)
}

/// What this process holds in memory now, in MiB.
///
/// # Errors
/// When this system has no `/proc`.
pub(super) fn resident() -> Result<f64, Failure> {
    let read = || {
        let statm = std::fs::read_to_string("/proc/self/statm")?;
        let pages = statm.split(' ').nth(1).and_then(|field| field.parse::<u64>().ok());
        pages.ok_or_else(|| io::Error::other("it has no second field"))
    };
    let pages = read()
        .map_err(|error| Failure { exit: Exit::OutputIo, message: format!("cannot read /proc/self/statm: {error}") })?;
    Ok((pages * crate::cpu::page_bytes()) as f64 / MIB)
}
