//! The story of a scenario with `[restore]`: in the midst of a run a member's database is saved, as `snapshot save`
//! does it; a new cluster is restored from it, as by `etcdutl snapshot restore`, and goes through the scenario again.
//!
//! That the restored state is what was saved is verified three times: when the file is made into a database, whenever a
//! member of the new cluster shows its disk, and by HashKV of all of its members. That it holds every write which a
//! client of the old cluster was told of is verified from what that client saw. Then the new cluster's clients are
//! judged with everything that was saved as their past. Only keys are looked at: no compaction may be part of the
//! scenario.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use detcd_replica::api::{Request, ResponseBody, Revision};
use detcd_replica::backend::Backend;
use detcd_replica::history::{Finding, History, Moment, Outcome, Side};
use detcd_replica::mvcc::{Bucket, KeyRecord};
use detcd_replica::time::Span;
use detcd_replica::{Bugs, DiskImage, MemberId};
use detcd_sim::{halt, Observer, Options, Unobserved, Until};
use sha2::{Digest, Sha256};

use super::{
    found, restored, run_once, saved, settle, EngineError, HashCheck, Operations, Past, RunOptions, RunReport, Stats,
    Verdict, World,
};

/// The name of the check.
pub(super) const CHECK: &str = "restore";
/// When the members of the new cluster are asked for their hashes: all have booted, and most have a leader.
const ASKED: Span = Span::secs(2);

/// What was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    /// Of which member.
    pub(super) member: MemberId,
    /// At which revision.
    pub(super) revision: Revision,
    /// HashKV there.
    pub(super) hash: (u32, Revision),
    /// Every pair of the key bucket.
    pub(super) pairs: Vec<(Bytes, Bytes)>,
}

/// A run has passed; what was saved at a moment of it founds a new cluster, which goes through the scenario again.
pub(super) fn go_on(
    first: RunReport,
    history: &History,
    world: &World,
    options: &RunOptions,
    at: Span,
) -> Result<RunReport, EngineError> {
    let (name, seed) = (first.scenario.clone(), first.seed);
    let (scenario, asked) = settle(world, seed, options)?;
    let fails = |first: RunReport, finding: Finding| {
        Ok(RunReport { verdict: Verdict::Violation, violation: Some(finding.into()), ..first })
    };
    let (saved, past) = match save(&scenario, &asked, at, seed % scenario.cluster.members.max(1)) {
        Ok(Some(found)) => found,
        // There was nobody to save it from.
        Ok(None) => return Ok(first),
        Err(error) => {
            let summary = format!("what was saved cannot be restored: {error}");
            let finding =
                Finding { check: CHECK, side: Side::WhiteBox, at: first.events, summary, details: Vec::new() };
            return fails(first, finding);
        }
    };
    if let Some(what) = saved.lacks(history) {
        let finding = saved.finding(first.events, &what);
        return fails(first, finding);
    }
    let past = Past { saved: Some(Arc::new(saved.clone())), ..past };
    let options = RunOptions { past: Some(Arc::new(past)), ..options.clone() };
    let (scenario, asked) = settle(world, seed, &options)?;
    if let Some(what) = saved.disagree(&scenario, &asked) {
        let finding = saved.finding(first.events, &what);
        return fails(first, finding);
    }
    let (second, _) = run_once(&name, world, seed, &options)?;
    Ok(first.then(second))
}

impl RunReport {
    /// Both runs as one.
    fn then(mut self, second: Self) -> Self {
        for (kind, count) in second.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        self.refused.extend(second.refused);
        self.checks.extend(second.checks.into_iter().filter(|check| !self.checks.contains(check)).collect::<Vec<_>>());
        self.checks.push(CHECK);
        self.trace.extend(second.trace);
        let (one, two) = (self.operations, second.operations);
        Self {
            verdict: second.verdict,
            violation: second.violation,
            digest: self.digest.rotate_left(1) ^ second.digest,
            events: self.events + second.events,
            simulated_ms: self.simulated_ms + second.simulated_ms,
            operations: Operations {
                ok: one.ok + two.ok,
                failed: one.failed + two.failed,
                unknown: one.unknown + two.unknown,
            },
            stats: Stats {
                leader_changes: self.stats.leader_changes + second.stats.leader_changes,
                snapshots_installed: self.stats.snapshots_installed + second.stats.snapshots_installed,
                crashes: self.stats.crashes + second.stats.crashes,
                recoveries: self.stats.recoveries + second.stats.recoveries,
            },
            history: if second.history.is_empty() { self.history } else { second.history },
            ..self
        }
    }
}

/// Saves the database of a member that runs at that time, the one at place `pick` or the next; and what a new cluster
/// is restored from. `None` when the run is over by then, or nobody runs.
///
/// # Errors
/// What was saved cannot be restored: a finding, in a sentence.
pub(super) fn save(
    scenario: &World,
    asked: &Options,
    at: Span,
    pick: u64,
) -> Result<Option<(Saved, Past)>, EngineError> {
    let options = Options { traced: false, ..asked.clone() };
    let halted = halt(scenario, &options, Until::Time(at), &mut |_| Box::new(Unobserved));
    let count = halted.members.len();
    let places = (0..count).map(|place| &halted.members[(place + pick as usize) % count]);
    let Some(replica) = places.filter_map(|member| member.replica.as_ref()).next().filter(|_| halted.reached) else {
        return Ok(None);
    };
    let refuse = |error: detcd_replica::api::Error| EngineError::Asked(error.message().to_owned());
    let saved_state = Saved {
        member: replica.view().member,
        revision: replica.view().revision,
        hash: replica.look_hash(0).map_err(refuse)?,
        pairs: replica.look_bucket(Bucket::Key),
    };
    let database = replica.look_database();
    let file = Bytes::from([&database[..], &Sha256::digest(&database)].concat());
    let founding = restored(&saved(&file, HashCheck::Demanded)?)?;
    let parsed = Backend::parse(&founding, Bugs::NONE).map_err(|error| EngineError::Asked(error.to_string()))?;
    if let Some(what) = saved_state.differs(&parsed) {
        return Err(EngineError::Asked(what));
    }
    let mut subject = found(founding)?;
    let past = Past::of(&mut subject, None)?;
    Ok(Some((saved_state, past)))
}

impl Saved {
    /// Whether a database holds what was saved, whatever has come to it since.
    pub(super) fn differs(&self, database: &Backend) -> Option<String> {
        let end = (self.revision + 1).to_be_bytes();
        let mut expected = self.pairs.iter();
        let mut wrong = None;
        database.for_each(Bucket::Key, b"", Some(&end), &mut |key, value| {
            wrong = match expected.next() {
                Some((saved, of)) if (saved, of) == (key, value) => None,
                Some((saved, _)) => Some(format!("{} is not as it was saved", revision_of(saved))),
                None => Some(format!("{} was never saved", revision_of(key))),
            };
            wrong.is_none()
        });
        wrong.or_else(|| expected.next().map(|(saved, _)| format!("{} is missing", revision_of(saved))))
    }

    /// Whether it holds every write that a client was told of at a revision up to its own.
    pub(super) fn lacks(&self, history: &History) -> Option<String> {
        let records = self.pairs.iter().filter_map(|(key, value)| KeyRecord::parse(key, value).ok());
        let puts: BTreeMap<(Revision, Bytes), Bytes> = records
            .filter(|record| !record.tombstone)
            .map(|record| ((record.main, record.kv.key), record.kv.value))
            .collect();
        history.operations.iter().find_map(|operation| {
            let Request::Put(put) = &operation.request else { return None };
            let Outcome::Ok { response, .. } = &operation.outcome else { return None };
            let revision = response.header.revision;
            if revision > self.revision || put.ignore_value || !matches!(response.body, ResponseBody::Put { .. }) {
                return None;
            }
            let there = puts.get(&(revision, put.key.clone()));
            (there != Some(&put.value)).then(|| {
                let key = put.key.escape_ascii();
                format!("the put of {key} was answered at revision {revision}, and is not in what was saved later")
            })
        })
    }

    /// HashKV of every member of the new cluster, at the revision that was saved.
    pub(super) fn disagree(&self, scenario: &World, asked: &Options) -> Option<String> {
        let options = Options { traced: false, ..asked.clone() };
        let halted = halt(scenario, &options, Until::Time(ASKED), &mut |_| Box::new(Unobserved));
        halted.members.iter().filter_map(|member| member.replica.as_ref()).find_map(|replica| {
            let (member, hash) = (replica.view().member, replica.look_hash(self.revision));
            (hash != Ok(self.hash)).then(|| {
                format!("HashKV of {member} at revision {} is {hash:?}, and was {:?}", self.revision, self.hash)
            })
        })
    }

    pub(super) fn finding(&self, at: Moment, what: &str) -> Finding {
        let summary = format!("restored from {} at revision {}: {what}", self.member, self.revision);
        Finding { check: CHECK, side: Side::WhiteBox, at, summary, details: Vec::new() }
    }
}

fn revision_of(key: &[u8]) -> String {
    let number = |part: Option<&[u8]>| part.and_then(|part| part.try_into().ok()).map_or(0, i64::from_be_bytes);
    format!("revision {}_{}", number(key.get(..8)), number(key.get(9..17)))
}

/// Looks at every disk that the new cluster shows.
pub(super) struct Verifier(pub(super) Arc<Saved>);

impl Observer for Verifier {
    fn disk(&mut self, moment: Moment, member: MemberId, image: &DiskImage) -> Option<Finding> {
        let what = match Backend::open(image, Bugs::NONE) {
            Ok(database) => self.0.differs(&database).map(|what| format!("on {member}'s disk {what}")),
            Err(error) => Some(format!("{member}'s database cannot be read: {error}")),
        };
        what.map(|what| self.0.finding(moment, &what))
    }

    fn left(&mut self, moment: Moment, member: MemberId, image: &DiskImage) -> Option<Finding> {
        self.disk(moment, member, image)
    }
}

#[cfg(test)]
mod tests {
    use detcd_sim::Host;

    use super::*;

    /// Two seconds of a quiet cluster.
    fn saved_after_two_seconds() -> (Saved, Past) {
        let scenario = crate::engine::load("etcd-put", &[]).expect("it is built in").world;
        let asked = Options { seed: 1, host: Host::Bare, traced: false, overrides: BTreeMap::new(), beginning: None };
        save(&scenario, &asked, Span::secs(2), 0).expect("it can be restored").expect("somebody runs")
    }

    fn database(past: &Past) -> Backend {
        let detcd_sim::beginning::Disks::Founded(bytes) = &past.beginning.disks else { panic!("it founds a cluster") };
        Backend::parse(bytes, Bugs::NONE).expect("sound")
    }

    #[test]
    fn what_was_restored_is_what_was_saved_and_nothing_else() {
        let (saved, past) = saved_after_two_seconds();
        assert!(saved.pairs.len() > 10 && saved.revision > 10, "something was written");
        assert_eq!(saved.differs(&database(&past)), None);

        let mut changed = database(&past);
        let (key, value) = saved.pairs[3].clone();
        changed.put(Bucket::Key, key.clone(), Bytes::from([&value[..], b"x"].concat()));
        assert!(saved.differs(&changed).is_some_and(|what| what.ends_with("is not as it was saved")));
        changed.delete(Bucket::Key, &key);
        assert!(saved.differs(&changed).is_some(), "one is missing");
        let mut more = database(&past);
        let later = [&(saved.revision + 1).to_be_bytes()[..], b"_", &[0; 8]].concat();
        more.put(Bucket::Key, later.into(), value.clone());
        assert_eq!(saved.differs(&more), None, "what comes later is nobody's business");
        let between = [&saved.revision.to_be_bytes()[..], b"_", &7_i64.to_be_bytes()].concat();
        more.put(Bucket::Key, between.into(), value);
        assert!(saved.differs(&more).is_some_and(|what| what.ends_with("was never saved")));
        let mut shorter = saved.clone();
        shorter.pairs.pop();
        assert!(shorter.differs(&database(&past)).is_some());
    }

    #[test]
    fn what_a_client_was_told_of_must_be_in_it() {
        let (mut saved, past) = saved_after_two_seconds();
        let put = past.operations.iter().find_map(|operation| match (&operation.request, &operation.outcome) {
            (Request::Txn(txn), Outcome::Ok { response, .. }) => match &txn.success[..] {
                [detcd_replica::api::RequestOp::Put(put)] => Some((put.clone(), response.header)),
                _ => None,
            },
            _ => None,
        });
        let (put, header) = put.expect("something was put");
        let mut told = past.operations[0].clone();
        let body = ResponseBody::Put { prev_kv: None };
        told.request = Request::Put(put);
        told.outcome = Outcome::Ok { at: 0, response: detcd_replica::api::Response { header, body } };
        let history = History { operations: vec![told], ..History::default() };
        assert_eq!(saved.lacks(&history), None);
        saved.pairs.retain(|(key, _)| key[..8] != header.revision.to_be_bytes());
        assert!(saved.lacks(&history).is_some());
    }
}
