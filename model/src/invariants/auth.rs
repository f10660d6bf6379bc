//! A1 and A2 from inside: whether auth is on and how often users and roles have changed follows from the applied
//! entries alone, and an entry whose user may not have it applied leaves the state as it was.
//!
//! Users and roles are folded as entries are applied for the first time; whoever stands at the same index must
//! agree on the switch and on the auth revision, and keep simple tokens exactly while auth is on. What a database
//! says of users and roles is compared when it is read. Whether an entry is permitted is the reference's to say; it
//! is asked only while auth is on.

use bytes::Bytes;
use detcd_replica::history::{Finding, Moment};
use detcd_replica::View;

use super::findings::finding;
use super::reference::{Auth, Caller};
use super::states::State;
use super::Invariants;
use crate::linearizability::words;
use crate::storage::entry::{self, Command};

/// The first byte of the fields above the fifteenth, with which requests begin that are not about keys, leases, or
/// alarms.
const MULTIBYTE: u8 = 0x80;

/// Users and roles after the last entry that anyone has applied.
#[derive(Clone, Debug, Default)]
pub(super) struct Users {
    auth: Auth,
    /// The state after it.
    state: Option<State>,
    /// An entry could not be read: nothing is known from there on.
    lost: bool,
}

impl Users {
    /// An entry was applied for the first time, which led to `state`. Gives true when it changed that, and auth was on.
    pub(super) fn applied(&mut self, kind: i32, data: &Bytes, state: State) -> bool {
        let before = self.state.replace(state);
        let on = self.auth.enabled;
        if entry::union_tag(kind, data).is_some_and(|tag| tag & MULTIBYTE != 0) {
            match entry::proposal(kind, data) {
                Ok(proposal) => {
                    if let Command::Auth(change) = &proposal.command {
                        let caller = Caller { name: &proposal.user, revision: proposal.auth_revision };
                        self.auth.change(caller, change);
                    }
                }
                Err(_) => self.lost = true,
            }
        }
        on && before.is_some_and(|before| before != state)
    }
}

impl Invariants {
    /// A2: the newest entry has changed the state while auth was on, and must have been permitted.
    pub(super) fn was_permitted(&mut self, at: Moment, place: usize) -> Result<(), Finding> {
        if self.users.lost || self.premise_lost || self.members[place].tainted {
            return Ok(());
        }
        let (index, needed) = (self.reference.last(), self.needed(place));
        let Ok(fold) = self.reference.at(index, &needed) else { return Ok(()) };
        let Some((request, user)) = &fold.denied else { return Ok(()) };
        let who = if user.is_empty() { "nobody in particular" } else { user };
        let summary = format!("`{}` took effect, which {who} may not do", words::request(request));
        Err(finding("A2", at, summary, vec![format!("applied at index {index}, auth revision {}", fold.auth.revision)]))
    }

    /// A1: a member that has applied what anyone has knows whether auth is on, and the auth revision.
    pub(super) fn knows_users(&self, at: Moment, place: usize, view: &View<'_>) -> Result<(), Finding> {
        let Users { auth, lost, .. } = &self.users;
        let is_newest = view.applied == self.reference.last() && view.applied > 0;
        if !is_newest || *lost || self.members[place].tainted || self.premise_lost {
            return Ok(());
        }
        let words = |on: bool, revision: u64| format!("{} at auth revision {revision}", if on { "on" } else { "off" });
        if (view.auth_enabled, view.auth_revision) != (auth.enabled, auth.revision) {
            let index = view.applied;
            let summary = format!("{} takes auth otherwise than its log up to index {index} leads to", view.member);
            let details = vec![
                format!("it: {}", words(view.auth_enabled, view.auth_revision)),
                format!("the log: {}", words(auth.enabled, auth.revision)),
            ];
            return Err(finding("A1", at, summary, details));
        }
        if view.keeps_tokens != auth.enabled {
            let (does, is) = if view.keeps_tokens { ("keeps", "off") } else { ("does not keep", "on") };
            let summary = format!("{} {does} the tokens that are made, though auth is {is}", view.member);
            return Err(finding("A1", at, summary, vec![format!("applied up to index {}", view.applied)]));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::request::testing::{auth_enable, grant_root, put, user_add};

    #[test]
    fn changes_count_only_while_auth_is_on() {
        let mut users = Users::default();
        let mut apply = |data: Vec<u8>, hash: u64| users.applied(entry::NORMAL, &data.into(), (hash, 1));
        assert!(!apply(put("a", "v"), 1));
        assert!(!apply(user_add("root"), 1));
        assert!(!apply(put("a", "v"), 2));
        assert!(!apply(grant_root("root"), 2));
        assert!(!apply(auth_enable(), 2));
        assert!(!apply(put("a", "v"), 2));
        assert!(apply(put("a", "v"), 3));
        assert_eq!((users.auth.enabled, users.auth.revision, users.lost), (true, 3, false));
    }
}
