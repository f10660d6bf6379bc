//! The store's invariants, M1 to M3, each with a history that passes and one that fails.

use super::*;

#[test]
fn m1_equal_index_equal_state() {
    check(&[
        ("other states at other indices", None, |s| {
            s.one_commit();
            s.commit(2, 4);
            s.apply(1, 4, 7, 2);
            s.apply(2, 4, 7, 2);
        }),
        ("another hash", Some("M1"), |s| {
            s.one_commit();
            s.commit(2, 4);
            s.apply(1, 4, 7, 2);
            s.apply(2, 4, 8, 2);
        }),
        ("another revision", Some("M1"), |s| {
            s.one_commit();
            s.commit(2, 4);
            s.apply(1, 4, 7, 2);
            s.apply(2, 4, 7, 3);
        }),
        ("what is replayed shows the newer state", None, |s| {
            s.one_commit();
            s.apply(1, 4, 7, 2);
            s.append(1, 5, 2, "b");
            s.append(2, 5, 2, "b");
            s.commit(1, 5);
            s.apply(1, 5, 8, 3);
            s.crash(1);
            s.boot(1, 5);
            s.apply(1, 4, 8, 3);
            s.apply(1, 5, 8, 3);
        }),
        ("a backend that claims an index whose entry it lacks", Some("M1"), |s| {
            s.one_commit();
            s.commit(2, 4);
            s.apply(2, 4, 7, 2);
            s.crash(1);
            s.member(1).consistent_index = 4;
            s.boot(1, 4);
        }),
    ]);
}

#[test]
fn m2_revisions_do_not_go_back() {
    check(&[
        ("back to an older backend is legal", None, |s| {
            s.one_commit();
            s.apply(1, 4, 7, 2);
            s.crash(1);
            (s.member(1).consistent_index, s.member(1).revision) = (3, 1);
            s.boot(1, 4);
        }),
        ("not behind a commit of the backend", Some("M2"), |s| {
            s.one_commit();
            s.apply(1, 4, 7, 2);
            s.event(1, Event::BackendCommitted { consistent_index: 4 });
            s.crash(1);
            (s.member(1).consistent_index, s.member(1).revision) = (3, 1);
            s.boot(1, 4);
        }),
        ("but before a commit under a name that was never synced", None, |s| {
            s.one_commit();
            s.apply(1, 4, 7, 2);
            let command = DiskCommand::Rename { from: FileName::SnapDb { index: 4 }, to: FileName::Db };
            s.step(1, &[Output::Disk { op: OpId(9), command }]);
            s.event(1, Event::BackendCommitted { consistent_index: 4 });
            s.crash(1);
            (s.member(1).consistent_index, s.member(1).revision) = (3, 1);
            s.boot(1, 4);
        }),
        ("not to a lower revision at the same index", Some("M2"), |s| {
            s.one_commit();
            s.apply(1, 4, 7, 2);
            s.event(1, Event::BackendCommitted { consistent_index: 4 });
            s.crash(1);
            s.member(1).revision = 1;
            s.boot(1, 4);
        }),
        ("not while it runs", Some("M2"), |s| {
            s.member(1).revision = 5;
            s.step(1, &[]);
            s.member(1).revision = 4;
            s.step(1, &[]);
        }),
        ("compacted above the revision", Some("M2"), |s| {
            s.member(1).compact_revision = 9;
            s.step(1, &[]);
        }),
    ]);
}
