//! The bytes of the backend's file.
//!
//! ```text
//! 0      meta slot 0     the slot of txid is txid % 2; the newest slot that is whole counts
//! 4096   meta slot 1     magic u64 · version u64 · txid u64 · bytes of log u64 · CRC-32C of these u32, little endian
//! 8192   log             batches: bytes of operations u64 · txid u64 · CRC-32C of these and the operations u32 · 0
//! u32 · operations
//! ```
//! An operation is a byte (bucket · 2 + 1 for a delete), then the key and, for a put, the value, each after its
//! length as a varint. Whatever lies behind the log that the meta slot speaks of is a commit that never was.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Bucket, Buckets};
use crate::wal::{take, take_varint};

const MAGIC: u64 = u64::from_le_bytes(*b"detcd-db");
const VERSION: u64 = 1;
const SLOT: u64 = 4096;
const HEADER: usize = 24;
const META: usize = 36;

/// Where the log begins.
pub(super) const LOG_START: u64 = 2 * SLOT;

/// What a meta slot says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Meta {
    pub(super) txid: u64,
    /// Bytes of log that count.
    pub(super) length: u64,
}

impl Meta {
    /// Where it goes, and its bytes. They lie in one sector, so that they are there or not.
    pub(super) fn slot(&self) -> (u64, Bytes) {
        let mut slot = Vec::with_capacity(META);
        for number in [MAGIC, VERSION, self.txid, self.length] {
            slot.extend_from_slice(&number.to_le_bytes());
        }
        let crc = crc32c::crc32c(&slot);
        slot.extend_from_slice(&crc.to_le_bytes());
        (self.txid % 2 * SLOT, slot.into())
    }

    fn parse(slot: &[u8]) -> Option<Self> {
        let number = |at: usize| slot.get(at..)?.first_chunk().copied().map(u64::from_le_bytes);
        let crc = slot.get(32..)?.first_chunk().copied().map(u32::from_le_bytes)?;
        let sound = number(0)? == MAGIC && number(8)? == VERSION && crc == crc32c::crc32c(&slot[..32]);
        sound.then_some(Self { txid: number(16)?, length: number(24)? })
    }
}

/// About what a pair takes in the log.
pub(super) fn cost(key: &[u8], value: &[u8]) -> u64 {
    cost_of(key.len(), value.len())
}

pub(super) fn cost_of(key: usize, value: usize) -> u64 {
    (key + value + 4) as u64
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

pub(super) fn put_put(out: &mut Vec<u8>, bucket: Bucket, key: &[u8], value: &[u8]) {
    out.push(bucket as u8 * 2);
    put_bytes(out, key);
    put_bytes(out, value);
}

pub(super) fn put_delete(out: &mut Vec<u8>, bucket: Bucket, key: &[u8]) {
    out.push(bucket as u8 * 2 + 1);
    put_bytes(out, key);
}

/// A batch as it goes into the log.
pub(super) fn batch(txid: u64, operations: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + operations.len());
    out.extend_from_slice(&(operations.len() as u64).to_le_bytes());
    out.extend_from_slice(&txid.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&out), operations);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(operations);
    out
}

/// A file that holds `buckets` in one batch.
pub(super) fn whole(txid: u64, buckets: &Buckets) -> (Meta, Bytes) {
    let mut operations = Vec::new();
    for bucket in Bucket::ALL {
        for (key, value) in &buckets[bucket as usize] {
            put_put(&mut operations, bucket, key, value);
        }
    }
    let log = batch(txid, &operations);
    let meta = Meta { txid, length: log.len() as u64 };
    let mut out = vec![0; LOG_START as usize];
    let (offset, slot) = meta.slot();
    out[offset as usize..][..slot.len()].copy_from_slice(&slot);
    out.extend_from_slice(&log);
    (meta, out.into())
}

/// What a file holds. Keys and values share its memory.
pub(super) fn read(file: &Bytes) -> Result<(Meta, Buckets), String> {
    let slots = [0, SLOT].map(|offset| file.get(offset as usize..).and_then(Meta::parse));
    let newest = slots.into_iter().flatten().max_by_key(|meta| meta.txid);
    let meta = newest.ok_or("neither meta page is valid")?;
    if meta.txid == u64::MAX {
        return Err("the transaction number has run out".into());
    }
    let log = file.get(LOG_START as usize..).and_then(|log| log.get(..usize::try_from(meta.length).ok()?));
    let mut log = log.ok_or_else(|| format!("the file is shorter than its {} bytes of log", meta.length))?;
    let (mut buckets, mut last) = (Buckets::default(), 0);
    while !log.is_empty() {
        let offset = LOG_START + meta.length - log.len() as u64;
        last =
            read_batch(file, &mut log, last, &mut buckets).map_err(|reason| format!("at byte {offset}: {reason}"))?;
    }
    if last != meta.txid {
        return Err(format!("the log ends with transaction {last}, the meta page with {}", meta.txid));
    }
    Ok((meta, buckets))
}

/// Takes a batch off the front of the log. Returns its number, which is above `last`.
fn read_batch(file: &Bytes, log: &mut &[u8], last: u64, buckets: &mut Buckets) -> Result<u64, &'static str> {
    let header = take(log, HEADER as u64)?;
    let number = |at: usize| header[at..].first_chunk().copied().map(u64::from_le_bytes).expect("the header is longer");
    let (length, txid) = (number(0), number(8));
    let mut operations = take(log, length)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..16]), operations);
    if header[16..20] != crc.to_le_bytes() {
        return Err("a batch does not match its checksum");
    }
    if txid <= last {
        return Err("a batch is older than the one before");
    }
    while let Some((&operation, rest)) = operations.split_first() {
        operations = rest;
        let bucket: &mut BTreeMap<Bytes, Bytes> =
            buckets.get_mut(usize::from(operation / 2)).ok_or("a bucket does not exist")?;
        let length = take_varint(&mut operations)?;
        let key = take(&mut operations, length)?;
        if operation % 2 == 1 {
            bucket.remove(key);
            continue;
        }
        let length = take_varint(&mut operations)?;
        let value = take(&mut operations, length)?;
        bucket.insert(file.slice_ref(key), file.slice_ref(value));
    }
    Ok(txid)
}
