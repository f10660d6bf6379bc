//! Whether a member is well, as probes ask: `/health`, and `/livez` and `/readyz`, whose checks have names.
//!
//! Promises: etcd's paths, parameters, codes and reasons; of several checks, in one order. It does not know how a
//! probe's connection came.

use detcd_replica::api::{self, Alarm, Credential, KeyRange, RangeRequest, Request};
use hyper::StatusCode;

use super::State;

/// A check of `/livez` or `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    DataCorruption,
    LinearizableRead,
    NonLearner,
    SerializableRead,
}

const LIVE: &[Check] = &[Check::SerializableRead];
const READY: &[Check] = &[Check::DataCorruption, Check::LinearizableRead, Check::NonLearner, Check::SerializableRead];

/// What a probe is told.
pub(super) struct Health {
    pub(super) status: StatusCode,
    pub(super) kind: &'static str,
    pub(super) text: String,
}

/// Answers a probe by its path and query; nothing when the path is no probe's.
pub(super) async fn answer(state: &State, path: &str, query: &str) -> Option<Health> {
    if path == "/health" {
        return Some(health(state, query).await);
    }
    let (root, name) = path.strip_prefix('/')?.split_once('/').unwrap_or((path.strip_prefix('/')?, ""));
    let checks = match root {
        "livez" => LIVE,
        "readyz" => READY,
        _ => return None,
    };
    let chosen: Vec<Check> = match name {
        "" => checks.iter().copied().filter(|check| !has(query, "exclude", check.name())).collect(),
        name => vec![*checks.iter().find(|check| check.name() == name)?],
    };
    let (mut well, mut reasons) = (true, String::new());
    for check in chosen {
        let outcome = check.ask(state).await;
        well &= outcome.is_ok();
        reasons += &match outcome {
            Ok(()) => format!("[+]{} ok\n", check.name()),
            Err(reason) => format!("[-]{} failed: {reason}\n", check.name()),
        };
    }
    let kind = "text/plain; charset=utf-8";
    Some(match well {
        // What Go's http.Error says ends with a line's end of its own.
        false => Health { status: StatusCode::SERVICE_UNAVAILABLE, kind, text: reasons + "\n" },
        true => {
            let verbose = parameters(query).any(|(name, _)| name == "verbose");
            Health { status: StatusCode::OK, kind, text: if verbose { reasons } else { String::new() } + "ok\n" }
        }
    })
}

async fn health(state: &State, query: &str) -> Health {
    let serializable = parameters(query).find(|(name, _)| *name == "serializable").is_some_and(|(_, is)| is == "true");
    let looked = state.asking.look(|replica| {
        let view = replica.view();
        (view.alarms.iter().map(|raised| raised.alarm).collect::<Vec<_>>(), view.leader.known().is_some())
    });
    let outcome = match looked.await {
        Err(error) => Err(error.message().to_owned()),
        Ok((alarms, has_leader)) => match alarms.into_iter().find(|alarm| !has(query, "exclude", name(*alarm))) {
            Some(alarm) => Err(format!("ALARM {}", name(alarm))),
            None if !has_leader && !serializable => Err("RAFT NO LEADER".to_owned()),
            None => read(state, serializable).await.map_err(|reason| format!("RANGE ERROR:{reason}")),
        },
    };
    let (status, kind, end) = match &outcome {
        Ok(()) => (StatusCode::OK, "application/json", ""),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", "\n"),
    };
    let said =
        serde_json::json!({ "health": outcome.is_ok().to_string(), "reason": outcome.err().unwrap_or_default() });
    Health { status, kind, text: said.to_string() + end }
}

fn name(alarm: Alarm) -> &'static str {
    match alarm {
        Alarm::NoSpace => "NOSPACE",
        Alarm::Corrupt => "CORRUPT",
    }
}

impl Check {
    fn name(self) -> &'static str {
        match self {
            Self::DataCorruption => "data_corruption",
            Self::LinearizableRead => "linearizable_read",
            Self::NonLearner => "non_learner",
            Self::SerializableRead => "serializable_read",
        }
    }

    /// # Errors
    /// Why it fails.
    async fn ask(self, state: &State) -> Result<(), String> {
        let ended = |error: api::Error| error.message().to_owned();
        match self {
            Self::SerializableRead | Self::LinearizableRead => read(state, self == Self::SerializableRead).await,
            Self::DataCorruption => {
                let raised = |alarm: Alarm| move |raised: &api::AlarmMember| raised.alarm == alarm;
                let looked = state.asking.look(move |replica| replica.view().alarms.iter().any(raised(Alarm::Corrupt)));
                match looked.await.map_err(ended)? {
                    true => Err("alarm activated: CORRUPT".into()),
                    false => Ok(()),
                }
            }
            Self::NonLearner => {
                let looked = state.asking.look(|replica| {
                    let view = replica.view();
                    view.learners.contains(&view.member)
                });
                match looked.await.map_err(ended)? {
                    true => Err("not supported for learner".into()),
                    false => Ok(()),
                }
            }
        }
    }
}

/// Reads as etcd's probes do. To be refused for want of rights is to be answered: etcd asks as root.
async fn read(state: &State, serializable: bool) -> Result<(), String> {
    let range =
        RangeRequest { serializable, keys_only: true, limit: 1, ..RangeRequest::of(KeyRange::single("health")) };
    match state.asking.ask(Credential::None, Request::Range(range), false).await {
        Ok(_) | Err(api::Error::PermissionDenied | api::Error::UserEmpty) => Ok(()),
        Err(error) => Err(error.message().to_owned()),
    }
}

/// The parameters of a query. Those of probes are plain words.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")))
}

fn has(query: &str, name: &str, value: &str) -> bool {
    parameters(query).any(|parameter| parameter == (name, value))
}
