//! P1 to P4, and R8: what a member's disk holds after a crash, before the member itself looks at it.
//!
//! The log is read by the judge's own reader and held against what was synced (P2), the database against the reference
//! (P1, P3), the configuration in a snapshot's record too (R8), and both against each other (P1, P4). What a member
//! makes of its log when it boots must be what the judge has read, and where the judge's reader refuses, so must the
//! member. After damage only that last rule is left.

use std::collections::BTreeSet;

use detcd_replica::history::{Finding, Moment};
use detcd_replica::raftpb::EntryType;
use detcd_replica::{DiskImage, FileName, MemberId, Rope, View};

use super::database::{Content, Fault};
use super::findings::finding;
use super::logs::entry_hash_of;
use super::Invariants;
use crate::storage::db::Db;
use crate::storage::entry::Snapshot;
use crate::storage::wal::{self, Log};
use crate::storage::Damage;

/// What the judge has read on a disk that a member is about to boot from.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// A log, which may be as good as empty.
    Log(Box<Log>),
    /// One that etcd refuses.
    Refused(Damage),
}

impl Invariants {
    /// What a loss of power would leave of a member's disk when the run ends. Nobody boots from it.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn on_last_image(&mut self, at: Moment, member: MemberId, image: &DiskImage) -> Result<(), Finding> {
        let checked = self.on_image(at, member, image);
        let place = self.place(member);
        self.members[place].found = None;
        checked
    }

    /// What the disk of a member holds that is about to boot.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn on_image(&mut self, at: Moment, member: MemberId, image: &DiskImage) -> Result<(), Finding> {
        let place = self.place(member);
        self.members[place].found = None;
        if self.premise_lost {
            return Ok(());
        }
        let damaged = self.members[place].damaged;
        let log = match wal::read(&image.files, &image.lengths) {
            Ok(Some(log)) => log,
            Ok(None) => Log::default(),
            Err(damage) if damaged => {
                self.members[place].found = Some(Found::Refused(damage));
                return Ok(());
            }
            Err(damage) => {
                let summary = format!("{member}'s log is damaged, though no fault damaged its disk");
                let found = Err(finding("P2", at, summary, vec![damage.to_string()]));
                return self.counts(found);
            }
        };
        if !damaged {
            self.counts(self.kept(at, place, &log))?;
        }
        let mut reached = log.last().max(log.start().index);
        if !self.members[place].tainted {
            let found = self.databases(at, place, image, &log);
            reached = reached.max(self.counts(found)?);
        }
        // What it finds it will apply and commit, though it was never synced and may be lost when a sync fails.
        self.members[place].reached = reached;
        self.members[place].found = Some(Found::Log(Box::new(log)));
        Ok(())
    }

    /// P3 and P1, cheaply, for the database of a running member whose commit has just ended: its pages are sound, and
    /// it is at the index that was committed. What is in it is compared when a boot reads it.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn on_commit(&mut self, at: Moment, member: MemberId, db: &Rope) -> Result<(), Finding> {
        let place = self.place(member);
        let of = &self.members[place];
        if self.premise_lost || of.damaged || of.tainted {
            return Ok(());
        }
        let committed = of.progress.last_commit();
        let mut index = None;
        let walked = Db::open(db).and_then(|db| {
            db.walk(&mut |bucket, pair| {
                let of_meta = pair.filter(|(key, _)| bucket == &b"meta"[..] && key == &b"consistent_index"[..]);
                if let Some((_, value)) = of_meta {
                    index = value[..].try_into().ok().map(u64::from_be_bytes);
                }
            })
        });
        if let Err(damage) = walked {
            let found = Err(self.database_finding(at, place, FileName::Db, Fault::Pages(damage)));
            return self.counts(found);
        }
        if index.unwrap_or(0) == committed {
            return Ok(());
        }
        let summary = format!("{member} has committed index {committed}, and its db is at {index:?}");
        self.counts(Err(finding("P1", at, summary, Vec::new())))
    }

    /// P2: the log has everything that was synced.
    fn kept(&self, at: Moment, place: usize, log: &Log) -> Result<(), Finding> {
        let member = &self.members[place];
        let id = member.id;
        // Of a member that runs nothing has been lost yet; this is what a loss of power now would leave.
        let mut durable = member.durable.clone();
        if member.live {
            durable.crashed();
        }
        let end = match &log.torn {
            Some((file, offset)) => format!("the log is torn at byte {offset} of {file}"),
            None => "the log ends clean".to_owned(),
        };
        let start = log.start().index;
        if let Some(lost) = durable.lost(start, log.last().max(start), |index| log.entry(index).map(|entry| entry.term))
        {
            let summary = format!("{id}'s log has lost index {} of term {}, which was synced", lost.index, lost.term);
            let found = lost.found.map_or("nothing".to_owned(), |term| format!("an entry of term {term}"));
            return Err(finding("P2", at, summary, vec![format!("there is {found}; {end}")]));
        }
        let (term, vote) = durable.synced_hard_state;
        let state = log.hard_state;
        if state.term < term || (state.term == term && vote != MemberId::NONE && state.vote != vote.0) {
            let summary = format!("{id}'s log has lost a hard state that was synced: term {term}, vote {vote}");
            return Err(finding(
                "P2",
                at,
                summary,
                vec![format!("it has term {}, vote {}; {end}", state.term, state.vote)],
            ));
        }
        Ok(())
    }

    /// P1, P3, P4: the database, or the one that came with the snapshot which the log starts from. Its index.
    fn databases(&mut self, at: Moment, place: usize, image: &DiskImage, log: &Log) -> Result<u64, Finding> {
        let (id, committed) = (self.members[place].id, self.members[place].progress.committed_index());
        self.same_configuration(at, place, &log.start())?;
        let start = log.start().index;
        let index = match image.files.get(&FileName::Db) {
            // Whose making a crash has cut short holds nothing yet, and has promised nothing.
            Some(file) if committed == 0 && start == 0 && Content::read(file).is_err() => 0,
            Some(file) => {
                let content = self.read_database(at, place, FileName::Db, file)?;
                let index = content.consistent_index;
                // An installed database counts when its snapshot does: the record comes before the swap.
                let (snapshot, installed) = self.members[place].installed;
                let installed = if start >= snapshot { installed } else { 0 };
                if index > log.last().max(start).max(installed).max(self.members[place].reached) {
                    let summary = format!("{id}'s db is at index {index}, and its log ends at {}", log.last());
                    return Err(finding("P1", at, summary, Vec::new()));
                }
                self.same_content(at, place, FileName::Db, &content)?;
                index
            }
            None => 0,
        };
        // A member that is given a snapshot renames the database that came with it, and the new name may be lost: then
        // that database, with all that was committed to it since, lies under its old one, which its boot looks for.
        let (name, index) = match index < start {
            false => (FileName::Db, index),
            true => self.received(at, place, image, start, index)?,
        };
        if index < committed {
            let summary = format!("{id}'s {name} is at index {index}; it had committed index {committed}");
            return Err(finding("P1", at, summary, Vec::new()));
        }
        Ok(index)
    }

    /// R8: the configuration in the record of a snapshot is that of its own index. Records of 3.4 have none.
    pub(super) fn same_configuration(&mut self, at: Moment, place: usize, start: &Snapshot) -> Result<(), Finding> {
        let Some(found) = start.conf_state.as_ref().filter(|_| start.index >= self.founders.max(1)) else {
            return Ok(());
        };
        if start.index > self.reference.last() || self.premise_lost {
            return Ok(());
        }
        let (id, index, needed) = (self.members[place].id, start.index, self.needed(place));
        let Ok(fold) = self.reference.at(index, &needed) else { return Ok(()) };
        let sorted = |ids: &[u64]| ids.iter().copied().collect::<BTreeSet<u64>>();
        let of_log = |learners| fold.members.ids(learners).into_iter().collect::<BTreeSet<u64>>();
        let (has, should) = ((sorted(&found.voters), sorted(&found.learners)), (of_log(false), of_log(true)));
        if has == should {
            return Ok(());
        }
        let summary = format!("{id}'s snapshot at index {index} has another configuration than its log leads to there");
        let show = |who: &str, (voters, learners): &(BTreeSet<u64>, BTreeSet<u64>)| {
            format!("{who}: voters {voters:?}, learners {learners:?}")
        };
        Err(finding("R8", at, summary, vec![show("it has", &has), show("the log", &should)]))
    }

    /// P4: the database that came with the snapshot at `start`, when `db` is only at `index`. Its index. P1 where none
    /// ever came: the member has made that snapshot itself, of what its database did not hold.
    fn received(
        &mut self,
        at: Moment,
        place: usize,
        image: &DiskImage,
        start: u64,
        index: u64,
    ) -> Result<(FileName, u64), Finding> {
        let (id, name) = (self.members[place].id, FileName::SnapDb { index: start });
        let Some(file) = image.files.get(&name) else {
            let starts = format!("{id}'s log starts from index {start}, its db is at {index}");
            let (check, why) = match self.members[place].databases.contains(&start) {
                true => ("P4", format!("{name} is missing")),
                false => ("P1", "no database has come with that snapshot".to_owned()),
            };
            return Err(finding(check, at, format!("{starts}, and {why}"), Vec::new()));
        };
        let content = self.read_database(at, place, name, file)?;
        if content.consistent_index < start {
            let summary = format!("{id}'s {name} is at index {}", content.consistent_index);
            return Err(finding("P4", at, summary, Vec::new()));
        }
        self.same_content(at, place, name, &content)?;
        Ok((name, content.consistent_index))
    }

    fn read_database(&self, at: Moment, place: usize, name: FileName, file: &Rope) -> Result<Content, Finding> {
        let content = Content::read(file).map_err(|fault| self.database_finding(at, place, name, fault))?;
        let (index, known) = (content.consistent_index, self.reference.last());
        if index > known {
            let summary = format!("{}'s {name} is at index {index}, which nobody has applied", self.members[place].id);
            return Err(finding("P1", at, summary, vec![format!("applied by anybody: {known}")]));
        }
        Ok(content)
    }

    fn same_content(&mut self, at: Moment, place: usize, name: FileName, content: &Content) -> Result<(), Finding> {
        let needed = self.needed(place);
        let compared = content.compare(&mut self.reference, &needed, self.founders);
        compared.map_err(|fault| self.database_finding(at, place, name, fault))
    }

    /// Every other member's database may be looked at next, and will be found where it was committed, or later.
    pub(super) fn needed(&self, place: usize) -> Vec<u64> {
        let others = self.members.iter().enumerate().filter(|(other, _)| *other != place);
        others.map(|(_, member)| member.progress.committed_index()).collect()
    }

    /// P1 and P3; A1 where it is about users and roles, G1 where it is about the cluster.
    fn database_finding(&self, at: Moment, place: usize, name: FileName, fault: Fault) -> Finding {
        let id = self.members[place].id;
        let differs = |check, reason: String, facts| {
            let summary = format!("{id}'s {name} is not what its log leads to: {reason}");
            finding(check, at, summary, facts)
        };
        match fault {
            Fault::Pages(damage) => {
                let summary = format!("{id}'s {name} is no sound bbolt file");
                finding("P3", at, summary, vec![damage.to_string()])
            }
            Fault::Content(reason, facts) => differs("P1", reason, facts),
            Fault::Auth(reason, facts) => differs("A1", reason, facts),
            Fault::Cluster(reason, facts) => differs("G1", reason, facts),
        }
    }

    /// P2: a member that has booted has read its log as it is; one that was forced to be a cluster of its own as far as
    /// its hard state or its database says that it is committed, and behind that only the changes that make it so. P1:
    /// what it keeps has all that its database is made of, since a database ahead of its log passes over the next
    /// entries that get those indexes.
    pub(super) fn reads_alike(&mut self, at: Moment, place: usize, view: &View<'_>) -> Result<(), Finding> {
        let id = view.member;
        let log = match self.members[place].found.take() {
            None => return Ok(()),
            Some(Found::Refused(damage)) => {
                let summary = format!("{id} boots from a log that is damaged where no crash can have torn it");
                return Err(finding("P2", at, summary, vec![damage.to_string()]));
            }
            Some(Found::Log(log)) => log,
        };
        let start = log.start().index;
        // A founder whose first save was lost writes its first entries again.
        if start == 0 && log.hard_state.commit == 0 {
            return Ok(());
        }
        let (first, last) = (view.log.start.0 + 1, log.last().max(start));
        let kept = match view.forced {
            true => log.hard_state.commit.max(view.consistent_index).clamp(start, last),
            false => last,
        };
        let its_own = |index| {
            let entry = view.log.entry(index).filter(|_| view.forced);
            entry.is_some_and(|entry| entry.entry_type == EntryType::EntryConfChange)
        };
        let ends = view.log.last_index() >= kept && (kept + 1..=view.log.last_index()).all(its_own);
        let differs = (first..=kept).find(|index| {
            let (read, is) = (view.log.entry(*index), log.entry(*index));
            let read = read.map(|entry| (entry.term, entry_hash_of(entry.entry_type as u64, &entry.data)));
            read != is.map(|entry| (entry.term, entry_hash_of(entry.kind as u64, &entry.data)))
        });
        if view.log.start.0 == start && ends && differs.is_none() {
            return Ok(());
        }
        let summary = format!("{id} has read its log otherwise than it is");
        let mut details = vec![
            format!("on disk: from {start} to {last}"),
            format!("read: from {} to {}", view.log.start.0, view.log.last_index()),
        ];
        details.extend(differs.map(|index| format!("first difference at index {index}")));
        self.counts::<()>(Err(finding("P2", at, summary, details)))?;
        let database = view.consistent_index;
        let Some(missed) = differs.filter(|index| *index <= database) else { return Ok(()) };
        let summary = format!("{id}'s db is at index {database}, and it has given up its log's entry {missed}");
        self.counts(Err(finding("P1", at, summary, Vec::new())))
    }
}
