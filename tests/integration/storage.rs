//! Data dirs through the tool: exported, read record by record, and refused when they are damaged.
//!
//! Belongs here: whatever the tool does with etcd's files. Each refusal names the file and the place, ends with exit 2,
//! and changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cli::{detcd_in, refused_in, text};

/// Every file below a folder, by its path, with its bytes.
pub(crate) fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut rest = vec![folder.to_owned()];
    while let Some(folder) = rest.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                rest.push(path);
            } else {
                let bytes = fs::read(&path).expect("a file");
                found.insert(path, bytes);
            }
        }
    }
    found
}

/// The objects on stdout of a command that must end well.
#[track_caller]
pub(crate) fn objects(folder: &Path, args: &[&str]) -> Vec<Value> {
    let output = detcd_in(folder, args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    let lines = text(&output.stdout);
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[track_caller]
fn export(folder: &Path, args: &[&str], to: &str) -> Value {
    let args = [&["export"], args, &["--to", to, "--json", "--quiet"]].concat();
    objects(folder, &args).pop().expect("one line")
}

/// `0000000000000000-0000000000000000.wal` of a data dir.
fn first_segment(dir: &Path) -> PathBuf {
    dir.join("member/wal/0000000000000000-0000000000000000.wal")
}

#[test]
fn an_export_is_the_disk_at_that_moment_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = ["7", "--scenario", "quiet", "--member", "2", "--at", "300ms"];
    let first = export(folder.path(), &at, "first");
    let again = export(folder.path(), &at, "again");
    assert_eq!(first["schema"], "detcd.export/1");
    assert_eq!(first["kept"], "durable");
    assert!(first["time_ns"].as_u64().expect("a time") <= 300_000_000, "{first}");
    let bytes = |name: &str| -> Vec<Vec<u8>> { tree(&folder.path().join(name)).into_values().collect() };
    assert_eq!(bytes("first"), bytes("again"));
    assert_eq!(first["event"], again["event"]);

    // The same moment by its number, and then all that the page cache had.
    let event = first["event"].to_string();
    let by_event = ["7", "--scenario", "quiet", "--member", "n2", "--at", &event];
    export(folder.path(), &by_event, "by-event");
    assert_eq!(bytes("first"), bytes("by-event"));
    let cached = export(folder.path(), &[&by_event[..], &["--cached"]].concat(), "cached");
    assert_eq!(cached["kept"], "cached");
    let index = |export: &Value| export["booted"]["consistent_index"].as_u64().expect("it boots");
    assert!(index(&first) <= index(&cached), "{first} {cached}");

    // An exported member is never further than the one that ran.
    for export in [&first, &cached] {
        assert!(export["booted"]["revision"].as_i64() <= export["running"]["revision"].as_i64(), "{export}");
    }
}

#[test]
fn an_export_comes_from_a_repro_file_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = ["run", "quiet", "--seed", "3", "--keep", "all", "--out", "out", "--json"];
    let repro = objects(folder.path(), &run)[0]["repro"].as_str().expect("it was kept").to_owned();
    let from_file = export(folder.path(), &[&repro, "--member", "1"], "from-file");
    let from_seed = export(folder.path(), &["3", "--scenario", "quiet", "--member", "1"], "from-seed");
    assert_eq!(from_file["event"], from_seed["event"]);
    let bytes = |name: &str| -> Vec<Vec<u8>> { tree(&folder.path().join(name)).into_values().collect() };
    assert_eq!(bytes("from-file"), bytes("from-seed"));
}

#[test]
fn a_wrong_export_is_refused_and_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("full")).expect("made");
    fs::write(folder.path().join("full/kept"), "kept").expect("written");
    fs::write(folder.path().join("file"), "kept").expect("written");
    let before = tree(folder.path());
    let quiet = ["export", "7", "--scenario", "quiet", "--quiet"];
    let table: &[(&[&str], &[&str])] = &[
        (&["--member", "1", "--to", "full"], &["full", "not empty"]),
        (&["--member", "1", "--to", "file"], &["file", "no folder"]),
        (&["--member", "9", "--to", "new"], &["--member 9", "1 to "]),
        (&["--member", "1", "--at", "999h", "--to", "new"], &["--at", "ends before"]),
        (&["--member", "1", "--at", "999999999", "--to", "new"], &["--at", "ends before"]),
        (&["--member", "1", "--set", "nonesuch=1", "--to", "new"], &["--set nonesuch=1"]),
        (&["--member", "1", "--bug", "nonesuch", "--to", "new"], &["nonesuch"]),
    ];
    for (args, parts) in table {
        refused_in(folder.path(), &[&quiet, *args].concat(), parts);
        assert_eq!(tree(folder.path()), before, "{args:?}");
        assert!(!folder.path().join("new").exists(), "{args:?}");
    }
    refused_in(folder.path(), &["export", "absent/repro.toml", "--member", "1", "--to", "new"], &["absent"]);
}

#[test]
fn a_log_is_shown_record_by_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let exported = export(folder.path(), &["7", "--scenario", "quiet", "--member", "1"], "data");
    let records = objects(folder.path(), &["wal", "data", "--json"]);
    let (end, records) = records.split_last().expect("records");
    assert_eq!((&end["schema"], &end["end"]), (&Value::from("detcd.wal_end/1"), &Value::from("clean")));
    assert_eq!(end["records"].as_u64(), Some(records.len() as u64));
    let kinds: Vec<&str> = records.iter().filter_map(|record| record["type"].as_str()).collect();
    assert_eq!(kinds[..3], ["crc", "metadata", "snapshot"]);
    let entries: Vec<&Value> = records.iter().filter(|record| record["type"] == "entry").collect();
    let last = entries.last().expect("entries")["index"].as_u64();
    assert!(last >= exported["booted"]["commit"].as_u64(), "{last:?} {exported}");

    // For people, the same records; of one segment, of the folder, and from an index on.
    for path in ["data", "data/member", "data/member/wal"] {
        let output = detcd_in(folder.path(), &["wal", path]);
        let lines = text(&output.stdout);
        assert!(lines.contains("conf-change add-node 1") && lines.contains("the end"), "{path}: {lines}");
    }
    let from = objects(folder.path(), &["wal", "data", "--from", "5", "--json"]);
    let indices = from.iter().filter_map(|record| record["index"].as_u64());
    assert!(indices.clone().count() > 0 && indices.clone().all(|index| index >= 5), "{from:?}");
}

#[test]
fn a_damaged_log_is_located_and_a_torn_one_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    export(folder.path(), &["7", "--scenario", "quiet", "--member", "1"], "data");
    let segment = first_segment(&folder.path().join("data"));
    let good = fs::read(&segment).expect("a segment");
    let records = objects(folder.path(), &["wal", "data", "--json"]);
    let fifth = records[5]["offset"].as_u64().expect("an offset");

    // A bit of a record.
    let mut flipped = good.clone();
    flipped[fifth as usize + 12] ^= 4;
    fs::write(&segment, &flipped).expect("written");
    let before = tree(folder.path());
    let output = detcd_in(folder.path(), &["wal", "data"]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains(&format!("at byte {fifth}: ")) && errors.contains("0000000000000000.wal"), "{errors}");
    assert!(text(&output.stdout).lines().count() > 5, "what comes before the damage is shown");
    assert_eq!(tree(folder.path()), before);

    // The end of a record cut off.
    fs::write(&segment, &good[..fifth as usize + 12]).expect("written");
    let end = objects(folder.path(), &["wal", "data", "--json"]).pop().expect("a last line");
    assert_eq!((&end["end"], &end["offset"]), (&Value::from("torn"), &Value::from(fifth)));

    fs::create_dir_all(folder.path().join("empty/member/wal")).expect("made");
    fs::write(folder.path().join("0.wal"), &good).expect("written");
    refused_in(folder.path(), &["wal", "absent"], &["absent", "no such"]);
    refused_in(folder.path(), &["wal", "empty"], &["empty/member/wal", "no WAL segment"]);
    refused_in(folder.path(), &["wal", "0.wal"], &["0.wal", "no WAL segment"]);
}

#[test]
fn a_database_is_sound_and_says_what_it_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let exported = export(folder.path(), &["7", "--scenario", "quiet", "--member", "1"], "data");
    let stats = objects(folder.path(), &["db", "stats", "data", "--json"]).remove(0);
    assert_eq!(stats["schema"], "detcd.db_stats/1");
    assert_eq!(stats["revision"], exported["booted"]["revision"]);
    assert!(stats["inUse"].as_u64() <= stats["totalSize"].as_u64(), "{stats}");
    assert!(stats["totalSize"].as_u64() <= stats["fileSize"].as_u64(), "{stats}");
    assert_eq!(objects(folder.path(), &["db", "check", "data", "--json"])[0]["sound"], true);

    let buckets = objects(folder.path(), &["db", "buckets", "data", "--json"]);
    let keys: u64 = buckets.iter().filter_map(|bucket| bucket["keys"].as_u64()).sum();
    assert_eq!(stats["totalKey"].as_u64(), Some(keys));
    let revisions = objects(folder.path(), &["db", "keys", "data", "--json"]);
    assert_eq!(revisions.last().expect("keys")["revision"]["main"], stats["revision"]);
    assert_eq!(objects(folder.path(), &["db", "keys", "data", "--limit", "2", "--json"]).len(), 2);
    let prefix = ["db", "keys", "data", "--prefix", "0x0000000000000002", "--json"];
    assert!(objects(folder.path(), &prefix).iter().all(|key| key["revision"]["main"] == 2));
    let meta = objects(folder.path(), &["db", "keys", "data", "--bucket", "meta", "--json"]);
    let index = exported["booted"]["consistent_index"].to_string();
    assert!(meta.iter().any(|pair| pair["text"] == format!("consistent_index {index}")), "{meta:?}");

    // Each page is listed once, and the first two are the metas.
    let pages = objects(folder.path(), &["db", "pages", "data", "--json"]);
    let numbers: Vec<u64> = pages.iter().filter_map(|page| page["page"].as_u64()).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    assert!(pages[..2].iter().all(|page| page["type"] == "meta"), "{pages:?}");
    let leaf = pages.iter().find(|page| page["type"] == "leaf").expect("a leaf");
    let page = objects(folder.path(), &["db", "page", "data", &leaf["page"].to_string(), "--json"]);
    assert_eq!(page.len() as u64 - 1, leaf["count"].as_u64().expect("a count"));
    let whole = detcd_in(folder.path(), &["db", "data"]);
    assert!(text(&whole.stdout).trim_end().ends_with("sound"), "{}", text(&whole.stdout));
}

#[test]
fn a_damaged_database_is_located() {
    let folder = tempfile::tempdir().expect("a folder");
    export(folder.path(), &["7", "--scenario", "quiet", "--member", "1"], "data");
    let good = fs::read(folder.path().join("data/member/snap/db")).expect("a db");
    let pages = objects(folder.path(), &["db", "pages", "data", "--json"]);
    let leaf = pages.iter().filter(|page| page["type"] == "leaf").max_by_key(|page| page["count"].as_u64());
    let leaf = leaf.expect("a leaf")["page"].as_u64().expect("a number");
    let damaged = |place: usize, bytes: &[u8]| {
        let mut copy = good.clone();
        copy[place..place + bytes.len()].copy_from_slice(bytes);
        copy
    };
    let mut metas = damaged(16, &[0; 4]);
    metas[4096 + 16..4096 + 20].fill(0);
    let at_leaf = leaf as usize * 4096;
    let leaf = format!("page {leaf}");
    let table: [(&str, Vec<u8>, &[&str]); 6] = [
        ("empty.db", Vec::new(), &["too small"]),
        ("cut.db", good[..5000].to_vec(), &["file size", "5000"]),
        ("metas.db", metas, &["page 0", "magic"]),
        ("flags.db", damaged(at_leaf + 8, &[0x20, 0]), &[&leaf, "flags"]),
        ("count.db", damaged(at_leaf + 10, &[0xff, 0xfe]), &[&leaf]),
        ("number.db", damaged(at_leaf, &[0x77]), &[&leaf]),
    ];
    for (name, bytes, parts) in table {
        fs::write(folder.path().join(name), bytes).expect("written");
        let before = tree(folder.path());
        for command in [&["db", "check", name][..], &["db", name], &["db", "keys", name], &["db", "stats", name]] {
            refused_in(folder.path(), command, &[&[name], parts].concat());
        }
        assert_eq!(tree(folder.path()), before, "{name}");
    }
    let table: &[(&[&str], &[&str])] = &[
        (&["db"], &["data dir"]),
        (&["db", "absent"], &["absent", "no such"]),
        (&["db", "."], &["no member/snap/db"]),
        (&["db", "keys", "data", "--bucket", "kee"], &["no bucket `kee`", "did you mean `key`"]),
        (&["db", "keys", "data", "--prefix", "0x1"], &["hexadecimal"]),
        (&["db", "page", "data", "999999"], &["no page 999999"]),
        (&["db", "page", "data", "x"], &["x"]),
    ];
    for (args, parts) in table {
        refused_in(folder.path(), args, parts);
    }
}

#[test]
fn a_data_dir_is_what_its_member_serves() {
    let folder = tempfile::tempdir().expect("a folder");
    let exported = export(folder.path(), &["7", "--scenario", "single-member", "--member", "1"], "data");
    let before = tree(folder.path());
    let lines = objects(folder.path(), &["import", "data", "--states", "--json"]);
    assert_eq!(tree(folder.path()), before, "nothing is changed");
    let (found, states) = lines.split_first().expect("a line");
    assert_eq!(found["schema"], "detcd.import/1");
    assert!(found["revision"].as_i64() >= exported["booted"]["revision"].as_i64(), "{found} {exported}");
    assert_eq!(states.last().expect("states")["revision"], found["revision"]);
    assert_eq!(
        states.last().expect("states")["kvs"].as_array().map(Vec::len),
        found["keys"].as_u64().map(|n| n as usize)
    );
    let words = text(&detcd_in(folder.path(), &["import", "data"]).stdout);
    assert!(words.contains("HashKV") && words.contains("revision"), "{words}");

    // Its database, saved, founds a cluster with the same keys.
    let db = fs::read(folder.path().join("data/member/snap/db")).expect("a db");
    fs::write(folder.path().join("copy.db"), &db).expect("written");
    let restored = objects(folder.path(), &["import", "copy.db", "--skip-hash-check", "--json"]).remove(0);
    assert_eq!(restored["revision"], exported["booted"]["revision"]);
}

#[test]
fn a_scenario_goes_on_from_a_data_dir() {
    let folder = tempfile::tempdir().expect("a folder");
    // With a compaction in it, of which nobody can read what was before.
    export(folder.path(), &["1", "--scenario", "etcd-mix", "--member", "1"], "data");
    let before = tree(folder.path());
    let go_on = ["import", "data", "--run", "etcd-mix", "--seed", "1", "--json", "--quiet"];
    let lines = objects(folder.path(), &go_on);
    assert_eq!(lines[1]["digest"], objects(folder.path(), &go_on)[1]["digest"]);
    let [found, run] = &lines[..] else { panic!("two lines: {lines:?}") };
    assert!(found["compact_revision"].as_i64() > Some(1), "{found}");
    assert_eq!((&run["schema"], &run["verdict"]), (&Value::from("detcd.run/1"), &Value::from("pass")));
    let ok = run["operations"]["ok"].as_u64().expect("a number");
    assert!((500..=1500).contains(&ok), "what was before is not counted: {run}");

    // What was there before is what answers are held against: a bug is found, and so is a read that knows too much.
    let output = detcd_in(folder.path(), &[&go_on[..], &["--bug", "M-34"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    let run = text(&output.stdout).lines().last().map(str::to_owned).expect("a line");
    let run: Value = serde_json::from_str(&run).expect("JSON");
    assert_eq!((&run["violation"]["side"], &run["verdict"]), (&Value::from("black-box"), &Value::from("violation")));

    refused_in(folder.path(), &["import", "data", "--bug", "M-34"], &["--bug", "--run"]);
    refused_in(folder.path(), &["import", "data", "--run", "nonesuch"], &["nonesuch"]);
    refused_in(folder.path(), &[&go_on[..], &["--user", "root"]].concat(), &["auth is off", "--user"]);
    refused_in(folder.path(), &["import", "data", "--run", "quiet", "--set", "cluster.memers=1"], &["memers"]);
    assert_eq!(tree(folder.path()), before, "nothing is changed");
}

#[test]
fn what_cannot_be_imported_is_located() {
    let folder = tempfile::tempdir().expect("a folder");
    export(folder.path(), &["7", "--scenario", "single-member", "--member", "1"], "data");
    let write = |path: &str, bytes: &[u8]| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, bytes).expect("written");
    };
    let db = fs::read(folder.path().join("data/member/snap/db")).expect("a db");
    let segment = fs::read(first_segment(&folder.path().join("data"))).expect("a segment");
    let wal = "member/wal/0000000000000000-0000000000000000.wal";
    write("no-wal/member/snap/db", &db);
    fs::create_dir_all(folder.path().join("no-wal/member/wal")).expect("made");
    let mut flipped = segment.clone();
    flipped[100] ^= 1;
    write(&format!("flipped/{wal}"), &flipped);
    write("flipped/member/snap/db", &db);
    write(&format!("cut-db/{wal}"), &segment);
    write("cut-db/member/snap/db", &db[..6000]);
    let mut hashed = db.clone();
    hashed.extend_from_slice(&[0; 32]);
    write("wrong-hash.db", &hashed);
    write("no-hash.db", &db);
    write("neither.db", &db[..1000]);
    let before = tree(folder.path());
    let table: &[(&[&str], &[&str])] = &[
        (&["import", "absent"], &["absent", "no such"]),
        (&["import", "."], &["no data dir", "member/"]),
        (&["import", "data/member"], &["no data dir"]),
        (&["import", "no-wal"], &["no-wal", "no WAL"]),
        (&["import", "flipped"], &["flipped", wal, "at byte"]),
        (&["import", "cut-db"], &["cut-db", "member/snap/db", "file size", "6000"]),
        (&["import", "wrong-hash.db"], &["wrong-hash.db", "SHA-256"]),
        (&["import", "no-hash.db"], &["no-hash.db", "SHA-256", "--skip-hash-check"]),
        (&["import", "neither.db", "--skip-hash-check"], &["neither.db", "SHA-256"]),
        (&["import", "data", "--skip-hash-check"], &["--skip-hash-check"]),
        (&["import", "no-hash.db", "--force-new-cluster"], &["--force-new-cluster"]),
    ];
    for (args, parts) in table {
        refused_in(folder.path(), args, parts);
    }
    assert_eq!(tree(folder.path()), before, "nothing is changed");
}
