//! The messages of watch streams, and the names of the watches on one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message;

use super::request::parse;
use super::response::message_header;
use super::Refusal;
use crate::api::{Header, RangeEnd, WatchBody, WatchCreate, WatchEvent, WatchEventKind, WatchRequest, WatchResponse};
use crate::wire::kv as keys;
use crate::wire::message::{self, mvcc, watch};
use crate::WatchId;

/// etcd's id of no watch: progress of the whole stream, and a watch that could not be made.
const NO_WATCH: i64 = -1;
const DUPLICATE: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const EMPTY: &str = "mvcc: watcher range is empty";
const NO_PUT: i32 = 0;
const NO_DELETE: i32 = 1;

/// The watches of one stream: their names are the client's to choose, or else the next that is free.
#[derive(Debug, Default)]
pub struct Watching {
    named: BTreeMap<WatchId, Named>,
    /// Watches that the client has given up, whose names are free again, until the member has answered.
    given_up: BTreeSet<WatchId>,
    next: i64,
}

/// A watch that has a name.
#[derive(Debug)]
struct Named {
    /// Whether it wants large answers in fragments.
    fragment: bool,
    /// Whether the name was not the client's choice.
    chosen_here: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The member has not said yet whether there is such a watch.
    Asked,
    Created,
    /// A compaction has ended it. etcd keeps its name until the client gives it back.
    Compacted,
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
        Some(Union::Cancel(cancel)) => {
            let id = WatchId(cancel.id);
            match watching.named.remove(&id).map(|named| named.stage) {
                None => Err(None),
                Some(Stage::Asked | Stage::Created) => {
                    watching.given_up.insert(id);
                    Ok(WatchRequest::Cancel(id))
                }
                Some(Stage::Compacted) => {
                    let message = watch::WatchResponse { watch_id: id.0, canceled: true, ..Default::default() };
                    Err(Some(answer(cluster, header, message)))
                }
            }
        }
        Some(Union::Create(create)) => match watching.create(create) {
            Ok(create) => Ok(WatchRequest::Create(create)),
            Err(reason) => Err(Some(answer(cluster, header, refused(reason)))),
        },
    })
}

fn answer(cluster: u64, header: Header, message: watch::WatchResponse) -> Bytes {
    watch::WatchResponse { header: Some(message_header(cluster, header)), ..message }.encode_to_vec().into()
}

/// The answer to a creation that is not granted: it is of no watch.
fn refused(reason: &str) -> watch::WatchResponse {
    watch::WatchResponse {
        watch_id: NO_WATCH,
        created: true,
        canceled: true,
        cancel_reason: reason.into(),
        ..Default::default()
    }
}

impl Watching {
    fn create(&mut self, create: watch::WatchCreateRequest) -> Result<WatchCreate, &'static str> {
        // The empty key is the lowest of all here.
        let key = if create.key.is_empty() { Bytes::from_static(b"\0") } else { create.key };
        let range = keys::parse_key_range(key, create.range_end);
        if matches!(&range.end, RangeEnd::Before(end) if *end <= range.start) {
            return Err(EMPTY);
        }
        let chosen_here = create.watch_id == 0;
        let watch = match create.watch_id {
            0 => {
                while self.named.contains_key(&WatchId(self.next)) {
                    self.next += 1;
                }
                self.next += 1;
                WatchId(self.next - 1)
            }
            chosen if self.named.contains_key(&WatchId(chosen)) => return Err(DUPLICATE),
            chosen => WatchId(chosen),
        };
        self.named.insert(watch, Named { fragment: create.fragment, chosen_here, stage: Stage::Asked });
        Ok(WatchCreate {
            watch,
            range,
            start_revision: create.start_revision,
            prev_kv: create.prev_kv,
            progress_notify: create.progress_notify,
            no_put: create.filters.contains(&NO_PUT),
            no_delete: create.filters.contains(&NO_DELETE),
        })
    }

    /// What the end of a watch is told with. A name that was given for nothing is the next again.
    fn ended(&mut self, id: WatchId, compact_revision: i64, reason: &str) -> watch::WatchResponse {
        let ended = watch::WatchResponse { watch_id: id.0, canceled: true, compact_revision, ..Default::default() };
        if self.given_up.remove(&id) {
            return ended;
        }
        match self.named.get_mut(&id) {
            Some(Named { stage: Stage::Asked, chosen_here, .. }) => {
                if *chosen_here && self.next == id.0 + 1 {
                    self.next = id.0;
                }
                self.named.remove(&id);
                refused(reason)
            }
            // Of a compaction etcd gives the revision only; its client says the rest.
            Some(named) if compact_revision != 0 => {
                named.stage = Stage::Compacted;
                ended
            }
            _ => {
                self.named.remove(&id);
                watch::WatchResponse { cancel_reason: reason.to_owned(), ..ended }
            }
        }
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
        WatchBody::Created => {
            message.created = true;
            if let Some(named) = watching.named.get_mut(&WatchId(id)) {
                named.stage = Stage::Created;
            }
        }
        WatchBody::Progress => {}
        WatchBody::Events(events) => message.events = events.iter().map(event).collect(),
        WatchBody::Cancelled { compact_revision, reason } => {
            let ended = watching.ended(WatchId(id), *compact_revision, reason);
            message = watch::WatchResponse { header: message.header, ..ended };
        }
    }
    let fragments = watching.named.get(&WatchId(id)).is_some_and(|named| named.fragment);
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
