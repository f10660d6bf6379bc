//! Fields of a scenario: declared once, with unit, range, default and meaning, and from there documented and checked.
//!
//! The `section!` macro makes a struct that serde reads (unknown fields refused, missing ones at their default), the
//! table of its fields that `detcd scenarios NAME` prints, and the check that every value is within its range.

use std::collections::BTreeMap;
use std::fmt;

use detcd_replica::time::Span;

use super::span::{self, Time};

/// What a field of a scenario means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name within its section.
    pub name: &'static str,
    /// Least value; for times in nanoseconds.
    pub low: u64,
    /// Greatest value. Equal to `low` when the field is no quantity.
    pub high: u64,
    /// Unit: `members`, `time`, `per million`, `text` …
    pub unit: &'static str,
    /// What it decides.
    pub about: &'static str,
}

impl Field {
    /// Its range as a person reads it; empty when the field is no quantity.
    pub fn range(&self) -> String {
        match (self.low, self.high) {
            (low, high) if low == high => String::new(),
            (low, high) if self.unit == "time" => format!("{}..{}", span::format(Span(low)), span::format(Span(high))),
            (low, high) => format!("{low}..{high}"),
        }
    }

    /// Refuses an amount outside of the range.
    pub(crate) fn within(&self, section: &str, amount: Option<u64>) -> Result<(), ScenarioError> {
        match amount {
            Some(amount) if amount < self.low || amount > self.high => {
                Err(ScenarioError::new(section, self.name, format!("must be within {} ({})", self.range(), self.unit)))
            }
            _ => Ok(()),
        }
    }
}

/// Why a scenario cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// The field, as a dotted path: `clients.count`.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

impl ScenarioError {
    pub(crate) fn new(section: &str, name: &str, reason: impl Into<String>) -> Self {
        Self { path: dotted(section, name), reason: reason.into() }
    }
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

/// `section.name`, or `name` at the top.
pub(crate) fn dotted(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

/// What of a field's value a range applies to; nothing for text, lists and choices.
pub(crate) trait Amount {
    fn amount(&self) -> Option<u64> {
        None
    }
}

impl Amount for u64 {
    fn amount(&self) -> Option<u64> {
        Some(*self)
    }
}
impl Amount for Time {
    fn amount(&self) -> Option<u64> {
        Some(self.0 .0)
    }
}
impl<T: Amount> Amount for Option<T> {
    fn amount(&self) -> Option<u64> {
        self.as_ref().and_then(Amount::amount)
    }
}
impl Amount for bool {}
impl Amount for String {}
impl<T> Amount for Vec<T> {}
impl<K, V> Amount for BTreeMap<K, V> {}

/// Declares a section: `field: Type = default, least, greatest, "unit";`.
macro_rules! section {
    ($(#[doc = $about:literal])+ $name:ident {
        $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr, $low:expr, $high:expr, $unit:literal; )+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $( $(#[doc = $doc])+ pub $field: $type, )+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl $name {
            /// Its fields, in order.
            pub const FIELDS: &'static [$crate::scenario::Field] = &[ $( $crate::scenario::Field {
                name: stringify!($field),
                low: $low,
                high: $high,
                unit: $unit,
                about: concat!($($doc, "\n"),+),
            }, )+ ];

            pub(crate) fn check(&self, section: &str) -> Result<(), $crate::scenario::ScenarioError> {
                let amounts = [ $( $crate::scenario::field::Amount::amount(&self.$field), )+ ];
                Self::FIELDS.iter().zip(amounts).try_for_each(|(field, amount)| field.within(section, amount))
            }
        }
    };
}
pub(crate) use section;
