//! The seeded world: network, disks, clocks, faults, clients.

pub mod client;
pub mod fault;
pub mod scenario;
pub mod workload;
