//! Writes down what clients saw: the history of a run, as it happens.

use detcd_replica::api::{Error, Request, Response, ResponseBody, WatchCreate, WatchResponse};
use detcd_replica::history::{History, Moment, Operation, Outcome, Watch};
use detcd_replica::MemberId;

/// How operations ended, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Answered.
    pub ok: u64,
    /// Refused, without effect.
    pub failed: u64,
    /// Nobody can say. Operations under way count here only when they have been given up.
    pub unknown: u64,
}

/// The history so far. An operation under way has an unknown outcome, without a moment.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    history: History,
    counts: Counts,
}

impl Recorder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing yet, and room for so many operations, within reason, and for those that come beside them: compactions,
    /// and what is asked when all is healed.
    pub fn with_room(operations: u64) -> Self {
        let mut recorder = Self::default();
        let room = operations.min(1 << 20) as usize;
        recorder.history.operations.reserve(room + room / 16 + 64);
        recorder
    }

    /// What was seen so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// How operations ended so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The history, when the run is over.
    pub fn into_history(self) -> History {
        self.history
    }

    /// A client calls an operation; its place is returned.
    pub fn call(&mut self, client: u32, member: MemberId, user: String, at: Moment, request: Request) -> usize {
        let outcome = Outcome::Unknown { at: None };
        self.history.operations.push(Operation { client, member, user, call: at, request, outcome });
        self.history.operations.len() - 1
    }

    /// What an operation asked.
    pub(super) fn request(&self, place: usize) -> &Request {
        &self.history.operations[place].request
    }

    /// An operation is tried at another member.
    pub(super) fn moved(&mut self, place: usize, member: MemberId) {
        self.history.operations[place].member = member;
    }

    /// It is answered.
    pub fn ok(&mut self, place: usize, at: Moment, mut response: Response) {
        self.counts.ok += 1;
        // It is kept for long, and there are many.
        if let ResponseBody::Range { kvs, .. } = &mut response.body {
            kvs.shrink_to_fit();
        }
        self.end(place, Outcome::Ok { at, response });
    }

    /// It is refused, without effect.
    pub fn failed(&mut self, place: usize, at: Moment, error: Error) {
        self.counts.failed += 1;
        self.end(place, Outcome::Failed { at, error });
    }

    /// It is given up; it may take effect at any time, or never.
    pub fn unknown(&mut self, place: usize, at: Moment) {
        self.counts.unknown += 1;
        self.end(place, Outcome::Unknown { at: Some(at) });
    }

    fn end(&mut self, place: usize, outcome: Outcome) {
        let operation = &mut self.history.operations[place];
        assert_eq!(operation.outcome, Outcome::Unknown { at: None }, "operation {place} ends once");
        operation.outcome = outcome;
    }

    /// A client asks for a watch; its place is returned.
    pub(super) fn watch(
        &mut self,
        client: u32,
        member: MemberId,
        user: String,
        resumes: Option<usize>,
        call: Moment,
        request: WatchCreate,
    ) -> usize {
        let (responses, progress_requests) = (Vec::new(), Vec::new());
        let watch =
            Watch { client, member, user, resumes, call, request, responses, progress_requests, complete: false };
        self.history.watches.push(watch);
        self.history.watches.len() - 1
    }

    pub(super) fn watched(&mut self, place: usize, at: Moment, response: WatchResponse) {
        self.history.watches[place].responses.push((at, response));
    }

    pub(super) fn progress_requested(&mut self, place: usize, at: Moment) {
        self.history.watches[place].progress_requests.push(at);
    }

    /// The run is over and the watch's connection still whole.
    pub(super) fn complete(&mut self, place: usize) {
        self.history.watches[place].complete = true;
    }
}
