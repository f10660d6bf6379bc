//! gRPC with messages as the bytes that they are: what a server and a client of it both need, and a client.
//!
//! What a message means is in [`detcd_replica::wire::rpc`] for the server, and in `conform`'s table of etcd's messages
//! for the client.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::metadata::MetadataValue;
use tonic::{Request, Status};

/// Messages as the bytes that they are.
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A connection to a server, without TLS. Calls may be made while others are under way.
#[derive(Clone)]
pub(crate) struct Client {
    connection: Connection,
    origin: hyper::Uri,
}

impl Client {
    /// Connects to `address` (`host:port`). The connection lives in the runtime that this is called in.
    ///
    /// # Errors
    /// Nobody listens there, or speaks HTTP/2.
    pub(crate) async fn connect(address: &str) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| format!("{address}: {error}");
        let tcp = TcpStream::connect(address).await.map_err(|error| told(&error))?;
        tcp.set_nodelay(true).map_err(|error| told(&error))?;
        let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(tcp)).await;
        let (sender, connection) = shaken.map_err(|error| told(&error))?;
        // It ends when the server does, which the next call is told.
        tokio::spawn(async move { drop(connection.await) });
        let origin = format!("http://{address}").parse().map_err(|error| told(&error))?;
        Ok(Self { connection: Connection(sender), origin })
    }

    /// A call with one message and one answer.
    ///
    /// # Errors
    /// Its status.
    pub(crate) async fn unary(&self, path: &'static str, token: Option<&str>, body: Bytes) -> Result<Bytes, Status> {
        let mut grpc = self.ready().await?;
        let request = with_token(Request::new(body), token)?;
        Ok(grpc.unary(request, hyper::http::uri::PathAndQuery::from_static(path), Raw).await?.into_inner())
    }

    /// A call with many messages and many answers.
    ///
    /// # Errors
    /// Its status, when it is refused at once.
    pub(crate) async fn streaming(
        &self,
        path: &'static str,
        token: Option<&str>,
        bodies: impl tokio_stream::Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Streaming<Bytes>, Status> {
        let mut grpc = self.ready().await?;
        let request = with_token(Request::new(bodies), token)?;
        Ok(grpc.streaming(request, hyper::http::uri::PathAndQuery::from_static(path), Raw).await?.into_inner())
    }

    async fn ready(&self) -> Result<Grpc<Connection>, Status> {
        let mut grpc = Grpc::with_origin(self.connection.clone(), self.origin.clone());
        grpc = grpc.max_decoding_message_size(usize::MAX);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(grpc)
    }
}

fn with_token<T>(mut request: Request<T>, token: Option<&str>) -> Result<Request<T>, Status> {
    if let Some(token) = token {
        let token = MetadataValue::try_from(token).map_err(|_| Status::internal("a token that is no header"))?;
        request.metadata_mut().insert("token", token);
    }
    Ok(request)
}

/// hyper's half of a connection, as tonic wants it.
#[derive(Clone)]
struct Connection(SendRequest<Body>);

impl tower_service::Service<hyper::Request<Body>> for Connection {
    type Response = hyper::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: hyper::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
