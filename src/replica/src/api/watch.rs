//! Watch streams: what clients send on them, and what they receive.

use super::{Header, KeyRange, KeyValue, Revision};
use crate::WatchId;

/// One change of one key, `mvccpb.Event`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchEvent {
    /// Put or delete.
    pub kind: WatchEventKind,
    /// The key after a put; after a delete only `key` and `mod_revision` are set.
    pub kv: KeyValue,
    /// The key before the change, when asked for and not compacted.
    pub prev_kv: Option<KeyValue>,
}

/// `Event.EventType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WatchEventKind {
    /// The key was written.
    Put,
    /// The key was deleted.
    Delete,
}

/// What a client sends on a watch stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WatchRequest {
    /// Start a watch.
    Create(WatchCreate),
    /// End one.
    Cancel(WatchId),
    /// Ask for a progress notification of the whole stream.
    Progress,
}

/// `WatchCreateRequest`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchCreate {
    /// The client's name for it, unique in the stream.
    pub watch: WatchId,
    /// Which keys.
    pub range: KeyRange,
    /// From this revision on; 0 is from now on.
    pub start_revision: Revision,
    /// Send what was there before each change.
    pub prev_kv: bool,
    /// Send progress notifications when nothing happens.
    pub progress_notify: bool,
    /// Leave puts out.
    pub no_put: bool,
    /// Leave deletes out.
    pub no_delete: bool,
}

/// What a member sends on a watch stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchResponse {
    /// Which watch; `None` is the progress of the whole stream (etcd's watch id -1).
    pub watch: Option<WatchId>,
    /// Who sent it, and the store's revision then.
    pub header: Header,
    /// What it says.
    pub body: WatchBody,
}

/// The kinds of [`WatchResponse`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WatchBody {
    /// The watch exists.
    Created,
    /// Changes, in revision order; all changes of one revision are in one response.
    Events(Vec<WatchEvent>),
    /// Every event up to `header.revision` has been sent.
    Progress,
    /// The watch has ended.
    Cancelled {
        /// Not 0: because history up to here is gone, and the client must start again above it.
        compact_revision: Revision,
        /// Why, in etcd's words; empty when the client asked for it.
        reason: &'static str,
    },
}
