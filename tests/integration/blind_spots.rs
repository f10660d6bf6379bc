//! The WAL's blind spots in the real etcd: it boots the damage that a scenario does, and loses what our member loses.
//!
//! Belongs here: what etcd starts on although acknowledged writes are gone. `reports/wal-blind-spots.md` says it in
//! words.

use std::path::Path;

use serde_json::Value;

use super::acceptance::{compare, each, import};
use super::cli::{detcd_in, text};
use super::etcd::{copy, number, Binaries, Dice, Etcd};
use super::storage::objects;

/// What the real etcd does with a damaged log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    /// It calls the log torn, keeps a copy of the segment, cuts the log and goes on.
    Repairs,
    /// It takes the log to end there, and writes zeros over all that follows: no copy, no word.
    Erases,
    /// The one or the other: a record that begins where the sector does has lost its length.
    RepairsOrErases,
    /// It does not start, and neither do we.
    Refuses,
    /// 3.5.1 does not start, and says this; we do as the newest 3.5 and as main.
    RefusesAlone(&'static str),
}

/// The scenarios with one member, by the end of their names.
const VARIANTS: [(&str, Reaction); 6] = [
    // The control: what the checksum is for.
    ("damage-refused", Reaction::Refuses),
    ("blind-spots-sector", Reaction::RepairsOrErases),
    ("blind-spots-length", Reaction::Erases),
    ("blind-spots-too-long", Reaction::Repairs),
    ("blind-spots-zero-values", Reaction::Repairs),
    ("blind-spots-high-bit", Reaction::RefusesAlone("max entry size limit exceeded")),
];

/// A member that lost power at 800 ms, before and after the damage at 900 ms.
const WHOLE: &str = "850ms";
const DAMAGED: &str = "950ms";

/// Exports the member at a moment; whether its disk has broken a promise by then.
fn export(folder: &Path, scenario: &str, seed: &str, at: &str) -> bool {
    let args = ["export", seed, "--scenario", scenario, "--set", "replica.release='3.5'", "--member", "1"];
    let exported = objects(folder, &[&args[..], &["--at", at, "--to", at, "--json", "--quiet"]].concat()).remove(0);
    exported["harmed"] == true
}

/// What the judge says about the run.
fn verdict(folder: &Path, scenario: &str, seed: &str) -> Value {
    let run =
        ["run", scenario, "--seed", seed, "--set", "replica.release='3.5'", "--keep", "none", "--json", "--quiet"];
    let output = text(&detcd_in(folder, &run).stdout);
    serde_json::from_str(output.lines().next().expect("a line")).expect("JSON")
}

/// The newest revision that both serve from a data dir, with every key at every revision as the other has it.
fn served(binaries: &Binaries, folder: &Path, dir: &str) -> Result<i64, String> {
    let real = folder.join(format!("real-{dir}"));
    copy(&folder.join(dir), &real);
    let server = Etcd::start(binaries, &real, &[])?;
    let ours =
        import(folder, dir, &[]).unwrap_or_else(|refusal| panic!("the real etcd boots what we refuse: {refusal}"));
    compare(binaries, &server, &ours);
    Ok(number(&ours.summary["revision"]))
}

/// All that the real etcd has said, and whether it has kept a copy of a segment.
fn said(folder: &Path, dir: &str) -> (String, bool) {
    let log = std::fs::read_to_string(folder.join(format!("real-{dir}.log"))).expect("a log");
    let wal = folder.join(format!("real-{dir}/member/wal"));
    let mut files = std::fs::read_dir(wal).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    (log, files.any(|name| name.to_string_lossy().ends_with(".broken")))
}

/// One variant; neighbouring seeds take different ones.
fn damage(binaries: &Binaries, folder: &Path, dice: &mut Dice) -> String {
    let (name, expected) = VARIANTS[dice.0 as usize % VARIANTS.len()];
    let scenario = &format!("wal-{name}");
    let seed = &dice.below(1 << 32).to_string();
    // Without the damage nothing is lost.
    assert_eq!(verdict(folder, "wal-blind-spots-none", seed)["verdict"], "pass", "the control, seed {seed}");
    assert!(!export(folder, scenario, seed, WHOLE), "nothing has happened yet");
    let harmed = export(folder, scenario, seed, DAMAGED);
    let judged = verdict(folder, scenario, seed);
    println!("  detcd export {seed} --scenario {scenario} --member 1 --at {DAMAGED} --to {DAMAGED}");
    let whole = served(binaries, folder, WHOLE).expect("the real etcd boots what nothing has happened to");
    let damaged = served(binaries, folder, DAMAGED);
    if !harmed {
        // The sector that was drawn is none.
        assert_eq!((damaged, &judged["verdict"]), (Ok(whole), &"pass".into()));
        return format!("{name}, spared: {whole} revisions");
    }
    match (damaged, expected) {
        (Err(theirs), Reaction::RefusesAlone(reason)) => {
            assert!(theirs.contains(reason), "{theirs}");
            import(folder, DAMAGED, &[]).expect("we boot it");
            assert_eq!(judged["violation"]["side"], "black-box", "clients see it: {judged}");
            format!("{name}, refused by 3.5.1 alone: {reason}")
        }
        // Not only the control: at the log's beginning, where it says whose it is, damage is seen.
        (Err(_), _) => {
            let ours = import(folder, DAMAGED, &[]).err().expect("we refuse what the real etcd refuses");
            assert_eq!(judged["verdict"], "pass", "a refusal is no finding");
            format!("{name}, refused by both: {}", ours.trim_end())
        }
        (Ok(_), Reaction::Refuses | Reaction::RefusesAlone(_)) => panic!("the real etcd boots from {name}"),
        (Ok(damaged), _) => {
            assert!(damaged < whole, "{whole} revisions without the damage, {damaged} with it");
            let (log, copied) = said(folder, DAMAGED);
            let reaction = if log.contains("repaired WAL") { Reaction::Repairs } else { Reaction::Erases };
            assert_eq!(copied, reaction == Reaction::Repairs, "{log}");
            assert!(expected == reaction || expected == Reaction::RepairsOrErases, "{reaction:?}: {log}");
            assert!(!log.contains("\"level\":\"error\""), "it does not call it an error: {log}");
            assert_eq!(judged["violation"]["side"], "black-box", "clients see it: {judged}");
            format!("{name}, {reaction:?} and lost by both: revisions {} to {whole}", damaged + 1)
        }
    }
}

#[test]
fn the_real_etcd_loses_what_a_blind_spot_of_its_log_hides() {
    each("the_real_etcd_loses_what_a_blind_spot_of_its_log_hides", damage);
}
