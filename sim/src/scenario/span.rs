//! Lengths of time as a person writes them: `250ms`, `1.5s`, `20us`, `2m`, `1h`.
//!
//! What is written by [`format()`] is read by [`parse()`] as exactly the same span. No floats are used.

use std::fmt;

use detcd_replica::time::Span;
use serde::{de, Deserialize, Deserializer, Serialize, Serializer};

/// A [`Span`] as a field of a scenario: text outside, nanoseconds inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub Span);

impl Time {
    /// `n` milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(Span::millis(n))
    }

    /// `n` seconds.
    pub const fn secs(n: u64) -> Self {
        Self(Span::secs(n))
    }
}

/// Units, the longest first.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads a span: a decimal number and a unit (`ns us ms s m h`), or `0`.
///
/// # Errors
/// One sentence that says what was expected, or that the number is too large or too fine.
pub fn parse(text: &str) -> Result<Span, String> {
    if text == "0" {
        return Ok(Span::ZERO);
    }
    let expected = || format!("`{text}` is not a length of time such as \"100ms\", \"1.5s\" or \"2m\"");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(expected)?;
    let (number, unit) = text.split_at(digits);
    let (_, nanos) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if decimals.contains('.') || whole.is_empty() || decimals.is_empty() {
        return Err(expected());
    }
    let too_large = || format!("`{text}` is longer than a scenario can say");
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    let mut total = whole.checked_mul(nanos).ok_or_else(too_large)?;
    let mut unit = nanos;
    for digit in decimals.bytes() {
        let digit = u64::from(digit - b'0');
        if digit != 0 && unit % 10 != 0 {
            return Err(format!("`{text}` is finer than a nanosecond"));
        }
        unit /= 10;
        total = total.checked_add(digit * unit).ok_or_else(too_large)?;
    }
    Ok(Span(total))
}

/// Writes a span in the largest unit in which it is exact with at most three decimals.
pub fn format(span: Span) -> String {
    let short = span.to_string();
    if parse(&short) == Ok(span) {
        return short;
    }
    UNITS
        .into_iter()
        .find(|(_, nanos)| span.0 % nanos == 0)
        .map_or(short, |(name, nanos)| format!("{}{name}", span.0 / nanos))
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format(self.0))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Time;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time in quotes, such as \"100ms\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                parse(text).map(Time).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        let cases = [
            ("0", Some(0)),
            ("7ns", Some(7)),
            ("20us", Some(20_000)),
            ("100ms", Some(100_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("0.000000001s", Some(1)),
            ("2m", Some(120_000_000_000)),
            ("1h", Some(3_600_000_000_000)),
            ("1.50ms", Some(1_500_000)),
            ("", None),
            ("5", None),
            ("ms", None),
            (".5s", None),
            ("1.s", None),
            ("1.2.3s", None),
            ("-1s", None),
            ("1 s", None),
            ("1d", None),
            ("0.5ns", None),
            ("99999999999h", None),
            ("99999999999999999999s", None),
            ("1é", None),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text).ok(), nanos.map(Span), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back_exactly() {
        for nanos in [0, 1, 999, 1_000, 1_234_567, 1_500_000_000, 61_000_000_001, u64::MAX] {
            assert_eq!(parse(&format(Span(nanos))), Ok(Span(nanos)), "{}", format(Span(nanos)));
        }
    }
}
