//! The primary lessor: when leases end, by its member's own clock.
//!
//! A lessor is promoted when its member leads and has applied all entries of earlier terms, and demoted when it does
//! not lead any more. Between the two every lease has a moment at which it ends. The primary does not end it: it finds
//! what has ended, for a revocation that goes through the log.

use super::{Lease, Lessor};
use crate::api::{Error, LeaseCheckpoint, LeaseId};
use crate::time::{Monotonic, Span};
use crate::Bug;

/// Checkpoints in one entry.
pub(crate) const CHECKPOINT_BATCH: usize = 1_000;

const SECOND: Span = Span::secs(1);

/// What keeping a lease alive comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// It may be: next its old checkpoint, if it has one, must be cleared.
    Possible {
        /// Whether it has one.
        checkpointed: bool,
    },
    /// It has ended. Its revocation, or the end of this primary, must be waited for.
    Ended,
}

impl Lease {
    /// Whether it has ended by `now`.
    pub(super) fn has_ended(&self, now: Monotonic) -> bool {
        self.expiry.is_some_and(|expiry| expiry <= now)
    }

    /// Nanoseconds left, below 0 when it should be gone; `None` when this member does not know.
    pub fn remaining(&self, now: Monotonic) -> Option<i64> {
        self.expiry.map(|expiry| expiry.0 as i64 - now.0 as i64)
    }
}

impl Lessor {
    /// Whether this is the primary.
    pub fn is_primary(&self) -> bool {
        self.primary
    }

    /// Every lease begins anew at `now`, from its last checkpoint, with `extend` on top: so long may the last primary
    /// have answered keep-alives that this one has not heard of. When very many would end together they are spread.
    pub fn promote(&mut self, now: Monotonic, extend: Span) {
        self.primary = true;
        let extend = if self.settings.bugs.has(Bug::PromoteNoExtend) { Span::ZERO } else { extend };
        let ids: Vec<LeaseId> = self.leases.keys().copied().collect();
        for id in &ids {
            self.refresh(*id, now, extend);
            self.schedule_checkpoint(*id, now);
        }
        if (ids.len() as u64) < self.settings.revoke_rate || self.settings.bugs.has(Bug::PromoteNoExtend) {
            return;
        }
        // Fewer than the rate, so that a pile leaves room for others.
        let target = (3 * self.settings.revoke_rate / 4).max(1);
        let mut by_expiry: Vec<(Span, LeaseId)> = self.queue.iter().map(|(at, id)| (at.since(now), *id)).collect();
        by_expiry.sort_unstable();
        let mut base = by_expiry.first().map_or(Span::ZERO, |(remaining, _)| *remaining);
        let mut next = base + SECOND;
        let mut expires = 0;
        for (remaining, id) in by_expiry {
            if remaining > next {
                (base, next, expires) = (remaining, remaining + SECOND, 1);
                continue;
            }
            expires += 1;
            if expires <= target {
                continue;
            }
            // A lease that ends n seconds after the base needs n seconds less.
            let delay = Span(SECOND.0 * expires / target) - (remaining - base);
            next = base + delay;
            self.refresh(id, now, delay + extend);
            self.schedule_checkpoint(id, now);
        }
    }

    /// No lease ends any more.
    pub fn demote(&mut self) {
        self.primary = false;
        self.queue.clear();
        self.checkpoints.clear();
        for lease in self.leases.values_mut() {
            (lease.expiry, lease.queued) = (None, None);
        }
    }

    /// Whether any lease may end, or be checkpointed.
    pub fn has_deadlines(&self) -> bool {
        !self.queue.is_empty() || !self.checkpoints.is_empty()
    }

    /// The leases that have ended, `limit` at most. Each is looked at again after the retry interval, should it still
    /// be there.
    pub fn find_expired(&mut self, now: Monotonic, limit: usize) -> Vec<LeaseId> {
        let mut expired = Vec::new();
        while let Some((at, id)) = self.queue.first().copied() {
            if at > now || expired.len() == limit {
                break;
            }
            self.enqueue(id, now + self.settings.retry);
            if self.leases[&id].has_ended(now) {
                expired.push(id);
            }
        }
        expired
    }

    /// The checkpoints that are due, [`CHECKPOINT_BATCH`] at most.
    pub fn due_checkpoints(&mut self, now: Monotonic) -> Vec<LeaseCheckpoint> {
        let mut due = Vec::new();
        while let Some((at, id)) = self.checkpoints.first().copied() {
            if at > now || due.len() == CHECKPOINT_BATCH {
                break;
            }
            self.checkpoints.pop_first();
            let Some(lease) = self.leases.get(&id) else { continue };
            let Some(left) = lease.expiry.map(|expiry| expiry.since(now)).filter(|left| *left > Span::ZERO) else {
                continue;
            };
            let remaining_ttl = left.as_nanos().div_ceil(SECOND.0) as i64;
            if remaining_ttl < lease.ttl {
                due.push(LeaseCheckpoint { id, remaining_ttl });
            }
        }
        due
    }

    /// The first half of keeping a lease alive: whether it may be.
    ///
    /// # Errors
    /// `NotPrimary`, `LeaseNotFound`.
    pub fn may_renew(&self, id: LeaseId, now: Monotonic) -> Result<Renewal, Error> {
        if !self.primary {
            return Err(Error::NotPrimary);
        }
        let lease = self.leases.get(&id).ok_or(Error::LeaseNotFound)?;
        if lease.has_ended(now) {
            return Ok(Renewal::Ended);
        }
        let checkpointed = self.settings.checkpoint_interval.is_some() && lease.remaining_ttl > 0;
        Ok(Renewal::Possible { checkpointed })
    }

    /// The second half: it lives for its whole time again from `now` on, `ttl` seconds.
    ///
    /// # Errors
    /// `LeaseNotFound`: it was revoked in between.
    pub fn renew(&mut self, id: LeaseId, now: Monotonic) -> Result<i64, Error> {
        let ttl = self.leases.get(&id).ok_or(Error::LeaseNotFound)?.ttl;
        self.refresh(id, now, Span::ZERO);
        Ok(ttl)
    }

    /// The lease ends when the time that it has left, and `extend`, have passed.
    pub(super) fn refresh(&mut self, id: LeaseId, now: Monotonic, extend: Span) {
        let left = self.seconds_left(id);
        let expiry = now + extend + SECOND * left;
        let lease = self.leases.get_mut(&id).expect("the caller has found it");
        lease.expiry = Some(expiry);
        self.enqueue(id, expiry);
    }

    /// `getRemainingTTL`.
    fn seconds_left(&self, id: LeaseId) -> u64 {
        let lease = &self.leases[&id];
        let checkpointed = lease.remaining_ttl > 0 && !self.settings.bugs.has(Bug::RemainingTtlLost);
        let seconds = if checkpointed { lease.remaining_ttl } else { lease.ttl };
        u64::try_from(seconds).expect("a lease lives longer than no time")
    }

    fn enqueue(&mut self, id: LeaseId, at: Monotonic) {
        let lease = self.leases.get_mut(&id).expect("only leases that exist are queued");
        if let Some(old) = lease.queued.replace(at) {
            self.queue.remove(&(old, id));
        }
        self.queue.insert((at, id));
    }

    /// A lease with more time left than the interval is checkpointed when that has passed.
    pub(super) fn schedule_checkpoint(&mut self, id: LeaseId, now: Monotonic) {
        let Some(interval) = self.settings.checkpoint_interval else { return };
        if self.seconds_left(id) > interval.as_nanos() / SECOND.0 {
            self.checkpoints.insert((now + interval, id));
        }
    }
}
