//! WebRTC between two peers that reach each other through a relay only: browsers, above all, which nobody can dial.
//!
//! The two agree over the relayed path ([`agent`]), each signs for its certificate ([`description`]), and what comes of it is one more connection of libp2p's
//! ([`carrier`]): yamux over a reliable channel, and datagrams beside it ([`datagrams`]). When it carries traffic, the relayed path is given up as for any direct one.

#![cfg_attr(
    not(any(target_arch = "wasm32", feature = "webrtc")),
    allow(dead_code, reason = "nothing is agreed upon where there is no WebRTC")
)]

#[cfg(not(any(target_arch = "wasm32", feature = "webrtc")))]
mod absent;
mod agent;
#[cfg(target_arch = "wasm32")]
mod browser;
mod carrier;
mod channel;
mod datagrams;
mod description;
mod failure;
#[cfg(all(not(target_arch = "wasm32"), feature = "webrtc"))]
mod native;
#[cfg(any(target_arch = "wasm32", test))]
mod sdp;
mod upgrades;

#[cfg(not(any(target_arch = "wasm32", feature = "webrtc")))]
use absent as engine;
#[cfg(target_arch = "wasm32")]
use browser as engine;
#[cfg(all(not(target_arch = "wasm32"), feature = "webrtc"))]
use native as engine;

use std::sync::Arc;

use futures::channel::mpsc;
use peercompute_rt::Runtime;

use self::agent::{Agent, Tools};
pub(super) use self::{
    carrier::WebrtcCarrier,
    datagrams::{DatagramHub, WebrtcDatagrams},
};
use super::{Libp2pConfig, Opener};

/// What two peers agree over.
pub(super) const WEBRTC_PROTOCOL: &str = "/peercompute/webrtc/1";

/// What the swarm's task and the handles have to do with.
pub(super) struct Webrtc {
    pub(super) datagrams: Arc<DatagramHub>,
    doorway: carrier::Doorway,
}

impl Webrtc {
    pub(super) fn new() -> (Self, WebrtcCarrier) {
        let (carrier, doorway) = carrier::carrier();
        let webrtc = Self {
            datagrams: Arc::default(),
            doorway,
        };
        (webrtc, carrier)
    }

    /// Starts what makes connections, where there is something to make them with. What is returned is to be stirred when paths change.
    pub(super) fn start(&self, config: &Libp2pConfig, runtime: &Runtime, opener: &Opener) -> Stir {
        let (sender, stirred) = mpsc::channel(0);
        if config.direct_upgrade && config.webrtc && engine::is_supported() {
            // Nobody else has had the chance to.
            let shared = &opener.shared;
            if let Ok(incoming) = shared.acceptor.register(WEBRTC_PROTOCOL) {
                let incoming = incoming.keep(shared.protocols.offer(WEBRTC_PROTOCOL));
                let tools = Tools {
                    identity: config.identity.clone(),
                    runtime: runtime.clone(),
                    opener: opener.clone(),
                    doorway: self.doorway.clone(),
                    datagrams: self.datagrams.clone(),
                    ice_servers: config.ice_servers.clone(),
                };
                let agent = Agent::new(tools, config.webrtc_offers, incoming, stirred);
                runtime.spawn(agent.run()).detach();
            }
        }
        Stir(sender)
    }
}

/// Wakes up what makes connections.
pub(super) struct Stir(mpsc::Sender<()>);

impl Stir {
    pub(super) fn stir(&mut self) {
        // It is awake already, or there is none.
        let _ = self.0.try_send(());
    }
}
