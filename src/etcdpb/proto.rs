//! Protobuf by the [table of etcd's messages](super::schema): JSON to bytes and back.
//!
//! The JSON is protobuf's own form of it: 64-bit numbers are text, bytes are base64, enums are names where the number
//! has one. What is zero or empty is left out when decoded, and sent as it is when it is given.

use serde_json::{Map, Value};

use super::schema::{fields, Field, Kind};
use crate::output::bytes::{base64, from_base64};

/// How many messages may lie in each other.
const DEPTH_MAX: u32 = 100;

/// The bytes of a message of ours.
///
/// # Panics
/// A field is not of the message, or its value not of its kind: a request of ours is wrong.
pub(crate) fn encode(message: &str, value: &Value) -> Vec<u8> {
    for name in value.as_object().into_iter().flat_map(Map::keys) {
        assert!(fields(message).iter().any(|field| field.name == name), "{message} has no field {name}");
    }
    try_encode(message, value).unwrap_or_else(|wrong| panic!("{message}: {wrong}"))
}

/// The bytes of a message that somebody else has written: fields that it does not have are passed over, names may be
/// protobuf's or those of JSON, numbers may be text or numbers, and `null` is what is left out.
///
/// # Errors
/// A value is not of its field's kind.
pub(crate) fn try_encode(message: &str, value: &Value) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let Value::Object(object) = value else { return Err(format!("{value} is no {message}")) };
    for field in fields(message) {
        match object.get(field.name).or_else(|| object.get(&camel(field.name))) {
            None | Some(Value::Null) => {}
            Some(Value::Array(values)) if field.repeated => {
                values.iter().try_for_each(|value| encode_field(field, value, &mut out))?;
            }
            Some(value) => encode_field(field, value, &mut out)?,
        }
    }
    Ok(out)
}

/// JSON's name of a field: `range_end` is `rangeEnd`.
fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut camel = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (first, rest) = part.split_at(part.len().min(1));
        camel.push_str(&first.to_ascii_uppercase());
        camel.push_str(rest);
    }
    camel
}

fn encode_field(field: &Field, value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || format!("{}: {value} is no {:?}", field.name, field.kind);
    let scalar = |number: u64, out: &mut Vec<u8>| {
        varint(u64::from(field.number) << 3, out);
        varint(number, out);
    };
    let bytes = |bytes: &[u8], out: &mut Vec<u8>| {
        varint(u64::from(field.number) << 3 | 2, out);
        varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    };
    match field.kind {
        Kind::Signed => {
            let number = value.as_str().map_or(value.as_i64(), |text| text.parse().ok());
            scalar(number.ok_or_else(wrong)? as u64, out);
        }
        Kind::Unsigned | Kind::Short => {
            let number = value.as_str().map_or(value.as_u64(), |text| text.parse().ok());
            scalar(number.ok_or_else(wrong)?, out);
        }
        Kind::Bool => scalar(u64::from(value.as_bool().ok_or_else(wrong)?), out),
        Kind::Text => bytes(value.as_str().ok_or_else(wrong)?.as_bytes(), out),
        Kind::Bytes => bytes(&value.as_str().and_then(from_base64).ok_or_else(wrong)?, out),
        Kind::Enum(names) => {
            let named = |name| names.iter().position(|other| *other == name);
            let number = value.as_str().map_or(value.as_u64(), |name| named(name).map(|place| place as u64));
            scalar(number.ok_or_else(wrong)?, out);
        }
        Kind::Message(message) => bytes(&try_encode(message, value)?, out),
    }
    Ok(())
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// What the bytes of a message say.
///
/// # Errors
/// They are none, or have a field that the table does not know.
pub(crate) fn decode(message: &str, bytes: &[u8]) -> Result<Value, String> {
    object(message, bytes, 0)
}

fn object(message: &str, mut bytes: &[u8], depth: u32) -> Result<Value, String> {
    if depth > DEPTH_MAX {
        return Err(format!("{message}: too deep"));
    }
    let known = fields(message);
    let mut object = Map::new();
    while !bytes.is_empty() {
        let cut = || format!("{message}: it is cut off");
        let key = take_varint(&mut bytes).ok_or_else(cut)?;
        let field = known.iter().find(|field| u64::from(field.number) == key >> 3);
        let field = field.ok_or_else(|| format!("{message}: field {} is not known", key >> 3))?;
        let wrong = || format!("{message}.{}: wire type {}", field.name, key & 7);
        let one = match (key & 7, field.kind) {
            (0, _) => number(field.kind, take_varint(&mut bytes).ok_or_else(cut)?).ok_or_else(wrong)?,
            (2, kind) => {
                let length = take_varint(&mut bytes).and_then(|length| usize::try_from(length).ok()).ok_or_else(cut)?;
                let (mut content, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
                bytes = rest;
                match kind {
                    Kind::Text => Value::from(String::from_utf8_lossy(content)),
                    Kind::Bytes => Value::from(base64(content)),
                    Kind::Message(inner) => self::object(inner, content, depth + 1)?,
                    // Numbers that come many at once.
                    _ if field.repeated => {
                        while !content.is_empty() {
                            let number = number(kind, take_varint(&mut content).ok_or_else(cut)?).ok_or_else(wrong)?;
                            push(&mut object, field.name, number);
                        }
                        continue;
                    }
                    _ => return Err(wrong()),
                }
            }
            _ => return Err(wrong()),
        };
        if field.repeated {
            push(&mut object, field.name, one);
        } else if is_zero(&field.kind, &one) {
            object.remove(field.name);
        } else {
            object.insert(field.name.to_owned(), one);
        }
    }
    Ok(Value::Object(object))
}

fn push(object: &mut Map<String, Value>, name: &str, value: Value) {
    if let Value::Array(values) = object.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
        values.push(value);
    }
}

fn number(kind: Kind, number: u64) -> Option<Value> {
    Some(match kind {
        Kind::Signed => Value::from((number as i64).to_string()),
        Kind::Unsigned => Value::from(number.to_string()),
        Kind::Short => Value::from(number as u32),
        Kind::Bool => Value::from(number != 0),
        Kind::Enum(names) => {
            let name = usize::try_from(number).ok().and_then(|place| names.get(place));
            name.map_or_else(|| Value::from(number), |name| Value::from(*name))
        }
        Kind::Text | Kind::Bytes | Kind::Message(_) => return None,
    })
}

/// Whether protobuf does not send it.
fn is_zero(kind: &Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Signed | Kind::Unsigned, Value::String(text)) => text == "0",
        (Kind::Enum(names), Value::String(text)) => names.first().is_some_and(|first| first == text),
        (_, Value::String(text)) => text.is_empty(),
        (_, Value::Bool(set)) => !set,
        (_, Value::Number(number)) => number.as_u64() == Some(0),
        _ => false,
    }
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let watch = json!({ "create_request": { "key": "YQ==", "start_revision": "-3", "filters": ["NOPUT", "NODELETE"],
            "prev_kv": true, "watch_id": "300" } });
        assert_eq!(decode("WatchRequest", &encode("WatchRequest", &watch)), Ok(watch));
        let txn = json!({ "compare": [{ "target": "VALUE", "value": "/w==", "range_end": "AA==" }],
            "success": [{ "request_txn": { "failure": [{ "request_put": {} }] } }] });
        assert_eq!(decode("TxnRequest", &encode("TxnRequest", &txn)), Ok(txn));
        // A value that its enum does not have, and one that is zero.
        let range = json!({ "sort_order": 7, "limit": "0" });
        assert_eq!(decode("RangeRequest", &encode("RangeRequest", &range)), Ok(json!({ "sort_order": 7 })));
    }

    #[test]
    fn what_others_write_may_differ_in_form() {
        let ours = encode("RangeRequest", &json!({ "key": "YQ==", "range_end": "Yg==", "limit": "3" }));
        let theirs = json!({ "key": "YQ==", "rangeEnd": "Yg==", "limit": 3, "revision": null, "unknown": [] });
        assert_eq!(try_encode("RangeRequest", &theirs), Ok(ours));
        for wrong in [json!([]), json!({ "key": 7 }), json!({ "limit": "x" }), json!({ "sort_order": "UP" })] {
            assert!(try_encode("RangeRequest", &wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert_eq!(decode("PutRequest", &[0x0a, 5, b'a']), Err("PutRequest: it is cut off".into()));
        assert_eq!(decode("PutRequest", &[0x08, 5]), Err("PutRequest.key: wire type 0".into()));
        assert_eq!(decode("PutRequest", &[0x78, 5]), Err("PutRequest: field 15 is not known".into()));
    }

    #[test]
    fn numbers_may_come_many_at_once() {
        let packed = [0x2a, 2, 0, 1];
        assert_eq!(decode("WatchCreateRequest", &packed), Ok(json!({ "filters": ["NOPUT", "NODELETE"] })));
    }
}
