//! `detcd serve`: the simulated member, on real files and sockets.

use crate::cli::{self, ServeArgs};
use crate::exit::{Exit, Failure};
use crate::output::console;
use crate::serve::serve;

pub(super) fn execute(args: &ServeArgs) -> Result<Exit, Failure> {
    if let Some(version) = args.version() {
        console::line(&version)?;
        return Ok(Exit::Pass);
    }
    for line in cli::ignored(|name| std::env::var_os(name)) {
        eprintln!("detcd: {line}");
    }
    serve(&args.options()?)
}
