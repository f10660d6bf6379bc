//! Users, roles and permissions as the log leads to them, and what an applied request may do (A1): both functions of
//! the applied index alone.
//!
//! Written from etcd's documentation of role-based access control and `auth.proto`. Passwords are compared as they
//! travel, since hashing is for the member that was asked.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use detcd_replica::api::{Key, KeyRange, Request};

use crate::rights::{needs, together, Access, Need};
use crate::storage::auth::{Change, Permission};

/// The user and the role that may do everything.
const ROOT: &str = "root";

const READ: i32 = 0;
const WRITE: i32 = 1;
const READ_WRITE: i32 = 2;

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::invariants) struct User {
    /// As it is stored; `None` when the member that applies the entry salts it itself, as those before 3.5 did.
    pub(in crate::invariants) password: Option<Bytes>,
    pub(in crate::invariants) no_password: bool,
    pub(in crate::invariants) roles: BTreeSet<String>,
}

/// Why a request is not applied. Which of the reasons is for the member to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::invariants) struct Denied;

/// Everything that etcd's auth store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::invariants) struct Auth {
    pub(in crate::invariants) enabled: bool,
    pub(in crate::invariants) revision: u64,
    pub(in crate::invariants) users: BTreeMap<String, User>,
    /// The permissions of each role, in order of their keys.
    pub(in crate::invariants) roles: BTreeMap<String, Vec<Permission>>,
}

impl Default for Auth {
    fn default() -> Self {
        // A member counts its empty store as the first revision.
        Self { enabled: false, revision: 1, users: BTreeMap::new(), roles: BTreeMap::new() }
    }
}

/// On whose behalf an entry was proposed.
#[derive(Clone, Copy, Debug)]
pub(in crate::invariants) struct Caller<'a> {
    pub(in crate::invariants) name: &'a str,
    pub(in crate::invariants) revision: u64,
}

impl Auth {
    // ---- What changes it.

    /// Applies a change, if the caller is an administrator and it is possible.
    pub(in crate::invariants) fn change(&mut self, caller: Caller<'_>, change: &Change) {
        if !self.is_admin(caller) {
            return;
        }
        // Some changes count though they change nothing; those that are refused do not.
        if self.apply(change).is_some() {
            self.revision += 1;
        }
    }

    /// `None` when nothing is counted.
    fn apply(&mut self, change: &Change) -> Option<()> {
        match change {
            Change::Enable => {
                // It counts as no change of users and roles.
                self.enabled |= self.users.get(ROOT).is_some_and(|root| root.roles.contains(ROOT));
                None
            }
            Change::Disable => std::mem::take(&mut self.enabled).then_some(()),
            Change::UserAdd { name, .. } if name.is_empty() || self.users.contains_key(name) => None,
            Change::UserAdd { name, password, no_password } => {
                let password = if *no_password { Some(Bytes::new()) } else { password.stored()? };
                let user = User { password, no_password: *no_password, roles: BTreeSet::new() };
                self.users.insert(name.clone(), user);
                Some(())
            }
            Change::UserDelete(name) if self.enabled && name == ROOT => None,
            Change::UserDelete(name) => self.users.remove(name).map(drop),
            Change::UserChangePassword { name, password } => {
                let user = self.users.get_mut(name)?;
                user.password = if user.no_password { Some(Bytes::new()) } else { password.stored()? };
                Some(())
            }
            Change::UserGrantRole { user, role } => {
                let known = role == ROOT || self.roles.contains_key(role);
                let user = self.users.get_mut(user)?;
                (known && user.roles.insert(role.clone())).then_some(())
            }
            Change::UserRevokeRole { user, role } if self.enabled && user == ROOT && role == ROOT => None,
            Change::UserRevokeRole { user, role } => self.users.get_mut(user)?.roles.remove(role).then_some(()),
            Change::RoleAdd(role) if role.is_empty() || self.roles.contains_key(role) => None,
            Change::RoleAdd(role) => {
                self.roles.insert(role.clone(), Vec::new());
                Some(())
            }
            Change::RoleDelete(role) if self.enabled && role == ROOT => None,
            Change::RoleDelete(role) => {
                self.roles.remove(role)?;
                for user in self.users.values_mut() {
                    user.roles.remove(role);
                }
                Some(())
            }
            Change::RoleGrant { role, permission } => {
                let permissions = self.roles.get_mut(role)?;
                grant(permissions, permission.as_ref().filter(|permission| is_valid(permission))?);
                Some(())
            }
            Change::RoleRevoke { role, key, end } => {
                let permissions = self.roles.get_mut(role)?;
                let before = permissions.len();
                permissions.retain(|permission| permission.key != key || permission.end != end);
                (permissions.len() < before).then_some(())
            }
        }
    }

    // ---- What it allows.

    fn has_root(&self, name: &str) -> bool {
        self.users.get(name).is_some_and(|user| user.roles.contains(ROOT))
    }

    fn is_admin(&self, caller: Caller<'_>) -> bool {
        !self.enabled || self.has_root(caller.name)
    }

    /// Whether the caller may do this to these keys. It was checked when it was proposed, too; what has changed since
    /// makes the whole request void.
    fn allows(&self, caller: Caller<'_>, range: &KeyRange, access: Access) -> Result<(), Denied> {
        if !self.enabled {
            return Ok(());
        }
        if caller.revision == 0 || caller.revision < self.revision {
            return Err(Denied);
        }
        let user = self.users.get(caller.name).ok_or(Denied)?;
        if user.roles.contains(ROOT) || self.covers(user, range, access) {
            return Ok(());
        }
        Err(Denied)
    }

    /// Whether the user's permissions of this kind, taken together, hold the whole range.
    fn covers(&self, user: &User, range: &KeyRange, access: Access) -> bool {
        let kind = match access {
            Access::Read => READ,
            Access::Write => WRITE,
        };
        let permissions = user.roles.iter().filter_map(|role| self.roles.get(role)).flatten();
        let allowed = permissions.filter(|permission| permission.kind == kind || permission.kind == READ_WRITE);
        together(allowed.map(Permission::range), range)
    }

    /// Whether the caller may make the request. `leased` gives the keys of a lease, if it exists.
    pub(super) fn permits(
        &self,
        caller: Caller<'_>,
        request: &Request,
        leased: &dyn Fn(i64) -> Option<Vec<Key>>,
    ) -> Result<(), Denied> {
        needs(request).into_iter().try_for_each(|need| match need {
            Need::Keys(access, range) => self.allows(caller, &range, access),
            Need::Lease(id) => self.permits_lease(caller, leased(id)),
        })
    }

    fn permits_lease(&self, caller: Caller<'_>, keys: Option<Vec<Key>>) -> Result<(), Denied> {
        if self.is_admin(caller) {
            return Ok(());
        }
        let keys = keys.into_iter().flatten();
        keys.map(KeyRange::single).try_for_each(|key| self.allows(caller, &key, Access::Write))
    }
}

/// A permission on a range that the role has, when it is the first with that key, changes its kind; any other comes
/// behind those with the same key.
fn grant(permissions: &mut Vec<Permission>, permission: &Permission) {
    let place = permissions.partition_point(|known| known.key < permission.key);
    match permissions.get_mut(place) {
        Some(known) if known.key == permission.key && known.end == permission.end => known.kind = permission.kind,
        _ => {
            let place = permissions.partition_point(|known| known.key <= permission.key);
            permissions.insert(place, permission.clone());
        }
    }
}

fn is_valid(permission: &Permission) -> bool {
    let Permission { key, end, .. } = permission;
    !key.is_empty() && (end.is_empty() || key < end || end[..] == [0])
}

#[cfg(test)]
mod tests {
    use detcd_replica::api::PutRequest;

    use super::*;
    use crate::storage::auth::Password;

    fn permission(kind: i32, key: &'static str, end: &'static str) -> Permission {
        Permission { kind, key: key.into(), end: end.into() }
    }

    fn password() -> Password {
        Password { plain: String::new(), hashed: "YQ==".to_owned() }
    }

    /// A user `u` with these permissions, auth on, and root as the caller of everything so far.
    fn with(permissions: &[Permission]) -> Auth {
        let mut auth = Auth::default();
        let add = |name: &str| Change::UserAdd { name: name.to_owned(), password: password(), no_password: false };
        let mut changes = vec![
            add("root"),
            Change::UserGrantRole { user: ROOT.to_owned(), role: ROOT.to_owned() },
            Change::RoleAdd("r".to_owned()),
            add("u"),
            Change::UserGrantRole { user: "u".to_owned(), role: "r".to_owned() },
        ];
        let grant =
            |permission: &Permission| Change::RoleGrant { role: "r".to_owned(), permission: Some(permission.clone()) };
        changes.extend(permissions.iter().map(grant));
        changes.push(Change::Enable);
        let root = Caller { name: ROOT, revision: 1 };
        changes.iter().for_each(|change| auth.change(root, change));
        assert_eq!(auth.revision, 6 + permissions.len() as u64, "enabling does not count");
        auth
    }

    fn may(auth: &Auth, name: &str, key: &'static str, end: &'static str, access: Access) -> bool {
        auth.allows(Caller { name, revision: auth.revision }, &permission(0, key, end).range(), access).is_ok()
    }

    #[test]
    fn permissions_add_up_to_ranges() {
        let auth = with(&[
            permission(READ, "b", "d"),
            permission(READ_WRITE, "d", "f"),
            permission(READ, "x", ""),
            permission(READ, "x\0", "\0"),
        ]);
        for (key, end, access, allowed) in [
            ("b", "", Access::Read, true),
            ("a", "", Access::Read, false),
            ("f", "", Access::Read, false),
            ("b", "f", Access::Read, true),
            ("b", "g", Access::Read, false),
            ("a", "c", Access::Read, false),
            ("b", "", Access::Write, false),
            ("d", "f", Access::Write, true),
            ("c", "e", Access::Write, false),
            ("x", "\0", Access::Read, true),
            ("y", "z", Access::Read, true),
            ("b", "\0", Access::Read, false),
        ] {
            assert_eq!(may(&auth, "u", key, end, access), allowed, "{key:?} {end:?} {access:?}");
            assert!(may(&auth, ROOT, key, end, access));
            assert!(!may(&auth, "nobody", key, end, access));
        }
    }

    #[test]
    fn an_old_revision_allows_nothing() {
        let mut auth = with(&[permission(READ, "a", "")]);
        let caller = Caller { name: "u", revision: auth.revision };
        let key = KeyRange::single("a");
        assert_eq!(auth.allows(caller, &key, Access::Read), Ok(()));
        auth.change(Caller { name: ROOT, revision: 0 }, &Change::RoleAdd("s".to_owned()));
        assert_eq!(auth.allows(caller, &key, Access::Read), Err(Denied));
        auth.change(caller, &Change::Disable);
        assert!(auth.enabled, "only an administrator changes anything");
        auth.change(Caller { name: ROOT, revision: 0 }, &Change::Disable);
        assert_eq!(auth.allows(Caller { name: "", revision: 0 }, &key, Access::Write), Ok(()));
    }

    #[test]
    fn root_is_kept_while_auth_is_on() {
        let mut auth = with(&[]);
        let root = Caller { name: ROOT, revision: 0 };
        let before = auth.clone();
        for change in [
            Change::UserDelete(ROOT.to_owned()),
            Change::UserRevokeRole { user: ROOT.to_owned(), role: ROOT.to_owned() },
            Change::RoleDelete(ROOT.to_owned()),
            Change::UserGrantRole { user: "u".to_owned(), role: "none".to_owned() },
            Change::UserGrantRole { user: "u".to_owned(), role: "r".to_owned() },
            Change::RoleGrant { role: "r".to_owned(), permission: Some(permission(READ, "b", "a")) },
            Change::RoleGrant { role: "r".to_owned(), permission: None },
            Change::RoleRevoke { role: "r".to_owned(), key: "a".into(), end: "".into() },
        ] {
            auth.change(root, &change);
            assert_eq!(auth, before, "{change:?}");
        }
        auth.change(root, &Change::RoleDelete("r".to_owned()));
        assert!(auth.users["u"].roles.is_empty());
    }

    #[test]
    fn a_lease_is_for_those_who_may_write_its_keys() {
        let auth = with(&[permission(WRITE, "a", "")]);
        let caller = Caller { name: "u", revision: auth.revision };
        let leased = |id| (id == 7).then(|| vec![Key::from("a"), Key::from("b")]);
        let revoke = |id| auth.permits(caller, &Request::LeaseRevoke { id }, &leased);
        assert_eq!((revoke(7), revoke(8)), (Err(Denied), Ok(())));
        let put = |lease, prev_kv| {
            let put = PutRequest { lease, prev_kv, ..PutRequest::of("a", "v") };
            auth.permits(caller, &Request::Put(put), &leased)
        };
        assert_eq!((put(0, false), put(0, true), put(7, false)), (Ok(()), Err(Denied), Err(Denied)));
    }
}
