//! Stories of one watch client: where it resumes, what it grants, what it writes down.

use bytes::Bytes;
use detcd_replica::api::{Header, KeyValue, WatchEvent, WatchEventKind};

use super::super::Recorder;
use super::*;
use crate::scenario::chance::{Dice, Neutral};
use crate::scenario::Chance;

struct Story {
    client: WatchClient,
    recorder: Recorder,
    chance: Box<dyn Chance>,
    out: Vec<Action>,
    at: u64,
}

impl Story {
    fn new(change: impl FnOnce(&mut WatchSettings)) -> Self {
        let mut settings = WatchSettings {
            client: 9,
            endpoints: vec![MemberId(1), MemberId(2)],
            login: None,
            awaited: true,
            ranges: vec![KeyRange::prefix("key")],
            in_turn: false,
            filters: false,
            bugs: Bugs::NONE,
            watches: 1,
            window: 4,
            consume_delay: Span::ZERO,
            progress_period: Span::ZERO,
            restart_period: Span::ZERO,
            restart_revisions: 100,
            prev_kv: true,
            progress_notify: true,
        };
        change(&mut settings);
        let client = WatchClient::new(settings);
        let (recorder, chance) = (Recorder::new(), Box::new(Neutral));
        let mut story = Self { client, recorder, chance, out: Vec::new(), at: 0 };
        story.step(WatchClient::start);
        story
    }

    /// One step; what it asked for is returned.
    fn step(&mut self, step: impl FnOnce(&mut WatchClient, &mut Turn<'_>)) -> Vec<Action> {
        self.at += 1;
        let (chance, recorder) = (&mut *self.chance, &mut self.recorder);
        let mut turn = Turn { at: self.at, chance, recorder, out: &mut self.out };
        let before = turn.out.len();
        step(&mut self.client, &mut turn);
        self.out[before..].to_vec()
    }

    fn stream(&self) -> u64 {
        self.client.stream.expect("a stream is open")
    }

    fn hears(&mut self, watch: Option<i64>, revision: Revision, body: WatchBody) -> Vec<Action> {
        let header = Header { member: MemberId(1), revision, raft_term: 1 };
        let response = WatchResponse { watch: watch.map(WatchId), header, body };
        let stream = self.stream();
        self.step(|client, turn| client.on_response(stream, response, turn))
    }

    /// The stream breaks, and is opened again; the revisions that are asked for are returned.
    fn breaks(&mut self) -> Vec<Revision> {
        let stream = self.stream();
        self.step(|client, turn| client.on_disconnect(stream, turn));
        self.reopens()
    }

    fn reopens(&mut self) -> Vec<Revision> {
        let timer = self.client.timers.reopen;
        let actions = self.step(|client, turn| client.on_timer(timer, turn));
        let asked = actions.iter().filter_map(|action| match action {
            Action::Stream { request: WatchRequest::Create(create), .. } => Some(create.start_revision),
            _ => None,
        });
        asked.collect()
    }
}

fn events(revisions: &[Revision]) -> WatchBody {
    let event = |revision: &Revision| WatchEvent {
        kind: WatchEventKind::Put,
        kv: KeyValue {
            key: Bytes::from_static(b"key1"),
            create_revision: 1,
            mod_revision: *revision,
            version: 1,
            value: Bytes::new(),
            lease: 0,
        },
        prev_kv: None,
    };
    WatchBody::Events(revisions.iter().map(event).collect())
}

#[test]
fn a_watch_resumes_above_what_it_is_sure_of() {
    type Heard = (Option<i64>, Revision, WatchBody);
    let cancelled = WatchBody::Cancelled { compact_revision: 40, reason: "compacted" };
    let cases: Vec<(Vec<Heard>, Revision)> = vec![
        (vec![], 0),
        (vec![(Some(0), 7, WatchBody::Created)], 8),
        (vec![(Some(0), 7, WatchBody::Created), (Some(0), 9, events(&[8, 9]))], 10),
        (vec![(Some(0), 7, WatchBody::Created), (Some(0), 30, events(&[8]))], 9),
        (vec![(Some(0), 7, WatchBody::Created), (Some(0), 20, WatchBody::Progress)], 21),
        (vec![(Some(0), 7, WatchBody::Created), (None, 20, WatchBody::Progress)], 21),
        (vec![(None, 20, WatchBody::Progress)], 0),
        (vec![(Some(0), 7, WatchBody::Created), (None, 20, WatchBody::Progress), (Some(0), 12, events(&[11]))], 21),
        (vec![(Some(5), 7, WatchBody::Created)], 0),
    ];
    for (heard, from) in cases {
        let mut story = Story::new(|_| ());
        for (watch, revision, body) in heard.clone() {
            story.hears(watch, revision, body);
        }
        assert_eq!(story.breaks(), [from], "{heard:?}");
        let watches = &story.recorder.history().watches;
        assert_eq!((watches[1].resumes, watches[1].member), (Some(0), MemberId(2)));
    }

    let mut story = Story::new(|_| ());
    story.hears(Some(0), 7, WatchBody::Created);
    let actions = story.hears(Some(0), 50, cancelled);
    assert!(actions.iter().any(|action| matches!(action, Action::Close { .. })));
    assert_eq!(story.reopens(), [41]);
    assert_eq!(story.recorder.history().watches[0].responses.len(), 2);
}

#[test]
fn when_one_watch_of_a_stream_ends_all_are_resumed() {
    let mut story = Story::new(|settings| settings.watches = 2);
    story.hears(Some(0), 7, WatchBody::Created);
    story.hears(Some(1), 9, WatchBody::Created);
    story.hears(Some(0), 50, WatchBody::Cancelled { compact_revision: 40, reason: "compacted" });
    assert_eq!(story.reopens(), [41, 10]);
    assert_eq!(story.client.delivered(), 9);
}

#[test]
fn a_slow_client_grants_later_and_all_at_once() {
    let mut story = Story::new(|settings| settings.consume_delay = Span::millis(10));
    let first = story.hears(Some(0), 7, WatchBody::Created);
    assert!(matches!(first[..], [Action::SetTimer { .. }]), "{first:?}");
    assert_eq!(story.hears(Some(0), 8, events(&[8])), []);
    let (timer, stream_no) = (story.client.timers.grant, story.stream());
    let granted = story.step(|client, turn| client.on_timer(timer, turn));
    assert_eq!(granted, [Action::Grant { stream_no, responses: 2 }]);

    let mut story = Story::new(|_| ());
    let stream_no = story.stream();
    assert_eq!(story.hears(Some(0), 7, WatchBody::Created), [Action::Grant { stream_no, responses: 1 }]);
}

#[test]
fn progress_is_asked_for_and_told_to_every_watch() {
    let mut story = Story::new(|settings| {
        settings.watches = 2;
        settings.progress_period = Span::millis(100);
    });
    story.hears(Some(0), 7, WatchBody::Created);
    story.hears(Some(1), 7, WatchBody::Created);
    let timer = story.client.timers.progress;
    let asked = story.step(|client, turn| client.on_timer(timer, turn));
    assert!(matches!(asked[0], Action::Stream { request: WatchRequest::Progress, .. }));
    story.hears(None, 12, WatchBody::Progress);
    for watch in &story.recorder.history().watches {
        assert_eq!((watch.progress_requests.len(), watch.responses.len()), (1, 2));
    }
    assert_eq!(story.client.delivered(), 12);
}

#[test]
fn a_fresh_start_resumes_nothing_and_may_lie_in_the_past_or_future() {
    let (mut past, mut future) = (0, 0);
    for seed in 0..50 {
        let mut story = Story::new(|settings| settings.restart_period = Span::millis(100));
        story.chance = Box::new(Dice(seed));
        story.hears(Some(0), 1_000, WatchBody::Created);
        let timer = story.client.timers.restart;
        story.step(|client, turn| client.on_timer(timer, turn));
        let from = story.reopens()[0];
        assert_eq!(story.recorder.history().watches[1].resumes, None);
        assert!(from == 0 || (900..=1_100).contains(&from), "{from}");
        past += u32::from(from < 1_000);
        future += u32::from(from > 1_000);
    }
    assert!(past > 10 && future > 10);
}

#[test]
fn only_what_was_whole_to_the_end_is_complete() {
    let mut story = Story::new(|_| ());
    story.hears(Some(0), 7, WatchBody::Created);
    story.breaks();
    story.step(WatchClient::finish);
    let complete: Vec<_> = story.recorder.history().watches.iter().map(|watch| watch.complete).collect();
    assert_eq!(complete, [false, true]);
}

#[test]
fn with_the_bug_a_watch_resumes_at_what_it_was_told_last() {
    let mut story = Story::new(|settings| settings.bugs = Bugs::NONE.with(Bug::ClientResumeRev));
    story.hears(Some(0), 7, WatchBody::Created);
    story.hears(Some(0), 9, events(&[8, 9]));
    assert_eq!(story.breaks(), [9]);
}

#[test]
fn a_user_says_its_password_when_it_is_told_to_and_gives_up_what_it_may_not_watch() {
    use detcd_replica::api::{AuthRequest, AuthResponse, Request, ResponseBody};
    let mut story = Story::new(|settings| {
        settings.login = Some(Login::new("u", vec!["p".to_owned()]));
        settings.ranges = vec![KeyRange::prefix("a"), KeyRange::prefix("b")];
    });
    let refused = |error: Error| {
        let reason = match error {
            Error::UserEmpty => "rpc error: code = InvalidArgument desc = etcdserver: user name is empty",
            _ => "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
        };
        WatchBody::Cancelled { compact_revision: 0, reason }
    };
    story.hears(Some(0), 7, refused(Error::UserEmpty));
    let timer = story.client.timers.reopen;
    let actions = story.step(|client, turn| client.on_timer(timer, turn));
    let asked = actions.iter().find_map(|action| match action {
        Action::Send { request_no, request: Request::Auth(AuthRequest::Authenticate { .. }), .. } => Some(*request_no),
        _ => None,
    });
    let header = Header { member: MemberId(1), revision: 7, raft_term: 1 };
    let response = Response { header, body: ResponseBody::Auth(AuthResponse::Token("t.1".to_owned())) };
    let actions = story.step(|client, turn| client.on_reply(asked.expect("it says its password"), Ok(response), turn));
    let token = Credential::Token("t.1".to_owned());
    assert!(actions.iter().any(|action| matches!(action, Action::Open { credential, .. } if *credential == token)));
    assert_eq!(story.recorder.history().watches[1].user, "u");
    // What it may not watch it does not resume.
    story.hears(Some(0), 7, WatchBody::Created);
    story.hears(Some(0), 8, refused(Error::PermissionDenied));
    assert_eq!(story.reopens(), [0]);
    assert_eq!(story.recorder.history().watches[2].resumes, None);
}
