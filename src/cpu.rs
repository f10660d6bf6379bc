//! CPU time of this process, so that figures do not depend on what else the machine does.

use std::time::Duration;

/// User and system time of the whole process, every thread of it, up to now.
pub(crate) fn process_time() -> Duration {
    usage(Whose::Process)
}

/// The same of the child processes that have ended and were waited for.
pub(crate) fn children_time() -> Duration {
    usage(Whose::Children)
}

/// The largest resident size that any child process that was waited for has had, in bytes; 0 where it is not known.
pub(crate) fn children_peak_bytes() -> u64 {
    #[cfg(unix)]
    {
        let peak = rusage(Whose::Children).ru_maxrss.unsigned_abs();
        // macOS counts bytes, the others KiB.
        if cfg!(target_os = "macos") {
            peak
        } else {
            peak * 1024
        }
    }
    #[cfg(not(unix))]
    0
}

/// The size of a page of memory, in bytes.
pub(crate) fn page_bytes() -> u64 {
    #[cfg(unix)]
    {
        // SAFETY: sysconf takes no pointer and changes nothing.
        #[expect(unsafe_code, reason = "the standard library does not know the page size")]
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        u64::try_from(bytes).expect("every system has a page size")
    }
    #[cfg(not(unix))]
    4096
}

#[derive(Clone, Copy)]
enum Whose {
    Process,
    Children,
}

#[cfg(unix)]
fn rusage(whose: Whose) -> libc::rusage {
    let whose = match whose {
        Whose::Process => libc::RUSAGE_SELF,
        Whose::Children => libc::RUSAGE_CHILDREN,
    };
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage writes one rusage to the pointer, which is valid for it; all zeroes is a valid rusage too.
    #[expect(unsafe_code, reason = "the standard library has no CPU time")]
    unsafe {
        libc::getrusage(whose, usage.as_mut_ptr());
        usage.assume_init()
    }
}

#[cfg(unix)]
fn usage(whose: Whose) -> Duration {
    let usage = rusage(whose);
    // The type of tv_usec differs between systems; below a million, it fits everywhere.
    let duration = |time: libc::timeval| {
        let micros = u32::try_from(time.tv_usec).expect("less than a second");
        Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(1) * micros
    };
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

/// Not known here: real time since the first call stands in, and nothing for children.
#[cfg(not(unix))]
fn usage(whose: Whose) -> Duration {
    use std::sync::OnceLock;
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    match whose {
        Whose::Process => START.get_or_init(std::time::Instant::now).elapsed(),
        Whose::Children => Duration::ZERO,
    }
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
