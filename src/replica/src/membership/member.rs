//! A member as JSON: what the bucket `members` holds and what configuration changes carry, byte for byte as Go writes
//! it.

use serde::{Deserialize, Serialize};

use crate::api::Member;
use crate::MemberId;

/// `membership.Member`, or with the last field `membership.ConfigChangeContext`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Json {
    id: u64,
    #[serde(rename = "peerURLs", default)]
    peer_urls: Option<Vec<String>>,
    #[serde(rename = "isLearner", default, skip_serializing_if = "is_false")]
    is_learner: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(rename = "clientURLs", default, skip_serializing_if = "is_none_or_empty")]
    client_urls: Option<Vec<String>>,
    #[serde(rename = "isPromote", default, skip_serializing_if = "Option::is_none")]
    is_promote: Option<bool>,
}

/// The JSON of a member.
pub(crate) fn to_json(member: &Member) -> Vec<u8> {
    write(&Json {
        id: member.id.0,
        peer_urls: list(&member.peer_urls),
        is_learner: member.is_learner,
        name: member.name.clone(),
        client_urls: list(&member.client_urls),
        is_promote: None,
    })
}

/// The JSON that makes adding `id` its promotion.
pub(super) fn promotion(id: MemberId) -> Vec<u8> {
    write(&Json { id: id.0, is_promote: Some(true), ..Json::default() })
}

/// A member, and whether the JSON is of its promotion. Fields that are not known are passed over, as Go does.
///
/// # Errors
/// It is not such JSON.
pub(super) fn parse(json: &[u8]) -> Result<(Member, bool), String> {
    let json: Json = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let member = Member {
        id: MemberId(json.id),
        name: json.name,
        peer_urls: json.peer_urls.unwrap_or_default(),
        client_urls: json.client_urls.unwrap_or_default(),
        is_learner: json.is_learner,
    };
    Ok((member, json.is_promote.unwrap_or_default()))
}

/// Go writes a list that is not there as `null`.
fn list(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_none_or_empty(list: &Option<Vec<String>>) -> bool {
    list.as_ref().is_none_or(Vec::is_empty)
}

/// JSON as `encoding/json` writes it: five characters that are harmless in JSON are escaped for the sake of HTML and
/// JavaScript. All five can only be inside strings.
pub(super) fn write(value: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_string(value).expect("strings, numbers and lists can always be written");
    for (character, escaped) in
        [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")]
    {
        if json.contains(character) {
            json = json.replace(character, escaped);
        }
    }
    json.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, peer: &[&str], learner: bool, name: &str, client: &[&str]) -> Member {
        let own = |list: &[&str]| -> Vec<String> { list.iter().map(|url| (*url).into()).collect() };
        Member {
            id: MemberId(id),
            name: name.into(),
            peer_urls: own(peer),
            client_urls: own(client),
            is_learner: learner,
        }
    }

    #[test]
    fn the_json_is_gos_and_parses_back() {
        for (member, expect) in [
            (
                member(0x8e9e05c52164694d, &["http://localhost:2380"], false, "default", &["http://localhost:2379"]),
                concat!(
                    r#"{"id":10276657743932975437,"peerURLs":["http://localhost:2380"],"name":"default","#,
                    r#""clientURLs":["http://localhost:2379"]}"#
                ),
            ),
            (
                member(1, &["http://a", "http://b"], true, "", &[]),
                r#"{"id":1,"peerURLs":["http://a","http://b"],"isLearner":true}"#,
            ),
            (member(u64::MAX, &[], false, "", &[]), r#"{"id":18446744073709551615,"peerURLs":null}"#),
            (
                member(2, &["http://x?a=1&b=<2>"], false, "\"\\\n\u{2028}ü", &[]),
                r#"{"id":2,"peerURLs":["http://x?a=1\u0026b=\u003c2\u003e"],"name":"\"\\\n\u2028ü"}"#,
            ),
        ] {
            let json = to_json(&member);
            assert_eq!(std::str::from_utf8(&json).unwrap(), expect);
            assert_eq!(parse(&json), Ok((member, false)));
        }
    }

    #[test]
    fn a_promotion_is_told_from_an_addition() {
        let json = promotion(MemberId(5));
        assert_eq!(std::str::from_utf8(&json).unwrap(), r#"{"id":5,"peerURLs":null,"isPromote":true}"#);
        assert_eq!(parse(&json), Ok((member(5, &[], false, "", &[]), true)));
        assert!(!parse(br#"{"id":5,"peerURLs":[],"isPromote":false,"other":[{}]}"#).unwrap().1);
    }

    #[test]
    fn anything_else_is_refused() {
        for json in ["", "{}", "[]", r#"{"id":-1,"peerURLs":null}"#, r#"{"id":1,"peerURLs":"a"}"#, r#"{"id":1}x"#] {
            assert!(parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}
