//! What members say to each other as bytes, for drivers whose members are processes.
//!
//! It is a form of our own: etcd's members speak HTTP to each other, with Raft's messages as streams. Decoding never
//! panics, whatever the bytes.

use bytes::Bytes;
use prost::Message;
use protobuf::Message as _;

use crate::api::Error;
use crate::membership::Version;
use crate::{raftpb, Chunk, HashAnswer, HashMessage, LeaseAnswer, LeaseAsk, LeaseMessage, MemberId, PeerMessage};

#[derive(Clone, PartialEq, Message)]
struct Frame {
    #[prost(uint64, tag = "1")]
    from: u64,
    #[prost(uint64, tag = "2")]
    to: u64,
    /// `major.minor.patch`; empty when the sender does not say.
    #[prost(string, tag = "3")]
    version: String,
    /// `raftpb.Message`.
    #[prost(bytes = "bytes", tag = "4")]
    raft: Bytes,
    #[prost(message, optional, tag = "5")]
    chunk: Option<ChunkFrame>,
    #[prost(message, optional, tag = "6")]
    lease: Option<LeaseFrame>,
    #[prost(message, optional, tag = "7")]
    hash: Option<HashFrame>,
}

#[derive(Clone, PartialEq, Message)]
struct ChunkFrame {
    #[prost(uint64, tag = "1")]
    stream: u64,
    #[prost(uint64, tag = "2")]
    offset: u64,
    #[prost(uint64, tag = "3")]
    total: u64,
    #[prost(bytes = "bytes", tag = "4")]
    data: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct LeaseFrame {
    #[prost(uint64, tag = "1")]
    call: u64,
    #[prost(oneof = "LeaseWord", tags = "2, 3, 4, 5, 6")]
    word: Option<LeaseWord>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum LeaseWord {
    /// Keep this lease alive.
    #[prost(sint64, tag = "2")]
    KeepAlive(i64),
    /// How long has this lease?
    #[prost(message, tag = "3")]
    TimeToLive(Times),
    /// It was kept alive for so many seconds.
    #[prost(sint64, tag = "4")]
    KeptAlive(i64),
    /// So long.
    #[prost(message, tag = "5")]
    Times(Times),
    /// No, for a reason in etcd's words.
    #[prost(string, tag = "6")]
    Refused(String),
}

#[derive(Clone, PartialEq, Message)]
struct HashFrame {
    #[prost(uint64, tag = "1")]
    call: u64,
    #[prost(oneof = "HashWord", tags = "2, 3, 4")]
    word: Option<HashWord>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum HashWord {
    /// What is the hash at this revision?
    #[prost(sint64, tag = "2")]
    At(i64),
    /// This.
    #[prost(message, tag = "3")]
    Is(HashAt),
    /// There is none, for a reason in etcd's words.
    #[prost(string, tag = "4")]
    Refused(String),
}

#[derive(Clone, Copy, PartialEq, Message)]
struct HashAt {
    #[prost(uint32, tag = "1")]
    hash: u32,
    #[prost(sint64, tag = "2")]
    revision: i64,
    #[prost(sint64, tag = "3")]
    compact_revision: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Times {
    /// The lease in a question, what it has left in an answer.
    #[prost(sint64, tag = "1")]
    id_or_ttl: i64,
    #[prost(sint64, tag = "2")]
    granted_ttl: i64,
    #[prost(bool, tag = "3")]
    with_keys: bool,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    keys: Vec<Bytes>,
}

/// The bytes of a message between members.
pub fn encode(message: &PeerMessage) -> Vec<u8> {
    let raft = message.message.write_to_bytes().expect("a message in memory can be written");
    Frame {
        from: message.from.0,
        to: message.to.0,
        version: message.version.map(|version| version.to_string()).unwrap_or_default(),
        raft: raft.into(),
        chunk: message.chunk.as_deref().map(|chunk| ChunkFrame {
            stream: chunk.stream,
            offset: chunk.offset,
            total: chunk.total,
            data: chunk.data.clone(),
        }),
        lease: message.lease.as_deref().map(lease_frame),
        hash: message.hash.as_deref().map(hash_frame),
    }
    .encode_to_vec()
}

/// The message in `bytes`.
///
/// # Errors
/// What is wrong with it.
pub fn decode(bytes: Bytes) -> Result<PeerMessage, String> {
    let frame = Frame::decode(bytes).map_err(|error| error.to_string())?;
    let mut raft = raftpb::Message::default();
    raft.merge_from_bytes(&frame.raft).map_err(|error| error.to_string())?;
    let version = match &frame.version[..] {
        "" => None,
        text => Some(Version::parse(text).ok_or_else(|| format!("{text} is no version"))?),
    };
    let chunk = frame.chunk.map(|chunk| {
        let ChunkFrame { stream, offset, total, data } = chunk;
        match offset.checked_add(data.len() as u64).is_some_and(|end| end <= total) {
            true => Ok(Box::new(Chunk { stream, offset, total, data })),
            false => Err(format!("a chunk at {offset} of {total} bytes is too long")),
        }
    });
    Ok(PeerMessage {
        from: MemberId(frame.from),
        to: MemberId(frame.to),
        version,
        message: Box::new(raft),
        chunk: chunk.transpose()?,
        lease: frame.lease.map(lease_message).transpose()?.map(Box::new),
        hash: frame.hash.map(hash_message).transpose()?.map(Box::new),
    })
}

fn lease_frame(message: &LeaseMessage) -> LeaseFrame {
    let (call, word) = match message {
        LeaseMessage::Ask { call, ask: LeaseAsk::KeepAlive { id } } => (*call, LeaseWord::KeepAlive(*id)),
        LeaseMessage::Ask { call, ask: LeaseAsk::TimeToLive { id, keys } } => {
            (*call, LeaseWord::TimeToLive(Times { id_or_ttl: *id, with_keys: *keys, ..Default::default() }))
        }
        LeaseMessage::Answer { call, result } => (
            *call,
            match result {
                Ok(LeaseAnswer::KeptAlive { ttl }) => LeaseWord::KeptAlive(*ttl),
                Ok(LeaseAnswer::TimeToLive { ttl, granted_ttl, keys }) => LeaseWord::Times(Times {
                    id_or_ttl: *ttl,
                    granted_ttl: *granted_ttl,
                    with_keys: !keys.is_empty(),
                    keys: keys.clone(),
                }),
                Err(error) => LeaseWord::Refused(error.message().into()),
            },
        ),
    };
    LeaseFrame { call, word: Some(word) }
}

fn lease_message(frame: LeaseFrame) -> Result<LeaseMessage, String> {
    let call = frame.call;
    Ok(match frame.word.ok_or("a message about leases says nothing")? {
        LeaseWord::KeepAlive(id) => LeaseMessage::Ask { call, ask: LeaseAsk::KeepAlive { id } },
        LeaseWord::TimeToLive(times) => {
            let ask = LeaseAsk::TimeToLive { id: times.id_or_ttl, keys: times.with_keys };
            LeaseMessage::Ask { call, ask }
        }
        LeaseWord::KeptAlive(ttl) => LeaseMessage::Answer { call, result: Ok(LeaseAnswer::KeptAlive { ttl }) },
        LeaseWord::Times(Times { id_or_ttl: ttl, granted_ttl, keys, .. }) => {
            LeaseMessage::Answer { call, result: Ok(LeaseAnswer::TimeToLive { ttl, granted_ttl, keys }) }
        }
        LeaseWord::Refused(words) => {
            let error = [
                Error::LeaseNotFound,
                Error::NotPrimary,
                Error::NoLeader,
                Error::LeaderChanged,
                Error::NotLeader,
                Error::Timeout,
                Error::TimeoutWaitAppliedIndex,
                Error::Stopped,
                Error::Corrupt,
            ]
            .into_iter()
            .find(|error| error.message() == words);
            LeaseMessage::Answer { call, result: Err(error.ok_or_else(|| format!("no member says \"{words}\""))?) }
        }
    })
}

fn hash_frame(message: &HashMessage) -> HashFrame {
    let (call, word) = match message {
        HashMessage::Ask { call, revision } => (*call, HashWord::At(*revision)),
        HashMessage::Answer { call, result: Ok(HashAnswer { hash, revision, compact_revision }) } => {
            let (hash, revision, compact_revision) = (*hash, *revision, *compact_revision);
            (*call, HashWord::Is(HashAt { hash, revision, compact_revision }))
        }
        HashMessage::Answer { call, result: Err(error) } => (*call, HashWord::Refused(error.message().into())),
    };
    HashFrame { call, word: Some(word) }
}

fn hash_message(frame: HashFrame) -> Result<HashMessage, String> {
    let call = frame.call;
    Ok(match frame.word.ok_or("a message about hashes says nothing")? {
        HashWord::At(revision) => HashMessage::Ask { call, revision },
        HashWord::Is(HashAt { hash, revision, compact_revision }) => {
            HashMessage::Answer { call, result: Ok(HashAnswer { hash, revision, compact_revision }) }
        }
        HashWord::Refused(words) => {
            let known = [Error::Compacted, Error::FutureRevision, Error::Stopped];
            let error = known.into_iter().find(|error| error.message() == words);
            HashMessage::Answer { call, result: Err(error.ok_or_else(|| format!("no member says \"{words}\""))?) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_comes_back_as_it_was() {
        let mut raft = raftpb::Message::default();
        raft.term = 7;
        raft.index = 9;
        let entry = raftpb::Entry { index: 10, term: 7, data: Bytes::from_static(b"data"), ..Default::default() };
        raft.entries = vec![entry].into();
        let of_raft = PeerMessage::of_raft(MemberId(1), MemberId(u64::MAX), raft);
        let mut with_version = of_raft.clone();
        with_version.version = Version::parse("3.6.1");
        let mut with_chunk = of_raft.clone();
        with_chunk.chunk = Some(Box::new(Chunk { stream: 3, offset: 5, total: 9, data: Bytes::from_static(b"four") }));
        let mut all = vec![of_raft, with_version, with_chunk];
        for lease in [
            LeaseMessage::Ask { call: 1, ask: LeaseAsk::KeepAlive { id: 0 } },
            LeaseMessage::Ask { call: 2, ask: LeaseAsk::TimeToLive { id: 5, keys: true } },
            LeaseMessage::Answer { call: 3, result: Ok(LeaseAnswer::KeptAlive { ttl: 0 }) },
            LeaseMessage::Answer {
                call: 4,
                result: Ok(LeaseAnswer::TimeToLive { ttl: -1, granted_ttl: 0, keys: vec!["a".into(), "b".into()] }),
            },
            LeaseMessage::Answer { call: 5, result: Err(Error::LeaseNotFound) },
        ] {
            all.push(PeerMessage::of_lease(MemberId(1), MemberId(2), lease));
        }
        let answer = HashAnswer { hash: 7, revision: 9, compact_revision: -1 };
        for hash in [
            HashMessage::Ask { call: 1, revision: 5 },
            HashMessage::Answer { call: 2, result: Ok(answer) },
            HashMessage::Answer { call: 3, result: Err(Error::FutureRevision) },
        ] {
            all.push(PeerMessage::of_hash(MemberId(1), MemberId(2), hash));
        }
        for message in all {
            let bytes = encode(&message);
            assert_eq!(decode(bytes.clone().into()), Ok(message));
            for cut in 0..bytes.len() {
                // Some ends are those of shorter messages; none is a panic.
                let _ = decode(Bytes::copy_from_slice(&bytes[..cut]));
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let chunk = ChunkFrame { stream: 1, offset: u64::MAX, total: 4, data: Bytes::from_static(b"data") };
        let frame = Frame { chunk: Some(chunk), ..Default::default() };
        assert!(decode(frame.encode_to_vec().into()).is_err());
        let lease = LeaseFrame { call: 1, word: Some(LeaseWord::Refused("no".into())) };
        let frame = Frame { lease: Some(lease), ..Default::default() };
        assert!(decode(frame.encode_to_vec().into()).is_err());
    }
}
