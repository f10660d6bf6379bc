//! The judge: what etcd should do, and whether it did.
//!
//! The [`spec`]ification is written from etcd's documentation and shares no code with the replica. What clients saw is
//! checked against it in two tiers (`linearizability` by revision order, [`search`] where there is none), watches
//! against etcd's watch guarantees, lists for cycles between transactions (`elle`), and what members did against Raft's
//! and etcd's invariants. Histories of other systems are read by [`formats`].
//!
//! This crate does not know how a replica works, where its evidence comes from, or who reads the verdict. Only
//! [`explore`] runs replicas: it searches every run of a small world, and judges by invariants of its own.

mod alarms;
pub mod effects;
mod elle;
pub mod explore;
pub mod formats;
mod hashes;
pub mod invariants;
pub mod jsonl;
mod judge;
mod leaders;
mod leases;
pub mod linearizability;
mod locks;
mod permissions;
mod refusals;
mod rights;
pub mod search;
mod serializable;
mod session;
pub mod spec;
pub mod storage;
mod watch;
mod witness;

pub use judge::{judge, JudgeOptions, Judgement, OperationCounts};
pub use linearizability::words::request as in_words;
pub use witness::witness;
