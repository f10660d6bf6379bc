//! What a real etcd 3.5.1 wrote, entry by entry and bucket by bucket, for a handful of `etcdctl` commands.

use super::*;
use crate::mvcc::Bucket;
use crate::wire::{self, AuthCommand, Command};

/// The data of the entries: `user add root:rootpw`, `user add alice:alicepw`, `user add cert --no-password`,
/// `role add r1`, `role grant-permission r1 readwrite a c`, `… read --from-key x`, `… write k`,
/// `user grant-role alice r1`, `user grant-role root root`, `role add root`, `auth enable`, and an authentication.
const ENTRIES: [&[u8]; 12] = [
    b"\xa2\x06\x0b\x08\x85\xec\xae\x8e\xa2\xc2\xe8\xf3\xce\x01\xe2DZ\n\x04root\x1a\x00\"PJDJhJDA0JDV\
      Hc1QyZVNvWGhIYlE5LjJwSk12OHV4SWlXWHk4UC5UWUQ5T1Q4bW13Vy9zRi53MTcvMGEy",
    b"\xa2\x06\x0b\x08\x86\xec\xae\x8e\xa2\xc2\xe8\xf3\xce\x01\xe2D[\n\x05alice\x1a\x00\"PJDJhJDA0JD\
      d6dEpmdGdFRDA2Y3I3NlhaWWJFS2V3LmdONElEbC5pWDJ2YXZXRTdSMHN6N09DLjBVNkdH",
    b"\xa2\x06\x0b\x08\x87\xec\xae\x8e\xa2\xc2\xe8\xf3\xce\x01\xe2D\n\n\x04cert\x1a\x02\x08\x01",
    b"\xa2\x06\x0b\x08\x88\xec\xae\x8e\xa2\xc2\xe8\xf3\xce\x01\x82K\x04\n\x02r1",
    b"\xa2\x06\x0b\x08\x89\xec\xae\x8e\xa2\xc2\xe8\xf3\xce\x01\x9aK\x0e\n\x02r1\x12\x08\x08\x02\x12\x01a\x1a\x01c",
    b"\xa2\x06\x0b\x08\x8a\xec\xae\x8e\xa2\xc2\xe8\xf3\xce\x01\x9aK\x0c\n\x02r1\x12\x06\x12\x01x\x1a\x01\x00",
    b"\xa2\x06\x0b\x08\x8b\xec\xae\x8e\xa2\xc2\xe8\xf3\xce\x01\x9aK\x0b\n\x02r1\x12\x05\x08\x01\x12\x01k",
    b"\xa2\x06\x0b\x08\x8c\xec\xae\x8e\xa2\xc2\xe8\xf3\xce\x01\x82E\x0b\n\x05alice\x12\x02r1",
    b"\xa2\x06\x0b\x08\x8d\xec\xae\x8e\xa2\xc2\xe8\xf3\xce\x01\x82E\x0c\n\x04root\x12\x04root",
    b"\xa2\x06\x0b\x08\x8e\xec\xae\x8e\xa2\xc2\xe8\xf3\xce\x01\x82K\x06\n\x04root",
    b"\xa2\x06\x0b\x08\x8f\xec\xae\x8e\xa2\xc2\xe8\xf3\xce\x01\xc2>\x00",
    b"\xa2\x06\x0b\x08\x94\xec\xae\x8e\xa2\xc2\xe8\xf3\xce\x01\xa2?\x19\n\x05alice\x1a\x10spRWAfwwBdDUzDbb",
];

/// What was in its database afterwards.
const BUCKETS: [(Bucket, &str, &[u8]); 7] = [
    (Bucket::Auth, "authEnabled", b"\x01"),
    (Bucket::Auth, "authRevision", b"\0\0\0\0\0\0\0\x0b"),
    (
        Bucket::AuthRoles,
        "r1",
        b"\n\x02r1\x12\x08\x08\x02\x12\x01a\x1a\x01c\x12\x05\x08\x01\x12\x01k\x12\x06\x12\x01x\x1a\x01\x00",
    ),
    (Bucket::AuthRoles, "root", b"\n\x04root"),
    (
        Bucket::AuthUsers,
        "alice",
        b"\n\x05alice\x12<$2a$04$7ztJftgED06cr76XZYbEKew.gN4IDl.iX2vavWE7R0sz7OC.0U6GG\x1a\x02r1\"\x00",
    ),
    (Bucket::AuthUsers, "cert", b"\n\x04cert\"\x02\x08\x01"),
    (
        Bucket::AuthUsers,
        "root",
        b"\n\x04root\x12<$2a$04$5GsT2eSoXhHbQ9.2pJMv8uxIiWXy8P.TYD9OT8mmwW/sF.w17/0a2\x1a\x04root\"\x00",
    ),
];

fn command(data: &'static [u8]) -> (wire::Entry, AuthCommand) {
    let entry = wire::decode(&Bytes::from_static(data)).unwrap();
    match entry.command.clone() {
        Command::Auth(command) => (entry, command),
        other => panic!("no auth command: {other:?}"),
    }
}

#[test]
fn its_entries_make_its_buckets() {
    let mut world = World::new();
    for data in ENTRIES {
        let (_, command) = command(data);
        let done = world.store.apply(&mut world.backend, world.now, 18, command);
        assert!(done.is_ok(), "{done:?}");
    }
    for (bucket, key, expect) in BUCKETS {
        assert_eq!(world.backend.get(bucket, key.as_bytes()).as_deref(), Some(expect), "{bucket:?} {key}");
    }
    assert_eq!(world.whose("spRWAfwwBdDUzDbb.18"), Ok(Some("alice".into())));
    for (name, password, good) in [("root", "rootpw", true), ("alice", "alicepw", true), ("alice", "rootpw", false)] {
        assert_eq!(world.store.check_password(&world.backend, name, password).is_ok(), good, "{name} {password}");
    }
    let may = |key: &'static str, end: crate::api::RangeEnd| {
        let range = crate::api::KeyRange { start: Bytes::from_static(key.as_bytes()), end };
        world.store.may_range(&world.backend, &world.who("alice"), &crate::api::RangeRequest::of(range))
    };
    assert_eq!(may("z", crate::api::RangeEnd::Single), Ok(()));
    assert_eq!(may("x", crate::api::RangeEnd::Open), Ok(()));
    assert_eq!(may("d", crate::api::RangeEnd::Single), Err(Error::PermissionDenied));
    assert_eq!(may("k", crate::api::RangeEnd::Single), Err(Error::PermissionDenied));
}

#[test]
fn its_buckets_are_a_store_of_ours() {
    let mut backend = Backend::create(Bugs::NONE);
    for (bucket, key, value) in BUCKETS {
        backend.put(bucket, Bytes::from_static(key.as_bytes()), Bytes::from_static(value));
    }
    let store = AuthStore::boot(&AuthConfig::default(), Bugs::NONE, Monotonic::default(), &mut backend).unwrap();
    assert_eq!((store.is_enabled(), store.revision()), (true, 11));
    assert!(store.permissions.allow("alice", permission::Access::Write, b"b", b"c"));
}

#[test]
fn our_entries_are_its_entries() {
    for data in ENTRIES {
        let (entry, command) = command(data);
        let header = wire::header(entry.id, &entry.username, entry.auth_revision);
        let ours = prost::Message::encode_to_vec(&wire::auth_message(header, command));
        assert_eq!(ours, data, "{entry:?}");
    }
}
