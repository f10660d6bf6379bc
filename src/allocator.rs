//! The program's allocator: mimalloc.
//!
//! On a bare Raft loop with boxed messages it was measured at 1.15 to 1.25 times the commits per CPU-second of glibc's
//! malloc. It is version 2: version 3 allocates more than was asked for, in most sizes above 1 KiB, when it is called
//! with an alignment, as its crate does.

use libmimalloc_sys::{mi_option_set, mi_option_t};

/// `mi_option_purge_delay`, which the bindings do not name: milliseconds until freed memory goes back, -1 is never.
const PURGE_DELAY: mi_option_t = 15;

/// Memory that was freed is kept for a second for what is allocated next, and goes back to the system only then.
/// The runs of a batch take about as much each; to give it back and take it again cost up to a tenth of their time.
/// Never to give it back was no faster, and 1,000 runs grew by 2 MiB.
pub(crate) fn keep_memory() {
    // SAFETY: this only sets a number, before there are other threads.
    #[expect(unsafe_code, reason = "a setting of a C library")]
    unsafe {
        mi_option_set(PURGE_DELAY, 1_000);
    }
}

#[cfg(test)]
mod tests {
    use libmimalloc_sys::mi_option_get;

    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "a setting of a C library")]
    fn the_setting_is_the_one_that_is_meant() {
        // SAFETY: this only reads a number.
        let read = || unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(read(), 10, "what mimalloc documents as its own choice");
        keep_memory();
        assert_eq!(read(), 1_000);
    }
}
