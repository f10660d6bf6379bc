//! Panics as values: caught, silent, with their message and place.
//!
//! A panic of a replica is a finding, and one of the tool in a batch is a verdict: neither may write into the output.
//! Panics outside of [`caught`] go their usual way.

use std::cell::RefCell;
use std::panic::{catch_unwind, set_hook, take_hook, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Where the last panic of this thread was; `None` outside of [`caught`].
    static PANICKED_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught.
#[derive(Debug)]
pub(crate) struct Panic {
    /// What it said.
    pub(crate) message: String,
    /// File, line and column.
    pub(crate) place: String,
}

/// Calls `work` and catches its panic. What `work` has left half done must not be used afterwards.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |info| {
            let expected = PANICKED_AT.with_borrow_mut(|at| {
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                at.as_mut().map(|at| *at = place).is_some()
            });
            if !expected {
                usual(info);
            }
        }));
    });

    let outer = PANICKED_AT.replace(Some(String::new()));
    let result = catch_unwind(AssertUnwindSafe(work));
    let place = PANICKED_AT.replace(outer).unwrap_or_default();
    result.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        Panic { message: text.unwrap_or("a panic without a message").to_owned(), place }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_its_words_inside_another_too() {
        let outer = caught(|| {
            let inner = caught(|| panic!("inner {}", 1)).expect_err("it panicked");
            assert_eq!(inner.message, "inner 1");
            assert!(inner.place.contains("panics.rs:"), "{}", inner.place);
            panic!("outer")
        });
        let outer: Result<(), Panic> = outer;
        assert_eq!(outer.expect_err("it panicked").message, "outer");
        assert_eq!(caught(|| 7).expect("no panic"), 7);
    }
}
