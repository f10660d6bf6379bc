//! The two who are asked the same: a real etcd, and a member of ours that is alone.
//!
//! Both are given the same bytes, and what they answer is decoded by one table and brought to one form.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use detcd_replica::api::{Credential, Request};
use detcd_replica::wire::rpc::{self, Method, Refusal, Watching};
use detcd_replica::{MemberId, StreamId};
use serde_json::{json, Map, Value};

use super::answer::{self, Ids};
use super::generate::{Asked, Step, Who};
use super::server::{Server, Stream};
use super::{known, MEMBER, PEER};
use crate::engine::{self, Alone};
use crate::etcdpb::{decode, encode, messages};
use crate::panics::{caught, Panic};

/// How long the messages of a stream may take that the other side has already.
const HEARD_MAX: Duration = Duration::from_secs(5);
/// How long a stream is listened to when nothing more is expected, at the end: longer than etcd's loop that brings
/// history waits.
const QUIET: Duration = Duration::from_millis(250);
/// How long the compaction of a small store may go on, and be seen to: before 3.5.12 what is deleted was still read
/// until the next commit of the backend, 100 ms later (etcd#17158).
const COMPACTING: Duration = Duration::from_millis(200);
/// As long as [`QUIET`], in nanoseconds of our member's time.
const HISTORY: u64 = 250_000_000;
/// A limit of fragments that no answer of a run comes to; etcd's is 1.5 MiB.
const FRAGMENT: usize = 3 << 19;
/// The cluster of our member, which no comparison sees.
const CLUSTER: u64 = 1;

/// Both answers to a step, in one form.
pub(super) struct Answers {
    pub(super) ours: Value,
    pub(super) theirs: Value,
}

/// The two who are asked.
pub(super) struct Pair {
    alone: Alone,
    pub(super) server: Server,
    /// By user, the token that each of the two has given.
    tokens: BTreeMap<String, (String, String)>,
    /// Whether both want tokens now.
    pub(super) enabled: bool,
    ids: Ids,
    /// Members that were asked for.
    added: u64,
    streams: BTreeMap<u8, Watches>,
}

/// A stream of watches, at each of the two.
struct Watches {
    ours: StreamId,
    watching: Watching,
    /// What our side answers without the member.
    early: Vec<Bytes>,
    theirs: Stream,
}

/// What came on a stream: by watch, everything that it was told.
type Heard = BTreeMap<String, Vec<Value>>;

impl Pair {
    /// Starts both.
    ///
    /// # Errors
    /// The real one does not start.
    pub(super) fn start(etcd: &Path, number: u64) -> Result<Self, String> {
        let server = Server::start(etcd, number)?;
        let alone = engine::alone(MEMBER, PEER, server.release, known::switches(server.release))?;
        let (ids, streams) = (Ids::from([(MEMBER.0, server.member)]), BTreeMap::new());
        Ok(Self { alone, server, tokens: BTreeMap::new(), enabled: false, ids, added: 0, streams })
    }

    /// Asks both, and listens to all streams that are open.
    ///
    /// # Errors
    /// The real one cannot be reached, or our member has ended by itself.
    pub(super) fn ask(&mut self, step: &Step) -> Result<Answers, String> {
        let tokens = match &step.who {
            Who::Nobody => None,
            Who::User(name) => self.tokens.get(*name).cloned(),
            Who::Stranger => Some(("stranger.1".to_owned(), "stranger.1".to_owned())),
        };
        let mut answers = match &step.asked {
            Asked::Call { method, body, .. } => self.call(*method, body, tokens.as_ref())?,
            Asked::Watch { stream, body } => {
                self.watch(*stream, body, tokens.as_ref())?;
                Answers { ours: json!({}), theirs: json!({}) }
            }
            Asked::Close { stream } => {
                if let Some(watches) = self.streams.remove(stream) {
                    self.alone.close(watches.ours);
                }
                Answers { ours: json!({}), theirs: json!({}) }
            }
        };
        let over = |answer: &Value| answer.get("ended").is_some() || answer.get("panic").is_some();
        if !over(&answers.ours) && !over(&answers.theirs) && !self.streams.is_empty() {
            // History comes by and by, and also where it is empty it is asked for by then.
            let (nanos, quiet) = match &step.asked {
                Asked::Watch { body, .. } if body["create_request"].get("start_revision").is_some() => (HISTORY, QUIET),
                _ => (0, Duration::ZERO),
            };
            self.listen(nanos, quiet, &mut answers)?;
        }
        Ok(answers)
    }

    /// What comes on the streams when nothing more should.
    ///
    /// # Errors
    /// Our member has ended by itself.
    pub(super) fn rest(&mut self) -> Result<Answers, String> {
        let mut answers = Answers { ours: json!({}), theirs: json!({}) };
        if !self.streams.is_empty() {
            self.listen(HISTORY, QUIET, &mut answers)?;
        }
        Ok(answers)
    }

    fn call(&mut self, method: Method, body: &Value, tokens: Option<&(String, String)>) -> Result<Answers, String> {
        let (takes, gives) = messages(method);
        let read = |answer: &Result<Bytes, Refusal>| match answer {
            Ok(bytes) => decode(gives, bytes).unwrap_or_else(|error| json!({ "undecoded": error })),
            Err(refusal) => answer::refused(refusal),
        };
        let added = MemberId(MEMBER.0 + 1 + self.added);
        let request = rpc::request(method, encode(takes, body).into(), &|_| added);
        let answered = match request {
            Ok(request) => self.ours(method, request, tokens),
            Err(refusal) => Ok(Ok(Err(refusal))),
        };
        let answered = match answered? {
            Ok(answered) => answered,
            Err(panic) => return Ok(Answers { ours: panicked(&panic), theirs: json!({}) }),
        };
        let mut ours = read(&answered);
        let compacts = method == Method::Compact && body.get("physical").is_none();
        let token = tokens.map(|(_, theirs)| &theirs[..]);
        let called = self.server.call(method, token, &answer::to_theirs(method, &self.ids, body));
        let mut theirs = match called {
            Ok(answer) => read(&answer),
            // It does not answer: because it has ended, which is an answer, too.
            Err(error) => match self.server.ended() {
                Some(word) => return Ok(Answers { ours, theirs: json!({ "ended": word }) }),
                None => return Err(error),
            },
        };
        if compacts {
            // It goes on behind the answer, and a hash would see how far it has come.
            self.alone.wait(COMPACTING.as_nanos() as u64)?;
            std::thread::sleep(COMPACTING);
        }
        self.learn(method, body, &ours, &theirs);
        answer::to_ours(method, &self.ids, &mut theirs);
        answer::common(method, &mut ours);
        answer::common(method, &mut theirs);
        Ok(Answers { ours, theirs })
    }

    /// Our member's answer: the bytes of the message, or a panic.
    fn ours(
        &mut self,
        method: Method,
        request: Request,
        tokens: Option<&(String, String)>,
    ) -> Result<Result<Result<Bytes, Refusal>, Panic>, String> {
        let credential = credential(tokens);
        let added = match &request {
            Request::MemberAdd { id, .. } => Some(*id),
            _ => None,
        };
        let answer = match caught(|| self.alone.ask(credential, request)) {
            Ok(answer) => answer?,
            Err(panic) => return Ok(Err(panic)),
        };
        Ok(Ok(match answer {
            Ok(response) if method == Method::Status => Ok(rpc::status(CLUSTER, &response, &self.alone.condition())),
            Ok(response) => Ok(rpc::response(method, CLUSTER, &response, added)),
            Err(error) => Err(error.into()),
        }))
    }

    /// What later steps need of an answer: tokens, whether they are wanted, who is who.
    fn learn(&mut self, method: Method, body: &Value, ours: &Value, theirs: &Value) {
        if ours.get("error").is_some() {
            return;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match method {
            Method::AuthEnable => self.enabled = true,
            Method::AuthDisable => self.enabled = false,
            Method::Authenticate => {
                self.tokens.insert(text(&body["name"]), (text(&ours["token"]), text(&theirs["token"])));
            }
            Method::MemberAdd => {
                let id = |answer: &Value| answer["member"]["ID"].as_str().and_then(|id| id.parse().ok());
                if let (Some(ours), Some(theirs)) = (id(ours), id(theirs)) {
                    self.ids.insert(ours, theirs);
                }
                self.added += 1;
            }
            _ => {}
        }
    }

    /// Says something on a stream, which is opened if it is not.
    fn watch(&mut self, stream: u8, body: &Value, tokens: Option<&(String, String)>) -> Result<(), String> {
        if !self.streams.contains_key(&stream) {
            let theirs = self.server.watch(tokens.map(|(_, theirs)| &theirs[..]))?;
            let ours = self.alone.open(credential(tokens));
            self.streams.insert(stream, Watches { ours, watching: Watching::default(), early: Vec::new(), theirs });
        }
        let Some(watches) = self.streams.get_mut(&stream) else { return Ok(()) };
        self.server.say(&watches.theirs, body);
        let bytes = encode("WatchRequest", body).into();
        match rpc::watch_request(&mut watches.watching, CLUSTER, self.alone.header(), bytes) {
            Ok(Ok(request)) => self.alone.say(watches.ours, request),
            Ok(Err(answer)) => watches.early.extend(answer),
            Err(refusal) => return Err(format!("a request of ours is refused: {refusal:?}")),
        }
        Ok(())
    }

    /// Puts what came on the streams into the answers: so many as have come from our member, and whatever else comes
    /// from the real one within `quiet`.
    fn listen(&mut self, nanos: u64, quiet: Duration, answers: &mut Answers) -> Result<(), String> {
        let responses = match caught(|| self.alone.listen(nanos)) {
            Ok(responses) => responses?,
            Err(panic) => {
                answers.ours = panicked(&panic);
                return Ok(());
            }
        };
        let (mut all_ours, mut all_theirs) = (Map::new(), Map::new());
        let mut over = Vec::new();
        for (number, watches) in &mut self.streams {
            let (mut ours, mut theirs) = (Heard::new(), Heard::new());
            let mut expected = 0;
            for bytes in std::mem::take(&mut watches.early) {
                expected += hear(&Ok(bytes), &mut ours);
            }
            for (_, response) in responses.iter().filter(|(stream, _)| *stream == watches.ours) {
                for bytes in rpc::watch_responses(&mut watches.watching, CLUSTER, response, FRAGMENT) {
                    expected += hear(&Ok(bytes), &mut ours);
                }
            }
            let mut seen = 0;
            loop {
                let patience = if seen < expected { HEARD_MAX } else { quiet };
                let Some(message) = self.server.hear(&mut watches.theirs, patience) else { break };
                seen += hear(&message, &mut theirs);
                if message.is_err() {
                    over.push(*number);
                    break;
                }
            }
            let named =
                |heard: Heard| heard.into_iter().map(move |(watch, items)| (format!("{number}/{watch}"), items.into()));
            all_ours.extend(named(ours));
            all_theirs.extend(named(theirs));
        }
        for number in over {
            if let Some(watches) = self.streams.remove(&number) {
                self.alone.close(watches.ours);
            }
        }
        for (answer, all) in [(&mut answers.ours, all_ours), (&mut answers.theirs, all_theirs)] {
            if !all.is_empty() {
                answer["watched"] = Value::Object(all);
            }
        }
        Ok(())
    }
}

fn credential(tokens: Option<&(String, String)>) -> Credential {
    tokens.map_or(Credential::None, |(ours, _)| Credential::Token(ours.clone()))
}

/// Takes a message of a stream apart: how many things it says. Events come in as many messages as the server likes;
/// the revision of the moment is told with a creation and with progress only.
fn hear(message: &Result<Bytes, Refusal>, heard: &mut Heard) -> usize {
    let (watch, items) = match message {
        Ok(bytes) => match decode("WatchResponse", bytes) {
            Ok(message) => (message["watch_id"].as_str().unwrap_or("0").to_owned(), items(&message)),
            Err(error) => ("undecoded".to_owned(), vec![error.into()]),
        },
        Err(refusal) => ("stream".to_owned(), vec![answer::refused(refusal)]),
    };
    let count = items.len();
    heard.entry(watch).or_default().extend(items);
    count
}

fn items(message: &Value) -> Vec<Value> {
    let set = |name: &str| message.get(name).is_some();
    let revision = &message["header"]["revision"];
    if set("created") || set("canceled") {
        let mut item = Map::new();
        for name in ["created", "canceled", "compact_revision", "cancel_reason"] {
            item.extend(message.get(name).map(|value| (name.to_owned(), value.clone())));
        }
        if !set("canceled") {
            item.insert("revision".to_owned(), revision.clone());
        }
        return vec![item.into()];
    }
    match message.get("events").and_then(Value::as_array) {
        Some(events) => events.clone(),
        None => vec![json!({ "progress": revision })],
    }
}

fn panicked(panic: &Panic) -> Value {
    json!({ "panic": panic.message, "at": panic.place })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_apart_from_what_is_around_them() {
        let event = |key: &str| json!({ "kv": { "key": key } });
        assert_eq!(items(&json!({ "header": { "revision": "9" }, "events": [event("a"), event("b")] })).len(), 2);
        let created = json!({ "header": { "revision": "9" }, "created": true });
        assert_eq!(items(&created), [json!({ "created": true, "revision": "9" })]);
        let cancelled = json!({ "header": { "revision": "9" }, "canceled": true, "compact_revision": "4" });
        assert_eq!(items(&cancelled), [json!({ "canceled": true, "compact_revision": "4" })]);
        assert_eq!(items(&json!({ "header": { "revision": "9" } })), [json!({ "progress": "9" })]);
    }
}
