//! skeleton
pub mod jsonl;
mod judge;
pub mod linearizability;
mod serializable;
pub mod spec;
mod watch;

pub use judge::{judge, JudgeOptions, Judgement, OperationCounts};
