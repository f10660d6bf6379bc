//! The white-box invariants: what must be true of the members after every step, whatever clients see.
//!
//! The world feeds an [`Invariants`] in this order, and stops at the first [`Finding`]:
//!
//! ```text
//! image   → on_image(at, member, image)               what a member is about to boot from; all disks at the end
//! clock   → on_clock(now, local, rate)                before each boot and step: true time, and the member's clock
//! boot    → on_boot(at, view, outputs)                a member has booted
//! sync    → on_synced(at, member, file, op)           a Sync ended well; before the step that takes its Input::Disk
//! step    → on_step(at, view, outputs)                outputs: those that are performed, all but after a crash
//! crash   → on_crash(at, member)                      also when a member has stopped by itself
//! past    → on_timeline(at, view, timeline)           what it reads of its past: after boots, compactions, at the end
//! faults  → disk_damaged(member), on_wiped(member)    what takes promises back that a disk had made
//! ```
//!
//! | check | says |
//! |---|---|
//! | R1 | at most one leader in a term |
//! | R2 | equal index and term: equal logs up to there |
//! | R3 | a new leader has every entry committed in an earlier term |
//! | R4 | committed and applied entries never conflict |
//! | R5 | a committed entry is on the disks of a quorum, and a durable entry comes back |
//! | R6 | one vote in a term, on disk before it is sent; terms never go back behind what was sent |
//! | R7 | a read index is not below what was committed when it was asked for |
//! | P1 | a database holds what the log up to its consistent index leads to, and is neither behind nor ahead of it |
//! | P2 | a log loses nothing that was synced, and is read as it is; damage that no crash makes is refused |
//! | P3 | a database is a sound bbolt file: each page reached once or free, keys in order, a valid meta |
//! | P4 | what a snapshot needs is there, and an installed one is the state at its index |
//! | M1 | members that have applied the same entries have the same state and revision |
//! | M2 | revisions never go back, not over a restart either |
//! | M3 | each revision that a member has, it reads and tells of as it was written, and none that is compacted |
//! | E1 | a lease does not expire before its time on the fastest clock has passed since it was last kept alive |
//! | E3 | a member holds the leases, with their keys, that the log leads to, and keeps no other alive |
//! | A1 | a member knows whether auth is on, and the auth revision, and keeps tokens while it is on |
//! | A2 | what took effect was permitted to its user when it was applied |
//! | Q1 | a member has the alarms that the log leads to |
//! | C1 | a change of the cluster that nothing is in the way of is taken into the log |
//!
//! The cost of a step is proportional to what changed in it, and memory to the length of the logs. It is an observer:
//! it knows views and events, nothing of how a replica works, and never changes one. What a booting member finds on its
//! disk counts towards a quorum, but is not missed if a later crash takes it before a sync. Disks are read in full only
//! after crashes and at the end, by readers of the judge's own ([`crate::storage`]); where a scenario asks for it, the
//! pages of each database after each commit, too. When a voter has lost what it had promised (damage, wiping), Raft's
//! premise is gone: from then on only M2 is checked.

mod alarms;
mod auth;
mod changes;
mod cluster;
mod commits;
mod database;
mod durable;
mod elections;
mod events;
mod findings;
mod images;
mod leases;
mod logs;
mod reads;
mod reference;
mod states;
#[cfg(test)]
mod tests;
mod timeline;

use std::collections::BTreeSet;

use detcd_replica::api::Request;
use detcd_replica::history::{Finding, Moment};
use detcd_replica::{FileName, MemberId, OpId, Output, Role, View};

use alarms::Alarms;
use auth::Users;
use changes::Changes;
use cluster::Cluster;
use commits::Committed;
use durable::Durable;
use elections::{Leaders, Votes};
use findings::{commit_conflict, equal_states, finding, incomplete_leader};
use images::Found;
use leases::Leases;
use logs::{Ledger, Mismatch, Shadow};
use reads::Reads;
use reference::Reference;
use states::{Progress, States};

/// The names of all checks.
pub fn names() -> &'static [&'static str] {
    &[
        "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "P1", "P2", "P3", "P4", "M1", "M2", "M3", "E1", "E3", "E4",
        "A1", "A2", "G1", "Q1", "C1",
    ]
}

/// What all members have shown so far.
#[derive(Clone, Debug)]
pub struct Invariants {
    /// Entries 1 to this are written by each founder itself and are committed from the start.
    founders: u64,
    /// The voters of the newest configuration applied anywhere, and the index it was seen at.
    voters: (u64, Vec<MemberId>),
    members: Vec<Member>,
    leaders: Leaders,
    ledger: Ledger,
    committed: Committed,
    /// Up to here commits were found to be on a quorum's disks.
    proved: u64,
    states: States,
    reference: Reference,
    leases: Leases,
    alarms: Alarms,
    users: Users,
    cluster: Cluster,
    premise_lost: bool,
    /// What may be passed over counts only if this check has found it.
    only: Option<&'static str>,
}

/// One member, over all its lives.
#[derive(Clone, Debug)]
struct Member {
    id: MemberId,
    live: bool,
    /// Role and term in the last view.
    role: (Role, u64),
    commit: u64,
    applied: u64,
    log: Shadow,
    changes: Changes,
    /// Snapshots received in this life that the log does not start from yet.
    received: Vec<u64>,
    /// The snapshots that it has ever received.
    databases: BTreeSet<u64>,
    durable: Durable,
    votes: Votes,
    reads: Reads,
    progress: Progress,
    /// Below this index it replays what its backend has already, so its state is ahead of what it applies.
    replay_until: u64,
    /// The snapshot that was last installed, and the index of its database. That may be ahead of its snapshot: who sent
    /// it was replaying its own log then. The log need not reach it, if it starts from the snapshot.
    installed: (u64, u64),
    /// How far the log and the database were that it booted from last, synced or not.
    reached: u64,
    /// What the judge has read on the disk that it boots from.
    found: Option<Found>,
    /// Its disk may have lost or changed what was durable.
    damaged: bool,
    /// Its backend may hold anything, until a snapshot replaces it.
    tainted: bool,
}

impl Member {
    fn new(id: MemberId) -> Self {
        Self {
            id,
            live: false,
            role: (Role::Follower, 0),
            commit: 0,
            applied: 0,
            log: Shadow::default(),
            changes: Changes::default(),
            received: Vec::new(),
            databases: BTreeSet::new(),
            durable: Durable::default(),
            votes: Votes::default(),
            reads: Reads::default(),
            progress: Progress::default(),
            replay_until: 0,
            installed: (0, 0),
            reached: 0,
            found: None,
            damaged: false,
            tainted: false,
        }
    }

    fn crash(&mut self) {
        self.live = false;
        self.durable.crashed();
        self.reads.crashed();
        self.progress.crashed();
        self.received.clear();
    }
}

impl Invariants {
    /// Nothing has happened yet; `founders` will bootstrap the cluster.
    pub fn new(founders: &[MemberId]) -> Self {
        Self {
            founders: founders.len() as u64,
            voters: (0, founders.to_vec()),
            members: founders.iter().copied().map(Member::new).collect(),
            leaders: Leaders::default(),
            ledger: Ledger::default(),
            committed: Committed::default(),
            proved: 0,
            states: States::default(),
            reference: Reference::default(),
            leases: Leases::default(),
            alarms: Alarms::default(),
            users: Users::default(),
            cluster: Cluster::default(),
            premise_lost: false,
            only: None,
        }
    }

    /// Every request to the key space that was applied and not refused, in the order of the log.
    pub fn requests(&mut self) -> impl Iterator<Item = &Request> {
        self.reference.requests()
    }

    /// The same, but passes over what other checks than this one find on a disk, in votes (R1, R6), in who leads (R3)
    /// and in what is durable (R5): the run goes on to what comes of it. Nothing of that changes what is looked at
    /// later.
    #[must_use]
    pub fn only(self, check: &'static str) -> Self {
        Self { only: Some(check), ..self }
    }

    /// What was found, if it counts; otherwise it is as if nothing was looked at.
    fn counts<T: Default>(&self, found: Result<T, Finding>) -> Result<T, Finding> {
        let passed_over = |finding: &Finding| self.only.is_some_and(|only| only != finding.check);
        match found {
            Err(finding) if passed_over(&finding) => Ok(T::default()),
            found => found,
        }
    }

    /// A voter has lost durable data through a disk fault, so that Raft promises nothing any more.
    pub fn premise_lost(&self) -> bool {
        self.premise_lost
    }

    // ---- What happens to members.

    /// A member has booted, and shows this; `outputs` are those of its boot.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn on_boot(&mut self, at: Moment, view: &View<'_>, outputs: &[Output]) -> Result<(), Finding> {
        let place = self.place(view.member);
        let member = &mut self.members[place];
        if member.live {
            member.crash();
        }
        member.live = true;
        member.role = (view.role, view.term);
        self.reads_alike(at, place, view)?;
        self.holds_leases(at, place, view)?;
        let member = &mut self.members[place];
        let excused = std::mem::take(&mut member.damaged) || self.premise_lost;
        let log = &view.log;
        let mut lost =
            member.durable.lost(log.start.0, log.last_index(), |index| log.entry(index).map(|entry| entry.term));
        if view.forced {
            // It may not know that something is committed, and gives it up; but nothing that anybody has applied.
            let applied = self.reference.last();
            lost = lost.filter(|lost| lost.index <= applied);
            self.committed.give_up_behind(applied);
        }
        let durable = member.durable.synced_hard_state;
        let elections = member.votes.booted(view, durable);
        let progress = member.progress.booted(view);
        member.durable.booted(&view.log, (view.term, view.vote));
        member.log = Shadow::default();
        member.commit = 0;
        member.applied = view.applied;
        member.replay_until = view.consistent_index;
        if excused {
            let voter = self.voters.1.contains(&view.member);
            self.premise_lost |= voter && (lost.is_some() || elections.is_err());
        } else {
            if let Some(lost) = lost {
                let (id, index) = (view.member, lost.index);
                let summary = format!("{id} lost durable entries: index {index} was on its disk and is not in its log");
                let found = lost.found.map_or("nothing".to_owned(), |term| format!("an entry of term {term}"));
                let details = vec![format!("durable: term {}; after boot: {found}", lost.term)];
                self.counts::<()>(Err(finding("R5", at, summary, details)))?;
            }
            self.counts(elections.map_err(|what| finding("R6", at, what, Vec::new())))?;
            progress.map_err(|what| finding("M2", at, what, Vec::new()))?;
            if let Some(state) = self.states.get(view.consistent_index).filter(|_| !self.members[place].tainted) {
                equal_states(at, view.member, view.consistent_index, (view.state_hash, view.revision), state)?;
            }
        }
        if self.premise_lost {
            return self.outputs(at, place, view, outputs, 0);
        }
        self.observe(at, place, view, outputs)
    }

    /// A member has taken a step, shows this, and did that.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn on_step(&mut self, at: Moment, view: &View<'_>, outputs: &[Output]) -> Result<(), Finding> {
        let place = self.place(view.member);
        if self.premise_lost {
            return self.outputs(at, place, view, outputs, 0);
        }
        self.observe(at, place, view, outputs)
    }

    /// Everything that the member has written to `file` with a number up to `op` lasts.
    ///
    /// # Errors
    /// None so far: a sync can only make more true.
    pub fn on_synced(&mut self, _at: Moment, member: MemberId, file: FileName, op: OpId) -> Result<(), Finding> {
        let place = self.place(member);
        self.members[place].durable.synced(file, op);
        Ok(())
    }

    /// The member is gone, with everything that was not synced.
    ///
    /// # Errors
    /// None so far: what is wrong after a crash shows at the next boot.
    pub fn on_crash(&mut self, _at: Moment, member: MemberId) -> Result<(), Finding> {
        let place = self.place(member);
        self.members[place].crash();
        self.leases.crashed(member);
        if self.voters.1.len() == 1 {
            // A single voter leads before its term is durable. What it had not synced then never was in any log, and
            // the same term may come again with other entries.
            self.ledger.forget_above(self.members[place].durable.last());
        }
        Ok(())
    }

    /// The member's data dir was emptied.
    pub fn on_wiped(&mut self, member: MemberId) {
        let place = self.place(member);
        let promised = !self.members[place].durable.is_empty();
        self.premise_lost |= promised && self.voters.1.contains(&member);
        self.members[place] = Member::new(member);
    }

    /// A disk fault may have changed or undone what was durable: bit rot, a lost or misdirected write, a
    /// lying sync.
    pub fn disk_damaged(&mut self, member: MemberId) {
        let place = self.place(member);
        self.members[place].damaged = true;
        self.members[place].tainted = true;
        self.alarms.harmed(member);
    }

    fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    fn place(&mut self, id: MemberId) -> usize {
        if let Some(place) = self.members.iter().position(|member| member.id == id) {
            return place;
        }
        self.members.push(Member::new(id));
        self.members.len() - 1
    }

    // ---- One step.

    fn observe(&mut self, at: Moment, place: usize, view: &View<'_>, outputs: &[Output]) -> Result<(), Finding> {
        // Reads asked for in this step are held to what was committed before it.
        let committed = self.committed.last();
        if !self.is_restoring(place, view) {
            self.follow_log(at, place, view)?;
            self.follow_role(at, place, view)?;
            self.follow_commit(at, place, view)?;
        }
        let follow = self.members[place].votes.follow(view);
        self.counts(follow.map_err(|what| finding("R6", at, what, Vec::new())))?;
        self.outputs(at, place, view, outputs, committed)
    }

    /// Whether Raft has taken a snapshot that its log does not show yet: the commit index is already the
    /// snapshot's, and the entries are still the old ones, which end before it or which it contradicts. Raft would not
    /// have taken it otherwise.
    fn is_restoring(&mut self, place: usize, view: &View<'_>) -> bool {
        let received = &mut self.members[place].received;
        if received.is_empty() {
            return false;
        }
        received.retain(|index| *index > view.log.start.0);
        let committed = &self.committed;
        received.iter().any(|index| {
            let found = view.log.entry(*index).map(|entry| entry.term);
            let known = || committed.get(*index).map(|commit| commit.entry.term);
            *index <= view.commit && (found.is_none() || found != known())
        })
    }

    fn follow_log(&mut self, at: Moment, place: usize, view: &View<'_>) -> Result<(), Finding> {
        let member = &mut self.members[place];
        let start = member.log.start();
        let followed = member.log.follow(&view.log, &mut self.ledger);
        let from = followed.map_err(|mismatch| self.log_mismatch(at, place, mismatch))?;
        let applied = self.members[place].applied;
        self.takes_changes(at, place, view, from, applied)?;
        let member = &self.members[place];
        if from <= member.commit {
            let compared = self.committed.compare(&member.log, member.commit.min(self.committed.last()));
            compared.map_err(|conflict| commit_conflict(at, view, conflict))?;
        }
        if member.log.start() > start {
            self.prune();
        }
        Ok(())
    }

    fn log_mismatch(&self, at: Moment, place: usize, found: Mismatch) -> Finding {
        let Mismatch { index, term, prefix, other } = found;
        let id = self.members[place].id;
        let holder = self.members.iter().find(|member| {
            member.id != id && member.log.get(index).is_some_and(|slot| slot.term == term && slot.prefix == other)
        });
        let whose = holder.map_or("an earlier log".to_owned(), |member| member.id.to_string());
        let summary =
            format!("the logs of {id} and {whose} both have an entry {index} of term {term} and differ up to it");
        finding("R2", at, summary, vec![format!("prefix hashes {prefix:016x} and {other:016x}")])
    }

    fn follow_role(&mut self, at: Moment, place: usize, view: &View<'_>) -> Result<(), Finding> {
        let now = (view.role, view.term);
        if std::mem::replace(&mut self.members[place].role, now) == now || view.role != Role::Leader {
            return Ok(());
        }
        self.leads(at, view.member, view.term)?;
        let must = self.committed.before_term(view.term);
        let complete = self.committed.compare(&self.members[place].log, must);
        self.counts(complete.map_err(|conflict| incomplete_leader(at, view.member, view.term, conflict)))
    }

    fn leads(&mut self, at: Moment, member: MemberId, term: u64) -> Result<(), Finding> {
        let noted = self.leaders.note(term, member).map_err(|other| {
            let summary = format!("term {term} has two leaders: {other} and {member}");
            finding("R1", at, summary, Vec::new())
        });
        self.counts(noted)
    }

    fn follow_commit(&mut self, at: Moment, place: usize, view: &View<'_>) -> Result<(), Finding> {
        let member = &mut self.members[place];
        member.applied = view.applied;
        if view.commit <= member.commit {
            return Ok(());
        }
        member.commit = view.commit;
        if view.commit > member.log.last() {
            let (id, commit, last) = (view.member, view.commit, member.log.last());
            let summary = format!("{id} has commit index {commit} beyond the end of its log at {last}");
            return Err(finding("R4", at, summary, Vec::new()));
        }
        let known = self.committed.last();
        let compared = self.committed.compare(&member.log, view.commit.min(known));
        compared.map_err(|conflict| commit_conflict(at, view, conflict))?;
        if view.commit <= known {
            return Ok(());
        }
        self.committed.raise(&member.log, view.commit, view.term);
        self.on_quorum(at, view)?;
        self.proved = view.commit;
        // A leader of a later term must have had it since its election, though nobody knew.
        for leader in self.members.iter().filter(|other| other.live && other.role.0 == Role::Leader) {
            if leader.role.1 > view.term {
                let complete = self.committed.compare(&leader.log, view.commit);
                let found = complete.map_err(|conflict| incomplete_leader(at, leader.id, leader.role.1, conflict));
                self.counts(found)?;
            }
        }
        Ok(())
    }

    /// R5, for the newest committed entry: a WAL that has it has all before it.
    fn on_quorum(&self, at: Moment, view: &View<'_>) -> Result<(), Finding> {
        let index = view.commit;
        // While a member replays, its list of voters is ahead of the configuration that its Raft counts by.
        if index <= self.founders || view.applied < view.consistent_index {
            return Ok(());
        }
        let Some(term) = self.committed.get(index).map(|commit| commit.entry.term) else { return Ok(()) };
        let voters = if view.voters.is_empty() { &self.voters.1 } else { view.voters };
        let has = |voter: &MemberId| {
            self.member(*voter).is_some_and(|member| member.damaged || member.durable.has(index, term))
        };
        let have = voters.iter().filter(|voter| has(voter)).count();
        if have > voters.len() / 2 {
            return Ok(());
        }
        let (id, all) = (view.member, voters.len());
        let summary = format!(
            "{id} takes index {index} of term {term} for committed, but only {have} of {all} voters have it on disk"
        );
        let durable = |voter: &MemberId| self.member(*voter).map_or(0, |member| member.durable.last());
        let details = voters.iter().map(|voter| format!("{voter}: durable up to index {}", durable(voter))).collect();
        self.counts(Err(finding("R5", at, summary, details)))
    }

    /// No log that is live goes back behind the lowest start; one that boots later adopts what it finds.
    fn prune(&mut self) {
        let low = self.members.iter().filter(|member| member.live).map(|member| member.log.start()).min();
        if let Some(low) = low {
            self.ledger.prune(low);
            self.committed.prune(low);
        }
    }
}
