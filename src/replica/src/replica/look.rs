//! A look into a member from outside, for tools that open its data dir: nobody asks, so nobody's rights are checked.

use bytes::Bytes;

use crate::api::{Alarm, Error, Header, KeyRange, KeyValue, Member, RangeRequest, Revision, WatchEvent};
use crate::mvcc::{for_each_event, Bucket, RangeResult};

use super::Replica;
use crate::wire::rpc::Condition;
use crate::{MemberId, Timeline};

impl Replica {
    /// Reads keys as a serializable range does.
    ///
    /// # Errors
    /// As those of the range.
    pub fn look(&self, request: &RangeRequest) -> Result<RangeResult, Error> {
        self.store.range(&self.backend, request)
    }

    /// HashKV at a revision (0: the newest), and the compaction revision it was taken at.
    ///
    /// # Errors
    /// The revision is compacted, or does not exist yet.
    pub fn look_hash(&self, revision: Revision) -> Result<(u32, Revision), Error> {
        self.store.hash_kv(&self.backend, revision)
    }

    /// The members that it knows of, whatever the cluster has decided meanwhile.
    pub fn look_members(&self) -> Vec<Member> {
        self.membership.members().cloned().collect()
    }

    /// What an answer of this moment begins with.
    pub fn look_header(&self) -> Header {
        self.header()
    }

    /// Bytes of the database's file, and of those what is in use.
    pub fn look_size(&self) -> (u64, u64) {
        let size = self.backend.size();
        (size.total, size.in_use)
    }

    /// What its status tells beside its place in the log.
    pub fn look_condition(&self) -> Condition {
        let (view, size) = (self.view(), self.backend.size());
        let mut errors = Vec::new();
        if view.leader.known().is_none() {
            errors.push(Error::NoLeader.message().to_owned());
        }
        errors.extend(view.alarms.iter().map(|raised| as_go_prints(raised.member, raised.alarm)));
        // Releases before 3.6 do not tell.
        let tells = !self.config.release.speaks_old_api();
        Condition {
            version: self.config.version().to_string(),
            db_size: size.total,
            db_size_in_use: size.in_use,
            db_size_quota: if tells { self.config.quota_backend_bytes } else { 0 },
            downgrade: tells.then(|| self.membership.downgrade()),
            is_learner: view.learners.contains(&view.member),
            errors,
        }
    }

    /// The database as a file, as if its batch had just been committed: what `Maintenance/Snapshot` gives.
    pub fn look_database(&self) -> Bytes {
        self.backend.snapshot()
    }

    /// The hash of the whole backend: what `Maintenance/Hash` gives.
    pub fn look_hash_all(&self) -> u32 {
        self.backend.hash_all()
    }

    /// The pairs of a bucket in byte order, those of the open batch included.
    pub fn look_bucket(&self, bucket: Bucket) -> Vec<(Bytes, Bytes)> {
        let mut pairs = Vec::new();
        self.backend.for_each(bucket, b"", None, &mut |key, value| {
            pairs.push((key.clone(), value.clone()));
            true
        });
        pairs
    }
}

impl Timeline for Replica {
    fn keys(&self, revision: Revision) -> Result<Vec<KeyValue>, Error> {
        let everything = RangeRequest { revision, ..RangeRequest::of(KeyRange::prefix("")) };
        self.look(&everything).map(|read| read.kvs)
    }

    fn events(&self, revision: Revision) -> Vec<WatchEvent> {
        let mut events = Vec::new();
        for_each_event(&self.backend, revision, revision, &mut |event| {
            events.push(event);
            true
        });
        events
    }
}

/// etcd's message of an alarm.
fn as_go_prints(member: MemberId, alarm: Alarm) -> String {
    let alarm = match alarm {
        Alarm::NoSpace => "NOSPACE",
        Alarm::Corrupt => "CORRUPT",
    };
    match member {
        // Zeros are left out.
        MemberId::NONE => format!("alarm:{alarm} "),
        member => format!("memberID:{} alarm:{alarm} ", member.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_named_as_go_prints_them() {
        assert_eq!(as_go_prints(MemberId(7), Alarm::NoSpace), "memberID:7 alarm:NOSPACE ");
        assert_eq!(as_go_prints(MemberId::NONE, Alarm::Corrupt), "alarm:CORRUPT ");
    }
}
