//! Connections to the other members: what a member says goes into a queue for each of them, and a task sends it.
//!
//! Two connections lead to each member, one for Raft's messages and one for databases, so that a heartbeat does not
//! wait behind a gigabyte. What is lost with a connection is reported, and the members' own retries make it good.
//! Frames are a length, a kind and the bytes that [`detcd_replica::wire::peer`] makes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use detcd_replica::api::Member;
use detcd_replica::wire::peer;
use detcd_replica::{MemberId, PeerMessage};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::member::Event;
use super::net::{Tls, Url};

/// Messages on their way to one member. etcd: 4096.
const QUEUE: usize = 4096;
/// Parts of databases on their way to one member.
const DATABASE_QUEUE: usize = 1024;
/// How long a member that cannot be reached is left alone.
const RETRY: Duration = Duration::from_millis(100);
/// Connecting takes no longer than this.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// The longest frame that is read: far more than a message with its entries, or a part of a database.
const FRAME_MAX: usize = 64 << 20;

/// What a connection for frames begins with; cluster, sender and receiver follow.
pub(super) const HELLO: &[u8; 8] = b"detcd/1\n";
/// What a question for the members begins with.
pub(super) const WHO: &[u8; 8] = b"detcd/?\n";

/// A frame with a message.
pub(super) const MESSAGE: u8 = 1;
/// A frame that says how a database has come.
pub(super) const DATABASE_CAME: u8 = 2;

/// Databases on their way: to whom, and the number of the stream.
pub(super) type Underway = Arc<Mutex<BTreeMap<MemberId, BTreeSet<u64>>>>;

pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked with it has only put in or taken out.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The way to one member.
struct Link {
    urls: Vec<String>,
    messages: mpsc::Sender<Vec<u8>>,
    databases: mpsc::Sender<Vec<u8>>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The ways to all of them.
pub(super) struct Peers {
    me: MemberId,
    cluster: u64,
    runtime: Handle,
    tls: Tls,
    events: Sender<Event>,
    underway: Underway,
    /// Whom it must reach before it knows from its log who the members are.
    at_first: Vec<Member>,
    links: BTreeMap<MemberId, Link>,
}

impl Peers {
    pub(super) fn new(
        (cluster, me): (u64, MemberId),
        runtime: Handle,
        tls: Tls,
        events: Sender<Event>,
        underway: Underway,
        at_first: Vec<Member>,
    ) -> Self {
        Self { me, cluster, runtime, tls, events, underway, at_first, links: BTreeMap::new() }
    }

    /// These are the members now, as far as the log is applied.
    pub(super) fn meet(&mut self, members: &[Member]) {
        let mut members = members.to_vec();
        if !members.iter().any(|member| member.id == self.me) {
            // It has not come to its own addition yet.
            let met: Vec<MemberId> = members.iter().map(|member| member.id).collect();
            members.extend(self.at_first.iter().filter(|member| !met.contains(&member.id)).cloned());
        }
        self.links.retain(|id, link| {
            let known = members.iter().find(|member| member.id == *id);
            known.is_some_and(|member| member.peer_urls == link.urls)
        });
        for member in &members {
            if member.id != self.me && !self.links.contains_key(&member.id) {
                let link = self.link(member);
                self.links.insert(member.id, link);
            }
        }
    }

    fn link(&self, member: &Member) -> Link {
        let (messages, to_send) = mpsc::channel(QUEUE);
        let (databases, parts) = mpsc::channel(DATABASE_QUEUE);
        let sending = |frames| {
            let way = Way {
                ids: (self.cluster, self.me, member.id),
                urls: member.peer_urls.iter().filter_map(|url| Url::parse(url).ok()).collect(),
                tls: self.tls.clone(),
                events: self.events.clone(),
                underway: self.underway.clone(),
            };
            self.runtime.spawn(way.send(frames))
        };
        let tasks = [sending(to_send), sending(parts)];
        Link { urls: member.peer_urls.clone(), messages, databases, tasks }
    }

    /// Sends a message, sooner or later, or reports that it is lost.
    pub(super) fn send(&mut self, message: PeerMessage) {
        let Some(link) = self.links.get(&message.to) else { return self.lost(message.to) };
        let frame = frame(MESSAGE, &peer::encode(&message));
        let sent = match &message.chunk {
            None => link.messages.try_send(frame),
            Some(chunk) => {
                let mut underway = lock(&self.underway);
                let streams = underway.entry(message.to).or_default();
                if chunk.offset == 0 {
                    streams.insert(chunk.stream);
                } else if !streams.contains(&chunk.stream) {
                    // It is broken, and its end reported.
                    return;
                }
                link.databases.try_send(frame)
            }
        };
        if sent.is_err() {
            self.lost(message.to);
        }
    }

    fn lost(&self, member: MemberId) {
        broken(member, &self.events, &self.underway);
    }

    /// Tells the sender of a database how it has come.
    pub(super) fn answer_snapshot(&mut self, from: MemberId, stream: u64, saved: bool) {
        let Some(link) = self.links.get(&from) else { return };
        let mut words = stream.to_be_bytes().to_vec();
        words.push(u8::from(saved));
        // If it is lost, so is the connection, which ends the stream at the other end.
        let _ = link.messages.try_send(frame(DATABASE_CAME, &words));
    }
}

/// What was sent to a member may be lost: its Raft hears of it, and no database on its way there will be answered
/// for.
fn broken(member: MemberId, events: &Sender<Event>, underway: &Underway) {
    // The member may have ended.
    let _ = events.send(Event::Unreachable(member));
    for stream in lock(underway).remove(&member).unwrap_or_default() {
        let _ = events.send(Event::SnapshotSent { member, stream, delivered: false });
    }
}

/// What a task needs to send.
struct Way {
    /// Cluster, sender, receiver.
    ids: (u64, MemberId, MemberId),
    urls: Vec<Url>,
    tls: Tls,
    events: Sender<Event>,
    underway: Underway,
}

impl Way {
    async fn send(self, mut frames: mpsc::Receiver<Vec<u8>>) {
        let mut place = 0;
        while let Some(first) = frames.recv().await {
            let url = self.urls.get(place % self.urls.len().max(1));
            let outcome = match url {
                Some(url) => self.send_to(url, first, &mut frames).await,
                None => Err(io::Error::other("the member has no URL that can be reached")),
            };
            if outcome.is_ok() {
                return;
            }
            place += 1;
            while frames.try_recv().is_ok() {}
            broken(self.ids.2, &self.events, &self.underway);
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Ends well only when nobody has anything more to send.
    async fn send_to(&self, url: &Url, first: Vec<u8>, frames: &mut mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
        let connected = tokio::time::timeout(CONNECT_MAX, self.tls.connect(url)).await;
        let connection = connected.map_err(|_| io::Error::other("nobody answers"))??;
        let (mut from, mut to) = tokio::io::split(connection);
        let (cluster, me, other) = self.ids;
        let mut hello = HELLO.to_vec();
        for id in [cluster, me.0, other.0] {
            hello.extend_from_slice(&id.to_be_bytes());
        }
        to.write_all(&hello).await?;
        to.write_all(&first).await?;
        to.flush().await?;
        let mut nothing = [0];
        loop {
            tokio::select! {
                frame = frames.recv() => match frame {
                    Some(frame) => {
                        to.write_all(&frame).await?;
                        while let Ok(more) = frames.try_recv() {
                            to.write_all(&more).await?;
                        }
                        to.flush().await?;
                    }
                    None => return Ok(()),
                },
                // The other end says nothing here; it can only hang up.
                _ = from.read(&mut nothing) => return Err(io::ErrorKind::ConnectionReset.into()),
            }
        }
    }
}

fn frame(kind: u8, words: &[u8]) -> Vec<u8> {
    let length = u32::try_from(words.len() + 1).expect("a message is below 4 GiB");
    let mut frame = Vec::with_capacity(words.len() + 5);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.push(kind);
    frame.extend_from_slice(words);
    frame
}

/// The next frame: its kind and its bytes.
///
/// # Errors
/// The connection has ended, or it is no frame.
pub(super) async fn read_frame(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let length = from.read_u32().await? as usize;
    if length == 0 || length > FRAME_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let kind = from.read_u8().await?;
    let mut words = vec![0; length - 1];
    from.read_exact(&mut words).await?;
    Ok((kind, words))
}

/// Writes bytes behind their length.
///
/// # Errors
/// The connection has ended.
pub(super) async fn write_words(to: &mut (impl AsyncWrite + Unpin), words: &[u8]) -> io::Result<()> {
    to.write_all(&frame(MESSAGE, words)).await?;
    to.flush().await
}
