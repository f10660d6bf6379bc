//! A run that is stopped at a moment, and the members with their disks as they are then.
//!
//! The run up to there is exactly the run that [`run()`](crate::run()) plays: a moment is looked at, not made.

use detcd_replica::history::Moment;
use detcd_replica::time::Span;
use detcd_replica::{Config, MemberId, Replica};

use crate::disk::Disk;
use crate::observer::Observer;
use crate::run::{failure, play, Failure, Options};
use crate::scenario::Scenario;
use crate::world::{Stop, Tally};

/// The last moment of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Its own end.
    End,
    /// Everything up to this time, this time included, counted from the beginning of the run.
    Time(Span),
    /// The event of this number, and what it asked of disks and network.
    Event(Moment),
}

/// A member when its run is over.
pub struct Standing {
    /// How it was set up.
    pub config: Config,
    /// The member itself; `None` when it is down.
    pub replica: Option<Replica>,
    /// Its disk.
    pub disk: Disk,
}

/// A run that was stopped.
pub struct Halted {
    /// Whether it came as far as it was to come: it may have ended before.
    pub reached: bool,
    /// Number of its last event.
    pub event: Moment,
    /// Simulated time.
    pub time: Span,
    /// Why it ended by itself, if it failed.
    pub failure: Option<Failure>,
    /// How often each kind of fault had an effect.
    pub faults: Tally,
    /// The members, in the order of their places.
    pub members: Vec<Standing>,
}

/// Plays a scenario up to a moment. `observer` as in [`run()`](crate::run()): a finding ends the run.
pub fn halt(
    scenario: &Scenario,
    options: &Options,
    until: Until,
    observer: &mut dyn FnMut(&[MemberId]) -> Box<dyn Observer>,
) -> Halted {
    let (_, remains, stuck) = play(scenario, options, until, observer);
    let time = Span(remains.simulated_nanos);
    let reached = match until {
        Until::End => true,
        _ if remains.stop == Some(Stop::Halted) => true,
        Until::Time(wanted) => time >= wanted,
        Until::Event(wanted) => remains.events >= wanted,
    };
    Halted {
        reached,
        event: remains.events,
        time,
        failure: failure(remains.events, remains.stop, stuck),
        faults: remains.faults,
        members: remains.members,
    }
}
