//! A2 as clients see it: nobody is answered what its user may not ask for, and nobody is refused what its user may.
//!
//! The clients' own requests about users, roles and passwords are the evidence. Each says of some facts (that a
//! user has a role, a role a permission) that they hold from some moment between its call and its answer on, or
//! hold no more; one without an answer may say so at any later time, or never. So for every operation there is what
//! its user *may* have been allowed at some moment that counts, and what it was *surely* allowed at all of them.
//! What goes through the log, and linearizable reads, count as of a moment between call and answer. What one member
//! answers alone may be older: as old as the token, because a member that knows it has applied its making, and as
//! the write that made the revision in the answer. Only the latter counts where the member may not have heard yet
//! that auth is on, since it does not look at tokens then. Which keys a lease has is not known here.

use std::collections::BTreeMap;

use bytes::Bytes;
use detcd_replica::api::{
    AuthRequest, AuthResponse, Error, KeyRange, PermissionType, RangeEnd, Request, RequestOp, ResponseBody, Revision,
    WatchBody, WatchResponse,
};
use detcd_replica::history::{Finding, History, Moment, Operation, Outcome, Side, Watch};
use detcd_replica::MemberId;

use crate::linearizability::{end, finding, role, words, Role};
use crate::rights::{needs, together, Access, Need};

/// The name of the check.
pub(crate) const CHECK: &str = "A2";
const ROOT: &str = "root";

/// Something that a request about users and roles makes true or false.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fact<'h> {
    /// Auth is on.
    Enabled,
    /// The user has the role.
    HasRole(&'h str, &'h str),
    /// The user has the password.
    HasPassword(&'h str, &'h str),
    /// The role has a permission with this key and end.
    May(&'h str, Access, &'h Bytes, &'h Bytes),
}

/// A request that makes a fact true or false.
#[derive(Clone, Copy, Debug)]
struct Word {
    call: Moment,
    /// The end of time, when nobody knows.
    end: Moment,
    holds: bool,
    /// Whether it was answered.
    sure: bool,
}

/// A token that a client was given.
#[derive(Clone, Copy, Debug)]
struct Token<'h> {
    call: Moment,
    end: Moment,
    text: &'h str,
}

impl Token<'_> {
    /// Whether it has the three parts of a JSON web token; a simple one has two.
    fn is_jwt(self) -> bool {
        self.text.split('.').count() == 3
    }
}

/// Everything that clients did to users and roles.
#[derive(Default)]
struct Facts<'h> {
    words: BTreeMap<Fact<'h>, Vec<Word>>,
    /// The roles that anyone was to have, and the permissions of each.
    roles: BTreeMap<&'h str, Vec<Fact<'h>>>,
    /// By client and user, in order.
    tokens: BTreeMap<(u32, &'h str), Vec<Token<'h>>>,
    /// What was answered and makes tokens worthless: its operation, and whose; `None` is everybody's that names an auth
    /// revision.
    revoked: Vec<(&'h Operation, Option<&'h str>)>,
    /// By revision, a moment before which it was not there yet.
    since: BTreeMap<Revision, Moment>,
    /// By member, its answers in order of time: when, and the newest revision that it had shown by then.
    shown: BTreeMap<MemberId, Vec<(Moment, Revision)>>,
}

/// Holds every operation and watch against the rights of its user.
pub(crate) fn check(history: &History) -> Option<Finding> {
    let facts = Facts::of(history)?;
    let operations = history.operations.iter().find_map(|operation| facts.judge(operation));
    operations.or_else(|| history.watches.iter().find_map(|watch| facts.judge_watch(watch)))
}

fn asks(operation: &Operation) -> Option<&AuthRequest> {
    match &operation.request {
        Request::Auth(request) if !matches!(operation.outcome, Outcome::Failed { .. }) => Some(request),
        _ => None,
    }
}

/// What is said of facts, by name: those that a request makes true, and those that it makes false.
fn said<'h>(request: &'h AuthRequest, facts: &Facts<'h>) -> Vec<(Fact<'h>, bool)> {
    let known = |is: &dyn Fn(&Fact<'h>) -> bool| -> Vec<(Fact<'h>, bool)> {
        facts.words.keys().filter(|fact| is(fact)).map(|fact| (fact.clone(), false)).collect()
    };
    match request {
        AuthRequest::Enable => vec![(Fact::Enabled, true)],
        AuthRequest::Disable => vec![(Fact::Enabled, false)],
        AuthRequest::UserAdd { name, password: Some(password) }
        | AuthRequest::UserChangePassword { name, password } => {
            let mut said = known(&|fact| matches!(fact, Fact::HasPassword(user, _) if user == name));
            said.retain(|(fact, _)| *fact != Fact::HasPassword(name, password));
            said.push((Fact::HasPassword(name, password), true));
            said
        }
        AuthRequest::UserDelete { name } => {
            known(&|fact| matches!(fact, Fact::HasRole(user, _) | Fact::HasPassword(user, _) if user == name))
        }
        AuthRequest::UserGrantRole { user, role } => vec![(Fact::HasRole(user, role), true)],
        AuthRequest::UserRevokeRole { user, role } => vec![(Fact::HasRole(user, role), false)],
        AuthRequest::RoleDelete { role } => {
            known(&|fact| matches!(fact, Fact::HasRole(_, of) | Fact::May(of, ..) if of == role))
        }
        AuthRequest::RoleGrantPermission { role, permission } => {
            let accesses: &[Access] = match permission.access {
                PermissionType::Read => &[Access::Read],
                PermissionType::Write => &[Access::Write],
                PermissionType::ReadWrite => &[Access::Read, Access::Write],
            };
            let fact = |access: &Access| Fact::May(role, *access, &permission.key, &permission.range_end);
            accesses.iter().map(|access| (fact(access), true)).collect()
        }
        AuthRequest::RoleRevokePermission { role, key, range_end } => {
            let fact = |access| (Fact::May(role, access, key, range_end), false);
            vec![fact(Access::Read), fact(Access::Write)]
        }
        _ => Vec::new(),
    }
}

/// A grant of one kind of access takes the other away, or does not: that depends on the other permissions of the role.
fn may_take_away(request: &AuthRequest) -> Vec<Fact<'_>> {
    let AuthRequest::RoleGrantPermission { role, permission } = request else { return Vec::new() };
    let fact = |access| vec![Fact::May(role, access, &permission.key, &permission.range_end)];
    match permission.access {
        PermissionType::Read => fact(Access::Write),
        PermissionType::Write => fact(Access::Read),
        PermissionType::ReadWrite => Vec::new(),
    }
}

impl<'h> Facts<'h> {
    /// `None` when nobody has made the user root: what there was before is not known then.
    fn of(history: &'h History) -> Option<Self> {
        let mut facts = Self::default();
        let asked: Vec<(&Operation, &AuthRequest)> =
            history.operations.iter().filter_map(|operation| Some((operation, asks(operation)?))).collect();
        let makes_root =
            |(_, request): &(_, &AuthRequest)| matches!(request, AuthRequest::UserAdd { name, .. } if name == ROOT);
        asked.iter().find(|asked| makes_root(asked))?;
        // First the facts that there are: who goes takes those of others along.
        for (_, request) in &asked {
            for (fact, _) in said(request, &facts) {
                facts.words.entry(fact).or_default();
            }
        }
        for (operation, request) in &asked {
            let sure = matches!(operation.outcome, Outcome::Ok { .. });
            let word = |holds, sure| Word { call: operation.call, end: end(operation), holds, sure };
            for (fact, holds) in said(request, &facts) {
                facts.words.entry(fact).or_default().push(word(holds, sure));
            }
            for fact in may_take_away(request) {
                facts.words.entry(fact).or_default().push(word(false, false));
            }
            facts.note_tokens(operation, request);
        }
        for fact in facts.words.keys() {
            match fact {
                Fact::HasRole(_, role) => drop(facts.roles.entry(role).or_default()),
                Fact::May(role, ..) => facts.roles.entry(role).or_default().push(fact.clone()),
                _ => {}
            }
        }
        facts.since = since(history);
        facts.shown = shown(history);
        Some(facts)
    }

    /// A moment before which a member could not be, when it was asked at `call`: it had shown more already. What it has
    /// applied it may lose in a crash, but not what users and roles are: that is committed at once.
    fn known(&self, member: MemberId, call: Moment) -> Moment {
        let answers = self.shown.get(&member).map_or(&[][..], |answers| answers);
        let before = answers.partition_point(|(at, _)| *at < call);
        before.checked_sub(1).map_or(0, |last| self.fresh(answers[last].1))
    }

    /// A moment before which a member could not answer as of this revision.
    fn fresh(&self, revision: Revision) -> Moment {
        self.since.range(..=revision).next_back().map_or(0, |(_, since)| *since)
    }

    fn note_tokens(&mut self, operation: &'h Operation, request: &'h AuthRequest) {
        let Outcome::Ok { at, response } = &operation.outcome else { return };
        match (request, &response.body) {
            (AuthRequest::Authenticate { name, .. }, ResponseBody::Auth(AuthResponse::Token(text))) => {
                let token = Token { call: operation.call, end: *at, text };
                self.tokens.entry((operation.client, name)).or_default().push(token);
            }
            (AuthRequest::UserChangePassword { name, .. } | AuthRequest::UserDelete { name }, _) => {
                self.revoked.extend([(operation, Some(&name[..])), (operation, None)]);
            }
            (
                AuthRequest::UserAdd { .. }
                | AuthRequest::RoleAdd { .. }
                | AuthRequest::RoleDelete { .. }
                | AuthRequest::RoleGrantPermission { .. }
                | AuthRequest::RoleRevokePermission { .. }
                | AuthRequest::UserRevokeRole { .. },
                _,
            ) => self.revoked.push((operation, None)),
            _ => {}
        }
    }

    /// Whether the fact may hold, or may not hold, at some moment of a span.
    fn may_be(&self, fact: &Fact<'_>, holds: bool, from: Moment, to: Moment) -> bool {
        let beginning = Word { call: 0, end: 0, holds: false, sure: true };
        let words = self.words.get(fact).map_or(&[][..], |words| words);
        let overruled = |word: &Word| {
            words
                .iter()
                .any(|other| other.sure && other.holds != word.holds && word.end < other.call && other.end < from)
        };
        std::iter::once(&beginning).chain(words).any(|word| word.holds == holds && word.call <= to && !overruled(word))
    }

    fn surely(&self, fact: &Fact<'_>, from: Moment, to: Moment) -> bool {
        !self.may_be(fact, false, from, to)
    }

    /// The ranges of which this is true.
    fn ranges(&self, user: &str, access: Access, is: &dyn Fn(&Fact<'_>) -> bool) -> Vec<KeyRange> {
        let has = |role: &&str| is(&Fact::HasRole(user, role));
        let roles = self.roles.iter().filter(|(role, _)| has(role));
        let permissions = roles.flat_map(|(_, permissions)| permissions).filter(|fact| is(fact));
        let range = |fact: &Fact<'h>| match fact {
            Fact::May(_, of, key, end) if *of == access => Some(range(key, end)),
            _ => None,
        };
        permissions.filter_map(range).collect()
    }

    /// Whether there is this access by all that may be true, or by what surely is.
    fn allows(&self, user: &str, access: Access, range: &KeyRange, is: &dyn Fn(&Fact<'_>) -> bool) -> bool {
        is(&Fact::HasRole(user, ROOT)) || together(self.ranges(user, access, is).into_iter(), range)
    }

    /// The token that the client had for its user when it asked.
    fn token(&self, client: u32, user: &str, call: Moment) -> Option<Token<'h>> {
        let tokens = self.tokens.get(&(client, user))?;
        tokens.iter().rev().find(|token| token.end < call).copied()
    }

    fn judge(&self, operation: &Operation) -> Option<Finding> {
        let user = &operation.user[..];
        let token = self.token(operation.client, user, operation.call);
        let (local, to) = (is_local(&operation.request), end(operation));
        let who = if user.is_empty() { "nobody in particular" } else { user };
        let asked = words::request(&operation.request);
        match &operation.outcome {
            Outcome::Ok { response, .. } => {
                let fresh = match local {
                    true if is_allowed_before(&operation.request) => self.known(operation.member, operation.call),
                    true => self.fresh(response.header.revision),
                    false => operation.call,
                };
                let problem = self.wrongly_answered(operation, token, fresh, to)?;
                let summary = format!("`{asked}` of {who} was answered, {problem}");
                Some(finding(CHECK, operation, summary, [].into_iter()))
            }
            Outcome::Failed { error: Error::PermissionDenied, .. } => {
                let needs = needs(&operation.request);
                let from = match local {
                    true => {
                        // A simple token is known to who has applied its making. A JSON web token is good anywhere.
                        let made = token.filter(|token| !token.is_jwt()).map_or(0, |token| token.call);
                        made.max(self.known(operation.member, operation.call))
                    }
                    false => operation.call,
                };
                let surely = |fact: &Fact<'_>| self.surely(fact, from, to);
                let mut unmet = needs.iter().filter(|need| match need {
                    Need::Keys(access, range) => !self.allows(user, *access, range, &surely),
                    Need::Lease(_) => true,
                });
                if needs.is_empty() || unmet.next().is_some() {
                    return None;
                }
                let summary = format!("`{asked}` was refused to {who}, who may do it");
                Some(finding(CHECK, operation, summary, [].into_iter()))
            }
            _ => None,
        }
    }

    /// Why the operation should have been refused.
    fn wrongly_answered(
        &self,
        operation: &Operation,
        token: Option<Token<'_>>,
        fresh: Moment,
        to: Moment,
    ) -> Option<String> {
        let user = &operation.user[..];
        if let Request::Auth(AuthRequest::Authenticate { name, password }) = &operation.request {
            let wrong = !self.may_be(&Fact::HasPassword(name, password), true, fresh, to);
            return wrong.then(|| "though that was not the password".to_owned());
        }
        if !self.surely(&Fact::Enabled, fresh, to) {
            return None;
        }
        let from = match token {
            Some(token) if is_local(&operation.request) => fresh.max(token.call),
            _ => fresh,
        };
        let may = |fact: &Fact<'_>| self.may_be(fact, true, from, to);
        if is_roots(operation, user) && !may(&Fact::HasRole(user, ROOT)) {
            return Some("which only root may do".to_owned());
        }
        let needs = needs(&operation.request);
        let keys = needs.iter().filter_map(|need| match need {
            Need::Keys(access, range) => Some((*access, range)),
            Need::Lease(_) => None,
        });
        let mut missing = keys.clone().filter(|(access, range)| !self.allows(user, *access, range, &may));
        if let Some((access, range)) = missing.next() {
            let verb = match access {
                Access::Read => "read",
                Access::Write => "write",
            };
            return Some(format!("without the right to {verb} {}", words::range(range)));
        }
        if keys.count() == 0 || is_local(&operation.request) {
            return None;
        }
        self.outdated(operation, token?)
    }

    /// What makes the token worthless that the operation came with.
    fn outdated(&self, operation: &Operation, token: Token<'_>) -> Option<String> {
        // A JSON web token names an auth revision; a simple one is forgotten with its user's old password.
        let whose = (!token.is_jwt()).then_some(&operation.user[..]);
        let since = |change: &&(&Operation, Option<&str>)| {
            change.1 == whose && token.end < change.0.call && end(change.0) < operation.call
        };
        let (change, _) = self.revoked.iter().find(since)?;
        Some(format!("with a token from before `{}`", words::request(&change.request)))
    }

    fn judge_watch(&self, watch: &Watch) -> Option<Finding> {
        let created = |response: &&(Moment, WatchResponse)| response.1.body == WatchBody::Created;
        let (at, response) = watch.responses.iter().find(created)?;
        let user = &watch.user[..];
        // A member takes a JSON web token as it is, however little it has applied.
        let token = self.token(watch.client, user, watch.call).filter(|token| !token.is_jwt());
        let (fresh, to) = (self.fresh(response.header.revision), *at);
        let from = fresh.max(token.map_or(0, |token| token.call));
        let may = |fact: &Fact<'_>| self.may_be(fact, true, from, to);
        if !self.surely(&Fact::Enabled, fresh, to) || self.allows(user, Access::Read, &watch.request.range, &may) {
            return None;
        }
        let user = if user.is_empty() { "nobody in particular" } else { user };
        let range = words::range(&watch.request.range);
        let summary = format!("{user} watches {range} without the right to read that");
        let details = vec![format!("client {} on {}, asked for at {}", watch.client, watch.member, watch.call)];
        Some(Finding { check: CHECK, side: Side::BlackBox, at: *at, summary, details })
    }
}

/// By revision, the latest call of those that made it or one before it.
fn since(history: &History) -> BTreeMap<Revision, Moment> {
    let made = history.operations.iter().filter_map(|operation| match role(operation) {
        Role::Write(revision) => Some((revision, operation.call)),
        _ => None,
    });
    let mut since: BTreeMap<Revision, Moment> = made.collect();
    let mut latest = 0;
    for moment in since.values_mut() {
        latest = latest.max(*moment);
        *moment = latest;
    }
    since
}

/// By member, when it answered, and the newest revision in its answers until then.
fn shown(history: &History) -> BTreeMap<MemberId, Vec<(Moment, Revision)>> {
    let mut shown: BTreeMap<MemberId, Vec<(Moment, Revision)>> = BTreeMap::new();
    for operation in &history.operations {
        if let Outcome::Ok { at, response } = &operation.outcome {
            shown.entry(operation.member).or_default().push((*at, response.header.revision));
        }
    }
    for answers in shown.values_mut() {
        answers.sort_unstable();
        let mut newest = 0;
        for (_, revision) in answers {
            newest = newest.max(*revision);
            *revision = newest;
        }
    }
    shown
}

/// The range of a permission.
fn range(key: &Bytes, end: &Bytes) -> KeyRange {
    let end = match &end[..] {
        b"" => RangeEnd::Single,
        b"\0" => RangeEnd::Open,
        _ => RangeEnd::Before(end.clone()),
    };
    KeyRange { start: key.clone(), end }
}

/// Whether one member answers, or refuses, by what it knows itself.
fn is_local(request: &Request) -> bool {
    match request {
        Request::Range(range) => range.serializable,
        Request::Txn(txn) => {
            let ops = txn.success.iter().chain(&txn.failure);
            ops.clone().all(|op| matches!(op, RequestOp::Range(range) if range.serializable))
        }
        Request::Put(_) | Request::DeleteRange(_) | Request::Auth(_) => false,
        _ => true,
    }
}

/// Whether a member allows it by what it knows itself, and its answer comes later, from the log or after some work: the
/// answer's revision says nothing of what the member knew.
fn is_allowed_before(request: &Request) -> bool {
    matches!(
        request,
        Request::Compact(_)
            | Request::Defragment
            | Request::MoveLeader { .. }
            | Request::Downgrade(_)
            | Request::MemberAdd { .. }
            | Request::MemberRemove { .. }
            | Request::MemberPromote { .. }
            | Request::MemberUpdate { .. }
    )
}

/// Whether only the root role may ask for it; users may look at themselves and at the roles that they have.
fn is_roots(operation: &Operation, user: &str) -> bool {
    match &operation.request {
        Request::Auth(AuthRequest::Authenticate { .. } | AuthRequest::RoleGet { .. }) => false,
        Request::Auth(AuthRequest::UserGet { name }) => name != user,
        Request::Auth(_)
        | Request::Compact(_)
        | Request::Defragment
        | Request::HashKv { .. }
        | Request::MoveLeader { .. }
        | Request::Downgrade(_)
        | Request::MemberAdd { .. }
        | Request::MemberRemove { .. }
        | Request::MemberPromote { .. }
        | Request::MemberUpdate { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
