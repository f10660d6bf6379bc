//! `detcd disk`: a simulated disk in the figures that people measure real ones with (fio, as etcd's guide asks).

use serde::Serialize;

use crate::cli::DiskArgs;
use crate::engine;
use crate::exit::{Exit, Failure};
use crate::output::console;
use crate::output::lines::round;

/// fio's percentiles, in hundredths of a percent.
const PERCENTILES: [u64; 17] =
    [100, 500, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 9500, 9900, 9950, 9990, 9995, 9999];

/// etcd's guide: the 99th percentile of fdatasync should be below 10 ms.
const ETCD_P99_NANOS: u64 = 10_000_000;

#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    profile: &'a str,
    seed: u64,
    operations: u64,
    bytes: u64,
    min_us: f64,
    max_us: f64,
    mean_us: f64,
    stdev_us: f64,
    percentiles_us: serde_json::Map<String, serde_json::Value>,
    p99_below_10_ms: bool,
}

pub(super) fn execute(args: &DiskArgs) -> Result<Exit, Failure> {
    let mut nanos = engine::disk_latencies(&args.profile, args.seed, args.operations, args.bytes)?;
    nanos.sort_unstable();
    let (Some(first), Some(last)) = (nanos.first(), nanos.last()) else {
        return Err(Failure::usage(format!("the profile {} gave no latency", args.profile)));
    };
    let micros = |nanos: u64| round(nanos as f64 / 1e3);
    let count = nanos.len() as f64;
    let mean = nanos.iter().map(|nanos| *nanos as f64).sum::<f64>() / count;
    let variance = nanos.iter().map(|nanos| (*nanos as f64 - mean).powi(2)).sum::<f64>() / count;
    let p99_below_10_ms = percentile(&nanos, 9900) < ETCD_P99_NANOS;
    let points: Vec<(String, f64)> =
        PERCENTILES.iter().map(|point| (label(*point), micros(percentile(&nanos, *point)))).collect();

    if args.output.json {
        console::json(&Line {
            schema: "detcd.disk/1",
            profile: &args.profile,
            seed: args.seed,
            operations: args.operations,
            bytes: args.bytes,
            min_us: micros(*first),
            max_us: micros(*last),
            mean_us: round(mean / 1e3),
            stdev_us: round(variance.sqrt() / 1e3),
            percentiles_us: points.into_iter().map(|(label, micros)| (label, micros.into())).collect(),
            p99_below_10_ms,
        })?;
        return Ok(Exit::Pass);
    }
    console::line(&format!(
        "{}: {} appends of {} B, each with fdatasync (seed {})",
        args.profile, args.operations, args.bytes, args.seed
    ))?;
    console::line(&format!(
        "  sync (usec): min={:.1}, max={:.1}, avg={:.1}, stdev={:.1}",
        micros(*first),
        micros(*last),
        mean / 1e3,
        variance.sqrt() / 1e3
    ))?;
    console::line("  sync percentiles (usec):")?;
    for row in points.chunks(4) {
        let cells: Vec<String> = row.iter().map(|(label, micros)| format!("{label:>5}th=[{micros:>10.1}]")).collect();
        console::line(&format!("   | {}", cells.join(", ")))?;
    }
    let answer = if p99_below_10_ms { "yes" } else { "no" };
    console::line(&format!("  fast enough for etcd (99th percentile below 10 ms): {answer}"))?;
    Ok(Exit::Pass)
}

/// The smallest latency that at least `point` ten-thousandths of all do not exceed.
fn percentile(sorted: &[u64], point: u64) -> u64 {
    let rank = (sorted.len() as u64 * point).div_ceil(10_000).max(1);
    sorted[usize::try_from(rank - 1).expect("an index of a slice")]
}

fn label(point: u64) -> String {
    format!("{}.{:02}", point / 100, point % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let sorted: Vec<u64> = (1..=10_000).collect();
        for (point, value) in [(100, 100), (5000, 5000), (9900, 9900), (9999, 9999)] {
            assert_eq!(percentile(&sorted, point), value);
        }
        assert_eq!(percentile(&[7], 100), 7);
        assert_eq!(percentile(&[1, 2, 3], 5000), 2);
        assert_eq!(label(9995), "99.95");
    }
}
