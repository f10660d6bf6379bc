//! Which change of users, roles and permissions an entry holds.

use super::message::auth::{
    AuthRoleGrantPermissionRequest, AuthRoleName, AuthRoleRevokePermissionRequest, AuthUserAddRequest,
    AuthUserChangePasswordRequest, AuthUserName, AuthUserRole, Empty, InternalAuthenticateRequest,
};
use super::message::entry::InternalRaftRequest;

/// The auth requests. All of them travel in entries, the reading ones too.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AuthCommand {
    Enable,
    Disable,
    Status,
    Authenticate(InternalAuthenticateRequest),
    UserAdd(AuthUserAddRequest),
    UserDelete(AuthUserName),
    UserGet(AuthUserName),
    UserChangePassword(AuthUserChangePasswordRequest),
    UserGrantRole(AuthUserRole),
    UserRevokeRole(AuthUserRole),
    UserList,
    RoleList,
    RoleAdd(AuthRoleName),
    RoleDelete(AuthRoleName),
    RoleGet(AuthRoleName),
    RoleGrantPermission(AuthRoleGrantPermissionRequest),
    RoleRevokePermission(AuthRoleRevokePermissionRequest),
}

/// The auth request in `message`, if it holds one: the first, in etcd's order.
pub(super) fn take(message: &mut InternalRaftRequest) -> Option<AuthCommand> {
    let m = message;
    m.authenticate
        .take()
        .map(|m| AuthCommand::Authenticate(*m))
        .or_else(|| m.auth_enable.take().map(|_| AuthCommand::Enable))
        .or_else(|| m.auth_disable.take().map(|_| AuthCommand::Disable))
        .or_else(|| m.auth_status.take().map(|_| AuthCommand::Status))
        .or_else(|| m.auth_user_add.take().map(|m| AuthCommand::UserAdd(*m)))
        .or_else(|| m.auth_user_delete.take().map(|m| AuthCommand::UserDelete(*m)))
        .or_else(|| m.auth_user_change_password.take().map(|m| AuthCommand::UserChangePassword(*m)))
        .or_else(|| m.auth_user_grant_role.take().map(|m| AuthCommand::UserGrantRole(*m)))
        .or_else(|| m.auth_user_get.take().map(|m| AuthCommand::UserGet(*m)))
        .or_else(|| m.auth_user_revoke_role.take().map(|m| AuthCommand::UserRevokeRole(*m)))
        .or_else(|| m.auth_role_add.take().map(|m| AuthCommand::RoleAdd(*m)))
        .or_else(|| m.auth_role_grant_permission.take().map(|m| AuthCommand::RoleGrantPermission(*m)))
        .or_else(|| m.auth_role_get.take().map(|m| AuthCommand::RoleGet(*m)))
        .or_else(|| m.auth_role_revoke_permission.take().map(|m| AuthCommand::RoleRevokePermission(*m)))
        .or_else(|| m.auth_role_delete.take().map(|m| AuthCommand::RoleDelete(*m)))
        .or_else(|| m.auth_user_list.take().map(|_| AuthCommand::UserList))
        .or_else(|| m.auth_role_list.take().map(|_| AuthCommand::RoleList))
}

/// Put the command where [`take`] finds it.
pub(super) fn put(message: &mut InternalRaftRequest, command: AuthCommand) {
    let m = message;
    match command {
        AuthCommand::Enable => m.auth_enable = Some(Empty {}),
        AuthCommand::Disable => m.auth_disable = Some(Empty {}),
        AuthCommand::Status => m.auth_status = Some(Empty {}),
        AuthCommand::Authenticate(request) => m.authenticate = Some(Box::new(request)),
        AuthCommand::UserAdd(request) => m.auth_user_add = Some(Box::new(request)),
        AuthCommand::UserDelete(request) => m.auth_user_delete = Some(Box::new(request)),
        AuthCommand::UserGet(request) => m.auth_user_get = Some(Box::new(request)),
        AuthCommand::UserChangePassword(request) => m.auth_user_change_password = Some(Box::new(request)),
        AuthCommand::UserGrantRole(request) => m.auth_user_grant_role = Some(Box::new(request)),
        AuthCommand::UserRevokeRole(request) => m.auth_user_revoke_role = Some(Box::new(request)),
        AuthCommand::UserList => m.auth_user_list = Some(Empty {}),
        AuthCommand::RoleList => m.auth_role_list = Some(Empty {}),
        AuthCommand::RoleAdd(request) => m.auth_role_add = Some(Box::new(request)),
        AuthCommand::RoleDelete(request) => m.auth_role_delete = Some(Box::new(request)),
        AuthCommand::RoleGet(request) => m.auth_role_get = Some(Box::new(request)),
        AuthCommand::RoleGrantPermission(request) => m.auth_role_grant_permission = Some(Box::new(request)),
        AuthCommand::RoleRevokePermission(request) => m.auth_role_revoke_permission = Some(Box::new(request)),
    }
}
