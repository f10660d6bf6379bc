//! The flags of `detcd serve`: those of etcd that it knows, by their names and with their defaults, and from the same
//! environment.

use std::path::PathBuf;

use clap::Args;
use detcd_replica::time::Span;
use detcd_replica::{AutoCompaction, Release, TokenKind};

use super::go::{parse_span, parse_switch};
use crate::exit::Failure;
use crate::serve::{Founder, Options, TlsFiles, Url};

/// `detcd serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// Say which etcd this is like and which detcd it is, and end
    #[arg(long, default_value = "false", value_parser = parse_switch, help_heading = "Member")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    version: bool,

    /// The member's name
    #[arg(long, env = "ETCD_NAME", default_value = "default", help_heading = "Member")]
    name: String,

    /// Its data dir [default: NAME.etcd]
    #[arg(long, env = "ETCD_DATA_DIR", value_name = "DIR", help_heading = "Member")]
    data_dir: Option<PathBuf>,

    /// Where clients are listened to
    #[arg(long, env = "ETCD_LISTEN_CLIENT_URLS", value_name = "URLS", default_value = "http://localhost:2379")]
    #[arg(value_delimiter = ',', value_parser = Url::parse, help_heading = "Member")]
    listen_client_urls: Vec<Url>,

    /// Where monitoring alone is listened to (`/metrics`, `/health`); https has the certificate for clients
    #[arg(long, env = "ETCD_LISTEN_METRICS_URLS", value_name = "URLS", value_delimiter = ',')]
    #[arg(value_parser = Url::parse, help_heading = "Member")]
    listen_metrics_urls: Vec<Url>,

    /// Where other members are listened to
    #[arg(long, env = "ETCD_LISTEN_PEER_URLS", value_name = "URLS", default_value = "http://localhost:2380")]
    #[arg(value_delimiter = ',', value_parser = Url::parse, help_heading = "Member")]
    listen_peer_urls: Vec<Url>,

    /// One tick, which is the time between heartbeats, in milliseconds
    #[arg(long, env = "ETCD_HEARTBEAT_INTERVAL", value_name = "MS", default_value = "100", help_heading = "Member")]
    heartbeat_interval: u64,

    /// How long a follower waits for its leader, in milliseconds
    #[arg(long, env = "ETCD_ELECTION_TIMEOUT", value_name = "MS", default_value = "1000", help_heading = "Member")]
    election_timeout: u64,

    /// Applied entries between two snapshots
    #[arg(long, env = "ETCD_SNAPSHOT_COUNT", value_name = "N", default_value = "10000", help_heading = "Member")]
    snapshot_count: u64,

    /// Entries that stay in the Raft log behind a snapshot, for slow followers
    #[arg(long, alias = "experimental-snapshot-catchup-entries", env = "ETCD_SNAPSHOT_CATCHUP_ENTRIES")]
    #[arg(value_name = "N", default_value = "5000", help_heading = "Member")]
    snapshot_catchup_entries: u64,

    /// Size of the database beyond which writes are refused, in bytes; 0 is etcd's 2 GiB, less is no quota
    #[arg(long, env = "ETCD_QUOTA_BACKEND_BYTES", value_name = "BYTES", default_value = "0", help_heading = "Member")]
    quota_backend_bytes: i64,

    /// Snapshots that are kept, 0 for all
    #[arg(long, env = "ETCD_MAX_SNAPSHOTS", value_name = "N", default_value = "5", help_heading = "Member")]
    max_snapshots: usize,

    /// Files of the log that are kept, beside those that are needed, 0 for all
    #[arg(long, env = "ETCD_MAX_WALS", value_name = "N", default_value = "5", help_heading = "Member")]
    max_wals: usize,

    /// Time after which the backend commits, like 100ms; 0 is etcd's 100ms
    #[arg(long, env = "ETCD_BACKEND_BATCH_INTERVAL", value_name = "TIME", default_value = "0s")]
    #[arg(value_parser = parse_span, help_heading = "Member")]
    backend_batch_interval: Span,

    /// Operations after which the backend commits; 0 is etcd's 10000
    #[arg(long, env = "ETCD_BACKEND_BATCH_LIMIT", value_name = "N", default_value = "0", help_heading = "Member")]
    backend_batch_limit: usize,

    /// Revisions that a compaction removes at once
    #[arg(long, alias = "experimental-compaction-batch-limit", env = "ETCD_COMPACTION_BATCH_LIMIT")]
    #[arg(value_name = "N", default_value = "1000", help_heading = "Member")]
    compaction_batch_limit: usize,

    /// Time between two batches of a compaction
    #[arg(long, alias = "experimental-compaction-sleep-interval", env = "ETCD_COMPACTION_SLEEP_INTERVAL")]
    #[arg(value_name = "TIME", default_value = "10ms", value_parser = parse_span, help_heading = "Member")]
    compaction_sleep_interval: Span,

    /// Operations in one transaction
    #[arg(long, env = "ETCD_MAX_TXN_OPS", value_name = "N", default_value = "128", help_heading = "Member")]
    max_txn_ops: usize,

    /// Size of one request, in bytes
    #[arg(long, env = "ETCD_MAX_REQUEST_BYTES", value_name = "BYTES", default_value = "1572864")]
    #[arg(help_heading = "Member")]
    max_request_bytes: usize,

    /// Calls that one connection may have under way, 0 for all
    #[arg(long, env = "ETCD_MAX_CONCURRENT_STREAMS", value_name = "N", default_value = "4294967295")]
    #[arg(help_heading = "Member")]
    max_concurrent_streams: u32,

    /// Ask before campaigning
    #[arg(long, env = "ETCD_PRE_VOTE", default_value = "true", value_parser = parse_switch, help_heading = "Member")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pre_vote: bool,

    /// Time between progress notifications of watches
    #[arg(long, alias = "experimental-watch-progress-notify-interval", value_name = "TIME", default_value = "10m")]
    #[arg(env = "ETCD_EXPERIMENTAL_WATCH_PROGRESS_NOTIFY_INTERVAL", value_parser = parse_span)]
    #[arg(help_heading = "Member")]
    watch_progress_notify_interval: Span,

    /// What is compacted without being asked for: what is older than a time (`periodic`), or all but the newest
    /// revisions (`revision`)
    #[arg(long, env = "ETCD_AUTO_COMPACTION_MODE", value_name = "MODE", default_value = "periodic")]
    #[arg(value_parser = ["periodic", "revision"], help_heading = "Member")]
    auto_compaction_mode: String,

    /// How much history is kept then: a time like 30m, hours, or a number of revisions; 0 is all
    #[arg(
        long,
        env = "ETCD_AUTO_COMPACTION_RETENTION",
        value_name = "N",
        default_value = "0",
        help_heading = "Member"
    )]
    auto_compaction_retention: String,

    /// Time between the leader's looks whether all members have the same data, like 4h; 0s is never
    #[arg(long, alias = "experimental-corrupt-check-time", env = "ETCD_CORRUPT_CHECK_TIME", value_name = "TIME")]
    #[arg(default_value = "0s", value_parser = parse_span, help_heading = "Member")]
    corrupt_check_time: Span,

    /// Time between the leader's comparisons of what compactions have come to
    #[arg(long, alias = "experimental-compact-hash-check-time", env = "ETCD_COMPACT_HASH_CHECK_TIME")]
    #[arg(value_name = "TIME", default_value = "1m", value_parser = parse_span, help_heading = "Member")]
    compact_hash_check_time: Span,

    /// What is on beside the usual: InitialCorruptCheck=true, CompactHashCheck=true, LeaseCheckpoint=true
    #[arg(long, env = "ETCD_FEATURE_GATES", value_name = "GATES", value_parser = parse_gates, default_value = "")]
    #[arg(help_heading = "Member")]
    feature_gates: Gates,

    /// 3.5's name of the gate InitialCorruptCheck
    #[arg(long, hide = true, env = "ETCD_EXPERIMENTAL_INITIAL_CORRUPT_CHECK", default_value = "false")]
    #[arg(value_parser = parse_switch)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    experimental_initial_corrupt_check: bool,

    /// 3.5's name of the gate CompactHashCheck
    #[arg(long, hide = true, env = "ETCD_EXPERIMENTAL_COMPACT_HASH_CHECK_ENABLED", default_value = "false")]
    #[arg(value_parser = parse_switch)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    experimental_compact_hash_check_enabled: bool,

    /// Time between looks whether a downgrade is complete
    #[arg(long, alias = "experimental-downgrade-check-time", env = "ETCD_DOWNGRADE_CHECK_TIME", value_name = "TIME")]
    #[arg(default_value = "5s", value_parser = parse_span, help_heading = "Member")]
    downgrade_check_time: Span,

    /// What is said to be written is not synced: it is lost when the machine ends
    #[arg(long, env = "ETCD_UNSAFE_NO_FSYNC", default_value = "false", value_parser = parse_switch)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    #[arg(help_heading = "Member")]
    unsafe_no_fsync: bool,

    /// 3.5's name of the gate LeaseCheckpoint
    #[arg(long, hide = true, env = "ETCD_EXPERIMENTAL_ENABLE_LEASE_CHECKPOINT", default_value = "false")]
    #[arg(value_parser = parse_switch)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    experimental_enable_lease_checkpoint: bool,

    /// Whose ways it follows: 3.4, 3.5, 3.6 or main
    #[arg(long, value_name = "RELEASE", value_parser = parse_release, default_value = "3.6", help_heading = "Member")]
    release: Release,

    /// Where the other members reach it
    #[arg(long, env = "ETCD_INITIAL_ADVERTISE_PEER_URLS", value_name = "URLS")]
    #[arg(default_value = "http://localhost:2380", value_delimiter = ',', value_parser = Url::parse)]
    #[arg(help_heading = "Cluster")]
    initial_advertise_peer_urls: Vec<Url>,

    /// Where clients reach it [default: where they are listened to]
    #[arg(long, env = "ETCD_ADVERTISE_CLIENT_URLS", value_name = "URLS", value_delimiter = ',')]
    #[arg(value_parser = Url::parse, help_heading = "Cluster")]
    advertise_client_urls: Vec<Url>,

    /// The members that found the cluster, NAME=URL,NAME=URL [default: this one]
    #[arg(long, env = "ETCD_INITIAL_CLUSTER", value_name = "MEMBERS", help_heading = "Cluster")]
    initial_cluster: Option<String>,

    /// `new`, or `existing` for a member that was added to a cluster
    #[arg(long, env = "ETCD_INITIAL_CLUSTER_STATE", value_name = "STATE", default_value = "new")]
    #[arg(value_parser = ["new", "existing"], help_heading = "Cluster")]
    initial_cluster_state: String,

    /// What tells this cluster apart from others
    #[arg(long, env = "ETCD_INITIAL_CLUSTER_TOKEN", value_name = "TOKEN", default_value = "etcd-cluster")]
    #[arg(help_heading = "Cluster")]
    initial_cluster_token: String,

    /// Refuse changes of the membership that could cost the quorum
    #[arg(long, env = "ETCD_STRICT_RECONFIG_CHECK", default_value = "true", value_parser = parse_switch)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    #[arg(help_heading = "Cluster")]
    strict_reconfig_check: bool,

    /// Learners that the cluster may have at once
    #[arg(long, env = "ETCD_MAX_LEARNERS", value_name = "N", default_value = "1", help_heading = "Cluster")]
    max_learners: usize,

    /// Start as the only member of a new cluster, with the data that is there
    #[arg(long, env = "ETCD_FORCE_NEW_CLUSTER", default_value = "false", value_parser = parse_switch)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    #[arg(help_heading = "Cluster")]
    force_new_cluster: bool,

    /// The certificate for clients, and its key
    #[arg(long, env = "ETCD_CERT_FILE", value_name = "FILE", help_heading = "Security")]
    cert_file: Option<PathBuf>,
    /// The key of it
    #[arg(long, env = "ETCD_KEY_FILE", value_name = "FILE", help_heading = "Security")]
    key_file: Option<PathBuf>,
    /// Who may sign the certificates of clients
    #[arg(long, env = "ETCD_TRUSTED_CA_FILE", value_name = "FILE", help_heading = "Security")]
    trusted_ca_file: Option<PathBuf>,
    /// Clients must have a certificate
    #[arg(long, env = "ETCD_CLIENT_CERT_AUTH", default_value = "false", value_parser = parse_switch)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    #[arg(help_heading = "Security")]
    client_cert_auth: bool,
    /// The certificate for other members
    #[arg(long, env = "ETCD_PEER_CERT_FILE", value_name = "FILE", help_heading = "Security")]
    peer_cert_file: Option<PathBuf>,
    /// The key of it
    #[arg(long, env = "ETCD_PEER_KEY_FILE", value_name = "FILE", help_heading = "Security")]
    peer_key_file: Option<PathBuf>,
    /// Who may sign the certificates of other members
    #[arg(long, env = "ETCD_PEER_TRUSTED_CA_FILE", value_name = "FILE", help_heading = "Security")]
    peer_trusted_ca_file: Option<PathBuf>,
    /// Other members must have a certificate
    #[arg(long, env = "ETCD_PEER_CLIENT_CERT_AUTH", default_value = "false", value_parser = parse_switch)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    #[arg(help_heading = "Security")]
    peer_client_cert_auth: bool,

    /// What an authenticated client is given: `simple`, or `jwt,sign-method=HS256,priv-key=FILE[,ttl=SECONDSs]`
    #[arg(long, env = "ETCD_AUTH_TOKEN", value_name = "KIND", default_value = "simple", help_heading = "Security")]
    auth_token: String,

    /// Seconds that a simple token lives after its last use
    #[arg(long, env = "ETCD_AUTH_TOKEN_TTL", value_name = "S", default_value = "300", help_heading = "Security")]
    auth_token_ttl: u64,

    /// Work for one password, 4 to 31
    #[arg(long, env = "ETCD_BCRYPT_COST", value_name = "N", default_value = "10", help_heading = "Security")]
    bcrypt_cost: u32,
}

/// Feature gates that it knows.
#[derive(Clone, Copy, Debug, Default)]
struct Gates {
    initial_corrupt_check: bool,
    compact_hash_check: bool,
    lease_checkpoint: bool,
}

fn parse_gates(text: &str) -> Result<Gates, String> {
    let mut gates = Gates::default();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').ok_or_else(|| format!("{part}: a gate is NAME=true or NAME=false"))?;
        let value = value.parse().map_err(|_| format!("{part}: a gate is true or false"))?;
        match name {
            "InitialCorruptCheck" => gates.initial_corrupt_check = value,
            "CompactHashCheck" => gates.compact_hash_check = value,
            "LeaseCheckpoint" => gates.lease_checkpoint = value,
            _ => {
                let known = "InitialCorruptCheck, CompactHashCheck and LeaseCheckpoint";
                return Err(format!("{name}: the gates here are {known}"));
            }
        }
    }
    Ok(gates)
}

/// `parseCompactionRetention`: a number is hours or revisions, anything else a time.
fn parse_retention(mode: &str, text: &str) -> Result<AutoCompaction, String> {
    let too_long = || format!("{text}: that is too long");
    let kept = match (mode, text.parse::<i64>()) {
        (_, Ok(0)) => AutoCompaction::Off,
        (_, Ok(number)) if number < 0 => return Err(format!("{text}: must be 0 or more")),
        ("revision", Ok(revisions)) => AutoCompaction::Revisions(revisions),
        (_, Ok(hours)) => {
            let nanos = u64::try_from(hours).ok().and_then(|hours| hours.checked_mul(3_600_000_000_000));
            AutoCompaction::Periodic(Span(nanos.ok_or_else(too_long)?))
        }
        ("revision", Err(_)) => return Err(format!("{text}: revisions are a number")),
        (_, Err(_)) => match parse_span(text)? {
            Span::ZERO => AutoCompaction::Off,
            Span(0..10) => return Err(format!("{text}: must be 10ns or more")),
            span => AutoCompaction::Periodic(span),
        },
    };
    Ok(kept)
}

fn parse_release(text: &str) -> Result<Release, String> {
    Release::parse(text).ok_or_else(|| "a release is 3.4, 3.5, 3.6 or main".to_owned())
}

impl ServeArgs {
    /// What is printed when it was asked which this is, in etcd's words: there is no Go to have a version.
    pub(crate) fn version(&self) -> Option<String> {
        use crate::identity::{commit, VERSION};
        let (etcd, commit) = (self.release.version(), commit().unwrap_or("not known"));
        let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
        self.version.then(|| {
            format!("etcd Version: {etcd}\ndetcd Version: {VERSION}\nGit SHA: {commit}\nOS/Arch: {system}/{machine}")
        })
    }

    /// What they mean.
    ///
    /// # Errors
    /// Flags that cannot be together: exit 2.
    pub(crate) fn options(&self) -> Result<Options, Failure> {
        let flag = |name: &'static str| move |reason: String| Failure::usage(format!("--{name}: {reason}"));
        if self.heartbeat_interval == 0 {
            return Err(flag("heartbeat-interval")("must be more than 0".into()));
        }
        // As etcd: a follower must miss some heartbeats before it may campaign.
        if self.election_timeout < 5 * self.heartbeat_interval || self.election_timeout > 50_000 {
            let least = 5 * self.heartbeat_interval;
            return Err(flag("election-timeout")(format!("must be {least} (5 heartbeat intervals) to 50000")));
        }
        let ticks = self.election_timeout / self.heartbeat_interval;
        let own = || Founder {
            name: self.name.clone(),
            peer_urls: self.initial_advertise_peer_urls.iter().map(ToString::to_string).collect(),
        };
        let founders = match &self.initial_cluster {
            Some(text) => Founder::parse_all(text).map_err(flag("initial-cluster"))?,
            None => vec![own()],
        };
        let tls = |cert: &Option<PathBuf>, key: &Option<PathBuf>, ca: &Option<PathBuf>, client_cert_auth| TlsFiles {
            cert: cert.clone(),
            key: key.clone(),
            trusted_ca: ca.clone(),
            client_cert_auth,
        };
        Ok(Options {
            name: self.name.clone(),
            data_dir: self.data_dir.clone().unwrap_or_else(|| format!("{}.etcd", self.name).into()),
            listen_client: self.listen_client_urls.clone(),
            advertise_client: match self.advertise_client_urls.is_empty() {
                true => self.listen_client_urls.clone(),
                false => self.advertise_client_urls.clone(),
            },
            listen_metrics: self.listen_metrics_urls.clone(),
            listen_peer: self.listen_peer_urls.clone(),
            advertise_peer: self.initial_advertise_peer_urls.clone(),
            founders,
            existing: self.initial_cluster_state == "existing",
            token: self.initial_cluster_token.clone(),
            force_new_cluster: self.force_new_cluster,
            release: self.release,
            heartbeat_interval: Span::millis(self.heartbeat_interval),
            election_ticks: u32::try_from(ticks).expect("at most 50000"),
            snapshot_count: self.snapshot_count,
            snapshot_catch_up_entries: self.snapshot_catchup_entries,
            quota_backend_bytes: if self.quota_backend_bytes == 0 { 2 << 30 } else { self.quota_backend_bytes },
            max_snapshots: self.max_snapshots,
            max_wals: self.max_wals,
            backend_batch_interval: Some(self.backend_batch_interval).filter(|time| *time != Span::ZERO),
            backend_batch_limit: Some(self.backend_batch_limit).filter(|limit| *limit != 0),
            compaction_batch_limit: self.compaction_batch_limit,
            compaction_sleep_interval: self.compaction_sleep_interval,
            downgrade_check_interval: self.downgrade_check_time,
            syncs: !self.unsafe_no_fsync,
            max_learners: self.max_learners,
            max_txn_ops: self.max_txn_ops,
            max_request_bytes: self.max_request_bytes,
            // As grpc-go has it.
            max_concurrent_streams: if self.max_concurrent_streams == 0 {
                u32::MAX
            } else {
                self.max_concurrent_streams
            },
            strict_reconfig_check: self.strict_reconfig_check,
            pre_vote: self.pre_vote,
            watch_progress_interval: self.watch_progress_notify_interval,
            auto_compaction: parse_retention(&self.auto_compaction_mode, &self.auto_compaction_retention)
                .map_err(flag("auto-compaction-retention"))?,
            initial_corrupt_check: self.feature_gates.initial_corrupt_check || self.experimental_initial_corrupt_check,
            corrupt_check_time: self.corrupt_check_time,
            compact_hash_check: self.feature_gates.compact_hash_check || self.experimental_compact_hash_check_enabled,
            compact_hash_check_time: self.compact_hash_check_time,
            lease_checkpoint: self.feature_gates.lease_checkpoint || self.experimental_enable_lease_checkpoint,
            auth_token: parse_token(&self.auth_token).map_err(flag("auth-token"))?,
            auth_token_ttl: Span::secs(self.auth_token_ttl),
            bcrypt_cost: self.bcrypt_cost,
            client_tls: tls(&self.cert_file, &self.key_file, &self.trusted_ca_file, self.client_cert_auth),
            peer_tls: tls(
                &self.peer_cert_file,
                &self.peer_key_file,
                &self.peer_trusted_ca_file,
                self.peer_client_cert_auth,
            ),
        })
    }
}

fn parse_token(text: &str) -> Result<TokenKind, String> {
    let mut parts = text.split(',');
    match parts.next() {
        Some("simple") => Ok(TokenKind::Simple),
        Some("jwt") => {
            let (mut key, mut ttl) = (None, 300);
            for part in parts {
                match part.split_once('=') {
                    Some(("sign-method", "HS256")) => {}
                    Some(("sign-method", other)) => return Err(format!("{other} is not known here, only HS256")),
                    Some(("priv-key" | "pub-key", file)) => {
                        key = Some(std::fs::read(file).map_err(|error| format!("{file}: {error}"))?);
                    }
                    Some(("ttl", time)) => {
                        let seconds = time.strip_suffix('s').and_then(|seconds| seconds.parse().ok());
                        ttl = seconds.ok_or_else(|| format!("ttl={time}: a time is a number of seconds, like 300s"))?;
                    }
                    _ => return Err(format!("{part} is no option of jwt")),
                }
            }
            let key = key.ok_or("jwt needs priv-key=FILE")?;
            Ok(TokenKind::Jwt { key, ttl: Span::secs(ttl) })
        }
        _ => Err(format!("{text}: a token is simple or jwt")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Typed {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn options(flags: &[&str]) -> Result<Options, String> {
        let typed = Typed::try_parse_from([&["serve"], flags].concat()).map_err(|error| error.to_string())?;
        typed.serve.options().map_err(|failure| failure.message)
    }

    #[test]
    fn flags_are_typed_as_etcds() {
        let usual = options(&[]).expect("no flags");
        assert!(usual.pre_vote && usual.strict_reconfig_check);
        assert!(!usual.force_new_cluster && !usual.client_tls.client_cert_auth && !usual.peer_tls.client_cert_auth);
        assert_eq!(usual.watch_progress_interval, Span::secs(600));
        // As kubeadm has them.
        let flags = ["--client-cert-auth=true", "--peer-client-cert-auth", "--pre-vote=f", "--strict-reconfig-check=0"];
        let typed = options(&flags).expect("switches");
        assert!(typed.client_tls.client_cert_auth && typed.peer_tls.client_cert_auth);
        assert!(!typed.pre_vote && !typed.strict_reconfig_check);
        let typed = options(&["--experimental-watch-progress-notify-interval=5s"]).expect("a time");
        assert_eq!(typed.watch_progress_interval, Span::secs(5));
        let typed = options(&["--listen-client-urls", "http://127.0.0.1:1, http://127.0.0.1:2"]).expect("two URLs");
        assert_eq!(typed.listen_client.len(), 2);
        let typed = options(&["--quota-backend-bytes=-5", "--backend-batch-limit=7", "--max-wals=0"]).expect("numbers");
        assert_eq!((typed.quota_backend_bytes, typed.backend_batch_limit, typed.max_wals), (-5, Some(7), 0));
        assert!(typed.backend_batch_interval.is_none() && typed.max_snapshots == 5 && typed.syncs);
        assert_eq!((usual.quota_backend_bytes, usual.max_concurrent_streams), (2 << 30, u32::MAX));
        assert_eq!(options(&["--max-concurrent-streams=0"]).expect("a number").max_concurrent_streams, u32::MAX);
        assert!(options(&["--force-new-cluster=perhaps"]).is_err_and(|error| error.contains("true or false")));
        assert!(options(&["--pre-vote", "false"]).is_err(), "as in Go, a switch ends where its name does");
    }

    #[test]
    fn retention_is_hours_revisions_or_a_time() {
        use AutoCompaction::{Off, Periodic, Revisions};
        for (mode, text, kept) in [
            ("periodic", "0", Off),
            ("revision", "0", Off),
            ("periodic", "2", Periodic(Span::secs(7200))),
            ("periodic", "30m", Periodic(Span::secs(1800))),
            ("periodic", "0s", Off),
            ("revision", "1000", Revisions(1000)),
        ] {
            assert_eq!(parse_retention(mode, text), Ok(kept), "{mode} {text}");
        }
        for (mode, text) in [("periodic", "-1"), ("periodic", "x"), ("revision", "5m"), ("periodic", "9ns")] {
            assert!(parse_retention(mode, text).is_err(), "{mode} {text}");
        }
    }

    #[test]
    fn gates_are_named() {
        let gates = parse_gates("InitialCorruptCheck=true,CompactHashCheck=false,LeaseCheckpoint=true").expect("gates");
        assert!(gates.initial_corrupt_check && !gates.compact_hash_check && gates.lease_checkpoint);
        for wrong in ["InitialCorruptCheck", "InitialCorruptCheck=yes", "TxnModeWriteWithSharedBuffer=true"] {
            assert!(parse_gates(wrong).is_err(), "{wrong}");
        }
    }
}
