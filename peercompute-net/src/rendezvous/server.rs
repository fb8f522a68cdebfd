use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::Stream as _;
use libp2p_identity::PeerId;
use peercompute_map::SortedMap;
use peercompute_proto::{Scope, v1, v1::rendezvous_frame::Frame};
use peercompute_rt::{Runtime, Task};

use super::{
    Directory, DirectoryLimits, RENDEZVOUS_PROTOCOL, RefusedQuestion, RefusedRegistration,
    RegistrationId,
};
use crate::{
    FrameReader, FrameWriter, Incoming, PeerLimits, PrivateRoom, ProtocolTaken, ReadError, Stream,
    Transport, frames,
    toolkit::{PerPeer, lock},
};

/// How long a stream may take until it registers, or asks for rooms, or for more of them.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a member may leave what it is told unread; then its stream is ended and it has left.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Streams that have not registered yet, or are being refused, beside those that have.
const UNREGISTERED: usize = 256;

/// Streams of one peer beside the rooms that it may be in: what a peer needs to register anew while its old stream still hangs.
const SPARE_STREAMS: usize = 2;

/// What a rendezvous server takes in.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Serves this room and no other. Default: every room.
    pub only: Option<Scope>,
    /// Serves those who know the password of this room, and answers nobody else. Default: none.
    pub private: Option<PrivateRoom>,
    /// How much it holds.
    pub limits: DirectoryLimits,
    /// Whom it answers at all.
    permits: PeerLimits,
}

impl ServerConfig {
    /// What a relay does: every room, within `limits`.
    pub fn every_room(limits: DirectoryLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// What a node does: only its own room.
    pub fn only(scope: Scope) -> Self {
        Self {
            only: Some(scope),
            ..Self::default()
        }
    }

    /// Only for those whom the lists of `limits` let be members.
    pub(crate) fn permitting(mut self, limits: PeerLimits) -> Self {
        self.permits = limits;
        self
    }

    /// What a node in a private room does: only that room, and silence towards everybody who does not know its password.
    pub fn private(room: PrivateRoom) -> Self {
        Self {
            only: Some(room.scope()),
            private: Some(room),
            ..Self::default()
        }
    }
}

/// Keeps the lists of rooms for others: accepts [`RENDEZVOUS_PROTOCOL`] on a transport and runs a [`Directory`]. Dropping it ends all registrations.
///
/// It also tells anybody who asks which rooms of a game are listed. A stream that neither registers nor asks within 10 seconds, does not read for 30, breaks the protocol or changes its presence without pause is ended; beyond the bounds of
/// [`DirectoryLimits`] registrations are refused, and streams beyond those and 256 more are dropped.
pub struct RendezvousServer {
    shared: Arc<Shared>,
    _task: Task<()>,
}

struct Shared {
    runtime: Runtime,
    config: ServerConfig,
    state: Mutex<State>,
}

struct State {
    directory: Directory,
    /// Of the streams that wait for something to send.
    wakers: SortedMap<RegistrationId, Waker>,
}

impl RendezvousServer {
    /// Serves on `transport` from now on.
    ///
    /// # Errors
    ///
    /// [`ProtocolTaken`] if a server runs on it already.
    pub fn start(
        runtime: &Runtime,
        transport: &dyn Transport,
        config: ServerConfig,
    ) -> Result<Self, ProtocolTaken> {
        let incoming = transport.accept(RENDEZVOUS_PROTOCOL)?;
        let directory = Directory::new(config.limits);
        let shared = Arc::new(Shared {
            runtime: runtime.clone(),
            config,
            state: Mutex::new(State {
                directory,
                wakers: SortedMap::new(),
            }),
        });
        let task = runtime.spawn(serve(shared.clone(), incoming));
        Ok(Self {
            shared,
            _task: task,
        })
    }

    /// Rooms with members, and members of all rooms.
    pub fn size(&self) -> (usize, usize) {
        lock(&self.shared.state).directory.size()
    }

    /// Rooms that strangers who ask are told of.
    pub fn listed_rooms(&self) -> usize {
        lock(&self.shared.state).directory.listed_rooms()
    }

    /// Refuses new registrations from now on, as before a shutdown; those that exist stay.
    pub fn drain(&self) {
        lock(&self.shared.state).directory.drain();
    }

    /// Enters the serving node itself into a room, as a member like any other.
    pub(crate) fn join(
        &self,
        peer: PeerId,
        register: v1::RendezvousRegister,
    ) -> Result<LocalMember, RefusedRegistration> {
        let id = self
            .shared
            .change(|directory| directory.register(self.shared.now(), peer, register))?;
        Ok(LocalMember {
            shared: self.shared.clone(),
            id,
        })
    }
}

/// The serving node's own registration. Dropping it leaves the room.
pub(crate) struct LocalMember {
    shared: Arc<Shared>,
    id: RegistrationId,
}

impl LocalMember {
    pub(crate) fn update(
        &self,
        register: v1::RendezvousRegister,
    ) -> Result<(), RefusedRegistration> {
        let presence = register.presence.ok_or(RefusedRegistration::NoPresence)?;
        self.shared
            .change(|directory| directory.replace(self.id, presence, register.listing))
    }

    /// What the other members do, as a stream would be told it. `None` when another end has registered as this peer.
    pub(crate) async fn next(&mut self) -> Option<v1::RendezvousMembers> {
        poll_fn(|cx| self.shared.poll_frame(self.id, cx)).await
    }
}

impl Drop for LocalMember {
    fn drop(&mut self) {
        self.shared.remove(self.id);
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.runtime.now().since_start()
    }

    /// In a private room everybody but its members is left without an answer.
    fn admit(&self, peer: PeerId, register: &v1::RendezvousRegister) -> Result<(), Ended> {
        if !self.config.permits.permits(&peer) {
            return Err(Ended::Stranger);
        }
        let Some(room) = &self.config.private else {
            return Ok(());
        };
        let is_of_room = register.scope[..] == room.scope().as_bytes()[..];
        if !is_of_room || !room.admits(&peer, register.presence.as_ref()) {
            return Err(Ended::Stranger);
        }
        Ok(())
    }

    fn register(
        &self,
        peer: PeerId,
        register: v1::RendezvousRegister,
    ) -> Result<RegistrationId, Ended> {
        self.admit(peer, &register)?;
        if let Some(only) = self.config.only
            && register.scope[..] != only.as_bytes()[..]
        {
            return Err(Ended::Refused(RefusedRegistration::OtherRoom));
        }
        let now = self.now();
        Ok(self.change(|directory| directory.register(now, peer, register))?)
    }

    /// Changes the directory and wakes those who have to tell of it.
    fn change<T>(&self, change: impl FnOnce(&mut Directory) -> T) -> T {
        let mut wakers = Vec::new();
        let output = {
            let mut state = lock(&self.state);
            let output = change(&mut state.directory);
            while let Some(id) = state.directory.poll_ready() {
                wakers.extend(state.wakers.remove(&id));
            }
            output
        };
        for waker in wakers {
            waker.wake();
        }
        output
    }

    fn remove(&self, id: RegistrationId) {
        self.change(|directory| directory.remove(id));
        lock(&self.state).wakers.remove(&id);
    }

    /// The next frame for a registration, `None` when it no longer stands.
    fn poll_frame(
        &self,
        id: RegistrationId,
        cx: &mut Context<'_>,
    ) -> Poll<Option<v1::RendezvousMembers>> {
        let mut state = lock(&self.state);
        if !state.directory.is_alive(id) {
            return Poll::Ready(None);
        }
        if let Some(members) = state.directory.poll_transmit(id) {
            return Poll::Ready(Some(members));
        }
        state.wakers.insert(id, cx.waker().clone());
        Poll::Pending
    }
}

/// Runs all streams, each as a future of its own, in one task.
async fn serve(shared: Arc<Shared>, mut incoming: Incoming) {
    let limits = shared.config.limits;
    let mut streams = PerPeer::new();
    loop {
        let (peer, stream) = poll_fn(|cx| {
            while let Poll::Ready(Some(_)) = streams.poll_next(cx) {}
            Pin::new(&mut incoming).poll_next(cx)
        })
        .await
        .unzip();
        let (Some(peer), Some(stream)) = (peer, stream) else {
            return;
        };
        if streams.len() >= limits.members + UNREGISTERED
            || streams.count_of(&peer) >= limits.rooms_per_peer + SPARE_STREAMS
        {
            tracing::debug!(%peer, "a rendezvous stream is one too many");
            continue;
        }
        let shared = shared.clone();
        streams.push(peer, async move {
            serve_stream(&shared, peer, stream).await;
        });
    }
}

async fn serve_stream(shared: &Shared, peer: PeerId, stream: Stream) {
    let (mut reader, mut writer) = frames(stream);
    let ended = match first_frame(shared, &mut reader).await {
        Ok(Frame::Register(register)) => match shared.register(peer, register) {
            Ok(id) => {
                let registration = Registered { shared, id };
                let ended = tell(&registration, peer, &mut reader, &mut writer).await;
                drop(registration);
                ended
            }
            Err(ended) => ended,
        },
        Ok(Frame::RoomsRequest(request)) => {
            list_rooms(shared, peer, request, &mut reader, &mut writer).await
        }
        Ok(_) => Ended::WrongFrame,
        Err(ended) => ended,
    };
    let refusal = match &ended {
        Ended::Refused(refused) => Some(refused.to_wire()),
        Ended::NotTold(refused) => Some(refused.to_wire()),
        _ => None,
    };
    if let Some(refusal) = refusal {
        writer.feed(&v1::RendezvousFrame {
            frame: Some(Frame::Refusal(refusal)),
        });
        // It is told if it listens; the stream ends either way.
        let _ = shared.runtime.timeout(WRITE_TIMEOUT, writer.close()).await;
    }
    tracing::debug!(%peer, %ended, "a rendezvous stream has ended");
}

/// Takes the registration back when the stream ends, or when the server does.
struct Registered<'a> {
    shared: &'a Shared,
    id: RegistrationId,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.shared.remove(self.id);
    }
}

async fn first_frame(
    shared: &Shared,
    reader: &mut FrameReader<v1::RendezvousFrame>,
) -> Result<Frame, Ended> {
    let frame = shared
        .runtime
        .timeout(REGISTER_TIMEOUT, reader.next())
        .await
        .map_err(|_elapsed| Ended::Silent)?;
    frame?.ok_or(Ended::ByPeer)?.frame.ok_or(Ended::WrongFrame)
}

/// Answers one question after the other.
async fn list_rooms(
    shared: &Shared,
    peer: PeerId,
    mut request: v1::RendezvousRoomsRequest,
    reader: &mut FrameReader<v1::RendezvousFrame>,
    writer: &mut FrameWriter<v1::RendezvousFrame>,
) -> Ended {
    if shared.config.private.is_some() {
        return Ended::Stranger;
    }
    loop {
        let now = shared.now();
        let page = lock(&shared.state).directory.rooms(now, peer, &request);
        match page {
            Ok(rooms) => writer.feed(&v1::RendezvousFrame {
                frame: Some(Frame::Rooms(rooms)),
            }),
            Err(refused) => return Ended::NotTold(refused),
        }
        match shared.runtime.timeout(WRITE_TIMEOUT, writer.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Ended::Read(error.into()),
            Err(_elapsed) => return Ended::Unread,
        }
        request = match first_frame(shared, reader).await {
            Ok(Frame::RoomsRequest(request)) => request,
            Ok(_) => return Ended::WrongFrame,
            Err(ended) => return ended,
        };
    }
}

fn register_of(
    frame: Result<Option<v1::RendezvousFrame>, ReadError>,
) -> Result<v1::RendezvousRegister, Ended> {
    match frame?.ok_or(Ended::ByPeer)?.frame {
        Some(Frame::Register(register)) => Ok(register),
        _ => Err(Ended::WrongFrame),
    }
}

#[allow(
    clippy::large_enum_variant,
    reason = "there is one at a time, on the stack"
)]
enum Turn {
    Heard(Result<Option<v1::RendezvousFrame>, ReadError>),
    Tell(Option<v1::RendezvousMembers>),
}

async fn tell(
    registration: &Registered<'_>,
    peer: PeerId,
    reader: &mut FrameReader<v1::RendezvousFrame>,
    writer: &mut FrameWriter<v1::RendezvousFrame>,
) -> Ended {
    let Registered { shared, id } = registration;
    loop {
        let turn = poll_fn(|cx| {
            if let Poll::Ready(frame) = reader.poll_next(cx) {
                return Poll::Ready(Turn::Heard(frame));
            }
            shared.poll_frame(*id, cx).map(Turn::Tell)
        })
        .await;
        match turn {
            Turn::Heard(frame) => {
                let now = shared.now();
                let updated = register_of(frame).and_then(|register| {
                    shared.admit(peer, &register)?;
                    Ok(shared.change(|directory| directory.update(now, *id, register))?)
                });
                if let Err(ended) = updated {
                    return ended;
                }
            }
            Turn::Tell(None) => return Ended::Refused(RefusedRegistration::Replaced),
            Turn::Tell(Some(members)) => {
                let members = v1::RendezvousFrame {
                    frame: Some(Frame::Members(members)),
                };
                writer.feed(&members);
                match shared.runtime.timeout(WRITE_TIMEOUT, writer.flush()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Ended::Read(error.into()),
                    Err(_elapsed) => return Ended::Unread,
                }
            }
        }
    }
}

/// Why a stream has ended, for the log.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the peer ended it")]
    ByPeer,
    #[error("the peer did not register within {REGISTER_TIMEOUT:?}")]
    Silent,
    #[error("the peer did not read for {WRITE_TIMEOUT:?}")]
    Unread,
    #[error("the peer sent a frame that only a server sends")]
    WrongFrame,
    #[error("the peer does not know the room's password, or is not permitted")]
    Stranger,
    #[error("the registration is refused: {0}")]
    Refused(#[from] RefusedRegistration),
    #[error("the question for rooms is refused: {0}")]
    NotTold(RefusedQuestion),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl fmt::Debug for RendezvousServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rooms, members) = self.size();
        f.debug_struct("RendezvousServer")
            .field("rooms", &rooms)
            .field("members", &members)
            .finish_non_exhaustive()
    }
}
