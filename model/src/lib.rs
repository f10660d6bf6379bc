//! skeleton

pub mod formats;
pub mod search;
