//! A `:authority` that is a URL, made one that HTTP/2 libraries take, within the header block that has it.
//!
//! etcdctl 3.4 (grpc-go 1.33) sends the endpoint as it was typed, `http://10.0.0.1:2379`, where an authority belongs.
//! etcd, whose HTTP/2 is Go's, never looks at it; the one here refuses such a call and has no setting for that.
//!
//! Promises: what is parsed as an authority stays byte for byte, and what is changed keeps its lengths. Each character
//! that a host cannot have becomes one with a Huffman code as long: `http://h:1` is `httpx--hx1` in as many bits. Then
//! nothing around it changes, neither blocks and frames nor the sizes of entries in HPACK's dynamic table, by which it
//! is decided what is forgotten. So no table is kept here, and each block stands for itself. That the authority is lost
//! harms nobody: nothing of `serve` asks for it.
//!
//! It does not know frames ([`super::headers`]), nor what is wrong with a block that cannot be read: that stays as it
//! is, for HTTP/2 to refuse. Its name may be a place in the static table, as grpc-go has it, or spelt out, as gRPC's C
//! core has it; a place in the dynamic table is not looked up.

use std::ops::Range;

use http::uri::Authority;

const NAME: &[u8] = b":authority";
/// It in Huffman's code.
const NAME_CODED: &[u8] = b"\xb8\x3b\x53\x39\xec\x32\x7d\x7f";
/// Its place in HPACK's static table (RFC 7541, appendix A).
const AUTHORITY: usize = 1;

/// Characters that a URL has and a host has not, and what they become: the code of each is as long as the other's.
const REPLACED: [(u8, u8); 6] = [(b'/', b'-'), (b'%', b'-'), (b':', b'x'), (b'[', b'~'), (b']', b'~'), (b'@', b'~')];

/// Huffman's codes (RFC 7541, appendix B) by their bits, each with its characters. The codes of a length follow each
/// other, and so do the lengths: a code is known by its place. Longer ones are of characters that no URL has.
const CODES: [(u32, &[u8]); 8] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
];

/// Makes each `:authority` in a whole header block one that is taken.
pub(super) fn mend(block: &mut [u8]) {
    let mut at = 0;
    while let Some(&first) = block.get(at) {
        // Section 6: what is there is told by the first bits; the rest of them begin a number.
        let (bits, literal) = match first {
            0x80.. => (7, false),
            0x40.. => (6, true),
            // The table's size.
            0x20.. => (5, false),
            _ => (4, true),
        };
        let Some(index) = integer(block, &mut at, bits) else { return };
        if !literal {
            continue;
        }
        let is_authority = match index {
            0 => match string(block, &mut at) {
                Some((false, name)) => block[name] == *NAME,
                Some((true, name)) => block[name] == *NAME_CODED,
                None => return,
            },
            index => index == AUTHORITY,
        };
        let Some((huffman, place)) = string(block, &mut at) else { return };
        if is_authority {
            mend_value(&mut block[place], huffman);
        }
    }
}

fn mend_value(value: &mut [u8], huffman: bool) {
    let decoded = if huffman { decode(value) } else { Some(value.to_vec()) };
    let Some(mut text) = decoded.filter(|text| Authority::try_from(&text[..]).is_err()) else { return };
    for byte in &mut text {
        if let Some((_, other)) = REPLACED.iter().find(|(url, _)| url == byte) {
            *byte = *other;
        }
    }
    let mended = if huffman { encode(&text) } else { text };
    assert_eq!(mended.len(), value.len(), "the codes are as long");
    value.copy_from_slice(&mended);
}

/// The number at `at`, whose first byte has this many bits of it (section 5.1); `at` is then behind it.
fn integer(block: &[u8], at: &mut usize, bits: u32) -> Option<usize> {
    let most = (1 << bits) - 1;
    let mut number = usize::from(*block.get(*at)? & most);
    *at += 1;
    if number < usize::from(most) {
        return Some(number);
    }
    // More digits are of a number that no block can hold.
    for digit in 0..4 {
        let byte = *block.get(*at)?;
        *at += 1;
        number += usize::from(byte & 0x7f) << (7 * digit);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The string at `at` (section 5.2): whether it is Huffman's, and where its bytes are; `at` is then behind it.
fn string(block: &[u8], at: &mut usize) -> Option<(bool, Range<usize>)> {
    let huffman = block.get(*at)? & 0x80 != 0;
    let length = integer(block, at, 7)?;
    let place = *at..*at + length;
    block.get(place.clone())?;
    *at = place.end;
    Some((huffman, place))
}

/// Each length of codes with its first code and its characters.
fn codes() -> impl Iterator<Item = (u32, usize, &'static [u8])> {
    let (mut bits_before, mut next) = (0, 0);
    CODES.iter().map(move |&(bits, characters)| {
        let first = next << (bits - bits_before);
        (bits_before, next) = (bits, first + characters.len());
        (bits, first, characters)
    })
}

/// What the codes say; nothing where there is another code than those of [`CODES`], or padding that is none.
fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let (mut text, mut bytes, mut pending, mut bits_pending) = (Vec::new(), coded.iter(), 0, 0);
    loop {
        // The longest code is among these.
        while bits_pending < 16 {
            let Some(byte) = bytes.next() else { break };
            (pending, bits_pending) = (pending << 8 | usize::from(*byte), bits_pending + 8);
        }
        if bits_pending < 8 && pending == (1 << bits_pending) - 1 {
            return Some(text);
        }
        let (bits, character) = codes().find_map(|(bits, first, characters)| {
            let code = pending >> u32::checked_sub(bits_pending, bits)?;
            Some((bits, *characters.get(code.checked_sub(first)?)?))
        })?;
        text.push(character);
        bits_pending -= bits;
        pending &= (1 << bits_pending) - 1;
    }
}

/// The codes of a text that came out of [`decode`], or has been replaced by [`REPLACED`].
fn encode(text: &[u8]) -> Vec<u8> {
    let (mut coded, mut pending, mut bits_pending) = (Vec::new(), 0, 0);
    for character in text {
        let found = codes().find_map(|(bits, first, characters)| {
            let place = characters.iter().position(|other| other == character)?;
            Some((bits, first + place))
        });
        let (bits, code) = found.expect("a character of the table");
        (pending, bits_pending) = (pending << bits | code, bits_pending + bits);
        while bits_pending >= 8 {
            bits_pending -= 8;
            coded.push((pending >> bits_pending) as u8);
            pending &= (1 << bits_pending) - 1;
        }
    }
    if bits_pending > 0 {
        // The last byte is filled up with ones.
        coded.push((pending << (8 - bits_pending)) as u8 | (0xff >> bits_pending));
    }
    coded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|place| u8::from_str_radix(&hex[2 * place..][..2], 16).expect("hex")).collect()
    }

    #[track_caller]
    fn check(block: &[u8], expect: &[u8]) {
        let mut mended = block.to_vec();
        mend(&mut mended);
        assert_eq!(mended, expect, "{}", String::from_utf8_lossy(block));
    }

    /// A literal that is short, in Huffman's code or without.
    fn literal(first: u8, huffman: u8, value: &[u8]) -> Vec<u8> {
        [&[first, huffman | value.len() as u8], value].concat()
    }

    #[test]
    fn the_codes_are_the_standards() {
        // Every character of the table once, as another implementation has it.
        let all: Vec<u8> = CODES.iter().flat_map(|(_, characters)| *characters).copied().collect();
        let coded = bytes(
            "00443214c742545565d865a6dc75e7e08628e49669e8a6aaecb6e5dbd7f061c58f265cd9f469d5af66dddbf871\
             e5cfa75eddfc79f5efe3e7ebeff3f7f8fe7fafeffcff5feffe7fd7fdffe3ff3ffaffdfff3ffb",
        );
        assert_eq!(encode(&all), coded);
        assert_eq!(decode(&coded).as_deref(), Some(&all[..]));
        // RFC 7541, C.4.1.
        assert_eq!(encode(b"www.example.com"), bytes("f1e3c2e5f23a6ba0ab90f4ff"));
        assert_eq!(encode(NAME), NAME_CODED);
        // Padding of zeros, and of more than seven bits; and `\`, whose code is longer.
        for wrong in ["f1e3c2e5f23a6ba0ab90f400", "f1e3c2e5f23a6ba0ab90f4ffff", "fffe1f"] {
            assert_eq!(decode(&bytes(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_replaced_is_as_long() {
        for (character, other) in REPLACED {
            let bits = |wanted| codes().find(|(_, _, characters)| characters.contains(&wanted)).map(|(bits, ..)| bits);
            assert!(bits(character).is_some() && bits(character) == bits(other), "{}", char::from(character));
        }
    }

    #[test]
    fn a_url_becomes_an_authority() {
        for (url, expect) in [
            ("http://127.0.0.1:24400", "httpx--127.0.0.1x24400"),
            ("http://127.0.0.1:2379/", "httpx--127.0.0.1x2379-"),
            ("https://[fe80::1%25lo]:2379", "httpsx--~fe80xx1-25lo~x2379"),
            ("http://a:b@Host_1.org", "httpx--axb~Host_1.org"),
        ] {
            assert!(Authority::try_from(url).is_err() && Authority::try_from(expect).is_ok(), "{url}");
            let (coded, coded_expect) = (encode(url.as_bytes()), encode(expect.as_bytes()));
            // With and without being put into the table, and never; by a name that is spelt.
            for first in [0x41, 0x01, 0x11] {
                check(&literal(first, 0, url.as_bytes()), &literal(first, 0, expect.as_bytes()));
                check(&literal(first, 0x80, &coded), &literal(first, 0x80, &coded_expect));
                for name in [literal(first - 1, 0, NAME), literal(first - 1, 0x80, NAME_CODED)] {
                    let field = |value: &str| [&name, &literal(0, 0, value.as_bytes())[1..]].concat();
                    check(&field(url), &field(expect));
                }
            }
        }
    }

    #[test]
    fn all_else_stays_byte_for_byte() {
        for authority in ["localhost", "127.0.0.1:2379", "[::1]:2379", "a:b@h:1", "etcd-0.etcd"] {
            let plain = literal(0x41, 0, authority.as_bytes());
            check(&plain, &plain);
            let coded = literal(0x41, 0x80, &encode(authority.as_bytes()));
            check(&coded, &coded);
        }
        // `:path`, a name that is spelt, a new size of the table and indexes, an authority in unknown codes.
        let path = literal(0x44, 0, b"http://h:1");
        for other in [&path[..], b"\x40\x04name\x0ahttp://h:1", b"\x3f\xe1\x1f\x81\xbe", b"\x41\x83\xff\xfe\x1f"] {
            check(other, other);
        }
    }

    #[test]
    fn it_is_found_where_etcdctl_has_it() {
        // `endpoint status` of etcdctl 3.4.23, as it was recorded.
        let (before, after) = (
            "8386459760a924882d9dcb6571afa066a925a87510ac6e48d36a3f",
            "5f8b1d75d0620d263d4c4d65647a8b9acac8b4c7602bb2caecff40027465864d833505b11f40899acac8b24d49\
             4f6a7f8669f7c4165cb7408d25062d495875996ee5b1063d5f03332e34",
        );
        let around = |authority: &str| bytes(&[before, authority, after].concat());
        let (sent, expect) = ("41909d29aee30c044eae05c0b86e09a6800f", "41909d29afcacb044eae05c0b87c89a6800f");
        check(&around(sent), &around(expect));
        // And behind numbers of several bytes: an index of 62, a length of 300.
        let long = [&[0x0f, 0x2f, 0x7f, 0xad, 0x01][..], &[b':'; 300]].concat();
        check(&[&long[..], &bytes(sent)].concat(), &[&long[..], &bytes(expect)].concat());
    }

    #[test]
    fn nothing_worse_comes_of_garbage() {
        // What is cut off is left.
        let whole = literal(0x41, 0x80, &encode(b"http://h:1"));
        for end in 0..whole.len() {
            check(&whole[..end], &whole[..end]);
        }
        let mut dice = Dice(1);
        let mut changed = 0;
        for _ in 0..20_000 {
            let mut byte = || if dice.one_in(2) { dice.next() as u8 } else { dice.pick(b"\x01\x41\x81\x83\xff:/") };
            let block: Vec<u8> = (0..40).map(|_| byte()).collect();
            let mut mended = block.clone();
            mend(&mut mended);
            changed += usize::from(mended != block);
        }
        assert!(changed > 500, "some of it was read: {changed}");
    }
}
