//! A lock: held or not, by whom it does not know.

use super::Specification;

/// An operation on a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MutexOp {
    /// It was free and is held.
    Acquire,
    /// It was held and is free.
    Release,
}

/// The machine. Its state is whether the lock is held.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mutex;

impl Specification for Mutex {
    type State = bool;
    type Op = MutexOp;

    fn initial(&self) -> bool {
        false
    }

    fn step(&self, held: &bool, op: &MutexOp) -> Option<bool> {
        let acquires = *op == MutexOp::Acquire;
        (*held != acquires).then_some(acquires)
    }

    fn is_pure(&self, _: &MutexOp) -> bool {
        false
    }
}
