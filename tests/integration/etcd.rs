//! The real etcd, for comparison: its binaries if they are there, a server on a data dir, and its JSON API.
//!
//! Belongs here: whatever drives the real thing. The binaries are those of `DETCD_ETCD_DIR`, or else of `PATH`.

use std::fs::File;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::{json, Value};

use super::http::read_answer;

/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_secs(30);
/// The ports of servers: below those that Linux, macOS and Windows hand out by themselves.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Where the real binaries are.
pub(crate) struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Finds them. Without them the test called `test` is skipped, and says so.
    pub(crate) fn find(test: &str) -> Option<Self> {
        let folders: Vec<PathBuf> = match std::env::var_os("DETCD_ETCD_DIR") {
            Some(folder) => vec![folder.into()],
            None => std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect(),
        };
        let whole = |folder: &PathBuf| ["etcd", "etcdctl", "etcdutl"].iter().all(|name| folder.join(name).is_file());
        let found = folders.into_iter().find(whole);
        if found.is_none() {
            println!("skipped {test}: no etcd, etcdctl and etcdutl in DETCD_ETCD_DIR or PATH");
        }
        found.map(|folder| Self { folder })
    }

    /// The server.
    pub(crate) fn etcd(&self) -> PathBuf {
        self.folder.join("etcd")
    }

    /// The client.
    pub(crate) fn etcdctl_path(&self) -> PathBuf {
        self.folder.join("etcdctl")
    }

    /// `etcdutl snapshot status`, or what it says instead.
    pub(crate) fn snapshot_status(&self, db: &Path) -> Result<Value, String> {
        let mut command = Command::new(self.folder.join("etcdutl"));
        let output = command.args(["snapshot", "status", "-w", "json"]).arg(db).output().expect("etcdutl runs");
        let text = String::from_utf8_lossy(&output.stdout);
        match serde_json::from_str(&text) {
            Ok(status) if output.status.success() => Ok(status),
            _ => Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr))),
        }
    }

    /// `etcdctl snapshot save` into a file.
    pub(crate) fn snapshot_save(&self, server: &Etcd, to: &Path) -> Result<(), String> {
        self.etcdctl(server, &["snapshot", "save", to.to_str().expect("UTF-8")]).map(|_| ())
    }

    /// HashKV at a revision: hash and compact revision. The JSON API of 3.5 does not have it.
    pub(crate) fn hash_kv(&self, server: &Etcd, revision: i64) -> Result<(u64, i64), String> {
        let text = self.etcdctl(server, &["endpoint", "hashkv", "--rev", &revision.to_string(), "-w", "json"])?;
        let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{text}: {error}"))?;
        let hash = &answer[0]["HashKV"];
        Ok((hash["hash"].as_u64().unwrap_or(0), number(&hash["compact_revision"])))
    }

    fn etcdctl(&self, server: &Etcd, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(self.folder.join("etcdctl"));
        command.args(["--endpoints", &format!("127.0.0.1:{}", server.client.port)]);
        if let Some(user) = &server.user {
            command.args(["--user", user]);
        }
        let output = command.args(args).output().expect("etcdctl runs");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// `etcdutl snapshot restore` into a data dir.
    pub(crate) fn snapshot_restore(&self, db: &Path, to: &Path) -> Result<(), String> {
        let mut command = Command::new(self.folder.join("etcdutl"));
        let output = command.args(["snapshot", "restore", "--data-dir"]).arg(to).arg(db).output();
        let output = output.expect("etcdutl runs");
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

/// A server that runs. It is killed when it goes.
pub(crate) struct Etcd {
    child: Child,
    client: Client,
    /// `name:password`, once authenticated.
    user: Option<String>,
}

impl std::ops::Deref for Etcd {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Somebody who asks a server over its JSON API.
#[derive(Clone)]
pub(crate) struct Client {
    port: u16,
    token: Option<String>,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Etcd {
    /// Starts a server on a data dir, and waits until it answers. Whoever takes one of its ports before it does is made
    /// way for: it opens them before it touches its data.
    ///
    /// # Errors
    /// It has ended: the last lines of its log.
    pub(crate) fn start(binaries: &Binaries, data: &Path, flags: &[&str]) -> Result<Self, String> {
        loop {
            match Self::start_on(binaries, data, flags, (free_port(), free_port())) {
                Err(reason) if reason.contains("address already in use") => {}
                outcome => return outcome,
            }
        }
    }

    fn start_on(binaries: &Binaries, data: &Path, flags: &[&str], ports: (u16, u16)) -> Result<Self, String> {
        let (port, peer) = ports;
        let (client_url, peer_url) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        let log = data.with_extension("log");
        let file = File::create(&log).expect("a log can be written");
        let child = Command::new(binaries.folder.join("etcd"))
            .arg("--data-dir")
            .arg(data)
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("default={peer_url}")])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a handle can be doubled"))
            .stderr(file)
            .spawn()
            .expect("etcd starts");
        let mut server = Self { child, client: Client { port, token: None }, user: None };
        let deadline = Instant::now() + START_MAX;
        loop {
            let ended = server.child.try_wait().expect("a child can be asked");
            let tail = || {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let lines: Vec<&str> = text.lines().filter(|line| !line.contains("\"level\":\"info\"")).collect();
                let (first, last) = lines.split_at(lines.len().saturating_sub(12));
                let panics = first.iter().filter(|line| line.starts_with("panic:"));
                panics.chain(last).copied().collect::<Vec<_>>().join("\n")
            };
            if let Some(status) = ended {
                return Err(format!("{status}\n{}", tail()));
            }
            // Before it has a leader it has nothing to say.
            let status = server.ask("/v3/maintenance/status", &json!({}));
            if status.is_ok_and(|status| status["leader"].as_str().is_some_and(|leader| leader != "0")) {
                return Ok(server);
            }
            if Instant::now() > deadline {
                return Err(format!("no answer in {START_MAX:?}\n{}", tail()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Authenticates all that is asked from now on.
    pub(crate) fn authenticate(&mut self, name: &str, password: &str) -> Result<(), String> {
        let answer = self.ask("/v3/auth/authenticate", &json!({ "name": name, "password": password }))?;
        self.client.token = answer["token"].as_str().map(str::to_owned);
        self.user = Some(format!("{name}:{password}"));
        Ok(())
    }

    /// One more who asks, with the same rights.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }
}

impl Client {
    /// Who asks what listens there, as nobody.
    pub(crate) fn at(port: u16) -> Self {
        Self { port, token: None }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Status and body of a call.
    ///
    /// # Panics
    /// The connection breaks.
    pub(crate) fn tell(&self, path: &str, body: &str) -> (u16, String) {
        self.post(path, body).unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }

    /// One call of the JSON API.
    ///
    /// # Errors
    /// The server's error, or that of the connection: the request may have been served or not.
    pub(crate) fn ask(&self, path: &str, body: &Value) -> Result<Value, String> {
        let (status, text) = self.post(path, &body.to_string()).map_err(|error| error.to_string())?;
        match serde_json::from_str(&text) {
            Ok(answer) if status == 200 => Ok(answer),
            _ => Err(format!("{path} {body}: {status} {text}")),
        }
    }

    fn post(&self, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let token = self.token.as_ref().map(|token| format!("Authorization: {token}\r\n")).unwrap_or_default();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: etcd\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{token}\
             Connection: close\r\n\r\n{body}",
            body.len()
        )?;
        read_answer(BufReader::new(stream))
    }
}

/// A port that no other test of this process gets, and that no system gives to whoever asks for any.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 97) as u16 * 100;
    loop {
        let port = PORTS.start + start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % (PORTS.end - PORTS.start);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A key with its value as both sides say it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair {
    /// Key and value, in base64.
    key: String,
    value: String,
    create_revision: i64,
    mod_revision: i64,
    version: i64,
    lease: i64,
}

/// The pairs of an answer: `kvs` of etcd's JSON, where numbers are text and zeros are left out, or of ours.
pub(crate) fn pairs(answer: &Value) -> Vec<Pair> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = answer["kvs"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter()
        .map(|pair| Pair {
            key: text(&pair["key"]),
            value: text(&pair["value"]),
            create_revision: number(&pair["create_revision"]),
            mod_revision: number(&pair["mod_revision"]),
            version: number(&pair["version"]),
            lease: number(&pair["lease"]),
        })
        .collect()
}

/// A number, in whichever of the two forms.
pub(crate) fn number(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

/// Every key at a revision; 0 is the newest.
pub(crate) fn everything(server: &Client, revision: i64) -> Result<Value, String> {
    server.ask("/v3/kv/range", &json!({ "key": "AA==", "range_end": "AA==", "revision": revision }))
}

/// A copy of a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700)).expect("its mode can be set");
    }
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a file can be copied");
        }
    }
}

/// SplitMix64: the choices of a test, by its seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
