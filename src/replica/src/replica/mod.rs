//! The member as a whole: its parts, how it takes an input, and what it shows.
//!
//! Each file below is one of etcd's goroutines or paths. They share the [`Replica`] and speak through its fields; what
//! they want done goes into [`Outputs`]. Nothing here knows who drives.

mod apply;
mod auth;
mod boot;
mod compaction;
mod conf_change;
mod corruption;
mod election;
mod fingerprint;
mod fork;
mod lease;
mod look;
mod maintenance;
mod membership;
mod outputs;
mod pace;
mod peers;
mod propose;
mod raft_loop;
mod read;
mod recover;
mod snapshot;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use raft::RawNode;

use crate::alarm::Alarms;
use crate::api::{self, Credential, Error, Request};
use crate::auth::AuthStore;
use crate::backend::Backend;
use crate::compactor::Compactor;
use crate::lease::Lessor;
use crate::log::LogStorage;
use crate::membership::Cluster;
use crate::mvcc::{is_read_only, is_serializable, Store, Watchers};
use crate::snap::{Received, Receiving, SnapDir};
use crate::time::Monotonic;
use crate::wal::Wal;
use crate::{Config, DiskError, Event, Input, LeaseAsk, LogView, MemberId, OpId, Output, RequestId, Role, Task, View};

use apply::Applying;
use auth::Callers;
use corruption::Corruption;
use election::ElectionTimer;
use lease::Leasing;
use maintenance::Maintenance;
use membership::Peers;
use outputs::Outputs;
use pace::Pace;
use propose::Internal;
use raft_loop::Saving;
use read::{Read, Reads};
use snapshot::Snapshotting;

/// One etcd member.
pub struct Replica {
    config: Config,
    raft: RawNode<LogStorage>,
    wal: Wal,
    backend: Backend,
    store: Store,
    watchers: Watchers,
    membership: Cluster,
    peers: Peers,
    auth: AuthStore,
    callers: Callers,
    lessor: Lessor,
    alarms: Alarms,
    election: ElectionTimer,
    reads: Reads,
    applying: Applying,
    snapshotting: Snapshotting,
    leasing: Leasing,
    maintenance: Maintenance,
    corruption: Corruption,
    compacting_alone: Compactor,
    snap_dir: SnapDir,
    receiving: Receiving,
    /// The Ready that is being saved; the Raft loop waits for it.
    saving: Option<Saving>,
    /// The ticker's one-slot buffer: a tick that came while the Raft loop was saving.
    tick_waiting: bool,
    /// When the backend's commits and the look for lagging watchers come.
    commits: Pace,
    watch_syncs: Pace,
    /// What each unanswered sync is for.
    disk: BTreeMap<OpId, Waiting>,
    /// Requests in the log or on their way there, by the id in their entry.
    proposed: BTreeMap<u64, RequestId>,
    /// Entries that the member proposed itself and waits for, by the id in them.
    internal: BTreeMap<u64, Internal>,
    /// Proposals that wait for somebody to lead.
    unled: VecDeque<(u64, Proposal)>,
    /// When each proposal must be answered, in order of time.
    deadlines: VecDeque<(Monotonic, u64)>,
    /// Clients that wait until a compaction is physically done.
    compacting: Vec<Compacting>,
    /// The time of the step under way.
    now: Monotonic,
    ids: IdGenerator,
    role: Role,
    leader: MemberId,
    /// Highest index that the Raft loop has handed to the apply loop.
    handed_over: u64,
    /// Up to here what it has handed over is saved too.
    notified: u64,
    /// The consistent index that is on disk.
    backend_committed: u64,
    applied: u64,
    log_changed_from: u64,
    /// The batch must be committed as soon as the entry under way is applied.
    commit_wanted: bool,
    /// What of a compaction is in a batch, or in the commit that is being made.
    compaction_commit: CompactionCommit,
    stopped: bool,
    out: Outputs,
}

/// What of a compaction is to last before it goes on; etcd has a failpoint where each does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum CompactionCommit {
    /// Nothing.
    None,
    /// The batch holds its schedule.
    ScheduleWanted,
    /// Its schedule is being committed.
    Schedule,
    /// One batch of what it removes is being committed.
    Batch,
}

/// Who waits for a disk command.
#[derive(Clone, Debug)]
enum Waiting {
    /// The Raft loop: its save is durable.
    RaftSave,
    /// The backend's batch.
    Backend,
    /// The snapshot being made here: its file or its record.
    Snapshot,
    /// A database from the leader is on disk; now Raft may see the message.
    Database(Box<Received>),
}

/// A client that wants a compaction to be done physically.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Compacting {
    id: RequestId,
    /// Compactions up to here must be done.
    revision: api::Revision,
    /// What it is told then.
    result: Result<(), Error>,
    /// They are, and a commit is on its way that makes it last.
    committing: bool,
}

/// Something that wants to get into the log.
#[derive(Clone, Debug)]
enum Proposal {
    Entry(Bytes),
    Configuration(Bytes),
}

/// etcd's `idutil.Generator`: member, then time of start, then a counter, so that ids of different members and of
/// different lives of a member differ.
#[derive(Clone, Debug)]
struct IdGenerator(u64);

impl IdGenerator {
    fn new(member: MemberId, now: Monotonic) -> Self {
        let millis = (now.0 / 1_000_000) & ((1 << 40) - 1);
        Self((member.0 & 0xffff) << 48 | millis << 8)
    }

    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

impl Replica {
    /// Take one input at `now` on this member's monotonic clock, and append what must be done to `out`.
    ///
    /// `now` never goes back. After [`Output::Exit`] every input is ignored.
    pub fn step(&mut self, now: Monotonic, input: Input, out: &mut Vec<Output>) {
        if self.stopped {
            return;
        }
        self.now = now;
        self.out.start(out);
        self.log_changed_from = u64::MAX;
        if let Some(input) = self.hold_until_checked(input) {
            self.take(input);
        }
        self.after_step();
        self.out.finish(out);
    }

    fn take(&mut self, input: Input) {
        let now = self.now;
        match input {
            Input::Run(task) => self.run(now, task),
            Input::Chance(chance) => self.election.drawn(chance, &mut self.raft.raft),
            Input::Message(message) => self.receive(message),
            Input::Unreachable { member } => {
                self.peers.activity.broken(now, member);
                self.raft.report_unreachable(member.0);
                self.lease_unreachable(now, member);
                self.hash_unreachable(member);
            }
            Input::SnapshotSent { member, stream, delivered } => self.snapshot_sent(now, member, stream, delivered),
            Input::Request { id, credential, request } => self.request(id, credential, request),
            Input::StreamOpen { stream, credential, window } => self.stream_open(stream, credential, window),
            Input::StreamRequest { stream, request } => self.stream_request(stream, request),
            Input::StreamGrant { stream, responses } => self.stream_grant(stream, responses),
            Input::StreamClosed { stream } => self.stream_closed(stream),
            Input::Disk { op, result } => self.disk_done(op, result),
        }
    }

    fn run(&mut self, now: Monotonic, task: Task) {
        match task {
            Task::Tick => self.tick(),
            Task::RaftLoop => self.raft_loop(),
            Task::Apply => self.apply_run(),
            Task::BackendCommit => self.backend_commit_tick(),
            Task::ReadIndex => self.read_index_loop(now),
            Task::RequestTimeout => self.request_timeout(now),
            Task::WatchSync => self.watch_sync(),
            Task::WatchVictims => self.watch_victims(),
            Task::WatchSend => self.watch_send(),
            Task::WatchProgress => self.watch_progress(),
            Task::LeaseCalls => self.lease_calls(now),
            Task::LeaseExpiry => self.lease_expiry(now),
            Task::LeaseCheckpoint => self.lease_checkpoint(now),
            Task::Compaction => self.compaction_run(),
            Task::Snapshot => self.snapshot_run(),
            Task::SnapshotSend => self.snapshot_send(now),
            Task::Purge => self.purge(),
            Task::Publish => self.publish_run(),
            Task::ClusterVersion => self.cluster_version_run(),
            Task::Downgrade => self.downgrade_run(),
            Task::Stop => self.exit("the member has been permanently removed from the cluster"),
            Task::Defrag => self.defrag_run(),
            Task::CorruptionCheck => self.corruption_run(now),
            Task::AutoCompaction => self.auto_compaction_run(now),
        }
    }

    /// What every step ends with: a new election timeout when Raft has reset its own, and a run of each loop that has
    /// work.
    fn after_step(&mut self) {
        if self.stopped {
            return;
        }
        if self.election.must_draw(&self.raft.raft) {
            self.out.push(Output::Ask(crate::Question::ElectionTimeout));
        }
        let may_run = self.saving.is_none() && self.wal.awaiting().is_none() && !self.corruption.is_initial();
        if may_run && self.raft.has_ready() {
            self.out.wake_now(Task::RaftLoop);
        }
        self.wake_committer();
        self.wake_watch_sync();
    }

    fn disk_done(&mut self, op: OpId, result: Result<(), DiskError>) {
        let waiting = self.disk.remove(&op);
        if self.is_of_given_up_copy(op) {
            return;
        }
        if result.is_err() {
            if let Some(ops) = self.backend.defragment_failed(op, &mut self.out) {
                return self.defragment_gave_up(ops);
            }
            if self.wal.note_failure(op) || self.database_failed(op, waiting.as_ref()) {
                return;
            }
            // etcd ends on every failed write or sync: a retry could report success for data that is gone.
            let reason = match waiting {
                Some(Waiting::Backend) => "failed to commit tx",
                Some(Waiting::RaftSave) => "failed to save Raft hard state and entries",
                Some(Waiting::Snapshot) => "failed to save Raft snapshot",
                _ => "failed to write to disk",
            };
            self.exit(reason);
            return;
        }
        match waiting {
            Some(Waiting::RaftSave) => self.saved(op),
            Some(Waiting::Backend) => self.backend_progress(op),
            Some(Waiting::Snapshot) => self.snapshot_progress(op),
            Some(Waiting::Database(received)) if received.damaged => {
                self.database_failed(op, Some(&Waiting::Database(received)));
            }
            Some(Waiting::Database(received)) => self.database_saved(*received),
            None => {}
        }
    }

    fn exit(&mut self, reason: &'static str) {
        self.stopped = true;
        self.out.push(Output::Exit { reason });
    }

    fn request(&mut self, id: RequestId, credential: Credential, request: Request) {
        let now = self.now;
        if self.exceeds_quota(&request) {
            return self.raise_no_space(now, Internal::Full { id });
        }
        if let Err(error) = crate::mvcc::check_request(&request, self.config.max_txn_ops) {
            return self.reply(id, Err(error));
        }
        let Some((credential, request)) = self.seat(id, credential, request) else { return };
        if let Err(error) = self.may_ask(&credential, &request) {
            return self.reply(id, Err(error));
        }
        let Some((credential, request)) = self.hold_while_defragmenting(id, credential, request) else { return };
        match request {
            Request::Defragment => self.defragment(id),
            Request::Range(range) if range.serializable => self.serve_range(id, &credential, &range),
            Request::Range(range) => self.read(now, Read::Range((id, credential), range)),
            Request::Txn(txn) if is_read_only(&txn) => {
                if is_serializable(&txn) {
                    self.serve_txn(id, &credential, &txn);
                } else {
                    self.read(now, Read::Txn((id, credential), txn));
                }
            }
            Request::Put(_) | Request::DeleteRange(_) | Request::Txn(_) | Request::Compact(_) => {
                self.propose_request(id, &credential, &request);
            }
            Request::MemberAdd { .. }
            | Request::MemberRemove { .. }
            | Request::MemberPromote { .. }
            | Request::MemberUpdate { .. } => self.propose_membership(id, request),
            Request::MemberList { linearizable: true } => self.read(now, Read::Members((id, credential))),
            Request::MemberList { linearizable: false } => {
                let body = self.member_list();
                self.reply_body(id, body);
            }
            Request::LeaseGrant(mut grant) => {
                while grant.id == 0 {
                    // Only positive ids.
                    grant.id = (self.ids.next() & (u64::MAX >> 1)) as i64;
                }
                self.propose_request(id, &credential, &Request::LeaseGrant(grant));
            }
            Request::LeaseRevoke { .. } | Request::Alarm(_) => self.propose_request(id, &credential, &request),
            Request::LeaseKeepAlive { id: lease } => self.lease_call(now, id, LeaseAsk::KeepAlive { id: lease }),
            Request::LeaseTimeToLive { id: lease, keys } => {
                self.lease_call(now, id, LeaseAsk::TimeToLive { id: lease, keys });
            }
            Request::Leases => self.list_leases(id),
            Request::Auth(api::AuthRequest::Authenticate { name, password }) => {
                self.read(now, Read::Authenticate { id, name, password });
            }
            Request::Auth(request) => self.propose_auth(id, &credential, request),
            Request::Downgrade(request) => match self.check_downgrade(&request) {
                Ok(()) => self.read(now, Read::Downgrade(id, request)),
                Err(error) => self.reply(id, Err(error)),
            },
            Request::MoveLeader { target } => self.move_leader(id, target),
            Request::Status => {
                let body = api::ResponseBody::Status {
                    leader: self.leader.known(),
                    raft_applied_index: self.applied,
                    raft_index: self.raft.raft.raft_log.committed,
                };
                self.reply_body(id, body);
            }
            Request::HashKv { revision } => self.serve_hash_kv(id, revision),
        }
    }

    /// Hash of all that members at the same applied index agree on.
    fn state_hash(&self) -> u64 {
        let (keys, leases, alarms) = (self.store.state_hash(), self.lessor.state_hash(), self.alarms.state_hash());
        keys.wrapping_add(leases).wrapping_add(alarms)
    }

    fn header(&self) -> api::Header {
        api::Header { member: self.config.member, revision: self.store.revision(), raft_term: self.raft.raft.term }
    }

    fn reply(&mut self, id: RequestId, result: Result<api::Response, Error>) {
        self.out.push(Output::Reply { id, result: Box::new(result) });
    }

    fn reply_body(&mut self, id: RequestId, body: api::ResponseBody) {
        let header = self.header();
        self.reply(id, Ok(api::Response { header, body }));
    }

    /// What this member shows of itself.
    pub fn view(&self) -> View<'_> {
        let raft = &self.raft.raft;
        let storage = raft.raft_log.store();
        View {
            member: self.config.member,
            term: raft.term,
            vote: MemberId(raft.vote),
            role: election::role(raft.state),
            leader: MemberId(raft.leader_id),
            commit: raft.raft_log.committed,
            applied: self.applied,
            log: LogView {
                start: storage.start,
                stable: &storage.entries,
                unstable: raft.raft_log.unstable_entries(),
                changed_from: self.log_changed_from,
            },
            voters: self.membership.voters(),
            learners: self.membership.learners(),
            revision: self.store.revision(),
            compact_revision: self.store.compact_revision(),
            state_hash: self.state_hash(),
            leases: self.lessor.leases(),
            is_primary_lessor: self.lessor.is_primary(),
            election_timeout: self.config.heartbeat_interval * u64::from(self.config.election_ticks),
            lease_revoke_rate: self.config.lease_revoke_rate,
            auth_enabled: self.auth.is_enabled(),
            auth_revision: self.auth.revision(),
            keeps_tokens: self.auth.keeps_tokens(),
            alarms: self.alarms.raised(),
            consistent_index: self.backend.consistent_index(),
            forced: self.config.force_new_cluster,
        }
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether it has stopped by itself ([`Output::Exit`]).
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    fn event(&mut self, event: Event) {
        self.out.push(Output::Event(event));
    }
}
