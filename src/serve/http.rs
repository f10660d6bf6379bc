//! What is served without gRPC: `/version`, `/metrics`, and what probes ask ([`super::health`]).

use detcd_replica::Role;
use http_body_util::Full;
use hyper::{Response, StatusCode, Uri};
use tonic::body::Body;

use super::metrics::Looked;
use super::{health, State};

/// Answers a request by its path.
pub(super) async fn answer(state: &State, uri: &Uri) -> Response<Body> {
    if uri.path() != "/version" {
        return answer_monitoring(state, uri).await;
    }
    let version = &state.version;
    let text = format!("{{\"etcdserver\":\"{version}\",\"etcdcluster\":\"{version}\"}}");
    reply(StatusCode::OK, "application/json", text)
}

/// The same, where only monitoring is served: as in etcd, without `/version`.
pub(super) async fn answer_monitoring(state: &State, uri: &Uri) -> Response<Body> {
    if let Some(health) = health::answer(state, uri.path(), uri.query().unwrap_or_default()).await {
        return reply(health.status, health.kind, health.text);
    }
    if uri.path() != "/metrics" {
        return reply(StatusCode::NOT_FOUND, "text/plain", "404 page not found\n".into());
    }
    match metrics(state).await {
        Some(text) => reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
        None => reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "the member has stopped\n".into()),
    }
}

async fn metrics(state: &State) -> Option<String> {
    let (version, quota) = (state.version.clone(), state.quota_bytes);
    let looked = state.asking.look(move |replica| {
        let (view, (db_size, db_size_in_use)) = (replica.view(), replica.look_size());
        Looked {
            version,
            has_leader: view.leader.known().is_some(),
            is_leader: view.role == Role::Leader,
            is_learner: view.learners.contains(&view.member),
            db_size,
            db_size_in_use,
            quota,
            applied: view.applied,
            committed: view.commit,
            revision: view.revision,
            compact_revision: view.compact_revision,
        }
    });
    Some(state.metrics.text(&looked.await.ok()?))
}

fn reply(status: StatusCode, kind: &str, text: String) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .body(Body::new(Full::from(text)))
        .expect("the parts are sound")
}
