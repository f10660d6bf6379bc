//! The seeded world: it runs members of a cluster and gathers the evidence.
//!
//! One queue of events owns time, and a [`decide::Decider`] owns chance: each decision is asked for by name and is a
//! function of the seed and that name alone. Around the members stand a network, disks and clocks with their faults,
//! and clients that write down what they saw. [`run()`] plays a scenario in three acts: safety, heal, liveness.
//!
//! This crate does not know what is right. It hands its evidence to an [`Observer`] and to whoever reads the history.

pub mod beginning;
mod chance;
pub mod client;
pub mod clock;
pub mod decide;
pub mod digest;
pub mod disk;
pub mod distribution;
pub mod fault;
mod halt;
mod host;
pub mod measure;
pub mod net;
mod observer;
pub mod queue;
mod run;
pub mod scenario;
#[cfg(test)]
mod testing;
pub mod workload;
mod world;

pub use halt::{halt, Halted, Standing, Until};
pub use host::Host;
pub use observer::{Observer, Unobserved};
pub use run::{run, Failure, Options, Outcome};
pub use world::{Refusal, Tally};
