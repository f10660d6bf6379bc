//! What a step did, output by output: messages sent (R6), writes answered (R5), entries applied (R4, M1),
//! read indexes (R7), and what went to the disk.

use detcd_replica::api::ResponseBody;
use detcd_replica::history::{Finding, Moment};
use detcd_replica::{Dir, DiskCommand, Event, FileName, OpId, Output, PeerMessage, Role, View};

use super::findings::{equal_states, finding};
use super::states::State;
use super::Invariants;

impl Invariants {
    pub(super) fn outputs(
        &mut self,
        at: Moment,
        place: usize,
        view: &View<'_>,
        outputs: &[Output],
        committed: u64,
    ) -> Result<(), Finding> {
        self.leases.goes(view.member);
        let mut answered = false;
        for (number, output) in outputs.iter().enumerate() {
            match output {
                Output::Send(message) => {
                    self.said_of_leases(at, view, outputs, number)?;
                    self.sent(at, place, view, message)?;
                }
                Output::Disk { command, .. } => self.disk(place, command),
                Output::Event(event) => {
                    if let Event::Applied { index, .. } = event {
                        self.answered(at, view, std::mem::take(&mut answered), *index)?;
                    }
                    self.event(at, place, view, event, (outputs, number), committed)?;
                }
                Output::Reply { result, .. } => {
                    answered |= result.as_ref().as_ref().is_ok_and(|response| is_write(&response.body));
                    self.said_of_leases(at, view, outputs, number)?;
                }
                _ => {}
            }
        }
        self.ends_leases(at, view)?;
        self.knows_alarms(at, place, view)?;
        self.knows_users(at, place, view)?;
        self.knows_cluster(at, place, view)?;
        let member = &mut self.members[place];
        let progress = member.progress.follow(view);
        if member.tainted {
            return Ok(());
        }
        progress.map_err(|what| finding("M2", at, what, Vec::new()))
    }

    fn sent(&mut self, at: Moment, place: usize, view: &View<'_>, sent: &PeerMessage) -> Result<(), Finding> {
        if self.premise_lost {
            return Ok(());
        }
        let member = &mut self.members[place];
        let durable = (!member.damaged).then_some(member.durable.hard_state);
        let vote = member.votes.sent(view, &sent.message, durable);
        self.counts(vote.map_err(|what| finding("R6", at, what, Vec::new())))
    }

    fn disk(&mut self, place: usize, command: &DiskCommand) {
        let member = &mut self.members[place];
        match command {
            DiskCommand::Rename { from, to } => {
                member.durable.renamed(*from, *to);
                if *to == FileName::Db {
                    member.progress.renamed();
                }
            }
            DiskCommand::SyncDir { dir: Dir::Snap } => member.progress.named(),
            _ => {}
        }
    }

    /// A client that hears of its write must be able to rely on it: the answer is given when the entry at
    /// `index` is applied, so that must have been proved durable.
    fn answered(&self, at: Moment, view: &View<'_>, answered: bool, index: u64) -> Result<(), Finding> {
        if !answered || index <= self.proved || self.premise_lost {
            return Ok(());
        }
        let id = view.member;
        let summary = format!("{id} answers the write at index {index} before a quorum has it on disk");
        let details = vec![format!("proved up to index {}", self.proved)];
        self.counts(Err(finding("R5", at, summary, details)))
    }

    fn event(
        &mut self,
        at: Moment,
        place: usize,
        view: &View<'_>,
        event: &Event,
        around: (&[Output], usize),
        committed: u64,
    ) -> Result<(), Finding> {
        let member = &mut self.members[place];
        match event {
            Event::RoleChanged { role: Role::Leader, term, .. } if !self.premise_lost => {
                return self.leads(at, view.member, *term);
            }
            Event::WalSaved { op, entries, hard_state } => {
                member.durable.saved(*op, file_of(around, *op), *entries, *hard_state, &view.log);
            }
            Event::DatabaseReceived { index } => {
                member.received.push(*index);
                member.databases.insert(*index);
            }
            Event::WalSnapshotSaved { op, index } => {
                let installed = view.log.start.0 == *index;
                member.durable.snapshot_saved(*op, file_of(around, *op), *index, installed);
            }
            Event::Applied { index, term, entry_hash, state_hash, revision } => {
                if *index == self.reference.last() + 1 {
                    if let Some(entry) = view.log.entry(*index) {
                        let kind = entry.entry_type as i32;
                        self.leases.applied(at, (*index, *term), kind, &entry.data);
                        self.cluster.applied(kind, &entry.data);
                        let state = (*state_hash, *revision);
                        if let Some(what) = self.alarms.applied(kind, &entry.data, state, &self.leaders) {
                            if !self.premise_lost && !self.members[place].tainted {
                                return Err(finding("Q1", at, what, vec![format!("applied at index {index}")]));
                            }
                        }
                        let guarded = self.users.applied(kind, &entry.data, (*state_hash, *revision));
                        self.reference.note(entry);
                        if guarded {
                            self.was_permitted(at, place)?;
                        }
                    }
                }
                return self.applied(at, place, (*index, *term, *entry_hash), (*state_hash, *revision));
            }
            Event::ReadIndexRequested { context } => member.reads.requested(*context, committed),
            Event::ReadIndexConfirmed { context, index } => {
                let least = member.reads.confirmed(*context).unwrap_or(0);
                if *index < least && !self.premise_lost {
                    let id = view.member;
                    let summary =
                        format!("{id} got read index {index} for a read that began when index {least} was committed");
                    return Err(finding("R7", at, summary, vec![format!("context {context:x}")]));
                }
            }
            Event::SnapshotInstalled { index, .. } => {
                (member.replay_until, member.installed) = (view.consistent_index, (*index, view.consistent_index));
                member.tainted = false;
                self.installed(at, view)?;
                return self.holds_leases(at, place, view);
            }
            Event::BackendCommitted { consistent_index } => {
                member.progress.committed(*consistent_index, self.states.get(*consistent_index));
            }
            Event::ConfigurationChanged { voters, .. }
                if view.applied >= self.voters.0.max(self.founders) && !voters.is_empty() =>
            {
                self.voters.0 = view.applied;
                self.voters.1.clone_from(voters);
            }
            _ => {}
        }
        Ok(())
    }

    /// P4: an installed snapshot is the state at its index.
    fn installed(&self, at: Moment, view: &View<'_>) -> Result<(), Finding> {
        let Some(state) = self.states.get(view.consistent_index).filter(|_| !self.premise_lost) else { return Ok(()) };
        if state == (view.state_hash, view.revision) {
            return Ok(());
        }
        let (id, index) = (view.member, view.consistent_index);
        let summary = format!("{id} has installed a snapshot that is not the state at index {index}");
        let show = |(hash, revision): State| format!("revision {revision}, state hash {hash:016x}");
        let installed = show((view.state_hash, view.revision));
        Err(finding("P4", at, summary, vec![format!("installed: {installed}"), format!("should be: {}", show(state))]))
    }

    /// R4 and M1: an entry was applied.
    fn applied(
        &mut self,
        at: Moment,
        place: usize,
        (index, term, hash): (u64, u64, u64),
        state: State,
    ) -> Result<(), Finding> {
        if self.premise_lost {
            return Ok(());
        }
        let member = &self.members[place];
        let id = member.id;
        match self.committed.get(index).map(|commit| commit.entry) {
            Some(entry) if (entry.term, entry.hash) != (term, hash) => {
                let summary = format!("{id} applied another entry at index {index} than the one that is committed");
                let committed = format!("committed: term {}, hash {:016x}", entry.term, entry.hash);
                return Err(finding(
                    "R4",
                    at,
                    summary,
                    vec![committed, format!("applied: term {term}, hash {hash:016x}")],
                ));
            }
            None if index > self.committed.last() => {
                let summary = format!("{id} applied index {index}, which is not known to be committed");
                let details = vec![format!("committed up to index {}", self.committed.last())];
                return Err(finding("R4", at, summary, details));
            }
            _ => {}
        }
        if index < member.replay_until || member.tainted {
            return Ok(());
        }
        self.states.note(index, state).or_else(|other| equal_states(at, id, index, state, other))?;
        if self.states.is_long() {
            let live = self.members.iter().filter(|member| member.live);
            let low = live.map(|member| member.applied.max(member.replay_until)).min().unwrap_or(0);
            self.states.prune(low);
        }
        Ok(())
    }
}

/// The file that the write `op` went to. It is near the event that tells of it, if it was seen at all.
fn file_of((outputs, place): (&[Output], usize), op: OpId) -> Option<FileName> {
    let (before, after) = outputs.split_at(place);
    after.iter().chain(before.iter().rev()).find_map(|output| match output {
        Output::Disk { op: number, command: DiskCommand::Write { file, .. } } if *number == op => Some(*file),
        _ => None,
    })
}

fn is_write(body: &ResponseBody) -> bool {
    matches!(body, ResponseBody::Put { .. } | ResponseBody::DeleteRange { .. } | ResponseBody::Txn { .. })
}
