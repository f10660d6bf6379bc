//! What the process itself takes of the machine, under the names and with the meanings of Go's client library, which
//! every etcd has in its metrics: `etcdctl check datascale` reads one of them.
//!
//! Promises: what is not known is left out, and never 0. All of it comes from Linux's `/proc/self`; elsewhere there is
//! none. It does not know the member.

use std::fs;

use super::metrics::{head, line};

/// Ticks of `/proc`'s times in a second; the same on every Linux, whatever the kernel's own tick is.
const TICKS: f64 = 100.0;

/// What `/proc/self` says.
#[derive(Debug, Default, PartialEq)]
struct Process {
    cpu_seconds: Option<f64>,
    /// Seconds since 1970.
    start_time: Option<f64>,
    virtual_bytes: Option<u64>,
    resident_bytes: Option<u64>,
    open_files: Option<u64>,
    /// [`u64::MAX`]: without limit.
    files_max: Option<u64>,
    /// [`u64::MAX`]: without limit.
    virtual_bytes_max: Option<u64>,
}

/// All of them as text, in the form of Prometheus.
pub(super) fn write(out: &mut String) {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut process = Process::parse(&text("/proc/self/stat"), &text("/proc/stat"), &text("/proc/self/limits"));
    process.open_files = open_files();
    process.write(out);
}

/// How many files are open; the folder that is read to know it is not one of them.
fn open_files() -> Option<u64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(count).ok()?.checked_sub(1)
}

impl Process {
    /// Of `/proc/self/stat`, `/proc/stat` and `/proc/self/limits`.
    fn parse(own: &str, system: &str, limits: &str) -> Self {
        // The program's name may have blanks and brackets in it. What follows begins with the third field of proc(5).
        let after = own.rsplit_once(") ").map_or("", |(_, after)| after);
        let fields: Vec<&str> = after.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<u64>().ok());
        let seconds = |ticks: u64| ticks as f64 / TICKS;
        let boot = system.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<u64>().ok());
        let limit = |name: &str| {
            let soft = limits.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next())?;
            if soft == "unlimited" {
                return Some(u64::MAX);
            }
            soft.parse().ok()
        };
        Self {
            cpu_seconds: field(14).zip(field(15)).map(|(user, system)| seconds(user + system)),
            start_time: boot.zip(field(22)).map(|(boot, since)| boot as f64 + seconds(since)),
            virtual_bytes: field(23),
            resident_bytes: field(24).map(|pages| pages * crate::cpu::page_bytes()),
            open_files: None,
            files_max: limit("Max open files"),
            virtual_bytes_max: limit("Max address space"),
        }
    }

    fn write(&self, out: &mut String) {
        let number = |value: Option<u64>| value.map(|value| value as f64);
        let cpu = "Total user and system CPU time spent in seconds.";
        for (name, kind, help, value) in [
            ("process_cpu_seconds_total", "counter", cpu, self.cpu_seconds),
            ("process_max_fds", "gauge", "Maximum number of open file descriptors.", number(self.files_max)),
            ("process_open_fds", "gauge", "Number of open file descriptors.", number(self.open_files)),
            ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", number(self.resident_bytes)),
            ("process_start_time_seconds", "gauge", "Start time of the process, unix epoch, seconds.", self.start_time),
            ("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", number(self.virtual_bytes)),
            (
                "process_virtual_memory_max_bytes",
                "gauge",
                "Maximum amount of virtual memory available in bytes.",
                number(self.virtual_bytes_max),
            ),
        ] {
            if let Some(value) = value {
                head(name, help, kind, out);
                line(format_args!("{name} {value}"), out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_what_proc_says() {
        let own =
            "42 (a) b) S 1 42 42 0 -1 4194560 900 0 0 0 130 20 0 0 20 0 5 0 1000 4096000 250 18446744073709551615";
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n\
                      Max address space  unlimited  unlimited  bytes\n";
        let found = Process::parse(own, "cpu 1 2\nbtime 1700000000\n", limits);
        let expect = Process {
            cpu_seconds: Some(1.5),
            start_time: Some(1_700_000_010.0),
            virtual_bytes: Some(4_096_000),
            resident_bytes: Some(250 * crate::cpu::page_bytes()),
            open_files: None,
            files_max: Some(1024),
            virtual_bytes_max: Some(u64::MAX),
        };
        assert_eq!(found, expect);
        let mut text = String::new();
        found.write(&mut text);
        assert!(text.contains("\n# TYPE process_max_fds gauge\nprocess_max_fds 1024\n"), "{text}");
        assert!(!text.contains("process_open_fds"), "{text}");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        for own in ["", "42 (a) S", "42 (a"] {
            let found = Process::parse(own, "", "");
            assert_eq!(found, Process::default(), "{own}");
            let mut text = String::new();
            found.write(&mut text);
            assert_eq!(text, "");
        }
    }
}
