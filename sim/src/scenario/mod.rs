//! A scenario: every parameter of a run but its seed.
//!
//! It is plain data that serde reads and writes; unknown fields are refused, missing ones have their documented
//! default. The text form (TOML) and the files are the tool's business; the scenarios in the repository's
//! `scenarios/` are in its binary. Nothing here knows how a parameter is obeyed.

pub mod chance;
mod field;
mod replica;
pub mod span;
mod swarm;

use std::collections::{BTreeMap, BTreeSet};

use detcd_replica::{Bug, Bugs, Config, MemberId, TokenKind};
use serde::{Deserialize, Serialize};

use crate::fault::{EpisodeSpec, Kind, Target};
use field::{section, Amount};
use span::Time;

pub use chance::Chance;
pub use field::{Field, ScenarioError};
pub use replica::{Constants, Line};

/// Network profiles that a scenario may name; the first is the default.
pub const NETWORK_PROFILES: [&str; 6] = ["same_az", "loopback", "rack", "cross_az", "region", "global"];
/// Disk profiles that a scenario may name; the first is the default.
pub const DISK_PROFILES: [&str; 17] = [
    "nvme",
    "sata",
    "ebs-gp3",
    "efs",
    "hdd",
    "nvme-consumer",
    "sata-enterprise",
    "ibm-vm-ssd",
    "crucial-m4",
    "ebs-gp3-idle",
    "ebs-gp2",
    "io2",
    "azure-premium",
    "vm-san",
    "hdd-etcd",
    "kubeadm-slow",
    "overloaded",
];

/// What members sign JSON web tokens with. Nobody in the world is out to forge one.
const JWT_KEY: &[u8] = b"the members' own";

const MILLION: u64 = 1_000_000;
const HOUR: u64 = 3_600_000_000_000;

/// What the clients do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mix {
    /// Reads and puts, with transactions of several operations.
    #[default]
    EtcdPut,
    /// The same with deletes and compare-and-set.
    EtcdMix,
    /// Puts and deletes, one as often as the other.
    EtcdDelete,
    /// What kube-apiserver does: guarded creates, updates and deletes, lists in pages.
    Kubernetes,
    /// What a Kubernetes cluster of so many nodes writes: heartbeats, statuses, pods that come and go, events.
    KubernetesNodes,
    /// Leases that are granted, kept alive or not, and revoked, with keys on them.
    LeaseTtl,
    /// Values that fill a small quota, and an administrator who makes room.
    Quota,
    /// A lock of etcd's, and writes that it guards.
    Lock,
    /// Users who may do some things, and an administrator who changes what.
    Auth,
    /// Writes for watchers of some keys, which start in the past, in the future, or in what is compacted.
    WatchWindow,
    /// Elections of etcd's, and what leaders proclaim.
    Election,
    /// Transactions that append to lists and read them.
    Append,
    /// Transactions in transactions, with compares and operations of every kind.
    TxnNested,
}

impl Mix {
    /// Every workload there is.
    pub const ALL: [Self; 13] = [
        Self::EtcdPut,
        Self::EtcdMix,
        Self::EtcdDelete,
        Self::Kubernetes,
        Self::KubernetesNodes,
        Self::LeaseTtl,
        Self::Quota,
        Self::Lock,
        Self::Auth,
        Self::WatchWindow,
        Self::Election,
        Self::Append,
        Self::TxnNested,
    ];

    /// Its name in a scenario.
    pub fn name(self) -> &'static str {
        match self {
            Self::EtcdPut => "etcd-put",
            Self::EtcdMix => "etcd-mix",
            Self::EtcdDelete => "etcd-delete",
            Self::Kubernetes => "kubernetes",
            Self::KubernetesNodes => "kubernetes-nodes",
            Self::LeaseTtl => "lease-ttl",
            Self::Quota => "quota",
            Self::Lock => "lock",
            Self::Auth => "auth",
            Self::WatchWindow => "watch-window",
            Self::Election => "election",
            Self::Append => "append",
            Self::TxnNested => "txn-nested",
        }
    }
}

/// How much drawn faults may take away at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Budget {
    /// At most a minority is down at a time, unless power fails for a majority at once and comes back.
    #[default]
    Recoverable,
    /// Anything at any time. Everything is still repaired before the liveness act.
    Unbounded,
}

/// What a crash leaves of what was written and not synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retention {
    /// Power loss: an arbitrary subset of sectors and names, and torn writes.
    #[default]
    Arbitrary,
    /// Power loss at its worst: none of it.
    Nothing,
    /// Only the process died: all of it.
    Everything,
    /// Each crash draws one of the three.
    Mixed,
}

impl Amount for Mix {}
impl Amount for Budget {}
impl Amount for Retention {}

section! {
    /// `[cluster]`: who takes part.
    Cluster {
        /// Voting members, n1, n2 …, which bootstrap the cluster together.
        members: u64 = 3, 1, 7, "members";
        /// Learners that join after it started. etcd allows one at a time.
        learners: u64 = 0, 0, 1, "members";
        /// The first member founds the cluster alone, and comes back from its crashes with etcd's
        /// --force-new-cluster, by which it gives up what it does not know to be committed. When it has come back
        /// once, the operator adds the other members; then nobody is forced any more.
        forced: bool = false, 0, 0, "true or false";
    }
}

section! {
    /// `[clients]`: who asks, and how patiently.
    Clients {
        /// Clients that run the workload, each with one operation at a time.
        count: u64 = 8, 1, 10_000, "clients";
        /// So many of them stay with one member each, in turn; the others use all members, and fail over.
        pinned: u64 = 6, 0, 10_000, "clients";
        /// Operations in all; the safety act ends when they are done.
        operations: u64 = 500, 0, 1_000_000_000, "operations";
        /// How long a client waits for an answer, retries included. etcd's robustness tests: 200ms.
        request_timeout: Time = Time::millis(1_000), 1_000_000, HOUR, "time";
        /// Mean pause before the next operation; 0 is none.
        think_time: Time = Time::millis(5), 0, HOUR, "time";
    }
}

section! {
    /// `[workload]`: what they ask for.
    Workload {
        /// The mix of requests.
        name: Mix = Mix::EtcdPut, 0, 0,
            "etcd-put, etcd-mix, etcd-delete, kubernetes, kubernetes-nodes, lease-ttl, quota, lock, auth, \
             watch-window, election, append, txn-nested";
        /// Keys in use at a time; nodes, locks, elections or lists, for the workloads kubernetes-nodes, lock,
        /// election and append.
        keys: u64 = 10, 1, 100_000, "keys";
        /// Size of each value; a smaller number still leaves room for its unique name.
        value_bytes: u64 = 0, 0, 1 << 20, "bytes";
        /// Values are filled up to their size with zero bytes instead of dots, as images and sparse files are.
        zeros: bool = false, 0, 0, "true or false";
        /// Historical reads go back by less than so many revisions.
        history_revisions: u64 = 20, 1, 1_000_000, "revisions";
        /// Objects in one page of a list (kubernetes, kubernetes-nodes).
        page: u64 = 10, 1, 100_000, "keys";
        /// Leases are granted for between one and so many seconds (lease-ttl); sessions live so long (lock,
        /// election).
        ttl_seconds: u64 = 4, 1, 3_600, "seconds";
        /// Mean time between the steps of the administrator: who makes room when there is an alarm (quota),
        /// or changes users and roles (auth).
        administrator_period: Time = Time::millis(100), 1_000_000, HOUR, "time";
        /// A write under a lock, or of a leader, compares the creation of the key that gives the right to it (lock,
        /// election), and who appends to a list compares its last change (append); if not, it may come when the right
        /// is lost, and another's append may be.
        fenced: bool = true, 0, 0, "true or false";
        /// Mean time between compactions by a client of its own; 0 is none. etcd's robustness tests: 200ms.
        compaction_period: Time = Time::millis(0), 0, HOUR, "time";
        /// Mean time between defragmentations that a client of its own asks for; 0 is none.
        defragment_period: Time = Time::millis(0), 0, HOUR, "time";
    }
}

section! {
    /// `[watch]`: clients that watch every key of the workload, and resume.
    Watches {
        /// Watching clients, each with one stream.
        count: u64 = 2, 0, 10_000, "clients";
        /// So many of them stay with one member each; the others fail over.
        pinned: u64 = 1, 0, 10_000, "clients";
        /// Watches on each stream.
        per_stream: u64 = 1, 1, 1_000, "watches";
        /// Responses that may be on their way to a client.
        window: u64 = 16, 1, 100_000, "responses";
        /// Mean time that a client takes before it grants more; 0 is none.
        consume_delay: Time = Time::millis(0), 0, HOUR, "time";
        /// Mean time between requests for progress; 0 is none. etcd's robustness tests: 100ms.
        progress_period: Time = Time::millis(100), 0, HOUR, "time";
        /// Mean time after which a client starts afresh at another revision; 0 is never.
        restart_period: Time = Time::millis(0), 0, HOUR, "time";
        /// A fresh start is so many revisions off the last seen, at most, either way.
        restart_revisions: u64 = 100, 0, 1_000_000, "revisions";
        /// Ask for what was there before each change.
        prev_kv: bool = true, 0, 0, "true or false";
        /// Ask for progress notifications on the watch itself.
        progress_notify: bool = true, 0, 0, "true or false";
    }
}

/// What a client that has said its password is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Token {
    /// A random name, which the members that have heard of it keep in memory.
    #[default]
    Simple,
    /// A JSON web token, which any member can check and none keeps.
    Jwt,
}

impl Amount for Token {}

section! {
    /// `[auth]`: passwords and tokens of the members.
    Auth {
        /// Work for one password: each step doubles it. etcd: 10.
        bcrypt_cost: u64 = 4, 4, 31, "steps";
        /// What a client that has said its password is given.
        token: Token = Token::Simple, 0, 0, "simple or jwt";
        /// How long a simple token lives after its last use, and a JSON web token after it was made. etcd: 300s.
        token_ttl: Time = Time::secs(300), 1_000_000_000, HOUR, "time";
    }
}

section! {
    /// `[network]`: between members, and between clients and members.
    Network {
        /// Latency profile.
        profile: String = NETWORK_PROFILES[0].to_owned(), 0, 0, "same_az, loopback, rack, cross_az, region or global";
        /// Messages lost, at all times.
        loss: u64 = 0, 0, MILLION, "per million";
        /// Messages that arrive twice, at all times.
        duplicate: u64 = 0, 0, MILLION, "per million";
        /// Messages that may be overtaken, at all times.
        reorder: u64 = 0, 0, MILLION, "per million";
    }
}

section! {
    /// `[disk]`: under each member.
    Disk {
        /// Latency profile.
        profile: String = DISK_PROFILES[0].to_owned(), 0, 0, "nvme, sata, ebs-gp3, efs, hdd …";
    }
}

section! {
    /// `[clock]`: of each member.
    Clock {
        /// Drift of a member's clock, drawn once a member within this range either way.
        drift: u64 = 0, 0, 500_000, "per million";
    }
}

section! {
    /// `[faults]`: what goes wrong, and when. All is repaired before the liveness act.
    Faults {
        /// Drawn episodes at most; each is there in `presence` of a million cases.
        count: u64 = 0, 0, 10_000, "episodes";
        /// How likely each drawn episode is.
        presence: u64 = 750_000, 0, MILLION, "per million";
        /// No drawn episode starts before this, counted from the start of the safety act.
        settle: Time = Time::millis(300), 0, HOUR, "time";
        /// Drawn episodes start within so long after `settle`.
        within: Time = Time::secs(5), 1_000_000, HOUR, "time";
        /// Mean length of a drawn episode.
        duration: Time = Time::millis(1_000), 1_000_000, HOUR, "time";
        /// How much drawn faults may take away at once.
        budget: Budget = Budget::Recoverable, 0, 0, "recoverable or unbounded";
        /// What a crash leaves of what was not synced.
        retention: Retention = Retention::Arbitrary, 0, 0, "arbitrary, nothing, everything or mixed";
        /// Kinds to draw from, each with its weight: `weights = { crash = 3, pause = 1 }`.
        weights: BTreeMap<Kind, u64> = BTreeMap::new(), 0, 0, "weight per kind";
        /// Gofail points that failpoint-crash draws from; none is all of them.
        failpoints: Vec<String> = Vec::new(), 0, 0, "etcd's names";
        /// Episodes that happen in any case, beside the drawn ones and outside of the budget.
        episodes: Vec<EpisodeSpec> = Vec::new(), 0, 0, "episodes";
    }
}

section! {
    /// `[restore]`: a new cluster from what was saved of this one. The scenario must compact nothing.
    Restore {
        /// A member's database is saved then, and when the run is over a new cluster is restored from it, and goes
        /// through the scenario once more; 0 is never.
        at: Time = Time::millis(0), 0, HOUR, "time";
    }
}

section! {
    /// `[membership]`: members that come and go.
    Membership {
        /// Mean time between changes (add a learner, promote it, remove it) or transfers of leadership; 0 is none.
        churn_period: Time = Time::millis(0), 0, HOUR, "time";
        /// Those that come are voters that never start, added by mistake and taken back.
        ghosts: bool = false, 0, 0, "true or false";
    }
}

section! {
    /// `[acts]`: how long a run may last, in simulated time.
    Acts {
        /// The safety act ends here, though operations are left.
        safety_limit: Time = Time::secs(60), 1_000_000, 1_000 * HOUR, "time";
        /// The liveness act must reach its goal within this; 0 is a bound derived from the constants and profiles.
        liveness_bound: Time = Time::millis(0), 0, HOUR, "time";
    }
}

section! {
    /// `[checks]`: what the judge is shown beyond every step and every disk that a member boots from.
    Checks {
        /// Each database after each commit, too.
        every_commit: bool = false, 0, 0, "true or false";
        /// When the run ends and a value was damaged, a CORRUPT alarm stands that names this member, as `n3`, or
        /// `any`.
        corrupt_alarm: String = String::new(), 0, 0, "member";
    }
}

/// Every parameter of a run but its seed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it shows, in a sentence.
    pub description: String,
    /// Draw everything that the file does not state from the seed.
    pub swarm: bool,
    /// Bugs switched on, by name or number.
    pub bugs: Vec<String>,
    /// Bugs that it is made to find, by number: what `detcd bugs` looks for with it.
    pub finds: Vec<String>,
    /// Who takes part.
    pub cluster: Cluster,
    /// Who asks.
    pub clients: Clients,
    /// What they ask for.
    pub workload: Workload,
    /// Who watches.
    pub watch: Watches,
    /// Passwords and tokens.
    pub auth: Auth,
    /// Constants of every member.
    pub replica: Constants,
    /// The network.
    pub network: Network,
    /// The disks.
    pub disk: Disk,
    /// The clocks.
    pub clock: Clock,
    /// What goes wrong.
    pub faults: Faults,
    /// Members that come and go.
    pub membership: Membership,
    /// What becomes of a snapshot.
    pub restore: Restore,
    /// How long.
    pub acts: Acts,
    /// What the judge is shown.
    pub checks: Checks,
    /// Paths that the file or the command line states; [`Scenario::drawn`] leaves them alone. The reader fills it in.
    #[serde(skip)]
    pub stated: BTreeSet<String>,
}

impl Scenario {
    /// The sections with their fields, in the order of the file; the first has no name.
    pub fn sections() -> [(&'static str, &'static [Field]); 15] {
        const TOP: &[Field] = &[
            Field { name: "name", low: 0, high: 0, unit: "text", about: " Its name.\n" },
            Field { name: "description", low: 0, high: 0, unit: "text", about: " What it shows, in a sentence.\n" },
            Field {
                name: "swarm",
                low: 0,
                high: 0,
                unit: "true or false",
                about: " Draw everything that the file does not state from the seed.\n",
            },
            Field {
                name: "bugs",
                low: 0,
                high: 0,
                unit: "list of text",
                about: " Bugs switched on, by name or number.\n",
            },
            Field {
                name: "finds",
                low: 0,
                high: 0,
                unit: "list of text",
                about: " Bugs that it is made to find, by number: what `detcd bugs` looks for with it.\n",
            },
        ];
        [
            ("", TOP),
            ("cluster", Cluster::FIELDS),
            ("clients", Clients::FIELDS),
            ("workload", Workload::FIELDS),
            ("watch", Watches::FIELDS),
            ("auth", Auth::FIELDS),
            ("replica", Constants::FIELDS),
            ("network", Network::FIELDS),
            ("disk", Disk::FIELDS),
            ("clock", Clock::FIELDS),
            ("faults", Faults::FIELDS),
            ("membership", Membership::FIELDS),
            ("restore", Restore::FIELDS),
            ("acts", Acts::FIELDS),
            ("checks", Checks::FIELDS),
        ]
    }

    /// Every field by its dotted path, for suggestions and `--set`.
    pub fn paths() -> Vec<String> {
        let sections = Self::sections();
        let each = sections.iter().flat_map(|(section, fields)| fields.iter().map(|f| field::dotted(section, f.name)));
        each.collect()
    }

    /// Whether the fields can be together.
    ///
    /// # Errors
    /// The first field that cannot.
    pub fn validate(&self) -> Result<(), ScenarioError> {
        self.cluster.check("cluster")?;
        self.clients.check("clients")?;
        self.workload.check("workload")?;
        self.watch.check("watch")?;
        self.auth.check("auth")?;
        self.replica.check("replica")?;
        self.network.check("network")?;
        self.disk.check("disk")?;
        self.clock.check("clock")?;
        self.faults.check("faults")?;
        self.membership.check("membership")?;
        self.restore.check("restore")?;
        self.acts.check("acts")?;
        self.checks.check("checks")?;
        if self.cluster.forced && self.cluster.learners > 0 {
            return Err(ScenarioError::new("cluster", "forced", "is not for a cluster with learners".to_owned()));
        }
        one_of("network", &self.network.profile, &NETWORK_PROFILES)?;
        one_of("disk", &self.disk.profile, &DISK_PROFILES)?;
        if let Some(bug) = self.finds.iter().find(|name| Bug::parse(name).is_none()) {
            return Err(ScenarioError::new("", "finds", format!("there is no bug `{bug}`")));
        }
        for bug in &self.bugs {
            if Bug::parse(bug).is_none() {
                return Err(ScenarioError::new("", "bugs", format!("there is no bug `{bug}`")));
            }
        }
        if self.faults.weights.values().any(|weight| *weight > MILLION) {
            return Err(ScenarioError::new("faults", "weights", "a weight is at most 1000000"));
        }
        for name in &self.faults.failpoints {
            if crate::fault::failpoint(name).is_none() {
                return Err(ScenarioError::new("faults", "failpoints", format!("there is no failpoint `{name}`")));
            }
        }
        for (place, episode) in self.faults.episodes.iter().enumerate() {
            let refuse = |reason| ScenarioError::new("faults", &format!("episodes[{place}]"), reason);
            episode.resolve(self.cluster.members).map_err(refuse)?;
        }
        let accused = &self.checks.corrupt_alarm;
        if !accused.is_empty() && !matches!(Target::parse(accused), Some(Target::Member(_) | Target::Any)) {
            return Err(ScenarioError::new(
                "checks",
                "corrupt_alarm",
                format!("`{accused}` is no member like n3, nor any"),
            ));
        }
        let member = MemberId(1);
        let refuse = |error: detcd_replica::ConfigError| ScenarioError::new("replica", error.field, error.reason);
        self.config(member).validate().map_err(refuse)
    }

    /// The voters of the cluster.
    pub fn voters(&self) -> Vec<MemberId> {
        (1..=self.cluster.members).map(MemberId).collect()
    }

    /// Those that bootstrap it.
    pub fn founders(&self) -> Vec<MemberId> {
        let mut founders = self.voters();
        if self.cluster.forced {
            founders.truncate(1);
        }
        founders
    }

    /// The configuration of a member: etcd's, with what the scenario sets.
    pub fn config(&self, member: MemberId) -> Config {
        let mut config = Config::etcd(member, self.founders());
        self.replica.apply(&mut config);
        let ttl = self.auth.token_ttl.0;
        config.force_new_cluster = self.cluster.forced && self.founders().contains(&member);
        config.auth.bcrypt_cost = u32::try_from(self.auth.bcrypt_cost).unwrap_or(u32::MAX);
        config.auth.simple_token_ttl = ttl;
        config.auth.token = match self.auth.token {
            Token::Simple => TokenKind::Simple,
            Token::Jwt => TokenKind::Jwt { key: JWT_KEY.to_vec(), ttl },
        };
        config.bugs = self.bugs();
        config
    }

    /// The bugs that are switched on.
    pub fn bugs(&self) -> Bugs {
        self.bugs.iter().filter_map(|name| Bug::parse(name)).collect()
    }
}

fn one_of(section: &str, value: &str, known: &[&str]) -> Result<(), ScenarioError> {
    if known.contains(&value) {
        return Ok(());
    }
    Err(ScenarioError::new(
        section,
        "profile",
        format!("there is no profile `{value}`; known are {}", known.join(", ")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Kind;

    #[test]
    fn the_default_is_valid_and_is_etcd() {
        let scenario = Scenario::default();
        assert_eq!(scenario.validate(), Ok(()));
        let mut etcd = Config::etcd(MemberId(2), scenario.founders());
        // Passwords as hard as etcd's would cost more than the rest of a run.
        etcd.auth.bcrypt_cost = 4;
        assert_eq!(scenario.config(MemberId(2)), etcd);
    }

    #[test]
    fn a_value_out_of_range_is_refused_by_its_path() {
        type Change = fn(&mut Scenario);
        let cases: [(&str, Change); 12] = [
            ("cluster.members", |s| s.cluster.members = 0),
            ("cluster.members", |s| s.cluster.members = 8),
            ("cluster.forced", |s| (s.cluster.forced, s.cluster.learners) = (true, 1)),
            ("clients.count", |s| s.clients.count = 0),
            ("clients.request_timeout", |s| s.clients.request_timeout = Time::millis(0)),
            ("replica.election_ticks", |s| s.replica.election_ticks = Some(1)),
            ("replica.wal_segment_bytes", |s| s.replica.wal_segment_bytes = Some(512)),
            ("network.profile", |s| s.network.profile = "moon".into()),
            ("disk.profile", |s| s.disk.profile = "tape".into()),
            ("bugs", |s| s.bugs = vec!["M-00".into()]),
            ("faults.failpoints", |s| s.faults.failpoints = vec!["nowhere".into()]),
            ("faults.weights", |s| s.faults.weights = [(Kind::Crash, u64::MAX)].into()),
        ];
        for (path, change) in cases {
            let mut scenario = Scenario::default();
            change(&mut scenario);
            assert_eq!(scenario.validate().expect_err(path).path, path);
        }
    }

    #[test]
    fn constants_reach_the_configuration() {
        let mut scenario = Scenario::default();
        scenario.replica.heartbeat_interval = Some(Time::millis(30));
        scenario.replica.watch_channel = Some(2);
        scenario.bugs = vec!["M-01".into()];
        let config = scenario.config(MemberId(1));
        assert_eq!(config.heartbeat_interval, Time::millis(30).0);
        assert_eq!(config.watch_channel, 2);
        assert!(config.bugs.has(Bug::ApplyBeforeWalFsyncSingle));
    }

    #[test]
    fn every_field_says_what_it_means() {
        for (section, fields) in Scenario::sections() {
            for field in fields {
                assert!(!field.about.trim().is_empty() && !field.unit.is_empty(), "{section}.{}", field.name);
                assert!(field.low <= field.high);
            }
        }
        assert!(Scenario::paths().contains(&"clients.think_time".to_owned()));
        assert!(Scenario::paths().contains(&"name".to_owned()));
    }
}
