//! Passwords: bcrypt hashes in the form that Go's library writes, `$2a$<cost>$<22 letters of salt><31 of hash>`.
//!
//! The crate does the arithmetic; the salt is ours to choose, so the form is written and read here.

/// bcrypt looks at so many bytes of a password, the closing zero byte counted.
const BYTES_MAX: usize = 72;
const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// The hash of `password`. `cost` is from 4 to 31; each step doubles the work.
pub(super) fn hash(password: &str, cost: u32, salt: [u8; 16]) -> String {
    assert!((4..=31).contains(&cost), "bcrypt cost {cost}");
    // bcrypt leaves the last of its 24 bytes out.
    format!("$2a${cost:02}${}{}", encode(&salt), encode(&raw(password, cost, salt)[..23]))
}

/// Whether `hash` is a hash of `password`. Anything that is no hash is not.
pub(super) fn verify(hash: &[u8], password: &str) -> bool {
    parse(hash).is_some_and(|(cost, salt, expect)| encode(&raw(password, cost, salt)[..23]).as_bytes() == expect)
}

fn raw(password: &str, cost: u32, salt: [u8; 16]) -> [u8; 24] {
    let mut key = password.as_bytes().to_vec();
    key.push(0);
    key.truncate(BYTES_MAX);
    bcrypt::bcrypt(cost, salt, &key)
}

/// Cost, salt and the letters of the hash.
fn parse(hash: &[u8]) -> Option<(u32, [u8; 16], &[u8])> {
    // The minor version may be any letter, or be missing.
    let rest = hash.strip_prefix(b"$2")?;
    let ([b'$', rest @ ..] | [_, b'$', rest @ ..]) = rest else { return None };
    let (cost, rest) = (rest.get(..2)?, rest.get(2..)?.strip_prefix(b"$")?);
    let cost = std::str::from_utf8(cost).ok()?.parse().ok().filter(|cost| (4..=31).contains(cost))?;
    let (salt, hash) = (rest.get(..22)?, rest.get(22..53)?);
    Some((cost, decode(salt)?.try_into().ok()?, hash))
}

/// bcrypt's base 64: its own alphabet, no padding.
fn encode(bytes: &[u8]) -> String {
    let mut letters = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            letters.push(char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    letters
}

fn decode(letters: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for group in letters.chunks(4) {
        let mut bits = 0_u32;
        for letter in group {
            bits = bits << 6 | ALPHABET.iter().position(|one| one == letter)? as u32;
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_hashes_verify() {
        // Password, hash: reference vectors of bcrypt.
        for (password, hash) in [
            ("", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
            ("a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
            ("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
            ("abcdefghijklmnopqrstuvwxyz", "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC"),
        ] {
            assert!(verify(hash.as_bytes(), password), "{password}");
            assert!(!verify(hash.as_bytes(), &format!("{password}x")), "{password}");
            let (cost, salt, _) = parse(hash.as_bytes()).unwrap();
            assert_eq!(self::hash(password, cost, salt), hash);
        }
    }

    #[test]
    fn what_is_no_hash_verifies_nothing() {
        let hash = hash("secret", 4, [7; 16]);
        assert!(verify(hash.as_bytes(), "secret"));
        assert!(!verify(b"", "") && !verify(b"secret", "secret"));
        for length in 0..hash.len() {
            assert!(!verify(&hash.as_bytes()[..length], "secret"), "cut at {length}");
        }
        assert!(!verify(hash.replace("$04$", "$03$").as_bytes(), "secret"));
        assert!(!verify(hash.replace("$04$", "$99$").as_bytes(), "secret"));
    }

    #[test]
    fn the_letters_decode_back() {
        for length in 0..40 {
            let bytes: Vec<u8> = (0..length).map(|byte: u8| byte.wrapping_mul(37).wrapping_add(11)).collect();
            assert_eq!(decode(encode(&bytes).as_bytes()).as_deref(), Some(&bytes[..]), "{length}");
        }
    }
}
