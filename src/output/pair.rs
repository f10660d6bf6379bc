//! A key of etcd's database with its value, in etcd's words.

use detcd_replica::mvcc::KeyRecord;
use serde_json::{json, Map, Value};

use super::bytes::{base64, key_value, quoted};

/// The most bytes of a key or value that are shown to people.
const SHOWN: usize = 64;

/// A pair in words.
pub(crate) fn describe(bucket: &[u8], key: &[u8], value: &bytes::Bytes) -> String {
    match bucket {
        b"key" => match KeyRecord::parse(key, value) {
            Ok(record) => revision(&record),
            Err(reason) => format!("{} {}: {reason}", quoted(key, SHOWN), quoted(value, SHOWN)),
        },
        b"lease" => match key.try_into().map(i64::from_be_bytes) {
            Ok(id) => format!("{id:x} {}", quoted(value, SHOWN)),
            Err(_) => format!("{} {}", quoted(key, SHOWN), quoted(value, SHOWN)),
        },
        b"meta" => format!("{} {}", text(key), meta(value)),
        _ => format!("{} {}", text(key), text(value)),
    }
}

/// A pair for programs: as it is, in base64, and what can be read out of it.
pub(crate) fn fields(bucket: &[u8], key: &[u8], value: &bytes::Bytes) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("key".to_owned(), base64(key).into());
    fields.insert("value".to_owned(), base64(value).into());
    if bucket == b"key" {
        if let Ok(KeyRecord { main, sub, tombstone, kv }) = KeyRecord::parse(key, value) {
            fields.insert("revision".to_owned(), json!({ "main": main, "sub": sub, "tombstone": tombstone }));
            fields.insert("kv".to_owned(), key_value(&kv));
        }
    } else {
        fields.insert("text".to_owned(), describe(bucket, key, value).into());
    }
    fields
}

fn revision(record: &KeyRecord) -> String {
    let KeyRecord { main, sub, tombstone, kv } = record;
    if *tombstone {
        return format!("{main}.{sub} delete {}", quoted(&kv.key, SHOWN));
    }
    let lease = if kv.lease == 0 { String::new() } else { format!(" lease {:x}", kv.lease) };
    format!(
        "{main}.{sub} put {} {} (create {}, mod {}, version {}{lease})",
        quoted(&kv.key, SHOWN),
        quoted(&kv.value, SHOWN),
        kv.create_revision,
        kv.mod_revision,
        kv.version
    )
}

/// Numbers are 8 bytes, compaction revisions 17, the rest is text.
fn meta(value: &[u8]) -> String {
    let number = |part: &[u8]| part.try_into().map(u64::from_be_bytes).ok();
    match value.len() {
        8 => number(value).map_or_else(String::new, |number| number.to_string()),
        17 if value[8] == b'_' => match (number(&value[..8]), number(&value[9..])) {
            (Some(main), Some(sub)) => format!("{main}.{sub}"),
            _ => String::new(),
        },
        _ => text(value),
    }
}

/// Text as it is, anything else quoted.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && !text.chars().any(char::is_control) => text.to_owned(),
        _ => quoted(bytes, SHOWN),
    }
}
