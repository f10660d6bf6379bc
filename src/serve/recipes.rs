//! The lock and election services: etcd's recipes over keys and leases, done by the server for clients that have none.
//!
//! Both are one idea: whoever wants its turn puts a key below the name, attached to its lease, and it has it when no
//! key there is older.

use std::sync::Arc;

use bytes::Bytes;
use detcd_replica::api::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Header, KeyRange, KeyValue, LeaseId, PutRequest,
    RangeRequest, Request, RequestOp, Response, ResponseBody, Revision, SortOrder, SortTarget, TxnRequest,
};
use detcd_replica::wire::rpc::{self, LeaderKey};
use tokio::sync::mpsc;
use tonic::Status;

use super::grpc::{refused, status, Caller, Outgoing};
use super::streams::Watch;
use super::State;

/// A key in the queue below a name.
struct Turn {
    key: Bytes,
    created: Revision,
    /// What the key has, when it was there already.
    value: Option<Bytes>,
    header: Header,
}

/// Somebody who asks a member.
struct Asker<'a> {
    state: &'a State,
    caller: &'a Caller,
}

impl Asker<'_> {
    async fn ask(&self, request: Request) -> Result<Response, Status> {
        let asked = self.state.asking.ask(self.caller.credential.clone(), request, self.caller.needs_leader);
        asked.await.map_err(refused)
    }

    async fn range(&self, range: RangeRequest) -> Result<(Header, Vec<KeyValue>), Status> {
        let answer = self.ask(Request::Range(range)).await?;
        match answer.body {
            ResponseBody::Range { kvs, .. } => Ok((answer.header, kvs)),
            _ => Err(Status::internal("a range was answered with something else")),
        }
    }

    /// A transaction whose answer to its first operation counts: whether the compare held, and the keys it read.
    async fn txn(
        &self,
        compare: Compare,
        then: RequestOp,
        otherwise: Option<RequestOp>,
    ) -> Result<(Header, bool, Vec<KeyValue>), Status> {
        let failure = otherwise.into_iter().collect();
        let answer =
            self.ask(Request::Txn(TxnRequest { compare: vec![compare], success: vec![then], failure })).await?;
        match answer.body {
            ResponseBody::Txn { succeeded, mut responses } => match responses.pop() {
                Some(ResponseBody::Range { kvs, .. }) => Ok((answer.header, succeeded, kvs)),
                _ => Ok((answer.header, succeeded, Vec::new())),
            },
            _ => Err(Status::internal("a transaction was answered with something else")),
        }
    }

    /// Puts the key of a lease below the name, unless it is there.
    async fn queue(&self, name: &Bytes, lease: LeaseId, value: Bytes) -> Result<Turn, Status> {
        let key = Bytes::from([&name[..], format!("/{lease:x}").as_bytes()].concat());
        let put = PutRequest { lease, ..PutRequest::of(key.clone(), value) };
        let mine = RequestOp::Range(RangeRequest::of(KeyRange::single(key.clone())));
        let (header, _, kvs) = self.txn(created(&key, 0), RequestOp::Put(put), Some(mine)).await?;
        let (created, value) = match kvs.into_iter().next() {
            Some(there) => (there.create_revision, Some(there.value)),
            None => (header.revision, None),
        };
        Ok(Turn { key, created, value, header })
    }

    /// Waits until no key below the name is older; gives the header of the moment.
    async fn wait(&self, name: &Bytes, turn: &Turn) -> Result<Header, Status> {
        let prefix = Bytes::from([&name[..], b"/"].concat());
        let mut header = turn.header;
        loop {
            let older = RangeRequest {
                limit: 1,
                sort_order: SortOrder::Descend,
                sort_target: SortTarget::Create,
                max_create_revision: turn.created - 1,
                ..RangeRequest::of(KeyRange::prefix(prefix.clone()))
            };
            let (_, kvs) = self.range(older).await?;
            let Some(before) = kvs.first() else { return Ok(header) };
            let watch = Watch { range: KeyRange::single(before.key.clone()), from: header.revision, no_put: true };
            let mut watch = watch.open(self.state, self.caller).await?;
            watch.next().await?;
            // The lease may have ended meanwhile, and the key with it.
            let (now, mine) = self.range(RangeRequest::of(KeyRange::single(turn.key.clone()))).await?;
            if mine.is_empty() {
                return Err(Status::unknown("mutex: session is expired"));
            }
            header = now;
        }
    }
}

/// The key was created at that revision; 0: it is not there.
fn created(key: &Bytes, revision: Revision) -> Compare {
    let range = KeyRange::single(key.clone());
    Compare { range, result: CompareResult::Equal, target: CompareTarget::Create(revision) }
}

/// `v3lockpb.Lock/Lock`.
///
/// # Errors
/// Its gRPC status.
pub(super) async fn lock(state: Arc<State>, caller: Caller, body: Bytes) -> Result<Bytes, Status> {
    let (name, lease) = rpc::lock_request(body).map_err(status)?;
    let asker = Asker { state: &state, caller: &caller };
    let turn = asker.queue(&name, lease, Bytes::new()).await?;
    let header = asker.wait(&name, &turn).await?;
    Ok(rpc::lock_response(state.asking.cluster, header, turn.key))
}

/// `v3lockpb.Lock/Unlock`.
///
/// # Errors
/// Its gRPC status.
pub(super) async fn unlock(state: Arc<State>, caller: Caller, body: Bytes) -> Result<Bytes, Status> {
    let key = rpc::unlock_request(body).map_err(status)?;
    let delete = DeleteRangeRequest { range: KeyRange::single(key), prev_kv: false };
    let answer = Asker { state: &state, caller: &caller }.ask(Request::DeleteRange(delete)).await?;
    Ok(rpc::header(state.asking.cluster, answer.header, None))
}

/// `v3electionpb.Election/Campaign`: comes back when elected.
///
/// # Errors
/// Its gRPC status.
pub(super) async fn campaign(state: Arc<State>, caller: Caller, body: Bytes) -> Result<Bytes, Status> {
    let (name, lease, value) = rpc::campaign_request(body).map_err(status)?;
    let asker = Asker { state: &state, caller: &caller };
    let turn = asker.queue(&name, lease, value.clone()).await?;
    let leader = LeaderKey { name: name.clone(), key: turn.key.clone(), revision: turn.created, lease };
    if turn.value.as_ref().is_some_and(|there| *there != value) {
        change(&asker, &leader, Some(value)).await?;
    }
    let header = asker.wait(&name, &turn).await?;
    Ok(rpc::campaign_response(state.asking.cluster, header, &leader))
}

/// `v3electionpb.Election/Proclaim`: another value, without another election.
///
/// # Errors
/// Its gRPC status.
pub(super) async fn proclaim(state: Arc<State>, caller: Caller, body: Bytes) -> Result<Bytes, Status> {
    let (leader, value) = rpc::leader_request(body).map_err(status)?;
    let header = change(&Asker { state: &state, caller: &caller }, &leader, Some(value)).await?;
    Ok(rpc::header(state.asking.cluster, header, None))
}

/// `v3electionpb.Election/Resign`.
///
/// # Errors
/// Its gRPC status.
pub(super) async fn resign(state: Arc<State>, caller: Caller, body: Bytes) -> Result<Bytes, Status> {
    let (leader, _) = rpc::leader_request(body).map_err(status)?;
    let header = change(&Asker { state: &state, caller: &caller }, &leader, None).await?;
    Ok(rpc::header(state.asking.cluster, header, None))
}

/// Puts or deletes the leader's key, if it is still the one that was elected.
async fn change(asker: &Asker<'_>, leader: &LeaderKey, value: Option<Bytes>) -> Result<Header, Status> {
    let proclaims = value.is_some();
    let op = match value {
        Some(value) => RequestOp::Put(PutRequest { lease: leader.lease, ..PutRequest::of(leader.key.clone(), value) }),
        None => {
            let range = KeyRange::single(leader.key.clone());
            RequestOp::DeleteRange(DeleteRangeRequest { range, prev_kv: false })
        }
    };
    let (header, held, _) = asker.txn(created(&leader.key, leader.revision), op, None).await?;
    match held || !proclaims {
        true => Ok(header),
        false => Err(Status::unknown("election: not leader")),
    }
}

/// The oldest key below a name.
async fn oldest(asker: &Asker<'_>, name: &Bytes) -> Result<(Header, Option<KeyValue>), Status> {
    let prefix = Bytes::from([&name[..], b"/"].concat());
    let first = RangeRequest {
        limit: 1,
        sort_order: SortOrder::Ascend,
        sort_target: SortTarget::Create,
        ..RangeRequest::of(KeyRange::prefix(prefix))
    };
    let (header, kvs) = asker.range(first).await?;
    Ok((header, kvs.into_iter().next()))
}

/// `v3electionpb.Election/Leader`.
///
/// # Errors
/// Its gRPC status.
pub(super) async fn leader(state: Arc<State>, caller: Caller, body: Bytes) -> Result<Bytes, Status> {
    let (name, ..) = rpc::campaign_request(body).map_err(status)?;
    match oldest(&Asker { state: &state, caller: &caller }, &name).await? {
        (header, Some(leader)) => Ok(rpc::leader_response(state.asking.cluster, header, &leader)),
        (_, None) => Err(Status::unknown("election: no leader")),
    }
}

/// `v3electionpb.Election/Observe`: every leader, and each thing it proclaims.
///
/// # Errors
/// Its gRPC status.
pub(super) async fn observe(state: Arc<State>, caller: Caller, body: Bytes) -> Result<Outgoing, Status> {
    let (name, ..) = rpc::campaign_request(body).map_err(status)?;
    let (to, outgoing) = mpsc::channel(16);
    tokio::spawn(async move {
        if let Err(refusal) = tell_leaders(&state, &caller, &name, &to).await {
            // Who listened may have gone.
            let _ = to.send(Err(refusal)).await;
        }
    });
    Ok(Outgoing::new(outgoing))
}

/// Ends well when nobody listens any longer.
async fn tell_leaders(
    state: &State,
    caller: &Caller,
    name: &Bytes,
    to: &mpsc::Sender<Result<Bytes, Status>>,
) -> Result<(), Status> {
    let asker = Asker { state, caller };
    let prefix = Bytes::from([&name[..], b"/"].concat());
    loop {
        let (header, leader) = oldest(&asker, name).await?;
        let Some(mut leader) = leader else {
            let watch = Watch { range: KeyRange::prefix(prefix.clone()), from: header.revision + 1, no_put: false };
            let mut watch = watch.open(state, caller).await?;
            tokio::select! {
                next = watch.next() => next?,
                () = to.closed() => return Ok(()),
            };
            continue;
        };
        let key = leader.key.clone();
        let watch = Watch { range: KeyRange::single(key), from: header.revision + 1, no_put: false };
        let mut watch = watch.open(state, caller).await?;
        let mut header = header;
        'leads: loop {
            if to.send(Ok(rpc::leader_response(state.asking.cluster, header, &leader))).await.is_err() {
                return Ok(());
            }
            let (now, events) = tokio::select! {
                next = watch.next() => next?,
                () = to.closed() => return Ok(()),
            };
            header = now;
            for event in events {
                if event.kv.create_revision == 0 {
                    break 'leads;
                }
                leader = event.kv;
            }
        }
    }
}
