//! Reads: which keys of a range at a revision, in which order, and how many of them.

use std::cmp::Ordering;

use detcd_replica::api::{Error, Key, KeyValue, RangeEnd, RangeRequest, ResponseBody, Revision, SortOrder, SortTarget};

use super::{Keyspace, Record, NEWEST};

/// A plain read is possible from the compaction revision (that included) up to now; below 1 means now.
pub(super) fn check_plain(space: &impl Keyspace, range: &RangeRequest) -> Result<(), Error> {
    if range.revision <= 0 {
        return Ok(());
    }
    check(space, range)
}

/// In a transaction only 0 means now; every other revision is compared, those below it as well.
pub(super) fn check(space: &impl Keyspace, range: &RangeRequest) -> Result<(), Error> {
    if range.revision == 0 {
        return Ok(());
    }
    if range.revision > space.revision() {
        return Err(Error::FutureRevision);
    }
    if range.revision < space.compact_revision() {
        return Err(Error::Compacted);
    }
    Ok(())
}

/// The state that a read inside a transaction shows: [`NEWEST`] has what was written before it.
pub(super) fn as_of(range: &RangeRequest) -> Revision {
    if range.revision <= 0 {
        NEWEST
    } else {
        range.revision
    }
}

/// The same where nothing is under way: the newest revision is the newest state, which is faster to scan.
pub(super) fn as_of_now(range: &RangeRequest, revision: Revision) -> Revision {
    if range.revision == revision {
        NEWEST
    } else {
        as_of(range)
    }
}

/// Whether the limit cuts the keys in byte order, before they are filtered or sorted.
fn limits_first(range: &RangeRequest) -> bool {
    let unordered = range.sort_order == SortOrder::None;
    let by_key = range.sort_target == SortTarget::Key && range.sort_order == SortOrder::Ascend;
    (unordered || by_key) && !range.has_revision_filters()
}

pub(super) fn read(space: &impl Keyspace, range: &RangeRequest, at: Revision) -> ResponseBody {
    let limit = usize::try_from(range.limit).unwrap_or(usize::MAX);
    let limited = limit != 0;
    // One more than asked for says whether there are more. A target without an order sorts that one as well.
    let fetched = if limited && limits_first(range) { limit.saturating_add(1) } else { usize::MAX };
    let mut kvs = Vec::new();
    let mut count = 0u64;
    let mut visit = |key: &Key, record: &Record| {
        count += 1;
        if !range.count_only && kvs.len() < fetched && passes(range, record) {
            kvs.push(record.key_value(key));
        }
    };
    match &range.range.end {
        RangeEnd::Single => {
            if let Some(record) = space.find(&range.range.start, at) {
                visit(&range.range.start, record);
            }
        }
        _ => space.scan(&range.range, at, &mut visit),
    }
    sort(range, &mut kvs);
    let more = limited && kvs.len() > limit;
    if more {
        kvs.truncate(limit);
    }
    if range.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value.clear());
    }
    ResponseBody::Range { kvs, more, count }
}

/// Whether the key's revisions are inside the bounds; 0 is no bound. The count knows nothing of them.
fn passes(range: &RangeRequest, record: &Record) -> bool {
    let inside = |least, most, revision| (least == 0 || revision >= least) && (most == 0 || revision <= most);
    inside(range.min_mod_revision, range.max_mod_revision, record.mod_revision)
        && inside(range.min_create_revision, range.max_create_revision, record.create_revision)
}

/// Keys that are equal in what they are sorted by stay in byte order. etcd promises no order among them, and keeps it
/// for a dozen keys or fewer.
fn sort(range: &RangeRequest, kvs: &mut [KeyValue]) {
    let by = |a: &KeyValue, b: &KeyValue| -> Ordering {
        match range.sort_target {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Create => a.create_revision.cmp(&b.create_revision),
            SortTarget::Mod => a.mod_revision.cmp(&b.mod_revision),
            SortTarget::Value => a.value.cmp(&b.value),
        }
    };
    match (range.sort_order, range.sort_target) {
        (SortOrder::None | SortOrder::Ascend, SortTarget::Key) => {}
        (SortOrder::None | SortOrder::Ascend, _) => kvs.sort_by(by),
        (SortOrder::Descend, _) => kvs.sort_by(|a, b| by(b, a)),
    }
}
