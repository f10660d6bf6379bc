//! The command line: what may be typed, and what it means. Does no work.
//!
//! Every refusal is one line and exit code 2. Help has two levels: `-h` a line a flag, `--help` with reasons and
//! examples.

mod args;
mod go;
mod seeds;
mod serve;
mod sweep;
mod unserved;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

pub(crate) use args::{
    BenchArgs, BugsArgs, CheckArgs, CompletionsArgs, ConformArgs, DbArgs, DbKeys, DbPage, DbPath, DbWhat, DiskArgs,
    ExportArgs, ImportArgs, Keep, ModelArgs, OutputArgs, ReplayArgs, RunArgs, ScenariosArgs, SelftestArgs, WalArgs,
    WorldArgs,
};
pub(crate) use seeds::{parse_seed, SeedRange};
pub(crate) use serve::ServeArgs;
pub(crate) use sweep::{Axis, SweepArgs};
pub(crate) use unserved::ignored;

use crate::exit::{suggestion, Failure, EXIT_CODES};

const EXAMPLES: &str = "\
EXAMPLES
    detcd run                                   100 runs of `swarm` from a random seed
    detcd run --seed 42 --json                  one run, one JSON line, one summary line
    detcd run --seeds 0..2000 --jobs 8          what a CI job does all night
    detcd replay detcd-out/swarm-42/42/repro.toml
    detcd check jepsen.log --model cas-register";

const RUN_EXAMPLES: &str = "\
EXAMPLES
    detcd run                                          100 seeds of the built-in `swarm`
    detcd run --seed 0x5eed                            one seed
    detcd run --seed $(git rev-parse HEAD)             the commit is the seed
    detcd run --seeds 0..2000 --jobs 2 --json          a line of JSON a run, then a summary
    detcd run my.toml --set clients=32 --seeds 7..+50  50 seeds from 7 of a scenario of your own
    detcd run --bug mustsync_ignores_vote              does detcd see this bug?
    detcd run --seeds 0..50 --check-determinism        two processes, equal results?";

const REPLAY_EXAMPLES: &str = "\
EXAMPLES
    detcd replay detcd-out/swarm-42/42/repro.toml   that failure again, and its digest compared
    detcd replay detcd-out/swarm-42/42              the same
    detcd replay 42                                 seed 42 of `swarm`";

const CHECK_EXAMPLES: &str = "\
EXAMPLES
    detcd check etcd_000.log                       format and model recognised
    detcd check --model mutex lock.edn             judged as a lock
    detcd check --expected histories/expected.tsv  a table of files, models and verdicts";

const CONFORM_EXAMPLES: &str = "\
EXAMPLES
    detcd conform --etcd /usr/bin/etcd                     10,000 requests over ten seeds
    detcd conform --etcd ./etcd --seed 7 --requests 5000   one seed
    detcd conform --etcd ./etcd --seeds 0..100 --json      a line of JSON a seed, then what was exercised";

const SWEEP_EXAMPLES: &str = "\
EXAMPLES
    detcd sweep write-latency --over disk.profile=nvme,ebs-gp3,io2 --histogram wal_syncs
    detcd sweep leader-failover --over replica.election_ticks=5,10,20 --measures leaderless
    detcd sweep etcd-mix --over disk.profile=nvme,hdd --over replica.heartbeat_interval=50ms,100ms --json";

const SERVE_EXAMPLES: &str = "\
EXAMPLES
    detcd serve --data-dir data                                one member at localhost:2379
    etcdctl put greeting hello; etcdctl watch --rev 1 greeting  as with any etcd
    detcd serve --name a --listen-client-urls http://:12379 --listen-peer-urls http://127.0.0.1:12380 \\
        --initial-advertise-peer-urls http://127.0.0.1:12380 \\
        --initial-cluster a=http://127.0.0.1:12380,b=http://127.0.0.1:22380,c=http://127.0.0.1:32380
It is a proof of fidelity, not a product: members of a real etcd cannot join, and all data is in memory.";

const BUGS_EXAMPLES: &str = "\
EXAMPLES
    detcd bugs                                     every bug that a scenario is made to find
    detcd bugs M-18 mustsync_ignores_vote          these two
    detcd bugs --budget 1000 --json                1000 seeds a scenario, a line of JSON a bug
    detcd bugs M-27 --by linearizability           whether clients can see that one
    detcd bugs --in my.toml --in swarm             what these scenarios see of each bug";

const SELFTEST_EXAMPLES: &str = "\
EXAMPLES
    detcd selftest                                 a million operations of the pager
    detcd selftest --budget 10000000 --json        what a night does
    detcd selftest --from 412 --budget 1           story 412 again";

const EXPORT_EXAMPLES: &str = "\
EXAMPLES
    detcd export 42 --member 2 --to data                  n2 at the end of seed 42 of `swarm`
    detcd export 42 --member 2 --at 2.5s --to data        as a power failure after 2.5 s leaves it
    detcd export 42 --member 2 --at 8121 --cached --to d  as kill -9 after event 8121 leaves it
    detcd export detcd-out/swarm-42/42 --member 1 --to d  a recorded failure
    etcdutl snapshot status data/member/snap/db; etcd --data-dir data --force-new-cluster";

const IMPORT_EXAMPLES: &str = "\
EXAMPLES
    detcd import /var/lib/etcd                             members, revisions, keys, leases, HashKV
    detcd import data --states --json                      and every key at every revision
    detcd import data --force-new-cluster                  as `etcd --force-new-cluster` would start from it";

const DB_EXAMPLES: &str = "\
EXAMPLES
    detcd db data                                          what it is
    detcd db check data                                    is it sound?
    detcd db keys data --limit 10                          the first revisions
    detcd db keys data --bucket meta                       consistent index, term, compaction
    detcd db page data 3                                   one page";

const WAL_EXAMPLES: &str = "\
EXAMPLES
    detcd wal /var/lib/etcd                                every record
    detcd wal data --from 5000 --json                      entries from index 5000 on
    detcd wal data/member/wal/0000000000000000-0000000000000000.wal";

/// A deterministic etcd: a real Raft, WAL and MVCC cluster in a seeded world of partitions, crashes, skewed clocks and
/// slow disks, judged for linearizability. Every failure replays from its seed.
#[derive(Debug, Parser)]
#[command(name = "detcd", version, after_help = "Codes and examples: detcd --help", after_long_help = EXAMPLES)]
#[command(disable_help_subcommand = true, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// One verb for each question that a person asks.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Do these seeds pass? Runs a scenario, judges every run, keeps what is needed to replay failures.
    #[command(after_long_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Show me that failure again, exactly: runs a repro file (or one seed) and compares the digest.
    #[command(after_long_help = REPLAY_EXAMPLES)]
    Replay(ReplayArgs),
    /// Can detcd see them? Switches known bugs of etcd on, one at a time, and says what finds them how soon.
    #[command(after_long_help = BUGS_EXAMPLES)]
    Bugs(BugsArgs),
    /// What is on that member's disk then? Replays a run up to a moment and writes a data dir that etcd boots.
    #[command(after_long_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// What does this data dir hold? Boots its member and says what it serves.
    #[command(after_long_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// What is in this database? Buckets, keys, pages, and whether it is sound.
    #[command(after_long_help = DB_EXAMPLES)]
    Db(DbArgs),
    /// What is in this WAL? A line a record, from etcd's or from an exported data dir.
    #[command(after_long_help = WAL_EXAMPLES)]
    Wal(WalArgs),
    /// Is this history, recorded anywhere, linearizable?
    #[command(after_long_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Is it etcd? Asks a real etcd and a member of ours the same, and shows each difference between their answers.
    #[command(after_long_help = CONFORM_EXAMPLES)]
    Conform(ConformArgs),
    /// What does a timeout or a disk do to a cluster? The same seeds in every cell of a table of settings.
    #[command(after_long_help = SWEEP_EXAMPLES)]
    Sweep(SweepArgs),
    /// Convince yourself: serves the very member that is simulated, on real files and sockets, with etcd's flags.
    #[command(after_long_help = SERVE_EXAMPLES)]
    Serve(Box<ServeArgs>),
    /// Does it hold in every small world? Explores one exhaustively, with the same replica code.
    Model(ModelArgs),
    /// How fast is it? Runs, events and operations per CPU-second, against the bare Raft loop as the limit.
    Bench(BenchArgs),
    /// What is this simulated disk like? fio's percentiles of appends with fdatasync.
    Disk(DiskArgs),
    /// Do our own parts hold? Tells the pager random stories with crashes, beside an ordered map.
    #[command(after_long_help = SELFTEST_EXAMPLES)]
    Selftest(SelftestArgs),
    /// Which scenarios are built in? With a name: prints that file.
    Scenarios(ScenariosArgs),
    /// Prints a completion script for a shell.
    Completions(CompletionsArgs),
}

/// What was typed.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A command to execute.
    Command(Command),
    /// Help or version, to be printed.
    Help(String),
}

/// Parses the arguments of the process, the first of which is the program's name.
///
/// # Errors
/// One line that says what is wrong with them.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, Failure> {
    let known = definition().mut_subcommand("serve", go::without_empty_variables);
    let mut args: Vec<OsString> = args.into_iter().collect();
    if let [_, verb, words @ ..] = &args[..] {
        // Its flags are etcd's.
        if let Some(serve) = known.find_subcommand("serve").filter(|serve| verb == serve.get_name()) {
            let joined = go::joined(serve, words)?;
            args.splice(2.., joined);
        }
    }
    let matches = known.try_get_matches_from(args);
    let parsed = matches.and_then(|matches| <Cli as clap::FromArgMatches>::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => Ok(Parsed::Command(cli.command)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                Ok(Parsed::Help(error.render().to_string().trim_end().to_owned()))
            }
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
                Err(Failure::usage("no command given (detcd --help lists them; `detcd run` is a good start)"))
            }
            ErrorKind::InvalidSubcommand => {
                let line = one_line(&error.render().to_string());
                let word = line.split('\'').nth(1).unwrap_or_default();
                let definition = definition();
                let hint = suggestion(word, definition.get_subcommands().map(clap::Command::get_name));
                Err(Failure::usage(format!("no command `{word}`{hint} (detcd --help lists them)")))
            }
            _ => Err(Failure::usage(one_line(&error.render().to_string()))),
        },
    }
}

/// The command line as clap knows it, with the table of exit codes below each long help.
pub(crate) fn definition() -> clap::Command {
    let with_codes = |command: clap::Command| {
        let examples = command.get_after_long_help().map(|text| format!("{text}\n\n")).unwrap_or_default();
        command.after_long_help(format!("{examples}{EXIT_CODES}"))
    };
    with_codes(Cli::command().mut_subcommands(with_codes))
}

/// The reason and the hint of clap's report, without its usage paragraphs.
fn one_line(report: &str) -> String {
    let kept: Vec<&str> = report
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let line = kept.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).replace(" tip: ", "; tip: ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn refused(line: &str) -> String {
        let failure = parse(line.split_whitespace().map(OsString::from)).expect_err("it is wrong");
        assert_eq!(failure.exit, Exit::Usage);
        failure.to_string()
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (line, part) in [
            ("detcd", "no command"),
            ("detcd fly", "fly"),
            ("detcd run --sed 4", "--seed"),
            ("detcd run --seed x", "seed"),
            ("detcd run --seed 1 --seeds 0..2", "cannot be used with"),
            ("detcd run --jobs 0", "--jobs"),
            ("detcd run --set nodes", "path=value"),
            ("detcd run --bug mustsync_ignores_votes", "mustsync_ignores_vote"),
            ("detcd run --host mars", "madsim"),
            ("detcd run --keep some", "failures"),
            ("detcd disk", "PROFILE"),
            ("detcd replay", "REPRO"),
            ("detcd check", "FILE"),
            ("detcd check x --model regster", "register"),
            ("detcd completions dos", "bash"),
        ] {
            let message = refused(line);
            assert!(message.contains(part) && !message.contains('\n'), "{line}: {message}");
        }
    }

    #[test]
    fn every_long_help_has_the_exit_codes() {
        for command in [
            "run",
            "replay",
            "export",
            "import",
            "db",
            "wal",
            "check",
            "model",
            "bench",
            "disk",
            "selftest",
            "scenarios",
            "completions",
        ] {
            match parse(["detcd", command, "--help"].map(OsString::from)) {
                Ok(Parsed::Help(text)) => assert!(text.contains("EXIT CODES"), "{command}"),
                other => panic!("{command}: {other:?}"),
            }
        }
    }
}
