//! P1 and P3, for one `db` file: it is a sound bbolt file, and holds what the log up to its consistent index leads to.
//!
//! Of a compaction only the schedule is a function of the log: it may be at any stage. So versions that it removes may
//! still be there until the file says that it is finished, and everything else must be.

use std::collections::BTreeMap;

use bytes::Bytes;
use detcd_replica::api::{Alarm, AlarmMember};
use detcd_replica::{MemberId, Rope};
use prost::Message;
use serde_json::Value;

use super::reference::{Fold, Reference, Version};
use crate::storage::auth::{StoredRole, StoredUser};
use crate::storage::db::Db;
use crate::storage::entry::{StoredAlarm, StoredKeyValue, StoredLease};
use crate::storage::member::{Downgrade, Member};
use crate::storage::Damage;

/// What is wrong with a database.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// It is no sound bbolt file.
    Pages(Damage),
    /// It does not hold what it should: which, and the facts.
    Content(String, Vec<String>),
    /// Nor does it say of users and roles what it should.
    Auth(String, Vec<String>),
    /// Nor of the cluster.
    Cluster(String, Vec<String>),
}

fn content(reason: impl Into<String>) -> Fault {
    Fault::Content(reason.into(), Vec::new())
}

/// The pairs of a small bucket.
type Pairs = BTreeMap<Bytes, Bytes>;

/// What a file holds, once its pages were found sound.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// The pairs of `key`, in order.
    keys: Vec<(Bytes, Bytes)>,
    /// Every other bucket.
    others: BTreeMap<Bytes, Pairs>,
    /// The index that it is the result of; 0 when it says nothing.
    pub(super) consistent_index: u64,
}

impl Content {
    /// Reads a file whole, and checks its pages on the way.
    pub(super) fn read(file: &Rope) -> Result<Self, Fault> {
        let db = Db::open(file).map_err(Fault::Pages)?;
        let mut found = Self::default();
        let mut last: Option<(Bytes, Pairs)> = None;
        let walked = db.walk(&mut |bucket, pair| {
            if bucket == &b"key"[..] {
                found.keys.extend(pair);
                return;
            }
            if last.as_ref().is_none_or(|(name, _)| name != bucket) {
                found.others.extend(last.replace((bucket.clone(), Pairs::new())));
            }
            if let Some((_, pairs)) = &mut last {
                pairs.extend(pair);
            }
        });
        walked.map_err(Fault::Pages)?;
        found.others.extend(last);
        found.consistent_index = found.meta_number("consistent_index")?;
        Ok(found)
    }

    fn other(&self, bucket: &str) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.others.get(bucket.as_bytes()).into_iter().flatten()
    }

    fn meta(&self, key: &str) -> Option<&Bytes> {
        self.others.get(&b"meta"[..])?.get(key.as_bytes())
    }

    fn meta_number(&self, key: &str) -> Result<u64, Fault> {
        let Some(value) = self.meta(key) else { return Ok(0) };
        let number = <[u8; 8]>::try_from(&value[..]).map(u64::from_be_bytes);
        number.map_err(|_| content(format!("{key} is not 8 bytes long")))
    }

    /// A revision of the meta bucket; -1 when it is not there.
    fn meta_revision(&self, key: &str) -> Result<i64, Fault> {
        let Some(value) = self.meta(key) else { return Ok(-1) };
        let revision = revision_key(value).filter(|(_, _, tombstone)| !tombstone);
        revision.map(|(main, ..)| main).ok_or_else(|| content(format!("{key} is not a revision")))
    }

    /// Compares everything with the reference at its consistent index.
    pub(super) fn compare(&self, reference: &mut Reference, needed: &[u64], founders: u64) -> Result<(), Fault> {
        let index = self.consistent_index;
        let term = reference.term(index).unwrap_or(0);
        let fold = reference.at(index, needed).map_err(|(at, reason)| content(format!("entry {at}: {reason}")))?;
        if self.meta_number("term")? != term {
            let found = self.meta_number("term")?;
            return Err(content(format!(
                "it says that index {index} is of term {found}; that entry is of term {term}"
            )));
        }
        self.compare_keys(fold)?;
        self.compare_leases(fold)?;
        self.compare_alarms(fold)?;
        self.compare_auth(fold)?;
        self.compare_members(fold, founders)
    }

    fn compare_keys(&self, fold: &Fold) -> Result<(), Fault> {
        let scheduled = self.meta_revision("scheduledCompactRev")?;
        let finished = self.meta_revision("finishedCompactRev")?;
        if scheduled != fold.compact_revision {
            let should = fold.compact_revision;
            return Err(content(format!("its scheduled compaction is at revision {scheduled}, not at {should}")));
        }
        if finished > scheduled {
            let reason = format!("its finished compaction is at {finished}, above the scheduled one at {scheduled}");
            return Err(content(reason));
        }
        // In the order of the bucket, which is that of revisions.
        let mut written: Vec<(&Bytes, &Version)> = fold.all().collect();
        written.sort_unstable_by_key(|(_, version)| (version.record.mod_revision, version.sub));
        let mut written = written.into_iter().peekable();
        let mut met = 0;
        for (key, value) in &self.keys {
            let wrong = |reason: &str| content(format!("bucket key, {}: {reason}", key.escape_ascii()));
            let (main, sub, tombstone) = revision_key(key).ok_or_else(|| wrong("it is not a revision"))?;
            let found = StoredKeyValue::decode(value.clone()).map_err(|_| wrong("its value is not a KeyValue"))?;
            let place = |version: &Version| (version.record.mod_revision, version.sub);
            while written.next_if(|(_, version)| place(version) < (main, sub)).is_some() {}
            let next = written.peek().filter(|(_, version)| place(version) == (main, sub));
            let Some((of, version)) = next else {
                if main <= scheduled && finished < scheduled {
                    continue;
                }
                let reason = match main <= scheduled {
                    true => format!("revision {main}.{sub} was not removed by the finished compaction at {finished}"),
                    false => format!("revision {main}.{sub} is not in the log up to its consistent index"),
                };
                return Err(Fault::Content(reason, vec![format!("key {}", found.key.escape_ascii())]));
            };
            met += 1;
            let record = &version.record;
            let should = StoredKeyValue {
                key: (*of).clone(),
                create_revision: record.create_revision,
                mod_revision: if record.is_tombstone() { 0 } else { main },
                version: record.version,
                value: record.value.clone(),
                lease: record.lease,
            };
            if tombstone != record.is_tombstone() || found != should {
                let reason = format!("revision {main}.{sub} holds something else than was written");
                return Err(Fault::Content(reason, vec![shown("it holds", &found), shown("written", &should)]));
            }
        }
        if met == fold.versions() {
            return Ok(());
        }
        let there: std::collections::BTreeSet<_> = self.keys.iter().filter_map(|(key, _)| revision_key(key)).collect();
        let missing = fold.all().filter_map(|(key, version)| {
            let place = (version.record.mod_revision, version.sub, version.record.is_tombstone());
            (!there.contains(&place)).then_some((place, key))
        });
        let details =
            missing.min().map(|((main, sub, _), key)| format!("first: {main}.{sub} of key {}", key.escape_ascii()));
        let lost = fold.versions() - met;
        Err(Fault::Content(format!("{lost} revisions are missing"), details.into_iter().collect()))
    }

    /// A member raises short times to live to its minimum, which is the same for all; and it may keep checkpoints, or
    /// not.
    fn compare_leases(&self, fold: &Fold) -> Result<(), Fault> {
        let mut found = BTreeMap::new();
        for (key, value) in self.other("lease") {
            let wrong = |reason: &str| content(format!("bucket lease, {}: {reason}", key.escape_ascii()));
            let id = key.first_chunk().copied().map(i64::from_be_bytes).filter(|_| key.len() == 8);
            let lease = StoredLease::decode(value.clone()).map_err(|_| wrong("its value is not a Lease"))?;
            if id != Some(lease.id) {
                return Err(wrong(&format!("it holds lease {:x}", lease.id)));
            }
            found.insert(lease.id, lease);
        }
        let least = found.values().map(|lease| lease.ttl).min().unwrap_or(0);
        let differs = fold.leases.iter().find(|(id, should)| {
            found.get(id).is_none_or(|lease| {
                let ttl = lease.ttl == should.ttl || (should.ttl < lease.ttl && lease.ttl == least);
                !ttl || (lease.remaining != 0 && lease.remaining != should.remaining)
            })
        });
        if let Some((id, should)) = differs {
            let facts = vec![format!("it holds: {:?}", found.get(id)), format!("the log says: {should:?}")];
            return Err(Fault::Content(format!("lease {id:x} is not that of the log"), facts));
        }
        match found.keys().find(|id| !fold.leases.contains_key(id)) {
            Some(id) => Err(content(format!("lease {id:x} is not in the log, or was revoked"))),
            None => Ok(()),
        }
    }

    fn compare_alarms(&self, fold: &Fold) -> Result<(), Fault> {
        let mut found = std::collections::BTreeSet::new();
        for (key, _) in self.other("alarm") {
            let stored = StoredAlarm::decode(key.clone()).ok();
            let alarm = stored.and_then(|stored| {
                let alarm = match stored.alarm {
                    1 => Alarm::NoSpace,
                    2 => Alarm::Corrupt,
                    _ => return None,
                };
                Some(AlarmMember { alarm, member: MemberId(stored.member) })
            });
            found.insert(alarm.ok_or_else(|| content(format!("bucket alarm: {} is no alarm", key.escape_ascii())))?);
        }
        if found == fold.alarms {
            return Ok(());
        }
        let facts = vec![format!("it holds: {found:?}"), format!("the log says: {:?}", fold.alarms)];
        Err(Fault::Content("its alarms are not those of the log".to_owned(), facts))
    }

    fn compare_auth(&self, fold: &Fold) -> Result<(), Fault> {
        let pair = |key: &str| self.others.get(&b"auth"[..]).and_then(|pairs| pairs.get(key.as_bytes()));
        let revision = match pair("authRevision").map(|value| <[u8; 8]>::try_from(&value[..])) {
            // A store that nobody has opened yet says nothing.
            None => 1,
            Some(Ok(bytes)) => u64::from_be_bytes(bytes),
            Some(Err(_)) => return Err(content("authRevision is not 8 bytes long")),
        };
        let enabled = pair("authEnabled").is_some_and(|value| value[..] == [1]);
        let should = &fold.auth;
        if (enabled, revision) != (should.enabled, should.revision) {
            let words = |on: bool, revision: u64| format!("{} at revision {revision}", if on { "on" } else { "off" });
            let facts =
                vec![words(enabled, revision), format!("should be: {}", words(should.enabled, should.revision))];
            return Err(Fault::Auth("auth is not as in the log".to_owned(), facts));
        }
        let mut users = 0;
        for (name, value) in self.other("authUsers") {
            let wrong = |reason: &str| content(format!("user {}: {reason}", name.escape_ascii()));
            let found = StoredUser::decode(value.clone()).map_err(|_| wrong("its value is not a User"))?;
            let user = should.users.get(&found.name).filter(|_| found.name.as_bytes() == &name[..]);
            let user = user.ok_or_else(|| wrong("it is not in the log, or was deleted"))?;
            let alike = found.roles.iter().eq(&user.roles)
                && found.options.is_some_and(|options| options.no_password) == user.no_password
                && user.password.as_ref().is_none_or(|password| *password == found.password);
            if !alike {
                let facts = vec![format!("it has roles {:?}", found.roles), format!("the log says: {:?}", user.roles)];
                return Err(Fault::Auth(format!("user {} is not as in the log", found.name), facts));
            }
            users += 1;
        }
        let mut roles = 0;
        for (name, value) in self.other("authRoles") {
            let wrong = |reason: &str| content(format!("role {}: {reason}", name.escape_ascii()));
            let found = StoredRole::decode(value.clone()).map_err(|_| wrong("its value is not a Role"))?;
            let role = should.roles.get(&found.name).filter(|_| found.name.as_bytes() == &name[..]);
            let role = role.ok_or_else(|| wrong("it is not in the log, or was deleted"))?;
            if found.permissions != *role {
                let facts = vec![format!("it has {:?}", found.permissions), format!("the log says: {role:?}")];
                return Err(Fault::Auth(format!("role {} is not as in the log", found.name), facts));
            }
            roles += 1;
        }
        if (users, roles) == (should.users.len(), should.roles.len()) {
            return Ok(());
        }
        let (all_users, all_roles) = (should.users.len(), should.roles.len());
        Err(content(format!("it has {users} of {all_users} users and {roles} of {all_roles} roles")))
    }

    fn compare_members(&self, fold: &Fold, founders: u64) -> Result<(), Fault> {
        let mut present = BTreeMap::new();
        for (key, value) in self.other("members") {
            let id = member_id(key)?;
            let wrong = |error| content(format!("bucket members, {}: {error}", key.escape_ascii()));
            present.insert(id, Member::parse(value).map_err(wrong)?);
        }
        let removed: std::collections::BTreeSet<u64> =
            self.other("members_removed").map(|(key, _)| member_id(key)).collect::<Result<_, _>>()?;
        let should = &fold.members;
        let alike = present.len() == should.present.len()
            && present.iter().all(|(id, member)| should.present.get(id).is_some_and(|should| should.is(member)));
        if !alike || removed != should.removed {
            let facts = vec![
                format!("it holds: {:?}, removed {removed:x?}", present.values()),
                format!("the log says: {:?}, removed {:x?}", should.present.values(), should.removed),
            ];
            return Err(Fault::Cluster("its members are not those of the log".to_owned(), facts));
        }
        self.compare_cluster(fold)?;
        // Before all founders are applied Raft already counts with them.
        let Some(json) = self.meta("confState").filter(|_| fold.index >= founders) else { return Ok(()) };
        let json: Value = serde_json::from_slice(json).map_err(|error| content(format!("confState: {error}")))?;
        let ids = |name: &str| -> Vec<u64> {
            let mut ids: Vec<u64> = json[name].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
            ids.sort_unstable();
            ids
        };
        let (voters, learners) = (ids("voters"), ids("learners"));
        if (&voters, &learners) != (&should.ids(false), &should.ids(true)) {
            return Err(content(format!("its confState has voters {voters:x?} and learners {learners:x?}")));
        }
        Ok(())
    }

    fn compare_cluster(&self, fold: &Fold) -> Result<(), Fault> {
        let pair = |key: &str| self.others.get(&b"cluster"[..]).and_then(|pairs| pairs.get(key.as_bytes()));
        let version = pair("clusterVersion").map(|value| String::from_utf8_lossy(value).into_owned());
        if version != fold.members.version {
            let should = &fold.members.version;
            return Err(content(format!("its cluster version is {version:?}, not {should:?}")));
        }
        let downgrade: Option<Downgrade> = match pair("downgrade") {
            Some(json) => serde_json::from_slice(json).map_err(|error| content(format!("downgrade: {error}")))?,
            None => None,
        };
        if downgrade != fold.members.downgrade {
            let should = &fold.members.downgrade;
            return Err(content(format!("its downgrade is {downgrade:?}, not {should:?}")));
        }
        Ok(())
    }
}

fn shown(what: &str, kv: &StoredKeyValue) -> String {
    let StoredKeyValue { key, create_revision, mod_revision, version, value, lease } = kv;
    let (key, length) = (key.escape_ascii(), value.len());
    let history = format!("created {create_revision}, modified {mod_revision}, version {version}");
    format!("{what}: {key} {history}, lease {lease:x}, {length} bytes")
}

/// A key of the `members` bucket: an id in hex.
fn member_id(key: &[u8]) -> Result<u64, Fault> {
    let text = std::str::from_utf8(key).ok();
    let id = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    id.ok_or_else(|| content(format!("bucket members: {} is no member", key.escape_ascii())))
}

/// A key of the `key` bucket: main, sub, and whether it is a tombstone.
fn revision_key(bytes: &[u8]) -> Option<(i64, i64, bool)> {
    let tombstone = match bytes.len() {
        17 => false,
        18 if bytes[17] == b't' => true,
        _ => return None,
    };
    let number = |at: usize| bytes[at..].first_chunk().copied().map(i64::from_be_bytes);
    let (main, sub) = (number(0)?, number(9)?);
    (bytes[8] == b'_' && main >= 0 && sub >= 0).then_some((main, sub, tombstone))
}
