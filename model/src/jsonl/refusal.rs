//! The errors of the API by their names in this format.

use detcd_replica::api as of;
use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

/// The errors by their names in this format.
pub(super) const ERRORS: [(of::Error, &str); 55] = [
    (of::Error::EmptyKey, "EmptyKey"),
    (of::Error::TooManyOps, "TooManyOps"),
    (of::Error::DuplicateKey, "DuplicateKey"),
    (of::Error::RequestTooLarge, "RequestTooLarge"),
    (of::Error::Compacted, "Compacted"),
    (of::Error::FutureRevision, "FutureRevision"),
    (of::Error::LeaseNotFound, "LeaseNotFound"),
    (of::Error::TooManyRequests, "TooManyRequests"),
    (of::Error::NoLeader, "NoLeader"),
    (of::Error::LeaderChanged, "LeaderChanged"),
    (of::Error::NotLeader, "NotLeader"),
    (of::Error::Timeout, "Timeout"),
    (of::Error::DefragmentFailed, "DefragmentFailed"),
    (of::Error::Stopped, "Stopped"),
    (of::Error::MemberNotFound, "MemberNotFound"),
    (of::Error::MemberExists, "MemberExists"),
    (of::Error::MemberNotLearner, "MemberNotLearner"),
    (of::Error::LearnerNotReady, "LearnerNotReady"),
    (of::Error::TooManyLearners, "TooManyLearners"),
    (of::Error::UnhealthyCluster, "UnhealthyCluster"),
    (of::Error::KeyNotFound, "KeyNotFound"),
    (of::Error::ValueProvided, "ValueProvided"),
    (of::Error::LeaseProvided, "LeaseProvided"),
    (of::Error::InvalidSortOption, "InvalidSortOption"),
    (of::Error::NoSpace, "NoSpace"),
    (of::Error::LeaseExists, "LeaseExists"),
    (of::Error::LeaseTtlTooLarge, "LeaseTtlTooLarge"),
    (of::Error::NotPrimary, "NotPrimary"),
    (of::Error::TimeoutWaitAppliedIndex, "TimeoutWaitAppliedIndex"),
    (of::Error::Corrupt, "Corrupt"),
    (of::Error::MemberNotEnoughStarted, "MemberNotEnoughStarted"),
    (of::Error::PeerUrlExists, "PeerUrlExists"),
    (of::Error::WrongDowngradeVersionFormat, "WrongDowngradeVersionFormat"),
    (of::Error::InvalidDowngradeTargetVersion, "InvalidDowngradeTargetVersion"),
    (of::Error::ClusterVersionUnavailable, "ClusterVersionUnavailable"),
    (of::Error::DowngradeInProcess, "DowngradeInProcess"),
    (of::Error::NoInflightDowngrade, "NoInflightDowngrade"),
    (of::Error::RootUserNotExist, "RootUserNotExist"),
    (of::Error::RootRoleNotExist, "RootRoleNotExist"),
    (of::Error::UserAlreadyExist, "UserAlreadyExist"),
    (of::Error::UserEmpty, "UserEmpty"),
    (of::Error::UserNotFound, "UserNotFound"),
    (of::Error::RoleAlreadyExist, "RoleAlreadyExist"),
    (of::Error::RoleNotFound, "RoleNotFound"),
    (of::Error::RoleEmpty, "RoleEmpty"),
    (of::Error::AuthFailed, "AuthFailed"),
    (of::Error::NoPasswordUser, "NoPasswordUser"),
    (of::Error::PermissionNotGiven, "PermissionNotGiven"),
    (of::Error::PermissionDenied, "PermissionDenied"),
    (of::Error::RoleNotGranted, "RoleNotGranted"),
    (of::Error::PermissionNotGranted, "PermissionNotGranted"),
    (of::Error::AuthNotEnabled, "AuthNotEnabled"),
    (of::Error::InvalidAuthToken, "InvalidAuthToken"),
    (of::Error::InvalidAuthMgmt, "InvalidAuthMgmt"),
    (of::Error::AuthOldRevision, "AuthOldRevision"),
];

/// An error, by its name.
pub(super) struct Refusal(pub(super) of::Error);

impl Serialize for Refusal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = ERRORS.iter().find(|(error, _)| *error == self.0).expect("every error has a name").1;
        serializer.serialize_str(name)
    }
}

impl<'de> Deserialize<'de> for Refusal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = ERRORS.iter().find(|(_, known)| *known == name);
        known
            .map(|(error, _)| Self(*error))
            .ok_or_else(|| de::Error::custom(format!("field `error`: no error `{name}`")))
    }
}
