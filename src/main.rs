//! `detcd`: the tool. Parses the command line, runs one command, and ends with one of the documented exit codes.
//!
//! Only this package prints, parses flags and touches real files, clocks and threads. What a replica, a world or a
//! judge is, it asks of the other packages through [`engine`], its one door to them.

mod allocator;
mod bench;
mod cli;
mod commands;
mod conform;
mod cpu;
mod datadir;
mod dice;
mod engine;
mod etcdpb;
mod exit;
mod grpc;
mod identity;
mod interrupt;
mod output;
mod panics;
mod run;
mod scenario;
mod serve;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    allocator::keep_memory();
    let exit = match cli::parse(std::env::args_os()) {
        Ok(cli::Parsed::Command(command)) => commands::dispatch(command),
        Ok(cli::Parsed::Help(text)) => output::console::line(&text).map(|()| exit::Exit::Pass),
        Err(failure) => Err(failure),
    };
    match exit {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("detcd: error: {failure}");
            failure.exit.into()
        }
    }
}
