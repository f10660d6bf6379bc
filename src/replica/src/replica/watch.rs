//! The watch tasks: what streams ask, and when lagging watchers, victims and send loops run.

use crate::api::WatchRequest;
use crate::{Failpoint, Output, StreamId, Task};

use super::Replica;

impl Replica {
    pub(super) fn stream_request(&mut self, stream: StreamId, request: WatchRequest) {
        let Some(request) = self.admit(stream, request) else { return };
        if request == WatchRequest::Progress {
            self.out.point(Failpoint::BeforeProgressIfSync);
        }
        self.watchers.request(stream, request, self.store.revision(), self.config.bugs);
        self.wake_watchers();
    }

    pub(super) fn stream_grant(&mut self, stream: StreamId, responses: u32) {
        self.watchers.grant(stream, u64::from(responses));
        self.wake_watchers();
    }

    pub(super) fn wake_watchers(&mut self) {
        if self.watchers.pending().send {
            self.out.wake_now(Task::WatchSend);
        }
        if self.watchers.pending().victims {
            self.out.wake(Task::WatchVictims, self.config.watch_victim_interval);
        }
    }

    pub(super) fn watch_sync(&mut self) {
        self.watch_syncs.tick(self.now);
        if !self.watchers.pending().sync {
            return;
        }
        self.out.point(Failpoint::BeforeSyncWatchers);
        self.watchers.sync_batch(&self.store, &self.backend, self.config.watch_sync_batch);
        self.wake_watchers();
    }

    pub(super) fn wake_watch_sync(&mut self) {
        if self.watchers.pending().sync {
            if let Some(after) = self.watch_syncs.wake(self.now) {
                self.out.wake(Task::WatchSync, after);
            }
        }
    }

    pub(super) fn watch_victims(&mut self) {
        if !self.watchers.pending().victims {
            return;
        }
        self.out.point(Failpoint::BeforeMoveVictims);
        if self.watchers.retry_victims(self.store.revision()) && self.watchers.pending().victims {
            self.out.wake_now(Task::WatchVictims);
        }
        self.wake_watchers();
    }

    pub(super) fn watch_send(&mut self) {
        if !self.watchers.pending().send {
            return;
        }
        self.out.point(Failpoint::BeforeSendWatchResponse);
        let (member, term) = (self.config.member, self.raft.raft.term);
        let mut responses = Vec::new();
        self.watchers.send(&self.store, &self.backend, member, term, &mut responses);
        for (stream, response) in responses {
            self.out.push(Output::Stream { stream, response });
        }
        self.wake_watchers();
    }

    pub(super) fn watch_progress(&mut self) {
        self.out.wake(Task::WatchProgress, self.config.watch_progress_interval);
        self.watchers.progress_tick(self.store.revision());
        self.wake_watchers();
    }
}
