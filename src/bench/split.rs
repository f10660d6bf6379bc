//! Where the CPU time of a piece of work goes, by part of the program: a sampling profile, each sample given to the
//! innermost function that belongs to a part.
//!
//! Memory that a part allocates and copies counts as that part's. What no part claims is `other`. A function is known
//! by the file it is written in: its name would be lost where it is inlined.

use std::collections::BTreeMap;

use pprof::ProfilerGuardBuilder;

use crate::exit::{Exit, Failure};
use crate::output::lines::round;

/// Samples in a second of CPU time. A prime, so that it does not beat with anything periodic.
const SAMPLES_PER_SECOND: i32 = 997;

/// The parts, by the source files of their functions. The first that fits counts.
const PARTS: &[(&str, &[&str])] = &[
    ("raft", &["/raft-0", "/raft-proto-", "/protobuf-", "replica/src/log.rs", "replica/src/replica/raft_loop.rs"]),
    ("wal", &["replica/src/wal/", "replica/src/snap/"]),
    ("backend", &["replica/src/backend/", "replica/src/pager/"]),
    ("mvcc", &["replica/src/mvcc/", "replica/src/wire/", "replica/src/lease/"]),
    ("replica", &["src/replica/src/"]),
    ("network", &["sim/src/net/"]),
    ("disk", &["sim/src/disk/"]),
    ("digest", &["sim/src/digest.rs", "/xxhash-rust-"]),
    ("clients", &["sim/src/client/", "sim/src/workload/"]),
    ("world", &["sim/src/", "/madsim-"]),
    ("checks", &["model/src/"]),
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
        let files = stack.frames.iter().flatten().filter_map(|symbol| symbol.filename.as_deref()?.to_str());
        let part = files.filter_map(part_of).next().unwrap_or("other");
        *samples.entry(part).or_default() += u64::try_from(*count).expect("a count is not negative");
    });
    let all = samples.values().sum::<u64>().max(1) as f64;
    Ok(samples.into_iter().map(|(part, count)| (part.to_owned(), round(count as f64 * 100.0 / all))).collect())
}

/// The part that a source file belongs to.
fn part_of(file: &str) -> Option<&'static str> {
    PARTS.iter().find(|(_, places)| places.iter().any(|place| file.contains(place))).map(|(part, _)| *part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_belong_to_parts() {
        for (file, part) in [
            ("/home/a/.cargo/registry/src/index/raft-0.7.0/src/raft.rs", Some("raft")),
            ("src/replica/src/log.rs", Some("raft")),
            ("/a/detcd/src/replica/src/replica/apply.rs", Some("replica")),
            ("/a/detcd/src/replica/src/mvcc/write.rs", Some("mvcc")),
            ("sim/src/digest.rs", Some("digest")),
            ("sim/src/world/perform.rs", Some("world")),
            ("model/src/judge.rs", Some("checks")),
            ("/rustc/abc/library/alloc/src/collections/btree/map.rs", None),
        ] {
            assert_eq!(part_of(file), part, "{file}");
        }
    }

    #[test]
    fn the_parts_are_there() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for (part, places) in PARTS {
            for place in places.iter().filter(|place| !place.starts_with('/')) {
                let path = if root.join(place).exists() { root.join(place) } else { root.join("src").join(place) };
                assert!(path.exists(), "{part}: {place}");
            }
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
