//! Alarm requests between their message and [`crate::api`].

use super::message;
use crate::api::{Alarm, AlarmAction, AlarmRequest};
use crate::MemberId;

/// The request in a message.
///
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

/// The message of a request.
pub(super) fn message(request: &AlarmRequest) -> message::alarm::AlarmRequest {
    let action = match request.action {
        AlarmAction::Get => 0,
        AlarmAction::Activate => 1,
        AlarmAction::Deactivate => 2,
    };
    let alarm = match request.alarm {
        None => 0,
        Some(Alarm::NoSpace) => 1,
        Some(Alarm::Corrupt) => 2,
    };
    message::alarm::AlarmRequest { action, member_id: request.member.0, alarm }
}
