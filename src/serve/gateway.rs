//! etcd's API as JSON over HTTP, as its grpc-gateway serves it: each path of `/v3/` is a call, whose message is the
//! body.
//!
//! The gateway is a client of the calls like any other: it puts the body into protobuf's form by the table of etcd's
//! messages, makes the call, and says its answer in JSON. Names are protobuf's, 64-bit numbers are text, bytes are
//! base64, what is zero is left out. A call that is a stream takes all of its messages from the body, and each of its
//! answers is a line. What a message means is not known here.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use detcd_replica::wire::rpc::Method;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderValue, AUTHORIZATION, CONTENT_TYPE};
use hyper::StatusCode;
use serde_json::{json, Value};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::{Code, Status};

use super::grpc::{self, Caller};
use super::State;
use crate::etcdpb::{decode, messages, try_encode};

/// A call that has a path here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// gRPC's path of it.
    call: String,
    /// What it takes and gives, by their names in the table.
    asks: &'static str,
    answers: &'static str,
    is_stream: bool,
}

/// Bytes of a message's head in gRPC: whether it is compressed, and its length.
const HEAD: usize = 5;
/// Answers of a stream that wait for the client.
const WAITING: usize = 16;

/// The call of a path, if it is one.
pub(super) fn route(path: &str) -> Option<Route> {
    let name = path.strip_prefix("/v3/")?;
    let other = |call: &str, asks, answers, is_stream| Some(Route { call: call.to_owned(), asks, answers, is_stream });
    match name {
        "watch" => return other("/etcdserverpb.Watch/Watch", "WatchRequest", "WatchResponse", true),
        "lease/keepalive" => {
            let call = "/etcdserverpb.Lease/LeaseKeepAlive";
            return other(call, "LeaseRequest", "LeaseKeepAliveResponse", true);
        }
        "maintenance/snapshot" => {
            return other("/etcdserverpb.Maintenance/Snapshot", "Nothing", "SnapshotResponse", true);
        }
        "maintenance/hash" => return other("/etcdserverpb.Maintenance/Hash", "Nothing", "HashResponse", false),
        "lock/lock" => return other("/v3lockpb.Lock/Lock", "LockRequest", "LockResponse", false),
        "lock/unlock" => return other("/v3lockpb.Lock/Unlock", "UnlockRequest", "Header", false),
        "election/campaign" => {
            return other("/v3electionpb.Election/Campaign", "CampaignRequest", "CampaignResponse", false);
        }
        "election/proclaim" => return other("/v3electionpb.Election/Proclaim", "ProclaimRequest", "Header", false),
        "election/leader" => {
            return other("/v3electionpb.Election/Leader", "ElectionRequest", "LeaderResponse", false);
        }
        "election/observe" => {
            return other("/v3electionpb.Election/Observe", "ElectionRequest", "LeaderResponse", true);
        }
        "election/resign" => return other("/v3electionpb.Election/Resign", "ResignRequest", "Header", false),
        _ => {}
    }
    let (_, method) = METHODS.iter().find(|(of, _)| *of == name)?;
    let (asks, answers) = messages(*method);
    Some(Route { call: format!("/etcdserverpb.{}", method.name()), asks, answers, is_stream: false })
}

/// The paths of calls with one message and one answer, behind `/v3/`.
const METHODS: &[(&str, Method)] = &[
    ("kv/range", Method::Range),
    ("kv/put", Method::Put),
    ("kv/deleterange", Method::DeleteRange),
    ("kv/txn", Method::Txn),
    ("kv/compaction", Method::Compact),
    ("lease/grant", Method::LeaseGrant),
    ("lease/revoke", Method::LeaseRevoke),
    ("kv/lease/revoke", Method::LeaseRevoke),
    ("lease/timetolive", Method::LeaseTimeToLive),
    ("kv/lease/timetolive", Method::LeaseTimeToLive),
    ("lease/leases", Method::LeaseLeases),
    ("kv/lease/leases", Method::LeaseLeases),
    ("cluster/member/add", Method::MemberAdd),
    ("cluster/member/remove", Method::MemberRemove),
    ("cluster/member/update", Method::MemberUpdate),
    ("cluster/member/list", Method::MemberList),
    ("cluster/member/promote", Method::MemberPromote),
    ("maintenance/alarm", Method::Alarm),
    ("maintenance/status", Method::Status),
    ("maintenance/defragment", Method::Defragment),
    ("maintenance/hashkv", Method::HashKv),
    ("maintenance/transfer-leadership", Method::MoveLeader),
    ("maintenance/downgrade", Method::Downgrade),
    ("auth/enable", Method::AuthEnable),
    ("auth/disable", Method::AuthDisable),
    ("auth/status", Method::AuthStatus),
    ("auth/authenticate", Method::Authenticate),
    ("auth/user/add", Method::UserAdd),
    ("auth/user/get", Method::UserGet),
    ("auth/user/list", Method::UserList),
    ("auth/user/delete", Method::UserDelete),
    ("auth/user/changepw", Method::UserChangePassword),
    ("auth/user/grant", Method::UserGrantRole),
    ("auth/user/revoke", Method::UserRevokeRole),
    ("auth/role/add", Method::RoleAdd),
    ("auth/role/get", Method::RoleGet),
    ("auth/role/list", Method::RoleList),
    ("auth/role/delete", Method::RoleDelete),
    ("auth/role/grant", Method::RoleGrantPermission),
    ("auth/role/revoke", Method::RoleRevokePermission),
];

/// Answers a call.
pub(super) async fn answer(
    state: Arc<State>,
    route: Route,
    request: hyper::Request<Incoming>,
) -> hyper::Response<Body> {
    if request.method() != hyper::Method::POST {
        let status = Status::unimplemented("Method Not Allowed");
        return reply(StatusCode::METHOD_NOT_ALLOWED, refusal(&state, &status));
    }
    let token = request.headers().get(AUTHORIZATION).cloned();
    match ask(&state, &route, token, request.into_body()).await {
        Ok(answers) if route.is_stream => stream(state, route, answers).await,
        Ok(mut answers) => match answers.next().await {
            Ok(message) => match decode(route.answers, &message.unwrap_or_default()) {
                Ok(value) => reply(StatusCode::OK, value),
                Err(reason) => refused(&state, &Status::internal(reason)),
            },
            Err(status) => refused(&state, &status),
        },
        Err(status) => refused(&state, &status),
    }
}

/// Makes the call.
async fn ask(state: &Arc<State>, route: &Route, token: Option<HeaderValue>, body: Incoming) -> Result<Answers, Status> {
    // Base64 takes a third more.
    let limit = (state.max_request_bytes + grpc::OVERHEAD) * 4 / 3;
    let body =
        Limited::new(body, limit).collect().await.map_err(|error| Status::invalid_argument(error.to_string()))?;
    let frames = frames(route, &body.to_bytes()).map_err(Status::invalid_argument)?;
    let mut request = hyper::Request::post(&route.call).body(Body::new(Full::from(frames)));
    let request = request.as_mut().map_err(|error| Status::internal(error.to_string()))?;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, token);
    }
    // A certificate is that of whoever connects, and says nothing of whom the gateway calls for.
    let caller = Caller::of(headers, None);
    let request = std::mem::replace(request, hyper::Request::new(Body::empty()));
    let answer = grpc::call(state.clone(), caller, request).await;
    let (head, body) = answer.into_parts();
    match Status::from_header_map(&head.headers) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(Answers { body, buffer: BytesMut::new(), last: None }),
    }
}

/// The messages of a body as gRPC has them. One that is left out is empty; a stream may have several, or none.
fn frames(route: &Route, body: &[u8]) -> Result<Vec<u8>, String> {
    let values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
    let mut values = values.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    if values.is_empty() && !(route.is_stream && route.asks != "Nothing") {
        values.push(json!({}));
    }
    if values.len() > 1 && !route.is_stream {
        return Err("more than one message".into());
    }
    let mut frames = Vec::new();
    for value in values {
        let message = try_encode(route.asks, &value)?;
        frames.push(0);
        frames.extend_from_slice(&u32::try_from(message.len()).map_err(|_| "too long")?.to_be_bytes());
        frames.extend_from_slice(&message);
    }
    Ok(frames)
}

/// What a call answers, message by message.
struct Answers {
    body: Body,
    buffer: BytesMut,
    /// How it has ended.
    last: Option<Status>,
}

impl Answers {
    /// The next message; `None` when the call has ended well.
    ///
    /// # Errors
    /// It has not.
    async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(head) = self.buffer.first_chunk::<HEAD>() {
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if self.buffer.len() >= HEAD + length {
                    self.buffer.advance(HEAD);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
            }
            match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.buffer.extend_from_slice(&data),
                    Err(frame) => self.last = frame.trailers_ref().and_then(Status::from_header_map),
                },
                Some(Err(error)) => return Err(Status::internal(error.to_string())),
                None => {
                    return match self.last.take() {
                        Some(status) if status.code() != Code::Ok => Err(status),
                        _ => Ok(None),
                    }
                }
            }
        }
    }
}

/// Each answer as a line. How it begins decides about the answer to HTTP.
async fn stream(state: Arc<State>, route: Route, mut answers: Answers) -> hyper::Response<Body> {
    let mut next = match answers.next().await {
        Ok(next) => next,
        Err(status) => return reply(http_status(&status), json!({ "error": refusal(&state, &status) })),
    };
    let (to, lines) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        while let Some(message) = next {
            let line = match decode(route.answers, &message) {
                Ok(value) => json!({ "result": value }),
                Err(reason) => json!({ "error": { "message": reason } }),
            };
            let said = to.send(Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(format!("{line}\n")))));
            if said.await.is_err() {
                return;
            }
            let more = tokio::select! {
                more = answers.next() => more,
                // Nobody listens any longer.
                () = to.closed() => return,
            };
            next = match more {
                Ok(next) => next,
                Err(status) => {
                    let line = format!("{}\n", json!({ "error": refusal(&state, &status) }));
                    // It is the last one, whether or not it is heard.
                    let _ = to.send(Ok(Frame::data(Bytes::from(line)))).await;
                    None
                }
            };
        }
    });
    let body = Body::new(StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(lines)));
    respond(StatusCode::OK, body)
}

fn refused(state: &State, status: &Status) -> hyper::Response<Body> {
    reply(http_status(status), refusal(state, status))
}

/// A status in the form of the gateway: that of 3.6's, and with the field that clients of older ones look at.
fn refusal(state: &State, status: &Status) -> Value {
    let (code, message) = (status.code() as i32, status.message());
    match state.version.starts_with("3.4.") || state.version.starts_with("3.5.") {
        true => json!({ "error": message, "code": code, "message": message }),
        false => json!({ "code": code, "message": message }),
    }
}

/// `runtime.HTTPStatusFromCode`.
fn http_status(status: &Status) -> StatusCode {
    match status.code() {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn reply(status: StatusCode, value: Value) -> hyper::Response<Body> {
    respond(status, Body::new(Full::from(value.to_string())))
}

fn respond(status: StatusCode, body: Body) -> hyper::Response<Body> {
    let answer = hyper::Response::builder().status(status).header(CONTENT_TYPE, "application/json");
    answer.body(body).expect("the parts are sound")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_path() {
        for method in Method::ALL {
            let count = METHODS.iter().filter(|(_, of)| *of == method).count();
            assert_eq!(count > 0, method != Method::LeaseKeepAlive, "{method:?}");
        }
        let put = route("/v3/kv/put").expect("a call");
        assert_eq!((&put.call[..], put.asks, put.is_stream), ("/etcdserverpb.KV/Put", "PutRequest", false));
        assert_eq!(route("/v3/kv/nothing"), None);
        assert_eq!(route("/v3beta/kv/put"), None);
    }

    #[test]
    fn bodies_become_messages() {
        let (put, watch) = (route("/v3/kv/put").expect("a call"), route("/v3/watch").expect("a call"));
        assert_eq!(frames(&put, br#"{"key":"YQ=="}"#), Ok(vec![0, 0, 0, 0, 3, 10, 1, b'a']));
        assert_eq!(frames(&put, b""), Ok(vec![0; 5]));
        assert_eq!(frames(&watch, b""), Ok(vec![]));
        assert_eq!(frames(&watch, b"{} {}\n"), Ok(vec![0; 10]));
        for wrong in [&b"{} {}"[..], b"[]", b"{", br#"{"key":7}"#, br#"{"key":"?"}"#] {
            assert!(frames(&put, wrong).is_err(), "{wrong:?}");
        }
    }
}
