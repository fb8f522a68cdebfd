use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use peercompute_map::SortedMap;
use peercompute_proto::{DecodeError, Scope, v1};
use peercompute_rt::Runtime;

use super::{
    MAX_SOURCES, Misconduct, NetworkConfig, NetworkEvent, NetworkStartError, Outgoing, PeerInfo,
    RendezvousError, RoomsError, Subscription,
    fan_out::FanOut,
    health::{HEALTH_PROTOCOL, Health, watch_over},
    membership::Membership,
    publish::Publisher,
    rooms::ask_all,
    shared::{Job, Shared},
};
use crate::{
    Broadcast, Datagrams, Events, Incoming, Listing, ListingError, OpenError, Presence,
    PrivateRoom, ProtocolTaken, PublishError, RendezvousServer, RoomInfo, ServerConfig,
    SessionReport, Stream, Transport, toolkit::lock,
};

/// Keeps a node in its room: finds the other peers through relays, bootstrap peers and the local network, connects to them and keeps it so, and carries what is published.
///
/// Cheap to clone; clones are the same manager. When the last one is dropped it ends without a word; [`stop`](Self::stop) ends it in good order and closes the transport.
///
/// ```
/// use std::sync::Arc;
/// use peercompute_net::{NetworkConfig, NetworkManager, Transport as _, memory::MemoryNetwork};
/// use peercompute_rt::Simulation;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let simulation = Simulation::new(1);
/// let runtime = simulation.runtime();
/// let network = MemoryNetwork::new(runtime.clone(), 1);
/// simulation.run(async move {
///     let mut config = NetworkConfig::in_room("chess", "table 5")?;
///     config.listen = vec!["/memory/1".parse()?];
///     let alice = NetworkManager::start(runtime.clone(), Arc::new(network.transport("alice")), config).await?;
///
///     let mut config = NetworkConfig::in_room("chess", "table 5")?;
///     config.bootstrap = vec!["/memory/1".parse()?];
///     let bob = NetworkManager::start(runtime, Arc::new(network.transport("bob")), config).await?;
///     assert_eq!(bob.ready().await.joined, 1);
///     assert_eq!(bob.peers()[0].presence.peer, alice.local_peer());
///     bob.stop().await;
///     alice.stop().await;
///     Ok(())
/// })?
/// # }
/// ```
#[derive(Clone)]
pub struct NetworkManager(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    publisher: Publisher,
    named: Named,
    server: Mutex<Option<RendezvousServer>>,
    /// What was accepted from the start and was not taken yet.
    accepted: Mutex<SortedMap<&'static str, Incoming>>,
}

/// What the room is called.
struct Named {
    game: String,
    room: String,
}

impl Named {
    fn list(
        &self,
        scope: Scope,
        private: Option<&PrivateRoom>,
        listing: &Listing,
    ) -> Result<v1::RoomListing, ListingError> {
        if private.is_some() {
            return Err(ListingError::Private);
        }
        listing.to_wire(scope, &self.game, &self.room)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // The tasks hold what this holds.
        self.shared.stop();
    }
}

/// How the search for the other peers has begun.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Readiness {
    /// Peers of the room that are connected now.
    pub joined: usize,
    /// Relays and bootstrap peers that are not reached now, and why.
    pub lost: Vec<(Multiaddr, RendezvousError)>,
}

impl NetworkManager {
    /// Listens, and begins to look for the other peers of the room. Returns as soon as it listens; [`ready`](Self::ready) waits for the search.
    ///
    /// The manager owns the transport from now on: it accepts [`RENDEZVOUS_PROTOCOL`](crate::RENDEZVOUS_PROTOCOL), [`HEALTH_PROTOCOL`](crate::HEALTH_PROTOCOL) unless there are no heartbeats, and, where the transport has no broadcast of its own,
    /// [`FAN_OUT_PROTOCOL`](crate::FAN_OUT_PROTOCOL) on it, and [`stop`](Self::stop) closes it.
    ///
    /// # Errors
    ///
    /// [`NetworkStartError`]; relays and bootstrap peers that cannot be reached are not errors but [events](Self::events).
    pub async fn start(
        runtime: Runtime,
        transport: Arc<dyn Transport>,
        config: NetworkConfig,
    ) -> Result<Self, NetworkStartError> {
        match Self::try_start(runtime, transport.clone(), config).await {
            Ok(manager) => Ok(manager),
            Err(error) => {
                transport.close().await;
                Err(error)
            }
        }
    }

    async fn try_start(
        runtime: Runtime,
        transport: Arc<dyn Transport>,
        config: NetworkConfig,
    ) -> Result<Self, NetworkStartError> {
        let given = config.relays.len() + config.bootstrap.len();
        if given > MAX_SOURCES {
            return Err(NetworkStartError::TooManySources { given });
        }
        let local = transport.local_peer();
        let mut presence = Presence::new(local);
        presence.capabilities = config.capabilities;
        presence.metadata = config.metadata.clone();
        presence.check().map_err(NetworkStartError::Metadata)?;

        // Before the first address is known to anybody, so that nobody is refused.
        let scope = match &config.private {
            Some(room) => room.scope(),
            None => config.scope,
        };
        let named = Named {
            game: config.game.clone(),
            room: config.room.clone(),
        };
        let listing = match &config.listing {
            Some(listing) => Some(named.list(scope, config.private.as_ref(), listing)?),
            None => None,
        };
        let server_config = match &config.private {
            Some(room) => ServerConfig::private(room.clone()),
            None => ServerConfig::only(scope),
        };
        let server_config = server_config.permitting(config.limits.clone());
        let server = RendezvousServer::start(&runtime, transport.as_ref(), server_config)?;
        let accept = |protocol: &&'static str| Ok((*protocol, transport.accept(protocol)?));
        let accepted: Result<Vec<_>, ProtocolTaken> = config.accepts.iter().map(accept).collect();
        let accepted = accepted?;
        let events = transport.events();
        for address in &config.listen {
            transport.listen(address.clone()).await?;
        }
        presence.addresses = transport.listen_addresses();

        let membership = Membership::new(
            runtime.now().since_start(),
            local,
            config.private.clone(),
            &config.relays,
            &config.bootstrap,
            config.max_peers,
            runtime.random_u64(),
        );
        let limits = Arc::new(config.limits.clone());
        let membership = membership.with_limits(limits.clone());
        let shared = Shared::new(
            runtime,
            transport.clone(),
            (scope, config.private.clone()),
            limits,
            membership,
            (presence, listing),
        );
        let shared = Arc::new(shared);
        let admit = |(protocol, incoming)| (protocol, shared.admit(protocol, incoming));
        let accepted = accepted.into_iter().map(admit).collect();
        let (register, _) = shared.registration();
        let own_list = server.join(local, register)?;
        let broadcast = match transport.broadcast() {
            Some(broadcast) => broadcast,
            None => Arc::new(FanOut::start(&shared)?) as Arc<dyn Broadcast>,
        };
        let pulses = match config.health.heartbeat {
            Some(_) => Some(shared.accept(HEALTH_PROTOCOL)?),
            None => None,
        };
        let renew = {
            let broadcast = broadcast.clone();
            move || broadcast.renew()
        };
        let news = shared.hub.subscribe([]);
        let health = watch_over(shared.clone(), config.health.clone(), pulses, news, renew);
        shared.run(Job::Health, health);
        let publisher = Publisher::new(&shared, &config, broadcast);
        shared.run(Job::Timer, shared.clone().keep_time());
        shared.run(Job::Events, shared.clone().watch(events));
        shared.run(Job::OwnList, shared.clone().follow_own_list(own_list));
        shared.addresses_changed();
        let server = Mutex::new(Some(server));
        Ok(Self(Arc::new(Handle {
            shared,
            publisher,
            named,
            server,
            accepted: Mutex::new(accepted),
        })))
    }

    /// The peer that this node is.
    pub fn local_peer(&self) -> PeerId {
        self.0.shared.transport.local_peer()
    }

    /// The room.
    pub fn scope(&self) -> Scope {
        self.0.shared.scope
    }

    /// Every address at which others can reach this node now.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        self.0.shared.transport.listen_addresses()
    }

    /// Every peer of the room that is known, connected or not, in the order of their ids. One that is not connected and was listed only by a relay or bootstrap peer
    /// that is lost is left out, for it may have gone since.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.0.shared.look(Membership::peers)
    }

    /// What happens from now on; first the peers that are connected and the addresses that are listened at already.
    ///
    /// A receiver that does not keep up gets [`NetworkEvent::Lagged`] in place of its oldest events. It ends when the manager does.
    pub fn events(&self) -> Events<NetworkEvent> {
        let shared = &self.0.shared;
        shared.look(|membership| {
            let listening = shared.transport.listen_addresses().into_iter();
            let listening = listening.map(|address| NetworkEvent::Listening { address });
            let joined = membership.joined().filter_map(|peer| {
                Some(NetworkEvent::Joined {
                    presence: peer.presence,
                    path: peer.path?,
                })
            });
            shared.hub.subscribe(listening.chain(joined))
        })
    }

    /// Waits until every relay and bootstrap peer has given its list or failed, and everybody on those lists has been connected to or found unreachable. From
    /// then on "nobody is there" is true. At once if that has happened before, or when the manager stops.
    ///
    /// Every step that it waits for has a time limit, of 15 seconds for most. Peers of the local network, which nobody can list, are not waited for. Cancel safe.
    pub async fn ready(&self) -> Readiness {
        self.0.shared.ready().await;
        self.0.shared.look(|membership| Readiness {
            joined: membership.joined().count(),
            lost: membership.lost(),
        })
    }

    /// Opens a stream to a connected peer, as [`Transport::open`].
    ///
    /// In a private room the stream is sealed: it can be read and written only by a peer that knows the password. A direction that ends without its [close](futures::AsyncWriteExt::close)
    /// reads as [`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof); what is written may wait in memory until it is flushed.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open(&self, peer: PeerId, protocol: &'static str) -> Result<Stream, OpenError> {
        self.0.shared.open(peer, protocol).await
    }

    /// Accepts streams of `protocol`, as [`Transport::accept`]: of every peer that connects, so the protocol binds each to the room, as
    /// [`StreamBinding`](v1::StreamBinding) does.
    ///
    /// In a private room only streams of peers that know the password come out of it, sealed; all others end without a word.
    ///
    /// # Errors
    ///
    /// [`ProtocolTaken`].
    pub fn accept(&self, protocol: &'static str) -> Result<Incoming, ProtocolTaken> {
        let accepted = lock(&self.0.accepted).remove(protocol);
        match accepted {
            Some(incoming) => Ok(incoming),
            None => self.0.shared.accept(protocol),
        }
    }

    /// How a peer is reached and was before, as [`Transport::session`].
    pub fn session(&self, peer: PeerId) -> Option<SessionReport> {
        self.0.shared.transport.session(peer)
    }

    /// Datagrams, as [`Transport::datagrams`]: of every peer that connects, whatever room it is in. In a private room they are not sealed, but encrypted on their way to the peer as all is; so they
    /// are for peers that have shown over a stream that they know the password.
    pub fn datagrams(&self) -> Option<Arc<dyn Datagrams>> {
        self.0.shared.transport.datagrams()
    }

    /// Sends a message to all peers of the room that subscribe to `stream`, a name of the application's choice. Best effort: it may be lost, doubled or overtaken.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    pub fn publish(&self, stream: &str, message: Outgoing) -> Result<(), PublishError> {
        self.0.publisher.publish(&self.0.shared, stream, message)
    }

    /// Receives what others in the room publish on `stream` from now on.
    pub fn subscribe(&self, stream: &str) -> Subscription {
        self.0.publisher.subscribe(&self.0.shared, stream)
    }

    /// How this node and its connected peers are doing: who was heard when, how far away he is, how much flows.
    pub fn health(&self) -> Health {
        let mut health = self.0.shared.health();
        self.0.publisher.report(&mut health);
        health
    }

    /// Disconnects a peer that breaks a protocol, and neither dials it nor lets it stay connected for ten minutes. [`NetworkEvent::CutOff`] says why: `what` was wrong, of which the first 256 bytes are told.
    pub fn cut_off(&self, peer: PeerId, what: impl fmt::Display) {
        let reason = Misconduct::violation(what);
        self.0
            .shared
            .input(|membership, now| membership.cut_off(now, peer, reason));
    }

    /// Tells the others what this machine can do now. Changes in short succession may be told as one.
    pub fn set_capabilities(&self, capabilities: v1::Capabilities) {
        let own = &self.0.shared.own;
        own.change_presence(|presence| presence.capabilities = capabilities);
    }

    /// Replaces the metadata that the others see.
    ///
    /// # Errors
    ///
    /// What others would refuse about it; nothing has changed then.
    pub fn set_metadata(&self, metadata: BTreeMap<String, String>) -> Result<(), DecodeError> {
        let mut presence = self.0.shared.own.presence();
        presence.metadata = metadata.clone();
        presence.check()?;
        let own = &self.0.shared.own;
        own.change_presence(|presence| presence.metadata = metadata);
        Ok(())
    }

    /// Changes what strangers who look for a room are told of this one; with `None` it is no longer listed by this node.
    ///
    /// # Errors
    ///
    /// [`ListingError`]; nothing has changed then.
    pub fn set_listing(&self, listing: Option<&Listing>) -> Result<(), ListingError> {
        let shared = &self.0.shared;
        let listing = match listing {
            Some(listing) => {
                let listing = self
                    .0
                    .named
                    .list(shared.scope, shared.private.as_ref(), listing);
                Some(listing?)
            }
            None => None,
        };
        shared.own.change_listing(listing);
        Ok(())
    }

    /// Asks all relays and bootstrap peers for the public rooms of a game that are listed there, as [`find_rooms`](crate::find_rooms) does one. Of a room that several know, the word of the
    /// one who knows of the most members counts.
    ///
    /// # Errors
    ///
    /// [`RoomsError`] if nobody has answered. Cancel safe.
    pub async fn rooms(&self, game: &str) -> Result<Vec<RoomInfo>, RoomsError> {
        let shared = &self.0.shared;
        let sources = shared.look(Membership::configured);
        ask_all(&shared.runtime, shared.transport.as_ref(), sources, game).await
    }

    /// Leaves the room and closes the transport: the others see it at once. Calling it again does nothing.
    pub async fn stop(&self) {
        self.0.shared.stop();
        let server = lock(&self.0.server).take();
        drop(server);
        self.0.shared.transport.close().await;
    }
}

impl fmt::Debug for NetworkManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkManager")
            .field("local_peer", &self.local_peer())
            .field("scope", &self.scope())
            .finish_non_exhaustive()
    }
}
