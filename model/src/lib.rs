//! The judge: what etcd promises, and whether a history keeps it.
//!
//! [`spec`] is etcd's key space as a pure sequential machine. [`linearizability`] holds what clients saw against it, in the
//! order of revisions. [`judge`] does that and checks serializable reads and every guarantee of watches. The judge shares
//! no code with the replica: of that crate it knows the types of the API and of histories, nothing else.

pub mod jsonl;
mod judge;
pub mod linearizability;
mod serializable;
pub mod spec;
mod watch;

pub use judge::{judge, JudgeOptions, Judgement, OperationCounts};
