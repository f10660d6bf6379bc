//! Does a member answer as the real etcd does? A few seeds of what `detcd conform` compares at length.
//!
//! Belongs here: the command as its user meets it. It is skipped by name where there is no real etcd.

use serde_json::Value;

use super::cli::{detcd_in, text};
use super::etcd::Binaries;

/// Seeds and requests that CI has time for; with users and roles among them.
const RUN: [&str; 5] = ["--seeds", "0..6", "--requests", "300", "--json"];

#[test]
fn a_member_answers_as_the_real_etcd() {
    let Some(binaries) = Binaries::find("a_member_answers_as_the_real_etcd") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let etcd = binaries.etcd();
    let args = [&["conform", "--etcd", etcd.to_str().expect("UTF-8"), "--quiet"], &RUN[..]].concat();
    let output = detcd_in(folder.path(), &args);
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (summary, seeds) = lines.split_last().expect("a summary comes last");
    for seed in seeds {
        assert_eq!(seed["schema"], "detcd.conform/1");
        assert_eq!(seed["verdict"], "equal", "{seed:#}");
    }
    assert_eq!(summary["schema"], "detcd.conform-summary/1");
    assert_eq!((seeds.len(), &summary["differences"]), (6, &Value::from(0)));
    // These few seeds come to more than half of what there is.
    let number = |field: &str| summary[field].as_u64().expect("a number");
    assert!(number("exercised") * 2 > number("of"), "{summary:#}");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn without_a_real_etcd_it_says_so_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    for (args, part) in [
        (&["conform"][..], "--etcd"),
        (&["conform", "--etcd", "/nowhere/etcd"], "/nowhere/etcd"),
        (&["conform", "--etcd", "/bin/true", "--seed", "1"], "has ended"),
        (&["conform", "--etcd", "x", "--seed", "1", "--seeds", "0..2"], "cannot be used with"),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_detcd"));
        let output = command.args(args).env("TMPDIR", folder.path()).output().expect("the binary runs");
        let left = std::fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 0, "{args:?} leaves something behind");
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.contains(part) && error.trim().lines().count() == 1, "{args:?}: {error}");
    }
}
