//! Ctrl-C: the first asks the batch to end after the runs in flight, the second ends the process at once.
//!
//! `libc::signal` with a handler that only sets a flag: no thread and no dependency more than `libc`, which CPU time
//! needs already.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Whether the user has asked to stop.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// From now on, Ctrl-C sets the flag.
#[cfg(unix)]
pub(crate) fn watch() {
    extern "C" fn on_signal(_: libc::c_int) {
        if ASKED.swap(true, Ordering::Relaxed) {
            // SAFETY: _exit is async-signal-safe and does not return.
            #[expect(unsafe_code, reason = "the only way out that is allowed in a signal handler")]
            unsafe {
                libc::_exit(130)
            }
        }
    }
    let handler: extern "C" fn(libc::c_int) = on_signal;
    // SAFETY: the handler does nothing but an atomic swap and _exit, both async-signal-safe.
    #[expect(unsafe_code, reason = "the standard library has no signals")]
    unsafe {
        libc::signal(libc::SIGINT, handler as libc::sighandler_t);
        libc::signal(libc::SIGTERM, handler as libc::sighandler_t);
    }
}

/// Signals are left to the system here.
#[cfg(not(unix))]
pub(crate) fn watch() {}
