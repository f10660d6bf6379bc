//! The common name in a client's certificate, which is its user where it gives no token (`AuthInfoFromTLS`).
//!
//! The certificate was verified by TLS before: what cannot be read here has no name, and no more is made of it.

/// `2.5.4.3`, the common name.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
/// The version of a certificate, which older ones do not say.
const VERSION: u8 = 0xa0;

/// The common name of the subject; the last, when it has several.
pub(super) fn common_name(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (mut rest, _) = expect(SEQUENCE, certificate)?;
    if rest.first() == Some(&VERSION) {
        (_, _, rest) = take(rest)?;
    }
    // Serial number, algorithm, issuer, validity.
    for _ in 0..4 {
        (_, _, rest) = take(rest)?;
    }
    let (mut subject, _) = expect(SEQUENCE, rest)?;
    let mut name = None;
    while !subject.is_empty() {
        let (mut set, after) = expect(SET, subject)?;
        subject = after;
        while !set.is_empty() {
            let (attribute, after) = expect(SEQUENCE, set)?;
            set = after;
            let (id, value) = expect(OBJECT_ID, attribute)?;
            if id == COMMON_NAME {
                let (_, text, _) = take(value)?;
                name = String::from_utf8(text.to_vec()).ok();
            }
        }
    }
    name
}

/// The content of an element of that kind, and what follows it.
fn expect(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = take(bytes)?;
    (found == tag).then_some((content, rest))
}

/// The next element of DER: its tag, its content, and what follows.
fn take(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::CertificateDer;

    use super::*;

    #[test]
    fn it_is_the_subjects_and_not_the_issuers() {
        let pem = include_bytes!("../../tests/integration/tls/member.pem");
        let certificate = CertificateDer::from_pem_slice(pem).expect("a certificate");
        assert_eq!(common_name(&certificate).as_deref(), Some("root"));
        // Cut anywhere it has none, and nothing worse comes of it.
        for end in 0..certificate.len() {
            assert_eq!(common_name(&certificate[..end]), None);
        }
    }
}
