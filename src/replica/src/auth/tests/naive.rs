//! Random commands, beside a second auth store of four lists.

use super::*;

/// What it allows, from where, to where.
type Granted = (PermissionType, String, String);

/// Users with password and roles, roles with permissions; whatever is granted is looked up each time.
#[derive(Default)]
struct Naive {
    enabled: bool,
    revision: u64,
    users: Vec<(String, Vec<String>)>,
    roles: Vec<(String, Vec<Granted>)>,
}

impl Naive {
    fn user(&mut self, name: &str) -> Option<&mut (String, Vec<String>)> {
        self.users.iter_mut().find(|(user, _)| user == name)
    }

    fn role(&mut self, name: &str) -> Option<&mut (String, Vec<Granted>)> {
        self.roles.iter_mut().find(|(role, _)| role == name)
    }

    /// The error, or whether anything changed.
    fn ask(&mut self, request: &AuthRequest) -> Result<bool, Error> {
        use AuthRequest as A;
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let enabled = self.enabled;
        match request {
            A::UserAdd { name, .. } => match self.user(name) {
                Some(_) => Err(Error::UserAlreadyExist),
                None => {
                    self.users.push((name.clone(), vec![]));
                    Ok(true)
                }
            },
            A::UserDelete { name } if enabled && name == ROOT => Err(Error::InvalidAuthMgmt),
            A::UserDelete { name } => {
                self.user(name).ok_or(Error::UserNotFound)?;
                self.users.retain(|(user, _)| user != name);
                Ok(true)
            }
            A::UserGrantRole { user, role } => {
                self.user(user).ok_or(Error::UserNotFound)?;
                if role != ROOT {
                    self.role(role).ok_or(Error::RoleNotFound)?;
                }
                let roles = &mut self.user(user).ok_or(Error::UserNotFound)?.1;
                let is_new = !roles.contains(role);
                if is_new {
                    roles.push(role.clone());
                }
                Ok(is_new)
            }
            A::UserRevokeRole { user, role } if enabled && user == ROOT && role == ROOT => Err(Error::InvalidAuthMgmt),
            A::UserRevokeRole { user, role } => {
                let roles = &mut self.user(user).ok_or(Error::UserNotFound)?.1;
                let place = roles.iter().position(|one| one == role).ok_or(Error::RoleNotGranted)?;
                roles.remove(place);
                Ok(true)
            }
            A::RoleAdd { role } => match self.role(role) {
                Some(_) => Err(Error::RoleAlreadyExist),
                None => {
                    self.roles.push((role.clone(), vec![]));
                    Ok(true)
                }
            },
            A::RoleDelete { role } if enabled && role == ROOT => Err(Error::InvalidAuthMgmt),
            A::RoleDelete { role } => {
                self.role(role).ok_or(Error::RoleNotFound)?;
                self.roles.retain(|(one, _)| one != role);
                self.users.iter_mut().for_each(|(_, roles)| roles.retain(|one| one != role));
                Ok(true)
            }
            A::RoleGrantPermission { role, permission } => {
                let (key, end) = (text(&permission.key), text(&permission.range_end));
                if !(end.is_empty() || end == "\0" || key < end) {
                    return Err(Error::InvalidAuthMgmt);
                }
                let list = &mut self.role(role).ok_or(Error::RoleNotFound)?.1;
                list.retain(|(_, one, other)| (one, other) != (&key, &end));
                list.push((permission.access, key, end));
                Ok(true)
            }
            A::RoleRevokePermission { role, key, range_end } => {
                let (key, end) = (text(key), text(range_end));
                let list = &mut self.role(role).ok_or(Error::RoleNotFound)?.1;
                let before = list.len();
                list.retain(|(_, one, other)| (one, other) != (&key, &end));
                if list.len() == before {
                    Err(Error::PermissionNotGranted)
                } else {
                    Ok(true)
                }
            }
            A::Enable => {
                let root = self.user(ROOT).ok_or(Error::RootUserNotExist)?;
                if !root.1.contains(&ROOT.to_owned()) {
                    return Err(Error::RootRoleNotExist);
                }
                self.enabled = true;
                Ok(false)
            }
            A::Disable => Ok(std::mem::take(&mut self.enabled)),
            other => panic!("not asked here: {other:?}"),
        }
    }

    fn allows(&mut self, user: &str, write: bool, key: &str) -> bool {
        let Some((_, roles)) = self.user(user).cloned() else { return false };
        let wanted = |access| match access {
            PermissionType::Read => !write,
            PermissionType::Write => write,
            PermissionType::ReadWrite => true,
        };
        roles.iter().any(|role| {
            role == ROOT
                || self.role(role).cloned().is_some_and(|(_, list)| {
                    list.iter().any(|(access, from, end)| {
                        let inside = match &end[..] {
                            "" => key == from,
                            "\0" => key >= &from[..],
                            end => key >= &from[..] && key < end,
                        };
                        wanted(*access) && inside
                    })
                })
        })
    }
}

#[test]
fn random_commands_agree_with_four_lists() {
    let mut state = 11_u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    let names = [ROOT, "a", "b"];
    let keys = ["k", "l", "m", "n"];
    for _ in 0..60 {
        let mut world = World::new();
        let mut naive = Naive { revision: 1, ..Naive::default() };
        for _ in 0..80 {
            let (user_name, role) = (names[below(3)].to_owned(), names[below(3)].to_owned());
            let (key, end) = (keys[below(4)], ["", "\0", "l", "m", "n"][below(5)]);
            let access = [PermissionType::Read, PermissionType::Write, PermissionType::ReadWrite][below(3)];
            let request = match below(12) {
                0 => user(&user_name, None),
                1 if below(3) == 0 => AuthRequest::UserDelete { name: user_name },
                2 | 3 => AuthRequest::UserGrantRole { user: user_name, role },
                4 => AuthRequest::UserRevokeRole { user: user_name, role },
                5 => AuthRequest::RoleAdd { role },
                6 if below(3) == 0 => AuthRequest::RoleDelete { role },
                7 | 8 => grant(&role, access, key, end),
                9 => revoke(&role, key, end),
                10 => AuthRequest::Enable,
                11 if below(3) == 0 => AuthRequest::Disable,
                _ => continue,
            };
            // The first permission with a first key hides the others from a second grant; the lists have no such rule.
            if let AuthRequest::RoleGrantPermission { role, .. } = &request {
                let shares = |list: &[Granted]| list.iter().any(|(_, one, _)| one == key);
                if naive.role(role).is_some_and(|(_, list)| shares(list)) {
                    continue;
                }
            }
            let expect = naive.ask(&request);
            naive.revision += u64::from(expect == Ok(true));
            let command = world.store.command(0, request.clone());
            let found = world.store.apply(&mut world.backend, world.now, 0, command);
            assert_eq!(found, expect.map(|_| AuthResponse::Done), "{request:?}");
            assert_eq!((world.store.is_enabled(), world.store.revision()), (naive.enabled, naive.revision));
        }
        if !world.store.is_enabled() {
            world.store.enabled = true;
        }
        for name in ["root", "a", "b", "c"] {
            for (key, write) in keys.iter().flat_map(|key| [(key, false), (key, true)]) {
                let range = crate::api::KeyRange::single(*key);
                let who = world.who(name);
                let found = match write {
                    false => world.store.may_range(&world.backend, &who, &crate::api::RangeRequest::of(range)),
                    true => {
                        let delete = crate::api::DeleteRangeRequest { range, prev_kv: false };
                        world.store.may_delete(&world.backend, &who, &delete)
                    }
                };
                assert_eq!(found.is_ok(), naive.allows(name, write, key), "{name} {key} {write}");
            }
        }
    }
}
