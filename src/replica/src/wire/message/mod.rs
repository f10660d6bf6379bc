//! etcd's messages with etcd's field numbers, declared in Rust. Nothing is checked here: any message that decodes may
//! come from any etcd.

pub(crate) mod alarm;
pub(crate) mod auth;
pub(crate) mod entry;
pub(crate) mod kv;
pub(crate) mod lease;
pub(crate) mod membership;
pub(crate) mod mvcc;
pub(crate) mod recipe;
pub(crate) mod rpc;
pub(crate) mod watch;
