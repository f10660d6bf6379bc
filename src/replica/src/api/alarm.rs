//! Alarms: what a member raises for the whole cluster.

use crate::MemberId;

/// `AlarmType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    /// A member's backend is over its quota: what would make it larger is refused.
    NoSpace,
    /// A member's data differs from the others': no key and no lease is served.
    Corrupt,
}

/// `AlarmMember`: who raised what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlarmMember {
    /// Which.
    pub alarm: Alarm,
    /// Whose it is.
    pub member: MemberId,
}

/// `AlarmRequest.AlarmAction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlarmAction {
    /// List them: all of one kind, or all there are. The member is not looked at.
    Get,
    /// Raise one.
    Activate,
    /// Take one back.
    Deactivate,
}

/// `AlarmRequest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AlarmRequest {
    /// What to do.
    pub action: AlarmAction,
    /// Whose alarm.
    pub member: MemberId,
    /// Which. `None` is all of them to [`AlarmAction::Get`], and nothing to the other actions.
    pub alarm: Option<Alarm>,
}
