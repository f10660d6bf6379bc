//! A real etcd with an empty data dir, asked over its JSON API: what gRPC says, without a gRPC library to build.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use detcd_replica::Release;
use serde_json::{json, Value};

use super::http::{read_answer, read_head};

/// How often a server is started before it is given up.
const STARTS: u32 = 3;
/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_secs(30);
/// How long it may take for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How long it may take for the events of a watch.
const EVENTS_MAX: Duration = Duration::from_secs(5);
/// How long a watch is listened to when nothing more is expected: longer than etcd's loop that brings history waits.
const QUIET: Duration = Duration::from_millis(150);
/// How long it may take to be gone.
const ENDING_MAX: Duration = Duration::from_secs(2);

/// A server that runs. It is killed when it goes, and its data with it.
pub(super) struct Server {
    child: Child,
    folder: PathBuf,
    address: String,
    /// The id of its member, as its JSON has it.
    pub(super) member: String,
    /// Its release.
    pub(super) release: Release,
}

/// An answer: the JSON, whatever its status.
pub(super) struct Answer {
    /// Whether it is one, and no error.
    pub(super) ok: bool,
    /// What it says.
    pub(super) body: Value,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, and what is left of it hurts nobody.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    /// Starts `binary` and waits until it leads. Another process may take one of its ports before it does; so it is
    /// tried again.
    ///
    /// # Errors
    /// It cannot be started, or has ended: the last line of its log.
    pub(super) fn start(binary: &Path, number: u64) -> Result<Self, String> {
        let mut last = Self::try_start(binary, number);
        for _ in 1..STARTS {
            if last.is_ok() {
                break;
            }
            last = Self::try_start(binary, number);
        }
        last
    }

    fn try_start(binary: &Path, number: u64) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("detcd-conform-{}-{number}", std::process::id()));
        let told = |error: io::Error| format!("{}: {error}", folder.display());
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(told)?;
        let log = File::create(folder.join("log")).map_err(told)?;
        let (client, peer) = (free_port().map_err(told)?, free_port().map_err(told)?);
        let (client, peer) = (format!("127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let child = Command::new(binary)
            .arg("--data-dir")
            .arg(folder.join("data"))
            .args(["--listen-client-urls", &format!("http://{client}")])
            .args(["--advertise-client-urls", &format!("http://{client}")])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .args(["--bcrypt-cost", "4", "--unsafe-no-fsync"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(told)?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let mut server = Self { child, folder, address: client, member: String::new(), release: Release::default() };
        let deadline = Instant::now() + START_MAX;
        loop {
            if let Some(status) = server.child.try_wait().map_err(|error| error.to_string())? {
                let log = std::fs::read_to_string(server.folder.join("log")).unwrap_or_default();
                return Err(format!("{} has ended ({status}): {}", binary.display(), log.lines().last().unwrap_or("")));
            }
            if let Ok(answer) = server.ask("/v3/maintenance/status", &json!({}), None) {
                let leads = answer.body["leader"].as_str().is_some_and(|leader| leader != "0");
                if let (true, Some(member)) = (answer.ok && leads, answer.body["header"]["member_id"].as_str()) {
                    server.member = member.to_owned();
                    server.release = release(answer.body["version"].as_str().unwrap_or_default())?;
                    return Ok(server);
                }
            }
            if Instant::now() > deadline {
                return Err(format!("{} gives no answer in {START_MAX:?}", binary.display()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// One call.
    ///
    /// # Errors
    /// The connection fails, or the answer is no JSON.
    pub(super) fn ask(&self, path: &str, body: &Value, token: Option<&str>) -> Result<Answer, String> {
        let (status, text) = self.post(path, &body.to_string(), token).map_err(|error| format!("{path}: {error}"))?;
        // Of a stream of answers the first is the one.
        let first = text.lines().next().unwrap_or_default();
        let body = serde_json::from_str(first).map_err(|error| format!("{path}: {status} {text}: {error}"))?;
        Ok(Answer { ok: status == 200, body })
    }

    /// Watches, and gives every message that comes until there are so many events, or the watch is cancelled. Where
    /// none are expected it only waits for a moment: what does not come cannot be waited for.
    ///
    /// # Errors
    /// The connection fails, or a message is no JSON.
    pub(super) fn watch(&self, create: &Value, token: Option<&str>, events: usize) -> Result<Vec<Value>, String> {
        let path = "/v3/watch";
        let told = |error: io::Error| format!("{path}: {error}");
        let stream = self.send(path, &json!({ "create_request": create }).to_string(), token).map_err(told)?;
        let patience = if events > 0 { EVENTS_MAX } else { QUIET };
        stream.set_read_timeout(Some(patience)).map_err(told)?;
        let mut from = BufReader::new(stream);
        read_head(&mut from).map_err(told)?;
        let (mut messages, mut seen) = (Vec::new(), 0);
        let mut line = String::new();
        loop {
            line.clear();
            // A chunk is its size, then a message, each on a line.
            match from.read_line(&mut line) {
                Ok(0) => return Ok(messages),
                Ok(_) if !line.starts_with('{') => continue,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Ok(messages);
                }
                Err(error) => return Err(told(error)),
            }
            let message: Value = serde_json::from_str(&line).map_err(|error| format!("{path}: {line}: {error}"))?;
            seen += message["result"]["events"].as_array().map_or(0, Vec::len);
            let ended = message["result"]["canceled"] == Value::Bool(true) || message.get("error").is_some();
            messages.push(message);
            if ended {
                return Ok(messages);
            }
            if seen >= events && events > 0 {
                // One too many would follow soon.
                from.get_ref().set_read_timeout(Some(QUIET)).map_err(told)?;
            }
        }
    }

    /// What it has ended with, if it has: the last word of its log.
    pub(super) fn ended(&mut self) -> Option<String> {
        // A server that has closed its connections takes a moment to be gone.
        let deadline = Instant::now() + ENDING_MAX;
        while Instant::now() < deadline {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                let is_word =
                    |line: &&str| ["\"fatal\"", "\"panic\"", "panic: "].iter().any(|word| line.contains(word));
                return Some(log.lines().find(is_word).or(log.lines().next_back()).unwrap_or_default().to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    fn post(&self, path: &str, body: &str, token: Option<&str>) -> io::Result<(u16, String)> {
        let stream = self.send(path, body, token)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        read_answer(BufReader::new(stream))
    }

    fn send(&self, path: &str, body: &str, token: Option<&str>) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address)?;
        let token = token.map(|token| format!("Authorization: {token}\r\n")).unwrap_or_default();
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: etcd\r\nContent-Type: application/json\r\n");
        write!(stream, "{head}Content-Length: {length}\r\n{token}Connection: close\r\n\r\n{body}")?;
        Ok(stream)
    }
}

/// Which release a version like `3.5.1` is of.
fn release(version: &str) -> Result<Release, String> {
    let line = version.rsplit_once('.').map_or(version, |(line, _)| line);
    Release::parse(line).ok_or_else(|| format!("etcd {version} is of no release that detcd knows"))
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
