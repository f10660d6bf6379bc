//! The judge: it knows what etcd promises, and looks for evidence that a run broke it.

pub mod invariants;
