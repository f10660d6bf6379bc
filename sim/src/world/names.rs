//! Who is who. Scenarios, plans and clients count members from 1, in the order of their places; the cluster knows them
//! by ids. Those are the same, but where the first member is a former one, whose id is whatever it was.

use detcd_replica::api::{AlarmRequest, Error, Request, Response, ResponseBody};
use detcd_replica::{Address, MemberId};

use crate::beginning::Former;

/// The ids of the members, by their places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    first: MemberId,
    /// The others' ids are so much more than their numbers.
    beyond: u64,
}

/// Ids of real clusters are far larger, but for one in billions.
const COUNTED: u64 = 1 << 32;

impl Names {
    /// Of a cluster that is founded here, or goes on from a former member.
    pub(super) fn new(former: Option<&Former>) -> Self {
        let Some(former) = former else { return Self { first: MemberId(1), beyond: 0 } };
        let known = former.others.iter().chain([&former.member]).map(|member| member.0);
        // Who was removed from a cluster never comes back under that id.
        Self { first: former.member, beyond: known.filter(|id| *id < COUNTED).max().unwrap_or(0) }
    }

    /// The id of the member at a place.
    pub(super) fn id(self, place: usize) -> MemberId {
        match place {
            0 => self.first,
            _ => MemberId(self.beyond + place as u64 + 1),
        }
    }

    /// The place of a member, if it can have one: members of the former cluster have none.
    pub(super) fn place(self, id: MemberId) -> Option<usize> {
        if id == self.first {
            return Some(0);
        }
        let number = id.0.checked_sub(self.beyond).filter(|number| (2..COUNTED).contains(number))?;
        usize::try_from(number - 1).ok()
    }

    /// The id of a member that is counted, as clients do.
    fn counted(self, member: MemberId) -> MemberId {
        match member.0.checked_sub(1) {
            None => member,
            Some(place) => self.id(place as usize),
        }
    }

    /// The number of a member.
    fn number(self, id: MemberId) -> MemberId {
        self.place(id).map_or(id, |place| MemberId(place as u64 + 1))
    }

    fn are_numbers(self) -> bool {
        self.first == MemberId(1) && self.beyond == 0
    }

    /// A client's request, in the cluster's words.
    pub(super) fn asked(self, request: Request) -> Request {
        if self.are_numbers() {
            return request;
        }
        let urls = |number, peer_urls: Vec<String>| {
            let (theirs, ours) = (Address::of(number).peer_urls, Address::of(self.counted(number)).peer_urls);
            peer_urls.into_iter().map(|url| if theirs.contains(&url) { ours[0].clone() } else { url }).collect()
        };
        match request {
            Request::MemberAdd { id, peer_urls, is_learner } => {
                Request::MemberAdd { id: self.counted(id), peer_urls: urls(id, peer_urls), is_learner }
            }
            Request::MemberUpdate { id, peer_urls } => {
                Request::MemberUpdate { id: self.counted(id), peer_urls: urls(id, peer_urls) }
            }
            Request::MemberPromote { id } => Request::MemberPromote { id: self.counted(id) },
            Request::MemberRemove { id } => Request::MemberRemove { id: self.counted(id) },
            Request::MoveLeader { target } => Request::MoveLeader { target: self.counted(target) },
            Request::Alarm(alarm) => Request::Alarm(AlarmRequest { member: self.counted(alarm.member), ..alarm }),
            other => other,
        }
    }

    /// The cluster's answer, in the clients' words.
    pub(super) fn answered(self, result: Result<Response, Error>) -> Result<Response, Error> {
        let mut response = result?;
        if self.are_numbers() {
            return Ok(response);
        }
        response.header.member = self.number(response.header.member);
        if let ResponseBody::Alarm { alarms } = &mut response.body {
            alarms.iter_mut().for_each(|alarm| alarm.member = self.number(alarm.member));
        }
        Ok(response)
    }
}

/// The place of a member that is counted.
pub(super) fn counted(member: MemberId) -> usize {
    member.0 as usize - 1
}

/// How the member at a place is counted.
pub(super) fn number_of(place: usize) -> MemberId {
    MemberId(place as u64 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn former(member: u64, others: &[u64]) -> Former {
        Former {
            image: detcd_replica::DiskImage::default(),
            member: MemberId(member),
            cluster: 7,
            address: Address::of(MemberId(member)),
            force_new_cluster: false,
            others: others.iter().copied().map(MemberId).collect(),
        }
    }

    #[test]
    fn every_place_has_an_id_that_nobody_else_had() {
        let large = 0x8e9e_05c5_2164_694d;
        for former in [former(large, &[]), former(large, &[large + 1]), former(2, &[1, 3]), former(5, &[])] {
            let names = Names::new(Some(&former));
            assert_eq!(names.id(0), former.member);
            for place in 0..9 {
                let id = names.id(place);
                assert!(!former.others.contains(&id) && (place == 0 || id != former.member), "{id}");
                assert_eq!(names.place(id), Some(place), "{id}");
                assert_eq!(names.counted(MemberId(place as u64 + 1)), id);
            }
            assert!(former.others.iter().all(|other| names.place(*other).is_none()));
        }
        let names = Names::new(None);
        assert!((0..9).all(|place| names.id(place) == MemberId(place as u64 + 1)));
    }

    #[test]
    fn clients_and_cluster_understand_each_other() {
        let names = Names::new(Some(&former(2, &[1, 3])));
        let add = |id| {
            let peer_urls = [Address::of(MemberId(id)).peer_urls, vec!["http://else:2380".into()]].concat();
            Request::MemberAdd { id: MemberId(id), peer_urls, is_learner: true }
        };
        assert_eq!(names.asked(add(4)), add(7));
        assert_eq!(
            names.asked(Request::MoveLeader { target: MemberId(1) }),
            Request::MoveLeader { target: MemberId(2) }
        );
        let nobody = AlarmRequest { action: detcd_replica::api::AlarmAction::Get, member: MemberId::NONE, alarm: None };
        assert_eq!(names.asked(Request::Alarm(nobody)), Request::Alarm(nobody));
    }
}
