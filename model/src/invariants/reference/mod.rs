//! The reference: every entry as the first member to apply it had it, and the state that the specification says they
//! lead to, at any index that is asked for.
//!
//! States are folded on demand, and a few are kept: one for each place that some member's database may still be found
//! at. So the whole log is folded about once in a run, however often members crash.

mod auth;
mod members;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use detcd_replica::api::{
    Alarm, AlarmAction, AlarmMember, AlarmRequest, Key, KeyRange, LeaseId, RangeEnd, Request, RequestOp, Revision,
    TxnRequest,
};
use detcd_replica::raftpb;

use crate::spec::{self, Keyspace, Record, NEWEST};
use crate::storage::entry::{self, Command};
pub(super) use auth::{Auth, Caller};
pub(super) use members::Members;

/// What is remembered of an entry.
#[derive(Clone, Debug)]
struct Recorded {
    kind: i32,
    term: u64,
    data: Bytes,
}

/// The log as it was applied, and states along it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reference {
    entries: Vec<Recorded>,
    /// By index, lowest first.
    states: Vec<Fold>,
    /// Of each entry that was folded once: the request that it gave to the key space, if that was not refused.
    effective: Vec<Option<Request>>,
}

impl Reference {
    /// The last index known.
    pub(super) fn last(&self) -> u64 {
        self.entries.len() as u64
    }

    /// A member applies the entry after the last one known.
    pub(super) fn note(&mut self, entry: &raftpb::Entry) {
        assert_eq!(entry.index, self.last() + 1, "entries are recorded in order");
        let (kind, term) = (entry.entry_type as i32, entry.term);
        self.entries.push(Recorded { kind, term, data: entry.data.clone() });
    }

    /// Whether the state at any index asked for so far had a lease.
    pub(super) fn has_leases(&self) -> bool {
        self.states.iter().any(|state| !state.leases.is_empty())
    }

    /// The term of an entry.
    pub(super) fn term(&self, index: u64) -> Option<u64> {
        self.entries.get(index.checked_sub(1)? as usize).map(|entry| entry.term)
    }

    /// Every request in the log that was not refused when it was applied, in order.
    pub(super) fn requests(&mut self) -> impl Iterator<Item = &Request> {
        // From what cannot be read on, nothing is known.
        let _ = self.at(self.last(), &[]);
        self.effective.iter().flatten()
    }

    /// The state after the entry at `index`, which must be known. `needed` are indices at which states may be asked for
    /// next.
    ///
    /// # Errors
    /// An entry cannot be read: its index, and why.
    pub(super) fn at(&mut self, index: u64, needed: &[u64]) -> Result<&Fold, (u64, String)> {
        assert!(index <= self.last(), "state {index} of {} entries", self.last());
        let after = self.states.partition_point(|state| state.index <= index);
        let place = match after.checked_sub(1) {
            None => {
                self.states.insert(0, Fold::default());
                0
            }
            Some(place) => {
                let from = self.states[place].index;
                if from < index && needed.iter().any(|other| (from..index).contains(other)) {
                    let copy = self.states[place].clone();
                    self.states.insert(place + 1, copy);
                    place + 1
                } else {
                    place
                }
            }
        };
        let state = &mut self.states[place];
        while state.index < index {
            let entry = &self.entries[state.index as usize];
            let request = state.apply(entry).map_err(|reason| (state.index, reason))?;
            if state.index > self.effective.len() as u64 {
                self.effective.push(request);
            }
        }
        // What nobody can ask for any more is below the lowest index needed, save the state just below that.
        let lowest = needed.iter().copied().min().unwrap_or(index).min(index);
        let keep = self.states.partition_point(|state| state.index <= lowest).saturating_sub(1);
        self.states.drain(..keep);
        Ok(&self.states[place - keep])
    }
}

/// A version of a key, with its place in the transaction that wrote it.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) sub: i64,
    pub(super) record: Record,
}

/// A lease, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    /// As it was asked for: a member raises it to its minimum.
    pub(super) ttl: i64,
    /// What was left at the last checkpoint; 0 when there was none.
    pub(super) remaining: i64,
}

/// The state after an index: everything that a database must hold there, and nothing that a finished compaction has
/// removed.
#[derive(Clone, Debug)]
pub(super) struct Fold {
    pub(super) index: u64,
    pub(super) revision: Revision,
    pub(super) compact_revision: Revision,
    keys: BTreeMap<Key, Vec<Version>>,
    /// All versions of all keys.
    versions: usize,
    /// Writes of the revision under way.
    written: i64,
    pub(super) leases: BTreeMap<LeaseId, Lease>,
    /// The live keys that each lease is attached to.
    attached: BTreeMap<LeaseId, BTreeSet<Key>>,
    pub(super) alarms: BTreeSet<AlarmMember>,
    pub(super) auth: Auth,
    /// What the last entry asked for, and its user, when that may not have it.
    pub(super) denied: Option<(Request, String)>,
    pub(super) members: Members,
}

impl Default for Fold {
    fn default() -> Self {
        Self {
            index: 0,
            revision: 1,
            compact_revision: -1,
            keys: BTreeMap::new(),
            versions: 0,
            written: 0,
            leases: BTreeMap::new(),
            attached: BTreeMap::new(),
            alarms: BTreeSet::new(),
            auth: Auth::default(),
            denied: None,
            members: Members::default(),
        }
    }
}

impl Fold {
    /// Gives the request to the key space that the entry holds, if it was not refused.
    fn apply(&mut self, entry: &Recorded) -> Result<Option<Request>, String> {
        self.index += 1;
        self.denied = None;
        let proposal = entry::proposal(entry.kind, &entry.data)?;
        let caller = Caller { name: &proposal.user, revision: proposal.auth_revision };
        match proposal.command {
            Command::Nothing => {}
            Command::Request(Request::Alarm(alarm)) => change_alarms(&mut self.alarms, &alarm),
            Command::Request(request) if !spec::is_key_request(&request) => {
                return Err(format!("nobody proposes {request:?}"));
            }
            Command::Request(request) => {
                let denied = self.is_denied(caller, &request);
                if denied {
                    self.denied = Some((request.clone(), proposal.user.clone()));
                }
                let refused = denied || bars(&self.alarms, &request);
                return Ok((!refused && spec::apply(self, &request).is_ok()).then_some(request));
            }
            Command::Checkpoint(checkpoints) => self.checkpoint(&checkpoints),
            Command::Auth(change) => self.auth.change(caller, &change),
            Command::Change(change) => self.members.change(&change)?,
            Command::Publish(member, attributes) => self.members.publish(member, &attributes),
            Command::ClusterVersion(version) => self.members.version = Some(version),
            Command::Downgrade(downgrade) => self.members.downgrade = Some(downgrade),
        }
        Ok(None)
    }

    /// Whether the caller may not do this, as users and roles are now (A1).
    fn is_denied(&self, caller: Caller<'_>, request: &Request) -> bool {
        let leased = |id| self.leases.contains_key(&id).then(|| self.leased(id));
        self.auth.enabled && self.auth.permits(caller, request, &leased).is_err()
    }

    fn checkpoint(&mut self, checkpoints: &[(LeaseId, i64)]) {
        for (id, remaining) in checkpoints {
            if let Some(lease) = self.leases.get_mut(id) {
                lease.remaining = *remaining;
            }
        }
    }

    /// The live keys that a lease is attached to, in byte order.
    pub(super) fn attached(&self, id: LeaseId) -> impl Iterator<Item = &Key> {
        self.attached.get(&id).into_iter().flatten()
    }

    /// How many versions of keys there are.
    pub(super) fn versions(&self) -> usize {
        self.versions
    }

    /// What was written at a revision that is not compacted: place in its transaction, key, version.
    pub(super) fn at_revision(&self, revision: Revision) -> impl Iterator<Item = (i64, &Key, &Record)> {
        self.all().filter_map(move |(key, version)| {
            (version.record.mod_revision == revision).then_some((version.sub, key, &version.record))
        })
    }

    /// Every version of every key.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Key, &Version)> {
        self.keys.iter().flat_map(|(key, versions)| versions.iter().map(move |version| (key, version)))
    }
}

/// Whether an alarm keeps the request from being applied (Q1): with a corrupt member nothing is, and without space
/// nothing that takes some.
pub(super) fn bars(alarms: &BTreeSet<AlarmMember>, request: &Request) -> bool {
    let raised = |alarm| alarms.iter().any(|it| it.alarm == alarm);
    if raised(Alarm::Corrupt) {
        return true;
    }
    raised(Alarm::NoSpace)
        && match request {
            Request::Put(_) | Request::LeaseGrant(_) => true,
            Request::Txn(txn) => takes_space(txn),
            _ => false,
        }
}

/// Raises an alarm, or takes it back.
pub(super) fn change_alarms(alarms: &mut BTreeSet<AlarmMember>, request: &AlarmRequest) {
    let Some(alarm) = request.alarm else { return };
    let member = AlarmMember { alarm, member: request.member };
    match request.action {
        AlarmAction::Get => {}
        AlarmAction::Activate => drop(alarms.insert(member)),
        AlarmAction::Deactivate => drop(alarms.remove(&member)),
    }
}

/// Whether a branch puts anything, in transactions inside as well.
fn takes_space(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        RequestOp::Put(_) => true,
        RequestOp::Txn(inner) => takes_space(inner),
        RequestOp::Range(_) | RequestOp::DeleteRange(_) => false,
    })
}

fn as_of(versions: &[Version], at: Revision) -> Option<&Record> {
    let known = match at {
        NEWEST => versions.len(),
        _ => versions.partition_point(|version| version.record.mod_revision <= at),
    };
    known.checked_sub(1).map(|last| &versions[last].record).filter(|record| !record.is_tombstone())
}

impl Keyspace for Fold {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn compact_revision(&self) -> Revision {
        self.compact_revision
    }

    fn find(&self, key: &Key, at: Revision) -> Option<&Record> {
        as_of(self.keys.get(key)?, at)
    }

    fn scan(&self, range: &KeyRange, at: Revision, visit: &mut dyn FnMut(&Key, &Record)) {
        if range.end == RangeEnd::Single {
            return self.find(&range.start, at).into_iter().for_each(|record| visit(&range.start, record));
        }
        let Some(bounds) = spec::bounds(range) else { return };
        for (key, versions) in self.keys.range::<[u8], _>(bounds) {
            if let Some(record) = as_of(versions, at) {
                visit(key, record);
            }
        }
    }

    fn write(&mut self, key: &Key, record: Record) {
        let sub = self.written;
        self.written += 1;
        self.versions += 1;
        let versions = match self.keys.get_mut(key) {
            Some(versions) => versions,
            // Its own bytes, near those of the other keys: an entry's are far from each other.
            None => self.keys.entry(Bytes::copy_from_slice(key)).or_default(),
        };
        let before = versions.last().map_or(0, |version| version.record.lease);
        let lease = record.lease;
        versions.push(Version { sub, record });
        if before != lease && before != 0 {
            let attached = self.attached.get_mut(&before).expect("what a key says, its lease says as well");
            attached.remove(key);
            if attached.is_empty() {
                self.attached.remove(&before);
            }
        }
        if before != lease && lease != 0 {
            self.attached.entry(lease).or_default().insert(key.clone());
        }
    }

    fn commit(&mut self, revision: Revision) {
        self.revision = revision;
        self.written = 0;
    }

    fn compact(&mut self, revision: Revision) {
        self.compact_revision = revision;
        let mut gone = 0;
        self.keys.retain(|_, versions| {
            let known = versions.partition_point(|version| version.record.mod_revision <= revision);
            if let Some(mut last) = known.checked_sub(1) {
                // A tombstone at the compaction revision itself is an event that a watch may still ask for, also when
                // the same transaction has put the key again.
                let is_tombstone = |version: &Version| version.record.is_tombstone();
                let at = |version: &Version| version.record.mod_revision;
                let ends = is_tombstone(&versions[last]) && at(&versions[last]) < revision;
                while last > 0 && is_tombstone(&versions[last - 1]) && at(&versions[last - 1]) == revision {
                    last -= 1;
                }
                gone += versions.drain(..if ends { known } else { last }).count();
            }
            !versions.is_empty()
        });
        self.versions -= gone;
    }

    fn leased(&self, id: LeaseId) -> Vec<Key> {
        self.attached(id).cloned().collect()
    }

    fn has_lease(&self, id: LeaseId) -> bool {
        self.leases.contains_key(&id)
    }

    fn grant(&mut self, id: LeaseId, ttl: i64) -> bool {
        let new = !self.leases.contains_key(&id);
        if new {
            self.leases.insert(id, Lease { ttl, remaining: 0 });
        }
        new
    }

    fn forget_lease(&mut self, id: LeaseId) {
        self.leases.remove(&id);
    }
}
