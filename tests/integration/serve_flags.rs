//! What a user of etcd's flags and tools tries first in `detcd serve`: that each flag does what it says, or is refused.
//!
//! Belongs here: flags of a served member, and what monitoring reads of it. Members that work together are in `serve`.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use super::cli::{detcd_in, refused_in, text};
use super::etcd::{free_port, Binaries};
use super::serve::{found, get, until, Ctl, Served, TLS};

/// A member that has these flags beside its own, and is healthy.
fn one(folder: &Path, flags: &[&str]) -> Served {
    let member = found(folder, &["a"], false, flags).pop().expect("one");
    until("health", || member.http("/health").is_some_and(|(status, _)| status == 200));
    member
}

/// A value of its metrics, where there is one.
fn metric(member: &Served, name: &str) -> Option<f64> {
    let (_, metrics) = member.http("/metrics").expect("it answers");
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map(|value| value.parse().expect("a number"))
}

#[test]
fn metrics_of_the_process_are_gos() {
    let folder = tempfile::tempdir().expect("a folder");
    let member = one(folder.path(), &[]);
    let resident = metric(&member, "process_resident_memory_bytes");
    assert_eq!(resident.is_some(), cfg!(target_os = "linux"));
    let Some(resident) = resident else { return };
    let value = |name: &str| metric(&member, name).unwrap_or_else(|| panic!("{name} is missing"));
    assert!(resident > 1e6 && value("process_virtual_memory_bytes") >= resident);
    assert!(value("process_open_fds") > 5.0 && value("process_max_fds") > value("process_open_fds"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let age = now - value("process_start_time_seconds");
    // The kernel counts from a start of its own, in whole seconds.
    assert!((-2.0..120.0).contains(&age), "{age}");
    let before = value("process_cpu_seconds_total");
    until("time is used", || value("process_cpu_seconds_total") > before);
}

#[test]
fn metrics_and_health_have_addresses_of_their_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let ports = [free_port(), free_port()];
    let urls = ports.map(|port| format!("http://127.0.0.1:{port}")).join(",");
    let member = one(folder.path(), &["--listen-metrics-urls", &urls]);
    for port in ports {
        let get = |path: &str| get(TcpStream::connect(("127.0.0.1", port)).ok()?, path);
        assert_eq!(get("/health").expect("it answers").0, 200);
        assert!(get("/metrics").expect("it answers").1.contains("etcd_server_has_leader 1"));
        for path in ["/version", "/v3/kv/range", "/etcdserverpb.KV/Range"] {
            assert_eq!(get(path).expect("it answers").0, 404, "{path}");
        }
    }
    assert_eq!(member.http("/metrics").expect("it answers").0, 200);
}

#[test]
fn metrics_over_https_have_the_clients_certificate() {
    let test = "metrics_over_https_have_the_clients_certificate";
    let Some(python) = std::env::var_os("DETCD_PYTHON") else {
        println!("skipped {test}: DETCD_PYTHON names no Python");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("https://127.0.0.1:{}", free_port());
    let _members = found(folder.path(), &["a"], true, &["--listen-metrics-urls", &url]);
    let script = "import ssl, sys, urllib.request\n\
                  trusted = ssl.create_default_context(cafile=sys.argv[1])\n\
                  print(urllib.request.urlopen(sys.argv[2], context=trusted).read().decode())";
    let (ca, health) = (format!("{TLS}/ca.pem"), format!("{url}/health"));
    until("health", || {
        let output = Command::new(&python).args(["-c", script, &ca, &health]).output().expect("it runs");
        text(&output.stdout).contains("\"health\":\"true\"")
    });
}

#[test]
fn a_small_check_of_data_passes() {
    let test = "a_small_check_of_data_passes";
    if !cfg!(target_os = "linux") {
        println!("skipped {test}: nothing is known of the process on this system");
        return;
    }
    let Some(program) = Binaries::find(test).map(|binaries| binaries.etcdctl_path()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let member = one(folder.path(), &[]);
    let said = Ctl::new(&program, &[&member]).run(&["check", "datascale", "--load", "s", "--auto-compact"]);
    let used = said.lines().find_map(|line| line.strip_prefix("PASS: Approximate system memory used : "));
    let megabytes = used.and_then(|used| used.split(' ').next()?.parse::<f64>().ok());
    // Ten thousand keys of a kilobyte.
    assert!(megabytes.is_some_and(|megabytes| (10.0..1000.0).contains(&megabytes)), "{said}");
}

#[test]
fn probes_are_answered_as_by_etcd() {
    let test = "probes_are_answered_as_by_etcd";
    let Some(program) = Binaries::find(test).map(|binaries| binaries.etcdctl_path()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut members = found(folder.path(), &["a", "b"], false, &["--quota-backend-bytes", "200000"]);
    until("health", || members[0].http("/health").is_some_and(|(status, _)| status == 200));
    let check = |member: &Served, path: &str, status: u16, part: &str| {
        let answer = member.http(path).expect("it answers");
        assert!(answer.0 == status && answer.1.contains(part), "{path}: {answer:?}");
    };
    check(&members[0], "/health", 200, "{\"health\":\"true\",\"reason\":\"\"}");
    check(&members[0], "/livez", 200, "ok\n");
    check(&members[0], "/readyz?verbose", 200, "[+]linearizable_read ok\n");
    check(&members[0], "/readyz/non_learner", 200, "ok\n");
    check(&members[0], "/livez/non_learner", 404, "");
    let ctl = Ctl::new(&program, &[&members[0]]);
    let value = "x".repeat(20_000);
    while ctl.try_run(&["put", "k", &value]).is_ok() {}
    until("the alarm", || ctl.run(&["alarm", "list"]).contains("NOSPACE"));
    check(&members[0], "/health", 503, "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}");
    check(&members[0], "/health?exclude=CORRUPT", 503, "NOSPACE");
    // As kubeadm asks.
    check(&members[0], "/health?exclude=NOSPACE&serializable=true", 200, "true");
    check(&members[0], "/readyz", 200, "ok\n");
    members[1].kill();
    until("the other is missed", || {
        members[0].http("/health?exclude=NOSPACE").is_some_and(|(_, said)| said.contains("RAFT NO LEADER"))
    });
    check(&members[0], "/health?exclude=NOSPACE&serializable=true", 200, "true");
    check(&members[0], "/livez", 200, "ok\n");
    check(&members[0], "/readyz", 503, "[-]linearizable_read failed: ");
    check(&members[0], "/readyz?exclude=linearizable_read", 200, "ok\n");
}

#[test]
fn versions_are_said_in_etcds_words() {
    let folder = tempfile::tempdir().expect("a folder");
    for (flags, version) in [(&["--version"][..], "3.6."), (&["-release=3.5", "-version=true"], "3.5.")] {
        let said = detcd_in(folder.path(), &[&["serve"], flags].concat());
        assert_eq!(said.status.code(), Some(0), "{}", text(&said.stderr));
        let said = text(&said.stdout);
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].starts_with(&format!("etcd Version: {version}")), "{said}");
        assert_eq!(lines[1], format!("detcd Version: {}", env!("CARGO_PKG_VERSION")));
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "nothing was started");
}

#[test]
fn every_flag_of_the_real_etcd_is_known() {
    let Some(binaries) = Binaries::find("every_flag_of_the_real_etcd_is_known") else { return };
    let help = Command::new(binaries.etcd()).arg("--help").output().expect("it runs");
    let help = text(&help.stdout);
    let flags = help.lines().filter_map(|line| line.strip_prefix("  --")?.split(' ').next());
    let folder = tempfile::tempdir().expect("a folder");
    let mut count = 0;
    for flag in flags.filter(|flag| !["version", "config-file"].contains(flag)) {
        // One after it that there is not: what is said first is of the flag itself, when it is not known.
        let output = detcd_in(folder.path(), &["serve", &format!("--{flag}=?"), "--no-such-flag"]);
        let said = text(&output.stderr);
        let served = said.contains("no flag --no-such-flag");
        assert!(served || said.contains(&format!("etcd's flag --{flag} is not served here: ")), "{flag}: {said}");
        count += 1;
    }
    assert!(count > 80, "{count}: {help}");
}

#[test]
fn flags_that_are_not_served_are_refused_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    for (flag, part) in [
        ("--wal-dir=x", "etcd's flag --wal-dir is not served here: the log is in the data dir"),
        ("-logger=zap", "etcd's flag --logger is not served here: "),
        ("--log-level=debug", "without levels"),
        ("--config-file=x", "etcd's flag --config-file is not served here: "),
        ("--metrics=extensive", "etcd's flag --metrics is not served here: "),
        ("--dta-dir=x", "did you mean `data-dir`"),
        ("--compaction-batch-limit=0", "--compaction-batch-limit: must be 1 or more"),
        ("--bcrypt-cost=3", "--bcrypt-cost: must be from 4 to 31"),
    ] {
        refused_in(folder.path(), &["serve", flag], &[part]);
    }
    // What is so anyway is taken.
    one(folder.path(), &["--auto-tls=false", "-metrics", "basic", "--log-outputs", "stderr", "--cert-file="]);
    // The environment is only said to be ignored, where it is not empty.
    let mut command = Command::new(env!("CARGO_BIN_EXE_detcd"));
    command.current_dir(folder.path()).args(["serve", "--initial-cluster=b=http://127.0.0.1:1"]);
    let variables = [("ETCD_WAL_DIR", "x"), ("ETCD_DISCOVERY", ""), ("ETCD_CERT_FILE", ""), ("ETCD_VERSION", "3")];
    let said = text(&command.envs(variables).output().expect("it runs").stderr);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("detcd: ETCD_WAL_DIR is ignored: "), "{said}");
    assert!(lines[1].starts_with("detcd: error: --initial-cluster: there is no member \"default\""), "{said}");
}

#[test]
fn a_quota_below_nothing_is_none() {
    let test = "a_quota_below_nothing_is_none";
    let Some(program) = Binaries::find(test).map(|binaries| binaries.etcdctl_path()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let member = one(folder.path(), &["-quota-backend-bytes", "-1"]);
    assert_eq!(metric(&member, "etcd_server_quota_backend_bytes"), Some(-1.0));
    let ctl = Ctl::new(&program, &[&member]);
    let value = "x".repeat(20_000);
    for number in 0..30 {
        ctl.run(&["put", &format!("{number}"), &value]);
    }
    assert_eq!(ctl.run(&["alarm", "list"]), "");
}

#[test]
fn what_is_unsafe_is_not_synced() {
    let test = "what_is_unsafe_is_not_synced";
    let Some(program) = Binaries::find(test).map(|binaries| binaries.etcdctl_path()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut member = one(folder.path(), &["--unsafe-no-fsync"]);
    Ctl::new(&program, &[&member]).run(&["put", "k", "v"]);
    assert_eq!(metric(&member, "etcd_disk_wal_fsync_duration_seconds_count"), Some(0.0));
    // It is in the page cache, which outlives the process.
    member.kill();
    member.start();
    until("health", || member.http("/health").is_some_and(|(status, _)| status == 200));
    assert_eq!(Ctl::new(&program, &[&member]).run(&["get", "k"]), "k\nv\n");
}

#[test]
fn the_backend_commits_as_often_as_it_is_told() {
    let test = "the_backend_commits_as_often_as_it_is_told";
    let Some(program) = Binaries::find(test).map(|binaries| binaries.etcdctl_path()) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let commits = |folder: &str, flags: &[&str]| {
        let folder = tempfile::tempdir_in(folder).expect("a folder");
        let member = one(folder.path(), flags);
        let ctl = Ctl::new(&program, &[&member]);
        let count = || metric(&member, "etcd_disk_backend_commit_duration_seconds_count").expect("it is counted");
        let before = count();
        for number in 0..10 {
            ctl.run(&["put", &number.to_string(), "v"]);
        }
        count() - before
    };
    let root = folder.path().to_str().expect("UTF-8");
    // An hour is longer than this takes.
    assert_eq!(commits(root, &["--backend-batch-interval=1h"]), 0.0);
    let each = commits(root, &["--backend-batch-interval=1h", "--backend-batch-limit=1"]);
    assert!(each >= 9.0, "{each}");
}
