//! Messages of etcd's gRPC API, there and back.

use bytes::Bytes;
use prost::Message;

use super::*;
use crate::api::{
    self, Header, KeyRange, KeyValue, RangeEnd, Request, Response, ResponseBody, WatchBody, WatchEvent, WatchEventKind,
    WatchRequest, WatchResponse,
};
use crate::membership::Version;
use crate::wire::message::{kv, rpc, watch};
use crate::{MemberId, WatchId};

const HEADER: Header = Header { member: MemberId(2), revision: 7, raft_term: 3 };

fn asks(method: Method, body: impl Message) -> Result<Request, Refusal> {
    request(method, body.encode_to_vec().into(), &|urls| MemberId(urls.len() as u64))
}

#[test]
fn each_method_is_found_by_its_path() {
    for method in Method::ALL {
        assert_eq!(Method::parse(&format!("/etcdserverpb.{}", method.name())), Some(method));
    }
    assert_eq!(Method::parse("/etcdserverpb.KV/Sing"), None);
    assert_eq!(Method::parse("/grpc.health.v1.Health/Check"), None);
}

#[test]
fn every_method_takes_an_empty_message_and_refuses_what_is_none() {
    for method in Method::ALL {
        // A permission and a member's address must be given; nothing else is looked at here.
        let must = [Method::RoleGrantPermission, Method::MemberAdd].contains(&method);
        let expect = if must { Some(3) } else { None };
        let asked = request(method, Bytes::new(), &|_| MemberId(1));
        assert_eq!(asked.err().map(|refusal| refusal.code), expect, "{method:?}");
        // Field 1 of wire type 7, which there is not.
        let refused = request(method, Bytes::from_static(&[0x0f]), &|_| MemberId(1));
        let takes_nothing = refused.is_ok();
        let empty = [Method::LeaseLeases, Method::Status, Method::Defragment, Method::AuthEnable];
        let empty =
            [&empty[..], &[Method::AuthDisable, Method::AuthStatus, Method::UserList, Method::RoleList]].concat();
        assert_eq!(takes_nothing, empty.contains(&method), "{method:?}: {refused:?}");
    }
}

#[test]
fn ranges_and_members_are_what_their_fields_say() {
    let range = kv::RangeRequest { key: "a".into(), range_end: "c".into(), limit: 3, ..Default::default() };
    let Ok(Request::Range(asked)) = asks(Method::Range, range.clone()) else { panic!("it is a range") };
    assert_eq!(asked.range, KeyRange { start: "a".into(), end: RangeEnd::Before("c".into()) });
    assert_eq!(asked.limit, 3);
    let refused = asks(Method::Range, kv::RangeRequest { sort_order: 9, ..range });
    assert_eq!(refused, Err(api::Error::InvalidSortOption.into()));
    let add = |urls: &[&str]| {
        let peer_urls = urls.iter().map(|url| (*url).to_owned()).collect();
        asks(Method::MemberAdd, rpc::MemberAddRequest { peer_urls, is_learner: true })
    };
    let peer_urls = vec!["http://a:1".to_owned(), "unix://b".to_owned()];
    let expect = Request::MemberAdd { id: MemberId(2), peer_urls, is_learner: true };
    assert_eq!(add(&["unix://b", "http://a:1"]), Ok(expect));
    for bad in ["", "a:1", "ftp://a:1", "http://a", "http://a:1/x"] {
        assert_eq!(add(&["http://a:1", bad]), Err(api::Error::BadMemberUrls.into()), "{bad}");
    }
    let removed = asks(Method::MemberRemove, rpc::Named { id: -1, more: false });
    assert_eq!(removed, Ok(Request::MemberRemove { id: MemberId(u64::MAX) }));
}

#[test]
fn a_transaction_is_refused_in_etcds_words() {
    let nothing = kv::RequestOp { request: None };
    let empty = kv::TxnRequest { success: vec![nothing], ..Default::default() };
    assert_eq!(asks(Method::Txn, empty), Err(api::Error::KeyNotFound.into()));
    let mut deep = kv::TxnRequest::default();
    for _ in 0..crate::wire::TXN_DEPTH_MAX {
        let op = kv::RequestOp { request: Some(kv::request_op::Request::Txn(deep)) };
        deep = kv::TxnRequest { success: vec![op], ..Default::default() };
    }
    assert_eq!(asks(Method::Txn, deep), Err(api::Error::TooManyOps.into()));
    // An empty key is for the member to refuse.
    assert!(asks(Method::Txn, kv::TxnRequest { compare: vec![kv::Compare::default()], ..Default::default() }).is_ok());
}

#[test]
fn answers_have_etcds_fields() {
    let pair =
        KeyValue { key: "k".into(), create_revision: 2, mod_revision: 3, version: 2, value: "v".into(), lease: 9 };
    let inner = ResponseBody::Range { kvs: vec![pair], more: true, count: 5 };
    let body = ResponseBody::Txn { succeeded: true, responses: vec![inner] };
    let bytes = response(Method::Txn, 1, &Response { header: HEADER, body }, None);
    // Header {1, 2, 7, 3}, succeeded, one range with a header of its own, the pair, more and the count.
    let pair = [10, 1, b'k', 16, 2, 24, 3, 32, 2, 42, 1, b'v', 48, 9];
    let range = [&[10, 2, 24, 7, 18, 14][..], &pair, &[24, 1, 32, 5]].concat();
    let op = [&[10, range.len() as u8][..], &range].concat();
    let expect = [&[10, 8, 8, 1, 16, 2, 24, 7, 32, 3, 16, 1, 26, op.len() as u8][..], &op].concat();
    assert_eq!(bytes, expect);
    let members = ResponseBody::Members(vec![api::Member { id: MemberId(4), ..Default::default() }]);
    let bytes = response(Method::MemberAdd, 1, &Response { header: HEADER, body: members }, Some(MemberId(4)));
    let added = rpc::MemberAddResponse::decode(bytes).expect("its message");
    assert_eq!((added.member.expect("the new one").id, added.members.len()), (4, 1));
}

#[test]
fn watches_of_a_stream_have_names() {
    let mut watching = Watching::default();
    let mut create = |watch_id, fragment| {
        let create = watch::WatchCreateRequest { key: "a".into(), watch_id, fragment, ..Default::default() };
        let union = Some(watch::watch_request::Union::Create(create));
        let body = watch::WatchRequest { union }.encode_to_vec().into();
        match watch_request(&mut watching, 1, HEADER, body).expect("a message") {
            Ok(WatchRequest::Create(create)) => Ok(create.watch.0),
            Ok(other) => panic!("{other:?}"),
            Err(answer) => Err(watch::WatchResponse::decode(answer.expect("an answer")).expect("its message")),
        }
    };
    assert_eq!(create(0, false), Ok(0));
    assert_eq!(create(1, true), Ok(1));
    assert_eq!(create(0, false), Ok(2), "1 is taken");
    let refused = create(1, false).expect_err("it is taken");
    assert!(refused.canceled && refused.created && refused.watch_id == -1);
    let event = |key: &str| WatchEvent {
        kind: WatchEventKind::Put,
        kv: KeyValue {
            key: Bytes::copy_from_slice(key.as_bytes()),
            create_revision: 7,
            mod_revision: 7,
            version: 1,
            value: vec![0; 100].into(),
            lease: 0,
        },
        prev_kv: None,
    };
    let events = WatchBody::Events(["a", "b", "c"].map(event).to_vec());
    for (watch, parts) in [(0, 1), (1, 2)] {
        let response = WatchResponse { watch: Some(WatchId(watch)), header: HEADER, body: events.clone() };
        let messages = watch_responses(&mut watching, 1, &response, 280);
        let messages: Vec<_> =
            messages.into_iter().map(|bytes| watch::WatchResponse::decode(bytes).expect("its message")).collect();
        assert_eq!(messages.len(), parts);
        assert_eq!(messages.iter().map(|message| message.events.len()).sum::<usize>(), 3);
        assert!(messages.iter().rev().skip(1).all(|message| message.fragment) && !messages[parts - 1].fragment);
    }
}

/// A stream with the client's and the member's messages, as one line each.
#[derive(Default)]
struct Stream(Watching);

impl Stream {
    fn asks(&mut self, union: watch::watch_request::Union) -> String {
        let body = watch::WatchRequest { union: Some(union) }.encode_to_vec().into();
        match watch_request(&mut self.0, 1, HEADER, body).expect("a message") {
            Ok(WatchRequest::Create(create)) => format!("create {}", create.watch.0),
            Ok(WatchRequest::Cancel(watch)) => format!("cancel {}", watch.0),
            Ok(WatchRequest::Progress) => "progress".to_owned(),
            Err(None) => "nothing".to_owned(),
            Err(Some(answer)) => said(answer),
        }
    }

    fn creates(&mut self, watch_id: i64, range_end: &str) -> String {
        let (key, range_end) = ("b".into(), Bytes::copy_from_slice(range_end.as_bytes()));
        let create = watch::WatchCreateRequest { key, range_end, watch_id, ..Default::default() };
        self.asks(watch::watch_request::Union::Create(create))
    }

    fn cancels(&mut self, id: i64) -> String {
        self.asks(watch::watch_request::Union::Cancel(rpc::Named { id, more: false }))
    }

    fn hears(&mut self, watch: i64, body: WatchBody) -> String {
        let response = WatchResponse { watch: Some(WatchId(watch)), header: HEADER, body };
        watch_responses(&mut self.0, 1, &response, 280).into_iter().map(said).collect()
    }
}

fn said(bytes: Bytes) -> String {
    let said = watch::WatchResponse::decode(bytes).expect("its message");
    let watch::WatchResponse { watch_id, created, canceled, compact_revision, cancel_reason, .. } = said;
    let word = |set, word| if set { word } else { "" };
    let words = [word(created, " created"), word(canceled, " cancelled")].concat();
    format!("{watch_id}:{words} {compact_revision} {cancel_reason}")
}

#[test]
fn a_name_is_taken_as_long_as_etcd_takes_it() {
    let ended = |compact_revision, reason| WatchBody::Cancelled { compact_revision, reason };
    let mut stream = Stream::default();
    // A creation that is refused has no name, and takes none.
    assert_eq!(stream.creates(0, "a"), "-1: created cancelled 0 mvcc: watcher range is empty");
    assert_eq!(stream.creates(0, "c"), "create 0");
    assert_eq!(stream.hears(0, ended(0, "denied")), "-1: created cancelled 0 denied");
    assert_eq!(stream.creates(0, "c"), "create 0");
    assert_eq!(stream.hears(0, WatchBody::Created), "0: created 0 ");
    // One that a compaction has ended keeps it until the client says so.
    assert_eq!(stream.hears(0, ended(5, "compacted")), "0: cancelled 5 ");
    assert_eq!(stream.creates(0, "c"), "create 1");
    assert_eq!(stream.cancels(0), "0: cancelled 0 ");
    assert_eq!(stream.cancels(0), "nothing");
    // One that the client has given up is free at once, before the member has said so.
    assert_eq!(stream.hears(1, WatchBody::Created), "1: created 0 ");
    assert_eq!(stream.cancels(1), "cancel 1");
    assert_eq!(stream.creates(1, "c"), "create 1");
    assert_eq!(stream.hears(1, ended(0, "")), "1: cancelled 0 ");
    assert_eq!(stream.hears(1, WatchBody::Created), "1: created 0 ");
    assert_eq!(stream.creates(1, ""), "-1: created cancelled 0 mvcc: duplicate watch ID provided on the WatchStream");
}

#[test]
fn answers_inside_of_a_transaction_say_at_which_revision_they_were() {
    let range = || ResponseBody::Range { kvs: Vec::new(), more: false, count: 0 };
    let delete = |deleted| ResponseBody::DeleteRange { deleted, prev_kvs: Vec::new() };
    let inner = ResponseBody::Txn { succeeded: true, responses: vec![ResponseBody::Put { prev_kv: None }] };
    let body = ResponseBody::Txn { succeeded: true, responses: vec![range(), delete(0), inner, range(), delete(2)] };
    let bytes = response(Method::Txn, 1, &Response { header: HEADER, body }, None);
    let revisions = |txn: &rpc::TxnResponse| -> Vec<i64> {
        use rpc::response_op::Response as Op;
        let header = |op: &rpc::ResponseOp| match op.response.as_ref().expect("an answer") {
            Op::Range(range) => range.header.clone(),
            Op::Put(put) => put.header.clone(),
            Op::DeleteRange(delete) => delete.header.clone(),
            Op::Txn(txn) => txn.header.clone(),
        };
        txn.responses.iter().map(|op| header(op).expect("a header").revision).collect()
    };
    let txn = rpc::TxnResponse::decode(bytes).expect("its message");
    assert_eq!(revisions(&txn), [6, 6, 0, 7, 7]);
}

#[test]
fn a_status_tells_its_quota_and_downgrade_since_3_6() {
    let body = ResponseBody::Status { leader: Some(MemberId(2)), raft_applied_index: 4, raft_index: 5 };
    let tell = |condition: &Condition| {
        let message = status(9, &Response { header: HEADER, body: body.clone() }, condition);
        let told = rpc::StatusResponse::decode(message).expect("a status");
        (told.leader, told.db_size_quota, told.downgrade_info.map(|info| (info.enabled, info.target_version)))
    };
    let old = Condition::default();
    assert_eq!(tell(&old), (2, 0, None));
    let none = Condition { db_size_quota: -1, downgrade: Some(None), ..old.clone() };
    assert_eq!(tell(&none), (2, -1, Some((false, String::new()))));
    let down = Condition { downgrade: Some(Some(Version::release(3, 5))), ..none };
    assert_eq!(tell(&down), (2, -1, Some((true, "3.5.0".into()))));
}
