//! Disks as evidence: a member's, taken out of a run at a moment, and what a boot from it says.

use std::collections::BTreeMap;

use detcd_replica::time::{Monotonic, Span};
use detcd_replica::{Config, Dir, DiskImage, FileName, MemberId, Replica};
use detcd_sim::disk::Layer;
use detcd_sim::{Observer, Until};
use serde::Serialize;

use super::{settle, EngineError, RunOptions, WhiteBox, World};
use crate::panics::caught;

pub(crate) use detcd_sim::disk::FileContent;

/// A moment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Its end.
    End,
    /// A time since its beginning, in nanoseconds.
    Time(u64),
    /// An event, by its number.
    Event(u64),
}

impl At {
    /// `end`, a length of time with its unit, or the number of an event.
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "end" {
            return Ok(Self::End);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse() {
                Ok(event) if event > 0 => Ok(Self::Event(event)),
                _ => Err(format!("`{text}` is not the number of an event (they count from 1), nor a time like 2.5s")),
            };
        }
        let time = detcd_sim::scenario::span::parse(text);
        time.map(|span| Self::Time(span.0))
            .map_err(|_| format!("`{text}` is neither a time like 2.5s, nor the number of an event, nor `end`"))
    }
}

/// What a crash leaves on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kept {
    /// What was synced: power failed, and the rest is gone.
    Durable,
    /// Everything: only the process was killed.
    Cached,
}

/// How far a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Standing {
    /// Raft term.
    pub(crate) term: u64,
    /// Commit index.
    pub(crate) commit: u64,
    /// Applied index.
    pub(crate) applied: u64,
    /// The index that its backend is the result of.
    pub(crate) consistent_index: u64,
    /// The store's revision.
    pub(crate) revision: i64,
    /// The store's compaction revision; -1 when never compacted.
    pub(crate) compact_revision: i64,
}

impl Standing {
    pub(super) fn of(replica: &Replica) -> Self {
        let view = replica.view();
        Self {
            term: view.term,
            commit: view.commit,
            applied: view.applied,
            consistent_index: view.consistent_index,
            revision: view.revision,
            compact_revision: view.compact_revision,
        }
    }
}

/// A disk that was taken out of a run.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// The last event before.
    pub(crate) event: u64,
    /// When that was, nanoseconds since the run began.
    pub(crate) nanos: u64,
    /// The member itself; `None` when it was down.
    pub(crate) running: Option<Standing>,
    /// What a boot from the files finds, or why it refuses them.
    pub(crate) booted: Result<Standing, String>,
    /// Whether the disk had broken a promise: what it called safe was gone, or was not what was written.
    pub(crate) harmed: bool,
    /// How often each kind of fault had fired.
    pub(crate) faults: BTreeMap<String, u64>,
    /// The files.
    pub(crate) files: BTreeMap<FileName, FileContent>,
}

/// Plays a run up to a moment and takes the disk out of a member, counted from 1.
///
/// # Errors
/// There is no such member, or the run ends before.
pub(crate) fn disk_of(
    world: &World,
    seed: u64,
    options: &RunOptions,
    member: u64,
    at: At,
    kept: Kept,
) -> Result<Evidence, EngineError> {
    let (scenario, asked) = settle(world, seed, options)?;
    let until = match at {
        At::End => Until::End,
        At::Time(nanos) => Until::Time(Span(nanos)),
        At::Event(event) => Until::Event(event),
    };
    let halted = detcd_sim::halt(&scenario, &asked, until, &mut |founders: &[MemberId]| -> Box<dyn Observer> {
        Box::new(WhiteBox::new(founders))
    });
    if !halted.reached {
        let (event, time) = (halted.event, halted.time);
        return Err(EngineError::Asked(format!("--at: the run ends before, with event {event} after {time}")));
    }
    let members = halted.members.len();
    let place = usize::try_from(member).ok().and_then(|member| member.checked_sub(1));
    let Some(standing) = place.and_then(|place| halted.members.into_iter().nth(place)) else {
        return Err(EngineError::Asked(format!("--member {member}: the members of this run are 1 to {members}")));
    };
    let layer = match kept {
        Kept::Durable => Layer::Durable,
        Kept::Cached => Layer::Cached,
    };
    let files = standing.disk.contents(layer);
    Ok(Evidence {
        event: halted.event,
        nanos: halted.time.as_nanos(),
        harmed: standing.disk.is_harmed(),
        running: standing.replica.as_ref().map(Standing::of),
        booted: boot(standing.config, &image_of(&files)).map(|replica| Standing::of(&replica)),
        faults: halted.faults.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect(),
        files,
    })
}

/// The files as a booting member reads them: only of the log, which is preallocated, the zeros are left out.
fn image_of(files: &BTreeMap<FileName, FileContent>) -> DiskImage {
    let mut image = DiskImage::default();
    for (name, content) in files {
        if name.dir() == Dir::Wal {
            image.files.insert(*name, content.data.clone().into());
            image.lengths.insert(*name, content.length);
        } else {
            let mut whole = content.data.to_vec();
            whole.resize(usize::try_from(content.length).expect("a simulated file fits into memory"), 0);
            image.files.insert(*name, whole.into());
        }
    }
    image
}

/// A boot, whose panics are refusals too: the image may be anything.
fn boot(config: Config, image: &DiskImage) -> Result<Replica, String> {
    match caught(|| Replica::boot(config, image, Monotonic(0), &mut Vec::new())) {
        Ok(booted) => booted.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("panicked at {}: {}", panic.place, panic.message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_an_end_a_time_or_an_event() {
        assert_eq!(At::parse("end"), Ok(At::End));
        assert_eq!(At::parse("2.5s"), Ok(At::Time(2_500_000_000)));
        assert_eq!(At::parse("0ms"), Ok(At::Time(0)));
        assert_eq!(At::parse("8121"), Ok(At::Event(8121)));
        for text in ["", "0", "-1", "2.5", "s", "2 s", "begin", "18446744073709551616", "99999999999h"] {
            assert!(At::parse(text).is_err(), "{text}");
        }
    }
}
