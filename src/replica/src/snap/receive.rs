//! Databases on their way to this member: `SaveDBFrom`, a chunk at a time.
//!
//! Each stream goes into a temporary file, and what it brings is kept in memory as well until it is installed, since a
//! member does not read files while it runs. A sender has one stream to a member at a time, so a new one says that the
//! old one is broken. A chunk that does not continue its stream breaks it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::wal::Commands;
use crate::{raftpb, Chunk, DiskCommand, FileName, MemberId, OpId, PeerMessage};

use super::SnapDir;

/// The streams that are not complete.
#[derive(Clone, Debug, Default)]
pub(crate) struct Receiving {
    streams: BTreeMap<MemberId, Stream>,
}

#[derive(Clone, Debug)]
struct Stream {
    number: u64,
    message: Box<raftpb::Message>,
    file: FileName,
    data: Vec<u8>,
    /// Commands that may still fail.
    commands: BTreeSet<OpId>,
}

/// What a chunk has come to.
#[derive(Clone, Debug)]
pub(crate) enum Arrival {
    /// More must come.
    Waits,
    /// All is written; it is complete when this sync ends well.
    Complete(OpId, Box<Received>),
    /// It belongs to no stream, or not to this place in it: the stream is of no use any more.
    Broken,
}

/// A database that has come whole.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) from: MemberId,
    pub(crate) stream: u64,
    /// Raft's message that it belongs to.
    pub(crate) message: Box<raftpb::Message>,
    /// Where it is.
    pub(crate) file: FileName,
    pub(crate) data: Bytes,
    /// Commands that may still fail.
    pub(crate) commands: BTreeSet<OpId>,
    /// One of them has.
    pub(crate) damaged: bool,
}

impl Receiving {
    /// Takes a chunk of `peer`'s database.
    pub(crate) fn take(
        &mut self,
        peer: PeerMessage,
        chunk: &Chunk,
        dir: &mut SnapDir,
        commands: &mut impl Commands,
    ) -> Arrival {
        let from = peer.from;
        if chunk.offset == 0 {
            self.give_up(from, commands);
            let file = dir.tmp();
            let created = commands.issue(DiskCommand::Create { file });
            let (number, message) = (chunk.stream, peer.message);
            let data = Vec::with_capacity(usize::try_from(chunk.total).unwrap_or(0).min(1 << 20));
            self.streams.insert(from, Stream { number, message, file, data, commands: [created].into() });
        }
        let Some(stream) = self.streams.get_mut(&from) else { return Arrival::Broken };
        if stream.number != chunk.stream {
            return Arrival::Broken;
        }
        if stream.data.len() as u64 != chunk.offset {
            self.give_up(from, commands);
            return Arrival::Broken;
        }
        let (file, offset, data) = (stream.file, chunk.offset, chunk.data.clone());
        stream.data.extend_from_slice(&data);
        stream.commands.insert(commands.issue(DiskCommand::Write { file, offset, data: data.into() }));
        if !chunk.is_last() {
            return Arrival::Waits;
        }
        let stream = self.streams.remove(&from).expect("it was there a moment ago");
        let synced = commands.issue(DiskCommand::Fsync { file });
        let Stream { number, message, data, commands, .. } = stream;
        let (stream, data, damaged) = (number, data.into(), false);
        Arrival::Complete(synced, Box::new(Received { from, stream, message, file, data, commands, damaged }))
    }

    /// A command has failed. When it was of a stream, that is given up: whose, and which.
    pub(crate) fn note_failure(&mut self, op: OpId, commands: &mut impl Commands) -> Option<(MemberId, u64)> {
        let (from, stream) = self.streams.iter().find(|(_, stream)| stream.commands.contains(&op))?;
        let (from, number) = (*from, stream.number);
        self.give_up(from, commands);
        Some((from, number))
    }

    fn give_up(&mut self, from: MemberId, commands: &mut impl Commands) {
        if let Some(stream) = self.streams.remove(&from) {
            commands.issue(DiskCommand::Remove { file: stream.file });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::testing::Disk;

    fn arrives(
        receiving: &mut Receiving,
        dir: &mut SnapDir,
        disk: &mut Disk,
        stream: u64,
        part: (u64, &str),
    ) -> Arrival {
        let chunk = Chunk { stream, offset: part.0, total: 6, data: Bytes::from(part.1.to_owned()) };
        let peer = PeerMessage::of_raft(MemberId(2), MemberId(1), raftpb::Message::default());
        receiving.take(peer, &chunk, dir, disk)
    }

    #[test]
    fn a_stream_comes_whole_or_not_at_all() {
        let (mut receiving, mut dir, mut disk) = (Receiving::default(), SnapDir::default(), Disk::default());
        let mut take = |disk: &mut Disk, stream, part| arrives(&mut receiving, &mut dir, disk, stream, part);
        assert!(matches!(take(&mut disk, 7, (3, "def")), Arrival::Broken), "no stream");
        assert!(matches!(take(&mut disk, 7, (0, "abc")), Arrival::Waits));
        assert!(matches!(take(&mut disk, 6, (3, "def")), Arrival::Broken), "another stream");
        assert!(matches!(take(&mut disk, 7, (4, "ef")), Arrival::Broken), "a chunk is missing");
        assert!(matches!(take(&mut disk, 7, (3, "def")), Arrival::Broken), "given up");
        assert!(disk.image().files.is_empty());

        assert!(matches!(take(&mut disk, 8, (0, "abc")), Arrival::Waits));
        assert!(matches!(take(&mut disk, 9, (0, "ab")), Arrival::Waits), "a new stream");
        assert_eq!(disk.image().files.len(), 1);
        assert!(matches!(take(&mut disk, 9, (2, "cd")), Arrival::Waits));
        let Arrival::Complete(_, received) = take(&mut disk, 9, (4, "ef")) else { panic!("it is complete") };
        assert_eq!((received.stream, &received.data[..]), (9, &b"abcdef"[..]));
        assert_eq!(disk.image().files[&received.file].to_bytes(), "abcdef");
    }

    #[test]
    fn a_failed_write_breaks_its_stream_only() {
        let (mut receiving, mut dir, mut disk) = (Receiving::default(), SnapDir::default(), Disk::default());
        arrives(&mut receiving, &mut dir, &mut disk, 7, (0, "abc"));
        assert_eq!(receiving.note_failure(OpId(9), &mut disk), None);
        assert_eq!(receiving.note_failure(OpId(2), &mut disk), Some((MemberId(2), 7)));
        assert!(disk.image().files.is_empty());
    }
}
