//! The flags of `detcd sweep`.

use std::num::NonZeroUsize;

use clap::Args;

use super::args::{OutputArgs, WorldArgs};
use super::seeds::SeedRange;
use crate::engine::Measures;
use crate::exit::suggestion;

/// One axis of the table: a path of the scenario, and its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    /// As in `--set`.
    pub(crate) path: String,
    /// In the order given.
    pub(crate) values: Vec<String>,
}

impl Axis {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}`: an axis is PATH=VALUE,VALUE like disk.profile=nvme,sata");
        let (path, values) = text.split_once('=').ok_or_else(wrong)?;
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        match path.trim().is_empty() || values.iter().any(String::is_empty) {
            true => Err(wrong()),
            false => Ok(Self { path: path.trim().to_owned(), values }),
        }
    }
}

/// `detcd sweep`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SweepArgs {
    /// A built-in scenario (`detcd scenarios`) or a TOML file
    pub(crate) scenario: String,

    /// An axis of the table (repeatable): a path as in --set, and its values
    #[arg(long, value_name = "PATH=V,V", value_parser = Axis::parse, required = true, help_heading = "Table")]
    pub(crate) over: Vec<Axis>,

    /// What is shown of each cell
    #[arg(long, value_name = "NAMES", value_parser = parse_measure, value_delimiter = ',', help_heading = "Table")]
    #[arg(default_value = "writes,wal_syncs,leaderless")]
    pub(crate) measures: Vec<String>,

    /// Show the histogram of a measure, too, with the cells side by side
    #[arg(long, value_name = "NAME", value_parser = parse_measure, help_heading = "Table")]
    pub(crate) histogram: Option<String>,

    /// Seeds A to B of every cell, without B [default: 0..20]
    #[arg(long, value_name = "A..B", help_heading = "Seeds")]
    pub(crate) seeds: Option<SeedRange>,

    /// Worker threads, one run a thread at a time [default: one a core]
    #[arg(long, value_name = "N", env = "DETCD_JOBS", help_heading = "Seeds")]
    pub(crate) jobs: Option<NonZeroUsize>,

    #[command(flatten)]
    pub(crate) world: WorldArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

fn parse_measure(text: &str) -> Result<String, String> {
    let names = Measures::default().named().map(|(name, _)| name);
    match names.contains(&text) {
        true => Ok(text.to_owned()),
        false => {
            let hint = suggestion(text, names);
            Err(format!("there is no measure `{text}`{hint} (there are: {})", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_is_a_path_and_its_values() {
        let axis = Axis::parse("disk.profile=nvme, sata").expect("an axis");
        assert_eq!((&axis.path[..], axis.values.len(), &axis.values[1][..]), ("disk.profile", 2, "sata"));
        for wrong in ["", "a", "=b", "a=", "a=b,,c"] {
            assert!(Axis::parse(wrong).is_err(), "{wrong}");
        }
    }
}
