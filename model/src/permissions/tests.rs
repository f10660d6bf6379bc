//! Stories of users, told operation by operation.

use detcd_replica::api::{
    CompactRequest, Header, Permission, PutRequest, RangeRequest, Response, TxnRequest, WatchCreate, WatchResponse,
};
use detcd_replica::{MemberId, WatchId};

use super::*;

/// A history told operation by operation, one after the other.
#[derive(Default)]
struct Story(History, Revision);

impl Story {
    /// Auth is on; the user u has the role r, which may read a to c, and write b.
    fn new() -> Self {
        let name = |name: &str| name.to_owned();
        let add = |user: &str| AuthRequest::UserAdd { name: name(user), password: Some(format!("{user}-0")) };
        Self::default()
            .auth("", add(ROOT))
            .auth("", AuthRequest::UserGrantRole { user: name(ROOT), role: name(ROOT) })
            .auth("", add("u"))
            .grant("", PermissionType::Read, "a", "c")
            .grant("", PermissionType::Write, "b", "")
            .auth("", AuthRequest::UserGrantRole { user: name("u"), role: name("r") })
            .auth("", AuthRequest::Enable)
            .login("u", "u-0", "t.1")
    }

    /// From now on answers are of this revision.
    fn at(self, revision: Revision) -> Self {
        Self(self.0, revision)
    }

    /// Somebody makes a revision.
    fn write(self, revision: Revision) -> Self {
        let put = Request::Put(PutRequest::of("z", "v"));
        self.at(revision).ok(ROOT, put, ResponseBody::Put { prev_kv: None })
    }

    fn header(&self) -> Header {
        Header { member: MemberId(1), revision: self.1, raft_term: 1 }
    }

    fn now(&self) -> Moment {
        (self.0.operations.len() + self.0.watches.len()) as u64 * 10
    }

    fn add(mut self, user: &str, request: Request, outcome: impl FnOnce(Moment) -> Outcome) -> Self {
        let call = self.now();
        let (member, user) = (MemberId(1), user.to_owned());
        self.0.operations.push(Operation { client: 1, member, user, call, request, outcome: outcome(call + 5) });
        self
    }

    fn ok(self, user: &str, request: Request, body: ResponseBody) -> Self {
        let header = self.header();
        self.add(user, request, |at| Outcome::Ok { at, response: Response { header, body } })
    }

    fn denied(self, user: &str, request: Request) -> Self {
        self.add(user, request, |at| Outcome::Failed { at, error: Error::PermissionDenied })
    }

    fn auth(self, user: &str, request: AuthRequest) -> Self {
        self.ok(user, Request::Auth(request), ResponseBody::Auth(AuthResponse::Done))
    }

    fn unknown(mut self) -> Self {
        self.0.operations.last_mut().expect("there is one").outcome = Outcome::Unknown { at: None };
        self
    }

    fn grant(self, user: &str, access: PermissionType, key: &'static str, end: &'static str) -> Self {
        let permission = Permission { access, key: key.into(), range_end: end.into() };
        self.auth(user, AuthRequest::RoleGrantPermission { role: "r".to_owned(), permission })
    }

    fn revoke(self, key: &'static str, end: &'static str) -> Self {
        let request =
            AuthRequest::RoleRevokePermission { role: "r".to_owned(), key: key.into(), range_end: end.into() };
        self.auth(ROOT, request)
    }

    fn passwd(self, password: &str) -> Self {
        self.auth(ROOT, AuthRequest::UserChangePassword { name: "u".to_owned(), password: password.to_owned() })
    }

    fn login(self, user: &str, password: &str, token: &str) -> Self {
        let request = AuthRequest::Authenticate { name: user.to_owned(), password: password.to_owned() };
        self.ok("", Request::Auth(request), ResponseBody::Auth(AuthResponse::Token(token.to_owned())))
    }

    fn put(self, user: &str) -> Self {
        self.ok(user, put("b"), ResponseBody::Put { prev_kv: None })
    }

    fn get(self, user: &str, key: &'static str, end: RangeEnd, serializable: bool) -> Self {
        let body = ResponseBody::Range { kvs: Vec::new(), more: false, count: 0 };
        self.ok(user, get(key, end, serializable), body)
    }

    fn watch(mut self, key: &'static str, end: RangeEnd) -> Self {
        let request = WatchCreate {
            watch: WatchId(0),
            range: KeyRange { start: key.into(), end },
            start_revision: 0,
            prev_kv: false,
            progress_notify: false,
            no_put: false,
            no_delete: false,
        };
        let call = self.now();
        let created = WatchResponse { watch: Some(WatchId(0)), header: self.header(), body: WatchBody::Created };
        self.0.watches.push(Watch {
            client: 1,
            member: MemberId(1),
            user: "u".to_owned(),
            resumes: None,
            call,
            request,
            responses: vec![(call + 5, created)],
            progress_requests: Vec::new(),
            complete: false,
        });
        self
    }

    #[track_caller]
    fn is(&self, expect: Option<&str>) {
        let found = check(&self.0).map(|finding| finding.summary);
        match expect {
            None => assert_eq!(found, None),
            Some(part) => assert!(found.as_ref().is_some_and(|found| found.contains(part)), "{found:?}"),
        }
    }
}

fn put(key: &'static str) -> Request {
    Request::Put(PutRequest::of(key, "v"))
}

fn get(key: &'static str, end: RangeEnd, serializable: bool) -> Request {
    Request::Range(RangeRequest { serializable, ..RangeRequest::of(KeyRange { start: key.into(), end }) })
}

fn before(key: &'static str) -> RangeEnd {
    RangeEnd::Before(key.into())
}

#[test]
fn who_may_is_answered_and_who_may_not_is_refused() {
    Story::new().put("u").get("u", "a", before("c"), false).is(None);
    Story::new().get("u", "a", before("d"), false).is(Some("without the right to read"));
    Story::new().write(2).get("u", "a", RangeEnd::Open, true).is(Some("without the right to read"));
    Story::new().put("").is(Some("nobody in particular was answered, without the right to write b"));
    Story::new().put(ROOT).is(None);
    Story::new().denied("u", put("b")).is(Some("was refused to u, who may do it"));
    Story::new().denied("u", put("a")).denied("u", get("c", RangeEnd::Single, true)).is(None);
    Story::new().denied(ROOT, put("x")).is(Some("was refused to root"));
    // What was there before nobody knows.
    Story::default().put("").is(None);
}

#[test]
fn what_is_nested_and_what_was_there_count() {
    let txn = |success| TxnRequest { compare: vec![], success, failure: vec![] };
    let body = || ResponseBody::Txn { succeeded: true, responses: Vec::new() };
    let inner = txn(vec![RequestOp::Put(PutRequest::of("a", "v"))]);
    let nested = Request::Txn(txn(vec![RequestOp::Txn(Box::new(inner))]));
    Story::new().ok("u", nested, body()).is(Some("without the right to write a"));
    let prev = |key| Request::Txn(txn(vec![RequestOp::Put(PutRequest { prev_kv: true, ..PutRequest::of(key, "v") })]));
    Story::new().ok("u", prev("b"), body()).is(None);
    Story::new().grant(ROOT, PermissionType::Write, "x", "").ok("u", prev("x"), body()).is(Some("read x"));
}

#[test]
fn a_right_ends_when_that_was_answered() {
    Story::new().revoke("b", "").put("u").is(Some("without the right"));
    Story::new().revoke("b", "").unknown().put("u").denied("u", put("b")).is(None);
    Story::new().revoke("b", "").unknown().grant(ROOT, PermissionType::Write, "b", "").denied("u", put("b")).is(None);
    let delete = || AuthRequest::RoleDelete { role: "r".to_owned() };
    Story::new().auth(ROOT, delete()).put("u").is(Some("without the right"));
    Story::new().auth(ROOT, AuthRequest::Disable).put("").is(None);
    // A member that has not heard of it answers a stale read, unless it has made the token since.
    let revoked = || Story::new().write(2).revoke("a", "c");
    let read = |story: Story, at| story.at(at).get("u", "a", before("c"), true);
    read(revoked(), 2).is(None);
    read(revoked().login("u", "u-0", "t.2"), 2).is(Some("without the right"));
    // Nor unless the revision that it answers with was made since.
    read(revoked().at(3).write(3), 2).is(None);
    read(revoked().at(3).write(3), 3).is(Some("without the right"));
    // Who has not heard that auth is on does not look at tokens.
    read(revoked().login("u", "u-0", "t.2"), 1).is(None);
    // The other kind of access to the same range may be there twice.
    Story::new().grant(ROOT, PermissionType::Read, "b", "").put("u").denied("u", put("b")).is(None);
}

#[test]
fn only_root_administers() {
    let request = || AuthRequest::RoleAdd { role: "x".to_owned() };
    Story::new().auth("u", request()).is(Some("which only root may do"));
    Story::new().auth(ROOT, request()).auth("u", AuthRequest::UserGet { name: "u".to_owned() }).is(None);
    Story::new().auth("u", AuthRequest::UserGet { name: ROOT.to_owned() }).is(Some("which only root may do"));
}

/// A read that its member decides alone is refused for what that did not know yet. A JSON web token, which any member
/// may have made, says nothing of what this one knew; what it had shown does.
#[test]
fn a_stale_read_may_be_refused_by_who_did_not_know_yet() {
    let read = || get("b", RangeEnd::Single, true);
    let story = |token| Story::new().login("u", "u-0", token);
    story("a.b.c").denied("u", read()).is(None);
    story("t.2").denied("u", read()).is(Some("was refused to u, who may do it"));
    story("a.b.c").write(7).denied("u", read()).is(Some("was refused to u, who may do it"));
}

/// What a member allows by what it knows, and answers when that is done, it may have allowed before auth was on; but
/// not when it had shown what came after.
#[test]
fn what_is_allowed_before_it_is_done_is_judged_by_what_was_known() {
    let compact = |story: Story, user| {
        let compact = Request::Compact(CompactRequest { revision: 2, physical: false });
        story.at(9).ok(user, compact, ResponseBody::Compact)
    };
    compact(Story::new(), "u").is(None);
    compact(Story::new().write(7), "u").is(Some("which only root may do"));
    compact(Story::new().write(7), ROOT).is(None);
}

#[test]
fn passwords_and_tokens_end() {
    Story::new().passwd("u-1").login("u", "u-1", "t.2").put("u").is(None);
    Story::new().passwd("u-1").login("u", "u-0", "t.2").is(Some("that was not the password"));
    Story::new().passwd("u-1").unknown().login("u", "u-0", "t.2").login("u", "u-1", "t.3").is(None);
    Story::new().passwd("u-1").put("u").is(Some("with a token from before `user passwd u (u-1)`"));
    let elsewhere = || AuthRequest::RoleAdd { role: "x".to_owned() };
    Story::new().auth(ROOT, elsewhere()).put("u").is(None);
    let jwt = || Story::new().login("u", "u-0", "a.b.c");
    jwt().put("u").is(None);
    jwt().auth(ROOT, elsewhere()).put("u").is(Some("with a token from before `role add x`"));
    jwt().auth(ROOT, elsewhere()).unknown().put("u").is(None);
}

#[test]
fn a_watch_is_judged_when_it_is_made() {
    let story = || Story::new().write(2);
    story().watch("a", before("c")).revoke("a", "c").is(None);
    story().watch("a", RangeEnd::Open).is(Some("u watches"));
    story().at(1).watch("a", RangeEnd::Open).is(None);
    story().grant(ROOT, PermissionType::Read, "a", "\0").watch("a", RangeEnd::Open).is(None);
}
