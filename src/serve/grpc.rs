//! The client's side: HTTP/2 with etcd's gRPC services, and HTTP/1.1 with `/health`, `/version` and `/metrics`, at
//! the same address.
//!
//! Messages come and go as bytes; what they mean is in [`detcd_replica::wire::rpc`]. What is served here is only
//! which path is which call.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use detcd_replica::api::{self, Credential};
use detcd_replica::wire::rpc::{Method, Refusal};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codec::Streaming;
use tonic::server::{Grpc, ServerStreamingService, StreamingService, UnaryService};
use tonic::{Request, Response, Status};

use super::headers::MendedHeaders;
use super::net::{Tls, Url};
use super::{calls, gateway, http, recipes, streams, State};
use crate::grpc::Raw;

/// What a message may be longer than the largest request, for what is around it.
pub(super) const OVERHEAD: usize = 512 << 10;

/// Messages on their way to a client.
pub(super) type Outgoing = tokio_stream::wrappers::ReceiverStream<Result<Bytes, Status>>;

/// Takes every connection made to `url`, for ever.
pub(super) async fn serve(state: Arc<State>, tls: Tls, url: Url, listener: TcpListener) {
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            // Too many files are open, most likely.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let (state, tls, url) = (state.clone(), tls.clone(), url.clone());
        tokio::spawn(async move {
            let Ok((connection, name)) = tls.accepted_from(&url, tcp).await else { return };
            let service = hyper::service::service_fn(|request| answer(state.clone(), name.clone(), request));
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // It ends with the connection, however that ends.
            let _ = builder.serve_connection(TokioIo::new(MendedHeaders::new(connection)), service).await;
        });
    }
}

/// Answers a request of somebody whose certificate has this name.
async fn answer(
    state: Arc<State>,
    name: Option<Arc<str>>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Body>, Infallible> {
    if let Some(route) = gateway::route(request.uri().path()) {
        return Ok(gateway::answer(state, route, request).await);
    }
    let caller = Caller::of(request.headers(), name.as_deref());
    Ok(call(state, caller, request.map(Body::new)).await)
}

/// A call, or something else that is asked by its path.
pub(super) async fn call(state: Arc<State>, caller: Caller, request: hyper::Request<Body>) -> hyper::Response<Body> {
    let path = request.uri().path().to_owned();
    let mut grpc = Grpc::new(Raw).max_decoding_message_size(state.max_request_bytes + OVERHEAD);
    match &path[..] {
        "/etcdserverpb.Watch/Watch" => {
            grpc.streaming(Both(move |asked| streams::watch(state, caller, asked)), request).await
        }
        "/etcdserverpb.Lease/LeaseKeepAlive" => {
            grpc.streaming(Both(move |asked| streams::keep_alive(state, caller, asked)), request).await
        }
        "/etcdserverpb.Maintenance/Snapshot" => {
            grpc.server_streaming(Many(move |_| streams::snapshot(state, caller)), request).await
        }
        "/etcdserverpb.Maintenance/Hash" => grpc.unary(One(move |_| calls::hash(state, caller)), request).await,
        "/v3electionpb.Election/Observe" => {
            grpc.server_streaming(Many(move |body| recipes::observe(state, caller, body)), request).await
        }
        "/v3lockpb.Lock/Lock" => grpc.unary(One(move |body| recipes::lock(state, caller, body)), request).await,
        "/v3lockpb.Lock/Unlock" => grpc.unary(One(move |body| recipes::unlock(state, caller, body)), request).await,
        "/v3electionpb.Election/Campaign" => {
            grpc.unary(One(move |body| recipes::campaign(state, caller, body)), request).await
        }
        "/v3electionpb.Election/Proclaim" => {
            grpc.unary(One(move |body| recipes::proclaim(state, caller, body)), request).await
        }
        "/v3electionpb.Election/Leader" => {
            grpc.unary(One(move |body| recipes::leader(state, caller, body)), request).await
        }
        "/v3electionpb.Election/Resign" => {
            grpc.unary(One(move |body| recipes::resign(state, caller, body)), request).await
        }
        path => match Method::parse(path) {
            Some(method) => grpc.unary(One(move |body| calls::call(state, caller, method, body)), request).await,
            None if request
                .headers()
                .get("content-type")
                .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) =>
            {
                Status::unimplemented(format!("unknown method {path}")).into_http()
            }
            None => http::answer(&state, path).await,
        },
    }
}

/// Who calls, and what the call is to be done with.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) credential: Credential,
    /// The client does not want to be served by a member that is cut off.
    pub(super) needs_leader: bool,
}

impl Caller {
    /// By what it says, or else by the name in its certificate.
    pub(super) fn of(headers: &HeaderMap, name: Option<&str>) -> Self {
        let word = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let token = word("token").or(word("authorization")).map(|token| Credential::Token(token.to_owned()));
        let named = || name.map(|name| Credential::CommonName(name.to_owned()));
        Self {
            credential: token.or_else(named).unwrap_or(Credential::None),
            needs_leader: word("hasleader") == Some("true"),
        }
    }
}

/// The status of a refusal.
pub(super) fn status(refusal: impl Into<Refusal>) -> Status {
    let Refusal { code, message } = refusal.into();
    Status::new(code.into(), message)
}

/// The status of a member's refusal.
pub(super) fn refused(error: api::Error) -> Status {
    status(error)
}

/// A call with one message and one answer.
struct One<F>(F);

impl<F, G> UnaryService<Bytes> for One<F>
where
    F: FnOnce(Bytes) -> G + Clone,
    G: Future<Output = Result<Bytes, Status>> + Send + 'static,
{
    type Response = Bytes;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let answer = self.0.clone()(request.into_inner());
        Box::pin(async { answer.await.map(Response::new) })
    }
}

/// A call with one message and many answers.
struct Many<F>(F);

impl<F, G> ServerStreamingService<Bytes> for Many<F>
where
    F: FnOnce(Bytes) -> G + Clone,
    G: Future<Output = Result<Outgoing, Status>> + Send + 'static,
{
    type Response = Bytes;
    type ResponseStream = Outgoing;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Outgoing>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let answers = self.0.clone()(request.into_inner());
        Box::pin(async { answers.await.map(Response::new) })
    }
}

/// A call with many messages, and many answers.
struct Both<F>(F);

impl<F, G> StreamingService<Bytes> for Both<F>
where
    F: FnOnce(Streaming<Bytes>) -> G + Clone,
    G: Future<Output = Result<Outgoing, Status>> + Send + 'static,
{
    type Response = Bytes;
    type ResponseStream = Outgoing;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Response<Outgoing>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let answers = self.0.clone()(request.into_inner());
        Box::pin(async { answers.await.map(Response::new) })
    }
}
