//! What clients saw: the evidence that the judge works on.
//!
//! The world writes these, the checkers read them. Time here is the number of the event in the run, which orders
//! everything that happened anywhere; it is never a node's clock.

use crate::api::{Error, Request, Response, WatchCreate, WatchResponse};
use crate::MemberId;

/// The place of an event in the run: the real-time order of everything in it.
pub type Moment = u64;

/// Everything the clients of one run saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Operations in the order of their calls.
    pub operations: Vec<Operation>,
    /// Watches in the order of their creation.
    pub watches: Vec<Watch>,
}

/// One request of one client, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked. A client has at most one operation under way; after an unknown outcome it goes on all the same.
    pub client: u32,
    /// The member that was asked (last, when the client failed over).
    pub member: MemberId,
    /// The user whose token came with it, the last that this client was given; empty for nobody.
    pub user: String,
    /// When it was called.
    pub call: Moment,
    /// What was asked.
    pub request: Request,
    /// How it ended.
    pub outcome: Outcome,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered.
    Ok {
        /// When the answer arrived.
        at: Moment,
        /// The answer.
        response: Response,
    },
    /// Refused: it had no effect, and never will.
    Failed {
        /// When that was known.
        at: Moment,
        /// Why.
        error: Error,
    },
    /// No answer, or one that leaves it open: it may take effect at any later time, or never.
    Unknown {
        /// When the client gave up waiting; `None` when the run ended first.
        at: Option<Moment>,
    },
}

/// One watch of one client on one member, until it ended or the connection did. A client that resumes starts another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Who watches.
    pub client: u32,
    /// On which member.
    pub member: MemberId,
    /// The user whose token came with the stream, the last that this client was given; empty for nobody.
    pub user: String,
    /// The watch that this one resumes: its place in [`History::watches`].
    pub resumes: Option<usize>,
    /// When it was asked for.
    pub call: Moment,
    /// What was asked for.
    pub request: WatchCreate,
    /// What arrived, in order of arrival.
    pub responses: Vec<(Moment, WatchResponse)>,
    /// Moments at which the client asked for progress on the stream.
    pub progress_requests: Vec<Moment>,
    /// Whether the connection was whole until the run ended, so that everything due must have arrived.
    pub complete: bool,
}

/// Which evidence a check works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// What clients saw: a real etcd could be judged so.
    BlackBox,
    /// What members did.
    WhiteBox,
}

/// Something that must not be: what a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check, by its name: `linearizability`, `R1`, `watch-reliable` …
    pub check: &'static str,
    /// Its evidence.
    pub side: Side,
    /// When it was found.
    pub at: Moment,
    /// One sentence in etcd's words.
    pub summary: String,
    /// The facts behind it, a line each.
    pub details: Vec<String>,
}
