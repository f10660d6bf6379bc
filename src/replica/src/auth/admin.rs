//! What the auth commands in entries do. Each is a function of the backend alone: every member applies it alike.

use base64::prelude::{Engine, BASE64_STANDARD};
use bytes::Bytes;

use crate::api::{AuthResponse, Error, Permission, PermissionType};
use crate::mvcc::Batch;
use crate::time::Monotonic;
use crate::wire::message::auth as message;
use crate::wire::AuthCommand;

use super::proto::{Role, User};
use super::{jwt, password, permission, table, AuthInfo, AuthStore, Permissions, TokenKind, ROOT};

type Done = Result<AuthResponse, Error>;

impl AuthStore {
    /// Whether `who` may have `command` applied.
    pub(crate) fn may_command(&self, batch: &impl Batch, who: &AuthInfo, command: &AuthCommand) -> Result<(), Error> {
        let admin = self.may_administer(batch, who);
        match command {
            AuthCommand::Authenticate(_) => Ok(()),
            // Users may look at themselves, and at the roles they have.
            AuthCommand::UserGet(get) if get.name == who.username => Ok(()),
            AuthCommand::RoleGet(get)
                if table::user(batch, &who.username).is_some_and(|user| user.has_role(&get.role)) =>
            {
                Ok(())
            }
            _ => admin,
        }
    }

    /// Apply `command`, which its user may. `index` is the last Raft index applied before it.
    pub(crate) fn apply(&mut self, batch: &mut impl Batch, now: Monotonic, index: u64, command: AuthCommand) -> Done {
        match command {
            AuthCommand::Enable => self.enable(batch, now),
            AuthCommand::Disable => Ok(self.disable(batch)),
            AuthCommand::Status => Ok(AuthResponse::Status { enabled: self.enabled, revision: self.revision }),
            AuthCommand::Authenticate(request) => self.authenticate(batch, now, index, request),
            AuthCommand::UserAdd(request) => self.user_add(batch, index, request),
            AuthCommand::UserDelete(request) => self.user_delete(batch, &request.name),
            AuthCommand::UserChangePassword(request) => self.user_change_password(batch, index, request),
            AuthCommand::UserGrantRole(request) => self.user_grant_role(batch, &request.user, request.role),
            AuthCommand::UserRevokeRole(request) => self.user_revoke_role(batch, &request.user, &request.role),
            AuthCommand::UserGet(request) => {
                let user = table::user(batch, &request.name).ok_or(Error::UserNotFound)?;
                Ok(AuthResponse::UserRoles(user.roles))
            }
            AuthCommand::UserList => {
                Ok(AuthResponse::Users(table::users(batch).into_iter().map(|user| text(&user.name)).collect()))
            }
            AuthCommand::RoleAdd(request) => self.role_add(batch, request.role),
            AuthCommand::RoleDelete(request) => self.role_delete(batch, &request.role),
            AuthCommand::RoleGet(request) => role_get(batch, &request.role),
            AuthCommand::RoleList => {
                Ok(AuthResponse::Roles(table::roles(batch).into_iter().map(|role| text(&role.name)).collect()))
            }
            AuthCommand::RoleGrantPermission(request) => self.role_grant_permission(batch, request),
            AuthCommand::RoleRevokePermission(request) => self.role_revoke_permission(batch, &request),
        }
    }

    fn enable(&mut self, batch: &mut impl Batch, now: Monotonic) -> Done {
        if self.enabled {
            return Ok(AuthResponse::Done);
        }
        let root = table::user(batch, ROOT).ok_or(Error::RootUserNotExist)?;
        if !root.has_role(ROOT) {
            return Err(Error::RootRoleNotExist);
        }
        table::save_enabled(batch, true);
        self.enabled = true;
        self.tokens.enable(now);
        self.permissions = Permissions::of(batch);
        self.revision = table::revision(batch);
        Ok(AuthResponse::Done)
    }

    fn disable(&mut self, batch: &mut impl Batch) -> AuthResponse {
        if self.enabled {
            table::save_enabled(batch, false);
            self.raise_revision(batch);
            self.enabled = false;
            self.tokens.disable();
        }
        AuthResponse::Done
    }

    /// The password was checked by the member that was asked, and the auth revision since.
    fn authenticate(
        &mut self,
        batch: &impl Batch,
        now: Monotonic,
        index: u64,
        request: message::InternalAuthenticateRequest,
    ) -> Done {
        if !self.enabled {
            return Err(Error::AuthNotEnabled);
        }
        if table::user(batch, &request.name).is_none_or(|user| user.no_password()) {
            return Err(Error::AuthFailed);
        }
        let token = match &self.config.token {
            TokenKind::Simple => {
                let token = format!("{}.{index}", request.simple_token);
                self.tokens.assign(now, &self.config, token.clone(), request.name);
                token
            }
            TokenKind::Jwt { key, ttl } => {
                let exp = Some(self.config.unix_seconds(now + *ttl));
                jwt::sign(key, &jwt::Claims { exp, revision: self.revision, username: request.name })
            }
            TokenKind::None => return Err(Error::AuthFailed),
        };
        Ok(AuthResponse::Token(token))
    }

    fn user_add(&mut self, batch: &mut impl Batch, index: u64, request: message::AuthUserAddRequest) -> Done {
        if request.name.is_empty() {
            return Err(Error::UserEmpty);
        }
        if table::user(batch, &request.name).is_some() {
            return Err(Error::UserAlreadyExist);
        }
        let options = request.options.unwrap_or_default();
        let password = match options.no_password {
            true => Bytes::new(),
            false => self.stored_password(index, &request.password, &request.hashed_password)?,
        };
        let user = User { name: request.name.into(), password, roles: Vec::new(), options: Some(options) };
        table::put_user(batch, &user);
        self.changed(batch);
        Ok(AuthResponse::Done)
    }

    fn user_delete(&mut self, batch: &mut impl Batch, name: &str) -> Done {
        if self.enabled && name == ROOT {
            return Err(Error::InvalidAuthMgmt);
        }
        table::user(batch, name).ok_or(Error::UserNotFound)?;
        table::delete_user(batch, name);
        self.changed(batch);
        self.tokens.invalidate_user(name);
        Ok(AuthResponse::Done)
    }

    fn user_change_password(
        &mut self,
        batch: &mut impl Batch,
        index: u64,
        request: message::AuthUserChangePasswordRequest,
    ) -> Done {
        let mut user = table::user(batch, &request.name).ok_or(Error::UserNotFound)?;
        user.password = match user.no_password() {
            true => Bytes::new(),
            false => self.stored_password(index, &request.password, &request.hashed_password)?,
        };
        table::put_user(batch, &user);
        self.changed(batch);
        self.tokens.invalidate_user(&request.name);
        Ok(AuthResponse::Done)
    }

    /// Granting what the user has changes nothing, not even the auth revision.
    fn user_grant_role(&mut self, batch: &mut impl Batch, name: &str, role: String) -> Done {
        let mut user = table::user(batch, name).ok_or(Error::UserNotFound)?;
        if role != ROOT && table::role(batch, &role).is_none() {
            return Err(Error::RoleNotFound);
        }
        if let Err(place) = user.roles.binary_search(&role) {
            user.roles.insert(place, role);
            table::put_user(batch, &user);
            self.changed(batch);
        }
        Ok(AuthResponse::Done)
    }

    fn user_revoke_role(&mut self, batch: &mut impl Batch, name: &str, role: &str) -> Done {
        if self.enabled && name == ROOT && role == ROOT {
            return Err(Error::InvalidAuthMgmt);
        }
        let mut user = table::user(batch, name).ok_or(Error::UserNotFound)?;
        let before = user.roles.len();
        user.roles.retain(|one| one != role);
        if user.roles.len() == before {
            return Err(Error::RoleNotGranted);
        }
        table::put_user(batch, &user);
        self.changed(batch);
        Ok(AuthResponse::Done)
    }

    fn role_add(&mut self, batch: &mut impl Batch, name: String) -> Done {
        if name.is_empty() {
            return Err(Error::RoleEmpty);
        }
        if table::role(batch, &name).is_some() {
            return Err(Error::RoleAlreadyExist);
        }
        table::put_role(batch, &Role { name: name.into(), key_permission: Vec::new() });
        self.changed(batch);
        Ok(AuthResponse::Done)
    }

    fn role_delete(&mut self, batch: &mut impl Batch, name: &str) -> Done {
        if self.enabled && name == ROOT {
            return Err(Error::InvalidAuthMgmt);
        }
        table::role(batch, name).ok_or(Error::RoleNotFound)?;
        table::delete_role(batch, name);
        for mut user in table::users(batch) {
            let before = user.roles.len();
            user.roles.retain(|one| one != name);
            if user.roles.len() < before {
                table::put_user(batch, &user);
            }
        }
        self.changed(batch);
        Ok(AuthResponse::Done)
    }

    fn role_grant_permission(
        &mut self,
        batch: &mut impl Batch,
        request: message::AuthRoleGrantPermissionRequest,
    ) -> Done {
        let perm = request.perm.ok_or(Error::PermissionNotGiven)?;
        if !permission::is_valid(&perm.key, &perm.range_end) {
            return Err(Error::InvalidAuthMgmt);
        }
        let mut role = table::role(batch, &request.name).ok_or(Error::RoleNotFound)?;
        let list = &mut role.key_permission;
        // Only the first permission with this first key is looked at: a second one is added again, as in etcd.
        let place = list.partition_point(|one| one.key < perm.key);
        match list.get_mut(place).filter(|one| one.key == perm.key && one.range_end == perm.range_end) {
            Some(known) => known.perm_type = perm.perm_type,
            None => {
                let place = list.partition_point(|one| one.key <= perm.key);
                list.insert(place, perm);
            }
        }
        table::put_role(batch, &role);
        self.changed(batch);
        Ok(AuthResponse::Done)
    }

    fn role_revoke_permission(
        &mut self,
        batch: &mut impl Batch,
        request: &message::AuthRoleRevokePermissionRequest,
    ) -> Done {
        let mut role = table::role(batch, &request.role).ok_or(Error::RoleNotFound)?;
        let before = role.key_permission.len();
        role.key_permission.retain(|one| one.key != request.key || one.range_end != request.range_end);
        if role.key_permission.len() == before {
            return Err(Error::PermissionNotGranted);
        }
        table::put_role(batch, &role);
        self.changed(batch);
        Ok(AuthResponse::Done)
    }

    /// What is derived from users and roles is derived anew.
    fn changed(&mut self, batch: &mut impl Batch) {
        self.raise_revision(batch);
        self.permissions = Permissions::of(batch);
    }

    /// `selectPassword`: the hash in the entry, or one made here of the password that etcd wrote before 3.5.
    fn stored_password(&self, index: u64, password: &str, hashed: &str) -> Result<Bytes, Error> {
        if !password.is_empty() && hashed.is_empty() {
            let salt = self.chance(b"salt of an old entry", index);
            return Ok(password::hash(password, self.config.bcrypt_cost, salt).into());
        }
        BASE64_STANDARD.decode(hashed).map(Bytes::from).map_err(|_| Error::NoPasswordUser)
    }
}

fn role_get(batch: &impl Batch, name: &str) -> Done {
    let role = table::role(batch, name).ok_or(Error::RoleNotFound)?;
    if name == ROOT {
        let everything =
            Permission { access: PermissionType::ReadWrite, key: Bytes::new(), range_end: Bytes::from_static(b"\0") };
        return Ok(AuthResponse::Permissions(vec![everything]));
    }
    Ok(AuthResponse::Permissions(role.key_permission.into_iter().map(parse).collect()))
}

fn parse(permission: message::Permission) -> Permission {
    let access = match permission.perm_type {
        1 => PermissionType::Write,
        2 => PermissionType::ReadWrite,
        _ => PermissionType::Read,
    };
    Permission { access, key: permission.key, range_end: permission.range_end }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
