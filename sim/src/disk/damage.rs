//! Damage at rest: what had lasted is gone, changed, unreadable, or lands in the wrong place.

use detcd_replica::{DiskImage, FileName};

use crate::decide::{Decider, Site, Subject};
use crate::distribution::Below;

use super::file::{Fate, SECTOR};
use super::{Disk, Failure, FileKind, Layer, Reading};

impl Disk {
    /// What a booting member reads, as [`Disk::image`].
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(&mut self) -> Result<DiskImage, FileName> {
        let image = self.image();
        if let Reading::Failing(kind) = self.reading {
            let bad = image.files.keys().find(|file| kind.is_none_or(|kind| FileKind::of(**file) == kind));
            if let Some(file) = bad {
                self.tally.failed_reads += 1;
                return Err(*file);
            }
        }
        Ok(image)
    }

    /// So many sectors in a row of a durable file read as zeros from now on.
    pub fn lose_sectors(&mut self, kind: Option<FileKind>, count: u64, decider: &mut Decider) {
        let Some((file, sector)) = self.spot(kind, decider) else { return };
        self.damage(file, sector * SECTOR, &vec![0; (count * SECTOR) as usize]);
        self.tally.zeroed_sectors += count;
    }

    /// So many bits in one sector of a durable file flip.
    pub fn rot(&mut self, kind: Option<FileKind>, bits: u64, decider: &mut Decider) {
        let Some((file, sector)) = self.spot(kind, decider) else { return };
        let subject = Subject::one(self.node);
        let mut content = self.files[&file].content(Layer::Durable).data.to_vec();
        let start = (sector * SECTOR) as usize;
        content.resize(content.len().max(start + SECTOR as usize), 0);
        let content = &mut content[start..start + SECTOR as usize];
        for _ in 0..bits {
            let bit = decider.decide(Site::DiskDamage, subject, &Below(SECTOR * 8));
            content[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
        self.damage(file, sector * SECTOR, content);
        self.tally.flipped_bits += bits;
    }

    /// Other bytes stand in a durable file from now on.
    pub fn overwrite(&mut self, file: FileName, offset: u64, data: &[u8]) {
        if let Some(&id) = self.durable_names.get(&file) {
            self.damage(id, offset, data);
        }
    }

    fn damage(&mut self, file: u64, offset: u64, data: &[u8]) {
        self.files.get_mut(&file).expect("a durable name has a file").overwrite(offset, data);
        self.harm(true);
    }

    /// A durable file, the newest first, and a sector of it that holds something or lies before one that does.
    fn spot(&self, kind: Option<FileKind>, decider: &mut Decider) -> Option<(u64, u64)> {
        let subject = Subject::one(self.node);
        let fits = |file: &FileName| kind.is_none_or(|kind| FileKind::of(*file) == kind);
        let held = |id: &&u64| self.files[id].used() > 0;
        let names = self.durable_names.iter().rev().filter(|(name, _)| fits(name));
        let files: Vec<u64> = names.map(|(_, id)| id).filter(held).copied().collect();
        if files.is_empty() {
            return None;
        }
        let file = files[decider.decide(Site::DiskDamage, subject, &Below(files.len() as u64)) as usize];
        let sectors = self.files[&file].used().div_ceil(SECTOR);
        let sector = decider.decide(Site::DiskDamage, subject, &Below(sectors + 1)).checked_sub(1)?;
        Some((file, sector))
    }

    /// Where a write goes, if it meets a failure.
    pub(super) fn fate(&self, met: Option<Failure>, file: FileName, offset: u64, decider: &mut Decider) -> Fate {
        match met {
            Some(Failure::Lost) => Fate::Lost,
            Some(Failure::Misdirected) => {
                let sectors = self.files[&self.id(file)].used().div_ceil(SECTOR).max(1);
                let miss = decider.decide(Site::DiskMisdirect, Subject::one(self.node), &Below(sectors));
                let at = (offset / SECTOR + miss) % sectors * SECTOR + offset % SECTOR;
                match miss == 0 || at == offset {
                    true => Fate::Lands,
                    false => Fate::Astray(at),
                }
            }
            _ => Fate::Lands,
        }
    }
}
