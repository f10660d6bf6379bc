//! A user's way to a token, as etcd's client goes it: when a member refuses what came without one, or with one that
//! is no good, it says its password again.
//!
//! It begins as nobody, since auth is off in a new cluster, and asks as nobody again when it learns that auth is
//! off. A user may have one of several passwords; who is refused with one tries the next. It knows nothing of
//! members: a token that one of them has forgotten is replaced by a new one, wherever that comes from.

use detcd_replica::api::{AuthRequest, AuthResponse, Credential, Error, Request, Response, ResponseBody};

use super::Ended;

/// As whom something is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user; empty for nobody.
    pub user: String,
    /// What tells the member so.
    pub credential: Credential,
}

/// How far it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// It asks as nobody.
    Nobody,
    /// It must say its password first.
    Out,
    /// It has this token.
    In(String),
}

/// A user that wants to be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    user: String,
    passwords: Vec<String>,
    /// The password that was used last, as a place in the list.
    tried: usize,
    state: State,
}

impl Login {
    /// A user that has one of these passwords, of which there is at least one.
    pub fn new(user: impl Into<String>, passwords: Vec<String>) -> Self {
        assert!(!passwords.is_empty(), "who has no password cannot say it");
        Self { user: user.into(), passwords, tried: 0, state: State::Nobody }
    }

    /// What it must ask before anything else, if so.
    pub fn request(&self) -> Option<Request> {
        let password = || self.passwords[self.tried % self.passwords.len()].clone();
        let request = || AuthRequest::Authenticate { name: self.user.clone(), password: password() };
        (self.state == State::Out).then(|| Request::Auth(request()))
    }

    /// As whom it asks now.
    pub fn identity(&self) -> Identity {
        match &self.state {
            State::In(token) => Identity { user: self.user.clone(), credential: Credential::Token(token.clone()) },
            State::Nobody | State::Out => Identity::default(),
        }
    }

    /// It is told, other than by an answer, that it must say who it is.
    pub fn refused(&mut self) {
        self.state = State::Out;
    }

    /// Forgets its token, whether it is good or not.
    pub fn forget(&mut self) {
        if matches!(self.state, State::In(_)) {
            self.state = State::Out;
        }
    }

    /// Takes in how something ended that it had asked. True when that was refused for its token only, and is worth
    /// another try.
    pub fn ended(&mut self, request: &Request, ended: Ended<'_>) -> bool {
        if matches!(request, Request::Auth(AuthRequest::Authenticate { .. })) {
            match ended {
                Ended::Answered(Response { body: ResponseBody::Auth(AuthResponse::Token(token)), .. }) => {
                    self.state = State::In(token.clone());
                }
                Ended::Refused(Error::AuthNotEnabled) => self.state = State::Nobody,
                Ended::Refused(Error::AuthFailed) => self.tried += 1,
                _ => {}
            }
            return false;
        }
        let refused = |error| matches!(ended, Ended::Refused(found) if found == error);
        let again = [Error::InvalidAuthToken, Error::AuthOldRevision, Error::UserEmpty].into_iter().any(refused);
        if again {
            self.state = State::Out;
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use detcd_replica::api::Header;
    use detcd_replica::MemberId;

    #[test]
    fn a_refusal_leads_to_a_token_and_its_loss_to_another() {
        let mut login = Login::new("u", vec!["a".to_owned(), "b".to_owned()]);
        let authenticate = |password: &str| {
            Request::Auth(AuthRequest::Authenticate { name: "u".to_owned(), password: password.to_owned() })
        };
        let token = |token: &str| {
            let body = ResponseBody::Auth(AuthResponse::Token(token.to_owned()));
            Response { header: Header { member: MemberId(1), revision: 1, raft_term: 1 }, body }
        };
        assert_eq!((login.request(), login.identity()), (None, Identity::default()));
        assert!(!login.ended(&Request::Status, Ended::Refused(Error::NoLeader)));
        assert!(login.ended(&Request::Status, Ended::Refused(Error::UserEmpty)));
        assert_eq!(login.request(), Some(authenticate("a")));
        login.ended(&authenticate("a"), Ended::Unknown);
        login.ended(&authenticate("a"), Ended::Refused(Error::AuthFailed));
        assert_eq!(login.request(), Some(authenticate("b")));
        login.ended(&authenticate("b"), Ended::Answered(&token("t.1")));
        let known = Identity { user: "u".to_owned(), credential: Credential::Token("t.1".to_owned()) };
        assert_eq!((login.request(), login.identity()), (None, known));
        assert!(!login.ended(&Request::Status, Ended::Refused(Error::PermissionDenied)));
        assert!(login.ended(&Request::Status, Ended::Refused(Error::InvalidAuthToken)));
        assert_eq!(login.request(), Some(authenticate("b")));
        login.ended(&authenticate("b"), Ended::Refused(Error::AuthNotEnabled));
        assert_eq!((login.request(), login.identity()), (None, Identity::default()));
    }
}
