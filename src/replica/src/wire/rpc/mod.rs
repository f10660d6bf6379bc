//! The gRPC form of etcd's API: which method, what its message asks in [`crate::api`]'s terms, and the message of an
//! answer.
//!
//! Nothing here opens a connection: [`request()`] and [`watch_request`] parse the bytes of one message,
//! [`response()`] and [`watch_responses`] make them. A message that cannot be parsed is refused as etcd's gRPC server
//! would.

mod method;
mod recipe;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod watch;

pub use method::Method;
pub use recipe::{
    campaign_request, campaign_response, leader_request, leader_response, lock_request, lock_response, unlock_request,
    LeaderKey,
};
pub use request::request;
pub use response::{header, response, snapshot, status, Condition};
pub use watch::{watch_request, watch_responses, Watching};

use crate::api::Error;

/// Why a call is refused: the class and the words of its gRPC status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The number of the gRPC status.
    pub code: i32,
    /// The words.
    pub message: String,
}

impl Refusal {
    /// What is not even a message of the method, in the words of gRPC's library for Go.
    fn malformed(reason: impl std::fmt::Display) -> Self {
        Self { code: 13, message: format!("grpc: error unmarshalling request: {reason}") }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { code: error.code().number(), message: error.message().to_owned() }
    }
}
