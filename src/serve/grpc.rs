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
use hyper_util::server::conn::auto::Builder;
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

/// The most metadata of one call, in bytes as HTTP/2 counts them (RFC 9113, section 6.5.2). It is what Go's net/http
/// takes, through which etcd serves gRPC at `https://`; beside it, at `http://`, grpc-go takes 16 MiB. No client needs
/// that (a token is some hundred bytes), and it is what a connection may make a member hold of a header block.
pub(super) const METADATA_MAX: u32 = 1 << 20;

/// Messages on their way to a client.
pub(super) type Outgoing = tokio_stream::wrappers::ReceiverStream<Result<Bytes, Status>>;

/// What is served at an address.
#[derive(Clone, Copy)]
pub(super) enum Serves {
    /// All that clients may ask.
    All,
    /// What monitoring asks.
    Metrics,
}

/// Takes every connection made to `url`, for ever.
pub(super) async fn serve(state: Arc<State>, tls: Tls, serves: Serves, url: Url, listener: TcpListener) {
    loop {
        let Ok((tcp, _)) = listener.accept().await else {
            // Too many files are open, most likely.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        let (state, tls, url) = (state.clone(), tls.clone(), url.clone());
        tokio::spawn(async move {
            let Ok((connection, name)) = tls.accepted_from(&url, tcp).await else { return };
            let service = hyper::service::service_fn(|request| answer(state.clone(), name.clone(), serves, request));
            let http = connections(state.max_concurrent_streams);
            // It ends with the connection, however that ends.
            let _ = http.serve_connection(TokioIo::new(MendedHeaders::new(connection)), service).await;
        });
    }
}

/// What a client's connection may do, with so many calls at once.
pub(super) fn connections(streams_max: u32) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(streams_max).max_header_list_size(METADATA_MAX);
    builder
}

/// Answers a request of somebody whose certificate has this name.
async fn answer(
    state: Arc<State>,
    name: Option<Arc<str>>,
    serves: Serves,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Body>, Infallible> {
    if let Serves::Metrics = serves {
        return Ok(http::answer_monitoring(&state, request.uri()).await);
    }
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
            None => http::answer(&state, request.uri()).await,
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn clients_are_told_what_they_may() {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request: hyper::Request<Incoming>| async {
                drop(request);
                Ok::<_, Infallible>(hyper::Response::new(Body::empty()))
            });
            connections(7).serve_connection(TokioIo::new(server), service).await.map_err(|error| error.to_string())
        });
        // The preface, and settings that are empty.
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("it is read");
        let mut head = [0; 9];
        client.read_exact(&mut head).await.expect("it answers");
        let mut settings = vec![0; usize::from(head[2])];
        client.read_exact(&mut settings).await.expect("it is whole");
        let told = |id: u8| settings.chunks(6).find(|setting| setting[..2] == [0, id]).map(|setting| &setting[2..]);
        assert_eq!(told(3), Some(&7_u32.to_be_bytes()[..]));
        assert_eq!(told(6), Some(&METADATA_MAX.to_be_bytes()[..]));
    }
}
