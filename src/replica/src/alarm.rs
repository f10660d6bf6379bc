//! Alarms: which member has raised what, as a function of the applied index, kept in the backend's `alarm` bucket.
//!
//! An alarm makes every member refuse what it forbids, whoever raised it, until it is taken back for that member. What
//! is refused is for the apply loop to say; who raises an alarm and when, too.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

use crate::api::{Alarm, AlarmAction, AlarmMember, AlarmRequest};
use crate::mvcc::{Batch, Bucket};
use crate::{Bug, Bugs, MemberId};

/// etcd's `AlarmStore`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Alarms {
    raised: BTreeSet<AlarmMember>,
    bugs: Bugs,
}

/// `etcdserverpb.AlarmMember`. It is the key in the bucket; the value is empty.
#[derive(Clone, PartialEq, Message)]
struct StoredAlarm {
    #[prost(uint64, tag = "1")]
    member_id: u64,
    #[prost(int32, tag = "2")]
    alarm: i32,
}

fn encode(alarm: AlarmMember) -> Bytes {
    let number = match alarm.alarm {
        Alarm::NoSpace => 1,
        Alarm::Corrupt => 2,
    };
    StoredAlarm { member_id: alarm.member.0, alarm: number }.encode_to_vec().into()
}

fn decode(key: &Bytes) -> Option<AlarmMember> {
    let stored = StoredAlarm::decode(key.clone()).ok()?;
    let alarm = match stored.alarm {
        1 => Alarm::NoSpace,
        2 => Alarm::Corrupt,
        _ => return None,
    };
    Some(AlarmMember { alarm, member: MemberId(stored.member_id) })
}

impl Alarms {
    /// The alarms in a backend.
    ///
    /// # Errors
    /// What in the `alarm` bucket cannot be read, in one sentence.
    pub(crate) fn restore(batch: &dyn Batch, bugs: Bugs) -> Result<Self, String> {
        let mut alarms = Self { raised: BTreeSet::new(), bugs };
        let mut broken = None;
        batch.for_each(Bucket::Alarm, b"", None, &mut |key, _| {
            match decode(key) {
                Some(alarm) => {
                    alarms.raised.insert(alarm);
                }
                None => broken = Some(format!("bucket alarm: {key:?} is not an AlarmMember")),
            }
            broken.is_none()
        });
        broken.map_or(Ok(alarms), Err)
    }

    /// All that are raised, those of one kind together.
    pub(crate) fn raised(&self) -> &BTreeSet<AlarmMember> {
        &self.raised
    }

    /// Whether any member has raised this one.
    pub(crate) fn is_raised(&self, alarm: Alarm) -> bool {
        self.raised.iter().any(|raised| raised.alarm == alarm)
    }

    /// Hash of what all members at the same applied index agree on.
    pub(crate) fn state_hash(&self) -> u64 {
        self.raised.iter().fold(0, |sum, alarm| sum.wrapping_add(xxh3_64(&encode(*alarm))))
    }

    /// Does what is asked. Gives the alarms for the answer, and whether the backend was written to.
    pub(crate) fn apply(&mut self, batch: &mut dyn Batch, request: &AlarmRequest) -> (Vec<AlarmMember>, bool) {
        let named = request.alarm.map(|alarm| AlarmMember { alarm, member: request.member });
        match (request.action, named) {
            (AlarmAction::Get, None) => (self.raised.iter().copied().collect(), false),
            (AlarmAction::Get, Some(AlarmMember { alarm, .. })) => {
                (self.raised.iter().filter(|raised| raised.alarm == alarm).copied().collect(), false)
            }
            (AlarmAction::Activate, Some(alarm)) => self.activate(batch, alarm),
            (AlarmAction::Deactivate, Some(alarm)) => self.deactivate(batch, alarm),
            (AlarmAction::Activate | AlarmAction::Deactivate, None) => (Vec::new(), false),
        }
    }

    fn activate(&mut self, batch: &mut dyn Batch, alarm: AlarmMember) -> (Vec<AlarmMember>, bool) {
        let alarm = self.stored_as(alarm);
        let is_new = self.raised.insert(alarm);
        if is_new {
            batch.put(Bucket::Alarm, encode(alarm), Bytes::new());
        }
        (vec![alarm], is_new)
    }

    /// Each member's alarm is its own. With the bug there is one of a kind, whoever raised it first.
    fn stored_as(&self, alarm: AlarmMember) -> AlarmMember {
        match self.bugs.has(Bug::AlarmSingleMember) {
            true => self.raised.iter().find(|raised| raised.alarm == alarm.alarm).copied().unwrap_or(alarm),
            false => alarm,
        }
    }

    fn deactivate(&mut self, batch: &mut dyn Batch, alarm: AlarmMember) -> (Vec<AlarmMember>, bool) {
        let alarm = self.stored_as(alarm);
        if !self.raised.remove(&alarm) {
            return (Vec::new(), false);
        }
        batch.delete(Bucket::Alarm, &encode(alarm));
        (vec![alarm], true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mvcc::tests::MemoryBatch;

    fn request(action: AlarmAction, member: u64, alarm: Option<Alarm>) -> AlarmRequest {
        AlarmRequest { action, member: MemberId(member), alarm }
    }

    fn alarm(member: u64, alarm: Alarm) -> AlarmMember {
        AlarmMember { alarm, member: MemberId(member) }
    }

    #[test]
    fn each_member_raises_and_takes_back_its_own() {
        use AlarmAction::{Activate, Deactivate, Get};
        let (one, two, three) = (alarm(1, Alarm::NoSpace), alarm(2, Alarm::NoSpace), alarm(1, Alarm::Corrupt));
        let (space, corrupt) = (Some(Alarm::NoSpace), Some(Alarm::Corrupt));
        let (mut alarms, mut batch) = (Alarms::default(), MemoryBatch::default());
        for (asked, answer, written) in [
            (request(Get, 0, None), vec![], false),
            (request(Activate, 2, space), vec![two], true),
            (request(Activate, 2, space), vec![two], false),
            (request(Activate, 1, space), vec![one], true),
            (request(Activate, 1, corrupt), vec![three], true),
            (request(Activate, 9, None), vec![], false),
            (request(Get, 7, space), vec![one, two], false),
            (request(Get, 0, None), vec![one, two, three], false),
            (request(Deactivate, 2, corrupt), vec![], false),
            (request(Deactivate, 2, None), vec![], false),
            (request(Deactivate, 1, space), vec![one], true),
            (request(Get, 0, None), vec![two, three], false),
        ] {
            let before = batch.clone();
            assert_eq!(alarms.apply(&mut batch, &asked), (answer, written), "{asked:?}");
            assert_eq!(before != batch, written, "{asked:?}");
            let restored = Alarms::restore(&batch, Bugs::NONE).expect("sound");
            assert_eq!((&restored, restored.state_hash()), (&alarms, alarms.state_hash()));
        }
        assert!(alarms.is_raised(Alarm::NoSpace));
    }

    #[test]
    fn with_the_bug_one_member_takes_back_for_all() {
        let (mut alarms, mut batch) = (Alarms::default(), MemoryBatch::default());
        alarms.bugs = Bugs::NONE.with(Bug::AlarmSingleMember);
        alarms.apply(&mut batch, &request(AlarmAction::Activate, 1, Some(Alarm::NoSpace)));
        alarms.apply(&mut batch, &request(AlarmAction::Activate, 2, Some(Alarm::NoSpace)));
        alarms.apply(&mut batch, &request(AlarmAction::Deactivate, 2, Some(Alarm::NoSpace)));
        assert!(!alarms.is_raised(Alarm::NoSpace));
    }

    #[test]
    fn the_bytes_are_etcds() {
        assert_eq!(&encode(alarm(3, Alarm::Corrupt))[..], &[0x08, 3, 0x10, 2]);
        assert_eq!(decode(&encode(alarm(3, Alarm::NoSpace))), Some(alarm(3, Alarm::NoSpace)));
        assert_eq!(decode(&Bytes::from_static(&[0x10, 9])), None);
    }
}
