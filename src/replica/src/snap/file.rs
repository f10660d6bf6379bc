//! The bytes of a `.snap` file: `snappb.Snapshot { crc = 1, data = 2 }` around a `raftpb.Snapshot { data = 1, metadata
//! = 2 }`, whose metadata is `{ conf_state = 1, index = 2, term = 3 }`. Scalars are written even when zero, as etcd up
//! to
//! 3.6 writes them.

use bytes::Bytes;

use crate::raftpb;
use crate::wal::{fields, parse_conf_state, put_conf_state, Field, Small};

/// The file of a snapshot.
pub(super) fn encode(snapshot: &raftpb::Snapshot) -> Vec<u8> {
    let metadata = snapshot.get_metadata();
    let mut place = Small::new();
    place.varint(0x10, metadata.index);
    place.varint(0x18, metadata.term);
    let mut inner = Vec::new();
    put_conf_state(&mut inner, 0x0a, metadata.get_conf_state());
    inner.extend_from_slice(place.bytes());
    let mut body = Vec::with_capacity(snapshot.data.len() + inner.len() + 16);
    if !snapshot.data.is_empty() {
        put_bytes(&mut body, 0x0a, &snapshot.data);
    }
    put_bytes(&mut body, 0x12, &inner);
    let mut checksum = Small::new();
    checksum.varint(0x08, u64::from(crc32c::crc32c(&body)));
    let mut out = Vec::with_capacity(body.len() + 16);
    out.extend_from_slice(checksum.bytes());
    put_bytes(&mut out, 0x12, &body);
    out
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    let mut opening = Small::new();
    opening.varint(tag, bytes.len() as u64);
    out.extend_from_slice(opening.bytes());
    out.extend_from_slice(bytes);
}

/// What is in a file.
///
/// # Errors
/// In etcd's words, why it cannot be read.
pub(super) fn decode(file: &[u8]) -> Result<raftpb::Snapshot, &'static str> {
    let (mut crc, mut body) = (0, &[][..]);
    fields(file, |number, field| {
        match (number, field) {
            (1, Field::Varint(value)) => crc = value as u32,
            (2, Field::Bytes(value)) => body = value,
            _ => {}
        }
        Ok(())
    })?;
    if body.is_empty() || crc == 0 {
        return Err("snap: empty snapshot");
    }
    if crc32c::crc32c(body) != crc {
        return Err("snap: crc mismatch");
    }
    let mut snapshot = raftpb::Snapshot::default();
    fields(body, |number, field| {
        match (number, field) {
            (1, Field::Bytes(data)) => snapshot.data = Bytes::copy_from_slice(data),
            (2, Field::Bytes(inner)) => *snapshot.mut_metadata() = parse_metadata(inner)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(snapshot)
}

fn parse_metadata(bytes: &[u8]) -> Result<raftpb::SnapshotMetadata, &'static str> {
    let mut metadata = raftpb::SnapshotMetadata::default();
    fields(bytes, |number, field| {
        match (number, field) {
            (1, Field::Bytes(conf_state)) => metadata.set_conf_state(parse_conf_state(conf_state)?),
            (2, Field::Varint(index)) => metadata.index = index,
            (3, Field::Varint(term)) => metadata.term = term,
            _ => {}
        }
        Ok(())
    })?;
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snap::snapshot;

    fn sample() -> raftpb::Snapshot {
        let conf_state = raftpb::ConfState { voters: vec![1, 300], learners: vec![7], ..Default::default() };
        snapshot(9, 3, conf_state, Bytes::from_static(b"{}"))
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let body = [0x0a, 2, b'{', b'}', 0x12, 15, 0x0a, 9, 0x08, 1, 0x08, 0xac, 2, 0x10, 7, 0x28, 0, 0x10, 9, 0x18, 3];
        let file = encode(&sample());
        assert!(file.ends_with(&body));
        assert_eq!(file[file.len() - body.len() - 2..][..2], [0x12, body.len() as u8]);
        let mut crc = u64::from(crc32c::crc32c(&body));
        let mut opening = vec![0x08];
        while crc >= 0x80 {
            opening.push(crc as u8 | 0x80);
            crc >>= 7;
        }
        opening.push(crc as u8);
        assert_eq!(file[..file.len() - body.len() - 2], opening);
        assert_eq!(decode(&file), Ok(sample()));
    }

    #[test]
    fn whatever_else_is_refused() {
        let file = encode(&sample());
        assert_eq!(decode(&[]), Err("snap: empty snapshot"));
        for end in 1..file.len() {
            assert!(decode(&file[..end]).is_err(), "cut at {end}");
        }
        for at in 8..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            assert!(decode(&damaged).is_err(), "flipped at {at}");
        }
    }
}
