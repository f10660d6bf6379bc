//! Calls that are streams: watches, keep-alives, and a database on its way to a client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use detcd_replica::api::{
    Credential, Error, Header, KeyRange, Revision, WatchBody, WatchCreate, WatchEvent, WatchRequest, WatchResponse,
};
use detcd_replica::wire::rpc::{self, Method, Watching};
use detcd_replica::{StreamId, WatchId};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tonic::codec::Streaming;
use tonic::Status;

use super::calls::may_administer;
use super::grpc::{refused, status, Caller, Outgoing};
use super::member::{Asking, Event, WINDOW};
use super::State;

/// Bytes of a database in one message, as etcd.
const PART: usize = 32 << 10;
/// How often a stream that needs a leader looks whether there is one.
const LEADER_CHECK: Duration = Duration::from_millis(500);

/// A watch stream of the member; it is closed when this goes.
struct Stream {
    asking: Asking,
    id: StreamId,
    responses: mpsc::UnboundedReceiver<WatchResponse>,
}

impl Stream {
    async fn open(asking: &Asking, credential: Credential) -> Result<Self, Status> {
        let (to, responses) = mpsc::unbounded_channel();
        let (reply, id) = oneshot::channel();
        asking.tell(Event::StreamOpen { credential, responses: to, id: reply });
        let id = id.await.map_err(|_| refused(Error::Stopped))?;
        Ok(Self { asking: asking.clone(), id, responses })
    }

    fn ask(&self, request: WatchRequest) {
        self.asking.tell(Event::StreamRequest { stream: self.id, request });
    }

    fn taken(&self) {
        self.asking.tell(Event::StreamTaken { stream: self.id });
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.asking.tell(Event::StreamClosed { stream: self.id });
    }
}

/// `Watch/Watch`.
///
/// # Errors
/// Its gRPC status.
pub(super) async fn watch(state: Arc<State>, caller: Caller, mut asked: Streaming<Bytes>) -> Result<Outgoing, Status> {
    let mut stream = Stream::open(&state.asking, caller.credential.clone()).await?;
    let (to, outgoing) = mpsc::channel(WINDOW as usize);
    tokio::spawn(async move {
        let mut watching = Watching::default();
        let cluster = state.asking.cluster;
        let mut leaderless = tokio::time::interval(LEADER_CHECK);
        // A client that says no more goes on listening.
        let mut is_asking = true;
        loop {
            let sent = tokio::select! {
                () = to.closed() => return,
                message = asked.message(), if is_asking => match message {
                    Ok(Some(body)) => match ask_watch(&state, &stream, &mut watching, body).await {
                        Ok(None) => Ok(()),
                        Ok(Some(answer)) => to.send(Ok(answer)).await,
                        Err(refusal) => to.send(Err(refusal)).await,
                    },
                    Ok(None) => {
                        is_asking = false;
                        Ok(())
                    }
                    Err(_) => return,
                },
                response = stream.responses.recv() => match response {
                    Some(response) => {
                        let mut sent = Ok(());
                        let limit = state.max_request_bytes;
                        for message in rpc::watch_responses(&mut watching, cluster, &response, limit) {
                            if sent.is_ok() {
                                sent = to.send(Ok(message)).await;
                            }
                        }
                        stream.taken();
                        sent
                    }
                    None => return,
                },
                _ = leaderless.tick(), if caller.needs_leader => {
                    let leader = state.asking.look(|replica| replica.view().leader.known()).await;
                    match leader {
                        Ok(Some(_)) => Ok(()),
                        _ => to.send(Err(refused(Error::NoLeader))).await,
                    }
                }
            };
            if sent.is_err() {
                return;
            }
        }
    });
    Ok(Outgoing::new(outgoing))
}

/// Takes one message of a client; gives the answer when the member need not be asked.
async fn ask_watch(
    state: &State,
    stream: &Stream,
    watching: &mut Watching,
    body: Bytes,
) -> Result<Option<Bytes>, Status> {
    let header = state.asking.header().await.map_err(refused)?;
    match rpc::watch_request(watching, state.asking.cluster, header, body).map_err(status)? {
        Ok(request) => {
            stream.ask(request);
            Ok(None)
        }
        Err(answer) => Ok(answer),
    }
}

/// A watch that the server has for itself.
pub(super) struct Watch {
    pub(super) range: KeyRange,
    /// The first revision.
    pub(super) from: Revision,
    /// Only deletes.
    pub(super) no_put: bool,
}

/// One that is open.
pub(super) struct Watched(Stream);

impl Watch {
    /// Opens it, with the rights of whoever calls.
    ///
    /// # Errors
    /// The member has ended.
    pub(super) async fn open(self, state: &State, caller: &Caller) -> Result<Watched, Status> {
        let stream = Stream::open(&state.asking, caller.credential.clone()).await?;
        stream.ask(WatchRequest::Create(WatchCreate {
            watch: WatchId(0),
            range: self.range,
            start_revision: self.from,
            prev_kv: false,
            progress_notify: false,
            no_put: self.no_put,
            no_delete: false,
        }));
        Ok(Watched(stream))
    }
}

impl Watched {
    /// The next events; it waits for them.
    ///
    /// # Errors
    /// The member does not serve the watch any longer.
    pub(super) async fn next(&mut self) -> Result<(Header, Vec<WatchEvent>), Status> {
        while let Some(response) = self.0.responses.recv().await {
            self.0.taken();
            match response.body {
                WatchBody::Events(events) => return Ok((response.header, events)),
                WatchBody::Cancelled { reason, .. } => return Err(Status::aborted(reason)),
                WatchBody::Created | WatchBody::Progress => {}
            }
        }
        Err(refused(Error::Stopped))
    }
}

/// `Lease/LeaseKeepAlive`: an answer to each message, in order.
///
/// # Errors
/// None; the stream ends with one.
pub(super) async fn keep_alive(
    state: Arc<State>,
    caller: Caller,
    mut asked: Streaming<Bytes>,
) -> Result<Outgoing, Status> {
    let (to, outgoing) = mpsc::channel(WINDOW as usize);
    tokio::spawn(async move {
        while let Ok(Some(body)) = asked.message().await {
            let answer = one_keep_alive(&state, &caller, body).await;
            let ended = answer.is_err();
            if to.send(answer).await.is_err() || ended {
                return;
            }
        }
    });
    Ok(Outgoing::new(outgoing))
}

async fn one_keep_alive(state: &State, caller: &Caller, body: Bytes) -> Result<Bytes, Status> {
    let method = Method::LeaseKeepAlive;
    let request = rpc::request(method, body, &|_| unreachable!("it adds no member")).map_err(status)?;
    let answer = state.asking.ask(caller.credential.clone(), request, caller.needs_leader).await.map_err(refused)?;
    Ok(rpc::response(method, state.asking.cluster, &answer, None))
}

/// `Maintenance/Snapshot`: the database in parts, and then its SHA-256.
///
/// # Errors
/// Its gRPC status.
pub(super) async fn snapshot(state: Arc<State>, caller: Caller) -> Result<Outgoing, Status> {
    may_administer(&state, &caller).await?;
    let looked = state.asking.look(|replica| (replica.look_header(), replica.look_database()));
    let (header, database) = looked.await.map_err(refused)?;
    let (to, outgoing) = mpsc::channel(4);
    tokio::spawn(async move {
        let (cluster, version) = (state.asking.cluster, state.version.clone());
        let hash = Bytes::copy_from_slice(&Sha256::digest(&database));
        let mut rest = database;
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(PART));
            let message = rpc::snapshot(cluster, header, &version, part, rest.len() as u64);
            if to.send(Ok(message)).await.is_err() {
                return;
            }
        }
        // Who does not wait for it has not got the whole.
        let _ = to.send(Ok(rpc::snapshot(cluster, header, &version, hash, 0))).await;
    });
    Ok(Outgoing::new(outgoing))
}
