//! The configuration as JSON, the way etcd keeps it in the `meta` bucket.
//!
//! `{"voters":[1,2],"learners":[3],"auto_leave":false}`: empty lists are left out, `auto_leave` never is. Parsing takes
//! what etcd writes, fields in any order, and no nesting.

use crate::raftpb::ConfState;

const BROKEN: &str = "the configuration in the meta bucket is not the JSON that etcd writes";

pub(super) fn to_json(conf_state: &ConfState) -> String {
    let mut json = String::from("{");
    let lists = [
        ("voters", &conf_state.voters),
        ("learners", &conf_state.learners),
        ("voters_outgoing", &conf_state.voters_outgoing),
        ("learners_next", &conf_state.learners_next),
    ];
    for (name, list) in lists {
        if !list.is_empty() {
            let ids: Vec<String> = list.iter().map(u64::to_string).collect();
            json += &format!("\"{name}\":[{}],", ids.join(","));
        }
    }
    json += &format!("\"auto_leave\":{}}}", conf_state.auto_leave);
    json
}

pub(super) fn parse(json: &[u8]) -> Result<ConfState, String> {
    fields(json).ok_or_else(|| BROKEN.into())
}

fn fields(json: &[u8]) -> Option<ConfState> {
    let mut conf_state = ConfState::default();
    let json = std::str::from_utf8(json).ok()?;
    let mut rest = json.trim().strip_prefix('{')?.trim_start();
    while !rest.starts_with('}') {
        let (name, after) = rest.strip_prefix('"')?.split_once('"')?;
        rest = after.trim_start().strip_prefix(':')?.trim_start();
        let list = match name {
            "voters" => &mut conf_state.voters,
            "learners" => &mut conf_state.learners,
            "voters_outgoing" => &mut conf_state.voters_outgoing,
            "learners_next" => &mut conf_state.learners_next,
            "auto_leave" => {
                let end = rest.find([',', '}'])?;
                conf_state.auto_leave = rest[..end].trim().parse().ok()?;
                rest = next(&rest[end..])?;
                continue;
            }
            _ => return None,
        };
        let (ids, after) = rest.strip_prefix('[')?.split_once(']')?;
        if !ids.trim().is_empty() {
            *list = ids.split(',').map(|id| id.trim().parse().ok()).collect::<Option<_>>()?;
        }
        rest = next(after.trim_start())?;
    }
    (rest == "}").then_some(conf_state)
}

/// Over a comma to the next field, or to the closing brace.
fn next(rest: &str) -> Option<&str> {
    match rest.strip_prefix(',') {
        Some(field) => Some(field.trim_start()).filter(|field| field.starts_with('"')),
        None => Some(rest).filter(|rest| rest.starts_with('}')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_etcds_and_parses_back() {
        let mut conf_state = ConfState::default();
        let empty = to_json(&conf_state);
        assert_eq!(empty, r#"{"auto_leave":false}"#);
        assert_eq!(parse(empty.as_bytes()), Ok(conf_state.clone()));
        conf_state.voters = vec![1, u64::MAX];
        conf_state.learners = vec![3];
        conf_state.auto_leave = true;
        let json = to_json(&conf_state);
        assert_eq!(json, r#"{"voters":[1,18446744073709551615],"learners":[3],"auto_leave":true}"#);
        assert_eq!(parse(json.as_bytes()), Ok(conf_state));
        for end in 0..json.len() {
            assert!(parse(&json.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for json in [
            "",
            "{",
            "[]",
            "{,}",
            "{\"x\":1}",
            "{\"voters\":[1}",
            "{\"voters\":[-1]}",
            "{\"auto_leave\":2}",
            "{\"auto_leave\":true,}",
            "{} {}",
            "{\"voters\":[1]\"learners\":[2]}",
        ] {
            assert!(parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}
