//! Defragmentation on request. It waits until nothing else is done with the backend; then, until it has ended, the
//! backend is nobody else's: entries are not applied, and reads wait.

use std::collections::VecDeque;

use crate::api::{Credential, Error, Request, ResponseBody};
use crate::backend::{Backend, CommitProgress};
use crate::mvcc::{is_read_only, is_serializable};
use crate::{Failpoint, OpId, RequestId, Task};

use super::{Replica, Waiting};

/// Who waits for a defragmentation, and for its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Maintenance {
    /// Asked for one that has not begun.
    asked: Vec<RequestId>,
    /// Asked for the one under way.
    running: Vec<RequestId>,
    /// Reads that came meanwhile.
    held: VecDeque<(RequestId, Credential, Request)>,
    /// Commands to a copy that was given up: their answers come still, and mean nothing.
    given_up: Vec<OpId>,
    /// Bug M-25: a backend that goes on with its defragmentation though a snapshot has taken its place.
    displaced: Option<Box<Backend>>,
}

impl Maintenance {
    /// Whether somebody waits for a defragmentation to begin.
    pub(super) fn wants_defrag(&self) -> bool {
        !self.asked.is_empty()
    }
}

impl Replica {
    pub(super) fn defragment(&mut self, id: RequestId) {
        self.maintenance.asked.push(id);
        self.out.wake_now(Task::Defrag);
    }

    /// The backend may be free for it now.
    pub(super) fn wake_defrag(&mut self) {
        if self.maintenance.wants_defrag() {
            self.out.wake_now(Task::Defrag);
        }
    }

    /// Whoever cannot begin is woken by the next commit, or by the tick of the commits.
    pub(super) fn defrag_run(&mut self) {
        if self.maintenance.asked.is_empty() || !self.backend.can_defragment() {
            return;
        }
        self.maintenance.running = std::mem::take(&mut self.maintenance.asked);
        self.commit_wanted = false;
        self.out.point(Failpoint::CommitBeforePreCommitHook);
        self.out.point(Failpoint::CommitAfterPreCommitHook);
        self.out.point(Failpoint::BeforeCommit);
        let sync = self.backend.begin_defragment(&mut self.out);
        self.disk.insert(sync, Waiting::Backend);
    }

    /// Gives the request back, or keeps it if it would read the backend now.
    pub(super) fn hold_while_defragmenting(
        &mut self,
        id: RequestId,
        credential: Credential,
        request: Request,
    ) -> Option<(Credential, Request)> {
        let reads = match &request {
            Request::Range(range) => range.serializable,
            Request::Txn(txn) => is_read_only(txn) && is_serializable(txn),
            Request::HashKv { .. } => true,
            _ => false,
        };
        if !reads || !self.backend.is_defragmenting() {
            return Some((credential, request));
        }
        if self.maintenance.held.len() as u64 >= self.config.max_commit_apply_gap {
            self.reply(id, Err(Error::TooManyRequests));
        } else {
            self.maintenance.held.push_back((id, credential, request));
        }
        None
    }

    pub(super) fn defragmented(&mut self) {
        for id in std::mem::take(&mut self.maintenance.running) {
            self.reply_body(id, ResponseBody::Defragment);
        }
        self.after_defragment();
    }

    /// The copy could not be written. The old file goes on.
    pub(super) fn defragment_gave_up(&mut self, ops: Vec<OpId>) {
        self.maintenance.given_up = ops;
        for id in std::mem::take(&mut self.maintenance.running) {
            self.reply(id, Err(Error::DefragmentFailed));
        }
        self.after_defragment();
    }

    /// Whether a command belonged to a copy that was given up. The last of them is a sync, which is always answered.
    pub(super) fn is_of_given_up_copy(&mut self, op: OpId) -> bool {
        let given_up = &mut self.maintenance.given_up;
        let is_one = given_up.contains(&op);
        if given_up.last() == Some(&op) {
            given_up.clear();
        }
        is_one
    }

    fn after_defragment(&mut self) {
        for (id, credential, request) in std::mem::take(&mut self.maintenance.held) {
            match request {
                Request::Range(range) => self.serve_range(id, &credential, &range),
                Request::Txn(txn) => self.serve_txn(id, &credential, &txn),
                Request::HashKv { revision } => self.serve_hash_kv(id, revision),
                _ => unreachable!("only reads are held"),
            }
        }
        self.serve_confirmed();
        self.wake_defrag();
        for task in [Task::Apply, Task::Snapshot] {
            self.out.wake_now(task);
        }
        if self.store.compaction_pending() {
            self.out.wake_now(Task::Compaction);
        }
    }

    /// Puts the database of a snapshot in place of ours.
    pub(super) fn displace(&mut self, backend: Backend) {
        let old = std::mem::replace(&mut self.backend, backend);
        if old.is_defragmenting() {
            self.maintenance.displaced = Some(Box::new(old));
        }
    }

    /// A sync that a displaced backend waits for has ended: it goes on. Says whether it was one.
    pub(super) fn displaced_on_disk(&mut self, op: OpId) -> bool {
        let Some(displaced) = &mut self.maintenance.displaced else { return false };
        if displaced.awaiting() != Some(op) {
            return false;
        }
        if displaced.on_disk(op, &mut self.out) == CommitProgress::Defragmented {
            self.maintenance.displaced = None;
            self.defragmented();
        } else if let Some(sync) = displaced.awaiting() {
            self.disk.insert(sync, Waiting::Backend);
        }
        true
    }
}
