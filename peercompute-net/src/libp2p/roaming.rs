//! Takes streams along when the path to a peer becomes a better one.
//!
//! A stream lives on the connection that it was opened on. One that was opened through a relay would keep the relay busy for as long as it lives, long after the two ends have found a way
//! without it. So such streams are opened as streams of [`ROAMING_PROTOCOL`], and go on over the direct connection as soon as that has carried traffic ([`stream`]).

mod stream;

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use peercompute_proto::{
    Wire, decode,
    limits::{MAX_ROAMING_MESSAGE, MAX_ROAMING_PROTOCOL, SESSION_SIZE},
    v1::{RoamingHello, RoamingOutcome, RoamingReply},
};
use peercompute_rt::Runtime;

use self::stream::{Move, Roaming, Slot};
use super::Opener;
use crate::{OpenError, Path, PeerId, Stream, toolkit::lock};

/// What such a stream is opened as.
pub(super) const ROAMING_PROTOCOL: &str = "/peercompute/roaming/1";

/// How long the other end may take to say what a stream is, and to take it along.
const PATIENCE: Duration = Duration::from_secs(10);

/// What names a stream, between the two ends of it.
type StreamId = [u8; SESSION_SIZE];

/// The streams that can be taken along, each until it ends. No more than streams may be open.
#[derive(Default)]
pub(super) struct Roamers {
    /// Those that this end has opened, which it takes along.
    ours: Table,
    /// Those that the other end has opened.
    theirs: Table,
    /// Peers whose streams are being taken along.
    moving: Mutex<HashSet<PeerId>>,
}

#[derive(Clone, Default)]
struct Table(Arc<Mutex<HashMap<Key, Arc<Slot>>>>);

type Key = (PeerId, StreamId);

impl Table {
    /// Makes a stream one that can be taken along.
    fn add(&self, peer: PeerId, id: StreamId, stream: Stream) -> Option<Roaming> {
        let slot = Arc::<Slot>::default();
        let mut table = lock(&self.0);
        if table.contains_key(&(peer, id)) {
            return None;
        }
        table.insert((peer, id), slot.clone());
        let entry = Entry {
            table: self.clone(),
            key: (peer, id),
        };
        Some(Roaming::new(stream, slot, entry))
    }

    fn get(&self, peer: PeerId, id: StreamId) -> Option<Arc<Slot>> {
        lock(&self.0).get(&(peer, id)).cloned()
    }
}

/// Forgets a stream when it is dropped.
struct Entry {
    table: Table,
    key: Key,
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.table.0).remove(&self.key);
    }
}

/// What streams are opened and taken along with.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) roamers: Arc<Roamers>,
    pub(super) runtime: Runtime,
    pub(super) opener: Opener,
}

impl Tools {
    /// Takes streams that others open, until the transport closes.
    pub(super) fn start(&self) {
        // Nobody else has had the chance to.
        let Ok(incoming) = self.opener.shared.acceptor.register(ROAMING_PROTOCOL) else {
            return;
        };
        let tools = self.clone();
        let mut incoming = incoming
            .keep(self.opener.shared.protocols.offer(ROAMING_PROTOCOL))
            .vetted(move |peer, stream| {
                let tools = tools.clone();
                async move {
                    let taking = tools.take(peer, stream);
                    match tools.runtime.timeout(PATIENCE, taking).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "no stream came of it"),
                        Err(error) => tracing::debug!(%peer, %error, "no stream came of it"),
                    }
                    None
                }
            });
        self.runtime
            .spawn(async move { while incoming.next().await.is_some() {} })
            .detach();
    }

    /// Opens a stream that can be taken along.
    pub(super) async fn open(
        &self,
        peer: PeerId,
        protocol: &'static str,
    ) -> Result<Stream, OpenError> {
        if protocol.len() > MAX_ROAMING_PROTOCOL {
            return self.opener.open(peer, protocol).await;
        }
        let mut stream = match self.opener.open(peer, ROAMING_PROTOCOL).await {
            // An older peer, or another program.
            Err(OpenError::Unsupported { .. }) => return self.opener.open(peer, protocol).await,
            opened => opened?,
        };
        let mut id = StreamId::default();
        self.runtime.fill_random(&mut id);
        let hello = RoamingHello {
            protocol: protocol.to_owned(),
            stream: id.to_vec().into(),
        };
        match ask(&mut stream, &hello).await {
            Ok(RoamingOutcome::Accepted) => {}
            // It looks at no more of them at once, or the peer has gone, which the plain stream shows.
            Ok(RoamingOutcome::Refused) | Err(_) => return self.opener.open(peer, protocol).await,
            Ok(_) => {
                return Err(OpenError::Unsupported {
                    peer,
                    protocol: protocol.to_owned(),
                });
            }
        }
        let roaming = self.roamers.ours.add(peer, id, stream);
        // It was drawn just now.
        let roaming = roaming.ok_or(OpenError::NotConnected { peer })?;
        Ok(Box::new(roaming))
    }

    /// Takes all streams to `peer` that this end has opened along to the direct path, one after another.
    pub(super) fn take_along(&self, peer: PeerId) {
        let streams: Vec<_> = lock(&self.roamers.ours.0)
            .iter()
            .filter(|((of, _), _)| *of == peer)
            .map(|((_, id), slot)| (*id, slot.clone()))
            .collect();
        if streams.is_empty() || !lock(&self.roamers.moving).insert(peer) {
            return;
        }
        let tools = self.clone();
        let moving = async move {
            for (id, slot) in streams {
                if let Some(moving) = slot.begin()
                    && let Err(error) = tools.carry_on(peer, id, moving).await
                {
                    // The next answered ping tries the others again.
                    tracing::debug!(%peer, %error, "streams stay where they are");
                    break;
                }
            }
            lock(&tools.roamers.moving).remove(&peer);
        };
        self.runtime.spawn(moving).detach();
    }

    /// Opens the second stream of one that is taken along.
    async fn carry_on(&self, peer: PeerId, id: StreamId, stream: Move) -> io::Result<()> {
        let path = lock(&self.opener.shared.state).connections.path(&peer);
        let opening = self.opener.open(peer, ROAMING_PROTOCOL);
        let opened = match path {
            Some(Path::Direct) => self.runtime.timeout(PATIENCE, opening).await,
            _ => Ok(Err(OpenError::NotConnected { peer })),
        };
        let opened = opened.map_err(io::Error::other);
        let mut next = match opened.and_then(|opened| opened.map_err(io::Error::other)) {
            Ok(next) => next,
            Err(error) => {
                stream.stay();
                return Err(error);
            }
        };
        let hello = RoamingHello {
            protocol: String::new(),
            stream: id.to_vec().into(),
        };
        // From here on the other end may have gone on although this one does not hear of it.
        let asked = self.runtime.timeout(PATIENCE, ask(&mut next, &hello)).await;
        match asked.map_err(io::Error::other)?? {
            RoamingOutcome::Accepted => stream.go_on(next),
            _ => stream.stay(),
        }
        Ok(())
    }

    /// The other end has opened a stream.
    async fn take(&self, peer: PeerId, mut stream: Stream) -> io::Result<()> {
        let hello: RoamingHello = read(&mut stream).await?;
        let id = StreamId::try_from(&*hello.stream).map_err(io::Error::other)?;
        if hello.protocol.is_empty() {
            let slot = self.roamers.theirs.get(peer, id);
            let Some(moving) = slot.and_then(|slot| slot.begin()) else {
                return answer(&mut stream, RoamingOutcome::Refused).await;
            };
            answer(&mut stream, RoamingOutcome::Accepted).await?;
            moving.go_on(stream);
            return Ok(());
        }
        if hello.protocol == ROAMING_PROTOCOL
            || !self.opener.shared.acceptor.accepts(&hello.protocol)
        {
            return answer(&mut stream, RoamingOutcome::Unsupported).await;
        }
        if self.roamers.theirs.get(peer, id).is_some() {
            return answer(&mut stream, RoamingOutcome::Refused).await;
        }
        answer(&mut stream, RoamingOutcome::Accepted).await?;
        let roaming = self.roamers.theirs.add(peer, id, stream);
        let roaming = roaming.ok_or_else(|| io::Error::other("the id of another stream"))?;
        self.opener
            .shared
            .acceptor
            .deliver(&hello.protocol, peer, Box::new(roaming))
            .map_err(io::Error::other)
    }
}

async fn ask(stream: &mut Stream, hello: &RoamingHello) -> io::Result<RoamingOutcome> {
    write(stream, hello).await?;
    Ok(read::<RoamingReply>(stream).await?.outcome())
}

async fn answer(stream: &mut Stream, outcome: RoamingOutcome) -> io::Result<()> {
    let outcome = outcome.into();
    write(stream, &RoamingReply { outcome }).await
}

async fn write<M: Wire>(stream: &mut Stream, message: &M) -> io::Result<()> {
    let mut bytes = message.encode_to_vec();
    // Both messages are shorter than a length of one byte can say.
    bytes.insert(0, bytes.len() as u8);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// Reads exactly one message: what follows is somebody else's.
async fn read<M: Wire>(stream: &mut Stream) -> io::Result<M> {
    let mut length = [0];
    stream.read_exact(&mut length).await?;
    let length = usize::from(length[0]);
    if length > MAX_ROAMING_MESSAGE {
        return Err(io::Error::other("a message that is too long"));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    decode(bytes.into()).map_err(io::Error::other)
}
