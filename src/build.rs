//! Runs before the build of the root package: embeds the built-in scenarios and the identity of this build.
//!
//! The identity is what a repro file is compared with: the git commit when there is one, and a fingerprint of the
//! sources, which also sees a change that nobody has committed. Knows nothing of what the sources mean.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    for watched in ["src", "sim", "model", "scenarios", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={watched}");
    }

    let mut files = Vec::new();
    for folder in ["src", "sim", "model", "scenarios"] {
        collect(&root.join(folder), &mut files)?;
    }
    files.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for file in &files {
        let name = file.strip_prefix(&root).expect("collected below it").to_string_lossy().replace('\\', "/");
        fnv(&mut hash, name.as_bytes());
        fnv(&mut hash, &fs::read(file)?);
    }
    println!("cargo:rustc-env=DETCD_SOURCE={hash:016x}");
    println!("cargo:rustc-env=DETCD_COMMIT={}", commit(&root).unwrap_or_default());

    let mut table = String::from("&[\n");
    for file in files.iter().filter(|file| file.parent() == Some(&root.join("scenarios"))) {
        let name = file.file_stem().expect("it has an extension").to_string_lossy().into_owned();
        table.push_str(&format!("    ({name:?}, include_str!({:?})),\n", file.to_string_lossy()));
    }
    table.push(']');
    fs::write(PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("scenarios.rs"), table)
}

/// The files below `folder` that can change what the program does.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

fn fnv(hash: &mut u64, bytes: &[u8]) {
    for byte in bytes {
        *hash = (*hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    }
}

/// The commit that is checked out, when this is a git work tree.
fn commit(root: &Path) -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "HEAD", "--git-dir"]).current_dir(root).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    let mut lines = text.lines();
    let commit = lines.next()?.to_owned();
    // The log of HEAD grows with each commit and checkout; a path that does not exist would rebuild every time.
    let log = root.join(lines.next()?).join("logs/HEAD");
    if log.exists() {
        println!("cargo:rerun-if-changed={}", log.display());
    }
    Some(commit)
}
