//! Reads: through the index to the revision, from the revision to the value; then what is left of it in which order.

use super::key_index::Found;
use super::{proto, Batch, Bucket, Store};
use crate::api::{Error, KeyValue, RangeEnd, RangeRequest, ResponseBody, Revision, SortOrder, SortTarget};
use crate::Bug;

/// What a range read finds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RangeResult {
    /// The keys in the order asked for, at most `limit`.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit cut some off.
    pub more: bool,
    /// How many there are, whatever the limit and the filters.
    pub count: u64,
    /// The store's revision when it was read, for the header.
    pub revision: Revision,
}

impl From<RangeResult> for ResponseBody {
    fn from(result: RangeResult) -> Self {
        Self::Range { kvs: result.kvs, more: result.more, count: result.count }
    }
}

impl Store {
    /// Reads.
    ///
    /// # Errors
    /// `Compacted` below the compaction revision (at it is allowed), `FutureRevision` above the newest.
    pub fn range(&self, batch: &dyn Batch, request: &RangeRequest) -> Result<RangeResult, Error> {
        self.range_as_of(batch, request, self.revision)
    }

    /// Reads when `current` is the newest revision: one more than the store's inside a transaction that has
    /// written.
    pub(super) fn range_as_of(
        &self,
        batch: &dyn Batch,
        request: &RangeRequest,
        current: Revision,
    ) -> Result<RangeResult, Error> {
        let at = self.readable(request.revision, current)?;
        let limit = if request.limit == 0 { u64::MAX } else { request.limit };
        // In byte order, and unfiltered, the first keys are the answer. Otherwise what the answer is chosen from: one
        // key more than asked for, or all of them when a direction or a filter is asked for.
        let refined = is_refined(request);
        let most = match refined {
            false => limit,
            true if request.sort_order != SortOrder::None || request.has_revision_filters() => u64::MAX,
            true => limit.saturating_add(1),
        };
        let (mut kvs, mut count) = (Vec::new(), 0);
        if request.range.end == RangeEnd::Single {
            // By far the most frequent read: one lookup in the index, one in the backend, and room for one.
            let key = match at < current {
                true => self.index.get(&request.range.start),
                false => self.index.live(&request.range.start),
            };
            if let Some(found) = key.and_then(|key| key.get(at)) {
                count = 1;
                if !request.count_only {
                    kvs = vec![self.load(batch, found)];
                }
            }
        } else {
            for found in self.index.since(&request.range, at).filter_map(|key| key.get(at)) {
                count += 1;
                if count <= most && !request.count_only {
                    kvs.push(self.load(batch, found));
                }
            }
        }
        let more = match refined {
            true => refine(&mut kvs, request, limit),
            false => !request.count_only && count > limit,
        };
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value.clear());
        }
        Ok(RangeResult { kvs, more, count, revision: current })
    }

    /// The key-value that the index points to.
    fn load(&self, batch: &dyn Batch, found: Found) -> KeyValue {
        let bytes = batch.get(Bucket::Key, &found.modified.encode());
        let bytes = bytes.unwrap_or_else(|| panic!("the index has {:?}, the backend does not", found.modified));
        let kv = proto::decode(&bytes).expect("restore has checked every stored key-value");
        assert_eq!(kv.mod_revision, found.modified.main, "mod revision of {:?}", kv.key);
        let meta = (kv.create_revision, kv.version);
        let index_is_wrong = self.bugs.has(Bug::CompactMetaWrong);
        assert!(meta == (found.created, found.version) || index_is_wrong, "index of {:?}: {found:?}", kv.key);
        kv
    }
}

/// Whether the answer is anything but the first keys in byte order.
fn is_refined(request: &RangeRequest) -> bool {
    request.sort_target != SortTarget::Key || request.sort_order == SortOrder::Descend || request.has_revision_filters()
}

/// Filters, sorts and cuts. Says whether the limit has cut some off. Keys that compare alike stay in byte order, also
/// when the order descends; etcd promises nothing for them.
fn refine(kvs: &mut Vec<KeyValue>, request: &RangeRequest, limit: u64) -> bool {
    let within = |revision: Revision, min: Revision, max: Revision| {
        (min == 0 || revision >= min) && (max == 0 || revision <= max)
    };
    if request.has_revision_filters() {
        kvs.retain(|kv| {
            within(kv.mod_revision, request.min_mod_revision, request.max_mod_revision)
                && within(kv.create_revision, request.min_create_revision, request.max_create_revision)
        });
    }
    let compare = |a: &KeyValue, b: &KeyValue| match request.sort_target {
        SortTarget::Key => a.key.cmp(&b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.create_revision.cmp(&b.create_revision),
        SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
        SortTarget::Value => a.value.cmp(&b.value),
    };
    match request.sort_order {
        SortOrder::None | SortOrder::Ascend => kvs.sort_by(compare),
        SortOrder::Descend => kvs.sort_by(|a, b| compare(b, a)),
    }
    let more = kvs.len() as u64 > limit;
    kvs.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    more
}
