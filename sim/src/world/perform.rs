//! What a member wants done, done in order.

use detcd_replica::history::Finding;
use detcd_replica::raftpb::MessageType;
use detcd_replica::{DiskCommand, Event, FileName, Input, MemberId, OpId, Output, PeerMessage};

use crate::digest::Digest;
use crate::disk::Completion;

use super::node::Down;
use super::{Happening, Stop, World};

impl World<'_> {
    /// Where a commit has ended, and the scenario asks for it: show the database.
    fn look_at_commit(&mut self, node: usize, performed: &[Output]) -> Option<Finding> {
        let ended = |output: &Output| matches!(output, Output::Event(Event::BackendCommitted { .. }));
        if !self.scenario.checks.every_commit || !performed.iter().any(ended) {
            return None;
        }
        let (disk, member) = (&self.nodes[node].disk, self.nodes[node].config.member);
        let db = disk.shown(FileName::Db)?;
        self.observer.committed(self.moment, member, &db)
    }

    /// Show what a member reads of its past.
    pub(super) fn look_at_past(&mut self, node: usize) -> Option<Finding> {
        let replica = self.nodes[node].replica.as_ref()?;
        self.observer.timeline(self.moment, &replica.view(), replica)
    }

    /// Show the step to the observer, then do what it asks for. A failpoint that is armed cuts it short: what comes
    /// after is never done, and the member is gone.
    pub(super) fn perform(&mut self, node: usize, outputs: &mut Vec<Output>, booted: bool) {
        let cut = self.crash_point(node, outputs);
        let count = cut.map_or(outputs.len(), |(count, _)| count);
        let performed = &outputs[..count];
        if let Some(replica) = &self.nodes[node].replica {
            let view = replica.view();
            let clock = &self.nodes[node].clock;
            self.observer.clock(self.now, clock.monotonic(self.now), clock.rate_ppb());
            let finding = match booted {
                true => self.observer.booted(self.moment, &view, performed),
                false => self.observer.stepped(self.moment, &view, performed),
            };
            let finding = finding.or_else(|| self.look_at_commit(node, performed));
            let compacted = |output: &Output| matches!(output, Output::Event(Event::CompactionFinished { .. }));
            let asked = booted || performed.iter().any(compacted);
            let finding = finding.or_else(|| if asked { self.look_at_past(node) } else { None });
            if let Some(finding) = finding {
                self.stop = Some(Stop::Finding(finding));
                return;
            }
        }
        outputs.truncate(count);
        let mut asked = false;
        for output in outputs.drain(..) {
            match output {
                Output::Send(message) => self.send(node, message),
                Output::SnapshotReceived { from, stream, saved } => self.answer_snapshot(node, from, stream, saved),
                Output::Disk { op, command } => self.command(node, op, command),
                Output::Reply { id, result } => {
                    self.digest.event(self.now, 40, node as u64);
                    self.digest.number(id.0 << 1 | u64::from(result.is_ok()));
                    if let Ok(response) = &*result {
                        self.digest.number(response.header.revision as u64);
                    }
                    self.reply(node, id, *result);
                }
                Output::Stream { stream, response } => {
                    self.digest.event(self.now, 41, node as u64);
                    self.digest.number(response.header.revision as u64);
                    self.stream_response(node, stream, response);
                }
                Output::Wake { task, after } => self.wake(node, task, after),
                Output::Ask(_) => asked = true,
                Output::Point(_) => {}
                Output::Event(event) => self.happened(node, &event),
                Output::Exit { reason } => {
                    let removed = reason.contains("removed");
                    *self.tally.entry("exits").or_default() += 1;
                    // Its initial check has found that its data are not the others': what a harmed disk led to.
                    let refuses = reason.contains("data inconsistency") && self.any_harm();
                    self.exit(node, if removed { Down::Removed } else { Down::Exited(reason) });
                    if refuses {
                        self.refuses(node, reason.to_owned());
                    }
                    return;
                }
            }
        }
        if let Some((_, kind)) = cut {
            self.armed_crash(node, kind);
        } else if asked {
            let chance = self.draw_election_timeout(node);
            self.step(node, Input::Chance(chance));
        }
    }

    fn send(&mut self, node: usize, message: PeerMessage) {
        let Some(to) = self.place(message.to).filter(|to| *to < self.nodes.len()) else { return };
        let from = node;
        self.digest.event(self.now, 42, node as u64);
        fold_message(&mut self.digest, &message);
        let delivery = self.network.send(self.now, from, to, message.size(), &mut self.decider);
        if let Some(chunk) = &message.chunk {
            let stream = chunk.stream;
            return self.send_chunk((from, to, stream), delivery, message);
        }
        let epoch = delivery.epoch;
        match delivery.times() {
            [] => {}
            [at] => {
                self.queue.push(*at, Happening::Message { message, epoch });
            }
            [first, again @ ..] => {
                // A forwarded proposal must not come twice: Raft would append it twice. etcd relies on its transport
                // for that, and so it is no fault of the network that etcd is made for.
                let once = message.message.msg_type == MessageType::MsgPropose;
                for at in again.iter().filter(|_| !once) {
                    self.queue.push(*at, Happening::Message { message: message.clone(), epoch });
                }
                self.queue.push(*first, Happening::Message { message, epoch });
            }
        }
    }

    /// Nobody listens: the sender's transport finds out and tells its Raft.
    pub(super) fn refuse(&mut self, sender: MemberId, receiver: usize) {
        let node = self.place(sender).expect(super::SENT);
        if node < self.nodes.len() && self.nodes[node].is_up() {
            let (incarnation, member) = (self.nodes[node].incarnation, self.nodes[receiver].config.member);
            self.queue.push(self.now, Happening::Unreachable { node, incarnation, member });
        }
    }

    fn command(&mut self, node: usize, op: OpId, command: DiskCommand) {
        self.digest.event(self.now, 43, node as u64);
        let file = match &command {
            DiskCommand::Sync { file } | DiskCommand::Fsync { file } => Some(*file),
            DiskCommand::Write { data, offset, .. } => {
                self.digest.number(*offset);
                self.digest.rope(data);
                None
            }
            _ => None,
        };
        let syncs = file.is_some() || matches!(command, DiskCommand::SyncDir { .. });
        let performed = self.nodes[node].disk.perform(self.now, op, command, &mut self.decider);
        if syncs {
            self.nodes[node].syncs.insert(op, (file, self.now));
        }
        let incarnation = self.nodes[node].incarnation;
        if let Some(error) = performed.error {
            self.nodes[node].failed.insert(op, error);
            self.queue.push(self.now, Happening::Disk { node, incarnation, op });
        } else if let Some(at) = performed.completes_at {
            self.queue.push(at, Happening::Disk { node, incarnation, op });
        }
    }

    pub(super) fn disk_done(&mut self, node: usize, op: OpId) {
        let result = match self.nodes[node].failed.remove(&op) {
            Some(error) => Err(error),
            None => match self.nodes[node].disk.complete(self.now, op) {
                Completion::Done(result) => result,
                Completion::Later(at) => {
                    let incarnation = self.nodes[node].incarnation;
                    self.queue.push(at, Happening::Disk { node, incarnation, op });
                    return;
                }
            },
        };
        self.look_for_harm(node);
        let sync = self.nodes[node].syncs.remove(&op);
        let file = sync.and_then(|(file, _)| file);
        if let (Ok(()), Some((Some(file), from))) = (result, sync) {
            self.measuring.synced(self.now, from, file);
        }
        if let (Ok(()), Some(file)) = (result, file) {
            let member = self.nodes[node].config.member;
            let finding = self.observer.synced(self.moment, member, file, op);
            self.stop_on(finding);
        }
        self.step(node, Input::Disk { op, result });
    }

    fn exit(&mut self, node: usize, down: Down) {
        let member = self.nodes[node].config.member;
        self.trace_note(node, "exit");
        self.disconnect(node);
        self.nodes[node].disk.kill();
        for token in self.nodes[node].forget() {
            self.queue.cancel(token);
        }
        self.nodes[node].down = down;
        self.nodes[node].incarnation += 1;
        self.digest.event(self.now, 44, node as u64);
        let finding = self.observer.crashed(self.moment, member);
        self.stop_on(finding);
        self.node_gone(node);
    }

    fn happened(&mut self, node: usize, event: &Event) {
        let name = match event {
            Event::RoleChanged { role: detcd_replica::Role::Leader, .. } => {
                self.measuring.elected(self.now);
                "leader_changes"
            }
            Event::SnapshotInstalled { .. } => "snapshots_installed",
            Event::SnapshotCreated { .. } => "snapshots_created",
            Event::CompactionFinished { .. } => "compactions",
            Event::Applied { index, state_hash, .. } => {
                self.digest.event(self.now, 45, node as u64);
                self.digest.number(*index);
                self.digest.number(*state_hash);
                "entries_applied"
            }
            Event::BackendCommitted { .. } => "backend_commits",
            Event::CompactionProposed { revision } => {
                let member = self.nodes[node].config.member;
                self.traffic.compacted_by(member, self.moment, *revision);
                "automatic_compactions"
            }
            Event::ConfigurationChanged { .. } => {
                self.trace_event(node, event);
                return self.configured(node);
            }
            _ => {
                self.trace_event(node, event);
                return;
            }
        };
        *self.tally.entry(name).or_default() += 1;
        self.trace_event(node, event);
    }

    fn trace_event(&mut self, node: usize, event: &Event) {
        if let Some(trace) = &mut self.trace {
            let what = super::quoted(&format!("{event:?}"));
            trace.push(format!("{{\"n\":{},\"t\":{},\"node\":{},\"event\":{what}}}", self.moment, self.now, node + 1));
        }
    }
}

/// Fold what a message means into the digest; its encoding is not needed for that.
pub(super) fn fold_message(digest: &mut Digest, peer: &PeerMessage) {
    let message = &peer.message;
    digest.number((message.msg_type as u64) << 32 | peer.from.0 << 16 | peer.to.0);
    digest.number(message.term << 32 | message.log_term);
    digest.number(message.index << 32 | message.commit);
    digest.number(message.reject_hint << 1 | u64::from(message.reject));
    if !message.context.is_empty() {
        digest.bytes(&message.context);
    }
    for entry in message.entries.iter() {
        digest.number(entry.index << 32 | entry.term);
        digest.bytes(&entry.data);
    }
    if message.msg_type == MessageType::MsgSnapshot {
        digest.number(message.get_snapshot().get_metadata().index);
    }
    if let Some(chunk) = &peer.chunk {
        digest.number(chunk.stream << 40 | chunk.offset);
        digest.bytes(&chunk.data);
    }
    if let Some(lease) = &peer.lease {
        digest.bytes(format!("{lease:?}").as_bytes());
    }
    if let Some(hash) = &peer.hash {
        digest.bytes(format!("{hash:?}").as_bytes());
    }
}

/// One input as a trace shows it.
pub(super) fn describe_input(input: &Input) -> String {
    match input {
        Input::Message(PeerMessage { from, lease: Some(lease), .. }) => format!("{from} {lease:?}"),
        Input::Message(PeerMessage { from, hash: Some(hash), .. }) => format!("{from} {hash:?}"),
        Input::Message(peer) => {
            let message = &peer.message;
            format!(
                "{} {:?} term {} index {} log_term {} commit {} entries {}{}",
                peer.from,
                message.msg_type,
                message.term,
                message.index,
                message.log_term,
                message.commit,
                message.entries.len(),
                if message.reject { " reject" } else { "" }
            )
        }
        other => format!("{other:?}"),
    }
}
