//! Connections from the other members: what they say goes to the member, in order. And what a member that joins must
//! know before it is one: whom the cluster consists of, and which of them it is itself.

use std::io;

use bytes::Bytes;
use detcd_replica::api::Member;
use detcd_replica::wire::peer;
use detcd_replica::MemberId;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::member::{Asking, Event};
use super::net::{Connection, Tls, Url};
use super::peers::{lock, read_frame, write_words, Underway, DATABASE_CAME, HELLO, MESSAGE, WHO};

/// The cluster, as a member tells it to one that joins.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cluster {
    pub(super) id: u64,
    pub(super) members: Vec<Known>,
}

/// A member of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) id: u64,
    pub(super) peer_urls: Vec<String>,
}

/// What is needed to take in what members say.
#[derive(Clone)]
pub(super) struct Incoming {
    pub(super) asking: Asking,
    pub(super) me: MemberId,
    pub(super) tls: Tls,
    pub(super) underway: Underway,
}

impl Incoming {
    /// Takes every connection made to `url`, for ever.
    pub(super) async fn serve(self, url: Url, listener: TcpListener) {
        loop {
            let Ok((tcp, from)) = listener.accept().await else {
                // Too many files are open, most likely.
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            };
            let (incoming, url) = (self.clone(), url.clone());
            tokio::spawn(async move {
                let taken = match incoming.tls.accepted(&url, tcp).await {
                    Ok(connection) => incoming.take(connection).await,
                    Err(error) => Err(error),
                };
                match taken {
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        eprintln!("detcd: a peer connection from {from} is refused: {error}");
                    }
                    _ => {}
                }
            });
        }
    }

    async fn take(&self, mut connection: Box<dyn Connection>) -> io::Result<()> {
        let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let mut hello = [0; 8];
        connection.read_exact(&mut hello).await?;
        if hello == *WHO {
            return self.tell_members(connection).await;
        }
        if hello != *HELLO {
            return Err(wrong("it is not a member of ours; members of a real etcd speak otherwise".into()));
        }
        let (cluster, from, to) =
            (connection.read_u64().await?, connection.read_u64().await?, connection.read_u64().await?);
        if (cluster, to) != (self.asking.cluster, self.me.0) {
            return Err(wrong(format!("it looks for member {to:x} of cluster {cluster:x}")));
        }
        loop {
            let (kind, words) = read_frame(&mut connection).await?;
            match kind {
                MESSAGE => {
                    let message = peer::decode(Bytes::from(words)).map_err(wrong)?;
                    if message.from.0 != from || message.to.0 != to {
                        return Err(wrong("a message from or to somebody else".into()));
                    }
                    self.asking.tell(Event::Message(Box::new(message)));
                }
                DATABASE_CAME => self.database_came(MemberId(from), &words)?,
                _ => return Err(wrong(format!("a frame of kind {kind}"))),
            }
        }
    }

    fn database_came(&self, member: MemberId, words: &[u8]) -> io::Result<()> {
        let [stream @ .., saved] = words else { return Err(io::ErrorKind::InvalidData.into()) };
        let stream = u64::from_be_bytes(stream.try_into().map_err(io::Error::other)?);
        if lock(&self.underway).entry(member).or_default().remove(&stream) {
            self.asking.tell(Event::SnapshotSent { member, stream, delivered: *saved == 1 });
        }
        Ok(())
    }

    async fn tell_members(&self, mut connection: Box<dyn Connection>) -> io::Result<()> {
        let members = self.asking.look(detcd_replica::Replica::look_members).await;
        let members = members.map_err(|error| io::Error::other(error.message()))?;
        let known = |member: Member| Known { id: member.id.0, peer_urls: member.peer_urls };
        let cluster = Cluster { id: self.asking.cluster, members: members.into_iter().map(known).collect() };
        let words = serde_json::to_vec(&cluster).map_err(io::Error::other)?;
        write_words(&mut connection, &words).await?;
        connection.shutdown().await
    }
}

/// Asks the member at `url` whom its cluster consists of.
///
/// # Errors
/// Nobody answers, or not as a member does.
pub(super) async fn ask_members(tls: &Tls, url: &Url) -> io::Result<Cluster> {
    let mut connection = tls.connect(url).await?;
    connection.write_all(WHO).await?;
    connection.flush().await?;
    let (_, words) = read_frame(&mut connection).await?;
    serde_json::from_slice(&words).map_err(io::Error::other)
}
