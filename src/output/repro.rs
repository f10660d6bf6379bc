//! `repro.toml`: the identity of a run, and all that `detcd replay` reads.
//!
//! Promises: what is written is read back equal; anything else is refused with file, line, column and field; the bytes
//! depend on the run alone (no clock, no path), so that two replays write the same.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};

use crate::cli::parse_seed;
use crate::engine::{Host, Verdict};
use crate::exit::Failure;
use crate::identity;
use crate::scenario::locate;

/// The schema of the file.
pub(crate) const SCHEMA: &str = "detcd.repro/1";

/// The file. `W` is the scenario as the world reads it, or as plain TOML.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repro<W> {
    /// [`SCHEMA`].
    #[serde(deserialize_with = "known_schema")]
    pub(crate) schema: String,
    /// The version of detcd that wrote it.
    pub(crate) detcd: String,
    /// The git commit of that build, when it was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
    /// The fingerprint of the sources of that build.
    pub(crate) source: String,
    /// The scenario's name.
    pub(crate) name: String,
    /// The seed. Text, since TOML's integers end at 2^63.
    #[serde(deserialize_with = "seed", serialize_with = "seed_text")]
    pub(crate) seed: u64,
    /// Who pumped the queue.
    pub(crate) host: Host,
    /// The bugs switched on.
    pub(crate) bugs: Vec<String>,
    /// The check that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) check: Option<String>,
    /// What the replay must give.
    pub(crate) expected: Expected,
    /// Decisions that are not drawn but named.
    pub(crate) overrides: BTreeMap<String, u64>,
    /// The scenario, settings applied.
    pub(crate) scenario: W,
}

/// What a replay must give.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// The verdict.
    pub(crate) verdict: Verdict,
    /// The digest.
    #[serde(deserialize_with = "digest_of_32")]
    pub(crate) digest: String,
}

impl<W> Repro<W> {
    /// Whether the code that wrote it was other than this.
    pub(crate) fn is_from_other_code(&self) -> bool {
        self.detcd != identity::VERSION || self.source != identity::SOURCE
    }
}

/// The text of the file.
pub(crate) fn write(repro: &Repro<toml::Table>) -> Result<String, toml::ser::Error> {
    let body = toml::to_string(repro)?;
    Ok(format!("# Replays one run of detcd: detcd replay THIS_FILE\n{body}"))
}

/// Reads the text of a file; `origin` is how messages call it.
///
/// # Errors
/// One line with file, line, column and field, exit 2.
pub(crate) fn read<W: DeserializeOwned>(origin: &str, text: &str) -> Result<Repro<W>, Failure> {
    toml::from_str(text).map_err(|error| Failure::usage(locate(origin, text, &error)))
}

fn known_schema<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let schema = String::deserialize(deserializer)?;
    if schema == SCHEMA {
        Ok(schema)
    } else {
        Err(D::Error::custom(format!("schema `{schema}` is not `{SCHEMA}`, the one this detcd reads")))
    }
}

fn seed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "invalid type for `seed`: it is a string, for instance \"42\"")]
    enum Written {
        Number(u64),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Number(seed) => Ok(seed),
        Written::Text(text) => parse_seed(&text).map_err(|reason| D::Error::custom(format!("`seed`: {reason}"))),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn seed_text<S: serde::Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(seed)
}

fn digest_of_32<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let digest = String::deserialize(deserializer)?;
    if digest.len() == 32 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        Ok(digest)
    } else {
        Err(D::Error::custom("`digest` is 32 hexadecimal digits in lower case"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Repro<toml::Table> {
        Repro {
            schema: SCHEMA.to_owned(),
            detcd: "0.1.0".to_owned(),
            commit: None,
            source: "00000000000000ff".to_owned(),
            name: "swarm".to_owned(),
            seed: u64::MAX,
            host: Host::Bare,
            bugs: vec!["mustsync_ignores_vote".to_owned()],
            check: Some("linearizability".to_owned()),
            expected: Expected { verdict: Verdict::Violation, digest: "0".repeat(32) },
            overrides: BTreeMap::from([("net.delay/1>3#17".to_owned(), 40)]),
            scenario: "nodes = 3\n[net]\nloss = 0.5\n".parse().expect("sound"),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = write(&sample()).expect("plain data");
        assert_eq!(read::<toml::Table>("repro.toml", &text).expect("just written"), sample());
    }

    #[test]
    fn what_is_wrong_is_located() {
        let good = write(&sample()).expect("plain data");
        for (from, to, part) in [
            ("seed = ", "sede = ", "did you mean `seed`"),
            ("seed = \"18446744073709551615\"", "seed = true", "seed"),
            ("seed = \"18446744073709551615\"", "seed = -1", "seed"),
            ("seed = \"18446744073709551615\"", "seed = \"x\"", "`seed`: a seed is decimal"),
            ("detcd.repro/1", "detcd.repro/9", "detcd.repro/9"),
            ("host = \"bare\"", "host = \"bear\"", "did you mean `bare`"),
            ("verdict = \"violation\"", "verdict = \"violated\"", "did you mean `violation`"),
            ("name = \"swarm\"\n", "", "missing field `name`"),
            ("digest = \"0", "digest = \"X", "`digest`"),
            ("[expected]", "[expected", ""),
            ("= 40", "= \"40\"", "invalid type"),
        ] {
            assert!(good.contains(from), "{from}");
            let text = good.replacen(from, to, 1);
            let message = read::<toml::Table>("repro.toml", &text).expect_err(to).to_string();
            assert!(message.starts_with("repro.toml:") && message.contains(part), "{to}: {message}");
            assert!(message[11..].starts_with(|c: char| c.is_ascii_digit()), "{to}: {message}");
        }
    }

    #[test]
    fn no_cut_or_changed_byte_makes_the_reader_panic() {
        let good = write(&sample()).expect("plain data");
        for end in 0..good.len() {
            if read::<toml::Table>("cut", &good[..end]).is_ok() {
                // A scenario that ends early is another scenario; only there may a cut go unseen.
                assert!(good[..end].contains("[scenario]"), "cut at {end}");
            }
            for byte in [0u8, b'"', b'[', b'\n'] {
                let mut bytes = good.as_bytes().to_vec();
                bytes[end] = byte;
                let _ = read::<toml::Table>("changed", &String::from_utf8_lossy(&bytes));
            }
        }
    }
}
