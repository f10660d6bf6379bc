//! `detcd serve`: the simulated member, on real files and sockets.

use crate::cli::ServeArgs;
use crate::exit::{Exit, Failure};
use crate::serve::serve;

pub(super) fn execute(args: &ServeArgs) -> Result<Exit, Failure> {
    serve(&args.options()?)
}
