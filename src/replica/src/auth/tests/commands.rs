//! Users, roles, tokens and restarts.

use super::*;
use crate::mvcc::Bucket;

#[test]
fn auth_is_enabled_when_root_is_there_with_its_role() {
    let mut world = World::new();
    assert_eq!(world.ask(AuthRequest::Enable), Err(Error::RootUserNotExist));
    world.done(user(ROOT, Some("x")));
    assert_eq!(world.ask(AuthRequest::Enable), Err(Error::RootRoleNotExist));
    // The role need not be made, it may be granted all the same.
    world.done(AuthRequest::UserGrantRole { user: ROOT.into(), role: ROOT.into() });
    let status = |enabled, revision| Ok(AuthResponse::Status { enabled, revision });
    assert_eq!(world.ask(AuthRequest::Status), status(false, 3));
    world.done(AuthRequest::Enable);
    world.done(AuthRequest::Enable);
    assert_eq!(world.ask(AuthRequest::Status), status(true, 3));
    world.done(AuthRequest::Disable);
    world.done(AuthRequest::Disable);
    assert_eq!(world.ask(AuthRequest::Status), status(false, 4));
}

#[test]
fn every_command_answers_in_etcds_words() {
    use AuthRequest as A;
    let named = |name: &str| name.to_owned();
    let role = |user: &str, role: &str| (user.to_owned(), role.to_owned());
    // Each is asked in turn, after alice and the role reader were made, and auth was enabled.
    let steps = [
        (user("", Some("x")), Err(Error::UserEmpty)),
        (user("alice", Some("x")), Err(Error::UserAlreadyExist)),
        (A::RoleAdd { role: named("") }, Err(Error::RoleEmpty)),
        (A::RoleAdd { role: named("reader") }, Err(Error::RoleAlreadyExist)),
        (A::UserGrantRole { user: named("bob"), role: named("reader") }, Err(Error::UserNotFound)),
        (A::UserGrantRole { user: named("alice"), role: named("writer") }, Err(Error::RoleNotFound)),
        (A::UserRevokeRole { user: named("alice"), role: named("reader") }, Err(Error::RoleNotGranted)),
        (A::UserGrantRole { user: named("alice"), role: named("reader") }, Ok(AuthResponse::Done)),
        (A::UserGrantRole { user: named("alice"), role: named("reader") }, Ok(AuthResponse::Done)),
        (A::UserGet { name: named("alice") }, Ok(AuthResponse::UserRoles(vec![named("reader")]))),
        (A::UserGet { name: named("bob") }, Err(Error::UserNotFound)),
        (A::UserList, Ok(AuthResponse::Users(vec![named("alice"), named("root")]))),
        (A::RoleList, Ok(AuthResponse::Roles(vec![named("reader")]))),
        (A::RoleGet { role: named("writer") }, Err(Error::RoleNotFound)),
        (A::RoleGet { role: named("root") }, Err(Error::RoleNotFound)),
        (grant("reader", PermissionType::Read, "b", "a"), Err(Error::InvalidAuthMgmt)),
        (grant("reader", PermissionType::Read, "", ""), Err(Error::InvalidAuthMgmt)),
        (grant("writer", PermissionType::Read, "a", ""), Err(Error::RoleNotFound)),
        (revoke("reader", "a", ""), Err(Error::PermissionNotGranted)),
        (revoke("writer", "a", ""), Err(Error::RoleNotFound)),
        (grant("reader", PermissionType::Read, "a", "b"), Ok(AuthResponse::Done)),
        (revoke("reader", "a", ""), Err(Error::PermissionNotGranted)),
        (revoke("reader", "a", "b"), Ok(AuthResponse::Done)),
        (A::UserChangePassword { name: named("bob"), password: named("x") }, Err(Error::UserNotFound)),
        (A::UserChangePassword { name: named("alice"), password: named("x") }, Ok(AuthResponse::Done)),
        (A::UserDelete { name: named("root") }, Err(Error::InvalidAuthMgmt)),
        (A::UserRevokeRole { user: role("root", "root").0, role: role("root", "root").1 }, Err(Error::InvalidAuthMgmt)),
        (A::RoleDelete { role: named("root") }, Err(Error::InvalidAuthMgmt)),
        (A::RoleDelete { role: named("writer") }, Err(Error::RoleNotFound)),
        (A::RoleDelete { role: named("reader") }, Ok(AuthResponse::Done)),
        (A::UserGet { name: named("alice") }, Ok(AuthResponse::UserRoles(vec![]))),
        (A::UserDelete { name: named("alice") }, Ok(AuthResponse::Done)),
        (A::UserDelete { name: named("alice") }, Err(Error::UserNotFound)),
    ];
    let mut world = World::new();
    world.done(user("alice", Some("alice")));
    world.done(A::RoleAdd { role: named("reader") });
    world.enable();
    for (request, expect) in steps {
        assert_eq!(world.ask(request.clone()), expect, "{request:?}");
    }
}

#[test]
fn the_auth_revision_counts_changes_and_only_those() {
    let mut world = World::new();
    world.enable();
    world.user("alice", &[]);
    for (request, raised) in [
        (AuthRequest::UserGrantRole { user: "alice".into(), role: "alice".into() }, 0),
        (user("alice", None), 0),
        (AuthRequest::UserList, 0),
        (grant("alice", PermissionType::Read, "a", ""), 1),
        (grant("alice", PermissionType::Read, "a", ""), 1),
        (AuthRequest::RoleAdd { role: "new".into() }, 1),
        (AuthRequest::Enable, 0),
    ] {
        let before = world.store.revision();
        let _ = world.ask(request.clone());
        assert_eq!(world.store.revision() - before, raised, "{request:?}");
    }
}

#[test]
fn permissions_are_kept_by_their_first_key() {
    let mut world = World::new();
    world.done(AuthRequest::RoleAdd { role: "r".into() });
    for (access, key, end) in [
        (PermissionType::Read, "b", ""),
        (PermissionType::Write, "a", "c"),
        (PermissionType::Read, "b", "\0"),
        (PermissionType::ReadWrite, "b", ""),
        // Not the first with this first key: it is not found, and is added again.
        (PermissionType::Write, "b", "\0"),
    ] {
        world.done(grant("r", access, key, end));
    }
    let permission = |access, key: &str, end: &str| Permission {
        access,
        key: Bytes::copy_from_slice(key.as_bytes()),
        range_end: Bytes::copy_from_slice(end.as_bytes()),
    };
    let expect = vec![
        permission(PermissionType::Write, "a", "c"),
        permission(PermissionType::ReadWrite, "b", ""),
        permission(PermissionType::Read, "b", "\0"),
        permission(PermissionType::Write, "b", "\0"),
    ];
    assert_eq!(world.ask(AuthRequest::RoleGet { role: "r".into() }), Ok(AuthResponse::Permissions(expect)));
    world.done(AuthRequest::RoleAdd { role: ROOT.into() });
    let everything = vec![permission(PermissionType::ReadWrite, "", "\0")];
    assert_eq!(world.ask(AuthRequest::RoleGet { role: ROOT.into() }), Ok(AuthResponse::Permissions(everything)));
}

#[test]
fn users_and_roles_are_etcds_bytes() {
    let mut world = World::new();
    world.user("u", &[(PermissionType::ReadWrite, "a", "b")]);
    world.done(user("none", None));
    let get = |bucket, key: &'static str| world.backend.get(bucket, key.as_bytes()).unwrap();
    assert_eq!(get(Bucket::AuthRoles, "u"), b"\x0a\x01u\x12\x08\x08\x02\x12\x01a\x1a\x01b"[..]);
    assert_eq!(get(Bucket::AuthUsers, "none"), b"\x0a\x04none\x22\x02\x08\x01"[..]);
    let bytes = get(Bucket::AuthUsers, "u");
    assert_eq!((&bytes[..5], bytes[5..].len()), (&b"\x0a\x01u\x12\x3c"[..], 60 + 3 + 2));
    assert_eq!(&bytes[5..12], b"$2a$04$");
    assert_eq!(&bytes[65..], b"\x1a\x01u\x22\x00");
    assert_eq!(get(Bucket::Auth, "authRevision"), 6_u64.to_be_bytes()[..]);
    assert_eq!(world.backend.get(Bucket::Auth, b"authEnabled"), None);
    world.enable();
    assert_eq!(world.backend.get(Bucket::Auth, b"authEnabled").as_deref(), Some(&[1][..]));
    world.done(AuthRequest::Disable);
    assert_eq!(world.backend.get(Bucket::Auth, b"authEnabled").as_deref(), Some(&[0][..]));
}

#[test]
fn passwords_are_checked_where_there_is_one() {
    let mut world = World::new();
    world.done(user("alice", Some("secret")));
    world.done(user("cert", None));
    world.done(user("empty", Some("")));
    let check = |world: &World, name, password| world.store.check_password(&world.backend, name, password).map(|_| ());
    assert_eq!(check(&world, "alice", "secret"), Err(Error::AuthNotEnabled));
    world.enable();
    for (name, password, expect) in [
        ("alice", "secret", Ok(())),
        ("alice", "wrong", Err(Error::AuthFailed)),
        ("bob", "secret", Err(Error::AuthFailed)),
        ("cert", "", Err(Error::NoPasswordUser)),
        ("empty", "", Ok(())),
        ("empty", "x", Err(Error::AuthFailed)),
    ] {
        assert_eq!(check(&world, name, password), expect, "{name} {password}");
    }
    world.done(AuthRequest::UserChangePassword { name: "alice".into(), password: "other".into() });
    assert_eq!(check(&world, "alice", "secret"), Err(Error::AuthFailed));
    assert_eq!(check(&world, "alice", "other"), Ok(()));
    let failed = world.ask(AuthRequest::Authenticate { name: "cert".into(), password: String::new() });
    assert_eq!(failed, Err(Error::AuthFailed));
}

#[test]
fn a_password_in_an_old_entry_is_hashed_when_it_is_applied() {
    let mut world = World::new();
    let request = crate::wire::message::auth::AuthUserAddRequest {
        name: "old".into(),
        password: "secret".into(),
        ..Default::default()
    };
    let command = crate::wire::AuthCommand::UserAdd(request);
    assert_eq!(world.store.apply(&mut world.backend, world.now, 7, command), Ok(AuthResponse::Done));
    world.enable();
    assert!(world.store.check_password(&world.backend, "old", "secret").is_ok());
}

#[test]
fn simple_tokens_stand_for_users_until_these_change() {
    let mut world = World::new();
    world.enable();
    world.user("alice", &[]);
    world.user("bob", &[]);
    let (alice, bob) = (world.token("alice"), world.token("bob"));
    assert_ne!(alice.split('.').next(), bob.split('.').next());
    assert_eq!(world.whose(&alice), Ok(Some("alice".into())));
    assert_eq!(world.whose(&format!("Bearer {bob}")), Ok(Some("bob".into())));
    assert_eq!(world.whose("nobody's.1"), Err(Error::InvalidAuthToken));
    assert_eq!(world.whose("nothing"), Err(Error::InvalidAuthToken));
    world.done(AuthRequest::UserChangePassword { name: "alice".into(), password: "new".into() });
    world.done(AuthRequest::UserDelete { name: "bob".into() });
    assert_eq!(world.whose(&alice), Err(Error::InvalidAuthToken));
    assert_eq!(world.whose(&bob), Err(Error::InvalidAuthToken));
    let root = world.token(ROOT);
    world.now = world.now + Span::secs(302);
    assert_eq!(world.whose(&root), Err(Error::InvalidAuthToken));
    let root = world.token(ROOT);
    world.done(AuthRequest::Disable);
    assert_eq!(world.whose(&root), Ok(None), "nobody is asked while auth is off");
}

#[test]
fn a_token_must_wait_for_its_index() {
    let mut world = World::new();
    world.enable();
    let token = world.token(ROOT);
    let index = world.index;
    let credential = Credential::Token(token);
    assert_eq!(world.store.who(world.now, index - 1, &credential), Ok(Who::AfterIndex(index)));
    assert!(matches!(world.store.who(world.now, index, &credential), Ok(Who::Known(Some(_)))));
}

#[test]
fn json_web_tokens_need_no_memory() {
    let token = TokenKind::Jwt { key: b"shared".to_vec(), ttl: Span::secs(300) };
    let config = AuthConfig { bcrypt_cost: 4, token, ..AuthConfig::default() };
    let mut world = World::with(config.clone(), Bugs::NONE);
    world.enable();
    let token = world.token(ROOT);
    let mut other = World::with(config, Bugs::NONE);
    other.enable();
    assert_eq!(other.whose(&token), Ok(Some(ROOT.into())));
    // It says the revision at which it was made, and goes on saying it.
    other.user("alice", &[]);
    let who = other.store.who(other.now, 0, &Credential::Token(token.clone()));
    assert_eq!(who, Ok(Who::Known(Some(AuthInfo { username: ROOT.into(), revision: 3 }))));
    other.now = other.now + Span::secs(300);
    assert_eq!(other.whose(&token), Err(Error::InvalidAuthToken));
}

#[test]
fn a_common_name_counts_where_the_member_was_told_so() {
    let credential = Credential::CommonName("alice".into());
    for (client_cert, expect) in [(false, None), (true, Some(AuthInfo { username: "alice".into(), revision: 1 }))] {
        let mut world = World::with(AuthConfig { client_cert, ..AuthConfig::default() }, Bugs::NONE);
        assert_eq!(world.store.who(world.now, 0, &credential), Ok(Who::Known(expect)));
    }
}

#[test]
fn a_restart_finds_everything_but_tokens() {
    let mut world = World::new();
    world.enable();
    world.user("alice", &[(PermissionType::Read, "a", "c")]);
    let token = world.token("alice");
    let config = AuthConfig::default();
    let mut store = AuthStore::boot(&config, Bugs::NONE, world.now, &mut world.backend).unwrap();
    assert!(store.is_enabled());
    assert_eq!((store.revision(), &store.permissions), (world.store.revision(), &world.store.permissions));
    assert_eq!(store.who(world.now, u64::MAX, &Credential::Token(token)), Err(Error::InvalidAuthToken));
}

#[test]
fn another_database_is_taken_in_as_a_whole() {
    let mut leader = World::new();
    leader.enable();
    leader.user("alice", &[(PermissionType::Read, "a", "")]);
    for (bugs, enabled, permitted, kept) in [
        (Bugs::NONE, true, true, true),
        (Bugs::NONE.with(Bug::RangecacheNotRefreshed), true, false, true),
        (Bugs::NONE.with(Bug::AuthEnabledLost), false, true, false),
        (Bugs::NONE.with(Bug::TokenProviderOff), true, true, false),
    ] {
        let mut follower = World::with(AuthConfig { bcrypt_cost: 4, ..AuthConfig::default() }, bugs);
        follower.backend = leader.backend.clone();
        follower.store.recover(follower.now, &follower.backend).unwrap();
        assert_eq!(follower.store.revision(), leader.store.revision());
        assert_eq!(follower.store.is_enabled(), enabled, "{bugs:?}");
        let allowed = follower.store.permissions.allow("alice", permission::Access::Read, b"a", b"");
        assert_eq!(allowed, permitted, "{bugs:?}");
        if enabled {
            let token = follower.token("alice");
            assert_eq!(follower.whose(&token).is_ok(), kept, "{bugs:?}");
        }
    }
}

#[test]
fn a_snapshot_makes_tokens_worthless_unless_the_bug_is_on() {
    for (bugs, kept) in [(Bugs::NONE, false), (Bugs::NONE.with(Bug::TokensOutliveSnapshot), true)] {
        let mut member = World::with(AuthConfig { bcrypt_cost: 4, ..AuthConfig::default() }, bugs);
        member.enable();
        member.user("alice", &[(PermissionType::Read, "a", "")]);
        let token = member.token("alice");
        assert!(member.whose(&token).is_ok());
        member.store.recover(member.now, &member.backend).unwrap();
        assert_eq!(member.whose(&token).is_ok(), kept);
        let again = member.token("alice");
        assert!(member.whose(&again).is_ok());
    }
}

#[test]
fn what_cannot_be_read_is_refused_at_the_start() {
    for (bucket, key, value) in [
        (Bucket::Auth, "authRevision", &b"7"[..]),
        (Bucket::AuthUsers, "u", b"\x0a\x05u"),
        (Bucket::AuthRoles, "r", b"\x12\x01"),
    ] {
        let mut backend = Backend::create(Bugs::NONE);
        backend.put(bucket, Bytes::from_static(key.as_bytes()), Bytes::from_static(value));
        let refused = AuthStore::boot(&AuthConfig::default(), Bugs::NONE, Monotonic::default(), &mut backend);
        assert!(refused.is_err(), "{key}");
    }
}
