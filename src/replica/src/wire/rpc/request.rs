//! Requests: one message of a method, and what it asks.

use bytes::Bytes;
use prost::Message;

use super::{Method, Refusal};
use crate::api::{
    AuthRequest, CompactRequest, DowngradeRequest, Error, LeaseGrantRequest, Permission, PermissionType, Request,
};
use crate::wire::message::{alarm, auth, kv, lease, rpc};
use crate::wire::{alarm as alarms, kv as keys, TXN_DEPTH_MAX};
use crate::MemberId;

/// What a message of `method` asks. A member to be added gets the id that `new_member` gives to its peer URLs.
///
/// # Errors
/// It is no message of that method, has a value that does not exist, or nests transactions deeper than
/// [`TXN_DEPTH_MAX`]. Empty keys are for the member to refuse, as it looks at requests in etcd's order.
pub fn request(method: Method, body: Bytes, new_member: &dyn Fn(&[String]) -> MemberId) -> Result<Request, Refusal> {
    Ok(match method {
        Method::Range => Request::Range(keys::parse_range(parse(body)?).map_err(|_| Error::InvalidSortOption)?),
        Method::Put => Request::Put(keys::parse_put(parse(body)?)),
        Method::DeleteRange => Request::DeleteRange(keys::parse_delete(parse(body)?)),
        Method::Txn => Request::Txn(txn(parse(body)?)?),
        Method::Compact => {
            let compact: kv::CompactionRequest = parse(body)?;
            Request::Compact(CompactRequest { revision: compact.revision, physical: compact.physical })
        }
        Method::LeaseGrant => {
            let grant: lease::LeaseGrantRequest = parse(body)?;
            Request::LeaseGrant(LeaseGrantRequest { id: grant.id, ttl: grant.ttl })
        }
        Method::LeaseRevoke => Request::LeaseRevoke { id: parse::<lease::LeaseRevokeRequest>(body)?.id },
        Method::LeaseKeepAlive => Request::LeaseKeepAlive { id: parse::<rpc::Named>(body)?.id },
        Method::LeaseTimeToLive => {
            let named: rpc::Named = parse(body)?;
            Request::LeaseTimeToLive { id: named.id, keys: named.more }
        }
        Method::LeaseLeases => Request::Leases,
        Method::MemberAdd => {
            let rpc::MemberAddRequest { mut peer_urls, is_learner } = parse(body)?;
            if peer_urls.is_empty() || !peer_urls.iter().all(|url| is_peer_url(url)) {
                return Err(Error::BadMemberUrls.into());
            }
            peer_urls.sort_unstable();
            Request::MemberAdd { id: new_member(&peer_urls), peer_urls, is_learner }
        }
        Method::MemberRemove => Request::MemberRemove { id: member(body)? },
        Method::MemberPromote => Request::MemberPromote { id: member(body)? },
        Method::MemberUpdate => {
            let rpc::MemberUpdateRequest { id, peer_urls } = parse(body)?;
            Request::MemberUpdate { id: MemberId(id), peer_urls }
        }
        Method::MemberList => Request::MemberList { linearizable: parse::<rpc::MemberListRequest>(body)?.linearizable },
        Method::Alarm => {
            Request::Alarm(alarms::parse(&parse::<alarm::AlarmRequest>(body)?).map_err(Refusal::malformed)?)
        }
        Method::Status => Request::Status,
        Method::Defragment => Request::Defragment,
        Method::HashKv => Request::HashKv { revision: parse::<rpc::HashKvRequest>(body)?.revision },
        Method::MoveLeader => Request::MoveLeader { target: member(body)? },
        Method::Downgrade => Request::Downgrade(downgrade(parse(body)?)?),
        _ => Request::Auth(auth_request(method, body)?),
    })
}

pub(super) fn parse<M: Message + Default>(body: Bytes) -> Result<M, Refusal> {
    M::decode(body).map_err(Refusal::malformed)
}

/// Whether a member can be reached there: a scheme, a host and a port, and no path.
fn is_peer_url(url: &str) -> bool {
    match url.trim().split_once("://") {
        Some(("http" | "https", authority)) => {
            let port = authority.rsplit_once(':').map(|(_, port)| port);
            port.is_some_and(|port| port.bytes().all(|digit| digit.is_ascii_digit()))
        }
        Some(("unix" | "unixs", _)) => true,
        _ => false,
    }
}

fn member(body: Bytes) -> Result<MemberId, Refusal> {
    Ok(MemberId(parse::<rpc::Named>(body)?.id as u64))
}

/// etcd takes an operation that is nothing for a missing key, and an order that does not exist for nonsense.
fn txn(txn: kv::TxnRequest) -> Result<crate::api::TxnRequest, Refusal> {
    let mut rest = vec![(&txn, 1)];
    while let Some((txn, level)) = rest.pop() {
        if level > TXN_DEPTH_MAX {
            return Err(Error::TooManyOps.into());
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match &op.request {
                None => return Err(Error::KeyNotFound.into()),
                Some(kv::request_op::Request::Txn(inner)) => rest.push((inner, level + 1)),
                Some(_) => {}
            }
        }
    }
    keys::parse_txn(txn, 1).map_err(|_| Error::InvalidSortOption.into())
}

fn downgrade(request: rpc::DowngradeRequest) -> Result<DowngradeRequest, Refusal> {
    Ok(match request.action {
        0 => DowngradeRequest::Validate(request.version),
        1 => DowngradeRequest::Enable(request.version),
        2 => DowngradeRequest::Cancel,
        _ => return Err(Refusal { code: 2, message: "etcdserver: unknown method".into() }),
    })
}

fn auth_request(method: Method, body: Bytes) -> Result<AuthRequest, Refusal> {
    let role = |body| Ok::<_, Refusal>(parse::<auth::AuthRoleName>(body)?.role);
    let user = |body| Ok::<_, Refusal>(parse::<auth::AuthUserName>(body)?.name);
    Ok(match method {
        Method::AuthEnable => AuthRequest::Enable,
        Method::AuthDisable => AuthRequest::Disable,
        Method::AuthStatus => AuthRequest::Status,
        Method::Authenticate => {
            let auth::InternalAuthenticateRequest { name, password, .. } = parse(body)?;
            AuthRequest::Authenticate { name, password }
        }
        Method::UserAdd => {
            let auth::AuthUserAddRequest { name, password, options, .. } = parse(body)?;
            let without = options.is_some_and(|options| options.no_password);
            AuthRequest::UserAdd { name, password: (!without).then_some(password) }
        }
        Method::UserGet => AuthRequest::UserGet { name: user(body)? },
        Method::UserList => AuthRequest::UserList,
        Method::UserDelete => AuthRequest::UserDelete { name: user(body)? },
        Method::UserChangePassword => {
            let auth::AuthUserChangePasswordRequest { name, password, .. } = parse(body)?;
            AuthRequest::UserChangePassword { name, password }
        }
        Method::UserGrantRole => {
            let auth::AuthUserRole { user, role } = parse(body)?;
            AuthRequest::UserGrantRole { user, role }
        }
        Method::UserRevokeRole => {
            let auth::AuthUserRole { user, role } = parse(body)?;
            AuthRequest::UserRevokeRole { user, role }
        }
        Method::RoleAdd => AuthRequest::RoleAdd { role: role(body)? },
        Method::RoleGet => AuthRequest::RoleGet { role: role(body)? },
        Method::RoleList => AuthRequest::RoleList,
        Method::RoleDelete => AuthRequest::RoleDelete { role: role(body)? },
        Method::RoleGrantPermission => {
            let auth::AuthRoleGrantPermissionRequest { name, perm } = parse(body)?;
            let perm = perm.ok_or(Error::PermissionNotGiven)?;
            let access = match perm.perm_type {
                0 => PermissionType::Read,
                1 => PermissionType::Write,
                2 => PermissionType::ReadWrite,
                other => return Err(Refusal::malformed(format!("permission type {other} does not exist"))),
            };
            let permission = Permission { access, key: perm.key, range_end: perm.range_end };
            AuthRequest::RoleGrantPermission { role: name, permission }
        }
        Method::RoleRevokePermission => {
            let auth::AuthRoleRevokePermissionRequest { role, key, range_end } = parse(body)?;
            AuthRequest::RoleRevokePermission { role, key, range_end }
        }
        _ => unreachable!("{method:?} is no method of the auth service"),
    })
}
