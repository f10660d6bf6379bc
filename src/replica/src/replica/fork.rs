//! A second member like the first. Everything in a [`Replica`] is plain data but raft-rs's node, which cannot be
//! cloned: it is built anew through its public interface, and then given the same state.

use raft::RawNode;

use crate::log::LogStorage;

use super::{boot, election, Replica};

impl Replica {
    /// An equal replica: the same inputs give the same outputs from here on.
    pub fn fork(&self) -> Self {
        let mut saving = self.saving.clone();
        let raft = self.fork_raft(saving.as_mut());
        Self {
            config: self.config.clone(),
            raft,
            wal: self.wal.clone(),
            backend: self.backend.clone(),
            store: self.store.clone(),
            watchers: self.watchers.clone(),
            lessor: self.lessor.clone(),
            alarms: self.alarms.clone(),
            membership: self.membership.clone(),
            peers: self.peers.clone(),
            auth: self.auth.clone(),
            callers: self.callers.clone(),
            election: self.election.clone(),
            reads: self.reads.clone(),
            applying: self.applying.clone(),
            snapshotting: self.snapshotting.clone(),
            maintenance: self.maintenance.clone(),
            corruption: self.corruption.clone(),
            compacting_alone: self.compacting_alone.clone(),
            leasing: self.leasing.clone(),
            snap_dir: self.snap_dir.clone(),
            receiving: self.receiving.clone(),
            saving,
            tick_waiting: self.tick_waiting,
            commits: self.commits.clone(),
            watch_syncs: self.watch_syncs.clone(),
            disk: self.disk.clone(),
            proposed: self.proposed.clone(),
            internal: self.internal.clone(),
            unled: self.unled.clone(),
            deadlines: self.deadlines.clone(),
            compacting: self.compacting.clone(),
            now: self.now,
            ids: self.ids.clone(),
            role: self.role,
            leader: self.leader,
            handed_over: self.handed_over,
            notified: self.notified,
            backend_committed: self.backend_committed,
            applied: self.applied,
            log_changed_from: self.log_changed_from,
            commit_wanted: self.commit_wanted,
            compaction_commit: self.compaction_commit,
            stopped: self.stopped,
            out: self.out.clone(),
        }
    }

    /// raft-rs remembers privately what the last Ready held (hard state, soft state, where its committed entries ended)
    /// and which Readies are not durable yet. A new node is led through the same past, then its public fields are set.
    fn fork_raft(&self, saving: Option<&mut super::Saving>) -> RawNode<LogStorage> {
        let old = &self.raft.raft;
        let mut storage = old.store().clone();
        storage.conf_state = old.prs().conf().to_conf_state();
        let mut new = boot::new_raft(&self.config, storage, self.handed_over).expect("the first one was built so");
        {
            let raft = &mut new.raft;
            raft.state = election::state(self.role);
            raft.leader_id = self.leader.0;
            // Nothing to hand out: only the soft state differs.
            raft.raft_log.persisted = self.handed_over;
            raft.raft_log.unstable.offset = raft.raft_log.store.last_index() + 1;
        }
        let ready = new.ready();
        assert!(ready.committed_entries().is_empty() && ready.entries().is_empty(), "a new node has no news");
        let number = ready.number();
        new.advance_append_async(ready);
        new.on_persist_ready(number);
        if let Some(saving) = saving.filter(|saving| saving.number != 0) {
            // The record of a Ready is the place of its last entry and of its snapshot.
            let unstable = &mut new.raft.raft_log.unstable;
            unstable.snapshot.clone_from(&saving.snapshot);
            if let Some(last) = &saving.last_entry {
                unstable.offset = last.index;
                unstable.entries = vec![last.clone()];
            }
            let ready = new.ready();
            saving.number = ready.number();
            new.advance_append_async(ready);
        }
        let raft = &mut new.raft;
        *raft.mut_prs() = old.prs().clone();
        raft.msgs.clone_from(&old.msgs);
        raft.term = old.term;
        raft.vote = old.vote;
        raft.state = old.state;
        raft.leader_id = old.leader_id;
        raft.lead_transferee = old.lead_transferee;
        raft.pending_conf_index = old.pending_conf_index;
        raft.read_only = old.read_only.clone();
        raft.election_elapsed = old.election_elapsed;
        raft.pending_request_snapshot = old.pending_request_snapshot;
        raft.read_states.clone_from(&old.read_states);
        raft.priority = old.priority;
        raft.raft_log.committed = old.raft_log.committed;
        raft.raft_log.persisted = old.raft_log.persisted;
        raft.raft_log.applied = old.raft_log.applied;
        let unstable = &mut raft.raft_log.unstable;
        unstable.snapshot.clone_from(&old.raft_log.unstable.snapshot);
        unstable.entries.clone_from(&old.raft_log.unstable.entries);
        unstable.entries_size = old.raft_log.unstable.entries_size;
        unstable.offset = old.raft_log.unstable.offset;
        self.election.enforce(raft);
        new
    }
}
