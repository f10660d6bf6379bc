//! Who asks, and whether they may: the way of a request through the auth store, up to the log and out of it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use prost::Message as _;

use crate::api::{
    AlarmAction, AuthRequest, Credential, Error, Key, LeaseId, Request, ResponseBody, WatchCreate, WatchRequest,
};
use crate::auth::{AuthInfo, AuthStore, Who};
use crate::backend::Backend;
use crate::time::Monotonic;
use crate::wire::{self, AuthCommand, Command};
use crate::{Bug, RequestId, StreamId, Task};

use super::Replica;

/// Requests whose token names an index that is not applied here yet.
const SEATED_MAX: usize = 4096;

/// Those who ask, where more than one step is needed to answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Callers {
    /// Who opened each watch stream.
    streams: BTreeMap<StreamId, Credential>,
    /// In order of their coming: the index to wait for, how long to wait, and who waits.
    seated: VecDeque<(u64, Monotonic, Seated)>,
    /// By the id of their entry: name, password, and the auth revision at which they belonged together.
    authenticating: BTreeMap<u64, (String, String, u64)>,
}

/// Who waits for an index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Seated {
    Request { id: RequestId, credential: Credential, request: Request },
    Stream { stream: StreamId, request: WatchRequest },
}

impl Replica {
    /// Keep the request back until the index in its token is applied; give it back when there is nothing to wait for.
    pub(super) fn seat(
        &mut self,
        id: RequestId,
        credential: Credential,
        request: Request,
    ) -> Option<(Credential, Request)> {
        match self.auth.who(self.now, self.applied, &credential) {
            Ok(Who::AfterIndex(_)) if self.callers.seated.len() >= SEATED_MAX => {
                self.reply(id, Err(Error::TooManyRequests));
                None
            }
            Ok(Who::AfterIndex(index)) => {
                self.take_seat(index, Seated::Request { id, credential, request });
                None
            }
            // Whether the token is good is asked again where etcd asks.
            _ => Some((credential, request)),
        }
    }

    fn take_seat(&mut self, index: u64, who: Seated) {
        let deadline = self.now + self.config.request_timeout;
        self.callers.seated.push_back((index, deadline, who));
        self.out.wake(Task::RequestTimeout, self.config.request_timeout);
    }

    /// Entries were applied: those who waited for them go on.
    pub(super) fn call_seated(&mut self) {
        if self.callers.seated.iter().all(|(index, ..)| *index > self.applied) {
            return;
        }
        let applied = self.applied;
        let (ready, waiting) =
            std::mem::take(&mut self.callers.seated).into_iter().partition(|(index, ..)| *index <= applied);
        self.callers.seated = waiting;
        let ready: VecDeque<_> = ready;
        for (.., seated) in ready {
            match seated {
                Seated::Request { id, credential, request } => self.request(id, credential, request),
                Seated::Stream { stream, request } => self.stream_request(stream, request),
            }
        }
    }

    /// A token whose index does not come in time is a bad one.
    pub(super) fn seated_timeout(&mut self, now: Monotonic) {
        while let Some((_, deadline, _)) = self.callers.seated.front() {
            if *deadline > now {
                let rest = deadline.since(now);
                return self.out.wake(Task::RequestTimeout, rest);
            }
            match self.callers.seated.pop_front() {
                Some((.., Seated::Request { id, .. })) => self.reply(id, Err(Error::InvalidAuthToken)),
                Some((.., Seated::Stream { stream, request: WatchRequest::Create(create) })) => {
                    self.refuse_watch(stream, &create, Error::InvalidAuthToken);
                }
                _ => {}
            }
        }
    }

    /// Whose credential it is. By now every index that a token can name is applied, or the token is bad.
    pub(super) fn who(&mut self, credential: &Credential) -> Result<Option<AuthInfo>, Error> {
        match self.auth.who(self.now, self.applied, credential)? {
            Who::Known(who) => Ok(who),
            Who::AfterIndex(_) => Err(Error::InvalidAuthToken),
        }
    }

    /// What is checked before anything else, by the kind of request: maintenance and membership are the root role's,
    /// and some of the rest wants somebody, whoever it is.
    pub(super) fn may_ask(&mut self, credential: &Credential, request: &Request) -> Result<(), Error> {
        if !self.auth.is_enabled() {
            return Ok(());
        }
        match request {
            Request::Compact(_)
            | Request::Defragment
            | Request::HashKv { .. }
            | Request::MoveLeader { .. }
            | Request::Downgrade(_)
            | Request::MemberAdd { .. }
            | Request::MemberRemove { .. }
            | Request::MemberPromote { .. }
            | Request::MemberUpdate { .. } => self.must_be_root(credential),
            Request::Alarm(alarm) if alarm.action != AlarmAction::Get => self.must_be_root(credential),
            Request::Status
            | Request::Alarm(_)
            | Request::LeaseGrant(_)
            | Request::LeaseRevoke { .. }
            | Request::LeaseTimeToLive { keys: false, .. }
            | Request::MemberList { linearizable: false } => self.must_be_somebody(credential),
            Request::LeaseTimeToLive { id, keys: true } => {
                self.must_be_somebody(credential)?;
                let keys = self.keys_of_lease(*id);
                self.permitted(credential, |auth, backend, who| auth.may_see_keys(backend, who, &keys))
            }
            Request::Leases => {
                self.must_be_somebody(credential)?;
                let keys: Vec<Key> =
                    self.lessor.leases().values().flat_map(|lease| lease.keys.iter().cloned()).collect();
                self.permitted(credential, |auth, backend, who| auth.may_see_keys(backend, who, &keys))
            }
            Request::LeaseKeepAlive { id } => {
                self.must_be_somebody(credential)?;
                let keys = self.keys_of_lease(*id);
                self.permitted(credential, |auth, backend, who| auth.may_write_keys(backend, who, &keys))
            }
            Request::Range(_)
            | Request::Put(_)
            | Request::DeleteRange(_)
            | Request::Txn(_)
            | Request::MemberList { linearizable: true }
            | Request::Auth(_) => Ok(()),
        }
    }

    fn must_be_root(&mut self, credential: &Credential) -> Result<(), Error> {
        let who = self.who(credential)?.unwrap_or_default();
        self.auth.may_administer(&self.backend, &who)
    }

    pub(super) fn must_be_somebody(&mut self, credential: &Credential) -> Result<(), Error> {
        let who = self.who(credential)?;
        self.auth.must_be_somebody(who.as_ref())
    }

    /// `doSerialize`: a check for something that is read here and now.
    pub(super) fn permitted(
        &mut self,
        credential: &Credential,
        check: impl FnOnce(&AuthStore, &Backend, &AuthInfo) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let who = self.who(credential)?.unwrap_or_default();
        check(&self.auth, &self.backend, &who)?;
        // A token may be of a later revision than this member has applied.
        match who.revision == 0 || who.revision == self.auth.revision() {
            true => Ok(()),
            false => Err(Error::AuthOldRevision),
        }
    }

    /// The keys that are attached to a lease.
    pub(super) fn keys_of_lease(&self, lease: LeaseId) -> Vec<Key> {
        self.lessor.lookup(lease).map(|lease| lease.keys.iter().cloned().collect()).unwrap_or_default()
    }

    // ---- Users, roles, permissions, tokens.

    pub(super) fn propose_auth(&mut self, id: RequestId, credential: &Credential, request: AuthRequest) {
        match self.proposer(credential) {
            Ok(who) => {
                self.propose_auth_as(id, &who, request);
            }
            Err(error) => self.reply(id, Err(error)),
        }
    }

    fn propose_auth_as(&mut self, id: RequestId, who: &AuthInfo, request: AuthRequest) -> u64 {
        let entry = self.ids.next();
        let header = wire::header(entry, &who.username, who.revision);
        let data = wire::auth_message(header, self.auth.command(entry, request)).encode_to_vec();
        self.propose_data(id, entry, data.into());
        entry
    }

    /// `Authenticate`: the password is checked here, by the one member that is asked; the others trust it.
    pub(super) fn authenticate(&mut self, id: RequestId, name: String, password: String) {
        match self.auth.check_password(&self.backend, &name, &password) {
            Ok(checked) => {
                let request = AuthRequest::Authenticate { name: name.clone(), password: String::new() };
                let entry = self.propose_auth_as(id, &AuthInfo::default(), request);
                self.callers.authenticating.insert(entry, (name, password, checked));
            }
            Err(error) => self.reply(id, Err(error)),
        }
    }

    /// The entry of an authentication was applied, or given up.
    pub(super) fn authenticated(&mut self, entry: u64) -> Option<(String, String, u64)> {
        self.callers.authenticating.remove(&entry)
    }

    /// Says whether the backend's lock was taken.
    pub(super) fn apply_auth(&mut self, entry: u64, who: &AuthInfo, command: AuthCommand) -> bool {
        let waiter = self.proposed.remove(&entry);
        let only_looks = matches!(command, AuthCommand::Status | AuthCommand::UserGet(_) | AuthCommand::RoleGet(_));
        if only_looks && waiter.is_none() {
            return false;
        }
        // The index in a token is the last one applied before it, up to 3.5 its own: the same on every member.
        let index = self.applied + u64::from(self.config.release.speaks_old_api());
        let before = self.backend.pending();
        let result = match self.auth.may_command(&self.backend, who, &command) {
            Ok(()) => self.auth.apply(&mut self.backend, self.now, index, command),
            Err(error) => Err(error),
        };
        // Changes of auth do not wait for the batch to fill, lest readers miss them; with the bug they do.
        let changed = self.backend.pending() != before;
        self.commit_wanted |= changed && !self.config.bugs.has(Bug::DeleteNotInReadBuffer);
        let Some(id) = waiter else { return changed };
        if let (true, Some((name, password, checked))) = (result.is_ok(), self.authenticated(entry)) {
            if checked != self.auth.revision() {
                // The password may have been changed between the check and now.
                self.authenticate(id, name, password);
                return changed;
            }
        }
        match result {
            Ok(response) => self.reply_body(id, ResponseBody::Auth(response)),
            Err(error) => self.reply(id, Err(error)),
        }
        changed
    }

    /// An entry that the backend has already. Bug M-57: an auth command in it is applied all the same.
    pub(super) fn replay_data(&mut self, data: &Bytes) {
        let reapplies_auth = self.config.bugs.has(Bug::AuthReapplyBumpsRev);
        if !reapplies_auth && !self.membership.replays() {
            return;
        }
        let entry = wire::decode(data).expect("a member proposes only what it has encoded");
        let who = AuthInfo::of(&entry);
        match entry.command {
            Command::Auth(command) if reapplies_auth => {
                self.apply_auth(entry.id, &who, command);
            }
            command => self.replay_cluster(command),
        }
    }

    /// What the user of an entry may not do is not done, on any member.
    pub(super) fn may_apply(&self, who: &AuthInfo, request: &Request) -> Result<(), Error> {
        if !self.auth.is_enabled() {
            return Ok(());
        }
        let keys = |lease| self.keys_of_lease(lease);
        match request {
            Request::Range(range) => self.auth.may_range(&self.backend, who, range),
            Request::Put(put) => self.auth.may_put(&self.backend, &keys, who, put),
            Request::DeleteRange(delete) => self.auth.may_delete(&self.backend, who, delete),
            Request::Txn(txn) => self.auth.may_txn(&self.backend, &keys, who, txn),
            Request::LeaseRevoke { id } => self.auth.may_write_keys(&self.backend, who, &keys(*id)),
            _ => Ok(()),
        }
    }

    // ---- Watch streams.

    pub(super) fn stream_open(&mut self, stream: StreamId, credential: Credential, window: u32) {
        self.callers.streams.insert(stream, credential);
        self.watchers.open(stream, u64::from(window));
    }

    pub(super) fn stream_closed(&mut self, stream: StreamId) {
        self.callers.streams.remove(&stream);
        self.callers.seated.retain(|(.., seated)| !seated.is_on(stream));
        self.watchers.close(stream);
    }

    /// Whether a request on a stream may go on now: not behind one that waits, nor without permission.
    pub(super) fn admit(&mut self, stream: StreamId, request: WatchRequest) -> Option<WatchRequest> {
        let last = self.callers.seated.iter().rev().find(|(.., seated)| seated.is_on(stream));
        if let Some(index) = last.map(|(index, ..)| *index).filter(|index| *index > self.applied) {
            self.take_seat(index, Seated::Stream { stream, request });
            return None;
        }
        let WatchRequest::Create(create) = &request else { return Some(request) };
        let credential = self.callers.streams.get(&stream)?.clone();
        let permitted = match self.auth.who(self.now, self.applied, &credential) {
            Ok(Who::AfterIndex(index)) => {
                self.take_seat(index, Seated::Stream { stream, request });
                return None;
            }
            Ok(Who::Known(who)) => self.auth.may_watch(&self.backend, &who.unwrap_or_default(), &create.range),
            Err(error) => Err(error),
        };
        if let Err(error) = permitted {
            self.refuse_watch(stream, create, error);
            return None;
        }
        Some(request)
    }

    fn refuse_watch(&mut self, stream: StreamId, create: &WatchCreate, error: Error) {
        let reason = match error {
            Error::InvalidAuthToken => "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
            Error::AuthOldRevision => {
                "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old"
            }
            Error::UserEmpty => "rpc error: code = InvalidArgument desc = etcdserver: user name is empty",
            _ => "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
        };
        self.watchers.refuse(stream, create.watch, self.store.revision(), reason);
        self.wake_watchers();
    }
}

impl Seated {
    fn is_on(&self, of: StreamId) -> bool {
        matches!(self, Self::Stream { stream, .. } if *stream == of)
    }
}
