//! How a member is served: etcd's flags, parsed.

use std::path::PathBuf;

use detcd_replica::time::Span;
use detcd_replica::{AutoCompaction, Release, TokenKind};

use super::net::{TlsFiles, Url};

/// A member that founds the cluster, as `--initial-cluster` names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Founder {
    /// Its name.
    pub(crate) name: String,
    /// Where the other members reach it.
    pub(crate) peer_urls: Vec<String>,
}

impl Founder {
    /// Parses `a=http://10.0.0.1:2380,b=http://10.0.0.2:2380`; a name may come again, with another URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let mut founders: Vec<Self> = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, url) = part.split_once('=').ok_or_else(|| format!("{part}: a member is NAME=URL"))?;
            let url = Url::parse(url)?.to_string();
            match founders.iter_mut().find(|founder| founder.name == name) {
                Some(founder) => founder.peer_urls.push(url),
                None => founders.push(Self { name: name.to_owned(), peer_urls: vec![url] }),
            }
        }
        Ok(founders)
    }
}

/// What to serve, where, and how.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) name: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) listen_client: Vec<Url>,
    pub(crate) advertise_client: Vec<Url>,
    pub(crate) listen_metrics: Vec<Url>,
    pub(crate) listen_peer: Vec<Url>,
    pub(crate) advertise_peer: Vec<Url>,
    pub(crate) founders: Vec<Founder>,
    /// The cluster is there already, and the member was added to it.
    pub(crate) existing: bool,
    pub(crate) token: String,
    pub(crate) force_new_cluster: bool,
    pub(crate) release: Release,
    pub(crate) heartbeat_interval: Span,
    pub(crate) election_ticks: u32,
    pub(crate) snapshot_count: u64,
    pub(crate) snapshot_catch_up_entries: u64,
    /// Less than 0: no quota.
    pub(crate) quota_backend_bytes: i64,
    /// 0: all of them.
    pub(crate) max_snapshots: usize,
    /// 0: all of them.
    pub(crate) max_wals: usize,
    pub(crate) backend_batch_interval: Option<Span>,
    pub(crate) backend_batch_limit: Option<usize>,
    pub(crate) compaction_batch_limit: usize,
    pub(crate) compaction_sleep_interval: Span,
    pub(crate) downgrade_check_interval: Span,
    /// What is written lasts before it is said to be.
    pub(crate) syncs: bool,
    pub(crate) max_learners: usize,
    pub(crate) max_txn_ops: usize,
    pub(crate) max_request_bytes: usize,
    pub(crate) max_concurrent_streams: u32,
    pub(crate) strict_reconfig_check: bool,
    pub(crate) pre_vote: bool,
    pub(crate) watch_progress_interval: Span,
    pub(crate) auto_compaction: AutoCompaction,
    pub(crate) initial_corrupt_check: bool,
    pub(crate) corrupt_check_time: Span,
    pub(crate) compact_hash_check: bool,
    pub(crate) compact_hash_check_time: Span,
    pub(crate) lease_checkpoint: bool,
    pub(crate) auth_token: TokenKind,
    pub(crate) auth_token_ttl: Span,
    pub(crate) bcrypt_cost: u32,
    pub(crate) client_tls: TlsFiles,
    pub(crate) peer_tls: TlsFiles,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn founders_are_named_as_etcds_flag_has_them() {
        let founders = Founder::parse_all("a=http://h:1,b=http://h:2,a=http://h:3").expect("founders");
        assert_eq!(founders.len(), 2);
        assert_eq!(founders[0].peer_urls, ["http://h:1", "http://h:3"]);
        assert!(Founder::parse_all("http://h:1").is_err() && Founder::parse_all("a=h:1").is_err());
    }
}
