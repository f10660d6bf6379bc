//! What an entry says, for people who look into a log.

use bytes::Bytes;

use super::{decode, Command};
use crate::api::Request;

/// A normal entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// Its id: who waits for it.
    pub id: u64,
    /// The user, empty when nobody had to say.
    pub username: String,
    /// What it asks for.
    pub asked: Asked,
}

/// Who asks, and what.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// A client, for keys, leases or alarms.
    Client(Request),
    /// Members among themselves, or whoever manages them: in etcd's words.
    Other(String),
}

/// Reads the data of a normal entry.
///
/// # Errors
/// What is wrong with it.
pub fn look(data: &Bytes) -> Result<Look, String> {
    let entry = decode(data)?;
    let asked = match entry.command {
        Command::Request(request) => Asked::Client(request),
        Command::LeaseCheckpoint(checkpoints) => {
            let each = checkpoints.iter().map(|one| format!("{:x}: {}s", one.id, one.remaining_ttl));
            Asked::Other(format!("lease_checkpoint {}", each.collect::<Vec<_>>().join(", ")))
        }
        Command::Auth(command) => Asked::Other(format!("auth {command:?}")),
        Command::ClusterVersionSet(set) => Asked::Other(format!("cluster_version_set {}", set.ver)),
        Command::ClusterMemberAttrSet(set) => {
            let attributes = set.member_attributes.unwrap_or_default();
            let urls = attributes.client_urls.join(",");
            Asked::Other(format!("cluster_member_attr_set {:x} {} {urls}", set.member_id, attributes.name))
        }
        Command::DowngradeInfoSet(set) => Asked::Other(format!("downgrade_info_set {} {}", set.enabled, set.ver)),
        Command::Old(old) => Asked::Other(format!("v2 {} {} {}", old.method, old.path, old.val)),
        Command::Nothing => Asked::Other("downgrade_version_test".to_owned()),
    };
    Ok(Look { id: entry.id, username: entry.username, asked })
}
