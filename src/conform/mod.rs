//! The same requests to a real etcd and to a member of ours: do they answer alike?
//!
//! Each seed is a sequence of requests to a fresh real etcd and to one simulated member that is alone. Each pair of
//! answers is brought to one form and compared; at the first difference the sequence is shrunk, by leaving out what is
//! not needed for any difference at all. Knows nothing of worlds and faults: what etcd says is the only judge here.

mod coverage;
mod generate;
mod http;
mod json;
mod known;
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use detcd_replica::api::{AuthRequest, AuthResponse, Credential, Request, ResponseBody, WatchCreate};
use detcd_replica::MemberId;
use serde_json::Value;

use crate::engine::{self, Alone};
use crate::output::bytes::quoted;
use crate::panics::{caught, Panic};
use coverage::Coverage;
use generate::{Asked, Generator, Step, Who};
use server::Server;

/// Our member.
const MEMBER: MemberId = MemberId(1);
/// How many shorter sequences are tried, each on servers of its own.
const SHRINKS: u32 = 250;
/// And how long that may take.
const SHRINKING_MAX: Duration = Duration::from_secs(120);
/// Bytes of a body that are shown.
const SHOWN: usize = 600;

/// What to compare, and how much.
pub(crate) struct Options {
    /// The binary of the real etcd.
    pub(crate) etcd: PathBuf,
    /// Requests of each seed.
    pub(crate) requests: u64,
}

/// One answer that differs.
pub(crate) struct Difference {
    /// The requests that lead to it, as commands of curl; the last one is answered differently.
    pub(crate) script: Vec<String>,
    /// Our answer, in the common form.
    pub(crate) ours: Value,
    /// That of the real etcd.
    pub(crate) theirs: Value,
}

/// One seed.
pub(crate) struct Outcome {
    /// Requests that were answered by both.
    pub(crate) requests: u64,
    /// The first difference, shrunk.
    pub(crate) difference: Option<Difference>,
}

/// Runs seeds, and remembers what was exercised.
pub(crate) struct Conformance {
    options: Options,
    coverage: Coverage,
    /// How often answers differed for each known reason.
    pub(crate) known: BTreeMap<&'static str, u64>,
    servers: u64,
}

impl Conformance {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, coverage: Coverage::default(), known: BTreeMap::new(), servers: 0 }
    }

    /// Compares one seed's sequence.
    ///
    /// # Errors
    /// The real etcd cannot be started or reached, or our member ends by itself.
    pub(crate) fn seed(&mut self, seed: u64) -> Result<Outcome, String> {
        let mut pair = self.pair()?;
        let release = pair.server.release;
        let mut generator = Generator::new(seed, release);
        let mut steps = Vec::new();
        for done in 0..self.options.requests {
            let step = generator.next();
            let (ours, theirs) = pair.ask(&step)?;
            self.coverage.note(&step.asked, &ours);
            steps.push(step);
            if ours != theirs {
                if let Some(reason) = known::reason(release, pair.enabled, &steps[done as usize].asked, &ours, &theirs)
                {
                    *self.known.entry(reason).or_default() += 1;
                    if known::parts(&steps[done as usize].asked, &ours, &theirs) {
                        return Ok(Outcome { requests: done + 1, difference: None });
                    }
                    continue;
                }
                drop(pair);
                let difference = self.shrink(steps, ours, theirs)?;
                return Ok(Outcome { requests: done + 1, difference: Some(difference) });
            }
            generator.saw(ours["header"]["revision"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0));
            generator.auth_is(pair.enabled);
        }
        Ok(Outcome { requests: self.options.requests, difference: None })
    }

    /// How much was exercised of how much, and what was not.
    pub(crate) fn coverage(&self) -> (usize, usize, Vec<String>) {
        self.coverage.report()
    }

    fn pair(&mut self) -> Result<Pair, String> {
        self.servers += 1;
        Pair::start(&self.options.etcd, self.servers)
    }

    /// Leaves out parts of the sequence, halves first, as long as what is left still ends in a difference.
    fn shrink(&mut self, mut steps: Vec<Step>, mut ours: Value, mut theirs: Value) -> Result<Difference, String> {
        let (mut tries, deadline) = (SHRINKS, Instant::now() + SHRINKING_MAX);
        let mut size = (steps.len() / 2).max(1);
        loop {
            let mut start = 0;
            while start + size < steps.len() && tries > 0 {
                tries = if Instant::now() < deadline { tries - 1 } else { 0 };
                let mut fewer = steps.clone();
                fewer.drain(start..start + size);
                match self.first_difference(&fewer)? {
                    Some((end, one, other)) => {
                        fewer.truncate(end + 1);
                        (steps, ours, theirs) = (fewer, one, other);
                    }
                    None => start += size,
                }
            }
            if size == 1 || tries == 0 {
                break;
            }
            size = (size / 2).max(1);
        }
        Ok(Difference { script: script(&steps), ours, theirs })
    }

    fn first_difference(&mut self, steps: &[Step]) -> Result<Option<(usize, Value, Value)>, String> {
        let mut pair = self.pair()?;
        for (place, step) in steps.iter().enumerate() {
            let (ours, theirs) = pair.ask(step)?;
            let parted = ours != theirs && known::parts(&step.asked, &ours, &theirs);
            if ours != theirs && known::reason(pair.server.release, pair.enabled, &step.asked, &ours, &theirs).is_none()
            {
                return Ok(Some((place, ours, theirs)));
            }
            if parted {
                break;
            }
        }
        Ok(None)
    }
}

/// The steps as commands that anyone can run against a server of theirs.
fn script(steps: &[Step]) -> Vec<String> {
    let line = |step: &Step| {
        let (path, body, words) = match &step.asked {
            Asked::Request(request) => {
                let (path, body) = json::request(request, "$MEMBER").unwrap_or(("", Value::Null));
                (path, body, engine::in_words(request, SHOWN))
            }
            Asked::Watch(create) => {
                let body = serde_json::json!({ "create_request": json::watch(create) });
                ("/v3/watch", body, format!("watch from revision {}", create.start_revision))
            }
        };
        let token = match &step.who {
            Who::Nobody => String::new(),
            Who::User(name) => format!(" -H \"Authorization: $TOKEN_{name}\""),
            Who::Stranger => " -H 'Authorization: stranger.1'".to_owned(),
        };
        let body = body.to_string();
        let body = if body.len() > SHOWN { quoted(body.as_bytes(), SHOWN) } else { format!("'{body}'") };
        format!("curl -s localhost:2379{path}{token} -d {body}   # {words}")
    };
    steps.iter().map(line).collect()
}

/// The two who are asked.
struct Pair {
    alone: Alone,
    server: Server,
    /// By user, the token that each of the two has given.
    tokens: BTreeMap<String, (String, String)>,
    enabled: bool,
}

impl Pair {
    fn start(etcd: &Path, number: u64) -> Result<Self, String> {
        let server = Server::start(etcd, number)?;
        let alone = engine::alone(MEMBER, server.release, known::switches(server.release))?;
        Ok(Self { alone, server, tokens: BTreeMap::new(), enabled: false })
    }

    /// Both answers, in the common form.
    fn ask(&mut self, step: &Step) -> Result<(Value, Value), String> {
        let tokens = match &step.who {
            Who::Nobody => None,
            Who::User(name) => self.tokens.get(*name).cloned(),
            Who::Stranger => Some(("stranger.1".to_owned(), "stranger.1".to_owned())),
        };
        let credential = tokens.as_ref().map_or(Credential::None, |(ours, _)| Credential::Token(ours.clone()));
        let token = tokens.as_ref().map(|(_, theirs)| theirs.as_str());
        match &step.asked {
            Asked::Request(request) => self.request(request, credential, token),
            Asked::Watch(create) => self.watch(create, credential, token),
        }
    }

    fn request(
        &mut self,
        request: &Request,
        credential: Credential,
        token: Option<&str>,
    ) -> Result<(Value, Value), String> {
        let Some((path, body)) = json::request(request, &self.server.member) else {
            return Err(format!("{request:?} has no place in the JSON API"));
        };
        let answer = match caught(|| self.alone.ask(credential, request.clone())) {
            Ok(answer) => answer?,
            Err(panic) => return Ok((panicked(&panic), Value::Null)),
        };
        let mut ours = json::ours(&answer);
        let real = match self.server.ask(path, &body, token) {
            Ok(real) => real,
            Err(error) => return self.ended(ours, error),
        };
        if let (Request::Auth(AuthRequest::Authenticate { name, .. }), Ok(response)) = (request, &answer) {
            let theirs = real.body["token"].as_str().unwrap_or_default().to_owned();
            if let ResponseBody::Auth(AuthResponse::Token(ours)) = &response.body {
                self.tokens.insert(name.clone(), (ours.clone(), theirs));
            }
        }
        match (request, &answer) {
            (Request::Auth(AuthRequest::Enable), Ok(_)) => self.enabled = true,
            (Request::Auth(AuthRequest::Disable), Ok(_)) => self.enabled = false,
            _ => {}
        }
        let mut theirs = json::theirs(real.ok, real.body, &self.server.member);
        json::loosen(request, &mut ours);
        json::loosen(request, &mut theirs);
        Ok((ours, theirs))
    }

    fn watch(
        &mut self,
        create: &WatchCreate,
        credential: Credential,
        token: Option<&str>,
    ) -> Result<(Value, Value), String> {
        let heard = match caught(|| self.alone.watch(credential, create.clone())) {
            Ok(heard) => heard?,
            Err(panic) => return Ok((panicked(&panic), Value::Null)),
        };
        let ours = json::ours_watched(&heard);
        let events = ours["events"].as_array().map_or(0, Vec::len);
        match self.server.watch(&json::watch(create), token, events) {
            Ok(messages) => Ok((ours, json::theirs_watched(messages))),
            Err(error) => self.ended(ours, error),
        }
    }

    /// The real etcd does not answer: because it has ended, which is an answer, too.
    fn ended(&mut self, ours: Value, error: String) -> Result<(Value, Value), String> {
        match self.server.ended() {
            Some(word) => Ok((ours, serde_json::json!({ "ended": word }))),
            None => Err(error),
        }
    }
}

fn panicked(panic: &Panic) -> Value {
    serde_json::json!({ "panic": panic.message, "at": panic.place })
}
