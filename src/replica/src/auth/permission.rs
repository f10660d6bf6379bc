//! Which keys a user may read and write: the permissions of its roles, merged (`rangePermCache`).
//!
//! A request for several keys is permitted when the user's ranges *together* cover it; holes of keys that nobody has
//! written count as holes.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::mvcc::Batch;
use crate::wire::message::auth::Permission;

use super::{proto::User, table};

/// What a permission allows; also what a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Look at keys.
    Read,
    /// Put and delete keys.
    Write,
}

/// The merged permissions of every user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Permissions(BTreeMap<Bytes, OfUser>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct OfUser {
    read: Ranges,
    write: Ranges,
}

impl Permissions {
    /// What the roles in the backend give to each user. Roles that a user has and nobody has made give nothing.
    pub(super) fn of(batch: &impl Batch) -> Self {
        Self(table::users(batch).into_iter().map(|user| (user.name.clone(), of_user(batch, &user))).collect())
    }

    /// Whether the user may do it. `range_end` is etcd's: empty for one key, `\0` for all from `key` on.
    pub(super) fn allow(&self, user: &str, access: Access, key: &[u8], range_end: &[u8]) -> bool {
        let Some(of_user) = self.0.get(user.as_bytes()) else { return false };
        let ranges = match access {
            Access::Read => &of_user.read,
            Access::Write => &of_user.write,
        };
        ranges.cover(key, range_end)
    }
}

fn of_user(batch: &impl Batch, user: &User) -> OfUser {
    let mut of_user = OfUser::default();
    for role in user.roles.iter().filter_map(|role| table::role(batch, role)) {
        for permission in &role.key_permission {
            // authpb: read 0, write 1, both 2.
            if matches!(permission.perm_type, 0 | 2) {
                of_user.read.add(permission);
            }
            if matches!(permission.perm_type, 1 | 2) {
                of_user.write.add(permission);
            }
        }
    }
    of_user
}

/// Disjoint ranges that do not touch, by their first key, with the key where each ends; `None` is the end of all keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Ranges(BTreeMap<Bytes, Option<Bytes>>);

impl Ranges {
    fn add(&mut self, permission: &Permission) {
        let (mut begin, mut end) = (permission.key.clone(), end_of(&permission.key, &permission.range_end));
        // Of the ranges that begin before the new one, only the last can reach it: they are disjoint.
        if let Some((first, last)) = self.0.range::<Bytes, _>(..=&begin).next_back() {
            if last.as_ref().is_none_or(|last| *last >= begin) {
                (begin, end) = (first.clone(), later(last.clone(), end));
            }
        }
        let begins_inside = |range: &Bytes| end.as_ref().is_none_or(|end| range <= end);
        let swallowed: Vec<Bytes> =
            self.0.range(begin.clone()..).map(|(first, _)| first.clone()).take_while(begins_inside).collect();
        for first in swallowed {
            end = later(self.0.remove(&first).expect("it was listed a moment ago"), end);
        }
        self.0.insert(begin, end);
    }

    fn cover(&self, key: &[u8], range_end: &[u8]) -> bool {
        let to = (Bound::Unbounded, Bound::Included(key));
        let Some((_, last)) = self.0.range::<[u8], _>(to).next_back() else { return false };
        // etcd asks only for the first key of a range that ends before it begins.
        match (last, end_of(key, range_end)) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(last), Some(end)) => key < last && end <= *last,
        }
    }
}

/// The first key that is not in the range.
fn end_of(key: &[u8], range_end: &[u8]) -> Option<Bytes> {
    match range_end {
        [] => Some([key, b"\0"].concat().into()),
        [0] => None,
        end => Some(Bytes::copy_from_slice(end)),
    }
}

fn later(one: Option<Bytes>, other: Option<Bytes>) -> Option<Bytes> {
    Some(one?.max(other?))
}

/// Whether a permission can be for such a range: a key, and an end above it.
pub(super) fn is_valid(key: &[u8], range_end: &[u8]) -> bool {
    !key.is_empty() && (range_end.is_empty() || key < range_end || range_end == b"\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(list: &[(&str, &str)]) -> Ranges {
        let mut ranges = Ranges::default();
        for (key, end) in list {
            let permission = Permission {
                perm_type: 0,
                key: Bytes::copy_from_slice(key.as_bytes()),
                range_end: Bytes::copy_from_slice(end.as_bytes()),
            };
            ranges.add(&permission);
        }
        ranges
    }

    #[test]
    fn ranges_cover_what_they_cover_together() {
        // What is given; what is asked for; whether it is permitted.
        for (given, key, end, expect) in [
            (&[][..], "a", "", false),
            (&[("a", "")], "a", "", true),
            (&[("a", "")], "a", "b", false),
            (&[("a", "")], "a", "a\0", true),
            (&[("a", "c")], "b", "", true),
            (&[("a", "c")], "c", "", false),
            (&[("a", "c")], "a", "\0", false),
            (&[("a", "b"), ("b", "c")], "a", "c", true),
            (&[("b", "c"), ("a", "b")], "aa", "bb", true),
            (&[("a", "b"), ("c", "d")], "a", "d", false),
            (&[("a", "b"), ("c", "d"), ("b", "c")], "a", "d", true),
            (&[("c", "\0")], "d", "\0", true),
            (&[("c", "\0")], "b", "\0", false),
            (&[("\0", "\0")], "\0", "\0", true),
            (&[("a", "z"), ("b", "c")], "x", "y", true),
            (&[("b", "c"), ("d", "e"), ("a", "\0")], "f", "\0", true),
            (&[("a", "c")], "b", "a", true),
            (&[("a", "c")], "d", "a", false),
        ] {
            assert_eq!(ranges(given).cover(key.as_bytes(), end.as_bytes()), expect, "{given:?} {key:?} {end:?}");
        }
    }

    /// The same by trying each key that could make a difference.
    fn naive(given: &[(String, String)], key: &str, end: &str, all: &[String]) -> bool {
        let inside = |probe: &str, key: &str, end: &str| match end {
            "" => probe == key,
            "\0" => probe >= key,
            end => probe >= key && probe < end,
        };
        let allowed = |probe: &str| given.iter().any(|(key, end)| inside(probe, key, end));
        let unbounded = given.iter().any(|(_, end)| end == "\0");
        allowed(key)
            && all.iter().filter(|probe| inside(probe, key, end)).all(|probe| allowed(probe))
            && (end != "\0" || unbounded)
    }

    #[test]
    fn merged_ranges_equal_the_permissions_one_by_one() {
        let mut state = 7_u64;
        let mut below = |n: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % n
        };
        let keys: Vec<String> = ["a", "b", "c", "d", "e"]
            .into_iter()
            .flat_map(|key| [key.to_owned(), format!("{key}\0"), format!("{key}m")])
            .collect();
        // Every other key behaves as the last of these before it.
        let probes: Vec<String> = keys.iter().flat_map(|key| [key.clone(), format!("{key}\0")]).collect();
        for round in 0..3000 {
            let pick = |below: &mut dyn FnMut(u64) -> u64| keys[below(keys.len() as u64) as usize].clone();
            let range = |below: &mut dyn FnMut(u64) -> u64| {
                let key = pick(below);
                let end = match below(4) {
                    0 => String::new(),
                    1 if below(4) == 0 => "\0".to_owned(),
                    _ => pick(below),
                };
                (key, end)
            };
            let mut given = Vec::new();
            for _ in 0..below(6) {
                let (key, end) = range(&mut below);
                if is_valid(key.as_bytes(), end.as_bytes()) {
                    given.push((key, end));
                }
            }
            let borrowed: Vec<(&str, &str)> = given.iter().map(|(key, end)| (key.as_str(), end.as_str())).collect();
            let merged = ranges(&borrowed);
            for _ in 0..20 {
                let (key, end) = range(&mut below);
                let expect = naive(&given, &key, &end, &probes);
                assert_eq!(merged.cover(key.as_bytes(), end.as_bytes()), expect, "{round}: {given:?} {key:?} {end:?}");
            }
        }
    }

    #[test]
    fn a_permission_is_for_a_key_or_a_range_that_is_not_empty() {
        for (key, end, expect) in [
            ("", "", false),
            ("a", "", true),
            ("a", "b", true),
            ("b", "a", false),
            ("a", "a", false),
            ("a", "\0", true),
        ] {
            assert_eq!(is_valid(key.as_bytes(), end.as_bytes()), expect, "{key:?} {end:?}");
        }
    }
}
