//! Watches: etcd's `watchableStore` and the server side of its watch streams.
//!
//! A watcher is in one of three groups. *Synced*: it has been given everything up to the newest revision, and
//! [`Watchers::notify`] gives it each new one. *Unsynced*: it lags, and [`Watchers::sync_batch`] reads its
//! history from the backend. *Victim*: its stream's channel was full, and the batch that did not fit waits
//! for [`Watchers::retry_victims`]. `min_revision` is the first revision that a watcher has not been given
//! yet; it only rises.
//!
//! Responses wait in their stream's channel until [`Watchers::send`] takes them, at most as many as the
//! client granted. Events and progress are bounded by the channel's capacity; the answers to the client's own
//! requests always fit.
//!
//! What it does not know: when a task runs, and how a response travels.

mod group;
mod send;
mod sync;

pub(crate) use sync::for_each_event;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use group::Group;

use crate::api::{KeyRange, RangeEnd, Revision, WatchBody, WatchCreate, WatchEvent, WatchEventKind, WatchRequest};
use crate::{Bug, Bugs, StreamId, WatchId};

/// One watcher: its stream and its name there.
pub(super) type WatcherId = (StreamId, WatchId);

/// Every watch stream of one member.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watchers {
    /// Responses that wait in one stream's channel before its watchers become victims.
    channel: usize,
    /// Revisions in one response to a lagging watcher.
    batch_revisions: usize,
    streams: BTreeMap<StreamId, Stream>,
    watchers: BTreeMap<WatcherId, Watcher>,
    synced: Group,
    unsynced: BTreeSet<WatcherId>,
    victims: BTreeMap<WatcherId, EventBatch>,
    /// The last watcher that a sync looked at; the next one begins behind it, so that none starves.
    sync_cursor: Option<WatcherId>,
    /// Streams with something to send and leave to send it.
    ready: BTreeSet<StreamId>,
    /// Watches that asked for periodic progress.
    progress_watches: usize,
    /// Streams whose client waits for a manual progress notification.
    progress_requested: BTreeSet<StreamId>,
    /// Bug M-44: new watchers that are not in the synced group yet.
    entering: Vec<WatcherId>,
    bugs: Bugs,
}

/// Which tasks have work to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pending {
    /// [`Watchers::sync_batch`]: a watcher lags, or a manual progress request waits.
    pub sync: bool,
    /// [`Watchers::retry_victims`].
    pub victims: bool,
    /// [`Watchers::send`].
    pub send: bool,
    /// [`Watchers::progress_tick`]: a watch asked for periodic progress.
    pub progress: bool,
}

/// One watch stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Stream {
    queue: VecDeque<Queued>,
    /// How many in the queue count against the channel's capacity.
    bounded: usize,
    /// Responses that the client still takes.
    window: u64,
    /// The first watch that the last turn of periodic progress has left out, since the channel was full.
    progress_from: Option<WatchId>,
}

/// A response that waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Queued {
    watch: Option<WatchId>,
    revision: Revision,
    body: WatchBody,
    /// Whether it went through the bounded channel: not an answer to the client's own request.
    bounded: bool,
    /// Whether the watch wants what was there before each change; it is read when the response is sent.
    prev_kv: bool,
}

/// One watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Watcher {
    request: WatchCreate,
    /// The first revision that it has not been given yet.
    min_revision: Revision,
    /// Whether nothing was sent to it since the last tick of periodic progress.
    progress_due: bool,
}

/// Events for one watcher: all those of each revision in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct EventBatch {
    events: Vec<WatchEvent>,
    /// Revisions in `events`.
    revisions: usize,
    /// The first revision that did not fit, if any.
    more_revision: Option<Revision>,
}

impl Watcher {
    fn wants(&self, event: &WatchEvent) -> bool {
        match event.kind {
            WatchEventKind::Put => !self.request.no_put,
            WatchEventKind::Delete => !self.request.no_delete,
        }
    }
}

impl Watchers {
    /// No streams yet. `channel` is `Config::watch_channel`, `batch_revisions` is
    /// `Config::watch_batch_revisions`.
    pub fn new(channel: usize, batch_revisions: usize) -> Self {
        assert!(channel > 0 && batch_revisions > 0, "limits of 0 would never send: {channel}, {batch_revisions}");
        Self {
            channel,
            batch_revisions,
            streams: BTreeMap::new(),
            watchers: BTreeMap::new(),
            synced: Group::default(),
            unsynced: BTreeSet::new(),
            victims: BTreeMap::new(),
            sync_cursor: None,
            ready: BTreeSet::new(),
            progress_watches: 0,
            progress_requested: BTreeSet::new(),
            entering: Vec::new(),
            bugs: Bugs::NONE,
        }
    }

    /// The same with these bugs.
    pub fn with_bugs(self, bugs: Bugs) -> Self {
        Self { bugs, ..self }
    }

    #[cfg(test)]
    pub(crate) fn with_channel(self, channel: usize) -> Self {
        Self { channel, ..self }
    }

    /// A client opens a stream that takes `window` responses. A stream that is open already is only granted
    /// them.
    pub fn open(&mut self, stream: StreamId, window: u64) {
        self.streams.entry(stream).or_default();
        self.grant(stream, window);
    }

    /// The stream is gone, with its watches and what waited for it.
    pub fn close(&mut self, stream: StreamId) {
        let first = (stream, WatchId(i64::MIN));
        let watchers: Vec<WatcherId> =
            self.watchers.range(first..).map(|(id, _)| *id).take_while(|id| id.0 == stream).collect();
        watchers.into_iter().for_each(|id| self.remove(id));
        self.streams.remove(&stream);
        self.ready.remove(&stream);
        self.progress_requested.remove(&stream);
    }

    /// The client takes that many responses more.
    pub fn grant(&mut self, stream: StreamId, responses: u64) {
        if let Some(open) = self.streams.get_mut(&stream) {
            open.window = open.window.saturating_add(responses);
            self.refresh_ready(stream);
        }
    }

    /// A client sends on a stream; `now` is the store's revision. Ignored when the stream is not open.
    pub fn request(&mut self, stream: StreamId, request: WatchRequest, now: Revision, bugs: Bugs) {
        if !self.streams.contains_key(&stream) {
            return;
        }
        match request {
            WatchRequest::Create(create) => self.create(stream, create, now),
            WatchRequest::Cancel(watch) => self.cancel(stream, watch, now),
            WatchRequest::Progress => self.request_progress(stream, now, bugs),
        }
    }

    /// Answers the request for a watch that the client may not have. Ignored when the stream is not open.
    pub fn refuse(&mut self, stream: StreamId, watch: WatchId, now: Revision, reason: &'static str) {
        if self.streams.contains_key(&stream) {
            self.answer(stream, Some(watch), now, WatchBody::Cancelled { compact_revision: 0, reason });
        }
    }

    fn create(&mut self, stream: StreamId, mut create: WatchCreate, now: Revision) {
        if create.range.start.is_empty() {
            // No key is empty, so that is every key from the smallest on.
            create.range.start = bytes::Bytes::from_static(b"\0");
        }
        let id = (stream, create.watch);
        let refused = |reason| WatchBody::Cancelled { compact_revision: 0, reason };
        if is_empty(&create.range) {
            return self.answer(stream, Some(create.watch), now, refused("mvcc: watcher range is empty"));
        }
        if self.watchers.contains_key(&id) {
            // etcd answers under watch id -1: the watch that has this name goes on.
            return self.answer(stream, None, now, refused("mvcc: duplicate watch ID provided on the WatchStream"));
        }
        // One below zero is of history that there never was: it ends like one that is compacted.
        let start = create.start_revision;
        let synced = start == 0 || start > now;
        let min_revision = if synced { start.max(now + 1) } else { start };
        if synced && self.bugs.has(Bug::WatchCreateRace) {
            self.entering.push(id);
        } else if synced {
            self.synced.insert(id, &create.range);
        } else {
            self.unsynced.insert(id);
        }
        self.answer(stream, Some(create.watch), now, WatchBody::Created);
        self.progress_watches += usize::from(create.progress_notify);
        self.watchers.insert(id, Watcher { request: create, min_revision, progress_due: true });
    }

    /// Ends a watch. Events that are in the channel are still sent; a batch that waits as a victim is not.
    fn cancel(&mut self, stream: StreamId, watch: WatchId, now: Revision) {
        if self.watchers.contains_key(&(stream, watch)) {
            self.remove((stream, watch));
            self.answer(stream, Some(watch), now, WatchBody::Cancelled { compact_revision: 0, reason: "" });
        }
    }

    /// etcd's `RequestProgress` for the whole stream.
    fn request_progress(&mut self, stream: StreamId, now: Revision, bugs: Bugs) {
        if bugs.has(Bug::ProgressIgnoresUnsynced) {
            // The bug: the answer goes the way of control responses, past all events that wait in the
            // channel.
            let open = self.streams.get_mut(&stream).expect("request looks before it dispatches");
            let place = open.queue.iter().rposition(|queued| !queued.bounded).map_or(0, |last| last + 1);
            let body = WatchBody::Progress;
            open.queue.insert(place, Queued { watch: None, revision: now, body, bounded: false, prev_kv: false });
            self.refresh_ready(stream);
            return;
        }
        self.progress_requested.insert(stream);
        self.answer_progress_requests(now);
    }

    /// Which tasks have work.
    pub fn pending(&self) -> Pending {
        Pending {
            sync: !self.unsynced.is_empty() || !self.progress_requested.is_empty() || !self.entering.is_empty(),
            victims: !self.victims.is_empty(),
            send: !self.ready.is_empty(),
            progress: self.progress_watches > 0,
        }
    }

    /// Watchers that have not been given everything: unsynced ones and victims.
    pub fn lagging(&self) -> usize {
        self.unsynced.len() + self.victims.len()
    }

    /// Forgets a watcher.
    fn remove(&mut self, id: WatcherId) {
        if let Some(watcher) = self.watchers.remove(&id) {
            self.progress_watches -= usize::from(watcher.request.progress_notify);
            self.synced.remove(id, &watcher.request.range);
            self.entering.retain(|other| *other != id);
            self.unsynced.remove(&id);
            self.victims.remove(&id);
        }
    }

    /// Queues the answer to a client's own request.
    fn answer(&mut self, stream: StreamId, watch: Option<WatchId>, revision: Revision, body: WatchBody) {
        let open = self.streams.get_mut(&stream).expect("request looks before it dispatches");
        open.queue.push_back(Queued { watch, revision, body, bounded: false, prev_kv: false });
        self.refresh_ready(stream);
    }

    fn refresh_ready(&mut self, stream: StreamId) {
        let is_ready = self.streams.get(&stream).is_some_and(|open| open.window > 0 && !open.queue.is_empty());
        if is_ready {
            self.ready.insert(stream);
        } else {
            self.ready.remove(&stream);
        }
    }
}

/// Whether no key can be in the range.
fn is_empty(range: &KeyRange) -> bool {
    matches!(&range.end, RangeEnd::Before(end) if end <= &range.start)
}
