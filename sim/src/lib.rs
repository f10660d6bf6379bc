//! The seeded world: it gathers the evidence.

pub mod clock;
pub mod decide;
pub mod digest;
pub mod disk;
pub mod distribution;
pub mod net;
pub mod queue;
