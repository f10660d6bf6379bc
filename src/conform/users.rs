//! Requests about users, roles and who may what.
//!
//! Most runs with users begin with some that have roles and tokens, and with auth on, so that most of what follows is
//! asked by users who may and by users who may not.

use std::collections::VecDeque;

use bytes::Bytes;
use detcd_replica::api::{AuthRequest, KeyRange, Permission, PermissionType, RangeEnd, Request};
use detcd_replica::Release;

use super::generate::{Asked, Generator, Step, Who};

const USERS: [&str; 4] = ["root", "ann", "bob", ""];
const ROLES: [&str; 4] = ["root", "readers", "writers", ""];
const PASSWORDS: [&str; 3] = ["one", "two", ""];
/// Permissions of each role at the beginning.
const GRANTED: u64 = 2;

impl Generator {
    /// Users with roles and permissions, auth enabled, and a token for each.
    pub(super) fn auth_enabled(&mut self) -> VecDeque<Step> {
        let users = [("root", "root"), ("ann", "readers"), ("bob", "writers")];
        let mut all = Vec::new();
        for (user, role) in users {
            all.push(AuthRequest::UserAdd { name: user.to_owned(), password: Some(PASSWORDS[0].to_owned()) });
            if role != "root" {
                all.push(AuthRequest::RoleAdd { role: role.to_owned() });
                all.extend((0..GRANTED).map(|_| self.grant(role.to_owned())));
            }
            all.push(AuthRequest::UserGrantRole { user: user.to_owned(), role: role.to_owned() });
        }
        all.push(AuthRequest::Enable);
        all.extend(
            users.map(|(user, _)| AuthRequest::Authenticate {
                name: user.to_owned(),
                password: PASSWORDS[0].to_owned(),
            }),
        );
        all.into_iter().map(|asked| Step { who: Who::Nobody, asked: Asked::of(Request::Auth(asked)) }).collect()
    }

    fn grant(&mut self, role: String) -> AuthRequest {
        let access = [PermissionType::Read, PermissionType::Write, PermissionType::ReadWrite];
        let (key, range_end) = self.permission_range();
        AuthRequest::RoleGrantPermission {
            role,
            permission: Permission { access: self.dice.pick(&access), key, range_end },
        }
    }

    pub(super) fn auth_request(&mut self) -> AuthRequest {
        let (user, role) = (self.dice.pick(&USERS).to_owned(), self.dice.pick(&ROLES).to_owned());
        let password = self.dice.pick(&PASSWORDS).to_owned();
        // With auth on, tokens are what everything hangs on; with it off, nobody is given one.
        let ticket = if self.enabled && self.dice.one_in(5) { 0 } else { self.dice.below(40) };
        match ticket {
            0..=2 => AuthRequest::Authenticate { name: user, password },
            3..=5 => AuthRequest::Enable,
            6 if self.dice.one_in(3) => AuthRequest::Disable,
            6 | 7 => AuthRequest::Status,
            8..=12 => AuthRequest::UserAdd { name: user, password: (!self.dice.one_in(6)).then_some(password) },
            13 | 14 => AuthRequest::UserGet { name: user },
            15 => AuthRequest::UserList,
            16 if self.dice.one_in(2) => AuthRequest::UserDelete { name: user },
            16 | 17 => AuthRequest::UserChangePassword { name: user, password },
            18..=22 => AuthRequest::UserGrantRole { user, role },
            23 => AuthRequest::UserRevokeRole { user, role },
            24..=27 => AuthRequest::RoleAdd { role },
            28 | 29 => AuthRequest::RoleGet { role },
            30 => AuthRequest::RoleList,
            31 if self.dice.one_in(2) => AuthRequest::RoleDelete { role },
            31..=36 => self.grant(role),
            _ => {
                let (key, range_end) = self.permission_range();
                AuthRequest::RoleRevokePermission { role, key, range_end }
            }
        }
    }

    fn permission_range(&mut self) -> (Bytes, Bytes) {
        let mut range = self.key_range();
        // Up to 3.5 a permission of a range that is upside down was given like any other.
        while self.release <= Release::V3_5 && !is_upright(&range) {
            range = self.key_range();
        }
        let end = range.end.field();
        (range.start, end)
    }
}

fn is_upright(range: &KeyRange) -> bool {
    !range.start.is_empty() && !matches!(&range.end, RangeEnd::Before(end) if *end <= range.start)
}
