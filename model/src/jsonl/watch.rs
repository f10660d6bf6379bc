//! The lines of watches: what was asked, and what came.

use detcd_replica::api as of;
use detcd_replica::history;
use detcd_replica::WatchId;
use serde::{Deserialize, Serialize};

use super::form::{is_default, is_empty, member, Header, KeyValue, Range, WatchEventKind};
use super::refusal::ERRORS;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    kind: WatchEventKind,
    kv: KeyValue,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prev_kv: Option<KeyValue>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum WatchBody {
    Created,
    Events(Vec<Event>),
    Progress,
    Cancelled { compact_revision: i64, reason: String },
}

/// The reasons that a watch can be cancelled for, as far as this version knows them.
fn reason(text: &str) -> &'static str {
    let known = ERRORS.iter().map(|(error, _)| error.message());
    let known = known.chain(["", "mvcc: required revision has been compacted"]);
    let mut known = known.filter(|known| *known == text);
    known.next().unwrap_or("for a reason that this version does not know")
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WatchResponse {
    at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watch: Option<i64>,
    header: Header,
    body: WatchBody,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Watch {
    client: u32,
    member: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) resumes: Option<usize>,
    call: u64,
    watch: i64,
    range: Range,
    #[serde(default, skip_serializing_if = "is_default")]
    start_revision: i64,
    #[serde(default, skip_serializing_if = "is_default")]
    prev_kv: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    progress_notify: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    no_put: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    no_delete: bool,
    #[serde(default, skip_serializing_if = "is_empty")]
    responses: Vec<WatchResponse>,
    #[serde(default, skip_serializing_if = "is_empty")]
    progress_requests: Vec<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    complete: bool,
}

impl From<&(u64, of::WatchResponse)> for WatchResponse {
    fn from((at, it): &(u64, of::WatchResponse)) -> Self {
        let body = match &it.body {
            of::WatchBody::Created => WatchBody::Created,
            of::WatchBody::Events(events) => {
                let event = |event: &of::WatchEvent| Event {
                    kind: (&event.kind).into(),
                    kv: (&event.kv).into(),
                    prev_kv: event.prev_kv.as_ref().map(Into::into),
                };
                WatchBody::Events(events.iter().map(event).collect())
            }
            of::WatchBody::Progress => WatchBody::Progress,
            of::WatchBody::Cancelled { compact_revision, reason } => {
                WatchBody::Cancelled { compact_revision: *compact_revision, reason: (*reason).to_owned() }
            }
        };
        Self { at: *at, watch: it.watch.map(|watch| watch.0), header: it.header.into(), body }
    }
}

impl From<WatchResponse> for (u64, of::WatchResponse) {
    fn from(it: WatchResponse) -> Self {
        let body = match it.body {
            WatchBody::Created => of::WatchBody::Created,
            WatchBody::Events(events) => {
                let event = |event: Event| of::WatchEvent {
                    kind: event.kind.into(),
                    kv: event.kv.into(),
                    prev_kv: event.prev_kv.map(Into::into),
                };
                of::WatchBody::Events(events.into_iter().map(event).collect())
            }
            WatchBody::Progress => of::WatchBody::Progress,
            WatchBody::Cancelled { compact_revision, reason: text } => {
                of::WatchBody::Cancelled { compact_revision, reason: reason(&text) }
            }
        };
        (it.at, of::WatchResponse { watch: it.watch.map(WatchId), header: it.header.into(), body })
    }
}

impl From<&history::Watch> for Watch {
    fn from(it: &history::Watch) -> Self {
        Self {
            client: it.client,
            member: it.member.0,
            user: it.user.clone(),
            resumes: it.resumes,
            call: it.call,
            watch: it.request.watch.0,
            range: (&it.request.range).into(),
            start_revision: it.request.start_revision,
            prev_kv: it.request.prev_kv,
            progress_notify: it.request.progress_notify,
            no_put: it.request.no_put,
            no_delete: it.request.no_delete,
            responses: it.responses.iter().map(Into::into).collect(),
            progress_requests: it.progress_requests.clone(),
            complete: it.complete,
        }
    }
}

impl From<Watch> for history::Watch {
    fn from(it: Watch) -> Self {
        let request = of::WatchCreate {
            watch: WatchId(it.watch),
            range: it.range.into(),
            start_revision: it.start_revision,
            prev_kv: it.prev_kv,
            progress_notify: it.progress_notify,
            no_put: it.no_put,
            no_delete: it.no_delete,
        };
        Self {
            client: it.client,
            member: member(&it.member),
            user: it.user,
            resumes: it.resumes,
            call: it.call,
            request,
            responses: it.responses.into_iter().map(Into::into).collect(),
            progress_requests: it.progress_requests,
            complete: it.complete,
        }
    }
}
