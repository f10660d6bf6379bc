//! The members as etcd's version 2 store: what a snapshot holds up to 3.6, though nobody has stored anything in it for
//! years. A member that reads it takes who its members are from there, until its database tells it better.
//!
//! It is the JSON of the store's tree: `/0/members/<id>/raftAttributes` and `attributes`, `/0/removed_members/<id>`,
//! `/0/version`. The statistics and the history of events that etcd writes beside the tree may be left out: it keeps
//! its own then.

use std::fmt::Write as _;

use crate::backend::Backend;
use crate::mvcc::Bucket;

/// A directory or a value of the store.
struct Node {
    name: String,
    /// When it was made, in operations.
    index: u64,
    content: Content,
}

enum Content {
    Value(String),
    Directory(Vec<Node>),
}

/// The store that has the members of `backend`, as JSON.
pub(crate) fn v2_store(backend: &Backend) -> Vec<u8> {
    let mut operations = 0;
    let mut made = |name: &str, content| {
        operations += 1;
        Node { name: name.to_owned(), index: operations, content }
    };
    let mut members = Vec::new();
    backend.for_each(Bucket::Members, b"", None, &mut |key, value| {
        let fields = std::str::from_utf8(value).ok().and_then(fields).unwrap_or_default();
        let of = |names: &[&str]| {
            let list = fields.iter().filter(|(name, _)| names.contains(name));
            let list: Vec<String> = list.map(|(name, value)| format!("\"{name}\":{value}")).collect();
            Content::Value(format!("{{{}}}", list.join(",")))
        };
        let mut attributes = Vec::new();
        if fields.iter().any(|(name, _)| *name == "clientURLs") {
            attributes.push(made("attributes", of(&["name", "clientURLs"])));
        }
        attributes.push(made("raftAttributes", of(&["peerURLs", "isLearner"])));
        let index = attributes.first().map_or(0, |node| node.index);
        members.push(Node { name: text(key), index, content: Content::Directory(attributes) });
        true
    });
    let mut removed = Vec::new();
    backend.for_each(Bucket::MembersRemoved, b"", None, &mut |key, _| {
        removed.push(made(&text(key), Content::Value(String::new())));
        true
    });
    let mut cluster = Vec::new();
    for (name, nodes) in [("members", members), ("removed_members", removed)] {
        let first = nodes.iter().map(|node| node.index).min();
        cluster.extend(first.map(|index| directory(name, index, nodes)));
    }
    let root = directory("", 0, vec![directory("0", 0, cluster), directory("1", 0, Vec::new())]);
    let mut json = String::from("{\"Root\":");
    write_node(&mut json, "", &root);
    write!(json, ",\"CurrentIndex\":{operations},\"CurrentVersion\":2}}").expect("a string takes everything");
    json.into_bytes()
}

fn directory(name: &str, index: u64, nodes: Vec<Node>) -> Node {
    Node { name: name.to_owned(), index, content: Content::Directory(nodes) }
}

fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

fn write_node(json: &mut String, parent: &str, node: &Node) {
    let path = format!("{}/{}", parent.trim_end_matches('/'), node.name);
    let index = node.index;
    write!(
        json,
        "{{\"Path\":\"{path}\",\"CreatedIndex\":{index},\"ModifiedIndex\":{index},\
         \"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":"
    )
    .expect("a string takes everything");
    match &node.content {
        Content::Value(value) => {
            write_string(json, value);
            json.push_str(",\"Children\":null}");
        }
        Content::Directory(nodes) => {
            json.push_str("\"\",\"Children\":{");
            for (place, node) in nodes.iter().enumerate() {
                if place > 0 {
                    json.push(',');
                }
                write_string(json, &node.name);
                json.push(':');
                write_node(json, &path, node);
            }
            json.push_str("}}");
        }
    }
}

fn write_string(json: &mut String, text: &str) {
    json.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => json.extend(['\\', letter]),
            letter if u32::from(letter) < 0x20 => {
                write!(json, "\\u{:04x}", u32::from(letter)).expect("a string takes everything");
            }
            letter => json.push(letter),
        }
    }
    json.push('"');
}

/// The fields of a JSON object, each with its value as it is written. `None` if it is none.
fn fields(json: &str) -> Option<Vec<(&str, &str)>> {
    let mut rest = json.trim().strip_prefix('{')?.trim_start();
    let mut list = Vec::new();
    while !rest.starts_with('}') {
        let (name, after) = rest.strip_prefix('"')?.split_once('"')?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        let end = value_end(value)?;
        list.push((name, value[..end].trim_end()));
        rest = value[end..].trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Some(list)
}

/// Where the first value in `json` ends: at a comma or a brace outside of it.
fn value_end(json: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    for (at, byte) in json.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b',' | b'}' if depth == 0 => return Some(at),
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn the_tree_has_the_members_and_those_that_were() {
        let mut backend = Backend::create(crate::Bugs::NONE);
        let member =
            r#"{"id":17,"peerURLs":["http://n1:2380"],"isLearner":true,"name":"n,\"1","clientURLs":["http://n1"]}"#;
        backend.put(Bucket::Members, Bytes::from_static(b"11"), Bytes::from(member));
        backend.put(Bucket::MembersRemoved, Bytes::from_static(b"2a"), Bytes::from_static(b"removed"));
        let json = String::from_utf8(v2_store(&backend)).unwrap();
        let leaf = |path: &str, index: u64, value: &str| {
            format!(
                "{{\"Path\":\"{path}\",\"CreatedIndex\":{index},\"ModifiedIndex\":{index},\
                 \"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":\"{value}\",\"Children\":null}}"
            )
        };
        let attributes = r#"{\"name\":\"n,\\\"1\",\"clientURLs\":[\"http://n1\"]}"#;
        assert!(json.contains(&leaf("/0/members/11/attributes", 1, attributes)), "{json}");
        let raft = r#"{\"peerURLs\":[\"http://n1:2380\"],\"isLearner\":true}"#;
        assert!(json.contains(&leaf("/0/members/11/raftAttributes", 2, raft)), "{json}");
        assert!(json.contains(&leaf("/0/removed_members/2a", 3, "")), "{json}");
        assert!(json.ends_with(",\"CurrentIndex\":3,\"CurrentVersion\":2}"), "{json}");
        assert_eq!(json.matches('{').count(), json.matches('}').count());
    }

    #[test]
    fn fields_are_found_whatever_is_in_them() {
        let list = fields(r#" { "a" : [1,{"b":2}] , "c":"},\"", "d":-1.5 }"#).unwrap();
        assert_eq!(list, [("a", r#"[1,{"b":2}]"#), ("c", r#""},\"""#), ("d", "-1.5")]);
        assert_eq!(fields("{}"), Some(vec![]));
        for broken in ["", "{", "[]", "{\"a\"}", "{\"a\":1", "{\"a\":[1}"] {
            assert_eq!(fields(broken), None, "{broken}");
        }
    }
}
