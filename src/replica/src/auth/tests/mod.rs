//! The auth store over a backend.

mod commands;
mod naive;
mod real;
mod requests;

use bytes::Bytes;

use super::*;
use crate::api::{AuthRequest, AuthResponse, Permission, PermissionType};
use crate::backend::Backend;
use crate::time::Span;

/// A store and its backend.
struct World {
    store: AuthStore,
    backend: Backend,
    index: u64,
    now: Monotonic,
}

impl World {
    fn new() -> Self {
        Self::with(AuthConfig { bcrypt_cost: 4, ..AuthConfig::default() }, Bugs::NONE)
    }

    fn with(config: AuthConfig, bugs: Bugs) -> Self {
        let (mut backend, now) = (Backend::create(Bugs::NONE), Monotonic::default());
        let store = AuthStore::boot(&config, bugs, now, &mut backend).unwrap();
        Self { store, backend, index: 0, now }
    }

    /// As the user root, which exists from the first call of [`World::enable`] on.
    fn ask(&mut self, request: AuthRequest) -> Result<AuthResponse, Error> {
        self.ask_as(&AuthInfo { username: ROOT.into(), revision: self.store.revision() }, request)
    }

    fn ask_as(&mut self, who: &AuthInfo, request: AuthRequest) -> Result<AuthResponse, Error> {
        self.index += 1;
        let command = self.store.command(self.index, request);
        self.store.may_command(&self.backend, who, &command)?;
        self.store.apply(&mut self.backend, self.now, self.index, command)
    }

    fn done(&mut self, request: AuthRequest) {
        assert_eq!(self.ask(request.clone()), Ok(AuthResponse::Done), "{request:?}");
    }

    fn enable(&mut self) {
        self.done(user(ROOT, Some("root's")));
        self.done(AuthRequest::UserGrantRole { user: ROOT.into(), role: ROOT.into() });
        self.done(AuthRequest::Enable);
    }

    /// A user with a role of the same name that has these permissions.
    fn user(&mut self, name: &str, permissions: &[(PermissionType, &str, &str)]) {
        self.done(user(name, Some(name)));
        self.done(AuthRequest::RoleAdd { role: name.into() });
        for (access, key, range_end) in permissions {
            self.done(grant(name, *access, key, range_end));
        }
        self.done(AuthRequest::UserGrantRole { user: name.into(), role: name.into() });
    }

    fn who(&self, name: &str) -> AuthInfo {
        AuthInfo { username: name.into(), revision: self.store.revision() }
    }

    fn token(&mut self, name: &str) -> String {
        match self.ask(AuthRequest::Authenticate { name: name.into(), password: String::new() }) {
            Ok(AuthResponse::Token(token)) => token,
            other => panic!("no token for {name}: {other:?}"),
        }
    }

    /// The user behind a token here; `applied` is far ahead.
    fn whose(&mut self, token: &str) -> Result<Option<String>, Error> {
        match self.store.who(self.now, u64::MAX, &Credential::Token(token.into()))? {
            Who::Known(who) => Ok(who.map(|who| who.username)),
            Who::AfterIndex(index) => panic!("nothing is after the last index, not even {index}"),
        }
    }
}

fn user(name: &str, password: Option<&str>) -> AuthRequest {
    AuthRequest::UserAdd { name: name.into(), password: password.map(Into::into) }
}

fn grant(role: &str, access: PermissionType, key: &str, range_end: &str) -> AuthRequest {
    let (key, range_end) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(range_end.as_bytes()));
    AuthRequest::RoleGrantPermission { role: role.into(), permission: Permission { access, key, range_end } }
}

fn revoke(role: &str, key: &str, range_end: &str) -> AuthRequest {
    let (key, range_end) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(range_end.as_bytes()));
    AuthRequest::RoleRevokePermission { role: role.into(), key, range_end }
}
