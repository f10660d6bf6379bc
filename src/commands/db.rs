//! `detcd db`: a database file from the inside, for people who debug one.

use std::path::Path;

use bytes::Bytes;
use detcd_replica::pager::{BucketStats, PageContent, PageDump, Pgid};
use serde_json::{json, Value};

use crate::cli::{DbArgs, DbKeys, DbPage, DbPath, DbWhat, OutputArgs};
use crate::datadir;
use crate::engine::{Database, Page};
use crate::exit::{suggestion, Exit, Failure};
use crate::output::bytes::{base64, quoted};
use crate::output::{console, pair};

/// The most bytes of a key on a page that are shown.
const SHOWN: usize = 48;

/// An open database, and how messages call it.
struct Open {
    origin: String,
    database: Database,
    output: OutputArgs,
}

pub(super) fn execute(args: &DbArgs) -> Result<Exit, Failure> {
    match (&args.what, &args.path) {
        (Some(DbWhat::Check(db)), _) => open_at(db)?.check(),
        (Some(DbWhat::Buckets(db)), _) => open_at(db)?.buckets(),
        (Some(DbWhat::Keys(keys)), _) => open_at(&keys.db)?.keys(keys),
        (Some(DbWhat::Pages(db)), _) => open_at(db)?.pages(),
        (Some(DbWhat::Page(page)), _) => open_at(&page.db)?.page(page),
        (Some(DbWhat::Stats(db)), _) => open_at(db)?.stats(),
        (None, Some(path)) => {
            let db = open(path, args.output)?;
            db.stats()?;
            if !args.output.json {
                db.buckets()?;
            }
            db.check()
        }
        (None, None) => Err(Failure::usage("detcd db needs a data dir or a database file (detcd db --help)")),
    }
}

fn open_at(db: &DbPath) -> Result<Open, Failure> {
    open(&db.path, db.output)
}

fn open(path: &Path, output: OutputArgs) -> Result<Open, Failure> {
    let (place, bytes) = datadir::read_db(path)?;
    let origin = place.display().to_string();
    let database = Database::open(bytes).map_err(|error| Failure::usage(format!("{origin}: {error}")))?;
    Ok(Open { origin, database, output })
}

impl Open {
    /// One line for people, or the same as an object with its schema.
    fn say(&self, schema: &str, object: impl FnOnce() -> Value, words: impl FnOnce() -> String) -> Result<(), Failure> {
        if !self.output.json {
            return console::line(&words());
        }
        let mut fields = serde_json::Map::from_iter([("schema".to_owned(), Value::from(schema))]);
        if let Value::Object(object) = object() {
            fields.extend(object);
        }
        console::json(&fields)
    }

    fn check(&self) -> Result<Exit, Failure> {
        let faults = self.database.faults();
        for (page, reason) in &faults {
            let object = || json!({ "page": page, "reason": reason });
            self.say("detcd.db_fault/1", object, || format!("page {page}: {reason}"))?;
        }
        let Some((page, reason)) = faults.first() else {
            self.say("detcd.db_check/1", || json!({ "sound": true }), || "sound".to_owned())?;
            return Ok(Exit::Pass);
        };
        let count = faults.len();
        Err(Failure::usage(format!("{}: {count} faults, the first on page {page}: {reason}", self.origin)))
    }

    fn stats(&self) -> Result<Exit, Failure> {
        let database = &self.database;
        let (status, pager, length) = (database.status(), database.pager(), database.length());
        let (stats, page_size, txid) = (pager.stats(), pager.page_size() as u64, pager.txid().0);
        let in_use = status.total_size - (stats.free_pages + stats.pending_pages) * page_size;
        let object = || {
            json!({
                "path": self.origin,
                "hash": status.hash,
                "revision": status.revision,
                "totalKey": status.total_key,
                "totalSize": status.total_size,
                "inUse": in_use,
                "fileSize": length,
                "pageSize": page_size,
                "txid": txid,
                "freePages": stats.free_pages,
            })
        };
        let words = || {
            format!(
                "{}: hash {:x}, revision {}, {} keys, {} bytes ({in_use} in use, file {length})\n  \
                 transaction {txid}, pages of {page_size} bytes, {} free",
                self.origin, status.hash, status.revision, status.total_key, status.total_size, stats.free_pages
            )
        };
        self.say("detcd.db_stats/1", object, words)?;
        Ok(Exit::Pass)
    }

    fn buckets(&self) -> Result<Exit, Failure> {
        if !self.output.json {
            console::line(&format!(
                "  {:<16} {:>9} {:>6} {:>9} {:>9} {:>12} {:>12}",
                "bucket", "keys", "depth", "branches", "leaves", "allocated", "in use"
            ))?;
        }
        for name in self.database.buckets() {
            let stats = self.database.bucket_stats(&name).unwrap_or_default();
            let object = || bucket_object(&name, &stats);
            let words = || {
                format!(
                    "  {:<16} {:>9} {:>6} {:>9} {:>9} {:>12} {:>12}",
                    name.escape_ascii().to_string(),
                    stats.keys,
                    stats.depth,
                    stats.branch_pages + stats.branch_overflow,
                    stats.leaf_pages + stats.leaf_overflow,
                    stats.branch_alloc + stats.leaf_alloc,
                    stats.branch_in_use + stats.leaf_in_use + stats.inline_in_use,
                )
            };
            self.say("detcd.db_bucket/1", object, words)?;
        }
        Ok(Exit::Pass)
    }

    fn keys(&self, args: &DbKeys) -> Result<Exit, Failure> {
        let bucket = args.bucket.as_bytes();
        let mut left = args.limit.unwrap_or(u64::MAX);
        let mut said = Ok(());
        let found = self.database.elements(bucket, &args.prefix.0, &mut |element| {
            if left == 0 {
                return false;
            }
            left -= 1;
            let (key, value) = (&element.key, &element.value);
            let object = || pair::fields(bucket, key, value).into();
            said = self.say("detcd.db_key/1", object, || pair::describe(bucket, key, value));
            said.is_ok()
        });
        if found.is_none() {
            let names: Vec<String> =
                self.database.buckets().iter().map(|name| name.escape_ascii().to_string()).collect();
            let hint = suggestion(&args.bucket, names.iter().map(String::as_str));
            let known = names.join(", ");
            let reason = format!("{}: no bucket `{}`{hint} (there are: {known})", self.origin, args.bucket);
            return Err(Failure::usage(reason));
        }
        said.map(|()| Exit::Pass)
    }

    fn pages(&self) -> Result<Exit, Failure> {
        for (number, page) in self.database.pages() {
            let (kind, count, overflow, wrong) = match &page {
                Page::Free => ("free", 0, 0, None),
                Page::Overflow(_) => ("overflow", 0, 0, None),
                Page::Own(dump) => match &dump.content {
                    Ok(content) => (content.kind(), dump.count, dump.overflow, None),
                    Err(reason) => ("unreadable", dump.count, dump.overflow, Some(reason.clone())),
                },
            };
            let of = if let Page::Overflow(first) = page { Some(first) } else { None };
            let object = || {
                json!({
                    "page": number, "type": kind, "count": count, "overflow": overflow, "of": of, "reason": wrong,
                })
            };
            let words = || {
                let note = of.map(|first| format!("of {first}")).or(wrong.clone()).unwrap_or_default();
                format!("{number:>8} {kind:<10} {count:>6} {overflow:>6} {note}").trim_end().to_owned()
            };
            self.say("detcd.db_page/1", object, words)?;
        }
        Ok(Exit::Pass)
    }

    fn page(&self, args: &DbPage) -> Result<Exit, Failure> {
        let number = args.page;
        let Some(dump) = self.database.page(number) else {
            let last = self.database.length() / self.database.pager().page_size() as u64 - 1;
            return Err(Failure::usage(format!("{}: no page {number}; the last one is {last}", self.origin)));
        };
        let PageDump { id, flags, count, overflow, content, .. } = dump;
        let content = content.map_err(|reason| Failure::usage(format!("{}: page {number}: {reason}", self.origin)))?;
        let head = || json!({ "page": number, "type": content.kind(), "count": count, "overflow": overflow });
        let words = || {
            format!(
                "page {number}: {} {}, flags {flags:#x}, {count} elements, {overflow} overflow",
                content.kind(),
                id.0
            )
        };
        self.say("detcd.db_page/1", head, words)?;
        self.on_page(&content)?;
        Ok(Exit::Pass)
    }

    fn on_page(&self, content: &PageContent) -> Result<(), Failure> {
        let line = |object: Value, words: String| self.say("detcd.db_element/1", || object, || format!("  {words}"));
        match content {
            PageContent::Zeros => Ok(()),
            PageContent::Meta { txid, root, freelist, high_water, page_size } => {
                let freelist = freelist.map(|page| page.0);
                line(
                    json!({
                        "txid": txid,
                        "root": root.0,
                        "freelist": freelist,
                        "highWater": high_water.0,
                        "pageSize": page_size,
                    }),
                    format!(
                        "transaction {txid}, root {}, freelist {}, high-water mark {}, pages of {page_size} bytes",
                        root.0,
                        freelist.map_or("none".to_owned(), |page| page.to_string()),
                        high_water.0
                    ),
                )
            }
            PageContent::Freelist(free) => {
                free.iter().try_for_each(|page| line(json!({ "free": page.0 }), page.0.to_string()))
            }
            PageContent::Branch(children) => children.iter().try_for_each(|(key, child)| {
                let words = format!("{} page {}", quoted(key, SHOWN), child.0);
                line(json!({ "key": base64(key), "child": child.0 }), words)
            }),
            PageContent::Leaf(elements) => elements.iter().try_for_each(|element| {
                let key = quoted(&element.key, SHOWN);
                let words = match element.root {
                    None => format!("{key} {}", quoted(&element.value, SHOWN)),
                    Some(Pgid(0)) => format!("bucket {key} inline, {} bytes", element.value.len()),
                    Some(root) => format!("bucket {key} page {}", root.0),
                };
                let object = json!({
                    "key": base64(&element.key),
                    "value": base64(&element.value),
                    "bucket": element.root.is_some(),
                    "root": element.root.map(|root| root.0),
                });
                line(object, words)
            }),
        }
    }
}

fn bucket_object(name: &Bytes, stats: &BucketStats) -> Value {
    json!({
        "bucket": name.escape_ascii().to_string(),
        "keys": stats.keys,
        "depth": stats.depth,
        "branchPages": stats.branch_pages,
        "branchOverflow": stats.branch_overflow,
        "leafPages": stats.leaf_pages,
        "leafOverflow": stats.leaf_overflow,
        "allocated": stats.branch_alloc + stats.leaf_alloc,
        "inUse": stats.branch_in_use + stats.leaf_in_use,
        "inlineInUse": stats.inline_in_use,
    })
}
