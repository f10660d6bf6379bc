//! How members up to 3.5 say what newer ones have commands for: puts under `/0` of the old API.

use serde::{Deserialize, Serialize};

use crate::MemberId;

use super::member;

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
}
