//! `detcd import`: what a real data dir holds, as the member that boots from it serves it.

use serde::Serialize;
use serde_json::Value;

use crate::cli::ImportArgs;
use crate::datadir;
use crate::engine::{self, Inspection, Standing, Start};
use crate::exit::{Exit, Failure};
use crate::output::bytes::key_value;
use crate::output::console;

/// `detcd.import/1`.
#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    path: String,
    member: String,
    cluster: String,
    /// Whether the member was made the only one of a new cluster.
    forced: bool,
    #[serde(flatten)]
    standing: &'a Standing,
    keys: u64,
    hash_kv: engine::Hash,
}

/// `detcd.state/1`: every key at a revision.
#[derive(Serialize)]
struct State {
    schema: &'static str,
    revision: i64,
    kvs: Vec<Value>,
}

pub(super) fn execute(args: &ImportArgs) -> Result<Exit, Failure> {
    let dir = datadir::read(&args.path)?;
    for path in dir.unknown.iter().filter(|_| !args.output.quiet) {
        eprintln!("{}: not a file of etcd's, and passed over", path.display());
    }
    let start = if args.force_new_cluster { Start::Forced } else { Start::AsNeeded };
    let refuse = |error| Failure::usage(format!("{}: {error}", args.path.display()));
    let subject = engine::inspect(&dir.image, start).map_err(refuse)?;
    say(args, &subject.found)?;
    if args.states {
        for revision in subject.revisions() {
            let kvs = subject.keys_at(revision).iter().map(key_value).collect();
            if args.output.json {
                console::json(&State { schema: "detcd.state/1", revision, kvs })?;
            } else {
                console::line(&format!("revision {revision}: {}", Value::from(kvs)))?;
            }
        }
    }
    Ok(Exit::Pass)
}

fn say(args: &ImportArgs, found: &Inspection) -> Result<(), Failure> {
    let Inspection { member, cluster, forced, standing, keys, hash_kv } = found;
    if args.output.json {
        return console::json(&Line {
            schema: "detcd.import/1",
            path: args.path.display().to_string(),
            member: format!("{member:x}"),
            cluster: format!("{cluster:x}"),
            forced: *forced,
            standing,
            keys: *keys,
            hash_kv: *hash_kv,
        });
    }
    let how = if *forced { ", alone in a new cluster" } else { "" };
    console::line(&format!("{}: member {member:x} of cluster {cluster:x}{how}", args.path.display()))?;
    let Standing { term, applied, consistent_index, revision, compact_revision, .. } = standing;
    console::line(&format!("  revision          {revision}, compacted at {compact_revision}"))?;
    console::line(&format!("  raft              term {term}, applied {applied}, consistent index {consistent_index}"))?;
    console::line(&format!("  keys              {keys}"))?;
    console::line(&format!("  HashKV            {} at revision {revision}", hash_kv.hash))
}
