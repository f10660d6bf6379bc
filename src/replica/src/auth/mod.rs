//! Users, roles and permissions: etcd's auth store.
//!
//! Three parts with three lives. The buckets `auth`, `authUsers` and `authRoles` are the truth, changed by entries
//! only. What is derived from them (the flag, the revision, each user's merged permissions) is kept beside them and
//! must be derived anew whenever they change *or are replaced*. Tokens are known only to the members that were up when
//! they were made.
//!
//! A request is checked twice. The member that is asked finds out who asks and writes name and auth revision into the
//! entry; every member checks, when it applies the entry, that nothing has changed since and that the user may do it.
//!
//! What a request does once it is permitted is not known here.

mod admin;
mod check;
mod config;
mod jwt;
mod password;
mod permission;
mod propose;
mod proto;
mod table;
#[cfg(test)]
mod tests;
mod token;

pub(crate) use check::AuthInfo;
pub use config::{AuthConfig, TokenKind};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::api::{Credential, Error};
use crate::mvcc::Batch;
use crate::time::Monotonic;
use crate::{Bug, Bugs};

use permission::Permissions;
use token::SimpleTokens;

/// The user that may do everything, and the role that makes it so.
const ROOT: &str = "root";

/// What a member knows of users, roles and tokens beside the backend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AuthStore {
    config: AuthConfig,
    bugs: Bugs,
    enabled: bool,
    revision: u64,
    permissions: Permissions,
    tokens: SimpleTokens,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Somebody, or nobody in particular.
    Known(Option<AuthInfo>),
    /// Only a member that has applied this index can say.
    AfterIndex(u64),
}

impl AuthStore {
    /// `NewAuthStore`: what a booting member finds. An empty store starts at auth revision 1, written at once.
    ///
    /// # Errors
    /// What in the buckets cannot be read.
    pub(crate) fn boot(
        config: &AuthConfig,
        bugs: Bugs,
        now: Monotonic,
        batch: &mut impl Batch,
    ) -> Result<Self, String> {
        table::check(batch)?;
        let mut store = Self {
            config: config.clone(),
            bugs,
            enabled: table::enabled(batch),
            revision: table::revision(batch),
            permissions: Permissions::of(batch),
            tokens: SimpleTokens::default(),
        };
        if store.enabled {
            store.tokens.enable(now);
        }
        if store.revision == 0 {
            store.raise_revision(batch);
        }
        Ok(store)
    }

    /// `Recover`: another database has taken the place of the old one.
    ///
    /// # Errors
    /// What in the buckets cannot be read.
    pub(crate) fn recover(&mut self, now: Monotonic, batch: &impl Batch) -> Result<(), String> {
        table::check(batch)?;
        if !self.bugs.has(Bug::AuthEnabledLost) {
            self.enabled = table::enabled(batch);
        }
        self.revision = table::revision(batch);
        if !self.bugs.has(Bug::RangecacheNotRefreshed) {
            self.permissions = Permissions::of(batch);
        }
        // Whose tokens they were may be gone by now, or have another password. etcd keeps them.
        if !self.bugs.has(Bug::TokensOutliveSnapshot) {
            self.tokens.forget_all();
            if !self.enabled {
                self.tokens.disable();
            }
        }
        if self.enabled && !self.bugs.has(Bug::TokenProviderOff) {
            self.tokens.enable(now);
        }
        Ok(())
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Counts the changes of users and roles, from 1.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether simple tokens are remembered here.
    pub(crate) fn keeps_tokens(&self) -> bool {
        self.tokens.is_enabled()
    }

    /// `AuthInfoFromCtx`: whose request it is. Using a simple token lengthens its life.
    ///
    /// # Errors
    /// The token stands for nobody.
    pub(crate) fn who(&mut self, now: Monotonic, applied: u64, credential: &Credential) -> Result<Who, Error> {
        match credential {
            Credential::Token(token) if self.enabled => {
                self.whose(now, applied, token.strip_prefix("Bearer ").unwrap_or(token))
            }
            Credential::CommonName(name) if self.config.client_cert => {
                Ok(Who::Known(Some(AuthInfo { username: name.clone(), revision: self.revision })))
            }
            _ => Ok(Who::Known(None)),
        }
    }

    fn whose(&mut self, now: Monotonic, applied: u64, token: &str) -> Result<Who, Error> {
        let found = match &self.config.token {
            TokenKind::Simple => {
                let index = token::index_of(token).ok_or(Error::InvalidAuthToken)?;
                if index > applied {
                    return Ok(Who::AfterIndex(index));
                }
                let user = self.tokens.user(now, &self.config, token);
                user.map(|username| AuthInfo { username, revision: self.revision })
            }
            TokenKind::Jwt { key, .. } => jwt::verify(key, self.config.unix_seconds(now), token)
                .map(|claims| AuthInfo { username: claims.username, revision: claims.revision }),
            TokenKind::None => None,
        };
        found.map(|info| Who::Known(Some(info))).ok_or(Error::InvalidAuthToken)
    }

    /// `CheckPassword`: the auth revision at which the password was right.
    ///
    /// # Errors
    /// Auth is off; there is no such user; it has no password; that was not its password.
    pub(crate) fn check_password(&self, batch: &impl Batch, name: &str, password: &str) -> Result<u64, Error> {
        if !self.enabled {
            return Err(Error::AuthNotEnabled);
        }
        let user = table::user(batch, name).ok_or(Error::AuthFailed)?;
        if user.no_password() {
            return Err(Error::NoPasswordUser);
        }
        match password::verify(&user.password, password) {
            true => Ok(self.revision),
            false => Err(Error::AuthFailed),
        }
    }

    /// `WithRoot`: who this member is when it acts by itself.
    pub(crate) fn root(&self) -> AuthInfo {
        match self.enabled {
            true => AuthInfo { username: ROOT.into(), revision: self.revision },
            false => AuthInfo::default(),
        }
    }

    fn raise_revision(&mut self, batch: &mut impl Batch) {
        self.revision += 1;
        table::save_revision(batch, self.revision);
    }

    /// Bytes that nobody can foresee who does not know this member's secret, for each `number` of a `purpose` once.
    fn chance(&self, purpose: &[u8], number: u64) -> [u8; 16] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.config.entropy).expect("HMAC takes keys of any length");
        mac.update(purpose);
        mac.update(&number.to_be_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        bytes
    }
}
