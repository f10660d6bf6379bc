//! Stories of one client: what happens to it, and how its operations end.

use detcd_replica::api::{Header, KeyRange, PutRequest, RangeRequest, Request, ResponseBody};
use detcd_replica::history::Outcome;

use super::super::Recorder;
use super::*;
use crate::scenario::chance::Neutral;
use crate::scenario::Chance;

/// Always the same request; lists when a write failed.
struct Same(Request);

impl Workload for Same {
    fn next(&mut self, _: u32, _: &Seen, _: &mut dyn Chance) -> Request {
        self.0.clone()
    }
    fn after_failed_write(&self) -> Option<Request> {
        Some(read())
    }
    fn tracks_keys(&self) -> bool {
        false
    }
}

fn read() -> Request {
    Request::Range(RangeRequest::of(KeyRange::prefix("")))
}

fn write() -> Request {
    Request::Put(PutRequest::of("k", "v"))
}

/// What may happen to the try under way.
#[derive(Clone, Copy, Debug)]
enum Happens {
    Answer,
    Error(Error),
    Refused,
    Disconnect,
    Deadline,
    Wake,
}

/// A client with its surroundings.
struct Story {
    client: Client,
    workload: Same,
    recorder: Recorder,
    out: Vec<Action>,
    at: u64,
}

impl Story {
    fn new(request: Request, endpoints: u64, operations: u64) -> Self {
        let client = Client::new(Settings {
            client: 3,
            endpoints: (1..=endpoints).map(MemberId).collect(),
            operations,
            request_timeout: Span::secs(1),
            think_time: Span::ZERO,
            tracks_keys: false,
            bugs: detcd_replica::Bugs::NONE,
        });
        let mut story = Self { client, workload: Same(request), recorder: Recorder::new(), out: Vec::new(), at: 0 };
        story.step(|client, workload, turn| client.start(workload, turn));
        story
    }

    fn step(&mut self, step: impl FnOnce(&mut Client, &mut Same, &mut Turn<'_>)) {
        self.at += 1;
        let (recorder, out) = (&mut self.recorder, &mut self.out);
        let mut turn = Turn { at: self.at, chance: &mut Neutral, recorder, out };
        step(&mut self.client, &mut self.workload, &mut turn);
    }

    fn sent(&self) -> (MemberId, u64) {
        let sent = self.out.iter().rev().find_map(|action| match action {
            Action::Send { member, request_no, .. } => Some((*member, *request_no)),
            _ => None,
        });
        sent.expect("something was sent")
    }

    fn timer(&self, length: Span) -> u64 {
        let timer = self.out.iter().rev().find_map(|action| match action {
            Action::SetTimer { timer, after } if *after == length => Some(*timer),
            _ => None,
        });
        timer.expect("the timer was set")
    }

    fn happens(&mut self, what: Happens) {
        let (member, no) = self.sent();
        match what {
            Happens::Answer => {
                let header = Header { member, revision: 7, raft_term: 1 };
                let response = Response { header, body: ResponseBody::Put { prev_kv: None } };
                self.step(|client, workload, turn| client.on_reply(no, Ok(response), workload, turn));
            }
            Happens::Error(error) => {
                self.step(|client, workload, turn| client.on_reply(no, Err(error), workload, turn));
            }
            Happens::Refused => self.step(|client, _, turn| client.on_refused(no, turn)),
            Happens::Disconnect => self.step(|client, workload, turn| client.on_disconnect(member, workload, turn)),
            Happens::Deadline => {
                let timer = self.timer(Span::secs(1));
                self.step(|client, workload, turn| client.on_timer(timer, workload, turn));
            }
            Happens::Wake => {
                let timer = self.timer(BACKOFF);
                self.step(|client, workload, turn| client.on_timer(timer, workload, turn));
            }
        }
    }
}

#[test]
fn with_the_bug_a_write_is_sent_again_when_its_outcome_is_unknown() {
    let mut story = Story::new(write(), 3, 1);
    story.client.settings.bugs = detcd_replica::Bugs::NONE.with(Bug::ClientRetriesWrites);
    story.happens(Happens::Disconnect);
    assert_eq!(story.sent().0, MemberId(2));
    story.happens(Happens::Error(Error::LeaderChanged));
    assert!(matches!(story.recorder.history().operations[0].outcome, Outcome::Unknown { at: None }));
}

#[test]
fn operations_end_as_clientv3_has_it() {
    use Happens::{Answer, Deadline, Disconnect, Error as Fails, Refused, Wake};
    let cases: &[(Request, u64, &[Happens], &str, u64)] = &[
        // Request, endpoints, what happens, how it ends, which member was asked last.
        (write(), 3, &[Answer], "ok", 1),
        (write(), 3, &[Fails(Error::TooManyRequests)], "failed", 1),
        (write(), 3, &[Fails(Error::LeaderChanged)], "unknown", 1),
        (write(), 3, &[Fails(Error::Timeout)], "unknown", 1),
        (write(), 3, &[Disconnect], "unknown", 1),
        (write(), 3, &[Deadline], "unknown", 1),
        (write(), 3, &[Refused, Answer], "ok", 2),
        (write(), 3, &[Refused, Disconnect], "unknown", 2),
        (write(), 3, &[Refused, Refused, Wake, Answer], "ok", 3),
        (write(), 3, &[Refused, Refused, Deadline], "failed", 2),
        (write(), 1, &[Refused, Wake, Refused, Deadline], "failed", 1),
        (write(), 1, &[Refused, Wake, Deadline], "unknown", 1),
        (read(), 3, &[Answer], "ok", 1),
        (read(), 3, &[Fails(Error::Compacted)], "failed", 1),
        (read(), 3, &[Fails(Error::NoLeader), Answer], "ok", 2),
        (read(), 3, &[Disconnect, Refused, Wake, Answer], "ok", 3),
        (read(), 3, &[Fails(Error::Timeout), Fails(Error::Stopped), Wake, Fails(Error::FutureRevision)], "failed", 3),
        (read(), 3, &[Fails(Error::LeaderChanged), Fails(Error::LeaderChanged), Deadline], "unknown", 2),
        (read(), 1, &[Deadline], "unknown", 1),
    ];
    for (request, endpoints, happens, ending, member) in cases {
        let mut story = Story::new(request.clone(), *endpoints, 1);
        for (step, what) in happens.iter().enumerate() {
            assert!(!story.client.is_finished(), "{request:?} {happens:?} ended before step {step}");
            story.happens(*what);
        }
        let operation = &story.recorder.history().operations[0];
        let ended = match operation.outcome {
            Outcome::Ok { .. } => "ok",
            Outcome::Failed { .. } => "failed",
            Outcome::Unknown { at: Some(_) } => "unknown",
            Outcome::Unknown { at: None } => "under way",
        };
        assert_eq!((ended, operation.member.0), (*ending, *member), "{request:?} {happens:?}");
        assert_eq!((story.out.last(), story.client.pending()), (Some(&Action::Finished), None));
    }
}

#[test]
fn after_a_write_that_did_not_end_well_the_client_lists() {
    for bad in [Happens::Deadline, Happens::Disconnect, Happens::Error(Error::TooManyRequests)] {
        let mut story = Story::new(write(), 3, 3);
        story.happens(bad);
        story.happens(Happens::Answer);
        story.happens(Happens::Answer);
        let asked: Vec<_> = story.recorder.history().operations.iter().map(|o| o.request.clone()).collect();
        assert_eq!(asked, [write(), read(), write()], "{bad:?}");
        assert!(story.client.is_finished());
    }
}

#[test]
fn what_comes_too_late_is_ignored() {
    let mut story = Story::new(write(), 1, 2);
    let (member, late) = story.sent();
    let deadline = story.timer(Span::secs(1));
    story.happens(Happens::Deadline);
    let header = Header { member, revision: 7, raft_term: 1 };
    let response = Response { header, body: ResponseBody::Put { prev_kv: None } };
    story.step(|client, workload, turn| client.on_reply(late, Ok(response), workload, turn));
    story.step(|client, workload, turn| client.on_timer(deadline, workload, turn));
    story.step(|client, workload, turn| client.on_disconnect(MemberId(9), workload, turn));
    let operations = &story.recorder.history().operations;
    assert!(matches!(operations[0].outcome, Outcome::Unknown { at: Some(2) }));
    assert!(matches!(operations[1].outcome, Outcome::Unknown { at: None }), "the second is under way");
    assert_eq!(story.recorder.counts().unknown, 1);
}

#[test]
fn a_client_that_is_stopped_ends_the_operation_under_way() {
    let mut story = Story::new(write(), 1, 100);
    story.step(|client, workload, turn| client.stop(workload, turn));
    assert!(!story.client.is_finished());
    story.happens(Happens::Answer);
    assert!(story.client.is_finished());
    assert_eq!(story.client.seen().revision, 7);
    assert_eq!(story.recorder.counts().ok, 1);
}
