//! The send loops of the streams: from the channel to the client, as many as it granted.

use super::{Queued, Watchers};
use crate::api::{Header, KeyRange, RangeRequest, WatchBody, WatchEvent, WatchEventKind, WatchResponse};
use crate::mvcc::{Batch, Store};
use crate::{Bug, Bugs, MemberId, StreamId};

impl Watchers {
    /// Takes every response that its stream's client has granted, in order within a stream. What was there
    /// before a change is read now, at the revision before it: it is absent when that is compacted.
    pub fn send(
        &mut self,
        store: &Store,
        batch: &dyn Batch,
        member: MemberId,
        raft_term: u64,
        out: &mut Vec<(StreamId, WatchResponse)>,
    ) {
        for stream in std::mem::take(&mut self.ready) {
            let open = self.streams.get_mut(&stream).expect("a ready stream is open");
            while open.window > 0 {
                let Some(Queued { watch, revision, mut body, bounded, prev_kv }) = open.queue.pop_front() else {
                    break;
                };
                open.window -= 1;
                open.bounded -= usize::from(bounded);
                if let WatchBody::Events(events) = &mut body {
                    if prev_kv {
                        events.iter_mut().for_each(|event| fill_prev_kv(store, batch, event, self.bugs));
                    }
                    // Events are progress: the next periodic notification is left out.
                    let watcher = watch.and_then(|watch| self.watchers.get_mut(&(stream, watch)));
                    if let Some(watcher) = watcher {
                        watcher.progress_due = false;
                    }
                }
                out.push((stream, WatchResponse { watch, header: Header { member, revision, raft_term }, body }));
            }
        }
    }
}

fn fill_prev_kv(store: &Store, batch: &dyn Batch, event: &mut WatchEvent, bugs: Bugs) {
    let kv = &event.kv;
    if event.kind == WatchEventKind::Put && kv.create_revision == kv.mod_revision {
        return;
    }
    let mut request = RangeRequest::of(KeyRange::single(kv.key.clone()));
    request.revision = kv.mod_revision - i64::from(!bugs.has(Bug::PrevkvWrongRev));
    event.prev_kv = store.range(batch, &request).ok().and_then(|mut found| found.kvs.pop());
}
