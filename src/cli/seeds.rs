//! Seeds as people write them: decimal, hexadecimal, a git commit, a range.
//!
//! A seed is any `u64`. A commit is folded to one, always the same way, so that "the commit is the seed" needs no
//! table.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// One or more seeds in a row. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeedRange {
    first: u64,
    count: u64,
}

impl SeedRange {
    /// `count` seeds from `first` on; fewer when the last seed there is comes first.
    pub(crate) fn new(first: u64, count: u64) -> Self {
        assert!(count > 0, "a range of seeds is never empty");
        Self { first, count: count.min(u64::MAX - first) + u64::from(first == u64::MAX) }
    }

    /// The first seed.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// How many.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The seed in this place; places are `0..count`.
    pub(crate) fn seed(&self, place: u64) -> u64 {
        debug_assert!(place < self.count, "place {place} of {}", self.count);
        self.first + place
    }

    /// The places of the seeds.
    pub(crate) fn places(&self) -> Range<u64> {
        0..self.count
    }
}

impl fmt::Display for SeedRange {
    /// As [`SeedRange::from_str`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 1 {
            return write!(f, "{}", self.first);
        }
        match self.first.checked_add(self.count) {
            Some(end) => write!(f, "{}..{end}", self.first),
            None => write!(f, "{}..+{}", self.first, self.count),
        }
    }
}

impl FromStr for SeedRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((first, end)) = text.split_once("..") else {
            return Ok(Self { first: parse_seed(text)?, count: 1 });
        };
        if end.starts_with('=') {
            return Err(format!("write {first}..B without `=`; B itself is not run"));
        }
        if first.is_empty() || end.is_empty() {
            return Err("a range of seeds is A..B (without B) or A..+N (N seeds)".to_owned());
        }
        let first = parse_seed(first)?;
        let count = match end.strip_prefix('+') {
            Some(count) => parse_seed(count)?,
            None => parse_seed(end)?.checked_sub(first).ok_or_else(|| format!("{text} ends before it starts"))?,
        };
        if count == 0 {
            return Err(format!("{text} holds no seed"));
        }
        if first.checked_add(count - 1).is_none() {
            return Err(format!("{text} goes beyond the last seed, {}", u64::MAX));
        }
        Ok(Self { first, count })
    }
}

/// One seed: decimal, `0x` and up to 16 hexadecimal digits, or a git commit of 40.
pub(crate) fn parse_seed(text: &str) -> Result<u64, String> {
    const FORMS: &str = "a seed is decimal, 0x hexadecimal or a git commit of 40 digits";
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        if !digits.is_empty() && digits.len() <= 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return u64::from_str_radix(digits, 16).map_err(|error| error.to_string());
        }
        return Err(format!("0x takes 1 to 16 hexadecimal digits; {FORMS}"));
    }
    if text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let part = |from: usize, to: usize| u64::from_str_radix(&text[from..to], 16).expect("checked above");
        return Ok(part(0, 16) ^ part(16, 32) ^ part(32, 40));
    }
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(FORMS.to_owned());
    }
    text.parse().map_err(|_| format!("beyond the last seed, {}", u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "3047d85000000000000000000000000000000001";

    #[test]
    fn a_seed_has_three_forms() {
        for (text, seed) in [
            ("0", 0),
            ("42", 42),
            ("18446744073709551615", u64::MAX),
            ("0x5eed", 0x5eed),
            ("0XFFFFFFFFFFFFFFFF", u64::MAX),
            (COMMIT, 0x3047_d850_0000_0001),
        ] {
            assert_eq!(parse_seed(text), Ok(seed), "{text}");
        }
        for text in
            ["", "-1", "+1", "1.5", "0x", "0xg", "0x10000000000000000", "18446744073709551616", "5eed", "é", " 1"]
        {
            assert!(parse_seed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_says_first_and_count() {
        for (text, first, count) in [
            ("7", 7, 1),
            ("0..2000", 0, 2000),
            ("5..6", 5, 1),
            ("7..+50", 7, 50),
            ("18446744073709551615..+1", u64::MAX, 1),
        ] {
            let range: SeedRange = text.parse().expect(text);
            assert_eq!((range.first(), range.count()), (first, count), "{text}");
            assert_eq!(range.to_string().parse(), Ok(range), "{text}");
        }
        for text in [
            "..",
            "1..",
            "..2",
            "5..5",
            "6..5",
            "1..=2",
            "1...2",
            "0..+0",
            "18446744073709551615..+2",
            "a..b",
            "1..2..3",
        ] {
            assert!(text.parse::<SeedRange>().is_err(), "{text}");
        }
    }
}
