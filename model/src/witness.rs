//! A witness: what the log says happened, as a watcher of everything would have seen it.
//!
//! Where too many writes have no answer, what clients saw may leave open which of them took effect. A world whose log
//! is known can say so; etcd's robustness tests read the members' logs for the same reason. The witness only adds
//! evidence: every answer is still held against it.

use detcd_replica::api::{Header, KeyRange, Request, WatchBody, WatchCreate, WatchResponse};
use detcd_replica::history::{History, Watch};
use detcd_replica::{MemberId, WatchId};

use crate::spec::Store;

/// The watch of every key from the first revision on that saw these requests take effect, in this order, at the very
/// end of `history`.
pub fn witness<'a>(history: &History, requests: impl IntoIterator<Item = &'a Request>) -> Watch {
    let end = history.operations.iter().map(|operation| operation.call).max().unwrap_or(0);
    let end =
        history.watches.iter().flat_map(|watch| watch.responses.last()).map(|(at, _)| *at).max().unwrap_or(0).max(end);
    let mut store = Store::new();
    let mut responses = Vec::new();
    for request in requests {
        let before = store.revision();
        // A request that is refused has no effect, and leaves no event.
        let refused = store.apply(request).is_err();
        let revision = store.revision();
        assert!(!refused || revision == before, "a refused request makes no revision");
        if revision > before {
            let header = Header { member: MemberId::NONE, revision, raft_term: 0 };
            let body = WatchBody::Events(store.events(revision));
            responses.push((end + 1_000_000, WatchResponse { watch: Some(WatchId(0)), header, body }));
        }
    }
    let request = WatchCreate {
        watch: WatchId(0),
        range: KeyRange::prefix(""),
        start_revision: 1,
        prev_kv: true,
        progress_notify: false,
        no_put: false,
        no_delete: false,
    };
    Watch {
        client: u32::MAX,
        member: MemberId::NONE,
        user: String::new(),
        resumes: None,
        call: 0,
        request,
        responses,
        progress_requests: Vec::new(),
        complete: false,
    }
}
