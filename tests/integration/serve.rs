//! `detcd serve` as etcd's users meet it: the real `etcdctl` against one member and against three.
//!
//! Belongs here: whatever needs a served member. What needs `etcdctl` is skipped by name where there is none; one of
//! 3.4 is tried too, where `DETCD_ETCDCTL_3_4` says where it is.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::cli::{refused_in, text};
use super::etcd::{free_port, Binaries, Dice};
use super::http::read_answer;

/// How long a member may take until it is healthy, and a command until it has an end.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A certificate for `localhost` and 127.0.0.1, made for these tests and good for nothing else.
pub(crate) const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/tls");

/// A member that is served. It is killed when it goes.
pub(crate) struct Served {
    child: Option<Child>,
    folder: PathBuf,
    flags: Vec<String>,
    name: String,
    pub(crate) client: u16,
    peer: u16,
    tls: bool,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Served {
    fn new(folder: &Path, name: &str, tls: bool) -> Self {
        let (client, peer) = (free_port(), free_port());
        Self { child: None, folder: folder.to_owned(), flags: Vec::new(), name: name.into(), client, peer, tls }
    }

    fn url(&self, port: u16) -> String {
        format!("{}://127.0.0.1:{port}", if self.tls { "https" } else { "http" })
    }

    /// `name=URL`, as in `--initial-cluster`.
    fn founder(&self) -> String {
        format!("{}={}", self.name, self.url(self.peer))
    }

    pub(crate) fn start(&mut self) {
        let (client, peer) = (self.url(self.client), self.url(self.peer));
        let log = File::options().create(true).append(true).open(self.folder.join(format!("{}.log", self.name)));
        let log = log.expect("a log can be written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_detcd"));
        command.current_dir(&self.folder).args(["serve", "--name", &self.name]);
        command.args(["--listen-client-urls", &client, "--listen-peer-urls", &peer]);
        command.args(["--initial-advertise-peer-urls", &peer]).args(&self.flags);
        if self.tls {
            let file = |name: &str| format!("{TLS}/{name}");
            for (cert, key, ca) in [
                ("--cert-file", "--key-file", "--trusted-ca-file"),
                ("--peer-cert-file", "--peer-key-file", "--peer-trusted-ca-file"),
            ] {
                command.args([cert, &file("member.pem"), key, &file("member.key"), ca, &file("ca.pem")]);
            }
            command.arg("--peer-client-cert-auth");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("the binary runs"));
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join(format!("{}.log", self.name))).unwrap_or_default()
    }

    /// What it answers over HTTP, when it does.
    pub(crate) fn http(&self, path: &str) -> Option<(u16, String)> {
        get(TcpStream::connect(("127.0.0.1", self.client)).ok()?, path)
    }
}

/// Status and body of what is answered there, when anything is.
pub(crate) fn get(mut stream: TcpStream, path: &str) -> Option<(u16, String)> {
    stream.set_read_timeout(Some(WAIT_MAX)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: detcd\r\nConnection: close\r\n\r\n").ok()?;
    read_answer(BufReader::new(stream)).ok()
}

/// Waits until it holds.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not in {WAIT_MAX:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `etcdctl`, asking some members.
pub(crate) struct Ctl {
    program: PathBuf,
    endpoints: String,
    flags: Vec<String>,
}

impl Ctl {
    pub(crate) fn new(program: &Path, members: &[&Served]) -> Self {
        let endpoints: Vec<String> = members.iter().map(|member| member.url(member.client)).collect();
        let mut flags = Vec::new();
        if members.iter().any(|member| member.tls) {
            flags.push(format!("--cacert={TLS}/ca.pem"));
        }
        Self { program: program.to_owned(), endpoints: endpoints.join(","), flags }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.endpoints]).args(&self.flags).args(args);
        command
    }

    /// What it prints.
    ///
    /// # Errors
    /// What it prints when it fails.
    pub(crate) fn try_run(&self, args: &[&str]) -> Result<String, String> {
        self.try_typed(args, "")
    }

    fn try_typed(&self, args: &[&str], typed: &str) -> Result<String, String> {
        let mut command = self.command(args);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("etcdctl runs");
        child.stdin.take().expect("it is piped").write_all(typed.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> String {
        self.try_run(args).unwrap_or_else(|error| panic!("{args:?}: {error}"))
    }

    /// A change of the membership: as in etcd, the members must have been connected for five seconds.
    fn run_when_healthy(&self, args: &[&str]) {
        until("the members are connected for long enough", || match self.try_run(args) {
            Ok(_) => true,
            Err(error) => {
                assert!(error.contains("unhealthy cluster"), "{args:?}: {error}");
                false
            }
        });
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> serde_json::Value {
        let printed = self.run(&[args, &["-w", "json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{args:?}: {error}: {printed}"))
    }

    #[track_caller]
    fn fails(&self, args: &[&str], part: &str) {
        let error = self.try_run(args).expect_err("it must be refused");
        assert!(error.contains(part), "{args:?}: {error}");
    }

    /// Goes on until it is dropped.
    fn running(&self, args: &[&str]) -> Running {
        let child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.expect("etcdctl runs");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Running { child, lines }
    }

    fn is_healthy(&self) -> bool {
        self.try_run(&["endpoint", "health"]).is_ok()
    }
}

/// An `etcdctl` that goes on.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// The next lines that it prints; it waits for them.
    fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..count {
            let mut line = String::new();
            self.lines.read_line(&mut line).expect("it prints text");
            lines.push(line.trim_end().to_owned());
        }
        lines
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every `etcdctl` there is, each with a folder of its own.
fn with_each_etcdctl(test: &str, run: impl Fn(&Path, &Path)) {
    let new = Binaries::find(test).map(|binaries| binaries.etcdctl_path());
    let old = std::env::var_os("DETCD_ETCDCTL_3_4").map(PathBuf::from);
    if old.is_none() {
        println!("skipped {test} with etcdctl 3.4: DETCD_ETCDCTL_3_4 does not say where it is");
    }
    for program in new.into_iter().chain(old) {
        let folder = tempfile::tempdir().expect("a folder");
        println!("{test}: {}", program.display());
        run(&program, folder.path());
    }
}

/// Members that found a cluster together, started.
pub(crate) fn found(folder: &Path, names: &[&str], tls: bool, flags: &[&str]) -> Vec<Served> {
    let mut members: Vec<Served> = names.iter().map(|name| Served::new(folder, name, tls)).collect();
    let founders: Vec<String> = members.iter().map(Served::founder).collect();
    for member in &mut members {
        member.flags = ["--initial-cluster", &founders.join(",")].iter().chain(flags).map(|&it| it.into()).collect();
        member.start();
    }
    members
}

#[test]
fn health_version_and_metrics_are_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let members = found(folder.path(), &["a"], false, &[]);
    let member = &members[0];
    until("health", || member.http("/health").is_some_and(|(status, _)| status == 200));
    let (_, version) = member.http("/version").expect("it answers");
    assert!(version.contains("\"etcdserver\":\"3.6."), "{version}");
    let (_, metrics) = member.http("/metrics").expect("it answers");
    for name in [
        "etcd_disk_wal_fsync_duration_seconds_count",
        "etcd_disk_backend_commit_duration_seconds_bucket{le=\"0.001\"}",
        "etcd_mvcc_db_total_size_in_bytes",
        "etcd_server_has_leader 1",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
    assert_eq!(member.http("/nowhere").expect("it answers").0, 404);
    // Another process does not get its data dir.
    let (client, peer) = (format!("http://127.0.0.1:{}", free_port()), format!("http://127.0.0.1:{}", free_port()));
    let again = ["serve", "--name", "a", "--listen-client-urls", &client, "--listen-peer-urls", &peer];
    refused_in(folder.path(), &again, &["a.etcd", "another process"]);
}

#[test]
fn wrong_flags_and_data_dirs_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |args: &[&str], parts: &[&str]| refused_in(folder.path(), &[&["serve"], args].concat(), parts);
    refused(&["--listen-client-urls", "localhost:1"], &["--listen-client-urls", "http://"]);
    refused(&["--election-timeout", "100"], &["--election-timeout", "500"]);
    refused(&["--initial-cluster", "a=http://127.0.0.1:1"], &["--initial-cluster", "\"default\""]);
    refused(&["--auth-token", "jwt,priv-key=nowhere"], &["--auth-token", "nowhere"]);
    refused(&["--cert-file", "nowhere"], &["--cert-file"]);
    refused(&["--quota-backend-bytes", "x"], &["--quota-backend-bytes"]);
    let wal = folder.path().join("broken/member/wal");
    std::fs::create_dir_all(&wal).expect("a folder");
    std::fs::create_dir_all(folder.path().join("broken/member/snap")).expect("a folder");
    std::fs::write(wal.join("0000000000000000-0000000000000000.wal"), b"nonsense").expect("a file");
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    refused(&["--data-dir", "broken", "--listen-client-urls", &url], &["broken"]);
    assert!(wal.join("0000000000000000-0000000000000000.wal").is_file());
}

#[test]
fn etcdctl_works_against_one_member() {
    with_each_etcdctl("etcdctl_works_against_one_member", |program, folder| {
        let members = found(folder, &["a"], false, &[]);
        let ctl = Ctl::new(program, &[&members[0]]);
        until("health", || ctl.is_healthy());
        keys(&ctl);
        leases(&ctl);
        locks_and_elections(&ctl);
        maintenance(&ctl, folder);
        each_write_is_synced(&ctl, &members[0]);
    });
}

#[test]
fn endpoints_are_urls_or_hosts_and_ports() {
    with_each_etcdctl("endpoints_are_urls_or_hosts_and_ports", |program, folder| {
        let members = found(folder, &["a", "b", "c"], false, &[]);
        let all = Ctl::new(program, &members.iter().collect::<Vec<_>>());
        until("health", || all.is_healthy());
        // A URL is the authority of these calls of etcdctl 3.4.
        for endpoints in [all.endpoints.clone(), all.endpoints.replace("http://", "")] {
            let ctl = Ctl { program: program.to_owned(), endpoints, flags: Vec::new() };
            for (what, member) in [("status", "Status"), ("hashkv", "HashKV")] {
                let answers = ctl.json(&["endpoint", what]);
                let answers = answers.as_array().expect("one a member");
                assert!(answers.len() == 3 && answers.iter().all(|answer| answer[member].is_object()), "{answers:?}");
            }
            assert_eq!(ctl.run(&["defrag"]).matches("Finished defragmenting").count(), 3);
        }
        move_leader(&all, program, &members);
    });
}

/// What `kill -9` does not show, as the page cache outlives it.
fn each_write_is_synced(ctl: &Ctl, member: &Served) {
    let syncs = || {
        let (_, metrics) = member.http("/metrics").expect("it answers");
        let line = metrics.lines().find_map(|line| line.strip_prefix("etcd_disk_wal_fsync_duration_seconds_count "));
        line.expect("it is counted").parse::<u64>().expect("a number")
    };
    let before = syncs();
    for _ in 0..10 {
        ctl.run(&["put", "synced", "x"]);
    }
    assert!(syncs() >= before + 10, "{before} syncs before, {} after ten puts", syncs());
}

fn keys(ctl: &Ctl) {
    let mut watch = ctl.running(&["watch", "w", "--prefix", "--rev", "1"]);
    assert_eq!(ctl.run(&["put", "w1", "one"]), "OK\n");
    assert_eq!(ctl.run(&["put", "w2", "two", "--prev-kv"]), "OK\n");
    assert_eq!(ctl.run(&["get", "w", "--prefix"]), "w1\none\nw2\ntwo\n");
    assert_eq!(ctl.run(&["get", "w", "--prefix", "--keys-only", "--limit", "1"]), "w1\n\n");
    assert_eq!(ctl.run(&["get", "w1", "--rev", "2", "--print-value-only"]), "one\n");
    assert_eq!(ctl.run(&["get", "w", "--prefix", "--order", "DESCEND", "--print-value-only"]), "two\none\n");
    let typed = "value(\"w1\") = \"one\"\nversion(\"w2\") > \"0\"\n\nput w1 three\nget w1\n\nget w2\n\n";
    let printed = ctl.try_typed(&["txn"], typed).expect("a transaction");
    assert_eq!(printed, "SUCCESS\n\nOK\n\nw1\nthree\n");
    assert_eq!(ctl.run(&["del", "w", "--prefix", "--prev-kv"]), "2\nw1\nthree\nw2\ntwo\n");
    let lines = watch.lines(15);
    let expect = "PUT w1 one PUT w2 two PUT w1 three DELETE w1  DELETE w2 ";
    assert_eq!(lines.join(" "), expect);
    ctl.fails(&["put", "", "x"], "key is not provided");
    ctl.fails(&["get", "w1", "--rev", "1000"], "future revision");
    assert!(ctl.run(&["compaction", "4"]).contains("compacted revision 4"));
    ctl.fails(&["get", "w1", "--rev", "2"], "has been compacted");
}

fn leases(ctl: &Ctl) {
    let granted = ctl.run(&["lease", "grant", "2"]);
    let id = granted.split(' ').nth(1).expect("its id").to_owned();
    ctl.run(&["put", "leased", "x", "--lease", &id]);
    let left = ctl.run(&["lease", "timetolive", &id, "--keys"]);
    assert!(left.contains("granted with TTL(2s)") && left.contains("attached keys([leased])"), "{left}");
    assert!(ctl.run(&["lease", "list"]).contains(&id));
    assert!(ctl.run(&["lease", "keep-alive", "--once", &id]).contains("keepalived with TTL(2)"));
    until("the end of the lease", || ctl.run(&["get", "leased"]).is_empty());
    let granted = ctl.run(&["lease", "grant", "1000"]);
    let id = granted.split(' ').nth(1).expect("its id").to_owned();
    ctl.run(&["put", "leased", "x", "--lease", &id]);
    assert!(ctl.run(&["lease", "revoke", &id]).contains("revoked"));
    assert_eq!(ctl.run(&["get", "leased"]), "");
}

fn locks_and_elections(ctl: &Ctl) {
    assert_eq!(ctl.run(&["lock", "mutex", "echo", "mine"]), "mine\n");
    let mut first = ctl.running(&["lock", "mutex"]);
    let held = first.lines(1);
    assert!(held[0].starts_with("mutex/"), "{held:?}");
    let mut second = ctl.running(&["lock", "mutex", "echo", "then mine"]);
    drop(first);
    assert_eq!(second.lines(1), ["then mine"]);
    let mut leader = ctl.running(&["elect", "post", "me"]);
    let elected = leader.lines(2);
    assert!(elected[0].starts_with("post/") && elected[1] == "me", "{elected:?}");
    let mut listener = ctl.running(&["elect", "post", "--listen"]);
    assert_eq!(listener.lines(2), elected);
}

fn maintenance(ctl: &Ctl, folder: &Path) {
    let status = ctl.json(&["endpoint", "status"]);
    assert!(status[0]["Status"]["leader"].as_u64().is_some_and(|leader| leader > 0), "{status}");
    assert!(status[0]["Status"]["dbSize"].as_u64().is_some_and(|size| size > 0), "{status}");
    assert!(ctl.run(&["defrag"]).contains("Finished defragmenting"));
    assert_eq!(ctl.run(&["alarm", "list"]), "");
    let snapshot = folder.join("snapshot.db");
    ctl.run(&["snapshot", "save", snapshot.to_str().expect("UTF-8")]);
    let hash = ctl.json(&["endpoint", "hashkv"]);
    let size = std::fs::metadata(&snapshot).expect("it is there").len();
    assert_eq!(size % 512, 32, "a database and its hash");
    let held = super::cli::detcd_in(folder, &["db", "check", "snapshot.db"]);
    assert_eq!(held.status.code(), Some(0), "{}", text(&held.stderr));
    assert!(hash[0]["HashKV"]["hash"].as_u64().is_some(), "{hash}");
}

#[test]
fn a_quota_is_kept_and_given_back() {
    with_each_etcdctl("a_quota_is_kept_and_given_back", |program, folder| {
        let members = found(folder, &["a"], false, &["--quota-backend-bytes", "200000"]);
        let ctl = Ctl::new(program, &[&members[0]]);
        until("health", || ctl.is_healthy());
        let value = "x".repeat(20_000);
        let refused = (0..50).find_map(|_| ctl.try_run(&["put", "k", &value]).err()).expect("it is full");
        assert!(refused.contains("database space exceeded"), "{refused}");
        assert!(ctl.run(&["alarm", "list"]).contains("NOSPACE"));
        let status = ctl.json(&["endpoint", "status"]);
        let revision = status[0]["Status"]["header"]["revision"].as_u64().expect("a revision");
        ctl.run(&["compaction", "--physical", &revision.to_string()]);
        ctl.run(&["defrag"]);
        assert!(ctl.run(&["alarm", "disarm"]).contains("NOSPACE"));
        assert_eq!(ctl.run(&["put", "k", "small"]), "OK\n");
    });
}

#[test]
fn users_may_do_what_their_roles_say() {
    with_each_etcdctl("users_may_do_what_their_roles_say", |program, folder| {
        let members = found(folder, &["a"], false, &["--bcrypt-cost", "4"]);
        let ctl = Ctl::new(program, &[&members[0]]);
        until("health", || ctl.is_healthy());
        ctl.run(&["user", "add", "root:secret"]);
        ctl.run(&["user", "add", "ann:word"]);
        ctl.run(&["role", "add", "reader"]);
        ctl.run(&["role", "grant-permission", "reader", "read", "a", "c"]);
        ctl.run(&["user", "grant-role", "ann", "reader"]);
        ctl.run(&["user", "grant-role", "root", "root"]);
        ctl.run(&["put", "b", "seen"]);
        assert!(ctl.run(&["auth", "enable"]).contains("Authentication Enabled"));
        let as_user = |user: &str| Ctl {
            program: program.to_owned(),
            endpoints: ctl.endpoints.clone(),
            flags: vec![format!("--user={user}")],
        };
        let (root, ann) = (as_user("root:secret"), as_user("ann:word"));
        assert_eq!(ann.run(&["get", "b"]), "b\nseen\n");
        ann.fails(&["put", "b", "x"], "permission denied");
        ann.fails(&["get", "z"], "permission denied");
        ann.fails(&["user", "list"], "permission denied");
        as_user("ann:wrong").fails(&["get", "b"], "authentication failed");
        ctl.fails(&["get", "b"], "user name is empty");
        assert_eq!(root.run(&["user", "list"]), "ann\nroot\n");
        assert!(root.run(&["role", "get", "reader"]).contains("[a, c)"));
        root.run(&["role", "revoke-permission", "reader", "a", "c"]);
        ann.fails(&["get", "b"], "permission denied");
        assert!(root.run(&["auth", "disable"]).contains("Authentication Disabled"));
        ctl.run(&["user", "delete", "ann"]);
        ctl.run(&["role", "delete", "reader"]);
    });
}

#[test]
fn members_come_and_go_with_tls_between_all() {
    with_each_etcdctl("members_come_and_go_with_tls_between_all", |program, folder| {
        let mut members = found(folder, &["a", "b", "c"], true, &[]);
        let all = Ctl::new(program, &members.iter().collect::<Vec<_>>());
        until("health", || all.is_healthy());
        keys(&all);
        assert_eq!(all.run(&["put", "k", "v"]), "OK\n");
        for member in &members {
            assert_eq!(Ctl::new(program, &[member]).run(&["get", "k"]), "k\nv\n", "{}", member.name);
        }
        leases(&all);
        locks_and_elections(&all);
        maintenance(&Ctl::new(program, &[&members[0]]), folder);
        move_leader(&all, program, &members);
        let hashes = all.json(&["endpoint", "hashkv"]);
        let hash = |place: usize| hashes[place]["HashKV"]["hash"].clone();
        assert!(hash(0).is_u64() && hash(0) == hash(1) && hash(1) == hash(2), "{hashes}");

        let mut joining = Served::new(folder, "d", true);
        let url = joining.url(joining.peer);
        all.run_when_healthy(&["member", "add", "d", "--learner", "--peer-urls", &url]);
        let founders: Vec<String> = members.iter().chain([&joining]).map(Served::founder).collect();
        joining.flags =
            ["--initial-cluster", &founders.join(","), "--initial-cluster-state", "existing"].map(Into::into).to_vec();
        joining.start();
        let id = || {
            let list = all.json(&["member", "list"]);
            let found = list["members"].as_array().expect("members").iter().find(|member| member["name"] == "d");
            found.map(|member| format!("{:x}", member["ID"].as_u64().expect("an id")))
        };
        until("the learner has told its name", || id().is_some());
        let id = id().expect("it is a member");
        until("the learner is promoted", || all.try_run(&["member", "promote", &id]).is_ok());
        let own = Ctl::new(program, &[&joining]);
        until("the new member serves reads", || own.try_run(&["get", "k"]).is_ok_and(|got| got == "k\nv\n"));
        all.run_when_healthy(&["member", "remove", &id]);
        until("the removed member ends", || joining.log().contains("permanently removed"));
        members.push(joining);
    });
}

#[test]
fn a_member_whose_database_was_damaged_is_found() {
    let test = "a_member_whose_database_was_damaged_is_found";
    let Some(program) = Binaries::find(test).map(|binaries| binaries.etcdctl_path()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut members = found(folder.path(), &["a", "b", "c"], false, &["--corrupt-check-time", "1s"]);
    let (leads, last) = {
        let all = Ctl::new(&program, &members.iter().collect::<Vec<_>>());
        until("health", || all.is_healthy());
        for number in 10..30 {
            all.run(&["put", "k", &format!("value-{number}")]);
        }
        // Longer than the checks' period: nothing differs so far.
        std::thread::sleep(Duration::from_millis(1500));
        assert_eq!(all.run(&["alarm", "list"]), "");
        let status = all.json(&["endpoint", "status"]);
        let leader = &status[0]["Status"]["leader"];
        ((0..3).find(|place| &status[*place]["Status"]["header"]["member_id"] == leader), b"value-15")
    };
    let damaged = (leads.expect("one of them leads") + 1) % 3;
    members[damaged].kill();
    let path = folder.path().join(format!("{}.etcd/member/snap/db", members[damaged].name));
    let mut database = std::fs::read(&path).expect("its database");
    let places: Vec<usize> = (0..database.len()).filter(|place| database[*place..].starts_with(last)).collect();
    assert!(!places.is_empty(), "the value is on disk");
    places.iter().for_each(|place| database[place + last.len() - 1] ^= 1);
    std::fs::write(&path, database).expect("it can be written");
    // Who looks first sees it, and ends; who does not is found by the leader.
    members[damaged].flags.push("--experimental-initial-corrupt-check".into());
    members[damaged].start();
    until("its own check ends it", || members[damaged].log().contains("data inconsistency"));
    members[damaged].kill();
    members[damaged].flags.pop();
    members[damaged].start();
    let all = Ctl::new(&program, &members.iter().collect::<Vec<_>>());
    until("the alarm", || all.try_run(&["alarm", "list"]).is_ok_and(|listed| listed.contains("CORRUPT")));
    let status = all.json(&["endpoint", "status"]);
    let id = status[damaged]["Status"]["header"]["member_id"].as_u64().expect("an id");
    assert_eq!(all.run(&["alarm", "list"]).trim(), format!("memberID:{id} alarm:CORRUPT"));
    all.fails(&["put", "k", "more"], "corrupt cluster");
}

#[test]
fn python_clients_work() {
    let test = "python_clients_work";
    let Some(python) = std::env::var_os("DETCD_PYTHON") else {
        println!("skipped {test}: DETCD_PYTHON names no Python with the packages etcd3 and etcd3gw");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let members = found(folder.path(), &["a"], false, &["--bcrypt-cost", "4"]);
    until("health", || members[0].http("/health").is_some_and(|(status, _)| status == 200));
    for script in ["client.py", "gateway.py"] {
        let script = format!("{}/tests/integration/{script}", env!("CARGO_MANIFEST_DIR"));
        let output = Command::new(&python).args([&script, &members[0].client.to_string()]).output().expect("it runs");
        assert_eq!(text(&output.stdout), "ok\n", "{script}: {}", text(&output.stderr));
    }
}

#[test]
fn the_name_in_a_certificate_is_its_user() {
    with_each_etcdctl("the_name_in_a_certificate_is_its_user", |program, folder| {
        let flags = ["--client-cert-auth", "--bcrypt-cost", "4"];
        let members = found(folder, &["a"], true, &flags);
        let mut named = Ctl::new(program, &[&members[0]]);
        let nobody = Ctl::new(program, &[&members[0]]);
        named.flags.extend([format!("--cert={TLS}/member.pem"), format!("--key={TLS}/member.key")]);
        until("health", || named.is_healthy());
        named.run(&["user", "add", "root:secret"]);
        named.run(&["user", "grant-role", "root", "root"]);
        named.run(&["user", "add", "ann:word"]);
        named.run(&["auth", "enable"]);
        // The certificate is root's, who brings no password.
        assert_eq!(named.run(&["put", "k", "v"]), "OK\n");
        assert_eq!(named.run(&["user", "list"]), "ann\nroot\n");
        // A token comes first.
        let mut ann =
            Ctl { program: program.to_owned(), endpoints: named.endpoints.clone(), flags: named.flags.clone() };
        ann.flags.push("--user=ann:word".into());
        ann.fails(&["put", "k", "v"], "permission denied");
        // Without a certificate there is no connection.
        assert!(nobody.try_run(&["get", "k", "--dial-timeout", "2s", "--command-timeout", "2s"]).is_err());
        named.run(&["auth", "disable"]);
    });
}

#[test]
fn a_small_check_of_performance_passes() {
    let test = "a_small_check_of_performance_passes";
    let Some(program) = Binaries::find(test).map(|binaries| binaries.etcdctl_path()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let members = found(folder.path(), &["a"], false, &[]);
    let ctl = Ctl::new(&program, &[&members[0]]);
    until("health", || ctl.is_healthy());
    // It takes a minute. A machine that does other things meanwhile makes writes slow, which says nothing of their
    // number.
    let begun = Instant::now();
    let output = ctl.command(&["check", "perf", "--load", "s", "--auto-compact"]).output().expect("it runs");
    let said = text(&output.stdout);
    assert!(begun.elapsed() < Duration::from_secs(150), "{:?}: {said}", begun.elapsed());
    let number = |line: &str| line.split(' ').filter_map(|word| word.parse::<u64>().ok()).next();
    let writes = said.lines().find(|line| line.contains("hroughput")).and_then(number);
    assert!(writes.is_some_and(|writes| writes >= 75), "{said}{}", text(&output.stderr));
}

fn move_leader(all: &Ctl, program: &Path, members: &[Served]) {
    let status = all.json(&["endpoint", "status"]);
    let status = status.as_array().expect("one a member");
    let leader = status[0]["Status"]["leader"].as_u64().expect("somebody leads");
    let id = |place: usize| status[place]["Status"]["header"]["member_id"].as_u64().expect("an id");
    let leads = (0..3).find(|place| id(*place) == leader).expect("one of them");
    let next = format!("{:x}", id((leads + 1) % 3));
    let moved = Ctl::new(program, &[&members[leads]]).run(&["move-leader", &next]);
    assert!(moved.contains("Leadership transferred"), "{moved}");
}

#[test]
fn a_member_killed_under_load_loses_nothing_acknowledged() {
    with_each_etcdctl("a_member_killed_under_load_loses_nothing_acknowledged", |program, folder| {
        let mut members = found(folder, &["a", "b", "c"], false, &["--snapshot-count", "20"]);
        let all = Ctl::new(program, &members.iter().collect::<Vec<_>>());
        until("health", || all.is_healthy());
        let mut dice = Dice(u64::from(std::process::id()));
        let mut acknowledged = Vec::new();
        for life in 0..6 {
            let victim = dice.below(3) as usize;
            for number in 0..10 {
                let key = format!("{life}-{number}");
                if number == 4 {
                    members[victim].kill();
                }
                if all.try_run(&["put", &key, "x", "--command-timeout", "2s"]).is_ok() {
                    acknowledged.push(key);
                }
            }
            members[victim].start();
        }
        assert!(acknowledged.len() > 30, "{acknowledged:?}");
        // All of them at once: what is synced is there again.
        members.iter_mut().for_each(Served::kill);
        members.iter_mut().for_each(Served::start);
        until("health", || all.is_healthy());
        for member in &members {
            let own = Ctl::new(program, &[member]);
            for key in &acknowledged {
                let got = own.run(&["get", key, "--print-value-only"]);
                assert_eq!(got, "x\n", "{key} of {}: {}", member.name, member.log());
            }
        }
    });
}
