//! R2, log matching: a shadow of every member's log as (term, entry hash, prefix hash), and one ledger for
//! all of them that says which prefix belongs to an (index, term).
//!
//! A prefix hash covers every term and entry up to its index, so equal hashes mean equal logs, and one look
//! at an index compares everything before it. A log that starts after a snapshot takes its first prefix from
//! the ledger. Where nobody remembers it the prefix is [`UNKNOWN`], and is not compared until the ledger
//! knows an entry after it.

use std::collections::{BTreeMap, VecDeque};

use detcd_replica::{raftpb, LogView};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The prefix hash of nothing at all.
const ROOT: u64 = 1;
/// A prefix that cannot be known here.
pub(super) const UNKNOWN: u64 = 0;
/// Entries that the ledger, or any other table by index, remembers at most.
pub(super) const KEPT_MAX: usize = 1 << 16;

/// The hash of an entry's type and data, as `Event::Applied` gives it.
pub(super) fn entry_hash(entry: &raftpb::Entry) -> u64 {
    entry_hash_of(entry.entry_type as u64, &entry.data)
}

/// The same, of an entry from elsewhere.
pub(super) fn entry_hash_of(kind: u64, data: &[u8]) -> u64 {
    xxh3_64_with_seed(data, kind)
}

fn chain(before: u64, term: u64, hash: u64) -> u64 {
    if before == UNKNOWN {
        return UNKNOWN;
    }
    let mixed = before.wrapping_add(term.wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(23) ^ hash;
    let product = u128::from(mixed) * 0xd6e8_feb8_6659_fd93_u128;
    let folded = (product >> 64) as u64 ^ product as u64;
    folded.max(ROOT + 1)
}

/// What the shadow keeps of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) term: u64,
    pub(super) hash: u64,
    pub(super) prefix: u64,
}

/// Two logs agree on (index, term) and not on what is before or in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mismatch {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) prefix: u64,
    pub(super) other: u64,
}

/// One member's log.
#[derive(Clone, Debug)]
pub(super) struct Shadow {
    start: u64,
    start_prefix: u64,
    slots: VecDeque<Slot>,
}

impl Default for Shadow {
    fn default() -> Self {
        Self { start: 0, start_prefix: ROOT, slots: VecDeque::new() }
    }
}

impl Shadow {
    /// The index before the first entry kept.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn last(&self) -> u64 {
        self.start + self.slots.len() as u64
    }

    pub(super) fn get(&self, index: u64) -> Option<&Slot> {
        self.slots.get(index.checked_sub(self.start + 1)? as usize)
    }

    /// Follow the log of the view. Gives the lowest index that was written anew, above the last one when none
    /// was.
    pub(super) fn follow(&mut self, log: &LogView<'_>, ledger: &mut Ledger) -> Result<u64, Mismatch> {
        if log.start.0 != self.start {
            self.move_start(log.start, ledger);
        }
        let last = log.last_index();
        if last <= self.last() && log.changed_from > last && self.agrees_at(last, log) {
            self.slots.truncate((last - self.start) as usize);
            return Ok(last + 1);
        }
        let mut from = log.changed_from.min(self.last() + 1).min(last + 1).max(self.start + 1);
        // The hint may be wrong by a term change that it does not know of; terms tell.
        while from > self.start + 1 && !self.agrees_at(from - 1, log) {
            from -= 1;
        }
        self.slots.truncate((from - self.start - 1) as usize);
        for index in from..=last {
            let Some(entry) = log.entry(index) else { break };
            self.push(entry, ledger)?;
        }
        Ok(from)
    }

    fn agrees_at(&self, index: u64, log: &LogView<'_>) -> bool {
        index <= self.start || self.get(index).map(|slot| slot.term) == log.entry(index).map(|entry| entry.term)
    }

    fn push(&mut self, entry: &raftpb::Entry, ledger: &mut Ledger) -> Result<(), Mismatch> {
        let (index, term, hash) = (self.last() + 1, entry.term, entry_hash(entry));
        let before = self.slots.back().map_or(self.start_prefix, |slot| slot.prefix);
        let mut prefix = chain(before, term, hash);
        if prefix == UNKNOWN {
            prefix = ledger.prefix(index, term);
        }
        self.slots.push_back(Slot { term, hash, prefix });
        ledger.note(index, term, prefix).map_err(|other| Mismatch { index, term, prefix, other })
    }

    fn move_start(&mut self, (index, term): (u64, u64), ledger: &Ledger) {
        match self.get(index) {
            Some(slot) if slot.term == term => {
                self.start_prefix = slot.prefix;
                self.slots.drain(..(index - self.start) as usize);
            }
            _ => {
                self.start_prefix = if index == 0 { ROOT } else { ledger.prefix(index, term) };
                self.slots.clear();
            }
        }
        self.start = index;
    }
}

/// Which prefix belongs to an (index, term), as far as any member has shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    base: u64,
    /// By index from `base + 1`: the first term seen there and its prefix; term 0 is none.
    firsts: VecDeque<(u64, u64)>,
    /// Further terms at an index: few, since they come only from failed leaders.
    others: BTreeMap<(u64, u64), u64>,
}

impl Ledger {
    pub(super) fn prefix(&self, index: u64, term: u64) -> u64 {
        let first = index.checked_sub(self.base + 1).and_then(|place| self.firsts.get(place as usize));
        match first {
            Some((known, prefix)) if *known == term => *prefix,
            Some(_) => self.others.get(&(index, term)).copied().unwrap_or(UNKNOWN),
            None => UNKNOWN,
        }
    }

    /// Forget every entry above `index`.
    pub(super) fn forget_above(&mut self, index: u64) {
        self.firsts.truncate(index.saturating_sub(self.base) as usize);
        self.others.retain(|(at, _), _| *at <= index);
    }

    /// Remember a prefix; gives the one that was known before when it differs.
    fn note(&mut self, index: u64, term: u64, prefix: u64) -> Result<(), u64> {
        if index <= self.base || prefix == UNKNOWN {
            return Ok(());
        }
        if self.firsts.is_empty() || index - self.base > (self.firsts.len() + KEPT_MAX) as u64 {
            self.firsts.clear();
            self.others.clear();
            self.base = index - 1;
        }
        let place = (index - self.base - 1) as usize;
        while self.firsts.len() <= place {
            self.firsts.push_back((0, UNKNOWN));
        }
        let first = &mut self.firsts[place];
        let known = match first.0 {
            0 => {
                *first = (term, prefix);
                prefix
            }
            known if known == term => first.1,
            _ => *self.others.entry((index, term)).or_insert(prefix),
        };
        if self.firsts.len() > KEPT_MAX {
            self.prune(self.base + (KEPT_MAX / 4) as u64);
        }
        if known == prefix {
            Ok(())
        } else {
            Err(known)
        }
    }

    /// Forget everything below `index`, which itself stays: a log may start there.
    pub(super) fn prune(&mut self, index: u64) {
        let gone = index.saturating_sub(self.base + 1).min(self.firsts.len() as u64);
        self.firsts.drain(..gone as usize);
        self.base += gone;
        while self.others.first_key_value().is_some_and(|((at, _), _)| *at <= self.base) {
            self.others.pop_first();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.firsts.len() + self.others.len()
    }
}
