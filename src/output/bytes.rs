//! Bytes as text: quoted for people, in base64 for programs (as etcd's own JSON has keys and values).

use detcd_replica::api::KeyValue;
use serde_json::{json, Value};

/// Quoted and escaped, cut after `most` bytes; what was cut is counted.
pub(crate) fn quoted(bytes: &[u8], most: usize) -> String {
    if bytes.len() <= most {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    format!("\"{}…\" ({} bytes)", bytes[..most].escape_ascii(), bytes.len())
}

/// etcd's `KeyValue` as its JSON has it, but with numbers as numbers and nothing left out.
pub(crate) fn key_value(kv: &KeyValue) -> Value {
    json!({
        "key": base64(&kv.key),
        "create_revision": kv.create_revision,
        "mod_revision": kv.mod_revision,
        "version": kv.version,
        "value": base64(&kv.value),
        "lease": kv.lease,
    })
}

/// RFC 4648, with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let number = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * place)) as usize & 63] as char;
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

/// The bytes of what [`base64`] gives; `None`: it is nothing of that kind.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.as_bytes().chunks(4) {
        let letters = four.iter().take_while(|letter| **letter != b'=');
        let mut number = 0;
        for letter in letters.clone() {
            let digit = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            number = number << 6 | u32::from(digit);
        }
        let count = letters.count();
        if four.len() != 4 || count < 2 {
            return None;
        }
        let three = (number << (6 * (4 - count))).to_be_bytes();
        bytes.extend_from_slice(&three[1..count]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
            assert_eq!(from_base64(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
        assert_eq!(from_base64("//79"), Some(vec![0xff, 0xfe, 0xfd]));
        assert_eq!((from_base64("abc"), from_base64("a==="), from_base64("ab.d")), (None, None, None));
    }

    #[test]
    fn what_is_cut_is_counted() {
        assert_eq!(quoted(b"a\"\x00", 3), r#""a\"\x00""#);
        assert_eq!(quoted(b"abcd", 3), "\"abc…\" (4 bytes)");
    }
}
