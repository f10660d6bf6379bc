//! One number for everything in a replica that can influence what it does next.
//!
//! Replicas with equal fingerprints give the same outputs to the same inputs, up to what nobody acts on: numbers of
//! disk commands (only how long ago each was issued counts), the order of messages to different members, and the
//! offsets and checksums of WAL records. Moments at which requests time out are left out as well: compare replicas
//! only where that clock stands still. The fingerprint is for looking states up, never for deciding anything.

use std::fmt::{self, Debug, Write as _};
use std::hash::{Hash, Hasher};

use raft::{Progress, StateRole};
use xxhash_rust::xxh3::Xxh3;

use crate::raftpb::{Entry, Message, Snapshot};
use crate::{OpId, PeerMessage};

use super::Replica;

/// Takes what a `Debug` says as bytes: a field added later is covered without a line here.
struct Said<'a>(&'a mut Xxh3);

impl fmt::Write for Said<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

fn say(hasher: &mut Xxh3, value: &impl Debug) {
    write!(Said(hasher), "{value:?};").expect("a hasher takes every byte");
}

fn entry(hasher: &mut Xxh3, entry: &Entry) {
    (entry.term, entry.index, entry.entry_type as u64, &entry.data[..], &entry.context[..]).hash(hasher);
}

fn entries<'e>(hasher: &mut Xxh3, list: impl ExactSizeIterator<Item = &'e Entry>) {
    list.len().hash(hasher);
    for one in list {
        entry(hasher, one);
    }
}

fn message(hasher: &mut Xxh3, message: &Message) {
    let bytes = protobuf::Message::write_to_bytes(message).expect("a message in memory can always be written");
    bytes.hash(hasher);
}

/// Each link keeps its order; which link was served first does not matter.
fn messages(hasher: &mut Xxh3, list: &[Message]) {
    let mut list: Vec<&Message> = list.iter().collect();
    list.sort_by_key(|message| message.to);
    list.len().hash(hasher);
    for one in list {
        message(hasher, one);
    }
}

fn snapshot(hasher: &mut Xxh3, snapshot: Option<&Snapshot>) {
    if let Some(metadata) = snapshot.map(Snapshot::get_metadata) {
        (metadata.index, metadata.term).hash(hasher);
        say(hasher, metadata.get_conf_state());
    }
    hasher.write_u8(0xff);
}

fn progress(hasher: &mut Xxh3, of: &Progress, check_quorum: bool) {
    (of.matched, of.next_idx, of.paused, of.pending_snapshot, of.pending_request_snapshot).hash(hasher);
    (check_quorum && of.recent_active).hash(hasher);
    say(hasher, &of.state);
    // What is on its way, read by freeing a copy step by step: the ring itself keeps stale numbers.
    let mut inflight = of.ins.clone();
    for index in of.matched..of.next_idx {
        if inflight.count() == 0 {
            break;
        }
        inflight.free_to(index);
        inflight.count().hash(hasher);
    }
    hasher.write_u8(0xff);
}

impl PeerMessage {
    /// Equal messages have equal fingerprints.
    pub fn fingerprint(&self) -> u128 {
        let mut hasher = Xxh3::new();
        (self.from, self.to).hash(&mut hasher);
        message(&mut hasher, &self.message);
        self.chunk.hash(&mut hasher);
        self.lease.hash(&mut hasher);
        self.hash.hash(&mut hasher);
        hasher.digest128()
    }
}

impl Replica {
    /// One number for all that influences what this replica does next.
    pub fn fingerprint(&self) -> u128 {
        let mut hasher = Xxh3::new();
        let h = &mut hasher;
        self.config.hash(h);
        self.fingerprint_raft(h);
        self.fingerprint_disk(h);
        self.backend.hash(h);
        self.store.hash(h);
        self.watchers.hash(h);
        self.lessor.hash(h);
        self.alarms.hash(h);
        say(h, &self.leasing.say());
        say(h, &self.membership);
        self.auth.hash(h);
        self.callers.hash(h);
        say(h, &self.election);
        say(h, &self.reads);
        say(h, &self.applying);
        say(h, &self.snapshotting);
        say(h, &self.maintenance);
        say(h, &self.corruption.say());
        self.compacting_alone.hash(h);
        self.snap_dir.hash(h);
        say(h, &self.receiving);
        say(h, &self.unled);
        say(h, &self.ids);
        self.proposed.hash(h);
        say(h, &self.internal);
        self.compacting.hash(h);
        self.deadlines.len().hash(h);
        for (_, id) in &self.deadlines {
            id.hash(h);
        }
        (self.commits.is_asleep(), self.watch_syncs.is_asleep()).hash(h);
        (self.tick_waiting, self.role, self.leader, self.handed_over, self.notified).hash(h);
        (self.backend_committed, self.applied, self.commit_wanted, self.compaction_commit, self.stopped).hash(h);
        hasher.digest128()
    }

    fn fingerprint_raft(&self, h: &mut Xxh3) {
        let raft = &self.raft.raft;
        (raft.term, raft.vote, raft.state as u8, raft.leader_id, raft.lead_transferee).hash(h);
        (raft.pending_conf_index, raft.election_elapsed, raft.pending_request_snapshot, raft.priority).hash(h);
        messages(h, &raft.msgs);
        say(h, &raft.read_states);
        let log = &raft.raft_log;
        (log.committed, log.persisted, log.applied).hash(h);
        log.unstable.offset.hash(h);
        entries(h, log.unstable.entries.iter());
        snapshot(h, log.unstable.snapshot.as_ref());
        let storage = log.store();
        entries(h, storage.entries.iter());
        (storage.start, storage.snapshot.0, storage.snapshot.1).hash(h);
        let saved = &storage.hard_state;
        (saved.term, saved.vote, saved.commit).hash(h);
        say(h, &raft.prs().conf().to_conf_state());
        // Becoming a candidate or a leader resets votes and progress: before that nobody reads them.
        let mut peers: Vec<u64> = raft.prs().iter().map(|(id, _)| *id).collect();
        peers.sort_unstable();
        for id in peers {
            id.hash(h);
            if matches!(raft.state, StateRole::Candidate | StateRole::PreCandidate) {
                raft.prs().votes().get(&id).hash(h);
            }
            if raft.state == StateRole::Leader {
                let of = raft.prs().get(id).expect("it was listed a moment ago");
                progress(h, of, self.config.check_quorum);
            }
        }
        say(h, &raft.read_only.read_index_queue);
        for context in &raft.read_only.read_index_queue {
            let Some(status) = raft.read_only.pending_read_index.get(context) else { continue };
            message(h, &status.req);
            status.index.hash(h);
            for id in self.membership.voters().iter().chain(self.membership.learners()) {
                status.acks.contains(&id.0).hash(h);
            }
        }
    }

    /// Operations are counted back from the newest, so that a longer history is no difference.
    fn fingerprint_disk(&self, h: &mut Xxh3) {
        let age = |op: &OpId| self.out.last_op - op.0;
        (self.wal.hard_state(), self.wal.buffers(), self.wal.tail_file()).hash(h);
        self.wal.awaiting().as_ref().map(age).hash(h);
        self.disk.len().hash(h);
        for (op, waiting) in &self.disk {
            age(op).hash(h);
            say(h, waiting);
        }
        self.saving.is_some().hash(h);
        if let Some(saving) = &self.saving {
            // raft-rs's number of a Ready says only which came first, and there is one.
            (saving.number == 0, saving.next, saving.handed_over).hash(h);
            say(h, &saving.hard_state);
            entries(h, saving.entries.iter());
            for op in &saving.syncs {
                age(op).hash(h);
            }
            messages(h, &saving.messages);
            entries(h, saving.last_entry.iter());
            snapshot(h, saving.snapshot.as_ref());
        }
    }
}
