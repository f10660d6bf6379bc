//! The commands, one file each: what was typed in, an exit code out.

mod bench;
mod bugs;
mod check;
mod conform;
mod db;
mod disk;
mod export;
mod import;
mod model;
mod replay;
mod run;
mod scenarios;
mod selftest;
mod serve;
mod sweep;
mod target;
mod wal;

use std::io::Write;

use crate::cli::{self, Command, WorldArgs};
use crate::engine::{self, Host};
use crate::exit::{Exit, Failure};

/// Executes one command.
pub(crate) fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => run::execute(&args),
        Command::Replay(args) => replay::execute(&args),
        Command::Bugs(args) => bugs::execute(&args),
        Command::Export(args) => export::execute(&args),
        Command::Import(args) => import::execute(&args),
        Command::Db(args) => db::execute(&args),
        Command::Wal(args) => wal::execute(&args),
        Command::Check(args) => check::execute(&args),
        Command::Conform(args) => conform::execute(&args),
        Command::Serve(args) => serve::execute(&args),
        Command::Sweep(args) => sweep::execute(&args),
        Command::Model(args) => model::execute(&args),
        Command::Bench(args) => bench::execute(&args),
        Command::Disk(args) => disk::execute(&args),
        Command::Selftest(args) => selftest::execute(&args),
        Command::Scenarios(args) => scenarios::execute(&args),
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut cli::definition(), "detcd", &mut script);
            std::io::stdout().write_all(&script).map_err(|error| Failure::output("standard output", error))?;
            Ok(Exit::Pass)
        }
    }
}

/// The host that was asked for, or the best there is. One line on stderr says so when madsim is not part of the build.
fn host(args: &WorldArgs) -> Result<Host, Failure> {
    match args.host {
        Some(Host::Madsim) if !engine::has_madsim() => {
            Err(Failure::usage("--host madsim: this build is without madsim (it needs RUSTFLAGS=\"--cfg madsim\")"))
        }
        Some(host) => Ok(host),
        None if engine::has_madsim() => Ok(Host::Madsim),
        None => {
            eprintln!("detcd: built without --cfg madsim: the bare host runs the world, with the same digests");
            Ok(Host::Bare)
        }
    }
}

/// The flags that make this world again, each after a blank.
fn world_flags(world: &WorldArgs) -> String {
    let settings = world.settings.iter().map(|setting| format!(" --set {}", quoted(setting.text())));
    let bugs = world.bugs.iter().map(|bug| format!(" --bug {}", bug.name()));
    settings.chain(bugs).collect()
}

/// An argument as a shell reads it back.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
