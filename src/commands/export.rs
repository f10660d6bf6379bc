//! `detcd export`: a member's data dir, as it is at a moment of a run.

use serde::Serialize;

use super::target::Target;
use crate::cli::ExportArgs;
use crate::datadir;
use crate::engine::{self, At, Evidence, Kept, Standing};
use crate::exit::{Exit, Failure};
use crate::output::{console, human};
use crate::panics::caught;

/// `detcd.export/1`.
#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    scenario: &'a str,
    seed: u64,
    member: u64,
    /// The last event before.
    event: u64,
    time_ns: u64,
    kept: Kept,
    to: String,
    files: Vec<FileLine>,
    /// How far the member was, in memory; absent when it was down.
    running: Option<Standing>,
    /// How far a boot from the files is; absent when it refuses them.
    booted: Option<Standing>,
    /// Why a boot refuses the files.
    refused: Option<&'a str>,
    /// Whether the disk had broken a promise by then.
    harmed: bool,
    /// Faults that had fired by then.
    faults: &'a std::collections::BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct FileLine {
    path: String,
    bytes: u64,
    /// Bytes before the zeros at the end.
    data_bytes: u64,
}

pub(super) fn execute(args: &ExportArgs) -> Result<Exit, Failure> {
    datadir::must_be_vacant(&args.to)?;
    let target = Target::resolve(&args.target, &args.scenario, &args.world)?;
    if !args.output.quiet {
        let at = match args.at {
            At::End => "its end".to_owned(),
            At::Time(nanos) => human::time(nanos),
            At::Event(event) => format!("event {event}"),
        };
        eprintln!("detcd export: {} seed {} up to {at}", target.scenario.name, target.seed);
    }
    if let Some(recorded) = target.recorded.as_ref().filter(|recorded| recorded.is_from_other_code) {
        eprintln!("recorded by detcd {} from other sources: the run may be another one today", recorded.version);
    }
    let kept = if args.cached { Kept::Cached } else { Kept::Durable };
    let world = &target.scenario.world;
    let found = caught(|| engine::disk_of(world, target.seed, &target.options, args.member, args.at, kept));
    let found = found.map_err(|panic| Failure {
        exit: Exit::Panic,
        message: format!("the run panicked at {}: {}", panic.place, panic.message),
    })??;
    datadir::write(&args.to, &found.files)?;
    say(args, &target, kept, &found)?;
    Ok(Exit::Pass)
}

fn say(args: &ExportArgs, target: &Target, kept: Kept, found: &Evidence) -> Result<(), Failure> {
    if args.output.json {
        return console::json(&Line {
            schema: "detcd.export/1",
            scenario: &target.scenario.name,
            seed: target.seed,
            member: args.member,
            event: found.event,
            time_ns: found.nanos,
            kept,
            to: args.to.display().to_string(),
            files: files(found),
            running: found.running,
            booted: found.booted.as_ref().ok().copied(),
            refused: found.booted.as_ref().err().map(String::as_str),
            harmed: found.harmed,
            faults: &found.faults,
        });
    }
    let what = match kept {
        Kept::Durable => "as a power failure leaves it",
        Kept::Cached => "as a kill of the process leaves it",
    };
    console::line(&format!(
        "{} seed {}, n{} at {} (event {}), {what}",
        target.scenario.name,
        target.seed,
        args.member,
        human::time(found.nanos),
        found.event,
    ))?;
    for file in files(found) {
        console::line(&format!("  {:<56} {:>12} bytes, {:>9} of data", file.path, file.bytes, file.data_bytes))?;
    }
    match &found.running {
        Some(standing) => console::line(&format!("  in memory: {}", describe(standing)))?,
        None => console::line("  in memory: nothing, it is down")?,
    }
    match &found.booted {
        Ok(standing) => console::line(&format!("  a boot:    {}", describe(standing)))?,
        Err(reason) => console::line(&format!("  a boot:    refused: {reason}"))?,
    }
    if found.harmed {
        console::line("  the disk has broken a promise: what a sync called safe is gone, or is not what was written")?;
    }
    console::line(&format!("written to {}", args.to.display()))
}

fn files(found: &Evidence) -> Vec<FileLine> {
    let line = |(name, content): (&detcd_replica::FileName, &engine::FileContent)| FileLine {
        path: name.to_string(),
        bytes: content.length,
        data_bytes: content.data.len() as u64,
    };
    found.files.iter().map(line).collect()
}

fn describe(standing: &Standing) -> String {
    let Standing { term, commit, applied, consistent_index, revision, compact_revision } = standing;
    format!(
        "revision {revision} (compacted at {compact_revision}), term {term}, commit {commit}, applied {applied}, \
         consistent index {consistent_index}"
    )
}
