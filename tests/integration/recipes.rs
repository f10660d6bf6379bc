//! Locks and elections, and the JSON gateway that both are asked by here: does a served member answer as the real etcd?
//!
//! Belongs here: what is compared between the two over JSON, call by call. Skipped by name where there is no etcd.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use super::etcd::{Binaries, Client, Dice, Etcd};
use super::serve::{found, until, Served};

/// Nothing may happen for so long before the next call is made.
const QUIET: Duration = Duration::from_millis(120);
/// How long one of them may take for what the other has done.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// The leases that calls bring; the last one was never granted.
const LEASES: [i64; 4] = [0x11, 0x22, 0x33, 0x99];

/// A real etcd and a served member, which are asked the same.
struct Both {
    _etcd: Etcd,
    _served: Vec<Served>,
    clients: [Client; 2],
    ports: [u16; 2],
}

impl Both {
    fn start(test: &str, folder: &std::path::Path) -> Option<Self> {
        let binaries = Binaries::find(test)?;
        let etcd = Etcd::start(&binaries, &folder.join("real"), &[]).expect("etcd starts");
        let served = found(folder, &["a"], false, &["--release", "3.5"]);
        until("health", || served[0].http("/health").is_some_and(|(status, _)| status == 200));
        let ports = [etcd.client().port(), served[0].client];
        Some(Self { clients: ports.map(Client::at), ports, _etcd: etcd, _served: served })
    }

    /// A call that is answered at once, by both; and alike. The answer of the first.
    #[track_caller]
    fn same(&self, path: &str, body: &Value) -> Value {
        let [real, ours] = [0, 1].map(|place| said(self.clients[place].tell(path, &body.to_string()), true));
        assert_eq!(ours, real, "{path} {body}: ours and the real one's");
        real.1
    }

    /// A call that may wait.
    fn begin(&self, path: &'static str, body: &Value) -> Pending {
        let body = body.to_string();
        let answers = [0, 1].map(|place| {
            let (client, body, (to, from)) = (self.clients[place].clone(), body.clone(), mpsc::channel());
            // Who does not wait for it any longer has gone.
            std::thread::spawn(move || drop(to.send(said(client.tell(path, &body), false))));
            from
        });
        Pending { what: format!("{path} {body}"), answers, said: [None, None] }
    }

    /// Every line of a stream, as it comes.
    fn listen(&self, path: &str, body: &Value) -> [Arc<Mutex<Vec<Value>>>; 2] {
        self.ports.map(|port| {
            let (lines, body) = (Arc::new(Mutex::new(Vec::new())), body.to_string());
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
            let length = body.len();
            write!(stream, "POST {path} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {length}\r\n\r\n{body}")
                .expect("sent");
            let heard = lines.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if let Ok(Value::Object(line)) = serde_json::from_str(&line) {
                        heard.lock().expect("nobody panics").push(bare(Value::Object(line), false));
                    }
                }
            });
            lines
        })
    }
}

/// A call on its way to both.
struct Pending {
    what: String,
    answers: [Receiver<(u16, Value)>; 2],
    said: [Option<(u16, Value)>; 2],
}

impl Pending {
    /// Who has answered.
    fn look(&mut self) -> [bool; 2] {
        for place in [0, 1] {
            self.said[place] = self.said[place].take().or_else(|| self.answers[place].try_recv().ok());
        }
        [0, 1].map(|place| self.said[place].is_some())
    }
}

/// What was said, without what is a server's own.
fn said((status, text): (u16, String), with_revision: bool) -> (u16, Value) {
    let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"));
    (status, bare(value, with_revision))
}

/// Without ids and terms; without the revision where it is that of whenever the answer was made.
fn bare(mut value: Value, with_revision: bool) -> Value {
    match &mut value {
        Value::Object(object) => {
            for own in ["cluster_id", "member_id", "raft_term"] {
                object.remove(own);
            }
            if !with_revision {
                if let Some(Value::Object(header)) = object.get_mut("header") {
                    header.remove("revision");
                }
            }
            object.values_mut().for_each(|inner| *inner = bare(inner.take(), with_revision));
        }
        Value::Array(values) => values.iter_mut().for_each(|inner| *inner = bare(inner.take(), with_revision)),
        _ => {}
    }
    value
}

fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let number = three.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            match place <= three.len() {
                true => out.push(DIGITS[(number >> (18 - 6 * place) & 63) as usize].into()),
                false => out.push('='),
            }
        }
    }
    out
}

/// One seed: a random sequence of calls.
struct Story<'a> {
    both: &'a Both,
    dice: Dice,
    seed: u64,
    pending: Vec<Pending>,
    heard: [Arc<Mutex<Vec<Value>>>; 2],
    /// Leaders that were named in answers.
    leaders: Vec<Value>,
}

impl Story<'_> {
    fn run(both: &Both, seed: u64) {
        let election = base64(&format!("post{seed}"));
        let heard = both.listen("/v3/election/observe", &json!({ "name": election }));
        let dice = Dice(seed);
        let mut story = Story { both, dice, seed, pending: Vec::new(), heard, leaders: Vec::new() };
        for lease in &LEASES[..3] {
            both.same("/v3/lease/grant", &json!({ "ID": lease.to_string(), "TTL": "1000" }));
        }
        story.settle();
        for _ in 0..30 {
            story.call();
            story.settle();
        }
        // Whoever still waits comes to its end.
        for lease in &LEASES[..3] {
            both.same("/v3/lease/revoke", &json!({ "ID": lease.to_string() }));
            story.settle();
        }
        assert!(story.pending.is_empty(), "seed {seed}: {} wait for ever", story.pending.len());
        let [real, ours] = story.heard.map(|lines| lines.lock().expect("nobody panics").clone());
        assert_eq!(ours, real, "seed {seed}: what observers heard of us and of the real one");
        println!("seed {seed}: {} leaders, {} lines heard", story.leaders.len(), real.len());
    }

    fn call(&mut self) {
        let lease = LEASES[[0, 0, 1, 1, 2, 2, 3][self.dice.below(7) as usize]];
        let (lock, post) = (format!("lock{}", self.seed), format!("post{}", self.seed));
        let value = base64(["one", "two", ""][self.dice.below(3) as usize]);
        match self.dice.below(10) {
            0..=1 => {
                let body = json!({ "name": base64(&lock), "lease": lease.to_string() });
                self.pending.push(self.both.begin("/v3/lock/lock", &body));
            }
            2 => {
                let key = base64(&format!("{lock}/{lease:x}"));
                self.both.same("/v3/lock/unlock", &json!({ "key": key }));
            }
            3..=4 => {
                let body = json!({ "name": base64(&post), "lease": lease.to_string(), "value": value });
                self.pending.push(self.both.begin("/v3/election/campaign", &body));
            }
            5 => {
                let body = json!({ "leader": self.leader(), "value": value });
                self.both.same("/v3/election/proclaim", &body);
            }
            6 => {
                self.both.same("/v3/election/resign", &json!({ "leader": self.leader() }));
            }
            7 => {
                self.both.same("/v3/election/leader", &json!({ "name": base64(&post) }));
            }
            8 => {
                self.both.same("/v3/lease/revoke", &json!({ "ID": lease.to_string() }));
                self.settle();
                self.both.same("/v3/lease/grant", &json!({ "ID": lease.to_string(), "TTL": "1000" }));
                if lease == LEASES[3] {
                    self.both.same("/v3/lease/revoke", &json!({ "ID": lease.to_string() }));
                }
            }
            _ => {
                let missing = ["/v3/election/proclaim", "/v3/election/resign", "/v3/lock/unlock"];
                self.both.same(missing[self.dice.below(3) as usize], &json!({}));
            }
        }
    }

    /// One that was named, or one that never was.
    fn leader(&mut self) -> Value {
        let count = self.leaders.len() as u64;
        match self.dice.below(count + 1) {
            place if place < count => self.leaders[place as usize].clone(),
            _ => json!({ "name": base64("post"), "key": base64("post/77"), "rev": "3", "lease": "17" }),
        }
    }

    /// Until both have answered the same calls, and said as much to observers, for a while.
    fn settle(&mut self) {
        let (begun, mut quiet_since) = (Instant::now(), Instant::now());
        let mut before = Vec::new();
        loop {
            let mut state: Vec<[bool; 2]> = self.pending.iter_mut().map(Pending::look).collect();
            let heard = [0, 1].map(|place| self.heard[place].lock().expect("nobody panics").len());
            let agree = state.iter().all(|[real, ours]| real == ours) && heard[0] == heard[1];
            state.extend((0..heard[0].max(heard[1])).map(|_| [true; 2]));
            if state != before || !agree {
                (before, quiet_since) = (state, Instant::now());
            }
            if quiet_since.elapsed() > QUIET {
                break;
            }
            let late = || self.pending.iter().map(|it| format!("{}: {:?}", it.what, it.said)).collect::<Vec<_>>();
            assert!(begun.elapsed() < WAIT_MAX, "seed {}: {:#?}, heard {heard:?}", self.seed, late());
            std::thread::sleep(Duration::from_millis(5));
        }
        let (ended, waiting) = std::mem::take(&mut self.pending).into_iter().partition(|it| it.said[0].is_some());
        self.pending = waiting;
        let ended: Vec<Pending> = ended;
        for Pending { what, said: [real, ours], .. } in ended {
            assert_eq!(ours, real, "seed {}: {what}: ours and the real one's", self.seed);
            if let Some((200, answer)) = real {
                self.leaders.extend(answer.get("leader").cloned());
            }
        }
    }
}

#[test]
fn locks_and_elections_are_answered_as_by_etcd() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(both) = Both::start("locks_and_elections_are_answered_as_by_etcd", folder.path()) else { return };
    for seed in 0..6 {
        Story::run(&both, seed);
    }
    without_a_lease(&both);
    who_goes_gives_up_its_turn(&both);
}

/// A lease of a minute is made for who brings none.
fn without_a_lease(both: &Both) {
    for (path, body) in [
        ("/v3/lock/lock", json!({ "name": base64("free") })),
        ("/v3/election/campaign", json!({ "name": base64("free-post") })),
    ] {
        let leases = || both.clients.clone().map(|client| client.ask("/v3/lease/leases", &json!({})).expect("leases"));
        let count = |leases: &Value| leases["leases"].as_array().map_or(0, Vec::len);
        let before = leases().map(|leases| count(&leases));
        for client in &both.clients {
            client.ask(path, &body).expect("it is free");
        }
        assert_eq!(leases().map(|leases| count(&leases)), before.map(|count| count + 1), "{path}");
    }
}

/// The connection ends while a call waits: its key goes, and does not keep others waiting.
fn who_goes_gives_up_its_turn(both: &Both) {
    both.same("/v3/lease/grant", &json!({ "ID": "17", "TTL": "1000" }));
    both.same("/v3/lease/grant", &json!({ "ID": "34", "TTL": "1000" }));
    for (path, name) in [("/v3/lock/lock", "gone"), ("/v3/election/campaign", "gone-post")] {
        both.same(path, &json!({ "name": base64(name), "lease": "17" }));
        let waiting = json!({ "name": base64(name), "lease": "34" }).to_string();
        let keys =
            json!({ "key": base64(&format!("{name}/")), "range_end": base64(&format!("{name}0")), "count_only": true });
        let count =
            || both.clients.clone().map(|client| client.ask("/v3/kv/range", &keys).expect("a count")["count"].clone());
        let streams = both.ports.map(|port| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
            let length = waiting.len();
            write!(stream, "POST {path} HTTP/1.1\r\nHost: etcd\r\nContent-Length: {length}\r\n\r\n{waiting}")
                .expect("sent");
            stream
        });
        until("both wait", || count() == ["2", "2"]);
        drop(streams);
        until("nobody waits", || count() == ["1", "1"]);
    }
}
