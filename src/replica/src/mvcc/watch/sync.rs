//! How events reach the channels: notify, sync from history, retry of victims, progress.

use std::collections::BTreeMap;

use super::{EventBatch, Group, Queued, Watcher, WatcherId, Watchers};
use crate::api::{Error, RangeEnd, Revision, WatchBody, WatchEvent, WatchEventKind};
use crate::mvcc::revision::RevisionKey;
use crate::mvcc::{proto, Batch, Bucket, Store};
use crate::{Bug, Bugs};
use crate::{StreamId, WatchId};

impl EventBatch {
    /// Adds an event unless the batch is full. Revisions are whole: the first event of one revision too many
    /// closes it.
    fn add(&mut self, event: &WatchEvent, batch_revisions: usize, bugs: Bugs) {
        if self.more_revision.is_some() {
            return;
        }
        let revision = event.kv.mod_revision;
        if self.events.last().map(|last| last.kv.mod_revision) != Some(revision) {
            if self.revisions == batch_revisions {
                self.more_revision = Some(revision + i64::from(bugs.has(Bug::BatchMorerevDrop)));
                return;
            }
            self.revisions += 1;
        }
        self.events.push(event.clone());
    }
}

impl Watchers {
    /// Gives the events of the new revision to the synced watchers. To be called with every write, in order.
    pub fn notify(&mut self, revision: Revision, events: &[WatchEvent]) {
        if events.is_empty() || (self.synced.is_empty() && self.entering.is_empty()) {
            return;
        }
        // In order of watchers. They are few, mostly one.
        let mut batches: Vec<(WatcherId, Vec<WatchEvent>)> = Vec::new();
        for event in events {
            assert_eq!(event.kv.mod_revision, revision, "events of one revision are notified together");
            for id in self.synced.of_key(&event.kv.key) {
                // A watch from a future revision is synced, and not given what comes before it.
                if self.watchers[&id].min_revision <= revision {
                    let place = batches.binary_search_by_key(&id, |(id, _)| *id).unwrap_or_else(|place| {
                        batches.insert(place, (id, Vec::with_capacity(events.len())));
                        place
                    });
                    batches[place].1.push(event.clone());
                }
            }
        }
        for (id, events) in batches {
            if let Err(events) = self.offer(id, revision, events) {
                self.unsync(id);
                self.victims.insert(id, EventBatch { events, revisions: 1, more_revision: None });
            }
            // Raised even if the watcher stays synced: a snapshot may make it unsynced, and then this counts.
            if !self.bugs.has(Bug::SyncedMinrevStale) || self.victims.contains_key(&id) {
                self.watcher_mut(id).min_revision = revision + 1;
            }
        }
        self.enter();
    }

    /// Bug M-44: new watchers are entered at last.
    fn enter(&mut self) {
        for id in std::mem::take(&mut self.entering) {
            self.synced.insert(id, &self.watchers[&id].request.range);
        }
    }

    /// One run of etcd's `syncWatchers`: gives up to `limit` lagging watchers their history from the backend,
    /// and cancels those whose history is compacted. Then answers manual progress requests that had to wait.
    pub fn sync_batch(&mut self, store: &Store, batch: &dyn Batch, limit: usize) {
        self.enter();
        let chosen = self.choose(limit);
        let (current, compacted) = (store.revision(), store.compact_revision());
        let mut group = Group::default();
        let mut lagging = BTreeMap::new();
        let bugs = self.bugs;
        for id in chosen {
            let watcher = &self.watchers[&id];
            // Without a compaction that is -1, which etcd took for a revision to watch from (etcd#20693).
            if watcher.min_revision < compacted.max(0) {
                // When the channel is full it stays where it is, and the next run tries again (etcd#17529).
                if !self.cancel_compacted(id, current, compacted) && self.bugs.has(Bug::CompactedWatchSkips) {
                    self.watcher_mut(id).min_revision = current + 1;
                }
            } else {
                group.insert(id, &watcher.request.range);
                lagging.insert(id, (watcher.min_revision, EventBatch::default()));
            }
        }
        if let Some(from) = lagging.values().map(|(min_revision, _)| *min_revision).min() {
            let mut open = lagging.len();
            for_each_event(batch, from, current, &mut |event| {
                for id in group.of_key(&event.kv.key) {
                    let (min_revision, events) = lagging.get_mut(&id).expect("the group holds who lags");
                    if event.kv.mod_revision >= *min_revision && events.more_revision.is_none() {
                        events.add(&event, self.batch_revisions, bugs);
                        open -= usize::from(events.more_revision.is_some());
                    }
                }
                open > 0
            });
        }
        for (id, (_, events)) in lagging {
            self.sync_one(id, current, events);
        }
        self.answer_progress_requests(current);
    }

    /// Gives a lagging watcher its batch, which holds everything up to `current` or says where it stops.
    fn sync_one(&mut self, id: WatcherId, current: Revision, mut batch: EventBatch) {
        let lowers = self.bugs.has(Bug::RestoreLowersMinrev);
        let watcher = self.watcher_mut(id);
        let next = if lowers { current + 1 } else { watcher.min_revision.max(current + 1) };
        watcher.min_revision = batch.more_revision.unwrap_or(next);
        let is_synced = batch.more_revision.is_none();
        // As in etcd the header says the newest revision, even when this is only a part of the history up to
        // it.
        match self.offer(id, current, std::mem::take(&mut batch.events)) {
            Err(events) => {
                self.unsynced.remove(&id);
                self.victims.insert(id, EventBatch { events, ..batch });
            }
            Ok(()) if is_synced => self.resync(id),
            Ok(()) => {}
        }
    }

    /// One run of etcd's `moveVictims`: offers what did not fit again. Says whether any victim moved on; then
    /// etcd tries once more at once, and otherwise sleeps for the victim interval.
    pub fn retry_victims(&mut self, current: Revision) -> bool {
        let mut moved = false;
        for (id, batch) in std::mem::take(&mut self.victims) {
            let min_revision = self.watchers[&id].min_revision;
            // It has been given everything below its min_revision, once this arrives.
            let revision = min_revision - 1;
            match self.offer(id, revision, batch.events) {
                Err(events) => {
                    self.victims.insert(id, EventBatch { events, ..batch });
                }
                Ok(()) => {
                    moved = true;
                    if min_revision <= current && !self.bugs.has(Bug::VictimToSyncedEarly) {
                        self.unsynced.insert(id);
                    } else {
                        self.resync(id);
                    }
                }
            }
        }
        self.answer_progress_requests(current);
        moved
    }

    /// The store was replaced by a snapshot: who was synced may have missed revisions and must read them.
    /// `min_revision` stays, so a watch from a future revision still begins there (etcd#20221).
    pub fn restore(&mut self) {
        let forgets_keys = self.bugs.has(Bug::RestoreGroupNotFull);
        for id in self.synced.take() {
            let watcher = self.watcher_mut(id);
            if forgets_keys && watcher.request.range.end == RangeEnd::Single {
                continue;
            }
            watcher.min_revision = watcher.min_revision.max(watcher.request.start_revision);
            self.unsynced.insert(id);
        }
    }

    /// The periodic progress notification: to each watch that asked for it, is synced, and was sent nothing
    /// since the last tick.
    pub fn progress_tick(&mut self, current: Revision) {
        let mut ids = Vec::new();
        for (id, watcher) in &mut self.watchers {
            if watcher.request.progress_notify && std::mem::replace(&mut watcher.progress_due, true) {
                ids.push(*id);
            }
        }
        // Where a channel has no room for all watches of its stream, the next turn begins with the first that was left
        // out, so that none starves. etcd goes over a map, which begins anywhere.
        for of_stream in ids.chunk_by(|one, other| one.0 == other.0) {
            let stream = of_stream[0].0;
            let from = self.streams[&stream].progress_from;
            let (before, behind) = of_stream.split_at(of_stream.partition_point(|id| Some(id.1) < from));
            let mut left_out = None;
            for id in behind.iter().chain(before) {
                let told = !self.may_tell_progress(*id, current)
                    || self.push(stream, Some(id.1), current, WatchBody::Progress, false);
                left_out = left_out.or((!told).then_some(id.1));
            }
            self.streams.get_mut(&stream).expect("a watcher's stream is open").progress_from = left_out;
        }
    }

    /// Answers the manual progress requests of those streams that have been given everything. The others wait
    /// for the next run of the sync or victims task. As in etcd, a stream without watches gets no answer.
    pub(super) fn answer_progress_requests(&mut self, current: Revision) {
        let waiting: Vec<StreamId> = self.progress_requested.iter().copied().collect();
        for stream in waiting {
            let ids: Vec<WatcherId> = self.watchers_of(stream).collect();
            let lags = |id: &WatcherId| !self.synced.contains(*id, &self.watchers[id].request.range);
            if ids.iter().any(lags) {
                continue;
            }
            // A watch from a future revision must not hear of progress before it: etcd drops the request
            // then.
            let in_future = ids.iter().any(|id| !self.may_tell_progress(*id, current));
            let done = ids.is_empty() || in_future || self.push(stream, None, current, WatchBody::Progress, false);
            if done {
                self.progress_requested.remove(&stream);
            }
        }
    }

    /// Whether the watcher has been given everything up to `current`, and begins no later.
    fn may_tell_progress(&self, id: WatcherId, current: Revision) -> bool {
        let watcher = &self.watchers[&id];
        let begun = current >= watcher.request.start_revision || self.bugs.has(Bug::ProgressBeforeStartrev);
        self.synced.contains(id, &watcher.request.range) && begun
    }

    fn watchers_of(&self, stream: StreamId) -> impl Iterator<Item = WatcherId> + '_ {
        let first = (stream, WatchId(i64::MIN));
        self.watchers.range(first..).map(|(id, _)| *id).take_while(move |id| id.0 == stream)
    }

    /// The next `limit` lagging watchers, round robin.
    fn choose(&mut self, limit: usize) -> Vec<WatcherId> {
        let cursor = self.sync_cursor;
        let behind = self.unsynced.iter().filter(|id| cursor.is_none_or(|cursor| **id > cursor));
        let before = self.unsynced.iter().filter(|id| cursor.is_some_and(|cursor| **id <= cursor));
        let chosen: Vec<WatcherId> = behind.chain(before).take(limit).copied().collect();
        // Everybody's turn came: then the order is as if nobody's had, so that equal states stay equal.
        self.sync_cursor = if chosen.len() == self.unsynced.len() { None } else { chosen.last().copied() };
        chosen
    }

    /// Says whether there was room to tell it.
    fn cancel_compacted(&mut self, id: WatcherId, current: Revision, compact_revision: Revision) -> bool {
        let body = WatchBody::Cancelled { compact_revision, reason: Error::Compacted.message() };
        let told = self.push(id.0, Some(id.1), current, body, false);
        if told {
            self.remove(id);
        }
        told
    }

    fn watcher_mut(&mut self, id: WatcherId) -> &mut Watcher {
        self.watchers.get_mut(&id).expect("every group holds only watchers that exist")
    }

    fn unsync(&mut self, id: WatcherId) {
        self.synced.remove(id, &self.watchers[&id].request.range);
    }

    fn resync(&mut self, id: WatcherId) {
        self.unsynced.remove(&id);
        self.synced.insert(id, &self.watchers[&id].request.range);
    }

    /// Puts those events that the watcher wants into its channel; gives them back when there is no room.
    fn offer(&mut self, id: WatcherId, revision: Revision, mut events: Vec<WatchEvent>) -> Result<(), Vec<WatchEvent>> {
        let watcher = &self.watchers[&id];
        let prev_kv = watcher.request.prev_kv;
        events.retain(|event| watcher.wants(event));
        if events.is_empty() {
            return Ok(());
        }
        if !self.has_room(id.0) {
            return Err(events);
        }
        self.push(id.0, Some(id.1), revision, WatchBody::Events(events), prev_kv);
        Ok(())
    }

    fn has_room(&self, stream: StreamId) -> bool {
        self.streams[&stream].bounded < self.channel
    }

    /// Puts a response into a stream's channel. False, and nothing done, when there is no room.
    fn push(
        &mut self,
        stream: StreamId,
        watch: Option<WatchId>,
        revision: Revision,
        body: WatchBody,
        prev_kv: bool,
    ) -> bool {
        if !self.has_room(stream) {
            return false;
        }
        let open = self.streams.get_mut(&stream).expect("a watcher's stream is open");
        open.queue.push_back(Queued { watch, revision, body, bounded: true, prev_kv });
        open.bounded += 1;
        self.refresh_ready(stream);
        true
    }
}

/// Shows the events in the backend with `from <= revision <= to`, in order, until `visit` says false.
pub(crate) fn for_each_event(
    batch: &dyn Batch,
    from: Revision,
    to: Revision,
    visit: &mut dyn FnMut(WatchEvent) -> bool,
) {
    let (from, to) = (RevisionKey::new(from, 0).encode(), (to + 1).to_be_bytes());
    if from[..8] >= to[..] {
        return;
    }
    batch.for_each(Bucket::Key, &from, Some(&to), &mut |key, value| {
        let (revision, tombstone) = RevisionKey::decode(key).expect("restore has checked every revision");
        let mut kv = proto::decode(value).expect("restore has checked every stored key-value");
        kv.mod_revision = revision.main;
        let kind = if tombstone { WatchEventKind::Delete } else { WatchEventKind::Put };
        visit(WatchEvent { kind, kv, prev_kv: None })
    });
}
