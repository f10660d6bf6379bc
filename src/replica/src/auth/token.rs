//! Simple tokens: random names that stand for a user, known to each member that has applied their making.
//!
//! A token is `<16 letters>.<Raft index>`: a member that has not applied the index yet must wait before it may say that
//! it does not know the token. Tokens live in memory only and end [`AuthConfig::simple_token_ttl`] after their last use
//! on this member. etcd looks for old ones once a second; here nobody need wake up for that, the same moment is
//! computed when somebody asks.

use std::collections::BTreeMap;

use crate::time::{Monotonic, Span};

use super::AuthConfig;

/// etcd's `simpleTokenTTLResolution`.
const RESOLUTION: Span = Span::secs(1);
const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LENGTH: usize = 16;

/// The tokens that one member knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct SimpleTokens {
    /// When the keeper was started; `None` when auth is off, and tokens are neither made nor known.
    enabled: Option<Monotonic>,
    tokens: BTreeMap<String, Token>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Token {
    user: String,
    /// The last moment of its life.
    end: Monotonic,
}

impl SimpleTokens {
    pub(super) fn enable(&mut self, now: Monotonic) {
        self.enabled.get_or_insert(now);
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enabled.is_some()
    }

    pub(super) fn disable(&mut self) {
        *self = Self::default();
    }

    /// # Panics
    /// When the token exists already: two of them with one name would be a broken source of chance.
    pub(super) fn assign(&mut self, now: Monotonic, config: &AuthConfig, token: String, user: String) {
        if self.enabled.is_none() {
            return;
        }
        self.forget_old(now);
        let end = now + config.simple_token_ttl;
        let known = self.tokens.insert(token, Token { user, end });
        assert_eq!(known, None, "failed to assign already-used simple token to a user");
    }

    /// The user that a token stands for; its life begins anew.
    pub(super) fn user(&mut self, now: Monotonic, config: &AuthConfig, token: &str) -> Option<String> {
        self.forget_old(now);
        let token = self.tokens.get_mut(token)?;
        token.end = now + config.simple_token_ttl;
        Some(token.user.clone())
    }

    pub(super) fn forget_all(&mut self) {
        self.tokens.clear();
    }

    pub(super) fn invalidate_user(&mut self, user: &str) {
        self.tokens.retain(|_, token| token.user != user);
    }

    /// What the keeper has deleted by now: the tokens that were too old at its last tick.
    fn forget_old(&mut self, now: Monotonic) {
        let Some(enabled) = self.enabled else { return };
        let last_tick = now.0 - now.since(enabled).0 % RESOLUTION.0;
        self.tokens.retain(|_, token| token.end.0 >= last_tick);
    }
}

/// The index that must be applied before a member can judge the token; `None` when it is no simple token at all.
pub(super) fn index_of(token: &str) -> Option<u64> {
    let (_, index) = token.split_once('.')?;
    // Go's ParseUint takes no sign.
    index.bytes().all(|digit| digit.is_ascii_digit()).then(|| index.parse().ok())?
}

/// The letters of a token, from 16 unpredictable bytes.
pub(super) fn prefix(chance: [u8; LENGTH]) -> String {
    chance.iter().map(|byte| char::from(LETTERS[usize::from(*byte) * LETTERS.len() / 256])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::default() + Span::millis(millis)
    }

    #[test]
    fn a_token_lives_for_its_ttl_after_the_last_use_and_until_the_next_tick() {
        let config = AuthConfig { simple_token_ttl: Span::secs(5), ..AuthConfig::default() };
        // Made at 300 ms after the keeper's start at 100 ms. When it is used; whether it is known then.
        for uses in [
            &[(5_300, true)][..],
            &[(6_099, true)],
            &[(6_100, false)],
            &[(6_050, true), (11_050, true), (16_099, true)],
            &[(6_050, true), (12_100, false)],
            &[(100_000, false), (100_000, false)],
        ] {
            let mut tokens = SimpleTokens::default();
            tokens.enable(at(100));
            tokens.assign(at(300), &config, "t.1".into(), "u".into());
            for (moment, expect) in uses {
                let user = tokens.user(at(*moment), &config, "t.1");
                assert_eq!(user.is_some(), *expect, "{uses:?} at {moment}");
            }
        }
    }

    #[test]
    fn nothing_is_known_while_auth_is_off() {
        let config = AuthConfig::default();
        let mut tokens = SimpleTokens::default();
        tokens.assign(at(0), &config, "t.1".into(), "u".into());
        assert_eq!(tokens.user(at(0), &config, "t.1"), None);
        tokens.enable(at(0));
        tokens.assign(at(0), &config, "t.2".into(), "u".into());
        tokens.assign(at(0), &config, "t.3".into(), "v".into());
        tokens.invalidate_user("u");
        assert_eq!(tokens.user(at(0), &config, "t.2"), None);
        assert_eq!(tokens.user(at(0), &config, "t.3").as_deref(), Some("v"));
        tokens.disable();
        tokens.enable(at(1));
        assert_eq!(tokens.user(at(1), &config, "t.3"), None);
    }

    #[test]
    fn the_index_is_behind_the_only_dot() {
        for (token, expect) in [
            ("abc.7", Some(7)),
            (".7", Some(7)),
            ("abc", None),
            ("abc.", None),
            ("a.b.7", None),
            ("abc.+7", None),
            ("abc.18446744073709551616", None),
        ] {
            assert_eq!(index_of(token), expect, "{token}");
        }
    }

    #[test]
    fn every_letter_can_come() {
        let mut seen = std::collections::BTreeSet::new();
        for byte in 0..=255 {
            let prefix = prefix([byte; LENGTH]);
            assert_eq!(prefix.len(), LENGTH);
            seen.insert(prefix.as_bytes()[0]);
        }
        assert_eq!(seen.len(), LETTERS.len());
    }
}
