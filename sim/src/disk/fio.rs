//! etcd's disk test on a simulated disk: appends of 2,300 bytes, each followed by `fdatasync`.
//!
//! It is what `fio --rw=write --ioengine=sync --fdatasync=1 --size=22m --bs=2300` does (etcd's pre-flight check), on an
//! otherwise idle device and without episodes.

use std::collections::BTreeMap;

use bytes::Bytes;
use detcd_replica::{DiskCommand, FileName, OpId};

use crate::decide::Decider;

use super::{Completion, Disk, Episodes, Profile};

/// Appends: 22 MiB of them.
const APPENDS: u64 = 10_029;
const BLOCK: u64 = 2_300;

/// Those that fio prints, in hundredths of a per cent.
pub const FIO_PERCENTILES: [u64; 17] =
    [100, 500, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 9500, 9900, 9950, 9990, 9995, 9999];

/// What fio prints. Times in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FioReport {
    /// How many syncs were measured.
    pub syncs: u64,
    /// The shortest.
    pub min: u64,
    /// The longest.
    pub max: u64,
    /// The mean.
    pub mean: u64,
    /// The standard deviation.
    pub stdev: u64,
    /// Percentile (in hundredths of a per cent) and latency, as in [`FIO_PERCENTILES`].
    pub percentiles: Vec<(u64, u64)>,
    /// Syncs a second.
    pub iops: u64,
}

impl FioReport {
    /// The latency at this percentile (in hundredths of a per cent), if fio prints it.
    pub fn percentile(&self, hundredths: u64) -> Option<u64> {
        self.percentiles.iter().find(|row| row.0 == hundredths).map(|row| row.1)
    }
}

/// Runs the test on an idle disk of this kind.
pub fn fio(profile: &'static Profile, seed: u64) -> FioReport {
    let latencies = sync_latencies(profile, seed, APPENDS, BLOCK);
    let elapsed = latencies.iter().sum();
    report(latencies, elapsed)
}

/// The latencies of so many appends of so many bytes, each followed by fdatasync, on an idle disk of this kind.
pub fn sync_latencies(profile: &'static Profile, seed: u64, appends: u64, bytes: u64) -> Vec<u64> {
    let mut decider = Decider::new(seed, BTreeMap::new());
    let mut disk = Disk::new(1, profile, Episodes::Off, &mut decider);
    let file = FileName::Wal { seq: 0, index: 0 };
    let block = Bytes::from(vec![0x5a; bytes as usize]);
    disk.perform(0, OpId(0), DiskCommand::Create { file }, &mut decider);
    let mut now = 0;
    let mut latencies = Vec::with_capacity(appends as usize);
    for i in 0..appends {
        // Overwriting one block keeps the file small; the device sees no difference.
        let write = DiskCommand::Write { file, offset: 0, data: block.clone().into() };
        disk.perform(now, OpId(2 * i + 1), write, &mut decider);
        let performed = disk.perform(now, OpId(2 * i + 2), DiskCommand::Sync { file }, &mut decider);
        let end = performed.completes_at.expect("a sync completes");
        assert_eq!(disk.complete(end, OpId(2 * i + 2)), Completion::Done(Ok(())));
        latencies.push(end - now);
        now = end;
    }
    latencies
}

fn report(mut latencies: Vec<u64>, elapsed: u64) -> FioReport {
    latencies.sort_unstable();
    let n = latencies.len() as u64;
    let mean = latencies.iter().sum::<u64>() / n;
    let squares: u128 = latencies.iter().map(|&x| u128::from(x.abs_diff(mean)).pow(2)).sum();
    let rank = |hundredths: u64| (n * hundredths).div_ceil(10_000).max(1) as usize - 1;
    FioReport {
        syncs: n,
        min: latencies[0],
        max: latencies[latencies.len() - 1],
        mean,
        stdev: libm::sqrt((squares / u128::from(n)) as f64) as u64,
        percentiles: FIO_PERCENTILES.iter().map(|&p| (p, latencies[rank(p)])).collect(),
        iops: (u128::from(n) * 1_000_000_000 / u128::from(elapsed.max(1))) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile;
    use super::fio;

    #[test]
    fn fio_gives_the_percentiles_of_the_dossier() {
        // §3.3: p50 and p99 in microseconds.
        for (name, p50, p99) in [
            ("nvme_plp", 150, 440),
            ("nvme_consumer", 1_100, 3_080),
            ("sata", 780, 2_580),
            ("sata_ssd_ent", 250, 570),
            ("ibm_vm_ssd", 800, 2_590),
            ("crucial_m4_fig16", 2_500, 8_200),
            ("ebs-gp3-idle", 660, 1_330),
            ("ebs-gp3", 690, 4_150),
            ("ebs-gp2", 450, 3_200),
            ("io2", 420, 700),
            ("azure-premium", 2_900, 7_100),
            ("vm_san", 3_400, 12_800),
            ("efs", 6_000, 27_200),
            ("hdd", 9_000, 18_500),
            ("hdd_etcd_10273", 25_400, 70_000),
            ("kubeadm_slow", 650, 18_000),
            ("overloaded", 50_000, 232_000),
        ] {
            let report = fio(profile(name).expect("a profile"), 1);
            let check = |hundredths, expect: u64, percent| {
                let value = report.percentile(hundredths).expect("fio prints it");
                assert!(
                    value.abs_diff(expect * 1000) * 100 <= expect * 1000 * percent,
                    "{name} p{hundredths}: {value}"
                );
            };
            check(5000, p50, 5);
            check(9900, p99, 15);
            assert!(report.min <= report.mean && report.mean <= report.max && report.syncs == 10_029);
            assert!(report.percentiles.windows(2).all(|pair| pair[0].1 <= pair[1].1));
            assert!((report.iops * report.mean).abs_diff(1_000_000_000) < 30_000_000, "{name} {}", report.iops);
        }
    }
}
