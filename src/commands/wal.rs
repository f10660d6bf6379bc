//! `detcd wal`: what is in a write-ahead log, a line a record.

use std::path::PathBuf;

use detcd_replica::wal::{self, Content, End, Located};
use detcd_replica::FileName;
use serde::Serialize;
use serde_json::{json, Map, Value};

use crate::cli::WalArgs;
use crate::datadir;
use crate::exit::{Exit, Failure};
use crate::output::bytes::base64;
use crate::output::{console, entry};

/// `detcd.wal/1`: one record, with the fields of its type.
#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    file: String,
    offset: u64,
    bytes: u64,
    crc: u32,
    r#type: &'a str,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// `detcd.wal_end/1`: how the log ends.
#[derive(Serialize)]
struct EndLine<'a> {
    schema: &'static str,
    end: &'static str,
    file: String,
    offset: u64,
    reason: Option<&'a str>,
    records: usize,
}

pub(super) fn execute(args: &WalArgs) -> Result<Exit, Failure> {
    let found = datadir::read_wal(&args.path)?;
    let dump = wal::dump(&found.image);
    let mut file = None;
    for record in dump.records.iter().filter(|record| wanted(args.from, record)) {
        if !args.output.json && file != Some(record.file) {
            file = Some(record.file);
            let length = found.lengths.get(&record.file).copied().unwrap_or_default();
            console::line(&format!("{} ({length} bytes)", name(record.file)))?;
            console::line(&format!("  {:>10} {:>8} {:>8}  type", "offset", "bytes", "crc"))?;
        }
        say(args, record)?;
    }
    let end = dump.end.as_ref().expect("there is a segment, as was checked");
    conclude(args, end, dump.records.len())
}

/// With an index asked for, only entries from there on.
fn wanted(from: Option<u64>, record: &Located) -> bool {
    from.is_none_or(|from| matches!(&record.content, Content::Entry(entry) if entry.index >= from))
}

fn name(file: FileName) -> String {
    PathBuf::from(file.to_string()).file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn say(args: &WalArgs, record: &Located) -> Result<(), Failure> {
    let (kind, fields, words) = describe(&record.content);
    if !args.output.json {
        let Located { offset, length, crc, .. } = record;
        return console::line(format!("  {offset:>10} {length:>8} {crc:08x}  {kind:<9} {words}").trim_end());
    }
    let Value::Object(fields) = fields else { unreachable!("the fields of a record are an object") };
    console::json(&Line {
        schema: "detcd.wal/1",
        file: name(record.file),
        offset: record.offset,
        bytes: record.length,
        crc: record.crc,
        r#type: kind,
        fields,
    })
}

/// The type of a record, its fields, and the same for people.
fn describe(content: &Content) -> (&'static str, Value, String) {
    match content {
        Content::Metadata(data) => match wal::member_of(data) {
            Some((member, cluster)) => {
                let fields = json!({ "member": id(member), "cluster": id(cluster) });
                ("metadata", fields, format!("member {member:x} of cluster {cluster:x}"))
            }
            None => ("metadata", json!({ "data": base64(data) }), "unreadable".to_owned()),
        },
        Content::Entry(found) => {
            let (kind, words) = (entry::entry_type(found), entry::describe(found));
            let text = format!("term {} index {} {kind} {words}", found.term, found.index);
            let fields = json!({
                "term": found.term,
                "index": found.index,
                "entry_type": kind,
                "request": words,
                "data": base64(&found.data),
            });
            ("entry", fields, text)
        }
        Content::State { term, vote, commit } => {
            let fields = json!({ "term": term, "vote": id(*vote), "commit": commit });
            ("state", fields, format!("term {term} vote {vote:x} commit {commit}"))
        }
        Content::Crc => ("crc", json!({}), String::new()),
        Content::Snapshot(snapshot) => {
            let (index, term) = (snapshot.index, snapshot.term);
            let (mut fields, mut text) =
                (json!({ "index": index, "term": term }), format!("index {index} term {term}"));
            if let Some(conf_state) = &snapshot.conf_state {
                for (name, ids) in [("voters", &conf_state.voters), ("learners", &conf_state.learners)] {
                    let ids: Vec<String> = ids.iter().copied().map(id).collect();
                    if !ids.is_empty() {
                        text.push_str(&format!(" {name} {}", ids.join(",")));
                    }
                    fields[name] = ids.into();
                }
            }
            ("snapshot", fields, text)
        }
    }
}

/// As etcd prints the ids of members: as a number it would lose digits in many readers of JSON.
fn id(id: u64) -> String {
    format!("{id:x}")
}

/// The last line, and for damage the failure: it comes after all that could be read.
fn conclude(args: &WalArgs, end: &End, records: usize) -> Result<Exit, Failure> {
    let (kind, file, offset, reason) = match end {
        End::Clean { file, offset } => ("clean", *file, *offset, None),
        End::Torn { file, offset, reason } => ("torn", *file, *offset, Some(*reason)),
        End::Damaged(error) => {
            return Err(Failure::usage(format!("{}: {error}", args.path.display())));
        }
    };
    if args.output.json {
        let file = name(file);
        console::json(&EndLine { schema: "detcd.wal_end/1", end: kind, file, offset, reason, records })?;
    } else {
        let what = match reason {
            None => "the end".to_owned(),
            Some(reason) => format!("torn: {reason}; etcd cuts the segment here, once, and goes on"),
        };
        console::line(&format!("{records} records; {} at byte {offset}: {what}", name(file)))?;
    }
    Ok(Exit::Pass)
}
