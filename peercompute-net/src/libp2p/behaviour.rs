#[cfg(not(target_arch = "wasm32"))]
use libp2p::{autonat, dcutr, mdns};
use libp2p::{
    gossipsub, identify, ping, relay,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};

#[cfg(not(target_arch = "wasm32"))]
use super::candidates::Candidates;
use super::{
    Libp2pConfig, Libp2pLimits, StartError,
    gate::Gate,
    streams::{self, Protocols},
};

/// What peers of another version of PeerCompute, or of anything else, tell us apart by; nobody is turned away for it.
const PROTOCOL_VERSION: &str = "/peercompute/1";

/// Everything that runs on a connection. The gate comes first: what it turns away costs the others nothing.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
pub(crate) struct Behaviour {
    pub(crate) gate: Gate,
    pub(crate) streams: streams::Behaviour,
    pub(crate) gossip: Toggle<Gossip>,
    pub(crate) ping: ping::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) relay_client: relay::client::Behaviour,
    // A browser has no socket that could be dialled where others see its connections come from.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) dcutr: Toggle<dcutr::Behaviour>,
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) relay: Toggle<relay::Behaviour>,
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) autonat_client: Toggle<Candidates>,
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) autonat_server: Toggle<autonat::v2::server::Behaviour>,
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) mdns: Toggle<mdns::tokio::Behaviour>,
}

pub(crate) type Gossip = gossipsub::Behaviour<
    gossipsub::IdentityTransform,
    gossipsub::MaxCountSubscriptionFilter<gossipsub::AllowAllSubscriptionFilter>,
>;

impl Behaviour {
    pub(crate) fn new(
        config: &Libp2pConfig,
        protocols: Protocols,
        relay_client: relay::client::Behaviour,
        #[cfg(not(target_arch = "wasm32"))] relay: Option<relay::Behaviour>,
    ) -> Result<Self, StartError> {
        let limits = &config.limits;
        let ping = ping::Config::new()
            .with_interval(config.ping_interval)
            .with_timeout(config.ping_timeout);
        let identify = identify::Config::new(PROTOCOL_VERSION.into(), config.identity.public())
            .with_agent_version(config.agent.clone())
            .with_push_listen_addr_updates(true)
            // Nothing here dials a peer without an address, which is what the cache is for.
            .with_cache_size(0);
        Ok(Self {
            gate: Gate::new(limits.clone(), config.allowed_peers.iter().copied()),
            streams: streams::Behaviour::new(
                protocols,
                limits.streams_per_connection,
                config.open_timeout,
            ),
            gossip: if config.broadcast {
                Some(gossip(config)?)
            } else {
                None
            }
            .into(),
            ping: ping::Behaviour::new(ping),
            identify: identify::Behaviour::new(identify),
            relay_client,
            #[cfg(not(target_arch = "wasm32"))]
            dcutr: config
                .direct_upgrade
                .then(|| dcutr::Behaviour::new(config.identity.peer()))
                .into(),
            #[cfg(not(target_arch = "wasm32"))]
            autonat_client: config.autonat.then(Candidates::new).into(),
            // Whoever relays is reachable, and has the connections to test others.
            #[cfg(not(target_arch = "wasm32"))]
            autonat_server: relay
                .is_some()
                .then(autonat::v2::server::Behaviour::default)
                .into(),
            #[cfg(not(target_arch = "wasm32"))]
            relay: relay.into(),
            #[cfg(not(target_arch = "wasm32"))]
            mdns: mdns(config).into(),
        })
    }
}

fn gossip(config: &Libp2pConfig) -> Result<Gossip, StartError> {
    let limits = &config.limits;
    let invalid = |reason: &dyn std::fmt::Display| StartError::Gossip {
        reason: reason.to_string(),
    };
    let settings = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Strict)
        .max_transmit_size(Libp2pLimits::GOSSIP_FRAME)
        .connection_handler_queue_len(limits.gossip_queue)
        .support_floodsub()
        .build()
        .map_err(|error| invalid(&error))?;
    let filter = gossipsub::MaxCountSubscriptionFilter {
        filter: gossipsub::AllowAllSubscriptionFilter {},
        max_subscribed_topics: limits.topics_per_peer,
        max_subscriptions_per_request: limits.topics_per_peer,
    };
    // Signed, with the source and its sequence number as the message's identity: nobody can publish in another's name, or suppress another's message.
    let authenticity = gossipsub::MessageAuthenticity::Signed(config.identity.keypair().clone());
    Gossip::new_with_subscription_filter(authenticity, settings, filter)
        .map_err(|error| invalid(&error))
}

/// Multicast DNS, if it is wanted and the system lets us; a node works without.
#[cfg(not(target_arch = "wasm32"))]
fn mdns(config: &Libp2pConfig) -> Option<mdns::tokio::Behaviour> {
    if !config.mdns {
        return None;
    }
    mdns::tokio::Behaviour::new(mdns::Config::default(), config.identity.peer())
        .inspect_err(|error| tracing::warn!(%error, "no multicast DNS: peers on the local network are not found by themselves"))
        .ok()
}
