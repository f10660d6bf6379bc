//! The lock and election services: etcd's recipes over keys and leases, done by the server for clients that have none.
//!
//! Both are one idea: whoever wants its turn puts a key below the name, attached to its lease, and it has it when no
//! key there is older. Who brings no lease is given one of a minute. Who goes while it waits is taken out of the queue.

use std::sync::Arc;

use bytes::Bytes;
use detcd_replica::api::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Header, KeyRange, KeyValue, LeaseGrantRequest, LeaseId,
    PutRequest, RangeRequest, Request, RequestOp, Response, ResponseBody, Revision, SortOrder, SortTarget, TxnRequest,
};
use detcd_replica::wire::rpc::{self, LeaderKey};
use tokio::sync::{mpsc, oneshot};
use tonic::Status;

use super::grpc::{status, Caller, Outgoing};
use super::member::Event;
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

/// Seconds of a lease for those who bring none.
const SESSION_TTL: i64 = 60;

/// Somebody who asks a member.
struct Asker<'a> {
    state: &'a State,
    caller: &'a Caller,
}

impl Asker<'_> {
    async fn ask(&self, request: Request) -> Result<Response, Status> {
        let asked = self.state.asking.ask(self.caller.credential.clone(), request, self.caller.needs_leader);
        // The services of etcd are clients: what they are refused they tell by its words alone.
        asked.await.map_err(|error| Status::unknown(error.message()))
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

    /// The lease of a session: what was brought, or a new one.
    async fn session(&self, lease: LeaseId) -> Result<LeaseId, Status> {
        if lease != 0 {
            return Ok(lease);
        }
        let grant = LeaseGrantRequest { id: 0, ttl: SESSION_TTL };
        match self.ask(Request::LeaseGrant(grant)).await?.body {
            ResponseBody::LeaseGrant { id, .. } => Ok(id),
            _ => Err(Status::internal("a grant was answered with something else")),
        }
    }

    /// Puts the key of a lease below the name, unless it is there.
    async fn queue(&self, name: &Bytes, lease: LeaseId, value: Bytes) -> Result<Turn, Status> {
        // Go writes what is below zero with a sign.
        let sign = if lease < 0 { "-" } else { "" };
        let key = Bytes::from([&name[..], format!("/{sign}{:x}", lease.unsigned_abs()).as_bytes()].concat());
        let put = PutRequest { lease, ..PutRequest::of(key.clone(), value) };
        let mine = RequestOp::Range(RangeRequest::of(KeyRange::single(key.clone())));
        let (header, _, kvs) = self.txn(created(&key, 0), RequestOp::Put(put), Some(mine)).await?;
        let (created, value) = match kvs.into_iter().next() {
            Some(there) => (there.create_revision, Some(there.value)),
            None => (header.revision, None),
        };
        Ok(Turn { key, created, value, header })
    }

    /// Waits until no key below the name is older. Says whether there was anything to wait for.
    async fn wait(&self, name: &Bytes, turn: &Turn) -> Result<bool, Status> {
        let prefix = Bytes::from([&name[..], b"/"].concat());
        let mut has_waited = false;
        loop {
            let older = RangeRequest {
                limit: 1,
                sort_order: SortOrder::Descend,
                sort_target: SortTarget::Create,
                max_create_revision: turn.created - 1,
                ..RangeRequest::of(KeyRange::prefix(prefix.clone()))
            };
            let (header, kvs) = self.range(older).await?;
            let Some(before) = kvs.first() else { return Ok(has_waited) };
            has_waited = true;
            let watch = Watch { range: KeyRange::single(before.key.clone()), from: header.revision, no_put: true };
            let mut watch = watch.open(self.state, self.caller).await?;
            watch.next().await?;
        }
    }
}

/// Takes somebody out of the queue who has gone while it waited: nobody would give its turn back.
struct Withdrawal<'a> {
    asker: &'a Asker<'a>,
    request: Option<Request>,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            let credential = self.asker.caller.credential.clone();
            // Nobody waits for the answer.
            let (reply, _) = oneshot::channel();
            self.asker.state.asking.tell(Event::Request { credential, request, needs_leader: false, reply });
        }
    }
}

fn delete(key: &Bytes) -> DeleteRangeRequest {
    DeleteRangeRequest { range: KeyRange::single(key.clone()), prev_kv: false }
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
    let lease = asker.session(lease).await?;
    let turn = asker.queue(&name, lease, Bytes::new()).await?;
    let mut withdrawal = Withdrawal { asker: &asker, request: Some(Request::DeleteRange(delete(&turn.key))) };
    let mut header = turn.header;
    if asker.wait(&name, &turn).await? {
        // The lease may have ended meanwhile, and the key with it.
        let (now, mine) = asker.range(RangeRequest::of(KeyRange::single(turn.key.clone()))).await?;
        if mine.is_empty() {
            withdrawal.request = None;
            return Err(Status::unknown("mutex: session is expired"));
        }
        header = now;
    }
    withdrawal.request = None;
    Ok(rpc::lock_response(state.asking.cluster, header, turn.key))
}

/// `v3lockpb.Lock/Unlock`.
///
/// # Errors
/// Its gRPC status.
pub(super) async fn unlock(state: Arc<State>, caller: Caller, body: Bytes) -> Result<Bytes, Status> {
    let key = rpc::unlock_request(body).map_err(status)?;
    let answer = Asker { state: &state, caller: &caller }.ask(Request::DeleteRange(delete(&key))).await?;
    Ok(rpc::header(state.asking.cluster, answer.header, None))
}

/// `v3electionpb.Election/Campaign`: comes back when elected.
///
/// # Errors
/// Its gRPC status.
pub(super) async fn campaign(state: Arc<State>, caller: Caller, body: Bytes) -> Result<Bytes, Status> {
    let (name, lease, value) = rpc::campaign_request(body).map_err(status)?;
    let asker = Asker { state: &state, caller: &caller };
    let lease = asker.session(lease).await?;
    let turn = asker.queue(&name, lease, value.clone()).await?;
    let leader = LeaderKey { name: name.clone(), key: turn.key.clone(), revision: turn.created, lease };
    if turn.value.as_ref().is_some_and(|there| *there != value) {
        if let Err(refusal) = change(&asker, &leader, Some(value)).await {
            // etcd's answer is the first refusal, whatever becomes of this.
            let _ = change(&asker, &leader, None).await;
            return Err(refusal);
        }
    }
    let mut withdrawal = Withdrawal { asker: &asker, request: Some(Request::Txn(changing(&leader, None))) };
    let waited = asker.wait(&name, &turn).await;
    withdrawal.request = None;
    waited?;
    Ok(rpc::campaign_response(state.asking.cluster, turn.header, &leader))
}

/// `v3electionpb.Election/Proclaim`: another value, without another election.
///
/// # Errors
/// Its gRPC status.
pub(super) async fn proclaim(state: Arc<State>, caller: Caller, body: Bytes) -> Result<Bytes, Status> {
    let (mut leader, value) = rpc::leader_request(body).map_err(status)?;
    let asker = Asker { state: &state, caller: &caller };
    leader.lease = asker.session(leader.lease).await?;
    let header = change(&asker, &leader, Some(value)).await?;
    Ok(rpc::header(state.asking.cluster, header, None))
}

/// `v3electionpb.Election/Resign`.
///
/// # Errors
/// Its gRPC status.
pub(super) async fn resign(state: Arc<State>, caller: Caller, body: Bytes) -> Result<Bytes, Status> {
    let (mut leader, _) = rpc::leader_request(body).map_err(status)?;
    let asker = Asker { state: &state, caller: &caller };
    leader.lease = asker.session(leader.lease).await?;
    let header = change(&asker, &leader, None).await?;
    Ok(rpc::header(state.asking.cluster, header, None))
}

/// Puts or deletes the leader's key, if it is still the one that was elected.
async fn change(asker: &Asker<'_>, leader: &LeaderKey, value: Option<Bytes>) -> Result<Header, Status> {
    let proclaims = value.is_some();
    let answer = asker.ask(Request::Txn(changing(leader, value))).await?;
    match answer.body {
        ResponseBody::Txn { succeeded: false, .. } if proclaims => Err(Status::unknown("election: not leader")),
        _ => Ok(answer.header),
    }
}

fn changing(leader: &LeaderKey, value: Option<Bytes>) -> TxnRequest {
    let op = match value {
        Some(value) => RequestOp::Put(PutRequest { lease: leader.lease, ..PutRequest::of(leader.key.clone(), value) }),
        None => RequestOp::DeleteRange(delete(&leader.key)),
    };
    TxnRequest { compare: vec![created(&leader.key, leader.revision)], success: vec![op], failure: Vec::new() }
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
    let say = async |header, leader: &KeyValue| {
        let answer = rpc::leader_response(state.asking.cluster, header, leader);
        to.send(Ok(answer)).await.is_ok()
    };
    loop {
        let (mut header, leader) = oldest(&asker, name).await?;
        let leader = match leader {
            Some(leader) => leader,
            None => {
                // The first that is put below the name, which the answer is as of.
                let watch = Watch { range: KeyRange::prefix(prefix.clone()), from: header.revision, no_put: false };
                let mut watch = watch.open(state, caller).await?;
                loop {
                    let (now, events) = tokio::select! {
                        next = watch.next() => next?,
                        () = to.closed() => return Ok(()),
                    };
                    if let Some(put) = events.into_iter().find(|event| event.kv.create_revision > 0) {
                        header = Header { revision: put.kv.mod_revision, ..now };
                        break put.kv;
                    }
                }
            }
        };
        let key = KeyRange::single(leader.key.clone());
        let mut watch = Watch { range: key, from: header.revision + 1, no_put: false }.open(state, caller).await?;
        if !say(header, &leader).await {
            return Ok(());
        }
        'leads: loop {
            let (now, events) = tokio::select! {
                next = watch.next() => next?,
                () = to.closed() => return Ok(()),
            };
            for event in events {
                if event.kv.create_revision == 0 {
                    break 'leads;
                }
                if !say(now, &event.kv).await {
                    return Ok(());
                }
            }
        }
    }
}
