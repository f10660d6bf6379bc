//! What is served without gRPC: `/health`, `/version`, `/metrics`.

use detcd_replica::api::{KeyRange, RangeRequest, Request};
use detcd_replica::Role;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use tonic::body::Body;

use super::metrics::Looked;
use super::State;

/// Answers a request by its path.
pub(super) async fn answer(state: &State, path: &str) -> Response<Body> {
    match path {
        "/version" => {
            let version = &state.version;
            let text = format!("{{\"etcdserver\":\"{version}\",\"etcdcluster\":\"{version}\"}}");
            reply(StatusCode::OK, "application/json", text)
        }
        "/health" => {
            // As etcd: whether a linearizable read succeeds. Being refused for want of rights is a success.
            let range = RangeRequest::of(KeyRange::single("health"));
            let asked = state.asking.ask(detcd_replica::api::Credential::None, Request::Range(range), true).await;
            let healthy = asked.as_ref().err().is_none_or(|error| {
                matches!(error, detcd_replica::api::Error::PermissionDenied | detcd_replica::api::Error::UserEmpty)
            });
            let reason = asked.err().filter(|_| !healthy).map(|error| error.message()).unwrap_or_default();
            let text = format!("{{\"health\":\"{healthy}\",\"reason\":\"{reason}\"}}");
            reply(if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, "application/json", text)
        }
        "/metrics" => match metrics(state).await {
            Some(text) => reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
            None => reply(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "the member has stopped\n".into()),
        },
        _ => reply(StatusCode::NOT_FOUND, "text/plain", "404 page not found\n".into()),
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
