//! Is it etcd's storage? The real etcd boots what simulated members left behind, and we boot what it leaves behind.
//!
//! Belongs here: comparisons with the real binaries. They are skipped by name where there are none. How many, and from
//! which seed on, is set by `DETCD_ACCEPTANCE` and `DETCD_ACCEPTANCE_SEED`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{json, Value};

use super::cli::{detcd_in, refused_in, text};
use super::etcd::{copy, everything, number, pairs, Binaries, Dice, Etcd, Pair};
use super::load;
use super::storage::objects;

/// Comparisons of each kind, where nobody says otherwise.
const COUNT: u64 = 5;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// Runs `one` so often as is asked for, each time with choices of its own, and prints what it says.
pub(crate) fn each(name: &str, one: impl Fn(&Binaries, &Path, &mut Dice) -> String) {
    let Some(binaries) = Binaries::find(name) else { return };
    let first = setting("DETCD_ACCEPTANCE_SEED", 1);
    let mut tally = BTreeMap::<String, u64>::new();
    for seed in first..first + setting("DETCD_ACCEPTANCE", COUNT) {
        let folder = tempfile::tempdir().expect("a folder");
        println!("{name}: DETCD_ACCEPTANCE_SEED={seed} DETCD_ACCEPTANCE=1");
        let outcome = one(&binaries, folder.path(), &mut Dice(seed));
        println!("  {outcome}");
        *tally.entry(outcome.split(':').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    println!("{name}: {tally:?}");
}

/// What our own boot of a data dir serves.
pub(crate) struct Served {
    pub(crate) summary: Value,
    /// By revision, from the compaction revision on.
    states: BTreeMap<i64, Vec<Pair>>,
}

/// Boots a data dir with `detcd import`.
///
/// # Errors
/// Its refusal.
pub(crate) fn import(folder: &Path, dir: &str, flags: &[&str]) -> Result<Served, String> {
    let args = [&["import", dir, "--json", "--quiet", "--states"], flags].concat();
    let output = detcd_in(folder, &args);
    match output.status.code() {
        Some(0) => {}
        Some(2) => return Err(text(&output.stderr)),
        other => panic!("{args:?}: {other:?}: {}", text(&output.stderr)),
    }
    let mut lines =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<Value>>();
    let summary = lines.remove(0);
    let states = lines.iter().map(|state| (number(&state["revision"]), pairs(state))).collect();
    Ok(Served { summary, states })
}

/// Compares what the two serve: every key at every revision that is not compacted, and HashKV.
pub(crate) fn compare(binaries: &Binaries, server: &Etcd, served: &Served) {
    let newest = everything(server, 0).expect("the newest revision is served");
    let revision = number(&newest["header"]["revision"]);
    assert_eq!(revision, number(&served.summary["revision"]), "revision");
    for (at, ours) in &served.states {
        let theirs = everything(server, *at).unwrap_or_else(|error| panic!("at revision {at}: {error}"));
        assert_eq!(pairs(&theirs), *ours, "every key at revision {at}");
    }
    assert_eq!(served.states.keys().next_back(), Some(&revision), "the newest revision is among them");
    let compacted = number(&served.summary["compact_revision"]);
    if compacted > 1 {
        everything(server, compacted - 1).expect_err("what is compacted is not served");
    }
    // At 0, the newest: 3.5 refuses the compaction revision itself.
    let (hash, compact_revision) = binaries.hash_kv(server, 0).expect("HashKV");
    assert_eq!(Some(hash), served.summary["hash_kv"]["hash"].as_u64(), "HashKV at {revision}");
    assert_eq!(compact_revision, number(&served.summary["hash_kv"]["compact_revision"]), "compact revision of HashKV");
}

/// The scenarios that exports are taken from, with what is set in them.
const SCENARIOS: [&str; 6] = ["swarm", "power-loss", "etcd-mix", "kubernetes", "compaction-crash", "single-member"];

/// What breaks a disk's promises: a kind of fault, and what else an episode of it needs.
const DAMAGE: [&str; 12] = [
    "kind='sector-loss', file='wal', magnitude=1",
    "kind='sector-loss', file='db', magnitude=1",
    "kind='bit-rot', file='wal', magnitude=1",
    "kind='bit-rot', file='db', magnitude=1",
    "kind='bit-rot', file='snap', magnitude=1",
    "kind='record-damage', record='no-length', magnitude=10",
    "kind='record-damage', record='too-long', magnitude=10",
    "kind='record-damage', record='data', magnitude=10",
    "kind='lost-write', file='wal', magnitude=10",
    "kind='lost-write', file='db', magnitude=10",
    "kind='misdirected-write', file='wal', magnitude=10",
    "kind='misdirected-write', file='db', magnitude=10",
];

/// Exports a member from a random moment of a random run, in which its disk breaks a promise if so asked.
fn export(folder: &Path, dice: &mut Dice, damaged: bool) -> Value {
    let scenario = SCENARIOS[dice.below(SCENARIOS.len() as u64) as usize];
    let seed = dice.below(1 << 32).to_string();
    // The binaries are of 3.5, and refuse a cluster whose version is above that.
    let mut of = vec!["--set".to_owned(), "replica.release='3.5'".to_owned()];
    if damaged {
        let episode = DAMAGE[dice.below(DAMAGE.len() as u64) as usize];
        let from = 500 + dice.below(2000);
        let until = from + 500;
        let episode = format!("{{ {episode}, targets=['n1'], from='{from}ms', until='{until}ms' }}");
        of.extend(["--set".to_owned(), format!("faults.episodes=[{episode}]")]);
    }
    let of: Vec<&str> = of.iter().map(String::as_str).collect();
    let run = ["run", scenario, "--seed", &seed, "--keep", "none", "--json", "--quiet"];
    let run = detcd_in(folder, &[&run[..], &of].concat());
    let line = text(&run.stdout).lines().next().expect("a line").to_owned();
    let run: Value = serde_json::from_str(&line).expect("JSON");
    let event = (1 + dice.below(run["events"].as_u64().expect("events"))).to_string();
    let mut member = if damaged { 1 } else { 1 + dice.below(3) }.to_string();
    let mut args = vec!["export", &seed, "--scenario", scenario, "--at", &event, "--to", "data", "--json", "--quiet"];
    args.extend(&of);
    if dice.below(3) == 0 {
        args.push("--cached");
    }
    let export = |member: &str| detcd_in(folder, &[&args[..], &["--member", member]].concat());
    let mut output = export(&member);
    if text(&output.stderr).contains("the members of this run are") {
        "1".clone_into(&mut member);
        output = export(&member);
    }
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    println!("  detcd {} --member {member}", args.join(" "));
    serde_json::from_str(&text(&output.stdout)).expect("JSON")
}

/// The paths of the files of an export.
fn files_of(exported: &Value) -> Vec<String> {
    let files = exported["files"].as_array().into_iter().flatten();
    files.filter_map(|file| file["path"].as_str().map(str::to_owned)).collect()
}

#[test]
fn the_real_etcd_boots_what_a_member_left_behind() {
    each("the_real_etcd_boots_what_a_member_left_behind", |binaries, folder, dice| {
        let exported = export(folder, dice, false);
        boots(binaries, folder, &exported)
    });
}

#[test]
fn the_real_etcd_takes_damage_as_we_do() {
    each("the_real_etcd_takes_damage_as_we_do", |binaries, folder, dice| {
        let exported = export(folder, dice, true);
        let harmed = if exported["harmed"] == true { "harmed" } else { "unharmed" };
        format!("{harmed}, {}", boots(binaries, folder, &exported))
    });
}

/// A page in the place of another: 3.6.4 compares the numbers, and so do we; 3.5.1 does not.
const STRAY_PAGE: &str = "it says that it is page";

/// Boots an export in the real etcd and in ours.
fn boots(binaries: &Binaries, folder: &Path, exported: &Value) -> String {
    let data = folder.join("data");
    let db = data.join("member/snap/db");
    if db.is_file() {
        let ours = detcd_in(folder, &["db", "stats", "data", "--json"]);
        match (binaries.snapshot_status(&db), ours.status.code()) {
            (Ok(theirs), Some(0)) => {
                let ours: Value = serde_json::from_str(&text(&ours.stdout)).expect("JSON");
                for field in ["hash", "revision", "totalKey", "totalSize"] {
                    assert_eq!(theirs[field], ours[field], "{field} of {theirs} and {ours}");
                }
            }
            (Ok(theirs), _) => assert!(text(&ours.stderr).contains(STRAY_PAGE), "{}{theirs}", text(&ours.stderr)),
            (Err(reason), _) => assert!(exported["booted"].is_null(), "etcdutl refuses the db: {reason}"),
        }
    }
    if !files_of(exported).iter().any(|path| path.ends_with(".wal")) {
        // etcd would found a new cluster there.
        return "empty: the member had nothing on its disk yet".to_owned();
    }
    let served = import(folder, "data", &["--force-new-cluster"]);
    copy(&data, &folder.join("real"));
    match (Etcd::start(binaries, &folder.join("real"), &["--force-new-cluster"]), served) {
        (Err(theirs), Err(ours)) => {
            assert!(exported["faults"] != json!({}), "both refuse, though nothing went wrong: {ours}{theirs}");
            format!("refused by both: {ours}")
        }
        // 3.5.1 asks the database that it has just closed for its index, whenever it takes the one that came with a
        // snapshot instead.
        (Err(theirs), Ok(_))
            if theirs.contains("tx closed") && files_of(exported).iter().any(|path| path.ends_with(".snap.db")) =>
        {
            "3.5.1 panics: it boots from no database that came with a snapshot".to_owned()
        }
        (Err(theirs), Ok(_)) => panic!("the real etcd refuses what we boot: {theirs}"),
        (_, Err(ours)) if ours.contains(STRAY_PAGE) => format!("3.5.1 does not look at the numbers of pages: {ours}"),
        // 3.5.1 forgets that the database knows more of what is committed than the log; later it does not start.
        (Ok(_), Err(ours)) if ours.contains("state.commit") && exported["harmed"] == true => {
            format!("3.5.1 commits less than its database has, and boots: {ours}")
        }
        (Ok(_), Err(ours)) => panic!("the real etcd boots what we refuse: {ours}"),
        (Ok(server), Ok(served)) => {
            compare(binaries, &server, &served);
            // Entries that the database seems to have are passed over, and nobody is answered.
            if number(&served.summary["consistent_index"]) > number(&served.summary["applied"]) {
                assert_eq!(exported["harmed"], true, "a log has lost what its database has: {}", served.summary);
                return format!("equal, and behind their database: {} revisions", served.states.len());
            }
            let put = server.ask("/v3/kv/put", &json!({ "key": "YWZ0ZXI=", "value": "d2FyZHM=" }));
            let header = put.expect("it accepts writes");
            let revision = number(&served.summary["revision"]);
            assert_eq!(number(&header["header"]["revision"]), revision + 1);
            format!("equal: {} revisions up to {revision}", served.states.len())
        }
    }
}

/// Its member goes on as that of a simulated cluster, or a new one is founded on a saved database; what its clients see
/// is judged.
fn goes_on(folder: &Path, dice: &mut Dice, auth: bool) -> String {
    let scenario = SCENARIOS[dice.below(SCENARIOS.len() as u64) as usize];
    let seed = dice.below(1 << 32).to_string();
    let mut args = vec!["import", "data", "--run", scenario, "--seed", &seed, "--json", "--quiet"];
    if auth {
        refused_in(folder, &args, &["auth is on", "--user"]);
        for user in ["somebody", "nobody"] {
            refused_in(folder, &[&args[..], &["--user", user]].concat(), &[user, "root"]);
        }
        args.extend(["--user", "root"]);
    }
    let lines = objects(folder, &args);
    assert_eq!(lines[1]["verdict"], "pass", "{args:?}: {}", lines[1]);
    format!("{scenario} goes on from it: {} operations", lines[1]["operations"]["ok"])
}

#[test]
fn we_boot_what_the_real_etcd_left_behind() {
    each("we_boot_what_the_real_etcd_left_behind", |binaries, folder, dice| {
        let data = folder.join("data");
        let left = load::under_load(binaries, &data, dice);
        copy(&data, &folder.join("real"));
        let served = import(folder, "data", &[]).unwrap_or_else(|refusal| panic!("we refuse it: {refusal}"));
        let mut server = Etcd::start(binaries, &folder.join("real"), &[]).expect("the real etcd boots its own");
        if left.auth {
            server.authenticate("root", "root").expect("root may");
        }
        compare(binaries, &server, &served);
        let ask = |path: &str| server.ask(path, &json!({})).unwrap_or_else(|error| panic!("{error}"));
        let list = |list: &Value| list.as_array().cloned().unwrap_or_default();
        let lease = |granted: &Value| {
            let body = json!({ "ID": granted["ID"], "keys": true });
            let lives = server.ask("/v3/lease/timetolive", &body).unwrap_or_else(|error| panic!("{error}"));
            (number(&lives["ID"]), number(&lives["grantedTTL"]), list(&lives["keys"]).len() as i64)
        };
        let theirs: BTreeSet<_> = list(&ask("/v3/lease/leases")["leases"]).iter().map(lease).collect();
        let ours = list(&served.summary["leases"]);
        let ours = ours.iter().map(|lease| (number(&lease["id"]), number(&lease["ttl"]), number(&lease["keys"])));
        assert_eq!(theirs, ours.collect(), "leases with their times and keys");
        let names = |list: &Value| -> Vec<String> {
            list.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        assert_eq!(names(&ask("/v3/auth/user/list")["users"]), names(&served.summary["users"]), "users");
        assert_eq!(names(&ask("/v3/auth/role/list")["roles"]), names(&served.summary["roles"]), "roles");
        assert_eq!(ask("/v3/auth/status")["enabled"] == true, served.summary["auth_enabled"] == true, "auth");
        let theirs = list(&ask("/v3/cluster/member/list")["members"]).into_iter().map(|member| {
            let id: u64 = member["ID"].as_str().and_then(|id| id.parse().ok()).expect("an id");
            (format!("{id:x}"), member["name"].clone(), member["peerURLs"].clone())
        });
        let ours = list(&served.summary["members"]).into_iter().map(|member| {
            let id = member["id"].as_str().expect("an id").to_owned();
            (id, member["name"].clone(), member["peer_urls"].clone())
        });
        assert!(theirs.eq(ours), "members");
        let on = goes_on(folder, dice, left.auth);
        format!("equal: {} revisions, {}; {on}", served.states.len(), left.words)
    });
}

#[test]
fn we_boot_a_snapshot_that_the_real_etcd_saved() {
    each("we_boot_a_snapshot_that_the_real_etcd_saved", |binaries, folder, dice| {
        let data = folder.join("data");
        let left = load::under_load(binaries, &data, dice);
        let db = folder.join("snapshot.db");
        {
            let mut server = Etcd::start(binaries, &data, &[]).expect("the real etcd boots its own");
            if left.auth {
                server.authenticate("root", "root").expect("root may");
            }
            binaries.snapshot_save(&server, &db).expect("the real etcd saves it");
        }
        binaries.snapshot_restore(&db, &folder.join("real")).expect("the real etcd restores it");
        let served = import(folder, "snapshot.db", &[]).unwrap_or_else(|refusal| panic!("we refuse it: {refusal}"));
        let mut server = Etcd::start(binaries, &folder.join("real"), &[]).expect("the real etcd boots it");
        if served.summary["auth_enabled"] == true {
            server.authenticate("root", "root").expect("root may");
        }
        compare(binaries, &server, &served);
        format!("equal: {} revisions", served.states.len())
    });
}
