//! What a replica shows of itself: plain, read-only, cheap enough to take after every step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::api::{AlarmMember, Error, KeyValue, LeaseId, Revision, WatchEvent};
use crate::lease::Lease;
use crate::time::Span;
use crate::{raftpb, MemberId};

/// Raft's roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks whether it could win.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
}

/// A replica as an observer sees it between two steps.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Who.
    pub member: MemberId,
    /// Raft term.
    pub term: u64,
    /// Whom it voted for in that term.
    pub vote: MemberId,
    /// Its role.
    pub role: Role,
    /// Whom it follows.
    pub leader: MemberId,
    /// Highest index it knows to be committed.
    pub commit: u64,
    /// Highest index that it has applied.
    pub applied: u64,
    /// Its Raft log, with what is not durable yet.
    pub log: LogView<'a>,
    /// Voters of the configuration it has applied, in order.
    pub voters: &'a [MemberId],
    /// Learners, likewise.
    pub learners: &'a [MemberId],
    /// The store's revision.
    pub revision: i64,
    /// The store's compaction revision, -1 when never compacted.
    pub compact_revision: i64,
    /// Hash of the state as clients see it: live keys with their revisions, versions, values and leases; the leases
    /// with their times to live; the alarms. Members that have applied the same entries have the same hash, whatever
    /// their history, compaction or incarnation.
    pub state_hash: u64,
    /// The leases.
    pub leases: &'a BTreeMap<LeaseId, Lease>,
    /// Whether its lessor takes itself for the one that ends leases.
    pub is_primary_lessor: bool,
    /// Its election timeout, without the random part.
    pub election_timeout: Span,
    /// Leases that it lets end in one second when many do.
    pub lease_revoke_rate: u64,
    /// The alarms that are raised.
    pub alarms: &'a BTreeSet<AlarmMember>,
    /// Whether it asks everybody who they are.
    pub auth_enabled: bool,
    /// Counts the changes of users and roles, from 1.
    pub auth_revision: u64,
    /// Whether it remembers the simple tokens that are made.
    pub keeps_tokens: bool,
    /// The index that the last backend batch will carry when it commits.
    pub consistent_index: u64,
    /// Whether it has booted as a cluster of its own (--force-new-cluster), without what it does not know to be
    /// committed.
    pub forced: bool,
}

/// A member's key space as it reads it now, at every revision that it still has.
pub trait Timeline {
    /// The live keys at `revision` in byte order, as a serializable range of everything has them.
    ///
    /// # Errors
    /// As those of the range: the revision is compacted, or in the future.
    fn keys(&self, revision: Revision) -> Result<Vec<KeyValue>, Error>;

    /// What happened at `revision` in the order it was written, as a watch that starts there is told, without what was
    /// before.
    fn events(&self, revision: Revision) -> Vec<WatchEvent>;
}

/// A Raft log: a snapshot, then entries.
#[derive(Clone, Copy, Debug)]
pub struct LogView<'a> {
    /// Index and term of the entry before the first one kept.
    pub start: (u64, u64),
    /// Entries in storage, from `start.0 + 1`.
    pub stable: &'a VecDeque<raftpb::Entry>,
    /// Entries appended but not handed to storage yet. The first may overlap, and then replaces, the end of `stable`.
    pub unstable: &'a [raftpb::Entry],
    /// The lowest index whose entry may have changed in the last step; above the last index when none did.
    pub changed_from: u64,
}

impl<'a> LogView<'a> {
    /// Index of the last entry.
    pub fn last_index(&self) -> u64 {
        let last = self.unstable.last().or(self.stable.back());
        last.map_or(self.start.0, |entry| entry.index)
    }

    /// The entry at `index`, if it is kept.
    pub fn entry(&self, index: u64) -> Option<&'a raftpb::Entry> {
        if let Some(first) = self.unstable.first() {
            if index >= first.index {
                return self.unstable.get((index - first.index) as usize);
            }
        }
        let place = index.checked_sub(self.start.0 + 1)?;
        self.stable.get(place as usize)
    }
}
