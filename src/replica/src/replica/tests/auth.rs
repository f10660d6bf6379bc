//! Auth through whole members.

use super::*;
use crate::api::{
    AuthRequest, AuthResponse, KeyRange, Permission, PermissionType, PutRequest, RangeEnd, RangeRequest, ResponseBody,
    WatchBody, WatchCreate,
};
use crate::{Bug, WatchId};

fn auth(world: &mut World, node: u64, token: &Credential, request: AuthRequest) -> Result<AuthResponse> {
    world.ask_as(node, token.clone(), Request::Auth(request)).map(|response| match response.body {
        ResponseBody::Auth(response) => response,
        other => panic!("no answer to an auth request: {other:?}"),
    })
}

fn login(world: &mut World, node: u64, name: &str, password: &str) -> Result<Credential> {
    let request = AuthRequest::Authenticate { name: name.into(), password: password.into() };
    auth(world, node, &Credential::None, request).map(|response| match response {
        AuthResponse::Token(token) => Credential::Token(token),
        other => panic!("no token: {other:?}"),
    })
}

fn put(key: &'static str) -> Request {
    Request::Put(PutRequest::of(key, "v"))
}

fn get(key: &'static str, serializable: bool) -> Request {
    Request::Range(RangeRequest { serializable, ..RangeRequest::of(KeyRange::single(key)) })
}

/// Auth is on; the user u may read and write the key u.
fn with_auth(bugs: Bugs) -> World {
    let mut world = World::new(3, bugs);
    let name = |name: &str| name.to_owned();
    for request in [
        AuthRequest::UserAdd { name: name("root"), password: Some(name("r")) },
        AuthRequest::UserGrantRole { user: name("root"), role: name("root") },
        AuthRequest::UserAdd { name: name("u"), password: Some(name("p")) },
        AuthRequest::RoleAdd { role: name("r") },
        AuthRequest::RoleGrantPermission {
            role: name("r"),
            permission: Permission { access: PermissionType::ReadWrite, key: "u".into(), range_end: "".into() },
        },
        AuthRequest::UserGrantRole { user: name("u"), role: name("r") },
        AuthRequest::Enable,
    ] {
        let node = 1 + world.requests % 3;
        assert_eq!(auth(&mut world, node, &Credential::None, request.clone()), Ok(AuthResponse::Done), "{request:?}");
    }
    world
}

#[test]
fn users_do_what_they_may_at_every_member() {
    let mut world = with_auth(Bugs::NONE);
    assert_eq!(login(&mut world, 1, "u", "wrong"), Err(Error::AuthFailed));
    let user = login(&mut world, 1, "u", "p").unwrap();
    let root = login(&mut world, 2, "root", "r").unwrap();
    for node in 1..=3 {
        for (credential, request, expect) in [
            (&user, put("u"), None),
            (&user, get("u", true), None),
            (&user, get("u", false), None),
            (&user, put("other"), Some(Error::PermissionDenied)),
            (&user, get("other", true), Some(Error::PermissionDenied)),
            (&user, get("other", false), Some(Error::PermissionDenied)),
            (&user, Request::HashKv { revision: 0 }, Some(Error::PermissionDenied)),
            (&user, Request::Status, None),
            (&user, Request::MemberRemove { id: MemberId(1) }, Some(Error::PermissionDenied)),
            (&root, put("other"), None),
            (&root, Request::HashKv { revision: 0 }, None),
            (&Credential::None, put("u"), Some(Error::UserEmpty)),
            (&Credential::None, get("u", true), Some(Error::UserEmpty)),
            (&Credential::None, Request::Status, Some(Error::UserEmpty)),
            (&Credential::None, Request::MemberList { linearizable: true }, Some(Error::UserEmpty)),
            (&Credential::Token("nobody.1".into()), put("u"), Some(Error::InvalidAuthToken)),
            (&Credential::Token("nobody.1".into()), get("u", false), Some(Error::InvalidAuthToken)),
        ] {
            let found = world.ask_as(node, credential.clone(), request.clone());
            assert_eq!(found.err(), expect, "{node} {request:?}");
        }
    }
    world.assert_equal();
}

#[test]
fn watches_are_checked_when_they_are_made() {
    for (bugs, from_key_is_denied) in [(Bugs::NONE, true), (Bugs::NONE.with(Bug::WatchRangeRbac), false)] {
        let mut world = with_auth(bugs);
        let user = login(&mut world, 1, "u", "p").unwrap();
        let denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
        for (key, end, refusal) in [
            ("u", RangeEnd::Single, None),
            ("other", RangeEnd::Single, Some(denied)),
            ("u", RangeEnd::Open, from_key_is_denied.then_some(denied)),
        ] {
            let create = WatchCreate {
                watch: WatchId(1),
                range: KeyRange { start: key.into(), end },
                start_revision: 0,
                prev_kv: false,
                progress_notify: false,
                no_put: false,
                no_delete: false,
            };
            let responses = world.watch(2, user.clone(), WatchRequest::Create(create.clone()));
            let expect =
                refusal.map_or(WatchBody::Created, |reason| WatchBody::Cancelled { compact_revision: 0, reason });
            assert_eq!(responses.into_iter().map(|response| response.body).collect::<Vec<_>>(), [expect], "{create:?}");
        }
    }
}

#[test]
fn a_token_that_a_member_has_not_applied_is_waited_for() {
    let mut world = with_auth(Bugs::NONE);
    let leader = world.leader();
    let late = 1 + leader % 3;
    world.isolate(late);
    // The index in a token is the last one before it.
    let root = login(&mut world, leader, "root", "r").unwrap();
    world.ask_as(leader, root, put("other")).unwrap();
    let user = login(&mut world, leader, "u", "p").unwrap();
    let waiting = world.send(late, user.clone(), get("u", true));
    world.run(Span::secs(1));
    assert!(!world.replies.contains_key(&waiting));
    world.cut.clear();
    world.run(Span::secs(3));
    assert!(matches!(world.replies.remove(&waiting), Some(Ok(_))));
    // An index that never comes is given up.
    let never = world.ask_as(late, Credential::Token("x.99999".into()), get("u", true));
    assert_eq!(never, Err(Error::InvalidAuthToken));
}

#[test]
fn a_restart_forgets_tokens_and_nothing_else() {
    for (bugs, reapplied) in [(Bugs::NONE, false), (Bugs::NONE.with(Bug::AuthReapplyBumpsRev), true)] {
        let mut world = with_auth(bugs);
        let root = login(&mut world, 1, "root", "r").unwrap();
        let permission = Permission { access: PermissionType::Read, key: "x".into(), range_end: "".into() };
        auth(&mut world, 1, &root, AuthRequest::RoleGrantPermission { role: "r".into(), permission }).unwrap();
        let user = login(&mut world, 1, "u", "p").unwrap();
        // Until the next commit, a restart would apply the authentication again.
        world.ask_as(1, user.clone(), put("u")).unwrap();
        world.run(Span::secs(1));
        let before = world.replica(1).auth.revision();
        world.restart(1);
        world.run(Span::secs(5));
        assert_eq!(world.replica(1).auth.revision() != before, reapplied);
        assert_eq!(world.replica(2).auth.revision(), before);
        if !reapplied {
            assert_eq!(world.ask_as(1, user.clone(), get("u", true)).err(), Some(Error::InvalidAuthToken));
            assert!(world.ask_as(2, user, get("u", true)).is_ok());
            let again = login(&mut world, 1, "u", "p").unwrap();
            assert!(world.ask_as(1, again, get("u", false)).is_ok());
        }
    }
}

#[test]
fn a_password_that_changes_meanwhile_is_checked_again() {
    let mut world = with_auth(Bugs::NONE);
    let root = login(&mut world, 1, "root", "r").unwrap();
    let change = AuthRequest::UserChangePassword { name: "u".into(), password: "new".into() };
    let authenticate = AuthRequest::Authenticate { name: "u".into(), password: "p".into() };
    let leader = world.leader();
    // The password is right when it is checked; its change is in the log before the authentication.
    let login = world.send(leader, Credential::None, Request::Auth(authenticate));
    let changing = world.send(leader, root, Request::Auth(change));
    world.run(Span::secs(2));
    assert!(matches!(world.replies.remove(&changing), Some(Ok(_))));
    match world.replies.remove(&login) {
        Some(Err(Error::AuthFailed)) => {}
        Some(Ok(_)) => panic!("a token was given for a password that is no longer good"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_entry_checked_before_a_change_is_refused_after_it() {
    for (bugs, expect) in [(Bugs::NONE, Some(Error::AuthOldRevision)), (Bugs::NONE.with(Bug::OldAuthRevAccepted), None)]
    {
        let mut world = with_auth(bugs);
        let leader = world.leader();
        let user = login(&mut world, leader, "u", "p").unwrap();
        let root = login(&mut world, leader, "root", "r").unwrap();
        let change = AuthRequest::RoleAdd { role: "another".into() };
        let changing = world.send(leader, root, Request::Auth(change));
        let writing = world.send(leader, user, put("u"));
        world.run(Span::secs(2));
        assert!(matches!(world.replies.remove(&changing), Some(Ok(_))));
        assert_eq!(world.replies.remove(&writing).unwrap().err(), expect);
        world.assert_equal();
    }
}
