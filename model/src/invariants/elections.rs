//! R1 and R6: one leader a term, one vote a member and term, and no step back behind what was said.

use std::collections::BTreeMap;

use detcd_replica::raftpb::{Message, MessageType};
use detcd_replica::{MemberId, Role, View};

/// Terms whose leader is remembered. A member that leads in a term older than that would have to have missed
/// this many elections between its candidacy and its victory.
const TERMS_MAX: usize = 4096;

/// Who led in which term.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaders(BTreeMap<u64, MemberId>);

impl Leaders {
    /// Whether this member has led in one of the last terms.
    pub(super) fn include(&self, member: MemberId) -> bool {
        self.0.values().any(|leader| *leader == member)
    }

    /// `member` leads in `term`; gives the other one that did.
    pub(super) fn note(&mut self, term: u64, member: MemberId) -> Result<(), MemberId> {
        let known = *self.0.entry(term).or_insert(member);
        if self.0.len() > TERMS_MAX {
            self.0.pop_first();
        }
        if known == member {
            Ok(())
        } else {
            Err(known)
        }
    }
}

/// What one member has said in elections, over all its lives.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Votes {
    /// The newest vote that was sent, or candidacy: term and candidate.
    cast: (u64, MemberId),
    /// The highest term in any message sent.
    sent: u64,
    /// Term and vote in the last view of this life.
    seen: (u64, MemberId),
}

impl Votes {
    /// Follow a step. Gives what is wrong.
    pub(super) fn follow(&mut self, view: &View<'_>) -> Result<(), String> {
        let (term, vote) = self.seen;
        self.seen = (view.term, view.vote);
        let member = view.member;
        if view.term < term {
            return Err(format!("{member} went back from term {term} to term {}", view.term));
        }
        if view.term == term && vote != MemberId::NONE && view.vote != vote {
            return Err(format!("{member} changed its vote in term {term} from {vote} to {}", view.vote));
        }
        Ok(())
    }

    /// A message was sent while `durable` was the term and vote on disk.
    pub(super) fn sent(
        &mut self,
        view: &View<'_>,
        message: &Message,
        durable: Option<(u64, MemberId)>,
    ) -> Result<(), String> {
        let candidate = match message.msg_type {
            // A pre-vote binds nobody, and names a term that may never be.
            MessageType::MsgRequestPreVote | MessageType::MsgRequestPreVoteResponse => return Ok(()),
            MessageType::MsgRequestVote => view.member,
            MessageType::MsgRequestVoteResponse if !message.reject => MemberId(message.to),
            _ => MemberId::NONE,
        };
        // The only voter elects itself and leads without a word, and a leader sends to its learners before it
        // has saved: such a term may be lost in a crash. It leads in that term again, and nobody else can.
        let alone = view.role == Role::Leader && view.voters.len() == 1;
        if !alone {
            self.sent = self.sent.max(message.term);
        }
        if candidate == MemberId::NONE {
            return Ok(());
        }
        let (member, term) = (view.member, message.term);
        let (cast_term, cast) = self.cast;
        if term == cast_term && cast != candidate {
            return Err(format!("{member} voted twice in term {term}: for {cast} and for {candidate}"));
        }
        if term < cast_term {
            return Err(format!(
                "{member} voted for {candidate} in term {term} after it had voted in term {cast_term}"
            ));
        }
        self.cast = (term, candidate);
        match durable {
            Some((on_disk, vote)) if on_disk < term || (on_disk == term && vote != candidate) => Err(format!(
                "{member} sent its vote for {candidate} in term {term} while its disk had term {on_disk}, vote {vote}"
            )),
            _ => Ok(()),
        }
    }

    /// The member starts again, with `durable` on its disk.
    pub(super) fn booted(&mut self, view: &View<'_>, durable: (u64, MemberId)) -> Result<(), String> {
        self.seen = (view.term, view.vote);
        let (member, term) = (view.member, view.term);
        if term < durable.0 {
            return Err(format!(
                "{member} lost a durable hard state: it boots in term {term}, its disk had term {}",
                durable.0
            ));
        }
        if term == durable.0 && durable.1 != MemberId::NONE && view.vote != durable.1 {
            return Err(format!("{member} lost a durable vote in term {term}: for {}, now {}", durable.1, view.vote));
        }
        if term < self.sent {
            return Err(format!("{member} boots in term {term} although it has sent messages of term {}", self.sent));
        }
        Ok(())
    }
}
