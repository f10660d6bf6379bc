//! The maintenance client: has one member after the other write its database anew.

use detcd_replica::api::Request;

use super::{Seen, Workload};
use crate::scenario::Chance;

/// The generator, for one client.
#[derive(Clone, Copy, Debug, Default)]
pub struct Defragmentation;

impl Workload for Defragmentation {
    fn next(&mut self, _: u32, _: &Seen, _: &mut dyn Chance) -> Request {
        Request::Defragment
    }
}
