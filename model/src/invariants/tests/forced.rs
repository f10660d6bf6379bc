//! R4 and R5 for a member that is forced to be a cluster of its own.

use super::*;

#[test]
fn who_is_forced_gives_up_what_is_committed_and_nobody_has_applied() {
    for (forced, applied, expected) in [(true, false, None), (true, true, Some("R5")), (false, false, Some("R5"))] {
        let mut story = Story::of(1);
        story.apply(1, 1, 0, 1);
        story.lead(1, 2);
        story.append(1, 2, 2, "a");
        story.commit(1, 2);
        if applied {
            story.apply(1, 2, 7, 1);
        }
        story.crash(1);
        (story.member(1).forced, story.member(1).consistent_index) = (forced, 1);
        story.boot(1, 1);
        story.lead(1, 3);
        story.append(1, 2, 3, "b");
        story.commit(1, 2);
        story.apply(1, 2, 8, 2);
        assert_eq!(story.found.as_ref().map(|finding| finding.check), expected, "{forced} {applied} {:?}", story.found);
    }
}
