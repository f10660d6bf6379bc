//! Every request through its wire form and back, and bytes that no etcd ever wrote.

use super::message::kv::RangeRequest;
use super::*;
use crate::api::{self, CompareResult, CompareTarget, KeyRange, RangeEnd, SortOrder, SortTarget};
use crate::wal::testing::Dice;

fn decoded(data: &Bytes) -> Result<(u64, Request), String> {
    let entry = decode(data)?;
    match entry.command {
        Command::Request(request) => Ok((entry.id, request)),
        other => Err(format!("{other:?}")),
    }
}

fn bytes(dice: &mut Dice, least: u64) -> Bytes {
    let length = least + dice.below(6);
    (0..length).map(|_| dice.below(256) as u8).collect::<Vec<_>>().into()
}

fn range(dice: &mut Dice) -> KeyRange {
    let end = match dice.below(3) {
        0 => RangeEnd::Single,
        1 => RangeEnd::Open,
        // Two bytes at least: the one zero byte means "open".
        _ => RangeEnd::Before(bytes(dice, 2)),
    };
    KeyRange { start: bytes(dice, 1), end }
}

fn range_request(dice: &mut Dice) -> api::RangeRequest {
    api::RangeRequest {
        range: range(dice),
        limit: dice.below(5),
        revision: dice.below(1000) as i64 - 10,
        sort_order: [SortOrder::None, SortOrder::Ascend, SortOrder::Descend][dice.below(3) as usize],
        sort_target: [SortTarget::Key, SortTarget::Version, SortTarget::Create, SortTarget::Mod, SortTarget::Value]
            [dice.below(5) as usize],
        serializable: dice.flip(),
        keys_only: dice.flip(),
        count_only: dice.flip(),
        min_mod_revision: dice.below(2) as i64,
        max_mod_revision: dice.below(2) as i64,
        min_create_revision: dice.below(2) as i64,
        max_create_revision: dice.below(2) as i64,
    }
}

fn put(dice: &mut Dice) -> api::PutRequest {
    let lease = dice.next() as i64;
    api::PutRequest {
        key: bytes(dice, 1),
        value: bytes(dice, 0),
        lease,
        prev_kv: dice.flip(),
        ignore_value: dice.flip(),
        ignore_lease: dice.flip(),
    }
}

fn delete(dice: &mut Dice) -> api::DeleteRangeRequest {
    api::DeleteRangeRequest { range: range(dice), prev_kv: dice.flip() }
}

fn compare(dice: &mut Dice) -> api::Compare {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    let operand = dice.next() as i64;
    let target = match dice.below(5) {
        0 => CompareTarget::Version(operand),
        1 => CompareTarget::Create(operand),
        2 => CompareTarget::Mod(operand),
        3 => CompareTarget::Value(bytes(dice, 0)),
        _ => CompareTarget::Lease(operand),
    };
    let result = [Equal, Greater, Less, NotEqual][dice.below(4) as usize];
    api::Compare { range: range(dice), result, target }
}

fn txn(dice: &mut Dice, levels: usize) -> api::TxnRequest {
    let ops = |dice: &mut Dice| -> Vec<api::RequestOp> {
        (0..dice.below(3))
            .map(|_| match dice.below(if levels > 1 { 4 } else { 3 }) {
                0 => api::RequestOp::Range(range_request(dice)),
                1 => api::RequestOp::Put(put(dice)),
                2 => api::RequestOp::DeleteRange(delete(dice)),
                _ => api::RequestOp::Txn(Box::new(txn(dice, levels - 1))),
            })
            .collect()
    };
    let compare = (0..dice.below(3)).map(|_| compare(dice)).collect();
    api::TxnRequest { compare, success: ops(dice), failure: ops(dice) }
}

fn request(dice: &mut Dice) -> Request {
    match dice.below(8) {
        0 => Request::Range(range_request(dice)),
        1 => Request::Put(put(dice)),
        2 => Request::DeleteRange(delete(dice)),
        3 => Request::Txn(txn(dice, 4)),
        4 => Request::LeaseGrant(LeaseGrantRequest { id: dice.next() as i64, ttl: dice.next() as i64 }),
        5 => Request::LeaseRevoke { id: dice.next() as i64 },
        6 => Request::Alarm(api::AlarmRequest {
            action: [api::AlarmAction::Get, api::AlarmAction::Activate, api::AlarmAction::Deactivate]
                [dice.below(3) as usize],
            member: crate::MemberId(dice.next()),
            alarm: [None, Some(api::Alarm::NoSpace), Some(api::Alarm::Corrupt)][dice.below(3) as usize],
        }),
        _ => Request::Compact(api::CompactRequest { revision: dice.next() as i64, physical: dice.flip() }),
    }
}

#[test]
fn what_is_encoded_decodes_to_itself() {
    let mut dice = Dice(1);
    for _ in 0..3000 {
        let (id, request) = (dice.next(), request(&mut dice));
        let data = encode(id, &request).expect("key-value requests travel in entries");
        assert_eq!(decoded(&data), Ok((id, request)));
    }
}

#[test]
fn a_put_has_the_bytes_that_etcd_writes() {
    let put = api::PutRequest { prev_kv: true, ..api::PutRequest::of("k", "v") };
    let data = encode(5, &Request::Put(put)).unwrap();
    let expect = [0x22, 8, 0x0a, 1, b'k', 0x12, 1, b'v', 0x20, 1, 0xa2, 0x06, 2, 0x08, 5];
    assert_eq!(&data[..], &expect[..]);
}

#[test]
fn random_and_damaged_bytes_never_panic() {
    let mut dice = Dice(2);
    for _ in 0..5000 {
        let length = dice.below(60);
        let noise: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
        let _ = decode(&noise.into());
        let mut damaged = encode(7, &request(&mut dice)).unwrap().to_vec();
        let at = dice.below(damaged.len() as u64) as usize;
        damaged[at] ^= 1 << dice.below(8);
        let _ = decode(&damaged.into());
    }
}

#[test]
fn nesting_is_bounded_both_ways() {
    let nest = |levels: usize| {
        let mut txn = api::TxnRequest { compare: vec![], success: vec![], failure: vec![] };
        for _ in 1..levels {
            let inner = api::RequestOp::Txn(Box::new(txn));
            txn = api::TxnRequest { compare: vec![], success: vec![inner], failure: vec![] };
        }
        txn
    };
    let deepest = Request::Txn(nest(TXN_DEPTH_MAX));
    let data = encode(1, &deepest).unwrap();
    assert_eq!(decoded(&data), Ok((1, deepest)));
    assert_eq!(encode(1, &Request::Txn(nest(TXN_DEPTH_MAX + 1))), None);
    for levels in [TXN_DEPTH_MAX + 1, 45, 200] {
        let message = InternalRaftRequest { txn: Some((&nest(levels)).into()), ..Default::default() };
        assert!(decode(&message.encode_to_vec().into()).is_err(), "{levels} levels");
    }
}

#[test]
fn what_etcd_treats_alike_is_equal_and_what_it_refuses_is_refused() {
    let parse = |range| {
        let message = InternalRaftRequest { range: Some(range), ..Default::default() };
        decoded(&message.encode_to_vec().into())
    };
    let plain = RangeRequest { key: "a".into(), ..Default::default() };
    let expect = Ok((0, Request::Range(api::RangeRequest::of(KeyRange::single("a")))));
    assert_eq!(parse(plain.clone()), expect);
    assert_eq!(parse(RangeRequest { limit: -3, ..plain.clone() }), expect);
    assert!(parse(RangeRequest { sort_order: 3, ..plain.clone() }).is_err());
    assert!(parse(RangeRequest { sort_target: 5, ..plain }).is_err());
    assert!(parse(RangeRequest::default()).is_err(), "empty key");
    assert!(decode(&Bytes::new()).is_err(), "no operation");
}

#[test]
fn membership_does_not_travel_as_a_normal_entry() {
    assert_eq!(encode(1, &Request::Status), None);
    assert_eq!(encode(1, &Request::HashKv { revision: 0 }), None);
}

#[test]
fn every_command_that_an_etcd_may_have_written_is_known() {
    use super::message::auth::{AuthRoleName, AuthUserAddRequest, Empty};
    use super::message::lease;
    let decoded = |message: InternalRaftRequest| decode(&message.encode_to_vec().into()).map(|entry| entry.command);
    let empty = InternalRaftRequest::default;
    let set = ClusterVersionSetRequest { ver: "3.6.0".into() };
    let attributes = ClusterMemberAttrSetRequest { member_id: 7, member_attributes: None };
    let downgrade = DowngradeInfoSetRequest { enabled: true, ver: "3.5".into() };
    let user = AuthUserAddRequest { name: "u".into(), ..Default::default() };
    let role = AuthRoleName { role: "r".into() };
    let checkpoints = vec![lease::LeaseCheckpoint { id: 3, remaining_ttl: 5 }];
    let alarm = message::alarm::AlarmRequest { action: 1, member_id: 9, alarm: 2 };
    let corrupt = api::AlarmRequest {
        action: api::AlarmAction::Activate,
        member: crate::MemberId(9),
        alarm: Some(api::Alarm::Corrupt),
    };
    for (message, command) in [
        (
            InternalRaftRequest { lease_grant: Some(lease::LeaseGrantRequest { ttl: 9, id: 3 }), ..empty() },
            Command::Request(Request::LeaseGrant(LeaseGrantRequest { id: 3, ttl: 9 })),
        ),
        (
            InternalRaftRequest { lease_revoke: Some(lease::LeaseRevokeRequest { id: -3 }), ..empty() },
            Command::Request(Request::LeaseRevoke { id: -3 }),
        ),
        (
            InternalRaftRequest { lease_checkpoint: Some(lease::LeaseCheckpointRequest { checkpoints }), ..empty() },
            Command::LeaseCheckpoint(vec![LeaseCheckpoint { id: 3, remaining_ttl: 5 }]),
        ),
        (InternalRaftRequest { alarm: Some(alarm), ..empty() }, Command::Request(Request::Alarm(corrupt))),
        (InternalRaftRequest { auth_enable: Some(Empty {}), ..empty() }, Command::Auth(AuthCommand::Enable)),
        (
            InternalRaftRequest { auth_user_add: Some(Box::new(user.clone())), ..empty() },
            Command::Auth(AuthCommand::UserAdd(user)),
        ),
        (
            InternalRaftRequest { auth_role_delete: Some(Box::new(role.clone())), ..empty() },
            Command::Auth(AuthCommand::RoleDelete(role)),
        ),
        (
            InternalRaftRequest { cluster_version_set: Some(Box::new(set.clone())), ..empty() },
            Command::ClusterVersionSet(set),
        ),
        (
            InternalRaftRequest { cluster_member_attr_set: Some(Box::new(attributes.clone())), ..empty() },
            Command::ClusterMemberAttrSet(attributes),
        ),
        (
            InternalRaftRequest { downgrade_info_set: Some(Box::new(downgrade.clone())), ..empty() },
            Command::DowngradeInfoSet(downgrade),
        ),
    ] {
        assert_eq!(decoded(message), Ok(command));
    }
}

#[test]
fn requests_of_the_old_api_are_found_in_both_places() {
    let old = message::entry::Request {
        id: 5,
        method: "PUT".into(),
        path: "/0/version".into(),
        val: "3.5.0".into(),
        ..Default::default()
    };
    let expect = Ok(Entry { id: 5, username: String::new(), auth_revision: 0, command: Command::Old(old.clone()) });
    assert_eq!(decode(&old.encode_to_vec().into()), expect);
    let inside = InternalRaftRequest { v2: Some(Box::new(old)), ..Default::default() };
    assert_eq!(decode(&inside.encode_to_vec().into()), expect);
}

#[test]
fn a_header_says_who_asks() {
    let header = RequestHeader { id: 4, username: "root".into(), auth_revision: 8 };
    let auth_disable = Some(message::auth::Empty {});
    let message = InternalRaftRequest { header: Some(header), auth_disable, ..Default::default() };
    let entry = decode(&message.encode_to_vec().into()).expect("sound");
    assert_eq!((entry.id, &entry.username[..], entry.auth_revision), (4, "root", 8));
}
