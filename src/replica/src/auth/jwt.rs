//! JSON web tokens signed with HS256: what a user is, and as of which auth revision, vouched for by a shared key.
//!
//! Of etcd's signing methods only the symmetric one is here: the others need the operating system's entropy to sign.
//! A token names its end in Unix seconds, so a member must be told what its clock has to do with them
//! (`AuthConfig::unix_time_at_zero`).

use base64::prelude::{Engine, BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// What a token says, in the order in which Go writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Claims {
    /// The first Unix second at which it is no longer valid; without it the token has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) exp: Option<u64>,
    /// The auth revision at which it was made.
    pub(super) revision: u64,
    /// Whose it is.
    pub(super) username: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
}

/// The token that says `claims`.
pub(super) fn sign(key: &[u8], claims: &Claims) -> String {
    let header = Header { alg: "HS256".into(), typ: Some("JWT".into()) };
    let part = |json: serde_json::Result<Vec<u8>>| {
        BASE64_URL_SAFE_NO_PAD.encode(json.expect("strings and numbers can always be written"))
    };
    let signed = format!("{}.{}", part(serde_json::to_vec(&header)), part(serde_json::to_vec(claims)));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(mac(key, &signed).finalize().into_bytes());
    format!("{signed}.{signature}")
}

/// What `token` says, if its signature is ours and its end has not come.
pub(super) fn verify(key: &[u8], unix_seconds: u64, token: &str) -> Option<Claims> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let header: Header = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
    if header.alg != "HS256" {
        return None;
    }
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
    mac(key, signed).verify_slice(&signature).ok()?;
    let claims: Claims = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    claims.exp.is_none_or(|end| unix_seconds < end).then_some(claims)
}

fn mac(key: &[u8], signed: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims { exp: Some(1_700_000_300), revision: 7, username: "alice".into() }
    }

    #[test]
    fn a_token_says_what_was_signed_until_its_end() {
        let token = sign(b"key", &claims());
        assert_eq!(verify(b"key", 1_700_000_299, &token), Some(claims()));
        assert_eq!(verify(b"key", 1_700_000_300, &token), None);
        assert_eq!(verify(b"other", 0, &token), None);
        let endless = Claims { exp: None, ..claims() };
        assert_eq!(verify(b"key", u64::MAX, &sign(b"key", &endless)), Some(endless));
    }

    #[test]
    fn any_change_is_seen() {
        let token = sign(b"key", &claims());
        for place in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(verify(b"key", 0, &changed), None, "{place}");
        }
        let unsigned =
            format!("{}.{}.", BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), token.split('.').nth(1).unwrap());
        for broken in ["", ".", "..", "a.b.c", &unsigned] {
            assert_eq!(verify(b"key", 0, broken), None, "{broken}");
        }
    }

    #[test]
    fn the_example_of_the_standard_is_understood() {
        // RFC 7515, appendix A.1: header {"typ":"JWT",\r\n "alg":"HS256"}; its claims are not ours, its signature
        // counts.
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = BASE64_URL_SAFE_NO_PAD.decode(key).unwrap();
        let signed = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                      eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = BASE64_URL_SAFE_NO_PAD.encode(mac(&key, signed).finalize().into_bytes());
        assert_eq!(signature, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }
}
