//! How a member makes and judges tokens and passwords: etcd's flags, and what a replica must be given because it may
//! not take it from the system.

use std::fmt;

use crate::time::{Monotonic, Span};
use crate::ConfigError;

/// The auth settings of one member. Members of one cluster share `token`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AuthConfig {
    /// What an authenticated client is given (`--auth-token`). etcd: simple.
    pub token: TokenKind,
    /// How long a simple token lives after its last use (`--auth-token-ttl`). etcd: 300 s.
    pub simple_token_ttl: Span,
    /// Work for one password: each step doubles it, 4 to 31 (`--bcrypt-cost`). etcd: 10.
    pub bcrypt_cost: u32,
    /// Whether the common name in a client's certificate says who it is (`--client-cert-auth`). etcd: off.
    pub client_cert: bool,
    /// What salts and simple tokens are derived from. It is this member's secret, and must be another one in each of
    /// its lives; where nobody attacks it may be zero.
    pub entropy: [u8; 32],
    /// Unix time at the zero of this member's monotonic clock. Only the ends of JSON web tokens depend on it.
    pub unix_time_at_zero: Span,
}

/// The kinds of `--auth-token`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A random name, known to the members that have applied its making.
    Simple,
    /// A JSON web token, signed with HS256.
    Jwt {
        /// The key that all members share.
        key: Vec<u8>,
        /// How long a token is valid. etcd: 5 min.
        ttl: Span,
    },
    /// Nobody is ever given a token; clients come with certificates.
    None,
}

impl AuthConfig {
    pub(super) fn unix_seconds(&self, now: Monotonic) -> u64 {
        (self.unix_time_at_zero.0.saturating_add(now.0)) / Span::secs(1).0
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if !(4..=31).contains(&self.bcrypt_cost) {
            return Err(ConfigError { field: "auth.bcrypt_cost", reason: "must be from 4 to 31" });
        }
        Ok(())
    }
}

impl Default for AuthConfig {
    /// etcd's defaults.
    fn default() -> Self {
        Self {
            token: TokenKind::Simple,
            simple_token_ttl: Span::secs(300),
            bcrypt_cost: 10,
            client_cert: false,
            entropy: [0; 32],
            unix_time_at_zero: Span::ZERO,
        }
    }
}

impl fmt::Debug for AuthConfig {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConfig")
            .field("token", &self.token)
            .field("simple_token_ttl", &self.simple_token_ttl)
            .field("bcrypt_cost", &self.bcrypt_cost)
            .field("client_cert", &self.client_cert)
            .field("unix_time_at_zero", &self.unix_time_at_zero)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenKind {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple => f.write_str("Simple"),
            Self::Jwt { ttl, .. } => f.debug_struct("Jwt").field("ttl", ttl).finish_non_exhaustive(),
            Self::None => f.write_str("None"),
        }
    }
}
