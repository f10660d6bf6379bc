//! What users may do to keys.

use super::*;
use crate::api::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Key, KeyRange, LeaseId, PutRequest, RangeEnd,
    RangeRequest, RequestOp, TxnRequest,
};

fn range(key: &str, end: &str) -> KeyRange {
    let end = match end {
        "" => RangeEnd::Single,
        "\0" => RangeEnd::Open,
        end => RangeEnd::Before(Bytes::copy_from_slice(end.as_bytes())),
    };
    KeyRange { start: Bytes::copy_from_slice(key.as_bytes()), end }
}

fn put(key: &str, lease: LeaseId, prev_kv: bool) -> PutRequest {
    PutRequest { lease, prev_kv, ..PutRequest::of(key.to_owned(), "v") }
}

fn get(key: &str, end: &str) -> RequestOp {
    RequestOp::Range(RangeRequest::of(range(key, end)))
}

fn delete(key: &str, end: &str, prev_kv: bool) -> RequestOp {
    RequestOp::DeleteRange(DeleteRangeRequest { range: range(key, end), prev_kv })
}

fn txn(compare: &[&str], success: Vec<RequestOp>, failure: Vec<RequestOp>) -> TxnRequest {
    let compare = compare.iter().map(|key| Compare {
        range: range(key, ""),
        result: CompareResult::Equal,
        target: CompareTarget::Version(0),
    });
    TxnRequest { compare: compare.collect(), success, failure }
}

fn nested(inner: TxnRequest) -> TxnRequest {
    txn(&[], vec![RequestOp::Txn(Box::new(inner))], vec![])
}

/// Lease 7 holds the keys w and x, lease 8 only w.
fn leases(lease: LeaseId) -> Vec<Key> {
    match lease {
        7 => vec![Key::from_static(b"w"), Key::from_static(b"x")],
        8 => vec![Key::from_static(b"w")],
        _ => vec![],
    }
}

/// The user reads `[r, s)`, writes `w`, and both `b`.
fn world(bugs: Bugs) -> World {
    let mut world = World::with(AuthConfig { bcrypt_cost: 4, ..AuthConfig::default() }, bugs);
    world.enable();
    world.user(
        "u",
        &[(PermissionType::Read, "r", "s"), (PermissionType::Write, "w", ""), (PermissionType::ReadWrite, "b", "")],
    );
    world
}

fn may(world: &World, who: &AuthInfo, op: &RequestOp) -> Result<(), Error> {
    let (store, backend) = (&world.store, &world.backend);
    match op {
        RequestOp::Range(range) => store.may_range(backend, who, range),
        RequestOp::Put(put) => store.may_put(backend, &leases, who, put),
        RequestOp::DeleteRange(delete) => store.may_delete(backend, who, delete),
        RequestOp::Txn(txn) => store.may_txn(backend, &leases, who, txn),
    }
}

/// What is asked for, and whether the user may.
fn cases() -> Vec<(RequestOp, bool)> {
    let put = |key, lease, prev_kv| RequestOp::Put(put(key, lease, prev_kv));
    vec![
        (get("r", ""), true),
        (get("r1", "r2"), true),
        (get("r", "s"), true),
        (get("r", "t"), false),
        (get("r", "\0"), false),
        (get("w", ""), false),
        (put("w", 0, false), true),
        (put("r", 0, false), false),
        (put("w", 0, true), false),
        (put("b", 0, true), true),
        (put("w", 8, false), true),
        (put("w", 7, false), false),
        (put("w", 9, false), true),
        (delete("w", "", false), true),
        (delete("w", "", true), false),
        (delete("b", "", true), true),
        (delete("w", "x", false), false),
    ]
}

#[test]
fn users_may_do_what_their_roles_allow() {
    let world = world(Bugs::NONE);
    for (op, allowed) in cases() {
        let expect = if allowed { Ok(()) } else { Err(Error::PermissionDenied) };
        assert_eq!(may(&world, &world.who("u"), &op), expect, "{op:?}");
        // Wherever it stands in a transaction.
        for txn in [
            txn(&[], vec![op.clone()], vec![]),
            txn(&["r"], vec![get("r", "")], vec![op.clone()]),
            nested(txn(&[], vec![op.clone()], vec![])),
            nested(nested(txn(&[], vec![], vec![op.clone()]))),
        ] {
            assert_eq!(world.store.may_txn(&world.backend, &leases, &world.who("u"), &txn), expect, "{txn:?}");
        }
        assert_eq!(may(&world, &world.who(ROOT), &op), Ok(()), "root: {op:?}");
        assert_eq!(may(&world, &world.who("nobody"), &op), Err(Error::PermissionDenied), "{op:?}");
        assert_eq!(may(&world, &AuthInfo::default(), &op), Err(Error::UserEmpty), "{op:?}");
    }
    let compares = txn(&["w"], vec![], vec![]);
    let denied = world.store.may_txn(&world.backend, &leases, &world.who("u"), &compares);
    assert_eq!(denied, Err(Error::PermissionDenied));
}

#[test]
fn everybody_may_do_everything_while_auth_is_off() {
    let mut world = world(Bugs::NONE);
    world.done(AuthRequest::Disable);
    for (op, _) in cases() {
        assert_eq!(may(&world, &AuthInfo::default(), &op), Ok(()), "{op:?}");
    }
    assert_eq!(world.store.may_administer(&world.backend, &AuthInfo::default()), Ok(()));
    assert_eq!(world.store.must_be_somebody(None), Ok(()));
}

#[test]
fn a_user_that_was_checked_before_a_change_is_checked_again() {
    let mut world = world(Bugs::NONE);
    let before = world.who("u");
    world.done(AuthRequest::RoleAdd { role: "other".into() });
    let op = get("r", "");
    assert_eq!(may(&world, &before, &op), Err(Error::AuthOldRevision));
    assert_eq!(may(&world, &AuthInfo { username: ROOT.into(), ..before.clone() }, &op), Err(Error::AuthOldRevision));
    assert_eq!(may(&world, &world.who("u"), &op), Ok(()));
    // Administration does not look at it.
    let root = AuthInfo { username: ROOT.into(), revision: 1 };
    assert_eq!(world.store.may_administer(&world.backend, &root), Ok(()));
}

#[test]
fn administration_is_the_root_roles() {
    let mut world = world(Bugs::NONE);
    for (name, expect) in [
        (ROOT, Ok(())),
        ("u", Err(Error::PermissionDenied)),
        ("nobody", Err(Error::UserNotFound)),
        ("", Err(Error::UserEmpty)),
    ] {
        assert_eq!(world.store.may_administer(&world.backend, &world.who(name)), expect, "{name}");
    }
    let mut ask = |who: &str, request| world.ask_as(&world.who(who), request).map(|_| ());
    let get_user = |name: &str| AuthRequest::UserGet { name: name.into() };
    let get_role = |role: &str| AuthRequest::RoleGet { role: role.into() };
    assert_eq!(ask("u", get_user("u")), Ok(()));
    assert_eq!(ask("u", get_user(ROOT)), Err(Error::PermissionDenied));
    assert_eq!(ask("u", get_role("u")), Ok(()));
    assert_eq!(ask("u", get_role("other")), Err(Error::PermissionDenied));
    assert_eq!(ask("u", AuthRequest::UserList), Err(Error::PermissionDenied));
    assert_eq!(ask("u", AuthRequest::Status), Err(Error::PermissionDenied));
    assert_eq!(ask("", AuthRequest::Disable), Err(Error::UserEmpty));
}

#[test]
fn watches_and_leases_are_judged_by_their_keys() {
    let world = world(Bugs::NONE);
    let who = world.who("u");
    let denied = Err(Error::PermissionDenied);
    for (key, end, expect) in [("r", "", Ok(())), ("r", "s", Ok(())), ("r", "\0", denied), ("w", "", denied)] {
        assert_eq!(world.store.may_watch(&world.backend, &who, &range(key, end)), expect, "{key} {end:?}");
    }
    for (lease, uses, sees) in [(8, Ok(()), denied), (7, denied, denied), (9, Ok(()), Ok(()))] {
        assert_eq!(world.store.may_write_keys(&world.backend, &who, &leases(lease)), uses, "{lease}");
        assert_eq!(world.store.may_see_keys(&world.backend, &who, &leases(lease)), sees, "{lease}");
    }
    assert_eq!(world.store.may_write_keys(&world.backend, &world.who(ROOT), &leases(7)), Ok(()));
}

#[test]
fn bugs_let_through_what_they_say() {
    let who = |world: &World| world.who("u");
    let op = |op: RequestOp| txn(&[], vec![op], vec![]);
    let forbidden_inside = nested(op(RequestOp::Put(put("r", 0, false))));
    let prev_kv = op(RequestOp::Put(put("w", 0, true)));
    let lease = op(RequestOp::Put(put("w", 7, false)));
    for (bug, txn) in [
        (Bug::NestedTxnBypass, &forbidden_inside),
        (Bug::PrevkvLeaseBypass, &prev_kv),
        (Bug::PrevkvLeaseBypass, &lease),
    ] {
        for (bugs, expect) in [(Bugs::NONE, Err(Error::PermissionDenied)), (Bugs::NONE.with(bug), Ok(()))] {
            let world = world(bugs);
            assert_eq!(world.store.may_txn(&world.backend, &leases, &who(&world), txn), expect, "{bug:?}");
        }
    }
    let mut old = world(Bugs::NONE.with(Bug::OldAuthRevAccepted));
    let before = old.who("u");
    old.done(AuthRequest::RoleAdd { role: "other".into() });
    assert_eq!(may(&old, &before, &get("r", "")), Ok(()));
    let watch = world(Bugs::NONE.with(Bug::WatchRangeRbac));
    assert_eq!(watch.store.may_watch(&watch.backend, &who(&watch), &range("r", "\0")), Ok(()));
}
