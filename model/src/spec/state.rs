//! The specification as a value: small, comparable, hashable, cloned freely. What a search over a window steps through.

use std::collections::BTreeMap;

use detcd_replica::api::{Error, Key, KeyRange, LeaseId, Request, Revision};

use super::keys::bounds;
use super::{apply, Applied, Keyspace, Record, NEWEST};

/// etcd as a sequential machine, for state spaces small enough to be searched. Equal states answer alike for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    revision: Revision,
    compact_revision: Revision,
    keys: BTreeMap<Key, Vec<Record>>,
}

impl Default for State {
    fn default() -> Self {
        Self { revision: 1, compact_revision: -1, keys: BTreeMap::new() }
    }
}

impl State {
    /// The newest revision.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Gives it one request, which must be one to the key space ([`super::is_key_request`]). An error changes nothing.
    pub fn apply(&mut self, request: &Request) -> Result<Applied, Error> {
        apply(self, request)
    }

    /// The state as of `revision`, with the versions before it that are still kept.
    pub(super) fn of<'a>(
        revision: Revision,
        compact_revision: Revision,
        keys: impl Iterator<Item = (Key, &'a Vec<Record>)>,
    ) -> Self {
        let keys = keys
            .map(|(key, records)| {
                let known = records.partition_point(|record| record.mod_revision <= revision);
                (key, records[..known].to_vec())
            })
            .filter(|(_, records)| !records.is_empty())
            .collect();
        Self { revision, compact_revision, keys }
    }
}

fn as_of(records: &[Record], at: Revision) -> Option<&Record> {
    let known = match at {
        NEWEST => records.len(),
        _ => records.partition_point(|record| record.mod_revision <= at),
    };
    known.checked_sub(1).map(|last| &records[last]).filter(|record| !record.is_tombstone())
}

impl Keyspace for State {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn compact_revision(&self) -> Revision {
        self.compact_revision
    }

    fn find(&self, key: &Key, at: Revision) -> Option<&Record> {
        as_of(self.keys.get(key)?, at)
    }

    fn scan(&self, range: &KeyRange, at: Revision, visit: &mut dyn FnMut(&Key, &Record)) {
        let Some(bounds) = bounds(range) else { return };
        for (key, records) in self.keys.range::<[u8], _>(bounds) {
            if let Some(record) = as_of(records, at) {
                visit(key, record);
            }
        }
    }

    fn write(&mut self, key: &Key, record: Record) {
        self.keys.entry(key.clone()).or_default().push(record);
    }

    fn commit(&mut self, revision: Revision) {
        self.revision = revision;
    }

    fn leased(&self, id: LeaseId) -> Vec<Key> {
        let attached = |records: &[Record]| as_of(records, NEWEST).is_some_and(|record| record.lease == id);
        self.keys.iter().filter(|(_, records)| attached(records)).map(|(key, _)| key.clone()).collect()
    }

    fn compact(&mut self, revision: Revision) {
        self.compact_revision = revision;
        self.keys.retain(|_, records| {
            let known = records.partition_point(|record| record.mod_revision <= revision);
            if let Some(last) = known.checked_sub(1) {
                records.drain(..if records[last].is_tombstone() { known } else { last });
            }
            !records.is_empty()
        });
    }
}
