//! The messages of the lock and election services.

use bytes::Bytes;
use prost::Message;

use super::request::parse;
use super::response::message_header;
use super::Refusal;
use crate::api::{Header, KeyValue, LeaseId, Revision};
use crate::wire::message::{kv, recipe};

/// `v3electionpb.LeaderKey`: what a leader was elected with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderKey {
    /// The election's name.
    pub name: Bytes,
    /// The leader's key.
    pub key: Bytes,
    /// The revision that created it.
    pub revision: Revision,
    /// Its lease.
    pub lease: LeaseId,
}

/// Name and lease of a `v3lockpb.LockRequest`.
///
/// # Errors
/// It is none.
pub fn lock_request(body: Bytes) -> Result<(Bytes, LeaseId), Refusal> {
    let recipe::LockRequest { name, lease } = parse(body)?;
    Ok((name, lease))
}

/// The key of a `v3lockpb.UnlockRequest`.
///
/// # Errors
/// It is none.
pub fn unlock_request(body: Bytes) -> Result<Bytes, Refusal> {
    Ok(parse::<kv::DeleteRangeRequest>(body)?.key)
}

/// The message of `v3lockpb.LockResponse`.
pub fn lock_response(cluster: u64, header: Header, key: Bytes) -> Bytes {
    recipe::LockResponse { header: Some(message_header(cluster, header)), key }.encode_to_vec().into()
}

/// Name, lease and value of a `v3electionpb.CampaignRequest`; a `LeaderRequest` has only the name.
///
/// # Errors
/// It is none.
pub fn campaign_request(body: Bytes) -> Result<(Bytes, LeaseId, Bytes), Refusal> {
    let recipe::CampaignRequest { name, lease, value } = parse(body)?;
    Ok((name, lease, value))
}

/// Leader and value of a `v3electionpb.ProclaimRequest`; a `ResignRequest` has only the leader.
///
/// # Errors
/// It is none, or names no leader.
pub fn leader_request(body: Bytes) -> Result<(LeaderKey, Bytes), Refusal> {
    let recipe::ProclaimRequest { leader, value } = parse(body)?;
    let Some(recipe::LeaderKey { name, key, rev, lease }) = leader else {
        return Err(Refusal { code: 2, message: "\"leader\" field must be provided".into() });
    };
    Ok((LeaderKey { name, key, revision: rev, lease }, value))
}

/// The message of `v3electionpb.CampaignResponse`.
pub fn campaign_response(cluster: u64, header: Header, leader: &LeaderKey) -> Bytes {
    let LeaderKey { name, key, revision, lease } = leader.clone();
    let leader = Some(recipe::LeaderKey { name, key, rev: revision, lease });
    recipe::CampaignResponse { header: Some(message_header(cluster, header)), leader }.encode_to_vec().into()
}

/// The message of `v3electionpb.LeaderResponse`.
pub fn leader_response(cluster: u64, header: Header, leader: &KeyValue) -> Bytes {
    let (header, kv) = (Some(message_header(cluster, header)), Some(leader.into()));
    recipe::LeaderResponse { header, kv }.encode_to_vec().into()
}
