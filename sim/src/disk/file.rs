//! One file: what lasts, and the writes after that which may not.
//!
//! What the page cache shows is the durable content with the pending changes applied; nothing reads it but a boot, so
//! it is not kept. A sync moves the changes issued before it into the durable content. A power failure picks, for each
//! 512-byte sector, how many of the writes to it had reached the disk already; writes to one sector reach it in order.
//! Zeros at the end take no memory: a preallocated segment is a length.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::decide::{Decider, Site, Subject};
use crate::distribution::Below;

use super::device::Work;
use super::{DiskTally, FileContent, Layer, Loss};

/// What a disk writes as a whole.
pub(super) const SECTOR: u64 = 512;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, data: Bytes },
    Length(u64),
}

#[derive(Clone, Debug)]
struct Pending {
    /// When it was issued, in the order of all changes of the disk.
    sequence: u64,
    change: Change,
}

/// Content whose zeros at the end are left out.
#[derive(Clone, Debug, Default)]
struct Content {
    data: Vec<u8>,
    length: u64,
}

impl Content {
    fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let start = usize::try_from(offset).expect("a simulated file fits into memory");
        let end = start + bytes.len();
        if self.data.len() < end {
            self.data.resize(end, 0);
        }
        self.data[start..end].copy_from_slice(bytes);
        self.length = self.length.max(end as u64);
    }

    fn set_length(&mut self, length: u64) {
        self.length = length;
        if (self.data.len() as u64) > length {
            self.data.truncate(length as usize);
        }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { offset, data } => self.write(*offset, data),
            Change::Length(length) => self.set_length(*length),
        }
    }
}

/// One file (an inode: names are elsewhere).
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    durable: Content,
    pending: VecDeque<Pending>,
    /// Length as the page cache has it.
    length: u64,
}

impl File {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn is_clean(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn write(&mut self, sequence: u64, offset: u64, data: Bytes) {
        self.length = self.length.max(offset + data.len() as u64);
        self.pending.push_back(Pending { sequence, change: Change::Write { offset, data } });
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
            if let Change::Write { offset, data } = &pending.change {
                work.bytes += data.len() as u64;
                work.runs += u64::from(last != Some(*offset));
                last = Some(offset + data.len() as u64);
            }
        }
        work
    }

    /// The changes up to this one last.
    pub(super) fn persist(&mut self, up_to: u64) {
        while self.pending.front().is_some_and(|pending| pending.sequence <= up_to) {
            let pending = self.pending.pop_front().expect("it was just looked at");
            self.durable.apply(&pending.change);
        }
    }

    /// The changes up to this one will never last: a sync failed, and the cache calls their pages clean.
    pub(super) fn forget(&mut self, up_to: u64) {
        self.pending.retain(|pending| pending.sequence > up_to);
        let mut length = self.durable.length;
        for pending in &self.pending {
            match &pending.change {
                Change::Write { offset, data } => length = length.max(offset + data.len() as u64),
                Change::Length(to) => length = *to,
            }
        }
        self.length = length;
    }

    /// Power fails.
    pub(super) fn crash(&mut self, loss: Loss, subject: Subject, decider: &mut Decider, tally: &mut DiskTally) {
        match loss {
            Loss::Nothing => self.persist(u64::MAX),
            Loss::Everything => {
                tally.lost_writes += self.pending.len() as u64;
                self.pending.clear();
            }
            Loss::Sectors | Loss::Torn => self.tear(loss, subject, decider, tally),
        }
        self.pending.clear();
        self.length = self.durable.length;
    }

    /// The changes of length are a journal: the first few of them last. After a cut that did not last, nothing does.
    /// Sectors of earlier writes are then chosen one by one (of the last write only, when that is what is torn).
    fn tear(&mut self, loss: Loss, subject: Subject, decider: &mut Decider, tally: &mut DiskTally) {
        let pending = std::mem::take(&mut self.pending);
        let (changes, lengths) = self.lasting_lengths(&pending, loss, subject, decider);
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
            let Change::Write { offset, data } = change else {
                self.durable.apply(change);
                continue;
            };
            let (mut whole, mut any) = (true, false);
            for sector in sectors_of(*offset, data.len()) {
                if kept[&sector].contains(&index) {
                    let from = (sector * SECTOR).max(*offset);
                    let to = ((sector + 1) * SECTOR).min(offset + data.len() as u64);
                    self.durable.write(from, &data[(from - offset) as usize..(to - offset) as usize]);
                    any = true;
                } else {
                    whole = false;
                }
            }
            tally.torn_writes += u64::from(any && !whole);
            tally.lost_writes += u64::from(!any && !data.is_empty());
        }
        self.durable.set_length(lengths);
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
        let mut length = self.durable.length;
        let mut steps = Vec::new();
        for (index, pending) in pending.iter().enumerate() {
            let to = match &pending.change {
                Change::Write { offset, data } => length.max(offset + data.len() as u64),
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
        let length = lasting.last().map_or(self.durable.length, |step| step.1);
        (pending.iter().take(end).map(|pending| pending.change.clone()).collect(), length)
    }

    /// The content as the page cache shows it. Zeros at the end are cut off, up to a whole sector, when `sparse`.
    pub(super) fn image(&self, sparse: bool) -> Bytes {
        let mut content = self.durable.clone();
        self.pending.iter().for_each(|pending| content.apply(&pending.change));
        let Content { mut data, length } = content;
        let used = match data.iter().rposition(|&byte| byte != 0) {
            Some(last) if sparse => (last as u64 + 1).next_multiple_of(SECTOR).min(length),
            None if sparse => 0,
            _ => length,
        };
        data.resize(usize::try_from(used).expect("a simulated file fits into memory"), 0);
        Bytes::from(data)
    }

    /// The content that lasts, or that the page cache shows.
    pub(super) fn content(&self, layer: Layer) -> FileContent {
        let mut content = self.durable.clone();
        if layer == Layer::Cached {
            self.pending.iter().for_each(|pending| content.apply(&pending.change));
        }
        let used = content.data.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        content.data.truncate(used);
        FileContent { data: content.data.into(), length: content.length }
    }
}

/// The sectors that these changes write, each with the indices of the writes to it, in order.
fn sectors(changes: &[Change]) -> Vec<(u64, Vec<usize>)> {
    let mut sectors: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, change) in changes.iter().enumerate() {
        if let Change::Write { offset, data } = change {
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
