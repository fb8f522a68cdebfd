//! libp2p's own metrics, for those who ask.

#[cfg(not(all(feature = "metrics", not(target_arch = "wasm32"))))]
pub(crate) use off::*;
#[cfg(all(feature = "metrics", not(target_arch = "wasm32")))]
pub(crate) use on::*;

#[cfg(all(feature = "metrics", not(target_arch = "wasm32")))]
mod on {
    use libp2p::{
        Transport as _,
        core::muxing::StreamMuxerBox,
        metrics::{BandwidthTransport, Metrics, Recorder as _},
        swarm::SwarmEvent,
    };

    use crate::libp2p::{behaviour::BehaviourEvent, transports::Carrier};

    pub(crate) use prometheus_client::registry::Registry;

    /// Records what the swarm reports.
    pub(crate) struct Meter(Option<Metrics>);

    impl Meter {
        pub(crate) fn new(registry: Option<&mut Registry>) -> Self {
            Self(registry.map(Metrics::new))
        }

        pub(crate) fn record(&self, event: &SwarmEvent<BehaviourEvent>) {
            let Some(metrics) = &self.0 else {
                return;
            };
            metrics.record(event);
            match event {
                SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => metrics.record(event),
                SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => metrics.record(event),
                SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => metrics.record(event),
                SwarmEvent::Behaviour(BehaviourEvent::Dcutr(event)) => metrics.record(event),
                SwarmEvent::Behaviour(BehaviourEvent::Relay(event)) => metrics.record(event),
                _ => {}
            }
        }
    }

    /// Counts the bytes that a carrier carries.
    pub(crate) fn count_bytes(carrier: Carrier, registry: Option<&mut Registry>) -> Carrier {
        let Some(registry) = registry else {
            return carrier;
        };
        BandwidthTransport::new(carrier, registry)
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .boxed()
    }
}

#[cfg(not(all(feature = "metrics", not(target_arch = "wasm32"))))]
mod off {
    use libp2p::swarm::SwarmEvent;

    use crate::libp2p::{behaviour::BehaviourEvent, transports::Carrier};

    /// There is none in this build.
    pub(crate) enum Registry {}

    /// Records nothing.
    pub(crate) struct Meter;

    impl Meter {
        pub(crate) fn new(_: Option<&mut Registry>) -> Self {
            Self
        }

        pub(crate) fn record(&self, _: &SwarmEvent<BehaviourEvent>) {}
    }

    pub(crate) fn count_bytes(carrier: Carrier, _: Option<&mut Registry>) -> Carrier {
        carrier
    }
}
