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
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }

    #[test]
    fn what_is_cut_is_counted() {
        assert_eq!(quoted(b"a\"\x00", 3), r#""a\"\x00""#);
        assert_eq!(quoted(b"abcd", 3), "\"abc…\" (4 bytes)");
    }
}
