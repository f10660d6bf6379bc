//! How long things took, for people and for scripts.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine::{Measures, Times};

/// A distribution of times, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TimesLine {
    pub(crate) count: u64,
    pub(crate) p50_us: u64,
    pub(crate) p90_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) p999_us: u64,
    pub(crate) max_us: u64,
}

/// Each measure that there is anything of, by its name.
pub(crate) fn lines(measures: &Measures) -> BTreeMap<&'static str, TimesLine> {
    let line = |times: &Times| TimesLine {
        count: times.count(),
        p50_us: times.quantile(500) / 1_000,
        p90_us: times.quantile(900) / 1_000,
        p99_us: times.quantile(990) / 1_000,
        p999_us: times.quantile(999) / 1_000,
        max_us: times.max() / 1_000,
    };
    let some = measures.named().into_iter().filter(|(_, times)| times.count() > 0);
    some.map(|(name, times)| (name, line(times))).collect()
}

/// A time for people: three digits and their unit.
pub(crate) fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..10_000 => format!("{:.2} ms", micros as f64 / 1e3),
        10_000..100_000 => format!("{:.1} ms", micros as f64 / 1e3),
        100_000..1_000_000 => format!("{:.0} ms", micros as f64 / 1e3),
        1_000_000..10_000_000 => format!("{:.2} s", micros as f64 / 1e6),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        for (micros, text) in [(7, "7 us"), (1_234, "1.23 ms"), (45_678, "45.7 ms"), (999_999, "1000 ms")] {
            assert_eq!(time(micros), text);
        }
        assert_eq!(time(1_500_000), "1.50 s");
    }

    #[test]
    fn what_was_never_measured_has_no_line() {
        let mut measures = Measures::default();
        measures.writes.record(2_000_000);
        let lines = lines(&measures);
        assert_eq!(lines.keys().collect::<Vec<_>>(), [&"writes"]);
        assert_eq!((lines["writes"].count, lines["writes"].max_us, lines["writes"].p50_us), (1, 2_000, 2_000));
    }
}
