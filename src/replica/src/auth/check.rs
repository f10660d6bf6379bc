//! Who may do what.
//!
//! Ranges are judged as they are asked for, not by the keys that are there. A transaction is judged before any of it
//! runs, both its branches and whatever is nested in them.

use crate::api::{
    DeleteRangeRequest, Error, Key, KeyRange, LeaseId, PutRequest, RangeEnd, RangeRequest, RequestOp, TxnRequest,
};
use crate::mvcc::Batch;
use crate::{wire, Bug};

use super::permission::Access;
use super::{table, AuthStore, ROOT};

/// Whose request it is, and the auth revision at which that was found out. Nobody in particular is empty and 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct AuthInfo {
    pub(crate) username: String,
    pub(crate) revision: u64,
}

impl AuthInfo {
    /// As it was when the entry was proposed.
    pub(crate) fn of(entry: &wire::Entry) -> Self {
        Self { username: entry.username.clone(), revision: entry.auth_revision }
    }
}

/// The keys that are attached to a lease; none when there is no such lease.
pub(crate) type KeysOfLease<'a> = &'a dyn Fn(LeaseId) -> Vec<Key>;

impl AuthStore {
    pub(crate) fn may_range(&self, batch: &impl Batch, who: &AuthInfo, range: &RangeRequest) -> Result<(), Error> {
        self.may(batch, who, Access::Read, &range.range)
    }

    pub(crate) fn may_put(
        &self,
        batch: &impl Batch,
        leases: KeysOfLease<'_>,
        who: &AuthInfo,
        put: &PutRequest,
    ) -> Result<(), Error> {
        let key = KeyRange::single(put.key.clone());
        self.may(batch, who, Access::Write, &key)?;
        if put.lease != 0 {
            self.may_write_keys(batch, who, &leases(put.lease))?;
        }
        match put.prev_kv {
            true => self.may(batch, who, Access::Read, &key),
            false => Ok(()),
        }
    }

    pub(crate) fn may_delete(&self, batch: &impl Batch, who: &AuthInfo, del: &DeleteRangeRequest) -> Result<(), Error> {
        self.may(batch, who, Access::Write, &del.range)?;
        match del.prev_kv {
            true => self.may(batch, who, Access::Read, &del.range),
            false => Ok(()),
        }
    }

    pub(crate) fn may_txn(
        &self,
        batch: &impl Batch,
        leases: KeysOfLease<'_>,
        who: &AuthInfo,
        txn: &TxnRequest,
    ) -> Result<(), Error> {
        for compare in &txn.compare {
            self.may(batch, who, Access::Read, &compare.range)?;
        }
        for op in txn.success.iter().chain(&txn.failure) {
            match op {
                RequestOp::Range(range) => self.may_range(batch, who, range)?,
                RequestOp::Put(put) if self.bugs.has(Bug::PrevkvLeaseBypass) => {
                    self.may(batch, who, Access::Write, &KeyRange::single(put.key.clone()))?;
                }
                RequestOp::Put(put) => self.may_put(batch, leases, who, put)?,
                RequestOp::DeleteRange(delete) => self.may_delete(batch, who, delete)?,
                RequestOp::Txn(_) if self.bugs.has(Bug::NestedTxnBypass) => {}
                RequestOp::Txn(inner) => self.may_txn(batch, leases, who, inner)?,
            }
        }
        Ok(())
    }

    /// `isWatchPermitted`. Later changes of permissions do not end a watch.
    pub(crate) fn may_watch(&self, batch: &impl Batch, who: &AuthInfo, range: &KeyRange) -> Result<(), Error> {
        if self.bugs.has(Bug::WatchRangeRbac) && range.end == RangeEnd::Open {
            return self.may(batch, who, Access::Read, &KeyRange::single(range.start.clone()));
        }
        self.may(batch, who, Access::Read, range)
    }

    /// Attaching a key to a lease, keeping it alive and revoking it need access to all keys that it can take along.
    pub(crate) fn may_write_keys(&self, batch: &impl Batch, who: &AuthInfo, keys: &[Key]) -> Result<(), Error> {
        self.may_all(batch, who, Access::Write, keys)
    }

    /// Looking at the keys of a lease.
    pub(crate) fn may_see_keys(&self, batch: &impl Batch, who: &AuthInfo, keys: &[Key]) -> Result<(), Error> {
        self.may_all(batch, who, Access::Read, keys)
    }

    fn may_all(&self, batch: &impl Batch, who: &AuthInfo, access: Access, keys: &[Key]) -> Result<(), Error> {
        // The root role is asked for before anything else, and whatever its auth revision says.
        if self.may_administer(batch, who).is_ok() {
            return Ok(());
        }
        keys.iter().try_for_each(|key| self.may(batch, who, access, &KeyRange::single(key.clone())))
    }

    /// `IsAdminPermitted`: users and roles, membership, maintenance. The auth revision does not count.
    pub(crate) fn may_administer(&self, batch: &impl Batch, who: &AuthInfo) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        if who.username.is_empty() {
            return Err(Error::UserEmpty);
        }
        match table::user(batch, &who.username) {
            None => Err(Error::UserNotFound),
            Some(user) if user.has_role(ROOT) => Ok(()),
            Some(_) => Err(Error::PermissionDenied),
        }
    }

    /// `requireAuthInfo`: somebody, whoever it is.
    pub(crate) fn must_be_somebody(&self, who: Option<&AuthInfo>) -> Result<(), Error> {
        match self.enabled && who.is_none() {
            true => Err(Error::UserEmpty),
            false => Ok(()),
        }
    }

    /// `isOpPermitted`.
    fn may(&self, batch: &impl Batch, who: &AuthInfo, access: Access, range: &KeyRange) -> Result<(), Error> {
        if !self.enabled {
            return Ok(());
        }
        if who.revision == 0 {
            return Err(Error::UserEmpty);
        }
        if who.revision < self.revision && !self.bugs.has(Bug::OldAuthRevAccepted) {
            return Err(Error::AuthOldRevision);
        }
        let user = table::user(batch, &who.username).ok_or(Error::PermissionDenied)?;
        match user.has_role(ROOT) || self.permissions.allow(&who.username, access, &range.start, &range.end.field()) {
            true => Ok(()),
            false => Err(Error::PermissionDenied),
        }
    }
}
