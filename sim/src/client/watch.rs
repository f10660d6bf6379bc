//! The client that watches: one stream with some watches on it, resumed whenever it breaks.
//!
//! A watch is resumed from one above the last revision it is sure of: that of the last event, of the last progress
//! notification or, before any, of the answer that created it; after a compaction from one above that. When a member
//! ends one watch of a stream, the stream is opened anew with all of them. The client consumes as
//! slowly as it is told to (the member may not send more than it granted), asks for progress now and then,
//! and may start afresh at some other revision, past or future. Each try is a watch of its own in the history.
//!
//! Where a client is a user it says its password before it opens a stream, whenever it has no token or is told that
//! its token is no good (`clientv3` does so too). A watch that its user may not have is given up for another.

use detcd_replica::api::{
    Credential, Effect, Error, KeyRange, Response, Revision, WatchBody, WatchCreate, WatchRequest, WatchResponse,
};
use detcd_replica::time::Span;
use detcd_replica::{Bug, Bugs, MemberId, WatchId};

use super::{Action, Turn};
use crate::workload::{Ended, Login};

/// Wait before a stream is opened again.
const BACKOFF: Span = Span::millis(25);
/// How long it waits for a token.
const PATIENCE: Span = Span::secs(1);

/// How a watch client behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchSettings {
    /// Its number.
    pub client: u32,
    /// The members it uses, in turn; one when it is pinned.
    pub endpoints: Vec<MemberId>,
    /// As whom it watches; `None` is as nobody.
    pub login: Option<Login>,
    /// Whether everything must have reached it before the run is over. Who may lose the right to watch need not be.
    pub awaited: bool,
    /// What a watch may be of, one of these.
    pub ranges: Vec<KeyRange>,
    /// Whether the watches of a stream take these in turn, and are not of any of them.
    pub in_turn: bool,
    /// Whether a watch may leave out puts, or deletes.
    pub filters: bool,
    /// Bugs switched on.
    pub bugs: Bugs,
    /// Watches on the stream. The first begins now, the others in the past when they start afresh.
    pub watches: usize,
    /// Responses that may be on their way.
    pub window: u32,
    /// Mean time before more is granted.
    pub consume_delay: Span,
    /// Mean time between requests for progress; zero is never.
    pub progress_period: Span,
    /// Mean time until it starts afresh; zero is never.
    pub restart_period: Span,
    /// How far from the last revision seen a fresh start is, at most.
    pub restart_revisions: u64,
    /// Ask for what was there before.
    pub prev_kv: bool,
    /// Ask for progress notifications.
    pub progress_notify: bool,
}

/// What a watch leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Filter {
    #[default]
    Nothing,
    Puts,
    Deletes,
}

/// One watch of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Watched {
    /// Which of the ranges it is of.
    range: usize,
    filter: Filter,
    /// Where it starts when it is asked for again; 0 is from then on.
    next: Revision,
    /// The watch in the history that a new one would resume.
    last: Option<usize>,
    /// Its place in the history, while it lives.
    live: Option<usize>,
}

/// Timers; a value that does not match is of the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Timers {
    reopen: u64,
    grant: u64,
    progress: u64,
    restart: u64,
}

/// One watch client.
#[derive(Clone, Debug)]
pub struct WatchClient {
    settings: WatchSettings,
    watches: Vec<Watched>,
    /// The open stream.
    stream: Option<u64>,
    member: MemberId,
    endpoint: usize,
    /// The newest revision seen.
    revision: Revision,
    /// Responses consumed and not granted yet.
    owed: u32,
    timers: Timers,
    numbers: u64,
    /// The request for a token that is under way, and its place in the history.
    asked: Option<(u64, usize)>,
    stopping: bool,
}

impl WatchClient {
    /// A client that has not started.
    pub fn new(settings: WatchSettings) -> Self {
        assert!(!settings.endpoints.is_empty() && settings.watches > 0 && settings.window > 0);
        assert!(!settings.ranges.is_empty(), "a watch is of something");
        let fresh = Watched { range: 0, filter: Filter::Nothing, next: 0, last: None, live: None };
        Self {
            watches: vec![fresh; settings.watches],
            stream: None,
            member: settings.endpoints[0],
            endpoint: 0,
            revision: 0,
            owed: 0,
            timers: Timers::default(),
            numbers: 0,
            asked: None,
            stopping: false,
            settings,
        }
    }

    /// Its number.
    pub fn client(&self) -> u32 {
        self.settings.client
    }

    /// The members it uses.
    pub fn endpoints(&self) -> &[MemberId] {
        &self.settings.endpoints
    }

    /// The newest revision it has heard of.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Up to which revision the slowest of its watches has everything that is due to it; for a liveness goal. A watch
    /// that starts in the future has nothing due before its start.
    pub fn delivered(&self) -> Revision {
        self.watches.iter().map(|watched| (watched.next - 1).max(0)).min().unwrap_or(0)
    }

    /// Whether a stream is open.
    pub fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether everything must have reached it before the run is over.
    pub fn is_awaited(&self) -> bool {
        self.settings.awaited
    }

    /// Begins.
    pub fn start(&mut self, turn: &mut Turn<'_>) {
        for place in 0..self.watches.len() {
            (self.watches[place].range, self.watches[place].filter) = self.draw_scope(place, turn);
        }
        self.open(turn);
        self.set_periodic(turn);
    }

    /// From now on it consumes at once, and neither starts afresh nor opens anew on its own account: for the liveness
    /// act.
    pub fn settle(&mut self, turn: &mut Turn<'_>) {
        self.settings.consume_delay = Span::ZERO;
        self.settings.restart_period = Span::ZERO;
        self.timers.restart = 0;
        if let (Some(stream_no), 1..) = (self.stream, self.owed) {
            turn.out.push(Action::Grant { stream_no, responses: std::mem::take(&mut self.owed) });
            self.timers.grant = 0;
        }
    }

    /// The run is over: watches whose connection is whole are complete.
    pub fn finish(&mut self, turn: &mut Turn<'_>) {
        self.stopping = true;
        for watched in &mut self.watches {
            if let Some(place) = watched.live.take().filter(|_| self.settings.awaited) {
                turn.recorder.complete(place);
            }
        }
        turn.out.push(Action::Finished);
    }

    /// A response arrived on a stream.
    pub fn on_response(&mut self, stream_no: u64, response: WatchResponse, turn: &mut Turn<'_>) {
        if self.stream != Some(stream_no) || self.stopping {
            return;
        }
        self.revision = self.revision.max(response.header.revision);
        self.consumed(stream_no, turn);
        let Some(WatchId(id)) = response.watch else {
            for watched in &mut self.watches {
                if let Some(place) = watched.live {
                    // A watch that has not heard of its creation cannot rely on progress that may be older.
                    if watched.next > 0 {
                        watched.next = watched.next.max(response.header.revision + 1);
                    }
                    turn.recorder.watched(place, turn.at, response.clone());
                }
            }
            return;
        };
        let Some(watched) = usize::try_from(id).ok().and_then(|place| self.watches.get_mut(place)) else { return };
        let Some(place) = watched.live else { return };
        let (mut again, mut denied) = (false, None);
        match &response.body {
            WatchBody::Created if watched.next == 0 => watched.next = response.header.revision + 1,
            WatchBody::Created => {}
            WatchBody::Events(events) => {
                if let Some(last) = events.last() {
                    watched.next = watched.next.max(last.kv.mod_revision + 1);
                }
            }
            WatchBody::Progress => watched.next = watched.next.max(response.header.revision + 1),
            WatchBody::Cancelled { compact_revision, reason } => {
                watched.next = watched.next.max(compact_revision + 1);
                watched.last = Some(place);
                watched.live = None;
                again = true;
                denied = refusal(reason);
            }
        }
        turn.recorder.watched(place, turn.at, response);
        match denied {
            Some(Error::PermissionDenied) => {
                let (range, filter) = self.draw_scope(id as usize, turn);
                self.watches[id as usize] = Watched { range, filter, next: 0, last: None, live: None };
            }
            Some(_) => self.settings.login.iter_mut().for_each(Login::refused),
            None => {}
        }
        if again {
            self.close(turn);
            self.reopen(turn);
        }
    }

    /// The answer to its request for a token.
    pub fn on_reply(&mut self, request_no: u64, result: Result<Response, Error>, turn: &mut Turn<'_>) {
        let Some((_, place)) = self.asked.take_if(|(asked, _)| *asked == request_no) else { return };
        let request = turn.recorder.request(place);
        let ended = match &result {
            Ok(response) => Ended::Answered(response),
            Err(error) => Ended::Refused(*error),
        };
        self.settings.login.iter_mut().for_each(|login| {
            login.ended(request, ended);
        });
        match result {
            Ok(response) => {
                turn.recorder.ok(place, turn.at, response);
                return self.open(turn);
            }
            Err(error) if error.effect() == Effect::Unknown => turn.recorder.unknown(place, turn.at),
            Err(error) => turn.recorder.failed(place, turn.at, error),
        }
        self.reopen(turn);
    }

    /// Its request for a token has no answer, and will not have one.
    pub fn on_lost(&mut self, request_no: Option<u64>, turn: &mut Turn<'_>) {
        let lost = |asked: &mut (u64, usize)| request_no.is_none_or(|number| number == asked.0);
        let Some((_, place)) = self.asked.take_if(lost) else { return };
        turn.recorder.unknown(place, turn.at);
        self.reopen(turn);
    }

    /// A stream could not be opened, or broke.
    pub fn on_disconnect(&mut self, stream_no: u64, turn: &mut Turn<'_>) {
        if self.stream == Some(stream_no) {
            self.lost();
            self.reopen(turn);
        }
    }

    /// A timer is due.
    pub fn on_timer(&mut self, timer: u64, turn: &mut Turn<'_>) {
        if self.stopping || timer == 0 {
            return;
        }
        if timer == self.timers.reopen {
            if self.asked.is_some() {
                self.on_lost(None, turn);
            } else if self.stream.is_none() {
                self.open(turn);
            }
        } else if timer == self.timers.grant {
            self.timers.grant = 0;
            if let (Some(stream_no), 1..) = (self.stream, self.owed) {
                turn.out.push(Action::Grant { stream_no, responses: std::mem::take(&mut self.owed) });
            }
        } else if timer == self.timers.progress {
            self.ask_progress(turn);
            self.timers.progress = self.set("watch.progress", self.settings.progress_period, turn);
        } else if timer == self.timers.restart {
            self.restart(turn);
            self.timers.restart = self.set("watch.restart", self.settings.restart_period, turn);
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Sets a timer of about this length; none when it is zero.
    fn set(&mut self, site: &'static str, mean: Span, turn: &mut Turn<'_>) -> u64 {
        if mean == Span::ZERO {
            return 0;
        }
        // Half of it is sure, so that a neutral draw does not make a timer that is due at once, for ever.
        let half = mean / 2;
        let after = half + turn.chance.exponential(site, u64::from(self.settings.client), half);
        let timer = self.number();
        turn.out.push(Action::SetTimer { timer, after });
        timer
    }

    fn set_periodic(&mut self, turn: &mut Turn<'_>) {
        self.timers.progress = self.set("watch.progress", self.settings.progress_period, turn);
        self.timers.restart = self.set("watch.restart", self.settings.restart_period, turn);
    }

    /// Which range the watch at this place is of, and what it leaves out.
    fn draw_scope(&self, place: usize, turn: &mut Turn<'_>) -> (usize, Filter) {
        let subject = u64::from(self.settings.client);
        let range = match self.settings.ranges.len() {
            count if self.settings.in_turn => place % count,
            1 => 0,
            count => turn.chance.below("watch.range", subject, count as u64) as usize,
        };
        if !self.settings.filters {
            return (range, Filter::Nothing);
        }
        let filter = match turn.chance.below("watch.filter", subject, 6) {
            5 => Filter::Puts,
            4 => Filter::Deletes,
            _ => Filter::Nothing,
        };
        (range, filter)
    }

    /// Opens a stream at the next endpoint, and asks for every watch on it; or for a token first.
    fn open(&mut self, turn: &mut Turn<'_>) {
        assert_eq!(self.stream, None, "a client has one stream");
        let (stream_no, member) = (self.number(), self.settings.endpoints[self.endpoint]);
        if let Some(request) = self.settings.login.as_ref().and_then(Login::request) {
            let place = turn.recorder.call(self.settings.client, member, String::new(), turn.at, request.clone());
            self.asked = Some((stream_no, place));
            turn.out.push(Action::Send { member, request_no: stream_no, credential: Credential::None, request });
            self.timers.reopen = self.number();
            turn.out.push(Action::SetTimer { timer: self.timers.reopen, after: PATIENCE });
            return;
        }
        let identity = self.settings.login.as_ref().map(Login::identity).unwrap_or_default();
        self.endpoint = (self.endpoint + 1) % self.settings.endpoints.len();
        (self.stream, self.member, self.owed) = (Some(stream_no), member, 0);
        turn.out.push(Action::Open {
            member,
            stream_no,
            credential: identity.credential,
            window: self.settings.window,
        });
        for (id, watched) in self.watches.iter_mut().enumerate() {
            let create = WatchCreate {
                watch: WatchId(id as i64),
                range: self.settings.ranges[watched.range].clone(),
                start_revision: watched.next,
                prev_kv: self.settings.prev_kv,
                progress_notify: self.settings.progress_notify,
                no_put: watched.filter == Filter::Puts,
                no_delete: watched.filter == Filter::Deletes,
            };
            let (client, user) = (self.settings.client, identity.user.clone());
            let place = turn.recorder.watch(client, member, user, watched.last, turn.at, create.clone());
            (watched.live, watched.last) = (Some(place), Some(place));
            turn.out.push(Action::Stream { stream_no, request: WatchRequest::Create(create) });
        }
    }

    /// The stream is gone; its watches are to be resumed.
    fn lost(&mut self) {
        self.stream = None;
        for watched in &mut self.watches {
            watched.live = None;
            if self.settings.bugs.has(Bug::ClientResumeRev) && watched.next > 1 {
                watched.next -= 1;
            }
        }
    }

    fn close(&mut self, turn: &mut Turn<'_>) {
        if let Some(stream_no) = self.stream {
            self.lost();
            turn.out.push(Action::Close { stream_no });
        }
    }

    fn reopen(&mut self, turn: &mut Turn<'_>) {
        self.timers.reopen = self.number();
        let jitter = turn.chance.below("watch.backoff", u64::from(self.settings.client), BACKOFF.0 / 5);
        turn.out.push(Action::SetTimer { timer: self.timers.reopen, after: BACKOFF + Span(jitter) });
    }

    /// One response more is consumed: it is granted with others, when a quarter of the window is (as grpc-go updates
    /// the windows of HTTP/2), or later.
    fn consumed(&mut self, stream_no: u64, turn: &mut Turn<'_>) {
        self.owed += 1;
        if self.settings.consume_delay == Span::ZERO {
            if self.owed >= (self.settings.window / 4).max(1) {
                turn.out.push(Action::Grant { stream_no, responses: std::mem::take(&mut self.owed) });
            }
        } else if self.timers.grant == 0 {
            self.timers.grant = self.set("watch.consume", self.settings.consume_delay, turn);
        }
    }

    fn ask_progress(&mut self, turn: &mut Turn<'_>) {
        let Some(stream_no) = self.stream else { return };
        for place in self.watches.iter().filter_map(|watched| watched.live) {
            turn.recorder.progress_requested(place, turn.at);
        }
        turn.out.push(Action::Stream { stream_no, request: WatchRequest::Progress });
    }

    /// Starts afresh: each watch at a drawn distance from the newest revision, resuming none.
    fn restart(&mut self, turn: &mut Turn<'_>) {
        self.close(turn);
        let (subject, reach) = (u64::from(self.settings.client), self.settings.restart_revisions);
        for place in 0..self.watches.len() {
            let scope = self.draw_scope(place, turn);
            let watched = &mut self.watches[place];
            (watched.range, watched.filter) = scope;
            // The neutral start is from now on; the past is as likely as the future.
            let offset = turn.chance.below("watch.offset", subject, 2 * reach + 1) as i64;
            let revision = if offset % 2 == 0 { offset / 2 } else { -(offset + 1) / 2 } + self.revision;
            watched.next = if offset == 0 { 0 } else { revision.max(1) };
            (watched.last, watched.live) = (None, None);
        }
        self.reopen(turn);
    }
}

/// What a cancellation says of the rights that the watch would need, if it was for that.
fn refusal(reason: &str) -> Option<Error> {
    let known = [Error::PermissionDenied, Error::InvalidAuthToken, Error::AuthOldRevision, Error::UserEmpty];
    known.into_iter().find(|error| reason.ends_with(error.message()))
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
