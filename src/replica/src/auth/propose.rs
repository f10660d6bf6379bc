//! From a client's auth request to the command that goes into the log. Passwords stay here: the log holds their hashes.

use base64::prelude::{Engine, BASE64_STANDARD};

use crate::api::{AuthRequest, PermissionType};
use crate::wire::message::auth as message;
use crate::wire::AuthCommand;

use super::{password, token, AuthStore, TokenKind};

impl AuthStore {
    /// `entry` is the id of the entry: what must be random in the command is derived from it.
    ///
    /// The password of an [`AuthRequest::Authenticate`] must have been checked.
    pub(crate) fn command(&self, entry: u64, request: AuthRequest) -> AuthCommand {
        match request {
            AuthRequest::Enable => AuthCommand::Enable,
            AuthRequest::Disable => AuthCommand::Disable,
            AuthRequest::Status => AuthCommand::Status,
            AuthRequest::Authenticate { name, .. } => {
                let simple_token = match self.config.token {
                    TokenKind::Simple => token::prefix(self.chance(b"simple token", entry)),
                    TokenKind::Jwt { .. } | TokenKind::None => String::new(),
                };
                let password = String::new();
                AuthCommand::Authenticate(message::InternalAuthenticateRequest { name, password, simple_token })
            }
            AuthRequest::UserAdd { name, password } => AuthCommand::UserAdd(message::AuthUserAddRequest {
                name,
                password: String::new(),
                options: Some(message::UserAddOptions { no_password: password.is_none() }),
                hashed_password: password.map_or_else(String::new, |password| self.hashed(entry, &password)),
            }),
            AuthRequest::UserGet { name } => AuthCommand::UserGet(message::AuthUserName { name }),
            AuthRequest::UserList => AuthCommand::UserList,
            AuthRequest::UserDelete { name } => AuthCommand::UserDelete(message::AuthUserName { name }),
            AuthRequest::UserChangePassword { name, password } => {
                let hashed_password = match &password[..] {
                    "" => String::new(),
                    password => self.hashed(entry, password),
                };
                let password = String::new();
                let request = message::AuthUserChangePasswordRequest { name, password, hashed_password };
                AuthCommand::UserChangePassword(request)
            }
            AuthRequest::UserGrantRole { user, role } => {
                AuthCommand::UserGrantRole(message::AuthUserRole { user, role })
            }
            AuthRequest::UserRevokeRole { user, role } => {
                AuthCommand::UserRevokeRole(message::AuthUserRole { user, role })
            }
            AuthRequest::RoleAdd { role } => AuthCommand::RoleAdd(message::AuthRoleName { role }),
            AuthRequest::RoleGet { role } => AuthCommand::RoleGet(message::AuthRoleName { role }),
            AuthRequest::RoleList => AuthCommand::RoleList,
            AuthRequest::RoleDelete { role } => AuthCommand::RoleDelete(message::AuthRoleName { role }),
            AuthRequest::RoleGrantPermission { role, permission } => {
                let perm_type = match permission.access {
                    PermissionType::Read => 0,
                    PermissionType::Write => 1,
                    PermissionType::ReadWrite => 2,
                };
                let perm = message::Permission { perm_type, key: permission.key, range_end: permission.range_end };
                let request = message::AuthRoleGrantPermissionRequest { name: role, perm: Some(perm) };
                AuthCommand::RoleGrantPermission(request)
            }
            AuthRequest::RoleRevokePermission { role, key, range_end } => {
                let request = message::AuthRoleRevokePermissionRequest { role, key, range_end };
                AuthCommand::RoleRevokePermission(request)
            }
        }
    }

    fn hashed(&self, entry: u64, password: &str) -> String {
        let salt = self.chance(b"salt", entry);
        BASE64_STANDARD.encode(password::hash(password, self.config.bcrypt_cost, salt))
    }
}
