//! Configurations, and sets of them that hold nothing that another member makes superfluous.
//!
//! One configuration stands for another when every completion of the other is one of its own. Two such rules
//! need no knowledge of the machine: with equal states and equal mutators done, more reads done is better (they are
//! owed no more), and fewer unknown operations taken is better (they are still there).

use super::tables::{Lookup, Taken};

/// A way in which the history so far may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Config<const N: usize> {
    /// The states of all components: a number of `Worlds`.
    pub(super) world: u32,
    /// The unknown operations that took effect: a number of `Taken`.
    pub(super) taken: u32,
    /// Which of the operations under way took effect, by slot.
    pub(super) done: [u64; N],
}

impl<const N: usize> Config<N> {
    pub(super) fn has(&self, slot: u32) -> bool {
        self.done[slot as usize / 64] >> (slot % 64) & 1 == 1
    }

    pub(super) fn mark(&mut self, slot: u32) {
        self.done[slot as usize / 64] |= 1 << (slot % 64);
    }

    pub(super) fn clear(&mut self, slot: u32) {
        self.done[slot as usize / 64] &= !(1 << (slot % 64));
    }

    fn covers(&self, other: &Self) -> bool {
        self.done.iter().zip(&other.done).all(|(mine, its)| mine & its == *its)
    }
}

/// A member, and the next one of the same chain.
struct Member<const N: usize> {
    config: Config<N>,
    next: u32,
    alive: bool,
}

/// A set in which, as far as it was compared, no configuration stands for another. Members keep their order of arrival.
pub(super) struct Antichain<const N: usize> {
    heads: Lookup<(u32, [u64; N]), u32>,
    members: Vec<Member<N>>,
}

/// The end of a chain.
const END: u32 = u32::MAX;
/// How many members of a chain a newcomer is compared with: more costs more than it saves.
const COMPARED_MAX: usize = 64;
/// A table larger than this is not kept for the next event: clearing it would cost more than a new one.
const KEPT_MAX: usize = 1 << 14;

impl<const N: usize> Antichain<N> {
    pub(super) fn new() -> Self {
        Self { heads: Lookup::default(), members: Vec::new() }
    }

    pub(super) fn reset(&mut self) {
        if self.heads.capacity() > KEPT_MAX {
            self.heads = Lookup::default();
        }
        self.heads.clear();
        self.members.clear();
    }

    /// Adds `config` unless a member stands for it; members that it stands for die. `reads` are the slots of reads.
    pub(super) fn insert(&mut self, config: Config<N>, reads: &[u64; N], taken: &Taken) {
        let mut key = config.done;
        for (word, mask) in key.iter_mut().zip(reads) {
            *word &= !mask;
        }
        let place = u32::try_from(self.members.len()).expect("a set of configurations fits in memory");
        let head = self.heads.entry((config.world, key)).or_insert(END);
        let mut at = *head;
        let mut compared = 0;
        while at != END && compared < COMPARED_MAX {
            let member = &mut self.members[at as usize];
            if member.config.covers(&config) && taken.within(member.config.taken, config.taken) {
                return;
            }
            if config.covers(&member.config) && taken.within(config.taken, member.config.taken) {
                member.alive = false;
            }
            at = member.next;
            compared += 1;
        }
        self.members.push(Member { config, next: *head, alive: true });
        *head = place;
    }

    /// The first living member at or after `at`, and the place after it.
    pub(super) fn next(&self, mut at: usize) -> Option<(Config<N>, usize)> {
        while let Some(member) = self.members.get(at) {
            at += 1;
            if member.alive {
                return Some((member.config, at));
            }
        }
        None
    }

    /// The living members, in order of arrival.
    pub(super) fn living(&self) -> impl Iterator<Item = Config<N>> + '_ {
        self.members.iter().filter(|member| member.alive).map(|member| member.config)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tables::NOTHING;
    use super::*;

    #[test]
    fn more_reads_and_fewer_taken_stand_for_the_rest_in_either_order() {
        let mut taken = Taken::new();
        let one = taken.with(NOTHING, 1);
        let two = taken.with(one, 2);
        // Slot 0 is a read, slot 1 a mutator.
        let config = |done, taken| Config { world: 0, taken, done: [done] };
        for (better, worse) in [
            (config(0b00, one), config(0b00, two)),
            (config(0b01, one), config(0b00, one)),
            (config(0b11, NOTHING), config(0b10, two)),
        ] {
            for pair in [[better, worse], [worse, better]] {
                let mut set = Antichain::new();
                pair.into_iter().for_each(|config| set.insert(config, &[0b01], &taken));
                assert_eq!(set.living().collect::<Vec<_>>(), [better]);
            }
        }
        for pair in [[config(0b10, one), config(0b00, one)], [config(0b01, two), config(0b00, one)]] {
            let mut set = Antichain::new();
            pair.into_iter().for_each(|config| set.insert(config, &[0b01], &taken));
            assert_eq!(set.living().count(), 2);
        }
    }
}
