//! What a member counts, under etcd's names, in the text form of Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::process;

/// Upper bounds of a histogram of disk latency: 1 ms, doubled up to 8.192 s, as etcd's.
const BOUNDS: usize = 14;

/// A histogram of disk latency.
#[derive(Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS],
    count: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Histogram {
    /// It took so long.
    pub(super) fn observe(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bound = (0..BOUNDS).find(|bound| nanoseconds <= 1_000_000 << bound);
        if let Some(bound) = bound {
            self.buckets[bound].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    fn write(&self, name: &str, help: &str, out: &mut String) {
        head(name, help, "histogram", out);
        let mut below = 0;
        for (bound, bucket) in self.buckets.iter().enumerate() {
            below += bucket.load(Ordering::Relaxed);
            let seconds = (1_u64 << bound) as f64 / 1000.0;
            line(format_args!("{name}_bucket{{le=\"{seconds}\"}} {below}"), out);
        }
        let count = self.count.load(Ordering::Relaxed);
        line(format_args!("{name}_bucket{{le=\"+Inf\"}} {count}"), out);
        let seconds = Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)).as_secs_f64();
        line(format_args!("{name}_sum {seconds}"), out);
        line(format_args!("{name}_count {count}"), out);
    }
}

/// What is counted as it happens.
#[derive(Default)]
pub(super) struct Metrics {
    /// Syncs of the log.
    pub(super) wal_fsync: Histogram,
    /// Commits of the backend, from the first sync to the end of the last.
    pub(super) backend_commit: Histogram,
    /// Leaders that this member has seen, one after the other.
    pub(super) leader_changes: AtomicU64,
}

/// What is looked up when somebody asks.
pub(super) struct Looked {
    pub(super) version: String,
    pub(super) has_leader: bool,
    pub(super) is_leader: bool,
    pub(super) is_learner: bool,
    pub(super) db_size: u64,
    pub(super) db_size_in_use: u64,
    pub(super) quota: i64,
    pub(super) applied: u64,
    pub(super) committed: u64,
    pub(super) revision: i64,
    pub(super) compact_revision: i64,
}

impl Metrics {
    /// All of them as text.
    pub(super) fn text(&self, looked: &Looked) -> String {
        let mut out = String::new();
        let fsync = "The latency distributions of fsync called by WAL.";
        self.wal_fsync.write("etcd_disk_wal_fsync_duration_seconds", fsync, &mut out);
        let commit = "The latency distributions of commit called by backend.";
        self.backend_commit.write("etcd_disk_backend_commit_duration_seconds", commit, &mut out);
        let changes = self.leader_changes.load(Ordering::Relaxed);
        for (name, kind, help, value) in [
            ("etcd_server_has_leader", "gauge", "Whether or not a leader exists.", u64::from(looked.has_leader)),
            ("etcd_server_is_leader", "gauge", "Whether or not this member leads.", u64::from(looked.is_leader)),
            (
                "etcd_server_is_learner",
                "gauge",
                "Whether or not this member has no vote.",
                u64::from(looked.is_learner),
            ),
            ("etcd_server_leader_changes_seen_total", "counter", "The number of leader changes seen.", changes),
            ("etcd_server_proposals_applied_total", "gauge", "The index that is applied.", looked.applied),
            ("etcd_server_proposals_committed_total", "gauge", "The index that is committed.", looked.committed),
            ("etcd_mvcc_db_total_size_in_bytes", "gauge", "Bytes of the database's file.", looked.db_size),
            (
                "etcd_mvcc_db_total_size_in_use_in_bytes",
                "gauge",
                "Bytes of the database that are in use.",
                looked.db_size_in_use,
            ),
            (
                "etcd_debugging_mvcc_current_revision",
                "gauge",
                "The revision of the store.",
                looked.revision.unsigned_abs(),
            ),
            (
                "etcd_debugging_mvcc_compact_revision",
                "gauge",
                "The revision that is compacted.",
                looked.compact_revision.max(0).unsigned_abs(),
            ),
        ] {
            head(name, help, kind, &mut out);
            line(format_args!("{name} {value}"), &mut out);
        }
        let name = "etcd_server_quota_backend_bytes";
        head(name, "The quota of the database in bytes, less than 0 for none.", "gauge", &mut out);
        line(format_args!("{name} {}", looked.quota), &mut out);
        head("etcd_server_version", "The version of the server.", "gauge", &mut out);
        line(format_args!("etcd_server_version{{server_version=\"{}\"}} 1", looked.version), &mut out);
        process::write(&mut out);
        out
    }
}

/// What is said of a metric before its values.
pub(super) fn head(name: &str, help: &str, kind: &str, out: &mut String) {
    line(format_args!("# HELP {name} {help}"), out);
    line(format_args!("# TYPE {name} {kind}"), out);
}

/// One value.
pub(super) fn line(text: std::fmt::Arguments<'_>, out: &mut String) {
    writeln!(out, "{text}").expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_below_its_bounds() {
        let histogram = Histogram::default();
        for millis in [0, 1, 3, 9_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let mut text = String::new();
        histogram.write("h", "help", &mut text);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..5],
            [
                "# HELP h help",
                "# TYPE h histogram",
                "h_bucket{le=\"0.001\"} 2",
                "h_bucket{le=\"0.002\"} 2",
                "h_bucket{le=\"0.004\"} 3"
            ]
        );
        assert_eq!(lines[15..], ["h_bucket{le=\"8.192\"} 3", "h_bucket{le=\"+Inf\"} 4", "h_sum 9.004", "h_count 4"]);
    }
}
