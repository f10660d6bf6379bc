//! What a client has seen of the store: enough to make its next request interesting.
//!
//! It is a guess, never the truth: others write too. Checkers must not use it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use detcd_replica::api::{Error, Key, LeaseId, RangeEnd, Request, RequestOp, Response, ResponseBody, Revision};

/// The rest of a list that came in pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The next page starts here.
    pub start: Key,
    /// And is read as of the first page's revision.
    pub revision: Revision,
}

/// What a client knows from the answers it got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The newest revision in any answer.
    pub revision: Revision,
    /// The rest of the last list, when it was cut.
    pub page: Option<Page>,
    /// Keys with the revision of their last change.
    keys: BTreeMap<Key, Revision>,
    tracks_keys: bool,
    /// Leases that were granted to it, of which it has not heard that they are gone.
    leases: BTreeSet<LeaseId>,
}

impl Seen {
    /// Nothing yet.
    pub fn new(tracks_keys: bool) -> Self {
        Self { tracks_keys, ..Self::default() }
    }

    /// The key's last change; 0 when it is not known to exist.
    pub fn mod_revision(&self, key: &[u8]) -> Revision {
        self.keys.get(key).copied().unwrap_or(0)
    }

    /// Keys known to exist.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// The key at a place in byte order, with its last change.
    pub fn key_at(&self, place: usize) -> Option<(&Key, Revision)> {
        self.keys.iter().nth(place).map(|(key, revision)| (key, *revision))
    }

    /// Leases that were granted to it, of which it has not heard that they are gone.
    pub fn leases(&self) -> &BTreeSet<LeaseId> {
        &self.leases
    }

    /// Takes in an answer.
    pub fn answered(&mut self, request: &Request, response: &Response) {
        let at = response.header.revision;
        self.revision = self.revision.max(at);
        match (request, &response.body) {
            (Request::LeaseGrant(_), ResponseBody::LeaseGrant { id, .. }) => drop(self.leases.insert(*id)),
            (Request::LeaseRevoke { id }, _) => drop(self.leases.remove(id)),
            (Request::LeaseKeepAlive { id }, ResponseBody::LeaseKeepAlive { ttl, .. }) if *ttl <= 0 => {
                self.leases.remove(id);
            }
            _ => {}
        }
        if let (Request::Range(range), ResponseBody::Range { kvs, more, .. }) = (request, &response.body) {
            let revision = if range.revision == 0 { at } else { range.revision };
            self.page = match (more, kvs.last()) {
                (true, Some(last)) if range.limit > 0 => Some(Page { start: after(&last.key), revision }),
                _ => None,
            };
        }
        if self.tracks_keys {
            match (request, &response.body) {
                (Request::Txn(txn), ResponseBody::Txn { succeeded, responses }) => {
                    let operations = if *succeeded { &txn.success } else { &txn.failure };
                    for (op, body) in operations.iter().zip(responses) {
                        match op {
                            RequestOp::Range(range) => self.read(range, body),
                            RequestOp::Put(put) => self.put(&put.key, at),
                            RequestOp::DeleteRange(delete) => self.keys.retain(|key, _| !delete.range.contains(key)),
                            // What is nested is not kept track of: the workload that nests does that itself.
                            RequestOp::Txn(_) => {}
                        }
                    }
                }
                (Request::Range(range), body) => self.read(range, body),
                (Request::Put(put), _) => self.put(&put.key, at),
                (Request::DeleteRange(delete), _) => self.keys.retain(|key, _| !delete.range.contains(key)),
                _ => {}
            }
        }
    }

    /// Takes in a refusal.
    pub fn refused(&mut self, request: &Request, error: Error) {
        if matches!(request, Request::Range(_)) && error == Error::Compacted {
            self.page = None;
        }
        if error == Error::LeaseNotFound {
            match request {
                Request::LeaseRevoke { id } => drop(self.leases.remove(id)),
                Request::Put(put) => drop(self.leases.remove(&put.lease)),
                _ => {}
            }
        }
    }

    fn put(&mut self, key: &Key, at: Revision) {
        self.keys.insert(key.clone(), at);
    }

    /// Old or partial reads teach nothing about which keys there are now.
    fn read(&mut self, range: &detcd_replica::api::RangeRequest, body: &ResponseBody) {
        let ResponseBody::Range { kvs, .. } = body else { return };
        if range.revision != 0 || range.serializable || range.count_only {
            return;
        }
        if range.limit == 0 {
            if range.range.end == RangeEnd::Single {
                self.keys.remove(&range.range.start);
            } else {
                self.keys.retain(|key, _| !range.range.contains(key));
            }
        }
        for kv in kvs {
            self.keys.insert(kv.key.clone(), kv.mod_revision);
        }
    }
}

/// The first key after this one.
fn after(key: &Key) -> Key {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    Bytes::from(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use detcd_replica::api::{Header, KeyRange, KeyValue, LeaseGrantRequest, PutRequest, RangeRequest};
    use detcd_replica::MemberId;

    fn answer(revision: Revision, body: ResponseBody) -> Response {
        Response { header: Header { member: MemberId(1), revision, raft_term: 1 }, body }
    }

    fn kv(key: &'static str, mod_revision: Revision) -> KeyValue {
        let (key, value) = (Bytes::from_static(key.as_bytes()), Bytes::new());
        KeyValue { key, create_revision: 1, mod_revision, version: 1, value, lease: 0 }
    }

    #[test]
    fn a_list_replaces_what_was_known_and_a_page_is_gone_on_with() {
        let mut seen = Seen::new(true);
        let put = PutRequest::of("k1", "");
        seen.answered(&Request::Put(put), &answer(5, ResponseBody::Put { prev_kv: None }));
        assert_eq!((seen.revision, seen.mod_revision(b"k1")), (5, 5));

        let list = RangeRequest::of(KeyRange::prefix("k"));
        let body = ResponseBody::Range { kvs: vec![kv("k2", 6)], more: false, count: 1 };
        seen.answered(&Request::Range(list.clone()), &answer(7, body));
        assert_eq!((seen.mod_revision(b"k1"), seen.mod_revision(b"k2"), seen.key_count()), (0, 6, 1));
        assert_eq!(seen.page, None);

        let list = Request::Range(RangeRequest { limit: 1, ..list });
        let body = ResponseBody::Range { kvs: vec![kv("k2", 6)], more: true, count: 2 };
        seen.answered(&list, &answer(8, body));
        assert_eq!(seen.page, Some(Page { start: Bytes::from_static(b"k2\0"), revision: 8 }));
        seen.refused(&list, Error::Compacted);
        assert_eq!(seen.page, None);
    }

    #[test]
    fn a_lease_is_held_until_it_is_said_to_be_gone() {
        let mut seen = Seen::new(false);
        let grant = Request::LeaseGrant(LeaseGrantRequest { id: 0, ttl: 3 });
        for id in [7, 8, 9] {
            seen.answered(&grant, &answer(1, ResponseBody::LeaseGrant { id, ttl: 3 }));
        }
        seen.answered(&Request::LeaseKeepAlive { id: 7 }, &answer(1, ResponseBody::LeaseKeepAlive { id: 7, ttl: 0 }));
        seen.answered(&Request::LeaseKeepAlive { id: 8 }, &answer(1, ResponseBody::LeaseKeepAlive { id: 8, ttl: 3 }));
        seen.refused(&Request::Put(PutRequest { lease: 9, ..PutRequest::of("k", "") }), Error::LeaseNotFound);
        assert_eq!(seen.leases().iter().copied().collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn stale_answers_move_nothing_back() {
        let mut seen = Seen { revision: 9, ..Seen::new(true) };
        let stale = RangeRequest { serializable: true, ..RangeRequest::of(KeyRange::prefix("k")) };
        let body = ResponseBody::Range { kvs: vec![kv("k2", 3)], more: false, count: 1 };
        seen.answered(&Request::Range(stale), &answer(4, body));
        assert_eq!((seen.revision, seen.key_count()), (9, 0));
    }
}
