//! A register with compare-and-set: one value, absent at first.
//!
//! It does not know what values are: they are numbers, given by whoever read them, and [`ABSENT`] is nil.

use super::Specification;

/// The value of a register that was never written.
pub const ABSENT: u32 = 0;

/// An operation on a register, with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegisterOp {
    /// It was read, and had this value.
    Read(u32),
    /// It was given this value.
    Write(u32),
    /// It had the first value and was given the second.
    Cas(u32, u32),
    /// It was compared with this value, and had another.
    CasFailed(u32),
}

/// The machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register;

impl Specification for Register {
    type State = u32;
    type Op = RegisterOp;

    fn initial(&self) -> u32 {
        ABSENT
    }

    fn step(&self, state: &u32, op: &RegisterOp) -> Option<u32> {
        match *op {
            RegisterOp::Read(value) => (*state == value).then_some(value),
            RegisterOp::Write(value) => Some(value),
            RegisterOp::Cas(from, to) => (*state == from).then_some(to),
            RegisterOp::CasFailed(from) => (*state != from).then_some(*state),
        }
    }

    fn is_pure(&self, op: &RegisterOp) -> bool {
        matches!(op, RegisterOp::Read(_) | RegisterOp::CasFailed(_))
    }

    fn can_replace(&self, strong: &RegisterOp, weak: &RegisterOp) -> bool {
        matches!((strong, weak), (RegisterOp::Write(value), RegisterOp::Cas(_, to)) if value == to)
    }
}
