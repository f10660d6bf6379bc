//! The program as a user meets it: the real binary, its streams and its exit codes.
//!
//! Belongs here: whatever a person or a script can type that must be refused, or must answer without a long run.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const COMMANDS: [&str; 17] = [
    "run",
    "replay",
    "bugs",
    "export",
    "import",
    "db",
    "wal",
    "check",
    "conform",
    "sweep",
    "serve",
    "model",
    "bench",
    "selftest",
    "disk",
    "scenarios",
    "completions",
];

pub(crate) fn detcd_in(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_detcd"))
        .args(args)
        .current_dir(folder)
        .env_remove("DETCD_JOBS")
        .env_remove("DETCD_OUT")
        .output()
        .expect("the binary runs")
}

fn detcd(args: &[&str]) -> Output {
    detcd_in(Path::new("."), args)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Refused with exit 2 and exactly one line on stderr, which holds `parts`; nothing on stdout.
#[track_caller]
pub(crate) fn refused_in(folder: &Path, args: &[&str], parts: &[&str]) {
    let output = detcd_in(folder, args);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {errors}");
    assert_eq!(errors.lines().count(), 1, "{args:?}: {errors}");
    assert!(errors.starts_with("detcd: error: "), "{args:?}: {errors}");
    assert_eq!(text(&output.stdout), "", "{args:?}");
    for part in parts {
        assert!(errors.contains(part), "{args:?} lacks {part:?}: {errors}");
    }
}

#[track_caller]
fn refused(args: &[&str], parts: &[&str]) {
    refused_in(Path::new("."), args, parts);
}

#[track_caller]
fn answered(args: &[&str]) -> String {
    let output = detcd(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn help_has_two_levels_and_names_every_command() {
    let (short, long) = (answered(&["-h"]), answered(&["--help"]));
    for command in COMMANDS {
        assert!(short.contains(command) && long.contains(command), "{command}");
    }
    assert!(!short.contains("EXIT CODES"), "{short}");
    for command in COMMANDS {
        let (short, long) = (answered(&[command, "-h"]), answered(&[command, "--help"]));
        assert!(long.contains("EXIT CODES") && long.len() > short.len(), "{command}");
    }
    let run = answered(&["run", "--help"]);
    for part in ["EXAMPLES", "Seeds:", "World:", "Output:", "--check-determinism", "130"] {
        assert!(run.contains(part), "{part}");
    }
    assert!(answered(&["--version"]).starts_with("detcd "));
}

#[test]
fn a_wrong_command_line_is_refused_in_one_line() {
    let table: &[(&[&str], &[&str])] = &[
        (&[], &["no command"]),
        (&["fly"], &["fly"]),
        (&["rnu"], &["rnu", "run"]),
        (&["run", "--sed", "4"], &["--sed", "--seed"]),
        (&["run", "--jobs", "0"], &["--jobs"]),
        (&["run", "--jobs", "-1"], &["-1"]),
        (&["run", "--jobs", "two"], &["--jobs", "two"]),
        (&["run", "--seed"], &["--seed"]),
        (&["run", "--seed", "1", "--seeds", "0..2"], &["--seed", "--seeds"]),
        (&["run", "--keep", "most"], &["most", "failures"]),
        (&["run", "--host", "mars"], &["mars", "madsim", "bare"]),
        (&["run", "--bug", "nonesuch"], &["nonesuch"]),
        (&["bugs", "M-83", "--by", "P0"], &["--by", "P0", "P3"]),
        (&["run", "--bug", "mustsync_ignore_vote"], &["did you mean `mustsync_ignores_vote`"]),
        (&["run", "--set", "nodes"], &["path=value"]),
        (&["run", "--set", "=3"], &["names joined by dots"]),
        (&["run", "--set", "a.b=[1"], &["not TOML"]),
        (&["run", "--set", "nodes="], &["value is missing"]),
        (&["run", "swarm", "extra"], &["extra"]),
        (&["run", "--out"], &["--out"]),
        (&["replay"], &["REPRO|SEED"]),
        (&["export"], &["REPRO|SEED"]),
        (&["export", "7"], &["--member", "--to"]),
        (&["export", "7", "--member", "0", "--to", "x"], &["--member"]),
        (&["export", "7", "--member", "two", "--to", "x"], &["--member", "two"]),
        (&["export", "7", "--member", "1", "--at", "noon", "--to", "x"], &["--at", "noon", "2.5s"]),
        (&["export", "7", "--member", "1", "--at", "0", "--to", "x"], &["--at"]),
        (&["export", "7", "--membr", "1", "--to", "x"], &["--membr", "--member"]),
        (&["import"], &["DIR|SNAPSHOT"]),
        (&["db", "chekc", "x"], &["x"]),
        (&["wal"], &["DIR|FILE"]),
        (&["wal", "x", "--from", "y"], &["--from", "y"]),
        (&["check"], &["FILE"]),
        (&["check", "--model", "regster", "x"], &["regster", "register"]),
        (&["model", "--max-states", "many"], &["many"]),
        (&["bench", "raf7x"], &["raf7x", "raft"]),
        (&["disk"], &["PROFILE"]),
        (&["disk", "floppy"], &["floppy"]),
        (&["disk", "nvme", "--operations", "0"], &["--operations"]),
        (&["disk", "nvme", "--seed", "x"], &["--seed"]),
        (&["scenarios", "swram"], &["did you mean `swarm`"]),
        (&["completions", "dos"], &["dos", "bash"]),
        (&["completions"], &["SHELL"]),
    ];
    for (args, parts) in table {
        refused(args, parts);
    }
}

#[test]
fn a_wrong_seed_is_refused_in_one_line() {
    for seed in ["", "x", "-1", "1.5", "0x", "0xzz", "0x10000000000000000", "18446744073709551616", "1_000", "½"] {
        refused(&["run", &format!("--seed={seed}")], &["--seed"]);
    }
    for seeds in ["..", "1..", "..9", "5..5", "9..5", "1..=3", "1..2..3", "0..+0", "18446744073709551615..+2", "a..b"] {
        refused(&["run", &format!("--seeds={seeds}")], &["--seeds"]);
    }
    refused(&["replay", "12monkeys"], &["12monkeys", "no such file"]);
}

#[test]
fn a_wrong_scenario_is_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).expect("written");
    write("syntax.toml", b"# comment\nnodes = = 3\n");
    write("twice.toml", b"nodes = 3\nnodes = 4\n");
    write("bytes.toml", &[b'a', 0xff, 0xfe, b'=']);
    fs::create_dir(folder.path().join("folder.toml")).expect("made");
    let table: &[(&[&str], &[&str])] = &[
        (&["run", "swram"], &["no scenario `swram`", "did you mean `swarm`"]),
        (&["run", "zzzzz"], &["no scenario `zzzzz`"]),
        (&["run", "missing.toml"], &["missing.toml"]),
        (&["run", "syntax.toml"], &["syntax.toml:2:9: "]),
        (&["run", "twice.toml"], &["twice.toml:2:1: ", "duplicate"]),
        (&["run", "bytes.toml"], &["not UTF-8"]),
        (&["run", "folder.toml"], &["folder.toml"]),
        (&["replay", "7", "--scenario", "syntax.toml"], &["syntax.toml:2:9: "]),
    ];
    for (args, parts) in table {
        refused_in(folder.path(), args, parts);
    }
}

#[test]
fn a_wrong_repro_is_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good = "schema = \"detcd.repro/1\"\ndetcd = \"0.1.0\"\nsource = \"00\"\nname = \"swarm\"\nseed = \"7\"\n\
        host = \"bare\"\nbugs = []\n[expected]\nverdict = \"violation\"\n\
        digest = \"00000000000000000000000000000000\"\n\
        [overrides]\n[scenario]\n";
    let table: &[(&str, &str, &[&str])] = &[
        ("seed = \"7\"", "seed = \"seven\"", &["repro.toml:5:8: ", "`seed`"]),
        ("seed = \"7\"", "seed = []", &["repro.toml:5:8: ", "seed"]),
        ("seed = \"7\"\n", "", &["repro.toml:1:1: ", "missing field `seed`"]),
        ("seed = \"7\"", "sead = \"7\"", &["repro.toml:5:1: ", "did you mean `seed`"]),
        ("repro/1", "repro/2", &["repro.toml:1:10: ", "detcd.repro/2"]),
        ("bugs = []", "bugs = [\"mustsync_ignore_vote\"]", &["repro.toml:7:", "did you mean `mustsync_ignores_vote`"]),
        ("bugs = []", "bugs = 3", &["repro.toml:7:8: ", "invalid type"]),
        ("host = \"bare\"", "host = \"bear\"", &["repro.toml:6:8: ", "did you mean `bare`"]),
        ("verdict = \"violation\"", "verdict = \"bad\"", &["repro.toml:9:11: "]),
        ("digest = \"0", "digest = \"", &["repro.toml:10:10: ", "`digest`"]),
        ("[overrides]", "[overrides]\n\"net.delay\" = -1", &["repro.toml:12:"]),
        ("[overrides]", "[overrides", &["repro.toml:11:"]),
    ];
    for (from, to, parts) in table {
        assert!(good.contains(from), "{from}");
        fs::write(folder.path().join("repro.toml"), good.replacen(from, to, 1)).expect("written");
        refused_in(folder.path(), &["replay", "repro.toml"], parts);
        refused_in(folder.path(), &["replay", "."], &parts[1..]);
    }
    fs::write(folder.path().join("repro.toml"), good).expect("written");
    refused_in(folder.path(), &["replay", "repro.toml", "--set", "nodes=3"], &["--set", "for a seed"]);
    refused_in(folder.path(), &["replay", "absent.toml"], &["absent.toml"]);
    fs::create_dir(folder.path().join("empty")).expect("made");
    refused_in(folder.path(), &["replay", "empty"], &["repro.toml"]);
}

#[test]
fn a_wrong_history_or_table_is_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).expect("written");
    let files: [(&str, &[u8]); 8] = [
        ("brace.edn", b"{:process 0, :type :invoke, :f :read, :value nil"),
        ("word.edn", b"{:process zero :type :invoke}"),
        ("line.log", b"INFO  jepsen.util - 0\t:invoke\t:fly\tnil\n"),
        ("cut.jsonl", b"{\"client\":0,\"call\""),
        ("type.jsonl", b"{\"client\":\"zero\"}\n"),
        ("bytes.jsonl", &[0xff, 0xfe, 0, 1, 2]),
        ("bytes.log", &[0xff, 0xfe, 0, 1, 2]),
        ("what.bin", b"neither one nor the other"),
    ];
    for (name, bytes) in files {
        write(name, bytes);
        refused_in(folder.path(), &["check", name], &[name]);
    }
    refused_in(folder.path(), &["check", "absent.edn"], &["absent.edn"]);
    let tables: [(&str, &[&str]); 4] = [
        ("", &["t.tsv:1:1: "]),
        ("file\tmodel\tverdict\na.edn\tkv\n", &["t.tsv:2:1: ", "2 fields"]),
        ("file\tmodel\tverdict\na.edn\tregster\tviolation\n", &["t.tsv:2:1: ", "did you mean `register`"]),
        ("file\tmodel\tverdict\nabsent.edn\tkv\tviolation\n", &["absent.edn"]),
    ];
    for (table, parts) in tables {
        write("t.tsv", table.as_bytes());
        refused_in(folder.path(), &["check", "--expected", "t.tsv"], parts);
    }
}

#[test]
fn scenarios_are_listed_and_printed() {
    let list = answered(&["scenarios"]);
    assert!(list.lines().any(|line| line.starts_with("swarm ")), "{list}");
    assert!(list.lines().all(|line| line.split_whitespace().count() > 1), "each has a description: {list}");
    for line in answered(&["scenarios", "--json"]).lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(object["schema"], "detcd.scenario/1");
    }
    assert!(!answered(&["scenarios", "swarm"]).trim().is_empty());
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = answered(&["completions", shell]);
        assert!(script.contains("check-determinism"), "{shell}");
    }
}

/// The histories of real systems, each with the verdict of its source, are beside the project and never in it.
#[test]
fn recorded_histories_get_the_verdict_of_their_source() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/histories/expected.tsv");
    if !table.is_file() {
        println!("skipped recorded_histories_get_the_verdict_of_their_source: there is no {}", table.display());
        return;
    }
    let table = table.to_str().expect("UTF-8");
    let output = detcd(&["check", "--expected", table, "--json"]);
    let lines = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{lines}\n{}", text(&output.stderr));
    assert_eq!(lines.lines().filter(|line| line.contains("detcd.check/1")).count(), 153, "{lines}");
}

/// A few seeds of the main job, end to end: every check holds, and a second process gets the same digests.
#[test]
fn some_seeds_of_swarm_pass_and_are_deterministic() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = detcd_in(folder.path(), &["run", "--seeds", "0..20", "--jobs", "2", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let bare = detcd_in(folder.path(), &["run", "--seeds", "0..20", "--host", "bare", "--json"]);
    let digests = |output: &Output| -> Vec<String> {
        let lines = text(&output.stdout);
        let runs = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        runs.filter_map(|run| run["digest"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(digests(&output).len(), 20);
    assert_eq!(digests(&output), digests(&bare), "madsim and the bare loop must agree");
}

/// What a bug made is found, written down, and happens again.
#[test]
fn a_bug_is_found_and_replayed_from_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let found = detcd_in(
        folder.path(),
        &["run", "--seeds", "0..20", "--bug", "mustsync_ignores_vote", "--json", "--out", "out"],
    );
    assert_eq!(found.status.code(), Some(1), "{}", text(&found.stderr));
    let lines = text(&found.stdout);
    let runs = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let repro = runs.filter_map(|run| run["repro"].as_str().map(str::to_owned)).next().expect("a repro file");
    let replayed = detcd_in(folder.path(), &["replay", &repro]);
    assert_eq!(replayed.status.code(), Some(1), "{}{}", text(&replayed.stdout), text(&replayed.stderr));
}
