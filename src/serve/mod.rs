//! One member on real files, sockets and clocks, with etcd's flags and its gRPC API.
//!
//! It drives the very replica that is simulated, so that anybody can point `etcdctl`, or a client of their own, at it
//! and be convinced. It is a proof of fidelity and no product: members talk to each other in a way of their own, the
//! whole database is in memory, and one thread does the work.

mod authority;
mod calls;
mod cert;
mod disk;
mod gateway;
mod grpc;
mod headers;
mod health;
mod http;
mod incoming;
mod member;
mod metrics;
mod net;
mod options;
mod peers;
mod process;
mod recipes;
mod streams;

use std::path::Path;
use std::sync::{mpsc, Arc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use detcd_replica::api::Member as ClusterMember;
use detcd_replica::membership::{cluster_id, member_id};
use detcd_replica::time::Span;
use detcd_replica::{Address, Config, DiskImage, MemberId};
use tokio::net::TcpListener;

pub(crate) use net::{TlsFiles, Url};
pub(crate) use options::{Founder, Options};

use crate::datadir;
use crate::engine;
use crate::exit::{Exit, Failure};
use crate::interrupt;
use disk::Disk;
use grpc::Serves;
use incoming::{ask_members, Incoming};
use member::{Asking, End, Event, Member};
use metrics::Metrics;
use peers::Peers;

/// How often the process looks whether it was asked to end.
const LOOK: Duration = Duration::from_millis(50);
/// How long a member that joins asks the others who they are.
const JOIN_MAX: Duration = Duration::from_secs(10);

/// What every call needs.
struct State {
    asking: Asking,
    metrics: Arc<Metrics>,
    version: String,
    /// As etcd says it: less than 0 is no quota.
    quota_bytes: i64,
    max_request_bytes: usize,
    /// Calls of one connection that may be under way.
    max_concurrent_streams: u32,
    /// The cluster's (`--initial-cluster-token`); the ids of new members have it in them.
    token: String,
}

/// Serves until the process is asked to end.
///
/// # Errors
/// A flag, the data dir or an address cannot be: exit 2. The member has ended by itself: exit 74; 5 when it panicked.
pub(crate) fn serve(options: &Options) -> Result<Exit, Failure> {
    interrupt::watch();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::usage(format!("no threads: {error}")))?;
    let outcome = runtime.block_on(run(options, runtime.handle()));
    // Connections that are open are left to their ends.
    runtime.shutdown_background();
    outcome
}

/// Who the member is, and with whom it begins.
struct Identity {
    me: MemberId,
    cluster: u64,
    /// Whom it must be able to reach before it knows from its log who the members are.
    others: Vec<ClusterMember>,
    /// Empty when it joins a cluster that is there.
    founders: Vec<MemberId>,
}

async fn run(options: &Options, runtime: &tokio::runtime::Handle) -> Result<Exit, Failure> {
    let image = found(&options.data_dir)?;
    let client_tls = options.client_tls.load().map_err(|reason| Failure::usage(format!("--cert-file: {reason}")))?;
    let peer_tls = options.peer_tls.load().map_err(|reason| Failure::usage(format!("--peer-cert-file: {reason}")))?;
    let identity = identify(options, &image, &peer_tls).await?;
    let config = configure(options, &identity);
    config.validate().map_err(|error| {
        let name = error.field.trim_start_matches("auth.").replace('_', "-");
        Failure::usage(format!("--{name}: {}", error.reason))
    })?;

    let client_listeners = listen(&options.listen_client).await?;
    let metrics_listeners = listen(&options.listen_metrics).await?;
    let peer_listeners = listen(&options.listen_peer).await?;

    let (events, taken) = mpsc::channel();
    let asking = Asking { events: events.clone(), cluster: identity.cluster };
    let metrics = Arc::new(Metrics::default());
    let underway = peers::Underway::default();
    let disk = Disk::open(&options.data_dir, options.syncs, &events, &metrics)
        .map_err(|error| Failure::usage(format!("{}: {error}", options.data_dir.display())))?;
    let ids = (identity.cluster, identity.me);
    let peers = Peers::new(ids, runtime.clone(), peer_tls.clone(), events, underway.clone(), identity.others);
    let state = Arc::new(State {
        asking: asking.clone(),
        metrics: metrics.clone(),
        version: config.version().to_string(),
        quota_bytes: config.quota_backend_bytes,
        max_request_bytes: config.max_request_bytes,
        max_concurrent_streams: options.max_concurrent_streams,
        token: options.token.clone(),
    });
    let (me, booted) = (identity.me, tokio::sync::oneshot::channel());
    let (say, boots) = booted;
    let thread = std::thread::Builder::new().name("member".into()).spawn(move || {
        match Member::boot(config, &image, disk, peers, metrics, taken) {
            Ok(member) => {
                // Whoever waits for it has not gone before.
                let _ = say.send(Ok(()));
                Some(member.run())
            }
            Err(refusal) => {
                let _ = say.send(Err(refusal));
                None
            }
        }
    });
    let thread = thread.map_err(|error| Failure::usage(format!("no thread: {error}")))?;
    match boots.await {
        Ok(Ok(())) => {}
        Ok(Err(refusal)) => return Err(Failure::usage(format!("{}: {refusal}", options.data_dir.display()))),
        Err(_) => return ended(thread),
    }
    let incoming = Incoming { asking: asking.clone(), me, tls: peer_tls, underway };
    for (url, listener) in peer_listeners {
        tokio::spawn(incoming.clone().serve(url, listener));
    }
    for (url, listener) in client_listeners {
        eprintln!("detcd: {} ({:x}) serves clients at {url}", options.name, me.0);
        tokio::spawn(grpc::serve(state.clone(), client_tls.clone(), Serves::All, url, listener));
    }
    for (url, listener) in metrics_listeners {
        eprintln!("detcd: {} ({:x}) serves metrics at {url}", options.name, me.0);
        tokio::spawn(grpc::serve(state.clone(), client_tls.clone(), Serves::Metrics, url, listener));
    }
    let mut asked = false;
    while !thread.is_finished() {
        if interrupt::asked() && !asked {
            asked = true;
            asking.tell(Event::Stop);
        }
        tokio::time::sleep(LOOK).await;
    }
    ended(thread)
}

async fn listen(urls: &[Url]) -> Result<Vec<(Url, TcpListener)>, Failure> {
    let mut listeners = Vec::new();
    for url in urls {
        let listener = net::listen(url).await.map_err(|error| Failure::usage(format!("{url}: {error}")))?;
        listeners.push((url.clone(), listener));
    }
    Ok(listeners)
}

fn ended(thread: std::thread::JoinHandle<Option<End>>) -> Result<Exit, Failure> {
    match thread.join() {
        Ok(Some(End::Exited(reason))) if reason.contains("removed") => {
            eprintln!("detcd: {reason}");
            Ok(Exit::Pass)
        }
        Ok(Some(End::Exited(reason))) => Err(Failure { exit: Exit::OutputIo, message: reason.to_owned() }),
        Ok(Some(End::Stopped) | None) => Ok(Exit::Pass),
        Err(_) => Ok(Exit::Panic),
    }
}

/// What is on the disk; nothing when there is no data dir yet.
fn found(data_dir: &Path) -> Result<DiskImage, Failure> {
    if !data_dir.join("member").exists() {
        return Ok(DiskImage::default());
    }
    let found = datadir::read(data_dir)?;
    Ok(found.image)
}

/// Who it is: as its log says, as the flags have it when there is none, or as the cluster that it joins does.
async fn identify(options: &Options, image: &DiskImage, tls: &net::Tls) -> Result<Identity, Failure> {
    let founders: Vec<ClusterMember> = options.founders.iter().map(|founder| founder.member(&options.token)).collect();
    let has_log = detcd_replica::wal::exists(image);
    if !has_log && options.existing {
        return join(options, tls, &founders).await;
    }
    let ids: Vec<MemberId> = founders.iter().map(|founder| founder.id).collect();
    let own = founders.iter().find(|founder| founder.name == options.name);
    let (me, cluster) = match (has_log, own) {
        (true, _) => {
            let identity = engine::identity(image);
            let (member, cluster) =
                identity.map_err(|reason| Failure::usage(format!("{}: {reason}", options.data_dir.display())))?;
            (MemberId(member), cluster)
        }
        (false, Some(own)) => (own.id, cluster_id(&ids)),
        (false, None) => {
            return Err(Failure::usage(format!(
                "--initial-cluster: there is no member \"{}\" in it, which is this one's --name",
                options.name
            )))
        }
    };
    let others = founders.into_iter().filter(|founder| founder.id != me).collect();
    Ok(Identity { me, cluster, others, founders: ids })
}

/// Asks the members that are there which of them it is.
async fn join(options: &Options, tls: &net::Tls, known: &[ClusterMember]) -> Result<Identity, Failure> {
    let own: Vec<String> = options.advertise_peer.iter().map(ToString::to_string).collect();
    let urls = known.iter().flat_map(|member| &member.peer_urls).filter(|url| !own.contains(url));
    let urls: Vec<Url> = urls.filter_map(|url| Url::parse(url).ok()).collect();
    let deadline = tokio::time::Instant::now() + JOIN_MAX;
    let mut reason = "--initial-cluster: it names no other member to ask".to_owned();
    while tokio::time::Instant::now() < deadline {
        for url in &urls {
            match tokio::time::timeout(JOIN_MAX, ask_members(tls, url)).await {
                Ok(Ok(cluster)) => {
                    let me = cluster.members.iter().find(|member| member.peer_urls == own);
                    let Some(me) = me.map(|member| MemberId(member.id)) else {
                        let own = own.join(",");
                        return Err(Failure::usage(format!(
                            "the cluster at {url} has no member at {own}: add it first"
                        )));
                    };
                    let member = |known: incoming::Known| ClusterMember {
                        id: MemberId(known.id),
                        peer_urls: known.peer_urls,
                        ..Default::default()
                    };
                    let others = cluster.members.into_iter().map(member).filter(|member| member.id != me);
                    let others = others.collect();
                    return Ok(Identity { me, cluster: cluster.id, others, founders: Vec::new() });
                }
                Ok(Err(error)) => reason = format!("{url}: {error}"),
                Err(_) => reason = format!("{url}: no answer"),
            }
        }
        if urls.is_empty() || interrupt::asked() {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(Failure::usage(reason))
}

fn configure(options: &Options, identity: &Identity) -> Config {
    let mut config = Config::etcd(identity.me, identity.founders.clone());
    for founder in &options.founders {
        let ClusterMember { id, name, peer_urls, .. } = founder.member(&options.token);
        config.addresses.insert(id, Address { name, peer_urls, client_urls: Vec::new() });
    }
    let urls = |urls: &[Url]| urls.iter().map(ToString::to_string).collect();
    let own = Address {
        name: options.name.clone(),
        peer_urls: urls(&options.advertise_peer),
        client_urls: urls(&options.advertise_client),
    };
    config.addresses.insert(identity.me, own);
    config.cluster_id = identity.cluster;
    config.force_new_cluster = options.force_new_cluster;
    config.release = options.release;
    config.heartbeat_interval = options.heartbeat_interval;
    config.election_ticks = options.election_ticks;
    config.snapshot_count = options.snapshot_count;
    config.snapshot_catch_up_entries = options.snapshot_catch_up_entries;
    config.quota_backend_bytes = options.quota_backend_bytes;
    config.max_snapshots = options.max_snapshots;
    config.max_wals = options.max_wals;
    config.backend_batch_interval = options.backend_batch_interval.unwrap_or(config.backend_batch_interval);
    config.backend_batch_limit = options.backend_batch_limit.unwrap_or(config.backend_batch_limit);
    config.compaction_batch_limit = options.compaction_batch_limit;
    config.compaction_sleep_interval = options.compaction_sleep_interval;
    config.downgrade_check_interval = options.downgrade_check_interval;
    config.max_learners = options.max_learners;
    config.max_txn_ops = options.max_txn_ops;
    config.max_request_bytes = options.max_request_bytes;
    config.strict_reconfig_check = options.strict_reconfig_check;
    config.pre_vote = options.pre_vote;
    config.watch_progress_interval = options.watch_progress_interval;
    config.auth.token = options.auth_token.clone();
    config.auth.bcrypt_cost = options.bcrypt_cost;
    config.auth.simple_token_ttl = options.auth_token_ttl;
    config.auth.client_cert = options.client_tls.client_cert_auth;
    config.auto_compaction = options.auto_compaction;
    config.initial_corrupt_check = options.initial_corrupt_check;
    config.corrupt_check_time = options.corrupt_check_time;
    config.compact_hash_check = options.compact_hash_check;
    config.compact_hash_check_time = options.compact_hash_check_time;
    config.lease_checkpoint = options.lease_checkpoint;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    config.auth.unix_time_at_zero = Span(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
    getrandom::getrandom(&mut config.auth.entropy).expect("the system has entropy");
    config
}

impl Founder {
    fn member(&self, token: &str) -> ClusterMember {
        let id = member_id(&self.peer_urls, token, None);
        ClusterMember { id, name: self.name.clone(), peer_urls: self.peer_urls.clone(), ..Default::default() }
    }
}
