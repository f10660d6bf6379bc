//! `etcdserverpb`: alarms.

use prost::Message;

/// `etcdserverpb.AlarmRequest`: get 0, activate 1, deactivate 2; any 0, no space 1, corrupt 2.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AlarmRequest {
    #[prost(int32, tag = "1")]
    pub(crate) action: i32,
    #[prost(uint64, tag = "2")]
    pub(crate) member_id: u64,
    #[prost(int32, tag = "3")]
    pub(crate) alarm: i32,
}
