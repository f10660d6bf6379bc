//! The client of keys: one operation at a time, with clientv3's rules of who may try again.
//!
//! A read is tried again, at the next endpoint, when the member was unavailable (connection broken, no leader, leader
//! changed, server's own timeout, stopped). A write is tried again only if the connection was never there; once it
//! was sent, no answer and an answer that leaves it open both mean an unknown outcome. All tries share one timeout.
//! After a round over the endpoints (a quorum of them, as clientv3) the client waits a little. After a write that did
//! not end well, the next operation is a list.
//!
//! A stale read has a fence: an answer older than what the client has been shown is not taken, and the next endpoint is
//! asked. clientv3 leaves that to its users.
//!
//! A write that never reached a member has failed for certain. etcd's API has no error for that (it is gRPC's), so it
//! is recorded as failed with [`Error::Stopped`].

use detcd_replica::api::{Effect, Error, Request, Response};
use detcd_replica::time::Span;
use detcd_replica::{Bug, Bugs, MemberId};

use super::{Action, Turn};
use crate::workload::{is_stale, writes, Ended, Identity, Seen, Workload};

/// clientv3's wait between rounds of tries.
const BACKOFF: Span = Span::millis(25);

/// How long a client waits at least for what its workload closes with: an impatient one would never have its answer
/// from far away.
const CLOSING_TIMEOUT: Span = Span::secs(10);

/// How a client behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its number.
    pub client: u32,
    /// The members it uses, in turn; one when it is pinned.
    pub endpoints: Vec<MemberId>,
    /// Operations that it makes.
    pub operations: u64,
    /// How long an operation may take, tries included.
    pub request_timeout: Span,
    /// Mean pause before each operation.
    pub think_time: Span,
    /// Whether it must keep track of keys for its workload.
    pub tracks_keys: bool,
    /// Bugs switched on.
    pub bugs: Bugs,
}

/// What a client is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not started, or between two operations.
    Idle,
    /// An operation is under way.
    Busy(Pending),
    /// No more operations.
    Finished,
}

/// The operation under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pending {
    /// Its place in the history.
    place: usize,
    /// Whether it writes.
    write: bool,
    /// The try that waits for an answer; `None` while waiting to try again.
    request_no: Option<u64>,
    /// To whom the last try went.
    member: MemberId,
    /// Tries so far.
    tries: u64,
    /// The timer that ends it.
    deadline: u64,
}

/// One client.
#[derive(Clone, Debug)]
pub struct Client {
    settings: Settings,
    state: State,
    seen: Seen,
    /// The endpoint to use next, as a place in the settings.
    endpoint: usize,
    done: u64,
    /// The last request number, and timer number.
    numbers: u64,
    /// The timer that wakes it up: after thinking, or to try again.
    wake: u64,
    list_next: bool,
    /// As whom the operation under way is asked.
    identity: Identity,
    stopping: bool,
}

impl Client {
    /// A client that has not started.
    pub fn new(settings: Settings) -> Self {
        assert!(!settings.endpoints.is_empty(), "a client has someone to ask");
        Self {
            seen: Seen::new(settings.tracks_keys),
            settings,
            state: State::Idle,
            endpoint: 0,
            done: 0,
            numbers: 0,
            wake: 0,
            list_next: false,
            identity: Identity::default(),
            stopping: false,
        }
    }

    /// How it behaves.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What it has seen of the store.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Whether it has nothing more to do.
    pub fn is_finished(&self) -> bool {
        self.state == State::Finished
    }

    /// Whether it only asks what its workload closes with, until that is answered.
    pub fn is_closing(&self) -> bool {
        self.stopping && !self.is_finished()
    }

    /// What it waits for, as the place of the operation in the history; `None` when no operation is under way.
    pub fn pending(&self) -> Option<usize> {
        match self.state {
            State::Busy(pending) => Some(pending.place),
            State::Idle | State::Finished => None,
        }
    }

    /// Begins: think, then ask.
    pub fn start(&mut self, workload: &mut dyn Workload, turn: &mut Turn<'_>) {
        assert_eq!((self.state, self.numbers), (State::Idle, 0), "a client starts once");
        self.think(workload, turn);
    }

    /// No further operation is to be called but those that its workload closes with. The one under way goes on.
    pub fn stop(&mut self, workload: &mut dyn Workload, turn: &mut Turn<'_>) {
        self.stopping = true;
        self.list_next = false;
        match self.state {
            State::Idle => self.think(workload, turn),
            State::Finished if workload.closing(self.settings.client).is_some() => {
                self.state = State::Idle;
                self.think(workload, turn);
            }
            State::Busy(_) | State::Finished => {}
        }
    }

    /// The answer to a request arrived.
    pub fn on_reply(
        &mut self,
        request_no: u64,
        result: Result<Response, Error>,
        workload: &mut dyn Workload,
        turn: &mut Turn<'_>,
    ) {
        let Some(pending) = self.waiting_for(request_no) else { return };
        match result {
            Ok(response) if self.has_seen_more(turn.recorder.request(pending.place), &response) => {
                self.try_again(pending, turn);
            }
            Ok(response) => {
                let request = turn.recorder.request(pending.place);
                self.seen.answered(request, &response);
                workload.ended(self.settings.client, request, Ended::Answered(&response));
                turn.recorder.ok(pending.place, turn.at, response);
                self.ended(workload, turn);
            }
            Err(error) if error.effect() == Effect::Unknown && self.may_repeat(pending) => {
                self.try_again(pending, turn)
            }
            Err(error) => {
                let request = turn.recorder.request(pending.place);
                self.seen.refused(request, error);
                workload.ended(self.settings.client, request, Ended::Refused(error));
                let definite = error == Error::NoSpace && self.settings.bugs.has(Bug::ErrorAfterApplyDefinite);
                if error.effect() == Effect::Unknown && !definite {
                    turn.recorder.unknown(pending.place, turn.at);
                } else {
                    turn.recorder.failed(pending.place, turn.at, error);
                }
                self.list_next = pending.write;
                self.ended(workload, turn);
            }
        }
    }

    /// The request could not be sent: there is no connection to the member.
    pub fn on_refused(&mut self, request_no: u64, turn: &mut Turn<'_>) {
        if let Some(pending) = self.waiting_for(request_no) {
            self.try_again(pending, turn);
        }
    }

    /// The connection to a member broke, after the request was sent.
    pub fn on_disconnect(&mut self, member: MemberId, workload: &mut dyn Workload, turn: &mut Turn<'_>) {
        let State::Busy(pending) = self.state else { return };
        if pending.request_no.is_none() || pending.member != member {
            return;
        }
        if self.may_repeat(pending) {
            self.try_again(pending, turn);
        } else {
            self.give_up(pending, workload, turn);
        }
    }

    /// A timer is due.
    pub fn on_timer(&mut self, timer: u64, workload: &mut dyn Workload, turn: &mut Turn<'_>) {
        match self.state {
            State::Idle if timer == self.wake => self.call(workload, turn),
            State::Busy(pending) if timer == pending.deadline => {
                // A write that waits to be tried again was never sent.
                if pending.write && pending.request_no.is_none() {
                    let request = turn.recorder.request(pending.place);
                    workload.ended(self.settings.client, request, Ended::Refused(Error::Stopped));
                    turn.recorder.failed(pending.place, turn.at, Error::Stopped);
                    self.list_next = true;
                    self.ended(workload, turn);
                } else {
                    self.give_up(pending, workload, turn);
                }
            }
            State::Busy(pending) if timer == self.wake && pending.request_no.is_none() => self.send(pending, turn),
            _ => {}
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn waiting_for(&self, request_no: u64) -> Option<Pending> {
        match self.state {
            State::Busy(pending) if pending.request_no == Some(request_no) => Some(pending),
            _ => None,
        }
    }

    /// Whether a stale answer is older than an earlier one.
    fn has_seen_more(&self, request: &Request, response: &Response) -> bool {
        let fenced = !self.settings.bugs.has(Bug::SerializableGoesBackwards);
        fenced && response.header.revision < self.seen.revision && is_stale(request)
    }

    /// Whether it does no harm when it happens twice.
    fn may_repeat(&self, pending: Pending) -> bool {
        !pending.write || self.settings.bugs.has(Bug::ClientRetriesWrites)
    }

    fn think(&mut self, workload: &mut dyn Workload, turn: &mut Turn<'_>) {
        let over = match self.stopping {
            true => workload.closing(self.settings.client).is_none(),
            false => self.done >= self.settings.operations,
        };
        if over {
            return self.finish(turn);
        }
        if self.settings.think_time == Span::ZERO {
            return self.call(workload, turn);
        }
        let after = turn.chance.exponential("client.think", u64::from(self.settings.client), self.settings.think_time);
        self.wake = self.number();
        turn.out.push(Action::SetTimer { timer: self.wake, after });
    }

    fn finish(&mut self, turn: &mut Turn<'_>) {
        self.state = State::Finished;
        turn.out.push(Action::Finished);
    }

    /// Calls the next operation.
    fn call(&mut self, workload: &mut dyn Workload, turn: &mut Turn<'_>) {
        let client = self.settings.client;
        let request = match self.stopping {
            true => match workload.closing(client) {
                Some(request) => request,
                None => return self.finish(turn),
            },
            false => self.next(workload, turn),
        };
        self.identity = workload.identity(client);
        let write = writes(&request);
        let member = self.settings.endpoints[self.endpoint];
        let place = turn.recorder.call(client, member, self.identity.user.clone(), turn.at, request);
        let deadline = self.number();
        let patience = self.settings.request_timeout;
        let after = if self.stopping { patience.max(CLOSING_TIMEOUT) } else { patience };
        turn.out.push(Action::SetTimer { timer: deadline, after });
        self.send(Pending { place, write, request_no: None, member, tries: 0, deadline }, turn);
    }

    fn next(&mut self, workload: &mut dyn Workload, turn: &mut Turn<'_>) -> Request {
        let list = if std::mem::take(&mut self.list_next) { workload.after_failed_write() } else { None };
        list.unwrap_or_else(|| workload.next(self.settings.client, &self.seen, turn.chance))
    }

    /// Tries the operation at the next endpoint.
    fn send(&mut self, pending: Pending, turn: &mut Turn<'_>) {
        let member = self.settings.endpoints[self.endpoint];
        self.endpoint = (self.endpoint + 1) % self.settings.endpoints.len();
        let request_no = self.number();
        turn.recorder.moved(pending.place, member);
        let request = turn.recorder.request(pending.place).clone();
        self.state = State::Busy(Pending { request_no: Some(request_no), member, tries: pending.tries + 1, ..pending });
        let credential = self.identity.credential.clone();
        turn.out.push(Action::Send { member, request_no, credential, request });
    }

    /// At once at the next endpoint, or a little later when enough of them have been tried.
    fn try_again(&mut self, pending: Pending, turn: &mut Turn<'_>) {
        let quorum = self.settings.endpoints.len() as u64 / 2 + 1;
        if pending.tries % quorum != 0 {
            return self.send(pending, turn);
        }
        self.wake = self.number();
        self.state = State::Busy(Pending { request_no: None, ..pending });
        let jitter = turn.chance.below("client.backoff", u64::from(self.settings.client), BACKOFF.0 / 5);
        turn.out.push(Action::SetTimer { timer: self.wake, after: BACKOFF + Span(jitter) });
    }

    /// Stops waiting for an answer.
    fn give_up(&mut self, pending: Pending, workload: &mut dyn Workload, turn: &mut Turn<'_>) {
        workload.ended(self.settings.client, turn.recorder.request(pending.place), Ended::Unknown);
        turn.recorder.unknown(pending.place, turn.at);
        self.list_next = pending.write;
        self.ended(workload, turn);
    }

    fn ended(&mut self, workload: &mut dyn Workload, turn: &mut Turn<'_>) {
        self.done += 1;
        self.state = State::Idle;
        self.think(workload, turn);
    }
}

#[cfg(test)]
#[path = "operations_tests.rs"]
mod tests;
