//! The messages of watch streams, and the names of the watches on one.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use super::request::parse;
use super::response::message_header;
use super::Refusal;
use crate::api::{Header, WatchBody, WatchCreate, WatchEvent, WatchEventKind, WatchRequest, WatchResponse};
use crate::wire::kv as keys;
use crate::wire::message::{self, mvcc, watch};
use crate::WatchId;

/// etcd's id of no watch: progress of the whole stream, and a watch that could not be made.
const NO_WATCH: i64 = -1;
const DUPLICATE: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const NO_PUT: i32 = 0;
const NO_DELETE: i32 = 1;

/// The watches of one stream: their names are the client's to choose, or else the next that is free.
#[derive(Debug, Default)]
pub struct Watching {
    /// Whether each watch wants large answers in fragments.
    live: BTreeMap<WatchId, bool>,
    next: i64,
}

/// What one message of a client asks; `Err` is the answer to it, when the member need not be asked.
///
/// # Errors
/// It is no `WatchRequest`; the stream ends then.
pub fn watch_request(
    watching: &mut Watching,
    cluster: u64,
    header: Header,
    body: Bytes,
) -> Result<Result<WatchRequest, Option<Bytes>>, Refusal> {
    use watch::watch_request::Union;
    Ok(match parse::<watch::WatchRequest>(body)?.union {
        None => Err(None),
        Some(Union::Progress(message::auth::Empty {})) => Ok(WatchRequest::Progress),
        Some(Union::Cancel(named)) => match watching.live.contains_key(&WatchId(named.id)) {
            true => Ok(WatchRequest::Cancel(WatchId(named.id))),
            false => Err(None),
        },
        Some(Union::Create(create)) => match watching.create(create) {
            Some(create) => Ok(WatchRequest::Create(create)),
            None => Err(Some(
                watch::WatchResponse {
                    header: Some(message_header(cluster, header)),
                    watch_id: NO_WATCH,
                    created: true,
                    canceled: true,
                    cancel_reason: DUPLICATE.into(),
                    ..Default::default()
                }
                .encode_to_vec()
                .into(),
            )),
        },
    })
}

impl Watching {
    fn create(&mut self, create: watch::WatchCreateRequest) -> Option<WatchCreate> {
        let watch = match create.watch_id {
            0 => {
                while self.live.contains_key(&WatchId(self.next)) {
                    self.next += 1;
                }
                self.next += 1;
                WatchId(self.next - 1)
            }
            chosen if self.live.contains_key(&WatchId(chosen)) => return None,
            chosen => WatchId(chosen),
        };
        self.live.insert(watch, create.fragment);
        // The empty key is the lowest of all here.
        let key = if create.key.is_empty() { Bytes::from_static(b"\0") } else { create.key };
        Some(WatchCreate {
            watch,
            range: keys::parse_key_range(key, create.range_end),
            start_revision: create.start_revision,
            prev_kv: create.prev_kv,
            progress_notify: create.progress_notify,
            no_put: create.filters.contains(&NO_PUT),
            no_delete: create.filters.contains(&NO_DELETE),
        })
    }
}

/// The messages of what a member sends on a watch stream: one, or the fragments of one that is larger than
/// `fragment_bytes`, where the watch wants that.
pub fn watch_responses(
    watching: &mut Watching,
    cluster: u64,
    response: &WatchResponse,
    fragment_bytes: usize,
) -> Vec<Bytes> {
    let id = response.watch.map_or(NO_WATCH, |watch| watch.0);
    let mut message = watch::WatchResponse {
        header: Some(message_header(cluster, response.header)),
        watch_id: id,
        ..Default::default()
    };
    match &response.body {
        WatchBody::Created => message.created = true,
        WatchBody::Progress => {}
        WatchBody::Events(events) => message.events = events.iter().map(event).collect(),
        WatchBody::Cancelled { compact_revision, reason } => {
            message.canceled = true;
            message.compact_revision = *compact_revision;
            message.cancel_reason = (*reason).to_owned();
            watching.live.remove(&WatchId(id));
        }
    }
    let fragments = watching.live.get(&WatchId(id)).copied().unwrap_or(false);
    if !fragments || message.encoded_len() < fragment_bytes {
        return vec![message.encode_to_vec().into()];
    }
    fragmented(message, fragment_bytes)
}

/// As many events in each message as fit, and at least one; all but the last say that more comes.
fn fragmented(mut message: watch::WatchResponse, limit: usize) -> Vec<Bytes> {
    let events = std::mem::take(&mut message.events);
    let mut parts: Vec<watch::WatchResponse> = Vec::new();
    for event in events {
        match parts.last_mut() {
            Some(part) if part.encoded_len() + event.encoded_len() < limit => part.events.push(event),
            _ => parts.push(watch::WatchResponse { events: vec![event], fragment: true, ..message.clone() }),
        }
    }
    if let Some(last) = parts.last_mut() {
        last.fragment = false;
    }
    parts.iter().map(|part| part.encode_to_vec().into()).collect()
}

fn event(event: &WatchEvent) -> mvcc::Event {
    mvcc::Event {
        kind: match event.kind {
            WatchEventKind::Put => 0,
            WatchEventKind::Delete => 1,
        },
        kv: Some((&event.kv).into()),
        prev_kv: event.prev_kv.as_ref().map(Into::into),
    }
}
