//! Calls with one message and one answer.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use detcd_replica::api;
use detcd_replica::membership::member_id;
use detcd_replica::wire::rpc::{self, Method};
use tonic::Status;

use super::grpc::{refused, status, Caller};
use super::State;

/// A call of one of etcd's methods.
///
/// # Errors
/// Its gRPC status.
pub(super) async fn call(state: Arc<State>, caller: Caller, method: Method, body: Bytes) -> Result<Bytes, Status> {
    let cluster = state.asking.cluster;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let new_member = |urls: &[String]| member_id(urls, &state.token, Some(seconds));
    let request = rpc::request(method, body, &new_member).map_err(status)?;
    let added = match &request {
        api::Request::MemberAdd { id, .. } => Some(*id),
        _ => None,
    };
    let answer = state.asking.ask(caller.credential, request, caller.needs_leader).await.map_err(refused)?;
    if method != Method::Status {
        return Ok(rpc::response(method, cluster, &answer, added));
    }
    let condition = state.asking.look(|replica| replica.look_condition()).await.map_err(refused)?;
    Ok(rpc::status(cluster, &answer, &condition))
}

/// `Maintenance/Hash`.
///
/// # Errors
/// Its gRPC status.
pub(super) async fn hash(state: Arc<State>, caller: Caller) -> Result<Bytes, Status> {
    may_administer(&state, &caller).await?;
    let looked = state.asking.look(|replica| (replica.look_header(), replica.look_hash_all()));
    let (header, hash) = looked.await.map_err(refused)?;
    Ok(rpc::header(state.asking.cluster, header, Some(hash)))
}

/// What the member does not ask, as it knows nothing of the call: whether the caller may do what only root may.
///
/// # Errors
/// It may not.
pub(super) async fn may_administer(state: &State, caller: &Caller) -> Result<(), Status> {
    // A hash is only for root, too.
    let hash = api::Request::HashKv { revision: 0 };
    match state.asking.ask(caller.credential.clone(), hash, caller.needs_leader).await {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(error)),
    }
}
