//! CPU time of this process, so that figures do not depend on what else the machine does.

use std::time::Duration;

/// User and system time of the whole process, every thread of it, up to now.
#[cfg(unix)]
pub(crate) fn process_time() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage writes one rusage to the pointer, which is valid for it; all zeroes is a valid rusage too.
    #[expect(unsafe_code, reason = "the standard library has no CPU time")]
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    // The type of tv_usec differs between systems; below a million, it fits everywhere.
    let duration = |time: libc::timeval| {
        let micros = u32::try_from(time.tv_usec).expect("less than a second");
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(1) * micros
    };
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

/// Not known here: wall-clock time since the first call stands in.
#[cfg(not(unix))]
pub(crate) fn process_time() -> Duration {
    use std::sync::OnceLock;
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

/// `count` per second of `time`; 0 when no time was measured.
pub(crate) fn per_second(count: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_cpu_time() {
        let before = process_time();
        let mut sum = 0u64;
        while process_time() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(process_time() > before);
    }

    #[test]
    fn no_time_is_no_rate() {
        assert_eq!(per_second(5, Duration::ZERO), 0.0);
        assert_eq!(per_second(5, Duration::from_millis(500)), 10.0);
    }
}
