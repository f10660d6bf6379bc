//! The users and roles of the workload `auth`, and the administrator who changes them while others work.
//!
//! There are the user root, and four users and four roles beside. At first each user has one role, which may read
//! and write a quarter of the keys; then auth is turned on. From then on the administrator, as root, out of 100
//! steps: grants 28 permissions and revokes 18, grants 14 roles and revokes 12, changes 8 passwords, deletes 4
//! users and 4 roles to make them anew, turns auth off and on again 4 times, and looks 8 times. The permissions of
//! a role are for one key, for a quarter of the keys, for a range that reaches into the next quarter, or for
//! everything from some key on.

use std::collections::VecDeque;

use detcd_replica::api::{AuthRequest, Key, KeyRange, Permission, PermissionType, RangeEnd, Request};

use super::login::{Identity, Login};
use super::{choose, Ended, Seen, Workload};
use crate::scenario::{self, Chance};

pub(super) const PREFIX: &[u8] = b"auth/";
/// Users beside root, and roles.
pub(super) const USERS: u64 = 4;
/// Kinds of range that a role may have a permission for.
const SPANS: u64 = 4;
const ROOT: &str = "root";

/// The key of this number; numbers and keys have one order.
pub(super) fn key(number: u64) -> Key {
    let mut key = PREFIX.to_vec();
    key.extend_from_slice(format!("{number:05}").as_bytes());
    key.into()
}

/// A user's name.
pub(super) fn user(number: u64) -> String {
    format!("u{number}")
}

fn role(number: u64) -> String {
    format!("r{number}")
}

/// The user root, whose password nobody changes.
pub(super) fn root() -> Login {
    Login::new(ROOT, vec![ROOT.to_owned()])
}

/// A user with the two passwords that it may have.
pub(super) fn login(number: u64) -> Login {
    Login::new(user(number), vec![password(number, 0), password(number, 1)])
}

fn password(number: u64, which: u64) -> String {
    format!("{}-{which}", user(number))
}

/// The first key of a role's quarter, and how many keys that has.
pub(super) fn quarter(keys: u64, role: u64) -> (u64, u64) {
    let size = (keys / USERS).max(1);
    (role * size, size)
}

/// One of the ranges that a role may have a permission for.
pub(super) fn span(keys: u64, role: u64, kind: u64) -> KeyRange {
    let (first, size) = quarter(keys, role);
    let before = |number| RangeEnd::Before(key(number));
    match kind {
        0 => KeyRange { start: key(first), end: before(first + size) },
        1 => KeyRange { start: key(first), end: RangeEnd::Single },
        2 => KeyRange { start: key(first + 1), end: before(first + size + 2) },
        _ => KeyRange { start: key(first + 2), end: RangeEnd::Open },
    }
}

/// What a user with this role may want to watch, whether it may or not.
pub(super) fn wishes(keys: u64, role: u64) -> Vec<KeyRange> {
    let mut wishes: Vec<KeyRange> = (0..SPANS).map(|kind| span(keys, role, kind)).collect();
    let from = |number| KeyRange { start: key(number), end: RangeEnd::Open };
    let (first, size) = quarter(keys, role);
    wishes.extend([from(first), KeyRange::prefix(PREFIX), span(keys, (role + 1) % USERS, 0), from(first + size / 2)]);
    wishes
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Look,
    Grant,
    Revoke,
    GrantRole,
    RevokeRole,
    Password,
    User,
    Role,
    OffAndOn,
}

/// Shares of 100.
const SHARES: [(Step, u64); 9] = [
    (Step::Look, 8),
    (Step::Grant, 28),
    (Step::Revoke, 18),
    (Step::GrantRole, 14),
    (Step::RevokeRole, 12),
    (Step::Password, 8),
    (Step::User, 4),
    (Step::Role, 4),
    (Step::OffAndOn, 4),
];

/// The generator of the administrator.
pub struct Registrar {
    keys: u64,
    login: Login,
    /// What is to be asked next, in order; the first until it is answered or refused.
    planned: VecDeque<AuthRequest>,
}

impl Registrar {
    /// With the parameters of a scenario.
    pub fn new(parameters: &scenario::Workload) -> Self {
        let mut new = Self { keys: parameters.keys, login: root(), planned: VecDeque::new() };
        new.plan_user(ROOT.to_owned(), ROOT.to_owned(), ROOT.to_owned());
        for number in 0..USERS {
            new.plan_role(number);
            new.plan_user(user(number), password(number, 0), role(number));
        }
        new.planned.push_back(AuthRequest::Enable);
        new
    }

    fn plan_user(&mut self, name: String, password: String, role: String) {
        let user = name.clone();
        self.planned.push_back(AuthRequest::UserAdd { name, password: Some(password) });
        self.planned.push_back(AuthRequest::UserGrantRole { user, role });
    }

    fn plan_role(&mut self, number: u64) {
        self.planned.push_back(AuthRequest::RoleAdd { role: role(number) });
        let permission = self.permission(number, 0, PermissionType::ReadWrite);
        self.planned.push_back(AuthRequest::RoleGrantPermission { role: role(number), permission });
    }

    fn permission(&self, role: u64, kind: u64, access: PermissionType) -> Permission {
        let range = span(self.keys, role, kind);
        Permission { access, range_end: range.end.field(), key: range.start }
    }

    fn plan(&mut self, client: u32, chance: &mut dyn Chance) {
        let subject = u64::from(client);
        let step = choose(&SHARES, chance.below("auth.step", subject, 100));
        let number = chance.below("auth.role", subject, USERS);
        let kind = chance.below("auth.span", subject, SPANS);
        let whose = chance.below("auth.user", subject, USERS);
        let which = chance.below("auth.which", subject, 6);
        let access = [PermissionType::ReadWrite, PermissionType::Read, PermissionType::Write][which as usize % 3];
        match step {
            Step::Look => self.planned.push_back(match which {
                0 => AuthRequest::Status,
                1 => AuthRequest::UserList,
                2 => AuthRequest::RoleList,
                3 => AuthRequest::RoleGet { role: role(number) },
                _ => AuthRequest::UserGet { name: user(whose) },
            }),
            Step::Grant => {
                let permission = self.permission(number, kind, access);
                self.planned.push_back(AuthRequest::RoleGrantPermission { role: role(number), permission });
            }
            Step::Revoke => {
                let Permission { key, range_end, .. } = self.permission(number, kind, access);
                self.planned.push_back(AuthRequest::RoleRevokePermission { role: role(number), key, range_end });
            }
            Step::GrantRole => {
                self.planned.push_back(AuthRequest::UserGrantRole { user: user(whose), role: role(number) });
            }
            Step::RevokeRole => {
                self.planned.push_back(AuthRequest::UserRevokeRole { user: user(whose), role: role(number) });
            }
            Step::Password => {
                let (name, password) = (user(whose), password(whose, which % 2));
                self.planned.push_back(AuthRequest::UserChangePassword { name, password });
            }
            Step::User => {
                self.planned.push_back(AuthRequest::UserDelete { name: user(whose) });
                self.plan_user(user(whose), password(whose, which % 2), role(number));
            }
            Step::Role => {
                self.planned.push_back(AuthRequest::RoleDelete { role: role(number) });
                self.plan_role(number);
                self.planned.push_back(AuthRequest::UserGrantRole { user: user(whose), role: role(number) });
            }
            Step::OffAndOn => self.planned.extend([AuthRequest::Disable, AuthRequest::Enable]),
        }
    }
}

impl Workload for Registrar {
    fn next(&mut self, client: u32, _: &Seen, chance: &mut dyn Chance) -> Request {
        if let Some(request) = self.login.request() {
            return request;
        }
        if self.planned.is_empty() {
            self.plan(client, chance);
        }
        Request::Auth(self.planned.front().cloned().unwrap_or(AuthRequest::Status))
    }

    fn ended(&mut self, _: u32, request: &Request, ended: Ended<'_>) {
        let again = self.login.ended(request, ended) || ended == Ended::Unknown;
        if !again && self.planned.front().is_some_and(|first| *request == Request::Auth(first.clone())) {
            self.planned.pop_front();
        }
    }

    fn identity(&self, _: u32) -> Identity {
        self.login.identity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::chance::Dice;
    use detcd_replica::api::{AuthResponse, Error, Header, Response, ResponseBody};
    use detcd_replica::MemberId;

    fn done() -> Response {
        let body = ResponseBody::Auth(AuthResponse::Done);
        Response { header: Header { member: MemberId(1), revision: 1, raft_term: 1 }, body }
    }

    #[test]
    fn everybody_is_there_before_auth_is_turned_on_and_what_has_no_answer_is_asked_again() {
        let mut registrar = Registrar::new(&scenario::Workload::default());
        let mut dice = Dice(3);
        let mut asked = Vec::new();
        loop {
            let request = registrar.next(1, &Seen::new(false), &mut dice);
            registrar.ended(1, &request, Ended::Unknown);
            assert_eq!(registrar.next(1, &Seen::new(false), &mut dice), request);
            registrar.ended(1, &request, Ended::Answered(&done()));
            asked.push(request.clone());
            if request == Request::Auth(AuthRequest::Enable) {
                break;
            }
        }
        assert_eq!(asked.len() as u64, 2 + 4 * USERS + 1);
        // Now it must say who it is.
        let request = registrar.next(1, &Seen::new(false), &mut dice);
        registrar.ended(1, &request, Ended::Refused(Error::UserEmpty));
        let login = registrar.next(1, &Seen::new(false), &mut dice);
        assert!(matches!(&login, Request::Auth(AuthRequest::Authenticate { name, .. }) if name == ROOT));
    }

    #[test]
    fn ranges_of_a_role_are_in_order() {
        for (role, kind) in (0..USERS).flat_map(|role| (0..SPANS).map(move |kind| (role, kind))) {
            let range = span(12, role, kind);
            if let RangeEnd::Before(end) = &range.end {
                assert!(range.start < *end);
            }
        }
    }
}
