//! `detcd import`: what a data dir or a saved database of a real etcd holds, as a member that boots from it serves it;
//! and a scenario that goes on from there.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::{host, quoted, world_flags};
use crate::cli::{ImportArgs, Keep};
use crate::datadir;
use crate::engine::{
    self, EngineError, HashCheck, Inspection, Judges, LeaseFound, MemberFound, Past, RunOptions, Standing, Start,
    Subject, Verdict, World,
};
use crate::exit::{Exit, Failure};
use crate::output::bytes::key_value;
use crate::output::lines::RunLine;
use crate::output::{block, console, human};
use crate::run::{exit_of, run_one};
use crate::scenario::Scenario;

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
    members: &'a [MemberFound],
    leases: &'a [LeaseFound],
    alarms: &'a [String],
    auth_enabled: bool,
    users: &'a [String],
    roles: &'a [String],
}

/// `detcd.state/1`: every key at a revision.
#[derive(Serialize)]
struct State {
    schema: &'static str,
    revision: i64,
    kvs: Vec<Value>,
}

pub(super) fn execute(args: &ImportArgs) -> Result<Exit, Failure> {
    let refuse = |error| Failure::usage(format!("{}: {error}", args.path.display()));
    let scenario = match &args.run {
        Some(scenario) => Some(engine::load(scenario, &args.world.settings)?),
        None if args.world.settings.is_empty() && args.world.bugs.is_empty() => None,
        None => return Err(Failure::usage("--set and --bug are for the world of --run")),
    };
    let subject = if args.path.is_file() { snapshot(args) } else { data_dir(args) };
    let mut subject = subject?.map_err(refuse)?;
    let past = scenario.is_some().then(|| Past::of(&mut subject, args.user.as_deref()));
    let past = past.transpose().map_err(refuse)?;
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
    match (scenario, past) {
        (Some(scenario), Some(past)) => go_on(args, &scenario, past),
        _ => Ok(Exit::Pass),
    }
}

/// Runs a scenario on a cluster that begins with what was imported.
fn go_on(args: &ImportArgs, scenario: &Scenario<World>, past: Past) -> Result<Exit, Failure> {
    let options = RunOptions {
        bugs: args.world.bugs.iter().copied().collect(),
        judges: Judges::BlackBox,
        host: host(&args.world)?,
        trace: false,
        overrides: BTreeMap::new(),
        past: Some(Arc::new(past)),
    };
    let report = run_one(scenario, args.seed, &options, Keep::None)?;
    let line = RunLine::new(&report, None);
    if args.output.json {
        console::json(&line)?;
    } else if report.verdict == Verdict::Pass {
        console::line(&format!("{}\n{}", human::heading(), human::run(&line)))?;
    } else {
        let bugs: Vec<&str> = options.bugs.iter().map(|bug| bug.name()).collect();
        let violation = report.violation.as_ref();
        let details = violation.map_or(&[][..], |violation| &violation.details);
        let at = violation.and_then(|violation| violation.at);
        console::line(&block::failure(&line, at, details, &bugs, &again(args)))?;
    }
    Ok(exit_of(report.verdict))
}

/// The command that does it all again.
fn again(args: &ImportArgs) -> String {
    let mut words = vec!["detcd import".to_owned(), quoted(&args.path.display().to_string())];
    words.extend(args.force_new_cluster.then(|| "--force-new-cluster".to_owned()));
    words.extend(args.skip_hash_check.then(|| "--skip-hash-check".to_owned()));
    words.extend(args.user.iter().map(|user| format!("--user {}", quoted(user))));
    words.extend(args.run.iter().map(|scenario| format!("--run {}", quoted(scenario))));
    format!("{} --seed {}{}", words.join(" "), args.seed, world_flags(&args.world))
}

/// A data dir's own member.
fn data_dir(args: &ImportArgs) -> Result<Result<Subject, EngineError>, Failure> {
    if args.skip_hash_check {
        return Err(Failure::usage("--skip-hash-check is for a file of `snapshot save`, not for a data dir"));
    }
    let dir = datadir::read(&args.path)?;
    for path in dir.unknown.iter().filter(|_| !args.output.quiet) {
        eprintln!("{}: not a file of etcd's, and passed over", path.display());
    }
    let start = if args.force_new_cluster { Start::Forced } else { Start::AsNeeded };
    Ok(engine::inspect(&dir.image, start))
}

/// The one member of a cluster that is founded on a saved database.
fn snapshot(args: &ImportArgs) -> Result<Result<Subject, EngineError>, Failure> {
    if args.force_new_cluster {
        return Err(Failure::usage(
            "--force-new-cluster is for a data dir: a saved database always founds a new cluster",
        ));
    }
    let (_, bytes) = datadir::read_db(&args.path)?;
    let check = if args.skip_hash_check { HashCheck::Skipped } else { HashCheck::Demanded };
    let database = engine::saved(&bytes, check).and_then(|database| engine::restored(&database));
    Ok(database.and_then(engine::found))
}

fn say(args: &ImportArgs, found: &Inspection) -> Result<(), Failure> {
    let Inspection { member, cluster, forced, standing, keys, hash_kv, .. } = found;
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
            members: &found.members,
            leases: &found.leases,
            alarms: &found.alarms,
            auth_enabled: found.auth_enabled,
            users: &found.users,
            roles: &found.roles,
        });
    }
    let how = if *forced { ", alone in a new cluster" } else { "" };
    console::line(&format!("{}: member {member:x} of cluster {cluster:x}{how}", args.path.display()))?;
    let Standing { term, applied, consistent_index, revision, compact_revision, .. } = standing;
    console::line(&format!("  revision          {revision}, compacted at {compact_revision}"))?;
    console::line(&format!("  raft              term {term}, applied {applied}, consistent index {consistent_index}"))?;
    console::line(&format!("  keys              {keys}"))?;
    console::line(&format!("  HashKV            {} at revision {revision}", hash_kv.hash))?;
    for MemberFound { id, name, peer_urls, learner, .. } in &found.members {
        let urls = peer_urls.as_deref().unwrap_or_default().join(",");
        let what = if *learner { "learner" } else { "voter" };
        console::line(format!("  member            {id:x} {what} {name} {urls}").trim_end())?;
    }
    for LeaseFound { id, ttl, keys } in &found.leases {
        console::line(&format!("  lease             {id:x} of {ttl} s, {keys} keys"))?;
    }
    for alarm in &found.alarms {
        console::line(&format!("  alarm             {alarm}"))?;
    }
    let auth = if found.auth_enabled { "on" } else { "off" };
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    console::line(&format!("  auth              {auth}; users: {}; roles: {}", list(&found.users), list(&found.roles)))
}
