//! A real etcd with an empty data dir, asked over gRPC.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use detcd_replica::wire::rpc::{Method, Refusal};
use detcd_replica::Release;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;

use super::PEER;
use crate::etcdpb::{decode, encode, messages};
use crate::grpc::Client;

/// How often a server is started before it is given up.
const STARTS: u32 = 3;
/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_secs(30);
/// How long it may take for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How long it may take to be gone.
const ENDING_MAX: Duration = Duration::from_secs(2);

/// A server that runs. It is killed when it goes, and then its data go.
pub(super) struct Server {
    child: Child,
    folder: Folder,
    runtime: Runtime,
    client: Option<Client>,
    /// The id of its member.
    pub(super) member: u64,
    /// Its release.
    pub(super) release: Release,
}

/// A stream that goes both ways.
pub(super) struct Stream {
    to: mpsc::UnboundedSender<Bytes>,
    from: mpsc::UnboundedReceiver<Result<Bytes, Status>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a server has its data, as long as this is there.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it hurts nobody.
        let _ = std::fs::remove_dir_all(&self.0);
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
        let folder = Folder(folder.clone());
        let log = File::create(folder.0.join("log")).map_err(told)?;
        let (client, peer) = (free_port().map_err(told)?, free_port().map_err(told)?);
        let (client, peer) = (format!("127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        // Nobody else is there to reach it, so that it may be known by the name that ours has.
        let child = Command::new(binary)
            .arg("--data-dir")
            .arg(folder.0.join("data"))
            .args(["--listen-client-urls", &format!("http://{client}")])
            .args(["--advertise-client-urls", &format!("http://{client}")])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", PEER])
            .args(["--initial-cluster", &format!("default={PEER}")])
            .args(["--bcrypt-cost", "4", "--unsafe-no-fsync"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(told)?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        // Everything happens while something is waited for, in one thread.
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let mut server = Self { child, folder, runtime, client: None, member: 0, release: Release::default() };
        let deadline = Instant::now() + START_MAX;
        loop {
            if let Some(status) = server.child.try_wait().map_err(|error| error.to_string())? {
                let log = std::fs::read_to_string(server.folder.0.join("log")).unwrap_or_default();
                return Err(format!("{} has ended ({status}): {}", binary.display(), log.lines().last().unwrap_or("")));
            }
            if server.client.is_none() {
                server.client = server.runtime.block_on(Client::connect(&client)).ok();
            }
            if let Some(status) = server.status() {
                let leads = status.get("leader").is_some();
                if let (true, Some(member)) = (leads, status["header"]["member_id"].as_str()) {
                    server.member = member.parse().map_err(|_| format!("{status}: a member's id is a number"))?;
                    server.release = release(status["version"].as_str().unwrap_or_default())?;
                    return Ok(server);
                }
            }
            if Instant::now() > deadline {
                return Err(format!("{} gives no answer in {START_MAX:?}", binary.display()));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn status(&self) -> Option<Value> {
        let bytes = self.call(Method::Status, None, &Value::Object(serde_json::Map::new())).ok()?.ok()?;
        decode(messages(Method::Status).1, &bytes).ok()
    }

    /// One call: its answer, or its refusal.
    ///
    /// # Errors
    /// The connection fails.
    pub(super) fn call(
        &self,
        method: Method,
        token: Option<&str>,
        body: &Value,
    ) -> Result<Result<Bytes, Refusal>, String> {
        let client = self.client.as_ref().ok_or("nobody is connected")?;
        let (path, body) = (path(method), Bytes::from(encode(messages(method).0, body)));
        let called = async {
            if method != Method::LeaseKeepAlive {
                return client.unary(path, token, body).await;
            }
            let mut answers = client.streaming(path, token, tokio_stream::once(body)).await?;
            let answer = answers.message().await?;
            answer.ok_or_else(|| Status::unavailable("the stream has ended without an answer"))
        };
        let limited = async { tokio::time::timeout(ANSWER_MAX, called).await };
        match self.runtime.block_on(limited) {
            Err(_) => Err(format!("{path}: no answer in {ANSWER_MAX:?}")),
            Ok(Ok(answer)) => Ok(Ok(answer)),
            Ok(Err(status)) if is_broken(&status) => Err(format!("{path}: {status}")),
            Ok(Err(status)) => Ok(Err(refusal(&status))),
        }
    }

    /// Opens a stream of watches. Whether it is refused is told when it is listened to.
    ///
    /// # Errors
    /// Nobody is connected.
    pub(super) fn watch(&self, token: Option<&str>) -> Result<Stream, String> {
        let client = self.client.clone().ok_or("nobody is connected")?;
        let token = token.map(str::to_owned);
        let (to, asked) = mpsc::unbounded_channel();
        let (answer, from) = mpsc::unbounded_channel();
        self.runtime.spawn(async move {
            // The call ends for etcd when the last of its messages is sent; so it is kept open with its sender.
            let asked = UnboundedReceiverStream::new(asked);
            let mut answers = match client.streaming("/etcdserverpb.Watch/Watch", token.as_deref(), asked).await {
                Ok(answers) => answers,
                Err(status) => return drop(answer.send(Err(status))),
            };
            loop {
                let message = match answers.message().await {
                    Ok(Some(message)) => Ok(message),
                    Ok(None) => return,
                    Err(status) => Err(status),
                };
                if answer.send(message).is_err() {
                    return;
                }
            }
        });
        Ok(Stream { to, from })
    }

    /// Says something on a stream.
    pub(super) fn say(&self, stream: &Stream, request: &Value) {
        // One that has ended says so when it is listened to.
        let _ = stream.to.send(encode("WatchRequest", request).into());
    }

    /// The next message of a stream, if one comes within `patience`; `Err`: the stream has ended so.
    pub(super) fn hear(&self, stream: &mut Stream, patience: Duration) -> Option<Result<Bytes, Refusal>> {
        let heard = async { tokio::time::timeout(patience, stream.from.recv()).await };
        let message = self.runtime.block_on(heard).ok()??;
        Some(message.map_err(|status| refusal(&status)))
    }

    /// What it has ended with, if it has: the last word of its log.
    pub(super) fn ended(&mut self) -> Option<String> {
        // A server that has closed its connections takes a moment to be gone.
        let deadline = Instant::now() + ENDING_MAX;
        while Instant::now() < deadline {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                let log = std::fs::read_to_string(self.folder.0.join("log")).unwrap_or_default();
                let is_word =
                    |line: &&str| ["\"fatal\"", "\"panic\"", "panic: "].iter().any(|word| line.contains(word));
                return Some(log.lines().find(is_word).or(log.lines().next_back()).unwrap_or_default().to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

/// Whether the status is no answer of the server's, but the end of the connection.
fn is_broken(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

fn refusal(status: &Status) -> Refusal {
    Refusal { code: status.code().into(), message: status.message().to_owned() }
}

/// The path of a call, which lives as long as the process: there are no more than methods.
fn path(method: Method) -> &'static str {
    static PATHS: OnceLock<BTreeMap<Method, String>> = OnceLock::new();
    let all = || Method::ALL.into_iter().map(|method| (method, format!("/etcdserverpb.{}", method.name()))).collect();
    &PATHS.get_or_init(all)[&method]
}

/// Which release a version like `3.5.1` is of.
fn release(version: &str) -> Result<Release, String> {
    let line = version.rsplit_once('.').map_or(version, |(line, _)| line);
    Release::parse(line).ok_or_else(|| format!("etcd {version} is of no release that detcd knows"))
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
