//! Where the CPU time of a piece of work goes, by part of the program: a sampling profile, each sample given to the
//! innermost function that belongs to a part.
//!
//! Memory that a part allocates and copies counts as that part's. What no part claims is `other`. The functions are
//! known by their names, so a part is a list of paths.

use std::collections::BTreeMap;

use pprof::ProfilerGuardBuilder;

use crate::exit::{Exit, Failure};

/// Samples in a second of CPU time. A prime, so that it does not beat with anything periodic.
const SAMPLES_PER_SECOND: i32 = 997;

/// The parts, by the paths of their functions. The first that fits counts.
const PARTS: &[(&str, &[&str])] = &[
    ("raft", &["raft::", "raft_proto::", "protobuf::", "detcd_replica::log::"]),
    ("wal", &["detcd_replica::wal::", "detcd_replica::snap::"]),
    ("backend", &["detcd_replica::backend::", "detcd_replica::pager::"]),
    ("mvcc", &["detcd_replica::mvcc::", "detcd_replica::wire::", "detcd_replica::lease::"]),
    ("replica", &["detcd_replica::"]),
    ("network", &["detcd_sim::net::"]),
    ("disk", &["detcd_sim::disk::"]),
    ("digest", &["detcd_sim::digest::", "xxhash_rust::"]),
    ("clients", &["detcd_sim::client::", "detcd_sim::workload::"]),
    ("world", &["detcd_sim::", "madsim::"]),
    ("checks", &["detcd_model::"]),
];

/// Runs `work` and says what share of its CPU time each part took, in percent.
///
/// # Errors
/// When this system has no profiling timer.
pub(super) fn profiled(work: impl FnOnce() -> Result<(), Failure>) -> Result<BTreeMap<String, f64>, Failure> {
    let refuse = |error: pprof::Error| Failure { exit: Exit::OutputIo, message: format!("cannot profile: {error}") };
    let profiler = ProfilerGuardBuilder::default().frequency(SAMPLES_PER_SECOND).build().map_err(refuse)?;
    work()?;
    let report = profiler.report().build().map_err(refuse)?;
    let mut samples: BTreeMap<&str, u64> = BTreeMap::new();
    // In no order; sums do not care.
    report.data.iter().for_each(|(stack, count)| {
        let names = stack.frames.iter().flatten().map(pprof::Symbol::name);
        let part = names.filter_map(|name| part_of(&name)).next().unwrap_or("other");
        *samples.entry(part).or_default() += u64::try_from(*count).expect("a count is not negative");
    });
    let all = samples.values().sum::<u64>().max(1) as f64;
    Ok(samples.into_iter().map(|(part, count)| (part.to_owned(), count as f64 * 100.0 / all)).collect())
}

/// The part that a function belongs to. Names look like `a::b::c` or `<a::B as c::D>::e`; the type says whose it is.
fn part_of(function: &str) -> Option<&'static str> {
    let path = function.trim_start_matches(['<', '&', '(']);
    let fits = |prefixes: &&[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    PARTS.iter().find(|(_, prefixes)| fits(prefixes)).map(|(part, _)| *part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_belong_to_parts() {
        for (function, part) in [
            ("raft::raft::Raft<T>::step", Some("raft")),
            ("<detcd_replica::log::LogStorage as raft::storage::Storage>::entries", Some("raft")),
            ("detcd_replica::replica::apply::<impl detcd_replica::replica::Replica>::apply_run", Some("replica")),
            ("detcd_replica::mvcc::write::WriteTxn::put", Some("mvcc")),
            ("<detcd_sim::digest::Digest as core::fmt::Debug>::fmt", Some("digest")),
            ("alloc::collections::btree::map::BTreeMap<K,V,A>::insert", None),
        ] {
            assert_eq!(part_of(function), part, "{function}");
        }
    }

    #[test]
    fn a_busy_loop_is_found() {
        let mut sum = 0u64;
        let parts = profiled(|| {
            let from = crate::cpu::process_time();
            while (crate::cpu::process_time() - from).as_millis() < 100 {
                sum = std::hint::black_box(sum.wrapping_add(1));
            }
            Ok(())
        })
        .expect("this system profiles");
        let all: f64 = parts.values().sum();
        assert!((99.0..101.0).contains(&all), "the shares make a whole: {parts:?}");
    }
}
