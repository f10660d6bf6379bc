//! Alarm requests between their message and [`crate::api`].

use super::message;
use crate::api::{Alarm, AlarmAction, AlarmRequest};
use crate::MemberId;

/// # Errors
/// An action or an alarm that does not exist.
pub(super) fn parse(request: &message::alarm::AlarmRequest) -> Result<AlarmRequest, String> {
    let action = match request.action {
        0 => AlarmAction::Get,
        1 => AlarmAction::Activate,
        2 => AlarmAction::Deactivate,
        other => return Err(format!("alarm action {other} does not exist")),
    };
    let alarm = match request.alarm {
        0 => None,
        1 => Some(Alarm::NoSpace),
        2 => Some(Alarm::Corrupt),
        other => return Err(format!("alarm {other} does not exist")),
    };
    Ok(AlarmRequest { action, member: MemberId(request.member_id), alarm })
}
