//! Configuration changes: `raftpb.ConfChange` as etcd writes it into the log, what each of them means, and what Raft
//! gets to see.
//!
//! raft-rs counts the kinds of changes differently and has none that changes nothing, so its own message never goes
//! into an entry.

use bytes::Bytes;
use prost::Message;

use crate::api::Member;
use crate::{raftpb, MemberId};

use super::member;

const ADD: i32 = 0;
const REMOVE: i32 = 1;
const UPDATE: i32 = 2;
const ADD_LEARNER: i32 = 3;

/// `raftpb.ConfChange`. Go writes the first three fields always.
#[derive(Clone, PartialEq, Message)]
struct ConfChange {
    #[prost(uint64, optional, tag = "1")]
    id: Option<u64>,
    #[prost(int32, optional, tag = "2")]
    kind: Option<i32>,
    #[prost(uint64, optional, tag = "3")]
    node_id: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    context: Option<Bytes>,
}

/// What a configuration change wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new member, voting or learner.
    Add(Member),
    /// A learner gets its vote.
    Promote(MemberId),
    /// A member goes for ever.
    Remove(MemberId),
    /// A member has other peer URLs. Raft does not mind.
    Update(Member),
}

impl Change {
    pub(crate) fn member(&self) -> MemberId {
        match self {
            Self::Add(member) | Self::Update(member) => member.id,
            Self::Promote(id) | Self::Remove(id) => *id,
        }
    }

    /// The data of the entry that asks for it. `id` names who waits for it; the founders' entries have 0.
    pub(crate) fn encode(&self, id: u64) -> Bytes {
        let (kind, context) = match self {
            Self::Add(member) if member.is_learner => (ADD_LEARNER, Some(member::to_json(member))),
            Self::Add(member) => (ADD, Some(member::to_json(member))),
            Self::Promote(id) => (ADD, Some(member::promotion(*id))),
            Self::Remove(_) => (REMOVE, None),
            Self::Update(member) => (UPDATE, Some(member::to_json(member))),
        };
        let node_id = Some(self.member().0);
        let change = ConfChange { id: Some(id), kind: Some(kind), node_id, context: context.map(Bytes::from) };
        change.encode_to_vec().into()
    }

    /// Who waits for it, and what it wants, from the data of an entry.
    ///
    /// # Errors
    /// It is not what etcd writes.
    pub(crate) fn decode(data: &[u8]) -> Result<(u64, Self), String> {
        let change = ConfChange::decode(data).map_err(|error| error.to_string())?;
        let node = MemberId(change.node_id());
        let member = || {
            let (member, promotes) = member::parse(change.context())?;
            match member.id == node {
                true => Ok((member, promotes)),
                false => Err(format!("a change of member {:x} speaks of member {:x}", node.0, member.id.0)),
            }
        };
        let parsed = match change.kind() {
            ADD | ADD_LEARNER => match member()? {
                (_, true) => Self::Promote(node),
                (member, false) => Self::Add(member),
            },
            REMOVE => Self::Remove(node),
            UPDATE => Self::Update(member()?.0),
            other => return Err(format!("configuration changes have no kind {other}")),
        };
        Ok((change.id(), parsed))
    }

    /// What Raft must be told; nothing when it does not mind.
    pub(crate) fn for_raft(&self) -> Option<raftpb::ConfChange> {
        let mut change = raftpb::ConfChange::default();
        change.node_id = self.member().0;
        change.change_type = match self {
            Self::Add(member) if member.is_learner => raftpb::ConfChangeType::AddLearnerNode,
            Self::Add(_) | Self::Promote(_) => raftpb::ConfChangeType::AddNode,
            Self::Remove(_) => raftpb::ConfChangeType::RemoveNode,
            Self::Update(_) => return None,
        };
        Some(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, is_learner: bool) -> Member {
        Member { id: MemberId(id), name: String::new(), peer_urls: vec!["u".into()], client_urls: vec![], is_learner }
    }

    #[test]
    fn changes_are_etcds_bytes_and_parse_back() {
        let json = |learner: &str| format!("{{\"id\":5,\"peerURLs\":[\"u\"]{learner}}}");
        let learner = ",\"isLearner\":true";
        let promotion = "{\"id\":5,\"peerURLs\":null,\"isPromote\":true}";
        for (change, kind, context) in [
            (Change::Add(member(5, false)), 0, json("")),
            (Change::Add(member(5, true)), 3, json(learner)),
            (Change::Promote(MemberId(5)), 0, promotion.into()),
            (Change::Update(member(5, false)), 2, json("")),
            (Change::Remove(MemberId(5)), 1, String::new()),
        ] {
            let mut expect = vec![0x08, 7, 0x10, kind, 0x18, 5];
            if !context.is_empty() {
                expect.extend_from_slice(&[0x22, context.len() as u8]);
                expect.extend_from_slice(context.as_bytes());
            }
            let data = change.encode(7);
            assert_eq!(data, expect, "{change:?}");
            assert_eq!(Change::decode(&data), Ok((7, change)));
        }
        // A founder's entry: nobody waits, and the zero is written all the same.
        assert_eq!(Change::Remove(MemberId(0)).encode(0), vec![0x08, 0, 0x10, 1, 0x18, 0]);
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let other = ConfChange {
            context: Some(member::to_json(&member(6, false)).into()),
            node_id: Some(5),
            ..Default::default()
        };
        assert!(Change::decode(&other.encode_to_vec()).is_err());
        let unknown = ConfChange { kind: Some(9), ..Default::default() };
        assert!(Change::decode(&unknown.encode_to_vec()).is_err());
        assert!(Change::decode(&[0x08]).is_err() && Change::decode(&[]).is_err());
    }
}
