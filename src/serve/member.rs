//! The member: one thread that owns the replica, takes one event after the other, and performs what comes out, in
//! order.
//!
//! It is the loop of every driver. What the world draws by chance or measures by its queue is taken from the system
//! here: the monotonic clock, entropy, real files, connections.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use detcd_replica::api::{self, Credential, Header, Request, Response, WatchRequest, WatchResponse};
use detcd_replica::time::Monotonic;
use detcd_replica::{
    Chance, Config, DiskError, DiskImage, Event as Told, FileName, Input, MemberId, OpId, Output, PeerMessage, Replica,
    RequestId, Role, StreamId, Task,
};
use tokio::sync::{mpsc as watching, oneshot};

use super::disk::Disk;
use super::metrics::Metrics;
use super::peers::Peers;

/// Inputs that are taken before the tasks get their turn: what came together is saved together.
const INPUTS_AT_ONCE: usize = 256;
/// Responses on their way to the client of one watch stream.
pub(super) const WINDOW: u32 = 64;

/// Something that happens to the member.
pub(super) enum Event {
    /// A client asks.
    Request {
        credential: Credential,
        request: Request,
        /// Refuse it when nobody leads.
        needs_leader: bool,
        reply: oneshot::Sender<Result<Response, api::Error>>,
    },
    /// Somebody looks, between two steps.
    Look(Box<dyn FnOnce(&Replica) + Send>),
    /// A client opens a watch stream.
    StreamOpen {
        credential: Credential,
        responses: watching::UnboundedSender<WatchResponse>,
        id: oneshot::Sender<StreamId>,
    },
    /// It sends something there.
    StreamRequest { stream: StreamId, request: WatchRequest },
    /// It has taken a response.
    StreamTaken { stream: StreamId },
    /// It is gone.
    StreamClosed { stream: StreamId },
    /// A message of another member has come.
    Message(Box<PeerMessage>),
    /// Messages to a member were lost.
    Unreachable(MemberId),
    /// A database has reached its receiver, or has not.
    SnapshotSent { member: MemberId, stream: u64, delivered: bool },
    /// A sync has ended.
    Disk { op: OpId, result: Result<(), DiskError> },
    /// The process was asked to end.
    Stop,
}

/// Why the member has ended.
#[derive(Debug)]
pub(super) enum End {
    /// It was asked to.
    Stopped,
    /// By itself.
    Exited(&'static str),
}

/// Where a member may be asked, from any thread.
#[derive(Clone)]
pub(super) struct Asking {
    pub(super) events: Sender<Event>,
    /// The cluster's id.
    pub(super) cluster: u64,
}

impl Asking {
    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The member's refusal, or that it has ended.
    pub(super) async fn ask(
        &self,
        credential: Credential,
        request: Request,
        needs_leader: bool,
    ) -> Result<Response, api::Error> {
        let (reply, answer) = oneshot::channel();
        self.tell(Event::Request { credential, request, needs_leader, reply });
        answer.await.unwrap_or(Err(api::Error::Stopped))
    }

    /// Looks at the member between two of its steps.
    ///
    /// # Errors
    /// It has ended.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        at: impl FnOnce(&Replica) -> T + Send + 'static,
    ) -> Result<T, api::Error> {
        let (reply, answer) = oneshot::channel();
        self.tell(Event::Look(Box::new(move |replica| {
            // Who asked may have gone.
            let _ = reply.send(at(replica));
        })));
        answer.await.map_err(|_| api::Error::Stopped)
    }

    /// What an answer of this moment begins with.
    ///
    /// # Errors
    /// The member has ended.
    pub(super) async fn header(&self) -> Result<Header, api::Error> {
        self.look(Replica::look_header).await
    }

    pub(super) fn tell(&self, event: Event) {
        // When it has ended, nobody listens, and whoever waits for an answer finds out.
        let _ = self.events.send(event);
    }
}

/// The driver of one replica.
pub(super) struct Member {
    replica: Replica,
    zero: Instant,
    disk: Disk,
    peers: Peers,
    metrics: Arc<Metrics>,
    events: Receiver<Event>,
    /// When each task wants to run.
    wakes: [Option<Monotonic>; Task::ALL.len()],
    requests: BTreeMap<RequestId, oneshot::Sender<Result<Response, api::Error>>>,
    next_request: u64,
    streams: BTreeMap<StreamId, watching::UnboundedSender<WatchResponse>>,
    next_stream: u64,
    leader: Option<MemberId>,
    /// Since when the backend syncs.
    committing: Option<Instant>,
    end: Option<End>,
}

impl Member {
    /// Boots the member from what was found on its disk.
    ///
    /// # Errors
    /// Why it refuses.
    pub(super) fn boot(
        config: Config,
        image: &DiskImage,
        disk: Disk,
        peers: Peers,
        metrics: Arc<Metrics>,
        events: Receiver<Event>,
    ) -> Result<Self, String> {
        let mut outputs = Vec::new();
        let zero = Instant::now();
        let replica =
            Replica::boot(config, image, Monotonic(0), &mut outputs).map_err(|refusal| refusal.to_string())?;
        let mut member = Self {
            replica,
            zero,
            disk,
            peers,
            metrics,
            events,
            wakes: [None; Task::ALL.len()],
            requests: BTreeMap::new(),
            next_request: 0,
            streams: BTreeMap::new(),
            next_stream: 0,
            leader: None,
            committing: None,
            end: None,
        };
        member.peers.meet(&member.replica.look_members());
        member.perform(outputs);
        Ok(member)
    }

    /// Runs until it ends.
    pub(super) fn run(mut self) -> End {
        loop {
            let event = match self.until_next_wake() {
                Some(Duration::ZERO) => self.events.try_recv().ok(),
                Some(wait) => match self.events.recv_timeout(wait) {
                    Ok(event) => Some(event),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return End::Stopped,
                },
                None => match self.events.recv() {
                    Ok(event) => Some(event),
                    Err(_) => return End::Stopped,
                },
            };
            let mut next = event;
            for _ in 0..INPUTS_AT_ONCE {
                let Some(event) = next.take() else { break };
                if matches!(event, Event::Stop) {
                    return End::Stopped;
                }
                self.take(event);
                next = self.events.try_recv().ok();
            }
            if let Some(event) = next {
                self.take(event);
            }
            self.run_due_tasks();
            if let Some(end) = self.end.take() {
                return end;
            }
        }
    }

    fn now(&self) -> Monotonic {
        Monotonic(u64::try_from(self.zero.elapsed().as_nanos()).expect("the clock does not run for 500 years"))
    }

    fn until_next_wake(&self) -> Option<Duration> {
        let next = self.wakes.iter().flatten().min()?;
        Some(Duration::from_nanos(next.since(self.now()).as_nanos()))
    }

    /// Each task whose time has come runs once.
    fn run_due_tasks(&mut self) {
        for task in Task::ALL {
            let due = self.wakes[task.index()].is_some_and(|at| at <= self.now());
            if due && self.end.is_none() {
                self.wakes[task.index()] = None;
                self.step(Input::Run(task));
                if task == Task::Tick {
                    // Members come, go and move while the log is applied.
                    self.peers.meet(&self.replica.look_members());
                }
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Request { reply, needs_leader: true, .. } if self.leader.is_none() => {
                // Who asked may have gone, here and below.
                let _ = reply.send(Err(api::Error::NoLeader));
            }
            Event::Request { credential, request, reply, .. } => {
                self.next_request += 1;
                let id = RequestId(self.next_request);
                self.requests.insert(id, reply);
                self.step(Input::Request { id, credential, request });
            }
            Event::Look(look) => look(&self.replica),
            Event::StreamOpen { credential, responses, id } => {
                self.next_stream += 1;
                let stream = StreamId(self.next_stream);
                self.streams.insert(stream, responses);
                self.step(Input::StreamOpen { stream, credential, window: WINDOW });
                let _ = id.send(stream);
            }
            Event::StreamRequest { stream, request } => self.step(Input::StreamRequest { stream, request }),
            Event::StreamTaken { stream } => self.step(Input::StreamGrant { stream, responses: 1 }),
            Event::StreamClosed { stream } => {
                if self.streams.remove(&stream).is_some() {
                    self.step(Input::StreamClosed { stream });
                }
            }
            Event::Message(message) => self.step(Input::Message(*message)),
            Event::Unreachable(member) => self.step(Input::Unreachable { member }),
            Event::SnapshotSent { member, stream, delivered } => {
                self.step(Input::SnapshotSent { member, stream, delivered });
            }
            Event::Disk { op, result } => self.step(Input::Disk { op, result }),
            Event::Stop => self.end = Some(End::Stopped),
        }
    }

    fn step(&mut self, input: Input) {
        if self.end.is_some() {
            return;
        }
        let mut outputs = Vec::new();
        self.replica.step(self.now(), input, &mut outputs);
        self.perform(outputs);
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        let (mut asked, mut failed) = (false, Vec::new());
        for output in outputs {
            match output {
                Output::Send(message) => self.peers.send(message),
                Output::SnapshotReceived { from, stream, saved } => self.peers.answer_snapshot(from, stream, saved),
                Output::Disk { op, command } => {
                    self.note_commit(&command);
                    if let Err(error) = self.disk.perform(op, command) {
                        failed.push((op, error));
                    }
                }
                Output::Reply { id, result } => {
                    if let Some(reply) = self.requests.remove(&id) {
                        let _ = reply.send(*result);
                    }
                }
                Output::Stream { stream, response } => {
                    if let Some(responses) = self.streams.get(&stream) {
                        let _ = responses.send(response);
                    }
                }
                Output::Wake { task, after } => {
                    let at = self.now() + after;
                    let wake = &mut self.wakes[task.index()];
                    *wake = Some(wake.map_or(at, |sooner| sooner.min(at)));
                }
                Output::Ask(_) => asked = true,
                Output::Point(_) => {}
                Output::Event(event) => self.told(&event),
                Output::Exit { reason } => self.end = Some(End::Exited(reason)),
            }
        }
        if asked {
            let ticks = self.replica.config().election_ticks;
            self.step(Input::Chance(Chance::ElectionTimeout(ticks + random_below(ticks))));
        }
        for (op, error) in failed {
            self.step(Input::Disk { op, result: Err(error) });
        }
    }

    fn note_commit(&mut self, command: &detcd_replica::DiskCommand) {
        use detcd_replica::DiskCommand::{Fsync, Sync};
        if let Sync { file: FileName::Db } | Fsync { file: FileName::Db } = command {
            self.committing.get_or_insert_with(Instant::now);
        }
    }

    fn told(&mut self, event: &Told) {
        match event {
            Told::RoleChanged { role, term, leader } => {
                if *leader != self.leader {
                    if leader.is_some() {
                        self.metrics.leader_changes.fetch_add(1, Ordering::Relaxed);
                    }
                    self.leader = *leader;
                }
                let role = match role {
                    Role::Leader => "leads",
                    Role::Follower if leader.is_some() => "follows",
                    _ => "looks for a leader",
                };
                let leader = leader.map(|leader| format!(" {:x}", leader.0)).unwrap_or_default();
                eprintln!("detcd: term {term}: {:x} {role}{leader}", self.replica.config().member.0);
            }
            Told::BackendCommitted { .. } => {
                if let Some(began) = self.committing.take() {
                    self.metrics.backend_commit.observe(began.elapsed());
                }
            }
            _ => {}
        }
    }
}

/// Uniform in `0..limit`, from the system's entropy.
fn random_below(limit: u32) -> u32 {
    let mut bytes = [0; 4];
    getrandom::getrandom(&mut bytes).expect("the system has entropy");
    u32::from_le_bytes(bytes) % limit
}
