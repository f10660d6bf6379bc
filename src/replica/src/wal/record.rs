//! The bytes of WAL records: frames, the protobuf inside them, and the rolling checksum.
//!
//! ```text
//! | length: u64, little endian | Record { type = 1, crc = 2, data = 3 } | zeros up to a multiple of 8 |
//!   low 56 bits: bytes of the record; top byte: 0x80 | number of padding bytes, or 0 without padding
//! ```
//! Each `crc` is CRC-32C over the data of all records so far. Scalars are written even when zero, as gogo-protobuf
//! writes fields that cannot be null. Written by hand: this is the hottest path of a member that writes.

use std::borrow::Cow;

use bytes::Bytes;

use super::buffer::Buffer;
use crate::raftpb;

pub(super) const METADATA: u64 = 1;
pub(super) const ENTRY: u64 = 2;
pub(super) const STATE: u64 = 3;
pub(super) const CRC: u64 = 4;
pub(super) const SNAPSHOT: u64 = 5;

/// Bytes of the length that opens a frame.
pub(super) const FRAME: usize = 8;

/// A handful of varints and their tags.
pub(crate) struct Small {
    bytes: [u8; 48],
    length: usize,
}

impl Small {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; 48], length: 0 }
    }

    pub(crate) fn varint(&mut self, tag: u8, mut value: u64) {
        self.bytes[self.length] = tag;
        self.length += 1;
        while value >= 0x80 {
            self.bytes[self.length] = value as u8 | 0x80;
            self.length += 1;
            value >>= 7;
        }
        self.bytes[self.length] = value as u8;
        self.length += 1;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Appends a frame whose data is `head` and then `tail`, and moves the checksum on.
fn frame(out: &mut Buffer, crc: &mut u32, kind: u64, head: &[u8], tail: &Bytes) {
    *crc = crc32c::crc32c_append(*crc, head);
    *crc = crc32c::crc32c_append(*crc, tail);
    let data = head.len() + tail.len();
    let mut fields = Small::new();
    fields.varint(0x08, kind);
    fields.varint(0x10, u64::from(*crc));
    if data > 0 {
        fields.varint(0x1a, data as u64);
    }
    let record = fields.length + data;
    let padding = record.wrapping_neg() % 8;
    let mut length = record as u64;
    if padding > 0 {
        length |= (0x80 | padding as u64) << 56;
    }
    out.copy(&length.to_le_bytes());
    out.copy(fields.bytes());
    out.copy(head);
    out.append(tail);
    out.copy(&[0; 8][..padding]);
}

pub(super) fn put_metadata(out: &mut Buffer, crc: &mut u32, metadata: &Bytes) {
    frame(out, crc, METADATA, &[], metadata);
}

/// Carries the checksum over into a new segment. It has no data, so it states the checksum as it is.
pub(super) fn put_crc(out: &mut Buffer, crc: &mut u32) {
    frame(out, crc, CRC, &[], &Bytes::new());
}

pub(super) fn put_entry(out: &mut Buffer, crc: &mut u32, entry: &raftpb::Entry) {
    assert!(entry.context.is_empty(), "etcd's log has no place for the context of entry {}", entry.index);
    let mut head = Small::new();
    head.varint(0x08, entry.entry_type as u64);
    head.varint(0x10, entry.term);
    head.varint(0x18, entry.index);
    if !entry.data.is_empty() {
        head.varint(0x22, entry.data.len() as u64);
    }
    frame(out, crc, ENTRY, head.bytes(), &entry.data);
}

pub(super) fn put_state(out: &mut Buffer, crc: &mut u32, (term, vote, commit): (u64, u64, u64)) {
    let mut head = Small::new();
    head.varint(0x08, term);
    head.varint(0x10, vote);
    head.varint(0x18, commit);
    frame(out, crc, STATE, head.bytes(), &Bytes::new());
}

pub(super) fn put_snapshot(
    out: &mut Buffer,
    crc: &mut u32,
    index: u64,
    term: u64,
    conf_state: Option<&raftpb::ConfState>,
) {
    let mut head = Small::new();
    head.varint(0x08, index);
    head.varint(0x10, term);
    let mut tail = Vec::new();
    if let Some(conf_state) = conf_state {
        put_conf_state(&mut tail, 0x1a, conf_state);
    }
    frame(out, crc, SNAPSHOT, head.bytes(), &tail.into());
}

/// Appends a configuration as a field of the message around it.
pub(crate) fn put_conf_state(out: &mut Vec<u8>, tag: u8, conf_state: &raftpb::ConfState) {
    let mut body = Vec::new();
    let lists = [&conf_state.voters, &conf_state.learners, &conf_state.voters_outgoing, &conf_state.learners_next];
    for (list, list_tag) in lists.into_iter().zip([0x08, 0x10, 0x18, 0x20]) {
        for id in list {
            let mut field = Small::new();
            field.varint(list_tag, *id);
            body.extend_from_slice(field.bytes());
        }
    }
    body.extend_from_slice(&[0x28, u8::from(conf_state.auto_leave)]);
    let mut opening = Small::new();
    opening.varint(tag, body.len() as u64);
    out.extend_from_slice(opening.bytes());
    out.append(&mut body);
}

/// What a frame's length says: bytes of the record, bytes of padding.
pub(super) fn frame_size(length: u64) -> (u64, u64) {
    let padding = if length >> 63 == 1 { (length >> 56) & 7 } else { 0 };
    (length & ((1 << 56) - 1), padding)
}

/// A record as it was read.
pub(super) struct Record<'a> {
    pub(super) kind: u64,
    pub(super) crc: u32,
    pub(super) data: Cow<'a, [u8]>,
}

/// The value of a protobuf field.
pub(crate) enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Of a type that no field of ours has.
    Other,
}

/// Takes one varint off the front.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or("a number is cut off")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("a number is longer than 64 bits")
}

/// Takes `length` bytes off the front.
pub(crate) fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], &'static str> {
    let length = usize::try_from(length).ok().filter(|length| *length <= bytes.len()).ok_or("a field is cut off")?;
    let (taken, rest) = bytes.split_at(length);
    *bytes = rest;
    Ok(taken)
}

/// Goes through the fields of a protobuf message.
pub(crate) fn fields<'a>(
    mut bytes: &'a [u8],
    mut visit: impl FnMut(u64, Field<'a>) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    while !bytes.is_empty() {
        let tag = take_varint(&mut bytes)?;
        if tag >> 3 == 0 {
            return Err("a field has number 0");
        }
        let field = match tag & 7 {
            0 => Field::Varint(take_varint(&mut bytes)?),
            1 => take(&mut bytes, 8).map(|_| Field::Other)?,
            2 => {
                let length = take_varint(&mut bytes)?;
                Field::Bytes(take(&mut bytes, length)?)
            }
            5 => take(&mut bytes, 4).map(|_| Field::Other)?,
            _ => return Err("a field has no type that exists"),
        };
        visit(tag >> 3, field)?;
    }
    Ok(())
}

const WRONG_TYPE: &str = "a field has the wrong type";

/// The record in the first `size` bytes of a frame.
pub(super) fn parse_record<'a>(framed: &Cow<'a, [u8]>, size: usize) -> Result<Record<'a>, &'static str> {
    match framed {
        Cow::Borrowed(bytes) => {
            let (kind, crc, data) = parse_frame(&bytes[..size])?;
            Ok(Record { kind, crc, data: Cow::Borrowed(data) })
        }
        Cow::Owned(bytes) => {
            let (kind, crc, data) = parse_frame(&bytes[..size])?;
            Ok(Record { kind, crc, data: Cow::Owned(data.to_vec()) })
        }
    }
}

fn parse_frame(bytes: &[u8]) -> Result<(u64, u32, &[u8]), &'static str> {
    let (mut kind, mut crc, mut data) = (0, 0, &[][..]);
    fields(bytes, |number, field| {
        match (number, field) {
            (1, Field::Varint(value)) => kind = value,
            (2, Field::Varint(value)) => crc = value as u32,
            (3, Field::Bytes(value)) => data = value,
            (1..=3, _) => return Err(WRONG_TYPE),
            _ => {}
        }
        Ok(())
    })?;
    Ok((kind, crc, data))
}

pub(super) fn parse_entry(bytes: &[u8]) -> Result<raftpb::Entry, &'static str> {
    let mut entry = raftpb::Entry::default();
    fields(bytes, |number, field| {
        match (number, field) {
            (1, Field::Varint(0)) => entry.entry_type = raftpb::EntryType::EntryNormal,
            (1, Field::Varint(1)) => entry.entry_type = raftpb::EntryType::EntryConfChange,
            (1, Field::Varint(2)) => entry.entry_type = raftpb::EntryType::EntryConfChangeV2,
            (1, Field::Varint(_)) => return Err("an entry has no type that exists"),
            (2, Field::Varint(term)) => entry.term = term,
            (3, Field::Varint(index)) => entry.index = index,
            // A copy: a slice would keep the whole segment in memory as long as the entry.
            (4, Field::Bytes(data)) => entry.data = Bytes::copy_from_slice(data),
            (1..=4, _) => return Err(WRONG_TYPE),
            _ => {}
        }
        Ok(())
    })?;
    Ok(entry)
}

pub(super) fn parse_state(bytes: &[u8]) -> Result<(u64, u64, u64), &'static str> {
    let mut state = (0, 0, 0);
    fields(bytes, |number, field| {
        match (number, field) {
            (1, Field::Varint(term)) => state.0 = term,
            (2, Field::Varint(vote)) => state.1 = vote,
            (3, Field::Varint(commit)) => state.2 = commit,
            (1..=3, _) => return Err(WRONG_TYPE),
            _ => {}
        }
        Ok(())
    })?;
    Ok(state)
}

/// Of etcd's metadata: the ids of member and cluster.
pub(super) fn parse_ids(bytes: &[u8]) -> Result<(u64, u64), &'static str> {
    let mut ids = (0, 0);
    fields(bytes, |number, field| {
        match (number, field) {
            (1, Field::Varint(member)) => ids.0 = member,
            (2, Field::Varint(cluster)) => ids.1 = cluster,
            (1..=2, _) => return Err(WRONG_TYPE),
            _ => {}
        }
        Ok(())
    })?;
    Ok(ids)
}

pub(super) fn parse_snapshot(bytes: &[u8]) -> Result<super::WalSnapshot, &'static str> {
    let mut snapshot = super::WalSnapshot { index: 0, term: 0, conf_state: None };
    fields(bytes, |number, field| {
        match (number, field) {
            (1, Field::Varint(index)) => snapshot.index = index,
            (2, Field::Varint(term)) => snapshot.term = term,
            (3, Field::Bytes(conf_state)) => snapshot.conf_state = Some(parse_conf_state(conf_state)?),
            (1..=3, _) => return Err(WRONG_TYPE),
            _ => {}
        }
        Ok(())
    })?;
    Ok(snapshot)
}

pub(crate) fn parse_conf_state(bytes: &[u8]) -> Result<raftpb::ConfState, &'static str> {
    let mut conf_state = raftpb::ConfState::default();
    fields(bytes, |number, field| {
        match (number, field) {
            (1, Field::Varint(id)) => conf_state.voters.push(id),
            (2, Field::Varint(id)) => conf_state.learners.push(id),
            (3, Field::Varint(id)) => conf_state.voters_outgoing.push(id),
            (4, Field::Varint(id)) => conf_state.learners_next.push(id),
            (5, Field::Varint(flag)) => conf_state.auto_leave = flag != 0,
            (1..=5, _) => return Err(WRONG_TYPE),
            _ => {}
        }
        Ok(())
    })?;
    Ok(conf_state)
}
