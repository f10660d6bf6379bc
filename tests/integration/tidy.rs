//! What no compiler sees: the house's rules about files, checked over every source of the workspace.
//!
//! Belongs here: rules that hold for all files of a kind. Each failure names the file, the line and the rule.

use std::fs;
use std::path::{Path, PathBuf};

/// rustfmt's width; it leaves comments and long strings alone.
const WIDTH_MAX: usize = 120;
const LINES_MAX: usize = 700;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below the source folders: path from the root, and text.
fn sources(folders: &[&str], extension: &str) -> Vec<(String, String)> {
    fn collect(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries {
            let path = entry.expect("a folder can be read").path();
            if path.is_dir() {
                collect(&path, extension, found);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        collect(&root().join(folder), extension, &mut found);
    }
    found.sort();
    found
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(root()).expect("below it").to_string_lossy().replace('\\', "/");
            (name, fs::read_to_string(&path).expect("UTF-8"))
        })
        .collect()
}

fn all_rust() -> Vec<(String, String)> {
    sources(&["src", "sim", "model", "tests", "benches"], "rs")
}

#[track_caller]
fn none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_is() {
    let findings: Vec<String> = all_rust()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(name, _)| format!("{name}:1: opens without `//!`"))
        .collect();
    none(&findings);
}

#[test]
fn every_file_is_about_one_idea() {
    let findings: Vec<String> = all_rust()
        .into_iter()
        .filter(|(_, text)| text.lines().count() > LINES_MAX)
        .map(|(name, text)| format!("{name}: {} lines are more than {LINES_MAX}", text.lines().count()))
        .collect();
    none(&findings);
}

#[test]
fn every_line_fits() {
    let mut findings = Vec::new();
    for (name, text) in all_rust() {
        for (number, line) in text.lines().enumerate() {
            if line.chars().count() > WIDTH_MAX {
                findings.push(format!("{name}:{}: wider than {WIDTH_MAX}", number + 1));
            }
            if line.ends_with([' ', '\t']) {
                findings.push(format!("{name}:{}: ends in blanks", number + 1));
            }
        }
    }
    none(&findings);
}

#[test]
fn nothing_is_left_for_later() {
    // In halves, so that this file does not find itself.
    let marks: [(&str, &str); 7] = [
        ("to", "do!("),
        ("unimpl", "emented!("),
        ("#[ig", "nore"),
        ("FIX", "ME"),
        ("XX", "X"),
        ("TO", "DO"),
        ("allow(dead", "_code"),
    ];
    let mut findings = Vec::new();
    for (name, text) in all_rust() {
        for (number, line) in text.lines().enumerate() {
            for (first, second) in marks {
                let mark = format!("{first}{second}");
                if line.contains(&mark) {
                    findings.push(format!("{name}:{}: {mark}", number + 1));
                }
            }
        }
    }
    none(&findings);
}

#[test]
fn the_pure_packages_have_no_clock_file_thread_or_stray_chance() {
    let mut findings = Vec::new();
    for (name, text) in sources(&["src/replica", "sim", "model"], "rs") {
        // What follows the tests' gate is never part of a run.
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lookup_only =
            text.contains("lookup only") || text.contains("Lookup only") || text.contains("Only for lookup");
        for (number, line) in code.lines().enumerate() {
            let line = line.trim_start();
            if line.starts_with("//") {
                continue;
            }
            for banned in [
                "std::time",
                "Instant::now",
                "SystemTime",
                "std::fs",
                "std::net",
                "std::thread",
                "std::env",
                "thread_rng",
            ] {
                if line.contains(banned) {
                    findings.push(format!("{name}:{}: `{banned}` in a pure package", number + 1));
                }
            }
            let hashed = ["HashMap", "HashSet"].into_iter().find(|kind| line.contains(kind));
            if let Some(kind) = hashed.filter(|_| !lookup_only) {
                findings.push(format!("{name}:{}: `{kind}` in a file that does not say `lookup only`", number + 1));
            }
        }
    }
    none(&findings);
}

#[test]
fn the_packages_import_each_other_only_along_the_arrows() {
    let mut findings = Vec::new();
    for (folder, banned) in [
        ("src/replica", &["detcd_sim", "detcd_model", "detcd-sim", "detcd-model"][..]),
        ("sim", &["detcd_model", "detcd-model"]),
        ("model", &["detcd_sim", "detcd-sim"]),
    ] {
        for (name, text) in sources(&[folder], "rs").into_iter().chain(sources(&[folder], "toml")) {
            for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
                for banned in banned.iter().filter(|banned| line.contains(**banned)) {
                    findings.push(format!("{name}:{}: {folder} must not know {banned}", number + 1));
                }
            }
        }
    }
    none(&findings);
}

#[test]
fn the_architecture_names_every_folder() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let mut findings = Vec::new();
    for folder in [".", "src", "src/replica/src"] {
        for entry in fs::read_dir(root().join(folder)).expect(folder) {
            let entry = entry.expect(folder);
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = entry.path().is_dir() && !["target", ".git", "detcd-out"].contains(&name.as_str());
            if ours && !map.contains(&format!("`{name}/")) && !map.contains(&format!("/{name}/`")) {
                findings.push(format!("ARCHITECTURE.md does not name {folder}/{name}/"));
            }
        }
    }
    none(&findings);
}

#[test]
fn every_package_forbids_what_would_make_it_impure() {
    for package in ["src/replica", "sim", "model"] {
        let text = fs::read_to_string(root().join(package).join("clippy.toml")).expect(package);
        for banned in
            ["std::time::Instant", "std::time::SystemTime", "std::thread::spawn", "std::env::var", "thread_rng"]
        {
            assert!(text.contains(banned), "{package}/clippy.toml lacks {banned}");
        }
    }
}

/// A failpoint that no step passes would make a scenario that arms it look as if it tried something.
#[test]
fn every_failpoint_is_passed_somewhere() {
    let (home, points) = all_rust().into_iter().partition::<Vec<_>, _>(|(name, _)| name.ends_with("io/failpoint.rs"));
    let (_, declared) = home.first().expect("the failpoints have a file");
    let (_, list) = declared.split_once("const ALL").expect("it lists them");
    let list = list.split_once("];").expect("the list ends").0;
    let names: Vec<_> = list.split("Self::").skip(1).map(|rest| rest.split(',').next().unwrap_or("")).collect();
    assert!(names.len() > 30, "{names:?}");
    let passed = |name: &&str| {
        let passes = format!("Failpoint::{name}");
        points.iter().any(|(file, text)| file.starts_with("src/replica/") && is_word_in(text, &passes))
    };
    let never: Vec<_> = names.into_iter().filter(|name| !passed(name)).map(ToOwned::to_owned).collect();
    none(&never);
}

fn is_word_in(text: &str, word: &str) -> bool {
    let ends = |rest: &str| rest.chars().next().is_none_or(|next| !next.is_alphanumeric());
    text.match_indices(word).any(|(place, _)| ends(&text[place + word.len()..]))
}
