//! R7: a linearizable read waits for at least everything that was committed when it asked.

use std::collections::VecDeque;

/// Attempts remembered per member. Far more than one round of reads can make before it times out.
const ATTEMPTS_MAX: usize = 1024;

/// One member's attempts to get a read index, oldest first: context and the commit index that was known then.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads(VecDeque<(u64, u64)>);

impl Reads {
    pub(super) fn requested(&mut self, context: u64, committed: u64) {
        if self.0.len() == ATTEMPTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((context, committed));
    }

    /// The attempt got its answer: the least index that it could be. Attempts before it count no more.
    pub(super) fn confirmed(&mut self, context: u64) -> Option<u64> {
        let place = self.0.iter().position(|(known, _)| *known == context)?;
        let least = self.0[place].1;
        self.0.drain(..=place);
        Some(least)
    }

    pub(super) fn crashed(&mut self) {
        self.0.clear();
    }
}
