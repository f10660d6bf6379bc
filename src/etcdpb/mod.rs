//! etcd's messages as its API documents them, and their JSON.
//!
//! A table of its own, beside the encoding of the replica, which `conform` compares it with; the JSON gateway of
//! `serve` speaks by it.

mod proto;
mod schema;

pub(crate) use proto::{decode, encode, try_encode};
pub(crate) use schema::{fields, messages, Kind};
