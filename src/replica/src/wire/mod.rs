//! The wire form of requests inside Raft entries: etcd's messages with etcd's field numbers.
//!
//! [`encode`] makes the data of a normal entry (`etcdserverpb.InternalRaftRequest`), `decode` parses whatever an etcd
//! from 3.4 to 3.6 has written into one into types that cannot be wrong: what etcd treats alike becomes equal here (a
//! negative limit is no limit). Decoding never panics, whatever the bytes, and never recurses deeper than
//! [`TXN_DEPTH_MAX`] transactions. What a command does is not known here.

mod alarm;
mod auth;
mod kv;
mod look;
pub(crate) mod message;
pub mod peer;
pub mod rpc;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use prost::Message;

pub(crate) use auth::AuthCommand;

pub use look::{look, Asked, Look};

use crate::api::{CompactRequest, LeaseCheckpoint, LeaseGrantRequest, Request};
use message::entry::{InternalRaftRequest, RequestHeader};
use message::kv::CompactionRequest;
use message::lease::LeaseCheckpointRequest;
use message::membership::{ClusterMemberAttrSetRequest, ClusterVersionSetRequest, DowngradeInfoSetRequest};

/// How deep transactions may nest, the outermost counted. Each level costs two protobuf levels, of which prost takes
/// 100.
pub const TXN_DEPTH_MAX: usize = 32;

/// What a normal entry holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// Who waits for it: unique among all that were ever proposed.
    pub(crate) id: u64,
    /// The user, empty when nobody had to say; auth was off then.
    pub(crate) username: String,
    /// The auth revision at which the user was checked.
    pub(crate) auth_revision: u64,
    /// What to do.
    pub(crate) command: Command,
}

/// What an entry says to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// What a client asks of keys, leases and alarms. A lease to be made has its id.
    Request(Request),
    /// Time left of some leases.
    LeaseCheckpoint(Vec<LeaseCheckpoint>),
    /// Users, roles, permissions.
    Auth(AuthCommand),
    /// The version that all members of the cluster understand.
    ClusterVersionSet(ClusterVersionSetRequest),
    /// A member publishes its name and client addresses.
    ClusterMemberAttrSet(ClusterMemberAttrSetRequest),
    /// A downgrade was begun or given up.
    DowngradeInfoSet(DowngradeInfoSetRequest),
    /// A request of the old API: members up to 3.5 publish themselves and the cluster version so.
    Old(message::entry::Request),
    /// Changes nothing (`DowngradeVersionTestRequest`).
    Nothing,
}

/// The data of the entry that carries `request` under `id`.
///
/// `None` when the request does not travel as a normal entry (membership, status, leadership, hashes, what a lessor
/// answers alone), or nests transactions deeper than [`TXN_DEPTH_MAX`]. Keys must not be empty: such a request could
/// not be decoded again.
pub fn encode(id: u64, request: &Request) -> Option<Bytes> {
    encode_as(header(id, "", 0), request)
}

/// Whose entry it is.
pub(crate) fn header(id: u64, username: &str, auth_revision: u64) -> RequestHeader {
    RequestHeader { id, username: username.into(), auth_revision }
}

/// The message that carries an auth command.
pub(crate) fn auth_message(header: RequestHeader, command: AuthCommand) -> InternalRaftRequest {
    let mut message = InternalRaftRequest { header: Some(header), ..Default::default() };
    auth::put(&mut message, command);
    message
}

/// As [`encode`], under the name of a user.
pub(crate) fn encode_as(header: RequestHeader, request: &Request) -> Option<Bytes> {
    let mut message = InternalRaftRequest { header: Some(header), ..Default::default() };
    match request {
        Request::Range(range) => message.range = Some(range.into()),
        Request::Put(put) => message.put = Some(put.into()),
        Request::DeleteRange(delete) => message.delete_range = Some(delete.into()),
        Request::Txn(txn) => {
            if kv::depth(txn) > TXN_DEPTH_MAX {
                return None;
            }
            message.txn = Some(txn.into());
        }
        Request::Compact(compact) => {
            message.compaction = Some(CompactionRequest { revision: compact.revision, physical: compact.physical });
        }
        Request::LeaseGrant(grant) => {
            message.lease_grant = Some(message::lease::LeaseGrantRequest { ttl: grant.ttl, id: grant.id });
        }
        Request::LeaseRevoke { id } => message.lease_revoke = Some(message::lease::LeaseRevokeRequest { id: *id }),
        Request::Alarm(alarm) => message.alarm = Some(alarm::message(alarm)),
        Request::LeaseKeepAlive { .. }
        | Request::LeaseTimeToLive { .. }
        | Request::Leases
        | Request::MemberAdd { .. }
        | Request::MemberRemove { .. }
        | Request::MemberPromote { .. }
        | Request::MemberUpdate { .. }
        | Request::MemberList { .. }
        | Request::Auth(_)
        | Request::Downgrade(_)
        | Request::MoveLeader { .. }
        | Request::Status
        | Request::Defragment
        | Request::HashKv { .. } => return None,
    }
    Some(message.encode_to_vec().into())
}

/// The data of the entry that carries `checkpoints` under `id`.
pub(crate) fn encode_checkpoints(id: u64, checkpoints: &[LeaseCheckpoint]) -> Bytes {
    let encode =
        |one: &LeaseCheckpoint| message::lease::LeaseCheckpoint { id: one.id, remaining_ttl: one.remaining_ttl };
    let checkpoints = checkpoints.iter().map(encode).collect();
    let message = InternalRaftRequest {
        header: Some(RequestHeader { id, ..Default::default() }),
        lease_checkpoint: Some(LeaseCheckpointRequest { checkpoints }),
        ..Default::default()
    };
    message.encode_to_vec().into()
}

/// The data of a normal entry, parsed. Keys and values share `data`'s memory.
///
/// # Errors
/// What is wrong with it: not protobuf, no command that is known, an empty key, an enum's value that does not exist.
pub(crate) fn decode(data: &Bytes) -> Result<Entry, String> {
    let mut message = match InternalRaftRequest::decode(data.clone()) {
        Ok(message) => message,
        // Up to 3.5 members publish themselves with a bare request of the old API.
        Err(error) => match message::entry::Request::decode(data.clone()) {
            Ok(old) => return Ok(of_old(old)),
            Err(_) => return Err(error.to_string()),
        },
    };
    if let Some(old) = message.v2.take() {
        return Ok(of_old(*old));
    }
    let header = message.header.take().unwrap_or_default();
    let id = if message.id == 0 { header.id } else { message.id };
    let command = take_command(message)?;
    if let Command::Request(request) = &command {
        if !kv::names_keys(request) {
            return Err("the key is empty".into());
        }
    }
    Ok(Entry { id, username: header.username, auth_revision: header.auth_revision, command })
}

fn of_old(old: message::entry::Request) -> Entry {
    Entry { id: old.id, username: String::new(), auth_revision: 0, command: Command::Old(old) }
}

/// The command in `message`: the first, in the order in which etcd looks for it.
fn take_command(mut message: InternalRaftRequest) -> Result<Command, String> {
    if let Some(set) = message.cluster_version_set {
        return Ok(Command::ClusterVersionSet(*set));
    }
    if let Some(set) = message.cluster_member_attr_set {
        return Ok(Command::ClusterMemberAttrSet(*set));
    }
    if let Some(set) = message.downgrade_info_set {
        return Ok(Command::DowngradeInfoSet(*set));
    }
    if message.downgrade_version_test.is_some() {
        return Ok(Command::Nothing);
    }
    if let Some(range) = message.range {
        return Ok(Command::Request(Request::Range(kv::parse_range(range)?)));
    }
    if let Some(put) = message.put {
        return Ok(Command::Request(Request::Put(kv::parse_put(put))));
    }
    if let Some(delete) = message.delete_range {
        return Ok(Command::Request(Request::DeleteRange(kv::parse_delete(delete))));
    }
    if let Some(txn) = message.txn {
        return Ok(Command::Request(Request::Txn(kv::parse_txn(txn, 1)?)));
    }
    if let Some(compact) = message.compaction {
        let compact = CompactRequest { revision: compact.revision, physical: compact.physical };
        return Ok(Command::Request(Request::Compact(compact)));
    }
    if let Some(grant) = message.lease_grant {
        return Ok(Command::Request(Request::LeaseGrant(LeaseGrantRequest { id: grant.id, ttl: grant.ttl })));
    }
    if let Some(revoke) = message.lease_revoke {
        return Ok(Command::Request(Request::LeaseRevoke { id: revoke.id }));
    }
    if let Some(checkpoint) = message.lease_checkpoint {
        let parse =
            |one: message::lease::LeaseCheckpoint| LeaseCheckpoint { id: one.id, remaining_ttl: one.remaining_ttl };
        return Ok(Command::LeaseCheckpoint(checkpoint.checkpoints.into_iter().map(parse).collect()));
    }
    if let Some(alarm) = message.alarm {
        return Ok(Command::Request(Request::Alarm(alarm::parse(&alarm)?)));
    }
    match auth::take(&mut message) {
        Some(auth) => Ok(Command::Auth(auth)),
        None => Err("the entry holds no command known here".into()),
    }
}
