//! What episodes do to disks, and what becomes of members whose disks broke a promise.
//!
//! A member that ends on a failed write comes back as any that ends by itself. One that refuses to start from a disk
//! which was harmed, or panics after some disk was, stays down: that is what the fault led to, and no finding. The
//! refusal is kept for the result, and the operator may put a new member in its place.

use detcd_replica::backend::{Backend, Bucket};
use detcd_replica::time::Span;
use detcd_replica::{BootError, Bugs, FileName, MemberId};

use crate::disk::{Disk, DiskTally, Failure, FileKind, Honesty, Layer, Reading};
use crate::fault::{Episode, Kind, RecordDamage};

use super::node::Down;
use super::{Happening, World};

/// A member that did not start, or could not go on, because of what its disk had done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who.
    pub member: MemberId,
    /// When, since the run began.
    pub at: Span,
    /// Why, in etcd's classes of error.
    pub reason: String,
}

impl World<'_> {
    /// A disk's episode begins for these nodes.
    pub(super) fn disk_episode(&mut self, place: usize, episode: &Episode, nodes: &[usize]) {
        let (file, nth) = (episode.aim.file, episode.magnitude.max(0) as u64);
        for &node in nodes {
            let disk = &mut self.nodes[node].disk;
            let arm = |disk: &mut Disk, failure| disk.arm(place, failure, file, nth);
            match episode.kind {
                Kind::DiskWriteError => arm(disk, Failure::Write),
                Kind::DiskSyncError => {
                    arm(disk, Failure::Sync(episode.aim.mode.expect("a failed sync says what it leaves")));
                }
                Kind::LostWrite => arm(disk, Failure::Lost),
                Kind::MisdirectedWrite => arm(disk, Failure::Misdirected),
                Kind::DiskFull => disk.set_room(Some(nth)),
                Kind::LyingSync => disk.set_honesty(Honesty::Lying(file)),
                Kind::DiskReadError => {
                    disk.set_reading(Reading::Failing(file));
                    self.crash(node, Down::Crashed);
                    self.queue.push(self.now, Happening::Restart { node });
                }
                Kind::BitRot => disk.rot(file, nth, &mut self.decider),
                Kind::SectorLoss => disk.lose_sectors(file, nth, &mut self.decider),
                Kind::RecordDamage => {
                    let how = episode.aim.record.expect("a damaged record says how");
                    if damage_record(disk, nth, how) {
                        self.fired(episode.kind);
                    }
                }
                Kind::ValueDamage => {
                    if damage_value(disk, nth) {
                        self.fired(episode.kind);
                    }
                }
                Kind::DiskFailure => self.disk_failed(node),
                other => unreachable!("{other} is no episode of a disk"),
            }
            self.look_for_harm(node);
        }
    }

    /// It ends.
    pub(super) fn disk_episode_ends(&mut self, place: usize, episode: &Episode, nodes: &[usize]) {
        for &node in nodes {
            let disk = &mut self.nodes[node].disk;
            match episode.kind {
                Kind::DiskFull => disk.set_room(None),
                Kind::LyingSync => disk.set_honesty(Honesty::Honest),
                Kind::DiskReadError => disk.set_reading(Reading::Fine),
                Kind::DiskFailure => self.replace(node),
                _ => disk.disarm(place),
            }
        }
    }

    /// The disk is gone, with everything on it: nobody starts this member again.
    fn disk_failed(&mut self, node: usize) {
        if self.nodes[node].down == Down::Removed {
            return;
        }
        self.fired(Kind::DiskFailure);
        self.crash(node, Down::Refused);
        self.refuses(node, "the disk has failed".to_owned());
    }

    /// The judge must know when a disk has broken a promise.
    pub(super) fn look_for_harm(&mut self, node: usize) {
        if self.nodes[node].disk.take_harm() {
            self.trace_note(node, "the disk has broken a promise");
            self.observer.damaged(self.moment, self.nodes[node].config.member);
        }
    }

    /// A member refuses to start, and its disk is to blame.
    pub(super) fn refuses(&mut self, node: usize, reason: String) {
        let member = self.nodes[node].config.member;
        self.trace_note(node, "refused");
        self.nodes[node].down = Down::Refused;
        *self.tally.entry("refusals").or_default() += 1;
        // Whoever is tried again and again refuses for one reason.
        if self.refusals.iter().rev().find(|last| last.member == member).is_none_or(|last| last.reason != reason) {
            self.refusals.push(Refusal { member, at: Span(self.now), reason });
        }
    }

    /// A file cannot be read: the member ends, and is tried again a little later.
    pub(super) fn cannot_read(&mut self, node: usize, file: FileName) {
        self.refuses(node, unreadable(file).to_string());
        self.nodes[node].down = Down::Exited("failed to read a file");
        self.node_gone(node);
    }

    /// Whether any disk has broken a promise, so that no member need be what it seems.
    pub(super) fn any_harm(&self) -> bool {
        self.nodes.iter().any(|node| node.disk.is_harmed())
    }

    /// How often each kind of a disk's fault really struck, counted by the disks themselves.
    pub(super) fn count_disk_faults(&mut self) {
        type Count = fn(&DiskTally) -> u64;
        let counts: [(Kind, Count); 9] = [
            (Kind::DiskWriteError, |tally| tally.failed_writes),
            (Kind::DiskReadError, |tally| tally.failed_reads),
            (Kind::DiskFull, |tally| tally.full),
            (Kind::DiskSyncError, |tally| tally.failed_syncs),
            (Kind::LyingSync, |tally| tally.lies),
            (Kind::LostWrite, |tally| tally.vanished_writes),
            (Kind::MisdirectedWrite, |tally| tally.misdirected_writes),
            (Kind::BitRot, |tally| tally.flipped_bits),
            (Kind::SectorLoss, |tally| tally.zeroed_sectors),
        ];
        for (kind, count) in counts {
            let struck: u64 = self.nodes.iter().map(|node| count(node.disk.tally())).sum();
            if struck > 0 {
                self.faults.count(kind, struck);
            }
        }
    }
}

/// etcd's class of error for a file that cannot be read at boot.
fn unreadable(file: FileName) -> BootError {
    let reason = "input/output error".to_owned();
    match FileKind::of(file) {
        FileKind::Wal => BootError::Wal { file, offset: 0, reason },
        FileKind::Db => BootError::Backend { reason },
        FileKind::Snap | FileKind::SnapDb => BootError::Snapshot { reason: format!("{file}: {reason}") },
    }
}

/// Damages the `nth` durable record from the end of the last WAL segment. False when there is none.
fn damage_record(disk: &mut Disk, nth: u64, how: RecordDamage) -> bool {
    let contents = disk.contents(Layer::Durable);
    let segment = contents.iter().rev().find(|(file, _)| matches!(file, FileName::Wal { .. }));
    let Some((&file, content)) = segment else { return false };
    let records = frames(&content.data);
    let Some((start, length)) = records.len().checked_sub(nth as usize).map(|place| records[place]) else {
        return false;
    };
    match how {
        RecordDamage::NoLength => disk.overwrite(file, start, &[0; FRAME]),
        RecordDamage::HighBit => {
            // The 56 bits of a length, of which the highest is taken for the sign or for a size beyond all limits.
            let highest = content.data[start as usize + 6] ^ 0x80;
            disk.overwrite(file, start + 6, &[highest]);
        }
        RecordDamage::TooLong => {
            let longer = content.data.len() as u64 - start + 2 * SECTOR;
            disk.overwrite(file, start, &longer.next_multiple_of(8).to_le_bytes());
        }
        RecordDamage::Data => {
            let middle = start + FRAME as u64 + length / 2;
            let flipped = content.data[middle as usize] ^ 0x10;
            disk.overwrite(file, middle, &[flipped]);
        }
    }
    true
}

/// Changes the last byte of the value with the `nth` newest revision in a database that nobody has open. False when
/// there is none.
fn damage_value(disk: &mut Disk, nth: u64) -> bool {
    let mut image = disk.image();
    let Some(data) = image.bytes(FileName::Db) else { return false };
    image.files.insert(FileName::Db, data.clone().into());
    let Ok(database) = Backend::open(&image, Bugs::NONE) else { return false };
    // What is read of a database that was just opened lies in the file, if that is in one piece: that is where it is.
    let file = data.as_ptr_range();
    let mut ends = Vec::new();
    database.for_each(Bucket::Key, b"", None, &mut |revision, value| {
        let end = value.as_ptr_range().end;
        if revision.len() == PUT && !value.is_empty() && file.start < end && end <= file.end {
            ends.push(end as usize - file.start as usize);
        }
        true
    });
    let Some(end) = ends.len().checked_sub(nth as usize).and_then(|place| ends.get(place)) else { return false };
    let last = end - 1;
    disk.overwrite(FileName::Db, last as u64, &[data[last] ^ 1]);
    true
}

/// Bytes of a revision in the key bucket; a delete's is longer.
const PUT: usize = 17;

/// Bytes of a record's length field: 56 bits of length, and a byte that says whether and how much padding follows.
const FRAME: usize = 8;
const SECTOR: u64 = 512;

/// Where each record of a segment starts, and how long it is, its padding included.
fn frames(data: &[u8]) -> Vec<(u64, u64)> {
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(field) = data.get(at..at + FRAME) {
        let field = u64::from_le_bytes(field.try_into().expect("a slice of eight bytes"));
        if field == 0 {
            break;
        }
        let padding = if field >> 63 == 1 { (field >> 56) & 0x7 } else { 0 };
        let length = (field & 0x00ff_ffff_ffff_ffff) + padding;
        if length > (data.len() - at) as u64 {
            break;
        }
        frames.push((at as u64, length));
        at += FRAME + length as usize;
    }
    frames
}
