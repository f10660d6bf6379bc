//! Load on a real etcd: puts, deletes, transactions, leases, auth, compaction, defragmentation, and kill -9 in between.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{json, Value};

use super::etcd::{everything, number, Binaries, Client, Dice, Etcd};

/// What was done.
pub(crate) struct Left {
    /// Whether authentication is on; root's password is `root`.
    pub(crate) auth: bool,
    /// The same in words.
    pub(crate) words: String,
}

/// `name` in base64, as the JSON API has keys: names here are of six letters, which need no padding.
fn key(number: u64) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |place: u64| letters[(number >> (6 * place)) as usize & 63] as char;
    format!("a2V5{}{}{}{}", letter(3), letter(2), letter(1), letter(0))
}

fn value(dice: &mut Dice) -> String {
    "dmFs".repeat(1 + dice.below(40) as usize)
}

/// Makes a data dir with several lives of a server, each ended by SIGKILL at a random moment.
pub(crate) fn under_load(binaries: &Binaries, data: &Path, dice: &mut Dice) -> Left {
    let snapshot_count = (5 + dice.below(200)).to_string();
    let flags = ["--snapshot-count", &snapshot_count, "--experimental-compaction-batch-limit", "10"];
    let lives = 2 + dice.below(3);
    let with_auth = dice.below(2) == 0;
    let mut auth = false;
    for life in 0..lives {
        let mut server = Etcd::start(binaries, data, &flags).expect("the real etcd boots its own");
        if auth {
            server.authenticate("root", "root").expect("root may");
        }
        if with_auth && !auth && life + 1 == lives {
            enable_auth(&mut server);
            auth = true;
        }
        let over = AtomicBool::new(false);
        let seeds: Vec<u64> = (0..4).map(|_| dice.next()).collect();
        std::thread::scope(|scope| {
            for seed in seeds {
                let (asking, over) = (server.client(), &over);
                scope.spawn(move || client(&asking, over, &mut Dice(seed)));
            }
            std::thread::sleep(Duration::from_millis(200 + dice.below(800)));
            // The clients find the server gone in the middle of what they do.
            over.store(true, Ordering::Relaxed);
            server.kill();
        });
    }
    Left { auth, words: format!("{lives} lives, a snapshot every {snapshot_count}, auth {auth}") }
}

fn enable_auth(server: &mut Etcd) {
    let steps: [(&str, Value); 8] = [
        ("/v3/auth/user/add", json!({ "name": "root", "password": "root" })),
        ("/v3/auth/role/add", json!({ "name": "root" })),
        ("/v3/auth/user/grant", json!({ "user": "root", "role": "root" })),
        ("/v3/auth/role/add", json!({ "name": "some" })),
        (
            "/v3/auth/role/grant",
            json!({ "name": "some", "perm": { "permType": 2, "key": "YQ==", "range_end": "Yg==" } }),
        ),
        ("/v3/auth/user/add", json!({ "name": "somebody", "password": "secret" })),
        ("/v3/auth/user/grant", json!({ "user": "somebody", "role": "some" })),
        ("/v3/auth/enable", json!({})),
    ];
    for (path, body) in steps {
        server.ask(path, &body).unwrap_or_else(|error| panic!("{error}"));
    }
    server.authenticate("root", "root").expect("root may");
}

/// One client: an operation after the other until the server is gone. Errors are what it is here for.
fn client(server: &Client, over: &AtomicBool, dice: &mut Dice) {
    let mut leases = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let name = key(dice.below(50));
        let (path, body) = match dice.below(100) {
            0..=54 => ("/v3/kv/put", json!({ "key": name, "value": value(dice) })),
            55..=64 => ("/v3/kv/deleterange", json!({ "key": name })),
            65..=67 => ("/v3/kv/deleterange", json!({ "key": name, "range_end": key(64) })),
            68..=79 => {
                let put = |name: String, value: String| json!({ "request_put": { "key": name, "value": value } });
                let (first, second) = (put(name.clone(), value(dice)), put(key(60 + dice.below(4)), value(dice)));
                let compare = json!({ "key": name, "target": "CREATE", "result": "GREATER", "create_revision": 0 });
                let otherwise = json!({ "request_delete_range": { "key": key(dice.below(50)) } });
                ("/v3/kv/txn", json!({ "compare": [compare], "success": [first, second], "failure": [otherwise] }))
            }
            80..=84 => ("/v3/lease/grant", json!({ "TTL": 3600 + dice.below(1000) })),
            85..=91 if !leases.is_empty() => {
                let lease: &String = &leases[dice.below(leases.len() as u64) as usize];
                ("/v3/kv/put", json!({ "key": name, "value": value(dice), "lease": lease }))
            }
            92..=93 if !leases.is_empty() => {
                let lease = leases.swap_remove(dice.below(leases.len() as u64) as usize);
                ("/v3/lease/revoke", json!({ "ID": lease }))
            }
            94..=97 => {
                let revision = everything(server, 0).map_or(1, |newest| number(&newest["header"]["revision"]));
                ("/v3/kv/compaction", json!({ "revision": revision - dice.below(100).min(revision as u64) as i64 }))
            }
            98 => ("/v3/maintenance/defragment", json!({})),
            _ => ("/v3/kv/range", json!({ "key": name })),
        };
        if let Ok(answer) = server.ask(path, &body) {
            if path == "/v3/lease/grant" {
                leases.extend(answer["ID"].as_str().map(str::to_owned));
            }
        }
    }
}
