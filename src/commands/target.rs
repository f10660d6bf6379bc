//! What a command is to run: a seed of a scenario, or the run that a repro file records.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use detcd_replica::{Bug, Bugs};

use super::{host, quoted, world_flags};
use crate::cli::{parse_seed, WorldArgs};
use crate::engine::{Host, Judges, RunOptions, World};
use crate::exit::{suggestion, Failure};
use crate::output::repro::{self, Expected, Repro};
use crate::scenario::Scenario;
use crate::{engine, identity};

/// What a repro file recorded, beside the run itself.
pub(super) struct Recorded {
    /// What the run must give.
    pub(super) expected: Expected,
    /// The detcd that recorded it.
    pub(super) version: String,
    /// Whether that was other code than this.
    pub(super) is_from_other_code: bool,
}

/// One run, and how to ask for it.
pub(super) struct Target {
    /// The scenario.
    pub(super) scenario: Scenario<World>,
    /// The seed.
    pub(super) seed: u64,
    /// Bugs, host, overrides; with the trace.
    pub(super) options: RunOptions,
    /// What the file says of it; `None` for a seed.
    pub(super) recorded: Option<Recorded>,
    /// The arguments that name this run on the command line.
    pub(super) words: String,
}

impl Target {
    /// Finds out what `target` names: a repro file, the folder of one, or else a seed of `scenario`.
    ///
    /// # Errors
    /// One line, exit 2.
    pub(super) fn resolve(target: &str, scenario: &str, world: &WorldArgs) -> Result<Self, Failure> {
        let path = Path::new(target);
        let looks_like_a_path = path.components().count() > 1 || path.extension().is_some() || path.exists();
        if looks_like_a_path {
            let file = if path.is_dir() { path.join("repro.toml") } else { path.to_owned() };
            return Self::of_file(&file, scenario, world);
        }
        let seed = parse_seed(target)
            .map_err(|reason| Failure::usage(format!("{target}: no such file, and as a seed: {reason}")))?;
        Ok(Self {
            scenario: engine::load(scenario, &world.settings)?,
            seed,
            options: RunOptions {
                bugs: world.bugs.iter().copied().collect(),
                judges: Judges::All,
                host: host(world)?,
                trace: true,
                overrides: BTreeMap::new(),
                past: None,
            },
            recorded: None,
            words: words(seed, scenario, world),
        })
    }

    fn of_file(file: &PathBuf, scenario: &str, world: &WorldArgs) -> Result<Self, Failure> {
        let origin = file.display().to_string();
        if !world.settings.is_empty() || !world.bugs.is_empty() || scenario != "swarm" {
            let reason = format!("{origin} says what to run: --scenario, --set and --bug are for a seed");
            return Err(Failure::usage(reason));
        }
        let bytes = std::fs::read(file).map_err(|error| Failure::usage(format!("repro {origin}: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|_| Failure::usage(format!("repro {origin}: not UTF-8")))?;
        // Twice: as plain TOML, which a folder embeds again, and as the world reads it.
        let mut repro: Repro<World> = repro::read(&origin, &text)?;
        let plain: Repro<toml::Table> = repro::read(&origin, &text)?;
        engine::prepare(&mut repro.scenario, &plain.scenario)?;
        let bugs = repro.bugs.iter().map(|name| bug(&origin, &text, name)).collect::<Result<Bugs, Failure>>()?;
        let recorded = Recorded {
            is_from_other_code: repro.is_from_other_code(),
            version: version(&repro),
            expected: repro.expected,
        };
        Ok(Self {
            scenario: Scenario { name: repro.name, table: plain.scenario, world: repro.scenario },
            seed: repro.seed,
            options: RunOptions {
                bugs,
                judges: Judges::All,
                host: host_of(world, repro.host)?,
                trace: true,
                overrides: repro.overrides,
                past: None,
            },
            recorded: Some(recorded),
            words: quoted(&origin),
        })
    }
}

/// The arguments that name a seed's run.
pub(super) fn words(seed: u64, scenario: &str, world: &WorldArgs) -> String {
    let scenario = if scenario == "swarm" { String::new() } else { format!(" --scenario {}", quoted(scenario)) };
    format!("{seed}{scenario}{}", world_flags(world))
}

/// The file's host, unless the command line or the build says otherwise: the digests are the same.
fn host_of(world: &WorldArgs, recorded: Host) -> Result<Host, Failure> {
    match world.host {
        None if recorded == Host::Bare || engine::has_madsim() => Ok(recorded),
        _ => host(world),
    }
}

fn version(repro: &Repro<World>) -> String {
    match &repro.commit {
        Some(commit) if Some(commit.as_str()) != identity::commit() => format!("{} at commit {commit}", repro.detcd),
        _ => repro.detcd.clone(),
    }
}

fn bug(origin: &str, text: &str, name: &str) -> Result<Bug, Failure> {
    Bug::parse(name).ok_or_else(|| {
        let hint = suggestion(name, Bug::ALL.iter().map(|bug| bug.name()));
        let line = text.lines().position(|line| line.contains(name)).map_or(1, |line| line + 1);
        let column = text.lines().nth(line - 1).and_then(|line| line.find(name)).map_or(1, |at| at + 1);
        Failure::usage(format!("{origin}:{line}:{column}: `bugs`: unknown bug `{name}`{hint}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_for_a_seed_name_all_that_it_needs() {
        let world = WorldArgs {
            settings: vec![crate::scenario::Setting::parse("net.loss=0.5").expect("sound")],
            bugs: vec![Bug::MustsyncIgnoresVote],
            host: None,
        };
        assert_eq!(
            words(7, "my file.toml", &world),
            "7 --scenario 'my file.toml' --set net.loss=0.5 --bug mustsync_ignores_vote"
        );
        let plain = WorldArgs { settings: Vec::new(), bugs: Vec::new(), host: None };
        assert_eq!(words(7, "swarm", &plain), "7");
    }
}
