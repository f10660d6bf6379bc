//! One file: what lasts, and the writes after that which may not.
//!
//! What the page cache shows is the durable content with the pending changes applied; nothing reads it but a boot, so
//! it is not kept. A sync moves the changes issued before it into the durable content. A power failure picks, for each
//! 512-byte sector, how many of the writes to it had reached the disk already; writes to one sector reach it in order.
//!
//! A **ghost** is a page that the cache shows and calls clean though the disk does not have it: a failed sync, a lost
//! or a misdirected write left it behind. Whoever writes to that page makes all of it dirty again, and the next sync
//! brings it to the disk; until then a power failure takes it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use detcd_replica::Rope;

use crate::decide::{Decider, Site, Subject};
use crate::distribution::Below;

use super::content::{pieces, Content, PAGE};
use super::device::Work;
use super::{DiskTally, FileContent, Layer, Loss};

/// What a disk writes as a whole.
pub(super) const SECTOR: u64 = 512;

/// Where a write goes when it goes to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Where it was to go.
    Lands,
    /// Nowhere.
    Lost,
    /// To this offset instead.
    Astray(u64),
}

/// When the cache lets go of ghosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haunts {
    /// When power fails.
    UntilPowerFails,
    /// When the process ends.
    UntilExit,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, data: Rope, fate: Fate },
    Length(u64),
}

#[derive(Clone, Debug)]
struct Pending {
    /// When it was issued, in the order of all changes of the disk.
    sequence: u64,
    change: Change,
}

#[derive(Clone, Debug)]
struct Ghost {
    offset: u64,
    data: Rope,
    haunts: Haunts,
}

/// One file (an inode: names are elsewhere).
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    durable: Content,
    pending: VecDeque<Pending>,
    /// By page, in the order of writing.
    ghosts: BTreeMap<u64, Vec<Ghost>>,
    /// Length as the page cache has it.
    length: u64,
    /// A sync that lied said that the changes up to this one last.
    promised: u64,
    /// The next sync reports an error that was kept back.
    pub(super) owes_error: bool,
}

impl File {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn is_clean(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn write(&mut self, sequence: u64, offset: u64, data: Rope, fate: Fate) {
        for (page, _) in pieces(offset, data.len()) {
            // The whole page is dirty now.
            for ghost in self.ghosts.remove(&page).into_iter().flatten() {
                if ghost.haunts == Haunts::UntilPowerFails {
                    self.promised = self.promised.max(sequence);
                }
                let change = Change::Write { offset: ghost.offset, data: ghost.data, fate: Fate::Lands };
                self.pending.push_back(Pending { sequence, change });
            }
        }
        self.length = self.length.max(offset + data.len() as u64);
        self.pending.push_back(Pending { sequence, change: Change::Write { offset, data, fate } });
    }

    pub(super) fn set_length(&mut self, sequence: u64, length: u64) {
        self.length = length;
        self.pending.push_back(Pending { sequence, change: Change::Length(length) });
    }

    /// What a sync issued now would write.
    pub(super) fn work(&self) -> Work {
        let mut work = Work { bytes: 0, runs: 0 };
        let mut last = None;
        for pending in &self.pending {
            if let Change::Write { offset, data, .. } = &pending.change {
                work.bytes += data.len() as u64;
                work.runs += u64::from(last != Some(*offset));
                last = Some(offset + data.len() as u64);
            }
        }
        work
    }

    /// The changes up to this one last. Gives whether something durable was overwritten that should not have been.
    pub(super) fn persist(&mut self, up_to: u64, tally: &mut DiskTally) -> bool {
        let mut harmed = false;
        while self.pending.front().is_some_and(|pending| pending.sequence <= up_to) {
            let pending = self.pending.pop_front().expect("it was just looked at");
            match pending.change {
                Change::Length(length) => self.set_durable_length(length),
                Change::Write { offset, data, fate } => match fate {
                    Fate::Lands => self.land(offset, &data),
                    Fate::Lost => {
                        tally.vanished_writes += 1;
                        self.haunt(offset, &data, Haunts::UntilPowerFails);
                    }
                    Fate::Astray(at) => {
                        tally.misdirected_writes += 1;
                        harmed = true;
                        self.durable.write(at, &data);
                        self.haunt(offset, &data, Haunts::UntilPowerFails);
                    }
                },
            }
        }
        harmed
    }

    /// A sync that lies: the changes up to this one are said to last.
    pub(super) fn promise(&mut self, up_to: u64) {
        self.promised = self.promised.max(up_to);
    }

    /// The changes up to this one will never last, and the cache has forgotten them: it shows what is on the disk.
    pub(super) fn revert(&mut self, up_to: u64) {
        self.pending.retain(|pending| pending.sequence > up_to);
        let mut length = self.durable.length();
        for pending in &self.pending {
            match &pending.change {
                Change::Write { offset, data, .. } => length = length.max(offset + data.len() as u64),
                Change::Length(to) => length = *to,
            }
        }
        self.length = length;
    }

    /// The pages changed up to this one are called clean though they were not written: ghosts. Lengths are the
    /// journal's business, and last. A page that was changed again later is dirty as a whole.
    pub(super) fn call_clean(&mut self, up_to: u64, haunts: Haunts) {
        let pending = std::mem::take(&mut self.pending);
        let later = pending.iter().filter(|pending| pending.sequence > up_to);
        let dirty: BTreeSet<u64> = later.flat_map(|pending| pages_of(&pending.change)).collect();
        for Pending { sequence, change } in pending {
            match change {
                Change::Length(length) if sequence <= up_to => self.set_durable_length(length),
                Change::Write { offset, data, fate } if sequence <= up_to => {
                    self.durable.extend_to(offset + data.len() as u64);
                    for (page, part) in pieces(offset, data.len()) {
                        let (offset, data) = (offset + part.start as u64, data.part(part));
                        if dirty.contains(&page) {
                            self.pending.push_back(Pending { sequence, change: Change::Write { offset, data, fate } });
                        } else {
                            self.ghosts.entry(page).or_default().push(Ghost { offset, data, haunts });
                        }
                    }
                }
                change => self.pending.push_back(Pending { sequence, change }),
            }
        }
    }

    /// The process ends; what the cache has written is still there, but for some ghosts.
    pub(super) fn kill(&mut self) {
        self.ghosts.retain(|_, ghosts| {
            ghosts.retain(|ghost| ghost.haunts == Haunts::UntilPowerFails);
            !ghosts.is_empty()
        });
    }

    /// Power fails. Gives whether that may have taken something which a sync had called safe.
    pub(super) fn crash(&mut self, loss: Loss, subject: Subject, decider: &mut Decider, tally: &mut DiskTally) -> bool {
        self.kill();
        let mut harmed = !self.ghosts.is_empty();
        self.ghosts.clear();
        if !self.pending.is_empty() {
            harmed |= loss != Loss::Nothing && self.pending.iter().any(|pending| pending.sequence <= self.promised);
            match loss {
                Loss::Nothing => {
                    self.persist(u64::MAX, tally);
                    self.ghosts.clear();
                }
                Loss::Everything => {
                    tally.lost_writes += self.pending.len() as u64;
                    self.pending.clear();
                }
                Loss::Sectors | Loss::Torn => self.tear(loss, subject, decider, tally),
            }
        }
        self.pending.clear();
        (self.length, self.promised) = (self.durable.length(), 0);
        harmed
    }

    /// The changes of length are a journal: the first few of them last. After a cut that did not last, nothing does.
    /// Sectors of earlier writes are then chosen one by one (of the last write only, when that is what is torn).
    fn tear(&mut self, loss: Loss, subject: Subject, decider: &mut Decider, tally: &mut DiskTally) {
        let pending = std::mem::take(&mut self.pending);
        let (changes, length) = self.lasting_lengths(&pending, loss, subject, decider);
        let last_write = changes.iter().rposition(|change| matches!(change, Change::Write { .. }));
        let mut kept = sectors(&changes);
        for (_, writes) in &mut kept {
            let droppable = match loss {
                Loss::Torn => usize::from(writes.last().copied() == last_write),
                _ => writes.len(),
            };
            let lost = decider.decide(Site::DiskCrashSector, subject, &Below(droppable as u64 + 1));
            tally.lost_sectors += u64::from(lost > 0);
            writes.truncate(writes.len() - lost as usize);
        }
        let kept: BTreeMap<u64, Vec<usize>> = kept.into_iter().collect();
        for (index, change) in changes.iter().enumerate() {
            let (offset, data) = match change {
                Change::Length(length) => {
                    self.durable.set_length(*length);
                    continue;
                }
                Change::Write { fate: Fate::Lost | Fate::Astray(_), .. } => continue,
                Change::Write { offset, data, fate: Fate::Lands } => (offset, data),
            };
            let (mut whole, mut any) = (true, false);
            for sector in sectors_of(*offset, data.len()) {
                if kept[&sector].contains(&index) {
                    let from = (sector * SECTOR).max(*offset);
                    let to = ((sector + 1) * SECTOR).min(offset + data.len() as u64);
                    self.durable.write(from, &data.part((from - offset) as usize..(to - offset) as usize));
                    any = true;
                } else {
                    whole = false;
                }
            }
            tally.torn_writes += u64::from(any && !whole);
            tally.lost_writes += u64::from(!any && !data.is_empty());
        }
        self.durable.set_length(length);
    }

    /// The changes that may have reached the disk, and the file's length as the disk knows it.
    fn lasting_lengths(
        &self,
        pending: &VecDeque<Pending>,
        loss: Loss,
        subject: Subject,
        decider: &mut Decider,
    ) -> (Vec<Change>, u64) {
        // Each length that the file had after a change of it, where that change stands, and whether it was a cut.
        let mut length = self.durable.length();
        let mut steps = Vec::new();
        for (index, pending) in pending.iter().enumerate() {
            let to = match &pending.change {
                Change::Write { offset, data, .. } => length.max(offset + data.len() as u64),
                Change::Length(to) => *to,
            };
            if to != length {
                steps.push((index, to, to < length));
                length = to;
            }
        }
        let droppable = if loss == Loss::Torn { 0 } else { steps.len() };
        let lost = decider.decide(Site::DiskCrashLength, subject, &Below(droppable as u64 + 1)) as usize;
        let (lasting, lost) = steps.split_at(steps.len() - lost);
        let end = lost.iter().find(|step| step.2).map_or(pending.len(), |step| step.0);
        let length = lasting.last().map_or(self.durable.length(), |step| step.1);
        (pending.iter().take(end).map(|pending| pending.change.clone()).collect(), length)
    }

    /// The content as the page cache shows it. Zeros at the end are cut off, up to a whole page, when `sparse`.
    pub(super) fn image(&self, sparse: bool) -> Rope {
        let content = self.shown(Layer::Cached);
        let used = match sparse {
            true => content.used().next_multiple_of(PAGE).min(content.length()),
            false => content.length(),
        };
        content.rope(used)
    }

    /// The content that lasts, or that the page cache shows.
    pub(super) fn content(&self, layer: Layer) -> FileContent {
        let content = self.shown(layer);
        FileContent { data: content.rope(content.used()).to_bytes(), length: content.length() }
    }

    /// Where the zeros at the end of what lasts begin.
    pub(super) fn used(&self) -> u64 {
        self.durable.used()
    }

    /// Changes what lasts behind everybody's back.
    pub(super) fn overwrite(&mut self, offset: u64, data: &[u8]) {
        let end = (offset + data.len() as u64).min(self.durable.length());
        if offset < end {
            self.durable.write(offset, &data[..(end - offset) as usize].to_vec().into());
        }
    }

    fn shown(&self, layer: Layer) -> Content {
        let mut content = self.durable.clone();
        if layer == Layer::Cached {
            self.ghosts.values().flatten().for_each(|ghost| content.write(ghost.offset, &ghost.data));
            for pending in &self.pending {
                match &pending.change {
                    Change::Write { offset, data, .. } => content.write(*offset, data),
                    Change::Length(length) => content.set_length(*length),
                }
            }
        }
        content
    }

    /// A write reaches the disk. Its pages go there whole, ghosts and all.
    fn land(&mut self, offset: u64, data: &Rope) {
        for (page, _) in pieces(offset, data.len()) {
            for ghost in self.ghosts.remove(&page).into_iter().flatten() {
                self.durable.write(ghost.offset, &ghost.data);
            }
        }
        self.durable.write(offset, data);
    }

    fn haunt(&mut self, offset: u64, data: &Rope, haunts: Haunts) {
        self.durable.extend_to(offset + data.len() as u64);
        for (page, part) in pieces(offset, data.len()) {
            let (offset, data) = (offset + part.start as u64, data.part(part));
            self.ghosts.entry(page).or_default().push(Ghost { offset, data, haunts });
        }
    }

    fn set_durable_length(&mut self, length: u64) {
        self.durable.set_length(length);
        self.ghosts.split_off(&length.div_ceil(PAGE));
        for ghost in self.ghosts.get_mut(&(length / PAGE)).into_iter().flatten() {
            let left = length.saturating_sub(ghost.offset) as usize;
            ghost.data = ghost.data.part(0..left.min(ghost.data.len()));
        }
    }
}

fn pages_of(change: &Change) -> impl Iterator<Item = u64> + '_ {
    let (offset, length) = match change {
        Change::Write { offset, data, .. } => (*offset, data.len()),
        Change::Length(_) => (0, 0),
    };
    pieces(offset, length).map(|(page, _)| page)
}

/// The sectors that these changes write, each with the indices of the writes to it, in order.
fn sectors(changes: &[Change]) -> Vec<(u64, Vec<usize>)> {
    let mut sectors: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, change) in changes.iter().enumerate() {
        if let Change::Write { offset, data, .. } = change {
            for sector in sectors_of(*offset, data.len()) {
                sectors.entry(sector).or_default().push(index);
            }
        }
    }
    sectors.into_iter().collect()
}

fn sectors_of(offset: u64, length: usize) -> std::ops::Range<u64> {
    if length == 0 {
        return 0..0;
    }
    offset / SECTOR..(offset + length as u64).div_ceil(SECTOR)
}
