//! The same requests to a real etcd and to a member of ours: do they answer alike?
//!
//! Each seed is a sequence of requests to a fresh real etcd and to one simulated member that is alone, calls and
//! messages on several streams of watches among them. Each pair of answers is brought to one form and compared; at the
//! first difference the sequence is shrunk, by leaving out what is not needed for any difference at all. Knows nothing
//! of worlds and faults: what etcd says is the only judge here.

mod answer;
mod ask;
mod coverage;
mod generate;
mod known;
mod pair;
mod server;
mod users;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use detcd_replica::MemberId;
use serde_json::Value;

use crate::engine;
use crate::output::bytes::quoted;
use coverage::Coverage;
use generate::{Asked, Generator, Step, Who};
use pair::{Answers, Pair};

/// Our member.
const MEMBER: MemberId = MemberId(1);
/// Where both say that other members reach them, though nobody does.
const PEER: &str = "http://127.0.0.1:1";
/// How many shorter sequences are tried, each on servers of its own.
const SHRINKS: u32 = 250;
/// And how long that may take.
const SHRINKING_MAX: Duration = Duration::from_secs(120);
/// Bytes of a body that are shown.
const SHOWN: usize = 600;

/// What to compare, and how much.
#[derive(Clone)]
pub(crate) struct Options {
    /// The binary of the real etcd.
    pub(crate) etcd: PathBuf,
    /// Requests of each seed.
    pub(crate) requests: u64,
}

/// One answer that differs.
pub(crate) struct Difference {
    /// The requests that lead to it, as commands of grpcurl; the last one is answered differently.
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
}

/// Servers that this process has started: the number of each is its own.
static SERVERS: AtomicU64 = AtomicU64::new(0);

impl Conformance {
    pub(crate) fn new(options: Options) -> Self {
        Self { options, coverage: Coverage::default(), known: BTreeMap::new() }
    }

    /// What another one has exercised and met counts here too.
    pub(crate) fn merge(&mut self, other: Self) {
        self.coverage.merge(other.coverage);
        other.known.into_iter().for_each(|(reason, count)| *self.known.entry(reason).or_default() += count);
    }

    /// Compares one seed's sequence. Where a known difference has left the two in different states, or ended one of
    /// them, it goes on with two others.
    ///
    /// # Errors
    /// The real etcd cannot be started or reached, or our member ends by itself.
    pub(crate) fn seed(&mut self, seed: u64) -> Result<Outcome, String> {
        let mut done = 0;
        for part in 0.. {
            let Outcome { requests, difference } = self.part(seed, part, self.options.requests - done)?;
            done += requests;
            if difference.is_some() || done >= self.options.requests {
                return Ok(Outcome { requests: done, difference });
            }
        }
        unreachable!("each part has a request")
    }

    fn part(&mut self, seed: u64, part: u64, requests: u64) -> Result<Outcome, String> {
        let mut pair = self.pair()?;
        let release = pair.server.release;
        let mut generator = Generator::new(seed, part, release);
        let mut steps = Vec::new();
        for done in 0..requests {
            let step = generator.next();
            let mut answers = pair.ask(&step)?;
            loosen(&step, &mut answers);
            self.note(&step, &answers.ours);
            steps.push(step);
            let step = &steps[done as usize];
            if answers.ours != answers.theirs {
                let Some(reason) = known::reason(release, pair.enabled, &step.asked, &answers) else {
                    drop(pair);
                    let difference = self.shrink(steps, answers)?;
                    return Ok(Outcome { requests: done + 1, difference: Some(difference) });
                };
                *self.known.entry(reason).or_default() += 1;
                if known::parts(&step.asked, &answers) {
                    return Ok(Outcome { requests: done + 1, difference: None });
                }
            }
            generator.saw(answer::revision(&answers.ours));
            generator.auth_is(pair.enabled);
        }
        let answers = pair.rest()?;
        let difference = match answers.ours == answers.theirs {
            true => None,
            false => Some(Difference { script: script(&steps), ours: answers.ours, theirs: answers.theirs }),
        };
        Ok(Outcome { requests, difference })
    }

    fn note(&mut self, step: &Step, ours: &Value) {
        match &step.asked {
            Asked::Call { method, body, .. } => self.coverage.call(*method, body, ours),
            Asked::Watch { body, .. } => self.coverage.watch(body),
            Asked::Close { .. } => {}
        }
        self.coverage.heard(&ours["watched"]);
    }

    /// How much was exercised of how much, and what was not.
    pub(crate) fn coverage(&self) -> (usize, usize, Vec<String>) {
        self.coverage.report()
    }

    fn pair(&self) -> Result<Pair, String> {
        Pair::start(&self.options.etcd, SERVERS.fetch_add(1, Ordering::Relaxed))
    }

    /// Leaves out parts of the sequence, halves first, as long as what is left still ends in a difference.
    fn shrink(&mut self, mut steps: Vec<Step>, mut answers: Answers) -> Result<Difference, String> {
        let (mut tries, deadline) = (SHRINKS, Instant::now() + SHRINKING_MAX);
        let mut size = (steps.len() / 2).max(1);
        loop {
            let mut start = 0;
            while start + size < steps.len() && tries > 0 {
                tries = if Instant::now() < deadline { tries - 1 } else { 0 };
                let mut fewer = steps.clone();
                fewer.drain(start..start + size);
                match self.first_difference(&fewer)? {
                    Some((end, found)) => {
                        fewer.truncate(end + 1);
                        (steps, answers) = (fewer, found);
                    }
                    None => start += size,
                }
            }
            if size == 1 || tries == 0 {
                break;
            }
            size = (size / 2).max(1);
        }
        Ok(Difference { script: script(&steps), ours: answers.ours, theirs: answers.theirs })
    }

    fn first_difference(&mut self, steps: &[Step]) -> Result<Option<(usize, Answers)>, String> {
        let mut pair = self.pair()?;
        for (place, step) in steps.iter().enumerate() {
            let mut answers = pair.ask(step)?;
            loosen(step, &mut answers);
            if answers.ours == answers.theirs {
                continue;
            }
            if known::reason(pair.server.release, pair.enabled, &step.asked, &answers).is_none() {
                return Ok(Some((place, answers)));
            }
            if known::parts(&step.asked, &answers) {
                break;
            }
        }
        Ok(None)
    }
}

/// Takes out of both answers what a request leaves open.
fn loosen(step: &Step, answers: &mut Answers) {
    if let Asked::Call { request: Some(request), .. } = &step.asked {
        answer::loosen(request, &mut answers.ours);
        answer::loosen(request, &mut answers.theirs);
    }
}

/// The steps for people: who asks what, each with its message.
fn script(steps: &[Step]) -> Vec<String> {
    let line = |step: &Step| {
        let (path, body, words) = match &step.asked {
            Asked::Call { method, body, request } => {
                let words = request.as_ref().map_or(String::new(), |request| engine::in_words(request, SHOWN));
                (method.name().to_owned(), body.clone(), words)
            }
            Asked::Watch { stream, body } => (coverage::WATCH.to_owned(), body.clone(), format!("on stream {stream}")),
            Asked::Close { stream } => return format!("# stream {stream} is closed"),
        };
        let token = match &step.who {
            Who::Nobody => String::new(),
            Who::User(name) => format!(" -H \"token: $TOKEN_{name}\""),
            Who::Stranger => " -H 'token: stranger.1'".to_owned(),
        };
        let body = body.to_string();
        let body = if body.len() > SHOWN { quoted(body.as_bytes(), SHOWN) } else { format!("'{body}'") };
        format!("grpcurl -plaintext{token} -d {body} localhost:2379 etcdserverpb.{path}   # {words}")
    };
    steps.iter().map(line).collect()
}
