//! Kinds of disk: how long a sync takes, as mixtures fitted to published measurements (calibration dossier §3.3, §3.4).
//!
//! A profile's mixture is the latency of one small append and sync on an idle device. Queueing, bandwidth, IOPS limits
//! and what happens once in hours (stalls, degraded periods) stand beside it. Sources, and how good the fits are, stand
//! in the dossier; the tails of `efs`, `hdd` and `io2` above the 99th percentile are weakly supported.

use crate::distribution::{Mixture, Ratio, Shape};

/// Something that happens to a device now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Mean time between two, in nanoseconds.
    pub mean_gap: u64,
    /// How long one lasts.
    pub duration: Shape,
    /// And at most, in nanoseconds.
    pub cap: u64,
}

/// A kind of disk. Zero means without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name in scenarios.
    pub name: &'static str,
    /// Other names for it.
    pub aliases: &'static [&'static str],
    /// What it is.
    pub about: &'static str,
    /// One small append and sync on an idle device.
    pub latency: Mixture,
    /// Syncs served at once.
    pub lanes: usize,
    /// Share of syncs that must wait for all that the device is doing (a cache flush).
    pub barrier: Ratio,
    /// Bytes a second, for what a sync writes beyond the first 8 KiB.
    pub bandwidth: u64,
    /// I/O operations a second.
    pub iops: u64,
    /// Operations that one sync takes (data and journal).
    pub ios_per_sync: u64,
    /// For volumes with credits: operations a second once they are used up (`iops` is the burst then).
    pub baseline_iops: u64,
    /// What each further run of adjacent sectors costs, in nanoseconds.
    pub run_cost: u64,
    /// Times in which nothing completes.
    pub stalls: Option<Episode>,
    /// Times in which each sync takes 200 to 500 ms.
    pub degraded: Option<Episode>,
}

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const HOUR: u64 = 3_600 * 1_000 * MS;
const MB: u64 = 1_000_000;

const fn ln(median: u64, sigma_milli: u64) -> Shape {
    Shape::LogNormal { median, sigma_milli }
}

const fn pa(min: u64, alpha_milli: u64, cap: u64) -> Shape {
    Shape::Pareto { min, alpha_milli, cap }
}

const fn stall(mean_gap: u64, median: u64, sigma_milli: u64, cap: u64) -> Option<Episode> {
    Some(Episode { mean_gap, duration: ln(median, sigma_milli), cap })
}

/// Three minutes at a time, 0.73 % of the time (PlanetScale).
const EBS_DEGRADED: Option<Episode> =
    Some(Episode { mean_gap: 8 * HOUR + 2 * HOUR / 3, duration: ln(180_000 * MS, 700), cap: 600_000 * MS });

const PLAIN: Profile = Profile {
    name: "",
    aliases: &[],
    about: "",
    latency: Mixture { weights: &[], shapes: &[] },
    lanes: 32,
    barrier: Ratio::ZERO,
    bandwidth: 0,
    iops: 0,
    ios_per_sync: 2,
    baseline_iops: 0,
    run_cost: 0,
    stalls: None,
    degraded: None,
};

/// Every profile.
pub const PROFILES: [Profile; 17] = [
    Profile {
        name: "nvme",
        aliases: &["nvme_plp", "nvme-plp"],
        about: "local NVMe with power-loss protection, cloud instance store",
        latency: Mixture { weights: &[9985, 15], shapes: &[ln(150 * US, 450), pa(800 * US, 1600, 30 * MS)] },
        lanes: 16,
        bandwidth: 1200 * MB,
        iops: 100_000,
        run_cost: 20 * US,
        stalls: stall(24 * HOUR, 30 * MS, 800, 10_000 * MS),
        ..PLAIN
    },
    Profile {
        name: "nvme-consumer",
        aliases: &["nvme_consumer"],
        about: "consumer NVMe without power-loss protection",
        latency: Mixture { weights: &[995, 5], shapes: &[ln(1100 * US, 400), pa(3500 * US, 1800, 100 * MS)] },
        lanes: 1,
        barrier: Ratio::ONE,
        bandwidth: 1000 * MB,
        iops: 50_000,
        run_cost: 30 * US,
        stalls: stall(2 * HOUR, 80 * MS, 1000, 10_000 * MS),
        ..PLAIN
    },
    Profile {
        name: "sata",
        aliases: &["sata_ssd", "sata-ssd"],
        about: "consumer SATA SSD",
        latency: Mixture { weights: &[994, 6], shapes: &[ln(780 * US, 450), pa(8 * MS, 2200, 200 * MS)] },
        lanes: 1,
        barrier: Ratio::ONE,
        bandwidth: 400 * MB,
        iops: 20_000,
        run_cost: 100 * US,
        stalls: stall(HOUR, 60 * MS, 1000, 10_000 * MS),
        ..PLAIN
    },
    Profile {
        name: "sata-enterprise",
        aliases: &["sata_ssd_ent", "sata-ssd-ent"],
        about: "SATA SSD with power-loss protection",
        latency: Mixture { weights: &[9995, 5], shapes: &[ln(250 * US, 350), pa(MS, 1800, 30 * MS)] },
        bandwidth: 400 * MB,
        iops: 20_000,
        run_cost: 50 * US,
        ..PLAIN
    },
    Profile {
        name: "ibm-vm-ssd",
        aliases: &["ibm_vm_ssd"],
        about: "IBM Cloud VM SSD (the fio run of IBM's blog)",
        latency: Mixture {
            weights: &[560, 434, 6],
            shapes: &[ln(670 * US, 140), ln(1950 * US, 120), pa(8 * MS, 2200, 16 * MS)],
        },
        ..PLAIN
    },
    Profile {
        name: "crucial-m4",
        aliases: &["crucial_m4_fig16"],
        about: "the SSD of the Raft paper's election experiment",
        latency: Mixture { weights: &[1], shapes: &[Shape::Beta { min: 500 * US, width: 9800 * US, b: 3 }] },
        ..PLAIN
    },
    Profile {
        name: "ebs-gp3-idle",
        aliases: &["ebs_gp3_idle"],
        about: "AWS gp3 as fio sees it",
        latency: Mixture { weights: &[996, 4], shapes: &[ln(660 * US, 280), ln(2800 * US, 350)] },
        barrier: Ratio::new(15, 100),
        bandwidth: 125 * MB,
        iops: 3_000,
        run_cost: 50 * US,
        ..PLAIN
    },
    Profile {
        name: "ebs-gp3",
        aliases: &["ebs_gp3", "gp3"],
        about: "AWS gp3 as etcd sees it",
        latency: Mixture {
            weights: &[938, 60, 2],
            shapes: &[ln(680 * US, 220), ln(2800 * US, 350), pa(8 * MS, 1100, 1000 * MS)],
        },
        barrier: Ratio::new(15, 100),
        bandwidth: 125 * MB,
        iops: 3_000,
        run_cost: 50 * US,
        stalls: stall(HOUR / 4, 80 * MS, 1200, 4_000 * MS),
        degraded: EBS_DEGRADED,
        ..PLAIN
    },
    Profile {
        name: "ebs-gp2",
        aliases: &["ebs_gp2", "gp2"],
        about: "AWS gp2 of 100 GiB (etcd issue 9544), with its credit cliff",
        latency: Mixture {
            weights: &[9485, 500, 15],
            shapes: &[ln(440 * US, 415), ln(2600 * US, 220), ln(130 * MS, 900)],
        },
        barrier: Ratio::new(15, 100),
        bandwidth: 125 * MB,
        iops: 3_000,
        baseline_iops: 300,
        run_cost: 50 * US,
        stalls: stall(HOUR / 4, 80 * MS, 1200, 4_000 * MS),
        degraded: EBS_DEGRADED,
        ..PLAIN
    },
    Profile {
        name: "io2",
        aliases: &["ebs-io2", "ebs_io2bx"],
        about: "AWS io2 Block Express",
        latency: Mixture { weights: &[9995, 5], shapes: &[ln(420 * US, 220), pa(MS, 1800, 50 * MS)] },
        barrier: Ratio::new(1, 10),
        bandwidth: 1000 * MB,
        iops: 16_000,
        run_cost: 20 * US,
        stalls: stall(24 * HOUR, 50 * MS, 1000, 4_000 * MS),
        ..PLAIN
    },
    Profile {
        name: "azure-premium",
        aliases: &["azure_premium"],
        about: "Azure Premium SSD",
        latency: Mixture { weights: &[9995, 5], shapes: &[ln(2900 * US, 380), pa(15 * MS, 3000, 60 * MS)] },
        barrier: Ratio::new(15, 100),
        bandwidth: 125 * MB,
        iops: 5_000,
        run_cost: 50 * US,
        ..PLAIN
    },
    Profile {
        name: "vm-san",
        aliases: &["vm_san"],
        about: "virtual machine on shared storage (etcd issue 7312)",
        latency: Mixture {
            weights: &[9450, 532, 18],
            shapes: &[
                Shape::ShiftedLogNormal { shift: 2 * MS, median: 1300 * US, sigma_milli: 620 },
                ln(9900 * US, 250),
                pa(32 * MS, 750, 4000 * MS),
            ],
        },
        ..PLAIN
    },
    Profile {
        name: "efs",
        aliases: &["efs_nfs", "nfs"],
        about: "AWS EFS, NFS",
        latency: Mixture { weights: &[99, 1], shapes: &[ln(6 * MS, 500), pa(25 * MS, 1400, 5000 * MS)] },
        lanes: 8,
        barrier: Ratio::new(3, 10),
        bandwidth: 100 * MB,
        run_cost: 300 * US,
        stalls: stall(HOUR / 2, 400 * MS, 1200, 30_000 * MS),
        ..PLAIN
    },
    Profile {
        name: "hdd",
        aliases: &["hdd_7200"],
        about: "spinning disk, 7,200 rpm",
        latency: Mixture { weights: &[995, 5], shapes: &[ln(9 * MS, 280), pa(25 * MS, 2000, 1000 * MS)] },
        lanes: 1,
        barrier: Ratio::ONE,
        bandwidth: 120 * MB,
        run_cost: 3 * MS,
        stalls: stall(12 * HOUR, 400 * MS, 1000, 7_000 * MS),
        ..PLAIN
    },
    Profile {
        name: "hdd-etcd",
        aliases: &["hdd_etcd_10273"],
        about: "spinning disk under a whole etcd (etcd issue 10273)",
        latency: Mixture {
            weights: &[830, 165, 5],
            shapes: &[ln(24_500 * US, 140), ln(44 * MS, 270), pa(60 * MS, 3500, 4000 * MS)],
        },
        ..PLAIN
    },
    Profile {
        name: "kubeadm-slow",
        aliases: &["kubeadm_slow"],
        about: "a slow kubeadm node (etcd issue 12405)",
        latency: Mixture { weights: &[84, 14, 2], shapes: &[ln(620 * US, 250), ln(1700 * US, 700), ln(18 * MS, 700)] },
        ..PLAIN
    },
    Profile {
        name: "overloaded",
        aliases: &[],
        about: "an overloaded disk (etcd issue 8586)",
        latency: Mixture { weights: &[80, 20], shapes: &[ln(47 * MS, 220), ln(105 * MS, 480)] },
        ..PLAIN
    },
];

/// The profile of this name or alias.
pub fn profile(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name || profile.aliases.contains(&name))
}
