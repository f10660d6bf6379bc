//! Clients of the cluster as plain state machines: they are told what happened and say what to do.
//!
//! A [`Client`] runs a workload, one operation at a time; a [`WatchClient`] watches and resumes. Both write down what
//! they saw in a [`Recorder`]. They know no clock: times to wait for are given out as [`Action::SetTimer`], and
//! the driver hands the timer's number back when it is due. Timers are never cancelled; one that no longer matters is
//! ignored. The loop of a driver:
//!
//! ```text
//! client.start / on_reply / on_refused / on_disconnect / on_timer (.., &mut Turn)  →  perform turn.out, in order
//! ```

mod operations;
mod recorder;
mod watch;

use detcd_replica::api::{Credential, Request, WatchRequest};
use detcd_replica::history::Moment;
use detcd_replica::time::Span;
use detcd_replica::MemberId;

use crate::scenario::{Chance, Mix, Scenario};

pub use operations::{Client, Settings};
pub use recorder::{Counts, Recorder};
pub use watch::{WatchClient, WatchSettings};

/// What a client wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a request to a member. If that cannot even be tried, tell the client so (`on_refused`).
    Send {
        /// To whom.
        member: MemberId,
        /// The client's number for it, never used again.
        request_no: u64,
        /// As whom.
        credential: Credential,
        /// What.
        request: Request,
    },
    /// Open a watch stream to a member.
    Open {
        /// To whom.
        member: MemberId,
        /// The client's number for it, never used again.
        stream_no: u64,
        /// As whom.
        credential: Credential,
        /// Responses that may be on their way at once.
        window: u32,
    },
    /// Send on a watch stream.
    Stream {
        /// Which.
        stream_no: u64,
        /// What.
        request: WatchRequest,
    },
    /// Let so many more responses come.
    Grant {
        /// On which stream.
        stream_no: u64,
        /// How many.
        responses: u32,
    },
    /// Close a watch stream.
    Close {
        /// Which.
        stream_no: u64,
    },
    /// Call `on_timer` with this number after this time.
    SetTimer {
        /// The number.
        timer: u64,
        /// How long from now.
        after: Span,
    },
    /// The client has nothing more to do.
    Finished,
}

/// What a client needs for one step.
pub struct Turn<'a> {
    /// When it is, in events of the run.
    pub at: Moment,
    /// Source of its decisions.
    pub chance: &'a mut dyn Chance,
    /// Where it writes down what it saw.
    pub recorder: &'a mut Recorder,
    /// What it wants done, appended in order.
    pub out: &'a mut Vec<Action>,
}

/// The operation clients of a scenario, numbered from 0: the pinned ones first, in turn over the voters.
pub fn clients(scenario: &Scenario, tracks_keys: bool) -> Vec<Client> {
    let (count, operations) = (scenario.clients.count, scenario.clients.operations);
    let share = |n: u64| operations / count + u64::from(n < operations % count);
    (0..count)
        .map(|n| {
            Client::new(Settings {
                client: n as u32,
                endpoints: endpoints(scenario, n, scenario.clients.pinned),
                operations: share(n),
                request_timeout: scenario.clients.request_timeout.0,
                think_time: scenario.clients.think_time.0,
                tracks_keys,
                bugs: scenario.bugs(),
            })
        })
        .collect()
}

/// A client beside those of the workload, such as the one that compacts: it uses all members and never ends by itself.
pub fn extra_client(scenario: &Scenario, client: u32, period: Span) -> Client {
    Client::new(Settings {
        client,
        endpoints: endpoints(scenario, 0, 0),
        operations: u64::MAX,
        request_timeout: scenario.clients.request_timeout.0,
        think_time: period,
        tracks_keys: false,
        bugs: scenario.bugs(),
    })
}

/// The watch clients of a scenario, numbered from `first`.
pub fn watch_clients(scenario: &Scenario, first: u32) -> Vec<WatchClient> {
    let watch = &scenario.watch;
    (0..watch.count)
        .map(|n| {
            WatchClient::new(WatchSettings {
                client: first + n as u32,
                endpoints: endpoints(scenario, n, watch.pinned),
                login: crate::workload::watching_login(scenario.workload.name, n),
                awaited: crate::workload::may_always_watch(scenario.workload.name, n),
                ranges: crate::workload::watched(scenario, n),
                in_turn: scenario.workload.name == Mix::KubernetesNodes,
                filters: scenario.workload.name == Mix::WatchWindow,
                bugs: scenario.bugs(),
                watches: watch.per_stream as usize,
                window: watch.window as u32,
                consume_delay: watch.consume_delay.0,
                progress_period: watch.progress_period.0,
                restart_period: watch.restart_period.0,
                restart_revisions: watch.restart_revisions,
                prev_kv: watch.prev_kv,
                progress_notify: watch.progress_notify,
            })
        })
        .collect()
}

/// One member for a pinned client, all for another, starting at different ones.
fn endpoints(scenario: &Scenario, n: u64, pinned: u64) -> Vec<MemberId> {
    let mut members = scenario.voters();
    let first = (n % members.len() as u64) as usize;
    members.rotate_left(first);
    if n < pinned {
        members.truncate(1);
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_dealt_out_and_pinned_clients_stay() {
        let mut scenario = Scenario::default();
        scenario.clients.count = 5;
        scenario.clients.pinned = 4;
        scenario.clients.operations = 13;
        let clients = clients(&scenario, false);
        let dealt: Vec<_> = clients.iter().map(|client| client.settings().operations).collect();
        assert_eq!(dealt, [3, 3, 3, 2, 2]);
        let endpoints: Vec<Vec<u64>> =
            clients.iter().map(|client| client.settings().endpoints.iter().map(|m| m.0).collect()).collect();
        assert_eq!(endpoints, [vec![1], vec![2], vec![3], vec![1], vec![2, 3, 1]]);
    }
}
