//! How members up to 3.5 say what newer ones have commands for: puts under `/0` of the old API.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::api::Member;
use crate::MemberId;

use super::{member, Members};

/// `membership.Attributes`.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Attributes {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "clientURLs", default, skip_serializing_if = "Vec::is_empty")]
    client_urls: Vec<String>,
}

/// Where the cluster's version is.
pub(crate) const VERSION_PATH: &str = "/0/version";

/// Where a member's attributes are, and their JSON.
pub(crate) fn attributes(id: MemberId, name: String, client_urls: Vec<String>) -> (String, String) {
    let json = member::write(&Attributes { name, client_urls });
    let json = String::from_utf8(json).expect("JSON is text");
    (format!("/0/members/{:x}/attributes", id.0), json)
}

/// Whose attributes are put, and what they are; `None` when it is another path.
pub(crate) fn parse_attributes(path: &str, json: &str) -> Option<(MemberId, String, Vec<String>)> {
    let id = path.strip_prefix("/0/members/")?.strip_suffix("/attributes")?;
    let id = u64::from_str_radix(id, 16).ok()?;
    let Attributes { name, client_urls } = serde_json::from_str(json).ok()?;
    Some((MemberId(id), name, client_urls))
}

/// The members in the store of the old API, as snapshots hold it up to 3.6.
///
/// # Errors
/// It is not what etcd writes.
pub(crate) fn parse_store(json: &[u8]) -> Result<Members, String> {
    let broken = |what: &str| format!("the store of the old API: {what}");
    let store: Node = serde_json::from_slice::<Store>(json).map_err(|error| broken(&error.to_string()))?.root;
    let mut members = Members::default();
    let Some(cluster) = store.children.get("0") else { return Ok(members) };
    let id = |text: &str| u64::from_str_radix(text, 16).map(MemberId).map_err(|_| broken(text));
    for (name, node) in cluster.children.get("members").into_iter().flat_map(|node| &node.children) {
        let id = id(name)?;
        let value = |part: &str| node.children.get(part).map(|node| &node.value);
        let raft = value("raftAttributes").ok_or_else(|| broken("a member has no raftAttributes"))?;
        let mut member = parse_raft_attributes(id, raft).map_err(|error| broken(&error))?;
        if let Some(attributes) = value("attributes") {
            let attributes: Attributes =
                serde_json::from_str(attributes).map_err(|error| broken(&error.to_string()))?;
            Attributes { name: member.name, client_urls: member.client_urls } = attributes;
        }
        members.by_id.insert(id, member);
    }
    for name in cluster.children.get("removed_members").into_iter().flat_map(|node| node.children.keys()) {
        members.removed.insert(id(name)?);
    }
    Ok(members)
}

#[derive(Deserialize)]
struct Store {
    #[serde(rename = "Root")]
    root: Node,
}

/// A directory, or a value.
#[derive(Deserialize)]
struct Node {
    #[serde(rename = "Value", default)]
    value: String,
    #[serde(rename = "Children", default, deserialize_with = "null_is_none")]
    children: BTreeMap<String, Self>,
}

/// Go writes a map that is not there as `null`.
fn null_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Node>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// `membership.RaftAttributes`.
fn parse_raft_attributes(id: MemberId, json: &str) -> Result<Member, String> {
    #[derive(Deserialize)]
    struct RaftAttributes {
        #[serde(rename = "peerURLs", default)]
        peer_urls: Option<Vec<String>>,
        #[serde(rename = "isLearner", default)]
        is_learner: bool,
    }
    let RaftAttributes { peer_urls, is_learner } = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let peer_urls = peer_urls.unwrap_or_default();
    Ok(Member { id, name: String::new(), peer_urls, client_urls: Vec::new(), is_learner })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_etcds_and_parse_back() {
        let (path, json) =
            attributes(MemberId(0x8e9e05c52164694d), "default".into(), vec!["http://localhost:2379".into()]);
        assert_eq!(path, "/0/members/8e9e05c52164694d/attributes");
        assert_eq!(json, r#"{"name":"default","clientURLs":["http://localhost:2379"]}"#);
        let expect = (MemberId(0x8e9e05c52164694d), "default".into(), vec!["http://localhost:2379".into()]);
        assert_eq!(parse_attributes(&path, &json), Some(expect));
    }

    #[test]
    fn other_paths_are_other_things() {
        for path in ["/0/version", "/0/members/1/raftAttributes", "/1/members/1/attributes", "/0/members/x/attributes"]
        {
            assert_eq!(parse_attributes(path, "{}"), None, "{path}");
        }
    }

    #[test]
    fn the_store_tells_who_was_a_member() {
        let node = |children: &str| format!(r#"{{"Path":"","CreatedIndex":0,"Value":"","Children":{children}}}"#);
        let value = |json: &str| format!(r#"{{"Path":"","Value":{},"Children":null}}"#, serde_json::json!(json));
        let one = node(&format!(
            r#"{{"raftAttributes":{},"attributes":{}}}"#,
            value(r#"{"peerURLs":["http://a"]}"#),
            value(r#"{"name":"one","clientURLs":["http://b"]}"#)
        ));
        let two = node(&format!(r#"{{"raftAttributes":{}}}"#, value(r#"{"peerURLs":["http://c"],"isLearner":true}"#)));
        let members = node(&format!(r#"{{"a":{one},"b":{two}}}"#));
        let removed = node(&format!(r#"{{"c":{}}}"#, value("removed")));
        let cluster =
            node(&format!(r#"{{"members":{members},"removed_members":{removed},"version":{}}}"#, value("3.5.0")));
        let store =
            format!(r#"{{"Root":{},"CurrentIndex":7,"CurrentVersion":2}}"#, node(&format!(r#"{{"0":{cluster}}}"#)));
        let found = parse_store(store.as_bytes()).unwrap();
        let member = |id, name: &str, peer: &str, client: &[&str], is_learner| Member {
            id: MemberId(id),
            name: name.into(),
            peer_urls: vec![peer.into()],
            client_urls: client.iter().map(|url| (*url).into()).collect(),
            is_learner,
        };
        let expect = [member(10, "one", "http://a", &["http://b"], false), member(11, "", "http://c", &[], true)];
        assert_eq!(found.by_id.into_values().collect::<Vec<_>>(), expect);
        assert_eq!(found.removed.into_iter().collect::<Vec<_>>(), [MemberId(12)]);
        for broken in ["", "{}", &store.replace("raftAttributes", "other"), &store.replace("\"a\":", "\"x\":")] {
            assert!(parse_store(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
