//! A `snapshot save` file made into the database of a new cluster, as `etcdutl snapshot restore` does it.
//!
//! The keys stay, with all their revisions; so do leases, users and roles. What belonged to the old cluster goes: its
//! members, and the Raft index that the database was the result of. Who boots from it founds a cluster that begins
//! with these keys.

use bytes::Bytes;
use detcd_replica::backend::{Backend, CommitProgress};
use detcd_replica::mvcc::Bucket;
use detcd_replica::wal::Commands;
use detcd_replica::{Bugs, DiskCommand, DiskImage, FileName, OpId};
use sha2::{Digest, Sha256};

use super::alone::Files;
use super::EngineError;

/// Bytes of the SHA-256 behind a saved database.
const HASH: usize = 32;
/// bbolt's files are whole sectors; what is over is the hash.
const SECTOR: usize = 512;

/// Whether the hash of a saved file is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashCheck {
    /// It is, and must be there.
    Demanded,
    /// It is not: the file may be a plain copy of a database.
    Skipped,
}

/// The database in a `snapshot save` file.
///
/// # Errors
/// There is no hash, or it is that of something else.
pub(crate) fn saved(file: &Bytes, check: HashCheck) -> Result<Bytes, EngineError> {
    let over = file.len() % SECTOR;
    if over != HASH {
        return match check {
            HashCheck::Skipped if over == 0 => Ok(file.clone()),
            _ => Err(EngineError::Asked(format!(
                "no SHA-256 at the end of its {} bytes: not a `snapshot save` file, or cut off \
                 (--skip-hash-check takes a plain copy of a database)",
                file.len()
            ))),
        };
    }
    let (database, hash) = file.split_at(file.len() - HASH);
    let sum = Sha256::digest(database);
    if check == HashCheck::Demanded && sum[..] != *hash {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let (wanted, found) = (hex(hash), hex(&sum));
        return Err(EngineError::Asked(format!("the SHA-256 at byte {} is {wanted}, not {found}", database.len())));
    }
    Ok(file.slice(..database.len()))
}

/// The database for the members of a new cluster.
///
/// # Errors
/// It cannot be opened.
pub(crate) fn restored(database: &Bytes) -> Result<Bytes, EngineError> {
    let mut backend = Backend::parse(database, Bugs::NONE).map_err(|error| EngineError::Asked(error.to_string()))?;
    for bucket in [Bucket::Members, Bucket::MembersRemoved] {
        let mut keys = Vec::new();
        backend.for_each(bucket, b"", None, &mut |key, _| {
            keys.push(key.clone());
            true
        });
        keys.iter().for_each(|key| backend.delete(bucket, key));
    }
    for key in [&b"consistent_index"[..], b"term", b"confState"] {
        backend.delete(Bucket::Meta, key);
    }
    backend.set_consistent_index(0, 0);
    let image = DiskImage { files: [(FileName::Db, database.clone().into())].into(), ..DiskImage::default() };
    let mut sink = Sink { files: Files::new(image), issued: 0 };
    let mut op = backend.begin_commit(&mut sink);
    while backend.on_disk(op, &mut sink) == CommitProgress::Pending {
        op = backend.awaiting().expect("a commit under way waits for something");
    }
    Ok(sink.files.image().bytes(FileName::Db).expect("it was put there"))
}

/// Performs commands at once.
struct Sink {
    files: Files,
    issued: u64,
}

impl Commands for Sink {
    fn issue(&mut self, command: DiskCommand) -> OpId {
        self.issued += 1;
        self.files.perform(command);
        OpId(self.issued)
    }
}
