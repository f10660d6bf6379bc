//! `etcdserverpb.InternalRaftRequest`: what a normal entry carries, with every field that etcd 3.4 to 3.6 writes.

use prost::Message;

use super::alarm::AlarmRequest;
use super::auth::{
    AuthRoleGrantPermissionRequest, AuthRoleName, AuthRoleRevokePermissionRequest, AuthUserAddRequest,
    AuthUserChangePasswordRequest, AuthUserName, AuthUserRole, Empty, InternalAuthenticateRequest,
};
use super::kv::{CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest};
use super::lease::{LeaseCheckpointRequest, LeaseGrantRequest, LeaseRevokeRequest};
use super::membership::{
    ClusterMemberAttrSetRequest, ClusterVersionSetRequest, DowngradeInfoSetRequest, DowngradeVersionTestRequest,
};

/// The union of all requests. What is rare is boxed, so that a put stays small.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct InternalRaftRequest {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(message, optional, boxed, tag = "2")]
    pub(crate) v2: Option<Box<Request>>,
    #[prost(message, optional, tag = "3")]
    pub(crate) range: Option<RangeRequest>,
    #[prost(message, optional, tag = "4")]
    pub(crate) put: Option<PutRequest>,
    #[prost(message, optional, tag = "5")]
    pub(crate) delete_range: Option<DeleteRangeRequest>,
    #[prost(message, optional, tag = "6")]
    pub(crate) txn: Option<TxnRequest>,
    #[prost(message, optional, tag = "7")]
    pub(crate) compaction: Option<CompactionRequest>,
    #[prost(message, optional, tag = "8")]
    pub(crate) lease_grant: Option<LeaseGrantRequest>,
    #[prost(message, optional, tag = "9")]
    pub(crate) lease_revoke: Option<LeaseRevokeRequest>,
    #[prost(message, optional, tag = "10")]
    pub(crate) alarm: Option<AlarmRequest>,
    #[prost(message, optional, tag = "11")]
    pub(crate) lease_checkpoint: Option<LeaseCheckpointRequest>,
    #[prost(message, optional, tag = "100")]
    pub(crate) header: Option<RequestHeader>,
    #[prost(message, optional, tag = "1000")]
    pub(crate) auth_enable: Option<Empty>,
    #[prost(message, optional, tag = "1011")]
    pub(crate) auth_disable: Option<Empty>,
    #[prost(message, optional, boxed, tag = "1012")]
    pub(crate) authenticate: Option<Box<InternalAuthenticateRequest>>,
    #[prost(message, optional, tag = "1013")]
    pub(crate) auth_status: Option<Empty>,
    #[prost(message, optional, boxed, tag = "1100")]
    pub(crate) auth_user_add: Option<Box<AuthUserAddRequest>>,
    #[prost(message, optional, boxed, tag = "1101")]
    pub(crate) auth_user_delete: Option<Box<AuthUserName>>,
    #[prost(message, optional, boxed, tag = "1102")]
    pub(crate) auth_user_get: Option<Box<AuthUserName>>,
    #[prost(message, optional, boxed, tag = "1103")]
    pub(crate) auth_user_change_password: Option<Box<AuthUserChangePasswordRequest>>,
    #[prost(message, optional, boxed, tag = "1104")]
    pub(crate) auth_user_grant_role: Option<Box<AuthUserRole>>,
    #[prost(message, optional, boxed, tag = "1105")]
    pub(crate) auth_user_revoke_role: Option<Box<AuthUserRole>>,
    #[prost(message, optional, tag = "1106")]
    pub(crate) auth_user_list: Option<Empty>,
    #[prost(message, optional, tag = "1107")]
    pub(crate) auth_role_list: Option<Empty>,
    #[prost(message, optional, boxed, tag = "1200")]
    pub(crate) auth_role_add: Option<Box<AuthRoleName>>,
    #[prost(message, optional, boxed, tag = "1201")]
    pub(crate) auth_role_delete: Option<Box<AuthRoleName>>,
    #[prost(message, optional, boxed, tag = "1202")]
    pub(crate) auth_role_get: Option<Box<AuthRoleName>>,
    #[prost(message, optional, boxed, tag = "1203")]
    pub(crate) auth_role_grant_permission: Option<Box<AuthRoleGrantPermissionRequest>>,
    #[prost(message, optional, boxed, tag = "1204")]
    pub(crate) auth_role_revoke_permission: Option<Box<AuthRoleRevokePermissionRequest>>,
    #[prost(message, optional, boxed, tag = "1300")]
    pub(crate) cluster_version_set: Option<Box<ClusterVersionSetRequest>>,
    #[prost(message, optional, boxed, tag = "1301")]
    pub(crate) cluster_member_attr_set: Option<Box<ClusterMemberAttrSetRequest>>,
    #[prost(message, optional, boxed, tag = "1302")]
    pub(crate) downgrade_info_set: Option<Box<DowngradeInfoSetRequest>>,
    #[prost(message, optional, boxed, tag = "9900")]
    pub(crate) downgrade_version_test: Option<Box<DowngradeVersionTestRequest>>,
}

/// `etcdserverpb.RequestHeader`: whose request it is.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RequestHeader {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(string, tag = "2")]
    pub(crate) username: String,
    #[prost(uint64, tag = "3")]
    pub(crate) auth_revision: u64,
}

/// `etcdserverpb.Request` of the old API, by which members up to 3.5 publish themselves and set the cluster version.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(string, tag = "2")]
    pub(crate) method: String,
    #[prost(string, tag = "3")]
    pub(crate) path: String,
    #[prost(string, tag = "4")]
    pub(crate) val: String,
    #[prost(bool, tag = "5")]
    pub(crate) dir: bool,
    #[prost(string, tag = "6")]
    pub(crate) prev_value: String,
    #[prost(uint64, tag = "7")]
    pub(crate) prev_index: u64,
    #[prost(bool, optional, tag = "8")]
    pub(crate) prev_exist: Option<bool>,
    #[prost(int64, tag = "9")]
    pub(crate) expiration: i64,
    #[prost(bool, tag = "10")]
    pub(crate) wait: bool,
    #[prost(uint64, tag = "11")]
    pub(crate) since: u64,
    #[prost(bool, tag = "12")]
    pub(crate) recursive: bool,
    #[prost(bool, tag = "13")]
    pub(crate) sorted: bool,
    #[prost(bool, tag = "14")]
    pub(crate) quorum: bool,
    #[prost(int64, tag = "15")]
    pub(crate) time: i64,
    #[prost(bool, tag = "16")]
    pub(crate) stream: bool,
    #[prost(bool, optional, tag = "17")]
    pub(crate) refresh: Option<bool>,
}
