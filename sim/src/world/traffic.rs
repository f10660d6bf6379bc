//! The clients in the world: their requests travel to members, and answers back, in order per client.
//!
//! The way between a client and a member is a connection of its own: partitions cut members from each other, not from
//! their clients. When a member dies, everybody connected to it finds out.

use detcd_replica::api::{
    CompactRequest, Credential, Error, Request, Response, ResponseBody, Revision, WatchRequest, WatchResponse,
};
use detcd_replica::history::{History, Moment};
use detcd_replica::time::Span;
use detcd_replica::{Input, MemberId, RequestId, StreamId};

use crate::client::{self, Action, Client, Recorder, Turn, WatchClient};
use crate::decide::{Decider, Site, Subject};
use crate::distribution::Exponential;
use crate::scenario::{Mix, Scenario};
use crate::workload::{self, Administrator, Churn, Compaction, Defragmentation, Ghosts, Registrar, Workload};

use super::names::{counted, number_of};
use super::World;

/// The shortest way between a client and a member, nanoseconds.
const CLIENT_BASE: u64 = 60_000;
/// What a message adds to it on average.
const CLIENT_JITTER: u64 = 30_000;

/// Something of the clients' that will happen. `slot` is the client's place.
pub(crate) enum Happening {
    /// A client's timer is due.
    Timer { slot: usize, timer: u64 },
    /// A request arrives at a member; `incarnation` is the life it was sent to.
    Request { slot: usize, node: usize, incarnation: u32, number: u64, asked: Box<(Credential, Request)> },
    /// Something arrives on a watch stream.
    ToStream { slot: usize, node: usize, incarnation: u32, number: u64, what: ToStream },
    /// Something arrives at a client.
    ToClient { slot: usize, what: Box<ToClient> },
}

/// What goes to a member on a watch stream.
pub(crate) enum ToStream {
    Open { credential: Credential, window: u32 },
    Request(WatchRequest),
    Grant(u32),
    Close,
}

/// What comes to a client.
pub(crate) enum ToClient {
    Reply { number: u64, result: Result<Response, Error> },
    Refused { number: u64 },
    Disconnected { member: MemberId },
    Response { number: u64, response: WatchResponse },
    StreamLost { number: u64 },
}

impl Happening {
    /// The member that must be running for it.
    pub(super) fn node(&self) -> Option<usize> {
        match self {
            Self::Request { node, .. } | Self::ToStream { node, .. } => Some(*node),
            Self::Timer { .. } | Self::ToClient { .. } => None,
        }
    }
}

/// Who a slot is.
enum Actor {
    /// Runs the workload that all such clients share.
    Worker(Client),
    /// Has a generator of its own: compaction, membership.
    Operator(Client, Box<dyn Workload>),
    /// Watches.
    Watcher(WatchClient),
}

/// Every client, and what they have seen.
pub(super) struct Traffic {
    actors: Vec<Actor>,
    workload: Box<dyn Workload>,
    recorder: Recorder,
    /// Per slot: latest arrival at a member and at the client, which nothing may overtake.
    arrivals: Vec<(u64, u64)>,
    /// Per slot: which member each open stream is on.
    streams: Vec<Option<(u64, usize)>>,
    workers: usize,
    finished_workers: usize,
    actions: Vec<Action>,
}

impl Traffic {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let workload = workload::workload(scenario);
        let mut actors: Vec<Actor> =
            client::clients(scenario, workload.tracks_keys()).into_iter().map(Actor::Worker).collect();
        let workers = actors.len();
        let operator = |number: usize, period| client::extra_client(scenario, number as u32, period);
        let (compaction, churn) = (scenario.workload.compaction_period.0, scenario.membership.churn_period.0);
        if compaction > Span::ZERO {
            actors.push(Actor::Operator(operator(actors.len(), compaction), Box::new(Compaction::default())));
        }
        if churn > Span::ZERO {
            let (voters, learners) = (scenario.cluster.members, scenario.cluster.learners);
            let guests: Box<dyn Workload> = match scenario.membership.ghosts {
                true => Box::new(Ghosts::new(voters + learners)),
                false => Box::new(Churn::new(voters, learners)),
            };
            actors.push(Actor::Operator(operator(actors.len(), churn), guests));
        }
        let defragment = scenario.workload.defragment_period.0;
        if defragment > Span::ZERO {
            actors.push(Actor::Operator(operator(actors.len(), defragment), Box::new(Defragmentation)));
        }
        if scenario.workload.name == Mix::Quota {
            let period = scenario.workload.administrator_period.0;
            let administrator = Administrator::new(scenario.cluster.members);
            actors.push(Actor::Operator(operator(actors.len(), period), Box::new(administrator)));
        }
        if scenario.workload.name == Mix::Auth {
            let period = scenario.workload.administrator_period.0;
            let registrar = Registrar::new(&scenario.workload);
            actors.push(Actor::Operator(operator(actors.len(), period), Box::new(registrar)));
        }
        let first = actors.len() as u32;
        actors.extend(client::watch_clients(scenario, first).into_iter().map(Actor::Watcher));
        let count = actors.len();
        Self {
            actors,
            workload,
            recorder: Recorder::with_room(scenario.clients.operations),
            arrivals: vec![(0, 0); count],
            streams: vec![None; count],
            workers,
            finished_workers: 0,
            actions: Vec::new(),
        }
    }

    /// A member compacts of its own accord. To those who see only what clients do it is one more client, which hears
    /// nothing.
    pub(super) fn compacted_by(&mut self, member: MemberId, at: Moment, revision: Revision) {
        let (client, compact) = (self.actors.len() as u32, CompactRequest { revision, physical: false });
        self.recorder.call(client, member, String::new(), at, Request::Compact(compact));
    }

    /// Whether every worker has done its operations.
    pub(super) fn done(&self) -> bool {
        self.finished_workers == self.workers
    }

    /// What clients have seen, at the end.
    pub(super) fn history(self, _at: Moment) -> History {
        self.recorder.into_history()
    }

    /// One step of a client, and what it wants done.
    fn turn(
        &mut self,
        slot: usize,
        at: Moment,
        decider: &mut Decider,
        step: impl FnOnce(&mut Actor, &mut dyn Workload, &mut Turn<'_>),
    ) -> Vec<Action> {
        let mut out = std::mem::take(&mut self.actions);
        let mut turn = Turn { at, chance: decider, recorder: &mut self.recorder, out: &mut out };
        step(&mut self.actors[slot], &mut *self.workload, &mut turn);
        out
    }
}

/// A step of an operation client with the generator that is its own, or the shared one.
fn with_client(actor: &mut Actor, shared: &mut dyn Workload, step: impl FnOnce(&mut Client, &mut dyn Workload)) {
    match actor {
        Actor::Worker(client) => step(client, shared),
        Actor::Operator(client, own) => step(client, &mut **own),
        Actor::Watcher(_) => unreachable!("a watching client has no operations"),
    }
}

fn with_watcher(actor: &mut Actor, step: impl FnOnce(&mut WatchClient)) {
    if let Actor::Watcher(watcher) = actor {
        step(watcher);
    }
}

impl World<'_> {
    pub(super) fn start_traffic(&mut self) {
        for slot in 0..self.traffic.actors.len() {
            self.client_turn(slot, |actor, shared, turn| match actor {
                Actor::Watcher(watcher) => watcher.start(turn),
                other => with_client(other, shared, |client, workload| client.start(workload, turn)),
            });
        }
    }

    /// No new operations; watchers take everything at once.
    pub(crate) fn end_traffic(&mut self) {
        for slot in 0..self.traffic.actors.len() {
            self.client_turn(slot, |actor, shared, turn| match actor {
                Actor::Watcher(watcher) => watcher.settle(turn),
                other => with_client(other, shared, |client, workload| client.stop(workload, turn)),
            });
        }
    }

    /// Everything due has arrived: watches that are whole are marked so.
    pub(crate) fn last_look(&mut self) {
        for slot in 0..self.traffic.actors.len() {
            self.client_turn(slot, |actor, _, turn| {
                if let Actor::Watcher(watcher) = actor {
                    watcher.finish(turn);
                }
            });
        }
    }

    /// Every running member is asked for its hash, as etcd's robustness tests do when all is quiet. What a disk has
    /// harmed may differ.
    pub(crate) fn last_hashes(&mut self) {
        if self.any_harm() {
            return;
        }
        let client = self.traffic.actors.len() as u32;
        for (place, node) in self.nodes.iter().enumerate() {
            let Some(replica) = &node.replica else { continue };
            let Ok((hash, compact_revision)) = replica.look_hash(0) else { continue };
            let body = ResponseBody::HashKv { hash, compact_revision };
            let answer = self.names.answered(Ok(Response { header: replica.look_header(), body }));
            let Ok(response) = answer else { continue };
            let (member, request, at) = (number_of(place), Request::HashKv { revision: 0 }, self.moment);
            let user = if replica.view().auth_enabled { "root" } else { "" };
            let recorder = &mut self.traffic.recorder;
            let place = recorder.call(client, member, user.to_owned(), at, request);
            recorder.ok(place, at, response);
        }
    }

    /// Which watching client has not been told everything, if that is so.
    pub(super) fn watcher_lags(&self) -> Option<String> {
        let newest = self.nodes.iter().filter_map(|node| node.replica.as_ref()).map(|r| r.view().revision).max();
        let mut watchers = self.traffic.actors.iter().enumerate().filter_map(|(slot, actor)| match actor {
            Actor::Watcher(watcher) => Some((slot, watcher)),
            Actor::Worker(_) | Actor::Operator(..) => None,
        });
        let lags = |watcher: &WatchClient| {
            let answerable = !watcher.endpoints().iter().all(|member| self.stays_down(*member));
            watcher.is_awaited() && answerable && watcher.is_connected() && Some(watcher.delivered()) < newest
        };
        let (slot, watcher) = watchers.find(|(_, watcher)| lags(watcher))?;
        let (have, newest) = (watcher.delivered(), newest.unwrap_or(0));
        Some(format!("client c{slot} has been told of revision {have} of {newest}"))
    }

    /// Why the clients have not settled, if so: one waits for an answer, or for events.
    pub(super) fn traffic_pending(&self) -> Option<String> {
        for (slot, actor) in self.traffic.actors.iter().enumerate() {
            match actor {
                // Whoever it may ask stays down: it closes with nothing.
                Actor::Worker(client)
                    if client.pending().is_none() && client.is_closing() && self.all_stay_down(client) => {}
                Actor::Worker(client) | Actor::Operator(client, _) if !client.is_finished() => {
                    return Some(format!("client c{slot} waits for an answer"));
                }
                Actor::Watcher(watcher) if !watcher.is_awaited() => {}
                // Whoever it may ask stays down: nothing is due to it.
                Actor::Watcher(watcher) if watcher.endpoints().iter().all(|member| self.stays_down(*member)) => {}
                Actor::Watcher(watcher) if !watcher.is_connected() => {
                    return Some(format!("client c{slot} has no watch stream"));
                }
                _ => {}
            }
        }
        self.watcher_lags()
    }

    fn all_stay_down(&self, client: &Client) -> bool {
        client.settings().endpoints.iter().all(|member| self.stays_down(*member))
    }

    fn stays_down(&self, member: MemberId) -> bool {
        self.nodes[counted(member)].down.is_final()
    }

    pub(super) fn traffic_happens(&mut self, happening: Happening) {
        match happening {
            Happening::Timer { slot, timer } => self.client_turn(slot, |actor, shared, turn| match actor {
                Actor::Watcher(watcher) => watcher.on_timer(timer, turn),
                other => with_client(other, shared, |client, workload| client.on_timer(timer, workload, turn)),
            }),
            Happening::Request { slot, node, incarnation, number, asked } => {
                if !self.nodes[node].is_up() || self.nodes[node].incarnation != incarnation {
                    let member = number_of(node);
                    return self.tell_client(slot, ToClient::Disconnected { member });
                }
                let node_state = &mut self.nodes[node];
                node_state.next_request += 1;
                let id = RequestId(node_state.next_request);
                node_state.requests.insert(id, (slot, number));
                let (credential, request) = *asked;
                let (credential, request) = (self.setup.who_asks(credential), self.names.asked(request));
                self.step(node, Input::Request { id, credential, request });
            }
            Happening::ToStream { slot, node, incarnation, number, what } => {
                if !self.nodes[node].is_up() || self.nodes[node].incarnation != incarnation {
                    return self.tell_client(slot, ToClient::StreamLost { number });
                }
                self.stream_gets(slot, node, number, what);
            }
            Happening::ToClient { slot, what } => self.comes_to_client(slot, *what),
        }
    }

    fn comes_to_client(&mut self, slot: usize, what: ToClient) {
        if let ToClient::Reply { number, result } = &what {
            self.measuring.answered(self.now, slot, *number, result.is_ok());
        }
        self.client_turn(slot, |actor, shared, turn| match what {
            ToClient::Reply { number, result } if matches!(actor, Actor::Watcher(_)) => {
                with_watcher(actor, |watcher| watcher.on_reply(number, result, turn));
            }
            ToClient::Refused { number } if matches!(actor, Actor::Watcher(_)) => {
                with_watcher(actor, |watcher| watcher.on_lost(Some(number), turn));
            }
            ToClient::Disconnected { .. } if matches!(actor, Actor::Watcher(_)) => {
                with_watcher(actor, |watcher| watcher.on_lost(None, turn));
            }
            ToClient::Reply { number, result } => {
                with_client(actor, shared, |client, workload| client.on_reply(number, result, workload, turn));
            }
            ToClient::Refused { number } => {
                with_client(actor, shared, |client, _| client.on_refused(number, turn));
            }
            ToClient::Disconnected { member } => {
                with_client(actor, shared, |client, workload| client.on_disconnect(member, workload, turn));
            }
            ToClient::Response { number, response } => {
                with_watcher(actor, |watcher| watcher.on_response(number, response, turn));
            }
            ToClient::StreamLost { number } => with_watcher(actor, |watcher| watcher.on_disconnect(number, turn)),
        });
    }

    fn stream_gets(&mut self, slot: usize, node: usize, number: u64, what: ToStream) {
        let known = self.nodes[node].streams.iter().find(|(_, owner)| **owner == (slot, number)).map(|(id, _)| *id);
        match (what, known) {
            (ToStream::Open { credential, window }, None) => {
                let node_state = &mut self.nodes[node];
                node_state.next_stream += 1;
                let stream = StreamId(node_state.next_stream);
                node_state.streams.insert(stream, (slot, number));
                let credential = self.setup.who_asks(credential);
                self.step(node, Input::StreamOpen { stream, credential, window });
            }
            (ToStream::Request(request), Some(stream)) => self.step(node, Input::StreamRequest { stream, request }),
            (ToStream::Grant(responses), Some(stream)) => self.step(node, Input::StreamGrant { stream, responses }),
            (ToStream::Close, Some(stream)) => {
                self.nodes[node].streams.remove(&stream);
                self.step(node, Input::StreamClosed { stream });
            }
            // The stream is closed already.
            _ => {}
        }
    }

    /// A client takes a step; each is an event of its own, so that calls and answers have an order.
    fn client_turn(&mut self, slot: usize, step: impl FnOnce(&mut Actor, &mut dyn Workload, &mut Turn<'_>)) {
        self.moment += 1;
        self.digest.event(self.now, 60, slot as u64);
        let mut actions = self.traffic.turn(slot, self.moment, &mut self.decider, step);
        for action in actions.drain(..) {
            self.act(slot, action);
        }
        self.traffic.actions = actions;
    }

    fn act(&mut self, slot: usize, action: Action) {
        match action {
            Action::Send { member, request_no, credential, request } => {
                let node = counted(member);
                if node >= self.nodes.len() || !self.nodes[node].is_up() {
                    return self.tell_client(slot, ToClient::Refused { number: request_no });
                }
                let incarnation = self.nodes[node].incarnation;
                self.measuring.asked(self.now, slot, request_no, workload::writes(&request));
                let asked = Box::new((credential, request));
                let at = self.client_arrival(slot, true);
                let happening = Happening::Request { slot, node, incarnation, number: request_no, asked };
                self.queue.push(at, super::Happening::Traffic(happening));
            }
            Action::Open { member, stream_no, credential, window } => {
                let node = counted(member);
                self.traffic.streams[slot] = Some((stream_no, node));
                if node >= self.nodes.len() || !self.nodes[node].is_up() {
                    return self.tell_client(slot, ToClient::StreamLost { number: stream_no });
                }
                self.on_stream(slot, stream_no, ToStream::Open { credential, window });
            }
            Action::Stream { stream_no, request } => self.on_stream(slot, stream_no, ToStream::Request(request)),
            Action::Grant { stream_no, responses } => self.on_stream(slot, stream_no, ToStream::Grant(responses)),
            Action::Close { stream_no } => self.on_stream(slot, stream_no, ToStream::Close),
            Action::SetTimer { timer, after } => {
                self.queue.push(self.now + after.0, super::Happening::Traffic(Happening::Timer { slot, timer }));
            }
            Action::Finished => {
                if matches!(self.traffic.actors[slot], Actor::Worker(_)) {
                    self.traffic.finished_workers += 1;
                }
            }
        }
    }

    fn on_stream(&mut self, slot: usize, number: u64, what: ToStream) {
        let Some((_, node)) = self.traffic.streams[slot].filter(|(open, _)| *open == number) else { return };
        if node >= self.nodes.len() || !self.nodes[node].is_up() {
            return;
        }
        let incarnation = self.nodes[node].incarnation;
        let at = self.client_arrival(slot, true);
        let happening = Happening::ToStream { slot, node, incarnation, number, what };
        self.queue.push(at, super::Happening::Traffic(happening));
    }

    fn tell_client(&mut self, slot: usize, what: ToClient) {
        let at = self.client_arrival(slot, false);
        let happening = Happening::ToClient { slot, what: Box::new(what) };
        self.queue.push(at, super::Happening::Traffic(happening));
    }

    /// When something sent now arrives; nothing overtakes what the same client sent, or was sent, before.
    fn client_arrival(&mut self, slot: usize, to_member: bool) -> u64 {
        let subject = Subject::pair(slot as u32 + 1, u32::from(to_member));
        let delay = CLIENT_BASE + self.decider.decide(Site::ClientDelay, subject, &Exponential(CLIENT_JITTER));
        let (there, back) = &mut self.traffic.arrivals[slot];
        let last = if to_member { there } else { back };
        *last = (self.now + delay).max(*last);
        *last
    }

    pub(super) fn reply(&mut self, node: usize, id: RequestId, result: Result<Response, Error>) {
        let Some((slot, number)) = self.nodes[node].requests.remove(&id) else {
            return self.operator_hears(node, id);
        };
        let result = self.names.answered(result);
        self.tell_client(slot, ToClient::Reply { number, result });
    }

    pub(super) fn stream_response(&mut self, node: usize, stream: StreamId, response: WatchResponse) {
        // A stream that was closed meanwhile has nobody at its other end.
        let Some((slot, number)) = self.nodes[node].streams.get(&stream).copied() else { return };
        self.tell_client(slot, ToClient::Response { number, response });
    }

    /// Everybody connected to a member finds out that it is gone.
    pub(super) fn disconnect(&mut self, node: usize) {
        self.measure_loss(node);
        let member = number_of(node);
        let slots: std::collections::BTreeSet<usize> =
            self.nodes[node].requests.values().map(|(slot, _)| *slot).collect();
        let streams: Vec<(usize, u64)> = self.nodes[node].streams.values().copied().collect();
        for slot in slots {
            self.tell_client(slot, ToClient::Disconnected { member });
        }
        for (slot, number) in streams {
            self.tell_client(slot, ToClient::StreamLost { number });
        }
    }
}
