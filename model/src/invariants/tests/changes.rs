//! C1 from inside: which empty entries of a leader stand where a change of the cluster was passed over for nothing.

use super::*;

/// n1 leads in term 2, and has passed over a change while it had not applied all that it had when it was elected; now
/// it has.
fn passed_over(story: &mut Story) {
    for number in [1, 2] {
        story.append(number, 4, 1, "before");
    }
    story.lead(1, 2);
    for number in [1, 2] {
        story.append(number, 5, 2, "");
        story.append(number, 6, 2, "");
    }
    story.commit(1, 6);
    for index in 4..=6 {
        story.apply(1, index, index, 1);
    }
}

#[test]
fn c1_a_change_is_passed_over_only_while_something_is_in_its_way() {
    check(&[
        ("it had not applied what it had", None, passed_over),
        ("the same entry, looked at again", None, |s| {
            passed_over(s);
            s.member(1).changed_from = 5;
            s.step(1, &[]);
        }),
        ("nothing is in the way of the next", Some("C1"), |s| {
            passed_over(s);
            s.append(1, 7, 2, "");
        }),
    ]);
}
