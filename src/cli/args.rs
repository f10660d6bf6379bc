//! The flags of each command, as clap derives them, grouped by heading.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use detcd_replica::Bug;

use super::seeds::{parse_seed, SeedRange};
use crate::engine::{At, CheckModel, Host};
use crate::exit::suggestion;
use crate::scenario::Setting;

/// Which finished runs leave a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Keep {
    /// Every run.
    All,
    /// Those that did not pass.
    Failures,
    /// No run.
    None,
}

impl Keep {
    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Failures => "failures",
            Self::None => "none",
        }
    }
}

/// What changes the world of a run, beside its seed.
#[derive(Clone, Debug, Args)]
pub(crate) struct WorldArgs {
    /// Set a field of the scenario
    ///
    /// The path goes through tables (`net.loss`) and arrays (`episodes.0.from`); the value is TOML, and a bare word
    /// is a string. Repeat it for more; a later one wins.
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = Setting::parse, help_heading = "World")]
    pub(crate) settings: Vec<Setting>,

    /// Switch a known bug on (repeatable), by name or number
    #[arg(long = "bug", value_name = "NAME", value_parser = parse_bug, help_heading = "World", long_help = bug_help())]
    pub(crate) bugs: Vec<Bug>,

    /// Who pumps the event queue; both give the same digests [default: madsim where it is built in]
    #[arg(long, value_enum, help_heading = "World", hide_possible_values = false)]
    pub(crate) host: Option<Host>,
}

/// `detcd run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// A built-in scenario (`detcd scenarios`) or a TOML file
    #[arg(default_value = "swarm")]
    pub(crate) scenario: String,

    /// One seed: decimal, 0x hexadecimal, or a git commit
    #[arg(long, value_name = "S", value_parser = parse_seed, conflicts_with = "seeds", help_heading = "Seeds")]
    pub(crate) seed: Option<u64>,

    /// Seeds A to B, without B; A..+N is N seeds from A [default: 100 from a random one]
    #[arg(long, value_name = "A..B", help_heading = "Seeds")]
    pub(crate) seeds: Option<SeedRange>,

    /// Run every seed in two processes with different environments, and compare
    ///
    /// The two differ in HOME, TZ, LANG, working directory, size of the environment and number of jobs. Any
    /// difference in digest, verdict or events is nondeterminism: exit 6, naming the seed.
    #[arg(long, help_heading = "Seeds")]
    pub(crate) check_determinism: bool,

    /// Stop at the first seed that does not pass
    #[arg(long, help_heading = "Seeds")]
    pub(crate) fail_fast: bool,

    /// Worker threads, one run a thread at a time [default: one a core]
    #[arg(long, value_name = "N", env = "DETCD_JOBS", help_heading = "Seeds")]
    pub(crate) jobs: Option<NonZeroUsize>,

    #[command(flatten)]
    pub(crate) world: WorldArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    /// Which runs leave a folder with repro, trace, history, verdict and report
    #[arg(long, value_enum, default_value = "failures", help_heading = "Output")]
    pub(crate) keep: Keep,

    /// Where folders are made, as DIR/RUN/SEED/
    #[arg(long, value_name = "DIR", default_value = "detcd-out", env = "DETCD_OUT", help_heading = "Output")]
    pub(crate) out: PathBuf,
}

/// What every command that prints results takes.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct OutputArgs {
    /// One JSON object a line on stdout, each with its schema
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    /// No progress on stderr
    #[arg(long, short, help_heading = "Output")]
    pub(crate) quiet: bool,
}

/// `detcd replay`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReplayArgs {
    /// A repro.toml, the folder it is in, or a seed
    #[arg(value_name = "REPRO|SEED")]
    pub(crate) target: String,

    /// The scenario of a seed; a repro file has its own
    #[arg(long, default_value = "swarm", help_heading = "World")]
    pub(crate) scenario: String,

    #[command(flatten)]
    pub(crate) world: WorldArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    /// Write the folder of this run to DIR/RUN/SEED/
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,
}

/// `detcd bugs`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BugsArgs {
    /// Which, by name or number [default: all that a scenario is made to find]
    #[arg(value_name = "NAME", value_parser = parse_bug)]
    pub(crate) names: Vec<Bug>,

    /// Only what this check finds counts, such as P3 or linearizability; what others find on a disk, in votes or in who
    /// leads is passed over
    #[arg(long, value_name = "CHECK", help_heading = "What")]
    pub(crate) by: Option<String>,

    /// Where: a built-in scenario or a file; may be given again [default: the scenarios that are made to find it]
    #[arg(long = "in", value_name = "SCENARIO", help_heading = "What")]
    pub(crate) scenarios: Vec<String>,

    /// Seeds to try in each scenario, from 0 on
    #[arg(long, value_name = "N", default_value = "500", help_heading = "Seeds")]
    pub(crate) budget: NonZeroU64,

    /// Worker threads, one run a thread at a time [default: one a core]
    #[arg(long, value_name = "N", env = "DETCD_JOBS", help_heading = "Seeds")]
    pub(crate) jobs: Option<NonZeroUsize>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `detcd conform`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConformArgs {
    /// The real etcd's binary, of release 3.5
    #[arg(long, value_name = "PATH", help_heading = "What")]
    pub(crate) etcd: PathBuf,

    /// Requests of each seed
    #[arg(long, value_name = "N", default_value = "1000", help_heading = "What")]
    pub(crate) requests: u64,

    /// Seeds at a time, each with a server of its own [default: one a core]
    #[arg(long, value_name = "N", env = "DETCD_JOBS", help_heading = "Seeds")]
    pub(crate) jobs: Option<NonZeroUsize>,

    /// One seed: decimal, 0x hexadecimal, or a git commit
    #[arg(long, value_name = "S", value_parser = parse_seed, conflicts_with = "seeds", help_heading = "Seeds")]
    seed: Option<u64>,

    /// Seeds A to B, without B [default: 0..10]
    #[arg(long, value_name = "A..B", help_heading = "Seeds")]
    seeds: Option<SeedRange>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

impl ConformArgs {
    /// The seeds to compare.
    pub(crate) fn seeds(&self) -> SeedRange {
        match (self.seed, &self.seeds) {
            (Some(seed), _) => SeedRange::new(seed, 1),
            (None, Some(seeds)) => seeds.clone(),
            (None, None) => SeedRange::new(0, 10),
        }
    }
}

/// `detcd export`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArgs {
    /// A repro.toml, the folder it is in, or a seed
    #[arg(value_name = "REPRO|SEED")]
    pub(crate) target: String,

    /// Whose data dir: 1, 2, 3 …
    #[arg(long, value_name = "N", value_parser = parse_member, help_heading = "What")]
    pub(crate) member: u64,

    /// When: a time since the run began (2.5s), the number of an event, or `end`
    #[arg(long, value_name = "TIME|EVENT", value_parser = At::parse, default_value = "end", help_heading = "What")]
    pub(crate) at: At,

    /// What a killed process leaves, page cache included, instead of what a power failure leaves
    #[arg(long, help_heading = "What")]
    pub(crate) cached: bool,

    /// The data dir to make; it must not exist, or be empty
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub(crate) to: PathBuf,

    /// The scenario of a seed; a repro file has its own
    #[arg(long, default_value = "swarm", help_heading = "World")]
    pub(crate) scenario: String,

    #[command(flatten)]
    pub(crate) world: WorldArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `detcd wal`.
#[derive(Clone, Debug, Args)]
pub(crate) struct WalArgs {
    /// A data dir, a folder of segments, or one segment
    #[arg(value_name = "DIR|FILE")]
    pub(crate) path: PathBuf,

    /// Only entries from this Raft index on, and no other records
    #[arg(long, value_name = "INDEX", help_heading = "What")]
    pub(crate) from: Option<u64>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `detcd db`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct DbArgs {
    #[command(subcommand)]
    pub(crate) what: Option<DbWhat>,

    /// A data dir or a database file: an overview of it
    #[arg(value_name = "DIR|FILE")]
    pub(crate) path: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What of a database.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DbWhat {
    /// Is it sound? Each page reachable once or free, keys in order, both metas whole.
    Check(DbPath),
    /// The buckets, with what they take.
    Buckets(DbPath),
    /// The keys of a bucket, in etcd's words.
    Keys(DbKeys),
    /// Every page, a line each.
    Pages(DbPath),
    /// One page with all that is on it.
    Page(DbPage),
    /// What `etcdutl snapshot status` says, and bbolt's statistics.
    Stats(DbPath),
}

/// A database.
#[derive(Clone, Debug, Args)]
pub(crate) struct DbPath {
    /// A data dir or a database file
    #[arg(value_name = "DIR|FILE")]
    pub(crate) path: PathBuf,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `detcd db keys`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DbKeys {
    #[command(flatten)]
    pub(crate) db: DbPath,

    /// Which bucket: key, meta, lease, members …
    #[arg(long, value_name = "NAME", default_value = "key", help_heading = "What")]
    pub(crate) bucket: String,

    /// Only keys that begin with this; `0x…` is hexadecimal
    #[arg(long, value_name = "PREFIX", default_value = "", value_parser = parse_prefix, help_heading = "What")]
    pub(crate) prefix: Prefix,

    /// At most so many
    #[arg(long, value_name = "N", help_heading = "What")]
    pub(crate) limit: Option<u64>,
}

/// Where keys begin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prefix(pub(crate) Vec<u8>);

/// `detcd db page`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DbPage {
    #[command(flatten)]
    pub(crate) db: DbPath,

    /// Its number
    #[arg(value_name = "N")]
    pub(crate) page: u64,
}

/// `detcd import`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ImportArgs {
    /// A data dir of etcd, or a file of `etcdctl snapshot save`
    #[arg(value_name = "DIR|SNAPSHOT")]
    pub(crate) path: PathBuf,

    /// Boot the member as the only one of a new cluster, without what its log has not committed
    ///
    /// Without it the member starts as it is, unless its cluster had other members, who are not here.
    #[arg(long, help_heading = "What")]
    pub(crate) force_new_cluster: bool,

    /// Take a file without comparing its hash: a copy of a database has none
    #[arg(long, help_heading = "What")]
    pub(crate) skip_hash_check: bool,

    /// Every key at every revision that is not compacted, a line a revision
    #[arg(long, help_heading = "What")]
    pub(crate) states: bool,

    /// Go on from it: run the clients and faults of a scenario
    ///
    /// The member of a data dir goes on as the first of the scenario, with its log, its id and its term; the others
    /// join it one after the other, with empty disks, before clients and faults begin. A saved database founds the
    /// cluster: each member begins with what `etcdutl snapshot restore` would give it. Judged is what clients see; what
    /// was before counts as seen.
    #[arg(long, value_name = "SCENARIO", help_heading = "World")]
    pub(crate) run: Option<String>,

    /// Where auth is on: the user, with the role root, that every client's certificate names
    #[arg(long, value_name = "NAME", requires = "run", help_heading = "World")]
    pub(crate) user: Option<String>,

    /// The seed of that run
    #[arg(long, value_name = "S", value_parser = parse_seed, default_value = "0", help_heading = "World")]
    pub(crate) seed: u64,

    #[command(flatten)]
    pub(crate) world: WorldArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `detcd check`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CheckArgs {
    /// Histories: Jepsen or porcupine logs, Knossos EDN, detcd's own JSONL
    #[arg(value_name = "FILE", required_unless_present = "expected")]
    pub(crate) files: Vec<PathBuf>,

    /// What they are judged as [default: recognised from the format]
    #[arg(long, value_enum, help_heading = "Checks")]
    pub(crate) model: Option<CheckModel>,

    /// Judge the history whole, not key by key
    #[arg(long, help_heading = "Checks")]
    pub(crate) no_partition: bool,

    /// A table of file, model and verdict to compare with; without FILE, all its files are checked
    #[arg(long, value_name = "TSV", help_heading = "Checks")]
    pub(crate) expected: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `detcd model`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ModelArgs {
    /// Stop after so many states; without it every state is reached
    #[arg(long, value_name = "N", help_heading = "Budget")]
    pub(crate) max_states: Option<u64>,

    /// Switch a known bug on (repeatable), by name or number
    #[arg(long = "bug", value_name = "NAME", value_parser = parse_bug, help_heading = "World")]
    pub(crate) bugs: Vec<Bug>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `detcd bench`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// Only the cases whose name contains this
    #[arg(value_name = "CASE")]
    pub(crate) case: Option<String>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `detcd selftest`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SelftestArgs {
    /// Operations to do; the last story is told to its end
    #[arg(long, value_name = "N", default_value = "1000000", help_heading = "Stories")]
    pub(crate) budget: NonZeroU64,

    /// The first story
    #[arg(long, value_name = "STORY", default_value = "0", help_heading = "Stories")]
    pub(crate) from: u64,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `detcd disk`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DiskArgs {
    /// A disk profile: nvme, sata, ebs-gp3, efs, hdd …
    #[arg(value_name = "PROFILE")]
    pub(crate) profile: String,

    /// The seed
    #[arg(long, value_name = "S", value_parser = parse_seed, default_value = "0", help_heading = "Load")]
    pub(crate) seed: u64,

    /// Appends
    #[arg(long, value_name = "N", default_value = "10029", value_parser = count(10_000_000), help_heading = "Load")]
    pub(crate) operations: u64,

    /// Bytes of each append
    #[arg(long, value_name = "N", default_value = "2300", value_parser = count(1 << 30), help_heading = "Load")]
    pub(crate) bytes: u64,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `detcd scenarios`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScenariosArgs {
    /// Print this one
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `detcd completions`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Text, or bytes in hexadecimal.
fn parse_prefix(text: &str) -> Result<Prefix, String> {
    let Some(hex) = text.strip_prefix("0x") else { return Ok(Prefix(text.as_bytes().to_vec())) };
    let digits = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> =
        hex.as_bytes().chunks(2).map(|pair| digits(pair).filter(|_| pair.len() == 2)).collect();
    bytes.map(Prefix).ok_or_else(|| "after 0x come pairs of hexadecimal digits".to_owned())
}

/// A member by its place: `2`, or `n2` as messages call it.
fn parse_member(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix('n').unwrap_or(text);
    match number.parse() {
        Ok(member) if member > 0 => Ok(member),
        _ => Err("a member is 1, 2, 3 …".to_owned()),
    }
}

/// The help of `--bug`: all there are.
fn bug_help() -> String {
    let names: Vec<String> = Bug::ALL.iter().map(|bug| format!("{} {}", bug.id(), bug.name())).collect();
    format!("Switch a known bug on (repeatable), by name or number:\n\n{}", names.join(", "))
}

fn parse_bug(text: &str) -> Result<Bug, String> {
    Bug::parse(text).ok_or_else(|| {
        let hint = suggestion(text, Bug::ALL.iter().map(|bug| bug.name()));
        let hint = if hint.is_empty() { "; `detcd run --help` lists them".to_owned() } else { hint };
        format!("no such bug{hint}")
    })
}

/// A number from 1 to `most`.
fn count(most: u64) -> clap::builder::RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=most)
}
