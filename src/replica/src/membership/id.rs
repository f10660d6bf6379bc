//! The ids that etcd gives to members and clusters: the first eight bytes of a SHA-1, big-endian.
//!
//! A driver that chooses ids itself does not need them. A cluster that real etcds are to join does: each of them
//! computes the ids from its flags.

use sha1::{Digest, Sha1};

use crate::MemberId;

/// The id of a member with these peer URLs. `token` is the cluster's (`--initial-cluster-token`); one that is added
/// later has the Unix second of that moment in it, and no token.
pub fn member_id(peer_urls: &[String], token: &str, added: Option<u64>) -> MemberId {
    let mut urls: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    urls.sort_unstable();
    let seconds = added.map(|seconds| seconds.to_string());
    let parts = urls.into_iter().chain([token]).chain(seconds.as_deref());
    MemberId(first_eight(parts.map(str::as_bytes)))
}

/// The id of the cluster that these members found.
pub fn cluster_id(founders: &[MemberId]) -> u64 {
    let mut founders = founders.to_vec();
    founders.sort_unstable();
    let bytes: Vec<[u8; 8]> = founders.iter().map(|member| member.0.to_be_bytes()).collect();
    first_eight(bytes.iter().map(|id| &id[..]))
}

fn first_eight<'a>(parts: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut hash = Sha1::new();
    for part in parts {
        hash.update(part);
    }
    let hash = hash.finalize();
    u64::from_be_bytes(hash[..8].try_into().expect("a SHA-1 has 20 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_a_real_etcd() {
        // `etcd` without flags, as of any release.
        let member = member_id(&["http://localhost:2380".into()], "etcd-cluster", None);
        assert_eq!(format!("{:x}", member.0), "8e9e05c52164694d");
        assert_eq!(format!("{:x}", cluster_id(&[member])), "cdf818194e3a8c32");
    }

    #[test]
    fn the_order_of_urls_and_members_does_not_matter() {
        let urls = |list: &[&str]| -> Vec<String> { list.iter().map(|url| (*url).into()).collect() };
        assert_eq!(member_id(&urls(&["b", "a"]), "t", None), member_id(&urls(&["a", "b"]), "t", None));
        assert_ne!(member_id(&urls(&["a"]), "", Some(1)), member_id(&urls(&["a"]), "", Some(2)));
        assert_eq!(cluster_id(&[MemberId(2), MemberId(1)]), cluster_id(&[MemberId(1), MemberId(2)]));
    }
}
